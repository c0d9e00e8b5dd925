//! Bodies in any framing, in and out.

use message::framing::BodyLength;

use crate::{ChunkHeader, ChunkedDecoder, HeadLimits, LAST_CHUNK, ParseError, Piece};

/// Takes a body out of what was received.
#[derive(Debug)]
pub enum BodyDecoder {
    /// So many bytes are still to come; 0: the body is over.
    Known(u64),
    /// In chunks. Boxed: most bodies are not.
    Chunked(Box<ChunkedDecoder>),
    /// All there is until the connection ends.
    UntilClose,
}

impl BodyDecoder {
    /// A decoder at the beginning of a body; `limits` are those of trailers.
    #[must_use]
    pub fn new(length: BodyLength, limits: HeadLimits) -> Self {
        match length {
            BodyLength::None => Self::Known(0),
            BodyLength::Known(length) => Self::Known(length),
            BodyLength::Chunked => Self::Chunked(Box::new(ChunkedDecoder::new(limits))),
            BodyLength::UntilClose => Self::UntilClose,
        }
    }

    /// What the beginning of the input is. Where the body is over, nothing more is taken.
    ///
    /// # Errors
    /// A chunked body that is malformed.
    pub fn decode(&mut self, input: &[u8]) -> Result<Piece, ParseError> {
        match self {
            Self::Known(0) => Ok(Piece::End { skip: 0 }),
            Self::Known(remaining) => {
                let length = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
                *remaining -= length as u64;
                Ok(Piece::Data { skip: 0, length })
            }
            Self::Chunked(decoder) => decoder.decode(input),
            Self::UntilClose => Ok(Piece::Data { skip: 0, length: input.len() }),
        }
    }

    /// Whether the body is over for sure.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Known(remaining) => *remaining == 0,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::UntilClose => false,
        }
    }

    /// Whether the body may end with the connection at this point.
    #[must_use]
    pub fn may_end_here(&self) -> bool {
        matches!(self, Self::UntilClose) || self.is_done()
    }

    /// How many of the next bytes on the connection are body and nothing but body, where they
    /// can be moved without being looked at. `u64::MAX` stands for all until the end.
    #[must_use]
    pub fn opaque(&self) -> u64 {
        match self {
            Self::Known(remaining) => *remaining,
            Self::Chunked(_) => 0,
            Self::UntilClose => u64::MAX,
        }
    }

    /// Takes note that so many opaque bytes were moved.
    pub fn skip(&mut self, moved: u64) {
        if let Self::Known(remaining) = self {
            *remaining = remaining.saturating_sub(moved);
        }
    }
}

/// Puts a body into the framing of the next connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEncoder {
    /// As it is; `Content-Length` or the end of the connection tells the end.
    Identity,
    /// In chunks.
    Chunked,
}

impl BodyEncoder {
    /// Appends a piece of the body to the output.
    pub fn encode(self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            _ if piece.is_empty() => {}
            Self::Identity => out.extend_from_slice(piece),
            Self::Chunked => {
                out.extend_from_slice(ChunkHeader::new(piece.len()).as_bytes());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends what ends the body.
    pub fn finish(self, trailers: Option<&message::Block>, out: &mut Vec<u8>) {
        match (self, trailers) {
            (Self::Identity, _) => {}
            (Self::Chunked, None) => out.extend_from_slice(LAST_CHUNK),
            (Self::Chunked, trailers) => crate::write_trailers(out, trailers),
        }
    }
}
