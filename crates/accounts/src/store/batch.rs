//! What is written at once.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use config::Period;
use rusqlite::{Connection, OptionalExtension as _, Statement, params};

use super::used_of;
use crate::calendar::Day;
use crate::cells::{Cell, Delta, OTHER, Owner};
use crate::purse::GRAINS;
use crate::tally::Tally;

/// Rows that wait for a file that cannot be written to. Then targets are no longer told apart.
const MOST_ROWS: usize = 100_000;

/// What has been fetched from cells and is not written yet.
#[derive(Default)]
pub(crate) struct Batch {
    rows: HashMap<RowKey, Delta, RandomState>,
    periods: HashMap<*const Tally, PeriodDelta, RandomState>,
}

// The pointers are names only: each stands beside the `Arc` that keeps it valid.
struct PeriodDelta {
    owner: Arc<Owner>,
    tally: Arc<Tally>,
    bytes: u64,
    cost: u128,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RowKey {
    pub(crate) owner: Arc<Owner>,
    pub(crate) day: Day,
    pub(crate) exit: Arc<str>,
    pub(crate) host: Box<str>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.periods.is_empty()
    }

    /// Adds what came to a cell.
    pub(crate) fn add(&mut self, cell: &Cell, delta: &Delta) {
        let mut key = RowKey {
            owner: Arc::clone(&cell.owner),
            day: cell.day.first,
            exit: Arc::clone(&cell.exit),
            host: cell.host.clone(),
        };
        if self.rows.len() >= MOST_ROWS && !self.rows.contains_key(&key) {
            key.exit = OTHER.into();
            key.host = OTHER.into();
        }
        self.rows.entry(key).or_default().add(delta);
        for tally in [&cell.day, &cell.month] {
            let period = self.periods.entry(Arc::as_ptr(tally)).or_insert_with(|| PeriodDelta {
                owner: Arc::clone(&cell.owner),
                tally: Arc::clone(tally),
                bytes: 0,
                cost: 0,
            });
            period.bytes = period.bytes.saturating_add(delta.bytes());
            period.cost = period.cost.saturating_add(delta.cost);
        }
    }

    /// Writes everything in one transaction, and is empty then. After an error nothing is
    /// written and everything is still here.
    pub(super) fn write(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        {
            let mut statement = transaction.prepare(ADD_EXIT)?;
            for ((owner, day, exit), delta) in self.by_exit() {
                let place = params![day.0, &*owner.set, &*owner.user, &**exit];
                add(&mut statement, place, &delta)?;
            }
            let mut statement = transaction.prepare(ADD_TARGET)?;
            for (key, delta) in &self.rows {
                let RowKey { owner, day, exit, host } = key;
                let place = params![day.0, &*owner.set, &*owner.user, &**exit, &**host];
                add(&mut statement, place, delta)?;
            }
        }
        let mut sums = Vec::with_capacity(self.periods.len());
        {
            let mut statement = transaction.prepare(ADD_PERIOD)?;
            for period in self.periods.values().filter(|period| !period.tally.is_retired()) {
                let PeriodDelta { owner, tally, bytes, cost } = period;
                let (whole, rest) = split(*cost);
                let values = params![
                    &*owner.set,
                    &*owner.user,
                    number_of(tally.kind),
                    tally.first.0,
                    signed(*bytes),
                    whole,
                    rest
                ];
                let sum = statement
                    .query_row(values, |row| Ok(used_of(row.get(0)?, row.get(1)?, row.get(2)?)))
                    .optional()?;
                sums.extend(sum.map(|sum| (Arc::clone(tally), sum)));
            }
        }
        transaction.commit()?;
        for (tally, sum) in sums {
            tally.written(sum);
        }
        self.rows.clear();
        self.periods.clear();
        Ok(())
    }

    fn by_exit(&self) -> HashMap<(&Arc<Owner>, Day, &Arc<str>), Delta, RandomState> {
        let mut exits: HashMap<_, Delta, RandomState> = HashMap::default();
        for (key, delta) in &self.rows {
            exits.entry((&key.owner, key.day, &key.exit)).or_default().add(delta);
        }
        exits
    }
}

fn add(
    statement: &mut Statement<'_>,
    place: &[&dyn rusqlite::ToSql],
    delta: &Delta,
) -> rusqlite::Result<usize> {
    let (cost, rest) = split(delta.cost);
    let (up, down, requests) = (signed(delta.up), signed(delta.down), signed(delta.requests));
    let values: [&dyn rusqlite::ToSql; 5] = [&up, &down, &requests, &cost, &rest];
    let all: Vec<&dyn rusqlite::ToSql> = place.iter().copied().chain(values).collect();
    statement.execute(&*all)
}

macro_rules! add_usage {
    ($table:literal, $place:literal, $values:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (",
            $place,
            ", up, down, requests, cost, cost_rest) ",
            "VALUES (",
            $values,
            ") ON CONFLICT DO UPDATE SET ",
            "up = up + excluded.up, down = down + excluded.down, ",
            "requests = requests + excluded.requests, ",
            "cost = cost + excluded.cost + (cost_rest + excluded.cost_rest) / 1000000000, ",
            "cost_rest = (cost_rest + excluded.cost_rest) % 1000000000"
        )
    };
}

const ADD_EXIT: &str =
    add_usage!("usage_exit", "day, user_set, user, exit", "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9");

const ADD_TARGET: &str = add_usage!(
    "usage_target",
    "day, user_set, user, exit, target",
    "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10"
);

/// A period that is over does not take the place of a later one.
const ADD_PERIOD: &str = "
    INSERT INTO period (user_set, user, kind, start, bytes, cost, cost_rest)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT DO UPDATE SET
        bytes = excluded.bytes + iif(start = excluded.start, bytes, 0),
        cost = excluded.cost + iif(start = excluded.start,
            cost + (cost_rest + excluded.cost_rest) / 1000000000, 0),
        cost_rest = iif(start = excluded.start,
            (cost_rest + excluded.cost_rest) % 1000000000, excluded.cost_rest),
        start = excluded.start
    WHERE excluded.start >= start
    RETURNING bytes, cost, cost_rest";

/// Millionths, and grains.
fn split(cost: u128) -> (i64, i64) {
    let grains = u128::from(GRAINS);
    (i64::try_from(cost / grains).unwrap_or(i64::MAX), (cost % grains) as i64)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number_of(period: Period) -> i64 {
    match period {
        Period::Day => 0,
        Period::Month => 1,
    }
}

pub(super) fn period_of(number: i64) -> Option<Period> {
    match number {
        0 => Some(Period::Day),
        1 => Some(Period::Month),
        _ => None,
    }
}
