//! A volume: a file of records, and what its index says of them.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{ENTRY, IndexEntry};
use super::folder::Folder;
use super::io::Io;
use super::record::{HEADER, Header};

/// A volume that can be read. Who has this can read it, also when its name is gone.
pub(super) struct Volume {
    pub id: u32,
    pub data: Arc<File>,
    /// How long the two files are.
    bytes: AtomicU64,
    /// The lowest `purged_by` of its records.
    oldest: AtomicU64,
}

impl Volume {
    pub(super) fn new(id: u32, data: File) -> Self {
        let oldest = AtomicU64::new(u64::MAX);
        Self { id, data: Arc::new(data), bytes: AtomicU64::new(0), oldest }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Relaxed)
    }

    /// Takes note of a record in it.
    pub(super) fn note(&self, entry: &IndexEntry) {
        self.oldest.fetch_min(entry.purged_by, Ordering::Relaxed);
    }
}

/// How far a volume was read or written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub data: u64,
    pub index: u64,
}

/// What was read of a volume.
#[derive(Default)]
pub(super) struct Scan {
    /// In the order of the file, without a gap.
    pub entries: Vec<IndexEntry>,
    /// How many of them the index file has; the others were found in the data.
    pub indexed: usize,
    /// Where the sound part of both files ends.
    pub ends: Ends,
}

/// Reads the index of a volume from where one has read it to, as far as it is sound and says
/// nothing about bytes that are not there.
pub(super) fn read_index(
    io: &Io,
    folder: &Folder,
    volume: &Volume,
    from: Ends,
) -> io::Result<Scan> {
    let mut scan = Scan { ends: from, ..Scan::default() };
    let file = match File::open(folder.index(volume.id)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(scan),
        Err(error) => return Err(error),
    };
    // In this order: somebody may be writing, and writes the data first.
    let end = file.metadata()?.len();
    let data_length = volume.data.metadata()?.len();
    let mut buffer = vec![0; 1 << 20];
    while scan.ends.index + ENTRY as u64 <= end {
        let left = (end - scan.ends.index).min(buffer.len() as u64) as usize;
        let chunk = &mut buffer[..left - left % ENTRY];
        io.read(&file, chunk, scan.ends.index)?;
        for bytes in chunk.chunks_exact(ENTRY) {
            let Some(entry) = IndexEntry::decode(bytes).filter(|entry| {
                entry.volume == volume.id
                    && u64::from(entry.offset) == scan.ends.data
                    && entry.end() <= data_length
            }) else {
                return Ok(scan);
            };
            scan.ends = Ends { data: entry.end(), index: scan.ends.index + ENTRY as u64 };
            scan.entries.push(entry);
            scan.indexed += 1;
        }
    }
    Ok(scan)
}

/// Goes on in the data where the index ends: a record that was written to its end before its entry
/// was is a record. Nobody may be writing.
pub(super) fn walk_data(io: &Io, volume: &Volume, scan: &mut Scan) -> io::Result<()> {
    let end = volume.data.metadata()?.len();
    let mut bytes = [0; HEADER];
    while scan.ends.data + HEADER as u64 <= end {
        io.read(&volume.data, &mut bytes, scan.ends.data)?;
        let header = Header::decode(&bytes).filter(|header| header.volume == volume.id);
        let Some(header) = header else { break };
        let offset = u32::try_from(scan.ends.data).ok();
        let Some(entry) = offset.and_then(|offset| IndexEntry::of(&header, offset)) else { break };
        if entry.end() > end {
            break;
        }
        scan.ends.data = entry.end();
        scan.entries.push(entry);
    }
    Ok(())
}
