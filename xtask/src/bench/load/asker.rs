//! Connections that stay open and ask for whatever they are told.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::BROWSER_FIELDS;
use super::response::Head;
use crate::Result;
use crate::bench::poller::{Interest, Poller};

/// How long a proxy may be silent.
pub const SILENCE: Duration = Duration::from_secs(10);

/// One connection; another where the proxy ends it behind an answer, as it may after so many.
pub struct Asker {
    address: SocketAddr,
    token: usize,
    stream: TcpStream,
    /// The request behind its path.
    rest: String,
    input: Vec<u8>,
    asked: Instant,
}

impl Asker {
    /// Connects.
    ///
    /// # Errors
    /// The proxy does not accept.
    pub fn connect(address: SocketAddr, poller: &Poller, token: usize) -> Result<Self> {
        let stream = open(address, poller, token)?;
        let mut rest = format!(" HTTP/1.1\r\nHost: {address}\r\n");
        for (name, value) in BROWSER_FIELDS {
            let _ = write!(rest, "{name}: {value}\r\n");
        }
        rest.push_str("\r\n");
        let (input, asked) = (Vec::with_capacity(16 << 10), Instant::now());
        Ok(Self { address, token, stream, rest, input, asked })
    }

    /// Asks.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn ask(&mut self, path: &str) -> Result {
        self.asked = Instant::now();
        // A request fits the empty buffer of a socket.
        Ok(self.stream.write_all(format!("GET {path}{}", self.rest).as_bytes())?)
    }

    /// Reads; the length of the body and how long it took, when all of it is there.
    ///
    /// # Errors
    /// The connection is lost, or the answer is another than 200.
    pub fn receive(&mut self, poller: &Poller) -> Result<Option<(u64, Duration)>> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the proxy closed a connection".into()),
            Ok(read) => self.input.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let Some(head) = Head::parse(&self.input)? else { return Ok(None) };
        if head.status != 200 {
            return Err(format!("status {}", head.status).into());
        }
        if ((self.input.len() - head.length) as u64) < head.body {
            return Ok(None);
        }
        self.input.clear();
        let latency = self.asked.elapsed();
        if head.close {
            self.stream = open(self.address, poller, self.token)?;
        }
        Ok(Some((head.body, latency)))
    }
}

fn open(address: SocketAddr, poller: &Poller, token: usize) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    poller.add(&stream, token, Interest::Read)?;
    Ok(stream)
}
