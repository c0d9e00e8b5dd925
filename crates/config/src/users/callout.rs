//! `callout`: a server that is asked about users.

use std::time::Duration;

use crate::build::{Context, resolve};
use crate::gate;
use crate::model::{Callout, ServerProtocol};
use crate::servers::RequestUrl;
use crate::walk::Item;
use crate::{ConfigError, upstream};

/// Builds it; `set` is what logs call it.
pub(super) fn callout(item: &Item, set: &str, context: &mut Context<'_>) -> Option<Callout> {
    let (upstream, target) = server(item, set, context)?;
    Some(Callout {
        upstream,
        target,
        keep: item.get("keep").unwrap_or(Duration::from_secs(60)),
        keep_refused: item.get("keep-refused").unwrap_or(Duration::from_secs(5)),
        span: item.span,
    })
}

/// The group that is asked, and for what.
fn server(item: &Item, set: &str, context: &mut Context<'_>) -> Option<(usize, String)> {
    match (item.written("url"), item.written("upstream")) {
        (Some(url), Some(upstream)) => {
            context.error(
                ConfigError::at(
                    upstream,
                    "`callout` with a URL and an upstream",
                    "and an upstream",
                )
                .also(url, "a URL")
                .help("keep one of the two"),
            );
            None
        }
        (None, None) => {
            context.error(
                ConfigError::at(item.span, "`callout` without a server", "asks nobody").help(
                    "write `callout \"http://127.0.0.1:9000/check\"`, or `upstream=\"…\"` for a \
                     named group",
                ),
            );
            None
        }
        (Some(_), None) => {
            if let Some(path) = item.written("path") {
                context.error(
                    ConfigError::at(path, "`path=` beside a URL", "has no effect")
                        .help("write it into the URL"),
                );
            }
            let url = item.one::<RequestUrl>("url")?;
            let servers = vec![upstream::server(url.value.server, url.span)];
            let tls = item.child("tls").map(|tls| upstream::tls_of(tls, &servers, context));
            let plain = upstream::plain(format!("callout of users {set}"), servers, item.span);
            let group = crate::Upstream { tls: tls.unwrap_or_default(), ..plain };
            Some((gate::asked(group, context), url.value.target))
        }
        (None, Some(_)) => named(item, context),
    }
}

fn named(item: &Item, context: &mut Context<'_>) -> Option<(usize, String)> {
    if let Some(tls) = item.child("tls") {
        context.error(
            ConfigError::at(tls.span, "`tls` of an upstream stands with it", "not here")
                .help("write it into the block of the `upstream`"),
        );
    }
    let reference = item.one::<String>("upstream")?;
    let at = resolve(&reference, &context.upstream_names, "upstream", context.errors)?;
    let first = context.upstreams.get(at).and_then(|group| group.servers.first());
    if let Some(server) = first.filter(|server| server.protocol == ServerProtocol::Tcp) {
        let error =
            ConfigError::at(reference.span, "a callout to servers that take no requests", "this")
                .also(server.span, "one of its servers")
                .help("write `http://` or `https://` in the URLs of the servers");
        context.error(error);
        return None;
    }
    Some((at, item.get("path").unwrap_or_else(|| "/".to_owned())))
}
