//! The file in which usage outlives the process.
//!
//! `usage.db` in the state folder, SQLite in WAL mode. What comes in is added to what is there,
//! so two processes may write at the same time (while one hands over to the other); each learns
//! from what an addition comes to what the other has added.

mod batch;
mod schema;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ahash::RandomState;
use rusqlite::{Connection, OpenFlags};

use crate::account::Saved;
use crate::accounts::index;
use crate::calendar::Day;
use crate::purse::GRAINS;
use crate::query::{UsageQuery, UsageRow};
use crate::tally::Used;

pub(crate) use batch::Batch;

/// The name of the file.
pub const FILE: &str = "usage.db";

/// Days of which it is known what went where.
const TARGET_DAYS: i32 = 60;

/// Days of which it is known what went through which exit.
const EXIT_DAYS: i32 = 400;

/// How long another process that writes is waited for.
const BUSY: Duration = Duration::from_secs(2);

pub(crate) struct Store {
    connection: Connection,
    /// `None`: in memory.
    pub(crate) file: Option<PathBuf>,
}

/// What was found on opening.
pub(crate) struct Opened {
    pub(crate) store: Store,
    /// What each user had used of the last day and the last month.
    pub(crate) saved: SavedPeriods,
    /// Why it is not the file.
    pub(crate) problem: Option<String>,
}

pub(crate) type SavedPeriods = HashMap<(Box<str>, Box<str>), [Option<Saved>; 2], RandomState>;

impl Store {
    /// The file in this folder; where it cannot be used, or there is no folder, memory.
    pub(crate) fn open(state: Option<&Path>) -> io::Result<Opened> {
        let mut problem = None;
        if let Some(folder) = state {
            match Self::open_file(folder) {
                Ok((store, saved)) => return Ok(Opened { store, saved, problem }),
                Err(error) => {
                    let file = folder.join(FILE);
                    let text = format!("{}: {error}", file.display());
                    tracing::warn!("usage is counted in memory only and lost at the end: {text}");
                    problem = Some(text);
                }
            }
        }
        let store = Self::in_memory().map_err(io::Error::other)?;
        Ok(Opened { store, saved: SavedPeriods::default(), problem })
    }

    fn open_file(folder: &Path) -> Result<(Self, SavedPeriods), String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let file = folder.join(FILE);
        // What users do is nobody else's business; SQLite gives its other files the same mode.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(|error| error.to_string())?;
        let connection = Connection::open(&file).map_err(text)?;
        connection.busy_timeout(BUSY).map_err(text)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(text)?;
        // A process that is killed loses nothing by it; a machine without power, the last second.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(text)?;
        schema::SCHEMA.prepare(&connection)?;
        let saved = saved_periods(&connection).map_err(text)?;
        Ok((Self { connection, file: Some(file) }, saved))
    }

    fn in_memory() -> Result<Self, String> {
        let connection = Connection::open_in_memory().map_err(text)?;
        schema::SCHEMA.prepare(&connection)?;
        Ok(Self { connection, file: None })
    }

    /// For reading only: the file of a server that may be running.
    ///
    /// # Errors
    /// It cannot be read, or is not what it should be.
    pub(crate) fn open_to_read(folder: &Path) -> Result<Self, String> {
        let file = folder.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let attempt = |uri: Option<String>| -> Result<Connection, String> {
            let connection = match uri {
                None => Connection::open_with_flags(&file, flags),
                Some(uri) => Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI),
            }
            .map_err(text)?;
            connection.busy_timeout(BUSY).map_err(text)?;
            schema::SCHEMA.check(&connection)?;
            Ok(connection)
        };
        if !file.exists() {
            return Err(format!("{}: no such file", file.display()));
        }
        // In a folder that cannot be written to, WAL can be read only where nobody writes.
        let connection = attempt(None)
            .or_else(|error| attempt(immutable(&file)).map_err(|_| error))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Self { connection, file: Some(file) })
    }

    /// What was used.
    pub(crate) fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, String> {
        query.run(&self.connection).map_err(text)
    }

    /// Adds a batch, all or nothing.
    pub(crate) fn write(&mut self, batch: &mut Batch) -> Result<(), String> {
        batch.write(&mut self.connection).map_err(text)
    }

    /// Forgets what a user has used of its periods; says how many there were.
    pub(crate) fn reset(&self, set: &str, user: &str) -> Result<usize, String> {
        let sql = "DELETE FROM period WHERE user_set = ?1 AND user = ?2";
        self.connection.execute(sql, (set, user)).map_err(text)
    }

    /// Forgets what is old.
    pub(crate) fn prune(&self, today: Day) -> Result<(), String> {
        for (sql, days) in [
            ("DELETE FROM usage_target WHERE day < ?1", TARGET_DAYS),
            ("DELETE FROM usage_exit WHERE day < ?1", EXIT_DAYS),
            ("DELETE FROM period WHERE start < ?1", EXIT_DAYS),
            // Of a clock that was wrong: no true period would take its place.
            ("DELETE FROM period WHERE start > ?1", -2),
        ] {
            self.connection.execute(sql, [today.0.saturating_sub(days)]).map_err(text)?;
        }
        Ok(())
    }
}

fn immutable(file: &Path) -> Option<String> {
    let path = file.to_str()?;
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Some(format!("file:{escaped}?immutable=1"))
}

fn saved_periods(connection: &Connection) -> rusqlite::Result<SavedPeriods> {
    let mut saved = SavedPeriods::default();
    let sql = "SELECT user_set, user, kind, start, bytes, cost, cost_rest FROM period";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key = (row.get::<_, String>(0)?.into(), row.get::<_, String>(1)?.into());
        let Some(kind) = batch::period_of(row.get(2)?) else { continue };
        let used = used_of(row.get(4)?, row.get(5)?, row.get(6)?);
        let periods: &mut [Option<Saved>; 2] = saved.entry(key).or_default();
        periods[index(kind)] = Some(Saved { first: row.get(3)?, used });
    }
    Ok(saved)
}

/// What three columns say.
fn used_of(bytes: i64, cost: i64, rest: i64) -> Used {
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    let cost = u128::from(unsigned(cost)) * u128::from(GRAINS) + u128::from(unsigned(rest));
    Used { bytes: unsigned(bytes), cost }
}

/// In SQLite's words; they name no user.
fn text(error: rusqlite::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
