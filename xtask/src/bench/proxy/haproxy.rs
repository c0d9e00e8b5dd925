//! HAProxy: one thread, `httplog` to a ring in a mapped file, Prometheus page, connections
//! to the origin reused, `splice-auto`.
//!
//! `splice-auto` leaves it to HAProxy whether a transfer is spliced, and on loopback it
//! mostly decides not to; `splice-response` is the same proxy told to do so always.
//!
//! The ring is the cheapest log HAProxy has (no system call per line), so the comparison
//! does not charge it for a syslog daemon that the others do not need.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::{Face, Place};
use crate::Result;

/// When bytes are moved without a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splice {
    /// HAProxy decides.
    Auto,
    /// Whatever the origin sends.
    Response,
}

/// Writes the configuration and gives the command that serves it.
pub fn command(place: &Place<'_>, splice: Splice) -> Result<Command> {
    let Place { bed, listen, admin, .. } = place;
    let dir = place.dir.display();
    let (mode, log) = match place.face {
        Face::ForwardUsers | Face::Socks => return Err("HAProxy is no forward proxy".into()),
        Face::Compressed => return Err("HAProxy is not measured with codings".into()),
        Face::Forward => ("tcp", "option tcplog"),
        face if face.is_cache() => ("http", "no log\n  option forwardfor\n  http-reuse always"),
        _ => ("http", "option httplog\n  option forwardfor\n  http-reuse always"),
    };
    let mut servers = String::new();
    if place.face == Face::LeastRequests {
        servers.push_str("balance leastconn\n");
    }
    if place.face == Face::Http2Throughout {
        let _ = writeln!(servers, "server origin {} proto h2", bed.origins.h2c);
    } else {
        for (index, server) in place.servers().iter().enumerate() {
            let _ = writeln!(servers, "  server origin-{index} {server}");
        }
    }
    let (cache, kept) = match place.face {
        // Without these limits it keeps small objects only, and for a minute.
        face if face.is_cache() => (
            format!(
                "cache kept\n  total-max-size {}\n  max-object-size 1048576\n  \
                 max-age 86400\n",
                place.kept_mib()
            ),
            "http-request cache-use kept\n  http-response cache-store kept",
        ),
        _ => (String::new(), ""),
    };
    let splice = match splice {
        Splice::Auto => "option splice-auto",
        Splice::Response => "option splice-auto\n  option splice-response",
    };
    let tls = if place.face.is_tls() {
        let alpn = if place.face.is_http2() { "h2,http/1.1" } else { "http/1.1" };
        let pair = [fs::read(&bed.certificate)?, fs::read(&bed.key)?].concat();
        fs::write(place.dir.join("pair.pem"), pair)?;
        format!("ssl crt {dir}/pair.pem alpn {alpn}")
    } else {
        String::new()
    };
    let text = format!(
        "global
  nbthread 1
  maxconn {connections}
ring requests
  format raw
  maxlen 2048
  size 1048576
  backing-file {dir}/access.ring
defaults
  mode {mode}
  log ring@requests local0
  {splice}
  backlog 4096
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  timeout tunnel 1h
{cache}listen relay
  {log}
  bind {listen} {tls}
  {kept}
  {servers}
frontend metrics
  mode http
  no log
  bind {admin}
  http-request use-service prometheus-exporter
",
        connections = bed.connections + 1000,
    );
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(place.write("haproxy.cfg", &text)?);
    Ok(command)
}
