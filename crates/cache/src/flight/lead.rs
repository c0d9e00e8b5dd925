//! The one who fetches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use message::Block;

use super::Draft;
use super::reader::FlightReader;
use super::state::{Flight, PIECE, Pacer, Phase};
use crate::store::weight;
use crate::stored::{Body, Part};
use crate::{Held, Stored, Time};

/// How much a window holds that the fastest has not read.
const WINDOW: u64 = 1 << 20;

/// What is taken for every flight before it begins: with it a window can go on that gets no more.
const FLOOR: u64 = 256 << 10;

/// What a body costs beside its bytes, where it is small.
const OVERHEAD: u64 = 8 << 10;

/// Pieces smaller than this are put together, into pieces of [`MERGED`]: each costs something.
const SMALL: usize = 32 << 10;

/// See [`SMALL`].
const MERGED: usize = 256 << 10;

/// Why an answer cannot come in a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is larger than what is stored.
    TooLarge,
    /// What is coming takes all that it may take.
    NoRoom,
}

impl Refused {
    /// A token for `Cache-Status` and the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::NoRoom => "no-room",
        }
    }
}

/// How long a flight that is short of room waits for one who does not read.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time, in milliseconds of any clock that never goes back.
    pub now: u64,
    /// Milliseconds in which it has to have read anything.
    pub grace: u64,
}

/// A request that fetches an answer for itself and others. To drop it is to give the flight up.
#[derive(Debug)]
pub struct Lead {
    flight: Arc<Flight>,
    /// Small pieces at the end that were not put together yet, and how long they are.
    loose: (usize, usize),
    is_over: bool,
}

impl Lead {
    pub(super) fn new(flight: &Arc<Flight>) -> Self {
        Self { flight: Arc::clone(flight), loose: (0, 0), is_over: false }
    }

    /// The head has come and may be stored: those who wait read from now on, and so does the
    /// request that leads.
    ///
    /// # Errors
    /// It is known to be too large to be stored, or there is no room for it among what is coming.
    /// Nobody was told anything: [`Lead::free`] lets those go on who wait.
    pub fn begin(&mut self, draft: Draft) -> Result<FlightReader, Refused> {
        let cache = &self.flight.cache;
        if draft.length.is_some_and(|length| length > cache.max_object()) {
            return Err(Refused::TooLarge);
        }
        let floor = floor_of(&draft);
        if !cache.take_flight_room(floor) {
            return Err(Refused::NoRoom);
        }
        Ok(self.begin_with(draft, floor))
    }

    /// The same whether there is room or not, for a part of an answer that cannot end here.
    pub fn begin_anyway(&mut self, draft: Draft) -> FlightReader {
        let floor = floor_of(&draft);
        let cache = &self.flight.cache;
        if !cache.take_flight_room(floor) {
            cache.force_flight_room(floor);
        }
        self.begin_with(draft, floor)
    }

    fn begin_with(&mut self, draft: Draft, floor: u64) -> FlightReader {
        debug_assert_eq!(draft.key, self.flight.key);
        self.flight.cache.forget_miss(&self.flight.key);
        let draft = Arc::new(draft);
        let mut state = self.flight.state.lock();
        state.draft = Some(Arc::clone(&draft));
        state.phase = Phase::Coming;
        (state.floor, state.charged) = (floor, state.charged + floor);
        let place = state.enter();
        if let Some(guest) = state.guests.get_mut(place) {
            (guest.reads_at, guest.leads) = (Some(0), true);
        }
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
        FlightReader::new(&self.flight, draft, place)
    }

    /// Whether what comes is of no use to anybody: it will not be stored, and nobody reads it.
    #[must_use]
    pub fn is_in_vain(&self) -> bool {
        self.flight.state.lock().is_in_vain()
    }

    /// Another piece of the body. It should be alone in its allocation: what it is part of lives
    /// as long as it. Where more comes than may be stored, the flight becomes a window: it is
    /// taken all the same, and [`Lead::poll_room`] says when more is to come.
    pub fn push(&mut self, bytes: Bytes) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        let cache = &self.flight.cache;
        let cost = weight::bytes(&bytes) as u64;
        let more = self.flight.state.lock().wants(cost);
        let has_room = more == 0 || cache.take_flight_room(more);
        let mut state = self.flight.state.lock();
        state.charged += if has_room { more } else { 0 };
        state.is_window |= !has_room || state.end + length as u64 > cache.max_object();
        let forced = state.wants(cost);
        state.charged += forced;
        state.used += cost;
        let part = Part { offset: state.end, bytes };
        state.end += length as u64;
        state.parts.push(part);
        let is_window = state.is_window;
        let wakers = state.wakers();
        // In a window without readers nothing stays.
        let gone = if is_window { state.slide() } else { 0 };
        drop(state);
        if forced > 0 {
            cache.force_flight_room(forced);
        }
        wake(wakers);
        cache.let_go(gone);
        if is_window {
            return;
        }
        self.loose = match length {
            SMALL.. => {
                self.merge(1);
                (0, 0)
            }
            _ => (self.loose.0 + 1, self.loose.1 + length),
        };
        if self.loose.1 >= MERGED {
            self.merge(0);
        }
    }

    /// Whether more is to come: at once while there is room for it, and then as soon as the
    /// slowest who reads has made some. Who reads nothing for as long as `pace` allows is left
    /// behind, but for the request that leads: its own patience with its client ends that.
    /// Where it waits it is to be asked again from time to time, since time wakes nobody here.
    pub fn poll_room(&mut self, cx: &mut Context<'_>, pace: Pace) -> Poll<()> {
        while let Err(used) = self.take_room() {
            let mut state = self.flight.state.lock();
            (state.is_window, state.is_short) = (true, true);
            self.flight.is_watched.store(true, Ordering::Relaxed);
            let gone = state.slide();
            // Or somebody has made room meanwhile, and knew of nobody to wake.
            let is_stuck = state.used == used && !state.leave_behind(pace.now, pace.grace);
            if is_stuck {
                state.pacer = Some(Pacer { waker: cx.waker().clone(), for_room: true });
            }
            drop(state);
            self.flight.cache.let_go(gone);
            if is_stuck {
                return Poll::Pending;
            }
        }
        let mut state = self.flight.state.lock();
        // What may not be stored is not fetched for the store.
        if !state.is_window || state.ahead() < WINDOW {
            return Poll::Ready(());
        }
        state.pacer = Some(Pacer { waker: cx.waker().clone(), for_room: false });
        Poll::Pending
    }

    /// Takes room for the next piece, so that what comes has its room already.
    ///
    /// # Errors
    /// There is none, or as much is kept as could be stored: what that costs.
    fn take_room(&mut self) -> Result<(), u64> {
        let cache = &self.flight.cache;
        let (needed, used) = {
            let state = self.flight.state.lock();
            let length = state.draft.as_ref().and_then(|draft| draft.length);
            let left = length.map_or(PIECE, |length| length.saturating_sub(state.end) + OVERHEAD);
            let (kept, most) = (state.kept(), cache.max_object().max(FLOOR));
            if state.is_window && kept > 0 && kept + left.min(PIECE) > most {
                return Err(state.used);
            }
            (state.wants(left.min(PIECE)), state.used)
        };
        if needed > 0 && !cache.take_flight_room(needed) {
            return Err(used);
        }
        let mut state = self.flight.state.lock();
        state.charged += needed;
        state.is_short &= needed == 0;
        Ok(())
    }

    /// All has come: it is stored, and given to those who read. `None`: it was too much to be
    /// stored, or is not as long as was said, which those who read are told.
    pub fn finish(mut self, trailers: Option<Block>) -> Option<Arc<Stored>> {
        self.merge(0);
        let mut state = self.flight.state.lock();
        let draft = state.draft.clone()?;
        self.is_over = true;
        let is_whole = draft.length.is_none_or(|length| length == state.end);
        if state.is_window || !is_whole {
            let phase = if is_whole { Phase::Ended } else { Phase::Broken };
            state.trailers = trailers;
            drop(state);
            self.end(phase);
            return None;
        }
        let parts = state.parts.clone();
        let end = state.end;
        let charged = std::mem::take(&mut state.charged);
        (state.used, state.floor) = (0, 0);
        drop(state);
        let cache = &self.flight.cache;
        cache.flights.sub_bytes(charged);
        let stored = self.stored(&draft, end, parts, trailers);
        let stored = cache.insert_taken(stored, charged);
        self.end(Phase::Done(Arc::clone(&stored)));
        Some(stored)
    }

    /// All has come, and is not to be stored: those who read get to its end.
    pub fn discard(mut self, trailers: Option<Block>) {
        self.is_over = true;
        self.flight.state.lock().trailers = trailers;
        self.end(Phase::Ended);
    }

    /// What is stored is good, or is now: those who wait, and whom it is for, get this.
    pub fn settle(mut self, stored: Arc<Stored>) {
        self.is_over = true;
        self.end(Phase::Settled(stored));
    }

    /// The answer is of no use to others: they go on by themselves, at once, and so do those
    /// that come before `until`. Once the body has begun, it is given up instead.
    pub fn free(mut self, until: Option<Time>) {
        let flight = Arc::clone(&self.flight);
        if matches!(flight.state.lock().phase, Phase::Waiting) {
            if let Some(until) = until {
                flight.cache.note_miss(&flight.key, until);
            }
            self.is_over = true;
            self.end(Phase::Free);
        }
    }

    fn stored(
        &self,
        draft: &Draft,
        length: u64,
        parts: Vec<Part>,
        trailers: Option<Block>,
    ) -> Stored {
        let draft = draft.clone();
        Stored {
            purged_by: AtomicU64::new(self.flight.since.load(Ordering::Acquire)),
            hits: AtomicU32::new(0),
            key: draft.key,
            vary: draft.vary,
            held: Held::default(),
            url: draft.url,
            tags: draft.tags,
            head: draft.head,
            facts: draft.facts,
            length: Some(length),
            body: Body::Memory(parts.into()),
            trailers,
            coded: Default::default(),
        }
    }

    /// Puts the small pieces together that stand before the last `spared`.
    fn merge(&mut self, spared: usize) {
        let (count, length) = std::mem::take(&mut self.loose);
        let flight = &self.flight;
        if count < 2 || flight.state.lock().is_window {
            return;
        }
        let (first, loose) = {
            let state = flight.state.lock();
            let end = state.parts.len() - spared;
            (end - count, state.parts[end - count..end].to_vec())
        };
        // Nobody but the lead changes the parts while there is no window.
        let mut merged = BytesMut::with_capacity(length);
        loose.iter().for_each(|part| merged.extend_from_slice(&part.bytes));
        let merged = Part { offset: loose[0].offset, bytes: merged.freeze() };
        let before: usize = loose.iter().map(|part| weight::bytes(&part.bytes)).sum();
        let saved = before.saturating_sub(weight::bytes(&merged.bytes)) as u64;
        let mut state = flight.state.lock();
        state.parts.splice(first..first + count, [merged]);
        state.used -= saved;
    }

    /// Nobody enters any more; all are told.
    fn end(&self, phase: Phase) {
        let flight = &self.flight;
        let flights = &flight.cache.flights;
        flights.remove(&mut flights.registry(&flight.key), flight);
        let mut state = flight.state.lock();
        if matches!(phase, Phase::Done(_)) {
            state.parts = Vec::new();
        }
        state.phase = phase;
        // What is there is all that will be.
        state.floor = 0;
        let gone = state.surplus();
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
        flight.cache.let_go(gone);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let is_waiting = matches!(self.flight.state.lock().phase, Phase::Waiting);
        if !is_waiting {
            return self.end(Phase::Broken);
        }
        let waker = {
            let mut state = self.flight.state.lock();
            state.phase = Phase::Vacant;
            state.waiting_waker()
        };
        match waker {
            Some(waker) => waker.wake(),
            None => self.flight.close_if_deserted(),
        }
    }
}

fn floor_of(draft: &Draft) -> u64 {
    draft.length.map_or(FLOOR, |length| (length + OVERHEAD).min(FLOOR))
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
