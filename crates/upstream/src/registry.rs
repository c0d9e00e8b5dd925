//! What the process knows of all servers, whichever configuration names them. It outlives every
//! configuration: endpoints are found again by what they are, and keep their state.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use config::Dns;

use crate::changes::{Change, ChangeError, Changes, names};
use crate::endpoint::{Endpoint, EndpointKey};
use crate::keeper::{self, Order};
use crate::member::{Found, server_text};
use crate::plan::ClusterPlan;
use crate::status::{UpstreamStatus, status_of};

/// Names whose last addresses are remembered.
const MAX_NAMES: usize = 10_000;

/// All servers of the process.
pub struct Registry {
    /// What sticky cookies are made with, unless the configuration has a secret.
    secret: [u8; 32],
    endpoints: Mutex<HashMap<EndpointKey, Weak<Endpoint>>>,
    /// By name, in the order they were made: a configuration can have thousands.
    plans: Mutex<HashMap<String, Vec<Weak<ClusterPlan>>>>,
    plans_made: AtomicU64,
    changes: Mutex<HashMap<String, Changes>>,
    /// The last good addresses of servers with names, by how they are written.
    found: Mutex<HashMap<Arc<str>, Vec<Found>>>,
    keeper: Mutex<Keeper>,
}

/// The thread that looks names up and makes checks. It runs from when there is something to do.
#[derive(Default)]
struct Keeper {
    started: bool,
    dns: Dns,
    thread: Option<keeper::Sender>,
    waiting: Vec<Order>,
}

impl Registry {
    /// An empty one.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Arc<Self> {
        Arc::new(Self {
            secret,
            endpoints: Mutex::default(),
            plans: Mutex::default(),
            plans_made: AtomicU64::new(0),
            changes: Mutex::default(),
            found: Mutex::default(),
            keeper: Mutex::default(),
        })
    }

    /// Looks names up and makes checks from now on, with these name servers and hosts. Called
    /// again, it only changes those. Until the first call nothing
    /// leaves the process, so that a configuration can be built to be checked.
    pub fn start(&self, dns: &Dns) {
        let mut keeper = lock(&self.keeper);
        keeper.started = true;
        let dns = dns.clone().without_places();
        if keeper.dns != dns {
            keeper.dns.clone_from(&dns);
            if keeper.thread.is_some() {
                keeper.give(Order::Resolvers(dns));
            }
        }
        for order in std::mem::take(&mut keeper.waiting) {
            keeper.give(order);
        }
    }

    pub(crate) fn is_started(&self) -> bool {
        lock(&self.keeper).started
    }

    pub(crate) fn order(&self, order: Order) {
        lock(&self.keeper).give(order);
    }

    /// Changes a server of a group, on all cores at once. The server is called by its URL, by
    /// its host and port, or, where a name has several addresses, by one of them.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub fn change(
        self: &Arc<Self>,
        upstream: &str,
        server: &str,
        change: Change,
    ) -> Result<(), ChangeError> {
        let plans = self.plans_named(upstream);
        let Some(newest) = plans.last() else { return Err(ChangeError::NoUpstream) };
        self.note_change(newest, server, change)?;
        // Requests that still run on an earlier configuration see it as well.
        for plan in &plans {
            plan.update(self);
        }
        Ok(())
    }

    /// Remembers a change; the plans are told of it by others.
    pub(crate) fn note_change(
        &self,
        newest: &ClusterPlan,
        server: &str,
        change: Change,
    ) -> Result<(), ChangeError> {
        let members = newest.members();
        let known = |name: &str| {
            let configured = &newest.config().servers;
            configured.iter().any(|server| names(name, &server_text(server), server))
                || members.list.iter().any(|member| {
                    names(name, &member.written, &member.server)
                        || name == member.address().to_string()
                })
        };
        let mut all = lock(&self.changes);
        let changes = all.entry(newest.name().to_owned()).or_default();
        let outcome = changes.make(server, change, known);
        if changes.is_empty() {
            all.remove(newest.name());
        }
        outcome
    }

    /// All groups of the newest configuration that has them, and how their servers are.
    #[must_use]
    pub fn status(&self) -> Vec<UpstreamStatus> {
        // Plans are let go without the lock: the last one calls back.
        let plans: Vec<Vec<Arc<ClusterPlan>>> =
            lock(&self.plans).values().map(|plans| alive(plans)).collect();
        let members: Vec<_> = plans.iter().flatten().map(|plan| plan.members()).collect();
        let takers = members.iter().flat_map(|members| &members.list);
        let in_use: HashSet<_> =
            takers.filter(|member| !member.draining).map(|member| member.endpoint.id()).collect();
        let newest = plans.iter().filter_map(|plans| plans.last());
        let mut all: Vec<_> = newest.map(|plan| status_of(plan, &in_use)).collect();
        all.sort_by(|left, right| left.name.cmp(&right.name));
        all
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    pub(crate) fn adopt(&self, plan: &Arc<ClusterPlan>) {
        let mut plans = lock(&self.plans);
        let namesakes = plans.entry(plan.name().to_owned()).or_default();
        namesakes.retain(|known| known.strong_count() > 0);
        namesakes.push(Arc::downgrade(plan));
    }

    /// A plan of this name is gone: with the last one, what was changed of it.
    pub(crate) fn forget(&self, name: &str) {
        let mut plans = lock(&self.plans);
        let Some(namesakes) = plans.get_mut(name) else { return };
        namesakes.retain(|known| known.strong_count() > 0);
        if namesakes.is_empty() {
            plans.remove(name);
            lock(&self.changes).remove(name);
        }
    }

    /// The plans of a group, the newest last.
    fn plans_named(&self, name: &str) -> Vec<Arc<ClusterPlan>> {
        lock(&self.plans).get(name).map(|plans| alive(plans)).unwrap_or_default()
    }

    /// The number of the next plan: later ones have higher numbers.
    pub(crate) fn next_plan(&self) -> u64 {
        self.plans_made.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn changes(&self, upstream: &str) -> Changes {
        lock(&self.changes).get(upstream).cloned().unwrap_or_default()
    }

    /// The endpoint that this is; a new one takes its share since `well_since`.
    pub(crate) fn endpoint(&self, key: EndpointKey, well_since: u64) -> Arc<Endpoint> {
        let mut endpoints = lock(&self.endpoints);
        if let Some(known) = endpoints.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        sweep(&mut endpoints);
        let endpoint = Arc::new(Endpoint::new(key.clone(), well_since));
        endpoints.insert(key, Arc::downgrade(&endpoint));
        endpoint
    }

    pub(crate) fn remember(&self, server: &Arc<str>, found: &[Found]) {
        let mut known = lock(&self.found);
        if known.len() >= MAX_NAMES {
            known.clear();
        }
        known.insert(Arc::clone(server), found.to_vec());
    }

    pub(crate) fn last_found(&self, server: &str) -> Option<Vec<Found>> {
        lock(&self.found).get(server).cloned()
    }
}

impl Keeper {
    fn give(&mut self, order: Order) {
        if !self.started {
            self.waiting.push(order);
            return;
        }
        let order = match &self.thread {
            Some(thread) => match thread.send(order) {
                Ok(()) => return,
                // It is gone, which it says in the log: another one takes over.
                Err(refused) => refused.0,
            },
            None => order,
        };
        match keeper::start(self.dns.clone()) {
            Ok(thread) => {
                let _ = thread.send(order);
                self.thread = Some(thread);
            }
            Err(error) => tracing::error!(%error, "cannot look names up or check servers"),
        }
    }
}

impl std::fmt::Debug for Registry {
    /// Never shows the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let endpoints = lock(&self.endpoints).len();
        f.debug_struct("Registry").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

fn alive<T>(all: &[Weak<T>]) -> Vec<Arc<T>> {
    all.iter().filter_map(Weak::upgrade).collect()
}

/// What is locked here is whole between any two steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets what nobody holds, when the table would grow: each entry is looked at a few times.
fn sweep<K: Hash + Eq, V>(table: &mut HashMap<K, Weak<V>>) {
    if table.len() == table.capacity() {
        table.retain(|_, value| value.strong_count() > 0);
    }
}
