//! The configuration of the demo: one that a reader can take as a start for their own.

use std::net::SocketAddr;

use config::quote;

use super::certificate::{CERT, KEY};
use super::grpc;
use super::world::{Ports, USER};
use crate::args::Common;

/// The access log, in the demo's folder.
pub(super) const ACCESS_LOG: &str = "access.log";

/// The group of A and B.
pub(super) const UPSTREAM: &str = "app";

/// What the configuration sets `X-Release` to, before anybody releases anything.
const FIRST_RELEASE: &str = "\"X-Release\" \"1\"";

/// The configuration of another release of the site.
pub(super) fn released(text: &str, release: u32) -> String {
    text.replace(FIRST_RELEASE, &format!("\"X-Release\" \"{release}\""))
}

/// Writes it for these ports, with what the command line says.
pub(super) fn text(common: &Common, ports: &Ports, origins: [SocketAddr; 4]) -> String {
    let Ports { site, secure, forward, elite, admin } = ports;
    let [a, b, c, d] = origins;
    let grpc = grpc::METHOD.rsplit_once('/').map_or("", |(service, _)| service);
    let (user, password) = USER;
    let threads = common.threads.map_or(String::new(), |threads| format!("threads {threads}\n"));
    let log = quote(common.access_log.as_deref().unwrap_or(ACCESS_LOG));
    let allow = format!(r#"allow "127.0.0.1" port={} port={}"#, c.port(), secure.port());
    format!(
        r#"{threads}access-log {log}
// Metrics, health and status.
admin "{admin}"

// Two servers with the same content. They can be drained, weighted and replaced while they run.
upstream "{UPSTREAM}" {{
    server "http://{a}"
    server "http://{b}"
}}

// Three servers in one URL space. What they say about themselves stays here.
site "http://{site}" {{
    // A and B take turns behind one path.
    route "/api/*" {{
        strip-prefix "/api"
        header {{ set {FIRST_RELEASE} }}
        to upstream="{UPSTREAM}"
    }}
    // Three at once, and then one every 20 seconds, for each client.
    route "/search" {{
        limit requests="3/m" burst=3 per="client-ip"
        to "http://{c}"
    }}
    // Everything else is for C.
    route "/*" {{ to "http://{c}" }}
}}

site "https://localhost:{secure_port}" listen="{secure}" {{
    tls cert="{CERT}" key="{KEY}"
    // gRPC, to a server that speaks HTTP/2 without TLS.
    route "{grpc}/*" {{ to "h2c://{d}" }}
    route "/*" {{ to "http://{c}" }}
    header {{ set "Strict-Transport-Security" "max-age=63072000" }}
}}

users "demo" {{ user "{user}" password="{password}" }}

// HTTP, CONNECT and SOCKS on one port. This machine would be closed without `allow`.
forward "{forward}" {{
    auth users="demo"
    {allow}
}}

// Here nothing tells that there is a proxy.
forward "{elite}" {{
    auth users="demo"
    anonymity "elite"
    {allow}
}}
"#,
        secure_port = secure.port(),
    )
}
