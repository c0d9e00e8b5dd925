//! Responses whose end is not certain: they are not passed on, and their connections are not used
//! again.

use testkit::{Origin, Peer, Proxy};

/// Each response gets 502, the client learns nothing of it, and its connection is not used
/// again.
fn bad_responses(cases: &[(&str, &[u8])]) {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url()));
    let mut client = proxy.client();
    for (name, response) in cases {
        client.send("GET /secret HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.recv_request();
        upstream.send(response);
        let answer = client.recv_response();
        assert_eq!(answer.status(), 502, "{name}: {}", answer.text());
        assert!(!answer.text().contains("leak"), "{name}: {}", answer.text());
        assert!(!answer.body_text().contains("leak"), "{name}: {}", answer.body_text());
        // The next request of the loop must come on a new connection, and this one ends.
        let _ = upstream.recv_until_gone();
    }
}

#[test]
fn malformed_responses_are_not_passed_on() {
    bad_responses(&[
        (
            "length and coding",
            b"HTTP/1.1 200 OK\r\nX: leak\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", b"HTTP/1.1 200 OK\r\nX: leak\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nleak1"),
        ("equal lengths", b"HTTP/1.1 200 OK\r\nX: leak\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nleak"),
        ("list of lengths", b"HTTP/1.1 200 OK\r\nX: leak\r\nContent-Length: 4, 4\r\n\r\nleak"),
        ("signed length", b"HTTP/1.1 200 OK\r\nX: leak\r\nContent-Length: +4\r\n\r\nleak"),
        ("overflowing length", b"HTTP/1.1 200 OK\r\nX: leak\r\nContent-Length: 18446744073709551620\r\n\r\nleak"),
        ("empty length", b"HTTP/1.1 200 OK\r\nX: leak\r\nContent-Length:\r\n\r\nleak"),
        ("other coding", b"HTTP/1.1 200 OK\r\nX: leak\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("coding twice", b"HTTP/1.1 200 OK\r\nX: leak\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ("coding in HTTP/1.0", b"HTTP/1.0 200 OK\r\nX: leak\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("bare LF", b"HTTP/1.1 200 OK\nX: leak\nContent-Length: 4\n\nleak"),
        ("bare LF behind a field", b"HTTP/1.1 200 OK\r\nX: leak\nContent-Length: 4\r\n\r\nleak"),
        ("bare CR", b"HTTP/1.1 200 OK\r\nX: leak\rSet-Cookie: leak\r\nContent-Length: 4\r\n\r\nleak"),
        ("NUL", b"HTTP/1.1 200 OK\r\nX: leak\0\r\nContent-Length: 4\r\n\r\nleak"),
        ("folded", b"HTTP/1.1 200 OK\r\nX: leak\r\n leak\r\nContent-Length: 4\r\n\r\nleak"),
        ("space before the colon", b"HTTP/1.1 200 OK\r\nX: leak\r\nContent-Length : 4\r\n\r\nleak"),
        ("no name", b"HTTP/1.1 200 OK\r\n: leak\r\nContent-Length: 4\r\n\r\nleak"),
        ("no colon", b"HTTP/1.1 200 OK\r\nleak\r\nContent-Length: 4\r\n\r\nleak"),
        ("status of two digits", b"HTTP/1.1 20 OK\r\nX: leak\r\nContent-Length: 4\r\n\r\nleak"),
        ("status of four digits", b"HTTP/1.1 2000 OK\r\nX: leak\r\nContent-Length: 4\r\n\r\nleak"),
        ("status 000", b"HTTP/1.1 000 OK\r\nX: leak\r\nContent-Length: 4\r\n\r\nleak"),
        ("no status", b"HTTP/1.1\r\nX: leak\r\nContent-Length: 4\r\n\r\nleak"),
        ("another protocol", b"ICY 200 OK\r\nX: leak\r\nContent-Length: 4\r\n\r\nleak"),
        ("no HTTP at all", b"leak leak leak\r\n\r\n"),
        ("HTTP/2.0", b"HTTP/2.0 200 OK\r\nX: leak\r\nContent-Length: 4\r\n\r\nleak"),
        ("switched without being asked", b"HTTP/1.1 101 Switching\r\nUpgrade: leak\r\nConnection: upgrade\r\n\r\n"),
        ("an interim response with a bad line", b"HTTP/1.1 103 Early\r\nX : leak\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ]);
}

#[test]
fn a_head_that_never_ends_is_cut() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"{}\"; limits {{ head-bytes \"8KiB\"; fields 20 }} }}",
        origin.url()
    ));
    let mut client = proxy.client();
    for response in [
        format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(9000)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(21)),
    ] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.recv_request();
        let _ = upstream.try_send(response);
        let answer = client.recv_response();
        assert_eq!(answer.status(), 502);
        let said = answer.get("Proxy-Status").unwrap();
        assert!(said.contains("http_response_header_section_size"), "{said}");
    }
}

/// What is found wrong when the head has gone: the client must see that the body is not whole.
fn broken_body(response: &[u8], check: impl Fn(Vec<u8>)) {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url()));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send(response);
    upstream.finish();
    check(client.recv_until_gone());
    let _ = upstream.recv_until_gone();
}

#[test]
fn a_broken_body_has_no_good_end() {
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "x\r\n",
        "5\r\nhello\r\n",
        "5\r\nhel",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        broken_body(response.as_bytes(), |received| {
            let received = String::from_utf8_lossy(&received);
            // Either it was found out in time, or the last chunk is missing.
            let refused = received.starts_with("HTTP/1.1 502 ");
            assert!(refused || !received.contains("\r\n0\r\n"), "{chunks:?}: {received:?}");
        });
    }
    broken_body(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", |received| {
        let received = String::from_utf8_lossy(&received);
        assert!(received.contains("Content-Length: 10\r\n"), "{received:?}");
        assert!(received.ends_with("\r\n\r\nhello"), "{received:?}");
    });
}

#[test]
fn what_an_origin_sends_unasked_is_nobodys_answer() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url()));
    let mut client = proxy.client();
    let ask = |client: &mut Peer, path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    };
    // More than it was asked for, at once and later.
    ask(&mut client, "/1");
    let mut first = origin.accept();
    first.recv_request();
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    assert_eq!(client.recv_response().body_text(), "1");
    ask(&mut client, "/2");
    let mut second = origin.accept();
    second.recv_request();
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
    assert_eq!(client.recv_response().body_text(), "2");
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    ask(&mut client, "/3");
    let mut third = origin.accept();
    third.recv_request();
    third.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3");
    assert_eq!(client.recv_response().body_text(), "3");
    // A body where there can be none.
    client.send("HEAD /4 HTTP/1.1\r\nHost: a\r\n\r\n");
    third.recv_request();
    third.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    assert_eq!(client.recv_head().status(), 200);
    ask(&mut client, "/5");
    let mut fourth = origin.accept();
    fourth.recv_request();
    fourth.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n5");
    assert_eq!(client.recv_response().body_text(), "5");
}
