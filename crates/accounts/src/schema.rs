//! Tables, and how those of an earlier release become those of this one.

use rusqlite::Connection;

/// The tables of a file.
pub(crate) struct Schema {
    /// So that nobody takes another program's file for ours.
    pub(crate) application: i64,
    /// What is in it.
    pub(crate) what: &'static str,
    /// What makes it of an empty file, one for each release that changed something.
    pub(crate) steps: &'static [&'static str],
}

impl Schema {
    /// Makes the tables, or brings them up to date.
    pub(crate) fn prepare(&self, connection: &Connection) -> Result<(), String> {
        if self.version(connection)? == self.steps.len() {
            return Ok(());
        }
        // One process at a time: the other one finds it done.
        connection.execute_batch("BEGIN IMMEDIATE").map_err(text)?;
        let done = self.upgrade(connection);
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        connection.execute_batch(end).map_err(text)?;
        done
    }

    fn upgrade(&self, connection: &Connection) -> Result<(), String> {
        for step in &self.steps[self.version(connection)?..] {
            connection.execute_batch(step).map_err(text)?;
        }
        connection.pragma_update(None, "application_id", self.application).map_err(text)?;
        connection.pragma_update(None, "user_version", self.steps.len() as i64).map_err(text)
    }

    /// Whether these are the tables of this release.
    pub(crate) fn check(&self, connection: &Connection) -> Result<(), String> {
        match self.version(connection)? {
            version if version == self.steps.len() => Ok(()),
            _ => Err("of an earlier release: start a server with it first".to_owned()),
        }
    }

    /// How many steps were taken. An empty file has taken none.
    fn version(&self, connection: &Connection) -> Result<usize, String> {
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let foreign = || Err(format!("not a file of {}", self.what));
        let (application, version) =
            (number("application_id").map_err(text)?, number("user_version").map_err(text)?);
        if application == 0 && version == 0 {
            let tables = "SELECT count(*) FROM sqlite_schema";
            let tables = connection.query_row(tables, [], |row| row.get::<_, i64>(0));
            return if tables.map_err(text)? == 0 { Ok(0) } else { foreign() };
        }
        if application != self.application {
            return foreign();
        }
        match usize::try_from(version) {
            Ok(version) if version <= self.steps.len() => Ok(version),
            _ => Err("made by a later release".to_owned()),
        }
    }
}

fn text(error: rusqlite::Error) -> String {
    error.to_string()
}
