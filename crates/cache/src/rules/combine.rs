//! Parts of a body (RFC 9111 §3.3 and §3.4, RFC 9110 §15.3.7.3).

use std::ops::Range;

use bytes::Bytes;
use message::{Block, FieldId, ResponseHead};

use super::date::parse_date;
use super::entity_tag::EntityTag;
use super::validate::freshened;
use super::{Asked, ContentRange, NotStored, Terms};
use crate::{Body, Part, Stored, Time};

/// What is stored, with a part that came; `None`: it is none of the same, and the bytes stand for
/// themselves. Why it is not to be kept, if so, is told as by [`freshened`].
///
/// Bytes that are there already stay.
#[must_use]
pub fn combine(
    stored: &Stored,
    terms: &Terms,
    request: &Block,
    asked: &Asked,
    head: &ResponseHead,
    times: (Time, Time),
    bytes: &Bytes,
) -> Option<(Stored, Option<NotStored>)> {
    let part = ContentRange::of_part(&head.fields)?;
    let Body::Memory(parts) = &stored.body else { return None };
    let long = part.range.end - part.range.start == bytes.len() as u64;
    let lengths = match (stored.length, part.complete) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    };
    if head.status != 206 || !long || !lengths || !is_same(&stored.head.fields, &head.fields) {
        return None;
    }
    let (mut combined, why) = freshened(stored, terms, request, asked, head, times);
    combined.length = stored.length.or(part.complete);
    combined.body = Body::Memory(with(parts, part.range.start, bytes));
    Some((combined, why))
}

/// Whether two answers are of the same bytes: both have the same strong validator.
fn is_same(stored: &Block, came: &Block) -> bool {
    if stored.has(FieldId::ETag) || came.has(FieldId::ETag) {
        let (ours, theirs) = (EntityTag::of(stored), EntityTag::of(came));
        return ours.zip(theirs).is_some_and(|(ours, theirs)| ours.is_strongly(&theirs));
    }
    let (ours, theirs) = (strong_date(stored), strong_date(came));
    ours.is_some() && ours == theirs
}

/// `Last-Modified`, where it cannot be of two versions (RFC 9110 §8.8.2.2).
pub(super) fn strong_date(fields: &Block) -> Option<Time> {
    let modified = fields.get(FieldId::LastModified).and_then(parse_date)?;
    let date = fields.get(FieldId::Date).and_then(parse_date)?;
    (date.since(modified) >= 1000).then_some(modified)
}

/// What `If-Range` says for a request that is to complete this answer; `None`: it has no strong
/// validator, so nothing can be put to it.
#[must_use]
pub fn if_range(stored: &Stored) -> Option<&[u8]> {
    let fields = &stored.head.fields;
    match EntityTag::of(fields) {
        Some(tag) if !tag.weak => fields.get(FieldId::ETag),
        Some(_) => None,
        None => strong_date(fields).and_then(|_| fields.get(FieldId::LastModified)),
    }
}

/// What is missing of a range of the body, from the first byte to the last one that is not there;
/// `None`: nothing.
#[must_use]
pub fn gap(body: &Body, wanted: Range<u64>) -> Option<Range<u64>> {
    let parts = match body {
        Body::Disk(disk) => {
            let from = wanted.start.max(disk.length);
            return (from < wanted.end).then_some(from..wanted.end);
        }
        Body::Memory(parts) => parts,
    };
    let ends = |part: &Part| part.offset + part.bytes.len() as u64;
    let (mut from, mut to) = (wanted.start, wanted.end);
    for part in parts {
        if part.offset <= from {
            from = from.max(ends(part));
        }
    }
    for part in parts.iter().rev() {
        if ends(part) >= to {
            to = to.min(part.offset);
        }
    }
    (from < to).then_some(from..to)
}

/// The parts, with what of these bytes they do not have.
fn with(parts: &[Part], offset: u64, bytes: &Bytes) -> Box<[Part]> {
    let mut all: Vec<Part> = Vec::with_capacity(parts.len() + 2);
    let end = offset + bytes.len() as u64;
    let mut at = offset;
    let fill = |all: &mut Vec<Part>, from: u64, to: u64| {
        if from < to {
            let within = (from - offset) as usize..(to - offset) as usize;
            all.push(Part { offset: from, bytes: bytes.slice(within) });
        }
    };
    for part in parts {
        fill(&mut all, at, part.offset.min(end));
        at = at.max((part.offset + part.bytes.len() as u64).min(end));
        all.push(part.clone());
    }
    fill(&mut all, at, end);
    all.sort_by_key(|part| part.offset);
    all.into()
}
