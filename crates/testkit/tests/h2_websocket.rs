//! WebSocket over HTTP/2 (RFC 8441), on either side and on both.

use testkit::h2::{self, Client, code, setting};
use testkit::{Origin, Peer, Proxy};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn before(url: &str) -> Proxy {
    Proxy::start(&format!("threads 1\nsite \"http://127.0.0.1:0\" {{ to \"{url}\" }}"))
}

fn ask() -> [(&'static str, &'static str); 6] {
    [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "a.example"),
        ("sec-websocket-version", "13"),
    ]
}

/// What RFC 6455 makes of a key, which the origin of HTTP/1 has to know.
fn accept_of(key: &str) -> String {
    use base64::Engine;
    use sha1::Digest;
    let hash = sha1::Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    base64::engine::general_purpose::STANDARD.encode(hash)
}

fn agree(upstream: &mut Peer) {
    let request = upstream.recv_request();
    assert_eq!(request.target(), "/chat");
    assert_eq!(request.get("Upgrade").as_deref(), Some("websocket"));
    let key = request.get("Sec-WebSocket-Key").expect("a key");
    upstream.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_of(&key)
    ));
}

#[test]
fn from_http2_to_http1() {
    let origin = Origin::start();
    let proxy = before(&origin.url());
    let mut client = Client::connect(proxy.first());
    assert!(client.sync());
    assert_eq!(client.peer_setting(setting::ENABLE_CONNECT_PROTOCOL), Some(1));
    let stream = client.begin(&ask());
    let mut upstream = origin.accept();
    agree(&mut upstream);
    let fields = client.expect_headers(stream);
    assert_eq!(fields[0], (":status".to_owned(), "200".to_owned()));
    assert!(fields.iter().all(|(name, _)| name != "sec-websocket-accept"), "{fields:?}");
    for round in 0..5 {
        client.data(stream, format!("\x01ping{round}"), false);
        upstream.expect(format!("\x01ping{round}"));
        upstream.send(format!("\x02pong{round}"));
        assert_eq!(client.expect_data(stream).0, format!("\x02pong{round}").into_bytes());
    }
    client.data(stream, "", true);
    upstream.expect_close();
    upstream.send("bye").finish();
    assert_eq!(client.expect_data(stream).0, b"bye");
    // Other requests share the connection with it.
    assert!(client.sync());
}

#[test]
fn an_origin_that_does_not_know_the_key_is_not_believed() {
    let origin = Origin::start();
    let proxy = before(&origin.url());
    let mut client = Client::connect(proxy.first());
    let stream = client.begin(&ask());
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    ));
    assert_eq!(client.response(stream).status, 502);
}

#[test]
fn an_origin_that_does_not_switch_opens_nothing() {
    let origin = Origin::start();
    let proxy = before(&origin.url());
    let mut client = Client::connect(proxy.first());
    let stream = client.begin(&ask());
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(client.response(stream).status, 403);
    let stream = client.begin(&ask());
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    // A 2xx would say that the tunnel is open.
    assert_eq!(client.response(stream).status, 501);
}

fn server_agrees(origin: &h2::Origin) -> (h2::Server, u32) {
    let mut server = origin.accept();
    let request = server.recv_head();
    let field = |name: &str| request.get(name).unwrap_or("-").to_owned();
    assert_eq!(
        [field(":method"), field(":protocol"), field(":path"), field(":authority")],
        ["CONNECT", "websocket", "/chat", "a.example"]
    );
    assert_eq!(request.get("sec-websocket-key"), None);
    server.head(request.stream, 200, &[], false);
    (server, request.stream)
}

fn h2_origin() -> h2::Origin {
    h2::Origin::start().with_settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)])
}

#[test]
fn from_http1_to_http2() {
    let origin = h2_origin();
    let proxy = before(&origin.url());
    let mut client = proxy.client();
    client.send(format!(
        "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ));
    let (mut server, stream) = server_agrees(&origin);
    let response = client.recv_head();
    assert_eq!(response.status(), 101);
    assert_eq!(response.get("Sec-WebSocket-Accept").as_deref(), Some(ACCEPT));
    assert_eq!(response.get("Upgrade").as_deref(), Some("websocket"));
    client.send("\x01ping");
    let ping = server.wait(|event| event.stream() == stream);
    assert!(
        matches!(&ping, Some(h2::Event::Data { bytes, .. }) if bytes == b"\x01ping"),
        "{ping:?}"
    );
    server.data(stream, "\x02pong", false);
    client.expect("\x02pong");
    server.data(stream, "", true);
    client.expect_close();
}

#[test]
fn from_http2_to_http2() {
    let origin = h2_origin();
    let proxy = before(&origin.url());
    let mut client = Client::connect(proxy.first());
    let stream = client.begin(&ask());
    let (mut server, upstream) = server_agrees(&origin);
    assert_eq!(client.expect_headers(stream)[0].1, "200");
    client.data(stream, "\x01ping", false);
    let ping = server.wait(|event| event.stream() == upstream);
    assert!(
        matches!(&ping, Some(h2::Event::Data { bytes, .. }) if bytes == b"\x01ping"),
        "{ping:?}"
    );
    server.data(upstream, "\x02pong", false);
    assert_eq!(client.expect_data(stream).0, b"\x02pong");
    client.send(&h2::Frame::reset(stream, code::CANCEL));
    let end = server.wait(|event| event.stream() == upstream);
    assert!(end.is_some(), "the server hears of the end");
}

#[test]
fn a_server_of_http2_without_websocket_is_told_apart() {
    let origin = h2::Origin::start();
    let proxy = before(&origin.url());
    let mut client = Client::connect(proxy.first());
    let stream = client.begin(&ask());
    // It has to answer our question about its settings meanwhile.
    let server = std::thread::spawn(move || {
        let mut server = origin.accept();
        let _ = server.wait(|event| matches!(event, h2::Event::Ping(_)));
        server
    });
    assert_eq!(client.response(stream).status, 502);
    drop(server.join());
}
