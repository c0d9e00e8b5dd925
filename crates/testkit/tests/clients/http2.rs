//! HTTP/2 from clients that speak it to everybody: curl, nghttp and h2load.

use std::path::Path;

use testkit::Scratch;

use crate::curl::curl;
use crate::front::Front;
use crate::program::{Run, Said};
use crate::program_or_skip;
use crate::web::{Pattern, Request, Response, Web};

const TAG: &str = "\"v1\"";

/// What a client need not be sent again.
fn tagged(request: &Request, _: Vec<u8>) -> Response {
    let known = request.field("if-none-match") == Some(TAG);
    let mut response = Response::ok("text/plain", if known { "" } else { "tagged\n" });
    response.status = if known { 304 } else { 200 };
    response.fields.push(("ETag".to_owned(), TAG.to_owned()));
    response
}

fn before(origin: &Web) -> Front {
    Front::new(&format!("to \"{}\"", origin.url("")))
}

/// curl's own ways to HTTP/2: prior knowledge, and ALPN.
fn ways(front: &Front) -> [(String, Vec<String>); 2] {
    let ca = front.ca.to_str().expect("UTF-8").to_owned();
    [
        (front.http(""), vec!["--http2-prior-knowledge".to_owned()]),
        (front.https(""), vec!["--http2".to_owned(), "--cacert".to_owned(), ca]),
    ]
}

#[test]
fn curl_gets_and_asks() {
    let program = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let origin = Web::with("127.0.0.1:0", None, tagged);
    let front = before(&origin);
    for (at, options) in ways(&front) {
        let run = || curl(&program).args(&options);
        let said = run().args(["-w", "%{http_version}", &format!("{at}/hello")]).finish().ok();
        assert_eq!(said, "hello from the origin\n2", "{at}");
        let (scheme, authority) = at.split_once("://").expect("a URL");
        let seen = run().args(["-b", "a=1; b=2", &format!("{at}/seen?a=%2F%20b")]).finish().ok();
        assert!(seen.starts_with("GET /seen?a=%2F%20b HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains(&format!("Host: {authority}\r\n")), "{seen}");
        assert!(seen.contains(&format!("X-Forwarded-Proto: {scheme}\r\n")), "{seen}");
        assert!(seen.to_lowercase().contains("cookie: a=1; b=2\r\n"), "{seen}");
        let head = run().args(["--head", &format!("{at}/large?1234")]).finish().ok();
        assert!(head.starts_with("HTTP/2 200 \r\n"), "{head}");
        assert!(head.contains("content-length: 1234\r\n"), "{head}");
        assert!(!head.contains("server:"), "{head}");
        let first = run().args(["-i", &format!("{at}/tagged")]).finish().ok();
        assert!(first.contains(&format!("etag: {TAG}\r\n")), "{first}");
        let known = format!("If-None-Match: {TAG}");
        let again = run().args(["-i", "-H", &known, &format!("{at}/tagged")]).finish().ok();
        assert!(again.starts_with("HTTP/2 304 \r\n"), "{again}");
        assert!(again.ends_with("\r\n\r\n"), "{again}");
    }
    let versions = front.versions();
    assert_eq!(versions, ["HTTP/2.0"; 10]);
}

#[test]
fn curl_sends_and_takes_much() {
    let program = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let origin = Web::start();
    let front = before(&origin);
    let files = Scratch::new();
    let file = files.path().join("body");
    let size = 5_000_003;
    Pattern::new().write_file(&file, size);
    let expected = format!("{size} bytes, right: true");
    for (at, options) in ways(&front) {
        let run = || curl(&program).args(&options);
        for path in ["/large?5000003", "/chunked?5000003", "/until-close?5000003", "/large?0"] {
            let down = run().args(["-D", "head", "-o", "body", &format!("{at}{path}")]).finish();
            assert_eq!(down.code, Some(0), "{at}{path}: {}", down.text());
            let count = path.split_once('?').expect("query").1.parse().expect("number");
            Pattern::new().check(&down.file("body"), count);
            let head = String::from_utf8(down.file("head")).expect("UTF-8");
            // Behind the head, because curl writes trailers there.
            let trailer =
                head.split_once("\r\n\r\n").is_some_and(|(_, tail)| tail.contains("x-sum: 42"));
            assert_eq!(trailer, path.starts_with("/chunked"), "{head}");
        }
        let url = format!("{at}/upload");
        let up = run().arg(&url).arg("-T").arg(&file).finish().ok();
        assert_eq!(up, expected, "{at}");
        // Without a length, because it comes from a pipe.
        let up = run().args(["-T", "-", &url]).stdin(&file).finish().ok();
        assert_eq!(up, expected, "{at}");
        let up = run().args(["-H", "Expect: 100-continue", &url, "-T"]).arg(&file).finish();
        assert_eq!(up.ok(), expected, "{at}");
    }
    let versions = front.versions();
    assert_eq!(versions, ["HTTP/2.0"; 14]);
}

/// With ALPN only: curl 7.88 fails whenever it makes a second request on a connection that it
/// knew beforehand to be HTTP/2.
#[test]
fn curl_makes_a_hundred_transfers_on_one_connection() {
    let program = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let origin = Web::start();
    let front = before(&origin);
    let at = front.https("/large?[100001-100100]");
    for more in [&["--parallel", "--parallel-max", "100"][..], &[]] {
        let run = curl(&program).args(["--http2", "--cacert"]).arg(&front.ca).args(more);
        let said = run.args(["-o", "body-#1", &at]).finish();
        assert_eq!(said.code, Some(0), "{}", said.text());
        for count in 100_001..=100_100 {
            Pattern::new().check(&said.file(&format!("body-{count}")), count);
        }
    }
    let lines = front.proxy.stop_and_read();
    assert_eq!(lines.len(), 200);
    let mut ports: Vec<_> = lines.iter().map(|line| line["client_port"].as_u64()).collect();
    ports.dedup();
    assert_eq!(ports.len(), 2, "one connection at once, one after another");
}

/// nghttp, which shows all frames; not one of them may be an error.
#[track_caller]
fn nghttp(program: &Path, options: &[&str], url: &str) -> Said {
    let said = Run::new(program).args(["-v", "-y"]).args(options).arg(url).finish();
    assert_eq!(said.code, Some(0), "{}", said.text());
    for line in said.out.lines().chain(said.err.lines()) {
        // The end of a connection has one as well, which is none.
        let error = line.contains("error_code=") && !line.contains("error_code=NO_ERROR(0x00)");
        let wrong = ["[ERROR]", "[INVALID", "Some requests were not processed"];
        let wrong = wrong.iter().any(|wrong| line.contains(wrong));
        assert!(!error && !wrong, "{options:?} {url}: {line}\n{}", said.text());
    }
    said
}

#[test]
fn nghttp_finds_nothing_wrong() {
    let program = program_or_skip!("BIFRONS_TEST_NGHTTP", "nghttp");
    let origin = Web::start();
    let front = before(&origin);
    let files = Scratch::new();
    let file = files.path().join("body");
    Pattern::new().write_file(&file, 300_001);
    let file = file.to_str().expect("UTF-8");
    let gets: [(&[&str], &str, usize); 8] = [
        (&["-n"], "/large?300001", 1),
        (&["-n", "-m", "100"], "/large?20000", 100),
        // Windows that are always full.
        (&["-n", "-w", "10", "-W", "10", "-m", "10"], "/large?30000", 10),
        (&["-n", "--padding=255", "-m", "10"], "/chunked?30000", 10),
        (&["-n", "--continuation"], "/hello", 1),
        // Tables for fields that are none, and large.
        (&["-n", "-c", "0", "-m", "20"], "/hello", 20),
        (&["-n", "-c", "65536", "-m", "20"], "/hello", 20),
        (&["-n", "--no-dep", "-H", ":method: HEAD"], "/large?300001", 1),
    ];
    for at in [front.http(""), front.https("")] {
        for (options, path, count) in gets {
            let said = nghttp(&program, options, &format!("{at}{path}"));
            let answers = said.out.matches(":status: 200").count();
            assert_eq!(answers, count, "{options:?}: {}", said.text());
        }
        let trailers = nghttp(&program, &["-n"], &format!("{at}/chunked?30000"));
        assert!(trailers.out.contains(") x-sum: 42"), "{}", trailers.text());
        for more in [&[][..], &["--no-content-length"], &["--padding=100"], &["--expect-continue"]]
        {
            let options = [&["-d", file, "--trailer", "x-sum: 7"], more].concat();
            let said = nghttp(&program, &options, &format!("{at}/upload"));
            assert!(said.out.contains("300001 bytes, right: true"), "{options:?}: {}", said.text());
            // Towards HTTP/1.1 a body with a length has no place for trailers.
            let trailer = said.out.contains("right: true, x-sum: 7");
            assert_eq!(trailer, more == ["--no-content-length"], "{options:?}: {}", said.text());
            let interim = said.out.contains(":status: 100");
            assert_eq!(interim, more == ["--expect-continue"], "{options:?}: {}", said.text());
        }
        // Answered before the body has come: what is left of it is not wanted, which is no error.
        let said = nghttp(&program, &["-d", file], &format!("{at}/refuse"));
        assert!(said.out.contains(":status: 413"), "{}", said.text());
    }
    assert!(front.versions().iter().all(|version| version == "HTTP/2.0"));
}

/// What h2load says of 1000 requests.
pub fn load(program: &Path, options: &[&str], url: &str) -> String {
    Run::new(program).args(["-n", "1000"]).args(options).arg(url).finish().ok()
}

/// That all were answered with 2xx.
#[track_caller]
pub fn check_load(said: &str) {
    for line in [
        "requests: 1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout",
        "status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx",
    ] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn h2load_is_always_answered() {
    let program = program_or_skip!("BIFRONS_TEST_H2LOAD", "h2load");
    let origin = Web::start();
    let front = before(&origin);
    let files = Scratch::new();
    let file = files.path().join("body");
    Pattern::new().write_file(&file, 10_007);
    let file = file.to_str().expect("UTF-8");
    let loads: [(&[&str], &str); 4] = [
        (&["-c", "4", "-m", "32"], "/hello"),
        (&["-c", "20", "-m", "1"], "/large?3000"),
        (&["-c", "2", "-m", "100", "-w", "14", "-W", "16"], "/chunked?30000"),
        (&["-c", "4", "-m", "16", "-d", file], "/upload"),
    ];
    for at in [front.http(""), front.https("")] {
        for (options, path) in loads {
            check_load(&load(&program, options, &format!("{at}{path}")));
        }
    }
    let versions = front.versions();
    assert_eq!(versions.len(), 8000);
    assert!(versions.iter().all(|version| version == "HTTP/2.0"));
}
