//! Large answers that are given often leave as files.

mod site;

use site::{noise, request, until};
use testkit::{Origin, Peer, Proxy, Served};

const LENGTH: usize = 3_000_000;

/// A cached site with a large answer, which has been asked for so often that it is a file too.
fn hot() -> (Proxy, Served, Vec<u8>) {
    let bytes = noise(7, LENGTH);
    let body = bytes.clone();
    let origin = Origin::serve(move |_| {
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nCache-Control: max-age=600\r\n\
             ETag: \"large\"\r\n\r\n"
        )
        .into_bytes();
        answer.extend_from_slice(&body);
        answer
    });
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ cache {{ purge token=\"let-me-purge\" }};  to \"{}\" }}",
        origin.url()
    ));
    let mut client = proxy.client();
    until("it is a file", || {
        assert!(get(&mut client).body == bytes);
        proxy.server().cache().stats().images == 1
    });
    (proxy, origin, bytes)
}

fn get(client: &mut Peer) -> testkit::Message {
    request(client, "GET", "/large", "a.example")
}

fn get_with(client: &mut Peer, fields: &str) -> testkit::Message {
    client.send(format!("GET /large HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"));
    client.recv_response()
}

#[test]
fn the_same_bytes_come_whole_and_in_parts() {
    let (proxy, origin, bytes) = hot();
    let mut client = proxy.client();
    for _ in 0..3 {
        let whole = get(&mut client);
        assert!(whole.get("Cache-Status").unwrap().starts_with("bifrons; hit"));
        assert_eq!(whole.get("Content-Length").unwrap(), LENGTH.to_string());
        assert!(whole.body == bytes);
        let part = get_with(&mut client, "Range: bytes=1000-2000000\r\n");
        assert_eq!(part.status(), 206);
        assert!(part.body == bytes[1000..=2_000_000]);
        let parts = get_with(&mut client, "Range: bytes=5-9, 2500000-2999999\r\n");
        assert_eq!(parts.status(), 206);
        assert!(parts.body.windows(500_000).any(|window| *window == bytes[2_500_000..]));
        let same = get_with(&mut client, "If-None-Match: \"large\"\r\n");
        assert_eq!(same.status(), 304);
    }
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn slow_readers_hold_up_nobody_and_get_all_of_it() {
    let (proxy, _origin, bytes) = hot();
    let mut slow: Vec<_> = (0..5).map(|_| proxy.client()).collect();
    for client in &mut slow {
        client.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.recv_head().status(), 200);
    }
    assert!(get(&mut proxy.client()).body == bytes);
    // What was purged is sent to its end.
    let mut client = proxy.client();
    client.send(
        "PURGE /large HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer let-me-purge\r\n\r\n",
    );
    assert_eq!(client.recv_response().status(), 200);
    for client in &mut slow {
        assert!(client.recv_exact(LENGTH) == bytes);
    }
    drop(slow);
    until("the file is gone", || proxy.server().cache().stats().images == 0);
}
