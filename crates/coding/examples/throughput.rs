//! What packing and unpacking cost: MB of body per second of one core, and how many times smaller
//! it becomes, for each coding and level.
//!
//!     cargo run --release -p coding --example throughput [SECONDS-PER-ROW]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use coding::{
    Coding, Dictionary, DictionaryCoding, Limits, decode_all, decode_by_dictionary, encode_all,
    encode_by_dictionary,
};

/// What comes out is what went in, so there is nothing to guard.
const FREE: Limits = Limits { max_size: u64::MAX, max_ratio: u32::MAX };

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(0.3), |text| text.parse())?;
    let most = Duration::try_from_secs_f64(seconds)?;
    println!(
        "{:<14} {:>5} {:>9} {:>8} {:>8} {:>8}",
        "body", "level", "size", "ratio", "pack", "unpack"
    );
    for (name, body) in [
        ("page 4 KiB", page(4 << 10)),
        ("page 64 KiB", page(64 << 10)),
        ("page 1 MiB", page(1 << 20)),
        ("JSON 256 KiB", json(256 << 10)),
    ] {
        for coding in Coding::ALL {
            for level in levels(coding) {
                let packed = encode_all(coding, level, &body)?;
                let packing =
                    rate(most, body.len(), || encode_all(coding, level, &body).map(drop))?;
                let unpacking =
                    rate(most, body.len(), || decode_all(coding, FREE, &packed).map(drop))?;
                println!(
                    "{name:<14} {:>5} {:>9} {:>8.2} {packing:>8.1} {unpacking:>8.1}",
                    format!("{} {level}", coding.as_str()),
                    packed.len(),
                    body.len() as f64 / packed.len() as f64,
                );
            }
        }
    }
    for size in [64 << 10, 1 << 20] {
        by_dictionary(most, size)?;
    }
    Ok(())
}

/// The next version of a page, by the one before.
fn by_dictionary(most: Duration, size: usize) -> Result<(), Box<dyn Error>> {
    let old = page(size);
    let mut new = old.clone();
    for at in (1000..size - 1000).step_by(size / 20) {
        new.splice(at..at + 10, *b"something quite new");
    }
    let old = Dictionary::new(old.into()).ok_or("no dictionary")?;
    for (coding, levels) in [(DictionaryCoding::Dcb, [5, 7, 9]), (DictionaryCoding::Dcz, [3, 6, 9])]
    {
        for level in levels {
            let packed = encode_by_dictionary(coding, level, &old, &new)?;
            let packing = rate(most, new.len(), || {
                encode_by_dictionary(coding, level, &old, &new).map(drop)
            })?;
            let unpacking = rate(most, new.len(), || {
                decode_by_dictionary(coding, FREE, &old, &packed).map(drop)
            })?;
            println!(
                "{:<14} {:>5} {:>9} {:>8.0} {packing:>8.1} {unpacking:>8.1}",
                format!("next {} KiB", size >> 10),
                format!("{} {level}", coding.as_str()),
                packed.len(),
                new.len() as f64 / packed.len() as f64,
            );
        }
    }
    Ok(())
}

fn levels(coding: Coding) -> Vec<u8> {
    match coding {
        Coding::Gzip => vec![1, 4, 6, 9],
        Coding::Brotli => vec![0, 1, 3, 4, 5, 7, 9, 11],
        Coding::Zstd => vec![1, 3, 6, 9, 15, 19],
    }
}

/// MB per second, by as many repetitions as fit; at least one.
fn rate<E>(most: Duration, size: usize, mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let (start, mut times) = (Instant::now(), 0u32);
    loop {
        black_box(work())?;
        times += 1;
        let spent = start.elapsed();
        if spent >= most {
            return Ok(f64::from(times) * size as f64 / 1e6 / spent.as_secs_f64());
        }
    }
}

/// A simple generator of numbers: every run sees the same bodies.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    /// Words of which some are much more frequent than others, as in a language.
    fn word(&mut self) -> String {
        let bound = self.below(600) + 1;
        let mut number = self.below(bound) * 7919 + 13;
        let mut word = String::new();
        while number > 0 {
            word.push_str(
                ["ta", "ri", "mo", "sen", "ul", "ka", "de", "ing", "or", "es"][number % 10],
            );
            number /= 10;
        }
        word
    }

    fn sentence(&mut self, words: usize) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

fn page(size: usize) -> Vec<u8> {
    let mut dice = Dice(7);
    let mut text = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Things</title></head><body>\n",
    );
    while text.len() < size {
        let (id, words) = (dice.below(100_000), 20 + dice.below(40));
        let (name, about) = (dice.sentence(3), dice.sentence(words));
        text.push_str(&format!(
            "<article class=\"card card--{}\" id=\"thing-{id}\">\n  <h2><a href=\"/things/{id}?ref={:x}\">{name}</a></h2>\n  <p class=\"about\">{about}.</p>\n</article>\n",
            ["wide", "tall", "plain"][id % 3],
            id * 77_777,
        ));
    }
    text.truncate(size);
    text.into_bytes()
}

fn json(size: usize) -> Vec<u8> {
    let mut dice = Dice(11);
    let mut text = String::from("{\"items\":[");
    while text.len() < size {
        let (name, price, stock) = (dice.sentence(2), dice.below(100_000), dice.below(500));
        text.push_str(&format!(
            "{{\"id\":{},\"name\":\"{name}\",\"price\":{}.{:02},\"currency\":\"EUR\",\"stock\":{stock},\"tags\":[\"{}\",\"{}\"],\"active\":{}}},",
            dice.below(1_000_000),
            price / 100,
            price % 100,
            dice.word(),
            dice.word(),
            stock % 3 == 0,
        ));
    }
    text.truncate(size);
    text.into_bytes()
}
