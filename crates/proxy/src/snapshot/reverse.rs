//! Sites, and the sockets that they are served on.

use std::net::SocketAddr;
use std::sync::Arc;

use config::{Config, ConfigError, Scheme};
use h1::HeadLimits;
use policy::{TrustedPeers, Users};
use tls::{ServerSite, ServerTls};

use super::{ALPN, Face, Listener, Reverse, Sources, files, keep};
use crate::site::{Site, SiteTable};

/// The addresses that sites are served on, each once.
pub(super) fn addresses(config: &Config) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for address in config.sites.iter().flat_map(|site| &site.listen) {
        if !addresses.contains(address) {
            addresses.push(*address);
        }
    }
    addresses
}

/// Sites in the order of the configuration; `None` where one cannot be built.
pub(super) fn build_sites(
    from: &Sources<'_>,
    bare: Vec<config::Site>,
    users: &[Option<Arc<Users>>],
    errors: &mut Vec<ConfigError>,
) -> Vec<Option<Arc<Site>>> {
    let known = from.by_name(|old| &old.sites, |site| site.config.name.as_str());
    let mut sites = Vec::with_capacity(bare.len());
    for (written, mut bare) in from.config.sites.iter().zip(bare) {
        let routes = std::mem::take(&mut bare.routes);
        let same = from.old.and_then(|old| {
            let mut namesakes = known.get(bare.name.as_str())?.iter().map(|at| &old.sites[*at]);
            namesakes.find(|site| site.config == bare)
        });
        let same = same.filter(|_| from.same_files(files::of_pages(&bare.error_pages)));
        let same_routes = same.is_some_and(|site| site.has_routes(&routes));
        bare.routes = routes;
        let kept = same.filter(|_| {
            same_routes && from.same_files(files::of_site(&bare)) && same_users(from, &bare, users)
        });
        sites.push(match kept {
            Some(site) => Some(Arc::clone(site)),
            None => {
                let label = from.metrics.site(&bare.name);
                let same_files =
                    |route: &config::Route| from.same_files(files::of_pages(&route.error_pages));
                let old = same.map(|site| &**site);
                keep(Site::build(written, bare, label, old, same_files), errors).map(Arc::new)
            }
        });
    }
    sites
}

/// Whether the sets of users that a site names are what they were.
fn same_users(from: &Sources<'_>, site: &config::Site, users: &[Option<Arc<Users>>]) -> bool {
    let gates = site.routes.iter().map(|route| &route.gate).chain([&site.gate]);
    gates.filter_map(|gate| gate.basic.as_ref()).all(|basic| {
        let old = from.old.and_then(|old| old.users.get(basic.users));
        let new = users.get(basic.users).and_then(Option::as_ref);
        old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new))
    })
}

/// One listener for each address of a site.
pub(super) fn build_listeners(
    from: &Sources<'_>,
    sites: &[Option<Arc<Site>>],
    errors: &mut Vec<ConfigError>,
) -> Vec<Arc<Listener>> {
    let mut listeners = Vec::new();
    for address in addresses(from.config) {
        let old = from.listener(address);
        let here = sites_on(from.config, address);
        let tls = keep(build_tls(from.config, &here, sites, old), errors);
        let built: Option<Vec<_>> = here.iter().map(|index| sites[*index].clone()).collect();
        let (Some(tls), Some(sites)) = (tls, built) else { continue };
        if let Some(old) = old.filter(|old| old.is_of(&sites, tls.as_ref())) {
            listeners.push(Arc::clone(old));
        } else if let Some(face) = Reverse::of(sites) {
            // Those that listen on this very address agree about that.
            let site = from.config.sites.iter().find(|site| site.listen.contains(&address));
            let introducers = TrustedPeers::build(site.map_or(&[], |site| &site.proxy_protocol));
            let face = Face::Reverse(face);
            listeners.push(Arc::new(Listener { address, face, tls, introducers, sticky: false }));
        }
    }
    listeners
}

/// The sites that answer on an address, by index: those that listen on it, and those that listen
/// on the same port of every address and speak what is spoken there.
fn sites_on(config: &Config, address: SocketAddr) -> Vec<usize> {
    // A socket speaks one thing: TLS picks a site by its place among these.
    let spoken = config.sites.iter().find(|site| site.listen.contains(&address));
    let spoken = spoken.map(|site| site.scheme);
    let serves = |site: &config::Site| {
        Some(site.scheme) == spoken
            && site.listen.iter().any(|listen| {
                *listen == address
                    || (listen.port() == address.port() && listen.ip().is_unspecified())
            })
    };
    (0..config.sites.len()).filter(|index| serves(&config.sites[*index])).collect()
}

/// TLS of these sites, which is that of the old listener where nothing about it has changed: it
/// has the sessions of clients.
fn build_tls(
    config: &Config,
    indices: &[usize],
    sites: &[Option<Arc<Site>>],
    old: Option<&Arc<Listener>>,
) -> Result<Option<Arc<ServerTls>>, Vec<ConfigError>> {
    let written = || indices.iter().map(|index| &config.sites[*index]);
    if written().all(|site| site.scheme != Scheme::Https) {
        return Ok(None);
    }
    if let Some(Listener { face: Face::Reverse(face), tls: Some(tls), .. }) = old.map(|old| &**old)
    {
        let terms = |site: &Arc<Site>| {
            (site.config.hosts.clone(), site.config.tls.clone(), site.config.http2)
        };
        let now = indices.iter().map(|index| sites[*index].as_ref().map(terms));
        if face.table.sites.iter().map(|site| Some(terms(site))).eq(now) {
            return Ok(Some(Arc::clone(tls)));
        }
    }
    let sites: Vec<_> = written()
        .filter_map(|site| {
            let tls = site.tls.as_ref()?;
            Some(ServerSite { hosts: &site.hosts, tls, http2: site.http2 })
        })
        .collect();
    ServerTls::build(&sites, ALPN).map(Arc::new).map(Some)
}

impl Listener {
    /// Whether it is made of these sites.
    fn is_of(&self, sites: &[Arc<Site>], tls: Option<&Arc<ServerTls>>) -> bool {
        let Face::Reverse(face) = &self.face else { return false };
        face.table.sites.iter().map(Arc::as_ptr).eq(sites.iter().map(Arc::as_ptr))
            && self.tls.as_ref().map(Arc::as_ptr) == tls.map(Arc::as_ptr)
    }
}

impl Reverse {
    /// Of these sites; `None` if there are none.
    fn of(sites: Vec<Arc<Site>>) -> Option<Self> {
        let first = &sites.first()?.config;
        let mut table = SiteTable::default();
        let mut heads = HeadLimits { bytes: 0, fields: 0 };
        let (mut timeouts, mut limits) = (first.timeouts.clone(), first.limits.clone());
        let mut http2 = false;
        for site in sites {
            let config = &site.config;
            http2 |= config.http2;
            heads.bytes = heads.bytes.max(site.heads.bytes);
            heads.fields = heads.fields.max(site.heads.fields);
            limits = most_generous(limits, &config.limits);
            timeouts.header = timeouts.header.max(config.timeouts.header);
            timeouts.idle = timeouts.idle.max(config.timeouts.idle);
            table.add(site);
        }
        Some(Self { table, heads, timeouts, limits, http2 })
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
            sites.into_iter().map(|index| config.sites[index].name.clone()).collect()
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
