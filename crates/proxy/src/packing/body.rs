//! Bodies in another content coding than that in which they come, piece by piece.

use std::borrow::BorrowMut;
use std::sync::Arc;
use std::task::{Context, Poll};

use coding::{Decoder, Encoder};
use message::{Block, BlockPool};
use telemetry::CoreCounters;

use crate::peer::{FilePiece, PeerError, Source};

/// So much of a body is packed before what came of it is sent.
const AT_ONCE: usize = 16 * 1024;

/// Packs or unpacks one body.
#[derive(Debug)]
pub(crate) enum Packer {
    /// See [`super::Choice::Pack`].
    Pack(Box<Encoder>),
    /// See [`super::Choice::Unpack`].
    Unpack(Box<Decoder>),
}

impl Packer {
    /// The body of `source` as it goes out. What is packed is counted.
    pub(crate) fn over<S: Source>(self, source: S, counters: &Arc<CoreCounters>) -> Packed<S> {
        let counted = matches!(self, Self::Pack(_)).then(|| Counted {
            counters: Arc::clone(counters),
            read: 0,
            written: 0,
        });
        Packed { source, layer: Layer { counted, ..Layer::new(self) } }
    }
}

/// A body in another coding. What is known of it may outlast the place where it comes from.
#[derive(Debug)]
pub(crate) struct Packed<S, L = Layer> {
    pub(crate) source: S,
    pub(crate) layer: L,
}

/// One coding that is made or undone, and what came of it.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Until the body has ended.
    packer: Option<Packer>,
    /// What was made, from `at` on.
    out: Vec<u8>,
    at: usize,
    /// Something was taken that has not come out yet.
    pending: bool,
    ended: bool,
    /// Bytes that went in, and came out.
    pub(crate) taken: u64,
    pub(crate) made: u64,
    counted: Option<Counted>,
}

/// How much of a body was packed, and to how much; told when it is dropped.
#[derive(Debug)]
struct Counted {
    counters: Arc<CoreCounters>,
    read: u64,
    written: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        count(&self.counters, self.read, self.written);
        self.counters.compress_saved.add(self.read.saturating_sub(self.written));
    }
}

/// Counts a body, or a part of one, that was packed.
pub(crate) fn count(counters: &CoreCounters, read: u64, written: u64) {
    counters.compress_read.add(read);
    counters.compress_written.add(written);
}

impl Layer {
    pub(crate) fn new(packer: Packer) -> Self {
        Self {
            packer: Some(packer),
            out: Vec::new(),
            at: 0,
            pending: false,
            ended: false,
            taken: 0,
            made: 0,
            counted: None,
        }
    }

    /// What came of it and was not sent yet.
    pub(crate) fn available(&self) -> &[u8] {
        &self.out[self.at..]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.at += count;
        if let Some(counted) = &mut self.counted {
            counted.written += count as u64;
        }
    }

    /// Whether all of the body has come, and was sent.
    pub(crate) fn is_done(&self) -> bool {
        self.ended && self.at == self.out.len()
    }

    pub(crate) fn poll_more(
        &mut self,
        source: &mut impl Source,
        cx: &mut Context<'_>,
        pool: &BlockPool,
    ) -> Poll<Result<(), PeerError>> {
        self.out.clear();
        self.at = 0;
        loop {
            if self.out.len() >= AT_ONCE {
                return Poll::Ready(Ok(()));
            }
            if self.take(source)? {
                continue;
            }
            if source.is_done() {
                self.finish()?;
                return Poll::Ready(Ok(()));
            }
            if source.poll_more(cx, pool)?.is_pending() {
                // More may be long in coming, and what came may be all of an event.
                if let Some(Packer::Pack(encoder)) = &mut self.packer
                    && std::mem::take(&mut self.pending)
                {
                    encoder.flush(&mut self.out).map_err(|_| no_memory())?;
                }
                return if self.out.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }

    /// Takes what is at hand; `false`: nothing is.
    fn take(&mut self, source: &mut impl Source) -> Result<bool, PeerError> {
        let piece = source.available()?;
        let before = self.out.len();
        let taken = match &mut self.packer {
            _ if piece.is_empty() && !self.pending => return Ok(false),
            Some(Packer::Pack(encoder)) if !piece.is_empty() => {
                let piece = &piece[..piece.len().min(4 * AT_ONCE)];
                encoder.push(piece, &mut self.out).map_err(|_| no_memory())?;
                self.pending = true;
                piece.len()
            }
            Some(Packer::Unpack(decoder)) => {
                let made =
                    decoder.push(piece, &mut self.out, AT_ONCE).map_err(PeerError::Coding)?;
                self.pending = made.more;
                if made.taken == 0 && !piece.is_empty() && !made.more {
                    // What comes behind the end is nothing of ours.
                    return Err(PeerError::Coding(coding::DecodeError::Corrupt));
                }
                made.taken
            }
            _ => return Ok(false),
        };
        source.consume(taken);
        self.taken += taken as u64;
        self.made += (self.out.len() - before) as u64;
        if let Some(counted) = &mut self.counted {
            counted.read += taken as u64;
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<(), PeerError> {
        match self.packer.take() {
            Some(Packer::Pack(encoder)) => {
                encoder.finish(&mut self.out).map_err(|_| no_memory())?;
            }
            Some(Packer::Unpack(decoder)) => decoder.finish().map_err(PeerError::Coding)?,
            None => {}
        }
        self.ended = true;
        Ok(())
    }
}

/// Packing fails for no other reason. The body ends here.
fn no_memory() -> PeerError {
    PeerError::Coding(coding::DecodeError::Memory)
}

impl<S: Source, L: BorrowMut<Layer>> Source for Packed<S, L> {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        Ok(self.layer.borrow().available())
    }

    fn consume(&mut self, count: usize) {
        self.layer.borrow_mut().consume(count);
    }

    fn is_done(&self) -> bool {
        self.layer.borrow().is_done()
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, pool: &BlockPool) -> Poll<Result<(), PeerError>> {
        self.layer.borrow_mut().poll_more(&mut self.source, cx, pool)
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        let mut trailers = self.source.trailers()?;
        if let Some(trailers) = &mut trailers {
            super::remove_named(trailers, &super::OF_THE_BYTES);
        }
        Ok(trailers)
    }
}

impl<S: Source> Source for &mut S {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        (**self).available()
    }

    fn consume(&mut self, count: usize) {
        (**self).consume(count);
    }

    fn is_done(&self) -> bool {
        (**self).is_done()
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, pool: &BlockPool) -> Poll<Result<(), PeerError>> {
        (**self).poll_more(cx, pool)
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        (**self).trailers()
    }

    fn file(&self) -> Option<FilePiece<'_>> {
        (**self).file()
    }

    fn file_sent(&mut self, count: u64) {
        (**self).file_sent(count);
    }

    fn file_waits(&mut self) {
        (**self).file_waits();
    }

    fn refuse_files(&mut self) {
        (**self).refuse_files();
    }
}
