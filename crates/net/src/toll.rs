//! Bytes that somebody is asked about before they pass.

use std::task::{Context, Poll};

use crate::tunnel::Direction;

/// Asked before bytes are taken in, so that not one passes that may not. Both ways of a tunnel
/// ask the same one.
pub trait Toll {
    /// How many of `want` bytes may be taken in, at least one. Where none may yet, the task is
    /// woken when that may have changed.
    ///
    /// # Errors
    /// [`Stopped`]: no more will pass.
    fn poll_grant(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        want: u64,
    ) -> Poll<Result<u64, Stopped>>;

    /// Of `granted` bytes so many were taken in. What is left of them is given back.
    fn taken(&self, direction: Direction, granted: u64, bytes: u64);
}

/// No more bytes may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// Bytes that are asked for at once: few enough that many streams under one limit take turns,
/// many enough for one call of `splice`.
pub(crate) const AT_ONCE: u64 = 256 * 1024;
