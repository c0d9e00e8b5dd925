//! What is sent of a stored answer: all of it, parts, or that the client has it already
//! (RFC 9110 §13.2.2 and §14.2, RFC 9111 §4.3.2).

use message::{Block, FieldId, Method};

use super::Asked;
use super::date::parse_date;
use super::entity_tag::{self, EntityTag};
use super::range::{Ranges, Wanted, wanted};
use crate::{Body, Stored, Time};

/// What there is.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    /// The status.
    pub status: u16,
    /// The fields.
    pub fields: &'a Block,
    /// When it was made, as far as anybody knows.
    pub date: Time,
    /// How long the whole body is.
    pub length: Option<u64>,
    /// What there is of it; `None`: all of it will be there.
    pub body: Option<&'a Body>,
}

impl<'a> From<&'a Stored> for Kept<'a> {
    fn from(stored: &'a Stored) -> Self {
        Self {
            status: stored.head.status,
            fields: &stored.head.fields,
            date: stored.facts.date,
            length: stored.length,
            body: Some(&stored.body),
        }
    }
}

/// What is sent of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All of it.
    Full,
    /// 304: the client has it.
    NotModified,
    /// 412, as far as we know: who asks the origin instead is right as well.
    PreconditionFailed,
    /// 206: these.
    Partial(Ranges),
    /// 416: none of it is what was asked for.
    Unsatisfiable {
        /// How long the whole is.
        complete: u64,
    },
    /// What was asked for is not all there.
    Incomplete,
}

/// What is sent of it to this request, which may use it.
#[must_use]
pub fn answer_to(kept: &Kept<'_>, asked: &Asked, request: &Block) -> Answer {
    // RFC 9110 §13.2.1: conditions are about successes.
    if asked.conditional && (200..300).contains(&kept.status) {
        if fails(kept, request) {
            return Answer::PreconditionFailed;
        }
        if is_held(kept, request) {
            return Answer::NotModified;
        }
    }
    if asked.range && asked.method == Method::Get && kept.status == 200 && may_range(kept, request)
    {
        match wanted(request, kept.length) {
            Wanted::Parts(ranges) => return partial(kept, ranges),
            Wanted::Unsatisfiable => {
                return kept
                    .length
                    .map_or(Answer::Full, |complete| Answer::Unsatisfiable { complete });
            }
            Wanted::Unknown if kept.body.is_some() => return Answer::Incomplete,
            Wanted::Unknown | Wanted::Whole => {}
        }
    }
    let all = match (kept.body, kept.length) {
        (None, _) => true,
        (Some(body), Some(length)) => asked.method == Method::Head || body.covers(0, length),
        (Some(_), None) => false,
    };
    if all { Answer::Full } else { Answer::Incomplete }
}

fn partial(kept: &Kept<'_>, ranges: Ranges) -> Answer {
    let there = |body: &Body| ranges.parts.iter().all(|part| body.covers(part.start, part.end));
    if kept.body.is_none_or(there) { Answer::Partial(ranges) } else { Answer::Incomplete }
}

/// `If-Match`, else `If-Unmodified-Since`, is false.
fn fails(kept: &Kept<'_>, request: &Block) -> bool {
    if request.get(FieldId::IfMatch).is_some() {
        let tag = EntityTag::of(kept.fields);
        let same = |other: &EntityTag<'_>| tag.is_some_and(|tag| tag.is_strongly(other));
        return !request
            .values(FieldId::IfMatch)
            .any(|value| value == b"*" || entity_tag::list(value).any(|other| same(&other)));
    }
    let since = request.get(FieldId::IfUnmodifiedSince).and_then(parse_date);
    since.is_some_and(|since| modified(kept).is_none_or(|modified| modified > since))
}

/// `If-None-Match`, else `If-Modified-Since`, is false.
fn is_held(kept: &Kept<'_>, request: &Block) -> bool {
    if request.get(FieldId::IfNoneMatch).is_some() {
        let tag = EntityTag::of(kept.fields);
        let same = |other: EntityTag<'_>| tag.is_some_and(|tag| tag.is_weakly(&other));
        return request
            .values(FieldId::IfNoneMatch)
            .any(|value| value == b"*" || entity_tag::list(value).any(same));
    }
    let since = request.get(FieldId::IfModifiedSince).and_then(parse_date);
    // RFC 9111 §4.3.2: without `Last-Modified`, it is as new as its date.
    since.is_some_and(|since| modified(kept).unwrap_or(kept.date) <= since)
}

fn modified(kept: &Kept<'_>) -> Option<Time> {
    kept.fields.get(FieldId::LastModified).and_then(parse_date)
}

/// `If-Range` is true, or not there (RFC 9110 §13.1.5).
fn may_range(kept: &Kept<'_>, request: &Block) -> bool {
    let mut values = request.values(FieldId::IfRange);
    let Some(value) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    if let Some(since) = parse_date(value) {
        // Two versions may be of the same second (RFC 9110 §8.8.2.2).
        return modified(kept).is_some_and(|at| at == since && kept.date.since(at) >= 1000);
    }
    let tag = EntityTag::of(kept.fields);
    EntityTag::parse(value).is_some_and(|other| tag.is_some_and(|tag| tag.is_strongly(&other)))
}
