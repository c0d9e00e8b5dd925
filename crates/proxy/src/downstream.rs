//! Connections of clients, from the first byte on.

mod h1;
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
use crate::core::Core;
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
    _permit: Option<ConnectionPermit>,
}

/// Serves a connection until it ends.
pub async fn serve_connection(
    core: Rc<Core>,
    listener: Arc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let Some(accepted) = admit(&core, listener, peer) else { return };
    let _counted = core.count_connection();
    let face = accepted.listener.telemetry_face();
    core.counters.face(face).connections_accepted.inc();
    // Boxed: it is large, and gone by the time the connection is idle.
    if let Some((accepted, wire, protocol)) = Box::pin(begin(&core, accepted, stream)).await {
        match protocol {
            Protocol::Http => h1::serve(&core, accepted, wire).await,
            Protocol::Socks => Box::pin(socks::serve(&core, accepted, wire)).await,
        }
    }
    core.counters.face(face).connections_closed.inc();
}

fn admit(core: &Rc<Core>, listener: Arc<Listener>, peer: SocketAddr) -> Option<Accepted> {
    let view = core.view();
    let client = Client::new(peer, view.snapshot.trusted.trusts(peer.ip()));
    let (max, welcome) = match &listener.face {
        Face::Reverse(face) => (face.connections_per_client, true),
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
            Some(permit) => Some(permit),
            None => {
                refused(core, "connections_per_client");
                return None;
            }
        },
    };
    Some(Accepted { listener, client, guard: core.clock.guard(), _permit: permit })
}

fn refused(core: &Core, reason: &str) {
    core.counters.refusal(telemetry::refusal_index(reason).unwrap_or(u8::MAX)).inc();
}

enum Protocol {
    Http,
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
    let forward = matches!(accepted.listener.face, Face::Forward(_));
    let first = if forward { Some(first_byte(&accepted.guard, &stream).await?) } else { None };
    let mut wire = match &accepted.listener.tls {
        // A listener of the forward face speaks both.
        Some(tls) if first.is_none_or(|byte| byte == TLS_HANDSHAKE) => {
            let io = handshake(core, &accepted.guard, tls, stream).await?;
            accepted.client.secure = true;
            Wire::new(io)
        }
        _ => Wire::new(Io::Tcp(stream)),
    };
    if !forward {
        return Some((accepted, wire, Protocol::Http));
    }
    let first = match first {
        Some(byte) if !accepted.client.secure => byte,
        _ => {
            wire.lend(core.blocks.buffer());
            let received = poll_fn(|cx| wire.poll_receive(cx));
            accepted.guard.run(received).await.ok()?.ok()?;
            *wire.received().first()?
        }
    };
    let protocol = if matches!(first, 4 | 5) { Protocol::Socks } else { Protocol::Http };
    Some((accepted, wire, protocol))
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
