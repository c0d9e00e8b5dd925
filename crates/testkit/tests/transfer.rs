//! Bodies on their way: sizes around the buffers and beyond, ends that come too early, and many
//! exchanges at once.

use std::io::Read;

use testkit::{Origin, Peer, Proxy};

fn before(origin: &Origin) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url()))
}

/// Bytes that differ by their place.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at) as u8).collect()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

/// Sizes around those of buffers, of what goes from socket to socket, and of chunks.
const SIZES: [usize; 14] = [
    1, 2, 4095, 4096, 4097, 16_384, 16_385, 32_767, 32_769, 65_535, 65_536, 65_537, 300_000,
    1_500_000,
];

#[test]
fn bodies_of_all_sizes_in_every_framing() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let upstream = std::thread::spawn(move || {
        let mut upstream = origin.accept();
        for length in SIZES {
            let body = bytes(length);
            let request = upstream.recv_request();
            assert!(request.body == body && !request.chunked, "known, {length}");
            upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            upstream.send(&body);
            let request = upstream.recv_request();
            assert!(request.body == body && request.chunked, "chunked, {length}");
            upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            upstream.send(chunked(&body, 1 + length / 3));
        }
    });
    let mut client = proxy.client();
    for length in SIZES {
        let body = bytes(length);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        client.send(&body);
        let response = client.recv_response();
        assert!(response.body == body && !response.chunked, "known, {length}");
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(chunked(&body, 1 + length / 7));
        let response = client.recv_response();
        assert!(response.body == body && response.chunked, "chunked, {length}");
    }
    upstream.join().unwrap();
}

#[test]
fn bodies_that_end_with_the_connection() {
    for length in [0, 1, 65_536, 3_000_000] {
        let origin = Origin::start();
        let proxy = before(&origin);
        for version in ["1.0", "1.1"] {
            let mut client = proxy.client();
            client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
            let mut upstream = origin.accept();
            upstream.recv_request();
            let sending = std::thread::spawn(move || {
                upstream.send("HTTP/1.1 200 OK\r\n\r\n").send(bytes(length));
            });
            let response = client.recv_response();
            assert!(response.body == bytes(length), "HTTP/{version}, {length}");
            assert_eq!(response.chunked, version == "1.1");
            sending.join().unwrap();
        }
    }
}

#[test]
fn a_body_that_ends_too_early_is_not_made_whole() {
    let origin = Origin::start();
    let proxy = before(&origin);
    for (announced, sent) in [(10, 5), (100_000, 0), (1_000_000, 100_000), (5_000_000, 4_999_999)] {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.recv_request();
        let sending = std::thread::spawn(move || {
            upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\n\r\n"));
            upstream.send(bytes(sent));
        });
        let head = client.recv_head();
        assert_eq!(head.get("Content-Length"), Some(announced.to_string()));
        assert_eq!(client.recv_until_gone().len(), sent, "of {announced}");
        sending.join().unwrap();
    }
    let log = proxy.stop_and_read();
    assert!(log.iter().all(|line| line["failure"] == "http_response_incomplete"), "{log:?}");
}

#[test]
fn a_request_waits_its_turn_behind_a_large_response() {
    let origin = Origin::serve(|request| {
        let length = if request.target() == "/large" { 5_000_000 } else { 5 };
        let mut response =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        response.extend(bytes(length));
        response
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(
        "GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET /small HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3),
    );
    for _ in 0..3 {
        assert!(client.recv_response().body == bytes(5_000_000));
        assert!(client.recv_response().body == bytes(5));
    }
}

#[test]
fn an_upload_ends_with_its_client() {
    let origin = Origin::start();
    let proxy = before(&origin);
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut client = proxy.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        client.send("5\r\nhello\r\n");
        let mut upstream = origin.accept();
        upstream.recv_head();
        upstream.recv_exact(10);
        client.finish();
        let rest = upstream.recv_until_gone();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
    }
}

#[test]
fn answers_never_mix() {
    let origin = Origin::serve(|request| {
        let mut body = request.target().into_bytes();
        body.extend(&request.body);
        let mut response = if body.len().is_multiple_of(2) {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes()
        } else {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
        };
        let framed = if body.len().is_multiple_of(2) { body } else { chunked(&body, 1000) };
        response.extend(framed);
        response
    });
    let proxy = Proxy::start(&format!(
        "threads 2\nsite \"http://127.0.0.1:0\" {{ to \"{}\" }}",
        origin.url()
    ));
    let address = proxy.first();
    std::thread::scope(|scope| {
        for who in 0..16usize {
            scope.spawn(move || {
                let mut client = Peer::connect(address);
                for turn in 0..60usize {
                    let path = format!("/{who}/{turn}");
                    let body = bytes((who * 977 + turn * 331) % 9000);
                    if turn % 3 == 0 {
                        client.send(format!(
                            "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                        ));
                        client.send(chunked(&body, 700));
                    } else {
                        let length = body.len();
                        client.send(format!(
                            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
                        ));
                        client.send(&body);
                    }
                    let expected = [path.as_bytes(), &body].concat();
                    assert!(client.recv_response().body == expected, "{path}");
                    if turn % 17 == 16 {
                        client = Peer::connect(address);
                    }
                }
            });
        }
    });
    assert_eq!(origin.requests().len(), 16 * 60);
}

#[test]
fn tunnels_carry_much_in_both_directions_at_once() {
    let origin = Origin::start();
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
    let address = origin.address();
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let mut upstream = origin.accept();
    assert_eq!(client.recv_head().status(), 200);
    let body = bytes(5_000_000);
    std::thread::scope(|scope| {
        for peer in [&mut client, &mut upstream] {
            let mut writer = Peer::over(peer.socket().try_clone().unwrap());
            let body = &body;
            scope.spawn(move || {
                writer.send(body).finish();
            });
            scope.spawn(move || {
                let mut received = Vec::new();
                let mut socket = peer.socket();
                socket.read_to_end(&mut received).unwrap();
                assert!(received == *body, "{} bytes", received.len());
            });
        }
    });
}
