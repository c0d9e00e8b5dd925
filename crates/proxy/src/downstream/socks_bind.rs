//! SOCKS5 BIND (RFC 1928 §4): one connection that a named peer makes to the client, by way of us.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use message::Host;
use net::canonical;
use policy::Entry;
use tls::Io;
use tokio::net::{TcpListener, TcpStream};
use upstream::Wire;

use super::socks::{self, Refusal, Source, refuse5, told5, wire_of};
use super::socks_wire::{Request, reply5_at};
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, io_words};
use crate::forward::leave::check_way;
use crate::forward::{Who, admit, check};
use crate::snapshot::Forward;
use crate::tunnel::{self, End};

/// How long the peer is waited for.
const WAIT: Duration = Duration::from_secs(60);

/// What is received from the client meanwhile; the rest stays in the socket.
const MAX_EARLY: usize = 16 * 1024;

/// Serves a BIND.
pub(super) async fn serve(
    x: &mut Exchange<'_>,
    face: &Forward,
    request: &Request,
) -> Result<(), Refusal> {
    x.record.protocol = Some("SOCKS5-BIND");
    wire_of(x.down).consume(request.length);
    let host = request.host.clone().map_err(|_| refuse5(socks::malformed()))?;
    socks::name_target(&mut x.request, "BIND", &host, request.port);
    let source = socks::leave(x, face, &host, request.port).await;
    let source = source.map_err(|failure| told5(socks::UNSUPPORTED, failure))?;
    let peers = expected(x, face, &host, request.port).await.map_err(refuse5)?;
    let listener = listen(source, &peers)
        .map_err(|error| refuse5(Failure::with(Kind::ConnectionLimit, io_words(&error))))?;
    let bound = listener.local_addr().map_err(|_| refuse5(Failure::internal("no address")))?;
    socks::send(x, &reply5_at(0, bound)).await?;
    let who = Who::of(x);
    let welcome = |peer: SocketAddr| {
        let asked = who.asks(&host, peer.port(), Entry::Plain);
        // A rule may want it to leave by another way, which takes no connections.
        let way = check_way(face, &asked, peer);
        peers.contains(&peer.ip()) && way.is_ok_and(|way| way == face.config.exit)
    };
    let (stream, peer) = accept(x, &listener, welcome).await?;
    drop(listener);
    x.core.counters.upstream_opened.inc();
    x.record.server = Some(peer);
    socks::send(x, &reply5_at(0, peer)).await?;
    x.record.status = 200;
    let (mut up, idle) = (Wire::new(Io::Tcp(stream)), face.config.timeouts.tunnel_idle);
    if let Err(failure) = tunnel::run(x, End::Wire(&mut up), idle).await {
        x.record.note_failure(&failure);
    }
    Ok(())
}

/// The addresses that the peer may come from: all of one family.
async fn expected(
    x: &Exchange<'_>,
    face: &Forward,
    host: &Host<'_>,
    port: u16,
) -> Result<Vec<IpAddr>, Failure> {
    // Where the peer will come from is its own choice, and many clients say 0. Rules about what
    // may be reached at which port have no say: nothing is reached.
    let port = if port == 0 { u16::MAX } else { port };
    let who = Who::of(x);
    let asked = who.asks(host, port, Entry::Plain);
    admit(face, &asked)?;
    let addresses = match host {
        Host::Address(address) if address.is_unspecified() => {
            return Err(Failure::with(Kind::Denied, "BIND has to name its peer"));
        }
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => {
            let resolved =
                x.guard.within(face.config.timeouts.connect, x.core.resolver.lookup(name));
            match resolved.await {
                Ok(Ok(addresses)) => addresses,
                Ok(Err(error)) => return Err(Failure::of_exit(&egress::ExitError::Dns(error))),
                Err(_) => return Err(Failure::new(Kind::DnsTimeout)),
            }
        }
    };
    let mut refused = Failure::new(Kind::DnsError);
    let mut peers: Vec<IpAddr> = Vec::new();
    for address in addresses.iter().copied().map(canonical) {
        match check(face, &asked, SocketAddr::new(address, port)) {
            Ok(()) if peers.first().is_none_or(|first| first.is_ipv4() == address.is_ipv4()) => {
                peers.push(address);
            }
            Ok(()) => {}
            Err(failure) => refused = failure,
        }
    }
    if peers.is_empty() { Err(refused) } else { Ok(peers) }
}

/// Listens where the peer can get to.
fn listen(source: Source, peers: &[IpAddr]) -> std::io::Result<TcpListener> {
    let peer = peers.first().ok_or(std::io::ErrorKind::NotFound)?;
    let here = match source.address {
        // The port would be the network's, and not ours to listen on.
        _ if source.freebind => return Err(std::io::ErrorKind::AddrNotAvailable.into()),
        Some(source) if source.is_ipv4() == peer.is_ipv4() => source,
        Some(_) => return Err(std::io::ErrorKind::AddrNotAvailable.into()),
        None => net::udp::local_towards(*peer)?,
    };
    TcpListener::from_std(net::listener::bind(SocketAddr::new(here, 0), false)?)
}

/// The first connection of somebody who is welcome; all others are closed at once.
async fn accept(
    x: &mut Exchange<'_>,
    listener: &TcpListener,
    welcome: impl Fn(SocketAddr) -> bool,
) -> Result<(TcpStream, SocketAddr), Refusal> {
    let guard = x.guard;
    let wire = wire_of(x.down);
    let mut waiting = pin!(async {
        loop {
            match net::listener::accept(listener).await {
                Ok((stream, peer)) if welcome(peer) => return Ok((stream, peer)),
                Ok((_, peer)) => tracing::debug!(%peer, "not the peer that BIND waits for"),
                Err(error) => return Err(error),
            }
        }
    });
    let outcome = guard.within(
        WAIT,
        poll_fn(|cx| {
            if poll_left(cx, wire).is_ready() {
                return Poll::Ready(None);
            }
            waiting.as_mut().poll(cx).map(Some)
        }),
    );
    match outcome.await {
        Ok(Some(Ok(accepted))) => Ok(accepted),
        Ok(Some(Err(error))) => Err(refuse5(Failure::with(Kind::Unavailable, io_words(&error)))),
        Ok(None) => {
            x.record.note_failure(&Failure::new(Kind::ClientGone));
            Err(Refusal::Silent)
        }
        Err(_) => Err(refuse5(Failure::with(Kind::ConnectionTimeout, "the peer did not come"))),
    }
}

/// Ready when the client has gone. What it sends is kept for the peer.
fn poll_left(cx: &mut Context<'_>, wire: &mut Wire) -> Poll<()> {
    while wire.received().len() < MAX_EARLY {
        if !matches!(ready!(wire.poll_receive(cx)), Ok(1..)) {
            return Poll::Ready(());
        }
    }
    Poll::Pending
}
