//! The file, its tables, and how it is opened.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::schema::Schema;

/// How long another process that writes is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// Lists have spaces between their parts. Hours are `DAYS:FROM:UNTIL`, as numbers.
const SCHEMA: Schema = Schema {
    // `BFUD`
    application: 0x4246_5544,
    what: "users",
    steps: &["
        CREATE TABLE user (
            name TEXT NOT NULL PRIMARY KEY, password TEXT, source TEXT NOT NULL, expires INTEGER,
            disabled INTEGER NOT NULL, created INTEGER NOT NULL,
            bandwidth INTEGER, quota_day INTEGER, quota_month INTEGER,
            budget_day INTEGER, budget_month INTEGER, connections INTEGER,
            requests INTEGER, requests_ms INTEGER,
            exits TEXT NOT NULL, countries TEXT NOT NULL, hours TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE api_key (
            digest TEXT NOT NULL PRIMARY KEY,
            user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
            hint TEXT NOT NULL, created INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX api_key_user ON api_key (user);
    "],
};

pub(super) fn open(path: &Path) -> Result<Connection, String> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| error.to_string())?;
    let connection = Connection::open(path).map_err(|error| error.to_string())?;
    set_up(&connection).map_err(|error| error.to_string())?;
    SCHEMA.prepare(&connection)?;
    Ok(connection)
}

pub(super) fn open_to_read(path: &Path) -> Result<Connection, String> {
    if !path.exists() {
        return Err("no such file".to_owned());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| error.to_string())?;
    connection.busy_timeout(BUSY).map_err(|error| error.to_string())?;
    SCHEMA.check(&connection)?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    connection.pragma_update(None, "foreign_keys", true)
}
