//! Sets of users, and whether a name and a password belong to one of them.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ahash::RandomState;
use config::{ConfigError, Password, Span, User, UserSet};
use zeroize::Zeroizing;

use crate::htpasswd;
use crate::passwords::{Cost, REMEDY, Stored, is_digest_of};
use crate::rule_set::RuleSources;
use crate::verified::{PasswordJob, VerifiedCache};

/// A user within its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(u32);

/// A set of users, immutable once built.
pub struct Users {
    records: Vec<Record>,
    by_name: HashMap<Box<[u8]>, UserId, RandomState>,
    /// One record of each cost that occurs: what stands in for a user who does not exist.
    stand_ins: Vec<usize>,
    sources: Vec<PathBuf>,
}

struct Record {
    name: Box<str>,
    stored: Stored,
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
}

impl Users {
    /// Takes the users of a set, and those of its htpasswd files.
    ///
    /// # Errors
    /// Everything that is wrong at once: files that cannot be read, hashes of other kinds
    /// than bcrypt and Argon2, names that occur twice.
    pub fn build(
        set: &UserSet,
        rows: Vec<User>,
        _sources: &mut RuleSources,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut builder = Builder::default();
        for user in set.users.iter().chain(&rows) {
            let stored = match &user.password {
                Some(Password::Plain(password)) => Ok(Stored::plain(password)),
                Some(Password::Hash(hash)) => Stored::hash(hash),
                None => continue,
            };
            match stored {
                Ok(stored) => builder.add(&user.name, stored, user.span, "here"),
                Err(error) => builder.errors.push(
                    ConfigError::at(
                        user.span,
                        format!("user `{}` has {error}", user.name),
                        "this user",
                    )
                    .help(REMEDY),
                ),
            }
        }
        for file in &set.files {
            for line in htpasswd::read(file, &mut builder.errors) {
                let place = format!("line {}", line.number);
                builder.add(&line.name, line.stored, file.span, &place);
            }
        }
        builder.finish(set)
    }

    /// Whether the password is the user's.
    ///
    /// How long it takes to refuse does not tell whether the user exists: a name that does
    /// not is compared with the password of another user, always one of the same cost for
    /// the same name, and refused whatever comes of it. So in a set where every password is
    /// a slow hash, an unknown user costs what a wrong password costs; in a mixed set, what
    /// it costs some of the users.
    #[must_use]
    pub fn check(
        &self,
        name: &[u8],
        password: &[u8],
        cache: &VerifiedCache,
        now: Instant,
    ) -> Check {
        let known = self.by_name.get(name).copied();
        let stand_in = self.stand_in(cache.number_of(name));
        let index = known.map(|id| id.0 as usize).or(stand_in);
        let Some(record) = index.and_then(|index| self.records.get(index)) else {
            return Check::Refused;
        };
        match &record.stored {
            Stored::Digest(digest) => {
                let same = is_digest_of(digest, password);
                known.filter(|_| same).map_or(Check::Refused, Check::Granted)
            }
            Stored::Slow(hash) => {
                let key = cache.key(name, hash, password);
                match known {
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

    /// The user's name. Empty for an identifier of another set.
    #[must_use]
    pub fn name(&self, user: UserId) -> &str {
        self.records.get(user.0 as usize).map_or("", |record| &record.name)
    }

    /// Number of users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no user: then everybody is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The files the set was made from: when one of them changes, build anew.
    #[must_use]
    pub fn sources(&self) -> &[PathBuf] {
        &self.sources
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

#[derive(Default)]
struct Builder {
    records: Vec<Record>,
    by_name: HashMap<Box<[u8]>, UserId, RandomState>,
    errors: Vec<ConfigError>,
}

impl Builder {
    fn add(&mut self, name: &str, stored: Stored, span: Span, place: &str) {
        let Ok(id) = u32::try_from(self.records.len()) else {
            self.errors.push(ConfigError::at(span, "more than 2^32 users", "here"));
            return;
        };
        if self.by_name.contains_key(name.as_bytes()) {
            let message = format!("user `{name}` is there twice");
            self.errors.push(
                ConfigError::at(span, message, format!("the second time: {place}"))
                    .help("remove one of the two"),
            );
            return;
        }
        self.by_name.insert(name.as_bytes().into(), UserId(id));
        self.records.push(Record { name: name.into(), stored });
    }

    fn finish(self, set: &UserSet) -> Result<Users, Vec<ConfigError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let mut stand_ins: Vec<(Cost, usize)> = Vec::new();
        for (index, record) in self.records.iter().enumerate() {
            let cost = record.stored.cost();
            if stand_ins.iter().all(|(other, _)| *other != cost) {
                stand_ins.push((cost, index));
            }
        }
        Ok(Users {
            records: self.records,
            by_name: self.by_name,
            stand_ins: stand_ins.into_iter().map(|(_, index)| index).collect(),
            sources: set.files.iter().map(|file| file.value.clone()).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
