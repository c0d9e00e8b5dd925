//! Copy buffers, kept per core.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// The size that copies best: see `examples/relay.rs`.
pub const DEFAULT_BUFFER_SIZE: usize = 32 * 1024;

/// A free list of equally large buffers of one core.
///
/// Cheap to clone; the clones share the list. Buffers are lent to whoever has
/// bytes in hand and come back as soon as these are gone.
#[derive(Clone, Debug)]
pub struct BufferPool {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    size: usize,
    max_free: usize,
    free: RefCell<Vec<Box<[u8]>>>,
}

impl BufferPool {
    /// A pool of buffers of `size` bytes that keeps at most `max_free` unused ones.
    ///
    /// It never refuses a buffer: who lends bounds the number of connections.
    ///
    /// # Panics
    ///
    /// If `size` is 0, which could move nothing.
    #[must_use]
    pub fn new(size: usize, max_free: usize) -> Self {
        assert!(size > 0, "a copy buffer holds at least one byte");
        Self { inner: Rc::new(Inner { size, max_free, free: RefCell::default() }) }
    }

    /// Lends a buffer. What it holds is left over from its last use.
    #[must_use]
    pub fn take(&self) -> Buffer {
        let reused = self.inner.free.borrow_mut().pop();
        let bytes = reused.unwrap_or_else(|| vec![0; self.inner.size].into_boxed_slice());
        Buffer { bytes, home: Rc::clone(&self.inner) }
    }

    /// Bytes in each buffer.
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.size
    }

    /// Unused buffers at hand.
    #[must_use]
    pub fn free(&self) -> usize {
        self.inner.free.borrow().len()
    }
}

/// A lent buffer; dropping it gives it back.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    home: Rc<Inner>,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home.free.borrow_mut();
        if free.len() < self.home.max_free {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returned_buffers_are_lent_again_up_to_the_bound() {
        let pool = BufferPool::new(16, 1);
        let (mut first, second) = (pool.take(), pool.take());
        first[0] = 7;
        assert_eq!(pool.free(), 0);
        drop(first);
        drop(second);
        assert_eq!(pool.free(), 1, "the second is over the bound and freed");
        assert_eq!(pool.take()[0], 7, "the kept one is the first");
        assert_eq!(pool.size(), 16);
    }
}
