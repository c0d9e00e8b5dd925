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
pub fn tunnel<'a, A: Stream, B: Stream>(
    a: &'a mut A,
    b: &'a mut B,
    pipes: &'a PipePool,
    buffers: &'a BufferPool,
    counters: &'a TunnelCounters,
) -> impl Future<Output = TunnelEnd> {
    tunnel_under(a, b, pipes, buffers, counters, None)
}

/// As [`tunnel`]; what `toll` does not let through is not taken in.
pub fn tunnel_under<'a, A: Stream, B: Stream>(
    a: &'a mut A,
    b: &'a mut B,
    pipes: &'a PipePool,
    buffers: &'a BufferPool,
    counters: &'a TunnelCounters,
    toll: Option<&'a dyn Toll>,
) -> impl Future<Output = TunnelEnd> {
    // No async function: that would keep what it was given beside what it made of it, and
    // thousands of these wait at a time.
    let flow = |direction, delivered| Flow::new(pipes, buffers, delivered, toll, direction);
    let mut a_to_b = flow(Direction::AToB, &counters.a_to_b);
    let mut b_to_a = flow(Direction::BToA, &counters.b_to_a);
    let mut stopped = false;
    poll_fn(move |cx| {
        if !stopped {
            // Both are polled before either may wait, so each has its waker in place.
            let first = poll_flow(&mut a_to_b, cx, a, b, Direction::AToB);
            let second = poll_flow(&mut b_to_a, cx, b, a, Direction::BToA);
            counters.note_end(&first, Side::A);
            counters.note_end(&second, Side::B);
            match (first, second) {
                (Poll::Ready(Err(TunnelEnd::Stopped)), _)
                | (_, Poll::Ready(Err(TunnelEnd::Stopped))) => stopped = true,
                (Poll::Ready(Err(failed)), _) | (_, Poll::Ready(Err(failed))) => {
                    return Poll::Ready(failed);
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                    return Poll::Ready(TunnelEnd::Closed);
                }
                _ => return Poll::Pending,
            }
        }
        // What was let through before arrives, in the other direction too.
        let first = a_to_b.poll_out(cx, b);
        ready!(b_to_a.poll_out(cx, a));
        ready!(first);
        Poll::Ready(TunnelEnd::Stopped)
    })
}

impl TunnelCounters {
    /// Takes note of how the direction out of `source` is, in case that it is the first to end.
    fn note_end(&self, flow: &Poll<Result<(), TunnelEnd>>, source: Side) {
        let side = match flow {
            Poll::Ready(Ok(())) => source,
            Poll::Ready(Err(TunnelEnd::Failed { side, .. })) => *side,
            _ => return,
        };
        self.first_end.set(self.first_end.get().or(Some(side)));
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
