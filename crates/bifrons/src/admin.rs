//! What the admin listener is told about the server.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use admin::{
    AdminServer, ByFace, Control, ListenerStatus, ServerStatus, SiteStatus, Status, UpstreamStatus,
};
use config::{Scheme, ServerHost};
use server::Server;
use telemetry::Face;

struct Running(Arc<Server>);

/// Starts the admin listener of a server. It was bound with the others.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(
    listener: TcpListener,
    token: Option<String>,
    server: Arc<Server>,
) -> io::Result<AdminServer> {
    AdminServer::start(listener, token, Arc::new(Running(server)))
}

impl Control for Running {
    fn metrics(&self) -> String {
        self.0.metrics().render()
    }

    fn draining(&self) -> bool {
        self.0.is_draining()
    }

    fn status(&self) -> Status {
        let (server, snapshot) = (&self.0, self.0.snapshot());
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
            upstreams: snapshot.config.upstreams.iter().map(upstream_status).collect(),
        }
    }
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

fn upstream_status(upstream: &config::Upstream) -> UpstreamStatus {
    let server = |server: &config::Server| {
        let scheme = match server.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let host = match &server.host {
            ServerHost::Address(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
            ServerHost::Address(ip) => ip.to_string(),
            ServerHost::Name(name) | ServerHost::Srv(name) => name.clone(),
        };
        let addresses = match &server.host {
            ServerHost::Address(ip) => vec![(*ip, server.port).into()],
            ServerHost::Name(_) | ServerHost::Srv(_) => Vec::new(),
        };
        let url = format!("{scheme}://{host}:{}{}", server.port, server.base_path);
        ServerStatus { url, addresses }
    };
    UpstreamStatus {
        name: upstream.name.clone(),
        servers: upstream.servers.iter().map(server).collect(),
    }
}
