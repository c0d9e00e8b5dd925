//! `forward`: listeners of the forward face.

mod auth;
mod extras;

use std::net::SocketAddr;

use crate::build::{Context, resolve_way, values};
use crate::model::{Anonymity, Forward, Skin, WayOut};
use crate::walk::Item;
use crate::{ConfigError, Span, Spanned, cache, rates, site, targets};

/// SMTP: an open proxy that reaches it sends spam.
const SMTP: u16 = 25;

/// The most ports that are sessions: each takes a socket on every core.
const MOST_STICKY: u16 = 10_000;

/// A listener, and where its address and its further ports were written.
pub(crate) struct PlacedForward {
    pub forward: Forward,
    pub listen_span: Span,
    pub sticky_span: Option<Span>,
}

/// Builds a listener.
pub(crate) fn forward(item: &Item, context: &mut Context<'_>) -> Option<PlacedForward> {
    let auth = item.child("auth").and_then(|it| auth::auth(it, context));
    let clients: Vec<_> =
        item.children("clients").flat_map(|clients| values(clients, "network")).collect();
    let rules = targets::rules(item, context);
    auth::check_users(item, auth.as_ref(), context);
    let exit = item.child("exit").and_then(|exit| exit.one("name"));
    let exit = exit.and_then(|name| resolve_way(&name, context)).unwrap_or(WayOut::Direct);
    let sticky = sticky_ports(item, context);
    let pools = rules.iter().filter_map(|rule| rule.exit).chain([exit]);
    if let (Some(ports), true) = (&sticky, pools.into_iter().all(|way| way == WayOut::Direct)) {
        check_sticky_use(ports.span, item, context);
    }
    let transparent = extras::transparent(item, context);
    let (pac, intercept) = (extras::pac(item), extras::intercept(item, context));
    let tls = site::tls(item, context);
    let cache = cache::rules(item, context).into();
    rates::check_connections(item, context);
    let listen = item.one::<SocketAddr>("address")?;
    let guarded = item.child("auth").is_some() || item.child("clients").is_some();
    if !listen.value.ip().is_loopback() && !guarded && !item.flawed {
        context.error(open_proxy(&listen));
    }
    let settings = context.defaults.changed_by(&item.block);
    let flag = |name: &str| item.child(name).and_then(|it| it.get("flag")).unwrap_or(false);
    let forward = Forward {
        tls,
        transparent,
        auth,
        clients,
        anonymity: anonymity(item),
        ports: ports(item),
        rules,
        exit,
        sticky_ports: sticky.as_ref().map(|ports| ports.value),
        skin: skin(item),
        disclose: flag("disclose"),
        udp: flag("socks-udp"),
        bind: flag("socks-bind"),
        pac,
        intercept,
        proxy_protocol: site::proxy_protocol(item),
        http2: site::http2(item),
        cache,
        ..Forward::new(listen.value, settings.limits, settings.timeouts, item.span)
    };
    let sticky_span = sticky.map(|ports| ports.span);
    Some(PlacedForward { forward, listen_span: listen.span, sticky_span })
}

fn open_proxy(listen: &Spanned<SocketAddr>) -> ConfigError {
    ConfigError::at(
        listen.span,
        "an open proxy: anybody who reaches this address could use it",
        "not a loopback address, and neither `auth` nor `clients` stands in its block",
    )
    .help(format!(
        "ask for credentials: `auth users=\"…\"`\n\
         or name the clients: `clients \"10.0.0.0/8\"`\n\
         or listen on this machine only: \"127.0.0.1:{}\"",
        listen.value.port()
    ))
}

fn anonymity(item: &Item) -> Anonymity {
    let level = item.child("anonymity").and_then(|item| item.get::<String>("level"));
    match level.as_deref() {
        Some("transparent") => Anonymity::Transparent,
        Some("elite") => Anonymity::Elite,
        _ => Anonymity::Anonymous,
    }
}

fn skin(item: &Item) -> Skin {
    match item.child("errors").and_then(|item| item.get::<String>("skin")).as_deref() {
        Some("brightdata") => Skin::BrightData,
        Some("oxylabs") => Skin::Oxylabs,
        Some("apify") => Skin::Apify,
        _ => Skin::Native,
    }
}

/// The ports that are sessions: one range.
fn sticky_ports(item: &Item, context: &mut Context<'_>) -> Option<Spanned<(u16, u16)>> {
    let sticky = item.children("ports").filter(|ports| ports.written("sticky").is_some());
    let mut ranges: Vec<Spanned<(u16, u16)>> = sticky.flat_map(|ports| ports.all("port")).collect();
    if let Some(second) = ranges.get(1) {
        context.error(
            ConfigError::at(second.span, "two ranges of sticky ports", "the second")
                .also(ranges[0].span, "the first")
                .help("write one range, or another `forward` for the second"),
        );
    }
    let first = (!ranges.is_empty()).then(|| ranges.swap_remove(0))?;
    let (low, high) = first.value;
    if high - low >= MOST_STICKY {
        context.error(
            ConfigError::at(
                first.span,
                format!("{} sticky ports", u32::from(high - low) + 1),
                format!("at most {MOST_STICKY}, since each is listened on"),
            )
            .help(format!("write {low}-{}", low.saturating_add(MOST_STICKY - 1))),
        );
    }
    Some(first)
}

/// A session keeps an exit, so there must be some to choose from.
fn check_sticky_use(ports: Span, item: &Item, context: &mut Context<'_>) {
    if item.flawed {
        return;
    }
    context.error(
        ConfigError::at(ports, "sticky ports without a pool of exits", "have no exit to keep")
            .help("add `exit \"…\"` with the name of an `exits` to the block"),
    );
}

/// The open ports, in order and without overlaps; 25 only where it was named by itself.
fn ports(item: &Item) -> Vec<(u16, u16)> {
    let targets = item.children("ports").filter(|ports| ports.written("sticky").is_none());
    let mut written: Vec<(u16, u16)> = targets.flat_map(|ports| values(ports, "port")).collect();
    if written.is_empty() {
        return Forward::DEFAULT_PORTS.to_vec();
    }
    written.sort_unstable();
    let named = written.contains(&(SMTP, SMTP));
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (low, high) in written {
        match merged.last_mut() {
            Some(last) if u32::from(low) <= u32::from(last.1) + 1 => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    if named {
        return merged;
    }
    let without_smtp = |(low, high): (u16, u16)| {
        let below = (low < SMTP).then(|| (low, high.min(SMTP - 1)));
        let above = (high > SMTP).then(|| (low.max(SMTP + 1), high));
        [below, above].into_iter().flatten()
    };
    merged.into_iter().flat_map(without_smtp).collect()
}
