//! Thousands of WebSockets that exchanged one message and now wait.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::idle;
use crate::Result;
use crate::bench::proxy::Proxy;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The text message `hello`, masked (RFC 6455 §5.7).
const MESSAGE: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// The same from the other side, where it is not masked.
const ANSWER: &[u8] = b"\x81\x05hello";

/// Resident KiB that each of `connections` WebSockets adds to `proxy`, which has been warmed
/// up with a few.
///
/// # Errors
/// A WebSocket did not come about, or did not stay.
pub fn measure(proxy: &Proxy, connections: u32) -> Result<f64> {
    idle::hold(proxy, connections, "WebSockets", || open(proxy.address))
}

/// A WebSocket on which a message went each way.
fn open(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(
        format!(
            "GET /socket HTTP/1.1\r\n\
             Host: {address}\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             \r\n"
        )
        .as_bytes(),
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // Byte by byte: what follows the head is not to be taken with it.
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        let text = String::from_utf8_lossy(&head);
        return Err(format!("no WebSocket: {}", text.lines().next().unwrap_or_default()).into());
    }
    stream.write_all(MESSAGE)?;
    let mut answer = [0; ANSWER.len()];
    stream.read_exact(&mut answer)?;
    if answer != ANSWER {
        return Err("the message of a WebSocket was changed".into());
    }
    Ok(stream)
}
