//! So much in a time: GCRA, the generic cell rate algorithm of ITU-T I.371.
//!
//! All there is to know is one point in time, at which the whole allowance is there again. It fits
//! one atomic, so all cores share it, and it stays when the rate becomes another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A rate, and how much may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    amount: u64,
    /// Nanoseconds.
    per: u64,
    /// How far the time of a bucket may lie ahead, in nanoseconds.
    tolerance: u64,
}

/// More than a century, with room for sums.
const LONGEST: u64 = u64::MAX / 4;

impl Rate {
    /// So many units in this time, and at most `burst` of them at once.
    pub(crate) fn new(amount: u64, per: Duration, burst: u64) -> Self {
        let per = u64::try_from(per.as_nanos()).unwrap_or(LONGEST).max(1);
        let mut rate = Self { amount: amount.max(1), per, tolerance: 0 };
        rate.tolerance = rate.cost(burst.max(1)).max(1);
        rate
    }

    /// Rounded up: never more than the rate.
    fn cost(&self, units: u64) -> u64 {
        narrow((u128::from(units) * u128::from(self.per)).div_ceil(u128::from(self.amount)))
    }

    /// What can be had for so many nanoseconds.
    fn units(&self, nanoseconds: u64) -> u64 {
        narrow(u128::from(nanoseconds) * u128::from(self.amount) / u128::from(self.per))
    }
}

fn narrow(number: u128) -> u64 {
    number.min(u128::from(LONGEST)) as u64
}

/// What is left of a rate. Times are nanoseconds since a moment of the caller's choice.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes as many units as there are, up to `want`; or says when there will be `least`, or as
    /// many of them as the bucket holds.
    pub(crate) fn take(
        &self,
        rate: &Rate,
        now: u64,
        want: u64,
        least: u64,
    ) -> Result<u64, Duration> {
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            // A higher rate of before may have left more debt than this one ever does.
            let debt = full_at.saturating_sub(now).min(rate.tolerance.saturating_mul(2));
            let needed = rate.cost(least.min(want)).min(rate.tolerance);
            let units = rate.units(rate.tolerance.saturating_sub(debt)).min(want);
            if debt + needed > rate.tolerance || units == 0 {
                let wait = (debt + needed).saturating_sub(rate.tolerance);
                return Err(Duration::from_nanos(wait.max(1)));
            }
            let next = now.saturating_add(debt).saturating_add(rate.cost(units));
            match self.full_at.compare_exchange_weak(
                full_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(units),
                Err(other) => full_at = other,
            }
        }
    }

    /// Gives back units that were taken and not used.
    pub(crate) fn give_back(&self, rate: &Rate, units: u64) {
        // Rounded down: what comes back is never more than what went.
        let back = narrow(u128::from(units) * u128::from(rate.per) / u128::from(rate.amount));
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            Some(full_at.saturating_sub(back))
        });
    }
}

#[cfg(test)]
mod tests;
