//! Money, exact to the thousand-millionth of a millionth.
//!
//! Prices are in millionths for 10⁹ bytes. So what a number of bytes costs is a whole number of
//! *grains*, 10⁻⁹ of a millionth, and nothing is ever rounded: neither one byte at a time nor
//! after years is there a difference.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Grains in a millionth.
pub(crate) const GRAINS: u64 = 1_000_000_000;

/// What so many bytes cost, in grains.
pub(crate) fn cost(bytes: u64, price: u64) -> u128 {
    u128::from(bytes) * u128::from(price)
}

/// How many bytes can be had for so many grains.
fn affordable(grains: u128, price: u64) -> u64 {
    u64::try_from(grains / u128::from(price.max(1))).unwrap_or(u64::MAX)
}

/// What is reserved of a budget.
///
/// Whole millionths are taken from the budget, and what is over is kept as change for the next
/// one who takes. Between the two steps of a change of hands there is less to be had than there
/// is, never more.
#[derive(Debug, Default)]
pub(crate) struct Purse {
    /// Millionths that were taken.
    taken: AtomicU64,
    /// Grains of these that nobody has reserved.
    change: AtomicU64,
}

impl Purse {
    /// One that so much was spent from.
    pub(crate) fn spent(grains: u128) -> Self {
        let taken = grains.div_ceil(u128::from(GRAINS));
        let change = taken * u128::from(GRAINS) - grains;
        Self {
            taken: AtomicU64::new(u64::try_from(taken).unwrap_or(u64::MAX)),
            change: AtomicU64::new(change as u64),
        }
    }

    /// Grains that were spent or are reserved.
    pub(crate) fn reserved(&self) -> u128 {
        let taken = self.taken.load(Ordering::Acquire);
        let change = self.change.load(Ordering::Acquire);
        (u128::from(taken) * u128::from(GRAINS)).saturating_sub(u128::from(change))
    }

    /// Grains that are left of so many millionths.
    pub(crate) fn left(&self, limit: u64) -> u128 {
        let change = u128::from(self.change.load(Ordering::Acquire));
        let whole = limit.saturating_sub(self.taken.load(Ordering::Acquire));
        u128::from(whole) * u128::from(GRAINS) + change
    }

    /// Reserves the price of at most so many bytes, of a budget of so many millionths. `share`
    /// says how many bytes one may take of those that can be paid.
    pub(crate) fn reserve(
        &self,
        want: u64,
        price: u64,
        limit: u64,
        share: impl Fn(u64) -> u64,
    ) -> u64 {
        loop {
            let bytes = share(affordable(self.left(limit), price)).min(want);
            if bytes == 0 {
                return 0;
            }
            if self.take(cost(bytes, price), limit) {
                return bytes;
            }
            std::hint::spin_loop();
        }
    }

    /// Charges what has been spent already, whatever the budget.
    pub(crate) fn charge(&self, grains: u128) {
        while !self.take(grains, u64::MAX) {
            std::hint::spin_loop();
        }
    }

    /// Reserves exactly so much; `false` where another came between, or it is not there.
    fn take(&self, grains: u128, limit: u64) -> bool {
        let change = self.change.load(Ordering::Acquire);
        let used = u64::try_from(grains).unwrap_or(u64::MAX).min(change);
        let exchanged = self.change.compare_exchange(
            change,
            change - used,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if exchanged.is_err() {
            return false;
        }
        let missing = grains - u128::from(used);
        if missing == 0 {
            return true;
        }
        let whole = missing.div_ceil(u128::from(GRAINS));
        let over = whole * u128::from(GRAINS) - missing;
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
            Some(taken.saturating_add(whole)).filter(|taken| *taken <= limit)
        });
        // Over is less than a millionth.
        self.put(if taken.is_ok() { over as u64 } else { used });
        taken.is_ok()
    }

    /// Gives back what was reserved and not spent.
    pub(crate) fn give_back(&self, grains: u128) {
        let whole = u64::try_from(grains / u128::from(GRAINS)).unwrap_or(u64::MAX);
        if whole > 0 {
            self.untake(whole);
        }
        self.put((grains % u128::from(GRAINS)) as u64);
    }

    /// Puts grains to the change; a whole millionth goes back into the budget.
    fn put(&self, grains: u64) {
        if grains == 0 {
            return;
        }
        let change = self.change.fetch_add(grains, Ordering::AcqRel).saturating_add(grains);
        if change < GRAINS {
            return;
        }
        let mut back = 0;
        let split = self.change.fetch_update(Ordering::AcqRel, Ordering::Acquire, |change| {
            back = change / GRAINS;
            (back > 0).then_some(change % GRAINS)
        });
        if split.is_ok() {
            self.untake(back);
        }
    }

    fn untake(&self, whole: u64) {
        // The closure always gives a value.
        let _ = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
            Some(taken.saturating_sub(whole))
        });
    }
}

/// A sum that only grows until it is taken.
#[derive(Debug, Default)]
pub(crate) struct Till {
    pending: AtomicU64,
    /// What does not fit.
    more: Mutex<u128>,
}

/// Beyond this the lock is taken. Far from where the sum of two would overflow.
const MUCH: u64 = 1 << 60;

impl Till {
    /// Adds grains.
    pub(crate) fn add(&self, grains: u128) {
        match u64::try_from(grains) {
            Ok(grains) if grains < MUCH => {
                let before = self.pending.fetch_add(grains, Ordering::AcqRel);
                if before >= MUCH {
                    let mut more = self.more.lock().unwrap_or_else(PoisonError::into_inner);
                    *more += u128::from(self.pending.swap(0, Ordering::AcqRel));
                }
            }
            _ => *self.more.lock().unwrap_or_else(PoisonError::into_inner) += grains,
        }
    }

    /// Takes all.
    pub(crate) fn take(&self) -> u128 {
        let pending = u128::from(self.pending.swap(0, Ordering::AcqRel));
        pending + std::mem::take(&mut *self.more.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
