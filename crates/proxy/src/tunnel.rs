//! Connections whose bytes are nobody's business: CONNECT, SOCKS, what follows a 101, and those
//! of tunnel listeners.

mod remainder;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use message::Method;
use net::watchdog::Guard;
use net::{Direction, Stopped, Toll, TunnelCounters, TunnelEnd};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use upstream::Wire;

use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, io_words};
use crate::fare::{self, Fare};
use crate::peer::{DownPeer, H2Io};
use crate::standing::{News, Standing};

pub(crate) use self::remainder::{Down, Remainder};

/// One end of a tunnel: a connection, or a stream of one.
pub(crate) enum End<'a> {
    /// A connection, with what was received on it already.
    Wire(&'a mut Wire),
    /// A stream of HTTP/2.
    Stream(&'a mut H2Io),
    /// A stream whose client may end its half while it still waits for an answer.
    Hasty(&'a mut H2Io, Rc<Hold>),
    /// The connection behind it, whose server may take the end of one half for that of both.
    Behind(&'a mut Wire, Rc<Hold>),
}

/// How long the end of one half is held back.
const HOLD: Duration = Duration::from_secs(5);

/// Browsers end their half of a stream with the last frame of a WebSocket, and many servers of
/// HTTP/1 take that for a client that has gone: they never send theirs. So the end is held back
/// until the server has ended too, or for a while.
#[derive(Default)]
pub(crate) struct Hold {
    /// The server has ended.
    ended: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
    until: RefCell<Option<Pin<Box<tokio::time::Sleep>>>>,
}

impl Hold {
    fn server_ended(&self) {
        self.ended.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Ready when the end of the client's half may be passed on.
    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended.get() {
            return Poll::Ready(());
        }
        self.waiting.replace(Some(cx.waker().clone()));
        let mut until = self.until.borrow_mut();
        until.get_or_insert_with(|| Box::pin(tokio::time::sleep(HOLD))).as_mut().poll(cx)
    }
}

/// Moves bytes between the client and `up` until both are done. What was already received on
/// either side goes first.
pub(crate) async fn run(x: &mut Exchange<'_>, up: End<'_>, idle: Duration) -> Result<(), Failure> {
    x.keep_alive = false;
    // It may be there for days: of what was lent for a request it keeps what it needs.
    x.request.fields.compact();
    let (standing, fare) = (Standing::of(x), fare::of(x));
    let mut stream = x.down.take_stream().map(|body| Box::new(body.into_io()));
    let down = match &mut stream {
        Some(stream) => End::Stream(stream),
        None => match x.down {
            DownPeer::H1(peer) => {
                peer.release(&x.core.blocks);
                End::Wire(&mut peer.wire)
            }
            DownPeer::H2(_) | DownPeer::Nobody => {
                return Err(Failure::internal("a stream without a body"));
            }
        },
    };
    let (down, up) = match (down, up) {
        (End::Stream(stream), End::Wire(wire)) if x.request.method != Method::Connect => {
            let hold = Rc::new(Hold::default());
            (End::Hasty(stream, Rc::clone(&hold)), End::Behind(wire, hold))
        }
        ends => ends,
    };
    let mut joint = Joint {
        standing,
        guard: x.guard,
        down,
        up,
        idle,
        counters: TunnelCounters::default(),
        fare: fare.as_deref(),
    };
    let outcome = joint.carry().await;
    let counters = joint.counters;
    x.record.bytes_in += counters.a_to_b.get();
    x.record.bytes_out += counters.b_to_a.get();
    outcome
}

/// A client and a server whose bytes go to each other.
pub(crate) struct Joint<'a> {
    /// Whether what they came in by is still there.
    pub(crate) standing: Standing<'a>,
    pub(crate) guard: &'a Guard,
    pub(crate) down: End<'a>,
    pub(crate) up: End<'a>,
    /// How long nothing may move.
    pub(crate) idle: Duration,
    /// Those of this tunnel alone. They grow while it runs.
    pub(crate) counters: TunnelCounters,
    /// Asked about each byte.
    pub(crate) fare: Option<&'a Fare>,
}

impl Joint<'_> {
    /// Moves bytes until both are done, nothing moves for too long, or what they came in by went
    /// from the configuration.
    ///
    /// Not by value: futures keep what they are given for as long as they run, and again where
    /// they pass it on.
    pub(crate) async fn carry(&mut self) -> Result<(), Failure> {
        let core = self.standing.core;
        core.counters.tunnels_opened.inc();
        let outcome = relay(self).await;
        core.counters.tunnels_closed.inc();
        core.counters.tunnel_bytes_in.add(self.counters.a_to_b.get());
        core.counters.tunnel_bytes_out.add(self.counters.b_to_a.get());
        outcome
    }
}

async fn relay(joint: &mut Joint<'_>) -> Result<(), Failure> {
    let Joint { standing, guard, down, up, idle, counters, fare } = joint;
    let (guard, counters, fare, idle) = (*guard, &*counters, *fare, &*idle);
    let core = standing.core;
    let early = early_of(down, up);
    let moved = || counters.a_to_b.get() + counters.b_to_a.get();
    let mut work = pin!(async {
        let toll = fare.map(|fare| fare as &dyn Toll);
        if let Some(early) = early {
            Box::pin(send_all_early(down, up, early, counters, toll)).await?;
        }
        let (pipes, buffers) = (&core.pipes, &core.buffers);
        match net::tunnel_under(down, up, pipes, buffers, counters, toll).await {
            TunnelEnd::Closed => Ok(()),
            TunnelEnd::Stopped => Err(Broken::Stopped),
            TunnelEnd::Failed { side: net::Side::A, error, .. } => {
                Err(Broken::Io(Kind::ClientGone, error))
            }
            TunnelEnd::Failed { side: net::Side::B, error, .. } => {
                Err(Broken::Io(Kind::ConnectionTerminated, error))
            }
        }
    });
    let mut seen = 0;
    guard.set(*idle);
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(outcome) = work.as_mut().poll(cx) {
            return Poll::Ready(outcome.map_err(|broken| match broken {
                Broken::Io(kind, error) => Failure::with(kind, io_words(&error)),
                Broken::Stopped => {
                    fare.map_or_else(|| Failure::internal("nobody stopped it"), Fare::stop_reason)
                }
            }));
        }
        match standing.news() {
            News::None => {}
            News::Gone(left) => guard.set(left),
            News::Back => guard.set(*idle),
        }
        while guard.poll_expired(cx).is_ready() {
            if standing.is_gone() {
                return Poll::Ready(Ok(()));
            }
            if moved() == seen {
                return Poll::Ready(Err(Failure::with(Kind::ReadTimeout, "idle tunnel")));
            }
            seen = moved();
            guard.set(*idle);
        }
        Poll::Pending
    })
    .await;
    if matches!(&outcome, Err(failure) if failure.kind == Kind::QuotaExceeded) {
        // What was charged shall go out: of a stream of HTTP/2 that is dropped nothing more is
        // sent.
        tokio::task::yield_now().await;
    }
    outcome
}

/// Why a tunnel ended before both sides had.
enum Broken {
    Io(Kind, io::Error),
    /// No more bytes may pass.
    Stopped,
}

/// What was received on a client and a server before their tunnel began.
type Early = Box<(Vec<u8>, Vec<u8>)>;

/// That of these two; `None`: nothing, as in most tunnels, which then hold no room for it.
fn early_of(down: &mut End<'_>, up: &mut End<'_>) -> Option<Early> {
    let (from_down, from_up) = (down.take_received(), up.take_received());
    let none = from_down.is_empty() && from_up.is_empty();
    (!none).then(|| Box::new((from_down, from_up)))
}

/// Sends it. At most one buffer each way is at hand, which sockets take at once as a rule.
async fn send_all_early(
    down: &mut End<'_>,
    up: &mut End<'_>,
    early: Early,
    counters: &TunnelCounters,
    toll: Option<&dyn Toll>,
) -> Result<(), Broken> {
    let (from_down, from_up) = &*early;
    send_early(up, from_down, Direction::AToB, &counters.a_to_b, toll).await?;
    send_early(down, from_up, Direction::BToA, &counters.b_to_a, toll).await
}

/// Sends what one side has received before the tunnel began.
async fn send_early(
    to: &mut End<'_>,
    mut bytes: &[u8],
    direction: Direction,
    delivered: &Cell<u64>,
    toll: Option<&dyn Toll>,
) -> Result<(), Broken> {
    let kind = match direction {
        Direction::AToB => Kind::ConnectionTerminated,
        Direction::BToA => Kind::ClientGone,
    };
    while !bytes.is_empty() {
        let want = bytes.len() as u64;
        let granted = match toll {
            None => want,
            Some(toll) => {
                let granted = poll_fn(|cx| toll.poll_grant(cx, direction, want)).await;
                granted.map_err(|Stopped| Broken::Stopped)?
            }
        };
        let (now, later) = bytes.split_at(usize::try_from(granted).unwrap_or(bytes.len()));
        let sent = to.send(now).await;
        if let Some(toll) = toll {
            toll.taken(direction, granted, if sent.is_ok() { granted } else { 0 });
        }
        sent.map_err(|error| Broken::Io(kind, error))?;
        delivered.set(delivered.get() + granted);
        bytes = later;
    }
    Ok(())
}

impl End<'_> {
    /// What was received and not used yet.
    fn take_received(&mut self) -> Vec<u8> {
        match self {
            Self::Wire(wire) | Self::Behind(wire, _) => wire.take_received(),
            Self::Stream(_) | Self::Hasty(..) => Vec::new(),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        use tokio::io::AsyncWriteExt;
        self.write_all(bytes).await?;
        self.flush().await
    }
}

impl AsyncRead for End<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Wire(wire) | Self::Behind(wire, _) => Pin::new(&mut wire.io).poll_read(cx, out),
            Self::Stream(stream) | Self::Hasty(stream, _) => {
                Pin::new(&mut **stream).poll_read(cx, out)
            }
        }
    }
}

impl AsyncWrite for End<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Wire(wire) | Self::Behind(wire, _) => {
                Pin::new(&mut wire.io).poll_write(cx, piece)
            }
            Self::Stream(stream) | Self::Hasty(stream, _) => {
                Pin::new(&mut **stream).poll_write(cx, piece)
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Wire(wire) | Self::Behind(wire, _) => Pin::new(&mut wire.io).poll_flush(cx),
            Self::Stream(stream) | Self::Hasty(stream, _) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Wire(wire) => Pin::new(&mut wire.io).poll_shutdown(cx),
            Self::Stream(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Self::Hasty(stream, hold) => {
                hold.server_ended();
                Pin::new(&mut **stream).poll_shutdown(cx)
            }
            Self::Behind(wire, hold) => {
                ready!(hold.poll_over(cx));
                Pin::new(&mut wire.io).poll_shutdown(cx)
            }
        }
    }
}

impl net::Stream for End<'_> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Wire(wire) | Self::Behind(wire, _) => wire.io.poll_readable(cx),
            Self::Stream(stream) | Self::Hasty(stream, _) => stream.poll_readable(cx),
        }
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Wire(wire) | Self::Behind(wire, _) => wire.io.poll_writable(cx),
            Self::Stream(stream) | Self::Hasty(stream, _) => stream.poll_writable(cx),
        }
    }

    fn raw(&self) -> Option<&tokio::net::TcpStream> {
        match self {
            Self::Wire(wire) | Self::Behind(wire, _) => wire.io.raw(),
            Self::Stream(stream) | Self::Hasty(stream, _) => stream.raw(),
        }
    }
}
