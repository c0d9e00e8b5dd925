//! Times of the week, moments, and what is counted in a day or a month: bytes and money.

use crate::amount;
use crate::fault::Fault;
use crate::model::{Budget, Hours, Period, Quota, Weekdays};
use crate::suggest::nearest;
use crate::syntax::quote;

const HOURS_HELP: &str = "write days, times or both: \"Mon-Fri 08:00-18:00\", \"Sat,Sun\", \
    \"22:00-06:00\" (which ends on the next day)";

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const MINUTES: u16 = 24 * 60;

/// One unit of money in the millionths that are counted.
const MILLIONTHS: u64 = 1_000_000;

/// `Mon-Fri 08:00-18:00`, or only one of the two.
pub(crate) fn hours(text: &str) -> Result<Hours, Fault> {
    let bad = || Fault::new(format!("{} are not hours", quote(text))).help(HOURS_HELP);
    let mut parts = text.split_ascii_whitespace();
    let (first, second, more) = (parts.next(), parts.next(), parts.next());
    let (written, times) = match (first, second, more) {
        (Some(times), None, None) if times.contains(':') => (None, Some(times)),
        (Some(days), times, None) => (Some(days), times),
        _ => return Err(bad()),
    };
    let days = written.map_or(Ok(Weekdays(0x7f)), days)?;
    let Some(times) = times else { return Ok(Hours { days, from: 0, until: MINUTES }) };
    let (from, until) = times.split_once('-').ok_or_else(bad)?;
    let (from, until) = (minute(from).ok_or_else(bad)?, minute(until).ok_or_else(bad)?);
    if from == until {
        return Err(Fault::new(format!("the hours {times} are empty"))
            .label("end when they begin")
            .help("leave the times out for whole days"));
    }
    match from {
        MINUTES => Err(bad().label("begin after the end of a day")),
        _ => Ok(Hours { days, from, until }),
    }
}

/// `Mon`, `Mon-Fri`, `Sat,Sun`.
fn days(text: &str) -> Result<Weekdays, Fault> {
    let day = |word: &str| {
        let lower = word.to_ascii_lowercase();
        DAYS.iter().position(|day| *day == lower).ok_or_else(|| {
            let fault =
                Fault::new(format!("{} is not a day", quote(word))).label("not a day of the week");
            match nearest(lower.get(..3).unwrap_or(&lower), DAYS.into_iter()) {
                Some(day) => fault.help(format!("did you mean \"{}\"?", capital(day))),
                None => fault.help("the days are Mon, Tue, Wed, Thu, Fri, Sat and Sun"),
            }
        })
    };
    let mut days = Weekdays(0);
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        loop {
            days.0 |= 1 << at;
            if at == last {
                break;
            }
            at = (at + 1) % DAYS.len();
        }
    }
    Ok(days)
}

fn capital(day: &str) -> String {
    let (first, rest) = day.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// The minute of the day of `08:30`; `24:00` is the end of the day.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, least: usize| {
        let digits = (least..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour, 1)?, number(minute, 2)?);
    let at = hour * 60 + minute;
    (minute < 60 && at <= MINUTES).then_some(at)
}

/// A day (its first moment in UTC) or a moment (RFC 3339), in seconds since 1970.
pub(crate) fn moment(text: &str) -> Result<u64, Fault> {
    let bad = || {
        Fault::new(format!("{} is neither a day nor a moment", quote(text))).help(
            "write \"2027-01-31\" (from its first moment on, UTC) or \"2027-01-31T18:00:00Z\"",
        )
    };
    let day = text.len() == "2027-01-31".len();
    let midnight = if day { "T00:00:00Z" } else { "" };
    let moment: jiff::Timestamp = format!("{text}{midnight}").parse().map_err(|_| bad())?;
    u64::try_from(moment.as_second()).map_err(|_| bad().label("before 1970"))
}

/// `10GiB/month`.
pub(crate) fn quota(text: &str) -> Result<Quota, Fault> {
    let (amount, per) = in_period(text, "a quota", "10GiB/month")?;
    let bytes = amount::bytes_within(amount, 1, 1 << 60)?;
    Ok(Quota { bytes, per })
}

/// `5.00/month`.
pub(crate) fn budget(text: &str) -> Result<Budget, Fault> {
    let (amount, per) = in_period(text, "a budget", "5.00/month")?;
    match money(amount)? {
        0 => Err(Fault::new("a budget of nothing")
            .label("would let nothing through")
            .help("write a higher one, or leave the user out")),
        amount => Ok(Budget { amount, per }),
    }
}

fn in_period<'a>(text: &'a str, what: &str, example: &str) -> Result<(&'a str, Period), Fault> {
    let bad = || {
        Fault::new(format!("{} is not {what}", quote(text)))
            .help(format!("write how much, and whether in a day or a month: \"{example}\""))
    };
    let (amount, per) = text.split_once('/').ok_or_else(bad)?;
    match per {
        "day" => Ok((amount, Period::Day)),
        "month" => Ok((amount, Period::Month)),
        _ => Err(bad().label(format!("{} is neither `day` nor `month`", quote(per)))),
    }
}

/// `0.50`, in millionths. No currency: whoever reads the sums knows it.
pub(crate) fn money(text: &str) -> Result<u64, Fault> {
    let bad = || {
        Fault::new(format!("{} is not an amount of money", quote(text)))
            .help("write a number with at most six digits behind the point: \"0.50\"")
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let part: u64 = format!("{part:0<6}").parse().map_err(|_| bad())?;
    let sum = whole.checked_mul(MILLIONTHS).and_then(|whole| whole.checked_add(part));
    sum.ok_or_else(|| bad().label("too much"))
}

/// The name of a time zone, as the IANA database has them; whether this machine knows it is found
/// when users are built.
pub(crate) fn time_zone(text: &str) -> Result<(), Fault> {
    let wrong = |byte: u8| !(byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte));
    let relative = text.starts_with('/') || text.ends_with('/') || text.contains("//");
    if text.bytes().any(wrong) || relative || !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(Fault::new(format!("{} is not a time zone", quote(text)))
            .help("write a name of the IANA database: \"America/Toronto\", \"UTC\""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks() {
        let all = Weekdays(0x7f);
        for (text, days, from, until) in [
            ("Mon-Fri 08:00-18:00", Weekdays(0x1f), 480, 1080),
            ("Sat 10:00-14:30", Weekdays(0x20), 600, 870),
            ("sat,SUN", Weekdays(0x60), 0, 1440),
            ("Fri-Mon 0:00-24:00", Weekdays(0x71), 0, 1440),
            ("22:00-06:00", all, 1320, 360),
            ("Mon,Wed-Thu", Weekdays(0b1101), 0, 1440),
        ] {
            assert_eq!(hours(text), Ok(Hours { days, from, until }), "{text}");
        }
        for text in [
            "",
            "Mo",
            "Mon-",
            "Mon Tue",
            "08:00",
            "08:00-08:00",
            "24:00-06:00",
            "25:00-26:00",
            "8-18",
            "08:60-09:00",
            "Mon 08:00-18:00 x",
            "Mon-Fri08:00-18:00",
            "08:0-09:00",
        ] {
            assert!(hours(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2027-01-31", 1_801_353_600),
            ("2027-01-31T00:00:00Z", 1_801_353_600),
            ("2027-01-31T01:00:00+01:00", 1_801_353_600),
        ] {
            assert_eq!(moment(text), Ok(seconds), "{text}");
        }
        for text in ["", "2027", "2027-02-30", "31.1.2027", "2027-01-31T00:00:00", "1969-12-31"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counted_in_a_period() {
        assert_eq!(quota("10GiB/month"), Ok(Quota { bytes: 10 << 30, per: Period::Month }));
        assert_eq!(quota("1GB/day"), Ok(Quota { bytes: 1_000_000_000, per: Period::Day }));
        for text in ["10GiB", "10GiB/week", "0B/day", "/day", "10/day", "5/month"] {
            assert!(quota(text).is_err(), "{text}");
        }
        assert_eq!(budget("5.00/month"), Ok(Budget { amount: 5_000_000, per: Period::Month }));
        assert_eq!(budget("0.000001/day"), Ok(Budget { amount: 1, per: Period::Day }));
        for text in ["5", "0/day", "0.00/day", "$5/day", "-1/day", "1.0000001/day", ".5/day"] {
            assert!(budget(text).is_err(), "{text}");
        }
        assert_eq!(money("18446744073709.551615"), Ok(u64::MAX));
        assert!(money("18446744073709.551616").is_err());
    }

    #[test]
    fn zones() {
        for text in ["UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            assert!(time_zone(text).is_ok(), "{text}");
        }
        for text in ["", "/etc/passwd", "../x", "a//b", "Europe/", "a b"] {
            assert!(time_zone(text).is_err(), "{text}");
        }
    }
}
