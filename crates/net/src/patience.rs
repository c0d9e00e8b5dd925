//! Fewer and larger transfers while a body streams in fast.
//!
//! On loopback and on fast networks the source wakes the relay for each segment
//! burst. `SO_RCVLOWAT` lets it wake for a quarter of a mebibyte instead, which saved
//! a third of the CPU time per byte where it held throughout (`examples/relay.rs`). A slow source must not
//! have its bytes held back, so the mark is lowered when it is not reached in time,
//! and set again only after another stretch of bytes.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::option::set_receive_low_water;

/// Bytes worth a wake-up.
const MARK: i32 = 256 * 1024;

/// A source must have brought as much before the mark is set, and must have as much
/// to come: the two calls have to pay.
const LONG: u64 = 2 * MARK as u64;

/// Bytes between a mark missed and the next try.
const RETRY: u64 = 1024 * 1024;

/// The longest that bytes are held back, and at most once in [`RETRY`] bytes.
const LONGEST_WAIT: Duration = Duration::from_millis(2);

/// The low-water mark of one source.
///
/// Whoever uses the socket further calls [`Patience::finish`] first.
pub(crate) struct Patience {
    stage: Stage,
}

enum Stage {
    /// The mark is not set before `until` bytes have been moved.
    Unmarked { until: u64 },
    /// `seen` bytes had been moved when the timer was last set.
    Marked { timer: Pin<Box<Sleep>>, seen: u64 },
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { stage: Stage::Unmarked { until: LONG } }
    }

    /// To be called before each wait for the source: `moved` bytes are through, at
    /// most `rest` are to come.
    pub(crate) fn before_wait(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        moved: u64,
        rest: u64,
    ) {
        match &mut self.stage {
            Stage::Unmarked { until } if moved >= *until && rest >= LONG => {
                if set_receive_low_water(source, MARK).is_err() {
                    *until = u64::MAX;
                    return;
                }
                let mut timer = Box::pin(sleep(LONGEST_WAIT));
                // Only to leave the waker: it cannot have elapsed in no time.
                let _ = timer.as_mut().poll(cx);
                self.stage = Stage::Marked { timer, seen: moved };
            }
            // Fewer bytes than the mark would never reach it.
            Stage::Marked { .. } if rest < LONG => self.end(source, u64::MAX),
            Stage::Marked { timer, seen } => {
                while timer.as_mut().poll(cx).is_ready() {
                    if *seen == moved {
                        return self.end(source, moved.saturating_add(RETRY));
                    }
                    *seen = moved;
                    timer.as_mut().reset(Instant::now() + LONGEST_WAIT);
                }
            }
            Stage::Unmarked { .. } => {}
        }
    }

    /// Resets the socket, if it was changed, for its next use.
    pub(crate) fn finish(&mut self, source: &TcpStream) {
        self.end(source, u64::MAX);
    }

    /// Lowers the mark; the kernel then reports bytes that lay below it.
    fn end(&mut self, source: &TcpStream, until: u64) {
        if let Stage::Marked { .. } = self.stage {
            // Fails only for what is no socket.
            let _ = set_receive_low_water(source, 1);
        }
        self.stage = Stage::Unmarked { until };
    }
}
