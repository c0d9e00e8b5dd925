//! Of which URLs something may be on the disk: a Bloom filter of two bits for each, so that a request
//! that changes something need not leave a mark for what was never stored.

use std::sync::atomic::{AtomicU64, Ordering};

/// Its bits: with a million URLs one of twenty others seems to be there, too. Tests
/// make many of these, with few URLs.
const BITS: usize = if cfg!(test) { 1 << 20 } else { 1 << 24 };

pub(super) struct Urls(Box<[AtomicU64]>);

impl Default for Urls {
    fn default() -> Self {
        Self(std::iter::repeat_with(AtomicU64::default).take(BITS / 64).collect())
    }
}

impl Urls {
    pub(super) fn add(&self, url: u32) {
        for bit in bits(url) {
            let word = &self.0[bit / 64];
            let mask = 1 << (bit % 64);
            if word.load(Ordering::Acquire) & mask == 0 {
                word.fetch_or(mask, Ordering::AcqRel);
            }
        }
    }

    pub(super) fn may_have(&self, url: u32) -> bool {
        bits(url).iter().all(|bit| self.0[bit / 64].load(Ordering::Acquire) & 1 << (bit % 64) != 0)
    }
}

/// The bits of a URL.
fn bits(url: u32) -> [usize; 2] {
    let mixed = u64::from(url).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    [mixed >> 40, mixed >> 16].map(|part| part as usize % BITS)
}
