//! RFC 9113, sections 3 and 4: how a connection begins, and what all frames have in common.

mod h2;

use h2::{Case, Front, check, cut_block, request};
use testkit::h2::code::{FRAME_SIZE_ERROR, PROTOCOL_ERROR};
use testkit::h2::{Block, Client, Event, Frame, PREFACE, flag, kind, setting};
use testkit::{Authority, Peer, Proxy, Scratch, tls_client};

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
const SIZE: &[u32] = &[FRAME_SIZE_ERROR];

/// The largest payload that the proxy takes.
fn largest(client: &Client) -> usize {
    client.peer_setting(setting::MAX_FRAME_SIZE).map_or(16_384, |size| size as usize)
}

#[test]
fn section_3_3_tls_clients_ask_for_h2_by_alpn() {
    let authority = Authority::new("test authority");
    let (scratch, identity) = (Scratch::new(), authority.issue(&["a.example"]));
    scratch.write("a.pem", &identity.cert);
    scratch.write("a.key", &identity.key);
    let site = "site \"https://a.example:0\" listen=\"127.0.0.1:0\" {\n\
                tls cert=\"a.pem\" key=\"a.key\"; respond 200 \"secure\" }";
    let proxy = Proxy::start_in(scratch, site);
    let config = tls_client(&authority, None);
    let mut client = Client::connect_tls(proxy.first(), &config, "a.example");
    let stream = client.open(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", "a.example"),
    ]);
    assert_eq!(client.response(stream).text(), "secure");

    // A client that offers no protocol still gets HTTP/1.1.
    let mut old = proxy.client().into_tls(&config, "a.example").unwrap();
    assert_ne!(old.session().alpn_protocol(), Some(&b"h2"[..]));
    old.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(old.recv_response().body_text(), "secure");
}

#[test]
fn section_3_4_preface() {
    let front = Front::start();
    let address = front.proxy.first();

    // The server begins with SETTINGS, and acknowledges ours.
    let mut client = Client::over(Peer::connect(address));
    client.send_raw(PREFACE).send(&Frame::settings(&[]));
    let first = client.recv_frame().expect("the preface of the server");
    assert_eq!((first.kind, first.flags, first.stream), (kind::SETTINGS, 0, 0), "{first:?}");
    client.send(&Frame::settings_ack());
    client.wait(|event| *event == Event::SettingsAck).expect("acknowledgement");

    // A client need not wait for it.
    let mut client = Client::over(Peer::connect(address));
    let request = Frame::headers(1, Block::get("/eager"), true).bytes();
    client.send_raw([PREFACE, &Frame::settings(&[]).bytes(), &request].concat());
    assert_eq!(client.response(1).status, 200, "a request right behind the preface");

    // It may come in pieces.
    let mut client = Client::over(Peer::connect(address));
    for octet in [PREFACE, &Frame::settings(&[]).bytes(), &request].concat() {
        client.send_raw([octet]);
    }
    assert_eq!(client.response(1).status, 200, "a preface in pieces");

    // What is none ends the connection.
    let wrong: [&[u8]; 4] = [
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n",
        b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\nA: b\r\n\r\nSM\r\n\r\n",
    ];
    for preface in wrong {
        let mut peer = Peer::connect(address);
        let request = Frame::headers(1, Block::get("/never"), true).bytes();
        let _ = peer.try_send([preface, &Frame::settings(&[]).bytes(), &request].concat());
        peer.recv_until_gone();
    }

    // SETTINGS come first (section 3.4: the preface is followed by a SETTINGS frame).
    for frame in [Frame::ping([1; 8]), Frame::headers(1, Block::get("/never"), true)] {
        let mut client = Client::over(Peer::connect(address));
        client.send_raw([PREFACE, &frame.bytes()].concat());
        assert!(!client.sync(), "{frame:?} before SETTINGS was taken; {}", client.history());
        let code = client.end_of_connection();
        assert!(code.is_none_or(|code| code == PROTOCOL_ERROR), "{frame:?} before SETTINGS");
    }
    drop(client);
    front.finish();
}

#[test]
fn section_4_1_frame_format() {
    check(
        Front::start(),
        &[
            Case::served("4.1 frames of unknown types are ignored", |client| {
                client.send(&Frame::new(0x16, 0xff, 0, "any")).send(&Frame::new(0xfe, 0, 7, ""));
                client.open_get("/")
            }),
            Case::served("4.1 undefined flags are ignored", |client| {
                client.send(&Frame::ping([2; 8]).with(0xfe));
                client.send(&Frame::window_update(0, 1).with(0xff));
                let stream = client.take_stream();
                client.send(&Frame::headers(stream, Block::get("/"), true).with(0xd2));
                stream
            }),
            Case::served("4.1 the reserved bit is ignored", |client| {
                let stream = client.take_stream();
                client.send(&Frame::ping([3; 8])).send_raw({
                    let mut frame = Frame::headers(stream, Block::get("/"), true);
                    frame.stream |= 0x8000_0000;
                    frame.bytes()
                });
                stream
            }),
        ],
    );
}

#[test]
fn section_4_2_frame_size() {
    check(
        Front::start(),
        &[
            Case::served("4.2 frames of 2^14 octets are taken", |client| {
                let stream = client.begin(&request("POST", "/", &[]));
                client.data(stream, vec![b'a'; 16_384], true);
                stream
            }),
            Case::served("4.2 a header block of 2^14 octets is taken", |client| {
                let room = 16_384 - Block::get("/").literal("x", "").len() - 3;
                let block = Block::get("/").literal("x", vec![b'a'; room]);
                client.open_block(&block, true)
            }),
            Case::either("4.2 DATA larger than allowed", SIZE, |client| {
                let stream = client.begin(&request("POST", "/held", &[]));
                let size = largest(client) + 1;
                client.data(stream, vec![0; size], true);
                stream
            }),
            Case::connection("4.2 HEADERS larger than allowed", SIZE, |client| {
                let block = Block::get("/never").literal("x", vec![b'a'; largest(client)]);
                client.open_block(&block, true)
            }),
            Case::connection("4.2 SETTINGS larger than allowed", SIZE, |client| {
                let many = vec![(0xff, 0); largest(client) / 6 + 1];
                client.send(&Frame::settings(&many));
                0
            }),
        ],
    );
}

#[test]
fn section_4_3_field_blocks() {
    check(
        Front::start(),
        &[
            Case::served("4.3 a block may come in fragments, also in empty ones", |client| {
                let (stream, block) = (client.take_stream(), Block::get("/").literal("x", "y"));
                let (left, right) = block.as_ref().split_at(9);
                client.send_all(&[
                    Frame::headers(stream, [], true).without(flag::END_HEADERS),
                    Frame::continuation(stream, left, false),
                    Frame::continuation(stream, [], false),
                    Frame::continuation(stream, right, false),
                    Frame::continuation(stream, [], true),
                ]);
                stream
            }),
            Case::connection("4.3 PRIORITY inside a block", PROTOCOL, |client| {
                cut_block(client, &Frame::priority(1, 0, 1))
            }),
            Case::connection("4.3 PING inside a block", PROTOCOL, |client| {
                cut_block(client, &Frame::ping([4; 8]))
            }),
            Case::connection("4.3 DATA of the same stream inside a block", PROTOCOL, |client| {
                cut_block(client, &Frame::data(1, "x", true))
            }),
            Case::connection("4.3 RST_STREAM inside a block", PROTOCOL, |client| {
                cut_block(client, &Frame::reset(1, 8))
            }),
            Case::connection("4.3 SETTINGS inside a block", PROTOCOL, |client| {
                cut_block(client, &Frame::settings(&[]))
            }),
            Case::connection("4.3 HEADERS of another stream inside a block", PROTOCOL, |client| {
                cut_block(client, &Frame::headers(3, Block::get("/never"), true))
            }),
            Case::connection("4.3, 5.5 unknown type inside a block", PROTOCOL, |client| {
                cut_block(client, &Frame::new(0x16, 0, 1, "x"))
            }),
            Case::connection("4.3 CONTINUATION of another stream", PROTOCOL, |client| {
                cut_block(client, &Frame::continuation(3, [], true))
            }),
        ],
    );
}
