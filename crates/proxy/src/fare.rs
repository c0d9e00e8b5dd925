//! What a user may still use, asked about every byte that goes in its name.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use accounts::{Denied, Granted, Meter, Moment};
use net::{Direction, Stopped, Toll};
use tokio::time::Sleep;

use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};

/// The meter of one exchange, for both ways of its bytes.
#[derive(Debug)]
pub(crate) struct Fare {
    meter: Meter,
    /// Each way waits by itself.
    waits: [RefCell<Option<Pin<Box<Sleep>>>>; 2],
    stopped: Cell<Option<Denied>>,
    begun: Instant,
    /// From the beginning to the first byte towards the client.
    first_byte: Cell<Option<Duration>>,
}

/// That of an exchange, where somebody counts.
pub(crate) fn of(x: &Exchange<'_>) -> Option<Rc<Fare>> {
    x.guest.as_ref()?.fare.clone()
}

impl Fare {
    pub(crate) fn new(meter: Meter) -> Rc<Self> {
        let waits = [RefCell::default(), RefCell::default()];
        Rc::new(Self {
            meter,
            waits,
            stopped: Cell::new(None),
            begun: Instant::now(),
            first_byte: Cell::new(None),
        })
    }

    /// Why bytes were stopped.
    pub(crate) fn stop_reason(&self) -> Failure {
        match self.stopped.get() {
            Some(denied) => of_denied(&denied),
            None => Failure::new(Kind::QuotaExceeded),
        }
    }

    /// In how long bytes that were stopped may go again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.stopped.get()?.retry_after()
    }

    /// Charges what nobody is asked about before: heads and trailers. They may overdraw what is
    /// left, each by its own size; whoever asks next is told so.
    pub(crate) fn charge(&self, direction: Direction, bytes: u64) {
        if bytes > 0 {
            self.meter.used(towards(direction), bytes);
        }
    }

    /// How long the first byte towards the client took; `None`: none came.
    pub(crate) fn first_byte(&self) -> Option<Duration> {
        self.first_byte.get()
    }
}

/// A user who may not, or may not now.
pub(crate) fn of_denied(denied: &Denied) -> Failure {
    let kind = match denied {
        Denied::Quota { .. } | Denied::Budget { .. } => Kind::QuotaExceeded,
        Denied::Connections | Denied::Rate { .. } => Kind::RateLimited,
        Denied::Hours | Denied::Expired => Kind::Denied,
    };
    Failure::with(kind, denied.to_string())
}

fn towards(direction: Direction) -> accounts::Direction {
    match direction {
        Direction::AToB => accounts::Direction::Up,
        Direction::BToA => accounts::Direction::Down,
    }
}

impl Toll for Fare {
    fn poll_grant(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        want: u64,
    ) -> Poll<Result<u64, Stopped>> {
        let mut wait = self.waits[usize::from(direction == Direction::BToA)].borrow_mut();
        loop {
            if let Some(waiting) = &mut *wait {
                ready!(waiting.as_mut().poll(cx));
                *wait = None;
            }
            match self.meter.grant(Moment::now(), want) {
                Granted::Now(bytes) => return Poll::Ready(Ok(bytes)),
                Granted::Later(after) => *wait = Some(Box::pin(tokio::time::sleep(after))),
                Granted::Stop(denied) => {
                    self.stopped.set(Some(denied));
                    return Poll::Ready(Err(Stopped));
                }
            }
        }
    }

    fn taken(&self, direction: Direction, granted: u64, bytes: u64) {
        if direction == Direction::BToA && bytes > 0 && self.first_byte.get().is_none() {
            self.first_byte.set(Some(self.begun.elapsed()));
        }
        self.meter.used(towards(direction), bytes);
        self.meter.give_back(granted - bytes);
    }
}
