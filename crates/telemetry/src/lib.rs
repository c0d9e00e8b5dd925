//! What the proxy tells about itself: the access log, the counters behind `/metrics`, and the
//! log of the process.
//!
//! This crate is handed values and knows nothing of requests, routes or connections. What is
//! on the path of a request ([`CoreLog::record`], [`CoreCounters`]) takes no lock, waits for
//! nothing and, once warm, allocates nothing.

#![forbid(unsafe_code)]

pub mod access;
pub mod counters;
pub mod metrics;
pub mod process_log;

pub use access::{AccessLog, AccessRecord, AccessTls, CoreLog};
pub use counters::{
    CacheResult, CoreCounters, FAILURE_NAMES, REFUSAL_NAMES, failure_index, refusal_index,
};
pub use metrics::{
    Build, Cache, CacheCounts, CacheTier, Gateway, Metrics, SiteLabel, UpstreamLabel, Usage,
};
pub use process_log::init_tracing;

/// Which of the two proxies a connection or a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// In front of origins.
    Reverse,
    /// In front of clients.
    Forward,
}

impl Face {
    /// Both, in the order of every per-face array.
    pub const ALL: [Self; 2] = [Self::Reverse, Self::Forward];

    /// The word for it in logs and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reverse => "reverse",
            Self::Forward => "forward",
        }
    }
}
