//! WebSockets (RFC 6455): every upgrade is granted, every message answered with the same one.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::{HEAD_LIMIT, Serve, Turn, end_of_head};
use crate::bench::poller::Interest;

/// The answer to the key of RFC 6455 §1.3, which our clients send.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    \r\n";
/// The text message `hello`, not masked (RFC 6455 §5.7).
const MESSAGE: &[u8] = b"\x81\x05hello";

/// One connection.
#[derive(Default)]
pub struct Connection {
    head: Vec<u8>,
    upgraded: bool,
}

impl Serve for Connection {
    type Shared = ();

    fn turn(&mut self, stream: &mut TcpStream, (): &()) -> Turn {
        let mut buffer = [0; 4096];
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Turn::Close,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Turn::Wait(Interest::Read);
            }
            Err(_) => return Turn::Close,
        };
        // A client sends one thing at a time, and what it gets back fits the empty buffer of
        // a socket.
        let answer = if self.upgraded {
            MESSAGE
        } else {
            self.head.extend_from_slice(&buffer[..read]);
            if end_of_head(&self.head).is_none() {
                let fits = self.head.len() <= HEAD_LIMIT;
                return if fits { Turn::Wait(Interest::Read) } else { Turn::Close };
            }
            self.upgraded = true;
            self.head = Vec::new();
            SWITCHING
        };
        match stream.write_all(answer) {
            Ok(()) => Turn::Wait(Interest::Read),
            Err(_) => Turn::Close,
        }
    }
}
