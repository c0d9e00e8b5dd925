//! Pools of exits. Credentials of parents are never shown.

use std::fmt::Write as _;

use super::gateway::{bare_url, list_source, money, way_out};
use super::{duration, list, ports};
use crate::model::*;

/// A parent proxy, without its credentials.
#[must_use]
pub fn hop(hop: &ExitHop) -> String {
    let host = match &hop.host {
        ServerHost::Address(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        ServerHost::Address(address) => address.to_string(),
        ServerHost::Name(name) | ServerHost::Srv(name) => name.clone(),
    };
    format!("{}://{host}:{}", hop_protocol(hop.protocol), hop.port)
}

/// `socks5h`.
#[must_use]
pub fn hop_protocol(protocol: HopProtocol) -> &'static str {
    match protocol {
        HopProtocol::Http => "http",
        HopProtocol::Https => "https",
        HopProtocol::Socks4a => "socks4a",
        HopProtocol::Socks5 => "socks5",
        HopProtocol::Socks5h => "socks5h",
    }
}

/// What an exit is: `address 127.0.0.2`, `proxy http://a.example:3128`.
#[must_use]
pub fn exit_kind(kind: &ExitKind, config: &Config) -> String {
    match kind {
        ExitKind::Direct => "direct".to_owned(),
        ExitKind::Address(address) => format!("address {address}"),
        ExitKind::Prefix { net, pick } => {
            let pick = match pick {
                PrefixPick::Random => "random",
                PrefixPick::Session => "session",
                PrefixPick::Host => "host",
            };
            format!("prefix {net} pick={pick}")
        }
        ExitKind::Chain(hops) => {
            format!("proxy {}", hops.iter().map(hop).collect::<Vec<_>>().join(" "))
        }
        ExitKind::List { source, scheme } => {
            let source = list_source(&source.value);
            format!("list {source} scheme={}", hop_protocol(*scheme))
        }
        ExitKind::Pool(at) => format!("pool {}", way_out(WayOut::Pool(*at), config)),
    }
}

/// `country=CA city=toronto price=0.50`; empty where nothing is known.
#[must_use]
pub fn labels(labels: &ExitLabels) -> String {
    let mut known: Vec<String> = Vec::new();
    known.extend(labels.country.map(|country| format!("country={country}")));
    for (name, word) in [("state", &labels.state), ("city", &labels.city), ("zip", &labels.zip)] {
        known.extend(word.as_ref().map(|word| format!("{name}={word}")));
    }
    known.extend(labels.asn.map(|asn| format!("asn={asn}")));
    known.extend(labels.price.map(|price| format!("price={}", money(price))));
    known.extend(labels.tags.iter().map(|tag| format!("tag={tag}")));
    known.join(" ")
}

/// When another exit is chosen, as it is written.
#[must_use]
pub fn rotate(rotate: Rotate) -> String {
    match rotate {
        Rotate::PerRequest => "per-request".to_owned(),
        Rotate::PerConnection => "per-connection".to_owned(),
        Rotate::After(time) => duration(time),
        Rotate::Every(number) => format!("every {number}"),
    }
}

/// Which exit is chosen, as it is written.
#[must_use]
pub fn choose(choose: ChooseExit) -> &'static str {
    match choose {
        ChooseExit::RoundRobin => "round-robin",
        ChooseExit::Random => "random",
        ChooseExit::LeastUsed => "least-used",
    }
}

/// A dialect, as it is written.
#[must_use]
pub fn dialect(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Native => "native",
        Dialect::Decodo => "decodo",
        Dialect::BrightData => "brightdata",
        Dialect::Oxylabs => "oxylabs",
        Dialect::IpRoyal => "iproyal",
    }
}

/// How sessions are kept.
#[must_use]
pub fn sessions(sessions: &ExitSessions) -> String {
    let mut text =
        format!("ttl {}, max-ttl {}", duration(sessions.ttl), duration(sessions.max_ttl));
    if let Some(idle) = sessions.idle {
        let _ = write!(text, ", idle {}", duration(idle));
    }
    if sessions.strict {
        text.push_str(", strict");
    }
    let _ = write!(text, ", max-per-user {}", sessions.max_per_user);
    text
}

/// How exits are measured.
#[must_use]
pub fn exit_health(health: &ExitHealth) -> String {
    format!(
        "{}, every {}, timeout {}, fall {}, rise {}",
        bare_url(&health.target),
        duration(health.every),
        duration(health.timeout),
        health.fall,
        health.rise
    )
}

/// What bans an exit: `status 403-404, for 10m per host`.
#[must_use]
pub fn ban(rule: &BanRule) -> String {
    let mut statuses: Vec<(u16, u16)> = Vec::new();
    let mut signs: Vec<String> = Vec::new();
    for sign in &rule.signs {
        match sign {
            BanSign::Status(status) => match statuses.last_mut() {
                Some(last) if last.1.checked_add(1) == Some(*status) => last.1 = *status,
                _ => statuses.push((*status, *status)),
            },
            BanSign::Body(text) => signs.push(format!("body with {text:?}")),
            BanSign::Header { name, contains: None } => signs.push(format!("header {name}")),
            BanSign::Header { name, contains: Some(text) } => {
                signs.push(format!("header {name} with {text:?}"));
            }
            BanSign::Reset => signs.push("reset".to_owned()),
            BanSign::Slower(time) => signs.push(format!("slower than {}", duration(*time))),
            BanSign::Unreachable => signs.push("unreachable".to_owned()),
        }
    }
    if !statuses.is_empty() {
        signs.insert(0, format!("status {}", ports(&statuses)));
    }
    let mut text = list(signs);
    if rule.count > 1 {
        let _ = write!(text, ", {} times within {}", rule.count, duration(rule.within));
    }
    let scope = match rule.scope {
        BanScope::Host => "host",
        BanScope::Exit => "exit",
    };
    let _ = write!(text, ", for {} per {scope}", duration(rule.time));
    text
}

/// How fast an exit may be used.
#[must_use]
pub fn pacing(pacing: &Pacing) -> String {
    let per = if pacing.per_host { "host" } else { "exit" };
    let retry_after = if pacing.retry_after { ", retry-after" } else { "" };
    format!("gap {} per {per}, wait {}{retry_after}", duration(pacing.gap), duration(pacing.wait))
}
