//! Measures domain lists of a million names: memory, time to read, time of a look-up. Times are
//! those that the processor spent, so that they are the same on a busy machine.
//!
//! `cargo run --release -p policy --example list_lookup [NAMES]`

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use policy::DomainList;

/// Numbers that look random and are the same on every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A name of three labels and about 22 bytes, as in public block lists.
    fn name(&mut self) -> String {
        const ENDS: [&str; 6] = ["com", "net", "org", "info", "co.uk", "de"];
        let end = ENDS[(self.next() % ENDS.len() as u64) as usize];
        let mut name = format!("{}.", ["www", "ads", "track", "cdn7"][(self.next() % 4) as usize]);
        for _ in 0..8 + self.next() % 10 {
            name.push(char::from(b'a' + (self.next() % 26) as u8));
        }
        let _ = write!(name, ".{end}");
        name
    }
}

/// What this thread has run for (schedstat of proc(5)).
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let mut numbers = Numbers(1);
    let names: Vec<String> = (0..count).map(|_| numbers.name()).collect();
    for (form, text) in [
        ("domains", names.join("\n")),
        // One in a hundred names is excepted.
        (
            "adblock",
            names.iter().enumerate().fold(String::new(), |mut text, (index, name)| {
                let _ = writeln!(text, "||{name}^");
                if index % 100 == 0 {
                    let _ = writeln!(text, "@@||good.{name}^");
                }
                text
            }),
        ),
        ("hosts", names.iter().fold(String::new(), |text, name| text + "0.0.0.0 " + name + "\n")),
    ] {
        let start = processor_time();
        let list = DomainList::read(text.as_bytes()).expect("memory can be read");
        let read = processor_time() - start;
        let (count_of_names, held) = (list.domains().len(), list.heap_bytes());
        println!(
            "{form}: {} names, {:.1} MiB of text, read in {read:.0?}, {:.1} MiB held ({:.1} bytes a name)",
            count_of_names,
            text.len() as f64 / (1024.0 * 1024.0),
            held as f64 / (1024.0 * 1024.0),
            held as f64 / count_of_names as f64,
        );

        // Out of order, so that neither table nor arena is in the cache by luck.
        let mut order = Numbers(2);
        let hits: Vec<&str> = (0..count)
            .map(|_| names[(order.next() % names.len() as u64) as usize].as_str())
            .collect();
        let misses: Vec<String> = (0..count).map(|_| order.name()).collect();
        let deep: Vec<String> = misses.iter().map(|name| format!("a.b.c.{name}")).collect();
        measure("hit", hits.iter().copied(), &list);
        measure("miss, 3 labels", misses.iter().map(String::as_str), &list);
        measure("miss, 6 labels", deep.iter().map(String::as_str), &list);
    }
}

fn measure<'a>(what: &str, names: impl ExactSizeIterator<Item = &'a str>, list: &DomainList) {
    let count = names.len();
    let start = processor_time();
    let found = names.filter(|name| black_box(list.contains(black_box(name)))).count();
    let each = (processor_time() - start).as_secs_f64() * 1e9 / count as f64;
    println!("  {what}: {each:.0} ns a look-up, {found} of {count} found");
}
