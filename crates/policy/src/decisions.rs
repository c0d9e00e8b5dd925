//! What an authorization server has decided, for as long as it says that it holds.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use ahash::RandomState;

/// All that the server saw of a request, as a keyed digest
/// ([`VerifiedCache::keyed_digest`](crate::VerifiedCache::keyed_digest)): what is secret in it
/// is not kept.
pub type DecisionKey = [u8; 32];

/// Decisions of one core, bounded in number and in size. When there is no room, the one that was
/// taken up first goes.
pub struct DecisionCache<T> {
    max_entries: usize,
    max_bytes: usize,
    entries: RefCell<Entries<T>>,
}

struct Entries<T> {
    by_key: HashMap<DecisionKey, Entry<T>, RandomState>,
    /// In the order they came. Some were replaced since: their number is another.
    order: VecDeque<(DecisionKey, u64)>,
    next: u64,
    bytes: usize,
}

struct Entry<T> {
    number: u64,
    ends: Instant,
    bytes: usize,
    decision: T,
}

/// What an entry costs besides its decision, roughly.
const OVERHEAD: usize = 160;

impl<T: Clone> DecisionCache<T> {
    /// An empty one.
    #[must_use]
    pub fn new(max_entries: usize, max_bytes: usize) -> Self {
        let entries =
            Entries { by_key: HashMap::default(), order: VecDeque::new(), next: 0, bytes: 0 };
        Self { max_entries, max_bytes, entries: RefCell::new(entries) }
    }

    /// A decision that still holds.
    #[must_use]
    pub fn get(&self, key: &DecisionKey, now: Instant) -> Option<T> {
        let entries = self.entries.borrow();
        entries.by_key.get(key).filter(|entry| now < entry.ends).map(|entry| entry.decision.clone())
    }

    /// Keeps a decision of so many bytes for as long as it is fresh, in place of an earlier one.
    pub fn keep(&self, key: DecisionKey, decision: T, bytes: usize, now: Instant, fresh: Duration) {
        let mut entries = self.entries.borrow_mut();
        entries.remove(&key);
        let bytes = bytes.saturating_add(OVERHEAD);
        // A time beyond what the clock can tell is taken for none.
        let Some(ends) = now.checked_add(fresh).filter(|ends| *ends > now) else { return };
        if bytes > self.max_bytes || self.max_entries == 0 {
            return;
        }
        entries.drop_ended(now);
        while entries.by_key.len() >= self.max_entries || entries.bytes + bytes > self.max_bytes {
            if !entries.drop_oldest() {
                break;
            }
        }
        let number = entries.next;
        entries.next += 1;
        entries.bytes += bytes;
        entries.order.push_back((key, number));
        entries.by_key.insert(key, Entry { number, ends, bytes, decision });
        entries.compact();
    }

    /// How many there are, those included that have ended unnoticed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.borrow().by_key.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> fmt::Debug for DecisionCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.borrow();
        f.debug_struct("DecisionCache")
            .field("len", &entries.by_key.len())
            .field("bytes", &entries.bytes)
            .finish_non_exhaustive()
    }
}

impl<T> Entries<T> {
    fn remove(&mut self, key: &DecisionKey) {
        if let Some(entry) = self.by_key.remove(key) {
            self.bytes -= entry.bytes;
        }
    }

    /// `false`: there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some((key, number)) = self.order.pop_front() else { return false };
        if self.is_current(&key, number) {
            self.remove(&key);
        }
        true
    }

    /// Those at the front that are of no use any more.
    fn drop_ended(&mut self, now: Instant) {
        while let Some((key, number)) = self.order.front() {
            let holds = |entry: &Entry<T>| entry.number == *number && now < entry.ends;
            if self.by_key.get(key).is_some_and(holds) {
                break;
            }
            self.drop_oldest();
        }
    }

    /// Keys that are replaced again and again behind one that lasts must not pile up.
    fn compact(&mut self) {
        if self.order.len() > 2 * self.by_key.len() + 16 {
            let by_key = &self.by_key;
            self.order.retain(|(key, number)| by_key.get(key).is_some_and(|e| e.number == *number));
        }
    }

    fn is_current(&self, key: &DecisionKey, number: u64) -> bool {
        self.by_key.get(key).is_some_and(|entry| entry.number == number)
    }
}

/// For how long an answer may be used again (RFC 9111 §4.2.1): what its `Cache-Control` fields
/// grant in so many words, less its `Age`. Zero: not at all.
///
/// `private` is no hindrance to whoever keeps an answer for the very same question only. What is
/// contradictory or cannot be read grants nothing.
#[must_use]
pub fn freshness<'v>(
    cache_control: impl IntoIterator<Item = &'v [u8]>,
    age: impl IntoIterator<Item = &'v [u8]>,
) -> Duration {
    let (mut max_age, mut shared): (Option<u64>, Option<u64>) = (None, None);
    for directive in cache_control.into_iter().flat_map(|value| value.split(|byte| *byte == b',')) {
        let mut parts = directive.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        let seconds = parts.next().map(|value| seconds(value.trim_ascii()));
        let granted = match &*name {
            b"no-store" | b"no-cache" => return Duration::ZERO,
            b"max-age" => &mut max_age,
            b"s-maxage" => &mut shared,
            _ => continue,
        };
        // The least of several, and nothing where there is no number.
        let seconds = seconds.flatten().unwrap_or(0);
        *granted = Some(granted.map_or(seconds, |earlier| earlier.min(seconds)));
    }
    let age = age.into_iter().map(|value| seconds(value.trim_ascii()).unwrap_or(u64::MAX)).max();
    let fresh = shared.or(max_age).unwrap_or(0);
    Duration::from_secs(fresh.saturating_sub(age.unwrap_or(0)))
}

/// A number of seconds (RFC 9111 §1.2.2); too large a one is as large as possible.
fn seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    Some(number.unwrap_or(u64::MAX).min(1 << 31))
}

#[cfg(test)]
mod tests;
