//! Sockets to listen on, one for each core and address.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use config::{Config, ConfigError};

/// Why the server did not start. Nothing was begun.
#[derive(Debug)]
pub enum StartError {
    /// The configuration names what cannot be had.
    Config(Vec<ConfigError>),
    /// The system refused something.
    System {
        /// What was attempted.
        what: String,
        /// What it said.
        error: io::Error,
    },
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(errors) => write!(f, "{} errors in the configuration", errors.len()),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// An address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundAddress {
    /// The site, the forward listener or the tunnel, as written.
    pub name: String,
    /// The address, with the port the system chose where 0 was written.
    pub address: SocketAddr,
}

/// Sockets of one address, one for each core.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

/// Binds all addresses of a configuration, and writes the ports that the system chose into it.
pub(crate) fn bind_all(
    config: &mut Config,
    threads: usize,
) -> Result<(Vec<Group>, Option<TcpListener>), StartError> {
    let mut groups: Vec<Group> = Vec::new();
    let mut errors = Vec::new();
    let sites = config
        .sites
        .iter_mut()
        .flat_map(|site| site.listen.iter_mut().map(|address| (address, site.span)));
    let forwards = config.forwards.iter_mut().map(|face| (&mut face.listen, face.span));
    let tunnels = config.tunnels.iter_mut().map(|tunnel| (&mut tunnel.listen, tunnel.span));
    for (address, span) in sites.chain(forwards).chain(tunnels) {
        // Port 0 is another one each time.
        if address.port() != 0 && groups.iter().any(|group| group.address == *address) {
            continue;
        }
        match net::listener::bind_group(*address, threads) {
            Ok(sockets) => {
                if let Some(Ok(bound)) = sockets.first().map(TcpListener::local_addr) {
                    *address = bound;
                }
                groups.push(Group { address: *address, sockets });
            }
            Err(error) => errors.push(refused(*address, span, &error)),
        }
    }
    let admin = match &mut config.admin {
        None => None,
        Some(admin) => match net::listener::bind(admin.listen, false) {
            Ok(socket) => {
                if let Ok(bound) = socket.local_addr() {
                    admin.listen = bound;
                }
                Some(socket)
            }
            Err(error) => {
                errors.push(refused(admin.listen, admin.span, &error));
                None
            }
        },
    };
    if errors.is_empty() { Ok((groups, admin)) } else { Err(StartError::Config(errors)) }
}

fn refused(address: SocketAddr, span: config::Span, error: &io::Error) -> ConfigError {
    let help = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there: stop it or choose another port",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one or grant it"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        _ => "see what the system says",
    };
    ConfigError::at(span, format!("cannot listen on {address}"), error.to_string()).help(help)
}

/// The addresses of this machine's interfaces.
pub(crate) fn local_addresses() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(if_addrs::Interface::ip).collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot list the addresses of this machine");
            Vec::new()
        }
    }
}
