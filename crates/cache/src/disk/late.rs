//! Purges that come to a process that has left the folder to another one. It still finishes what
//! runs, and what that changes at the origins has to be known to whoever writes now. So each of
//! these processes has a file of its own, which it holds the lock of for as long as it lives; who
//! writes reads what comes there, until the lock is free, and removes the file.
//!
//! Lines are as in the file of purges. A file that is found at a start is read once more: what was
//! purged twice is purged.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::folder::Folder;
use super::io::Io;
use super::purges::{FRAME, LONGEST, NotedPurge, parse};

/// What is read of a file at once; more than any line.
const CHUNK: usize = 1 << 20;

const _: () = assert!(CHUNK > FRAME + LONGEST);

/// How often it is looked for more, in milliseconds.
pub(super) const EVERY: u64 = 200;

/// Makes the file of this process, and locks it. The lock of the folder is still held: nobody
/// looks for it before it is locked.
pub(super) fn begin(io: &Io, folder: &Folder) -> io::Result<File> {
    let file = io.append_to(&folder.late(&unique_name()))?;
    file.try_lock().map_err(io::Error::from)?;
    Ok(file)
}

/// That no other process has, nor had.
fn unique_name() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{:08x}{:016x}", std::process::id(), now.map_or(0, |now| now.as_nanos() as u64))
}

/// The files of others.
#[derive(Default)]
pub(super) struct Lates(Vec<Late>);

struct Late {
    path: PathBuf,
    file: File,
    /// What was read of it.
    read: u64,
    /// Nobody writes there any more, and all of it was read.
    ended: bool,
}

impl Lates {
    /// Looks for those that are there.
    pub(super) fn find(&mut self, folder: &Folder) -> io::Result<()> {
        for path in folder.lates()? {
            if self.0.iter().any(|late| late.path == path) {
                continue;
            }
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            self.0.push(Late { path, file, read: 0, ended: false });
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What has come since. A file that had ended by the last time is removed: what was in it has
    /// been taken over meanwhile.
    pub(super) fn read(&mut self, io: &Io) -> io::Result<Vec<NotedPurge>> {
        for ended in self.0.extract_if(.., |late| late.ended) {
            match io.remove(&ended.path) {
                // Somebody else has read it too.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let mut purges = Vec::new();
        for late in &mut self.0 {
            late.read_more(&mut purges)?;
        }
        Ok(purges)
    }
}

impl Late {
    fn read_more(&mut self, purges: &mut Vec<NotedPurge>) -> io::Result<()> {
        // Asked before it is read: nothing comes after that.
        let is_alone = self.file.try_lock().is_ok();
        let mut bytes = vec![0; CHUNK];
        let read = self.file.read_at(&mut bytes, self.read)?;
        let (found, length) = parse(&bytes[..read]);
        purges.extend(found);
        self.read += length as u64;
        self.ended = is_alone && read < CHUNK;
        Ok(())
    }
}
