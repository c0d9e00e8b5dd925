//! An origin that tells each client the address that it was called from.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::DEADLINE;

/// An origin that answers every request with the address that it came from, and counts.
pub struct Caller {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    seen: Mutex<HashMap<IpAddr, usize>>,
    /// What requests from an address are answered with, in place of 200.
    statuses: Mutex<HashMap<IpAddr, (u16, String)>>,
}

impl Caller {
    /// On a free port of every address of this machine: exits reach it by `127.0.0.1`.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests from an address are answered with this status and these fields (whole lines).
    pub fn answer(&self, from: &str, status: u16, fields: &str) {
        let from = from.parse().expect("address");
        self.state.statuses.lock().expect("lock").insert(from, (status, fields.to_owned()));
    }

    /// How many requests came from an address.
    #[must_use]
    pub fn requests_from(&self, from: &str) -> usize {
        let from: IpAddr = from.parse().expect("address");
        self.state.seen.lock().expect("lock").get(&from).copied().unwrap_or_default()
    }
}

impl State {
    /// Requests without bodies, on a connection that is kept.
    fn serve(&self, mut stream: TcpStream) {
        let from = stream.peer_addr().expect("peer").ip();
        stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        let (mut received, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            while let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                received.drain(..end + 4);
                *self.seen.lock().expect("lock").entry(from).or_default() += 1;
                let other = self.statuses.lock().expect("lock").get(&from).cloned();
                let (status, fields) = other.unwrap_or((200, String::new()));
                let body = from.to_string();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} Said\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
                );
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(count) => received.extend_from_slice(&piece[..count]),
            }
        }
    }
}
