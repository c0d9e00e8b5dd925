//! The accounts of the process.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ahash::RandomState;
use config::Period;

use crate::account::Account;
use crate::cells::{Owner, Queue};
use crate::limits::Limits;
use crate::moment::Moment;
use crate::query::{UsageQuery, UsageRow};
use crate::store::{Opened, SavedPeriods, Store};
use crate::writer::{Status, Total, Totals, Writer};

/// All users that have asked for something, or that a configuration has named: one for each
/// process. A configuration that is loaded anew finds them again with what they have used.
///
/// Dropping it writes down what is not written yet, and waits for that.
pub struct Accounts {
    directory: Arc<Directory>,
    queue: Arc<Queue>,
    epoch: Instant,
    saved: SavedPeriods,
    totals: Arc<Totals>,
    writer: Writer,
}

/// Accounts by set and name, in parts of which each has a lock.
#[derive(Debug)]
pub(crate) struct Directory {
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
}

const PARTS: usize = 16;

/// By set, then by name: so that nothing has to be put together to look somebody up.
type Part = HashMap<Box<str>, HashMap<Box<str>, Arc<Account>, RandomState>, RandomState>;

impl Accounts {
    /// Opens `usage.db` in the state folder and starts the thread that writes to it; without a
    /// folder, all is kept in memory. A file that cannot be used is warned of and left alone, and
    /// [`Accounts::status`] tells: no request fails for it.
    ///
    /// # Errors
    /// No thread can be started, or there is no memory.
    pub fn open(state: Option<&Path>) -> io::Result<Arc<Self>> {
        let Opened { store, saved, problem } = Store::open(state)?;
        let directory = Arc::new(Directory::new());
        let queue = Arc::<Queue>::default();
        let totals = Arc::<Totals>::default();
        let writer = Writer::start(store, problem, &queue, &directory, &totals)?;
        Ok(Arc::new(Self { directory, queue, epoch: Instant::now(), saved, totals, writer }))
    }

    /// The account of a user, with these limits from now on. To be called when a configuration is
    /// put to use, and for users that only a callout knows; requests keep the account.
    pub fn account(
        &self,
        set: &str,
        user: &str,
        limits: &Arc<Limits>,
        now: Moment,
    ) -> Arc<Account> {
        let mut part = self.directory.part(set, user);
        if let Some(account) = part.get(set).and_then(|users| users.get(user)) {
            account.set_limits(limits, now.unix);
            return Arc::clone(account);
        }
        let saved = self.saved.get(&(Box::from(set), Box::from(user)));
        let account = Arc::new(Account::new(
            Owner { set: set.into(), user: user.into() },
            limits,
            &self.queue,
            (self.epoch, now.unix),
            |period| saved.and_then(|saved| saved[index(period)]),
        ));
        part.entry(set.into()).or_default().insert(user.into(), Arc::clone(&account));
        account
    }

    /// The account of a user, if there is one.
    #[must_use]
    pub fn find(&self, set: &str, user: &str) -> Option<Arc<Account>> {
        self.directory.part(set, user).get(set)?.get(user).cloned()
    }

    /// All accounts, by set and name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Account>> {
        let mut all = self.directory.all();
        all.sort_by(|a, b| (a.set(), a.user()).cmp(&(b.set(), b.user())));
        all
    }

    /// What a user has used of its day and its month counts no more. What the usage says of the
    /// past stays. Waits for the writer: not for a core. `false`: nobody knows this user.
    ///
    /// # Errors
    /// What the store says.
    pub fn reset(&self, set: &str, user: &str, now: Moment) -> Result<bool, String> {
        let account = self.find(set, user);
        if let Some(account) = &account {
            account.reset(now.unix);
        }
        let rows = self.writer.reset(set, user)?;
        Ok(account.is_some() || rows > 0)
    }

    /// What was used, up to now. Waits for the writer: not for a core.
    ///
    /// # Errors
    /// What the store says.
    pub fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, String> {
        self.writer.query(query.clone())
    }

    /// What was used by each user through each exit since the process began, half a second ago.
    /// For counters: it only grows.
    #[must_use]
    pub fn totals(&self) -> Vec<Total> {
        self.totals.all()
    }

    /// Writes down everything, and returns when that is done. Not for a core.
    pub fn flush(&self) {
        self.writer.flush();
    }

    /// Where usage is kept, and what is wrong with that.
    #[must_use]
    pub fn status(&self) -> Status {
        self.writer.status()
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("status", &self.status()).finish_non_exhaustive()
    }
}

pub(crate) fn index(period: Period) -> usize {
    match period {
        Period::Day => 0,
        Period::Month => 1,
    }
}

impl Directory {
    fn new() -> Self {
        Self { hasher: RandomState::new(), parts: Default::default() }
    }

    fn part(&self, set: &str, user: &str) -> MutexGuard<'_, Part> {
        let number = self.hasher.hash_one((set, user)) as usize % PARTS;
        lock(&self.parts[number])
    }

    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend(lock(part).values().flat_map(HashMap::values).cloned());
        }
        all
    }
}

/// Nothing that is done under the lock panics half way.
fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
