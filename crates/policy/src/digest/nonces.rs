//! Nonces, and which counts were used with them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::verified::Secret;

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;

/// Nonces that are remembered in each part, all of them shown with a right password: about 3 MiB
/// in all when full.
const CAPACITY: usize = 4096;

/// How far behind the highest count of a nonce one may be.
const WINDOW: u64 = 64;

/// Time, number and a code of authentication.
const LEN: usize = 8 + 8 + CODE;
const CODE: usize = 16;

/// Makes nonces and judges them. One for the process.
///
/// A nonce says when it was made and carries a code that only this process can have made, so
/// making one takes no memory. What is remembered is, for nonces that somebody showed with a right
/// response, which counts were used: 64 bits of them below the highest. When a part of the table
/// is full its oldest nonce is forgotten, and with it every nonce of that part that is older:
/// those are taken for stale, so that none can be used a second time.
pub struct Nonces {
    secret: Secret,
    next: AtomicU64,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// By number, which is the order in which they were made.
    used: BTreeMap<u64, Used>,
    /// Up to this number everything is forgotten that is not in `used`.
    forgotten: Option<u64>,
}

struct Used {
    made: u64,
    /// The highest count.
    highest: u64,
    /// Bit n: the count `highest - n` was used.
    window: u64,
}

impl Nonces {
    /// How long a nonce is good.
    pub const LIFETIME: Duration = Duration::from_secs(300);

    /// With this secret, which is that of the process.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self { secret, next: AtomicU64::new(0), shards: Default::default() }
    }

    /// A new one: letters, digits, `-` and `_`.
    #[must_use]
    pub fn make(&self, now: Timestamp) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut nonce = [0; LEN];
        nonce[..8].copy_from_slice(&millis(now).to_be_bytes());
        nonce[8..16].copy_from_slice(&number.to_be_bytes());
        let code = self.code(&nonce[..16]);
        nonce[16..].copy_from_slice(&code);
        URL_SAFE_NO_PAD.encode(nonce)
    }

    /// Whether a nonce is ours and not too old, and was not used with this count. It then was.
    /// Only to be asked for a response that is right.
    pub(crate) fn take(&self, nonce: &str, count: u64, now: Timestamp) -> bool {
        let Some((made, number)) = self.read(nonce) else { return false };
        let (now, lifetime) = (millis(now), Self::LIFETIME.as_millis() as u64);
        // The clock may have been set back since.
        if now.saturating_sub(made) >= lifetime || made.saturating_sub(now) >= lifetime {
            return false;
        }
        let shard = &self.shards[number as usize % SHARDS];
        // Nothing that is done while it is held can panic.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.take(number, made, count, now.saturating_sub(lifetime))
    }

    /// How many nonces are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        let lock =
            |shard: &Mutex<Shard>| shard.lock().unwrap_or_else(PoisonError::into_inner).used.len();
        self.shards.iter().map(lock).sum()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When it was made and its number, if it is ours.
    fn read(&self, nonce: &str) -> Option<(u64, u64)> {
        // A little more than is needed, which the decoder asks for.
        let mut bytes = [0; LEN + 4];
        let length = URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).ok()?;
        let genuine: bool = self.code(&bytes[..16]).ct_eq(&bytes[16..LEN]).into();
        let word = |at: usize| u64::from_be_bytes(std::array::from_fn(|index| bytes[at + index]));
        (length == LEN && genuine).then(|| (word(0), word(8)))
    }

    /// HMAC-SHA-256 (RFC 2104), cut to its first half.
    fn code(&self, message: &[u8]) -> [u8; CODE] {
        // The secret makes keys for other things too: what is hashed begins with its purpose.
        let mut block = [0; 64];
        // A shorter key is filled up with zeros (RFC 2104 §2).
        block[..32].copy_from_slice(self.secret.bytes());
        let mac = Hmac::<Sha256>::new(&block.into());
        let code = mac.chain_update(b"digest nonce").chain_update(message).finalize().into_bytes();
        std::array::from_fn(|index| code[index])
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Shard {
    /// `ended`: what was made up to then is too old.
    fn take(&mut self, number: u64, made: u64, count: u64, ended: u64) -> bool {
        if let Some(used) = self.used.get_mut(&number) {
            return used.take(count);
        }
        if self.forgotten.is_some_and(|forgotten| number <= forgotten) {
            return false;
        }
        while let Some(oldest) = self.used.first_entry() {
            // Those that are too old are refused by their time.
            if oldest.get().made > ended && self.used.len() < CAPACITY {
                break;
            }
            if let Some((number, _)) = self.used.pop_first() {
                self.forgotten = self.forgotten.max(Some(number));
            }
        }
        if self.forgotten.is_some_and(|forgotten| number <= forgotten) {
            return false;
        }
        self.used.insert(number, Used { made, highest: count, window: 1 });
        true
    }
}

impl Used {
    fn take(&mut self, count: u64) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.window = if ahead < WINDOW { self.window << ahead } else { 0 } | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = if behind < WINDOW { 1 << behind } else { return false };
        let fresh = self.window & bit == 0;
        self.window |= bit;
        fresh
    }
}

/// Milliseconds since 1970.
fn millis(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn nonces() -> Nonces {
        Nonces::new(Secret::new([7; 32]))
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000_000 + millis).unwrap()
    }

    #[test]
    fn a_nonce_is_good_for_its_time_and_each_count_once() {
        let nonces = nonces();
        let nonce = nonces.make(at(0));
        assert!(nonces.take(&nonce, 1, at(0)) && nonces.take(&nonce, 2, at(1)));
        assert!(!nonces.take(&nonce, 2, at(2)) && !nonces.take(&nonce, 1, at(2)));
        assert!(nonces.take(&nonce, 3, at(299_999)));
        assert!(!nonces.take(&nonce, 4, at(300_000)));
        assert_ne!(nonces.make(at(0)), nonces.make(at(0)));
    }

    #[test]
    fn counts_that_overtake_each_other_are_taken_within_a_window() {
        let nonces = nonces();
        let nonce = nonces.make(at(0));
        for (count, expected) in [
            (3, true),
            (1, true),
            (2, true),
            (1, false),
            (66, true),
            (3, false),
            (2, false),
            (4, true),
            (u64::from(u32::MAX), true),
            (66, false),
            (u64::MAX, true),
            (u64::MAX, false),
            (u64::MAX - 63, true),
            (u64::MAX - 64, false),
            (0, false),
        ] {
            assert_eq!(nonces.take(&nonce, count, at(0)), expected, "{count}");
        }
    }

    #[test]
    fn nonces_of_others_are_not_taken() {
        let nonces = nonces();
        let other = Nonces::new(Secret::new([8; 32])).make(at(0));
        assert!(!nonces.take(&other, 1, at(0)));
        let mut damaged = nonces.make(at(0)).into_bytes();
        damaged[3] ^= 1;
        assert!(!nonces.take(std::str::from_utf8(&damaged).unwrap(), 1, at(0)));
        for junk in ["", "A", "not base64!", &"A".repeat(1000)] {
            assert!(!nonces.take(junk, 1, at(0)), "{junk}");
        }
        assert!(nonces.is_empty());
        // From a time that is not yet.
        let nonce = nonces.make(at(300_000));
        assert!(!nonces.take(&nonce, 1, at(0)));
    }

    #[test]
    fn what_is_forgotten_cannot_be_used_again() {
        let nonces = nonces();
        let all: Vec<String> =
            (0..2 * SHARDS * CAPACITY + SHARDS).map(|_| nonces.make(at(0))).collect();
        assert!(all.iter().all(|nonce| nonces.take(nonce, 1, at(1))));
        assert_eq!(nonces.len(), SHARDS * CAPACITY);
        assert!(all.iter().all(|nonce| !nonces.take(nonce, 1, at(2))));
        // Also not one that nobody had shown, if it is older than what is forgotten.
        assert!(!nonces.take(&all[0], 2, at(2)));
        assert!(nonces.take(&all[all.len() - 1], 2, at(2)));
    }

    #[test]
    fn what_is_too_old_makes_room() {
        let nonces = nonces();
        for _ in 0..100 {
            let nonce = nonces.make(at(0));
            assert!(nonces.take(&nonce, 1, at(0)));
        }
        for _ in 0..SHARDS {
            let nonce = nonces.make(at(400_000));
            assert!(nonces.take(&nonce, 1, at(400_000)));
        }
        assert_eq!(nonces.len(), SHARDS);
    }

    proptest! {
        #[test]
        fn no_count_is_taken_twice(counts in prop::collection::vec(0u64..200, 0..300)) {
            let nonces = nonces();
            let nonce = nonces.make(at(0));
            let (mut taken, mut highest) = (HashSet::new(), 0);
            for count in counts {
                let took = nonces.take(&nonce, count, at(0));
                let in_window = taken.is_empty() || count + WINDOW > highest;
                prop_assert_eq!(took, in_window && !taken.contains(&count), "{}", count);
                if took {
                    taken.insert(count);
                    highest = highest.max(count);
                }
            }
        }
    }
}
