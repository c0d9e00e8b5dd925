//! Requests on a fixed schedule, whether or not the earlier ones were answered.
//!
//! A closed loop (wrk) sends less while the proxy stalls, and so hides the stall
//! ("coordinated omission"). Here request `i` is due at `start + i / rate`, waits its turn if
//! no connection is free, and its latency counts from when it was due.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::response::Head;
use super::{BROWSER_FIELDS, CONNECTIONS, Outcome};
use crate::Result;
use crate::bench::poller::{Interest, Poller};

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends `rate` requests a second for `length`.
///
/// # Errors
/// The client itself cannot run.
pub fn run(address: SocketAddr, rate: f64, length: Duration) -> Result<Outcome> {
    // Timers are late by 50 µs otherwise, more than is between two requests.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let mut client = Client::new(address)?;
    let mut schedule = Schedule::new(rate, length);
    let mut ready: Vec<usize> = Vec::new();
    while !schedule.is_over(client.in_flight()) {
        schedule.advance();
        while let (Some(&due), Some(&token)) = (schedule.waiting.front(), client.free.last()) {
            schedule.waiting.pop_front();
            client.free.pop();
            client.send(token, due)?;
        }
        // Those that wait have no connection: only an answer helps them.
        let pause = if schedule.waiting.is_empty() { schedule.pause() } else { PATIENCE };
        client.poller.wait(Some(pause.min(PATIENCE)), &mut ready)?;
        for &token in &ready {
            client.receive(token)?;
        }
    }
    Ok(client.outcome(&schedule))
}

struct Schedule {
    start: Instant,
    rate: f64,
    /// Requests in all.
    total: u64,
    /// Requests that have been due.
    passed: u64,
    /// When those that were not sent yet were due.
    waiting: VecDeque<Instant>,
}

impl Schedule {
    fn new(rate: f64, length: Duration) -> Self {
        let total = (rate * length.as_secs_f64()) as u64;
        Self { start: Instant::now(), rate, total, passed: 0, waiting: VecDeque::new() }
    }

    fn due(&self, index: u64) -> Instant {
        self.start + Duration::from_secs_f64(index as f64 / self.rate)
    }

    fn advance(&mut self) {
        let now = Instant::now();
        while self.passed < self.total && self.due(self.passed) <= now {
            self.waiting.push_back(self.due(self.passed));
            self.passed += 1;
        }
    }

    fn pause(&self) -> Duration {
        if self.passed == self.total {
            return PATIENCE;
        }
        self.due(self.passed).saturating_duration_since(Instant::now())
    }

    fn is_over(&self, in_flight: usize) -> bool {
        let sent = self.passed == self.total && self.waiting.is_empty();
        (sent && in_flight == 0) || Instant::now() > self.due(self.total) + PATIENCE
    }
}

struct Client {
    address: SocketAddr,
    request: Vec<u8>,
    poller: Poller,
    connections: Vec<Connection>,
    free: Vec<usize>,
    latencies: Vec<Duration>,
    faults: Vec<String>,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// When the request that is on its way was due.
    due: Option<Instant>,
}

impl Client {
    fn new(address: SocketAddr) -> Result<Self> {
        let mut request = format!("GET /1k HTTP/1.1\r\nHost: {address}\r\n");
        for (name, value) in BROWSER_FIELDS {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request.push_str("\r\n");
        let mut client = Self {
            address,
            request: request.into_bytes(),
            poller: Poller::new()?,
            connections: Vec::new(),
            free: (0..CONNECTIONS).collect(),
            latencies: Vec::new(),
            faults: Vec::new(),
        };
        for token in 0..CONNECTIONS {
            let connection = client.connect(token)?;
            client.connections.push(connection);
        }
        Ok(client)
    }

    fn connect(&self, token: usize) -> Result<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        self.poller.add(&stream, token, Interest::Read)?;
        Ok(Connection { stream, input: Vec::with_capacity(4096), due: None })
    }

    fn in_flight(&self) -> usize {
        CONNECTIONS - self.free.len()
    }

    fn send(&mut self, token: usize, due: Instant) -> Result {
        let connection = &mut self.connections[token];
        connection.due = Some(due);
        // A request fits the empty buffer of a socket.
        if connection.stream.write_all(&self.request).is_err() {
            self.lost(token, "a request could not be sent".into())?;
        }
        Ok(())
    }

    fn receive(&mut self, token: usize) -> Result {
        let connection = &mut self.connections[token];
        let mut buffer = [0; 4096];
        match connection.stream.read(&mut buffer) {
            Ok(0) if connection.due.is_none() => {
                // An idle connection may be closed; the next request gets a new one.
                self.connections[token] = self.connect(token)?;
                return Ok(());
            }
            Ok(0) => return self.lost(token, "the proxy closed before it answered".into()),
            Ok(read) => connection.input.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return self.lost(token, error.to_string()),
        }
        let head = match Head::parse(&connection.input) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(()),
            Err(fault) => return self.lost(token, fault),
        };
        if ((connection.input.len() - head.length) as u64) < head.body {
            return Ok(());
        }
        connection.input.clear();
        let Some(due) = connection.due.take() else {
            return self.lost(token, "an answer that nobody asked for".into());
        };
        self.latencies.push(due.elapsed());
        if head.status != 200 {
            self.faults.push(format!("status {}", head.status));
        }
        if head.close {
            self.connections[token] = self.connect(token)?;
        }
        self.free.push(token);
        Ok(())
    }

    fn lost(&mut self, token: usize, fault: String) -> Result {
        self.faults.push(fault);
        self.connections[token] = self.connect(token)?;
        if !self.free.contains(&token) {
            self.free.push(token);
        }
        Ok(())
    }

    fn outcome(mut self, schedule: &Schedule) -> Outcome {
        self.latencies.sort_unstable();
        let answered = self.latencies.len() as u64;
        let unanswered = schedule.total.saturating_sub(answered);
        self.faults.dedup();
        self.faults.truncate(4);
        if unanswered > 0 {
            self.faults.push(format!("{unanswered} of {} requests unanswered", schedule.total));
        }
        Outcome {
            units: answered,
            wall: schedule.start.elapsed(),
            p50: percentile(&self.latencies, 50),
            p99: percentile(&self.latencies, 99),
            slowest: self.latencies.last().copied(),
            faults: self.faults,
            ..Outcome::default()
        }
    }
}

/// The smallest value that so many per cent do not exceed.
pub fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(percentile(&values, 50), Some(Duration::from_micros(100)));
        assert_eq!(percentile(&values, 99), Some(Duration::from_micros(198)));
        assert_eq!(percentile(&values[..1], 99), Some(Duration::from_micros(1)));
        assert_eq!(percentile(&[], 99), None);
    }
}
