//! Families of the cache and of content codings.

use super::exposition::{Exposition, Kind};
use super::{Metrics, render};
use crate::counters::{CacheResult, CoreCounters};

/// What a cache has, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cache {
    /// What is in memory.
    pub memory: CacheTier,
    /// What is on disk, where there is such a tier.
    pub disk: Option<CacheTier>,
    /// Bytes that are being fetched for several requests at once.
    pub in_flight_bytes: u64,
    /// Answers that purges removed or made stale.
    pub purged: u64,
    /// Reads and writes of the disk that failed.
    pub disk_errors: u64,
    /// Answers that were not written because the disk was too slow.
    pub disk_skipped: u64,
}

/// What one tier has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheTier {
    /// Answers.
    pub objects: u64,
    /// Bytes that they cost.
    pub bytes: u64,
    /// Bytes that they may cost.
    pub limit: u64,
    /// Answers that had to make room for others.
    pub evicted: u64,
}

/// What was counted, on all cores; see [`CoreCounters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounts {
    requests: [u64; CacheResult::ALL.len()],
    /// Bytes of content to clients that no server had to send for them.
    pub bytes: u64,
    /// Bytes before they were compressed.
    pub compress_read: u64,
    /// What became of them.
    pub compress_written: u64,
    /// Bytes that clients did not have to be sent.
    pub compress_saved: u64,
}

impl CacheCounts {
    pub(super) fn of(metrics: &Metrics) -> Self {
        let sum = |counter: render::Pick<CoreCounters>| metrics.sum(|core| counter(core).get());
        Self {
            requests: CacheResult::ALL.map(|result| metrics.sum(|core| core.cache(result).get())),
            bytes: sum(|core| &core.cache_bytes),
            compress_read: sum(|core| &core.compress_read),
            compress_written: sum(|core| &core.compress_written),
            compress_saved: sum(|core| &core.compress_saved),
        }
    }

    /// Requests of which this came.
    #[must_use]
    pub fn requests(&self, result: CacheResult) -> u64 {
        self.requests[result as usize]
    }

    /// The part of those requests for which the cache looked that no server had to answer in
    /// full, 0 to 1; `None`: there were none.
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        let looked = self.requests.iter().sum::<u64>() - self.requests(CacheResult::Bypass);
        let spared = looked - self.requests(CacheResult::Miss);
        (looked > 0).then(|| spared as f64 / looked as f64)
    }
}

/// Which number of a tier.
type OfTier = fn(CacheTier) -> u64;

/// What is counted on the cores.
pub(super) fn render_counted(out: &mut Exposition, metrics: &Metrics) {
    out.family(
        "bifrons_cache_requests_total",
        Kind::Counter,
        "Requests that the cache was asked about, by what came of it; each counts once.",
    );
    for result in CacheResult::ALL {
        let count = metrics.sum(|core| core.cache(result).get());
        out.sample(&[("result", result.as_str())], count);
    }
    let totals: [(_, _, render::Pick<CoreCounters>); 6] = [
        ("bifrons_cache_stored_total", "Answers that were stored.", |core| &core.cache_stored),
        (
            "bifrons_cache_refreshes_total",
            "Requests of our own for answers that had become stale.",
            |core| &core.cache_refreshes,
        ),
        (
            "bifrons_cache_sent_bytes_total",
            "Bytes of content to clients that no server had to send for them.",
            |core| &core.cache_bytes,
        ),
        (
            "bifrons_compress_read_bytes_total",
            "Bytes of content before they were compressed.",
            |core| &core.compress_read,
        ),
        (
            "bifrons_compress_written_bytes_total",
            "What became of these bytes when they were compressed.",
            |core| &core.compress_written,
        ),
        (
            "bifrons_compress_saved_bytes_total",
            "Bytes that clients did not have to be sent since answers were compressed, those that \
             were kept in that form included.",
            |core| &core.compress_saved,
        ),
    ];
    for (family, help, counter) in totals {
        render::total(out, metrics, family, help, counter);
    }
}

/// What a cache has.
pub(super) fn render(out: &mut Exposition, cache: &Cache) {
    let tiers = || [("memory", Some(cache.memory)), ("disk", cache.disk)];
    let families: [(_, _, _, OfTier); 4] = [
        ("bifrons_cache_objects", Kind::Gauge, "Answers that are kept.", |tier| tier.objects),
        ("bifrons_cache_bytes", Kind::Gauge, "Bytes that they cost.", |tier| tier.bytes),
        ("bifrons_cache_limit_bytes", Kind::Gauge, "Bytes that they may cost.", |tier| tier.limit),
        (
            "bifrons_cache_evicted_total",
            Kind::Counter,
            "Answers that had to make room for others.",
            |tier| tier.evicted,
        ),
    ];
    for (family, kind, help, number) in families {
        out.family(family, kind, help);
        for (name, tier) in tiers() {
            if let Some(tier) = tier {
                out.sample(&[("tier", name)], number(tier));
            }
        }
    }
    out.family(
        "bifrons_cache_in_flight_bytes",
        Kind::Gauge,
        "Bytes that are being fetched, and kept for those who wait.",
    )
    .sample(&[], cache.in_flight_bytes);
    for (family, help, value) in [
        ("bifrons_cache_purged_total", "Answers that purges removed or made stale.", cache.purged),
        (
            "bifrons_cache_disk_errors_total",
            "Reads and writes of the disk that failed.",
            cache.disk_errors,
        ),
        (
            "bifrons_cache_disk_skipped_total",
            "Answers that were not written because the disk was too slow.",
            cache.disk_skipped,
        ),
    ] {
        out.family(family, Kind::Counter, help).sample(&[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_for_is_in_no_ratio() {
        let counted = |results: &[CacheResult]| {
            let mut counts = CacheCounts::default();
            results.iter().for_each(|result| counts.requests[*result as usize] += 1);
            counts
        };
        use CacheResult::{Bypass, Hit, Miss, Revalidated};
        let counts = counted(&[Hit, Hit, Revalidated, Miss, Bypass, Bypass]);
        assert_eq!(counts.hit_ratio(), Some(0.75));
        assert_eq!(counted(&[Bypass]).hit_ratio(), None);
    }

    #[test]
    fn tiers_have_a_label_each() {
        let memory = CacheTier { objects: 3, bytes: 4000, limit: 5000, evicted: 6 };
        let disk = CacheTier { objects: 7, bytes: 8000, limit: 9000, evicted: 10 };
        let mut cache = Cache { memory, purged: 11, disk_errors: 12, ..Cache::default() };
        let render = |cache: &Cache| {
            let mut out = Exposition::new();
            render(&mut out, cache);
            out.finish()
        };
        let alone = render(&cache);
        assert!(!alone.contains("tier=\"disk\""), "{alone}");
        cache.disk = Some(disk);
        let text = render(&cache);
        for line in [
            r#"bifrons_cache_objects{tier="memory"} 3"#,
            r#"bifrons_cache_objects{tier="disk"} 7"#,
            r#"bifrons_cache_bytes{tier="disk"} 8000"#,
            r#"bifrons_cache_limit_bytes{tier="memory"} 5000"#,
            r#"bifrons_cache_evicted_total{tier="disk"} 10"#,
            "bifrons_cache_in_flight_bytes 0",
            "bifrons_cache_purged_total 11",
            "bifrons_cache_disk_errors_total 12",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
