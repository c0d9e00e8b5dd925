//! A group of servers as a configuration has it, shared by all cores: which servers there are at
//! the moment, and what all cores count together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use config::{ConfigError, Scheme, Server, ServerHost, ServerProtocol, Upstream};
use egress::Pool;
use net::resolver::DnsError;
use net::watchdog::process_ms;
use tls::{ClientTls, Roots};
use tokio::sync::watch;

use crate::balance::stable_hash;
use crate::breaker::Breaker;
use crate::changes::Changes;
use crate::endpoint::{Endpoint, EndpointKey};
use crate::health::{Health, Subject};
use crate::keeper::Order;
use crate::member::{
    BACKUP, Found, MAX_WEIGHT, Member, Members, authority, checks_http2, server_text, tls_host,
};
use crate::outlier::{is_slow, may_eject};
use crate::queue::Queue;
use crate::registry::Registry;
use crate::sticky;
use crate::window::Budget;

/// How often latencies are compared.
const LOOK_EVERY: u64 = 1000;
/// Responses that a mean must be made of to be judged by.
const ENOUGH_RESPONSES: u32 = 20;

/// What all cores share of a group.
#[derive(Debug)]
pub struct ClusterPlan {
    config: Upstream,
    connect_timeout: Duration,
    /// Later plans have higher ones.
    made: u64,
    registry: Weak<Registry>,
    /// It was made before the process began to serve.
    initial: bool,
    secure: Mutex<Secure>,
    state: Mutex<State>,
    members: watch::Sender<Arc<Members>>,
    /// Tells those who look names up for it that it is gone.
    alive: watch::Sender<()>,
    /// The exits by which its servers are reached; `None`: straight from this machine.
    pub(crate) exits: Option<Arc<Pool>>,
    pub(crate) queue: Option<Arc<Queue>>,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) budget: Budget,
    /// Who of the group is left out is decided by one core at a time.
    ejecting: Mutex<()>,
    /// When latencies are compared next.
    look_at: std::sync::atomic::AtomicU64,
    /// Cores that use it: each begins with another server.
    pub(crate) cores: std::sync::atomic::AtomicUsize,
}

/// TLS by what is offered in it.
#[derive(Debug, Default)]
struct Secure(Vec<(Offer, ClientTls)>);

/// What is offered by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, and HTTP/1.1.
    Either,
    /// HTTP/2.
    Http2,
    /// Nothing.
    Nothing,
}

impl Offer {
    fn of(protocol: ServerProtocol, http1_only: bool) -> Self {
        match protocol {
            ServerProtocol::Http1 => Self::Http1,
            ServerProtocol::Alpn if http1_only => Self::Http1,
            ServerProtocol::Alpn => Self::Either,
            ServerProtocol::Http2 => Self::Http2,
            ServerProtocol::Tcp => Self::Nothing,
        }
    }

    fn protocols(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Either => &[b"h2", b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Nothing => &[],
        }
    }
}

#[derive(Debug, Default)]
struct State {
    servers: Vec<Entry>,
    next: u64,
}

/// One server as it was written, and what it came to.
#[derive(Debug)]
struct Entry {
    /// Within the plan, for look-ups that come back.
    number: u64,
    server: Server,
    text: Arc<str>,
    found: Vec<Found>,
    looked_up: bool,
    error: Option<DnsError>,
    /// It was there, with these addresses, when the process began: no slow start.
    initial: bool,
}

impl ClusterPlan {
    /// Reads what the configuration names: certificates and keys. Names are resolved, and
    /// servers checked, in the background from now on; this waits for neither.
    ///
    /// # Errors
    /// All that is missing or wrong.
    pub fn build(
        config: &Upstream,
        connect_timeout: Duration,
        roots: &Roots,
        registry: &Arc<Registry>,
        exits: Option<&Arc<Pool>>,
    ) -> Result<Arc<Self>, Vec<ConfigError>> {
        let mut secure = Secure::default();
        for server in config.servers.iter().filter(|server| server.scheme == Scheme::Https) {
            for offer in offers(config, server) {
                secure.add(offer, config, roots)?;
            }
        }
        let queue = config.max_connections.as_ref().map(|max| Arc::new(Queue::new(max.queue)));
        let plan = Arc::new(Self {
            config: config.clone(),
            connect_timeout,
            made: registry.next_plan(),
            registry: Arc::downgrade(registry),
            initial: !registry.is_started(),
            secure: Mutex::new(secure),
            state: Mutex::default(),
            members: watch::Sender::new(Arc::default()),
            alive: watch::Sender::new(()),
            exits: exits.cloned(),
            queue,
            breaker: config.circuit_breaker.clone().map(Breaker::new),
            budget: Budget::new(config.retry.budget),
            ejecting: Mutex::new(()),
            look_at: std::sync::atomic::AtomicU64::new(0),
            cores: std::sync::atomic::AtomicUsize::new(0),
        });
        registry.adopt(&plan);
        plan.update(registry);
        Ok(plan)
    }

    /// Whether its servers are reached by this pool of exits.
    #[must_use]
    pub fn leaves_by(&self, exits: Option<&Arc<Pool>>) -> bool {
        self.exits.as_ref().map(Arc::as_ptr) == exits.map(Arc::as_ptr)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Upstream {
        &self.config
    }

    /// How long connecting to one server may take.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Its servers at the moment.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.members.borrow())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Members>> {
        self.members.subscribe()
    }

    /// TLS for the traffic with a server; and where there is a choice, for what only HTTP/1.1
    /// can carry everywhere (WebSockets).
    pub(crate) fn tls(&self, server: &Server) -> (Option<ClientTls>, Option<ClientTls>) {
        let offer = Offer::of(server.protocol, self.config.tls.http1_only);
        let other = if offer == Offer::Either { self.secure(Offer::Http1) } else { None };
        (self.secure(offer), other)
    }

    fn secure(&self, offer: Offer) -> Option<ClientTls> {
        self.lock_secure().get(offer)
    }

    fn lock_secure(&self) -> MutexGuard<'_, Secure> {
        self.secure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the servers in line with the configuration and with what was changed at run time,
    /// and publishes them to all cores.
    pub(crate) fn update(self: &Arc<Self>, registry: &Arc<Registry>) {
        let mut state = self.lock();
        // Read under the lock: else an earlier state of them could be published last.
        let changes = registry.changes(self.name());
        let configured = self.config.servers.iter().map(|server| (server, self.initial));
        let added = changes.added().map(|server| (server, false));
        for (server, initial) in configured.chain(added) {
            let text: Arc<str> = server_text(server).into();
            if state.servers.iter().any(|entry| entry.text == text) {
                continue;
            }
            let entry = self.enter(&mut state, server, text, initial, registry);
            state.servers.push(entry);
        }
        state.servers.retain(|entry| {
            self.config.servers.iter().any(|server| *server_text(server) == *entry.text)
                || changes.added().any(|server| *server_text(server) == *entry.text)
        });
        self.publish(&mut state, &changes, registry);
    }

    fn enter(
        self: &Arc<Self>,
        state: &mut State,
        server: &Server,
        text: Arc<str>,
        initial: bool,
        registry: &Arc<Registry>,
    ) -> Entry {
        let number = state.next;
        state.next += 1;
        if server.scheme == Scheme::Https {
            for offer in offers(&self.config, server) {
                // One that was added at run time: its files were read for the others already.
                let _ = self.lock_secure().add(offer, &self.config, &Roots::system());
            }
        }
        let found = match &server.host {
            ServerHost::Address(ip) => vec![Found {
                address: (*ip, server.port).into(),
                priority: 0,
                weight: None,
                target: None,
            }],
            ServerHost::Name(_) | ServerHost::Srv(_) => {
                registry.order(Order::Resolve {
                    plan: Arc::downgrade(self),
                    number,
                    host: server.host.clone(),
                    port: server.port,
                    alive: self.alive.subscribe(),
                });
                // A plan that follows another one begins with what that one knew.
                registry.last_found(&text).unwrap_or_default()
            }
        };
        let server = server.clone();
        let looked_up = !found.is_empty();
        Entry { number, server, text, found, looked_up, error: None, initial }
    }

    /// Takes note of what a look-up came to. `false`: nobody wants to know any more.
    pub(crate) fn looked_up(
        self: &Arc<Self>,
        number: u64,
        outcome: Result<Vec<Found>, DnsError>,
    ) -> bool {
        let Some(registry) = self.registry.upgrade() else { return false };
        let mut state = self.lock();
        let Some(entry) = state.servers.iter_mut().find(|entry| entry.number == number) else {
            return false;
        };
        let first = !std::mem::replace(&mut entry.looked_up, true);
        let changed = match outcome {
            Ok(mut found) => {
                // The order of answers turns; an equal set is no news.
                found.sort();
                entry.error = None;
                let changed = found != entry.found;
                if changed {
                    registry.remember(&entry.text, &found);
                    entry.initial &= first;
                    entry.found = found;
                }
                changed
            }
            // The last good set stays.
            Err(error) => {
                entry.error = Some(error);
                false
            }
        };
        if first || changed {
            let changes = registry.changes(self.name());
            self.publish(&mut state, &changes, &registry);
        }
        true
    }

    fn publish(&self, state: &mut State, changes: &Changes, registry: &Arc<Registry>) {
        let mut members = Members::default();
        for entry in &state.servers {
            members.pending |= !entry.looked_up;
            if entry.found.is_empty() {
                members.error = members.error.or_else(|| entry.error.clone());
            }
            for found in &entry.found {
                let change = changes.of(&entry.text, &entry.server, found.address);
                if !change.removed {
                    let member = self.member(entry, found, registry);
                    members.list.push(Arc::new(Member {
                        weight: change.weight.unwrap_or(member.weight),
                        draining: change.draining,
                        ..member
                    }));
                }
            }
        }
        if let Some(queue) = &self.queue {
            for member in &members.list {
                member.endpoint.serves(queue);
            }
        }
        self.members.send_replace(Arc::new(members));
        if let Some(queue) = &self.queue {
            queue.wake_all();
        }
    }

    fn member(&self, entry: &Entry, found: &Found, registry: &Arc<Registry>) -> Member {
        let mut server = entry.server.clone();
        if let Some(target) = &found.target {
            server.host = ServerHost::Name(target.to_string());
            server.port = found.address.port();
        }
        let tls_host = tls_host(&entry.server);
        let key = EndpointKey::new(&server, found.address, &tls_host, &self.config.tls);
        let well_since = if entry.initial { 0 } else { process_ms() };
        let endpoint = registry.endpoint(key, well_since);
        let identity = format!("{} {}", entry.text, found.address);
        let cookie = self.config.sticky.as_ref().map_or(String::new(), |sticky| {
            sticky::value(sticky, registry.secret(), self.name(), &identity)
        });
        let share = found.weight.map_or(1, |weight| u32::from(weight.max(1)));
        let backup = if server.backup { BACKUP } else { 0 };
        let authority = authority(&server);
        Member {
            health: self.health(&endpoint, &server, &authority, &tls_host, registry),
            written: Arc::clone(&entry.text),
            weight: server.weight.saturating_mul(share).min(MAX_WEIGHT),
            tier: backup + u32::from(found.priority),
            draining: false,
            id: stable_hash(format!("{}://{}", authority, found.address).as_bytes()),
            cookie,
            tls_host,
            authority,
            endpoint,
            server,
        }
    }

    fn health(
        &self,
        endpoint: &Arc<Endpoint>,
        server: &Server,
        authority: &str,
        host: &str,
        registry: &Arc<Registry>,
    ) -> Option<Arc<Health>> {
        let check = self.config.health.as_ref()?;
        let http2 = checks_http2(check, server.protocol);
        let secure = server.scheme == Scheme::Https && check.probe != config::Probe::Tcp;
        let offer = if http2 { Offer::Http2 } else { Offer::Http1 };
        let subject = Subject {
            authority: authority.to_owned(),
            host: host.to_owned(),
            tls: if secure { self.secure(offer) } else { None },
            made: self.made,
            http2,
            // Another port need not speak what that of the traffic does.
            introduction: self.config.proxy_protocol.filter(|_| check.port.is_none()),
        };
        let (health, new) = endpoint.health(Health::new(endpoint, check, subject));
        if new {
            registry.order(Order::Check(Arc::downgrade(&health)));
        }
        Some(health)
    }

    /// Takes note of a failure of a server: whether it is left out for it.
    pub(crate) fn note_failure(&self, endpoint: &Endpoint, now: u64) {
        endpoint.failed(now);
        if let Some(outlier) = &self.config.outlier
            && !endpoint.ejection.is_out(now)
            && endpoint.ejection.failed(now, outlier.failures, outlier.within)
        {
            self.eject(endpoint, now, outlier, "failures");
        }
    }

    /// Leaves out whoever is much slower than the others. Looks once a second at most.
    pub(crate) fn compare_latencies(&self, now: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        let Some(outlier) = &self.config.outlier else { return };
        let Some(percent) = outlier.latency else { return };
        let at = self.look_at.load(Relaxed);
        if now < at
            || self.look_at.compare_exchange(at, now + LOOK_EVERY, Relaxed, Relaxed).is_err()
        {
            return;
        }
        let members = self.members();
        let mut known: Vec<_> = members
            .list
            .iter()
            .filter(|member| !member.endpoint.ejection.is_out(now))
            .filter_map(|member| {
                let (mean, responses) = member.endpoint.mean_latency();
                (responses >= ENOUGH_RESPONSES).then_some((mean, member))
            })
            .collect();
        known.sort_unstable_by_key(|(mean, _)| *mean);
        let means: Vec<u32> = known.iter().map(|(mean, _)| *mean).collect();
        // From the slowest on, to the first that is not too slow or that has to stay.
        for (index, (_, member)) in known.iter().enumerate().rev() {
            if !is_slow(&means, index, percent)
                || !self.eject(&member.endpoint, now, outlier, "latency")
            {
                break;
            }
            // It is judged by what it does when it is back.
            member.endpoint.forget_latency();
        }
    }

    /// Leaves a server out, unless it is already, or too many are.
    fn eject(&self, endpoint: &Endpoint, now: u64, outlier: &config::Outlier, why: &str) -> bool {
        let _one = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.members();
        let out = members.list.iter().filter(|one| one.endpoint.ejection.is_out(now)).count();
        if endpoint.ejection.is_out(now) || !may_eject(out, members.list.len(), outlier.max_ejected)
        {
            return false;
        }
        let span = endpoint.ejection.eject(now, outlier.eject);
        tracing::warn!(
            upstream = self.name(),
            server = %endpoint.address(),
            why,
            seconds = span.as_secs(),
            "server left out"
        );
        true
    }

    /// The servers that have no address: as written, and why.
    pub(crate) fn unresolved(&self) -> Vec<(Arc<str>, Option<String>)> {
        let state = self.lock();
        let without = state.servers.iter().filter(|entry| entry.found.is_empty());
        without
            .map(|entry| (Arc::clone(&entry.text), entry.error.as_ref().map(ToString::to_string)))
            .collect()
    }
}

impl Drop for ClusterPlan {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(self.name());
        }
    }
}

impl Secure {
    fn get(&self, offer: Offer) -> Option<ClientTls> {
        self.0.iter().find(|(known, _)| *known == offer).map(|(_, tls)| tls.clone())
    }

    fn add(
        &mut self,
        offer: Offer,
        config: &Upstream,
        roots: &Roots,
    ) -> Result<(), Vec<ConfigError>> {
        if self.get(offer).is_none() {
            self.0.push((offer, ClientTls::build(&config.tls, roots, offer.protocols())?));
        }
        Ok(())
    }
}

/// What is offered to a server, by its traffic and by its checks.
fn offers(config: &Upstream, server: &Server) -> impl Iterator<Item = Offer> {
    let traffic = Offer::of(server.protocol, config.tls.http1_only);
    let choice = (traffic == Offer::Either).then_some(Offer::Http1);
    let check = config.health.as_ref().and_then(|check| match check.probe {
        config::Probe::Tcp => None,
        _ if checks_http2(check, server.protocol) => Some(Offer::Http2),
        _ => Some(Offer::Http1),
    });
    std::iter::once(traffic).chain(choice).chain(check)
}

#[cfg(test)]
mod tests;
