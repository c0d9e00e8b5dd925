//! Requests that are made again, and those that are not.

mod site;

use site::{get, named, ok, until};
use testkit::{Message, Origin, Peer, Proxy, Served, reserve};

fn before(servers: &[&str], settings: &str) -> Proxy {
    let servers: String = servers.iter().map(|url| format!("server \"{url}\"\n")).collect();
    Proxy::start(&format!(
        "upstream \"app\" {{\n{servers}{settings}\n}}\n\
         site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}"
    ))
}

/// An origin that has only this status to give.
fn only(status: u16) -> Served {
    Origin::serve(move |_| {
        format!("HTTP/1.1 {status} No\r\nContent-Length: 5\r\nX-Own: yes\r\n\r\nsorry").into()
    })
}

fn send(client: &mut Peer, head: &str, body: &str) -> Message {
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    client.send(format!("{head}\r\nHost: a\r\n{length}\r\n{body}"));
    client.recv_response()
}

#[test]
fn a_status_is_no_answer_where_another_server_has_one() {
    let (bad, good) = (only(503), named("good"));
    let proxy = before(&[&bad.url(), &good.url()], "retry \"503\"");
    let mut client = proxy.client();
    for _ in 0..6 {
        assert_eq!(get(&mut client, "/").status(), 200);
    }
    assert_eq!(good.requests().len(), 6);
    assert_eq!(bad.requests().len(), 3);
    drop(client);
    let log = proxy.stop_and_read();
    let attempts: u64 = log.iter().map(|line| line["attempts"].as_u64().unwrap()).sum();
    assert_eq!(attempts, 9);
}

#[test]
fn what_may_not_be_repeated_is_not() {
    let (bad, good) = (only(503), named("good"));
    let proxy = before(&[&bad.url(), &good.url()], "retry \"503\"");
    let mut client = proxy.client();
    assert_eq!(send(&mut client, "POST / HTTP/1.1", "").status(), 503);
    get(&mut client, "/");
    // With a key the server knows it again.
    let keyed = send(&mut client, "POST / HTTP/1.1\r\nIdempotency-Key: \"1\"", "");
    assert_eq!(keyed.status(), 200);
    assert_eq!(bad.requests().len(), 2);
}

#[test]
fn other_statuses_are_answers() {
    let (bad, good) = (only(500), named("good"));
    let proxy = before(&[&bad.url(), &good.url()], "retry \"503\"");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").status(), 500);
    assert_eq!(get(&mut client, "/").status(), 200);
}

#[test]
fn the_last_answer_is_the_answer() {
    let (one, two) = (only(503), only(503));
    let proxy = before(&[&one.url(), &two.url()], "retry \"503\"");
    let response = get(&mut proxy.client(), "/");
    assert_eq!((response.status(), response.body_text().as_str()), (503, "sorry"));
    assert!(response.has("X-Own"), "that of the server, not ours");
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
}

#[test]
fn no_more_attempts_than_allowed() {
    let origins: Vec<_> = (0..5).map(|_| only(503)).collect();
    let urls: Vec<_> = origins.iter().map(Served::url).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    for (attempts, expected) in [(1, 2), (2, 3)] {
        let proxy = before(&urls, &format!("retry \"503\" attempts={attempts}"));
        let before: usize = origins.iter().map(|origin| origin.requests().len()).sum();
        assert_eq!(get(&mut proxy.client(), "/").status(), 503);
        let after: usize = origins.iter().map(|origin| origin.requests().len()).sum();
        assert_eq!(after - before, expected);
    }
    let dead = [reserve(), reserve()].map(|address| format!("http://{address}"));
    let proxy = before(&[&dead[0], &dead[1], urls[0]], "retry attempts=1");
    assert_eq!(get(&mut proxy.client(), "/").status(), 502);
    let proxy = before(&[&dead[0], urls[0]], "retry attempts=0");
    assert_eq!(get(&mut proxy.client(), "/").status(), 502);
}

#[test]
fn there_are_only_so_many_retries_in_all() {
    let (bad, good) = (only(503), named("good"));
    let proxy = before(&[&bad.url(), &good.url()], "retry \"503\" budget=\"0%\"");
    let mut client = proxy.client();
    let answers: Vec<_> = (0..40).map(|_| get(&mut client, "/").status()).collect();
    // Ten are free; of the rest the bad server's answers are passed on.
    assert!(answers[..20].iter().all(|status| *status == 200), "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 503).count(), 10, "{answers:?}");
}

#[test]
fn one_that_hangs_is_waited_for_elsewhere() {
    let hanging = Origin::start();
    let good = named("good");
    let proxy =
        before(&[&hanging.url(), &good.url()], "retry \"timeout\" attempt-timeout=\"300ms\"");
    let mut client = proxy.client();
    let response = get(&mut client, "/");
    assert_eq!(response.status(), 200);
    let mut held = hanging.accept();
    assert_eq!(held.recv_request().target(), "/");
    get(&mut client, "/");
    // Somebody may be at work on it: it is not sent to two.
    assert_eq!(send(&mut client, "POST / HTTP/1.1", "").status(), 504);
}

#[test]
fn one_that_dies_with_a_request_is_survived() {
    let dying = Origin::start();
    let good = named("good");
    let proxy = before(&[&dying.url(), &good.url()], "");
    let mut client = proxy.client();
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = dying.accept();
    upstream.recv_request();
    upstream.reset();
    assert_eq!(client.recv_response().body_text(), "good /x a");
    // Round robin has the dying one next but one.
    get(&mut client, "/");
    client.send("POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let mut upstream = dying.accept();
    upstream.recv_request();
    upstream.reset();
    assert_eq!(client.recv_response().status(), 502, "nobody knows what became of it");
}

#[test]
fn a_server_that_answered_in_part_is_not_replaced() {
    let dying = Origin::start();
    let good = named("good");
    let proxy = before(&[&dying.url(), &good.url()], "retry \"503\"");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = dying.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(client.recv_head().status(), 103);
    upstream.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.recv_response().status(), 503);
    assert!(good.requests().is_empty());
}

#[test]
fn a_body_that_is_on_its_way_is_not_sent_twice() {
    let (bad, good) = (only(503), named("good"));
    let proxy = before(&[&bad.url(), &good.url()], "retry \"503\"");
    let mut client = proxy.client();
    assert_eq!(send(&mut client, "PUT / HTTP/1.1", "body").status(), 503);
    assert!(good.requests().is_empty());
}

#[test]
fn a_body_that_is_still_with_the_client_goes_to_the_next() {
    let bad = Origin::start();
    let good = named("good");
    let proxy = before(&[&bad.url(), &good.url()], "retry \"503\"");
    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let mut upstream = bad.accept();
    upstream.recv_head();
    upstream.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    // The client is not asked for the body before somebody wants it.
    until("the next one is connected to", || good.connections() == 1);
    client.send("body");
    assert_eq!(client.recv_response().status(), 200);
    assert_eq!(good.request().body, b"body");
}

#[test]
fn a_kept_connection_that_was_closed_is_no_failure() {
    let origin = Origin::start();
    let proxy = before(&[&origin.url()], "retry attempts=0");
    let mut client = proxy.client();
    let mut first = || {
        client.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.recv_request();
        upstream.send(ok("first"));
        assert_eq!(client.recv_response().body_text(), "first");
        upstream
    };
    let mut kept = first();
    // The server lets go while the next request is on its way to it.
    client.send("PUT /second HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    kept.recv_head();
    drop(kept);
    let mut upstream = origin.accept();
    upstream.recv_head();
    client.send("body");
    upstream.expect("body");
    upstream.send(ok("second"));
    assert_eq!(client.recv_response().body_text(), "second");
}
