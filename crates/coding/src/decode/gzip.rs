//! gzip, by zlib-rs.

use flate2::{Decompress, FlushDecompress, Status};

use super::{DecodeError, Step};

pub struct Unpacker {
    context: Decompress,
    /// A member has ended and no other has begun.
    between: bool,
}

impl Unpacker {
    pub fn new() -> Self {
        Self { context: Decompress::new_gzip(15), between: false }
    }

    pub fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, DecodeError> {
        if self.between {
            if input.is_empty() {
                return Ok(Step { taken: 0, made: 0, more: false });
            }
            self.context = Decompress::new_gzip(15);
            self.between = false;
        }
        let (taken, made) = (self.context.total_in(), self.context.total_out());
        let status = self
            .context
            .decompress(input, room, FlushDecompress::None)
            .map_err(|_| DecodeError::Corrupt)?;
        self.between = status == Status::StreamEnd;
        let count =
            |now: u64, before: u64| usize::try_from(now - before).map_err(|_| DecodeError::Corrupt);
        let made = count(self.context.total_out(), made)?;
        Ok(Step {
            taken: count(self.context.total_in(), taken)?,
            made,
            more: made == room.len() && !self.between,
        })
    }

    pub fn ended(&self) -> bool {
        self.between
    }
}
