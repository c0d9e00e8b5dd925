//! What one core counts.
//!
//! Each core writes only its own [`CoreCounters`], so an increment is a plain load and store
//! without a locked instruction; a scrape reads all cores and adds them up. All memory is
//! there from the start: nothing that a peer sends makes a new counter.

mod cache;
mod histogram;
mod names;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{Face, SiteLabel, UpstreamLabel};

pub use self::cache::CacheResult;
pub use self::histogram::{BUCKETS, Histogram, bucket_bound};
pub use self::names::{FAILURE_NAMES, REFUSAL_NAMES, failure_index, refusal_index};

/// Sites, and upstreams, that have counters of their own; all others share one more.
pub const LABELS: usize = 256;

/// A number that one thread writes and any thread reads. Two writers would lose increments.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        // Not `fetch_add`: with one writer the locked instruction buys nothing.
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one core, on cache lines of their own. Only that core's thread may write.
///
/// Aligned to two cache lines, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct CoreCounters {
    reverse: FaceCounters,
    forward: FaceCounters,
    /// Full TLS handshakes with clients.
    pub tls_full: Counter,
    /// Resumed TLS handshakes with clients.
    pub tls_resumed: Counter,
    /// TLS handshakes with clients that failed.
    pub tls_failed: Counter,
    /// Connections to servers made.
    pub upstream_opened: Counter,
    /// Requests that went out on a connection that was there already.
    pub upstream_reused: Counter,
    /// Connections to servers that could not be made.
    pub upstream_failed: Counter,
    /// Attempts after the first.
    pub retries: Counter,
    /// Tunnels (CONNECT, SOCKS, Upgrade) opened.
    pub tunnels_opened: Counter,
    /// Tunnels closed.
    pub tunnels_closed: Counter,
    /// Bytes through tunnels, from the client.
    pub tunnel_bytes_in: Counter,
    /// Bytes through tunnels, to the client.
    pub tunnel_bytes_out: Counter,
    cache: [Counter; CacheResult::ALL.len()],
    /// Answers that were stored.
    pub cache_stored: Counter,
    /// Requests of our own for answers that had become stale.
    pub cache_refreshes: Counter,
    /// Bytes of content to clients that no server had to send for them.
    pub cache_bytes: Counter,
    /// Bytes of content before they were compressed.
    pub compress_read: Counter,
    /// What became of these bytes.
    pub compress_written: Counter,
    /// Bytes that clients did not have to be sent since answers were compressed, those that were
    /// kept in that form included.
    pub compress_saved: Counter,
    failures: [Counter; FAILURE_NAMES.len()],
    refusals: [Counter; REFUSAL_NAMES.len()],
    sites: Box<[SiteCounters]>,
    upstreams: Box<[UpstreamCounters]>,
}

impl CoreCounters {
    /// All at zero.
    pub fn new() -> Self {
        let zero = |_| Counter::default();
        Self {
            reverse: FaceCounters::default(),
            forward: FaceCounters::default(),
            tls_full: Counter::default(),
            tls_resumed: Counter::default(),
            tls_failed: Counter::default(),
            upstream_opened: Counter::default(),
            upstream_reused: Counter::default(),
            upstream_failed: Counter::default(),
            retries: Counter::default(),
            tunnels_opened: Counter::default(),
            tunnels_closed: Counter::default(),
            tunnel_bytes_in: Counter::default(),
            tunnel_bytes_out: Counter::default(),
            cache: std::array::from_fn(zero),
            cache_stored: Counter::default(),
            cache_refreshes: Counter::default(),
            cache_bytes: Counter::default(),
            compress_read: Counter::default(),
            compress_written: Counter::default(),
            compress_saved: Counter::default(),
            failures: std::array::from_fn(zero),
            refusals: std::array::from_fn(zero),
            sites: (0..=LABELS).map(|_| SiteCounters::default()).collect(),
            upstreams: (0..=LABELS).map(|_| UpstreamCounters::default()).collect(),
        }
    }

    /// Those of one face.
    pub fn face(&self, face: Face) -> &FaceCounters {
        match face {
            Face::Reverse => &self.reverse,
            Face::Forward => &self.forward,
        }
    }

    /// Those of one site.
    pub fn site(&self, site: SiteLabel) -> &SiteCounters {
        &self.sites[site.index()]
    }

    /// Those of one upstream.
    pub fn upstream(&self, upstream: UpstreamLabel) -> &UpstreamCounters {
        &self.upstreams[upstream.index()]
    }

    /// Failures of the kind with this index in [`FAILURE_NAMES`]; an index beyond it counts
    /// as the last one, `other`.
    pub fn failure(&self, index: u8) -> &Counter {
        &self.failures[usize::from(index).min(FAILURE_NAMES.len() - 1)]
    }

    /// Requests that the cache was asked about, by what came of it.
    pub fn cache(&self, result: CacheResult) -> &Counter {
        &self.cache[result as usize]
    }

    /// Refusals by policy, for the reason with this index in [`REFUSAL_NAMES`]; an index
    /// beyond it counts as the last one, `other`.
    pub fn refusal(&self, index: u8) -> &Counter {
        &self.refusals[usize::from(index).min(REFUSAL_NAMES.len() - 1)]
    }

    /// Counts a request that is over, for its face and, on the reverse face, its site.
    pub fn request_finished(&self, face: Face, site: Option<SiteLabel>, request: &Finished) {
        let counters = self.face(face);
        counters.requests_finished.inc();
        counters.statuses.count(request.status);
        counters.duration.observe(request.duration);
        counters.bytes_in.add(request.bytes_in);
        counters.bytes_out.add(request.bytes_out);
        if let Some(site) = site {
            let counters = self.site(site);
            counters.statuses.count(request.status);
            counters.bytes_in.add(request.bytes_in);
            counters.bytes_out.add(request.bytes_out);
        }
    }
}

impl Default for CoreCounters {
    fn default() -> Self {
        Self::new()
    }
}

/// What is counted when a request is over.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// The final status sent; 0 when none was.
    pub status: u16,
    /// From the first byte of the request to the last of the answer.
    pub duration: Duration,
    /// Bytes of content from the client.
    pub bytes_in: u64,
    /// Bytes of content to the client.
    pub bytes_out: u64,
}

/// Counters of one face.
#[derive(Debug, Default)]
pub struct FaceCounters {
    /// Connections accepted from clients.
    pub connections_accepted: Counter,
    /// Of these, closed since.
    pub connections_closed: Counter,
    /// Requests begun: a head was read.
    pub requests_started: Counter,
    /// Of these, over since.
    pub requests_finished: Counter,
    /// Requests by status.
    pub statuses: Statuses,
    /// How long they took.
    pub duration: Histogram,
    /// Bytes of content from clients.
    pub bytes_in: Counter,
    /// Bytes of content to clients.
    pub bytes_out: Counter,
}

/// Counters of one site: one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct SiteCounters {
    /// Requests by status.
    pub statuses: Statuses,
    /// Bytes of content from clients.
    pub bytes_in: Counter,
    /// Bytes of content to clients.
    pub bytes_out: Counter,
}

/// Counters of one upstream: one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct UpstreamCounters {
    /// Requests sent, each attempt counted.
    pub requests: Counter,
    /// Attempts that failed.
    pub failures: Counter,
    /// Connections made.
    pub connects: Counter,
}

/// Answers by class of status (RFC 9110 §15), and those that never came to one.
#[derive(Debug, Default)]
pub struct Statuses([Counter; CLASSES.len()]);

impl Statuses {
    /// Counts one answer.
    pub fn count(&self, status: u16) {
        self.0[match status {
            100..=599 => usize::from(status / 100),
            _ => 0,
        }]
        .inc();
    }

    /// How many, in the order of [`CLASSES`].
    pub fn get(&self) -> [u64; CLASSES.len()] {
        std::array::from_fn(|class| self.0[class].get())
    }
}

/// Labels for the classes of [`Statuses`].
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_go_to_their_class() {
        let statuses = Statuses::default();
        for status in [0, 99, 100, 101, 199, 200, 299, 302, 404, 499, 500, 599, 600, u16::MAX] {
            statuses.count(status);
        }
        assert_eq!(statuses.get(), [4, 3, 2, 1, 2, 2]);
    }

    #[test]
    fn unknown_kinds_are_other() {
        let core = CoreCounters::new();
        core.failure(u8::MAX).inc();
        core.refusal(u8::MAX).inc();
        assert_eq!(core.failure(failure_index("other").unwrap()).get(), 1);
        assert_eq!(core.refusal(refusal_index("other").unwrap()).get(), 1);
    }

    #[test]
    fn a_request_counts_for_face_and_site() {
        let core = CoreCounters::new();
        let request = Finished {
            status: 204,
            duration: Duration::from_micros(200),
            bytes_in: 3,
            bytes_out: 5,
        };
        core.request_finished(Face::Reverse, Some(SiteLabel::OTHER), &request);
        core.request_finished(Face::Forward, None, &request);
        for face in Face::ALL {
            assert_eq!(core.face(face).requests_finished.get(), 1);
            assert_eq!(core.face(face).statuses.get(), [0, 0, 1, 0, 0, 0]);
            assert_eq!(core.face(face).duration.count(), 1);
            assert_eq!(core.face(face).bytes_in.get(), 3);
        }
        assert_eq!(core.site(SiteLabel::OTHER).bytes_out.get(), 5);
        assert_eq!(core.site(SiteLabel::OTHER).statuses.get(), [0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn cores_share_no_cache_line() {
        assert_eq!(align_of::<CoreCounters>(), 128);
        assert_eq!(size_of::<CoreCounters>() % 128, 0);
        assert_eq!((size_of::<SiteCounters>(), size_of::<UpstreamCounters>()), (64, 64));
    }
}
