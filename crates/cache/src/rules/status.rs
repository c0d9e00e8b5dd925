//! `Cache-Status` (RFC 9211).

/// Why a request went on (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The route has no cache, or the method is none that is looked up.
    Bypass,
    /// The method is never answered from a cache.
    Method,
    /// Nothing is stored for the URL.
    UriMiss,
    /// What is stored for the URL is for other requests.
    VaryMiss,
    /// Nothing is stored.
    Miss,
    /// What the request says kept what is stored from being used.
    Request,
    /// It was stale.
    Stale,
    /// There are parts of it, but not those that were asked for.
    Partial,
}

impl Forwarded {
    /// As the field has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// What the cache did for a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// The answer came from the cache, without asking anybody.
    pub hit: bool,
    /// Why somebody was asked.
    pub forwarded: Option<Forwarded>,
    /// What they said, where that is not what the client is told.
    pub forwarded_status: Option<u16>,
    /// Seconds of freshness left.
    pub ttl: Option<i64>,
    /// What they said was stored.
    pub stored: bool,
    /// Another request asked for it.
    pub collapsed: bool,
    /// More, as a token: what kept an answer from being stored.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// Appends what a field says. What caches before us said stands in lines of its own before it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"bifrons");
        if self.hit {
            out.extend_from_slice(b"; hit");
        }
        if let Some(why) = self.forwarded {
            out.extend_from_slice(b"; fwd=");
            out.extend_from_slice(why.as_str().as_bytes());
        }
        let mut number = itoa::Buffer::new();
        if let Some(status) = self.forwarded_status {
            out.extend_from_slice(b"; fwd-status=");
            out.extend_from_slice(number.format(status).as_bytes());
        }
        if let Some(ttl) = self.ttl {
            out.extend_from_slice(b"; ttl=");
            out.extend_from_slice(number.format(ttl).as_bytes());
        }
        if self.stored {
            out.extend_from_slice(b"; stored");
        }
        if self.collapsed {
            out.extend_from_slice(b"; collapsed");
        }
        if let Some(detail) = self.detail {
            out.extend_from_slice(b"; detail=");
            out.extend_from_slice(detail.as_bytes());
        }
    }
}
