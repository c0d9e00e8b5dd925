//! What the process knows of all exits, whichever configuration names them. It outlives every
//! configuration: an exit is found again by its pool, its name and what it is, and keeps its
//! bans, its health and what is under way. A session is found again by the name of its pool.

mod hosts;
mod list;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ahash::RandomState;

use crate::pool::Pool;
use crate::session::Sessions;

pub use list::{BanError, BanStatus, ExitStatus, SessionStatus};

pub(crate) use hosts::{AtHost, HostKey, Hosts};
pub(crate) use state::{ExitState, Holder, Identity, PickKey, What};

/// All exits of the process.
///
/// All times are milliseconds of one monotonic clock, that of `net::watchdog::process_ms`.
pub struct ExitRegistry {
    /// Keys whatever is made of what clients send.
    hasher: RandomState,
    states: Mutex<HashMap<Identity, Weak<ExitState>>>,
    /// By name, in the order they were made.
    pools: Mutex<HashMap<String, Vec<Weak<Pool>>>>,
    exits_made: AtomicU64,
    /// The latest time that anybody told.
    now_ms: AtomicU64,
    random: AtomicU64,
    pub(crate) hosts: Hosts,
    pub(crate) sessions: Sessions,
}

impl ExitRegistry {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let hasher = RandomState::new();
        Arc::new(Self {
            states: Mutex::default(),
            pools: Mutex::default(),
            exits_made: AtomicU64::new(1),
            now_ms: AtomicU64::new(0),
            random: AtomicU64::new(hasher.hash_one(0_u8)),
            hosts: Hosts::new(),
            sessions: Sessions::new(hasher.clone()),
            hasher,
        })
    }

    /// The state of the exit that this is.
    pub(crate) fn state(&self, identity: Identity) -> Arc<ExitState> {
        let mut states = lock(&self.states);
        if let Some(known) = states.get(&identity).and_then(Weak::upgrade) {
            return known;
        }
        // What nobody has any more is looked for where the map would grow otherwise.
        if states.len() == states.capacity() {
            states.retain(|_, state| state.strong_count() > 0);
        }
        let id = self.exits_made.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(ExitState::new(id, identity.clone()));
        states.insert(identity, Arc::downgrade(&state));
        state
    }

    pub(crate) fn adopt(&self, pool: &Arc<Pool>) {
        let mut pools = lock(&self.pools);
        pools.retain(|_, known| {
            known.retain(|pool| pool.strong_count() > 0);
            !known.is_empty()
        });
        pools.entry(pool.name().to_owned()).or_default().push(Arc::downgrade(pool));
    }

    /// The newest pool of each name, by name.
    fn newest(&self) -> Vec<Arc<Pool>> {
        // Pools are let go without the lock.
        let all: Vec<Arc<Pool>> = {
            let pools = lock(&self.pools);
            pools.values().filter_map(|known| known.iter().rev().find_map(Weak::upgrade)).collect()
        };
        let mut all = all;
        all.sort_by(|left, right| left.name().cmp(right.name()));
        all
    }

    /// Remembers what time it is, for what ends without being told.
    pub(crate) fn note_time(&self, now_ms: u64) {
        // Only the first in a millisecond writes.
        if now_ms > self.now_ms.load(Ordering::Relaxed) {
            self.now_ms.fetch_max(now_ms, Ordering::Relaxed);
        }
    }

    /// The time for whoever is no request: other than those, it may come after hours of silence.
    fn now(&self) -> u64 {
        self.latest_ms().max(net::watchdog::process_ms())
    }

    pub(crate) fn latest_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// A number that nobody outside can foresee from others.
    pub(crate) fn random(&self) -> u64 {
        let turn = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        self.hasher.hash_one(turn)
    }

    /// The keyed hash of something: the same for as long as the process lives.
    pub(crate) fn hash<T: Hash>(&self, value: T) -> u64 {
        self.hasher.hash_one(value)
    }
}

impl std::fmt::Debug for ExitRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExitRegistry").finish_non_exhaustive()
    }
}

/// Nothing that is done under these locks panics half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
