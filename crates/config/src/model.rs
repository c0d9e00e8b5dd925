//! The checked configuration: plain typed data, no strings left to interpret.
//!
//! Every value a later step can still refuse (a file that is missing, a name that does not
//! exist on this machine) carries the [`Span`] it was written at.

mod cache;
mod dns;
mod exits;
mod forward;
mod gate;
mod upstream;
mod users;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use cache::{
    CacheDisk, CacheRules, CacheStore, CodingLevel, Compress, ContentCoding, Decompress, KeyPart,
};
pub use dns::{Dns, FamilyPreference, HostsEntry, NameServer, NameServerProtocol};
pub use exits::{
    BanRule, BanScope, BanSign, ChooseExit, Country, Dialect, Exit, ExitHealth, ExitHop, ExitKind,
    ExitLabels, ExitPool, ExitSessions, HopProtocol, Pacing, PrefixPick, ResolveAt, Rotate,
};
pub use forward::{
    Anonymity, AuthScheme, Forward, ForwardAuthentication, Intercept, ListSource, Pac, RuleContext,
    Skin, TargetPattern, TargetRule, Transparent, Verdict, WayOut,
};
pub use gate::{BasicAuth, ClientRule, ForwardAuth, Gate, LimitKey, RateLimit, RateUnit};
pub use upstream::{
    Balance, CircuitBreaker, HashKey, HealthCheck, MaxConnections, Outlier, Probe, ProxyVersion,
    Retry, Server, ServerHost, ServerProtocol, Sticky, Upstream, UpstreamTls,
};
pub use users::{
    Budget, Callout, Hours, Password, Period, Quota, User, UserLimits, UserSet, Weekdays,
};

/// Where in the configuration text a value stands (byte offset and length).
pub type Span = miette::SourceSpan;

/// A value together with where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// One whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Worker cores; `None`: as many as the process may run on.
    pub threads: Option<NonZeroUsize>,
    /// Where the access log goes and in which form.
    pub access_log: AccessLog,
    /// The admin listener.
    pub admin: Option<Admin>,
    /// How long a graceful stop waits for what still runs.
    pub drain_timeout: Duration,
    /// Peers whose `Forwarded` and `X-Forwarded-*` fields are believed.
    pub trusted_peers: Vec<IpNet>,
    /// How names are resolved.
    pub dns: Dns,
    /// The folder for what outlives the process: usage, copies of lists, the authority of
    /// interception. `None`: nothing outlives it.
    pub state: Option<Spanned<PathBuf>>,
    /// Databases in MaxMind's format (countries, cities, ASNs), asked in this order.
    pub geoip: Vec<Spanned<PathBuf>>,
    /// Where answers are kept.
    pub cache: CacheStore,
    /// Sites of the reverse face.
    pub sites: Vec<Site>,
    /// Named groups of servers. `to "http://…"` makes an unnamed one (`name` is then the
    /// site and the route it stands in, for logs). Routes refer to them by index.
    pub upstreams: Vec<Upstream>,
    /// Named sets of users.
    pub users: Vec<UserSet>,
    /// Named pools of exits. Listeners, rules, users and upstreams refer to them by index.
    pub exits: Vec<ExitPool>,
    /// Listeners of the forward face.
    pub forwards: Vec<Forward>,
    /// Listeners that carry bytes without looking into them.
    pub tunnels: Vec<Tunnel>,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where it goes.
    pub target: LogTarget,
    /// One line's form.
    pub format: LogFormat,
    /// Where the directive stands, if it was written.
    pub span: Option<Span>,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// The standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// The form of one line of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// The NCSA combined form, followed by our own fields.
    Combined,
    /// One JSON object a line.
    Json,
}

/// The admin listener.
#[derive(Clone, PartialEq, Eq)]
pub struct Admin {
    /// Loopback, unless there is a token.
    pub listen: SocketAddr,
    /// Bearer token that every request must show.
    pub token: Option<String>,
    /// Where the directive stands.
    pub span: Span,
}

impl std::fmt::Debug for Admin {
    /// Never shows the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("listen", &self.listen)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("span", &self.span)
            .finish()
    }
}

/// The scheme that a listener, a site or a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// Which values of `Host` a site answers to. Names are in lower case, IDNA-encoded and
/// without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Any host (`http://*:8080`).
    Any,
    /// An address: the site listens on it, and answers every host that no other site of the
    /// same listener claims.
    Address(IpAddr),
    /// This name and no other.
    Exact(String),
    /// Any name that ends in this suffix after at least one label; `*.example.com` is stored
    /// as `.example.com`.
    Wildcard(String),
}

/// One site of the reverse face.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// The first name as written, for logs.
    pub name: String,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// The hosts it answers to.
    pub hosts: Vec<HostPattern>,
    /// The sockets it is served on; port 0 is a free port and a socket of its own each time.
    /// Default: an address host listens on that address,
    /// `localhost` on `127.0.0.1` and `[::1]`, any other name on `[::]` (both families).
    pub listen: Vec<SocketAddr>,
    /// Certificates and client authentication; always there when `scheme` is `Https`.
    pub tls: Option<SiteTls>,
    /// Routes in the order of the file. A site with a bare `to` has one, for `/*`.
    pub routes: Vec<Route>,
    /// Rules for the fields of every response.
    pub response_fields: Vec<FieldRule>,
    /// Rules for the fields of every request to an origin.
    pub request_fields: Vec<FieldRule>,
    /// Answers in place of ours or of the origin's, by status.
    pub error_pages: Vec<ErrorPage>,
    /// How `X-Forwarded-*` and `Forwarded` are made.
    pub forwarded: Forwarded,
    /// What a client may send.
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Who is let in.
    pub gate: Gate,
    /// Peers that must begin with a PROXY protocol header; from all others none is taken.
    pub proxy_protocol: Vec<IpNet>,
    /// Whether HTTP/2 is spoken: by ALPN with TLS, by prior knowledge without.
    pub http2: bool,
    /// Where the directive stands.
    pub span: Span,
}

/// TLS of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteTls {
    /// At least one pair; which of them answers is decided by SNI against the names in the
    /// certificates.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Lowest version accepted.
    pub min_version: TlsVersion,
    /// Where the directive stands.
    pub span: Span,
}

/// A certificate chain and its key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub cert: Spanned<PathBuf>,
    /// Private key (PKCS#8, SEC1 or PKCS#1).
    pub key: Spanned<PathBuf>,
}

/// TLS protocol versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Client certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for.
    Off,
    /// Asked for; a client without one is served, one with a wrong one is refused.
    Optional {
        /// PEM file with the authorities.
        ca: Spanned<PathBuf>,
    },
    /// Nobody is served without one.
    Required {
        /// PEM file with the authorities.
        ca: Spanned<PathBuf>,
    },
}

/// One route of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// As written.
    pub name: String,
    /// Which paths it takes.
    pub path: PathPattern,
    /// Which methods it takes; empty: all.
    pub methods: Vec<String>,
    /// What becomes of the path before it goes to the origin.
    pub path_rule: PathRule,
    /// What it does.
    pub action: Action,
    /// Rules for the fields of the response, after those of the site.
    pub response_fields: Vec<FieldRule>,
    /// Rules for the fields of the request, after those of the site.
    pub request_fields: Vec<FieldRule>,
    /// Error pages of this route, before those of the site.
    pub error_pages: Vec<ErrorPage>,
    /// Largest request body, if it differs from the site's.
    pub max_body: Option<ByteLimit>,
    /// Who is let in, besides what the site says.
    pub gate: Gate,
    /// How answers are kept: what the route says, else what its site says; `None`: they are not.
    pub cache: Option<CacheRules>,
    /// In which codings answers are sent, in the same way; `None`: in those of the origin.
    pub compress: Option<Compress>,
    /// Whether request bodies are unpacked, in the same way.
    pub decompress: Option<Decompress>,
    /// Where the directive stands.
    pub span: Span,
}

/// Which paths a route takes. Compared with the canonical path of the request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathPattern {
    /// This path exactly: `/status`.
    Exact(String),
    /// `/api/*`: `/api`, `/api/` and everything below it, never `/apix`. Stored without the
    /// `/*`; `/*` and `*` are stored as the empty string.
    Prefix(String),
}

/// What becomes of the path before it goes to the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRule {
    /// Goes on byte for byte.
    Keep,
    /// `strip-prefix "/api"`: this prefix, on a segment boundary, is taken off.
    StripPrefix(String),
    /// `rewrite "/v2/*"`: replaced by this; a final `*` stands for what the `*` of the
    /// route's own pattern took.
    Rewrite(PathTemplate),
}

/// A path that may end in what a `*` took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    /// The part before the `*`, with the slash before it (`/v2/*` is `/v2/`), or all of it.
    pub text: String,
    /// Whether what the pattern's `*` took is appended.
    pub rest: bool,
}

/// What a route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Relays to this upstream (index into [`Config::upstreams`]).
    Relay {
        /// Index into [`Config::upstreams`].
        upstream: usize,
    },
    /// Sends the client elsewhere.
    Redirect {
        /// Path or absolute URL.
        to: PathTemplate,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// Answers by itself.
    Respond {
        /// 200 to 599.
        status: u16,
        /// The body.
        body: Vec<u8>,
        /// Its `Content-Type`.
        content_type: String,
    },
}

/// A rule for one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldRule {
    /// Replaces all fields of this name, or adds it. The name is kept as written.
    Set {
        /// Field name.
        name: String,
        /// Field value.
        value: String,
    },
    /// Adds one more.
    Add {
        /// Field name.
        name: String,
        /// Field value.
        value: String,
    },
    /// Removes all of this name; `X-Foo-*` removes by prefix.
    Remove {
        /// Field name, or prefix followed by `*`.
        name: String,
    },
}

/// An answer in place of another, by status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// The statuses it stands for.
    pub statuses: Vec<u16>,
    /// Also when the origin made the answer, not only when we did.
    pub origin: bool,
    /// The body, or the file it is read from when the configuration is built.
    pub body: PageBody,
    /// Its `Content-Type`.
    pub content_type: String,
}

/// Where the body of an error page comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageBody {
    /// Written in the configuration.
    Text(Vec<u8>),
    /// Read when the configuration is built.
    File(Spanned<PathBuf>),
}

/// How the fields that tell an origin about the client are made. What an untrusted peer
/// sent of them is always dropped first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// How `X-Forwarded-For`, `-Proto` and `-Host` are made.
    pub x_forwarded: ForwardedMode,
    /// How `Forwarded` (RFC 7239) is made.
    pub forwarded: ForwardedMode,
    /// Pseudonym in `Via` (RFC 9110 §7.6.3) of requests; `None`: no `Via` is added.
    pub via: Option<String>,
    /// Whether the client's `Host` goes to the origin (else that of the server's URL).
    pub preserve_host: bool,
}

/// How one family of forwarding fields is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedMode {
    /// None goes out, and what came in is dropped.
    Off,
    /// What a trusted peer said stays; else ours.
    Set,
    /// What a trusted peer said, and ours behind it.
    Append,
    /// Ours only.
    Replace,
}

/// A limit in bytes that can be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteLimit {
    /// At most so many.
    Bytes(u64),
    /// As many as come.
    Unlimited,
}

/// What a client may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request or response head, and of trailers. Default 32 KiB.
    pub head_bytes: usize,
    /// Fields in a head, and in trailers. Default 128.
    pub fields: usize,
    /// Bytes of a request body. Default unlimited.
    pub body: ByteLimit,
    /// Lowest mean rate in bytes per second at which a peer must take or give while we wait
    /// for it, measured past `min_rate_grace`. `None`: not enforced. Default 240 B/s.
    pub min_rate: Option<u64>,
    /// How long a peer may be slower than `min_rate`. Default 20 s.
    pub min_rate_grace: Duration,
    /// Connections at once from one client address. Default: no limit.
    pub connections_per_client: Option<u32>,
    /// Requests on one connection, after which it is closed. Default 10 000.
    pub requests_per_connection: u32,
    /// Requests at once on one HTTP/2 connection. Default 128.
    pub streams: u32,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a head to its end; also a TLS or SOCKS handshake and, on a new
    /// connection, the time to the first byte. Default 15 s.
    pub header: Duration,
    /// A kept-alive connection without a request. Default 75 s.
    pub idle: Duration,
    /// A tunnel without a byte in either direction. Default 1 h.
    pub tunnel_idle: Duration,
    /// Connecting to one server, with its TLS handshake. Default 5 s.
    pub connect: Duration,
    /// From the end of the request to the head of the response. Default 60 s.
    pub response: Duration,
}

/// A listener that carries bytes without looking into them.
#[derive(Debug, Clone, PartialEq)]
pub struct Tunnel {
    /// As written, for logs.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// TLS ends here, and what is inside goes on; `None`: bytes pass as they are.
    pub tls: Option<SiteTls>,
    /// Where a connection goes by the name that its ClientHello asks for; the first that fits.
    pub names: Vec<TunnelRoute>,
    /// Where it goes otherwise; `None`: it is closed.
    pub upstream: Option<usize>,
    /// Rules about client addresses, as [`Gate::clients`].
    pub clients: Vec<ClientRule>,
    /// Peers that must begin with a PROXY protocol header; from all others none is taken.
    pub proxy_protocol: Vec<IpNet>,
    /// What a client may (only connections count).
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Where it stands.
    pub span: Span,
}

/// Where a tunnel goes for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelRoute {
    /// The names, as those of sites.
    pub hosts: Vec<HostPattern>,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
}
