//! Connections to servers that carry many requests at once (RFC 9113), of one core.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use http::Request;
use net::watchdog::Watchdog;
use tls::Io;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::Connection;

/// Requests that one connection carries at once, if its server lets it carry more.
const MAX_STREAMS: usize = 256;
/// Requests that go out before it is known how many the server lets us make: what is too much is
/// refused, and made again.
const FIRST_STREAMS: usize = 16;
/// Bytes of one response that may be under way to us.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of all responses of a connection that may be under way to us.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// Bytes of one request body that wait for the connection.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of the fields of a response, counted as RFC 9113 §6.5.2 does.
const MAX_HEADER_LIST: u32 = 64 * 1024;

/// The connections of one core to one server that carry many requests each.
#[derive(Debug)]
pub struct Multiplex {
    links: RefCell<Vec<Rc<Shared>>>,
    /// Whoever has it may open another connection: those that come meanwhile will share it.
    turn: Semaphore,
}

/// One such connection.
#[derive(Debug)]
struct Shared {
    sender: RefCell<SendRequest<Bytes>>,
    server: SocketAddr,
    active: Cell<usize>,
    /// It takes no more requests.
    closed: Cell<bool>,
    used: Cell<bool>,
    /// When the last request on it ended, in the milliseconds of the core's clock.
    idle_since: Cell<u64>,
    /// Tells when the settings of the server have come for sure.
    ping: RefCell<Option<PingPong>>,
    pinged: Cell<bool>,
    settled: OnceCell<()>,
    clock: Rc<Watchdog>,
}

/// A place for one request on such a connection. It is given back by being dropped.
#[derive(Debug)]
pub struct StreamSlot {
    link: Rc<Shared>,
    reused: bool,
}

/// What one request is made over.
#[derive(Debug)]
pub enum Link {
    /// A connection of its own.
    Http1(Connection),
    /// A place on a shared one.
    Http2(StreamSlot),
}

impl Link {
    /// The place at an exit that a connection of its own takes. That of a shared one says nothing
    /// of one request.
    #[must_use]
    pub fn exit(&self) -> Option<Rc<egress::ExitLease>> {
        match self {
            Self::Http1(connection) => connection.wire.exit.clone(),
            Self::Http2(_) => None,
        }
    }

    /// The address of the server.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        match self {
            Self::Http1(connection) => connection.server,
            Self::Http2(slot) => slot.server(),
        }
    }

    /// Whether the connection has carried a request before.
    #[must_use]
    pub fn reused(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.reused,
            Self::Http2(slot) => slot.reused(),
        }
    }
}

impl Default for Multiplex {
    fn default() -> Self {
        Self { links: RefCell::default(), turn: Semaphore::new(1) }
    }
}

impl Multiplex {
    /// A place on a connection that is there, if one has any.
    pub fn slot(&self) -> Option<StreamSlot> {
        let mut links = self.links.borrow_mut();
        links.retain(|link| !link.closed.get());
        // The first that has room: later ones may grow idle and go.
        let link = links.iter().find(|link| link.has_room())?;
        Some(StreamSlot::new(link))
    }

    /// Waits for the right to open another connection. Look for a [`Multiplex::slot`] again
    /// before using it: whoever had it before may have opened one.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turn.acquire().await.ok()
    }

    /// Returns when the servers of all connections have said how many requests they take. Before
    /// that a connection looks full that is not.
    pub async fn settled(&self) {
        let unsettled = || {
            let links = self.links.borrow();
            links.iter().find(|link| !link.closed.get() && !link.settled.initialized()).cloned()
        };
        while let Some(link) = unsettled() {
            link.settle().await;
        }
    }

    /// Begins HTTP/2 on a connection and keeps it (RFC 9113 §3.4).
    ///
    /// # Errors
    /// The preface could not be sent.
    pub async fn adopt(
        &self,
        io: Io,
        server: SocketAddr,
        clock: Rc<Watchdog>,
        exit: Option<Rc<egress::ExitLease>>,
    ) -> Result<StreamSlot, h2::Error> {
        let (sender, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEADER_LIST)
            .initial_max_send_streams(FIRST_STREAMS)
            .handshake(io)
            .await?;
        let link = Rc::new(Shared {
            sender: RefCell::new(sender),
            server,
            active: Cell::new(0),
            closed: Cell::new(false),
            used: Cell::new(false),
            idle_since: Cell::new(clock.now_ms()),
            ping: RefCell::new(connection.ping_pong()),
            pinged: Cell::new(false),
            settled: OnceCell::new(),
            clock,
        });
        let watched = Rc::downgrade(&link);
        tokio::task::spawn_local(async move {
            // The place at an exit is taken for as long as the connection lives.
            let _exit = exit;
            if let Err(error) = connection.await {
                tracing::debug!(%error, %server, "HTTP/2 connection to a server ended");
            }
            if let Some(link) = watched.upgrade() {
                link.closed.set(true);
            }
        });
        self.links.borrow_mut().push(Rc::clone(&link));
        Ok(StreamSlot::new(&link))
    }

    /// Lets go of connections that nobody has used for so many milliseconds. They end by
    /// themselves when nothing is under way on them.
    pub fn tidy(&self, idle_limit: u64) {
        self.links.borrow_mut().retain(|link| {
            let idle = link.active.get() == 0
                && link.clock.now_ms().saturating_sub(link.idle_since.get()) >= idle_limit;
            !idle && !link.closed.get()
        });
    }

    /// Lets go of all connections.
    pub fn clear(&self) {
        self.links.borrow_mut().clear();
    }

    /// Connections that are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.borrow().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.borrow().is_empty()
    }
}

impl Shared {
    /// Ready when the server has answered a ping, or will not.
    fn poll_pong(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ping = self.ping.borrow_mut();
        let Some(ping) = ping.as_mut() else { return Poll::Ready(()) };
        if !self.pinged.replace(true) && ping.send_ping(Ping::opaque()).is_err() {
            return Poll::Ready(());
        }
        ping.poll_pong(cx).map(|_| ())
    }

    /// Returns when the settings of the server have come: they are the first that it sends, so
    /// they are here before the answer to a ping. Whoever gives up waiting leaves the question to
    /// the next one.
    async fn settle(&self) {
        self.settled.get_or_init(|| poll_fn(|cx| self.poll_pong(cx))).await;
    }

    fn has_room(&self) -> bool {
        // A server that has said that it leaves takes none.
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Err(_)) = self.sender.borrow_mut().poll_ready(&mut cx) {
            self.closed.set(true);
        }
        let allowed = self.sender.borrow().current_max_send_streams();
        !self.closed.get() && self.active.get() < allowed.min(MAX_STREAMS)
    }
}

impl StreamSlot {
    fn new(link: &Rc<Shared>) -> Self {
        link.active.set(link.active.get() + 1);
        let reused = link.used.replace(true);
        Self { link: Rc::clone(link), reused }
    }

    /// The address of the server.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.link.server
    }

    /// Whether the connection has carried a request before.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Sends the head of a request; `end`: it has no body.
    ///
    /// # Errors
    /// The connection takes no more requests: the server has not seen this one.
    pub fn send(
        &self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let sent = self.link.sender.borrow_mut().send_request(request, end);
        if sent.is_err() {
            self.link.closed.set(true);
        }
        sent
    }

    /// Whether the server takes extended CONNECT (RFC 8441 §3). Waits for its settings, where
    /// they may still be on the way; how long is the caller's matter.
    pub async fn takes_extended_connect(&self) -> bool {
        let known = || self.link.sender.borrow().is_extended_connect_protocol_enabled();
        if known() {
            return true;
        }
        self.link.settle().await;
        known()
    }

    /// No more requests go over this connection: one that was made over it was not answered.
    pub fn distrust(&self) {
        self.link.closed.set(true);
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let link = &self.link;
        link.active.set(link.active.get() - 1);
        if link.active.get() == 0 {
            link.idle_since.set(link.clock.now_ms());
        }
    }
}
