//! The one trait for byte streams: plain TCP here, TLS in the crate above.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection, whatever it is wrapped in.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Resolves when a read would make progress: bytes, end of stream or an error.
    ///
    /// Needs no buffer, so a connection that waits holds none. It may resolve
    /// although the next read is still pending (a TLS record came in half).
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Resolves when a write would make progress or fail.
    ///
    /// It may resolve although the next write is still pending.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The plain socket, if the bytes on it are exactly the bytes of this stream
    /// and none are buffered above it, in either direction.
    ///
    /// Only then may bytes be moved past the stream with `splice(2)`.
    fn raw(&self) -> Option<&TcpStream>;
}

impl Stream for TcpStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }

    fn raw(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl<S: Stream + ?Sized> Stream for &mut S {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_readable(cx)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_writable(cx)
    }

    fn raw(&self) -> Option<&TcpStream> {
        (**self).raw()
    }
}
