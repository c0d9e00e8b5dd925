//! How long a purge takes that finds a million answers: by a tag that all of them have, by one that
//! every tenth has, and by everything else that a purge can be about; hard and soft.
//!
//! `cargo run --release -p cache --example purge_million`; it takes a quarter of a minute and
//! about a gigabyte.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cache::{Cache, Purge, Settings, Stored, What};

use objects::{key, stored};

mod objects;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OBJECTS: u32 = 1_000_000;
/// Every answer has this tag, and one of ten others, and one of a thousand others.
const ALL: u128 = 1;
const TENTHS: u32 = 10;
const THOUSANDTHS: u32 = 1000;

fn main() {
    for soft in [false, true] {
        purge("by a tag of all", What::Tag(ALL), soft);
        purge("by a tag of a tenth", What::Tag(2), soft);
        purge("by prefix", What::Prefix((*b"https://www.example.org/static/").into()), soft);
        purge("by host", What::Host((*b"www.example.org").into()), soft);
        purge("with all else", What::All, soft);
    }
}

/// Fills a cache, purges, and prints how long that took: from the call to its return, when no
/// core finds any of them.
fn purge(name: &str, what: What, soft: bool) {
    let cache = filled();
    let start = Instant::now();
    let report = cache.purge(&Purge { what, soft });
    let time = start.elapsed().as_millis();
    let name = if soft { format!("softly {name}") } else { name.to_owned() };
    println!("{} of {OBJECTS} purged {name} in {time} ms", report.objects);
}

fn filled() -> Arc<Cache> {
    let cache = Cache::new(&Settings { memory: 8 << 30, max_object: 1 << 20 });
    for object in 0..OBJECTS {
        let tenth = 2 + u128::from(object % TENTHS);
        let thousandth = 100 + u128::from(object % THOUSANDTHS);
        let body = Bytes::from_static(&[1; 100]);
        cache.insert(Stored { tags: [ALL, tenth, thousandth].into(), ..stored(key(object), body) });
    }
    cache
}
