//! Many clients who ask at once for what has expired.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::asker::{Asker, SILENCE};
use super::{Outcome, open_loop};
use crate::Result;
use crate::bench::origin::Origins;
use crate::bench::poller::Poller;

/// What is fresh for a second has expired after this, for those too who count whole seconds.
const EXPIRY: Duration = Duration::from_millis(2100);

/// Waves for `length`, one at least; counts how often the origin was asked in each.
///
/// # Errors
/// The client itself cannot run.
pub fn run(
    address: SocketAddr,
    clients: usize,
    origins: &Origins,
    length: Duration,
) -> Result<Outcome> {
    let mut crowd = Crowd { poller: Poller::new()?, askers: Vec::new(), latencies: Vec::new() };
    for token in 0..clients {
        crowd.askers.push(Asker::connect(address, &crowd.poller, token)?);
    }
    let started = Instant::now();
    let (mut fetches, mut faults) = (0, Vec::new());
    loop {
        let before = origins.fetches();
        if let Err(fault) = crowd.wave() {
            faults.push(fault.to_string());
            break;
        }
        // Those that answer with what is stale fetch behind the answer.
        sleep(EXPIRY);
        match origins.fetches() - before {
            0 => faults.push("nothing had expired".into()),
            asked => fetches = fetches.max(asked),
        }
        if started.elapsed() + EXPIRY > length {
            break;
        }
    }
    let wall = started.elapsed();
    crowd.latencies.sort_unstable();
    Ok(Outcome {
        units: crowd.latencies.len() as u64,
        wall,
        p50: open_loop::percentile(&crowd.latencies, 50),
        p99: open_loop::percentile(&crowd.latencies, 99),
        slowest: crowd.latencies.last().copied(),
        fetches: Some(fetches),
        faults,
        ..Outcome::default()
    })
}

struct Crowd {
    poller: Poller,
    askers: Vec<Asker>,
    latencies: Vec<Duration>,
}

impl Crowd {
    /// All ask, and all are answered.
    fn wave(&mut self) -> Result {
        for asker in &mut self.askers {
            asker.ask("/hot")?;
        }
        let (mut waiting, mut ready) = (self.askers.len(), Vec::new());
        while waiting > 0 {
            self.poller.wait(Some(SILENCE), &mut ready)?;
            if ready.is_empty() {
                return Err(format!("{waiting} were not answered").into());
            }
            for &token in &ready {
                if let Some((_, latency)) = self.askers[token].receive(&self.poller)? {
                    self.latencies.push(latency);
                    waiting -= 1;
                }
            }
        }
        Ok(())
    }
}
