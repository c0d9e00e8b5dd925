//! What somebody who means ill would try at the gateway.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::parent::{Conduct, Parent};
use testkit::{Caller, Origin, Peer, Proxy};

/// A request in absolute form without a body.
fn request(method: &str, authority: &str, more: &str) -> String {
    format!("{method} http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n{more}\r\n")
}

#[test]
fn a_kept_connection_is_no_way_around_a_rule_about_its_address() {
    let origin = Caller::start();
    let proxy = Proxy::start(
        "forward \"127.0.0.1:0\" { deny \"127.0.0.0/8\" method=\"POST\"; allow \"127.0.0.0/8\" }",
    );
    let authority = format!("localhost:{}", origin.address().port());
    let mut client = proxy.client();
    client.send(request("POST", &authority, "Content-Length: 0\r\n"));
    assert_eq!(client.recv_response().status(), 403);
    client.send(request("GET", &authority, ""));
    assert_eq!(client.recv_response().status(), 200);
    client.send(request("POST", &authority, "Content-Length: 0\r\n"));
    assert_eq!(client.recv_response().status(), 403);
    assert_eq!(origin.requests_from("127.0.0.1"), 1);
}

#[test]
fn no_spelling_of_this_machine_is_given_to_a_parent() {
    for scheme in ["http", "socks5h"] {
        let parent = if scheme == "http" { Parent::http() } else { Parent::socks() };
        let proxy = Proxy::start(&format!(
            "exits \"p\" {{ proxy \"{}\" }}\nadmin \"127.0.0.1:0\"\n\
             forward \"127.0.0.1:0\" {{ ports 1-65535; exit \"p\" }}",
            parent.url(scheme)
        ));
        let port = proxy.admin_address().port();
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
        ] {
            let mut client = proxy.client();
            client.send(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"));
            let status = client.recv_head().status();
            assert!((400..500).contains(&status), "CONNECT {host} by {scheme}: {status}");
            let mut client = proxy.client();
            client.send(request("GET", &format!("{host}:{port}"), ""));
            let status = client.recv_head().status();
            assert!((400..500).contains(&status), "GET {host} by {scheme}: {status}");
        }
        assert!(parent.asked().is_empty(), "{:?}", parent.asked());
    }
}

#[test]
fn what_a_parent_asks_for_is_no_business_of_the_client() {
    let (broken, good, origin) = (Parent::http(), Parent::http(), Caller::start());
    broken.behave(Conduct::Refuse(407));
    let start = |attempts| {
        Proxy::start(&format!(
            "exits \"p\" {{ proxy \"{}\"; proxy \"{}\"; retry attempts={attempts} }}\n\
             forward \"127.0.0.1:0\" {{ allow \"127.0.0.0/8\"; exit \"p\" }}",
            broken.url("http"),
            good.url("http")
        ))
    };
    let authority = origin.address().to_string();
    let alone = start(1);
    let statuses: HashSet<u16> = (0..2)
        .map(|_| {
            let mut client = alone.client();
            client.send(request("GET", &authority, ""));
            let response = client.recv_response();
            assert!(!response.has("Proxy-Authenticate"));
            response.status()
        })
        .collect();
    assert_eq!(statuses, HashSet::from([200, 502]));
    // The parent has not taken the request: the other one may.
    let both = start(2);
    for method in ["GET", "POST", "GET", "POST"] {
        let mut client = both.client();
        client.send(request(method, &authority, "Content-Length: 0\r\n"));
        assert_eq!(client.recv_response().status(), 200, "{method}");
    }
}

#[test]
fn what_is_not_idempotent_is_asked_for_once() {
    let origin = Caller::start();
    for exit in ["127.0.0.2", "127.0.0.3"] {
        origin.answer(exit, 429, "");
    }
    let proxy = Proxy::start(
        "exits \"p\" { address \"127.0.0.2\"; address \"127.0.0.3\"; retry attempts=3\n\
         ban status=429 for=\"10m\" per=\"host\" }\n\
         forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\"; exit \"p\" }",
    );
    let mut client = proxy.client();
    client.send(request("POST", &origin.address().to_string(), "Content-Length: 0\r\n"));
    assert_eq!(client.recv_response().status(), 429);
    let asked = origin.requests_from("127.0.0.2") + origin.requests_from("127.0.0.3");
    assert_eq!(asked, 1);
}

#[test]
fn an_address_is_reached_by_its_own_exit_only() {
    let origin = Origin::on("127.0.6.1:0");
    let port = origin.address().port();
    let proxy = Proxy::start(
        r#"
hosts "two.example" "127.0.5.1" "127.0.6.1"
exits "corp" { address "127.0.0.2" }
exits "world" { address "127.0.0.3" }
forward "127.0.0.1:0" {
    ports 1-65535
    allow "127.0.5.0/24" exit="corp"
    allow "127.0.0.0/8" exit="world"
    exit "world"
}
"#,
    );
    // Nobody listens at its first address, and the second one is not for that exit.
    let mut client = proxy.client();
    client.send(format!("CONNECT two.example:{port} HTTP/1.1\r\nHost: two.example:{port}\r\n\r\n"));
    assert_ne!(client.recv_head().status(), 200);
    origin.expect_no_connection();
}

#[test]
fn a_session_by_port_holds_for_socks_as_well() {
    let origin = Caller::start();
    let sticky = testkit::reserve();
    let _proxy = Proxy::start(&format!(
        "exits \"p\" {{ address \"127.0.0.2\"; address \"127.0.0.3\"; address \"127.0.0.4\" }}\n\
         forward \"{}:0\" {{ ports {port}-{port} \"sticky\"; ports 1-65535; allow \"127.0.0.0/8\"; exit \"p\" }}",
        sticky.ip(),
        port = sticky.port(),
    ));
    let [high, low] = origin.address().port().to_be_bytes();
    let mut seen = HashSet::new();
    for _ in 0..4 {
        let mut client = Peer::connect(sticky);
        client.send([5, 1, 0]).expect([5, 0]);
        client.send([5, 1, 0, 1, 127, 0, 0, 1, high, low]);
        assert_eq!(client.recv_exact(10)[1], 0);
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        seen.insert(client.recv_response().body_text());
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn a_colon_makes_no_other_user_of_the_one_that_a_callout_knows() {
    // The server knows alice, whose password is `pa:ss`.
    let shown = format!("Authorization: Basic {}\r\n", STANDARD.encode("alice:pa:ss"));
    let callout = Origin::serve(move |request| {
        let status = if request.text().contains(&shown) { "200 Yes" } else { "403 No" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    let proxy = Proxy::start(&format!(
        "users \"u\" {{ callout \"http://{}/\" }}\n\
         forward \"127.0.0.1:0\" {{ auth users=\"u\"; allow \"127.0.0.0/8\" }}",
        callout.address()
    ));
    let log_in = |user: &str, password: &str| {
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        let mut client = proxy.client();
        client.send([5, 1, 2]).expect([5, 2]);
        let mut message = vec![1, length(user)];
        message.extend(user.bytes());
        message.push(length(password));
        message.extend(password.bytes());
        client.send(message);
        client.recv_exact(2)[1]
    };
    assert_eq!(log_in("alice", "pa:ss"), 0);
    assert_eq!(log_in("alice:pa", "ss"), 1);
    assert_eq!(callout.requests().len(), 1);
}

#[test]
fn who_logs_in_on_a_connection_does_so_for_nobody_else() {
    for scheme in ["NTLM", "Negotiate"] {
        let origin = Origin::serve(move |request| {
            let status = match request.target().as_str() {
                "/challenge" => format!("401 No\r\nWWW-Authenticate: Basic, {scheme}"),
                _ => "200 OK".to_owned(),
            };
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes()
        });
        let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
        let authority = origin.address();
        let ask = |client: &mut Peer, path: &str, more: &str| {
            client.send(format!(
                "GET http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n{more}\r\n"
            ));
            client.recv_response();
        };
        let (mut one, mut other, mut third) = (proxy.client(), proxy.client(), proxy.client());
        ask(&mut one, "/", "");
        ask(&mut other, "/", "");
        assert_eq!(origin.connections(), 1, "what says nothing of anybody is shared");
        ask(&mut one, "/challenge", "");
        ask(&mut one, "/", "");
        assert_eq!(origin.connections(), 1, "the one that the challenge came on");
        ask(&mut other, "/", "");
        assert_eq!(origin.connections(), 2);
        // Without being asked to, and on a connection of its own.
        ask(&mut third, "/", &format!("Authorization: {scheme} AAAA\r\n"));
        assert_eq!(origin.connections(), 3);
        ask(&mut other, "/", "");
        ask(&mut third, "/", "");
        ask(&mut one, "/", "");
        assert_eq!(origin.connections(), 3);
    }
}

#[test]
fn datagrams_of_who_may_have_certain_exits_do_not_leave_straight() {
    let proxy = Proxy::start(
        "exits \"world\" { address \"127.0.0.2\" }\n\
         users \"u\" { user \"al\" password=\"pw\" { exits \"world\" }; user \"bo\" password=\"pw\" }\n\
         forward \"127.0.0.1:0\" { auth users=\"u\"; allow \"127.0.0.0/8\"; socks-udp #true; socks-bind #true }",
    );
    for command in [2, 3] {
        for (user, may) in [(b"al", false), (b"bo", true)] {
            let mut client = proxy.client();
            client.send([5, 1, 2]).expect([5, 2]);
            client.send([&[1, 2][..], user, &[2], b"pw"].concat()).expect([1, 0]);
            client.send([5, command, 0, 1, 127, 0, 0, 1, 0, 9]);
            assert_eq!(client.recv_exact(2)[1] == 0, may, "{command}");
        }
    }
}
