//! The circuit breaker of a group: when too much fails, nothing is sent for a while, then one
//! request at a time until one succeeds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use config::CircuitBreaker;

use crate::window::Window;

/// Closed, open, or half open; shared by all cores.
#[derive(Debug)]
pub(crate) struct Breaker {
    config: CircuitBreaker,
    window: Window,
    /// Until when nothing is let through; 0: closed.
    open_until: AtomicU64,
    /// A trial is under way.
    trying: AtomicBool,
}

/// How a request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Everybody is.
    Free,
    /// As the one trial.
    Trial,
}

impl Breaker {
    pub(crate) fn new(config: CircuitBreaker) -> Self {
        Self {
            window: Window::new(config.within),
            config,
            open_until: AtomicU64::new(0),
            trying: AtomicBool::new(false),
        }
    }

    /// Whether a request is let through.
    pub(crate) fn admit(&self, now: u64) -> Option<Pass> {
        match self.open_until.load(Ordering::Acquire) {
            0 => Some(Pass::Free),
            until if now < until => None,
            _ => (!self.trying.swap(true, Ordering::AcqRel)).then_some(Pass::Trial),
        }
    }

    /// Takes note of what came of a request. A trial is over with it.
    pub(crate) fn note(&self, now: u64, pass: Pass, failed: bool) {
        if pass == Pass::Trial {
            if failed {
                self.open(now);
            } else {
                self.window.clear();
                self.open_until.store(0, Ordering::Release);
            }
            self.trying.store(false, Ordering::Release);
            return;
        }
        // Those that were under way when it opened say nothing about now.
        if self.open_until.load(Ordering::Acquire) != 0 {
            return;
        }
        self.window.add(now, 1, u32::from(failed));
        if failed {
            let (all, failures) = self.window.sums(now);
            if all >= u64::from(self.config.min_requests)
                && failures * 100 >= all * u64::from(self.config.errors)
            {
                self.open(now);
            }
        }
    }

    /// The request came to nothing that would tell.
    pub(crate) fn give_up(&self, pass: Pass) {
        if pass == Pass::Trial {
            self.trying.store(false, Ordering::Release);
        }
    }

    /// Whether it lets everybody through.
    pub(crate) fn is_closed(&self) -> bool {
        self.open_until.load(Ordering::Acquire) == 0
    }

    fn open(&self, now: u64) {
        self.window.clear();
        self.open_until.store(now + self.config.open.as_millis() as u64, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(CircuitBreaker {
            errors: 50,
            within: Duration::from_secs(10),
            min_requests: 4,
            open: Duration::from_secs(5),
        })
    }

    #[test]
    fn opens_at_the_percentage_and_not_before_the_minimum() {
        let breaker = breaker();
        for failed in [true, true, true] {
            breaker.note(100, Pass::Free, failed);
            assert_eq!(breaker.admit(100), Some(Pass::Free));
        }
        breaker.note(100, Pass::Free, false);
        assert_eq!(breaker.admit(100), Some(Pass::Free), "a success opens nothing");
        breaker.note(100, Pass::Free, true);
        assert_eq!(breaker.admit(100), None);
        assert_eq!(breaker.admit(5099), None);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn half_open_lets_one_through_until_one_succeeds() {
        let breaker = breaker();
        (0..4).for_each(|_| breaker.note(100, Pass::Free, true));
        assert_eq!(breaker.admit(5100), Some(Pass::Trial));
        assert_eq!(breaker.admit(5100), None, "one at a time");
        breaker.note(5100, Pass::Free, false);
        assert_eq!(breaker.admit(5100), None, "an old one says nothing");
        breaker.note(5200, Pass::Trial, true);
        assert_eq!(breaker.admit(10_199), None, "the rest begins anew");
        assert_eq!(breaker.admit(10_200), Some(Pass::Trial));
        breaker.give_up(Pass::Trial);
        assert_eq!(breaker.admit(10_200), Some(Pass::Trial));
        breaker.note(10_300, Pass::Trial, false);
        assert!(breaker.is_closed());
        breaker.note(10_300, Pass::Free, true);
        assert_eq!(breaker.admit(10_300), Some(Pass::Free), "the past is forgotten");
    }
}
