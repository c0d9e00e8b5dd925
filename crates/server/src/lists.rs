//! Lists that come from URLs: copies of them in the state folder, which everybody reads as files.
//!
//! Where there is no copy yet, nothing is built before there is one ([`fetch_missing`]); from then
//! on a thread of its own asks again every so often ([`watch`]), and what has changed is read as
//! any other file that has.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use config::{Config, ConfigError, ExitKind, ListSource, Span, Spanned, TargetPattern};

use crate::control::Inner;

mod fetch;

use fetch::{Fetched, Fetcher, shown};

/// How often the configuration is looked at for lists that are new or due.
const TICK: Duration = Duration::from_secs(5);

/// After a failure the next attempt comes at least so much later; twice as much each time, up to
/// the time between two fetches.
const FIRST_RETRY: Duration = Duration::from_secs(30);

/// Lists that are fetched at once, where none of them is there.
const AT_ONCE: usize = 4;

/// A list that a configuration wants from somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    url: String,
    /// The shortest of all that is said for it.
    every: Duration,
    /// The copy.
    path: PathBuf,
    content: Content,
    span: Span,
}

/// What is on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Domains.
    Domains,
    /// Parents of a pool of exits.
    Exits,
}

/// The lists of a configuration that come from URLs, each once.
fn wanted(config: &Config) -> Vec<Wanted> {
    let Some(state) = config.state.as_ref().map(|state| state.value.as_path()) else {
        return Vec::new();
    };
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut add = |list: &Spanned<ListSource>, content| {
        let ListSource::Url { url, every } = &list.value else { return };
        match wanted.iter_mut().find(|other| other.url == *url) {
            Some(other) => other.every = other.every.min(*every),
            None => wanted.push(Wanted {
                url: url.clone(),
                every: *every,
                path: list.value.path(Some(state)),
                content,
                span: list.span,
            }),
        }
    };
    for target in targets(config) {
        if let TargetPattern::List(list) = target {
            add(list, Content::Domains);
        }
    }
    for exit in config.exits.iter().flat_map(|pool| &pool.exits) {
        if let ExitKind::List { source, .. } = &exit.kind {
            add(source, Content::Exits);
        }
    }
    wanted
}

/// All that names targets.
fn targets(config: &Config) -> impl Iterator<Item = &TargetPattern> {
    let forwards = config.forwards.iter();
    let intercepts = forwards.clone().filter_map(|forward| forward.intercept.as_ref());
    let listeners = forwards.clone().flat_map(|forward| &forward.rules);
    let limits = config
        .users
        .iter()
        .flat_map(|set| set.users.iter().map(|user| &user.limits).chain([&set.defaults]));
    let rules = listeners.chain(limits.flat_map(|limits| &limits.rules));
    rules
        .flat_map(|rule| &rule.targets)
        .chain(intercepts.flat_map(|intercept| intercept.hosts.iter().chain(&intercept.except)))
        .chain(forwards.filter_map(|forward| forward.pac.as_ref()).flat_map(|pac| &pac.direct))
}

/// Fetches the lists of which there is no copy. Returns when they are there.
///
/// # Errors
/// One for each that cannot be had.
pub(crate) fn fetch_missing(config: &Config) -> Result<(), Vec<ConfigError>> {
    let missing: Vec<Wanted> =
        wanted(config).into_iter().filter(|list| !list.path.exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let fetcher = Fetcher::new();
    let (next, errors) = (Mutex::new(missing.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..missing.len().min(AT_ONCE) {
            scope.spawn(|| {
                loop {
                    let list = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(list) = list else { return };
                    if let Err(reason) = fetcher.fetch(list, SystemTime::now()) {
                        let error = cannot_fetch(list, &reason);
                        errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                    }
                }
            });
        }
    });
    let errors = errors.into_inner().unwrap_or_else(PoisonError::into_inner);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn cannot_fetch(list: &Wanted, reason: &str) -> ConfigError {
    ConfigError::at(
        list.span,
        format!("cannot fetch the list `{}`: {reason}", shown(&list.url)),
        "this list",
    )
    .help("there is no earlier copy of it; it has to be there when it is first used")
}

/// A thread that fetches lists again when they are due, until what it returns is dropped.
pub(crate) fn watch(inner: &Arc<Inner>) -> std::io::Result<Sender<()>> {
    let (stop, stopped) = channel::<()>();
    let inner: Weak<Inner> = Arc::downgrade(inner);
    let run = move || {
        let mut schedule = Schedule::default();
        while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let Some(strong) = inner.upgrade() else { return };
            let lists = wanted(&strong.snapshot().config);
            // A fetch takes its time: the server must be able to end meanwhile.
            drop(strong);
            if schedule.fetch_due(&lists)
                && let Some(inner) = inner.upgrade()
            {
                // It has said what it did.
                let _ = inner.look_at_files();
            }
        }
    };
    std::thread::Builder::new().name("lists".to_owned()).spawn(run)?;
    Ok(stop)
}

/// When lists are to be fetched again, by their copies.
#[derive(Default)]
struct Schedule {
    fetcher: Option<Fetcher>,
    due: HashMap<PathBuf, Due>,
}

struct Due {
    at: Instant,
    failures: u32,
}

impl Schedule {
    /// Fetches what is due. `true`: something has changed.
    fn fetch_due(&mut self, lists: &[Wanted]) -> bool {
        self.due.retain(|path, _| lists.iter().any(|list| list.path == *path));
        let mut changed = false;
        for list in lists {
            let now = Instant::now();
            let due = self
                .due
                .entry(list.path.clone())
                .or_insert_with(|| Due { at: now + left(&list.path, list.every), failures: 0 });
            // It may have become shorter by a reload.
            due.at = due.at.min(now + list.every);
            if now < due.at {
                continue;
            }
            let fetcher = self.fetcher.get_or_insert_with(Fetcher::new);
            let outcome = fetcher.fetch(list, SystemTime::now());
            let url = shown(&list.url);
            match &outcome {
                Ok(Fetched::Changed) => tracing::info!(url, "list fetched"),
                Ok(Fetched::Same) => {}
                Err(reason) => tracing::warn!(url, reason, "the list is used as it was"),
            }
            changed |= outcome == Ok(Fetched::Changed);
            due.failures = if outcome.is_ok() { 0 } else { due.failures.saturating_add(1) };
            due.at = Instant::now() + pause(list.every, due.failures);
        }
        changed
    }
}

/// How long to wait after so many failures.
fn pause(every: Duration, failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => every,
        Some(doubled) => FIRST_RETRY.saturating_mul(1 << doubled.min(16)).min(every),
    }
}

/// Until a copy has its age.
fn left(path: &Path, every: Duration) -> Duration {
    let age =
        fetch::last_fetched(path).and_then(|then| SystemTime::now().duration_since(then).ok());
    every.saturating_sub(age.unwrap_or(every))
}

#[cfg(test)]
mod tests;
