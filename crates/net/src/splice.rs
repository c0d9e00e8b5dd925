//! One message body from socket to socket, through a pipe, past user space.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::net::TcpStream;

use crate::patience::Patience;
use crate::pipe::{LentPipe, PipePool};
use crate::toll::{AT_ONCE, Toll};
use crate::tunnel::Direction;

#[cfg(test)]
pub(crate) mod tests;

/// Why a body did not arrive whole. Whatever moved before is in `progress`.
#[derive(Debug)]
pub enum SpliceError {
    /// The source failed.
    Read(io::Error),
    /// The sink failed.
    Write(io::Error),
    /// The source ended before `length` bytes; `moved` bytes reached the sink.
    Eof {
        /// Bytes that reached the sink.
        moved: u64,
    },
    /// The toll let no more bytes through; what it had let through reached the sink.
    Stopped,
    /// No pipe is to be had, or these sockets cannot be spliced. No byte was moved:
    /// the caller can copy instead.
    Unsupported,
}

/// Moves exactly `length` bytes, or all until the end if `None`, and returns how many.
///
/// `progress` grows by each byte the sink has taken. If the returned future is
/// dropped early, bytes may be lost: both connections must then be closed.
///
/// The sink is watched only while bytes wait for it; whoever needs to know that it
/// is gone while the source is silent watches its read side.
///
/// # Errors
///
/// See [`SpliceError`].
pub async fn splice_body(
    pipes: &PipePool,
    from: &TcpStream,
    to: &TcpStream,
    length: Option<u64>,
    progress: &Cell<u64>,
) -> Result<u64, SpliceError> {
    splice_body_under(pipes, from, to, length, progress, None).await
}

/// As [`splice_body`]; what `toll` does not let through, from b to a, is not taken in.
///
/// # Errors
///
/// See [`SpliceError`].
pub async fn splice_body_under(
    pipes: &PipePool,
    from: &TcpStream,
    to: &TcpStream,
    length: Option<u64>,
    progress: &Cell<u64>,
    toll: Option<&dyn Toll>,
) -> Result<u64, SpliceError> {
    let patience = Patience::new();
    let cargo = Cargo::Nothing;
    let mut body = Body { pipes, from, to, length, progress, moved: 0, cargo, patience, toll };
    poll_fn(|cx| body.poll(cx)).await
}

/// Bytes a body may move before other tasks of the core get their turn.
const TURN: u64 = 4 * 1024 * 1024;

/// The buffer for bodies that lost their pipe to others half-way.
const SPARE_BUFFER_SIZE: usize = 32 * 1024;

struct Body<'a> {
    pipes: &'a PipePool,
    from: &'a TcpStream,
    to: &'a TcpStream,
    length: Option<u64>,
    progress: &'a Cell<u64>,
    /// Bytes the sink has taken.
    moved: u64,
    cargo: Cargo,
    patience: Patience,
    toll: Option<&'a dyn Toll>,
}

/// Bytes that left the source and wait for the sink. A vessel is held only while
/// it holds bytes.
enum Cargo {
    Nothing,
    Pipe(LentPipe),
    Buffer { bytes: Box<[u8]>, start: usize, end: usize },
}

impl Body<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64, SpliceError>> {
        let turn_ends = self.moved.saturating_add(TURN);
        loop {
            if matches!(self.cargo, Cargo::Nothing) {
                let rest = self.length.map_or(u64::MAX, |length| length - self.moved);
                if rest == 0 {
                    return Poll::Ready(Ok(self.moved));
                }
                if self.moved >= turn_ends {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if ready!(self.poll_load(cx, rest))? == 0 {
                    return Poll::Ready(self.at_end());
                }
            }
            ready!(self.poll_unload(cx)).map_err(SpliceError::Write)?;
        }
    }

    fn at_end(&self) -> Result<u64, SpliceError> {
        match self.length {
            None => Ok(self.moved),
            Some(_) => Err(SpliceError::Eof { moved: self.moved }),
        }
    }

    fn poll_load(&mut self, cx: &mut Context<'_>, rest: u64) -> Poll<Result<usize, SpliceError>> {
        loop {
            let granted = match self.toll {
                None => rest,
                Some(toll) => {
                    let grant = toll.poll_grant(cx, Direction::BToA, rest.min(AT_ONCE));
                    ready!(grant).map_err(|_| SpliceError::Stopped)?
                }
            };
            let loaded = self.load(granted);
            if let Some(toll) = self.toll {
                let bytes = loaded.as_ref().map_or(0, |bytes| *bytes as u64);
                toll.taken(Direction::BToA, granted, bytes);
            }
            match loaded {
                Err(SpliceError::Read(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.patience.before_wait(cx, self.from, self.moved, rest);
                    ready!(self.from.poll_read_ready(cx)).map_err(SpliceError::Read)?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Takes bytes out of the source; 0 is its end, and then there is no cargo.
    fn load(&mut self, rest: u64) -> Result<usize, SpliceError> {
        let Some(mut pipe) = self.pipes.take() else {
            if self.moved == 0 {
                return Err(SpliceError::Unsupported);
            }
            return self.load_buffer(rest).map_err(SpliceError::Read);
        };
        match pipe.fill(self.from, rest) {
            Ok(0) => Ok(0),
            Ok(loaded) => {
                self.cargo = Cargo::Pipe(pipe);
                Ok(loaded)
            }
            Err(error) if self.moved == 0 && is_unsupported(&error) => {
                Err(SpliceError::Unsupported)
            }
            Err(error) => Err(SpliceError::Read(error)),
        }
    }

    /// Copies, because all pipes are with others now. The next bytes may find one.
    fn load_buffer(&mut self, rest: u64) -> io::Result<usize> {
        let size = usize::try_from(rest).map_or(SPARE_BUFFER_SIZE, |n| n.min(SPARE_BUFFER_SIZE));
        let mut bytes = vec![0; size].into_boxed_slice();
        let end = self.from.try_read(&mut bytes)?;
        if end > 0 {
            self.cargo = Cargo::Buffer { bytes, start: 0, end };
        }
        Ok(end)
    }

    fn poll_unload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.unload() {
                Ok(()) if matches!(self.cargo, Cargo::Nothing) => return Poll::Ready(Ok(())),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.to.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Gives the sink what it takes now, and the vessel back once that was all.
    fn unload(&mut self) -> io::Result<()> {
        let (taken, empty) = match &mut self.cargo {
            Cargo::Nothing => return Ok(()),
            Cargo::Pipe(pipe) => {
                let taken = pipe.drain(self.to)?;
                (taken, pipe.held() == 0)
            }
            Cargo::Buffer { bytes, start, end } => {
                let taken = self.to.try_write(&bytes[*start..*end])?;
                *start += taken;
                (taken, start == end)
            }
        };
        if empty {
            self.cargo = Cargo::Nothing;
        }
        self.moved += taken as u64;
        self.progress.set(self.progress.get() + taken as u64);
        Ok(())
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        self.patience.finish(self.from);
    }
}

/// Whether the kernel says that it cannot splice these files at all.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}
