//! Sessions: the same exit for the same name, on every core.
//!
//! A session is told by the pool that was asked, the user and its set, and the id that the client gave it. It
//! lasts for its time from its first request on, whatever later requests say of time, or until
//! nobody has used it for the pool's idle time; what is under way uses it. Rotation by time or
//! by number is made of the same: a session of the user and what it wishes, without a name.
//!
//! A user without a name is one user: all clients of a listener without users share the ids.
//!
//! Bounded by the number that a user may have, and by [`CAPACITY`] in all. A session is never
//! given up for another: where there is no room, the new one is refused.

mod mark;
mod shard;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

pub use mark::ConnectionMark;

use crate::choose::Whose;
use crate::registry::SessionStatus;
use shard::{Session, Shard};

/// Sessions of all pools and users.
pub const CAPACITY: usize = 500_000;

/// Parts of the table, each with a lock of its own. The sessions of one user are in one of them.
const SHARDS: usize = 64;

/// Rotation by number alone ends when it was not used for so long.
const COUNTED_IDLE_MS: u64 = 3_600_000;

/// The session of a request, as clients are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// What the client calls it.
    pub id: Box<str>,
    /// How long it lasts yet, if it is used.
    pub left_ms: u64,
    /// Whether it fails instead of moving.
    pub strict: bool,
    /// Whether it began with this request.
    pub began: bool,
    /// Whether it has moved to another exit with this request.
    pub moved: bool,
    /// How often it has moved.
    pub moves: u32,
}

/// Which session is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) pool: &'a Arc<str>,
    pub(crate) whose: Whose<'a>,
    pub(crate) id: Id<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Id<'a> {
    /// Given by a client.
    Named(&'a str),
    /// Made for rotation, by the hash of what is wished for.
    Rotation(u64),
}

/// What is agreed when a session begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) ttl_ms: u64,
    pub(crate) idle_ms: Option<u64>,
    pub(crate) strict: bool,
    pub(crate) max_per_user: u32,
    pub(crate) turn: Turn,
}

/// When a rotation chooses anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is a session of a client: never.
    Never,
    AfterMs(u64),
    Every(u32),
}

impl Turn {
    /// How the session that stands for a rotation ends: some time after its turn, so that the
    /// exit it had is remembered and the next is another.
    pub(crate) fn terms(self) -> Terms {
        let idle_ms = match self {
            Self::AfterMs(time) => time.saturating_mul(2),
            Self::Never | Self::Every(_) => COUNTED_IDLE_MS,
        };
        let idle_ms = Some(idle_ms.max(1));
        Terms { ttl_ms: u64::MAX, idle_ms, strict: false, max_per_user: u32::MAX, turn: self }
    }
}

/// The exit that a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pinned {
    pub(crate) exit: u64,
    pub(crate) source: Option<IpAddr>,
}

/// A session that a request has entered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entered {
    pub(crate) place: Place,
    pub(crate) pinned: Pinned,
    pub(crate) strict: bool,
    pub(crate) left_ms: u64,
    pub(crate) moves: u32,
    /// Whether its rotation is to choose anew.
    pub(crate) is_turn: bool,
}

/// Where a session is, for those who are in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    shard: usize,
    slot: usize,
    /// Slots are used again, serials are not.
    serial: u64,
}

/// What came of beginning a session.
pub(crate) enum Begin {
    Began(Entered),
    /// Another core was faster.
    Exists,
    TooMany,
}

/// All sessions of the process.
pub(crate) struct Sessions {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    count: AtomicUsize,
}

impl Sessions {
    pub(crate) fn new(hasher: RandomState) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { hasher, shards, count: AtomicUsize::new(0) }
    }

    /// Enters a session that exists. It is left again by [`Sessions::leave`].
    pub(crate) fn enter(&self, key: &Key<'_>, now: u64) -> Option<Entered> {
        let (at, user) = self.locate(key);
        self.with(at, now, |shard| {
            let (slot, session) = shard.find(self.hash(key, user), key)?;
            let is_turn = session.enter(now);
            Some(entered(at, slot, session, is_turn, now))
        })
    }

    /// The exit of a session, without entering it.
    pub(crate) fn peek(&self, key: &Key<'_>, now: u64) -> Option<(Pinned, bool)> {
        let (at, user) = self.locate(key);
        self.with(at, now, |shard| {
            let (_, session) = shard.find(self.hash(key, user), key)?;
            Some((session.pinned(), session.strict()))
        })
    }

    /// Begins a session, and enters it.
    pub(crate) fn begin(&self, key: &Key<'_>, pinned: Pinned, terms: &Terms, now: u64) -> Begin {
        let (at, user) = self.locate(key);
        self.with(at, now, |shard| {
            let hash = self.hash(key, user);
            if shard.find(hash, key).is_some() {
                return Begin::Exists;
            }
            if self.count.load(Ordering::Relaxed) >= CAPACITY {
                return Begin::TooMany;
            }
            let Some((slot, session)) = shard.begin(hash, user, key, pinned, terms, now) else {
                return Begin::TooMany;
            };
            let is_turn = session.enter(now);
            Begin::Began(entered(at, slot, session, is_turn, now))
        })
    }

    /// Gives a session another exit, if it still has this one. The place of a session whose exit
    /// was changed by somebody else is as good as before.
    pub(crate) fn move_on(
        &self,
        place: Place,
        from: Pinned,
        to: Pinned,
        now: u64,
    ) -> Option<Entered> {
        self.with(place.shard, now, |shard| {
            let session = shard.at(place.slot, place.serial)?;
            session
                .move_on(from, to, now)
                .then(|| entered(place.shard, place.slot, session, false, now))
        })
    }

    /// Whoever entered a session has done with it. `unused`: it did not come to a request.
    pub(crate) fn leave(&self, place: Place, unused: bool, now: u64) {
        self.with(place.shard, now, |shard| {
            if let Some(session) = shard.at(place.slot, place.serial) {
                session.leave(unused, now);
            }
        });
    }

    /// Ends a session of a client. Whether there was one.
    pub(crate) fn end(&self, pool: &str, whose: Whose<'_>, id: &str, now: u64) -> bool {
        let pool: Arc<str> = pool.into();
        let key = Key { pool: &pool, whose, id: Id::Named(id) };
        let (at, user) = self.locate(&key);
        self.with(at, now, |shard| shard.end(self.hash(&key, user), &key))
    }

    /// Those that clients have named.
    pub(crate) fn list(&self, now: u64, names: &HashMap<u64, Arc<str>>) -> Vec<SessionStatus> {
        let list = |at| self.with(at, now, |shard| shard.list(now, names));
        (0..self.shards.len()).flat_map(list).collect()
    }

    /// How many clients have named.
    pub(crate) fn named(&self, now: u64) -> usize {
        (0..self.shards.len()).map(|at| self.with(at, now, |shard| shard.named())).sum()
    }

    /// How many there are, those included that stand for a rotation.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The part of the table that a user's sessions are in, and the hash of the user.
    fn locate(&self, key: &Key<'_>) -> (usize, u64) {
        let user = self.hasher.hash_one((&**key.pool, key.whose));
        ((user >> 32) as usize % self.shards.len(), user)
    }

    fn hash(&self, key: &Key<'_>, user: u64) -> u64 {
        self.hasher.hash_one((user, key.id))
    }

    /// Does something with a part of the table in which nothing is that has ended.
    fn with<R>(&self, at: usize, now: u64, act: impl FnOnce(&mut Shard) -> R) -> R {
        // Nothing that is done under the lock panics half way.
        let mut shard: MutexGuard<'_, Shard> =
            self.shards[at].lock().unwrap_or_else(PoisonError::into_inner);
        let before = shard.len();
        shard.expire(now);
        let result = act(&mut shard);
        let after = shard.len();
        if after > before {
            self.count.fetch_add(after - before, Ordering::Relaxed);
        } else if after < before {
            self.count.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }
}

fn entered(shard: usize, slot: usize, session: &Session, is_turn: bool, now: u64) -> Entered {
    Entered {
        place: Place { shard, slot, serial: session.serial() },
        pinned: session.pinned(),
        strict: session.strict(),
        left_ms: session.left_ms(now),
        moves: session.moves(),
        is_turn,
    }
}
