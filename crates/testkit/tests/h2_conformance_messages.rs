//! RFC 9113, section 8: how requests and responses are made of frames.

mod h2;

use h2::{Case, Front, check, get_with, request};
use testkit::h2::code::{NO_ERROR, PROTOCOL_ERROR};
use testkit::h2::{Block, Client, Event, Frame, Outcome};
use testkit::{Message, Proxy};

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];

#[test]
fn section_8_1_framing() {
    check(
        Front::start(),
        &[
            Case::stream("8.1 trailers that do not end the stream", PROTOCOL, |client| {
                let stream = client.begin(&request("POST", "/", &[]));
                client.data(stream, "x", false);
                client.headers(stream, &[("a", "b")], false);
                stream
            }),
            // It ought to be malformed; the h2 crate leaves pseudo-fields of trailers out and says
            // nothing. Nobody else hears of them.
            Case::served("8.1 a second head, of which nothing is passed on", |client| {
                let stream = client.begin(&request("POST", "/", &[]));
                client.block(stream, &Block::get("/never"), true);
                stream
            }),
            Case::served("8.1 a request of HEADERS alone", |client| client.open_get("/")),
            Case::served("8.1 DATA of no length, and trailers at once", |client| {
                let stream = client.begin(&request("POST", "/", &[]));
                client.data(stream, "", false);
                client.headers(stream, &[("a", "b")], true);
                stream
            }),
        ],
    );
}

#[test]
fn section_8_1_bodies_and_trailers_of_requests() {
    let front = Front::start();
    let mut client = front.client();
    let stream = client.begin(&request("POST", "/x", &[("te", "trailers")]));
    client.data(stream, "one ", false).data(stream, "two", false);
    client.headers(stream, &[("x-checksum", "7"), ("x-other", "")], true);
    assert_eq!(client.response(stream).status, 200);
    // With a length, there is nothing to be chunked.
    let stream = client.begin(&request("PUT", "/y", &[("content-length", "3")]));
    client.data(stream, "abc", true);
    assert_eq!(client.response(stream).status, 200);
    // No body, and one that is empty.
    assert_eq!(client.get("/z").status, 200);
    drop(client);
    let requests = front.finish();
    assert_eq!(requests[0].body_text(), "one two");
    assert!(requests[0].chunked);
    assert_eq!(requests[0].trailers, "x-checksum: 7\r\nx-other: \r\n");
    assert_eq!(requests[1].get("Content-Length").as_deref(), Some("3"));
    assert_eq!(requests[1].body_text(), "abc");
    assert!(!requests[2].has("Transfer-Encoding") && !requests[2].has("Content-Length"));
}

#[test]
fn section_8_1_responses() {
    let answer = |request: &Message| match &*request.target() {
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
              3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n"
            .to_vec(),
        "/hints" => b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
              HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n\
              HTTP/1.1 204 No Content\r\n\r\n"
            .to_vec(),
        "/hop" => b"HTTP/1.1 200 Fine\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\n\
              Keep-Alive: timeout=5\r\nProxy-Connection: a\r\nUpgrade: h2c\r\nX-Mixed: MiXed\r\n\
              Content-Length: 0\r\n\r\n"
            .to_vec(),
        "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec(),
        "/cookies" => b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
              Content-Length: 0\r\n\r\n"
            .to_vec(),
        other => panic!("{other}"),
    };
    let front = Front::answering("", answer);
    let mut client = front.client();

    let response = client.get("/chunked");
    assert_eq!((response.status, &*response.text()), (200, "abcde"));
    assert_eq!(response.trailers, [("x-sum".to_owned(), "5".to_owned())]);
    assert_eq!(response.get("transfer-encoding"), None, "8.2.2");

    let response = client.get("/hints");
    assert_eq!(response.status, 204);
    let links: Vec<_> =
        response.interim.iter().map(|(status, fields)| (*status, &fields[..])).collect();
    let link = |target: &str| [("link".to_owned(), target.to_owned())];
    assert_eq!(links, [(103, &link("</a>")[..]), (103, &link("</b>")[..])]);

    let response = client.get("/hop");
    for name in ["connection", "keep-alive", "proxy-connection", "upgrade", "x-hop"] {
        assert_eq!(response.get(name), None, "8.2.2 {name}");
    }
    assert_eq!(response.get("x-mixed"), Some("MiXed"), "8.2.1 names in lower case");
    let names = response.fields.iter().map(|(name, _)| name);
    assert!(names.clone().all(|name| *name == name.to_lowercase()), "{:?}", response.fields);

    let stream = client.open(&request("HEAD", "/head", &[]));
    let response = client.response(stream);
    assert_eq!(response.get("content-length"), Some("1000"));
    assert!(response.body.is_empty());

    let response = client.get("/cookies");
    let cookies = response.fields.iter().filter(|(name, _)| name == "set-cookie").count();
    assert_eq!(cookies, 2, "fields of this name are never joined: {:?}", response.fields);
    drop(client);
    front.finish();
}

#[test]
fn section_8_1_a_response_may_come_before_the_end_of_the_request() {
    let proxy = Proxy::start("site \"http://127.0.0.1:0\" { respond 403 \"no\" }");
    let mut client = Client::connect(proxy.first());
    let stream = client.begin(&request("POST", "/never", &[]));
    let response = client.response(stream);
    assert_eq!((response.status, &*response.text()), (403, "no"));
    // It may be followed by RST_STREAM, but only with NO_ERROR.
    client.data(stream, "x", true);
    assert!(client.sync());
    for event in client.kept() {
        if let Event::Reset { code, .. } = event {
            assert_eq!(*code, NO_ERROR);
        }
    }
}

#[test]
fn section_8_1_1_an_origin_that_breaks_off_is_a_stream_error() {
    // What looks whole but is not must not end like a whole response.
    let cut: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ];
    for response in cut {
        let origin = testkit::Origin::start();
        let url = origin.url();
        let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{url}\" }}"));
        let mut client = Client::connect(proxy.first());
        let stream = client.open_get("/");
        let mut server = origin.accept();
        server.recv_request();
        server.send(response);
        client.expect_headers(stream);
        drop(server);
        let outcome = client.wait(|event| {
            event.stream() == stream && !matches!(event, Event::Data { end: false, .. })
        });
        assert!(matches!(outcome, Some(Event::Reset { .. })), "{outcome:?}");
        assert!(client.sync(), "{}", client.history());
    }
}

#[test]
fn section_8_3_1_targets() {
    let front = Front::start();
    let mut client = front.client();
    // Without :authority, Host says it.
    let stream = client.open(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/only-host?q=%20"),
        ("host", "a.example"),
    ]);
    assert_eq!(client.response(stream).status, 200);
    // With both, they are the same.
    let stream = client.open(&get_with("/both", &[("host", "a")]));
    assert_eq!(client.response(stream).status, 200);
    // `*` is for OPTIONS only.
    let stream = client.open(&request("OPTIONS", "*", &[]));
    let options = client.response(stream).status;
    drop(client);
    let requests = front.finish();
    assert_eq!(requests[0].target(), "/only-host?q=%20");
    assert_eq!(requests[0].get("Host").as_deref(), Some("a.example"));
    assert_eq!(requests[1].get("Host").as_deref(), Some("a"));
    if options == 200 {
        assert_eq!(requests[2].start_line(), "OPTIONS * HTTP/1.1");
    }
}

#[test]
fn section_8_5_connect_is_not_for_sites() {
    let front = Front::start();
    let mut client = front.client();
    let stream = client.open_block(
        &Block::new().literal(":method", "CONNECT").literal(":authority", "never.example:443"),
        false,
    );
    match client.outcome(stream) {
        Outcome::Response(response) => assert!((400..=501).contains(&response.status)),
        Outcome::Reset(_) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(client.get("/").status, 200);
    drop(client);
    front.finish();
}

#[test]
fn section_8_5_connect_tunnels() {
    let target = testkit::Origin::start();
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
    let mut client = Client::connect(proxy.first());
    let connect = |authority: &str| {
        Block::new().literal(":method", "CONNECT").literal(":authority", authority)
    };
    let stream = client.open_block(&connect(&target.address().to_string()), false);
    let mut server = target.accept();
    let head = client.expect_headers(stream);
    assert_eq!(head[0], (":status".to_owned(), "200".to_owned()));
    let lengths = head.iter().any(|(name, _)| name == "content-length");
    assert!(!lengths, "8.5 no length: {head:?}");
    client.data(stream, "ping", false);
    server.expect("ping").send("pong");
    assert_eq!(client.expect_data(stream), (b"pong".to_vec(), false));
    // END_STREAM is FIN, both ways.
    client.data(stream, "", true);
    server.expect_close();
    server.send("last").finish();
    let mut last = client.expect_data(stream);
    if !last.1 {
        let (bytes, end) = client.expect_data(stream);
        last.0.extend(bytes);
        last.1 = end;
    }
    assert_eq!(last, (b"last".to_vec(), true));

    // RST_STREAM is RST, or at least the end.
    let stream = client.open_block(&connect(&target.address().to_string()), false);
    let mut server = target.accept();
    client.expect_headers(stream);
    client.send(&Frame::reset(stream, 8));
    server.recv_until_gone();
    assert!(client.sync());
}

#[test]
fn section_8_6_there_is_no_switching_of_protocols() {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let front = Front::answering("", |_| switch.to_vec());
    let mut client = front.client();
    let stream = client.open_get("/");
    match client.outcome(stream) {
        Outcome::Response(response) => assert_eq!(response.status, 502, "{response:?}"),
        Outcome::Reset(_) => {}
        other => panic!("{other:?}; {}", client.history()),
    }
    assert!(client.sync());
    drop(client);
    front.finish();
}

#[test]
fn http_1_upgrade_to_h2c_is_not_taken() {
    // RFC 9113, section 3.1: deprecated.
    let front = Front::start();
    let mut client = front.proxy.client();
    client.send(
        "GET /plain HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.recv_response().status(), 200);
    client.finish();
    drop(client);
    let requests = front.finish();
    assert!(!requests[0].has("HTTP2-Settings"), "{}", requests[0].text());
    assert!(!requests[0].text().contains("h2c"), "{}", requests[0].text());
}
