//! The text that a scrape gets, read by a strict parser of its own and, where it is
//! installed, by Prometheus' library for Python.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use config::{LogFormat, LogTarget};

use super::*;
use crate::counters::{CacheResult, Finished};

#[test]
fn cores_add_up() {
    let metrics = metrics();
    let site = metrics.site("example.com");
    for (core, requests) in metrics.cores.iter().zip([3, 4]) {
        for _ in 0..requests {
            core.face(Face::Reverse).connections_accepted.inc();
            core.face(Face::Reverse).requests_started.inc();
            core.request_finished(Face::Reverse, Some(site), &ok());
        }
        core.face(Face::Reverse).connections_closed.inc();
        core.face(Face::Reverse).requests_started.inc();
        core.failure(crate::failure_index("dns_error").unwrap()).inc();
        core.refusal(crate::refusal_index("denied_by_rule").unwrap()).inc();
        core.tunnels_opened.add(2);
        core.cache(CacheResult::Hit).inc();
        core.cache_bytes.add(1000);
        core.upstream(metrics.upstream("app")).requests.inc();
    }
    metrics.set_generation(9);

    let samples = parse(&metrics.render());
    for (series, value) in [
        (r#"bifrons_connections_accepted_total{face="reverse"}"#, "7"),
        (r#"bifrons_connections_accepted_total{face="forward"}"#, "0"),
        (r#"bifrons_connections_open{face="reverse"}"#, "5"),
        (r#"bifrons_requests_in_flight{face="reverse"}"#, "2"),
        (r#"bifrons_requests_total{face="reverse",status="2xx"}"#, "7"),
        (r#"bifrons_requests_total{face="reverse",status="5xx"}"#, "0"),
        (r#"bifrons_request_duration_seconds_bucket{face="reverse",le="0.000128"}"#, "0"),
        (r#"bifrons_request_duration_seconds_bucket{face="reverse",le="0.001024"}"#, "7"),
        (r#"bifrons_request_duration_seconds_bucket{face="reverse",le="+Inf"}"#, "7"),
        (r#"bifrons_request_duration_seconds_sum{face="reverse"}"#, "0.007000"),
        (r#"bifrons_failures_total{kind="dns_error"}"#, "2"),
        (r#"bifrons_refusals_total{reason="denied_by_rule"}"#, "2"),
        (r#"bifrons_site_requests_total{site="example.com",status="2xx"}"#, "7"),
        (r#"bifrons_site_requests_total{site="other",status="2xx"}"#, "0"),
        (r#"bifrons_site_sent_bytes_total{site="example.com"}"#, "700"),
        (r#"bifrons_upstream_requests_total{upstream="app"}"#, "2"),
        ("bifrons_tunnels_open", "4"),
        (r#"bifrons_cache_requests_total{result="hit"}"#, "2"),
        (r#"bifrons_cache_requests_total{result="miss"}"#, "0"),
        ("bifrons_cache_sent_bytes_total", "2000"),
        ("bifrons_config_generation", "9"),
        ("bifrons_cores", "2"),
        ("bifrons_access_log_dropped_lines_total", "0"),
        ("process_start_time_seconds", "1767323045.000000"),
        (r#"bifrons_build_info{version="1.2.3",commit="abc"}"#, "1"),
    ] {
        assert_eq!(samples.get(series).map(String::as_str), Some(value), "{series}");
    }
    assert_eq!(metrics.open_connections(Face::Reverse), 5);
    assert_eq!((metrics.requests_in_flight(Face::Forward), metrics.open_tunnels()), (0, 4));
}

#[test]
fn names_are_bounded_and_outlive_a_reload() {
    let metrics = metrics();
    let first = metrics.site("a");
    assert_eq!(metrics.site("a"), first);
    assert_ne!(metrics.site("b"), first);
    for i in 2..LABELS {
        assert_ne!(metrics.site(&format!("site-{i}")), SiteLabel::OTHER);
    }
    assert_eq!(metrics.site("one too many"), SiteLabel::OTHER);
    assert_eq!(metrics.site("other"), SiteLabel::OTHER);
    assert_eq!(metrics.site("a"), first);
    // The last label has counters too.
    let last = metrics.site(&format!("site-{}", LABELS - 1));
    metrics.cores[0].site(last).bytes_in.inc();
    assert_ne!(metrics.upstream("a"), UpstreamLabel::OTHER);
}

#[test]
fn labels_are_escaped() {
    let metrics = metrics();
    metrics.site("a\"b\\c\nd");
    let samples = parse(&metrics.render());
    assert!(samples.contains_key(r#"bifrons_site_sent_bytes_total{site="a\"b\\c\nd"}"#));
}

#[test]
fn an_end_without_a_beginning_is_not_a_huge_number() {
    let metrics = metrics();
    metrics.cores[1].face(Face::Forward).connections_closed.inc();
    assert_eq!(metrics.open_connections(Face::Forward), 0);
}

#[test]
fn the_library_for_python_reads_it() {
    let has_library = Command::new("python3")
        .args(["-c", "import prometheus_client"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_library {
        eprintln!("skipped: python3 with prometheus_client is not installed");
        return;
    }
    let metrics = metrics();
    metrics.site("a\"b\\c\nd");
    metrics.cores[0].request_finished(Face::Reverse, None, &ok());
    let text = metrics.render();
    let mut python = Command::new("python3")
        .args(["-c", READ_WITH_PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let samples: usize = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(samples, parse(&text).len());
}

const READ_WITH_PYTHON: &str = r#"
import sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
assert all(f.documentation and f.type != "unknown" for f in families), families
assert any(s.labels.get("site") == 'a"b\\c\nd' for f in families for s in f.samples)
print(sum(len(f.samples) for f in families))
"#;

/// Series and values. Panics at whatever Prometheus would refuse or promtool would complain
/// about.
fn parse(text: &str) -> BTreeMap<String, String> {
    assert!(text.ends_with('\n'));
    let mut samples = BTreeMap::new();
    let mut families = HashSet::new();
    let (mut family, mut kind, mut help) = ("", "", "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, prose) = rest.split_once(' ').unwrap();
            assert!(families.insert(name), "{name} comes twice");
            assert!(prose.ends_with('.') && !prose.contains('\\'), "{prose}");
            help = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            (family, kind) = rest.split_once(' ').unwrap();
            assert_eq!(family, help);
            assert!(["counter", "gauge", "histogram"].contains(&kind));
            assert_eq!(family.ends_with("_total"), kind == "counter", "{family}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = &series[..series.find('{').unwrap_or(series.len())];
            let suffix = name.strip_prefix(family).unwrap();
            let allowed: &[&str] = match kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            check_labels(&series[name.len()..]);
            assert!(value.parse::<f64>().unwrap() >= 0.0);
            assert!(samples.insert(series.to_owned(), value.to_owned()).is_none(), "{series}");
        }
    }
    check_histogram(&samples);
    samples
}

fn check_labels(labels: &str) {
    let mut rest = labels;
    let mut opening = '{';
    while let Some(label) = rest.strip_prefix(opening) {
        let (name, value) = label.split_once("=\"").unwrap();
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()), "{labels}");
        let mut bytes = value.bytes().enumerate();
        let end = loop {
            match bytes.next().unwrap() {
                (end, b'"') => break end,
                (_, b'\\') => assert!(b"\\\"n".contains(&bytes.next().unwrap().1), "{labels}"),
                _ => {}
            }
        };
        rest = &value[end + 1..];
        opening = ',';
    }
    assert_eq!(rest, if labels.is_empty() { "" } else { "}" });
}

/// Buckets never go down, and the last one is the count.
fn check_histogram(samples: &BTreeMap<String, String>) {
    let name = "bifrons_request_duration_seconds";
    for face in Face::ALL {
        let prefix = format!("{name}_bucket{{face=\"{}\",le=\"", face.name());
        let mut buckets: Vec<(f64, u64)> = samples
            .iter()
            .filter_map(|(series, value)| {
                let bound = series.strip_prefix(&prefix)?.strip_suffix("\"}")?;
                Some((bound.replace("+Inf", "inf").parse().ok()?, value.parse().ok()?))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert_eq!(buckets.len(), crate::counters::BUCKETS + 1);
        assert!(buckets.is_sorted_by_key(|bucket| bucket.1));
        let count = &samples[&format!("{name}_count{{face=\"{}\"}}", face.name())];
        assert_eq!(buckets.last().unwrap().1, count.parse::<u64>().unwrap());
    }
}

fn metrics() -> Metrics {
    let log = AccessLog::open(&LogTarget::Off, LogFormat::Json).unwrap();
    let build = Build { version: "1.2.3", commit: Some("abc") };
    Metrics::new(2, &log, build, UNIX_EPOCH + Duration::from_secs(1_767_323_045))
}

fn ok() -> Finished {
    Finished { status: 200, duration: Duration::from_millis(1), bytes_in: 10, bytes_out: 100 }
}
