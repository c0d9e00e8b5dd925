//! How much memory the cache takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes that the cache takes and may take. What is stored counts for as long as somebody holds
/// it, whether it can be found or not: a slow client keeps an answer that was given up.
#[derive(Debug)]
pub(crate) struct Ledger {
    used: AtomicU64,
    capacity: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { used: AtomicU64::new(0), capacity: AtomicU64::new(capacity) }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(crate) fn set_capacity(&self, capacity: u64) {
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    /// Takes so many bytes, if there are as many.
    pub(crate) fn try_take(&self, bytes: u64) -> bool {
        let capacity = self.capacity();
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= capacity);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Takes what is there already and cannot be refused.
    pub(crate) fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How much more there is than there may be.
    pub(crate) fn excess(&self) -> u64 {
        self.used().saturating_sub(self.capacity())
    }
}

/// What an answer takes of the cache's memory; it is given back when the last one who has the
/// answer lets go of it. `Held::default()` outside of the cache.
#[derive(Debug, Default)]
pub struct Held {
    ledger: Option<Arc<Ledger>>,
    bytes: AtomicU64,
    /// The answer was purged softly: whoever finds it makes a stale one of it.
    is_stale: AtomicBool,
}

impl Held {
    /// These bytes, which were taken already.
    pub(super) fn taken(ledger: &Arc<Ledger>, bytes: u64) -> Self {
        let (bytes, is_stale) = (AtomicU64::new(bytes), AtomicBool::new(false));
        Self { ledger: Some(Arc::clone(ledger)), bytes, is_stale }
    }

    /// How many they are.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn mark_stale(&self) {
        self.is_stale.store(true, Ordering::Release);
    }

    pub(super) fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }

    /// More, which were taken already.
    pub(super) fn grow(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            ledger.give(*self.bytes.get_mut());
        }
    }
}
