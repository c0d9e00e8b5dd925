//! Connections of clients, from the first byte on.

mod h1;
mod h2;
mod socks;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use net::watchdog::Guard;
use policy::ConnectionPermit;
use tls::{HandshakeError, Io};
use tokio::net::TcpStream;
use upstream::Wire;

use crate::client::Client;
use crate::core::{Core, Counted};
use crate::snapshot::{Face, Listener};

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
    pub(crate) listener: Arc<Listener>,
    pub(crate) client: Client,
    pub(crate) guard: Guard,
    /// Counts against the limit of its client for as long as it lives.
    _permit: Option<Box<ConnectionPermit>>,
    _counted: Counted,
}

/// Serves a connection until it ends.
///
/// The future is small, for an idle connection is nothing else: what opens a connection and
/// what serves a request is boxed, and gone afterwards.
pub fn serve_connection(
    core: Rc<Core>,
    listener: Arc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
) -> impl Future<Output = ()> {
    let opening = Box::pin(open(core, listener, stream, peer));
    async move {
        if let Some(mut connection) = opening.await
            && let Some(wire) = connection.serve().await
        {
            Box::pin(connection.into_http2(wire)).await;
        }
    }
}

/// Sees to TLS and to the protocol. A connection that speaks SOCKS is served right here.
async fn open(
    core: Rc<Core>,
    listener: Arc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Box<h1::Connection>> {
    let accepted = admit(&core, listener, peer)?;
    let (accepted, wire, protocol) = begin(&core, accepted, stream).await?;
    match protocol {
        Protocol::Http2 => {
            h2::serve(core, accepted, wire).await;
            None
        }
        Protocol::Http => Some(Box::new(h1::Connection::new(core, accepted, wire))),
        Protocol::Socks => {
            socks::serve(&core, accepted, wire).await;
            None
        }
    }
}

fn admit(core: &Rc<Core>, listener: Arc<Listener>, peer: SocketAddr) -> Option<Accepted> {
    let view = core.view();
    let client = Client::new(peer, view.snapshot.trusted.trusts(peer.ip()));
    let (max, welcome) = match &listener.face {
        Face::Reverse(face) => (face.limits.connections_per_client, true),
        Face::Forward(face) => {
            (face.config.limits.connections_per_client, face.clients.admits(client.address))
        }
    };
    if !welcome {
        refused(core, "client_not_allowed");
        return None;
    }
    let permit = match max {
        None => None,
        Some(max) => match core.connection_limits.acquire(client.address, max) {
            Some(permit) => Some(Box::new(permit)),
            None => {
                refused(core, "connections_per_client");
                return None;
            }
        },
    };
    let counted = core.count_connection(listener.telemetry_face());
    let guard = core.clock.guard();
    Some(Accepted { listener, client, guard, _permit: permit, _counted: counted })
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
    core: &Rc<Core>,
    mut accepted: Accepted,
    stream: TcpStream,
) -> Option<(Accepted, Wire, Protocol)> {
    let header = match &accepted.listener.face {
        Face::Reverse(face) => face.timeouts.header,
        Face::Forward(face) => face.config.timeouts.header,
    };
    accepted.guard.set(header);
    let hello = hello(core, &accepted, stream);
    let (wire, protocol) = hurried(core, &accepted.guard, hello).await?;
    accepted.client.secure = wire.io.is_tls();
    Some((accepted, wire, protocol))
}

async fn hello(
    core: &Rc<Core>,
    accepted: &Accepted,
    stream: TcpStream,
) -> Option<(Wire, Protocol)> {
    let forward = matches!(accepted.listener.face, Face::Forward(_));
    let first = if forward { Some(first_byte(&accepted.guard, &stream).await?) } else { None };
    let mut wire = match &accepted.listener.tls {
        // A listener of the forward face speaks both.
        Some(tls) if first.is_none_or(|byte| byte == TLS_HANDSHAKE) => {
            Wire::new(handshake(core, &accepted.guard, tls, stream).await?)
        }
        _ => Wire::new(Io::Tcp(stream)),
    };
    if wire.io.info().is_some_and(|info| info.alpn.as_deref() == Some(b"h2")) {
        return Some((wire, Protocol::Http2));
    }
    if !forward {
        return Some((wire, Protocol::Http));
    }
    let first = match first {
        Some(byte) if !wire.io.is_tls() => byte,
        _ => {
            wire.lend(core.blocks.buffer());
            let received = poll_fn(|cx| wire.poll_receive(cx));
            accepted.guard.run(received).await.ok()?.ok()?;
            *wire.received().first()?
        }
    };
    let protocol = if matches!(first, 4 | 5) { Protocol::Socks } else { Protocol::Http };
    Some((wire, protocol))
}

/// The limits of request heads, for as long as the site is not known.
fn heads(accepted: &Accepted) -> ::h1::HeadLimits {
    match &accepted.listener.face {
        Face::Reverse(face) => face.heads,
        Face::Forward(face) => face.heads,
    }
}

/// How long a core that drains waits for a client that has not asked for anything yet: its
/// request may be on the way, but many connect in advance and say nothing.
pub(crate) const HURRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Does what a new connection begins with, under its guard; when the core drains, it has only
/// [`HURRY`] left.
async fn hurried<T>(core: &Core, guard: &Guard, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut told = false;
    poll_fn(|cx| {
        if core.is_draining() && !told {
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
    core: &Rc<Core>,
    guard: &Guard,
    tls: &tls::ServerTls,
    stream: TcpStream,
) -> Option<Io> {
    match guard.run(tls.accept(stream, &[])).await {
        Ok(Ok(io)) => {
            if io.info().is_some_and(|info| info.resumed) {
                core.counters.tls_resumed.inc();
            } else {
                core.counters.tls_full.inc();
            }
            Some(io)
        }
        Ok(Err(HandshakeError::PlainHttp(io))) => {
            core.counters.tls_failed.inc();
            let mut wire = Wire::new(io);
            // The connection closes either way.
            let _ = guard.run(wire.send(NEEDS_TLS)).await;
            linger(guard, &mut wire).await;
            None
        }
        Ok(Err(error)) => {
            tracing::debug!(reason = error.reason(), "TLS handshake failed");
            core.counters.tls_failed.inc();
            None
        }
        Err(_) => {
            core.counters.tls_failed.inc();
            None
        }
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
        assert!(size <= 352, "{size} bytes");
    }
}
