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
        const KNOWN: &[(&[u8], FieldId)] = &[$((&lower::<{ $name.len() }>($name), FieldId::$id),)*];

        /// What a line begins with, by number.
        const LINE_STARTS: &[&[u8]] = &[b"", $(concat!($name, ": ").as_bytes(),)*];
    };
}

field_ids! {
    /// RFC 9110 §7.2.
    Host = "Host",
    /// RFC 9110 §7.6.1.
    Connection = "Connection",
    /// RFC 2068 §19.7.1; hop-by-hop.
    KeepAlive = "Keep-Alive",
    /// Never standardised; hop-by-hop.
    ProxyConnection = "Proxy-Connection",
    /// RFC 9112 §6.1.
    TransferEncoding = "Transfer-Encoding",
    /// RFC 9110 §8.6.
    ContentLength = "Content-Length",
    /// RFC 9110 §10.1.4.
    Te = "TE",
    /// RFC 9110 §6.6.2.
    Trailer = "Trailer",
    /// RFC 9110 §7.8.
    Upgrade = "Upgrade",
    /// RFC 9110 §10.1.1.
    Expect = "Expect",
    /// RFC 9110 §7.6.2.
    MaxForwards = "Max-Forwards",
    /// RFC 9110 §7.6.3.
    Via = "Via",
    /// RFC 7239.
    Forwarded = "Forwarded",
    /// De facto: addresses the request came through.
    XForwardedFor = "X-Forwarded-For",
    /// De facto: scheme the client used.
    XForwardedProto = "X-Forwarded-Proto",
    /// De facto: `Host` the client used.
    XForwardedHost = "X-Forwarded-Host",
    /// De facto: port the client used.
    XForwardedPort = "X-Forwarded-Port",
    /// De facto: the client's address.
    XRealIp = "X-Real-IP",
    /// RFC 9110 §11.7.2.
    ProxyAuthorization = "Proxy-Authorization",
    /// RFC 9110 §11.7.1.
    ProxyAuthenticate = "Proxy-Authenticate",
    /// RFC 9110 §11.7.3.
    ProxyAuthenticationInfo = "Proxy-Authentication-Info",
    /// RFC 9110 §11.6.2.
    Authorization = "Authorization",
    /// RFC 9209.
    ProxyStatus = "Proxy-Status",
    /// No field at all, but CGI programs take it for a proxy setting (httpoxy).
    Proxy = "Proxy",
    /// RFC 9113 §3.1; hop-by-hop.
    Http2Settings = "HTTP2-Settings",
    /// RFC 9110 §10.2.2.
    Location = "Location",
    /// RFC 9110 §8.7.
    ContentLocation = "Content-Location",
    /// RFC 6265 §4.1.
    SetCookie = "Set-Cookie",
    /// RFC 9110 §10.2.4.
    Server = "Server",
    /// De facto.
    XPoweredBy = "X-Powered-By",
    /// RFC 9110 §6.6.1.
    Date = "Date",
    /// RFC 9110 §10.1.5.
    UserAgent = "User-Agent",
    /// RFC 9110 §10.1.3.
    Referer = "Referer",
    /// RFC 9110 §8.3.
    ContentType = "Content-Type",
    /// RFC 9111 §5.2.
    CacheControl = "Cache-Control",
    /// RFC 9111 §5.4; deprecated.
    Pragma = "Pragma",
    /// RFC 9111 §5.3.
    Expires = "Expires",
    /// RFC 9111 §5.1.
    Age = "Age",
    /// RFC 9110 §12.5.5.
    Vary = "Vary",
    /// RFC 9110 §8.8.3.
    ETag = "ETag",
    /// RFC 9110 §8.8.2.
    LastModified = "Last-Modified",
    /// RFC 9110 §13.1.1.
    IfMatch = "If-Match",
    /// RFC 9110 §13.1.2.
    IfNoneMatch = "If-None-Match",
    /// RFC 9110 §13.1.3.
    IfModifiedSince = "If-Modified-Since",
    /// RFC 9110 §13.1.4.
    IfUnmodifiedSince = "If-Unmodified-Since",
    /// RFC 9110 §13.1.5.
    IfRange = "If-Range",
    /// RFC 9110 §14.2.
    Range = "Range",
    /// RFC 9110 §14.4.
    ContentRange = "Content-Range",
    /// RFC 9110 §8.4.
    ContentEncoding = "Content-Encoding",
    /// RFC 9110 §12.5.3.
    AcceptEncoding = "Accept-Encoding",
    /// RFC 6265 §4.2.
    Cookie = "Cookie",
}

impl FieldId {
    /// The number of a name in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        if name.is_empty() || name.len() > LONGEST {
            return Self::Other;
        }
        let mut slot = slot_of(name);
        // Most slots are empty, and of the others nearly all have the one name that could be it.
        while SLOTS[slot] != EMPTY {
            let (known, id) = KNOWN[SLOTS[slot] as usize];
            if is_known(name, known) {
                return id;
            }
            slot = (slot + 1) % SLOTS.len();
        }
        Self::Other
    }

    /// What a line of this name begins with as it is usually written: the name, a colon and a
    /// space. Nothing for [`FieldId::Other`].
    pub(crate) fn line_start(self) -> &'static [u8] {
        LINE_STARTS[self as usize]
    }

    /// The bit that stands for this name in a set; none for [`FieldId::Other`].
    pub(crate) const fn bit(self) -> u64 {
        (1u64 << self as u8) & !1
    }
}

const fn lower<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let (mut lower, mut at) = ([0; LENGTH], 0);
    while at < LENGTH {
        lower[at] = name.as_bytes()[at].to_ascii_lowercase();
        at += 1;
    }
    lower
}

/// Whether a name is this known one, in any case. Of two bytes of a token that differ in bit 5
/// alone, one at the most is a lower-case letter, a digit or a hyphen, and known names have no
/// others. Eight bytes are compared at a time, the last of them twice where need be.
fn is_known(name: &[u8], known: &[u8]) -> bool {
    if name.len() != known.len() {
        return false;
    }
    let (Some(last), Some(known_last)) = (name.last_chunk(), known.last_chunk()) else {
        let pairs = name.iter().zip(known);
        return pairs.fold(0, |all, (byte, known)| all | ((byte | 0x20) ^ known)) == 0;
    };
    let differ = |some: &[u8; 8], known: &[u8; 8]| {
        (u64::from_ne_bytes(*some) | LOWER) ^ u64::from_ne_bytes(*known)
    };
    let words = name.as_chunks().0.iter().zip(known.as_chunks().0);
    words.fold(differ(last, known_last), |all, (some, known)| all | differ(some, known)) == 0
}

/// Bit 5 of eight bytes.
const LOWER: u64 = 0x2020_2020_2020_2020;

/// The length of the longest known name.
const LONGEST: usize = {
    let (mut longest, mut at) = (0, 0);
    while at < KNOWN.len() {
        if KNOWN[at].0.len() > longest {
            longest = KNOWN[at].0.len();
        }
        at += 1;
    }
    longest
};

const EMPTY: u8 = u8::MAX;

/// Positions in [`KNOWN`], each at the slot of its name or, where that is taken, behind it.
static SLOTS: [u8; 256] = {
    let mut slots = [EMPTY; 256];
    let mut at = 0;
    while at < KNOWN.len() {
        let mut slot = slot_of(KNOWN[at].0);
        while slots[slot] != EMPTY {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = at as u8;
        at += 1;
    }
    slots
};

/// Where a name, which is not empty, is looked for first. The factors are those that gave each
/// name a slot of its own when there were 51.
const fn slot_of(name: &[u8]) -> usize {
    let (first, late) = (name[0] | 0x20, name[name.len() * 3 / 4] | 0x20);
    (name.len() + 5 * first as usize + 50 * late as usize) % 256
}

const _: () = assert!(KNOWN.len() < 64, "the set of present names is a u64");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for &(name, id) in KNOWN {
            assert_eq!(FieldId::of(name), id);
            assert_eq!(FieldId::of(&name.to_ascii_uppercase()), id);
            let line = [name, b": "].concat();
            assert!(id.line_start().eq_ignore_ascii_case(&line));
        }
    }

    #[test]
    fn names_that_differ_in_one_byte_are_other() {
        for &(name, _) in KNOWN {
            for at in 0..name.len() {
                let mut close = name.to_vec();
                close[at] = b'~';
                assert_eq!(FieldId::of(&close), FieldId::Other);
            }
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
