//! Passwords that were found right a short while ago, and the work of finding out.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::passwords::SlowHash;
use crate::users::UserId;

/// A random secret of this process: what makes the keys of a [`VerifiedCache`] useless to
/// whoever reads them out of memory. The same for every core.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// From 32 bytes of the system's randomness.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(Zeroizing::new(random))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Remembers, on one core, which passwords were found right, so that a slow hash is
/// computed once in a while and not for every request.
///
/// A key is a keyed digest of the user's name, the hash it was compared with and the
/// password: a user whose hash changes is forgotten by that, one who does not change is
/// still known after a reload, and sets of users do not mix. Wrong passwords are not
/// remembered. Entries end after a fixed time, whether they are used or not; when there is
/// no room the oldest goes.
pub struct VerifiedCache {
    secret: Secret,
    lifetime: Duration,
    capacity: usize,
    entries: RefCell<Entries>,
}

#[derive(Default)]
struct Entries {
    ends: HashMap<Key, Instant, RandomState>,
    /// In the order they end, for all live equally long.
    order: VecDeque<Key>,
}

/// What a password was found right for.
pub(crate) type Key = [u8; 32];

impl VerifiedCache {
    /// How long an entry lasts, unless told otherwise.
    pub const LIFETIME: Duration = Duration::from_secs(300);

    /// Entries on one core, unless told otherwise: about 400 KiB when full.
    pub const CAPACITY: usize = 4096;

    /// An empty one.
    #[must_use]
    pub fn new(secret: Secret, lifetime: Duration, capacity: usize) -> Self {
        Self { secret, lifetime, capacity, entries: RefCell::default() }
    }

    /// Takes over what a job has found. Only a right password leaves anything.
    pub fn remember(&self, outcome: &JobOutcome, now: Instant) {
        if outcome.granted.is_none() || self.capacity == 0 {
            return;
        }
        let mut entries = self.entries.borrow_mut();
        entries.drop_ended(now);
        if entries.ends.contains_key(&outcome.key) {
            return;
        }
        while entries.order.len() >= self.capacity
            && let Some(oldest) = entries.order.pop_front()
        {
            entries.ends.remove(&oldest);
        }
        entries.ends.insert(outcome.key, now + self.lifetime);
        entries.order.push_back(outcome.key);
    }

    /// How many passwords are remembered, those included that have ended unnoticed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.borrow().order.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn knows(&self, key: &Key, now: Instant) -> bool {
        self.entries.borrow().ends.get(key).is_some_and(|end| now < *end)
    }

    pub(crate) fn key(&self, name: &[u8], hash: &SlowHash, password: &[u8]) -> Key {
        self.digest([name, hash.text().as_bytes(), password])
    }

    /// A digest that tells nothing of its parts to whoever reads it out of memory, and is the
    /// same only for the same parts. `purpose` keeps digests of different uses apart.
    #[must_use]
    pub fn keyed_digest<'p>(
        &self,
        purpose: &'p str,
        parts: impl IntoIterator<Item = &'p [u8]>,
    ) -> [u8; 32] {
        self.digest(std::iter::once(purpose.as_bytes()).chain(parts))
    }

    /// A number that is always the same for a name, and that nobody outside can foresee.
    pub(crate) fn number_of(&self, name: &[u8]) -> usize {
        let digest = self.digest([name]);
        usize::from_le_bytes(std::array::from_fn(|index| digest[index]))
    }

    /// SHA-256 behind a secret first block. The digests stay inside, so nobody can extend
    /// one; the lengths keep the parts apart.
    fn digest<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> Key {
        let mut digest = Sha256::new();
        digest.update(self.secret.0.as_slice());
        digest.update([0; 32]);
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

impl fmt::Debug for VerifiedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCache").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Entries {
    fn drop_ended(&mut self, now: Instant) {
        while let Some(key) = self.order.front()
            && self.ends.get(key).is_none_or(|end| *end <= now)
        {
            self.ends.remove(key);
            self.order.pop_front();
        }
    }
}

/// One comparison with a slow hash: milliseconds of work and, for Argon2, as much memory as
/// its parameters say. For a thread that may block; bound how many run at once.
pub struct PasswordJob {
    pub(crate) hash: Arc<SlowHash>,
    pub(crate) password: Zeroizing<Vec<u8>>,
    /// `None`: there is no such user, and the hash is that of another, for the time it takes.
    pub(crate) user: Option<UserId>,
    pub(crate) key: Key,
}

impl PasswordJob {
    /// Compares. The password is wiped afterwards.
    #[must_use]
    pub fn run(self) -> JobOutcome {
        // Both always happen: whether the user exists must not show in the time.
        let same = self.hash.verify(&self.password);
        JobOutcome { granted: self.user.filter(|_| same), key: self.key }
    }
}

impl fmt::Debug for PasswordJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordJob(…)")
    }
}

/// What a [`PasswordJob`] found.
pub struct JobOutcome {
    granted: Option<UserId>,
    key: Key,
}

impl JobOutcome {
    /// Whose password it was, in the set of users that made the job; `None`: refused.
    #[must_use]
    pub fn granted(&self) -> Option<UserId> {
        self.granted
    }
}

impl fmt::Debug for JobOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobOutcome").field("granted", &self.granted).finish_non_exhaustive()
    }
}
