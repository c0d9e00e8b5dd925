//! The thread that writes down what was used.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ahash::RandomState;

use crate::accounts::Directory;
use crate::calendar::Day;
use crate::cells::{Delta, OTHER, Owner, Queue};
use crate::purse::GRAINS;
use crate::query::{UsageQuery, UsageRow};
use crate::store::{Batch, Store};

/// Twice a second: so that a process that is killed loses less than a second.
const EVERY: Duration = Duration::from_millis(500);

/// How often cells that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// How often what is old is removed from the file.
const PRUNE: Duration = Duration::from_secs(6 * 3600);

/// The other end of the thread. Dropping it writes down everything and ends the thread.
pub(crate) struct Writer {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    status: Arc<Mutex<Status>>,
}

/// Where usage is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The file; `None`: memory.
    pub file: Option<PathBuf>,
    /// What is wrong. Then usage is counted in memory, and quotas hold nevertheless.
    pub problem: Option<String>,
}

enum Command {
    Flush(Sender<()>),
    Query(UsageQuery, Sender<Result<Vec<UsageRow>, String>>),
    Reset(Box<str>, Box<str>, Sender<Result<usize, String>>),
}

impl Writer {
    pub(crate) fn start(
        store: Store,
        problem: Option<String>,
        queue: &Arc<Queue>,
        directory: &Arc<Directory>,
        totals: &Arc<Totals>,
    ) -> io::Result<Self> {
        let status = Status { file: store.file.clone(), problem };
        let status = Arc::new(Mutex::new(status));
        let (commands, received) = mpsc::channel();
        let work = Work {
            store,
            queue: Arc::clone(queue),
            directory: Arc::clone(directory),
            totals: Arc::clone(totals),
            status: Arc::clone(&status),
            today: None,
        };
        let thread = std::thread::Builder::new()
            .name("usage".to_owned())
            .spawn(move || work.run(&received))?;
        Ok(Self { commands: Some(commands), thread: Some(thread), status })
    }

    pub(crate) fn flush(&self) {
        self.ask(Command::Flush);
    }

    pub(crate) fn query(&self, query: UsageQuery) -> Result<Vec<UsageRow>, String> {
        self.ask(|reply| Command::Query(query, reply)).unwrap_or_else(gone)
    }

    pub(crate) fn reset(&self, set: &str, user: &str) -> Result<usize, String> {
        self.ask(|reply| Command::Reset(set.into(), user.into(), reply)).unwrap_or_else(gone)
    }

    pub(crate) fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// `None`: the thread has ended, which only a bug makes it do.
    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = mpsc::channel();
        self.commands.as_ref()?.send(command(reply)).ok()?;
        answer.recv().ok()
    }
}

fn gone<T>() -> Result<T, String> {
    Err("the thread that writes usage has ended".to_owned())
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong.
            let _ = thread.join();
        }
    }
}

struct Work {
    store: Store,
    queue: Arc<Queue>,
    directory: Arc<Directory>,
    totals: Arc<Totals>,
    status: Arc<Mutex<Status>>,
    /// The latest day that something was counted for.
    today: Option<Day>,
}

impl Work {
    fn run(mut self, commands: &Receiver<Command>) {
        let mut batch = Batch::default();
        let mut next = Instant::now() + EVERY;
        let mut swept = Instant::now();
        let mut pruned: Option<Instant> = None;
        loop {
            let command = commands.recv_timeout(next.saturating_duration_since(Instant::now()));
            self.write(&mut batch);
            match command {
                Ok(command) => self.answer(command),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => next = Instant::now() + EVERY,
            }
            if swept.elapsed() > SWEEP {
                swept = Instant::now();
                self.directory.sweep(self.today);
            }
            // Days are those of whoever counts: here nobody asks what day it is.
            if let Some(today) = self.today
                && pruned.is_none_or(|pruned| pruned.elapsed() > PRUNE)
            {
                pruned = Some(Instant::now());
                if let Err(error) = self.store.prune(today) {
                    tracing::warn!("old usage cannot be removed: {error}");
                }
            }
        }
    }

    fn answer(&self, command: Command) {
        // Whoever asked may be gone.
        match command {
            Command::Flush(reply) => drop(reply.send(())),
            Command::Query(query, reply) => drop(reply.send(self.store.usage(&query))),
            Command::Reset(set, user, reply) => drop(reply.send(self.store.reset(&set, &user))),
        }
    }

    /// Fetches what has come, and writes it with what could not be written before.
    fn write(&mut self, batch: &mut Batch) {
        for cell in self.queue.take() {
            let delta = cell.fetch();
            self.today = self.today.max(Some(cell.day.first));
            for tally in [&cell.day, &cell.month] {
                tally.settle(delta.bytes(), delta.cost);
            }
            self.totals.add(&cell.owner, &cell.exit, &delta);
            batch.add(&cell, &delta);
        }
        if batch.is_empty() {
            return;
        }
        let outcome = self.store.write(batch);
        // In memory there is a reason already why it is not a file.
        let Some(file) = &self.store.file else { return };
        let mut status = lock(&self.status);
        match outcome {
            Ok(()) => {
                if status.problem.take().is_some() {
                    tracing::info!("{}: usage is written again", file.display());
                }
            }
            Err(error) => {
                let text = format!("{}: {error}", file.display());
                if status.problem.is_none() {
                    tracing::warn!("usage cannot be written and is kept in memory: {text}");
                }
                status.problem = Some(text);
            }
        }
    }
}

/// What was used since the process began, by user and exit.
#[derive(Debug, Default)]
pub(crate) struct Totals(Mutex<HashMap<UserAndExit, Delta, RandomState>>);

type UserAndExit = (Arc<Owner>, Arc<str>);

/// Pairs of user and exit that are told apart.
const MOST_TOTALS: usize = 100_000;

impl Totals {
    fn add(&self, owner: &Arc<Owner>, exit: &Arc<str>, delta: &Delta) {
        let mut totals = lock(&self.0);
        let mut key = (Arc::clone(owner), Arc::clone(exit));
        if totals.len() >= MOST_TOTALS && !totals.contains_key(&key) {
            key.1 = OTHER.into();
        }
        totals.entry(key).or_default().add(delta);
    }

    pub(crate) fn all(&self) -> Vec<Total> {
        let totals = lock(&self.0);
        let one = |((owner, exit), delta): (&UserAndExit, &Delta)| Total {
            set: owner.set.clone(),
            user: owner.user.clone(),
            exit: Arc::clone(exit),
            up: delta.up,
            down: delta.down,
            requests: delta.requests,
            cost: u64::try_from(delta.cost / u128::from(GRAINS)).unwrap_or(u64::MAX),
        };
        let mut all: Vec<Total> = totals.iter().map(one).collect();
        all.sort_by(|a, b| (&a.set, &a.user, &a.exit).cmp(&(&b.set, &b.user, &b.exit)));
        all
    }
}

/// What one user has moved through one exit since the process began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// The set of the user.
    pub set: Box<str>,
    /// The user; empty: nobody in particular.
    pub user: Box<str>,
    /// The exit.
    pub exit: Arc<str>,
    /// Bytes from the client.
    pub up: u64,
    /// Bytes to the client.
    pub down: u64,
    /// Requests and tunnels.
    pub requests: u64,
    /// What it cost, in millionths, rounded down.
    pub cost: u64,
}

/// Nothing that is done under the lock panics half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
