//! Time as the rules see it.

use std::time::{Duration, SystemTime};

/// A moment, in milliseconds since 1970; before it, negative. A parameter everywhere: the rules
/// have no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Time(pub i64);

impl Time {
    /// The clock of this machine.
    #[must_use]
    pub fn now() -> Self {
        Self::of(SystemTime::now())
    }

    /// The same moment.
    #[must_use]
    pub fn of(time: SystemTime) -> Self {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self(millis(since)),
            Err(before) => Self(-millis(before.duration())),
        }
    }

    /// Milliseconds from `earlier` to here; 0 where it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0).try_into().unwrap_or(0)
    }

    /// So many milliseconds later.
    #[must_use]
    pub fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add_unsigned(millis))
    }
}
