//! Groups and their servers as an operator sees them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use net::watchdog::process_ms;

use crate::balance::Condition;
use crate::member::{BACKUP, Member};
use crate::plan::ClusterPlan;

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Its servers; a name has one for each address.
    pub servers: Vec<ServerStatus>,
    /// Requests that wait for a place.
    pub queued: usize,
    /// The circuit breaker lets nothing or only trials through.
    pub circuit_open: bool,
}

/// A server of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerStatus {
    /// As the configuration writes it.
    pub server: String,
    /// Where it is; `None`: its name is not resolved.
    pub address: Option<SocketAddr>,
    /// How it is.
    pub state: ServerState,
    /// Why, where that is known.
    pub why: Option<String>,
    /// It gets no new clients.
    pub draining: bool,
    /// Its share.
    pub weight: u32,
    /// It is used only when none but backups are left.
    pub backup: bool,
    /// Of its SRV record; lower ones come first.
    pub priority: u16,
    /// Requests under way, of all groups and cores.
    pub in_flight: u32,
    /// Requests since it is known.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Mean time to the head of a response.
    pub latency: Option<Duration>,
    /// It can be switched off: it gets no new requests from any group, and has none.
    pub safe_to_stop: bool,
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// It takes requests.
    Well,
    /// It takes no new clients.
    Draining,
    /// Its checks fail.
    Ill,
    /// It failed too often, or is too slow.
    Ejected,
    /// It could not be connected to a short while ago.
    BackingOff,
    /// Its name has no address.
    Unresolved,
}

impl ServerState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Draining => "draining",
            Self::Ill => "ill",
            Self::Ejected => "ejected",
            Self::BackingOff => "backing off",
            Self::Unresolved => "unresolved",
        }
    }
}

/// How a server is at this time, draining aside.
pub(crate) fn condition(member: &Member, now: u64) -> Condition {
    if member.health.as_ref().is_some_and(|health| health.is_ill()) {
        Condition::Ill
    } else if member.endpoint.ejection.is_out(now) {
        Condition::Ejected
    } else if member.endpoint.is_avoided(now) {
        Condition::BackingOff
    } else {
        Condition::Well
    }
}

/// How a group is; `in_use` are the servers ([`crate::Endpoint::id`]) that some group sends new
/// requests to.
pub(crate) fn status_of(plan: &Arc<ClusterPlan>, in_use: &HashSet<usize>) -> UpstreamStatus {
    let now = process_ms();
    let members = plan.members();
    let resolved = members.list.iter().map(|member| server(member, now, in_use));
    let missing = plan.unresolved().into_iter().map(|(text, why)| ServerStatus {
        server: text.to_string(),
        address: None,
        state: ServerState::Unresolved,
        why,
        draining: false,
        weight: 0,
        backup: false,
        priority: 0,
        in_flight: 0,
        requests: 0,
        failures: 0,
        latency: None,
        safe_to_stop: true,
    });
    UpstreamStatus {
        name: plan.name().to_owned(),
        servers: resolved.chain(missing).collect(),
        queued: plan.queue.as_ref().map_or(0, |queue| queue.len()),
        circuit_open: plan.breaker.as_ref().is_some_and(|breaker| !breaker.is_closed()),
    }
}

fn server(member: &Member, now: u64, in_use: &HashSet<usize>) -> ServerStatus {
    let endpoint = &member.endpoint;
    let (requests, failures) = endpoint.totals();
    let state = match condition(member, now) {
        Condition::Ill => ServerState::Ill,
        _ if member.draining => ServerState::Draining,
        Condition::Ejected => ServerState::Ejected,
        Condition::BackingOff => ServerState::BackingOff,
        Condition::Well => ServerState::Well,
    };
    ServerStatus {
        server: member.written.to_string(),
        address: Some(endpoint.address()),
        state,
        why: member.health.as_ref().and_then(|health| health.why()),
        draining: member.draining,
        weight: member.weight,
        backup: member.tier >= BACKUP,
        priority: (member.tier % BACKUP) as u16,
        in_flight: endpoint.in_flight(),
        requests,
        failures,
        latency: endpoint.latency(),
        safe_to_stop: endpoint.in_flight() == 0 && !in_use.contains(&endpoint.id()),
    }
}
