//! Varnish: one thread pool, its cache in memory, its log in the shared memory that it always has.

use std::process::Command;

use super::Place;
use crate::Result;

/// Writes the configuration and gives the command that serves it.
pub fn command(place: &Place<'_>) -> Result<Command> {
    if !place.face.is_cache() {
        return Err("Varnish is measured as a cache only".into());
    }
    let (listen, origin) = (place.listen, place.servers()[0]);
    // The built-in rules would pass requests with cookies.
    let text = format!(
        "vcl 4.1;
backend origin {{
  .host = \"{}\";
  .port = \"{}\";
}}
sub vcl_recv {{
  return (hash);
}}
",
        origin.ip(),
        origin.port()
    );
    let vcl = place.write("varnish.vcl", &text)?;
    let mut command = Command::new("varnishd");
    // Without a jail the working directory may be anywhere. A load of 64 connections needs no
    // more than the threads that a pool begins with.
    command.args(["-F", "-j", "none", "-a", &listen.to_string()]);
    command.arg("-n").arg(place.dir.join("varnish")).arg("-f").arg(vcl);
    command.args(["-s", &format!("malloc,{}m", place.kept_mib())]);
    command.args(["-p", "thread_pools=1", "-p", "timeout_idle=75"]);
    Ok(command)
}
