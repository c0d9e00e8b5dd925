//! Requests that wait for a free place at a server of their group: first come, first served,
//! over all cores. Those that wait for one certain server have a lane of their own, so that a
//! full server holds up nobody else.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often the first of a lane looks again by itself: nobody tells it that the time is over
/// for which a server was left out.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The line of one group.
#[derive(Debug)]
pub(crate) struct Queue {
    limit: usize,
    /// How many wait. Read without the lock, to see whether there is anybody to wake.
    waiting: AtomicUsize,
    /// How many of them take whatever there is.
    easy: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    /// Those that wait for one server.
    pinned: usize,
    waiters: BTreeMap<Spot, Waiter>,
}

/// Where somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    lane: Lane,
    /// Lower ones came first.
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    /// For a place at more than one server.
    Open,
    /// For a place at this one.
    Server(usize),
}

#[derive(Debug)]
struct Waiter {
    want: Want,
    waker: Option<Waker>,
    /// It may try although it is not the first.
    called: bool,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Any place.
    Any,
    /// One at a server that it has not been to: what it cannot use another may.
    Other,
    /// One at this server (an [`crate::Endpoint::id`]).
    One(usize),
}

/// As many wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl Queue {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit: limit as usize,
            waiting: AtomicUsize::new(0),
            easy: AtomicUsize::new(0),
            line: Mutex::default(),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // No code that can panic runs under the lock but that of a picker, which changes nothing
        // here: the line is whole.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Whether somebody waits who would take whatever there is: whoever comes now is after it.
    pub(crate) fn is_contended(&self) -> bool {
        self.easy.load(Ordering::SeqCst) > 0
    }

    /// A place may have come free at this server: whoever is first tries again.
    pub(crate) fn wake(&self, server: usize) {
        // Whoever joins counts itself before it tries: it saw the place, or is seen here.
        if self.len() == 0 {
            return;
        }
        let mut line = self.line();
        let open = line.head(Lane::Open);
        let pinned = line.head(Lane::Server(server));
        // Who came first is asked first; who gets nothing stays where it is.
        let pinned_first =
            pinned.is_some_and(|one| open.is_none_or(|other| one.number < other.number));
        let order = if pinned_first { [pinned, open] } else { [open, pinned] };
        order.into_iter().flatten().for_each(|spot| line.call(spot));
    }

    /// The servers are other ones: all who are first somewhere try again.
    pub(crate) fn wake_all(&self) {
        if self.len() == 0 {
            return;
        }
        let mut line = self.line();
        let mut next = line.waiters.keys().next().copied();
        while let Some(spot) = next {
            line.call(spot);
            let lane_end = Spot { number: u64::MAX, ..spot };
            next = line.waiters.range(lane_end..).next().map(|(spot, _)| *spot);
        }
    }

    /// Waits in line until `take` gives something, or says what is wanted now. It is asked when
    /// it is our turn, and when those before us could not use what came free. Dropping the
    /// future leaves the line.
    ///
    /// # Errors
    /// [`QueueFull`], at once.
    pub(crate) async fn wait<T>(
        &self,
        want: Want,
        mut take: impl FnMut() -> Result<T, Want>,
    ) -> Result<T, QueueFull> {
        let mut place = self.join(want)?;
        let mut look = pin!(sleep(LOOK_EVERY));
        let taken = poll_fn(|cx| {
            let mut line = self.line();
            let is_first = line.head(place.spot.lane) == Some(place.spot);
            let Some(waiter) = line.waiters.get_mut(&place.spot) else { return Poll::Pending };
            let called = std::mem::take(&mut waiter.called);
            if !waiter.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                waiter.waker = Some(cx.waker().clone());
            }
            if !is_first && !called {
                return Poll::Pending;
            }
            match take() {
                Ok(taken) => {
                    place.took = true;
                    return Poll::Ready(taken);
                }
                Err(want) => {
                    if want == Want::Other {
                        // What came free was not for this one: the next may have it.
                        line.call_after(place.spot);
                    }
                    place.spot = self.change(&mut line, place.spot, want);
                }
            }
            if line.head(place.spot.lane) == Some(place.spot) {
                drop(line);
                look.as_mut().reset(Instant::now() + LOOK_EVERY);
                // A timer that is over at once is a timer that has to be set again.
                if look.as_mut().poll(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Pending
        });
        Ok(taken.await)
    }

    fn join(&self, want: Want) -> Result<Place<'_>, QueueFull> {
        let mut line = self.line();
        // Half of the line is enough for those who want what others would not take.
        let pinned_full = line.pinned >= self.limit.div_ceil(2);
        if line.waiters.len() >= self.limit || matches!(want, Want::One(_)) && pinned_full {
            return Err(QueueFull);
        }
        let spot = Spot { lane: want.lane(), number: line.next };
        line.next += 1;
        // Time alone may have made room: whoever is first looks before it is overtaken.
        if let Some(first) = line.head(spot.lane) {
            line.call(first);
        }
        self.enter(&mut line, spot, Waiter { want, waker: None, called: false });
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Ok(Place { queue: self, spot, took: false })
    }

    /// It wants something else now: it stands where it would if it had wanted that from the
    /// beginning.
    fn change(&self, line: &mut Line, spot: Spot, want: Want) -> Spot {
        if line.waiters.get(&spot).is_none_or(|waiter| waiter.want == want) {
            return spot;
        }
        let new = Spot { lane: want.lane(), ..spot };
        if let Some(waiter) = self.exit(line, spot) {
            if new.lane != spot.lane {
                line.call_after(spot);
            }
            self.enter(line, new, Waiter { want, ..waiter });
        }
        new
    }

    fn enter(&self, line: &mut Line, spot: Spot, waiter: Waiter) {
        match waiter.want {
            Want::Any => _ = self.easy.fetch_add(1, Ordering::SeqCst),
            Want::Other => {}
            Want::One(_) => line.pinned += 1,
        }
        line.waiters.insert(spot, waiter);
    }

    fn exit(&self, line: &mut Line, spot: Spot) -> Option<Waiter> {
        let waiter = line.waiters.remove(&spot)?;
        match waiter.want {
            Want::Any => _ = self.easy.fetch_sub(1, Ordering::SeqCst),
            Want::Other => {}
            Want::One(_) => line.pinned -= 1,
        }
        Some(waiter)
    }
}

impl Want {
    fn lane(self) -> Lane {
        match self {
            Self::Any | Self::Other => Lane::Open,
            Self::One(server) => Lane::Server(server),
        }
    }
}

impl Line {
    /// The first of a lane.
    fn head(&self, lane: Lane) -> Option<Spot> {
        let from = Spot { lane, number: 0 };
        let (spot, _) = self.waiters.range(from..).next()?;
        (spot.lane == lane).then_some(*spot)
    }

    /// Lets the waiter at this spot try.
    fn call(&mut self, spot: Spot) {
        if let Some(waiter) = self.waiters.get_mut(&spot) {
            waiter.called = true;
            if let Some(waker) = &waiter.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Lets the next one of the same lane try.
    fn call_after(&mut self, spot: Spot) {
        let after = Spot { number: spot.number + 1, ..spot };
        let next = self.waiters.range(after..).next().map(|(next, _)| *next);
        if let Some(next) = next.filter(|next| next.lane == spot.lane) {
            self.call(next);
        }
    }
}

/// One who waits. Dropped when it has what it wants, or wants no more.
struct Place<'a> {
    queue: &'a Queue,
    spot: Spot,
    took: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        let was_first = line.head(self.spot.lane) == Some(self.spot);
        if let Some(waiter) = self.queue.exit(&mut line, self.spot) {
            self.queue.waiting.fetch_sub(1, Ordering::SeqCst);
            // Whoever comes after it is first now, or has the chance that it did not take, or
            // another place that came free meanwhile.
            if was_first || waiter.called || self.took {
                line.call_after(self.spot);
            }
        }
    }
}

#[cfg(test)]
mod tests;
