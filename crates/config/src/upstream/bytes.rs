//! What servers of tunnels cannot have, since there are no requests to do it with.

use crate::ConfigError;
use crate::build::Context;
use crate::model::HashKey;
use crate::walk::Item;
use crate::words::{ProbeWord, RetryOn};

/// Reports what a group for bytes has no use for.
pub(super) fn check(item: &Item, context: &mut Context<'_>) {
    for setting in &item.block {
        let fault = match setting.directive.name {
            "sticky" => Some((
                setting.span,
                "`sticky` for the bytes of a tunnel",
                "a cookie needs requests",
                "`balance \"hash\"` keeps an address at one server",
            )),
            "keep-idle" | "idle-timeout" => Some((
                setting.span,
                "idle connections of a tunnel",
                "each connection is used once",
                "leave it out; `timeouts { tunnel-idle }` ends tunnels without traffic",
            )),
            "balance" => key(setting),
            "health" => probe(setting),
            "retry" => conditions(setting),
            _ => None,
        };
        if let Some((span, message, label, help)) = fault {
            context.error(ConfigError::at(span, message, label).help(help));
        }
    }
}

type Fault = (crate::Span, &'static str, &'static str, &'static str);

fn key(item: &Item) -> Option<Fault> {
    let key = item.one::<HashKey>("key")?;
    (key.value != HashKey::ClientIp).then_some((
        key.span,
        "a hash of what a tunnel does not have",
        "needs requests",
        "write key=\"client-ip\", or leave `key=` out",
    ))
}

fn probe(item: &Item) -> Option<Fault> {
    let probe = item.one::<ProbeWord>("probe")?;
    (probe.value != ProbeWord::Tcp).then_some((
        probe.span,
        "a health check by requests, of a server for bytes",
        "the server need not speak HTTP",
        "write `health \"tcp\"`",
    ))
}

fn conditions(item: &Item) -> Option<Fault> {
    let written = item.all::<RetryOn>("condition").first().map(|first| first.span);
    written.or_else(|| item.written("attempt-timeout")).map(|span| {
        (
            span,
            "another attempt after an answer, in a tunnel",
            "a tunnel has no answers",
            "leave it out: what cannot be connected to is passed over anyway",
        )
    })
}
