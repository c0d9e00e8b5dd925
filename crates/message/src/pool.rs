//! Buffers and lists of fields that are used again.

use std::cell::{Cell, RefCell};

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
    buffers: FreeList<Vec<u8>>,
    bulk: FreeList<Vec<u8>>,
    shells: FreeList<Block>,
    max_free: usize,
}

impl BlockPool {
    /// A pool that keeps at most `max_free` of each.
    #[must_use]
    pub fn new(max_free: usize) -> Self {
        Self {
            buffers: FreeList::default(),
            bulk: FreeList::default(),
            shells: FreeList::default(),
            max_free,
        }
    }

    /// An empty buffer with room for a usual head.
    #[must_use]
    pub fn buffer(&self) -> Vec<u8> {
        self.buffers.take().unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES))
    }

    /// An empty buffer with room for a good part of a long body.
    #[must_use]
    pub fn bulk(&self) -> Vec<u8> {
        self.bulk.take().unwrap_or_else(|| Vec::with_capacity(BULK_BYTES))
    }

    /// Gives a buffer back.
    pub fn give_buffer(&self, mut buffer: Vec<u8>) {
        let list = match buffer.capacity() {
            HEAD_BYTES..BULK_BYTES => &self.buffers,
            BULK_BYTES..=KEEP_BYTES => &self.bulk,
            _ => return,
        };
        buffer.clear();
        list.give(buffer, self.max_free);
    }

    /// An empty block over this buffer.
    #[must_use]
    pub fn block_over(&self, buffer: Vec<u8>) -> Block {
        let mut block = self.shells.take().unwrap_or_default();
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
        self.shells.give(block.recycle(), self.max_free);
    }

    /// Frees what nobody needed since the last call: a burst is paid for only while it lasts.
    pub fn trim(&self) {
        self.buffers.trim();
        self.bulk.trim();
        self.shells.trim();
    }
}

/// A stack of free things that knows how many of them were never needed lately.
#[derive(Debug)]
pub struct FreeList<T> {
    free: RefCell<Vec<T>>,
    /// The fewest there were since the last trim.
    fewest: Cell<usize>,
}

impl<T> Default for FreeList<T> {
    fn default() -> Self {
        Self { free: RefCell::default(), fewest: Cell::new(0) }
    }
}

impl<T> FreeList<T> {
    /// The one that was given last.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        let mut free = self.free.borrow_mut();
        let taken = free.pop();
        self.fewest.set(self.fewest.get().min(free.len()));
        taken
    }

    /// Keeps one, unless there are `max` already.
    pub fn give(&self, one: T, max: usize) {
        let mut free = self.free.borrow_mut();
        if free.len() < max {
            free.push(one);
        }
    }

    /// Frees those that nobody needed since the last call.
    pub fn trim(&self) {
        let mut free = self.free.borrow_mut();
        // The oldest are at the bottom, where nobody got to.
        let unused = self.fewest.get().min(free.len());
        free.drain(..unused);
        if free.is_empty() {
            free.shrink_to_fit();
        }
        self.fewest.set(free.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_needed_is_freed() {
        let pool = BlockPool::new(8);
        let taken: Vec<_> = (0..4).map(|_| pool.buffer()).collect();
        taken.into_iter().for_each(|buffer| pool.give_buffer(buffer));
        let free = || pool.buffers.free.borrow().len();
        pool.trim();
        assert_eq!(free(), 4, "all were in use since the last time");
        let one = pool.buffer();
        pool.give_buffer(one);
        pool.trim();
        assert_eq!(free(), 1);
        pool.trim();
        assert_eq!(free(), 0);
    }

    #[test]
    fn buffers_come_back_empty_and_in_their_size() {
        let pool = BlockPool::new(1);
        let mut bulk = pool.bulk();
        bulk.extend_from_slice(b"secret");
        pool.give_buffer(bulk);
        pool.give_buffer(Vec::with_capacity(10 * KEEP_BYTES));
        assert_eq!((pool.bulk().len(), pool.bulk.free.borrow().len()), (0, 0));
    }
}
