//! What a request and its response may bring along, and in which order: bodies, trailers, interim
//! responses, early answers.

use testkit::{Origin, Peer, Proxy};

/// A proxy with one site before this origin.
fn before(origin: &Origin) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url()))
}

fn get(client: &mut Peer, path: &str) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn responses_without_a_body_have_none() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    client.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_request().method(), "HEAD");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: \"x\"\r\n\r\n");
    let head = client.recv_head();
    assert_eq!(head.get("Content-Length").as_deref(), Some("1000"));
    get(&mut client, "/204");
    upstream.recv_request();
    upstream.send("HTTP/1.1 204 No Content\r\nETag: \"x\"\r\n\r\n");
    let head = client.recv_head();
    assert_eq!(head.status(), 204);
    assert!(!head.has("Content-Length") && !head.has("Transfer-Encoding"), "{}", head.text());
    get(&mut client, "/304");
    upstream.recv_request();
    upstream.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"x\"\r\n\r\n");
    let head = client.recv_head();
    assert_eq!(head.status(), 304);
    assert!(!head.has("Transfer-Encoding"), "{}", head.text());
    client.send("HEAD /chunked HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.recv_head().status(), 200);
    get(&mut client, "/empty");
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.recv_response().get("Content-Length").as_deref(), Some("0"));
    get(&mut client, "/end");
    upstream.recv_request();
    upstream.send(answer("end"));
    assert_eq!(client.recv_response().body_text(), "end");
}

#[test]
fn chunked_bodies_and_trailers_go_both_ways() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    );
    client.send("5;ext=1\r\nhello\r\n");
    let mut upstream = origin.accept();
    let head = upstream.recv_head();
    assert_eq!(head.all("Transfer-Encoding"), ["chunked"]);
    assert_eq!(head.get("TE").as_deref(), Some("trailers"));
    assert!(!head.has("Content-Length"));
    client.send("6\r\n world\r\n0\r\nX-Sum: 42\r\nX-More: a\r\n\r\n");
    let (body, trailers) = upstream.recv_chunked();
    assert_eq!(String::from_utf8_lossy(&body), "hello world");
    assert_eq!(trailers, "X-Sum: 42\r\nX-More: a\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Back\r\n\r\n");
    upstream.send("3\r\nabc\r\n");
    let head = client.recv_head();
    assert_eq!(head.all("Transfer-Encoding"), ["chunked"]);
    upstream.send("3\r\ndef\r\n0\r\nX-Back: 1\r\n\r\n");
    let (body, trailers) = client.recv_chunked();
    assert_eq!(String::from_utf8_lossy(&body), "abcdef");
    assert_eq!(trailers, "X-Back: 1\r\n");
    get(&mut client, "/next");
    upstream.recv_request();
    upstream.send(answer("next"));
    assert_eq!(client.recv_response().body_text(), "next");
}

#[test]
fn trailers_do_not_reach_fields_that_decide() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         1\r\nx\r\n0\r\nX-Ok: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n\
         X-Forwarded-For: 6.6.6.6\r\nConnection: close\r\nAuthorization: Basic x\r\n\r\n",
    );
    let mut upstream = origin.accept();
    upstream.recv_head();
    let (_, trailers) = upstream.recv_chunked();
    assert_eq!(trailers, "X-Ok: 1\r\n");
    upstream.send(answer(""));
    assert_eq!(client.recv_response().status(), 200);
}

#[test]
fn pieces_are_passed_on_as_they_come() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    let mut upstream = origin.accept();
    upstream.recv_head();
    upstream.expect("abc");
    client.send("def");
    upstream.expect("def");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
    assert_eq!(client.recv_head().status(), 200);
    upstream.send("123");
    client.expect("123");
    upstream.send("456");
    client.expect("456");
    // An event stream: no length, one event at a time.
    get(&mut client, "/events");
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    assert_eq!(client.recv_head().status(), 200);
    client.expect("9\r\ndata: 1\n\n\r\n");
    upstream.send("data: 2\n\n");
    client.expect("9\r\ndata: 2\n\n\r\n");
    drop(upstream);
    client.expect("0\r\n\r\n");
}

#[test]
fn expect_100_continue_is_left_to_the_origin() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(head);
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_head().get("Expect").as_deref(), Some("100-continue"));
    client.expect_nothing();
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.recv_head().status(), 100);
    client.send("body");
    upstream.expect("body");
    upstream.send(answer("thanks"));
    assert_eq!(client.recv_response().body_text(), "thanks");
    // An origin that refuses at once: whether the body still comes is not known, so the
    // connection ends.
    client.send(head);
    upstream.recv_head();
    upstream.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    let response = client.recv_response();
    assert_eq!(response.status(), 417);
    assert!(response.closes(), "{}", response.text());
    client.expect_close();
}

#[test]
fn a_body_that_does_not_wait_for_100_is_a_body_all_the_same() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    let request =
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody";
    client.send(request);
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_request().body_text(), "body");
    upstream.send(answer("at once"));
    assert_eq!(client.recv_response().body_text(), "at once");
    // And the late 100 is not taken for an answer to what comes next.
    client.send(request);
    assert_eq!(upstream.recv_request().body_text(), "body");
    upstream.send(format!("HTTP/1.1 100 Continue\r\n\r\n{}", answer("late")));
    assert_eq!(client.recv_head().status(), 100);
    assert_eq!(client.recv_response().body_text(), "late");
    get(&mut client, "/next");
    assert_eq!(upstream.recv_request().target(), "/next");
    upstream.send(answer("next"));
    assert_eq!(client.recv_response().body_text(), "next");
}

#[test]
fn who_waits_for_100_and_is_refused_is_not_waited_for() {
    let proxy = Proxy::start(
        "site \"http://127.0.0.1:0\" { route \"/a\" { method \"GET\"; respond 200 }\nroute \"/b\" { respond 200 } }",
    );
    for (path, status) in [("/a", 405), ("/nowhere", 404), ("/b", 200)] {
        let mut client = proxy.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        ));
        let response = client.recv_response();
        assert_eq!((response.status(), response.closes()), (status, true), "{path}");
        client.expect_close();
    }
}

#[test]
fn expectations_that_nobody_knows_fail() {
    let origin = Origin::serve(|_| answer("ok").into());
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nExpect: a-wonder\r\n\r\n");
    assert_eq!(client.recv_response().status(), 417);
    // HTTP/1.0 knows no 100, and a request without a body has nothing to wait for.
    for request in [
        "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send(request);
        assert_eq!(client.recv_response().status(), 200, "{request}");
    }
    assert!(origin.requests().iter().all(|request| !request.has("Expect")));
}

#[test]
fn interim_responses_are_passed_on() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    get(&mut client, "/");
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x\r\nX: hop\r\n\r\n",
    );
    let hints = client.recv_head();
    assert_eq!(hints.start_line(), "HTTP/1.1 103 Early Hints");
    assert_eq!(hints.lines(), ["Link: </a.css>; rel=preload"]);
    upstream.send("HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(client.recv_head().status(), 102);
    upstream.send(answer("done"));
    assert_eq!(client.recv_response().body_text(), "done");
    // HTTP/1.0 has no interim responses.
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    upstream.recv_request();
    upstream.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", answer("old")));
    assert_eq!(client.recv_response().body_text(), "old");
}

#[test]
fn interim_responses_without_end_are_cut() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    get(&mut client, "/");
    let mut upstream = origin.accept();
    upstream.recv_request();
    let _ = upstream.try_send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000));
    let mut interim = 0;
    let last = loop {
        let head = client.recv_head();
        if head.status() != 103 {
            break head;
        }
        interim += 1;
    };
    assert_eq!(last.status(), 502);
    assert!((1..100).contains(&interim), "{interim} interim responses");
    upstream.recv_until_gone();
}

#[test]
fn an_early_response_leaves_no_body_behind() {
    let origin = Origin::start();
    let proxy = before(&origin);
    // The rest of the body comes: it is read, and the next request is understood.
    let mut client = proxy.client();
    client.send("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234");
    let mut upstream = origin.accept();
    upstream.recv_head();
    upstream.expect("01234");
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(client.recv_response().status(), 403);
    client.send("56789");
    get(&mut client, "/2");
    // The connection on which a body is missing is not used again.
    let mut next = origin.accept();
    assert_eq!(next.recv_request().start_line(), "GET /2 HTTP/1.1");
    next.send(answer("2"));
    assert_eq!(client.recv_response().body_text(), "2");
    let rest = upstream.recv_until_gone();
    assert!(rest.is_empty() || rest == b"56789", "{:?}", String::from_utf8_lossy(&rest));
}

#[test]
fn an_early_response_goes_on_while_the_body_comes() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    let mut upstream = origin.accept();
    upstream.recv_head();
    upstream.expect("3\r\none\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n");
    client.recv_head();
    client.expect("3\r\nONE\r\n");
    client.send("3\r\ntwo\r\n");
    upstream.expect("3\r\ntwo\r\n");
    upstream.send("3\r\nTWO\r\n");
    client.expect("3\r\nTWO\r\n");
    client.send("0\r\n\r\n");
    upstream.expect("0\r\n\r\n");
    upstream.send("0\r\n\r\n");
    client.expect("0\r\n\r\n");
    // Both connections are in order again.
    get(&mut client, "/next");
    upstream.recv_request();
    upstream.send(answer("next"));
    assert_eq!(client.recv_response().body_text(), "next");
}

#[test]
fn an_origin_that_refuses_a_body_and_closes_is_heard() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\nbegin");
    let mut upstream = origin.accept();
    upstream.recv_head();
    upstream.send(
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
    );
    drop(upstream);
    let response = client.recv_response();
    assert_eq!(response.status(), 413);
    assert_eq!(response.body_text(), "big");
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234");
    let mut upstream = origin.accept();
    upstream.recv_head();
    upstream.expect("01234");
    drop(client);
    // The origin must not take the half for the whole.
    assert!(upstream.recv_until_gone().is_empty());
}

#[test]
fn fields_keep_their_order_and_case() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"{}\"\nforwarded {{ x-forwarded \"off\"; via #false }} }}",
        origin.url()
    ));
    let mut client = proxy.client();
    let fields = "hOST: a\r\nAccept:  text/html ,*/*\r\nX-b: 2\r\nx-A: 1\r\nCOOKIE: a=1; b=2\r\n\
                  Cookie: c=3\r\nX-Empty: \r\nX-Latin: caf\u{e9}\r\n";
    client.send(format!("GET /x HTTP/1.1\r\n{fields}\r\n"));
    let mut upstream = origin.accept();
    let request = upstream.recv_request();
    assert_eq!(
        request.text().replace("  ", " "),
        format!("GET /x HTTP/1.1\r\n{fields}\r\n").replace("  ", " ")
    );
    let fields = "set-cookie: a=1\r\nSET-COOKIE: b=2\r\nX-z: 1\r\nX-a: 2\r\ncontent-length: 0\r\n";
    upstream.send(format!("HTTP/1.1 299 Very Fine\r\n{fields}\r\n"));
    assert_eq!(client.recv_response().text(), format!("HTTP/1.1 299 Very Fine\r\n{fields}\r\n"));
}

#[test]
fn max_forwards_ends_trace_and_options_here() {
    let origin = Origin::serve(|_| answer("origin").into());
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.recv_response();
    assert!(response.has("Allow"), "{}", response.text());
    client.send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    assert!(client.recv_response().has("Allow"));
    client.send(
        "TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nX-Seen: 1\r\nAuthorization: Basic c2VjcmV0\r\n\
         Cookie: secret\r\n\r\n",
    );
    let response = client.recv_response();
    assert_eq!(response.get("Content-Type").as_deref(), Some("message/http"));
    let echo = response.body_text();
    assert!(echo.starts_with("TRACE /x HTTP/1.1\r\n") && echo.contains("X-Seen: 1\r\n"), "{echo}");
    assert!(!echo.contains("c2VjcmV0") && !echo.contains("secret"), "{echo}");
    assert_eq!(origin.requests().len(), 0);
    client.send("OPTIONS /y HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n");
    assert_eq!(client.recv_response().body_text(), "origin");
    assert_eq!(origin.request().get("Max-Forwards").as_deref(), Some("2"));
    client.send("OPTIONS /z HTTP/1.1\r\nHost: a\r\nMax-Forwards: many\r\n\r\n");
    assert_eq!(client.recv_response().status(), 400);
}
