//! `limit`: how much comes in a time, and how many connections there are at once.

use std::time::Duration;

use crate::build::Context;
use crate::model::{LimitKey, RateLimit, RateUnit};
use crate::table::{Count, Parameter, Place};
use crate::walk::Item;
use crate::words::{Burst, Per};
use crate::{ConfigError, Span};

/// What one `limit` may be about.
const UNITS: [&str; 3] = ["requests", "bytes", "connections"];

/// A burst of bytes that lets a response begin, whatever the rate.
const LEAST_BYTES: u64 = 64 << 10;

/// Whether what stands in this block is part of a site, or of a route.
fn place_of(item: &Item) -> Place {
    item.directive.block.unwrap_or(Place::Top)
}

/// The rates of a site or a route. Reports what is wrong with any of its limits.
pub(crate) fn rates(item: &Item, context: &mut Context<'_>) -> Vec<RateLimit> {
    let place = place_of(item);
    check_connections(item, context);
    item.children("limit").filter_map(|limit| rate(limit, place, context)).collect()
}

/// `limit` must limit something, and connections are limited once, and not in a route.
pub(crate) fn check_connections(item: &Item, context: &mut Context<'_>) {
    let mut first: Option<Span> = None;
    for limit in item.children("limit") {
        check_unit(limit, context);
        match (written(limit, "connections"), first) {
            (Some(span), _) if place_of(item) == Place::Route => context.error(
                ConfigError::at(
                    span,
                    "connections are limited in a route",
                    "a connection is there before its requests",
                )
                .help("write it into the block of the site"),
            ),
            (Some(second), Some(first)) => context.error(
                ConfigError::at(second, "connections are limited twice", "the second")
                    .also(first, "the first")
                    .help("keep one of the two"),
            ),
            (Some(span), None) => first = Some(span),
            (None, _) => {}
        }
    }
}

/// Where a property was written; `None` also where the directive has none of this name.
fn written(limit: &Item, name: &str) -> Option<Span> {
    limit.directive.parameter(name).and_then(|_| limit.written(name))
}

/// One `limit` is about one thing.
fn check_unit(limit: &Item, context: &mut Context<'_>) {
    let units: Vec<_> =
        UNITS.iter().filter_map(|name| Some((*name, written(limit, name)?))).collect();
    let needed = |parameter: &Parameter| parameter.count == Count::One;
    match units.as_slice() {
        // Where nothing else is limited, what is missing has been reported.
        [] if limit.directive.parameter("connections").is_some_and(needed) => {}
        [] => context.error(
            ConfigError::at(limit.span, "a `limit` of nothing", "says not what is limited")
                .help("write `limit connections=256 per=\"client-ip\"`"),
        ),
        [(first, at), others @ ..] => {
            for (other, span) in others {
                context.error(
                    ConfigError::at(
                        *span,
                        format!("one `limit` of {first} and of {other}"),
                        "a second limit",
                    )
                    .also(*at, "the first")
                    .help("write two of them, a line each"),
                );
            }
        }
    }
}

fn rate(limit: &Item, place: Place, context: &mut Context<'_>) -> Option<RateLimit> {
    let unit = match *UNITS.iter().find(|name| written(limit, name).is_some())? {
        "requests" => RateUnit::Requests,
        "bytes" => RateUnit::Bytes,
        _ => {
            check_bare(limit, context);
            return None;
        }
    };
    let key = key(limit, place, context);
    let name = if unit == RateUnit::Requests { "requests" } else { "bytes" };
    let (amount, per) = limit.get::<(u64, Duration)>(name)?;
    let burst = burst(limit, unit, context).unwrap_or_else(|| default_burst(unit, amount, per));
    Some(RateLimit { unit, amount, per, burst, key: key?, span: limit.span })
}

/// A limit on connections has no burst, and is for each client.
fn check_bare(limit: &Item, context: &mut Context<'_>) {
    if let Some(span) = limit.written("burst") {
        context.error(
            ConfigError::at(span, "a burst of connections", "has no effect")
                .help("the limit is itself how many there may be at once: leave `burst=` out"),
        );
    }
    let per = limit.one::<Per>("per").filter(|per| per.value != Per::ClientIp);
    if let Some(per) = per {
        context.error(
            ConfigError::at(
                per.span,
                "connections are limited for each client only",
                "not for this",
            )
            .help("write per=\"client-ip\", or leave `per=` out"),
        );
    }
}

fn key(limit: &Item, place: Place, context: &mut Context<'_>) -> Option<LimitKey> {
    if limit.written("per").is_none() {
        return Some(LimitKey::ClientIp);
    }
    let per = limit.one::<Per>("per")?;
    let (message, help) = match (per.value, place) {
        (Per::ClientIp, _) => return Some(LimitKey::ClientIp),
        (Per::Header(name), _) => return Some(LimitKey::Header(name)),
        (Per::Site, Place::Site) | (Per::Route, Place::Route) => return Some(LimitKey::Place),
        (Per::Site, _) => (
            "a limit for the whole site in one of its routes",
            "write it into the block of the site, or per=\"route\"",
        ),
        (Per::Route, _) => (
            "a limit for a route in the block of a site",
            "write it into the block of each route, or per=\"site\" for all of them together",
        ),
    };
    context.error(ConfigError::at(per.span, message, "not here").help(help));
    None
}

/// What was written; `None` where nothing was.
fn burst(limit: &Item, unit: RateUnit, context: &mut Context<'_>) -> Option<u64> {
    let burst = limit.one::<Burst>("burst")?;
    match (unit, burst.value) {
        (RateUnit::Requests, Burst::Requests(number)) => return Some(number),
        (RateUnit::Bytes, Burst::Bytes(bytes)) => return Some(bytes),
        (RateUnit::Bytes, Burst::Requests(number)) => context.error(
            ConfigError::at(burst.span, "a burst of bytes is a size", "a number")
                .help(format!("a size has a unit: burst=\"{number}B\"")),
        ),
        (RateUnit::Requests, Burst::Bytes(_)) => context.error(
            ConfigError::at(burst.span, "a burst of requests is a number", "a size")
                .help("write a number without quotes: burst=2000"),
        ),
    }
    None
}

/// As much as comes in one second, but never so little that nothing ever gets through.
fn default_burst(unit: RateUnit, amount: u64, per: Duration) -> u64 {
    // A window is at least a millisecond and an amount at most 2^40: neither overflows.
    let second = u128::from(amount) * 1000 / per.as_millis().max(1);
    let second = u64::try_from(second).unwrap_or(u64::MAX);
    match unit {
        RateUnit::Requests => second.max(1),
        RateUnit::Bytes => second.max(LEAST_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_where_none_is_written() {
        let of = |unit, amount, seconds| default_burst(unit, amount, Duration::from_secs(seconds));
        assert_eq!(of(RateUnit::Requests, 1000, 1), 1000);
        assert_eq!(of(RateUnit::Requests, 100, 60), 1);
        assert_eq!(of(RateUnit::Requests, 5, 10), 1);
        assert_eq!(of(RateUnit::Requests, 600, 60), 10);
        assert_eq!(of(RateUnit::Bytes, 10 << 20, 1), 10 << 20);
        assert_eq!(of(RateUnit::Bytes, 1 << 10, 1), 64 << 10);
        let short = default_burst(RateUnit::Bytes, 1 << 40, Duration::from_millis(1));
        assert_eq!(short, 1000 << 40);
    }
}
