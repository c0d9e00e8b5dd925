//! The dictionaries that are kept: answers of which clients may say that they have them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Dictionary, Hash, Pattern, UseAs};

/// Versions kept for one pattern. Clients come back with old ones for as long as these are fresh
/// there; with more than a few versions in between, little is won.
const VERSIONS: usize = 4;
/// Dictionaries in all. There is a bound in bytes too, but each has a cost of its own.
const MOST: usize = 16 * 1024;
/// What one takes beside its bytes: the entry in three tables, and its pattern.
const OVERHEAD: u64 = 1024;

/// A bounded set of dictionaries, shared by all cores: of each pattern of an origin the latest few.
/// What was not asked for the longest goes first.
///
/// They are kept by origin (`https://host[:port]`). Where one origin is several to whoever keeps them,
/// a word that tells these apart stands before it, with a space between: `WORD https://host`.
///
/// Whoever finds a dictionary here has the bytes that its hash says: that is what a client and we
/// have in common, and `Dictionary-ID` is not relied upon (RFC 9842 §2.1.3).
#[derive(Debug)]
pub struct Dictionaries {
    inner: Mutex<Inner>,
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DictionariesStats {
    /// Dictionaries.
    pub objects: usize,
    /// Bytes that they take, overhead included.
    pub bytes: u64,
}

#[derive(Debug)]
struct Inner {
    most: u64,
    bytes: u64,
    /// Numbers the entries in the order of their use.
    clock: u64,
    entries: HashMap<Key, Entry>,
    /// From the one that was not used for the longest.
    order: BTreeMap<u64, Key>,
    /// Hashes of the versions of a pattern, the latest last.
    versions: HashMap<(Arc<str>, Pattern), VecDeque<Hash>>,
}

/// The same bytes may be a dictionary of several origins.
type Key = (Arc<str>, Hash);

#[derive(Debug)]
struct Entry {
    dictionary: Arc<Dictionary>,
    /// The target that it was the answer to.
    target: Box<str>,
    use_as: Arc<UseAs>,
    used: u64,
}

impl Dictionaries {
    /// A set of at most so many bytes; with 0, nothing is kept.
    #[must_use]
    pub fn new(most: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                most,
                bytes: 0,
                clock: 0,
                entries: HashMap::new(),
                order: BTreeMap::new(),
                versions: HashMap::new(),
            }),
        }
    }

    /// Keeps the answer to this target (its path and query in their one spelling) as a dictionary of
    /// its origin, and as the latest version for this use. One that takes more than a quarter of
    /// everything is not kept.
    pub fn insert(&self, origin: &str, target: &str, use_as: UseAs, dictionary: Arc<Dictionary>) {
        let mut inner = self.inner.lock();
        let entry = Entry { dictionary, target: target.into(), use_as: Arc::new(use_as), used: 0 };
        if entry.cost() > inner.most / 4 {
            return;
        }
        let origin: Arc<str> = origin.into();
        inner.remove(&(Arc::clone(&origin), *entry.dictionary.hash()));
        inner.add(origin, entry);
        inner.shrink();
    }

    /// Forgets one.
    pub fn remove(&self, origin: &str, hash: &Hash) {
        self.inner.lock().remove(&(Arc::from(origin), *hash));
    }

    /// The dictionary of this origin that a client says to have, if it is meant for this target
    /// (`/path[?query]`) and destination ([`UseAs::fits`]).
    #[must_use]
    pub fn find(
        &self,
        origin: &str,
        target: &[u8],
        destination: Option<&[u8]>,
        hash: &Hash,
    ) -> Option<Arc<Dictionary>> {
        let mut inner = self.inner.lock();
        let key = (Arc::from(origin), *hash);
        let entry = inner.entries.get(&key)?;
        if !entry.use_as.fits(target, destination) {
            return None;
        }
        inner.touch(&key)
    }

    /// Whether it is there, so that its body does not have to be fetched and hashed again.
    #[must_use]
    pub fn has(&self, origin: &str, hash: &Hash) -> bool {
        self.inner.lock().entries.contains_key(&(Arc::from(origin), *hash))
    }

    /// Forgets those that were answers to this URL in its one spelling, whatever stands before their
    /// origin: an answer that was purged must not serve on in this form.
    pub fn forget(&self, url: &[u8]) {
        let (origin, target) = split(url);
        self.retain(|of, entry| {
            url_of(of).as_bytes() != origin || entry.target.as_bytes() != target
        });
    }

    /// Forgets those of the origin of this URL, whatever stands before it.
    pub fn forget_origin(&self, url: &[u8]) {
        let (origin, _) = split(url);
        self.retain(|of, _| url_of(of).as_bytes() != origin);
    }

    /// Forgets those of a host, at all ports, whatever stands before their origins.
    pub fn forget_host(&self, host: &[u8]) {
        self.retain(|of, _| {
            let authority = url_of(of).split_once("://").map_or("", |(_, authority)| authority);
            let port = authority.as_bytes().strip_prefix(host);
            !port.is_some_and(|port| port.is_empty() || port.starts_with(b":"))
        });
    }

    /// Forgets those whose origins have this word before them.
    pub fn forget_word(&self, word: &[u8]) {
        self.retain(|of, _| of.split_once(' ').is_none_or(|(one, _)| one.as_bytes() != word));
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.retain(|_, _| false);
    }

    /// Changes how much is kept.
    pub fn resize(&self, most: u64) {
        let mut inner = self.inner.lock();
        inner.most = most;
        inner.shrink();
    }

    /// What is kept.
    #[must_use]
    pub fn stats(&self) -> DictionariesStats {
        let inner = self.inner.lock();
        DictionariesStats { objects: inner.entries.len(), bytes: inner.bytes }
    }

    fn retain(&self, stays: impl Fn(&str, &Entry) -> bool) {
        let mut inner = self.inner.lock();
        let gone: Vec<Key> = inner
            .entries
            .iter()
            .filter(|((origin, _), entry)| !stays(origin, entry))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            inner.remove(&key);
        }
    }
}

impl Inner {
    fn add(&mut self, origin: Arc<str>, entry: Entry) {
        let key = (Arc::clone(&origin), *entry.dictionary.hash());
        let versions = self.versions.entry((origin, entry.use_as.pattern.clone())).or_default();
        versions.push_back(key.1);
        let oldest = (versions.len() > VERSIONS).then(|| versions[0]);
        self.clock += 1;
        self.bytes += entry.cost();
        self.order.insert(self.clock, key.clone());
        if let Some(oldest) = oldest {
            self.remove(&(Arc::clone(&key.0), oldest));
        }
        self.entries.insert(key, Entry { used: self.clock, ..entry });
    }

    fn touch(&mut self, key: &Key) -> Option<Arc<Dictionary>> {
        let entry = self.entries.get_mut(key)?;
        // The key that is there, not one that was made to look for it.
        let known = self.order.remove(&entry.used)?;
        self.clock += 1;
        entry.used = self.clock;
        self.order.insert(self.clock, known);
        Some(Arc::clone(&entry.dictionary))
    }

    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.order.remove(&entry.used);
        self.bytes -= entry.cost();
        let group = (Arc::clone(&key.0), entry.use_as.pattern.clone());
        if let Some(versions) = self.versions.get_mut(&group) {
            versions.retain(|hash| *hash != key.1);
            if versions.is_empty() {
                self.versions.remove(&group);
            }
        }
    }

    fn shrink(&mut self) {
        while self.bytes > self.most || self.entries.len() > MOST {
            let Some((_, key)) = self.order.pop_first() else { return };
            self.remove(&key);
        }
    }
}

impl Entry {
    fn cost(&self) -> u64 {
        (self.dictionary.bytes().len() + self.target.len()) as u64 + OVERHEAD
    }
}

/// The origin without the word before it.
fn url_of(origin: &str) -> &str {
    origin.rsplit_once(' ').map_or(origin, |(_, url)| url)
}

/// A URL as its origin and the rest.
fn split(url: &[u8]) -> (&[u8], &[u8]) {
    let start = url.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
    let end = url[start..].iter().position(|byte| matches!(byte, b'/' | b'?'));
    url.split_at(end.map_or(url.len(), |end| start + end))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const HERE: &str = "https://a.test";

    fn dictionary(number: u16) -> Arc<Dictionary> {
        Arc::new(Dictionary::new(Bytes::from(number.to_be_bytes().repeat(200))).unwrap())
    }

    fn use_as(pattern: &str) -> UseAs {
        UseAs::of([format!("match=\"{pattern}\"").as_bytes()], HERE, "/").unwrap()
    }

    #[test]
    fn it_is_found_by_its_hash_for_what_it_is_meant() {
        let kept = Dictionaries::new(1 << 20);
        let one = dictionary(1);
        kept.insert(HERE, "", use_as("/app.*.js"), Arc::clone(&one));
        let find = |origin, target: &str, hash| kept.find(origin, target.as_bytes(), None, hash);
        assert_eq!(find(HERE, "/app.2.js", one.hash()), Some(Arc::clone(&one)));
        assert_eq!(find(HERE, "/other.js", one.hash()), None);
        assert_eq!(find("https://b.test", "/app.2.js", one.hash()), None);
        assert_eq!(find(HERE, "/app.2.js", dictionary(2).hash()), None);
        assert!(kept.has(HERE, one.hash()) && !kept.has("https://b.test", one.hash()));
    }

    #[test]
    fn the_latest_versions_of_a_pattern_stay() {
        let kept = Dictionaries::new(1 << 20);
        for number in 0..10 {
            kept.insert(HERE, "", use_as("/app.*.js"), dictionary(number));
            // It does not count twice.
            kept.insert(HERE, "", use_as("/app.*.js"), dictionary(number));
            kept.insert(HERE, "", use_as("/lib.*.js"), dictionary(100));
        }
        let there: Vec<u16> =
            (0..10).filter(|number| kept.has(HERE, dictionary(*number).hash())).collect();
        assert_eq!(there, [6, 7, 8, 9]);
        assert!(kept.has(HERE, dictionary(100).hash()));
        assert_eq!(kept.stats(), DictionariesStats { objects: 5, bytes: 5 * (400 + 1024) });
    }

    #[test]
    fn what_is_not_asked_for_goes_first() {
        let kept = Dictionaries::new(4 * 1424);
        for number in 0..4 {
            kept.insert(HERE, "", use_as(&format!("/{number}.*.js")), dictionary(number));
        }
        assert!(kept.find(HERE, b"/0.x.js", None, dictionary(0).hash()).is_some());
        kept.insert(HERE, "", use_as("/9.*.js"), dictionary(9));
        assert!(kept.has(HERE, dictionary(0).hash()) && !kept.has(HERE, dictionary(1).hash()));
        kept.resize(1424);
        assert_eq!(kept.stats().objects, 1);
        assert!(kept.has(HERE, dictionary(9).hash()));
        kept.resize(0);
        kept.insert(HERE, "", use_as("/9.*.js"), dictionary(9));
        assert_eq!(kept.stats(), DictionariesStats::default());
    }

    #[test]
    fn what_was_purged_is_gone() {
        let kept = Dictionaries::new(1 << 20);
        let site = format!("rsite {HERE}");
        let fill = || {
            let add = |origin: &str, number: u16| {
                let target = format!("/app.{number}.js");
                kept.insert(origin, &target, use_as("/app.*.js"), dictionary(number));
            };
            for (origin, number) in [
                (HERE, 1),
                (HERE, 2),
                (&*site, 1),
                ("rsite https://a.test:81", 1),
                ("https://b.test", 2),
            ] {
                add(origin, number);
            }
        };
        let there = || {
            let mut there = Vec::new();
            for (short, origin) in [
                ('a', HERE),
                ('s', &*site),
                ('p', "rsite https://a.test:81"),
                ('b', "https://b.test"),
            ] {
                let numbers = [1, 2].into_iter();
                let numbers = numbers.filter(|number| kept.has(origin, dictionary(*number).hash()));
                there.extend(numbers.map(|number| format!("{short}{number}")));
            }
            there.join(" ")
        };
        let after = |forget: &dyn Fn()| {
            fill();
            assert_eq!(there(), "a1 a2 s1 p1 b2");
            forget();
            there()
        };
        assert_eq!(after(&|| kept.forget(b"https://a.test/app.1.js")), "a2 p1 b2");
        assert_eq!(after(&|| kept.forget(b"https://a.test/app.3.js")), "a1 a2 s1 p1 b2");
        assert_eq!(after(&|| kept.forget_origin(b"https://a.test/x?y")), "p1 b2");
        assert_eq!(after(&|| kept.forget_host(b"a.test")), "b2");
        assert_eq!(after(&|| kept.forget_host(b"a.tes")), "a1 a2 s1 p1 b2");
        assert_eq!(after(&|| kept.forget_word(b"rsite")), "a1 a2 b2");
        assert_eq!(after(&|| kept.remove(HERE, dictionary(1).hash())), "a2 s1 p1 b2");
        assert_eq!(after(&|| kept.clear()), "");
        assert_eq!(kept.stats(), DictionariesStats::default());
        let inner = kept.inner.lock();
        assert!(inner.versions.is_empty() && inner.order.is_empty());
    }

    proptest! {
        /// The three tables agree, and the bounds hold, whatever happens.
        #[test]
        fn tables_agree(steps in prop::collection::vec((0u8..6, 0u16..12, 0u8..4), 0..120)) {
            let kept = Dictionaries::new(8 * 1424);
            for (what, number, group) in steps {
                let target = format!("/{group}.x.js");
                match what {
                    0..=2 => kept.insert(HERE, &target, use_as(&format!("/{group}.*.js")), dictionary(number)),
                    3 => drop(kept.find(HERE, target.as_bytes(), None, dictionary(number).hash())),
                    4 => kept.forget(format!("{HERE}{target}").as_bytes()),
                    _ => kept.resize(u64::from(number) * 1424),
                }
                let inner = kept.inner.lock();
                prop_assert!(inner.bytes <= inner.most);
                prop_assert_eq!(inner.bytes, inner.entries.values().map(Entry::cost).sum::<u64>());
                prop_assert_eq!(inner.order.len(), inner.entries.len());
                prop_assert_eq!(inner.versions.values().map(VecDeque::len).sum::<usize>(), inner.entries.len());
                prop_assert!(inner.versions.values().all(|versions| (1..=VERSIONS).contains(&versions.len())));
                for (used, key) in &inner.order {
                    prop_assert_eq!(inner.entries[key].used, *used);
                }
            }
        }
    }
}
