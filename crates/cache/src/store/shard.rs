//! A part of the table: answers found by key, and the order in which they are given up.
//!
//! The order is S3-FIFO: what is new waits in a small queue, and only what was asked for there
//! goes on to the main one, so that what is asked for once (a scan) never pushes out what is
//! asked for again. How often an answer was asked for is what its count says beyond what the
//! queue has seen of it; so looking up writes nothing here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashTable;

use super::ghost::Ghosts;
use super::queue::Queue;
use crate::{Key, Stored};

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// Answers of one key at most. One more pushes out the oldest by date.
pub(super) const MAX_VARIANTS: usize = 64;

/// The part of the bytes that the small queue may have: one in so many.
const SMALL_SHARE: u64 = 10;

/// Uses that bring an answer from the small queue into the main one.
const PROMOTING: u32 = 1;

/// Uses that count in the main queue.
const MOST_CREDIT: u32 = 3;

/// Answers that are spared before one is given up whatever it is worth: a lock is not held
/// for longer.
const PATIENCE: u32 = 64;

#[derive(Debug)]
pub(super) struct Slot {
    stored: Option<Arc<Stored>>,
    pub(super) weight: u64,
    /// The uses that the queue has taken into account.
    seen: u32,
    /// The next answer of the same key; of a free slot, the next free one.
    next: u32,
    pub(super) newer: u32,
    pub(super) older: u32,
    in_main: bool,
}

/// Where a slot is found: 32 bits of a hash.
#[derive(Debug, Clone, Copy)]
struct Place {
    bits: u32,
    slot: u32,
}

#[derive(Debug)]
pub(super) struct Shard {
    /// The first slot of each key; the others follow from there, the newest by date first.
    keys: HashTable<Place>,
    /// All slots by their URL.
    urls: HashTable<Place>,
    slots: Vec<Slot>,
    free: u32,
    live: usize,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
    /// What of [`Shard::allocated`] is in the ledger.
    pub(super) counted: usize,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            keys: HashTable::new(),
            urls: HashTable::new(),
            slots: Vec::new(),
            free: NONE,
            live: 0,
            small: Queue::default(),
            main: Queue::default(),
            ghosts: Ghosts::default(),
            counted: 0,
        }
    }
}

impl Shard {
    /// How many answers there are.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// How many slots have ever been in use at once; answers are in slots below this.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The answer in a slot.
    pub(super) fn get(&self, index: usize) -> Option<&Arc<Stored>> {
        self.slots.get(index)?.stored.as_ref()
    }

    /// The answers of a key, the newest by date first.
    pub(super) fn variants(&self, key: &Key) -> impl Iterator<Item = &Arc<Stored>> {
        let mut at = self.first(key);
        std::iter::from_fn(move || {
            let slot = self.slots.get(at as usize)?;
            at = slot.next;
            slot.stored.as_ref()
        })
    }

    /// The newest answer of each key with this hash.
    pub(super) fn of_hash(&self, hash: u128) -> impl Iterator<Item = &Arc<Stored>> {
        let first = self.keys.iter_hash(spread(bits(hash))).map(|place| place.slot);
        let is_it = move |stored: &&Arc<Stored>| stored.key.hash() == hash;
        first.filter_map(move |slot| self.get(slot as usize).filter(is_it))
    }

    /// The slots of a URL.
    pub(super) fn of_url(&self, url: u128) -> Vec<u32> {
        let is_it = |slot: u32| self.get(slot as usize).is_some_and(|stored| stored.url == url);
        let places = self.urls.iter_hash(spread(bits(url)));
        places.map(|place| place.slot).filter(|slot| is_it(*slot)).collect()
    }

    /// The slot of this very answer.
    pub(super) fn slot_of(&self, stored: &Arc<Stored>) -> Option<u32> {
        let mut at = self.first(&stored.key);
        while let Some(slot) = self.slots.get(at as usize) {
            if slot.stored.as_ref().is_some_and(|found| Arc::ptr_eq(found, stored)) {
                return Some(at);
            }
            at = slot.next;
        }
        None
    }

    /// Takes one in. One that the same requests select makes way for it and is handed back, as is
    /// the oldest of too many.
    pub(super) fn insert(&mut self, stored: Arc<Stored>, weight: u64) -> Option<Arc<Stored>> {
        let old = self.variants(&stored.key).find(|found| found.vary == stored.vary).cloned();
        if let Some(slot) = old.and_then(|old| self.slot_of(&old)) {
            return self.replace(slot, stored, weight);
        }
        let many = self.variants(&stored.key).count() >= MAX_VARIANTS;
        let oldest = if many { self.variants(&stored.key).last().cloned() } else { None };
        let old = oldest.and_then(|old| self.slot_of(&old)).and_then(|slot| self.remove(slot));
        let slot = Slot {
            weight,
            seen: stored.hits.load(Ordering::Relaxed),
            next: NONE,
            newer: NONE,
            older: NONE,
            in_main: self.ghosts.take(stored.key.hash(), self.live),
            stored: Some(stored),
        };
        let index = self.occupy(slot);
        self.chain(index);
        self.note_url(index);
        self.enqueue(index);
        self.live += 1;
        old
    }

    /// Another answer in the same place of its queue.
    pub(super) fn replace(
        &mut self,
        index: u32,
        stored: Arc<Stored>,
        weight: u64,
    ) -> Option<Arc<Stored>> {
        self.unchain(index);
        self.forget_url(index);
        self.reweigh(index, weight);
        let slot = &mut self.slots[index as usize];
        let hits = slot.stored.as_ref().map_or(0, |old| old.hits.load(Ordering::Relaxed));
        stored.hits.fetch_max(hits, Ordering::Relaxed);
        let old = slot.stored.replace(stored);
        self.chain(index);
        self.note_url(index);
        old
    }

    /// What an answer weighs has changed.
    pub(super) fn reweigh(&mut self, index: u32, weight: u64) {
        let slot = &mut self.slots[index as usize];
        let queue = if slot.in_main { &mut self.main } else { &mut self.small };
        queue.bytes = queue.bytes - slot.weight + weight;
        slot.weight = weight;
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, index: u32) -> Option<Arc<Stored>> {
        self.get(index as usize)?;
        self.unchain(index);
        self.forget_url(index);
        self.dequeue(index);
        self.live -= 1;
        let slot = &mut self.slots[index as usize];
        slot.next = self.free;
        self.free = index;
        let stored = slot.stored.take();
        if self.live == 0 {
            (self.keys, self.urls) = Default::default();
            (self.slots, self.free) = (Vec::new(), NONE);
        }
        stored
    }

    /// Takes out what this supersedes, and the older answers of its key that some requests select
    /// as well as this one: without it they would be taken for the newest.
    pub(super) fn remove_older(&mut self, than: &Stored) -> Vec<Arc<Stored>> {
        let is_older = |found: &&Arc<Stored>| {
            found.vary == than.vary
                || (found.recency() <= than.recency() && !found.vary.excludes(&than.vary))
        };
        let older: Vec<_> = self.variants(&than.key).filter(is_older).cloned().collect();
        let slots: Vec<_> = older.iter().filter_map(|stored| self.slot_of(stored)).collect();
        slots.into_iter().filter_map(|slot| self.remove(slot)).collect()
    }

    /// Takes out the one that is worth least, with its weight.
    pub(super) fn evict(&mut self) -> Option<(Arc<Stored>, u64)> {
        for spared in 0..=PATIENCE {
            let in_main =
                self.main.tail != NONE && self.small.bytes * (SMALL_SHARE - 1) < self.main.bytes;
            let in_main = in_main || self.small.tail == NONE;
            let index = if in_main { self.main.tail } else { self.small.tail };
            let slot = self.slots.get_mut(index as usize)?;
            let stored = slot.stored.as_ref()?;
            let hits = stored.hits.load(Ordering::Relaxed);
            let credit = hits.wrapping_sub(slot.seen).min(MOST_CREDIT);
            let earned = credit >= if in_main { 1 } else { PROMOTING };
            // Giving up what somebody is sending makes no room.
            let busy = Arc::strong_count(stored) > 1;
            if spared == PATIENCE || !(earned || busy) {
                let (hash, weight) = (stored.key.hash(), slot.weight);
                if !in_main {
                    self.ghosts.note(hash, self.live);
                }
                return self.remove(index).map(|stored| (stored, weight));
            }
            slot.seen = if in_main { hits.wrapping_sub(credit.saturating_sub(1)) } else { hits };
            self.dequeue(index);
            self.slots[index as usize].in_main |= earned;
            self.enqueue(index);
        }
        None
    }

    /// Bytes that the tables take.
    pub(super) fn allocated(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + self.keys.allocation_size()
            + self.urls.allocation_size()
            + self.ghosts.allocated()
    }

    fn first(&self, key: &Key) -> u32 {
        let is_it =
            |place: &Place| self.get(place.slot as usize).is_some_and(|stored| stored.key == *key);
        self.keys.find(spread(bits(key.hash())), is_it).map_or(NONE, |place| place.slot)
    }

    fn occupy(&mut self, slot: Slot) -> u32 {
        match self.slots.get_mut(self.free as usize) {
            Some(free) => {
                let index = self.free;
                self.free = free.next;
                *free = slot;
                index
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        }
    }

    /// Puts a slot among those of its key, before the first that is not younger.
    fn chain(&mut self, index: u32) {
        let Some(stored) = self.get(index as usize).cloned() else { return };
        let date = |slots: &[Slot], at: u32| {
            slots[at as usize].stored.as_ref().map(|stored| stored.recency())
        };
        let (mut before, mut at) = (NONE, self.first(&stored.key));
        while at != NONE && date(&self.slots, at) > Some(stored.recency()) {
            (before, at) = (at, self.slots[at as usize].next);
        }
        self.slots[index as usize].next = at;
        let hash = bits(stored.key.hash());
        match (before, at) {
            (NONE, NONE) => {
                let place = Place { bits: hash, slot: index };
                self.keys.insert_unique(spread(hash), place, |place| spread(place.bits));
            }
            (NONE, first) => {
                let is_it = |place: &Place| place.slot == first;
                if let Some(place) = self.keys.find_mut(spread(hash), is_it) {
                    place.slot = index;
                }
            }
            (before, _) => self.slots[before as usize].next = index,
        }
    }

    fn unchain(&mut self, index: u32) {
        let Some(stored) = self.get(index as usize).cloned() else { return };
        let next = self.slots[index as usize].next;
        let first = self.first(&stored.key);
        if first == index {
            let is_it = |place: &Place| place.slot == index;
            if let Ok(mut place) = self.keys.find_entry(spread(bits(stored.key.hash())), is_it) {
                match next {
                    NONE => drop(place.remove()),
                    next => place.get_mut().slot = next,
                }
            }
            return;
        }
        let mut at = first;
        while let Some(slot) = self.slots.get_mut(at as usize) {
            if slot.next == index {
                slot.next = next;
                return;
            }
            at = slot.next;
        }
    }

    fn note_url(&mut self, index: u32) {
        if let Some(stored) = self.get(index as usize) {
            let place = Place { bits: bits(stored.url), slot: index };
            self.urls.insert_unique(spread(place.bits), place, |place| spread(place.bits));
        }
    }

    fn forget_url(&mut self, index: u32) {
        if let Some(hash) = self.get(index as usize).map(|stored| spread(bits(stored.url)))
            && let Ok(place) = self.urls.find_entry(hash, |place| place.slot == index)
        {
            place.remove();
        }
    }

    fn enqueue(&mut self, index: u32) {
        let in_main = self.slots[index as usize].in_main;
        let queue = if in_main { &mut self.main } else { &mut self.small };
        queue.push(&mut self.slots, index);
    }

    fn dequeue(&mut self, index: u32) {
        let in_main = self.slots[index as usize].in_main;
        let queue = if in_main { &mut self.main } else { &mut self.small };
        queue.remove(&mut self.slots, index);
    }
}

fn bits(hash: u128) -> u32 {
    hash as u32
}

/// 32 bits as the table wants them: it looks at both ends.
fn spread(bits: u32) -> u64 {
    u64::from(bits) << 32 | u64::from(bits)
}
