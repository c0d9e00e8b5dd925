//! A connection on which a client speaks HTTP/1.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use message::framing::BodyLength;
use message::{Method, RequestHead, Version, hop};
use upstream::Wire;
use upstream::wire::HeadError;

use super::{Accepted, HURRY};
use crate::core::Core;
use crate::exchange::{self, Exchange, Next};
use crate::failure::{Failure, Kind};
use crate::intercept::{self, Inside};
use crate::peer::{DownPeer, H1Peer};
use crate::record::Record;
use crate::slot::Serving;
use crate::snapshot::Listener;
use crate::tunnel::{Down, Remainder};

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

/// What a client speaks inside the TLS of a tunnel.
pub(super) enum Spoken {
    /// HTTP/1; the connection has it.
    Http1,
    /// HTTP/2; the connection has it.
    Http2,
}

impl Connection {
    pub(super) fn new(core: Rc<Core>, accepted: Accepted, wire: Wire) -> Self {
        Self { core, accepted, wire: Some(wire), requests: 0, hurried: false }
    }

    /// Serves requests until the connection ends, each in a room that is free afterwards.
    ///
    /// Gives the connection back where the client speaks HTTP/2 by prior knowledge.
    pub(super) async fn serve(mut self: Box<Self>) -> Option<Box<Self>> {
        let core = Rc::clone(&self.core);
        while self.wait().await {
            let next;
            (self, next) = core.rooms.serve(self).await;
            match next {
                Next::Request => {}
                Next::Close { .. } => return None,
                Next::Http2 => return Some(self),
                Next::Tunnel(tunnel) => {
                    Box::pin(self.carry(tunnel)).await;
                    return None;
                }
                Next::Inside(inside) => match Box::pin(self.enter(inside)).await {
                    Some(Spoken::Http1) => {}
                    Some(Spoken::Http2) => return Some(self),
                    None => return None,
                },
            }
        }
        self.goodbye().await;
        None
    }

    /// Opens the TLS of the tunnel that the connection has become. What comes next is a new
    /// connection in all but name. `None`: it is over.
    pub(super) async fn enter(&mut self, inside: Rc<Inside>) -> Option<Spoken> {
        let wire = self.wire.take()?;
        let wire = intercept::accept(&self.core, &self.accepted, &inside, wire).await?;
        self.accepted.inside = Some(inside);
        self.accepted.client.secure = true;
        self.requests = 0;
        let is_http2 = wire.io.info().is_some_and(|info| info.alpn.as_deref() == Some(b"h2"));
        self.wire = Some(wire);
        Some(if is_http2 { Spoken::Http2 } else { Spoken::Http1 })
    }

    /// Carries the tunnel that the connection has become, until it ends or the time is over that
    /// a listener which went has left.
    pub(super) async fn carry(&mut self, tunnel: Box<Remainder>) {
        let Some(wire) = self.wire.take() else { return };
        let (slot, guard) = (&self.accepted.slot, &self.accepted.guard);
        let mut carried = pin!(tunnel.run(&self.core, guard, Down::Wire(wire)));
        let ended = poll_fn(|cx| match slot.is_cut() {
            true => Poll::Ready(None),
            false => carried.as_mut().poll(cx),
        });
        if let Some(mut wire) = ended.await {
            Box::pin(super::linger(guard, &mut wire)).await;
        }
    }

    /// Serves what is found to be HTTP/2.
    pub(super) async fn into_http2(self: Box<Self>) {
        let Self { core, accepted, wire: Some(wire), .. } = *self else { return };
        super::h2::serve(core, accepted, wire).await;
    }

    /// Waits for the beginning of a request; `false`: there will be none.
    async fn wait(&mut self) -> bool {
        let Some(wire) = &self.wire else { return false };
        if !wire.received().is_empty() {
            return self.requests == 0 || !self.accepted.ends_when_idle(&self.core);
        }
        self.accepted.guard.set(self.patience());
        poll_fn(|cx| self.poll_request(cx)).await
    }

    /// How long the next request may keep us waiting.
    fn patience(&self) -> Duration {
        let serving = self.core.serving(&self.accepted.slot);
        let timeouts = serving.listener().timeouts();
        // A new connection has to say something soon.
        if self.requests == 0 { timeouts.header } else { timeouts.idle }
    }

    /// Ready when something of a request has come, or none will.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(wire) = &mut self.wire else { return Poll::Ready(false) };
        if let Poll::Ready(outcome) = wire.poll_readable(cx) {
            return Poll::Ready(outcome.is_ok());
        }
        if self.accepted.is_draining(&self.core) {
            if self.requests > 0 && self.accepted.ends_when_idle(&self.core) {
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

    /// Serves one request, until the time is over that a listener which went has left.
    pub(super) async fn request_until_cut(&mut self) -> Next {
        let slot = Rc::clone(&self.accepted.slot);
        let mut request = pin!(self.request());
        poll_fn(|cx| match slot.is_cut() {
            true => Poll::Ready(Next::Close { linger: false }),
            false => request.as_mut().poll(cx),
        })
        .await
    }

    /// Reads one request and serves it.
    async fn request(&mut self) -> Next {
        let core = Rc::clone(&self.core);
        let core = &*core;
        let Some(wire) = self.wire.take() else { return Next::Close { linger: false } };
        let started = Instant::now();
        let mut down = H1Peer::new(wire);
        // What the configuration says now, whatever it said when the connection was made.
        let serving = core.serving(&self.accepted.slot);
        let listener = serving.listener();
        let head = self.read_head(core, listener, &mut down).await;
        let (request, failure) = match head {
            Ok(request) => (request, None),
            Err(None) if self.is_http2(listener, &down.wire) => {
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
        core.counters.face(listener.telemetry_face()).requests_started.inc();
        let mut down = DownPeer::H1(down);
        let next = {
            let mut x = self.exchange(core, &serving, &mut down, request, started);
            x.keep_alive = self.requests < listener.limits().requests_per_connection
                && !self.accepted.slot.is_gone();
            exchange::run(&mut x, failure).await
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

    fn is_http2(&self, listener: &Listener, wire: &Wire) -> bool {
        self.requests == 0 && listener.takes_http2() && wire.received().starts_with(PREFACE)
    }

    fn exchange<'a>(
        &'a self,
        core: &'a Core,
        serving: &'a Serving,
        down: &'a mut DownPeer,
        request: RequestHead,
        started: Instant,
    ) -> Exchange<'a> {
        Exchange {
            core,
            serving,
            view: &serving.view,
            listener: serving.listener(),
            client: self.accepted.client.under(&serving.view.snapshot.trusted),
            destination: self.accepted.destination.as_deref(),
            tls_site: self.accepted.tls_site.as_deref(),
            down,
            guard: &self.accepted.guard,
            request,
            body: BodyLength::None,
            said: hop::Connection::default(),
            keep_alive: true,
            awaits_continue: false,
            head_sent: false,
            inside: self.accepted.inside.as_deref(),
            opens: None,
            carries: None,
            record: Record::new(started),
            mark: &self.accepted.mark,
            guest: None,
            wrapped: None,
        }
    }

    /// `Err(None)`: the client closed the connection, as it may between two requests.
    async fn read_head(
        &self,
        core: &Core,
        listener: &Listener,
        down: &mut H1Peer,
    ) -> Result<RequestHead, Option<Failure>> {
        let heads = listener.heads();
        let mut begun = false;
        let head = poll_fn(|cx| {
            if !begun {
                ready!(down.wire.poll_skip_empty_line(cx, &core.blocks)).map_err(HeadError::Io)?;
                begun = true;
            }
            let may_be_http2 = self.requests == 0 && listener.takes_http2();
            if may_be_http2 && ready!(poll_preface(cx, core, &mut down.wire)) {
                return Poll::Ready(Err(HeadError::Closed));
            }
            down.wire.poll_head(cx, heads, &core.blocks)
        });
        let header = listener.timeouts().header;
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

/// Ready when it is known whether the connection begins with the preface of HTTP/2.
fn poll_preface(cx: &mut Context<'_>, core: &Core, wire: &mut Wire) -> Poll<bool> {
    loop {
        let received = wire.received();
        let length = received.len().min(PREFACE.len());
        if received[..length] != PREFACE[..length] {
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
