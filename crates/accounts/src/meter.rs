//! What one request or tunnel moves.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::account::{Account, Books, Short};
use crate::cells;
use crate::denied::Denied;
use crate::moment::Moment;
use crate::purse::cost;

/// How long until what others hold is asked for again.
const AGAIN: Duration = Duration::from_millis(5);

/// How long what others hold is waited for. Whoever holds it moves nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// Whether bytes may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// So many, at least one unless none was wanted. They are the caller's, besides those of
    /// earlier grants, until it says that they have passed or that they do not.
    Now(u64),
    /// None yet: ask again after this time. It is no promise.
    Later(Duration),
    /// No more: the stream has to end.
    Stop(Denied),
}

/// What one request or tunnel moves: it asks before bytes pass and says what has passed. Belongs
/// to one task.
///
/// A grant is a reservation: nobody else can have these bytes. So whoever waits for bytes to come
/// gives back what it holds before ([`Meter::give_back`]); others may be waiting for the last ones
/// of a quota. Dropping gives back everything.
pub struct Meter {
    account: Arc<Account>,
    price: u64,
    share: RefCell<Share>,
    /// Of periods that are over, while something is held of them.
    older: RefCell<Vec<Share>>,
    /// Since when it waits for what others hold.
    waits: Cell<Option<Instant>>,
}

/// What is held in two periods.
struct Share {
    cell: Arc<cells::Cell>,
    held: u64,
}

impl Meter {
    pub(crate) fn new(account: Arc<Account>, cell: Arc<cells::Cell>, price: u64) -> Self {
        cell.add_request();
        cell.touch(&account.queue);
        Self {
            account,
            price,
            share: RefCell::new(Share { cell, held: 0 }),
            older: RefCell::default(),
            waits: Cell::new(None),
        }
    }

    /// Asks for bytes: at most 256 KiB are granted at once, and towards the end of a quota or a
    /// budget a share of what is left.
    #[must_use]
    pub fn grant(&self, now: Moment, want: u64) -> Granted {
        if want == 0 {
            return Granted::Now(0);
        }
        let books = self.account.books(now.unix);
        self.follow(&books);
        match self.account.reserve(&books, now, want, self.price) {
            Ok(bytes) => {
                self.share.borrow_mut().held += bytes;
                self.waits.set(None);
                Granted::Now(bytes)
            }
            Err(Short::Wait(after)) => Granted::Later(after),
            Err(Short::Over(denied)) => Granted::Stop(denied),
            Err(Short::Held(denied)) => {
                let since = self.waits.get().unwrap_or(now.instant);
                self.waits.set(Some(since));
                match now.instant.saturating_duration_since(since) < PATIENCE {
                    true => Granted::Later(AGAIN),
                    false => Granted::Stop(denied),
                }
            }
        }
    }

    /// So many of the granted bytes have passed. What passed without a grant is charged as well.
    pub fn used(&self, direction: Direction, bytes: u64) {
        let mut left = bytes;
        for share in self.older.borrow_mut().iter_mut() {
            let part = left.min(share.held);
            share.held -= part;
            left -= part;
            self.count(&share.cell, direction, part);
            self.account.moved(part);
        }
        let share = &mut *self.share.borrow_mut();
        let part = left.min(share.held);
        share.held -= part;
        if part < left {
            self.charge(&share.cell, left - part);
        }
        self.count(&share.cell, direction, left);
        self.account.moved(part);
    }

    /// So many of the granted bytes do not pass.
    pub fn give_back(&self, bytes: u64) {
        let mut left = bytes;
        let share = &mut *self.share.borrow_mut();
        for share in self.older.borrow_mut().iter_mut().chain([share]) {
            let part = left.min(share.held);
            left -= part;
            self.hand_back(share, part);
        }
    }

    /// What is granted and neither used nor given back.
    #[must_use]
    pub fn held(&self) -> u64 {
        let older: u64 = self.older.borrow().iter().map(|share| share.held).sum();
        older + self.share.borrow().held
    }

    /// Whose it is.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Goes on in other periods, where others have begun. What is held of the old ones is used
    /// first, and counts for them.
    fn follow(&self, books: &Books) {
        let mut share = self.share.borrow_mut();
        let cell = &share.cell;
        if Arc::ptr_eq(&cell.day, &books.day) && Arc::ptr_eq(&cell.month, &books.month) {
            return;
        }
        let periods = (&books.day, &books.month);
        let owner = &self.account.owner;
        let next = self.account.cells.find(owner, periods, &cell.exit, &cell.host);
        let old = std::mem::replace(&mut *share, Share { cell: next, held: 0 });
        let mut older = self.older.borrow_mut();
        older.retain(|share| share.held > 0);
        if old.held > 0 {
            older.push(old);
        }
    }

    fn count(&self, cell: &Arc<cells::Cell>, direction: Direction, bytes: u64) {
        if bytes == 0 {
            return;
        }
        match direction {
            Direction::Up => cell.add_up(bytes),
            Direction::Down => cell.add_down(bytes),
        }
        if self.price > 0 {
            cell.add_cost(cost(bytes, self.price));
        }
        cell.touch(&self.account.queue);
    }

    fn charge(&self, cell: &cells::Cell, bytes: u64) {
        for tally in [&cell.day, &cell.month] {
            tally.charge(bytes);
            if self.price > 0 {
                tally.purse.charge(cost(bytes, self.price));
            }
        }
    }

    fn hand_back(&self, share: &mut Share, bytes: u64) {
        if bytes > 0 {
            share.held -= bytes;
            let periods = (&*share.cell.day, &*share.cell.month);
            self.account.give_back(periods, bytes, self.price);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.give_back(u64::MAX);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("held", &self.held()).finish_non_exhaustive()
    }
}
