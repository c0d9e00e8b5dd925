//! How fast the disk is written, found again after a start, and read.
//!
//! `cargo run --release -p cache --example disk -- FOLDER [OBJECTS]`; the folder is made, and removed.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cache::{Body, Cache, Facts, Found, Held, Key, Settings, Stored, StoredHead, Vary};
use message::Block;

const GIB: u64 = 1 << 30;

fn open(folder: &Path) -> Arc<Cache> {
    let settings = Settings { memory: GIB / 4, max_object: GIB / 16 };
    Cache::with_disk(&settings, folder, 16 * GIB).expect("the folder can be made")
}

fn key(number: u64) -> Key {
    Key::new(format!("r http://a.example/some/path/to/an/object/{number}").as_bytes())
}

fn stored(number: u64, body: Bytes) -> Stored {
    let mut fields = Block::default();
    fields.push(b"Content-Type", &[b"text/html; charset=utf-8"]);
    fields.push(b"Cache-Control", &[b"max-age=600"]);
    fields.push(b"ETag", &[format!("\"{number}\"").as_bytes()]);
    let key = key(number);
    Stored {
        purged_by: u64::MAX.into(),
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

/// Keeps so many answers of this size, beginning with this number.
fn fill(cache: &Cache, first: u64, count: u64, size: usize) {
    let started = Instant::now();
    let at_once = (32 << 20) / (size as u64 + 1024);
    for number in first..first + count {
        let body: Vec<u8> = (0..size).map(|at| (at as u64 ^ number) as u8).collect();
        cache.insert(stored(number, body.into()));
        if number % at_once == 0 {
            cache.settle_disk();
        }
    }
    cache.settle_disk();
    let (time, disk) = (started.elapsed(), cache.stats().disk.unwrap_or_default());
    let bytes = count as f64 * size as f64;
    println!(
        "{count} of {size} bytes written in {time:.2?}: {:.0} a second, {:.0} MB/s; {} not",
        count as f64 / time.as_secs_f64(),
        bytes / time.as_secs_f64() / 1e6,
        disk.dropped,
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder");
    let folder = Path::new(&folder);
    let count: u64 = arguments.next().map_or(1_000_000, |count| count.parse().expect("a number"));
    let cache = open(folder);
    fill(&cache, 0, count, 512);
    fill(&cache, count, 2000, 1 << 20);
    drop(cache);

    let started = Instant::now();
    let cache = open(folder);
    cache.settle_disk();
    let time = started.elapsed();
    let disk = cache.stats().disk.unwrap_or_default();
    println!(
        "{} found again in {time:.2?}: {:.0} a second, {:.1} bytes of memory each",
        disk.objects,
        disk.objects as f64 / time.as_secs_f64(),
        disk.table as f64 / disk.objects as f64,
    );

    let started = Instant::now();
    let loads = 100_000.min(count);
    for number in 0..loads {
        let number = number.wrapping_mul(7919) % count;
        assert!(matches!(cache.load(&key(number), &Block::default()), Found::Here(_)));
    }
    println!("a small one is loaded in {:.2?}", started.elapsed() / loads as u32);
    for turn in ["first", "second"] {
        let started = Instant::now();
        for number in count..count + 500 {
            assert!(matches!(cache.load(&key(number), &Block::default()), Found::Here(_)));
        }
        println!("1 MiB is loaded in {:.2?} the {turn} time", started.elapsed() / 500);
    }
    drop(cache);
    std::fs::remove_dir_all(folder).expect("the folder can be removed");
}
