//! An answer as it is kept.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use message::Block;

use crate::store::Held;
use crate::{Coded, Key, Time};

/// An answer, or parts of one, as it is kept. Nothing in it changes but what is counted; an
/// answer that was validated is another one with the same body.
#[derive(Debug)]
// What a look-up touches stands at the front, beside the count of the `Arc`.
#[repr(C)]
pub struct Stored {
    /// When it was stored, in the order of purges: a purge with a higher number is about it.
    pub purged_by: AtomicU64,
    /// How often it was given.
    pub hits: AtomicU32,
    /// What it is found by.
    pub key: Key,
    /// What selects it among the answers of its key.
    pub vary: Vary,
    /// What of the cache's memory it takes.
    pub held: Held,
    /// The hash of the canonical URL that it is an answer for, by which it is purged.
    pub url: u128,
    /// Hashes of its tags (`Surrogate-Key`, `Cache-Tag`), sorted.
    pub tags: Box<[u128]>,
    /// What it says.
    pub head: StoredHead,
    /// What the rules have made of that.
    pub facts: Facts,
    /// How long the whole body is; `None`: parts of a body whose end nobody has seen.
    pub length: Option<u64>,
    /// The bytes that there are of it.
    pub body: Body,
    /// What came behind the body.
    pub trailers: Option<Block>,
    /// The whole body in other codings, once somebody has made it.
    pub coded: Coded,
}

/// Status and fields as they were received, without those of the connection.
#[derive(Debug, Clone)]
pub struct StoredHead {
    /// 200 to 599; never 304 or 206: parts are kept under the head of the whole (200).
    pub status: u16,
    /// The fields, compact. `Content-Length`, `Content-Range` (but of a slice) and `Age` are not
    /// among them.
    pub fields: Block,
}

/// What of a request selected an answer (RFC 9111 §4.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vary {
    /// Names in lower case, sorted, with the values of the request in the form in which they are
    /// compared; `None`: it had no such field.
    pub fields: Box<[Selecting]>,
}

type Selecting = (Box<str>, Option<Box<[u8]>>);

/// What the rules have made of an answer when it came, in numbers. All spans are milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// When the request for it was sent.
    pub requested: Time,
    /// When it came.
    pub received: Time,
    /// What its `Date` says, else when it came.
    pub date: Time,
    /// Its age when it came (`corrected_initial_age`, RFC 9111 §4.2.3).
    pub initial_age: u64,
    /// How long it is fresh (RFC 9111 §4.2.1).
    pub lifetime: u64,
    /// The lifetime is a guess of ours (RFC 9111 §4.2.2).
    pub heuristic: bool,
    /// RFC 5861 §3, or what the configuration says.
    pub while_revalidate: u64,
    /// RFC 5861 §4, or what the configuration says.
    pub if_error: u64,
    /// Every use has to be validated (`no-cache`).
    pub no_cache: bool,
    /// Never to be used stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`).
    pub must_revalidate: bool,
    /// A reload of the client need not ask (RFC 8246).
    pub immutable: bool,
    /// Somebody purged it softly: it is stale whatever its age.
    pub marked_stale: bool,
    /// Names of fields in lower case that are not given without validation (`no-cache="…"`), or
    /// not stored at all (`private="…"`).
    pub unshown: Box<[Box<str>]>,
}

/// The bytes of a body, or of parts of one.
#[derive(Debug, Clone)]
pub enum Body {
    /// In memory: parts in order, none empty, none over another. Of a whole body they leave
    /// nothing out.
    Memory(Box<[Part]>),
    /// A whole body in a file.
    Disk(DiskBody),
}

/// A part of a body.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A body in a file. The file stays open for as long as somebody has this, whatever becomes of
/// its name.
#[derive(Debug, Clone)]
pub struct DiskBody {
    /// The file.
    pub file: Arc<File>,
    /// Where in it the body begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

impl Body {
    /// One part in memory, which is all of it.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        let parts = if bytes.is_empty() { vec![] } else { vec![Part { offset: 0, bytes }] };
        Self::Memory(parts.into())
    }

    /// The bytes from `at` to the end of the part that they are in; `None` where there are none,
    /// and in files.
    #[must_use]
    pub fn piece(&self, at: u64) -> Option<Bytes> {
        let Self::Memory(parts) = self else { return None };
        let index = parts.partition_point(|part| part.offset <= at).checked_sub(1)?;
        let part = &parts[index];
        let from = usize::try_from(at - part.offset).ok()?;
        (from < part.bytes.len()).then(|| part.bytes.slice(from..))
    }

    /// Whether all bytes from `start` to `end` (not included) are there.
    #[must_use]
    pub fn covers(&self, start: u64, end: u64) -> bool {
        let parts = match self {
            Self::Disk(disk) => return end <= disk.length,
            Self::Memory(parts) => parts,
        };
        let mut at = start;
        for part in parts {
            if part.offset > at {
                break;
            }
            at = at.max(part.offset + part.bytes.len() as u64);
        }
        at >= end
    }
}

impl Vary {
    /// Whether no request selects both: they depend on the same fields, in other values.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        let names = self.fields.iter().map(|(name, _)| name);
        self != other && names.eq(other.fields.iter().map(|(name, _)| name))
    }
}

impl Stored {
    /// What makes one answer more recent than another that the same request selects: its date
    /// (RFC 9111 §4), and where that is the same, when it came.
    pub(crate) fn recency(&self) -> (Time, Time) {
        (self.facts.date, self.facts.received)
    }

    /// Whether the whole body is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.length.is_some_and(|length| self.body.covers(0, length))
    }

    /// The same answer, of which the rules think otherwise; what the cache counts of it (but for
    /// the memory) goes with it.
    #[must_use]
    pub fn with_facts(&self, facts: Facts) -> Self {
        Self {
            purged_by: AtomicU64::new(self.purged_by.load(Ordering::Acquire)),
            hits: AtomicU32::new(self.hits.load(Ordering::Relaxed)),
            key: self.key.clone(),
            vary: self.vary.clone(),
            held: Held::default(),
            url: self.url,
            tags: self.tags.clone(),
            head: self.head.clone(),
            facts,
            length: self.length,
            body: self.body.clone(),
            trailers: self.trailers.clone(),
            coded: self.coded.clone(),
        }
    }
}
