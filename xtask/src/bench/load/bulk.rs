//! Large transfers, with a client that throws the bytes away inside the kernel.
//!
//! `MSG_TRUNC` on a TCP socket discards instead of copying (tcp(7)), so one core is enough
//! for the origin and the client beside a proxy that splices.

use std::io::Write;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::response::Head;
use super::{Outcome, TRANSFERS};
use crate::Result;
use crate::bench::origin::LARGE;
use crate::bench::poller::{Interest, Poller};

/// Bytes discarded by one call.
const DISCARD: usize = 1 << 20;
/// How long a proxy may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// What is asked for, and how: 10 MiB unless something else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// GET over a connection that stays open.
    Relayed,
    /// The same for this path with a body of so many bytes.
    Kept(&'static str, usize),
    /// GET over a connection for each transfer.
    RelayedOnce,
    /// CONNECT to this origin, then GET, over a connection for each transfer.
    Connect(SocketAddr),
    /// The same with SOCKS5 (RFC 1928).
    Socks(SocketAddrV4),
}

/// Transfers for `length`; a unit is a byte of body.
///
/// # Errors
/// The client itself cannot run.
pub fn run(address: SocketAddr, way: &Way, length: Duration) -> Result<Outcome> {
    let mut client = Client {
        address,
        way: *way,
        poller: Poller::new()?,
        scratch: vec![0; DISCARD],
        received: 0,
    };
    let started = Instant::now();
    let mut faults = Vec::new();
    match client.run(started + length) {
        Ok(()) => {}
        Err(fault) => faults.push(fault.to_string()),
    }
    Ok(Outcome { units: client.received, wall: started.elapsed(), faults, ..Outcome::default() })
}

impl Way {
    /// The path of what is asked for, and its length.
    fn body(self) -> (&'static str, u64) {
        match self {
            Self::Kept(path, length) => (path, length as u64),
            _ => ("/10m", LARGE as u64),
        }
    }
}

struct Client {
    address: SocketAddr,
    way: Way,
    poller: Poller,
    scratch: Vec<u8>,
    received: u64,
}

struct Transfer {
    stream: TcpStream,
    stage: Stage,
}

/// What a transfer waits for.
enum Stage {
    /// The method that a SOCKS server chooses, and then its reply.
    Method(Vec<u8>),
    /// That reply.
    Reply(Vec<u8>),
    /// The answer to CONNECT.
    Tunnel(Vec<u8>),
    /// The head of the answer to GET.
    Head(Vec<u8>),
    /// So many bytes of the body.
    Body { left: u64, close: bool },
}

impl Client {
    fn run(&mut self, deadline: Instant) -> Result {
        let mut transfers: Vec<Transfer> =
            (0..TRANSFERS).map(|token| self.open(token)).collect::<Result<_>>()?;
        let mut ready: Vec<usize> = Vec::new();
        while Instant::now() < deadline {
            self.poller.wait(Some(SILENCE), &mut ready)?;
            if ready.is_empty() {
                return Err("the proxy fell silent".into());
            }
            for &token in &ready {
                if self.turn(&mut transfers[token])? {
                    transfers[token] = self.open(token)?;
                }
            }
        }
        Ok(())
    }

    fn open(&self, token: usize) -> Result<Transfer> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        let stage = match self.way {
            Way::Relayed | Way::Kept(..) | Way::RelayedOnce => {
                self.ask(&mut stream)?;
                Stage::Head(Vec::new())
            }
            Way::Connect(origin) => {
                let head = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
                stream.write_all(head.as_bytes())?;
                Stage::Tunnel(Vec::new())
            }
            Way::Socks(_) => {
                // One method: no password.
                stream.write_all(&[5, 1, 0])?;
                Stage::Method(Vec::new())
            }
        };
        stream.set_nonblocking(true)?;
        self.poller.add(&stream, token, Interest::Read)?;
        Ok(Transfer { stream, stage })
    }

    /// A request fits the empty buffer of a socket, so it is written at once.
    fn ask(&self, stream: &mut TcpStream) -> Result {
        let host = match self.way {
            Way::Connect(origin) => origin,
            Way::Socks(origin) => origin.into(),
            Way::Relayed | Way::Kept(..) | Way::RelayedOnce => self.address,
        };
        let (path, _) = self.way.body();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
        Ok(stream.write_all(head.as_bytes())?)
    }

    /// Reads once; `true`: the transfer is over and its connection too.
    fn turn(&mut self, transfer: &mut Transfer) -> Result<bool> {
        let (limit, flags) = match &transfer.stage {
            Stage::Body { left, .. } => {
                (usize::try_from(*left).unwrap_or(DISCARD).min(DISCARD), RecvFlags::TRUNC)
            }
            // What follows these is not to be taken with them.
            Stage::Method(taken) => (2 - taken.len(), RecvFlags::empty()),
            Stage::Reply(taken) => (10 - taken.len(), RecvFlags::empty()),
            Stage::Tunnel(_) | Stage::Head(_) => (4096, RecvFlags::empty()),
        };
        let read = match recv(&transfer.stream, &mut self.scratch[..limit], flags) {
            Ok((_, 0)) => return Err("the proxy closed before the end of a body".into()),
            Ok((_, read)) => read,
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        match &mut transfer.stage {
            Stage::Method(taken) => {
                taken.extend_from_slice(&self.scratch[..read]);
                if let (2, Way::Socks(origin)) = (taken.len(), self.way) {
                    let mut request = vec![5, 1, 0, 1];
                    request.extend(origin.ip().octets());
                    request.extend(origin.port().to_be_bytes());
                    transfer.stream.write_all(&request)?;
                    transfer.stage = Stage::Reply(Vec::new());
                }
                Ok(false)
            }
            Stage::Reply(taken) => {
                taken.extend_from_slice(&self.scratch[..read]);
                if taken.len() == 10 {
                    if taken[..2] != [5, 0] {
                        return Err(format!("SOCKS was answered {}", taken[1]).into());
                    }
                    self.ask(&mut transfer.stream)?;
                    transfer.stage = Stage::Head(Vec::new());
                }
                Ok(false)
            }
            Stage::Tunnel(head) => {
                head.extend_from_slice(&self.scratch[..read]);
                if let Some(answer) = Head::parse(head)? {
                    if answer.status != 200 {
                        return Err(format!("CONNECT was answered {}", answer.status).into());
                    }
                    self.ask(&mut transfer.stream)?;
                    transfer.stage = Stage::Head(Vec::new());
                }
                Ok(false)
            }
            Stage::Head(head) => {
                head.extend_from_slice(&self.scratch[..read]);
                let Some(answer) = Head::parse(head)? else { return Ok(false) };
                if answer.status != 200 || answer.body != self.way.body().1 {
                    return Err(format!("status {}, {} bytes", answer.status, answer.body).into());
                }
                let early = (head.len() - answer.length) as u64;
                self.received += early;
                transfer.stage = Stage::Body { left: answer.body - early, close: answer.close };
                Ok(false)
            }
            Stage::Body { left, close } => {
                self.received += read as u64;
                *left -= read as u64;
                if *left > 0 {
                    return Ok(false);
                }
                if *close || !matches!(self.way, Way::Relayed | Way::Kept(..)) {
                    return Ok(true);
                }
                self.ask(&mut transfer.stream)?;
                transfer.stage = Stage::Head(Vec::new());
                Ok(false)
            }
        }
    }
}
