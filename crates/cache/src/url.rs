//! URLs in the one spelling by which answers are purged, of URLs as people write them.

use std::borrow::Cow;

use message::target::{CanonicalPath, Target};
use message::{Authority, Method};

/// The one spelling of an absolute `http` or `https` URL: scheme and host in lower case, no port
/// that goes without saying, the canonical path, and the query as it is. `None`: it is none.
#[must_use]
pub fn canonical_url(text: &[u8]) -> Option<Vec<u8>> {
    let (mut url, path, query) = split(text)?;
    url.extend_from_slice(&CanonicalPath::of(path).ok()?.strict);
    url.extend_from_slice(query);
    Some(url)
}

/// How much of their URLs the keys of a route have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Not the query, or only some of its parameters.
    Path,
    /// Scheme and host.
    Origin,
}

/// What an answer to a URL, in its one spelling, is filed under as [`crate::Stored::url`]. Where
/// keys leave something out, URLs that differ in it are one: an answer to any of them is found,
/// and purged, by all of them.
#[must_use]
pub fn filed_under(url: &[u8], extent: Extent) -> u128 {
    let find = |from: usize, what: &[u8]| url[from..].iter().position(|byte| what.contains(byte));
    let end = match extent {
        Extent::Whole => return crate::hash(url),
        Extent::Path => find(0, b"?"),
        Extent::Origin => {
            let start = url.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
            find(start, b"/?").map(|end| start + end)
        }
    };
    // No URL has a space in it, so that none is mistaken for the beginning of others.
    crate::hash(&[&url[..end.unwrap_or(url.len())], b" "].concat())
}

/// All that answers to a URL may be filed under.
pub(crate) fn filings(url: &[u8]) -> [u128; 3] {
    [Extent::Whole, Extent::Path, Extent::Origin].map(|extent| filed_under(url, extent))
}

/// The beginning of URLs in their one spelling, as far as it is written.
#[must_use]
pub fn canonical_prefix(text: &[u8]) -> Option<Vec<u8>> {
    let (mut url, path, query) = split(text)?;
    match path.is_empty() {
        // Else the prefix of a host would be one of longer hosts as well.
        true => url.push(b'/'),
        false => url.extend_from_slice(&path_spelled(path)),
    }
    url.extend_from_slice(query);
    Some(url)
}

/// A URL as a key has it, or the beginning of one, with its path in the one spelling.
pub(crate) fn spelled(url: &[u8]) -> Cow<'_, [u8]> {
    if !url.contains(&b'%') {
        return Cow::Borrowed(url);
    }
    let start = url.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
    let find = |from: usize, what: &[u8]| url[from..].iter().position(|byte| what.contains(byte));
    let at = find(start, b"/?").map_or(url.len(), |at| start + at);
    let end = find(at, b"?").map_or(url.len(), |end| at + end);
    Cow::Owned([&url[..at], &path_spelled(&url[at..end]), &url[end..]].concat())
}

/// A path in its one spelling; what has none, because it leads elsewhere by dots, with the digits
/// of its escapes in upper case.
fn path_spelled(path: &[u8]) -> Cow<'_, [u8]> {
    if let Ok(canonical) = CanonicalPath::of(path) {
        return Cow::Owned(canonical.strict.into_owned());
    }
    let mut digits = 0;
    let spelled = path.iter().map(|byte| {
        let spelled = if digits > 0 { byte.to_ascii_uppercase() } else { *byte };
        digits = if *byte == b'%' { 2 } else { u8::max(digits, 1) - 1 };
        spelled
    });
    Cow::Owned(spelled.collect())
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
    fn urls_of_one_answer_are_filed_together() {
        let filed = |url: &str, extent| filed_under(url.as_bytes(), extent);
        for (extent, together, apart) in [
            (Extent::Whole, "http://a/x?v=1", "http://a/x?v=2"),
            (Extent::Path, "http://a/x?v=2", "http://a/y?v=1"),
            (Extent::Origin, "http://a/y", "http://a:81/x?v=1"),
        ] {
            let this = filed("http://a/x?v=1", extent);
            assert_eq!(this, filed(together, extent), "{extent:?}");
            assert_ne!(this, filed(apart, extent), "{extent:?}");
        }
        let mut all = filings(b"http://a").to_vec();
        all.extend(filings(b"http://a/"));
        all.sort_unstable();
        all.dedup();
        // The two have nothing but their origin and, without a path, that in common.
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn prefixes_end_where_they_are_written_to_end() {
        for (written, canonical) in [
            ("http://A.Example", "http://a.example/"),
            ("http://a.example:80/im%c3", "http://a.example/im%C3"),
            ("http://a.example/%7ex/%6", "http://a.example/~x/%256"),
            ("http://a.example/%7ex/%61b", "http://a.example/~x/ab"),
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
