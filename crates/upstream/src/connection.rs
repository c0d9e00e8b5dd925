//! One connection to a server.

use std::net::SocketAddr;

use net::watchdog::Watchdog;

use crate::Wire;
use crate::wire::is_quiet;

/// A connection to a server over which one request at a time is made.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub wire: Wire,
    /// The address it goes to.
    pub server: SocketAddr,
    /// Whether it has carried a request before.
    pub reused: bool,
    /// Where it leads to a proxy that takes requests in absolute form: what that has to be shown.
    pub absolute: Option<egress::Absolute>,
    /// When it became idle, in the milliseconds of the core's clock.
    idle_since: u64,
}

impl Connection {
    /// A connection that has carried nothing yet.
    #[must_use]
    pub fn new(io: tls::Io, server: SocketAddr) -> Self {
        Self { wire: Wire::new(io), server, reused: false, absolute: None, idle_since: 0 }
    }

    /// A connection that has just carried a request.
    #[must_use]
    pub fn used(wire: Wire, server: SocketAddr) -> Self {
        Self { wire, server, reused: true, absolute: None, idle_since: 0 }
    }

    /// Whether an idle connection can be used: nothing came on it, not even its end. Costs no
    /// system call unless something did come.
    pub(crate) fn is_usable(&mut self) -> bool {
        self.wire.received().is_empty() && is_quiet(&mut self.wire.io)
    }

    /// Takes note that it is idle from now on.
    pub(crate) fn rest(&mut self, clock: &Watchdog) {
        self.reused = true;
        self.idle_since = clock.now_ms();
    }

    pub(crate) fn idle_for(&self, clock: &Watchdog) -> u64 {
        clock.now_ms().saturating_sub(self.idle_since)
    }
}
