//! What is remembered of the bans of one exit, or of one exit at one host.
//!
//! Pure: times are milliseconds of one monotonic clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use config::BanRule;

/// A ban is at most so many times as long as its rule says.
const MAX_FACTOR: u8 = 16;

/// So many signs are counted at most; a rule that asks for more is content with these.
const MAX_COUNT: u32 = 1024;

/// When signs become a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threshold {
    count: usize,
    within_ms: u64,
    time_ms: u64,
}

impl Threshold {
    pub(crate) fn of(rule: &BanRule) -> Self {
        Self {
            count: rule.count.clamp(1, MAX_COUNT) as usize,
            within_ms: millis(rule.within),
            time_ms: millis(rule.time).max(1),
        }
    }
}

/// Bans, and the signs that have not become one.
#[derive(Debug, Default)]
pub(crate) struct BanRecord {
    /// The end of the last ban.
    until: u64,
    /// How long the last ban was; halved with `factor`.
    length: u64,
    /// How many times longer than its rule says the next ban is, as of the end of the last. 0 is 1.
    factor: u8,
    why: Option<Arc<str>>,
    /// By the identity of the rule, oldest first.
    signs: Vec<(u64, VecDeque<u64>)>,
}

impl BanRecord {
    /// Counts a sign. Some: how long the ban is that begins now. While a ban lasts nothing is
    /// counted: what comes then was begun before.
    pub(crate) fn sign(
        &mut self,
        rule: u64,
        threshold: &Threshold,
        why: &Arc<str>,
        now: u64,
    ) -> Option<u64> {
        if self.is_active(now) || !self.reaches(rule, threshold, now) {
            return None;
        }
        self.decay(now);
        let factor = self.factor.max(1);
        let length = threshold.time_ms.saturating_mul(u64::from(factor));
        self.impose(length, Arc::clone(why), now);
        self.factor = factor.saturating_mul(2).min(MAX_FACTOR);
        Some(length)
    }

    /// Whether this sign completes the number that is needed.
    fn reaches(&mut self, rule: u64, threshold: &Threshold, now: u64) -> bool {
        if threshold.count <= 1 {
            return true;
        }
        let at = self.signs.iter().position(|(known, _)| *known == rule).unwrap_or_else(|| {
            // Rules of earlier configurations make room.
            if self.signs.len() >= super::MAX_RULES {
                self.signs.remove(0);
            }
            self.signs.push((rule, VecDeque::new()));
            self.signs.len() - 1
        });
        let times = &mut self.signs[at].1;
        while times.front().is_some_and(|time| now.saturating_sub(*time) > threshold.within_ms) {
            times.pop_front();
        }
        times.push_back(now);
        times.len() >= threshold.count
    }

    /// Each time as long as the last ban without one halves what the next would be.
    fn decay(&mut self, now: u64) {
        let mut since = self.until;
        while self.factor > 1 && now.saturating_sub(since) >= self.length {
            since = since.saturating_add(self.length);
            self.factor /= 2;
            self.length = (self.length / 2).max(1);
        }
        self.until = since;
    }

    /// Bans for this time, whatever there was. The next ban is not longer for it.
    pub(crate) fn impose(&mut self, length: u64, why: Arc<str>, now: u64) {
        self.until = now.saturating_add(length);
        self.length = length;
        self.why = Some(why);
        self.signs.clear();
    }

    /// Forgets everything. Whether there was a ban.
    pub(crate) fn lift(&mut self, now: u64) -> bool {
        let was_active = self.is_active(now);
        *self = Self::default();
        was_active
    }

    pub(crate) fn is_active(&self, now: u64) -> bool {
        self.until > now && self.why.is_some()
    }

    /// Until when the exit is banned; 0 if it never was.
    pub(crate) fn until(&self) -> u64 {
        if self.why.is_some() { self.until } else { 0 }
    }

    pub(crate) fn why(&self) -> Option<&Arc<str>> {
        self.why.as_ref()
    }

    /// Whether forgetting it changes nothing (but that signs are counted anew which are older
    /// than `within` of any rule that is usual).
    pub(crate) fn is_spent(&self, now: u64) -> bool {
        const SIGNS_KEPT_MS: u64 = 3_600_000;
        let old = |time: &u64| now.saturating_sub(*time) > SIGNS_KEPT_MS;
        let remembers = u64::from(self.factor).saturating_mul(self.length);
        now >= self.until.saturating_add(remembers)
            && self.signs.iter().all(|(_, times)| times.back().is_none_or(old))
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
