//! A user as a row.

use std::collections::HashMap;
use std::time::Duration;

use config::{Budget, Country, Hours, Period, Quota, UserLimits, Weekdays};
use rusqlite::{Connection, Row, params};

use super::{StoredKey, StoredUser};

const COLUMNS: &str = "name, password, source, expires, disabled, created, bandwidth, quota_day, \
     quota_month, budget_day, budget_month, connections, requests, requests_ms, exits, countries, \
     hours";

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<StoredUser>> {
    let mut keys: HashMap<String, Vec<StoredKey>> = HashMap::new();
    let sql = "SELECT digest, hint, created, user FROM api_key ORDER BY created, hint, digest";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        keys.entry(row.get(3)?).or_default().push(key(row)?);
    }
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM user ORDER BY name"))?;
    let users = statement.query_map([], read)?;
    users
        .map(|user| {
            let user = user?;
            Ok(StoredUser { keys: keys.remove(&user.name).unwrap_or_default(), ..user })
        })
        .collect()
}

pub(super) fn one(connection: &Connection, name: &str) -> rusqlite::Result<Option<StoredUser>> {
    let mut statement =
        connection.prepare(&format!("SELECT {COLUMNS} FROM user WHERE name = ?1"))?;
    let Some(user) = statement.query_map([name], read)?.next().transpose()? else {
        return Ok(None);
    };
    let sql = "SELECT digest, hint, created FROM api_key WHERE user = ?1 \
               ORDER BY created, hint, digest";
    let mut statement = connection.prepare(sql)?;
    let keys = statement.query_map([name], key)?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(StoredUser { keys, ..user }))
}

/// Everything but the keys.
pub(super) fn put(connection: &Connection, user: &StoredUser) -> rusqlite::Result<usize> {
    let limits = &user.limits;
    let quota = |period| {
        let of = limits.quotas.iter().filter(|quota| quota.per == period);
        of.map(|quota| signed(quota.bytes)).min()
    };
    let budget = |period| {
        let of = limits.budgets.iter().filter(|budget| budget.per == period);
        of.map(|budget| signed(budget.amount)).min()
    };
    let per = limits.requests.map(|(_, per)| per.as_millis());
    let sql = format!(
        "INSERT INTO user ({COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) \
         ON CONFLICT DO UPDATE SET password = excluded.password, source = excluded.source, \
         expires = excluded.expires, disabled = excluded.disabled, created = excluded.created, \
         bandwidth = excluded.bandwidth, quota_day = excluded.quota_day, \
         quota_month = excluded.quota_month, budget_day = excluded.budget_day, \
         budget_month = excluded.budget_month, connections = excluded.connections, \
         requests = excluded.requests, requests_ms = excluded.requests_ms, \
         exits = excluded.exits, countries = excluded.countries, hours = excluded.hours"
    );
    connection.execute(
        &sql,
        params![
            user.name,
            user.password,
            joined(&user.from),
            user.expires.map(signed),
            user.disabled,
            signed(user.created),
            limits.bandwidth.map(signed),
            quota(Period::Day),
            quota(Period::Month),
            budget(Period::Day),
            budget(Period::Month),
            limits.connections,
            limits.requests.map(|(amount, _)| signed(amount)),
            per.map(|per| i64::try_from(per).unwrap_or(i64::MAX)),
            joined(&limits.exits),
            joined(&limits.countries),
            joined(
                limits
                    .hours
                    .iter()
                    .map(|hours| { format!("{}:{}:{}", hours.days.0, hours.from, hours.until) })
            ),
        ],
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredUser> {
    let number = |name: &str| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(name)?.and_then(|number| u64::try_from(number).ok()))
    };
    let (mut quotas, mut budgets) = (Vec::new(), Vec::new());
    for (per, quota, budget) in
        [(Period::Day, "quota_day", "budget_day"), (Period::Month, "quota_month", "budget_month")]
    {
        quotas.extend(number(quota)?.map(|bytes| Quota { bytes, per }));
        budgets.extend(number(budget)?.map(|amount| Budget { amount, per }));
    }
    let requests = number("requests")?.zip(number("requests_ms")?);
    let limits = UserLimits {
        bandwidth: number("bandwidth")?,
        quotas,
        budgets,
        connections: row.get("connections")?,
        requests: requests.map(|(amount, per)| (amount, Duration::from_millis(per))),
        exits: parts(row, "exits", |part| Some(part.to_owned()))?,
        countries: parts(row, "countries", Country::parse)?,
        hours: parts(row, "hours", hours)?,
        rules: Vec::new(),
    };
    Ok(StoredUser {
        name: row.get("name")?,
        password: row.get("password")?,
        keys: Vec::new(),
        from: parts(row, "source", |part| part.parse().ok())?,
        expires: number("expires")?,
        disabled: row.get("disabled")?,
        limits,
        created: number("created")?.unwrap_or_default(),
    })
}

fn key(row: &Row<'_>) -> rusqlite::Result<StoredKey> {
    let created: i64 = row.get(2)?;
    let created = u64::try_from(created).unwrap_or_default();
    Ok(StoredKey { digest: row.get(0)?, hint: row.get(1)?, created })
}

/// A list that is not what it should be is an error: to leave out a part of it could mean to let
/// more through.
fn parts<T>(
    row: &Row<'_>,
    name: &str,
    part: impl Fn(&str) -> Option<T>,
) -> rusqlite::Result<Vec<T>> {
    let text: String = row.get(name)?;
    let all: Option<Vec<T>> = text.split_ascii_whitespace().map(part).collect();
    all.ok_or_else(|| {
        rusqlite::Error::ToSqlConversionFailure(format!("`{name}` of a user is damaged").into())
    })
}

fn hours(part: &str) -> Option<Hours> {
    let mut numbers = part.split(':');
    let mut next = || numbers.next()?.parse::<u16>().ok();
    let (days, from, until) = (next()?, next()?, next()?);
    let valid = (1..128).contains(&days) && from < 1440 && until <= 1440;
    (valid && numbers.next().is_none()).then_some(Hours { days: Weekdays(days as u8), from, until })
}

fn joined(parts: impl IntoIterator<Item = impl ToString>) -> String {
    let parts: Vec<String> = parts.into_iter().map(|part| part.to_string()).collect();
    parts.join(" ")
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
