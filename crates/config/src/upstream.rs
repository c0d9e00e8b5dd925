//! Groups of servers: `upstream`, and what stands in the block of `to`.

use std::time::Duration;

use crate::build::Context;
use crate::model::{
    Balance, CertificateFiles, Retry, Scheme, Server, ServerProtocol, Upstream, UpstreamTls,
};
use crate::names::ServerUrl;
use crate::walk::Item;
use crate::{ConfigError, Spanned};

/// Builds a named group and puts it where [`Context::upstream_names`] has its name.
pub(crate) fn named(item: &Item, context: &mut Context<'_>) {
    let servers: Vec<_> =
        item.children("server").flat_map(|server| server.all::<ServerUrl>("url")).collect();
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

/// Builds a group from its servers and the settings in a block.
pub(crate) fn upstream(
    name: String,
    servers: Vec<Spanned<ServerUrl>>,
    item: &Item,
    context: &mut Context<'_>,
) -> Upstream {
    let https = servers.iter().any(|server| server.value.scheme == Scheme::Https);
    let tls = match item.child("tls") {
        Some(tls) => {
            if !https && !servers.is_empty() {
                context.error(
                    ConfigError::at(tls.span, "`tls` without an `https` server", "has no effect")
                        .also(servers[0].span, "the scheme is `http`")
                        .help("write `https://` in the URL of the server, or leave `tls` out"),
                );
            }
            upstream_tls(tls, context)
        }
        None => UpstreamTls::default(),
    };
    let number = |name: &str, value: &str| item.child(name).and_then(|item| item.get::<u64>(value));
    Upstream {
        name,
        servers: servers.into_iter().map(server).collect(),
        tls,
        keep_idle: number("keep-idle", "connections").map_or(64, |number| number as usize),
        idle_timeout: item
            .child("idle-timeout")
            .and_then(|item| item.get("time"))
            .unwrap_or(Duration::from_secs(60)),
        balance: Balance::RoundRobin,
        health: None,
        retry: Retry::default(),
        slow_start: Duration::ZERO,
        sticky: None,
        outlier: None,
        circuit_breaker: None,
        max_connections: None,
        panic: 0,
        proxy_protocol: None,
        span: item.span,
    }
}

fn server(url: Spanned<ServerUrl>) -> Server {
    let ServerUrl { scheme, host, port, base_path } = url.value;
    let protocol = match scheme {
        Scheme::Http => ServerProtocol::Http1,
        Scheme::Https => ServerProtocol::Alpn,
    };
    Server { scheme, protocol, host, port, base_path, weight: 1, backup: false, span: url.span }
}

fn upstream_tls(item: &Item, context: &mut Context<'_>) -> UpstreamTls {
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
    UpstreamTls {
        ca: item.one("ca"),
        sni: item.get("sni"),
        client: cert.zip(key).map(|(cert, key)| CertificateFiles { cert, key }),
        insecure,
        http1_only: false,
    }
}
