//! Names to addresses: one cache per core over name servers, by UDP and TCP (RFC 1035), TLS
//! (RFC 7858) or HTTPS (RFC 8484).
//!
//! What a name server says is not trusted any further than this: it says which addresses a name
//! has, once. Whether they may be connected to is asked of an [`AddressFilter`] by
//! [`dial`](crate::dial::dial), about the very addresses that are then connected to, so a name
//! whose answer changes between two look-ups (DNS rebinding) reaches nothing that its first answer
//! could not reach. Replies with another id, question or sender than was asked are passed over.
//!
//! [`AddressFilter`]: crate::address::AddressFilter

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::{Dns, FamilyPreference};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::Instant;

mod query;
mod tls;

#[cfg(test)]
mod tests;

use query::Servers;

/// Good answers are believed at least and at most so long, whatever their TTL:
/// a TTL of 0 must not mean a query for each request.
const KEEP_FOUND: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// The same for "there is no such name" (RFC 2308).
const KEEP_NOT_FOUND: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How long a failure is remembered (RFC 9520 §3.2 asks for at least one second).
const KEEP_FAILED: Duration = Duration::from_secs(1);

/// Names known to a core, under way included.
const MAX_NAMES: usize = 8192;

/// The addresses of a name, in the order to be tried; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(Rc<[IpAddr]>);

impl Deref for Addresses {
    type Target = [IpAddr];

    fn deref(&self) -> &[IpAddr] {
        &self.0
    }
}

impl Addresses {
    /// The addresses that this preference has tried, in its order; perhaps none.
    #[must_use]
    pub fn preferring(self, preference: FamilyPreference) -> Self {
        use FamilyPreference as P;
        let v4_first = match preference {
            P::Any => return self,
            P::Ipv4First | P::Ipv4Only => true,
            P::Ipv6First | P::Ipv6Only => false,
        };
        let (mut wanted, others): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|address| address.is_ipv4() == v4_first);
        if matches!(preference, P::Ipv4First | P::Ipv6First) {
            wanted.extend(others);
        }
        Self(wanted.into_iter().copied().collect())
    }
}

impl From<&[IpAddr]> for Addresses {
    fn from(addresses: &[IpAddr]) -> Self {
        Self(addresses.into())
    }
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// The name does not exist, or has no address. `dns_error` of RFC 9209 §2.3.2.
    NotFound,
    /// No name server answered in time. `dns_timeout` of RFC 9209 §2.3.1.
    Timeout,
    /// The name servers failed: their response code, or else what went wrong.
    /// `dns_error` of RFC 9209 §2.3.2.
    Failed(Arc<str>),
}

impl DnsError {
    /// The proxy error type for the `Proxy-Status` field.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound | Self::Failed(_) => "dns_error",
            Self::Timeout => "dns_timeout",
        }
    }

    /// The `rcode` parameter of `dns_error` (RFC 9209 §2.3.2), if a server gave one.
    #[must_use]
    pub fn rcode(&self) -> Option<&str> {
        match self {
            Self::NotFound => Some("NXDOMAIN"),
            Self::Failed(text) if text.bytes().all(|byte| byte.is_ascii_uppercase()) => Some(text),
            Self::Failed(_) | Self::Timeout => None,
        }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no address for this name"),
            Self::Timeout => f.write_str("no name server answered in time"),
            Self::Failed(text) => write!(f, "name servers failed: {text}"),
        }
    }
}

impl Error for DnsError {}

/// Where a service is found: one SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name of the host, without a trailing dot.
    pub target: String,
    /// Its port.
    pub port: u16,
    /// Lower ones come first.
    pub priority: u16,
    /// The share among those of the same priority.
    pub weight: u16,
}

/// What came of a look-up, and for how long that holds.
#[derive(Clone, Debug)]
struct Outcome {
    result: Result<Addresses, DnsError>,
    until: Instant,
}

impl Outcome {
    fn found(addresses: &[IpAddr], ttl: Duration) -> Self {
        let kept = ttl.clamp(KEEP_FOUND.0, KEEP_FOUND.1);
        Self { result: Ok(addresses.into()), until: Instant::now() + kept }
    }

    fn not_found(ttl: Duration) -> Self {
        let kept = ttl.clamp(KEEP_NOT_FOUND.0, KEEP_NOT_FOUND.1);
        Self { result: Err(DnsError::NotFound), until: Instant::now() + kept }
    }

    fn failed(error: DnsError) -> Self {
        Self { result: Err(error), until: Instant::now() + KEEP_FAILED }
    }
}

/// The resolver of one core; cheap to clone, the clones share cache and sockets.
///
/// Look-ups run as tasks of the core (`spawn_local`), so it is used within a
/// [`crate::run_local`] or a `LocalSet`.
#[derive(Clone)]
pub struct Resolver {
    inner: Rc<Inner>,
}

struct Inner {
    servers: Servers,
    /// Names whose addresses the configuration has.
    hosts: HashMap<Box<str>, Addresses>,
    prefer: FamilyPreference,
    names: RefCell<HashMap<Box<str>, Slot>>,
}

enum Slot {
    /// Someone has asked already; all who want the name wait for the one answer.
    Asked(watch::Receiver<Option<Outcome>>),
    Known(Outcome),
}

impl Resolver {
    /// A resolver that asks the servers of `dns`, or those of `/etc/resolv.conf` if there are
    /// none; only then are the search domains of that file tried too. The hosts of `dns` come
    /// first, and then the hosts file of the system, in both cases.
    ///
    /// # Errors
    ///
    /// `/etc/resolv.conf` cannot be read or makes no sense (where there is none, the name server
    /// of this machine is asked, as resolv.conf(5) says); a server speaks TLS, and the authorities
    /// to verify it against cannot be read.
    pub fn new(dns: &Dns) -> io::Result<Self> {
        let host = |entry: &config::HostsEntry| {
            let name = entry.name.to_ascii_lowercase().into_boxed_str();
            (name, Addresses::from(&*entry.addresses))
        };
        let inner = Inner {
            servers: Servers::new(dns)?,
            hosts: dns.hosts.iter().map(host).collect(),
            prefer: dns.prefer,
            names: RefCell::default(),
        };
        Ok(Self { inner: Rc::new(inner) })
    }

    /// The addresses of `name`, in the order in which the configuration prefers them; never
    /// empty. An IP address is its own.
    ///
    /// `localhost` and what is below it stay on this machine (RFC 6761 §6.3);
    /// `invalid` and `onion` names do not exist (RFC 6761 §6.4, RFC 7686).
    ///
    /// # Errors
    ///
    /// See [`DnsError`].
    pub async fn lookup(&self, name: &str) -> Result<Addresses, DnsError> {
        self.lookup_preferring(name, self.inner.prefer).await
    }

    /// As [`Resolver::lookup`], in the order of this preference instead.
    ///
    /// # Errors
    ///
    /// See [`DnsError`]; a name without an address of the only family wanted is not found.
    pub async fn lookup_preferring(
        &self,
        name: &str,
        preference: FamilyPreference,
    ) -> Result<Addresses, DnsError> {
        in_order(name, self.outcome(name).await.result, preference)
    }

    async fn outcome(&self, name: &str) -> Outcome {
        match self.known(name) {
            Some(outcome) => outcome,
            None => self.ask(name).await,
        }
    }

    /// As [`Resolver::lookup`], with the time for which the answer holds: that of its records
    /// (RFC 2181 §8), within bounds, or how long a failure is remembered.
    pub async fn lookup_for(&self, name: &str) -> (Result<Addresses, DnsError>, Duration) {
        let outcome = self.outcome(name).await;
        let left = outcome.until.saturating_duration_since(Instant::now());
        (in_order(name, outcome.result, self.inner.prefer), left)
    }

    /// The SRV records of `name` (RFC 2782), and for how long they hold. They are not kept here:
    /// whoever wants them looks them up again when they have expired.
    ///
    /// # Errors
    ///
    /// See [`DnsError`]. A single record with the target `.` says that there is no such service.
    pub async fn services(&self, name: &str) -> (Result<Vec<Service>, DnsError>, Duration) {
        self.inner.servers.services(name).await
    }

    /// Names that are known or asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.names.borrow().len()
    }

    /// Whether no name is known or asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What needs no waiting.
    fn known(&self, name: &str) -> Option<Outcome> {
        if let Some(addresses) = self.written(name) {
            let until = Instant::now() + KEEP_FOUND.1;
            return Some(Outcome { result: Ok(addresses), until });
        }
        if let Some(outcome) = without_servers(name) {
            return Some(outcome);
        }
        let names = self.inner.names.borrow();
        let slot = match lower(name) {
            Some(lower) => names.get(&*lower),
            None => names.get(name),
        };
        match slot {
            Some(Slot::Known(outcome)) if outcome.until > Instant::now() => Some(outcome.clone()),
            _ => None,
        }
    }

    /// What the configuration says of a name.
    fn written(&self, name: &str) -> Option<Addresses> {
        let hosts = &self.inner.hosts;
        if hosts.is_empty() {
            return None;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        match lower(name) {
            Some(lower) => hosts.get(&*lower).cloned(),
            None => hosts.get(name).cloned(),
        }
    }

    /// Joins the look-up that is under way, or starts one.
    async fn ask(&self, name: &str) -> Outcome {
        let key = lower(name).unwrap_or_else(|| name.into());
        let under_way = match self.inner.names.borrow().get(&key) {
            Some(Slot::Asked(answer)) => Some(answer.clone()),
            _ => None,
        };
        let answer = match under_way {
            Some(answer) => Some(answer),
            None => self.start(key),
        };
        let Some(mut answer) = answer else {
            return Outcome::failed(DnsError::Failed("too many look-ups under way".into()));
        };
        // The sender goes without an answer only if the core goes.
        match answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Outcome::failed(DnsError::Failed("look-up abandoned".into())),
        }
    }

    /// Starts a look-up in a task of its own: whoever asked first may lose interest,
    /// the others have not. `None` if too many are under way.
    fn start(&self, key: Box<str>) -> Option<watch::Receiver<Option<Outcome>>> {
        let mut names = self.inner.names.borrow_mut();
        if names.len() >= MAX_NAMES && !names.contains_key(&key) {
            make_room(&mut names)?;
        }
        let (sender, receiver) = watch::channel(None);
        names.insert(key.clone(), Slot::Asked(receiver.clone()));
        let inner = Rc::clone(&self.inner);
        spawn_local(async move {
            let outcome = inner.servers.query(&key).await;
            tracing::debug!(name = &*key, result = ?outcome.result, "looked up");
            inner.names.borrow_mut().insert(key, Slot::Known(outcome.clone()));
            sender.send_replace(Some(outcome));
        });
        Some(receiver)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("names", &self.len()).finish_non_exhaustive()
    }
}

/// Forgets what has expired, or else the quarter that expires first, so that a
/// flood of names costs a look through all of them only now and then.
fn make_room(names: &mut HashMap<Box<str>, Slot>) -> Option<()> {
    let mut ends: Vec<Instant> = names.values().filter_map(known_until).collect();
    if ends.is_empty() {
        return None;
    }
    let quarter = ends.len() / 4;
    let (_, last, _) = ends.select_nth_unstable(quarter);
    let last = (*last).max(Instant::now());
    names.retain(|_, slot| known_until(slot).is_none_or(|until| until > last));
    Some(())
}

fn known_until(slot: &Slot) -> Option<Instant> {
    match slot {
        Slot::Known(outcome) => Some(outcome.until),
        Slot::Asked(_) => None,
    }
}

/// What was found, in the order of a preference. An address that was asked for by itself is not a
/// matter of preference.
fn in_order(
    name: &str,
    found: Result<Addresses, DnsError>,
    preference: FamilyPreference,
) -> Result<Addresses, DnsError> {
    let found = found?;
    if preference == FamilyPreference::Any || name.parse::<IpAddr>().is_ok() {
        return Ok(found);
    }
    let addresses = found.preferring(preference);
    if addresses.is_empty() { Err(DnsError::NotFound) } else { Ok(addresses) }
}

/// Answers that no name server is asked for.
fn without_servers(name: &str) -> Option<Outcome> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some(Outcome::found(&[address], KEEP_FOUND.1));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if is_below(name, "localhost") {
        // IPv4 first: most that listens here listens there.
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Some(Outcome::found(&loopback, KEEP_FOUND.1));
    }
    if is_below(name, "invalid") || is_below(name, "onion") || name.is_empty() {
        return Some(Outcome::not_found(KEEP_NOT_FOUND.1));
    }
    None
}

/// Whether `name` is `zone` or below it.
fn is_below(name: &str, zone: &str) -> bool {
    let Some(split) = name.len().checked_sub(zone.len()) else { return false };
    let (above, end) = name.as_bytes().split_at(split);
    end.eq_ignore_ascii_case(zone.as_bytes()) && (above.is_empty() || above.ends_with(b"."))
}

/// `name` in lower case, if it is not yet.
fn lower(name: &str) -> Option<Box<str>> {
    name.bytes()
        .any(|byte| byte.is_ascii_uppercase())
        .then(|| name.to_ascii_lowercase().into_boxed_str())
}
