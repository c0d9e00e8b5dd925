//! Other protocols on a connection that began as HTTP (RFC 9110 §7.8).

use testkit::{Origin, Peer, Proxy};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
const YES: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn before(origin: &Origin) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url()))
}

fn converse(client: &mut Peer, upstream: &mut Peer) {
    for round in 0..10 {
        client.send(format!("\x01ping{round}"));
        upstream.expect(format!("\x01ping{round}"));
        upstream.send(format!("\x02pong{round}"));
        client.expect(format!("\x02pong{round}"));
    }
}

#[test]
fn a_connection_is_switched_by_101_only() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut client = proxy.client();
    // Bytes right behind the request wait until the origin has agreed.
    client.send(format!("{ASK}\x01early"));
    let mut upstream = origin.accept();
    let request = upstream.recv_request();
    assert_eq!(request.get("Connection").as_deref(), Some("upgrade"));
    assert_eq!(request.get("Upgrade").as_deref(), Some("websocket"));
    assert!(request.has("Sec-WebSocket-Key"));
    upstream.expect_nothing();
    // And bytes right behind the 101 are not lost.
    upstream.send(format!("{YES}\x02first"));
    upstream.expect("\x01early");
    let response = client.recv_head();
    assert_eq!(response.status(), 101);
    assert_eq!(response.get("Upgrade").as_deref(), Some("websocket"));
    assert!(response.get("Connection").unwrap().eq_ignore_ascii_case("upgrade"));
    assert!(response.has("Sec-WebSocket-Accept"));
    client.expect("\x02first");
    converse(&mut client, &mut upstream);
    client.finish();
    upstream.expect_close();
    upstream.send("bye").finish();
    client.expect("bye");
    client.expect_close();
    let log = proxy.stop_and_read();
    assert_eq!(log[0]["status"], 101);
}

#[test]
fn an_origin_may_answer_in_http_instead() {
    let origin = Origin::start();
    let proxy = before(&origin);
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain",
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 5\r\n\r\nplain",
    ] {
        let mut client = proxy.client();
        // What follows is then a request like any other, and never goes out as it is.
        client.send(format!(
            "{ASK}GET /next HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n"
        ));
        let mut upstream = origin.accept();
        assert_eq!(upstream.recv_request().target(), "/chat");
        upstream.expect_nothing();
        upstream.send(answer);
        assert_eq!(client.recv_response().body_text(), "plain");
        let next = upstream.recv_request();
        assert_eq!(next.target(), "/next");
        assert!(!next.text().contains("6.6.6.6"), "{}", next.text());
        upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.recv_response().body_text(), "ok");
    }
}

#[test]
fn protocols_that_would_hide_requests_are_not_passed_on() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let mut upstream: Option<Peer> = None;
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: H2C\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n",
        // Not named in `Connection`: not meant for us.
        "Upgrade: websocket\r\n",
        "Connection: keep-alive\r\nUpgrade: websocket\r\n",
    ] {
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let upstream = upstream.get_or_insert_with(|| origin.accept());
        let request = upstream.recv_request();
        for name in ["Upgrade", "Connection", "HTTP2-Settings"] {
            assert!(!request.has(name), "{fields}: {}", request.text());
        }
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.recv_response().body_text(), "ok");
    }
}

#[test]
fn only_a_get_without_a_body_is_switched() {
    let origin = Origin::start();
    let proxy = before(&origin);
    for request in [
        ASK.replace("GET", "POST").replace("Host: a\r\n", "Host: a\r\nContent-Length: 2\r\n")
            + "ok",
        ASK.replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        let mut client = proxy.client();
        client.send(&request);
        let mut upstream = origin.accept();
        let seen = upstream.recv_request();
        assert!(!seen.has("Upgrade"), "{}", seen.text());
        // An origin that switches all the same is not followed.
        upstream.send(format!("{YES}GET /smuggled HTTP/1.1\r\n\r\n"));
        let response = client.recv_response();
        assert_eq!(response.status(), 502, "{}", response.text());
        upstream.recv_until_gone();
    }
}

#[test]
fn other_protocols_go_through_the_forward_face() {
    let origin = Origin::start();
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
    let address = origin.address();
    let mut client = proxy.client();
    client.send(
        ASK.replace("/chat", &format!("http://{address}/chat"))
            .replace("Host: a", &format!("Host: {address}")),
    );
    let mut upstream = origin.accept();
    let request = upstream.recv_request();
    assert_eq!(
        (request.target(), request.get("Upgrade")),
        ("/chat".into(), Some("websocket".into()))
    );
    upstream.send(format!("{YES}\x02first"));
    assert_eq!(client.recv_head().status(), 101);
    client.expect("\x02first");
    converse(&mut client, &mut upstream);
}

#[test]
fn a_switched_connection_may_be_idle_for_its_own_time() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"{}\"\n\
         timeouts {{ idle \"10s\"; response \"10s\"; tunnel-idle \"300ms\" }} }}",
        origin.url()
    ));
    let mut client = proxy.client();
    client.send(ASK);
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send(YES);
    assert_eq!(client.recv_head().status(), 101);
    converse(&mut client, &mut upstream);
    client.recv_until_gone();
    upstream.recv_until_gone();
}
