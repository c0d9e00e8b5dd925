//! What is measured, against whom, and what is aimed at.

use super::proxy::Kind;

/// One row group of the table.
#[derive(Debug)]
pub struct Scenario {
    /// The name on the command line.
    pub name: &'static str,
    /// What it is, for the table.
    pub title: &'static str,
    /// How each proxy is set up.
    pub face: Face,
    /// How it is loaded.
    pub load: Load,
    /// The figure that is compared.
    pub measure: Measure,
    /// Whether the proxy's core must have been busy: an idle core means that the load, not
    /// the proxy, set the pace.
    pub saturates: bool,
    /// Who else is measured, besides ours.
    pub rivals: &'static [Kind],
    /// What is aimed at.
    pub targets: &'static [Target],
}

/// How a proxy is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Plain HTTP in front of one origin.
    Reverse,
    /// The same behind TLS with a P-256 certificate.
    ReverseTls,
    /// HTTP/2 over TLS, in front of an origin that speaks HTTP/1.1.
    Http2,
    /// The same with an origin that is spoken HTTP/2 with, but by nginx, which cannot.
    Http2Throughout,
    /// Plain HTTP in front of four servers, one of them slow; the one with the fewest
    /// requests gets the next.
    LeastRequests,
    /// Plain HTTP, [`ROUTES`] routes to [`UPSTREAMS`] groups of servers.
    ManyRoutes,
    /// Plain HTTP in front of an origin of WebSockets.
    WebSockets,
    /// A forward proxy with [`USERS`] users who have quotas, and with rules; Squid has one ACL.
    ForwardUsers,
    /// A SOCKS5 proxy.
    Socks,
    /// Plain HTTP in front of one origin, whose answers are kept in memory.
    Cached,
    /// The same, and they are on the disk: it was started again since they came.
    CachedOnDisk,
    /// The same with memory for a quarter of all objects of [`Load::Trace`].
    CachedQuarter,
    /// The same in front of an origin that takes a while, and whose answer expires.
    Expiring,
    /// Plain HTTP in front of one origin, whose answers are compressed.
    Compressed,
    /// A forward proxy; HAProxy, which is none, relays TCP to the origin instead.
    Forward,
}

/// How a proxy is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// wrk, 64 connections that stay open, a 1 KiB response, ten browser-like fields.
    KeepAlive,
    /// wrk, the same with one request per connection.
    NewConnections,
    /// `openssl s_time -new`: a full TLS 1.3 handshake and one request, over and over.
    Handshakes,
    /// Our client, 8 connections, GET of 10 MiB.
    Bulk,
    /// wrk, as [`Load::KeepAlive`], for a 1 KiB answer that the proxy keeps.
    SmallHits,
    /// Our client, 8 connections, GET of 100 KiB that the proxy keeps.
    MediumHits,
    /// Our client, the same with 1 MiB.
    LargeHits,
    /// Our client, as [`Load::KeepAlive`], a fixed number of requests for objects of which some
    /// are popular.
    Trace,
    /// Our client, so many that ask at once for what has expired.
    Stampede {
        /// How many.
        clients: usize,
    },
    /// wrk, as [`Load::KeepAlive`], for 100 KiB of text, in the one coding that the proxy offers.
    Text,
    /// Our client, 8 tunnels at a time, 10 MiB through each.
    Tunnels,
    /// Our client, the same by SOCKS5.
    SocksTunnels,
    /// Our client, 64 CONNECT tunnels at a time, each left as soon as it is open.
    NewTunnels,
    /// Our client, as [`Load::KeepAlive`], a connection for each of [`USERS`] users, 64 requests
    /// at a time.
    Users,
    /// wrk, as [`Load::KeepAlive`], over the routes to one of the groups of
    /// [`Face::ManyRoutes`].
    Routes,
    /// h2load, 16 connections × 16 streams over TLS, the same response and fields.
    Http2,
    /// Our client, requests on a fixed schedule at half of the highest rate of this one.
    HalfOf(Kind),
    /// Our client, one reload of a changed configuration after another.
    Reloads,
    /// Our client, few requests on a fixed schedule, beside one that floods the proxy with
    /// requests by HTTP/2 and cancels each at once.
    Flood,
    /// wrk, so many connections that make one request and then wait.
    Idle {
        /// How many.
        connections: u32,
    },
    /// Our client, so many CONNECT tunnels that carry a request and its answer and then wait.
    IdleTunnels {
        /// How many.
        connections: u32,
    },
    /// A program of ours that measures by itself what only we do.
    Example(Example),
    /// Our client, so many WebSockets that exchange a message and then wait.
    WebSockets {
        /// How many.
        connections: u32,
    },
}

/// An example of one of our crates that measures something and prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// Choosing among 10,000 exits.
    Choose,
    /// Lists of a million domains.
    ListLookup,
    /// What is kept of traces when there is room for a quarter.
    HitRatio,
    /// Purging a million answers.
    PurgeMillion,
}

/// The figure of a scenario; less is better in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// CPU time of the proxy per request, µs.
    CpuPerRequest,
    /// CPU time of the proxy per 10⁹ bytes of body, s.
    CpuPerGigabyte,
    /// CPU time of the proxy per 10⁶ bytes of body before they are compressed, ms.
    CpuPerMegabyte,
    /// Resident memory of the proxy per idle connection, KiB.
    MemoryPerConnection,
    /// Resident memory of the proxy after it was loaded, MiB.
    Memory,
    /// Memory that a table holds, MiB.
    TableMemory,
    /// Time of one call, ns.
    CallTime,
    /// Time of one purge, ms.
    PurgeTime,
    /// Requests that were no hits, for each of a cache that gives up what was least recently used.
    Misses,
    /// How often the origin was asked for what expired once, at most.
    Fetches,
    /// 99th percentile of the latency, µs.
    P99,
    /// The longest that a reload took, ms.
    SlowestReload,
}

/// What our figure should not exceed.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// So many times the rival's figure.
    Times(f64, Kind),
    /// This much, in the unit of the measure.
    AtMost(f64),
}

/// Routes of [`Face::ManyRoutes`].
pub const ROUTES: usize = 10_000;
/// Users of [`Face::ForwardUsers`].
pub const USERS: usize = 1000;
/// Groups of servers that they lead to.
pub const UPSTREAMS: usize = 100;

/// All scenarios, in the order of the table.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "reverse-1k",
        title: "reverse, 1 KiB, keep-alive",
        face: Face::Reverse,
        load: Load::KeepAlive,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[Target::Times(0.88, Kind::Nginx), Target::Times(0.78, Kind::Haproxy)],
    },
    Scenario {
        name: "reverse-1k-tls",
        title: "reverse, 1 KiB, keep-alive, TLS 1.3",
        face: Face::ReverseTls,
        load: Load::KeepAlive,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[Target::Times(0.85, Kind::Nginx)],
    },
    Scenario {
        name: "new-connection",
        title: "reverse, 1 KiB, connection per request",
        face: Face::Reverse,
        load: Load::NewConnections,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[Target::Times(1.00, Kind::Nginx)],
    },
    // A client's half of a handshake costs more than the server's, so a core full of clients
    // cannot fill the proxy's; CPU per handshake is what is compared.
    Scenario {
        name: "tls-handshake",
        title: "full TLS 1.3 handshake (P-256) and one request",
        face: Face::ReverseTls,
        load: Load::Handshakes,
        measure: Measure::CpuPerRequest,
        saturates: false,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[Target::Times(0.80, Kind::Nginx)],
    },
    Scenario {
        name: "reverse-10m",
        title: "reverse, 10 MiB",
        face: Face::Reverse,
        load: Load::Bulk,
        measure: Measure::CpuPerGigabyte,
        saturates: true,
        rivals: &[Kind::Nginx, Kind::Haproxy, Kind::HaproxySplicing],
        targets: &[Target::Times(0.50, Kind::Nginx), Target::Times(0.70, Kind::Haproxy)],
    },
    Scenario {
        name: "forward-1k",
        title: "forward, absolute-form GET, 1 KiB, keep-alive",
        face: Face::Forward,
        load: Load::KeepAlive,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::Squid],
        targets: &[Target::Times(0.25, Kind::Squid)],
    },
    Scenario {
        name: "connect-10m",
        title: "CONNECT, 10 MiB through each tunnel (HAProxy: `mode tcp`)",
        face: Face::Forward,
        load: Load::Tunnels,
        measure: Measure::CpuPerGigabyte,
        saturates: true,
        rivals: &[Kind::Haproxy, Kind::HaproxySplicing, Kind::Squid],
        targets: &[Target::Times(1.05, Kind::Haproxy), Target::Times(0.65, Kind::Squid)],
    },
    Scenario {
        name: "idle",
        title: "4000 idle keep-alive connections",
        face: Face::Reverse,
        load: Load::Idle { connections: 4000 },
        measure: Measure::MemoryPerConnection,
        saturates: false,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[Target::AtMost(1.0)],
    },
    Scenario {
        name: "idle-tls",
        title: "2000 idle keep-alive connections, TLS 1.3",
        face: Face::ReverseTls,
        load: Load::Idle { connections: 2000 },
        measure: Measure::MemoryPerConnection,
        saturates: false,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[Target::Times(0.50, Kind::Nginx)],
    },
    Scenario {
        name: "p99-half-rate",
        title: "reverse, 1 KiB, at half of nginx's highest rate",
        face: Face::Reverse,
        load: Load::HalfOf(Kind::Nginx),
        measure: Measure::P99,
        saturates: false,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[Target::Times(1.00, Kind::Nginx)],
    },
    Scenario {
        name: "h2-1k",
        title: "HTTP/2 over TLS 1.3, 1 KiB, 16 connections × 16 streams",
        face: Face::Http2,
        load: Load::Http2,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[Target::Times(0.95, Kind::Nginx), Target::Times(0.80, Kind::Haproxy)],
    },
    Scenario {
        name: "h2-h2c-1k",
        title: "the same, and HTTP/2 to the origin (nginx: HTTP/1.1)",
        face: Face::Http2Throughout,
        load: Load::Http2,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[Target::Times(0.75, Kind::Nginx)],
    },
    Scenario {
        name: "least-slow",
        title: "least requests, 4 servers of which one takes 50 ms, at half of HAProxy's highest rate",
        face: Face::LeastRequests,
        load: Load::HalfOf(Kind::Haproxy),
        measure: Measure::P99,
        saturates: false,
        rivals: &[Kind::Haproxy, Kind::Nginx],
        targets: &[Target::Times(1.00, Kind::Haproxy)],
    },
    Scenario {
        name: "routes-10k",
        title: "10,000 routes, 1 KiB, keep-alive",
        face: Face::ManyRoutes,
        load: Load::Routes,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::BifronsOneRoute],
        targets: &[Target::Times(1.05, Kind::BifronsOneRoute)],
    },
    Scenario {
        name: "routes-10k-memory",
        title: "10,000 routes, resident after load",
        face: Face::ManyRoutes,
        load: Load::Routes,
        measure: Measure::Memory,
        saturates: false,
        rivals: &[Kind::BifronsOneRoute],
        targets: &[Target::AtMost(40.0)],
    },
    Scenario {
        name: "idle-ws",
        title: "2000 idle WebSockets",
        face: Face::WebSockets,
        load: Load::WebSockets { connections: 2000 },
        measure: Measure::MemoryPerConnection,
        saturates: false,
        rivals: &[Kind::Nginx, Kind::Haproxy],
        targets: &[],
    },
    Scenario {
        name: "reload-10k",
        title: "the slowest reload with 10,000 routes, one of them changed",
        face: Face::ManyRoutes,
        load: Load::Reloads,
        measure: Measure::SlowestReload,
        saturates: false,
        rivals: &[],
        targets: &[Target::AtMost(100.0)],
    },
    Scenario {
        name: "flood",
        title: "reverse, 1 KiB, 2000 requests/s beside an HTTP/2 rapid reset at full speed",
        face: Face::Reverse,
        load: Load::Flood,
        measure: Measure::P99,
        saturates: false,
        rivals: &[Kind::BifronsUnharmed, Kind::Haproxy],
        targets: &[Target::Times(2.00, Kind::BifronsUnharmed)],
    },
    Scenario {
        name: "forward-users-1k",
        title: "forward, absolute-form GET, 1 KiB, 1,000 users with quotas, 40 rules (Squid: one ACL)",
        face: Face::ForwardUsers,
        load: Load::Users,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::Squid],
        targets: &[Target::Times(0.35, Kind::Squid)],
    },
    // Three and five times as many tunnels for a second of CPU.
    Scenario {
        name: "connect-new",
        title: "CONNECT, a new tunnel each time",
        face: Face::Forward,
        load: Load::NewTunnels,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::Squid, Kind::Tinyproxy],
        targets: &[
            Target::Times(1.0 / 3.0, Kind::Squid),
            Target::Times(1.0 / 5.0, Kind::Tinyproxy),
        ],
    },
    Scenario {
        name: "socks5-bulk",
        title: "SOCKS5, 10 MiB through each tunnel",
        face: Face::Socks,
        load: Load::SocksTunnels,
        measure: Measure::CpuPerGigabyte,
        saturates: true,
        rivals: &[Kind::Dante],
        targets: &[Target::Times(0.80, Kind::Dante)],
    },
    Scenario {
        name: "idle-tunnels",
        title: "5,000 idle CONNECT tunnels",
        face: Face::Forward,
        load: Load::IdleTunnels { connections: 5000 },
        measure: Measure::MemoryPerConnection,
        saturates: false,
        rivals: &[Kind::Squid, Kind::Tinyproxy],
        targets: &[Target::AtMost(4.0)],
    },
    Scenario {
        name: "exits-10k",
        title: "the slowest kind of choice among 10,000 exits with labels",
        face: Face::Forward,
        load: Load::Example(Example::Choose),
        measure: Measure::CallTime,
        saturates: false,
        rivals: &[],
        targets: &[Target::AtMost(2000.0)],
    },
    Scenario {
        name: "lists-1m",
        title: "a list of a million domains, the slowest kind of look-up",
        face: Face::Forward,
        load: Load::Example(Example::ListLookup),
        measure: Measure::CallTime,
        saturates: false,
        rivals: &[],
        targets: &[Target::AtMost(1000.0)],
    },
    Scenario {
        name: "lists-1m-memory",
        title: "a list of a million domains, what it holds",
        face: Face::Forward,
        load: Load::Example(Example::ListLookup),
        measure: Measure::TableMemory,
        saturates: false,
        rivals: &[],
        targets: &[Target::AtMost(60.0)],
    },
    Scenario {
        name: "cache-hit-1k",
        title: "hit in memory, 1 KiB, keep-alive",
        face: Face::Cached,
        load: Load::SmallHits,
        measure: Measure::CpuPerRequest,
        saturates: true,
        rivals: &[Kind::Nginx, Kind::Haproxy, Kind::Varnish, Kind::Squid],
        targets: &[Target::Times(0.78, Kind::Haproxy), Target::Times(0.50, Kind::Varnish)],
    },
    // So many times the best of them: what holds for each holds for that one. Bytes of hits are
    // sent faster than anybody takes them, so the proxy's core need not be full.
    Scenario {
        name: "cache-hit-100k",
        title: "hit in memory, 100 KiB, keep-alive",
        face: Face::Cached,
        load: Load::MediumHits,
        measure: Measure::CpuPerGigabyte,
        saturates: false,
        rivals: &[Kind::Nginx, Kind::Haproxy, Kind::Varnish, Kind::Squid],
        targets: &[
            Target::Times(0.90, Kind::Nginx),
            Target::Times(0.90, Kind::Haproxy),
            Target::Times(0.90, Kind::Varnish),
            Target::Times(0.90, Kind::Squid),
        ],
    },
    // One object, which a process before this one has kept: the file is in the page cache of the
    // system, and what is compared is how its bytes get into the socket.
    Scenario {
        name: "cache-disk-1m",
        title: "hit on the disk, 1 MiB, keep-alive",
        face: Face::CachedOnDisk,
        load: Load::LargeHits,
        measure: Measure::CpuPerGigabyte,
        saturates: false,
        rivals: &[Kind::Nginx],
        targets: &[Target::Times(1.00, Kind::Nginx)],
    },
    // A miss takes as much of the load's core, which has the origin too, as of the proxy's.
    Scenario {
        name: "cache-zipf",
        title: "a million objects by popularity (Zipf 0.9), memory for a quarter",
        face: Face::CachedQuarter,
        load: Load::Trace,
        measure: Measure::CpuPerRequest,
        saturates: false,
        rivals: &[Kind::Varnish],
        targets: &[],
    },
    Scenario {
        name: "cache-policy",
        title: "misses of traces beside those of LRU, the worst of six",
        face: Face::CachedQuarter,
        load: Load::Example(Example::HitRatio),
        measure: Measure::Misses,
        saturates: false,
        rivals: &[],
        targets: &[Target::AtMost(1.0)],
    },
    Scenario {
        name: "cache-stampede",
        title: "an object that expires, and 1,000 clients who ask for it at once",
        face: Face::Expiring,
        load: Load::Stampede { clients: 1000 },
        measure: Measure::Fetches,
        saturates: false,
        rivals: &[Kind::Nginx, Kind::Haproxy, Kind::Varnish],
        targets: &[Target::AtMost(1.0)],
    },
    Scenario {
        name: "cache-purge-1m",
        title: "a million answers purged by one tag",
        face: Face::Cached,
        load: Load::Example(Example::PurgeMillion),
        measure: Measure::PurgeTime,
        saturates: false,
        rivals: &[],
        targets: &[Target::AtMost(1000.0)],
    },
    Scenario {
        name: "gzip",
        title: "100 KiB of text, gzip at level 6 (zstd at 3, br at 5)",
        face: Face::Compressed,
        load: Load::Text,
        measure: Measure::CpuPerMegabyte,
        saturates: true,
        rivals: &[Kind::Nginx, Kind::BifronsZstd, Kind::BifronsBrotli, Kind::NginxBrotli],
        targets: &[],
    },
];

impl Scenario {
    /// Who is measured, ours first if it takes part.
    pub fn proxies(&self, with_ours: bool) -> impl Iterator<Item = Kind> {
        [Kind::Bifrons]
            .into_iter()
            .chain(self.rivals.iter().copied())
            .filter(move |kind| with_ours || !kind.is_ours())
    }
}

impl Face {
    /// Whether its clients speak TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::ReverseTls | Self::Http2 | Self::Http2Throughout)
    }

    /// Whether answers are kept.
    pub fn is_cache(self) -> bool {
        matches!(self, Self::Cached | Self::CachedOnDisk | Self::CachedQuarter | Self::Expiring)
    }

    /// Whether its clients speak HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Throughout)
    }
}

impl Measure {
    /// The unit of the figure.
    pub fn unit(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "µs/req",
            Self::CpuPerGigabyte => "s/GB",
            Self::CpuPerMegabyte => "ms/MB",
            Self::MemoryPerConnection => "KiB",
            Self::Memory | Self::TableMemory => "MiB",
            Self::CallTime => "ns",
            Self::P99 => "µs",
            Self::SlowestReload | Self::PurgeTime => "ms",
            Self::Misses => "× LRU",
            Self::Fetches => "fetches",
        }
    }
}
