//! Groups of servers: `upstream`, and what stands in the block of `to`.

mod balancing;
mod bytes;
mod health;

use std::time::Duration;

use crate::build::{Context, resolve, resolve_way};
use crate::model::{
    Balance, CertificateFiles, ProxyVersion, Retry, Scheme, Server, ServerProtocol, Upstream,
    UpstreamTls, WayOut,
};
use crate::servers::{ServerUrl, Traffic};
use crate::walk::Item;
use crate::{ConfigError, Span, Spanned, quote};

/// Builds a named group and puts it where [`Context::upstream_names`] has its name.
pub(crate) fn named(item: &Item, context: &mut Context<'_>) {
    let servers = item.children("server").flat_map(members).collect();
    if item.child("server").is_none() && !item.flawed {
        context.error(
            ConfigError::at(
                item.span,
                "an `upstream` without a server",
                "no `server` in its block",
            )
            .help("add `server \"http://10.0.0.1:8080\"`"),
        );
    }
    let name = item.get::<String>("name").unwrap_or_default();
    let upstream = upstream(name, servers, item, context);
    context.upstreams.push(upstream);
}

/// The group that a `to` leads to, by index: its own servers, or a named one.
pub(crate) fn of_to(
    item: &Item,
    name: &str,
    traffic: Traffic,
    context: &mut Context<'_>,
) -> Option<usize> {
    match (item.written("server"), item.written("upstream")) {
        (Some(server), Some(upstream)) => {
            context.error(
                ConfigError::at(upstream, "`to` with servers and an upstream", "and an upstream")
                    .also(server, "a server")
                    .help("keep one of the two; an upstream may have further servers itself"),
            );
            None
        }
        (None, None) => {
            context.error(
                ConfigError::at(item.span, "`to` without a server", "leads nowhere").help(format!(
                    "write `to \"{}\"`, or `to upstream=\"…\"` for a named group",
                    traffic.example()
                )),
            );
            None
        }
        (Some(_), None) => {
            let servers = members(item).collect();
            let upstream = upstream(name.to_owned(), servers, item, context);
            context.upstreams.push(upstream);
            Some(context.upstreams.len() - 1)
        }
        (None, Some(_)) => reference(item, traffic, context),
    }
}

fn reference(item: &Item, traffic: Traffic, context: &mut Context<'_>) -> Option<usize> {
    let reference = item.one::<String>("upstream")?;
    if let Some(first) = item.block.first() {
        context.error(
            ConfigError::at(
                first.span,
                format!("`{}` of an upstream stands with it", first.directive.name),
                "not here",
            )
            .help(format!(
                "write it into `upstream {} {{ … }}`, where it holds for all routes",
                quote(&reference.value)
            )),
        );
    }
    let names = &context.upstream_names;
    let at = resolve(&reference, names, "upstream", context.errors)?;
    let Some(server) = context.upstreams.get(at).and_then(|group| group.servers.first()) else {
        return Some(at);
    };
    let bytes = server.protocol == ServerProtocol::Tcp;
    let (message, help) = match traffic {
        Traffic::Requests if bytes => (
            "a route to servers that take no requests",
            "a `tunnel` may lead there; for a route write `http://` or `https://` in the URLs of \
             the servers",
        ),
        Traffic::Bytes if !bytes => (
            "a tunnel to servers that take requests",
            "make an upstream with `tcp://` or `tls://` in the URLs of its servers",
        ),
        _ => return Some(at),
    };
    let error = ConfigError::at(reference.span, message, "this upstream");
    context.error(error.also(server.span, "one of its servers").help(help));
    None
}

/// One or more servers with what is written beside them.
fn members(item: &Item) -> impl Iterator<Item = Server> {
    let beside = item.directive.name == "server";
    let weight = beside.then(|| item.get::<u64>("weight")).flatten().unwrap_or(1) as u32;
    let backup = beside.then(|| item.get("backup")).flatten().unwrap_or(false);
    let urls = item.all::<ServerUrl>(if beside { "url" } else { "server" });
    urls.into_iter().map(move |url| Server { weight, backup, ..server(url.value, url.span) })
}

/// A server of its own.
pub(crate) fn server(url: ServerUrl, span: Span) -> Server {
    let ServerUrl { scheme, protocol, host, port, base_path } = url;
    Server { scheme, protocol, host, port, base_path, weight: 1, backup: false, span }
}

/// A group where nothing is said.
pub(crate) fn plain(name: String, servers: Vec<Server>, span: Span) -> Upstream {
    Upstream {
        name,
        servers,
        tls: UpstreamTls::default(),
        keep_idle: 256,
        idle_timeout: Duration::from_secs(60),
        balance: Balance::RoundRobin,
        health: None,
        retry: Retry::default(),
        slow_start: Duration::ZERO,
        sticky: None,
        outlier: None,
        circuit_breaker: None,
        max_connections: None,
        panic: 0,
        exit: None,
        proxy_protocol: None,
        span,
    }
}

/// Builds a group from its servers and the settings in a block.
fn upstream(
    name: String,
    mut servers: Vec<Server>,
    item: &Item,
    context: &mut Context<'_>,
) -> Upstream {
    let tls = item.child("tls").map(|tls| tls_of(tls, &servers, context)).unwrap_or_default();
    if tls.http1_only {
        let by_alpn = |server: &&mut Server| server.protocol == ServerProtocol::Alpn;
        servers.iter_mut().filter(by_alpn).for_each(|it| it.protocol = ServerProtocol::Http1);
    }
    check_members(&servers, item, context);
    let bytes = servers.first().is_some_and(|server| server.protocol == ServerProtocol::Tcp);
    if bytes {
        bytes::check(item, context);
    }
    let health = item.child("health").and_then(|it| health::check_of(it, &servers, context));
    let way = item.child("exit").and_then(|it| it.one("name"));
    let way = way.and_then(|name| resolve_way(&name, context));
    let ours = plain(name, servers, item.span);
    let time = |name: &str| item.child(name).and_then(|item| item.get::<Duration>("time"));
    let number = |name: &str, value: &str| item.child(name).and_then(|item| item.get::<u64>(value));
    Upstream {
        tls,
        keep_idle: number("keep-idle", "connections").map_or(ours.keep_idle, |it| it as usize),
        idle_timeout: time("idle-timeout").unwrap_or(ours.idle_timeout),
        balance: item.child("balance").map_or(ours.balance, |it| balancing::balance(it, context)),
        health,
        retry: item.child("retry").map_or(ours.retry, |it| balancing::retry(it, bytes, context)),
        slow_start: time("slow-start").unwrap_or(ours.slow_start),
        sticky: item.child("sticky").and_then(balancing::sticky),
        outlier: item.child("outlier").map(balancing::outlier),
        circuit_breaker: item.child("circuit-breaker").map(balancing::circuit_breaker),
        max_connections: item
            .child("max-connections")
            .and_then(|it| balancing::max_connections(it, context)),
        panic: number("panic", "share").map_or(ours.panic, |share| share as u8),
        proxy_protocol: item.child("proxy-protocol").and_then(proxy_version),
        exit: match way {
            Some(WayOut::Pool(pool)) => Some(pool),
            Some(WayOut::Direct) | None => None,
        },
        ..ours
    }
}

fn proxy_version(item: &Item) -> Option<ProxyVersion> {
    match item.get::<String>("version")?.as_str() {
        "v1" => Some(ProxyVersion::V1),
        _ => Some(ProxyVersion::V2),
    }
}

/// What holds between the servers of a group.
fn check_members(servers: &[Server], item: &Item, context: &mut Context<'_>) {
    let Some((first, others)) = servers.split_first() else { return };
    let bytes = |server: &Server| server.protocol == ServerProtocol::Tcp;
    if let Some(other) = others.iter().find(|other| bytes(other) != bytes(first)) {
        let what = |server| if bytes(server) { "for bytes" } else { "for requests" };
        context.error(
            ConfigError::at(
                other.span,
                "servers for requests and for bytes in one group",
                what(other),
            )
            .also(first.span, what(first))
            .help("make two groups of them"),
        );
    }
    // What could not be read might have been what is missing here.
    if item.flawed {
        return;
    }
    if servers.iter().all(|server| server.backup) {
        context.error(
            ConfigError::at(first.span, "a group of backups only", "stands in for nothing")
                .help("leave `backup=` out at one of its servers at least"),
        );
    }
    if servers.iter().all(|server| server.weight == 0) {
        context.error(
            ConfigError::at(
                first.span,
                "a group in which every server has a weight of 0",
                "gets no new clients",
            )
            .help("give one of its servers a weight from 1 on at least"),
        );
    }
}

/// `tls` towards the servers of a group.
pub(crate) fn tls_of(item: &Item, servers: &[Server], context: &mut Context<'_>) -> UpstreamTls {
    let (cert, key) = (item.one("cert"), item.one("key"));
    for (there, missing) in [("cert", "key"), ("key", "cert")] {
        if let (Some(span), None) = (item.written(there), item.written(missing)) {
            context.error(
                ConfigError::at(span, format!("`{there}=` without `{missing}=`"), "half of a pair")
                    .help(format!("add {missing}=\"…\"")),
            );
        }
    }
    let insecure = item.get("insecure").unwrap_or(false);
    if let (true, Some(ca)) = (insecure, item.written("ca")) {
        context.error(
            ConfigError::at(
                ca,
                "`ca=` together with `insecure=`",
                "nothing is verified against it",
            )
            .help("leave `insecure=` out: servers are then verified against this file"),
        );
    }
    check_used(item, servers, context);
    UpstreamTls {
        ca: item.one("ca"),
        sni: item.get("sni"),
        client: cert.zip(key).map(|(cert, key)| CertificateFiles { cert, key }),
        insecure,
        http1_only: item.get("http1").unwrap_or(false),
    }
}

/// `tls` needs a server it is for, and `http1=` one that has a choice.
fn check_used(item: &Item, servers: &[Server], context: &mut Context<'_>) {
    let Some(first) = servers.first() else { return };
    let written = |server: &Server| match (server.protocol, server.scheme) {
        (ServerProtocol::Tcp, Scheme::Http) => "tcp",
        (ServerProtocol::Tcp, Scheme::Https) => "tls",
        (ServerProtocol::Http2, Scheme::Http) => "h2c",
        (ServerProtocol::Http2, Scheme::Https) => "h2",
        (_, Scheme::Http) => "http",
        (_, Scheme::Https) => "https",
    };
    let scheme = written(first);
    if servers.iter().all(|server| server.scheme == Scheme::Http) {
        let right = match first.protocol {
            ServerProtocol::Tcp => "tls",
            ServerProtocol::Http2 => "h2",
            _ => "https",
        };
        context.error(
            ConfigError::at(
                item.span,
                format!("`tls` without {} `{right}` server", article(right)),
                "has no effect",
            )
            .also(first.span, format!("the scheme is `{scheme}`"))
            .help(format!("write `{right}://` in the URL of the server, or leave `tls` out")),
        );
        return;
    }
    let http1: Option<Spanned<bool>> = item.one::<bool>("http1").filter(|flag| flag.value);
    let choice = servers.iter().any(|server| server.protocol == ServerProtocol::Alpn);
    if let (Some(flag), false) = (http1, choice) {
        context.error(
            ConfigError::at(flag.span, "`http1=` without an `https` server", "has no effect")
                .also(first.span, format!("the scheme is `{scheme}`"))
                .help("only `https://` servers may choose: leave `http1=` out"),
        );
    }
}

fn article(scheme: &str) -> &'static str {
    if scheme == "tls" { "a" } else { "an" }
}
