//! Slices to clients of HTTP/2, on the forward face, in codings, and in place of what fails.

mod site;
mod slices;

use coding::Coding;
use site::until;
use slices::{Object, SLICE, STRONG, Store, body, get, sliced, status_of};
use testkit::h2::{Client, Frame, Response, code};
use testkit::{Message, Origin, Peer, Proxy};

const HOST: &str = "a.example";

fn open(client: &mut Client, fields: &[(&str, &str)]) -> u32 {
    let head = [(":method", "GET"), (":scheme", "http"), (":path", "/big"), (":authority", HOST)];
    client.open(&[&head[..], fields].concat())
}

fn ask(client: &mut Client, fields: &[(&str, &str)]) -> Response {
    let stream = open(client, fields);
    client.response(stream)
}

#[test]
fn streams_of_one_connection_share_slices() {
    let store = Store::new(3 * SLICE + 100, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = Client::connect(proxy.first());
    let streams = [(); 4].map(|()| open(&mut client, &[]));
    let part = open(&mut client, &[("range", "bytes=65530-65545")]);
    for stream in streams {
        let whole = client.response(stream);
        assert_eq!((whole.status, whole.body == store.body()), (200, true), "{stream}");
        assert_eq!(whole.get("content-length"), Some("196708"));
        assert_eq!(whole.get("content-range"), None);
    }
    let part = client.response(part);
    assert_eq!((part.status, &part.body[..]), (206, &store.body()[65_530..65_546]));
    assert_eq!(part.get("content-range"), Some("bytes 65530-65545/196708"));
    assert_eq!(store.ranges().len(), 4, "{:?}", store.ranges());
    let again = ask(&mut client, &[]);
    assert!(again.body == store.body());
    assert!(again.get("cache-status").unwrap().starts_with("bifrons; hit"), "{:?}", again.fields);
    assert_eq!(ask(&mut client, &[("if-none-match", "\"v1\"")]).status, 304);
    assert_eq!(ask(&mut client, &[("range", "bytes=900000-")]).status, 416);
}

#[test]
fn a_stream_is_reset_where_the_rest_is_of_another_version() {
    let store = Store::new(4 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = Client::connect(proxy.first());
    assert_eq!(ask(&mut client, &[("range", "bytes=0-70000")]).body.len(), 70_001);
    store.change(|object| {
        object.body = body(4 * SLICE, 9);
        object.fields = STRONG.replace("v1", "v2");
    });
    let stream = open(&mut client, &[]);
    client.expect_reset(stream, code::INTERNAL_ERROR);
    let again = ask(&mut client, &[]);
    assert!(again.body == store.body(), "the new version, and nothing else");
}

#[test]
fn a_stream_that_is_given_up_stops_further_slices() {
    let store = Store::new(200 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = Client::connect(proxy.first());
    client.habits.open_windows = false;
    let stream = open(&mut client, &[]);
    client.expect_headers(stream);
    client.send(&Frame::reset(stream, code::CANCEL));
    // The connection goes on, and so do the slices for others.
    assert!(client.sync());
    proxy.stop();
    assert!(store.ranges().len() < 200, "{} slices", store.ranges().len());
}

#[test]
fn a_stream_that_waits_for_its_client_is_in_nobodys_way() {
    let store = Store::new(20 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = Client::connect(proxy.first());
    client.habits.open_windows = false;
    let streams = [(); 2].map(|()| open(&mut client, &[]));
    let much = 4 << 20;
    client.send(&Frame::window_update(0, much));
    client.send(&Frame::window_update(streams[1], much));
    assert!(client.response(streams[1]).body == store.body());
    client.send(&Frame::window_update(streams[0], much));
    assert!(client.response(streams[0]).body == store.body());
    assert_eq!(store.ranges().len(), 20, "{:?}", store.ranges());
}

/// A proxy for all that is asked for with slices.
fn forward(store: &Store, rules: &str) -> Proxy {
    let port = store.origin.address().port();
    Proxy::start(&format!(
        "forward \"127.0.0.1:0\" {{ cache {{ slice \"64KiB\" }}; allow \"127.0.0.1\"; \
         ports {port}; {rules} }}"
    ))
}

fn get_by(client: &mut Peer, store: &Store, fields: &str) -> Message {
    let origin = store.origin.address();
    client.send(format!("GET http://{origin}/big HTTP/1.1\r\nHost: {origin}\r\n{fields}\r\n"));
    client.recv_response()
}

#[test]
fn the_forward_face_fetches_in_slices() {
    let store = Store::new(3 * SLICE, STRONG);
    let proxy = forward(&store, "");
    let mut client = proxy.client();
    let part = get_by(&mut client, &store, "Range: bytes=65536-65545\r\n");
    assert_eq!((part.status(), &part.body[..]), (206, &store.body()[65_536..65_546]));
    assert_eq!(store.ranges(), ["bytes=65536-131071"]);
    let whole = get_by(&mut client, &store, "");
    assert_eq!((whole.status(), whole.body == store.body()), (200, true));
    assert!(status_of(&whole).contains("fwd=partial"), "{}", status_of(&whole));
    assert_eq!(store.ranges().len(), 3, "{:?}", store.ranges());
    let again = get_by(&mut client, &store, "");
    assert!(again.body == store.body());
    assert!(status_of(&again).starts_with("bifrons; hit"), "{}", status_of(&again));
    let origin = store.origin.address();
    client.send(format!("HEAD http://{origin}/big HTTP/1.1\r\nHost: {origin}\r\n\r\n"));
    let head = client.recv_head();
    assert_eq!((head.status(), head.get("Content-Length").as_deref()), (200, Some("196608")));
    assert_eq!(store.ranges().len(), 3);
}

#[test]
fn the_forward_face_cuts_what_is_of_another_version() {
    let store = Store::new(3 * SLICE, STRONG);
    let proxy = forward(&store, "");
    let mut client = proxy.client();
    get_by(&mut client, &store, "Range: bytes=0-9\r\n");
    let old = store.body();
    store.change(|object| {
        object.body = body(3 * SLICE, 9);
        object.fields = STRONG.replace("v1", "v2");
    });
    let origin = store.origin.address();
    client.send(format!("GET http://{origin}/big HTTP/1.1\r\nHost: {origin}\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
    assert!(client.recv_rest() == old[..SLICE]);
    assert!(get_by(&mut proxy.client(), &store, "").body == store.body());
}

#[test]
fn a_user_of_the_forward_face_shares_slices_with_others() {
    let store = Store::new(2 * SLICE, STRONG);
    let proxy = forward(&store, "");
    let alice = "Proxy-Authorization: Basic YWxpY2U6eA==\r\n";
    assert!(get_by(&mut proxy.client(), &store, alice).body == store.body());
    assert!(get_by(&mut proxy.client(), &store, "").body == store.body());
    assert_eq!(store.ranges().len(), 2, "{:?}", store.ranges());
    // What the origin asks for is between it and one client.
    let mine = get_by(&mut proxy.client(), &store, "Authorization: Basic YTpi\r\n");
    assert!(mine.body == store.body());
}

/// The body of an answer, out of its coding.
fn unpacked(answer: &Message) -> Vec<u8> {
    match answer.get("Content-Encoding") {
        None => answer.body.clone(),
        Some(coding) => {
            let coding = Coding::of_token(coding.as_bytes()).expect("a coding");
            let limits = coding::Limits { max_size: 1 << 30, max_ratio: 10_000 };
            coding::decode_all(coding, limits, &answer.body).expect("a body")
        }
    }
}

const TEXT: &str = "Content-Type: text/plain\r\nETag: \"v1\"\r\nCache-Control: max-age=60\r\n";

fn packed(store: &Store, rules: &str) -> Proxy {
    let url = store.origin.url();
    Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ cache {{ slice \"64KiB\"; {rules} }}; \
         compress \"zstd\" \"br\" \"gzip\"; to \"{url}\"; }}"
    ))
}

#[test]
fn slices_are_packed_as_one_body() {
    let store = Store::new(3 * SLICE + 100, TEXT);
    let proxy = packed(&store, "");
    let mut client = proxy.client();
    for (accepts, coding) in [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("gzip", "gzip")] {
        let answer = get(&mut client, &format!("Accept-Encoding: {accepts}\r\n"));
        assert_eq!(answer.get("Content-Encoding").as_deref(), Some(coding), "{}", answer.text());
        assert!(unpacked(&answer) == store.body(), "{coding}");
        assert_eq!(answer.get("ETag").as_deref(), Some("W/\"v1\""));
        assert!(!answer.has("Content-Length") && !answer.has("Content-Range"));
    }
    let plain = get(&mut client, "");
    assert_eq!((plain.get("Content-Encoding"), plain.body == store.body()), (None, true));
    assert_eq!(store.ranges().len(), 4, "{:?}", store.ranges());
    // A part is one of the body as it is.
    let part = get(&mut client, "Accept-Encoding: gzip\r\nRange: bytes=65530-65545\r\n");
    assert_eq!((part.status(), part.get("Content-Encoding")), (206, None));
    assert_eq!(&part.body[..], &store.body()[65_530..65_546]);
    client.send("HEAD /big HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.recv_head();
    assert_eq!(head.get("Content-Encoding").as_deref(), Some("gzip"), "{}", head.text());
    assert_eq!(get(&mut client, "If-None-Match: W/\"v1\"\r\n").status(), 304);
}

#[test]
fn a_client_that_knows_no_chunks_gets_packed_slices() {
    let store = Store::new(3 * SLICE, TEXT);
    let proxy = packed(&store, "");
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.0\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n\r\n");
    let answer = client.recv_response();
    assert!(!answer.has("Transfer-Encoding"), "{}", answer.text());
    assert_eq!(answer.get("Content-Encoding").as_deref(), Some("gzip"));
    assert!(unpacked(&answer) == store.body());
}

#[test]
fn a_packed_answer_that_ends_early_is_seen_to() {
    let store = Store::new(3 * SLICE, TEXT);
    let proxy = packed(&store, "");
    assert_eq!(get(&mut proxy.client(), "Range: bytes=0-70000\r\n").body.len(), 70_001);
    store.change(|object| {
        object.body = body(3 * SLICE, 9);
        object.fields = TEXT.replace("v1", "v2");
    });
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(client.recv_head().get("Content-Encoding").as_deref(), Some("gzip"));
    assert!(client.recv_chunked_or_end().is_none(), "no end");
    let mut client = Client::connect(proxy.first());
    let again = ask(&mut client, &[("accept-encoding", "gzip")]);
    let answer = coding::decode_all(
        Coding::Gzip,
        coding::Limits { max_size: 1 << 30, max_ratio: 10_000 },
        &again.body,
    );
    assert!(answer.expect("a body") == store.body());
}

/// Bytes that no coding makes fewer.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size).map(|_| next()).collect()
}

#[test]
fn slices_that_the_origin_packed_are_for_those_who_take_them() {
    let plain = noise(3 * SLICE);
    let gzip = coding::encode_all(Coding::Gzip, 6, &plain).expect("a body");
    let fields = format!("{TEXT}Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
    let store = Store::new(0, &fields);
    store.change(|object| object.body.clone_from(&gzip));
    let proxy = packed(&store, "");
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = get(&mut client, "Accept-Encoding: gzip\r\n");
        assert!(answer.body == gzip, "{} bytes", answer.body.len());
        assert_eq!(answer.get("Content-Encoding").as_deref(), Some("gzip"));
        let other = get(&mut client, "");
        assert!(unpacked(&other) == plain, "{} bytes", other.body.len());
        assert_eq!(other.get("Content-Encoding"), None);
    }
    assert!(store.ranges().len() <= 8, "{:?}", store.ranges());
}

#[test]
fn slices_of_one_coding_are_not_mixed_with_those_of_another() {
    let plain = noise(3 * SLICE);
    let gzip = coding::encode_all(Coding::Gzip, 6, &plain).expect("a body");
    let both = [(plain.clone(), ""), (gzip.clone(), "Content-Encoding: gzip\r\n")];
    let origin = Origin::serve(move |request| {
        let takes = request.get("Accept-Encoding").is_some_and(|list| list.contains("gzip"));
        let (body, coding) = &both[usize::from(takes)];
        // Careless: both have the same tag.
        let fields = format!("{TEXT}Vary: Accept-Encoding\r\n{coding}");
        let object = Object { body: body.clone(), fields, ranges: true, fails: false };
        slices::answer(request, &object)
    });
    let proxy = sliced(&origin.url(), "");
    let mut client = proxy.client();
    for _ in 0..2 {
        // Of each one a slice, then all.
        for range in ["Range: bytes=70000-70009\r\n", ""] {
            let range_of = |body: &[u8]| match range.is_empty() {
                true => body.to_vec(),
                false => body[70_000..70_010].to_vec(),
            };
            let packed = get(&mut client, &format!("Accept-Encoding: gzip\r\n{range}"));
            assert!(packed.body == range_of(&gzip), "{range}");
            let other = get(&mut client, range);
            assert!(other.body == range_of(&plain), "{range}");
        }
    }
    assert!(origin.requests().len() <= 8, "{}", origin.requests().len());
}

const STALE: &str = "ETag: \"v1\"\r\nCache-Control: max-age=0, stale-if-error=3600\r\n";

#[test]
fn stale_slices_stand_in_for_an_origin_that_fails() {
    for (fields, rules) in
        [(STALE, ""), ("ETag: \"v1\"\r\nCache-Control: max-age=0\r\n", "stale if-error=\"1h\"")]
    {
        let store = Store::new(3 * SLICE, fields);
        let proxy = sliced(&store.origin.url(), rules);
        let mut client = proxy.client();
        assert!(get(&mut client, "").body == store.body());
        store.change(|object| object.fails = true);
        let stale = get(&mut client, "");
        assert_eq!((stale.status(), stale.body == store.body()), (200, true), "{}", stale.text());
        assert!(status_of(&stale).contains("fwd=stale"), "{}", status_of(&stale));
        let part = get(&mut client, "Range: bytes=70000-70009\r\n");
        assert_eq!((part.status(), &part.body[..]), (206, &store.body()[70_000..70_010]));
        let mut h2 = Client::connect(proxy.first());
        assert!(ask(&mut h2, &[]).body == store.body());
        // What there is nothing of is what it is.
        client.send("GET /other HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.recv_response().status(), 503);
        store.change(|object| object.fails = false);
        let fresh = get(&mut client, "");
        assert!(fresh.body == store.body());
        assert!(status_of(&fresh).contains("fwd-status=304"), "{}", status_of(&fresh));
    }
}

#[test]
fn stale_slices_stand_in_for_an_origin_that_is_gone() {
    let origin = Origin::start();
    let proxy = sliced(&origin.url(), "");
    let whole = body(2 * SLICE, 0);
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut server = origin.accept();
    for first in [0, SLICE] {
        server.recv_request();
        server.send(format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {SLICE}\r\n{STALE}\
             Content-Range: bytes {first}-{}/{}\r\n\r\n",
            first + SLICE - 1,
            2 * SLICE
        ));
        server.send(&whole[first..first + SLICE]);
    }
    assert!(client.recv_response().body == whole);
    drop((server, origin));
    let stale = get(&mut client, "");
    assert_eq!((stale.status(), stale.body == whole), (200, true), "{}", stale.text());
    assert!(status_of(&stale).contains("origin-unreachable"), "{}", status_of(&stale));
    let packed = get(&mut client, "Range: bytes=65530-65545\r\n");
    assert_eq!((packed.status(), &packed.body[..]), (206, &whole[65_530..65_546]));
}

#[test]
fn stale_slices_stand_in_on_the_forward_face_and_in_codings() {
    let stale = format!("{STALE}Content-Type: text/plain\r\n");
    let store = Store::new(3 * SLICE, &stale);
    let proxy = forward(&store, "");
    let mut client = proxy.client();
    assert!(get_by(&mut client, &store, "").body == store.body());
    let other = packed(&store, "");
    assert!(get(&mut other.client(), "").body == store.body());
    store.change(|object| object.fails = true);
    let again = get_by(&mut client, &store, "");
    assert_eq!((again.status(), again.body == store.body()), (200, true), "{}", again.text());
    let again = get(&mut other.client(), "Accept-Encoding: br\r\n");
    assert_eq!(again.get("Content-Encoding").as_deref(), Some("br"));
    assert!(unpacked(&again) == store.body());
}

#[test]
fn what_is_missing_of_stale_slices_is_not_made_up() {
    let store = Store::new(3 * SLICE, STALE);
    let proxy = sliced(&store.origin.url(), "");
    // The first and the last slice are there.
    for range in ["0-0", "131072-131072"] {
        assert_eq!(get(&mut proxy.client(), &format!("Range: bytes={range}\r\n")).body.len(), 1);
    }
    store.change(|object| object.fails = true);
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.recv_head().status(), 200);
    assert!(client.recv_rest() == store.body()[..SLICE], "up to where nothing is");
    let mut h2 = Client::connect(proxy.first());
    let stream = open(&mut h2, &[]);
    h2.expect_reset(stream, code::INTERNAL_ERROR);
    store.change(|object| object.fails = false);
    assert!(get(&mut proxy.client(), "").body == store.body(), "it was not thrown away");
}

#[test]
fn stale_slices_are_not_mixed_with_those_of_an_origin_that_is_back() {
    let store = Store::new(3 * SLICE, STALE);
    let proxy = sliced(&store.origin.url(), "");
    // The first two slices are there.
    assert_eq!(get(&mut proxy.client(), "Range: bytes=0-70000\r\n").body.len(), 70_001);
    let old = store.body();
    let before = store.ranges().len();
    store.change(|object| object.fails = true);
    let mut client = Client::connect(proxy.first());
    client.habits.open_windows = false;
    let stream = open(&mut client, &[]);
    client.expect_headers(stream);
    // It waits for its window at the end of the first slice, when the origin is back.
    until("that was asked for", || store.ranges().len() == before + 1);
    store.change(|object| {
        object.fails = false;
        object.body = body(3 * SLICE, 9);
        object.fields = STALE.replace("v1", "v2");
    });
    client.send(&Frame::window_update(0, 1 << 20));
    client.send(&Frame::window_update(stream, 1 << 20));
    let mut received = Vec::new();
    while received.len() < SLICE {
        let (bytes, end) = client.expect_data(stream);
        assert!(!end);
        received.extend(bytes);
    }
    assert!(received == old[..SLICE]);
    client.expect_reset(stream, code::INTERNAL_ERROR);
    assert!(get(&mut proxy.client(), "").body == store.body(), "the new version");
}

#[test]
fn what_must_be_validated_does_not_stand_in() {
    let store = Store::new(
        2 * SLICE,
        "ETag: \"v1\"\r\nCache-Control: max-age=0, must-revalidate, stale-if-error=3600\r\n",
    );
    let proxy = sliced(&store.origin.url(), "");
    assert!(get(&mut proxy.client(), "").body == store.body());
    store.change(|object| object.fails = true);
    assert_eq!(get(&mut proxy.client(), "").status(), 503);
}
