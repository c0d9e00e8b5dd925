//! tinyproxy: a thread for each connection, its log at the level that says each request.

use std::process::Command;

use super::{Face, Place};
use crate::Result;

/// Writes the configuration and gives the command that serves it.
pub fn command(place: &Place<'_>) -> Result<Command> {
    if place.face != Face::Forward {
        return Err("tinyproxy is measured as a forward proxy only".into());
    }
    let Place { bed, listen, .. } = place;
    // Without `ConnectPort` every port may be connected to.
    let text = format!(
        "Listen {ip}
Port {port}
MaxClients {clients}
Timeout 600
Allow 127.0.0.0/8
LogFile \"{dir}/access.log\"
LogLevel Connect
PidFile \"{dir}/tinyproxy.pid\"
",
        ip = listen.ip(),
        port = listen.port(),
        clients = bed.connections + 1000,
        dir = place.dir.display(),
    );
    let mut command = Command::new("tinyproxy");
    command.args(["-d", "-c"]).arg(place.write("tinyproxy.conf", &text)?);
    Ok(command)
}
