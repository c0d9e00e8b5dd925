//! All cores' counters together, and their text for Prometheus.

mod cache;
mod exposition;
mod gateway;
mod process;
mod render;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

pub use cache::{Cache, CacheCounts, CacheTier};
pub use gateway::{Gateway, Usage};

use crate::counters::{CoreCounters, LABELS};
use crate::{AccessLog, Face};

/// The registry behind `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    /// One for each core, in their order.
    pub cores: Vec<Arc<CoreCounters>>,
    build: Build,
    /// When the process was started.
    started: SystemTime,
    generation: AtomicU64,
    sites: Names,
    upstreams: Names,
    log_lines_dropped: Arc<AtomicU64>,
}

/// What was built.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// The version, `0.1.0`.
    pub version: &'static str,
    /// The commit, where that is known.
    pub commit: Option<&'static str>,
}

impl Metrics {
    /// Counters for so many cores.
    pub fn new(cores: usize, log: &AccessLog, build: Build, started: SystemTime) -> Self {
        Self {
            cores: (0..cores).map(|_| Arc::new(CoreCounters::new())).collect(),
            build,
            started,
            generation: AtomicU64::new(0),
            sites: Names::default(),
            upstreams: Names::default(),
            log_lines_dropped: log.dropped_counter(),
        }
    }

    /// The counters that sites of this name share, in all generations of the configuration.
    /// Names beyond the first [`LABELS`] that the process has seen share one.
    pub fn site(&self, name: &str) -> SiteLabel {
        SiteLabel(self.sites.index(name))
    }

    /// Like [`site`](Self::site), for upstreams.
    pub fn upstream(&self, name: &str) -> UpstreamLabel {
        UpstreamLabel(self.upstreams.index(name))
    }

    /// Tells which generation of the configuration runs.
    pub fn set_generation(&self, generation: u64) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// Connections of clients that are open.
    pub fn open_connections(&self, face: Face) -> u64 {
        self.difference(|core| {
            let face = core.face(face);
            (face.connections_accepted.get(), face.connections_closed.get())
        })
    }

    /// Requests that are being served.
    pub fn requests_in_flight(&self, face: Face) -> u64 {
        self.difference(|core| {
            let face = core.face(face);
            (face.requests_started.get(), face.requests_finished.get())
        })
    }

    /// Tunnels that are open.
    pub fn open_tunnels(&self) -> u64 {
        self.difference(|core| (core.tunnels_opened.get(), core.tunnels_closed.get()))
    }

    /// What the cache and codings did, on all cores.
    pub fn cache_counts(&self) -> CacheCounts {
        CacheCounts::of(self)
    }

    /// The text exposition format 0.0.4 of Prometheus
    /// (`Content-Type: text/plain; version=0.0.4`).
    pub fn render(&self) -> String {
        render::render(self)
    }

    /// The same, and behind it what others count.
    pub fn render_with(&self, gateway: &Gateway, cache: &Cache) -> String {
        let mut out = render::render(self);
        let mut more = exposition::Exposition::new();
        gateway::render(&mut more, gateway);
        cache::render(&mut more, cache);
        out.push_str(&more.finish());
        out
    }

    fn sum(&self, value: impl Fn(&CoreCounters) -> u64) -> u64 {
        self.cores.iter().map(|core| value(core)).fold(0, u64::wrapping_add)
    }

    /// What began and did not end. The two are not read at one moment, so that the end may be
    /// seen without the beginning.
    fn difference(&self, value: impl Fn(&CoreCounters) -> (u64, u64)) -> u64 {
        self.sum(|core| {
            let (began, ended) = value(core);
            began.saturating_sub(ended)
        })
    }
}

/// The counters of a site, see [`Metrics::site`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteLabel(u16);

impl SiteLabel {
    /// Shared by all that have none of their own.
    pub const OTHER: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The counters of an upstream, see [`Metrics::upstream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLabel(u16);

impl UpstreamLabel {
    /// Shared by all that have none of their own.
    pub const OTHER: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The label of the counters that are shared by all without their own.
const OTHER: &str = "other";

/// Names in the order they came; the first has index 1, 0 is for those that came too late.
/// Locked only while a configuration is built and while metrics are rendered.
#[derive(Debug, Default)]
struct Names(Mutex<Vec<String>>);

impl Names {
    fn index(&self, name: &str) -> u16 {
        if name == OTHER {
            return 0;
        }
        // A panic between two pushes leaves whole names.
        let mut names = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let known = names.iter().position(|known| known == name);
        let index = known.unwrap_or(names.len());
        if index >= LABELS {
            return 0;
        }
        if known.is_none() {
            names.push(name.to_owned());
        }
        u16::try_from(index + 1).unwrap_or(0)
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

#[cfg(test)]
mod tests;
