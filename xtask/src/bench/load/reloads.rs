//! Reloads of the configuration, one after another, each with a route that leads elsewhere.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::response::Head;
use super::{Outcome, open_loop, route};
use crate::Result;
use crate::bench::proxy::{CONFIGURATION, Proxy};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reloads for `length`; a unit is a reload, from the request to the admin listener until its
/// answer.
///
/// # Errors
/// The configuration cannot be changed, or a reload failed.
pub fn run(proxy: &Proxy, length: Duration) -> Result<Outcome> {
    let (started, mut times) = (Instant::now(), Vec::new());
    while started.elapsed() < length {
        change(&proxy.dir.join(CONFIGURATION))?;
        let asked = Instant::now();
        reload(proxy.admin)?;
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    Ok(Outcome {
        units: times.len() as u64,
        wall: started.elapsed(),
        p50: open_loop::percentile(&times, 50),
        p99: open_loop::percentile(&times, 99),
        slowest: times.last().copied(),
        ..Outcome::default()
    })
}

/// Lets the first route lead to the second upstream, or back.
fn change(path: &Path) -> Result {
    let text = fs::read_to_string(path)?;
    let line = |upstream: u8| format!("\"{}/*\" {{ to upstream=\"app-{upstream}\" }}", route(0));
    let changed = if text.contains(&line(0)) {
        text.replacen(&line(0), &line(1), 1)
    } else {
        text.replacen(&line(1), &line(0), 1)
    };
    if changed == text {
        return Err("the route to be changed is not there".into());
    }
    Ok(fs::write(path, changed)?)
}

/// `POST /api/reload`.
fn reload(admin: SocketAddr) -> Result {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(
        format!(
            "POST /api/reload HTTP/1.1\r\n\
             Host: {admin}\r\n\
             Content-Type: application/json\r\n\
             Content-Length: 2\r\n\
             \r\n\
             {{}}"
        )
        .as_bytes(),
    )?;
    let mut input = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer)?;
        input.extend_from_slice(&buffer[..read]);
        if let Some(head) = Head::parse(&input)? {
            return match head.status {
                200 => Ok(()),
                status => Err(format!("a reload was answered {status}").into()),
            };
        }
        if read == 0 {
            return Err("the admin listener closed without an answer".into());
        }
    }
}
