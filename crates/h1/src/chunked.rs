//! The chunked transfer coding (RFC 9112 §7.1).

use message::Block;

use crate::fields::parse_fields;
use crate::scan::TOKEN;
use crate::{HeadLimits, ParseError, Part};

/// What ends a chunked body that has no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A size of 64 bits has at most so many digits.
const MAX_DIGITS: u8 = 16;

/// Extensions of all chunks of one body may have so many bytes: nobody uses them, and each
/// costs the peer one byte and us a step.
const MAX_EXTENSION_BYTES: u32 = 16 * 1024;

/// Takes a chunked body apart. Feed it what was received; it says what to do with the
/// beginning of it.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of the present chunk still to come, or the size as far as it was read.
    remaining: u64,
    digits: u8,
    extension_bytes: u32,
    trailers: Vec<u8>,
    limits: HeadLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    /// White space between a size or an extension and what follows.
    Space,
    ExtensionName {
        empty: bool,
    },
    ExtensionValue {
        empty: bool,
    },
    ExtensionQuoted,
    ExtensionEscape,
    AfterQuoted,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    Trailers,
    Done,
}

/// What the beginning of the input is.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of framing, then so many bytes of the body. Either may be 0; both are 0
    /// only when there is nothing to decode without more input.
    Data {
        /// Bytes to skip.
        skip: usize,
        /// Bytes of the body behind them.
        length: usize,
    },
    /// So many bytes of framing, then the body is over; what follows belongs to the next
    /// message.
    End {
        /// Bytes to skip.
        skip: usize,
    },
}

impl ChunkedDecoder {
    /// A decoder at the beginning of a body. `limits` are those of the trailers.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            state: State::Size,
            remaining: 0,
            digits: 0,
            extension_bytes: 0,
            trailers: Vec::new(),
            limits,
        }
    }

    /// Whether the body is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes the beginning of the input.
    ///
    /// # Errors
    /// See [`ParseError`]. The decoder is of no further use then.
    pub fn decode(&mut self, input: &[u8]) -> Result<Piece, ParseError> {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Data => {
                    let here = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                    let length = here.min(input.len() - at);
                    self.remaining -= length as u64;
                    if self.remaining == 0 {
                        self.state = State::DataReturn;
                    }
                    return Ok(Piece::Data { skip: at, length });
                }
                State::Trailers => {
                    at += self.take_trailers(&input[at..])?;
                    if self.state == State::Done {
                        return Ok(Piece::End { skip: at });
                    }
                }
                State::Done => return Ok(Piece::End { skip: at }),
                _ => {
                    self.step(input[at])?;
                    at += 1;
                }
            }
        }
        Ok(Piece::Data { skip: at, length: 0 })
    }

    /// The trailers, once the body is over; `None` if there were none.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn trailers(&mut self) -> Result<Option<Block>, ParseError> {
        if self.trailers.len() <= 2 {
            return Ok(None);
        }
        let mut block = Block::over(std::mem::take(&mut self.trailers));
        parse_fields(&mut block, 0, self.limits.fields)?;
        Ok(Some(block))
    }

    /// One byte of a size line, or of the line end after data.
    fn step(&mut self, byte: u8) -> Result<(), ParseError> {
        const BAD: ParseError = ParseError::Malformed(Part::Chunk);
        let in_extension = !matches!(
            self.state,
            State::Size | State::SizeLineFeed | State::DataReturn | State::DataLineFeed
        );
        if in_extension {
            self.extension_bytes += 1;
            if self.extension_bytes > MAX_EXTENSION_BYTES {
                return Err(BAD);
            }
        }
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits == MAX_DIGITS {
                    return Err(ParseError::ChunkTooLarge);
                }
                self.digits += 1;
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.remaining = self.remaining << 4 | u64::from(digit);
                State::Size
            }
            (State::Size, _) if self.digits == 0 => return Err(bare_or(byte, BAD)),
            (State::Size | State::Space, b' ' | b'\t') => State::Space,
            (State::Size | State::Space, b';') => State::ExtensionName { empty: true },
            (State::Size, b'\r') => State::SizeLineFeed,
            (State::ExtensionName { empty: true }, b' ' | b'\t') => self.state,
            (State::ExtensionName { .. }, _) if TOKEN[byte as usize] => {
                State::ExtensionName { empty: false }
            }
            (State::ExtensionName { empty: false }, b'=') => State::ExtensionValue { empty: true },
            (State::ExtensionValue { empty: true }, b'"') => State::ExtensionQuoted,
            (State::ExtensionValue { .. }, _) if TOKEN[byte as usize] => {
                State::ExtensionValue { empty: false }
            }
            (State::ExtensionQuoted, b'"') => State::AfterQuoted,
            (State::ExtensionQuoted, b'\\') => State::ExtensionEscape,
            (State::ExtensionQuoted | State::ExtensionEscape, b'\t' | b' '..=0x7e | 0x80..) => {
                State::ExtensionQuoted
            }
            (
                State::ExtensionName { empty: false }
                | State::ExtensionValue { empty: false }
                | State::AfterQuoted,
                _,
            ) => match byte {
                b';' => State::ExtensionName { empty: true },
                b' ' | b'\t' => State::Space,
                b'\r' => State::SizeLineFeed,
                _ => return Err(bare_or(byte, BAD)),
            },
            (State::SizeLineFeed, b'\n') => {
                self.digits = 0;
                if self.remaining == 0 { State::Trailers } else { State::Data }
            }
            (State::DataReturn, b'\r') => State::DataLineFeed,
            (State::DataLineFeed, b'\n') => State::Size,
            (State::SizeLineFeed, _) => return Err(ParseError::BareLineEnd),
            _ => return Err(bare_or(byte, BAD)),
        };
        Ok(())
    }

    /// Collects the trailer section up to its empty line; returns how much of the input it is.
    fn take_trailers(&mut self, input: &[u8]) -> Result<usize, ParseError> {
        let before = self.trailers.len();
        for line_end in memchr::memchr_iter(b'\n', input).map(|at| at + 1) {
            let line_begins = |at: usize| -> &[u8] { &input[..at] };
            let tail = last_bytes(&self.trailers, line_begins(line_end));
            if !tail.ends_with(b"\r\n") {
                return Err(ParseError::BareLineEnd);
            }
            let is_first_line = before + line_end == 2;
            if tail.ends_with(b"\r\n\r\n") || is_first_line {
                self.trailers.extend_from_slice(&input[..line_end]);
                self.state = State::Done;
                return self.within_limit().map(|()| line_end);
            }
        }
        self.trailers.extend_from_slice(input);
        self.within_limit().map(|()| input.len())
    }

    fn within_limit(&self) -> Result<(), ParseError> {
        if self.trailers.len() > self.limits.bytes {
            return Err(ParseError::HeadTooLarge);
        }
        Ok(())
    }
}

fn bare_or(byte: u8, error: ParseError) -> ParseError {
    if byte == b'\n' || byte == b'\r' { ParseError::BareLineEnd } else { error }
}

/// The last four bytes of two slices behind one another.
fn last_bytes(first: &[u8], second: &[u8]) -> Tail {
    let mut tail = Tail { bytes: [0; 4], used: 0 };
    for &byte in second.iter().rev().chain(first.iter().rev()).take(4) {
        tail.bytes[3 - tail.used] = byte;
        tail.used += 1;
    }
    tail
}

struct Tail {
    bytes: [u8; 4],
    used: usize,
}

impl Tail {
    fn ends_with(&self, end: &[u8]) -> bool {
        self.bytes[4 - self.used..].ends_with(end)
    }
}

/// The line in front of a chunk, made on the stack.
#[derive(Debug)]
pub struct ChunkHeader {
    text: [u8; 18],
    start: usize,
}

impl ChunkHeader {
    /// For a chunk of so many bytes; 0 would end the body.
    #[must_use]
    pub fn new(mut length: usize) -> Self {
        debug_assert!(length > 0, "a chunk of size 0 is the last one");
        let mut text = [0; 18];
        text[16..].copy_from_slice(b"\r\n");
        let mut start = 16;
        loop {
            start -= 1;
            text[start] = b"0123456789abcdef"[length & 15];
            length >>= 4;
            if length == 0 {
                return Self { text, start };
            }
        }
    }

    /// The line.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

#[cfg(test)]
mod tests;
