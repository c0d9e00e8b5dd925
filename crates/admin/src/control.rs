//! What the admin listener asks of the proxy.

use std::net::SocketAddr;

use serde::Serialize;

/// The running proxy, as the admin listener sees it. Called on the admin thread, for each
/// request once; it may take a lock but must not wait for anything long.
pub trait Control: Send + Sync {
    /// The text format of Prometheus.
    fn metrics(&self) -> String;

    /// What it is and does.
    fn status(&self) -> Status;

    /// Whether it has stopped to accept and only finishes what runs.
    fn draining(&self) -> bool;

    /// Does or tells what is asked, and says what came of it. Called on a thread beside the admin
    /// thread, for as long as it takes.
    ///
    /// # Errors
    /// Why nothing was done.
    fn perform(&self, action: &Action) -> Result<Reply, Problem> {
        let _ = action;
        Err(Problem::new(ProblemKind::Unavailable, "this server cannot be changed"))
    }
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Say what would become of a request; nothing changes. What is asked is for the program to
    /// read.
    Explain(serde_json::Value),
    /// Read the configuration again.
    Reload,
    /// Start the program anew, hand the sockets over, and end when what runs is finished.
    Upgrade,
    /// Change a server of a group of servers.
    ChangeServer {
        /// The name of the group.
        upstream: String,
        /// The URL of the server.
        server: String,
        /// What about it.
        change: ServerChange,
    },
    /// Read files again that have changed.
    Refresh,
    /// Tell of exits.
    Exits {
        /// Only of this pool.
        pool: Option<String>,
    },
    /// Tell of sessions.
    Sessions {
        /// Only of this pool.
        pool: Option<String>,
        /// Only of this user.
        user: Option<String>,
    },
    /// End a session.
    EndSession {
        /// Its pool.
        pool: String,
        /// Whose it is; may be empty.
        user: String,
        /// What the client calls it.
        id: String,
    },
    /// Tell of bans.
    Bans {
        /// Only of this exit.
        exit: Option<String>,
    },
    /// Ban an exit.
    Ban {
        /// Its name, or `pool/name`.
        exit: String,
        /// For this target host only.
        host: Option<String>,
        /// For so long.
        seconds: u64,
    },
    /// End bans of an exit.
    Unban {
        /// Its name, or `pool/name`.
        exit: String,
        /// For this target host only; `None`: all.
        host: Option<String>,
    },
    /// Tell of users, and what each has used and has left.
    Users {
        /// Only of this set.
        set: Option<String>,
        /// Only the one of this name.
        user: Option<String>,
    },
    /// Add a user to the database of a set.
    AddUser {
        /// The name of the set.
        set: String,
        /// Who it is; for the program to read.
        user: serde_json::Value,
    },
    /// Change a user in the database of a set.
    ChangeUser {
        /// The name of the set.
        set: String,
        /// The name of the user.
        user: String,
        /// What becomes otherwise; for the program to read.
        changes: serde_json::Value,
    },
    /// Remove a user from the database of a set.
    RemoveUser {
        /// The name of the set.
        set: String,
        /// The name of the user.
        user: String,
    },
    /// Let what a user has used of its day and its month count no more.
    ResetUser {
        /// The name of the set.
        set: String,
        /// The name of the user.
        user: String,
    },
    /// Tell what was used.
    Usage(UsageAsked),
    /// Tell how many credentials were wrong.
    Attempts,
    /// Tell what the cache has, and what it did.
    Cache,
    /// Tell what is kept for a URL.
    CacheEntry {
        /// The URL.
        url: String,
    },
    /// Tell which answers are given most often.
    CacheTop {
        /// At most so many.
        limit: usize,
    },
    /// Purge.
    PurgeCache {
        /// What.
        what: CachePurge,
        /// It stays, but is stale.
        soft: bool,
    },
}

/// Which answers are purged, as it was asked; the program reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePurge {
    /// Those to this URL.
    Url(String),
    /// Those to URLs that begin like this.
    Prefix(String),
    /// Those with this tag.
    Tag(String),
    /// Those of this host.
    Host(String),
    /// All.
    All,
}

/// Which usage is asked for, as the query has it; words and days are for the program to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageAsked {
    /// Only of users of this set.
    pub set: Option<String>,
    /// Only of this user.
    pub user: Option<String>,
    /// Only through this exit.
    pub exit: Option<String>,
    /// Only to this host.
    pub target: Option<String>,
    /// Only from this day on.
    pub from: Option<String>,
    /// Only until this day, inclusive.
    pub to: Option<String>,
    /// A row for each of what these words say.
    pub by: Vec<String>,
    /// At most so many rows.
    pub limit: Option<u32>,
    /// Whether CSV is wanted.
    pub csv: bool,
}

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// As JSON.
    Json(serde_json::Value),
    /// As CSV (RFC 4180), with a line of names.
    Csv(String),
}

impl From<serde_json::Value> for Reply {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value)
    }
}

/// What can be changed about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerChange {
    /// It gets nothing new.
    Drain,
    /// It gets its share again.
    Undrain,
    /// This share.
    Weight(u32),
    /// It joins the group.
    Add,
    /// It leaves the group.
    Remove,
    /// All is as the configuration says.
    Reset,
}

/// Why something that was asked for was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind of reason.
    pub kind: ProblemKind,
    /// In words, of several lines where need be.
    pub message: String,
    /// What can be done about it, where that is not plain.
    pub remedy: Option<String>,
}

impl Problem {
    /// A problem that needs no more words.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None }
    }

    /// The same, with what can be done about it.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// Kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// What is to be used is not as it should be: a configuration with errors, a user's name.
    Invalid,
    /// There is no such thing.
    Unknown,
    /// Not now.
    Unavailable,
    /// It was tried, and went wrong.
    Failed,
}

/// What a proxy is and does; its JSON is what `/api/v1/status` answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Generation of the configuration.
    pub generation: u64,
    /// Worker cores.
    pub threads: usize,
    /// See [`Control::draining`].
    pub draining: bool,
    /// Connections of clients that are open.
    pub connections: ByFace,
    /// Requests that are being served.
    pub requests_in_flight: ByFace,
    /// Tunnels that are open.
    pub tunnels: u64,
    /// Sockets listened on.
    pub listeners: Vec<ListenerStatus>,
    /// Sites of the reverse face.
    pub sites: Vec<SiteStatus>,
    /// Groups of servers.
    pub upstreams: Vec<UpstreamStatus>,
}

/// A number for each face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ByFace {
    /// Of the reverse face.
    pub reverse: u64,
    /// Of the forward face.
    pub forward: u64,
}

/// A socket listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListenerStatus {
    /// Address and port.
    pub address: SocketAddr,
    /// `reverse` or `forward`.
    pub face: &'static str,
    /// Whether TLS is spoken.
    pub tls: bool,
}

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiteStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is served.
    pub listen: Vec<SocketAddr>,
    /// Its routes as written.
    pub routes: Vec<String>,
}

/// A group of servers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UpstreamStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its servers; a name has one for each of its addresses.
    pub servers: Vec<ServerStatus>,
    /// Requests that wait for a place.
    pub queued: usize,
    /// Whether its circuit breaker lets nothing or only trials through.
    pub circuit_open: bool,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerStatus {
    /// As in the configuration: `http://app.internal:8080`.
    pub url: String,
    /// Where it is; empty while that is not known.
    pub addresses: Vec<SocketAddr>,
    /// How it is: `well`, `draining`, `ill`, `ejected`, `backing off` or `unresolved`.
    pub state: &'static str,
    /// Why, where that is known.
    pub why: Option<String>,
    /// Its share.
    pub weight: u32,
    /// Whether it is used only when none but backups are left.
    pub backup: bool,
    /// Requests under way.
    pub in_flight: u32,
    /// Requests since it is known.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Mean time to the head of a response, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Whether it can be switched off: it gets no new requests, and has none.
    pub safe_to_stop: bool,
}
