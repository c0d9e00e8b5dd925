//! Another configuration for a server that runs.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use config::{Config, ConfigError, Dns, Spanned};
use proxy::{Changes, Snapshot};

use crate::bind::{Bound, bind_all, local_addresses};
use crate::control::{Inner, Sockets, per_core};
use crate::lists;
use crate::worker::{Command, Install};

/// How often files are looked at.
const REFRESH: Duration = Duration::from_secs(5);

/// How long a core may take to change to another configuration. One that takes longer does so
/// as soon as it can.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// The configuration that runs now.
    pub generation: u64,
    /// How long it took.
    pub took: Duration,
    /// How much changed.
    pub changes: Changes,
    /// What the configuration says that takes effect at the next start only, and the like; one
    /// sentence each.
    pub warnings: Vec<String>,
}

impl Inner {
    /// Builds everything first; what is equal is carried over.
    pub(crate) fn reload(&self, mut config: Config) -> Result<Reload, Vec<ConfigError>> {
        let started = Instant::now();
        // It may take its time, and nothing has to wait for it.
        lists::fetch_missing(&config)?;
        let mut sockets = self.lock_sockets();
        let old = self.snapshot();
        let mut warnings = self.keep_what_cannot_change(&mut config, &old);
        let threads = self.commands.len();
        let bound = bind_all(&mut config, threads, &sockets.groups, sockets.chosen.clone())?;
        let snapshot = self.build(config, &old)?;
        let changes = snapshot.changes_since(&old);
        let generation = snapshot.generation;
        if let Err(error) = self.log.reopen() {
            warnings.push(format!("the access log stays in its old file: {error}"));
        }
        self.install(&mut sockets, bound, snapshot).map_err(|error| vec![no_copy(&error)])?;
        warnings.extend(refresh_certificates(&self.snapshot()));
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let took = started.elapsed();
        tracing::info!(generation, ms = took.as_secs_f64() * 1e3, "configuration loaded");
        Ok(Reload { generation, took, changes, warnings })
    }

    /// Reads certificates again whose files have changed, and everything where another one did.
    /// Whether there was such another one.
    ///
    /// # Errors
    /// Why all is as it was, in words.
    pub(crate) fn look_at_files(&self) -> Result<bool, String> {
        for warning in refresh_certificates(&self.snapshot()) {
            tracing::warn!("{warning}");
        }
        let mut sockets = self.lock_sockets();
        let old = self.snapshot();
        let now = old.files.now();
        let changed: Vec<_> = now.changed_since(&old.files).collect();
        let mut failed = self.failed_files.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.is_empty() {
            return Ok(false);
        }
        if failed.as_ref() == Some(&now) {
            return Err("files are still as they could not be read before".to_owned());
        }
        let shown: Vec<_> = changed.iter().map(|path| path.display().to_string()).collect();
        let files = shown.join(" ");
        let bound = Bound { chosen: sockets.chosen.clone(), ..Bound::default() };
        let installed = self.build(old.to_config(), &old).and_then(|snapshot| {
            self.install(&mut sockets, bound, snapshot).map_err(|error| vec![no_copy(&error)])
        });
        match installed {
            Ok(()) => {
                tracing::info!(files, "files read again");
                Ok(true)
            }
            Err(errors) => {
                let words = |error: ConfigError| format!("{} ({})", error.message, error.label);
                let words: Vec<_> = errors.into_iter().map(words).collect();
                for words in &words {
                    tracing::warn!(files, "kept as it was: {words}");
                }
                // Said once for each change.
                *failed = Some(now);
                Err(words.join("\n"))
            }
        }
    }

    /// What a reload does not change is put back to what it was; says so.
    fn keep_what_cannot_change(&self, config: &mut Config, old: &Snapshot) -> Vec<String> {
        let old = &old.config;
        let mut warnings = Vec::new();
        let mut keep = |what: &str, same: bool| {
            if !same {
                warnings.push(format!("`{what}` takes effect at the next start only"));
            }
        };
        keep("threads", config.threads == old.threads);
        let same_admin = match (&mut config.admin, &old.admin) {
            (Some(new), Some(old)) => {
                // Where any port was asked for, the one that was chosen will do.
                if new.listen.port() == 0 && new.listen.ip() == old.listen.ip() {
                    new.listen = old.listen;
                }
                new.listen == old.listen && new.token == old.token
            }
            (new, old) => new.is_none() && old.is_none(),
        };
        keep("admin", same_admin);
        let (new_log, old_log) = (&config.access_log, &old.access_log);
        keep("access-log", new_log.target == old_log.target && new_log.format == old_log.format);
        let bare = |dns: &Dns| dns.clone().without_places();
        keep("resolvers", bare(&config.dns) == bare(&old.dns));
        let folder = |state: &Option<Spanned<PathBuf>>| state.as_ref().map(|at| at.value.clone());
        keep("state", folder(&config.state) == folder(&old.state));
        let place =
            |config: &Config| config.cache.disk.as_ref().map(|disk| disk.path.value.clone());
        let same_disk = place(config) == place(old);
        keep("disk", same_disk);
        if !same_disk {
            config.cache.disk.clone_from(&old.cache.disk);
        }
        config.state.clone_from(&old.state);
        config.threads = old.threads;
        config.admin.clone_from(&old.admin);
        config.access_log.clone_from(&old.access_log);
        config.dns.clone_from(&old.dns);
        warnings
    }

    fn build(&self, config: Config, old: &Snapshot) -> Result<Arc<Snapshot>, Vec<ConfigError>> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(vec![ConfigError::whole("the server is stopping")]);
        }
        let registries = &self.registries;
        Snapshot::build(config, Some(old), local_addresses(), &self.metrics, registries)
            .map(Arc::new)
    }

    /// Makes all cores serve it, and waits until they do.
    fn install(
        &self,
        sockets: &mut Sockets,
        bound: Bound,
        snapshot: Arc<Snapshot>,
    ) -> std::io::Result<()> {
        let added = per_core(&bound.added, self.commands.len())?;
        // Nothing fails from here on.
        let listens = |address| snapshot.listeners.iter().any(|one| one.address == address);
        let held = sockets.groups.iter().map(|group| group.address);
        let removed: Vec<_> = held.filter(|address| !listens(*address)).collect();
        // The cores' copies are the last ones then, and closing them ends the listening.
        sockets.groups.retain(|group| listens(group.address));
        sockets.groups.extend(bound.added);
        sockets.chosen = bound.chosen;
        self.metrics.set_generation(snapshot.generation);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&snapshot);
        let (done, all_done) = std::sync::mpsc::channel();
        for (command, added) in self.commands.iter().zip(added) {
            let install = Install {
                snapshot: Arc::clone(&snapshot),
                added,
                removed: removed.clone(),
                done: done.clone(),
            };
            // A core that has ended serves nothing.
            let _ = command.send(Command::Install(install));
        }
        drop(done);
        snapshot.put_limits_to_use(&self.accounts);
        self.cache.resize(&crate::control::cache_settings(&snapshot.config));
        self.dictionaries.resize(crate::control::room_for_dictionaries(&snapshot.config));
        if let Some(disk) = &snapshot.config.cache.disk {
            self.cache.resize_disk(disk.size);
        }
        let deadline = Instant::now() + PATIENCE;
        for _ in &self.commands {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = all_done.recv_timeout(left) {
                tracing::error!("a core does not answer; it changes when it can");
                break;
            }
        }
        Ok(())
    }
}

/// Reads certificates again whose files have changed, where they are; returns what is wrong with
/// those that cannot be used.
fn refresh_certificates(snapshot: &Snapshot) -> Vec<String> {
    let mut warnings = Vec::new();
    for tls in snapshot.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        for outcome in tls.refresh() {
            match outcome {
                tls::RefreshOutcome::Reloaded { path, .. } => {
                    tracing::info!(path = %path.display(), "certificate reloaded");
                }
                tls::RefreshOutcome::Kept { path, reason, .. } => {
                    warnings.push(format!("{} is used as it was: {reason}", path.display()));
                }
            }
        }
    }
    warnings
}

fn no_copy(error: &std::io::Error) -> ConfigError {
    ConfigError::whole(format!("cannot copy a socket: {error}"))
}

/// A thread that looks at files, until what it returns is dropped.
pub(crate) fn watch_files(inner: &Arc<Inner>) -> std::io::Result<std::sync::mpsc::Sender<()>> {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let inner: Weak<Inner> = Arc::downgrade(inner);
    let look = move || {
        use std::sync::mpsc::RecvTimeoutError::Timeout;
        while stopped.recv_timeout(REFRESH) == Err(Timeout) {
            let Some(inner) = inner.upgrade() else { return };
            // It has said what it did.
            let _ = inner.look_at_files();
        }
    };
    std::thread::Builder::new().name("files".to_owned()).spawn(look)?;
    Ok(stop)
}
