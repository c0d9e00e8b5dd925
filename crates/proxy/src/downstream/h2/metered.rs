//! A connection whose frames are counted as they pass.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use net::watchdog::Watchdog;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use upstream::Wire;

use super::ledger::{Frames, Ledger};

/// A connection between the sockets and the library, which keeps the ledger.
#[derive(Debug)]
pub(super) struct Metered {
    wire: Wire,
    /// What was received before the library was asked.
    early: Vec<u8>,
    incoming: Frames,
    outgoing: Frames,
    meter: Rc<Meter>,
}

/// What is known of a connection by what passed.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) ledger: Ledger,
    /// Since when the client has not taken what waits for it, in milliseconds of the clock.
    pub(super) blocked_since: Cell<Option<u64>>,
    pub(super) clock: Rc<Watchdog>,
}

impl Metered {
    pub(super) fn new(mut wire: Wire, meter: Rc<Meter>) -> Self {
        let early = wire.take_received();
        Self { wire, early, incoming: Frames::after_preface(), outgoing: Frames::default(), meter }
    }

    fn note_incoming(&mut self, bytes: &[u8]) {
        let meter = &self.meter;
        self.incoming.follow(bytes, |frame| meter.ledger.received(frame));
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
        if this.early.is_empty() {
            ready!(Pin::new(&mut this.wire.io).poll_read(cx, out))?;
        } else {
            let count = this.early.len().min(out.remaining());
            out.put_slice(&this.early[..count]);
            this.early.drain(..count);
            if this.early.is_empty() {
                this.early = Vec::new();
            }
        }
        this.note_incoming(&out.filled()[before..]);
        Poll::Ready(Ok(()))
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
                this.outgoing.follow(&bytes[..written], |frame| meter.ledger.sent(frame));
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
