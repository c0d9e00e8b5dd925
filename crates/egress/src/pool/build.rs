//! From what a configuration says to pools. Only here are files read.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use config::{
    ConfigError, Exit, ExitHop, ExitKind, ExitLabels, ExitPool, HopProtocol, ListSource,
    ServerHost, Spanned,
};

use super::lines::{self, Line};
use super::plans::Plans;
use super::targeting::Index;
use super::{ExitInfo, Geo, Member, Pool, Rules, Surroundings, Tier};
use crate::registry::{Identity, What};
use crate::way::Way;

/// Exits of one pool, those of its lists included.
const MAX_EXITS: usize = 100_000;

/// Bytes of one list.
const MAX_LIST: u64 = 64 << 20;

pub(super) fn build(
    pools: &[ExitPool],
    surroundings: &Surroundings<'_>,
) -> Result<Vec<Arc<Pool>>, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut built: Vec<(Arc<Rules>, Arc<Tier>)> = Vec::new();
    for pool in pools {
        match Rules::build(pool) {
            Ok(rules) => {
                let rules = Arc::new(rules);
                let tier = Arc::new(tier(&rules, surroundings, &mut errors));
                built.push((rules, tier));
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let all = (0..built.len()).map(|at| assemble(at, &built, surroundings)).collect::<Vec<_>>();
    all.iter().for_each(|pool| surroundings.registry.adopt(pool));
    Ok(all)
}

/// A pool of its own exits and those of all that it leads to.
fn assemble(
    at: usize,
    built: &[(Arc<Rules>, Arc<Tier>)],
    surroundings: &Surroundings<'_>,
) -> Arc<Pool> {
    let rules = Arc::clone(&built[at].0);
    let mut order = Vec::new();
    waterfall(at, built, &mut order);
    let tiers: Vec<_> = order.iter().map(|at| Arc::clone(&built[*at].1)).collect();
    let mut places = HashMap::new();
    for (tier, members) in tiers.iter().enumerate() {
        for (at, member) in (0..).zip(&members.members) {
            places.entry(member.state.id).or_insert((tier, at));
        }
    }
    Arc::new(Pool {
        name: rules.config.name.as_str().into(),
        plans: Plans::new(rules.config.choose),
        rules,
        tiers,
        places,
        geo: surroundings.geo.clone(),
        registry: Arc::clone(surroundings.registry),
    })
}

/// The pools that are asked, in their order, each once. A circle, which the configuration does
/// not let through, would end where it closes.
fn waterfall(at: usize, built: &[(Arc<Rules>, Arc<Tier>)], order: &mut Vec<usize>) {
    if at >= built.len() || order.contains(&at) {
        return;
    }
    order.push(at);
    for exit in &built[at].0.config.exits {
        if let ExitKind::Pool(next) = exit.kind {
            waterfall(next, built, order);
        }
    }
}

/// The own exits of a pool.
fn tier(
    rules: &Arc<Rules>,
    surroundings: &Surroundings<'_>,
    errors: &mut Vec<ConfigError>,
) -> Tier {
    let mut names = Names::default();
    let mut members = Vec::new();
    // Written names come before those that are made for the lines of lists.
    for exit in &rules.config.exits {
        names.taken.insert(exit.name.clone());
    }
    for exit in &rules.config.exits {
        let exits = match &exit.kind {
            ExitKind::Pool(_) => continue,
            ExitKind::List { source, scheme } => {
                match list(exit, source, *scheme, surroundings, &mut names) {
                    Ok(exits) => exits,
                    Err(error) => {
                        errors.push(error);
                        continue;
                    }
                }
            }
            _ => vec![exit.clone()],
        };
        if members.len() + exits.len() > MAX_EXITS {
            let message = format!("pool `{}` has more than {MAX_EXITS} exits", rules.config.name);
            errors.push(ConfigError::at(exit.span, message, "those of this are too many"));
            break;
        }
        for exit in exits {
            match member(exit, rules, surroundings) {
                Ok(member) => members.push(Arc::new(member)),
                Err(error) => errors.push(error),
            }
        }
    }
    let index = Index::new(&members);
    Tier { members, index }
}

fn member(
    exit: Exit,
    rules: &Arc<Rules>,
    surroundings: &Surroundings<'_>,
) -> Result<Member, ConfigError> {
    let way = Way::build(&exit, surroundings.roots)?;
    let (what, kind) = match &exit.kind {
        ExitKind::Address(address) => (What::Address(*address), "address"),
        ExitKind::Prefix { net, pick } => (What::Prefix(*net, (*pick).into()), "prefix"),
        ExitKind::Chain(hops) => (What::Chain(hops.clone()), "proxy"),
        ExitKind::Direct | ExitKind::List { .. } | ExitKind::Pool(_) => (What::Direct, "direct"),
    };
    let labels = labels(&exit, surroundings.geo.as_ref());
    let identity =
        Identity { pool: rules.config.name.as_str().into(), name: exit.name.as_str().into(), what };
    let state = surroundings.registry.state(identity);
    Ok(Member {
        info: ExitInfo { kind, labels, state: Arc::clone(&state) },
        state,
        way,
        max: exit.max.or(rules.config.max_per_exit),
        weight: exit.weight.max(1),
        rules: Arc::clone(rules),
    })
}

/// What is known of an exit: what is written, and what a database knows of its address, as long
/// as that does not contradict.
fn labels(exit: &Exit, geo: Option<&Geo>) -> ExitLabels {
    let mut labels = exit.labels.clone();
    let Some(known) = address_of(&exit.kind).zip(geo).and_then(|(address, geo)| geo(address))
    else {
        return labels;
    };
    let is_placed = labels.state.is_some() || labels.city.is_some() || labels.zip.is_some();
    if labels.country.is_none() && !is_placed {
        labels.country = known.country;
    }
    if labels.country.is_some() && labels.country == known.country && !is_placed {
        (labels.state, labels.city, labels.zip) = (known.state, known.city, known.zip);
    }
    labels.asn = labels.asn.or(known.asn);
    labels
}

/// The address that the far end sees, as far as it can be known: that of the last parent may be
/// another than the one it connects from, but is the best there is.
fn address_of(kind: &ExitKind) -> Option<IpAddr> {
    match kind {
        ExitKind::Address(address) => Some(*address),
        ExitKind::Prefix { net, .. } => Some(net.addr()),
        ExitKind::Chain(hops) => match hops.last()?.host {
            ServerHost::Address(address) => Some(address),
            ServerHost::Name(_) | ServerHost::Srv(_) => None,
        },
        ExitKind::Direct | ExitKind::List { .. } | ExitKind::Pool(_) => None,
    }
}

/// The exits that a list names. In a file a line that is no parent is an error; in what a URL
/// gave it is left out, since nobody here can mend it.
fn list(
    exit: &Exit,
    source: &Spanned<ListSource>,
    scheme: HopProtocol,
    surroundings: &Surroundings<'_>,
    names: &mut Names,
) -> Result<Vec<Exit>, ConfigError> {
    let path = source.value.path(surroundings.state);
    let is_url = matches!(source.value, ListSource::Url { .. });
    let unreadable = |why: &str| {
        let what = match &source.value {
            ListSource::File(path) => path.display().to_string(),
            ListSource::Url { .. } => "the copy of what this URL gave".to_owned(),
        };
        ConfigError::at(source.span, format!("cannot read {what}: {why}"), "this list of parents")
    };
    let size = std::fs::metadata(&path).map_err(|error| unreadable(&error.to_string()))?.len();
    if size > MAX_LIST {
        return Err(unreadable("it is larger than 64 MiB"));
    }
    let bytes = std::fs::read(&path).map_err(|error| unreadable(&error.to_string()))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut exits = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match lines::parse(line, scheme) {
            Line::Nothing => {}
            Line::Parent(hop) => exits.push(of_line(exit, names.free(&hop), hop)),
            Line::Wrong(problem) if is_url => {
                tracing::warn!(list = exit.name, line = number, problem, "parent left out");
            }
            Line::Wrong(problem) => {
                let message =
                    format!("line {number} of {} is no parent: {problem}", path.display());
                return Err(ConfigError::at(source.span, message, "this list of parents")
                    .help("a line is host:port, host:port:user:password or a URL"));
            }
        }
        if exits.len() > MAX_EXITS {
            break;
        }
    }
    if exits.is_empty() {
        return Err(ConfigError::at(source.span, "the list names no parent", "this list")
            .help("a line is host:port, host:port:user:password or a URL"));
    }
    Ok(exits)
}

fn of_line(list: &Exit, name: String, hop: ExitHop) -> Exit {
    Exit { name, kind: ExitKind::Chain(vec![hop]), ..list.clone() }
}

/// Names of a pool's exits.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// The last number that was put behind a name.
    numbers: HashMap<String, u32>,
}

impl Names {
    /// A name for a parent of a list: its host and port, in letters that a wish may have; the
    /// second of two gets a number.
    fn free(&mut self, hop: &ExitHop) -> String {
        let host = match &hop.host {
            ServerHost::Address(address) => address.to_string(),
            ServerHost::Name(name) | ServerHost::Srv(name) => name.clone(),
        };
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' }
        };
        let base: String = format!("{host}_{}", hop.port).chars().map(plain).collect();
        let mut name = base.clone();
        while !self.taken.insert(name.clone()) {
            let number = self.numbers.entry(base.clone()).or_insert(1);
            *number += 1;
            name = format!("{base}_{number}");
        }
        name
    }
}
