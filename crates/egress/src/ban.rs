//! Ban rules, compiled: what of an answer has to be looked at, and which rules it fits.
//!
//! Pure. What is remembered of bans is in [`record`].

mod record;
mod search;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use config::{BanRule, BanScope, BanSign, ConfigError};

pub use search::{BODY_LIMIT, BodySearch};

pub(crate) use record::{BanRecord, Threshold, millis};

/// Rules of one pool.
const MAX_RULES: usize = 64;

/// Signs of one pool that fields and bodies are searched for.
const MAX_MARKS: usize = 64;

/// What came of a request, as far as an exit is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The target was connected to through the exit.
    Connected,
    /// It was not, and that is the exit's fault.
    Unreachable,
    /// The head of an answer that is not tunnelled.
    Answer {
        /// Its status.
        status: u16,
        /// From the end of the request's head to the first byte of the answer.
        first_byte: Duration,
        /// `Retry-After` (RFC 9110 §10.2.3), as time from now.
        retry_after: Option<Duration>,
        /// What [`BanPlan::fields`] found in it.
        marks: Marks,
    },
    /// What [`BodySearch::feed`] found in its body.
    Body(Marks),
    /// The connection ended or was reset, or TLS failed, before the target's first byte.
    Reset,
    /// A tunnel's first byte from the target, or that none came until now: after this time.
    FirstByte(Duration),
    /// The request ended well.
    Done,
}

/// Signs that were found in fields or a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(u64);

impl Marks {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn of(number: usize) -> Self {
        Self(1_u64.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or_default())
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The ban rules of a pool, and what has to be looked for because of them.
#[derive(Debug, Default)]
pub struct BanPlan {
    rules: Vec<Rule>,
    fields: Vec<FieldMark>,
    bodies: Vec<search::Text>,
}

#[derive(Debug)]
pub(crate) struct Rule {
    /// The same for the same rule in every configuration.
    pub(crate) id: u64,
    pub(crate) scope: BanScope,
    pub(crate) threshold: Threshold,
    /// In words, for logs and lists.
    pub(crate) words: Arc<str>,
    statuses: Vec<u16>,
    marks: Marks,
    reset: bool,
    unreachable: bool,
    slower: Option<Duration>,
}

#[derive(Debug)]
struct FieldMark {
    name: Box<str>,
    contains: Option<Box<[u8]>>,
    mark: Marks,
}

impl BanPlan {
    /// Compiles rules.
    ///
    /// # Errors
    /// More than 64 rules, or more than 64 fields and texts in all of them.
    pub(crate) fn build(rules: &[BanRule]) -> Result<Self, ConfigError> {
        let mut plan = Self::default();
        let mut marks = 0;
        for (number, rule) in rules.iter().enumerate() {
            if number >= MAX_RULES {
                return Err(too_many(rule, "a pool has at most 64 ban rules"));
            }
            let compiled = plan.compile(rule, &mut marks);
            if marks > MAX_MARKS {
                let problem = "the ban rules of a pool look for at most 64 fields and texts";
                return Err(too_many(rule, problem));
            }
            plan.rules.push(compiled);
        }
        Ok(plan)
    }

    fn compile(&mut self, rule: &BanRule, marks: &mut usize) -> Rule {
        let mut compiled = Rule {
            id: identity(rule),
            scope: rule.scope,
            threshold: Threshold::of(rule),
            words: rule.signs.iter().map(words).collect::<Vec<_>>().join(" or ").into(),
            statuses: Vec::new(),
            marks: Marks::default(),
            reset: false,
            unreachable: false,
            slower: None,
        };
        for sign in &rule.signs {
            let mark = Marks::of(*marks);
            match sign {
                BanSign::Status(status) => compiled.statuses.push(*status),
                BanSign::Reset => compiled.reset = true,
                BanSign::Unreachable => compiled.unreachable = true,
                BanSign::Slower(time) => {
                    compiled.slower = Some(compiled.slower.map_or(*time, |known| known.min(*time)));
                }
                BanSign::Body(text) => {
                    self.bodies.push(search::Text::new(text.as_bytes(), mark));
                    compiled.marks = compiled.marks.with(mark);
                    *marks += 1;
                }
                BanSign::Header { name, contains } => {
                    self.fields.push(FieldMark {
                        name: name.as_str().into(),
                        contains: contains.as_ref().map(|text| text.as_bytes().into()),
                        mark,
                    });
                    compiled.marks = compiled.marks.with(mark);
                    *marks += 1;
                }
            }
        }
        compiled
    }

    /// Whether the fields of answers have to be looked at.
    #[must_use]
    pub fn wants_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// What the fields of an answer show: pairs of name (in any case) and value.
    pub fn fields<'a>(&self, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Marks {
        let mut found = Marks::default();
        for (name, value) in fields {
            for field in &self.fields {
                if name.eq_ignore_ascii_case(field.name.as_bytes())
                    && field.contains.as_ref().is_none_or(|text| contains(value, text))
                {
                    found = found.with(field.mark);
                }
            }
        }
        found
    }

    /// A search through the body of an answer, if bodies have to be looked at.
    #[must_use]
    pub fn body(&self) -> Option<BodySearch> {
        BodySearch::new(&self.bodies)
    }

    /// The rules that a sign fits, each with its number.
    pub(crate) fn fitting(&self, sign: &Sign) -> impl Iterator<Item = (usize, &Rule)> {
        self.rules.iter().enumerate().filter(|(_, rule)| rule.fits(sign))
    }

    pub(crate) fn cares_for_hosts(&self) -> bool {
        self.rules.iter().any(|rule| rule.scope == BanScope::Host)
    }

    pub(crate) fn texts(&self) -> &[search::Text] {
        &self.bodies
    }
}

impl Rule {
    fn fits(&self, sign: &Sign) -> bool {
        let too_slow = |time| self.slower.is_some_and(|limit| time > limit);
        match sign {
            Sign::Connected | Sign::Done => false,
            Sign::Unreachable => self.unreachable,
            Sign::Reset => self.reset,
            Sign::FirstByte(time) => too_slow(*time),
            Sign::Body(marks) => self.marks.meets(*marks),
            Sign::Answer { status, first_byte, marks, .. } => {
                self.statuses.contains(status) || self.marks.meets(*marks) || too_slow(*first_byte)
            }
        }
    }
}

fn too_many(rule: &BanRule, problem: &str) -> ConfigError {
    ConfigError::at(rule.span, problem, "one too many")
        .help("put signs that have the same consequences into one rule")
}

fn identity(rule: &BanRule) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{:?}", rule.signs).hash(&mut hasher);
    (rule.count, rule.within, rule.time, rule.scope == BanScope::Host).hash(&mut hasher);
    hasher.finish()
}

fn words(sign: &BanSign) -> String {
    match sign {
        BanSign::Status(status) => format!("status {status}"),
        BanSign::Body(_) => "text in the body".to_owned(),
        BanSign::Header { name, .. } => format!("field `{name}`"),
        BanSign::Reset => "reset".to_owned(),
        BanSign::Slower(time) => format!("slower than {time:?}"),
        BanSign::Unreachable => "unreachable".to_owned(),
    }
}

/// Whether `text` is in `value`, in any case. Fields are short: no table is worth its making.
fn contains(value: &[u8], text: &[u8]) -> bool {
    text.is_empty() || value.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
}
