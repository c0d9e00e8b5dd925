//! One real server: what all cores and all groups know of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use config::{Scheme, Server, ServerProtocol, UpstreamTls};

use crate::health::Health;
use crate::outlier::Ejection;
use crate::queue::Queue;

/// How long a server is avoided after a connection failed, doubled each time in a row.
const FIRST_BACKOFF: u64 = 2000;
const LONGEST_BACKOFF: u64 = 60_000;
/// The past counts half after this time (a peak of latency is forgotten so).
const PEAK_LIFE: f64 = 10_000.0;

/// What makes a server the same server, whichever group names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    scheme: Scheme,
    protocol: ServerProtocol,
    address: SocketAddr,
    /// The name that TLS asks for, and how it is done; empty without.
    tls: String,
}

impl EndpointKey {
    pub(crate) fn new(server: &Server, address: SocketAddr, host: &str, tls: &UpstreamTls) -> Self {
        let tls = match server.scheme {
            Scheme::Http => String::new(),
            Scheme::Https => {
                let file = |file: &config::Spanned<std::path::PathBuf>| file.value.clone();
                format!(
                    "{} {:?} {:?} {} {}",
                    tls.sni.as_deref().unwrap_or(host),
                    tls.ca.as_ref().map(file),
                    tls.client.as_ref().map(|pair| (file(&pair.cert), file(&pair.key))),
                    tls.insecure,
                    tls.http1_only,
                )
            }
        };
        Self { scheme: server.scheme, protocol: server.protocol, address, tls }
    }
}

/// One real server. Times are those of [`net::watchdog::process_ms`].
#[derive(Debug)]
pub struct Endpoint {
    key: EndpointKey,
    in_flight: AtomicU32,
    requests: AtomicU64,
    failures: AtomicU64,
    /// When a response last showed that it is well.
    last_success: AtomicU64,
    last_failure: AtomicU64,
    /// Connections that failed in a row; 0: the last one did not.
    backoffs: AtomicU32,
    /// Until when it is avoided for that; 0: not at all.
    avoid_until: AtomicU64,
    /// Since when it takes its share; 0: since the process began.
    well_since: AtomicU64,
    /// Mean latency of the last responses, and how many there were.
    mean: Stamped,
    /// Latency that jumps to peaks and forgets them slowly, and when that was.
    peak: Stamped,
    pub(crate) ejection: Ejection,
    health: Mutex<Vec<Weak<Health>>>,
    /// The queues of all groups that limit it.
    queues: Mutex<Vec<Weak<Queue>>>,
    queue_count: AtomicUsize,
}

/// Microseconds and 32 bits more in one word. Cores that write at once lose a sample, which is
/// cheaper than to keep it.
#[derive(Debug, Default)]
struct Stamped(AtomicU64);

impl Stamped {
    fn get(&self) -> (u32, u32) {
        let word = self.0.load(Ordering::Relaxed);
        ((word >> 32) as u32, word as u32)
    }

    fn set(&self, micros: u32, stamp: u32) {
        self.0.store(u64::from(micros) << 32 | u64::from(stamp), Ordering::Relaxed);
    }
}

impl Endpoint {
    pub(crate) fn new(key: EndpointKey, well_since: u64) -> Self {
        Self {
            key,
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_success: AtomicU64::new(0),
            last_failure: AtomicU64::new(0),
            backoffs: AtomicU32::new(0),
            avoid_until: AtomicU64::new(0),
            well_since: AtomicU64::new(well_since),
            mean: Stamped::default(),
            peak: Stamped::default(),
            ejection: Ejection::default(),
            health: Mutex::default(),
            queues: Mutex::default(),
            queue_count: AtomicUsize::new(0),
        }
    }

    /// What tells it from all others as long as it lives.
    pub(crate) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.key.address
    }

    /// Requests under way, on all cores.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Requests that were sent to it, and how many of them failed.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// The mean time to the head of its responses; `None` where there were none.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let (micros, samples) = self.mean.get();
        (samples > 0).then(|| Duration::from_micros(micros.into()))
    }

    /// Takes one of its places, if it has fewer requests than `limit`.
    pub(crate) fn enter(&self, limit: u32) -> bool {
        let entered = if limit == u32::MAX {
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            true
        } else {
            let more = |count: u32| (count < limit).then(|| count + 1);
            self.in_flight.try_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
        };
        if entered {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        entered
    }

    /// Gives a place back, and wakes whoever waits for it. `own` is the queue of the group that
    /// took it.
    pub(crate) fn leave(&self, own: Option<&Queue>) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        match (self.queue_count.load(Ordering::SeqCst), own) {
            (0, _) => {}
            (1, Some(queue)) => queue.wake(self.id()),
            _ => self.wake_queues(),
        }
    }

    /// Lets whoever waits for a place anywhere look again.
    pub(crate) fn wake_queues(&self) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in queues.iter().filter_map(Weak::upgrade) {
            queue.wake(self.id());
        }
    }

    /// Wakes this queue as well when a place comes free.
    pub(crate) fn serves(&self, queue: &Arc<Queue>) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|known| known.strong_count() > 0);
        if !queues.iter().any(|known| known.as_ptr() == Arc::as_ptr(queue)) {
            queues.push(Arc::downgrade(queue));
        }
        self.queue_count.store(queues.len(), Ordering::SeqCst);
    }

    /// Takes note of a response that shows it is well, and of how long it took.
    pub(crate) fn succeeded(&self, now: u64, latency: Option<Duration>) {
        if self.last_success.load(Ordering::Relaxed) < now {
            self.last_success.store(now, Ordering::Relaxed);
        }
        if self.avoid_until.load(Ordering::Relaxed) != 0 {
            self.connected(now);
        }
        if let Some(latency) = latency {
            self.answered(now, latency);
        }
    }

    /// Takes note of how long a response took, whatever it says.
    pub(crate) fn answered(&self, now: u64, latency: Duration) {
        let sample = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX).max(1);
        let (mean, samples) = self.mean.get();
        // The first few count evenly, then each for a sixteenth.
        let weight = i64::from(samples.saturating_add(1).min(16));
        let mean = i64::from(mean) + (i64::from(sample) - i64::from(mean)) / weight;
        self.mean.set(mean as u32, samples.saturating_add(1));
        let past = self.peak_latency(now);
        let peak = if sample >= past { sample } else { past - (past - sample) / 16 };
        self.peak.set(peak, now as u32);
    }

    /// Latency for the choice among servers, microseconds: it jumps to peaks, and forgets them.
    pub(crate) fn peak_latency(&self, now: u64) -> u32 {
        let (peak, at) = self.peak.get();
        let age = f64::from((now as u32).wrapping_sub(at));
        (f64::from(peak) * (-age / PEAK_LIFE).exp2()) as u32
    }

    /// The mean begins anew.
    pub(crate) fn forget_latency(&self) {
        self.mean.set(0, 0);
    }

    /// Mean latency in microseconds and the responses that it is made of.
    pub(crate) fn mean_latency(&self) -> (u32, u32) {
        self.mean.get()
    }

    /// Takes note of a failure of any kind.
    pub(crate) fn failed(&self, now: u64) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.last_failure.store(now, Ordering::Relaxed);
    }

    /// Whether traffic has shown within `time` that it is well, and nothing has shown since that
    /// it is not.
    pub(crate) fn proved_well(&self, now: u64, time: Duration) -> bool {
        let success = self.last_success.load(Ordering::Relaxed);
        success > 0
            && now.saturating_sub(success) <= time.as_millis() as u64
            && success > self.last_failure.load(Ordering::Relaxed)
    }

    /// Takes note that it could not be connected to. Those that fail together count as one.
    /// `trial`: this was the one that tried whether it is back.
    pub(crate) fn unreachable(&self, now: u64, trial: bool) {
        if now < self.avoid_until.load(Ordering::Relaxed) && !trial {
            return;
        }
        let times = self.backoffs.load(Ordering::Relaxed);
        self.backoffs.store(times.saturating_add(1), Ordering::Relaxed);
        let pause = FIRST_BACKOFF.checked_shl(times.min(16)).unwrap_or(LONGEST_BACKOFF);
        self.avoid_until.store(now + pause.min(LONGEST_BACKOFF), Ordering::Relaxed);
    }

    /// Takes note that it could be connected to.
    pub(crate) fn connected(&self, now: u64) {
        if self.avoid_until.swap(0, Ordering::Relaxed) != 0 {
            self.backoffs.store(0, Ordering::Relaxed);
            self.became_well(now);
        }
    }

    /// Whether it is avoided for now because it could not be connected to.
    pub(crate) fn is_avoided(&self, now: u64) -> bool {
        now < self.avoid_until.load(Ordering::Relaxed)
    }

    /// Whoever is sent to it now tries whether it is back; until that is known the others stay
    /// away.
    pub(crate) fn begin_trial(&self, now: u64) -> bool {
        let until = self.avoid_until.load(Ordering::Relaxed);
        until != 0
            && now >= until
            && self
                .avoid_until
                .compare_exchange(until, now + FIRST_BACKOFF, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// It takes its share from now on, slowly at first.
    pub(crate) fn became_well(&self, now: u64) {
        self.well_since.store(now, Ordering::Relaxed);
    }

    /// Since when it takes its share; 0: since the process began.
    pub(crate) fn well_since(&self, now: u64) -> u64 {
        let out_until = self.ejection.until();
        let back = if out_until <= now { out_until } else { 0 };
        self.well_since.load(Ordering::Relaxed).max(back)
    }

    /// The state of this check of it: the same one for all who ask the same.
    pub(crate) fn health(&self, new: Health) -> (Arc<Health>, bool) {
        let mut known = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.strong_count() > 0);
        if let Some(found) =
            known.iter().filter_map(Weak::upgrade).find(|known| known.is_same_check(&new))
        {
            found.follow(new);
            return (found, false);
        }
        let new = Arc::new(new);
        known.push(Arc::downgrade(&new));
        (new, true)
    }
}

/// The share of its weight, in thousandths, that a server gets that has been well for this time.
pub(crate) fn ramp(well_since: u64, now: u64, period: Duration) -> u32 {
    let period = period.as_millis() as u64;
    let well_for = now.saturating_sub(well_since);
    if well_since == 0 || well_for >= period {
        return 1000;
    }
    100 + (900 * well_for / period) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        let key = EndpointKey {
            scheme: Scheme::Http,
            protocol: ServerProtocol::Http1,
            address: SocketAddr::from(([127, 0, 0, 1], 80)),
            tls: String::new(),
        };
        Endpoint::new(key, 0)
    }

    #[test]
    fn places_are_counted_exactly_by_all_cores() {
        let endpoint = endpoint();
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5000 {
                        if endpoint.enter(3) {
                            most.fetch_max(endpoint.in_flight(), Ordering::SeqCst);
                            endpoint.leave(None);
                        }
                    }
                });
            }
        });
        assert_eq!(endpoint.in_flight(), 0);
        let most = most.into_inner();
        assert!((1..=3).contains(&most), "{most}");
    }

    #[test]
    fn connections_that_fail_are_tried_less_and_less_often() {
        let endpoint = endpoint();
        let mut now = 1000;
        for pause in [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            let trial = endpoint.begin_trial(now);
            endpoint.unreachable(now, trial);
            endpoint.unreachable(now, false);
            endpoint.unreachable(now + 1, false);
            assert!(endpoint.is_avoided(now + pause - 1), "those that fail together are one");
            now += pause;
            assert!(!endpoint.is_avoided(now));
        }
        assert!(endpoint.begin_trial(now));
        assert!(endpoint.is_avoided(now), "one at a time");
        assert!(!endpoint.begin_trial(now));
        endpoint.succeeded(now + 5, Some(Duration::from_millis(1)));
        assert!(!endpoint.is_avoided(now + 5));
        assert_eq!(endpoint.well_since(now + 5), now + 5, "it comes back slowly");
        endpoint.unreachable(now + 10, false);
        assert!(!endpoint.is_avoided(now + 10 + 2000), "the count began anew");
    }

    #[test]
    fn a_share_grows_from_a_tenth() {
        let period = Duration::from_secs(10);
        assert_eq!(ramp(0, 5, period), 1000);
        assert_eq!(ramp(1000, 1000, period), 100);
        assert_eq!(ramp(1000, 6000, period), 550);
        assert_eq!(ramp(1000, 11_000, period), 1000);
        assert_eq!(ramp(1000, 1000, Duration::ZERO), 1000);
    }

    #[test]
    fn back_from_ejection_is_well_since_then() {
        let endpoint = endpoint();
        endpoint.ejection.eject(1000, Duration::from_secs(1));
        assert_eq!(endpoint.well_since(1500), 0);
        assert_eq!(endpoint.well_since(2500), 2000);
    }

    #[test]
    fn latency_jumps_to_peaks_and_forgets_them() {
        let endpoint = endpoint();
        assert_eq!(endpoint.latency(), None);
        endpoint.answered(1000, Duration::from_millis(10));
        assert_eq!(endpoint.latency(), Some(Duration::from_millis(10)));
        endpoint.answered(1000, Duration::from_millis(90));
        assert_eq!(endpoint.peak_latency(1000), 90_000);
        assert_eq!(endpoint.latency(), Some(Duration::from_millis(50)));
        assert_eq!(endpoint.peak_latency(11_000), 45_000, "half after ten seconds");
        endpoint.answered(11_000, Duration::from_millis(10));
        assert!(endpoint.peak_latency(11_000) < 45_000);
        assert!(endpoint.latency() < Some(Duration::from_millis(50)));
    }

    #[test]
    fn traffic_proves_health_until_something_fails() {
        let (endpoint, time) = (endpoint(), Duration::from_secs(5));
        assert!(!endpoint.proved_well(1000, time));
        endpoint.succeeded(1000, Some(Duration::from_millis(1)));
        assert!(endpoint.proved_well(6000, time));
        assert!(!endpoint.proved_well(6001, time));
        endpoint.failed(2000);
        assert!(!endpoint.proved_well(2000, time));
        endpoint.succeeded(2500, Some(Duration::from_millis(1)));
        assert!(endpoint.proved_well(2500, time));
    }
}
