//! Validation of what is stored (RFC 9111 §4.3).

use std::sync::Arc;

use message::{Block, FieldId, ResponseHead, hop};

use super::date::{http_date, parse_date};
use super::entity_tag::EntityTag;
use super::storable::{assess, compact, content_length};
use super::{Asked, NotStored, Terms, tags_of};
use crate::{Stored, StoredHead, Time, Vary};

/// Makes a request one that validates these answers: what the client asked conditionally, and
/// for which part, goes, and what is known of them comes. False: nothing is known, and the
/// request is for the whole.
pub fn validators<'a>(stored: impl IntoIterator<Item = &'a Stored>, request: &mut Block) -> bool {
    for id in OF_THE_CLIENT {
        request.remove(id);
    }
    let mut tags: Vec<&[u8]> = Vec::new();
    let (mut modified, mut count) = (None, 0);
    for stored in stored {
        let fields = &stored.head.fields;
        count += 1;
        if EntityTag::of(fields).is_some() {
            tags.extend(fields.get(FieldId::ETag).filter(|_| tags.len() < MOST_TAGS));
        }
        modified = fields.get(FieldId::LastModified).filter(|date| parse_date(date).is_some());
    }
    if !tags.is_empty() {
        request.push(b"If-None-Match", &[&tags.join(&b", "[..])]);
    }
    // A date tells nothing where there are several.
    let modified = modified.filter(|_| count == 1);
    if let Some(date) = modified {
        request.push(b"If-Modified-Since", &[date]);
    }
    !tags.is_empty() || modified.is_some()
}

const MOST_TAGS: usize = 16;

const OF_THE_CLIENT: [FieldId; 6] = [
    FieldId::IfMatch,
    FieldId::IfNoneMatch,
    FieldId::IfModifiedSince,
    FieldId::IfUnmodifiedSince,
    FieldId::IfRange,
    FieldId::Range,
];

/// Which of the answers that were to be validated a 304 is about (RFC 9111 §4.3.4). If there was
/// one only, it is that one, also where the origin writes its tag in another way.
#[must_use]
pub fn selected_by(candidates: &[Arc<Stored>], head: &ResponseHead) -> Option<usize> {
    if candidates.len() <= 1 {
        return candidates.len().checked_sub(1);
    }
    if let Some(tag) = EntityTag::of(&head.fields) {
        let position = |strongly: bool| {
            candidates.iter().position(|stored| {
                let other = EntityTag::of(&stored.head.fields);
                other.is_some_and(|other| match strongly {
                    true => tag.is_strongly(&other),
                    false => tag.is_weakly(&other),
                })
            })
        };
        return position(true).or_else(|| position(false));
    }
    let modified = head.fields.get(FieldId::LastModified)?;
    candidates
        .iter()
        .position(|stored| stored.head.fields.get(FieldId::LastModified) == Some(modified))
}

/// What is stored, after a 304 or a part has said how it is now (RFC 9111 §3.2), and why that is
/// not to be kept, if so. In that case it may still be given to this client, and what was stored
/// goes, unless [`NotStored::is_of_request`].
///
/// `request` and `asked` are those of the request that was answered.
#[must_use]
pub fn freshened(
    stored: &Stored,
    terms: &Terms,
    request: &Block,
    asked: &Asked,
    head: &ResponseHead,
    (requested, received): (Time, Time),
) -> (Stored, Option<NotStored>) {
    let status = stored.head.status;
    let assess = |fields: &Block| assess(terms, asked, status, fields, requested, received);
    let mut fields = merged(&stored.head.fields, &head.fields);
    let mut assessed = assess(&fields);
    if assessed == Err(NotStored::SetCookie) && head.fields.get(FieldId::SetCookie).is_some() {
        // The cookies are for this client; the answer may go on without them.
        fields.remove(FieldId::SetCookie);
        assessed = assess(&fields);
    }
    let why = assessed.as_ref().err().copied();
    // The age of what came counts, and is not kept; the date is, and not counted where it is ours.
    fields.remove(FieldId::Age);
    if fields.get(FieldId::Date).is_none() {
        fields.push(b"Date", &[http_date(received).as_bytes()]);
    }
    let facts = assessed.unwrap_or_else(|_| {
        let mut facts = stored.facts.clone();
        (facts.requested, facts.received, facts.lifetime) = (requested, received, 0);
        (facts.while_revalidate, facts.if_error) = (0, 0);
        facts
    });
    let vary = Vary::of_answer(&fields, request).unwrap_or_else(|| stored.vary.clone());
    let tags = tags_of(&fields);
    let head = StoredHead { status, fields: compact(&fields) };
    (Stored { head, facts, vary, tags, ..copy(stored) }, why)
}

/// The same answer, to be changed.
pub(super) fn copy(stored: &Stored) -> Stored {
    stored.with_facts(stored.facts.clone())
}

/// The stored fields, each replaced by those of its name that came, but for what is about the
/// stored body.
fn merged(stored: &Block, came: &Block) -> Block {
    let mut came = came.clone();
    hop::strip(&mut came);
    came.remove_where(|id, name| {
        id == FieldId::ContentLength || is_of_the_body(name) || is_of_a_proxy(id)
    });
    let mut fields = stored.clone();
    fields.remove_where(|id, name| match id {
        FieldId::Other => came.values_named(name).next().is_some(),
        // The moment of the old answer is no longer that of this one.
        FieldId::Date => true,
        id => came.get(id).is_some(),
    });
    for field in came.iter() {
        fields.push(came.name(field), &[came.value(field)]);
    }
    fields
}

fn is_of_the_body(name: &[u8]) -> bool {
    const OF_THE_BODY: [&[u8]; 8] = [
        b"content-encoding",
        b"content-range",
        b"content-md5",
        b"etag",
        b"digest",
        b"content-digest",
        b"repr-digest",
        b"accept-ranges",
    ];
    OF_THE_BODY.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn is_of_a_proxy(id: FieldId) -> bool {
    matches!(
        id,
        FieldId::ProxyAuthenticate
            | FieldId::ProxyAuthenticationInfo
            | FieldId::ProxyAuthorization
            | FieldId::Trailer
    )
}

/// What an answer to HEAD says of the one to GET that is stored (RFC 9111 §4.3.5).
#[derive(Debug)]
pub enum ByHead {
    /// It is as it was, and fresh again.
    Freshened(Box<Stored>),
    /// It is another one now.
    Invalid,
    /// Nothing.
    Unrelated,
}

/// What is stored, after the answer to a HEAD request that it would have been selected for.
#[must_use]
pub fn freshened_by_head(
    stored: &Stored,
    terms: &Terms,
    request: &Block,
    asked: &Asked,
    head: &ResponseHead,
    times: (Time, Time),
) -> ByHead {
    if head.status != 200 || stored.head.status != 200 {
        return ByHead::Unrelated;
    }
    let (old, new) = (&stored.head.fields, &head.fields);
    let differs = |id: FieldId| new.get(id).is_some() && new.get(id) != old.get(id);
    let length = content_length(new).is_some_and(|length| stored.length != Some(length));
    if differs(FieldId::ETag) || differs(FieldId::LastModified) || length {
        return ByHead::Invalid;
    }
    // Without a validator that is the same, nobody says that it is the same answer.
    if ![FieldId::ETag, FieldId::LastModified].into_iter().any(|id| new.get(id).is_some()) {
        return ByHead::Unrelated;
    }
    match freshened(stored, terms, request, asked, head, times) {
        (fresh, None) => ByHead::Freshened(Box::new(fresh)),
        (_, Some(_)) => ByHead::Unrelated,
    }
}
