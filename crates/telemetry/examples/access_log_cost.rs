//! What a line of the access log costs a core: `cargo run --release -p telemetry --example
//! access_log_cost`. Lines go to a file in the directory for temporary files; the time is the
//! CPU time of the thread that records them, as Linux keeps it.

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use config::{LogFormat, LogTarget};
use telemetry::access::{LogClock, write_line};
use telemetry::{AccessLog, AccessRecord, AccessTls, CoreLog, Face};

const LINES: u32 = 200_000;
/// Lines after which the writer may catch up; to wait for it costs next to no CPU time.
const BURST: u32 = 1000;

fn main() -> std::io::Result<()> {
    let path = std::env::temp_dir().join(format!("access-log-cost-{}", std::process::id()));
    for format in [LogFormat::Combined, LogFormat::Json] {
        let log = AccessLog::open(&LogTarget::File(path.clone()), format)?;
        let core = log.core();
        let mut rounds: Vec<u64> = (0..9).map(|_| round(&log, &core)).collect();
        rounds.sort();
        let nanos = rounds[rounds.len() / 2] / u64::from(LINES);
        println!("{format:?}: {nanos} ns a line (median), {} lines dropped", log.dropped());
    }
    for format in [LogFormat::Combined, LogFormat::Json] {
        println!("{format:?}, formatting alone: {} ns a line", formatting(format));
    }
    let bytes = std::fs::metadata(&path)?.len();
    println!("{} bytes a line", bytes / (2 * 9 * u64::from(LINES)));
    std::fs::remove_file(path)
}

/// Nanoseconds for [`LINES`] lines.
fn round(log: &AccessLog, core: &CoreLog) -> u64 {
    let record = record();
    let now = SystemTime::now();
    let start = cpu_nanos();
    for burst in 0..LINES / BURST {
        for i in 0..BURST {
            let micros = u64::from(burst * BURST + i) * 10;
            core.record(black_box(&record), now + Duration::from_micros(micros));
        }
        core.flush();
        log.close().expect("a file is fast enough");
    }
    cpu_nanos() - start
}

/// Nanoseconds for one line into a buffer that stays in the cache; the best of many rounds.
fn formatting(format: LogFormat) -> u128 {
    let (mut clock, mut out) = (LogClock::new(), Vec::with_capacity(64 * 1024));
    let round = |_| {
        let start = Instant::now();
        for i in 0..BURST {
            out.clear();
            clock.set(SystemTime::UNIX_EPOCH + Duration::from_micros(u64::from(i)));
            write_line(&mut out, format, black_box(&record()), &clock);
            black_box(&out);
        }
        start.elapsed().as_nanos() / u128::from(BURST)
    };
    (0..1000).map(round).min().unwrap_or_default()
}

/// CPU time of this thread: the first number of `schedstat`. It is brought up to date when the
/// thread sleeps, as it just did wherever this is called.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with procfs");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn record() -> AccessRecord<'static> {
    AccessRecord {
        face: Face::Reverse,
        client: [192, 0, 2, 7].into(),
        client_port: 51_000,
        user: None,
        method: b"GET",
        target: b"/assets/app.4f1d.js?v=20260102",
        host: b"www.example.com",
        version: "HTTP/1.1",
        status: 200,
        bytes_in: 0,
        bytes_out: 10_240,
        site: "www.example.com",
        route: "/assets/*",
        cache: None,
        upstream: "assets",
        server: Some(([10, 0, 0, 12], 9000).into()),
        attempts: 1,
        duration: Duration::from_micros(1234),
        connect: None,
        first_byte: Some(Duration::from_micros(1100)),
        tls: Some(AccessTls {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            sni: Some("www.example.com"),
            resumed: false,
        }),
        referer: Some(b"https://www.example.com/articles/2026/01/02"),
        user_agent: Some(
            b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
              Chrome/143.0.0.0 Safari/537.36",
        ),
        failure: None,
        detail: "",
        generation: 12,
    }
}
