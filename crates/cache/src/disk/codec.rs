//! Numbers, texts and fields as bytes, and back. Pure.

use message::Block;

/// What is left to be read of bytes that somebody may have damaged: every step may fail.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// Bytes behind their length.
    pub(super) fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// A number of things, none of them smaller than `least` bytes: what is more than there are
    /// bytes for is damage, and nothing is reserved for it.
    pub(super) fn count(&mut self, least: usize) -> Option<usize> {
        let count = self.u32()? as usize;
        (count <= self.bytes.len() / least).then_some(count)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.sized()?).ok()
    }

    /// What [`put_block`] wrote.
    pub(super) fn block(&mut self) -> Option<Block> {
        let lines = self.sized()?;
        let count = self.count(6)?;
        let mut block = Block::over(lines.to_vec());
        let mut at = 0;
        for _ in 0..count {
            let name = at..at + usize::from(self.u16()?);
            let value = name.end + 2..name.end + 2 + self.u32()? as usize;
            at = value.end + 2;
            if at > lines.len() {
                return None;
            }
            block.note(name, value);
        }
        (at == lines.len()).then_some(block)
    }
}

/// Bytes behind their length. What is longer than 4 GiB does not occur: heads are bounded.
pub(super) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// How many of something follow.
pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// The fields as lines, and how long each name and value is: what a field holds cannot be taken
/// for the end of it.
pub(super) fn put_block(out: &mut Vec<u8>, block: &Block) {
    let start = out.len();
    put_count(out, 0);
    let mut lengths = Vec::new();
    let mut count = 0_usize;
    for field in block.iter() {
        let (name, value) = (block.name(field), block.value(field));
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
        lengths.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        put_count(&mut lengths, value.len());
        count += 1;
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    put_count(out, count);
    out.extend_from_slice(&lengths);
}
