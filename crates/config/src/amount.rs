//! Durations, amounts of bytes, rates, percentages, statuses and ports.

use std::time::Duration;

use crate::fault::Fault;
use crate::model::ByteLimit;
use crate::syntax::quote;

/// Nothing waits longer than a year, and sums of such durations never overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const DURATION_HELP: &str =
    "write a whole number and `ms`, `s`, `m`, `h` or `d`: \"500ms\", \"10s\", \"1h\"";
const SIZE_HELP: &str = "write a whole number and `B`, `KiB`, `MiB`, `GiB`, `TiB` (1024) or `KB`, `MB`, `GB`, `TB` (1000)";

/// `10s`.
pub(crate) fn duration(text: &str, zero: bool) -> Result<Duration, Fault> {
    let bad = || Fault::new(format!("`{text}` is not a duration"));
    let (number, unit) = split(text).ok_or_else(|| bad().help(DURATION_HELP))?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(bad().label("without a unit").help(format!("write \"{text}s\""))),
        _ if unit.starts_with('.') => {
            return Err(bad().label("not a whole number").help(DURATION_HELP));
        }
        _ => return Err(bad().label(format!("`{unit}` is not a unit")).help(DURATION_HELP)),
    };
    let duration = number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| {
            Fault::new(format!("`{text}` is too long")).label("must be at most \"365d\"")
        })?;
    if duration.is_zero() && !zero {
        return Err(Fault::new("a duration of zero").label("must be longer").help(
            "nothing can be done in no time; to wait as long as it takes, write a long one",
        ));
    }
    Ok(duration)
}

/// `64KiB`.
fn bytes(text: &str) -> Result<u64, Fault> {
    let bad = || Fault::new(format!("`{text}` is not a size"));
    let (number, unit) = split(text).ok_or_else(|| bad().help(SIZE_HELP))?;
    let Some(factor) = unit_of(unit) else {
        let fault = bad().label(match unit {
            "" => "without a unit".to_owned(),
            _ if unit.starts_with('.') => "not a whole number".to_owned(),
            _ => format!("`{unit}` is not a unit"),
        });
        return Err(match meant_unit(unit) {
            Some(unit) => fault.help(format!("did you mean \"{number}{unit}\"?")),
            None => fault.help(SIZE_HELP),
        });
    };
    number.checked_mul(factor).ok_or_else(|| Fault::new(format!("`{text}` is too large")))
}

fn unit_of(unit: &str) -> Option<u64> {
    let factor: u64 = match unit {
        "B" => 1,
        "KB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    Some(factor)
}

fn meant_unit(unit: &str) -> Option<&'static str> {
    match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some("B"),
        "k" | "kib" | "ki" => Some("KiB"),
        "m" | "mib" | "mi" => Some("MiB"),
        "g" | "gib" | "gi" => Some("GiB"),
        "t" | "tib" | "ti" => Some("TiB"),
        "kb" => Some("KB"),
        "mb" => Some("MB"),
        "gb" => Some("GB"),
        "tb" => Some("TB"),
        _ => None,
    }
}

/// A size within bounds.
pub(crate) fn bytes_within(text: &str, min: u64, max: u64) -> Result<u64, Fault> {
    let bytes = bytes(text)?;
    if (min..=max).contains(&bytes) {
        return Ok(bytes);
    }
    Err(Fault::new(format!("`{text}` is out of range")).label(format!(
        "must be \"{}\" to \"{}\"",
        written(min),
        written(max)
    )))
}

fn written(bytes: u64) -> String {
    for (factor, unit) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

/// A size, or `unlimited`.
pub(crate) fn byte_limit(text: &str) -> Result<ByteLimit, Fault> {
    match text {
        "unlimited" => Ok(ByteLimit::Unlimited),
        "off" | "none" => Err(Fault::new(format!("`{text}` is not a size"))
            .help("write \"unlimited\" to lift the limit")),
        _ => bytes(text).map(ByteLimit::Bytes),
    }
}

/// `240B/s`, or `off`.
pub(crate) fn rate(text: &str) -> Result<Option<u64>, Fault> {
    if text == "off" {
        return Ok(None);
    }
    let Some(amount) = text.strip_suffix("/s") else {
        return Err(Fault::new(format!("`{text}` is not a rate"))
            .help("write a size and `/s`, such as \"240B/s\", or \"off\""));
    };
    match bytes(amount)? {
        0 => Err(Fault::new("a rate of zero").help("write \"off\" to enforce none")),
        rate => Ok(Some(rate)),
    }
}

/// `5MiB/s`.
pub(crate) fn bandwidth(text: &str) -> Result<u64, Fault> {
    let Some(amount) = text.strip_suffix("/s") else {
        return Err(Fault::new(format!("`{text}` is not a rate"))
            .help("write a size and `/s`, such as \"5MiB/s\"; leave it out to limit nothing"));
    };
    match bytes(amount)? {
        0 => Err(Fault::new("a rate of zero").help("write a higher one")),
        rate => Ok(rate),
    }
}

/// Windows of rate limits are short: what is remembered of a client is remembered that long.
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// No clock tells more in a second apart.
const MOST_IN_A_WINDOW: u64 = 1 << 40;

/// `1000/s`, or `5/10s`: so many in this time.
pub(crate) fn request_rate(text: &str) -> Result<(u64, Duration), Fault> {
    let bad = || {
        Fault::new(format!("`{text}` is not a rate of requests"))
            .help("write a number, and what time it holds for: \"1000/s\", \"5/10s\", \"100/m\"")
    };
    let (amount, window) = text.split_once('/').ok_or_else(bad)?;
    let digits = !amount.is_empty() && amount.bytes().all(|byte| byte.is_ascii_digit());
    let amount = digits.then(|| amount.parse().ok()).flatten().ok_or_else(bad)?;
    bounded_rate(text, amount, window)
}

/// `10MiB/s`, or `1GiB/h`: so many bytes in this time.
pub(crate) fn byte_rate(text: &str) -> Result<(u64, Duration), Fault> {
    let (amount, window) = text.split_once('/').ok_or_else(|| {
        Fault::new(format!("`{text}` is not a rate of bytes"))
            .help("write a size, and what time it holds for: \"10MiB/s\", \"1GiB/h\"")
    })?;
    bounded_rate(text, bytes(amount)?, window)
}

fn bounded_rate(text: &str, amount: u64, window: &str) -> Result<(u64, Duration), Fault> {
    let one = window.starts_with(|char: char| !char.is_ascii_digit());
    let window = match one {
        true => duration(&format!("1{window}"), false),
        false => duration(window, false),
    }
    .map_err(|_| {
        Fault::new(format!("`{text}` is not a rate"))
            .label(format!("`{window}` is not a time"))
            .help("behind `/` stands `s`, `m`, `h` or `d`, or a duration such as `10s`")
    })?;
    if amount == 0 {
        return Err(Fault::new("a rate of zero")
            .label("would let nothing through")
            .help("write a higher one; `deny` refuses clients altogether"));
    }
    if amount > MOST_IN_A_WINDOW {
        return Err(Fault::new(format!("`{text}` is too much")).help("leave the limit out"));
    }
    if window > LONGEST_WINDOW {
        return Err(Fault::new(format!("the time of `{text}` is too long"))
            .label("must be at most one day")
            .help("write a shorter time, and as much less"));
    }
    Ok((amount, window))
}

/// `20%`.
pub(crate) fn percent(text: &str, min: u64, max: u64) -> Result<u64, Fault> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    let number = (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse::<u64>().unwrap_or(u64::MAX));
    match number {
        None => Err(Fault::new(format!("`{text}` is not a percentage"))
            .help(format!("write a whole number and `%`: \"{min}%\""))),
        Some(_) if digits.len() == text.len() => {
            Err(Fault::new(format!("`{text}` is not a percentage"))
                .label("without `%`")
                .help(format!("write \"{text}%\"")))
        }
        Some(number) if !(min..=max).contains(&number) => {
            Err(Fault::new(format!("{text} is out of range"))
                .label(format!("must be \"{min}%\" to \"{max}%\"")))
        }
        Some(number) => Ok(number),
    }
}

/// `200-399`, or several such: `200,204,300-399`. In order, as written.
pub(crate) fn statuses(text: &str) -> Result<Vec<(u16, u16)>, Fault> {
    let bad = || {
        Fault::new(format!("{} are not statuses", quote(text)))
            .label("final statuses go from 200 to 599")
            .help("write statuses and ranges, with commas between them: \"200,204,300-399\"")
    };
    let status = |part: &str| {
        let digits = part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        let status = digits.then(|| part.parse::<u16>().ok()).flatten();
        status.filter(|status| (200..600).contains(status)).ok_or_else(bad)
    };
    let range = |part: &str| {
        let (low, high) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let (low, high) = (status(low)?, status(high)?);
        if low > high {
            return Err(Fault::new(format!("the range {low}-{high} is empty"))
                .label("ends before it begins")
                .help(format!("write {high}-{low}")));
        }
        Ok((low, high))
    };
    text.split(',').map(range).collect()
}

/// `443`, or `8000-9999`.
pub(crate) fn ports(text: &str) -> Result<(u16, u16), Fault> {
    let bad = || {
        Fault::new(format!("`{text}` is neither a port nor a range of ports"))
            .label("ports go from 1 to 65535")
            .help("write a port (443) or a range (8000-9999)")
    };
    let port = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten().filter(|port| *port > 0)
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (port(low).ok_or_else(bad)?, port(high).ok_or_else(bad)?);
    if low > high {
        return Err(Fault::new(format!("the range {text} is empty"))
            .label("ends before it begins")
            .help(format!("write {high}-{low}")));
    }
    Ok((low, high))
}

/// Digits, and what follows them.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration(text, false), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("0s", true), Ok(Duration::ZERO));
        for text in ["0s", "10", "1.5s", "s", "-1s", "10 sec", "366d", "99999999999999999999s"] {
            assert!(duration(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, size) in [("0B", 0), ("64KiB", 65536), ("5MiB", 5 << 20), ("1MB", 1_000_000)] {
            assert_eq!(byte_limit(text), Ok(ByteLimit::Bytes(size)), "{text}");
        }
        assert_eq!(byte_limit("10GiB"), Ok(ByteLimit::Bytes(10 << 30)));
        assert_eq!(byte_limit("unlimited"), Ok(ByteLimit::Unlimited));
        for text in ["64", "64k", "1.5MiB", "KiB", "off", "99999999TiB"] {
            assert!(byte_limit(text).is_err(), "{text}");
        }
        assert_eq!(bytes_within("1KiB", 1024, 2048), Ok(1024));
        assert!(bytes_within("1023B", 1024, 2048).is_err());
        assert!(bytes_within("2049B", 1024, 2048).is_err());
    }

    #[test]
    fn rates_and_ports() {
        assert_eq!(rate("240B/s"), Ok(Some(240)));
        assert_eq!(rate("off"), Ok(None));
        for text in ["240B", "0B/s", "240/s", "on"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(ports("443"), Ok((443, 443)));
        assert_eq!(ports("8000-9999"), Ok((8000, 9999)));
        for text in ["0", "65536", "1-", "-1", "9-8", "1-2-3", "http", "+5"] {
            assert!(ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_of_limits() {
        let seconds = Duration::from_secs;
        for (text, amount, window) in [
            ("1000/s", 1000, seconds(1)),
            ("5/10s", 5, seconds(10)),
            ("100/m", 100, seconds(60)),
            ("1/d", 1, seconds(86_400)),
        ] {
            assert_eq!(request_rate(text), Ok((amount, window)), "{text}");
        }
        assert_eq!(byte_rate("10MiB/s"), Ok((10 << 20, seconds(1))));
        assert_eq!(byte_rate("1KB/2h"), Ok((1000, seconds(7200))));
        for text in ["", "5", "5/", "/s", "0/s", "5/0s", "5/2d", "5/w", "-1/s", "1KiB/s", "5/s/s"] {
            assert!(request_rate(text).is_err(), "{text}");
        }
        for text in ["1KiB", "5/s", "0B/s", "9999TiB/s"] {
            assert!(byte_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_and_statuses() {
        assert_eq!(percent("20%", 0, 100), Ok(20));
        for text in ["20", "%", "101%", "-1%", "1.5%", "99999999999999999999999%"] {
            assert!(percent(text, 0, 100).is_err(), "{text}");
        }
        assert_eq!(statuses("200, 204,300-399"), Ok(vec![(200, 200), (204, 204), (300, 399)]));
        for text in ["", "20", "100", "600", "200,", "399-200", "200-", "2xx"] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }
}
