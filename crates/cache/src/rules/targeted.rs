//! Fields that speak to us rather than to every cache: targeted fields (RFC 9213), which are
//! structured (RFC 8941 §3.2) and count for nothing when they are malformed, and the older
//! `Surrogate-Control`.

use message::{Block, list};

use super::directives::{Directives, LONGEST, is_token, seconds};

/// The name by which we are spoken to in `Surrogate-Control`.
const OURS: &[u8] = b"bifrons";
const SURROGATE: &str = "surrogate-control";

/// What the first field of `names` says that is there, well-formed and not empty; it stands in
/// the place of `Cache-Control` and `Expires`.
pub(super) fn targeted(fields: &Block, names: &[Box<str>]) -> Option<Directives> {
    names.iter().find_map(|name| {
        let mut values = fields.values_named(name.as_bytes()).peekable();
        values.peek()?;
        if **name == *SURROGATE {
            return surrogate(values);
        }
        // Lines of one field are one list.
        let text = values.collect::<Vec<_>>().join(&b", "[..]);
        dictionary(&text)
    })
}

/// Directives as members of a dictionary.
fn dictionary(text: &[u8]) -> Option<Directives> {
    let mut parser = Parser { rest: text };
    let mut all = Directives::default();
    let mut members = 0;
    parser.skip_spaces();
    while !parser.rest.is_empty() {
        let key = parser.key()?;
        let value = if parser.skip(b'=') { parser.item_or_list()? } else { Value::Bool(true) };
        parser.parameters()?;
        // The last of several members counts in a dictionary.
        set(&mut all, key, &value);
        members += 1;
        parser.skip_white();
        if parser.rest.is_empty() {
            break;
        }
        if !parser.skip(b',') {
            return None;
        }
        parser.skip_white();
        if parser.rest.is_empty() {
            return None;
        }
    }
    (members > 0).then_some(all)
}

/// A directive whose value has another type than it should is not there (RFC 9213 §2.1), but
/// where that would allow more.
fn set(all: &mut Directives, key: &[u8], value: &Value<'_>) {
    let on = !matches!(value, Value::Bool(false));
    let span = match value {
        Value::Integer(number) => Some(u64::try_from(*number).unwrap_or(0).min(LONGEST)),
        _ => None,
    };
    match key {
        b"max-age" => all.max_age = span,
        b"s-maxage" => all.s_maxage = span,
        b"stale-while-revalidate" => all.while_revalidate = span,
        b"stale-if-error" => all.if_error = span,
        b"no-store" => all.no_store = on,
        b"no-cache" => {
            all.no_cache_fields = names_in(value);
            all.no_cache = on && all.no_cache_fields.is_empty();
        }
        b"private" => {
            all.private_fields = names_in(value);
            all.private = on && all.private_fields.is_empty();
        }
        b"public" => all.public = *value == Value::Bool(true),
        b"must-revalidate" => all.must_revalidate = on,
        b"proxy-revalidate" => all.proxy_revalidate = on,
        b"must-understand" => all.must_understand = on,
        b"immutable" => all.immutable = *value == Value::Bool(true),
        _ => {}
    }
}

fn names_in(value: &Value<'_>) -> Vec<Box<str>> {
    let Value::String(text) = value else { return Vec::new() };
    let names: Option<Vec<Box<str>>> = list::elements(text)
        .map(|name| {
            let text = std::str::from_utf8(name).ok().filter(|_| is_token(name))?;
            Some(text.to_ascii_lowercase().into_boxed_str())
        })
        .collect();
    names.unwrap_or_default()
}

/// The older field: `max-age=60+30;target, no-store, content="…"`.
fn surrogate<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Directives> {
    let mut all = Directives::default();
    let mut found = false;
    for element in values.flat_map(list::elements) {
        let mut pieces = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let directive = pieces.next().unwrap_or_default();
        if !pieces.all(|target| target.is_empty() || target.eq_ignore_ascii_case(OURS)) {
            continue;
        }
        let (name, argument) = match memchr::memchr(b'=', directive) {
            Some(at) => (&directive[..at], &directive[at + 1..]),
            None => (directive, &b""[..]),
        };
        if name.eq_ignore_ascii_case(b"no-store") {
            (all.no_store, found) = (true, true);
        } else if name.eq_ignore_ascii_case(b"max-age") {
            let mut parts = argument.splitn(2, |&byte| byte == b'+');
            all.max_age = Some(parts.next().and_then(seconds).unwrap_or(0));
            all.while_revalidate = parts.next().and_then(seconds);
            found = true;
        }
    }
    found.then_some(all)
}

/// An item as far as directives need it.
#[derive(Debug, PartialEq)]
enum Value<'a> {
    Bool(bool),
    Integer(i64),
    String(&'a [u8]),
    /// A decimal, a token, bytes or an inner list: no directive has such a value.
    Another,
}

/// RFC 8941 §4.2, strictly.
struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn skip_spaces(&mut self) {
        while self.skip(b' ') {}
    }

    fn skip_white(&mut self) {
        while self.skip(b' ') || self.skip(b'\t') {}
    }

    fn take_while(&mut self, condition: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !condition(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let first = *self.rest.first()?;
        if !first.is_ascii_lowercase() && first != b'*' {
            return None;
        }
        Some(self.take_while(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        }))
    }

    fn parameters(&mut self) -> Option<()> {
        while self.skip(b';') {
            self.skip_spaces();
            self.key()?;
            if self.skip(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn item_or_list(&mut self) -> Option<Value<'a>> {
        if !self.skip(b'(') {
            return self.bare_item();
        }
        loop {
            self.skip_spaces();
            if self.skip(b')') {
                return Some(Value::Another);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.rest.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn bare_item(&mut self) -> Option<Value<'a>> {
        match *self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => {
                self.rest = &self.rest[1..];
                let value = self.skip(b'1');
                (value || self.skip(b'0')).then_some(Value::Bool(value))
            }
            b':' => {
                self.rest = &self.rest[1..];
                self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.skip(b':').then_some(Value::Another)
            }
            first if first.is_ascii_alphabetic() || first == b'*' => {
                self.take_while(|byte| is_token(&[byte]) || byte == b':' || byte == b'/');
                Some(Value::Another)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value<'a>> {
        let negative = self.skip(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if self.skip(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let fits = digits.len() <= 12 && (1..=3).contains(&fraction.len());
            return fits.then_some(Value::Another);
        }
        let number = digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        Some(Value::Integer(if negative { -number } else { number }))
    }

    /// What is between the quotes; escapes stay, which no name has.
    fn string(&mut self) -> Option<Value<'a>> {
        let text = &self.rest[1..];
        let mut at = 0;
        loop {
            match *text.get(at)? {
                b'"' => break,
                b'\\' if matches!(text.get(at + 1), Some(b'"' | b'\\')) => at += 2,
                b'\\' => return None,
                b' '..=b'~' => at += 1,
                _ => return None,
            }
        }
        self.rest = &text[at + 1..];
        Some(Value::String(&text[..at]))
    }
}
