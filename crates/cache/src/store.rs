//! Where answers are kept in memory, for all cores.
//!
//! The table has parts with a lock each, held for a probe of the table and a count of an `Arc`.
//! Looking up writes nothing but counts of the answer itself. What there is room for is one
//! number for all parts ([`Ledger`]); who needs room takes it from one part after the other, so
//! that the size of an answer has nothing to do with the size of a part.
//! `docs/decisions/0021-cache-memory.md` says why it is our own.

mod ghost;
mod ledger;
mod misses;
mod queue;
mod second;
mod shard;
mod sweep;
#[cfg(test)]
mod tests;
pub(crate) mod weight;

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use message::Block;
use parking_lot::{Mutex, MutexGuard};

use crate::disk::{Disk, DiskStats};
use crate::flight::Flights;
use crate::image::Images;
use crate::purge::{Purges, Subject, Verdict};
use crate::rules::vary::matches;
use crate::{Body, Key, Stored, Time};
pub use ledger::Held;
use ledger::Ledger;
use misses::KnownMisses;
use shard::Shard;
pub use sweep::Top;

/// Parts of the table.
const SHARDS: usize = 64;

/// Scatters turns over the parts.
const STRIDE: usize = 0x9E37_79B1;

/// What may be given up in vain, beyond what is asked for, until it is clear that others hold
/// what was given up.
const VAIN: u64 = 1 << 20;

/// Bodies that are shorter are copied faster than they are sent from a file.
const IMAGED: u64 = 32 << 10;

/// How often an answer is given before it is worth a file.
const OFTEN: u32 = 8;

/// How large the cache may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of memory, for what is stored and what is coming, with all that it costs.
    pub memory: u64,
    /// Bodies larger than this are not stored.
    pub max_object: u64,
}

/// What there is for a request.
#[derive(Debug, Clone)]
pub enum Found {
    /// The newest answer that the request selects.
    Here(Arc<Stored>),
    /// There are answers of this key, for other requests.
    OtherVariants,
    /// There is none.
    Nothing,
}

/// What there is in all, and what has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answers.
    pub objects: u64,
    /// Bytes that are taken: answers, for as long as somebody holds them, the table, and what is
    /// coming.
    pub bytes: u64,
    /// Bytes that may be taken.
    pub capacity: u64,
    /// Answers whose bodies are kept as files as well.
    pub images: u64,
    /// Answers that are coming.
    pub flights: u64,
    /// Bytes of those.
    pub in_flight: u64,
    /// Keys that are known not to be storable.
    pub known_misses: u64,
    /// Answers that were stored.
    pub inserted: u64,
    /// Answers that were given up to make room.
    pub evicted: u64,
    /// Answers there was no room for.
    pub refused: u64,
    /// Answers that purges found.
    pub purged: u64,
    /// What there is on the disk, where there is one.
    pub disk: Option<DiskStats>,
}

/// Answers in memory, those that are coming, and what was purged. One for the process.
pub struct Cache {
    shards: Box<[Mutex<Shard>]>,
    /// How many answers each part has, to be read without its lock.
    lengths: [AtomicUsize; SHARDS],
    ledger: Arc<Ledger>,
    max_object: AtomicU64,
    /// The part that gives room next.
    hand: AtomicUsize,
    pub(crate) purges: Purges,
    pub(crate) flights: Flights,
    known_misses: KnownMisses,
    counts: Counts,
    /// The second tier. It is there from the beginning, or never.
    disk: OnceLock<Disk>,
    images: Arc<Images>,
    /// Another process has the cache now.
    retired: AtomicBool,
}

/// What became of an answer that was to be kept. What it replaced is given back without the lock.
struct Linked {
    stored: Arc<Stored>,
    _old: Vec<Arc<Stored>>,
}

#[derive(Debug, Default)]
struct Counts {
    inserted: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
    purged: AtomicU64,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            lengths: [const { AtomicUsize::new(0) }; SHARDS],
            ledger: Arc::new(Ledger::new(settings.memory)),
            max_object: AtomicU64::new(settings.max_object),
            hand: AtomicUsize::new(0),
            purges: Purges::default(),
            flights: Flights::default(),
            known_misses: KnownMisses::default(),
            counts: Counts::default(),
            disk: OnceLock::new(),
            images: Arc::default(),
            retired: AtomicBool::new(false),
        })
    }

    /// Another size. What there is no room for any more is given up at once.
    pub fn resize(&self, settings: &Settings) {
        self.ledger.set_capacity(settings.memory);
        self.max_object.store(settings.max_object, Ordering::Relaxed);
        self.bound_table(settings);
        self.trim();
    }

    /// The answer for a request, if there is one: the newest by its date of those that the
    /// request selects (RFC 9111 §4.1). It counts as a use.
    pub fn find(&self, key: &Key, fields: &Block) -> Found {
        if self.is_retired() {
            return Found::Nothing;
        }
        let swept = self.purges.swept();
        let (first, others): (_, Vec<_>) = {
            let shard = self.shard(key.hash());
            let mut variants = shard.variants(key);
            let Some(first) = variants.next() else { return Found::Nothing };
            let is_for_all = first.vary.fields.is_empty();
            let others = if is_for_all { Vec::new() } else { variants.cloned().collect() };
            (Arc::clone(first), others)
        };
        // Matching takes longer than a lock is held.
        let selected = match matches(&first.vary, fields) {
            true => Some(first),
            false => others.into_iter().find(|stored| matches(&stored.vary, fields)),
        };
        match selected {
            Some(stored) if self.is_out_of_reach(&stored) => Found::OtherVariants,
            Some(stored) => self.given(stored, swept),
            None => Found::OtherVariants,
        }
    }

    /// All answers of a key, the newest by date first.
    #[must_use]
    pub fn variants(&self, key: &Key) -> Vec<Arc<Stored>> {
        if self.is_retired() {
            return Vec::new();
        }
        let swept = self.purges.swept();
        let found: Vec<_> = self.shard(key.hash()).variants(key).cloned().collect();
        found.into_iter().map(|stored| self.checked(stored, swept)).collect()
    }

    /// Keeps an answer, in place of the one that the same requests select. `purged_by` says after
    /// which purge it was asked for ([`Cache::newest_purge`]); a later one that is about it is
    /// obeyed. What is returned may be given to whoever waits for it, kept or not.
    pub fn insert(&self, stored: Stored) -> Arc<Stored> {
        self.insert_taken(stored, 0)
    }

    /// The same, with `taken` bytes of it in the ledger already.
    pub(crate) fn insert_taken(&self, mut stored: Stored, taken: u64) -> Arc<Stored> {
        let weight = weight::of(&stored);
        let more = weight.saturating_sub(taken);
        let fits = !self.is_retired() && self.make_room(more);
        if !fits {
            self.ledger.take(more);
        }
        self.ledger.give(taken.saturating_sub(weight));
        stored.held = Held::taken(&self.ledger, weight);
        let linked = self.link(stored, weight, fits);
        self.trim();
        linked.stored
    }

    /// Puts it into the table, unless it was purged meanwhile. Under the lock, so that a purge
    /// either comes before and is seen here, or finds it there.
    fn link(&self, mut stored: Stored, weight: u64, fits: bool) -> Linked {
        let index = Self::index(stored.key.hash());
        let mut shard = self.shards[index].lock();
        let newest = self.purges.newest();
        let since = std::mem::replace(stored.purged_by.get_mut(), newest);
        let verdict = self.purges.verdict(since, &Subject::of(&stored));
        stored.facts.marked_stale |= verdict == Verdict::Stale;
        let stored = Arc::new(stored);
        if verdict != Verdict::Gone {
            // In the order of the table.
            self.write_to_disk(&stored);
        }
        if verdict == Verdict::Gone || !fits {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            let gone = if verdict == Verdict::Gone { vec![] } else { shard.remove_older(&stored) };
            self.settle(index, &mut shard);
            return Linked { stored, _old: gone };
        }
        self.counts.inserted.fetch_add(1, Ordering::Relaxed);
        let old = shard.insert(Arc::clone(&stored), weight);
        self.settle(index, &mut shard);
        Linked { stored, _old: old.into_iter().collect() }
    }

    /// Takes this very answer out.
    pub fn remove(&self, stored: &Arc<Stored>) {
        let mut shard = self.shard(stored.key.hash());
        let removed = shard.slot_of(stored).and_then(|slot| shard.remove(slot));
        self.forget_on_disk(&stored.key);
        self.settle(Self::index(stored.key.hash()), &mut shard);
        drop(shard);
        drop(removed);
    }

    /// Keeps the body of an answer in another coding beside it, if there is room for it.
    pub fn keep_coding(&self, stored: &Arc<Stored>, coding: usize, bytes: Bytes) {
        let Some(place) = stored.coded.get(coding) else { return };
        let weight = weight::bytes(&bytes) as u64;
        if place.get().is_none() {
            self.keep_beside(stored, weight, || place.set(bytes).is_ok());
        }
    }

    /// The same in a coding that needs a dictionary, made by the one with this SHA-256.
    pub fn keep_by_dictionary(
        &self,
        stored: &Arc<Stored>,
        (dictionary, coding): (&[u8; 32], u8),
        bytes: Bytes,
    ) {
        let weight = weight::by_dictionary(&bytes);
        if stored.coded.has_room() {
            self.keep_beside(stored, weight, || stored.coded.keep(dictionary, coding, bytes));
        }
    }

    /// Whether the body of an answer is to be kept as a file as well ([`Cache::keep_image`]): it is large,
    /// and given often. It says so now and then, so that not all who ask make one.
    #[must_use]
    pub fn wants_image(&self, stored: &Stored) -> bool {
        let hits = stored.hits.load(Ordering::Relaxed);
        let is_large =
            |length| length >= IMAGED && self.images.have_room(length, self.image_capacity());
        hits >= OFTEN
            && hits.is_power_of_two()
            && matches!(stored.body, Body::Memory(_))
            && stored.coded.image().is_none()
            && stored.is_whole()
            && stored.length.is_some_and(is_large)
    }

    /// Keeps the body of an answer as a file, in which nothing else is, if there is room for it.
    pub fn keep_image(&self, stored: &Arc<Stored>, file: File) {
        let Some(length) = stored.length else { return };
        if let Some(image) = self.images.add(file, length, self.image_capacity()) {
            self.keep_beside(stored, weight::image(length), || stored.coded.keep_image(image));
        }
    }

    /// A quarter of the memory at most is for images.
    fn image_capacity(&self) -> u64 {
        self.ledger.capacity() / 4
    }

    fn keep_beside(&self, stored: &Arc<Stored>, weight: u64, keep: impl FnOnce() -> bool) {
        if !self.make_room(weight) {
            return;
        }
        let mut shard = self.shard(stored.key.hash());
        match shard.slot_of(stored) {
            Some(slot) if keep() => {
                stored.held.grow(weight);
                shard.reweigh(slot, stored.held.bytes());
            }
            _ => self.ledger.give(weight),
        }
    }

    /// Remembers that answers of a key cannot be stored, so that its requests need not wait for
    /// one another.
    pub fn note_miss(&self, key: &Key, until: Time) {
        self.known_misses.note(key, until);
    }

    /// Whether that is known.
    pub fn is_known_miss(&self, key: &Key, now: Time) -> bool {
        self.known_misses.has(key, now)
    }

    /// Answers of the key can be stored after all.
    pub(crate) fn forget_miss(&self, key: &Key) {
        self.known_misses.forget(key);
    }

    /// The number of the newest purge. Taken before a request is sent whose answer may be stored.
    #[must_use]
    pub fn newest_purge(&self) -> u64 {
        self.purges.newest()
    }

    /// The largest body that is stored.
    #[must_use]
    pub fn max_object(&self) -> u64 {
        self.max_object.load(Ordering::Relaxed)
    }

    /// What there is.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            objects: self.lengths.iter().map(|length| length.load(Ordering::Relaxed) as u64).sum(),
            bytes: self.ledger.used(),
            capacity: self.ledger.capacity(),
            images: self.images.count(),
            flights: self.flights.len(),
            in_flight: self.flights.bytes(),
            known_misses: self.known_misses.len() as u64,
            inserted: count(&self.counts.inserted),
            evicted: count(&self.counts.evicted),
            refused: count(&self.counts.refused),
            purged: count(&self.counts.purged),
            disk: self.disk.get().map(Disk::stats),
        }
    }

    /// Takes so many bytes, from what is worth least if need be; `false`: whoever has what was
    /// given up still holds it.
    pub(crate) fn make_room(&self, bytes: u64) -> bool {
        let (mut given, mut empty) = (0, 0);
        while !self.ledger.try_take(bytes) {
            let enough = bytes.saturating_mul(2).saturating_add(VAIN);
            if bytes > self.ledger.capacity() || given > enough || empty > SHARDS {
                return false;
            }
            match self.evict() {
                Some(weight) => (given, empty) = (given + weight, 0),
                None => empty += 1,
            }
        }
        true
    }

    /// Takes bytes that are there already, from what is worth least if need be.
    pub(crate) fn force_room(&self, bytes: u64) {
        self.ledger.take(bytes);
        self.trim();
    }

    /// The answer that a request selects, if it is not the one that was found before.
    pub(crate) fn changed(
        &self,
        key: &Key,
        fields: &Block,
        found: Option<&Arc<Stored>>,
    ) -> Option<Arc<Stored>> {
        let now = self.variants(key).into_iter().find(|stored| matches(&stored.vary, fields))?;
        if self.is_out_of_reach(&now) {
            return None;
        }
        (!found.is_some_and(|found| Arc::ptr_eq(found, &now))).then_some(now)
    }

    /// Bytes of something that is coming are gone.
    pub(crate) fn give_room(&self, bytes: u64) {
        self.ledger.give(bytes);
    }

    /// Half of the memory at most is for what is coming.
    pub(crate) fn flight_capacity(&self) -> u64 {
        self.ledger.capacity() / 2
    }

    /// Gives up what is too much.
    fn trim(&self) {
        let (mut given, mut empty) = (0, 0);
        let enough = self.ledger.excess().saturating_mul(2).saturating_add(VAIN);
        while self.ledger.excess() > 0 && given < enough && empty <= SHARDS {
            match self.evict() {
                Some(weight) => (given, empty) = (given + weight, 0),
                None => empty += 1,
            }
        }
    }

    /// Gives up the answer that is worth least in the one of two parts that has more: chance
    /// fills them, so taking from each in turn would let them drift apart.
    fn evict(&self) -> Option<u64> {
        let turn = self.hand.fetch_add(1, Ordering::Relaxed);
        let length = |index: usize| self.lengths[index].load(Ordering::Relaxed);
        let (one, other) = (turn % SHARDS, turn.wrapping_mul(STRIDE) >> 16 & (SHARDS - 1));
        let index = if length(one) >= length(other) { one } else { other };
        let mut shard = self.shards[index].lock();
        let victim = shard.evict();
        // Of what stays on the disk, none may be hidden by what is older and in memory.
        let older = match &victim {
            Some((stored, _)) if self.disk.get().is_some() => shard.remove_older(stored),
            _ => Vec::new(),
        };
        self.settle(index, &mut shard);
        drop(shard);
        drop(older);
        self.counts.evicted.fetch_add(u64::from(victim.is_some()), Ordering::Relaxed);
        if let Some((stored, _)) = &victim {
            self.touch_on_disk(stored);
        }
        victim.map(|(_, weight)| weight)
    }

    /// Counts what a part has, and what its tables take.
    fn settle(&self, index: usize, shard: &mut Shard) {
        self.lengths[index].store(shard.len(), Ordering::Relaxed);
        let (now, counted) = (shard.allocated(), shard.counted);
        if now > counted {
            self.ledger.take((now - counted) as u64);
        } else if now < counted {
            self.ledger.give((counted - now) as u64);
        }
        shard.counted = now;
    }

    /// Counts a use.
    fn given(&self, stored: Arc<Stored>, swept: u64) -> Found {
        stored.hits.fetch_add(1, Ordering::Relaxed);
        Found::Here(self.checked(stored, swept))
    }

    /// An answer as it is since the last soft purge, with the number of the purge up to which
    /// all have left it in place: what is made of it (RFC 9111 §3.2) takes that number along.
    fn checked(&self, stored: Arc<Stored>, swept: u64) -> Arc<Stored> {
        if stored.held.is_stale() {
            return self.mark_stale(&stored, swept);
        }
        if stored.purged_by.load(Ordering::Acquire) < swept {
            stored.purged_by.fetch_max(swept, Ordering::AcqRel);
        }
        stored
    }

    fn shard(&self, hash: u128) -> MutexGuard<'_, Shard> {
        self.shards[Self::index(hash)].lock()
    }

    fn index(hash: u128) -> usize {
        (hash >> 96) as usize % SHARDS
    }
}
