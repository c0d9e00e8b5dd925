//! What all tests of the rules share.

mod answering;
mod properties;
mod selecting;
mod storing;
mod suspecting;
mod using;
mod validating;

use message::{Block, Method, ResponseHead, Version};

use super::*;
use crate::{Body, Facts, Key, Part, Stored, Time, Vary};

/// A Sunday in 2022; the moment at which every test begins.
const NOW: Time = Time(1_656_842_400_000);

fn block(fields: &[(&str, &str)]) -> Block {
    let mut block = Block::default();
    for (name, value) in fields {
        block.push(name.as_bytes(), &[value.as_bytes()]);
    }
    block
}

fn response(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    ResponseHead { fields: block(fields), status, version: Version::Http11, reason_at: 0..0 }
}

/// A date so many seconds from the beginning.
fn date(seconds: i64) -> String {
    http_date(Time(NOW.0 + seconds * 1000))
}

fn later(seconds: u64) -> Time {
    NOW.after(seconds * 1000)
}

fn get(fields: &[(&str, &str)]) -> (Block, Asked) {
    let fields = block(fields);
    let asked = Asked::of(Method::Get, &fields);
    (fields, asked)
}

/// What becomes of this answer to a plain request.
fn stored(status: u16, fields: &[(&str, &str)]) -> Result<Facts, NotStored> {
    stored_for(&[], &Terms::default(), status, fields)
}

fn stored_for(
    request: &[(&str, &str)],
    terms: &Terms,
    status: u16,
    fields: &[(&str, &str)],
) -> Result<Facts, NotStored> {
    let (request, asked) = get(request);
    storable(terms, &request, &asked, &response(status, fields), NOW, NOW)
}

/// How many seconds a 200 with these fields is fresh; `None`: it is not stored.
fn fresh_for(fields: &[(&str, &str)]) -> Option<u64> {
    stored(200, fields).ok().map(|facts| {
        let left = facts.lifetime.saturating_sub(facts.initial_age) / 1000;
        if facts.no_cache { 0 } else { left }
    })
}

/// A stored answer with this body.
fn kept_as(status: u16, fields: &[(&str, &str)], body: &'static str) -> Stored {
    let head = response(status, fields);
    let (request, asked) = get(&[("Range", "bytes=0-")]);
    let terms = Terms::default();
    let facts = storable(&terms, &request, &asked, &head, NOW, NOW).expect("may be stored");
    let whole = bytes::Bytes::from_static(body.as_bytes());
    let (length, body) = match ContentRange::of_part(&head.fields) {
        Some(part) if status == 206 => {
            let parts = vec![Part { offset: part.range.start, bytes: whole }];
            (part.complete, Body::Memory(parts.into()))
        }
        _ => (Some(body.len() as u64), Body::whole(whole)),
    };
    Stored {
        key: Key::new(b"reverse http://host /"),
        url: 0,
        vary: Vary::of_answer(&head.fields, &request).expect("not for one request only"),
        head: kept(&terms, &head, NOW),
        facts,
        tags: tags_of(&head.fields),
        length,
        body,
        trailers: None,
        held: Default::default(),
        purged_by: 0.into(),
        hits: 0.into(),
        coded: Default::default(),
    }
}

fn lines(fields: &Block) -> String {
    let mut out = Vec::new();
    fields.write_lines(&mut out, |_| false);
    String::from_utf8(out).expect("the fields of tests are text")
}
