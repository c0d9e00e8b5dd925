//! A thin `epoll`, so that the origin and the clients cost little beside the proxy.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Waits for sockets.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read.
    Read,
    /// Room to write.
    Write,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
        }
    }
}

impl Poller {
    /// An empty one.
    ///
    /// # Errors
    /// The system is out of files.
    pub fn new() -> rustix::io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    /// Adds a socket under a number of the caller's choice. Closing it removes it.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn add(
        &self,
        socket: impl AsFd,
        token: usize,
        interest: Interest,
    ) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, socket, EventData::new_u64(token as u64), interest.flags())
    }

    /// Changes what a socket is waited for.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn change(
        &self,
        socket: impl AsFd,
        token: usize,
        interest: Interest,
    ) -> rustix::io::Result<()> {
        epoll::modify(&self.epoll, socket, EventData::new_u64(token as u64), interest.flags())
    }

    /// Waits until a socket is ready (or failed) or `timeout` is over (`None`: for ever), and
    /// replaces the content of `ready` by the numbers of those that are.
    ///
    /// # Errors
    /// Those of `epoll_pwait2`.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<usize>,
    ) -> rustix::io::Result<()> {
        ready.clear();
        self.events.clear();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        ready.extend(self.events.iter().map(|event| {
            let data = event.data;
            usize::try_from(data.u64()).unwrap_or(usize::MAX)
        }));
        Ok(())
    }
}
