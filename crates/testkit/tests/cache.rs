//! Answers that are kept, and what becomes of them.

mod site;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use site::{request, until};
use testkit::{Message, Origin, Peer, Proxy, Served};

/// An origin whose answers are numbered, with these fields.
fn numbered(fields: &'static str) -> Served {
    let count = AtomicUsize::new(0);
    Origin::serve(move |_| {
        let body = format!("answer {}", count.fetch_add(1, Ordering::Relaxed) + 1);
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{body}").into()
    })
}

fn cached(origin: &Served, rules: &str) -> Proxy {
    let url = origin.url();
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ cache {{ {rules} }}; to \"{url}\"; }}"))
}

fn get(client: &mut Peer, target: &str) -> Message {
    request(client, "GET", target, "a.example")
}

fn get_with(client: &mut Peer, target: &str, fields: &str) -> Message {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"));
    client.recv_response()
}

fn status_of(message: &Message) -> String {
    message.get("Cache-Status").unwrap_or_default()
}

#[test]
fn a_second_request_is_answered_from_the_cache_on_any_core() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = cached(&origin, "");
    let first = get(&mut proxy.client(), "/a");
    assert_eq!(first.body_text(), "answer 1");
    assert!(status_of(&first).starts_with("bifrons; fwd=uri-miss"), "{}", status_of(&first));
    for _ in 0..8 {
        let again = get(&mut proxy.client(), "/a");
        assert_eq!((again.status(), again.body_text()), (200, "answer 1".into()));
        assert!(status_of(&again).starts_with("bifrons; hit"), "{}", status_of(&again));
        assert!(again.has("Age"));
    }
    assert_eq!(get(&mut proxy.client(), "/a?b").body_text(), "answer 2");
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn what_may_not_be_stored_is_not() {
    for fields in [
        "Cache-Control: no-store\r\n",
        "Cache-Control: private\r\n",
        "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nSet-Cookie: a=b\r\n",
        "Cache-Control: max-age=60\r\nVary: *\r\n",
        "",
    ] {
        let origin = numbered(fields);
        let proxy = cached(&origin, "");
        let mut client = proxy.client();
        assert_eq!(get(&mut client, "/").body_text(), "answer 1", "{fields}");
        assert_eq!(get(&mut client, "/").body_text(), "answer 2", "{fields}");
    }
}

#[test]
fn conditions_and_ranges_are_answered_from_what_is_stored() {
    let origin = numbered("Cache-Control: max-age=60\r\nETag: \"v\"\r\n");
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    // A client that has it gets to know so, though the cache was empty.
    let held = get_with(&mut client, "/", "If-None-Match: \"v\"\r\n");
    assert_eq!(held.status(), 304, "{}", held.text());
    let part = get_with(&mut client, "/", "Range: bytes=0-2\r\n");
    assert_eq!((part.status(), part.body_text()), (206, "ans".into()));
    assert_eq!(part.get("Content-Range").as_deref(), Some("bytes 0-2/8"));
    let parts = get_with(&mut client, "/", "Range: bytes=0-0,7-7\r\n");
    assert_eq!(parts.status(), 206);
    let text = parts.body_text();
    assert!(text.contains("bytes 0-0/8\r\n\r\na\r\n") && text.contains("bytes 7-7/8"), "{text}");
    let beyond = get_with(&mut client, "/", "Range: bytes=9-\r\n");
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.get("Content-Range").as_deref(), Some("bytes */8"));
    let head = {
        client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        client.recv_head()
    };
    assert_eq!(head.get("Content-Length").as_deref(), Some("8"));
    assert_eq!(get(&mut client, "/").body_text(), "answer 1");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn digests_of_the_whole_are_not_said_of_a_part() {
    let origin = numbered(
        "Cache-Control: max-age=60\r\nContent-Digest: sha-256=:AA==:\r\nContent-MD5: AA==\r\n\
         Repr-Digest: sha-256=:AA==:\r\n",
    );
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    for (fields, status, of_whole) in [
        ("", 200, true),
        ("Range: bytes=0-1\r\n", 206, false),
        ("Range: bytes=0-0,3-3\r\n", 206, false),
        ("", 200, true),
    ] {
        let answer = get_with(&mut client, "/", fields);
        assert_eq!(answer.status(), status, "{fields}");
        assert_eq!(answer.has("Content-Digest"), of_whole, "{fields}");
        assert_eq!(answer.has("Content-MD5"), of_whole, "{fields}");
        assert!(answer.has("Repr-Digest"), "{fields}");
    }
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_stale_answer_is_validated_and_used_again() {
    let origin = Origin::serve(|request| {
        if request.get("If-None-Match").as_deref() == Some("\"v\"") {
            return b"HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nX-New: 1\r\n\r\n".to_vec();
        }
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"v\"\r\nCache-Control: no-cache\r\n\r\nbody"
            .to_vec()
    });
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "body");
    let again = get(&mut client, "/");
    assert_eq!((again.status(), again.body_text()), (200, "body".into()));
    assert_eq!(again.get("X-New").as_deref(), Some("1"));
    assert!(status_of(&again).contains("fwd=stale; fwd-status=304"), "{}", status_of(&again));
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a_site_whose_origin_fails_is_served_stale_by_rule() {
    let failing = Arc::new(AtomicUsize::new(0));
    let fails = Arc::clone(&failing);
    let origin = Origin::serve(move |_| {
        match fails.load(Ordering::Relaxed) {
        0 => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=0\r\nETag: \"v\"\r\n\r\nbody"
            .to_vec(),
        _ => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown".to_vec(),
    }
    });
    let proxy = cached(&origin, "stale if-error=\"1h\"");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "body");
    failing.store(1, Ordering::Relaxed);
    let stale = get(&mut client, "/");
    assert_eq!((stale.status(), stale.body_text()), (200, "body".into()));
    assert!(status_of(&stale).contains("fwd-status=503"), "{}", status_of(&stale));
    // What was never stored has nothing to stand in for it.
    assert_eq!(get(&mut client, "/other").status(), 503);
}

#[test]
fn a_site_whose_origin_is_gone_is_served_stale_by_rule() {
    let origin = Origin::start();
    let kdl = format!(
        "site \"http://127.0.0.1:0\" {{ cache {{ stale if-error=\"1h\"; }}; to \"{}\"; }}",
        origin.url()
    );
    let proxy = Proxy::start(&kdl);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut server = origin.accept();
    server.recv_request();
    server.send(
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=0\r\nETag: \"v\"\r\n\
         Connection: close\r\n\r\nbody",
    );
    assert_eq!(client.recv_response().body_text(), "body");
    drop((server, origin));
    let stale = get(&mut client, "/");
    assert_eq!((stale.status(), stale.body_text()), (200, "body".into()), "{}", stale.text());
    assert_eq!(get(&mut client, "/other").status(), 502);
}

#[test]
fn a_stale_answer_serves_while_it_is_fetched_again_once() {
    let origin = numbered("Cache-Control: max-age=0, stale-while-revalidate=60\r\n");
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "answer 1");
    assert_eq!(get(&mut client, "/").body_text(), "answer 1");
    until("it is fetched again", || origin.requests().len() > 1);
    until("the new one serves", || get(&mut client, "/").body_text() != "answer 1");
}

#[test]
fn many_who_wait_are_served_by_one_request() {
    let origin = Origin::start();
    let kdl =
        format!("threads 2\nsite \"http://127.0.0.1:0\" {{ cache; to \"{}\"; }}", origin.url());
    let proxy = Proxy::start(&kdl);
    let mut clients: Vec<Peer> = (0..64).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET /hot HTTP/1.1\r\nHost: a.example\r\n\r\n");
    }
    let mut server = origin.accept();
    server.recv_request();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nCache-Control: max-age=60\r\n\r\nfirst");
    // What has come goes to whoever waits; nobody waits for the rest of it.
    for client in &mut clients {
        assert_eq!(client.recv_head().status(), 200);
        client.expect("first");
    }
    server.send("later");
    for client in &mut clients {
        client.expect("later");
    }
    origin.expect_no_connection();
}

#[test]
fn who_waited_for_what_cannot_be_stored_goes_on_alone() {
    let origin = numbered("Cache-Control: private\r\n");
    let proxy = cached(&origin, "");
    let mut clients: Vec<Peer> = (0..8).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET /mine HTTP/1.1\r\nHost: a.example\r\n\r\n");
    }
    let mut bodies: Vec<String> =
        clients.iter_mut().map(|client| client.recv_response().body_text()).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 8, "everybody has an answer of its own: {bodies:?}");
}

#[test]
fn a_client_that_goes_leaves_the_answer_to_the_others() {
    let origin = Origin::start();
    let kdl = format!("site \"http://127.0.0.1:0\" {{ cache; to \"{}\"; }}", origin.url());
    let proxy = Proxy::start(&kdl);
    let mut leader = proxy.client();
    leader.send("GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut server = origin.accept();
    server.recv_request();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nCache-Control: max-age=60\r\n\r\nhalf");
    assert_eq!(leader.recv_head().status(), 200);
    leader.expect("half");
    leader.reset();
    let mut follower = proxy.client();
    follower.send("GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(follower.recv_head().status(), 200);
    follower.expect("half");
    server.send("rest");
    follower.expect("rest");
    assert!(status_of(&get(&mut proxy.client(), "/x")).starts_with("bifrons; hit"));
}

#[test]
fn conditions_reach_the_origin_where_nothing_can_be_stored() {
    let origin = Origin::serve(|request| match request.get("If-None-Match") {
        Some(_) => b"HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\n\r\n".to_vec(),
        None => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"v\"\r\n\
            Cache-Control: private\r\n\r\nmine"
            .to_vec(),
    });
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "mine");
    let held = get_with(&mut client, "/", "If-None-Match: \"v\"\r\n");
    assert_eq!(held.status(), 304, "{}", held.text());
}

#[test]
fn a_range_of_what_is_stale_fetches_the_whole_anew() {
    let origin = numbered("Cache-Control: max-age=0\r\nETag: \"v\"\r\n");
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "answer 1");
    let part = get_with(&mut client, "/", "Range: bytes=7-7\r\n");
    assert_eq!((part.status(), part.body_text()), (206, "2".into()), "{}", part.text());
}

#[test]
fn answers_are_selected_by_vary() {
    let origin = Origin::serve(|request| {
        let language = request.get("X-Kind").unwrap_or_default();
        let length = language.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nVary: X-Kind\r\n\
             Cache-Control: max-age=60\r\n\r\n{language}"
        )
        .into()
    });
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    for kind in ["one", "two", "one", "two"] {
        let answer = get_with(&mut client, "/", &format!("X-Kind: {kind}\r\n"));
        assert_eq!(answer.body_text(), kind);
    }
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn two_sites_on_one_origin_share_nothing() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let url = origin.url();
    let proxy = Proxy::start(&format!(
        "site \"http://a.example\" listen=\"127.0.0.1:0\" {{ cache; to \"{url}\"; }}\n\
         site \"http://b.example\" listen=\"127.0.0.1:0\" {{ cache; to \"{url}\"; }}"
    ));
    let ask = |host: &str| {
        let mut client = Peer::connect(proxy.address(&format!("http://{host}")));
        request(&mut client, "GET", "/", host).body_text()
    };
    assert_eq!(ask("a.example"), "answer 1");
    assert_eq!(ask("b.example"), "answer 2");
    assert_eq!(ask("a.example"), "answer 1");
}

#[test]
fn unsafe_methods_make_stored_answers_invalid() {
    let origin = numbered("Cache-Control: max-age=60\r\nLocation: /b\r\n");
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/a").body_text(), "answer 1");
    assert_eq!(get(&mut client, "/b").body_text(), "answer 2");
    client.send("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nxx");
    assert_eq!(client.recv_response().body_text(), "answer 3");
    assert_eq!(get(&mut client, "/a").body_text(), "answer 4");
    assert_eq!(get(&mut client, "/b").body_text(), "answer 5");
}

#[test]
fn purges_take_effect_at_once_and_need_the_token() {
    let origin = numbered("Cache-Control: max-age=60\r\nSurrogate-Key: red blue\r\n");
    let proxy = cached(&origin, "purge token=\"let-me-purge\"");
    let mut client = proxy.client();
    let purge = |target: &str, fields: &str| {
        let mut client = proxy.client();
        client.send(format!(
            "PURGE {target} HTTP/1.1\r\nHost: a.example\r\n\
             Authorization: Bearer let-me-purge\r\n{fields}\r\n"
        ));
        client.recv_response()
    };
    let body = |client: &mut Peer, target: &str| get(client, target).body_text();
    assert_eq!(body(&mut client, "/a/1"), "answer 1");
    assert_eq!(body(&mut client, "/a/2"), "answer 2");
    let refused = request(&mut proxy.client(), "PURGE", "/a/1", "a.example");
    assert_eq!(refused.status(), 403);
    assert_eq!(body(&mut client, "/a/1"), "answer 1");
    assert_eq!(purge("/a/1", "").body_text(), "{\"purged\":1,\"soft\":false}\n");
    assert_eq!(body(&mut client, "/a/1"), "answer 3");
    assert_eq!(body(&mut client, "/a/2"), "answer 2");
    assert!(purge("/a/*", "").body_text().contains("\"purged\":2"));
    assert_eq!(body(&mut client, "/a/2"), "answer 4");
    assert!(purge("/", "Surrogate-Key: blue\r\n").body_text().contains("\"purged\":1"));
    assert_eq!(body(&mut client, "/a/2"), "answer 5");
}

#[test]
fn a_body_beside_a_get_is_no_part_of_any_key() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "answer 1");
    // It goes to the origin, is not stored, and what follows it on the connection is a request.
    client.send(
        "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 24\r\n\r\nGET /evil HTTP/1.1\r\nA: b\
         GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    );
    assert_eq!(client.recv_response().body_text(), "answer 2");
    assert_eq!(client.recv_response().body_text(), "answer 1");
}

#[test]
fn only_if_cached_asks_nobody() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = cached(&origin, "");
    let answer = get_with(&mut proxy.client(), "/", "Cache-Control: only-if-cached\r\n");
    assert_eq!(answer.status(), 504);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn pages_behind_names_of_files_and_reflections_are_not_stored() {
    let origin = Origin::serve(|request| {
        let said = request.get("X-Forwarded-Prefix").unwrap_or_default();
        let body = format!("<a href=\"{said}/x\">private</a>");
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/html\r\n\
             Cache-Control: max-age=60\r\n\r\n{body}",
            body.len()
        )
        .into()
    });
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    for target in ["/account/x.css", "/account;a.js", "/account%3b.css", "/account%23.png"] {
        get(&mut client, target);
        let again = get(&mut client, target);
        assert!(!status_of(&again).contains("hit"), "{target}: {}", status_of(&again));
    }
    let evil = get_with(&mut client, "/", "X-Forwarded-Prefix: //evil.example\r\n");
    assert!(evil.body_text().contains("//evil.example"));
    assert!(!get(&mut client, "/").body_text().contains("evil"));
    assert!(status_of(&get(&mut client, "/")).contains("hit"));
}

#[test]
fn the_forward_face_keeps_answers_of_its_own() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let port = origin.address().port();
    let proxy = Proxy::start(&format!(
        "forward \"127.0.0.1:0\" {{ cache; allow \"127.0.0.1\"; ports {port}; }}\n\
         site \"http://127.0.0.1:0\" {{ cache; to \"{}\"; }}",
        origin.url()
    ));
    let ask = |target: &str| {
        let mut client = Peer::connect(proxy.address("127.0.0.1:0"));
        client.send(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"));
        client.recv_response()
    };
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(ask(&url).body_text(), "answer 1");
    let again = ask(&url);
    assert_eq!(again.body_text(), "answer 1");
    assert!(status_of(&again).starts_with("bifrons; hit"));
}

#[test]
fn a_condition_of_a_client_says_nothing_of_what_is_stored() {
    // Another body than the one that is stored, by a tag that only the client has sent.
    let origin = Origin::serve(|request| match request.get("If-None-Match").as_deref() {
        Some("\"v2\"") => b"HTTP/1.1 304 Not Modified\r\nETag: \"v2\"\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: \"v1\"\r\n\
            Cache-Control: max-age=0\r\n\r\none"
            .to_vec(),
    });
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "one");
    client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\nIf-None-Match: \"v2\"\r\n\r\n");
    client.recv_head();
    let again = get(&mut client, "/");
    assert_eq!((again.body_text(), again.get("ETag").as_deref()), ("one".into(), Some("\"v1\"")));
}

#[test]
fn what_is_fetched_with_credentials_is_for_nobody_else() {
    let origin = Origin::serve(|request| {
        let body = if request.has("Authorization") { "alice" } else { "all" };
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\
             Cache-Control: max-age=0, stale-while-revalidate=60\r\n\r\n{body}",
            body.len()
        )
        .into()
    });
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "all");
    let mine = get_with(&mut client, "/", "Authorization: Basic YTpi\r\n");
    assert_eq!(mine.body_text(), "alice");
    for _ in 0..3 {
        assert_eq!(get(&mut client, "/").body_text(), "all");
    }
}

#[test]
fn a_part_never_stands_for_the_whole() {
    let down = Arc::new(AtomicUsize::new(0));
    let is_down = Arc::clone(&down);
    let origin = Origin::serve(move |request| {
        if is_down.load(Ordering::Relaxed) > 0 {
            return b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown".to_vec();
        }
        assert!(request.has("Range"));
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/*\r\nContent-Length: 4\r\n\
            ETag: \"v\"\r\nCache-Control: max-age=60\r\n\r\npart"
            .to_vec()
    });
    let proxy = cached(&origin, "stale if-error=\"1h\"");
    let mut client = proxy.client();
    let part = get_with(&mut client, "/", "Range: bytes=0-3\r\n");
    assert_eq!((part.status(), part.body_text()), (206, "part".into()));
    down.store(1, Ordering::Relaxed);
    assert_eq!(get(&mut client, "/").status(), 503);
}

#[test]
fn vary_on_what_we_say_of_the_client_is_heeded() {
    let origin = numbered("Cache-Control: max-age=60\r\nVary: X-Forwarded-For\r\n");
    let proxy = cached(&origin, "");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "answer 1");
    assert_eq!(get(&mut client, "/").body_text(), "answer 2");
}

#[test]
fn a_body_that_only_the_end_of_its_connection_ends_is_not_stored() {
    let origin = Origin::start();
    let kdl = format!("site \"http://127.0.0.1:0\" {{ cache; to \"{}\"; }}", origin.url());
    let proxy = Proxy::start(&kdl);
    for _ in 0..2 {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let mut server = origin.accept();
        server.recv_request();
        server.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nhalf of it");
        drop(server);
        assert_eq!(client.recv_head().status(), 200);
        assert_eq!(client.recv_chunked().0, b"half of it");
    }
}

#[test]
fn a_client_that_has_it_is_told_before_the_rest_has_come() {
    let origin = Origin::start();
    let kdl = format!("site \"http://127.0.0.1:0\" {{ cache; to \"{}\"; }}", origin.url());
    let proxy = Proxy::start(&kdl);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nIf-None-Match: \"v\"\r\n\r\n");
    let mut server = origin.accept();
    server.recv_request();
    server.send(
        "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nETag: \"v\"\r\nCache-Control: max-age=60\r\n\r\nhalf",
    );
    assert_eq!(client.recv_head().status(), 304);
    server.send("rest");
    assert_eq!(get(&mut proxy.client(), "/").body_text(), "halfrest");
}
