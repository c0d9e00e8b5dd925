//! Requests and responses between versions of HTTP: what one says, the other hears.

use testkit::h2::{self, Client, Frame, Outcome, code, setting};
use testkit::{Origin, Proxy};

/// A site on one core before a server with this URL.
fn before(url: &str, directives: &str) -> Proxy {
    Proxy::start(&format!(
        "threads 1\nsite \"http://127.0.0.1:0\" {{\n{directives}\nto \"{url}\"\n}}"
    ))
}

fn get(path: &str) -> [(&'static str, String); 4] {
    [
        (":method", "GET".to_owned()),
        (":scheme", "http".to_owned()),
        (":path", path.to_owned()),
        (":authority", "a.example".to_owned()),
    ]
}

fn post(path: &str) -> [(&'static str, String); 4] {
    let mut fields = get(path);
    fields[0].1 = "POST".to_owned();
    fields
}

#[test]
fn a_request_of_http1_is_one_of_http2_behind_us() {
    let origin = h2::Origin::start();
    let proxy = before(&origin.url(), "");
    let mut client = proxy.client();
    client.send(
        "POST /x?y=1 HTTP/1.1\r\nHost: a.example:81\r\nX-Mixed: Case\r\nCookie: a=1; b=2\r\n\
         TE: trailers\r\nConnection: te, x-gone\r\nX-Gone: 1\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let mut server = origin.accept();
    let request = server.recv_request();
    let field = |name: &str| request.get(name).unwrap_or("-").to_owned();
    assert_eq!(
        [field(":method"), field(":scheme"), field(":path"), field(":authority")],
        ["POST", "http", "/x?y=1", "a.example:81"]
    );
    assert_eq!(request.get("x-mixed"), Some("Case"));
    assert_eq!(request.get("te"), Some("trailers"));
    for gone in ["host", "connection", "x-gone", "transfer-encoding"] {
        assert_eq!(request.get(gone), None, "{gone}");
    }
    assert_eq!(request.body, b"abc");
    assert_eq!(request.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    server.head(request.stream, 103, &[("link", "</a>; rel=preload")], false);
    server.head(request.stream, 200, &[("server", "secret"), ("x-a", "1")], false);
    server.data(request.stream, "hello", false);
    server.headers(request.stream, &[("x-end", "yes")], true);
    let early = client.recv_head();
    assert_eq!((early.status(), early.get("Link").as_deref()), (103, Some("</a>; rel=preload")));
    let response = client.recv_response();
    assert_eq!((response.status(), response.body_text().as_str()), (200, "hello"));
    assert_eq!(response.get("Transfer-Encoding").as_deref(), Some("chunked"));
    assert!(!response.has("Server"));
}

#[test]
fn many_requests_share_a_connection() {
    let origin = h2::Origin::serve(|_| h2::Answer::new(200, "ok"));
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    let streams: Vec<_> = (0..100).map(|n| client.open(&get(&format!("/{n}")))).collect();
    for stream in streams {
        assert_eq!(client.response(stream).text(), "ok");
    }
    // Before its settings have come nobody knows how many a server takes: that is waited for.
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.requests().len(), 100);
}

#[test]
fn a_server_says_how_many_requests_it_takes_at_once() {
    let origin = h2::Origin::start().with_settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]);
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    let first = client.open(&get("/first"));
    let mut server = origin.accept();
    let request = server.recv_request();
    assert!(server.sync(), "our settings were seen");
    // The second one needs a connection of its own.
    let second = client.open(&get("/second"));
    let mut other = origin.accept();
    let beside = other.recv_request();
    assert_eq!(beside.get(":path"), Some("/second"));
    other.respond(beside.stream, 200, &[], b"2");
    server.respond(request.stream, 200, &[], b"1");
    assert_eq!(client.response(second).text(), "2");
    assert_eq!(client.response(first).text(), "1");
}

#[test]
fn what_a_server_refused_to_look_at_is_asked_again() {
    let origin = h2::Origin::start();
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    // Whatever the method: the server says that it has not been looked at (RFC 9113 §8.7).
    let stream = client.open(&post("/refused"));
    let mut server = origin.accept();
    let refused = server.recv_request();
    server.send(&Frame::reset(refused.stream, code::REFUSED_STREAM));
    let again = server.recv_request();
    assert_eq!(again.get(":path"), Some("/refused"));
    server.respond(again.stream, 200, &[], b"second time");
    assert_eq!(client.response(stream).text(), "second time");
    // Any other reset leaves open what was done.
    let stream = client.open(&post("/broken"));
    let broken = server.recv_request();
    server.send(&Frame::reset(broken.stream, code::INTERNAL_ERROR));
    assert_eq!(client.response(stream).status, 502);
}

#[test]
fn a_server_that_leaves_loses_no_request() {
    let origin = h2::Origin::start();
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    let kept = client.open(&get("/kept"));
    let mut server = origin.accept();
    let old = server.recv_request();
    let lost = client.open(&post("/lost"));
    let late = server.recv_request();
    assert!(late.stream > old.stream);
    server.send(&Frame::goaway(old.stream, code::NO_ERROR));
    let mut next = origin.accept();
    let again = next.recv_request();
    assert_eq!(again.get(":path"), Some("/lost"));
    next.respond(again.stream, 200, &[], b"elsewhere");
    server.respond(old.stream, 200, &[], b"to its end");
    assert_eq!(client.response(lost).text(), "elsewhere");
    assert_eq!(client.response(kept).text(), "to its end");
}

#[test]
fn a_client_that_gives_up_frees_the_server() {
    let origin = h2::Origin::start();
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    let stream = client.open(&get("/long"));
    let mut server = origin.accept();
    let request = server.recv_request();
    client.send(&Frame::reset(stream, code::CANCEL));
    let end = server.wait(|event| event.stream() == request.stream);
    assert!(matches!(end, Some(h2::Event::Reset { .. })), "{end:?}");
    assert!(client.sync(), "the connection goes on");
}

#[test]
fn events_are_passed_on_as_they_come() {
    let origin = Origin::start();
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    let stream = client.open(&get("/events"));
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    client.expect_headers(stream);
    for round in 0..5 {
        let event = format!("data: {round}\n\n");
        upstream.send(&event);
        assert_eq!(client.expect_data(stream), (event.into_bytes(), false));
    }
    upstream.finish();
    assert_eq!(client.expect_data(stream), (Vec::new(), true));
}

#[test]
fn a_response_that_is_cut_is_not_passed_off_as_whole() {
    let origin = Origin::start();
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    let stream = client.open(&get("/cut"));
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").finish();
    let outcome = client.outcome(stream);
    assert_eq!(outcome, Outcome::Reset(code::INTERNAL_ERROR));
    assert!(client.sync(), "the connection goes on");
}

#[test]
fn a_large_body_passes_both_ways_whatever_the_windows() {
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let expected = body.clone();
    let origin = h2::Origin::serve(move |request| {
        assert_eq!(request.body, expected);
        h2::Answer::new(200, request.body.clone())
    });
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    assert_eq!(client.post("/echo", &body).body, body);
}

#[test]
fn a_call_of_grpc_keeps_its_trailers() {
    let origin = h2::Origin::serve(|request| {
        assert_eq!(request.get("te"), Some("trailers"));
        match request.get(":path") {
            Some("/s/Unary") => h2::Answer::new(200, request.body.clone())
                .with("content-type", "application/grpc")
                .with_trailer("grpc-status", "0"),
            // Trailers and nothing else are a head that ends the stream.
            _ => h2::Answer::new(200, "").with("grpc-status", "12"),
        }
    });
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    let call = |path: &str| {
        let mut fields = post(path).to_vec();
        fields.push(("te", "trailers".to_owned()));
        fields.push(("content-type", "application/grpc".to_owned()));
        fields
    };
    let stream = client.begin(&call("/s/Unary"));
    client.body(stream, b"\0\0\0\0\x01x", true);
    let response = client.response(stream);
    assert_eq!(response.body, b"\0\0\0\0\x01x");
    assert_eq!(response.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    let stream = client.open(&call("/s/Missing"));
    assert_eq!(client.response(stream).get("grpc-status"), Some("12"));
}

#[test]
fn the_forward_face_takes_both_forms() {
    let origin = Origin::serve(|request| {
        let body = request.target().to_owned();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\"; }");
    let mut client = Client::connect(proxy.first());
    let mut fields = get("/plain");
    fields[3].1 = origin.address().to_string();
    let stream = client.open(&fields);
    assert_eq!(client.response(stream).text(), "/plain");
    let stream = client.begin(&[(":method", "CONNECT"), (":authority", &fields[3].1)]);
    assert_eq!(client.expect_headers(stream)[0], (":status".to_owned(), "200".to_owned()));
    client.data(stream, "GET /inside HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false);
    let mut inside = Vec::new();
    while !inside.ends_with(b"/inside") {
        let (bytes, end) = client.expect_data(stream);
        inside.extend(bytes);
        assert!(!end, "ended after {:?}", String::from_utf8_lossy(&inside));
    }
}

#[test]
fn what_was_sent_of_a_body_is_not_sent_again() {
    let origin = h2::Origin::start();
    let proxy = before(&origin.url(), "");
    let mut client = Client::connect(proxy.first());
    let stream = client.begin(&post("/half"));
    client.data(stream, "AAAA", false);
    let mut server = origin.accept();
    let request = server.recv_head();
    let first = server.wait(|event| event.stream() == request.stream);
    assert!(matches!(&first, Some(h2::Event::Data { bytes, .. }) if bytes == b"AAAA"), "{first:?}");
    server.send(&Frame::reset(request.stream, code::REFUSED_STREAM));
    // The rest of it alone would be another request.
    assert_eq!(client.response(stream).status, 502);
}

#[test]
fn what_comes_behind_a_head_without_a_body_is_passed_to_nobody() {
    let origin = h2::Origin::start();
    let proxy = before(&origin.url(), "");
    let mut client = proxy.client();
    client.send("GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = origin.accept();
    let request = server.recv_request();
    server.head(request.stream, 204, &[], false);
    server.data(request.stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", true);
    assert_eq!(client.recv_head().status(), 204);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    let next = server.recv_request();
    server.respond(next.stream, 200, &[], b"next");
    assert_eq!(client.recv_response().body_text(), "next");
}

#[test]
fn a_server_that_falls_silent_is_not_asked_again_on_that_connection() {
    let origin = h2::Origin::start();
    let proxy = before(&origin.url(), "timeouts { response \"200ms\"; }");
    let mut client = Client::connect(proxy.first());
    let stream = client.open(&post("/silent"));
    let mut server = origin.accept();
    server.recv_request();
    assert_eq!(client.response(stream).status, 504);
    let stream = client.open(&get("/next"));
    let mut other = origin.accept();
    let request = other.recv_request();
    other.respond(request.stream, 200, &[], b"ok");
    assert_eq!(client.response(stream).text(), "ok");
}
