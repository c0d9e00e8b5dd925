//! Connections of clients, from the first byte on.

pub(crate) mod carry;
mod h1;
mod h2;
pub(crate) mod pac;
pub(crate) mod room;
mod socks;
mod socks_bind;
pub(crate) mod transparent;
mod udp;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::ready;

use net::proxy_protocol::Ends;
use net::watchdog::Guard;
use policy::ConnectionPermit;
use tls::{HandshakeError, Io};
use tokio::net::TcpStream;
use upstream::Wire;

use crate::client::Client;
use crate::core::{Core, Counted};
use crate::guest::Mark;
use crate::intercept::Inside;
use crate::peer::H1Peer;
use crate::site::TlsIdentity;
use crate::slot::{ListenerSlot, Serving};
use crate::snapshot::{Face, Listener};
use crate::tunnel::Remainder;

pub mod socks_wire;

/// The first byte of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Answer to plain HTTP on a port for TLS.
const NEEDS_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Proxy-Status: bifrons; error=http_request_error; details=\"plain HTTP on a TLS port\"\r\n\
    Content-Length: 47\r\nConnection: close\r\n\r\n\
    This port speaks TLS: the URL begins https://.\n";

/// A connection of a client.
pub(crate) struct Accepted {
    /// Where it came in.
    pub(crate) slot: Rc<ListenerSlot>,
    /// What its TLS was made for.
    pub(crate) tls_site: Option<Arc<TlsIdentity>>,
    pub(crate) client: Client,
    /// What it connected to, where a server is to be told, and where it was led here by
    /// netfilter.
    pub(crate) destination: Option<Box<SocketAddr>>,
    /// The tunnel that its requests come inside of, if its TLS was opened.
    pub(crate) inside: Option<Rc<Inside>>,
    pub(crate) guard: Guard,
    /// The exit that it leaves by, where that stays for the connection.
    pub(crate) mark: Mark,
    /// Counts against the limit of its client for as long as it lives.
    _permit: Option<Box<ConnectionPermit>>,
    /// Nothing, where it is a stream of a connection that counts.
    _counted: Option<Counted>,
}

/// A connection that goes on, and the tunnel whose client's side it has become; `None`: requests
/// come on it.
type Turned = (Box<h1::Connection>, Option<Box<Remainder>>);

fn into_http(core: &Rc<Core>, accepted: Accepted, wire: Wire) -> Turned {
    (Box::new(h1::Connection::new(Rc::clone(core), accepted, wire)), None)
}

fn into_tunnel(
    core: &Rc<Core>,
    accepted: Accepted,
    mut down: H1Peer,
    tunnel: Box<Remainder>,
) -> Turned {
    down.release(&core.blocks);
    let connection = h1::Connection::new(Rc::clone(core), accepted, down.wire);
    (Box::new(connection), Some(tunnel))
}

/// A connection of which nothing is known yet.
struct Opened {
    slot: Rc<ListenerSlot>,
    guard: Guard,
    counted: Counted,
}

/// Serves a connection until it ends.
///
/// The future is small, for an idle connection is nothing else: what opens a connection and
/// what serves a request is boxed, and gone afterwards.
pub fn serve_connection(
    core: Rc<Core>,
    slot: Rc<ListenerSlot>,
    stream: TcpStream,
    peer: SocketAddr,
) -> impl Future<Output = ()> {
    let opening = Box::pin(open(core, slot, stream, peer));
    async move {
        let Some((mut connection, tunnel)) = opening.await else { return };
        if let Some(tunnel) = tunnel {
            Box::pin(connection.carry(tunnel)).await;
        } else if let Some(connection) = connection.serve().await {
            Box::pin(connection.into_http2()).await;
        }
    }
}

/// Opens the TLS of a tunnel, and serves the requests inside until it ends. `wire` is the client's
/// side of the tunnel.
///
/// Boxed, for what is served inside may be asked for a tunnel as well, and would contain itself.
fn serve_inside(
    core: Rc<Core>,
    accepted: Accepted,
    wire: Wire,
    inside: Rc<Inside>,
) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let mut connection = Box::new(h1::Connection::new(core, accepted, wire));
        let spoken = match connection.enter(inside).await {
            Some(h1::Spoken::Http1) => connection.serve().await,
            Some(h1::Spoken::Http2) => Some(connection),
            None => None,
        };
        if let Some(connection) = spoken {
            connection.into_http2().await;
        }
    })
}

/// Sees to TLS and to the protocol. A connection that speaks SOCKS is served right here, until it
/// is a tunnel.
async fn open(
    core: Rc<Core>,
    slot: Rc<ListenerSlot>,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Option<Turned> {
    let serving = core.serving(&slot);
    // What a core waits for counts as open: when it drains, it is waited for as well.
    let counted = core.count_connection(serving.listener().telemetry_face());
    let opened = Opened { guard: core.clock.guard(), slot, counted };
    let ends = introduction(&core, serving.listener(), &opened, &mut stream, peer).await.ok()?;
    let client = ends.map_or(peer, |ends| ends.source);
    let mut accepted = admit(&core, &serving, client, opened)?;
    if serving.view.snapshot.introduces {
        // Asked for here, where there is a socket for whatever is spoken on it.
        let told = ends.map(|ends| ends.destination).or_else(|| stream.local_addr().ok());
        accepted.destination = told.map(Box::new);
    }
    if matches!(serving.listener().face, Face::Tunnel(_)) {
        drop(serving);
        carry::serve(&core, accepted, stream).await;
        return None;
    }
    if let Some(mode) = serving.listener().transparent() {
        drop(serving);
        return transparent::serve(&core, accepted, stream, mode).await;
    }
    let (accepted, wire, protocol) = begin(&core, serving.listener(), accepted, stream).await?;
    // It is served by the configuration of each request from now on.
    drop(serving);
    match protocol {
        Protocol::Http2 => {
            h2::serve(core, accepted, wire).await;
            None
        }
        Protocol::Http => Some(into_http(&core, accepted, wire)),
        Protocol::Socks => socks::serve(&core, accepted, wire).await,
    }
}

/// What a proxy before us says about the connection, where one of those that have to say it
/// connects. From all others nothing of the kind is taken.
async fn introduction(
    core: &Core,
    listener: &Listener,
    opened: &Opened,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Result<Option<Ends>, Unintroduced> {
    if !listener.introducers.trusts(peer.ip()) {
        return Ok(None);
    }
    opened.guard.set(listener.timeouts().header);
    let received = opened.guard.run(net::proxy_protocol::receive(stream));
    match hurried(core, &opened.slot, &opened.guard, received).await {
        Ok(Ok(ends)) => Ok(ends),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "closed");
            Err(Unintroduced)
        }
        Err(_) => Err(Unintroduced),
    }
}

/// The connection has to end, for nobody knows whose it is.
struct Unintroduced;

fn admit(core: &Core, serving: &Serving, peer: SocketAddr, opened: Opened) -> Option<Accepted> {
    let listener = serving.listener();
    let client = Client::new(peer, serving.view.snapshot.trusted.trusts(peer.ip()));
    let welcome = match &listener.face {
        Face::Reverse(_) => true,
        Face::Forward(face) => face.clients.admits(client.address),
        Face::Tunnel(face) => face.clients.admits(client.address),
    };
    if !welcome {
        refused(core, "client_not_allowed");
        return None;
    }
    let permit = match listener.limits().connections_per_client {
        None => None,
        Some(max) => match core.connection_limits.acquire(client.address, max) {
            Some(permit) => Some(Box::new(permit)),
            None => {
                refused(core, "connections_per_client");
                return None;
            }
        },
    };
    let Opened { slot, guard, counted } = opened;
    Some(Accepted {
        slot,
        tls_site: None,
        client,
        destination: None,
        inside: None,
        mark: Mark::default(),
        guard,
        _permit: permit,
        _counted: Some(counted),
    })
}

impl Accepted {
    /// A stream of this connection, as a connection of its own.
    fn stream(&self, core: &Core) -> Self {
        Self {
            slot: Rc::clone(&self.slot),
            tls_site: None,
            client: self.client,
            destination: None,
            inside: None,
            mark: Mark::default(),
            guard: core.clock.guard(),
            _permit: None,
            _counted: None,
        }
    }

    /// Whether it is to end as soon as what runs on it has ended.
    pub(crate) fn is_draining(&self, core: &Core) -> bool {
        core.is_draining() || self.slot.is_gone()
    }

    /// Whether it ends without waiting for another request, where it is idle.
    pub(crate) fn ends_when_idle(&self, core: &Core) -> bool {
        core.is_draining() && !core.is_gentle()
    }
}

fn refused(core: &Core, reason: &str) {
    core.counters.refusal(telemetry::refusal_index(reason).unwrap_or(u8::MAX)).inc();
}

enum Protocol {
    /// HTTP/1, or HTTP/2 by prior knowledge.
    Http,
    /// HTTP/2 by ALPN.
    Http2,
    Socks,
}

/// TLS, if it is spoken, and what comes inside it.
async fn begin(
    core: &Core,
    listener: &Listener,
    mut accepted: Accepted,
    stream: TcpStream,
) -> Option<(Accepted, Wire, Protocol)> {
    accepted.guard.set(listener.timeouts().header);
    let hello = hello(core, listener, &accepted.guard, stream);
    let (wire, protocol) = hurried(core, &accepted.slot, &accepted.guard, hello).await?;
    accepted.client.secure = wire.io.is_tls();
    accepted.tls_site = wire.io.info().and_then(|info| listener.tls_identity(info.site));
    Some((accepted, wire, protocol))
}

async fn hello(
    core: &Core,
    listener: &Listener,
    guard: &Guard,
    stream: TcpStream,
) -> Option<(Wire, Protocol)> {
    let forward = matches!(listener.face, Face::Forward(_));
    // A listener of the forward face speaks TLS and what is not TLS.
    let peeked = match &listener.tls {
        Some(_) if forward => Some(first_byte(guard, &stream).await?),
        _ => None,
    };
    let mut wire = match &listener.tls {
        Some(tls) if peeked.is_none_or(|byte| byte == TLS_HANDSHAKE) => {
            Wire::new(handshake(core, guard, tls, stream).await?)
        }
        _ => Wire::new(Io::Tcp(stream)),
    };
    if wire.io.info().is_some_and(|info| info.alpn.as_deref() == Some(b"h2")) {
        return Some((wire, Protocol::Http2));
    }
    if !forward {
        return Some((wire, Protocol::Http));
    }
    let first = match peeked {
        Some(byte) if !wire.io.is_tls() => byte,
        _ => {
            let received = poll_fn(|cx| {
                // Whoever says nothing is given no buffer.
                ready!(wire.poll_readable(cx))?;
                if !wire.has_buffer() {
                    wire.lend(core.blocks.buffer());
                }
                wire.poll_receive(cx)
            });
            guard.run(received).await.ok()?.ok()?;
            *wire.received().first()?
        }
    };
    let protocol = if matches!(first, 4 | 5) { Protocol::Socks } else { Protocol::Http };
    Some((wire, protocol))
}

/// How long a core that drains waits for a client that has not asked for anything yet: its
/// request may be on the way, but many connect in advance and say nothing.
pub(crate) const HURRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Does what a new connection begins with, under its guard; when the core drains or the listener
/// went, it has only [`HURRY`] left.
pub(crate) async fn hurried<T>(
    core: &Core,
    slot: &ListenerSlot,
    guard: &Guard,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    let mut told = false;
    poll_fn(|cx| {
        if !told && (core.is_draining() || slot.is_gone()) {
            told = true;
            guard.set(HURRY);
        }
        // A drain wakes all that wait for a deadline.
        work.as_mut().poll(cx)
    })
    .await
}

/// The first byte of a connection, which stays in the socket.
async fn first_byte(guard: &Guard, stream: &TcpStream) -> Option<u8> {
    let mut byte = [0; 1];
    match guard.run(stream.peek(&mut byte)).await {
        Ok(Ok(1)) => Some(byte[0]),
        _ => None,
    }
}

async fn handshake(
    core: &Core,
    guard: &Guard,
    tls: &tls::ServerTls,
    stream: TcpStream,
) -> Option<Io> {
    match shake(core, guard, tls, Io::Tcp(stream), &[]).await {
        Handshake::Done(io) => Some(io),
        Handshake::Failed => None,
        Handshake::PlainHttp(io) => {
            let mut wire = Wire::new(io);
            // The connection closes either way.
            let _ = guard.run(wire.send(NEEDS_TLS)).await;
            linger(guard, &mut wire).await;
            None
        }
    }
}

/// How a TLS handshake ended.
enum Handshake {
    Done(Io),
    /// The client speaks HTTP without TLS.
    PlainHttp(Io),
    Failed,
}

/// Makes a TLS handshake with a client of whom `early` was received, and counts it.
async fn shake(
    core: &Core,
    guard: &Guard,
    tls: &tls::ServerTls,
    io: Io,
    early: &[u8],
) -> Handshake {
    let outcome = guard.run(tls.accept(io, early)).await;
    if let Ok(Ok(io)) = outcome {
        match io.info() {
            Some(info) if info.resumed => core.counters.tls_resumed.inc(),
            _ => core.counters.tls_full.inc(),
        }
        return Handshake::Done(io);
    }
    core.counters.tls_failed.inc();
    match outcome {
        Ok(Err(HandshakeError::PlainHttp(io))) => Handshake::PlainHttp(io),
        Ok(Err(error)) => {
            tracing::debug!(reason = error.reason(), "TLS handshake failed");
            Handshake::Failed
        }
        Ok(Ok(_)) | Err(_) => Handshake::Failed,
    }
}

/// Ends a TLS connection in the way that tells its end from a cut (RFC 8446 §6.1).
pub(crate) async fn goodbye(guard: &Guard, wire: &mut Wire) {
    use tokio::io::AsyncWriteExt;
    // Whether it arrives or not, the connection is over.
    let _ = guard.within(std::time::Duration::from_secs(1), wire.io.shutdown()).await;
}

/// Closes a connection on which the client may still be sending: were it closed at once, the
/// kernel would reset it, and the client lose the answer (RFC 9112 §9.6).
pub(crate) async fn linger(guard: &Guard, wire: &mut Wire) {
    use tokio::io::AsyncWriteExt;
    const LINGER: std::time::Duration = std::time::Duration::from_secs(2);
    const AT_MOST: usize = 1024 * 1024;
    let closing = async {
        wire.io.shutdown().await?;
        let mut seen = 0;
        while seen < AT_MOST {
            let rest = wire.received().len();
            wire.consume(rest);
            match poll_fn(|cx| wire.poll_receive(cx)).await? {
                0 => break,
                count => seen += count,
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // Whatever comes of it, the connection is over.
    let _ = guard.within(LINGER, closing).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F: Future>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// What thousands of idle connections hold each. A future that grows by a field of a
    /// request would not be noticed otherwise.
    #[test]
    fn an_idle_connection_is_small() {
        let size = size(serve_connection) + size_of::<h1::Connection>();
        assert!(size <= 384, "{size} bytes");
    }

    fn size_carried<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// The same of tunnels, beside what an idle connection holds. The allocator has no sizes
    /// between these and the next that are a quarter larger.
    #[test]
    fn an_idle_tunnel_is_small() {
        let future = size_carried(h1::Connection::carry);
        assert!(future <= 1024, "{future} bytes");
        let size = size_of::<Remainder>();
        assert!(size <= 640, "{size} bytes");
    }
}
