//! The configuration of the demo: one that a reader can take as a start for their own.

use std::net::{Ipv4Addr, SocketAddr};

use config::quote;

use super::certificate::{CERT, KEY};
use super::grpc;
use super::world::{LIMITED, Ports, USER};
use crate::args::Common;

/// The access log, in the demo's folder.
pub(super) const ACCESS_LOG: &str = "access.log";

/// The group of A and B.
pub(super) const UPSTREAM: &str = "app";

/// The pool of exits.
pub(super) const POOL: &str = "world";

/// A name that nobody has registered (RFC 2606), and that leads to C.
pub(super) const SHOP_HOST: &str = "shop.example";

/// What whoever purges has to show.
pub(super) const PURGE_TOKEN: &str = "let-me-purge";

/// How many bytes the limited user may use in a day.
pub(super) const QUOTA: u64 = 64 << 10;

/// An exit: one more address of this machine.
pub(super) struct Exit {
    pub(super) name: &'static str,
    /// Where it is said to be.
    pub(super) country: &'static str,
    pub(super) address: Ipv4Addr,
}

/// The exits of the pool.
pub(super) const EXITS: [Exit; 4] = [
    Exit { name: "ca-1", country: "CA", address: Ipv4Addr::new(127, 0, 0, 11) },
    Exit { name: "ca-2", country: "CA", address: Ipv4Addr::new(127, 0, 0, 12) },
    Exit { name: "us-1", country: "US", address: Ipv4Addr::new(127, 0, 0, 13) },
    Exit { name: "de-1", country: "DE", address: Ipv4Addr::new(127, 0, 0, 14) },
];

/// What the configuration sets `X-Release` to, before anybody releases anything.
const FIRST_RELEASE: &str = "\"X-Release\" \"1\"";

/// The configuration of another release of the site.
pub(super) fn released(text: &str, release: u32) -> String {
    text.replace(FIRST_RELEASE, &format!("\"X-Release\" \"{release}\""))
}

/// Writes it for these ports, with what the command line says.
pub(super) fn text(common: &Common, ports: &Ports, origins: [SocketAddr; 4]) -> String {
    let Ports { site, secure, forward, elite, gateway, admin } = ports;
    let [a, b, c, d] = origins;
    let grpc = grpc::METHOD.rsplit_once('/').map_or("", |(service, _)| service);
    let (user, password) = USER;
    let (limited, its_password) = LIMITED;
    let quota = QUOTA >> 10;
    let (gateway_allows, exits) = (format!(r#"allow "127.0.0.1" port={}"#, c.port()), exits());
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
    // What is new is kept as long as its server says, and longer while that is down.
    route "/news/*" {{
        cache {{
            stale if-error="1h"
            purge token="{PURGE_TOKEN}"
        }}
        compress "zstd" "br" "gzip"
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

users "demo" {{
    user "{user}" password="{password}"
    // Streams end at the last byte of it.
    user "{limited}" password="{its_password}" quota="{quota}KiB/day"
}}

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

// One address in front of many exits. Which of them it shall be is asked for in the user name.
forward "{gateway}" {{
    auth users="demo"
    anonymity "elite"
    {gateway_allows}
    exit "{POOL}"
    disclose #true
}}

// Addresses of this machine here; else addresses that are routed to it, or parent proxies.
exits "{POOL}" {{
    {exits}
    rotate "per-request"
    sticky ttl="10m"
    // Who is told 403 is left out for that host, and the request made again by another.
    ban status=403 for="10m" per="host"
    retry attempts=3
}}

hosts "{SHOP_HOST}" "127.0.0.1"
"#,
        secure_port = secure.port(),
    )
}

fn exits() -> String {
    let line = |exit: &Exit| {
        let Exit { name, country, address } = exit;
        format!(r#"address "{address}" country="{country}" name="{name}""#)
    };
    EXITS.each_ref().map(line).join("\n    ")
}
