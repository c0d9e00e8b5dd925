//! Answers and requests for tests.

use std::sync::Arc;

use bytes::Bytes;
use message::Block;

use crate::{
    Body, Cache, Draft, Facts, Found, Held, Key, Settings, Stored, StoredHead, Time, Vary,
};

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn cache(memory: u64) -> Arc<Cache> {
    Cache::new(&Settings { memory, max_object: memory / 4 })
}

pub(crate) fn key(path: &str) -> Key {
    Key::new(format!("r http://a.example/{path}").as_bytes())
}

pub(crate) fn url(path: &str) -> u128 {
    crate::hash(format!("http://a.example/{path}").as_bytes())
}

pub(crate) fn fields(lines: &[(&str, &str)]) -> Block {
    let mut block = Block::default();
    lines.iter().for_each(|(name, value)| block.push(name.as_bytes(), &[value.as_bytes()]));
    block
}

/// An answer to everything, with this body.
pub(crate) fn stored(path: &str, body: impl Into<Bytes>) -> Stored {
    let body: Bytes = body.into();
    Stored {
        purged_by: 0.into(),
        hits: 0.into(),
        key: key(path),
        vary: Vary::default(),
        held: Held::default(),
        url: url(path),
        tags: Box::default(),
        head: StoredHead { status: 200, fields: Block::default() },
        facts: Facts::default(),
        length: Some(body.len() as u64),
        body: Body::whole(body),
        trailers: None,
        coded: Default::default(),
    }
}

/// An answer to requests whose `X-Kind` is this, of this date.
pub(crate) fn variant(path: &str, kind: &str, date: i64) -> Stored {
    let facts = Facts { date: Time(date), ..Facts::default() };
    Stored { vary: kinds(&fields(&[("x-kind", kind)])), facts, ..stored(path, kind.to_owned()) }
}

fn kinds(request: &Block) -> Vary {
    Vary::of(&["x-kind".into()], request)
}

/// The head of what `stored` makes; `kind`: it varies by `X-Kind`.
pub(crate) fn draft(path: &str, length: Option<u64>, kind: Option<&str>) -> Draft {
    let Stored { key, url, tags, head, facts, .. } = stored(path, "");
    let vary = kind.map_or_else(Vary::default, |kind| kinds(&fields(&[("x-kind", kind)])));
    Draft { key, url, vary, head, facts, tags, length }
}

pub(crate) fn found(cache: &Cache, path: &str) -> Option<Arc<Stored>> {
    match cache.find(&key(path), &Block::default()) {
        Found::Here(stored) => Some(stored),
        Found::OtherVariants | Found::Nothing => None,
    }
}

pub(crate) fn has(cache: &Cache, path: &str) -> bool {
    found(cache, path).is_some()
}

pub(crate) fn body(stored: &Stored) -> Vec<u8> {
    let Body::Memory(parts) = &stored.body else { return Vec::new() };
    parts.iter().flat_map(|part| part.bytes.to_vec()).collect()
}
