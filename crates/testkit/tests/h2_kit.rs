//! The HTTP/2 client and origin of the test kit against each other, with no proxy between.

use testkit::h2::flood::{Attack, End, Target};
use testkit::h2::{Answer, Client, Event, Frame, Origin, Outcome, code, setting};
use testkit::{Authority, Peer, tls_client};

#[test]
fn requests_and_responses() {
    let origin = Origin::serve(|request| match request.get(":path") {
        Some("/trailers") => Answer::new(200, "body").with_trailer("x-sum", "4"),
        Some("/large") => Answer::new(200, vec![b'a'; 1_000_000]),
        Some("/echo") => Answer::new(200, request.body.clone()).with("x-from", "origin"),
        _ => Answer::new(404, ""),
    });
    let mut client = Client::connect(origin.address());
    let response = client.get("/trailers");
    assert_eq!((response.status, &*response.text()), (200, "body"));
    assert_eq!(response.trailers, [("x-sum".to_owned(), "4".to_owned())]);
    assert_eq!(client.get("/large").body.len(), 1_000_000);
    let response = client.post("/echo", &vec![b'b'; 300_000]);
    assert_eq!(response.body.len(), 300_000);
    assert_eq!(response.get("x-from"), Some("origin"));
    assert_eq!(client.get("/other").status, 404);
    assert_eq!(origin.connections(), 1);
    let paths: Vec<_> =
        origin.requests().iter().map(|request| request.get(":path").unwrap().to_owned()).collect();
    assert_eq!(paths, ["/trailers", "/large", "/echo", "/other"]);
}

#[test]
fn a_script_on_both_sides() {
    let settings = [(setting::MAX_CONCURRENT_STREAMS, 1), (setting::INITIAL_WINDOW_SIZE, 2)];
    let origin = Origin::start().with_settings(&settings);
    let peer = Peer::connect(origin.address());
    let (mut client, mut server) = std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::greet(peer, &[]));
        let server = origin.accept();
        (client.join().unwrap(), server)
    });
    assert_eq!(client.peer_setting(setting::MAX_CONCURRENT_STREAMS), Some(1));

    // A window of two octets, and interim responses.
    let stream = client.begin(&[(":method", "POST"), (":path", "/")]);
    assert_eq!(client.window(stream), 2);
    client.data(stream, "ab", false);
    assert_eq!(client.window(stream), 0);
    let head = server.recv_head();
    assert_eq!((head.stream, head.get(":method")), (stream, Some("POST")));
    server.send(&Frame::window_update(stream, 7));
    server.head(stream, 103, &[("link", "</a>")], false);
    server.head(stream, 200, &[], false);
    server.data(stream, "x", false).headers(stream, &[("sum", "1")], true);
    let response = client.response(stream);
    assert_eq!(response.interim, [(103, vec![("link".to_owned(), "</a>".to_owned())])]);
    assert_eq!((&*response.text(), response.trailers.len()), ("x", 1));
    // Read by now, with the acknowledgement of the origin's SETTINGS before it.
    assert_eq!(client.window(stream), 7);

    let refused = client.open(&[(":method", "GET"), (":path", "/")]);
    assert_eq!(server.recv_head().stream, refused);
    server.send(&Frame::reset(refused, code::REFUSED_STREAM));
    assert_eq!(client.outcome(refused), Outcome::Reset(code::REFUSED_STREAM));
    server.send(&Frame::goaway(stream, code::ENHANCE_YOUR_CALM));
    drop(server);
    client.expect_goaway(code::ENHANCE_YOUR_CALM);
}

#[test]
fn blocks_in_fragments_and_padding_are_read() {
    let origin = Origin::start();
    let peer = Peer::connect(origin.address());
    let (mut client, mut server) = std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::greet(peer, &[]));
        let server = origin.accept();
        (client.join().unwrap(), server)
    });
    let stream = client.open_get("/");
    server.recv_request();
    let block = testkit::h2::fields(&[(":status", "200"), ("x", "y")]);
    let (left, right) = block.as_ref().split_at(5);
    let end_headers = testkit::h2::flag::END_HEADERS;
    server.send(&Frame::headers(stream, left, false).without(end_headers).padded(3));
    server.send(&Frame::continuation(stream, right, true));
    server.send(&Frame::data(stream, "body", true).padded(200));
    let response = client.response(stream);
    assert_eq!((response.get("x"), &*response.text()), (Some("y"), "body"));
    // The padding was given back with the body.
    let given = server.wait(|event| matches!(event, Event::Window { stream: 0, .. }));
    assert_eq!(given, Some(Event::Window { stream: 0, increment: 205 }));
}

#[test]
fn who_minds_no_attack_survives_it() {
    // So that the end of an attack elsewhere is known to be the doing of the proxy.
    let origin = Origin::serve(|_| Answer::new(200, "ok"));
    let target = Target::from(origin.address());
    for attack in [Attack::Pings, Attack::Settings, Attack::WindowByOne, Attack::RapidReset] {
        let report = attack.run(&target, 5_000);
        assert_eq!(report.end, End::Survived, "{attack:?}: {report:?}");
        assert!(report.sent >= 5_000, "{attack:?}: {report:?}");
    }
    // All of these were requests, and came.
    assert!(origin.requests().len() >= 2_000, "{}", origin.requests().len());
}

#[test]
fn inside_tls() {
    let authority = Authority::new("test authority");
    let identity = authority.issue(&["origin.example"]);
    let origin = Origin::start().with_tls(&identity.server(None));
    let (url, address) = (origin.url(), origin.address());
    assert!(url.starts_with("h2://"), "{url}");
    let served = testkit::h2::Served::start(origin, |_| Answer::new(200, "secure"));
    let mut client = Client::connect_tls(address, &tls_client(&authority, None), "origin.example");
    assert_eq!(client.get("/").text(), "secure");
    assert_eq!(served.requests().len(), 1);
}
