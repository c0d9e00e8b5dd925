//! Making room: the oldest volume goes, and what was used of it is written again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::IndexEntry;
use super::index::Place;
use super::load::{Unreadable, read, read_header};
use super::record::Kind;
use super::trouble::{self, Attempt};
use super::volume::{Ends, Volume, read_index};
use super::writer::Writer;

/// A volume is this part of the size, within these bounds.
const VOLUMES: u64 = 32;
const SMALLEST: u64 = 16 << 20;
const LARGEST: u64 = 1 << 30;

/// How long a disk that was full stays smaller, in milliseconds.
const CEILING: u64 = 600_000;

/// What may become how large, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// All volumes.
    pub total: u64,
    /// A volume, unless it has only one record.
    pub volume: u64,
    /// A record.
    pub record: u64,
}

impl Limits {
    pub(super) fn of(size: u64) -> Self {
        let volume = (size / VOLUMES).clamp(SMALLEST, LARGEST).min(size / 4);
        // What is written again is on the disk twice until its old volume goes.
        let total = size - volume / 4;
        Self { total, volume, record: (size / 4).min(u64::from(u32::MAX)) }
    }
}

impl Writer {
    /// What there is room for.
    pub(super) fn limits(&mut self) -> Limits {
        let mut limits = Limits::of(self.shared.size.load(Ordering::Relaxed));
        if let Some((bytes, until)) = self.ceiling {
            if until > self.shared.now() {
                limits.total = limits.total.min(bytes);
            } else {
                self.ceiling = None;
            }
        }
        limits
    }

    /// The disk is full, by others or because it is smaller than it was said to be: lets go of the
    /// oldest volume, and stays below what is left for a while. Says whether there is room now.
    pub(super) fn shrink(&mut self) -> bool {
        if self.slots.len() < 2 || self.reclaim(false).is_err() {
            return false;
        }
        let used: u64 = self.slots.iter().map(|slot| slot.volume.bytes()).sum();
        let now = self.shared.now();
        let ceiling = used + self.limits().volume / 2;
        self.ceiling = Some((ceiling, now + CEILING));
        if self.shared.trouble.may_warn(now) {
            trouble::warn_full(self.shared.folder.path(), ceiling);
        }
        true
    }

    /// Lets go of the oldest volume. What was used of it is written again (`keep`), a quarter of a
    /// volume at most. Nothing may be pending.
    pub(super) fn reclaim(&mut self, keep: bool) -> io::Result<()> {
        let Some(slot) = self.slots.front() else { return Ok(()) };
        let volume = slot.volume.clone();
        if self.slots.len() == 1 {
            self.close_current();
        }
        let shared = self.shared.clone();
        let entries = match read_index(&shared.io, &shared.folder, &volume, Ends::default()) {
            Ok(scan) => scan.entries,
            Err(error) => {
                shared.note_trouble(Attempt::Read, &error);
                Vec::new()
            }
        };
        self.victim = Some(volume.id);
        let kept = if keep { self.keep_used(&volume, &entries) } else { Ok(()) };
        self.victim = None;
        if kept.is_err() {
            self.discard();
        }
        self.let_go(volume, &entries);
        kept
    }

    /// Lets go of the `count` oldest volumes.
    pub(super) fn drop_oldest(&mut self, count: usize) {
        for _ in 0..count {
            let Some(slot) = self.slots.front() else { break };
            let volume = slot.volume.clone();
            if self.slots.len() == 1 {
                self.close_current();
            }
            self.let_go(volume, &[]);
        }
    }

    /// Writes again what was used, what was used most first.
    fn keep_used(&mut self, volume: &Volume, entries: &[IndexEntry]) -> io::Result<()> {
        let shared = self.shared.clone();
        let mut used: Vec<(u8, Place)> = Vec::new();
        for entry in entries.iter().filter(|entry| entry.kind != Kind::Forget) {
            let Some(place) = shared.index.get(entry.hash as u64, entry.vary) else { continue };
            let is_here = place.volume == volume.id as u16 && place.offset == entry.offset;
            // An answer that was validated may have its body here.
            let is_needed = is_here || (place.is_head && self.has_body_in(&place, volume.id));
            // What is given from memory is used too.
            let hits = place.hits().max(u8::from(shared.upper.is_used(entry.hash)));
            if is_needed && hits > 0 && !place.is_hidden() {
                used.push((hits, place));
            }
        }
        used.sort_by_key(|(hits, place)| (std::cmp::Reverse(*hits), place.offset));
        used.dedup_by_key(|(_, place)| (place.hash, place.vary));
        let mut room = self.limits().volume / 4;
        for (_, place) in used {
            let Some(home) = shared.volumes.read().get(&place.volume).cloned() else { continue };
            match read(&shared, &place, &home, None, |_| true) {
                Ok((header, stored)) => {
                    let bytes = u64::from(place.length) + header.body.length;
                    if bytes > room || shared.upper.is_purged(&stored) {
                        continue;
                    }
                    room -= bytes;
                    // Ticket 0: whoever forgets the key meanwhile is later than this.
                    self.append(&stored, 0)?;
                    shared.counters.kept.fetch_add(1, Ordering::Relaxed);
                }
                Err(Unreadable::Io(error)) => {
                    shared.note_trouble(Attempt::Read, &error);
                    break;
                }
                Err(why) => shared.cannot_read(&place, u128::from(place.hash), why),
            }
        }
        self.commit()
    }

    fn has_body_in(&self, place: &Place, volume: u32) -> bool {
        let home = self.shared.volumes.read().get(&place.volume).cloned();
        let header = home.and_then(|home| read_header(&self.shared, place, &home).ok());
        header.is_some_and(|header| header.body.volume == volume)
    }

    /// Removes a volume from the table and the folder. Who has it open can go on reading.
    fn let_go(&mut self, volume: Arc<Volume>, entries: &[IndexEntry]) {
        let shared = self.shared.clone();
        let mut removed = 0;
        for entry in entries.iter().filter(|entry| entry.kind != Kind::Forget) {
            removed += u64::from(shared.index.remove(&Place::of(entry)));
            let place = shared.index.get(entry.hash as u64, entry.vary);
            if let Some(place) = place.filter(|place| place.is_head)
                && self.has_body_in(&place, volume.id)
            {
                removed += u64::from(shared.index.remove(&place));
            }
        }
        let before = shared.index.len();
        if entries.is_empty() {
            shared.index.remove_volume(volume.id);
            removed = before.saturating_sub(shared.index.len());
        }
        shared.counters.evicted.fetch_add(removed, Ordering::Relaxed);
        shared.volumes.write().remove(&(volume.id as u16));
        self.slots.retain(|slot| slot.volume.id != volume.id);
        shared.upper.let_go(&volume.data);
        if !self.is_owner {
            return;
        }
        self.leaving.push((volume.id, volume.data.clone(), false));
        // Where nobody reads from it, its room is free from here on.
        drop(volume);
        self.remove_leaving();
        shared.log.lock().expect_less();
        if let Err(error) =
            super::purges::compact(&shared.log, &shared.io, &shared.folder, shared.oldest())
        {
            shared.note_trouble(Attempt::Write, &error);
        }
    }

    /// Removes the files of volumes that were let go of. One that cannot be removed is tried again: its answers
    /// would be there after a restart. The last who has a file open closes it, which may take the disk a
    /// while: that is this thread, and no core.
    pub(super) fn remove_leaving(&mut self) {
        let shared = self.shared.clone();
        for (id, _, is_removed) in &mut self.leaving {
            // The data first: what is left of a volume without data is removed at the next start.
            let files = [shared.folder.data(*id), shared.folder.index(*id)];
            let result = files.iter().filter(|_| !*is_removed).try_for_each(|file| {
                match shared.io.remove(file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            });
            match result {
                Ok(()) => *is_removed = true,
                Err(error) => shared.note_trouble(Attempt::Write, &error),
            }
        }
        self.leaving.retain(|(_, file, is_removed)| !is_removed || Arc::strong_count(file) > 1);
    }
}
