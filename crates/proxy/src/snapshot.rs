//! One generation of the configuration, built: what every core looks things up in.

mod changes;
mod files;
mod forward;
mod reverse;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use accounts::{Account, Accounts, Moment};
use config::{Config, ConfigError};
use egress::{ExitRegistry, Pools};
use h1::HeadLimits;
use policy::digest::DigestRealm;
use policy::{Geo, OwnAddresses, RuleSources, Targets, TrustedPeers, Users};
use telemetry::{Metrics, UpstreamLabel};
use tls::{ClientTls, Roots, ServerSite, ServerTls};
use upstream::{ClusterPlan, Registry};

use crate::cache::CachePlan;
use crate::crowd::Crowd;
use crate::downstream::carry::Routes;
use crate::intercept::Interception;
use crate::site::{Site, SiteTable, TlsIdentity};

pub use changes::{Change, Changes};
pub use files::FileStates;

/// Everything that requests are served by, immutable and shared by all cores.
///
/// What is the same in two generations is one object, so that a request which still runs on an
/// old one keeps little of it alive.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with every reload.
    pub generation: u64,
    /// What it was built from, without the places in the text, and without what has grown large:
    /// sites are in `sites`, and upstreams in `clusters`.
    pub config: Config,
    /// One for each address that is listened on.
    pub listeners: Vec<Arc<Listener>>,
    /// In the order of the configuration.
    pub sites: Vec<Arc<Site>>,
    /// As [`Config::upstreams`].
    pub clusters: Vec<Arc<ClusterPlan>>,
    /// As [`Config::upstreams`]: what the first site that uses it gives it to connect.
    connect_timeouts: Vec<Duration>,
    /// As [`Config::upstreams`].
    pub(crate) cluster_labels: Vec<UpstreamLabel>,
    /// As [`Config::users`].
    pub(crate) users: Vec<Arc<Users>>,
    /// As [`Config::exits`].
    pub pools: Arc<Pools>,
    /// For exits that are measured by TLS.
    pub(crate) measuring_tls: Option<ClientTls>,
    /// Where addresses are.
    pub(crate) geo: Arc<Geo>,
    /// The files that it was built from, as they were then.
    pub files: FileStates,
    pub(crate) trusted: TrustedPeers,
    /// Whether any group of servers is told whose connections they are given.
    pub(crate) introduces: bool,
    /// How this process calls itself in `Via` on the forward face: no other process has the
    /// name, so that a request that names it has been here.
    pub(crate) pseudonym: String,
}

/// One address that is listened on.
#[derive(Debug)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// What is served on it.
    pub face: Face,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<ServerTls>>,
    /// Peers that begin with a PROXY protocol header; all others have none.
    pub(crate) introducers: TrustedPeers,
    /// The port is a session of its own.
    pub(crate) sticky: bool,
}

impl Listener {
    /// The face it counts for.
    pub(crate) fn telemetry_face(&self) -> telemetry::Face {
        match &self.face {
            Face::Reverse(_) | Face::Tunnel(_) => telemetry::Face::Reverse,
            Face::Forward(_) => telemetry::Face::Forward,
        }
    }

    /// How large a head may be, for as long as its site is not known.
    pub(crate) fn heads(&self) -> HeadLimits {
        match &self.face {
            Face::Reverse(face) => face.heads,
            Face::Forward(face) => face.heads,
            Face::Tunnel(face) => head_limits(&face.config.limits),
        }
    }

    /// How long things may take, for as long as its site is not known.
    pub(crate) fn timeouts(&self) -> &config::Timeouts {
        match &self.face {
            Face::Reverse(face) => &face.timeouts,
            Face::Forward(face) => &face.config.timeouts,
            Face::Tunnel(face) => &face.config.timeouts,
        }
    }

    /// What a connection may.
    pub(crate) fn limits(&self) -> &config::Limits {
        match &self.face {
            Face::Reverse(face) => &face.limits,
            Face::Forward(face) => &face.config.limits,
            Face::Tunnel(face) => &face.config.limits,
        }
    }

    /// How connections come here that were on their way to somebody else, if they do.
    pub(crate) fn transparent(&self) -> Option<config::Transparent> {
        match &self.face {
            Face::Forward(face) => face.config.transparent,
            Face::Reverse(_) | Face::Tunnel(_) => None,
        }
    }

    /// Whether HTTP/2 is spoken: by prior knowledge, or by ALPN.
    pub(crate) fn takes_http2(&self) -> bool {
        match &self.face {
            Face::Reverse(face) => face.http2,
            Face::Forward(face) => face.config.http2,
            Face::Tunnel(_) => false,
        }
    }

    /// What a TLS connection was made for that the site with this index answered.
    pub(crate) fn tls_identity(&self, site: usize) -> Option<Arc<TlsIdentity>> {
        let Face::Reverse(face) = &self.face else { return None };
        face.table.sites.get(site)?.identity().cloned()
    }

    /// Whether connections to `old` may go on here: it is the same address, and the same is
    /// spoken there.
    pub(crate) fn continues(&self, old: &Self) -> bool {
        self.address == old.address
            && std::mem::discriminant(&self.face) == std::mem::discriminant(&old.face)
            && self.tls.is_some() == old.tls.is_some()
            && self.transparent() == old.transparent()
    }
}

/// What is served on an address.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each listener, and every request reads it: a box would cost a step"
)]
pub enum Face {
    /// Sites.
    Reverse(Reverse),
    /// The world, for those who may.
    Forward(Arc<Forward>),
    /// Servers, byte for byte.
    Tunnel(Box<Tunnel>),
}

/// Sites of one listener.
#[derive(Debug)]
pub struct Reverse {
    pub(crate) table: SiteTable,
    /// The most generous limits of its sites, for as long as the site is not known.
    pub(crate) heads: HeadLimits,
    pub(crate) timeouts: config::Timeouts,
    pub(crate) limits: config::Limits,
    /// Whether a client may begin with HTTP/2 without TLS.
    pub(crate) http2: bool,
}

/// The forward face of one listener.
#[derive(Debug)]
pub struct Forward {
    pub(crate) config: config::Forward,
    pub(crate) heads: HeadLimits,
    pub(crate) users: Option<Arc<Crowd>>,
    /// Where Digest is offered.
    pub(crate) digest: Option<DigestRealm>,
    /// As [`Config::exits`].
    pub(crate) pools: Arc<Pools>,
    pub(crate) targets: Targets,
    /// What `targets` was told of this machine.
    pub(crate) own: OwnAddresses,
    /// Whose connections are taken at all.
    pub(crate) clients: policy::ClientNets,
    pub(crate) max_body: u64,
    /// How answers are kept.
    pub(crate) cache: Option<CachePlan>,
    /// TLS that is opened, where any is.
    pub(crate) intercept: Option<Interception>,
}

/// A listener that carries bytes.
#[derive(Debug)]
pub struct Tunnel {
    pub(crate) config: config::Tunnel,
    pub(crate) routes: Routes,
    /// Whose connections are taken at all.
    pub(crate) clients: policy::ClientRules,
}

impl Snapshot {
    /// Builds everything a configuration names. What is the same in `old` is taken over from
    /// there, with all that it has learnt.
    ///
    /// What is known of servers and exits is found again in `registries`, and left there.
    ///
    /// `local` are the addresses of this machine, which the forward face does not reach unless
    /// it is told to.
    ///
    /// # Errors
    /// All that is missing or wrong; nothing is half built.
    pub fn build(
        config: Config,
        old: Option<&Self>,
        local: Vec<IpAddr>,
        metrics: &Metrics,
        registries: &Registries,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut bare = config.clone().without_places();
        let bare_sites = std::mem::take(&mut bare.sites);
        let bare_upstreams = std::mem::take(&mut bare.upstreams);
        let files = FileStates::of(&config);
        let from =
            Sources { config: &config, bare: &bare, files: &files, old, metrics, registries };
        let mut errors = Vec::new();
        let connect_timeouts = connect_timeouts(&config);
        let (geo, same_geo) = forward::build_geo(&from, &mut errors);
        let state = config.state.as_ref().map(|state| &*state.value);
        let mut rules =
            forward::Rules { sources: RuleSources::new(state, Arc::clone(&geo)), state, same_geo };
        let roots = Roots::system();
        let pools = forward::build_pools(&from, &rules, &geo, &roots, &mut errors);
        let clusters = match &pools {
            Some(pools) => {
                let with = ClusterParts { bare: &bare_upstreams, pools, roots: &roots };
                build_clusters(&from, &with, &connect_timeouts, &mut errors)
            }
            None => Vec::new(),
        };
        let cluster_labels = cluster_labels(&from, &bare_upstreams);
        let users = forward::build_users(&from, &mut rules, &mut errors);
        let sites = reverse::build_sites(&from, bare_sites, &users, &mut errors);
        let mut listeners = reverse::build_listeners(&from, &sites, &mut errors);
        listeners.extend(forward::build_listeners(
            &from,
            &forward::Ends {
                users: &users,
                pools: pools.as_ref(),
                own: &forward::own_addresses(&config, local),
            },
            &mut rules,
            &mut errors,
        ));
        for warning in rules.sources.lists().filter_map(policy::DomainList::warning) {
            tracing::warn!("{warning}");
        }
        listeners.extend(build_tunnels(&from, &mut errors));
        let (sites, users): (Option<Vec<_>>, Option<Vec<_>>) =
            (sites.into_iter().collect(), users.into_iter().collect());
        let (true, Some(sites), Some(users), Some(pools)) =
            (errors.is_empty(), sites, users, pools)
        else {
            return Err(errors);
        };
        Ok(Self {
            generation: next_generation(old),
            listeners,
            sites,
            clusters,
            connect_timeouts,
            users,
            measuring_tls: forward::measuring_tls(&config, &roots),
            pools,
            geo,
            cluster_labels,
            trusted: TrustedPeers::build(&bare.trusted_peers),
            introduces: bare_upstreams.iter().any(|group| group.proxy_protocol.is_some()),
            pseudonym: format!("bifrons-{:08x}", instance()),
            files,
            config: bare,
        })
    }

    /// The configuration that it was built from, but for the places in the text.
    #[must_use]
    pub fn to_config(&self) -> Config {
        let mut config = self.config.clone();
        config.sites = (self.sites.iter())
            .map(|site| {
                let routes = site.routes().cloned().collect();
                config::Site { routes, ..site.config.clone() }
            })
            .collect();
        config.upstreams = self.clusters.iter().map(|plan| plan.config().clone()).collect();
        config
    }

    /// Lets what users have under way go on under the limits of this configuration.
    pub fn put_limits_to_use(&self, accounts: &Accounts) {
        let now = Moment::now();
        for listener in self.listeners.iter().filter(|listener| !listener.sticky) {
            if let Face::Forward(face) = &listener.face
                && let Some(crowd) = &face.users
            {
                crowd.put_to_use(accounts, now);
            }
        }
    }

    /// The accounts of all users of the forward face whom this configuration knows, also of those
    /// who have asked for nothing yet. One who may use several listeners comes several times.
    #[must_use]
    pub fn accounts(&self, accounts: &Accounts, now: Moment) -> Vec<Arc<Account>> {
        let listeners = self.listeners.iter().filter(|listener| !listener.sticky);
        let crowds = listeners.filter_map(|listener| match &listener.face {
            Face::Forward(face) => face.users.as_ref(),
            Face::Reverse(_) | Face::Tunnel(_) => None,
        });
        crowds.flat_map(|crowd| crowd.accounts(accounts, now)).collect()
    }

    /// The shortest time that anything may take: the clock must be finer.
    #[must_use]
    pub fn shortest_timeout(&self) -> Duration {
        let sites = self.sites.iter().map(|site| (&site.config.timeouts, &site.config.limits));
        let forwards = self.config.forwards.iter().map(|face| (&face.timeouts, &face.limits));
        let tunnels = self.config.tunnels.iter().map(|face| (&face.timeouts, &face.limits));
        let groups = self.clusters.iter().map(|plan| plan.config());
        let attempts = groups.filter_map(|group| group.retry.attempt_timeout);
        sites
            .chain(forwards)
            .chain(tunnels)
            .flat_map(|(times, limits)| {
                [times.header, times.idle, times.tunnel_idle, times.response, limits.min_rate_grace]
            })
            .chain(attempts)
            .min()
            .unwrap_or(Duration::from_secs(10))
    }

    /// Whether `new` lets through on the forward face what this does.
    pub(crate) fn keeps_forwards(&self, new: &Self) -> bool {
        let forwards = |snapshot: &'_ Self| -> Vec<*const Listener> {
            let all = snapshot.listeners.iter();
            all.filter(|one| matches!(one.face, Face::Forward(_))).map(Arc::as_ptr).collect()
        };
        forwards(self) == forwards(new)
    }
}

/// What the process knows, whatever its configuration.
#[derive(Debug, Clone)]
pub struct Registries {
    /// Of servers.
    pub servers: Arc<Registry>,
    /// Of exits.
    pub exits: Arc<ExitRegistry>,
}

impl Registries {
    /// Knowing nothing; `secret` is what sticky cookies are made with.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { servers: Registry::new(secret), exits: ExitRegistry::new() }
    }
}

/// What a snapshot is built from.
struct Sources<'a> {
    /// As written.
    config: &'a Config,
    /// Without the places in the text, and without sites and upstreams.
    bare: &'a Config,
    files: &'a FileStates,
    old: Option<&'a Snapshot>,
    metrics: &'a Metrics,
    registries: &'a Registries,
}

/// The number of the generation that comes after this one.
fn next_generation(old: Option<&Snapshot>) -> u64 {
    old.map_or(1, |old| old.generation + 1)
}

impl<'a> Sources<'a> {
    /// Whether these files are what they were when the old snapshot was built.
    fn same_files<P: AsRef<Path>>(&self, mut paths: impl Iterator<Item = P>) -> bool {
        self.old.is_some_and(|old| paths.all(|path| self.files.is_as_in(&old.files, path.as_ref())))
    }

    /// The old listener of an address.
    fn listener(&self, address: SocketAddr) -> Option<&'a Arc<Listener>> {
        self.old?.listeners.iter().find(|listener| listener.address == address)
    }

    /// Things of the old snapshot, by name.
    fn by_name<T: 'a, K: Hash + Eq>(
        &self,
        things: impl FnOnce(&'a Snapshot) -> &'a [T],
        name: impl Fn(&'a T) -> K,
    ) -> HashMap<K, Vec<usize>> {
        let mut known: HashMap<K, Vec<usize>> = HashMap::new();
        for (index, thing) in self.old.map_or(&[][..], things).iter().enumerate() {
            known.entry(name(thing)).or_default().push(index);
        }
        known
    }
}

/// Protocols by ALPN, in our order of preference (RFC 9113 §3.1).
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// A number that other processes are not likely to have.
fn instance() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    static INSTANCE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *INSTANCE.get_or_init(|| RandomState::new().hash_one(std::process::id()) as u32)
}

fn keep<T>(outcome: Result<T, Vec<ConfigError>>, errors: &mut Vec<ConfigError>) -> Option<T> {
    outcome.map_err(|found| errors.extend(found)).ok()
}

fn closed_by_default(address: IpAddr) -> bool {
    net::address::class(address).is_closed_by_default()
}

/// An upstream connects as fast as the first site or tunnel that uses it wants.
fn connect_timeouts(config: &Config) -> Vec<Duration> {
    let mut timeouts = vec![None; config.upstreams.len()];
    let mut uses = |upstream: usize, of: &config::Timeouts| {
        if let Some(timeout) = timeouts.get_mut(upstream) {
            timeout.get_or_insert(of.connect);
        }
    };
    for site in &config.sites {
        for route in &site.routes {
            if let config::Action::Relay { upstream } = route.action {
                uses(upstream, &site.timeouts);
            }
        }
    }
    for tunnel in &config.tunnels {
        let named = tunnel.names.iter().map(|route| route.upstream);
        named.chain(tunnel.upstream).for_each(|upstream| uses(upstream, &tunnel.timeouts));
    }
    timeouts.into_iter().map(|timeout| timeout.unwrap_or(Duration::from_secs(5))).collect()
}

/// What groups of servers are built with.
struct ClusterParts<'a> {
    bare: &'a [config::Upstream],
    pools: &'a Arc<Pools>,
    roots: &'a Roots,
}

fn build_clusters(
    from: &Sources<'_>,
    with: &ClusterParts<'_>,
    connect_timeouts: &[Duration],
    errors: &mut Vec<ConfigError>,
) -> Vec<Arc<ClusterPlan>> {
    let known = from.by_name(|old| &old.clusters, |plan| plan.name());
    let build = |(index, written): (usize, &config::Upstream)| {
        let (bare, timeout) = (&with.bare[index], connect_timeouts[index]);
        let exits = bare.exit.and_then(|pool| with.pools.get(pool));
        let same = from.old.and_then(|old| {
            let same = |index: &&usize| {
                let plan = &old.clusters[**index];
                plan.config() == bare
                    && old.connect_timeouts[**index] == timeout
                    && plan.leaves_by(exits)
            };
            known.get(bare.name.as_str())?.iter().find(same).map(|index| &old.clusters[*index])
        });
        match same {
            Some(plan) if from.same_files(files::of_upstream(&bare.tls)) => Some(Arc::clone(plan)),
            _ => {
                let build = |upstream| {
                    ClusterPlan::build(
                        upstream,
                        timeout,
                        with.roots,
                        &from.registries.servers,
                        exits,
                    )
                };
                // Only errors are told the places.
                keep(build(bare).or_else(|_| build(written)), errors)
            }
        }
    };
    from.config.upstreams.iter().enumerate().filter_map(build).collect()
}

/// The counters of all groups. Looking for a name among all that have some takes its time.
fn cluster_labels(from: &Sources<'_>, bare: &[config::Upstream]) -> Vec<UpstreamLabel> {
    let old = from.old.map_or(&[][..], |old| &old.clusters);
    let labels = from.old.map_or(&[][..], |old| &old.cluster_labels);
    let known: HashMap<_, _> = old.iter().map(|plan| plan.name()).zip(labels).collect();
    let label = |upstream: &config::Upstream| match known.get(upstream.name.as_str()) {
        Some(label) => **label,
        None => from.metrics.upstream(&upstream.name),
    };
    bare.iter().map(label).collect()
}

fn build_tunnels(from: &Sources<'_>, errors: &mut Vec<ConfigError>) -> Vec<Arc<Listener>> {
    let mut listeners = Vec::new();
    for (tunnel, bare) in from.config.tunnels.iter().zip(&from.bare.tunnels) {
        let old = from.listener(bare.listen);
        let old = old.and_then(|old| match &old.face {
            Face::Tunnel(face) => Some((old, &face.config)),
            _ => None,
        });
        let tls = match old {
            Some((old, config)) if config == bare => {
                listeners.push(Arc::clone(old));
                continue;
            }
            Some((old, config)) if config.tls == bare.tls => Some(old.tls.clone()),
            // What is inside is not known, so no protocol is agreed upon.
            _ => keep(build_sole_tls(tunnel.tls.as_ref(), false, &[]), errors),
        };
        let Some(tls) = tls else { continue };
        let face = Face::Tunnel(Box::new(Tunnel {
            routes: Routes::build(bare),
            clients: policy::ClientRules::build(&bare.clients),
            config: bare.clone(),
        }));
        let introducers = TrustedPeers::build(&bare.proxy_protocol);
        listeners.push(Arc::new(Listener {
            address: bare.listen,
            face,
            tls,
            introducers,
            sticky: false,
        }));
    }
    listeners
}

/// TLS of a listener where one configuration serves whatever name is asked for.
fn build_sole_tls(
    tls: Option<&config::SiteTls>,
    http2: bool,
    alpn: &[&[u8]],
) -> Result<Option<Arc<ServerTls>>, Vec<ConfigError>> {
    let Some(tls) = tls else { return Ok(None) };
    let site = ServerSite { hosts: &[config::HostPattern::Any], tls, http2 };
    ServerTls::build(&[site], alpn).map(Arc::new).map(Some)
}

pub(crate) fn head_limits(limits: &config::Limits) -> HeadLimits {
    HeadLimits { bytes: limits.head_bytes, fields: limits.fields }
}

fn body_limit(limits: &config::Limits) -> u64 {
    match limits.body {
        config::ByteLimit::Bytes(bytes) => bytes,
        config::ByteLimit::Unlimited => u64::MAX,
    }
}
