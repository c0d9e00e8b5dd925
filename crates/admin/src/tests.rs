//! The admin listener, spoken to over a plain socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::server::Limits;

#[test]
fn health_follows_the_drain() {
    let (server, proxy) = start(None);
    let answer = get(&server, "/healthz");
    assert_eq!((answer.status, &*answer.body), (200, "ok\n"));
    proxy.draining.store(true, Ordering::Relaxed);
    let answer = get(&server, "/healthz");
    assert_eq!((answer.status, &*answer.body), (503, "draining\n"));
}

#[test]
fn metrics_are_what_control_gives() {
    let (server, _proxy) = start(None);
    let answer = get(&server, "/metrics?x=y");
    assert_eq!((answer.status, &*answer.body), (200, "up 1\n"));
    assert_eq!(answer.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
}

#[test]
fn status_as_json() {
    let (server, _proxy) = start(None);
    let answer = get(&server, "/api/v1/status");
    assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"));
    let expected = json!({
        "version": "1.2.3", "uptime_seconds": 61, "generation": 4, "threads": 2,
        "draining": false,
        "connections": { "reverse": 5, "forward": 6 },
        "requests_in_flight": { "reverse": 1, "forward": 0 },
        "tunnels": 3,
        "listeners": [{ "address": "127.0.0.1:8080", "face": "reverse", "tls": true }],
        "sites": [{ "name": "<b>example</b>", "listen": ["127.0.0.1:8080"], "routes": ["/*"] }],
        "upstreams": [{
            "name": "app",
            "servers": [{
                "url": "http://app:1", "addresses": ["[::1]:1"], "state": "draining", "why": null,
                "weight": 2, "backup": false, "in_flight": 0, "requests": 9, "failures": 1,
                "latency_ms": 1.5, "safe_to_stop": true,
            }],
            "queued": 0, "circuit_open": false,
        }],
    });
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), expected);
}

#[test]
fn the_page_names_the_endpoints_and_escapes() {
    let (server, _proxy) = start(None);
    let answer = get(&server, "/");
    assert_eq!((answer.status, answer.field("content-type")), (200, "text/html; charset=utf-8"));
    for part in ["/metrics", "/healthz", "/api/v1/status", "serving, for 1 min 1 s", "http://app:1"]
    {
        assert!(answer.body.contains(part), "{part}");
    }
    assert!(answer.body.contains("&lt;b&gt;example&lt;/b&gt;"));
    assert!(!answer.body.contains("<b>"));
}

#[test]
fn every_answer_is_hardened() {
    let (server, _proxy) = start(Some("s3cret"));
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n",
        "GET / HTTP/1.1\r\nHost: evil.example\r\n",
    ] {
        let answer = ask(&server, request);
        assert_eq!(answer.field("x-content-type-options"), "nosniff");
        assert_eq!(answer.field("x-frame-options"), "DENY");
        assert_eq!(answer.field("cache-control"), "no-store");
        assert_eq!(answer.field("referrer-policy"), "no-referrer");
        assert_eq!(answer.field("cross-origin-resource-policy"), "same-origin");
        let policy = answer.field("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
    }
}

#[test]
fn only_reading_is_possible() {
    let (server, _proxy) = start(None);
    for path in ["/", "/metrics", "/healthz", "/api/v1/status"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"] {
            let answer = ask(&server, &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n"));
            assert_eq!((answer.status, answer.field("allow")), (405, "GET, HEAD"));
            assert_eq!(answer.error(), "method_not_allowed");
        }
        let head = ask(&server, &format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n"));
        assert_eq!((head.status, &*head.body), (200, ""));
        let length: usize = head.field("content-length").parse().unwrap();
        assert_eq!(length, get(&server, path).body.len());
    }
    for path in ["/nothing", "/metrics/", "//metrics", "/%6detrics", "/api/v1/../v1/status"] {
        let answer = get(&server, path);
        assert_eq!((answer.status, &*answer.error()), (404, "not_found"));
    }
}

#[test]
fn changes_are_asked_for_with_post_and_json() {
    let (server, _proxy) = start(Some("s3cret"));
    let post = |path: &str, fields: &str, content: &str| {
        let length = content.len();
        let mut client = Client::connect(&server);
        client.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n{fields}\
             Content-Length: {length}\r\n\r\n{content}"
        ));
        client.read_answer(true)
    };
    const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";
    for path in ["/api/v1/reload", "/api/reload"] {
        let answer = post(path, JSON, "");
        assert_eq!((answer.status, &*answer.body), (200, "{\"generation\":5}\n"));
        let answer = ask(
            &server,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n"),
        );
        assert_eq!((answer.status, answer.field("allow")), (405, "POST"));
        // What the page of a foreign site can send without asking, and what it can be told by.
        for fields in [
            "",
            "Content-Type: text/plain\r\n",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "Content-Type: text/plain; a=application/json\r\n",
            "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
            "Content-Type: application/json\r\nOrigin: null\r\n",
            "Content-Type: application/json\r\nSec-Fetch-Site: same-site\r\n",
        ] {
            let answer = post(path, fields, "{}");
            assert_eq!((answer.status, &*answer.error()), (403, "cross_site"), "{fields}");
        }
    }
    let answer = post("/api/v1/upgrade", JSON, "");
    assert_eq!((answer.status, &*answer.error()), (422, "invalid"));
    assert!(answer.body.contains("wrong.kdl:1:1: no"), "{}", answer.body);
    let weight = r#"{"server":"http://a:1","change":"weight","weight":3}"#;
    let answer = post("/api/v1/upstreams/my%20app/servers", JSON, weight);
    assert_eq!(
        serde_json::from_str::<Value>(&answer.body).unwrap(),
        json!({ "server": "http://a:1", "change": "Weight(3)" })
    );
    let answer = post("/api/v1/upstreams/other/servers", JSON, weight);
    assert_eq!((answer.status, &*answer.error()), (404, "unknown"));
    assert!(answer.body.contains("\"remedy\":\"name another\""), "{}", answer.body);
    let answer = post("/api/v1/upstreams/other/servers", JSON, "{}");
    assert_eq!((answer.status, &*answer.error()), (400, "bad_content"));
    let long = format!("{{\"server\":\"{}\"}}", "x".repeat(70_000));
    let answer = post("/api/v1/upstreams/other/servers", JSON, &long);
    assert_eq!((answer.status, &*answer.error()), (400, "bad_content"));
    // The token comes first.
    let answer =
        ask(&server, &format!("POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\n{JSON}"));
    assert_eq!((answer.status, &*answer.error()), (401, "unauthorized"));
}

#[test]
fn the_description_says_what_is_answered() {
    let (server, _proxy) = start(None);
    let answer = get(&server, "/api/v1/openapi.json");
    assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"));
    let document: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document["info"]["version"], "1.2.3");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20);
    for (path, item) in paths {
        let item = item.as_object().unwrap();
        let path = path.replace(['{', '}'], "");
        let mut possible = Vec::new();
        for method in ["get", "post", "patch", "delete"] {
            if let Some(operation) = item.get(method) {
                possible.push(method.to_ascii_uppercase());
                if method == "get" {
                    possible.push("HEAD".to_owned());
                }
                let query: Vec<String> = (operation["parameters"].as_array().unwrap().iter())
                    .filter(|parameter| parameter["in"] == "query")
                    .map(|parameter| format!("{}=1", parameter["name"].as_str().unwrap()))
                    .filter(|part| part != "format=1")
                    .collect();
                let json = "Content-Type: application/json\r\nHost: localhost\r\n";
                let method = method.to_ascii_uppercase();
                let target = format!("{path}?{}", query.join("&"));
                let answer = ask(&server, &format!("{method} {target} HTTP/1.1\r\n{json}"));
                let understood = match operation.get("requestBody") {
                    // There was no content.
                    Some(_) => answer.status == 400 && answer.error() == "bad_content",
                    None => [200, 422].contains(&answer.status),
                };
                assert!(understood, "{method} {target}: {} {}", answer.status, answer.body);
            }
        }
        let answer = ask(&server, &format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\n"));
        assert_eq!((answer.status, answer.field("allow")), (405, &*possible.join(", ")), "{path}");
    }
}

#[test]
fn a_query_says_only_what_is_known() {
    let (server, _proxy) = start(None);
    for (target, words) in [
        ("/api/v1/exits?color=red", "none of pool"),
        ("/api/v1/attempts?x", "no query"),
        ("/api/v1/usage?format=xml", "`csv` or `json`"),
    ] {
        let answer = get(&server, target);
        assert_eq!((answer.status, &*answer.error()), (400, "bad_query"), "{target}");
        assert!(answer.body.contains(words), "{}", answer.body);
        assert!(answer.body.contains("openapi.json"), "{}", answer.body);
    }
    // What is not understood is not said again.
    assert!(!get(&server, "/api/v1/exits?s3cret=1").body.contains("s3cret"));
}

#[test]
fn csv_is_answered_to_who_wants_it() {
    let (server, _proxy) = start(None);
    for (target, accept, is_csv) in [
        ("/api/v1/usage", "", false),
        ("/api/v1/usage?format=csv", "", true),
        ("/api/v1/usage", "Accept: text/csv\r\n", true),
        ("/api/v1/usage", "Accept: text/html, text/csv;q=0.9\r\n", true),
        ("/api/v1/usage", "Accept: application/json, text/csv\r\n", false),
        ("/api/v1/usage", "Accept: */*\r\n", false),
        ("/api/v1/usage?format=json", "Accept: text/csv\r\n", false),
    ] {
        let answer = ask(&server, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{accept}"));
        let kind = answer.field("content-type").starts_with("text/csv");
        assert_eq!((answer.status, kind), (200, is_csv), "{target} {accept}");
    }
}

#[test]
fn deletion_needs_no_content_but_no_page_may_ask_for_it() {
    let (server, _proxy) = start(None);
    let target = "DELETE /api/v1/bans?exit=a HTTP/1.1\r\nHost: localhost\r\n";
    assert_eq!(ask(&server, target).status, 200);
    for fields in ["Origin: http://localhost\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let answer = ask(&server, &format!("{target}{fields}"));
        assert_eq!((answer.status, &*answer.error()), (403, "cross_site"));
    }
    let patch = "PATCH /api/v1/users/a/b HTTP/1.1\r\nHost: localhost\r\n";
    assert_eq!(ask(&server, patch).status, 403);
}

#[test]
fn foreign_names_are_not_answered() {
    let (server, _proxy) = start(None);
    let own = server.address();
    for (head, status) in [
        (format!("GET /metrics HTTP/1.1\r\nHost: {own}\r\n"), 200),
        ("GET /metrics HTTP/1.1\r\nHost: [::1]:9901\r\n".into(), 200),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n".into(), 421),
        (format!("GET http://evil.example/metrics HTTP/1.1\r\nHost: {own}\r\n"), 421),
        ("GET http://localhost/metrics HTTP/1.1\r\nHost: evil.example\r\n".into(), 421),
        ("GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n".into(), 200),
        ("GET /metrics HTTP/1.1\r\n".into(), 400),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n".into(), 400),
        ("GET /metrics HTTP/1.0\r\n".into(), 200),
        ("GET /metrics HTTP/1.0\r\nHost: evil.example\r\n".into(), 421),
    ] {
        assert_eq!(ask(&server, &head).status, status, "{head}");
    }
}

#[test]
fn with_a_token_every_request_needs_it() {
    let (server, _proxy) = start(Some("s3cret"));
    for path in ["/", "/healthz", "/metrics", "/api/v1/status", "/nothing"] {
        let answer = get(&server, path);
        assert_eq!((answer.status, &*answer.error()), (401, "unauthorized"));
        assert_eq!(answer.field("www-authenticate"), "Bearer realm=\"bifrons admin\"");
    }
    for (credentials, status) in [
        ("Authorization: Bearer s3cret\r\n", 200),
        ("Authorization: bearer  s3cret\r\n", 200),
        ("Authorization: Bearer s3cre\r\n", 401),
        ("Authorization: Bearer s3crets\r\n", 401),
        ("Authorization: Bearer \r\n", 401),
        ("Authorization: Bearer\r\n", 401),
        ("Authorization: Basic s3cret\r\n", 401),
        ("Authorization: s3cret\r\n", 401),
        ("Authorization: Bearer s3cret\r\nAuthorization: Bearer s3cret\r\n", 401),
    ] {
        let answer =
            ask(&server, &format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{credentials}"));
        assert_eq!(answer.status, status, "{credentials}");
    }
}

#[test]
fn connections_are_kept() {
    let (server, _proxy) = start(None);
    let mut client = Client::connect(&server);
    for _ in 0..3 {
        client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.read_answer(true).body, "ok\n");
    }
}

#[test]
fn a_large_head_is_refused() {
    let (server, _proxy) = start(None);
    let long = "x".repeat(20_000);
    let answer = ask(&server, &format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n"));
    assert_eq!(answer.status, 431);
    let many: String = (0..100).map(|i| format!("X-{i}: y\r\n")).collect();
    let answer = ask(&server, &format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}"));
    assert_eq!(answer.status, 431);
}

#[test]
fn slow_and_idle_clients_are_let_go() {
    let limits = Limits { header_timeout: Duration::from_millis(50), ..Limits::default() };
    let (server, _proxy) = start_within(None, limits);
    for beginning in ["", "GET / HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut client = Client::connect(&server);
        client.send(beginning);
        let mut rest = Vec::new();
        // A connection that is only idle is closed; a head cut short may be answered first.
        client.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.starts_with(b"HTTP/1.1 200 OK"), beginning.ends_with("\n\r\n"));
    }
}

#[test]
fn a_connection_ends_with_its_lifetime() {
    let limits = Limits { lifetime: Duration::from_millis(50), ..Limits::default() };
    let (server, _proxy) = start_within(None, limits);
    let mut client = Client::connect(&server);
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn more_connections_than_slots_wait() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let (server, _proxy) = start_within(None, limits);
    let mut first = Client::connect(&server);
    first.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(first.read_answer(true).status, 200);
    let mut second = Client::connect(&server);
    second.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    second.stream.get_ref().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let error = second.stream.fill_buf().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    drop(first);
    second.stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(second.read_answer(true).status, 200);
}

#[test]
fn a_stop_ends_idle_connections_and_frees_the_port() {
    let (server, proxy) = start(None);
    let address = server.address();
    let mut client = Client::connect(&server);
    client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.read_answer(true);
    server.stop();
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // Nothing of the server is left that would hold it.
    assert_eq!(Arc::strong_count(&proxy), 1);
}

#[test]
fn a_panic_costs_one_connection() {
    let (server, proxy) = start(None);
    proxy.broken.store(true, Ordering::Relaxed);
    let mut client = Client::connect(&server);
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(matches!(client.stream.read(&mut [0]), Ok(0) | Err(_)));
    assert_eq!(get(&server, "/healthz").status, 200);
}

/// So long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Proxy {
    draining: AtomicBool,
    broken: AtomicBool,
}

impl Control for Proxy {
    fn metrics(&self) -> String {
        assert!(!self.broken.load(Ordering::Relaxed), "broken on purpose");
        "up 1\n".into()
    }

    fn status(&self) -> Status {
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        Status {
            version: "1.2.3".into(),
            uptime_seconds: 61,
            generation: 4,
            threads: 2,
            draining: self.draining(),
            connections: ByFace { reverse: 5, forward: 6 },
            requests_in_flight: ByFace { reverse: 1, forward: 0 },
            tunnels: 3,
            listeners: vec![ListenerStatus { address, face: "reverse", tls: true }],
            sites: vec![SiteStatus {
                name: "<b>example</b>".into(),
                listen: vec![address],
                routes: vec!["/*".into()],
            }],
            upstreams: vec![UpstreamStatus {
                name: "app".into(),
                servers: vec![ServerStatus {
                    url: "http://app:1".into(),
                    addresses: vec!["[::1]:1".parse().unwrap()],
                    state: "draining",
                    why: None,
                    weight: 2,
                    backup: false,
                    in_flight: 0,
                    requests: 9,
                    failures: 1,
                    latency_ms: Some(1.5),
                    safe_to_stop: true,
                }],
                queued: 0,
                circuit_open: false,
            }],
        }
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn perform(&self, action: &Action) -> Result<Reply, Problem> {
        match action {
            Action::Reload => Ok(json!({ "generation": 5 }).into()),
            Action::Upgrade => Err(Problem::new(ProblemKind::Invalid, "wrong.kdl:1:1: no")),
            Action::ChangeServer { upstream, server, change } if upstream == "my app" => {
                Ok(json!({ "server": server, "change": format!("{change:?}") }).into())
            }
            Action::ChangeServer { .. } => {
                let problem = Problem::new(ProblemKind::Unknown, "no such upstream");
                Err(problem.with_remedy("name another"))
            }
            Action::Explain(asked) => Ok(asked.clone().into()),
            Action::Usage(asked) if asked.csv => Ok(Reply::Csv("user\r\nalice\r\n".into())),
            other => Ok(json!({ "asked": format!("{other:?}") }).into()),
        }
    }
}

struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|field| field.0.eq_ignore_ascii_case(name));
        found.map_or("", |field| &field.1)
    }

    fn error(&self) -> String {
        assert_eq!(self.field("content-type"), "application/json");
        let value: Value = serde_json::from_str(&self.body).unwrap();
        value["error"].as_str().unwrap().to_owned()
    }
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(server: &AdminServer) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, text: &str) {
        // The server may have answered and closed before it has seen everything.
        let _ = self.stream.get_mut().write_all(text.as_bytes());
    }

    fn read_answer(&mut self, has_body: bool) -> Answer {
        let mut line = || {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            line.strip_suffix("\r\n").unwrap().to_owned()
        };
        let status = line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, fields: Vec::new(), body: String::new() };
        loop {
            let line = line();
            let Some((name, value)) = line.split_once(": ") else { break };
            answer.fields.push((name.to_owned(), value.to_owned()));
        }
        let length = if has_body { answer.field("content-length").parse().unwrap_or(0) } else { 0 };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }
}

fn start(token: Option<&str>) -> (AdminServer, Arc<Proxy>) {
    start_within(token, Limits::default())
}

fn start_within(token: Option<&str>, limits: Limits) -> (AdminServer, Arc<Proxy>) {
    let proxy = Arc::new(Proxy::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let control = Arc::clone(&proxy) as Arc<dyn Control>;
    (AdminServer::start_within(listener, token, control, limits).unwrap(), proxy)
}

fn get(server: &AdminServer, path: &str) -> Answer {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", server.address()))
}

/// Sends a head on a connection of its own.
fn ask(server: &AdminServer, head: &str) -> Answer {
    let mut client = Client::connect(server);
    client.send(&format!("{head}Connection: close\r\n\r\n"));
    client.read_answer(!head.starts_with("HEAD"))
}
