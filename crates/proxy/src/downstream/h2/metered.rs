//! A connection whose frames are counted as they pass, and put into the form that the library
//! judges best.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use net::watchdog::Watchdog;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use upstream::Wire;

use super::frames::{Frames, HEADER, Stop};
use super::gather::{Gather, Gathered};
use super::ledger::Ledger;

/// A connection between the sockets and the library, which keeps the ledger.
///
/// The library takes a field block that comes in several frames for good where one that comes
/// whole is malformed: what it found wrong in the first is forgotten when the second comes. So
/// blocks in several frames are put together here.
#[derive(Debug)]
pub(super) struct Metered {
    wire: Wire,
    /// What was received and not looked at yet.
    early: Vec<u8>,
    /// The beginning of the header of a frame, of at most eight bytes.
    half_header: Vec<u8>,
    /// What was looked at and goes to the library next.
    ready: Vec<u8>,
    /// A field block of which more is to come.
    gather: Option<Gather>,
    incoming: Frames,
    outgoing: Frames,
    meter: Rc<Meter>,
}

/// What is known of a connection by what passed.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) ledger: Ledger,
    /// It breaks the rules of the connection, in a way that the library does not see or may not
    /// see: it did not begin as it must (RFC 9113 §3.4), or a field block is none.
    pub(super) broken: Cell<bool>,
    /// Since when the client has not taken what waits for it, in milliseconds of the clock.
    pub(super) blocked_since: Cell<Option<u64>>,
    pub(super) clock: Rc<Watchdog>,
}

impl Meter {
    /// Whether the connection is to be ended.
    pub(super) fn is_over(&self) -> bool {
        self.ledger.is_overdrawn() || self.broken.get()
    }
}

impl Metered {
    pub(super) fn new(mut wire: Wire, meter: Rc<Meter>) -> Self {
        let early = wire.take_received();
        Self {
            wire,
            early,
            half_header: Vec::new(),
            ready: Vec::new(),
            gather: None,
            incoming: Frames::after_preface(),
            outgoing: Frames::default(),
            meter,
        }
    }

    /// Receives into `out`: what is left of earlier, or what is new. Nothing: it is the end.
    fn poll_raw(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.wire.io).poll_read(cx, out);
        }
        let count = self.early.len().min(out.remaining());
        out.put_slice(&self.early[..count]);
        self.early.drain(..count);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Receives what is missing of the header of a frame, and looks at it.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.half_header.len() < HEADER {
            let mut room = [0; HEADER];
            let mut missing = ReadBuf::new(&mut room[self.half_header.len()..]);
            ready!(self.poll_raw(cx, &mut missing))?;
            if missing.filled().is_empty() {
                // The connection ended in the middle of it.
                self.ready = std::mem::take(&mut self.half_header);
                return Poll::Ready(Ok(()));
            }
            self.half_header.extend_from_slice(missing.filled());
        }
        let mut header = std::mem::take(&mut self.half_header);
        let passed = self.look(&header);
        header.truncate(passed);
        if passed > 0 {
            self.ready = header;
        }
        Poll::Ready(Ok(()))
    }

    /// Looks at what was received. Gives how much of it may go on; the rest is kept, or dropped
    /// where nobody will want it.
    fn look(&mut self, bytes: &[u8]) -> usize {
        let meter = &self.meter;
        let stop = self.incoming.follow(bytes, |frame, first| {
            if first && !frame.is_settings() {
                meter.broken.set(true);
            }
            meter.ledger.received(frame);
            !meter.is_over()
        });
        let Some((at, stop)) = stop else { return bytes.len() };
        let rest = bytes[at..].to_vec();
        match stop {
            // It is looked at again when the rest of it is there.
            Stop::HalfHeader => self.half_header = rest,
            // The connection ends: what is left is not looked at by anybody.
            Stop::Enough => {}
            Stop::Fragment => {
                if !self.incoming.has_begun() {
                    self.meter.broken.set(true);
                }
                self.gather_more(Gather::default(), rest);
            }
        }
        at
    }

    fn gather_more(&mut self, mut gather: Gather, bytes: Vec<u8>) {
        let ledger = &self.meter.ledger;
        match gather.take(&bytes, |frame| ledger.received(frame)) {
            Gathered::More => self.gather = Some(gather),
            Gathered::Whole { frame, rest } => {
                self.ready = frame;
                self.early.splice(..0, rest).for_each(drop);
            }
            // Nothing behind it can be understood (RFC 9113 §4.3).
            Gathered::Broken => self.meter.broken.set(true),
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            if this.meter.is_over() {
                // The library reads for as long as there is something: it has to be stopped here.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !this.ready.is_empty() {
                let count = this.ready.len().min(out.remaining());
                out.put_slice(&this.ready[..count]);
                this.ready.drain(..count);
                return Poll::Ready(Ok(()));
            }
            if !this.half_header.is_empty() {
                ready!(this.poll_header(cx))?;
                continue;
            }
            ready!(this.poll_raw(cx, out))?;
            if out.filled().len() == before {
                // The end: what was held back is all there will be.
                let Some(gather) = this.gather.take() else { return Poll::Ready(Ok(())) };
                this.ready = gather.into_bytes();
                continue;
            }
            match this.gather.take() {
                Some(gather) => {
                    let bytes = out.filled()[before..].to_vec();
                    out.set_filled(before);
                    this.gather_more(gather, bytes);
                }
                None => {
                    let passed = this.look(&out.filled()[before..]);
                    out.set_filled(before + passed);
                }
            }
            if out.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let meter = &this.meter;
        match Pin::new(&mut this.wire.io).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                let written = written?;
                meter.blocked_since.set(None);
                this.outgoing.pass(&bytes[..written], |frame| meter.ledger.sent(frame));
                Poll::Ready(Ok(written))
            }
            Poll::Pending => {
                if meter.blocked_since.get().is_none() {
                    meter.blocked_since.set(Some(meter.clock.now_ms()));
                }
                Poll::Pending
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire.io).poll_shutdown(cx)
    }
}
