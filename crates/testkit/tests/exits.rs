//! Exits: which of them a request leaves by, as an origin sees it that tells the address that it
//! was called from.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::{Caller, Peer, Proxy, geo};

const USERS: &str = r#"
users "staff" {
    user "alice" password="secret"
    user "bob" password="hidden" { countries "CA" }
}
"#;

/// Three exits of this machine, two of them Canadian.
fn world(more: &str) -> String {
    format!(
        r#"
{USERS}
exits "world" {{
    address "127.0.0.2" name="us-1" country="US"
    address "127.0.0.3" name="ca-1" country="CA" city="toronto"
    address "127.0.0.4" name="ca-2" country="CA" city="montreal"
    {more}
}}
"#
    )
}

fn gateway(pool: &str, listener: &str) -> Proxy {
    Proxy::start(&format!(
        "{}forward \"127.0.0.1:0\" {{ auth users=\"staff\"; allow \"127.0.0.0/8\"; exit \"world\"\n{listener} }}",
        world(pool)
    ))
}

fn credentials(name: &str, password: &str) -> String {
    format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

/// One request in absolute form; the status, and the address that the origin saw.
fn ask(client: &mut Peer, origin: &Caller, name: &str) -> (u16, String) {
    let address = origin.address();
    let shown = credentials(name, if name.starts_with("bob") { "hidden" } else { "secret" });
    client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n"));
    let response = client.recv_response();
    (response.status(), response.body_text())
}

/// The same through a tunnel of its own.
fn ask_by_tunnel(proxy: &Proxy, origin: &Caller, name: &str) -> (u16, String) {
    let address = origin.address();
    let shown = credentials(name, if name.starts_with("bob") { "hidden" } else { "secret" });
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n"));
    let response = client.recv_head();
    if response.status() != 200 {
        return (response.status(), String::new());
    }
    client.send(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    (200, client.recv_response().body_text())
}

#[test]
fn every_request_leaves_by_the_next_exit_also_within_one_connection() {
    let (proxy, origin) = (gateway("", ""), Caller::start());
    let mut client = proxy.client();
    let mut seen = Vec::new();
    for _ in 0..9 {
        let (status, from) = ask(&mut client, &origin, "alice");
        assert_eq!(status, 200);
        seen.push(from);
    }
    for window in seen.windows(3) {
        let different: HashSet<_> = window.iter().collect();
        assert_eq!(different.len(), 3, "{seen:?}");
    }
    // Tunnels take their turns as well.
    let tunnels: HashSet<_> = (0..3).map(|_| ask_by_tunnel(&proxy, &origin, "alice").1).collect();
    assert_eq!(tunnels.len(), 3, "{tunnels:?}");
}

#[test]
fn an_exit_may_stay_for_the_connection_of_the_client() {
    let (proxy, origin) = (gateway("rotate \"per-connection\"", ""), Caller::start());
    let mut all = HashSet::new();
    for _ in 0..3 {
        let mut client = proxy.client();
        let (_, first) = ask(&mut client, &origin, "alice");
        for _ in 0..4 {
            assert_eq!(ask(&mut client, &origin, "alice"), (200, first.clone()));
        }
        all.insert(first);
    }
    assert_eq!(all.len(), 3);
}

#[test]
fn a_country_is_never_silently_another() {
    let (proxy, origin) = (gateway("", ""), Caller::start());
    let mut client = proxy.client();
    for _ in 0..6 {
        let (status, from) = ask(&mut client, &origin, "alice-country-ca");
        assert_eq!(status, 200);
        assert!(["127.0.0.3", "127.0.0.4"].contains(&&*from), "{from}");
        assert_eq!(
            ask(&mut client, &origin, "alice-country-ca-city-toronto"),
            (200, "127.0.0.3".to_owned())
        );
        assert_eq!(ask(&mut client, &origin, "alice-country-us"), (200, "127.0.0.2".to_owned()));
    }
    for (wish, status, word) in [
        ("alice-country-de", 502, "country"),
        ("alice-country-us-city-toronto", 502, "city"),
        ("alice-contry-ca", 400, "contry"),
        ("alice-country-canada", 400, "country"),
        ("alice-session-a.b", 400, "session"),
    ] {
        let address = origin.address();
        let shown = credentials(wish, "secret");
        client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n"));
        let response = client.recv_response();
        let told = response.get("Proxy-Status").unwrap_or_default();
        assert_eq!((response.status(), told.contains(word)), (status, true), "{wish}: {told}");
        assert_eq!(ask_by_tunnel(&proxy, &origin, wish).0, status, "{wish}");
    }
    // What a user may not have is not given to it, wished for or not.
    for _ in 0..4 {
        let (status, from) = ask(&mut client, &origin, "bob");
        assert_eq!(status, 200);
        assert_ne!(from, "127.0.0.2");
    }
    assert_ne!(ask(&mut client, &origin, "bob-country-us").0, 200);
}

#[test]
fn a_session_keeps_its_exit_on_every_connection() {
    let (proxy, origin) = (gateway("sticky ttl=\"10m\"", ""), Caller::start());
    let mut homes = HashSet::new();
    for id in ["one", "two", "three", "four", "five", "six"] {
        let name = format!("alice-session-{id}");
        let (status, home) = ask(&mut proxy.client(), &origin, &name);
        assert_eq!(status, 200);
        for _ in 0..3 {
            assert_eq!(ask(&mut proxy.client(), &origin, &name), (200, home.clone()));
            assert_eq!(ask_by_tunnel(&proxy, &origin, &name), (200, home.clone()));
        }
        homes.insert(home);
    }
    assert!(homes.len() > 1, "all sessions in one place");
    // The same name of another user is another session, with what that user may have.
    let (_, of_bob) = ask(&mut proxy.client(), &origin, "bob-session-one");
    assert_ne!(of_bob, "127.0.0.2");
}

#[test]
fn a_ban_moves_soft_sessions_and_ends_strict_ones() {
    let pool = "ban status=403 for=\"10m\" per=\"host\"\nretry attempts=3";
    let (proxy, origin) = (gateway(pool, "disclose #true"), Caller::start());
    let mut client = proxy.client();
    let (_, home) = ask(&mut client, &origin, "alice-country-ca-session-soft");
    // The strict one begins on the exit that will be banned.
    let strict = (0..20)
        .map(|number| format!("alice-country-ca-session-s{number}-strict"))
        .find(|name| ask(&mut client, &origin, name).1 == home)
        .expect("a strict session on the same exit");
    origin.answer(&home, 403, "");
    // The client sees nothing of the 403: it was told to another exit.
    let (status, moved) = ask(&mut client, &origin, "alice-country-ca-session-soft");
    assert_eq!(status, 200);
    assert_ne!(moved, home);
    assert!(["127.0.0.3", "127.0.0.4"].contains(&&*moved), "{moved}");
    assert_eq!(ask(&mut client, &origin, "alice-country-ca-session-soft"), (200, moved));
    let address = origin.address();
    let shown = credentials(&strict, "secret");
    client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n"));
    let response = client.recv_response();
    let told = response.get("Proxy-Status").unwrap_or_default();
    assert_eq!((response.status(), told.contains("session_lost")), (502, true), "{told}");
    // At most one more request of anybody went there.
    assert!(origin.requests_from(&home) < 30);
}

#[test]
fn ten_thousand_requests_and_a_death_leave_the_country_what_it_is() {
    let (proxy, origin) = (
        gateway(
            "ban unreachable=#true for=\"10m\" per=\"exit\"\nban status=403 for=\"10m\" per=\"exit\"",
            "",
        ),
        Caller::start(),
    );
    let mut clients: Vec<Peer> = (0..20).map(|_| proxy.client()).collect();
    let address = origin.address();
    let shown = credentials("alice-country-ca", "secret");
    let request = format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n");
    for round in 0..500 {
        if round == 250 {
            // One of the two is shut out.
            origin.answer("127.0.0.3", 403, "");
        }
        for client in &mut clients {
            client.send(&request);
        }
        for client in &mut clients {
            let response = client.recv_response();
            assert_eq!(response.status(), 200, "{}", response.text());
            let from = response.body_text();
            assert!(["127.0.0.3", "127.0.0.4"].contains(&&*from), "{from}");
            assert!(round < 250 || from == "127.0.0.4", "{from} in round {round}");
        }
    }
    assert_eq!(origin.requests_from("127.0.0.2"), 0);
    assert!(origin.requests_from("127.0.0.3") > 2000);
}

#[test]
fn clients_are_told_their_exit_where_they_may_know() {
    let origin = Caller::start();
    let told = |listener: &str, name: &str| {
        let proxy = gateway("", listener);
        let mut client = proxy.client();
        let (address, shown) = (origin.address(), credentials(name, "secret"));
        client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n"));
        let plain = client.recv_response();
        let mut client = proxy.client();
        client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n"));
        let tunnel = client.recv_head();
        [plain, tunnel].map(|head| (head.get("Bifrons-Exit"), head.get("Bifrons-Session")))
    };
    for (exit, session) in told("", "alice-country-us-session-a") {
        assert_eq!((exit, session), (None, None));
    }
    for (exit, session) in told("disclose #true", "alice-country-us-session-a-ttl-5m") {
        let exit = exit.expect("exit");
        assert!(exit.starts_with("us-1; country=US"), "{exit}");
        let session = session.expect("session");
        let left = session.strip_prefix("a; left=").expect("seconds").parse::<u64>().unwrap();
        assert!((290..=300).contains(&left), "{session}");
    }
}

#[test]
fn an_exit_is_not_used_again_before_its_gap_is_over() {
    let pool = "pace gap=\"300ms\" per=\"host\" wait=\"10s\"";
    let (proxy, origin) = (gateway(pool, ""), Caller::start());
    let started = std::time::Instant::now();
    let mut client = proxy.client();
    for _ in 0..6 {
        assert_eq!(ask(&mut client, &origin, "alice").0, 200);
    }
    // Three exits, twice each: the second three have to wait.
    assert!(started.elapsed() >= Duration::from_millis(290), "{:?}", started.elapsed());
}

#[test]
fn what_a_target_asks_to_retry_later_is_not_asked_before() {
    let pool = "pace gap=\"1ms\" per=\"host\" wait=\"1ms\"";
    let (proxy, origin) = (gateway(pool, ""), Caller::start());
    for exit in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        origin.answer(exit, 429, "Retry-After: 60\r\n");
    }
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &origin, "alice").0, 429);
    }
    let address = origin.address();
    let shown = credentials("alice", "secret");
    client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n"));
    let response = client.recv_response();
    let after: u64 = response.get("Retry-After").expect("when").parse().expect("seconds");
    assert_eq!(response.status(), 429);
    assert!((50..=60).contains(&after), "{after}");
    let asked: usize =
        ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|exit| origin.requests_from(exit)).iter().sum();
    assert_eq!(asked, 3);
}

#[test]
fn users_on_one_connection_never_mix() {
    let (proxy, origin) = (gateway("", ""), Caller::start());
    let mut client = proxy.client();
    for _ in 0..10 {
        let (_, from) = ask(&mut client, &origin, "alice-country-us");
        assert_eq!(from, "127.0.0.2");
        let (_, from) = ask(&mut client, &origin, "bob");
        assert_ne!(from, "127.0.0.2");
        let address = origin.address();
        client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        assert_eq!(client.recv_response().status(), 407);
    }
    let lines = proxy.stop_and_read();
    for line in lines {
        match (line["user"].as_str(), line["status"].as_u64()) {
            (Some("alice" | "bob"), Some(200)) | (None, Some(407)) => {}
            other => panic!("{other:?}: {line}"),
        }
    }
}

#[test]
fn an_exit_that_is_measured_elsewhere_is_not_taken_for_its_country() {
    let (origin, scratch) = (Caller::start(), testkit::Scratch::new());
    let country = |code: &str| geo::Value::place(code, "", "", "");
    let places = geo::Database::new("Test-Country")
        .with("127.0.0.2/32", &country("US"))
        .with("127.0.0.3/32", &country("US"))
        .with("127.0.0.4/32", &country("CA"));
    scratch.write("places.mmdb", places.bytes());
    let health = format!("health target=\"http://{}/ip\" every=\"1s\"", origin.address());
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "geoip \"places.mmdb\"\n{}forward \"127.0.0.1:0\" {{ auth users=\"staff\"; allow \"127.0.0.0/8\"; exit \"world\" }}",
            world(&health)
        ),
    );
    let mut client = proxy.client();
    let begun = std::time::Instant::now();
    // As soon as it has been measured, the exit that says it is Canadian is not.
    loop {
        let seen: HashSet<_> =
            (0..6).map(|_| ask(&mut client, &origin, "alice-country-ca")).collect();
        assert!(seen.iter().all(|(status, _)| *status == 200), "{seen:?}");
        if seen == HashSet::from([(200, "127.0.0.4".to_owned())]) {
            break;
        }
        assert!(begun.elapsed() < testkit::DEADLINE, "{seen:?}");
    }
    // Whoever does not ask for a country may have it.
    let seen: HashSet<_> = (0..3).map(|_| ask(&mut client, &origin, "alice").1).collect();
    assert_eq!(seen.len(), 3);
    assert_eq!(ask(&mut client, &origin, "alice-city-toronto").0, 502);
}

/// Greets with these methods of SOCKS5; the one that is chosen.
fn greet(client: &mut Peer, methods: &[u8]) -> u8 {
    let mut hello = vec![5, methods.len() as u8];
    hello.extend_from_slice(methods);
    client.send(&hello);
    let answer = client.recv_exact(2);
    assert_eq!(answer[0], 5);
    answer[1]
}

/// Shows a name and a password; whether they were taken.
fn log_in(client: &mut Peer, name: &str, password: &str) -> bool {
    let mut login = vec![1, name.len() as u8];
    login.extend_from_slice(name.as_bytes());
    login.push(password.len() as u8);
    login.extend_from_slice(password.as_bytes());
    client.send(&login);
    client.recv_exact(2) == [1, 0]
}

/// Connects to the origin by SOCKS5, and asks it; the address that it saw.
fn ask_by_socks(client: &mut Peer, origin: &Caller) -> String {
    let port = origin.address().port().to_be_bytes();
    client.send([5, 1, 0, 1, 127, 0, 0, 1, port[0], port[1]]);
    assert_eq!(client.recv_exact(10)[1], 0);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.recv_response().body_text()
}

#[test]
fn clients_of_an_open_listener_may_wish_by_socks_as_well() {
    let origin = Caller::start();
    let proxy = Proxy::start(&format!(
        "{}forward \"127.0.0.1:0\" {{ allow \"127.0.0.0/8\"; exit \"world\" }}",
        world("")
    ));
    for _ in 0..3 {
        let mut client = proxy.client();
        assert_eq!(greet(&mut client, &[0, 2]), 2);
        assert!(log_in(&mut client, "anybody-country-us", "x"));
        assert_eq!(ask_by_socks(&mut client, &origin), "127.0.0.2");
    }
    // What is wished is never ignored.
    let mut client = proxy.client();
    assert_eq!(greet(&mut client, &[2]), 2);
    assert!(!log_in(&mut client, "anybody-contry-us", "x"));
    // Who wishes for nothing needs no name.
    let mut client = proxy.client();
    assert_eq!(greet(&mut client, &[0]), 0);
    assert!(ask_by_socks(&mut client, &origin).starts_with("127.0.0."));
}

#[test]
fn who_is_known_by_the_address_needs_no_name_for_socks() {
    let origin = Caller::start();
    let proxy = Proxy::start(
        "users \"staff\" { user \"ci\" { from \"127.0.0.0/8\" }\nuser \"alice\" password=\"secret\" }\n\
         forward \"127.0.0.1:0\" { auth users=\"staff\"; allow \"127.0.0.0/8\" }",
    );
    let mut client = proxy.client();
    assert_eq!(greet(&mut client, &[0]), 0);
    assert_eq!(ask_by_socks(&mut client, &origin), "127.0.0.1");
    drop(client);
    let mut client = proxy.client();
    assert_eq!(greet(&mut client, &[0, 2]), 2);
    assert!(log_in(&mut client, "alice", "secret"));
    assert_eq!(ask_by_socks(&mut client, &origin), "127.0.0.1");
    drop(client);
    let port = origin.address().port().to_be_bytes();
    let mut client = proxy.client();
    client.send([4, 1, port[0], port[1], 127, 0, 0, 1, 0]);
    assert_eq!(client.recv_exact(8)[1], 90);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
    drop(client);
    let users: Vec<_> = (proxy.stop_and_read().iter())
        .map(|line| line["user"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(users.iter().filter(|user| *user == "ci").count(), 2, "{users:?}");
    assert_eq!(users.iter().filter(|user| *user == "alice").count(), 1, "{users:?}");
}
