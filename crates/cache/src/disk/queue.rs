//! What waits to be written. Whoever hands something over never waits.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::purges::NotedPurge;
use crate::{Body, Stored};

/// Answers that wait at most, and the bytes of their bodies.
const JOBS: usize = 16_384;
const BYTES: u64 = 64 << 20;

/// What is taken out at once.
const BATCH_JOBS: usize = 256;
const BATCH_BYTES: u64 = 4 << 20;

/// Keys that wait to be ended at most. Beyond, everything is ended: forgetting may not fail.
const FORGETS: usize = 1 << 18;

/// Whether a record may get into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Its key was ended since.
    No,
    /// What supersedes it waits already.
    Hidden,
    Yes,
}

/// Something to be written.
pub(super) enum Job {
    /// An answer, with the hash of its `Vary`.
    Store(Arc<Stored>, u32),
    /// The end of a key. `had`: the table knew something under it, or could not yet know.
    Forget { hash: u128, had: bool },
}

/// What the writer is to do next.
pub(super) struct Batch {
    /// With the ticket of each: they count up.
    pub jobs: Vec<(u64, Job)>,
    /// Everything is to be forgotten that was stored before this ticket.
    pub wipe: Option<u64>,
    /// Purges that are to be written.
    pub purges: Vec<NotedPurge>,
    /// Purges were noted, which have to outlive a loss of power.
    pub sync: bool,
    /// The folder is to be left to another process.
    pub hand_over: bool,
    /// Nothing comes any more.
    pub close: bool,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// There is something to do.
    work: Condvar,
    /// Something was done.
    progress: Condvar,
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<(u64, Job)>,
    bytes: u64,
    /// The ticket of the last job handed over, and of the last one that is done with.
    last: u64,
    done: u64,
    /// The tickets of keys that wait to be ended: what was handed over before is not let in.
    forgets: HashMap<u64, u64>,
    /// The newest ticket of each answer that waits, by the hashes of its key and its `Vary`.
    stores: HashMap<(u64, u32), u64>,
    /// No lower `purged_by` has anything that waits, or that the writer has taken out and is not
    /// done with.
    oldest: Option<u64>,
    in_hand: Option<u64>,
    wipe: Option<u64>,
    purges: Vec<NotedPurge>,
    sync: bool,
    /// The index is there.
    ready: bool,
    hand_over: bool,
    handed_over: bool,
    close: bool,
    ended: bool,
}

impl Queue {
    /// Hands an answer over, and returns its ticket. `None`: too much waits already.
    pub(super) fn store(&self, stored: Arc<Stored>, vary: u32) -> Option<u64> {
        let mut inner = self.inner.lock();
        let bytes = bytes_of(&stored);
        if !inner.has_room(bytes) {
            return None;
        }
        inner.bytes += bytes;
        let hash = stored.key.hash() as u64;
        let number = number_of(&stored);
        inner.oldest = Some(inner.oldest.map_or(number, |oldest| oldest.min(number)));
        let ticket = inner.push(Job::Store(stored, vary));
        inner.stores.insert((hash, vary), ticket);
        drop(inner);
        self.work.notify_one();
        Some(ticket)
    }

    /// Whether this is the newest of its kind, and still waits. Called with the lock of the table
    /// held.
    pub(super) fn is_newest(&self, hash: u64, vary: u32, ticket: u64) -> bool {
        self.inner.lock().stores.get(&(hash, vary)) == Some(&ticket)
    }

    /// An answer waits no more.
    pub(super) fn given_up(&self, hash: u64, vary: u32, ticket: u64) {
        self.inner.lock().done_with(hash, vary, ticket);
    }

    /// Ends a key. From here on nothing gets into the table that was stored before. The caller
    /// removes what is there, and then says so by [`Self::mark_had`].
    ///
    /// Returns a ticket; `None`: it was one too many, and everything is to be forgotten.
    pub(super) fn forget(&self, hash: u128) -> Option<u64> {
        let mut inner = self.inner.lock();
        if inner.handed_over || inner.close {
            return Some(0);
        }
        if inner.forgets.len() >= FORGETS {
            inner.wipe();
            drop(inner);
            self.work.notify_one();
            return None;
        }
        // Where the writer has nothing before it, the table knows all there is.
        let had = !inner.ready || inner.done < inner.last;
        let ticket = inner.push(Job::Forget { hash, had });
        inner.forgets.insert(hash as u64, ticket);
        drop(inner);
        self.work.notify_one();
        Some(ticket)
    }

    /// Says that the key that this ticket ends was in the table. Where the writer was faster,
    /// another end is put behind.
    pub(super) fn mark_had(&self, ticket: u64, hash: u128) {
        let mut inner = self.inner.lock();
        let at = inner.jobs.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        if let Some((_, job)) = at.ok().and_then(|at| inner.jobs.get_mut(at)) {
            *job = Job::Forget { hash, had: true };
        } else if !inner.close && !inner.handed_over {
            let ticket = inner.push(Job::Forget { hash, had: true });
            inner.forgets.insert(hash as u64, ticket);
            drop(inner);
            self.work.notify_one();
        }
    }

    /// Whether what was handed over with this ticket may get into the table: nobody has ended its
    /// key since. Called with the lock of the table held.
    pub(super) fn admits(&self, hash: u64, vary: u32, ticket: u64) -> Admission {
        let mut inner = self.inner.lock();
        inner.done_with(hash, vary, ticket);
        let is_in = inner.wants(hash, ticket);
        match inner.stores.contains_key(&(hash, vary)) {
            _ if !is_in => Admission::No,
            true => Admission::Hidden,
            false => Admission::Yes,
        }
    }

    /// Whether nobody has ended the key since this was handed over.
    pub(super) fn wants(&self, hash: u64, ticket: u64) -> bool {
        self.inner.lock().wants(hash, ticket)
    }

    /// Purges are to outlive a loss of power.
    pub(super) fn ask_sync(&self) {
        self.inner.lock().sync = true;
        self.work.notify_one();
    }

    /// A purge is to be written. Where too many wait, everything goes instead.
    pub(super) fn note_purge(&self, purge: NotedPurge) {
        let mut inner = self.inner.lock();
        inner.purges.push(purge);
        if inner.purges.len() > FORGETS {
            inner.purges.clear();
            inner.wipe();
        }
        drop(inner);
        self.work.notify_one();
    }

    /// Everything is to be forgotten that was stored before.
    pub(super) fn ask_wipe(&self) {
        self.inner.lock().wipe();
        self.work.notify_one();
    }

    /// The folder is to be left to another process once everything is written.
    pub(super) fn ask_hand_over(&self) {
        self.inner.lock().hand_over = true;
        self.work.notify_one();
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.inner.lock().close = true;
        self.work.notify_one();
    }

    /// Waits for something to do, for `most` at most. Answers that cannot be written are thrown
    /// away (`keep_stores`); what is to be forgotten stays.
    pub(super) fn take(&self, most: Option<Duration>) -> Batch {
        let mut inner = self.inner.lock();
        if !inner.has_work() {
            if let Some(most) = most {
                self.work.wait_for(&mut inner, most);
            } else {
                self.work.wait(&mut inner);
            }
        }
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while jobs.len() < BATCH_JOBS && bytes < BATCH_BYTES {
            let Some((ticket, job)) = inner.jobs.pop_front() else { break };
            if let Job::Store(stored, _) = &job {
                bytes += bytes_of(stored);
            }
            jobs.push((ticket, job));
        }
        inner.in_hand = inner.oldest.into_iter().chain(inner.in_hand).min();
        if inner.jobs.is_empty() {
            inner.oldest = None;
        }
        inner.bytes -= bytes.min(inner.bytes);
        let last = inner.jobs.is_empty();
        Batch {
            jobs,
            wipe: inner.wipe,
            purges: std::mem::take(&mut inner.purges),
            sync: std::mem::take(&mut inner.sync),
            hand_over: inner.hand_over && !inner.handed_over && last,
            close: inner.close && last,
        }
    }

    /// Nobody can write for now: waits and, if it is `still` so then, takes out the answers that wait, to be given up, but
    /// nothing that is to be forgotten.
    pub(super) fn idle(&self, most: Duration, still: impl FnOnce() -> bool) -> Batch {
        let mut inner = self.inner.lock();
        let asked = inner.close || (inner.hand_over && !inner.handed_over);
        if !asked && inner.done >= inner.last && inner.purges.is_empty() && !inner.sync {
            self.work.wait_for(&mut inner, most);
        }
        if !still() {
            // Whatever is there is taken out next.
            return Batch {
                jobs: Vec::new(),
                wipe: None,
                purges: Vec::new(),
                sync: false,
                hand_over: false,
                close: false,
            };
        }
        let all = std::mem::take(&mut inner.jobs).into_iter();
        let (stores, forgets) = all.partition(|(_, job)| matches!(job, Job::Store(..)));
        inner.jobs = forgets;
        inner.bytes = 0;
        inner.oldest = None;
        Batch {
            jobs: Vec::from(stores),
            wipe: None,
            purges: std::mem::take(&mut inner.purges),
            sync: std::mem::take(&mut inner.sync),
            hand_over: inner.hand_over && !inner.handed_over,
            close: inner.close,
        }
    }

    /// What is to be forgotten could not be written and is put back.
    pub(super) fn put_back(&self, jobs: Vec<(u64, Job)>) {
        let mut inner = self.inner.lock();
        for (ticket, job) in jobs.into_iter().rev() {
            if matches!(job, Job::Forget { .. }) {
                inner.jobs.push_front((ticket, job));
            }
        }
    }

    /// A batch is done with, up to this ticket.
    pub(super) fn done(&self, ticket: u64) {
        let mut inner = self.inner.lock();
        inner.done = inner.done.max(ticket);
        inner.in_hand = None;
        if inner.jobs.is_empty() {
            inner.done = inner.last;
        }
        drop(inner);
        self.progress.notify_all();
    }

    /// Everything that could be done with what was handed over by now is done.
    pub(super) fn all_done(&self) {
        let mut inner = self.inner.lock();
        if !inner.jobs.iter().any(|(_, job)| matches!(job, Job::Store(..))) {
            inner.done = inner.last;
        }
        drop(inner);
        self.progress.notify_all();
    }

    /// The end of a key was written.
    pub(super) fn forgotten(&self, hash: u64, ticket: u64) {
        let mut inner = self.inner.lock();
        if inner.forgets.get(&hash) == Some(&ticket) {
            inner.forgets.remove(&hash);
        }
    }

    /// Everything was forgotten that was to be.
    pub(super) fn wiped(&self, wipe: u64) {
        let mut inner = self.inner.lock();
        if inner.wipe == Some(wipe) {
            inner.wipe = None;
        }
    }

    /// The index is there.
    pub(super) fn set_ready(&self) {
        self.inner.lock().ready = true;
        self.progress.notify_all();
    }

    /// The folder is left to another process.
    pub(super) fn set_handed_over(&self) {
        let mut inner = self.inner.lock();
        inner.handed_over = true;
        inner.forgets.clear();
        inner.stores.clear();
        inner.jobs.clear();
        inner.bytes = 0;
        inner.done = inner.last;
        drop(inner);
        self.progress.notify_all();
    }

    pub(super) fn is_ready(&self) -> bool {
        self.inner.lock().ready
    }

    /// Waits until the index is there and everything that was handed over by now is done with.
    pub(super) fn settle(&self) {
        let mut inner = self.inner.lock();
        let last = inner.last;
        self.progress.wait_while(&mut inner, |inner| !inner.ready || inner.done < last);
    }

    /// Waits until the folder is left to another process, and says whether it is.
    pub(super) fn settle_hand_over(&self, patience: Duration) -> bool {
        let mut inner = self.inner.lock();
        self.progress.wait_while_for(&mut inner, |inner| !inner.handed_over, patience);
        inner.handed_over
    }

    /// Waits until the writer has ended, and says whether it has.
    pub(super) fn settle_end(&self, patience: Duration) -> bool {
        let mut inner = self.inner.lock();
        self.progress.wait_while_for(&mut inner, |inner| !inner.ended, patience);
        inner.ended
    }

    /// The writer has ended.
    pub(super) fn set_ended(&self) {
        self.inner.lock().ended = true;
        self.progress.notify_all();
    }

    /// How many answers wait, and a number that is not higher than the `purged_by` of any of them.
    pub(super) fn waiting(&self) -> (usize, u64) {
        let inner = self.inner.lock();
        let oldest = inner.oldest.into_iter().chain(inner.in_hand).min();
        (inner.jobs.len(), oldest.unwrap_or(u64::MAX))
    }
}

impl Inner {
    fn push(&mut self, job: Job) -> u64 {
        self.last += 1;
        self.jobs.push_back((self.last, job));
        self.last
    }

    fn has_room(&self, bytes: u64) -> bool {
        let is_open = !self.hand_over && !self.close;
        is_open && self.jobs.len() < JOBS && self.bytes + bytes <= BYTES
    }

    fn wants(&self, hash: u64, ticket: u64) -> bool {
        self.wipe.is_none_or(|wipe| ticket > wipe)
            && self.forgets.get(&hash).is_none_or(|forget| ticket > *forget)
    }

    fn done_with(&mut self, hash: u64, vary: u32, ticket: u64) {
        if let Entry::Occupied(entry) = self.stores.entry((hash, vary))
            && *entry.get() == ticket
        {
            entry.remove();
        }
    }

    fn wipe(&mut self) {
        self.forgets.clear();
        self.stores.clear();
        self.jobs.clear();
        self.bytes = 0;
        self.last += 1;
        self.wipe = Some(self.last);
    }

    fn has_work(&self) -> bool {
        !self.jobs.is_empty()
            || !self.purges.is_empty()
            || self.wipe.is_some()
            || self.sync
            || self.close
            || (self.hand_over && !self.handed_over)
    }
}

/// Where it stands in the order of purges.
pub(super) fn number_of(stored: &Stored) -> u64 {
    stored.purged_by.load(Ordering::Relaxed)
}

/// What an answer that waits costs in memory, more or less.
fn bytes_of(stored: &Stored) -> u64 {
    let body = match &stored.body {
        Body::Memory(parts) => parts.iter().map(|part| part.bytes.len() as u64).sum(),
        Body::Disk(_) => 0,
    };
    1024 + body
}
