//! What is done when the disk fails: a warning now and then, and no use of it for a while. Pure
//! but for the warning.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// How long the disk is left alone after it failed, in milliseconds.
const PAUSE: u64 = 10_000;

/// Between two warnings, in milliseconds.
const SILENCE: u64 = 60_000;

/// When what failed. Moments are milliseconds since some beginning, and never 0 when kept.
#[derive(Default)]
pub(super) struct Trouble {
    /// No reading and no writing before these moments.
    reads: AtomicU64,
    writes: AtomicU64,
    /// No warning before this moment.
    quiet: AtomicU64,
    errors: AtomicU64,
    /// When something could not be read, whatever it was.
    alone: AtomicU64,
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Read,
    Write,
}

impl Trouble {
    /// Takes note of a failure, and says whether a warning is due.
    pub(super) fn note(&self, attempt: Attempt, now: u64) -> bool {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let until = match attempt {
            Attempt::Read => &self.reads,
            Attempt::Write => &self.writes,
        };
        until.store(now + PAUSE, Ordering::Relaxed);
        self.may_warn(now)
    }

    /// Whether something else could not be read a short while before: then it is the disk.
    pub(super) fn is_repeated(&self, now: u64) -> bool {
        let before = self.alone.swap(now, Ordering::Relaxed);
        before != 0 && now.saturating_sub(before) < PAUSE
    }

    /// Whether a warning is due; if it is, the next one is due a minute later.
    pub(super) fn may_warn(&self, now: u64) -> bool {
        let quiet = self.quiet.load(Ordering::Relaxed);
        let next = now + SILENCE;
        now >= quiet
            && self
                .quiet
                .compare_exchange(quiet, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether this is left alone for now.
    pub(super) fn is_paused(&self, attempt: Attempt, now: u64) -> bool {
        self.resumes(attempt) > now
    }

    /// When it is tried again.
    pub(super) fn resumes(&self, attempt: Attempt) -> u64 {
        match attempt {
            Attempt::Read => self.reads.load(Ordering::Relaxed),
            Attempt::Write => self.writes.load(Ordering::Relaxed),
        }
    }

    /// Counts a failure that says nothing of the rest.
    pub(super) fn count(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something failed.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// Warns of a failure.
pub(super) fn warn(folder: &std::path::Path, attempt: Attempt, error: &io::Error) {
    let what = match attempt {
        Attempt::Read => "read",
        Attempt::Write => "written",
    };
    tracing::warn!(
        "{}: the cache on disk cannot be {what}, and answers are kept in memory only for now: {error}",
        folder.display()
    );
}

/// Warns that there is less room than there was said to be.
pub(super) fn warn_full(folder: &std::path::Path, ceiling: u64) {
    tracing::warn!(
        "{}: the disk is full: the oldest answers there were given up, and no more than {} MiB are used for \
         ten minutes",
        folder.display(),
        ceiling >> 20
    );
}
