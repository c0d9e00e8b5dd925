//! `forward`: listeners of the forward face.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::build::{Context, resolve, values};
use crate::model::{
    Anonymity, AuthScheme, Forward, ForwardAuthentication, ListSource, TargetPattern, TargetRule,
    Verdict,
};
use crate::walk::Item;
use crate::{ConfigError, Span, Spanned, rates, site};

/// SMTP: an open proxy that reaches it sends spam.
const SMTP: u16 = 25;

/// A listener, and where its address was written.
pub(crate) struct PlacedForward {
    pub forward: Forward,
    pub listen_span: Span,
}

/// Builds a listener.
pub(crate) fn forward(item: &Item, context: &mut Context<'_>) -> Option<PlacedForward> {
    let users = item
        .child("auth")
        .and_then(|auth| auth.one::<String>("users"))
        .and_then(|reference| resolve(&reference, &context.user_names, "users", context.errors));
    let clients: Vec<_> =
        item.children("clients").flat_map(|clients| values(clients, "network")).collect();
    let rules = item.block.iter().filter_map(|rule| rule_of(rule, context)).collect();
    let tls = site::tls(item, context);
    rates::check_connections(item, context);
    let listen = item.one::<SocketAddr>("address")?;
    let guarded = item.child("auth").is_some() || item.child("clients").is_some();
    if !listen.value.ip().is_loopback() && !guarded && !item.flawed {
        context.error(open_proxy(&listen));
    }
    let settings = context.defaults.changed_by(&item.block);
    let forward = Forward {
        tls,
        auth: users.map(|users| ForwardAuthentication {
            users,
            schemes: vec![AuthScheme::Basic],
            realm: "proxy".to_owned(),
        }),
        clients,
        anonymity: anonymity(item),
        ports: ports(item),
        rules,
        proxy_protocol: site::proxy_protocol(item),
        http2: site::http2(item),
        ..Forward::new(listen.value, settings.limits, settings.timeouts, item.span)
    };
    Some(PlacedForward { forward, listen_span: listen.span })
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

/// The open ports, in order and without overlaps; 25 only where it was named by itself.
fn ports(item: &Item) -> Vec<(u16, u16)> {
    let mut written: Vec<(u16, u16)> =
        item.children("ports").flat_map(|ports| values(ports, "port")).collect();
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

/// An `allow` or a `deny`; `None` for any other directive.
fn rule_of(item: &Item, context: &mut Context<'_>) -> Option<TargetRule> {
    let verdict = match item.directive.name {
        "allow" => Verdict::Allow,
        "deny" => Verdict::Deny,
        _ => return None,
    };
    let mut targets: Vec<TargetPattern> = values(item, "target");
    targets.extend(item.all::<PathBuf>("list").into_iter().map(|file| {
        TargetPattern::List(Spanned { value: ListSource::File(file.value), span: file.span })
    }));
    let written = |name| item.written(name).is_some();
    if !written("target") && !written("list") {
        if !written("port") {
            context.error(
                ConfigError::at(
                    item.span,
                    format!("`{}` of nothing", item.directive.name),
                    "neither a target, nor a list, nor a port",
                )
                .help(format!("write `{} \"*\"` for every target", item.directive.name)),
            );
        }
        targets.push(TargetPattern::Any);
    }
    let ports = values(item, "port");
    Some(TargetRule { ports, ..TargetRule::new(verdict, targets, item.span) })
}
