//! What a dialect consists of, and what its keys do.

use std::time::Duration;

use config::{Dialect, ResolveAt};

use super::{DialectError, tables, value};
use crate::wish::{SessionWish, Wish};

/// A dialect.
#[derive(Debug)]
pub(super) struct Table {
    /// Where wishes stand.
    pub(super) place: Place,
    /// What may stand before the user; the first is what is written.
    pub(super) prefixes: &'static [&'static str],
    /// The keys, in the order in which they are written.
    pub(super) keys: &'static [Key],
    /// Combinations that must not be.
    pub(super) rules: &'static [Rule],
}

/// Where wishes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `USER-key-value-key-value`.
    Name,
    /// `PASSWORD_key-value_key-value`.
    Password,
}

/// Something that has to be true of every wish.
#[derive(Debug)]
pub(super) struct Rule {
    /// The key to be named where it is not.
    pub(super) key: &'static str,
    pub(super) holds: fn(&Wish) -> bool,
    /// What to say then, behind the key.
    pub(super) problem: &'static str,
}

/// A key of a dialect.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) says: Says,
    /// Whether it is written; else it is another way to say what another key says.
    pub(super) written: bool,
}

/// What a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Continent,
    Country,
    State(StateForm),
    City(Words),
    Zip(ZipForm),
    Asn,
    /// A tag, or the name of a pool. As often as there are tags.
    Tag,
    /// The same, once.
    Zone,
    /// The name of an exit.
    Exit,
    /// The name of an exit that is an address.
    Address,
    /// Where names are resolved, by these words.
    Resolve {
        here: &'static str,
        exit: &'static str,
    },
    Session,
    /// The name of a session that is strict.
    StrictSession,
    Ttl(TtlForm),
    /// The session is strict. No value.
    Strict,
    /// The session is strict: `1`, or is not: `0`.
    Switch,
    /// Nothing that would change which exit is taken: any value.
    Remark,
    /// Nothing either: one of these.
    Harmless(&'static [&'static str]),
    /// What we cannot do.
    Refused,
}

/// How words are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// `new_york`.
    Joined,
    /// `newyork`.
    Squeezed,
}

/// How a state is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateForm {
    Words(Words),
    /// `us_california`.
    OfUs,
    /// `ca`.
    Code,
}

/// How a postal code is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZipForm {
    /// Letters and digits.
    Any,
    /// Five digits.
    Five,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TtlForm {
    /// `90s`, `10m`, `2h`, `1d`.
    Unit,
    /// Whole minutes.
    Minutes,
}

impl Table {
    pub(super) fn of(dialect: Dialect) -> &'static Self {
        match dialect {
            Dialect::Native => &tables::NATIVE,
            Dialect::Decodo => &tables::DECODO,
            Dialect::BrightData => &tables::BRIGHT_DATA,
            Dialect::Oxylabs => &tables::OXYLABS,
            Dialect::IpRoyal => &tables::IPROYAL,
        }
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    fn has(&self, says: Says) -> bool {
        self.keys.iter().any(|key| key.says == says)
    }
}

impl Key {
    pub(super) const fn new(name: &'static str, says: Says) -> Self {
        Self { name, says, written: true }
    }

    /// Another way to say it.
    pub(super) const fn alias(name: &'static str, says: Says) -> Self {
        Self { name, says, written: false }
    }

    /// Whether a value follows. (Of a key that is refused nobody cares.)
    pub(super) fn takes_value(&self) -> bool {
        !matches!(self.says, Says::Strict | Says::Refused | Says::Harmless([]))
    }

    /// Whether the value may hold `-`.
    pub(super) fn takes_dashes(&self) -> bool {
        matches!(self.says, Says::Tag | Says::Zone | Says::Exit)
    }

    /// Whether it says this field of a wish.
    pub(super) fn is_about(&self, field: &str) -> bool {
        let said = match self.says {
            Says::Continent => "continent",
            Says::Country => "country",
            Says::State(_) => "state",
            Says::City(_) => "city",
            Says::Zip(_) => "zip",
            Says::Asn => "asn",
            Says::Tag | Says::Zone => "tag",
            Says::Exit | Says::Address => "exit",
            Says::Resolve { .. } => "resolve",
            Says::Session => "session",
            Says::StrictSession | Says::Strict | Says::Switch => "strict",
            Says::Ttl(_) => "ttl",
            Says::Remark | Says::Harmless(_) | Says::Refused => return false,
        };
        said == field
    }

    /// Gives what a wish has of what this key says: a value, or an empty one for a key without.
    pub(super) fn write(&self, table: &Table, wish: &Wish, mut put: impl FnMut(&str)) {
        let session = wish.session.as_ref();
        let strict = session.is_some_and(|session| session.strict);
        let by_name = strict && table.has(Says::StrictSession);
        let id = session.map(|session| &*session.id);
        let value: Option<String> = match self.says {
            Says::Continent => wish.continent.as_deref().map(str::to_owned),
            Says::Country => wish.country.map(|code| code.as_str().to_ascii_lowercase()),
            Says::State(form) => {
                wish.state.as_deref().and_then(|text| value::write_state(form, text))
            }
            Says::City(words) => wish.city.as_deref().map(|text| value::write_place(words, text)),
            Says::Zip(_) => wish.zip.as_deref().map(str::to_owned),
            Says::Asn => wish.asn.map(|asn| asn.to_string()),
            Says::Tag => return wish.tags.iter().for_each(|tag| put(tag)),
            Says::Zone => wish.tags.first().map(|tag| tag.to_string()),
            Says::Exit | Says::Address => wish.exit.as_deref().map(str::to_owned),
            Says::Resolve { here, exit } => wish.resolve.map(|at| match at {
                ResolveAt::Here => here.to_owned(),
                ResolveAt::Exit => exit.to_owned(),
            }),
            Says::Session => id.filter(|_| !by_name).map(str::to_owned),
            Says::StrictSession => id.filter(|_| by_name).map(str::to_owned),
            Says::Ttl(form) => {
                session.and_then(|session| session.ttl).and_then(|ttl| value::write_ttl(form, ttl))
            }
            Says::Strict => strict.then(String::new),
            Says::Switch => strict.then(|| "1".to_owned()),
            Says::Remark | Says::Harmless(_) | Says::Refused => None,
        };
        if let Some(value) = value {
            put(&value);
        }
    }
}

/// A wish that is being read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    wish: Wish,
    id: Option<Box<str>>,
    /// With the keys that said so.
    ttl: Option<(&'static str, Duration)>,
    strict: Option<(&'static str, bool)>,
    /// Keys that say nothing.
    idle: Vec<&'static str>,
}

/// The problem of a key whose value is missing.
const NO_VALUE: &str = "has no value";

impl Draft {
    /// Takes what a key says. The error is to be read behind the key.
    pub(super) fn say(
        &mut self,
        key: &'static Key,
        value: Option<&str>,
    ) -> Result<(), &'static str> {
        match (key.says, value) {
            (Says::Refused, _) => return Err("asks for what there is not here"),
            (_, None | Some("")) if key.takes_value() => return Err(NO_VALUE),
            (_, Some(_)) if !key.takes_value() => return Err("takes no value"),
            _ => {}
        }
        let text = value.unwrap_or_default();
        let wish = &mut self.wish;
        match key.says {
            Says::Continent => once(&mut wish.continent, value::continent(text)?),
            Says::Country => once(&mut wish.country, value::country(text)?),
            Says::State(form) => once(&mut wish.state, value::state(form, text)?),
            Says::City(_) => once(&mut wish.city, value::place(text)?),
            Says::Zip(form) => once(&mut wish.zip, value::zip(form, text)?),
            Says::Asn => once(&mut wish.asn, value::asn(text)?),
            Says::Tag => {
                wish.tags.push(value::name(text)?);
                Ok(())
            }
            Says::Zone => {
                let mut zone = wish.tags.pop();
                let outcome = once(&mut zone, value::name(text)?);
                wish.tags.extend(zone);
                outcome
            }
            Says::Exit => once(&mut wish.exit, value::name(text)?),
            Says::Address => once(&mut wish.exit, value::address(text)?),
            Says::Resolve { here, .. } if text == here => once(&mut wish.resolve, ResolveAt::Here),
            Says::Resolve { exit, .. } if text == exit => once(&mut wish.resolve, ResolveAt::Exit),
            Says::Resolve { .. } => Err("has a value that it does not know"),
            Says::Session => once(&mut self.id, value::session(text)?),
            Says::StrictSession => {
                once(&mut self.id, value::session(text)?)?;
                once(&mut self.strict, (key.name, true))
            }
            Says::Ttl(form) => once(&mut self.ttl, (key.name, value::ttl(form, text)?)),
            Says::Strict => once(&mut self.strict, (key.name, true)),
            Says::Switch => once(&mut self.strict, (key.name, value::switch(text)?)),
            Says::Harmless(values) if !values.is_empty() && !values.contains(&text) => {
                Err("has a value that it does not know")
            }
            Says::Remark | Says::Harmless(_) if self.idle.contains(&key.name) => Err(TWICE),
            Says::Remark | Says::Harmless(_) => {
                self.idle.push(key.name);
                Ok(())
            }
            Says::Refused => Ok(()),
        }
    }

    /// Puts the session together; `port` is the one of the port, for clients that name none.
    pub(super) fn finish(
        self,
        table: &Table,
        port: Option<SessionWish>,
    ) -> Result<Wish, DialectError> {
        let Self { mut wish, id, ttl, strict, .. } = self;
        let session = match id {
            Some(id) => Some(SessionWish { id, ttl: None, strict: false }),
            None => port,
        };
        if session.is_none()
            && let Some((key, _)) = ttl
        {
            return Err(DialectError::new(key, "needs a session"));
        }
        if session.is_none()
            && let Some((key, true)) = strict
        {
            return Err(DialectError::new(key, "needs a session"));
        }
        debug_assert!(table.has(Says::Session), "every dialect has sessions");
        wish.session = session.map(|session| SessionWish {
            ttl: ttl.map(|(_, ttl)| ttl),
            strict: strict.is_some_and(|(_, strict)| strict),
            ..session
        });
        Ok(wish)
    }
}

const TWICE: &str = "says what is said already";

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match slot {
        Some(_) => Err(TWICE),
        None => {
            *slot = Some(value);
            Ok(())
        }
    }
}
