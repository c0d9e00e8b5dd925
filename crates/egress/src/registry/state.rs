//! What is known of one exit, whichever configuration names it.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::{ExitHop, PrefixPick};
use ipnet::IpNet;

use crate::ban::BanRecord;
use crate::choose::Whose;
use crate::health::HealthRecord;

/// What makes two exits the same: their pool, their name and what they are. Credentials belong
/// to it, so that a connection that was opened with others is not used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) pool: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) what: What,
}

/// What an exit is, without what only a configuration has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Direct,
    Address(IpAddr),
    Prefix(IpNet, PickKey),
    Chain(Vec<ExitHop>),
}

/// [`PrefixPick`], to be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PickKey {
    Random,
    Session,
    Host,
}

impl From<PrefixPick> for PickKey {
    fn from(pick: PrefixPick) -> Self {
        match pick {
            PrefixPick::Random => Self::Random,
            PrefixPick::Session => Self::Session,
            PrefixPick::Host => Self::Host,
        }
    }
}

/// What is known of an exit.
#[derive(Debug)]
pub(crate) struct ExitState {
    /// Never used again for another.
    pub(crate) id: u64,
    pub(crate) identity: Identity,
    /// Requests and connections under way.
    pub(crate) load: AtomicU32,
    /// Times it was taken.
    pub(crate) taken: AtomicU64,
    /// Times it could not be connected through.
    pub(crate) failed: AtomicU64,
    /// When the next request may begin.
    pub(crate) next_ms: AtomicU64,
    /// Whether anything was ever known of it at a single host.
    pub(crate) at_hosts: AtomicBool,
    pub(crate) health: HealthRecord,
    /// The end of its ban, so that requests need no lock.
    banned_until: AtomicU64,
    ban: Mutex<BanRecord>,
    holder: Mutex<Held>,
}

/// Who has an exit that serves one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder<'a> {
    /// A user, and a session of it.
    User(Whose<'a>, Option<&'a str>),
    /// A connection of a client who has no name.
    Connection(u64),
    /// A single request.
    Alone,
}

#[derive(Debug, Default)]
struct Held {
    by: Option<OwnedHolder>,
    times: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum OwnedHolder {
    User { set: Box<str>, user: Box<str>, session: Option<Box<str>> },
    Connection(u64),
    Alone,
}

impl ExitState {
    pub(super) fn new(id: u64, identity: Identity) -> Self {
        Self {
            id,
            identity,
            load: AtomicU32::new(0),
            taken: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            next_ms: AtomicU64::new(0),
            at_hosts: AtomicBool::new(false),
            health: HealthRecord::default(),
            banned_until: AtomicU64::new(0),
            ban: Mutex::default(),
            holder: Mutex::default(),
        }
    }

    /// One more under way, if that is not more than `max`.
    pub(crate) fn enter(&self, max: Option<u32>) -> bool {
        let most = max.unwrap_or(u32::MAX);
        let add = |load: u32| (load < most).then(|| load + 1);
        self.load.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    pub(crate) fn leave(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn banned_until(&self) -> u64 {
        self.banned_until.load(Ordering::Relaxed)
    }

    /// Changes what is remembered of its bans.
    pub(crate) fn change_ban<R>(&self, change: impl FnOnce(&mut BanRecord) -> R) -> R {
        let mut ban = lock(&self.ban);
        let result = change(&mut ban);
        self.banned_until.store(ban.until(), Ordering::Relaxed);
        result
    }

    /// Whether it may serve this one, besides whom it serves.
    pub(crate) fn is_free_for(&self, who: Holder<'_>) -> bool {
        let held = lock(&self.holder);
        held.by.as_ref().is_none_or(|by| who.is(by))
    }

    /// Gives it to this one, if it is free for it.
    pub(crate) fn hold(&self, who: Holder<'_>) -> bool {
        let mut held = lock(&self.holder);
        match &held.by {
            Some(by) if !who.is(by) => return false,
            Some(_) => {}
            None => held.by = Some(who.to_owned()),
        }
        held.times += 1;
        true
    }

    pub(crate) fn release(&self) {
        let mut held = lock(&self.holder);
        held.times = held.times.saturating_sub(1);
        if held.times == 0 {
            held.by = None;
        }
    }
}

impl Holder<'_> {
    fn is(&self, other: &OwnedHolder) -> bool {
        match (self, other) {
            (Holder::User(whose, session), OwnedHolder::User { set, user, session: kept }) => {
                *whose == Whose { set, user } && *session == kept.as_deref()
            }
            (Holder::Connection(id), OwnedHolder::Connection(known)) => id == known,
            // One request is never the same as another.
            _ => false,
        }
    }

    fn to_owned(self) -> OwnedHolder {
        match self {
            Holder::User(Whose { set, user }, session) => OwnedHolder::User {
                set: set.into(),
                user: user.into(),
                session: session.map(Into::into),
            },
            Holder::Connection(id) => OwnedHolder::Connection(id),
            Holder::Alone => OwnedHolder::Alone,
        }
    }
}

/// Nothing that is done under these locks panics half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
