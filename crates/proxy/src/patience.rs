//! How long an exchange waits for whom. Peers are judged by progress, not by total time: an
//! upload of an hour is fine, a byte every ten seconds is not.

use std::task::{Context, Poll};
use std::time::Duration;

use net::watchdog::Guard;
use tokio::net::TcpStream;

use crate::failure::{Failure, Kind};
use crate::pump::{Pump, Waiting};

/// The patience with both sides of one exchange.
#[derive(Debug)]
pub(crate) struct Patience<'a> {
    guard: &'a Guard,
    /// Bytes per second; `None`: any rate will do.
    min_rate: Option<u64>,
    grace: i64,
    /// Milliseconds that a server may be silent.
    response: u64,
    /// Interval between two looks.
    every: Duration,
    looked: u64,
    armed: bool,
    client_in: Credit,
    client_out: Credit,
    server_silent: u64,
    server_moved: u64,
}

/// Time that a slow client has left: it runs down while we wait for it, and every byte gives
/// some back.
#[derive(Debug, Clone, Copy)]
struct Credit {
    left: i64,
    moved: u64,
}

/// What an exchange is doing.
pub(crate) enum Stage<'a> {
    /// It waits for the head of the response.
    Waiting,
    /// The response is coming.
    Responding(&'a Pump<'a>),
    /// The response is held back by others who get the same, and are slower.
    Held,
    /// The response is stored as it comes, and a client is given of it what there is.
    Filling {
        /// From the server.
        pump: &'a Pump<'a>,
        /// To the client; `None`: it has all of it, or is gone.
        client: Option<&'a Pump<'a>>,
    },
    /// The response goes from socket to socket.
    Splicing {
        /// Bytes of it moved so far.
        moved: u64,
        /// Where it goes.
        to: &'a TcpStream,
    },
}

impl<'a> Patience<'a> {
    pub(crate) fn new(guard: &'a Guard, limits: &config::Limits, response: Duration) -> Self {
        let grace = limits.min_rate_grace.as_millis() as i64;
        let shortest = response.min(limits.min_rate_grace);
        let credit = Credit { left: grace, moved: 0 };
        Self {
            guard,
            min_rate: limits.min_rate,
            grace,
            response: response.as_millis() as u64,
            every: (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1)),
            looked: guard.watchdog().now_ms(),
            armed: false,
            client_in: credit,
            client_out: credit,
            server_silent: 0,
            server_moved: 0,
        }
    }

    /// The server may be silent for so long from now on.
    pub(crate) fn wait_for_server(&mut self, response: Duration) {
        self.response = response.as_millis() as u64;
    }

    /// Ready with a failure once patience is at its end.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        upload: &Pump<'_>,
        stage: Stage<'_>,
    ) -> Poll<Failure> {
        if !self.armed {
            self.guard.set(self.every);
            self.armed = true;
        }
        while self.guard.poll_expired(cx).is_ready() {
            if let Some(failure) = self.look(cx, upload, &stage) {
                return Poll::Ready(failure);
            }
            self.guard.set(self.every);
        }
        Poll::Pending
    }

    fn look(
        &mut self,
        cx: &mut Context<'_>,
        upload: &Pump<'_>,
        stage: &Stage<'_>,
    ) -> Option<Failure> {
        let now = self.guard.watchdog().now_ms();
        let passed = now - self.looked;
        self.looked = now;
        let slow = Failure::with(Kind::ClientTooSlow, "below the minimum rate");
        let (waiting, moved) = match stage {
            Stage::Waiting => {
                return match upload.waiting {
                    Waiting::Source => {
                        let over = self.client_in.run_down(upload.came(), passed, self.terms());
                        over.then_some(slow)
                    }
                    Waiting::Sink => self.server(upload.moved, passed, Kind::WriteTimeout),
                    Waiting::Nobody => self.server(upload.moved, passed, Kind::ResponseTimeout),
                };
            }
            Stage::Held => return None,
            Stage::Responding(pump) => (pump.waiting, pump.moved),
            Stage::Filling { pump, client } => {
                let waits = |pump: &&&Pump<'_>| pump.waiting == Waiting::Sink;
                if let Some(client) = client.as_ref().filter(waits)
                    && self.client_out.run_down(client.moved, passed, self.terms())
                {
                    return Some(slow);
                }
                // A body that all have to make room for is not late.
                if pump.waiting == Waiting::Sink {
                    return None;
                }
                (pump.waiting, pump.moved)
            }
            Stage::Splicing { moved, to } => {
                // Who is being waited for shows in whether the client would take more.
                let client_takes = to.poll_write_ready(cx).is_ready();
                (if client_takes { Waiting::Source } else { Waiting::Sink }, *moved)
            }
        };
        match waiting {
            Waiting::Source => self.server(moved, passed, Kind::ReadTimeout),
            Waiting::Sink => {
                let over = self.client_out.run_down(moved, passed, self.terms());
                over.then_some(slow)
            }
            Waiting::Nobody => None,
        }
    }

    fn terms(&self) -> (Option<u64>, i64) {
        (self.min_rate, self.grace)
    }

    /// The server is being waited for.
    fn server(&mut self, moved: u64, passed: u64, kind: Kind) -> Option<Failure> {
        if moved != self.server_moved {
            self.server_moved = moved;
            self.server_silent = 0;
            return None;
        }
        self.server_silent += passed;
        (self.server_silent >= self.response).then(|| Failure::new(kind))
    }
}

impl Credit {
    /// Takes off the time that passed, and gives back what the bytes moved since are worth.
    /// `true`: nothing is left.
    fn run_down(&mut self, moved: u64, passed: u64, (rate, grace): (Option<u64>, i64)) -> bool {
        let Some(rate) = rate else { return false };
        let bytes = moved.saturating_sub(self.moved);
        self.moved = moved;
        let earned = bytes.saturating_mul(1000) / rate.max(1);
        let earned = i64::try_from(earned).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(earned).min(grace) - passed as i64;
        self.left <= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lives for so many seconds at this many bytes a second.
    fn lasts(per_second: impl Fn(u64) -> u64) -> Option<u64> {
        let mut credit = Credit { left: 20_000, moved: 0 };
        let mut moved = 0;
        (1..=3600).find(|second| {
            moved += per_second(*second);
            credit.run_down(moved, 1000, (Some(240), 20_000))
        })
    }

    #[test]
    fn a_steady_upload_lasts_and_a_trickle_does_not() {
        assert_eq!(lasts(|_| 50_000), None);
        assert_eq!(lasts(|_| 240), None);
        assert_eq!(lasts(|second| if second % 10 == 0 { 1 } else { 0 }), Some(21));
        assert_eq!(lasts(|_| 0), Some(20));
        // Bursts count: 10 kB every 15 s is above the rate.
        assert_eq!(lasts(|second| if second % 15 == 0 { 10_000 } else { 0 }), None);
    }
}
