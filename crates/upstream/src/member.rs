//! The servers of a group as they are known at a moment.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::{HealthCheck, Scheme, Server, ServerHost, ServerProtocol};
use net::resolver::DnsError;

use crate::endpoint::Endpoint;
use crate::health::Health;

/// Weights beyond this are cut: products of those of records and of the configuration.
pub(crate) const MAX_WEIGHT: u32 = 100_000;

/// A server of a group: an address, or one of those that a name has.
#[derive(Debug)]
pub struct Member {
    /// What it is, with the host and port that an SRV record named.
    pub server: Server,
    /// `host[:port]` as `Host` has it.
    pub authority: String,
    /// The name that TLS asks for and verifies, unless the group says otherwise.
    pub(crate) tls_host: String,
    /// What all groups and cores share.
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) health: Option<Arc<Health>>,
    /// As it was written, for the operator.
    pub(crate) written: Arc<str>,
    /// Its share; 0: sticky clients only.
    pub(crate) weight: u32,
    /// Lower ones come first: priority, and backups after all others.
    pub(crate) tier: u32,
    /// It gets no new clients.
    pub(crate) draining: bool,
    /// Its identity, the same everywhere.
    pub(crate) id: u64,
    /// The value of its sticky cookie; empty without.
    pub(crate) cookie: String,
}

impl Member {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    /// What all groups and cores know of it.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// What its checks have found out, if it is checked.
    #[must_use]
    pub fn health(&self) -> Option<&Arc<Health>> {
        self.health.as_ref()
    }
}

/// All servers of a group.
#[derive(Debug, Default)]
pub struct Members {
    /// Those with an address.
    pub list: Vec<Arc<Member>>,
    /// Some names have not been looked up yet.
    pub pending: bool,
    /// Why a name has no address.
    pub error: Option<DnsError>,
}

/// A backup is behind all priorities.
pub(crate) const BACKUP: u32 = 1 << 16;

/// An address that a look-up has found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) address: SocketAddr,
    /// Of an SRV record; 0 without.
    pub(crate) priority: u16,
    /// Of an SRV record.
    pub(crate) weight: Option<u16>,
    /// The target of an SRV record.
    pub(crate) target: Option<Arc<str>>,
}

/// The addresses of a name, as found. Those of `localhost` are one server that is reached in two
/// ways: the second family is asked only when the first does not answer.
pub(crate) fn found(name: &str, port: u16, addresses: &[IpAddr]) -> Vec<Found> {
    let local = name == "localhost" || name.ends_with(".localhost");
    let place = |(index, ip): (usize, &IpAddr)| Found {
        address: SocketAddr::new(*ip, port),
        priority: if local { index.min(1) as u16 } else { 0 },
        weight: None,
        target: None,
    };
    addresses.iter().enumerate().map(place).collect()
}

/// A server as the configuration writes it, in one form.
#[must_use]
pub fn server_text(server: &Server) -> String {
    let scheme = match (server.scheme, server.protocol) {
        (Scheme::Http, ServerProtocol::Http2) => "h2c",
        (Scheme::Https, ServerProtocol::Http2) => "h2",
        (Scheme::Http, ServerProtocol::Tcp) => "tcp",
        (Scheme::Https, ServerProtocol::Tcp) => "tls",
        (Scheme::Http, _) => "http",
        (Scheme::Https, _) => "https",
    };
    match &server.host {
        ServerHost::Srv(name) => format!("{scheme}+srv://{name}{}", server.base_path),
        _ => format!("{scheme}://{}{}", authority(server), server.base_path),
    }
}

/// `host[:port]`, without the port that the scheme implies.
pub(crate) fn authority(server: &Server) -> String {
    let host = match &server.host {
        ServerHost::Address(IpAddr::V6(ip)) => format!("[{ip}]"),
        ServerHost::Address(ip) => ip.to_string(),
        ServerHost::Name(name) | ServerHost::Srv(name) => name.clone(),
    };
    let implied = server.protocol != ServerProtocol::Tcp
        && matches!((server.scheme, server.port), (Scheme::Http, 80) | (Scheme::Https, 443));
    if implied || matches!(server.host, ServerHost::Srv(_)) {
        return host;
    }
    format!("{host}:{}", server.port)
}

/// The name that the certificate of a server must have. The target of an SRV record is not it:
/// whoever forges a record would choose it. It is the domain that was asked for (RFC 6125 §6.2.1).
pub(crate) fn tls_host(server: &Server) -> String {
    match &server.host {
        ServerHost::Address(ip) => ip.to_string(),
        ServerHost::Name(name) => name.clone(),
        ServerHost::Srv(name) => {
            let mut domain = name.as_str();
            while let Some((label, rest)) = domain.split_once('.')
                && label.starts_with('_')
            {
                domain = rest;
            }
            domain.to_owned()
        }
    }
}

/// Whether a check asks in HTTP/2.
pub(crate) fn checks_http2(check: &HealthCheck, protocol: ServerProtocol) -> bool {
    match check.probe {
        config::Probe::Http { .. } => protocol == ServerProtocol::Http2,
        config::Probe::Grpc { .. } => true,
        config::Probe::Tcp => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(scheme: Scheme, protocol: ServerProtocol, host: ServerHost, port: u16) -> Server {
        Server {
            scheme,
            protocol,
            host,
            port,
            base_path: String::new(),
            weight: 1,
            backup: false,
            span: (0, 0).into(),
        }
    }

    #[test]
    fn servers_as_they_are_written() {
        let name = |text: &str| ServerHost::Name(text.to_owned());
        let six = ServerHost::Address("::1".parse().unwrap());
        let srv = ServerHost::Srv("_web._tcp.example.com".to_owned());
        for (server, text, authority, tls) in [
            (
                server(Scheme::Http, ServerProtocol::Http1, name("a.b"), 80),
                "http://a.b",
                "a.b",
                "a.b",
            ),
            (
                server(Scheme::Https, ServerProtocol::Alpn, six, 8443),
                "https://[::1]:8443",
                "[::1]:8443",
                "::1",
            ),
            (server(Scheme::Http, ServerProtocol::Http2, name("a"), 50), "h2c://a:50", "a:50", "a"),
            (
                server(Scheme::Https, ServerProtocol::Tcp, name("a"), 443),
                "tls://a:443",
                "a:443",
                "a",
            ),
            (
                server(Scheme::Https, ServerProtocol::Alpn, srv, 0),
                "https+srv://_web._tcp.example.com",
                "_web._tcp.example.com",
                "example.com",
            ),
        ] {
            assert_eq!(server_text(&server), text);
            assert_eq!(super::authority(&server), authority);
            assert_eq!(tls_host(&server), tls);
        }
    }

    #[test]
    fn localhost_is_one_server() {
        let both: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        let tiers =
            |name| found(name, 80, &both).iter().map(|one| one.priority).collect::<Vec<_>>();
        assert_eq!(tiers("localhost"), [0, 1]);
        assert_eq!(tiers("app.localhost"), [0, 1]);
        assert_eq!(tiers("app.example"), [0, 0]);
    }
}
