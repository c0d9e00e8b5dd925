//! `tunnel`: listeners that carry bytes without looking into them.

use std::net::SocketAddr;

use crate::build::Context;
use crate::model::{HostPattern, Tunnel, TunnelRoute};
use crate::servers::Traffic;
use crate::walk::Item;
use crate::{ConfigError, Span, Spanned, gate, rates, site, upstream};

/// A listener, and where its address was written.
pub(crate) struct PlacedTunnel {
    pub tunnel: Tunnel,
    pub listen_span: Span,
}

/// Builds a listener.
pub(crate) fn tunnel(item: &Item, context: &mut Context<'_>) -> Option<PlacedTunnel> {
    let listen = item.one::<SocketAddr>("address");
    let name = listen.as_ref().map_or_else(String::new, |listen| listen.value.to_string());
    let names = routes(item, &name, context);
    let to = item.child("to");
    let upstream =
        to.and_then(|to| upstream::of_to(to, &format!("tunnel {name}"), Traffic::Bytes, context));
    if to.is_none() && item.child("name").is_none() && !item.flawed {
        context.error(
            ConfigError::at(item.span, "a tunnel that leads nowhere", "neither `to` nor `name`")
                .help("add `to \"tcp://10.0.0.1:5432\"` to its block"),
        );
    }
    check_timeouts(item, context);
    rates::check_connections(item, context);
    let tls = site::tls(item, context);
    let settings = context.defaults.changed_by(&item.block);
    let listen = listen?;
    let tunnel = Tunnel {
        name,
        listen: listen.value,
        tls,
        names,
        upstream,
        clients: gate::clients(item),
        proxy_protocol: site::proxy_protocol(item),
        limits: settings.limits,
        timeouts: settings.timeouts,
        span: item.span,
    };
    Some(PlacedTunnel { tunnel, listen_span: listen.span })
}

/// Where connections go by name.
fn routes(item: &Item, tunnel: &str, context: &mut Context<'_>) -> Vec<TunnelRoute> {
    let mut routes = Vec::new();
    let mut before: Vec<Spanned<HostPattern>> = Vec::new();
    for block in item.children("name") {
        let names = block.all::<HostPattern>("name");
        for name in &names {
            check_reached(name, &before, context);
        }
        let written = names.first().map_or_else(String::new, |first| shown(&first.value));
        let upstream = match block.child("to") {
            Some(to) => {
                let name = format!("tunnel {tunnel} {written}");
                upstream::of_to(to, &name, Traffic::Bytes, context)
            }
            None => {
                if !block.flawed {
                    context.error(
                        ConfigError::at(
                            block.span,
                            "a name that leads nowhere",
                            "no `to` in its block",
                        )
                        .help("add `to \"tcp://10.0.0.1:443\"` to its block"),
                    );
                }
                None
            }
        };
        let mut hosts: Vec<HostPattern> = Vec::new();
        for name in &names {
            if !hosts.contains(&name.value) {
                hosts.push(name.value.clone());
            }
        }
        before.extend(names);
        routes.extend(upstream.map(|upstream| TunnelRoute { hosts, upstream }));
    }
    routes
}

/// The first that fits is taken, so one behind another that takes all of its names is for
/// nothing.
fn check_reached(
    name: &Spanned<HostPattern>,
    before: &[Spanned<HostPattern>],
    context: &mut Context<'_>,
) {
    let Some(first) = before.iter().find(|first| covers(&first.value, &name.value)) else { return };
    let error = if first.value == name.value {
        ConfigError::at(name.span, "a name leads to two places", "the second")
            .also(first.span, "the first")
            .help("keep one of the two")
    } else {
        let message = format!("`{}` is never reached", shown(&name.value));
        ConfigError::at(name.span, message, "taken already")
            .also(first.span, "by this, since the first that fits is taken")
            .help("write it before the wider one")
    };
    context.error(error);
}

/// Whether every name that `narrow` fits is one that `wide` fits.
fn covers(wide: &HostPattern, narrow: &HostPattern) -> bool {
    match (wide, narrow) {
        (HostPattern::Wildcard(suffix), HostPattern::Exact(name)) => name.ends_with(suffix),
        (HostPattern::Wildcard(wide), HostPattern::Wildcard(narrow)) => narrow.ends_with(wide),
        _ => wide == narrow,
    }
}

fn shown(host: &HostPattern) -> String {
    match host {
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Any => "*".to_owned(),
        HostPattern::Address(address) => address.to_string(),
    }
}

/// A tunnel waits for no request and no response.
fn check_timeouts(item: &Item, context: &mut Context<'_>) {
    for time in item.children("timeouts").flat_map(|block| &block.block) {
        let (name, help) = match time.directive.name {
            "idle" => ("idle", "a tunnel without a byte ends after `tunnel-idle`"),
            "response" => ("response", "leave it out"),
            _ => continue,
        };
        let message = format!("`{name}` of a tunnel");
        context.error(ConfigError::at(time.span, message, "has no effect").help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_names() {
        let wildcard = |suffix: &str| HostPattern::Wildcard(suffix.into());
        let exact = |name: &str| HostPattern::Exact(name.into());
        for (wide, narrow, covered) in [
            (exact("a.b"), exact("a.b"), true),
            (exact("a.b"), exact("c.b"), false),
            (wildcard(".b"), exact("a.b"), true),
            (wildcard(".b"), exact("b"), false),
            (wildcard(".b"), exact("ab"), false),
            (wildcard(".b"), wildcard(".a.b"), true),
            (wildcard(".a.b"), wildcard(".b"), false),
            (exact("a.b"), wildcard(".b"), false),
        ] {
            assert_eq!(covers(&wide, &narrow), covered, "{wide:?} {narrow:?}");
        }
    }
}
