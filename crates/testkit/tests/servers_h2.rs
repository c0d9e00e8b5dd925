//! Servers that speak HTTP/2: which connections requests go over, and what is made again.

mod site;

use std::sync::Arc;

use site::{get, ok};
use testkit::h2::{self, Answer, Frame, code, setting};
use testkit::{Authority, Origin, Proxy, Scratch};

fn before(url: &str) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{url}\" }}"))
}

#[test]
fn all_requests_share_one_connection() {
    let origin = h2::Origin::serve(|request| {
        Answer::new(200, format!("{} {}", request.get(":path").unwrap(), request.body.len()))
    });
    let proxy = before(&origin.url());
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(format!("PUT /{at} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"));
    }
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.recv_response().body_text(), format!("/{at} 3"));
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.requests().len(), 8);
}

#[test]
fn a_server_is_not_given_more_at_once_than_it_takes() {
    let origin = h2::Origin::start().with_settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]);
    let proxy = before(&origin.url());
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut one = origin.accept();
    let held = one.recv_request();
    second.send("GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut two = origin.accept();
    let other = two.recv_request();
    assert_eq!(other.get(":path"), Some("/second"), "on a connection of its own");
    two.respond(other.stream, 200, &[], b"second");
    one.respond(held.stream, 200, &[], b"first");
    assert_eq!(first.recv_response().body_text(), "first");
    assert_eq!(second.recv_response().body_text(), "second");
}

#[test]
fn a_stream_that_was_refused_is_made_again_elsewhere() {
    let refusing = h2::Origin::start();
    let good = h2::Origin::serve(|request| Answer::new(200, request.body.clone()));
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"{}\" \"{}\" }}",
        refusing.url(),
        good.url()
    ));
    let mut client = proxy.client();
    // The server says that it has not looked at it: even this may be made again.
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let mut upstream = refusing.accept();
    let stream = upstream.recv_head().stream;
    upstream.send(&Frame::reset(stream, code::REFUSED_STREAM));
    site::until("the next is connected to", || good.connections() == 1);
    client.send("body");
    assert_eq!(client.recv_response().body_text(), "body");
}

#[test]
fn a_connection_that_is_gone_is_replaced() {
    let origin = h2::Origin::start();
    let proxy = before(&origin.url());
    let mut client = proxy.client();
    for path in ["/1", "/2", "/3"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut upstream = origin.accept();
        let request = upstream.recv_request();
        assert_eq!(request.get(":path"), Some(path));
        upstream.respond(request.stream, 200, &[], b"ok");
        assert_eq!(client.recv_response().status(), 200);
        upstream.send(&Frame::goaway(request.stream, code::NO_ERROR));
    }
}

/// A proxy before an `https` server with this certificate.
fn before_tls(address: std::net::SocketAddr, authority: &Authority) -> Proxy {
    let scratch = Scratch::new();
    scratch.write("ca.pem", &authority.pem);
    Proxy::start_in(
        scratch,
        &format!(
            "upstream \"app\" {{ server \"https://{address}\"; tls ca=\"ca.pem\" }}\n\
             site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}"
        ),
    )
}

#[test]
fn http2_is_spoken_where_tls_agrees_on_it() {
    let authority = Authority::new("ours");
    let tls = authority.issue(&["127.0.0.1"]).server(None);
    let origin = h2::Served::start(h2::Origin::start().with_tls(&tls), |_| Answer::new(200, "h2"));
    let proxy = before_tls(origin.address(), &authority);
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(get(&mut client, "/").body_text(), "h2");
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.requests()[0].get(":scheme"), Some("https"));
}

#[test]
fn websockets_go_over_http1_where_there_is_a_choice() {
    let authority = Authority::new("ours");
    let tls = authority.issue(&["127.0.0.1"]).server(None);
    let mut tls = (*tls).clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let origin = Origin::start().with_tls(Arc::new(tls));
    let proxy = before_tls(origin.address(), &authority);
    let mut client = proxy.client();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_head().target(), "/chat");
    upstream.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    assert_eq!(client.recv_head().status(), 101);
    client.send("over there");
    upstream.expect("over there");
}

#[test]
fn a_server_that_has_no_http2_is_spoken_to_without() {
    let authority = Authority::new("ours");
    let tls = authority.issue(&["127.0.0.1"]).server(None);
    let origin = Origin::start().with_tls(tls);
    let proxy = before_tls(origin.address(), &authority);
    let mut client = proxy.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    for path in ["/1", "/2"] {
        assert_eq!(upstream.recv_request().target(), path);
        upstream.send(ok("h1"));
        assert_eq!(client.recv_response().body_text(), "h1");
        if path == "/1" {
            client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
        }
    }
}
