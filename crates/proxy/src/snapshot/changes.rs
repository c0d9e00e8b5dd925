//! What one generation of the configuration has that the one before it had not.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::Snapshot;

/// How much of a configuration changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Addresses that are listened on.
    pub listeners: Change,
    /// Sites.
    pub sites: Change,
    /// Groups of servers.
    pub upstreams: Change,
}

/// Of one kind of thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Carried over as they were, with all that belongs to them.
    pub kept: usize,
    /// There before under this name, and built anew.
    pub changed: usize,
    /// Not there before.
    pub added: usize,
    /// No longer there.
    pub removed: usize,
}

impl Snapshot {
    /// What changed from `old` to this.
    #[must_use]
    pub fn changes_since(&self, old: &Self) -> Changes {
        Changes {
            listeners: compare(&old.listeners, &self.listeners, |listener| listener.address),
            sites: compare(&old.sites, &self.sites, |site| &site.config.name),
            upstreams: compare(&old.clusters, &self.clusters, |plan| plan.name()),
        }
    }
}

fn compare<'a, T, K: Hash + Eq>(
    old: &'a [Arc<T>],
    new: &'a [Arc<T>],
    key: impl Fn(&'a T) -> K,
) -> Change {
    let mut before: HashMap<K, Vec<&Arc<T>>> = HashMap::new();
    for thing in old {
        before.entry(key(thing)).or_default().push(thing);
    }
    let mut change = Change::default();
    for thing in new {
        let same_name = before.get_mut(&key(thing)).filter(|left| !left.is_empty());
        let Some(left) = same_name else {
            change.added += 1;
            continue;
        };
        match left.iter().position(|old| Arc::ptr_eq(old, thing)) {
            Some(at) => {
                left.swap_remove(at);
                change.kept += 1;
            }
            None => {
                left.pop();
                change.changed += 1;
            }
        }
    }
    change.removed = before.values().map(Vec::len).sum();
    change
}
