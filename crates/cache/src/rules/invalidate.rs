//! What makes stored answers invalid (RFC 9111 §4.4).

use message::{Block, FieldId, Method};

/// Whether an answer with this status to this method makes what is stored for its URL invalid.
/// Methods that we do not know are unsafe.
#[must_use]
pub fn invalidates(method: Method, status: u16) -> bool {
    let safe = matches!(
        method,
        Method::Get | Method::Head | Method::Options | Method::Trace | Method::Connect
    );
    !safe && (200..400).contains(&status)
}

/// The URL of the request whose answer says what else is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalidated<'a> {
    /// Whether its scheme is `https`.
    pub secure: bool,
    /// `host[:port]`, in any spelling.
    pub authority: &'a [u8],
    /// Its path, without the query.
    pub path: &'a [u8],
}

/// Path and query of `Location` and `Content-Location`, as far as they are of the same origin:
/// nobody makes invalid what is another's.
#[must_use]
pub fn invalidated_uris(of: &Invalidated<'_>, fields: &Block) -> Vec<Vec<u8>> {
    fields
        .values(FieldId::Location)
        .take(1)
        .chain(fields.values(FieldId::ContentLocation).take(1))
        .filter_map(|reference| of.resolve(reference))
        .collect()
}

impl Invalidated<'_> {
    /// Path and query of a reference (RFC 3986 §5.2).
    fn resolve(&self, reference: &[u8]) -> Option<Vec<u8>> {
        let end = memchr::memchr(b'#', reference).unwrap_or(reference.len());
        let reference = reference[..end].trim_ascii();
        if reference.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        let relative = self.without_origin(reference)?;
        let query_at = memchr::memchr(b'?', relative).unwrap_or(relative.len());
        let (path, query) = relative.split_at(query_at);
        let merged = match path {
            [] if relative.len() == reference.len() => self.path.to_vec(),
            [] => b"/".to_vec(),
            [b'/', ..] => path.to_vec(),
            _ => {
                let folder = memchr::memrchr(b'/', self.path).map_or(0, |slash| slash + 1);
                [&self.path[..folder], path].concat()
            }
        };
        let mut target = without_dots(&merged);
        target.extend_from_slice(query);
        Some(target)
    }

    /// A reference without scheme and authority, if they are those of the request.
    fn without_origin<'r>(&self, reference: &'r [u8]) -> Option<&'r [u8]> {
        let (secure, rest) = if let Some(rest) = reference.strip_prefix(b"//") {
            (self.secure, rest)
        } else if let Some((scheme, rest)) = with_scheme(reference) {
            let secure = scheme.eq_ignore_ascii_case(b"https");
            if !secure && !scheme.eq_ignore_ascii_case(b"http") {
                return None;
            }
            (secure, rest.strip_prefix(b"//")?)
        } else {
            return Some(reference);
        };
        let end = rest.iter().position(|&byte| byte == b'/' || byte == b'?');
        let (authority, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let same = secure == self.secure
            && origin(authority, secure)? == origin(self.authority, self.secure)?;
        same.then_some(rest)
    }
}

fn origin(authority: &[u8], secure: bool) -> Option<(message::Host<'_>, u16)> {
    let parsed = message::Authority::parse(authority).ok()?;
    Some((parsed.host, parsed.port.unwrap_or(if secure { 443 } else { 80 })))
}

fn with_scheme(reference: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = reference.iter().position(|byte| b":/?".contains(byte))?;
    let scheme = &reference[..at];
    let is_scheme = reference[at] == b':'
        && scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    is_scheme.then(|| (scheme, &reference[at + 1..]))
}

/// RFC 3986 §5.2.4.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut pieces = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = pieces.next() {
        let last = pieces.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    segments.pop();
                }
                if last {
                    segments.push(b"");
                }
            }
            _ => segments.push(segment),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}
