//! Where a request is aimed: hosts have one spelling, and a path has one meaning.

use std::net::IpAddr;

use message::target::{CanonicalPath, PathAndQuery, Target, strip_segments};
use message::{Authority, Host, Method};

/// Reads `host[:port]`.
pub fn authority(data: &[u8]) {
    let text = std::str::from_utf8(data).ok();
    let parsed = Authority::parse(data);
    // The standard library reads canonical addresses only, and we read them too.
    if let Some(address) = text.and_then(|text| text.parse::<std::net::Ipv4Addr>().ok()) {
        let host = parsed.as_ref().expect("an IPv4 address").host.clone();
        assert_eq!(host, Host::Address(IpAddr::V4(address)));
    }
    if let Some(std::net::SocketAddr::V6(address)) = text.and_then(|text| text.parse().ok())
        && address.scope_id() == 0
        && !data.contains(&b'%')
        && address.port() != 0
        && data.rsplit(|byte| *byte == b':').next().is_some_and(|port| port.len() <= 5)
    {
        let parsed = parsed.as_ref().expect("an IPv6 address");
        assert_eq!(parsed.host, Host::Address(IpAddr::V6(*address.ip()).to_canonical()));
        assert_eq!(parsed.port, Some(address.port()));
    }
    let Ok(parsed) = parsed else { return };
    assert_ne!(parsed.port, Some(0));
    host(&parsed.host);
    let written = match parsed.port {
        Some(port) => format!("{}:{port}", parsed.host),
        None => parsed.host.to_string(),
    };
    assert_eq!(Authority::parse(written.as_bytes()).as_ref(), Ok(&parsed), "{written}");
}

/// One spelling, which nothing else reads as something else.
fn host(host: &Host<'_>) {
    match host {
        Host::Name(name) => {
            assert!((1..=253).contains(&name.len()));
            assert!(!name.ends_with('.') && !name.contains(".."), "{name}");
            let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
            assert!(name.bytes().all(allowed), "{name}");
            let last = name.rsplit('.').next().expect("a label");
            assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{name} is an address");
            assert!(name.parse::<IpAddr>().is_err(), "{name} is an address");
        }
        Host::Address(IpAddr::V6(address)) => {
            assert!(address.to_ipv4_mapped().is_none(), "{address} is an IPv4 address");
        }
        Host::Address(IpAddr::V4(_)) => {}
    }
}

/// Reads a request target; the first byte says for which method.
pub fn target(data: &[u8]) {
    let Some((&first, target)) = data.split_first() else { return };
    let method =
        [Method::Get, Method::Options, Method::Connect, Method::Post][usize::from(first % 4)];
    match Target::parse(method, target) {
        Err(_) => {}
        Ok(Target::Authority) => assert_eq!(method, Method::Connect),
        Ok(Target::Asterisk) => assert_eq!((method, target), (Method::Options, &b"*"[..])),
        Ok(Target::Origin(path)) => path_and_query(target, &path, 0),
        Ok(Target::Absolute { secure, authority, path }) => {
            let scheme = String::from_utf8_lossy(&target[..authority.start]).to_lowercase();
            assert_eq!(scheme, if secure { "https://" } else { "http://" });
            assert!(!authority.is_empty());
            let delimiters = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
            assert!(!target[authority.clone()].iter().any(delimiters));
            path_and_query(target, &path, authority.end);
        }
    }
}

fn path_and_query(target: &[u8], parts: &PathAndQuery, start: usize) {
    assert_eq!((parts.path.start, parts.query.end), (start, target.len()));
    assert_eq!(parts.path.end, parts.query.start);
    let (path, query) = (&target[parts.path.clone()], &target[parts.query.clone()]);
    assert!(!path.contains(&b'?'));
    assert!(query.is_empty() || query[0] == b'?');
    assert!(path.is_empty() || path[0] == b'/');
    canonical(path);
}

/// The two readings of a path are stable, and no reading climbs.
fn canonical(path: &[u8]) {
    let Ok(first) = CanonicalPath::of(path) else { return };
    let slashes = |path: &[u8]| path.iter().filter(|byte| **byte == b'/').count();
    // Segments of the canonical path are taken off the received one by number.
    assert_eq!(slashes(&first.strict), slashes(path).max(1));
    assert_eq!(CanonicalPath::of(&first.strict).as_ref(), Ok(&first), "not stable");
    does_not_climb(path);
    does_not_climb(&first.strict);
    if let Some(loose) = &first.loose {
        does_not_climb(loose);
        assert!(!loose.windows(2).any(|pair| pair == b"//"), "{loose:?} has an empty segment");
        let again = CanonicalPath::of(loose).expect("the loose reading is a path");
        assert_eq!(&again.strict[..], &loose[..], "not stable");
    }
    if let Ok(prefix) = std::str::from_utf8(&first.strict) {
        let prefix = prefix.trim_end_matches('/');
        assert!(path.ends_with(strip_segments(path, prefix)));
    }
}

/// An origin that decodes once, or twice, and takes a backslash for a slash, stays below the
/// root. Written to be obvious, not to be fast.
fn does_not_climb(path: &[u8]) {
    let mut path = path.to_vec();
    for times in 0..3 {
        let mut segments = path.split(|byte| matches!(byte, b'/' | b'\\'));
        let dots = |segment: &[u8]| {
            let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
            name == b".." || name == b"."
        };
        assert!(!segments.any(dots), "{:?} decoded {times} times", path.escape_ascii());
        path = decode(&path);
    }
}

fn decode(path: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < path.len() {
        let digits = path.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match value {
            Some(value) if path[at] == b'%' => {
                out.push(value);
                at += 3;
            }
            _ => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}
