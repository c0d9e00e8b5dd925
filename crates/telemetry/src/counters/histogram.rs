//! How long things took, in buckets that double.

use std::time::Duration;

use super::Counter;

/// Buckets with a bound; what takes longer than the last only counts in the total.
pub const BUCKETS: usize = 20;

/// The first bucket holds what took up to 2⁷ µs.
const FIRST_POWER: u32 = 7;

/// A histogram of durations. The bounds are powers of two in microseconds, from 128 µs to
/// 67 s, so that the right one is found without a search.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    beyond: Counter,
    sum_micros: Counter,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets.get(bucket(nanos)).unwrap_or(&self.beyond).inc();
        self.sum_micros.add(nanos / 1000);
    }

    /// How many fell into each bucket alone, and how many beyond the last.
    pub fn get(&self) -> ([u64; BUCKETS], u64) {
        (std::array::from_fn(|i| self.buckets[i].get()), self.beyond.get())
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        let (buckets, beyond) = self.get();
        buckets.iter().sum::<u64>() + beyond
    }

    /// Microseconds of all together.
    pub fn sum_micros(&self) -> u64 {
        self.sum_micros.get()
    }
}

/// The inclusive upper bound of a bucket, in microseconds.
pub const fn bucket_bound(bucket: usize) -> u64 {
    1 << (bucket + FIRST_POWER as usize)
}

/// The first bucket whose bound is not below `nanos`; [`BUCKETS`] or more if there is none.
fn bucket(nanos: u64) -> usize {
    let micros = nanos.div_ceil(1000);
    let power = u64::BITS - micros.saturating_sub(1).leading_zeros();
    power.saturating_sub(FIRST_POWER) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        for i in 0..BUCKETS {
            let nanos = bucket_bound(i) * 1000;
            assert_eq!(bucket(nanos), i);
            assert_eq!(bucket(nanos + 1), i + 1);
        }
        assert_eq!(bucket(0), 0);
        assert!(bucket(u64::MAX) >= BUCKETS);
    }

    #[test]
    fn what_takes_too_long_still_counts() {
        let histogram = Histogram::default();
        histogram.observe(Duration::MAX);
        histogram.observe(Duration::from_millis(1));
        assert_eq!((histogram.get().1, histogram.count()), (1, 2));
    }

    proptest! {
        #[test]
        fn same_as_a_search(nanos in 0_u64..200_000_000_000) {
            let searched = (0..BUCKETS).find(|i| nanos <= bucket_bound(*i) * 1000);
            prop_assert_eq!(bucket(nanos).min(BUCKETS), searched.unwrap_or(BUCKETS));
        }
    }
}
