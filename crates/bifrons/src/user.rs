//! `bifrons user`: users in a database.

mod json;
mod options;
mod show;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use accounts::{ApiKey, StoredUser, UserStore};
use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use serde_json::Value;

use crate::args::Remote;
use crate::program::{folder, read};
use crate::remote::Admin;
use options::{Changes, Field, Secrets};

pub(crate) use json::{change_by_json, new_from_json};
pub(crate) use show::to_json;

pub(crate) const HELP: &str = "\
The file is the one that `database \"users.db\"` in a set of users names; it is made where it is
missing. A running server sees a change within seconds; with --config, at once. Passwords are kept as Argon2id hashes, and
of API keys only digests: each is shown once. What is not said of a user is as in the set's
`default`.

  bifrons user add alice --database users.db --generate
  bifrons user add bot --config bifrons.kdl --api-key --quota 10GiB/month --bandwidth 5MiB/s
  bifrons user set alice --database users.db --quota 1GiB/day --clear expires
  bifrons user list --database users.db --json";

/// What is done about users.
#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user
    Add {
        /// The name, without a colon
        name: String,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        secrets: Secrets,
        #[command(flatten)]
        changes: Changes,
    },
    /// Show all users, and what each may
    List {
        #[command(flatten)]
        place: Place,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a user: what is given takes the place of what there was
    Set {
        /// The name
        name: String,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        secrets: Secrets,
        #[command(flatten)]
        changes: Changes,
        /// Forget this of the user; may be given several times
        #[arg(long, value_enum, value_name = "WHAT")]
        clear: Vec<Field>,
        /// Refuse the user from now on, and keep everything
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        /// Let the user in again
        #[arg(long)]
        enable: bool,
    },
    /// Remove a user; what it has used stays known
    Remove {
        /// The name
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Which file.
#[derive(Debug, Args)]
struct Place {
    /// The file itself
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    database: Option<PathBuf>,
    /// The configuration that names it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The set of users in it, if there are several with a database
    #[arg(long = "set", value_name = "NAME", requires = "config")]
    set: Option<String>,
}

/// Does what is asked.
pub(crate) fn run(user: &User) -> Result<ExitCode, Report> {
    match &user.action {
        Action::Add { name, place, secrets, changes } => add(name, place, secrets, changes)?,
        Action::List { place, json } => list(place, *json)?,
        Action::Set { name, place, secrets, changes, clear, disable, enable } => {
            let switch = (*disable || *enable).then_some(*disable);
            set(name, place, secrets, changes, (clear, switch))?;
        }
        Action::Remove { name, place } => {
            let path = place.path()?;
            UserStore::open_to_read(&path).into_diagnostic()?;
            let mut store = UserStore::open(&path).into_diagnostic()?;
            store.remove(name).into_diagnostic()?;
            println!("removed {name}");
            place.tell_server();
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn add(name: &str, place: &Place, secrets: &Secrets, changes: &Changes) -> Result<(), Report> {
    accounts::check_user_name(name).into_diagnostic()?;
    let mut user = StoredUser { name: name.to_owned(), created: now(), ..StoredUser::default() };
    changes.apply(&mut user)?;
    let shown = give(secrets, &mut user)?;
    if user.password.is_none() && user.keys.is_empty() && user.from.is_empty() {
        let help = "give --generate, --password-stdin, --password, --api-key or --from";
        return Err(miette!(help = help, "nothing would let {name} in"));
    }
    let mut store = UserStore::open(&place.path()?).into_diagnostic()?;
    store.add(&user).into_diagnostic()?;
    println!("added {name}");
    shown.print();
    place.tell_server();
    Ok(())
}

fn set(
    name: &str,
    place: &Place,
    secrets: &Secrets,
    changes: &Changes,
    (clear, disabled): (&[Field], Option<bool>),
) -> Result<(), Report> {
    let path = place.path()?;
    let known = UserStore::open_to_read(&path).and_then(|store| store.get(name));
    let Some(mut user) = known.into_diagnostic()? else {
        return Err(miette!("there is no user `{name}`"));
    };
    for field in clear {
        field.clear(&mut user);
    }
    changes.apply(&mut user)?;
    let shown = give(secrets, &mut user)?;
    user.disabled = disabled.unwrap_or(user.disabled);
    let mut store = UserStore::open(&path).into_diagnostic()?;
    store.set(&user).into_diagnostic()?;
    println!("changed {name}");
    shown.print();
    place.tell_server();
    Ok(())
}

fn list(place: &Place, json: bool) -> Result<(), Report> {
    let users =
        UserStore::open_to_read(&place.path()?).and_then(|store| store.list()).into_diagnostic()?;
    if json {
        let all: Vec<_> = users.iter().map(to_json).collect();
        println!("{:#}", Value::Array(all));
        return Ok(());
    }
    let width = users.iter().map(|user| user.name.chars().count()).max().unwrap_or_default();
    for user in &users {
        println!("{:width$}  {}", user.name, show::line(user));
    }
    Ok(())
}

/// What is shown once.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) password: Option<String>,
    pub(crate) key: Option<ApiKey>,
}

impl Shown {
    fn print(&self) {
        if let Some(password) = &self.password {
            println!("password: {password}");
        }
        if let Some(key) = &self.key {
            println!("api-key: {}", key.as_str());
        }
        if self.password.is_some() || self.key.is_some() {
            eprintln!("It is shown this once.");
        }
    }
}

/// Gives a user the password and the key that are asked for.
fn give(secrets: &Secrets, user: &mut StoredUser) -> Result<Shown, Report> {
    let mut shown = Shown::default();
    let failed = |error: String| miette!("{error}");
    let password = match secrets {
        Secrets { password: Some(password), .. } => Some(password.clone()),
        Secrets { password_stdin: true, .. } => Some(from_stdin()?),
        Secrets { generate: true, .. } => {
            shown.password = Some(accounts::generate_password().map_err(failed)?);
            shown.password.clone()
        }
        _ => None,
    };
    if let Some(password) = password {
        if password.is_empty() {
            return Err(miette!("the password is empty"));
        }
        user.password = Some(accounts::hash_password(&password).map_err(failed)?);
    }
    if secrets.api_key {
        let key = ApiKey::generate().map_err(failed)?;
        user.add_key(&key, now());
        shown.key = Some(key);
    }
    Ok(shown)
}

/// A line end at the end is none of the password's.
fn from_stdin() -> Result<String, Report> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .into_diagnostic()
        .wrap_err("cannot read a password from the standard input")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

impl Place {
    /// Lets a server that runs on this configuration, and that can be reached, look at its files
    /// at once. One that cannot does so within seconds.
    fn tell_server(&self) {
        let Some(config) = &self.config else { return };
        let remote = Remote { config: config.clone(), admin: None };
        match Admin::of(&remote).map(|admin| admin.post("/api/v1/refresh", &Value::Null)) {
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(problem)) => tracing::debug!("no server was told: {problem:#}"),
        }
    }

    fn path(&self) -> Result<PathBuf, Report> {
        if let Some(path) = &self.database {
            return Ok(path.clone());
        }
        let file = self.config.as_deref().unwrap_or(Path::new("bifrons.kdl"));
        let name = file.display().to_string();
        let config = config::parse(&name, &read(file)?, folder(file))?;
        let mut sets = config.users.iter().filter(|set| match &self.set {
            Some(name) => set.name == *name,
            None => !set.databases.is_empty(),
        });
        let (set, another) = (sets.next(), sets.next());
        let help = "add `database \"users.db\"` to the set, or name the file with --database";
        match (set, another) {
            (None, _) if self.set.is_some() => Err(miette!("{name} has no such set of users")),
            (None, _) => Err(miette!(help = help, "{name} has no set of users with a database")),
            (Some(_), Some(_)) => {
                Err(miette!(help = "name one with --set", "{name} has several sets of users"))
            }
            (Some(set), None) => match set.databases.first() {
                Some(path) => Ok(path.value.clone()),
                None => Err(miette!(help = help, "the set `{}` has no database", set.name)),
            },
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
