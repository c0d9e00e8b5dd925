//! Reading what comes.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use message::Block;

use super::Draft;
use super::state::{Flight, Phase};
use crate::Stored;

/// No more will come of an answer that is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

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
        if let Some(guest) = state.guests.get_mut(self.place) {
            guest.reads_at = Some(at);
        }
        let gone = state.slide();
        let pacer = state.pacer.take();
        let polled = match state.piece(at) {
            Some(piece) => Poll::Ready(Ok(Some(piece))),
            None if at < state.end => Poll::Ready(Err(Broken)),
            None => match state.phase {
                Phase::Ended => Poll::Ready(Ok(None)),
                Phase::Broken | Phase::Free | Phase::Settled(_) => Poll::Ready(Err(Broken)),
                _ => {
                    state.wait(self.place, cx);
                    Poll::Pending
                }
            },
        };
        drop(state);
        self.flight.cache.let_go(gone);
        pacer.into_iter().for_each(Waker::wake);
        polled
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
        pacer.into_iter().for_each(Waker::wake);
    }
}
