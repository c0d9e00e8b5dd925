//! Requests that wait for a free place at a server of their group: first come, first served,
//! over all cores.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// The line of one group.
#[derive(Debug)]
pub(crate) struct Queue {
    limit: usize,
    /// How many wait. Read without the lock, to see whether there is anybody to wake.
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    waker: Option<Waker>,
    /// It wants one server, or has been to some: what it cannot use another may.
    picky: bool,
    /// Somebody before it could not use a place that came free: it may try.
    called: bool,
}

/// As many wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl Queue {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit: limit as usize, waiting: AtomicUsize::new(0), line: Mutex::default() }
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

    /// A place came free somewhere: whoever is first tries again.
    pub(crate) fn wake(&self) {
        // Whoever joins counts itself before it tries: it saw the place, or is seen here.
        if self.len() > 0 {
            self.line().call(0);
        }
    }

    /// Waits in line until `take` gives something. It is asked when it is our turn, and when
    /// those before us could not use what came free, which happens to the `picky`. Dropping the
    /// future leaves the line.
    ///
    /// # Errors
    /// [`QueueFull`], at once.
    pub(crate) async fn wait<T>(
        &self,
        picky: bool,
        mut take: impl FnMut() -> Option<T>,
    ) -> Result<T, QueueFull> {
        let place = self.join(picky)?;
        let taken = poll_fn(|cx| {
            let mut line = self.line();
            let Some(index) = line.index_of(place.number) else { return Poll::Pending };
            let waiter = &mut line.waiters[index];
            let turn = index == 0 || waiter.called;
            waiter.called = false;
            if !waiter.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                waiter.waker = Some(cx.waker().clone());
            }
            if !turn {
                return Poll::Pending;
            }
            match take() {
                Some(taken) => Poll::Ready(taken),
                None if picky => {
                    // What came free was not for this one: the next may have it.
                    line.call(index + 1);
                    Poll::Pending
                }
                None => Poll::Pending,
            }
        });
        Ok(taken.await)
    }

    fn join(&self, picky: bool) -> Result<Place<'_>, QueueFull> {
        let mut line = self.line();
        if line.waiters.len() >= self.limit {
            return Err(QueueFull);
        }
        let number = line.next;
        line.next += 1;
        // Where those before it are picky there may be something for it: they are asked again,
        // and pass their turn on.
        if line.waiters.front().is_some_and(|first| first.picky) {
            line.call(0);
        }
        line.waiters.push_back(Waiter { number, waker: None, picky, called: false });
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Ok(Place { queue: self, number })
    }
}

impl Line {
    fn index_of(&self, number: u64) -> Option<usize> {
        self.waiters.iter().position(|waiter| waiter.number == number)
    }

    /// Lets the waiter at this place of the line try.
    fn call(&mut self, index: usize) {
        if let Some(waiter) = self.waiters.get_mut(index) {
            waiter.called = true;
            if let Some(waker) = &waiter.waker {
                waker.wake_by_ref();
            }
        }
    }
}

/// One who waits. Dropped when it has what it wants, or wants no more.
struct Place<'a> {
    queue: &'a Queue,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        if let Some(index) = line.index_of(self.number) {
            let called = line.waiters.remove(index).is_some_and(|waiter| waiter.called);
            self.queue.waiting.fetch_sub(1, Ordering::SeqCst);
            // Whoever comes after it is first now, or has the chance that it did not take.
            if index == 0 || called {
                line.call(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    #[test]
    fn first_come_first_served() {
        let queue = Queue::new(2);
        let (free, order) = (Cell::new(0), RefCell::new(Vec::new()));
        let take = |name: &'static str| {
            let (free, order) = (&free, &order);
            move || {
                (free.get() > 0).then(|| {
                    free.set(free.get() - 1);
                    order.borrow_mut().push(name);
                })
            }
        };
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(queue.wait(false, take("first")));
        let mut second = pin!(queue.wait(false, take("second")));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert_eq!(
            pin!(queue.wait(false, take("third"))).poll(&mut cx),
            Poll::Ready(Err(QueueFull))
        );
        free.set(1);
        queue.wake();
        assert!(second.as_mut().poll(&mut cx).is_pending(), "it is not its turn");
        assert!(first.as_mut().poll(&mut cx).is_ready());
        assert_eq!(queue.len(), 1);
        free.set(1);
        queue.wake();
        assert!(second.as_mut().poll(&mut cx).is_ready());
        assert_eq!(*order.borrow(), ["first", "second"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_cannot_use_a_place_holds_nobody_up() {
        let queue = Queue::new(9);
        let free = Cell::new(false);
        let mut cx = Context::from_waker(Waker::noop());
        let mut picky = pin!(queue.wait(true, || None::<()>));
        let mut other = pin!(queue.wait(false, || free.get().then_some(())));
        assert!(picky.as_mut().poll(&mut cx).is_pending());
        assert!(other.as_mut().poll(&mut cx).is_pending());
        free.set(true);
        queue.wake();
        assert!(picky.as_mut().poll(&mut cx).is_pending());
        assert!(other.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn who_leaves_passes_its_turn_on() {
        let queue = Queue::new(9);
        let mut cx = Context::from_waker(Waker::noop());
        let free = Cell::new(false);
        let mut second = pin!(queue.wait(false, || free.get().then_some(())));
        {
            let mut first = pin!(queue.wait(true, || None::<()>));
            assert!(first.as_mut().poll(&mut cx).is_pending());
            assert!(second.as_mut().poll(&mut cx).is_pending());
            free.set(true);
            queue.wake();
        }
        assert!(second.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let queue = std::sync::Arc::new(Queue::new(1000));
        let places = std::sync::Arc::new(AtomicUsize::new(3));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (queue, places) = (queue.clone(), places.clone());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.build().unwrap();
                    runtime.block_on(async {
                        for _ in 0..2000 {
                            let take = || {
                                places
                                    .try_update(Ordering::SeqCst, Ordering::SeqCst, |free| {
                                        free.checked_sub(1)
                                    })
                                    .ok()
                            };
                            queue.wait(false, take).await.unwrap();
                            tokio::task::yield_now().await;
                            places.fetch_add(1, Ordering::SeqCst);
                            queue.wake();
                        }
                    });
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(places.load(Ordering::SeqCst), 3);
        assert_eq!(queue.len(), 0);
    }
}
