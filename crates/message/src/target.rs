//! Where a request is aimed (RFC 9112 §3.2), and the one form of its path that every decision
//! uses.
//!
//! The bytes of the target go to the origin as they came. Decisions are made on the
//! [`CanonicalPath`], computed once. A path that the origin may read in another way than we do
//! is told apart here: dot segments in any spelling are refused, and for encoded separators,
//! backslashes, doubled slashes and parameters there is a second, *loose* reading; a router
//! that finds another route for it refuses the request.

use std::borrow::Cow;
use std::ops::Range;

use crate::Method;

/// The four forms of a request target. Ranges are within the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `/path?query`.
    Origin(PathAndQuery),
    /// `http://authority/path?query`.
    Absolute {
        /// Whether the scheme is `https`.
        secure: bool,
        /// `host[:port]`.
        authority: Range<usize>,
        /// What follows; the path may be empty.
        path: PathAndQuery,
    },
    /// `host:port`, for CONNECT only.
    Authority,
    /// `*`, for OPTIONS only.
    Asterisk,
}

/// Path and query of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAndQuery {
    /// The path.
    pub path: Range<usize>,
    /// From the question mark to the end; empty where there is none.
    pub query: Range<usize>,
}

/// Why a target is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetError {
    /// A form that does not go with the method, or none of the four.
    BadForm,
    /// A control character, a space, or a fragment.
    BadCharacter,
    /// Neither `http` nor `https`.
    UnknownScheme,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// A `.` or `..` segment in any spelling.
    DotSegment,
    /// An encoded NUL, or an overlong form of an ASCII character.
    BadEncoding,
}

impl Target {
    /// Parses a request target.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn parse(method: Method, target: &[u8]) -> Result<Self, TargetError> {
        if target.iter().any(|&byte| byte <= b' ' || byte == 0x7f || byte == b'#') {
            return Err(TargetError::BadCharacter);
        }
        if method == Method::Connect {
            return Ok(Self::Authority);
        }
        match target {
            [b'/', ..] => Ok(Self::Origin(PathAndQuery::split(target, 0))),
            b"*" if method == Method::Options => Ok(Self::Asterisk),
            _ => Self::parse_absolute(target),
        }
    }

    fn parse_absolute(target: &[u8]) -> Result<Self, TargetError> {
        let colon = memchr::memmem::find(target, b"://").ok_or(TargetError::BadForm)?;
        let scheme = &target[..colon];
        let secure = scheme.eq_ignore_ascii_case(b"https");
        if !secure && !scheme.eq_ignore_ascii_case(b"http") {
            let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
                && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
            return Err(if is_scheme { TargetError::UnknownScheme } else { TargetError::BadForm });
        }
        let start = colon + 3;
        let end = target[start..]
            .iter()
            .position(|&byte| byte == b'/' || byte == b'?')
            .map_or(target.len(), |at| start + at);
        if start == end {
            return Err(TargetError::BadForm);
        }
        Ok(Self::Absolute { secure, authority: start..end, path: PathAndQuery::split(target, end) })
    }
}

impl PathAndQuery {
    fn split(target: &[u8], start: usize) -> Self {
        let end = memchr::memchr(b'?', &target[start..]).map_or(target.len(), |mark| start + mark);
        Self { path: start..end, query: end..target.len() }
    }
}

/// A path as decisions see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    /// Escapes of unreserved characters decoded, the others in upper case, and what must be
    /// escaped escaped (RFC 3986 §6.2.2); segments are as the client wrote them. Never empty.
    pub strict: Cow<'a, [u8]>,
    /// How an origin may read it that decodes first, takes `\` for `/`, folds `//` and drops
    /// `;parameters`, in the same form; only where that differs.
    pub loose: Option<Vec<u8>>,
}

impl<'a> CanonicalPath<'a> {
    /// The canonical form of a path as received (empty stands for `/`).
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn of(path: &'a [u8]) -> Result<Self, PathError> {
        if path.is_empty() {
            return Ok(Self { strict: Cow::Borrowed(b"/"), loose: None });
        }
        if is_plain(path) {
            return Ok(Self { strict: Cow::Borrowed(path), loose: None });
        }
        let strict = normalized(path);
        let loose = loose_reading(path)?;
        Ok(Self { loose: (loose != strict).then_some(loose), strict: Cow::Owned(strict) })
    }
}

/// Nothing in it that could be read in two ways, or written in another.
fn is_plain(path: &[u8]) -> bool {
    let mut last = 0;
    for &byte in path {
        let begins_oddly = last == b'/' && matches!(byte, b'/' | b'.');
        if begins_oddly || !stands_for_itself(byte) || byte == b';' {
            return false;
        }
        last = byte;
    }
    true
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// `pchar` without escapes, and the slash (RFC 3986 §3.3).
fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~'
        | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

/// The one spelling of a path, segments left alone.
fn normalized(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match escape(byte, tail) {
            Some(value) => {
                rest = &tail[2..];
                if is_unreserved(value) { out.push(value) } else { push_escape(&mut out, value) }
            }
            None => push(&mut out, byte),
        }
    }
    out
}

/// Every escape decoded, once.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let value = escape(byte, tail);
        rest = if value.is_some() { &tail[2..] } else { tail };
        out.push(value.unwrap_or(byte));
    }
    out
}

/// A byte as it is written, escaped where it must be.
fn push(out: &mut Vec<u8>, byte: u8) {
    if stands_for_itself(byte) { out.push(byte) } else { push_escape(out, byte) }
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

fn escape(byte: u8, tail: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match (byte, tail) {
        (b'%', [high, low, ..]) => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    }
}

fn loose_reading(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let once = decoded(path);
    if once.contains(&0) || once.windows(2).any(is_overlong) {
        return Err(PathError::BadEncoding);
    }
    // `%252e` is no dot, but many an origin behind another proxy has decoded twice.
    if has_dot_segment(&once) || (once.contains(&b'%') && has_dot_segment(&decoded(&once))) {
        return Err(PathError::DotSegment);
    }
    let mut out = Vec::with_capacity(once.len());
    let mut segments = segments(&once).skip(1).peekable();
    while let Some(name) = segments.next() {
        if !name.is_empty() || (segments.peek().is_none() && out.last() != Some(&b'/')) {
            out.push(b'/');
            name.iter().for_each(|&byte| push(&mut out, byte));
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Ok(out)
}

fn has_dot_segment(decoded: &[u8]) -> bool {
    segments(decoded).any(|name| name == b"." || name == b"..")
}

/// The segments of a decoded path as the loosest origin sees them, without their parameters.
fn segments(decoded: &[u8]) -> impl Iterator<Item = &[u8]> {
    decoded
        .split(|&byte| byte == b'/' || byte == b'\\')
        .map(|segment| segment.split(|&byte| byte == b';').next().unwrap_or(segment))
}

/// The beginning of an overlong form in UTF-8, such as `C0 AE` for a dot. Other bytes that are no
/// UTF-8 pass: old sites have paths in Latin-1.
fn is_overlong(pair: &[u8]) -> bool {
    matches!(pair, [0xC0 | 0xC1, 0x80..=0xBF] | [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F])
}

/// What is left of a path as received when as many segments as `prefix` has are taken off.
/// Segments of the canonical and of the received path correspond one to one.
#[must_use]
pub fn strip_segments<'a>(path: &'a [u8], prefix: &str) -> &'a [u8] {
    let segments = prefix.bytes().filter(|&byte| byte == b'/').count();
    match memchr::memchr_iter(b'/', path).nth(segments) {
        Some(at) => &path[at..],
        None => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(path: &str) -> String {
        match CanonicalPath::of(path.as_bytes()) {
            Ok(path) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let loose =
                    path.loose.map_or(String::new(), |loose| format!(" ~ {}", text(&loose)));
                format!("{}{loose}", text(&path.strict))
            }
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn paths_in_one_form() {
        for (path, form) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b.c", "/a/b.c"),
            ("/%61%2d", "/a-"),
            ("/a%2fb", "/a%2Fb ~ /a/b"),
            ("/a%5cb", "/a%5Cb ~ /a/b"),
            ("/a\\b", "/a%5Cb ~ /a/b"),
            ("//a//b/", "//a//b/ ~ /a/b/"),
            ("/a;x=1/b", "/a;x=1/b ~ /a/b"),
            ("/a%3bx/b", "/a%3Bx/b ~ /a/b"),
            ("/%e4%bd%a0", "/%E4%BD%A0"),
            ("/\u{4f60} a", "/%E4%BD%A0%20a"),
            ("/%20{%2541}", "/%20%7B%2541%7D"),
            ("/100%", "/100%25"),
            ("/%%34%31", "/%2541"),
            ("/.hidden/..x", "/.hidden/..x"),
        ] {
            assert_eq!(canonical(path), form, "{path}");
        }
    }

    #[test]
    fn dot_segments_are_refused_in_every_spelling() {
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/b",
            "/.%2E/",
            "/a/..;x/b",
            "/a/..%2fb",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a%5c%2e%2e%5cb",
            "/a/%2e",
            "/..%3b/a",
            "/%252e%252e/a",
            "/a%252f.%252E/",
            "/%%32e",
        ] {
            assert_eq!(canonical(path), "DotSegment", "{path}");
        }
        for path in ["/%00", "/%c0%ae%c0%ae/", "/%c1%9c", "/%e0%80%ae", "/%F0%80%80%AE"] {
            assert_eq!(canonical(path), "BadEncoding", "{path}");
        }
    }

    #[test]
    fn forms() {
        let parse = |target: &str| Target::parse(Method::Get, target.as_bytes());
        assert!(
            matches!(parse("/a?b"), Ok(Target::Origin(p)) if p.path == (0..2) && p.query == (2..4))
        );
        assert!(matches!(parse("HTTP://h:1"), Ok(Target::Absolute { authority, path, .. })
            if authority == (7..10) && path.path.is_empty()));
        assert!(matches!(parse("https://h?q/"), Ok(Target::Absolute { secure: true, path, .. })
            if path.query == (9..12)));
        assert_eq!(parse("*"), Err(TargetError::BadForm));
        assert_eq!(parse("h:1"), Err(TargetError::BadForm));
        assert_eq!(parse(""), Err(TargetError::BadForm));
        assert_eq!(parse("http:///x"), Err(TargetError::BadForm));
        assert_eq!(parse("ftp://h/"), Err(TargetError::UnknownScheme));
        assert_eq!(parse("/a#b"), Err(TargetError::BadCharacter));
        assert_eq!(parse("/a\x0b"), Err(TargetError::BadCharacter));
        assert_eq!(Target::parse(Method::Options, b"*"), Ok(Target::Asterisk));
    }

    #[test]
    fn prefixes_come_off_by_segments() {
        assert_eq!(strip_segments(b"/api/x", "/api"), b"/x");
        assert_eq!(strip_segments(b"/%61pi/x/", "/api"), b"/x/");
        assert_eq!(strip_segments(b"/api", "/api"), b"");
        assert_eq!(strip_segments(b"/a/b/c", "/a/b"), b"/c");
        assert_eq!(strip_segments(b"/a/b", ""), b"/a/b");
    }

    proptest::proptest! {
        #[test]
        fn canonical_is_stable(path in "/[a-c./%;\\\\25efEF\u{e9}]{0,12}") {
            if let Ok(first) = CanonicalPath::of(path.as_bytes()) {
                let count = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'/').count();
                proptest::prop_assert_eq!(count(&first.strict), count(path.as_bytes()));
                proptest::prop_assert_eq!(&CanonicalPath::of(&first.strict).unwrap(), &first);
                if let Some(loose) = &first.loose {
                    let again = CanonicalPath::of(loose).unwrap();
                    proptest::prop_assert_eq!(&again.strict[..], &loose[..]);
                }
            }
        }
    }
}
