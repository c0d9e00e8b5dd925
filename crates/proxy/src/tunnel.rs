//! Connections whose bytes are nobody's business: CONNECT, SOCKS, and what follows a 101.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use net::{TunnelCounters, TunnelEnd};
use upstream::Wire;

use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, io_words};

/// Moves bytes between the client and `up` until both are done. What was already received on
/// either side goes first.
pub(crate) async fn run(x: &mut Exchange<'_>, mut up: Wire, idle: Duration) -> Result<(), Failure> {
    x.keep_alive = false;
    x.core.counters.tunnels_opened.inc();
    let counters = TunnelCounters::default();
    let outcome = relay(x, &mut up, idle, &counters).await;
    x.core.counters.tunnels_closed.inc();
    x.core.counters.tunnel_bytes_in.add(counters.a_to_b.get());
    x.core.counters.tunnel_bytes_out.add(counters.b_to_a.get());
    x.record.bytes_in += counters.a_to_b.get();
    x.record.bytes_out += counters.b_to_a.get();
    outcome
}

async fn relay(
    x: &mut Exchange<'_>,
    up: &mut Wire,
    idle: Duration,
    counters: &TunnelCounters,
) -> Result<(), Failure> {
    x.down.release(&x.core.blocks);
    let (early_down, early_up) = (x.down.wire.take_received(), up.take_received());
    let down = &mut x.down.wire;
    let (core, guard) = (x.core, x.guard);
    let moved = || counters.a_to_b.get() + counters.b_to_a.get();
    let mut work = pin!(async {
        // At most one buffer each way is at hand, which sockets take at once as a rule.
        if !early_down.is_empty() {
            up.send(&early_down).await.map_err(|error| (Kind::ConnectionTerminated, error))?;
            counters.a_to_b.set(early_down.len() as u64);
        }
        if !early_up.is_empty() {
            down.send(&early_up).await.map_err(|error| (Kind::ClientGone, error))?;
            counters.b_to_a.set(early_up.len() as u64);
        }
        drop((early_down, early_up));
        let (a, b) = (&mut down.io, &mut up.io);
        match net::tunnel(a, b, &core.pipes, &core.buffers, counters).await {
            TunnelEnd::Closed => Ok(()),
            TunnelEnd::Failed { side: net::Side::A, error, .. } => Err((Kind::ClientGone, error)),
            TunnelEnd::Failed { side: net::Side::B, error, .. } => {
                Err((Kind::ConnectionTerminated, error))
            }
        }
    });
    let mut seen = 0;
    guard.set(idle);
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = work.as_mut().poll(cx) {
            return Poll::Ready(
                outcome.map_err(|(kind, error)| Failure::with(kind, io_words(&error))),
            );
        }
        while guard.poll_expired(cx).is_ready() {
            if moved() == seen {
                return Poll::Ready(Err(Failure::with(Kind::ReadTimeout, "idle tunnel")));
            }
            seen = moved();
            guard.set(idle);
        }
        Poll::Pending
    })
    .await
}
