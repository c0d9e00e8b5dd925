//! Those who guess passwords, slowed down.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ahash::RandomState;

use crate::nets::prefix_64;

/// Failures that nobody waits for: people mistype.
const FREE: u32 = 5;

/// What the first failure after those waits. Each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_secs(8);

/// Failures of one client within [`WINDOW`] after which it is not listened to.
const MOST: u32 = 50;

/// Over which failures are counted.
const WINDOW: Duration = Duration::from_secs(600);

/// For how long a client is not listened to.
const SHUT_OUT: Duration = Duration::from_secs(300);

/// Parts of each table, with a lock each.
const SHARDS: usize = 16;

/// Entries in each part: about 1.5 MiB for all of clients and names when full.
const CAPACITY: usize = 1024;

/// Failures to show good credentials, of the whole process: by client, and by user name.
///
/// After [`FREE`](Attempts::FREE) failures within about ten minutes the answer to each further one
/// is held back, for half a second first and twice as long each time, up to 8 s. That is so for a
/// client whatever names it shows, and for a name whatever clients show it. A client is not
/// listened to for a while after 50 failures; a name always is, for else anybody could shut its
/// owner out. Whoever is let in begins anew: the name, and the client if it has failed under that
/// name only. Else whoever has one account could guess at all others for as long as it likes.
///
/// Of IPv6 a client is a network of 64 bits. Names are kept as keyed hashes. Both tables are
/// bounded, and names, which an attacker can make up, take nothing from clients.
pub struct Attempts {
    clients: Table,
    names: Table,
    hasher: RandomState,
    began: Instant,
    failures: AtomicU64,
    delayed: AtomicU64,
    refused: AtomicU64,
}

/// That a client is not listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// When it is again.
    pub retry_after: Duration,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttemptCounts {
    /// Credentials that were wrong.
    pub failures: u64,
    /// Those of them of which the answer was held back.
    pub delayed: u64,
    /// Requests that were not listened to.
    pub refused: u64,
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too many wrong credentials; again in {} s", self.retry_after.as_secs().max(1))
    }
}

impl Attempts {
    /// Failures that nobody waits for.
    pub const FREE: u32 = FREE;

    /// Nobody has failed yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            clients: Table::default(),
            names: Table::default(),
            hasher: RandomState::new(),
            began: now,
            failures: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether a client is listened to. To be asked before credentials are looked at.
    ///
    /// # Errors
    /// It has failed too often.
    pub fn admit(&self, client: IpAddr, now: Instant) -> Result<(), TooMany> {
        let now = self.millis(now);
        let until = self.clients.with(self.client(client), |entry| entry.shut_until).unwrap_or(0);
        if until <= now {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(TooMany { retry_after: Duration::from_millis(until - now) })
    }

    /// Credentials were wrong: for how long the answer is to be held back. `name` is what was shown,
    /// without wishes.
    #[must_use]
    pub fn failed(&self, client: IpAddr, name: &[u8], now: Instant) -> Duration {
        let now = self.millis(now);
        self.failures.fetch_add(1, Ordering::Relaxed);
        let name = self.hasher.hash_one(name);
        let of_client = self.clients.count(self.client(client), name, now, true);
        let of_name = self.names.count(name, name, now, false);
        let delay = delay(of_client.max(of_name));
        if delay > Duration::ZERO {
            self.delayed.fetch_add(1, Ordering::Relaxed);
        }
        delay
    }

    /// Credentials were right. Costs next to nothing while nobody fails.
    pub fn succeeded(&self, client: IpAddr, name: &[u8]) {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return;
        }
        let name = self.hasher.hash_one(name);
        self.clients.forget(self.client(client), name);
        self.names.forget(name, name);
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> AttemptCounts {
        AttemptCounts {
            failures: self.failures.load(Ordering::Relaxed),
            delayed: self.delayed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn client(&self, client: IpAddr) -> u64 {
        match client.to_canonical() {
            IpAddr::V4(address) => self.hasher.hash_one((4u8, u64::from(u32::from(address)))),
            IpAddr::V6(address) => self.hasher.hash_one((6u8, prefix_64(address))),
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        // An age in milliseconds fits for 500 million years.
        now.saturating_duration_since(self.began).as_millis() as u64
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

fn delay(failures: u32) -> Duration {
    let Some(doubled) = failures.checked_sub(FREE + 1) else { return Duration::ZERO };
    FIRST_DELAY.saturating_mul(1 << doubled.min(16)).min(LONGEST_DELAY)
}

/// Failures by hash.
#[derive(Default)]
struct Table([Mutex<HashMap<u64, Failures, RandomState>>; SHARDS]);

/// Failures in a window that began when there was the first, and how many there were in the one
/// before, which count by how much of it is within the last ten minutes.
#[derive(Clone, Copy, Default)]
struct Failures {
    /// Milliseconds, as the others.
    began: u64,
    current: u32,
    previous: u32,
    shut_until: u64,
    /// The name that was shown each time, hashed; [`SEVERAL`], if there were others.
    name: u64,
}

/// In place of a name: more than one. A name that has this hash is not forgiven.
const SEVERAL: u64 = u64::MAX;

const WINDOW_MS: u64 = WINDOW.as_millis() as u64;

impl Table {
    /// One more failure; how many there are lately.
    fn count(&self, key: u64, name: u64, now: u64, shuts_out: bool) -> u32 {
        let mut shard = self.lock(key);
        if shard.len() >= CAPACITY && !shard.contains_key(&key) {
            make_room(&mut shard, now);
        }
        let first = Failures { began: now, name, ..Failures::default() };
        let entry = shard.entry(key).or_insert(first);
        entry.move_to(now);
        if entry.name != name {
            entry.name = if entry.lately(now) == 0 { name } else { SEVERAL };
        }
        entry.current = entry.current.saturating_add(1);
        let lately = entry.lately(now);
        if shuts_out && lately >= MOST {
            // What was counted is paid for with the time.
            let shut_until = now + SHUT_OUT.as_millis() as u64;
            *entry = Failures { began: now, current: FREE, previous: 0, shut_until, name: SEVERAL };
        }
        lately
    }

    fn with<T>(&self, key: u64, read: impl FnOnce(&Failures) -> T) -> Option<T> {
        self.lock(key).get(&key).map(read)
    }

    /// Forgets what failed under this name, and no other.
    fn forget(&self, key: u64, name: u64) {
        let mut shard = self.lock(key);
        if shard.get(&key).is_some_and(|entry| entry.name == name && name != SEVERAL) {
            shard.remove(&key);
        }
    }

    fn lock(&self, key: u64) -> std::sync::MutexGuard<'_, HashMap<u64, Failures, RandomState>> {
        // Nothing that is done while it is held can panic.
        self.0[key as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes out what is over; and if nothing is, the one that has failed least of a few.
fn make_room(shard: &mut HashMap<u64, Failures, RandomState>, now: u64) {
    shard.retain(|_, entry| !entry.is_over(now));
    if shard.len() < CAPACITY {
        return;
    }
    let few = shard.iter().take(8);
    let least = few.min_by_key(|(_, entry)| (entry.shut_until > now, entry.lately(now)));
    if let Some(key) = least.map(|(key, _)| *key) {
        shard.remove(&key);
    }
}

impl Failures {
    fn move_to(&mut self, now: u64) {
        let windows = now.saturating_sub(self.began) / WINDOW_MS;
        if windows > 0 {
            self.previous = if windows == 1 { self.current } else { 0 };
            self.current = 0;
            self.began += windows * WINDOW_MS;
        }
    }

    fn lately(&self, now: u64) -> u32 {
        let left = WINDOW_MS.saturating_sub(now.saturating_sub(self.began));
        // Not more than `previous`.
        let before = u64::from(self.previous) * left / WINDOW_MS;
        self.current.saturating_add(before as u32)
    }

    fn is_over(&self, now: u64) -> bool {
        self.shut_until <= now && now.saturating_sub(self.began) >= 2 * WINDOW_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clock {
        attempts: Attempts,
        now: Instant,
    }

    impl Clock {
        fn new() -> Self {
            let now = Instant::now();
            Self { attempts: Attempts::new(now), now }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn fail(&self, client: &str, name: &str) -> u128 {
            self.attempts.failed(client.parse().unwrap(), name.as_bytes(), self.now).as_millis()
        }

        fn admits(&self, client: &str) -> bool {
            self.attempts.admit(client.parse().unwrap(), self.now).is_ok()
        }
    }

    #[test]
    fn failures_cost_more_and_more_time() {
        let clock = Clock::new();
        let delays: Vec<u128> =
            (0..12).map(|index| clock.fail("192.0.2.1", &format!("user{index}"))).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(clock.fail("192.0.2.2", "other"), 0);
        let counts = AttemptCounts { failures: 13, delayed: 7, refused: 0 };
        assert_eq!(clock.attempts.counts(), counts);
    }

    #[test]
    fn a_name_that_many_clients_guess_at_is_slow_for_each_but_never_shut() {
        let clock = Clock::new();
        let clients: Vec<String> = (1..=200).map(|last| format!("192.0.2.{last}")).collect();
        let delays: Vec<u128> = clients.iter().map(|client| clock.fail(client, "alice")).collect();
        assert_eq!(delays[..7], [0, 0, 0, 0, 0, 500, 1000]);
        assert_eq!(delays[199], 8000);
        assert!(clients.iter().all(|client| clock.admits(client)));
    }

    #[test]
    fn a_client_that_goes_on_is_not_listened_to_for_a_while() {
        let mut clock = Clock::new();
        for _ in 0..49 {
            let _ = clock.fail("2001:db8::1", "a");
            clock.pass(1);
        }
        assert!(clock.admits("2001:db8::1"));
        let _ = clock.fail("2001:db8::2", "a");
        // The whole of the /64, and nobody else.
        assert!(!clock.admits("2001:db8::ffff") && clock.admits("2001:db8:0:1::1"));
        let client = "2001:db8::1".parse().unwrap();
        let refused = clock.attempts.admit(client, clock.now).unwrap_err();
        assert_eq!(refused, TooMany { retry_after: SHUT_OUT });
        assert_eq!(clock.attempts.counts().refused, 2);
        clock.pass(299);
        assert!(!clock.admits("2001:db8::1"));
        clock.pass(1);
        assert!(clock.admits("2001:db8::1"));
        // It is not forgiven.
        assert_eq!(clock.fail("2001:db8::1", "b"), 500);
    }

    #[test]
    fn whoever_is_let_in_begins_anew() {
        let clock = Clock::new();
        for _ in 0..9 {
            let _ = clock.fail("::ffff:192.0.2.1", "alice");
        }
        clock.attempts.succeeded("192.0.2.1".parse().unwrap(), b"alice");
        assert_eq!(clock.fail("192.0.2.1", "alice"), 0);
    }

    #[test]
    fn who_has_one_account_does_not_guess_at_others_for_free() {
        let clock = Clock::new();
        let client = "192.0.2.1".parse().unwrap();
        for round in 0..49 {
            assert!(clock.admits("192.0.2.1"), "{round}");
            let _ = clock.fail("192.0.2.1", &format!("victim-{round}"));
            clock.attempts.succeeded(client, b"mallory");
        }
        assert_eq!(clock.fail("192.0.2.1", "victim"), 8000);
        clock.attempts.succeeded(client, b"mallory");
        assert!(!clock.admits("192.0.2.1"));
    }

    #[test]
    fn what_is_long_ago_is_forgotten_little_by_little() {
        let mut clock = Clock::new();
        for _ in 0..20 {
            let _ = clock.fail("192.0.2.1", "a");
        }
        clock.pass(600 + 540);
        // Two of the twenty are left.
        assert_eq!(clock.fail("192.0.2.1", "b"), 0);
        clock.pass(1200);
        assert_eq!((0..6).map(|_| clock.fail("192.0.2.1", "c")).sum::<u128>(), 500);
    }

    #[test]
    fn tables_are_bounded_and_those_who_are_shut_out_stay_so() {
        let clock = Clock::new();
        for _ in 0..50 {
            let _ = clock.fail("192.0.2.1", "a");
        }
        for number in 0..40_000u32 {
            let client = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
            let _ = clock.fail(&client, &client);
        }
        for table in [&clock.attempts.clients, &clock.attempts.names] {
            let held: usize = table.0.iter().map(|shard| shard.lock().unwrap().len()).sum();
            assert!((SHARDS * CAPACITY / 2..=SHARDS * CAPACITY).contains(&held), "{held}");
        }
        assert!(!clock.admits("192.0.2.1"));
    }
}
