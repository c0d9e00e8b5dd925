//! Sockets to listen on, one for each core and address.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use config::{Config, ConfigError, Span, Transparent};
use serde::{Deserialize, Serialize};

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

/// Sockets of one address. The cores have copies of them, which are the same sockets to the
/// kernel: it stops to listen when all are closed.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

impl Group {
    /// A socket for each of so many cores.
    fn bind(address: SocketAddr, threads: usize, held: &[Self]) -> io::Result<Self> {
        let bound = net::listener::bind_group(address, threads);
        let sockets = match bound {
            // Where it is one of ours that is in the way, the new one may stand beside it.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && in_way(address, held) => {
                (0..threads).map(|_| net::listener::bind(address, true)).collect()
            }
            bound => bound,
        }?;
        let address = match sockets.first() {
            Some(socket) => socket.local_addr()?,
            None => address,
        };
        Ok(Self { address, sockets })
    }

    /// Adds sockets until there is one for each of so many cores.
    pub(crate) fn fill(&mut self, threads: usize) -> io::Result<()> {
        let transparent = self.sockets.first().map(net::transparent::is_transparent).transpose()?;
        while self.sockets.len() < threads {
            let socket = net::listener::bind(self.address, true)?;
            if transparent == Some(true) {
                net::transparent::set_transparent(&socket, true)?;
            }
            self.sockets.push(socket);
        }
        Ok(())
    }

    /// Whether it takes connections to addresses of others as well.
    fn set_transparent(&self, on: bool) -> io::Result<()> {
        for socket in &self.sockets {
            if net::transparent::is_transparent(socket)? != on {
                net::transparent::set_transparent(socket, on)?;
            }
        }
        Ok(())
    }

    /// Copies for the cores, each with the core that it is for.
    pub(crate) fn copies(&self, threads: usize) -> io::Result<Vec<(usize, TcpListener)>> {
        let copy =
            |(index, socket): (usize, &TcpListener)| Ok((index % threads, socket.try_clone()?));
        self.sockets.iter().enumerate().map(copy).collect()
    }
}

/// Whether one of these listens where the address would.
fn in_way(address: SocketAddr, held: &[Group]) -> bool {
    held.iter().map(|group| group.address).any(|other| {
        other.port() == address.port()
            && (other.ip().is_unspecified() || address.ip().is_unspecified())
    })
}

/// The port that was chosen where 0 was written, and where that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    owner: String,
    written: SocketAddr,
    bound: SocketAddr,
}

/// What was bound for a configuration.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    /// Of addresses that were not listened on before.
    pub(crate) added: Vec<Group>,
    /// All of them.
    pub(crate) wanted: Vec<SocketAddr>,
    pub(crate) chosen: Vec<Chosen>,
}

/// Binds the addresses of a configuration that are not among those held, and writes the ports
/// that the system chose into it. Where a port was chosen for the same owner before, it stays.
///
/// # Errors
/// All that cannot be bound; then nothing is.
pub(crate) fn bind_all(
    config: &mut Config,
    threads: usize,
    held: &[Group],
    mut chosen_before: Vec<Chosen>,
) -> Result<Bound, Vec<ConfigError>> {
    let mut bound = Bound::default();
    let mut errors = Vec::new();
    for (owner, address, span) in listening(config) {
        let written = *address;
        if written.port() == 0 {
            // Port 0 is another one each time, but the same as the last time.
            let known = chosen_before
                .iter()
                .position(|chosen| chosen.owner == *owner && chosen.written == written);
            if let Some(known) = known {
                *address = chosen_before.remove(known).bound;
            }
        }
        match bound.add(*address, threads, held) {
            Ok(chosen) => *address = chosen,
            Err(error) => {
                errors.push(refused(*address, span, &error));
                continue;
            }
        }
        if written.port() == 0 {
            bound.chosen.push(Chosen { owner: owner.clone(), written, bound: *address });
        }
    }
    for forward in &config.forwards {
        for address in forward.sticky_addresses() {
            let added = bound.add(address, threads, held);
            errors.extend(added.err().map(|error| refused(address, forward.span, &error)));
        }
    }
    errors.extend(open_for_others(config, held, &bound.added));
    if errors.is_empty() { Ok(bound) } else { Err(errors) }
}

impl Bound {
    /// Binds an address unless it is among those held; returns it with the port that it has.
    fn add(
        &mut self,
        mut address: SocketAddr,
        threads: usize,
        held: &[Group],
    ) -> io::Result<SocketAddr> {
        let here = |group: &Group| group.address == address;
        let have = address.port() != 0 && (held.iter().any(here) || self.added.iter().any(here));
        if !have {
            let group = Group::bind(address, threads, held)?;
            address = group.address;
            self.added.push(group);
        }
        self.wanted.push(address);
        Ok(address)
    }
}

/// Makes listeners take the connections that `TPROXY` leads to them, and others not.
fn open_for_others(config: &Config, held: &[Group], added: &[Group]) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for face in &config.forwards {
        let on = face.transparent == Some(Transparent::Tproxy);
        let group = held.iter().chain(added).find(|group| group.address == face.listen);
        if let Some(Err(error)) = group.map(|group| group.set_transparent(on)) {
            let help = "TPROXY needs CAP_NET_ADMIN: grant it, or use `transparent \"redirect\"`";
            let message = format!("cannot take connections to other addresses on {}", face.listen);
            errors.push(ConfigError::at(face.span, message, error.to_string()).help(help));
        }
    }
    errors
}

/// All addresses to listen on, with whose they are and where that is written.
fn listening(config: &mut Config) -> impl Iterator<Item = (&String, &mut SocketAddr, Span)> {
    let sites = config.sites.iter_mut().flat_map(|site| {
        let (name, span) = (&site.name, site.span);
        site.listen.iter_mut().map(move |address| (name, address, span))
    });
    let forwards = config.forwards.iter_mut().map(|face| (&face.name, &mut face.listen, face.span));
    let tunnels = config.tunnels.iter_mut().map(|one| (&one.name, &mut one.listen, one.span));
    sites.chain(forwards).chain(tunnels)
}

/// Binds the admin listener, unless it was inherited, and writes its port into the configuration.
pub(crate) fn bind_admin(
    config: &mut Config,
    inherited: Option<TcpListener>,
) -> Result<Option<TcpListener>, ConfigError> {
    let Some(admin) = &mut config.admin else { return Ok(None) };
    let fits = |socket: &TcpListener| {
        socket.local_addr().is_ok_and(|bound| {
            bound.ip() == admin.listen.ip() && [0, bound.port()].contains(&admin.listen.port())
        })
    };
    let socket = match inherited.filter(fits) {
        Some(socket) => socket,
        None => net::listener::bind(admin.listen, false)
            .map_err(|error| refused(admin.listen, admin.span, &error))?,
    };
    if let Ok(bound) = socket.local_addr() {
        admin.listen = bound;
    }
    Ok(Some(socket))
}

fn refused(address: SocketAddr, span: Span, error: &io::Error) -> ConfigError {
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
