//! The table in memory that says where on the disk an answer is.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use parking_lot::Mutex;

use super::entry::IndexEntry;
use super::queue::Admission;
use super::record::Kind;

/// Parts of the table, each with its own lock.
const SHARDS: usize = 64;

/// Answers of one key that are kept at most. More of them are somebody's attempt to fill the disk
/// with one page.
const VARIANTS: usize = 64;

/// What an answer takes in memory, bytes: its place, and the free ones of a table that has grown.
pub(super) const COST: u64 = 50;

/// Where a record is: 24 bytes, see [`COST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The lower half of the hash of the key. The text in the record has the last word.
    pub hash: u64,
    pub vary: u32,
    pub offset: u32,
    pub length: u32,
    /// The lower half of the number of the volume: there are never so many at once.
    pub volume: u16,
    /// Its body is in another volume.
    pub is_head: bool,
    /// The lower six bits: how often it was used; above them [`VERIFIED`] and [`HIDDEN`].
    counts: u8,
}

/// Its body was compared with the checksum.
const VERIFIED: u8 = 0x80;

/// What supersedes it waits to be written: it is not given any more.
const HIDDEN: u8 = 0x40;

/// The bits that count.
const HITS: u8 = 0x3f;

impl Place {
    pub(super) fn of(entry: &IndexEntry) -> Self {
        Self {
            hash: entry.hash as u64,
            vary: entry.vary,
            offset: entry.offset,
            length: entry.length,
            volume: entry.volume as u16,
            is_head: entry.kind == Kind::Head,
            counts: 0,
        }
    }

    /// How often it was used since it was written, or since the start; no more than is counted.
    pub(super) fn hits(&self) -> u8 {
        self.counts & HITS
    }

    /// Counts one more use.
    pub(super) fn hit(&mut self) {
        if self.hits() < HITS {
            self.counts += 1;
        }
    }

    /// Whether this process has compared its body with the checksum.
    pub(super) fn is_verified(&self) -> bool {
        self.counts & VERIFIED != 0
    }

    pub(super) fn set_verified(&mut self) {
        self.counts |= VERIFIED;
    }

    /// The same, without a use.
    #[cfg(test)]
    pub(super) fn unused(&self) -> Self {
        Self { counts: 0, ..*self }
    }

    /// Whether what supersedes it waits to be written.
    pub(super) fn is_hidden(&self) -> bool {
        self.counts & HIDDEN != 0
    }

    fn is_same_answer(&self, other: &Self) -> bool {
        self.hash == other.hash && self.vary == other.vary
    }

    fn is_same_record(&self, other: &Self) -> bool {
        self.hash == other.hash && self.volume == other.volume && self.offset == other.offset
    }
}

/// The table.
pub(super) struct Index {
    shards: Box<[Mutex<HashTable<Place>>]>,
    count: AtomicU64,
}

impl Index {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashTable::new())).collect();
        Self { shards, count: AtomicU64::new(0) }
    }

    /// How many records there are in it.
    pub(super) fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Bytes of memory that it has.
    pub(super) fn memory(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().allocation_size() as u64).sum()
    }

    /// Whether anything is under this hash, hidden or not.
    pub(super) fn has(&self, hash: u64) -> bool {
        self.shard(hash).lock().find(hash, |place| place.hash == hash).is_some()
    }

    /// Whether anything that may be given is under this hash.
    pub(super) fn shows(&self, hash: u64) -> bool {
        let is_it = |place: &Place| place.hash == hash && !place.is_hidden();
        self.shard(hash).lock().find(hash, is_it).is_some()
    }

    /// Hides the answer with this `Vary`, until what supersedes it is written. With the lock held,
    /// `waits` says whether that was done already.
    pub(super) fn hide(&self, hash: u64, vary: u32, waits: impl FnOnce() -> bool) {
        let mut shard = self.shard(hash).lock();
        let is_it = |place: &Place| place.hash == hash && place.vary == vary;
        if waits()
            && let Some(place) = shard.find_mut(hash, is_it)
        {
            place.counts |= HIDDEN;
        }
    }

    /// Whether this record is still there to be given.
    pub(super) fn has_record(&self, record: &Place) -> bool {
        let is_it = |place: &Place| place.is_same_record(record) && !place.is_hidden();
        self.shard(record.hash).lock().find(record.hash, is_it).is_some()
    }

    /// Shows everything under this hash, with the lock held.
    pub(super) fn each(&self, hash: u64, mut see: impl FnMut(&mut Place)) {
        let mut shard = self.shard(hash).lock();
        for place in shard.iter_hash_mut(hash).filter(|place| place.hash == hash) {
            see(place);
        }
    }

    /// The answer with this `Vary`, where there is one.
    pub(super) fn get(&self, hash: u64, vary: u32) -> Option<Place> {
        let shard = self.shard(hash).lock();
        shard.find(hash, |place| place.hash == hash && place.vary == vary).copied()
    }

    /// Takes in a record that is newer than all that are there, in place of the one that it
    /// supersedes. With the lock held, `admit` has a last word. Says whether it was let in.
    pub(super) fn insert(&self, mut place: Place, admit: impl FnOnce() -> Admission) -> bool {
        let mut shard = self.shard(place.hash).lock();
        match admit() {
            Admission::No => return false,
            Admission::Hidden => place.counts |= HIDDEN,
            Admission::Yes => {}
        }
        if let Some(old) = shard.find_mut(place.hash, |other| other.is_same_answer(&place)) {
            *old = place;
            return true;
        }
        let of_key = |other: &&Place| other.hash == place.hash;
        if shard.iter_hash(place.hash).filter(of_key).count() >= VARIANTS {
            remove_where(&mut shard, place.hash, |other| other.hash == place.hash, 1);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        shard.insert_unique(place.hash, place, |place| place.hash);
        self.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Takes in a record that is older than all that are there, unless it is superseded.
    pub(super) fn insert_older(&self, mut place: Place, admit: impl FnOnce() -> Admission) {
        let mut shard = self.shard(place.hash).lock();
        let mut variants = 0;
        for other in shard.iter_hash(place.hash).filter(|other| other.hash == place.hash) {
            variants += 1;
            if other.is_same_answer(&place) {
                return;
            }
        }
        if variants < VARIANTS {
            match admit() {
                Admission::No => return,
                Admission::Hidden => place.counts |= HIDDEN,
                Admission::Yes => {}
            }
            shard.insert_unique(place.hash, place, |place| place.hash);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Does something to this record, if it is still there.
    pub(super) fn update(&self, record: &Place, change: impl FnOnce(&mut Place)) {
        let mut shard = self.shard(record.hash).lock();
        if let Some(place) = shard.find_mut(record.hash, |place| place.is_same_record(record)) {
            change(place);
        }
    }

    /// Removes this record. Says whether it was there.
    pub(super) fn remove(&self, record: &Place) -> bool {
        self.remove_some(record.hash, |place| place.is_same_record(record), 1) > 0
    }

    /// Removes everything under this hash, and says how much that was.
    pub(super) fn remove_key(&self, hash: u64) -> usize {
        self.remove_some(hash, |place| place.hash == hash, usize::MAX)
    }

    /// Removes all records of a volume, by looking at everything: for volumes whose index cannot
    /// be read.
    pub(super) fn remove_volume(&self, volume: u32) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let before = shard.len();
            shard.retain(|place| place.volume != volume as u16);
            self.count.fetch_sub((before - shard.len()) as u64, Ordering::Relaxed);
        }
    }

    /// Removes everything.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            self.count.fetch_sub(shard.len() as u64, Ordering::Relaxed);
            shard.clear();
        }
    }

    fn remove_some(&self, hash: u64, which: impl Fn(&Place) -> bool, most: usize) -> usize {
        let removed = remove_where(&mut self.shard(hash).lock(), hash, which, most);
        self.count.fetch_sub(removed as u64, Ordering::Relaxed);
        removed
    }

    /// By bits that the table itself looks at last.
    fn shard(&self, hash: u64) -> &Mutex<HashTable<Place>> {
        &self.shards[(hash >> 40) as usize % SHARDS]
    }
}

fn remove_where(
    shard: &mut HashTable<Place>,
    hash: u64,
    which: impl Fn(&Place) -> bool,
    most: usize,
) -> usize {
    let mut removed = 0;
    while removed < most {
        match shard.find_entry(hash, &which) {
            Ok(entry) => entry.remove(),
            Err(_) => break,
        };
        removed += 1;
    }
    removed
}
