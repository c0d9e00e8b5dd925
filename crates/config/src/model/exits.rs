//! Exits: the ways by which a connection leaves, and pools of them.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{FamilyPreference, ListSource, ServerHost, Span, Spanned};

/// A country by its two letters of ISO 3166-1, in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// Two ASCII letters in any case; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII letters get in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A named pool of exits.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitPool {
    /// Its name.
    pub name: String,
    /// At least one. Own exits come first; pools among them are tried in their order where none
    /// of the exits before can take a request (a waterfall).
    pub exits: Vec<Exit>,
    /// When another exit is chosen. Default: per request.
    pub rotate: Rotate,
    /// Which one. Default: each in turn, by weight.
    pub choose: ChooseExit,
    /// Sessions that clients ask for by name.
    pub sessions: ExitSessions,
    /// How user names carry wishes. Default: native.
    pub dialect: Dialect,
    /// Whether exits are measured.
    pub health: Option<ExitHealth>,
    /// What bans an exit. All that fit take effect.
    pub bans: Vec<BanRule>,
    /// How many exits a request tries at most. Default 3.
    pub attempts: u32,
    /// Connections and requests at once through one exit. `None`: no limit.
    pub max_per_exit: Option<u32>,
    /// The same to one target host through one exit.
    pub max_per_host: Option<u32>,
    /// How fast an exit may be used. `None`: as fast as requests come.
    pub pacing: Option<Pacing>,
    /// An exit serves one user and session at a time, for as long as anything of it is open.
    pub exclusive: bool,
    /// Where names are resolved. Default: `Exit` for parents that take names and do not run on this
    /// machine, else `Here`.
    pub resolve: Option<ResolveAt>,
    /// Which addresses of a target are tried, where names are resolved here.
    pub prefer: Option<FamilyPreference>,
    /// Where it stands.
    pub span: Span,
}

impl ExitPool {
    /// A pool of these exits where nothing else is said.
    #[must_use]
    pub fn new(name: &str, exits: Vec<Exit>, span: Span) -> Self {
        Self {
            name: name.to_owned(),
            exits,
            rotate: Rotate::PerRequest,
            choose: ChooseExit::RoundRobin,
            sessions: ExitSessions::default(),
            dialect: Dialect::Native,
            health: None,
            bans: Vec::new(),
            attempts: 3,
            max_per_exit: None,
            max_per_host: None,
            pacing: None,
            exclusive: false,
            resolve: None,
            prefer: None,
            span,
        }
    }
}

/// One way out, or many of a kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// Its name, for wishes, logs and the API: written, or made from what it is.
    pub name: String,
    /// What it is.
    pub kind: ExitKind,
    /// What is known of it.
    pub labels: ExitLabels,
    /// Its share among the others. Default 1.
    pub weight: u32,
    /// Connections and requests at once, where it differs from the pool's.
    pub max: Option<u32>,
    /// Where it stands.
    pub span: Span,
}

impl Exit {
    /// An exit of which nothing else is known.
    #[must_use]
    pub fn new(name: &str, kind: ExitKind, span: Span) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            labels: ExitLabels::default(),
            weight: 1,
            max: None,
            span,
        }
    }
}

/// What an exit is.
#[derive(Debug, Clone, PartialEq)]
pub enum ExitKind {
    /// From this machine, from the address that the system chooses.
    Direct,
    /// From this address of ours.
    Address(IpAddr),
    /// From any address of a network that is routed to this machine (`IP_FREEBIND`).
    Prefix {
        /// The network.
        net: IpNet,
        /// Which address.
        pick: PrefixPick,
    },
    /// Through parent proxies, the nearest first. At least one.
    Chain(Vec<ExitHop>),
    /// Through each of the parents that a list names: one exit each. A line is
    /// `host:port`, `host:port:user:password` or a URL.
    List {
        /// The list.
        source: Spanned<ListSource>,
        /// What lines without a scheme are.
        scheme: HopProtocol,
    },
    /// Another pool (index into [`super::Config::exits`]).
    Pool(usize),
}

/// Which address of a prefix a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixPick {
    /// Any, each time.
    Random,
    /// The same for the same session (or user, where there is none).
    Session,
    /// The same for the same target host.
    Host,
}

/// A parent proxy.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ExitHop {
    /// What it speaks.
    pub protocol: HopProtocol,
    /// Where it is: an address or a name.
    pub host: ServerHost,
    /// Its port.
    pub port: u16,
    /// User name and password that we show it. Nothing that a client shows is ever sent there.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for ExitHop {
    /// Never shows the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitHop")
            .field("protocol", &self.protocol)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("credentials", &self.credentials.as_ref().map(|_| "…"))
            .finish()
    }
}

/// What a parent proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HopProtocol {
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS4 with names (4a).
    Socks4a,
    /// SOCKS5; names are resolved here.
    Socks5,
    /// SOCKS5; the parent resolves names.
    Socks5h,
}

/// What is known of an exit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExitLabels {
    /// The country. Where nothing is written, that of the address, if a GeoIP database knows it.
    pub country: Option<Country>,
    /// The state or province: lower case, words joined by `_`, without the country.
    pub state: Option<String>,
    /// The city: lower case, words joined by `_`.
    pub city: Option<String>,
    /// The postal code: lower case.
    pub zip: Option<String>,
    /// The autonomous system.
    pub asn: Option<u32>,
    /// What 10⁹ bytes cost, in millionths of the unit of money.
    pub price: Option<u64>,
    /// Words by which it can be wished for.
    pub tags: Vec<String>,
}

impl ExitLabels {
    /// The one form in which states, cities, postal codes and tags are compared: lower case, words
    /// joined by `_`; marks within a word are left out (`St. John's` is `st_johns`).
    #[must_use]
    pub fn word(text: &str) -> String {
        let mut word = String::with_capacity(text.len());
        for char in text.chars().flat_map(char::to_lowercase) {
            if char.is_alphanumeric() {
                word.push(char);
            } else if !matches!(char, '.' | '\'' | '’') && !word.is_empty() && !word.ends_with('_')
            {
                word.push('_');
            }
        }
        word.truncate(word.trim_end_matches('_').len());
        word
    }
}

/// When another exit is chosen, for whoever asks for no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    /// For every request, also within one connection; for every tunnel.
    PerRequest,
    /// For every connection of a client.
    PerConnection,
    /// For every user, after this time.
    After(Duration),
    /// For every user, after so many requests.
    Every(u32),
}

/// Which exit is chosen among those that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChooseExit {
    /// Each in turn, by weight.
    RoundRobin,
    /// Any, by weight.
    Random,
    /// The one with the least under way for its weight.
    LeastUsed,
}

/// Sessions: the same exit for the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitSessions {
    /// How long a session lasts from its first request where the client says nothing.
    /// Default 10 min.
    pub ttl: Duration,
    /// The longest that a client may ask for. Default 24 h.
    pub max_ttl: Duration,
    /// A session that nobody used for so long ends. `None`: only `ttl` counts.
    pub idle: Option<Duration>,
    /// Sessions fail instead of moving when their exit is gone, whatever the client asks for.
    pub strict: bool,
    /// Sessions that one user has at once. Default 10 000.
    pub max_per_user: u32,
}

impl Default for ExitSessions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(600),
            max_ttl: Duration::from_secs(24 * 3600),
            idle: None,
            strict: false,
            max_per_user: 10_000,
        }
    }
}

/// How user names (and passwords) carry wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `alice-country-ca-city-toronto-session-abc-ttl-10m-strict`.
    Native,
    /// Decodo (formerly Smartproxy).
    Decodo,
    /// Bright Data (formerly Luminati).
    BrightData,
    /// Oxylabs.
    Oxylabs,
    /// IPRoyal: in the password.
    IpRoyal,
}

/// How exits are measured: each fetches this target, whose answer is the address that it saw
/// (as text or JSON).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitHealth {
    /// `http` or `https` URL.
    pub target: String,
    /// How often. Default 30 s.
    pub every: Duration,
    /// How long it may take. Default 10 s.
    pub timeout: Duration,
    /// Failures in a row that make an exit ill. Default 2.
    pub fall: u32,
    /// Successes in a row that make it well. Default 1.
    pub rise: u32,
    /// Where it stands.
    pub span: Span,
}

/// What bans an exit, for how long and where.
#[derive(Debug, Clone, PartialEq)]
pub struct BanRule {
    /// Any of these.
    pub signs: Vec<BanSign>,
    /// Signs within `within` that are needed. Default 1.
    pub count: u32,
    /// See `count`. Default 1 min.
    pub within: Duration,
    /// How long. Default 10 min. Every further ban of the same exit doubles it, up to 16 times;
    /// a time as long without one halves it again.
    pub time: Duration,
    /// Where.
    pub scope: BanScope,
    /// Where it stands.
    pub span: Span,
}

/// Where an exit is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanScope {
    /// For the target host that the sign came from.
    Host,
    /// For all.
    Exit,
}

/// A sign that an exit is banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanSign {
    /// A status, of answers that are not tunnelled.
    Status(u16),
    /// Text in the first 64 KiB of an answer's body, as it is on the wire.
    Body(String),
    /// A field of an answer, perhaps with text that its value contains.
    Header {
        /// Field name, lower case.
        name: String,
        /// What the value contains, case-insensitively; `None`: it is there.
        contains: Option<String>,
    },
    /// The connection ended or was reset, or TLS failed, before the target sent its first byte.
    Reset,
    /// The first byte took longer than this.
    Slower(Duration),
    /// The exit could not be connected through.
    Unreachable,
}

/// How fast an exit may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// From the beginning of one request through an exit to that of the next.
    pub gap: Duration,
    /// Counted for each target host by itself.
    pub per_host: bool,
    /// How long a request waits for an exit that may be used again, before it is refused.
    /// Default 10 s.
    pub wait: Duration,
    /// Whether `Retry-After` of a target closes an exit for it until then. Default true.
    pub retry_after: bool,
}

/// Where names are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResolveAt {
    /// By us: rules see the address, and the exit is given the address.
    Here,
    /// By the exit: it is given the name.
    Exit,
}
