//! The configuration of the demo: one that a reader can take as a start for their own.

use std::net::SocketAddr;

use config::quote;

use super::certificate::{CERT, KEY};
use super::world::{Ports, USER};
use crate::args::Common;

/// The access log, in the demo's folder.
pub(super) const ACCESS_LOG: &str = "access.log";

/// Writes it for these ports, with what the command line says.
pub(super) fn text(common: &Common, ports: &Ports, origins: [SocketAddr; 3]) -> String {
    let Ports { site, secure, forward, elite, admin } = ports;
    let [a, b, c] = origins;
    let (user, password) = USER;
    let threads = common.threads.map_or(String::new(), |threads| format!("threads {threads}\n"));
    let log = quote(common.access_log.as_deref().unwrap_or(ACCESS_LOG));
    let allow = format!(r#"allow "127.0.0.1" port={} port={}"#, c.port(), secure.port());
    format!(
        r#"{threads}access-log {log}
// Metrics, health and status.
admin "{admin}"

// Three servers in one URL space. What they say about themselves stays here.
site "http://{site}" {{
    // A and B take turns behind one path.
    route "/api/*" {{
        strip-prefix "/api"
        to "http://{a}" "http://{b}"
    }}
    // Everything else is for C.
    route "/*" {{ to "http://{c}" }}
}}

site "https://localhost:{secure_port}" listen="{secure}" {{
    tls cert="{CERT}" key="{KEY}"
    to "http://{c}"
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
