//! Tests of the whole tier, with files.

mod basics;
mod crashes;
pub(crate) mod faults;
mod folders;
mod room;
mod torn;
mod two;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::io::Io;
use super::{Disk, NotedPurge, Upper};
use crate::samples::{fields, key, stored};
use crate::{Body, Facts, Stored, Vary};
pub(crate) use faults::Faults;

const KIB: usize = 1024;
const MIB: u64 = 1 << 20;

/// Knows nothing, and remembers what it is told.
#[derive(Default)]
struct Recorder {
    learned: Mutex<Vec<NotedPurge>>,
    purged: Mutex<Vec<Box<[u8]>>>,
    is_purged: AtomicBool,
}

impl Upper for Recorder {
    fn is_purged(&self, _: &Stored) -> bool {
        self.is_purged.load(Ordering::SeqCst)
    }

    fn learn(&self, purge: &NotedPurge) {
        self.learned.lock().push(purge.clone());
    }

    fn purge(&self, what: &[u8]) {
        self.purged.lock().push(what.into());
    }

    fn is_used(&self, _: u128) -> bool {
        false
    }

    fn let_go(&self, _: &Arc<std::fs::File>) {}
}

fn open(folder: &Path) -> Arc<Disk> {
    open_sized(folder, 64 * MIB)
}

fn open_sized(folder: &Path, size: u64) -> Arc<Disk> {
    open_with(folder, size, &Faults::default())
}

fn open_with(folder: &Path, size: u64, faults: &Faults) -> Arc<Disk> {
    let io = Io { faults: faults.clone() };
    let disk = Disk::open_with(folder, size, Arc::new(Recorder::default()), io).unwrap();
    disk.start().unwrap();
    disk.settle();
    Arc::new(disk)
}

impl Disk {
    /// The same as [`Disk::open`], on a disk that may fail.
    pub(crate) fn open_failing(
        folder: &Path,
        size: u64,
        upper: Arc<dyn Upper>,
        faults: &Faults,
    ) -> Result<Self, super::DiskError> {
        Self::open_with(folder, size, upper, Io { faults: faults.clone() })
    }

    /// Goes on to a later time.
    pub(crate) fn pass(&self, millis: u64) {
        later(self, millis);
    }

    /// Waits until all is written that is written later, purges included, and what is due is done.
    pub(crate) fn settle_all(&self) {
        self.settle();
        // The writer takes purges before what was handed over. There is nothing to be ended.
        self.forget(&crate::Key::new(b"nothing"));
        self.settle();
    }
}

/// All answers under a key.
fn all(disk: &Disk, key: &crate::Key) -> Vec<Stored> {
    disk.load(key, |_| true).into_iter().map(|loaded| loaded.stored).collect()
}

/// Bytes that are not the same anywhere.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(step).collect()
}

fn put(disk: &Disk, stored: Stored) {
    assert!(disk.store(Arc::new(stored)));
    disk.settle();
}

/// The bytes of a body, wherever it is.
fn body_of(stored: &Stored) -> Vec<u8> {
    match &stored.body {
        Body::Memory(_) => crate::samples::body(stored),
        Body::Disk(body) => {
            let mut bytes = vec![0; body.length as usize];
            std::os::unix::fs::FileExt::read_exact_at(&*body.file, &mut bytes, body.offset)
                .unwrap();
            bytes
        }
    }
}

/// The bodies under a key.
fn bodies(disk: &Disk, path: &str) -> Vec<Vec<u8>> {
    all(disk, &key(path)).iter().map(body_of).collect()
}

fn of_kind(path: &str, kind: &str, body: impl Into<bytes::Bytes>) -> Stored {
    let vary = Vary::of(&["x-kind".into()], &fields(&[("x-kind", kind)]));
    Stored { vary, ..stored(path, body) }
}

fn with_lifetime(path: &str, body: impl Into<bytes::Bytes>, lifetime: u64) -> Stored {
    Stored { facts: Facts { lifetime, ..Facts::default() }, ..stored(path, body) }
}

/// Goes on to a later time.
fn later(disk: &Disk, millis: u64) {
    disk.shared.counters.later.fetch_add(millis, Ordering::SeqCst);
    disk.shared.queue.ask_sync();
}
