//! What is reserved of one period, and what was used of it.
//!
//! A quota is exact because nothing passes that was not reserved before, and a reservation is one
//! compare-and-swap. What was reserved and did not pass is given back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use config::Period;

use crate::calendar::Day;
use crate::purse::Purse;

/// The most that is reserved at once: few enough that a day ends when it ends, and that streams
/// under one quota take turns.
pub(crate) const MOST: u64 = 256 << 10;

/// Towards the end of a quota everybody takes a share of what is left, but no crumbs.
const SHARES: u64 = 16;
const LEAST: u64 = 4 << 10;

/// How much of what is left one may take at once.
pub(crate) fn share(left: u64) -> u64 {
    if left <= LEAST { left } else { (left / SHARES).clamp(LEAST, MOST) }
}

/// One day or month of one user.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) kind: Period,
    pub(crate) first: Day,
    /// Bytes that were granted, those that have passed included.
    reserved: AtomicU64,
    /// The same of money.
    pub(crate) purse: Purse,
    /// What has passed, as far as the writer knows.
    settled: Mutex<Used>,
    /// It was reset: another one stands in its place, and this one is not written down any more.
    retired: AtomicBool,
}

/// What was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Used {
    pub(crate) bytes: u64,
    /// In grains.
    pub(crate) cost: u128,
}

impl Tally {
    pub(crate) fn new(kind: Period, first: Day, used: Used) -> Self {
        Self {
            kind,
            first,
            reserved: AtomicU64::new(used.bytes),
            purse: Purse::spent(used.cost),
            settled: Mutex::new(used),
            retired: AtomicBool::new(false),
        }
    }

    /// Bytes that have passed or are reserved, at this moment.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Acquire)
    }

    /// Bytes of the quota that nobody has reserved.
    pub(crate) fn left(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.reserved.load(Ordering::Acquire))
    }

    /// Reserves up to `want` bytes.
    pub(crate) fn reserve(&self, want: u64, limit: u64) -> u64 {
        let mut granted = 0;
        // The closure gives nothing where nothing is left; then `granted` is zero.
        let _ = self.reserved.fetch_update(Ordering::AcqRel, Ordering::Acquire, |reserved| {
            granted = share(limit.saturating_sub(reserved)).min(want);
            (granted > 0).then(|| reserved + granted)
        });
        granted
    }

    /// Charges what has passed without having been reserved.
    pub(crate) fn charge(&self, bytes: u64) {
        self.reserved.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives back what was reserved.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.reserved.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Adds to what has passed.
    pub(crate) fn settle(&self, bytes: u64, cost: u128) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.bytes = settled.bytes.saturating_add(bytes);
        settled.cost = settled.cost.saturating_add(cost);
    }

    /// All that was settled is written down, and this is what the file says now. What is more
    /// came from another process, and is charged here too.
    pub(crate) fn written(&self, sum: Used) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if sum.bytes > settled.bytes {
            self.charge(sum.bytes - settled.bytes);
            settled.bytes = sum.bytes;
        }
        if sum.cost > settled.cost {
            self.purse.charge(sum.cost - settled.cost);
            settled.cost = sum.cost;
        }
    }

    pub(crate) fn settled(&self) -> Used {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
