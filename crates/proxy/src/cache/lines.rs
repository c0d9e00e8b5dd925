//! Those who would do the same thing stand in a line: the first does it, the others find it done.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// Everything of one kind that is being done in the process, on whatever core.
pub(super) struct Lines<W: 'static>(LazyLock<Mutex<HashMap<W, Line>>>);

/// Who does it holds the lock; and how many there are.
type Line = (Arc<tokio::sync::Mutex<()>>, usize);

/// A place in a line.
pub(super) struct Turn<W: Hash + Eq + 'static> {
    lines: &'static Lines<W>,
    what: W,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl<W: Hash + Eq + Clone> Lines<W> {
    pub(super) const fn new() -> Self {
        Self(LazyLock::new(Mutex::default))
    }

    /// Joins those who would do this.
    pub(super) fn join(&'static self, what: W) -> Turn<W> {
        let mut lines = self.lock();
        let (lock, members) = lines.entry(what.clone()).or_default();
        *members += 1;
        let lock = Arc::clone(lock);
        Turn { lines: self, what, lock }
    }
}

impl<W> Lines<W> {
    fn lock(&self) -> MutexGuard<'_, HashMap<W, Line>> {
        // Nothing in it is ever half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Hash + Eq> Turn<W> {
    /// Waits for all who came before. It is one's turn for as long as what is returned lives.
    pub(super) async fn come(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.lock.lock().await
    }
}

impl<W: Hash + Eq> Drop for Turn<W> {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        if let Some((_, members)) = lines.get_mut(&self.what) {
            *members -= 1;
            if *members == 0 {
                lines.remove(&self.what);
            }
        }
    }
}
