//! Packing, piece by piece.

use std::fmt;

use crate::{Coding, Dictionary, DictionaryCoding};

mod brotli;
mod gzip;
mod zstd;

/// Packs one body. What it holds does not grow with the body: a window, and tables of the size
/// that the level asks for (gzip 0.3 MiB; zstd 3 and brotli 5 about 4 MiB, less for bodies that
/// are known to be small; the highest levels some tens of MiB).
///
/// After an error the body is broken, and everything else is an error too.
pub struct Encoder {
    packer: Packer,
    /// What the body begins with, until it is written: magic number and hash of the dictionary.
    header: Vec<u8>,
}

enum Packer {
    Gzip(gzip::Packer),
    Brotli(brotli::Packer),
    Zstd(zstd::Packer),
}

/// The body cannot be packed so. No input makes the libraries fail, so this is want of memory, or
/// of a dictionary that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeError;

impl Encoder {
    /// For one body. A `level` that the coding does not have becomes the nearest that it has
    /// ([`Coding::levels`]). `size`, where it is known, is how long the body will be: it makes
    /// tables smaller, and is allowed to be wrong.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn new(coding: Coding, level: u8, size: Option<u64>) -> Result<Self, EncodeError> {
        let level = level.clamp(*coding.levels().start(), *coding.levels().end());
        let packer = match coding {
            Coding::Gzip => Packer::Gzip(gzip::Packer::new(level)),
            Coding::Brotli => Packer::Brotli(brotli::Packer::new(level, size)),
            Coding::Zstd => Packer::Zstd(zstd::Packer::new(level, size)?),
        };
        Ok(Self { packer, header: Vec::new() })
    }

    /// For one body, by a dictionary that the client has ([`DictionaryCoding::Dcz`]; only
    /// [`encode_by_dictionary`] makes the other one). Levels are those of zstd, the lowest of which
    /// become 3, because they hardly look into a dictionary; `size` is as in
    /// [`Self::new`]. The work on the dictionary is done at the first piece: some milliseconds for
    /// a megabyte.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn by_dictionary(
        level: u8,
        size: Option<u64>,
        dictionary: &Dictionary,
    ) -> Result<Self, EncodeError> {
        let packer = zstd::Packer::by_dictionary(level.clamp(3, 19), size, dictionary.bytes())?;
        Ok(Self { packer: Packer::Zstd(packer), header: DictionaryCoding::Dcz.header(dictionary) })
    }

    /// Packs `input`, and appends to `out` what has become ready, which may be nothing.
    ///
    /// # Errors
    ///
    /// The library has failed.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.append(&mut self.header);
        match &mut self.packer {
            Packer::Gzip(packer) => packer.push(input, out),
            Packer::Brotli(packer) => packer.push(input, out),
            Packer::Zstd(packer) => packer.push(input, out),
        }
    }

    /// Appends to `out` what the other side needs to unpack everything that was pushed so far.
    /// This costs a few bytes and some of the gain, so it is for bodies that somebody waits for
    /// piece by piece.
    ///
    /// # Errors
    ///
    /// The library has failed.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.append(&mut self.header);
        match &mut self.packer {
            Packer::Gzip(packer) => packer.flush(out),
            Packer::Brotli(packer) => packer.flush(out),
            Packer::Zstd(packer) => packer.flush(out),
        }
    }

    /// Appends the rest to `out`: the body is complete.
    ///
    /// # Errors
    ///
    /// The library has failed.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.append(&mut self.header);
        match &mut self.packer {
            Packer::Gzip(packer) => packer.finish(out),
            Packer::Brotli(packer) => packer.finish(out),
            Packer::Zstd(packer) => packer.finish(out),
        }
    }
}

/// Packs a body that is there as a whole.
///
/// # Errors
///
/// There is no memory for it.
pub fn encode_all(coding: Coding, level: u8, body: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder::new(coding, level, Some(body.len() as u64))?;
    // A quarter is what text comes to.
    let mut out = Vec::with_capacity(body.len() / 4 + 64);
    encoder.push(body, &mut out)?;
    encoder.finish(&mut out)?;
    Ok(out)
}

/// Packs a body that is there as a whole, by a dictionary that the client has. Levels are those of
/// brotli, where the lower ones become 5, or 7 where much is to be remembered, and of zstd, where they
/// become 3.
///
/// # Errors
///
/// There is no memory for it, or the dictionary does not serve for this body: for `dcb`, both
/// together are too large ([`Dictionary::serves`]), or the body has bytes of all 256 values.
pub fn encode_by_dictionary(
    coding: DictionaryCoding,
    level: u8,
    dictionary: &Dictionary,
    body: &[u8],
) -> Result<Vec<u8>, EncodeError> {
    let size = body.len() as u64;
    let mut encoder = match coding {
        DictionaryCoding::Dcz => Encoder::by_dictionary(level, Some(size), dictionary)?,
        DictionaryCoding::Dcb if dictionary.serves(coding, Some(size)) => {
            let packer = brotli::Packer::by_dictionary(level.min(11), dictionary.bytes(), body)
                .ok_or(EncodeError)?;
            Encoder { packer: Packer::Brotli(packer), header: coding.header(dictionary) }
        }
        DictionaryCoding::Dcb => return Err(EncodeError),
    };
    // A twentieth is what the next version of something comes to.
    let mut out = Vec::with_capacity(body.len() / 20 + 128);
    encoder.push(body, &mut out)?;
    encoder.finish(&mut out)?;
    Ok(out)
}

/// Bits of the smallest window that holds a whole body of this size, within these bounds.
fn window_bits(size: Option<u64>, least: u32, most: u32) -> u32 {
    match size {
        // 16 bytes of a window of brotli cannot be reached (RFC 7932 §9.1).
        Some(size) => (u64::BITS - size.saturating_add(16).leading_zeros()).clamp(least, most),
        None => most,
    }
}

/// Makes room for some output of a library that writes behind what is there.
fn make_room(out: &mut Vec<u8>) {
    if out.capacity() - out.len() < 1024 {
        out.reserve(8 * 1024);
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coding = match self.packer {
            Packer::Gzip(_) => Coding::Gzip,
            Packer::Brotli(_) => Coding::Brotli,
            Packer::Zstd(_) => Coding::Zstd,
        };
        f.debug_tuple("Encoder").field(&coding).finish()
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body could not be packed")
    }
}

impl std::error::Error for EncodeError {}

#[cfg(test)]
mod tests;
