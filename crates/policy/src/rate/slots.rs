//! The keys of one limit, each with its time, in a table that does not grow.
//!
//! What a request does is lock-free: it finds the slot of its key and moves the time in it. Only
//! a key that has no slot takes the lock of its shard, for as long as it takes to look at a
//! few slots; otherwise two cores could give one key two slots.
//!
//! A slot changes hands only when its time has passed. The new owner first puts [`TAKEN`] in
//! place of the time, so that nobody who still believes in the old owner can move it; whoever
//! tried looks again. Times in a slot only grow, be it from one owner to the next, so a time that
//! is found unchanged has belonged to the same owner all along.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use ahash::RandomState;

/// Keys that one limit can know at the same time.
pub const CAPACITY: usize = SHARDS * SHARD_SLOTS;

/// Memory is taken a shard at a time, as it is needed: 4 KiB each.
const SHARDS: usize = 256;
const SHARD_SLOTS: usize = 256;

/// Slots that a key may have, from the one that its hash says on.
const WINDOW: usize = 16;

/// The slot is changing hands.
const TAKEN: u64 = u64::MAX;

/// No key.
const FREE: u64 = 0;

pub(super) struct Slots {
    hasher: RandomState,
    size: Size,
    shards: OnceLock<Box<[Shard]>>,
}

#[derive(Clone, Copy)]
struct Size {
    shards: usize,
    slots: usize,
}

struct Shard {
    slots: OnceLock<Box<[Slot]>>,
    /// Held by whoever gives a key a slot.
    giving: Mutex<()>,
    /// The time of all keys that find no slot.
    shared: AtomicU64,
}

struct Slot {
    key: AtomicU64,
    tat: AtomicU64,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self::with_size(SHARDS, SHARD_SLOTS)
    }

    pub(super) fn with_size(shards: usize, slots: usize) -> Self {
        let size = Size { shards, slots };
        Self { hasher: RandomState::new(), size, shards: OnceLock::new() }
    }

    /// The number of a key, which nobody outside can foresee.
    pub(super) fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key).max(FREE + 1)
    }

    /// The time of a key; that of a new one is what it would begin with.
    pub(super) fn get(&self, key: u64, now: u64) -> u64 {
        let Some(shards) = self.shards.get() else { return 0 };
        let shard = &shards[self.shard_of(key)];
        let Some(slots) = shard.slots.get() else { return 0 };
        let found = window(slots, key).find_map(|slot| slot.time_of(key));
        found.unwrap_or_else(|| shard.beginning(now))
    }

    /// Moves the time of a key; see `Limiter::update`.
    pub(super) fn update(
        &self,
        key: u64,
        now: u64,
        decide: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        let shards =
            self.shards.get_or_init(|| (0..self.size.shards).map(|_| Shard::new()).collect());
        let shard = &shards[self.shard_of(key)];
        let slots = shard.slots.get_or_init(|| (0..self.size.slots).map(|_| Slot::new()).collect());
        if let Some(outcome) = window(slots, key).find_map(|slot| slot.update(key, &decide)) {
            return outcome;
        }
        shard.begin(slots, key, now, &decide)
    }

    /// Whether every time in the table has passed.
    pub(super) fn are_all_before(&self, now: u64) -> bool {
        let passed = |tat: &AtomicU64| tat.load(Ordering::Relaxed) < now;
        self.shards.get().into_iter().flatten().all(|shard| {
            let mut slots = shard.slots.get().into_iter().flatten();
            passed(&shard.shared) && slots.all(|slot| passed(&slot.tat))
        })
    }

    fn shard_of(&self, key: u64) -> usize {
        // The low bits say where in the shard.
        (key >> 40) as usize % self.size.shards
    }
}

/// The slots in which a key can be.
fn window(slots: &[Slot], key: u64) -> impl Iterator<Item = &Slot> {
    let start = key as usize % slots.len();
    (0..WINDOW.min(slots.len())).map(move |step| &slots[(start + step) % slots.len()])
}

impl Shard {
    fn new() -> Self {
        Self { slots: OnceLock::new(), giving: Mutex::new(()), shared: AtomicU64::new(0) }
    }

    /// The time that a new key begins with. It may have been one of those that share, and must
    /// not come by a fresh allowance.
    fn beginning(&self, now: u64) -> u64 {
        Some(self.shared.load(Ordering::Acquire)).filter(|shared| *shared > now).unwrap_or(0)
    }

    /// Moves the time of a key that had no slot a moment ago.
    fn begin(
        &self,
        slots: &[Slot],
        key: u64,
        now: u64,
        decide: &impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        // No panic is possible while it is held that could leave anything half done.
        let _giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = window(slots, key).find_map(|slot| slot.update(key, decide)) {
            return outcome;
        }
        let old = self.beginning(now);
        let new = decide(old).ok_or(old)?;
        if window(slots, key).any(|slot| slot.give(key, new, now)) {
            return Ok(new);
        }
        update(&self.shared, decide)
    }
}

impl Slot {
    fn new() -> Self {
        Self { key: AtomicU64::new(FREE), tat: AtomicU64::new(0) }
    }

    /// The time in it, if it is this key's.
    fn time_of(&self, key: u64) -> Option<u64> {
        // In this order: whoever sees a time sees the owner who set it, or a later one.
        let tat = self.tat.load(Ordering::Acquire);
        (self.key.load(Ordering::Acquire) == key && tat != TAKEN).then_some(tat)
    }

    /// Moves the time; `None`: it is not this key's slot, or not for long.
    fn update(&self, key: u64, decide: &impl Fn(u64) -> Option<u64>) -> Option<Result<u64, u64>> {
        loop {
            let old = self.time_of(key)?;
            let Some(new) = decide(old) else { return Some(Err(old)) };
            if self.tat.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Some(Ok(new));
            }
        }
    }

    /// Gives it to a key, if it is nobody's or its owner has got all back. The shard is locked.
    fn give(&self, key: u64, tat: u64, now: u64) -> bool {
        let old = self.tat.load(Ordering::Acquire);
        if old >= now {
            return false;
        }
        if self.tat.compare_exchange(old, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // The owner is back.
            return false;
        }
        self.key.store(key, Ordering::Release);
        self.tat.store(tat, Ordering::Release);
        true
    }
}

/// Moves a time that has one owner.
pub(super) fn update(tat: &AtomicU64, decide: impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
    let mut old = tat.load(Ordering::Acquire);
    loop {
        let new = decide(old).ok_or(old)?;
        match tat.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(new),
            Err(found) => old = found,
        }
    }
}
