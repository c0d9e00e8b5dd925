//! nginx: one worker, buffered access log, but not of a cache; status page, keep-alive to the
//! origin.

use std::fmt::Write as _;
use std::process::Command;

use super::{BROTLI_LEVEL, Face, GZIP_LEVEL, Kind, Place};
use crate::Result;

/// Debian's module for Brotli.
pub const BROTLI_MODULE: &str = "/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so";

/// Writes the configuration and gives the command that serves it.
pub fn command(place: &Place<'_>) -> Result<Command> {
    if matches!(place.face, Face::Forward | Face::ForwardUsers | Face::Socks) {
        return Err("nginx is no forward proxy".into());
    }
    let Place { bed, listen, admin, .. } = place;
    let dir = place.dir.display();
    let tls = if place.face.is_tls() {
        format!(
            "ssl_certificate {};\n    ssl_certificate_key {};\n    \
             ssl_protocols TLSv1.2 TLSv1.3;\n    \
             ssl_session_cache shared:tls:10m;\n    ssl_session_tickets on;",
            bed.certificate.display(),
            bed.key.display()
        )
    } else {
        String::new()
    };
    let protocol = match (place.face.is_tls(), place.face.is_http2()) {
        (true, true) => "ssl http2",
        (true, false) => "ssl",
        (false, _) => "",
    };
    // 16 connections reach the usual limit within a second, and each time the requests under
    // way would be lost to the load.
    let requests = if place.face.is_http2() { 100_000_000 } else { 10_000 };
    let mut servers = String::new();
    if place.face == Face::LeastRequests {
        servers.push_str("least_conn;\n");
    }
    for server in place.servers() {
        let _ = writeln!(servers, "    server {server};");
    }
    let (connection, timeout) = match place.face {
        Face::WebSockets => ("$connection_upgrade", "3600s"),
        _ => ("\"\"", "60s"),
    };
    let upgrade = match place.face {
        Face::WebSockets => "proxy_set_header Upgrade $http_upgrade;",
        _ => "",
    };
    let (http, location) = more(place);
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let log = match place.face.is_cache() {
        true => "off".to_owned(),
        false => format!("{dir}/access.log combined buffer=64k flush=1s"),
    };
    // The last packet of a hit that is no whole one would wait 40 ms for an acknowledgement.
    let nopush = if place.face.is_cache() { "off" } else { "on" };
    let modules = match place.kind {
        Kind::NginxBrotli => format!("load_module {BROTLI_MODULE};"),
        _ => String::new(),
    };
    let text = format!(
        "daemon off;
{modules}
{user}
worker_processes 1;
worker_rlimit_nofile {files};
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections {files}; }}
http {{
  access_log {log};
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  sendfile on;
  tcp_nopush {nopush};
  keepalive_timeout 75s;
  keepalive_requests {requests};
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  {http}
  upstream origin {{
    {servers}
    keepalive {idle};
    keepalive_requests 10000;
  }}
  server {{
    listen {listen} {protocol} reuseport backlog=4096;
    {tls}
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection {connection};
      {upgrade}
      {location}
      proxy_read_timeout {timeout};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
  server {{
    listen {admin};
    access_log off;
    location / {{ stub_status; }}
  }}
}}
",
        idle = place.keep_idle(),
        files = 4 * bed.connections,
    );
    let mut command = Command::new("nginx");
    command.arg("-c").arg(place.write("nginx.conf", &text)?);
    Ok(command)
}

/// What a face needs besides: for all of HTTP, and for the location.
fn more(place: &Place<'_>) -> (String, String) {
    match place.face {
        // Its cache is of files, which the system has in memory; with `open_file_cache` they are
        // not opened for each request. The lock and the stale answer are what it has against
        // those who ask at once.
        face if face.is_cache() => (
            format!(
                "proxy_cache_path {}/kept levels=1:2 keys_zone=kept:10m max_size=1g \
                 use_temp_path=off;\n  open_file_cache max=1000 inactive=1h;\n  \
                 open_file_cache_valid 1h;",
                place.dir.display()
            ),
            "proxy_cache kept;\n      proxy_cache_lock on;\n      \
             proxy_cache_use_stale updating;"
                .into(),
        ),
        Face::Compressed if place.kind == Kind::NginxBrotli => {
            (String::new(), format!("brotli on;\n      brotli_comp_level {BROTLI_LEVEL};"))
        }
        Face::Compressed => (
            String::new(),
            format!(
                "gzip on;\n      gzip_comp_level {GZIP_LEVEL};\n      gzip_proxied any;\n      \
                 gzip_vary on;"
            ),
        ),
        _ => (String::new(), String::new()),
    }
}
