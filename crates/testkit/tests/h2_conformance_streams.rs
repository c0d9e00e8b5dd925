//! RFC 9113, section 5: the states of streams, their numbers, flow control and errors.

mod h2;

use h2::{Case, Front, check, get_with, request};
use testkit::h2::code::{CANCEL, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED};
use testkit::h2::{Block, Event, Frame, Outcome, setting};

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
const CLOSED: &[u32] = &[STREAM_CLOSED];

#[test]
fn section_5_1_idle() {
    check(
        Front::start(),
        &[
            Case::connection(
                "5.1 DATA on an idle stream",
                &[PROTOCOL_ERROR, STREAM_CLOSED],
                |client| {
                    client.data(1, "x", true);
                    0
                },
            ),
            Case::connection("5.1 RST_STREAM on an idle stream", PROTOCOL, |client| {
                client.send(&Frame::reset(1, CANCEL));
                0
            }),
            Case::connection("5.1 WINDOW_UPDATE on an idle stream", PROTOCOL, |client| {
                client.send(&Frame::window_update(1, 100));
                0
            }),
            Case::served("5.1 PRIORITY on an idle stream", |client| {
                client.send(&Frame::priority(1, 0, 16));
                client.open_get("/")
            }),
        ],
    );
}

#[test]
fn section_5_1_half_closed_by_the_client() {
    check(
        Front::start(),
        &[
            Case::either("5.1 DATA behind the end", CLOSED, |client| {
                let stream = client.open_get("/held");
                client.data(stream, "", false);
                stream
            })
            .h2_says(PROTOCOL_ERROR),
            Case::either("5.1 HEADERS behind the end", CLOSED, |client| {
                let stream = client.open_get("/held");
                client.block(stream, &Block::new().literal("a", "b"), true);
                stream
            })
            .h2_says(PROTOCOL_ERROR),
            Case::served("5.1 WINDOW_UPDATE and PRIORITY behind the end", |client| {
                let stream = client.open_get("/");
                client.send_all(&[Frame::window_update(stream, 9), Frame::priority(stream, 0, 1)]);
                stream
            }),
        ],
    );
}

#[test]
fn section_5_1_closed() {
    check(
        Front::start(),
        &[
            Case::either("5.1 DATA on a stream that the client reset", CLOSED, |client| {
                let stream = client.begin(&request("POST", "/held", &[]));
                client.send(&Frame::reset(stream, CANCEL)).data(stream, "x", true);
                stream
            }),
            Case::either("5.1 HEADERS on a stream that the client reset", CLOSED, |client| {
                let stream = client.begin(&request("POST", "/held", &[]));
                client.send(&Frame::reset(stream, CANCEL));
                client.block(stream, &Block::new().literal("a", "b"), true);
                stream
            })
            .h2_says(PROTOCOL_ERROR),
            Case::either("5.1 DATA on a stream that both ended", CLOSED, |client| {
                client.get("/");
                client.data(1, "x", true);
                1
            }),
            Case::either("5.1 HEADERS on a stream that both ended", CLOSED, |client| {
                client.get("/");
                client.block(1, &Block::new().literal("a", "b"), true);
                1
            })
            .h2_says(PROTOCOL_ERROR),
            Case::connection(
                "5.1.1 a request on a stream that both ended",
                &[STREAM_CLOSED, PROTOCOL_ERROR],
                |client| {
                    client.get("/");
                    client.get("/");
                    client.block(1, &Block::get("/never"), true);
                    0
                },
            ),
            Case::served("5.1 what may still be on its way behind the end", |client| {
                client.get("/");
                client.send_all(&[
                    Frame::window_update(1, 1),
                    Frame::reset(1, NO_ERROR),
                    Frame::priority(1, 0, 1),
                ]);
                client.open_get("/")
            }),
        ],
    );
}

#[test]
fn section_5_1_frames_that_cross_a_reset_are_ignored() {
    // Far more DATA than the window of the connection comes behind resets of the proxy. It
    // is dropped, but counts: the window must be given back, or later requests would starve.
    let front = Front::start();
    let mut client = front.client();
    let window = client.window(0).max(65_535);
    let mut sent = 0;
    while sent < 4 * window {
        let bad = request("POST", "/never", &[("connection", "close")]);
        let stream = client.begin(&bad);
        let mut room = client.window(stream).min(65_535);
        while room > 0 {
            let size = room.min(16_384);
            client.data(stream, vec![0; size], false);
            (sent, room) = (sent + size, room - size);
        }
        match client.outcome(stream) {
            Outcome::Reset(PROTOCOL_ERROR) => {}
            other => panic!("{other:?}; {}", client.history()),
        }
        assert!(client.sync(), "DATA that crossed a reset; {}", client.history());
    }
    assert_eq!(client.post("/fine", &vec![b'a'; 100_000]).status, 200);
    drop(client);
    let requests = front.finish();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].body.len(), 100_000);
}

#[test]
fn section_5_1_1_stream_numbers() {
    check(
        Front::start(),
        &[
            Case::connection("5.1.1 clients use odd numbers", PROTOCOL, |client| {
                client.block(2, &Block::get("/never"), true);
                0
            }),
            Case::connection("5.1.1 numbers grow", &[PROTOCOL_ERROR, STREAM_CLOSED], |client| {
                client.block(5, &Block::get("/"), true);
                client.response(5);
                client.block(3, &Block::get("/never"), true);
                0
            }),
            Case::served("5.1.1 numbers may be left out", |client| {
                client.block(7, &Block::get("/"), true);
                client.response(7);
                client.block(1001, &Block::get("/"), true);
                1001
            }),
            Case::served("5.1.1 the last number", |client| {
                client.block(0x7fff_ffff, &Block::get("/"), true);
                0x7fff_ffff
            }),
        ],
    );
}

#[test]
fn section_5_1_2_no_more_streams_than_allowed() {
    let front = Front::start();
    let mut client = front.client();
    let most = client.peer_setting(setting::MAX_CONCURRENT_STREAMS).expect("a limit");
    for _ in 0..most {
        client.open_get("/held");
    }
    let excess = client.open_get("/never");
    let outcome = client.outcome(excess);
    let refused = matches!(outcome, Outcome::Reset(PROTOCOL_ERROR | REFUSED_STREAM));
    assert!(refused, "{outcome:?}; {}", client.history());
    // One that ends makes room.
    client.send(&Frame::reset(1, CANCEL));
    assert!(client.sync());
    assert_eq!(client.get("/room").status, 200);
    drop(client);
    front.finish();
}

fn big(_: &testkit::Message) -> Vec<u8> {
    let mut response = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n".to_vec();
    response.resize(response.len() + 200_000, b'a');
    response
}

/// DATA received on this stream among what was kept.
fn received(client: &testkit::h2::Client, wanted: u32) -> usize {
    let of_stream = client.kept().iter().map(|event| match event {
        Event::Data { stream, bytes, .. } if *stream == wanted => bytes.len(),
        _ => 0,
    });
    of_stream.sum()
}

/// Reads on until so much DATA came on this stream, and makes sure that no more follows.
fn exactly(client: &mut testkit::h2::Client, stream: u32, size: usize) {
    let mut missing = size;
    while missing > 0 {
        let (bytes, end) = client.expect_data(stream);
        assert!(bytes.len() <= missing, "{} octets too many", bytes.len() - missing);
        assert!(!end || bytes.len() == missing, "the end came early");
        missing -= bytes.len();
    }
    assert!(client.sync());
    assert_eq!(received(client, stream), 0, "more than the window allows");
}

#[test]
fn section_5_2_windows_of_streams() {
    let front = Front::answering("", big);
    let settings = [(setting::INITIAL_WINDOW_SIZE, 0)];
    let mut client = testkit::h2::Client::connect_with(front.proxy.first(), &settings);
    client.habits.open_windows = false;
    let stream = client.open_get("/");
    client.expect_headers(stream);
    exactly(&mut client, stream, 0);
    client.send(&Frame::window_update(stream, 1));
    exactly(&mut client, stream, 1);
    client.send(&Frame::window_update(stream, 1000));
    exactly(&mut client, stream, 1000);
    // 6.9.2: a larger initial window opens those of all streams …
    client.send(&Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 500)]));
    exactly(&mut client, stream, 500);
    // … and a smaller one may make them negative.
    client.send(&Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    client.send(&Frame::window_update(stream, 400));
    exactly(&mut client, stream, 0);
    client.send(&Frame::window_update(stream, 101));
    exactly(&mut client, stream, 1);
    drop(client);
    front.finish();
}

#[test]
fn section_5_2_window_of_the_connection() {
    let front = Front::answering("", big);
    let settings = [(setting::INITIAL_WINDOW_SIZE, 1 << 20)];
    let mut client = testkit::h2::Client::connect_with(front.proxy.first(), &settings);
    client.habits.open_windows = false;
    let first = client.open_get("/");
    client.expect_headers(first);
    exactly(&mut client, first, 65_535);
    // The other stream gets its head, and what is left for it: nothing.
    let second = client.open_get("/");
    client.expect_headers(second);
    exactly(&mut client, second, 0);
    client.send(&Frame::reset(first, CANCEL)).send(&Frame::window_update(0, 100));
    exactly(&mut client, second, 100);
    drop(client);
    front.finish();
}

#[test]
fn section_5_2_no_window_is_needed_for_an_empty_end() {
    let front = Front::answering("", |_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
    let settings = [(setting::INITIAL_WINDOW_SIZE, 0)];
    let mut client = testkit::h2::Client::connect_with(front.proxy.first(), &settings);
    assert_eq!(client.get("/").status, 200);
    drop(client);
    front.finish();
}

#[test]
fn section_4_2_frames_of_the_proxy_are_no_larger_than_allowed() {
    let front = Front::answering("", big);
    let mut client = front.client();
    let stream = client.open_get("/");
    client.expect_headers(stream);
    let mut total = 0;
    loop {
        let (bytes, end) = client.expect_data(stream);
        assert!(bytes.len() <= 16_384, "{}", bytes.len());
        total += bytes.len();
        if end {
            break;
        }
    }
    assert_eq!(total, 200_000);
    drop(client);
    front.finish();
}

#[test]
fn section_5_4_1_connection_errors() {
    let front = Front::start();
    let mut client = front.client();
    assert_eq!(client.get("/").status, 200);
    let held = client.open_get("/held");
    assert!(client.sync());
    client.send(&Frame::data(0, "x", false));
    let goaway = client.wait(|event| matches!(event, Event::Goaway { .. }));
    if let Some(Event::Goaway { last, code, .. }) = goaway {
        assert_eq!(code, PROTOCOL_ERROR);
        assert_eq!(last, held, "6.8 the last stream that was dealt with");
    }
    while client.recv().is_some() {}
    drop(client);
    front.finish();
}

#[test]
fn section_5_4_2_no_reset_is_answered_with_a_reset() {
    let front = Front::start();
    let mut client = front.client();
    let stream = client.open_get("/held");
    client.send(&Frame::reset(stream, CANCEL)).send(&Frame::reset(stream, CANCEL));
    assert_eq!(client.get("/").status, 200, "{}", client.history());
    assert!(client.sync());
    let answered = client.kept().iter().any(|event| matches!(event, Event::Reset { .. }));
    assert!(!answered, "{}", client.history());
    drop(client);
    front.finish();
}

#[test]
fn section_5_4_2_a_stream_error_leaves_the_others_alone() {
    let front = Front::start();
    let mut client = front.client();
    let stream = client.begin(&request("POST", "/other", &[]));
    let bad = client.open(&get_with("/never", &[("connection", "x")]));
    client.expect_reset(bad, PROTOCOL_ERROR);
    client.data(stream, "x", true);
    assert_eq!(client.response(stream).status, 200);
    drop(client);
    front.finish();
}

#[test]
fn section_5_5_extensions_are_ignored() {
    check(
        Front::start(),
        &[
            Case::served("5.5 unknown types on any stream", |client| {
                client.send(&Frame::new(0xbb, 0, 0, [0; 100]));
                client.send(&Frame::new(0xbb, 0xff, 99, []));
                let stream = client.begin(&request("POST", "/", &[]));
                client.send(&Frame::new(0xbb, 1, stream, "x"));
                client.data(stream, "body", true);
                client.send(&Frame::new(0xbb, 1, stream, "x"));
                stream
            }),
            Case::served("RFC 9218: PRIORITY_UPDATE", |client| {
                let payload = [&1_u32.to_be_bytes()[..], b"u=0, i"].concat();
                client.send(&Frame::new(0x10, 0, 0, payload));
                client.open_get("/")
            }),
        ],
    );
}

/// The next GOAWAY, and the last stream that it names.
fn goaway(client: &mut testkit::h2::Client) -> (u32, u32) {
    match client.wait(|event| matches!(event, Event::Goaway { .. })) {
        Some(Event::Goaway { last, code, .. }) => (last, code),
        _ => panic!("no GOAWAY; {}", client.history()),
    }
}

#[test]
fn section_6_8_a_proxy_that_stops_finishes_what_it_took() {
    let front = Front::start();
    let mut client = front.client();
    let held = client.open_get("/held");
    assert!(client.sync());
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| front.proxy.stop());
        // The first may leave room for what is on its way (section 6.8).
        let (mut last, code) = goaway(&mut client);
        assert_eq!(code, NO_ERROR);
        while last == 0x7fff_ffff {
            last = goaway(&mut client).0;
        }
        assert!(last >= held, "{last}");
        front.release();
        assert_eq!(client.response(held).status, 200);
        assert!(matches!(client.end_of_connection(), None | Some(NO_ERROR)));
        stopped.join().expect("stop");
    });
}

#[test]
fn section_6_8_the_last_request_of_a_connection() {
    let ok = |_: &testkit::Message| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    let front = Front::answering("limits { requests-per-connection 3 }", ok);
    let mut client = front.client();
    let streams = [1, 2, 3].map(|_| client.open_get("/"));
    for stream in streams {
        assert_eq!(client.response(stream).status, 200);
    }
    assert!(matches!(client.end_of_connection(), None | Some(NO_ERROR)), "{}", client.history());
    assert!(client.history().contains("GOAWAY"), "a client must be told: {}", client.history());
    assert_eq!(front.client().get("/").status, 200);
    front.finish();
}
