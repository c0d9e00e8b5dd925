//! gzip, by zlib-rs.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::{EncodeError, make_room};
use crate::pool;

pub struct Packer {
    level: u8,
    /// Always there, but while this is dropped.
    context: Option<Compress>,
}

impl Packer {
    pub fn new(level: u8) -> Self {
        let context = pool::deflate(level)
            .unwrap_or_else(|| Compress::new_gzip(Compression::new(u32::from(level)), 15));
        Self { level, context: Some(context) }
    }

    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let context = self.context.as_mut().ok_or(EncodeError)?;
        while !input.is_empty() {
            make_room(out);
            let before = context.total_in();
            context.compress_vec(input, out, FlushCompress::None).map_err(|_| EncodeError)?;
            let taken = usize::try_from(context.total_in() - before).map_err(|_| EncodeError)?;
            input = &input[taken..];
        }
        Ok(())
    }

    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let context = self.context.as_mut().ok_or(EncodeError)?;
        loop {
            make_room(out);
            context.compress_vec(&[], out, FlushCompress::Sync).map_err(|_| EncodeError)?;
            // Where room is left, there was no more to be written.
            if out.len() < out.capacity() {
                return Ok(());
            }
        }
    }

    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let context = self.context.as_mut().ok_or(EncodeError)?;
        loop {
            make_room(out);
            match context.compress_vec(&[], out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => return Ok(()),
                Ok(Status::Ok) => {}
                Ok(Status::BufError) | Err(_) => return Err(EncodeError),
            }
        }
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            pool::keep_deflate(self.level, context);
        }
    }
}
