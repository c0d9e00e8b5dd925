//! Reading what comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use message::Block;

use super::Draft;
use super::state::{Flight, Pacer, Phase};
use crate::Stored;

/// Why an answer does not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// No more will come, and it is not whole.
    Off,
    /// What is next is gone: this reader was not waited for any longer.
    Behind,
}

/// Reads an answer as it comes, and the stored one once all has come.
#[derive(Debug)]
pub struct FlightReader {
    flight: Arc<Flight>,
    draft: Arc<Draft>,
    place: usize,
    done: Option<Arc<Stored>>,
}

impl FlightReader {
    pub(super) fn new(flight: &Arc<Flight>, draft: Arc<Draft>, place: usize) -> Self {
        Self { flight: Arc::clone(flight), draft, place, done: None }
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> &Draft {
        &self.draft
    }

    /// The bytes from `at` on, as many as there are in one piece; `None`: the body ends there.
    /// What is before `at` was read: where more came than may be stored, it is gone.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        at: u64,
    ) -> Poll<Result<Option<Bytes>, Broken>> {
        if let Some(stored) = &self.done {
            return Poll::Ready(Ok(stored.body.piece(at)));
        }
        let mut state = self.flight.state.lock();
        if let Phase::Done(stored) = &state.phase {
            let piece = stored.body.piece(at);
            self.done = Some(Arc::clone(stored));
            state.guests.try_remove(self.place);
            return Poll::Ready(Ok(piece));
        }
        let piece = state.piece(at);
        if piece.is_none() && at < state.end {
            return Poll::Ready(Err(Broken::Behind));
        }
        if let Some(guest) = state.guests.get_mut(self.place) {
            guest.is_left = false;
            // Whoever waits is where it was.
            if guest.reads_at.replace(at) != Some(at) || piece.is_some() {
                guest.moves = guest.moves.wrapping_add(1);
            }
        }
        let before = state.used;
        let gone = state.slide();
        let is_freed = state.used < before;
        let pacer = state.pacer.take_if(|pacer| is_freed || !pacer.for_room);
        let polled = match (piece, &state.phase) {
            (Some(piece), _) => Poll::Ready(Ok(Some(piece))),
            (None, Phase::Ended) => Poll::Ready(Ok(None)),
            (None, Phase::Broken | Phase::Free | Phase::Settled(_)) => {
                Poll::Ready(Err(Broken::Off))
            }
            (None, _) => {
                state.wait(self.place, cx);
                Poll::Pending
            }
        };
        drop(state);
        self.flight.cache.let_go(gone);
        wake(pacer);
        polled
    }

    /// Whether it counts how this reader gets on: others may have to wait for it.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.done.is_none() && self.flight.is_watched.load(Ordering::Relaxed)
    }

    /// Takes note that bytes of the piece that was read last went on their way. Who never says so
    /// is seen to move where it reads the next piece.
    pub fn note_progress(&self) {
        if !self.is_watched() {
            return;
        }
        let mut state = self.flight.state.lock();
        if let Some(guest) = state.guests.get_mut(self.place) {
            guest.moves = guest.moves.wrapping_add(1);
        }
    }

    /// Whether nothing comes for now because others have not read what there is: nobody is to
    /// blame the server.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_watched()
            && self.flight.state.lock().pacer.as_ref().is_some_and(|pacer| pacer.for_room)
    }

    /// What came behind the body, once it has ended.
    #[must_use]
    pub fn trailers(&self) -> Option<Block> {
        match &self.done {
            Some(stored) => stored.trailers.clone(),
            None => self.flight.state.lock().trailers.clone(),
        }
    }

    /// The answer as it is stored, once all has come and been read by this reader.
    #[must_use]
    pub fn stored(&self) -> Option<&Arc<Stored>> {
        self.done.as_ref()
    }
}

impl Drop for FlightReader {
    fn drop(&mut self) {
        if self.done.is_some() {
            return;
        }
        let mut state = self.flight.state.lock();
        state.guests.try_remove(self.place);
        let gone = state.slide();
        let pacer = state.pacer.take();
        drop(state);
        self.flight.cache.let_go(gone);
        wake(pacer);
    }
}

fn wake(pacer: Option<Pacer>) {
    pacer.into_iter().for_each(|pacer| pacer.waker.wake());
}
