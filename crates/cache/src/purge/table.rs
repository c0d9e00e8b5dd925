//! Purges by what they are about.

use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;

use super::{Purge, Subject, Verdict, What, hosts};

/// Purges that are told apart. Of more, the older half is taken together, as one of everything:
/// what was asked for before them is not stored.
const CAPACITY: usize = 65_536;

/// Prefixes among them: each answer under way is held against all.
const PREFIXES: usize = 256;

/// The numbers of the newest purges of one thing.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    hard: u64,
    soft: u64,
}

type Marks<K> = HashMap<K, Mark, RandomState>;

#[derive(Debug, Default)]
pub(super) struct Table {
    /// Those that are still going through what is in memory.
    pub(super) pending: Vec<u64>,
    all: Mark,
    /// Of any tag, for what has no tags yet.
    any_tag: Mark,
    hashes: Marks<(Kind, u128)>,
    hosts: Marks<Box<[u8]>>,
    prefixes: Vec<(Box<[u8]>, Mark)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Url,
    Key,
    Tag,
}

impl Table {
    pub(super) fn note(&mut self, purge: &Purge, number: u64) {
        self.make_room();
        let mark = match &purge.what {
            What::All => &mut self.all,
            What::Url(hash) => self.hashes.entry((Kind::Url, *hash)).or_default(),
            What::Key(hash) => self.hashes.entry((Kind::Key, *hash)).or_default(),
            What::Tag(hash) => {
                self.any_tag.set(purge.soft, number);
                self.hashes.entry((Kind::Tag, *hash)).or_default()
            }
            What::Host(host) => self.hosts.entry(host.clone()).or_default(),
            What::Prefix(prefix) => {
                let known = self.prefixes.iter().position(|(known, _)| known == prefix);
                let at = known.unwrap_or_else(|| {
                    self.prefixes.push((prefix.clone(), Mark::default()));
                    self.prefixes.len() - 1
                });
                &mut self.prefixes[at].1
            }
        };
        mark.set(purge.soft, number);
    }

    pub(super) fn verdict(&self, since: u64, of: &Subject<'_>) -> Verdict {
        let mut found = self.all;
        let mut meet = |mark: Option<&Mark>| found = found.or(mark.copied().unwrap_or_default());
        meet(self.hashes.get(&(Kind::Url, of.url)));
        meet(self.hashes.get(&(Kind::Key, of.key)));
        match of.tags {
            Some(tags) => {
                tags.iter().for_each(|tag| meet(self.hashes.get(&(Kind::Tag, *tag))));
            }
            None => meet(Some(&self.any_tag)),
        }
        if !self.hosts.is_empty() {
            hosts(of.url_text).into_iter().for_each(|host| meet(self.hosts.get(host)));
        }
        for (prefix, mark) in &self.prefixes {
            if of.url_text.starts_with(prefix) {
                meet(Some(mark));
            }
        }
        match found {
            Mark { hard, .. } if hard > since => Verdict::Gone,
            Mark { soft, .. } if soft > since => Verdict::Stale,
            _ => Verdict::Valid,
        }
    }

    fn make_room(&mut self) {
        let many = self.hashes.len() + self.hosts.len() >= CAPACITY;
        if !many && self.prefixes.len() < PREFIXES {
            return;
        }
        let mut numbers: Vec<u64> = if many {
            self.hashes.values().chain(self.hosts.values()).map(|mark| mark.newest()).collect()
        } else {
            self.prefixes.iter().map(|(_, mark)| mark.newest()).collect()
        };
        let middle = numbers.len() / 2;
        let (_, floor, _) = numbers.select_nth_unstable(middle);
        let floor = *floor;
        self.all.hard = self.all.hard.max(floor);
        self.hashes.retain(|_, mark| mark.newest() > floor);
        self.hosts.retain(|_, mark| mark.newest() > floor);
        self.prefixes.retain(|(_, mark)| mark.newest() > floor);
    }
}

impl Mark {
    fn set(&mut self, soft: bool, number: u64) {
        let place = if soft { &mut self.soft } else { &mut self.hard };
        *place = number;
    }

    fn or(self, other: Self) -> Self {
        Self { hard: self.hard.max(other.hard), soft: self.soft.max(other.soft) }
    }

    fn newest(&self) -> u64 {
        self.hard.max(self.soft)
    }
}
