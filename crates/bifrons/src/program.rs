//! A server and where its configuration comes from: what can be done to both while they run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use config::{Config, Errors};
use miette::{IntoDiagnostic, Report, WrapErr};
use server::{Reload, Server};
use tokio::sync::Notify;

use crate::args::Common;

/// Where a configuration comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file; what the command line says goes before what it says.
    File(PathBuf, Common),
    /// The command line alone, as a configuration text.
    Text(String),
}

impl Source {
    /// What error messages call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path, _) => path.display().to_string(),
            Self::Text(_) => "command line".to_owned(),
        }
    }

    /// Reads it, and returns the text together with what it says.
    pub(crate) fn load(&self) -> Result<(String, Config), Report> {
        match self {
            Self::File(path, common) => {
                let text = read(path)?;
                let mut config = config::parse(&self.name(), &text, folder(path))?;
                override_with(&mut config, common)?;
                Ok((text, config))
            }
            Self::Text(text) => {
                Ok((text.clone(), config::parse(&self.name(), text, Path::new(""))?))
            }
        }
    }
}

pub(crate) fn read(path: &Path) -> Result<String, Report> {
    std::fs::read_to_string(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))
}

pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn override_with(config: &mut Config, common: &Common) -> Result<(), Report> {
    // The options are a little configuration of their own; it needs something that listens.
    let text = format!("{}forward \"127.0.0.1:1\"\n", common.to_kdl());
    let given = config::parse("command line", &text, Path::new(""))?;
    if common.threads.is_some() {
        config.threads = given.threads;
    }
    if common.access_log.is_some() {
        config.access_log = given.access_log;
        config.access_log.span = None;
    }
    if common.admin.is_some() {
        config.admin = given.admin;
    }
    Ok(())
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) server: Arc<Server>,
    source: Source,
    /// A reload that was asked for and has not begun.
    waiting: Mutex<Option<Arc<Turn>>>,
    /// Held while one runs.
    running: Mutex<()>,
    executable: Executable,
    /// Told when another process has taken over.
    replaced: Notify,
}

/// A reload, for all who wait for it.
#[derive(Debug, Default)]
struct Turn {
    outcome: Mutex<Option<Result<Reload, String>>>,
    done: Condvar,
}

impl Program {
    pub(crate) fn new(server: Arc<Server>, source: Source) -> Self {
        Self {
            server,
            source,
            waiting: Mutex::default(),
            running: Mutex::default(),
            executable: Executable::of_this(),
            replaced: Notify::new(),
        }
    }

    /// Starts the program anew, as it is on the disk now, and hands everything over to it.
    /// Returns the number of its process, when that serves.
    ///
    /// # Errors
    /// Why it does not serve, in words. Then this process does as before.
    pub(crate) fn upgrade(&self) -> Result<u32, String> {
        tracing::info!("upgrade: starting {}", self.executable.path.display());
        let outcome = self.server.hand_over(&mut self.executable.command());
        match &outcome {
            Ok(process) => {
                tracing::info!("upgrade: process {process} serves now");
                self.replaced.notify_one();
            }
            Err(error) => tracing::error!("upgrade: {error}; this process goes on"),
        }
        outcome
    }

    /// Returns when another process has taken over.
    pub(crate) async fn replaced(&self) {
        self.replaced.notified().await;
    }

    /// Reads the configuration again and goes on with it. Whoever asks while one runs gets the
    /// next one, together with all who ask until that begins.
    ///
    /// # Errors
    /// What is wrong, in words. Then nothing has changed.
    pub(crate) fn reload(&self) -> Result<Reload, String> {
        let (turn, ours) = {
            let mut waiting = lock(&self.waiting);
            match &*waiting {
                Some(turn) => (Arc::clone(turn), false),
                None => (Arc::clone(waiting.insert(Arc::default())), true),
            }
        };
        if ours {
            let running = lock(&self.running);
            // What is asked for from now on may want what was written after we have read.
            lock(&self.waiting).take();
            let outcome = self.reload_now();
            drop(running);
            *lock(&turn.outcome) = Some(outcome);
            turn.done.notify_all();
        }
        let mut outcome = lock(&turn.outcome);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            outcome = turn.done.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn reload_now(&self) -> Result<Reload, String> {
        let outcome = self.source.load().map_err(|report| words(&report)).and_then(|loaded| {
            let (text, config) = loaded;
            let reloaded = self.server.reload(config);
            reloaded.map_err(|errors| Errors::new(&self.source.name(), &text, errors).to_string())
        });
        if let Err(words) = &outcome {
            tracing::error!("the configuration is as it was:\n{}", words.trim_end());
        }
        outcome
    }
}

/// How this program was started.
#[derive(Debug)]
struct Executable {
    path: PathBuf,
    arguments: Vec<OsString>,
    folder: Option<PathBuf>,
}

impl Executable {
    /// As it was called: where that is a symbolic link, it may lead to another version next time.
    fn of_this() -> Self {
        let mut arguments = std::env::args_os();
        let called = PathBuf::from(arguments.next().unwrap_or_default());
        let folder = std::env::current_dir().ok();
        let path = match folder.as_ref().map(|folder| folder.join(&called)) {
            Some(path) if called.components().count() > 1 && path.exists() => path,
            _ => in_search_path(&called).or_else(|| std::env::current_exe().ok()).unwrap_or(called),
        };
        Self { path, arguments: arguments.collect(), folder }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

fn in_search_path(name: &Path) -> Option<PathBuf> {
    let all = std::env::var_os("PATH")?;
    std::env::split_paths(&all).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// What was wrong, as plain text.
pub(crate) fn words(report: &Report) -> String {
    match report.downcast_ref::<Errors>() {
        Some(errors) => errors.to_string(),
        None => format!("{report:#}"),
    }
}

/// Nothing here panics while it holds one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
