//! Connections to origins that nobody configured: those that users of the forward face ask for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use message::Host;
use net::watchdog::Watchdog;

use crate::Connection;

/// How long a connection is kept.
const KEEP_FOR: Duration = Duration::from_secs(30);
/// Connections kept for one origin and user.
const PER_ORIGIN: usize = 64;
/// Connections kept in all, on one core.
const IN_ALL: usize = 4096;

/// What a kept connection may be used for. Users never share one: what an origin knows of a
/// connection is not to be told from one user to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginKey {
    /// The listener that it was made for; its rules let it through.
    pub listener: SocketAddr,
    /// The user that it was made for.
    pub user: Option<String>,
    /// The exit that it was made by; `None`: straight from this machine. What leaves by one is
    /// not to be seen to be what leaves by another.
    pub exit: Option<egress::ExitKey>,
    /// The origin, as the request names it.
    pub host: Host<'static>,
    /// The origin's port.
    pub port: u16,
    /// Whether it is TLS, verified for `host`.
    pub tls: bool,
    /// Where it goes, if not where the name of `host` leads: a client that resolves names by
    /// itself has said so.
    pub address: Option<IpAddr>,
    /// Who resolved its name, if that was wished: it is nothing for those who wish otherwise.
    pub resolve: Option<config::ResolveAt>,
    /// The connection of the client that it is for alone: it says by itself who the client is.
    pub client: Option<u64>,
}

/// Kept connections of one core.
#[derive(Debug)]
pub struct OriginPool {
    idle: RefCell<HashMap<OriginKey, Vec<Connection>>>,
    count: std::cell::Cell<usize>,
    clock: Rc<Watchdog>,
}

impl OriginPool {
    /// An empty pool.
    #[must_use]
    pub fn new(clock: Rc<Watchdog>) -> Self {
        Self { idle: RefCell::default(), count: std::cell::Cell::new(0), clock }
    }

    /// A connection that was kept and is still good.
    pub fn take(&self, key: &OriginKey) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(key)?;
        while let Some(mut connection) = kept.pop() {
            self.count.set(self.count.get() - 1);
            if self.is_young(&connection) && connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection.
    pub fn keep(&self, key: &OriginKey, mut connection: Connection) {
        if self.count.get() >= IN_ALL || !connection.wire.received().is_empty() {
            return;
        }
        connection.rest(&self.clock);
        let mut idle = self.idle.borrow_mut();
        let kept = match idle.get_mut(key) {
            Some(kept) => kept,
            None => idle.entry(key.clone()).or_default(),
        };
        if kept.len() < PER_ORIGIN {
            kept.push(connection);
            self.count.set(self.count.get() + 1);
        }
    }

    /// Closes what is too old or was closed at the other end. Called every few seconds.
    pub fn tidy(&self) {
        let mut count = 0;
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain_mut(|connection| self.is_young(connection) && connection.is_usable());
            count += kept.len();
            !kept.is_empty()
        });
        self.count.set(count);
    }

    /// Closes all of them: the rules may have changed.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.count.set(0);
    }

    fn is_young(&self, connection: &Connection) -> bool {
        connection.idle_for(&self.clock) < KEEP_FOR.as_millis() as u64
    }
}
