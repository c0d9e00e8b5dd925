//! Things of the model as lists of facts that can be compared one by one.

use super::{Change, Sign};
use crate::model::*;
use crate::show;

/// What is said about one thing. Of the same kind of thing the same facts are said, in the same
/// order, so that those of two can be held against each other.
#[derive(Debug, Default)]
pub(super) struct Facts(Vec<Fact>);

#[derive(Debug)]
struct Fact {
    name: &'static str,
    value: Value,
}

#[derive(Debug)]
enum Value {
    /// `None`: there is none.
    One(Option<String>),
    Many(Vec<String>),
    /// What is compared, and not told.
    Secret(Option<String>),
}

impl Facts {
    pub(super) fn one(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push(Fact { name, value: Value::One(Some(value.into())) });
    }

    pub(super) fn maybe(&mut self, name: &'static str, value: Option<String>) {
        self.0.push(Fact { name, value: Value::One(value) });
    }

    pub(super) fn many<T: ToString>(
        &mut self,
        name: &'static str,
        values: impl IntoIterator<Item = T>,
    ) {
        let values = values.into_iter().map(|value| value.to_string()).collect();
        self.0.push(Fact { name, value: Value::Many(values) });
    }

    pub(super) fn secret(&mut self, name: &'static str, value: Option<&String>) {
        self.0.push(Fact { name, value: Value::Secret(value.cloned()) });
    }
}

/// Which facts are others.
pub(super) fn compare(old: Facts, new: Facts) -> Vec<Change> {
    let mut changes = Vec::new();
    for (old, new) in old.0.into_iter().zip(new.0) {
        let name = new.name;
        match (old.value, new.value) {
            (Value::One(old), Value::One(new)) => changes.extend(compare_one(name, old, new)),
            (Value::Many(old), Value::Many(new)) => compare_many(name, &old, &new, &mut changes),
            (Value::Secret(old), Value::Secret(new)) if old != new => {
                changes.push(Change::new(Sign::Changed, name));
            }
            _ => {}
        }
    }
    changes
}

fn compare_one(name: &str, old: Option<String>, new: Option<String>) -> Option<Change> {
    match (old, new) {
        (Some(old), Some(new)) if old != new => {
            Some(Change::new(Sign::Changed, format!("{name}: {old} → {new}")))
        }
        (Some(old), None) => Some(Change::new(Sign::Removed, format!("{name}: {old}"))),
        (None, Some(new)) => Some(Change::new(Sign::Added, format!("{name}: {new}"))),
        _ => None,
    }
}

fn compare_many(name: &str, old: &[String], new: &[String], changes: &mut Vec<Change>) {
    // Each occurrence counts: a rule that is there twice and then once has changed.
    let left = |of: &[String], other: &[String]| -> Vec<String> {
        let mut other: Vec<&String> = other.iter().collect();
        let mut left = Vec::new();
        for value in of {
            match other.iter().position(|known| *known == value) {
                Some(at) => {
                    other.swap_remove(at);
                }
                None => left.push(value.clone()),
            }
        }
        left
    };
    let (removed, added) = (left(old, new), left(new, old));
    let kept = |of: &[String], gone: &[String]| -> Vec<String> {
        of.iter().filter(|value| !gone.contains(value)).cloned().collect()
    };
    if kept(old, &removed) != kept(new, &added) {
        changes.push(Change::new(Sign::Changed, format!("{name} in another order")));
    }
    for (sign, values) in [(Sign::Removed, removed), (Sign::Added, added)] {
        changes.extend(values.iter().map(|value| Change::new(sign, format!("{name}: {value}"))));
    }
}

/// What holds for the whole process.
pub(super) fn top(config: &Config) -> Facts {
    let mut facts = Facts::default();
    facts.maybe("threads", config.threads.map(|threads| threads.to_string()));
    let log = &config.access_log;
    let format = match log.format {
        LogFormat::Combined => "combined",
        LogFormat::Json => "json",
    };
    facts.one(
        "access-log",
        match &log.target {
            LogTarget::Off => "off".to_owned(),
            LogTarget::Stdout => format!("stdout, {format}"),
            LogTarget::File(path) => format!("{}, {format}", path.display()),
        },
    );
    facts.maybe("admin", config.admin.as_ref().map(|admin| admin.listen.to_string()));
    facts.secret("admin token", config.admin.as_ref().and_then(|admin| admin.token.as_ref()));
    facts.one("drain-timeout", show::duration(config.drain_timeout));
    facts.many("trust", config.trusted_peers.iter().map(show::net));
    facts.many("resolver", config.dns.servers.iter().map(show::name_server));
    facts.many(
        "hosts",
        config
            .dns
            .hosts
            .iter()
            .map(|entry| format!("{} {}", entry.name, show::list(&entry.addresses))),
    );
    facts.one("prefer", show::preference(config.dns.prefer));
    facts.maybe("state", config.state.as_ref().map(|folder| folder.value.display().to_string()));
    let cache = &config.cache;
    facts.one("cache memory", show::bytes(cache.memory));
    facts.maybe("cache disk", cache.disk.as_ref().map(show::cache_disk));
    facts.one("cache max-object", show::bytes(cache.max_object));
    facts.many("geoip", config.geoip.iter().map(|file| file.value.display().to_string()));
    facts
}

pub(super) fn site(site: &Site, config: &Config) -> Facts {
    let mut facts = Facts::default();
    facts.many("host", site.hosts.iter().map(show::host));
    facts.many("listen", &site.listen);
    tls(site.tls.as_ref(), &mut facts);
    facts.one("http2", on_off(site.http2));
    facts.many("proxy-protocol", site.proxy_protocol.iter().map(show::net));
    fields(&site.request_fields, &site.response_fields, &site.error_pages, &mut facts);
    let forwarded = &site.forwarded;
    facts.one("forwarded x-forwarded", show::forwarded_mode(forwarded.x_forwarded));
    facts.one("forwarded rfc7239", show::forwarded_mode(forwarded.forwarded));
    facts.maybe("forwarded via", forwarded.via.clone());
    facts.one("forwarded preserve-host", on_off(forwarded.preserve_host));
    gate(&site.gate, config, &mut facts);
    limits(&site.limits, &mut facts);
    timeouts(&site.timeouts, &mut facts);
    facts
}

pub(super) fn route(route: &Route, config: &Config) -> Facts {
    let mut facts = Facts::default();
    facts.one("action", show::action(&route.action, config));
    facts.maybe(
        "text",
        match &route.action {
            Action::Respond { body, .. } => Some(excerpt(body)),
            _ => None,
        },
    );
    facts.maybe("path", show::path_rule(&route.path_rule));
    fields(&route.request_fields, &route.response_fields, &route.error_pages, &mut facts);
    gate(&route.gate, config, &mut facts);
    cache(route.cache.as_ref(), &mut facts);
    facts.maybe("compress", route.compress.as_ref().map(show::compress));
    facts.maybe("decompress", route.decompress.as_ref().map(show::decompress));
    facts.maybe("limits body", route.max_body.map(show::byte_limit));
    facts
}

pub(super) fn upstream(upstream: &Upstream, config: &Config) -> Facts {
    let mut facts = Facts::default();
    facts.one("balance", show::balance(&upstream.balance));
    facts.maybe("health", upstream.health.as_ref().map(show::health));
    facts.one("retry", show::retry(&upstream.retry));
    facts.one("slow-start", show::duration(upstream.slow_start));
    facts.maybe("sticky", upstream.sticky.as_ref().map(show::sticky));
    let secret = upstream.sticky.as_ref().and_then(|sticky| sticky.secret.as_ref());
    facts.secret("sticky secret", secret);
    facts.maybe("outlier", upstream.outlier.as_ref().map(show::outlier));
    let breaker = upstream.circuit_breaker.as_ref().map(show::circuit_breaker);
    facts.maybe("circuit-breaker", breaker);
    let max = upstream.max_connections.as_ref().map(show::max_connections);
    facts.maybe("max-connections", max);
    facts.one("panic", format!("{}%", upstream.panic));
    facts.one("keep-idle", upstream.keep_idle.to_string());
    facts.one("idle-timeout", show::duration(upstream.idle_timeout));
    facts.maybe(
        "proxy-protocol",
        upstream.proxy_protocol.map(|version| match version {
            ProxyVersion::V1 => "v1".to_owned(),
            ProxyVersion::V2 => "v2".to_owned(),
        }),
    );
    facts.maybe("exit", upstream.exit.map(|pool| show::way_out(WayOut::Pool(pool), config)));
    let tls = &upstream.tls;
    facts.maybe("tls ca", tls.ca.as_ref().map(|file| file.value.display().to_string()));
    facts.maybe("tls sni", tls.sni.clone());
    facts.maybe("tls client", tls.client.as_ref().map(certificate));
    facts.one("tls insecure", on_off(tls.insecure));
    facts.one("tls http1-only", on_off(tls.http1_only));
    facts
}

/// Of a server; its URL is what it is known by.
pub(super) fn server(server: &Server) -> Facts {
    let mut facts = Facts::default();
    facts.one("weight", server.weight.to_string());
    facts.one("backup", on_off(server.backup));
    facts
}

pub(super) fn forward(forward: &Forward, config: &Config) -> Facts {
    let mut facts = Facts::default();
    tls(forward.tls.as_ref(), &mut facts);
    facts.one("http2", on_off(forward.http2));
    let users = forward.auth.as_ref().and_then(|auth| config.users.get(auth.users));
    facts.maybe("auth users", users.map(|users| users.name.clone()));
    let auth = forward.auth.as_ref();
    facts.maybe(
        "auth digest",
        auth.map(|auth| on_off(auth.schemes.contains(&AuthScheme::Digest)).to_owned()),
    );
    facts.maybe("auth realm", auth.map(|auth| format!("{:?}", auth.realm)));
    facts.many("clients", forward.clients.iter().map(show::net));
    facts.one("anonymity", show::anonymity(forward.anonymity));
    facts.one("ports", show::ports(&forward.ports));
    facts.many(
        "rule",
        forward.rules.iter().map(|rule| match rule.exit {
            Some(way) => format!("{} exit={}", show::target_rule(rule), show::way_out(way, config)),
            None => show::target_rule(rule),
        }),
    );
    facts.one("exit", show::way_out(forward.exit, config));
    facts.maybe("sticky ports", forward.sticky_ports.map(|ports| show::ports(&[ports])));
    facts.one("errors", show::skin(forward.skin));
    facts.one("disclose", on_off(forward.disclose));
    facts.one("socks-udp", on_off(forward.udp));
    facts.one("socks-bind", on_off(forward.bind));
    let transparent = forward.transparent.map(|how| match how {
        Transparent::Redirect => "redirect".to_owned(),
        Transparent::Tproxy => "tproxy".to_owned(),
    });
    facts.maybe("transparent", transparent);
    facts.maybe("pac", forward.pac.as_ref().map(show::pac));
    facts.maybe("intercept", forward.intercept.as_ref().map(show::intercept));
    cache(forward.cache.as_ref(), &mut facts);
    facts.many("proxy-protocol", forward.proxy_protocol.iter().map(show::net));
    limits(&forward.limits, &mut facts);
    timeouts(&forward.timeouts, &mut facts);
    facts
}

pub(super) fn tunnel(tunnel: &Tunnel, config: &Config) -> Facts {
    let mut facts = Facts::default();
    let name =
        |upstream: usize| config.upstreams.get(upstream).map(|upstream| upstream.name.clone());
    tls(tunnel.tls.as_ref(), &mut facts);
    facts.many(
        "name",
        tunnel.names.iter().map(|route| {
            let hosts = show::list(route.hosts.iter().map(show::host));
            format!("{hosts} to `{}`", name(route.upstream).unwrap_or_default())
        }),
    );
    facts.maybe("to", tunnel.upstream.and_then(name));
    facts.many("client", tunnel.clients.iter().map(show::client_rule));
    facts.many("proxy-protocol", tunnel.proxy_protocol.iter().map(show::net));
    limits(&tunnel.limits, &mut facts);
    timeouts(&tunnel.timeouts, &mut facts);
    facts
}

fn tls(tls: Option<&SiteTls>, facts: &mut Facts) {
    let path = |file: &Spanned<std::path::PathBuf>| file.value.display().to_string();
    facts.many("certificate", tls.iter().flat_map(|tls| &tls.certificates).map(certificate));
    facts.maybe(
        "client certificates",
        tls.map(|tls| match &tls.client_auth {
            ClientAuth::Off => "off".to_owned(),
            ClientAuth::Optional { ca } => format!("optional, {}", path(ca)),
            ClientAuth::Required { ca } => format!("required, {}", path(ca)),
        }),
    );
    facts.maybe(
        "tls min-version",
        tls.map(|tls| match tls.min_version {
            TlsVersion::Tls12 => "1.2".to_owned(),
            TlsVersion::Tls13 => "1.3".to_owned(),
        }),
    );
}

fn certificate(files: &CertificateFiles) -> String {
    format!("{} with {}", files.cert.value.display(), files.key.value.display())
}

fn fields(request: &[FieldRule], response: &[FieldRule], pages: &[ErrorPage], facts: &mut Facts) {
    facts.many("request-header", request.iter().map(show::field_rule));
    facts.many("header", response.iter().map(show::field_rule));
    facts.many("error-page", pages.iter().map(show::error_page));
}

fn gate(gate: &Gate, config: &Config, facts: &mut Facts) {
    facts.many("client", gate.clients.iter().map(show::client_rule));
    facts.many("limit", gate.rates.iter().map(show::rate));
    facts.maybe(
        "basic-auth",
        gate.basic.as_ref().map(|basic| {
            let users = config.users.get(basic.users).map_or("", |users| &users.name);
            format!("users {users}, realm {:?}", basic.realm)
        }),
    );
    let upstream = |auth: &ForwardAuth| config.upstreams.get(auth.upstream);
    let auth = gate.forward_auth.as_ref().map(|auth| show::forward_auth(auth, upstream(auth)));
    facts.maybe("forward-auth", auth);
}

fn cache(rules: Option<&CacheRules>, facts: &mut Facts) {
    facts.maybe("cache", rules.map(show::cache));
    let token = rules.and_then(|rules| rules.purge_token.as_ref());
    facts.secret("cache purge token", token.map(|token| &token.value));
}

fn limits(limits: &Limits, facts: &mut Facts) {
    facts.one("limits head-bytes", show::bytes(limits.head_bytes as u64));
    facts.one("limits fields", limits.fields.to_string());
    facts.one("limits body", show::byte_limit(limits.body));
    let grace = show::duration(limits.min_rate_grace);
    facts.one(
        "limits min-rate",
        match limits.min_rate {
            Some(rate) => format!("{}/s after {grace}", show::bytes(rate)),
            None => "off".to_owned(),
        },
    );
    let connections = limits.connections_per_client.map(|limit| limit.to_string());
    facts.maybe("limit connections", connections);
    facts.one("limits requests-per-connection", limits.requests_per_connection.to_string());
    facts.one("limits streams", limits.streams.to_string());
}

fn timeouts(timeouts: &Timeouts, facts: &mut Facts) {
    for (name, value) in [
        ("timeouts header", timeouts.header),
        ("timeouts idle", timeouts.idle),
        ("timeouts tunnel-idle", timeouts.tunnel_idle),
        ("timeouts connect", timeouts.connect),
        ("timeouts response", timeouts.response),
    ] {
        facts.one(name, show::duration(value));
    }
}

fn on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

/// The beginning of a text, on one line.
fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let begin: String = text.chars().take(60).collect();
    let more = if begin.len() < text.len() { "…" } else { "" };
    format!("{begin:?}{more}")
}
