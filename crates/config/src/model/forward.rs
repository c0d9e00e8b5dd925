//! The forward face: listeners, rules about targets, and what is done with what they let through.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::{CacheRules, Country, Hours, Limits, SiteTls, Span, Spanned, Timeouts};

/// A listener of the forward face.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// As written, for logs.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// TLS to the proxy itself, besides plain: the first byte decides.
    pub tls: Option<SiteTls>,
    /// Where connections are when they come in.
    pub transparent: Option<Transparent>,
    /// Who may use it; `None`: no credentials are asked for.
    pub auth: Option<ForwardAuthentication>,
    /// Client addresses that may use it; empty: any.
    pub clients: Vec<IpNet>,
    /// What the far end learns.
    pub anonymity: Anonymity,
    /// Ports that CONNECT and SOCKS may reach, inclusive. Default: 80, 443, 1024-65535.
    pub ports: Vec<(u16, u16)>,
    /// Rules about targets, in the order of the file: the first that matches decides.
    pub rules: Vec<TargetRule>,
    /// The way out, where no rule says another.
    pub exit: WayOut,
    /// Ports, inclusive, of the same address that it listens on besides: each of them is a
    /// session of its own.
    pub sticky_ports: Option<(u16, u16)>,
    /// How errors are told.
    pub skin: Skin,
    /// Whether clients are told which exit and session they have, in fields of answers.
    pub disclose: bool,
    /// SOCKS5 UDP ASSOCIATE (RFC 1928 §7). Default off.
    pub udp: bool,
    /// SOCKS5 BIND. Default off.
    pub bind: bool,
    /// A PAC file, where one is served.
    pub pac: Option<Pac>,
    /// TLS that is opened, where any is.
    pub intercept: Option<Intercept>,
    /// Whether answers to plain requests, and inside opened TLS, are kept: of those that leave
    /// straight, by no exit.
    pub cache: Option<CacheRules>,
    /// Peers that must begin with a PROXY protocol header; from all others none is taken.
    pub proxy_protocol: Vec<IpNet>,
    /// Whether HTTP/2 is spoken, as with sites.
    pub http2: bool,
    /// What a client may send.
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Where it stands.
    pub span: Span,
}

impl Forward {
    /// A listener where nothing is said: open, and straight from this machine.
    #[must_use]
    pub fn new(listen: SocketAddr, limits: Limits, timeouts: Timeouts, span: Span) -> Self {
        Self {
            name: listen.to_string(),
            listen,
            tls: None,
            transparent: None,
            auth: None,
            clients: Vec::new(),
            anonymity: Anonymity::Anonymous,
            ports: Self::DEFAULT_PORTS.to_vec(),
            rules: Vec::new(),
            exit: WayOut::Direct,
            sticky_ports: None,
            skin: Skin::Native,
            disclose: false,
            udp: false,
            bind: false,
            pac: None,
            intercept: None,
            cache: None,
            proxy_protocol: Vec::new(),
            http2: true,
            limits,
            timeouts,
            span,
        }
    }

    /// What it listens on besides [`Forward::listen`]: an address for each sticky port.
    pub fn sticky_addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let ip = self.listen.ip();
        let ports = self.sticky_ports.map(|(low, high)| low..=high);
        ports.into_iter().flatten().map(move |port| SocketAddr::new(ip, port))
    }

    /// Ports that are open where nothing is said.
    pub const DEFAULT_PORTS: [(u16, u16); 3] = [(80, 80), (443, 443), (1024, 65535)];
}

/// What the far end learns of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymity {
    /// `Via`, and the address in `X-Forwarded-For`.
    Transparent,
    /// `Via`, but no address.
    Anonymous,
    /// Nothing tells that there is a proxy.
    Elite,
}

/// Whether a rule lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Lets through; an address or a network even into ranges that are closed by default.
    Allow,
    /// Refuses.
    Deny,
}

/// A rule about targets. It fits a request of which everything is true that it says.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetRule {
    /// What it says.
    pub verdict: Verdict,
    /// Any of these.
    pub targets: Vec<TargetPattern>,
    /// And any of these ports, inclusive; empty: all.
    pub ports: Vec<(u16, u16)>,
    /// And what else is said.
    pub context: RuleContext,
    /// The way out for what it lets through, if not that of the listener. Only of listeners.
    pub exit: Option<WayOut>,
    /// Where it stands.
    pub span: Span,
}

impl TargetRule {
    /// A rule about targets alone.
    #[must_use]
    pub fn new(verdict: Verdict, targets: Vec<TargetPattern>, span: Span) -> Self {
        Self {
            verdict,
            targets,
            ports: Vec::new(),
            context: RuleContext::default(),
            exit: None,
            span,
        }
    }
}

/// What a rule says besides the target. What is empty is true of everything.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuleContext {
    /// Any of these methods (`CONNECT` for tunnels, those of SOCKS included).
    pub methods: Vec<String>,
    /// Any of these users.
    pub users: Vec<String>,
    /// `User-Agent` matches any of these regular expressions. A request without one fits none.
    pub agents: Vec<Spanned<String>>,
    /// The target is in any of these countries, by the GeoIP databases and the address.
    pub countries: Vec<Country>,
    /// It is any of these times.
    pub hours: Vec<Hours>,
    /// The answer is of any of these types (`video/*`, `text/html`). Only of plain answers, and
    /// of intercepted ones: a rule with types says nothing about a request.
    pub types: Vec<String>,
}

impl RuleContext {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPattern {
    /// Every target.
    Any,
    /// Addresses: compared with the target if it is one, and with what its name resolves to.
    Net(IpNet),
    /// `example.com`: the name and all its subdomains. Lower case, IDNA-encoded, no
    /// trailing dot.
    Domain(String),
    /// `*.example.com`: the subdomains only. Stored as `.example.com`.
    Subdomains(String),
    /// A regular expression, searched for in the name (lower case, IDNA-encoded).
    Regex(Spanned<String>),
    /// A list of domains: one a line, in the form of a hosts file, or of Adblock domain rules.
    List(Spanned<ListSource>),
}

/// Where a list comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListSource {
    /// A file, read again when it has changed.
    File(PathBuf),
    /// An `http` or `https` URL, fetched when we start and then every so often. The last good
    /// copy is kept in the state folder.
    Url {
        /// The URL.
        url: String,
        /// How often. Default 1 h.
        every: Duration,
    },
}

impl ListSource {
    /// The file to read: that of the list, or the copy of what the URL gave, in the state folder.
    #[must_use]
    pub fn path(&self, state: Option<&Path>) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Url { url, .. } => {
                // FNV-1a: a name for the copy that stays the same from release to release.
                let hash = url.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
                });
                let name = format!("{hash:016x}.txt");
                state.unwrap_or_else(|| Path::new(".")).join("lists").join(name)
            }
        }
    }
}

/// A way out of the forward face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// From this machine.
    Direct,
    /// By a pool (index into [`super::Config::exits`]).
    Pool(usize),
}

/// Who may use a listener, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardAuthentication {
    /// Index into [`super::Config::users`].
    pub users: usize,
    /// What is asked for, in the order in which it is offered. At least one.
    pub schemes: Vec<AuthScheme>,
    /// Told to clients.
    pub realm: String,
}

/// How credentials are shown (RFC 9110 §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    /// RFC 7617.
    Basic,
    /// RFC 7616, with SHA-256 and MD5. Only for users whose password is written as it is.
    Digest,
}

/// Connections that clients do not know to be proxied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transparent {
    /// Netfilter `REDIRECT`: the target is what `SO_ORIGINAL_DST` says.
    Redirect,
    /// Netfilter `TPROXY`: the target is the local address of the connection.
    Tproxy,
}

/// How errors are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skin {
    /// Our statuses, and `Proxy-Status` (RFC 9209).
    Native,
    /// `x-brd-err-code`, `x-brd-error` and their statuses.
    BrightData,
    /// `X-Error-Description` and their statuses.
    Oxylabs,
    /// The statuses 590 to 599.
    Apify,
}

/// A PAC file, served to requests in origin form for `/proxy.pac` and `/wpad.dat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pac {
    /// What browsers are told to use, `host:port`; `None`: the name and port that they asked.
    pub proxy: Option<String>,
    /// Whether they are to speak TLS to it.
    pub secure: bool,
    /// Targets that they are to go to by themselves.
    pub direct: Vec<TargetPattern>,
    /// Whether they may go by themselves where the proxy does not answer.
    pub fallback_direct: bool,
}

/// TLS that is opened: the client sees a certificate of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Intercept {
    /// Certificate and key of the authority; `None`: those that `bifrons ca init` put into the
    /// state folder.
    pub authority: Option<super::CertificateFiles>,
    /// Targets whose TLS is opened; empty: all.
    pub hosts: Vec<TargetPattern>,
    /// Targets whose TLS passes unchanged nevertheless.
    pub except: Vec<TargetPattern>,
    /// More authorities that the certificates of servers may come from (PEM).
    pub trust: Vec<Spanned<PathBuf>>,
    /// Leaf certificates kept at most. Default 1000.
    pub certificates: u32,
    /// Where it stands.
    pub span: Span,
}
