//! One core's end of the access log.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::SystemTime;

use config::LogFormat;

use super::line::write_line;
use super::writer::{Batch, Message};
use super::{AccessRecord, LogClock};

/// A buffer is handed to the writer when it holds this much.
pub(super) const HAND_OVER_BYTES: usize = 56 * 1024;
/// What a buffer is made with: room for one more line of usual length.
const BUFFER_BYTES: usize = 64 * 1024;
/// A buffer that long lines made larger than this is not used again.
const KEEP_BYTES: usize = 2 * BUFFER_BYTES;
/// Buffers of one core, in its hands, in the writer's or between them. This bounds what a
/// writer that is behind can hold: 1 MiB a core.
pub(super) const BUFFERS_PER_CORE: usize = 16;

/// The access log as one core sees it: a buffer of its own that goes to the writer's thread
/// when it is full or [`flush`](Self::flush)ed. Nothing here waits; when the writer is behind
/// by 1 MiB of one core's lines, further ones are dropped and counted.
#[derive(Debug)]
pub struct CoreLog {
    state: Option<RefCell<State>>,
}

impl CoreLog {
    /// A log that goes nowhere.
    pub fn off() -> Self {
        Self { state: None }
    }

    pub(super) fn new(
        format: LogFormat,
        queue: SyncSender<Message>,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        let (home, returned) = sync_channel(BUFFERS_PER_CORE);
        let state = State {
            format,
            clock: LogClock::new(),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            lines: 0,
            spares: Vec::with_capacity(BUFFERS_PER_CORE),
            made: 1,
            queue,
            home,
            returned,
            dropped,
        };
        Self { state: Some(RefCell::new(state)) }
    }

    /// Whether records are of any use.
    pub fn enabled(&self) -> bool {
        self.state.is_some()
    }

    /// Appends one line, stamped `now`.
    pub fn record(&self, record: &AccessRecord<'_>, now: SystemTime) {
        if let Some(state) = &self.state {
            state.borrow_mut().record(record, now);
        }
    }

    /// Hands what is buffered to the writer. Meant to be called about once a second, so that
    /// a quiet core's lines are seen in time.
    pub fn flush(&self) {
        if let Some(state) = &self.state {
            state.borrow_mut().hand_over();
        }
    }
}

impl Drop for CoreLog {
    fn drop(&mut self) {
        if let Some(state) = &self.state {
            let mut state = state.borrow_mut();
            if !state.hand_over() {
                state.dropped.fetch_add(state.lines, Ordering::Relaxed);
            }
        }
    }
}

#[derive(Debug)]
struct State {
    format: LogFormat,
    clock: LogClock,
    buffer: Vec<u8>,
    /// Lines in `buffer`.
    lines: u64,
    /// Empty buffers at hand.
    spares: Vec<Vec<u8>>,
    /// Buffers made so far, wherever they are; at most [`BUFFERS_PER_CORE`].
    made: usize,
    queue: SyncSender<Message>,
    /// Goes along with each buffer, so that the writer can send it back.
    home: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl State {
    fn record(&mut self, record: &AccessRecord<'_>, now: SystemTime) {
        if self.is_full() && !self.hand_over() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.clock.set(now);
        write_line(&mut self.buffer, self.format, record, &self.clock);
        self.lines += 1;
        if self.is_full() {
            self.hand_over();
        }
    }

    fn is_full(&self) -> bool {
        self.buffer.len() >= HAND_OVER_BYTES
    }

    /// Gives the buffer to the writer and takes an empty one. Returns whether the buffer is
    /// empty now; if not, the writer is behind and the lines stay where they are.
    fn hand_over(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        let Some(empty) = self.empty_buffer() else { return false };
        let batch = Batch {
            bytes: std::mem::replace(&mut self.buffer, empty),
            lines: self.lines,
            home: self.home.clone(),
        };
        match self.queue.try_send(Message::Lines(batch)) {
            Ok(()) => {
                self.lines = 0;
                true
            }
            Err(refused) => {
                let Message::Lines(batch) = Message::from(refused) else { return false };
                self.spares.push(std::mem::replace(&mut self.buffer, batch.bytes));
                false
            }
        }
    }

    fn empty_buffer(&mut self) -> Option<Vec<u8>> {
        if let Some(spare) = self.spares.pop() {
            return Some(spare);
        }
        match self.returned.try_recv() {
            Ok(mut buffer) if buffer.capacity() <= KEEP_BYTES => {
                buffer.clear();
                Some(buffer)
            }
            Ok(_) => Some(Vec::with_capacity(BUFFER_BYTES)),
            Err(_) if self.made < BUFFERS_PER_CORE => {
                self.made += 1;
                Some(Vec::with_capacity(BUFFER_BYTES))
            }
            Err(_) => None,
        }
    }
}
