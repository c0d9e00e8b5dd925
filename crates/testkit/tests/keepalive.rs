//! Messages one after the other on one connection, on both sides of the proxy.

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
fn both_connections_are_kept() {
    let origin = Origin::serve(|request| answer(&request.target()).into());
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for path in ["/1", "/2", "/3"] {
        get(&mut client, path);
        let response = client.recv_response();
        assert_eq!(response.body_text(), path);
        assert!(!response.has("Connection"), "{}", response.text());
    }
    // Another client uses the same connection to the origin.
    let mut other = proxy.client();
    get(&mut other, "/4");
    assert_eq!(other.recv_response().body_text(), "/4");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::serve(|request| answer(&request.target()).into());
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let all: String = (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(all);
    for n in 0..100 {
        assert_eq!(client.recv_response().body_text(), format!("/{n}"));
    }
}

#[test]
fn a_close_ends_what_was_pipelined_behind_it() {
    let origin = Origin::serve(|request| answer(&request.target()).into());
    let proxy = Proxy::before(&origin);
    for request in [
        "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n",
        "GET /1 HTTP/1.0\r\n\r\n",
        "GET /1 HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send(format!("{request}GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.recv_response();
        assert_eq!(response.body_text(), "/1");
        assert!(response.closes(), "{}", response.text());
        client.expect_close();
    }
    assert!(origin.requests().iter().all(|request| request.target() == "/1"));
}

#[test]
fn a_client_may_end_its_side_and_still_get_its_answers() {
    let origin = Origin::serve(|request| answer(&request.target()).into());
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    get(&mut client, "/1");
    get(&mut client, "/2");
    client.finish();
    assert_eq!(client.recv_response().body_text(), "/1");
    assert_eq!(client.recv_response().body_text(), "/2");
    client.expect_close();
}

#[test]
fn http_1_0_is_answered_in_its_own_terms() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    client.send("GET /1 HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    let request = upstream.recv_request();
    assert_eq!(request.start_line(), "GET /1 HTTP/1.1");
    upstream.send(answer("1"));
    let response = client.recv_response();
    assert_eq!(response.get("Connection").as_deref(), Some("keep-alive"));
    assert_eq!(response.body_text(), "1");
    // What has no length ends with the connection: the client knows no chunks.
    client.send("GET /2 HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n");
    upstream.recv_request();
    upstream.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
    );
    let response = client.recv_response();
    assert!(!response.has("Transfer-Encoding") && response.closes(), "{}", response.text());
    assert_eq!(response.body_text(), "abc");
}

#[test]
fn http_1_0_origins_are_not_asked_twice_on_a_connection() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    get(&mut client, "/1");
    let mut first = origin.accept();
    first.recv_request();
    first.send("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1");
    let response = client.recv_response();
    assert_eq!(response.start_line(), "HTTP/1.1 200 OK");
    assert_eq!(response.body_text(), "1");
    get(&mut client, "/2");
    let mut second = origin.accept();
    second.recv_request();
    // No length, no coding: the body ends with the connection, but that of the client goes on.
    second.send("HTTP/1.0 200 OK\r\n\r\nto the end");
    drop(second);
    let response = client.recv_response();
    assert!(response.chunked && !response.closes(), "{}", response.text());
    assert_eq!(response.body_text(), "to the end");
    get(&mut client, "/3");
    let mut third = origin.accept();
    third.recv_request();
    third.send(answer("3"));
    assert_eq!(client.recv_response().body_text(), "3");
}

#[test]
fn a_connection_that_the_origin_closed_meanwhile_costs_nothing() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    for method in ["GET", "POST", "DELETE", "PATCH"] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        let mut upstream = origin.accept();
        assert_eq!(upstream.recv_request().method(), method);
        upstream.send(answer(method));
        assert_eq!(client.recv_response().body_text(), method);
        // In good order, though it was not announced.
        drop(upstream);
    }
}

#[test]
fn a_connection_that_ends_under_a_request_is_tried_once_more_if_it_may_be() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    let warm = |client: &mut Peer| {
        get(client, "/warm");
        let mut upstream = origin.accept();
        upstream.recv_request();
        upstream.send(answer("warm"));
        assert_eq!(client.recv_response().body_text(), "warm");
        upstream
    };
    // Idempotent: the client notices nothing.
    let mut kept = warm(&mut client);
    for method in ["GET", "PUT", "OPTIONS"] {
        client.send(format!("{method} /again HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(kept.recv_request().target(), "/again");
        drop(kept);
        let mut fresh = origin.accept();
        let request = fresh.recv_request();
        assert_eq!((request.method(), request.target()), (method.to_owned(), "/again".to_owned()));
        fresh.send(answer("again"));
        assert_eq!(client.recv_response().body_text(), "again");
        kept = fresh;
    }
    // A reset is no other matter.
    get(&mut client, "/reset");
    kept.recv_request();
    kept.reset();
    let mut fresh = origin.accept();
    assert_eq!(fresh.recv_request().target(), "/reset");
    fresh.send(answer("again"));
    assert_eq!(client.recv_response().body_text(), "again");
    // Once more, and no more: the second one was new.
    get(&mut client, "/twice");
    fresh.recv_request();
    drop(fresh);
    let mut second = origin.accept();
    second.recv_request();
    drop(second);
    assert_eq!(client.recv_response().status(), 502);
    origin.expect_no_connection();
    // Not idempotent: nobody knows what became of it.
    let mut kept = warm(&mut client);
    client.send("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(kept.recv_request().body_text(), "body");
    drop(kept);
    assert_eq!(client.recv_response().status(), 502);
    origin.expect_no_connection();
    // A byte of the response was seen.
    let mut kept = warm(&mut client);
    get(&mut client, "/half");
    kept.recv_request();
    kept.send("HTTP/1.1 200");
    drop(kept);
    assert_eq!(client.recv_response().status(), 502);
    origin.expect_no_connection();
}

#[test]
fn a_new_connection_that_ends_is_not_tried_again() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    get(&mut client, "/");
    let mut upstream = origin.accept();
    upstream.recv_request();
    drop(upstream);
    let response = client.recv_response();
    assert_eq!(response.status(), 502);
    let said = response.get("Proxy-Status").unwrap();
    assert!(said.contains("error=connection_terminated"), "{said}");
    origin.expect_no_connection();
    // The client's own connection is none the worse for it.
    get(&mut client, "/");
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send(answer("ok"));
    assert_eq!(client.recv_response().body_text(), "ok");
}

#[test]
fn an_origin_that_says_close_is_not_asked_again() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    get(&mut client, "/1");
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1");
    let response = client.recv_response();
    assert!(!response.closes(), "{}", response.text());
    get(&mut client, "/2");
    let mut next = origin.accept();
    next.recv_request();
    next.send(answer("2"));
    assert_eq!(client.recv_response().body_text(), "2");
    upstream.expect_close();
}

#[test]
fn what_belongs_to_one_connection_stays_there() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: keep-alive, X-Private, host\r\n\
         X-Private: secret\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
         TE: gzip\r\nUpgrade: h2c\r\nX-Two: 2\r\n\r\n",
    );
    let mut upstream = origin.accept();
    let request = upstream.recv_request();
    for name in
        ["X-Private", "Keep-Alive", "Proxy-Connection", "Connection", "TE", "Upgrade", "Trailer"]
    {
        assert!(!request.has(name), "{name}: {}", request.text());
    }
    assert_eq!(request.get("Host").as_deref(), Some("a"));
    assert_eq!(request.get("X-One").as_deref(), Some("1"));
    upstream.send(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: close\r\nX-End: 1\r\nContent-Length: 0\r\n\r\n",
    );
    let response = client.recv_response();
    assert_eq!(response.lines(), ["X-End: 1", "Content-Length: 0"]);
}
