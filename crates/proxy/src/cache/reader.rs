//! Bodies as they are read from the cache.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cache::{Body, Broken, DiskBody, FlightReader, Stored};
use message::{Block, BlockPool};

use super::load::{self, Piece};
use crate::peer::{FilePiece, PeerError, Source};

/// Bytes that are read from a file at once.
const FILE_PIECE: u64 = 256 * 1024;

/// Bytes of a file that are made sure of at once to be in memory, before they are sent from there.
const FILE_WINDOW: u64 = 1024 * 1024;

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

impl Span {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Range { at, end: Some(end) } if at >= end)
    }

    /// What of it is in memory, which leaves together with the head, and what is left of it.
    fn begin(self, from: &From) -> (Bytes, Option<Self>) {
        match (self, from) {
            (Self::Literal(bytes), _) => (bytes, None),
            (Self::Range { at, end: Some(end) }, From::Stored(stored)) => {
                let mut piece = stored.body.piece(at).unwrap_or_default();
                piece.truncate(usize::try_from(end - at).unwrap_or(usize::MAX));
                let rest = Self::Range { at: at + piece.len() as u64, end: Some(end) };
                (piece, Some(rest).filter(|rest| !rest.is_empty()))
            }
            (span, _) => (Bytes::new(), Some(span)),
        }
    }
}

/// A body, or parts of one, as it is read from the cache.
#[derive(Debug)]
pub(crate) struct BodyReader {
    from: From,
    spans: VecDeque<Span>,
    piece: Bytes,
    /// A piece of a file that is on its way.
    reading: Option<Piece>,
    /// It is all of it, and nothing else.
    is_whole: bool,
    /// Files may be sent as they are.
    offers_files: bool,
    /// Which bytes of the body, where it is in a file, were last seen to be in memory. The next span
    /// may lie anywhere else.
    at_hand: Range<u64>,
}

impl BodyReader {
    pub(crate) fn new(from: From, spans: impl IntoIterator<Item = Span>) -> Self {
        let mut spans = spans.into_iter().filter(|span| !span.is_empty());
        let (piece, rest) = match spans.next() {
            Some(first) => first.begin(&from),
            None => (Bytes::new(), None),
        };
        Self {
            from,
            // Mostly there is nothing left, and no room is taken for it.
            spans: rest.into_iter().chain(spans).collect(),
            piece,
            reading: None,
            is_whole: false,
            offers_files: false,
            at_hand: 0..0,
        }
    }

    /// The whole of it.
    pub(crate) fn whole(from: From) -> Self {
        let end = match &from {
            From::Stored(stored) => stored.length,
            From::Flight(_) => None,
            From::Slice(slice) => Some(slice.complete),
        };
        Self { is_whole: true, ..Self::new(from, [Span::Range { at: 0, end }]) }
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

    /// Whether nothing comes for now because of others who are slower.
    pub(crate) fn is_held(&self) -> bool {
        self.from.flight().is_some_and(FlightReader::is_held)
    }

    /// The flight that it comes from now, if others may have to wait for this client.
    pub(crate) fn watched(&self) -> Option<&FlightReader> {
        self.from.flight().filter(|flight| flight.is_watched())
    }

    /// The answer whose body is read from a disk.
    pub(crate) fn on_disk(&self) -> Option<&Arc<Stored>> {
        let stored = match &self.from {
            From::Slice(slice) => slice.body.stored(),
            from => from.stored(),
        };
        stored.filter(|stored| matches!(stored.body, Body::Disk(_)))
    }

    /// What it is read from, where that is all stored.
    pub(crate) fn stored(&self) -> Option<&Arc<Stored>> {
        self.from.stored()
    }

    /// What is in a file may be sent from there. Nothing was read yet.
    pub(crate) fn offer_files(&mut self) {
        self.offers_files = true;
        if let From::Stored(stored) = &self.from
            && let Some(image) = stored.coded.image().filter(|_| self.is_whole)
        {
            self.at_hand = 0..image.length();
            self.spans = [Span::Range { at: 0, end: stored.length }].into();
            self.piece = Bytes::new();
        } else if let Some((disk, at, until)) = self.next_window()
            && net::file::is_cached(&disk.file, disk.offset + at, until - at) == Some(true)
        {
            // It leaves together with the head.
            self.at_hand = at..until;
        }
    }

    /// What is made sure of next to be in memory of a body in a file: from where in it to where.
    fn next_window(&self) -> Option<(&DiskBody, u64, u64)> {
        let (disk, at, end) = self.next_in_file()?;
        (at < end).then(|| (disk, at, (at + FILE_WINDOW).min(end)))
    }

    /// The next part of a file: from where in the body to where.
    fn next_in_file(&self) -> Option<(&DiskBody, u64, u64)> {
        match (self.spans.front(), &self.from) {
            (Some(Span::Range { at, end }), From::Stored(stored)) => match &stored.body {
                Body::Disk(disk) => Some((disk, *at, end.unwrap_or(disk.length).min(disk.length))),
                Body::Memory(_) => None,
            },
            _ => None,
        }
    }

    /// The image of what is in memory, and where to go on in it.
    fn next_in_image(&self) -> Option<(&File, u64)> {
        match (self.spans.front(), &self.from) {
            (Some(Span::Range { at, .. }), From::Stored(stored)) if self.is_whole => {
                Some((stored.coded.image()?.file(), *at))
            }
            _ => None,
        }
    }

    /// Makes sure that what is next of a file is in memory: a core does not wait for a disk.
    /// `false`: the file is to be read instead.
    fn poll_file(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, PeerError>> {
        let Some((disk, at, until)) = self.next_window() else { return Poll::Ready(Ok(false)) };
        let (offset, length) = (disk.offset + at, until - at);
        if self.reading.is_none() {
            match net::file::is_cached(&disk.file, offset, length) {
                None => {
                    self.offers_files = false;
                    return Poll::Ready(Ok(false));
                }
                Some(true) => {
                    self.at_hand = at..until;
                    return Poll::Ready(Ok(true));
                }
                Some(false) => {
                    let file = Arc::clone(&disk.file);
                    self.reading = Some(load::read(move || {
                        net::file::bring(&file, offset, length).map(|()| Bytes::new())
                    }));
                }
            }
        }
        ready!(poll_reading(&mut self.reading, cx))?;
        self.at_hand = at..until;
        Poll::Ready(Ok(true))
    }

    /// So many bytes of the next span are taken.
    fn skip(&mut self, count: u64) {
        if let Some(Span::Range { at, .. }) = self.spans.front_mut() {
            *at += count;
        }
        self.skip_empty();
    }

    fn skip_empty(&mut self) {
        while self.spans.front().is_some_and(Span::is_empty) {
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
        let piece = match &mut slice.body {
            From::Flight(flight) => match ready!(flight.poll_piece(cx, at - start)) {
                Err(Broken::Behind) => {
                    // It can be had again, for itself.
                    slice.wanted = Some(at);
                    return Poll::Pending;
                }
                piece => piece.map_err(|_| PeerError::Incomplete),
            },
            body => ready!(body.poll_piece(cx, &mut self.reading, at - start, Some(end - start))),
        };
        Poll::Ready(piece.and_then(|piece| piece.map(Some).ok_or(PeerError::Incomplete)))
    }
}

impl From {
    fn stored(&self) -> Option<&Arc<Stored>> {
        match self {
            Self::Stored(stored) => Some(stored),
            Self::Flight(_) | Self::Slice(_) => None,
        }
    }

    /// The flight that it comes from now, if it does.
    fn flight(&self) -> Option<&FlightReader> {
        match self {
            Self::Flight(flight) => Some(flight),
            Self::Slice(slice) => slice.body.flight(),
            Self::Stored(_) => None,
        }
    }

    /// The next piece of a body, of which `reading` may be on its way.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        reading: &mut Option<Piece>,
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
                if reading.is_none() {
                    let mut buffer = vec![0; most];
                    if let Some(read) = net::file::read_cached(&file, &mut buffer, offset) {
                        buffer.truncate(read);
                        return Poll::Ready(Ok(Some(buffer.into())));
                    }
                    *reading = Some(load::read(move || {
                        file.read_exact_at(&mut buffer, offset)?;
                        Ok(buffer.into())
                    }));
                }
                poll_reading(reading, cx).map_ok(Some)
            }
        }
    }
}

/// Waits for what reads a file.
fn poll_reading(
    reading: &mut Option<Piece>,
    cx: &mut Context<'_>,
) -> Poll<Result<Bytes, PeerError>> {
    let Some(running) = reading else { return Poll::Ready(Ok(Bytes::new())) };
    let read = ready!(Pin::new(running).poll(cx));
    *reading = None;
    Poll::Ready(read.map_err(PeerError::Io))
}

impl Source for BodyReader {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece = self.piece.slice(count..);
        if let Some(flight) = self.from.flight() {
            flight.note_progress();
        }
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
        if self.offers_files && ready!(self.poll_file(cx))? {
            return Poll::Ready(Ok(()));
        }
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

    fn file(&self) -> Option<FilePiece<'_>> {
        if !self.offers_files || !self.piece.is_empty() {
            return None;
        }
        if let Some((file, at)) = self.next_in_image().filter(|(_, at)| self.at_hand.contains(at)) {
            return Some(FilePiece { file, offset: at, length: self.at_hand.end - at });
        }
        let (disk, at, end) = self.next_in_file()?;
        if at >= end || !self.at_hand.contains(&at) {
            return None;
        }
        let length = end.min(self.at_hand.end) - at;
        Some(FilePiece { file: &disk.file, offset: disk.offset + at, length })
    }

    fn file_sent(&mut self, count: u64) {
        self.skip(count);
    }

    fn file_waits(&mut self) {
        // By then it may be gone from memory; an image may not.
        if self.next_in_image().is_none() {
            self.at_hand = 0..0;
        }
    }

    fn refuse_files(&mut self) {
        self.offers_files = false;
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        Ok(match &mut self.from {
            From::Stored(stored) => stored.trailers.clone(),
            From::Flight(flight) => flight.trailers(),
            From::Slice(_) => None,
        })
    }
}
