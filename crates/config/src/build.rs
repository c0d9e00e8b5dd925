//! From items to the model: the top of the configuration, and what its parts share.

use std::collections::HashMap;
use std::time::Duration;

use crate::listeners::Listeners;
use crate::model::{AccessLog, Admin, Config, LogFormat, LogTarget, Upstream, UserSet, WayOut};
use crate::settings::Defaults;
use crate::suggest::{listed, nearest};
use crate::walk::Item;
use crate::{ConfigError, Spanned, cache, dns, exits, forward, site, tunnel, upstream, users};

/// What the parts share while they are built.
pub(crate) struct Context<'a> {
    pub errors: &'a mut Vec<ConfigError>,
    pub defaults: Defaults,
    /// Named ones first, in the order of [`Context::upstream_names`]; those of `to` behind
    /// them. Only where there are no errors do indexes count.
    pub upstreams: Vec<Upstream>,
    pub upstream_names: Vec<Spanned<String>>,
    /// Indexes of those that `forward-auth` asks.
    pub asked: Vec<usize>,
    pub user_names: Vec<Spanned<String>>,
    /// The sets themselves, once they are built.
    pub users: Vec<UserSet>,
    pub exit_names: Vec<Spanned<String>>,
    /// Names that exits were given, by where those stand.
    pub named_exits: HashMap<usize, Spanned<String>>,
    /// Whether there is a folder for what outlives the process.
    pub has_state: bool,
    /// Whether there is a database of countries.
    pub has_geoip: bool,
}

impl Context<'_> {
    pub(crate) fn error(&mut self, error: ConfigError) {
        self.errors.push(error);
    }
}

/// Builds the whole configuration. What is wrong is left out and reported.
pub(crate) fn config(items: &[Item], errors: &mut Vec<ConfigError>) -> Config {
    let named = |name: &'static str| items.iter().filter(move |item| item.directive.name == name);
    let only = |name: &'static str| named(name).next();
    let flawed = !errors.is_empty();
    let upstream_names = names(named("upstream"), errors);
    let user_names = names(named("users"), errors);
    let exit_names = names(named("exits"), errors);
    let mut context = Context {
        errors,
        defaults: Defaults::new(items),
        upstreams: Vec::new(),
        upstream_names,
        asked: Vec::new(),
        user_names,
        users: Vec::new(),
        exit_names,
        named_exits: HashMap::new(),
        has_state: only("state").is_some(),
        has_geoip: only("geoip").is_some(),
    };
    let mut pools: Vec<_> =
        named("exits").filter_map(|item| exits::pool(item, &mut context)).collect();
    exits::settle(&mut pools, &mut context);
    for item in named("upstream") {
        upstream::named(item, &mut context);
    }
    let admin = only("admin").and_then(|item| admin(item, &mut context));
    context.users = named("users").filter_map(|item| users::set(item, &mut context)).collect();
    users::check_exits(items, &pools, context.errors);
    let sites: Vec<_> = named("site").filter_map(|item| site::site(item, &mut context)).collect();
    let forwards: Vec<_> =
        named("forward").filter_map(|item| forward::forward(item, &mut context)).collect();
    let tunnels: Vec<_> =
        named("tunnel").filter_map(|item| tunnel::tunnel(item, &mut context)).collect();
    let cache = cache::store(only("cache"), &mut context);
    let of_routes = sites.iter().flat_map(|site| &site.site.routes).map(|route| &route.cache);
    let of_forwards = forwards.iter().map(|forward| &forward.forward.cache);
    let rules = of_routes.chain(of_forwards).flatten();
    cache::check_slices(&cache, rules, &mut context);
    let admin_at = only("admin").and_then(|item| item.written("address"));
    let listeners = Listeners {
        admin: admin.as_ref().zip(admin_at),
        sites: &sites,
        forwards: &forwards,
        tunnels: &tunnels,
    };
    listeners.check(context.errors);
    if ["site", "forward", "tunnel"].iter().all(|name| only(name).is_none()) && !flawed {
        context.error(nothing_to_do());
    }
    Config {
        threads: only("threads")
            .and_then(|item| std::num::NonZeroUsize::new(item.get::<u64>("count")? as usize)),
        access_log: access_log(only("access-log")),
        admin,
        drain_timeout: only("drain-timeout")
            .and_then(|item| item.get("time"))
            .unwrap_or(Duration::from_secs(30)),
        trusted_peers: named("trust").flat_map(|item| values(item, "peer")).collect(),
        dns: dns::dns(items, context.errors),
        state: only("state").and_then(|item| item.one("folder")),
        geoip: named("geoip").flat_map(|item| item.all("file")).collect(),
        exits: pools,
        cache,
        sites: sites.into_iter().map(|site| site.site).collect(),
        upstreams: context.upstreams,
        users: context.users,
        forwards: forwards.into_iter().map(|forward| forward.forward).collect(),
        tunnels: tunnels.into_iter().map(|tunnel| tunnel.tunnel).collect(),
    }
}

/// All values of a parameter, without their places.
pub(crate) fn values<T: crate::typed::FromTyped>(item: &Item, name: &str) -> Vec<T> {
    item.all(name).into_iter().map(|found| found.value).collect()
}

fn nothing_to_do() -> ConfigError {
    ConfigError::whole("nothing to do: there is no `site`, no `forward` and no `tunnel`").help(
        "a reverse proxy: site \"http://localhost:8080\" { to \"http://127.0.0.1:9000\" }\n\
         a forward proxy: forward \"127.0.0.1:3128\"\n\
         a tunnel: tunnel \"127.0.0.1:5432\" { to \"tcp://10.0.0.1:5432\" }",
    )
}

fn access_log(item: Option<&Item>) -> AccessLog {
    let target = item.and_then(|item| item.get("target")).unwrap_or(LogTarget::Off);
    let format = item.and_then(|item| item.get::<String>("format"));
    let format = match format.as_deref() {
        Some("json") => LogFormat::Json,
        _ => LogFormat::Combined,
    };
    AccessLog { target, format, span: item.map(|item| item.span) }
}

fn admin(item: &Item, context: &mut Context<'_>) -> Option<Admin> {
    let listen = item.one::<std::net::SocketAddr>("address")?;
    if !listen.value.ip().is_loopback() && item.written("token").is_none() {
        context.error(
            ConfigError::at(
                listen.span,
                "an admin listener that anybody can reach",
                "not a loopback address, and there is no token",
            )
            .help(format!("listen on \"127.0.0.1:{}\", or add token=\"…\"", listen.value.port())),
        );
    }
    Some(Admin { listen: listen.value, token: item.get("token"), span: item.span })
}

/// The names of named things, in the order of the file. Each may stand once.
fn names<'a>(
    items: impl Iterator<Item = &'a Item>,
    errors: &mut Vec<ConfigError>,
) -> Vec<Spanned<String>> {
    let mut seen = HashMap::new();
    let mut names = Vec::new();
    for item in items {
        let Some(name) = item.one::<String>("name") else { continue };
        let what = item.directive.name;
        if let Some(first) = seen.insert(name.value.clone(), name.span) {
            errors.push(
                ConfigError::at(
                    name.span,
                    format!("two `{what}` are named \"{}\"", name.value),
                    "the second",
                )
                .also(first, "the first")
                .help("give one of them another name, or put both together"),
            );
        }
        names.push(name);
    }
    names
}

/// The way out of a name: `direct`, or a pool.
pub(crate) fn resolve_way(name: &Spanned<String>, context: &mut Context<'_>) -> Option<WayOut> {
    if name.value == "direct" {
        return Some(WayOut::Direct);
    }
    let known = context.exit_names.iter().any(|pool| pool.value == name.value);
    if !known && nearest(&name.value, ["direct"].into_iter()).is_some() {
        let message = format!("there is no `exits` named \"{}\"", name.value);
        context.error(
            ConfigError::at(name.span, message, "not known").help("did you mean \"direct\"?"),
        );
        return None;
    }
    resolve(name, &context.exit_names, "exits", context.errors).map(WayOut::Pool)
}

/// Where in `names` a reference points.
pub(crate) fn resolve(
    reference: &Spanned<String>,
    names: &[Spanned<String>],
    what: &str,
    errors: &mut Vec<ConfigError>,
) -> Option<usize> {
    if let Some(at) = names.iter().position(|name| name.value == reference.value) {
        return Some(at);
    }
    let known: Vec<_> = names.iter().map(|name| format!("\"{}\"", name.value)).collect();
    let meant = nearest(&reference.value, names.iter().map(|name| name.value.as_str()));
    let help = match meant {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None if known.is_empty() => {
            format!("add `{what} {} {{ … }}` at the top", crate::quote(&reference.value))
        }
        None => format!("there is {}", listed(&known, "and")),
    };
    errors.push(
        ConfigError::at(
            reference.span,
            format!("there is no `{what}` named \"{}\"", reference.value),
            "not known",
        )
        .help(help),
    );
    None
}
