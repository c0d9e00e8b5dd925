//! A group of servers that serve the same content, and the connections kept to them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::{ConfigError, Scheme, Server, ServerHost, Upstream};
use egress::Exit;
use net::address::AllowAll;
use net::dial::DialError;
use net::resolver::{DnsError, NameWatch, Resolver};
use net::watchdog::Watchdog;
use tls::{ClientTls, Io, Roots};

use crate::Connection;

/// How long a server that could not be connected to is tried only after all others.
const AVOID_FOR: Duration = Duration::from_secs(2);

/// What all cores share of a group: its configuration, and its TLS settings with their
/// sessions.
#[derive(Debug)]
pub struct ClusterPlan {
    config: Upstream,
    tls: Option<ClientTls>,
    connect_timeout: Duration,
}

/// One group on one core.
#[derive(Debug)]
pub struct Cluster {
    plan: Arc<ClusterPlan>,
    endpoints: Vec<Endpoint>,
    next: Cell<usize>,
    clock: Rc<Watchdog>,
    exit: Exit,
}

/// One server on one core.
#[derive(Debug)]
pub struct Endpoint {
    /// Its configuration.
    pub server: Server,
    /// `host[:port]` as `Host` has it.
    pub authority: String,
    addresses: Addresses,
    idle: RefCell<Vec<Connection>>,
    /// Until when (core clock) it is tried last.
    avoid_until: Cell<u64>,
}

#[derive(Debug)]
enum Addresses {
    Fixed(SocketAddr),
    Resolved(NameWatch),
}

/// The servers that a request has been to, as bits by index.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried(u64);

/// Why no server of a group could be connected to.
#[derive(Debug)]
pub enum ConnectError {
    /// The name of the server is not resolved.
    Unresolved(DnsError),
    /// The connection failed.
    Dial(DialError),
    /// Its TLS handshake failed.
    Tls(tls::ConnectError),
    /// Nothing came of it in time.
    Timeout,
}

impl ClusterPlan {
    /// Reads what the configuration names: certificates and keys.
    ///
    /// # Errors
    /// All that is missing or wrong.
    pub fn build(
        config: &Upstream,
        connect_timeout: Duration,
        roots: &Roots,
    ) -> Result<Self, Vec<ConfigError>> {
        let secure = config.servers.iter().any(|server| server.scheme == Scheme::Https);
        let tls =
            if secure { Some(ClientTls::build(&config.tls, roots, &[b"http/1.1"])?) } else { None };
        Ok(Self { config: config.clone(), tls, connect_timeout })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Upstream {
        &self.config
    }
}

impl Cluster {
    /// The group on this core. Names are resolved from now on, in the background.
    #[must_use]
    pub fn new(plan: Arc<ClusterPlan>, resolver: &Resolver, clock: Rc<Watchdog>) -> Self {
        let endpoint = |server: &Server| Endpoint {
            server: server.clone(),
            authority: authority(server),
            addresses: match &server.host {
                ServerHost::Address(ip) => Addresses::Fixed(SocketAddr::new(*ip, server.port)),
                ServerHost::Name(name) | ServerHost::Srv(name) => {
                    Addresses::Resolved(resolver.watch(name))
                }
            },
            idle: RefCell::default(),
            avoid_until: Cell::new(0),
        };
        let endpoints = plan.config.servers.iter().map(endpoint).collect();
        Self { plan, endpoints, next: Cell::new(0), clock, exit: Exit::default() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.plan.name()
    }

    /// Its servers.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The server that takes the next request: in turn, those that could not be connected to
    /// lately after the others, and none that this request has been to. `None`: it has been to
    /// all of them.
    pub fn pick(&self, tried: &mut Tried) -> Option<usize> {
        let count = self.endpoints.len();
        let start = self.next.get();
        let now = self.clock.now_ms();
        let mut avoided = None;
        for step in 0..count {
            let index = (start + step) % count;
            if tried.has(index) {
                continue;
            }
            if self.endpoints[index].avoid_until.get() > now {
                avoided = avoided.or(Some(index));
                continue;
            }
            avoided = Some(index);
            break;
        }
        let index = avoided?;
        self.next.set((index + 1) % count);
        tried.add(index);
        Some(index)
    }

    /// A connection to this server that was kept and is still good.
    pub fn reuse(&self, index: usize) -> Option<Connection> {
        let mut idle = self.endpoints[index].idle.borrow_mut();
        // The last one used first: the others may grow old and go.
        std::iter::from_fn(|| idle.pop()).find_map(|mut connection| {
            let young = connection.idle_for(&self.clock) < self.idle_limit();
            (young && connection.is_usable()).then_some(connection)
        })
    }

    /// A new connection to this server.
    ///
    /// # Errors
    /// See [`ConnectError`]. The server is then tried last for a while.
    pub async fn connect(&self, index: usize) -> Result<Connection, ConnectError> {
        let timeout = self.plan.connect_timeout;
        let outcome = match tokio::time::timeout(timeout, self.connect_now(index)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::Timeout),
        };
        let endpoint = &self.endpoints[index];
        endpoint.avoid_until.set(match &outcome {
            Ok(_) => 0,
            Err(_) => self.clock.now_ms() + AVOID_FOR.as_millis() as u64,
        });
        outcome
    }

    async fn connect_now(&self, index: usize) -> Result<Connection, ConnectError> {
        let endpoint = &self.endpoints[index];
        let server = &endpoint.server;
        let addresses = match &endpoint.addresses {
            Addresses::Fixed(address) => vec![*address],
            Addresses::Resolved(watch) => {
                let looked_up = watch.ready().await;
                // Those of an earlier look-up are good even where the last one failed.
                let ips = watch.addresses();
                if ips.is_empty() {
                    return Err(ConnectError::Unresolved(
                        looked_up.err().unwrap_or(DnsError::NotFound),
                    ));
                }
                ips.iter().map(|ip| SocketAddr::new(*ip, server.port)).collect::<Vec<_>>()
            }
        };
        // Servers are named by the operator: no address is out of bounds.
        let timeout = self.plan.connect_timeout;
        let (stream, address) =
            self.exit.connect(&addresses, &AllowAll, timeout).await.map_err(ConnectError::Dial)?;
        let mut io = Io::Tcp(stream);
        if server.scheme == Scheme::Https
            && let Some(tls) = &self.plan.tls
        {
            let host = match &server.host {
                ServerHost::Address(ip) => ip.to_string(),
                ServerHost::Name(name) | ServerHost::Srv(name) => name.clone(),
            };
            io = tls.connect(io, &host).await.map_err(ConnectError::Tls)?;
        }
        Ok(Connection::new(io, address))
    }

    /// Keeps a connection that a request has been made over, to the end.
    pub fn keep(&self, index: usize, mut connection: Connection) {
        // A server that sends more than it was asked for is not asked again.
        if !connection.wire.received().is_empty() {
            return;
        }
        let mut idle = self.endpoints[index].idle.borrow_mut();
        if idle.len() < self.plan.config.keep_idle {
            connection.rest(&self.clock);
            idle.push(connection);
        }
    }

    /// Closes kept connections that are too old or were closed by their server. Called every
    /// few seconds.
    pub fn tidy(&self) {
        let limit = self.idle_limit();
        for endpoint in &self.endpoints {
            endpoint
                .idle
                .borrow_mut()
                .retain_mut(|kept| kept.idle_for(&self.clock) < limit && kept.is_usable());
        }
    }

    fn idle_limit(&self) -> u64 {
        self.plan.config.idle_timeout.as_millis() as u64
    }
}

impl Tried {
    fn has(self, index: usize) -> bool {
        index < 64 && self.0 & (1 << index) != 0
    }

    fn add(&mut self, index: usize) {
        if index < 64 {
            self.0 |= 1 << index;
        }
    }
}

/// `host[:port]`, without the port that the scheme implies.
fn authority(server: &Server) -> String {
    let host = match &server.host {
        ServerHost::Address(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
        ServerHost::Address(ip) => ip.to_string(),
        ServerHost::Name(name) | ServerHost::Srv(name) => name.clone(),
    };
    match (server.scheme, server.port) {
        (Scheme::Http, 80) | (Scheme::Https, 443) => host,
        (_, port) => format!("{host}:{port}"),
    }
}
