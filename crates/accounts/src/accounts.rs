//! The accounts of the process.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ahash::RandomState;
use config::Period;

use crate::account::{Account, Saved};
use crate::calendar::Day;
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
    totals: Arc<Totals>,
    writer: Writer,
}

/// Accounts by set and name, in parts of which each has a lock.
#[derive(Debug)]
pub(crate) struct Directory {
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
    /// What users had used who have no account at present. Locked after a part.
    saved: Mutex<SavedPeriods>,
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
        let directory = Arc::new(Directory::new(saved));
        let queue = Arc::<Queue>::default();
        let totals = Arc::<Totals>::default();
        let writer = Writer::start(store, problem, &queue, &directory, &totals)?;
        Ok(Arc::new(Self { directory, queue, epoch: Instant::now(), totals, writer }))
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
            account.rests.store(0, Ordering::Relaxed);
            return Arc::clone(account);
        }
        let saved = lock(&self.directory.saved).remove(&(Box::from(set), Box::from(user)));
        let account = Arc::new(Account::new(
            Owner { set: set.into(), user: user.into() },
            limits,
            &self.queue,
            (self.epoch, now.unix),
            |period| saved.as_ref().and_then(|saved| saved[index(period)]),
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
    fn new(saved: SavedPeriods) -> Self {
        let saved = Mutex::new(saved);
        Self { hasher: RandomState::new(), parts: Default::default(), saved }
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

    /// Forgets cells that nobody uses, and accounts that nobody has had for a while: only what
    /// they used of their periods is kept, and that no longer than the periods. To be called now
    /// and then, when everything has been fetched.
    pub(crate) fn sweep(&self, today: Option<Day>) {
        for part in &self.parts {
            let mut part = lock(part);
            part.values().flat_map(HashMap::values).for_each(|it| it.cells.forget_unused());
            for users in part.values_mut() {
                // Whoever has one got it under this lock, or from somebody who has it.
                users.retain(|_, account| {
                    Arc::strong_count(account) > 1
                        || account.rests.fetch_add(1, Ordering::Relaxed) < RESTS
                        || self.put_aside(account).is_none()
                });
            }
            part.retain(|_, users| !users.is_empty());
        }
        if let Some(today) = today {
            let is_recent = |saved: &Saved| saved.first >= today.0.saturating_sub(LONGEST_PERIOD);
            lock(&self.saved).retain(|_, saved| saved.iter().flatten().any(is_recent));
        }
    }

    /// `None`: something of it is not written down yet.
    fn put_aside(&self, account: &Account) -> Option<()> {
        let saved = account.to_save()?;
        let key = (Box::from(account.set()), Box::from(account.user()));
        lock(&self.saved).insert(key, saved.map(Some));
        Some(())
    }
}

/// Sweeps that an account outlives when nobody has it: ten minutes, in which its rates have
/// recovered.
const RESTS: u32 = 20;

/// Days.
const LONGEST_PERIOD: i32 = 31;

/// Nothing that is done under the lock panics half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
