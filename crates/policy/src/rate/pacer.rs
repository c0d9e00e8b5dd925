//! How fast a body may go.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Limiter, RateKey};

/// Fewer bytes than these are not worth a system call: whoever wants more waits for them.
const LEAST: u64 = 4096;

/// The limits in bytes that one body is under. Bodies are slowed, never refused.
#[derive(Debug)]
pub struct Pacer {
    limits: Vec<(Arc<Limiter>, RateKey)>,
    /// Granted and not used.
    credit: Cell<u64>,
}

/// How many bytes may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// So many, at least one unless none was wanted. They count as gone.
    Now(usize),
    /// None yet: ask again after this time, which is never zero. It is no promise: others who are
    /// under the same limit may come first.
    Later(Duration),
}

impl Pacer {
    /// Under all of these limits; `None` where there is none.
    #[must_use]
    pub fn new(limits: Vec<(Arc<Limiter>, RateKey)>) -> Option<Self> {
        (!limits.is_empty()).then(|| Self { limits, credit: Cell::new(0) })
    }

    /// Asks for some bytes of a body.
    #[must_use]
    pub fn grant(&self, now: Instant, want: usize) -> Grant {
        let want = want as u64;
        let mut granted = self.credit.get().min(want);
        if granted == 0 && want > 0 {
            let wait = self.wait(now, want.min(LEAST));
            if !wait.is_zero() {
                return Grant::Later(wait);
            }
            granted = self.take(now, want);
            if granted == 0 {
                // Another core came between.
                return Grant::Later(self.wait(now, 1).max(Duration::from_millis(1)));
            }
        } else {
            self.credit.set(self.credit.get() - granted);
        }
        Grant::Now(granted as usize)
    }

    /// Says that so many of the granted bytes did not go: the next ones to be asked for are
    /// granted from them.
    pub fn unused(&self, bytes: usize) {
        self.credit.set(self.credit.get() + bytes as u64);
    }

    /// How long until all limits have so many.
    fn wait(&self, now: Instant, least: u64) -> Duration {
        let waits = self.limits.iter().map(|(limit, key)| limit.available(*key, now, least).1);
        waits.max().unwrap_or_default()
    }

    /// What one limit gives and a later one does not is lost to the first: too little, never too
    /// much. Looking at all of them before makes it rare.
    fn take(&self, now: Instant, want: u64) -> u64 {
        let least = |left: u64, (limit, key): &(Arc<Limiter>, RateKey)| {
            left.min(limit.available(*key, now, 1).0)
        };
        let there = self.limits.iter().fold(want, least);
        self.limits.iter().fold(there, |left, (limit, key)| match left {
            0 => 0,
            left => limit.take(*key, now, left),
        })
    }
}
