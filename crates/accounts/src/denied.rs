//! Why a user may not.

use std::fmt;
use std::time::Duration;

use config::Period;

/// Why a user may not. Shown as words for the user; they name nothing of anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The bytes of this period are used up.
    Quota {
        /// Which period.
        period: Period,
        /// In how long the next one begins.
        resets_in: Duration,
    },
    /// The money of this period is spent.
    Budget {
        /// Which period.
        period: Period,
        /// In how long the next one begins.
        resets_in: Duration,
    },
    /// There are as many connections as there may be.
    Connections,
    /// Requests come too fast.
    Rate {
        /// In how long the next one may come.
        retry_after: Duration,
    },
    /// It may ask at other times only.
    Hours,
    /// It has expired.
    Expired,
}

impl Denied {
    /// One word for logs, metrics and `Proxy-Status`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Quota { .. } => "quota",
            Self::Budget { .. } => "budget",
            Self::Connections => "connections",
            Self::Rate { .. } => "rate",
            Self::Hours => "hours",
            Self::Expired => "expired",
        }
    }

    /// In how long it is worth trying again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Quota { resets_in, .. } | Self::Budget { resets_in, .. } => Some(*resets_in),
            Self::Rate { retry_after } => Some(*retry_after),
            Self::Connections | Self::Hours | Self::Expired => None,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota { period, .. } => {
                write!(f, "the quota of the {} is used up", word(*period))
            }
            Self::Budget { period, .. } => {
                write!(f, "the budget of the {} is spent", word(*period))
            }
            Self::Connections => f.write_str("too many connections at once"),
            Self::Rate { .. } => f.write_str("too many requests in this time"),
            Self::Hours => f.write_str("not allowed at this time"),
            Self::Expired => f.write_str("the account has expired"),
        }
    }
}

impl std::error::Error for Denied {}

fn word(period: Period) -> &'static str {
    match period {
        Period::Day => "day",
        Period::Month => "month",
    }
}
