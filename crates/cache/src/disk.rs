//! The cache on disk: what was stored outlives the process.
//!
//! Answers are records (`record`) in volumes, files that are only ever written at their end
//! (`volume`). When there is no room, the oldest volume goes as a whole; what was used since it
//! was written is written again (`writer`). Beside each volume stands an index file, from which
//! the table in memory (`index`) is made again after a start. Nothing that was torn by a crash
//! is used: headers, heads and bodies have checksums, and what stands in an index was written
//! before it. One thread writes; reading is done by whoever asks, and blocks.
//!
//! Of two processes on one folder only one writes: who holds its lock. The other reads what is
//! there, and takes over when the lock is free.

mod codec;
mod entry;
mod folder;
mod index;
mod io;
mod late;
mod load;
mod purges;
mod queue;
mod reclaim;
mod record;
mod scan;
#[cfg(test)]
pub(crate) mod tests;
mod trouble;
mod urls;
mod volume;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

pub use folder::DiskError;
pub use purges::NotedPurge;

use crate::{Key, Stored, Vary};
use folder::Folder;
use index::{COST, Index, Place};
use io::Io;
use load::Unreadable;
use purges::PurgeLog;
use queue::Queue;
use trouble::{Attempt, Trouble};
use urls::Urls;
use volume::Volume;

/// Bodies that are longer stay on the disk when an answer is loaded.
const INLINE: usize = 64 << 10;

/// Answers that the table has in any case.
const FEWEST: u64 = 100_000;

/// What is taken for the size of a body that is not known.
const UNKNOWN: u64 = 64 << 20;

/// How long a disk may take for what waits to be written.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who stands above the disk: knows what was purged, and has some answers in memory. It is called
/// by the writer, without a lock.
pub trait Upper: Send + Sync {
    /// Whether an answer was purged, hard: it is not written again. Of one that was not purged at
    /// all, `purged_by` may be raised.
    fn is_purged(&self, stored: &Stored) -> bool;

    /// Another process that wrote in the folder has noted a purge that this one did not know. What
    /// it is about is to be purged here; numbers of two processes do not compare.
    fn learn(&self, purge: &NotedPurge);

    /// A process that has left the folder to this one has purged something meanwhile: it is to be purged
    /// here, as if that were asked for now. Whoever calls this cannot wait.
    fn purge(&self, what: &[u8]);

    /// Whether an answer under this hash of a key is there, and given from there.
    fn is_used(&self, hash: u128) -> bool;

    /// A volume goes: bodies in this file are to be let go of, so that its room is free.
    fn let_go(&self, file: &Arc<File>);
}

/// An answer that was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What was stored.
    pub stored: Stored,
    place: Place,
}

/// The cache on disk.
pub struct Disk {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    purges: Mutex<Vec<NotedPurge>>,
}

/// What there is to be told of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Answers in the table, and the bytes that the table costs in memory.
    pub objects: u64,
    /// Memory of the table, bytes.
    pub table: u64,
    /// Bytes of all volumes, what was superseded included, and how many there may be.
    pub bytes: u64,
    /// Bytes that there may be.
    pub size: u64,
    /// Volumes.
    pub volumes: u64,
    /// Answers that wait to be written.
    pub waiting: u64,
    /// Answers written, and bytes of records.
    pub written: u64,
    /// Bytes of what was written.
    pub written_bytes: u64,
    /// Answers that were not written, because too much waited, or the disk failed.
    pub dropped: u64,
    /// Answers read.
    pub loaded: u64,
    /// Records that were damaged.
    pub damaged: u64,
    /// Answers that went with their volume.
    pub evicted: u64,
    /// Answers that were written again because they were used.
    pub kept: u64,
    /// Reads and writes that failed.
    pub errors: u64,
    /// The table is complete.
    pub ready: bool,
    /// This process writes.
    pub writes: bool,
    /// The disk failed, and is left alone for a while.
    pub failing: bool,
}

/// What readers and the writer share.
struct Shared {
    folder: Folder,
    io: Io,
    index: Index,
    /// By the lower half of their number.
    volumes: RwLock<HashMap<u16, Arc<Volume>>>,
    queue: Queue,
    log: Mutex<PurgeLog>,
    trouble: Trouble,
    urls: Urls,
    upper: Arc<dyn Upper>,
    size: AtomicU64,
    /// Answers that the table may have.
    most: AtomicU64,
    start: Instant,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    written: AtomicU64,
    written_bytes: AtomicU64,
    dropped: AtomicU64,
    loaded: AtomicU64,
    damaged: AtomicU64,
    evicted: AtomicU64,
    kept: AtomicU64,
    writes: AtomicBool,
    /// What tests add to the clock.
    #[cfg(test)]
    later: AtomicU64,
}

impl Disk {
    /// Opens the cache in `folder`, which is made where it is missing (mode 0700). It may fill
    /// `size` bytes. [`Disk::start`] does the rest.
    ///
    /// # Errors
    /// The folder cannot be used, or it is not a cache of this format. Nothing in it is touched.
    pub fn open(folder: &Path, size: u64, upper: Arc<dyn Upper>) -> Result<Self, DiskError> {
        Self::open_with(folder, size, upper, Io::default())
    }

    fn open_with(path: &Path, size: u64, upper: Arc<dyn Upper>, io: Io) -> Result<Self, DiskError> {
        let folder = Folder::open(path)?;
        let failed = |error| DiskError::Io { path: path.to_owned(), error };
        let (log, purges) = PurgeLog::open(&io, &folder).map_err(failed)?;
        let shared = Arc::new(Shared {
            folder,
            io,
            index: Index::new(),
            volumes: RwLock::default(),
            queue: Queue::default(),
            log: Mutex::new(log),
            trouble: Trouble::default(),
            urls: Urls::default(),
            upper,
            size: AtomicU64::new(size),
            most: AtomicU64::new(u64::MAX),
            start: Instant::now(),
            counters: Counters::default(),
        });
        Ok(Self { shared, writer: Mutex::default(), purges: Mutex::new(purges) })
    }

    /// Begins to look at what is in the folder, and to write. Before that nothing is found, and
    /// whoever stands above is told nothing.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(&self) -> Result<(), DiskError> {
        let writer = writer::Writer::new(self.shared.clone());
        let thread = std::thread::Builder::new().name("cache-disk".into());
        let thread = thread
            .spawn(move || writer.run())
            .map_err(|error| DiskError::Io { path: self.shared.folder.path().to_owned(), error })?;
        *self.writer.lock() = Some(thread);
        Ok(())
    }

    /// The purges that were noted before this process opened the folder, once, in the order of the
    /// file. Numbers go on behind the highest of them.
    #[must_use]
    pub fn take_purges(&self) -> Vec<NotedPurge> {
        std::mem::take(&mut *self.purges.lock())
    }

    /// Whether there may be something under this hash of a key. Costs a look into a table.
    #[must_use]
    pub fn may_have(&self, hash: u128) -> bool {
        self.shared.index.shows(hash as u64) && !self.shared.is_paused(Attempt::Read)
    }

    /// The answers under this key that are `wanted`, the checksums of their heads compared, those
    /// of their bodies as well, of large ones once in a process. Bodies of more than 64 KiB stay
    /// on the disk. Blocks.
    #[must_use]
    pub fn load(&self, key: &Key, wanted: impl Fn(&Vary) -> bool) -> Vec<Loaded> {
        let shared = &self.shared;
        if shared.is_paused(Attempt::Read) {
            return Vec::new();
        }
        // What another process has answered a purge for is not given here.
        shared.learn_purges();
        let mut places = Vec::new();
        shared.index.each(key.hash() as u64, |place| {
            if !place.is_hidden()
                && let Some(volume) = shared.volumes.read().get(&place.volume)
            {
                places.push((*place, volume.clone()));
            }
        });
        let mut found = Vec::with_capacity(places.len());
        for (place, volume) in &places {
            match load::read(shared, place, volume, Some(key), &wanted) {
                Ok((_, stored)) => {
                    shared.index.update(place, Place::hit);
                    found.push(Loaded { stored, place: *place });
                }
                Err(why) => shared.cannot_read(place, key.hash(), why),
            }
        }
        shared.counters.loaded.fetch_add(found.len() as u64, Ordering::Relaxed);
        found
    }

    /// Whether an answer that was loaded is still the one to be given: it was not superseded, ended
    /// or let go of since.
    #[must_use]
    pub fn is_current(&self, loaded: &Loaded) -> bool {
        self.shared.index.has_record(&loaded.place)
    }

    /// Takes an answer that was loaded, and turned out to be purged, out of the table: nobody needs
    /// to look at it again.
    pub fn let_go(&self, loaded: &Loaded) {
        self.shared.index.remove(&loaded.place);
    }

    /// Whether there may be something on the disk of this URL, by its hash. Without a table of
    /// URLs it is right about all that is there, and sometimes wrong about what is not.
    #[must_use]
    pub fn may_have_url(&self, url: u128) -> bool {
        let shared = &self.shared;
        let knows_all = shared.queue.is_ready() && shared.counters.writes.load(Ordering::Relaxed);
        !knows_all || shared.urls.may_have(url as u32)
    }

    /// Hands an answer over to be written, in place of the one with the same key and `Vary`.
    /// Never blocks. `false`: too much waits, or the disk fails, and it will not be written; what
    /// it supersedes is forgotten all the same. From here on that is not given any more.
    ///
    /// It is not for answers that were loaded and are unchanged: they would be written again.
    pub fn store(&self, stored: Arc<Stored>) -> bool {
        let shared = &self.shared;
        let nobody_writes =
            shared.queue.is_ready() && !shared.counters.writes.load(Ordering::Relaxed);
        // An end of its URL that comes from now on finds it.
        shared.urls.add(stored.url as u32);
        let (hash, vary) = (stored.key.hash() as u64, record::vary_hash(&stored.vary));
        let may_write = !nobody_writes && !shared.is_paused(Attempt::Write);
        let Some(ticket) = may_write.then(|| shared.queue.store(stored.clone(), vary)).flatten()
        else {
            shared.give_up(&stored.key);
            return false;
        };
        shared.index.hide(hash, vary, || shared.queue.is_newest(hash, vary, ticket));
        true
    }

    /// Counts a use of an answer that was given from memory: what was used outlives its volume.
    pub fn touch(&self, stored: &Stored) {
        let vary = record::vary_hash(&stored.vary);
        self.shared.index.each(stored.key.hash() as u64, |place| {
            if place.vary == vary {
                place.hit();
            }
        });
    }

    /// Forgets all answers of a key that were handed over before. Effective when it returns; that
    /// it stays so after a restart is written by the writer, in less than a second.
    pub fn forget(&self, key: &Key) {
        self.shared.forget(key.hash());
    }

    /// Notes a purge, so that it is known after a restart as well; what it is about is not looked
    /// at. `number` is higher than the `purged_by` of all that it is about.
    ///
    /// # Errors
    /// It could not be written (yet). It will be tried again, and no answer is written before it
    /// is; but if the process ends until then, what was purged is there again.
    pub fn note_purge(&self, number: u64, what: &[u8]) -> std::io::Result<()> {
        let purge = NotedPurge { number, what: what.into() };
        let result = self.shared.log.lock().note(&self.shared.io, purge);
        self.shared.queue.ask_sync();
        if let Err(error) = &result {
            self.shared.note_trouble(Attempt::Write, error);
        }
        result
    }

    /// The same, but it is written by the writer, soon: whoever calls this may not wait. If the
    /// process ends until then, what was purged is there again.
    pub fn note_purge_later(&self, number: u64, what: &[u8]) {
        self.shared.queue.note_purge(NotedPurge { number, what: what.into() });
    }

    /// The lowest `purged_by` of all records, those that wait included: whoever keeps purges need
    /// not keep those that are not newer. `None`: not known yet.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.shared.queue.is_ready().then(|| self.shared.oldest())
    }

    /// Changes the size, from the next record on.
    pub fn resize(&self, size: u64) {
        self.shared.size.store(size, Ordering::Relaxed);
    }

    /// Changes how many answers the table may have, from the next record on; `bytes` are those that it may
    /// take in memory, but a hundred thousand answers are always had.
    pub fn bound_table(&self, bytes: u64) {
        self.shared.most.store((bytes / COST).max(FEWEST), Ordering::Relaxed);
    }

    /// Bytes that have to be read for an answer under this hash of a key, at the most.
    #[must_use]
    pub fn bytes_of(&self, hash: u128) -> u64 {
        let mut most = 0;
        self.shared.index.each(hash as u64, |place| {
            // Of one whose body is elsewhere it is not known.
            let body = if place.is_head { UNKNOWN } else { u64::from(place.length) };
            most = most.max(body);
        });
        most
    }

    /// Reading takes longer than a disk may take: it is left alone for a while.
    pub fn note_hanging(&self) {
        let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
        self.shared.note_trouble(Attempt::Read, &error);
    }

    /// Whether reading is left alone for now.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.shared.is_paused(Attempt::Read)
    }

    /// Waits until the table is complete, and everything that was handed over is written or given
    /// up. Blocks.
    pub fn settle(&self) {
        self.shared.queue.settle();
    }

    /// Leaves the folder to another process: writes what waits, then never writes again, but notes purges
    /// for the other one. Blocks until that is so, or for ten seconds. What is being read goes on.
    /// `false`: the disk hangs, and the folder is this process's until it ends.
    pub fn hand_over(&self) -> bool {
        self.shared.queue.ask_hand_over();
        self.shared.queue.settle_hand_over(PATIENCE)
    }

    /// Writes what waits, then never writes again. Blocks until that is so, or for ten seconds.
    /// `false`: the disk hangs.
    pub fn close(&self) -> bool {
        self.shared.queue.close();
        let thread = self.writer.lock().take();
        // The last who holds what stands above may be the writer itself.
        let thread = thread.filter(|thread| thread.thread().id() != std::thread::current().id());
        let Some(thread) = thread else { return true };
        let has_ended = self.shared.queue.settle_end(PATIENCE);
        if has_ended {
            // A panic there was reported when it happened.
            drop(thread.join());
        }
        has_ended
    }

    /// What there is to be told.
    #[must_use]
    pub fn stats(&self) -> DiskStats {
        let shared = &self.shared;
        let counters = &shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (volumes, bytes) = {
            let volumes = shared.volumes.read();
            (volumes.len() as u64, volumes.values().map(|volume| volume.bytes()).sum())
        };
        DiskStats {
            objects: shared.index.len(),
            table: shared.index.memory(),
            bytes,
            size: get(&shared.size),
            volumes,
            waiting: shared.queue.waiting().0 as u64,
            written: get(&counters.written),
            written_bytes: get(&counters.written_bytes),
            dropped: get(&counters.dropped),
            loaded: get(&counters.loaded),
            damaged: get(&counters.damaged),
            evicted: get(&counters.evicted),
            kept: get(&counters.kept),
            errors: shared.trouble.errors(),
            ready: shared.queue.is_ready(),
            writes: counters.writes.load(Ordering::Relaxed),
            failing: shared.is_paused(Attempt::Read) || shared.is_paused(Attempt::Write),
        }
    }
}

impl Drop for Disk {
    /// Writes what waits.
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Milliseconds since some time before the start.
    fn now(&self) -> u64 {
        let now = self.start.elapsed().as_millis() as u64 + 1;
        #[cfg(test)]
        let now = now + self.counters.later.load(Ordering::Relaxed);
        now
    }

    fn is_paused(&self, attempt: Attempt) -> bool {
        // The clock is read only after a failure.
        self.trouble.resumes(attempt) != 0 && self.trouble.is_paused(attempt, self.now())
    }

    fn note_trouble(&self, attempt: Attempt, error: &std::io::Error) {
        if self.trouble.note(attempt, self.now()) {
            trouble::warn(self.folder.path(), attempt, error);
        }
    }

    /// Learns what the process that writes has purged, if that is another one.
    fn learn_purges(&self) {
        if self.counters.writes.load(Ordering::Relaxed) {
            return;
        }
        let learned = self.log.lock().read_new(&self.folder);
        match learned {
            Ok(learned) => learned.iter().for_each(|purge| self.upper.learn(purge)),
            Err(error) => self.note_trouble(Attempt::Read, &error),
        }
    }

    fn volume(&self, id: u32) -> Option<Arc<Volume>> {
        self.volumes.read().get(&(id as u16)).filter(|volume| volume.id == id).cloned()
    }

    fn forget(&self, hash: u128) {
        match self.queue.forget(hash) {
            Some(ticket) => {
                if self.index.remove_key(hash as u64) > 0 {
                    self.queue.mark_had(ticket, hash);
                }
            }
            None => self.index.clear(),
        }
    }

    /// An answer is not written: what it supersedes may not outlive it.
    fn give_up(&self, key: &Key) {
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        if self.index.has(key.hash() as u64) {
            self.forget(key.hash());
        }
    }

    /// What becomes of a record that could not be read.
    fn cannot_read(&self, place: &Place, hash: u128, why: Unreadable) {
        match why {
            Unreadable::Other => {}
            Unreadable::Gone => {
                self.index.remove(place);
            }
            Unreadable::Damaged => {
                self.counters.damaged.fetch_add(1, Ordering::Relaxed);
                // The whole key: an older answer would take the place of this after a restart.
                self.forget(hash);
                if self.trouble.may_warn(self.now()) {
                    let folder = self.folder.path().display();
                    tracing::warn!("{folder}: a stored answer is damaged, and is not used");
                }
            }
            // It may be only this one: nobody needs to try it again.
            Unreadable::Io(error) if !self.trouble.is_repeated(self.now()) => {
                self.forget(hash);
                self.trouble.count();
                if self.trouble.may_warn(self.now()) {
                    let folder = self.folder.path().display();
                    tracing::warn!(
                        "{folder}: a stored answer cannot be read, and is not used: {error}"
                    );
                }
            }
            Unreadable::Io(error) => self.note_trouble(Attempt::Read, &error),
        }
    }

    fn oldest(&self) -> u64 {
        let (_, waiting) = self.queue.waiting();
        let volumes = self.volumes.read();
        volumes.values().map(|volume| volume.oldest()).fold(waiting, u64::min)
    }
}
