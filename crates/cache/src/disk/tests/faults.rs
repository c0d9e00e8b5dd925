//! Files that fail.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;

/// What goes wrong. The default: nothing.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Inner>);

struct Inner {
    /// A folder, and the bytes that there is room for in it.
    room: Mutex<Option<(PathBuf, u64)>>,
    /// Bytes that are written until the process is dead: what it does then has no effect.
    life: AtomicI64,
    fail_reads: AtomicBool,
    fail_writes: Mutex<Option<io::ErrorKind>>,
    /// How long files were when they were brought to the disk itself, by the number of their inode.
    synced: Arc<Mutex<HashMap<u64, u64>>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            room: Mutex::new(None),
            life: AtomicI64::new(i64::MAX),
            fail_reads: AtomicBool::new(false),
            fail_writes: Mutex::new(None),
            synced: Arc::default(),
        }
    }
}

impl Faults {
    /// For the next process on the same files.
    pub(crate) fn reborn(&self) -> Self {
        Self(Arc::new(Inner { synced: self.0.synced.clone(), ..Inner::default() }))
    }

    /// The power was lost. Of each file that begins to be written where it was synced, `keep`
    /// says what is there afterwards: it gets what was written, and that length.
    pub(crate) fn lose_power(&self, folder: &Path, mut keep: impl FnMut(&mut Vec<u8>, usize)) {
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.collect();
        files.sort();
        let mut synced = self.0.synced.lock();
        for path in files {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name == "purges" || name.ends_with(".data") || name.ends_with(".index") {
                let number = std::fs::metadata(&path).unwrap().ino();
                let mut bytes = std::fs::read(&path).unwrap();
                let sure = synced.get(&number).map_or(0, |length| *length as usize);
                if sure < bytes.len() {
                    keep(&mut bytes, sure);
                    std::fs::write(&path, &bytes).unwrap();
                }
                synced.insert(number, bytes.len() as u64);
            }
        }
    }

    /// Dies after so many bytes; making or removing a file counts as one.
    pub(crate) fn die_after(&self, bytes: i64) {
        self.0.life.store(bytes, Ordering::SeqCst);
    }

    /// The disk has room for so many bytes.
    pub(super) fn room_for(&self, folder: &Path, bytes: u64) {
        *self.0.room.lock() = Some((folder.to_owned(), bytes));
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.life.load(Ordering::SeqCst) <= 0
    }

    pub(super) fn fail_reads(&self, fail: bool) {
        self.0.fail_reads.store(fail, Ordering::SeqCst);
    }

    pub(super) fn fail_writes(&self, kind: Option<io::ErrorKind>) {
        *self.0.fail_writes.lock() = kind;
    }

    pub(in crate::disk) fn before_write(
        &self,
        file: &File,
        bytes: &[u8],
        at: u64,
    ) -> io::Result<()> {
        if let Some(kind) = *self.0.fail_writes.lock() {
            // What fits is written all the same.
            file.write_all_at(&bytes[..bytes.len() / 2], at)?;
            return Err(kind.into());
        }
        if let Some((folder, room)) = &*self.0.room.lock() {
            let files = std::fs::read_dir(folder)?;
            let used: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
            if used + bytes.len() as u64 > *room {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let left = self.0.life.fetch_sub(bytes.len() as i64, Ordering::SeqCst);
        if left < bytes.len() as i64 {
            if left > 0 {
                file.write_all_at(&bytes[..left as usize], at)?;
            }
            self.0.life.store(0, Ordering::SeqCst);
            return Err(io::Error::other("dead"));
        }
        Ok(())
    }

    pub(in crate::disk) fn before_change(&self) -> io::Result<()> {
        if let Some(kind) = *self.0.fail_writes.lock() {
            return Err(kind.into());
        }
        if self.0.life.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.0.life.store(0, Ordering::SeqCst);
            return Err(io::Error::other("dead"));
        }
        Ok(())
    }

    /// No test waits for a disk: it is taken down what would be there after a loss of power.
    pub(in crate::disk) fn before_sync(&self, file: &File) -> io::Result<()> {
        // What has no effect on files does not wear out its life: when it is done depends on a clock.
        if self.is_dead() {
            return Err(io::Error::other("dead"));
        }
        let about = file.metadata()?;
        self.0.synced.lock().insert(about.ino(), about.len());
        Ok(())
    }

    pub(in crate::disk) fn after_create(&self, file: &File) -> io::Result<()> {
        // The number may be that of a file that is gone.
        self.0.synced.lock().remove(&file.metadata()?.ino());
        Ok(())
    }

    pub(in crate::disk) fn before_read(&self) -> io::Result<()> {
        let fails = self.0.fail_reads.load(Ordering::SeqCst);
        if fails { Err(io::Error::other("unreadable")) } else { Ok(()) }
    }
}
