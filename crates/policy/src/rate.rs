//! Rate limits: so many requests or bytes in a time, for each client, field value or place.
//!
//! The algorithm is GCRA (the generic cell rate algorithm of ITU-T I.371): all there is to know
//! of a key is one point in time, its *theoretical arrival time*, at which it has its whole
//! allowance back. That fits one atomic, so all cores share it and a limit is exact over them.
//!
//! How exact:
//!
//! * In any time `t` a key gets at most `burst + rate × t`, whatever the number of cores. `t` is
//!   measured by the times that callers pass in; what lies between reading a clock and asking
//!   here adds to it.
//! * Keys are told apart by 64 bits of a keyed hash. Two that meet share one allowance.
//! * A limit knows at most [`CAPACITY`] keys that have not got all their allowance back. A key
//!   gives up its place when it has, which changes nothing for it, and at no other time: no flood
//!   can push itself or others out. New keys that find no place share one allowance with their
//!   neighbours, and take its debt along when they get a place. So a full table is too strict
//!   with new keys, never too generous.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahash::RandomState;
use config::{LimitKey, RateLimit, RateUnit};

use crate::connections::Client;

mod pacer;
mod slots;

pub use pacer::{Grant, Pacer};
pub use slots::CAPACITY;

use slots::Slots;

/// Limits nobody refers to any more that are kept because somebody has not got all of an
/// allowance back.
const KEPT_UNUSED: usize = 1024;

/// So few limits are not worth looking for those that nobody refers to.
const LOOK_FROM: usize = 64;

/// All limits of the process, found again by what they say: a configuration that is loaded anew
/// continues the limits that it does not change.
pub struct RateTable {
    epoch: Instant,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    limiters: HashMap<Identity, Arc<Limiter>, RandomState>,
    /// How many were left when those that nobody refers to were last looked for.
    left: usize,
}

/// What makes two limits the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    place: Box<str>,
    unit: RateUnit,
    key: LimitKey,
    amount: u64,
    per: Duration,
    burst: u64,
}

impl RateTable {
    /// Without limits. `epoch` is now: times before it count as it.
    #[must_use]
    pub fn new(epoch: Instant) -> Self {
        Self { epoch, known: Mutex::default() }
    }

    /// The limit that stands at this place: the one there is, if it says the same.
    ///
    /// To be called when a configuration is put to use, not for requests: it takes a lock.
    #[must_use]
    pub fn limiter(&self, place: &str, limit: &RateLimit, now: Instant) -> Arc<Limiter> {
        let identity = Identity {
            place: place.into(),
            unit: limit.unit,
            key: limit.key.clone(),
            amount: limit.amount,
            per: limit.per,
            burst: limit.burst,
        };
        let mut known = self.known();
        if let Some(limiter) = known.limiters.get(&identity) {
            return Arc::clone(limiter);
        }
        known.forget_unused(now);
        let limiter = Arc::new(Limiter::new(limit, self.epoch, Slots::new()));
        known.limiters.insert(identity, Arc::clone(&limiter));
        limiter
    }

    /// How many limits there are, those included that only wait to be forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known().limiters.len()
    }

    /// Whether there is no limit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing that is done under the lock panics half way.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateTable").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Known {
    /// Limits that no configuration has any more go when that changes nothing for anybody, and
    /// in any case when there are too many. Looked for only once there are twice as many as the
    /// last time, so that it costs a large configuration nothing to speak of.
    fn forget_unused(&mut self, now: Instant) {
        if self.limiters.len() < (2 * self.left).max(LOOK_FROM) {
            return;
        }
        let mut kept = 0;
        self.limiters.retain(|_, limiter| {
            if Arc::strong_count(limiter) > 1 {
                return true;
            }
            kept += 1;
            kept <= KEPT_UNUSED && !limiter.is_at_rest(now)
        });
        self.left = self.limiters.len();
    }
}

/// One limit, shared by all cores.
pub struct Limiter {
    epoch: Instant,
    rate: Rate,
    by: LimitKey,
    state: State,
}

/// Theoretical arrival times.
enum State {
    /// Of the place itself.
    One(AtomicU64),
    /// Of each key.
    Many(Slots),
}

/// Whom a request counts for, within one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateKey(u64);

/// How a key stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the request is within the limit.
    pub admitted: bool,
    /// How many more would be at this moment.
    pub remaining: u64,
    /// In how long the whole allowance is there again.
    pub full_in: Duration,
    /// In how long the next request would be admitted; zero: now.
    pub retry_after: Duration,
}

impl Limiter {
    fn new(limit: &RateLimit, epoch: Instant, slots: Slots) -> Self {
        let state = match limit.key {
            LimitKey::Place => State::One(AtomicU64::new(0)),
            LimitKey::ClientIp | LimitKey::Header(_) => State::Many(slots),
        };
        Self { epoch, rate: Rate::new(limit), by: limit.key.clone(), state }
    }

    /// The key of a request: from this client, with these values of the field that the limit is
    /// by (if it is by one). An IPv6 client is its /64, since that is what one subscriber holds
    /// at least (RFC 6177).
    #[must_use]
    pub fn key<'v>(&self, client: IpAddr, values: impl IntoIterator<Item = &'v [u8]>) -> RateKey {
        let State::Many(slots) = &self.state else { return RateKey(0) };
        RateKey(match &self.by {
            LimitKey::Place => 0,
            LimitKey::ClientIp => slots.hash(Client::of(client)),
            LimitKey::Header(_) => slots.hash(values.into_iter().collect::<Vec<_>>()),
        })
    }

    /// The name of the field whose values are needed for [`Limiter::key`].
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match &self.by {
            LimitKey::Header(name) => Some(name),
            LimitKey::ClientIp | LimitKey::Place => None,
        }
    }

    /// Whether a request would be admitted now; counts nothing.
    #[must_use]
    pub fn peek(&self, key: RateKey, now: Instant) -> Standing {
        let now = self.time(now);
        let tat = self.tat(key, now);
        self.rate.standing(tat, now, self.rate.admit(tat, now, self.rate.one).is_some())
    }

    /// Counts a request, if it is within the limit.
    #[must_use]
    pub fn admit(&self, key: RateKey, now: Instant) -> Standing {
        let now = self.time(now);
        match self.update(key, now, |tat| self.rate.admit(tat, now, self.rate.one)) {
            Ok(tat) => self.rate.standing(tat, now, true),
            Err(tat) => self.rate.standing(tat, now, false),
        }
    }

    /// How many units there are now, and how long it takes until there are `least` of them
    /// (which is no longer than it takes for the burst).
    fn available(&self, key: RateKey, now: Instant, least: u64) -> (u64, Duration) {
        let now = self.time(now);
        let debt = self.tat(key, now).saturating_sub(now);
        let cost = self.rate.cost(least).min(self.rate.tolerance);
        let wait = (debt + cost).saturating_sub(self.rate.tolerance);
        (self.rate.units(self.rate.tolerance.saturating_sub(debt)), Duration::from_nanos(wait))
    }

    /// Takes as many of these units as there are.
    fn take(&self, key: RateKey, now: Instant, wanted: u64) -> u64 {
        let now = self.time(now);
        let taken = std::cell::Cell::new(0);
        let outcome = self.update(key, now, |tat| {
            let debt = tat.saturating_sub(now);
            let units = self.rate.units(self.rate.tolerance.saturating_sub(debt)).min(wanted);
            taken.set(units);
            (units > 0).then(|| tat.max(now).saturating_add(self.rate.cost(units)))
        });
        if outcome.is_ok() { taken.get() } else { 0 }
    }

    /// Whether nobody owes anything: then forgetting all of it changes nothing.
    fn is_at_rest(&self, now: Instant) -> bool {
        let now = self.time(now);
        match &self.state {
            State::One(tat) => tat.load(Ordering::Relaxed) < now,
            State::Many(slots) => slots.are_all_before(now),
        }
    }

    fn tat(&self, key: RateKey, now: u64) -> u64 {
        match &self.state {
            State::One(tat) => tat.load(Ordering::Relaxed),
            State::Many(slots) => slots.get(key.0, now),
        }
    }

    /// Moves a key's time to what `decide` makes of it: `Ok` with the new one, or `Err` with the
    /// old one where it makes nothing of it.
    fn update(
        &self,
        key: RateKey,
        now: u64,
        decide: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        match &self.state {
            State::One(tat) => slots::update(tat, decide),
            State::Many(slots) => slots.update(key.0, now, decide),
        }
    }

    /// Nanoseconds since the epoch; never 0, which stands for the time of those who never came.
    fn time(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX / 2).saturating_add(1)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("rate", &self.rate).field("by", &self.by).finish()
    }
}

/// A rate in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Rate {
    amount: u64,
    per: u64,
    /// What one unit costs.
    one: u64,
    /// How far a key's time may lie ahead of now.
    tolerance: u64,
}

impl Rate {
    fn new(limit: &RateLimit) -> Self {
        let per = u64::try_from(limit.per.as_nanos()).unwrap_or(u64::MAX).max(1);
        let (amount, burst) = (limit.amount.max(1), limit.burst.max(1));
        let mut rate = Self { amount, per, one: 0, tolerance: 0 };
        rate.one = rate.cost(1);
        // Costs are rounded up, so as never to give more. A burst of requests is as many of them
        // all the same; a burst of bytes is counted in pieces of any size.
        rate.tolerance = match limit.unit {
            RateUnit::Requests => burst.saturating_mul(rate.one),
            RateUnit::Bytes => narrow(u128::from(burst) * u128::from(per) / u128::from(amount)),
        }
        .clamp(rate.one, u64::MAX / 4);
        rate
    }

    fn cost(&self, units: u64) -> u64 {
        narrow((u128::from(units) * u128::from(self.per)).div_ceil(u128::from(self.amount)))
    }

    /// What can be had for so many nanoseconds.
    fn units(&self, nanoseconds: u64) -> u64 {
        narrow(u128::from(nanoseconds) * u128::from(self.amount) / u128::from(self.per))
    }

    /// The time after one that costs so much, if it is within the limit.
    fn admit(&self, tat: u64, now: u64, cost: u64) -> Option<u64> {
        let next = tat.max(now).saturating_add(cost);
        (next - now <= self.tolerance).then_some(next)
    }

    fn standing(&self, tat: u64, now: u64, admitted: bool) -> Standing {
        let debt = tat.saturating_sub(now);
        let wait = (debt + self.one).saturating_sub(self.tolerance);
        Standing {
            admitted,
            remaining: self.tolerance.saturating_sub(debt) / self.one,
            full_in: Duration::from_nanos(debt),
            retry_after: Duration::from_nanos(wait),
        }
    }
}

/// More than a century is more than anybody waits for, and leaves room for sums.
fn narrow(number: u128) -> u64 {
    number.min(u128::from(u64::MAX / 4)) as u64
}

#[cfg(test)]
mod tests;
