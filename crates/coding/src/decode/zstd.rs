//! zstd, by the reference library.

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{DecodeError, Step};
use crate::pool;

/// 8 MiB: the largest window that a body on the Web may ask for (RFC 9659 §3).
const WINDOW: u32 = 23;

pub struct Unpacker {
    /// Always there, but while this is dropped.
    context: Option<DCtx<'static>>,
    /// A frame has ended and no other has begun.
    between: bool,
}

impl Unpacker {
    pub fn new() -> Result<Self, DecodeError> {
        let mut context = pool::unzstd().or_else(DCtx::try_create).ok_or(DecodeError::Memory)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW)).map_err(|_| DecodeError::Memory)?;
        Ok(Self { context: Some(context), between: false })
    }

    pub fn by_dictionary(dictionary: &[u8]) -> Result<Self, DecodeError> {
        let mut unpacker = Self::new()?;
        let context = unpacker.context.as_mut().ok_or(DecodeError::Memory)?;
        context.load_dictionary(dictionary).map_err(|_| DecodeError::Memory)?;
        Ok(unpacker)
    }

    pub fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, DecodeError> {
        // Asked without input, the library would begin another frame.
        if self.between && input.is_empty() {
            return Ok(Step { taken: 0, made: 0, more: false });
        }
        let context = self.context.as_mut().ok_or(DecodeError::Corrupt)?;
        let mut input = InBuffer::around(input);
        let size = room.len();
        let mut room = OutBuffer::around(room);
        let hint =
            context.decompress_stream(&mut room, &mut input).map_err(|_| DecodeError::Corrupt)?;
        self.between = hint == 0;
        Ok(Step { taken: input.pos(), made: room.pos(), more: room.pos() == size && !self.between })
    }

    pub fn ended(&self) -> bool {
        self.between
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            pool::keep_unzstd(context);
        }
    }
}
