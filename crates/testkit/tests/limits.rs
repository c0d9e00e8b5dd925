//! What a client may send and how long it may take.

use std::time::{Duration, Instant};

use testkit::{DEADLINE, Origin, Peer, Proxy, Served};

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

fn site(origin: &str, settings: &str) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{origin}\"\n{settings} }}"))
}

fn served(settings: &str) -> (Proxy, Served) {
    let origin = Origin::serve(|request| ok(&request.body.len().to_string()));
    (site(&origin.url(), settings), origin)
}

fn refused(proxy: &Proxy, request: impl AsRef<[u8]>, status: u16, word: &str) {
    let mut client = proxy.client();
    let _ = client.try_send(request);
    let response = client.recv_response();
    assert_eq!(response.status(), status, "{}", response.text());
    assert!(response.closes(), "{}", response.text());
    let said = response.get("Proxy-Status").unwrap();
    assert!(said.contains(word), "{said}");
    client.expect_close();
}

#[test]
fn heads_have_a_size() {
    let (proxy, origin) = served("limits { head-bytes \"8KiB\"; fields 10 }");
    let head = |more: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n");
    let size = "request_header_section_size";
    refused(&proxy, head(&format!("X: {}\r\n", "x".repeat(9000))), 431, size);
    refused(&proxy, head(&format!("X: {}\r\n", "x".repeat(100_000))), 431, size);
    refused(&proxy, head(&"X: y\r\n".repeat(10)), 431, size);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    refused(&proxy, long, 414, "request_target_size");
    assert_eq!(origin.connections(), 0);
    // What is just within is served.
    let mut client = proxy.client();
    client.send(head(&"X: y\r\n".repeat(9)));
    assert_eq!(client.recv_response().status(), 200);
    client.send(head(&format!("X: {}\r\n", "x".repeat(8000))));
    assert_eq!(client.recv_response().status(), 200);
    // Trailers are measured by the same.
    let trailers = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: {}\r\n\r\n",
        "x".repeat(9000)
    );
    let mut client = proxy.client();
    let _ = client.try_send(trailers);
    assert_eq!(client.recv_response().status(), 431);
    client.expect_close();
}

#[test]
fn bodies_have_a_size() {
    let (proxy, origin) = served("limits { body \"1KiB\" }");
    let known = |length: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        )
    };
    let chunked = |length: usize| {
        let chunk = format!("100\r\n{}\r\n", "x".repeat(256));
        let chunks = chunk.repeat(length / 256);
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    let mut client = proxy.client();
    client.send(known(1024));
    assert_eq!(client.recv_response().body_text(), "1024");
    client.send(chunked(1024));
    assert_eq!(client.recv_response().body_text(), "1024");
    // Refused by its head: the origin is not asked, and a short body is read past.
    client.send(known(1025));
    let response = client.recv_response();
    assert_eq!(response.status(), 413);
    assert!(response.get("Proxy-Status").unwrap().contains("request_body_size"));
    // One that nobody wants to read costs the connection.
    let mut other = proxy.client();
    other.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let response = other.recv_response();
    assert_eq!((response.status(), response.closes()), (413, true));
    other.expect_close();
    // Without a length it is found out on the way.
    let mut other = proxy.client();
    other.send(chunked(2048));
    assert_eq!(other.recv_response().status(), 413);
    drop((client, other));
    proxy.stop();
    let _ = origin.all_bytes();
    assert_eq!(origin.requests().len(), 2, "whole requests at the origin");
}

#[test]
fn a_route_may_take_larger_bodies() {
    let origin = Origin::serve(|request| ok(&request.body.len().to_string()));
    let url = origin.url();
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{\n\
           limits {{ body \"10B\" }}\n\
           route \"/*\" {{ to \"{url}\" }}\n\
           route \"/big\" {{ to \"{url}\"; limits {{ body \"20B\" }} }}\n\
         }}"
    ));
    for (path, length, status) in
        [("/", 10, 200), ("/", 11, 413), ("/big", 20, 200), ("/big", 21, 413)]
    {
        let mut client = proxy.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        ));
        assert_eq!(client.recv_response().status(), status, "{path} {length}");
    }
}

#[test]
fn a_head_that_does_not_come_in_time() {
    let (proxy, origin) = served("timeouts { header \"300ms\" }");
    for begin in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n"] {
        let mut client = proxy.client();
        client.send(begin);
        let response = client.recv_response();
        assert_eq!(response.status(), 408, "{begin}");
        assert!(response.closes());
        client.expect_close();
    }
    // Bytes now and then do not make it longer.
    let mut client = proxy.client();
    let started = Instant::now();
    while client.try_send("GET / HTTP/1.1\r\nX: y\r\n").is_ok() && started.elapsed() < DEADLINE {
        client.socket().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        if client.peek() {
            break;
        }
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // Who says nothing is not told anything.
    let mut client = proxy.client();
    client.expect_close();
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_idle_connection_is_closed_in_silence() {
    let (proxy, _origin) = served("timeouts { idle \"300ms\" }");
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.recv_response().status(), 200);
    }
    client.expect_close();
}

#[test]
fn a_server_that_says_nothing() {
    let origin = Origin::start();
    let proxy = site(&origin.url(), "timeouts { response \"300ms\" }");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    let response = client.recv_response();
    assert_eq!(response.status(), 504);
    assert!(response.get("Proxy-Status").unwrap().contains("http_response_timeout"));
    assert!(!response.closes(), "{}", response.text());
    upstream.recv_until_gone();
    // One that stops in the middle: the client sees that it is not whole.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(client.recv_head().status(), 200);
    client.expect("hello");
    assert_eq!(client.recv_until_gone(), b"");
    upstream.recv_until_gone();
}

#[test]
fn a_server_that_takes_nothing() {
    let origin = Origin::start();
    let proxy = site(&origin.url(), "timeouts { response \"300ms\" }");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_head();
    let block = [b'x'; 65_536];
    while client.try_send(block).is_ok() && !client.has_more() {}
    let response = client.recv_response();
    assert_eq!((response.status(), response.closes()), (504, true), "{}", response.text());
    let said = response.get("Proxy-Status").unwrap();
    assert!(said.contains("connection_write_timeout"), "{said}");
}

/// Sends pieces at intervals until the proxy has had enough; `true`: it took them all.
fn upload(client: &mut Peer, piece: &[u8], count: usize, every: Duration) -> bool {
    client.socket().set_read_timeout(Some(every)).unwrap();
    for _ in 0..count {
        // The interval is the speed of this client; and it looks for an answer meanwhile.
        if client.try_send(piece).is_err() || client.peek() {
            client.socket().set_read_timeout(Some(DEADLINE)).unwrap();
            return false;
        }
    }
    client.socket().set_read_timeout(Some(DEADLINE)).unwrap();
    true
}

#[test]
fn a_trickle_is_cut_and_a_steady_upload_is_not() {
    let origin = Origin::start();
    let proxy = site(&origin.url(), "limits { min-rate \"1KiB/s\" grace=\"500ms\" }");
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 120000\r\n\r\n";
    // 20 bytes in a second.
    let mut client = proxy.client();
    client.send(head);
    let mut upstream = origin.accept();
    upstream.recv_head();
    let started = Instant::now();
    assert!(!upload(&mut client, b"x", 100, Duration::from_millis(50)), "the trickle passed");
    assert!(started.elapsed() > Duration::from_millis(400), "{:?}", started.elapsed());
    let response = client.recv_response();
    assert_eq!((response.status(), response.closes()), (408, true));
    let received = upstream.recv_until_gone();
    assert!(received.len() < 1000, "{}", received.len());
    // 80 KiB in a second, for three times the grace.
    let mut client = proxy.client();
    client.send(head);
    let mut upstream = origin.accept();
    upstream.recv_head();
    assert!(upload(&mut client, &[b'x'; 4000], 30, Duration::from_millis(50)));
    upstream.recv_exact(120_000);
    upstream.send(ok("done"));
    assert_eq!(client.recv_response().body_text(), "done");
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    for framing in ["Content-Length: 100000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
        let origin = Origin::start();
        let proxy = site(&origin.url(), "limits { min-rate \"1KiB/s\" grace=\"500ms\" }");
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.recv_request();
        upstream.send(format!("HTTP/1.1 200 OK\r\n{framing}"));
        assert_eq!(client.recv_head().status(), 200);
        let piece = [b"10000\r\n".as_slice(), &vec![b'x'; 65536], b"\r\n"].concat();
        let mut sent = 0;
        while sent < 100_000_000 && upstream.try_send(&piece).is_ok() {
            sent += piece.len();
        }
        assert!(sent < 100_000_000, "all of it was taken");
        let received = client.recv_until_gone();
        assert!(received.len() < 100_000_000);
        drop(client);
        let log = proxy.stop_and_read();
        assert_eq!(log[0]["failure"], "client_too_slow", "{}", log[0]);
    }
}

#[test]
fn a_client_that_reads_slowly_but_steadily_is_served() {
    let origin = Origin::start();
    let proxy = site(
        &origin.url(),
        "limits { min-rate \"100B/s\" grace=\"500ms\" }\ntimeouts { response \"500ms\" }",
    );
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    let length = 30_000_000;
    let sending = std::thread::spawn(move || {
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        upstream.send(vec![b'x'; length]);
        upstream
    });
    assert_eq!(client.recv_head().status(), 200);
    // A piece every 40 ms for about as long as the response may take, and then the rest.
    for _ in 0..30 {
        client.recv_exact(300_000);
        // sleep: the slowness of the client is what is tested.
        std::thread::sleep(Duration::from_millis(40));
    }
    client.recv_exact(length - 30 * 300_000);
    drop(sending.join().unwrap());
}

#[test]
fn a_client_has_so_many_connections() {
    let (proxy, _origin) = served("limit connections=2");
    let ask = |client: &mut Peer| {
        client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        client.recv_head_or_end().map(|head| head.status())
    };
    let (mut first, mut second) = (proxy.client(), proxy.client());
    assert_eq!((ask(&mut first), ask(&mut second)), (Some(200), Some(200)));
    for _ in 0..5 {
        assert_eq!(ask(&mut proxy.client()), None);
    }
    // The ones that are there do not suffer, and one that goes makes room.
    drop(first);
    let started = Instant::now();
    while ask(&mut proxy.client()) != Some(200) {
        assert!(started.elapsed() < DEADLINE, "no room was made");
    }
    second.recv_exact(1);
    assert_eq!(ask(&mut second), Some(200));
}

#[test]
fn a_connection_has_so_many_requests() {
    let (proxy, _origin) = served("limits { requests-per-connection 3 }");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5));
    for last in [false, false, true] {
        let response = client.recv_response();
        assert_eq!((response.status(), response.closes()), (200, last));
    }
    client.expect_close();
}
