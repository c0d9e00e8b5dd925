//! The origins behind the proxies: each a thread, each as few instructions as possible.
//!
//! A full web server would take so much of the load's core that the load could not fill the
//! proxy's.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::poller::{Interest, Poller};
use crate::Result;

mod h1;
mod h2c;
mod slow;
mod text;
mod websocket;

pub use h1::{KEPT, LARGE, MEDIUM};

/// Bytes of the body of `/1k`.
pub const SMALL: usize = 1 << 10;
/// A request head larger than this is refused.
const HEAD_LIMIT: usize = 16 << 10;
/// What the slow one of the group takes for a request.
pub const SLOW: Duration = Duration::from_millis(50);
/// What the origin of what expires takes: long enough for all that ask at once to have asked.
const FETCH: Duration = Duration::from_millis(300);
/// The listener's number; connections have the others.
const LISTENER: usize = usize::MAX;
/// Fields of every answer besides `Content-Length`: those that an ordinary origin sends.
const FIELDS: [(&str, &str); 6] = [
    ("Server", "origin"),
    ("Date", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ("Content-Type", "text/html; charset=utf-8"),
    ("Last-Modified", "Wed, 31 Dec 2025 00:00:00 GMT"),
    ("ETag", "\"5e6f-1a2b3c\""),
    ("Cache-Control", "private, no-cache"),
];
/// Those of an answer that caches keep, besides a `Date` of this day: Squid asks again each time
/// for what has none.
const KEPT_FIELDS: [(&str, &str); 5] = [
    ("Server", "origin"),
    ("Content-Type", "text/html; charset=utf-8"),
    ("Last-Modified", "Wed, 31 Dec 2025 00:00:00 GMT"),
    ("ETag", "\"5e6f-1a2b3c\""),
    ("Cache-Control", "max-age=86400"),
];
/// Those of an answer that expires soon.
const EXPIRING_FIELDS: [(&str, &str); 3] =
    [("Server", "origin"), ("Content-Type", "text/html"), ("Cache-Control", "max-age=1")];

/// Where the origins listen. They end with the process.
#[derive(Debug)]
pub struct Origins {
    /// HTTP/1.1: `/1k`, `/10m`, `/text-100k`, and for caches `/kept-1k`, `/kept-100k`, `/kept-1m`
    /// and `/object/NUMBER`.
    pub h1: SocketAddr,
    /// HTTP/1.1: what is fresh for a second, whatever is asked for, after [`FETCH`].
    pub expiring: SocketAddr,
    /// How often both were asked for what a cache keeps.
    fetches: Arc<AtomicU64>,
    /// HTTP/2 without TLS, 1 KiB whatever is asked for.
    pub h2c: SocketAddr,
    /// Four servers of one group, HTTP/1.1: the last of them takes [`SLOW`] for a request.
    pub group: [SocketAddr; 4],
    /// WebSockets: answers every message with the same one.
    pub websocket: SocketAddr,
}

impl Origins {
    /// Starts all of them.
    ///
    /// # Errors
    /// There is no socket or no memory for one.
    pub fn start() -> Result<Self> {
        let answers = h1::Answers::new()?;
        let fetches = answers.fetches();
        let h1 = start::<h1::Connection>(answers)?;
        Ok(Self {
            h1,
            expiring: slow::start(h1::expiring(), FETCH, Arc::clone(&fetches))?,
            fetches,
            h2c: start::<h2c::Connection>(h2c::Answers::new())?,
            group: [
                h1,
                start::<h1::Connection>(h1::Answers::new()?)?,
                start::<h1::Connection>(h1::Answers::new()?)?,
                slow::start(h1::small(), SLOW, Arc::default())?,
            ],
            websocket: start::<websocket::Connection>(())?,
        })
    }

    /// How often a proxy has fetched what a cache keeps.
    pub fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }
}

/// What an origin does on one connection.
trait Serve: Default + 'static {
    /// What its connections share.
    type Shared: Send + 'static;

    /// Called when the socket is ready: reads, answers and sends until it has no more to
    /// give or to take.
    fn turn(&mut self, stream: &mut TcpStream, shared: &Self::Shared) -> Turn;
}

/// What became of a connection.
enum Turn {
    Wait(Interest),
    Close,
}

/// Starts an origin in a thread of its own and tells where it listens.
fn start<S: Serve>(shared: S::Shared) -> Result<SocketAddr> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("origin".into()).spawn(move || {
        let served = Origin::<S>::new(listener, shared).and_then(|mut origin| origin.serve());
        if let Err(error) = served {
            eprintln!("the origin ended: {error}");
        }
    })?;
    Ok(address)
}

/// A listener that does not refuse a burst of connections.
fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, 4096)?;
    Ok(listener)
}

struct Origin<S: Serve> {
    listener: TcpListener,
    poller: Poller,
    connections: Vec<Option<Connection<S>>>,
    free: Vec<usize>,
    shared: S::Shared,
}

struct Connection<S> {
    stream: TcpStream,
    serve: S,
    waits_for: Interest,
}

impl<S: Serve> Origin<S> {
    fn new(listener: TcpListener, shared: S::Shared) -> Result<Self> {
        let poller = Poller::new()?;
        poller.add(&listener, LISTENER, Interest::Read)?;
        Ok(Self { listener, poller, connections: Vec::new(), free: Vec::new(), shared })
    }

    fn serve(&mut self) -> Result {
        let mut ready: Vec<usize> = Vec::new();
        loop {
            self.poller.wait(None, &mut ready)?;
            for &token in &ready {
                if token == LISTENER {
                    self.accept()?;
                } else {
                    self.turn(token)?;
                }
            }
        }
    }

    fn accept(&mut self) -> Result {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let token = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.poller.add(&stream, token, Interest::Read)?;
            self.connections[token] =
                Some(Connection { stream, serve: S::default(), waits_for: Interest::Read });
        }
    }

    fn turn(&mut self, token: usize) -> Result {
        let Some(connection) = &mut self.connections[token] else { return Ok(()) };
        match connection.serve.turn(&mut connection.stream, &self.shared) {
            Turn::Wait(interest) if interest == connection.waits_for => {}
            Turn::Wait(interest) => {
                connection.waits_for = interest;
                self.poller.change(&connection.stream, token, interest)?;
            }
            Turn::Close => {
                self.connections[token] = None;
                self.free.push(token);
            }
        }
        Ok(())
    }
}

/// Where the first head in `input` ends, with its empty line.
fn end_of_head(input: &[u8]) -> Option<usize> {
    input.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4)
}

/// The body of `/1k`.
fn small_body() -> impl Iterator<Item = u8> {
    (0..SMALL).map(|index| b'a' + (index % 26) as u8)
}
