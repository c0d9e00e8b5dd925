//! The forward face: users, exits, and the listeners that lead from one to the other.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use config::{AuthScheme, Config, ConfigError};
use egress::{Pools, Surroundings};
use policy::digest::DigestRealm;
use policy::{Geo, OwnAddresses, RuleSources, Targets, TrustedPeers, Users};
use tls::{ClientTls, Roots};

use super::{
    ALPN, Face, Forward, Listener, Sources, body_limit, build_sole_tls, closed_by_default, files,
    head_limits, keep, reverse,
};
use crate::cache::CachePlan;
use crate::crowd::Crowd;
use crate::intercept::Interception;

/// What rules about targets are made from.
pub(super) struct Rules<'a> {
    pub(super) sources: RuleSources,
    /// The folder with copies of lists.
    pub(super) state: Option<&'a Path>,
    /// Whether what is known of countries is what it was.
    pub(super) same_geo: bool,
}

/// What listeners lead from and to.
pub(super) struct Ends<'a> {
    /// As [`Config::users`].
    pub(super) users: &'a [Option<Arc<Users>>],
    /// `None` where they could not be built.
    pub(super) pools: Option<&'a Arc<Pools>>,
    pub(super) own: &'a OwnAddresses,
}

/// Where addresses are, and whether that is what it was.
pub(super) fn build_geo(from: &Sources<'_>, errors: &mut Vec<ConfigError>) -> (Arc<Geo>, bool) {
    let files = &from.bare.geoip;
    match from.old.filter(|old| old.config.geoip == *files) {
        Some(old) if from.same_files(files.iter().map(|file| &file.value)) => {
            (Arc::clone(&old.geo), true)
        }
        _ => (keep(Geo::open(&from.config.geoip), errors).unwrap_or_default().into(), false),
    }
}

/// Pools of exits: those of the old snapshot, where nothing of them has changed.
pub(super) fn build_pools(
    from: &Sources<'_>,
    rules: &Rules<'_>,
    geo: &Arc<Geo>,
    roots: &Roots,
    errors: &mut Vec<ConfigError>,
) -> Option<Arc<Pools>> {
    let lists = || from.bare.exits.iter().flat_map(|pool| files::of_exits(pool, rules.state));
    if let Some(old) = from.old
        && old.config.exits == from.bare.exits
        && rules.same_geo
        && from.same_files(lists())
    {
        return Some(Arc::clone(&old.pools));
    }
    let geo = Arc::clone(geo);
    let surroundings = Surroundings {
        registry: &from.registries.exits,
        roots,
        geo: Some(Arc::new(move |address| labels_of(&geo, address))),
        state: rules.state,
    };
    keep(Pools::build(&from.config.exits, &surroundings), errors).map(Arc::new)
}

/// What a GeoIP database says of an exit's address.
fn labels_of(geo: &Geo, address: IpAddr) -> Option<config::ExitLabels> {
    let place = geo.lookup(address)?;
    Some(config::ExitLabels {
        country: place.country,
        state: place.state.clone(),
        city: place.city.clone(),
        zip: place.zip.clone(),
        asn: place.asn,
        ..config::ExitLabels::default()
    })
}

/// TLS for exits that are measured by it, where there are any.
pub(super) fn measuring_tls(config: &Config, roots: &Roots) -> Option<ClientTls> {
    let mut targets = config.exits.iter().filter_map(|pool| pool.health.as_ref());
    targets.any(|health| health.target.starts_with("https:")).then_some(())?;
    let built = ClientTls::verifying(roots, &[b"http/1.1"]);
    built.inspect_err(|error| tracing::warn!(error = error.message, "exits are not measured")).ok()
}

/// Sets of users.
pub(super) fn build_users(
    from: &Sources<'_>,
    rules: &mut Rules<'_>,
    errors: &mut Vec<ConfigError>,
) -> Vec<Option<Arc<Users>>> {
    let build = |(set, bare): (&config::UserSet, &config::UserSet)| {
        let same = from.old.and_then(|old| {
            let index = old.config.users.iter().position(|known| known == bare)?;
            Some(&old.users[index])
        });
        match same {
            Some(users)
                if rules.same_geo && from.same_files(files::of_users(bare, rules.state)) =>
            {
                Some(Arc::clone(users))
            }
            _ => {
                let rows = rows_of(set, errors);
                keep(Users::build(set, rows, &mut rules.sources), errors).map(Arc::new)
            }
        }
    };
    from.config.users.iter().zip(&from.bare.users).map(build).collect()
}

/// Users that stand in databases.
fn rows_of(set: &config::UserSet, errors: &mut Vec<ConfigError>) -> Vec<config::User> {
    let mut rows = Vec::new();
    for file in &set.databases {
        match accounts::users_of(&file.value, file.span) {
            Ok(users) => rows.extend(users),
            Err(reason) => errors.push(
                ConfigError::at(file.span, "cannot read this database of users", reason)
                    .help("`bifrons user add` makes and changes it"),
            ),
        }
    }
    rows
}

/// A listener for each address of the configuration, sticky ports included.
pub(super) fn build_listeners(
    from: &Sources<'_>,
    ends: &Ends<'_>,
    rules: &mut Rules<'_>,
    errors: &mut Vec<ConfigError>,
) -> Vec<Arc<Listener>> {
    let mut listeners = Vec::new();
    for (forward, bare) in from.config.forwards.iter().zip(&from.bare.forwards) {
        let old = from.listener(bare.listen);
        if let Some(old) = old
            && let Face::Forward(face) = &old.face
            && face.is_as(bare, ends)
            && rules.same_geo
            && from.same_files(files::of_forward(bare, rules.state))
        {
            let sticky = bare.sticky_addresses().filter_map(|address| from.listener(address));
            listeners.extend(std::iter::once(old).chain(sticky).map(Arc::clone));
            continue;
        }
        let crowd = match &forward.auth {
            Some(auth) => build_crowd(from, auth.users, ends, errors).map(Some),
            None => Some(None),
        };
        let sources = &mut rules.sources;
        let targets = keep(Targets::build(forward, ends.own, closed_by_default, sources), errors);
        let tls = match old {
            Some(old) if old.has_forward_tls(bare) => Some(old.tls.clone()),
            _ => keep(build_sole_tls(forward.tls.as_ref(), forward.http2, ALPN), errors),
        };
        let intercept = match &forward.intercept {
            None => Some(None),
            Some(intercept) => {
                let (http2, state) = (forward.http2, rules.state);
                let sources = &mut rules.sources;
                keep(Interception::build(intercept, http2, state, sources), errors).map(Some)
            }
        };
        let (Some(targets), Some(tls), Some(users), Some(pools), Some(intercept)) =
            (targets, tls, crowd, ends.pools, intercept)
        else {
            continue;
        };
        let digest = build_digest(from, forward, users.as_deref());
        let face = Arc::new(Forward {
            heads: head_limits(&bare.limits),
            max_body: body_limit(&bare.limits),
            cache: bare.cache.as_ref().map(CachePlan::of_forward),
            clients: policy::ClientNets::build(&bare.clients),
            config: bare.clone(),
            own: ends.own.clone(),
            pools: Arc::clone(pools),
            users,
            digest,
            targets,
            intercept,
        });
        let at = |address, sticky| Listener {
            address,
            face: Face::Forward(Arc::clone(&face)),
            tls: tls.clone(),
            introducers: TrustedPeers::build(&bare.proxy_protocol),
            sticky,
        };
        listeners.push(Arc::new(at(bare.listen, false)));
        let sticky = bare.sticky_addresses().map(|address| Arc::new(at(address, true)));
        listeners.extend(sticky);
    }
    listeners
}

fn build_crowd(
    from: &Sources<'_>,
    set: usize,
    ends: &Ends<'_>,
    errors: &mut Vec<ConfigError>,
) -> Option<Arc<Crowd>> {
    let users = ends.users.get(set)?.as_ref()?;
    let written = from.config.users.get(set)?;
    let crowd = Crowd::build(written, users, super::next_generation(from.old));
    crowd.map(Arc::new).map_err(|error| errors.push(error)).ok()
}

fn build_digest(
    from: &Sources<'_>,
    forward: &config::Forward,
    crowd: Option<&Crowd>,
) -> Option<DigestRealm> {
    let auth = forward.auth.as_ref()?;
    let set = from.config.users.get(auth.users)?;
    let offered = auth.schemes.contains(&AuthScheme::Digest);
    Some(DigestRealm::build(&auth.realm, set, &crowd?.users)).filter(|_| offered)
}

impl Forward {
    /// Whether it is what the configuration says, but for the files that it names.
    fn is_as(&self, config: &config::Forward, ends: &Ends<'_>) -> bool {
        let users = config.auth.as_ref().and_then(|auth| ends.users.get(auth.users));
        let users = users.and_then(Option::as_ref).map(Arc::as_ptr);
        self.config == *config
            && self.own == *ends.own
            && ends.pools.is_some_and(|pools| Arc::ptr_eq(pools, &self.pools))
            && self.users.as_ref().map(|crowd| Arc::as_ptr(&crowd.users)) == users
    }

    /// Whether anything here leaves by a pool.
    pub(crate) fn has_pools(&self) -> bool {
        let pool = |way: config::WayOut| way != config::WayOut::Direct;
        pool(self.config.exit) || self.config.rules.iter().any(|rule| rule.exit.is_some_and(pool))
    }
}

impl Listener {
    fn has_forward_tls(&self, config: &config::Forward) -> bool {
        let Face::Forward(face) = &self.face else { return false };
        face.config.tls == config.tls && face.config.http2 == config.http2
    }
}

/// The addresses that are listened on, by what is served there.
pub(super) fn own_addresses(config: &Config, local: Vec<IpAddr>) -> OwnAddresses {
    let tunnels = config.tunnels.iter().map(|tunnel| tunnel.listen);
    OwnAddresses {
        admin: config.admin.iter().map(|admin| admin.listen).collect(),
        forwards: (config.forwards.iter())
            .flat_map(|forward| std::iter::once(forward.listen).chain(forward.sticky_addresses()))
            .collect(),
        sites: reverse::addresses(config).into_iter().chain(tunnels).collect(),
        local,
    }
}
