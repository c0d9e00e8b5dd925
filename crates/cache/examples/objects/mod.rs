//! Answers for the examples.

use bytes::Bytes;
use cache::{Body, Facts, Held, Key, Stored, StoredHead, Vary};
use message::Block;

/// Keys as they are.
pub fn key(object: u32) -> Key {
    Key::new(format!("r https://www.example.org/static/img/{object:08}.jpg").as_bytes())
}

/// An answer as they are.
pub fn stored(key: Key, body: Bytes) -> Stored {
    let mut fields = Block::default();
    fields.push(b"Content-Type", &[b"image/jpeg"]);
    fields.push(b"Cache-Control", &[b"public, max-age=86400"]);
    fields.push(b"ETag", &[b"\"5f3a-18c2e7a1b40\""]);
    fields.push(b"Last-Modified", &[b"Tue, 02 Sep 2025 10:12:00 GMT"]);
    fields.push(b"Date", &[b"Tue, 23 Sep 2025 11:45:00 GMT"]);
    fields.compact();
    Stored {
        purged_by: 0.into(),
        hits: 0.into(),
        url: key.hash(),
        key,
        vary: Vary::default(),
        held: Held::default(),
        tags: Box::default(),
        head: StoredHead { status: 200, fields },
        facts: Facts::default(),
        length: Some(body.len() as u64),
        body: Body::whole(body),
        trailers: None,
        coded: Default::default(),
    }
}
