//! What was used, by exit and target, until the writer fetches it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use crate::purse::Till;
use crate::tally::Tally;

/// Pairs of exit and target that one user has in a day; further targets count as [`OTHER`].
pub const MOST_TARGETS: usize = 1000;

/// Exits that one user has in a day; further ones count as [`OTHER`].
pub const MOST_EXITS: usize = 1000;

/// All targets (or exits) that there was no room for. No host has such a name.
pub const OTHER: &str = "(other)";

/// Whose it is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) set: Box<str>,
    pub(crate) user: Box<str>,
}

/// Who uses what is counted here: user, exit, target and day.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) owner: Arc<Owner>,
    pub(crate) exit: Arc<str>,
    pub(crate) host: Box<str>,
    pub(crate) day: Arc<Tally>,
    pub(crate) month: Arc<Tally>,
    up: AtomicU64,
    down: AtomicU64,
    requests: AtomicU64,
    cost: Till,
    /// It is in the queue of the writer.
    queued: AtomicBool,
}

/// What came since the writer was here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Delta {
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) requests: u64,
    /// In grains.
    pub(crate) cost: u128,
}

impl Delta {
    pub(crate) fn add(&mut self, other: &Self) {
        self.up = self.up.saturating_add(other.up);
        self.down = self.down.saturating_add(other.down);
        self.requests = self.requests.saturating_add(other.requests);
        self.cost = self.cost.saturating_add(other.cost);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.up.saturating_add(self.down)
    }
}

/// Cells in which there is something, each once.
#[derive(Debug, Default)]
pub(crate) struct Queue(Mutex<Vec<Arc<Cell>>>);

impl Queue {
    pub(crate) fn take(&self) -> Vec<Arc<Cell>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, cell: Arc<Cell>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(cell);
    }
}

impl Cell {
    pub(crate) fn add_up(&self, bytes: u64) {
        // Acquire: who comes after the writer has been here sees that it is not queued any more.
        self.up.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn add_down(&self, bytes: u64) {
        self.down.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn add_request(&self) {
        self.requests.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn add_cost(&self, grains: u128) {
        self.cost.add(grains);
    }

    /// Sees to it that the writer comes. To be called after adding.
    pub(crate) fn touch(self: &Arc<Self>, queue: &Queue) {
        if !self.queued.load(Ordering::Acquire) && !self.queued.swap(true, Ordering::AcqRel) {
            queue.push(Arc::clone(self));
        }
    }

    /// What the writer takes away.
    pub(crate) fn fetch(&self) -> Delta {
        self.queued.store(false, Ordering::Release);
        Delta {
            cost: self.cost.take(),
            up: self.up.swap(0, Ordering::AcqRel),
            down: self.down.swap(0, Ordering::AcqRel),
            requests: self.requests.swap(0, Ordering::AcqRel),
        }
    }
}

/// The cells of one user for one day. What nobody uses is forgotten: it has been written down.
#[derive(Debug)]
pub(crate) struct Cells(Mutex<Book>);

type Hosts = HashMap<Box<str>, Arc<Cell>, RandomState>;

#[derive(Debug, Default)]
struct Book {
    day: Option<Arc<Tally>>,
    exits: HashMap<Arc<str>, Hosts, RandomState>,
    /// Hashes of the names that had a place today, whether they are in `exits` now or not.
    known_exits: HashSet<u64, RandomState>,
    known_targets: HashSet<u64, RandomState>,
}

impl Cells {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// The cell for a target by an exit, in these periods.
    pub(crate) fn find(
        &self,
        owner: &Arc<Owner>,
        (day, month): (&Arc<Tally>, &Arc<Tally>),
        exit: &str,
        host: &str,
    ) -> Arc<Cell> {
        let mut book = self.book();
        let make = |exit: Arc<str>, host: &str| {
            Arc::new(Cell {
                owner: Arc::clone(owner),
                exit,
                host: host.into(),
                day: Arc::clone(day),
                month: Arc::clone(month),
                up: AtomicU64::new(0),
                down: AtomicU64::new(0),
                requests: AtomicU64::new(0),
                cost: Till::default(),
                queued: AtomicBool::new(false),
            })
        };
        match &book.day {
            Some(current) if Arc::ptr_eq(current, day) => {}
            // Somebody saw the end of the day before this one did.
            Some(current) if day.is_retired() || day.first < current.first => {
                return make(exit.into(), host);
            }
            _ => *book = Book { day: Some(Arc::clone(day)), ..Book::default() },
        }
        if let Some(cell) = book.exits.get(exit).and_then(|hosts| hosts.get(host))
            && Arc::ptr_eq(&cell.month, month)
        {
            return Arc::clone(cell);
        }
        let (exit, host) = book.admit(exit, host);
        if let Some(cell) = book.exits.get(exit).and_then(|hosts| hosts.get(host))
            && Arc::ptr_eq(&cell.month, month)
        {
            return Arc::clone(cell);
        }
        let name = match book.exits.get_key_value(exit) {
            Some((name, _)) => Arc::clone(name),
            None => exit.into(),
        };
        let cell = make(Arc::clone(&name), host);
        book.exits.entry(name).or_default().insert(host.into(), Arc::clone(&cell));
        cell
    }

    /// Forgets the cells that nobody uses and in which there is nothing.
    pub(crate) fn forget_unused(&self) {
        let mut book = self.book();
        book.exits.retain(|_, hosts| {
            // Whoever has one got it here, under the lock; a queued one is in the queue as well.
            hosts.retain(|_, cell| Arc::strong_count(cell) > 1);
            hosts.shrink_to(hosts.len() * 2);
            !hosts.is_empty()
        });
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.book().exits.is_empty()
    }

    /// Nothing that is done under the lock panics half way.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// The names under which a pair is counted.
    fn admit<'n>(&mut self, exit: &'n str, host: &'n str) -> (&'n str, &'n str) {
        let exit = admit(&mut self.known_exits, MOST_EXITS, exit, exit);
        (exit, admit(&mut self.known_targets, MOST_TARGETS, (exit, host), host))
    }
}

fn admit<'n>(
    known: &mut HashSet<u64, RandomState>,
    most: usize,
    key: impl std::hash::Hash,
    name: &'n str,
) -> &'n str {
    let hash = known.hasher().hash_one(key);
    if known.contains(&hash) {
        return name;
    }
    if known.len() >= most {
        return OTHER;
    }
    known.insert(hash);
    name
}
