//! Entity tags (RFC 9110 §8.8.3).

use message::{Block, FieldId};

/// An entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// It stands for what means the same, not for the same bytes.
    pub weak: bool,
    /// What is between the quotes. Tags of origins that forget them are taken as they are.
    pub opaque: &'a [u8],
    quoted: bool,
}

impl<'a> EntityTag<'a> {
    /// Parses one. What has no quotes is a tag that equals itself only; it is never strong.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (weak, tag) = match value {
            [b'W', b'/', rest @ ..] => (true, rest),
            _ => (false, value),
        };
        match tag {
            [b'"', opaque @ .., b'"'] if !opaque.contains(&b'"') => {
                Some(Self { weak, opaque, quoted: true })
            }
            [] => None,
            _ => Some(Self { weak: true, opaque: value, quoted: false }),
        }
    }

    /// That of an answer, where there is just one.
    #[must_use]
    pub fn of(fields: &'a Block) -> Option<Self> {
        let mut values = fields.values(FieldId::ETag);
        let tag = Self::parse(values.next()?);
        if values.next().is_some() { None } else { tag }
    }

    /// RFC 9110 §8.8.3.2: the same bytes.
    #[must_use]
    pub fn is_strongly(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.is_weakly(other)
    }

    /// RFC 9110 §8.8.3.2: what means the same.
    #[must_use]
    pub fn is_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque && self.quoted == other.quoted
    }
}

/// The tags of a list, as in `If-None-Match`. What stands in between and is none is left out.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            if let Some(after) = rest.strip_prefix(b",") {
                rest = after;
                continue;
            }
            if rest.is_empty() {
                return None;
            }
            let end = end_of_tag(rest);
            let (tag, after) = rest.split_at(end);
            rest = after;
            if let Some(tag) = EntityTag::parse(tag) {
                return Some(tag);
            }
        }
    })
}

/// Where the tag at the beginning ends. A backslash does not escape in it.
fn end_of_tag(text: &[u8]) -> usize {
    let from = if text.starts_with(b"W/") { 2 } else { 0 };
    if text.get(from) == Some(&b'"')
        && let Some(at) = memchr::memchr(b'"', &text[from + 1..])
    {
        let end = from + 1 + at + 1;
        // Up to the comma: what follows the quote makes it no tag.
        return end + memchr::memchr(b',', &text[end..]).unwrap_or(text.len() - end);
    }
    memchr::memchr(b',', text).unwrap_or(text.len())
}
