//! Bodies as they are read from the cache.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cache::{Body, FlightReader, Stored};
use message::{Block, BlockPool};
use tokio::task::JoinHandle;

use crate::peer::{PeerError, Source};

/// Bytes that are read from a file at once.
const FILE_PIECE: u64 = 256 * 1024;

/// What bytes come from.
#[derive(Debug)]
pub(crate) enum From {
    /// An answer that is kept.
    Stored(Arc<Stored>),
    /// One that is still coming.
    Flight(FlightReader),
    /// A slice of one, of which the next slices are brought one by one.
    Slice(Box<SliceBody>),
}

/// A slice of an answer.
#[derive(Debug)]
pub(crate) struct SliceBody {
    /// The slice, as an answer of its own.
    pub(crate) body: From,
    /// Which bytes of the whole it has.
    range: Range<u64>,
    /// How long the whole is.
    pub(crate) complete: u64,
    /// The first byte that is wanted of another slice.
    wanted: Option<u64>,
}

impl SliceBody {
    pub(crate) fn new(body: From, range: Range<u64>, complete: u64) -> Self {
        Self { body, range, complete, wanted: None }
    }
}

/// What is sent next.
#[derive(Debug)]
pub(crate) enum Span {
    /// These bytes.
    Literal(Bytes),
    /// Those of the body from `at` to `end`; `None`: to where it ends.
    Range {
        /// The next byte.
        at: u64,
        /// Behind the last one.
        end: Option<u64>,
    },
}

/// A body, or parts of one, as it is read from the cache.
#[derive(Debug)]
pub(crate) struct BodyReader {
    from: From,
    spans: VecDeque<Span>,
    piece: Bytes,
    /// A piece of a file that is on its way.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl BodyReader {
    pub(crate) fn new(from: From, spans: impl IntoIterator<Item = Span>) -> Self {
        let (spans, piece) = (spans.into_iter().collect(), Bytes::new());
        let mut reader = Self { from, spans, piece, reading: None };
        reader.skip_empty();
        reader.take_what_is_there();
        reader
    }

    /// What is in memory is at hand from the beginning: it leaves together with the head.
    fn take_what_is_there(&mut self) {
        match (self.spans.front_mut(), &self.from) {
            (Some(Span::Literal(bytes)), _) => {
                self.piece = std::mem::take(bytes);
                self.spans.pop_front();
            }
            (Some(Span::Range { at, end: Some(end) }), From::Stored(stored)) => {
                if let Some(mut piece) = stored.body.piece(*at) {
                    piece.truncate(usize::try_from(*end - *at).unwrap_or(usize::MAX));
                    self.piece = piece;
                    self.skip(self.piece.len() as u64);
                }
            }
            _ => {}
        }
    }

    /// The whole of it.
    pub(crate) fn whole(from: From) -> Self {
        let end = match &from {
            From::Stored(stored) => stored.length,
            From::Flight(_) => None,
            From::Slice(slice) => Some(slice.complete),
        };
        Self::new(from, [Span::Range { at: 0, end }])
    }

    /// The first byte of the slice that it cannot go on without.
    pub(crate) fn wanted(&self) -> Option<u64> {
        match &self.from {
            From::Slice(slice) => slice.wanted,
            From::Stored(_) | From::Flight(_) => None,
        }
    }

    /// Goes on with another slice.
    pub(crate) fn supply(&mut self, slice: SliceBody) {
        self.from = From::Slice(Box::new(slice));
    }

    /// So many bytes of the next span are taken.
    fn skip(&mut self, count: u64) {
        if let Some(Span::Range { at, .. }) = self.spans.front_mut() {
            *at += count;
        }
        self.skip_empty();
    }

    fn skip_empty(&mut self) {
        while matches!(self.spans.front(), Some(Span::Range { at, end: Some(end) }) if at >= end) {
            self.spans.pop_front();
        }
    }

    /// The next piece; `None`: the span has ended.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        at: u64,
        end: Option<u64>,
    ) -> Poll<Result<Option<Bytes>, PeerError>> {
        let From::Slice(slice) = &mut self.from else {
            return self.from.poll_piece(cx, &mut self.reading, at, end);
        };
        if !slice.range.contains(&at) {
            // Whoever polls looks for this.
            slice.wanted = Some(at);
            return Poll::Pending;
        }
        let start = slice.range.start;
        let end = end.unwrap_or(slice.complete).min(slice.range.end);
        let piece = slice.body.poll_piece(cx, &mut self.reading, at - start, Some(end - start));
        match ready!(piece)? {
            None => Poll::Ready(Err(PeerError::Incomplete)),
            piece => Poll::Ready(Ok(piece)),
        }
    }
}

impl From {
    /// The next piece of a body, of which `reading` may be on its way.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        reading: &mut Option<JoinHandle<io::Result<Bytes>>>,
        at: u64,
        end: Option<u64>,
    ) -> Poll<Result<Option<Bytes>, PeerError>> {
        let stored = match self {
            Self::Slice(_) => return Poll::Ready(Err(PeerError::Incomplete)),
            Self::Flight(flight) => {
                return flight.poll_piece(cx, at).map_err(|_| PeerError::Incomplete);
            }
            Self::Stored(stored) => stored,
        };
        match &stored.body {
            Body::Memory(_) => Poll::Ready(match stored.body.piece(at) {
                None if end.is_some() => Err(PeerError::Incomplete),
                piece => Ok(piece),
            }),
            Body::Disk(disk) => {
                let end = end.unwrap_or(disk.length).min(disk.length);
                if at >= end {
                    return Poll::Ready(Err(PeerError::Incomplete));
                }
                let (file, offset) = (Arc::clone(&disk.file), disk.offset + at);
                let most = (end - at).min(FILE_PIECE) as usize;
                let running = reading.get_or_insert_with(|| {
                    tokio::task::spawn_blocking(move || {
                        let mut buffer = vec![0; most];
                        file.read_exact_at(&mut buffer, offset)?;
                        Ok(buffer.into())
                    })
                });
                let read = ready!(Pin::new(running).poll(cx));
                *reading = None;
                let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
                Poll::Ready(read.map(Some).map_err(PeerError::Io))
            }
        }
    }
}

impl Source for BodyReader {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece = self.piece.slice(count..);
    }

    fn is_done(&self) -> bool {
        self.piece.is_empty() && self.spans.is_empty()
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, _: &BlockPool) -> Poll<Result<(), PeerError>> {
        let (at, end) = match self.spans.front_mut() {
            None => return Poll::Ready(Ok(())),
            Some(Span::Literal(bytes)) => {
                self.piece = std::mem::take(bytes);
                self.spans.pop_front();
                return Poll::Ready(Ok(()));
            }
            Some(Span::Range { at, end }) => (*at, *end),
        };
        match ready!(self.poll_piece(cx, at, end))? {
            Some(mut piece) => {
                if let Some(end) = end {
                    piece.truncate(usize::try_from(end - at).unwrap_or(usize::MAX));
                }
                self.skip(piece.len() as u64);
                self.piece = piece;
            }
            None => {
                self.spans.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        Ok(match &mut self.from {
            From::Stored(stored) => stored.trailers.clone(),
            From::Flight(flight) => flight.trailers(),
            From::Slice(_) => None,
        })
    }
}
