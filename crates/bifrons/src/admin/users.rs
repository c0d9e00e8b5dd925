//! Users: how each stands, and changes of those in databases.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use accounts::{Account, Moment, PeriodStanding, StoredUser, UserStore, UserStoreError};
use admin::{Problem, ProblemKind};
use config::UserSet;
use config::show::money;
use serde_json::{Value, json};
use server::Server;

use super::done;
use crate::user;

/// All that is known of a user.
#[derive(Default)]
struct Known {
    account: Option<Arc<Account>>,
    stored: Option<StoredUser>,
    is_configured: bool,
}

/// Users of all sets, by set and name, and what each has used and has left.
pub(super) fn list(
    server: &Server,
    set: Option<&str>,
    user: Option<&str>,
) -> Result<Value, Problem> {
    let (snapshot, now) = (server.snapshot(), Moment::now());
    let is_meant = |in_set: &str, name: &str| {
        set.is_none_or(|set| set == in_set) && user.is_none_or(|user| user == name)
    };
    let mut all: BTreeMap<(String, String), Known> = BTreeMap::new();
    let accounts = server.accounts();
    for account in snapshot.accounts(accounts, now).into_iter().chain(accounts.all()) {
        // Without a name it is nobody in particular.
        if !account.user().is_empty() && is_meant(account.set(), account.user()) {
            let key = (account.set().to_owned(), account.user().to_owned());
            all.entry(key).or_default().account = Some(account);
        }
    }
    for of_set in &snapshot.config.users {
        for one in of_set.users.iter().filter(|one| is_meant(&of_set.name, &one.name)) {
            let key = (of_set.name.clone(), one.name.clone());
            all.entry(key).or_default().is_configured = true;
        }
        let files = of_set.databases.iter().map(|file| &file.value).filter(|file| file.exists());
        for file in files.filter(|_| set.is_none_or(|set| *set == of_set.name)) {
            let store = UserStore::open_to_read(file).map_err(problem)?;
            let stored = match user {
                Some(name) => store.get(name).map(Vec::from_iter),
                None => store.list(),
            };
            for one in stored.map_err(problem)? {
                let key = (of_set.name.clone(), one.name.clone());
                all.entry(key).or_default().stored = Some(one);
            }
        }
    }
    Ok(all.iter().map(|((set, name), known)| known.to_json(set, name, now)).collect())
}

impl Known {
    fn to_json(&self, set: &str, name: &str, now: Moment) -> Value {
        let standing = self.account.as_ref().map(|account| account.standing(now));
        let source = match self {
            Self { is_configured: true, .. } => "configuration",
            Self { stored: Some(_), .. } => "database",
            _ => "other",
        };
        json!({
            "set": set,
            "name": name,
            "source": source,
            "connections": standing.as_ref().map_or(0, |standing| standing.connections),
            "day": standing.as_ref().map(|standing| period(&standing.day)),
            "month": standing.as_ref().map(|standing| period(&standing.month)),
            "stored": self.stored.as_ref().map(user::to_json),
        })
    }
}

fn period(standing: &PeriodStanding) -> Value {
    json!({
        "bytes": standing.bytes,
        "quota": standing.quota,
        "bytes_left": standing.bytes_left,
        "cost": money(standing.cost),
        "budget": standing.budget.map(money),
        "money_left": standing.money_left.map(money),
        "resets_in_seconds": standing.resets_in.as_secs(),
    })
}

/// Lets what a user has used of its day and its month count no more.
pub(super) fn reset(server: &Server, set: &str, user: &str) -> Result<Value, Problem> {
    match server.accounts().reset(set, user, Moment::now()) {
        Ok(true) => Ok(done()),
        // Nothing was used, so that there is nothing to forget; else nobody knows such a user.
        Ok(false) => match list(server, Some(set), Some(user))? {
            Value::Array(found) if !found.is_empty() => Ok(done()),
            _ => Err(no_user(user)),
        },
        Err(message) => Err(Problem::new(ProblemKind::Failed, message)),
    }
}

/// Changes users in databases, one change after the other: each is read back by the server before
/// the next.
#[derive(Debug, Default)]
pub(super) struct Editor(Mutex<()>);

impl Editor {
    /// Adds a user.
    pub(super) fn add(&self, server: &Server, set: &str, asked: &Value) -> Result<Value, Problem> {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, mut asked) = (databases(server, set)?, asked.clone());
        let name = asked.as_object_mut().and_then(|asked| asked.remove("name"));
        let Some(Value::String(name)) = name else {
            return Err(invalid("`name` says how the user is called".to_owned()));
        };
        let (user, shown) = user::new_from_json(&name, &asked).map_err(invalid)?;
        for file in files.iter().filter(|file| file.exists()) {
            if stored(file, &name)?.is_some() {
                return Err(problem(UserStoreError::Exists(name)));
            }
        }
        let mut store = UserStore::open(&files[0]).map_err(problem)?;
        store.add(&user).map_err(problem)?;
        take_up(server, || store.remove(&name))?;
        Ok(changed(server, &user, &shown))
    }

    /// Changes a user.
    pub(super) fn change(
        &self,
        server: &Server,
        set: &str,
        name: &str,
        changes: &Value,
    ) -> Result<Value, Problem> {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, before) = find(server, set, name)?;
        let mut user = before.clone();
        let shown = user::change_by_json(&mut user, changes).map_err(invalid)?;
        let mut store = UserStore::open(&file).map_err(problem)?;
        store.set(&user).map_err(problem)?;
        take_up(server, || store.set(&before))?;
        Ok(changed(server, &user, &shown))
    }

    /// Removes a user.
    pub(super) fn remove(&self, server: &Server, set: &str, name: &str) -> Result<Value, Problem> {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, before) = find(server, set, name)?;
        let mut store = UserStore::open(&file).map_err(problem)?;
        store.remove(name).map_err(problem)?;
        take_up(server, || store.add(&before))?;
        Ok(done())
    }
}

/// Makes the server read what has changed; where it cannot, the change is undone: else the next
/// start could not read it either.
fn take_up(
    server: &Server,
    undo: impl FnOnce() -> Result<(), UserStoreError>,
) -> Result<(), Problem> {
    server.refresh().map(drop).map_err(|message| {
        let undone = match undo() {
            Ok(()) => "nothing was changed".to_owned(),
            Err(error) => format!("the change is in the file, and cannot be taken back: {error}"),
        };
        // What is as it was is not read again for nothing but this.
        let _ = server.refresh();
        invalid(format!("the server cannot use it:\n{message}\n{undone}"))
    })
}

fn changed(server: &Server, user: &StoredUser, shown: &user::Shown) -> Value {
    let mut answer = json!({
        "user": user::to_json(user),
        "generation": server.snapshot().generation,
    });
    if let Some(password) = &shown.password {
        answer["password"] = password.as_str().into();
    }
    if let Some(key) = &shown.key {
        answer["api_key"] = key.as_str().into();
    }
    answer
}

/// The file that a user is in, and how it has him.
fn find(server: &Server, set: &str, name: &str) -> Result<(PathBuf, StoredUser), Problem> {
    for file in databases(server, set)?.into_iter().filter(|file| file.exists()) {
        if let Some(user) = stored(&file, name)? {
            return Ok((file, user));
        }
    }
    Err(no_user(name))
}

fn stored(file: &std::path::Path, name: &str) -> Result<Option<StoredUser>, Problem> {
    UserStore::open_to_read(file).and_then(|store| store.get(name)).map_err(problem)
}

/// The databases of a set, of which there is at least one.
fn databases(server: &Server, set: &str) -> Result<Vec<PathBuf>, Problem> {
    let snapshot = server.snapshot();
    let found: Option<&UserSet> = snapshot.config.users.iter().find(|known| known.name == set);
    let Some(found) = found else {
        let sets: Vec<_> =
            snapshot.config.users.iter().map(|set| format!("`{}`", set.name)).collect();
        let remedy = match &*sets {
            [] => "the configuration has no `users`".to_owned(),
            sets => format!("there are {}", sets.join(", ")),
        };
        let problem = Problem::new(ProblemKind::Unknown, "there is no such set of users");
        return Err(problem.with_remedy(remedy));
    };
    let files: Vec<_> = found.databases.iter().map(|file| file.value.clone()).collect();
    match files.is_empty() {
        false => Ok(files),
        true => Err(Problem::new(ProblemKind::Unavailable, "the set has no database").with_remedy(
            "add `database \"users.db\"` to it; users that stand in the configuration \
                 or in a file are changed there",
        )),
    }
}

fn no_user(name: &str) -> Problem {
    Problem::new(
        ProblemKind::Unknown,
        format!("there is no user `{name}` in a database of the set"),
    )
    .with_remedy("GET /api/v1/users says which there are, and where")
}

fn invalid(message: String) -> Problem {
    Problem::new(ProblemKind::Invalid, message)
        .with_remedy("GET /api/v1/openapi.json says what a user is")
}

fn problem(error: UserStoreError) -> Problem {
    let kind = match &error {
        UserStoreError::Exists(_) | UserStoreError::KeyTaken => ProblemKind::Unavailable,
        UserStoreError::Unknown(_) => ProblemKind::Unknown,
        UserStoreError::Name(_) => ProblemKind::Invalid,
        UserStoreError::File(_) => ProblemKind::Failed,
    };
    let exists = matches!(error, UserStoreError::Exists(_));
    let problem = Problem::new(kind, error.to_string());
    if exists { problem.with_remedy("PATCH changes it") } else { problem }
}
