//! What is told about the traffic: access log, `Proxy-Status`, metrics.

use std::sync::Arc;

use testkit::{Origin, Peer, Proxy, Served};

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

fn hello() -> Served {
    Origin::serve(|_| ok("hello"))
}

#[test]
fn a_line_tells_all_about_a_request() {
    let origin = hello();
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ route \"/api/*\" {{ to \"{}\" }} }}",
        origin.url()
    ));
    let mut client = proxy.client();
    let port = client.local_address().port();
    client.send(
        "POST /api/x?q=1 HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test/1.0\r\n\
         Referer: http://b.example/\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!(client.recv_response().status(), 200);
    drop(client);
    let log = proxy.stop_and_read();
    assert_eq!(log.len(), 1);
    let line = &log[0];
    for (name, value) in [
        ("face", "reverse"),
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("target", "/api/x?q=1"),
        ("host", "a.example"),
        ("version", "HTTP/1.1"),
        ("site", "http://127.0.0.1:0"),
        ("route", "/api/*"),
        ("server", &origin.address().to_string()),
        ("user_agent", "test/1.0"),
        ("referer", "http://b.example/"),
    ] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    for (name, value) in [
        ("client_port", u64::from(port)),
        ("status", 200),
        ("bytes_in", 3),
        ("bytes_out", 5),
        ("attempts", 1),
    ] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    for name in ["duration", "connect", "first_byte"] {
        let time = line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!((0.0..10.0).contains(&time), "{name}: {line}");
    }
    assert!(line.get("failure").is_none() && line.get("user").is_none(), "{line}");
}

#[test]
fn a_line_tells_why_a_request_failed() {
    let dead = testkit::reserve();
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ route \"/dead\" {{ to \"http://{dead}\" }} }}"
    ));
    let mut client = proxy.client();
    for target in ["/dead", "/nowhere", "/.."] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.recv_response();
    }
    let mut broken = proxy.client();
    broken.send("GET / HTTP/1.1\nHost: a\n\n");
    broken.recv_response();
    broken.expect_close();
    drop((client, broken));
    let log = proxy.stop_and_read();
    let found: Vec<_> = log
        .iter()
        .map(|line| (line["status"].as_u64().unwrap(), line["failure"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            (502, "connection_refused"),
            (404, "destination_not_found"),
            (400, "http_request_error"),
            (400, "http_request_error")
        ]
    );
}

#[test]
fn a_line_tells_what_the_cache_did() {
    let failing = std::sync::atomic::AtomicBool::new(false);
    let origin = Origin::serve(move |request| {
        let (target, again) = (request.target(), request.has("If-None-Match"));
        let life = match &*target {
            "/kept" => "max-age=60",
            "/while" => "max-age=0, stale-while-revalidate=60",
            _ => "max-age=0, stale-if-error=60",
        };
        let down = target == "/down" && failing.swap(true, std::sync::atomic::Ordering::Relaxed);
        let (status, body) = match target == "/same" && again {
            true => ("304 Not Modified", ""),
            false if down => ("503 Service Unavailable", "down"),
            false => ("200 OK", "body"),
        };
        let fields = format!("Content-Length: {}\r\nCache-Control: {life}", body.len());
        format!("HTTP/1.1 {status}\r\n{fields}\r\nETag: \"1\"\r\n\r\n{body}").into()
    });
    let proxy =
        Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ cache; to \"{}\"; }}", origin.url()));
    let mut client = proxy.client();
    let expected = [
        ("GET", "/kept", "", "miss"),
        ("GET", "/kept", "", "hit"),
        ("GET", "/kept", "If-None-Match: \"1\"\r\n", "hit"),
        ("GET", "/same", "", "miss"),
        ("GET", "/same", "", "revalidated"),
        ("GET", "/while", "", "miss"),
        ("GET", "/while", "", "stale"),
        ("GET", "/down", "", "miss"),
        ("GET", "/down", "", "stale_if_error"),
        ("POST", "/kept", "Content-Length: 0\r\n", "bypass"),
        ("GET", "/none", "Cache-Control: only-if-cached\r\n", "miss"),
    ];
    for (method, target, fields, _) in expected {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        client.recv_response();
    }
    drop(client);
    let log = proxy.stop_and_read();
    assert_eq!(log.len(), expected.len(), "a refresh of our own has no line");
    for (line, (method, target, _, cache)) in log.iter().zip(expected) {
        assert_eq!((&line["method"], &line["target"]), (&method.into(), &target.into()));
        assert_eq!(line["cache"], cache, "{line}");
        let asked = !matches!(cache, "hit" | "stale") && target != "/none";
        assert_eq!(line["attempts"], u64::from(asked), "{line}");
    }
}

#[test]
fn a_line_tells_why_something_stale_was_given() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ cache {{ stale if-error=\"1h\"; }}; to \"{}\"; }}",
        origin.url()
    ));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = origin.accept();
    server.recv_request();
    server.send(
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=0\r\nETag: \"1\"\r\n\
         Connection: close\r\n\r\nbody",
    );
    assert_eq!(client.recv_response().body_text(), "body");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = origin.accept();
    server.recv_request();
    drop(server);
    assert_eq!(client.recv_response().body_text(), "body");
    drop(client);
    let log = proxy.stop_and_read();
    let line = &log[1];
    assert_eq!((&line["status"], &line["cache"]), (&200.into(), &"stale_if_error".into()));
    assert_eq!(line["failure"], "connection_terminated", "{line}");
    assert_eq!(line["server"], origin.address().to_string(), "{line}");
    assert!(log[0].get("failure").is_none(), "{}", log[0]);
}

#[test]
fn what_a_client_sends_cannot_forge_a_line() {
    let origin = hello();
    for format in ["json", "combined"] {
        let proxy = Proxy::start(&format!(
            "access-log \"access.log\" format=\"{format}\"\n\
             site \"http://127.0.0.1:0\" {{ to \"{}\" }}",
            origin.url()
        ));
        let mut client = proxy.client();
        let mut request = b"GET /\"quoted\"\\x%0d%0a\x80\xff HTTP/1.1\r\nHost: a\r\n".to_vec();
        request.extend(
            b"User-Agent: \"}\t{\"status\":999,\xe2\x80\xae\x85\xff\r\nReferer: \\\"\r\n\r\n",
        );
        client.send(request);
        assert_eq!(client.recv_response().status(), 200);
        // Control bytes never get as far as a head; a line is written all the same.
        let mut other = proxy.client();
        other.send("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b[31m\r\n\r\n");
        assert_eq!(other.recv_response().status(), 400);
        other.expect_close();
        drop((client, other));
        let lines = proxy.stop();
        assert_eq!(lines.len(), 2, "{lines:?}");
        for line in &lines {
            assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
        }
        if format == "json" {
            let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
            assert_eq!(line["status"], 200);
            assert!(line["user_agent"].as_str().unwrap().starts_with("\"}"), "{line}");
        } else {
            assert!(lines[0].starts_with("127.0.0.1 - - ["), "{}", lines[0]);
        }
    }
}

#[test]
fn no_credential_is_written_anywhere() {
    let origin = hello();
    let proxy = Proxy::start(&format!(
        "users \"u\" {{ user \"alice\" password=\"correct-horse\" }}\n\
         site \"http://127.0.0.1:0\" {{ to \"{}\" }}\n\
         forward \"127.0.0.1:0\" {{ auth users=\"u\"; allow \"127.0.0.0/8\" }}",
        origin.url()
    ));
    let secrets = "Authorization: Basic c2VjcmV0MQ==\r\nProxy-Authorization: Basic c2VjcmV0Mg==\r\n\
                   Cookie: session=secret3\r\nX-Api-Key: secret4\r\nReferer: http://u:secret5@b.example/\r\n";
    let mut client = proxy.client();
    let mut said = String::new();
    for target in ["/", "/..", "http://u:secret6@a/"] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{secrets}\r\n"));
        let response = client.recv_response();
        said += &response.text();
        said += &response.body_text();
        if response.closes() {
            client = proxy.client();
        }
    }
    let mut user = Peer::connect(proxy.address("127.0.0.1:0"));
    let address = origin.address();
    user.send(format!(
        "GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\nProxy-Authorization: Basic bWFsbG9yeTpzZWNyZXQ3\r\n\r\n"
    ));
    let response = user.recv_response();
    assert_eq!(response.status(), 407);
    said += &response.text();
    said += &response.body_text();
    drop((client, user));
    let log = proxy.stop().join("\n");
    for place in [&log, &said] {
        for secret in ["secret", "c2Vjcm", "correct-horse", "bWFsbG9yeT"] {
            assert!(!place.contains(secret), "{secret}: {place}");
        }
    }
    assert!(log.contains("mallory"), "{log}");
}

#[test]
fn tunnels_have_lines_too() {
    let origin = Origin::start();
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
    let mut client = proxy.client();
    let address = origin.address();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let mut upstream = origin.accept();
    assert_eq!(client.recv_head().status(), 200);
    client.send("12345");
    upstream.expect("12345");
    upstream.send("123").finish();
    client.expect("123");
    client.finish();
    client.expect_close();
    upstream.expect_close();
    drop((client, upstream));
    let mut client = proxy.client();
    client.send("CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1:443\r\n\r\n");
    let response = client.recv_response();
    assert!(response.get("Proxy-Status").unwrap().contains("destination_ip_prohibited"));
    drop(client);
    let log = proxy.stop_and_read();
    assert_eq!(log.len(), 2);
    let line = &log[0];
    assert_eq!(line["face"], "forward");
    assert_eq!(
        (&line["method"], &line["target"]),
        (&"CONNECT".into(), &address.to_string().into())
    );
    assert_eq!((line["bytes_in"].as_u64(), line["bytes_out"].as_u64()), (Some(5), Some(3)));
    assert_eq!(log[1]["failure"], "destination_ip_prohibited");
}

struct Control(Arc<telemetry::Metrics>);

impl admin::Control for Control {
    fn metrics(&self) -> String {
        self.0.render()
    }

    fn status(&self) -> admin::Status {
        unreachable!("not asked for")
    }

    fn draining(&self) -> bool {
        false
    }
}

/// The sum of all samples of a family with these labels.
fn sample(metrics: &str, family: &str, label: &str) -> u64 {
    metrics
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(family) && line.contains(label))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
        .sum()
}

#[test]
fn metrics_count_what_happened() {
    let origin = hello();
    let proxy = Proxy::start(&format!(
        "admin \"127.0.0.1:0\"\nsite \"http://127.0.0.1:0\" {{ to \"{}\" }}\n\
         forward \"127.0.0.1:0\" {{ allow \"127.0.0.0/8\" }}",
        origin.url()
    ));
    let control = Arc::new(Control(Arc::clone(proxy.server().metrics())));
    let listener = proxy.server().take_admin().unwrap();
    let admin = admin::AdminServer::start(listener, None, control).unwrap();
    let mut client = proxy.client();
    for target in ["/", "/", "/.."] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(50)));
        client.recv_response();
    }
    client.expect_close();
    client = proxy.client();
    client.send("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.recv_response();
    client.expect_close();
    let mut other = Peer::connect(proxy.address("127.0.0.1:0"));
    other.send("CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    other.recv_response();
    drop((client, other));
    proxy.stop();
    let mut scrape = Peer::connect(admin.address());
    scrape.send(format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", admin.address()));
    let response = scrape.recv_response();
    assert_eq!(response.status(), 200);
    assert!(response.get("Content-Type").unwrap().starts_with("text/plain; version=0.0.4"));
    let metrics = response.body_text();
    let count = |family: &str, label: &str| sample(&metrics, family, label);
    assert_eq!(count("bifrons_requests_in_flight", ""), 0, "{metrics}");
    assert_eq!(count("bifrons_requests_total", "face=\"reverse\""), 4, "{metrics}");
    assert_eq!(count("bifrons_requests_total", "face=\"forward\""), 1, "{metrics}");
    assert_eq!(count("bifrons_connections_accepted_total", "face=\"reverse\""), 2, "{metrics}");
    // Nothing that a client sent is a label.
    assert!(!metrics.contains("xxx") && !metrics.contains("10.0.0.1"), "{metrics}");
}
