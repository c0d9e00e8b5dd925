//! HTTP/1.1 like the others, but every answer takes a while, and there is only one.
//!
//! Few requests should come here, so a thread that sleeps for each connection costs little.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{HEAD_LIMIT, end_of_head, listen};
use crate::Result;

/// Starts one that answers after `delay`, and counts in `asked`; tells where it listens.
///
/// # Errors
/// There is no socket for it.
pub fn start(answer: Vec<u8>, delay: Duration, asked: Arc<AtomicU64>) -> Result<SocketAddr> {
    let listener = listen()?;
    let address = listener.local_addr()?;
    let answer: Arc<[u8]> = answer.into();
    thread::Builder::new().name("slow origin".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
            let served =
                thread::Builder::new().spawn(move || serve(stream, &answer, delay, &asked));
            if let Err(error) = served {
                eprintln!("the slow origin refused a connection: {error}");
            }
        }
    })?;
    Ok(address)
}

/// Until the proxy closes.
fn serve(
    mut stream: TcpStream,
    answer: &[u8],
    delay: Duration,
    asked: &AtomicU64,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    loop {
        while let Some(end) = end_of_head(&input) {
            input.drain(..end);
            asked.fetch_add(1, Ordering::Relaxed);
            thread::sleep(delay);
            stream.write_all(answer)?;
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer)?;
        input.extend_from_slice(&buffer[..read]);
        if read == 0 || input.len() > HEAD_LIMIT {
            return Ok(());
        }
    }
}
