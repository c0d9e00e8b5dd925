//! Bodies that may go no faster than a limit says.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use message::BlockPool;
use policy::{Grant, Pacer};
use tokio::time::Sleep;

use crate::peer::Peer;
use crate::pump::{Pump, PumpError};

/// Bytes that are asked for at once: few enough that bodies under one limit take turns.
const AT_ONCE: usize = 16 * 1024;

/// A body under limits, and the wait until more of it may go.
#[derive(Debug)]
pub(crate) struct Pacing {
    pacer: Pacer,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Pacing {
    /// Takes a body in hand.
    pub(crate) fn new(pacer: Pacer, pump: &mut Pump<'_>) -> Self {
        pump.allowed = 0;
        Self { pacer, wait: None }
    }

    /// As [`Pump::poll`], as fast as may be. What is at hand is asked for, and no more: nothing is
    /// charged that does not go.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pump: &mut Pump<'_>,
        source: &mut impl Peer,
        sink: &mut impl Peer,
        pool: &BlockPool,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            if let Poll::Ready(outcome) = pump.poll(cx, source, sink, pool) {
                return Poll::Ready(outcome);
            }
            let at_hand = source.available().map_err(PumpError::Source)?.len();
            if pump.allowed > 0 || at_hand == 0 {
                return Poll::Pending;
            }
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.pacer.grant(Instant::now(), at_hand.min(AT_ONCE)) {
                Grant::Now(bytes) => pump.allowed = bytes as u64,
                Grant::Later(after) => self.wait = Some(Box::pin(tokio::time::sleep(after))),
            }
        }
    }
}
