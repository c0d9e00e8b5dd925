//! How what may be reached is reached: straight from this machine, or by an exit of a pool.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use accounts::{Account, Limits, Moment};
use config::{ResolveAt, Rotate, WayOut};
use egress::Refusal as Unfit;
use egress::{
    Asking, Exit, ExitError, ExitInfo, ExitKey, ExitLease, Fault, NoExit, Pool, Purpose, Reached,
    Sign, Via, Whose, Wish,
};
use message::{FieldId, Host};
use net::address::{AddressFilter, Refusal};
use net::dial::DialError;
use policy::{Admission, Asked, Entry, HostRef, Passed, Reason, RuleSet, Timestamp};
use tls::Io;
use upstream::Connection;

use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, Retry};
use crate::fare::Fare;
use crate::snapshot::Forward;

/// A target, as the forward face is asked for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aimed<'h> {
    /// By which the rules judge it.
    pub(crate) host: &'h Host<'h>,
    /// Where it is, if the client has said so besides: then no name is looked up.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) entry: Entry,
}

/// What an address has to pass before it is connected to.
struct Filter<'a> {
    face: &'a Forward,
    asked: Asked<'a>,
    /// The way by which it is going to be reached. A name may have addresses of which the rules
    /// say that others lead to them. `None`: the way of the tunnel that it is inside of.
    way: Option<WayOut>,
}

impl AddressFilter for Filter<'_> {
    fn check(&self, address: SocketAddr) -> Result<(), Refusal> {
        let passed = self.face.targets.check(&self.asked, address);
        let passed = passed.map_err(|reason| Refusal { reason: reason.as_str() })?;
        let way = way_of(self.face, &passed);
        match self.way.is_none_or(|chosen| chosen == way) {
            true => Ok(()),
            false => Err(Refusal { reason: "another_exit" }),
        }
    }
}

/// Who asks, where there is no request that tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Who {
    user: Option<String>,
    rules: Option<Arc<RuleSet>>,
}

impl Who {
    pub(crate) fn of(x: &Exchange<'_>) -> Self {
        let rules = x.guest.as_ref().and_then(|guest| guest.rules.clone());
        Self { user: x.record.user.clone(), rules }
    }

    /// What the rules are asked about a target.
    pub(crate) fn asks<'q>(&'q self, host: &'q Host<'q>, port: u16, entry: Entry) -> Asked<'q> {
        let (user, rules) = (self.user.as_deref(), self.rules.as_deref());
        Asked { user, rules, ..asked(host, port, entry) }
    }
}

/// Whether this very address may be reached for this target, for what is not connected to.
pub(crate) fn check(face: &Forward, asked: &Asked<'_>, address: SocketAddr) -> Result<(), Failure> {
    check_way(face, asked, address).map(drop)
}

/// The same, and by which way it is to be reached.
pub(crate) fn check_way(
    face: &Forward,
    asked: &Asked<'_>,
    address: SocketAddr,
) -> Result<WayOut, Failure> {
    let passed = face.targets.check(asked, address).map_err(of_reason)?;
    Ok(way_of(face, &passed))
}

/// The way of what the rules let through: that of the rule, or else that of the listener.
fn way_of(face: &Forward, passed: &Passed) -> WayOut {
    face.targets.way_out(passed).unwrap_or(face.config.exit)
}

pub(crate) fn host_ref<'h>(host: &'h Host<'_>) -> HostRef<'h> {
    match host {
        Host::Name(name) => HostRef::Name(name),
        Host::Address(address) => HostRef::Address(*address),
    }
}

/// What the rules are asked about a target, as far as it goes without its request.
pub(crate) fn asked<'h>(host: &'h Host<'h>, port: u16, entry: Entry) -> Asked<'h> {
    Asked::new(host_ref(host), port, entry, Timestamp::now())
}

impl<'h> Aimed<'h> {
    /// What the rules are asked about it.
    pub(crate) fn asked<'q>(&self, x: &'q Exchange<'_>) -> Asked<'q>
    where
        'h: 'q,
    {
        let method = std::str::from_utf8(x.request.method_text()).unwrap_or_default();
        Asked {
            method,
            user: x.record.user.as_deref(),
            agent: x.request.fields.received(FieldId::UserAgent),
            rules: x.guest.as_ref().and_then(|guest| guest.rules.as_deref()),
            ..asked(self.host, self.port, self.entry)
        }
    }

    /// The target as exits' records know it.
    pub(crate) fn name(&self) -> String {
        match self.host {
            Host::Name(name) => name.clone().into_owned(),
            Host::Address(address) => address.to_string(),
        }
    }
}

/// Connects by a way, for a tunnel. `tried` are the exits that came to nothing.
pub(crate) async fn connect(
    x: &mut Exchange<'_>,
    face: &Forward,
    aimed: &Aimed<'_>,
    way: WayOut,
    tried: &mut Vec<ExitKey>,
) -> Result<Connection, Failure> {
    let Some(pool) = pool_of(face, way)? else {
        let connection = straight(x, face, aimed, Some(way)).await?;
        begin_metering(x, None, aimed);
        return Ok(connection);
    };
    loop {
        let lease = choose(x, pool, aimed, tried).await?;
        match by_exit(x, face, aimed, &lease, (Purpose::Tunnel, Some(way))).await {
            Ok(connection) => {
                begin_metering(x, Some(Rc::new(lease)), aimed);
                return Ok(connection);
            }
            Err(failure) => give_up_or_go_on(x, pool, &lease, failure, tried)?,
        }
    }
}

/// After an exit that came to nothing: the failure, if it is not worth another one.
pub(crate) fn give_up_or_go_on(
    x: &mut Exchange<'_>,
    pool: &Pool,
    lease: &ExitLease,
    failure: Failure,
    tried: &mut Vec<ExitKey>,
) -> Result<(), Failure> {
    tried.push(lease.key());
    if failure.retry != Retry::Unseen || tried.len() >= pool.config().attempts as usize {
        return Err(failure);
    }
    x.core.counters.retries.inc();
    x.record.note_failure(&failure);
    Ok(())
}

/// The pool that a way leads to; `None`: straight from this machine.
pub(crate) fn pool_of(face: &Forward, way: WayOut) -> Result<Option<&Arc<Pool>>, Failure> {
    match way {
        WayOut::Direct => Ok(None),
        WayOut::Pool(index) => {
            let pool = face.pools.get(index);
            pool.map(Some).ok_or_else(|| Failure::internal("no such pool of exits"))
        }
    }
}

/// Whether a target may be reached, as far as can be said before its name is resolved.
pub(crate) fn admit(face: &Forward, asked: &Asked<'_>) -> Result<(), Failure> {
    match face.targets.admit(asked) {
        Admission::Allowed | Admission::AfterResolution => Ok(()),
        Admission::Refused(reason) => Err(of_reason(reason)),
    }
}

fn of_reason(reason: Reason) -> Failure {
    let kind = match reason {
        Reason::PortNotAllowed | Reason::DeniedByRule(_) | Reason::DeniedByUserRule(_) => {
            Kind::Denied
        }
        Reason::AddressClosed | Reason::OwnListener | Reason::AdminListener => Kind::IpProhibited,
    };
    Failure::with(kind, reason.as_str())
}

/// Whether a target may be reached, and by which way.
pub(crate) async fn way_out(
    x: &mut Exchange<'_>,
    face: &Forward,
    aimed: &Aimed<'_>,
) -> Result<WayOut, Failure> {
    let way = way_by_rules(x, face, aimed).await?;
    if way == WayOut::Direct {
        straight_is_allowed(x)?;
    }
    Ok(way)
}

/// Whether whoever asks may leave by no exit at all.
pub(crate) fn straight_is_allowed(x: &Exchange<'_>) -> Result<(), Failure> {
    let Some(guest) = &x.guest else { return Ok(()) };
    let limits = guest.account.as_ref().map(|account| account.limits());
    may_go_straight(&guest.wish, limits.as_deref())
}

/// Whether somebody may leave by no exit at all: whoever wishes for one, or may have certain ones
/// only, may not.
pub(crate) fn may_go_straight(wish: &Wish, limits: Option<&Limits>) -> Result<(), Failure> {
    if let Some(key) = wish.of_the_exit() {
        return Err(Failure::of_no_exit(&NoExit::NoMatch { key }));
    }
    match limits {
        Some(limits) if !limits.allows_exit("direct", "") || !limits.allows_country(None) => {
            Err(Failure::of_no_exit(&NoExit::NotAllowed))
        }
        _ => Ok(()),
    }
}

/// Whether a target may be reached, and by which way.
///
/// A name is resolved here where a rule about addresses may decide otherwise than those about
/// names. The first of its addresses that may be reached then stands for it.
async fn way_by_rules(
    x: &mut Exchange<'_>,
    face: &Forward,
    aimed: &Aimed<'_>,
) -> Result<WayOut, Failure> {
    let asked = aimed.asked(x);
    admit(face, &asked)?;
    let name = match (aimed.address, aimed.host) {
        (Some(ip), _) | (None, &Host::Address(ip)) => {
            return check_way(face, &asked, SocketAddr::new(ip, aimed.port));
        }
        (None, Host::Name(name)) => name,
    };
    if !face.has_pools() {
        return Ok(WayOut::Direct);
    }
    if let Ok(by_name) = face.targets.pass_by_name(&asked)
        && !by_name.undecided
    {
        return Ok(way_of(face, &by_name.passed));
    }
    let addresses = x.core.resolver.lookup(name).await;
    let addresses = addresses.map_err(|error| Failure::of_exit(&ExitError::Dns(error)))?;
    let mut refused = Reason::AddressClosed;
    for ip in addresses.iter() {
        match face.targets.check(&asked, SocketAddr::new(*ip, aimed.port)) {
            Ok(passed) => return Ok(way_of(face, &passed)),
            Err(reason) => refused = reason,
        }
    }
    Err(of_reason(refused))
}

/// From this machine.
async fn straight(
    x: &mut Exchange<'_>,
    face: &Forward,
    aimed: &Aimed<'_>,
    way: Option<WayOut>,
) -> Result<Connection, Failure> {
    let timeout = face.config.timeouts.connect;
    let started = Instant::now();
    let outcome = {
        let filter = Filter { face, asked: aimed.asked(x), way };
        let exit = Exit::default();
        let known = aimed.address.map(Host::Address);
        let host = known.as_ref().unwrap_or(aimed.host);
        exit.reach(&x.core.resolver, host, aimed.port, &filter, timeout).await
    };
    match note_attempt(x, started, outcome) {
        Ok((stream, address)) => {
            x.record.server = Some(address);
            Ok(Connection::new(Io::Tcp(stream), address))
        }
        Err(error) => Err(Failure::of_exit(&error)),
    }
}

fn note_attempt<T>(
    x: &mut Exchange<'_>,
    started: Instant,
    outcome: Result<T, ExitError>,
) -> Result<T, ExitError> {
    x.record.connect = Some(started.elapsed());
    x.record.attempts = x.record.attempts.saturating_add(1);
    match &outcome {
        Ok(_) => x.core.counters.upstream_opened.inc(),
        // An address that the rules refuse was not connected to.
        Err(ExitError::Dial(DialError::Prohibited(_))) => {}
        Err(_) => x.core.counters.upstream_failed.inc(),
    }
    outcome
}

/// By an exit. What that says of the exit is reported.
pub(crate) async fn by_exit(
    x: &mut Exchange<'_>,
    face: &Forward,
    aimed: &Aimed<'_>,
    lease: &ExitLease,
    (purpose, way): (Purpose, Option<WayOut>),
) -> Result<Connection, Failure> {
    let known = aimed.address.map(Host::Address);
    let host = known.as_ref().unwrap_or(aimed.host);
    let resolve = resolve_at(x, face, host, lease).await?;
    let started = Instant::now();
    let outcome = {
        let filter = Filter { face, asked: aimed.asked(x), way };
        let config = lease.pool_config();
        let via = Via {
            resolver: &x.core.resolver,
            filter: &filter,
            timeout: face.config.timeouts.connect,
            prefer: config.prefer.unwrap_or_default(),
            resolve,
        };
        lease.way().reach(lease.source(), host, aimed.port, purpose, &via).await
    };
    let now = x.core.clock.now_ms();
    match note_attempt(x, started, outcome) {
        Ok(Reached { io, early, address, absolute }) => {
            lease.report(&Sign::Connected, now);
            x.record.server = Some(address);
            let mut connection = Connection::new(io, address);
            connection.wire.put_back(early);
            connection.absolute = absolute;
            Ok(connection)
        }
        Err(error) => {
            let failure = Failure::of_exit(&error);
            if error.fault() == Fault::Exit {
                lease.report(&Sign::Unreachable, now);
            }
            // Another exit changes nothing where the target is at fault.
            let retry = if error.fault() == Fault::Target { Retry::Never } else { Retry::Unseen };
            Err(failure.retry(retry))
        }
    }
}

/// Who resolves the name of a target; `None`: whoever does for parents of this kind.
///
/// A parent that runs on this machine reaches what listens on its loopback addresses, the admin
/// listener too, and anybody can have a name that leads there. So only a pool that says so gives it
/// names; a wish does not.
async fn resolve_at(
    x: &Exchange<'_>,
    face: &Forward,
    host: &Host<'_>,
    lease: &ExitLease,
) -> Result<Option<ResolveAt>, Failure> {
    if is_of_the_machine(host) {
        return Ok(Some(ResolveAt::Here));
    }
    let wished = x.guest.as_ref().and_then(|guest| guest.wish.resolve);
    let said = match lease.pool_config().resolve {
        Some(ResolveAt::Exit) => return Ok(wished.or(Some(ResolveAt::Exit))),
        Some(ResolveAt::Here) => Some(ResolveAt::Here),
        None if matches!(host, Host::Address(_)) => None,
        None => {
            let resolver = &x.core.resolver;
            let by_ours = lease.way().ends_at(resolver, |address| face.own.is_here(address)).await;
            by_ours.then_some(ResolveAt::Here)
        }
    };
    match (said, wished) {
        (Some(ResolveAt::Here), Some(ResolveAt::Exit)) => {
            let refused = Failure::of_no_exit(&NoExit::NoMatch { key: "resolve" });
            // One of another pool, or elsewhere, may do it.
            Err(refused.retry(Retry::Unseen))
        }
        (said, wished) => Ok(said.or(wished)),
    }
}

/// Whether a name leads to the loopback addresses of the machine that resolves it (RFC 6761 §6.3).
/// A parent that runs on this machine would lead it to our own listeners: so it is resolved here,
/// whatever anybody wishes, and judged by its addresses.
fn is_of_the_machine(host: &Host<'_>) -> bool {
    let Host::Name(name) = host else { return false };
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    ["localhost", "localhost.localdomain"].iter().any(|own| {
        name.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// An exit that does. Where all that would do were used too shortly ago, and where that of the
/// session is busy, it is waited for.
pub(crate) async fn choose(
    x: &mut Exchange<'_>,
    pool: &Arc<Pool>,
    aimed: &Aimed<'_>,
    tried: &[ExitKey],
) -> Result<ExitLease, Failure> {
    let host = aimed.name();
    let begun = x.core.clock.now_ms();
    loop {
        let now = x.core.clock.now_ms();
        let outcome = ask_for_exit(x, pool, &host, aimed.port, tried, now);
        let wait = match outcome {
            Ok(lease) => return Ok(lease),
            Err(why) => match why.ask_again_in(now - begun) {
                Some(wait) => wait,
                None => return Err(no_exit(x, why)),
            },
        };
        let mut waiting = pin!(tokio::time::sleep(Duration::from_millis(wait)));
        let down = &mut *x.down;
        let gone = poll_fn(|cx| {
            if waiting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            down.poll_gone(cx).map(|()| true)
        });
        if gone.await {
            return Err(Failure::with(Kind::ClientGone, "the stream was reset"));
        }
    }
}

fn ask_for_exit(
    x: &Exchange<'_>,
    pool: &Arc<Pool>,
    host: &str,
    port: u16,
    tried: &[ExitKey],
    now_ms: u64,
) -> Result<ExitLease, NoExit> {
    asking(x, pool, (host, port), tried, now_ms, |asking| pool.choose(asking))
}

/// Whether another exit would do, now or when it has rested.
pub(crate) fn has_another(
    x: &Exchange<'_>,
    pool: &Arc<Pool>,
    aimed: &Aimed<'_>,
    tried: &[ExitKey],
) -> bool {
    let now = x.core.clock.now_ms();
    let may = |refusal: Option<Unfit>| matches!(refusal, None | Some(Unfit::Paced { .. }));
    asking(x, pool, (&aimed.name(), aimed.port), tried, now, |asking| {
        pool.candidates(asking).iter().any(|candidate| may(candidate.refusal))
    })
}

/// Whether somebody may leave by an exit: by its limits, and by what is left of its budgets where
/// it has an account.
pub(crate) fn may_leave_by(
    exit: &ExitInfo,
    limits: &Limits,
    account: Option<&Account>,
    now: Moment,
) -> bool {
    limits.allows_exit(exit.name(), exit.pool())
        && limits.allows_country(exit.country())
        && account.is_none_or(|account| account.affords(now, exit.price()).is_ok())
}

fn asking<T>(
    x: &Exchange<'_>,
    pool: &Pool,
    (host, port): (&str, u16),
    tried: &[ExitKey],
    now_ms: u64,
    ask: impl FnOnce(&Asking<'_>) -> T,
) -> T {
    let nothing = Wish::default();
    let guest = x.guest.as_deref();
    let account = guest.and_then(|guest| guest.account.as_ref());
    let may = account.map(|account| (account.limits(), Moment::now()));
    let allowed = |exit: &ExitInfo| match &may {
        None => true,
        Some((limits, now)) => may_leave_by(exit, limits, account.map(|it| &**it), *now),
    };
    ask(&Asking {
        wish: guest.map_or(&nothing, |guest| &guest.wish),
        whose: Whose {
            set: account.map(|account| account.set()).unwrap_or_default(),
            user: x.record.user.as_deref().unwrap_or_default(),
        },
        host,
        port,
        connection: (pool.config().rotate == Rotate::PerConnection).then(|| x.mark.get()),
        allowed: &allowed,
        tried,
        now_ms,
    })
}

/// What a client is told where there is no exit for it.
pub(crate) fn no_exit(x: &mut Exchange<'_>, why: NoExit) -> Failure {
    match why {
        NoExit::AllTried => x.record.last_failure(),
        NoExit::Paced { wait_ms, .. } => {
            x.record.retry_after = Some(Duration::from_millis(wait_ms));
            Failure::of_no_exit(&why)
        }
        NoExit::NotAllowed => {
            // Whoever has no money left may have none of those that cost something.
            let account = x.guest.as_ref().and_then(|guest| guest.account.clone());
            let spent = account.and_then(|account| account.affords(Moment::now(), Some(1)).err());
            match spent {
                Some(denied) => {
                    x.record.retry_after = denied.retry_after();
                    crate::fare::of_denied(&denied)
                }
                None => Failure::of_no_exit(&why),
            }
        }
        why => Failure::of_no_exit(&why),
    }
}

/// From here on every byte is counted, for the user and for the exit. Nobody counts what leaves
/// straight, for nobody in particular.
pub(crate) fn begin_metering(
    x: &mut Exchange<'_>,
    lease: Option<Rc<ExitLease>>,
    aimed: &Aimed<'_>,
) {
    if lease.is_none() && x.guest.as_ref().is_none_or(|guest| guest.account.is_none()) {
        return;
    }
    let core = x.core;
    let guest = x.guest.get_or_insert_default();
    let account = guest.account.get_or_insert_with(|| core.nobody.clone());
    let (exit, price) = match &lease {
        Some(lease) => (lease.exit().name(), lease.exit().price()),
        None => ("direct", None),
    };
    let meter = account.meter(Moment::now(), exit, price, &aimed.name());
    guest.fare = Some(Fare::new(meter));
    guest.lease = lease;
}

/// Connects by the exit that was chosen, or straight.
pub(crate) async fn connect_chosen(
    x: &mut Exchange<'_>,
    face: &Forward,
    aimed: &Aimed<'_>,
    (purpose, way): (Purpose, Option<WayOut>),
) -> Result<Connection, Failure> {
    match x.guest.as_ref().and_then(|guest| guest.lease.clone()) {
        None => straight(x, face, aimed, way).await,
        Some(lease) => by_exit(x, face, aimed, &lease, (purpose, way)).await,
    }
}

/// Whether a connection that is kept may carry this request too. Another one was let through to
/// its address, and rules tell requests apart: by method, by user agent, by the hour.
pub(crate) fn may_reuse(
    x: &Exchange<'_>,
    face: &Forward,
    aimed: &Aimed<'_>,
    way: Option<WayOut>,
    server: SocketAddr,
) -> bool {
    let lease = x.guest.as_ref().and_then(|guest| guest.lease.as_ref());
    if lease.is_some_and(|lease| !lease.way().is_direct()) {
        // It is the address of a parent.
        return true;
    }
    let server = SocketAddr::new(net::canonical(server.ip()), aimed.port);
    Filter { face, asked: aimed.asked(x), way }.check(server).is_ok()
}
