//! What one user may, made ready for asking.

use std::time::Duration;

use config::{Country, Period, UserLimits};
use policy::WeekTimes;

use crate::bucket::Rate;
use crate::calendar::{Zone, timestamp};

/// What a user may, compiled from [`UserLimits`]. Immutable; shared by all who have the same.
#[derive(Debug, Clone)]
pub struct Limits {
    pub(crate) zone: Zone,
    pub(crate) quota: PerPeriod,
    pub(crate) budget: PerPeriod,
    pub(crate) connections: u32,
    pub(crate) requests: Option<Rate>,
    pub(crate) bandwidth: Option<Rate>,
    pub(crate) expires: Option<i64>,
    /// Of which configuration they are: those of an older one do not take the place of these.
    pub(crate) generation: u64,
    hours: Option<WeekTimes>,
    exits: Vec<Box<str>>,
    countries: Vec<Country>,
}

/// A limit for each kind of period; `u64::MAX`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PerPeriod {
    pub(crate) day: u64,
    pub(crate) month: u64,
}

impl PerPeriod {
    const NONE: Self = Self { day: u64::MAX, month: u64::MAX };

    /// Of two limits for the same period the lower one holds.
    fn of(limits: impl Iterator<Item = (Period, u64)>) -> Self {
        limits.fold(Self::NONE, |mut all, (period, limit)| {
            let one = match period {
                Period::Day => &mut all.day,
                Period::Month => &mut all.month,
            };
            *one = limit.min(*one);
            all
        })
    }

    pub(crate) fn get(&self, period: Period) -> Option<u64> {
        let limit = match period {
            Period::Day => self.day,
            Period::Month => self.month,
        };
        (limit < u64::MAX).then_some(limit)
    }
}

/// A quarter of a second: short enough that nobody takes the burst for the rate, long enough that
/// few ask.
const BURST: (u64, u64) = (1, 4);

/// So that slow rates do not move crumbs.
const LEAST_BURST: u64 = 16 << 10;

impl Limits {
    /// Compiles what the configuration or a database says, with days and months of this zone.
    ///
    /// * `bandwidth`: bursts hold a quarter of a second, and 16 KiB at least.
    /// * `requests`: so many may come at once; in any time `t` at most `n + n × t / per`.
    #[must_use]
    pub fn build(limits: &UserLimits, zone: &Zone) -> Self {
        let burst = |bytes: u64| (bytes / BURST.1 * BURST.0).max(LEAST_BURST);
        Self {
            zone: zone.clone(),
            quota: PerPeriod::of(limits.quotas.iter().map(|quota| (quota.per, quota.bytes))),
            budget: PerPeriod::of(limits.budgets.iter().map(|budget| (budget.per, budget.amount))),
            connections: limits.connections.unwrap_or(u32::MAX),
            requests: limits.requests.map(|(amount, per)| Rate::new(amount, per, amount)),
            bandwidth: limits
                .bandwidth
                .map(|bytes| Rate::new(bytes, Duration::from_secs(1), burst(bytes))),
            expires: None,
            generation: 0,
            hours: (!limits.hours.is_empty()).then(|| WeekTimes::build(&limits.hours, &zone.0)),
            exits: limits.exits.iter().map(|exit| exit.as_str().into()).collect(),
            countries: limits.countries.clone(),
        }
    }

    /// The same, until this moment (seconds since 1970): then streams end too.
    #[must_use]
    pub fn expiring(mut self, expires: Option<u64>) -> Self {
        self.expires = expires.map(|expires| i64::try_from(expires).unwrap_or(i64::MAX));
        self
    }

    /// The same, as those of this generation of the configuration.
    #[must_use]
    pub fn of_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Without any limit. Days and months are those of UTC.
    #[must_use]
    pub fn none() -> Self {
        Self::build(&UserLimits::default(), &Zone::utc())
    }

    /// Whether it may leave by an exit of this name, in a pool of this name.
    #[must_use]
    pub fn allows_exit(&self, exit: &str, pool: &str) -> bool {
        self.exits.is_empty() || self.exits.iter().any(|name| **name == *exit || **name == *pool)
    }

    /// Whether it may leave from this country; `None`: nobody knows from which.
    #[must_use]
    pub fn allows_country(&self, country: Option<Country>) -> bool {
        self.countries.is_empty()
            || country.is_some_and(|country| self.countries.contains(&country))
    }

    /// Whether it may ask at this time (seconds since 1970).
    #[must_use]
    pub fn allows_time(&self, unix: i64) -> bool {
        self.hours.as_ref().is_none_or(|hours| hours.contains(timestamp(unix)))
    }

    /// Whether a stream ever has to wait or to stop. Where not, asking for grants is still needed:
    /// it is how a stream learns that another day has begun, and of other limits.
    #[must_use]
    pub fn bounds_streams(&self) -> bool {
        self.bandwidth.is_some()
            || self.expires.is_some()
            || self.hours.is_some()
            || self.quota != PerPeriod::NONE
            || self.budget != PerPeriod::NONE
    }
}
