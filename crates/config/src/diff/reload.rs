//! What a reload makes of a change.

use std::fmt;
use std::net::SocketAddr;

use super::{Pairs, route_name};
use crate::model::*;
use crate::show;

/// One address that is listened on, and what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listening {
    address: SocketAddr,
    /// The last of several ports.
    last: Option<u16>,
    face: &'static str,
    tls: bool,
}

impl Listening {
    pub(super) fn is_at(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { ", TLS" } else { "" };
        let last = self.last.map_or_else(String::new, |last| format!("-{last}"));
        write!(f, "{}{last} ({}{tls})", self.address, self.face)
    }
}

/// Every address once, in the order of the configuration.
pub(super) fn listeners(config: &Config) -> Vec<Listening> {
    let sites = config.sites.iter().flat_map(|site| {
        let tls = site.scheme == Scheme::Https;
        let face = "sites";
        site.listen.iter().map(move |address| Listening {
            address: *address,
            last: None,
            face,
            tls,
        })
    });
    let forwards = config.forwards.iter().flat_map(|forward| {
        let (face, tls) = ("forward", forward.tls.is_some());
        let sticky = forward.sticky_ports.map(|(low, high)| Listening {
            address: SocketAddr::new(forward.listen.ip(), low),
            last: Some(high),
            face,
            tls,
        });
        [Listening { address: forward.listen, last: None, face, tls }].into_iter().chain(sticky)
    });
    let tunnels = config.tunnels.iter().map(|tunnel| Listening {
        address: tunnel.listen,
        last: None,
        face: "tunnel",
        tls: tunnel.tls.is_some(),
    });
    let mut all: Vec<Listening> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for one in sites.chain(forwards).chain(tunnels) {
        if seen.insert(one.address) {
            all.push(one);
        }
    }
    all
}

/// What a reload ends after `drain-timeout`.
pub(super) fn drained(old: &Config, new: &Config) -> Vec<String> {
    let after = format!("after {}", show::duration(new.drain_timeout));
    let mut drained = Vec::new();
    let now = listeners(new);
    for was in listeners(old) {
        if !now.contains(&was) {
            drained.push(format!(
                "connections to {was}: each when its request is done, WebSockets and tunnels {after}"
            ));
        }
    }
    let sites = Pairs::of(&old.sites, &new.sites, |site| site.name.as_str());
    let gone = |site: &Site, route: &Route| {
        format!("WebSockets and tunnels of {} of site {}: {after}", route_name(route), site.name)
    };
    for site in &sites.removed {
        drained.extend(
            site.routes.iter().filter(|route| is_relay(route)).map(|route| gone(site, route)),
        );
    }
    for (was, is) in &sites.kept {
        let routes = Pairs::of(&was.routes, &is.routes, |route| (&route.path, &route.methods));
        let removed = routes.removed.iter().filter(|route| is_relay(route));
        drained.extend(removed.map(|route| gone(was, route)));
    }
    drained
}

fn is_relay(route: &Route) -> bool {
    matches!(route.action, Action::Relay { .. })
}

/// What takes effect at the next start only.
pub(super) fn restart(old: &Config, new: &Config) -> Vec<String> {
    let disk = |config: &Config| config.cache.disk.as_ref().map(|disk| disk.path.value.clone());
    let log = |config: &Config| (config.access_log.target.clone(), config.access_log.format);
    [
        ("threads", old.threads == new.threads),
        ("admin", old.admin == new.admin),
        ("access-log", log(old) == log(new)),
        ("resolvers", old.dns == new.dns),
        ("state", old.state == new.state),
        ("disk", disk(old) == disk(new)),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(name, _)| format!("`{name}` takes effect at the next start only"))
    .collect()
}
