//! What was purged, in order.
//!
//! Whatever is in memory when a purge comes is looked through at once. What is under way then
//! (a request that was sent before, an answer that is being read from the disk) carries the
//! number of the newest purge at that time, and is compared with those that came later when it
//! is to be stored.

mod form;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::{Key, Stored};
pub(crate) use table::Lasting;
use table::Table;

/// Numbers of purges begin at a multiple of this at each start.
const STRIDE: u64 = 1 << 32;

/// A purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// What is purged.
    pub what: What,
    /// It stays, but is stale: to be validated before it is used, or to stand in for an error.
    pub soft: bool,
}

/// Which answers a purge is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Those to this canonical URL, by its hash, under any key.
    Url(u128),
    /// Those of one key, by its hash.
    Key(u128),
    /// Those to URLs that begin like this, in their one spelling. Where keys leave something of
    /// URLs out, all answers go that may be to one of them.
    Prefix(Box<[u8]>),
    /// Those with this tag, by its hash.
    Tag(u128),
    /// Those with this tag whose keys have this first word ([`crate::Key::face`]).
    TagAt(u128, Box<[u8]>),
    /// Those of a host, in lower case; without a port those at all ports.
    Host(Box<[u8]>),
    /// All.
    All,
}

/// What a purge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgeReport {
    /// Answers in memory that it found.
    pub objects: u64,
    /// Bytes that they took.
    pub bytes: u64,
}

/// What became of an answer through the purges since it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    Stale,
    Gone,
}

/// What of an answer purges look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) key: u128,
    pub(crate) url: u128,
    pub(crate) face: &'a [u8],
    pub(crate) url_text: &'a [u8],
    /// There may be more of the URL.
    pub(crate) is_cut: bool,
    /// `None`: not known yet, and so any.
    pub(crate) tags: Option<&'a [u128]>,
}

/// All purges that may be about something under way.
#[derive(Debug, Default)]
pub(crate) struct Purges {
    newest: AtomicU64,
    /// This one and all before it have been through all that is in memory.
    swept: AtomicU64,
    table: RwLock<Table>,
}

impl What {
    /// Whether it is about this answer.
    pub(crate) fn covers(&self, of: &Subject<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Url(url) => *url == of.url,
            Self::Key(key) => *key == of.key,
            Self::Tag(tag) => of.tags.is_none_or(|tags| tags.binary_search(tag).is_ok()),
            Self::TagAt(tag, face) => of.face == &**face && Self::Tag(*tag).covers(of),
            Self::Prefix(prefix) => {
                let url = of.spelled();
                url.starts_with(prefix)
                    || (of.is_cut && *url == *path_of(prefix))
                    || (of.has_no_path() && *url == *origin_of(prefix))
            }
            Self::Host(host) => hosts(of.url_text).contains(&&**host),
        }
    }
}

impl<'a> Subject<'a> {
    pub(crate) fn of(stored: &'a Stored) -> Self {
        Self::by_key(&stored.key, stored.url, Some(&stored.tags))
    }

    pub(crate) fn by_key(key: &'a Key, url: u128, tags: Option<&'a [u128]>) -> Self {
        let (face, url_text, is_cut) = (key.face(), key.url_text(), key.is_cut());
        Self { key: key.hash(), url, face, url_text, is_cut, tags }
    }

    /// The URL in its one spelling, as far as the key has it.
    fn spelled(&self) -> Cow<'a, [u8]> {
        crate::url::spelled(self.url_text)
    }

    /// The key has no path: the answer may be one to any.
    fn has_no_path(&self) -> bool {
        origin_of(self.url_text).len() == self.url_text.len()
    }
}

impl Purges {
    /// The number of the newest purge. Taken before a request is sent, it says which purges came
    /// later.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// The number up to which all purges have been through all that is in memory: what was found
    /// there after this was asked for has been spared by them.
    pub(crate) fn swept(&self) -> u64 {
        self.swept.load(Ordering::Acquire)
    }

    /// Takes down purges from before the start, with their numbers, and begins behind them: numbers
    /// that were given and lost may lie between.
    pub(crate) fn restore(&self, mut noted: Vec<(u64, Purge)>, newest: u64) -> u64 {
        noted.sort_by_key(|(number, _)| *number);
        let mut table = self.table.write();
        for (number, purge) in noted {
            table.note(&purge, number, Lasting::Disk(0));
        }
        let first = (newest / STRIDE + 1) * STRIDE;
        self.newest.store(first, Ordering::Release);
        self.swept.store(first, Ordering::Release);
        first
    }

    /// Takes a purge down, and gives its number. What is stored from now on has been compared
    /// with it.
    pub(crate) fn note(&self, purge: &Purge, lasting: Lasting) -> u64 {
        let mut table = self.table.write();
        let number = self.newest() + 1;
        table.note(purge, number, lasting);
        table.pending.push(number);
        self.newest.store(number, Ordering::Release);
        number
    }

    /// A purge has been through all that is in memory.
    pub(crate) fn done(&self, number: u64) {
        let mut table = self.table.write();
        table.pending.retain(|pending| *pending != number);
        let oldest = table.pending.iter().min();
        let swept = oldest.map_or_else(|| self.newest(), |oldest| oldest - 1);
        self.swept.store(swept, Ordering::Release);
    }

    /// What became of something that was asked for after purge number `since`.
    pub(crate) fn verdict(&self, since: u64, of: &Subject<'_>) -> Verdict {
        if since >= self.newest() { Verdict::Valid } else { self.table.read().verdict(since, of) }
    }

    /// The same of something that was read from the disk, and has that number there.
    pub(crate) fn verdict_on_disk(&self, since: u64, of: &Subject<'_>) -> Verdict {
        if since >= self.newest() {
            Verdict::Valid
        } else {
            self.table.read().verdict_on_disk(since, of)
        }
    }
}

/// A URL without its query.
fn path_of(url: &[u8]) -> &[u8] {
    &url[..url.iter().position(|byte| *byte == b'?').unwrap_or(url.len())]
}

/// Scheme and host of a URL.
fn origin_of(url: &[u8]) -> &[u8] {
    let start = url.windows(3).position(|window| window == b"://").map_or(0, |at| at + 3);
    let rest = &url[start..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    &url[..start + end]
}

/// The host of a URL, with its port and without.
pub(crate) fn hosts(url: &[u8]) -> [&[u8]; 2] {
    let origin = origin_of(url);
    let start = origin.windows(3).position(|window| window == b"://").map_or(0, |at| at + 3);
    let authority = &origin[start..];
    let port = authority.iter().rposition(|byte| *byte == b':');
    // A colon within brackets is part of an address.
    let port = port.filter(|at| !authority[*at..].contains(&b']'));
    [authority, &authority[..port.unwrap_or(authority.len())]]
}
