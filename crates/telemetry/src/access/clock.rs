//! The time of a line as text, made once a second.

use std::time::{SystemTime, UNIX_EPOCH};

/// The last moment that RFC 3339's four-digit year can hold, in seconds.
const LAST_SECOND: u64 = 253_402_300_799;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// A time in the two forms of the access log. The text of a second is kept until another
/// second is asked for.
#[derive(Debug, Clone)]
pub struct LogClock {
    second: u64,
    /// `2026-01-02T03:04:05.678Z`
    rfc3339: [u8; 24],
    /// `02/Jan/2026:03:04:05 +0000`
    clf: [u8; 26],
}

impl LogClock {
    /// A clock that stands at 1970.
    pub fn new() -> Self {
        let mut clock = Self {
            second: 0,
            rfc3339: *b"0000-00-00T00:00:00.000Z",
            clf: *b"00/---/0000:00:00:00 +0000",
        };
        clock.format_second();
        clock
    }

    /// Moves to `now`. Times before 1970 count as 1970.
    pub fn set(&mut self, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs().min(LAST_SECOND);
        if second != self.second {
            self.second = second;
            self.format_second();
        }
        digits(&mut self.rfc3339[20..23], since.subsec_millis());
    }

    /// RFC 3339 in UTC, with milliseconds.
    pub fn rfc3339(&self) -> &[u8] {
        &self.rfc3339
    }

    /// The form of the NCSA log, without its brackets.
    pub fn clf(&self) -> &[u8] {
        &self.clf
    }

    fn format_second(&mut self) {
        // Both fit: the second is at most `LAST_SECOND`.
        let (year, month, day) = civil((self.second / 86_400) as u32);
        let of_day = (self.second % 86_400) as u32;
        let time = [of_day / 3600, of_day / 60 % 60, of_day % 60];

        digits(&mut self.rfc3339[0..4], year);
        digits(&mut self.rfc3339[5..7], month);
        digits(&mut self.rfc3339[8..10], day);
        digits(&mut self.clf[0..2], day);
        self.clf[3..6].copy_from_slice(MONTHS[month as usize - 1]);
        digits(&mut self.clf[7..11], year);
        for (i, part) in time.into_iter().enumerate() {
            digits(&mut self.rfc3339[11 + 3 * i..13 + 3 * i], part);
            digits(&mut self.clf[12 + 3 * i..14 + 3 * i], part);
        }
    }
}

impl Default for LogClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Year, month and day of a day counted from 1970-01-01. Years are taken to begin in March, so
/// that the leap day is the last of its year and the lengths of months follow one line.
fn civil(days: u32) -> (u32, u32, u32) {
    // 719 468 days lie between 0000-03-01 and 1970-01-01; an era is 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, carry) =
        if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (era * 400 + year_of_era + carry, month, day)
}

/// Fills `out` with the last digits of `value`.
fn digits(out: &mut [u8], mut value: u32) {
    for byte in out.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, millis: u32) -> (String, String) {
        let mut clock = LogClock::new();
        clock.set(UNIX_EPOCH + Duration::new(seconds, millis * 1_000_000));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(clock.rfc3339()), text(clock.clf()))
    }

    #[test]
    fn known_moments() {
        assert_eq!(at(0, 0).0, "1970-01-01T00:00:00.000Z");
        assert_eq!(at(0, 0).1, "01/Jan/1970:00:00:00 +0000");
        assert_eq!(at(951_782_399, 999).0, "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400, 1).0, "2000-02-29T00:00:00.001Z");
        assert_eq!(at(1_709_251_199, 50).1, "29/Feb/2024:23:59:59 +0000");
        assert_eq!(at(4_107_542_400, 0).0, "2100-03-01T00:00:00.000Z");
        assert_eq!(at(1_767_225_599, 0).1, "31/Dec/2025:23:59:59 +0000");
    }

    #[test]
    fn days_follow_each_other() {
        let mut last = civil(0);
        for day in 1..200_000 {
            let next = civil(day);
            let follows = next == (last.0, last.1, last.2 + 1)
                || next == (last.0, last.1 + 1, 1)
                || (next == (last.0 + 1, 1, 1) && (last.1, last.2) == (12, 31));
            assert!(follows, "{last:?} then {next:?}");
            assert!(next.2 <= 31 && next.1 <= 12);
            last = next;
        }
    }

    #[test]
    fn out_of_range_is_clamped() {
        let mut clock = LogClock::new();
        clock.set(UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(clock.rfc3339(), b"1970-01-01T00:00:00.000Z");
        assert_eq!(at(u64::from(u32::MAX) * 1000, 0).0, "9999-12-31T23:59:59.000Z");
    }
}
