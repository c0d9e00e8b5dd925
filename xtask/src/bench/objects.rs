//! The objects of a trace, and the requests for them: the same each time.

/// How many there are.
const OBJECTS: u32 = 1_000_000;
/// The longest of them, bytes.
pub const LONGEST: usize = 8 << 10;
/// The shortest.
const SHORTEST: usize = 1 << 10;
/// How much more popular each is than the next: that of rank `r` is asked for in proportion to
/// `r` to the power of minus this.
const EXPONENT: f64 = 0.9;

/// The length of an object, bytes.
pub fn length(object: u32) -> usize {
    SHORTEST + below(scattered(u64::from(object) + 1), LONGEST - SHORTEST + 1)
}

/// The length of all of them.
pub fn total() -> u64 {
    (0..OBJECTS).map(|object| length(object) as u64).sum()
}

/// Requests by popularity.
pub struct Trace {
    /// For each rank the popularity of all up to it.
    sums: Vec<f64>,
}

impl Trace {
    /// Makes it.
    pub fn new() -> Self {
        let mut sum = 0.0;
        let sums = (1..=OBJECTS).map(|rank| {
            sum += f64::from(rank).powf(-EXPONENT);
            sum
        });
        Self { sums: sums.collect() }
    }

    /// What request `index` is for.
    pub fn object(&self, index: u64) -> u32 {
        let all = self.sums.last().copied().unwrap_or_default();
        // 53 bits are what a float holds.
        let share = (scattered(index ^ 1 << 63) >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = self.sums.partition_point(|&sum| sum < share * all) as u64;
        // Popularity has nothing to do with the number; this has no factor in common with theirs.
        (rank * 7919 % u64::from(OBJECTS)) as u32
    }
}

/// SplitMix64: numbers that look as if they were random, found by their place.
fn scattered(place: u64) -> u64 {
    let mut bits = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

fn below(bits: u64, end: usize) -> usize {
    ((u128::from(bits) * end as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn lengths_are_spread_evenly() {
        let lengths = || (0..OBJECTS).map(length);
        assert_eq!(lengths().min(), Some(SHORTEST));
        assert_eq!(lengths().max(), Some(LONGEST));
        let mean = total() as f64 / f64::from(OBJECTS);
        assert!((mean - 4608.0).abs() < 10.0, "{mean}");
    }

    #[test]
    fn few_are_asked_for_often() {
        let trace = Trace::new();
        let mut times = HashMap::new();
        for index in 0..100_000 {
            *times.entry(trace.object(index)).or_insert(0) += 1;
        }
        // Rank 0 is object 0; in theory it has 3.3 % of all requests, the second 1.8 %.
        let share = |object: u32| f64::from(times[&object]) / 100_000.0;
        assert!((0.030..0.036).contains(&share(0)), "{}", share(0));
        assert!((0.015..0.020).contains(&share(7919)), "{}", share(7919));
        assert!(times.len() > 30_000, "{}", times.len());
        assert!(times.keys().all(|object| *object < OBJECTS));
    }
}
