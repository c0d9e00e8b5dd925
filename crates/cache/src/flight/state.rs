//! What a flight is made of.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Waker};

use bytes::Bytes;
use message::Block;
use parking_lot::Mutex;
use slab::Slab;

use super::Draft;
use crate::store::weight;
use crate::stored::Part;
use crate::{Cache, Key, Stored, Vary};

/// An answer that is coming, as its lead and all who follow share it.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(super) cache: Arc<Cache>,
    pub(super) key: Key,
    pub(super) url: u128,
    /// Whom its answer will be for, by what is known of others of its key.
    pub(super) expects: Option<Vary>,
    /// The newest purge when its request was sent.
    pub(super) since: AtomicU64,
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// The head, once it has come.
    pub(super) draft: Option<Arc<Draft>>,
    /// What has come of the body: without gaps, in a window without what all have read.
    pub(super) parts: Vec<Part>,
    /// What those cost.
    pub(super) used: u64,
    /// What is taken for them, in the ledger and among the bytes that are coming: as much, and
    /// never less than `floor`.
    pub(super) charged: u64,
    pub(super) floor: u64,
    /// How much has come.
    pub(super) end: u64,
    pub(super) trailers: Option<Block>,
    /// More has come than may be stored.
    pub(super) is_window: bool,
    /// There was no room for the last piece.
    pub(super) is_cramped: bool,
    /// Those who wait or read.
    pub(super) guests: Slab<Guest>,
    /// The lead, where it waits for those who read.
    pub(super) pacer: Option<Waker>,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Its request was sent, or is to be.
    Waiting,
    /// The lead went away before there was a head. One of those who wait was woken.
    Vacant,
    /// The head is there, the body is coming.
    Coming,
    /// All has come and is stored.
    Done(Arc<Stored>),
    /// All has come, too much to be stored.
    Ended,
    /// No more will come.
    Broken,
    /// It is of no use to others.
    Free,
    /// What is stored was validated: this is it now.
    Settled(Arc<Stored>),
}

/// One who waits for the head, or reads.
#[derive(Debug, Default)]
pub(super) struct Guest {
    pub(super) waker: Option<Waker>,
    /// It has the head, and all of the body before this.
    pub(super) reads_at: Option<u64>,
}

impl Flight {
    pub(super) fn new(
        cache: &Arc<Cache>,
        key: Key,
        url: u128,
        since: u64,
        expects: Option<Vary>,
    ) -> Self {
        let state = State {
            phase: Phase::Waiting,
            draft: None,
            parts: Vec::new(),
            used: 0,
            charged: 0,
            floor: 0,
            end: 0,
            trailers: None,
            is_window: false,
            is_cramped: false,
            guests: Slab::new(),
            pacer: None,
        };
        let (since, state) = (AtomicU64::new(since), Mutex::new(state));
        Self { cache: Arc::clone(cache), key, url, expects, since, state }
    }

    /// Takes it out of the registry if it has no lead, and nobody who may become it.
    pub(super) fn close_if_deserted(self: &Arc<Self>) {
        let flights = &self.cache.flights;
        let mut registry = flights.registry(&self.key);
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Vacant) && state.guests.is_empty() {
            state.phase = Phase::Broken;
            drop(state);
            flights.remove(&mut registry, self);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.cache.let_go(self.state.get_mut().charged);
    }
}

impl State {
    /// A place for one more who waits.
    pub(super) fn enter(&mut self) -> usize {
        self.guests.insert(Guest::default())
    }

    /// Has a guest woken when anything changes.
    pub(super) fn wait(&mut self, place: usize, cx: &Context<'_>) {
        let Some(guest) = self.guests.get_mut(place) else { return };
        match &mut guest.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// The wakers of all, to be woken without the lock.
    #[must_use]
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        self.guests.iter_mut().filter_map(|(_, guest)| guest.waker.take()).collect()
    }

    /// The waker of one who waits for the head.
    #[must_use]
    pub(super) fn waiting_waker(&mut self) -> Option<Waker> {
        let mut waiting = self.guests.iter_mut().filter(|(_, guest)| guest.reads_at.is_none());
        waiting.find_map(|(_, guest)| guest.waker.take())
    }

    /// The bytes from `at` to the end of the part that they are in.
    pub(super) fn piece(&self, at: u64) -> Option<Bytes> {
        let index = self.parts.partition_point(|part| part.offset <= at).checked_sub(1)?;
        let part = &self.parts[index];
        let from = usize::try_from(at - part.offset).ok()?;
        (from < part.bytes.len()).then(|| part.bytes.slice(from..))
    }

    /// Where the slowest who reads is; `None`: nobody reads.
    pub(super) fn slowest(&self) -> Option<u64> {
        self.guests.iter().filter_map(|(_, guest)| guest.reads_at).min()
    }

    /// Where the fastest who reads is; `None`: nobody reads.
    pub(super) fn fastest(&self) -> Option<u64> {
        self.guests.iter().filter_map(|(_, guest)| guest.reads_at).max()
    }

    /// Lets go of what all have read, in a window, and gives what that had cost.
    #[must_use]
    pub(super) fn slide(&mut self) -> u64 {
        if !self.is_window {
            return 0;
        }
        self.drop_before(self.slowest().unwrap_or(self.end));
        self.surplus()
    }

    /// Lets go of what only those have not read who are more than `most` behind the fastest.
    pub(super) fn leave_behind(&mut self, most: u64) {
        if let Some(fastest) = self.fastest() {
            self.drop_before(fastest.min(self.end.saturating_sub(most)));
        }
    }

    fn drop_before(&mut self, at: u64) {
        let is_past = |part: &Part| part.offset + part.bytes.len() as u64 <= at;
        let past = self.parts.partition_point(is_past);
        let gone: u64 =
            self.parts.drain(..past).map(|part| weight::bytes(&part.bytes) as u64).sum();
        self.used -= gone;
    }

    /// How much is to be taken for something that costs so much.
    pub(super) fn wants(&self, cost: u64) -> u64 {
        (self.used + cost).saturating_sub(self.charged)
    }

    /// What is taken and not needed any more, to be given back.
    #[must_use]
    pub(super) fn surplus(&mut self) -> u64 {
        let surplus = self.charged.saturating_sub(self.used.max(self.floor));
        self.charged -= surplus;
        surplus
    }

    /// Whether who begins now can have all of the body.
    pub(super) fn begins_at_zero(&self) -> bool {
        self.end == 0 || self.parts.first().is_some_and(|part| part.offset == 0)
    }
}
