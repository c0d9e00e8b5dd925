//! A group of servers on one core: which of them takes a request, and the connections kept to
//! them.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::{Balance, Scheme};
use egress::Exit;
use net::dial::DialError;
use net::resolver::{DnsError, Resolver};
use net::watchdog::Watchdog;
use tls::ClientTls;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::balance::{self, Candidate, Refused, UNIT, shortlist};
use crate::by_exit::ByExit;
use crate::endpoint::ramp;
use crate::lease::{Admitted, Lease};
use crate::member::{Member, Members};
use crate::plan::ClusterPlan;
use crate::queue::Want;
use crate::status::condition;
use crate::{Connection, Multiplex, sticky};

/// One group on one core.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) plan: Arc<ClusterPlan>,
    pub(crate) clock: Rc<Watchdog>,
    pub(crate) exit: Exit,
    /// Where it is not reached straight.
    pub(crate) by_exit: Option<ByExit>,
    changes: RefCell<watch::Receiver<Arc<Members>>>,
    view: RefCell<View>,
    random: Cell<u64>,
    turn: Cell<usize>,
    /// Counts requests, to look at some of them.
    sample: Cell<u8>,
}

/// The servers as this core sees them.
#[derive(Debug, Default)]
struct View {
    members: Arc<Members>,
    /// One for each member, in its order.
    slots: Vec<Rc<Slot>>,
    /// For the turns of round robin.
    waited: Vec<i64>,
    /// Room for a choice.
    facts: Vec<Candidate>,
}

/// A server on this core.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) member: Arc<Member>,
    pub(crate) pool: Rc<Pool>,
}

/// What one core keeps for a server, from one set of members to the next.
#[derive(Debug)]
pub(crate) struct Pool {
    /// How TLS is done with it.
    pub(crate) tls: Option<ClientTls>,
    /// The same for a connection that must be one of HTTP/1.1.
    pub(crate) tls_http1: Option<ClientTls>,
    pub(crate) idle: RefCell<Vec<Connection>>,
    /// Connections that carry many requests.
    pub(crate) shared: Multiplex,
    /// It has chosen HTTP/1.1 where it had the choice.
    pub(crate) chose_http1: Cell<bool>,
    /// It is a server of the group no more: nothing is kept.
    pub(crate) gone: Cell<bool>,
}

/// What a request wants.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// A [`crate::stable_hash`] of what `balance "hash"` looks at; `None`: the request has no
    /// such thing.
    pub hash: Option<u64>,
    /// The value of the sticky cookie that came with it.
    pub pinned: Option<&'a [u8]>,
    /// Where it has been.
    pub tried: &'a Tried,
}

/// The servers that a request has been to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    ids: [u64; Self::MOST],
    count: u8,
}

/// Why no server takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// The group has none that would.
    NoServer,
    /// All have as many requests as they may have, and as many wait as may.
    QueueFull,
    /// It has waited too long for a free place.
    QueueTimeout,
    /// So much fails that the group is given a rest.
    CircuitOpen,
    /// The names of the servers are not resolved.
    Unresolved(DnsError),
    /// It has been to all of them.
    AllTried,
}

/// Why a server could not be connected to.
#[derive(Debug)]
pub enum ConnectError {
    /// The name of the server is not resolved.
    Unresolved(DnsError),
    /// The connection failed.
    Dial(DialError),
    /// Its TLS handshake failed.
    Tls(tls::ConnectError),
    /// Nothing came of it in time.
    Timeout,
    /// The exit failed, or the server did by way of it.
    Exit(egress::ExitError),
    /// There is no exit for it.
    NoExit(egress::NoExit),
}

/// What a request does whose own server is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    /// It waits for it.
    Wait,
    /// It goes to another one.
    Leave,
}

/// A place that was taken.
pub(crate) struct Taken {
    pub(crate) slot: Rc<Slot>,
    /// It tries whether the server is back.
    pub(crate) trial: bool,
    /// The cookie of the request points to a server that it will find again.
    pub(crate) pinned: bool,
}

impl Cluster {
    /// The group on this core.
    #[must_use]
    pub fn new(plan: Arc<ClusterPlan>, clock: Rc<Watchdog>, resolver: &Resolver) -> Self {
        let changes = plan.subscribe();
        let turn = plan.cores.fetch_add(1, Ordering::Relaxed);
        let cluster = Self {
            changes: RefCell::new(changes),
            view: RefCell::default(),
            random: Cell::new(RandomState::new().hash_one(turn)),
            turn: Cell::new(turn),
            sample: Cell::new(0),
            exit: Exit::default(),
            by_exit: plan.exits.clone().map(|pool| ByExit { pool, resolver: resolver.clone() }),
            plan,
            clock,
        };
        cluster.adopt_members();
        cluster
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.plan.name()
    }

    /// What all cores share of it.
    #[must_use]
    pub fn plan(&self) -> &Arc<ClusterPlan> {
        &self.plan
    }

    /// The server that takes a request, with a place there. Where one has room this neither
    /// waits nor allocates; else it waits in line as long as the group says, and for the first
    /// addresses of a name as long as connecting may take.
    ///
    /// # Errors
    /// See [`Unavailable`].
    pub async fn lease(self: &Rc<Self>, ask: &Ask<'_>) -> Result<Lease, Unavailable> {
        let now = self.clock.now_ms();
        // One counter for all cores: only where somebody asks how many there were.
        if ask.tried.count == 0 && self.plan.config().retry.attempts > 0 {
            self.plan.budget.request(now);
        }
        let admitted = Admitted::by(self, now).ok_or(Unavailable::CircuitOpen)?;
        let others_wait = self.plan.queue.as_ref().is_some_and(|queue| queue.is_contended());
        let refused = if others_wait {
            Refused::Full
        } else {
            match self.take(ask, Full::Wait) {
                Ok(taken) => return Ok(Lease::new(taken, admitted)),
                Err(refused) => refused,
            }
        };
        let taken = match refused {
            Refused::AllTried => return Err(Unavailable::AllTried),
            Refused::Full => Box::pin(self.queue_up(ask)).await?,
            Refused::NoServer => Box::pin(self.take_when_resolved(ask)).await?,
        };
        Ok(Lease::new(taken, admitted))
    }

    /// Whether another attempt is allowed: so many of all requests may be made again. That is
    /// counted with the question.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.plan.budget.retry(self.clock.now_ms())
    }

    /// Whether somebody well is left that this request has not been to.
    #[must_use]
    pub fn has_another(&self, tried: &Tried) -> bool {
        self.adopt_members();
        let view = &mut *self.view.borrow_mut();
        self.gather(view, tried, self.clock.now_ms());
        // One that is full now may have room by then.
        view.facts.iter_mut().for_each(|fact| fact.limit = u32::MAX);
        shortlist(&mut view.facts, self.plan.config().panic).is_ok()
    }

    async fn queue_up(&self, ask: &Ask<'_>) -> Result<Taken, Unavailable> {
        let (Some(queue), Some(max)) = (&self.plan.queue, &self.plan.config().max_connections)
        else {
            return Err(Unavailable::QueueFull);
        };
        let waiting =
            queue.wait(self.want(ask), || self.take(ask, Full::Wait).map_err(|_| self.want(ask)));
        match timeout(max.queue_timeout, waiting).await {
            Ok(Ok(taken)) => Ok(taken),
            // Nobody is turned away while a server has room.
            Ok(Err(_full)) => self.take(ask, Full::Leave).map_err(|_| Unavailable::QueueFull),
            Err(_) => Err(Unavailable::QueueTimeout),
        }
    }

    /// What it would wait for. A cookie that names no server asks for nothing.
    fn want(&self, ask: &Ask<'_>) -> Want {
        self.adopt_members();
        let view = self.view.borrow();
        let pinned = ask
            .pinned
            .and_then(|cookie| self.pinned(&view, cookie, ask.tried, self.clock.now_ms()));
        match pinned {
            Some(slot) => Want::One(slot.member.endpoint.id()),
            None if ask.tried.count > 0 => Want::Other,
            None => Want::Any,
        }
    }

    async fn take_when_resolved(&self, ask: &Ask<'_>) -> Result<Taken, Unavailable> {
        let mut members = self.plan.subscribe();
        let known = members.wait_for(|members| !members.list.is_empty() || !members.pending);
        match timeout(self.plan.connect_timeout(), known).await {
            Ok(Ok(members)) => {
                if members.list.is_empty()
                    && let Some(error) = &members.error
                {
                    return Err(Unavailable::Unresolved(error.clone()));
                }
            }
            Ok(Err(_)) | Err(_) => return Err(Unavailable::Unresolved(DnsError::Timeout)),
        }
        match self.take(ask, Full::Wait) {
            Ok(taken) => Ok(taken),
            Err(Refused::NoServer) => Err(Unavailable::NoServer),
            Err(Refused::AllTried) => Err(Unavailable::AllTried),
            Err(Refused::Full) => self.queue_up(ask).await,
        }
    }

    /// Chooses a server and takes a place there. `full` is what becomes of a request whose cookie
    /// points to a server without room.
    fn take(&self, ask: &Ask<'_>, full: Full) -> Result<Taken, Refused> {
        self.adopt_members();
        let now = self.clock.now_ms();
        let view = &mut *self.view.borrow_mut();
        let limit = self.limit();
        let mut pinned = false;
        if let Some(slot) = ask.pinned.and_then(|cookie| self.pinned(view, cookie, ask.tried, now))
        {
            if slot.member.endpoint.enter(limit) {
                let slot = Rc::clone(slot);
                return Ok(Taken { slot, trial: false, pinned: true });
            }
            // It is where its session is: worth waiting for, where there is a line.
            if full == Full::Wait
                && self.plan.config().max_connections.as_ref().is_some_and(|max| max.queue > 0)
            {
                return Err(Refused::Full);
            }
            pinned = true;
        }
        self.gather(view, ask.tried, now);
        loop {
            shortlist(&mut view.facts, self.plan.config().panic)?;
            let index = self.choose(view, ask).ok_or(Refused::NoServer)?;
            let slot = &view.slots[index];
            let endpoint = &slot.member.endpoint;
            if endpoint.enter(limit) {
                let trial = endpoint.begin_trial(now);
                return Ok(Taken { slot: Rc::clone(slot), trial, pinned });
            }
            // Another core took the last place since we looked.
            view.facts[index].in_flight = limit;
        }
    }

    /// The server that a cookie points to, if it can be used: also one that takes no others.
    fn pinned<'v>(
        &self,
        view: &'v View,
        cookie: &[u8],
        tried: &Tried,
        now: u64,
    ) -> Option<&'v Rc<Slot>> {
        // All are compared: how long it takes tells nothing.
        let mut found = None;
        for slot in &view.slots {
            if sticky::is_value(&slot.member.cookie, cookie) {
                found = Some(slot);
            }
        }
        found.filter(|slot| {
            condition(&slot.member, now) == balance::Condition::Well && !tried.has(slot.member.id)
        })
    }

    fn limit(&self) -> u32 {
        self.plan.config().max_connections.as_ref().map_or(u32::MAX, |max| max.limit)
    }

    /// What is to be known of the servers for a choice.
    fn gather(&self, view: &mut View, tried: &Tried, now: u64) {
        let config = self.plan.config();
        let limit = self.limit();
        view.facts.clear();
        view.facts.extend(view.slots.iter().map(|slot| {
            let member = &*slot.member;
            let mut weight = if member.draining { 0 } else { member.weight * UNIT };
            if !config.slow_start.is_zero() && weight > 0 {
                let part = ramp(member.endpoint.well_since(now), now, config.slow_start);
                weight = (u64::from(weight) * u64::from(part) / 1000).max(1) as u32;
            }
            Candidate {
                id: member.id,
                weight,
                tier: member.tier,
                in_flight: member.endpoint.in_flight(),
                limit,
                condition: condition(member, now),
                tried: tried.has(member.id),
                listed: false,
            }
        }));
    }

    fn choose(&self, view: &mut View, ask: &Ask<'_>) -> Option<usize> {
        match &self.plan.config().balance {
            Balance::RoundRobin => balance::round_robin(&view.facts, &mut view.waited),
            Balance::LeastRequests => {
                let turn = self.turn.get();
                self.turn.set(turn.wrapping_add(1));
                balance::least_requests(&view.facts, turn)
            }
            Balance::PeakEwma => {
                let now = self.clock.now_ms();
                let latency = |index: usize| view.slots[index].member.endpoint.peak_latency(now);
                balance::peak_ewma(&view.facts, self.next_random(), latency)
            }
            Balance::Random => balance::random(&view.facts, self.next_random()),
            Balance::Hash { bound, .. } => match ask.hash {
                Some(key) => balance::consistent(&view.facts, key, *bound),
                None => balance::random(&view.facts, self.next_random()),
            },
        }
    }

    /// One request of sixteen.
    pub(crate) fn is_sampled(&self) -> bool {
        let count = self.sample.get();
        self.sample.set(count.wrapping_add(1));
        count.is_multiple_of(16)
    }

    fn next_random(&self) -> u64 {
        let next = balance::mix(self.random.get());
        self.random.set(next);
        next
    }

    /// Takes the servers as they are now, if they have changed. What is kept for those that stay
    /// stays.
    fn adopt_members(&self) {
        let first = self.view.borrow().slots.is_empty();
        if !first && !matches!(self.changes.borrow().has_changed(), Ok(true)) {
            return;
        }
        let members = Arc::clone(&self.changes.borrow_mut().borrow_and_update());
        let mut view = self.view.borrow_mut();
        if Arc::ptr_eq(&members, &view.members) {
            return;
        }
        let old = std::mem::take(&mut *view);
        let before = |member: &Member| {
            old.slots.iter().position(|slot| Arc::ptr_eq(&slot.member.endpoint, &member.endpoint))
        };
        for member in &members.list {
            let known = before(member);
            let pool = known.map(|index| Rc::clone(&old.slots[index].pool));
            view.slots.push(Rc::new(Slot {
                pool: pool.unwrap_or_else(|| Rc::new(Pool::new(self.tls_of(member)))),
                member: Arc::clone(member),
            }));
            view.waited.push(known.map_or(0, |index| old.waited[index]));
        }
        for slot in old.slots {
            if !view.slots.iter().any(|new| Rc::ptr_eq(&new.pool, &slot.pool)) {
                slot.pool.gone.set(true);
                slot.pool.idle.borrow_mut().clear();
                slot.pool.shared.clear();
            }
        }
        // Each core begins with another server.
        if let Some(count) = view.waited.len().checked_sub(1)
            && first
            && count > 0
        {
            let begin = self.turn.get() % (count + 1);
            view.waited[begin] = 1;
        }
        view.members = members;
    }

    fn tls_of(&self, member: &Member) -> (Option<ClientTls>, Option<ClientTls>) {
        match member.server.scheme {
            Scheme::Https => self.plan.tls(&member.server),
            Scheme::Http => (None, None),
        }
    }

    /// Closes kept connections that are too old or were closed by their server. Called every
    /// few seconds.
    pub fn tidy(&self) {
        self.adopt_members();
        let limit = self.idle_limit();
        for slot in &self.view.borrow().slots {
            slot.pool
                .idle
                .borrow_mut()
                .retain_mut(|kept| kept.idle_for(&self.clock) < limit && kept.is_usable());
            slot.pool.shared.tidy(limit);
        }
    }

    pub(crate) fn idle_limit(&self) -> u64 {
        self.plan.config().idle_timeout.as_millis() as u64
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.plan.connect_timeout()
    }
}

impl Pool {
    fn new((tls, tls_http1): (Option<ClientTls>, Option<ClientTls>)) -> Self {
        Self {
            tls,
            tls_http1,
            idle: RefCell::default(),
            shared: Multiplex::default(),
            chose_http1: Cell::new(false),
            gone: Cell::new(false),
        }
    }
}

impl Tried {
    /// More than any configuration allows attempts.
    const MOST: usize = 16;

    /// Takes note of a server; the oldest is forgotten when there are too many.
    pub fn add(&mut self, lease: &Lease) {
        self.ids[usize::from(self.count) % Self::MOST] = lease.member().id;
        self.count = self.count.saturating_add(1);
    }

    fn has(&self, id: u64) -> bool {
        self.ids[..usize::from(self.count).min(Self::MOST)].contains(&id)
    }
}
