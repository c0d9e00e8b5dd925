//! Requests in absolute form (RFC 9112 §3.2.2).

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use config::{Anonymity, WayOut};
use egress::{Absolute, Pool, Purpose};
use message::framing::BodyLength;
use message::target::{PathAndQuery, Target};
use message::{FieldId, Host, Method, RequestHead, ResponseHead, forwarding};
use policy::Entry;
use upstream::{Connection, OriginKey};

use super::leave::{self, Aimed};
use super::verdict::{ExitVerdict, Rivals};
use crate::cache::{self, Intake, Origin, Place, Side};
use crate::client::{AddressText, Client};
use crate::exchange::{Aim, Exchange};
use crate::failure::{Failure, Kind, Retry};
use crate::guest::{asks_for_connection, is_for_connections};
use crate::intercept::{self, Inside};
use crate::peer::{H1Peer, UpPeer};
use crate::relay::{self, Edits, Outcome, Terms};
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

/// A request in absolute form.
pub(crate) struct Plain<'a, 'b> {
    pub(crate) face: &'a Forward,
    pub(crate) aim: &'b Aim,
    pub(crate) path: PathAndQuery,
    /// The tunnel that it came inside of, if its TLS was opened.
    pub(crate) inside: Option<&'a Inside>,
    /// Where netfilter says that it was going, if that has led it here. What `Host` says decides
    /// about rules alone.
    pub(crate) led: Option<IpAddr>,
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
        exit: x.guest.as_ref().and_then(|guest| guest.lease.as_ref()).map(|lease| lease.key()),
        host: host.clone().into_owned(),
        port,
        tls: inside.is_some(),
        address: inside.and_then(|inside| inside.address),
        resolve: x.guest.as_ref().and_then(|guest| guest.wish.resolve),
        client: x.mark.alone(),
    }
}

/// What is settled before the first attempt.
struct Plan<'b> {
    aimed: Aimed<'b>,
    /// `None`: that of the tunnel which it came inside of.
    way: Option<WayOut>,
    upgrade: bool,
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
        let aimed = Aimed { host: &authority.host, address: self.led, port, entry: Entry::Plain };
        // What is inside a tunnel leaves by the exit of the tunnel.
        let way = match self.inside {
            Some(_) => {
                leave::admit(self.face, &aimed.asked(x))?;
                None
            }
            None => Some(leave::way_out(x, self.face, &aimed).await?),
        };
        if x.request.fields.values(FieldId::Authorization).any(is_for_connections) {
            x.mark.keep_alone();
        }
        let plan = Plan { aimed, way, upgrade: self.prepare(x) };
        match leave::pool_of(self.face, way.unwrap_or(WayOut::Direct))? {
            None => self.straight(x, &plan).await,
            Some(pool) => self.by_pool(x, &plan, pool).await,
        }
    }

    /// Straight, or by the exit of the tunnel that it came inside of.
    async fn straight(&self, x: &mut Exchange<'a>, plan: &Plan<'_>) -> Result<(), Failure> {
        let lease = x.guest.as_ref().and_then(|guest| guest.lease.clone());
        // What an exit shows is its own, and rules about answers have to see them.
        let is_usual = lease.is_none()
            // What is there under a name that the client says is not what the name stands for.
            && self.led.is_none()
            && x.guest.as_ref().is_none_or(|guest| guest.rules.is_none())
            && !self.face.targets.cares_for_types(&plan.aimed.asked(x));
        leave::begin_metering(x, lease, &plan.aimed);
        let origin = Straight { plain: self, plan };
        let Some(cache) = self.face.cache.as_ref().filter(|_| is_usual && !plan.upgrade) else {
            return origin.relay(x, None).await;
        };
        let place = Place {
            plan: cache,
            packing: None,
            side: Side::Forward,
            scheme: if self.inside.is_some() { "https" } else { "http" },
            aim: self.aim,
            path: &self.path,
            site: "",
        };
        cache::serve(x, &place, &origin).await
    }

    /// Each attempt by another exit, for as long as the client has seen nothing.
    async fn by_pool(
        &self,
        x: &mut Exchange<'a>,
        plan: &Plan<'_>,
        pool: &'a Arc<Pool>,
    ) -> Result<(), Failure> {
        let mut tried = Vec::new();
        loop {
            let lease = leave::choose(x, pool, &plan.aimed, &tried).await?;
            let last = tried.len() + 1 >= pool.config().attempts as usize;
            let rivals = Rivals { pool, aimed: &plan.aimed, tried: &tried };
            let rivals = (!last).then_some(rivals);
            leave::begin_metering(x, Some(Rc::new(lease)), &plan.aimed);
            let key = OriginKey {
                address: self.led,
                ..origin_key(x, plan.aimed.host, plan.aimed.port, None)
            };
            let outcome = self.over_kept_or_new(x, plan, &key, rivals, None).await;
            let Err(failure) = outcome else { return Ok(()) };
            let Some(lease) = x.guest.as_mut().and_then(|guest| guest.lease.take()) else {
                return Err(failure);
            };
            if x.head_sent || x.record.interim_sent {
                return Err(failure);
            }
            let failure = if is_worth_another(x, &failure) {
                failure.retry(Retry::Unseen)
            } else {
                failure.retry(Retry::Never)
            };
            leave::give_up_or_go_on(x, pool, &lease, failure, &mut tried)?;
        }
    }

    /// Once over a connection that was kept, and once more over a new one.
    async fn over_kept_or_new(
        &self,
        x: &mut Exchange<'a>,
        plan: &Plan<'_>,
        key: &OriginKey,
        rivals: Option<Rivals<'_>>,
        intake: Option<&Intake<'_>>,
    ) -> Result<(), Failure> {
        let kept = x.core.origins.take(key);
        if let Some(connection) = kept.filter(|kept| self.may_reuse(x, plan, kept)) {
            x.core.counters.upstream_reused.inc();
            x.record.attempts = x.record.attempts.saturating_add(1);
            match self.attempt(x, connection, key, plan, (rivals, intake)).await {
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
        let connection = self.connect(x, plan).await?;
        self.attempt(x, connection, key, plan, (rivals, intake)).await
    }

    fn may_reuse(&self, x: &Exchange<'a>, plan: &Plan<'_>, kept: &Connection) -> bool {
        let reached = self.inside.map(Inside::reached);
        let aimed = Aimed { host: reached.as_ref().unwrap_or(plan.aimed.host), ..plan.aimed };
        leave::may_reuse(x, self.face, &aimed, plan.way, kept.server)
    }

    /// A new connection to the origin.
    async fn connect(&self, x: &mut Exchange<'a>, plan: &Plan<'_>) -> Result<Connection, Failure> {
        let (aimed, way) = (&plan.aimed, plan.way);
        let Some(inside) = self.inside else {
            // A parent that takes the absolute form goes by that, and not by `Host`, which the
            // client means (RFC 9112 §3.2.2).
            let purpose = if self.led.is_some() { Purpose::Tunnel } else { Purpose::Http };
            return leave::connect_chosen(x, self.face, aimed, (purpose, way)).await;
        };
        let reached = inside.reached();
        let aimed = Aimed { host: &reached, ..*aimed };
        let to = (Purpose::Tunnel, way);
        let connection = leave::connect_chosen(x, self.face, &aimed, to).await?;
        let secured = Box::pin(intercept::secure(x, self.face, inside, connection)).await;
        secured.inspect_err(|failure| inside.blame_exit(x, failure))
    }

    async fn attempt(
        &self,
        x: &mut Exchange<'a>,
        mut connection: Connection,
        key: &OriginKey,
        plan: &Plan<'_>,
        (rivals, intake): (Option<Rivals<'_>>, Option<&Intake<'_>>),
    ) -> Result<(), Failure> {
        x.record.server = Some(connection.server);
        let handshake = Handshake::of(&x.request.fields);
        // What is not idempotent is made once, whatever comes of it (RFC 9110 §9.2.2).
        let rivals = rivals.filter(|_| x.request.method.is_idempotent());
        let verdict = ExitVerdict::of(x, rivals);
        let terms = Terms {
            max_body: self.face.max_body,
            heads: self.face.heads,
            limits: &self.face.config.limits,
            upgrade: plan.upgrade,
            websocket: handshake.as_ref(),
            head: self.face.config.timeouts.response,
            response: self.face.config.timeouts.response,
            elsewhere: verdict.as_ref().map(|verdict| verdict as &dyn relay::Elsewhere),
            reused: connection.reused,
            pages: None,
            watch: verdict.as_ref().and_then(ExitVerdict::watch),
            intake,
            packing: None,
        };
        let mut up = H1Peer::new(connection.wire);
        up.lend_output(&x.core.blocks);
        self.write_request(x, &mut up, connection.absolute.as_ref());
        let mut up = UpPeer::H1(up);
        let server = connection.server.ip();
        let by_parent = connection.absolute.is_some();
        let localize = |x: &mut Exchange<'_>, head: &mut ResponseHead| {
            if by_parent && head.status == 407 {
                return Err(refused_by_parent(x));
            }
            if let Some(verdict) = &verdict {
                verdict.note(head);
            }
            if head.fields.values_named(b"www-authenticate").any(asks_for_connection) {
                x.mark.keep_alone();
            }
            self.admit_type(x, &plan.aimed, server, head)?;
            self.localize(x, head);
            Ok(())
        };
        let dress = |x: &mut Exchange<'_>, head: &mut ResponseHead| self.dress(x, head);
        let edits = Edits { localize: &localize, dress: &dress };
        let mut outcome = relay::run(x, &mut up, &terms, &edits).await;
        if let (Some(verdict), Err(failure)) = (&verdict, &mut outcome) {
            verdict.failed(failure);
            if failure.kind == Kind::ExitFailed && x.record.bytes_in == 0 {
                // Nobody has acted upon it.
                failure.retry = Retry::Unseen;
            }
        }
        let UpPeer::H1(mut up) = up else { return Ok(()) };
        match outcome? {
            Outcome::Complete { reusable } => {
                up.release(&x.core.blocks);
                if reusable {
                    connection.wire = up.wire;
                    let key = OriginKey { client: x.mark.alone(), ..key.clone() };
                    x.core.origins.keep(&key, connection);
                }
                Ok(())
            }
            Outcome::Upgraded => {
                let idle = self.face.config.timeouts.tunnel_idle;
                Box::pin(tunnel::run(x, tunnel::End::Wire(&mut up.wire), idle)).await
            }
        }
    }

    /// Whether the rules let an answer of this type through.
    fn admit_type(
        &self,
        x: &Exchange<'_>,
        aimed: &Aimed<'_>,
        server: IpAddr,
        head: &ResponseHead,
    ) -> Result<(), Failure> {
        let asked = aimed.asked(x);
        if !self.face.targets.cares_for_types(&asked) {
            return Ok(());
        }
        // Behind an exit the address is that of the exit, as often as not.
        let through_exit = x.guest.as_ref().is_some_and(|guest| guest.lease.is_some());
        let address = (!through_exit).then_some(server);
        let content_type = head.fields.get(FieldId::ContentType);
        let verdict = self.face.targets.admit_type(&asked, address, content_type);
        verdict.map_err(|reason| Failure::with(Kind::Denied, reason.as_str()))
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
                forwarding::append(fields, FieldId::XForwardedFor, text);
                forwarding::add_via(fields, number, pseudonym);
            }
            Anonymity::Anonymous => forwarding::add_via(fields, number, pseudonym),
            Anonymity::Elite => {
                fields.remove(FieldId::Via);
                fields.remove(FieldId::MaxForwards);
            }
        }
    }

    fn write_request(&self, x: &Exchange<'a>, up: &mut H1Peer, parent: Option<&Absolute>) {
        let coding = relay::coding_of(x.body);
        let out = up.begin(coding);
        let [path, query] = self.target_out(&x.request);
        match (parent, &self.aim.authority) {
            (Some(parent), Some(authority)) => {
                // The next proxy takes the absolute form (RFC 9112 §3.2.2).
                let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
                let origin = format!("http://{}{port}", authority.host);
                let path = if path == b"*" { &b""[..] } else { path };
                h1::write_request_line(
                    out,
                    x.request.method_text(),
                    &[origin.as_bytes(), path, query],
                );
                if let Some(credentials) = &parent.authorization {
                    out.extend_from_slice(b"Proxy-Authorization: ");
                    out.extend_from_slice(credentials.as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
            }
            _ => h1::write_request_line(out, x.request.method_text(), &[path, query]),
        }
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

    /// Makes the head of the response what all clients may see.
    fn localize(&self, x: &mut Exchange<'_>, head: &mut ResponseHead) {
        if self.face.config.anonymity != Anonymity::Elite {
            let number = head.version.number();
            forwarding::add_via(&mut head.fields, number, &x.view.snapshot.pseudonym);
        }
    }

    /// Adds what is said to this client alone.
    fn dress(&self, x: &mut Exchange<'_>, head: &mut ResponseHead) {
        for (name, value) in super::disclosed(x, self.face) {
            head.fields.push(name.as_bytes(), &[value.as_bytes()]);
        }
    }
}

/// An origin, as the cache asks it.
struct Straight<'s, 'a, 'b> {
    plain: &'s Plain<'a, 'b>,
    plan: &'s Plan<'s>,
}

impl<'a> Origin<'a> for Straight<'_, 'a, '_> {
    async fn relay(
        &self,
        x: &mut Exchange<'a>,
        intake: Option<&Intake<'_>>,
    ) -> Result<(), Failure> {
        let (plain, plan) = (self.plain, self.plan);
        let key = origin_key(x, plan.aimed.host, plan.aimed.port, plain.inside);
        let key = OriginKey { address: plain.led.or(key.address), ..key };
        plain.over_kept_or_new(x, plan, &key, None, intake).await
    }

    fn dress(&self, x: &mut Exchange<'_>, head: &mut ResponseHead) {
        self.plain.dress(x, head);
    }
}

/// A parent that asks for other credentials than ours: those are no business of the client, who
/// would take the challenge for one of its own. That the exit is ill is for its measurement to
/// say: it may be the target that answers so.
fn refused_by_parent(x: &Exchange<'_>) -> Failure {
    let failure = Failure::with(Kind::ExitFailed, "it asks for other credentials");
    let is_whole = x.body == BodyLength::None;
    failure.retry(if is_whole { Retry::Unseen } else { Retry::Never })
}

/// Whether another exit may do better, and the request may be made again.
fn is_worth_another(x: &Exchange<'_>, failure: &Failure) -> bool {
    match failure.retry {
        Retry::Unseen | Retry::Unwanted => true,
        Retry::Refused | Retry::Stale | Retry::Never => {
            let of_the_way = matches!(
                failure.kind,
                Kind::ConnectionTerminated
                    | Kind::ResponseIncomplete
                    | Kind::ResponseTimeout
                    | Kind::ReadTimeout
            );
            of_the_way && x.record.bytes_in == 0 && x.request.method.is_idempotent()
        }
    }
}
