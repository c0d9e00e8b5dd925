//! What is stored for a request: in memory, else on the disk.
//!
//! The disk is read on threads of its own, which the core waits for only so long: a disk that hangs
//! is one that has nothing, and is left alone for a while. What takes its time is no reason for
//! that: there is more of it for what is large.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cache::{Body, Cache, Found, Key, Stored};

use super::lines::Lines;
use crate::exchange::Exchange;

/// What a disk may take for one answer, beside what is read of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that the slowest of disks reads in a second.
const PACE: u64 = 16 << 20;

/// Loads that run at once in the process. Who would be one too many asks the origin.
const MOST: usize = 32;

/// How long a piece of a body may be under way.
const OVERDUE: Duration = Duration::from_secs(3);

/// By the hash of the key: one reads the disk for all who ask for the same.
static LINES: Lines<u128> = Lines::new();

/// When everything began that is being read now.
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
    let turn = LINES.join(wanted.hash());
    let _turn = x.guard.within(patience, turn.come()).await.ok()?;
    // Whoever was before has brought it, or seen that it cannot be had.
    let found = cache.find(wanted, &x.request.fields);
    if matches!(found, Found::Here(_)) || !cache.may_load(wanted) {
        return Some(found);
    }
    let reading = Reading::begin_load()?;
    let (key, fields, from) = (wanted.clone(), x.request.fields.clone(), Arc::clone(&cache));
    let loading = tokio::task::spawn_blocking(move || {
        let _reading = reading;
        from.load(&key, &fields)
    });
    match x.guard.within(patience, loading).await {
        Ok(loaded) => loaded.ok(),
        Err(_) => {
            cache.note_hanging_disk();
            None
        }
    }
}

/// Something that is being read from a disk, for as long as that takes.
#[derive(Debug)]
pub(super) struct Reading((Instant, u64));

impl Reading {
    pub(super) fn begin() -> Self {
        Self::begin_in(&mut readings())
    }

    /// `None`: so much is being read that this would be too much.
    fn begin_load() -> Option<Self> {
        let mut readings = readings();
        (readings.len() < MOST).then(|| Self::begin_in(&mut readings))
    }

    fn begin_in(readings: &mut BTreeSet<(Instant, u64)>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let entry = (Instant::now(), NUMBER.fetch_add(1, Ordering::Relaxed));
        readings.insert(entry);
        Self(entry)
    }

    fn any_is_overdue() -> bool {
        readings().first().is_some_and(|(begun, _)| begun.elapsed() > OVERDUE)
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
