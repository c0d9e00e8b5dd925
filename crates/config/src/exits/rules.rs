//! What a pool says about its exits: sessions, health, bans, pacing.

use std::time::Duration;

use crate::ConfigError;
use crate::build::{Context, values};
use crate::model::{
    BanRule, BanScope, BanSign, ChooseExit, Dialect, ExitHealth, ExitSessions, Pacing, ResolveAt,
};
use crate::walk::Item;

/// The word of `choose`.
pub(super) fn choose(word: &str) -> ChooseExit {
    match word {
        "random" => ChooseExit::Random,
        "least-used" => ChooseExit::LeastUsed,
        _ => ChooseExit::RoundRobin,
    }
}

/// The word of `dialect`.
pub(super) fn dialect(word: &str) -> Dialect {
    match word {
        "decodo" => Dialect::Decodo,
        "brightdata" => Dialect::BrightData,
        "oxylabs" => Dialect::Oxylabs,
        "iproyal" => Dialect::IpRoyal,
        _ => Dialect::Native,
    }
}

/// The word of `resolve`.
pub(super) fn resolve_at(word: &str) -> ResolveAt {
    match word {
        "exit" => ResolveAt::Exit,
        _ => ResolveAt::Here,
    }
}

/// `sticky`.
pub(super) fn sessions(item: &Item, context: &mut Context<'_>) -> ExitSessions {
    let ours = ExitSessions::default();
    let (ttl, max) = (item.one::<Duration>("ttl"), item.one::<Duration>("max-ttl"));
    let max_ttl = max.as_ref().map_or(ours.max_ttl, |max| max.value);
    if let Some(ttl) = ttl.as_ref().filter(|ttl| ttl.value > max_ttl) {
        let message = "sessions that last longer than the longest session";
        let error = ConfigError::at(ttl.span, message, "longer than `max-ttl=`");
        context.error(match &max {
            Some(max) => error.also(max.span, "the longest").help("make one of the two fit"),
            None => error.help("add a longer `max-ttl=`; its default is \"24h\""),
        });
    }
    ExitSessions {
        // A longest session that is shorter than the default is meant to shorten it.
        ttl: ttl.map_or(ours.ttl.min(max_ttl), |ttl| ttl.value),
        max_ttl,
        idle: item.get("idle"),
        strict: item.get("strict").unwrap_or(false),
        max_per_user: count(item, "max-per-user").unwrap_or(ours.max_per_user),
    }
}

/// `health`.
pub(super) fn health(item: &Item) -> Option<ExitHealth> {
    let time = |name: &str, seconds| item.get(name).unwrap_or(Duration::from_secs(seconds));
    Some(ExitHealth {
        target: item.get("target")?,
        every: time("every", 30),
        timeout: time("timeout", 10),
        fall: count(item, "fall").unwrap_or(2),
        rise: count(item, "rise").unwrap_or(1),
        span: item.span,
    })
}

/// `ban`.
pub(super) fn ban(item: &Item, context: &mut Context<'_>) -> Option<BanRule> {
    const SIGNS: [&str; 6] = ["status", "body", "header", "reset", "slower", "unreachable"];
    let signs = signs(item);
    if signs.is_empty() {
        // What could not be read has been reported, and `#false` is no sign.
        let reported = SIGNS.iter().any(|name| item.written(name).is_some())
            && ["reset", "unreachable"].iter().all(|name| item.get::<bool>(name).is_none());
        if !reported {
            context.error(
                ConfigError::at(item.span, "`ban` without a sign", "nothing would ban").help(
                    "add `status=403`, `body=\"…\"`, `header=\"…\"`, `reset=#true`, \
                     `slower=\"10s\"` or `unreachable=#true`",
                ),
            );
        }
        return None;
    }
    let count = count(item, "count").unwrap_or(1);
    if let (1, Some(within)) = (count, item.written("within")) {
        context.error(
            ConfigError::at(within, "`within=` of a single sign", "has no effect")
                .help("add `count=`, or leave it out"),
        );
    }
    let time = |name: &str, seconds| item.get(name).unwrap_or(Duration::from_secs(seconds));
    let scope = match item.get::<String>("per").as_deref() {
        Some("exit") => BanScope::Exit,
        _ => BanScope::Host,
    };
    Some(BanRule {
        signs,
        count,
        within: time("within", 60),
        time: time("for", 600),
        scope,
        span: item.span,
    })
}

fn signs(item: &Item) -> Vec<BanSign> {
    let mut signs: Vec<BanSign> = Vec::new();
    for ranges in values::<Vec<(u16, u16)>>(item, "status") {
        signs.extend(ranges.into_iter().flat_map(|(low, high)| low..=high).map(BanSign::Status));
    }
    signs.extend(values(item, "body").into_iter().map(BanSign::Body));
    signs.extend(
        values(item, "header")
            .into_iter()
            .map(|(name, contains)| BanSign::Header { name, contains }),
    );
    if item.get::<bool>("reset") == Some(true) {
        signs.push(BanSign::Reset);
    }
    signs.extend(item.get("slower").map(BanSign::Slower));
    if item.get::<bool>("unreachable") == Some(true) {
        signs.push(BanSign::Unreachable);
    }
    signs
}

/// `pace`.
pub(super) fn pacing(item: &Item) -> Option<Pacing> {
    Some(Pacing {
        gap: item.get("gap")?,
        per_host: item.get::<String>("per").is_none_or(|per| per == "host"),
        wait: item.get("wait").unwrap_or(Duration::from_secs(10)),
        retry_after: item.get("retry-after").unwrap_or(true),
    })
}

fn count(item: &Item, name: &str) -> Option<u32> {
    item.get::<u64>(name).map(|count| count as u32)
}
