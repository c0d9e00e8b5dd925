//! What is known of an exit at one target host: what is under way, when it may be used again,
//! bans. One table for all exits, sharded and bounded.
//!
//! A pair is told from others by 64 bits of a keyed hash of its host. Pairs of which nothing is
//! worth knowing make room for others. A part of the table that is full of pairs that are gives
//! up the one whose restriction ends first, so that no client can fill the table with hosts of
//! its own and close exits for others; only what is under way is never forgotten.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use super::state::ExitState;
use crate::ban::BanRecord;

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 64;

/// Pairs in one part: 262 144 in all.
const PER_SHARD: usize = 4096;

/// Pairs that are looked at for one that may be given up.
const SAMPLE: usize = 32;

/// An exit at a host.
pub(crate) struct Entry {
    hash: u64,
    pub(crate) exit: Arc<ExitState>,
    pub(crate) host: Box<str>,
    pub(crate) at: AtHost,
}

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct AtHost {
    /// Requests and connections under way.
    pub(crate) load: u32,
    /// When the next one may begin.
    pub(crate) next_ms: u64,
    pub(crate) ban: Option<Box<BanRecord>>,
}

impl AtHost {
    fn is_spent(&self, now: u64) -> bool {
        self.load == 0
            && self.next_ms <= now
            && self.ban.as_ref().is_none_or(|ban| ban.is_spent(now))
    }

    fn ends(&self) -> u64 {
        self.next_ms.max(self.ban.as_ref().map_or(0, |ban| ban.until()))
    }

    pub(crate) fn banned_until(&self) -> u64 {
        self.ban.as_ref().map_or(0, |ban| ban.until())
    }
}

/// A host, and its keyed hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostKey<'a> {
    pub(crate) name: &'a str,
    pub(crate) hash: u64,
}

pub(crate) struct Hosts {
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Default)]
struct Shard {
    table: HashTable<Entry>,
    /// After so many new pairs those that are spent are looked for.
    until_look: usize,
}

impl Hosts {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Looks at a pair, which changes nothing.
    pub(crate) fn look<R>(
        &self,
        exit: &ExitState,
        host: HostKey<'_>,
        look: impl FnOnce(&AtHost) -> R,
    ) -> Option<R> {
        if !exit.at_hosts.load(Ordering::Relaxed) {
            return None;
        }
        let hash = mix(exit.id, host.hash);
        let shard = self.shard(hash);
        let found = shard.table.find(hash, |entry| entry.hash == hash && entry.exit.id == exit.id);
        found.map(|entry| look(&entry.at))
    }

    /// Changes a pair, which is made if there is none. `None`: there is no room.
    pub(crate) fn change<R>(
        &self,
        exit: &Arc<ExitState>,
        host: HostKey<'_>,
        now: u64,
        change: impl FnOnce(&mut AtHost) -> R,
    ) -> Option<R> {
        let hash = mix(exit.id, host.hash);
        let mut shard = self.shard(hash);
        let same = |entry: &Entry| entry.hash == hash && entry.exit.id == exit.id;
        if let Some(entry) = shard.table.find_mut(hash, same) {
            return Some(change(&mut entry.at));
        }
        if !shard.make_room(now) {
            return None;
        }
        exit.at_hosts.store(true, Ordering::Relaxed);
        let mut at = AtHost::default();
        let result = change(&mut at);
        let entry = Entry { hash, exit: Arc::clone(exit), host: host.name.into(), at };
        shard.table.insert_unique(hash, entry, |entry| entry.hash);
        Some(result)
    }

    /// What was begun at a host has ended.
    pub(crate) fn end(&self, exit: &ExitState, host_hash: u64) {
        let hash = mix(exit.id, host_hash);
        let mut shard = self.shard(hash);
        let same = |entry: &Entry| entry.hash == hash && entry.exit.id == exit.id;
        if let Some(entry) = shard.table.find_mut(hash, same) {
            entry.at.load = entry.at.load.saturating_sub(1);
        }
    }

    /// Goes through all pairs, one part of the table after the other.
    pub(crate) fn each(&self, mut each: impl FnMut(&Entry)) {
        for shard in &self.shards {
            lock(shard).table.iter().for_each(&mut each);
        }
    }

    /// The same for changing them.
    pub(crate) fn each_mut(&self, mut each: impl FnMut(&mut Entry)) {
        for shard in &self.shards {
            lock(shard).table.iter_mut().for_each(&mut each);
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The table itself uses the lowest and the highest bits.
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }
}

impl Shard {
    /// Whether one more has room.
    fn make_room(&mut self, now: u64) -> bool {
        match self.until_look.checked_sub(1) {
            Some(left) => self.until_look = left,
            None => {
                self.table.retain(|entry| !entry.at.is_spent(now));
                // Seldom enough that looking costs little for each pair that comes.
                self.until_look = (self.table.len() / 16).max(64);
            }
        }
        self.table.len() < PER_SHARD || self.give_up()
    }

    /// Gives up the pair whose restriction ends first, of a few.
    fn give_up(&mut self) -> bool {
        let idle = self.table.iter().filter(|entry| entry.at.load == 0).take(SAMPLE);
        let Some((hash, exit)) =
            idle.min_by_key(|entry| entry.at.ends()).map(|entry| (entry.hash, entry.exit.id))
        else {
            return false;
        };
        let same = |entry: &Entry| entry.hash == hash && entry.exit.id == exit;
        self.table.find_entry(hash, same).is_ok_and(|entry| {
            entry.remove();
            true
        })
    }
}

fn mix(exit: u64, host: u64) -> u64 {
    // The hash of the host is keyed and well mixed; exits are numbered.
    (exit.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ host).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Nothing that is done under the lock panics half way.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
