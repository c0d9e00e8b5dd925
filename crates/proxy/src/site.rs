//! Sites and routes as they are looked up: which of them a request belongs to.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;
use config::{Action, ByteLimit, ConfigError, HostPattern, PathPattern, PathRule};
use h1::HeadLimits;
use message::target::CanonicalPath;
use message::{Host, Method};

use crate::cache::CachePlan;
use crate::gate::Gate;
use crate::packing::Packing;
use crate::respond::ErrorPages;
use crate::rules::FieldRules;
use crate::unpacking::Unpacking;

/// All sites of one listener.
#[derive(Debug, Default)]
pub(crate) struct SiteTable {
    pub(crate) sites: Vec<Arc<Site>>,
    exact: AHashMap<String, usize>,
    /// By the suffix behind the `*`, with its dot.
    wildcard: AHashMap<String, usize>,
    addresses: AHashMap<IpAddr, usize>,
    default: Option<usize>,
}

/// One site. It is shared by all generations of the configuration in which it is the same.
#[derive(Debug)]
pub struct Site {
    /// As configured, but without its routes: they are in `routes`.
    pub(crate) config: config::Site,
    pub(crate) routes: RouteTable,
    pub(crate) heads: HeadLimits,
    pub(crate) error_pages: ErrorPages,
    pub(crate) label: telemetry::SiteLabel,
    pub(crate) gate: Option<Box<Gate>>,
    identity: Option<Arc<TlsIdentity>>,
}

/// What a TLS connection was made for: a site, and the rules by which clients were let in.
/// Through all generations of the configuration, requests on it are for this and nothing else.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    site: String,
    tls: config::SiteTls,
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) config: config::Route,
    pub(crate) methods: Vec<Box<[u8]>>,
    pub(crate) request_rules: FieldRules,
    pub(crate) response_rules: FieldRules,
    pub(crate) error_pages: ErrorPages,
    pub(crate) max_body: u64,
    /// How its answers are kept.
    pub(crate) cache: Option<Box<CachePlan>>,
    /// In which codings its answers go out.
    pub(crate) packing: Option<Box<Packing>>,
    /// Whether bodies of requests are unpacked for its servers.
    pub(crate) unpacking: Option<Unpacking>,
    /// Besides that of the site.
    pub(crate) gate: Option<Box<Gate>>,
}

/// The routes of one site, found by path.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    /// Those that are the same in several generations of the configuration are shared.
    pub(crate) routes: Vec<Arc<Route>>,
    /// Likewise, where no path was added, taken away or moved.
    paths: Arc<Paths>,
}

/// Routes by their paths, as indices.
#[derive(Debug, Default)]
struct Paths {
    exact: AHashMap<Box<[u8]>, Vec<usize>>,
    prefix: AHashMap<Box<[u8]>, Vec<usize>>,
    /// The longest prefix in bytes: nothing longer needs to be looked up.
    longest: usize,
}

/// What a path and a method lead to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This route.
    Route(usize),
    /// Routes for this path take other methods only.
    OtherMethods,
    /// None.
    Nothing,
}

impl SiteTable {
    pub(crate) fn add(&mut self, site: Arc<Site>) {
        let index = self.sites.len();
        for host in &site.config.hosts {
            match host {
                HostPattern::Any => self.default = Some(index),
                HostPattern::Address(address) => {
                    self.addresses.insert(*address, index);
                    // Only where no `*` site takes what nobody else does.
                    if !self.sites.iter().any(|site| site.config.hosts.contains(&HostPattern::Any))
                        && self.default.is_none()
                    {
                        self.default = Some(index);
                    }
                }
                HostPattern::Exact(name) => {
                    self.exact.insert(name.clone(), index);
                }
                HostPattern::Wildcard(suffix) => {
                    self.wildcard.insert(suffix.clone(), index);
                }
            }
        }
        self.sites.push(site);
    }

    /// The site that a host belongs to; `None` for the host is a request without one.
    pub(crate) fn find(&self, host: Option<&Host<'_>>) -> Option<usize> {
        match host {
            Some(Host::Name(name)) => {
                if let Some(index) = self.exact.get(name.as_ref()) {
                    return Some(*index);
                }
                if !self.wildcard.is_empty() {
                    let dots = name.bytes().enumerate().filter(|(at, b)| *b == b'.' && *at > 0);
                    for (at, _) in dots {
                        if let Some(index) = self.wildcard.get(&name[at..]) {
                            return Some(*index);
                        }
                    }
                }
                self.default
            }
            Some(Host::Address(address)) => self.addresses.get(address).copied().or(self.default),
            None => self.default,
        }
    }
}

impl Site {
    /// Compiles a site. `bare` is what was `written`, without its places. `old` was compiled from
    /// the same, but for its routes; those that `same` says something about may be taken over.
    ///
    /// # Errors
    /// What is missing or wrong, at its place.
    pub(crate) fn build(
        written: &config::Site,
        mut bare: config::Site,
        label: telemetry::SiteLabel,
        old: Option<&Self>,
        same: impl Fn(&config::Route) -> bool,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut routes = Vec::with_capacity(bare.routes.len());
        for (written_route, bare_route) in
            written.routes.iter().zip(std::mem::take(&mut bare.routes))
        {
            let known = old.and_then(|old| old.routes.like(&bare_route));
            match known {
                Some(route) if route.config == bare_route && same(&bare_route) => {
                    routes.push(Arc::clone(route));
                }
                _ => match Route::build(written_route, bare_route, written) {
                    Ok(route) => routes.push(Arc::new(route)),
                    Err(more) => add_new(&mut errors, more),
                },
            }
        }
        let routes = RouteTable::of(routes, old.map(|old| &old.routes));
        let identity = bare.tls.clone().map(|tls| TlsIdentity { site: bare.name.clone(), tls });
        match ErrorPages::build(&[], &written.error_pages) {
            Ok(error_pages) if errors.is_empty() => Ok(Self {
                heads: crate::snapshot::head_limits(&bare.limits),
                gate: Gate::of_site(&bare),
                config: bare,
                routes,
                error_pages,
                label,
                identity: identity.map(Arc::new),
            }),
            Ok(_) => Err(errors),
            Err(more) => {
                add_new(&mut errors, more);
                Err(errors)
            }
        }
    }

    /// As configured, but without its routes.
    #[must_use]
    pub fn config(&self) -> &config::Site {
        &self.config
    }

    /// Its routes, in the order of the configuration.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &config::Route> {
        self.routes.routes.iter().map(|route| &route.config)
    }

    /// Whether its routes are these, without their places.
    pub(crate) fn has_routes(&self, routes: &[config::Route]) -> bool {
        self.routes().eq(routes)
    }

    /// What its TLS connections are made for.
    pub(crate) fn identity(&self) -> Option<&Arc<TlsIdentity>> {
        self.identity.as_ref()
    }

    /// Whether a TLS connection that was made for this was made for this site.
    pub(crate) fn is_for(&self, made_for: &TlsIdentity) -> bool {
        self.identity
            .as_ref()
            .is_some_and(|own| std::ptr::eq(Arc::as_ptr(own), made_for) || **own == *made_for)
    }
}

impl RouteTable {
    /// Of these routes, which may be almost those of `old`.
    pub(crate) fn of(routes: Vec<Arc<Route>>, old: Option<&Self>) -> Self {
        let same_paths = |old: &&Self| {
            let (old, new) = (old.routes.iter(), routes.iter());
            old.map(|route| &route.config.path).eq(new.map(|route| &route.config.path))
        };
        let paths = match old.filter(same_paths) {
            Some(old) => Arc::clone(&old.paths),
            None => Arc::new(Paths::of(&routes)),
        };
        Self { routes, paths }
    }

    /// The route that takes the same requests as this one.
    pub(crate) fn like(&self, route: &config::Route) -> Option<&Arc<Route>> {
        let same_path = match &route.path {
            PathPattern::Exact(path) => self.paths.exact.get(path.as_bytes()),
            PathPattern::Prefix(path) => self.paths.prefix.get(path.as_bytes()),
        };
        let mut routes = same_path?.iter().map(|index| &self.routes[*index]);
        routes.find(|known| known.config.methods == route.methods)
    }

    /// The route of a path, the same in both readings of it; `Err` where they differ.
    pub(crate) fn find(&self, path: &CanonicalPath<'_>, method: &[u8]) -> Result<Found, ()> {
        let strict = self.find_in(&path.strict, method);
        match &path.loose {
            Some(loose) if self.find_in(loose, method) != strict => Err(()),
            _ => Ok(strict),
        }
    }

    fn find_in(&self, path: &[u8], method: &[u8]) -> Found {
        let mut other_methods = false;
        let mut look = |routes: Option<&Vec<usize>>| {
            let routes = routes?;
            let found = routes.iter().find(|index| self.routes[**index].takes(method));
            other_methods |= found.is_none();
            found.copied()
        };
        if !self.paths.exact.is_empty()
            && let Some(index) = look(self.paths.exact.get(path))
        {
            return Found::Route(index);
        }
        // From the whole path down to the root, one segment less each time.
        let mut end = path.len();
        loop {
            if end <= self.paths.longest
                && let Some(index) = look(self.paths.prefix.get(&path[..end]))
            {
                return Found::Route(index);
            }
            match path[..end].iter().rposition(|&byte| byte == b'/') {
                Some(at) => end = at,
                None => break,
            }
        }
        if other_methods { Found::OtherMethods } else { Found::Nothing }
    }

    /// The methods that routes of this path take, for `Allow`.
    pub(crate) fn methods(&self, path: &CanonicalPath<'_>) -> Vec<&[u8]> {
        let candidates = self.routes.iter().filter(|route| match &route.config.path {
            PathPattern::Exact(exact) => exact.as_bytes() == &*path.strict,
            PathPattern::Prefix(prefix) => path
                .strict
                .strip_prefix(prefix.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/'),
        });
        let mut methods: Vec<&[u8]> = Vec::new();
        for method in candidates.flat_map(|route| &route.methods) {
            if !methods.contains(&&**method) {
                methods.push(method);
            }
        }
        methods
    }
}

impl Paths {
    fn of(routes: &[Arc<Route>]) -> Self {
        let mut paths = Self::default();
        for (index, route) in routes.iter().enumerate() {
            let (map, path) = match &route.config.path {
                PathPattern::Exact(path) => (&mut paths.exact, path),
                PathPattern::Prefix(path) => {
                    paths.longest = paths.longest.max(path.len());
                    (&mut paths.prefix, path)
                }
            };
            map.entry(path.as_bytes().into()).or_default().push(index);
        }
        paths
    }
}

/// What a site says holds for each of its routes: what is wrong with it is said once.
fn add_new(errors: &mut Vec<ConfigError>, more: Vec<ConfigError>) {
    for error in more {
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
}

impl Route {
    /// Compiles a route of a site. `bare` is the route without its places.
    pub(crate) fn build(
        config: &config::Route,
        bare: config::Route,
        site: &config::Site,
    ) -> Result<Self, Vec<ConfigError>> {
        let max_body = match config.max_body.unwrap_or(site.limits.body) {
            ByteLimit::Bytes(bytes) => bytes,
            ByteLimit::Unlimited => u64::MAX,
        };
        Ok(Self {
            methods: config.methods.iter().map(|method| method.as_bytes().into()).collect(),
            request_rules: FieldRules::build(&site.request_fields, &config.request_fields),
            response_rules: FieldRules::build(&site.response_fields, &config.response_fields),
            error_pages: ErrorPages::build(&config.error_pages, &site.error_pages)?,
            cache: config.cache.as_ref().map(|rules| Box::new(CachePlan::build(rules))),
            packing: config.compress.as_ref().map(|config| Box::new(Packing::build(config))),
            unpacking: config.decompress.as_ref().map(|config| Unpacking::build(config, max_body)),
            max_body,
            gate: Gate::of_route(&bare, site),
            config: bare,
        })
    }

    pub(crate) fn takes(&self, method: &[u8]) -> bool {
        self.methods.is_empty()
            || self.methods.iter().any(|taken| {
                // Whoever takes GET takes HEAD (RFC 9110 §9.3.2).
                **taken == *method || (Method::of(method) == Method::Head && **taken == *b"GET")
            })
    }

    /// The upstream it relays to.
    pub(crate) fn upstream(&self) -> Option<usize> {
        match self.config.action {
            Action::Relay { upstream } => Some(upstream),
            Action::Redirect { .. } | Action::Respond { .. } => None,
        }
    }

    /// The path that goes to the origin, as pieces of what was received and of the rule.
    pub(crate) fn path_out<'a>(&'a self, received: &'a [u8]) -> [&'a [u8]; 2] {
        let received = if received.is_empty() { b"/" } else { received };
        match &self.config.path_rule {
            PathRule::Keep => [received, b""],
            PathRule::StripPrefix(prefix) => {
                match message::target::strip_segments(received, prefix) {
                    b"" => [b"/", b""],
                    rest => [rest, b""],
                }
            }
            PathRule::Rewrite(template) => self.fill(template, received),
        }
    }

    /// A template, filled with what the `*` of the route's pattern took.
    pub(crate) fn fill<'a>(
        &self,
        template: &'a config::PathTemplate,
        received: &'a [u8],
    ) -> [&'a [u8]; 2] {
        let (true, PathPattern::Prefix(prefix)) = (template.rest, &self.config.path) else {
            return [template.text.as_bytes(), b""];
        };
        let rest = message::target::strip_segments(received, prefix);
        let text = template.text.as_bytes();
        // The slash before the `*` belongs to the template.
        match (text.ends_with(b"/"), rest) {
            (true, [b'/', rest @ ..]) => [text, rest],
            _ => [text, rest],
        }
    }
}

#[cfg(test)]
mod tests;
