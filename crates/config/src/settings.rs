//! Limits, timeouts and forwarding fields: the defaults, and what a block changes of them.

use std::time::Duration;

use crate::model::{ByteLimit, Forwarded, ForwardedMode, Limits, Timeouts};
use crate::walk::Item;

/// What holds where a site or a forward listener says nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub forwarded: Forwarded,
}

impl Defaults {
    /// Ours, changed by the blocks at the top.
    pub(crate) fn new(top: &[Item]) -> Self {
        let ours = Self {
            limits: Limits {
                head_bytes: 32 << 10,
                fields: 128,
                body: ByteLimit::Unlimited,
                min_rate: Some(240),
                min_rate_grace: Duration::from_secs(20),
                connections_per_client: None,
                requests_per_connection: 10_000,
                streams: 128,
            },
            timeouts: Timeouts {
                header: Duration::from_secs(15),
                idle: Duration::from_secs(75),
                tunnel_idle: Duration::from_secs(3600),
                connect: Duration::from_secs(5),
                response: Duration::from_secs(60),
            },
            forwarded: Forwarded {
                x_forwarded: ForwardedMode::Append,
                forwarded: ForwardedMode::Off,
                via: Some("bifrons".to_owned()),
                preserve_host: true,
            },
        };
        ours.changed_by(top)
    }

    /// Changed by the blocks among these items.
    pub(crate) fn changed_by(&self, items: &[Item]) -> Self {
        let mut changed = self.clone();
        for item in items {
            match item.directive.name {
                "limits" => limits(&mut changed.limits, item),
                "limit" => limit(&mut changed.limits, item),
                "timeouts" => timeouts(&mut changed.timeouts, item),
                "forwarded" => forwarded(&mut changed.forwarded, item),
                _ => {}
            }
        }
        changed
    }
}

fn limits(limits: &mut Limits, block: &Item) {
    for item in &block.block {
        match item.directive.name {
            "head-bytes" => {
                if let Some(ByteLimit::Bytes(bytes)) = item.get("size") {
                    limits.head_bytes = bytes as usize;
                }
            }
            "fields" => replace(&mut limits.fields, item.get("count").map(|n: u64| n as usize)),
            "body" => replace(&mut limits.body, item.get("size")),
            "min-rate" => {
                replace(&mut limits.min_rate, item.get("rate"));
                replace(&mut limits.min_rate_grace, item.get("grace"));
            }
            "requests-per-connection" => replace(
                &mut limits.requests_per_connection,
                item.get("count").map(|n: u64| n as u32),
            ),
            "streams" => replace(&mut limits.streams, item.get("count").map(|n: u64| n as u32)),
            _ => {}
        }
    }
}

fn limit(limits: &mut Limits, item: &Item) {
    if let Some(connections) = item.get::<u64>("connections") {
        limits.connections_per_client = Some(connections as u32);
    }
}

fn timeouts(timeouts: &mut Timeouts, block: &Item) {
    for item in &block.block {
        let time = item.get("time");
        match item.directive.name {
            "header" => replace(&mut timeouts.header, time),
            "idle" => replace(&mut timeouts.idle, time),
            "tunnel-idle" => replace(&mut timeouts.tunnel_idle, time),
            "connect" => replace(&mut timeouts.connect, time),
            "response" => replace(&mut timeouts.response, time),
            _ => {}
        }
    }
}

fn forwarded(forwarded: &mut Forwarded, block: &Item) {
    for item in &block.block {
        match item.directive.name {
            "x-forwarded" => replace(&mut forwarded.x_forwarded, mode(item)),
            "rfc7239" => replace(&mut forwarded.forwarded, mode(item)),
            "via" => replace(&mut forwarded.via, item.get("pseudonym")),
            "preserve-host" => replace(&mut forwarded.preserve_host, item.get("flag")),
            _ => {}
        }
    }
}

fn mode(item: &Item) -> Option<ForwardedMode> {
    match item.get::<String>("mode")?.as_str() {
        "append" => Some(ForwardedMode::Append),
        "set" => Some(ForwardedMode::Set),
        "replace" => Some(ForwardedMode::Replace),
        "off" => Some(ForwardedMode::Off),
        _ => None,
    }
}

fn replace<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
