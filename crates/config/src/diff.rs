//! What a change of the configuration changes, in the words of those who run it.
//!
//! Two configurations are compared by what they mean: where things stand in the file makes no
//! difference, and what refers to another thing is compared by its name. Secrets are compared and
//! never told.

mod facts;
mod gateway;
mod reload;

use std::collections::HashMap;
use std::hash::Hash;

use crate::model::*;
use crate::show;

/// What one configuration has that the other has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// What changes. Empty: the two mean the same.
    pub changes: Vec<Change>,
    /// What a reload ends, once what is under way has had its `drain-timeout`.
    pub drained: Vec<String>,
    /// What a reload does not change: it needs a new process.
    pub restart: Vec<String>,
}

/// One change, with those inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub sign: Sign,
    /// What.
    pub what: String,
    /// What has changed about it.
    pub inner: Vec<Change>,
}

/// How something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// It is another.
    Changed,
}

impl Sign {
    /// `+`, `-` or `~`.
    #[must_use]
    pub fn as_char(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

impl Difference {
    /// Whether the two configurations mean the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Change {
    fn new(sign: Sign, what: impl Into<String>) -> Self {
        Self { sign, what: what.into(), inner: Vec::new() }
    }
}

/// What changes from `old` to `new`.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Difference {
    let (old, new) = (old.clone().without_places(), new.clone().without_places());
    let both = Both { old: &old, new: &new };
    let mut changes = facts::compare(facts::top(&old), facts::top(&new));
    changes.extend(both.listeners());
    changes.extend(both.sites());
    changes.extend(both.upstreams());
    changes.extend(both.exits());
    changes.extend(both.users());
    changes.extend(both.forwards());
    changes.extend(both.tunnels());
    let drained = reload::drained(&old, &new);
    Difference { changes, drained, restart: reload::restart(&old, &new) }
}

struct Both<'a> {
    old: &'a Config,
    new: &'a Config,
}

impl<'a> Both<'a> {
    fn listeners(&self) -> Vec<Change> {
        let (old, new) = (reload::listeners(self.old), reload::listeners(self.new));
        let mut changes = Vec::new();
        for (sign, these, others) in [(Sign::Removed, &old, &new), (Sign::Added, &new, &old)] {
            let gone = these.iter().filter(|one| others.iter().all(|other| !other.is_at(one)));
            changes.extend(gone.map(|one| Change::new(sign, format!("listener {one}"))));
        }
        for (was, is) in
            old.iter().filter_map(|was| Some((was, new.iter().find(|is| is.is_at(was))?)))
        {
            if was != is {
                changes.push(Change::new(Sign::Changed, format!("listener {was} → {is}")));
            }
        }
        changes
    }

    fn sites(&self) -> Vec<Change> {
        let pairs = Pairs::of(&self.old.sites, &self.new.sites, |site| site.name.as_str());
        let name = |_, site: &Site| format!("site {}", site.name);
        let mut changes = pairs.changes(name, |old, new| self.site(old, new));
        if pairs.in_another_order {
            changes.push(Change::new(Sign::Changed, "sites stand in another order"));
        }
        changes
    }

    fn site(&self, old: &'a Site, new: &'a Site) -> Vec<Change> {
        let mut changes = facts::compare(facts::site(old, self.old), facts::site(new, self.new));
        let key = |route: &'a Route| (&route.path, &route.methods);
        let routes = Pairs::of(&old.routes, &new.routes, key);
        let name = |sign, route: &Route| match sign {
            Sign::Added => {
                format!("{}: {}", route_name(route), show::action(&route.action, self.new))
            }
            Sign::Removed | Sign::Changed => route_name(route),
        };
        changes.extend(routes.changes(name, |old, new| {
            let changes = facts::compare(facts::route(old, self.old), facts::route(new, self.new));
            or_something(changes, bare_route(old) == bare_route(new))
        }));
        let same = bare_site(old) == bare_site(new);
        or_something(changes, same)
    }

    fn upstreams(&self) -> Vec<Change> {
        let (old, new) = (&self.old.upstreams, &self.new.upstreams);
        let pairs = Pairs::of(old, new, |upstream| upstream.name.as_str());
        let name = |sign, upstream: &Upstream| match sign {
            Sign::Added => {
                let servers = show::list(upstream.servers.iter().map(show::server));
                format!("upstream {}: {servers}", upstream.name)
            }
            Sign::Removed | Sign::Changed => format!("upstream {}", upstream.name),
        };
        pairs.changes(name, |old, new| {
            let mut changes =
                facts::compare(facts::upstream(old, self.old), facts::upstream(new, self.new));
            let servers = Pairs::of(&old.servers, &new.servers, show::server);
            let name = |sign, server: &Server| {
                let url = show::server(server);
                let backup = if server.backup { ", backup" } else { "" };
                match (sign, server.weight) {
                    (Sign::Changed, _) => format!("server {url}"),
                    (_, 1) => format!("server {url}{backup}"),
                    (_, weight) => format!("server {url}, weight {weight}{backup}"),
                }
            };
            changes.extend(
                servers.changes(name, |old, new| {
                    facts::compare(facts::server(old), facts::server(new))
                }),
            );
            let bare = |upstream: &Upstream| Upstream {
                servers: Vec::new(),
                exit: upstream.exit.map(|_| 0),
                ..upstream.clone()
            };
            or_something(changes, bare(old) == bare(new))
        })
    }

    fn tunnels(&self) -> Vec<Change> {
        let pairs = Pairs::of(&self.old.tunnels, &self.new.tunnels, |tunnel| tunnel.listen);
        let name = |_, tunnel: &Tunnel| format!("tunnel {}", tunnel.listen);
        pairs.changes(name, |old, new| {
            let changes =
                facts::compare(facts::tunnel(old, self.old), facts::tunnel(new, self.new));
            let bare = |tunnel: &Tunnel| Tunnel {
                upstream: None,
                names: Vec::new(),
                name: String::new(),
                ..tunnel.clone()
            };
            or_something(changes, bare(old) == bare(new))
        })
    }
}

fn route_name(route: &Route) -> String {
    match route.methods.is_empty() {
        true => format!("route {}", route.name),
        false => format!("route {} ({})", route.name, show::list(&route.methods)),
    }
}

/// A difference that no fact tells is a difference all the same.
fn or_something(mut changes: Vec<Change>, same: bool) -> Vec<Change> {
    if changes.is_empty() && !same {
        changes.push(Change::new(Sign::Changed, "something that has no short name"));
    }
    changes
}

/// A site without what is compared apart, and without places in lists.
fn bare_site(site: &Site) -> Site {
    Site { routes: Vec::new(), gate: bare_gate(&site.gate), ..site.clone() }
}

fn bare_route(route: &Route) -> Route {
    let action = match &route.action {
        Action::Relay { .. } => Action::Relay { upstream: 0 },
        action => action.clone(),
    };
    Route { action, gate: bare_gate(&route.gate), ..route.clone() }
}

fn bare_gate(gate: &Gate) -> Gate {
    let mut gate = gate.clone();
    if let Some(basic) = &mut gate.basic {
        basic.users = 0;
    }
    if let Some(auth) = &mut gate.forward_auth {
        auth.upstream = 0;
    }
    gate
}

/// Things of two configurations, those of the same key side by side.
struct Pairs<'a, T> {
    kept: Vec<(&'a T, &'a T)>,
    removed: Vec<&'a T>,
    added: Vec<&'a T>,
    in_another_order: bool,
}

impl<'a, T> Pairs<'a, T> {
    fn of<K: Hash + Eq>(old: &'a [T], new: &'a [T], key: impl Fn(&'a T) -> K) -> Self {
        let mut before: HashMap<K, Vec<usize>> = HashMap::new();
        for (index, thing) in old.iter().enumerate().rev() {
            before.entry(key(thing)).or_default().push(index);
        }
        let (mut kept, mut added, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for thing in new {
            match before.get_mut(&key(thing)).and_then(Vec::pop) {
                Some(index) => {
                    kept.push((&old[index], thing));
                    places.push(index);
                }
                None => added.push(thing),
            }
        }
        let in_another_order = !places.is_sorted();
        let mut left: Vec<usize> = before.into_values().flatten().collect();
        left.sort_unstable();
        let removed = left.into_iter().map(|index| &old[index]).collect();
        Self { kept, removed, added, in_another_order }
    }

    /// What went, what came, and what changed about those that stayed.
    fn changes(
        &self,
        name: impl Fn(Sign, &T) -> String,
        inner: impl Fn(&'a T, &'a T) -> Vec<Change>,
    ) -> Vec<Change> {
        let removed =
            self.removed.iter().map(|thing| Change::new(Sign::Removed, name(Sign::Removed, thing)));
        let added =
            self.added.iter().map(|thing| Change::new(Sign::Added, name(Sign::Added, thing)));
        let kept = self.kept.iter().filter_map(|(old, new)| {
            let inner = inner(old, new);
            if inner.is_empty() {
                return None;
            }
            Some(Change { sign: Sign::Changed, what: name(Sign::Changed, new), inner })
        });
        removed.chain(added).chain(kept).collect()
    }
}
