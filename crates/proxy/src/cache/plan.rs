//! What the configuration of a route says about its answers, and the keys of its requests.

use std::net::IpAddr;
use std::time::Duration;

use cache::rules::{Sender, Terms};
use cache::{Extent, Key};
use config::{CacheRules, KeyPart};
use message::target::{CanonicalPath, PathAndQuery};
use message::{Authority, Block, Host};

use crate::client::AddressText;

/// How answers of a route, or of a listener of the forward face, are kept.
#[derive(Debug)]
pub(crate) struct CachePlan {
    pub(crate) terms: Terms,
    pub(crate) side: Side,
    pub(crate) purge_token: Option<String>,
    pub(crate) status_field: bool,
    /// Large answers are fetched and kept in slices of so many bytes.
    pub(crate) slice: Option<u64>,
    key: Vec<KeyPart>,
    /// The key is the usual one: path and query.
    usual: bool,
    keyed: Vec<Box<str>>,
    extent: Extent,
}

/// The two faces have nothing in common: what a site says of itself, and what the world says of
/// it, are two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Reverse,
    Forward,
}

/// What a key is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effective<'a> {
    pub(crate) side: Side,
    pub(crate) scheme: &'a str,
    /// `None`: a client of HTTP/1.0 named none; the site says which one is meant.
    pub(crate) authority: Option<&'a Authority<'static>>,
    pub(crate) site: &'a str,
    /// The target as received, and where path and query stand in it.
    pub(crate) target: &'a [u8],
    pub(crate) at: &'a PathAndQuery,
    pub(crate) fields: &'a Block,
}

impl CachePlan {
    /// That of a listener of the forward face. It is in front of clients: what origins say to the
    /// caches that are in front of themselves is not for it (RFC 9213 §2).
    pub(crate) fn of_forward(rules: &CacheRules) -> Self {
        let mut plan = Self::build(rules);
        plan.terms.targets.clear();
        plan.side = Side::Forward;
        plan
    }

    pub(crate) fn build(rules: &CacheRules) -> Self {
        let millis = |span: Option<Duration>| span.map(|span| span.as_millis() as u64);
        Self {
            terms: Terms {
                default_ttl: millis(rules.default_ttl),
                max_ttl: millis(rules.max_ttl),
                while_revalidate: millis(rules.while_revalidate).unwrap_or(0),
                if_error: millis(rules.if_error).unwrap_or(0),
                ..Terms::default()
            },
            side: Side::Reverse,
            purge_token: rules.purge_token.as_ref().map(|token| token.value.clone()),
            status_field: rules.status_field,
            slice: rules.slice,
            usual: rules.key == [KeyPart::Path, KeyPart::Query],
            key: rules.key.clone(),
            keyed: rules.key.iter().filter_map(field_of).collect(),
            extent: match (rules.key.contains(&KeyPart::Path), rules.key.contains(&KeyPart::Query))
            {
                (true, true) => Extent::Whole,
                (true, false) => Extent::Path,
                (false, _) => Extent::Origin,
            },
        }
    }

    /// What is believed of those who send requests.
    pub(crate) fn sender(&self, trusted: bool) -> Sender {
        match self.side {
            Side::Forward => Sender::Behind,
            Side::Reverse if trusted => Sender::Trusted,
            Side::Reverse => Sender::Client,
        }
    }

    /// Fields of requests that are in their keys.
    pub(crate) fn keyed(&self) -> &[Box<str>] {
        &self.keyed
    }

    /// Whether clients may get answers of their own by what else they send than the URL.
    pub(crate) fn is_by_client(&self) -> bool {
        self.key.iter().any(|part| matches!(part, KeyPart::Header(_) | KeyPart::Cookie(_)))
    }

    /// What answers to a URL are filed under.
    pub(crate) fn filed_under(&self, url: &[u8]) -> u128 {
        cache::filed_under(url, self.extent)
    }

    /// The key of a request. Everything in it is told apart: what stands between the parts
    /// occurs in none of them. Its text tells as well which parts there are, be they absent: what
    /// was stored under another configuration is not found.
    pub(crate) fn key(&self, of: &Effective<'_>) -> Key {
        let mut text = Vec::with_capacity(96 + of.target.len());
        push_origin(&mut text, of);
        let path = &of.target[of.at.path.clone()];
        let query = &of.target[of.at.query.clone()];
        if self.usual {
            push_path(&mut text, path);
            text.extend_from_slice(query);
            return Key::from(text);
        }
        // The URL comes first, and is one word ([`Key::url_text`]).
        if self.key.contains(&KeyPart::Path) {
            push_path(&mut text, path);
        }
        if !self.key.is_empty() {
            text.push(b' ');
        }
        if self.key.contains(&KeyPart::Query) {
            text.extend_from_slice(query);
            text.push(b' ');
        }
        for part in &self.key {
            push_named_part(&mut text, part, query, of.fields);
        }
        Key::from(text)
    }
}

/// A part that the request may have, or not, or several times. Path and query stand before.
fn push_named_part(text: &mut Vec<u8>, part: &KeyPart, query: &[u8], fields: &Block) {
    let before = text.len();
    let (kind, name) = match part {
        KeyPart::Path | KeyPart::Query => return,
        KeyPart::QueryParameter(name) => {
            for parameter in parameters(query, name.as_bytes()) {
                match parameter {
                    Parameter::Plain(value) => push_named(text, "query:", name, value),
                    Parameter::Cloaked(pair) => push_named(text, "cloaked:", name, pair),
                }
            }
            ("query:", name)
        }
        KeyPart::Header(name) => {
            for value in fields.values_named(name.as_bytes()) {
                push_named(text, "header:", name, value);
            }
            ("header:", name)
        }
        KeyPart::Cookie(name) => {
            for value in cookies(fields, name) {
                push_named(text, "cookie:", name, value);
            }
            ("cookie:", name)
        }
    };
    if text.len() == before {
        // No name has a `=` in it: this is no empty value.
        text.push(b'\n');
        text.extend_from_slice(kind.as_bytes());
        text.extend_from_slice(name.as_bytes());
    }
    text.push(b' ');
}

/// The field that a part of a key is of.
fn field_of(part: &KeyPart) -> Option<Box<str>> {
    match part {
        KeyPart::Header(name) => Some(name.as_str().into()),
        // One cookie says nothing of the others.
        KeyPart::Cookie(_) | KeyPart::Path | KeyPart::Query | KeyPart::QueryParameter(_) => None,
    }
}

/// The URL of a request in its one spelling, by which answers are purged.
pub(crate) fn url(of: &Effective<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(96 + of.target.len());
    push_authority(&mut text, of);
    match CanonicalPath::of(&of.target[of.at.path.clone()]) {
        Ok(path) => text.extend_from_slice(&path.strict),
        Err(_) => text.extend_from_slice(&of.target[of.at.path.clone()]),
    }
    text.extend_from_slice(&of.target[of.at.query.clone()]);
    text
}

fn push_origin(text: &mut Vec<u8>, of: &Effective<'_>) {
    // A host may be served by two sites, on two listeners: what one says is not the other's.
    text.push(match of.side {
        Side::Reverse => b'r',
        Side::Forward => b'f',
    });
    text.extend_from_slice(of.site.as_bytes());
    text.push(b' ');
    push_authority(text, of);
}

fn push_authority(text: &mut Vec<u8>, of: &Effective<'_>) {
    text.extend_from_slice(of.scheme.as_bytes());
    text.extend_from_slice(b"://");
    let Some(authority) = of.authority else {
        return text.extend_from_slice(of.site.as_bytes());
    };
    // As `Display` writes it, without the machinery: it is done for every request.
    match &authority.host {
        Host::Name(name) => text.extend_from_slice(name.as_bytes()),
        Host::Address(address @ IpAddr::V4(_)) => {
            text.extend_from_slice(AddressText::new(*address).as_bytes());
        }
        Host::Address(address @ IpAddr::V6(_)) => {
            text.push(b'[');
            text.extend_from_slice(AddressText::new(*address).as_bytes());
            text.push(b']');
        }
    }
    let default = if of.scheme == "https" { 443 } else { 80 };
    if let Some(port) = authority.port.filter(|port| *port != default) {
        text.push(b':');
        text.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
    }
}

/// A path, with its escapes in upper case: two spellings of any other kind are two paths, since
/// nobody knows what the origin takes them for.
fn push_path(text: &mut Vec<u8>, path: &[u8]) {
    if path.is_empty() {
        return text.push(b'/');
    }
    let mut digits = 0;
    for &byte in path {
        text.push(if digits > 0 { byte.to_ascii_uppercase() } else { byte });
        digits = if byte == b'%' { 2 } else { digits.max(1) - 1 };
    }
}

fn push_named(text: &mut Vec<u8>, kind: &str, name: &str, value: &[u8]) {
    // Neither a target nor a field has a control character in it.
    text.push(b'\n');
    text.extend_from_slice(kind.as_bytes());
    text.extend_from_slice(name.as_bytes());
    text.push(b'=');
    text.extend_from_slice(value);
}

/// One parameter of a query.
#[derive(Debug, PartialEq, Eq)]
enum Parameter<'q> {
    /// Its value, as it is written.
    Plain(&'q [u8]),
    /// What some origin may take for it: it separates parameters in another way than we do, or
    /// reads names in another way.
    Cloaked(&'q [u8]),
}

fn parameters<'q>(query: &'q [u8], name: &'q [u8]) -> impl Iterator<Item = Parameter<'q>> {
    let query = query.strip_prefix(b"?").unwrap_or(query);
    query.split(|byte| *byte == b'&').filter_map(move |pair| {
        match pair.strip_prefix(name) {
            Some([]) => return Some(Parameter::Plain(b"")),
            Some([b'=', value @ ..]) => return Some(Parameter::Plain(value)),
            _ => {}
        }
        is_cloaked(pair, name).then_some(Parameter::Cloaked(pair))
    })
}

fn is_cloaked(pair: &[u8], name: &[u8]) -> bool {
    let decoded = decode(pair);
    decoded.split(|byte| matches!(byte, b'&' | b';' | b'?')).any(|part| {
        let end = part.iter().position(|byte| matches!(byte, b'=' | b'[' | 0));
        let known = part[..end.unwrap_or(part.len())].trim_ascii();
        known.eq_ignore_ascii_case(name)
    })
}

/// Without escapes, as forms are read.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        let hex = |at: usize| after.get(at).and_then(|digit| (*digit as char).to_digit(16));
        match (first, hex(0).zip(hex(1))) {
            (b'%', Some((high, low))) => {
                out.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    out
}

fn cookies<'f>(fields: &'f Block, name: &'f str) -> impl Iterator<Item = &'f [u8]> {
    fields.values_named(b"cookie").flat_map(|value| value.split(|byte| *byte == b';')).filter_map(
        move |pair| pair.trim_ascii_start().strip_prefix(name.as_bytes())?.strip_prefix(b"="),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(key: Vec<KeyPart>) -> CachePlan {
        let rules = CacheRules {
            key,
            while_revalidate: None,
            if_error: None,
            default_ttl: None,
            max_ttl: None,
            purge_token: None,
            slice: None,
            status_field: true,
            span: (0, 0).into(),
        };
        CachePlan::build(&rules)
    }

    fn key(plan: &CachePlan, host: &str, target: &str, fields: &Block) -> String {
        let authority = Authority::parse(host.as_bytes()).unwrap();
        let authority = Authority { host: authority.host.into_owned(), port: authority.port };
        let parsed = message::target::Target::parse(message::Method::Get, target.as_bytes());
        let Ok(message::target::Target::Origin(at)) = parsed else { panic!("{target}") };
        let key = plan.key(&Effective {
            side: Side::Reverse,
            scheme: "http",
            authority: Some(&authority),
            site: "",
            target: target.as_bytes(),
            at: &at,
            fields,
        });
        String::from_utf8(key.text().to_vec()).unwrap()
    }

    #[test]
    fn scheme_and_host_are_always_in_it() {
        let none = Block::default();
        let usual = plan(vec![KeyPart::Path, KeyPart::Query]);
        assert_eq!(key(&usual, "A.Example:80", "/x?y", &none), "r http://a.example/x?y");
        assert_eq!(key(&usual, "a.example:8080", "/", &none), "r http://a.example:8080/");
        assert_eq!(key(&usual, "127.1:80", "/", &none), "r http://127.0.0.1/");
        assert_eq!(key(&usual, "[2001:DB8::1]:81", "/", &none), "r http://[2001:db8::1]:81/");
        let nothing = plan(vec![]);
        assert_eq!(key(&nothing, "a.example", "/x?y", &none), "r http://a.example");
    }

    #[test]
    fn other_spellings_are_other_keys_but_for_the_case_of_escapes() {
        let none = Block::default();
        let usual = plan(vec![KeyPart::Path, KeyPart::Query]);
        let key = |target| key(&usual, "a.example", target, &none);
        assert_eq!(key("/%c3%a9z"), key("/%C3%A9z"));
        assert_ne!(key("/%61"), key("/a"));
        assert_ne!(key("//a"), key("/a"));
    }

    #[test]
    fn parts_cannot_be_mistaken_for_one_another() {
        let mut fields = Block::default();
        fields.push(b"X-A", &[b"1"]);
        fields.push(b"Cookie", &[b"a=2; b=3"]);
        let parts = plan(vec![
            KeyPart::Path,
            KeyPart::QueryParameter("v".into()),
            KeyPart::Header("x-a".into()),
            KeyPart::Cookie("b".into()),
        ]);
        let found = key(&parts, "a.example", "/x?w=1&v=2&vv=3&v", &fields);
        assert_eq!(
            found,
            "r http://a.example/x \nquery:v=2\nquery:v= \nheader:x-a=1 \ncookie:b=3 "
        );
    }

    #[test]
    fn absent_parts_are_told_apart() {
        let none = Block::default();
        let parts = [
            vec![KeyPart::Path],
            vec![KeyPart::Path, KeyPart::QueryParameter("sid".into())],
            vec![KeyPart::Path, KeyPart::Header("sid".into())],
            vec![KeyPart::Path, KeyPart::Cookie("sid".into())],
            vec![KeyPart::Query, KeyPart::Cookie("sid".into())],
            vec![KeyPart::Cookie("sid".into())],
            vec![KeyPart::Cookie("sid".into()), KeyPart::Path, KeyPart::Query],
            vec![KeyPart::Query],
            vec![],
        ];
        let mut texts: Vec<_> =
            parts.iter().map(|parts| key(&plan(parts.clone()), "a.example", "/x", &none)).collect();
        for (text, parts) in texts.iter().zip(&parts) {
            let path = if parts.contains(&KeyPart::Path) { "/x" } else { "" };
            let url = Key::new(text.as_bytes()).url_text().to_vec();
            assert_eq!(
                String::from_utf8(url).unwrap(),
                format!("http://a.example{path}"),
                "{text}"
            );
        }
        assert_eq!(texts[6], "r http://a.example/x  \ncookie:sid ");
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), parts.len());
        // What is there in one way, is not there in another.
        let mut fields = Block::default();
        fields.push(b"Sid", &[b"1"]);
        fields.push(b"Cookie", &[b"sid=1"]);
        let of = |at: usize| key(&plan(parts[at].clone()), "a.example", "/x?sid=1", &fields);
        let mut texts = [of(1), of(2), of(3)].to_vec();
        texts.dedup();
        assert_eq!(texts.len(), 3, "{texts:?}");
    }

    #[test]
    fn what_an_origin_may_take_for_a_parameter_is_in_the_key() {
        let plain = |query: &str| {
            parameters(query.as_bytes(), b"v").all(|it| matches!(it, Parameter::Plain(_)))
        };
        for query in ["", "?", "?v=1", "?v", "?v=1&w=2&vv=3", "?v=%20;x", "?w=v", "?w=1;vv=2"] {
            assert!(plain(query), "{query}");
        }
        for query in [
            "?w=1;v=2",
            "?w=1?v=2",
            "?%76=2",
            "?V=2",
            "?v[]=2",
            "?v%5b0%5d=2",
            "?+v=2",
            "?%20v=2",
            "?v%00=2",
            "?w=1%26v=2",
            "?v;w=1",
            "?v+=1",
        ] {
            assert!(!plain(query), "{query}");
        }
    }
}
