//! Which requests an answer is for (RFC 9111 §4.1).

use message::{Block, FieldId, list};

use crate::Vary;

/// What `Vary` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// Names in lower case, sorted, each once.
    Names(Vec<Box<str>>),
    /// It is for no other request.
    Star,
}

/// More names than these are taken for `*`.
const MOST: usize = 16;

/// What the fields of an answer say.
#[must_use]
pub fn spec_of(fields: &Block) -> Spec {
    let mut names: Vec<Box<str>> = Vec::new();
    for name in fields.values(FieldId::Vary).flat_map(list::elements) {
        let text = std::str::from_utf8(name).unwrap_or("*");
        if !super::directives::is_token(name) || text == "*" || names.len() == MOST {
            return Spec::Star;
        }
        let lower = text.to_ascii_lowercase().into_boxed_str();
        if !names.contains(&lower) {
            names.push(lower);
        }
    }
    names.sort_unstable();
    Spec::Names(names)
}

impl Vary {
    /// What this request says in the fields of these names, which are in lower case and sorted.
    #[must_use]
    pub fn of(names: &[Box<str>], request: &Block) -> Self {
        let value = |name: &str| said(name, request).map(Into::into);
        Self { fields: names.iter().map(|name| (name.clone(), value(name))).collect() }
    }

    /// What selects an answer with these fields among the answers to requests like this one;
    /// `None`: it is for no other request. With a language that the answer says to be in, it is
    /// also for those who like that one best.
    #[must_use]
    pub fn of_answer(answer: &Block, request: &Block) -> Option<Self> {
        let Spec::Names(names) = spec_of(answer) else { return None };
        let mut vary = Self::of(&names, request);
        let mut written = answer.values_named(b"content-language").flat_map(list::elements);
        if let (Some(language), None) = (written.next(), written.next())
            && super::directives::is_token(language)
            && let Some((_, Some(value))) =
                vary.fields.iter_mut().find(|(name, _)| **name == *ACCEPT_LANGUAGE)
        {
            *value = [value, &b"="[..], &language.to_ascii_lowercase()].concat().into();
        }
        Some(vary)
    }
}

/// Whether a request says the same.
#[must_use]
pub fn matches(vary: &Vary, request: &Block) -> bool {
    vary.fields.iter().all(|(name, value)| match &**name {
        // No allocation for the one that nearly every answer has.
        ACCEPT_ENCODING => admitted(request) == value.as_deref().and_then(|v| v.first().copied()),
        ACCEPT_LANGUAGE => matches_language(value.as_deref(), request),
        _ => said(name, request).as_deref() == value.as_deref(),
    })
}

/// The same languages, or the language of the answer is the one that is liked best.
fn matches_language(value: Option<&[u8]>, request: &Block) -> bool {
    let Some(value) = value else { return !has_languages(request) };
    let at = memchr::memchr(b'=', value);
    let (wished, written) = (&value[..at.unwrap_or(value.len())], at.map(|at| &value[at + 1..]));
    let ranges = ranges(request);
    let best = match &ranges[..] {
        [(first, range)] if *first < 1000 => Some(range),
        [(first, range), (second, _), ..] if first < second => Some(range),
        _ => None,
    };
    let liked = written.is_some() && written == best.map(|range| &range[..]);
    liked || (has_languages(request) && joined(&ranges) == wished)
}

const ACCEPT_ENCODING: &str = "accept-encoding";
const ACCEPT_LANGUAGE: &str = "accept-language";

/// What a request says in a field, in the form in which it is compared.
fn said(name: &str, request: &Block) -> Option<Vec<u8>> {
    match name {
        ACCEPT_ENCODING => return admitted(request).map(|set| vec![set]),
        ACCEPT_LANGUAGE => return has_languages(request).then(|| joined(&ranges(request))),
        _ => {}
    }
    let mut values = request.values_named(name.as_bytes()).peekable();
    values.peek()?;
    let mut out = Vec::new();
    for member in values.flat_map(list::elements) {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(member);
    }
    Some(out)
}

/// The set of codings that `Accept-Encoding` admits, whatever their order and weight; `None`:
/// there is no such field, which is not the same as a field that admits none.
fn admitted(request: &Block) -> Option<u8> {
    let mut values = request.values(FieldId::AcceptEncoding).peekable();
    values.peek()?;
    let (mut set, mut named, mut any) = (0, 0, None);
    for member in values.flat_map(list::elements) {
        let (coding, refused) = weighed(member);
        if coding == b"*" {
            any = Some(refused);
            continue;
        }
        let Some(at) = CODINGS.iter().position(|known| coding.eq_ignore_ascii_case(known)) else {
            continue;
        };
        let bit = 1 << (at % DISTINCT);
        named |= bit;
        // `identity` is admitted unless it is refused: it is the refusal that is noted.
        if refused == (bit == IDENTITY) {
            set |= bit;
        }
    }
    match any {
        Some(false) => set |= ANY & !named,
        Some(true) => set |= IDENTITY & !named,
        None => {}
    }
    Some(set)
}

/// `x-gzip` is `gzip` (RFC 9110 §8.4.1.3).
const CODINGS: [&[u8]; 8] =
    [b"gzip", b"br", b"zstd", b"deflate", b"dcb", b"dcz", b"identity", b"x-gzip"];
const DISTINCT: usize = 7;
const ANY: u8 = 0b1111;
const IDENTITY: u8 = 1 << 6;

/// A coding, and whether its weight is 0.
fn weighed(member: &[u8]) -> (&[u8], bool) {
    let mut pieces = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let coding = pieces.next().unwrap_or_default();
    (coding, pieces.any(|parameter| weight(parameter) == Some(0)))
}

/// A weight in thousandths (RFC 9110 §12.4.2).
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', digits @ ..] = parameter else { return None };
    let (whole, fraction) = match digits {
        [whole] => (*whole, &b""[..]),
        [whole, b'.', fraction @ ..] => (*whole, fraction),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || fraction.len() > 3 {
        return None;
    }
    let mut thousandths = u16::from(whole - b'0');
    for at in 0..3 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths = thousandths * 10 + u16::from(digit - b'0');
    }
    Some(thousandths.min(1000))
}

fn has_languages(request: &Block) -> bool {
    request.values_named(ACCEPT_LANGUAGE.as_bytes()).next().is_some()
}

/// Language ranges in lower case by what is missing to full weight, those of the same weight by
/// name: their order says nothing (RFC 9110 §12.5.4).
fn ranges(request: &Block) -> Vec<(u16, Vec<u8>)> {
    let values = request.values_named(ACCEPT_LANGUAGE.as_bytes());
    let mut ranges: Vec<_> = values
        .flat_map(list::elements)
        .map(|member| {
            let mut pieces = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let range = pieces.next().unwrap_or_default().to_ascii_lowercase();
            (1000 - pieces.find_map(weight).unwrap_or(1000), range)
        })
        .collect();
    ranges.sort();
    ranges
}

/// In the form in which they are compared. No `=` is in a range: what follows one in a stored
/// value is the language of the answer.
fn joined(ranges: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (missing, range) in ranges {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend(range.iter().map(|&byte| if byte == b'=' { b'?' } else { byte }));
        if *missing > 0 {
            out.extend_from_slice(b";-");
            out.extend_from_slice(itoa::Buffer::new().format(*missing).as_bytes());
        }
    }
    out
}
