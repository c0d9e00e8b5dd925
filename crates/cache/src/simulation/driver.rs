//! The cache under test, and what an exchange does with it.

use std::ops::Range;
use std::sync::Arc;

use message::Method;

use super::origin::{Answered, Fields};
use super::story::{Purged, Size};
use crate::disk::Disk;
use crate::disk::tests::Faults;
use crate::rules;
use crate::{Cache, Purge, Settings, What};

/// What a client gets.
#[derive(Debug)]
pub struct Given {
    pub how: How,
    pub status: u16,
    /// The number of the answer whose fields it has.
    pub serial: Option<u64>,
    pub parts: Vec<Piece>,
    /// As the field says it.
    pub age: u64,
    /// It sets a cookie.
    pub cookie: bool,
}

impl Given {
    /// One of ours.
    pub fn error(status: u16) -> Self {
        Self { how: How::Fetched, status, serial: None, parts: vec![], age: 0, cookie: false }
    }
}

/// Bytes of a body, and where they are at home.
pub struct Piece {
    pub range: Range<u64>,
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        write!(f, "{:?} {:?}", self.range, text.chars().take(40).collect::<String>())
    }
}

/// Where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Nobody was asked.
    Stored,
    /// It was stored, and given in place of an error.
    StandIn,
    /// It was stored, and the origin said that it is so still, or sent what was missing.
    Renewed,
    /// From the origin, or an error of ours.
    Fetched,
}

/// An answer of the origin, and what became of it.
#[derive(Debug, Clone)]
pub struct Heard {
    pub url: &'static str,
    pub method: Method,
    pub request: Fields,
    pub answered: Answered,
    pub requested: i64,
    pub received: i64,
    /// The number of the stored answer that it is about.
    pub about: Option<u64>,
    pub fate: Fate,
    /// What it is about was taken out.
    pub ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of it is kept.
    Passed,
    /// It was handed over to be kept.
    Kept,
    /// What it is about was, with what it says.
    Renewed,
    /// The same, and with its bytes.
    Combined,
}

/// How often what was done, for the test of the test.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen(pub [u32; SEEN.len()]);

pub const SEEN: [&str; 14] = [
    "hits",
    "stale answers",
    "answers in place of an error",
    "answers that were validated",
    "fetches",
    "answers that were not stored",
    "answers that were renewed in the background",
    "parts that were given",
    "parts that were put together",
    "answers that were completed",
    "answers that were renewed by HEAD",
    "answers that were ended by HEAD",
    "answers from the disk",
    "answers from the disk in place",
];

impl Seen {
    pub fn count(&mut self, what: &str) {
        let at = SEEN.iter().position(|known| *known == what).expect("it is in the list");
        self.0[at] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }

    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u32)> {
        SEEN.into_iter().zip(self.0)
    }
}

/// The cache, used as an exchange uses it.
pub struct Driver {
    cache: Option<Arc<Cache>>,
    size: Size,
    folder: tempfile::TempDir,
    pub faults: Faults,
    pub seen: Seen,
    /// What happened, in its order.
    pub events: Vec<Event>,
}

#[derive(Debug)]
pub enum Event {
    Heard(Box<Heard>),
    /// What was asked for before is about it.
    Purged(Purged),
}

impl Driver {
    pub fn new(size: Size) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (faults, seen) = (Faults::default(), Seen::default());
        let mut driver = Self { cache: None, size, folder, faults, seen, events: Vec::new() };
        driver.start(None);
        driver
    }

    /// A process begins. It is killed after so many bytes, if it is to be; then it has no cache.
    pub fn start(&mut self, doom: Option<i64>) {
        assert!(self.cache.is_none(), "only one process writes");
        self.faults = self.faults.reborn();
        if let Some(bytes) = doom {
            self.faults.die_after(bytes);
        }
        let (memory, disk) = match self.size {
            Size::Roomy => (16 << 20, 64 << 20),
            Size::LittleMemory => (200 << 10, 64 << 20),
            Size::Little => (200 << 10, 512 << 10),
        };
        let settings = Settings { memory, max_object: memory / 2 };
        let open = |upper| Disk::open_failing(self.folder.path(), disk, upper, &self.faults);
        let cache = Cache::above(&settings, open);
        self.cache = match cache {
            Ok(cache) => Some(cache),
            Err(error) if doom.is_none() => panic!("{error}"),
            Err(_) => None,
        };
        if let Some(cache) = &self.cache {
            cache.lower().settle_all();
        }
    }

    /// How many answers were lost so far because they were damaged, or could not be written.
    pub fn lost(&self) -> u64 {
        let stats = self.cache().lower().stats();
        stats.damaged + stats.dropped
    }

    /// The process ends as it is to.
    pub fn close(&mut self) {
        self.cache().close_disk();
        self.cache = None;
    }

    /// The process is killed.
    pub fn kill(&mut self) {
        self.faults.die_after(0);
        self.cache = None;
    }

    /// What was not synced is there, or not, or something else is.
    pub fn lose_power(&mut self, mut chance: u64) {
        let mut draw = |most: usize| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(chance >> 33).expect("31 bits") % (most + 1)
        };
        self.faults.lose_power(self.folder.path(), |bytes, sure| match draw(2) {
            0 => bytes.truncate(sure + draw(bytes.len() - sure)),
            1 => {
                let from = sure + draw(bytes.len() - sure);
                let to = from + draw(bytes.len() - from);
                bytes[from..to].fill(0);
            }
            _ => {}
        });
    }

    /// Time passes for the disk.
    pub fn pass(&self, millis: u64) {
        self.cache().lower().pass(millis);
    }

    /// Waits until everything that was done is written.
    pub fn settle(&self) {
        self.cache().lower().settle_all();
    }

    pub fn cache(&self) -> &Arc<Cache> {
        self.cache.as_ref().expect("a process runs")
    }

    /// Whether what is stored was made invalid.
    pub fn post(&mut self, url: &'static str, status: u16) -> bool {
        let invalid = rules::invalidates(Method::Post, status);
        if invalid {
            self.cache().invalidate(url.as_bytes());
        }
        invalid
    }

    pub fn purge(&mut self, (url, soft): Purged) {
        let what = url.map_or(What::All, |url| What::Url(url_hash(url)));
        self.cache().purge(&Purge { what, soft });
    }
}

pub fn url_hash(url: &str) -> u128 {
    crate::hash(url.as_bytes())
}
