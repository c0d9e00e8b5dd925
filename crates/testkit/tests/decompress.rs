//! Bodies of requests that are unpacked for origins which cannot.

mod site;

use coding::Coding;
use testkit::h2::{self, Client};
use testkit::{Message, Origin, Peer, Proxy};

fn text() -> String {
    "What is said again and again takes little room. ".repeat(200)
}

fn pack(coding: Coding, body: &[u8]) -> Vec<u8> {
    coding::encode_all(coding, 6, body).unwrap()
}

fn before(url: &str, rules: &str) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ {rules}; to \"{url}\"; }}"))
}

/// A POST of this body, which has its length in front.
fn send(client: &mut Peer, fields: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n");
    client.send([head.as_bytes(), body].concat());
}

fn post(client: &mut Peer, fields: &str, body: &[u8]) -> Message {
    send(client, fields, body);
    client.recv_response()
}

#[test]
fn bodies_come_out_of_their_codings() {
    let origin = Origin::serve(|request| site::ok(&request.body.len().to_string()));
    let proxy = before(&origin.url(), "decompress");
    let mut client = proxy.client();
    let plain = text();
    let gzip = pack(Coding::Gzip, plain.as_bytes());
    let bodies = [
        ("gzip", gzip.clone()),
        ("x-gzip", gzip.clone()),
        ("BR", pack(Coding::Brotli, plain.as_bytes())),
        ("zstd, identity", pack(Coding::Zstd, plain.as_bytes())),
        ("gzip, br", pack(Coding::Brotli, &gzip)),
        ("gzip\r\nContent-Encoding: gzip", pack(Coding::Gzip, &gzip)),
        // Two members of gzip are one body.
        ("gzip", [pack(Coding::Gzip, b""), gzip].concat()),
    ];
    for (coding, body) in &bodies {
        let fields = format!(
            "Content-Encoding: {coding}\r\nContent-Type: text/plain\r\nContent-MD5: x\r\n\
             Content-Digest: sha-256=:AA==:\r\nRepr-Digest: sha-256=:AA==:\r\nX-Kept: 1\r\n"
        );
        let answer = post(&mut client, &fields, body);
        assert_eq!((answer.status(), answer.body_text()), (200, plain.len().to_string()));
        let request = origin.requests().pop().unwrap();
        assert_eq!(request.body, plain.as_bytes(), "{coding}");
        for gone in ["Encoding", "Length", "MD5", "Digest"] {
            assert!(!request.has(&format!("Content-{gone}")), "{gone} of {coding}");
        }
        assert!(!request.has("Repr-Digest"));
        assert!(request.chunked && request.has("Content-Type") && request.has("X-Kept"));
    }
    assert_eq!(origin.connections(), 1, "connections are kept");
    // Chunked, byte by byte, with trailers.
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for byte in &bodies[2].1 {
        client.send([b"1\r\n", &[*byte][..], b"\r\n"].concat());
    }
    client.send("0\r\nX-Sum: 7\r\nContent-Digest: sha-256=:AA==:\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
    let request = origin.requests().pop().unwrap();
    assert_eq!((request.body, request.trailers), (plain.into_bytes(), "X-Sum: 7\r\n".to_owned()));
}

#[test]
fn what_is_in_no_coding_or_may_not_be_touched_stays() {
    let origin = Origin::serve(|_| site::ok(""));
    let proxy = before(&origin.url(), "decompress");
    let mut client = proxy.client();
    let packed = pack(Coding::Gzip, b"short");
    for fields in [
        "Content-Digest: sha-256=:AA==:\r\n",
        "Content-Encoding: identity\r\nContent-Digest: sha-256=:AA==:\r\n",
        "Content-Encoding: gzip\r\nCache-Control: max-age=0, No-Transform\r\n",
        "Content-Encoding: gzip\r\nContent-Range: bytes 0-24/25\r\n",
    ] {
        assert_eq!(post(&mut client, fields, &packed).status(), 200, "{fields}");
        let request = origin.requests().pop().unwrap();
        assert_eq!(request.body, packed, "{fields}");
        assert_eq!(request.get("Content-Length"), Some(packed.len().to_string()));
        assert_eq!(request.has("Content-Encoding"), fields.contains("Encoding"), "{fields}");
    }
    // There is nothing to unpack.
    client.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Encoding: x-odd\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
    // An empty body is empty in every coding.
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\n",
    );
    assert_eq!(client.recv_response().status(), 200);
    assert_eq!(origin.requests().pop().unwrap().body, b"");
}

#[test]
fn an_unknown_coding_is_refused_before_the_body() {
    let origin = Origin::start();
    let proxy = before(&origin.url(), "decompress");
    for coding in ["x-odd", "gzip, x-odd", "deflate", "gzip, gzip, gzip", "dcb"] {
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\
             Content-Encoding: {coding}\r\n\r\n"
        ));
        let answer = client.recv_response();
        assert_eq!(answer.status(), 415, "{coding}");
        assert_eq!(answer.get("Accept-Encoding").as_deref(), Some("gzip, br, zstd"));
        let status = answer.get("Proxy-Status").unwrap();
        assert!(status.starts_with("bifrons; error=request_content_coding"), "{status}");
    }
    origin.expect_no_connection();
}

#[test]
fn a_client_may_wait_for_the_word_to_go_on() {
    let origin = Origin::start();
    let proxy = before(&origin.url(), "decompress");
    let mut client = proxy.client();
    let packed = pack(Coding::Zstd, text().as_bytes());
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\
         Content-Encoding: zstd\r\n\r\n",
        packed.len()
    ));
    let mut server = origin.accept();
    let head = server.recv_head();
    assert!(head.has("Expect") && !head.has("Content-Encoding"), "{}", head.text());
    server.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.recv_head().status(), 100);
    client.send(&packed);
    assert_eq!(server.recv_chunked().0, text().as_bytes());
    server.send(site::ok("done"));
    assert_eq!(client.recv_response().body_text(), "done");
}

/// What an origin sees of a body that is refused: never its end.
fn refused(rules: &str, fields: &str, body: &[u8]) -> Message {
    let origin = Origin::start();
    let proxy = before(&origin.url(), rules);
    let mut client = proxy.client();
    send(&mut client, fields, body);
    let mut server = origin.accept();
    let seen = server.recv_until_gone();
    assert!(!seen.ends_with(b"0\r\n\r\n"), "a whole request");
    client.recv_response()
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 8 << 20];
    let once = pack(Coding::Gzip, &zeros);
    let twice = pack(Coding::Gzip, &once);
    let status = |answer: &Message| answer.get("Proxy-Status").unwrap();
    for (fields, body) in [
        ("Content-Encoding: gzip\r\n", &once),
        ("Content-Encoding: br\r\n", &pack(Coding::Brotli, &zeros)),
        ("Content-Encoding: zstd\r\n", &pack(Coding::Zstd, &zeros)),
        ("Content-Encoding: gzip, gzip\r\n", &twice),
    ] {
        let answer = refused("decompress", fields, body);
        assert_eq!(answer.status(), 413, "{fields}");
        assert!(status(&answer).contains("error=request_body_size"), "{}", status(&answer));
    }
    // Each coding is within the ratio; both together are not.
    let answer = refused("decompress max-ratio=1100", "Content-Encoding: gzip, gzip\r\n", &twice);
    assert_eq!(answer.status(), 413);
    // The size holds whatever the ratio.
    let small = pack(Coding::Gzip, text().as_bytes());
    let answer = refused(
        "decompress max-size=\"5KiB\" max-ratio=100000",
        "Content-Encoding: gzip\r\n",
        &small,
    );
    assert_eq!((answer.status(), status(&answer).contains("unpacked")), (413, true));
    // Without one of its own it is that of the route.
    let answer =
        refused("limits { body \"5KiB\"; }; decompress", "Content-Encoding: gzip\r\n", &small);
    assert_eq!(answer.status(), 413);
    // What comes to nothing has an end too.
    let nothing = pack(Coding::Gzip, b"").repeat(1000);
    let chunk = format!("{:x}\r\n", nothing.len());
    let chunked = [chunk.as_bytes(), &nothing, b"\r\n"].concat();
    let origin = Origin::start();
    let proxy = before(&origin.url(), "limits { body \"5KiB\"; }; decompress");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunked);
    assert_eq!(client.recv_response().status(), 413);
    assert!(!origin.accept().recv_until_gone().ends_with(b"0\r\n\r\n"));
}

#[test]
fn what_is_not_in_its_coding_is_malformed() {
    let packed = pack(Coding::Gzip, text().as_bytes());
    let mut flipped = packed.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    let behind = [&packed[..], b"more"].concat();
    for body in [&b"not packed at all"[..], &packed[..packed.len() - 9], &flipped, &behind] {
        let answer = refused("decompress", "Content-Encoding: gzip\r\n", body);
        assert_eq!(answer.status(), 400);
        let status = answer.get("Proxy-Status").unwrap();
        assert!(status.starts_with("bifrons; error=http_request_error"), "{status}");
    }
}

#[test]
fn what_was_taken_of_a_body_is_not_sent_again() {
    let origin = Origin::start();
    let proxy = before(&origin.url(), "decompress");
    let mut client = proxy.client();
    // The connection is kept, so that a request on it may be made again.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = origin.accept();
    server.recv_request();
    server.send(site::ok("first"));
    assert_eq!(client.recv_response().body_text(), "first");
    // What came of it is within a coding: nothing of it went on yet.
    let packed = pack(Coding::Gzip, text().as_bytes());
    let length = packed.len();
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nContent-Encoding: gzip\r\n\r\n"
    );
    client.send([head.as_bytes(), &packed[..12]].concat());
    server.recv_head();
    drop(server);
    assert_eq!(client.recv_response().status(), 502);
    origin.expect_no_connection();
}

#[test]
fn streams_are_unpacked_too() {
    let origin = h2::Origin::serve(|request| h2::Answer::new(200, request.body.clone()));
    let proxy = before(&origin.url(), "decompress");
    let mut client = Client::connect(proxy.first());
    let fields = |coding: &str| {
        [
            (":method", "POST".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", "/".to_owned()),
            (":authority", "a".to_owned()),
            ("content-encoding", coding.to_owned()),
        ]
    };
    let mut ask = |coding: &str, body: &[u8]| {
        let stream = client.begin(&fields(coding));
        client.data(stream, body, true);
        client.response(stream)
    };
    for coding in Coding::ALL {
        let answer = ask(coding.as_str(), &pack(coding, text().as_bytes()));
        assert_eq!(answer.text(), text(), "{}", coding.as_str());
    }
    assert_eq!(ask("gzip", b"").status, 200);
    assert_eq!(ask("gzip", b"not packed at all").status, 400);
    assert_eq!(ask("x-odd", b"not packed at all").status, 415);
    assert_eq!(ask("gzip", &pack(Coding::Gzip, &vec![0; 8 << 20])).status, 413);
    // The connection lives on, for all of them.
    assert_eq!(ask("br", &pack(Coding::Brotli, b"hello")).text(), "hello");
    let seen = origin.requests();
    assert_eq!(seen.len(), 5, "none of those that were refused");
    for request in seen {
        assert_eq!((request.get("content-encoding"), request.get("content-length")), (None, None));
    }
}
