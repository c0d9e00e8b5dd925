//! RFC 9113, section 6: the frames one by one.

mod h2;

use h2::{Case, Front, check, cut_block, request};
use testkit::h2::code::{FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, STREAM_CLOSED};
use testkit::h2::{Block, Client, Event, Frame, Outcome, flag, kind, setting};
use testkit::{Origin, Proxy};

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
const SIZE: &[u32] = &[FRAME_SIZE_ERROR];
const CLOSED: &[u32] = &[STREAM_CLOSED];
const FLOW: &[u32] = &[FLOW_CONTROL_ERROR];

/// Sends a frame that concerns the connection.
fn say(client: &mut Client, frame: &Frame) -> u32 {
    client.send(frame);
    0
}

#[test]
fn section_6_1_data() {
    check(
        Front::start(),
        &[
            Case::connection("6.1 DATA on stream 0", PROTOCOL, |client| {
                say(client, &Frame::data(0, "x", true))
            }),
            Case::either("6.1 DATA on a half-closed stream", CLOSED, |client| {
                let stream = client.open_get("/held");
                client.data(stream, "x", true);
                stream
            })
            .h2_says(PROTOCOL_ERROR),
            Case::connection("6.1 padding as long as the payload", PROTOCOL, |client| {
                let stream = client.begin(&request("POST", "/held", &[]));
                let mut frame = Frame::data(stream, "xy", true).padded(3);
                frame.payload[0] = 6;
                say(client, &frame)
            }),
            Case::connection(
                "6.1 no length of the padding",
                &[PROTOCOL_ERROR, FRAME_SIZE_ERROR],
                |client| {
                    let stream = client.begin(&request("POST", "/held", &[]));
                    say(client, &Frame::data(stream, "", true).with(flag::PADDED))
                },
            ),
            Case::served("6.1 padding is left out, also where there is nothing else", |client| {
                let stream = client.begin(&request("POST", "/", &[("content-length", "2")]));
                client.send(&Frame::data(stream, "o", false).padded(255));
                client.send(&Frame::data(stream, "", false).padded(0));
                client.send(&Frame::data(stream, "k", false));
                client.send(&Frame::data(stream, "", true).padded(9));
                stream
            }),
        ],
    );
}

#[test]
fn section_6_1_padding_counts_in_flow_control() {
    // More padding than the windows are large, however large: it must be given back although
    // nobody reads it.
    let front = Front::start();
    let mut client = front.client();
    let window = client.window(0).max(1 << 20);
    let stream = client.begin(&request("POST", "/padded", &[]));
    let count = 2 * window / 256;
    for _ in 0..count {
        while client.window(stream) < 1256 {
            client.recv().expect("an open connection");
        }
        client.send(&Frame::data(stream, [b'a'; 1000], false).padded(255));
    }
    client.data(stream, "", true);
    assert_eq!(client.response(stream).status, 200);
    drop(client);
    let requests = front.finish();
    assert_eq!(requests[0].body.len(), count * 1000);
}

#[test]
fn section_6_2_headers() {
    check(
        Front::start(),
        &[
            Case::connection("6.2 HEADERS on stream 0", PROTOCOL, |client| {
                say(client, &Frame::headers(0, Block::get("/never"), true))
            }),
            Case::connection("6.2 padding longer than the payload", PROTOCOL, |client| {
                let mut frame = Frame::headers(1, Block::get("/never"), true).padded(2);
                frame.payload[0] = 255;
                say(client, &frame)
            }),
            Case::connection(
                "6.2 no room for the priority",
                &[PROTOCOL_ERROR, FRAME_SIZE_ERROR],
                |client| {
                    let headers = Frame::headers(1, [0; 4], true);
                    say(client, &headers.with(flag::PRIORITY))
                },
            ),
            Case::served("6.2 padding and priority are left out", |client| {
                let stream = client.take_stream();
                let fragment = [&[0, 0, 0, 0, 15], Block::get("/").as_ref()].concat();
                let frame = Frame::headers(stream, fragment, true).with(flag::PRIORITY).padded(99);
                client.send(&frame);
                stream
            }),
        ],
    );
}

#[test]
fn section_6_3_priority() {
    check(
        Front::start(),
        &[
            Case::connection("6.3 PRIORITY on stream 0", PROTOCOL, |client| {
                say(client, &Frame::priority(0, 1, 1))
            }),
            Case::either("6.3 PRIORITY of another length", SIZE, |client| {
                let stream = client.open_get("/held");
                client.send(&Frame::new(kind::PRIORITY, 0, stream, [0; 4]));
                stream
            })
            .h2_says(PROTOCOL_ERROR),
            Case::served("6.3 PRIORITY in any state", |client| {
                client.send(&Frame::priority(101, 0, 1));
                client.get("/");
                client.send(&Frame::priority(1, 101, 1));
                let stream = client.open_get("/");
                client.send(&Frame::priority(stream, 1, 255));
                stream
            }),
        ],
    );
}

#[test]
fn section_6_4_rst_stream() {
    check(
        Front::start(),
        &[
            Case::connection("6.4 RST_STREAM on stream 0", PROTOCOL, |client| {
                say(client, &Frame::reset(0, 8))
            }),
            Case::connection("6.4 RST_STREAM on an idle stream", PROTOCOL, |client| {
                say(client, &Frame::reset(1, 8))
            }),
            Case::connection("6.4 RST_STREAM of another length", SIZE, |client| {
                let stream = client.open_get("/held");
                say(client, &Frame::new(kind::RST_STREAM, 0, stream, [0; 3]))
            })
            .h2_says(PROTOCOL_ERROR),
            Case::served("7 unknown error codes mean nothing special", |client| {
                let stream = client.open_get("/held");
                client.send(&Frame::reset(stream, 0xdead_beef));
                client.open_get("/")
            }),
        ],
    );
}

#[test]
fn section_6_5_settings() {
    check(
        Front::start(),
        &[
            Case::connection("6.5 an acknowledgement with a payload", SIZE, |client| {
                let frame = Frame::settings(&[(setting::ENABLE_PUSH, 0)]);
                say(client, &frame.with(flag::ACK))
            })
            .h2_says(PROTOCOL_ERROR),
            Case::connection("6.5 SETTINGS on a stream", PROTOCOL, |client| {
                let mut frame = Frame::settings(&[]);
                frame.stream = 1;
                say(client, &frame)
            }),
            Case::connection("6.5 no multiple of six octets", SIZE, |client| {
                say(client, &Frame::new(kind::SETTINGS, 0, 0, [0; 5]))
            })
            .h2_says(PROTOCOL_ERROR),
            Case::connection("6.5.2 ENABLE_PUSH is 0 or 1", PROTOCOL, |client| {
                say(client, &Frame::settings(&[(setting::ENABLE_PUSH, 2)]))
            }),
            Case::connection("6.5.2 INITIAL_WINDOW_SIZE up to 2^31-1", FLOW, |client| {
                say(client, &Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0x8000_0000)]))
            })
            .h2_says(PROTOCOL_ERROR),
            Case::connection("6.5.2 MAX_FRAME_SIZE from 2^14 on", PROTOCOL, |client| {
                say(client, &Frame::settings(&[(setting::MAX_FRAME_SIZE, 16_383)]))
            }),
            Case::connection("6.5.2 MAX_FRAME_SIZE below 2^24", PROTOCOL, |client| {
                say(client, &Frame::settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)]))
            }),
            Case::connection(
                "RFC 8441, 3: ENABLE_CONNECT_PROTOCOL is 0 or 1",
                PROTOCOL,
                |client| say(client, &Frame::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 2)])),
            ),
            Case::served("6.5.2 unknown settings are ignored", |client| {
                client.send(&Frame::settings(&[(0, 1), (0x7f, u32::MAX), (0xffff, 0)]));
                client.open_get("/")
            }),
            Case::served("6.5.2 all that is allowed", |client| {
                client.send(&Frame::settings(&[
                    (setting::HEADER_TABLE_SIZE, u32::MAX),
                    (setting::ENABLE_PUSH, 1),
                    (setting::MAX_CONCURRENT_STREAMS, 0),
                    (setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff),
                    (setting::MAX_FRAME_SIZE, (1 << 24) - 1),
                    (setting::MAX_HEADER_LIST_SIZE, u32::MAX),
                ]));
                client.open_get("/")
            }),
        ],
    );
}

#[test]
fn section_6_5_3_each_settings_is_acknowledged() {
    let front = Front::start();
    let mut client = front.client();
    // That of the greeting may still be on its way.
    client.send(&Frame::settings(&[])).send(&Frame::settings(&[(0x99, 1)]));
    for _ in 0..3 {
        client.wait(|event| *event == Event::SettingsAck).expect("acknowledgement");
    }
    assert!(client.sync());
    let more = client.kept().iter().any(|event| *event == Event::SettingsAck);
    assert!(!more, "an acknowledgement too many");

    // In the order of the frame: the last value holds.
    let sizes = [0, 7, 1].map(|size| (setting::INITIAL_WINDOW_SIZE, size));
    client.habits.open_windows = false;
    client.send(&Frame::settings(&sizes));
    let stream = client.open_get("/");
    client.expect_headers(stream);
    assert_eq!(client.expect_data(stream), (b"o".to_vec(), false));
    drop(client);
    front.finish();
}

#[test]
fn section_6_5_2_the_proxy_says_nothing_wrong() {
    let front = Front::start();
    let client = front.client();
    let says = |id| client.peer_setting(id);
    assert!(says(setting::ENABLE_PUSH).is_none_or(|push| push == 0), "a server does not push");
    assert!(says(setting::INITIAL_WINDOW_SIZE).is_none_or(|size| size <= 0x7fff_ffff));
    let frame = says(setting::MAX_FRAME_SIZE).unwrap_or(16_384);
    assert!((16_384..1 << 24).contains(&frame), "{frame}");
    let streams = says(setting::MAX_CONCURRENT_STREAMS).expect("a limit of streams");
    assert!((1..=1000).contains(&streams), "{streams} streams");
    let list = says(setting::MAX_HEADER_LIST_SIZE).expect("a limit of fields");
    assert!((8 << 10..=1 << 20).contains(&list), "{list} octets of fields");
    drop(client);
    front.finish();
}

#[test]
fn section_6_6_push_promise() {
    check(
        Front::start(),
        &[Case::connection("6.6, 8.4 a client does not push", PROTOCOL, |client| {
            let stream = client.open_get("/held");
            let payload = [&2_u32.to_be_bytes(), Block::get("/never").as_ref()].concat();
            say(client, &Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, stream, payload))
        })],
    );
}

#[test]
fn section_6_7_ping() {
    check(
        Front::start(),
        &[
            Case::connection("6.7 PING on a stream", PROTOCOL, |client| {
                let mut frame = Frame::ping([0; 8]);
                frame.stream = 1;
                say(client, &frame)
            }),
            Case::connection("6.7 PING of another length", SIZE, |client| {
                say(client, &Frame::new(kind::PING, 0, 0, [0; 6]))
            })
            .h2_says(PROTOCOL_ERROR),
        ],
    );
    let front = Front::start();
    let mut client = front.client();
    let opaque = *b"\x00\xffopaque";
    client.send(&Frame::ping(opaque).with(flag::ACK)).send(&Frame::ping(opaque));
    client.wait(|event| matches!(event, Event::Pong(_))).expect("an answer");
    assert!(client.sync(), "6.7 an answer is not answered");
    let again = client.kept().iter().any(|event| *event == Event::Pong(opaque));
    assert!(!again, "6.7 two answers to one PING");
    drop(client);
    front.finish();
}

#[test]
fn section_6_8_goaway() {
    check(
        Front::start(),
        &[
            Case::connection("6.8 GOAWAY on a stream", PROTOCOL, |client| {
                let mut frame = Frame::goaway(0, 0);
                frame.stream = 1;
                say(client, &frame)
            }),
            Case::connection("4.2 GOAWAY that is too short", SIZE, |client| {
                say(client, &Frame::new(kind::GOAWAY, 0, 0, [0; 7]))
            })
            .h2_says(PROTOCOL_ERROR),
            Case::served("6.8 what runs is finished after GOAWAY of the client", |client| {
                let stream = client.open_get("/");
                client.send(&Frame::goaway(0, 0));
                stream
            }),
        ],
    );
}

#[test]
fn section_6_9_window_update() {
    check(
        Front::start(),
        &[
            Case::stream("6.9 an increment of 0 on a stream", PROTOCOL, |client| {
                let stream = client.open_get("/held");
                client.send(&Frame::window_update(stream, 0));
                stream
            })
            .h2_ends_all(),
            Case::connection("6.9 an increment of 0 on the connection", PROTOCOL, |client| {
                say(client, &Frame::window_update(0, 0))
            }),
            Case::connection("6.9 WINDOW_UPDATE of another length", SIZE, |client| {
                say(client, &Frame::new(kind::WINDOW_UPDATE, 0, 0, [0, 0, 1]))
            })
            .h2_says(PROTOCOL_ERROR),
            Case::served("6.9 the reserved bit is ignored", |client| {
                let stream = client.open_get("/");
                client.send(&Frame::window_update(0, 0x8000_0001));
                stream
            }),
            Case::stream("6.9.1 more than 2^31-1 on a stream", FLOW, |client| {
                let stream = client.open_get("/held");
                client.send(&Frame::window_update(stream, 0x7fff_ffff));
                stream
            }),
            Case::connection("6.9.1 more than 2^31-1 on the connection", FLOW, |client| {
                say(client, &Frame::window_update(0, 0x7fff_ffff))
            }),
            Case::connection("6.9.2 more than 2^31-1 by SETTINGS", FLOW, |client| {
                let stream = client.open_get("/held");
                client.send(&Frame::window_update(stream, 0x7fff_ffff - 65_535));
                say(client, &Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 65_536)]))
            }),
        ],
    );
}

#[test]
fn section_6_9_1_no_more_data_than_the_window() {
    // The origin does not read: all that can be taken on its behalf is soon taken.
    let origin = Origin::start();
    let url = origin.url();
    let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{url}\" }}"));
    let mut client = Client::connect(proxy.first());
    let stream = client.begin(&request("POST", "/", &[]));
    let deaf = origin.accept();
    for _ in 0..4096 {
        if client.try_send(&Frame::data(stream, vec![0; 16_384], false)).is_err() {
            break;
        }
    }
    match client.outcome(stream) {
        Outcome::Reset(FLOW_CONTROL_ERROR) | Outcome::Goaway(FLOW_CONTROL_ERROR) => {}
        Outcome::Closed => {}
        other => panic!("64 MiB were taken that nobody reads: {other:?}; {}", client.history()),
    }
    drop(deaf);
}

#[test]
fn section_6_10_continuation() {
    check(
        Front::start(),
        &[
            Case::connection("6.10 CONTINUATION on stream 0", PROTOCOL, |client| {
                cut_block(client, &Frame::continuation(0, [], true))
            }),
            Case::connection("6.10 CONTINUATION without HEADERS", PROTOCOL, |client| {
                say(client, &Frame::continuation(1, Block::get("/never"), true))
            }),
            Case::connection("6.10 CONTINUATION behind the end of a block", PROTOCOL, |client| {
                let stream = client.open_get("/held");
                say(client, &Frame::continuation(stream, Block::new().literal("a", "b"), true))
            }),
            Case::connection(
                "6.10 CONTINUATION behind the end of the fragments",
                PROTOCOL,
                |client| {
                    let block = Block::get("/held");
                    client.send(&Frame::headers(1, block, true).without(flag::END_HEADERS));
                    client.send(&Frame::continuation(1, [], true));
                    say(client, &Frame::continuation(1, [], true))
                },
            ),
            Case::connection("6.10 CONTINUATION behind DATA", PROTOCOL, |client| {
                let stream = client.begin(&request("POST", "/held", &[]));
                client.data(stream, "x", false);
                say(client, &Frame::continuation(stream, [], true))
            }),
        ],
    );
}
