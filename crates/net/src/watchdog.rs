//! Deadlines for thousands of connections at the price of a few words each.
//!
//! A timer of the runtime costs over a hundred bytes and two list operations for every request.
//! Deadlines of connections are seconds long and need no precision, so each core keeps them in
//! one table and looks through it every [`Watchdog::tick`]: setting one is a store.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

/// The deadlines of one core.
#[derive(Debug)]
pub struct Watchdog {
    tick: Cell<Duration>,
    /// [`process_ms`] as of the last tick.
    now: Cell<u64>,
    entries: RefCell<Slab<Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// In the milliseconds of [`Watchdog::now`].
    deadline: u64,
    waker: Option<Waker>,
}

const NEVER: u64 = u64::MAX;

/// Milliseconds of the process: the one time line of all threads, so that what one core has
/// noted can be compared by another. It begins at 1, so that 0 can stand for "never".
#[must_use]
pub fn process_ms() -> u64 {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    1 + BEGINNING.get_or_init(Instant::now).elapsed().as_millis() as u64
}

impl Watchdog {
    /// A table that is looked through every `tick`; deadlines are late by up to two of them.
    #[must_use]
    pub fn new(tick: Duration) -> Rc<Self> {
        Rc::new(Self {
            tick: Cell::new(tick),
            now: Cell::new(process_ms()),
            entries: RefCell::new(Slab::new()),
        })
    }

    /// The interval between two looks.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.tick.get()
    }

    /// Changes the interval. The look that is due next comes at its old time.
    pub fn set_tick(&self, tick: Duration) {
        self.tick.set(tick);
    }

    /// Runs for as long as the core does.
    pub async fn run(&self) {
        loop {
            self.sweep();
            tokio::time::sleep(self.tick.get()).await;
        }
    }

    /// [`process_ms`] as of the last tick: a clock that costs nothing.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now.get()
    }

    fn sweep(&self) {
        let now = process_ms();
        self.now.set(now);
        // Waking runs no task here, it only marks it; the table is not touched meanwhile.
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if entry.deadline <= now
                && let Some(waker) = entry.waker.take()
            {
                waker.wake();
            }
        }
    }

    /// Wakes every task that waits for its deadline, whatever that is.
    pub fn wake_all(&self) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }

    /// A deadline of its own for one task, not set yet.
    #[must_use]
    pub fn guard(self: &Rc<Self>) -> Guard {
        let key = self.entries.borrow_mut().insert(Entry { deadline: NEVER, waker: None });
        Guard { watchdog: Rc::clone(self), key: key as u32 }
    }
}

/// The time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired;

/// The deadline of one task.
#[derive(Debug)]
pub struct Guard {
    watchdog: Rc<Watchdog>,
    key: u32,
}

impl Guard {
    /// Sets the deadline, in place of an earlier one.
    pub fn set(&self, after: Duration) {
        // The clock may be a tick behind: a deadline is never early.
        let at = self.watchdog.now.get() + (after + self.watchdog.tick.get()).as_millis() as u64;
        self.watchdog.entries.borrow_mut()[self.key as usize].deadline = at;
    }

    /// Takes the deadline away.
    pub fn clear(&self) {
        self.watchdog.entries.borrow_mut()[self.key as usize].deadline = NEVER;
    }

    /// The table this deadline is in.
    #[must_use]
    pub fn watchdog(&self) -> &Rc<Watchdog> {
        &self.watchdog
    }

    /// Ready once the deadline has passed; else the task is woken when it does.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let entry = &mut self.watchdog.entries.borrow_mut()[self.key as usize];
        if entry.deadline <= self.watchdog.now.get() {
            return Poll::Ready(());
        }
        match &mut entry.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            waker => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Runs a future until it is done or the deadline that is set has passed.
    ///
    /// # Errors
    /// [`Expired`]; the future is dropped then.
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Expired> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll_expired(cx).map(|()| Err(Expired)),
        })
        .await
    }

    /// Sets the deadline and runs a future under it.
    ///
    /// # Errors
    /// See [`Guard::run`].
    pub async fn within<F: Future>(
        &self,
        after: Duration,
        future: F,
    ) -> Result<F::Output, Expired> {
        self.set(after);
        self.run(future).await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watchdog.entries.borrow_mut().remove(self.key as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_and_is_never_early() {
        let watchdog = Watchdog::new(Duration::from_millis(100));
        let guard = watchdog.guard();
        let started = Instant::now();
        tokio::select! {
            () = watchdog.run() => unreachable!("the table runs for ever"),
            outcome = guard.within(Duration::from_secs(2), std::future::pending::<()>()) => {
                assert_eq!(outcome, Err(Expired));
            }
        }
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(2) && took <= Duration::from_millis(2300), "{took:?}");
    }

    #[test]
    fn cores_share_one_time_line() {
        let (first, second) = (Watchdog::new(Duration::from_millis(5)), process_ms());
        let later = std::thread::spawn(|| Watchdog::new(Duration::from_millis(5)).now_ms());
        assert!(first.now_ms() > 0 && first.now_ms() <= second);
        assert!(later.join().unwrap() >= second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_future_that_is_done_in_time_gives_its_output() {
        let watchdog = Watchdog::new(Duration::from_millis(100));
        let guard = watchdog.guard();
        let work = tokio::time::sleep(Duration::from_secs(1));
        tokio::select! {
            () = watchdog.run() => unreachable!("the table runs for ever"),
            outcome = guard.within(Duration::from_secs(2), work) => assert_eq!(outcome, Ok(())),
        }
        drop(guard);
        assert!(watchdog.entries.borrow().is_empty());
    }
}
