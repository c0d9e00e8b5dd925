//! One direction of an exchange: a body from one side to the other.

use std::io;
use std::task::{Context, Poll, ready};

use message::BlockPool;

use crate::failure::Failure;
use crate::gate::Reserved;
use crate::pacing::Pacing;
use crate::peer::{FilePiece, PeerError, Sink, Source};

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Pump<'a> {
    /// Bytes of the body moved so far.
    pub(crate) moved: u64,
    /// Bytes that came for it, where these are others.
    pub(crate) came: Option<u64>,
    /// More than this is too much.
    pub(crate) limit: u64,
    /// Size of the trailers that went behind it.
    pub(crate) behind: u64,
    /// What it waits for.
    pub(crate) waiting: Waiting,
    /// So many bytes may be moved before somebody allows more.
    pub(crate) allowed: u64,
    finished: bool,
    /// What is taken out of the trailers.
    reserved: Option<Reserved<'a>>,
    /// Who is asked about each piece.
    pacing: Option<Box<Pacing>>,
    /// Who looks at each piece that has gone.
    watch: Option<&'a Watch>,
}

/// Somebody who looks at what has gone.
pub(crate) trait Watcher: std::fmt::Debug {
    /// Is shown the next piece; `false`: it has seen enough.
    fn see(&self, piece: &[u8]) -> bool;
}

/// See [`Watcher`].
pub(crate) type Watch = dyn Watcher;

impl Drop for Pump<'_> {
    /// What was granted and has not gone is given back.
    fn drop(&mut self) {
        if let Some(mut pacing) = self.pacing.take() {
            pacing.settle(self);
        }
    }
}

/// What a pump waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Nothing: it is done, or not begun.
    Nobody,
    /// The side that the body comes from.
    Source,
    /// The side that the body goes to.
    Sink,
}

/// Why a body did not get there.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// The side it comes from failed.
    Source(PeerError),
    /// The side it goes to failed.
    Sink(PeerError),
    /// It is larger than is allowed.
    TooLarge,
    /// No more of it may go.
    Stopped,
}

impl<'a> Pump<'a> {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            moved: 0,
            came: None,
            limit,
            behind: 0,
            waiting: Waiting::Nobody,
            allowed: u64::MAX,
            finished: false,
            reserved: None,
            pacing: None,
            watch: None,
        }
    }

    /// That of a body which was moved already, or never was.
    pub(crate) fn idle() -> Self {
        let mut pump = Self::new(0);
        pump.finished = true;
        pump
    }

    /// That of a request body.
    pub(crate) fn upload(limit: u64, reserved: Option<Reserved<'a>>) -> Self {
        let mut pump = Self::new(limit);
        pump.reserved = reserved;
        pump
    }

    /// The same, asking about each piece.
    pub(crate) fn paced(mut self, pacing: Option<Pacing>) -> Self {
        if let Some(pacing) = pacing {
            self.allowed = 0;
            self.pacing = Some(Box::new(pacing));
        }
        self
    }

    /// The same, shown to somebody.
    pub(crate) fn watched(mut self, watch: Option<&'a Watch>) -> Self {
        self.watch = watch;
        self
    }

    /// Whether nobody has to be asked about it, or looks at it, here: its bytes may go from
    /// socket to socket, under this toll.
    pub(crate) fn by_sockets(&mut self) -> Option<Option<std::rc::Rc<crate::fare::Fare>>> {
        if self.watch.is_some() {
            return None;
        }
        let Some(mut pacing) = self.pacing.take() else { return Some(None) };
        let toll = pacing.toll();
        if toll.is_some() {
            pacing.settle(self);
        }
        self.pacing = Some(pacing);
        toll.map(Some)
    }

    /// Why no more of it may go.
    pub(crate) fn stop_reason(&self) -> Failure {
        let toll = self.pacing.as_ref().and_then(|pacing| pacing.toll());
        toll.map_or_else(|| Failure::internal("nobody stopped it"), |fare| fare.stop_reason())
    }

    /// Bytes that the side it comes from has sent of it.
    pub(crate) fn came(&self) -> u64 {
        self.came.unwrap_or(self.moved)
    }

    /// Whether the whole body was taken and sent.
    pub(crate) fn is_done(&self) -> bool {
        self.finished && self.waiting == Waiting::Nobody
    }

    /// Moves as much as can be moved now; ready when all of the body is.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
        pool: &BlockPool,
    ) -> Poll<Result<(), PumpError>> {
        let Some(mut pacing) = self.pacing.take() else {
            return self.poll_allowed(cx, source, sink, pool);
        };
        let outcome = pacing.poll(cx, self, source, sink, pool);
        self.pacing = Some(pacing);
        outcome
    }

    /// So many bytes have gone.
    fn count(&mut self, bytes: u64) -> Result<(), PumpError> {
        self.moved += bytes;
        self.allowed -= bytes;
        if self.moved > self.limit { Err(PumpError::TooLarge) } else { Ok(()) }
    }

    /// Sends what is next from its file, where it is in one. `None`: it is not.
    fn poll_file(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
    ) -> Poll<Result<Option<u64>, PumpError>> {
        let Some(piece) = source.file() else { return Poll::Ready(Ok(None)) };
        self.waiting = Waiting::Sink;
        if self.allowed == 0 {
            // What went before does not wait for what may not go yet.
            ready!(sink.poll_flush(cx)).map_err(PumpError::Sink)?;
            self.waiting = Waiting::Nobody;
            return Poll::Pending;
        }
        let piece = FilePiece { length: piece.length.min(self.allowed), ..piece };
        let Poll::Ready(sent) = sink.poll_send_file(cx, &piece) else {
            source.file_waits();
            return Poll::Pending;
        };
        match sent {
            // The file ends before the body does.
            Ok(0) => Poll::Ready(Err(PumpError::Source(PeerError::Incomplete))),
            Ok(sent) => {
                source.file_sent(sent as u64);
                Poll::Ready(Ok(Some(sent as u64)))
            }
            Err(PeerError::Io(error)) if error.kind() == io::ErrorKind::Unsupported => {
                source.refuse_files();
                Poll::Ready(Ok(None))
            }
            Err(PeerError::Io(error)) if net::file::is_of_disk(&error) => {
                Poll::Ready(Err(PumpError::Source(PeerError::Io(error))))
            }
            Err(error) => Poll::Ready(Err(PumpError::Sink(error))),
        }
    }

    /// As [`Pump::poll`], but no more than is allowed.
    pub(crate) fn poll_allowed(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
        pool: &BlockPool,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            if !self.finished {
                if let Some(sent) = ready!(self.poll_file(cx, source, sink))? {
                    self.count(sent)?;
                    continue;
                }
                let piece = source.available().map_err(PumpError::Source)?;
                if !piece.is_empty() {
                    if self.allowed == 0 {
                        // What went before does not wait for what may not go yet.
                        self.waiting = Waiting::Sink;
                        ready!(sink.poll_flush(cx)).map_err(PumpError::Sink)?;
                        self.waiting = Waiting::Nobody;
                        return Poll::Pending;
                    }
                    let most = usize::try_from(self.allowed).unwrap_or(usize::MAX);
                    let piece = &piece[..piece.len().min(most)];
                    self.waiting = Waiting::Sink;
                    let taken = ready!(sink.poll_send(cx, piece)).map_err(PumpError::Sink)?;
                    if let Some(watch) = self.watch
                        && !watch.see(&piece[..taken])
                    {
                        self.watch = None;
                    }
                    source.consume(taken);
                    self.count(taken as u64)?;
                    continue;
                }
                if source.is_done() {
                    let mut trailers = source.trailers().map_err(PumpError::Source)?;
                    if let (Some(reserved), Some(trailers)) = (&self.reserved, &mut trailers) {
                        reserved.clear(trailers);
                    }
                    self.behind =
                        trailers.as_ref().map_or(0, |trailers| trailers.written_length() as u64);
                    sink.finish(trailers.as_ref());
                    self.finished = true;
                }
            }
            // Nothing is at hand: what was gathered goes out before we wait.
            self.waiting = Waiting::Sink;
            ready!(sink.poll_flush(cx)).map_err(PumpError::Sink)?;
            if self.finished {
                // What comes next may be long in coming, and needs no output.
                sink.release_output(pool);
                self.waiting = Waiting::Nobody;
                return Poll::Ready(Ok(()));
            }
            self.waiting = Waiting::Source;
            ready!(source.poll_more(cx, pool)).map_err(PumpError::Source)?;
        }
    }
}
