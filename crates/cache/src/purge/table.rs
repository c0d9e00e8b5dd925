//! Purges by what they are about.

use std::collections::HashMap;
use std::hash::Hasher;

use ahash::RandomState;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{Purge, Subject, Verdict, What, hosts, origin_of, path_of};

/// Purges that are told apart. Of more, the older half is taken together, as one of everything:
/// what was asked for before them is not stored, or used from the disk.
const CAPACITY: usize = 1 << 18;

/// Purges that what is under way is told apart by: what was asked for before all of them counts as
/// purged, once marks were forgotten.
const RECENT: u64 = 1 << 16;

/// Of so many it is looked for those that are about nothing any more.
const FEW: usize = 1 << 10;

/// The numbers of the newest purges of one thing.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    hard: u64,
    soft: u64,
    /// Of those that may be about something on the disk.
    lasting: u64,
}

/// How long a purge is to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// While anything is on the disk that is older; this is the lowest number that is there, 0
    /// where it is not known.
    Disk(u64),
    /// While anything is under way that was asked for before it. There is nothing on the disk.
    UnderWay(u64),
}

#[derive(Debug)]
pub(super) struct Table {
    /// Those that are still going through what is in memory.
    pub(super) pending: Vec<u64>,
    all: Mark,
    /// Of any tag, for what has no tags yet.
    any_tag: Mark,
    /// By [`print()`] of what they are about. Two with the same are purged together.
    marks: HashMap<u64, Mark, RandomState>,
    /// How long the prefixes are that were purged, in order, and the newest purge of that length.
    lengths: Vec<(usize, u64)>,
    /// Marks about what was under way up to this one may have been forgotten.
    floor: u64,
    /// The size at which it is looked for what is about nothing any more.
    crowded: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Url,
    Key,
    Tag,
    TagAt,
    Host,
    Prefix,
    /// The path of a prefix that has a query, for what has no query in its key.
    Path,
    /// The host of a prefix, for what has no path in its key.
    Origin,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            all: Mark::default(),
            any_tag: Mark::default(),
            marks: HashMap::default(),
            lengths: Vec::new(),
            floor: 0,
            crowded: FEW,
        }
    }
}

impl Table {
    /// Takes down a purge.
    pub(super) fn note(&mut self, purge: &Purge, number: u64, lasting: Lasting) {
        let (Lasting::Disk(oldest) | Lasting::UnderWay(oldest)) = lasting;
        self.make_room(oldest, number);
        let print = match &purge.what {
            What::All => return self.all.set(purge.soft, number),
            What::Url(hash) => print(Kind::Url, *hash),
            What::Key(hash) => print(Kind::Key, *hash),
            What::Tag(hash) => {
                self.any_tag.set(purge.soft, number);
                print(Kind::Tag, *hash)
            }
            What::TagAt(hash, face) => {
                self.any_tag.set(purge.soft, number);
                print(Kind::TagAt, at(*hash, face))
            }
            What::Host(host) => print(Kind::Host, crate::hash(host)),
            What::Prefix(prefix) => {
                match self.lengths.binary_search_by_key(&prefix.len(), |(length, _)| *length) {
                    Ok(at) => self.lengths[at].1 = number.max(self.lengths[at].1),
                    Err(at) => self.lengths.insert(at, (prefix.len(), number)),
                }
                for (kind, text) in
                    [(Kind::Path, path_of(prefix)), (Kind::Origin, origin_of(prefix))]
                {
                    self.mark(print(kind, crate::hash(text)), purge.soft, number, lasting);
                }
                print(Kind::Prefix, crate::hash(prefix))
            }
        };
        self.mark(print, purge.soft, number, lasting);
    }

    fn mark(&mut self, print: u64, soft: bool, number: u64, lasting: Lasting) {
        let mark = self.marks.entry(print).or_default();
        mark.set(soft, number);
        if matches!(lasting, Lasting::Disk(_)) {
            mark.lasting = mark.lasting.max(number);
        }
    }

    /// What became of something that was under way.
    pub(super) fn verdict(&self, since: u64, of: &Subject<'_>) -> Verdict {
        if since < self.floor { Verdict::Gone } else { self.verdict_on_disk(since, of) }
    }

    /// What became of something on the disk.
    pub(super) fn verdict_on_disk(&self, since: u64, of: &Subject<'_>) -> Verdict {
        let mut found = self.all;
        let mut meet = |kind, hash| {
            if let Some(mark) = self.marks.get(&print(kind, hash)) {
                found = found.or(*mark);
            }
        };
        meet(Kind::Url, of.url);
        meet(Kind::Key, of.key);
        for tag in of.tags.unwrap_or_default() {
            meet(Kind::Tag, *tag);
            meet(Kind::TagAt, at(*tag, of.face));
        }
        hosts(of.url_text).into_iter().for_each(|host| meet(Kind::Host, crate::hash(host)));
        if !self.lengths.is_empty() {
            let url = of.spelled();
            self.prefixes(&url, |hash| meet(Kind::Prefix, hash));
            if of.is_cut {
                meet(Kind::Path, crate::hash(&url));
            }
            if of.has_no_path() {
                meet(Kind::Origin, crate::hash(&url));
            }
        }
        if of.tags.is_none() {
            found = found.or(self.any_tag);
        }
        match found {
            Mark { hard, .. } if hard > since => Verdict::Gone,
            Mark { soft, .. } if soft > since => Verdict::Stale,
            _ => Verdict::Valid,
        }
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.marks.len() >= self.crowded
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// The hashes of all prefixes of a text that are as long as one that was purged.
    fn prefixes(&self, text: &[u8], mut meet: impl FnMut(u128)) {
        let mut hasher = SipHasher13::new();
        let mut done = 0;
        for (length, _) in &self.lengths {
            let Some(more) = text.get(done..*length) else { return };
            hasher.write(more);
            done = *length;
            meet(hasher.finish128().as_u128());
        }
    }

    /// Forgets what is about nothing any more: neither about what is on the disk, nor about what is
    /// under way, which was asked for lately.
    fn make_room(&mut self, oldest: u64, number: u64) {
        if !self.is_crowded() {
            return;
        }
        let recent = number.saturating_sub(RECENT);
        let before = self.marks.len();
        self.marks.retain(|_, mark| mark.newest() > recent || mark.lasting > oldest);
        self.lengths.retain(|(_, newest)| *newest > oldest.min(recent));
        if self.marks.len() < before {
            self.floor = recent;
        }
        if self.marks.len() >= CAPACITY {
            let mut numbers: Vec<u64> = self.marks.values().map(Mark::newest).collect();
            let floor = *numbers.select_nth_unstable(CAPACITY / 2).1;
            self.marks.retain(|_, mark| mark.newest() > floor);
            self.lengths.retain(|(_, newest)| *newest > floor);
            self.all.hard = self.all.hard.max(floor);
        }
        self.crowded = (self.marks.len() * 2).clamp(FEW, CAPACITY);
    }
}

impl Mark {
    fn set(&mut self, soft: bool, number: u64) {
        let place = if soft { &mut self.soft } else { &mut self.hard };
        *place = number.max(*place);
    }

    fn or(self, other: Self) -> Self {
        Self {
            hard: self.hard.max(other.hard),
            soft: self.soft.max(other.soft),
            lasting: self.lasting.max(other.lasting),
        }
    }

    fn newest(&self) -> u64 {
        self.hard.max(self.soft)
    }
}

/// A tag of one face.
fn at(tag: u128, face: &[u8]) -> u128 {
    tag ^ crate::hash(face)
}

/// What a thing is found by.
fn print(kind: Kind, hash: u128) -> u64 {
    (hash as u64).wrapping_add((kind as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
