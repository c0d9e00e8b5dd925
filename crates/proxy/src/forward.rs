//! The forward face: from a request to whatever it asks for, if its user may.

use std::net::SocketAddr;
use std::time::Instant;

use config::Anonymity;
use egress::Exit;
use message::framing::BodyLength;
use message::target::{PathAndQuery, Target};
use message::{FieldId, Host, Method, RequestHead, ResponseHead, forwarding};
use net::address::{AddressFilter, Refusal};
use policy::{Admission, Asked, Entry, HostRef, Reason, Targets, Timestamp};
use tls::Io;
use upstream::{Connection, OriginKey};

use crate::client::{AddressText, Client};
use crate::downstream::{pac, transparent};
use crate::exchange::{Aim, Exchange, client_gone};
use crate::failure::{Failure, Kind, Retry};
use crate::gate::{self, take_credentials};
use crate::intercept::{self, Inside};
use crate::peer::{DownPeer, H1Peer, UpPeer};
use crate::relay::{self, Outcome, Terms};
use crate::reverse::{finish_connection_fields, passes_upgrade};
use crate::snapshot::Forward;
use crate::tunnel;
use crate::websocket::Handshake;

/// Fields by which proxies and their clients tell who is behind them.
const TELLTALE: [&[u8]; 10] = [
    b"client-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-originating-ip",
    b"x-remote-ip",
    b"x-remote-addr",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"x-proxyuser-ip",
    b"x-proxy-id",
];

/// Serves a request on a listener of the forward face.
pub(crate) async fn serve<'a>(
    x: &mut Exchange<'a>,
    face: &'a Forward,
    aim: Aim,
) -> Result<(), Failure> {
    if let Some(inside) = x.inside {
        return intercept::serve(x, face, aim, inside).await;
    }
    let led_here = face.config.transparent.is_some();
    if let Some(pac) = face.config.pac.as_ref().filter(|_| !led_here)
        && pac::is_asked(&x.request, &aim.target)
    {
        return pac::answer(x, pac, &aim).await;
    }
    authenticate(x, face).await?;
    if forwarding::via_names(&x.request.fields, &x.view.snapshot.pseudonym) {
        return Err(Failure::new(Kind::Loop));
    }
    if led_here {
        return transparent::relay(x, face, aim).await;
    }
    match &aim.target {
        Target::Authority => connect(x, face, &aim).await,
        Target::Absolute { secure: false, path, .. } => {
            let path = path.clone();
            Plain { face, aim: &aim, path, inside: None }.serve(x).await
        }
        Target::Absolute { secure: true, .. } => {
            Err(Failure::with(Kind::RequestError, "https through a proxy needs CONNECT"))
        }
        Target::Origin(_) => Err(Failure::with(
            Kind::RequestError,
            "this is a forward proxy; the request target must be an absolute URL",
        )),
        Target::Asterisk => x.answer_as_last().await,
    }
}

/// Who the client is (RFC 9110 §11.7). Each request is judged by itself: a connection may
/// carry those of several users.
async fn authenticate(x: &mut Exchange<'_>, face: &Forward) -> Result<(), Failure> {
    // It is meant for us and goes no further.
    let fields = &mut x.request.fields;
    let shown = take_credentials(fields, FieldId::ProxyAuthorization, b"proxy-authorization");
    if face.users.is_none() {
        return Ok(());
    }
    let unauthenticated = |words: &'static str| Failure::with(Kind::Unauthenticated, words);
    let credentials = shown.map_err(unauthenticated)?;
    match check_password(x, face, credentials.user(), credentials.password()).await {
        true => Ok(()),
        false => Err(unauthenticated(gate::WRONG)),
    }
}

/// Whether these are the name and the password of a user, who is then the user of the request.
pub(crate) async fn check_password(
    x: &mut Exchange<'_>,
    face: &Forward,
    user: &[u8],
    password: &[u8],
) -> bool {
    match &face.users {
        Some(users) => gate::check_password(x, users, user, password).await,
        None => true,
    }
}

/// What an address has to pass before it is connected to.
struct Filter<'a> {
    targets: &'a Targets,
    asked: Asked<'a>,
}

impl AddressFilter for Filter<'_> {
    fn check(&self, address: SocketAddr) -> Result<(), Refusal> {
        let passed = self.targets.check(&self.asked, address);
        passed.map(drop).map_err(|reason| Refusal { reason: reason.as_str() })
    }
}

pub(crate) fn host_ref<'h>(host: &'h Host<'_>) -> HostRef<'h> {
    match host {
        Host::Name(name) => HostRef::Name(name),
        Host::Address(address) => HostRef::Address(*address),
    }
}

/// What is asked of the rules.
pub(crate) fn asked<'h>(host: &'h Host<'_>, port: u16, entry: Entry) -> Asked<'h> {
    Asked::new(host_ref(host), port, entry, Timestamp::now())
}

/// Connects to a target that the rules let through, by name and by address.
pub(crate) async fn reach(
    x: &mut Exchange<'_>,
    face: &Forward,
    host: &Host<'_>,
    port: u16,
    entry: Entry,
) -> Result<Connection, Failure> {
    admit(face, host, port, entry)?;
    let filter = Filter { targets: &face.targets, asked: asked(host, port, entry) };
    let timeout = face.config.timeouts.connect;
    let started = Instant::now();
    let outcome = Exit::default().reach(&x.core.resolver, host, port, &filter, timeout).await;
    x.record.connect = Some(started.elapsed());
    x.record.attempts += 1;
    match outcome {
        Ok((stream, address)) => {
            x.record.server = Some(address);
            x.core.counters.upstream_opened.inc();
            Ok(Connection::new(Io::Tcp(stream), address))
        }
        Err(error) => {
            let failure = Failure::of_exit(&error);
            // An address that the rules refuse was not connected to.
            if failure.kind != Kind::IpProhibited {
                x.core.counters.upstream_failed.inc();
            }
            Err(failure)
        }
    }
}

/// Whether a target may be reached, as far as can be said before its name is resolved.
pub(crate) fn admit(
    face: &Forward,
    host: &Host<'_>,
    port: u16,
    entry: Entry,
) -> Result<(), Failure> {
    match face.targets.admit(&asked(host, port, entry)) {
        Admission::Allowed | Admission::AfterResolution => Ok(()),
        Admission::Refused(reason) => Err(refused(reason)),
    }
}

/// Whether this very address may be reached for this host, for what is not reached by [`reach`].
pub(crate) fn check(
    face: &Forward,
    host: &Host<'_>,
    address: SocketAddr,
    entry: Entry,
) -> Result<(), Failure> {
    let passed = face.targets.check(&asked(host, address.port(), entry), address);
    passed.map(drop).map_err(refused)
}

fn refused(reason: Reason) -> Failure {
    let kind = match reason {
        Reason::PortNotAllowed | Reason::DeniedByRule(_) | Reason::DeniedByUserRule(_) => {
            Kind::Denied
        }
        _ => Kind::IpProhibited,
    };
    Failure::with(kind, reason.as_str())
}

/// CONNECT (RFC 9110 §9.3.6).
async fn connect(x: &mut Exchange<'_>, face: &Forward, aim: &Aim) -> Result<(), Failure> {
    let bad = |words: &'static str| Failure::with(Kind::RequestError, words);
    let authority = aim.authority.as_ref().ok_or_else(|| bad("no target"))?;
    let port = authority.port.ok_or_else(|| bad("CONNECT needs a port"))?;
    if x.body != BodyLength::None {
        return Err(bad("CONNECT with a body"));
    }
    let connection = reach(x, face, &authority.host, port, Entry::Connect).await?;
    x.record.status = 200;
    x.head_sent = true;
    match &mut *x.down {
        DownPeer::H1(peer) => {
            peer.lend_output(&x.core.blocks);
            let out = peer.begin(h1::BodyEncoder::Identity);
            out.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n\r\n");
        }
        down @ DownPeer::H2(_) => {
            let none = message::Block::default();
            down.respond(200, &none, false).map_err(|error| client_gone(&error))?;
        }
    }
    x.flush_answer().await?;
    let opened = Box::pin(intercept::open(x, face, &authority.host, port, connection));
    let Some(Connection { mut wire, .. }) = opened.await? else { return Ok(()) };
    let idle = face.config.timeouts.tunnel_idle;
    Box::pin(tunnel::run(x, tunnel::End::Wire(&mut wire), idle)).await
}

/// A request in absolute form.
pub(crate) struct Plain<'a, 'b> {
    pub(crate) face: &'a Forward,
    pub(crate) aim: &'b Aim,
    pub(crate) path: PathAndQuery,
    /// The tunnel that it came inside of, if its TLS was opened.
    pub(crate) inside: Option<&'a Inside>,
}

/// What a connection that is kept for a request may be used for.
pub(crate) fn origin_key(
    x: &Exchange<'_>,
    host: &Host<'_>,
    port: u16,
    inside: Option<&Inside>,
) -> OriginKey {
    OriginKey {
        listener: x.listener.address,
        user: x.record.user.clone(),
        host: host.clone().into_owned(),
        port,
        tls: inside.is_some(),
        address: inside.and_then(|inside| inside.address),
    }
}

impl<'a> Plain<'a, '_> {
    pub(crate) async fn serve(&self, x: &mut Exchange<'a>) -> Result<(), Failure> {
        if let BodyLength::Known(length) = x.body
            && length > self.face.max_body
        {
            return Err(Failure::new(Kind::RequestBodyTooLarge));
        }
        if x.count_forward()? {
            return x.answer_as_last().await;
        }
        let Some(authority) = &self.aim.authority else {
            return Err(Failure::with(Kind::RequestError, "no host"));
        };
        let port = authority.port.unwrap_or(if self.inside.is_some() { 443 } else { 80 });
        admit(self.face, &authority.host, port, Entry::Plain)?;
        let upgrade = self.prepare(x);
        let key = origin_key(x, &authority.host, port, self.inside);
        // Once over a connection that was kept, and once more over a new one.
        if let Some(connection) = x.core.origins.take(&key) {
            x.core.counters.upstream_reused.inc();
            x.record.attempts += 1;
            match self.attempt(x, connection, &key, upgrade).await {
                Err(failure)
                    if !x.head_sent
                        && failure.retry == Retry::Stale
                        && relay::may_repeat(x.request.method, &failure, x.body) =>
                {
                    x.core.counters.retries.inc();
                    x.record.note_failure(&failure);
                }
                done => return done,
            }
        }
        let connection = self.connect(x, &authority.host, port).await?;
        self.attempt(x, connection, &key, upgrade).await
    }

    /// A new connection to the origin.
    async fn connect(
        &self,
        x: &mut Exchange<'a>,
        host: &Host<'_>,
        port: u16,
    ) -> Result<Connection, Failure> {
        let Some(inside) = self.inside else {
            return reach(x, self.face, host, port, Entry::Plain).await;
        };
        let connection = reach(x, self.face, &inside.reached(), port, Entry::Plain).await?;
        Box::pin(intercept::secure(x, self.face, inside, connection)).await
    }

    async fn attempt(
        &self,
        x: &mut Exchange<'a>,
        mut connection: Connection,
        key: &OriginKey,
        upgrade: bool,
    ) -> Result<(), Failure> {
        x.record.server = Some(connection.server);
        let handshake = Handshake::of(&x.request.fields);
        let terms = Terms {
            max_body: self.face.max_body,
            heads: self.face.heads,
            limits: &self.face.config.limits,
            upgrade,
            websocket: handshake.as_ref(),
            head: self.face.config.timeouts.response,
            response: self.face.config.timeouts.response,
            elsewhere: None,
            reused: connection.reused,
            pages: None,
        };
        let mut up = H1Peer::new(connection.wire);
        up.lend_output(&x.core.blocks);
        self.write_request(x, &mut up);
        let mut up = UpPeer::H1(up);
        let outcome = relay::run(x, &mut up, &terms, |x, head| self.edit_response(x, head)).await?;
        let UpPeer::H1(mut up) = up else { return Ok(()) };
        match outcome {
            Outcome::Complete { reusable } => {
                up.release(&x.core.blocks);
                if reusable {
                    connection.wire = up.wire;
                    x.core.origins.keep(key, connection);
                }
                Ok(())
            }
            Outcome::Upgraded => {
                let idle = self.face.config.timeouts.tunnel_idle;
                Box::pin(tunnel::run(x, tunnel::End::Wire(&mut up.wire), idle)).await
            }
        }
    }

    /// Makes the head of the request what the origin shall see of the client.
    fn prepare(&self, x: &mut Exchange<'a>) -> bool {
        let upgrade = passes_upgrade(x);
        self.introduce(&mut x.request, &x.client, &x.view.snapshot.pseudonym);
        finish_connection_fields(x, upgrade);
        upgrade
    }

    /// Makes the fields that tell the origin about the client, or takes them away.
    pub(crate) fn introduce(&self, request: &mut RequestHead, client: &Client, pseudonym: &str) {
        let address = AddressText::new(client.address);
        let number = request.version.number();
        let fields = &mut request.fields;
        let anonymity = self.face.config.anonymity;
        fields.remove(FieldId::Proxy);
        if anonymity != Anonymity::Transparent {
            forwarding::distrust(fields, false);
            fields.remove_where(|id, name| {
                id == FieldId::Other && TELLTALE.iter().any(|t| name.eq_ignore_ascii_case(t))
            });
        }
        match anonymity {
            Anonymity::Transparent => {
                let text = address.as_str().as_bytes();
                forwarding::append(fields, FieldId::XForwardedFor, b"X-Forwarded-For", text);
                forwarding::add_via(fields, number, pseudonym);
            }
            Anonymity::Anonymous => forwarding::add_via(fields, number, pseudonym),
            Anonymity::Elite => {
                fields.remove(FieldId::Via);
                fields.remove(FieldId::MaxForwards);
            }
        }
    }

    fn write_request(&self, x: &mut Exchange<'a>, up: &mut H1Peer) {
        let coding = relay::coding_of(x.body);
        let out = up.begin(coding);
        h1::write_request_line(out, x.request.method_text(), &self.target_out(&x.request));
        relay::write_fields(out, &x.request.fields, self.host_out(&x.request), coding);
    }

    /// The request target for the origin, in pieces.
    pub(crate) fn target_out<'x>(&self, request: &'x RequestHead) -> [&'x [u8]; 2] {
        let target = request.target();
        let (path, query) = (&target[self.path.path.clone()], &target[self.path.query.clone()]);
        let path = match path {
            // It asks about the whole server (RFC 9112 §3.2.4).
            b"" if query.is_empty() && request.method == Method::Options => b"*",
            b"" => b"/",
            path => path,
        };
        [path, query]
    }

    /// The `Host` that the origin gets; where the field says the same, it stays in its place.
    pub(crate) fn host_out<'x>(&self, request: &'x RequestHead) -> Option<&'x [u8]> {
        let Target::Absolute { authority, .. } = &self.aim.target else { return None };
        let host = &request.target()[authority.clone()];
        (request.fields.get(FieldId::Host) != Some(host)).then_some(host)
    }

    fn edit_response(&self, x: &mut Exchange<'_>, head: &mut ResponseHead) {
        if self.face.config.anonymity != Anonymity::Elite {
            let number = head.version.number();
            forwarding::add_via(&mut head.fields, number, &x.view.snapshot.pseudonym);
        }
    }
}

/// What a client without good credentials is asked for (RFC 9110 §11.7.1).
pub(crate) const CHALLENGE: &str = "Basic realm=\"proxy\", charset=\"UTF-8\"";
