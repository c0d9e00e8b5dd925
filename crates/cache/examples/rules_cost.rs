//! What the rules cost on a hit, in nanoseconds: `cargo run --release -p cache --example rules_cost`.

use std::hint::black_box;
use std::time::Instant;

use cache::rules::{Asked, CacheStatus, Kept, Terms, answer_to, judge, kept, storable, ttl, vary};
use cache::{Body, Time, Vary};
use message::{Block, Method, ResponseHead, Version};

const NOW: Time = Time(1_656_842_400_000);
const ROUNDS: u32 = 2_000_000;

fn main() {
    let browser = block(&[
        ("Host", "www.example"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Cookie", "id=0123456789abcdef"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Priority", "u=0, i"),
    ]);
    let plain = block(&[("Host", "www.example"), ("User-Agent", "curl/8"), ("Accept", "*/*")]);
    for (name, request) in [("plain", &plain), ("browser", &browser)] {
        for vary in ["", "Accept-Encoding"] {
            println!("{name:8} Vary: {vary:16} {:6.1} ns", measure(request, vary));
        }
    }
}

/// One hit: what the request says, whether the answer matches and is fresh, what is sent of it,
/// and what is told of that.
fn measure(request: &Block, named: &str) -> f64 {
    let fields = block(&[
        ("Date", "Sun, 03 Jul 2022 10:00:00 GMT"),
        ("Cache-Control", "max-age=60"),
        ("ETag", "\"0123456789abcdef\""),
        ("Content-Type", "text/html"),
        ("Vary", named),
    ]);
    let head = ResponseHead { fields, status: 200, version: Version::Http11, reason_at: 0..0 };
    let (terms, asked) = (Terms::default(), Asked::of(Method::Get, request));
    let facts = storable(&terms, request, &asked, &head, NOW, NOW).expect("it may be stored");
    let selects = Vary::of_answer(&head.fields, request).expect("it is for others");
    let stored = kept(&terms, &head, NOW);
    let body = Body::whole(vec![b'x'; 1024].into());
    let mut line = Vec::with_capacity(64);
    let begun = Instant::now();
    for round in 0..ROUNDS {
        let now = NOW.after(u64::from(round % 50_000));
        let request = black_box(request);
        let asked = Asked::of(Method::Get, request);
        black_box(vary::matches(&selects, request));
        black_box(judge(&facts, &asked, now));
        let whole = Kept {
            status: stored.status,
            fields: &stored.fields,
            date: facts.date,
            length: Some(1024),
            body: Some(&body),
        };
        black_box(answer_to(&whole, &asked, request));
        line.clear();
        let status =
            CacheStatus { hit: true, ttl: Some(ttl(&facts, now)), ..CacheStatus::default() };
        status.write(&mut line);
        black_box(&line);
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

fn block(fields: &[(&str, &str)]) -> Block {
    let mut block = Block::default();
    for (name, value) in fields {
        block.push(name.as_bytes(), &[value.as_bytes()]);
    }
    block
}
