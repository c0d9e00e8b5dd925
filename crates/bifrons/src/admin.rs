//! What the admin listener is told about the server, and what it asks of it.

mod cache;
mod gateway;
mod users;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use admin::{
    Action, AdminServer, ByFace, Control, ListenerStatus, Problem, ProblemKind, Reply,
    ServerChange, ServerStatus, SiteStatus, Status, UpstreamStatus,
};
use proxy::servers;
use serde_json::{Value, json};
use server::{Reload, Server};
use telemetry::Face;

use crate::program::Program;

/// Starts the admin listener of a server, which was bound with the others.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(
    listener: TcpListener,
    token: Option<String>,
    program: &Arc<Program>,
) -> io::Result<AdminServer> {
    let (server, program) = (Arc::clone(&program.server), Arc::clone(program));
    AdminServer::start(
        listener,
        token,
        Arc::new(Running { server, program, users: users::Editor::default() }),
    )
}

struct Running {
    server: Arc<Server>,
    program: Arc<Program>,
    users: users::Editor,
}

impl Control for Running {
    fn metrics(&self) -> String {
        self.server
            .metrics()
            .render_with(&gateway::figures(&self.server), &cache::figures(&self.server))
    }

    fn draining(&self) -> bool {
        self.server.is_draining()
    }

    fn status(&self) -> Status {
        let (server, snapshot) = (&self.server, self.server.snapshot());
        let metrics = server.metrics();
        let by_face = |number: &dyn Fn(Face) -> u64| ByFace {
            reverse: number(Face::Reverse),
            forward: number(Face::Forward),
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: server.uptime().as_secs(),
            generation: snapshot.generation,
            threads: server.threads(),
            draining: server.is_draining(),
            connections: by_face(&|face| metrics.open_connections(face)),
            requests_in_flight: by_face(&|face| metrics.requests_in_flight(face)),
            tunnels: metrics.open_tunnels(),
            listeners: snapshot
                .listeners
                .iter()
                .map(|listener| listener_status(listener))
                .collect(),
            sites: snapshot.sites.iter().map(|site| site_status(site)).collect(),
            upstreams: server.registry().status().into_iter().map(upstream_status).collect(),
        }
    }

    fn perform(&self, action: &Action) -> Result<Reply, Problem> {
        let server = &*self.server;
        let value = match action {
            Action::Explain(asked) => {
                let question = crate::explain::from_json(asked)
                    .map_err(|message| Problem::new(ProblemKind::Invalid, message))?;
                crate::explain::to_json(&server.explain(&question))
            }
            Action::Reload => match self.program.reload() {
                Ok(reload) => reload_json(&reload),
                Err(message) => return Err(Problem::new(ProblemKind::Invalid, message)),
            },
            Action::Refresh => {
                let changed = server
                    .refresh()
                    .map_err(|message| Problem::new(ProblemKind::Invalid, message))?;
                json!({ "generation": server.snapshot().generation, "changed": changed })
            }
            Action::Upgrade => match self.program.upgrade() {
                Ok(process) => json!({ "process": process }),
                Err(message) => return Err(Problem::new(ProblemKind::Failed, message)),
            },
            Action::ChangeServer { upstream, server, change } => {
                self.change_server(upstream, server, *change)?
            }
            Action::Exits { pool } => gateway::exits(server, pool.as_deref()),
            Action::Sessions { pool, user } => {
                gateway::sessions(server, pool.as_deref(), user.as_deref())
            }
            Action::EndSession { pool, user, id } => gateway::end_session(server, pool, user, id)?,
            Action::Bans { exit } => gateway::bans(server, exit.as_deref()),
            Action::Ban { exit, host, seconds } => {
                gateway::ban(server, exit, host.as_deref(), *seconds)?
            }
            Action::Unban { exit, host } => gateway::unban(server, exit, host.as_deref())?,
            Action::Users { set, user } => users::list(server, set.as_deref(), user.as_deref())?,
            Action::AddUser { set, user } => self.users.add(server, set, user)?,
            Action::ChangeUser { set, user, changes } => {
                self.users.change(server, set, user, changes)?
            }
            Action::RemoveUser { set, user } => self.users.remove(server, set, user)?,
            Action::ResetUser { set, user } => users::reset(server, set, user)?,
            Action::Usage(asked) => return gateway::usage(server, asked),
            Action::Attempts => gateway::attempts(server),
            Action::Cache => cache::stats(server),
            Action::CacheEntry { url } => cache::entry(server, url)?,
            Action::CacheTop { limit } => cache::top(server, *limit),
            Action::PurgeCache { what, soft } => cache::purge(server, what, *soft)?,
        };
        Ok(Reply::Json(value))
    }
}

impl Running {
    fn change_server(
        &self,
        upstream: &str,
        server: &str,
        change: ServerChange,
    ) -> Result<Value, Problem> {
        let made = self.server.registry().change(upstream, server, to_change(server, change));
        made.map_err(|error| {
            let kind = match error {
                servers::ChangeError::NoUpstream | servers::ChangeError::NoServer => {
                    ProblemKind::Unknown
                }
                servers::ChangeError::BadUrl(_) => ProblemKind::Invalid,
                servers::ChangeError::Exists | servers::ChangeError::TooMany => {
                    ProblemKind::Unavailable
                }
            };
            Problem::new(kind, error.to_string())
        })?;
        let status = self.server.registry().status();
        let group = status.into_iter().find(|group| group.name == *upstream);
        Ok(json!({ "upstream": group.map(upstream_status) }))
    }
}

/// What is answered where there is nothing to say.
fn done() -> Value {
    json!({ "done": true })
}

fn to_change(server: &str, change: ServerChange) -> servers::Change {
    match change {
        ServerChange::Drain => servers::Change::Drain,
        ServerChange::Undrain => servers::Change::Undrain,
        ServerChange::Weight(weight) => servers::Change::Weight(weight),
        ServerChange::Add => servers::Change::Add { url: server.to_owned() },
        ServerChange::Remove => servers::Change::Remove,
        ServerChange::Reset => servers::Change::Reset,
    }
}

fn reload_json(reload: &Reload) -> Value {
    let change = |change: proxy::Change| {
        json!({
            "kept": change.kept,
            "changed": change.changed,
            "added": change.added,
            "removed": change.removed,
        })
    };
    json!({
        "generation": reload.generation,
        "ms": reload.took.as_secs_f64() * 1e3,
        "changes": {
            "listeners": change(reload.changes.listeners),
            "sites": change(reload.changes.sites),
            "upstreams": change(reload.changes.upstreams),
        },
        "warnings": reload.warnings,
    })
}

fn listener_status(listener: &proxy::Listener) -> ListenerStatus {
    ListenerStatus {
        address: listener.address,
        face: match listener.face {
            proxy::Face::Reverse(_) => Face::Reverse.name(),
            proxy::Face::Forward(_) => Face::Forward.name(),
            proxy::Face::Tunnel(_) => "tunnel",
        },
        tls: listener.tls.is_some(),
    }
}

fn site_status(site: &proxy::Site) -> SiteStatus {
    SiteStatus {
        name: site.config().name.clone(),
        listen: site.config().listen.clone(),
        routes: site.routes().map(|route| route.name.clone()).collect(),
    }
}

fn upstream_status(group: servers::UpstreamStatus) -> UpstreamStatus {
    let server = |server: servers::ServerStatus| ServerStatus {
        url: server.server,
        addresses: server.address.into_iter().collect(),
        state: server.state.as_str(),
        why: server.why,
        weight: server.weight,
        backup: server.backup,
        in_flight: server.in_flight,
        requests: server.requests,
        failures: server.failures,
        latency_ms: server.latency.map(|latency| latency.as_secs_f64() * 1e3),
        safe_to_stop: server.safe_to_stop,
    };
    UpstreamStatus {
        name: group.name,
        servers: group.servers.into_iter().map(server).collect(),
        queued: group.queued,
        circuit_open: group.circuit_open,
    }
}
