//! Looking at what is in the folder: the writer begins with this, and does it again when it takes
//! over from another process.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::Shared;
use super::entry::IndexEntry;
use super::index::Place;
use super::record::Kind;
use super::trouble::Attempt;
use super::volume::{Ends, Scan, Volume, read_index, walk_data};
use super::writer::{Slot, Writer};

/// Numbers of volumes that exist at once lie within this: tables know only the lower half.
const SPAN: u32 = 60_000;

impl Writer {
    /// Makes the table from all volumes. The newest comes first, and in it the newest record: so
    /// what is found at any moment is not superseded.
    pub(super) fn scan_all(&mut self) {
        let shared = self.shared.clone();
        if let Err(error) = self.find_volumes() {
            shared.note_trouble(Attempt::Read, &error);
        }
        // Keys that are forgotten. None is there without something to be forgotten, so there are
        // fewer of these than of records.
        let mut forgotten = HashSet::new();
        for at in (0..self.slots.len()).rev() {
            // It is looked up meanwhile.
            self.listen();
            let scan = match self.look_at(at) {
                Ok(scan) => scan,
                Err(error) => {
                    // What stands in it may supersede what is older.
                    shared.note_trouble(Attempt::Read, &error);
                    self.drop_oldest(at + 1);
                    break;
                }
            };
            let slot = &self.slots[at];
            for entry in scan.entries.iter().rev() {
                let hash = entry.hash as u64;
                if entry.kind == Kind::Forget {
                    forgotten.insert(hash);
                } else if !(forgotten.contains(&hash) || lacks_body(&shared, entry)) {
                    let admit = || shared.queue.admits(hash, entry.vary, 0);
                    shared.index.insert_older(Place::of(entry), admit);
                }
                slot.volume.note(entry);
                shared.urls.add(entry.url);
                self.number = self.number.max(entry.number);
            }
            if shared.index.len() > self.most() {
                self.drop_oldest(at);
                break;
            }
        }
    }

    /// Takes over from another process: what it has written since is newer than what is known.
    pub(super) fn catch_up(&mut self) {
        let shared = self.shared.clone();
        if let Err(error) = self.find_volumes() {
            shared.note_trouble(Attempt::Read, &error);
        }
        let mut at = 0;
        while at < self.slots.len() {
            let scan = match self.look_at(at) {
                Ok(scan) => scan,
                Err(error) => {
                    shared.note_trouble(Attempt::Read, &error);
                    self.drop_oldest(at + 1);
                    at = 0;
                    continue;
                }
            };
            for entry in &scan.entries {
                let hash = entry.hash as u64;
                if entry.kind == Kind::Forget {
                    shared.index.remove_key(hash);
                } else {
                    let admit = || shared.queue.admits(hash, entry.vary, 0);
                    shared.index.insert(Place::of(entry), admit);
                }
                self.slots[at].volume.note(entry);
                shared.urls.add(entry.url);
                self.number = self.number.max(entry.number);
            }
            at += 1;
        }
    }

    /// Opens the volumes that are not known yet, and lets go of those that are gone.
    fn find_volumes(&mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        let (data, index) = shared.folder.volumes()?;
        let gone: Vec<u32> = self.slots.iter().map(|slot| slot.volume.id).collect();
        for id in gone.into_iter().filter(|id| data.binary_search(id).is_err()) {
            self.slots.retain(|slot| slot.volume.id != id);
            let volume = shared.volumes.write().remove(&(id as u16));
            shared.index.remove_volume(id);
            if let Some(volume) = volume {
                shared.upper.let_go(&volume.data);
            }
        }
        let newest = data.last().copied().unwrap_or(0);
        self.next_volume = self.next_volume.max(if data.is_empty() { 0 } else { newest + 1 });
        // The newest first: where one cannot be opened, what is older may be superseded.
        let mut is_sound = true;
        for id in data.iter().rev() {
            if self.slots.iter().any(|slot| slot.volume.id == *id) {
                continue;
            }
            match File::open(shared.folder.data(*id)) {
                Ok(file) if is_sound && newest - id < SPAN => {
                    let volume = Arc::new(Volume::new(*id, file));
                    shared.volumes.write().insert(*id as u16, volume.clone());
                    self.slots.push_back(Slot { volume, ends: Ends::default() });
                }
                // The process that writes has let go of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => {
                    if let Err(error) = result {
                        shared.note_trouble(Attempt::Read, &error);
                    }
                    is_sound = false;
                    if self.is_owner {
                        shared.io.remove(&shared.folder.data(*id))?;
                    }
                }
            }
        }
        self.slots.make_contiguous().sort_unstable_by_key(|slot| slot.volume.id);
        if self.is_owner {
            for id in index.iter().filter(|id| data.binary_search(id).is_err()) {
                shared.io.remove(&shared.folder.index(*id))?;
            }
        }
        Ok(())
    }

    /// Reads what is new of a volume. Who writes also looks for records without an entry, gives
    /// them one, and cuts off what was not written to its end.
    fn look_at(&mut self, at: usize) -> io::Result<Scan> {
        let shared = self.shared.clone();
        let slot = &mut self.slots[at];
        let mut scan = read_index(&shared.io, &shared.folder, &slot.volume, slot.ends)?;
        if self.is_owner {
            let index_end = scan.ends.index;
            walk_data(&shared.io, &slot.volume, &mut scan)?;
            scan.ends.index += 64 * (scan.entries.len() - scan.indexed) as u64;
            if let Err(error) = repair(&shared, slot.volume.id, &scan, index_end) {
                shared.note_trouble(Attempt::Write, &error);
                // Nothing is written behind an end that is not certain.
                self.must_begin = true;
            }
        }
        slot.ends = scan.ends;
        slot.volume.set_bytes(scan.ends.data + scan.ends.index);
        Ok(scan)
    }
}

/// Whether the body of a record is in a volume that is gone.
fn lacks_body(shared: &Shared, entry: &IndexEntry) -> bool {
    entry.kind == Kind::Head && shared.volume(entry.body_volume).is_none()
}

/// Makes both files end where what is sound ends.
fn repair(shared: &Shared, id: u32, scan: &Scan, index_end: u64) -> io::Result<()> {
    let data = shared.io.open_to_write(&shared.folder.data(id))?;
    if data.metadata()?.len() != scan.ends.data {
        shared.io.truncate(&data, scan.ends.data)?;
    }
    let index = shared.folder.index(id);
    let index = match shared.io.open_to_write(&index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => shared.io.create(&index)?,
        result => result?,
    };
    if index.metadata()?.len() != index_end {
        shared.io.truncate(&index, index_end)?;
    }
    let found = scan.entries[scan.indexed..].iter().flat_map(IndexEntry::encode);
    shared.io.write(&index, &found.collect::<Vec<_>>(), index_end)
}
