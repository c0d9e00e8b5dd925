//! A tunnel: bytes both ways between two streams until both have ended.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use crate::buffer::BufferPool;
use crate::pipe::PipePool;
use crate::stream::Stream;
use crate::toll::Toll;

mod flow;

#[cfg(test)]
mod tests;

use flow::{Flow, FlowError};

/// Bytes that each direction of a tunnel has delivered.
///
/// They grow while the tunnel runs: quotas and idle watches look at them.
#[derive(Debug, Default)]
pub struct TunnelCounters {
    /// Bytes read from a and taken by b.
    pub a_to_b: Cell<u64>,
    /// Bytes read from b and taken by a.
    pub b_to_a: Cell<u64>,
    /// Which of the two ended or failed first. Where both have by the time that somebody looks, it
    /// is the first stream.
    pub first_end: Cell<Option<Side>>,
}

/// One of the two streams of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first stream.
    A,
    /// The second stream.
    B,
}

/// One of the two ways through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first stream to the second.
    AToB,
    /// From the second stream to the first.
    BToA,
}

/// How a tunnel ended.
#[derive(Debug)]
pub enum TunnelEnd {
    /// Both sides ended their stream and everything was delivered.
    Closed,
    /// The toll let no more bytes through.
    Stopped,
    /// One side failed, which ends both directions.
    Failed {
        /// The stream that failed.
        side: Side,
        /// What it was doing: reading if it is the source of this direction.
        direction: Direction,
        /// What it said.
        error: io::Error,
    },
}

/// Moves bytes both ways until both directions have ended or one has failed.
///
/// The end of one stream is passed on as a half-close of the other, and the other
/// direction goes on (RFC 9110 §9.3.6 wants at least what was read delivered).
/// Bytes are spliced where both streams are plain sockets and copied otherwise;
/// an idle tunnel holds neither pipe nor buffer. There is no deadline here: the
/// caller watches `counters` and drops the future.
pub async fn tunnel<A: Stream, B: Stream>(
    a: &mut A,
    b: &mut B,
    pipes: &PipePool,
    buffers: &BufferPool,
    counters: &TunnelCounters,
) -> TunnelEnd {
    tunnel_under(a, b, pipes, buffers, counters, None).await
}

/// As [`tunnel`]; what `toll` does not let through is not taken in.
pub async fn tunnel_under<A: Stream, B: Stream>(
    a: &mut A,
    b: &mut B,
    pipes: &PipePool,
    buffers: &BufferPool,
    counters: &TunnelCounters,
    toll: Option<&dyn Toll>,
) -> TunnelEnd {
    let flow = |direction, delivered| Flow::new(pipes, buffers, delivered, toll, direction);
    let mut a_to_b = flow(Direction::AToB, &counters.a_to_b);
    let mut b_to_a = flow(Direction::BToA, &counters.b_to_a);
    let mut stopped = false;
    let first_end = &counters.first_end;
    let note = |flow: &Poll<Result<(), TunnelEnd>>, source: Side| {
        let side = match flow {
            Poll::Ready(Ok(())) => source,
            Poll::Ready(Err(TunnelEnd::Failed { side, .. })) => *side,
            _ => return,
        };
        first_end.set(first_end.get().or(Some(side)));
    };
    let ended = poll_fn(|cx| {
        if !stopped {
            // Both are polled before either may wait, so each has its waker in place.
            let first = poll_flow(&mut a_to_b, cx, a, b, Direction::AToB);
            let second = poll_flow(&mut b_to_a, cx, b, a, Direction::BToA);
            note(&first, Side::A);
            note(&second, Side::B);
            let is_stop = |flow: &Poll<_>| matches!(flow, Poll::Ready(Err(TunnelEnd::Stopped)));
            stopped = is_stop(&first) || is_stop(&second);
            if !stopped {
                let (first, second) = (first?, second?);
                ready!(first);
                ready!(second);
                return Poll::Ready(Ok(()));
            }
        }
        // What was let through before arrives, in the other direction too.
        let first = a_to_b.poll_out(cx, b);
        ready!(b_to_a.poll_out(cx, a));
        ready!(first);
        Poll::Ready(Err(TunnelEnd::Stopped))
    });
    match ended.await {
        Ok(()) => TunnelEnd::Closed,
        Err(failed) => failed,
    }
}

fn poll_flow<F: Stream, T: Stream>(
    flow: &mut Flow<'_>,
    cx: &mut Context<'_>,
    from: &mut F,
    to: &mut T,
    direction: Direction,
) -> Poll<Result<(), TunnelEnd>> {
    let (source, sink) = match direction {
        Direction::AToB => (Side::A, Side::B),
        Direction::BToA => (Side::B, Side::A),
    };
    flow.poll(cx, from, to).map_err(|error| match error {
        FlowError::Read(error) => TunnelEnd::Failed { side: source, direction, error },
        FlowError::Stopped => TunnelEnd::Stopped,
        FlowError::Write(error) => TunnelEnd::Failed { side: sink, direction, error },
    })
}
