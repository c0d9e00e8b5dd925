//! The second tier, below the table: what is not in memory may be on the disk.
//!
//! Whatever is kept is handed to the disk, under the lock of its part of the table, so that both
//! have the same order. What was loaded gets into the table only if the disk would still give it,
//! which is looked at under the same lock: nothing that was superseded, purged or taken out while it
//! was read comes back.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use message::Block;

use super::{Cache, Found, Held, Settings, weight};
use crate::disk::{Disk, DiskError, Loaded, NotedPurge, Upper};
use crate::purge::{Lasting, Purge, Subject, Verdict};
use crate::rules::vary::matches;
use crate::{Body, Key, Stored, Vary};

/// How the disk reaches the cache above it.
struct Link(Weak<Cache>);

impl Cache {
    /// An empty one, above what is in a folder of the disk: it is there again, all that was purged
    /// taken away. The folder is made where it is missing, and may fill `size` bytes.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn with_disk(
        settings: &Settings,
        folder: &Path,
        size: u64,
    ) -> Result<Arc<Self>, DiskError> {
        Self::above(settings, |upper| Disk::open(folder, size, upper))
    }

    /// The same, above the disk that `open` opens.
    pub(crate) fn above(
        settings: &Settings,
        open: impl FnOnce(Arc<dyn Upper>) -> Result<Disk, DiskError>,
    ) -> Result<Arc<Self>, DiskError> {
        let cache = Self::new(settings);
        let disk = open(Arc::new(Link(Arc::downgrade(&cache))))?;
        let noted = disk.take_purges();
        let newest = noted.iter().map(|purge| purge.number).max().unwrap_or(0);
        let purges = noted
            .iter()
            .filter_map(|noted| Purge::from_bytes(&noted.what).map(|purge| (noted.number, purge)));
        let first = cache.purges.restore(purges.collect(), newest);
        // Says that these numbers are taken; it is about nothing. If that cannot be written, the
        // disk says so, and no answer is written before it is.
        let _ = disk.note_purge(first, &[]);
        let disk = cache.disk.get_or_init(|| disk);
        cache.bound_table(settings);
        disk.start()?;
        Ok(cache)
    }

    /// The table of what is on the disk takes a quarter as much as what is in memory, at the most.
    pub(super) fn bound_table(&self, settings: &Settings) {
        if let Some(disk) = self.disk.get() {
            disk.bound_table(settings.memory / 4);
        }
    }

    /// Another size of the disk, where there is one, from the next answer on.
    pub fn resize_disk(&self, size: u64) {
        if let Some(disk) = self.disk.get() {
            disk.resize(size);
        }
    }

    /// Whether it is worthwhile to look on the disk for what is not in memory. Costs a look into
    /// a table.
    #[must_use]
    pub fn may_load(&self, key: &Key) -> bool {
        !self.is_retired() && self.disk.get().is_some_and(|disk| disk.may_have(key.hash()))
    }

    /// Bytes that [`Cache::load`] has to read, more or less, at the most.
    #[must_use]
    pub fn bytes_to_load(&self, key: &Key) -> u64 {
        self.disk.get().map_or(0, |disk| disk.bytes_of(key.hash()))
    }

    /// Reading from the disk takes too long: for a while nothing is looked for there.
    pub fn note_hanging_disk(&self) {
        if let Some(disk) = self.disk.get() {
            disk.note_hanging();
        }
    }

    /// Whether an answer cannot be read for now, because its body is on a disk that fails.
    pub(super) fn is_out_of_reach(&self, stored: &Stored) -> bool {
        matches!(stored.body, Body::Disk(_)) && self.disk.get().is_some_and(Disk::is_left_alone)
    }

    /// What there is for a request, in memory or on the disk. Blocks: where it is called from may
    /// not serve others.
    pub fn load(&self, key: &Key, fields: &Block) -> Found {
        let Some(disk) = self.disk.get().filter(|_| !self.is_retired()) else {
            return self.find(key, fields);
        };
        let kinds = RefCell::new(Vec::new());
        let loaded = disk.load(key, |vary| {
            kinds.borrow_mut().push(vary.clone());
            matches(vary, fields)
        });
        let newest = loaded.into_iter().max_by_key(|loaded| loaded.stored.recency());
        let Some(loaded) = newest else { return self.find(key, fields) };
        let may_hide =
            |vary: &Vary| *vary != loaded.stored.vary && !vary.excludes(&loaded.stored.vary);
        if kinds.borrow().iter().any(may_hide) {
            // Requests that select those too are not to be answered with this, when it is in memory.
            let others = disk.load(key, may_hide).into_iter();
            others
                .filter(|other| other.stored.recency() > loaded.stored.recency())
                .for_each(|other| drop(self.link_loaded(disk, other)));
        }
        match self.link_loaded(disk, loaded) {
            Some(stored) => {
                let swept = self.purges.swept();
                self.given(stored, swept)
            }
            None => self.find(key, fields),
        }
    }

    /// Puts what was loaded into the table, unless there is something newer, or it is gone. Where
    /// there is no room it may be used all the same.
    fn link_loaded(&self, disk: &Disk, mut loaded: Loaded) -> Option<Arc<Stored>> {
        let weight = weight::of(&loaded.stored);
        let fits = self.make_room(weight);
        if !fits {
            self.ledger.take(weight);
        }
        loaded.stored.held = Held::taken(&self.ledger, weight);
        let linked = self.link_current(disk, loaded, weight, fits);
        self.trim();
        linked
    }

    fn link_current(
        &self,
        disk: &Disk,
        mut loaded: Loaded,
        weight: u64,
        fits: bool,
    ) -> Option<Arc<Stored>> {
        let key = loaded.stored.key.clone();
        let index = Self::index(key.hash());
        let mut shard = self.shards[index].lock();
        let newest = self.purges.newest();
        let since = std::mem::replace(loaded.stored.purged_by.get_mut(), newest);
        let verdict = self.purges.verdict_on_disk(since, &Subject::of(&loaded.stored));
        let is_there = shard.variants(&key).any(|stored| stored.vary == loaded.stored.vary);
        if is_there || verdict == Verdict::Gone || !disk.is_current(&loaded) {
            drop(shard);
            if verdict == Verdict::Gone {
                disk.let_go(&loaded);
            }
            return None;
        }
        loaded.stored.facts.marked_stale |= verdict == Verdict::Stale;
        let stored = Arc::new(loaded.stored);
        let mut older = Vec::new();
        if fits {
            shard.insert(Arc::clone(&stored), weight);
        } else {
            older = shard.remove_older(&stored);
        }
        self.settle(index, &mut shard);
        drop(shard);
        drop(older);
        Some(stored)
    }

    /// Leaves the cache to another process, which serves from now on: what is purged there would not be
    /// known here, so nothing more is found or kept, and nothing may be purged here
    /// ([`Cache::is_retired`]). What requests that still run make invalid reaches the other one where
    /// both have the same disk. Blocks until what waits is written.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        if let Some(disk) = self.disk.get()
            && !disk.hand_over()
        {
            tracing::warn!(
                "the disk of the cache hangs: the next process cannot write there before this one ends"
            );
        }
    }

    /// Whether another process has the cache now.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Writes what waits to be written to the disk, and ends writing. Blocks, for ten seconds at the most.
    /// Whoever ends the process calls this: an answer that waits would be lost.
    pub fn close_disk(&self) {
        if let Some(disk) = self.disk.get()
            && !disk.close()
        {
            tracing::warn!("the disk of the cache hangs: what was kept last is lost");
        }
    }

    /// Waits until all that is on the disk is known, and all that was kept by now is written. Blocks.
    pub fn settle_disk(&self) {
        if let Some(disk) = self.disk.get() {
            disk.settle();
        }
    }

    pub(super) fn write_to_disk(&self, stored: &Arc<Stored>) {
        if let Some(disk) = self.disk.get() {
            // What it thinks of it, it counts.
            disk.store(Arc::clone(stored));
        }
    }

    pub(super) fn forget_on_disk(&self, key: &Key) {
        if let Some(disk) = self.disk.get() {
            disk.forget(key);
        }
    }

    /// What was given from memory outlives its volume.
    pub(super) fn touch_on_disk(&self, stored: &Stored) {
        if let Some(disk) = self.disk.get()
            && stored.hits.load(Ordering::Relaxed) > 0
        {
            disk.touch(stored);
        }
    }

    /// The lowest number that anything on the disk has; 0: not known.
    pub(super) fn oldest_on_disk(&self) -> u64 {
        self.disk.get().and_then(Disk::oldest).unwrap_or(0)
    }

    pub(super) fn may_be_on_disk(&self, url: u128) -> bool {
        self.disk.get().is_none_or(|disk| disk.may_have_url(url))
    }

    /// Notes a purge for those that come after this process. `later`: whoever purges cannot wait.
    pub(super) fn note_on_disk(&self, purge: &Purge, number: u64, later: bool) {
        let Some(disk) = self.disk.get() else { return };
        if later {
            disk.note_purge_later(number, &purge.to_bytes());
        } else {
            // If it failed, it was said, and is tried again before anything else is written.
            let _ = disk.note_purge(number, &purge.to_bytes());
        }
    }
}

impl Upper for Link {
    fn is_purged(&self, stored: &Stored) -> bool {
        let Some(cache) = self.0.upgrade() else { return false };
        // In this order: what is purged meanwhile has a higher number.
        let newest = cache.purges.newest();
        let since = stored.purged_by.load(Ordering::Acquire);
        match cache.purges.verdict_on_disk(since, &Subject::of(stored)) {
            Verdict::Gone => return true,
            Verdict::Valid => {
                stored.purged_by.fetch_max(newest, Ordering::AcqRel);
            }
            Verdict::Stale => {}
        }
        false
    }

    fn learn(&self, noted: &NotedPurge) {
        let purge = Purge::from_bytes(&noted.what);
        if let (Some(cache), Some(purge)) = (self.0.upgrade(), purge) {
            // It is in the file already, and all that this process has written was asked for later.
            let number = cache.purges.note(&purge, Lasting::Disk(cache.oldest_on_disk()));
            cache.purge_memory(&purge, number);
        }
    }

    fn purge(&self, what: &[u8]) {
        if let (Some(cache), Some(purge)) = (self.0.upgrade(), Purge::from_bytes(what)) {
            let number = cache.purges.note(&purge, Lasting::Disk(cache.oldest_on_disk()));
            cache.purge_memory(&purge, number);
            cache.note_on_disk(&purge, number, true);
        }
    }

    fn is_used(&self, hash: u128) -> bool {
        let Some(cache) = self.0.upgrade() else { return false };
        cache.shard(hash).of_hash(hash).any(|stored| stored.hits.load(Ordering::Relaxed) > 0)
    }

    fn let_go(&self, file: &Arc<File>) {
        let Some(cache) = self.0.upgrade() else { return };
        let mut gone = Vec::new();
        cache.for_each(|stored| {
            if matches!(&stored.body, Body::Disk(body) if Arc::ptr_eq(&body.file, file)) {
                gone.push(Arc::clone(stored));
            }
        });
        for stored in gone {
            let mut shard = cache.shard(stored.key.hash());
            let removed = shard.slot_of(&stored).and_then(|slot| shard.remove(slot));
            cache.settle(Cache::index(stored.key.hash()), &mut shard);
            drop(shard);
            drop(removed);
        }
    }
}
