//! SOCKS5 UDP ASSOCIATE (RFC 1928 §7): datagrams between a client and whatever it sends them to.
//!
//! Datagrams are taken from the address of the client's TCP connection only, which is the one
//! that is known not to be forged: nobody can have answers sent to somebody else. Rules are asked
//! about each datagram, with the address that it is then sent to. All of it ends with the TCP
//! connection.

mod flows;
mod names;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use config::{Config, WayOut};
use message::Host;
use net::watchdog::Guard;
use net::{Direction, Stopped, Toll as _, canonical};
use policy::Entry;
use tokio::net::UdpSocket;
use upstream::Wire;

use self::flows::Flows;
use self::names::{Names, Resolved, Waiting};
use super::socks::{self, Refusal, Source, refuse5, told5, wire_of};
use super::socks_wire::{MAX_DATAGRAM_HEADER, Request, datagram, put_datagram_header, reply5_at};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, io_words};
use crate::fare::{self, Fare};
use crate::forward::leave::check_way;
use crate::forward::{Who, admit};
use crate::slot::{ListenerSlot, Serving};
use crate::snapshot::{Face, Forward};
use crate::standing::{News, Standing};

/// Datagrams that one association passes on before others have their turn.
const BURST: usize = 64;

/// Serves a UDP ASSOCIATE until its connection ends.
pub(super) async fn associate(
    x: &mut Exchange<'_>,
    slot: &ListenerSlot,
    face: &Forward,
    request: &Request,
) -> Result<(), Refusal> {
    x.record.protocol = Some("SOCKS5-UDP");
    wire_of(x.down).consume(request.length);
    let host = request.host.clone().map_err(|_| refuse5(socks::malformed()))?;
    socks::name_target(&mut x.request, "ASSOCIATE", &host, request.port);
    let source = socks::leave(x, face, &host, request.port).await;
    let source = source.map_err(|failure| told5(socks::UNSUPPORTED, failure))?;
    let inside = bind_inside(wire_of(x.down)).map_err(|error| refuse5(no_socket(&error)))?;
    let bound = inside.local_addr().map_err(|error| refuse5(no_socket(&error)))?;
    socks::send(x, &reply5_at(0, bound)).await?;
    x.record.status = 200;
    let core = x.core;
    let association = Association {
        core,
        who: Who::of(x),
        fare: fare::of(x),
        pool: pool_name(&x.view.snapshot.config, face.config.exit).map(Box::from),
        serving: core.serving(slot),
        client: x.client.address,
        port: (request.port != 0).then_some(request.port),
        inside,
        outside: Outside { source, ipv4: None, ipv6: None },
        flows: Flows::default(),
        names: Names::default(),
        passed: Passed::default(),
        stopped: false,
    };
    core.counters.tunnels_opened.inc();
    let standing = Standing::of(x);
    let (guard, idle) = (x.guard, face.config.timeouts.tunnel_idle);
    let (passed, outcome) = association.run(slot, standing, guard, wire_of(x.down), idle).await;
    core.counters.tunnels_closed.inc();
    core.counters.tunnel_bytes_in.add(passed.bytes_in);
    core.counters.tunnel_bytes_out.add(passed.bytes_out);
    x.record.bytes_in = passed.bytes_in;
    x.record.bytes_out = passed.bytes_out;
    x.record.server = passed.first;
    if let Err(failure) = outcome {
        x.record.note_failure(&failure);
    }
    Ok(())
}

/// The name of the pool that a way leads to: its number is another one in the next configuration.
fn pool_name(config: &Config, way: WayOut) -> Option<&str> {
    match way {
        WayOut::Direct => None,
        WayOut::Pool(index) => config.exits.get(index).map(|pool| pool.name.as_str()),
    }
}

/// The socket that the client sends to: at the address that it has connected to already.
fn bind_inside(wire: &Wire) -> io::Result<UdpSocket> {
    let mut here = wire.io.tcp().ok_or(io::ErrorKind::Unsupported)?.local_addr()?;
    here.set_port(0);
    if canonical(here.ip()) != here.ip() {
        here = SocketAddr::new(canonical(here.ip()), 0);
    }
    net::udp::bind(here, false)
}

fn no_socket(error: &io::Error) -> Failure {
    Failure::with(Kind::ConnectionLimit, io_words(error))
}

/// One client's datagrams.
struct Association<'a> {
    core: &'a Core,
    who: Who,
    /// Asked about every byte, where somebody counts.
    fare: Option<Rc<Fare>>,
    /// The pool that it leaves by; `None`: straight.
    pool: Option<Box<str>>,
    /// Whose rules hold: those of now.
    serving: Serving,
    /// Whose datagrams are taken.
    client: IpAddr,
    /// And from which of its ports; `None`: from any.
    port: Option<u16>,
    inside: UdpSocket,
    outside: Outside,
    flows: Flows,
    names: Names,
    passed: Passed,
    /// The user may use no more.
    stopped: bool,
}

/// Where a datagram goes, and who sends it.
#[derive(Clone, Copy)]
struct Aimed<'h> {
    host: &'h Host<'h>,
    target: SocketAddr,
    /// The port of the client.
    client: u16,
}

/// What went through.
#[derive(Debug, Default)]
struct Passed {
    /// Bytes from the client, without what SOCKS puts in front of them.
    bytes_in: u64,
    /// Bytes to the client.
    bytes_out: u64,
    datagrams: u64,
    /// The first target.
    first: Option<SocketAddr>,
}

impl Association<'_> {
    /// Runs until the connection ends, nothing moves for too long, or the configuration has no
    /// place for it any more.
    async fn run(
        mut self,
        slot: &ListenerSlot,
        mut standing: Standing<'_>,
        guard: &Guard,
        wire: &mut Wire,
        idle: Duration,
    ) -> (Passed, Result<(), Failure>) {
        let mut generation = self.core.generation();
        let mut seen = 0;
        guard.set(idle);
        let outcome = poll_fn(|cx| {
            if poll_left(cx, self.core, wire).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if generation != self.core.generation() {
                generation = self.core.generation();
                self.serving = self.core.serving(slot);
            }
            match standing.news() {
                News::None => {}
                News::Gone(left) => guard.set(left),
                News::Back => guard.set(idle),
            }
            if let Poll::Ready(Err(failure)) = self.poll_datagrams(cx) {
                return Poll::Ready(Err(failure));
            }
            if let Some(fare) = self.fare.as_ref().filter(|_| self.stopped) {
                return Poll::Ready(Err(fare.stop_reason()));
            }
            while guard.poll_expired(cx).is_ready() {
                if standing.is_gone() {
                    return Poll::Ready(Ok(()));
                }
                if self.passed.datagrams == seen {
                    return Poll::Ready(Err(Failure::with(Kind::ReadTimeout, "idle association")));
                }
                seen = self.passed.datagrams;
                guard.set(idle);
            }
            Poll::Pending
        })
        .await;
        (self.passed, outcome)
    }

    /// Passes on what is there. Ready only when the association cannot go on.
    fn poll_datagrams(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let serving = self.serving.clone();
        let face = match &serving.listener().face {
            Face::Forward(face) if face.config.udp => face,
            _ => return Poll::Ready(Err(Failure::with(Kind::Denied, "UDP was switched off"))),
        };
        // Lent when there is something to put into it.
        let mut buffer = Vec::new();
        let mut outcome = Ok(());
        let mut turns = 0;
        loop {
            let mut quiet = true;
            for poll in [Self::poll_client, Self::poll_targets::<true>, Self::poll_targets::<false>]
            {
                match poll(self, cx, face, &mut buffer) {
                    Poll::Ready(Ok(())) => quiet = false,
                    Poll::Ready(Err(error)) => outcome = Err(error),
                    Poll::Pending => {}
                }
            }
            while let Poll::Ready(resolved) = self.names.poll_resolved(cx) {
                self.after_resolution(cx, face, resolved);
                quiet = false;
            }
            turns += 1;
            if outcome.is_err() || quiet {
                break;
            }
            if turns == BURST {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.core.blocks.give_buffer(buffer);
        match outcome {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(Failure::with(Kind::InternalError, io_words(&error)))),
        }
    }

    /// One datagram of the client.
    fn poll_client(
        &mut self,
        cx: &mut Context<'_>,
        face: &Forward,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        let received = ready!(poll_receive(&self.inside, cx, self.core, buffer, 0))?;
        if let Some(from) = received
            && canonical(from.ip()) == self.client
            && self.port.is_none_or(|port| port == from.port())
        {
            self.take(cx, face, from.port(), buffer);
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, cx: &mut Context<'_>, face: &Forward, client: u16, bytes: &[u8]) {
        let Some(datagram) = datagram(bytes) else { return };
        let (host, port) = (&datagram.host, datagram.port);
        if let Err(failure) = admit(face, &self.who.asks(host, port, Entry::Socks)) {
            return self.refused(&failure);
        }
        let now = self.core.clock.now_ms();
        match host {
            Host::Address(address) => {
                let target = SocketAddr::new(*address, port);
                // What comes of it nobody is told.
                let to = Aimed { host, target, client };
                let _ = self.send(cx, face, &to, datagram.data);
            }
            Host::Name(name) => match self.names.settled(name, now) {
                Some(address) => {
                    let target = SocketAddr::new(address, port);
                    let to = Aimed { host, target, client };
                    if self.send(cx, face, &to, datagram.data).is_err() {
                        self.names.unsettle(name);
                    }
                }
                None => {
                    let waiting = Waiting { port, client, data: datagram.data.into() };
                    self.names.ask(&self.core.resolver, name, waiting);
                }
            },
        }
    }

    /// Sends what waited for the addresses of a name, to the first of them that may be reached.
    fn after_resolution(&mut self, cx: &mut Context<'_>, face: &Forward, resolved: Resolved) {
        let Ok(addresses) = resolved.result else { return };
        let host = Host::Name((&*resolved.name).into());
        let mut settled = None;
        for waiting in resolved.waiting {
            // The rules may have changed meanwhile.
            if let Err(failure) = admit(face, &self.who.asks(&host, waiting.port, Entry::Socks)) {
                self.refused(&failure);
                continue;
            }
            settled = addresses.iter().copied().map(canonical).find(|address| {
                let target = SocketAddr::new(*address, waiting.port);
                let to = Aimed { host: &host, target, client: waiting.client };
                self.send(cx, face, &to, &waiting.data).is_ok()
            });
        }
        if let Some(address) = settled {
            self.names.settle(resolved.name, address, self.core.clock.now_ms());
        }
    }

    /// Sends to a target, if the rules let it be reached. A datagram that the kernel has no room
    /// for is lost, as on any other link.
    fn send(
        &mut self,
        cx: &mut Context<'_>,
        face: &Forward,
        to: &Aimed<'_>,
        data: &[u8],
    ) -> Result<(), NotSent> {
        let Aimed { host, target, client } = *to;
        let asked = self.who.asks(host, target.port(), Entry::Socks);
        let way = check_way(face, &asked, target).and_then(|way| {
            match pool_name(&self.serving.view.snapshot.config, way) == self.pool.as_deref() {
                true => Ok(()),
                false => Err(Failure::with(Kind::Denied, "not by the exit of the association")),
            }
        });
        if let Err(failure) = way {
            self.refused(&failure);
            return Err(NotSent);
        }
        if self.outside.towards(target).is_none() {
            return Err(NotSent);
        }
        if !self.is_paid(cx, Direction::AToB, data.len()) {
            return Ok(());
        }
        let socket = self.outside.towards(target).ok_or(NotSent)?;
        match net::udp::send(socket, data, target) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => {
                tracing::debug!(%error, "datagram not sent");
                return Err(NotSent);
            }
        }
        self.flows.sent(target, client, self.core.clock.now_ms());
        self.passed.first.get_or_insert(target);
        self.passed.bytes_in += data.len() as u64;
        self.passed.datagrams += 1;
        Ok(())
    }

    /// One datagram for the client.
    fn poll_targets<const IPV4: bool>(
        &mut self,
        cx: &mut Context<'_>,
        _: &Forward,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        let socket = if IPV4 { &self.outside.ipv4 } else { &self.outside.ipv6 };
        let Some(socket) = socket else { return Poll::Pending };
        let received = ready!(poll_receive(socket, cx, self.core, buffer, MAX_DATAGRAM_HEADER))?;
        let now = self.core.clock.now_ms();
        if let Some(from) = received
            // One that fills the buffer may have been cut.
            && buffer.len() < buffer.capacity()
            && let Some(client) = self.flows.answered(from, now)
            && self.is_paid(cx, Direction::BToA, buffer.len() - MAX_DATAGRAM_HEADER)
        {
            let start = put_datagram_header(buffer, from);
            let to = SocketAddr::new(self.client, client);
            if net::udp::send(&self.inside, &buffer[start..], to).is_ok() {
                self.passed.bytes_out += (buffer.len() - MAX_DATAGRAM_HEADER) as u64;
                self.passed.datagrams += 1;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether so many bytes may pass in the name of the user, who has paid for them then. A
    /// datagram passes as a whole and at once, or it is lost.
    fn is_paid(&mut self, cx: &mut Context<'_>, direction: Direction, bytes: usize) -> bool {
        let Some(fare) = &self.fare else { return true };
        let (wanted, mut granted) = (bytes as u64, 0);
        while granted < wanted {
            match fare.poll_grant(cx, direction, wanted - granted) {
                Poll::Ready(Ok(more)) => granted += more,
                Poll::Ready(Err(Stopped)) => {
                    self.stopped = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        let whole = granted == wanted;
        fare.taken(direction, granted, if whole { wanted } else { 0 });
        whole
    }

    fn refused(&self, failure: &Failure) {
        super::refused(self.core, &failure.detail);
    }
}

/// It was not sent, and would not be if it were tried again.
struct NotSent;

/// The sockets that targets see.
struct Outside {
    source: Source,
    ipv4: Option<UdpSocket>,
    ipv6: Option<UdpSocket>,
}

impl Outside {
    /// The socket for this target, which is opened when there is the first one of its family.
    fn towards(&mut self, target: SocketAddr) -> Option<&UdpSocket> {
        let (socket, any): (_, IpAddr) = match target {
            SocketAddr::V4(_) => (&mut self.ipv4, Ipv4Addr::UNSPECIFIED.into()),
            SocketAddr::V6(_) => (&mut self.ipv6, Ipv6Addr::UNSPECIFIED.into()),
        };
        let source = self.source.address.unwrap_or(any);
        if source.is_ipv4() != target.is_ipv4() {
            return None;
        }
        if socket.is_none() {
            let bound = net::udp::bind(SocketAddr::new(source, 0), self.source.freebind);
            *socket = bound.inspect_err(|error| tracing::debug!(%error, "no UDP socket")).ok();
        }
        socket.as_ref()
    }
}

/// Receives one datagram behind `room` bytes. `None`: there was none after all.
fn poll_receive(
    socket: &UdpSocket,
    cx: &mut Context<'_>,
    core: &Core,
    buffer: &mut Vec<u8>,
    room: usize,
) -> Poll<io::Result<Option<SocketAddr>>> {
    ready!(socket.poll_recv_ready(cx))?;
    if buffer.capacity() == 0 {
        *buffer = core.blocks.bulk();
    }
    buffer.clear();
    buffer.resize(room, 0);
    Poll::Ready(match socket.try_recv_buf_from(buffer) {
        Ok((_, from)) => Ok(Some(from)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    })
}

/// Ready when the connection has ended. What comes on it has no meaning.
fn poll_left(cx: &mut Context<'_>, core: &Core, wire: &mut Wire) -> Poll<()> {
    let outcome = loop {
        let rest = wire.received().len();
        wire.consume(rest);
        match wire.io_readable(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => break Poll::Ready(()),
            Poll::Pending => break Poll::Pending,
        }
        if !wire.has_buffer() {
            wire.lend(core.blocks.buffer());
        }
        match wire.poll_receive(cx) {
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(_) => break Poll::Ready(()),
            Poll::Pending => break Poll::Pending,
        }
    };
    wire.release(&core.blocks);
    outcome
}
