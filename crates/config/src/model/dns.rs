//! How names are resolved.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::{Span, Spanned};

/// How names are resolved, on both faces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dns {
    /// Whom to ask; empty: the name servers of the system.
    pub servers: Vec<NameServer>,
    /// Names whose addresses are written in the configuration. They come before all others, the
    /// hosts file of the system included.
    pub hosts: Vec<HostsEntry>,
    /// Which family is tried first, where a pool of exits says nothing else.
    pub prefer: FamilyPreference,
}

impl Dns {
    /// Where these servers are asked, by UDP and TCP, and nothing else is said.
    #[must_use]
    pub fn asking(servers: &[SocketAddr]) -> Self {
        let server = |address: &SocketAddr| NameServer {
            address: *address,
            protocol: NameServerProtocol::Plain,
            ca: None,
            span: Span::from(0..0),
        };
        Self { servers: servers.iter().map(server).collect(), ..Self::default() }
    }
}

/// One name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is spoken to.
    pub protocol: NameServerProtocol,
    /// Authorities that its certificate may come from, instead of the system's (PEM file). Only
    /// of servers that are spoken to by TLS.
    pub ca: Option<Spanned<PathBuf>>,
    /// Where it stands.
    pub span: Span,
}

/// How a name server is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameServerProtocol {
    /// UDP, and TCP for what does not fit (RFC 7766). Default port 53.
    Plain,
    /// DNS over TLS (RFC 7858). Default port 853.
    Tls {
        /// The name (or address) that its certificate has to show.
        name: String,
    },
    /// DNS over HTTPS (RFC 8484). Default port 443.
    Https {
        /// The name (or address) that its certificate has to show.
        name: String,
        /// Path of the URL, `/dns-query` as a rule.
        path: String,
    },
}

/// A name whose addresses are written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsEntry {
    /// Lower case, IDNA-encoded, no trailing dot.
    pub name: String,
    /// At least one.
    pub addresses: Vec<IpAddr>,
    /// Where it stands.
    pub span: Span,
}

/// Which addresses of a name are tried, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FamilyPreference {
    /// As the resolver gives them; families take turns (RFC 8305).
    #[default]
    Any,
    /// IPv4 first.
    Ipv4First,
    /// IPv6 first.
    Ipv6First,
    /// IPv4 only.
    Ipv4Only,
    /// IPv6 only.
    Ipv6Only,
}
