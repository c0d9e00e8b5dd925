//! Questions about usage.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use crate::calendar::Day;
use crate::purse::GRAINS;
use crate::store::Store;

/// What usage is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// The set of the user.
    Set,
    /// The user.
    User,
    /// The exit.
    Exit,
    /// The target host. Known of the last 60 days; all else of the last 400.
    Target,
    /// The day, in the time zone of the set.
    Day,
}

impl By {
    /// All, in the order of columns.
    pub const ALL: [Self; 5] = [Self::Day, Self::Set, Self::User, Self::Exit, Self::Target];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::User => "user",
            Self::Exit => "exit",
            Self::Target => "target",
            Self::Day => "day",
        }
    }

    fn column(self) -> &'static str {
        match self {
            Self::Set => "user_set",
            other => other.as_str(),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|by| by.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of day, set, user, exit and target"))
    }
}

/// Which usage is asked for, and how it is summed up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageQuery {
    /// Only of users of this set.
    pub set: Option<String>,
    /// Only of this user.
    pub user: Option<String>,
    /// Only through this exit.
    pub exit: Option<String>,
    /// Only to this host.
    pub target: Option<String>,
    /// Only from this day on.
    pub from: Option<Day>,
    /// Only until this day, inclusive.
    pub to: Option<Day>,
    /// One row for each; empty: one row for all.
    pub by: Vec<By>,
    /// At most so many rows. `None`: all.
    pub limit: Option<u32>,
}

/// A sum. What it was not asked by is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageRow {
    /// The day.
    pub day: Option<Day>,
    /// The set of the user.
    pub set: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The exit.
    pub exit: Option<String>,
    /// The target host.
    pub target: Option<String>,
    /// Bytes from clients.
    pub up: u64,
    /// Bytes to clients.
    pub down: u64,
    /// Requests and tunnels.
    pub requests: u64,
    /// What it cost, in millionths, rounded down.
    pub cost: u64,
}

impl UsageQuery {
    /// Asks the file in this state folder; a server may be writing to it, half a second behind.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, state: &Path) -> Result<Vec<UsageRow>, String> {
        Store::open_to_read(state)?.usage(self)
    }

    pub(crate) fn run(&self, connection: &Connection) -> rusqlite::Result<Vec<UsageRow>> {
        let columns: Vec<By> = By::ALL.into_iter().filter(|by| self.by.contains(by)).collect();
        let (conditions, values) = self.conditions();
        let names: Vec<&str> = columns.iter().map(|by| by.column()).collect();
        let names = names.join(", ");
        let by_target = self.target.is_some() || self.by.contains(&By::Target);
        let mut sql = String::from("SELECT sum(up), sum(down), sum(requests), ");
        sql += "sum(cost) + sum(cost_rest) / 1000000000";
        for part in columns.iter().map(|by| by.column()) {
            sql += ", ";
            sql += part;
        }
        sql += if by_target { " FROM usage_target" } else { " FROM usage_exit" };
        if !conditions.is_empty() {
            sql += " WHERE ";
            sql += &conditions.join(" AND ");
        }
        if !columns.is_empty() {
            sql += &format!(" GROUP BY {names} ORDER BY {names}");
        }
        if let Some(limit) = self.limit {
            sql += &format!(" LIMIT {limit}");
        }
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| read(row, &columns))?;
        rows.collect()
    }

    fn conditions(&self) -> (Vec<String>, Vec<Value>) {
        let text = |value: &Option<String>| value.clone().map(Value::Text);
        let day = |value: Option<Day>| value.map(|day| Value::Integer(day.0.into()));
        let all = [
            ("user_set =", text(&self.set)),
            ("user =", text(&self.user)),
            ("exit =", text(&self.exit)),
            ("target =", text(&self.target)),
            ("day >=", day(self.from)),
            ("day <=", day(self.to)),
        ];
        let there = all.into_iter().filter_map(|(what, value)| Some((what, value?)));
        there.enumerate().map(|(at, (what, value))| (format!("{what} ?{}", at + 1), value)).unzip()
    }
}

fn read(row: &Row<'_>, columns: &[By]) -> rusqlite::Result<UsageRow> {
    // Without rows a sum is NULL.
    let number = |at: usize| -> rusqlite::Result<u64> {
        Ok(row.get::<_, Option<i64>>(at)?.and_then(|sum| u64::try_from(sum).ok()).unwrap_or(0))
    };
    let mut usage = UsageRow {
        up: number(0)?,
        down: number(1)?,
        requests: number(2)?,
        cost: number(3)?,
        ..UsageRow::default()
    };
    for (at, by) in columns.iter().enumerate() {
        let at = at + 4;
        match by {
            By::Day => usage.day = Some(Day(row.get(at)?)),
            By::Set => usage.set = row.get(at)?,
            By::User => usage.user = row.get(at)?,
            By::Exit => usage.exit = row.get(at)?,
            By::Target => usage.target = row.get(at)?,
        }
    }
    Ok(usage)
}

/// Rows as CSV (RFC 4180) with a line of names, for the columns that were asked for.
#[must_use]
pub fn to_csv(rows: &[UsageRow], by: &[By]) -> String {
    let columns: Vec<By> = By::ALL.into_iter().filter(|column| by.contains(column)).collect();
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let numbers = ["bytes_up", "bytes_down", "requests", "cost"];
    // Into memory, and rows are as long as the line of names: it cannot fail.
    let _ = writer.write_record(columns.iter().map(|by| by.as_str()).chain(numbers));
    for row in rows {
        let _ = writer.write_record(row.cells(&columns));
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

impl UsageRow {
    /// The row as texts: what it is about, then bytes up, bytes down, requests and cost.
    #[must_use]
    pub fn cells(&self, columns: &[By]) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let name = |by: &By| match by {
            By::Day => self.day.map(|day| day.to_string()).unwrap_or_default(),
            By::Set => text(&self.set),
            By::User => text(&self.user),
            By::Exit => text(&self.exit),
            By::Target => text(&self.target),
        };
        let numbers = [self.up.to_string(), self.down.to_string(), self.requests.to_string()];
        columns.iter().map(name).chain(numbers).chain([config::show::money(self.cost)]).collect()
    }
}

// What is over of a sum is less than a millionth for each row, and GRAINS of them make one.
const _: () = assert!(GRAINS == 1_000_000_000);
