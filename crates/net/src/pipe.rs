//! Pipes, the vessels of `splice(2)`, kept per core.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The capacity asked of the kernel for each pipe, in bytes; see `examples/relay.rs`.
pub const DEFAULT_PIPE_SIZE: usize = 1024 * 1024;

/// Asked if the kernel refuses that: the unprivileged have 64 MiB of pipes in all.
const MODEST_PIPE_SIZE: usize = 256 * 1024;

/// Below this, splicing costs more than copying through a buffer. The kernel
/// gives pipes of one or two pages to a user over `pipe-user-pages-soft`.
const USEFUL_PIPE_SIZE: usize = 64 * 1024;

/// A nonblocking pipe and the number of bytes it holds.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
    held: usize,
}

impl Pipe {
    fn open(size: usize) -> Result<Self, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let capacity = fcntl_setpipe_size(&write, size)
            .or_else(|_| fcntl_setpipe_size(&write, size.min(MODEST_PIPE_SIZE)))
            .or_else(|_| rustix::pipe::fcntl_getpipe_size(&write))?;
        if capacity < USEFUL_PIPE_SIZE {
            return Err(Errno::NOBUFS);
        }
        Ok(Self { read, write, capacity, held: 0 })
    }
}

/// The pipes of one core: a free list, and a bound on how many exist.
///
/// Cheap to clone; the clones share the list. A pipe is lent only while bytes are
/// under way, so the bound counts connections whose receiver is slower than their
/// sender, not connections.
#[derive(Clone, Debug)]
pub struct PipePool {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    size: usize,
    max: usize,
    alive: Cell<usize>,
    free: RefCell<Vec<Pipe>>,
}

/// Unused pipes kept: what a core uses in one turn, not its peak.
const MAX_FREE: usize = 32;

impl PipePool {
    /// A pool that lets at most `max` pipes exist at a time; 0 turns splicing off.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self::with_size(max, DEFAULT_PIPE_SIZE)
    }

    /// As [`PipePool::new`] with pipes of `size` bytes, which the kernel rounds up
    /// to a power of two and refuses above `pipe-max-size`.
    #[must_use]
    pub fn with_size(max: usize, size: usize) -> Self {
        let inner = Inner { size, max, alive: Cell::new(0), free: RefCell::default() };
        Self { inner: Rc::new(inner) }
    }

    /// Pipes that exist, lent or not.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.inner.alive.get()
    }

    /// Pipes that wait for use.
    #[must_use]
    pub fn free(&self) -> usize {
        self.inner.free.borrow().len()
    }

    /// Lends an empty pipe, or `None` if the bound is reached or the kernel refuses.
    pub(crate) fn take(&self) -> Option<LentPipe> {
        let reused = self.inner.free.borrow_mut().pop();
        let pipe = match reused {
            Some(pipe) => pipe,
            None => self.open()?,
        };
        Some(LentPipe { pipe: Some(pipe), home: Rc::clone(&self.inner) })
    }

    fn open(&self) -> Option<Pipe> {
        let alive = self.inner.alive.get();
        if alive >= self.inner.max {
            return None;
        }
        let pipe = Pipe::open(self.inner.size)
            .inspect_err(|error| tracing::debug!(%error, "no pipe for splice"))
            .ok()?;
        self.inner.alive.set(alive + 1);
        Some(pipe)
    }
}

/// A lent pipe. Dropped empty, it goes back; dropped with bytes in it, it is closed,
/// so that bytes of one connection never come out on another.
#[derive(Debug)]
pub(crate) struct LentPipe {
    /// `None` only inside `drop`.
    pipe: Option<Pipe>,
    home: Rc<Inner>,
}

impl LentPipe {
    fn pipe(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("a lent pipe is there until it is dropped")
    }

    /// Bytes in the pipe.
    pub(crate) fn held(&self) -> usize {
        self.pipe.as_ref().map_or(0, |pipe| pipe.held)
    }

    /// Moves up to `limit` bytes out of the socket; 0 is its end.
    ///
    /// The pipe must be empty: then, and only then, `WouldBlock` says that the
    /// socket is, not that the pipe is full.
    pub(crate) fn fill(&mut self, from: &TcpStream, limit: u64) -> io::Result<usize> {
        let pipe = self.pipe();
        debug_assert_eq!(pipe.held, 0, "EAGAIN on a filled pipe is ambiguous");
        let most = usize::try_from(limit).map_or(pipe.capacity, |limit| limit.min(pipe.capacity));
        let moved = from.try_io(Interest::READABLE, || {
            uninterrupted(|| splice(from, None, &pipe.write, None, most, flags()))
        })?;
        pipe.held = moved;
        Ok(moved)
    }

    /// Moves bytes into the socket.
    ///
    /// `SPLICE_F_MORE` was measured and gains nothing over large transfers, while it
    /// may hold a short segment back for 200 ms.
    ///
    /// The pipe must hold some: then `WouldBlock` says that the socket is full.
    /// The caller ignores `SIGPIPE`, as Rust programs do: `splice` cannot be told to.
    pub(crate) fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let pipe = self.pipe();
        debug_assert_ne!(pipe.held, 0, "EAGAIN on an empty pipe is ambiguous");
        let moved = to.try_io(Interest::WRITABLE, || {
            uninterrupted(|| splice(&pipe.read, None, to, None, pipe.held, flags()))
        })?;
        if moved == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        pipe.held -= moved;
        Ok(moved)
    }
}

impl Drop for LentPipe {
    fn drop(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut free = self.home.free.borrow_mut();
        if pipe.held == 0 && free.len() < MAX_FREE {
            free.push(pipe);
        } else {
            self.home.alive.set(self.home.alive.get() - 1);
        }
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

fn uninterrupted(mut call: impl FnMut() -> Result<usize, Errno>) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}
