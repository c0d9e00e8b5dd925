//! What a line looks like, what cannot get into it, and what becomes of it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::{LogFormat, LogTarget};
use proptest::prelude::*;
use serde_json::Value;

use super::core::{BUFFERS_PER_CORE, HAND_OVER_BYTES};
use super::*;

#[test]
fn a_full_line_of_json() {
    let line = line(LogFormat::Json, &full());
    assert_eq!(
        line,
        concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","face":"reverse","client":"192.0.2.7","#,
            r#""client_port":51000,"user":"ann","method":"GET","target":"/a?b=c","#,
            r#""host":"example.com","version":"HTTP/1.1","status":502,"bytes_in":10,"#,
            r#""bytes_out":1234,"site":"example.com","route":"/a/*","cache":"miss","upstream":"app","#,
            r#""server":"[2001:db8::1]:9000","attempts":2,"duration":0.012345,"#,
            r#""connect":0.001000,"first_byte":0.011000,"tls_version":"TLSv1.3","#,
            r#""tls_cipher":"TLS_AES_128_GCM_SHA256","sni":"example.com","tls_resumed":true,"#,
            r#""referer":"https://ref.example/","user_agent":"curl/8","#,
            r#""failure":"connection_refused","detail":"all servers","generation":3}"#,
            "\n"
        )
    );
    serde_json::from_str::<Value>(&line).unwrap();
}

#[test]
fn a_full_line_of_combined() {
    assert_eq!(
        line(LogFormat::Combined, &full()),
        concat!(
            r#"192.0.2.7 - ann [02/Jan/2026:03:04:05 +0000] "GET /a?b=c HTTP/1.1" 502 1234 "#,
            r#""https://ref.example/" "curl/8" face=reverse client_port=51000 "#,
            r#"host="example.com" bytes_in=10 site="example.com" route="/a/*" cache=miss upstream="app" "#,
            r#"server=[2001:db8::1]:9000 attempts=2 duration=0.012345 connect=0.001000 "#,
            r#"first_byte=0.011000 tls_version="TLSv1.3" tls_cipher="TLS_AES_128_GCM_SHA256" "#,
            r#"sni="example.com" tls_resumed=true failure="connection_refused" "#,
            r#"detail="all servers" generation=3"#,
            "\n"
        )
    );
}

#[test]
fn what_does_not_apply_is_left_out() {
    assert_eq!(
        line(LogFormat::Json, &bare()),
        concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","face":"forward","client":"::1","#,
            r#""client_port":1,"method":"CONNECT","target":"example.com:443","#,
            r#""version":"HTTP/1.1","status":0,"bytes_in":0,"bytes_out":0,"attempts":0,"#,
            r#""duration":0.000000,"generation":0}"#,
            "\n"
        )
    );
    assert_eq!(
        line(LogFormat::Combined, &bare()),
        concat!(
            r#"::1 - - [02/Jan/2026:03:04:05 +0000] "CONNECT example.com:443 HTTP/1.1" 000 0 "#,
            r#""-" "-" face=forward client_port=1 bytes_in=0 attempts=0 duration=0.000000 "#,
            "generation=0\n"
        )
    );
}

#[test]
fn what_a_peer_sends_stays_text() {
    let mut target = b"/\"\\\r\n\x1b[31m\x7f\x00\xff".to_vec();
    target.extend_from_slice("é\u{202e}\u{2028}\u{9b}\u{e0041}".as_bytes());
    let record = AccessRecord { target: &target, ..bare() };
    let combined = line(LogFormat::Combined, &record);
    let quoted = concat!(
        r#"/\"\\\x0d\x0a\x1b[31m\x7f\x00\xffé\xe2\x80\xae\xe2\x80\xa8"#,
        r#"\xc2\x9b\xf3\xa0\x81\x81 HTTP/1.1"#
    );
    assert!(combined.contains(quoted), "{combined}");

    let json = line(LogFormat::Json, &record);
    let string = concat!(
        r#""/\"\\\u000d\u000a\u001b[31m\u007f\u0000\\xffé\u202e\u2028"#,
        r#"\u009b\udb40\udc41""#
    );
    assert!(json.contains(string), "{json}");
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["target"], "/\"\\\r\n\x1b[31m\x7f\0\\xffé\u{202e}\u{2028}\u{9b}\u{e0041}");
}

#[test]
fn user_keeps_to_one_word() {
    for (user, written) in
        [("a b", r"a\x20b"), ("-", r"\x2d"), ("", r#""""#), ("a\"b", r#"a\"b"#), ("ü", "ü")]
    {
        let combined = line(LogFormat::Combined, &AccessRecord { user: Some(user), ..bare() });
        assert!(combined.starts_with(&format!("::1 - {written} [")), "{combined}");
    }
}

#[test]
fn no_password_of_a_url() {
    for (url, written) in [
        ("http://u:p@h/x?y=a@b", "http://h/x?y=a@b"),
        ("http://u:p@q@h:80/", "http://h:80/"),
        ("HTTPS://u@[::1]:443", "HTTPS://[::1]:443"),
        ("ftp://u:p/w@h/", "ftp://h/"),
        ("ftp://u@v:p/w@h/", "ftp://h/"),
        ("http:/u:p@h/", "h/"),
        ("u:p@h:443", "h:443"),
        ("u:p?w@h:443", "h:443"),
        ("http://h/@scope/pkg", "http://h/@scope/pkg"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
        ("/@scope/pkg?u:p@h", "/@scope/pkg?u:p@h"),
        ("*", "*"),
        ("", ""),
        ("@", ""),
    ] {
        let bytes = url.as_bytes();
        let record = AccessRecord { target: bytes, host: bytes, referer: Some(bytes), ..bare() };
        let value: Value = serde_json::from_str(&line(LogFormat::Json, &record)).unwrap();
        assert_eq!(value["target"], written, "{url}");
        assert_eq!(value["referer"], written, "{url}");
        assert_eq!(value["host"].as_str().unwrap_or(""), written, "{url}");
        let combined = line(LogFormat::Combined, &record);
        assert!(combined.contains(&format!("\"CONNECT {written} HTTP/1.1\"")), "{combined}");
    }
}

#[test]
fn long_values_are_cut_between_characters() {
    let long = "ü".repeat(20_000);
    let record = AccessRecord {
        target: long.as_bytes(),
        user_agent: Some(&[0xff; 30_000]),
        referer: Some(&[0x01; 30_000]),
        ..full()
    };
    let json = line(LogFormat::Json, &record);
    assert!(json.len() < 100 * 1024, "{}", json.len());
    let value: Value = serde_json::from_str(&json).unwrap();
    let target = value["target"].as_str().unwrap();
    assert_eq!(target, format!("{}...+{}", "ü".repeat(4096), 40_000 - 8192));
    assert!(value["user_agent"].as_str().unwrap().ends_with("...+28976"));

    let odd = format!("a{long}");
    let json = line(LogFormat::Json, &AccessRecord { target: odd.as_bytes(), ..full() });
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["target"], format!("a{}...+{}", "ü".repeat(4095), 40_001 - 8191));
}

proptest! {
    #[test]
    fn any_bytes_make_one_sound_line(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        text in ".{1,60}",
    ) {
        let record = AccessRecord {
            user: Some(&text),
            method: &bytes,
            target: &bytes,
            host: &bytes,
            referer: Some(&bytes),
            user_agent: Some(&bytes),
            site: &text,
            detail: &text,
            ..full()
        };
        let json = line(LogFormat::Json, &record);
        prop_assert_eq!(json.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(value["detail"].as_str().unwrap(), text.as_str());
        if let (Ok(agent), false) = (std::str::from_utf8(&bytes), bytes.contains(&b'\\')) {
            prop_assert_eq!(value["user_agent"].as_str().unwrap(), agent);
        }

        let combined = line(LogFormat::Combined, &record);
        let body = combined.strip_suffix('\n').unwrap();
        prop_assert!(!body.chars().any(char::is_control));
        prop_assert_eq!(unescape_quoted(body, 5), bytes, "{}", body);
    }
}

#[test]
fn lines_reach_the_file_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    std::fs::write(&path, "before\n").unwrap();
    let log = AccessLog::open(&LogTarget::File(path.clone()), LogFormat::Json).unwrap();
    let core = log.core();
    assert!(core.enabled());
    for generation in 0..5_000 {
        core.record(&AccessRecord { generation, ..full() }, now());
    }
    core.flush();
    log.close().unwrap();

    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("before"));
    for generation in 0..5_000_u64 {
        let value: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(value["generation"], generation);
    }
    assert_eq!((lines.next(), log.dropped()), (None, 0));
}

#[test]
fn reopen_follows_a_moved_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let log = AccessLog::open(&LogTarget::File(path.clone()), LogFormat::Json).unwrap();
    let core = log.core();
    core.record(&full(), now());
    core.flush();
    std::fs::rename(&path, &moved).unwrap();
    log.reopen().unwrap();
    core.record(&bare(), now());
    // Dropping it flushes it.
    drop(core);
    log.close().unwrap();
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), line(LogFormat::Json, &full()));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), line(LogFormat::Json, &bare()));

    std::fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(log.reopen().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn off_is_off() {
    let log = AccessLog::open(&LogTarget::Off, LogFormat::Json).unwrap();
    let core = log.core();
    assert!(!core.enabled());
    core.record(&full(), now());
    core.flush();
    log.reopen().unwrap();
    log.close().unwrap();
}

#[test]
fn a_stuck_writer_costs_lines_and_no_time() {
    let (gate, sink) = Gate::new();
    let written = Arc::clone(&sink.written);
    let log = AccessLog::start(Box::new(sink), None, LogFormat::Combined).unwrap();
    let core = log.core();
    let per_line = line(LogFormat::Combined, &full()).len();
    // Twice as many as all buffers can hold.
    let lines = 2 * BUFFERS_PER_CORE * HAND_OVER_BYTES / per_line;
    for _ in 0..lines {
        core.record(&full(), now());
    }
    let dropped = log.dropped() as usize;
    assert!(dropped > lines / 4 && dropped < lines, "{dropped} of {lines}");
    drop(gate);
    core.flush();
    log.close().unwrap();
    // When the gate opened, a buffer came back and the last lines went out.
    core.flush();
    log.close().unwrap();
    let written = written.lock().unwrap();
    assert_eq!(written.len(), (lines - log.dropped() as usize) * per_line);
}

#[test]
fn failed_writes_are_counted_and_leave_whole_lines() {
    let sink = Failing { room: 1000, written: Arc::default() };
    let written = Arc::clone(&sink.written);
    let log = AccessLog::start(Box::new(sink), None, LogFormat::Combined).unwrap();
    let core = log.core();
    let one = line(LogFormat::Combined, &bare());
    for _ in 0..20 {
        core.record(&bare(), now());
    }
    core.flush();
    log.close().unwrap();
    let whole = 1000 / one.len();
    assert_eq!(log.dropped() as usize, 20 - whole);
    core.record(&bare(), now());
    core.flush();
    log.close().unwrap();
    assert_eq!(log.dropped() as usize, 20 - whole);

    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    assert_eq!(lines.len(), whole + 2);
    assert!(lines[..whole].iter().all(|line| *line == one));
    assert!(one.starts_with(lines[whole].trim_end()) && lines[whole].len() < one.len());
    assert_eq!(lines[whole + 1], one);
}

#[test]
fn handles_cross_threads() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<CoreLog>();
    is_send::<AccessLog>();
    is_sync::<AccessLog>();
}

/// Takes nothing until its other end is dropped.
struct Gate {
    closed: Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Gate {
    fn new() -> (SyncSender<()>, Self) {
        let (open, closed) = sync_channel(0);
        (open, Self { closed, written: Arc::default() })
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.closed.recv();
        self.written.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk that is full once, after `room` bytes.
struct Failing {
    room: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            self.room = usize::MAX;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let n = bytes.len().min(self.room);
        if self.room != usize::MAX {
            self.room -= n;
        }
        self.written.lock().unwrap().write(&bytes[..n])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes that the `n`th quote of a combined line opens, counted from 1.
fn unescape_quoted(line: &str, n: usize) -> Vec<u8> {
    let mut bytes = line.bytes();
    let mut out = Vec::new();
    let mut quotes = 0;
    while let Some(byte) = bytes.next() {
        let plain = match byte {
            b'"' => {
                quotes += 1;
                continue;
            }
            b'\\' => match bytes.next().unwrap() {
                b'x' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
            other => other,
        };
        if quotes == n {
            out.push(plain);
        }
    }
    out
}

fn line(format: LogFormat, record: &AccessRecord<'_>) -> String {
    let mut clock = LogClock::new();
    clock.set(now());
    let mut out = Vec::new();
    write_line(&mut out, format, record, &clock);
    String::from_utf8(out).unwrap()
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_767_323_045_678)
}

fn full() -> AccessRecord<'static> {
    AccessRecord {
        face: Face::Reverse,
        client: "::ffff:192.0.2.7".parse().unwrap(),
        client_port: 51_000,
        user: Some("ann"),
        method: b"GET",
        target: b"/a?b=c",
        host: b"example.com",
        version: "HTTP/1.1",
        status: 502,
        bytes_in: 10,
        bytes_out: 1234,
        site: "example.com",
        route: "/a/*",
        cache: Some(CacheResult::Miss),
        upstream: "app",
        server: Some("[2001:db8::1]:9000".parse().unwrap()),
        attempts: 2,
        duration: Duration::from_micros(12_345),
        connect: Some(Duration::from_millis(1)),
        first_byte: Some(Duration::from_millis(11)),
        tls: Some(AccessTls {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            sni: Some("example.com"),
            resumed: true,
        }),
        referer: Some(b"https://ref.example/"),
        user_agent: Some(b"curl/8"),
        failure: Some("connection_refused"),
        detail: "all servers",
        generation: 3,
    }
}

fn bare() -> AccessRecord<'static> {
    AccessRecord {
        face: Face::Forward,
        client: "::1".parse().unwrap(),
        client_port: 1,
        user: None,
        method: b"CONNECT",
        target: b"example.com:443",
        host: b"",
        status: 0,
        bytes_in: 0,
        bytes_out: 0,
        site: "",
        route: "",
        cache: None,
        upstream: "",
        server: None,
        attempts: 0,
        duration: Duration::ZERO,
        connect: None,
        first_byte: None,
        tls: None,
        referer: None,
        user_agent: None,
        failure: None,
        detail: "",
        generation: 0,
        ..full()
    }
}
