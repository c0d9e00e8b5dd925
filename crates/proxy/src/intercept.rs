//! TLS that is opened: instead of the bytes of a tunnel, the requests inside it pass, each judged
//! and told as any other request of the forward face.
//!
//! A tunnel is set up as always. Then the client is listened to: a `ClientHello` for a target
//! that the listener opens is answered with a certificate of our own authority, and everything
//! else passes unchanged, servers that speak first included. The server is made a TLS connection
//! to before the client gets an answer, and verified as the client would have done it. What is
//! wrong with its certificate is not hidden by ours: the client is told inside, in place of any
//! content.
//!
//! The name that counts is that of the tunnel's target, for rules, for both certificates and for
//! requests; where the `ClientHello` asks for another, it will not like the certificate. Clients
//! that resolve names by themselves ask for a tunnel to an address: only then the name of the
//! `ClientHello` counts, and what is reached for it is that address.
//!
//! [`open`] is where a tunnel turns into this, [`accept`] makes the handshake with the client,
//! and [`serve`] takes the requests.

mod scope;
mod serve;

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use message::{Authority, Host};
use net::Stream;
use net::watchdog::Expired;
use tls::{Greeting, Io};
use upstream::{Connection, Wire};

pub(crate) use self::scope::{Interception, authority_files};
pub(crate) use self::serve::serve;

use crate::core::Core;
use crate::downstream::{Accepted, hurried};
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, io_words};
use crate::forward::origin_key;
use crate::guest::Guest;
use crate::peer::{DownPeer, H1Peer};
use crate::snapshot::{Face, Forward};

/// What the requests inside a tunnel have in common.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Whom they are for, and whose certificate is shown.
    pub(crate) host: Host<'static>,
    pub(crate) port: u16,
    /// What the client asked the tunnel to, where `host` is not that.
    pub(crate) address: Option<IpAddr>,
    /// The name that the `ClientHello` asks for.
    sni: Option<Box<str>>,
    /// The user of the tunnel. Who else would send these requests?
    pub(crate) user: Option<String>,
    /// What is known of it, and the exit by which the tunnel leaves.
    pub(crate) guest: Option<Guest>,
    /// What went wrong with the server's TLS before there was a request to be told of it.
    failure: RefCell<Option<Failure>>,
}

impl Inside {
    /// What is inside a tunnel to `host`, by what the `ClientHello` asks for.
    fn new(x: &Exchange<'_>, host: &Host<'_>, port: u16, sni: Option<Box<str>>) -> Self {
        let named = sni.as_deref().and_then(|name| match Authority::parse(name.as_bytes()) {
            Ok(Authority { host: host @ Host::Name(_), port: None }) => Some(host.into_owned()),
            _ => None,
        });
        let (host, address) = match (host, named) {
            (Host::Address(address), Some(named)) => (named, Some(*address)),
            (host, _) => (host.clone().into_owned(), None),
        };
        let user = x.record.user.clone();
        let guest = x.guest.as_deref().map(Guest::of_tunnel);
        Self { host, port, address, sni, user, guest, failure: RefCell::default() }
    }

    /// Whether a request is for it.
    fn is_for(&self, authority: &Authority<'_>) -> bool {
        authority.host == self.host && authority.port.unwrap_or(443) == self.port
    }

    /// The host as certificates have it.
    fn certified(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone().into_owned(),
            Host::Address(address) => address.to_string(),
        }
    }

    /// TLS that fails before the server has said anything else may be the doing of the exit.
    pub(crate) fn blame_exit(&self, x: &Exchange<'_>, failure: &Failure) {
        let of_tls = matches!(
            failure.kind,
            Kind::TlsProtocolError | Kind::TlsAlert | Kind::ConnectionTerminated
        );
        if let Some(lease) = self.guest.as_ref().and_then(|guest| guest.lease.as_ref())
            && of_tls
        {
            lease.report(&egress::Sign::Reset, x.core.clock.now_ms());
        }
    }

    /// What is connected to.
    pub(crate) fn reached(&self) -> Host<'_> {
        match self.address {
            Some(address) => Host::Address(address),
            None => self.host.clone(),
        }
    }
}

/// Looks whether the tunnel that the client was just told to be open carries TLS that is to be
/// opened, and if so, sees to the server's side of it: the exchange is over then, and what serves
/// the connection goes on with [`accept`]. Otherwise it returns the connection to the server, and
/// the tunnel carries bytes.
///
/// # Errors
/// The client went away or said too little, as in any tunnel.
pub(crate) async fn open(
    x: &mut Exchange<'_>,
    face: &Forward,
    host: &Host<'_>,
    port: u16,
    mut connection: Connection,
) -> Result<Option<Connection>, Failure> {
    let Some(interception) = face.intercept.as_ref().filter(|one| one.may_cover(host)) else {
        return Ok(Some(connection));
    };
    x.keep_alive = false;
    let sni = match first_words(x, face, &mut connection.wire).await? {
        Some(Greeting::Tls { name }) => name,
        // Let through as it is, it would be a way round.
        Some(Greeting::Endless) => {
            return Err(Failure::with(Kind::RequestError, "endless ClientHello"));
        }
        Some(Greeting::Other | Greeting::Ended) | None => return Ok(Some(connection)),
    };
    let mut inside = Inside::new(x, host, port, sni);
    // Behind an exit that is the address of a parent, as often as not.
    let straight = inside.guest.as_ref().is_none_or(|guest| guest.lease.is_none());
    let address = straight.then(|| connection.server.ip());
    if !interception.covers(&inside, address) {
        return Ok(Some(connection));
    }
    let key = origin_key(x, &inside.host, port, Some(&inside));
    match secure(x, face, &inside, connection).await {
        // The first request finds it there.
        Ok(connection) => x.core.origins.keep(&key, connection),
        Err(failure) => {
            inside.blame_exit(x, &failure);
            drop(inside.failure.replace(Some(failure)));
        }
    }
    if let (Some(inside), Some(guest)) = (&mut inside.guest, &mut x.guest) {
        // It counts among what the user has open for as long as the tunnel is there.
        inside.permit = guest.permit.take();
    }
    x.opens = Some(Rc::new(inside));
    Ok(None)
}

/// What the client begins with; `None`: the server speaks first, or has ended. What was received
/// is put back.
async fn first_words(
    x: &mut Exchange<'_>,
    face: &Forward,
    up: &mut Wire,
) -> Result<Option<Greeting>, Failure> {
    // It may wait for long: of what was lent for the request it keeps what it needs.
    x.request.fields.compact();
    if let Some(body) = x.down.take_stream() {
        let stream = Io::Stream(Box::new(body.into_io()));
        *x.down = DownPeer::H1(H1Peer::new(Wire::new(stream)));
    }
    let DownPeer::H1(peer) = &mut *x.down else {
        return Err(Failure::internal("a stream without a body"));
    };
    peer.release(&x.core.blocks);
    let down = &mut peer.wire;
    let mut received = down.take_received();
    let greeted = {
        let mut greeting = pin!(tls::greeting(&mut down.io, &mut received));
        let either = poll_fn(|cx| {
            if let Poll::Ready(greeting) = greeting.as_mut().poll(cx) {
                return Poll::Ready(greeting.map(Some));
            }
            if !up.received().is_empty() || up.io.poll_readable(cx).is_ready() {
                return Poll::Ready(Ok(None));
            }
            Poll::Pending
        });
        x.guard.within(face.config.timeouts.tunnel_idle, either).await
    };
    down.put_back(received);
    match greeted {
        Ok(Ok(greeting)) => Ok(greeting),
        Ok(Err(error)) => Err(Failure::with(Kind::ClientGone, io_words(&error))),
        Err(Expired) => Err(Failure::with(Kind::ReadTimeout, "idle tunnel")),
    }
}

/// Makes TLS with the server of what is inside, over a connection to it that has carried nothing
/// yet.
///
/// # Errors
/// The server's certificate is not what it must be, or TLS failed in another way.
pub(crate) async fn secure(
    x: &Exchange<'_>,
    face: &Forward,
    inside: &Inside,
    connection: Connection,
) -> Result<Connection, Failure> {
    let Some(interception) = &face.intercept else {
        return Err(Failure::internal("nothing is opened here"));
    };
    let Connection { wire, server, .. } = connection;
    let exit = wire.exit;
    let host = inside.certified();
    let shaking = interception.toward.connect(wire.io, &host);
    match x.guard.within(face.config.timeouts.connect, shaking).await {
        Ok(Ok(io)) => {
            let mut connection = Connection::new(io, server);
            connection.wire.exit = exit;
            Ok(connection)
        }
        Ok(Err(error)) => Err(Failure::of_tls(&error)),
        Err(Expired) => Err(Failure::with(Kind::ConnectionTimeout, "TLS took too long")),
    }
}

/// Makes TLS with the client of a tunnel that was opened. `None`: it failed, as where a client
/// does not trust our authority.
pub(crate) async fn accept(
    core: &Core,
    accepted: &Accepted,
    inside: &Inside,
    mut wire: Wire,
) -> Option<Wire> {
    let serving = core.serving(&accepted.slot);
    let listener = serving.listener();
    let Face::Forward(face) = &listener.face else { return None };
    // Gone with a new configuration: the client has to come again.
    let authority = &face.intercept.as_ref()?.authority;
    let host = inside.certified();
    let failed = |reason: &str| {
        core.counters.tls_failed.inc();
        tracing::debug!(host, reason, "TLS inside a tunnel failed");
    };
    let leaf = match authority.leaf(&host) {
        Ok(leaf) => leaf,
        Err(error) => {
            failed(&error.to_string());
            return None;
        }
    };
    let early = wire.take_received();
    let guard = &accepted.guard;
    guard.set(listener.timeouts().header);
    let shaking = guard.run(authority.accept(&leaf, wire.io, early, inside.sni.clone()));
    match hurried(core, &accepted.slot, guard, shaking).await {
        Ok(Ok(io)) => {
            core.counters.tls_full.inc();
            Some(Wire::new(io))
        }
        Ok(Err(error)) => {
            failed(error.reason());
            None
        }
        Err(Expired) => {
            failed("timeout");
            None
        }
    }
}
