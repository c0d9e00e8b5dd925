//! The one who fetches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use message::Block;

use super::Draft;
use super::reader::FlightReader;
use super::state::{Flight, Phase};
use crate::store::weight;
use crate::stored::{Body, Part};
use crate::{Held, Stored, Time};

/// How much a window holds that the fastest has not read.
const WINDOW: u64 = 1 << 20;

/// The same, where there is no room.
const CRAMPED: u64 = 64 << 10;

/// What is taken for every flight before it begins: with it a window can go on that gets no more.
const FLOOR: u64 = 256 << 10;

/// As much is taken before the next piece is asked for; pieces are not much larger than this.
const PIECE: u64 = 80 << 10;

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
            guest.reads_at = Some(0);
        }
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
        FlightReader::new(&self.flight, draft, place)
    }

    /// Whether anybody waits or reads.
    #[must_use]
    pub fn has_guests(&self) -> bool {
        !self.flight.state.lock().guests.is_empty()
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
        state.is_cramped |= !has_room;
        state.is_window |= !has_room || state.end + length as u64 > cache.max_object();
        if state.is_window {
            // What is kept for those who lag behind is no more than could be stored.
            state.leave_behind(if has_room { cache.max_object() } else { 0 });
        }
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

    /// Whether more is to come: at once, until there is more than may be stored; from then on as
    /// soon as the fastest who reads has come near. Who is slow holds back nobody: it is left
    /// behind where what it has not read is more than could be stored, or there is no room.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.take_room();
        let mut state = self.flight.state.lock();
        let behind = state.fastest().map_or(0, |at| state.end.saturating_sub(at));
        let most = if state.is_cramped { CRAMPED } else { WINDOW };
        if !state.is_window || behind < most {
            return Poll::Ready(());
        }
        state.pacer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes room for the next piece, so that what comes has its room already.
    fn take_room(&mut self) {
        let needed = {
            let state = self.flight.state.lock();
            let length = state.draft.as_ref().and_then(|draft| draft.length);
            let left = length.map_or(PIECE, |length| length.saturating_sub(state.end) + OVERHEAD);
            state.wants(left.min(PIECE))
        };
        let has_room = needed == 0 || self.flight.cache.take_flight_room(needed);
        let mut state = self.flight.state.lock();
        state.charged += if has_room { needed } else { 0 };
        state.is_cramped = !has_room;
        if !has_room {
            state.is_window = true;
            state.leave_behind(0);
        }
        let gone = if has_room { 0 } else { state.slide() };
        drop(state);
        self.flight.cache.let_go(gone);
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
        if count < 2 {
            return;
        }
        let flight = &self.flight;
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
