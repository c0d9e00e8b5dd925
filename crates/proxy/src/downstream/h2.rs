//! A connection on which a client speaks HTTP/2 (RFC 9113).
//!
//! The library does frames, windows and the states of streams. Here is what it cannot know: what
//! a request of HTTP/2 is to the rest of the proxy, how long a client may take, and what it may
//! cost.

mod frames;
mod gather;
mod ledger;
mod metered;
mod request;

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use message::framing::BodyLength;
use message::hop;
use tls::TlsInfo;
use upstream::Wire;

use self::ledger::Ledger;
use self::metered::{Meter, Metered};
use super::{Accepted, HURRY};
use crate::core::Core;
use crate::exchange::{self, Exchange, Next};
use crate::failure::{Failure, Kind};
use crate::peer::{DownPeer, H2Down};
use crate::record::Record;
use crate::snapshot::{Face, Listener};
use crate::tunnel::{Down, Remainder};

/// Bytes of one request body that may be under way to us.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of all request bodies of a connection that may be under way to us.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one response that wait for the connection.
const SEND_BUFFER: usize = 32 * 1024;
/// How often a connection with requests is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A connection that serves.
struct Serving {
    core: Rc<Core>,
    accepted: Rc<Accepted>,
    meter: Rc<Meter>,
    tls: Option<Rc<TlsInfo>>,
    /// Requests under way.
    active: Rc<Cell<u32>>,
    /// Requests in all.
    requests: u32,
    /// Whether it was told that no more requests are taken.
    leaving: bool,
    /// What the deadline was set for; `None`: it has to be set.
    waits: Option<Waits>,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// A request.
    Request,
    /// Whoever is on either side of the requests that run; it is looked at now and then.
    Peers,
    /// The client to take note that no more requests are taken.
    End,
}

/// What a connection has to be served with next.
#[allow(clippy::large_enum_variant, reason = "it is looked at where it is made, and never kept")]
enum Event {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    /// The clock has something to say.
    Look,
    /// All is said; or the client broke the rules, and was told.
    End,
    /// It has cost more than it may, or did not begin as it must.
    Over,
    /// The core finishes what runs.
    Drain,
}

/// Serves a connection until it ends.
pub(super) async fn serve(core: Rc<Core>, accepted: Accepted, wire: Wire) {
    let meter = Rc::new(Meter {
        ledger: Ledger::new(core.clock.now_ms()),
        broken: Cell::new(false),
        blocked_since: Cell::new(None),
        clock: Rc::clone(&core.clock),
    });
    let tls = wire.io.info().cloned().map(Rc::new);
    let io = Metered::new(wire, Rc::clone(&meter));
    let opening = core.serving(&accepted.slot);
    let header = opening.listener().timeouts().header;
    let handshake = builder(opening.listener()).handshake(io);
    let Ok(Ok(connection)) = accepted.guard.within(header, handshake).await else { return };
    let serving = Serving {
        core,
        accepted: Rc::new(accepted),
        meter,
        tls,
        active: Rc::default(),
        requests: 0,
        leaving: false,
        waits: None,
    };
    drop(opening);
    serving.run(connection).await;
}

fn builder(listener: &Listener) -> Builder {
    let heads = listener.heads();
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_frame_size(gather::MAX_FRAME)
        .max_concurrent_streams(listener.limits().streams)
        .max_header_list_size(u32::try_from(heads.bytes).unwrap_or(u32::MAX))
        .enable_connect_protocol();
    builder
}

impl Serving {
    async fn run(mut self, mut connection: Connection<Metered, Bytes>) {
        loop {
            match poll_fn(|cx| self.poll_event(cx, &mut connection)).await {
                Event::Request(request, respond) => self.begin(request, respond, &mut connection),
                Event::Look => match self.waits.take() {
                    Some(Waits::End) => return,
                    Some(Waits::Request) => self.leave(&mut connection),
                    _ if self.is_stuck() => return,
                    _ => {}
                },
                Event::Drain => self.leave(&mut connection),
                Event::Over => return self.turn_out(connection).await,
                Event::End => return,
            }
        }
    }

    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection<Metered, Bytes>,
    ) -> Poll<Event> {
        if self.accepted.slot.is_cut() {
            return Poll::Ready(Event::End);
        }
        self.meter.ledger.tick(self.core.clock.now_ms());
        match connection.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, respond)))) => {
                return Poll::Ready(Event::Request(request, respond));
            }
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Event::End),
            Poll::Pending => {}
        }
        if self.meter.is_over() {
            return Poll::Ready(Event::Over);
        }
        if self.accepted.is_draining(&self.core) && !self.leaving {
            return Poll::Ready(Event::Drain);
        }
        self.set_alarm();
        self.accepted.guard.poll_expired(cx).map(|()| Event::Look)
    }

    /// Sets the deadline anew where what is waited for has changed.
    fn set_alarm(&mut self) {
        let busy = self.active.get() > 0 || self.meter.blocked_since.get().is_some();
        let waits = match (busy, self.leaving) {
            (true, _) => Waits::Peers,
            // The client was told; whatever it still sends, it knows better.
            (false, true) => Waits::End,
            (false, false) => Waits::Request,
        };
        if self.waits.replace(waits) == Some(waits) {
            return;
        }
        self.accepted.guard.set(match waits {
            Waits::Peers => LOOK,
            Waits::End => HURRY,
            Waits::Request => {
                let serving = self.core.serving(&self.accepted.slot);
                let timeouts = serving.listener().timeouts();
                if self.requests == 0 { timeouts.header } else { timeouts.idle }
            }
        });
    }

    /// Whether the client has not taken for too long what waits for it.
    fn is_stuck(&self) -> bool {
        let serving = self.core.serving(&self.accepted.slot);
        let grace = serving.listener().limits().min_rate_grace.as_millis() as u64;
        let now = self.core.clock.now_ms();
        self.meter.blocked_since.get().is_some_and(|since| now.saturating_sub(since) > grace)
    }

    /// Takes no more requests; those that are under way go on (RFC 9113 §6.8).
    fn leave(&mut self, connection: &mut Connection<Metered, Bytes>) {
        if !self.leaving {
            self.leaving = true;
            connection.graceful_shutdown();
        }
    }

    /// Ends a connection that has cost too much, or is none.
    async fn turn_out(self, mut connection: Connection<Metered, Bytes>) {
        if self.meter.broken.get() {
            connection.abrupt_shutdown(Reason::PROTOCOL_ERROR);
        } else {
            super::refused(&self.core, "http2_abuse");
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
        // Whether it hears of it or not, it is over.
        let closed = poll_fn(|cx| connection.poll_closed(cx));
        let _ = self.accepted.guard.within(Duration::from_secs(1), closed).await;
    }

    fn begin(
        &mut self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        connection: &mut Connection<Metered, Bytes>,
    ) {
        self.requests += 1;
        let serving = self.core.serving(&self.accepted.slot);
        if self.requests >= serving.listener().limits().requests_per_connection {
            self.leave(connection);
        }
        self.active.set(self.active.get() + 1);
        let active = Active(Rc::clone(&self.active));
        let (core, accepted) = (Rc::clone(&self.core), Rc::clone(&self.accepted));
        let tls = self.tls.clone();
        tokio::task::spawn_local(async move {
            // Boxed: a task is moved about before it runs, and this is large.
            let served = serve_stream(&core, &accepted, tls, request, respond);
            if let Some((tunnel, down)) = Box::pin(served).await {
                let guard = core.clock.guard();
                Box::pin(tunnel.run(&core, &guard, down)).await;
            }
            drop(active);
        });
    }
}

/// A request that is counted as under way.
struct Active(Rc<Cell<u32>>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Serves one request. What it gives back is the tunnel that it has become.
async fn serve_stream(
    core: &Rc<Core>,
    accepted: &Accepted,
    tls: Option<Rc<TlsInfo>>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<(Box<Remainder>, Down)> {
    let started = Instant::now();
    let (parts, recv) = request.into_parts();
    // What the configuration says now, whatever it said when the connection was made.
    let serving = core.serving(&accepted.slot);
    let listener = serving.listener();
    let face = listener.telemetry_face();
    core.counters.face(face).requests_started.inc();
    let forward = matches!(listener.face, Face::Forward(_));
    let understood = request::head(&parts, forward, &core.blocks);
    let (request, connect) = match understood {
        Ok(understood) => understood,
        Err(words) => {
            tracing::debug!(client = %accepted.client.address, words, "malformed request");
            respond.send_reset(Reason::PROTOCOL_ERROR);
            core.count_failure(Kind::RequestError);
            return None;
        }
    };
    let heads = listener.heads();
    let too_large =
        request.fields.len() > heads.fields || request.fields.bytes().len() > heads.bytes;
    let failure = too_large.then(|| Failure::new(Kind::RequestHeadTooLarge));
    let guard = core.clock.guard();
    let mut down = DownPeer::H2(H2Down::new(respond, recv, connect, tls.clone()));
    let mut x = Exchange {
        core,
        serving: &serving,
        view: &serving.view,
        listener,
        client: accepted.client.under(&serving.view.snapshot.trusted),
        destination: accepted.destination.as_deref(),
        tls_site: accepted.tls_site.as_deref(),
        down: &mut down,
        guard: &guard,
        request,
        body: BodyLength::None,
        said: hop::Connection::default(),
        keep_alive: true,
        awaits_continue: false,
        head_sent: false,
        inside: accepted.inside.as_deref(),
        opens: None,
        carries: None,
        record: Record::new(started),
        mark: &accepted.mark,
        guest: None,
        wrapped: None,
    };
    let next = exchange::run(&mut x, failure).await;
    drop(x);
    drop(serving);
    match (next, down) {
        (Next::Inside(inside), DownPeer::H1(down)) => {
            let stream = accepted.stream(core);
            super::serve_inside(Rc::clone(core), stream, down.wire, inside).await;
            None
        }
        (Next::Tunnel(tunnel), DownPeer::H1(mut down)) => {
            down.release(&core.blocks);
            Some((tunnel, Down::Wire(down.wire)))
        }
        (Next::Tunnel(tunnel), mut down @ DownPeer::H2(_)) => {
            let stream = Box::new(down.take_stream()?.into_io());
            Some((tunnel, Down::Stream(stream, tls)))
        }
        _ => None,
    }
}
