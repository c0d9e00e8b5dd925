//! brotli, by `brotli-decompressor`.

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

use super::{DecodeError, Step};

pub struct Unpacker {
    /// In a box: it is some KiB large.
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    ended: bool,
}

impl Unpacker {
    pub fn new() -> Self {
        let alloc = StandardAlloc::default;
        // Strict: without the windows of up to 1 GiB that are no part of RFC 7932.
        Self { state: Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())), ended: false }
    }

    pub fn by_dictionary(dictionary: &[u8]) -> Result<Self, DecodeError> {
        let mut unpacker = Self::new();
        if unpacker.state.attach_dictionary(dictionary.to_vec().into()) {
            Ok(unpacker)
        } else {
            Err(DecodeError::Memory)
        }
    }

    pub fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, DecodeError> {
        if self.ended {
            let nothing = Step { taken: 0, made: 0, more: false };
            return if input.is_empty() { Ok(nothing) } else { Err(DecodeError::Corrupt) };
        }
        let (mut left, mut taken, mut free, mut made, mut total) =
            (input.len(), 0, room.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            input,
            &mut free,
            &mut made,
            room,
            &mut total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err(DecodeError::Corrupt),
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { taken, made, more: matches!(result, BrotliResult::NeedsMoreOutput) })
    }

    pub fn ended(&self) -> bool {
        self.ended
    }
}
