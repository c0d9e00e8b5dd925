//! `bifrons usage`: who has used how much, where and when.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use accounts::{By, Day, UsageQuery, UsageRow};
use clap::Args;
use miette::{Report, miette};
use serde_json::{Map, Value};

use crate::args::Remote;
use crate::encoding::encoded;
use crate::program::{folder, read};
use crate::remote::Admin;

pub(crate) const HELP: &str = "\
It reads the file in the state folder, to which a running server writes twice a second; where the
configuration has no state folder, or with --admin, it asks the server that runs. Targets are
known of the last 60 days, all else of the last 400. Days are those of the set's time zone, and
money is counted by the prices of exits.

  bifrons usage --config bifrons.kdl
  bifrons usage --state /var/lib/bifrons --by day,user --from 2026-07-01 --to 2026-07-31 --csv
  bifrons usage --config bifrons.kdl --user alice --by target --json";

/// Which usage is shown, and how.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// The configuration that names the state folder
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The state folder itself
    #[arg(long, value_name = "DIR", required_unless_present = "config", conflicts_with = "config")]
    state: Option<PathBuf>,
    /// Ask the server that runs, at its admin listener, and not the file
    #[arg(long, value_name = "ADDR", requires = "config")]
    admin: Option<SocketAddr>,
    /// Only of users of this set
    #[arg(long = "set", value_name = "NAME")]
    set: Option<String>,
    /// Only of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only through this exit
    #[arg(long, value_name = "NAME")]
    exit: Option<String>,
    /// Only to this host
    #[arg(long, value_name = "HOST")]
    target: Option<String>,
    /// Only from this day on: 2026-07-01
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// Only until this day, inclusive
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// A row for each `day`, `set`, `user`, `exit` or `target`; several with commas between them
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "user,exit")]
    by: Vec<By>,
    /// As CSV (RFC 4180)
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub(crate) fn run(usage: &Usage) -> Result<ExitCode, Report> {
    let query = UsageQuery {
        set: usage.set.clone(),
        user: usage.user.clone(),
        exit: usage.exit.clone(),
        target: usage.target.clone(),
        from: usage.from,
        to: usage.to,
        by: usage.by.clone(),
        limit: None,
    };
    let rows = match usage.folder()? {
        Some(folder) => query.read(&folder).map_err(|error| miette!("{error}"))?,
        None => usage.ask_server()?,
    };
    if usage.csv {
        print!("{}", accounts::to_csv(&rows, &usage.by));
    } else if usage.json {
        let all: Vec<Value> = rows.iter().map(to_json).collect();
        println!("{:#}", Value::Array(all));
    } else {
        print!("{}", table(&rows, &usage.by));
    }
    Ok(ExitCode::SUCCESS)
}

impl Usage {
    /// The state folder; `None`: the server is to be asked.
    fn folder(&self) -> Result<Option<PathBuf>, Report> {
        if let Some(state) = &self.state {
            return Ok(Some(state.clone()));
        }
        if self.admin.is_some() {
            return Ok(None);
        }
        let Some(file) = &self.config else { return Err(miette!("--config or --state is needed")) };
        let name = file.display().to_string();
        let config = config::parse(&name, &read(file)?, folder(file))?;
        Ok(config.state.map(|state| state.value))
    }

    fn ask_server(&self) -> Result<Vec<UsageRow>, Report> {
        let Some(config) = &self.config else { return Err(miette!("--config is needed")) };
        let remote = Remote { config: config.clone(), admin: self.admin };
        let by: Vec<&str> = self.by.iter().map(|by| by.as_str()).collect();
        let mut path = format!("/api/v1/usage?by={}", encoded(&by.join(",")));
        let (from, to) = (self.from.map(|day| day.to_string()), self.to.map(|day| day.to_string()));
        for (name, value) in [
            ("set", &self.set),
            ("user", &self.user),
            ("exit", &self.exit),
            ("target", &self.target),
            ("from", &from),
            ("to", &to),
        ] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        let answer = Admin::of(&remote).and_then(|admin| admin.get(&path)).map_err(|problem| {
            let help = "add `state \"/var/lib/bifrons\"`; without it, usage ends with the process";
            match self.admin {
                Some(_) => problem,
                None => miette!(help = help, "no state folder, and no server to ask: {problem:#}"),
            }
        })?;
        let rows = answer.as_array().map(|rows| rows.iter().map(from_json).collect());
        rows.flatten().ok_or_else(|| miette!("the server did not answer with usage"))
    }
}

/// A row as [`to_json`] writes it.
fn from_json(row: &Value) -> Option<UsageRow> {
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    let number = |name: &str| row[name].as_u64();
    let (whole, places) = row["cost"].as_str()?.split_once('.')?;
    let cost: u64 = format!("{whole}{places:0<6}").parse().ok()?;
    Some(UsageRow {
        day: text("day").map(|day| day.parse()).transpose().ok()?,
        set: text("set"),
        user: text("user"),
        exit: text("exit"),
        target: text("target"),
        up: number("bytes_up")?,
        down: number("bytes_down")?,
        requests: number("requests")?,
        cost,
    })
}

/// Columns as wide as they have to be; numbers to the right.
fn table(rows: &[UsageRow], by: &[By]) -> String {
    let columns: Vec<By> = By::ALL.into_iter().filter(|column| by.contains(column)).collect();
    let numbers = ["up", "down", "requests", "cost"];
    let head = columns.iter().map(|by| by.as_str()).chain(numbers).map(str::to_owned).collect();
    let mut lines: Vec<Vec<String>> = vec![head];
    lines.extend(rows.iter().map(|row| row.cells(&columns)));
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len() + numbers.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
            match at < columns.len() {
                true => format!("{cell:width$}"),
                false => format!("{cell:>width$}"),
            }
        });
        let cells: Vec<String> = cells.collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A row for programs.
pub(crate) fn to_json(row: &UsageRow) -> Value {
    let mut object = Map::new();
    let day = row.day.map(|day| day.to_string());
    for (name, value) in [
        ("day", &day),
        ("set", &row.set),
        ("user", &row.user),
        ("exit", &row.exit),
        ("target", &row.target),
    ] {
        if let Some(value) = value {
            object.insert(name.to_owned(), Value::from(value.as_str()));
        }
    }
    for (name, value) in
        [("bytes_up", row.up), ("bytes_down", row.down), ("requests", row.requests)]
    {
        object.insert(name.to_owned(), Value::from(value));
    }
    // A number would lose digits on the way.
    object.insert("cost".to_owned(), Value::from(config::show::money(row.cost)));
    Value::Object(object)
}
