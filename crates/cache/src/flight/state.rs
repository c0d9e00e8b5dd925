//! What a flight is made of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Waker};

use bytes::Bytes;
use message::Block;
use parking_lot::Mutex;
use slab::Slab;

use super::Draft;
use crate::store::weight;
use crate::stored::Part;
use crate::{Cache, Key, Stored, Vary};

/// What a flight keeps of its room beyond what it needs while it is short of it: what its slowest
/// reader makes room for is for what comes next, and not for other flights.
const SPARE: u64 = 512 << 10;

/// As much is taken before the next piece is asked for; pieces are not much larger than this.
pub(super) const PIECE: u64 = 80 << 10;

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
    /// It was short of room once: from then on it counts whether those who read move.
    pub(super) is_watched: AtomicBool,
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
    /// There was no more room when it last needed some.
    pub(super) is_short: bool,
    /// Those who wait or read.
    pub(super) guests: Slab<Guest>,
    /// The lead, where it waits for those who read.
    pub(super) pacer: Option<Pacer>,
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
    /// It is the request that leads: it is not left behind.
    pub(super) leads: bool,
    /// It is not waited for any more. It may go on for as long as there is what it needs.
    pub(super) is_left: bool,
    /// How often it moved. It may come round to the same number again.
    pub(super) moves: u32,
    /// How often it had moved when it was last seen to, and when that was first seen.
    seen: Option<(u32, u64)>,
}

/// A lead that waits.
#[derive(Debug)]
pub(super) struct Pacer {
    pub(super) waker: Waker,
    /// For the slowest to make room; otherwise for the fastest, who has enough to read.
    pub(super) for_room: bool,
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
            is_short: false,
            guests: Slab::new(),
            pacer: None,
        };
        Self {
            cache: Arc::clone(cache),
            key,
            url,
            expects,
            since: AtomicU64::new(since),
            is_watched: AtomicBool::new(false),
            state: Mutex::new(state),
        }
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

    /// Where those are who read and are waited for.
    fn readers(&self) -> impl Iterator<Item = u64> {
        self.guests.iter().filter(|(_, guest)| !guest.is_left).filter_map(|(_, it)| it.reads_at)
    }

    /// How much has come that the fastest who reads has not read.
    pub(super) fn ahead(&self) -> u64 {
        self.readers().max().map_or(0, |at| self.end.saturating_sub(at))
    }

    /// How many bytes are kept.
    pub(super) fn kept(&self) -> u64 {
        self.parts.first().map_or(0, |part| self.end - part.offset)
    }

    /// Whether nobody will read any more of it, and it is of no use to others.
    pub(super) fn is_in_vain(&self) -> bool {
        self.is_window && self.guests.iter().all(|(_, guest)| guest.is_left)
    }

    /// Lets go of what all have read, in a window, and gives what that had cost.
    #[must_use]
    pub(super) fn slide(&mut self) -> u64 {
        if !self.is_window {
            return 0;
        }
        self.drop_before(self.readers().min().unwrap_or(self.end));
        self.surplus()
    }

    /// Waits no longer for the slowest if they have read nothing for so long; `false`: they have.
    pub(super) fn leave_behind(&mut self, now: u64, grace: u64) -> bool {
        let (slowest, end) = (self.readers().min(), self.end);
        let mut any = false;
        for (_, guest) in &mut self.guests {
            let Some(at) = guest.reads_at.filter(|at| *at < end && !guest.is_left) else {
                continue;
            };
            match guest.seen {
                Some((moves, since)) if moves == guest.moves => {
                    let over = now.saturating_sub(since) >= grace;
                    guest.is_left = over && !guest.leads && Some(at) == slowest;
                    any |= guest.is_left;
                }
                _ => guest.seen = Some((guest.moves, now)),
            }
        }
        any
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
        let spare = match self.phase {
            Phase::Coming if self.is_short => SPARE,
            Phase::Coming => PIECE,
            _ => 0,
        };
        let surplus = self.charged.saturating_sub((self.used + spare).max(self.floor));
        self.charged -= surplus;
        surplus
    }

    /// Whether who begins now can have all of the body.
    pub(super) fn begins_at_zero(&self) -> bool {
        self.end == 0 || self.parts.first().is_some_and(|part| part.offset == 0)
    }
}
