//! Times of the week.

use config::{Hours, Weekdays};
use jiff::Timestamp;
use jiff::tz::TimeZone;

const DAY: u16 = 24 * 60;

/// Times of the week in a time zone, by the clock on its walls: an hour that summer time skips is
/// not there, one that it repeats is there twice.
#[derive(Debug, Clone)]
pub struct WeekTimes {
    hours: Box<[Hours]>,
    zone: TimeZone,
}

impl WeekTimes {
    /// Any of these times.
    #[must_use]
    pub fn build(hours: &[Hours], zone: &TimeZone) -> Self {
        Self { hours: hours.into(), zone: zone.clone() }
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(&self, now: Timestamp) -> bool {
        let now = self.zone.to_datetime(now);
        // Days are 0 to 6, hours 0 to 23, minutes 0 to 59: nothing is lost.
        let day = now.weekday().to_monday_zero_offset() as u8;
        let minute = now.hour() as u16 * 60 + now.minute() as u16;
        self.hours.iter().any(|hours| covers(hours, day, minute))
    }
}

fn covers(hours: &Hours, day: u8, minute: u16) -> bool {
    let begins = |day: u8| has(hours.days, day);
    if hours.from < hours.until {
        return begins(day) && (hours.from..hours.until.min(DAY)).contains(&minute);
    }
    (begins(day) && minute >= hours.from) || (begins((day + 6) % 7) && minute < hours.until)
}

fn has(days: Weekdays, day: u8) -> bool {
    days.0 & (1 << day) != 0
}

/// `Mon-Fri 08:00-18:00`.
pub(crate) fn hours_text(hours: &Hours) -> String {
    const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let mut days = String::new();
    let mut day = 0;
    while day < 7 {
        let last = (day..7).take_while(|day| has(hours.days, *day)).last();
        let Some(last) = last else {
            day += 1;
            continue;
        };
        if !days.is_empty() {
            days.push(',');
        }
        days.push_str(NAMES[usize::from(day)]);
        if last > day {
            days.push('-');
            days.push_str(NAMES[usize::from(last)]);
        }
        day = last + 1;
    }
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{days} {}-{}", clock(hours.from), clock(hours.until))
}

/// The time zone of this name (IANA), or that of the system.
///
/// # Errors
/// Why there is none, in words.
pub fn time_zone(name: Option<&str>) -> Result<TimeZone, String> {
    match name {
        Some(name) => TimeZone::get(name).map_err(|error| error.to_string()),
        None => Ok(TimeZone::system()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(days: u8, from: u16, until: u16) -> Hours {
        Hours { days: Weekdays(days), from, until }
    }

    fn at(times: &[Hours], zone: &str, instant: &str) -> bool {
        let zone = TimeZone::posix(zone).unwrap();
        WeekTimes::build(times, &zone).contains(instant.parse().unwrap())
    }

    const UTC: &str = "UTC0";
    /// Toronto, as POSIX has it.
    const EASTERN: &str = "EST5EDT,M3.2.0,M11.1.0";

    #[test]
    fn beginnings_are_in_and_ends_are_out() {
        // 2026-03-02 is a Monday.
        let office = [hours(0b001_1111, 8 * 60, 18 * 60)];
        for (instant, expected) in [
            ("2026-03-02T07:59:59Z", false),
            ("2026-03-02T08:00:00Z", true),
            ("2026-03-06T17:59:59Z", true),
            ("2026-03-06T18:00:00Z", false),
            ("2026-03-07T12:00:00Z", false),
        ] {
            assert_eq!(at(&office, UTC, instant), expected, "{instant}");
        }
        assert!(at(&[hours(1, 0, DAY)], UTC, "2026-03-02T23:59:59Z"));
        assert!(!at(&[], UTC, "2026-03-02T12:00:00Z"));
    }

    #[test]
    fn what_ends_the_next_day_belongs_to_the_day_on_which_it_began() {
        // Sundays, 22:00 to 06:00.
        let night = [hours(0b100_0000, 22 * 60, 6 * 60)];
        for (instant, expected) in [
            ("2026-03-01T21:59:00Z", false),
            ("2026-03-01T22:00:00Z", true),
            ("2026-03-02T05:59:00Z", true),
            ("2026-03-02T06:00:00Z", false),
            ("2026-03-01T03:00:00Z", false),
        ] {
            assert_eq!(at(&night, UTC, instant), expected, "{instant}");
        }
        // From one moment to the same of the next day.
        assert!(at(&[hours(0b100_0000, 60, 60)], UTC, "2026-03-02T00:59:00Z"));
    }

    #[test]
    fn the_clock_is_that_of_the_zone_in_summer_and_in_winter() {
        let office = [hours(0b111_1111, 8 * 60, 18 * 60)];
        assert!(at(&office, EASTERN, "2026-01-05T13:00:00Z"));
        assert!(!at(&office, EASTERN, "2026-01-05T12:59:00Z"));
        assert!(at(&office, EASTERN, "2026-07-06T12:00:00Z"));
        // 02:00 to 03:00 is not there on the day on which summer time begins.
        let skipped = [hours(0b111_1111, 2 * 60, 3 * 60)];
        assert!(!at(&skipped, EASTERN, "2026-03-08T06:59:00Z"));
        assert!(!at(&skipped, EASTERN, "2026-03-08T07:00:00Z"));
    }

    #[test]
    fn times_are_told_as_they_are_written() {
        for (days, text) in [(0b001_1111, "Mon-Fri"), (0b110_0101, "Mon,Wed,Sat-Sun"), (2, "Tue")] {
            assert_eq!(hours_text(&hours(days, 8 * 60, DAY)), format!("{text} 08:00-24:00"));
        }
    }

    #[test]
    fn a_zone_that_nobody_knows_is_an_error() {
        assert!(time_zone(Some("Nowhere/Atlantis")).is_err());
        assert!(time_zone(None).is_ok());
    }
}
