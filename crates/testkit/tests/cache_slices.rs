//! Large answers that are fetched and kept in slices.

mod site;
mod slices;

use slices::{SLICE, STRONG, Store, body, get, sliced, status_of};
use testkit::{Origin, Peer, Proxy};

#[test]
fn a_whole_answer_is_made_of_slices_and_given_again() {
    let store = Store::new(3 * SLICE + 100, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    let first = get(&mut client, "");
    assert_eq!((first.status(), first.body == store.body()), (200, true));
    assert_eq!(first.get("Content-Length").as_deref(), Some("196708"));
    assert!(!first.has("Content-Range"), "{}", first.text());
    assert!(status_of(&first).starts_with("bifrons; fwd=uri-miss"), "{}", status_of(&first));
    let ranges =
        ["bytes=0-65535", "bytes=65536-131071", "bytes=131072-196607", "bytes=196608-262143"];
    assert_eq!(store.ranges(), ranges);
    let again = get(&mut client, "");
    assert!(again.body == store.body());
    assert!(status_of(&again).starts_with("bifrons; hit"), "{}", status_of(&again));
    assert_eq!(store.ranges().len(), 4);
}

#[test]
fn one_byte_costs_one_slice() {
    let store = Store::new(100 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    let byte = get(&mut client, "Range: bytes=700000-700000\r\n");
    assert_eq!((byte.status(), &byte.body[..]), (206, &store.body()[700_000..=700_000]));
    assert_eq!(byte.get("Content-Range").as_deref(), Some("bytes 700000-700000/6553600"));
    assert_eq!(store.ranges(), ["bytes=655360-720895"]);
    let near = get(&mut client, "Range: bytes=720000-720009\r\n");
    assert_eq!(&near.body[..], &store.body()[720_000..720_010]);
    assert!(status_of(&near).starts_with("bifrons; hit"), "{}", status_of(&near));
    let over = get(&mut client, "Range: bytes=720890-720900\r\n");
    assert_eq!(&over.body[..], &store.body()[720_890..=720_900]);
    assert!(status_of(&over).contains("fwd=partial"), "{}", status_of(&over));
    assert_eq!(store.ranges(), ["bytes=655360-720895", "bytes=720896-786431"]);
}

#[test]
fn the_last_bytes_and_those_behind_the_end() {
    let store = Store::new(3 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    let last = get(&mut client, "Range: bytes=-10\r\n");
    assert_eq!((last.status(), &last.body[..]), (206, &store.body()[3 * SLICE - 10..]));
    // Any slice tells how many bytes there are.
    assert_eq!(store.ranges(), ["bytes=0-65535", "bytes=131072-196607"]);
    let open = get(&mut client, "Range: bytes=196600-\r\n");
    assert_eq!((open.status(), open.body.len()), (206, 8));
    let beyond = get(&mut client, "Range: bytes=196608-\r\n");
    assert_eq!(beyond.status(), 416, "{}", beyond.text());
    assert_eq!(beyond.get("Content-Range").as_deref(), Some("bytes */196608"));
    // Within a slice that is there, nobody is asked.
    let before = store.ranges().len();
    store.change(|object| object.body.truncate(2 * SLICE + 10));
    let within = get(&mut proxy.client(), "Range: bytes=0-9\r\n");
    assert_eq!((within.status(), store.ranges().len()), (206, before));
}

#[test]
fn conditions_and_head_are_answered_from_slices() {
    let store = Store::new(2 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "If-None-Match: \"v1\"\r\n").status(), 304);
    assert_eq!(get(&mut client, "If-Match: \"v2\"\r\n").status(), 412);
    assert_eq!(store.ranges(), ["bytes=0-65535"]);
    client.send("HEAD /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let head = client.recv_head();
    assert_eq!((head.status(), head.get("Content-Length").as_deref()), (200, Some("131072")));
    assert!(!head.has("Content-Range"));
    assert_eq!(store.ranges().len(), 1);
    let if_range = get(&mut client, "Range: bytes=5-6\r\nIf-Range: \"v1\"\r\n");
    assert_eq!((if_range.status(), if_range.body.len()), (206, 2));
    let other = get(&mut client, "Range: bytes=70000-70001\r\nIf-Range: \"v0\"\r\n");
    assert_eq!((other.status(), other.body == store.body()), (200, true));
    assert_eq!(store.ranges(), ["bytes=0-65535", "bytes=65536-131071"]);
}

#[test]
fn many_who_wait_for_slices_cost_one_request_each() {
    // Which core asks for a slice, and so by which connection, is left to chance.
    let store = Store::new(2 * SLICE, STRONG);
    let url = store.origin.url();
    let proxy = Proxy::start(&format!(
        "threads 2\nsite \"http://127.0.0.1:0\" {{ cache {{ slice \"64KiB\"; }}; to \"{url}\"; }}"
    ));
    let mut clients: Vec<Peer> = (0..32).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    }
    for client in &mut clients {
        assert!(client.recv_response().body == store.body());
    }
    let mut ranges = store.ranges();
    ranges.sort();
    assert_eq!(ranges, ["bytes=0-65535", "bytes=65536-131071"]);
}

#[test]
fn credentials_do_not_cut_what_others_began() {
    let store = Store::new(2 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "Range: bytes=0-9\r\n").status(), 206);
    // The rest may not be kept of what comes for one with credentials.
    for fields in ["Authorization: Basic YTpi\r\n", "X-Original-URL: /other\r\n"] {
        assert!(get(&mut client, fields).body == store.body(), "{fields}");
    }
}

#[test]
fn one_client_does_not_switch_slices_off() {
    let store = Store::new(3 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    for fields in [
        "Range: bytes=999999999-\r\nIf-None-Match: \"x\"\r\n",
        "Range: bytes=999999999-\r\n",
        "Range: bytes=0-9\r\nX-Original-URL: /other\r\n",
        "Range: bytes=0-9\r\nX-Echoed: \"v1\"\r\nAuthorization: Basic YTpi\r\n",
    ] {
        get(&mut client, fields);
    }
    store.change(|object| object.ranges = false);
    get(&mut client, "Range: bytes=131072-131080\r\nCookie: a=b\r\nCache-Control: no-store\r\n");
    store.change(|object| object.ranges = true);
    let part = get(&mut client, "Range: bytes=65536-65540\r\n");
    assert_eq!((part.status(), &part.body[..]), (206, &store.body()[65_536..65_541]));
    assert_eq!(store.ranges().last().unwrap(), "bytes=65536-131071");
}

#[test]
fn an_origin_without_ranges_gives_the_whole_once() {
    let store = Store::new(3 * SLICE, STRONG);
    store.change(|object| object.ranges = false);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    assert!(get(&mut client, "").body == store.body());
    let part = get(&mut client, "Range: bytes=70000-70009\r\n");
    assert_eq!((part.status(), &part.body[..]), (206, &store.body()[70_000..70_010]));
    assert!(status_of(&part).starts_with("bifrons; hit"), "{}", status_of(&part));
    assert_eq!(store.ranges(), ["bytes=0-65535"]);
}

#[test]
fn what_has_no_strong_validator_goes_whole_and_that_is_remembered() {
    for fields in [
        "ETag: W/\"v1\"\r\nCache-Control: max-age=60\r\n",
        "Cache-Control: max-age=60\r\n",
        "ETag: \"v1\"\r\nCache-Control: no-store\r\n",
        // Two versions may be of the same second.
        "Cache-Control: max-age=60\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
         Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n",
    ] {
        let store = Store::new(2 * SLICE, fields);
        let proxy = sliced(&store.origin.url(), "");
        let mut client = proxy.client();
        assert!(get(&mut client, "").body == store.body(), "{fields}");
        assert!(get(&mut client, "").body == store.body(), "{fields}");
        let ranges = store.ranges();
        assert_eq!(&ranges[..2], ["bytes=0-65535", "-"], "{fields}");
        assert!(ranges[2..].iter().all(|range| range == "-"), "{fields}: {ranges:?}");
    }
}

#[test]
fn a_date_is_a_validator_where_it_is_old_enough() {
    let store = Store::new(
        2 * SLICE,
        "Cache-Control: max-age=900000000\r\nDate: Mon, 01 Jan 2024 00:01:00 GMT\r\n\
         Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n",
    );
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    assert!(get(&mut client, "").body == store.body());
    assert!(get(&mut client, "").body == store.body());
    assert_eq!(store.ranges(), ["bytes=0-65535", "bytes=65536-131071"]);
}

#[test]
fn answers_that_are_no_parts_are_what_they_are() {
    let origin = Origin::serve(|request| match request.target().as_str() {
        "/gone" => b"HTTP/1.1 404 Not Found\r\nCache-Control: max-age=60\r\n\
            Content-Length: 4\r\n\r\ngone"
            .to_vec(),
        "/moved" => b"HTTP/1.1 302 Found\r\nLocation: /big\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown".to_vec(),
    });
    let proxy = sliced(&origin.url(), "");
    for (target, status) in [("/gone", 404), ("/gone", 404), ("/moved", 302), ("/down", 503)] {
        let answer = site::request(&mut proxy.client(), "GET", target, "a.example");
        assert_eq!(answer.status(), status, "{target}");
    }
    let targets: Vec<_> =
        origin.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/gone", "/moved", "/down"]);
}

#[test]
fn another_version_midway_cuts_the_answer_and_throws_the_old_slices_away() {
    let store = Store::new(4 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    // Two slices of the old version are there.
    assert_eq!(get(&mut proxy.client(), "Range: bytes=0-70000\r\n").body.len(), 70_001);
    let old = store.body();
    store.change(|object| {
        object.body = body(4 * SLICE, 9);
        object.fields = STRONG.replace("v1", "v2");
    });
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.recv_head().status(), 200);
    let received = client.recv_rest();
    assert!(received == old[..2 * SLICE], "{} bytes", received.len());
    let again = get(&mut proxy.client(), "");
    assert!(again.body == store.body(), "the new version, and nothing else");
}

#[test]
fn a_slice_of_an_older_version_is_fetched_again() {
    let store = Store::new(3 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    // The second slice is of the old version.
    assert_eq!(get(&mut proxy.client(), "Range: bytes=65536-65536\r\n").body.len(), 1);
    store.change(|object| {
        object.body = body(3 * SLICE, 9);
        object.fields = STRONG.replace("v1", "v2");
    });
    let whole = get(&mut proxy.client(), "");
    assert!(whole.body == store.body());
    assert_eq!(store.ranges().len(), 4);
}

#[test]
fn stale_slices_are_validated_one_by_one() {
    let store = Store::new(2 * SLICE, "ETag: \"v1\"\r\nCache-Control: no-cache\r\n");
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    assert!(get(&mut client, "").body == store.body());
    let again = get(&mut client, "");
    assert!(again.body == store.body());
    assert!(status_of(&again).contains("fwd-status=304"), "{}", status_of(&again));
    let validated = store.origin.requests()[2..].iter().all(|it| it.has("If-None-Match"));
    assert_eq!((validated, store.ranges().len()), (true, 4));
    store.change(|object| {
        object.body = body(2 * SLICE, 3);
        object.fields = object.fields.replace("v1", "v2");
    });
    assert!(get(&mut client, "").body == store.body());
}

#[test]
fn an_origin_that_cannot_be_believed_spoils_nothing() {
    let other_range = "bytes 1-65536/196608";
    let (right, unknown) = ("bytes 0-65535/196608", "bytes 0-65535/*");
    // What is said of the first slice, how long it is said to be, and what is sent of it.
    for (range, length) in [(other_range, SLICE), (unknown, SLICE), (right, SLICE - 1)] {
        let origin = Origin::serve(move |request| match request.get("Range") {
            Some(_) => {
                let head = format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\n{STRONG}\
                     Content-Length: {length}\r\n\r\n"
                );
                [head.as_bytes(), &body(length, 1)].concat()
            }
            None => {
                let whole = body(3 * SLICE, 2);
                let length = whole.len();
                let head = format!("HTTP/1.1 200 OK\r\n{STRONG}Content-Length: {length}\r\n\r\n");
                [head.as_bytes(), &whole].concat()
            }
        });
        let proxy = sliced(&origin.url(), "");
        for _ in 0..2 {
            let answer = get(&mut proxy.client(), "");
            assert_eq!(answer.status(), 200, "{range}");
            assert!(answer.body == body(3 * SLICE, 2), "{range}");
        }
        assert_eq!(origin.requests().len(), 2, "{range}");
    }
}

#[test]
fn a_slice_that_breaks_off_is_not_kept_and_the_client_sees_it() {
    let origin = Origin::start();
    let proxy = sliced(&origin.url(), "");
    let whole = body(2 * SLICE, 0);
    let head = |first: usize| {
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {SLICE}\r\n{STRONG}\
             Content-Range: bytes {first}-{}/{}\r\n\r\n",
            first + SLICE - 1,
            2 * SLICE
        )
    };
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut server = origin.accept();
    server.recv_request();
    server.send(head(0));
    server.send(&whole[..SLICE]);
    server.recv_request();
    server.send(head(SLICE));
    server.send(&whole[SLICE..SLICE + 10]);
    drop(server);
    assert_eq!(client.recv_head().status(), 200);
    let received = client.recv_rest();
    assert!(received == whole[..SLICE + 10], "{} bytes", received.len());
    // The first slice is there, the second is asked for again.
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut server = origin.accept();
    let request = server.recv_request();
    assert_eq!(request.get("Range").as_deref(), Some("bytes=65536-131071"));
    server.send(head(SLICE));
    server.send(&whole[SLICE..]);
    assert!(client.recv_response().body == whole);
}

#[test]
fn a_connection_that_was_too_old_between_slices_costs_nothing() {
    let origin = Origin::start();
    let proxy = sliced(&origin.url(), "");
    let whole = body(2 * SLICE, 0);
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    for number in 0..2 {
        // Closed behind each answer, without a word.
        let mut server = origin.accept();
        server.recv_request();
        let first = number * SLICE;
        server.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        server.send(format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {SLICE}\r\n{STRONG}\
             Content-Range: bytes {first}-{}/{}\r\n\r\n",
            first + SLICE - 1,
            whole.len()
        ));
        server.send(&whole[first..first + SLICE]);
    }
    assert_eq!(client.recv_head().status(), 103);
    assert!(client.recv_response().body == whole);
}

#[test]
fn a_client_that_goes_stops_further_slices() {
    let store = Store::new(200 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.recv_head().status(), 200);
    client.reset();
    proxy.stop();
    assert!(store.ranges().len() < 200, "{} slices", store.ranges().len());
}

#[test]
fn several_ranges_and_no_store_go_as_without_slices() {
    let store = Store::new(2 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "");
    let mut client = proxy.client();
    client.send("GET /other HTTP/1.1\r\nHost: a.example\r\nRange: bytes=0-0,70000-70000\r\n\r\n");
    client.recv_response();
    get(&mut client, "Range: bytes=0-0\r\nCache-Control: no-store\r\n");
    assert_eq!(store.ranges(), ["bytes=0-0,70000-70000", "bytes=0-0"]);
    let refused = get(&mut client, "Cache-Control: only-if-cached\r\n");
    assert_eq!((refused.status(), store.ranges().len()), (504, 2));
    assert!(get(&mut client, "").body == store.body());
    let kept = get(&mut client, "Cache-Control: only-if-cached\r\n");
    assert_eq!((kept.status(), store.ranges().len()), (200, 4));
}

#[test]
fn purges_take_all_slices() {
    let store = Store::new(2 * SLICE, STRONG);
    let proxy = sliced(&store.origin.url(), "purge token=\"let-me-purge\";");
    let mut client = proxy.client();
    assert!(get(&mut client, "").body == store.body());
    let mut purger = proxy.client();
    purger.send(
        "PURGE /big HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer let-me-purge\r\n\r\n",
    );
    assert_eq!(purger.recv_response().body_text(), "{\"purged\":2,\"soft\":false}\n");
    assert!(get(&mut client, "").body == store.body());
    assert_eq!(store.ranges().len(), 4);
}
