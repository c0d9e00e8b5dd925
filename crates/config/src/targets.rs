//! `allow` and `deny` about targets: of listeners, and of users.

use std::time::Duration;

use crate::build::{Context, resolve_way, values};
use crate::model::{ListSource, RuleContext, TargetPattern, TargetRule, Verdict};
use crate::walk::Item;
use crate::{ConfigError, Spanned};

/// What a rule may say of a request besides its target.
const CONTEXT: [&str; 7] = ["port", "method", "user", "agent", "country", "hours", "type"];

/// The rules in a block, in the order of the file.
pub(crate) fn rules(item: &Item, context: &mut Context<'_>) -> Vec<TargetRule> {
    item.block.iter().filter_map(|rule| rule_of(rule, context)).collect()
}

/// An `allow` or a `deny`; `None` for any other directive.
fn rule_of(item: &Item, context: &mut Context<'_>) -> Option<TargetRule> {
    let verdict = match item.directive.name {
        "allow" => Verdict::Allow,
        "deny" => Verdict::Deny,
        _ => return None,
    };
    let mut targets: Vec<TargetPattern> = values(item, "target");
    targets.extend(item.all("regex").into_iter().map(TargetPattern::Regex));
    targets.extend(lists(item, context).into_iter().map(TargetPattern::List));
    let about = ["target", "regex", "list"].iter().any(|name| item.written(name).is_some());
    if !about {
        let known = CONTEXT.iter().filter(|name| item.directive.parameter(name).is_some());
        if known.into_iter().all(|name| item.written(name).is_none()) {
            context.error(
                ConfigError::at(
                    item.span,
                    format!("`{}` of nothing", item.directive.name),
                    "neither a target, nor a list, nor anything else of a request",
                )
                .help(format!("write `{} \"*\"` for every target", item.directive.name)),
            );
        }
        targets.push(TargetPattern::Any);
    }
    check_countries(item, context);
    let of_listener = item.directive.parameter("exit").is_some();
    let exit = of_listener.then(|| item.one::<String>("exit")).flatten();
    let exit = exit.and_then(|name| resolve_way(&name, context));
    let ports = values(item, "port");
    let context = rule_context(item);
    Some(TargetRule { ports, context, exit, ..TargetRule::new(verdict, targets, item.span) })
}

fn rule_context(item: &Item) -> RuleContext {
    let users = match item.directive.parameter("user") {
        Some(_) => values(item, "user"),
        None => Vec::new(),
    };
    RuleContext {
        methods: values(item, "method"),
        users,
        agents: item.all("agent"),
        countries: values(item, "country"),
        hours: values(item, "hours"),
        types: values(item, "type"),
    }
}

/// Without a database no target is in any country, and a `deny` would let everything through.
fn check_countries(item: &Item, context: &mut Context<'_>) {
    if let (Some(span), false) = (item.written("country"), context.has_geoip) {
        context.error(
            ConfigError::at(span, "a rule by country, and no database of countries", "never fits")
                .help("add `geoip \"GeoLite2-Country.mmdb\"` at the top"),
        );
    }
}

/// The lists of a rule, each with how often it is fetched.
fn lists(item: &Item, context: &mut Context<'_>) -> Vec<Spanned<ListSource>> {
    let lists = item.all("list");
    let every = fetched_every(item, &lists, context);
    lists.into_iter().map(|list| with_time(list, every)).collect()
}

/// How often the lists of a directive are fetched. Reports what does not fit.
pub(crate) fn fetched_every(
    item: &Item,
    lists: &[Spanned<ListSource>],
    context: &mut Context<'_>,
) -> Option<Duration> {
    let every = item.one::<Duration>("every");
    let url = lists.iter().find(|list| matches!(list.value, ListSource::Url { .. }));
    match (&every, url) {
        (Some(every), None) if !lists.is_empty() || item.written("list").is_none() => {
            context.error(
                ConfigError::at(every.span, "`every=` without a URL", "has no effect")
                    .help("leave it out: a file is read again when it has changed"),
            );
        }
        (_, Some(url)) if !context.has_state => context.error(
            ConfigError::at(
                url.span,
                "a list from a URL, and no place to keep it",
                "fetched, and to be kept for the next start",
            )
            .help("add `state \"/var/lib/bifrons\"` at the top: the last good copy is kept there"),
        ),
        _ => {}
    }
    every.map(|every| every.value)
}

/// A list, fetched this often.
pub(crate) fn with_time(
    mut list: Spanned<ListSource>,
    time: Option<Duration>,
) -> Spanned<ListSource> {
    if let (ListSource::Url { every, .. }, Some(time)) = (&mut list.value, time) {
        *every = time;
    }
    list
}
