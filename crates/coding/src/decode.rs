//! Unpacking, piece by piece, within limits.

use std::fmt;

use crate::{Coding, Dictionary, DictionaryCoding};

mod brotli;
mod gzip;
mod zstd;

/// Output that is not yet held against [`Limits::max_ratio`]: a small body may be nothing but
/// zeros.
const RATIO_FREE: u64 = 64 * 1024;

/// What may come out of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes at most.
    pub max_size: u64,
    /// How many times as much as went in, at most. It is looked at after 64 KiB.
    pub max_ratio: u32,
}

/// Unpacks one body. What it holds does not grow with the body: the window (gzip 32 KiB, zstd
/// 8 MiB at most, brotli 16 MiB at most, both no larger than what the body needs) and tables.
///
/// A gzip body may have several members (RFC 1952 §2.2), a zstd body several frames (RFC 8878
/// §3.1); what comes behind the end of a body is an error.
///
/// After an error the body is broken, and everything else is an error too.
pub struct Decoder {
    unpacker: Unpacker,
    limits: Limits,
    /// What the body has to begin with, as far as it was not seen yet.
    header: Vec<u8>,
    /// Bytes that went in, and came out.
    taken: u64,
    made: u64,
    failed: Option<DecodeError>,
}

enum Unpacker {
    Gzip(gzip::Unpacker),
    Brotli(brotli::Unpacker),
    Zstd(zstd::Unpacker),
}

/// What [`Decoder::push`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are taken; the others have to be given again.
    pub taken: usize,
    /// Whether there may be more output: push the rest of the input again, even if it is empty.
    pub more: bool,
}

/// Why a body cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// It is not in this coding, its checksum is wrong, something follows its end, or it asks for a
    /// larger window than RFC 9659 allows.
    Corrupt,
    /// More came out than [`Limits::max_size`].
    TooLarge,
    /// More came out for what went in than [`Limits::max_ratio`].
    Bomb,
    /// It ended before its end.
    Truncated,
    /// There is no memory for it.
    Memory,
}

/// What one step of a library has done.
struct Step {
    taken: usize,
    made: usize,
    /// The library may hold more output, which had no room.
    more: bool,
}

impl Decoder {
    /// For one body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Memory`].
    pub fn new(coding: Coding, limits: Limits) -> Result<Self, DecodeError> {
        let unpacker = match coding {
            Coding::Gzip => Unpacker::Gzip(gzip::Unpacker::new()),
            Coding::Brotli => Unpacker::Brotli(brotli::Unpacker::new()),
            Coding::Zstd => Unpacker::Zstd(zstd::Unpacker::new()?),
        };
        Ok(Self { unpacker, limits, header: Vec::new(), taken: 0, made: 0, failed: None })
    }

    /// For one body that was made by this dictionary (RFC 9842). A body that was made by another
    /// one is corrupt.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Memory`].
    pub fn by_dictionary(
        coding: DictionaryCoding,
        limits: Limits,
        dictionary: &Dictionary,
    ) -> Result<Self, DecodeError> {
        let unpacker = match coding {
            DictionaryCoding::Dcb => {
                Unpacker::Brotli(brotli::Unpacker::by_dictionary(dictionary.bytes())?)
            }
            DictionaryCoding::Dcz => {
                Unpacker::Zstd(zstd::Unpacker::by_dictionary(dictionary.bytes())?)
            }
        };
        Ok(Self {
            unpacker,
            limits,
            header: coding.header(dictionary),
            taken: 0,
            made: 0,
            failed: None,
        })
    }

    /// Unpacks some of `input`, and appends at most `most` bytes to `out`.
    ///
    /// # Errors
    ///
    /// The body is not what it should be, or goes beyond the limits. What was appended to `out`
    /// before that stays there, but is not to be trusted.
    pub fn push(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<Progress, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.unpack(input, out, most);
        self.failed = result.err();
        result
    }

    /// To be asked once the body has ended, and all of it was pushed until there was no more.
    /// A body without a single byte is empty in every coding.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`], or what was wrong before.
    pub fn finish(self) -> Result<(), DecodeError> {
        let ended = match &self.unpacker {
            Unpacker::Gzip(unpacker) => unpacker.ended(),
            Unpacker::Brotli(unpacker) => unpacker.ended(),
            Unpacker::Zstd(unpacker) => unpacker.ended(),
        };
        match self.failed {
            Some(error) => Err(error),
            None if (ended && self.header.is_empty()) || self.taken == 0 => Ok(()),
            None => Err(DecodeError::Truncated),
        }
    }

    /// Bytes that came out so far.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made
    }

    fn unpack(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<Progress, DecodeError> {
        let mut progress = Progress { taken: self.header(input)?, more: true };
        if !self.header.is_empty() {
            return Ok(Progress { more: false, ..progress });
        }
        let mut left = most;
        while left > 0 && (progress.more || progress.taken < input.len()) {
            let step = self.step(&input[progress.taken..], out, left)?;
            progress.taken += step.taken;
            progress.more = step.more;
            left -= step.made;
            if step.taken == 0 && step.made == 0 {
                break;
            }
        }
        Ok(progress)
    }

    /// Takes what the input has of the header.
    fn header(&mut self, input: &[u8]) -> Result<usize, DecodeError> {
        let size = self.header.len().min(input.len());
        if self.header[..size] != input[..size] {
            return Err(DecodeError::Corrupt);
        }
        self.header.drain(..size);
        self.taken += size as u64;
        Ok(size)
    }

    fn step(&mut self, input: &[u8], out: &mut Vec<u8>, most: usize) -> Result<Step, DecodeError> {
        // One more than is allowed, so that a body that goes beyond shows it.
        let allowed =
            (self.limits.max_size - self.made.min(self.limits.max_size)).saturating_add(1);
        let room = most.min(STEP).min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let at = out.len();
        out.resize(at + room, 0);
        let step = match &mut self.unpacker {
            Unpacker::Gzip(unpacker) => unpacker.step(input, &mut out[at..]),
            Unpacker::Brotli(unpacker) => unpacker.step(input, &mut out[at..]),
            Unpacker::Zstd(unpacker) => unpacker.step(input, &mut out[at..]),
        };
        out.truncate(at + step.as_ref().map_or(0, |step| step.made));
        let step = step?;
        self.taken += step.taken as u64;
        self.made += step.made as u64;
        self.check()?;
        Ok(step)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.made > self.limits.max_size {
            return Err(DecodeError::TooLarge);
        }
        if self.made > RATIO_FREE
            && self.made > self.taken.saturating_mul(u64::from(self.limits.max_ratio))
        {
            return Err(DecodeError::Bomb);
        }
        Ok(())
    }
}

/// Bytes that one step of a library makes room for.
const STEP: usize = 32 * 1024;

/// Unpacks a body that is there as a whole.
///
/// # Errors
///
/// The body is not what it should be, or goes beyond the limits.
pub fn decode_all(coding: Coding, limits: Limits, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    run(Decoder::new(coding, limits)?, body)
}

/// Unpacks a body that is there as a whole, and was made by this dictionary.
///
/// # Errors
///
/// The body is not what it should be, or goes beyond the limits.
pub fn decode_by_dictionary(
    coding: DictionaryCoding,
    limits: Limits,
    dictionary: &Dictionary,
    body: &[u8],
) -> Result<Vec<u8>, DecodeError> {
    run(Decoder::by_dictionary(coding, limits, dictionary)?, body)
}

fn run(mut decoder: Decoder, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    let mut left = body;
    loop {
        let progress = decoder.push(left, &mut out, 1 << 20)?;
        left = &left[progress.taken..];
        if left.is_empty() && !progress.more {
            decoder.finish()?;
            return Ok(out);
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("limits", &self.limits)
            .field("taken", &self.taken)
            .field("made", &self.made)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "the body is not in the coding that it is said to be in",
            Self::TooLarge => "the body is too large unpacked",
            Self::Bomb => "the body is too many times larger unpacked",
            Self::Truncated => "the body ends too early",
            Self::Memory => "there is no memory to unpack the body",
        })
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests;
