//! Ranges (RFC 9110 §14).

use std::ops::Range;

use message::{Block, FieldId, list};

/// More ranges than these in one request are not looked at.
pub const MAX_RANGES: usize = 16;

/// What a part of several costs beside its bytes, about.
const OVERHEAD: u64 = 160;

/// Ranges of a body that a request asks for, in the order in which it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// Never empty, and none of them is. Those that touch each other are one.
    pub parts: Vec<Range<u64>>,
    /// How long the whole is.
    pub complete: Option<u64>,
}

/// What a `Range` field comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: it is malformed, of another unit, or asks for more than the whole is.
    Whole,
    /// These.
    Parts(Ranges),
    /// None that there is.
    Unsatisfiable,
    /// It cannot be said without the length of the whole.
    Unknown,
}

/// One range as it is written.
#[derive(Debug, Clone, Copy)]
enum Spec {
    From(u64, Option<u64>),
    Last(u64),
}

/// What a request asks for, as far as that can be said without the length of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedFor {
    /// Everything.
    Whole,
    /// From this byte on, to this one (not included) if it says so.
    From(u64, Option<u64>),
    /// The last bytes.
    Last,
    /// Several ranges.
    Several,
}

impl AskedFor {
    /// That of a request with these fields.
    #[must_use]
    pub fn of(request: &Block) -> Self {
        let mut values = request.values(FieldId::Range);
        let (Some(value), None) = (values.next(), values.next()) else { return Self::Whole };
        match specs(value).as_deref() {
            None => Self::Whole,
            Some([Spec::From(first, last)]) => {
                Self::From(*first, last.map(|last| last.saturating_add(1)))
            }
            Some([Spec::Last(_)]) => Self::Last,
            Some(_) => Self::Several,
        }
    }
}

/// What the field asks of a body of this length.
pub(super) fn wanted(request: &Block, complete: Option<u64>) -> Wanted {
    let mut values = request.values(FieldId::Range);
    let (Some(value), None) = (values.next(), values.next()) else { return Wanted::Whole };
    let Some(specs) = specs(value) else { return Wanted::Whole };
    let mut parts = Vec::new();
    for spec in specs {
        match (place(spec, complete), complete) {
            (Some(range), _) => add(&mut parts, range),
            (None, None) => return Wanted::Unknown,
            (None, Some(_)) => {}
        }
    }
    if parts.is_empty() {
        return Wanted::Unsatisfiable;
    }
    let total: u64 = parts.iter().map(|part| part.end - part.start).sum();
    let overhead = if parts.len() > 1 { OVERHEAD * parts.len() as u64 } else { 0 };
    if complete.is_some_and(|complete| parts.len() > 1 && total + overhead > complete.max(4096)) {
        // Overlapping ones, or so many that the whole is less (RFC 9110 §17.15).
        return Wanted::Whole;
    }
    Wanted::Parts(Ranges { parts, complete })
}

fn specs(value: &[u8]) -> Option<Vec<Spec>> {
    let (unit, set) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut specs = Vec::new();
    for member in list::elements(set) {
        if specs.len() == MAX_RANGES {
            return None;
        }
        specs.push(spec(member)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn spec(text: &[u8]) -> Option<Spec> {
    let dash = memchr::memchr(b'-', text)?;
    let (first, last) = (&text[..dash], &text[dash + 1..]);
    match (first, last) {
        ([], last) => Some(Spec::Last(number(last)?)),
        (first, []) => Some(Spec::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From(first, Some(last)))
        }
    }
}

fn place(spec: Spec, complete: Option<u64>) -> Option<Range<u64>> {
    let range = match (spec, complete) {
        (Spec::From(first, Some(last)), None) => first..last.saturating_add(1),
        (_, None) => return None,
        (Spec::From(first, last), Some(complete)) => {
            first..last.map_or(complete, |last| last.saturating_add(1).min(complete))
        }
        (Spec::Last(count), Some(complete)) => complete.saturating_sub(count)..complete,
    };
    (range.start < range.end).then_some(range)
}

/// Puts a range to those that it touches, else at the end (RFC 9110 §14.2 allows that).
fn add(parts: &mut Vec<Range<u64>>, mut range: Range<u64>) {
    while let Some(at) = parts.iter().position(|p| p.start <= range.end && range.start <= p.end) {
        let part = parts.remove(at);
        range = part.start.min(range.start)..part.end.max(range.end);
    }
    parts.push(range);
}

/// Digits only; what is too much for 63 bits is the most there is.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add).min(i64::MAX as u64))
}

impl Ranges {
    /// The one that there is, if it is one.
    #[must_use]
    pub fn single(&self) -> Option<Range<u64>> {
        match &self.parts[..] {
            [one] => Some(one.clone()),
            _ => None,
        }
    }
}

/// `Content-Range` (RFC 9110 §14.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRange {
    /// Which bytes.
    pub range: Range<u64>,
    /// Of how many.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// Parses `bytes first-last/complete`.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (unit, rest) = value.trim_ascii().split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = memchr::memchr(b'/', rest)?;
        let (range, complete) = (&rest[..slash], &rest[slash + 1..]);
        let dash = memchr::memchr(b'-', range)?;
        let first = number(&range[..dash])?;
        let end = number(&range[dash + 1..])?.checked_add(1)?;
        let complete = if complete == b"*" { None } else { Some(number(complete)?) };
        let valid = first < end && complete.is_none_or(|complete| end <= complete);
        valid.then_some(Self { range: first..end, complete })
    }

    /// That of a 206 with one part whose length is what it says.
    #[must_use]
    pub fn of_part(fields: &Block) -> Option<Self> {
        let mut values = fields.values(FieldId::ContentRange);
        let part = Self::parse(values.next()?)?;
        let length = part.range.end - part.range.start;
        let fits = match fields.get(FieldId::ContentLength) {
            Some(_) => super::storable::content_length(fields) == Some(length),
            None => true,
        };
        (values.next().is_none() && fits).then_some(part)
    }
}

impl std::fmt::Display for ContentRange {
    /// As the field has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bytes {}-{}/", self.range.start, self.range.end.saturating_sub(1))?;
        match self.complete {
            Some(complete) => write!(f, "{complete}"),
            None => f.write_str("*"),
        }
    }
}

/// A body of several parts (`multipart/byteranges`, RFC 9110 §14.6): heads to be written before
/// each of them, and an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipart {
    boundary: String,
    heads: Vec<Vec<u8>>,
    end: Vec<u8>,
    length: u64,
}

impl Multipart {
    /// That of these ranges of a body of this type. The boundary is random: nobody knows it who
    /// writes bodies.
    #[must_use]
    pub fn new(ranges: &Ranges, content_type: Option<&[u8]>, random: u128) -> Self {
        let boundary = format!("{random:032x}");
        let mut heads = Vec::with_capacity(ranges.parts.len());
        let mut length = 0;
        for range in &ranges.parts {
            let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
            if let Some(kind) = content_type {
                head.extend_from_slice(b"Content-Type: ");
                head.extend_from_slice(kind);
                head.extend_from_slice(b"\r\n");
            }
            let content = ContentRange { range: range.clone(), complete: ranges.complete };
            head.extend_from_slice(format!("Content-Range: {content}\r\n\r\n").as_bytes());
            length += head.len() as u64 + (range.end - range.start);
            heads.push(head);
        }
        let end = format!("\r\n--{boundary}--\r\n").into_bytes();
        length += end.len() as u64;
        Self { boundary, heads, end, length }
    }

    /// The type of the whole body.
    #[must_use]
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// How long the whole body is.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What stands before the part with this number.
    #[must_use]
    pub fn head(&self, part: usize) -> &[u8] {
        &self.heads[part]
    }

    /// What stands behind the last one.
    #[must_use]
    pub fn end(&self) -> &[u8] {
        &self.end
    }
}
