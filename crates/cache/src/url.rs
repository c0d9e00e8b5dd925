//! URLs in the one spelling by which answers are purged, of URLs as people write them.

use message::target::{CanonicalPath, Target};
use message::{Authority, Method};

/// The one spelling of an absolute `http` or `https` URL: scheme and host in lower case, no port
/// that goes without saying, the canonical path, and the query as it is. [`crate::hash`] of it is
/// [`crate::Stored::url`]. `None`: it is none.
#[must_use]
pub fn canonical_url(text: &[u8]) -> Option<Vec<u8>> {
    let (mut url, path, query) = split(text)?;
    url.extend_from_slice(&CanonicalPath::of(path).ok()?.strict);
    url.extend_from_slice(query);
    Some(url)
}

/// The beginning of URLs as keys have them: scheme and host as in [`canonical_url`], and the path
/// as far as it is written, with the digits of its escapes in upper case.
#[must_use]
pub fn canonical_prefix(text: &[u8]) -> Option<Vec<u8>> {
    let (mut url, path, query) = split(text)?;
    let mut digits = 0;
    for &byte in path {
        url.push(if digits > 0 { byte.to_ascii_uppercase() } else { byte });
        digits = if byte == b'%' { 2 } else { u8::max(digits, 1) - 1 };
    }
    if path.is_empty() {
        // Else the prefix of a host would be one of longer hosts as well.
        url.push(b'/');
    }
    url.extend_from_slice(query);
    Some(url)
}

/// `HOST` or `HOST:PORT` as keys have it.
#[must_use]
pub fn canonical_host(text: &[u8]) -> Option<Vec<u8>> {
    let Authority { host, port } = Authority::parse(text).ok()?;
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{host}{port}").into_bytes())
}

/// Scheme and authority in their one spelling; path and query as they are.
fn split(text: &[u8]) -> Option<(Vec<u8>, &[u8], &[u8])> {
    let Ok(Target::Absolute { secure, authority, path }) = Target::parse(Method::Get, text) else {
        return None;
    };
    let Authority { host, port } = Authority::parse(&text[authority]).ok()?;
    let (scheme, usual) = if secure { ("https", 443) } else { ("http", 80) };
    let port = port.filter(|port| *port != usual);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let url = format!("{scheme}://{host}{port}").into_bytes();
    Some((url, &text[path.path], &text[path.query]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(url: Option<Vec<u8>>) -> Option<String> {
        url.map(|url| String::from_utf8(url).unwrap())
    }

    #[test]
    fn urls_have_one_spelling() {
        for (written, canonical) in [
            ("http://A.Example", "http://a.example/"),
            ("HTTP://a.example.:80/%7ex/%c3%a9?Q=%7e", "http://a.example/~x/%C3%A9?Q=%7e"),
            ("https://a.example:80/x", "https://a.example:80/x"),
            ("https://[::1]:443/x?", "https://[::1]/x?"),
        ] {
            assert_eq!(text(canonical_url(written.as_bytes())).as_deref(), Some(canonical));
        }
        for none in ["", "/x", "a.example/x", "ftp://a/x", "http://", "http://a b/", "http://u@a/"]
        {
            assert_eq!(canonical_url(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn prefixes_end_where_they_are_written_to_end() {
        for (written, canonical) in [
            ("http://A.Example", "http://a.example/"),
            ("http://a.example:80/im%c3", "http://a.example/im%C3"),
            ("http://a.example/x?v=", "http://a.example/x?v="),
        ] {
            assert_eq!(text(canonical_prefix(written.as_bytes())).as_deref(), Some(canonical));
        }
        assert_eq!(canonical_prefix(b"/images/"), None);
    }

    #[test]
    fn hosts_have_a_port_or_none() {
        for (written, canonical) in
            [("A.Example", "a.example"), ("a.example:8080", "a.example:8080"), ("[::1]", "[::1]")]
        {
            assert_eq!(text(canonical_host(written.as_bytes())).as_deref(), Some(canonical));
        }
        for none in ["", "http://a", "a/b", "*"] {
            assert_eq!(canonical_host(none.as_bytes()), None, "{none}");
        }
    }
}
