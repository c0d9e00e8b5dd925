//! Those who wait for a head.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use message::Block;

use super::lead::Lead;
use super::reader::FlightReader;
use super::state::{Flight, Phase};
use crate::Stored;
use crate::rules::vary::matches;

/// A request that waits for what another fetches.
#[derive(Debug)]
pub struct Follower {
    flight: Arc<Flight>,
    /// Its place among the guests, until it has its answer.
    place: Option<usize>,
}

/// What becomes of a request that waited.
#[derive(Debug)]
pub enum Followed {
    /// It reads the answer as it comes.
    Read(FlightReader),
    /// The answer is of no use to it: it goes to the origin by itself.
    Free,
    /// The answer that was stored before is good, or is now.
    Stored(Arc<Stored>),
    /// The lead went away: it is the lead now.
    Lead(Lead),
    /// The answer is one for other requests, or broke off: it looks again, and joins again.
    Again,
}

impl Follower {
    pub(super) fn new(flight: &Arc<Flight>, place: usize) -> Self {
        Self { flight: Arc::clone(flight), place: Some(place) }
    }

    /// Waits for the head. `fields` are those of the request. Once it was ready it says
    /// [`Followed::Again`].
    pub fn poll_head(&mut self, cx: &mut Context<'_>, fields: &Block) -> Poll<Followed> {
        let Some(place) = self.place else { return Poll::Ready(Followed::Again) };
        let mut state = self.flight.state.lock();
        let selected = match &state.phase {
            Phase::Settled(stored) => matches(&stored.vary, fields),
            _ => state.draft.as_ref().is_some_and(|draft| matches(&draft.vary, fields)),
        };
        let followed = match &state.phase {
            Phase::Waiting => {
                state.wait(place, cx);
                return Poll::Pending;
            }
            Phase::Vacant => {
                state.phase = Phase::Waiting;
                state.guests.try_remove(place);
                drop(state);
                self.place = None;
                let newest = self.flight.cache.purges.newest();
                self.flight.since.store(newest, Ordering::Release);
                return Poll::Ready(Followed::Lead(Lead::new(&self.flight)));
            }
            Phase::Free => Followed::Free,
            Phase::Settled(stored) if selected => Followed::Stored(Arc::clone(stored)),
            Phase::Broken | Phase::Settled(_) => Followed::Again,
            Phase::Coming | Phase::Done(_) | Phase::Ended if !selected => Followed::Again,
            Phase::Coming | Phase::Ended if !state.begins_at_zero() => Followed::Free,
            Phase::Coming | Phase::Done(_) | Phase::Ended => {
                let Some(draft) = state.draft.clone() else { return Poll::Ready(Followed::Again) };
                if let Some(guest) = state.guests.get_mut(place) {
                    guest.reads_at = Some(0);
                }
                self.place = None;
                drop(state);
                let reader = FlightReader::new(&self.flight, draft, place);
                return Poll::Ready(Followed::Read(reader));
            }
        };
        state.guests.try_remove(place);
        self.place = None;
        Poll::Ready(followed)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut state = self.flight.state.lock();
        state.guests.try_remove(place);
        if !matches!(state.phase, Phase::Vacant) {
            return;
        }
        // It may have been the one that was woken to become the lead.
        match state.waiting_waker() {
            Some(waker) => {
                drop(state);
                waker.wake();
            }
            None => {
                drop(state);
                self.flight.close_if_deserted();
            }
        }
    }
}
