//! Tunnels by CONNECT.

use testkit::{Origin, Peer, Proxy};

const OPEN: &str = "forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }";

fn connect(client: &mut Peer, target: impl std::fmt::Display, more: &str) {
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{more}\r\n"));
}

/// A tunnel to an origin: the client's end and the origin's.
fn tunnel(proxy: &Proxy, origin: &Origin) -> (Peer, Peer) {
    let mut client = proxy.client();
    connect(&mut client, origin.address(), "");
    let upstream = origin.accept();
    let head = client.recv_head();
    assert_eq!(head.status(), 200, "{}", head.text());
    // A 2xx to CONNECT has neither (RFC 9110 §9.3.6).
    assert!(!head.has("Content-Length") && !head.has("Transfer-Encoding"), "{}", head.text());
    (client, upstream)
}

#[test]
fn a_tunnel_carries_bytes_both_ways() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    client.send(b"\x16\x03\x01\0\xff");
    upstream.expect(b"\x16\x03\x01\0\xff");
    upstream.send("HTTP/1.1 400 not for the proxy\r\n\r\n");
    client.expect("HTTP/1.1 400 not for the proxy\r\n\r\n");
    for round in 0..50 {
        client.send(format!("ping {round}\n"));
        upstream.expect(format!("ping {round}\n"));
        upstream.send(format!("pong {round}\n"));
        client.expect(format!("pong {round}\n"));
    }
}

#[test]
fn bytes_that_come_with_connect_are_not_lost() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let mut client = proxy.client();
    let address = origin.address();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nearly bytes"));
    let mut upstream = origin.accept();
    upstream.expect("early bytes");
    assert_eq!(client.recv_head().status(), 200);
    client.send(", later bytes");
    upstream.expect(", later bytes");
    // And a client that says all it has to say at once.
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nall"));
    client.finish();
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_rest(), b"all");
    upstream.send("answer");
    drop(upstream);
    assert_eq!(client.recv_head().status(), 200);
    assert_eq!(client.recv_rest(), b"answer");
}

#[test]
fn a_server_may_speak_first() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let mut client = proxy.client();
    connect(&mut client, origin.address(), "");
    let mut upstream = origin.accept();
    upstream.send("SSH-2.0-test\r\n");
    assert_eq!(client.recv_head().status(), 200);
    client.expect("SSH-2.0-test\r\n");
    client.send("SSH-2.0-client\r\n");
    upstream.expect("SSH-2.0-client\r\n");
}

#[test]
fn each_half_of_a_tunnel_ends_by_itself() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    client.send("question").finish();
    assert_eq!(upstream.recv_rest(), b"question");
    upstream.send("a long answer").send(" in pieces").finish();
    assert_eq!(client.recv_rest(), b"a long answer in pieces");
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    upstream.send("goodbye").finish();
    assert_eq!(client.recv_rest(), b"goodbye");
    client.send("still here").finish();
    assert_eq!(upstream.recv_rest(), b"still here");
    // Without a byte.
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    client.finish();
    upstream.expect_close();
    upstream.finish();
    client.expect_close();
}

#[test]
fn a_reset_ends_both_sides() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let (mut client, upstream) = tunnel(&proxy, &origin);
    upstream.reset();
    client.recv_until_gone();
    let (client, mut upstream) = tunnel(&proxy, &origin);
    client.reset();
    upstream.recv_until_gone();
}

#[test]
fn an_idle_tunnel_ends() {
    let proxy = Proxy::start(
        "forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\"; timeouts { tunnel-idle \"300ms\" } }",
    );
    let origin = Origin::start();
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    client.send("x");
    upstream.expect("x");
    client.recv_until_gone();
    upstream.recv_until_gone();
}

#[test]
fn connect_has_a_form() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let address = origin.address();
    for target in [
        "127.0.0.1".to_owned(),
        "127.0.0.1:".to_owned(),
        "127.0.0.1:0".to_owned(),
        "127.0.0.1:99999".to_owned(),
        format!("http://{address}"),
        format!("{address}/"),
        format!("u@{address}"),
        format!("{address}?"),
        "/".to_owned(),
        "*".to_owned(),
        ":80".to_owned(),
        "a..b:80".to_owned(),
        "[::1:80".to_owned(),
        "256.0.0.1:80".to_owned(),
        "1.2.3.4.5:80".to_owned(),
    ] {
        let mut client = proxy.client();
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let status = client.recv_response().status();
        // Port 0 is one, but none that may be reached.
        let expected = if target.ends_with(":0") { [400, 403] } else { [400, 400] };
        assert!(expected.contains(&status), "{target}: {status}");
    }
    // A body has no place before the tunnel.
    for more in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = proxy.client();
        connect(&mut client, address, more);
        client.send("5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(client.recv_response().status(), 400, "{more}");
    }
    // What `Host` says beside the target is nobody's business.
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: other.example:1\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
    // HTTP/1.0 clients need no Host.
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.0\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
}

#[test]
fn a_target_that_is_not_there() {
    let proxy = Proxy::start(OPEN);
    let dead = testkit::reserve();
    let mut client = proxy.client();
    connect(&mut client, dead, "");
    let response = client.recv_response();
    assert_eq!(response.status(), 502);
    let said = response.get("Proxy-Status").unwrap();
    assert!(said.starts_with("bifrons; error=connection_refused"), "{said}");
    // The connection stays, and the next try may be better.
    let origin = Origin::start();
    connect(&mut client, origin.address(), "");
    origin.accept();
    assert_eq!(client.recv_head().status(), 200);
}
