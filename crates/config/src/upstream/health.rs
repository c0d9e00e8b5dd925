//! `health`: what is asked of servers, and how often.

use std::time::Duration;

use crate::ConfigError;
use crate::build::Context;
use crate::model::{HealthCheck, Probe, Server, ServerProtocol};
use crate::walk::Item;
use crate::words::ProbeWord;

/// What only a check by HTTP has.
const HTTP: [&str; 3] = ["status", "body", "host"];

/// Builds a check.
pub(super) fn check_of(
    item: &Item,
    servers: &[Server],
    context: &mut Context<'_>,
) -> Option<HealthCheck> {
    let (every, timeout) = times(item, context);
    let number =
        |name: &str, default: u32| item.get::<u64>(name).map_or(default, |number| number as u32);
    let (fall, rise) = (number("fall", 3), number("rise", 2));
    let port = item.get::<u64>("port").map(|port| port as u16);
    let word = item.get::<ProbeWord>("probe")?;
    check_properties(item, &word, context);
    if word == ProbeWord::Grpc {
        check_http2(item, servers, context);
    }
    let probe = match word {
        ProbeWord::Tcp => Probe::Tcp,
        ProbeWord::Grpc => Probe::Grpc { service: item.get("service").unwrap_or_default() },
        ProbeWord::Http(target) => Probe::Http {
            target,
            host: item.get("host"),
            statuses: item.get("status").unwrap_or_else(|| vec![(200, 399)]),
            body: item.get("body"),
        },
    };
    Some(HealthCheck { probe, every, timeout, fall, rise, port, span: item.span })
}

/// A check ends before the next one begins.
fn times(item: &Item, context: &mut Context<'_>) -> (Duration, Duration) {
    let every = item.get::<Duration>("every").unwrap_or(Duration::from_secs(5));
    let Some(timeout) = item.one::<Duration>("timeout") else {
        return (every, every.min(Duration::from_secs(2)));
    };
    if timeout.value > every {
        let message = "a health check that takes longer than the time to the next one";
        let error = ConfigError::at(timeout.span, message, format!("more than {every:?}"));
        context.error(match item.written("every") {
            Some(span) => error
                .also(span, "asked so often")
                .help("make `timeout=` shorter, or `every=` longer"),
            None => error.help("make it shorter, or add a longer `every=`; its default is \"5s\""),
        });
    }
    (every, timeout.value)
}

fn check_properties(item: &Item, word: &ProbeWord, context: &mut Context<'_>) {
    let (probe, idle): (&str, &[&str]) = match word {
        ProbeWord::Http(_) => ("a path", &["service"]),
        ProbeWord::Tcp => ("\"tcp\"", &["status", "body", "host", "service"]),
        ProbeWord::Grpc => ("\"grpc\"", &HTTP),
    };
    for name in idle {
        let Some(span) = item.written(name) else { continue };
        let right = if HTTP.contains(name) { "`health \"/healthz\"`" } else { "`health \"grpc\"`" };
        context.error(
            ConfigError::at(
                span,
                format!("`{name}=` of a health check by {probe}"),
                "has no effect",
            )
            .help(format!("leave it out, or write {right}")),
        );
    }
}

/// gRPC is spoken over HTTP/2 only.
fn check_http2(item: &Item, servers: &[Server], context: &mut Context<'_>) {
    let old = servers.iter().find(|server| server.protocol == ServerProtocol::Http1);
    if let Some(server) = old {
        context.error(
            ConfigError::at(
                item.written("probe").unwrap_or(item.span),
                "a gRPC check of a server that speaks HTTP/1.1",
                "needs HTTP/2",
            )
            .also(server.span, "this server")
            .help(
                "write `h2c://`, `h2://` or `https://` in the URL of the server, or check a path",
            ),
        );
    }
}
