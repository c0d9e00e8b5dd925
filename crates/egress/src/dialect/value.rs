//! How values are read and written. Errors are to be read behind a key; they quote nothing.

use std::net::IpAddr;
use std::time::Duration;

use config::Country;

use super::table::{StateForm, TtlForm, Words, ZipForm};
use super::{continent as continents, state as states};

type Read<T> = Result<T, &'static str>;

/// Letters of a place, and of a name, at most.
const LONGEST: usize = 64;

pub(super) fn continent(text: &str) -> Read<Box<str>> {
    let code = continents::continent_code(&text.to_ascii_lowercase());
    code.map(Box::from).ok_or("is not a continent")
}

pub(super) fn country(text: &str) -> Read<Country> {
    Country::parse(text).ok_or("is not one country by its two letters")
}

/// Lower case.
pub(super) fn place(text: &str) -> Read<Box<str>> {
    let fits = |char: char| char.is_alphanumeric() || char == '_';
    if !text.chars().all(fits) || text.chars().count() > LONGEST {
        return Err("is not letters, digits and `_`");
    }
    Ok(text.to_lowercase().into())
}

pub(super) fn write_place(words: Words, text: &str) -> String {
    match words {
        Words::Joined => text.to_owned(),
        Words::Squeezed => text.replace('_', ""),
    }
}

pub(super) fn state(form: StateForm, text: &str) -> Read<Box<str>> {
    let text = place(text)?;
    match form {
        StateForm::Words(_) => Ok(text),
        StateForm::OfUs => match text.strip_prefix("us_") {
            Some(state) if !state.is_empty() => Ok(state.into()),
            _ => Err("is not written us_STATE"),
        },
        StateForm::Code => {
            states::name(&text).map(Box::from).ok_or("is not the two letters of a US state")
        }
    }
}

/// `None`: it cannot be written so.
pub(super) fn write_state(form: StateForm, text: &str) -> Option<String> {
    match form {
        StateForm::Words(words) => Some(write_place(words, text)),
        StateForm::OfUs => Some(format!("us_{text}")),
        StateForm::Code => states::code(text).map(str::to_owned),
    }
}

pub(super) fn zip(form: ZipForm, text: &str) -> Read<Box<str>> {
    let fits = match form {
        ZipForm::Any => {
            text.len() <= 16
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }
        ZipForm::Five => text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if fits { Ok(text.to_ascii_lowercase().into()) } else { Err("is not a postal code") }
}

pub(super) fn asn(text: &str) -> Read<u32> {
    number(text).ok_or("is not the number of an autonomous system")
}

/// A tag or the name of an exit.
pub(super) fn name(text: &str) -> Read<Box<str>> {
    if text.chars().any(char::is_control) || text.chars().count() > LONGEST {
        return Err("is longer than 64 characters, or has control characters");
    }
    Ok(text.into())
}

/// The name that an exit has which is this address: with `_` where it has colons, because no user
/// name of Basic holds any. It may be written so, too.
pub(super) fn address(text: &str) -> Read<Box<str>> {
    let address: IpAddr = text.replace('_', ":").parse().map_err(|_| "is not an address")?;
    Ok(address.to_string().replace(':', "_").into())
}

pub(super) fn session(text: &str) -> Read<Box<str>> {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fits && (1..=64).contains(&text.len()) {
        Ok(text.into())
    } else {
        Err("is not 1 to 64 letters, digits and `_`")
    }
}

pub(super) fn switch(text: &str) -> Read<bool> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("is neither 0 nor 1"),
    }
}

/// Units of time, in seconds, the largest first.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

pub(super) fn ttl(form: TtlForm, text: &str) -> Read<Duration> {
    let (digits, seconds, problem) = match form {
        TtlForm::Minutes => (text, 60, "is not a number of minutes, at least 1"),
        TtlForm::Unit => {
            let problem = "is not a time such as 90s, 10m, 2h or 1d";
            let found = UNITS.iter().find_map(|(unit, length)| {
                text.strip_suffix(*unit).map(|digits| (digits, *length))
            });
            let (digits, length) = found.ok_or(problem)?;
            (digits, length, problem)
        }
    };
    match number(digits) {
        // 2³² days fit by far.
        Some(count) if count > 0 => Ok(Duration::from_secs(u64::from(count) * seconds)),
        _ => Err(problem),
    }
}

/// `None`: it cannot be written so.
pub(super) fn write_ttl(form: TtlForm, ttl: Duration) -> Option<String> {
    let seconds = ttl.as_secs();
    if ttl.subsec_nanos() > 0 || seconds == 0 {
        return None;
    }
    match form {
        TtlForm::Minutes => seconds.is_multiple_of(60).then(|| (seconds / 60).to_string()),
        TtlForm::Unit => {
            let (unit, length) =
                UNITS.iter().find(|(_, length)| seconds.is_multiple_of(*length))?;
            Some(format!("{}{unit}", seconds / length))
        }
    }
}

/// Digits and nothing else: `parse` alone would take a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
