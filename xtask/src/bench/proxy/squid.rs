//! Squid: one worker; a buffered access log and no cache, or a cache in memory and no log.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Face, Place};
use crate::Result;

/// Writes the configuration and gives the command that serves it.
pub fn command(place: &Place<'_>) -> Result<Command> {
    let Place { bed, listen, .. } = place;
    let logged = format!("stdio:{}/access.log squid", place.dir.display());
    let (mode, log, cache) = match place.face {
        Face::Forward | Face::ForwardUsers => ("", logged, "cache deny all".into()),
        face if face.is_cache() => ("accel no-vhost defaultsite=bench", "none".into(), kept(place)),
        _ => return Err("Squid is measured as a forward proxy and as a cache only".into()),
    };
    // Started as root, Squid changes to a user of its own, who must write here.
    fs::set_permissions(&place.dir, Permissions::from_mode(0o777))?;
    let text = format!(
        "http_port {listen} {mode}
visible_hostname bench
workers 1
{cache}
acl safe_connect port 1024-65535
http_access deny CONNECT !safe_connect
http_access allow localhost
http_access deny all
access_log {log}
buffered_logs on
cache_log {dir}/cache.log
cache_store_log none
pid_filename {dir}/squid.pid
coredump_dir {dir}
netdb_filename none
pinger_enable off
dns_nameservers 127.0.0.1
max_filedescriptors {files}
shutdown_lifetime 0 seconds
",
        dir = place.dir.display(),
        files = 4 * bed.connections,
    );
    let mut command = Command::new("squid");
    command.args(["-N", "-f"]).arg(place.write("squid.conf", &text)?);
    Ok(command)
}

/// A cache in memory in front of the origin.
fn kept(place: &Place<'_>) -> String {
    let origin = place.servers()[0];
    format!(
        "cache_peer {} parent {} 0 no-query originserver name=origin\n\
         cache_mem {} MB\n\
         maximum_object_size_in_memory 1 MB",
        origin.ip(),
        origin.port(),
        place.kept_mib()
    )
}
