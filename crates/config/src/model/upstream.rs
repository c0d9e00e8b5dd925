//! Groups of servers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{CertificateFiles, Scheme, Span, Spanned};

/// A group of servers that serve the same content.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name, or the route it was written in.
    pub name: String,
    /// At least one.
    pub servers: Vec<Server>,
    /// How TLS to its servers is done.
    pub tls: UpstreamTls,
    /// Idle connections kept per server and core. Default 256: as many as there are
    /// requests at once on a few HTTP/2 connections of clients.
    pub keep_idle: usize,
    /// How long one is kept. Default 60 s.
    pub idle_timeout: Duration,
    /// Which server gets a request.
    pub balance: Balance,
    /// Whether servers are asked if they are well.
    pub health: Option<HealthCheck>,
    /// When a request is made again.
    pub retry: Retry,
    /// How long a server that came back takes to its full share. Zero: at once.
    pub slow_start: Duration,
    /// A cookie that keeps a client at one server.
    pub sticky: Option<Sticky>,
    /// When a server that fails is left out.
    pub outlier: Option<Outlier>,
    /// When the whole group is given a rest.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Requests that one server has at once.
    pub max_connections: Option<MaxConnections>,
    /// Percent of the servers: when fewer than these are well, all are used as if they were.
    /// Default 0: only when none is.
    pub panic: u8,
    /// PROXY protocol header at the beginning of each connection. Connections are then not
    /// shared between clients.
    pub proxy_protocol: Option<ProxyVersion>,
    /// The pool of exits by which its servers are reached (index into [`super::Config::exits`]);
    /// `None`: from this machine.
    pub exit: Option<usize>,
    /// Where it stands.
    pub span: Span,
}

/// Which server gets a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn, by weight, evenly spread.
    RoundRobin,
    /// The one with the fewest requests under way for its weight.
    LeastRequests,
    /// Of two at random, the one whose answers come sooner (a moving average that jumps to
    /// peaks, times the requests under way).
    PeakEwma,
    /// Any, by weight.
    Random,
    /// The same for the same key, as far as possible.
    Hash {
        /// What is hashed.
        key: HashKey,
        /// Percent of the mean load that a server takes before the next one is asked.
        /// Default 125.
        bound: u16,
    },
}

/// What `hash` looks at. Requests without it are spread at random.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The address of the client.
    ClientIp,
    /// A request field (lower case).
    Header(String),
    /// A cookie.
    Cookie(String),
    /// The path, without the query.
    Path,
}

/// An active health check, made once for each real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// How often. Default 5 s.
    pub every: Duration,
    /// How long an answer may take. Default 2 s.
    pub timeout: Duration,
    /// Failures in a row that make a server ill. Default 3.
    pub fall: u32,
    /// Successes in a row that make it well. Default 2.
    pub rise: u32,
    /// Another port than that of the traffic.
    pub port: Option<u16>,
    /// Where it stands.
    pub span: Span,
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A GET.
    Http {
        /// Path and query.
        target: String,
        /// `Host`, if not that of the server.
        host: Option<String>,
        /// Statuses that are well, inclusive. Default 200-399.
        statuses: Vec<(u16, u16)>,
        /// What the body (its first 64 KiB) must contain.
        body: Option<String>,
    },
    /// A connection.
    Tcp,
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service; empty: the server as a whole.
        service: String,
    },
}

/// When a request is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts beyond the first. Default 3; a failure to connect counts as well.
    pub attempts: u8,
    /// Statuses that are no answer if there is another server. Default none.
    pub statuses: Vec<u16>,
    /// Whether an answer that does not come within `attempt_timeout` (or `timeouts response`) is
    /// waited for elsewhere. Default no.
    pub on_timeout: bool,
    /// How long one attempt waits for the head of the response.
    pub attempt_timeout: Option<Duration>,
    /// Retries in percent of requests that are allowed over ten seconds, besides ten of them.
    /// Default 20.
    pub budget: u8,
    /// Where it stands.
    pub span: Option<Span>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            statuses: Vec::new(),
            on_timeout: false,
            attempt_timeout: None,
            budget: 20,
            span: None,
        }
    }
}

/// A cookie that keeps a client at one server.
#[derive(Clone, PartialEq, Eq)]
pub struct Sticky {
    /// Its name.
    pub cookie: String,
    /// `Max-Age`; `None`: until the browser is closed.
    pub ttl: Option<Duration>,
    /// What its authenticity is derived from; `None`: random at the start of the process, and
    /// handed over to the next one by an upgrade.
    pub secret: Option<String>,
}

impl std::fmt::Debug for Sticky {
    /// Never shows the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sticky")
            .field("cookie", &self.cookie)
            .field("ttl", &self.ttl)
            .field("secret", &self.secret.as_ref().map(|_| "…"))
            .finish()
    }
}

/// When a server that fails is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlier {
    /// So many failures (connection, time, 5xx made by nobody but the server) …
    pub failures: u32,
    /// … in this time.
    pub within: Duration,
    /// For how long it is left out, each time longer.
    pub eject: Duration,
    /// Also when its mean latency is so many percent of the median of the others; `None`: never.
    pub latency: Option<u32>,
    /// Percent of the servers that may be out in this way. Default 50; one always may.
    pub max_ejected: u8,
}

/// When a whole group is given a rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// Percent of failed requests …
    pub errors: u8,
    /// … in this time …
    pub within: Duration,
    /// … if there were at least so many.
    pub min_requests: u32,
    /// How long nothing is let through; then one request at a time, until one succeeds.
    pub open: Duration,
}

/// Requests that one server has at once, over all cores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxConnections {
    /// So many.
    pub limit: u32,
    /// Requests that wait for a free place in the group. Default 0.
    pub queue: u32,
    /// How long one waits. Default 5 s.
    pub queue_timeout: Duration,
}

/// Version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// What is spoken with it.
    pub protocol: ServerProtocol,
    /// Name or address.
    pub host: ServerHost,
    /// Port; 0 for [`ServerHost::Srv`].
    pub port: u16,
    /// The path of the URL, without a trailing slash; put before the path of each request.
    pub base_path: String,
    /// Share of the requests against others. Default 1; 0: none, but sticky clients stay.
    pub weight: u32,
    /// Used only when none but backups are left.
    pub backup: bool,
    /// Where it stands.
    pub span: Span,
}

/// What is spoken with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerProtocol {
    /// HTTP/1.1 (`http://`, or `https://` whose `tls` says so).
    Http1,
    /// HTTP/2 or HTTP/1.1, by ALPN (`https://`).
    Alpn,
    /// HTTP/2 (`h2://`, `h2c://`).
    Http2,
    /// Bytes (`tcp://`, `tls://`, in tunnels).
    Tcp,
}

/// The host of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerHost {
    /// An address.
    Address(IpAddr),
    /// A name, resolved in the background; each of its addresses is a server.
    Name(String),
    /// A name whose SRV records (RFC 2782) name the servers (`http+srv://_web._tcp.example`).
    Srv(String),
}

/// TLS towards servers. Verified against the system's roots unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// Authorities to trust instead of the system's (PEM file).
    pub ca: Option<Spanned<PathBuf>>,
    /// Name to send and to verify instead of the URL's host.
    pub sni: Option<String>,
    /// Certificate to show.
    pub client: Option<CertificateFiles>,
    /// No verification at all.
    pub insecure: bool,
    /// `https` servers are offered HTTP/1.1 only.
    pub http1_only: bool,
}
