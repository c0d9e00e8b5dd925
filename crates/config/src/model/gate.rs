//! Who and how much is let in.

use std::time::Duration;

use ipnet::IpNet;

use super::{Span, Verdict};

/// Who and how much is let in to a site or a route. What a site says holds for its routes as
/// well; a route adds to it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gate {
    /// Rules about client addresses in the order of the file: the first that matches decides.
    /// Whom none matches is refused if any of them is an `allow`, else let in.
    pub clients: Vec<ClientRule>,
    /// All of them hold.
    pub rates: Vec<RateLimit>,
    /// Basic authentication (RFC 7617). That of a route takes the place of the site's.
    pub basic: Option<BasicAuth>,
    /// A server that is asked about each request. That of a route takes the place of the site's.
    pub forward_auth: Option<ForwardAuth>,
}

/// A rule about the address of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRule {
    /// Lets in, or refuses.
    pub verdict: Verdict,
    /// Whom.
    pub net: IpNet,
}

/// A limit on how much comes in a time.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    /// What is counted.
    pub unit: RateUnit,
    /// So many of them …
    pub amount: u64,
    /// … in this time.
    pub per: Duration,
    /// So many may come at once. Default: as many as in one second, at least 1 (for bytes: at
    /// least 64 KiB).
    pub burst: u64,
    /// For each of what.
    pub key: LimitKey,
    /// Where it stands.
    pub span: Span,
}

/// What a rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateUnit {
    /// Requests: those beyond it are answered with 429.
    Requests,
    /// Bytes of response bodies: they are slowed down.
    Bytes,
}

/// What a limit holds for each of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// The address of the client; IPv6 clients by their /64.
    ClientIp,
    /// The value of this request field (lower case); requests without it share one.
    Header(String),
    /// The place where the limit stands: all that comes there.
    Place,
}

/// Basic authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// Index into [`Config::users`](super::Config::users).
    pub users: usize,
    /// What browsers show.
    pub realm: String,
    /// Where it stands.
    pub span: Span,
}

/// A server that is asked about each request before it goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardAuth {
    /// Index into [`Config::upstreams`](super::Config::upstreams): the server that is asked.
    pub upstream: usize,
    /// Path and query of the question.
    pub target: String,
    /// Request fields that it is shown, lower case. Default: `authorization`, `cookie`. Beside
    /// them it gets `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`.
    pub send: Vec<String>,
    /// Fields of its answer that go on with the request; what a client sends of these names is
    /// dropped. As written.
    pub copy: Vec<String>,
    /// How long it may take. Default 5 s.
    pub timeout: Duration,
    /// Whether its answer may be used again, as its `Cache-Control` says. Default: yes.
    pub cache: bool,
    /// Where it stands.
    pub span: Span,
}
