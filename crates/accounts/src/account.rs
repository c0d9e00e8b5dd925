//! One user, as all cores share it.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use config::Period;

use crate::bucket::Bucket;
use crate::calendar::Spell;
use crate::cells::{Cells, Owner, Queue};
use crate::denied::Denied;
use crate::limits::Limits;
use crate::meter::Meter;
use crate::moment::Moment;
use crate::purse::{GRAINS, cost};
use crate::tally::{MOST, Tally, Used, share};

/// Fewer bytes than these are not worth a system call: whoever is slowed waits for them.
const LEAST: u64 = 4096;

/// A clock that was set back by less does not begin a period anew.
const PATIENCE: i64 = 24 * 3600;

/// What one user has left and what it does, shared by all cores. Asking takes no lock.
pub struct Account {
    pub(crate) owner: Arc<Owner>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) cells: Cells,
    /// What the times of the buckets are counted from.
    epoch: Instant,
    books: ArcSwap<Books>,
    /// Held by whoever replaces the books.
    changing: Mutex<()>,
    /// Bytes that streams hold and have not moved: some of them may come back.
    outstanding: AtomicU64,
    connections: AtomicU32,
    requests: Bucket,
    bandwidth: Bucket,
    /// How often it was found that nobody has it.
    pub(crate) rests: AtomicU32,
}

/// The limits and the periods of this moment. Replaced as a whole.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) limits: Arc<Limits>,
    pub(crate) day: Arc<Tally>,
    pub(crate) month: Arc<Tally>,
    begins: i64,
    day_ends: i64,
    month_ends: i64,
}

/// Why there is nothing to be had now.
#[derive(Debug)]
pub(crate) enum Short {
    /// Too fast.
    Wait(Duration),
    /// All is reserved, but some of it may come back.
    Held(Denied),
    /// It is over.
    Over(Denied),
}

impl Account {
    pub(crate) fn new(
        owner: Owner,
        limits: &Arc<Limits>,
        queue: &Arc<Queue>,
        (epoch, unix): (Instant, i64),
        saved: impl Fn(Period) -> Option<Saved>,
    ) -> Self {
        let find = |kind, spell: &Spell| {
            let used = saved(kind).filter(|saved| saved.first == spell.first.0);
            Arc::new(Tally::new(
                kind,
                spell.first,
                used.map_or(Used::default(), |saved| saved.used),
            ))
        };
        Self {
            owner: Arc::new(owner),
            queue: Arc::clone(queue),
            cells: Cells::new(),
            epoch,
            books: ArcSwap::from_pointee(Books::new(limits, unix, find)),
            changing: Mutex::new(()),
            outstanding: AtomicU64::new(0),
            connections: AtomicU32::new(0),
            requests: Bucket::default(),
            bandwidth: Bucket::default(),
            rests: AtomicU32::new(0),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.owner.user
    }

    /// The set that the user is of.
    #[must_use]
    pub fn set(&self) -> &str {
        &self.owner.set
    }

    /// What the user may at present.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.books.load().limits)
    }

    /// Whether the user may ask for something now; counts the request where requests are limited.
    /// Budgets are not looked at, since what an exit costs is not known yet: [`Self::affords`].
    ///
    /// # Errors
    /// It may not: expired, at this time, quota, requests in a time.
    pub fn admit(&self, now: Moment) -> Result<(), Denied> {
        let books = self.books(now.unix);
        let limits = &books.limits;
        if limits.expires.is_some_and(|expires| now.unix >= expires) {
            return Err(Denied::Expired);
        }
        if !limits.allows_time(now.unix) {
            return Err(Denied::Hours);
        }
        for period in [Period::Day, Period::Month] {
            if books.bytes_left(period) == 0 && self.outstanding.load(Ordering::Acquire) == 0 {
                return Err(books.quota(period, now.unix));
            }
        }
        let Some(rate) = &limits.requests else { return Ok(()) };
        match self.requests.take(rate, self.nanos(now.instant), 1, 1) {
            Ok(_) => Ok(()),
            Err(retry_after) => Err(Denied::Rate { retry_after }),
        }
    }

    /// Whether there is money for an exit of this price (millionths for 10⁹ bytes).
    ///
    /// # Errors
    /// A budget is spent.
    pub fn affords(&self, now: Moment, price: Option<u64>) -> Result<(), Denied> {
        let Some(price) = price.filter(|price| *price > 0) else { return Ok(()) };
        let books = self.books(now.unix);
        let spent = [Period::Day, Period::Month].into_iter().find(|period| {
            let budget = books.limits.budget.get(*period);
            budget.is_some_and(|budget| books.tally(*period).purse.left(budget) < u128::from(price))
        });
        spent.map_or(Ok(()), |period| Err(books.budget(period, now.unix)))
    }

    /// A place for one connection (or stream, or association), until the permit is dropped.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn connect(self: &Arc<Self>) -> Result<ConnectionPermit, Denied> {
        let most = self.books.load().limits.connections;
        self.connections
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |there| {
                (there < most).then(|| there + 1)
            })
            .map(|_| ConnectionPermit(Arc::clone(self)))
            .map_err(|_| Denied::Connections)
    }

    /// Counts one request or tunnel to a target by an exit, and what it moves. `price` is in
    /// millionths for 10⁹ bytes. Takes the lock of this user's cells for a look-up.
    #[must_use]
    pub fn meter(
        self: &Arc<Self>,
        now: Moment,
        exit: &str,
        price: Option<u64>,
        host: &str,
    ) -> Meter {
        let books = self.books(now.unix);
        let cell = self.cells.find(&self.owner, (&books.day, &books.month), exit, host);
        Meter::new(Arc::clone(self), cell, price.unwrap_or(0))
    }

    /// How the user stands.
    #[must_use]
    pub fn standing(&self, now: Moment) -> Standing {
        let books = self.books(now.unix);
        let period = |period| {
            let (tally, ends) = (books.tally(period), books.ends(period));
            // One look at each: what is used and what is left are of one moment.
            let (bytes, grains) = (tally.reserved(), tally.purse.reserved());
            let quota = books.limits.quota.get(period);
            let budget = books.limits.budget.get(period);
            let left =
                |budget: u64| (u128::from(budget) * u128::from(GRAINS)).saturating_sub(grains);
            PeriodStanding {
                bytes,
                quota,
                bytes_left: quota.map(|quota| quota.saturating_sub(bytes)),
                cost: narrow(grains / u128::from(GRAINS)),
                budget,
                money_left: budget.map(|budget| narrow(left(budget) / u128::from(GRAINS))),
                resets_in: until(ends, now.unix),
            }
        };
        Standing {
            connections: self.connections.load(Ordering::Acquire),
            day: period(Period::Day),
            month: period(Period::Month),
        }
    }

    /// The limits become others, unless those that there are came later: whoever began to ask
    /// before a reload may get here after it. What was used stays.
    pub(crate) fn set_limits(&self, limits: &Arc<Limits>, unix: i64) {
        if Arc::ptr_eq(&self.books.load().limits, limits) {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.books.load_full();
        if limits.generation >= old.limits.generation {
            self.books.store(Arc::new(old.next(limits, unix)));
        }
    }

    /// What was used of the day and the month counts no more. The new tallies.
    pub(crate) fn reset(&self, unix: i64) -> [Arc<Tally>; 2] {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.books.load_full();
        old.day.retire();
        old.month.retire();
        let fresh = |kind, spell: &Spell| Arc::new(Tally::new(kind, spell.first, Used::default()));
        let books = Arc::new(Books::new(&old.limits, unix, fresh));
        self.books.store(Arc::clone(&books));
        [Arc::clone(&books.day), Arc::clone(&books.month)]
    }

    /// What was used of the day and the month, for an account that nobody has; `None`: some of it
    /// is on its way to the writer.
    pub(crate) fn to_save(&self) -> Option<[Saved; 2]> {
        let books = self.books.load();
        let saved = |tally: &Tally| Saved { first: tally.first.0, used: tally.settled() };
        self.cells.is_empty().then(|| [saved(&books.day), saved(&books.month)])
    }

    /// The books of this moment: a period that is over is followed by the next.
    pub(crate) fn books(&self, unix: i64) -> Guard<Arc<Books>> {
        let books = self.books.load();
        if books.covers(unix) {
            return books;
        }
        drop(books);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.books.load_full();
        if !old.covers(unix) {
            self.books.store(Arc::new(old.next(&old.limits, unix)));
        }
        self.books.load()
    }

    /// Reserves up to `want` bytes, as many as may go now.
    pub(crate) fn reserve(
        &self,
        books: &Books,
        now: Moment,
        want: u64,
        price: u64,
    ) -> Result<u64, Short> {
        if books.limits.expires.is_some_and(|expires| now.unix >= expires) {
            return Err(Short::Over(Denied::Expired));
        }
        if !books.limits.allows_time(now.unix) {
            return Err(Short::Over(Denied::Hours));
        }
        let want = want.min(MOST);
        let Some(rate) = &books.limits.bandwidth else {
            return self.reserve_quota(books, now.unix, want, price);
        };
        let taken =
            self.bandwidth.take(rate, self.nanos(now.instant), want, LEAST).map_err(Short::Wait)?;
        let reserved = self.reserve_quota(books, now.unix, taken, price);
        let got = *reserved.as_ref().unwrap_or(&0);
        if got < taken {
            self.bandwidth.give_back(rate, taken - got);
        }
        reserved
    }

    fn reserve_quota(&self, books: &Books, unix: i64, want: u64, price: u64) -> Result<u64, Short> {
        let attempt = || {
            // Announced before anything is reserved: who finds nothing left and nothing
            // outstanding knows that nothing will come back.
            self.outstanding.fetch_add(want, Ordering::AcqRel);
            let reserved = books.reserve(want, price, unix);
            let got = *reserved.as_ref().unwrap_or(&0);
            let others = self.outstanding.fetch_sub(want - got, Ordering::AcqRel) - (want - got);
            reserved.map_err(|denied| (denied, others))
        };
        match attempt() {
            Ok(got) => Ok(got),
            Err((denied, others)) if others > 0 => Err(Short::Held(denied)),
            // The last one may have given something back just before.
            Err(_) => attempt().map_err(|(denied, others)| match others {
                0 => Short::Over(denied),
                _ => Short::Held(denied),
            }),
        }
    }

    /// So many of the bytes that were reserved have passed.
    pub(crate) fn moved(&self, bytes: u64) {
        self.outstanding.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// So many of the bytes that were reserved in these periods do not pass.
    pub(crate) fn give_back(&self, (day, month): (&Tally, &Tally), bytes: u64, price: u64) {
        day.give_back(bytes);
        month.give_back(bytes);
        if price > 0 {
            day.purse.give_back(cost(bytes, price));
            month.purse.give_back(cost(bytes, price));
        }
        if let Some(rate) = &self.books.load().limits.bandwidth {
            self.bandwidth.give_back(rate, bytes);
        }
        self.moved(bytes);
    }

    fn nanos(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX / 2)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Books {
    fn new(limits: &Arc<Limits>, unix: i64, tally: impl Fn(Period, &Spell) -> Arc<Tally>) -> Self {
        let day = limits.zone.period(Period::Day, unix);
        let month = limits.zone.period(Period::Month, unix);
        Self {
            limits: Arc::clone(limits),
            day: tally(Period::Day, &day),
            month: tally(Period::Month, &month),
            begins: day.begins,
            day_ends: day.ends,
            month_ends: month.ends,
        }
    }

    /// Those that follow: a period that is still the same goes on.
    fn next(&self, limits: &Arc<Limits>, unix: i64) -> Self {
        Self::new(limits, unix, |kind, spell| {
            let old = self.tally(kind);
            if old.first == spell.first {
                return Arc::clone(old);
            }
            Arc::new(Tally::new(kind, spell.first, Used::default()))
        })
    }

    fn covers(&self, unix: i64) -> bool {
        unix < self.day_ends && unix >= self.begins - PATIENCE
    }

    fn tally(&self, period: Period) -> &Arc<Tally> {
        match period {
            Period::Day => &self.day,
            Period::Month => &self.month,
        }
    }

    fn ends(&self, period: Period) -> i64 {
        match period {
            Period::Day => self.day_ends,
            Period::Month => self.month_ends,
        }
    }

    fn bytes_left(&self, period: Period) -> u64 {
        self.tally(period).left(self.limits.quota.get(period).unwrap_or(u64::MAX))
    }

    fn quota(&self, period: Period, unix: i64) -> Denied {
        Denied::Quota { period, resets_in: until(self.ends(period), unix) }
    }

    fn budget(&self, period: Period, unix: i64) -> Denied {
        Denied::Budget { period, resets_in: until(self.ends(period), unix) }
    }

    /// Reserves in both periods, bytes and money: what one of them has not is given back to those
    /// that had it.
    fn reserve(&self, want: u64, price: u64, unix: i64) -> Result<u64, Denied> {
        let Self { limits, day, month, .. } = self;
        let of_day = day.reserve(want, limits.quota.day);
        if of_day == 0 {
            return Err(self.quota(Period::Day, unix));
        }
        let of_month = month.reserve(of_day, limits.quota.month);
        day.give_back(of_day - of_month);
        if of_month == 0 {
            return Err(self.quota(Period::Month, unix));
        }
        if price == 0 {
            return Ok(of_month);
        }
        let paid = self.pay(of_month, price, unix);
        let back = of_month - *paid.as_ref().unwrap_or(&0);
        day.give_back(back);
        month.give_back(back);
        paid
    }

    fn pay(&self, want: u64, price: u64, unix: i64) -> Result<u64, Denied> {
        let Self { limits, day, month, .. } = self;
        let by_day = day.purse.reserve(want, price, limits.budget.day, share);
        if by_day == 0 {
            return Err(self.budget(Period::Day, unix));
        }
        let by_month = month.purse.reserve(by_day, price, limits.budget.month, share);
        day.purse.give_back(cost(by_day - by_month, price));
        if by_month == 0 {
            return Err(self.budget(Period::Month, unix));
        }
        Ok(by_month)
    }
}

/// What a period had come to when it was last written down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saved {
    /// The first day of the period.
    pub(crate) first: i32,
    pub(crate) used: Used,
}

/// A place for one connection. Dropping it gives the place back.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<Account>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How a user stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Connections and streams that there are.
    pub connections: u32,
    /// The day.
    pub day: PeriodStanding,
    /// The month.
    pub month: PeriodStanding,
}

/// How a user stands in a period. Money is in millionths, rounded down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodStanding {
    /// Bytes that have passed, at this moment; what streams hold counts as used.
    pub bytes: u64,
    /// Bytes that may pass, where they are limited.
    pub quota: Option<u64>,
    /// What is left of these.
    pub bytes_left: Option<u64>,
    /// What that costs.
    pub cost: u64,
    /// What may be spent, where it is limited.
    pub budget: Option<u64>,
    /// What is left of it.
    pub money_left: Option<u64>,
    /// In how long the next period begins.
    pub resets_in: Duration,
}

fn until(ends: i64, unix: i64) -> Duration {
    Duration::from_secs(u64::try_from(ends.saturating_sub(unix)).unwrap_or(0))
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
