//! HTTP/1.1 like the others, but every answer to `/1k` takes a while.
//!
//! Few requests should come here, so a thread that sleeps for each connection costs little.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::{HEAD_LIMIT, end_of_head, h1, listen};
use crate::Result;

/// What it takes for a request.
pub const DELAY: Duration = Duration::from_millis(50);

/// Starts it and tells where it listens.
///
/// # Errors
/// There is no socket for it.
pub fn start() -> Result<SocketAddr> {
    let listener = listen()?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("slow origin".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let served = thread::Builder::new().spawn(move || serve(stream));
            if let Err(error) = served {
                eprintln!("the slow origin refused a connection: {error}");
            }
        }
    })?;
    Ok(address)
}

/// Until the proxy closes.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (answer, mut input) = (h1::small(), Vec::new());
    loop {
        while let Some(end) = end_of_head(&input) {
            input.drain(..end);
            thread::sleep(DELAY);
            stream.write_all(&answer)?;
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer)?;
        input.extend_from_slice(&buffer[..read]);
        if read == 0 || input.len() > HEAD_LIMIT {
            return Ok(());
        }
    }
}
