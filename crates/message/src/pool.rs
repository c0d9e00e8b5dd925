//! Buffers and lists of fields that are used again.

use std::cell::RefCell;

use crate::Block;

/// What a buffer for a head begins with: nearly every head fits.
const HEAD_BYTES: usize = 8 * 1024;
/// What a buffer for a long body begins with.
const BULK_BYTES: usize = 64 * 1024;
/// Buffers that grew beyond this are not kept.
const KEEP_BYTES: usize = 2 * BULK_BYTES;

/// Free buffers and free lists of fields of one core. The two are kept apart: a buffer first
/// belongs to a connection that receives into it, and becomes part of a block with the head.
#[derive(Debug)]
pub struct BlockPool {
    buffers: RefCell<Vec<Vec<u8>>>,
    bulk: RefCell<Vec<Vec<u8>>>,
    shells: RefCell<Vec<Block>>,
    max_free: usize,
}

impl BlockPool {
    /// A pool that keeps at most `max_free` of each.
    #[must_use]
    pub fn new(max_free: usize) -> Self {
        Self {
            buffers: RefCell::default(),
            bulk: RefCell::default(),
            shells: RefCell::default(),
            max_free,
        }
    }

    /// An empty buffer with room for a usual head.
    #[must_use]
    pub fn buffer(&self) -> Vec<u8> {
        let kept = self.buffers.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES))
    }

    /// An empty buffer with room for a good part of a long body.
    #[must_use]
    pub fn bulk(&self) -> Vec<u8> {
        self.bulk.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BULK_BYTES))
    }

    /// Gives a buffer back.
    pub fn give_buffer(&self, mut buffer: Vec<u8>) {
        let list = match buffer.capacity() {
            HEAD_BYTES..BULK_BYTES => &self.buffers,
            BULK_BYTES..=KEEP_BYTES => &self.bulk,
            _ => return,
        };
        let mut list = list.borrow_mut();
        if list.len() < self.max_free {
            buffer.clear();
            list.push(buffer);
        }
    }

    /// An empty block over this buffer.
    #[must_use]
    pub fn block_over(&self, buffer: Vec<u8>) -> Block {
        let mut block = self.shells.borrow_mut().pop().unwrap_or_default();
        *block.bytes_mut() = buffer;
        block
    }

    /// An empty block with room for a usual head.
    #[must_use]
    pub fn block(&self) -> Block {
        self.block_over(self.buffer())
    }

    /// Gives a block back.
    pub fn give(&self, mut block: Block) {
        self.give_buffer(std::mem::take(block.bytes_mut()));
        let mut shells = self.shells.borrow_mut();
        if shells.len() < self.max_free {
            shells.push(block.recycle());
        }
    }
}
