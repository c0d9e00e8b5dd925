//! Dante: SOCKS without passwords, its log says when connections begin and end.

use std::process::Command;

use super::{Face, Place};
use crate::Result;

/// Writes the configuration and gives the command that serves it.
pub fn command(place: &Place<'_>) -> Result<Command> {
    if place.face != Face::Socks {
        return Err("Dante speaks SOCKS only".into());
    }
    let Place { listen, .. } = place;
    let dir = place.dir.display();
    let user = if rustix::process::geteuid().is_root() {
        "user.privileged: root\nuser.unprivileged: root"
    } else {
        ""
    };
    let text = format!(
        "logoutput: {dir}/access.log
internal: {ip} port = {port}
external: {ip}
clientmethod: none
socksmethod: none
{user}
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{
  from: 127.0.0.0/8 to: 0.0.0.0/0
  command: connect
  log: connect disconnect
}}
",
        ip = listen.ip(),
        port = listen.port(),
    );
    let mut command = Command::new("danted");
    command.arg("-p").arg(place.dir.join("danted.pid"));
    command.arg("-f").arg(place.write("danted.conf", &text)?);
    Ok(command)
}
