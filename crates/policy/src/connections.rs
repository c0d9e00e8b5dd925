//! How many connections one client may hold at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use crate::nets::prefix_64;

/// Enough that two cores that accept at the same moment seldom meet.
const SHARDS: usize = 64;

/// A shard's table is given back once it is this much larger than what it holds.
const SHRINK_ABOVE: usize = 256;

/// Counts connections per client, over all cores; clones count together.
///
/// An IPv6 client is its /64, since that is what one subscriber holds at least (RFC 6177).
/// Memory is bounded by the connections that are open: a client without one leaves nothing.
///
/// This is the one lock of the data plane. It is taken twice in the life of a connection,
/// never for a request, and held for one table operation; a count per core would let a
/// client have as many times its limit as there are cores.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hasher: RandomState,
    shards: [Mutex<Counts>; SHARDS],
}

type Counts = HashMap<Client, u32, RandomState>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    V4(u32),
    V6Prefix(u64),
}

impl Client {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.into()),
            IpAddr::V6(v6) => Self::V6Prefix(prefix_64(v6)),
        }
    }
}

impl ConnectionLimits {
    /// Nobody holds a connection yet.
    #[must_use]
    pub fn new() -> Self {
        let hasher = RandomState::new();
        let shards = std::array::from_fn(|_| Mutex::new(HashMap::with_hasher(hasher.clone())));
        Self { shared: Arc::new(Shared { hasher, shards }) }
    }

    /// Counts one more connection of this client, unless it holds `max` already.
    /// The connection counts until the permit is dropped.
    #[must_use]
    pub fn acquire(&self, client: IpAddr, max: u32) -> Option<ConnectionPermit> {
        let client = Client::of(client);
        let mut counts = self.shared.counts(client);
        match counts.entry(client) {
            Entry::Occupied(entry) if *entry.get() >= max => return None,
            Entry::Occupied(mut entry) => *entry.get_mut() += 1,
            Entry::Vacant(_) if max == 0 => return None,
            Entry::Vacant(entry) => {
                entry.insert(1);
            }
        }
        drop(counts);
        Some(ConnectionPermit { shared: Arc::clone(&self.shared), client })
    }

    /// How many clients hold at least one counted connection.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.shared.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn counts(&self, client: Client) -> MutexGuard<'_, Counts> {
        // The tables use the low bits of the same hash; these are the high ones.
        let shard = (self.hasher.hash_one(client) >> 32) as usize % SHARDS;
        lock(&self.shards[shard])
    }
}

/// No panic is possible while a shard is locked, so a poisoned one is still whole.
fn lock(shard: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One counted connection; dropping it takes it off the count.
#[derive(Debug)]
pub struct ConnectionPermit {
    shared: Arc<Shared>,
    client: Client,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.shared.counts(self.client);
        if let Entry::Occupied(mut entry) = counts.entry(self.client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        if counts.capacity() > SHRINK_ABOVE && counts.len() < counts.capacity() / 8 {
            counts.shrink_to(SHRINK_ABOVE / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_holds_at_most_so_many_and_gets_another_when_one_ends() {
        let limits = ConnectionLimits::new();
        let first = limits.acquire(ip("192.0.2.1"), 2).unwrap();
        let _second = limits.acquire(ip("192.0.2.1"), 2).unwrap();
        assert!(limits.acquire(ip("192.0.2.1"), 2).is_none());
        assert!(limits.acquire(ip("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(limits.acquire(ip("192.0.2.1"), 2).is_some());
        assert!(limits.acquire(ip("192.0.2.3"), 0).is_none());
    }

    #[test]
    fn an_ipv6_client_is_its_64_and_a_mapped_one_is_ipv4() {
        let limits = ConnectionLimits::new();
        let _v6 = limits.acquire(ip("2001:db8:0:1::1"), 1).unwrap();
        assert!(limits.acquire(ip("2001:db8:0:1:ffff::2"), 1).is_none());
        let _other = limits.acquire(ip("2001:db8:0:2::1"), 1).unwrap();
        let _v4 = limits.acquire(ip("192.0.2.1"), 1).unwrap();
        assert!(limits.acquire(ip("::ffff:192.0.2.1"), 1).is_none());
        assert!(limits.acquire(ip("::ffff:192.0.2.2"), 1).is_some());
    }

    #[test]
    fn clients_without_a_connection_leave_nothing() {
        let limits = ConnectionLimits::new();
        let permits: Vec<_> =
            (0..100_000u32).map(|n| limits.acquire(IpAddr::V4(n.into()), 1).unwrap()).collect();
        assert_eq!(limits.clients(), 100_000);
        drop(permits);
        assert_eq!(limits.clients(), 0);
        let room: usize = limits.shared.shards.iter().map(|shard| lock(shard).capacity()).sum();
        assert!(room <= SHARDS * SHRINK_ABOVE, "{room}");
    }

    #[test]
    fn counts_hold_over_threads() {
        let limits = ConnectionLimits::new();
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..100)
                            .filter_map(|_| limits.acquire(ip("192.0.2.1"), 50))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let held: Vec<_> =
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            held.len()
        });
        assert_eq!(granted, 50);
        assert_eq!(limits.clients(), 0);
    }
}
