//! Users in a database.
//!
//! An SQLite file of its own, which `bifrons user` and the admin API change. It has a rollback
//! journal and no WAL, so every change is a change of the file itself: whoever watches files sees
//! it and loads the configuration anew.

mod file;
mod key;
mod row;

use std::fmt;
use std::path::{Path, PathBuf};

use config::{Span, User, UserLimits};
use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension as _, params};

pub use key::{ApiKey, generate_password, hash_password};

/// A file of users, open for changes.
pub struct UserStore {
    connection: Connection,
    path: PathBuf,
}

/// A user as the file has it.
#[derive(Clone, PartialEq, Default)]
pub struct StoredUser {
    /// The name.
    pub name: String,
    /// An Argon2id or bcrypt hash; `None`: no password is right.
    pub password: Option<String>,
    /// API keys.
    pub keys: Vec<StoredKey>,
    /// From these addresses it is this user who asks.
    pub from: Vec<IpNet>,
    /// From this moment on (seconds since 1970) it is refused.
    pub expires: Option<u64>,
    /// Whether it is refused at present.
    pub disabled: bool,
    /// What it may. Rules about targets are not kept here.
    pub limits: UserLimits,
    /// When it was added, in seconds since 1970.
    pub created: u64,
}

impl fmt::Debug for StoredUser {
    /// Never shows the hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An API key as the file has it: the key itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// How it begins, so that its owner knows which one it is.
    pub hint: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

/// Why something cannot be done with a file of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserStoreError {
    /// There is a user of this name.
    Exists(String),
    /// There is none.
    Unknown(String),
    /// A name that none can have.
    Name(&'static str),
    /// Another user has one of the keys.
    KeyTaken,
    /// What the file says, with its path.
    File(String),
}

impl fmt::Display for UserStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(name) => write!(f, "there is a user `{name}` already"),
            Self::Unknown(name) => write!(f, "there is no user `{name}`"),
            Self::Name(problem) => write!(f, "a user's name {problem}"),
            Self::KeyTaken => f.write_str("an API key of another user"),
            Self::File(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for UserStoreError {}

type Outcome<T> = Result<T, UserStoreError>;

/// The users of a file, as a configuration has them: those that are disabled are left out. A file
/// that is not there yet has none.
///
/// # Errors
/// It cannot be read, with its path.
pub fn users_of(path: &Path, span: Span) -> Result<Vec<User>, String> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let store = UserStore::open_to_read(path).map_err(|error| error.to_string())?;
    let users = store.list().map_err(|error| error.to_string())?;
    Ok(users.into_iter().filter(|user| !user.disabled).map(|user| user.into_config(span)).collect())
}

impl UserStore {
    /// Opens a file, and makes it where there is none (for nobody else to read).
    ///
    /// # Errors
    /// It cannot be made or read, or is not a file of users of this release.
    pub fn open(path: &Path) -> Outcome<Self> {
        file::open(path)
            .map(|connection| Self { connection, path: path.to_owned() })
            .map_err(|problem| at(path, &problem))
    }

    /// Opens a file that is there, for reading only.
    ///
    /// # Errors
    /// As [`UserStore::open`], and where there is none.
    pub fn open_to_read(path: &Path) -> Outcome<Self> {
        file::open_to_read(path)
            .map(|connection| Self { connection, path: path.to_owned() })
            .map_err(|problem| at(path, &problem))
    }

    /// All users, by name.
    ///
    /// # Errors
    /// What the file says.
    pub fn list(&self) -> Outcome<Vec<StoredUser>> {
        self.tried(row::all(&self.connection))
    }

    /// One user.
    ///
    /// # Errors
    /// What the file says.
    pub fn get(&self, name: &str) -> Outcome<Option<StoredUser>> {
        self.tried(row::one(&self.connection, name))
    }

    /// Adds a user.
    ///
    /// # Errors
    /// There is one of this name; a name that none can have; a key that another user has.
    pub fn add(&mut self, user: &StoredUser) -> Outcome<()> {
        check_user_name(&user.name)?;
        if self.get(&user.name)?.is_some() {
            return Err(UserStoreError::Exists(user.name.clone()));
        }
        self.put(user)
    }

    /// Changes a user: everything becomes as it is here.
    ///
    /// # Errors
    /// There is none of this name; a key that another user has.
    pub fn set(&mut self, user: &StoredUser) -> Outcome<()> {
        if self.get(&user.name)?.is_none() {
            return Err(UserStoreError::Unknown(user.name.clone()));
        }
        self.put(user)
    }

    /// Removes a user and its keys.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn remove(&mut self, name: &str) -> Outcome<()> {
        let removed = self.connection.execute("DELETE FROM user WHERE name = ?1", [name]);
        match self.tried(removed)? {
            0 => Err(UserStoreError::Unknown(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// All or nothing.
    fn put(&mut self, user: &StoredUser) -> Outcome<()> {
        let mut write = || -> rusqlite::Result<bool> {
            let transaction = self.connection.transaction()?;
            row::put(&transaction, user)?;
            transaction.execute("DELETE FROM api_key WHERE user = ?1", [&user.name])?;
            for key in &user.keys {
                let sql = "SELECT user FROM api_key WHERE digest = ?1";
                let taken: Option<String> =
                    transaction.query_row(sql, [&key.digest], |row| row.get(0)).optional()?;
                if taken.is_some() {
                    return Ok(false);
                }
                let sql =
                    "INSERT INTO api_key (digest, user, hint, created) VALUES (?1, ?2, ?3, ?4)";
                let created = i64::try_from(key.created).unwrap_or(i64::MAX);
                transaction.execute(sql, params![key.digest, user.name, key.hint, created])?;
            }
            transaction.commit().map(|()| true)
        };
        let written = write();
        match self.tried(written)? {
            true => Ok(()),
            false => Err(UserStoreError::KeyTaken),
        }
    }

    fn tried<T>(&self, outcome: rusqlite::Result<T>) -> Outcome<T> {
        outcome.map_err(|error| at(&self.path, &error.to_string()))
    }
}

impl fmt::Debug for UserStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StoredUser {
    /// As a configuration has it.
    #[must_use]
    pub fn into_config(self, span: Span) -> User {
        User {
            password: self.password.map(config::Password::Hash),
            keys: self.keys.into_iter().map(|key| key.digest).collect(),
            from: self.from,
            expires: self.expires,
            limits: self.limits,
            ..User::new(&self.name, span)
        }
    }

    /// Gives it a key.
    pub fn add_key(&mut self, key: &ApiKey, now: u64) {
        self.keys.push(StoredKey {
            digest: key.digest(),
            hint: key.hint().to_owned(),
            created: now,
        });
    }
}

fn at(path: &Path, problem: &str) -> UserStoreError {
    UserStoreError::File(format!("{}: {problem}", path.display()))
}

/// Whether a user can have this name: Basic (RFC 7617 §2) can carry it, and it leaves a log
/// readable.
///
/// # Errors
/// Why not.
pub fn check_user_name(name: &str) -> Result<(), UserStoreError> {
    let problem = match name {
        "" => "is not empty",
        _ if name.len() > 255 => "has at most 255 bytes",
        _ if name.contains(':') => "has no colon",
        _ if name.chars().any(char::is_control) => "has no control characters",
        _ => return Ok(()),
    };
    Err(UserStoreError::Name(problem))
}

#[cfg(test)]
mod tests;
