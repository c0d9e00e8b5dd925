//! Which route has a path.

use std::borrow::Cow;

use config::{PathPattern, show};
use message::target::CanonicalPath;

use super::{Other, Told, other, text};
use crate::failure::{Failure, Kind};
use crate::reverse::{allowed_methods, choose_route};
use crate::site::{Route, Site};

/// Tells the path in the form that decisions are made on.
pub(super) fn tell_path(told: &mut Told, received: &[u8], path: &CanonicalPath<'_>) {
    told.part("path", text(&path.strict));
    if *path.strict != *received {
        let written = if received.is_empty() { "nothing".to_owned() } else { text(received) };
        told.note(format!("written as {written}; decisions are made on the form above"));
    }
    if let Some(loose) = &path.loose {
        told.note(format!("a server may read it as {}: routes must agree on both", text(loose)));
    }
}

/// Tells which route was found, and why the others were not.
pub(super) fn tell(
    told: &mut Told,
    site: &Site,
    path: &CanonicalPath<'_>,
    method: &[u8],
    found: &Result<usize, Failure>,
) {
    let routes = &site.routes.routes;
    let name = |index: usize| name(&routes[index]);
    match found {
        Ok(index) => {
            told.part("route", name(*index));
            if routes[*index].config.methods.is_empty() {
                told.note("it takes every method");
            }
        }
        Err(failure) => {
            told.part("route", "none");
            match failure.kind {
                Kind::MethodNotAllowed => {
                    told.note(format!("Allow: {}", allowed_methods(site, path)));
                }
                Kind::RequestError => tell_readings(told, site, path, method),
                _ => {}
            }
        }
    }
    let chosen = found.as_ref().ok().copied();
    let others = (0..routes.len()).filter(|index| Some(*index) != chosen);
    let chosen = chosen.map(|index| &*routes[index]);
    told.others(others.map(|index| why_not(&routes[index], path, method, chosen)).collect());
}

/// What each of two readings of a path would lead to.
fn tell_readings(told: &mut Told, site: &Site, path: &CanonicalPath<'_>, method: &[u8]) {
    for reading in [Some(&*path.strict), path.loose.as_deref()].into_iter().flatten() {
        let alone = CanonicalPath { strict: Cow::Borrowed(reading), loose: None };
        let leads = match choose_route(site, &alone, method) {
            Ok(index) => name(&site.routes.routes[index]),
            Err(failure) => format!("{} {}", failure.kind.status(), failure.kind.name()),
        };
        told.note(format!("read as {}: {leads}", text(reading)));
    }
}

fn name(route: &Route) -> String {
    match route.config.methods.is_empty() {
        true => route.config.name.clone(),
        false => format!("{} ({})", route.config.name, show::list(&route.config.methods)),
    }
}

fn why_not(
    route: &Route,
    path: &CanonicalPath<'_>,
    method: &[u8],
    chosen: Option<&Route>,
) -> (i64, Other) {
    let length = match &route.config.path {
        PathPattern::Exact(path) | PathPattern::Prefix(path) => path.len(),
    };
    let fits_loose = path.loose.as_deref().is_some_and(|loose| fits(route, loose));
    let (near, why) = if !fits(route, &path.strict) {
        let common = in_common(route, &path.strict);
        match (&route.config.path, fits_loose) {
            (_, true) => (1000, "it has the other reading of the path".to_owned()),
            (PathPattern::Exact(_), _) => (common, "that path only".to_owned()),
            (PathPattern::Prefix(_), _) => (common, "another path".to_owned()),
        }
    } else if !route.takes(method) {
        let methods = show::list(&route.config.methods);
        (3000 + length as i64, format!("it has the path, but takes {methods} only"))
    } else {
        let why = match (chosen.map(|route| &route.config.path), &route.config.path) {
            (Some(PathPattern::Exact(_)), PathPattern::Prefix(_)) => {
                "it has the path too, but one for exactly this path goes first"
            }
            (Some(chosen), this) if chosen == this => "the same path, but later in the file",
            (Some(_), _) => "it has the path too, but the longest goes first",
            (None, _) => "only one reading of the path leads to it",
        };
        (2000 + length as i64, why.to_owned())
    };
    (-near, other(name(route), why))
}

/// Whether a path is one of a route's.
fn fits(route: &Route, path: &[u8]) -> bool {
    match &route.config.path {
        PathPattern::Exact(exact) => exact.as_bytes() == path,
        PathPattern::Prefix(prefix) => path
            .strip_prefix(prefix.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/'),
    }
}

/// Bytes that a pattern and a path have in common at the beginning.
fn in_common(route: &Route, path: &[u8]) -> i64 {
    let (PathPattern::Exact(pattern) | PathPattern::Prefix(pattern)) = &route.config.path;
    pattern.bytes().zip(path).take_while(|(left, right)| left == *right).count() as i64
}
