//! What is stored for a request: in memory, else on the disk.
//!
//! The disk is read on threads of its own, which the core waits for only so long: a disk that hangs
//! is one that has nothing, and is left alone for a while. What takes its time is no reason for
//! that: there is more of it for what is large.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cache::{Body, Cache, Found, Key, Stored};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::lines::Lines;
use crate::exchange::Exchange;

/// What a disk may take for one answer, beside what is read of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that the slowest of disks reads in a second.
const PACE: u64 = 16 << 20;

/// Loads that run at once in the process. Who would be one too many asks the origin.
const MOST: usize = 32;

/// How long a request waits at most. Longer is for what is large, which then comes from the origin.
const LONGEST: Duration = Duration::from_secs(4);

/// How long a piece of a body may be under way.
pub(super) const OVERDUE: Duration = Duration::from_secs(3);

/// By the hash of the key: one reads the disk for all who ask for the same.
static LINES: Lines<u128> = Lines::new();

/// By when everything that is being read now should be there.
static READINGS: Mutex<BTreeSet<(Instant, u64)>> = Mutex::new(BTreeSet::new());

/// What is stored for a request.
pub(super) async fn find(x: &mut Exchange<'_>, wanted: &Key) -> Found {
    let cache = &x.core.cache;
    let found = match cache.find(wanted, &x.request.fields) {
        Found::Here(stored) if is_out_of_reach(cache, &stored) => Found::OtherVariants,
        found => found,
    };
    if matches!(found, Found::Here(_)) || !cache.may_load(wanted) {
        return found;
    }
    load(x, wanted).await.unwrap_or(found)
}

/// Whether the body of an answer is on a disk that hangs, as is seen by others who wait for it.
pub(super) fn is_out_of_reach(cache: &Cache, stored: &Stored) -> bool {
    let hangs = matches!(stored.body, Body::Disk(_)) && Reading::any_is_overdue();
    if hangs {
        cache.note_hanging_disk();
    }
    hangs
}

/// `None`: there is nothing, or it cannot be had.
async fn load(x: &mut Exchange<'_>, wanted: &Key) -> Option<Found> {
    let cache = Arc::clone(&x.core.cache);
    let patience = PATIENCE + Duration::from_millis(cache.bytes_to_load(wanted) * 1000 / PACE);
    let wait = patience.min(LONGEST);
    let turn = LINES.join(wanted.hash());
    let _turn = x.guard.within(wait, turn.come()).await.ok()?;
    // Whoever was before has brought it, or seen that it cannot be had.
    let found = cache.find(wanted, &x.request.fields);
    if matches!(found, Found::Here(_)) || !cache.may_load(wanted) {
        return Some(found);
    }
    let reading = Reading::begin_load(patience)?;
    let (key, fields, from) = (wanted.clone(), x.request.fields.clone(), Arc::clone(&cache));
    let loading = tokio::task::spawn_blocking(move || {
        let _reading = reading;
        from.load(&key, &fields)
    });
    match x.guard.within(wait, loading).await {
        Ok(loaded) => loaded.ok(),
        Err(_) => {
            if wait == patience {
                cache.note_hanging_disk();
            }
            None
        }
    }
}

/// Pieces of bodies that are read at once in the process: a disk that hangs may not take all threads that
/// others have work for.
static PIECES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(64)));

/// Reads a piece of a body on a thread of its own, when it is its turn.
pub(super) fn read(work: impl FnOnce() -> io::Result<Bytes> + Send + 'static) -> Piece {
    Piece(tokio::task::spawn_local(async move {
        let turn = PIECES.clone().acquire_owned().await.map_err(io::Error::other)?;
        let reading = Reading::begin(OVERDUE);
        let reading = tokio::task::spawn_blocking(move || {
            let _under_way = (turn, reading);
            work()
        });
        reading.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }))
}

/// A piece of a body that is on its way. Dropped, it does not wait for its turn any more.
#[derive(Debug)]
pub(super) struct Piece(JoinHandle<io::Result<Bytes>>);

impl Future for Piece {
    type Output = io::Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let read = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(read.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Something that is being read from a disk, for as long as that takes.
#[derive(Debug)]
pub(super) struct Reading((Instant, u64));

impl Reading {
    /// It should be there after so long.
    pub(super) fn begin(patience: Duration) -> Self {
        Self::begin_in(&mut readings(), patience)
    }

    /// `None`: so much is being read that this would be too much.
    fn begin_load(patience: Duration) -> Option<Self> {
        let mut readings = readings();
        (readings.len() < MOST).then(|| Self::begin_in(&mut readings, patience))
    }

    fn begin_in(readings: &mut BTreeSet<(Instant, u64)>, patience: Duration) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let entry = (Instant::now() + patience, NUMBER.fetch_add(1, Ordering::Relaxed));
        readings.insert(entry);
        Self(entry)
    }

    fn any_is_overdue() -> bool {
        readings().first().is_some_and(|(due, _)| *due < Instant::now())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        readings().remove(&self.0);
    }
}

fn readings() -> MutexGuard<'static, BTreeSet<(Instant, u64)>> {
    // Nothing in it is ever half done.
    READINGS.lock().unwrap_or_else(PoisonError::into_inner)
}
