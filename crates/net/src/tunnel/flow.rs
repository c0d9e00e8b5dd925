//! One direction of a tunnel, as a state machine to be polled.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use crate::buffer::{Buffer, BufferPool};
use crate::patience::Patience;
use crate::pipe::{LentPipe, PipePool};
use crate::splice::is_unsupported;
use crate::stream::Stream;
use crate::toll::{AT_ONCE, Toll};
use crate::tunnel::Direction;

/// Bytes a direction may move before other tasks of the core get their turn.
const TURN: u64 = 1024 * 1024;

/// Which end of a direction failed.
pub(super) enum FlowError {
    Read(io::Error),
    Stopped,
    Write(io::Error),
}

/// One direction: where its bytes are and how far its end has come.
pub(super) struct Flow<'a> {
    pipes: &'a PipePool,
    buffers: &'a BufferPool,
    /// Bytes the sink has taken.
    delivered: &'a Cell<u64>,
    stage: Stage,
    /// The sink may hold bytes back (a TLS record) until it is flushed.
    unflushed: bool,
    /// Never ended: a tunnel is the last thing a connection does.
    patience: Patience,
    /// The kernel said once that it cannot splice these sockets.
    copies_only: bool,
    /// Asked before bytes are taken in.
    toll: Option<&'a dyn Toll>,
    direction: Direction,
}

/// A vessel is held only in the stages in which it holds bytes.
enum Stage {
    /// Everything read is written; waits for the source.
    Empty,
    /// Bytes wait in a pipe for the sink.
    Piped(LentPipe),
    /// Bytes wait in a buffer for the sink.
    Buffered { buffer: Buffer, start: usize, end: usize },
    /// The source has ended; the sink is to be told.
    Ending,
    /// The sink has been told.
    Ended,
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        pipes: &'a PipePool,
        buffers: &'a BufferPool,
        delivered: &'a Cell<u64>,
        toll: Option<&'a dyn Toll>,
        direction: Direction,
    ) -> Self {
        Self {
            pipes,
            buffers,
            delivered,
            stage: Stage::Empty,
            unflushed: false,
            patience: Patience::new(),
            copies_only: false,
            toll,
            direction,
        }
    }

    /// Moves what can be moved now; ready once the end of the source has been passed on.
    pub(super) fn poll<F: Stream, T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
    ) -> Poll<Result<(), FlowError>> {
        let turn_ends = self.delivered.get().saturating_add(TURN);
        loop {
            match &mut self.stage {
                Stage::Empty => {
                    if self.delivered.get() >= turn_ends {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    match self.poll_load(cx, from, to) {
                        Poll::Ready(loaded) => loaded?,
                        Poll::Pending => {
                            self.flush(cx, to).map_err(FlowError::Write)?;
                            return Poll::Pending;
                        }
                    }
                }
                Stage::Piped(_) | Stage::Buffered { .. } => {
                    ready!(self.poll_unload(cx, to)).map_err(FlowError::Write)?;
                }
                Stage::Ending => {
                    // A shutdown flushes first, whatever the stream is made of.
                    ready!(poll_end(cx, to)).map_err(FlowError::Write)?;
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Waits for bytes and takes them in, into a pipe if both ends are plain sockets.
    fn poll_load<F: Stream, T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
    ) -> Poll<Result<(), FlowError>> {
        loop {
            let (Some(source), Some(_), false) = (from.raw(), to.raw(), self.copies_only) else {
                return self.poll_load_buffer(cx, from);
            };
            let Some(mut pipe) = self.pipes.take() else {
                return self.poll_load_buffer(cx, from);
            };
            let granted = ready!(self.poll_grant(cx, AT_ONCE))?;
            let filled = pipe.fill(source, granted);
            self.settle(granted, filled.as_ref().map_or(0, |bytes| *bytes as u64));
            match filled {
                Ok(0) => self.stage = Stage::Ending,
                Ok(_) => self.stage = Stage::Piped(pipe),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let moved = self.delivered.get();
                    self.patience.before_wait(cx, source, moved, u64::MAX);
                    ready!(source.poll_read_ready(cx)).map_err(FlowError::Read)?;
                    continue;
                }
                Err(error) if is_unsupported(&error) => {
                    self.copies_only = true;
                    continue;
                }
                Err(error) => return Poll::Ready(Err(FlowError::Read(error))),
            }
            return Poll::Ready(Ok(()));
        }
    }

    fn poll_load_buffer<F: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
    ) -> Poll<Result<(), FlowError>> {
        ready!(from.poll_readable(cx)).map_err(FlowError::Read)?;
        let mut buffer = self.buffers.take();
        let granted = ready!(self.poll_grant(cx, buffer.len() as u64))?;
        let most = usize::try_from(granted).map_or(buffer.len(), |most| most.min(buffer.len()));
        let mut room = ReadBuf::new(&mut buffer[..most]);
        let read = Pin::new(from).poll_read(cx, &mut room);
        let end = room.filled().len();
        self.settle(granted, end as u64);
        // Pending after all: the buffer goes back, the read has left its waker.
        ready!(read).map_err(FlowError::Read)?;
        self.stage = match end {
            0 => Stage::Ending,
            _ => Stage::Buffered { buffer, start: 0, end },
        };
        Poll::Ready(Ok(()))
    }

    /// How much may be taken in now.
    fn poll_grant(&self, cx: &mut Context<'_>, want: u64) -> Poll<Result<u64, FlowError>> {
        match self.toll {
            None => Poll::Ready(Ok(u64::MAX)),
            Some(toll) => toll.poll_grant(cx, self.direction, want).map_err(|_| FlowError::Stopped),
        }
    }

    /// Says how much of that was.
    fn settle(&self, granted: u64, bytes: u64) {
        if let Some(toll) = self.toll {
            toll.taken(self.direction, granted, bytes);
        }
    }

    /// Gives the sink everything held, and the vessel back.
    fn poll_unload<T: Stream>(&mut self, cx: &mut Context<'_>, to: &mut T) -> Poll<io::Result<()>> {
        loop {
            let (taken, empty) = match &mut self.stage {
                Stage::Piped(pipe) => {
                    // A sink that was plain when the bytes were taken in stays so.
                    let sink = to.raw().ok_or(io::ErrorKind::Unsupported)?;
                    let taken = ready!(poll_drain(cx, pipe, sink))?;
                    (taken, pipe.held() == 0)
                }
                Stage::Buffered { buffer, start, end } => {
                    let taken = ready!(Pin::new(&mut *to).poll_write(cx, &buffer[*start..*end]))?;
                    if taken == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    self.unflushed = true;
                    *start += taken;
                    (taken, start == end)
                }
                Stage::Empty | Stage::Ending | Stage::Ended => return Poll::Ready(Ok(())),
            };
            self.delivered.set(self.delivered.get() + taken as u64);
            if empty {
                self.stage = Stage::Empty;
            }
        }
    }

    /// Gives the sink what is held, and takes in nothing more. Ready when nothing is held, or
    /// nobody wants it.
    pub(super) fn poll_out<T: Stream>(&mut self, cx: &mut Context<'_>, to: &mut T) -> Poll<()> {
        let given = ready!(self.poll_unload(cx, to));
        if given.is_ok() && self.unflushed {
            self.unflushed = ready!(Pin::new(to).poll_flush(cx)).is_err();
        }
        Poll::Ready(())
    }

    /// Pushes out what the sink holds back, before this direction goes to sleep.
    /// If it cannot be pushed out yet, the flush has left its waker.
    fn flush<T: Stream>(&mut self, cx: &mut Context<'_>, to: &mut T) -> io::Result<()> {
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(to).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }
}

fn poll_drain(
    cx: &mut Context<'_>,
    pipe: &mut LentPipe,
    sink: &tokio::net::TcpStream,
) -> Poll<io::Result<usize>> {
    loop {
        match pipe.drain(sink) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(sink.poll_write_ready(cx))?;
            }
            done => return Poll::Ready(done),
        }
    }
}

/// Half-closes the sink.
fn poll_end<T: Stream>(cx: &mut Context<'_>, to: &mut T) -> Poll<io::Result<()>> {
    match ready!(Pin::new(to).poll_shutdown(cx)) {
        // Its peer has gone already; what it owed us, the other direction finds out.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
        done => Poll::Ready(done),
    }
}
