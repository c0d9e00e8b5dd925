//! nginx: one worker, buffered access log, status page, keep-alive to the origin.

use std::process::Command;

use super::{Face, Place};
use crate::Result;

/// Writes the configuration and gives the command that serves it.
pub fn command(place: &Place<'_>) -> Result<Command> {
    let Place { bed, listen, admin, .. } = place;
    let dir = place.dir.display();
    let origin = bed.origin;
    let tls = match place.face {
        Face::Reverse => String::new(),
        Face::ReverseTls => format!(
            "ssl_certificate {};\n    ssl_certificate_key {};\n    \
             ssl_protocols TLSv1.2 TLSv1.3;\n    \
             ssl_session_cache shared:tls:10m;\n    ssl_session_tickets on;",
            bed.certificate.display(),
            bed.key.display()
        ),
        Face::Forward => return Err("nginx is no forward proxy".into()),
    };
    let ssl = if place.face == Face::ReverseTls { "ssl" } else { "" };
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let text = format!(
        "daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections {files}; }}
http {{
  access_log {dir}/access.log combined buffer=64k flush=1s;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 75s;
  keepalive_requests 10000;
  upstream origin {{
    server {origin};
    keepalive 64;
    keepalive_requests 10000;
  }}
  server {{
    listen {listen} {ssl} reuseport backlog=4096;
    {tls}
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
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
        files = 4 * bed.connections,
    );
    let mut command = Command::new("nginx");
    command.arg("-c").arg(place.write("nginx.conf", &text)?);
    Ok(command)
}
