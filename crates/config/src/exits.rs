//! `exits`: pools of ways out.

mod circles;
mod names;
mod rules;

use ipnet::IpNet;

use crate::build::{Context, resolve, values};
use crate::model::{
    Exit, ExitHop, ExitKind, ExitLabels, ExitPool, HopProtocol, PrefixPick, ServerHost,
};
use crate::walk::Item;
use crate::{ConfigError, dns, parents, targets};

/// What stands in a block and is a way out.
const WAYS: [&str; 6] = ["direct", "address", "prefix", "proxy", "list", "pool"];

/// Builds a pool.
pub(crate) fn pool(item: &Item, context: &mut Context<'_>) -> Option<ExitPool> {
    let name = item.one::<String>("name")?;
    if name.value == "direct" {
        context.error(
            ConfigError::at(name.span, "a pool of the name `direct`", "means: from this machine")
                .help("give it another name"),
        );
    }
    let exits = exits(item, context);
    if !item.block.iter().any(|way| WAYS.contains(&way.directive.name)) && !item.flawed {
        context.error(ConfigError::at(item.span, "a pool without an exit", "no way out").help(
            "add `address \"192.0.2.7\"`, `proxy \"http://10.0.0.1:3128\"` or another way out \
                 to its block",
        ));
    }
    let word = |name: &str, value: &str| item.child(name).and_then(|it| it.get::<String>(value));
    let child = |name: &str| item.child(name);
    let count = |name: &str, value: &str| {
        child(name).and_then(|it| it.get::<u64>(value)).map(|count| count as u32)
    };
    let ours = ExitPool::new(&name.value, exits, item.span);
    Some(ExitPool {
        rotate: child("rotate").and_then(|it| it.get("when")).unwrap_or(ours.rotate),
        choose: word("choose", "how").map_or(ours.choose, |how| rules::choose(&how)),
        sessions: child("sticky").map_or(ours.sessions.clone(), |it| rules::sessions(it, context)),
        dialect: word("dialect", "vendor").map_or(ours.dialect, |vendor| rules::dialect(&vendor)),
        health: child("health").and_then(rules::health),
        bans: item.children("ban").filter_map(|ban| rules::ban(ban, context)).collect(),
        attempts: count("retry", "attempts").unwrap_or(ours.attempts),
        max_per_exit: count("max", "connections"),
        max_per_host: count("max", "per-host"),
        pacing: child("pace").and_then(rules::pacing),
        exclusive: child("exclusive").and_then(|it| it.get("flag")).unwrap_or(false),
        resolve: word("resolve", "where").map(|place| rules::resolve_at(&place)),
        prefer: child("prefer").and_then(dns::prefer),
        ..ours
    })
}

/// The exits of a pool: its own first, then other pools. [`names::settle`] gives them their names.
fn exits(item: &Item, context: &mut Context<'_>) -> Vec<Exit> {
    let mut exits: Vec<Exit> = Vec::new();
    for way in &item.block {
        let Some(exit) = exit(way, context) else { continue };
        if !matches!(exit.kind, ExitKind::Pool(_)) {
            let name = way.one::<String>("name");
            context.named_exits.extend(name.map(|name| (exit.span.offset(), name)));
        }
        exits.push(exit);
    }
    exits.sort_by_key(|exit| matches!(exit.kind, ExitKind::Pool(_)));
    exits
}

/// What holds between pools: gives exits their names, and reports circles.
pub(crate) fn settle(pools: &mut [ExitPool], context: &mut Context<'_>) {
    names::settle(pools, &context.named_exits, context.errors);
    circles::check(pools, context.errors);
}

/// A way out; `None` for any other directive.
fn exit(item: &Item, context: &mut Context<'_>) -> Option<Exit> {
    let (name, kind) = match item.directive.name {
        "direct" => ("direct".to_owned(), ExitKind::Direct),
        "address" => {
            let address: std::net::IpAddr = item.get("address")?;
            (made_of(&address.to_string()), ExitKind::Address(address))
        }
        "prefix" => prefix(item, context)?,
        "proxy" => {
            let hops: Vec<ExitHop> = values(item, "url");
            (last_hop(&hops)?, ExitKind::Chain(hops))
        }
        "list" => list(item, context)?,
        "pool" => {
            let name = item.one::<String>("name")?;
            let at = resolve(&name, &context.exit_names, "exits", context.errors)?;
            return Some(Exit::new(&name.value, ExitKind::Pool(at), item.span));
        }
        _ => return None,
    };
    let number = |name: &str| item.get::<u64>(name).map(|number| number as u32);
    Some(Exit {
        labels: ExitLabels {
            country: item.get("country"),
            state: item.get("state"),
            city: item.get("city"),
            zip: item.get("zip"),
            asn: number("asn"),
            price: item.get("price"),
            tags: values(item, "tag"),
        },
        weight: number("weight").unwrap_or(1),
        max: number("max"),
        ..Exit::new(&name, kind, item.span)
    })
}

fn prefix(item: &Item, context: &mut Context<'_>) -> Option<(String, ExitKind)> {
    let net = item.one::<IpNet>("network")?;
    if net.value.prefix_len() == net.value.max_prefix_len() {
        context.error(
            ConfigError::at(net.span, "a prefix of one address", "nothing to choose from")
                .help(format!("write `address \"{}\"`", net.value.addr())),
        );
    }
    let pick = match item.get::<String>("pick").as_deref() {
        Some("session") => PrefixPick::Session,
        Some("host") => PrefixPick::Host,
        _ => PrefixPick::Random,
    };
    Some((made_of(&net.value.to_string()), ExitKind::Prefix { net: net.value, pick }))
}

fn list(item: &Item, context: &mut Context<'_>) -> Option<(String, ExitKind)> {
    let source = item.one("source")?;
    let every = targets::fetched_every(item, std::slice::from_ref(&source), context);
    let source = targets::with_time(source, every);
    let scheme = item.get::<String>("scheme");
    let scheme = scheme.and_then(|scheme| parents::protocol(&scheme)).unwrap_or(HopProtocol::Http);
    let text = match &source.value {
        crate::ListSource::File(path) => path.file_stem().map(|stem| stem.to_string_lossy().into()),
        crate::ListSource::Url { url, .. } => url.split(['/', '?', '#']).nth(2).map(str::to_owned),
    };
    let name = made_of(&text.unwrap_or_default());
    let name = if name.is_empty() { "list".to_owned() } else { name };
    Some((name, ExitKind::List { source, scheme }))
}

/// What the far end sees is the last of a chain: `a.example_1080`.
fn last_hop(hops: &[ExitHop]) -> Option<String> {
    let last = hops.last()?;
    let host = match &last.host {
        ServerHost::Address(address) => address.to_string(),
        ServerHost::Name(name) | ServerHost::Srv(name) => name.clone(),
    };
    Some(made_of(&format!("{host}_{}", last.port)))
}

/// A name of what may stand in one.
fn made_of(text: &str) -> String {
    let kept = |char: char| match char.is_ascii_alphanumeric() || matches!(char, '.' | '-') {
        true => char,
        false => '_',
    };
    text.chars().map(kept).take(64).collect()
}
