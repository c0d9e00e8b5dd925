//! A connection on which a client speaks SOCKS.

use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use config::{ExitKind, ExitPool, WayOut};
use egress::Way;
use message::framing::BodyLength;
use message::{Host, Method, RequestHead, Version, hop};
use policy::Entry;
use upstream::Wire;

use super::socks_wire::{Incomplete, Request, methods, password, request4, request5};
use super::{Accepted, Turned, into_tunnel, linger, serve_inside, socks_bind, udp};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::forward::login::{self, log_in};
use crate::forward::{Aimed, leave, tunnel as carried};
use crate::peer::{DownPeer, H1Peer};
use crate::record::Record;
use crate::slot::{ListenerSlot, Serving};
use crate::snapshot::{Face, Forward};

/// Longer than every message of the protocol.
const MAX_MESSAGE: usize = 1024;

/// Reply codes of SOCKS5 (RFC 1928 §6).
mod reply5 {
    pub(super) const GENERAL: u8 = 1;
    pub(super) const NOT_ALLOWED: u8 = 2;
    pub(super) const NETWORK_UNREACHABLE: u8 = 3;
    pub(super) const HOST_UNREACHABLE: u8 = 4;
    pub(super) const REFUSED: u8 = 5;
    pub(super) const TTL_EXPIRED: u8 = 6;
    pub(super) const COMMAND: u8 = 7;
    pub(super) const ADDRESS_TYPE: u8 = 8;
}

/// The reply to a command that this listener does not carry out (RFC 1928 §6).
pub(super) const UNSUPPORTED: u8 = reply5::COMMAND;

/// Why a handshake ended without a tunnel.
pub(super) enum Refusal {
    /// The client went away or was too slow: nobody is told.
    Silent,
    /// These bytes say it.
    Told(Vec<u8>, Failure),
}

/// Serves the one request of a SOCKS connection. What it gives back is the tunnel that the
/// connection has become.
pub(super) async fn serve(core: &Rc<Core>, accepted: Accepted, wire: Wire) -> Option<Turned> {
    let serving = core.serving(&accepted.slot);
    let listener = serving.listener();
    let Face::Forward(face) = &listener.face else { return None };
    let mut down = DownPeer::H1(H1Peer::new(wire));
    let (inside, tunnel) = {
        let mut x = exchange(core, &serving, &accepted, &mut down, nothing(core));
        let version = match next_bytes(&mut x).await {
            true => wire_of(x.down).received().first().copied(),
            false => None,
        };
        let outcome = match version {
            Some(5) => serve5(&mut x, &accepted.slot, face).await,
            Some(4) => serve4(&mut x, face).await,
            _ => Err(Refusal::Silent),
        };
        if let Err(Refusal::Told(reply, failure)) = outcome {
            x.record.note_failure(&failure);
            x.record.status = failure.kind.status();
            // The connection closes whether this arrives or not.
            let _ = x.guard.within(face.config.timeouts.header, wire_of(x.down).send(&reply)).await;
        }
        if x.carries.is_some() || x.record.protocol.is_some() {
            core.counters.face(listener.telemetry_face()).requests_started.inc();
        }
        if x.carries.is_none() && x.record.protocol.is_some() {
            x.record();
        }
        (x.opens.take(), x.carries.take())
    };
    match (inside, tunnel, down) {
        (_, Some(tunnel), DownPeer::H1(down)) => {
            return Some(into_tunnel(core, accepted, down, tunnel));
        }
        (Some(inside), None, DownPeer::H1(down)) => {
            drop(serving);
            serve_inside(Rc::clone(core), accepted, down.wire, inside).await;
        }
        (_, _, mut down) => linger(&accepted.guard, wire_of(&mut down)).await,
    }
    None
}

/// A request of which nothing is known yet.
pub(super) fn nothing(core: &Core) -> RequestHead {
    RequestHead {
        fields: core.blocks.block(),
        method: Method::Connect,
        version: Version::Http11,
        method_at: 0..0,
        target_at: 0..0,
    }
}

/// What stands for a connection that is no request.
pub(super) fn exchange<'a>(
    core: &'a Core,
    serving: &'a Serving,
    accepted: &'a Accepted,
    down: &'a mut DownPeer,
    request: RequestHead,
) -> Exchange<'a> {
    Exchange {
        core,
        serving,
        view: &serving.view,
        listener: serving.listener(),
        client: accepted.client,
        destination: None,
        tls_site: None,
        down,
        guard: &accepted.guard,
        request,
        body: BodyLength::None,
        said: hop::Connection::default(),
        keep_alive: false,
        awaits_continue: false,
        head_sent: false,
        inside: None,
        opens: None,
        carries: None,
        record: Record::new(Instant::now()),
        mark: &accepted.mark,
        guest: None,
        wrapped: None,
    }
}

/// The connection, which no other version of HTTP has a part in.
pub(super) fn wire_of(down: &mut DownPeer) -> &mut Wire {
    match down {
        DownPeer::H1(peer) => &mut peer.wire,
        // `serve` above made it.
        DownPeer::H2(_) | DownPeer::Nobody => unreachable!("SOCKS inside a stream of HTTP/2"),
    }
}

async fn serve5(x: &mut Exchange<'_>, slot: &ListenerSlot, face: &Forward) -> Result<(), Refusal> {
    greet(x, face).await?;
    let request = receive(x, request5).await.map_err(|problem| match problem {
        Some(Incomplete::AddressType) => told5(reply5::ADDRESS_TYPE, malformed()),
        Some(_) => told5(reply5::GENERAL, malformed()),
        None => Refusal::Silent,
    })?;
    match request.command {
        1 => tunnel(x, face, &request, "SOCKS5", refuse5, &reply5_with(0)).await,
        2 if face.config.bind => socks_bind::serve(x, face, &request).await,
        3 if face.config.udp => udp::associate(x, slot, face, &request).await,
        _ => Err(told5(UNSUPPORTED, Failure::with(Kind::Denied, "no such command here"))),
    }
}

/// Methods of RFC 1928 §3.
const NO_CREDENTIALS: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;

/// Agrees upon a method, and finds out who the client is and what it wishes.
async fn greet(x: &mut Exchange<'_>, face: &Forward) -> Result<(), Refusal> {
    let offered = receive(x, |bytes| {
        methods(bytes).map(|(methods, length)| {
            let offers = |method: u8| methods.contains(&method);
            ((offers(NO_CREDENTIALS), offers(USER_AND_PASSWORD)), length)
        })
    });
    let ((without, with), length) = offered.await.map_err(|_| Refusal::Silent)?;
    wire_of(x.down).consume(length);
    // A name is asked for where it means something: it may carry wishes.
    let method = match login::cares_for_names(face) {
        true if with => USER_AND_PASSWORD,
        _ if without && login::may_be_nameless(x, face) => NO_CREDENTIALS,
        _ => {
            x.record.protocol = Some("SOCKS5");
            let failure = Failure::with(Kind::Unauthenticated, "no acceptable method");
            return Err(Refusal::Told(vec![5, 0xff], failure));
        }
    };
    send(x, &[5, method]).await?;
    if method == NO_CREDENTIALS {
        let outcome = login::nameless(x, face);
        // The protocol has no words for it before there is a request: the connection ends.
        return outcome.map_err(|failure| {
            x.record.protocol = Some("SOCKS5");
            Refusal::Told(Vec::new(), failure)
        });
    }
    let login = receive(x, |bytes| {
        password(bytes).map(|(user, password, length)| (user.to_vec(), password.to_vec(), length))
    });
    let (user, password, length) = login.await.map_err(|_| Refusal::Silent)?;
    wire_of(x.down).consume(length);
    if let Err(failure) = log_in(x, face, &user, &password).await {
        x.record.protocol = Some("SOCKS5");
        return Err(Refusal::Told(vec![1, 1], failure));
    }
    send(x, &[1, 0]).await
}

async fn serve4(x: &mut Exchange<'_>, face: &Forward) -> Result<(), Refusal> {
    let parse = |bytes: &[u8]| request4(bytes).map(|(request, _)| request);
    let request = receive(x, parse).await.map_err(|problem| match problem {
        Some(_) => Refusal::Told(reply4(91), malformed()),
        None => Refusal::Silent,
    })?;
    let refuse = |failure: Failure| Refusal::Told(reply4(91), failure);
    x.record.protocol = Some("SOCKS4");
    if !login::may_be_nameless(x, face) {
        // Its user names come without a password.
        let words = "SOCKS4 has no passwords";
        return Err(Refusal::Told(reply4(93), Failure::with(Kind::Unauthenticated, words)));
    }
    login::nameless(x, face).map_err(|failure| Refusal::Told(reply4(93), failure))?;
    if request.command != 1 {
        return Err(refuse(Failure::with(Kind::Denied, "only CONNECT")));
    }
    tunnel(x, face, &request, "SOCKS4", refuse, &reply4(90)).await
}

async fn tunnel(
    x: &mut Exchange<'_>,
    face: &Forward,
    request: &Request,
    protocol: &'static str,
    refuse: impl Fn(Failure) -> Refusal,
    granted: &[u8],
) -> Result<(), Refusal> {
    x.record.protocol = Some(protocol);
    wire_of(x.down).consume(request.length);
    let host = request.host.clone().map_err(|_| refuse(malformed()))?;
    name_target(&mut x.request, "CONNECT", &host, request.port);
    let aimed = Aimed { host: &host, address: None, port: request.port, entry: Entry::Socks };
    let opened = carried::open(x, face, &aimed).await.map_err(&refuse)?;
    send(x, granted).await?;
    x.record.status = 200;
    if let Err(failure) = Box::pin(carried::run(x, face, &aimed, opened)).await {
        x.record.note_failure(&failure);
    }
    Ok(())
}

/// The target as CONNECT would name it, for the log.
pub(super) fn name_target(request: &mut RequestHead, method: &str, host: &Host<'_>, port: u16) {
    let text = format!("{method} {host}:{port}");
    let bytes = request.fields.bytes_mut();
    bytes.clear();
    bytes.extend_from_slice(text.as_bytes());
    request.method_at = 0..method.len();
    request.target_at = method.len() + 1..text.len();
}

/// The address of ours that something leaves from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Source {
    /// `None`: the system's choice.
    pub(super) address: Option<IpAddr>,
    /// It need not be one of this machine's.
    pub(super) freebind: bool,
}

/// By which exit of the listener's what is neither CONNECT nor a request leaves; from here on it
/// is counted there.
///
/// Parents carry no datagrams and take no connections for us, and around them nothing may go: a
/// pool that has any is no way out.
pub(super) async fn leave(
    x: &mut Exchange<'_>,
    face: &Forward,
    host: &Host<'_>,
    port: u16,
) -> Result<Source, Failure> {
    let refused = || Failure::with(Kind::Denied, "not through the exits of this listener");
    let aimed = Aimed { host, address: None, port, entry: Entry::Socks };
    let Some(pool) = leave::pool_of(face, face.config.exit)? else {
        leave::straight_is_allowed(x)?;
        leave::begin_metering(x, None, &aimed);
        return Ok(Source::default());
    };
    let pools = &x.view.snapshot.config.exits;
    if !is_ours(face.config.exit, pools, pools.len()) {
        return Err(refused());
    }
    let lease = leave::choose(x, pool, &aimed, &[]).await?;
    let Way::Direct { freebind, .. } = *lease.way() else { return Err(refused()) };
    let source = Source { address: lease.source(), freebind };
    leave::begin_metering(x, Some(Rc::new(lease)), &aimed);
    Ok(source)
}

/// Whether a way out has addresses of ours in it and nothing else. `depth`: pools within pools at
/// most.
fn is_ours(way: WayOut, pools: &[ExitPool], depth: usize) -> bool {
    let WayOut::Pool(index) = way else { return true };
    let Some(pool) = pools.get(index) else { return false };
    pool.exits.iter().all(|exit| match exit.kind {
        ExitKind::Direct | ExitKind::Address(_) | ExitKind::Prefix { .. } => true,
        ExitKind::Pool(next) => depth > 0 && is_ours(WayOut::Pool(next), pools, depth - 1),
        ExitKind::Chain(_) | ExitKind::List { .. } => false,
    })
}

/// Receives until a message can be parsed; `Err(None)`: the client went away or was too slow.
async fn receive<T>(
    x: &mut Exchange<'_>,
    parse: impl Fn(&[u8]) -> Result<T, Incomplete>,
) -> Result<T, Option<Incomplete>> {
    loop {
        match parse(wire_of(x.down).received()) {
            Ok(message) => return Ok(message),
            Err(Incomplete::More) if wire_of(x.down).received().len() < MAX_MESSAGE => {}
            Err(problem) => return Err(Some(problem)),
        }
        let before = wire_of(x.down).received().len();
        let received = poll_fn(|cx| wire_of(x.down).poll_receive(cx));
        match x.guard.run(received).await {
            Ok(Ok(_)) if wire_of(x.down).received().len() > before => {}
            _ => return Err(None),
        }
    }
}

/// Sees to it that at least one byte is there.
async fn next_bytes(x: &mut Exchange<'_>) -> bool {
    if !wire_of(x.down).has_buffer() {
        let buffer = x.core.blocks.buffer();
        wire_of(x.down).lend(buffer);
    }
    let first = receive(x, |bytes| if bytes.is_empty() { Err(Incomplete::More) } else { Ok(()) });
    first.await.is_ok()
}

pub(super) async fn send(x: &mut Exchange<'_>, bytes: &[u8]) -> Result<(), Refusal> {
    match x.guard.run(wire_of(x.down).send(bytes)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Refusal::Silent),
    }
}

pub(super) fn malformed() -> Failure {
    Failure::with(Kind::RequestError, "malformed SOCKS request")
}

pub(super) fn told5(code: u8, failure: Failure) -> Refusal {
    Refusal::Told(reply5_with(code).to_vec(), failure)
}

pub(super) fn refuse5(failure: Failure) -> Refusal {
    told5(code_of(failure.kind), failure)
}

/// Our address is nobody's business: it is told as 0.0.0.0:0, which the RFC lets clients of
/// CONNECT ignore.
fn reply5_with(code: u8) -> [u8; 10] {
    [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

fn reply4(code: u8) -> Vec<u8> {
    vec![0, code, 0, 0, 0, 0, 0, 0]
}

fn code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Denied | Kind::IpProhibited | Kind::QuotaExceeded => reply5::NOT_ALLOWED,
        Kind::IpUnroutable => reply5::NETWORK_UNREACHABLE,
        Kind::DnsError | Kind::DnsTimeout | Kind::Unavailable => reply5::HOST_UNREACHABLE,
        Kind::ConnectionRefused => reply5::REFUSED,
        Kind::ConnectionTimeout => reply5::TTL_EXPIRED,
        _ => reply5::GENERAL,
    }
}
