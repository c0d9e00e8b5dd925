//! The exits that one connection of a client has, where they rotate with connections.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Pinned;

/// Exits that one connection remembers: one for each pool, user and wish that it brings.
const MOST: usize = 8;

/// Remembers the exits of one connection of a client, for `rotate "per-connection"`. Different
/// users and wishes on one connection have different exits.
#[derive(Debug)]
pub struct ConnectionMark {
    id: u64,
    /// By the keyed hash of pool, user and wish. The latest is last.
    pins: RefCell<Vec<(u64, Pinned)>>,
}

impl ConnectionMark {
    /// The mark of a new connection.
    #[must_use]
    pub fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        Self { id: MADE.fetch_add(1, Ordering::Relaxed), pins: RefCell::default() }
    }

    /// Its number, which no other connection of the process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn get(&self, key: u64) -> Option<Pinned> {
        self.pins.borrow().iter().find(|(known, _)| *known == key).map(|(_, pinned)| *pinned)
    }

    pub(crate) fn set(&self, key: u64, pinned: Pinned) {
        let mut pins = self.pins.borrow_mut();
        pins.retain(|(known, _)| *known != key);
        if pins.len() >= MOST {
            pins.remove(0);
        }
        pins.push((key, pinned));
    }
}

impl Default for ConnectionMark {
    fn default() -> Self {
        Self::new()
    }
}
