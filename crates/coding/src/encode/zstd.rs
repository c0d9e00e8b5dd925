//! zstd, by the reference library.

use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use super::{EncodeError, make_room, window_bits};
use crate::pool;

/// The window of a body whose size is not known: 1 MiB.
const WINDOW_OF_UNKNOWN: u32 = 20;
/// The largest window: 2 MiB, as level 3 has it. Those of the highest levels are at the 8 MiB
/// that RFC 9659 allows, which nobody wants to hold for each of a thousand clients.
const WINDOW: u32 = 21;

/// With a dictionary: from 128 KiB, so that a body that is longer than it was said to be still
/// reaches it, to 8 MiB.
const LEAST_OF_DICTIONARY: u32 = 17;
const WINDOW_OF_DICTIONARY: u32 = 23;

pub struct Packer {
    /// Always there, but while this is dropped.
    context: Option<CCtx<'static>>,
}

impl Packer {
    pub fn new(level: u8, size: Option<u64>) -> Result<Self, EncodeError> {
        let most = match level {
            // Levels that have a smaller one by themselves.
            0..=1 => 19,
            2 => 20,
            _ if size.is_some() => WINDOW,
            _ => WINDOW_OF_UNKNOWN,
        };
        let window = window_bits(size, 10, most);
        // Tables follow the size, and not the window: without it, level 19 clears 80 MiB for 4 KiB.
        Self::prepare(level, window, size.unwrap_or(1 << window))
    }

    /// By a dictionary. It can be reached until the body is as long as the window, which is
    /// therefore as long as the body, within the 8 MiB that every client takes (RFC 9842 §5).
    pub fn by_dictionary(
        level: u8,
        size: Option<u64>,
        dictionary: &[u8],
    ) -> Result<Self, EncodeError> {
        // Where nothing is known of it, the next version is not much larger than this one.
        let size = size.unwrap_or(dictionary.len() as u64 / 4 * 5);
        let window = window_bits(Some(size), LEAST_OF_DICTIONARY, WINDOW_OF_DICTIONARY);
        let mut packer = Self::prepare(level, window, size)?;
        let context = packer.context.as_mut().ok_or(EncodeError)?;
        context.load_dictionary(dictionary).map_err(|_| EncodeError)?;
        Ok(packer)
    }

    fn prepare(level: u8, window: u32, size: u64) -> Result<Self, EncodeError> {
        let mut context = pool::zstd().or_else(CCtx::try_create).ok_or(EncodeError)?;
        let hint = u32::try_from(size).unwrap_or(u32::MAX).min(1 << 30);
        for parameter in [
            CParameter::CompressionLevel(i32::from(level)),
            CParameter::WindowLog(window),
            CParameter::SrcSizeHint(hint),
        ] {
            context.set_parameter(parameter).map_err(|_| EncodeError)?;
        }
        Ok(Self { context: Some(context) })
    }

    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let context = self.context.as_mut().ok_or(EncodeError)?;
        let mut input = InBuffer::around(input);
        while input.pos() < input.src.len() {
            make_room(out);
            let at = out.len();
            let mut room = OutBuffer::around_pos(out, at);
            context.compress_stream(&mut room, &mut input).map_err(|_| EncodeError)?;
        }
        Ok(())
    }

    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.drain(out, |context, room| context.flush_stream(room))
    }

    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.drain(out, |context, room| context.end_stream(room))
    }

    /// Repeats a step until it says that nothing is left.
    fn drain(
        &mut self,
        out: &mut Vec<u8>,
        step: impl Fn(&mut CCtx<'static>, &mut OutBuffer<'_, Vec<u8>>) -> Result<usize, usize>,
    ) -> Result<(), EncodeError> {
        let context = self.context.as_mut().ok_or(EncodeError)?;
        loop {
            make_room(out);
            let at = out.len();
            let mut room = OutBuffer::around_pos(out, at);
            if step(context, &mut room).map_err(|_| EncodeError)? == 0 {
                return Ok(());
            }
        }
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            pool::keep_zstd(context);
        }
    }
}
