//! What one core owns. Nothing here is shared, so nothing here is locked.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use accounts::{Account, Accounts, Limits, Moment};
use coding::Dictionaries;
use message::BlockPool;
use net::resolver::Resolver;
use net::watchdog::Watchdog;
use net::{BufferPool, PipePool};
use policy::digest::Nonces;
use policy::{Attempts, ConnectionLimits, DecisionCache, RateTable, VerifiedCache};
use telemetry::{CoreCounters, CoreLog};
use upstream::{Cluster, ClusterPlan, OriginPool};

use crate::auth::{self, Decision};
use crate::downstream::room::Rooms;
use crate::failure::Kind;
use crate::slot::{ListenerSlot, Serving};
use crate::snapshot::{Listener, Snapshot};
use crate::turns::Turns;

/// Free buffers of each kind that a core keeps.
const FREE_BUFFERS: usize = 256;
/// Pipes that a core has at most; bodies that get none are copied.
const PIPES: usize = 128;

/// Password hashes that one core has worked out at the same time.
const PASSWORDS_AT_ONCE: usize = 2;

/// One core.
#[derive(Debug)]
pub struct Core {
    /// Itself, for what runs beside the requests.
    itself: std::rc::Weak<Self>,
    /// The configuration as this core sees it. An exchange keeps the one it began with.
    view: RefCell<Rc<View>>,
    /// One for each listener of the snapshot, in its order.
    slots: RefCell<Vec<Rc<ListenerSlot>>>,
    /// Deadlines, and a clock that costs nothing.
    pub clock: Rc<Watchdog>,
    /// Names.
    pub resolver: Resolver,
    /// What is counted.
    pub counters: Arc<CoreCounters>,
    /// The access log.
    pub log: CoreLog,
    pub(crate) blocks: BlockPool,
    pub(crate) rooms: Rooms,
    pub(crate) buffers: BufferPool,
    pub(crate) pipes: PipePool,
    pub(crate) verified: VerifiedCache,
    pub(crate) origins: OriginPool,
    pub(crate) connection_limits: ConnectionLimits,
    pub(crate) rates: Arc<RateTable>,
    /// Answers that are kept, for all cores.
    pub(crate) cache: Arc<cache::Cache>,
    pub(crate) dictionaries: Arc<Dictionaries>,
    /// Users of the forward face, and what they have used.
    pub(crate) accounts: Arc<Accounts>,
    /// The account of those of whom nobody knows who they are.
    pub(crate) nobody: Arc<Account>,
    /// Those who try passwords.
    pub(crate) attempts: Arc<Attempts>,
    /// Their attempts that are worked out.
    pub(crate) turns: Arc<Turns>,
    /// Nonces of Digest.
    pub(crate) nonces: Arc<Nonces>,
    /// What servers that were asked have decided.
    pub(crate) decisions: DecisionCache<Rc<Decision>>,
    /// Passwords that are worked out at once.
    pub(crate) password_turns: tokio::sync::Semaphore,
    generation: Cell<u64>,
    draining: Cell<bool>,
    gentle: Cell<bool>,
    connections: Cell<usize>,
    /// Who waits for the last of them to end.
    last: RefCell<Option<Waker>>,
}

/// A snapshot on one core: with its connections.
#[derive(Debug)]
pub struct View {
    /// What all cores share.
    pub snapshot: Arc<Snapshot>,
    pub(crate) clusters: Vec<Rc<Cluster>>,
}

/// What a core is made of that outlives a configuration.
#[derive(Debug)]
pub struct CoreParts {
    /// The clock.
    pub clock: Rc<Watchdog>,
    /// Names.
    pub resolver: Resolver,
    /// Counters.
    pub counters: Arc<CoreCounters>,
    /// Access log.
    pub log: CoreLog,
    /// Passwords that were found right.
    pub verified: VerifiedCache,
    /// Connections per client, shared by all cores.
    pub connection_limits: ConnectionLimits,
    /// Requests and bytes in a time, shared by all cores.
    pub rates: Arc<RateTable>,
    /// Answers that are kept, shared by all cores.
    pub cache: Arc<cache::Cache>,
    /// Answers of which later ones are made, shared by all cores.
    pub dictionaries: Arc<Dictionaries>,
    /// Users of the forward face, shared by all cores.
    pub accounts: Arc<Accounts>,
    /// Those who try passwords, shared by all cores.
    pub attempts: Arc<Attempts>,
    /// Their attempts that are worked out, shared by all cores.
    pub turns: Arc<Turns>,
    /// Nonces of Digest, shared by all cores.
    pub nonces: Arc<Nonces>,
}

impl Core {
    /// A core that serves this snapshot.
    #[must_use]
    pub fn new(parts: CoreParts, snapshot: Arc<Snapshot>) -> Rc<Self> {
        let slots = (0..snapshot.listeners.len()).map(ListenerSlot::new).collect();
        let view = View::new(snapshot, None, &parts.clock, &parts.resolver);
        Rc::new_cyclic(|itself| Self {
            itself: itself.clone(),
            view: RefCell::new(Rc::new(view)),
            slots: RefCell::new(slots),
            origins: OriginPool::new(Rc::clone(&parts.clock)),
            clock: parts.clock,
            resolver: parts.resolver,
            counters: parts.counters,
            log: parts.log,
            blocks: BlockPool::new(FREE_BUFFERS),
            rooms: Rooms::default(),
            buffers: BufferPool::new(net::buffer::DEFAULT_BUFFER_SIZE, FREE_BUFFERS),
            pipes: PipePool::new(PIPES),
            verified: parts.verified,
            connection_limits: parts.connection_limits,
            rates: parts.rates,
            nobody: parts.accounts.account("", "", &Arc::new(Limits::none()), Moment::now()),
            cache: parts.cache,
            dictionaries: parts.dictionaries,
            accounts: parts.accounts,
            attempts: parts.attempts,
            turns: parts.turns,
            nonces: parts.nonces,
            decisions: DecisionCache::new(auth::KEPT_DECISIONS, auth::KEPT_BYTES),
            password_turns: tokio::sync::Semaphore::new(PASSWORDS_AT_ONCE),
            generation: Cell::new(0),
            draining: Cell::new(false),
            gentle: Cell::new(false),
            connections: Cell::new(0),
            last: RefCell::default(),
        })
    }

    /// Itself, for as long as its thread runs.
    pub(crate) fn handle(&self) -> Option<Rc<Self>> {
        self.itself.upgrade()
    }

    /// The configuration of now.
    #[must_use]
    pub fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// The listener at an address, for as long as it is there.
    #[must_use]
    pub fn slot(&self, address: SocketAddr) -> Option<Rc<ListenerSlot>> {
        let view = self.view.borrow();
        let index = view.snapshot.listeners.iter().position(|found| found.address == address)?;
        self.slots.borrow().get(index).cloned()
    }

    /// What serves the next request of a connection that came in there.
    pub(crate) fn serving(&self, slot: &ListenerSlot) -> Serving {
        slot.serving(&self.view.borrow())
    }

    /// Serves this snapshot from now on. What runs goes on with what it began with; groups of
    /// servers that have not changed keep their connections. Returns the listeners that went:
    /// their idle connections end now, and the others when what runs on them has ended.
    pub fn install(&self, snapshot: Arc<Snapshot>) -> Vec<Rc<ListenerSlot>> {
        let old = self.view();
        let view = Rc::new(View::new(snapshot, Some(&old), &self.clock, &self.resolver));
        let mut before: HashMap<_, _> = (old.snapshot.listeners.iter())
            .zip(self.slots.take())
            .map(|(listener, slot)| (listener.address, (listener, slot)))
            .collect();
        let place =
            |(index, listener): (usize, &Arc<Listener>)| match before.remove(&listener.address) {
                Some((old, slot)) if listener.continues(old) => {
                    slot.moved_to(index);
                    slot
                }
                other => {
                    before.extend(other.map(|other| (listener.address, other)));
                    ListenerSlot::new(index)
                }
            };
        let slots = view.snapshot.listeners.iter().enumerate().map(place).collect();
        self.slots.replace(slots);
        let gone: Vec<_> = before.into_values().map(|(_, slot)| slot).collect();
        for slot in &gone {
            slot.gone(&old);
        }
        self.view.replace(view);
        self.generation.set(self.generation.get() + 1);
        if !old.snapshot.keeps_forwards(&self.view().snapshot) {
            // Rules may have changed by which these were let through.
            self.origins.clear();
        }
        // Connections and tunnels look whether this concerns them.
        self.clock.wake_all();
        gone
    }

    /// Counts up with every configuration that is installed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Closes idle connections from now on, and others as soon as what runs on them is over.
    pub fn drain(&self) {
        self.draining.set(true);
        // Connections that wait for a request wait for their deadline too.
        self.clock.wake_all();
    }

    /// As [`Core::drain`], but a client that has a connection may ask once more within a moment,
    /// and is told then that it was the last time: one that is about to ask loses nothing.
    pub fn drain_gently(&self) {
        self.gentle.set(true);
        self.drain();
    }

    pub(crate) fn is_gentle(&self) -> bool {
        self.gentle.get()
    }

    /// Whether the core finishes what runs and begins nothing.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Connections of clients that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Returns when the last connection has ended.
    pub async fn drained(&self) {
        std::future::poll_fn(|cx| {
            if self.connections.get() == 0 {
                return std::task::Poll::Ready(());
            }
            self.last.replace(Some(cx.waker().clone()));
            std::task::Poll::Pending
        })
        .await;
    }

    pub(crate) fn count_failure(&self, kind: Kind) {
        let index = telemetry::failure_index(kind.name()).unwrap_or(u8::MAX);
        self.counters.failure(index).inc();
    }

    pub(crate) fn count_connection(self: &Rc<Self>, face: telemetry::Face) -> Counted {
        self.connections.set(self.connections.get() + 1);
        self.counters.face(face).connections_accepted.inc();
        Counted { core: Rc::clone(self), face }
    }

    /// Looks after what nobody uses at the moment. Called about once a second.
    pub fn tidy(self: &Rc<Self>) {
        crate::measure::begin(self);
        for cluster in &self.view.borrow().clusters {
            cluster.tidy();
        }
        self.origins.tidy();
        self.blocks.trim();
        self.rooms.trim();
        self.log.flush();
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(crate) struct Counted {
    core: Rc<Core>,
    face: telemetry::Face,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let core = &self.core;
        core.counters.face(self.face).connections_closed.inc();
        core.connections.set(core.connections.get() - 1);
        if core.connections.get() == 0
            && let Some(waker) = core.last.take()
        {
            waker.wake();
        }
    }
}

impl View {
    /// Groups of servers whose plan is that of `old` are taken over, with their connections.
    fn new(
        snapshot: Arc<Snapshot>,
        old: Option<&Self>,
        clock: &Rc<Watchdog>,
        resolver: &Resolver,
    ) -> Self {
        let plans = old.into_iter().flat_map(|old| old.snapshot.clusters.iter().zip(&old.clusters));
        let known: HashMap<*const ClusterPlan, &Rc<Cluster>> =
            plans.map(|(plan, cluster)| (Arc::as_ptr(plan), cluster)).collect();
        let clusters = snapshot
            .clusters
            .iter()
            .map(|plan| match known.get(&Arc::as_ptr(plan)) {
                Some(cluster) => Rc::clone(cluster),
                None => Rc::new(Cluster::new(Arc::clone(plan), Rc::clone(clock), resolver)),
            })
            .collect();
        Self { snapshot, clusters }
    }
}
