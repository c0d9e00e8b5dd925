//! The field names that the proxy itself has to know, as small numbers.

macro_rules! field_ids {
    ($($(#[$doc:meta])* $id:ident = $name:literal,)*) => {
        /// A field name the proxy acts upon; every other name is [`FieldId::Other`]. Known names
        /// are told apart once, when a head is parsed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum FieldId {
            /// A name without a meaning here.
            Other = 0,
            $($(#[$doc])* $id,)*
        }

        /// Every known name, in lower case, with its number.
        const KNOWN: &[(&[u8], FieldId)] = &[$(($name.as_bytes(), FieldId::$id),)*];
    };
}

field_ids! {
    /// RFC 9110 §7.2.
    Host = "host",
    /// RFC 9110 §7.6.1.
    Connection = "connection",
    /// RFC 2068 §19.7.1; hop-by-hop.
    KeepAlive = "keep-alive",
    /// Never standardised; hop-by-hop.
    ProxyConnection = "proxy-connection",
    /// RFC 9112 §6.1.
    TransferEncoding = "transfer-encoding",
    /// RFC 9110 §8.6.
    ContentLength = "content-length",
    /// RFC 9110 §10.1.4.
    Te = "te",
    /// RFC 9110 §6.6.2.
    Trailer = "trailer",
    /// RFC 9110 §7.8.
    Upgrade = "upgrade",
    /// RFC 9110 §10.1.1.
    Expect = "expect",
    /// RFC 9110 §7.6.2.
    MaxForwards = "max-forwards",
    /// RFC 9110 §7.6.3.
    Via = "via",
    /// RFC 7239.
    Forwarded = "forwarded",
    /// De facto: addresses the request came through.
    XForwardedFor = "x-forwarded-for",
    /// De facto: scheme the client used.
    XForwardedProto = "x-forwarded-proto",
    /// De facto: `Host` the client used.
    XForwardedHost = "x-forwarded-host",
    /// De facto: port the client used.
    XForwardedPort = "x-forwarded-port",
    /// De facto: the client's address.
    XRealIp = "x-real-ip",
    /// RFC 9110 §11.7.2.
    ProxyAuthorization = "proxy-authorization",
    /// RFC 9110 §11.7.1.
    ProxyAuthenticate = "proxy-authenticate",
    /// RFC 9110 §11.7.3.
    ProxyAuthenticationInfo = "proxy-authentication-info",
    /// RFC 9110 §11.6.2.
    Authorization = "authorization",
    /// RFC 9209.
    ProxyStatus = "proxy-status",
    /// No field at all, but CGI programs take it for a proxy setting (httpoxy).
    Proxy = "proxy",
    /// RFC 9113 §3.1; hop-by-hop.
    Http2Settings = "http2-settings",
    /// RFC 9110 §10.2.2.
    Location = "location",
    /// RFC 9110 §8.7.
    ContentLocation = "content-location",
    /// RFC 6265 §4.1.
    SetCookie = "set-cookie",
    /// RFC 9110 §10.2.4.
    Server = "server",
    /// De facto.
    XPoweredBy = "x-powered-by",
    /// RFC 9110 §6.6.1.
    Date = "date",
    /// RFC 9110 §10.1.5.
    UserAgent = "user-agent",
    /// RFC 9110 §10.1.3.
    Referer = "referer",
    /// RFC 9110 §8.3.
    ContentType = "content-type",
    /// RFC 9111 §5.2.
    CacheControl = "cache-control",
    /// RFC 9111 §5.4; deprecated.
    Pragma = "pragma",
    /// RFC 9111 §5.3.
    Expires = "expires",
    /// RFC 9111 §5.1.
    Age = "age",
    /// RFC 9110 §12.5.5.
    Vary = "vary",
    /// RFC 9110 §8.8.3.
    ETag = "etag",
    /// RFC 9110 §8.8.2.
    LastModified = "last-modified",
    /// RFC 9110 §13.1.1.
    IfMatch = "if-match",
    /// RFC 9110 §13.1.2.
    IfNoneMatch = "if-none-match",
    /// RFC 9110 §13.1.3.
    IfModifiedSince = "if-modified-since",
    /// RFC 9110 §13.1.4.
    IfUnmodifiedSince = "if-unmodified-since",
    /// RFC 9110 §13.1.5.
    IfRange = "if-range",
    /// RFC 9110 §14.2.
    Range = "range",
    /// RFC 9110 §14.4.
    ContentRange = "content-range",
    /// RFC 9110 §8.4.
    ContentEncoding = "content-encoding",
    /// RFC 9110 §12.5.3.
    AcceptEncoding = "accept-encoding",
    /// RFC 6265 §4.2.
    Cookie = "cookie",
}

impl FieldId {
    /// The number of a name in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        // Length and first letter leave at most one or two candidates.
        let Some(&first) = name.first() else { return Self::Other };
        let first = first.to_ascii_lowercase();
        if name.len() >= INDEX.len() {
            return Self::Other;
        }
        for &at in INDEX[name.len()] {
            let (known, id) = KNOWN[at as usize];
            if known[0] == first && is_known(name, known) {
                return id;
            }
        }
        Self::Other
    }

    /// The bit that stands for this name in a set; none for [`FieldId::Other`].
    pub(crate) const fn bit(self) -> u64 {
        (1u64 << self as u8) & !1
    }
}

/// Whether a name is this known one, in any case. Of two bytes of a token that differ in bit 5
/// alone, one at the most is a lower-case letter, a digit or a hyphen, and known names have no
/// others; without an early end the loop is done many bytes at a time.
fn is_known(name: &[u8], known: &[u8]) -> bool {
    let differing =
        name.iter().zip(known).fold(0, |all, (byte, known)| all | ((byte | 0x20) ^ known));
    differing == 0
}

const MAX_LENGTH: usize = 26;

/// Positions in [`KNOWN`] by the length of the name.
static INDEX: [&[u8]; MAX_LENGTH] = {
    let mut index: [&[u8]; MAX_LENGTH] = [&[]; MAX_LENGTH];
    let mut length = 0;
    while length < MAX_LENGTH {
        index[length] = BY_LENGTH[length].as_slice();
        length += 1;
    }
    index
};

struct Bucket {
    at: [u8; 8],
    used: usize,
}

impl Bucket {
    const fn as_slice(&'static self) -> &'static [u8] {
        self.at.split_at(self.used).0
    }
}

static BY_LENGTH: [Bucket; MAX_LENGTH] = {
    let mut all = [const { Bucket { at: [0; 8], used: 0 } }; MAX_LENGTH];
    let mut at = 0;
    while at < KNOWN.len() {
        let bucket = &mut all[KNOWN[at].0.len()];
        bucket.at[bucket.used] = at as u8;
        bucket.used += 1;
        at += 1;
    }
    all
};

const _: () = assert!(KNOWN.len() < 64, "the set of present names is a u64");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for &(name, id) in KNOWN {
            assert_eq!(FieldId::of(name), id);
            assert_eq!(FieldId::of(&name.to_ascii_uppercase()), id);
        }
    }

    #[test]
    fn other_names_are_other() {
        let names =
            [&b""[..], b"hosts", b"hos", b"x-request-id", b"x_real_ip", b"hos~", &[b'a'; 300]];
        for name in names {
            assert_eq!(FieldId::of(name), FieldId::Other);
        }
    }
}
