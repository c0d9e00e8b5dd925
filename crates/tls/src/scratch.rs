//! Buffers that belong to the thread, not to a connection.
//!
//! A record is read, decrypted and handed over, or encrypted and written, within one poll.
//! The bytes therefore need a home only for that long, and thousands of idle connections share
//! the few buffers of their core. What a poll cannot finish moves into a buffer of the
//! connection, just as large as needed.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Size of one buffer: three full records (RFC 8446 §5.2: 2^14 + 256 + 5 bytes; RFC 5246
/// §6.2.3: 2^14 + 2048 + 5) and room for what was waiting before them.
pub(crate) const SIZE: usize = 64 * 1024;

/// TLS nested in TLS needs two at once for each layer; more than this are not kept.
const KEPT: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`SIZE`] bytes, lent by the thread. Its contents are whatever the last user
/// left there.
pub(crate) struct Scratch(Option<Box<[u8]>>);

impl Scratch {
    /// Borrows a buffer, or makes one.
    pub(crate) fn take() -> Self {
        let spare = SPARE.with(|spare| spare.borrow_mut().pop());
        Self(Some(spare.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(buffer) = self.0.take() else { return };
        // The thread may be ending: then there is nobody left to lend to.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT {
                spare.push(buffer);
            }
        });
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}
