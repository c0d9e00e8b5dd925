//! The thread that writes the access log, and the handle that starts it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use config::{LogFormat, LogTarget};

use super::CoreLog;

/// Messages that wait for the writer, from all cores together.
const QUEUE: usize = 256;
/// How long [`AccessLog::close`] and [`AccessLog::reopen`] wait for a writer that is behind.
const PATIENCE: Duration = Duration::from_secs(5);
/// At most one line about lost lines in the process's own log per this time.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// A pipe that its other owner made non-blocking is asked again after this time, so often.
const FULL_PIPE_PAUSE: Duration = Duration::from_millis(10);
const FULL_PIPE_TRIES: u32 = 100;

/// The access log of the process; clones are the same log. It writes from a thread of its own,
/// which ends when all of them and every [`CoreLog`] are gone.
#[derive(Debug, Clone)]
pub struct AccessLog {
    format: LogFormat,
    /// What `reopen` opens.
    path: Option<PathBuf>,
    /// `None`: the log is off.
    queue: Option<SyncSender<Message>>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens `target` and starts the writer. A file is appended to, and made with mode 0640
    /// if it is missing.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread cannot be started.
    pub fn open(target: &LogTarget, format: LogFormat) -> io::Result<Self> {
        match target {
            LogTarget::Off => {
                Ok(Self { format, path: None, queue: None, dropped: Arc::new(AtomicU64::new(0)) })
            }
            // A descriptor of its own: the one of the standard library looks for line ends
            // and takes a lock.
            LogTarget::Stdout => {
                let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                Self::start(Box::new(stdout), None, format)
            }
            LogTarget::File(path) => {
                Self::start(Box::new(open_file(path)?), Some(path.clone()), format)
            }
        }
    }

    pub(super) fn start(sink: Sink, path: Option<PathBuf>, format: LogFormat) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            sink,
            torn: false,
            dropped: Arc::clone(&dropped),
            reported: 0,
            last_report: None,
            last_error: None,
        };
        thread::Builder::new().name("access-log".into()).spawn(move || writer.run(&messages))?;
        Ok(Self { format, path, queue: Some(queue), dropped })
    }

    /// The end of the log for one core.
    pub fn core(&self) -> CoreLog {
        match &self.queue {
            Some(queue) => CoreLog::new(self.format, queue.clone(), Arc::clone(&self.dropped)),
            None => CoreLog::off(),
        }
    }

    /// Lines lost since the start, because the writer was behind or could not write.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The counter behind [`dropped`](Self::dropped), for [`Metrics`](crate::Metrics).
    pub fn dropped_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Opens the file anew, after it was moved away. Lines handed over before go to the old
    /// one. Does nothing where the log is no file.
    ///
    /// # Errors
    /// The file cannot be opened, or the writer is too far behind to be told; the old one
    /// stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        match &self.path {
            Some(path) => self.send(Message::Reopen(Box::new(open_file(path)?)), Instant::now()),
            None => Ok(()),
        }
    }

    /// Waits until everything that was handed over is written: the last step of a graceful
    /// stop, after each core's [`CoreLog`] was flushed or dropped.
    ///
    /// # Errors
    /// `TimedOut` when the writer did not get there within five seconds.
    pub fn close(&self) -> io::Result<()> {
        if self.queue.is_none() {
            return Ok(());
        }
        let start = Instant::now();
        let (done, wait) = sync_channel(1);
        self.send(Message::Barrier(done), start)?;
        wait.recv_timeout(PATIENCE.saturating_sub(start.elapsed())).map_err(|_| behind())
    }

    /// Queues `message`, waiting for a place until [`PATIENCE`] has passed since `start`.
    fn send(&self, mut message: Message, start: Instant) -> io::Result<()> {
        let Some(queue) = &self.queue else { return Ok(()) };
        loop {
            match queue.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(back)) if start.elapsed() < PATIENCE => message = back,
                Err(_) => return Err(behind()),
            }
            // This is the control thread, and std has no `send_timeout`.
            thread::sleep(FULL_PIPE_PAUSE);
        }
    }
}

/// Where the lines end up.
pub(super) type Sink = Box<dyn Write + Send>;

/// What the writer is told.
pub(super) enum Message {
    /// To be written.
    Lines(Batch),
    /// To write to from now on.
    Reopen(Sink),
    /// To be answered when all before it is written.
    Barrier(SyncSender<()>),
}

impl From<TrySendError<Self>> for Message {
    fn from(error: TrySendError<Self>) -> Self {
        match error {
            TrySendError::Full(message) | TrySendError::Disconnected(message) => message,
        }
    }
}

/// A buffer of whole lines.
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
    /// Where the buffer belongs.
    pub(super) home: SyncSender<Vec<u8>>,
}

struct Writer {
    sink: Sink,
    /// The last write failed in the middle of a line.
    torn: bool,
    dropped: Arc<AtomicU64>,
    /// How many of `dropped` were told about.
    reported: u64,
    last_report: Option<Instant>,
    last_error: Option<io::Error>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Lines(batch) => {
                    self.write_batch(&batch);
                    // A core that is gone has no use for it.
                    let _ = batch.home.try_send(batch.bytes);
                    self.report(Instant::now());
                }
                Message::Reopen(sink) => {
                    self.sink = sink;
                    self.torn = false;
                }
                Message::Barrier(done) => {
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn write_batch(&mut self, batch: &Batch) {
        // Ends the torn line, so that it does not spoil the next one too.
        if self.torn {
            match write_some(&mut self.sink, b"\n") {
                Ok(()) => self.torn = false,
                Err((_, error)) => return self.lose(batch.lines, error),
            }
        }
        if let Err((written, error)) = write_some(&mut self.sink, &batch.bytes) {
            let (done, rest) = batch.bytes.split_at(written);
            self.torn = done.last().is_some_and(|byte| *byte != b'\n');
            self.lose(rest.iter().filter(|byte| **byte == b'\n').count() as u64, error);
        }
    }

    fn lose(&mut self, lines: u64, error: io::Error) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        self.last_error = Some(error);
    }

    /// Tells about lines lost since the last time, if that is long enough ago.
    fn report(&mut self, now: Instant) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let due = self.last_report.is_none_or(|last| now - last >= REPORT_EVERY);
        if dropped == self.reported || !due {
            return;
        }
        let lines = dropped - self.reported;
        match self.last_error.take() {
            Some(error) => tracing::error!(lines, %error, "access log: lines were lost"),
            None => tracing::warn!(lines, "access log: lines were lost, the target is too slow"),
        }
        self.reported = dropped;
        self.last_report = Some(now);
    }
}

/// Like `write_all`, but tells how far it got, and bears with a full pipe for a while.
fn write_some(sink: &mut Sink, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    let mut tries = 0;
    while written < bytes.len() {
        match sink.write(&bytes[written..]) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(n) => (written, tries) = (written + n, 0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && tries < FULL_PIPE_TRIES => {
                tries += 1;
                // The writer has a thread of its own and nothing else to wait for.
                thread::sleep(FULL_PIPE_PAUSE);
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Mode 0640: addresses and targets are nobody else's business.
fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn behind() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "the access log is not written fast enough")
}
