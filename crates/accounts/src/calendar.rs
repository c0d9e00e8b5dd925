//! Days and months in a time zone.

use std::fmt;
use std::str::FromStr;

use config::{ConfigError, Period, Span};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// A time zone.
#[derive(Debug, Clone)]
pub struct Zone(pub(crate) TimeZone);

impl Zone {
    /// The one of this name in the IANA database, or that of the system.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn named(name: Option<&str>, span: Span) -> Result<Self, ConfigError> {
        policy::time_zone(name).map(Self).map_err(|_| {
            let name = name.unwrap_or_default();
            ConfigError::at(span, format!("there is no time zone `{name}`"), "named here")
                .help("write a name of the IANA database, such as \"America/Toronto\" or \"UTC\"")
        })
    }

    /// UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The local time at so many seconds since 1970.
    fn local(&self, unix: i64) -> ZonedDateTime {
        timestamp(unix).to_zoned_datetime(self.0.clone())
    }

    /// The day that it is.
    #[must_use]
    pub fn day(&self, unix: i64) -> Day {
        Day::of(self.local(unix).date())
    }

    /// The period that it is.
    pub(crate) fn period(&self, kind: Period, unix: i64) -> Spell {
        let today = self.local(unix).date();
        let (first, next) = match kind {
            Period::Day => (today, today.tomorrow()),
            Period::Month => (today.first_of_month(), today.last_of_month().tomorrow()),
        };
        Spell {
            first: Day::of(first),
            begins: self.midnight(first),
            ends: next.map_or(i64::MAX, |next| self.midnight(next)),
        }
    }

    /// When a day begins: where its midnight is skipped, at the first moment after it.
    fn midnight(&self, date: Date) -> i64 {
        date.to_zoned_datetime(self.0.clone())
            .and_then(|midnight| midnight.start_of_day())
            .map_or(i64::MAX, |midnight| midnight.timestamp().as_second())
    }
}

/// So many seconds since 1970, or the end of the calendar.
pub(crate) fn timestamp(unix: i64) -> Timestamp {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(unix.clamp(first, last)).unwrap_or_default()
}

/// One day or month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spell {
    /// Its first day.
    pub(crate) first: Day,
    /// When it begins, in seconds since 1970.
    pub(crate) begins: i64,
    /// When the next one begins.
    pub(crate) ends: i64,
}

/// A day of the calendar, counted from 1970-01-01. Written and read as `2026-07-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub i32);

const DAY_ZERO: Date = Date::constant(1970, 1, 1);

impl Day {
    fn of(date: Date) -> Self {
        // The calendar ends in the year 9999: it fits.
        Self((date.duration_since(DAY_ZERO).as_secs() / 86_400) as i32)
    }

    fn date(self) -> Option<Date> {
        let since = jiff::SignedDuration::from_secs(i64::from(self.0) * 86_400);
        DAY_ZERO.checked_add(since).ok()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date() {
            Some(date) => date.fmt(f),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        // `Date` would read times of day too.
        let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        plain.then(|| text.parse().ok()).flatten().map(Self::of).ok_or(NotADay)
    }
}

/// A text that is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotADay;

impl fmt::Display for NotADay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a day is written like 2026-07-31")
    }
}

impl std::error::Error for NotADay {}

#[cfg(test)]
mod tests;
