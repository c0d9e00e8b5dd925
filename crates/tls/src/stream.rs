//! One TLS connection over any [`Io`]: bytes in, bytes out.
//!
//! The protocol is rustls' own, through its unbuffered interface; here is only who holds which
//! bytes when. An idle connection holds none: reading and writing use the thread's
//! [`Scratch`], and only what a poll could not finish stays in `rx` (received, not yet
//! decrypted), `plain` (decrypted, not yet taken) or `tx` (encrypted, not yet sent). Each is
//! bounded by the size of a scratch buffer.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::CommonState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Io;
use crate::engine::{Engine, Outgoing, Step};
use crate::info::TlsInfo;
use crate::scratch::Scratch;
use net::Stream;

/// Plaintext bytes of one record (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;

/// Plaintext taken by one write: so many full records go out in one system call.
const WRITE: usize = 3 * RECORD;

/// Slices looked at by one vectored write; each may cost a record's overhead.
const SLICES: usize = 16;

/// What is waiting in `tx` goes out together with the next record if it is not more than this.
const MERGED: usize = 8 * 1024;

/// A TLS connection, on either side.
///
/// Reading: `close_notify` (RFC 8446 §6.1) is a clean end of stream, `Ok(0)`. If the peer's
/// transport ends without it, reading fails with [`io::ErrorKind::UnexpectedEof`]: what was
/// received may have been cut short by anyone on the path, so a body delimited by the end of
/// the connection is incomplete. Between two HTTP messages it means no more than that the peer
/// went away. A record that fails its check gives [`io::ErrorKind::InvalidData`] with the
/// [`rustls::Error`] inside.
///
/// Writing: a write that returned `Ok` may leave encrypted bytes here; flush when nothing
/// follows. Shutting down sends `close_notify`, then shuts the transport's writing half.
pub struct TlsStream {
    io: Io,
    engine: Engine,
    info: Option<Box<TlsInfo>>,
    rx: Vec<u8>,
    /// `rx` may hold whole records: it must be looked at before more is read.
    rx_unread: bool,
    plain: Vec<u8>,
    plain_at: usize,
    tx: Vec<u8>,
    tx_at: usize,
    /// The transport refused part of `tx`, or it is an answer that must not wait.
    tx_due: bool,
    reading: Reading,
    writing: Writing,
}

/// How far the peer's direction has come.
#[derive(Debug)]
enum Reading {
    Open,
    /// `close_notify` came.
    Closed,
    /// The transport ended before it.
    Truncated,
    Failed(rustls::Error),
}

/// How far our direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Open,
    /// `close_notify` is in `tx` or sent.
    Closed,
}

impl TlsStream {
    /// A connection before its handshake. `received` was already read from `io`.
    pub(crate) fn new(io: Io, engine: Engine, received: Vec<u8>) -> Self {
        Self {
            io,
            engine,
            info: None,
            rx_unread: !received.is_empty(),
            rx: received,
            plain: Vec::new(),
            plain_at: 0,
            tx: Vec::new(),
            tx_at: 0,
            tx_due: false,
            reading: Reading::Open,
            writing: Writing::Open,
        }
    }

    /// What the handshake agreed upon.
    pub fn info(&self) -> Option<&TlsInfo> {
        self.info.as_deref()
    }

    /// The transport below.
    pub fn transport(&self) -> &Io {
        &self.io
    }

    pub(crate) fn set_info(&mut self, info: TlsInfo) {
        self.info = Some(Box::new(info));
    }

    pub(crate) fn connection(&self) -> &CommonState {
        self.engine.state()
    }

    pub(crate) fn is_server(&self) -> bool {
        matches!(self.engine, Engine::Server(_))
    }

    /// Bytes received that the handshake has not used up.
    pub(crate) fn received(&self) -> usize {
        self.rx.len()
    }

    /// Advances the handshake with the bytes at hand; `true` when it is over. What has to be
    /// sent is in `tx`. Stops before any application data is decrypted.
    pub(crate) fn advance_handshake(&mut self) -> Result<bool, rustls::Error> {
        while self.engine.state().is_handshaking() {
            let (used, step) = self.engine.step(
                &mut self.rx,
                &mut |data| self.plain.extend_from_slice(data),
                &mut self.tx,
                None,
            );
            self.rx.drain(..used);
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Blocked) => return Ok(false),
                // A server may write before the client's last flight, and after it.
                Ok(Step::Writable(_)) if self.engine.state().is_handshaking() => return Ok(false),
                Ok(Step::Writable(_)) => {}
                Ok(Step::PeerClosed | Step::Closed) => {
                    return Err(rustls::Error::HandshakeNotComplete);
                }
                Err(error) => {
                    self.engine.drain(&mut self.tx);
                    return Err(error);
                }
            }
        }
        self.engine.drain(&mut self.tx);
        self.rx_unread = !self.rx.is_empty();
        self.rx.shrink_to_fit();
        Ok(true)
    }

    /// Reads once from the transport into `rx`, for the handshake. 0 is the end of it.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        poll_append(&mut self.io, cx, &mut self.rx)
    }

    /// Sends what is in `tx`.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tx_at < self.tx.len() {
            self.tx_due = true;
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.tx[self.tx_at..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.tx_at += n,
            }
        }
        self.tx = Vec::new();
        self.tx_at = 0;
        self.tx_due = false;
        Poll::Ready(Ok(()))
    }

    /// Plaintext that waits to be taken.
    fn waiting(&self) -> &[u8] {
        &self.plain[self.plain_at..]
    }

    fn take_plain(&mut self, out: &mut ReadBuf<'_>) {
        let n = self.waiting().len().min(out.remaining());
        out.put_slice(&self.plain[self.plain_at..self.plain_at + n]);
        self.plain_at += n;
        if self.plain_at == self.plain.len() {
            self.plain = Vec::new();
            self.plain_at = 0;
        }
    }

    /// Decrypts one buffer after another until something came that a reader wants to know:
    /// plaintext (in `out`, what does not fit in `plain`), the end, or a failure.
    ///
    /// Without `out` all plaintext goes to `plain`. An error of the transport is handed on and
    /// not kept: the next read meets it again.
    fn poll_decrypt(
        &mut self,
        cx: &mut Context<'_>,
        mut out: Option<&mut ReadBuf<'_>>,
    ) -> Poll<io::Result<()>> {
        let before = out.as_ref().map_or(0, |out| out.filled().len());
        while matches!(self.reading, Reading::Open) {
            if self.rx_unread {
                let mut unread = mem::take(&mut self.rx);
                self.decrypt(&mut unread, out.as_deref_mut());
            } else {
                let mut buffer = Scratch::take();
                let kept = self.rx.len();
                if kept >= buffer.len() {
                    // Nothing legitimate after a handshake needs so many bytes at once.
                    self.reading = Reading::Failed(rustls::Error::PeerSentOversizedRecord);
                    break;
                }
                let mut space = ReadBuf::new(&mut buffer[kept..]);
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut space))?;
                let end = kept + space.filled().len();
                if end == kept {
                    self.reading = Reading::Truncated;
                    break;
                }
                buffer[..kept].copy_from_slice(&self.rx);
                self.decrypt(&mut buffer[..end], out.as_deref_mut());
            }
            let taken = out.as_ref().map_or(0, |out| out.filled().len()) > before;
            if taken || !self.plain.is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Decrypts records from `buffer` until it is used up or the reader has enough. The rest
    /// becomes `rx`.
    fn decrypt(&mut self, buffer: &mut [u8], mut out: Option<&mut ReadBuf<'_>>) {
        let mut at = 0;
        self.rx_unread = false;
        let sent = self.tx.len();
        loop {
            let plain = &mut self.plain;
            let mut sink = |data: &[u8]| {
                let n = out.as_mut().map_or(0, |out| {
                    let n = data.len().min(out.remaining());
                    out.put_slice(&data[..n]);
                    n
                });
                plain.extend_from_slice(&data[n..]);
            };
            let (used, step) = self.engine.step(&mut buffer[at..], &mut sink, &mut self.tx, None);
            at += used;
            match step {
                Ok(Step::Again) => {
                    let full = out.as_ref().is_none_or(|out| out.remaining() == 0);
                    if full && at < buffer.len() {
                        self.rx_unread = true;
                        break;
                    }
                }
                Ok(Step::Blocked | Step::Writable(_)) => break,
                Ok(Step::PeerClosed | Step::Closed) => {
                    self.reading = Reading::Closed;
                    at = buffer.len();
                    break;
                }
                Err(error) => {
                    self.engine.drain(&mut self.tx);
                    self.reading = Reading::Failed(error);
                    at = buffer.len();
                    break;
                }
            }
        }
        // The tickets of a handshake wait for the first response; an alert does not.
        self.tx_due |= self.tx.len() > sent;
        self.rx = buffer[at..].to_vec();
    }

    /// How reading ended, if it has.
    fn read_result(&self) -> io::Result<()> {
        match &self.reading {
            Reading::Open | Reading::Closed => Ok(()),
            Reading::Truncated => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the transport ended without close_notify",
            )),
            Reading::Failed(error) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, error.clone()))
            }
        }
    }

    /// Encrypts up to [`WRITE`] bytes of `slices` behind what is in `tx` and sends it all with
    /// one call, or as much as the transport takes.
    fn poll_encrypt(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.tx_due || self.tx.len() > MERGED {
            ready!(self.poll_send(cx))?;
        }
        if self.writing == Writing::Closed || matches!(self.reading, Reading::Failed(_)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut out = Scratch::take();
        let (taken, end) = self.encrypt(slices, &mut out)?;
        let mut sent = 0;
        while sent < end {
            match Pin::new(&mut self.io).poll_write(cx, &out[sent..end]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => sent += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.tx = out[sent..end].to_vec();
                    self.tx_due = true;
                    break;
                }
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Fills `out` with `tx` and the records of `slices`. Returns the plaintext taken and the
    /// bytes filled.
    fn encrypt(&mut self, slices: &[IoSlice<'_>], out: &mut [u8]) -> io::Result<(usize, usize)> {
        let total: usize = slices.iter().take(SLICES).map(|slice| slice.len()).sum();
        if total == 0 {
            return Ok((0, 0));
        }
        // Small pieces, a head and a short body, are worth a copy: one record instead of two.
        if slices.len() > 1 && total <= RECORD {
            let mut joined = Scratch::take();
            let mut len = 0;
            for slice in slices.iter().take(SLICES) {
                joined[len..len + slice.len()].copy_from_slice(slice);
                len += slice.len();
            }
            let end = self.seal(Outgoing::Data(&joined[..len]), out, 0)?;
            return Ok((len, end));
        }
        let (mut taken, mut end) = (0, 0);
        for slice in slices.iter().take(SLICES).filter(|slice| !slice.is_empty()) {
            let n = slice.len().min(WRITE - taken);
            end = self.seal(Outgoing::Data(&slice[..n]), out, end)?;
            taken += n;
            if taken == WRITE {
                break;
            }
        }
        Ok((taken, end))
    }

    /// Appends `outgoing` to `out[..end]`, after whatever rustls or `tx` wants sent before it.
    fn seal(
        &mut self,
        outgoing: Outgoing<'_>,
        out: &mut [u8],
        mut end: usize,
    ) -> io::Result<usize> {
        loop {
            // What is in `tx` was encrypted earlier, so it has to go first.
            let waiting = self.tx.len() - self.tx_at;
            if waiting > 0 {
                out[end..end + waiting].copy_from_slice(&self.tx[self.tx_at..]);
                end += waiting;
                self.tx = Vec::new();
                self.tx_at = 0;
            }
            let plain = &mut self.plain;
            let (used, step) = self.engine.step(
                &mut self.rx,
                &mut |data| plain.extend_from_slice(data),
                &mut self.tx,
                Some((outgoing, &mut out[end..])),
            );
            self.rx.drain(..used);
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Writable(n)) => return Ok(end + n),
                Ok(Step::PeerClosed) => self.reading = Reading::Closed,
                Ok(Step::Blocked | Step::Closed) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => {
                    self.reading = Reading::Failed(error.clone());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }

    /// Puts `close_notify` behind what is in `tx`.
    fn queue_close_notify(&mut self) -> io::Result<()> {
        if self.writing == Writing::Closed || matches!(self.reading, Reading::Failed(_)) {
            return Ok(());
        }
        self.writing = Writing::Closed;
        let mut out = Scratch::take();
        let end = self.seal(Outgoing::CloseNotify, &mut out, 0)?;
        self.tx = out[..end].to_vec();
        Ok(())
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.waiting().is_empty() {
            let before = out.filled().len();
            let decrypted = this.poll_decrypt(cx, Some(out));
            if this.tx_due {
                // An alert or the rest of a write: the peer may wait for it before it sends.
                // Should it fail, so will the next write.
                let _ = this.poll_send(cx);
            }
            if out.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            ready!(decrypted)?;
        }
        if !this.waiting().is_empty() {
            this.take_plain(out);
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(this.read_result())
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_encrypt(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_encrypt(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.tx_due || this.tx.len() > MERGED {
            ready!(this.poll_send(cx))?;
        }
        this.queue_close_notify()?;
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl Stream for TlsStream {
    /// On the server's side this is the transport's word: clients send nothing but data and
    /// alerts. A server also sends session tickets, at any time, and a pooled connection must
    /// not look as if a response had come: there, records are decrypted to see.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let known = !self.waiting().is_empty() || !matches!(self.reading, Reading::Open);
        if known || (self.rx_unread && self.is_server()) {
            return Poll::Ready(Ok(()));
        }
        if self.is_server() {
            return self.io.poll_readable(cx);
        }
        self.poll_decrypt(cx, None)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tx_due {
            return self.poll_send(cx);
        }
        self.io.poll_writable(cx)
    }

    fn raw(&self) -> Option<&tokio::net::TcpStream> {
        None
    }
}

/// Reads once from `io`, behind what is in `buffer`. 0 is the end of the stream.
pub(crate) fn poll_append(
    io: &mut Io,
    cx: &mut Context<'_>,
    buffer: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let mut scratch = Scratch::take();
    let mut space = ReadBuf::new(&mut scratch);
    ready!(Pin::new(io).poll_read(cx, &mut space))?;
    buffer.extend_from_slice(space.filled());
    Poll::Ready(Ok(space.filled().len()))
}
