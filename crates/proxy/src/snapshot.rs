//! One generation of the configuration, built: what every core looks things up in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::{Config, ConfigError, Scheme};
use h1::HeadLimits;
use policy::{OwnAddresses, Targets, TrustedPeers, Users};
use telemetry::{Metrics, UpstreamLabel};
use tls::{Roots, ServerSite, ServerTls};
use upstream::ClusterPlan;

use crate::downstream::carry::Routes;
use crate::respond::ErrorPages;
use crate::site::{Route, RouteTable, Site, SiteTable};

/// Everything that requests are served by, immutable and shared by all cores.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with every reload.
    pub generation: u64,
    /// What it was built from.
    pub config: Config,
    /// One for each address that is listened on.
    pub listeners: Vec<Arc<Listener>>,
    /// As [`Config::upstreams`].
    pub clusters: Vec<Arc<ClusterPlan>>,
    /// As [`Config::upstreams`].
    pub(crate) cluster_labels: Vec<UpstreamLabel>,
    pub(crate) trusted: TrustedPeers,
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
    pub tls: Option<ServerTls>,
    /// Peers that begin with a PROXY protocol header; all others have none.
    pub(crate) introducers: TrustedPeers,
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
    Forward(Box<Forward>),
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
    pub(crate) users: Option<Arc<Users>>,
    pub(crate) targets: Targets,
    /// Whose connections are taken at all.
    pub(crate) clients: policy::ClientNets,
    pub(crate) max_body: u64,
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
    /// Builds everything a configuration names.
    ///
    /// `local` are the addresses of this machine, which the forward face does not reach unless
    /// it is told to.
    ///
    /// # Errors
    /// All that is missing or wrong; nothing is half built.
    pub fn build(
        config: Config,
        generation: u64,
        local: Vec<IpAddr>,
        metrics: &Metrics,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let clusters = build_clusters(&config, &mut errors);
        let users: Vec<_> = config
            .users
            .iter()
            .map(|set| keep(Users::build(set), &mut errors).map(Arc::new))
            .collect();
        let own = own_addresses(&config, local);
        let mut lists = policy::Lists::new();
        let mut listeners = Vec::new();
        for address in site_addresses(&config) {
            let face = keep(build_reverse(&config, address, metrics), &mut errors);
            let tls = keep(build_tls(&config, address), &mut errors);
            if let (Some(face), Some(tls)) = (face, tls) {
                let introducers = introducers_of_sites(&config, address);
                let face = Face::Reverse(face);
                listeners.push(Arc::new(Listener { address, face, tls, introducers }));
            }
        }
        for forward in &config.forwards {
            let targets =
                keep(Targets::build(forward, &own, closed_by_default, &mut lists), &mut errors);
            let tls = keep(build_sole_tls(forward.tls.as_ref(), forward.http2, ALPN), &mut errors);
            let users = match forward.users {
                Some(index) => users[index].clone().map(Some),
                None => Some(None),
            };
            if let (Some(targets), Some(tls), Some(users)) = (targets, tls, users) {
                let face = Face::Forward(Box::new(Forward {
                    heads: head_limits(&forward.limits),
                    max_body: body_limit(&forward.limits),
                    clients: policy::ClientNets::build(&forward.clients),
                    config: forward.clone(),
                    users,
                    targets,
                }));
                let introducers = TrustedPeers::build(&forward.proxy_protocol);
                let address = forward.listen;
                listeners.push(Arc::new(Listener { address, face, tls, introducers }));
            }
        }
        for tunnel in &config.tunnels {
            // What is inside is not known, so no protocol is agreed upon.
            if let Some(tls) = keep(build_sole_tls(tunnel.tls.as_ref(), false, &[]), &mut errors) {
                let face = Face::Tunnel(Box::new(Tunnel {
                    routes: Routes::build(tunnel),
                    clients: policy::ClientRules::build(&tunnel.clients),
                    config: tunnel.clone(),
                }));
                let introducers = TrustedPeers::build(&tunnel.proxy_protocol);
                let address = tunnel.listen;
                listeners.push(Arc::new(Listener { address, face, tls, introducers }));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        for warning in lists.opened().filter_map(policy::DomainList::warning) {
            tracing::warn!("{warning}");
        }
        let trusted = TrustedPeers::build(&config.trusted_peers);
        let cluster_labels =
            config.upstreams.iter().map(|upstream| metrics.upstream(&upstream.name)).collect();
        let pseudonym = format!("bifrons-{:08x}", instance());
        Ok(Self { generation, listeners, clusters, cluster_labels, trusted, pseudonym, config })
    }

    /// The shortest time that anything may take: the clock must be finer.
    #[must_use]
    pub fn shortest_timeout(&self) -> Duration {
        let sites = self.config.sites.iter().map(|site| (&site.timeouts, &site.limits));
        let forwards = self.config.forwards.iter().map(|face| (&face.timeouts, &face.limits));
        let tunnels = self.config.tunnels.iter().map(|face| (&face.timeouts, &face.limits));
        sites
            .chain(forwards)
            .chain(tunnels)
            .flat_map(|(times, limits)| {
                [times.header, times.idle, times.tunnel_idle, times.response, limits.min_rate_grace]
            })
            .min()
            .unwrap_or(Duration::from_secs(10))
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

fn build_clusters(config: &Config, errors: &mut Vec<ConfigError>) -> Vec<Arc<ClusterPlan>> {
    let roots = Roots::system();
    let build = |(index, upstream)| {
        // An upstream connects as fast as the first site that uses it wants.
        let used = |site: &&config::Site| {
            site.routes.iter().any(|route| {
                matches!(route.action, config::Action::Relay { upstream } if upstream == index)
            })
        };
        let site = config.sites.iter().find(used).map(|site| &site.timeouts);
        let carries = |tunnel: &&config::Tunnel| {
            tunnel.upstream == Some(index)
                || tunnel.names.iter().any(|route| route.upstream == index)
        };
        let tunnel = || config.tunnels.iter().find(carries).map(|tunnel| &tunnel.timeouts);
        let timeout =
            site.or_else(tunnel).map_or(Duration::from_secs(5), |timeouts| timeouts.connect);
        ClusterPlan::build(upstream, timeout, &roots)
    };
    let built = config.upstreams.iter().enumerate().map(build);
    built.filter_map(|cluster| keep(cluster, errors).map(Arc::new)).collect()
}

/// The addresses that sites are served on, each once.
fn site_addresses(config: &Config) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for address in config.sites.iter().flat_map(|site| &site.listen) {
        if !addresses.contains(address) {
            addresses.push(*address);
        }
    }
    addresses
}

/// The sites that answer on an address: those that listen on it, and those that listen on the
/// same port of every address and speak what is spoken there.
fn sites_on(config: &Config, address: SocketAddr) -> impl Iterator<Item = &config::Site> {
    // A socket speaks one thing: TLS picks a site by its place among these.
    let spoken = config.sites.iter().find(|site| site.listen.contains(&address));
    let spoken = spoken.map(|site| site.scheme);
    config.sites.iter().filter(move |site| {
        Some(site.scheme) == spoken
            && site.listen.iter().any(|listen| {
                *listen == address
                    || (listen.port() == address.port() && listen.ip().is_unspecified())
            })
    })
}

fn build_reverse(
    config: &Config,
    address: SocketAddr,
    metrics: &Metrics,
) -> Result<Reverse, Vec<ConfigError>> {
    let mut table = SiteTable::default();
    let mut errors = Vec::new();
    let mut heads = HeadLimits { bytes: 0, fields: 0 };
    let mut timeouts: Option<config::Timeouts> = None;
    let mut joint: Option<config::Limits> = None;
    let mut http2 = false;
    for site in sites_on(config, address) {
        let limits = head_limits(&site.limits);
        http2 |= site.http2;
        heads.bytes = heads.bytes.max(limits.bytes);
        heads.fields = heads.fields.max(limits.fields);
        joint = Some(match joint {
            Some(joint) => most_generous(joint, &site.limits),
            None => site.limits.clone(),
        });
        timeouts = Some(match timeouts {
            Some(mut times) => {
                times.header = times.header.max(site.timeouts.header);
                times.idle = times.idle.max(site.timeouts.idle);
                times
            }
            None => site.timeouts.clone(),
        });
        let mut routes = RouteTable::default();
        for route in &site.routes {
            if let Some(route) = keep(Route::build(route, site), &mut errors) {
                routes.add(route);
            }
        }
        if let Some(error_pages) = keep(ErrorPages::build(&[], &site.error_pages), &mut errors) {
            let label = metrics.site(&site.name);
            table.add(Site { config: site.clone(), routes, heads: limits, error_pages, label });
        }
    }
    match (timeouts, joint) {
        _ if !errors.is_empty() => Err(errors),
        (Some(timeouts), Some(limits)) => Ok(Reverse { table, heads, timeouts, limits, http2 }),
        _ => Err(Vec::new()),
    }
}

/// What a connection may, of the sites that it may be for.
fn most_generous(mut joint: config::Limits, site: &config::Limits) -> config::Limits {
    // A site without a limit on connections is more generous than any with one.
    let connections = joint.connections_per_client.zip(site.connections_per_client);
    joint.connections_per_client = connections.map(|(a, b)| a.max(b));
    joint.streams = joint.streams.max(site.streams);
    joint.requests_per_connection = joint.requests_per_connection.max(site.requests_per_connection);
    joint
}

fn build_tls(config: &Config, address: SocketAddr) -> Result<Option<ServerTls>, Vec<ConfigError>> {
    let sites: Vec<_> = sites_on(config, address)
        .filter(|site| site.scheme == Scheme::Https)
        .filter_map(|site| {
            let tls = site.tls.as_ref()?;
            Some(ServerSite { hosts: &site.hosts, tls, http2: site.http2 })
        })
        .collect();
    if sites.is_empty() {
        return Ok(None);
    }
    ServerTls::build(&sites, ALPN).map(Some)
}

/// TLS of a listener where one configuration serves whatever name is asked for.
fn build_sole_tls(
    tls: Option<&config::SiteTls>,
    http2: bool,
    alpn: &[&[u8]],
) -> Result<Option<ServerTls>, Vec<ConfigError>> {
    let Some(tls) = tls else { return Ok(None) };
    let site = ServerSite { hosts: &[config::HostPattern::Any], tls, http2 };
    ServerTls::build(&[site], alpn).map(Some)
}

/// Who begins with a PROXY protocol header on this address. Sites that share it agree about
/// that.
fn introducers_of_sites(config: &Config, address: SocketAddr) -> TrustedPeers {
    let site = sites_on(config, address).next();
    TrustedPeers::build(site.map_or(&[], |site| &site.proxy_protocol))
}

fn own_addresses(config: &Config, local: Vec<IpAddr>) -> OwnAddresses {
    let tunnels = config.tunnels.iter().map(|tunnel| tunnel.listen);
    OwnAddresses {
        admin: config.admin.iter().map(|admin| admin.listen).collect(),
        forwards: config.forwards.iter().map(|forward| forward.listen).collect(),
        sites: site_addresses(config).into_iter().chain(tunnels).collect(),
        local,
    }
}

fn head_limits(limits: &config::Limits) -> HeadLimits {
    HeadLimits { bytes: limits.head_bytes, fields: limits.fields }
}

fn body_limit(limits: &config::Limits) -> u64 {
    match limits.body {
        config::ByteLimit::Bytes(bytes) => bytes,
        config::ByteLimit::Unlimited => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_socket_serves_only_sites_that_speak_what_it_speaks() {
        let text = r#"
            site "http://a.example" listen="0.0.0.0:8080" { respond 200 "a"; }
            site "https://b.example" listen="127.0.0.1:8080" {
                tls cert="cert.pem" key="key.pem"
                respond 200 "b"
            }
            site "https://c.example" listen="[::]:8080" {
                tls cert="cert.pem" key="key.pem"
                respond 200 "c"
            }
        "#;
        let config = config::parse("test", text, Path::new("")).unwrap();
        let names = |address: &str| -> Vec<_> {
            let sites = sites_on(&config, address.parse().unwrap());
            sites.map(|site| site.name.clone()).collect()
        };
        assert_eq!(names("127.0.0.1:8080"), ["https://b.example", "https://c.example"]);
        assert_eq!(names("0.0.0.0:8080"), ["http://a.example"]);
        assert_eq!(names("[::]:8080"), ["https://c.example"]);
    }

    #[test]
    fn the_most_generous_site_says_what_a_connection_may() {
        let joint = |sites: &[&str]| {
            let text: String = (sites.iter().zip('a'..))
                .map(|(limit, host)| {
                    format!("site \"http://{host}.example\" {{ {limit}; respond 200; }}\n")
                })
                .collect();
            let config = config::parse("test", &text, Path::new("")).unwrap();
            let limits = config.sites.iter().map(|site| site.limits.clone());
            let joint = limits.reduce(|joint, site| most_generous(joint, &site)).unwrap();
            (joint.connections_per_client, joint.requests_per_connection)
        };
        let (three, seven) =
            ("limit connections=3; limits { requests-per-connection 70; }", "limit connections=7");
        assert_eq!(joint(&[three]), (Some(3), 70));
        assert_eq!(joint(&[three, seven]), (Some(7), 10_000));
        let unlimited = "limits { requests-per-connection 30; }";
        assert_eq!(joint(&[three, unlimited, seven]), (None, 10_000));
        assert_eq!(joint(&[unlimited, three]), (None, 70));
    }
}
