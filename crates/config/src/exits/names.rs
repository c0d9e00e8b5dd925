//! The names of exits. Users, wishes and the API know an exit by its name alone, so one name is one
//! thing in all pools; the same thing may stand in several pools.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{Exit, ExitHop, ExitKind, ExitPool, ListSource};
use crate::{ConfigError, Span, Spanned};

/// What an exit is, apart from where it stands and what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Thing<'a> {
    Direct,
    Address(IpAddr),
    Prefix(IpNet),
    Chain(&'a [ExitHop]),
    List(&'a ListSource),
}

impl<'a> Thing<'a> {
    /// `None` for a pool, which is known by its own name.
    fn of(exit: &'a Exit) -> Option<Self> {
        match &exit.kind {
            ExitKind::Direct => Some(Self::Direct),
            ExitKind::Address(address) => Some(Self::Address(*address)),
            ExitKind::Prefix { net, .. } => Some(Self::Prefix(*net)),
            ExitKind::Chain(hops) => Some(Self::Chain(hops)),
            ExitKind::List { source, .. } => Some(Self::List(&source.value)),
            ExitKind::Pool(_) => None,
        }
    }
}

/// Names that were written, by where their exits stand.
type Written = HashMap<usize, Spanned<String>>;

/// Gives every exit its name, where `exit.name` is so far what was made of it. Reports exits that
/// stand twice and names of two things.
pub(super) fn settle(pools: &mut [ExitPool], written: &Written, errors: &mut Vec<ConfigError>) {
    for pool in pools.iter() {
        check_twice(pool, errors);
    }
    let taken = written_names(pools, written, errors);
    let made = made_names(pools, written, taken);
    for (pool, names) in pools.iter_mut().zip(made) {
        for (exit, name) in pool.exits.iter_mut().zip(names) {
            exit.name = name;
        }
    }
}

fn check_twice(pool: &ExitPool, errors: &mut Vec<ConfigError>) {
    let mut seen: HashMap<Thing<'_>, Span> = HashMap::new();
    for exit in &pool.exits {
        let Some(thing) = Thing::of(exit) else { continue };
        if let Some(first) = seen.insert(thing, exit.span) {
            errors.push(
                ConfigError::at(exit.span, "the same exit twice in one pool", "the second")
                    .also(first, "the first")
                    .help("write it once, with `weight=` if it is to take more"),
            );
        }
    }
}

/// All written names. One in two pools is right only where it is the same thing.
fn written_names(
    pools: &[ExitPool],
    written: &Written,
    errors: &mut Vec<ConfigError>,
) -> HashSet<String> {
    let mut seen: HashMap<&str, (Thing<'_>, Span)> = HashMap::new();
    for exit in pools.iter().flat_map(|pool| &pool.exits) {
        let Some((thing, name)) = Thing::of(exit).zip(written.get(&exit.span.offset())) else {
            continue;
        };
        let (first, first_span) = *seen.entry(&name.value).or_insert((thing, name.span));
        if first != thing {
            errors.push(
                ConfigError::at(
                    name.span,
                    format!("two exits are named \"{}\"", name.value),
                    "the second",
                )
                .also(first_span, "the first")
                .help("give one of them another name"),
            );
        }
    }
    seen.into_keys().map(str::to_owned).collect()
}

/// The names of all exits. Made ones that are taken already (parents at one address, with different
/// users) get a number.
fn made_names(
    pools: &[ExitPool],
    written: &Written,
    mut taken: HashSet<String>,
) -> Vec<Vec<String>> {
    let mut known: HashMap<Thing<'_>, String> = HashMap::new();
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut name = |exit: &'_ Exit, thing, base| {
        if let Some(name) = written.get(&exit.span.offset()) {
            return name.value.clone();
        }
        let fresh = || {
            let mut name = exit.name.clone();
            while !taken.insert(name.clone()) {
                let number = numbers.entry(base).or_insert(1);
                *number += 1;
                name = format!("{base}_{number}");
            }
            name
        };
        known.entry(thing).or_insert_with(fresh).clone()
    };
    let of_pool = |pool: &'_ ExitPool| -> Vec<String> { Vec::with_capacity(pool.exits.len()) };
    let mut all: Vec<Vec<String>> = pools.iter().map(of_pool).collect();
    for (names, pool) in all.iter_mut().zip(pools) {
        for exit in &pool.exits {
            names.push(match Thing::of(exit) {
                Some(thing) => name(exit, thing, exit.name.as_str()),
                None => exit.name.clone(),
            });
        }
    }
    all
}
