//! Full TLS handshakes with `openssl s_time -new`, which never resumes a session.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Outcome;
use crate::Result;
use crate::bench::origin::SMALL;

/// Clients at a time: each waits for its own answers, two keep the core busy, and more only
/// evict each other's caches.
const CLIENTS: usize = 3;

/// Runs the clients; a unit is a connection with a handshake and a request.
///
/// # Errors
/// `openssl` is missing or printed no figures.
pub fn run(address: SocketAddr, length: Duration) -> Result<Outcome> {
    let started = Instant::now();
    let clients: Vec<Child> =
        (0..CLIENTS).map(|_| client(address, length)).collect::<Result<_>>()?;
    let mut outcome = Outcome::default();
    let mut texts = Vec::new();
    for client in clients {
        texts.push(client.wait_with_output()?);
    }
    outcome.wall = started.elapsed();
    for output in texts {
        let text = String::from_utf8_lossy(&output.stdout);
        let Some((connections, bytes)) = text.lines().find_map(parse) else {
            outcome.faults.push(format!(
                "s_time stopped: {}",
                String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("no figures")
            ));
            continue;
        };
        outcome.units += connections;
        // It does not look at the status, but an error page is shorter than the body.
        if bytes < SMALL as u64 {
            outcome.faults.push(format!("answers of {bytes} bytes are shorter than the body"));
        }
    }
    Ok(outcome)
}

fn client(address: SocketAddr, length: Duration) -> Result<Child> {
    Ok(Command::new("timeout")
        .arg((length.as_secs() + 30).to_string())
        .args(["openssl", "s_time", "-new", "-tls1_3", "-www", "/1k"])
        .args(["-connect", &address.to_string(), "-time", &length.as_secs().max(1).to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?)
}

/// `2908 connections in 3 real seconds, 147 bytes read per connection`
fn parse(line: &str) -> Option<(u64, u64)> {
    let (connections, rest) = line.split_once(" connections in ")?;
    let (_, rest) = rest.split_once(" real seconds, ")?;
    let (bytes, _) = rest.split_once(" bytes read per connection")?;
    Some((connections.parse().ok()?, bytes.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_with_real_seconds_counts() {
        let line = "2908 connections in 1.42s; 2047.89 connections/user sec, bytes read 427476";
        assert_eq!(parse(line), None);
        let line = "2908 connections in 3 real seconds, 147 bytes read per connection";
        assert_eq!(parse(line), Some((2908, 147)));
    }
}
