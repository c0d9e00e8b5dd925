//! Counts over the last while, shared by all cores.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Steps in which the past is forgotten.
const SLOTS: usize = 10;

/// Two counts over the last while. It forgets in tenths; cores that begin a tenth at the same
/// moment may lose a few counts of it, never the past.
#[derive(Debug)]
pub(crate) struct Window {
    /// Milliseconds of one slot.
    width: u64,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Default)]
struct Slot {
    /// Which slot of all time it holds.
    turn: AtomicU64,
    all: AtomicU32,
    marked: AtomicU32,
}

impl Window {
    pub(crate) fn new(span: Duration) -> Self {
        let width = (span.as_millis() as u64 / SLOTS as u64).max(1);
        Self { width, slots: Default::default() }
    }

    /// Counts.
    pub(crate) fn add(&self, now: u64, all: u32, marked: u32) {
        let turn = now / self.width;
        let slot = &self.slots[turn as usize % SLOTS];
        let held = slot.turn.load(Ordering::Relaxed);
        if held != turn
            && slot.turn.compare_exchange(held, turn, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            slot.all.store(0, Ordering::Relaxed);
            slot.marked.store(0, Ordering::Relaxed);
        }
        if all > 0 {
            slot.all.fetch_add(all, Ordering::Relaxed);
        }
        if marked > 0 {
            slot.marked.fetch_add(marked, Ordering::Relaxed);
        }
    }

    /// Both counts.
    pub(crate) fn sums(&self, now: u64) -> (u64, u64) {
        let turn = now / self.width;
        let recent = |slot: &&Slot| {
            let held = slot.turn.load(Ordering::Relaxed);
            held <= turn && turn - held < SLOTS as u64
        };
        self.slots.iter().filter(recent).fold((0, 0), |(all, marked), slot| {
            (
                all + u64::from(slot.all.load(Ordering::Relaxed)),
                marked + u64::from(slot.marked.load(Ordering::Relaxed)),
            )
        })
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for slot in &self.slots {
            slot.all.store(0, Ordering::Relaxed);
            slot.marked.store(0, Ordering::Relaxed);
        }
    }
}

/// Retries that are allowed whatever the percentage.
const FREE_RETRIES: u64 = 10;

/// How many requests may be made again, measured by how many there are. Without it a group in
/// trouble would get a multiple of its load.
#[derive(Debug)]
pub(crate) struct Budget {
    percent: u8,
    window: Window,
}

impl Budget {
    pub(crate) fn new(percent: u8) -> Self {
        Self { percent, window: Window::new(Duration::from_secs(10)) }
    }

    /// Counts a request.
    pub(crate) fn request(&self, now: u64) {
        self.window.add(now, 1, 0);
    }

    /// Whether a request may be made again; if so, that is counted.
    pub(crate) fn retry(&self, now: u64) -> bool {
        let (requests, retries) = self.window.sums(now);
        let allowed = retries < FREE_RETRIES + requests * u64::from(self.percent) / 100;
        if allowed {
            self.window.add(now, 0, 1);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_forgotten_in_tenths() {
        let window = Window::new(Duration::from_secs(1));
        window.add(1000, 3, 1);
        window.add(1550, 2, 2);
        assert_eq!(window.sums(1600), (5, 3));
        assert_eq!(window.sums(1999), (5, 3));
        assert_eq!(window.sums(2000), (2, 2));
        window.add(2050, 1, 0);
        assert_eq!(window.sums(2100), (3, 2), "the slot was used anew");
        assert_eq!(window.sums(9000), (0, 0));
        window.add(9000, 1, 1);
        window.clear();
        assert_eq!(window.sums(9000), (0, 0));
    }

    #[test]
    fn ten_retries_and_a_share_of_the_requests() {
        let budget = Budget::new(20);
        assert_eq!((0..100).filter(|_| budget.retry(1)).count(), 10);
        for _ in 0..50 {
            budget.request(1);
        }
        assert_eq!((0..100).filter(|_| budget.retry(1)).count(), 10);
        assert_eq!((0..100).filter(|_| budget.retry(20_000)).count(), 10, "ten seconds later");
    }

    #[test]
    fn all_cores_count_into_one() {
        let window = Window::new(Duration::from_secs(10));
        window.add(5, 1, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| window.add(5, 1, 1)));
            }
        });
        assert_eq!(window.sums(5), (4001, 4000));
    }
}
