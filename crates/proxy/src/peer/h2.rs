//! The two bodies of an HTTP/2 stream, whichever side it is on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use message::{Block, BlockPool};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::fields::{add_fields, header_map};
use super::{PeerError, Sink, Source};

/// The largest piece that is handed over at once.
const PIECE: usize = 16 * 1024;

/// Both bodies of a stream. What comes is bounded by the window of the stream, what goes by what
/// the library may gather for it.
#[derive(Debug, Default)]
pub(crate) struct H2Body {
    recv: Option<RecvStream>,
    /// What has come and was not taken yet.
    chunk: Bytes,
    trailers: Option<HeaderMap>,
    ended: bool,
    send: Option<SendStream<Bytes>>,
    /// The last piece, held back: it may turn out to be the end.
    held: Bytes,
}

impl H2Body {
    /// A body that comes from now on; `None`: there is none.
    pub(crate) fn expect(&mut self, recv: Option<RecvStream>) {
        self.ended = recv.as_ref().is_none_or(RecvStream::is_end_stream);
        self.recv = recv;
    }

    /// A body goes there from now on; `None`: there is none.
    pub(crate) fn begin(&mut self, send: Option<SendStream<Bytes>>) {
        self.send = send;
    }

    /// Ready when the other side has ended the stream before its time.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).map(|_| ()),
            None => Poll::Pending,
        }
    }

    /// Ends the stream before its time.
    pub(crate) fn reset(&mut self, reason: Reason) {
        if let Some(send) = &mut self.send {
            send.send_reset(reason);
        }
    }

    /// Both directions as a stream of bytes (RFC 9113 §8.5).
    pub(crate) fn into_io(self) -> H2Io {
        H2Io { body: self, shut: false }
    }

    fn send_held(&mut self, end: bool) -> Result<(), PeerError> {
        let Some(send) = &mut self.send else { return Ok(()) };
        if self.held.is_empty() && !end {
            return Ok(());
        }
        send.send_data(std::mem::take(&mut self.held), end)?;
        if end {
            self.send = None;
        }
        Ok(())
    }
}

impl Source for H2Body {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
        if let Some(recv) = &mut self.recv {
            // Only a stream that is gone already has nothing to give back to.
            let _ = recv.flow_control().release_capacity(count);
        }
    }

    fn is_done(&self) -> bool {
        self.ended && self.chunk.is_empty()
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, _: &BlockPool) -> Poll<Result<(), PeerError>> {
        let Some(recv) = &mut self.recv else { return Poll::Ready(Err(PeerError::Incomplete)) };
        if let Some(chunk) = ready!(recv.poll_data(cx)) {
            self.chunk = chunk?;
            // The last bytes and the end of the stream come in one frame, as a rule.
            self.ended = recv.is_end_stream();
            return Poll::Ready(Ok(()));
        }
        self.trailers = ready!(recv.poll_trailers(cx))?;
        self.ended = true;
        Poll::Ready(Ok(()))
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        let Some(map) = self.trailers.take() else { return Ok(None) };
        let mut block = Block::default();
        add_fields(&mut block, &map).map_err(|_| PeerError::Reset(Reason::PROTOCOL_ERROR))?;
        message::trailer::strip(&mut block);
        Ok((!block.is_empty()).then_some(block))
    }
}

impl Sink for H2Body {
    fn poll_send(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<Result<usize, PeerError>> {
        self.send_held(false)?;
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(PeerError::Io(io::ErrorKind::BrokenPipe.into())));
        };
        let wanted = piece.len().min(PIECE);
        send.reserve_capacity(wanted);
        while send.capacity() == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(outcome) => drop(outcome?),
                None => return Poll::Ready(Err(PeerError::Reset(Reason::CANCEL))),
            };
        }
        let count = send.capacity().min(wanted);
        self.held = Bytes::copy_from_slice(&piece[..count]);
        Poll::Ready(Ok(count))
    }

    fn finish(&mut self, trailers: Option<&Block>) {
        // A stream that cannot be sent on was reset, which its other direction tells.
        let map = trailers.and_then(|trailers| header_map(trailers, |_| false).ok());
        match map.filter(|map| !map.is_empty()) {
            None => drop(self.send_held(true)),
            Some(map) => {
                drop(self.send_held(false));
                if let Some(mut send) = self.send.take() {
                    drop(send.send_trailers(map));
                }
            }
        }
    }

    fn release_output(&mut self, _: &BlockPool) {}

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        // The task of the connection writes it.
        Poll::Ready(self.send_held(false))
    }
}

/// A stream of HTTP/2 as a stream of bytes.
#[derive(Debug)]
pub(crate) struct H2Io {
    body: H2Body,
    shut: bool,
}

fn io_error(error: PeerError) -> io::Error {
    match error {
        PeerError::Io(error) => error,
        PeerError::Reset(_) => io::ErrorKind::ConnectionReset.into(),
        PeerError::Incomplete => io::ErrorKind::UnexpectedEof.into(),
        PeerError::Parse(_) | PeerError::Coding(_) => io::ErrorKind::InvalidData.into(),
    }
}

impl H2Io {
    /// Receives more, unless something is at hand or all was received.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.body.chunk.is_empty() && !self.body.ended {
            let Some(recv) = &mut self.body.recv else { break };
            match ready!(recv.poll_data(cx)) {
                Some(Ok(chunk)) => {
                    self.body.chunk = chunk;
                    self.body.ended = recv.is_end_stream();
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error.into()))),
                None => self.body.ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for H2Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx))?;
        let count = self.body.chunk.len().min(out.remaining());
        out.put_slice(&self.body.chunk[..count]);
        self.body.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for H2Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(self.body.poll_send(cx, piece)).map_err(io_error)?;
        // Nobody knows whether more will come: it must not wait.
        self.body.send_held(false).map_err(io_error)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Sink::poll_flush(&mut self.body, cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            self.shut = true;
            self.body.finish(None);
        }
        Poll::Ready(Ok(()))
    }
}

impl net::Stream for H2Io {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_fill(cx)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(send) = &mut self.body.send else { return Poll::Ready(Ok(())) };
        send.reserve_capacity(PIECE);
        if send.capacity() > 0 {
            return Poll::Ready(Ok(()));
        }
        match ready!(send.poll_capacity(cx)) {
            Some(Err(error)) => Poll::Ready(Err(io_error(error.into()))),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn raw(&self) -> Option<&tokio::net::TcpStream> {
        None
    }
}
