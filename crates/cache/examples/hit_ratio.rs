//! What the memory tier is worth, and what it costs: hit ratios on Zipf traces of a million
//! objects, with room for a quarter of them, with and without a scan in between, beside LRU and
//! `quick_cache`; nanoseconds of a look-up; what an answer takes of memory.
//!
//! `cargo run --release -p cache --example hit_ratio`; it takes about a minute. With `ratios`
//! behind it (`-- ratios`), the hit ratios only.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cache::{Cache, Found, Settings};
use message::Block;

use objects::{key, stored};

mod objects;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OBJECTS: u32 = 1_000_000;
const REQUESTS: usize = 3_000_000;

/// Answers whose memory is measured.
const FEW: u32 = 50_000;

/// The bodies of traces: only how long they are matters there.
static BODY: [u8; 128 << 10] = [0; 128 << 10];

fn main() {
    if std::env::args().nth(1).as_deref() == Some("ratios") {
        return ratios();
    }
    cost();
    ratios();
    lookups();
}

/// Hit ratios of the requests that are no scan, in percent, behind a warming up.
fn ratios() {
    let total: u64 = (0..OBJECTS).map(weight).sum();
    let capacity = total / 4;
    println!("\nhit ratio, {OBJECTS} objects of {} MiB, room for a quarter", total >> 20);
    println!("trace          ours   LRU  quick_cache");
    for exponent in [0.7, 0.9, 1.1] {
        for scan in [false, true] {
            let trace = trace(exponent, scan);
            let ours = run(&trace, Ours::new(capacity));
            let lru = run(&trace, Lru::new(capacity));
            let quick = run(&trace, Quick::new(capacity));
            let name = if scan { "zipf+scan" } else { "zipf" };
            println!("{name:9} {exponent:.1}  {ours:5.2} {lru:5.2}  {quick:5.2}");
        }
    }
}

/// What a policy does with a request for an object: whether it has it; if not, it has it now.
trait Policy {
    fn request(&mut self, object: u32) -> bool;
}

fn run(trace: &[u32], mut policy: impl Policy) -> f64 {
    let (mut hits, mut all) = (0, 0);
    for (at, object) in trace.iter().enumerate() {
        let hit = policy.request(*object);
        if at > trace.len() / 2 && *object < OBJECTS {
            all += 1;
            hits += usize::from(hit);
        }
    }
    100.0 * hits as f64 / all as f64
}

struct Ours(Arc<Cache>);

impl Ours {
    fn new(memory: u64) -> Self {
        Self(Cache::new(&Settings { memory, max_object: memory }))
    }
}

impl Policy for Ours {
    fn request(&mut self, object: u32) -> bool {
        let key = key(object);
        let hit = matches!(self.0.find(&key, &Block::default()), Found::Here(_));
        if !hit {
            self.0.insert(stored(key, Bytes::from_static(&BODY[..size(object)])));
        }
        hit
    }
}

struct Quick(quick_cache::sync::Cache<u32, (), Weigh>);

#[derive(Clone)]
struct Weigh;

impl quick_cache::Weighter<u32, ()> for Weigh {
    fn weight(&self, object: &u32, (): &()) -> u64 {
        weight(*object)
    }
}

impl Quick {
    fn new(capacity: u64) -> Self {
        let objects = OBJECTS as usize / 4;
        Self(quick_cache::sync::Cache::with_weighter(objects, capacity, Weigh))
    }
}

impl Policy for Quick {
    fn request(&mut self, object: u32) -> bool {
        let hit = self.0.get(&object).is_some();
        if !hit {
            self.0.insert(object, ());
        }
        hit
    }
}

/// Least recently used: a list through an array.
struct Lru {
    capacity: u64,
    used: u64,
    places: HashMap<u32, (u32, u32)>,
    newest: u32,
    oldest: u32,
}

const NOBODY: u32 = u32::MAX;

impl Lru {
    fn new(capacity: u64) -> Self {
        let places = HashMap::new();
        Self { capacity, used: 0, places, newest: NOBODY, oldest: NOBODY }
    }

    fn unlink(&mut self, object: u32) -> bool {
        let Some((newer, older)) = self.places.remove(&object) else { return false };
        match self.places.get_mut(&newer) {
            Some(place) => place.1 = older,
            None => self.newest = older,
        }
        match self.places.get_mut(&older) {
            Some(place) => place.0 = newer,
            None => self.oldest = newer,
        }
        self.used -= weight(object);
        true
    }
}

impl Policy for Lru {
    fn request(&mut self, object: u32) -> bool {
        let hit = self.unlink(object);
        self.places.insert(object, (NOBODY, self.newest));
        match self.places.get_mut(&self.newest) {
            Some(place) => place.0 = object,
            None => self.oldest = object,
        }
        self.newest = object;
        self.used += weight(object);
        while self.used > self.capacity {
            let oldest = self.oldest;
            self.unlink(oldest);
        }
        hit
    }
}

/// Nanoseconds of a look-up.
fn lookups() {
    let cache = Cache::new(&Settings { memory: 4 << 30, max_object: 1 << 20 });
    let keys: Vec<_> = (0..OBJECTS).map(key).collect();
    for key in &keys {
        cache.insert(stored(key.clone(), Bytes::from_static(&BODY[..100])));
    }
    let request = Block::default();
    let time = |name: &str, order: &[u32]| {
        let start = Instant::now();
        for object in order {
            black_box(cache.find(&keys[*object as usize], &request));
        }
        let each = start.elapsed().as_nanos() as f64 / order.len() as f64;
        println!("find, {name}: {each:.0} ns");
    };
    println!();
    let start = Instant::now();
    let mut random = Random(5);
    for _ in 0..2_000_000 {
        let key = &keys[random.below(OBJECTS) as usize];
        black_box((key.hash(), key.text()[0]));
    }
    println!("(to touch one of a million keys: {} ns)", start.elapsed().as_nanos() / 2_000_000);
    time("one object again and again", &vec![7; 2_000_000]);
    time("a thousand objects in turn", &(0..2_000_000).map(|at| at % 1000).collect::<Vec<_>>());
    for exponent in [0.9, 1.1] {
        time(&format!("zipf {exponent} of a million"), &trace(exponent, false)[..2_000_000]);
    }
    let mut random = Random(5);
    let anywhere: Vec<_> = (0..2_000_000).map(|_| random.below(OBJECTS)).collect();
    time("a million at random", &anywhere);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2_000_000 {
                    black_box(cache.find(&keys[7], &request));
                }
            });
        }
    });
    println!("find, one object by two threads: {} ns", start.elapsed().as_nanos() / 2_000_000);
}

/// What an answer takes of memory, and what is counted. Comes first: what others have given back
/// to the allocator would be taken again unseen.
fn cost() {
    println!("memory for {FEW} answers with five fields, in bytes for each");
    println!("  body  resident  counted");
    let mut all = Vec::new();
    for size in [0, 100, 1000, 10_000] {
        let before = resident();
        let cache = Cache::new(&Settings { memory: 8 << 30, max_object: 1 << 20 });
        for object in 0..FEW {
            cache.insert(stored(key(object), Bytes::from(vec![1; size])));
        }
        let (taken, counted) = (resident() - before, cache.stats().bytes);
        println!("{size:6} {:9} {:8}", taken / u64::from(FEW), counted / u64::from(FEW));
        all.push(cache);
    }
}

/// Sizes as they are on the web: most are small, few are large.
fn size(object: u32) -> usize {
    let chance = f64::from(Random(u64::from(object) + 1).below(1 << 20) + 1) / f64::from(1 << 20);
    ((500.0 / chance) as usize).min(BODY.len())
}

/// What an object costs the others, which count nothing themselves: what it costs us.
fn weight(object: u32) -> u64 {
    size(object) as u64 * 17 / 16 + 1200
}

/// Requests by popularity; with a scan, every second is for something that nobody asks for again.
fn trace(exponent: f64, scan: bool) -> Vec<u32> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=OBJECTS)
        .map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        })
        .collect();
    let mut random = Random(1);
    let mut next = OBJECTS;
    (0..REQUESTS)
        .map(|at| {
            if scan && at % 2 == 0 {
                next += 1;
                return next;
            }
            let at = f64::from(random.below(u32::MAX)) / f64::from(u32::MAX) * sum;
            let rank = sums.partition_point(|sum| *sum < at) as u32;
            // Popularity has nothing to do with size.
            (rank.wrapping_mul(7919)) % OBJECTS
        })
        .collect()
}

/// A sequence of numbers (xorshift*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        ((high * u64::from(end)) >> 32) as u32
    }
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
