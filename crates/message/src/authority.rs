//! Hosts and ports as clients write them, in one canonical form.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host in the one form that rules, look-ups, logs and connections share: a name in lower
/// case without a trailing dot, or an address. Every spelling of an IPv4 address that a
/// resolver would take for one (`0x7f.1`, `2130706433`, `017700000001`) is an address, and a
/// v4-mapped IPv6 address is the IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// A name.
    Name(Cow<'a, str>),
    /// An address.
    Address(IpAddr),
}

/// A host and, where it was written, a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority<'a> {
    /// The host.
    pub host: Host<'a>,
    /// The port.
    pub port: Option<u16>,
}

/// Why a host is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorityError {
    /// Nothing there.
    Empty,
    /// A character that no host name has; `userinfo@` is among them.
    BadCharacter,
    /// An empty label, or a name over 253 or a label over 63 characters.
    BadLabel,
    /// Looks like an address and is none.
    BadAddress,
    /// Not a number from 1 to 65535.
    BadPort,
}

impl<'a> Authority<'a> {
    /// Parses `host [":" port]` (RFC 3986 §3.2, without userinfo).
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn parse(text: &'a [u8]) -> Result<Self, AuthorityError> {
        if text.first() == Some(&b'[') {
            let end = memchr::memchr(b']', text).ok_or(AuthorityError::BadAddress)?;
            let inside = std::str::from_utf8(&text[1..end]).ok();
            let address: Ipv6Addr =
                inside.and_then(|text| text.parse().ok()).ok_or(AuthorityError::BadAddress)?;
            let port = match &text[end + 1..] {
                [] => None,
                [b':', port @ ..] => parse_port(port)?,
                _ => return Err(AuthorityError::BadAddress),
            };
            return Ok(Self { host: Host::Address(IpAddr::V6(address).to_canonical()), port });
        }
        let (host, port) = match memchr::memchr(b':', text) {
            Some(colon) => (&text[..colon], parse_port(&text[colon + 1..])?),
            None => (text, None),
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl<'a> Host<'a> {
    /// Parses a name or an IPv4 address in any spelling; no port, no brackets.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn parse(text: &'a [u8]) -> Result<Self, AuthorityError> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        if text.is_empty() {
            return Err(AuthorityError::Empty);
        }
        if text.len() > 253 {
            return Err(AuthorityError::BadLabel);
        }
        if let Some(address) = dotted_quad(text) {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let (mut upper, mut label) = (false, 0);
        for &byte in text {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
                b'A'..=b'Z' => {
                    upper = true;
                    label += 1;
                }
                b'.' if label > 0 => label = 0,
                b'.' => return Err(AuthorityError::BadLabel),
                _ => return Err(AuthorityError::BadCharacter),
            }
            if label > 63 {
                return Err(AuthorityError::BadLabel);
            }
        }
        if label == 0 {
            return Err(AuthorityError::BadLabel);
        }
        let text = std::str::from_utf8(text).map_err(|_| AuthorityError::BadCharacter)?;
        if is_number(&text.as_bytes()[text.len() - label..]) {
            let address = ipv4_in_any_spelling(text).ok_or(AuthorityError::BadAddress)?;
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        Ok(Self::Name(if upper { Cow::Owned(text.to_ascii_lowercase()) } else { text.into() }))
    }

    /// The same host, owning its name.
    #[must_use]
    pub fn into_owned(self) -> Host<'static> {
        match self {
            Self::Name(name) => Host::Name(Cow::Owned(name.into_owned())),
            Self::Address(address) => Host::Address(address),
        }
    }
}

impl std::fmt::Display for Host<'_> {
    /// As in a URL: IPv6 addresses in brackets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn parse_port(text: &[u8]) -> Result<Option<u16>, AuthorityError> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > 5 {
        return Err(AuthorityError::BadPort);
    }
    let mut port = 0u32;
    for &byte in text {
        if !byte.is_ascii_digit() {
            return Err(AuthorityError::BadPort);
        }
        port = port * 10 + u32::from(byte - b'0');
    }
    u16::try_from(port).ok().filter(|&port| port > 0).map(Some).ok_or(AuthorityError::BadPort)
}

/// Four decimal numbers without leading zeros: the way nearly all addresses are written.
fn dotted_quad(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let (mut at, mut digits) = (0, 0);
    for &byte in text {
        match byte {
            // What begins with a zero is in base 8.
            b'0'..=b'9' if digits > 0 && octets[at] == 0 => return None,
            b'0'..=b'9' => {
                octets[at] = octets[at].checked_mul(10)?.checked_add(byte - b'0')?;
                digits += 1;
            }
            b'.' if digits > 0 && at < 3 => (at, digits) = (at + 1, 0),
            _ => return None,
        }
    }
    (at == 3 && digits > 0).then(|| Ipv4Addr::from(octets))
}

/// Whether a last label is a number, so that the whole is an IPv4 address or nothing
/// (WHATWG URL, "ends in a number checker"; the C library reads names in this way too).
fn is_number(label: &[u8]) -> bool {
    label.iter().all(u8::is_ascii_digit)
        || label
            .strip_prefix(b"0x")
            .or_else(|| label.strip_prefix(b"0X"))
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// `inet_aton`: one to four numbers in base 8, 10 or 16, the last one filling what is left.
fn ipv4_in_any_spelling(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let mut address = 0u32;
    for (at, part) in first.iter().enumerate() {
        let number = u8::try_from(number_in_any_base(part)?).ok()?;
        address |= u32::from(number) << (24 - 8 * at);
    }
    let last = number_in_any_base(last)?;
    let room = 32 - 8 * first.len() as u32;
    if last >> room != 0 {
        return None;
    }
    Some(Ipv4Addr::from(address | u32::try_from(last).ok()?))
}

fn number_in_any_base(text: &str) -> Option<u64> {
    let (digits, base) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.is_empty() && base == 16 {
        return Some(0);
    }
    u64::from_str_radix(digits, base).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> String {
        Authority::parse(text.as_bytes()).map_or_else(|e| format!("{e:?}"), |a| a.host.to_string())
    }

    #[test]
    fn one_host_has_one_spelling() {
        assert_eq!(host("Example.COM."), "example.com");
        assert_eq!(host("example.com:8080"), "example.com");
        for loopback in
            ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001", "017700000001", "127.0.1"]
        {
            assert_eq!(host(loopback), "127.0.0.1", "{loopback}");
        }
        assert_eq!(host("[::ffff:127.0.0.1]:80"), "127.0.0.1");
        assert_eq!(host("[::1]"), "[::1]");
        assert_eq!(host("0"), "0.0.0.0");
        assert_eq!(host("10.0.200.255."), "10.0.200.255");
        // In base 8.
        assert_eq!(host("10.020.0.1"), "10.16.0.1");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for (text, error) in [
            ("", "Empty"),
            (".", "Empty"),
            ("a..b", "BadLabel"),
            (".a", "BadLabel"),
            ("a b", "BadCharacter"),
            ("user@host", "BadCharacter"),
            ("a/b", "BadCharacter"),
            ("a%2eb", "BadCharacter"),
            ("bücher.example", "BadCharacter"),
            ("1.2.3.4.5", "BadAddress"),
            ("256.0.0.1", "BadAddress"),
            ("1.2.3.08", "BadAddress"),
            ("4294967296", "BadAddress"),
            ("[::1", "BadAddress"),
            ("[::1]x", "BadAddress"),
            ("[fe80::1%25eth0]", "BadAddress"),
            ("a:0", "BadPort"),
            ("a:65536", "BadPort"),
            ("a:+80", "BadPort"),
            ("a:8:0", "BadPort"),
        ] {
            assert_eq!(host(text), error, "{text}");
        }
        assert_eq!(host(&"a".repeat(64)), "BadLabel");
    }

    #[test]
    fn ports() {
        let port = |text: &str| Authority::parse(text.as_bytes()).map(|a| a.port);
        assert_eq!(port("a"), Ok(None));
        assert_eq!(port("a:"), Ok(None));
        assert_eq!(port("a:65535"), Ok(Some(65535)));
        assert_eq!(port("[::1]:443"), Ok(Some(443)));
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_is_stable(text: Vec<u8>) {
            if let Ok(authority) = Authority::parse(&text) {
                let again = authority.host.to_string();
                proptest::prop_assert_eq!(
                    Authority::parse(again.as_bytes()).unwrap().host, authority.host);
            }
        }
    }
}
