//! Servers that are reached by a pool of exits.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::ServerHost;
use egress::{
    Asking, ExitKey, ExitLease, Fault, NoExit, Pool, Purpose, Reached, Sign, Via, Whose, Wish,
};
use message::Host;
use net::address::AllowAll;
use net::resolver::Resolver;
use tls::Io;

use crate::cluster::ConnectError;
use crate::member::Member;

/// How a group of servers is reached, where that is not straight from this machine.
#[derive(Debug, Clone)]
pub(crate) struct ByExit {
    pub(crate) pool: Arc<Pool>,
    pub(crate) resolver: Resolver,
}

/// A connection to a server, and the place at the exit that it takes.
pub(crate) struct Left {
    pub(crate) io: Io,
    pub(crate) early: Vec<u8>,
    pub(crate) address: SocketAddr,
    pub(crate) lease: Rc<ExitLease>,
}

impl ByExit {
    /// Connects to a server by an exit, or by another one where that fails.
    pub(crate) async fn connect(
        &self,
        member: &Member,
        timeout: Duration,
        now_ms: impl Fn() -> u64,
    ) -> Result<Left, ConnectError> {
        let address = member.address();
        // An exit that resolves names is given the name; we know one of its addresses at least.
        let host = match &member.server.host {
            ServerHost::Name(name) => Host::Name(name.as_str().into()),
            ServerHost::Address(_) | ServerHost::Srv(_) => Host::Address(address.ip()),
        };
        let name = match &host {
            Host::Name(name) => name.to_string(),
            Host::Address(ip) => ip.to_string(),
        };
        let mut tried = Vec::new();
        let mut last = None;
        while tried.len() < self.pool.config().attempts as usize {
            let lease = match self.choose(&name, address.port(), &tried, &now_ms).await {
                Ok(lease) => lease,
                Err(NoExit::AllTried) => break,
                Err(why) => return Err(ConnectError::NoExit(why)),
            };
            tried.push(lease.key());
            let config = lease.pool_config();
            let via = Via {
                resolver: &self.resolver,
                filter: &AllowAll,
                timeout,
                prefer: config.prefer.unwrap_or_default(),
                resolve: config.resolve,
            };
            let way = lease.way();
            let outcome =
                way.reach(lease.source(), &host, address.port(), Purpose::Tunnel, &via).await;
            match outcome {
                Ok(Reached { io, early, address, .. }) => {
                    lease.report(&Sign::Connected, now_ms());
                    return Ok(Left { io, early, address, lease: Rc::new(lease) });
                }
                Err(error) => match error.fault() {
                    Fault::Target => return Err(ConnectError::Exit(error)),
                    fault => {
                        if fault == Fault::Exit {
                            lease.report(&Sign::Unreachable, now_ms());
                        }
                        last = Some(error);
                    }
                },
            }
        }
        Err(last.map_or(ConnectError::NoExit(NoExit::AllTried), ConnectError::Exit))
    }

    /// An exit that does. Those that have to rest are waited for, as their pool says.
    async fn choose(
        &self,
        host: &str,
        port: u16,
        tried: &[ExitKey],
        now_ms: impl Fn() -> u64,
    ) -> Result<ExitLease, NoExit> {
        let begun = now_ms();
        loop {
            let now = now_ms();
            let asking = Asking {
                wish: &Wish::default(),
                whose: Whose::default(),
                host,
                port,
                connection: None,
                allowed: &|_| true,
                tried,
                now_ms: now,
            };
            let why = match self.pool.choose(&asking) {
                Ok(lease) => return Ok(lease),
                Err(why) => why,
            };
            let Some(wait) = why.ask_again_in(now.saturating_sub(begun)) else { return Err(why) };
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }
}
