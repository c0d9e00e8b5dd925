//! Now, as a parameter.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A point in time by both clocks: rates go by the one that never steps, days and months by that
/// of the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the monotonic clock.
    pub instant: Instant,
    /// By the wall clock: whole seconds since 1970, UTC.
    pub unix: i64,
}

impl Moment {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self::at(Instant::now(), SystemTime::now())
    }

    /// Of two readings that somebody has already.
    #[must_use]
    pub fn at(instant: Instant, wall: SystemTime) -> Self {
        let unix = match wall.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            // Before 1970: rounded down, as after it.
            Err(before) => {
                let before = before.duration();
                let up = u64::from(before.subsec_nanos() > 0);
                -i64::try_from(before.as_secs() + up).unwrap_or(i64::MAX)
            }
        };
        Self { instant, unix }
    }
}
