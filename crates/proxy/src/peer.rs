//! The sides of an exchange: a body comes from each of them, and another one goes to it.

mod down;
mod fields;
mod h1;
mod h2;
mod up;

use std::fs::File;
use std::io;
use std::task::{Context, Poll};

use ::h1::ParseError;
use message::{Block, BlockPool};

pub(crate) use down::{DownPeer, H2Down};
pub(crate) use fields::{add_fields, header_map};
pub(crate) use h1::H1Peer;
pub(crate) use h2::{H2Body, H2Io};
pub(crate) use up::{H2Up, UpError, UpPeer};

/// Where a body comes from. Everything is a poll: the two directions take turns in one task.
pub(crate) trait Source {
    /// What is at hand of the body; empty when nothing is.
    fn available(&mut self) -> Result<&[u8], PeerError>;
    /// Takes note that so many bytes of it were taken.
    fn consume(&mut self, count: usize);
    /// Whether all of the body was taken.
    fn is_done(&self) -> bool;
    /// Receives more of it. Nothing may be at hand.
    fn poll_more(&mut self, cx: &mut Context<'_>, pool: &BlockPool) -> Poll<Result<(), PeerError>>;
    /// What came behind the body.
    fn trailers(&mut self) -> Result<Option<Block>, PeerError>;
    /// What is next of the body where it is in a file, and can be sent from there without waiting.
    fn file(&self) -> Option<FilePiece<'_>> {
        None
    }
    /// Takes note that so many bytes of the file were sent.
    fn file_sent(&mut self, _: u64) {}
    /// What is next of the file has to wait for the other side: it may be gone from memory by then.
    fn file_waits(&mut self) {}
    /// Nothing can be sent from files there: the bytes are wanted.
    fn refuse_files(&mut self) {}
}

/// A part of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilePiece<'a> {
    pub(crate) file: &'a File,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Where a body goes.
pub(crate) trait Sink {
    /// Takes some bytes of the body; they may wait for more or for a flush.
    fn poll_send(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<Result<usize, PeerError>>;
    /// Sends a part of a file, as far as that can be done now.
    /// [`io::ErrorKind::Unsupported`]: it takes bytes only.
    fn poll_send_file(
        &mut self,
        _: &mut Context<'_>,
        _: &FilePiece<'_>,
    ) -> Poll<Result<usize, PeerError>> {
        Poll::Ready(Err(PeerError::Io(io::ErrorKind::Unsupported.into())))
    }
    /// Ends the body.
    fn finish(&mut self, trailers: Option<&Block>);
    /// Gives back the buffer that output was gathered in, once nothing is in it.
    fn release_output(&mut self, pool: &BlockPool);
    /// Sends all that waits.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>>;
}

/// Why one side failed.
#[derive(Debug)]
pub(crate) enum PeerError {
    /// Reading or writing failed.
    Io(io::Error),
    /// The framing of the body is wrong.
    Parse(ParseError),
    /// It ended before the body did.
    Incomplete,
    /// It is not in the coding that it is said to be in, or grows too much out of it.
    Coding(coding::DecodeError),
    /// An HTTP/2 stream was ended before its time, by either side (RFC 9113 §5.4.2).
    Reset(::h2::Reason),
}

impl From<io::Error> for PeerError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ParseError> for PeerError {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

impl From<::h2::Error> for PeerError {
    fn from(error: ::h2::Error) -> Self {
        match error.reason() {
            Some(reason) => Self::Reset(reason),
            None => Self::Io(error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into())),
        }
    }
}
