//! Sets of users, and whether a name and a password belong to one of them.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ahash::RandomState;
use config::{ConfigError, User, UserLimits, UserSet};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::nets::NetMap;
use crate::passwords::{Stored, is_digest_of};
use crate::rule_set::{RuleSet, RuleSources};
use crate::verified::{PasswordJob, VerifiedCache};

mod build;

/// A user within its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(u32);

impl UserId {
    /// Its place among the users of its set.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of users, immutable once built.
pub struct Users {
    records: Vec<Record>,
    by_name: HashMap<Box<[u8]>, UserId, RandomState>,
    by_key: HashMap<KeyDigest, UserId, RandomState>,
    by_address: NetMap<UserId>,
    /// One record of each cost that occurs: what stands in for a user who does not exist.
    stand_ins: Vec<usize>,
    /// Whether somebody else knows users that are not here.
    asks_elsewhere: bool,
    defaults: Permissions,
    sources: Vec<PathBuf>,
}

/// SHA-256 of an API key.
type KeyDigest = [u8; 32];

struct Record {
    name: Box<str>,
    /// `None`: no password is right.
    stored: Option<Stored>,
    keys: Box<[KeyDigest]>,
    /// Seconds since 1970.
    expires: Option<u64>,
    permissions: Permissions,
}

/// What a user may.
#[derive(Clone)]
struct Permissions {
    limits: Arc<UserLimits>,
    rules: Option<Arc<RuleSet>>,
}

/// The answer to a name and a password.
#[derive(Debug)]
pub enum Check {
    /// They belong together.
    Granted(UserId),
    /// They do not.
    Refused,
    /// Only a slow hash can tell.
    Work(PasswordJob),
    /// The name is not known here, and a server has to be asked ([`config::UserSet::callout`]).
    Unknown,
}

impl Users {
    /// Takes the users of a set, those of its htpasswd files, and `rows`: those of its databases,
    /// whoever has read them.
    ///
    /// # Errors
    /// Everything that is wrong at once: files that cannot be read, hashes of other kinds
    /// than bcrypt and Argon2; names, keys and networks that occur twice; rules whose lists cannot
    /// be read.
    pub fn build(
        set: &UserSet,
        rows: Vec<User>,
        sources: &mut RuleSources,
    ) -> Result<Self, Vec<ConfigError>> {
        build::build(set, &rows, sources)
    }

    /// Whether the password, or what is shown in its place, is the user's. An API key is taken
    /// for one.
    ///
    /// How long it takes to refuse does not tell whether the user exists: a name that does
    /// not is compared with the password of another user, always one of the same cost for
    /// the same name, and refused whatever comes of it. So in a set where every password is
    /// a slow hash, an unknown user costs what a wrong password costs; in a mixed set, what
    /// it costs some of the users. The same is done for a user who has no password.
    ///
    /// Whether the user has expired is another question: [`Users::is_expired`].
    #[must_use]
    pub fn check(
        &self,
        name: &[u8],
        password: &[u8],
        cache: &VerifiedCache,
        now: Instant,
    ) -> Check {
        let known = self.by_name.get(name).copied();
        if known.is_none() && self.asks_elsewhere {
            return Check::Unknown;
        }
        let offered: KeyDigest = Sha256::digest(password).into();
        let own = known.and_then(|id| Some((id, self.get(id)?)));
        if let Some((id, record)) = own
            && record.keys.iter().any(|key| key.ct_eq(&offered).into())
        {
            return Check::Granted(id);
        }
        let stand_in = || self.records.get(self.stand_in(cache.number_of(name))?);
        // For whom the password counts, if it is right.
        let (user, stored) = match own.and_then(|(id, record)| Some((id, record.stored.as_ref()?)))
        {
            Some((id, stored)) => (Some(id), stored),
            None => match stand_in().and_then(|record| record.stored.as_ref()) {
                Some(stored) => (None, stored),
                None => return Check::Refused,
            },
        };
        match stored {
            Stored::Digest(digest) => {
                let same = is_digest_of(digest, password);
                user.filter(|_| same).map_or(Check::Refused, Check::Granted)
            }
            Stored::Slow(hash) => {
                let key = cache.key(name, hash, password);
                match user {
                    Some(user) if cache.knows(&key, now) => Check::Granted(user),
                    user => Check::Work(PasswordJob {
                        hash: Arc::clone(hash),
                        password: Zeroizing::new(password.to_vec()),
                        user,
                        key,
                    }),
                }
            }
        }
    }

    /// The user of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<UserId> {
        self.by_name.get(name.as_bytes()).copied()
    }

    /// The user whose API key this is.
    #[must_use]
    pub fn by_key(&self, key: &[u8]) -> Option<UserId> {
        // How long this takes may tell something of a digest; nobody finds a key by that.
        let digest: KeyDigest = Sha256::digest(key).into();
        self.by_key.get(&digest).copied()
    }

    /// The user who is known by this address and shows no credentials: the one with the smallest
    /// network that holds it.
    #[must_use]
    pub fn by_address(&self, client: IpAddr) -> Option<UserId> {
        self.by_address.get(client).copied()
    }

    /// Whether somebody can be known by an address.
    #[must_use]
    pub fn knows_addresses(&self) -> bool {
        !self.by_address.is_empty()
    }

    /// Whether the time of a user is over.
    #[must_use]
    pub fn is_expired(&self, user: UserId, now: Timestamp) -> bool {
        self.expires(user)
            .is_some_and(|end| u64::try_from(now.as_second()).is_ok_and(|now| now >= end))
    }

    /// When the time of a user is over, in seconds since 1970.
    #[must_use]
    pub fn expires(&self, user: UserId) -> Option<u64> {
        self.get(user)?.expires
    }

    /// What the user may: what is said of it, and else what is said of all.
    #[must_use]
    pub fn limits(&self, user: UserId) -> &Arc<UserLimits> {
        &self.permissions(user).limits
    }

    /// The user's rules about targets, for [`crate::Asked::rules`].
    #[must_use]
    pub fn rules(&self, user: UserId) -> Option<&Arc<RuleSet>> {
        self.permissions(user).rules.as_ref()
    }

    /// What those may whom only somebody else knows.
    #[must_use]
    pub fn default_limits(&self) -> &Arc<UserLimits> {
        &self.defaults.limits
    }

    /// The rules of those whom only somebody else knows.
    #[must_use]
    pub fn default_rules(&self) -> Option<&Arc<RuleSet>> {
        self.defaults.rules.as_ref()
    }

    /// The user's name. Empty for an identifier of another set.
    #[must_use]
    pub fn name(&self, user: UserId) -> &str {
        self.get(user).map_or("", |record| &record.name)
    }

    /// All users, in their order.
    pub fn ids(&self) -> impl Iterator<Item = UserId> + use<> {
        // No more were taken than there are numbers.
        (0..self.records.len() as u32).map(UserId)
    }

    /// Number of users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no user: then everybody is refused, or unknown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The files the set was made from: when one of them changes, build anew.
    #[must_use]
    pub fn sources(&self) -> &[PathBuf] {
        &self.sources
    }

    fn get(&self, user: UserId) -> Option<&Record> {
        self.records.get(user.0 as usize)
    }

    fn permissions(&self, user: UserId) -> &Permissions {
        self.get(user).map_or(&self.defaults, |record| &record.permissions)
    }

    fn stand_in(&self, number: usize) -> Option<usize> {
        let choice = number.checked_rem(self.stand_ins.len())?;
        self.stand_ins.get(choice).copied()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
