//! Which site has a host.

use config::{HostPattern, show};
use message::Host;

use super::{Other, Told, other};
use crate::site::{Site, SiteTable};

/// Tells which site was found, by which of its names, and why the others were not.
pub(super) fn tell(
    told: &mut Told,
    table: &SiteTable,
    found: Option<usize>,
    host: Option<&Host<'_>>,
) {
    let site = found.map(|index| &*table.sites[index]);
    told.part("site", site.map_or("none", |site| &site.config.name));
    let asked = host.map_or_else(|| "a request without a host".to_owned(), ToString::to_string);
    match site {
        Some(site) => told.note(by(site, host, &asked)),
        None => told.note(format!("no site of this listener has {asked}")),
    }
    let others = table.sites.iter().enumerate().filter(|(index, _)| Some(*index) != found);
    told.others(others.map(|(_, site)| why_not(site, host)).collect());
}

/// By which of its names a site was found.
fn by(site: &Site, host: Option<&Host<'_>>, asked: &str) -> String {
    let matching = site.config.hosts.iter().filter(|pattern| matches(pattern, host));
    // The table looks for the most particular name.
    match matching.max_by_key(|pattern| weight(pattern)) {
        Some(HostPattern::Any) => "it takes every host that no other site claims".to_owned(),
        Some(pattern @ HostPattern::Wildcard(_)) => {
            format!("{asked} fits {}", show::host(pattern))
        }
        Some(_) => format!("{asked} is its host"),
        None => {
            "it stands on an address, and takes every host that no other site claims".to_owned()
        }
    }
}

fn matches(pattern: &HostPattern, host: Option<&Host<'_>>) -> bool {
    match (pattern, host) {
        (HostPattern::Any, _) => true,
        (HostPattern::Exact(name), Some(Host::Name(asked))) => name == asked,
        (HostPattern::Wildcard(suffix), Some(Host::Name(asked))) => {
            asked.len() > suffix.len() && asked.ends_with(suffix.as_str())
        }
        (HostPattern::Address(address), Some(Host::Address(asked))) => address == asked,
        _ => false,
    }
}

fn weight(pattern: &HostPattern) -> usize {
    match pattern {
        HostPattern::Any => 0,
        HostPattern::Wildcard(suffix) => suffix.len(),
        HostPattern::Exact(_) | HostPattern::Address(_) => usize::MAX,
    }
}

fn why_not(site: &Site, host: Option<&Host<'_>>) -> (i64, Other) {
    let nearest = site.config.hosts.iter().map(|pattern| distance(pattern, host)).min();
    let (distance, why) = nearest.unwrap_or((i64::MAX, "it has no name"));
    let hosts = show::list(site.config.hosts.iter().map(show::host));
    (distance, other(format!("{} ({hosts})", site.config.name), why))
}

/// How far a pattern that was not chosen is from a host, and why it was not.
fn distance(pattern: &HostPattern, host: Option<&Host<'_>>) -> (i64, &'static str) {
    if matches(pattern, host) {
        return match pattern {
            HostPattern::Any => (0, "it takes only what no other site claims"),
            _ => (0, "it fits too, but a more particular name goes before it"),
        };
    }
    match (pattern, host) {
        (HostPattern::Wildcard(suffix), Some(Host::Name(asked))) if suffix[1..] == **asked => {
            (1, "it wants a label before the domain")
        }
        (HostPattern::Exact(name), Some(Host::Name(asked))) => {
            (1000 - in_common(name, asked), "another host")
        }
        (HostPattern::Wildcard(suffix), Some(Host::Name(asked))) => {
            (1000 - in_common(suffix, asked), "another domain")
        }
        (HostPattern::Address(_), _) => (2000, "another address"),
        _ => (2000, "another host"),
    }
}

/// Letters that two names have in common at the end.
fn in_common(left: &str, right: &str) -> i64 {
    let pairs = left.bytes().rev().zip(right.bytes().rev());
    pairs.take_while(|(left, right)| left == right).count() as i64
}
