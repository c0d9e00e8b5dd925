//! Connections of a tunnel listener: whatever comes goes to a server as it is, and back.
//!
//! Which servers is known at once, or told by the name in a `ClientHello`. Only in the second
//! case is the client listened to before a server is connected to: with many protocols the
//! server speaks first, and the client would wait for ever.

mod routes;

use std::rc::Rc;
use std::time::Instant;

use net::watchdog::Expired;
use telemetry::counters::Finished;
use telemetry::{AccessRecord, AccessTls};
use tls::{Greeting, Io, TlsInfo, greeting};
use tokio::net::TcpStream;
use upstream::{Ask, Lease, Link, Outcome, Tried, Unavailable, Verdict, Wire, Wish};

pub use self::routes::Routes;
use super::{Accepted, Handshake, hurried, linger, shake};
use crate::attempt::stable_hash_of;
use crate::core::{Core, View};
use crate::failure::{Failure, Kind, Side, io_words};
use crate::preface::preface;
use crate::record::Record;
use crate::snapshot::{Face, Listener, Tunnel};
use crate::standing::Standing;
use crate::tunnel::{End, Joint};

/// One connection that is carried.
struct Passage<'a> {
    core: &'a Core,
    view: &'a View,
    listener: &'a Listener,
    accepted: &'a Accepted,
    face: &'a Tunnel,
    /// What the client asked for.
    name: Option<Box<str>>,
    /// What was agreed upon with the client, where TLS ends here.
    tls: Option<TlsInfo>,
    record: Record,
    failure: Option<Failure>,
}

/// Why a connection is not carried.
enum Refusal {
    /// The client went away, was too slow without a word, or failed at TLS: as on any other
    /// listener, no line of the log is made of that.
    Silent,
    /// It is told in the log. The connection may still be open for an alert.
    Failed(Failure, Option<Wire>),
}

/// A client as it is to be carried.
struct Begun {
    wire: Wire,
    /// Where it goes.
    upstream: usize,
}

/// Carries a connection until it ends.
pub(super) async fn serve(core: &Rc<Core>, accepted: Accepted, stream: TcpStream) {
    let serving = core.serving(&accepted.slot);
    let listener = serving.listener();
    let Face::Tunnel(face) = &listener.face else { return };
    let mut passage = Passage {
        core,
        view: &serving.view,
        listener,
        accepted: &accepted,
        face,
        name: None,
        tls: None,
        record: Record::new(Instant::now()),
        failure: None,
    };
    let refused = match passage.run(stream).await {
        Ok(()) => None,
        Err(Refusal::Silent) => return,
        Err(Refusal::Failed(failure, wire)) => {
            if passage.record.status == 0 {
                passage.record.status = failure.kind.status();
            }
            passage.failure = Some(failure);
            wire
        }
    };
    passage.write_record();
    if let Some(mut wire) = refused {
        linger(&accepted.guard, &mut wire).await;
    }
}

impl Passage<'_> {
    async fn run(&mut self, stream: TcpStream) -> Result<(), Refusal> {
        let (core, guard) = (self.core, &self.accepted.guard);
        guard.set(self.face.config.timeouts.header);
        let begun = hurried(core, &self.accepted.slot, guard, self.begin(Io::Tcp(stream))).await?;
        // The place at the server is taken for as long as the connection lives.
        let (_lease, mut up) =
            self.reach(begun.upstream).await.map_err(|failure| Refusal::Failed(failure, None))?;
        self.record.status = 200;
        let idle = self.face.config.timeouts.tunnel_idle;
        let mut down = begun.wire;
        let mut joint = Joint {
            standing: Standing::at(core, self.listener),
            guard,
            down: End::Wire(&mut down),
            up: End::Wire(&mut up),
            idle,
            counters: net::TunnelCounters::default(),
            fare: None,
        };
        let ended = joint.carry().await;
        self.record.bytes_in = joint.counters.a_to_b.get();
        self.record.bytes_out = joint.counters.b_to_a.get();
        ended.map_err(|failure| Refusal::Failed(failure, None))
    }

    /// What comes before a server is connected to.
    async fn begin(&mut self, mut io: Io) -> Result<Begun, Refusal> {
        let mut early = Vec::new();
        let upstream = if self.face.routes.need_name() {
            let greeted = self.accepted.guard.run(greeting(&mut io, &mut early)).await;
            match self.route(greeted, early.is_empty()) {
                Ok(upstream) => upstream,
                Err(Refusal::Failed(failure, _)) => return Err(self.turn_away(failure, io).await),
                Err(silent) => return Err(silent),
            }
        } else {
            // The configuration has one or the other.
            self.face.routes.default().ok_or(Refusal::Silent)?
        };
        let Some(tls) = &self.listener.tls else {
            return Ok(Begun { wire: Wire::with_received(io, early), upstream });
        };
        match shake(self.core, &self.accepted.guard, tls, io, &early).await {
            Handshake::Done(io) => {
                self.tls = io.info().cloned();
                Ok(Begun { wire: Wire::new(io), upstream })
            }
            Handshake::PlainHttp(_) | Handshake::Failed => Err(Refusal::Silent),
        }
    }

    /// The upstream for what a client began with.
    fn route(
        &mut self,
        greeted: Result<std::io::Result<Greeting>, Expired>,
        wordless: bool,
    ) -> Result<usize, Refusal> {
        let failed =
            |kind, words: &'static str| Err(Refusal::Failed(Failure::with(kind, words), None));
        match greeted {
            Ok(Ok(Greeting::Tls { name })) => {
                self.name = name;
                let chosen = self.face.routes.choose(self.name.as_deref());
                let unknown = || Failure::with(Kind::Misdirected, "no route for this server name");
                chosen.ok_or_else(|| Refusal::Failed(unknown(), None))
            }
            Ok(Ok(Greeting::Other)) => match self.face.routes.default() {
                Some(upstream) if self.listener.tls.is_none() => Ok(upstream),
                _ => failed(Kind::RequestError, "no TLS, where a server name is needed"),
            },
            Ok(Ok(Greeting::Endless)) => failed(Kind::RequestError, "no server name within 16 KiB"),
            _ if wordless => Err(Refusal::Silent),
            Ok(Ok(Greeting::Ended)) => failed(Kind::ClientGone, "ended within the ClientHello"),
            Ok(Err(error)) => failed(Kind::ClientGone, io_words(&error)),
            Err(Expired) => failed(Kind::RequestTimeout, "no whole ClientHello in time"),
        }
    }

    /// Tells a client that speaks TLS why it is not carried; others have no words for it.
    async fn turn_away(&self, failure: Failure, io: Io) -> Refusal {
        let mut wire = Wire::new(io);
        if failure.kind == Kind::Misdirected {
            // The connection ends whether this arrives or not.
            let _ = self.accepted.guard.run(wire.send(&tls::UNRECOGNIZED_NAME)).await;
        }
        let open = matches!(failure.kind, Kind::Misdirected | Kind::RequestError);
        Refusal::Failed(failure, open.then_some(wire))
    }

    /// A connection to a server of this upstream: whichever takes it.
    async fn reach(&mut self, upstream: usize) -> Result<(Lease, Wire), Failure> {
        let cluster = &self.view.clusters[upstream];
        let core = self.core;
        let counters = core.counters.upstream(self.view.snapshot.cluster_labels[upstream]);
        let config = self.view.snapshot.clusters[upstream].config();
        self.record.upstream = Some(upstream);
        let accepted = self.accepted;
        let destination = accepted.destination.as_deref().copied();
        let destination = destination.unwrap_or(self.listener.address);
        let preface = preface(config, &accepted.client, destination);
        // Of what could be hashed a tunnel knows the address alone.
        let hash = Some(stable_hash_of(accepted.client.address));
        let mut tried = Tried::default();
        let mut last = None;
        let started = Instant::now();
        loop {
            let ask = Ask { hash, pinned: None, tried: &tried };
            let lease = cluster.lease(&ask).await.map_err(|why| match (why, last.take()) {
                (Unavailable::AllTried, Some(failure)) => failure,
                (why, _) => Failure::of_unavailable(why),
            })?;
            tried.add(&lease);
            self.record.attempts = self.record.attempts.saturating_add(1);
            counters.requests.inc();
            let connecting = Instant::now();
            let wish = Wish { fresh: true, http1: true, preface: preface.as_deref() };
            match lease.open(wish).await.map(|opened| opened.link) {
                Ok(Link::Http1(connection)) => {
                    core.counters.upstream_opened.inc();
                    counters.connects.inc();
                    self.record.connect = Some(started.elapsed());
                    self.record.server = Some(connection.server);
                    let latency = Some(connecting.elapsed());
                    lease.report(Outcome { latency, verdict: Verdict::Success });
                    return Ok((lease, connection.wire));
                }
                Ok(Link::Http2(_)) => return Err(Failure::internal("a tunnel to HTTP/2")),
                Err(error) => {
                    core.counters.upstream_failed.inc();
                    let failure = Failure::of_connect(&error);
                    if failure.kind.side() == Side::Upstream {
                        counters.failures.inc();
                    }
                    if self.record.attempts > config.retry.attempts {
                        return Err(failure);
                    }
                    core.counters.retries.inc();
                    last = Some(failure);
                }
            }
        }
    }

    /// Writes the line of the access log and counts, as for a request.
    fn write_record(&self) {
        let record = &self.record;
        let face = self.listener.telemetry_face();
        let duration = record.started.elapsed();
        let name = self.name.as_deref();
        let info = self.tls.as_ref();
        let upstream = record.upstream.map_or("", |index| self.view.clusters[index].name());
        let failure = self.failure.as_ref();
        let line = AccessRecord {
            face,
            client: self.accepted.client.address,
            client_port: self.accepted.client.port,
            user: None,
            method: b"-",
            target: b"-",
            host: name.or(info.and_then(|info| info.sni.as_deref())).unwrap_or_default().as_bytes(),
            version: "TCP",
            status: record.status,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            site: &self.face.config.name,
            route: "",
            cache: None,
            upstream,
            server: record.server,
            attempts: record.attempts,
            duration,
            connect: record.connect,
            first_byte: None,
            tls: info.map(|info| AccessTls {
                version: info.version,
                cipher: info.cipher,
                sni: info.sni.as_deref(),
                resumed: info.resumed,
            }),
            referer: None,
            user_agent: None,
            failure: failure.map(|failure| failure.kind.name()),
            detail: failure.map_or("", |failure| &failure.detail),
            generation: self.view.snapshot.generation,
        };
        self.core.log.record(&line, std::time::SystemTime::now());
        let counters = &self.core.counters;
        counters.face(face).requests_started.inc();
        let finished = Finished {
            status: record.status,
            duration,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
        };
        counters.request_finished(face, None, &finished);
        if let Some(failure) = failure {
            self.core.count_failure(failure.kind);
        }
    }
}
