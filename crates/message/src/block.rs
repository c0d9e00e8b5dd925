//! A block of fields: one buffer and ranges into it.

use crate::FieldId;

/// Fields (of a head or of trailers) as ranges into one buffer. Removing one marks it, adding
/// one writes behind the others; the bytes that were received stay where they are.
#[derive(Debug, Default, Clone)]
pub struct Block {
    bytes: Vec<u8>,
    fields: Vec<Field>,
    /// One bit for each [`FieldId`] among the fields that are not removed. A bit may outlive
    /// its field, never the other way round.
    present: u64,
    underscored: bool,
}

/// One field: where its name and its value stand.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Which of the known names it is.
    pub id: FieldId,
    removed: bool,
    name_length: u16,
    name: u32,
    value: u32,
    value_length: u32,
}

impl Block {
    /// An empty block over a buffer that already holds what fields will point into.
    #[must_use]
    pub fn over(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The same allocations, emptied, to be used for another head.
    #[must_use]
    pub fn recycle(mut self) -> Self {
        self.bytes.clear();
        self.fields.clear();
        self.present = 0;
        self.underscored = false;
        self
    }

    /// Gives back the room that nothing is in.
    pub fn compact(&mut self) {
        self.bytes.shrink_to_fit();
        self.fields.shrink_to_fit();
    }

    /// Bytes of memory that its two allocations take.
    #[must_use]
    pub fn allocated(&self) -> [usize; 2] {
        [self.bytes.capacity(), self.fields.capacity() * size_of::<Field>()]
    }

    /// The buffer.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The buffer, to be filled before anything points into it.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes note of a field whose bytes are in the buffer already.
    ///
    /// # Panics
    /// Never on input that a parser accepted: ranges are within the buffer, and buffers are
    /// bounded far below 4 GiB.
    pub fn note(&mut self, name: std::ops::Range<usize>, value: std::ops::Range<usize>) -> FieldId {
        debug_assert!(name.end <= self.bytes.len() && value.end <= self.bytes.len());
        let text = &self.bytes[name.clone()];
        let id = FieldId::of(text);
        if id == FieldId::Other && memchr::memchr(b'_', text).is_some() {
            self.underscored = true;
        }
        self.list(id, name, value);
        id
    }

    fn list(&mut self, id: FieldId, name: std::ops::Range<usize>, value: std::ops::Range<usize>) {
        self.present |= id.bit();
        self.fields.push(Field {
            id,
            removed: false,
            name_length: name.len() as u16,
            name: name.start as u32,
            value: value.start as u32,
            value_length: value.len() as u32,
        });
    }

    /// Adds a field behind the others; the value is the concatenation of `parts`.
    pub fn push(&mut self, name: &[u8], parts: &[&[u8]]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        let value = self.push_value(parts);
        self.note(start..start + name.len(), value);
    }

    /// The same for a name with a number of its own, as it is usually written: nothing has to be
    /// looked up.
    pub fn push_known(&mut self, id: FieldId, parts: &[&[u8]]) {
        debug_assert!(id != FieldId::Other, "a name is needed");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(id.line_start());
        let value = self.push_value(parts);
        self.list(id, start..value.start - b": ".len(), value);
    }

    /// Writes a value and the end of its line; returns where the value stands.
    fn push_value(&mut self, parts: &[&[u8]]) -> std::ops::Range<usize> {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let end = self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        start..end
    }

    /// Adds the fields of another block behind these, in their order. It should be compact: all
    /// of its bytes are taken over.
    pub fn extend(&mut self, other: &Self) {
        let base = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&other.bytes);
        self.fields.extend(other.iter().map(|field| Field {
            name: field.name + base,
            value: field.value + base,
            ..*field
        }));
        self.present |= other.present;
        self.underscored |= other.underscored;
    }

    /// The same fields in as little room as they need, without what was removed.
    #[must_use]
    pub fn compacted(&self) -> Self {
        let mut compact = Self::default();
        let size = self.iter().map(|field| {
            usize::from(field.name_length) + field.value_length as usize + b": \r\n".len()
        });
        compact.bytes.reserve_exact(size.sum());
        compact.fields.reserve_exact(self.len());
        for field in self.iter() {
            compact.push(self.name(field), &[self.value(field)]);
        }
        compact
    }

    /// How many fields there are, removed ones not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// All fields that were not removed, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.removed)
    }

    /// All fields, also the removed ones: what the peer sent, for the log.
    #[must_use]
    pub fn received(&self, id: FieldId) -> Option<&[u8]> {
        self.fields.iter().find(|field| field.id == id).map(|field| self.value(field))
    }

    /// The name of a field as received.
    #[must_use]
    pub fn name(&self, field: &Field) -> &[u8] {
        &self.bytes[field.name as usize..][..field.name_length as usize]
    }

    /// The value of a field, without the white space around it.
    #[must_use]
    pub fn value(&self, field: &Field) -> &[u8] {
        &self.bytes[field.value as usize..][..field.value_length as usize]
    }

    /// The bytes of consecutive fields that stand in the buffer just as HTTP/1 writes them
    /// (`name: value CRLF`), as few slices as possible. `skip` leaves fields out.
    pub fn write_lines(&self, out: &mut Vec<u8>, mut skip: impl FnMut(&Field) -> bool) {
        let mut run = 0..0;
        for field in &self.fields {
            if field.removed || skip(field) {
                continue;
            }
            let (start, end) = (field.name as usize, field.line_end());
            let as_written = field.value == field.name + u32::from(field.name_length) + 2
                && self.bytes.get(end - 2..end) == Some(b"\r\n");
            if as_written && start == run.end {
                run.end = end;
                continue;
            }
            out.extend_from_slice(&self.bytes[run.clone()]);
            if as_written {
                run = start..end;
            } else {
                run = 0..0;
                out.extend_from_slice(self.name(field));
                out.extend_from_slice(b": ");
                out.extend_from_slice(self.value(field));
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(&self.bytes[run]);
    }

    /// How many bytes [`Block::write_lines`] writes of all of them.
    #[must_use]
    pub fn written_length(&self) -> usize {
        let line = |field: &Field| usize::from(field.name_length) + field.value_length as usize + 4;
        self.iter().map(line).sum()
    }

    /// Whether a field of this name may be there.
    #[must_use]
    pub fn has(&self, id: FieldId) -> bool {
        self.present & id.bit() != 0
    }

    /// Whether any of these names may be there.
    #[must_use]
    pub fn has_any(&self, ids: &[FieldId]) -> bool {
        ids.iter().fold(0, |bits, id| bits | id.bit()) & self.present != 0
    }

    /// The value of the first field of this name.
    #[must_use]
    pub fn get(&self, id: FieldId) -> Option<&[u8]> {
        self.values(id).next()
    }

    /// The values of all fields of this name, in order.
    pub fn values(&self, id: FieldId) -> impl Iterator<Item = &[u8]> {
        let fields = if self.has(id) { self.fields.as_slice() } else { &[] };
        fields
            .iter()
            .filter(move |field| field.id == id && !field.removed)
            .map(|field| self.value(field))
    }

    /// The values of all fields of a name that needs no number, in order.
    pub fn values_named(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |field| self.name(field).eq_ignore_ascii_case(name))
            .map(|field| self.value(field))
    }

    /// Removes all fields of this name.
    pub fn remove(&mut self, id: FieldId) {
        if self.has(id) {
            for field in self.fields.iter_mut().filter(|field| field.id == id) {
                field.removed = true;
            }
            self.present &= !id.bit();
        }
    }

    /// Removes all fields of a name that needs no number.
    pub fn remove_named(&mut self, name: &[u8]) {
        self.remove_where(|_, found| found.eq_ignore_ascii_case(name));
    }

    /// Removes every field that `condition` is true of.
    pub fn remove_where(&mut self, mut condition: impl FnMut(FieldId, &[u8]) -> bool) {
        let mut left = 0;
        for field in &mut self.fields {
            if field.removed {
                continue;
            }
            let name = &self.bytes[field.name as usize..][..field.name_length as usize];
            if condition(field.id, name) {
                field.removed = true;
            } else {
                left |= field.id.bit();
            }
        }
        self.present = left;
    }

    /// Removes all fields whose name differs from one of `names` only in case and in `_` for `-`:
    /// a program behind a CGI-like gateway cannot tell the two apart.
    pub fn remove_aliases(&mut self, names: &[&[u8]]) {
        if self.underscored {
            self.remove_where(|id, found| {
                id == FieldId::Other && names.iter().any(|name| is_alias(found, name))
            });
        }
    }
}

impl Field {
    fn line_end(&self) -> usize {
        (self.value + self.value_length) as usize + 2
    }
}

/// Whether two names are the same once case and `_` for `-` are set aside.
#[must_use]
pub fn is_alias(left: &[u8], right: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    left.len() == right.len() && left.iter().map(fold).eq(right.iter().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Block {
        let mut block = Block::default();
        block.push(b"Host", &[b"a"]);
        block.push(b"X_Forwarded_For", &[b"1.2.3.4"]);
        block.push(b"Accept", &[b"x/", b"y"]);
        block
    }

    #[test]
    fn fields_keep_order_and_case() {
        let mut out = Vec::new();
        block().write_lines(&mut out, |_| false);
        assert_eq!(out, b"Host: a\r\nX_Forwarded_For: 1.2.3.4\r\nAccept: x/y\r\n");
        assert_eq!(block().written_length(), out.len());
    }

    #[test]
    fn aliases_go_and_removed_fields_stay_readable_for_the_log() {
        let mut block = block();
        block.remove_aliases(&[b"x-forwarded-for"]);
        block.remove(FieldId::Host);
        let mut out = Vec::new();
        block.write_lines(&mut out, |_| false);
        assert_eq!(out, b"Accept: x/y\r\n");
        assert_eq!(block.get(FieldId::Host), None);
        assert_eq!(block.received(FieldId::Host), Some(&b"a"[..]));
    }

    #[test]
    fn a_block_behind_another_keeps_its_fields_and_a_compact_one_nothing_else() {
        let mut other = block();
        other.remove(FieldId::Host);
        let compact = other.compacted();
        assert_eq!(compact.bytes(), b"X_Forwarded_For: 1.2.3.4\r\nAccept: x/y\r\n");
        let mut joint = Block::over(b"HTTP/1.1 200 OK\r\n".to_vec());
        joint.push_known(FieldId::Age, &[b"1"]);
        joint.extend(&compact);
        joint.push(b"Host", &[b"b"]);
        let mut out = Vec::new();
        joint.write_lines(&mut out, |_| false);
        assert_eq!(out, b"Age: 1\r\nX_Forwarded_For: 1.2.3.4\r\nAccept: x/y\r\nHost: b\r\n");
        joint.remove_aliases(&[b"x-forwarded-for"]);
        assert_eq!(joint.len(), 3);
    }

    #[test]
    fn lines_with_odd_white_space_are_written_in_the_plain_form() {
        let mut block = Block::over(b"A:1\r\nB: \t2 \r\nC: 3\r\n".to_vec());
        block.note(0..1, 2..3);
        block.note(5..6, 9..10);
        block.note(13..14, 16..17);
        let mut out = Vec::new();
        block.write_lines(&mut out, |_| false);
        assert_eq!(out, b"A: 1\r\nB: 2\r\nC: 3\r\n");
    }
}
