//! Tables, and how those of an earlier release become those of this one.

use rusqlite::Connection;

/// `BFUS`: so that nobody takes another program's file for ours.
const APPLICATION: i64 = 0x4246_5553;

/// Money is in millionths, and in thousand-millionths of these what is over.
const STEPS: [&str; 1] = ["
    CREATE TABLE usage_exit (
        day INTEGER NOT NULL, user_set TEXT NOT NULL, user TEXT NOT NULL, exit TEXT NOT NULL,
        up INTEGER NOT NULL, down INTEGER NOT NULL, requests INTEGER NOT NULL,
        cost INTEGER NOT NULL, cost_rest INTEGER NOT NULL,
        PRIMARY KEY (day, user_set, user, exit)
    ) WITHOUT ROWID;
    CREATE TABLE usage_target (
        day INTEGER NOT NULL, user_set TEXT NOT NULL, user TEXT NOT NULL, exit TEXT NOT NULL,
        target TEXT NOT NULL,
        up INTEGER NOT NULL, down INTEGER NOT NULL, requests INTEGER NOT NULL,
        cost INTEGER NOT NULL, cost_rest INTEGER NOT NULL,
        PRIMARY KEY (day, user_set, user, exit, target)
    ) WITHOUT ROWID;
    CREATE TABLE period (
        user_set TEXT NOT NULL, user TEXT NOT NULL, kind INTEGER NOT NULL,
        start INTEGER NOT NULL, bytes INTEGER NOT NULL,
        cost INTEGER NOT NULL, cost_rest INTEGER NOT NULL,
        PRIMARY KEY (user_set, user, kind)
    ) WITHOUT ROWID;
"];

/// Makes the tables, or brings them up to date.
pub(super) fn prepare(connection: &Connection) -> Result<(), String> {
    let text = |error: rusqlite::Error| error.to_string();
    // One process at a time: the other one finds it done.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(text)?;
    let done = upgrade(connection);
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute_batch(end).map_err(text)?;
    done
}

fn upgrade(connection: &Connection) -> Result<(), String> {
    let text = |error: rusqlite::Error| error.to_string();
    let version = version(connection)?;
    if version == STEPS.len() {
        return Ok(());
    }
    for step in &STEPS[version..] {
        connection.execute_batch(step).map_err(text)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION).map_err(text)?;
    connection.pragma_update(None, "user_version", STEPS.len() as i64).map_err(text)
}

/// Whether these are the tables of this release.
pub(super) fn check(connection: &Connection) -> Result<(), String> {
    match version(connection)? {
        version if version == STEPS.len() => Ok(()),
        _ => Err("not yet brought to this release: start a server with it first".to_owned()),
    }
}

/// How many steps were taken. An empty file has taken none.
fn version(connection: &Connection) -> Result<usize, String> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let text = |error: rusqlite::Error| error.to_string();
    let (application, version) =
        (number("application_id").map_err(text)?, number("user_version").map_err(text)?);
    if application == 0 && version == 0 {
        let tables = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(text)?;
        return if tables == 0 { Ok(0) } else { Err(FOREIGN.to_owned()) };
    }
    if application != APPLICATION {
        return Err(FOREIGN.to_owned());
    }
    match usize::try_from(version) {
        Ok(version) if version <= STEPS.len() => Ok(version),
        _ => Err("made by a later release".to_owned()),
    }
}

const FOREIGN: &str = "not a file of usage";
