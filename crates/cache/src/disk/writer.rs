//! The thread that writes. It is the only one that changes files, and alone knows where the next
//! record begins.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::entry::{ENTRY, IndexEntry};
use super::index::Place;
use super::late::{self, Lates};
use super::load::{read_header, read_through};
use super::purges;
use super::queue::{Batch, Job, number_of};
use super::record::{self, BodyPlace, HEADER, Header, Kind};
use super::trouble::Attempt;
use super::volume::{Ends, Volume};
use super::{INLINE, Shared};
use crate::{Body, Stored};

/// How often a process that does not write tries to.
const RETRY: Duration = Duration::from_millis(100);

/// How long a process may be idle that never writes again.
const RETIRED: Duration = Duration::from_secs(3600);

/// What was forgotten is on the disk itself after so many milliseconds.
const SYNC: u64 = 1000;

/// Records are collected to be written at once up to this.
const BUFFER: usize = 1 << 20;

/// Of the answers that the table may have, a volume has one in so many.
const SHARES: u64 = 8;

/// A body that is longer is written from where it is.
const COPIED: usize = 128 << 10;

/// The writer.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    /// All volumes, the oldest first.
    pub slots: VecDeque<Slot>,
    pub next_volume: u32,
    /// That of the last record.
    pub number: u64,
    /// This process writes.
    pub is_owner: bool,
    /// The next record begins a volume.
    pub must_begin: bool,
    /// Behind the end of the current volume may be what is not to be found.
    must_cut: bool,
    /// The volume that is being let go of: nothing may need it any more.
    pub victim: Option<u32>,
    /// The disk was full: no more than so many bytes until that moment.
    pub ceiling: Option<(u64, u64)>,
    is_retired: bool,
    /// Volumes that were let go of: their numbers, and whether their files are removed.
    pub leaving: Vec<(u32, Arc<File>, bool)>,
    /// What processes purge that have left the folder to this one, and when that is looked at.
    lates: Lates,
    late_at: Option<u64>,
    /// The files of the last volume, while it is written.
    current: Option<Current>,
    /// Records that are not written yet, and how many bytes behind the end of the volume were.
    buffer: Vec<u8>,
    written: u64,
    pending: Vec<Pending>,
    /// The ticket up to which everything is on the disk and in the table.
    committed: u64,
    /// When the files are brought to the disk itself.
    sync_at: Option<u64>,
}

/// A volume, and how far it goes.
pub(super) struct Slot {
    pub volume: Arc<Volume>,
    pub ends: Ends,
}

struct Current {
    data: File,
    index: File,
}

/// Says that the writer has ended, however it did.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.queue.set_ended();
    }
}

/// A record that is not in the table yet.
struct Pending {
    entry: IndexEntry,
    ticket: u64,
    is_verified: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            slots: VecDeque::new(),
            next_volume: 0,
            number: 0,
            is_owner: false,
            must_begin: false,
            must_cut: false,
            victim: None,
            ceiling: None,
            is_retired: false,
            leaving: Vec::new(),
            lates: Lates::default(),
            late_at: None,
            current: None,
            buffer: Vec::new(),
            written: 0,
            pending: Vec::new(),
            committed: 0,
            sync_at: None,
        }
    }

    /// Runs until the queue is closed.
    pub(super) fn run(self) {
        let shared = self.shared.clone();
        // Also where it panics: nobody waits for it in vain.
        let _ended = Ended(&shared);
        self.run_until_closed();
    }

    fn run_until_closed(mut self) {
        self.is_owner = self.try_lock();
        self.listen();
        self.scan_all();
        self.begin_to_write();
        let shared = self.shared.clone();
        shared.queue.set_ready();
        loop {
            let pause = self.pause();
            let batch = match pause {
                Some(pause) => shared.queue.idle(pause, || self.pause().is_some()),
                None => shared.queue.take(self.until_due()),
            };
            self.work(&batch);
            if batch.close && pause.is_some() {
                self.sync();
                return;
            }
            self.forget_all(&batch);
            if pause.is_none() {
                if self.late_at.is_some_and(|at| at <= shared.now()) {
                    self.read_late_purges();
                }
                self.remove_leaving();
                self.write(batch.jobs);
            } else {
                self.give_up(&batch.jobs);
                shared.queue.all_done();
            }
            if !self.is_owner && !self.is_retired {
                self.listen();
            }
            if pause.is_some() && !self.is_owner && !self.is_retired && self.try_lock() {
                self.is_owner = true;
                self.catch_up();
                self.begin_to_write();
            }
            if batch.hand_over {
                self.retire();
            }
            if batch.close {
                self.end_late_purges();
                self.sync();
                return;
            }
        }
    }

    /// How long nothing can be written.
    fn pause(&self) -> Option<Duration> {
        if self.is_retired {
            return Some(RETIRED);
        }
        if !self.is_owner {
            return Some(RETRY);
        }
        let left = self.shared.trouble.resumes(Attempt::Write).saturating_sub(self.shared.now());
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// Learns what others have purged: who writes, and those that did.
    pub(super) fn listen(&mut self) {
        let shared = self.shared.clone();
        shared.learn_purges();
        if let Err(error) = self.lates.find(&shared.folder) {
            shared.note_trouble(Attempt::Read, &error);
        }
        self.read_late_purges();
    }

    /// How long there is nothing to do but what comes.
    fn until_due(&self) -> Option<Duration> {
        let due = self.sync_at.into_iter().chain(self.late_at).min();
        due.map(|at| Duration::from_millis(at.saturating_sub(self.shared.now())))
    }

    /// Purges what those have purged that wrote here before, and still finish what runs.
    fn read_late_purges(&mut self) {
        let shared = self.shared.clone();
        match self.lates.read(&shared.io) {
            Ok(purges) => purges.iter().for_each(|purge| shared.upper.purge(&purge.what)),
            Err(error) => shared.note_trouble(Attempt::Read, &error),
        }
        self.late_at = (!self.lates.is_empty()).then(|| shared.now() + late::EVERY);
    }

    /// The same for the last time: where those have ended, their files go.
    fn end_late_purges(&mut self) {
        if self.is_owner && !self.lates.is_empty() {
            self.read_late_purges();
            let batch = self.shared.queue.take(Some(Duration::ZERO));
            self.work(&batch);
            self.read_late_purges();
        }
    }

    fn try_lock(&self) -> bool {
        self.shared.folder.try_lock().unwrap_or_else(|error| {
            self.shared.note_trouble(Attempt::Write, &error);
            false
        })
    }

    /// What is to be done once this process writes.
    fn begin_to_write(&mut self) {
        if !self.is_owner {
            return;
        }
        let shared = self.shared.clone();
        shared.counters.writes.store(true, Ordering::Relaxed);
        let learned = shared.log.lock().take_over(&shared.io, &shared.folder);
        match learned {
            Ok(learned) => learned.iter().for_each(|purge| shared.upper.learn(purge)),
            Err(error) => shared.note_trouble(Attempt::Write, &error),
        }
        // Whoever wrote before may have been killed before that.
        self.sync_at = Some(shared.now());
        self.listen();
    }

    /// Leaves the folder to another process.
    fn retire(&mut self) {
        self.sync();
        self.current = None;
        self.is_owner = false;
        self.is_retired = true;
        self.shared.counters.writes.store(false, Ordering::Relaxed);
        let late = late::begin(&self.shared.io, &self.shared.folder);
        if let Err(error) = &late {
            self.shared.note_trouble(Attempt::Write, error);
        }
        self.shared.log.lock().retire(late.ok());
        if let Err(error) = self.shared.folder.unlock() {
            self.shared.note_trouble(Attempt::Write, &error);
        }
        self.shared.queue.set_handed_over();
    }

    /// What is due beside the records.
    fn work(&mut self, batch: &Batch) {
        if batch.sync || !batch.purges.is_empty() {
            self.shared.log.lock().owe(&batch.purges);
            self.sync_purges();
            self.shed_owed();
        }
        if self.sync_at.is_some_and(|at| at <= self.shared.now()) {
            self.sync();
        }
    }

    /// Purges that cannot be written are kept until they can. Of too many, everything goes.
    fn shed_owed(&mut self) {
        let mut log = self.shared.log.lock();
        if log.owes() > purges::MOST {
            log.forgive();
            drop(log);
            self.shared.queue.ask_wipe();
        }
    }

    /// Lets go of everything that was stored before too much was to be forgotten.
    fn forget_all(&mut self, batch: &Batch) {
        let Some(wipe) = batch.wipe else { return };
        self.drop_oldest(self.slots.len());
        self.shared.index.clear();
        self.shared.queue.wiped(wipe);
    }

    /// Writes what was handed over, or gives it up.
    fn write(&mut self, jobs: Vec<(u64, Job)>) {
        let Some(last) = jobs.last().map(|(ticket, _)| *ticket) else {
            return self.shared.queue.done(0);
        };
        let mut result = self.try_write(&jobs);
        if let Err(error) = &result {
            let is_full =
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            self.discard();
            if is_full && self.shrink() {
                result = self.try_write(&jobs);
            }
        }
        if let Err(error) = result {
            self.discard();
            self.shared.note_trouble(Attempt::Write, &error);
            let left: Vec<_> = jobs.into_iter().filter(|job| job.0 > self.committed).collect();
            self.give_up(&left);
            self.shared.queue.put_back(left);
        } else {
            self.committed = self.committed.max(last);
        }
        self.shared.queue.done(last);
    }

    /// Answers that are not written take those with them that they supersede.
    fn give_up(&mut self, jobs: &[(u64, Job)]) {
        for (ticket, job) in jobs {
            if let Job::Store(stored, vary) = job {
                self.shared.queue.given_up(stored.key.hash() as u64, *vary, *ticket);
                self.shared.give_up(&stored.key);
            }
        }
    }

    /// Writes everything of a batch that is not written yet.
    fn try_write(&mut self, jobs: &[(u64, Job)]) -> io::Result<()> {
        self.cut()?;
        let shared = self.shared.clone();
        let floor = {
            let mut log = shared.log.lock();
            log.pay(&shared.io)?;
            log.floor()
        };
        let committed = self.committed;
        for (ticket, job) in jobs.iter().filter(|(ticket, _)| *ticket > committed) {
            match job {
                Job::Store(stored, vary) => {
                    let hash = stored.key.hash() as u64;
                    if !shared.queue.wants(hash, *ticket) {
                        shared.queue.given_up(hash, *vary, *ticket);
                    } else if number_of(stored) >= floor {
                        self.append(stored, *ticket)?;
                    } else {
                        shared.queue.given_up(hash, *vary, *ticket);
                        shared.give_up(&stored.key);
                    }
                }
                Job::Forget { hash, had } => {
                    let removed = shared.index.remove_key(*hash as u64);
                    if *had || removed > 0 {
                        self.append_forget(*hash, *ticket)?;
                    } else {
                        shared.queue.forgotten(*hash as u64, *ticket);
                    }
                }
            }
        }
        self.commit()?;
        self.shed_purges()?;
        self.shed_answers()
    }

    /// Appends an answer. It is in the table after the next [`Self::commit`].
    pub(super) fn append(&mut self, stored: &Stored, ticket: u64) -> io::Result<()> {
        let mut meta = Vec::new();
        record::put_meta(&mut meta, stored);
        let old = self.body_on_disk(stored);
        let kind = if old.is_some() { Kind::Head } else { Kind::Whole };
        let body = match old {
            Some(body) => body,
            None => self.measure(&stored.body)?,
        };
        let mut header = record::header_of(stored, kind, &meta, body);
        // Parts are put together in memory when they are loaded.
        let is_unwieldy = !stored.is_whole() && body.length > INLINE as u64;
        if is_unwieldy || header.record_length() > self.limits().record {
            self.shared.queue.given_up(stored.key.hash() as u64, header.vary, ticket);
            self.shared.give_up(&stored.key);
            return Ok(());
        }
        let offset = self.make_room(header.record_length())?;
        if kind == Kind::Whole {
            header.body.volume = self.current_id();
            header.body.offset = offset + (HEADER + meta.len()) as u32;
        }
        // A body that another record refers to was compared when it was read or written.
        self.put(header, offset, ticket, kind == Kind::Head);
        self.buffer.extend_from_slice(&meta);
        if kind == Kind::Whole {
            self.put_body(&stored.body)?;
        }
        self.commit_if_large()
    }

    fn append_forget(&mut self, hash: u128, ticket: u64) -> io::Result<()> {
        let header = record::forget(hash, u64::MAX);
        let offset = self.make_room(header.record_length())?;
        self.put(header, offset, ticket, false);
        let due = self.shared.now() + SYNC;
        self.sync_at.get_or_insert(due);
        self.commit_if_large()
    }

    /// Puts a header into the buffer, and takes note of its record.
    fn put(&mut self, mut header: Header, offset: u32, ticket: u64, is_verified: bool) {
        self.number += 1;
        header.number = self.number;
        header.volume = self.current_id();
        self.buffer.extend_from_slice(&header.encode());
        // Its length was compared with the longest that there may be.
        if let Some(entry) = IndexEntry::of(&header, offset) {
            self.pending.push(Pending { entry, ticket, is_verified });
        }
    }

    fn put_body(&mut self, body: &Body) -> io::Result<()> {
        let shared = self.shared.clone();
        match body {
            Body::Memory(parts) => {
                for part in parts {
                    if part.bytes.len() <= COPIED {
                        self.buffer.extend_from_slice(&part.bytes);
                    } else {
                        self.flush()?;
                        self.write_data(&part.bytes)?;
                    }
                }
                Ok(())
            }
            Body::Disk(body) => {
                self.flush()?;
                read_through(&shared, &body.file, body.offset, body.length, |bytes| {
                    self.write_data(bytes)
                })
            }
        }
    }

    /// How long a body is, and its checksum.
    fn measure(&self, body: &Body) -> io::Result<BodyPlace> {
        let (length, crc) = match body {
            Body::Memory(parts) => record::crc_of(parts),
            Body::Disk(body) => {
                let mut crc = 0;
                read_through(&self.shared, &body.file, body.offset, body.length, |bytes| {
                    crc = crc32c::crc32c_append(crc, bytes);
                    Ok(())
                })?;
                (body.length, crc)
            }
        };
        Ok(BodyPlace { volume: 0, offset: 0, length, crc })
    }

    /// Where the body of an answer stands already, because the answer that it supersedes has the
    /// same one: it was validated. Small bodies are rather written again.
    fn body_on_disk(&self, stored: &Stored) -> Option<BodyPlace> {
        let length = stored.length.filter(|length| *length > INLINE as u64)?;
        if !stored.is_whole() {
            return None;
        }
        let place =
            self.shared.index.get(stored.key.hash() as u64, record::vary_hash(&stored.vary))?;
        let volume = self.shared.volumes.read().get(&place.volume).cloned()?;
        let header = read_header(&self.shared, &place, &volume).ok()?;
        let body = header.body;
        let of_same = header.hash == stored.key.hash()
            && (body.length, header.length) == (length, Some(length))
            && self.victim != Some(body.volume);
        let home = self.shared.volume(body.volume).filter(|_| of_same)?;
        let offset = u64::from(body.offset);
        let is_same = match &stored.body {
            Body::Disk(disk) => Arc::ptr_eq(&disk.file, &home.data) && disk.offset == offset,
            Body::Memory(parts) => {
                record::crc_of(parts) == (length, body.crc)
                    && parts.iter().all(|part| self.is_at(part, &home, offset + part.offset))
            }
        };
        is_same.then_some(body)
    }

    /// Whether these bytes stand there: a checksum may be the same by chance, or by intent.
    fn is_at(&self, part: &crate::Part, volume: &Volume, offset: u64) -> bool {
        let (mut at, mut is_same) = (0, true);
        let length = part.bytes.len() as u64;
        let read = read_through(&self.shared, &volume.data, offset, length, |bytes| {
            is_same &= part.bytes[at..at + bytes.len()] == *bytes;
            at += bytes.len();
            Ok(())
        });
        read.is_ok() && is_same
    }

    /// Makes sure that a record of so many bytes fits, and says where in the current volume it
    /// begins.
    fn make_room(&mut self, length: u64) -> io::Result<u32> {
        let limits = self.limits();
        let end = self.end();
        let is_full = end > 0 && (end + length > limits.volume || self.has_its_share());
        if self.current.is_none() || is_full {
            self.commit()?;
            self.open_current(length, limits.volume)?;
        }
        let entries = ENTRY * (self.pending.len() + 1);
        // Room for what is written again is kept free, so letting a volume go needs none.
        while self.victim.is_none() && self.slots.len() > 1 {
            let used: u64 = self.slots.iter().map(|slot| slot.volume.bytes()).sum();
            let waits = self.written + self.buffer.len() as u64;
            if used + waits + length + entries as u64 <= limits.total {
                break;
            }
            self.commit()?;
            self.reclaim(true)?;
            if self.current.is_none() {
                self.open_current(length, limits.volume)?;
            }
        }
        u32::try_from(self.end()).map_err(|_| io::ErrorKind::FileTooLarge.into())
    }

    /// Goes on in the last volume, if there is room in it, or begins another one.
    fn open_current(&mut self, length: u64, volume_size: u64) -> io::Result<()> {
        let shared = self.shared.clone();
        let had = self.current.take().is_some();
        if had {
            // What was forgotten in this volume is not written in the next one.
            self.sync();
        }
        let has_share = self.has_its_share();
        if let Some(slot) = self.slots.back().filter(|_| !had && !self.must_begin && !has_share)
            && (slot.ends.data == 0 || slot.ends.data + length <= volume_size)
        {
            // If that fails, another one is begun the next time.
            self.must_begin = true;
            let data = shared.io.open_to_write(&shared.folder.data(slot.volume.id))?;
            let index = shared.io.open_to_write(&shared.folder.index(slot.volume.id))?;
            self.must_begin = false;
            self.current = Some(Current { data, index });
            return Ok(());
        }
        // No number is tried twice.
        let id = self.next_volume;
        self.next_volume = id.wrapping_add(1);
        let path = shared.folder.data(id);
        let data = shared.io.create(&path)?;
        let index = shared
            .io
            .create(&shared.folder.index(id))
            .and_then(|index| Ok((index, File::open(&path)?)));
        let (index, reader) = match index {
            Ok(files) => files,
            Err(error) => {
                // If this fails as well, it is an empty volume, and is skipped.
                let _ = shared.io.remove(&path);
                return Err(error);
            }
        };
        let volume = Arc::new(Volume::new(id, reader));
        shared.volumes.write().insert(id as u16, volume.clone());
        self.slots.push_back(Slot { volume, ends: Ends::default() });
        self.must_begin = false;
        self.current = Some(Current { data, index });
        Ok(())
    }

    /// Ends the current volume, so that it can be let go of.
    pub(super) fn close_current(&mut self) {
        self.current = None;
    }

    fn commit_if_large(&mut self) -> io::Result<()> {
        if self.written as usize + self.buffer.len() >= BUFFER { self.commit() } else { Ok(()) }
    }

    /// Writes what is collected: the data, then what says where it is, then the table.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.flush()?;
        let shared = self.shared.clone();
        let (Some(current), Some(slot)) = (&self.current, self.slots.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let entries: Vec<u8> =
            self.pending.iter().flat_map(|pending| pending.entry.encode()).collect();
        shared.io.write(&current.index, &entries, slot.ends.index)?;
        slot.ends.data += self.written;
        slot.ends.index += entries.len() as u64;
        slot.volume.set_bytes(slot.ends.data + slot.ends.index);
        shared.counters.written_bytes.fetch_add(self.written, Ordering::Relaxed);
        self.written = 0;
        for Pending { entry, ticket, is_verified } in self.pending.drain(..) {
            let hash = entry.hash as u64;
            slot.volume.note(&entry);
            self.committed = self.committed.max(ticket);
            if entry.kind == Kind::Forget {
                shared.queue.forgotten(hash, ticket);
                continue;
            }
            let mut place = Place::of(&entry);
            if is_verified {
                place.set_verified();
            }
            shared.index.insert(place, || shared.queue.admits(hash, place.vary, ticket));
            shared.counters.written.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes the buffer behind what is there.
    fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write_data(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    fn write_data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (Some(current), Some(slot)) = (&self.current, self.slots.back()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.shared.io.write(&current.data, bytes, slot.ends.data + self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what was not written to its end. What is there of it is cut off, before anything else is
    /// written: whole records may be, which the next start would find.
    pub(super) fn discard(&mut self) {
        let has_written = self.written > 0 || !self.pending.is_empty();
        self.buffer.clear();
        self.pending.clear();
        self.written = 0;
        self.must_cut |= has_written && self.current.is_some();
        // If it fails, it is tried again with the next batch.
        let _ = self.cut();
    }

    /// Makes both files end where what is sound ends, if that is due.
    fn cut(&mut self) -> io::Result<()> {
        if let (Some(current), Some(slot)) = (&self.current, self.slots.back())
            && self.must_cut
        {
            self.shared.io.truncate(&current.data, slot.ends.data)?;
            self.shared.io.truncate(&current.index, slot.ends.index)?;
        }
        self.must_cut = false;
        Ok(())
    }

    /// Where in the current volume the next record begins.
    fn end(&self) -> u64 {
        let end = self.slots.back().map_or(0, |slot| slot.ends.data);
        end + self.written + self.buffer.len() as u64
    }

    fn current_id(&self) -> u32 {
        self.slots.back().map_or(0, |slot| slot.volume.id)
    }

    /// Lets go of purges that no record is older than; and of records, where there are too many.
    fn shed_purges(&mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        purges::compact(&shared.log, &shared.io, &shared.folder, shared.oldest())?;
        while shared.log.lock().is_crowded() && self.slots.len() > 1 {
            self.reclaim(false)?;
        }
        Ok(())
    }

    /// Lets go of the oldest answers, where the table has more than it may have.
    fn shed_answers(&mut self) -> io::Result<()> {
        while self.shared.index.len() > self.most() && self.slots.len() > 1 {
            self.reclaim(false)?;
        }
        Ok(())
    }

    /// How many answers the table may have.
    pub(super) fn most(&self) -> u64 {
        self.shared.most.load(Ordering::Relaxed)
    }

    /// Whether the current volume has so many records that letting it go would cost too much.
    fn has_its_share(&self) -> bool {
        let written = self.slots.back().map_or(0, |slot| slot.ends.index / ENTRY as u64);
        written + self.pending.len() as u64 >= self.most() / SHARES
    }

    fn sync_purges(&mut self) {
        let shared = self.shared.clone();
        let file = {
            let mut log = shared.log.lock();
            log.pay(&shared.io).and_then(|()| log.file().transpose())
        };
        let synced = file.and_then(|file| file.map_or(Ok(()), |file| shared.io.sync(&file)));
        if let Err(error) = synced {
            shared.note_trouble(Attempt::Write, &error);
        }
    }

    /// Brings the last volume to the disk itself, if something was forgotten.
    fn sync(&mut self) {
        let is_due = self.sync_at.take().is_some() && self.is_owner;
        let Some(slot) = self.slots.back().filter(|_| is_due) else { return };
        let shared = &self.shared;
        let index = File::open(shared.folder.index(slot.volume.id));
        let synced =
            shared.io.sync(&slot.volume.data).and_then(|()| index.and_then(|i| shared.io.sync(&i)));
        if let Err(error) = synced {
            shared.note_trouble(Attempt::Write, &error);
        }
    }
}
