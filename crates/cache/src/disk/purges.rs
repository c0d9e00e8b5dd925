//! The file of purges. What a purge is about is bytes here: whoever notes it knows how to read
//! them. It grows at its end until no record is older than what it begins with.
//!
//! A line is `magic, length, number, bytes, checksum`. One that was not written to its end does
//! not hide those behind it: reading goes on at the next magic.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;

use parking_lot::Mutex;

use super::codec::Reader;
use super::folder::Folder;
use super::io::Io;

/// What a line begins with.
const MAGIC: [u8; 4] = *b"Pur1";

/// Bytes of a line beside what the purge is about.
pub(super) const FRAME: usize = 20;

/// Longest description of a purge.
pub(super) const LONGEST: usize = 64 << 10;

/// A file that is shorter than this is left as it is.
const SHORT: u64 = 64 << 10;

/// More purges than this are not kept: the oldest records go, and with them the need for these.
pub(super) const MOST: usize = 1 << 18;

/// A purge as it is noted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NotedPurge {
    /// It is about what was stored with a lower `purged_by`.
    pub number: u64,
    /// What it is about, as whoever noted it wrote it.
    pub what: Box<[u8]>,
}

/// The file.
pub(super) struct PurgeLog {
    /// `None`: it could not be opened.
    file: Option<File>,
    /// Purges that could not be written yet.
    owed: Vec<NotedPurge>,
    /// How many there are in the file.
    count: usize,
    /// How long the file was when it was made anew.
    compacted: u64,
    /// The highest number that was removed: what is older cannot be stored any more.
    floor: u64,
    /// Until this process writes: the lines that it knows, and its own purges, which the other one
    /// may have written over.
    reader: Option<(HashSet<u128>, Vec<NotedPurge>)>,
    /// Which file was read last, and how long it was.
    seen: (u64, u64),
}

impl PurgeLog {
    /// Opens the file and reads it.
    pub(super) fn open(io: &Io, folder: &Folder) -> io::Result<(Self, Vec<NotedPurge>)> {
        let file = io.append_to(&folder.purges())?;
        let (purges, _) = parse(&fs::read(folder.purges())?);
        let known = purges.iter().map(|purge| crate::hash(&line_of(purge))).collect();
        let mut log = Self {
            file: Some(file),
            owed: Vec::new(),
            count: 0,
            compacted: 0,
            floor: 0,
            reader: Some((known, Vec::new())),
            seen: (0, 0),
        };
        log.count = purges.len();
        Ok((log, purges))
    }

    /// Notes a purge. What cannot be written is kept, and written before the next record is.
    pub(super) fn note(&mut self, io: &Io, purge: NotedPurge) -> io::Result<()> {
        if purge.what.len() > LONGEST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some((_, own)) = &mut self.reader {
            own.push(purge.clone());
        }
        self.owed.push(purge);
        self.pay(io)
    }

    /// Takes note of purges that are to be written next.
    pub(super) fn owe(&mut self, purges: &[NotedPurge]) {
        if let Some((_, own)) = &mut self.reader {
            own.extend_from_slice(purges);
        }
        self.owed.extend_from_slice(purges);
    }

    /// How many wait to be written.
    pub(super) fn owes(&self) -> usize {
        self.owed.len()
    }

    /// Forgets what waits to be written: there is nothing any more that it could be about.
    pub(super) fn forgive(&mut self) {
        self.owed.clear();
    }

    /// Writes what could not be written before.
    pub(super) fn pay(&mut self, io: &Io) -> io::Result<()> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let lines: Vec<u8> = self.owed.iter().flat_map(line_of).collect();
        io.append(file, &lines)?;
        let paid = std::mem::take(&mut self.owed);
        self.count += paid.len();
        Ok(())
    }

    /// The file, to be brought to the disk.
    pub(super) fn file(&self) -> Option<io::Result<File>> {
        self.file.as_ref().map(File::try_clone)
    }

    /// What is older than this must not be stored: nobody knows any more by what it was purged.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether there are more purges than are kept.
    pub(super) fn is_crowded(&self) -> bool {
        self.count > MOST
    }

    /// What the process that writes has noted since the file was read, as long as this one does not. A look at
    /// the file's name costs a system call.
    pub(super) fn read_new(&mut self, folder: &Folder) -> io::Result<Vec<NotedPurge>> {
        let Some((known, own)) = &mut self.reader else { return Ok(Vec::new()) };
        let file = fs::metadata(folder.purges())?;
        let seen = (file.ino(), file.len());
        if seen == self.seen {
            return Ok(Vec::new());
        }
        let (purges, _) = parse(&fs::read(folder.purges())?);
        self.seen = seen;
        let is_new = |purge: &&NotedPurge| {
            !own.contains(purge) && known.insert(crate::hash(&line_of(purge)))
        };
        Ok(purges.iter().filter(is_new).cloned().collect())
    }

    /// From here on this process writes: returns what others have noted since the file was read.
    pub(super) fn take_over(&mut self, io: &Io, folder: &Folder) -> io::Result<Vec<NotedPurge>> {
        let file = io.append_to(&folder.purges())?;
        let (purges, _) = parse(&fs::read(folder.purges())?);
        self.file = Some(file);
        self.count = purges.len();
        self.compacted = 0;
        let Some((known, own)) = self.reader.take() else { return Ok(Vec::new()) };
        let there: HashSet<_> = purges.iter().collect();
        for purge in own.iter().filter(|purge| !there.contains(purge)) {
            if !self.owed.contains(purge) {
                self.owed.push(purge.clone());
            }
        }
        let own: HashSet<_> = own.iter().collect();
        let learned = purges
            .iter()
            .filter(|purge| !own.contains(purge) && !known.contains(&crate::hash(&line_of(purge))));
        Ok(learned.cloned().collect())
    }

    /// From here on another process writes. What is noted goes to a file of its own, which the other
    /// one reads; `None`: there is none.
    pub(super) fn retire(&mut self, late: Option<File>) {
        self.file = late;
    }

    /// The length of the file, if it is worthwhile to make it anew: it is twice as long as then, or
    /// longer and too much is in it.
    fn is_worth_compacting(&self) -> io::Result<Option<u64>> {
        let Some(file) = self.file.as_ref().filter(|_| self.count > 1) else { return Ok(None) };
        let length = file.metadata()?.len();
        let has_grown = length >= SHORT.max(2 * self.compacted);
        let is_too_much = self.is_crowded() && length > self.compacted;
        Ok((has_grown || is_too_much).then_some(length))
    }

    /// Records went, and with them perhaps the need for many: the next time it is worthwhile.
    pub(super) fn expect_less(&mut self) {
        self.compacted /= 2;
    }
}

/// Removes the purges that no record is older than, and all but the newest of those that are about
/// the same, if that is worth it. Only the process that
/// writes does that, and only its writer. `oldest`: the lowest `purged_by` that there is.
pub(super) fn compact(
    log: &Mutex<PurgeLog>,
    io: &Io,
    folder: &Folder,
    oldest: u64,
) -> io::Result<()> {
    let Some(length) = log.lock().is_worth_compacting()? else { return Ok(()) };
    let length = length as usize;
    let bytes = fs::read(folder.purges())?;
    let (mut purges, _) = parse(&bytes[..length.min(bytes.len())]);
    // The last one says where numbers go on.
    let last = purges.iter().map(|purge| purge.number).max().unwrap_or(0);
    let (before, mut floor) = (purges.len(), 0);
    purges.retain(|purge| {
        let stays = purge.number > oldest || purge.number == last;
        floor = floor.max(if stays { 0 } else { purge.number });
        stays
    });
    retain_newest(&mut purges);
    if purges.len() == before {
        log.lock().compacted = length as u64;
        return Ok(());
    }
    let path = folder.purges_new();
    match io.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = io.append_to(&path)?;
    io.append(&file, &purges.iter().flat_map(line_of).collect::<Vec<_>>())?;
    io.sync(&file)?;
    let file_length = file.metadata()?.len();
    let mut log = log.lock();
    let bytes = fs::read(folder.purges())?;
    let since = &bytes[length.min(bytes.len())..];
    io.append(&file, since)?;
    io.rename(&path, &folder.purges())?;
    log.file = Some(file);
    log.floor = log.floor.max(floor);
    log.compacted = file_length;
    log.count = purges.len() + parse(since).0.len();
    Ok(())
}

/// Of purges of the same, only the newest: it is about all that the others were about.
fn retain_newest(purges: &mut Vec<NotedPurge>) {
    let mut newest: HashMap<Box<[u8]>, u64> = HashMap::new();
    for purge in &*purges {
        let number = newest.entry(purge.what.clone()).or_default();
        *number = purge.number.max(*number);
    }
    // Once: the same line may stand there twice.
    purges.retain(|purge| {
        let is_newest = newest.get(&purge.what) == Some(&purge.number);
        is_newest && newest.remove(&purge.what).is_some()
    });
}

fn line_of(purge: &NotedPurge) -> Vec<u8> {
    let mut line = MAGIC.to_vec();
    line.extend_from_slice(&(purge.what.len() as u32).to_le_bytes());
    line.extend_from_slice(&purge.number.to_le_bytes());
    line.extend_from_slice(&purge.what);
    let crc = crc32c::crc32c(&line);
    line.extend_from_slice(&crc.to_le_bytes());
    line
}

/// The lines in these bytes, and where the last one ends.
pub(super) fn parse(all: &[u8]) -> (Vec<NotedPurge>, usize) {
    let (mut purges, mut bytes, mut end) = (Vec::new(), all, 0);
    while let Some(at) = memchr::memmem::find(bytes, &MAGIC) {
        bytes = &bytes[at..];
        match parse_line(bytes) {
            Some(purge) => {
                bytes = &bytes[FRAME + purge.what.len()..];
                purges.push(purge);
                end = all.len() - bytes.len();
            }
            None => bytes = &bytes[MAGIC.len()..],
        }
    }
    (purges, end)
}

fn parse_line(bytes: &[u8]) -> Option<NotedPurge> {
    let mut reader = Reader::new(bytes);
    reader.take(MAGIC.len())?;
    let length = reader.u32()? as usize;
    let number = reader.u64()?;
    let what = reader.take(length)?;
    let covered = &bytes[..MAGIC.len() + 12 + length];
    (reader.u32()? == crc32c::crc32c(covered)).then(|| NotedPurge { number, what: what.into() })
}
