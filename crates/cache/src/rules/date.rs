//! Dates as HTTP writes them (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime};

use crate::Time;

/// The moment that a date says, in any of the three forms; `None`: it is none.
#[must_use]
pub fn parse_date(value: &[u8]) -> Option<Time> {
    // Nothing that is a date is longer; what is much longer is not looked at.
    if value.len() > 64 {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    httpdate::parse_http_date(text).ok().map(Time::of)
}

/// A moment in the preferred form; what is before 1970 or after 9999 is brought to there.
#[must_use]
pub fn http_date(time: Time) -> String {
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(time.0.div_euclid(1000)).unwrap_or(0).min(LAST);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
