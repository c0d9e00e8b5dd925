//! A thousand users of a forward proxy, each with a connection that stays open.
//!
//! wrk cannot tell one connection from another, and a user who changes with every request would
//! be a user without kept connections.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::response::Head;
use super::{BROWSER_FIELDS, CONNECTIONS, Outcome, base64, open_loop};
use crate::Result;
use crate::bench::poller::{Interest, Poller};
use crate::bench::scenario::USERS;

/// How long a proxy may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// The name of a user; the password of all is [`PASSWORD`].
pub fn name(number: usize) -> String {
    format!("user{number}")
}

/// The password of all users.
pub const PASSWORD: &str = "open-sesame";

/// GET of the small body in absolute form for `length`, so many at a time as connections of the
/// other loads; the users take turns.
///
/// # Errors
/// The client itself cannot run.
pub fn run(address: SocketAddr, origin: SocketAddr, length: Duration) -> Result<Outcome> {
    let mut crowd = Crowd { poller: Poller::new()?, guests: Vec::new(), latencies: Vec::new() };
    for number in 0..USERS {
        let guest = Guest::arrive(address, origin, number)?;
        crowd.poller.add(&guest.stream, number, Interest::Read)?;
        crowd.guests.push(guest);
    }
    let started = Instant::now();
    let fault = crowd.run(started + length).err().map(|fault| fault.to_string());
    let wall = started.elapsed();
    crowd.latencies.sort_unstable();
    Ok(Outcome {
        units: crowd.latencies.len() as u64,
        wall,
        p50: open_loop::percentile(&crowd.latencies, 50),
        p99: open_loop::percentile(&crowd.latencies, 99),
        slowest: crowd.latencies.last().copied(),
        faults: fault.into_iter().collect(),
        ..Outcome::default()
    })
}

struct Crowd {
    poller: Poller,
    guests: Vec<Guest>,
    latencies: Vec<Duration>,
}

struct Guest {
    stream: TcpStream,
    request: Vec<u8>,
    input: Vec<u8>,
    asked: Instant,
}

impl Crowd {
    fn run(&mut self, deadline: Instant) -> Result {
        let mut waiting: VecDeque<usize> = (0..self.guests.len()).collect();
        for _ in 0..CONNECTIONS {
            self.next(&mut waiting)?;
        }
        let mut ready: Vec<usize> = Vec::new();
        while Instant::now() < deadline {
            self.poller.wait(Some(SILENCE), &mut ready)?;
            if ready.is_empty() {
                return Err("the proxy fell silent".into());
            }
            for &number in &ready {
                let guest = &mut self.guests[number];
                if guest.receive()? {
                    self.latencies.push(guest.asked.elapsed());
                    waiting.push_back(number);
                    self.next(&mut waiting)?;
                }
            }
        }
        Ok(())
    }

    /// The request of whoever has waited longest.
    fn next(&mut self, waiting: &mut VecDeque<usize>) -> Result {
        let Some(number) = waiting.pop_front() else { return Ok(()) };
        let guest = &mut self.guests[number];
        guest.asked = Instant::now();
        // A request fits the empty buffer of a socket.
        Ok(guest.stream.write_all(&guest.request)?)
    }
}

impl Guest {
    fn arrive(address: SocketAddr, origin: SocketAddr, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let shown = base64(format!("{}:{PASSWORD}", name(number)).as_bytes());
        let mut request = format!(
            "GET http://{origin}/1k HTTP/1.1\r\nHost: {origin}\r\n\
             Proxy-Authorization: Basic {shown}\r\n"
        );
        for (name, value) in BROWSER_FIELDS {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request.push_str("\r\n");
        let input = Vec::with_capacity(4096);
        Ok(Self { stream, request: request.into_bytes(), input, asked: Instant::now() })
    }

    /// Whether an answer is whole.
    fn receive(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the proxy closed a connection".into()),
            Ok(read) => self.input.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Some(head) = Head::parse(&self.input)? else { return Ok(false) };
        if head.status != 200 || head.close {
            return Err(format!("status {}, closes: {}", head.status, head.close).into());
        }
        if ((self.input.len() - head.length) as u64) < head.body {
            return Ok(false);
        }
        self.input.clear();
        Ok(true)
    }
}
