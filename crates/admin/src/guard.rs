//! Who may ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, Request, Version};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no `Host`, or more than one (RFC 9112 §3.2).
    BadHost,
    /// `Host` is a name that is not ours.
    ForeignHost,
    /// The bearer token is missing or wrong.
    Unauthorized,
    /// What would change something comes from the page of another site, or may.
    CrossSite,
}

/// What a request must show.
pub(crate) struct Guard {
    /// Digest of the bearer token. Digests have one length, so that comparing them tells
    /// nothing about that of the token.
    token: Option<[u8; 32]>,
}

impl Guard {
    pub(crate) fn new(token: Option<&str>) -> Self {
        Self { token: token.map(|token| Sha256::digest(token).into()) }
    }

    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        check_host(request)?;
        match &self.token {
            Some(expected) if !shows_token(request.headers(), expected) => {
                Err(Refusal::Unauthorized)
            }
            _ => Ok(()),
        }
    }
}

/// Whether a request that changes something was made by whom it seems. A browser lets the page of
/// a foreign site send requests here, but says so, and not with this type of content unless we
/// allow it when asked first, which we never do. Nor does it send other methods than POST
/// unasked: those need no content to show it.
pub(crate) fn check_change<B>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    let is_json = *request.method() == Method::DELETE
        || only(headers, &CONTENT_TYPE).is_ok_and(|value| {
            value.is_some_and(|value| {
                let name = value.split(|byte| *byte == b';').next().unwrap_or(value);
                name.trim_ascii().eq_ignore_ascii_case(b"application/json")
            })
        });
    // No page of ours makes such requests, so none that has an origin is right.
    let from_page = headers.contains_key(ORIGIN)
        || headers.get("sec-fetch-site").is_some_and(|value| value != "none");
    if is_json && !from_page { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// A page of a foreign site may point its own name at our address (DNS rebinding); the
/// browser then sends that name. So we answer to no name but `localhost`, and to addresses.
fn check_host<B>(request: &Request<B>) -> Result<(), Refusal> {
    // The target's authority stands before `Host` (RFC 9112 §3.2.2); neither may be foreign.
    if request.uri().authority().is_some_and(|authority| !is_ours(authority.as_str().as_bytes())) {
        return Err(Refusal::ForeignHost);
    }
    match only(request.headers(), &HOST) {
        Ok(Some(host)) if is_ours(host) => Ok(()),
        Ok(Some(_)) => Err(Refusal::ForeignHost),
        // No browser speaks HTTP/1.0; some health checkers do.
        Ok(None) if request.version() == Version::HTTP_10 => Ok(()),
        Ok(None) | Err(()) => Err(Refusal::BadHost),
    }
}

/// Whether an authority is an address or `localhost`, with or without a port. The address
/// listened on is an address too.
fn is_ours(authority: &[u8]) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else { return false };
    let (host, port) = match authority.rfind([':', ']']) {
        Some(colon) if authority.as_bytes()[colon] == b':' => {
            (&authority[..colon], &authority[colon + 1..])
        }
        _ => (authority, ""),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6).is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || host.eq_ignore_ascii_case("localhost"),
    };
    is_host && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 6750 §2.1.
fn shows_token(headers: &HeaderMap, expected: &[u8; 32]) -> bool {
    let Ok(Some(credentials)) = only(headers, &AUTHORIZATION) else { return false };
    let Some((scheme, token)) = credentials.split_at_checked(b"Bearer ".len()) else {
        return false;
    };
    let shown: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(shown.ct_eq(expected))
}

/// The value of a field that may come once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first.map(|value| value.as_bytes())),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_ours() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9901",
            "10.1.2.3:1",
            "[::1]",
            "[::1]:9901",
            "localhost",
            "LocalHost:9901",
            "localhost:",
        ] {
            assert!(is_ours(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "evil.example:9901",
            "127.0.0.1.nip.example",
            "2130706433",
            "0x7f.0.0.1",
            "127.1",
            "::1",
            "::1:80",
            "[::1",
            "[127.0.0.1]",
            "[::1]x",
            "[::1]:80x",
            "localhost:80:80",
            "user@127.0.0.1",
            "127.0.0.1@evil.example",
            "localhost.",
            " localhost",
        ] {
            assert!(!is_ours(host.as_bytes()), "{host}");
        }
        assert!(!is_ours(b"\xff"));
    }
}
