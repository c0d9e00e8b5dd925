//! What may be stored, and for how long it is fresh (RFC 9111 §3 and §4.2).

use message::{Block, FieldId, Method, ResponseHead, hop, list};

use super::date::{http_date, parse_date};
use super::directives::{Directives, LONGEST, seconds};
use super::targeted::targeted;
use super::usable::millis;
use super::vary::{self, Spec};
use super::{Asked, ContentRange};
use crate::{Facts, StoredHead, Time};

/// What the configuration says of a route. All spans are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How long an answer is fresh whose origin says nothing and of which we may guess
    /// (RFC 9111 §4.2.2); `None`: a tenth of its age by `Last-Modified`, a day at most.
    pub default_ttl: Option<u64>,
    /// Nothing is fresh for longer.
    pub max_ttl: Option<u64>,
    /// RFC 5861 §3 where the origin does not say; only of what is fresh at first.
    pub while_revalidate: u64,
    /// RFC 5861 §4 where the origin does not say.
    pub if_error: u64,
    /// Targeted fields (RFC 9213) in lower case, ours first. `surrogate-control` is read in its
    /// own way.
    pub targets: Vec<Box<str>>,
    /// What is longer is not stored.
    pub max_object: u64,
}

impl Default for Terms {
    /// Nothing is said. The targeted fields are those of a cache in front of a site; a cache
    /// that is in front of clients has none.
    fn default() -> Self {
        Self {
            default_ttl: None,
            max_ttl: None,
            while_revalidate: 0,
            if_error: 0,
            targets: ["bifrons-cache-control", "cdn-cache-control", "surrogate-control"]
                .map(Into::into)
                .into(),
            max_object: u64::MAX,
        }
    }
}

/// Why an answer is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// The method is not GET.
    Method,
    /// The request says so.
    RequestNoStore,
    /// The request has a body, which is not in the key.
    RequestBody,
    /// The request asks for another method in a field of its own.
    MethodOverride,
    /// A status that we would have to understand, or none that ends an exchange.
    Status,
    /// A status that speaks of one request or one connection (412, 416, 429, …).
    OneRequest,
    /// An error, and the fields of the request were such that they may be what caused it.
    ClientFault,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// The request had credentials, and the answer does not say that others may have it.
    Authorization,
    /// `Set-Cookie`, and nothing says that the answer is fresh for others.
    SetCookie,
    /// `Vary: *`, or names without end.
    VaryStar,
    /// It is not fresh and could not be validated.
    Unusable,
    /// It is longer than what is stored.
    TooLarge,
    /// A part, but nobody can say of what.
    PartOfWhat,
    /// It reflects a field of the request that is not in the key.
    Reflects,
    /// Its path looks like that of a file, and what came is none.
    Deceptive,
}

impl NotStored {
    /// It is because of the one request that was answered: what is stored already may stay as it
    /// was, and other requests may be answered with something that is stored.
    #[must_use]
    pub fn is_of_request(self) -> bool {
        matches!(
            self,
            Self::Method
                | Self::RequestNoStore
                | Self::RequestBody
                | Self::MethodOverride
                | Self::OneRequest
                | Self::ClientFault
                | Self::Authorization
        )
    }

    /// A token for `Cache-Status` and the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestNoStore => "request-no-store",
            Self::RequestBody => "request-body",
            Self::MethodOverride => "method-override",
            Self::Status => "status",
            Self::OneRequest => "status-of-request",
            Self::ClientFault => "client-fault",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryStar => "vary-star",
            Self::Unusable => "no-lifetime",
            Self::TooLarge => "too-large",
            Self::PartOfWhat => "odd-part",
            Self::Reflects => "reflects-request",
            Self::Deceptive => "deceptive",
        }
    }
}

/// Whether this answer to that request may be stored, and what there is to know of it.
///
/// `requested` is when the request was sent, `received` when the head came.
///
/// # Errors
/// Why not.
pub fn storable(
    terms: &Terms,
    request: &Block,
    asked: &Asked,
    head: &ResponseHead,
    requested: Time,
    received: Time,
) -> Result<Facts, NotStored> {
    if asked.method != Method::Get {
        return Err(NotStored::Method);
    }
    if asked.body {
        return Err(NotStored::RequestBody);
    }
    if OVERRIDES.iter().any(|name| request.values_named(name).next().is_some()) {
        return Err(NotStored::MethodOverride);
    }
    let status = head.status;
    if !(200..600).contains(&status) {
        return Err(NotStored::Status);
    }
    if OF_ONE_REQUEST.contains(&status) {
        return Err(NotStored::OneRequest);
    }
    if status >= 400 && is_odd(request) {
        return Err(NotStored::ClientFault);
    }
    if status == 206 && !(asked.range && ContentRange::of_part(&head.fields).is_some()) {
        return Err(NotStored::PartOfWhat);
    }
    if content_length(&head.fields).is_some_and(|length| length > terms.max_object) {
        return Err(NotStored::TooLarge);
    }
    assess(terms, asked, status, &head.fields, requested, received)
}

/// What these fields make of an answer, also of one that was stored before and is now renewed.
pub(super) fn assess(
    terms: &Terms,
    asked: &Asked,
    status: u16,
    fields: &Block,
    requested: Time,
    received: Time,
) -> Result<Facts, NotStored> {
    if asked.no_store {
        return Err(NotStored::RequestNoStore);
    }
    let (says, is_targeted) = directives(terms, fields);
    if says.must_understand {
        // RFC 9111 §5.2.2.3: it stands in the place of `no-store` for those who understand it.
        if !UNDERSTOOD.contains(&status) {
            return Err(NotStored::Status);
        }
    } else if says.no_store {
        return Err(NotStored::NoStore);
    }
    if says.private {
        return Err(NotStored::Private);
    }
    let shared = says.public || says.s_maxage.is_some() || says.must_revalidate;
    if asked.authorization && !shared {
        return Err(NotStored::Authorization);
    }
    if vary::spec_of(fields) == Spec::Star {
        return Err(NotStored::VaryStar);
    }
    let mut facts = Facts { requested, received, date: received, ..Facts::default() };
    let date = fields.get(FieldId::Date).and_then(parse_date);
    facts.date = date.unwrap_or(received);
    facts.initial_age = initial_age(fields, date, requested, received);
    let explicit = explicit_lifetime(&says, is_targeted, fields, facts.date);
    let guessed = || guess(terms, &says, asked, status, fields, facts.date);
    facts.heuristic = explicit.is_none();
    facts.lifetime = explicit.or_else(guessed).unwrap_or(0);
    facts.lifetime = facts.lifetime.min(terms.max_ttl.unwrap_or(u64::MAX));
    // Without a word of its origin, what a `Pragma` of old times forbids is forbidden.
    facts.no_cache = says.no_cache || is_old_no_cache(fields, is_targeted);
    if fields.get(FieldId::SetCookie).is_some() && !may_give_cookies(&says, &facts) {
        return Err(NotStored::SetCookie);
    }
    set_windows(terms, &says, &mut facts);
    facts.immutable = says.immutable;
    facts.unshown = says.no_cache_fields.into_iter().chain(says.private_fields).collect();
    let lasting = facts.lifetime > 0 || facts.while_revalidate > 0 || has_validator(fields);
    if !lasting || (facts.no_cache && !has_validator(fields)) {
        return Err(NotStored::Unusable);
    }
    Ok(facts)
}

/// How long it may be used stale, by whose word.
fn set_windows(terms: &Terms, says: &Directives, facts: &mut Facts) {
    let strict = says.must_revalidate || says.proxy_revalidate || facts.no_cache;
    facts.must_revalidate = strict || says.s_maxage.is_some();
    if strict {
        return;
    }
    // `s-maxage` alone forbids what the configuration allows, but an origin that says both of
    // them means the window (RFC 9111 §5.2.2.10, RFC 5861).
    let ours = |span: u64| if facts.must_revalidate { 0 } else { span };
    let by_us = if facts.lifetime > 0 { terms.while_revalidate } else { 0 };
    facts.while_revalidate = says.while_revalidate.map_or(ours(by_us), millis);
    facts.if_error = says.if_error.map_or(ours(terms.if_error), millis);
}

/// The head as it is kept: without what belongs to a connection, to the credentials of a proxy,
/// to a part, or to one client alone (`private="…"`); with a `Date`.
#[must_use]
pub fn kept(terms: &Terms, head: &ResponseHead, received: Time) -> StoredHead {
    let mut fields = head.fields.clone();
    hop::strip(&mut fields);
    let private = directives(terms, &fields).0.private_fields;
    let is_part = head.status == 206;
    let of_part = |id: FieldId, name: &[u8]| {
        id == FieldId::ContentRange
            || name.eq_ignore_ascii_case(b"content-digest")
            || name.eq_ignore_ascii_case(b"content-md5")
    };
    let gone = |id: FieldId, name: &[u8]| {
        NOT_KEPT.contains(&id)
            || (is_part && of_part(id, name))
            || private.iter().any(|private| name.eq_ignore_ascii_case(private.as_bytes()))
    };
    fields.remove_where(gone);
    if fields.get(FieldId::Date).is_none() {
        fields.push(b"Date", &[http_date(received).as_bytes()]);
    }
    StoredHead { status: if is_part { 200 } else { head.status }, fields: compact(&fields) }
}

/// Fields that are for the client alone for whom the answer came (`private="…"`, RFC 9111
/// §5.2.2.7): they are not kept; `None`: there are none.
#[must_use]
pub fn for_one(terms: &Terms, head: &ResponseHead) -> Option<Block> {
    if !head.fields.has_any(&[FieldId::CacheControl]) && terms.targets.is_empty() {
        return None;
    }
    let mut fields = head.fields.clone();
    hop::strip(&mut fields);
    let private = directives(terms, &fields).0.private_fields;
    let is_private =
        |name: &[u8]| private.iter().any(|private| name.eq_ignore_ascii_case(private.as_bytes()));
    fields.remove_where(|id, name| NOT_KEPT.contains(&id) || !is_private(name));
    (!fields.is_empty()).then_some(fields)
}

/// The same fields in a buffer that holds nothing else.
pub(super) fn compact(fields: &Block) -> Block {
    let room = fields.iter().map(|f| fields.name(f).len() + fields.value(f).len() + 4).sum();
    let mut out = Block::over(Vec::with_capacity(room));
    for field in fields.iter() {
        out.push(fields.name(field), &[fields.value(field)]);
    }
    out.compact();
    out
}

/// What the answer says, and whether it says it to us.
fn directives(terms: &Terms, fields: &Block) -> (Directives, bool) {
    match targeted(fields, &terms.targets) {
        Some(says) => (says, true),
        None => (Directives::of(fields), false),
    }
}

/// RFC 9111 §4.2.1.
fn explicit_lifetime(
    says: &Directives,
    is_targeted: bool,
    fields: &Block,
    date: Time,
) -> Option<u64> {
    if let Some(span) = says.s_maxage.or(says.max_age) {
        return Some(millis(span));
    }
    // Beside a targeted field, `Expires` says nothing (RFC 9213 §2.1).
    let expires = fields.get(FieldId::Expires).filter(|_| !is_targeted)?;
    // A date that is none is in the past (RFC 9111 §5.3).
    let until = parse_date(expires).map_or(0, |until| until.since(date));
    Some(until.min(millis(LONGEST)))
}

/// RFC 9111 §4.2.2.
fn guess(
    terms: &Terms,
    says: &Directives,
    asked: &Asked,
    status: u16,
    fields: &Block,
    date: Time,
) -> Option<u64> {
    if !says.public && !GUESSABLE.contains(&status) {
        return None;
    }
    // Of a page that somebody got who is known there, nobody guesses that it is for others.
    if asked.cookie && !says.public && !is_asset(fields) {
        return None;
    }
    if let Some(span) = terms.default_ttl {
        return Some(span);
    }
    let modified = fields.get(FieldId::LastModified).and_then(parse_date)?;
    Some((date.since(modified) / 10).min(DAY))
}

/// Types that are the same for everybody, as far as anybody knows.
fn is_asset(fields: &Block) -> bool {
    let value = fields.get(FieldId::ContentType).unwrap_or_default();
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let kind = value[..end].trim_ascii().to_ascii_lowercase();
    [&b"image/"[..], b"font/", b"video/", b"audio/"].iter().any(|start| kind.starts_with(start))
        || matches!(&kind[..], b"text/css" | b"text/javascript" | b"application/javascript")
        || matches!(&kind[..], b"application/wasm" | b"application/font-woff")
}

/// RFC 9111 §4.2.3.
fn initial_age(fields: &Block, date: Option<Time>, requested: Time, received: Time) -> u64 {
    let apparent = date.map_or(0, |date| received.since(date));
    let said = fields.get(FieldId::Age).and_then(parse_age).map_or(0, millis);
    apparent.max(said.saturating_add(received.since(requested)))
}

/// The first of several counts, and what is no number does not (RFC 9111 §5.1). Parameters have
/// no meaning in this field; that they are there makes nothing younger.
fn parse_age(value: &[u8]) -> Option<u64> {
    let first = list::elements(value).next()?;
    let end = memchr::memchr(b';', first).unwrap_or(first.len());
    seconds(first[..end].trim_ascii_end())
}

fn is_old_no_cache(fields: &Block, is_targeted: bool) -> bool {
    !is_targeted
        && !fields.has(FieldId::CacheControl)
        && !fields.has(FieldId::Expires)
        && fields.values(FieldId::Pragma).any(|value| list::contains(value, b"no-cache"))
}

/// A cookie is for one client. It is stored only where the origin says that the answer is fresh
/// for all, or that this field is not (RFC 9111 §7.3).
fn may_give_cookies(says: &Directives, facts: &Facts) -> bool {
    let said = !facts.heuristic && facts.lifetime > 0 && !facts.no_cache;
    let apart = says.private_fields.iter().chain(&says.no_cache_fields);
    said || says.public || apart.into_iter().any(|name| &**name == "set-cookie")
}

fn has_validator(fields: &Block) -> bool {
    fields.get(FieldId::ETag).is_some() || fields.get(FieldId::LastModified).is_some()
}

pub(super) fn content_length(fields: &Block) -> Option<u64> {
    let value = fields.get(FieldId::ContentLength)?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Whether the origin may have refused the request for its fields: for how large they are, for a
/// character that programs stumble over, or for what describes a body that is not there.
fn is_odd(request: &Block) -> bool {
    let mut size = 0;
    for field in request.iter() {
        let value = request.value(field);
        size += request.name(field).len() + value.len() + 4;
        let describes = matches!(field.id, FieldId::ContentType | FieldId::ContentEncoding);
        if describes || value.iter().any(|byte| !(b' '..=b'~').contains(byte)) {
            return true;
        }
    }
    size > 4096
}

const DAY: u64 = 24 * 60 * 60 * 1000;

/// Fields by which frameworks let a GET be something else.
const OVERRIDES: [&[u8]; 3] = [b"x-http-method-override", b"x-http-method", b"x-method-override"];

/// Answers to what one request was like, or one connection; the last ones by RFC 6585 §3 to §6.
const OF_ONE_REQUEST: [u16; 15] =
    [304, 406, 407, 408, 412, 413, 415, 416, 417, 421, 425, 428, 429, 431, 511];

/// Heuristically cacheable (RFC 9110 §15.1).
const GUESSABLE: [u16; 12] = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501];

/// Those whose requirements we know (RFC 9111 §3).
const UNDERSTOOD: [u16; 30] = [
    200, 203, 204, 206, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 409, 410,
    411, 414, 415, 422, 451, 500, 501, 502, 503, 504, 505,
];

const NOT_KEPT: [FieldId; 6] = [
    FieldId::ContentLength,
    FieldId::Age,
    FieldId::ProxyAuthenticate,
    FieldId::ProxyAuthenticationInfo,
    FieldId::ProxyAuthorization,
    FieldId::Trailer,
];
