//! A side that speaks HTTP/1.

use std::io;
use std::task::{Context, Poll, ready};

use h1::{BodyDecoder, BodyEncoder, HeadLimits, Piece};
use message::framing::BodyLength;
use message::{Block, BlockPool};
use upstream::Wire;

use super::{FilePiece, PeerError, Sink, Source};

/// Small pieces are gathered up to this size, so that a head and what follows it leave in one
/// system call.
const GATHER: usize = 16 * 1024;

/// A side that speaks HTTP/1.
#[derive(Debug)]
pub(crate) struct H1Peer {
    pub(crate) wire: Wire,
    decoder: BodyDecoder,
    /// So many of the received bytes are decoded already.
    piece: usize,
    ended: bool,
    encoder: BodyEncoder,
    /// What waits to be sent, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// Something was written since the last flush.
    dirty: bool,
    /// The kernel would not move bytes past us.
    copy_only: bool,
}

impl H1Peer {
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            wire,
            decoder: BodyDecoder::Known(0),
            piece: 0,
            ended: true,
            encoder: BodyEncoder::Identity,
            out: Vec::new(),
            sent: 0,
            dirty: false,
            copy_only: false,
        }
    }

    /// Bytes are copied from now on, whatever the sockets are.
    pub(crate) fn never_opaque(&mut self) {
        self.copy_only = true;
    }

    /// A body of this length comes from now on.
    pub(crate) fn expect(&mut self, length: BodyLength, limits: HeadLimits) {
        self.decoder = BodyDecoder::new(length, limits);
        self.piece = 0;
        self.ended = self.decoder.is_done();
    }

    /// What goes there from now on: a head, and a body in this coding behind it.
    pub(crate) fn begin(&mut self, encoder: BodyEncoder) -> &mut Vec<u8> {
        self.encoder = encoder;
        &mut self.out
    }

    /// Lends the buffer that output is gathered in; [`H1Peer::release`] gives it back.
    pub(crate) fn lend_output(&mut self, pool: &BlockPool) {
        if self.out.capacity() == 0 {
            self.out = pool.buffer();
        }
    }

    /// Gives back every buffer that nothing is in.
    pub(crate) fn release(&mut self, pool: &BlockPool) {
        self.wire.release(pool);
        self.release_output(pool);
    }

    /// How many of the next bytes on the socket are body and nothing else, if they can be
    /// moved past us: nothing at hand, nothing waiting, no TLS.
    pub(crate) fn opaque(&self) -> u64 {
        let bare = self.piece == 0 && self.wire.received().is_empty() && !self.ended;
        if bare && !self.copy_only && net::Stream::raw(&self.wire.io).is_some() {
            self.decoder.opaque()
        } else {
            0
        }
    }

    /// Takes note that so many bytes were moved past us.
    pub(crate) fn skip(&mut self, moved: u64, end: bool) {
        self.decoder.skip(moved);
        self.ended = end || self.decoder.is_done();
    }

    /// The raw socket, where what goes there may go past us.
    pub(crate) fn raw_output(&self) -> Option<&tokio::net::TcpStream> {
        let bare = self.out.is_empty() && self.encoder == BodyEncoder::Identity;
        if bare { net::Stream::raw(&self.wire.io) } else { None }
    }

    /// Whether a body that is in a file may be sent from there.
    pub(crate) fn takes_files(&self) -> bool {
        self.encoder == BodyEncoder::Identity && net::Stream::raw(&self.wire.io).is_some()
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        while self.sent < self.out.len() {
            let written = ready!(self.wire.poll_write(cx, &self.out[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(PeerError::Io(io::ErrorKind::WriteZero.into())));
            }
            self.sent += written;
            self.dirty = true;
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl Source for H1Peer {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        if self.piece == 0 && !self.ended {
            match self.decoder.decode(self.wire.received())? {
                Piece::Data { skip, length } => {
                    self.wire.consume(skip);
                    self.piece = length;
                    // The last byte of a body without framing around it ends it.
                    self.ended = length == 0 && self.decoder.is_done();
                }
                Piece::End { skip } => {
                    self.wire.consume(skip);
                    self.ended = true;
                }
            }
        }
        Ok(&self.wire.received()[..self.piece])
    }

    fn consume(&mut self, count: usize) {
        self.wire.consume(count);
        self.piece -= count;
        self.ended = self.piece == 0 && self.decoder.is_done();
    }

    fn is_done(&self) -> bool {
        self.ended
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, pool: &BlockPool) -> Poll<Result<(), PeerError>> {
        // Whoever waits for a peer holds no buffer meanwhile.
        if self.wire.received().is_empty() {
            match self.wire.io_readable(cx) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => {
                    self.wire.release(pool);
                    return Poll::Pending;
                }
            }
        }
        self.wire.make_room(pool, self.decoder.opaque());
        if ready!(self.wire.poll_receive(cx))? == 0 {
            if !self.decoder.may_end_here() {
                return Poll::Ready(Err(PeerError::Incomplete));
            }
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        match &mut self.decoder {
            BodyDecoder::Chunked(decoder) => {
                let mut trailers = decoder.trailers()?;
                if let Some(fields) = &mut trailers {
                    message::trailer::strip(fields);
                }
                Ok(trailers)
            }
            BodyDecoder::Known(_) | BodyDecoder::UntilClose => Ok(None),
        }
    }
}

impl Sink for H1Peer {
    fn poll_send(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<Result<usize, PeerError>> {
        if self.out.is_empty() && self.encoder == BodyEncoder::Identity {
            let written = ready!(self.wire.poll_write(cx, piece))?;
            if written == 0 {
                return Poll::Ready(Err(PeerError::Io(io::ErrorKind::WriteZero.into())));
            }
            self.dirty = true;
            return Poll::Ready(Ok(written));
        }
        if self.out.len() >= GATHER {
            ready!(self.poll_drain(cx))?;
            if self.encoder == BodyEncoder::Identity {
                return self.poll_send(cx, piece);
            }
        }
        let taken = piece.len().min(GATHER);
        self.encoder.encode(&piece[..taken], &mut self.out);
        Poll::Ready(Ok(taken))
    }

    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        piece: &FilePiece<'_>,
    ) -> Poll<Result<usize, PeerError>> {
        let raw = net::Stream::raw(&self.wire.io);
        let Some(to) = raw.filter(|_| self.encoder == BodyEncoder::Identity) else {
            return Poll::Ready(Err(PeerError::Io(io::ErrorKind::Unsupported.into())));
        };
        while self.sent < self.out.len() {
            self.sent += ready!(net::file::poll_send_before(cx, &self.out[self.sent..], to))?;
        }
        self.out.clear();
        self.sent = 0;
        let most = usize::try_from(piece.length).unwrap_or(usize::MAX);
        Poll::Ready(Ok(ready!(net::file::poll_send(cx, piece.file, piece.offset, most, to))?))
    }

    fn finish(&mut self, trailers: Option<&Block>) {
        self.encoder.finish(trailers, &mut self.out);
    }

    fn release_output(&mut self, pool: &BlockPool) {
        if self.out.is_empty() && self.out.capacity() > 0 {
            pool.give_buffer(std::mem::take(&mut self.out));
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        ready!(self.poll_drain(cx))?;
        if self.dirty {
            ready!(self.wire.poll_flush(cx))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }
}
