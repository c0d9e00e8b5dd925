//! Certificates that were made lately, by the host that they are for.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::Leaf;

/// Locks, so that cores seldom wait for each other.
const SHARDS: usize = 16;
/// So many are looked at for the one that was not used for the longest time.
const LOOKED_AT: usize = 32;

/// A bounded set of certificates.
pub(super) struct LeafCache {
    shards: [Mutex<HashMap<Box<str>, Kept>>; SHARDS],
    hasher: RandomState,
    per_shard: usize,
}

struct Kept {
    leaf: Leaf,
    used: SystemTime,
}

impl LeafCache {
    /// Room for about so many: at least one for each lock.
    pub(super) fn new(kept: usize) -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            per_shard: kept.div_ceil(SHARDS).max(1),
        }
    }

    /// One that is still good.
    pub(super) fn find(&self, host: &str, now: SystemTime) -> Option<Leaf> {
        let mut shard = self.shard(host);
        let kept = shard.get_mut(host).filter(|kept| kept.leaf.renew > now)?;
        kept.used = now;
        Some(kept.leaf.clone())
    }

    /// Keeps one; another may have to go.
    pub(super) fn keep(&self, host: &str, leaf: Leaf, now: SystemTime) {
        let mut shard = self.shard(host);
        if shard.len() >= self.per_shard && !shard.contains_key(host) {
            let oldest = shard.iter().take(LOOKED_AT).min_by_key(|(_, kept)| kept.used);
            if let Some(host) = oldest.map(|(host, _)| host.clone()) {
                shard.remove(&host);
            }
        }
        shard.insert(host.into(), Kept { leaf, used: now });
    }

    fn shard(&self, host: &str) -> MutexGuard<'_, HashMap<Box<str>, Kept>> {
        let index = self.hasher.hash_one(host) as usize % SHARDS;
        // Nothing is left half done by a panic: a map is whole between two calls.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }
}
