//! Requests for objects of which few are popular: the same ones for every proxy.
//!
//! How many they are does not depend on how fast the proxy is, so that the hits of two of them
//! are hits of the same requests.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::asker::{Asker, SILENCE};
use super::{CONNECTIONS, Outcome, open_loop};
use crate::Result;
use crate::bench::objects::{self, Trace};
use crate::bench::poller::Poller;
use crate::bench::proxy::Proxy;

/// Requests that fill the cache before anything is measured: they are for 300,000 objects.
const FILLING: u64 = 1_000_000;
/// How long anything may take: whoever is slower than that has a core that others use too.
const PATIENCE: Duration = Duration::from_secs(120);
/// Requests of a measurement for each second that it should take.
const PER_SECOND: u64 = 10_000;

static TRACE: LazyLock<Trace> = LazyLock::new(Trace::new);

/// Goes on with the trace where this proxy is in it; at first, through all that fills the cache.
///
/// # Errors
/// The client itself cannot run.
pub fn run(proxy: &Proxy, length: Duration) -> Result<Outcome> {
    let first = proxy.asked.get();
    let requests = if first == 0 { FILLING } else { PER_SECOND * length.as_secs().max(1) };
    proxy.asked.set(first + requests);
    let mut client = Client {
        poller: Poller::new()?,
        askers: Vec::new(),
        expected: vec![0; CONNECTIONS],
        next: first,
        end: first + requests,
        latencies: Vec::new(),
    };
    for token in 0..CONNECTIONS {
        client.askers.push(Asker::connect(proxy.address, &client.poller, token)?);
    }
    LazyLock::force(&TRACE);
    let started = Instant::now();
    let fault = client.run(started + PATIENCE).err().map(|fault| fault.to_string());
    let wall = started.elapsed();
    client.latencies.sort_unstable();
    Ok(Outcome {
        units: client.latencies.len() as u64,
        wall,
        p50: open_loop::percentile(&client.latencies, 50),
        p99: open_loop::percentile(&client.latencies, 99),
        slowest: client.latencies.last().copied(),
        faults: fault.into_iter().collect(),
        ..Outcome::default()
    })
}

struct Client {
    poller: Poller,
    askers: Vec<Asker>,
    /// How long the answer must be that each waits for.
    expected: Vec<u64>,
    next: u64,
    end: u64,
    latencies: Vec<Duration>,
}

impl Client {
    fn run(&mut self, deadline: Instant) -> Result {
        let mut waiting = 0;
        for token in 0..self.askers.len() {
            waiting += usize::from(self.ask(token)?);
        }
        let mut ready: Vec<usize> = Vec::new();
        while waiting > 0 {
            self.poller.wait(Some(SILENCE), &mut ready)?;
            if ready.is_empty() {
                return Err("the proxy fell silent".into());
            }
            if Instant::now() > deadline {
                return Err(
                    format!("{} requests were not made in time", self.end - self.next).into()
                );
            }
            for &token in &ready {
                let Some((length, latency)) = self.askers[token].receive(&self.poller)? else {
                    continue;
                };
                if length != self.expected[token] {
                    return Err(format!("{length} bytes, not {}", self.expected[token]).into());
                }
                self.latencies.push(latency);
                if !self.ask(token)? {
                    waiting -= 1;
                }
            }
        }
        Ok(())
    }

    /// Asks for the next object; `false`: there is none.
    fn ask(&mut self, token: usize) -> Result<bool> {
        if self.next == self.end {
            return Ok(false);
        }
        let object = TRACE.object(self.next);
        self.next += 1;
        self.expected[token] = objects::length(object) as u64;
        self.askers[token].ask(&format!("/object/{object}"))?;
        Ok(true)
    }
}
