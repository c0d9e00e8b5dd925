//! How a connection leaves this machine.
//!
//! Both faces dial through an [`Exit`]: the reverse face towards the servers of a site, the
//! forward face towards whatever its users ask for. An exit is given a target and a filter and
//! knows neither routes nor users.
#![forbid(unsafe_code)]

mod ban;
mod choose;
pub mod dialect;
mod error;
#[cfg(test)]
mod fixture;
mod health;
mod lease;
mod parent;
mod pool;
mod registry;
mod session;
mod way;
pub mod wish;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use message::Host;
use net::address::AddressFilter;
use net::dial::{DialError, DialOptions, dial};
use net::resolver::Resolver;
use tokio::net::TcpStream;

pub use ban::{BODY_LIMIT, BanPlan, BodySearch, Marks, Sign};
pub use choose::{Asking, Candidate, NoExit, Refusal, Whose};
pub use dialect::{DialectError, Login};
pub use error::{ExitError, Fault, ParentProblem};
pub use health::Measurement;
pub use lease::{ExitKey, ExitLease};
pub use parent::{Blame, Code, Hop, Reply};
pub use pool::{ExitInfo, Geo, Pool, Pools, Surroundings};
pub use registry::{BanError, BanStatus, ExitRegistry, ExitStatus, SessionStatus};
pub use session::{ConnectionMark, SessionInfo};
pub use way::{Absolute, Purpose, Reached, Via, Way};
pub use wish::{SessionWish, Wish};

/// A way out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// The address of ours that connections come from; `None`: the system's choice.
    pub source: Option<IpAddr>,
}

impl Exit {
    /// Connects to the first of these addresses that answers (RFC 8305). Each has to pass the
    /// filter before anything is sent to it.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn connect(
        &self,
        addresses: &[SocketAddr],
        filter: &dyn AddressFilter,
        timeout: Duration,
    ) -> Result<(TcpStream, SocketAddr), DialError> {
        dial(addresses, &DialOptions { source: self.source, freebind: false, timeout, filter })
            .await
    }

    /// Resolves a target and connects to it. What is connected to is what the filter saw: the
    /// name is resolved once.
    ///
    /// # Errors
    /// See [`ExitError`].
    pub async fn reach(
        &self,
        resolver: &Resolver,
        host: &Host<'_>,
        port: u16,
        filter: &dyn AddressFilter,
        timeout: Duration,
    ) -> Result<(TcpStream, SocketAddr), ExitError> {
        let one;
        let many;
        let addresses: &[SocketAddr] = match host {
            Host::Address(address) => {
                one = [SocketAddr::new(*address, port)];
                &one
            }
            Host::Name(name) => {
                let resolved = resolver.lookup(name).await.map_err(ExitError::Dns)?;
                many = resolved.iter().map(|ip| SocketAddr::new(*ip, port)).collect::<Vec<_>>();
                &many
            }
        };
        self.connect(addresses, filter, timeout).await.map_err(ExitError::Dial)
    }
}
