//! zstd, by the reference library.

use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

use super::{EncodeError, make_room, window_bits};
use crate::pool;

/// The window of a body whose size is not known: 1 MiB.
const WINDOW_OF_UNKNOWN: u32 = 20;
/// The largest window: 2 MiB, as level 3 has it. Those of the highest levels are at the 8 MiB
/// that RFC 9659 allows, which nobody wants to hold for each of a thousand clients.
const WINDOW: u32 = 21;

pub struct Packer {
    /// Always there, but while this is dropped.
    context: Option<CCtx<'static>>,
}

impl Packer {
    pub fn new(level: u8, size: Option<u64>) -> Result<Self, EncodeError> {
        let mut context = pool::zstd().or_else(CCtx::try_create).ok_or(EncodeError)?;
        context.reset(ResetDirective::SessionAndParameters).map_err(|_| EncodeError)?;
        let most = match level {
            // Levels that have a smaller one by themselves.
            0..=1 => 19,
            2 => 20,
            _ if size.is_some() => WINDOW,
            _ => WINDOW_OF_UNKNOWN,
        };
        let window = window_bits(size, 10, most);
        // Tables follow the size, and not the window: without it, level 19 clears 80 MiB for 4 KiB.
        let hint =
            size.map_or(1 << window, |size| u32::try_from(size).unwrap_or(u32::MAX).min(1 << 30));
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
