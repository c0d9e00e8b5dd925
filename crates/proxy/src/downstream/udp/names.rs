//! Names that datagrams are sent to, and the datagrams that wait for their addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use net::resolver::{Addresses, DnsError, Resolver};

/// Names of one association that stay with the address they were sent to.
const MAX_SETTLED: usize = 256;
/// Names that are looked up at the same time.
const MAX_ASKED: usize = 16;
/// Datagrams that wait for the same name. A client sends again what got no answer.
const MAX_WAITING: usize = 4;
/// Bytes of all datagrams that wait.
const MAX_WAITING_BYTES: usize = 64 * 1024;
/// How long a name keeps its address while nothing is sent to it.
const MAX_QUIET_MS: u64 = 60 * 1000;

/// A datagram that waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The port of the target.
    pub(super) port: u16,
    /// The port of the client.
    pub(super) client: u16,
    pub(super) data: Box<[u8]>,
}

/// A name that was looked up.
pub(super) struct Resolved {
    pub(super) name: Box<str>,
    pub(super) result: Result<Addresses, DnsError>,
    pub(super) waiting: Vec<Waiting>,
}

type Lookup = Pin<Box<dyn Future<Output = Result<Addresses, DnsError>>>>;

struct Asked {
    name: Box<str>,
    lookup: Lookup,
    waiting: Vec<Waiting>,
}

/// The names of one association.
#[derive(Default)]
pub(super) struct Names {
    settled: HashMap<Box<str>, (IpAddr, u64)>,
    asked: Vec<Asked>,
    waiting_bytes: usize,
}

impl Names {
    /// The address that a name was sent to lately: a conversation stays with one server.
    pub(super) fn settled(&mut self, name: &str, now: u64) -> Option<IpAddr> {
        let (address, used) = self.settled.get_mut(name)?;
        if now.saturating_sub(*used) > MAX_QUIET_MS {
            self.settled.remove(name);
            return None;
        }
        *used = now;
        Some(*address)
    }

    /// Takes note of the address that a name is sent to from now on.
    pub(super) fn settle(&mut self, name: Box<str>, address: IpAddr, now: u64) {
        if self.settled.len() >= MAX_SETTLED {
            self.settled.retain(|_, (_, used)| now.saturating_sub(*used) <= MAX_QUIET_MS / 8);
        }
        if self.settled.len() < MAX_SETTLED {
            self.settled.insert(name, (address, now));
        }
    }

    /// Forgets where a name was sent to: the address may not be used any more.
    pub(super) fn unsettle(&mut self, name: &str) {
        self.settled.remove(name);
    }

    /// Looks a name up, or joins the look-up that is under way; the datagram waits meanwhile. It
    /// is dropped where too much waits already.
    pub(super) fn ask(&mut self, resolver: &Resolver, name: &str, waiting: Waiting) {
        let bytes = waiting.data.len();
        if self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            return;
        }
        if let Some(asked) = self.asked.iter_mut().find(|asked| *asked.name == *name) {
            if asked.waiting.len() >= MAX_WAITING {
                return;
            }
            asked.waiting.push(waiting);
        } else {
            if self.asked.len() >= MAX_ASKED {
                return;
            }
            let (resolver, wanted) = (resolver.clone(), name.to_owned());
            self.asked.push(Asked {
                name: name.into(),
                lookup: Box::pin(async move { resolver.lookup(&wanted).await }),
                waiting: vec![waiting],
            });
        }
        self.waiting_bytes += bytes;
    }

    /// The next name that has been looked up, with what waited for it.
    pub(super) fn poll_resolved(&mut self, cx: &mut Context<'_>) -> Poll<Resolved> {
        for index in 0..self.asked.len() {
            let asked = &mut self.asked[index];
            if let Poll::Ready(result) = asked.lookup.as_mut().poll(cx) {
                let Asked { name, waiting, .. } = self.asked.swap_remove(index);
                let bytes: usize = waiting.iter().map(|one| one.data.len()).sum();
                self.waiting_bytes -= bytes;
                return Poll::Ready(Resolved { name, result, waiting });
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bytes: usize) -> Waiting {
        Waiting { port: 53, client: 4000, data: vec![0; bytes].into() }
    }

    #[test]
    fn a_name_stays_where_it_is_for_a_while() {
        let (mut names, address) = (Names::default(), IpAddr::from([192, 0, 2, 1]));
        names.settle("a.example".into(), address, 1);
        assert_eq!(names.settled("a.example", MAX_QUIET_MS), Some(address));
        assert_eq!(names.settled("a.example", 2 * MAX_QUIET_MS), Some(address), "it was used");
        assert_eq!(names.settled("a.example", 3 * MAX_QUIET_MS + 1), None);
        names.settle("a.example".into(), address, 1);
        names.unsettle("a.example");
        assert_eq!(names.settled("a.example", 1), None);
        for name in 0..1000 {
            names.settle(name.to_string().into(), address, 1);
            assert!(names.settled.len() <= MAX_SETTLED);
        }
    }

    #[test]
    fn no_more_waits_than_may() {
        // Nothing is sent: nobody polls the look-ups.
        let resolver =
            Resolver::new(&config::Dns::asking(&["192.0.2.1:53".parse().unwrap()])).unwrap();
        let mut names = Names::default();
        for _ in 0..10 {
            names.ask(&resolver, "a.example", waiting(10));
        }
        assert_eq!((names.asked.len(), names.asked[0].waiting.len()), (1, MAX_WAITING));
        for name in 0..100 {
            names.ask(&resolver, &format!("{name}.example"), waiting(10));
        }
        assert_eq!(names.asked.len(), MAX_ASKED);
        let mut names = Names::default();
        names.ask(&resolver, "a.example", waiting(MAX_WAITING_BYTES));
        names.ask(&resolver, "b.example", waiting(1));
        assert_eq!((names.asked.len(), names.waiting_bytes), (1, MAX_WAITING_BYTES));
    }

    #[tokio::test]
    async fn what_waited_comes_back() {
        let resolver =
            Resolver::new(&config::Dns::asking(&["192.0.2.1:53".parse().unwrap()])).unwrap();
        let mut names = Names::default();
        names.ask(&resolver, "localhost", waiting(3));
        names.ask(&resolver, "localhost", waiting(4));
        let resolved = std::future::poll_fn(|cx| names.poll_resolved(cx)).await;
        assert_eq!(&*resolved.name, "localhost");
        assert!(resolved.result.unwrap()[0].is_loopback());
        assert_eq!(resolved.waiting, [waiting(3), waiting(4)]);
        assert_eq!((names.asked.len(), names.waiting_bytes), (0, 0));
    }
}
