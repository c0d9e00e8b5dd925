//! Purges of what is in memory, and looking through all of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Cache;
use super::shard::Shard;
use crate::purge::{Lasting, Purge, PurgeReport, Subject, What};
use crate::stored::Stored;
use crate::url;

/// Slots that are looked at under one hold of a lock.
const STEP: usize = 64;

/// Answers that are looked through on more than one thread.
const MANY: u64 = 50_000;

/// An answer that is given often.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Top {
    /// How often it was given.
    pub hits: u32,
    /// Bytes that it takes.
    pub bytes: u64,
    /// The URL in its key.
    pub url: Box<[u8]>,
}

impl Cache {
    /// Purges. When it returns, no core gives any more what it was about, and nothing that was
    /// asked for before will be stored as if it had not been. By URL and by key it takes
    /// microseconds; else it looks at all answers, on the thread that calls it.
    ///
    /// Where there is a disk, what is there is about as well, also after a restart: that is
    /// written before this returns.
    pub fn purge(&self, purge: &Purge) -> PurgeReport {
        let number = self.purges.note(purge, Lasting::Disk(self.oldest_on_disk()));
        let report = self.purge_memory(purge, number);
        self.note_on_disk(purge, number, false);
        report
    }

    /// Purges what is in memory.
    pub(super) fn purge_memory(&self, purge: &Purge, number: u64) -> PurgeReport {
        let report = match &purge.what {
            What::Url(url) => self.purge_slots(purge, |shard| shard.of_url(*url)),
            What::Key(key) => self.sweep(purge, Some(Self::index(*key))),
            What::Prefix(_) | What::Tag(_) | What::TagAt(..) | What::Host(_) | What::All => {
                self.sweep(purge, None)
            }
        };
        self.purges.done(number);
        self.counts.purged.fetch_add(report.objects, Ordering::Relaxed);
        report
    }

    /// Purges the answers to a URL in its one spelling, also those whose keys do not have all of
    /// it.
    pub fn purge_url(&self, url: &[u8], soft: bool) -> PurgeReport {
        let reports =
            url::filings(url).map(|url| self.purge(&Purge { what: What::Url(url), soft }));
        reports.iter().fold(PurgeReport::default(), |sum, report| PurgeReport {
            objects: sum.objects + report.objects,
            bytes: sum.bytes + report.bytes,
        })
    }

    /// What an unsafe method makes of the answers to a URL (RFC 9111 §4.4): they are purged.
    pub fn invalidate(&self, url: &[u8]) -> PurgeReport {
        let mut report = PurgeReport::default();
        url::filings(url).into_iter().for_each(|url| report.add(self.invalidate_filed(url)));
        report
    }

    /// Whoever invalidates cannot wait for the disk, and mostly does so to what was never stored.
    fn invalidate_filed(&self, url: u128) -> PurgeReport {
        let purge = Purge { what: What::Url(url), soft: false };
        let mut report = PurgeReport::default();
        if !self.may_be_on_disk(url) {
            let lasting = Lasting::UnderWay(self.oldest_on_disk());
            let number = self.purges.note(&purge, lasting);
            report = self.purge_memory(&purge, number);
        }
        // It may have been handed to the disk meanwhile.
        if self.may_be_on_disk(url) {
            let number = self.purges.note(&purge, Lasting::Disk(self.oldest_on_disk()));
            report.add(self.purge_memory(&purge, number));
            self.note_on_disk(&purge, number, true);
        }
        report
    }

    /// The answers that are given most often.
    #[must_use]
    pub fn top(&self, count: usize) -> Vec<Top> {
        let mut most = BinaryHeap::with_capacity(count + 1);
        self.for_each(|stored| {
            let hits = stored.hits.load(Ordering::Relaxed);
            let least = most.peek().map_or(0, |Reverse(Top { hits, .. })| *hits);
            if hits > 0 && (most.len() < count || hits > least) {
                let url = stored.key.url_text().into();
                most.push(Reverse(Top { hits, bytes: stored.held.bytes(), url }));
                if most.len() > count {
                    most.pop();
                }
            }
        });
        most.into_sorted_vec().into_iter().map(|Reverse(top)| top).collect()
    }

    /// Answers in memory to a URL in its one spelling, under any key, `most` of them. It counts as
    /// no use.
    #[must_use]
    pub fn of_url(&self, url: &[u8], most: usize) -> Vec<Arc<Stored>> {
        let newest = self.purges.newest();
        let mut found: Vec<Arc<Stored>> = Vec::new();
        let filings = url::filings(url);
        for shard in &self.shards {
            let shard = shard.lock();
            let slots = filings.iter().flat_map(|url| shard.of_url(*url));
            let slots = slots.take(most - found.len());
            found.extend(slots.filter_map(|slot| shard.get(slot as usize).cloned()));
        }
        found.into_iter().map(|stored| self.checked(stored, newest)).collect()
    }

    /// Looks at all answers, a few under each hold of a lock.
    pub(super) fn for_each(&self, mut look: impl FnMut(&Arc<Stored>)) {
        for shard in &self.shards {
            let mut at = 0;
            loop {
                let shard = shard.lock();
                let end = (at + STEP).min(shard.slots());
                (at..end).filter_map(|index| shard.get(index)).for_each(&mut look);
                at = end;
                if at >= shard.slots() {
                    break;
                }
            }
        }
    }

    /// Looks through all parts, or through one; where there is much, on several threads.
    fn sweep(&self, purge: &Purge, only: Option<usize>) -> PurgeReport {
        let parts = only.map_or(0..self.shards.len(), |index| index..index + 1);
        let next = AtomicUsize::new(parts.start);
        let work = || {
            let mut report = PurgeReport::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= parts.end {
                    return report;
                }
                report.add(self.sweep_part(index, purge));
            }
        };
        if only.is_some() || self.stats().objects < MANY {
            return work();
        }
        let helpers =
            std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4)) - 1;
        std::thread::scope(|scope| {
            let named = || std::thread::Builder::new().name("cache-purge".into());
            // Where there are no threads to be had, this one does it.
            let helpers: Vec<_> =
                (0..helpers).flat_map(|_| named().spawn_scoped(scope, work)).collect();
            let mut report = work();
            // What one that panicked has found is not counted.
            helpers.into_iter().flat_map(|helper| helper.join()).for_each(|part| report.add(part));
            report
        })
    }

    fn sweep_part(&self, index: usize, purge: &Purge) -> PurgeReport {
        let mut report = PurgeReport::default();
        let mut at = 0;
        let mut more = true;
        while more {
            let step = self.purge_in(index, purge, |shard| {
                let end = (at + STEP).min(shard.slots());
                let slots = (at..end).map(|slot| slot as u32).collect();
                at = end;
                more = at < shard.slots();
                slots
            });
            report.add(step);
        }
        report
    }

    fn purge_slots(&self, purge: &Purge, slots: impl Fn(&Shard) -> Vec<u32>) -> PurgeReport {
        let mut report = PurgeReport::default();
        (0..self.shards.len()).for_each(|index| report.add(self.purge_in(index, purge, &slots)));
        report
    }

    /// Purges what is in these slots of one part.
    fn purge_in(
        &self,
        index: usize,
        purge: &Purge,
        slots: impl FnOnce(&Shard) -> Vec<u32>,
    ) -> PurgeReport {
        let mut report = PurgeReport::default();
        let mut dead = Vec::new();
        let mut shard = self.shards[index].lock();
        for slot in slots(&shard) {
            let Some(stored) = shard.get(slot as usize) else { continue };
            if !purge.what.covers(&Subject::of(stored)) {
                continue;
            }
            report.objects += 1;
            report.bytes += stored.held.bytes();
            if purge.soft {
                // Whoever finds it next makes a stale one of it.
                stored.held.mark_stale();
            } else {
                dead.extend(shard.remove(slot));
            }
        }
        self.settle(index, &mut shard);
        drop(shard);
        // Memory is given back without the lock.
        drop(dead);
        report
    }

    /// An answer that was purged softly gives way to the same one, marked.
    pub(super) fn mark_stale(&self, stored: &Arc<Stored>, swept: u64) -> Arc<Stored> {
        let mut facts = stored.facts.clone();
        facts.marked_stale = true;
        let mut marked = stored.with_facts(facts);
        marked.purged_by.fetch_max(swept, Ordering::AcqRel);
        let weight = stored.held.bytes();
        self.force_room(weight);
        marked.held = super::Held::taken(&self.ledger, weight);
        let marked = Arc::new(marked);
        let mut shard = self.shard(stored.key.hash());
        let old =
            shard.slot_of(stored).and_then(|slot| shard.replace(slot, Arc::clone(&marked), weight));
        drop(shard);
        drop(old);
        marked
    }
}

impl PurgeReport {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}
