//! Directives of `Cache-Control` (RFC 9111 §5.2).

use message::{Block, FieldId, list};

/// Spans that are longer are brought to this one: 2^31 seconds (RFC 9111 §1.2.2).
pub(super) const LONGEST: u64 = 1 << 31;

/// What an answer says, in `Cache-Control` or in a field that stands in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub immutable: bool,
    /// Seconds. What is there and no number is 0: stale (RFC 9111 §4.2.1).
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub while_revalidate: Option<u64>,
    pub if_error: Option<u64>,
    /// Of `no-cache="…"`, in lower case.
    pub no_cache_fields: Vec<Box<str>>,
    /// Of `private="…"`, in lower case.
    pub private_fields: Vec<Box<str>>,
}

/// What a request says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    pub max_age: Option<u64>,
    pub max_stale: Option<u64>,
    pub min_fresh: Option<u64>,
    pub if_error: Option<u64>,
}

/// One directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Directive<'a> {
    name: &'a [u8],
    argument: Option<&'a [u8]>,
    /// White space or quotes where none may be.
    odd: bool,
}

impl Directives {
    /// Those of `Cache-Control`.
    pub fn of(fields: &Block) -> Self {
        let mut all = Self::default();
        for value in fields.values(FieldId::CacheControl) {
            each(value, |directive| all.take(&directive));
        }
        all
    }

    fn take(&mut self, directive: &Directive<'_>) {
        let name = directive.name;
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"max-age") {
            // The first of several counts (RFC 9111 §4.2.1).
            self.max_age.get_or_insert(directive.seconds_or_stale());
        } else if is(b"s-maxage") {
            self.s_maxage.get_or_insert(directive.seconds_or_stale());
        } else if is(b"no-store") {
            self.no_store = true;
        } else if is(b"no-cache") {
            let fields = directive.field_names();
            self.no_cache |= fields.is_empty();
            self.no_cache_fields.extend(fields);
        } else if is(b"private") {
            let fields = directive.field_names();
            self.private |= fields.is_empty();
            self.private_fields.extend(fields);
        } else if is(b"public") {
            self.public = true;
        } else if is(b"must-revalidate") {
            self.must_revalidate = true;
        } else if is(b"proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is(b"must-understand") {
            self.must_understand = true;
        } else if is(b"immutable") {
            self.immutable = true;
        } else if is(b"stale-while-revalidate") {
            self.while_revalidate.get_or_insert(directive.seconds_or_stale());
        } else if is(b"stale-if-error") {
            self.if_error.get_or_insert(directive.seconds_or_stale());
        }
    }
}

impl Wishes {
    /// Those of `Cache-Control`, else of `Pragma` (RFC 9111 §5.4).
    pub fn of(fields: &Block) -> Self {
        let mut all = Self::default();
        if fields.has(FieldId::CacheControl) {
            for value in fields.values(FieldId::CacheControl) {
                each(value, |directive| all.take(&directive));
            }
        } else {
            all.no_cache =
                fields.values(FieldId::Pragma).any(|value| list::contains(value, b"no-cache"));
        }
        all
    }

    fn take(&mut self, directive: &Directive<'_>) {
        let name = directive.name;
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"no-cache") {
            self.no_cache = true;
        } else if is(b"no-store") {
            self.no_store = true;
        } else if is(b"only-if-cached") {
            self.only_if_cached = true;
        } else if is(b"max-age") {
            self.max_age.get_or_insert(directive.seconds_or_stale());
        } else if is(b"min-fresh") {
            self.min_fresh = self.min_fresh.or(directive.seconds());
        } else if is(b"max-stale") {
            let any = directive.argument.is_none() && !directive.odd;
            let most = if any { Some(LONGEST) } else { directive.seconds() };
            self.max_stale = self.max_stale.or(most);
        } else if is(b"stale-if-error") {
            self.if_error = self.if_error.or(directive.seconds());
        }
    }
}

impl<'a> Directive<'a> {
    fn parse(text: &'a [u8]) -> Self {
        let Some(equals) = memchr::memchr(b'=', text) else {
            return Self { name: text, argument: None, odd: false };
        };
        let (name, argument) = (&text[..equals], &text[equals + 1..]);
        let odd =
            name.trim_ascii().len() != name.len() || argument.trim_ascii().len() != argument.len();
        Self { name: name.trim_ascii(), argument: Some(argument.trim_ascii()), odd }
    }

    /// Seconds, with or without quotes (RFC 9111 §5.2: both forms are to be taken).
    fn seconds(&self) -> Option<u64> {
        let argument = self.argument.filter(|_| !self.odd)?;
        let digits = match argument {
            [b'"', inside @ .., b'"'] => inside,
            _ => argument,
        };
        seconds(digits)
    }

    fn seconds_or_stale(&self) -> u64 {
        self.seconds().unwrap_or(0)
    }

    /// The names in the argument; none where there is no argument, or it is no list of names:
    /// the directive is about the whole then.
    fn field_names(&self) -> Vec<Box<str>> {
        let inside = match self.argument {
            Some([b'"', inside @ .., b'"']) => inside,
            Some(token) => token,
            None => return Vec::new(),
        };
        let mut names = Vec::new();
        for name in list::elements(inside) {
            let text = std::str::from_utf8(name).unwrap_or_default();
            if !is_token(name) || names.len() == MOST_NAMES {
                return Vec::new();
            }
            names.push(text.to_ascii_lowercase().into_boxed_str());
        }
        names
    }
}

/// Whole seconds; what is too much for a number is [`LONGEST`].
pub(super) fn seconds(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(LONGEST);
    Some(digits.iter().fold(0, add))
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// All directives of a value. Where a quoted string has no end, commas separate everywhere, so
/// that it hides nothing, and no number in it counts.
fn each(value: &[u8], mut take: impl FnMut(Directive<'_>)) {
    if has_open_quote(value) {
        for part in value.split(|&byte| byte == b',') {
            take(Directive { odd: true, ..Directive::parse(part.trim_ascii()) });
        }
        return;
    }
    for element in list::elements(value) {
        take(Directive::parse(element));
    }
}

fn has_open_quote(value: &[u8]) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for &byte in value {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    quoted
}

const MOST_NAMES: usize = 32;
