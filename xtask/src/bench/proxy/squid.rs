//! Squid: one worker, no cache, buffered access log.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Face, Place};
use crate::Result;

/// Writes the configuration and gives the command that serves it.
pub fn command(place: &Place<'_>) -> Result<Command> {
    if !matches!(place.face, Face::Forward | Face::ForwardUsers) {
        return Err("Squid is measured as a forward proxy only".into());
    }
    let Place { bed, listen, .. } = place;
    // Started as root, Squid changes to a user of its own, who must write here.
    fs::set_permissions(&place.dir, Permissions::from_mode(0o777))?;
    let text = format!(
        "http_port {listen}
visible_hostname bench
workers 1
cache deny all
acl safe_connect port 1024-65535
http_access deny CONNECT !safe_connect
http_access allow localhost
http_access deny all
access_log stdio:{dir}/access.log squid
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
