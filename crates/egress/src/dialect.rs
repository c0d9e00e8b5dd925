//! What user names (and passwords) say besides the user: one parser, and a table of keys for
//! each dialect.
//!
//! The user comes first and is found by the longest name that exists, so names may hold `-`.
//! Whatever follows has to be understood: a key that is unknown, a value that is malformed and
//! a combination that means nothing are errors that name the key. Nothing is percent-decoded.
//! Which keys a vendor has and what becomes of them stands in the tables (`dialect/tables.rs`).

mod continent;
mod state;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

use config::Dialect;

use crate::wish::{SessionWish, Wish};
use table::{Draft, Key, Place, Table};

pub use continent::{continent_code, continent_of};

/// No longer are user names, nor passwords that carry wishes: so much fits into SOCKS5
/// (RFC 1929 §2).
pub const MAX_BYTES: usize = 255;

/// What a client has shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name alone.
    pub user: String,
    /// The password alone.
    pub password: Vec<u8>,
    /// What it asks of the exit. It is apart from the other two so that the password can be
    /// checked first: who does not know it does not learn from the error that the user exists.
    pub wish: Result<Wish, DialectError>,
}

impl fmt::Debug for Login {
    /// Never shows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("wish", &self.wish).finish()
    }
}

/// Why a wish is not understood, or cannot be said. It never quotes a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialectError {
    /// The key at fault, fit to be shown: at most 32 letters, digits, `_` and `.`, other
    /// characters as `?`. Empty where it is about no key.
    pub key: String,
    /// What is wrong, to be read behind the key.
    pub problem: &'static str,
}

/// The problem of a key that no table has.
const UNKNOWN: &str = "is unknown";

impl DialectError {
    fn new(key: &str, problem: &'static str) -> Self {
        let fit = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.');
        let shown = key.chars().take(32).map(|char| if fit(char) { char } else { '?' });
        Self { key: shown.collect(), problem }
    }

    /// One that is about the whole.
    fn whole(problem: &'static str) -> Self {
        Self { key: String::new(), problem }
    }
}

impl fmt::Display for DialectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.key, self.problem) {
            ("", UNKNOWN) => f.write_str("a key is empty"),
            ("", problem) => f.write_str(problem),
            (key, UNKNOWN) => write!(f, "unknown key `{key}`"),
            (key, problem) => write!(f, "key `{key}` {problem}"),
        }
    }
}

impl std::error::Error for DialectError {}

/// Takes apart what a client has shown.
///
/// `users` tells whether a user of this name exists: the longest that does is the user. Where
/// none does, everything before the first key is. `None`: nobody is asked for credentials, and
/// everything behind the first separator is a wish.
///
/// `sticky_port` is the port that the client has come to, if each of its listener's ports is a
/// session of its own: this is its session if it names none.
#[must_use]
pub fn parse(
    dialect: Dialect,
    name: &str,
    password: &[u8],
    users: Option<&dyn Fn(&str) -> bool>,
    sticky_port: Option<u16>,
) -> Login {
    let table = Table::of(dialect);
    match table.place {
        Place::Name => {
            let (user, said) = split_name(table, name, users);
            let wish = if name.len() > MAX_BYTES {
                Err(DialectError::whole("the user name is longer than 255 bytes"))
            } else {
                read(table, said, sticky_port)
            };
            Login { user: user.to_owned(), password: password.to_vec(), wish }
        }
        Place::Password => {
            let (secret, said) = split_password(table, password, users.is_some());
            let wish = match said.map(str::from_utf8) {
                Some(_) if password.len() > MAX_BYTES => {
                    Err(DialectError::whole("the password is longer than 255 bytes"))
                }
                Some(Err(_)) => Err(DialectError::whole("what the password says is not UTF-8")),
                Some(Ok(said)) => read(table, Some(said), sticky_port),
                None => read(table, None, sticky_port),
            };
            Login { user: name.to_owned(), password: secret.to_vec(), wish }
        }
    }
}

/// The user, and what stands behind it.
fn split_name<'a>(
    table: &Table,
    name: &'a str,
    users: Option<&dyn Fn(&str) -> bool>,
) -> (&'a str, Option<&'a str>) {
    let bare = table.prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    let at = |text: &'a str, cut: usize| (&text[..cut], text.get(cut + 1..));
    let Some(exists) = users else {
        let text = bare.unwrap_or(name);
        return at(text, text.find('-').unwrap_or(text.len()));
    };
    // A prefix counts as such first; but there may be users whose own name begins so.
    for text in bare.into_iter().chain([name]) {
        let dashes = text.rmatch_indices('-').map(|(at, _)| at);
        if let Some(cut) = [text.len()].into_iter().chain(dashes).find(|cut| exists(&text[..*cut]))
        {
            return at(text, cut);
        }
    }
    let text = bare.unwrap_or(name);
    let mut dashes = text.match_indices('-').map(|(at, _)| at);
    let is_key = |cut: &usize| {
        let behind = &text[cut + 1..];
        table.key(behind.split('-').next().unwrap_or(behind)).is_some()
    };
    at(text, dashes.find(is_key).unwrap_or(text.len()))
}

/// The password itself, and what stands behind it. Nobody knows where it ends (there may be only
/// a hash of it), so it ends where the first key begins.
fn split_password<'a>(
    table: &Table,
    text: &'a [u8],
    checked: bool,
) -> (&'a [u8], Option<&'a [u8]>) {
    let starts_key = |at: &usize| {
        let behind = &text[at + 1..];
        let mut names = table.keys.iter().map(|key| key.name.as_bytes());
        names.any(|name| behind.strip_prefix(name).is_some_and(|more| more.starts_with(b"-")))
    };
    let mut seams = (0..text.len()).filter(|at| text[*at] == b'_');
    let cut = if checked { seams.find(starts_key) } else { seams.next() };
    match cut {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Reads the keys and values behind a user or a password.
fn read(table: &Table, said: Option<&str>, sticky_port: Option<u16>) -> Result<Wish, DialectError> {
    let mut draft = Draft::default();
    match (said, table.place) {
        (None, _) => {}
        (Some(said), Place::Name) => read_name(table, said, &mut draft)?,
        (Some(said), Place::Password) => read_password(table, said, &mut draft)?,
    }
    let session = sticky_port.map(SessionWish::of_port);
    let wish = draft.finish(table, session)?;
    match table.rules.iter().find(|rule| !(rule.holds)(&wish)) {
        Some(rule) => Err(DialectError::new(rule.key, rule.problem)),
        None => Ok(wish),
    }
}

/// `key-value-key-value-flag`.
fn read_name(table: &Table, said: &str, draft: &mut Draft) -> Result<(), DialectError> {
    let mut parts = said.split('-').peekable();
    while let Some(name) = parts.next() {
        let key = table.key(name).ok_or_else(|| DialectError::new(name, UNKNOWN))?;
        let mut value = None;
        if key.takes_value() {
            value = parts.next().map(str::to_owned);
        }
        if let (Some(value), true) = (&mut value, key.takes_dashes()) {
            // The names of exits may hold dashes: such a value reaches to the next key.
            while let Some(part) = parts.next_if(|part| table.key(part).is_none()) {
                value.push('-');
                value.push_str(part);
            }
        }
        say(draft, key, value.as_deref())?;
    }
    Ok(())
}

/// `key-value_key-value`.
fn read_password(table: &Table, said: &str, draft: &mut Draft) -> Result<(), DialectError> {
    for pair in said.split('_') {
        let (name, value) = match pair.split_once('-') {
            Some((name, value)) => (name, Some(value)),
            None => (pair, None),
        };
        match table.key(name) {
            Some(key) => say(draft, key, value)?,
            // It may be a part of the password, so it is named only if it looks like a key.
            None if value.is_some() && name.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                return Err(DialectError::new(name, UNKNOWN));
            }
            None => {
                return Err(DialectError::whole("behind its keys the password has what is none"));
            }
        }
    }
    Ok(())
}

fn say(draft: &mut Draft, key: &'static Key, value: Option<&str>) -> Result<(), DialectError> {
    draft.say(key, value).map_err(|problem| DialectError::new(key.name, problem))
}

/// How a dialect calls a thing that a wish is about (a field of [`Wish`]; `tag` for its tags), for
/// errors about it. What it has no key for keeps the name of the field.
#[must_use]
pub fn key_name(dialect: Dialect, field: &'static str) -> &'static str {
    let key = Table::of(dialect).keys.iter().find(|key| key.written && key.is_about(field));
    key.map_or(field, |key| key.name)
}

/// Writes a user name and a password that say this: the inverse of [`parse`].
///
/// # Errors
/// The dialect has no words for it, it has them only in another combination, or the result is
/// longer than [`MAX_BYTES`] or holds a colon or control characters.
pub fn compose(
    dialect: Dialect,
    user: &str,
    password: &str,
    wish: &Wish,
) -> Result<(String, String), DialectError> {
    let table = Table::of(dialect);
    let mut pairs = String::new();
    let seam = if table.place == Place::Name { '-' } else { '_' };
    for key in table.keys.iter().filter(|key| key.written) {
        key.write(table, wish, |value| {
            pairs.push(seam);
            pairs.push_str(key.name);
            if !value.is_empty() {
                pairs.push('-');
                pairs.push_str(value);
            }
        });
    }
    let prefix = table.prefixes.first().copied().unwrap_or_default();
    let (name, secret) = match table.place {
        Place::Name => (format!("{prefix}{user}{pairs}"), password.to_owned()),
        Place::Password => (user.to_owned(), format!("{password}{pairs}")),
    };
    fits(&name, &secret)?;
    // The one thing that matters is what the parser makes of it.
    let login = parse(dialect, &name, secret.as_bytes(), Some(&|name| name == user), None);
    if login.user != user || login.password != password.as_bytes() {
        return Err(DialectError::whole("the user name or password looks like a wish by itself"));
    }
    match login.wish?.difference(wish) {
        Some(field) => Err(DialectError::new(field, "cannot be said in this dialect")),
        None => Ok((name, secret)),
    }
}

/// What Basic (RFC 7617) and SOCKS5 (RFC 1929) can carry both.
fn fits(name: &str, password: &str) -> Result<(), DialectError> {
    if name.is_empty() || name.contains(':') {
        return Err(DialectError::whole("the user name is empty or holds a colon"));
    }
    if name.len() > MAX_BYTES || password.len() > MAX_BYTES {
        return Err(DialectError::whole("the user name or password is longer than 255 bytes"));
    }
    if name.chars().chain(password.chars()).any(char::is_control) {
        return Err(DialectError::whole("the user name or password has control characters"));
    }
    Ok(())
}
