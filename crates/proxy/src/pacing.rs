//! Bodies that may go no faster, or no further, than somebody says.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use message::BlockPool;
use net::{Direction, Toll};
use policy::{Grant, Pacer};
use tokio::time::Sleep;

use crate::fare::Fare;
use crate::peer::{Sink, Source};
use crate::pump::{Pump, PumpError};

/// Bytes that are asked for at once: few enough that bodies under one limit take turns.
const AT_ONCE: usize = 16 * 1024;

/// Who is asked about a body, and what it has allowed.
#[derive(Debug)]
pub(crate) struct Pacing {
    by: By,
    wait: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum By {
    /// Limits of a site, in bytes in a time.
    Pacer(Pacer),
    /// What a user may still use. Of `granted` bytes it has not been told yet what became.
    Fare { fare: Rc<Fare>, direction: Direction, granted: u64 },
}

impl Pacing {
    pub(crate) fn by_pacer(pacer: Pacer) -> Self {
        Self { by: By::Pacer(pacer), wait: None }
    }

    pub(crate) fn by_fare(fare: Rc<Fare>, direction: Direction) -> Self {
        Self { by: By::Fare { fare, direction, granted: 0 }, wait: None }
    }

    /// The toll to be asked where bytes go from socket to socket. `None`: they may not.
    pub(crate) fn toll(&self) -> Option<Rc<Fare>> {
        match &self.by {
            By::Pacer(_) => None,
            By::Fare { fare, .. } => Some(Rc::clone(fare)),
        }
    }

    /// As [`Pump::poll`], as fast and as far as may be. What is at hand is asked for, and no
    /// more: nothing is charged that does not go.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pump: &mut Pump<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
        pool: &BlockPool,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            if let Poll::Ready(outcome) = pump.poll_allowed(cx, source, sink, pool) {
                self.settle(pump);
                return Poll::Ready(outcome);
            }
            let in_file = source.file().map_or(0, |piece| piece.length);
            let at_hand = source.available().map_err(PumpError::Source)?.len();
            let at_hand = at_hand.max(usize::try_from(in_file).unwrap_or(usize::MAX));
            if pump.allowed > 0 || at_hand == 0 {
                return Poll::Pending;
            }
            ready!(self.poll_grant(cx, pump, at_hand.min(AT_ONCE)))?;
        }
    }

    fn poll_grant(
        &mut self,
        cx: &mut Context<'_>,
        pump: &mut Pump<'_>,
        want: usize,
    ) -> Poll<Result<(), PumpError>> {
        self.settle(pump);
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match &mut self.by {
                By::Pacer(pacer) => match pacer.grant(Instant::now(), want) {
                    Grant::Now(bytes) => pump.allowed = bytes as u64,
                    Grant::Later(after) => {
                        self.wait = Some(Box::pin(tokio::time::sleep(after)));
                        continue;
                    }
                },
                By::Fare { fare, direction, granted } => {
                    let grant = ready!(fare.poll_grant(cx, *direction, want as u64));
                    *granted = grant.map_err(|_| PumpError::Stopped)?;
                    pump.allowed = *granted;
                }
            }
            return Poll::Ready(Ok(()));
        }
    }

    /// Tells what became of the bytes that were granted last, and which went without being asked
    /// for.
    pub(crate) fn settle(&mut self, pump: &mut Pump<'_>) {
        let By::Fare { fare, direction, granted } = &mut self.by else { return };
        fare.charge(*direction, std::mem::take(&mut pump.behind));
        if *granted > 0 {
            let given = std::mem::take(granted);
            let left = std::mem::take(&mut pump.allowed);
            fare.taken(*direction, given, given.saturating_sub(left));
        }
    }
}
