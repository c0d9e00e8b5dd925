//! What users may: that of one user, and that of all who say nothing themselves.

use std::collections::HashMap;

use crate::build::{Context, values};
use crate::model::{Budget, Period, Quota, UserLimits};
use crate::typed::FromTyped;
use crate::walk::Item;
use crate::{ConfigError, Span, Spanned, targets};

/// Builds the limits of a `user` or a `default`.
pub(super) fn limits(item: &Item, context: &mut Context<'_>) -> UserLimits {
    let quotas = several(item, "quota", |quota: &Quota| quota.per, context);
    let budgets = several(item, "budget", |budget: &Budget| budget.per, context);
    let connections: Option<u64> = single(item, "connections", "count", context);
    UserLimits {
        bandwidth: single(item, "bandwidth", "rate", context),
        quotas,
        budgets,
        connections: connections.map(|count| count as u32),
        requests: single(item, "requests", "rate", context),
        exits: item.children("exits").flat_map(|it| values(it, "name")).collect(),
        countries: item.children("countries").flat_map(|it| values(it, "country")).collect(),
        hours: item.children("hours").flat_map(|it| values(it, "hours")).collect(),
        rules: targets::rules(item, context),
    }
}

/// What stands beside the name, or as a line of its own in the block.
pub(super) fn single<T: FromTyped>(
    item: &Item,
    name: &str,
    argument: &str,
    context: &mut Context<'_>,
) -> Option<T> {
    let child = item.child(name);
    if let (Some(first), Some(second)) = (item.written(name), child) {
        context.error(
            ConfigError::at(second.span, format!("`{name}` stands twice"), "the second")
                .also(first, "the first")
                .help("keep one of the two"),
        );
    }
    item.get(name).or_else(|| child?.get(argument))
}

/// All that stand beside the name and in the block; one for each period.
fn several<T: FromTyped>(
    item: &Item,
    name: &str,
    per: impl Fn(&T) -> Period,
    context: &mut Context<'_>,
) -> Vec<T> {
    let mut found: Vec<Spanned<T>> = item.all(name);
    found.extend(item.children(name).flat_map(|child| child.all("amount")));
    let mut seen: HashMap<Period, Span> = HashMap::new();
    for one in &found {
        let period = per(&one.value);
        if let Some(first) = seen.insert(period, one.span) {
            let word = match period {
                Period::Day => "day",
                Period::Month => "month",
            };
            context.error(
                ConfigError::at(one.span, format!("two {name}s for a {word}"), "the second")
                    .also(first, "the first")
                    .help("keep the lower one: the other has no effect"),
            );
        }
    }
    found.into_iter().map(|one| one.value).collect()
}
