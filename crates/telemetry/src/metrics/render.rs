//! The families of metrics: their names, what they mean, and where they come from.

use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use super::exposition::{Exposition, Kind, Labels};
use super::{Metrics, OTHER, SiteLabel, UpstreamLabel, cache, process};
use crate::Face;
use crate::counters::{
    BUCKETS, CLASSES, CoreCounters, Counter, FAILURE_NAMES, FaceCounters, REFUSAL_NAMES,
    SiteCounters, Statuses, UpstreamCounters, bucket_bound,
};

/// Which counter of a set.
pub(super) type Pick<T> = fn(&T) -> &Counter;

pub(super) fn render(metrics: &Metrics) -> String {
    let mut out = Exposition::new();
    process_families(&mut out, metrics);
    client_families(&mut out, metrics);
    duration_family(&mut out, metrics);
    server_families(&mut out, metrics);
    failure_families(&mut out, metrics);
    cache::render_counted(&mut out, metrics);
    site_families(&mut out, metrics);
    upstream_families(&mut out, metrics);
    out.finish()
}

fn process_families(out: &mut Exposition, metrics: &Metrics) {
    let build: Labels<'_> =
        &[("version", metrics.build.version), ("commit", metrics.build.commit.unwrap_or_default())];
    out.family("bifrons_build_info", Kind::Gauge, "What was built; the value is always 1.")
        .sample(build, 1);
    out.family("bifrons_config_generation", Kind::Gauge, "Generation of the configuration.")
        .sample(&[], metrics.generation.load(Ordering::Relaxed));
    out.family("bifrons_cores", Kind::Gauge, "Worker cores.")
        .sample(&[], metrics.cores.len() as u64);
    let started = metrics.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    out.family("process_start_time_seconds", Kind::Gauge, "Start of the process, Unix time.")
        .seconds(&[], u64::try_from(started.as_micros()).unwrap_or(u64::MAX));
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory.", process::resident_bytes()),
        ("process_open_fds", "Open file descriptors.", process::open_fds()),
        ("process_max_fds", "File descriptors that may be open.", process::max_fds()),
    ] {
        if let Some(value) = value {
            out.family(name, Kind::Gauge, help).sample(&[], value);
        }
    }
    out.family(
        "bifrons_access_log_dropped_lines_total",
        Kind::Counter,
        "Lines of the access log lost because it was not written fast enough, or at all.",
    )
    .sample(&[], metrics.log_lines_dropped.load(Ordering::Relaxed));
}

fn client_families(out: &mut Exposition, metrics: &Metrics) {
    by_face(
        out,
        metrics,
        "bifrons_connections_accepted_total",
        "Connections accepted from clients.",
        |face| &face.connections_accepted,
    );
    by_face(
        out,
        metrics,
        "bifrons_connections_closed_total",
        "Connections of clients that were closed.",
        |face| &face.connections_closed,
    );
    out.family("bifrons_connections_open", Kind::Gauge, "Connections of clients now open.");
    for face in Face::ALL {
        out.sample(&[("face", face.name())], metrics.open_connections(face));
    }
    let tls: [(_, Pick<CoreCounters>); 3] = [
        ("full", |core| &core.tls_full),
        ("resumed", |core| &core.tls_resumed),
        ("failed", |core| &core.tls_failed),
    ];
    out.family("bifrons_tls_handshakes_total", Kind::Counter, "TLS handshakes with clients.");
    for (result, counter) in tls {
        out.sample(&[("result", result)], metrics.sum(|core| counter(core).get()));
    }
    out.family(
        "bifrons_requests_total",
        Kind::Counter,
        "Requests by class of the status sent; none: the client got no answer.",
    );
    for face in Face::ALL {
        let statuses = sum_statuses(metrics, |core| &core.face(face).statuses);
        for (class, count) in CLASSES.into_iter().zip(statuses) {
            out.sample(&[("face", face.name()), ("status", class)], count);
        }
    }
    out.family("bifrons_requests_in_flight", Kind::Gauge, "Requests being served now.");
    for face in Face::ALL {
        out.sample(&[("face", face.name())], metrics.requests_in_flight(face));
    }
    by_face(
        out,
        metrics,
        "bifrons_received_bytes_total",
        "Bytes of content from clients, without tunnels.",
        |face| &face.bytes_in,
    );
    by_face(
        out,
        metrics,
        "bifrons_sent_bytes_total",
        "Bytes of content to clients, without tunnels.",
        |face| &face.bytes_out,
    );
}

fn duration_family(out: &mut Exposition, metrics: &Metrics) {
    out.family(
        "bifrons_request_duration_seconds",
        Kind::Histogram,
        "From the first byte of a request to the last of its answer.",
    );
    for face in Face::ALL {
        let mut buckets = [0; BUCKETS];
        let mut beyond = 0;
        for core in &metrics.cores {
            let (of_core, beyond_of_core) = core.face(face).duration.get();
            buckets.iter_mut().zip(of_core).for_each(|(sum, count)| *sum += count);
            beyond += beyond_of_core;
        }
        let buckets = buckets.into_iter().enumerate();
        out.histogram(
            &[("face", face.name())],
            buckets.map(|(i, count)| (bucket_bound(i), count)),
            beyond,
            metrics.sum(|core| core.face(face).duration.sum_micros()),
        );
    }
}

fn server_families(out: &mut Exposition, metrics: &Metrics) {
    total(
        out,
        metrics,
        "bifrons_upstream_connections_opened_total",
        "Connections to servers made.",
        |core| &core.upstream_opened,
    );
    total(
        out,
        metrics,
        "bifrons_upstream_connections_reused_total",
        "Requests sent on a connection that was there already.",
        |core| &core.upstream_reused,
    );
    total(
        out,
        metrics,
        "bifrons_upstream_connections_failed_total",
        "Connections to servers that could not be made.",
        |core| &core.upstream_failed,
    );
    total(out, metrics, "bifrons_retries_total", "Attempts after the first.", |core| &core.retries);
    total(out, metrics, "bifrons_tunnels_opened_total", "Tunnels opened.", |core| {
        &core.tunnels_opened
    });
    total(out, metrics, "bifrons_tunnels_closed_total", "Tunnels closed.", |core| {
        &core.tunnels_closed
    });
    out.family("bifrons_tunnels_open", Kind::Gauge, "Tunnels now open.")
        .sample(&[], metrics.open_tunnels());
    total(
        out,
        metrics,
        "bifrons_tunnel_received_bytes_total",
        "Bytes through tunnels, from clients.",
        |core| &core.tunnel_bytes_in,
    );
    total(
        out,
        metrics,
        "bifrons_tunnel_sent_bytes_total",
        "Bytes through tunnels, to clients.",
        |core| &core.tunnel_bytes_out,
    );
}

fn failure_families(out: &mut Exposition, metrics: &Metrics) {
    out.family(
        "bifrons_failures_total",
        Kind::Counter,
        "Requests, tunnels and handshakes that failed, by kind (RFC 9209 section 2.3 and ours).",
    );
    for (index, kind) in (0..).zip(FAILURE_NAMES) {
        out.sample(&[("kind", kind)], metrics.sum(|core| core.failure(index).get()));
    }
    out.family("bifrons_refusals_total", Kind::Counter, "What policy refused, by reason.");
    for (index, reason) in (0..).zip(REFUSAL_NAMES) {
        out.sample(&[("reason", reason)], metrics.sum(|core| core.refusal(index).get()));
    }
}

fn site_families(out: &mut Exposition, metrics: &Metrics) {
    let sites: Vec<_> = named(&metrics.sites.all())
        .map(|(index, name)| (SiteLabel(index), name.to_owned()))
        .collect();
    out.family("bifrons_site_requests_total", Kind::Counter, "Requests of a site by status.");
    for (site, name) in &sites {
        let statuses = sum_statuses(metrics, |core| &core.site(*site).statuses);
        for (class, count) in CLASSES.into_iter().zip(statuses) {
            out.sample(&[("site", name), ("status", class)], count);
        }
    }
    let bytes: [(_, _, Pick<SiteCounters>); 2] = [
        ("bifrons_site_received_bytes_total", "Bytes of content from clients of a site.", |site| {
            &site.bytes_in
        }),
        ("bifrons_site_sent_bytes_total", "Bytes of content to clients of a site.", |site| {
            &site.bytes_out
        }),
    ];
    for (family, help, counter) in bytes {
        out.family(family, Kind::Counter, help);
        for (site, name) in &sites {
            let sum = metrics.sum(|core| counter(core.site(*site)).get());
            out.sample(&[("site", name)], sum);
        }
    }
}

fn upstream_families(out: &mut Exposition, metrics: &Metrics) {
    let names = metrics.upstreams.all();
    let families: [(_, _, Pick<UpstreamCounters>); 3] = [
        ("bifrons_upstream_requests_total", "Attempts sent to an upstream.", |up| &up.requests),
        ("bifrons_upstream_failures_total", "Attempts at an upstream that failed.", |up| {
            &up.failures
        }),
        ("bifrons_upstream_connects_total", "Connections made to an upstream.", |up| &up.connects),
    ];
    for (family, help, counter) in families {
        out.family(family, Kind::Counter, help);
        for (index, name) in named(&names) {
            let sum = metrics.sum(|core| counter(core.upstream(UpstreamLabel(index))).get());
            out.sample(&[("upstream", name)], sum);
        }
    }
}

pub(super) fn total(
    out: &mut Exposition,
    metrics: &Metrics,
    name: &'static str,
    help: &str,
    counter: Pick<CoreCounters>,
) {
    out.family(name, Kind::Counter, help).sample(&[], metrics.sum(|core| counter(core).get()));
}

fn by_face(
    out: &mut Exposition,
    metrics: &Metrics,
    name: &'static str,
    help: &str,
    counter: Pick<FaceCounters>,
) {
    out.family(name, Kind::Counter, help);
    for face in Face::ALL {
        let sum = metrics.sum(|core| counter(core.face(face)).get());
        out.sample(&[("face", face.name())], sum);
    }
}

fn sum_statuses(
    metrics: &Metrics,
    statuses: impl Fn(&CoreCounters) -> &Statuses,
) -> [u64; CLASSES.len()] {
    metrics.cores.iter().fold([0; CLASSES.len()], |mut sums, core| {
        sums.iter_mut().zip(statuses(core).get()).for_each(|(sum, count)| *sum += count);
        sums
    })
}

/// Indices and labels, the shared one last.
fn named(names: &[String]) -> impl Iterator<Item = (u16, &str)> {
    (1..).zip(names.iter().map(String::as_str)).chain([(0, OTHER)])
}
