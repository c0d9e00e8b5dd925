//! A request on its way to the servers behind a route: which of them it is tried on, how often,
//! and what is learnt of them by it.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use config::{Balance, HashKey, Upstream};
use message::framing::BodyLength;
use upstream::{
    Ask, Cluster, Connection, FailureClass, Lease, Link, Outcome, Tried, Unavailable, Verdict,
    Wish, stable_hash,
};

use crate::cache::Intake;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, Retry, Side};
use crate::forward::verdict::ExitVerdict;
use crate::peer::UpPeer;
use crate::preface::preface;
use crate::relay::{self, Edits, Elsewhere, Terms};
use crate::reverse::Forwarding;
use crate::tunnel::{self, End};
use crate::websocket::Handshake;

/// How often servers may say that they have not looked at a request: that is no failure of theirs
/// and costs no attempt, but it has to end.
const MAX_REFUSALS: u8 = 16;

impl<'a> Forwarding<'a, '_> {
    /// Relays the request to one of the servers of a group; `intake` may take the response in
    /// place of the client..
    pub(crate) async fn relay(
        &self,
        x: &mut Exchange<'a>,
        upstream: usize,
        intake: Option<&Intake<'_>>,
    ) -> Result<(), Failure> {
        if let BodyLength::Known(length) = x.body
            && length > self.route.max_body
        {
            return Err(Failure::new(Kind::RequestBodyTooLarge));
        }
        if let Some(unpacking) = self.route.unpacking.filter(|_| x.wrapped.is_none()) {
            unpacking.begin(x)?;
        }
        let cluster = &x.view.clusters[upstream];
        let config = cluster.plan().config();
        x.record.upstream = Some(upstream);
        // What servers are chosen by is what the client sent, before any rule changes it.
        let hash = self.hash(x, config);
        let pinned = pinned(x, config);
        let upgrade = self.prepare(x);
        let destination = x.destination.copied().unwrap_or(x.listener.address);
        let preface = preface(config, &x.client, destination);
        let mut tried = Tried::default();
        let (mut retries, mut refusals) = (0, 0);
        let mut again: Option<Lease> = None;
        let mut fresh = false;
        loop {
            let lease = match again.take() {
                // A server that only closed a kept connection is asked again, on a new one.
                Some(lease) => lease,
                None => {
                    let ask = Ask { hash, pinned: pinned.as_deref(), tried: &tried };
                    let lease = lease(x, cluster, &ask).await?;
                    tried.add(&lease);
                    lease
                }
            };
            x.record.attempts = x.record.attempts.saturating_add(1);
            let counters = x.core.counters.upstream(x.view.snapshot.cluster_labels[upstream]);
            counters.requests.inc();
            let left = retries < config.retry.attempts && refusals < MAX_REFUSALS;
            let elsewhere = Others { cluster, lease: &lease, tried: &tried };
            let attempt = Attempt {
                lease: &lease,
                wish: Wish { fresh, http1: upgrade, preface: preface.as_deref() },
                elsewhere: left.then_some(elsewhere),
                intake,
            };
            let outcome = self.attempt(x, &attempt).await;
            let Err(failure) = outcome else { return Ok(()) };
            if failure.kind.side() == Side::Upstream {
                counters.failures.inc();
            }
            match next(x, (cluster, &tried), &failure, fresh, left) {
                Next::GiveUp => return Err(failure),
                Next::SameServer => again = Some(lease),
                Next::NewStream => {
                    refusals += 1;
                    again = Some(lease);
                }
                Next::Another if failure.retry == Retry::Refused => refusals += 1,
                Next::Another => retries += 1,
            }
            fresh = failure.retry == Retry::Stale;
            x.core.counters.retries.inc();
            x.record.note_failure(&failure);
        }
    }

    async fn attempt(&self, x: &mut Exchange<'a>, attempt: &Attempt<'_>) -> Result<(), Failure> {
        let Attempt { lease, wish, elsewhere, intake } = *attempt;
        let upgrade = wish.http1;
        let link = open(x, lease, wish).await?;
        let server = link.server();
        x.record.server = Some(server);
        let member = lease.member();
        let verdict = link.exit().map(|exit| {
            exit.begin_another();
            ExitVerdict::over(exit, x.core.clock.now_ms(), None)
        });
        let websocket = if upgrade { Handshake::of(&x.request.fields) } else { None };
        let response = self.site.config.timeouts.response;
        let terms = Terms {
            max_body: self.route.max_body,
            heads: self.site.heads,
            limits: &self.site.config.limits,
            upgrade,
            websocket: websocket.as_ref(),
            head: lease.retry().attempt_timeout.map_or(response, |most| most.min(response)),
            response,
            reused: link.reused(),
            pages: Some(&self.route.error_pages),
            elsewhere: elsewhere
                .as_ref()
                .filter(|_| is_replayable(x))
                .map(|others| others as &dyn Elsewhere),
            watch: verdict.as_ref().and_then(ExitVerdict::watch),
            intake,
            packing: self.route.packing.as_deref(),
        };
        let sent = lease.wants_latency().then(Instant::now);
        let latency = || sent.map(|sent| sent.elapsed());
        let mut up = self.begin(x, member, link, upgrade).await?;
        let localize = |x: &mut Exchange<'_>, head: &mut message::ResponseHead| {
            lease.report(Outcome { latency: latency(), verdict: Verdict::Status(head.status) });
            if let Some(verdict) = &verdict {
                verdict.note(head);
            }
            self.localize(x, member, head);
            Ok(())
        };
        let dress = |x: &mut Exchange<'_>, head: &mut message::ResponseHead| {
            self.dress(x, head);
            if let Some(cookie) = lease.sticky_cookie(x.client.secure) {
                head.fields.push(b"Set-Cookie", &[cookie.as_bytes()]);
            }
        };
        let edits = Edits { localize: &localize, dress: &dress };
        let outcome = relay::run(x, &mut up, &terms, &edits).await;
        let outcome = outcome.inspect_err(|failure| {
            if failure.kind.is_server_timeout() {
                up.distrust();
            }
            report_failure(lease, failure, latency());
            if let Some(verdict) = &verdict {
                verdict.failed(failure);
            }
        })?;
        let idle = self.site.config.timeouts.tunnel_idle;
        match (outcome, up) {
            (relay::Outcome::Complete { reusable }, UpPeer::H1(mut up)) => {
                up.release(&x.core.blocks);
                // What is banned is not asked again.
                if reusable && !verdict.is_some_and(|verdict| verdict.bans()) {
                    lease.keep(Connection::used(up.wire, server));
                }
                Ok(())
            }
            (relay::Outcome::Complete { .. }, UpPeer::H2(_)) => Ok(()),
            (relay::Outcome::Upgraded, UpPeer::H1(mut up)) => {
                Box::pin(tunnel::run(x, End::Wire(&mut up.wire), idle)).await
            }
            (relay::Outcome::Upgraded, UpPeer::H2(up)) => {
                // The place on the connection is taken for as long as the tunnel lives.
                let (body, _slot) = up.into_body();
                let mut stream = Box::new(body.into_io());
                Box::pin(tunnel::run(x, End::Stream(&mut stream), idle)).await
            }
        }
    }

    /// What `balance "hash"` looks at.
    fn hash(&self, x: &Exchange<'a>, config: &Upstream) -> Option<u64> {
        let Balance::Hash { key, .. } = &config.balance else { return None };
        let fields = &x.request.fields;
        match key {
            HashKey::ClientIp => Some(stable_hash_of(x.client.address)),
            HashKey::Header(name) => fields.values_named(name.as_bytes()).next().map(stable_hash),
            HashKey::Cookie(name) => cookie(x, name).map(stable_hash),
            HashKey::Path => Some(stable_hash(&x.request.target()[self.path.path.clone()])),
        }
    }
}

/// A client's address as `balance "hash"` sees it.
pub(crate) fn stable_hash_of(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(ip) => stable_hash(&ip.octets()),
        IpAddr::V6(ip) => stable_hash(&ip.octets()),
    }
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
struct Attempt<'a> {
    lease: &'a Lease,
    /// The connection that is wanted: one of HTTP/1.1 if the client asks for another protocol.
    wish: Wish<'a>,
    /// `None`: this is the last one.
    elsewhere: Option<Others<'a>>,
    intake: Option<&'a Intake<'a>>,
}

/// The other servers of a group.
#[derive(Debug, Clone, Copy)]
struct Others<'a> {
    cluster: &'a Rc<Cluster>,
    lease: &'a Lease,
    tried: &'a Tried,
}

impl Elsewhere for Others<'_> {
    /// If so the answer counts for this server, and the retry for the budget.
    fn is_better_than(&self, _: &Exchange<'_>, head: &message::ResponseHead) -> bool {
        let better = self.lease.retry().statuses.contains(&head.status)
            && self.cluster.has_another(self.tried)
            && self.cluster.may_retry();
        if better {
            let verdict = Verdict::Status(head.status);
            self.lease.report(Outcome { latency: None, verdict });
        }
        better
    }
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GiveUp,
    /// The same server, on a new connection.
    SameServer,
    /// The same server, where it has room.
    NewStream,
    Another,
}

/// Decides whether a request is made again. `fresh`: the connection was not a kept one; `left`:
/// more attempts are allowed.
///
/// A server that could not be connected to has not seen the request, whatever it is. After
/// anything else nobody knows, so only requests that may be repeated are: those of an idempotent
/// method (RFC 9110 §9.2.2), or with a key by which the server knows them again, and of whose
/// body nothing was taken from the client yet.
fn next(
    x: &Exchange<'_>,
    (cluster, tried): (&Cluster, &Tried),
    failure: &Failure,
    fresh: bool,
    left: bool,
) -> Next {
    if x.head_sent || x.record.interim_sent {
        return Next::GiveUp;
    }
    let config = &cluster.plan().config().retry;
    match failure.retry {
        // That a kept connection was too old says nothing of the server: it costs no attempt.
        Retry::Stale if !fresh && is_replayable(x) => Next::SameServer,
        _ if !left => Next::GiveUp,
        // It has not been looked at, but what was taken of its body cannot be sent again.
        Retry::Refused if x.record.bytes_in > 0 => Next::GiveUp,
        Retry::Refused if cluster.has_another(tried) => Next::Another,
        Retry::Refused => Next::NewStream,
        Retry::Unseen | Retry::Unwanted => Next::Another,
        Retry::Never | Retry::Stale => {
            let worth_it = match failure.kind {
                Kind::ConnectionTerminated | Kind::ResponseIncomplete => true,
                kind if kind.is_server_timeout() => config.on_timeout,
                _ => false,
            };
            if worth_it && is_replayable(x) && cluster.may_retry() {
                Next::Another
            } else {
                Next::GiveUp
            }
        }
    }
}

/// Whether a request may be made again though a server may have seen it.
fn is_replayable(x: &Exchange<'_>) -> bool {
    let untouched = x.body == BodyLength::None || x.record.bytes_in == 0;
    let fields = &x.request.fields;
    untouched
        && (x.request.method.is_idempotent()
            || fields.values_named(b"idempotency-key").next().is_some())
}

/// A place at a server. It may be long in coming: a client that gives up meanwhile gives up its
/// place in line.
async fn lease(
    x: &mut Exchange<'_>,
    cluster: &Rc<Cluster>,
    ask: &Ask<'_>,
) -> Result<Lease, Failure> {
    let outcome = {
        let mut leasing = pin!(cluster.lease(ask));
        let down = &mut *x.down;
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = leasing.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            down.poll_gone(cx).map(|()| None)
        })
        .await
    };
    match outcome {
        Some(outcome) => outcome.map_err(|why| unavailable(x, why)),
        None => Err(Failure::with(Kind::ClientGone, "the stream was reset")),
    }
}

fn unavailable(x: &Exchange<'_>, why: Unavailable) -> Failure {
    match why {
        Unavailable::AllTried => x.record.last_failure(),
        why => Failure::of_unavailable(why),
    }
}

/// Tells the server's record of a failure that is its own.
pub(crate) fn report_failure(lease: &Lease, failure: &Failure, latency: Option<Duration>) {
    let timeout = failure.kind.is_server_timeout();
    let class = if timeout { FailureClass::Timeout } else { FailureClass::Broken };
    // A connection that was too old, and a stream that was refused, are no failures of it; an
    // answer that was not good enough is counted already.
    if failure.kind.side() == Side::Upstream && failure.retry == Retry::Never {
        lease.report(Outcome { latency, verdict: Verdict::Failure(class) });
    }
}

async fn open(x: &mut Exchange<'_>, lease: &Lease, wish: Wish<'_>) -> Result<Link, Failure> {
    if let Some(link) = lease.kept(wish) {
        x.core.counters.upstream_reused.inc();
        return Ok(link);
    }
    // Boxed: a request over a connection that is there has no need of the room.
    Box::pin(connect(x, lease, wish)).await
}

async fn connect(x: &mut Exchange<'_>, lease: &Lease, wish: Wish<'_>) -> Result<Link, Failure> {
    let started = Instant::now();
    let outcome = lease.open(wish).await;
    if !outcome.as_ref().is_ok_and(|opened| !opened.new) {
        x.record.connect = Some(started.elapsed());
    }
    match outcome {
        Ok(opened) if opened.new => {
            x.core.counters.upstream_opened.inc();
            if let Some(upstream) = x.record.upstream {
                let label = x.view.snapshot.cluster_labels[upstream];
                x.core.counters.upstream(label).connects.inc();
            }
            Ok(opened.link)
        }
        // Somebody else has opened one meanwhile.
        Ok(opened) => {
            x.core.counters.upstream_reused.inc();
            Ok(opened.link)
        }
        Err(error) => {
            x.core.counters.upstream_failed.inc();
            Err(Failure::of_connect(&error))
        }
    }
}

/// The value of the group's sticky cookie.
fn pinned(x: &Exchange<'_>, config: &Upstream) -> Option<Vec<u8>> {
    let sticky = config.sticky.as_ref()?;
    cookie(x, &sticky.cookie).map(<[u8]>::to_vec)
}

/// The value of a cookie (RFC 6265 §4.2.1); the first of its name.
fn cookie<'x>(x: &'x Exchange<'_>, name: &str) -> Option<&'x [u8]> {
    x.request.fields.values_named(b"cookie").find_map(|value| {
        value.split(|byte| *byte == b';').find_map(|pair| {
            let (found, value) = pair.trim_ascii().split_at_checked(name.len())?;
            (found == name.as_bytes()).then(|| value.strip_prefix(b"="))?
        })
    })
}
