//! All flights, by their keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use message::Block;
use parking_lot::{Mutex, MutexGuard};

use super::follower::Follower;
use super::lead::Lead;
use super::state::{Flight, Phase};
use crate::purge::{Subject, Verdict};
use crate::rules::vary::matches;
use crate::{Cache, Key, Stored, Vary};

const SHARDS: usize = 32;

/// What a request does that found nothing it may use.
#[derive(Debug)]
pub enum Role {
    /// It fetches the answer, for itself and others.
    Lead(Lead),
    /// Somebody fetches it.
    Follow(Follower),
    /// Somebody has just fetched it: what the cache has now is not what was found before. It is
    /// to be judged; if it will not do, `join` is called again with it.
    Stored(Arc<Stored>),
}

/// Flights that a request may follow.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    shards: [Mutex<Registry>; SHARDS],
    count: AtomicU64,
    bytes: AtomicU64,
}

/// Flights by the hash of their key: one for each variant that is coming.
pub(super) type Registry = HashMap<u128, Vec<Arc<Flight>>, RandomState>;

impl Cache {
    /// Joins the flight for a request, or begins one. `url` is the hash of its canonical URL,
    /// `found` what [`Cache::find`] had for it, though it will not do.
    pub fn join(
        self: &Arc<Self>,
        key: &Key,
        url: u128,
        fields: &Block,
        found: Option<&Arc<Stored>>,
    ) -> Role {
        let newest = self.purges.newest();
        let mut registry = self.flights.registry(key);
        for flight in registry.get(&key.hash()).into_iter().flatten() {
            let is_other = flight.expects.as_ref().is_some_and(|vary| !matches(vary, fields));
            if is_other || flight.key != *key || self.is_purged(flight, newest) {
                continue;
            }
            let mut state = flight.state.lock();
            match &state.phase {
                // Whoever is here already can do it at once.
                Phase::Vacant => {
                    state.phase = Phase::Waiting;
                    drop(state);
                    flight.since.store(newest, Ordering::Release);
                    return Role::Lead(Lead::new(flight));
                }
                Phase::Waiting => {}
                Phase::Coming if !state.is_window => {
                    if !state.draft.as_ref().is_some_and(|draft| matches(&draft.vary, fields)) {
                        continue;
                    }
                }
                _ => continue,
            }
            let place = state.enter();
            drop(state);
            return Role::Follow(Follower::new(flight, place));
        }
        // A flight is in the table before it leaves the registry, so one of the two has it.
        if let Some(stored) = self.changed(key, fields, found) {
            return Role::Stored(stored);
        }
        let expects = self.expected(key, fields);
        let flight = Arc::new(Flight::new(self, key.clone(), url, newest, expects));
        registry.entry(key.hash()).or_default().push(Arc::clone(&flight));
        self.flights.count.fetch_add(1, Ordering::Relaxed);
        Role::Lead(Lead::new(&flight))
    }

    /// Takes so many bytes for what is coming, if it may take them and there is room.
    pub(super) fn take_flight_room(&self, bytes: u64) -> bool {
        let most = self.flight_capacity();
        let fits = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= most);
        let taken = &self.flights.bytes;
        if taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return false;
        }
        let has_room = self.make_room(bytes);
        if !has_room {
            self.flights.sub_bytes(bytes);
        }
        has_room
    }

    /// The same for what is there already.
    pub(super) fn force_flight_room(&self, bytes: u64) {
        self.flights.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.force_room(bytes);
    }

    /// Something that was coming is gone, or is stored.
    pub(super) fn let_go(&self, bytes: u64) {
        if bytes > 0 {
            self.flights.sub_bytes(bytes);
            self.give_room(bytes);
        }
    }

    /// What selects the answer to a request, if it varies as the newest of its key does: whom
    /// that is not for need not wait for it.
    fn expected(&self, key: &Key, fields: &Block) -> Option<Vary> {
        let stored = self.variants(key).into_iter().next()?;
        let names: Vec<Box<str>> =
            stored.vary.fields.iter().map(|(name, _)| name.clone()).collect();
        (!names.is_empty()).then(|| Vary::of(&names, fields))
    }

    /// Whether a purge has been since the request of a flight was sent that is about its answer,
    /// or may be: who asks after the purge must not have it.
    fn is_purged(&self, flight: &Flight, newest: u64) -> bool {
        let since = flight.since.load(Ordering::Acquire);
        if since >= newest {
            return false;
        }
        let draft = flight.state.lock().draft.clone();
        let tags = draft.as_ref().map(|draft| &*draft.tags);
        let subject = Subject::by_key(&flight.key, flight.url, tags);
        self.purges.verdict(since, &subject) != Verdict::Valid
    }
}

impl Flights {
    pub(super) fn registry(&self, key: &Key) -> MutexGuard<'_, Registry> {
        self.shards[(key.hash() >> 96) as usize % SHARDS].lock()
    }

    /// Nobody can enter the flight any more.
    pub(super) fn remove(&self, registry: &mut Registry, flight: &Arc<Flight>) {
        let Some(flights) = registry.get_mut(&flight.key.hash()) else { return };
        let before = flights.len();
        flights.retain(|found| !Arc::ptr_eq(found, flight));
        let removed = before - flights.len();
        if flights.is_empty() {
            registry.remove(&flight.key.hash());
        }
        self.count.fetch_sub(removed as u64, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that are coming.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn sub_bytes(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
