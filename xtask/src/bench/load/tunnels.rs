//! CONNECT tunnels: as many new ones as can be, or thousands that wait.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::response::Head;
use super::{CONNECTIONS, Outcome, idle, open_loop};
use crate::Result;
use crate::bench::poller::{Interest, Poller};
use crate::bench::proxy::Proxy;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tunnels for `length`, so many at a time as connections of the other loads; each is left as
/// soon as it is open. A unit is a tunnel.
///
/// # Errors
/// The client itself cannot run.
pub fn run(address: SocketAddr, origin: SocketAddr, length: Duration) -> Result<Outcome> {
    let mut opener = Opener { address, origin, poller: Poller::new()?, latencies: Vec::new() };
    let started = Instant::now();
    let fault = opener.run(started + length).err().map(|fault| fault.to_string());
    let wall = started.elapsed();
    opener.latencies.sort_unstable();
    Ok(Outcome {
        units: opener.latencies.len() as u64,
        wall,
        p50: open_loop::percentile(&opener.latencies, 50),
        p99: open_loop::percentile(&opener.latencies, 99),
        slowest: opener.latencies.last().copied(),
        faults: fault.into_iter().collect(),
        ..Outcome::default()
    })
}

struct Opener {
    address: SocketAddr,
    origin: SocketAddr,
    poller: Poller,
    latencies: Vec<Duration>,
}

struct Attempt {
    stream: TcpStream,
    input: Vec<u8>,
    began: Instant,
}

impl Opener {
    fn run(&mut self, deadline: Instant) -> Result {
        let mut attempts: Vec<Attempt> =
            (0..CONNECTIONS).map(|token| self.open(token)).collect::<Result<_>>()?;
        let mut ready: Vec<usize> = Vec::new();
        while Instant::now() < deadline {
            self.poller.wait(Some(PATIENCE), &mut ready)?;
            if ready.is_empty() {
                return Err("the proxy fell silent".into());
            }
            for &token in &ready {
                if attempts[token].is_open()? {
                    self.latencies.push(attempts[token].began.elapsed());
                    attempts[token] = self.open(token)?;
                }
            }
        }
        Ok(())
    }

    fn open(&self, token: usize) -> Result<Attempt> {
        let began = Instant::now();
        let stream = ask(self.address, self.origin)?;
        stream.set_nonblocking(true)?;
        self.poller.add(&stream, token, Interest::Read)?;
        Ok(Attempt { stream, input: Vec::new(), began })
    }
}

impl Attempt {
    fn is_open(&mut self) -> Result<bool> {
        let mut buffer = [0; 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the proxy closed without an answer".into()),
            Ok(read) => self.input.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        match Head::parse(&self.input)? {
            None => Ok(false),
            Some(head) if head.status == 200 => Ok(true),
            Some(head) => Err(format!("CONNECT was answered {}", head.status).into()),
        }
    }
}

/// Resident KiB that each of `connections` tunnels adds to `proxy`, which has been warmed up
/// with a few. Each has carried a request and its answer.
///
/// # Errors
/// A tunnel did not come about, or did not stay.
pub fn measure(proxy: &Proxy, origin: SocketAddr, connections: u32) -> Result<f64> {
    idle::hold(proxy, connections, "tunnels", || used(proxy.address, origin))
}

/// A tunnel through which a small answer came.
fn used(address: SocketAddr, origin: SocketAddr) -> Result<TcpStream> {
    let mut stream = ask(address, origin)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    answered(&mut stream)?;
    stream.write_all(format!("GET /1k HTTP/1.1\r\nHost: {origin}\r\n\r\n").as_bytes())?;
    answered(&mut stream)?;
    Ok(stream)
}

/// Reads an answer of 200 with its content.
fn answered(stream: &mut TcpStream) -> Result {
    let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err("the proxy closed before the end of an answer".into());
        }
        input.extend_from_slice(&buffer[..read]);
        match Head::parse(&input)? {
            Some(head) if head.status != 200 => {
                return Err(format!("status {}", head.status).into());
            }
            Some(head) if (input.len() - head.length) as u64 >= head.body => return Ok(()),
            _ => {}
        }
    }
}

/// A connection on which CONNECT was sent.
fn ask(address: SocketAddr, origin: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n").as_bytes())?;
    Ok(stream)
}
