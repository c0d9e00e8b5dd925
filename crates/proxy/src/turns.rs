//! Attempts to log in that cost something: so many of one client at once.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Attempts of one client that are worked out at once, answers that are held back included.
const AT_ONCE: usize = 8;

/// Parts of the table, with a lock each.
const PARTS: usize = 16;

/// Clients whose attempts are worked out, of the whole process. What is counted of a client is
/// known only when its attempts are over: without this it could make any number of them before.
/// There is an entry for each client that has one under way, and none for others.
#[derive(Debug, Default)]
pub struct Turns {
    hasher: RandomState,
    parts: [Mutex<HashMap<IpAddr, Arc<Semaphore>>>; PARTS],
}

/// The turn of one attempt, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    client: IpAddr,
    place: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits until the client has fewer attempts under way than it may. Those who wait come in the
    /// order in which they began to. A client of IPv6 is a network of 64 bits.
    pub(crate) async fn take(&self, client: IpAddr) -> Turn<'_> {
        let client = whole(client);
        let places = {
            let mut part = self.part(client);
            Arc::clone(part.entry(client).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
        };
        // It tidies up also where it is given up before its time.
        let mut turn = Turn { turns: self, client, place: None };
        turn.place = places.acquire_owned().await.ok();
        turn
    }

    fn part(&self, client: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, Arc<Semaphore>>> {
        let number = self.hasher.hash_one(client) as usize % PARTS;
        // Nothing that is done under the lock panics half way.
        self.parts[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.place.take());
        let mut part = self.turns.part(self.client);
        // Whoever has one, or waits, got it under this lock.
        if part.get(&self.client).is_some_and(|places| Arc::strong_count(places) == 1) {
            part.remove(&self.client);
        }
    }
}

fn whole(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Polls once.
    fn is_ready<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Option<F::Output> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_client_has_so_many_at_once_and_others_do_not_wait_for_it() {
        let turns = Turns::default();
        let take = |client: &str| Box::pin(turns.take(address(client)));
        let mut held: Vec<_> = (0..AT_ONCE)
            .map(|last| is_ready(&mut take(&format!("2001:db8::{last}"))).expect("a turn"))
            .collect();
        let mut ninth = take("2001:db8::ffff");
        assert!(is_ready(&mut ninth).is_none());
        for other in ["2001:db8:0:1::1", "192.0.2.1"] {
            assert!(is_ready(&mut take(other)).is_some(), "{other}");
        }
        held.pop();
        let turn = is_ready(&mut ninth);
        assert!(turn.is_some());
        // One that gives up, and all the others: nothing is left.
        let mut tenth = take("2001:db8::1");
        assert!(is_ready(&mut tenth).is_none());
        drop((tenth, ninth, turn, held));
        let entries: usize = turns.parts.iter().map(|part| part.lock().unwrap().len()).sum();
        assert_eq!(entries, 0);
    }
}
