//! `cache`: where answers are kept, and by which rules.

use std::time::Duration;

use crate::build::Context;
use crate::content::{Own, or_off};
use crate::model::{ByteLimit, CacheDisk, CacheRules, CacheStore, KeyPart};
use crate::walk::Item;
use crate::{ConfigError, Spanned, show};

/// `cache` at the top, or what holds without it.
pub(crate) fn store(item: Option<&Item>, context: &mut Context<'_>) -> CacheStore {
    let default = CacheStore::default();
    let Some(item) = item else { return default };
    let memory = item.child("memory").and_then(|it| size(it, "size"));
    let memory = memory.map_or(default.memory, |size| size.value);
    let disk = item.child("disk").and_then(|it| {
        let bytes = size(it, "size").map_or(CacheDisk::DEFAULT_SIZE, |size| size.value);
        Some(CacheDisk { path: it.one("folder")?, size: bytes })
    });
    let written = item.child("max-object").and_then(|it| size(it, "size"));
    // What a larger one would need is not there.
    let (tier, room) = match &disk {
        Some(disk) => ("disk", disk.size),
        None => ("memory", memory),
    };
    let known = disk.is_some() || item.child("disk").is_none();
    if let Some(largest) = written.as_ref().filter(|largest| largest.value > room && known) {
        context.error(
            ConfigError::at(
                largest.span,
                "a `max-object` that could never be kept",
                format!("larger than the {tier}, which is {}", show::bytes(room)),
            )
            .help("write a smaller one, or leave it out"),
        );
    }
    let max_object = written.map_or_else(|| CacheStore::largest(room), |largest| largest.value);
    CacheStore { memory, disk, max_object, span: Some(item.span) }
}

/// Slices that are larger than what is kept would be fetched and never kept.
pub(crate) fn check_slices<'r>(
    store: &CacheStore,
    rules: impl Iterator<Item = &'r CacheRules>,
    context: &mut Context<'_>,
) {
    let too_large = |rules: &&CacheRules| rules.slice.is_some_and(|size| size > store.max_object);
    let mut seen = Vec::new();
    for rules in rules.filter(too_large) {
        // Routes have what their site says.
        if seen.contains(&rules.span) {
            continue;
        }
        seen.push(rules.span);
        let most = show::bytes(store.max_object);
        context.error(
            ConfigError::at(
                rules.span,
                "slices that could never be kept",
                format!("they are larger than the largest object, which is {most}"),
            )
            .help("write a smaller `slice`, or a larger `max-object` in the `cache` at the top"),
        );
    }
}

/// What a site, a route or a forward listener says about it.
pub(crate) fn rules(block: &Item, context: &mut Context<'_>) -> Own<CacheRules> {
    let Some(item) = block.child("cache") else { return Own::Unsaid };
    if or_off(item, context) {
        return Own::Off;
    }
    let stale = item.child("stale");
    let time = |name: &str| {
        stale.and_then(|stale| stale.get::<Duration>(name)).filter(|time| !time.is_zero())
    };
    let (default_ttl, max_ttl) = lifetimes(item, context);
    let off = |name: &str| {
        let switch = item.child(name).and_then(|it| it.get::<String>("switch"));
        switch.as_deref() == Some("off")
    };
    if let Some(empty) = stale.filter(|it| it.is_bare()) {
        context.error(nothing_in(empty, "while-revalidate=\"30s\""));
    }
    Own::Says(CacheRules {
        key: item.child("key").map_or_else(CacheRules::default_key, |key| key_parts(key, context)),
        while_revalidate: time("while-revalidate"),
        if_error: time("if-error"),
        default_ttl,
        max_ttl,
        purge_token: item.child("purge").and_then(|purge| purge.one("token")),
        slice: item.child("slice").and_then(|it| size(it, "size")).map(|size| size.value),
        status_field: !off("status"),
        span: item.span,
    })
}

fn lifetimes(item: &Item, context: &mut Context<'_>) -> (Option<Duration>, Option<Duration>) {
    let Some(ttl) = item.child("ttl") else { return (None, None) };
    if ttl.is_bare() {
        context.error(nothing_in(ttl, "default=\"60s\""));
    }
    let (default, max) = (ttl.one::<Duration>("default"), ttl.one::<Duration>("max"));
    if let (Some(default), Some(max)) = (&default, &max)
        && default.value > max.value
    {
        context.error(
            ConfigError::at(default.span, "a `default=` longer than `max=`", "never so long")
                .also(max.span, "since this is the longest")
                .help(format!("write default=\"{}\" at most", show::duration(max.value))),
        );
    }
    (default.map(|time| time.value), max.map(|time| time.value))
}

fn nothing_in(item: &Item, such_as: &str) -> ConfigError {
    let name = item.directive.name;
    ConfigError::at(item.span, format!("`{name}` that says nothing"), "no property stands here")
        .help(format!("write `{name} {such_as}`, or leave it out"))
}

/// The parts without the scheme and the host, which are always there.
fn key_parts(item: &Item, context: &mut Context<'_>) -> Vec<KeyPart> {
    let mut parts: Vec<Spanned<KeyPart>> = Vec::new();
    for part in item.all::<Option<KeyPart>>("part") {
        let Spanned { value: Some(value), span } = part else { continue };
        match parts.iter().find(|known| known.value == value) {
            Some(first) => context.error(
                ConfigError::at(span, "a part of the key stands twice", "the second")
                    .also(first.span, "the first")
                    .help("keep one of the two"),
            ),
            None => parts.push(Spanned { value, span }),
        }
    }
    let whole = parts.iter().find(|part| part.value == KeyPart::Query);
    let single = parts.iter().find(|part| matches!(part.value, KeyPart::QueryParameter(_)));
    if let (Some(whole), Some(single)) = (whole, single) {
        context.error(
            ConfigError::at(single.span, "a parameter beside the whole query", "is in it already")
                .also(whole.span, "the whole query")
                .help("leave \"query\" out for a key with this parameter only"),
        );
    }
    parts.into_iter().map(|part| part.value).collect()
}

fn size(item: &Item, name: &str) -> Option<Spanned<u64>> {
    let size = item.one::<ByteLimit>(name)?;
    match size.value {
        ByteLimit::Bytes(value) => Some(Spanned { value, span: size.span }),
        ByteLimit::Unlimited => None,
    }
}
