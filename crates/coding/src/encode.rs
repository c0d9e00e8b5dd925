//! Packing, piece by piece.

use std::fmt;

use crate::Coding;

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
}

enum Packer {
    Gzip(gzip::Packer),
    Brotli(brotli::Packer),
    Zstd(zstd::Packer),
}

/// The library has failed. There is no input that makes it, so this is want of memory.
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
        Ok(Self { packer })
    }

    /// Packs `input`, and appends to `out` what has become ready, which may be nothing.
    ///
    /// # Errors
    ///
    /// The library has failed.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
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
