//! CONNECT, and what SOCKS asks for: a tunnel to a target, which outlives an exit that fails
//! before it has carried anything.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use config::WayOut;
use egress::{ExitKey, Sign};
use message::Host;
use message::framing::BodyLength;
use net::{Side, Stream, TunnelCounters};
use policy::Entry;
use upstream::{Connection, Wire};

use super::leave::{self, Aimed};
use crate::core::Core;
use crate::exchange::{Aim, Exchange, client_gone};
use crate::failure::{Failure, Kind};
use crate::guest::Guest;
use crate::intercept;
use crate::peer::DownPeer;
use crate::snapshot::Forward;
use crate::tunnel::Remainder;

/// CONNECT (RFC 9110 §9.3.6).
pub(super) async fn connect(
    x: &mut Exchange<'_>,
    face: &Forward,
    aim: &Aim,
) -> Result<(), Failure> {
    let bad = |words: &'static str| Failure::with(Kind::RequestError, words);
    let authority = aim.authority.as_ref().ok_or_else(|| bad("no target"))?;
    let port = authority.port.ok_or_else(|| bad("CONNECT needs a port"))?;
    if x.body != BodyLength::None {
        return Err(bad("CONNECT with a body"));
    }
    let aimed = Aimed { host: &authority.host, address: None, port, entry: Entry::Connect };
    let opened = open(x, face, &aimed).await?;
    x.record.status = 200;
    x.head_sent = true;
    let told = super::disclosed(x, face);
    match &mut *x.down {
        DownPeer::H1(peer) => {
            peer.lend_output(&x.core.blocks);
            let out = peer.begin(h1::BodyEncoder::Identity);
            out.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n");
            for (name, value) in &told {
                out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
        down @ (DownPeer::H2(_) | DownPeer::Nobody) => {
            let mut fields = message::Block::default();
            for (name, value) in &told {
                fields.push(name.to_ascii_lowercase().as_bytes(), &[value.as_bytes()]);
            }
            down.respond(200, &fields, false).map_err(|error| client_gone(&error))?;
        }
    }
    x.flush_answer().await?;
    Box::pin(run(x, face, &aimed, opened)).await
}

/// A tunnel whose target has been reached, and that its client has not been told of yet.
pub(crate) struct Opened {
    connection: Connection,
    way: WayOut,
    tried: Vec<ExitKey>,
}

/// Reaches the target of a tunnel.
pub(crate) async fn open(
    x: &mut Exchange<'_>,
    face: &Forward,
    aimed: &Aimed<'_>,
) -> Result<Opened, Failure> {
    let way = leave::way_out(x, face, aimed).await?;
    let mut tried = Vec::new();
    let connection = leave::connect(x, face, aimed, way, &mut tried).await?;
    Ok(Opened { connection, way, tried })
}

/// Begins a tunnel, which the client knows to be open: what carries it to its end is put into
/// [`Exchange::carries`].
pub(crate) async fn run(
    x: &mut Exchange<'_>,
    face: &Forward,
    aimed: &Aimed<'_>,
    opened: Opened,
) -> Result<(), Failure> {
    let Opened { mut connection, way, mut tried } = opened;
    // A listener that opens TLS looks at the first bytes by itself.
    while face.intercept.is_none()
        && let First::ExitGone = first(x, &mut connection.wire).await
    {
        let Some(pool) = leave::pool_of(face, way)? else { break };
        let Some(lease) = x.guest.as_mut().and_then(|guest| guest.lease.take()) else { break };
        lease.report(&Sign::Reset, x.core.clock.now_ms());
        let failure = Failure::with(Kind::ExitFailed, "it ended before it carried anything")
            .retry(crate::failure::Retry::Unseen);
        leave::give_up_or_go_on(x, pool, &lease, failure, &mut tried)?;
        drop(lease);
        connection = leave::connect(x, face, aimed, way, &mut tried).await?;
    }
    let known = aimed.address.map(Host::Address);
    let host = known.as_ref().unwrap_or(aimed.host);
    let opened = Box::pin(intercept::open(x, face, host, aimed.port, connection));
    let Some(connection) = opened.await? else { return Ok(()) };
    // The exchange has ended.
    x.keep_alive = false;
    let Connection { wire, .. } = connection;
    x.carries = Some(Remainder::of(x, wire));
    Ok(())
}

/// What the bytes of a tunnel say of its exit: nobody sees into it, but whose question the far side
/// ends without a byte has not been let in. A client that goes before says nothing of it.
pub(crate) fn judge(
    core: &Core,
    guest: &Guest,
    counters: &TunnelCounters,
    failure: Option<&Failure>,
) {
    let Some(lease) = &guest.lease else { return };
    let now = core.clock.now_ms();
    if let Some(first) = guest.fare.as_ref().and_then(|fare| fare.first_byte()) {
        lease.report(&Sign::FirstByte(first), now);
    }
    let ended_by_far_side = match counters.first_end.get() {
        Some(side) => side == Side::B,
        // What came with the request for the tunnel was not taken.
        None => failure.is_some_and(|failure| failure.kind == Kind::ConnectionTerminated),
    };
    if counters.a_to_b.get() > 0 && counters.b_to_a.get() == 0 && ended_by_far_side {
        lease.report(&Sign::Reset, now);
    } else {
        lease.report(&Sign::Done, now);
    }
}

/// What happens first in a tunnel.
enum First {
    /// Somebody says something, or nobody can tell: from now on it belongs to the two.
    Bytes,
    /// The exit ended it before anybody said anything.
    ExitGone,
}

/// Waits for the first that happens. A client of HTTP/2 is not waited for.
async fn first(x: &mut Exchange<'_>, up: &mut Wire) -> First {
    let through_exit = x.guest.as_ref().is_some_and(|guest| guest.lease.is_some());
    let idle = x.timeouts().tunnel_idle;
    let DownPeer::H1(down) = &mut *x.down else { return First::Bytes };
    if !through_exit || !down.wire.received().is_empty() || !up.received().is_empty() {
        return First::Bytes;
    }
    let pool = &x.core.blocks;
    let event = poll_fn(|cx| {
        if let Poll::Ready(gone) = poll_exit(cx, up, pool) {
            return Poll::Ready(if gone { First::ExitGone } else { First::Bytes });
        }
        down.wire.io.poll_readable(cx).map(|_| First::Bytes)
    });
    // The deadline of an idle tunnel holds here as well; what comes after it is the tunnel's.
    x.guard.within(idle, event).await.unwrap_or(First::Bytes)
}

/// Ready with whether the exit has ended. What it sends is received, and goes first.
fn poll_exit(cx: &mut Context<'_>, up: &mut Wire, pool: &message::BlockPool) -> Poll<bool> {
    if ready!(up.io.poll_readable(cx)).is_err() {
        return Poll::Ready(true);
    }
    if !up.has_buffer() {
        up.lend(pool.buffer());
    }
    match ready!(up.poll_receive(cx)) {
        Ok(bytes) => Poll::Ready(bytes == 0),
        Err(_) => Poll::Ready(true),
    }
}
