//! HTTP/1 over a stream, for either side: what was received and not used yet stays with the
//! stream it came from.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h1::{Completeness, HeadLimits, ParseError};
use message::{Block, BlockPool};
use net::Stream;
use tls::Io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// The least room a read is made with.
const READ_ROOM: usize = 4 * 1024;

/// Buffers smaller than this are exchanged for a larger one when much is to come.
const BULK: usize = 32 * 1024;

/// A stream and what was received on it but not used yet. Without such bytes it holds no
/// buffer.
#[derive(Debug)]
pub struct Wire {
    /// The stream.
    pub io: Io,
    /// The place at an exit that it takes for as long as it is open.
    pub exit: Option<Rc<egress::ExitLease>>,
    received: Vec<u8>,
    /// How much of `received` was used. Buffers are far smaller than 4 GiB, and idle connections
    /// are many.
    used: u32,
    /// How much of the rest is known to hold no end of a head.
    scanned: u32,
}

/// Why a head could not be read.
#[derive(Debug)]
pub enum HeadError {
    /// The stream ended before the first byte of it.
    Closed,
    /// The stream ended in the middle of it.
    Truncated,
    /// Reading failed.
    Io(io::Error),
    /// It is no head.
    Parse(ParseError),
}

impl Wire {
    /// A stream without anything received.
    #[must_use]
    pub fn new(io: Io) -> Self {
        Self { io, exit: None, received: Vec::new(), used: 0, scanned: 0 }
    }

    /// A stream of which this was received already.
    #[must_use]
    pub fn with_received(io: Io, received: Vec<u8>) -> Self {
        Self { received, ..Self::new(io) }
    }

    /// What was received and not used yet.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.received[self.used as usize..]
    }

    /// Takes note that so many of the received bytes were used. The buffer goes when the last
    /// one is.
    pub fn consume(&mut self, count: usize) {
        self.used += count as u32;
        debug_assert!(self.used as usize <= self.received.len());
        if self.used as usize == self.received.len() {
            self.received.clear();
            self.used = 0;
        }
        self.scanned = 0;
    }

    /// Gives the buffer back, if nothing is in it.
    pub fn release(&mut self, blocks: &BlockPool) {
        if self.received().is_empty() && self.has_buffer() {
            self.used = 0;
            blocks.give_buffer(std::mem::take(&mut self.received));
        }
    }

    /// Takes all that was received and not used yet; the wire holds no buffer afterwards.
    #[must_use]
    pub fn take_received(&mut self) -> Vec<u8> {
        let mut received = std::mem::take(&mut self.received);
        received.drain(..self.used as usize);
        self.used = 0;
        self.scanned = 0;
        received
    }

    /// Puts bytes that somebody else received in front of what will be.
    pub fn put_back(&mut self, mut bytes: Vec<u8>) {
        if !bytes.is_empty() {
            bytes.extend_from_slice(self.received());
            self.received = bytes;
            self.used = 0;
            self.scanned = 0;
        }
    }

    /// Whether the wire holds a buffer.
    #[must_use]
    pub fn has_buffer(&self) -> bool {
        self.received.capacity() > 0
    }

    /// Lends a buffer to receive into; what was received before moves along.
    pub fn lend(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(self.received());
        self.received = buffer;
        self.used = 0;
    }

    /// Receives more bytes, as many as the buffer has room for; 0 is the end of the stream.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.used > 0 && self.received.capacity() - self.received.len() < READ_ROOM {
            self.received.drain(..self.used as usize);
            self.used = 0;
        }
        self.received.reserve(READ_ROOM.saturating_sub(self.received.len()));
        if self.received.len() == self.received.capacity() {
            self.received.reserve(READ_ROOM);
        }
        // The future keeps no state of its own: dropping it when pending loses nothing.
        pin!(self.io.read_buf(&mut self.received)).poll(cx)
    }

    /// Ready when there is something to read, or the stream has ended. Needs no buffer.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.received().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.io.poll_readable(cx)
    }

    /// Ready when the stream itself has more, or has ended. Needs no buffer.
    pub fn io_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_readable(cx)
    }

    /// Sees to a buffer that suits so many bytes to come.
    pub fn make_room(&mut self, pool: &BlockPool, to_come: u64) {
        let large = to_come == 0 || to_come > READ_ROOM as u64;
        if large && self.received.capacity() < BULK {
            let old = std::mem::take(&mut self.received);
            let mut bulk = pool.bulk();
            bulk.extend_from_slice(&old[self.used as usize..]);
            self.used = 0;
            self.received = bulk;
            pool.give_buffer(old);
        } else if !self.has_buffer() {
            self.received = pool.buffer();
        }
    }

    /// Writes some bytes.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    /// Sends what a TLS layer still holds.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Writes and flushes all of it.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        use tokio::io::AsyncWriteExt;
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Receives until a whole head is there, and gives it as a block whose buffer is filled by
    /// it alone. Where nothing follows the head its bytes are not copied.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
        blocks: &BlockPool,
    ) -> Poll<Result<Block, HeadError>> {
        loop {
            // What was looked at before is not looked at again, and neither is nothing.
            if self.received().len() > self.scanned as usize {
                match h1::completeness(self.received(), self.scanned as usize, limits) {
                    Ok(Completeness::Complete(end)) => {
                        return Poll::Ready(Ok(self.cut(end, blocks)));
                    }
                    Ok(Completeness::Partial { scanned }) => self.scanned = scanned as u32,
                    Err(error) => return Poll::Ready(Err(HeadError::Parse(error))),
                }
            }
            if !self.has_buffer() {
                // Whoever waits for a head holds no buffer meanwhile.
                if let Err(error) = ready!(self.io.poll_readable(cx)) {
                    return Poll::Ready(Err(HeadError::Io(error)));
                }
                self.lend(blocks.buffer());
            }
            match ready!(self.poll_receive(cx)) {
                Ok(0) if self.received().is_empty() => return Poll::Ready(Err(HeadError::Closed)),
                Ok(0) => return Poll::Ready(Err(HeadError::Truncated)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(HeadError::Io(error))),
            }
        }
    }

    /// Takes the first `end` of the received bytes as a block.
    fn cut(&mut self, end: usize, blocks: &BlockPool) -> Block {
        self.scanned = 0;
        if self.used == 0 && self.received.len() == end {
            // The usual case: the buffer goes with the head, and the wire holds none.
            return blocks.block_over(std::mem::take(&mut self.received));
        }
        let mut block = blocks.block();
        block.bytes_mut().extend_from_slice(&self.received()[..end]);
        self.consume(end);
        block
    }

    /// Passes over one empty line in front of a request line (RFC 9112 §2.2). Ready when it is
    /// known whether there is one, or when the stream has ended, which [`Wire::poll_head`] then
    /// tells.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_skip_empty_line(
        &mut self,
        cx: &mut Context<'_>,
        blocks: &BlockPool,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.received() {
                [b'\r', b'\n', ..] => {
                    self.consume(2);
                    return Poll::Ready(Ok(()));
                }
                [] | [b'\r'] => {}
                _ => return Poll::Ready(Ok(())),
            }
            if !self.has_buffer() {
                self.lend(blocks.buffer());
            }
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Reads once without waiting and without a buffer of the caller's: what is there now.
pub(crate) fn is_quiet(io: &mut Io) -> bool {
    let mut byte = [0u8; 1];
    let mut buffer = tokio::io::ReadBuf::new(&mut byte);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    Pin::new(io).poll_read(&mut cx, &mut buffer).is_pending()
}
