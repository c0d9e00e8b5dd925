//! Servers that are left out because requests to them fail, or take too long.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Failures that are remembered at most.
const MAX_FAILURES: usize = 10_000;
/// The longest a server is left out, in multiples of the configured time.
const LONGEST: u64 = 10;
/// Differences below this are not worth leaving anybody out (microseconds).
const LEAST_DIFFERENCE: u64 = 5000;

/// Whether a server is left out, and its failures that lead to it.
#[derive(Debug, Default)]
pub(crate) struct Ejection {
    /// Until when it is left out.
    until: AtomicU64,
    /// How often in a row that happened.
    times: AtomicU32,
    /// When requests failed; the last ones only. Locked for a failure, never for a success.
    failures: Mutex<VecDeque<u64>>,
}

impl Ejection {
    /// Takes note of a failure: whether so many of them came within this time. They are
    /// forgotten then.
    pub(crate) fn failed(&self, now: u64, enough: u32, within: Duration) -> bool {
        let enough = (enough.max(1) as usize).min(MAX_FAILURES);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push_back(now);
        while failures.len() > MAX_FAILURES {
            failures.pop_front();
        }
        let Some(first) = failures.len().checked_sub(enough) else { return false };
        let reached = now.saturating_sub(failures[first]) <= within.as_millis() as u64;
        if reached {
            failures.clear();
        } else {
            // Groups that share the server may want more of them: a few times as many are kept.
            let keep = enough.saturating_mul(4).max(64);
            let surplus = failures.len().saturating_sub(keep);
            failures.drain(..surplus);
        }
        reached
    }

    /// Leaves the server out, each time twice as long as the last time, unless it was well for
    /// long since. Returns for how long.
    pub(crate) fn eject(&self, now: u64, base: Duration) -> Duration {
        let base = base.as_millis() as u64;
        let until = self.until.load(Ordering::Relaxed);
        let times = if until > 0 && now.saturating_sub(until) < base * LONGEST {
            self.times.load(Ordering::Relaxed).saturating_add(1)
        } else {
            1
        };
        self.times.store(times, Ordering::Relaxed);
        let factor = 1u64.checked_shl(times - 1).unwrap_or(LONGEST).min(LONGEST);
        let span = base * factor;
        self.until.store(now + span, Ordering::Relaxed);
        Duration::from_millis(span)
    }

    /// Until when it is left out; 0: it never was.
    pub(crate) fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    /// Whether it is left out.
    pub(crate) fn is_out(&self, now: u64) -> bool {
        now < self.until()
    }
}

/// Whether so many of a group may be left out, and one more.
pub(crate) fn may_eject(out: usize, all: usize, percent: u8) -> bool {
    out < (all * usize::from(percent) / 100).max(1)
}

/// Whether one of the mean latencies (microseconds, sorted) is more than `percent` of the median
/// of the others.
pub(crate) fn is_slow(sorted: &[u32], index: usize, percent: u32) -> bool {
    let others = sorted.len().saturating_sub(1);
    if others == 0 {
        return false;
    }
    let other = |nth: usize| u64::from(sorted[nth + usize::from(nth >= index)]);
    let middle = others / 2;
    let median =
        if others % 2 == 1 { other(middle) } else { (other(middle - 1) + other(middle)) / 2 };
    let mean = u64::from(sorted[index]);
    mean * 100 > median * u64::from(percent) && mean > median + LEAST_DIFFERENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_many_failures_in_the_time() {
        let state = Ejection::default();
        for (now, reached) in [(0, false), (900, false), (1800, false), (1850, true), (1860, false)]
        {
            assert_eq!(state.failed(now, 3, SECOND), reached, "{now}");
        }
        for now in (10_000..60_000).step_by(501) {
            assert!(!state.failed(now, 3, SECOND), "two in a second at most");
        }
    }

    #[test]
    fn each_time_longer_up_to_ten_times() {
        let state = Ejection::default();
        assert!(!state.is_out(0));
        let mut now = 1000;
        for seconds in [1, 2, 4, 8, 10, 10] {
            assert_eq!(state.eject(now, SECOND), seconds * SECOND);
            assert!(state.is_out(now + u64::from(seconds) * 1000 - 1));
            now += u64::from(seconds) * 1000;
            assert!(!state.is_out(now));
        }
        assert_eq!(state.eject(now + 10_000, SECOND), SECOND, "it was well for long");
    }

    #[test]
    fn not_too_many_but_always_one() {
        assert!(may_eject(0, 1, 50));
        assert!(!may_eject(1, 2, 50));
        assert!(may_eject(1, 4, 50));
        assert!(!may_eject(2, 4, 50));
        assert!(may_eject(0, 9, 0));
    }

    #[test]
    fn slow_against_the_median_of_the_others() {
        assert!(is_slow(&[10_000, 12_000, 40_000, 90_000], 2, 300));
        assert!(!is_slow(&[10_000, 12_000, 36_000, 90_000], 2, 300));
        assert!(is_slow(&[10_000, 10_000, 31_000], 2, 300));
        assert!(!is_slow(&[10_000, 10_000, 31_000], 0, 300));
        assert!(!is_slow(&[20_000, 61_000, 100_000], 1, 110), "60 is the median of the others");
        assert!(is_slow(&[20_000, 67_000, 100_000], 1, 110));
        assert!(!is_slow(&[100, 100, 4000], 2, 300), "nobody would notice");
        assert!(!is_slow(&[40_000], 0, 300));
    }
}
