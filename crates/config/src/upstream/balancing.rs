//! How requests are spread over the servers of a group, and what is done about those that fail.

use std::time::Duration;

use crate::ConfigError;
use crate::build::{Context, values};
use crate::model::{Balance, CircuitBreaker, HashKey, MaxConnections, Outlier, Retry, Sticky};
use crate::walk::Item;
use crate::words::RetryOn;

pub(super) fn balance(item: &Item, context: &mut Context<'_>) -> Balance {
    let policy = item.get::<String>("policy").unwrap_or_default();
    if policy == "hash" {
        return Balance::Hash {
            key: item.get("key").unwrap_or(HashKey::ClientIp),
            bound: item.get::<u64>("bounded-load").unwrap_or(125) as u16,
        };
    }
    // Without a policy that could be read, `hash` may have been meant.
    for name in ["key", "bounded-load"] {
        if let (Some(span), false) = (item.written(name), policy.is_empty()) {
            context.error(
                ConfigError::at(
                    span,
                    format!("`{name}=` of `balance \"{policy}\"`"),
                    "nothing is hashed",
                )
                .help(format!("write `balance \"hash\" {name}=…`, or leave `{name}=` out")),
            );
        }
    }
    match policy.as_str() {
        "least-requests" => Balance::LeastRequests,
        "peak-ewma" => Balance::PeakEwma,
        "random" => Balance::Random,
        _ => Balance::RoundRobin,
    }
}

/// `bytes` tells of a group for tunnels, which has no answers that could come too late; whoever
/// writes of such has been told.
pub(super) fn retry(item: &Item, bytes: bool, context: &mut Context<'_>) -> Retry {
    let ours = Retry::default();
    let conditions: Vec<RetryOn> = values(item, "condition");
    let mut statuses: Vec<u16> = Vec::new();
    for condition in &conditions {
        if let RetryOn::Status(status) = condition
            && !statuses.contains(status)
        {
            statuses.push(*status);
        }
    }
    let on_timeout = conditions.contains(&RetryOn::Timeout);
    let attempts = item.get::<u64>("attempts").map_or(ours.attempts, |attempts| attempts as u8);
    if let (0, Some(span)) = (attempts, item.written("condition")) {
        context.error(
            ConfigError::at(span, "a condition for attempts that are not made", "has no effect")
                .help("leave it out, or `attempts=0`"),
        );
    }
    let unread = item.all::<RetryOn>("condition").is_empty() && item.written("condition").is_some();
    let meant = on_timeout || unread || bytes;
    if let (Some(span), false) = (item.written("attempt-timeout"), meant) {
        context.error(
            ConfigError::at(
                span,
                "`attempt-timeout=` of a `retry` that is not for a timeout",
                "has no effect",
            )
            .help("write `retry \"timeout\" attempt-timeout=…`"),
        );
    }
    Retry {
        attempts,
        statuses,
        on_timeout,
        attempt_timeout: item.get("attempt-timeout"),
        budget: item.get::<u64>("budget").map_or(ours.budget, |budget| budget as u8),
        span: Some(item.span),
    }
}

pub(super) fn sticky(item: &Item) -> Option<Sticky> {
    Some(Sticky { cookie: item.get("cookie")?, ttl: item.get("ttl"), secret: item.get("secret") })
}

pub(super) fn outlier(item: &Item) -> Outlier {
    Outlier {
        failures: number(item, "failures", 5),
        within: seconds(item, "within", 10),
        eject: seconds(item, "eject", 30),
        latency: item.get::<u64>("latency").map(|percent| percent as u32),
        max_ejected: number(item, "max-ejected", 50) as u8,
    }
}

pub(super) fn circuit_breaker(item: &Item) -> CircuitBreaker {
    CircuitBreaker {
        errors: number(item, "errors", 50) as u8,
        within: seconds(item, "within", 10),
        min_requests: number(item, "min-requests", 20),
        open: seconds(item, "open", 5),
    }
}

pub(super) fn max_connections(item: &Item, context: &mut Context<'_>) -> Option<MaxConnections> {
    let queue = number(item, "queue", 0);
    if let (0, Some(span)) = (queue, item.written("queue-timeout")) {
        context.error(
            ConfigError::at(span, "`queue-timeout=` without a queue", "nothing waits")
                .help("add `queue=1024`, or leave `queue-timeout=` out"),
        );
    }
    Some(MaxConnections {
        limit: item.get::<u64>("requests")? as u32,
        queue,
        queue_timeout: seconds(item, "queue-timeout", 5),
    })
}

fn number(item: &Item, name: &str, default: u32) -> u32 {
    item.get::<u64>(name).map_or(default, |number| number as u32)
}

fn seconds(item: &Item, name: &str, default: u64) -> Duration {
    item.get(name).unwrap_or(Duration::from_secs(default))
}
