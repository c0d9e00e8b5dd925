//! A connection on which a client speaks HTTP/1.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use message::framing::BodyLength;
use message::{Method, RequestHead, Version, hop};
use upstream::Wire;
use upstream::wire::HeadError;

use super::{Accepted, HURRY};
use crate::core::{Core, View};
use crate::exchange::{self, Exchange, Next};
use crate::failure::{Failure, Kind};
use crate::peer::{DownPeer, H1Peer};
use crate::record::Record;
use crate::snapshot::Face;

/// What a connection of HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection between two requests. It holds no buffer.
pub(super) struct Connection {
    core: Rc<Core>,
    accepted: Accepted,
    /// Not here while a request has it.
    wire: Option<Wire>,
    requests: u32,
    /// A drain left it little time for its first request.
    hurried: bool,
}

impl Connection {
    pub(super) fn new(core: Rc<Core>, accepted: Accepted, wire: Wire) -> Self {
        Self { core, accepted, wire: Some(wire), requests: 0, hurried: false }
    }

    /// Serves requests until the connection ends. What a request needs is boxed and goes with
    /// it.
    ///
    /// Gives the connection back where the client speaks HTTP/2 by prior knowledge.
    pub(super) async fn serve(&mut self) -> Option<Wire> {
        while self.wait().await {
            match Box::pin(self.request()).await {
                Next::Request => {}
                Next::Close { .. } => return None,
                Next::Http2 => return self.wire.take(),
            }
        }
        self.goodbye().await;
        None
    }

    /// Serves what is found to be HTTP/2.
    pub(super) async fn into_http2(self: Box<Self>, wire: Wire) {
        super::h2::serve(self.core, self.accepted, wire).await;
    }

    /// Waits for the beginning of a request; `false`: there will be none.
    async fn wait(&mut self) -> bool {
        let Some(wire) = &self.wire else { return false };
        if !wire.received().is_empty() {
            return !self.core.is_draining() || self.requests == 0;
        }
        let timeouts = self.accepted.listener.timeouts();
        // A new connection has to say something soon.
        let patience = if self.requests == 0 { timeouts.header } else { timeouts.idle };
        self.accepted.guard.set(patience);
        poll_fn(|cx| self.poll_request(cx)).await
    }

    /// Ready when something of a request has come, or none will.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(wire) = &mut self.wire else { return Poll::Ready(false) };
        if let Poll::Ready(outcome) = wire.poll_readable(cx) {
            return Poll::Ready(outcome.is_ok());
        }
        if self.core.is_draining() {
            if self.requests > 0 {
                return Poll::Ready(false);
            }
            if !self.hurried {
                self.hurried = true;
                self.accepted.guard.set(HURRY);
            }
        }
        // A drain wakes all that wait for a deadline.
        self.accepted.guard.poll_expired(cx).map(|()| false)
    }

    /// Reads one request and serves it.
    async fn request(&mut self) -> Next {
        let core = Rc::clone(&self.core);
        let core = &*core;
        let Some(wire) = self.wire.take() else { return Next::Close { linger: false } };
        let started = Instant::now();
        let mut down = H1Peer::new(wire);
        let head = self.read_head(core, &mut down).await;
        let (request, failure) = match head {
            Ok(request) => (request, None),
            Err(None) if self.is_http2(&down.wire) => {
                self.wire = Some(down.wire);
                return Next::Http2;
            }
            Err(None) => {
                self.wire = Some(down.wire);
                self.goodbye().await;
                return Next::Close { linger: false };
            }
            Err(Some(failure)) => (unknown(core), Some(failure)),
        };
        self.requests += 1;
        core.counters.face(self.accepted.listener.telemetry_face()).requests_started.inc();
        let view = core.view();
        let mut down = DownPeer::H1(down);
        let next = {
            let mut x = self.exchange(core, &view, &mut down, request, started);
            x.keep_alive = self.requests < self.accepted.listener.limits().requests_per_connection;
            exchange::run(x, failure).await
        };
        let DownPeer::H1(mut down) = down else { return Next::Close { linger: false } };
        if let Next::Close { linger } = next {
            if linger {
                super::linger(&self.accepted.guard, &mut down.wire).await;
            } else if down.wire.io.is_tls() {
                super::goodbye(&self.accepted.guard, &mut down.wire).await;
            }
            return next;
        }
        down.release(&core.blocks);
        self.wire = Some(down.wire);
        next
    }

    /// Ends a connection between two requests. Inside TLS that has to be said: else it looks as
    /// if somebody had cut it (RFC 8446 §6.1).
    async fn goodbye(&mut self) {
        if let Some(wire) = self.wire.as_mut().filter(|wire| wire.io.is_tls()) {
            // Boxed: an idle connection has no room for it.
            Box::pin(super::goodbye(&self.accepted.guard, wire)).await;
        }
    }

    /// Ready when it is known whether the connection begins with the preface of HTTP/2.
    fn poll_preface(&self, cx: &mut Context<'_>, core: &Core, wire: &mut Wire) -> Poll<bool> {
        loop {
            let received = wire.received();
            let length = received.len().min(PREFACE.len());
            if received[..length] != PREFACE[..length] || !self.takes_http2() {
                return Poll::Ready(false);
            }
            if length == PREFACE.len() {
                return Poll::Ready(true);
            }
            if !wire.has_buffer() {
                wire.lend(core.blocks.buffer());
            }
            // An end or an error is found again by whoever reads next.
            if !matches!(ready!(wire.poll_receive(cx)), Ok(1..)) {
                return Poll::Ready(false);
            }
        }
    }

    fn is_http2(&self, wire: &Wire) -> bool {
        self.requests == 0 && self.takes_http2() && wire.received().starts_with(PREFACE)
    }

    fn takes_http2(&self) -> bool {
        match &self.accepted.listener.face {
            Face::Reverse(face) => face.http2,
            Face::Forward(face) => face.config.http2,
            Face::Tunnel(_) => false,
        }
    }

    fn exchange<'a>(
        &'a self,
        core: &'a Core,
        view: &'a View,
        down: &'a mut DownPeer,
        request: RequestHead,
        started: Instant,
    ) -> Exchange<'a> {
        Exchange {
            core,
            view,
            listener: &self.accepted.listener,
            client: self.accepted.client,
            tls_site: down.tls_info().map(|info| info.site),
            down,
            guard: &self.accepted.guard,
            request,
            body: BodyLength::None,
            said: hop::Connection::default(),
            keep_alive: true,
            awaits_continue: false,
            head_sent: false,
            record: Record::new(started),
        }
    }

    /// `Err(None)`: the client closed the connection, as it may between two requests.
    async fn read_head(
        &self,
        core: &Core,
        down: &mut H1Peer,
    ) -> Result<RequestHead, Option<Failure>> {
        let heads = self.accepted.listener.heads();
        let mut begun = false;
        let head = poll_fn(|cx| {
            if !begun {
                ready!(down.wire.poll_skip_empty_line(cx, &core.blocks)).map_err(HeadError::Io)?;
                begun = true;
            }
            if self.requests == 0 && ready!(self.poll_preface(cx, core, &mut down.wire)) {
                return Poll::Ready(Err(HeadError::Closed));
            }
            down.wire.poll_head(cx, heads, &core.blocks)
        });
        let header = self.accepted.listener.timeouts().header;
        match self.accepted.guard.within(header, head).await {
            Ok(Ok(block)) => {
                h1::parse_request(block, heads).map_err(|error| Some(Failure::of_request(error)))
            }
            Ok(Err(HeadError::Closed)) => Err(None),
            // Reset between two requests: as good as closed.
            Ok(Err(HeadError::Io(_))) if down.wire.received().is_empty() => Err(None),
            Ok(Err(error)) => Err(Some(Failure::of_request_head(error))),
            // Whoever sent nothing at all is not told that it came late.
            Err(_) if down.wire.received().is_empty() => Err(None),
            Err(_) => Err(Some(Failure::new(Kind::RequestTimeout))),
        }
    }
}

/// A request of which nothing is known but that it is wrong.
fn unknown(core: &Core) -> RequestHead {
    RequestHead {
        fields: core.blocks.block_over(Vec::new()),
        method: Method::Other,
        version: Version::Http11,
        method_at: 0..0,
        target_at: 0..0,
    }
}
