//! What is known not to be storable: its requests need not wait for one another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::{Key, Time};

const SHARDS: usize = 16;

/// Keys of one shard.
const CAPACITY: usize = 4096;

/// Keys whose answers could not be stored lately, and until when that is believed. Where there
/// is no room, the half that is over first is forgotten.
#[derive(Debug, Default)]
pub(super) struct KnownMisses {
    shards: [Mutex<HashMap<u128, Time, ahash::RandomState>>; SHARDS],
    count: AtomicUsize,
}

impl KnownMisses {
    pub(super) fn note(&self, key: &Key, until: Time) {
        let mut shard = self.shard(key).lock();
        let before = shard.len();
        if before >= CAPACITY {
            let mut times: Vec<Time> = shard.values().copied().collect();
            let (_, middle, _) = times.select_nth_unstable(CAPACITY / 2);
            let middle = *middle;
            shard.retain(|_, until| *until > middle);
        }
        shard.insert(key.hash(), until);
        // Wraps around where there are fewer; the sum is right.
        self.count.fetch_add(shard.len().wrapping_sub(before), Ordering::Relaxed);
    }

    pub(super) fn forget(&self, key: &Key) {
        if self.len() > 0 && self.shard(key).lock().remove(&key.hash()).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn has(&self, key: &Key, now: Time) -> bool {
        self.len() > 0 && self.shard(key).lock().get(&key.hash()).is_some_and(|until| *until > now)
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &Key) -> &Mutex<HashMap<u128, Time, ahash::RandomState>> {
        &self.shards[(key.hash() >> 96) as usize % SHARDS]
    }
}
