//! `Location` and `Set-Cookie` of an origin, as the client has to see them.

use config::{PathPattern, PathRule};
use message::{Block, FieldId};
use upstream::Member;

use crate::reverse::same_origin;
use crate::site::Route;

/// How the URL space of a server lies in that of the site.
pub(crate) struct Mapping<'a> {
    pub(crate) scheme: &'static str,
    /// As the client calls the site.
    pub(crate) host: &'a [u8],
    pub(crate) route: &'a Route,
    pub(crate) endpoint: &'a Member,
}

/// Maps all fields of a response that name places of the origin.
pub(crate) fn map_back(fields: &mut Block, mapping: &Mapping<'_>) {
    for (id, name) in
        [(FieldId::Location, &b"Location"[..]), (FieldId::ContentLocation, b"Content-Location")]
    {
        let Some(value) = fields.get(id) else { continue };
        if let Some(mapped) = mapping.location(value) {
            fields.remove(id);
            fields.push(name, &[&mapped]);
        }
    }
    if fields.has(FieldId::SetCookie) {
        let cookies: Vec<Vec<u8>> = fields.values(FieldId::SetCookie).map(<[u8]>::to_vec).collect();
        let mapped: Vec<Vec<u8>> = cookies.iter().map(|cookie| mapping.cookie(cookie)).collect();
        if mapped != cookies {
            fields.remove(FieldId::SetCookie);
            for cookie in mapped {
                fields.push(b"Set-Cookie", &[&cookie]);
            }
        }
    }
}

impl Mapping<'_> {
    /// A reference of the origin to one of its own places; `None`: it stays as it is.
    fn location(&self, value: &[u8]) -> Option<Vec<u8>> {
        if value.starts_with(b"//") {
            return None;
        }
        if value.starts_with(b"/") {
            return self.path(value).map(|[front, rest]| [front, rest].concat());
        }
        let colon = find(value, b"://")?;
        let rest = &value[colon + 3..];
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let to_server = same_origin(authority, self.endpoint);
        if !to_server && !authority.eq_ignore_ascii_case(self.host) {
            return None;
        }
        let mapped = match self.path(path) {
            Some([front, rest]) => [front, rest].concat(),
            None => path.to_vec(),
        };
        // An origin that was asked by its client's name may have its reasons for the scheme.
        let scheme = if to_server { self.scheme.as_bytes() } else { &value[..colon] };
        Some([scheme, b"://", self.host, &mapped].concat())
    }

    /// A path of the origin in the site's URL space; `None`: it is the same.
    fn path<'v>(&'v self, path: &'v [u8]) -> Option<[&'v [u8]; 2]> {
        let base = self.endpoint.server.base_path.as_bytes();
        let inner = match path.strip_prefix(base) {
            Some(inner) if inner.is_empty() || !inner[0].is_ascii_alphanumeric() => inner,
            _ => return None,
        };
        match &self.route.config.path_rule {
            PathRule::Keep if base.is_empty() => None,
            PathRule::Keep => Some([inner, b""]),
            PathRule::StripPrefix(prefix) => Some([prefix.as_bytes(), inner]),
            PathRule::Rewrite(template) => {
                let PathPattern::Prefix(prefix) = &self.route.config.path else { return None };
                let text = template.text.trim_end_matches('/').as_bytes();
                let rest = inner.strip_prefix(text)?;
                (template.rest && matches!(rest.first(), None | Some(b'/' | b'?' | b'#')))
                    .then_some([prefix.as_bytes(), rest])
            }
        }
    }

    /// A cookie for one of the origin's places (RFC 6265 §4.1).
    fn cookie(&self, cookie: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(cookie.len() + 16);
        for (at, part) in cookie.split(|byte| *byte == b';').enumerate() {
            let attribute = part.trim_ascii();
            let equals = attribute.iter().position(|byte| *byte == b'=');
            let (name, value) = match equals {
                Some(equals) if at > 0 => attribute.split_at(equals),
                _ => (attribute, &b""[..]),
            };
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            // A cookie for the server's own name would never come back to us.
            if at > 0
                && name.eq_ignore_ascii_case(b"domain")
                && same_origin_host(value, self.endpoint)
            {
                continue;
            }
            if at > 0 {
                out.extend_from_slice(b";");
            }
            match self.path(value) {
                Some([front, rest]) if at > 0 && name.eq_ignore_ascii_case(b"path") => {
                    out.extend_from_slice(b" Path=");
                    out.extend_from_slice(front);
                    out.extend_from_slice(if rest == b"/" { b"" } else { rest });
                    if front.is_empty() && (rest.is_empty() || rest == b"/") {
                        out.extend_from_slice(b"/");
                    }
                }
                _ => out.extend_from_slice(part),
            }
        }
        out
    }
}

fn same_origin_host(domain: &[u8], endpoint: &Member) -> bool {
    let domain = domain.strip_prefix(b".").unwrap_or(domain);
    match &endpoint.server.host {
        config::ServerHost::Name(name) | config::ServerHost::Srv(name) => {
            domain.eq_ignore_ascii_case(name.as_bytes())
        }
        config::ServerHost::Address(ip) => domain == ip.to_string().as_bytes(),
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}
