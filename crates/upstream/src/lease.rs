//! A place at a server, held by one request.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use config::{Scheme, ServerProtocol};
use net::address::AllowAll;
use net::dial::DialError;
use tls::Io;
use tokio::io::AsyncWriteExt;

use crate::breaker::Pass;
use crate::cluster::{Cluster, ConnectError, Slot, Taken};
use crate::member::Member;
use crate::{Connection, Link, Multiplex, sticky};

/// One place of a server. Dropping it gives the place back, and wakes whoever waits for one.
#[derive(Debug)]
pub struct Lease {
    slot: Rc<Slot>,
    admitted: Admitted,
    trial: bool,
    pinned: bool,
}

/// What came of a request, as far as the server is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// From when the request was sent to the head of the response.
    pub latency: Option<Duration>,
    /// What that says of the server.
    pub verdict: Verdict,
}

/// What a request says of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did its part.
    Success,
    /// It did not.
    Failure(FailureClass),
    /// It answered with this status: a success below 500, and 501.
    Status(u16),
}

/// What a connection has to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// None that was kept: the last one of those was closed.
    pub fresh: bool,
    /// One of HTTP/1.1, where the server leaves the choice: not every server takes WebSockets
    /// over HTTP/2.
    pub http1: bool,
    /// Sent first of all, before TLS; the connection serves nobody else then.
    pub preface: Option<&'a [u8]>,
}

/// What a request is made over.
#[derive(Debug)]
pub struct Opened {
    /// The connection, or a place on one.
    pub link: Link,
    /// It was opened for this request.
    pub new: bool,
}

/// How a server failed. That it could not be connected to is known here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// Nothing came in time.
    Timeout,
    /// The connection broke, or what came was no HTTP.
    Broken,
}

impl Verdict {
    fn is_failure(self) -> bool {
        match self {
            Self::Success => false,
            Self::Failure(_) => true,
            // 501 is about the request.
            Self::Status(status) => status >= 500 && status != 501,
        }
    }
}

/// Leave of the circuit breaker. A trial that comes to nothing lets another one try.
#[derive(Debug)]
pub(crate) struct Admitted {
    cluster: Rc<Cluster>,
    pass: Cell<Pass>,
}

impl Admitted {
    pub(crate) fn by(cluster: &Rc<Cluster>, now: u64) -> Option<Self> {
        let pass = match &cluster.plan.breaker {
            Some(breaker) => breaker.admit(now)?,
            None => Pass::Free,
        };
        Some(Self { cluster: Rc::clone(cluster), pass: Cell::new(pass) })
    }

    fn note(&self, now: u64, failed: bool) {
        if let Some(breaker) = &self.cluster.plan.breaker {
            breaker.note(now, self.pass.replace(Pass::Free), failed);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(breaker) = &self.cluster.plan.breaker {
            breaker.give_up(self.pass.get());
        }
    }
}

impl Lease {
    pub(crate) fn new(taken: Taken, admitted: Admitted) -> Self {
        let Taken { slot, trial, pinned } = taken;
        Self { slot, admitted, trial, pinned }
    }

    /// The server.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.slot.member
    }

    fn cluster(&self) -> &Cluster {
        &self.admitted.cluster
    }

    /// Whether it is to be told how long the answer takes: always where servers are judged by it;
    /// else one of sixteen tells an operator enough, and the others need not look at the clock.
    #[must_use]
    pub fn wants_latency(&self) -> bool {
        let config = self.cluster().plan.config();
        config.balance == config::Balance::PeakEwma
            || config.outlier.as_ref().is_some_and(|outlier| outlier.latency.is_some())
            || self.cluster().is_sampled()
    }

    /// When a request is made again.
    #[must_use]
    pub fn retry(&self) -> &config::Retry {
        &self.cluster().plan.config().retry
    }

    /// Takes note of what came of the request; not needed for one that could not be connected.
    /// Once for each attempt, and once more if it failed after all.
    pub fn report(&self, outcome: Outcome) {
        let cluster = self.cluster();
        let now = cluster.clock.now_ms();
        let endpoint = self.member().endpoint();
        let failed = outcome.verdict.is_failure();
        if failed {
            cluster.plan.note_failure(endpoint, now);
        } else {
            endpoint.succeeded(now, outcome.latency);
            cluster.plan.compare_latencies(now);
        }
        self.admitted.note(now, failed);
    }

    /// What the request can be made over: a connection that was kept and is still good, a place
    /// on a shared one, or a new one.
    ///
    /// # Errors
    /// See [`ConnectError`]. The server is then avoided for a while.
    pub async fn open(&self, wish: Wish<'_>) -> Result<Opened, ConnectError> {
        if let Some(link) = self.kept(wish) {
            return Ok(Opened { link, new: false });
        }
        let pool = &self.slot.pool;
        let protocol = self.member().server.protocol;
        let shares = match protocol {
            ServerProtocol::Http2 => true,
            ServerProtocol::Alpn => !wish.http1 && !pool.chose_http1.get() && pool.tls.is_some(),
            ServerProtocol::Http1 | ServerProtocol::Tcp => false,
        };
        // One opens a connection, those that come meanwhile share it.
        let _turn = if shares && wish.preface.is_none() {
            // Whoever connects may be long about it; the others wait no longer than for themselves.
            let turn = tokio::time::timeout(self.cluster().connect_timeout(), pool.shared.turn());
            let turn = turn.await.map_err(|_| ConnectError::Timeout)?;
            if pool.shared.slot().is_none() {
                let settled = pool.shared.settled();
                // A server that does not answer gets another connection.
                let _ = tokio::time::timeout(self.cluster().connect_timeout(), settled).await;
            }
            if let Some(slot) = pool.shared.slot() {
                return Ok(Opened { link: Link::Http2(slot), new: false });
            }
            turn
        } else {
            None
        };
        Ok(Opened { link: self.connect(wish).await?, new: true })
    }

    /// A connection that is there and suits.
    #[must_use]
    pub fn kept(&self, wish: Wish<'_>) -> Option<Link> {
        let cluster = self.cluster();
        let pool = &self.slot.pool;
        // A connection that begins with words about one client is for that one.
        if wish.preface.is_some() {
            return None;
        }
        if !wish.http1
            && let Some(slot) = pool.shared.slot()
        {
            return Some(Link::Http2(slot));
        }
        if wish.fresh {
            return None;
        }
        let mut idle = pool.idle.borrow_mut();
        // The last one used first: the others may grow old and go.
        let found = std::iter::from_fn(|| idle.pop()).find_map(|mut connection| {
            let young = connection.idle_for(&cluster.clock) < cluster.idle_limit();
            (young && connection.is_usable()).then_some(connection)
        });
        found.map(Link::Http1)
    }

    /// A new connection.
    async fn connect(&self, wish: Wish<'_>) -> Result<Link, ConnectError> {
        let cluster = self.cluster();
        let timeout = cluster.connect_timeout();
        let outcome = match tokio::time::timeout(timeout, self.connect_now(wish)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::Timeout),
        };
        let now = cluster.clock.now_ms();
        let endpoint = self.member().endpoint();
        match &outcome {
            Ok(_) => endpoint.connected(now),
            Err(_) => {
                endpoint.unreachable(now, self.trial);
                cluster.plan.note_failure(endpoint, now);
                self.admitted.note(now, true);
            }
        }
        outcome
    }

    async fn connect_now(&self, wish: Wish<'_>) -> Result<Link, ConnectError> {
        let cluster = self.cluster();
        let (member, pool) = (self.member(), &self.slot.pool);
        // Servers are named by the operator: no address is out of bounds.
        let timeout = cluster.connect_timeout();
        let (mut io, early, address, exit) = match &cluster.by_exit {
            Some(by_exit) => {
                let left = by_exit.connect(member, timeout, || cluster.clock.now_ms()).await?;
                (left.io, left.early, left.address, Some(left.lease))
            }
            None => {
                let dialed = cluster.exit.connect(&[member.address()], &AllowAll, timeout).await;
                let (stream, address) = dialed.map_err(ConnectError::Dial)?;
                (Io::Tcp(stream), Vec::new(), address, None)
            }
        };
        if let Some(preface) = wish.preface {
            let sent = io.write_all(preface).await;
            sent.map_err(|error| ConnectError::Dial(DialError::Other(error)))?;
        }
        let mut http2 = member.server.protocol == ServerProtocol::Http2;
        if !early.is_empty() && (http2 || member.server.scheme == Scheme::Https) {
            // Whoever speaks first here speaks something else.
            let error = std::io::ErrorKind::InvalidData.into();
            return Err(ConnectError::Dial(DialError::Other(error)));
        }
        if member.server.scheme == Scheme::Https {
            let of_http1 = pool.tls_http1.as_ref().filter(|_| wish.http1);
            if let Some(tls) = of_http1.or(pool.tls.as_ref()) {
                io = tls.connect(io, &member.tls_host).await.map_err(ConnectError::Tls)?;
            }
            if member.server.protocol == ServerProtocol::Alpn {
                let chosen = io.info().and_then(|info| info.alpn.as_deref());
                http2 = chosen == Some(b"h2");
                if !wish.http1 {
                    pool.chose_http1.set(!http2);
                }
            }
        }
        if !http2 {
            let mut connection = Connection::new(io, address);
            connection.wire.put_back(early);
            connection.wire.exit = exit;
            return Ok(Link::Http1(connection));
        }
        let alone = Multiplex::default();
        let shared = if wish.preface.is_some() || pool.gone.get() { &alone } else { &pool.shared };
        let slot = shared.adopt(io, address, Rc::clone(&cluster.clock), exit).await;
        slot.map(Link::Http2).map_err(|error| {
            let error = error.into_io().unwrap_or_else(|| std::io::ErrorKind::InvalidData.into());
            ConnectError::Dial(DialError::Other(error))
        })
    }

    /// Keeps a connection that a request has been made over, to the end.
    pub fn keep(&self, mut connection: Connection) {
        let cluster = self.cluster();
        let config = cluster.plan.config();
        // A server that sends more than it was asked for is not asked again; one that was told
        // whose connection it is serves nobody else on it.
        if !connection.wire.received().is_empty()
            || self.slot.pool.gone.get()
            || config.proxy_protocol.is_some()
        {
            return;
        }
        let mut idle = self.slot.pool.idle.borrow_mut();
        if idle.len() < config.keep_idle {
            connection.rest(&cluster.clock);
            idle.push(connection);
        }
    }

    /// The `Set-Cookie` field that keeps the client here; `None` where the group has no such
    /// cookies, or the client's own is good. `secure`: the client came by TLS.
    #[must_use]
    pub fn sticky_cookie(&self, secure: bool) -> Option<String> {
        let sticky = self.cluster().plan.config().sticky.as_ref()?;
        (!self.pinned).then(|| sticky::set_cookie(sticky, &self.member().cookie, secure))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member().endpoint().leave(self.cluster().plan.queue.as_deref());
    }
}
