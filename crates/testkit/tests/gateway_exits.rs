//! Which exit the gateway takes for whom and for how long, what exits may do at once, and what
//! bans them.

mod gateway;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use gateway::pool::{
    OURS, USERS, alice, ask, ask_by_tunnel, gateway, ok, text, tunnel, until, world,
};
use gateway::{answers_within, basic, connect, get, get_inside, retry_after, told};
use testkit::h2::{self, Client};
use testkit::parent::{Conduct, Parent};
use testkit::{Caller, Origin, Peer, Proxy};

#[test]
fn an_exclusive_exit_serves_one_user_at_a_time() {
    let origin = Caller::start();
    let proxy = gateway(&world(&format!("{OURS}exclusive #true")), "");
    let (_, held) = tunnel(&proxy, &origin, "alice");
    let mut held = held.expect("a tunnel");
    let of_alice = get_inside(&mut held, origin.address()).body_text();
    let (_, other) = tunnel(&proxy, &origin, "bob");
    let mut other = other.expect("a tunnel");
    let of_bob = get_inside(&mut other, origin.address()).body_text();
    assert_ne!(of_alice, of_bob);
    let (answer, _) = tunnel(&proxy, &origin, "carol");
    assert_eq!((answer.status(), told(&answer).contains("busy")), (503, true), "{}", told(&answer));
    assert_eq!(ask(&mut proxy.client(), &origin, "carol").0, 503);
    // Its holder may have more of it.
    assert_eq!(ask(&mut proxy.client(), &origin, "alice"), (200, of_alice.clone()));
    drop(held);
    until("the exit is free again", || {
        ask(&mut proxy.client(), &origin, "carol") == (200, of_alice.clone())
    });
}

#[test]
fn so_many_at_once_by_one_exit_to_one_host() {
    let origin = Caller::start();
    let proxy = gateway(&world(&format!("{OURS}max per-host=1")), "");
    let first = tunnel(&proxy, &origin, "alice").1.expect("a tunnel");
    let second = tunnel(&proxy, &origin, "alice").1.expect("a tunnel");
    let (answer, _) = tunnel(&proxy, &origin, "alice");
    assert_eq!((answer.status(), told(&answer).contains("busy")), (503, true), "{}", told(&answer));
    // Another host is another matter.
    let elsewhere = format!("127.0.0.99:{}", origin.address().port());
    let answer = connect(&mut proxy.client(), &elsewhere, &alice());
    assert_ne!(answer.status(), 503);
    drop(first);
    until("the place is free again", || ask_by_tunnel(&proxy, &origin, "alice").0 == 200);
    drop(second);
}

#[test]
fn kept_connections_are_of_one_user_and_one_exit() {
    let origin = Origin::serve(|_| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into());
    let proxy = gateway(&world(OURS), "http2 #true");
    let mut client = proxy.client();
    let mut ask = |name: &str| {
        assert_eq!(get(&mut client, origin.address(), &basic(name, "secret")).status(), 200);
        origin.connections()
    };
    assert_eq!(ask("alice-country-ca"), 1);
    assert_eq!(ask("alice-country-ca"), 1);
    assert_eq!(ask("alice-country-us"), 2);
    assert_eq!(ask("bob-country-ca"), 3);
    assert_eq!(ask("bob-country-us"), 4);
    for name in ["alice-country-us", "bob-country-ca", "alice-country-ca", "bob-country-us"] {
        assert_eq!(ask(name), 4, "{name}");
    }
}

#[test]
fn users_on_one_connection_of_http2_never_mix() {
    let origin = Caller::start();
    let proxy = gateway(&world(OURS), "http2 #true\ndisclose #true");
    let mut client = Client::connect(proxy.first());
    let fields = |name: &str| {
        let shown = basic(name, "secret");
        let (_, value) = shown.trim().split_once(": ").expect("field");
        [
            (":method", "GET".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", "/".to_owned()),
            (":authority", origin.address().to_string()),
            ("proxy-authorization", value.to_owned()),
        ]
    };
    let names =
        ["alice-country-us", "bob-country-ca", "nobody", "alice-country-ca", "bob-country-de"];
    for _ in 0..5 {
        let streams = names.map(|name| client.open(&fields(name)));
        let answers = streams.map(|stream| client.response(stream));
        let seen: Vec<_> = answers.iter().map(|answer| (answer.status, answer.text())).collect();
        assert_eq!(seen[0], ok("127.0.0.2"));
        assert_eq!(seen[1], ok("127.0.0.3"));
        assert_eq!(seen[2].0, 407);
        assert_eq!(seen[3], ok("127.0.0.3"));
        assert_eq!(seen[4].0, 502);
        let exit = |index: usize| answers[index].get("bifrons-exit").unwrap_or_default();
        assert!(exit(0).starts_with("us-1") && exit(3).starts_with("ca-1"));
    }
}

#[test]
fn a_port_is_a_session() {
    let origin = Caller::start();
    // Nobody else uses this address.
    let listen = testkit::reserve();
    let (ip, low) = (listen.ip(), listen.port().min(60_000) + 1);
    let _proxy = Proxy::start(
        &text(&world(OURS), &format!("disclose #true\nports {low}-{} \"sticky\"", low + 5))
            .replace("127.0.0.1:0", &listen.to_string()),
    );
    let at = |port: u16| Peer::connect((ip, port).into());
    let mut homes = HashSet::new();
    for port in low..=low + 5 {
        let (status, home) = ask(&mut at(port), &origin, "alice");
        assert_eq!(status, 200);
        for _ in 0..3 {
            assert_eq!(ask(&mut at(port), &origin, "alice"), (200, home.clone()), "{port}");
        }
        homes.insert(home);
    }
    assert_eq!(homes.len(), 2, "all ports have one exit");
    // A wish counts there too, and a session of one's own goes before that of the port.
    assert_eq!(ask(&mut at(low), &origin, "alice-country-ca-session-x"), ok("127.0.0.3"));
    let answer = get(&mut at(low), origin.address(), &basic("alice-session-x", "secret"));
    assert!(answer.get("Bifrons-Session").is_some_and(|told| told.starts_with("x;")));
    // The listener's own port rotates.
    let mut client = at(listen.port());
    let seen: HashSet<_> = (0..4).map(|_| ask(&mut client, &origin, "alice").1).collect();
    assert_eq!(seen.len(), 2);
}

#[test]
fn an_exit_stays_for_so_many_requests_or_so_long() {
    let origin = Caller::start();
    let proxy = gateway(&world(&format!("{OURS}rotate \"every 3\"")), "");
    let mut client = proxy.client();
    let seen: Vec<_> = (0..12)
        .map(|number| match number % 2 {
            0 => ask(&mut client, &origin, "alice").1,
            _ => ask_by_tunnel(&proxy, &origin, "alice").1,
        })
        .collect();
    for three in seen.chunks(3) {
        assert!(three.iter().all(|from| *from == three[0]), "{seen:?}");
    }
    assert!(seen.chunks(3).collect::<Vec<_>>().windows(2).all(|two| two[0][0] != two[1][0]));

    let proxy = gateway(&world(&format!("{OURS}rotate \"2s\"")), "");
    let mut client = proxy.client();
    let began = Instant::now();
    let (_, first) = ask(&mut client, &origin, "alice");
    for _ in 0..5 {
        let (_, from) = ask(&mut client, &origin, "alice");
        assert!(from == first || began.elapsed() >= Duration::from_millis(1990));
    }
    until("another exit", || ask(&mut proxy.client(), &origin, "alice").1 != first);
    assert!(began.elapsed() >= Duration::from_millis(1990), "{:?}", began.elapsed());
}

#[test]
fn a_site_leaves_by_a_pool() {
    let origin = Caller::start();
    let parent = Parent::socks().leaving_from("127.0.0.51");
    for (exits, from) in [
        ("address \"127.0.0.2\"".to_owned(), "127.0.0.2"),
        (format!("proxy \"{}\"", parent.url("socks5h")), "127.0.0.51"),
    ] {
        let proxy = Proxy::start(&format!(
            "{}site \"http://127.0.0.1:0\" {{ to \"http://{}\" {{ exit \"world\" }} }}",
            world(&exits),
            origin.address()
        ));
        let mut client = proxy.client();
        for _ in 0..3 {
            client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
            let answer = client.recv_response();
            assert_eq!((answer.status(), answer.body_text()), ok(from));
        }
    }
    // Servers of HTTP/2 as well.
    let server = h2::Origin::serve(|_| h2::Answer::new(200, "two"));
    let proxy = Proxy::start(&format!(
        "{}site \"http://127.0.0.1:0\" {{ to \"{}\" {{ exit \"world\" }} }}",
        world(&format!("proxy \"{}\"", parent.url("socks5h"))),
        server.url()
    ));
    let mut client = proxy.client();
    let before = parent.asked().len();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.recv_response().body_text(), "two");
    assert!(parent.asked().len() > before, "it went past the parent");
}

/// A site whose server is reached by this pool.
fn site_by(exits: &str, server: std::net::SocketAddr) -> Proxy {
    Proxy::start(&format!(
        "{}site \"http://127.0.0.1:0\" {{ to \"http://{server}\" {{ exit \"world\" }} }}",
        world(exits)
    ))
}

fn ask_site(client: &mut Peer) -> (u16, String) {
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let answer = client.recv_response();
    (answer.status(), answer.body_text())
}

#[test]
fn answers_of_servers_ban_their_exits_too() {
    for closes in ["", "Connection: close\r\n"] {
        let origin = Caller::start();
        origin.answer("127.0.0.2", 429, closes);
        origin.answer("127.0.0.3", 200, "Connection: close\r\n");
        let proxy = site_by(&format!("{OURS}ban status=429 for=\"10m\""), origin.address());
        let mut client = proxy.client();
        for _ in 0..6 {
            ask_site(&mut client);
        }
        // No server has another one to ask: the answer is passed on, and that is the end of it.
        assert_eq!(origin.requests_from("127.0.0.2"), 1);
        assert_eq!(origin.requests_from("127.0.0.3"), 5);
    }
}

#[test]
fn a_site_waits_for_an_exit_that_rests() {
    let origin = Caller::start();
    origin.answer("127.0.0.2", 200, "Connection: close\r\n");
    let proxy = site_by("address \"127.0.0.2\"\npace gap=\"300ms\"", origin.address());
    let mut client = proxy.client();
    let began = Instant::now();
    for _ in 0..2 {
        assert_eq!(ask_site(&mut client), ok("127.0.0.2"));
    }
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
}

#[test]
fn a_connection_to_a_server_takes_its_place_at_the_exit() {
    let origin = Origin::start();
    let proxy = site_by("address \"127.0.0.2\" max=1", origin.address());
    let mut first = proxy.client();
    first.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut server = origin.accept();
    server.recv_head();
    let mut second = proxy.client();
    assert_eq!(ask_site(&mut second).0, 503);
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(first.recv_response().status(), 200);
    // The connection is kept, and serves others.
    second.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    server.recv_head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(second.recv_response().status(), 200);
}

#[test]
fn a_session_waits_for_its_exit_while_that_is_busy() {
    let origin = Caller::start();
    for rule in ["max connections=1", "max per-host=1"] {
        let proxy = gateway(&world(&format!("{OURS}{rule}")), "");
        let (_, held) = tunnel(&proxy, &origin, "alice-session-s1");
        let mut held = held.expect("a tunnel");
        let home = get_inside(&mut held, origin.address()).body_text();
        let mut client = proxy.client();
        let shown = basic("alice-session-s1", "secret");
        client.send(gateway::get_text(origin.address(), &shown));
        assert!(!answers_within(&mut client, Duration::from_millis(100)), "{rule}");
        drop(held);
        let answer = client.recv_response();
        assert_eq!((answer.status(), answer.body_text()), (200, home), "{rule}");
    }
    // Not for ever.
    let pool = format!("{OURS}max connections=1\npace gap=\"1ms\" wait=\"50ms\"");
    let proxy = gateway(&world(&pool), "");
    let (_, held) = tunnel(&proxy, &origin, "alice-session-s1");
    let (answer, _) = tunnel(&proxy, &origin, "alice-session-s1");
    assert_eq!((answer.status(), told(&answer).contains("busy")), (503, true), "{}", told(&answer));
    drop(held);
}

#[test]
fn a_rule_says_another_way_out() {
    let origin = Caller::start();
    let proxy = Proxy::start(&format!(
        "{USERS}{}exits \"home\" {{ address \"127.0.0.9\" country=\"DE\" }}\n\
         forward \"127.0.0.1:0\" {{\n    auth users=\"staff\"\n    \
         allow \"127.0.0.1\" user=\"bob\" exit=\"home\"\n    \
         allow \"127.0.0.1\" user=\"carol\" user=\"dave\" exit=\"direct\"\n    \
         allow \"127.0.0.0/8\"\n    exit \"world\"\n}}\n",
        world(OURS)
    ));
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(ask(&mut client, &origin, "bob"), ok("127.0.0.9"));
        assert_eq!(ask_by_tunnel(&proxy, &origin, "bob"), ok("127.0.0.9"));
        assert_eq!(ask(&mut client, &origin, "carol"), ok("127.0.0.1"));
        assert_eq!(ask(&mut client, &origin, "bob-country-de"), ok("127.0.0.9"));
        // What is wished of the pool that the rule says is not there.
        assert_eq!(ask(&mut client, &origin, "bob-country-ca").0, 502);
    }
    let seen: HashSet<_> = (0..4).map(|_| ask(&mut client, &origin, "alice").1).collect();
    assert_eq!(seen, HashSet::from(["127.0.0.2".to_owned(), "127.0.0.3".to_owned()]));
    // From this machine no wish can be met, and none is passed over; nor is it one of the exits
    // that a user may have.
    assert_eq!(ask(&mut client, &origin, "dave").0, 403);
    assert_eq!(ask(&mut client, &origin, "carol-country-ca").0, 502);
}

#[test]
fn answers_that_look_like_a_ban_ban() {
    for (rule, fields) in [
        ("ban header=\"x-blocked\"", "X-Blocked: 1\r\n"),
        ("ban header=\"server:shield\"", "Server: Great-Shield/1\r\n"),
        ("ban status=429", "Retry-After: 1\r\n"),
    ] {
        let origin = Caller::start();
        let proxy = gateway(&world(&format!("{OURS}{rule} for=\"10m\" per=\"host\"")), "");
        let status = if rule.contains("429") { 429 } else { 200 };
        origin.answer("127.0.0.2", status, fields);
        let mut client = proxy.client();
        for _ in 0..6 {
            assert_eq!(ask(&mut client, &origin, "alice"), ok("127.0.0.3"), "{rule}");
        }
        assert_eq!(origin.requests_from("127.0.0.2"), 1, "{rule}");
    }
}

#[test]
fn text_in_the_body_bans_for_the_next_request() {
    let origin = Caller::start();
    // The body is the address.
    let proxy = gateway(&world(&format!("{OURS}ban body=\"27.0.0.2\" for=\"10m\"")), "");
    let mut client = proxy.client();
    for _ in 0..6 {
        assert_eq!(ask(&mut client, &origin, "alice").0, 200);
    }
    assert_eq!(origin.requests_from("127.0.0.2"), 1);
    assert_eq!(origin.requests_from("127.0.0.3"), 5);
}

#[test]
fn tunnels_that_are_reset_ban_and_slow_ones_too() {
    for (rule, is_slow) in [("ban reset=#true", false), ("ban slower=\"200ms\"", true)] {
        let origin = Origin::start();
        let proxy = gateway(&world(&format!("{OURS}{rule} for=\"10m\" per=\"host\"")), "");
        let mut banned = None;
        for number in 0..5 {
            let mut client = proxy.client();
            assert_eq!(connect(&mut client, origin.address(), &alice()).status(), 200, "{rule}");
            let mut server = origin.accept();
            let from = server.socket().peer_addr().expect("address").ip();
            assert_ne!(Some(from), banned, "{rule}");
            client.send("hello");
            server.expect("hello");
            match (number, is_slow) {
                (0, false) => server.reset(),
                (0, true) => {
                    assert!(!answers_within(&mut client, Duration::from_millis(250)));
                    server.send("at last");
                    client.expect("at last");
                    client.finish();
                    server.finish();
                    client.expect_close();
                }
                _ => {
                    server.send("welcome");
                    client.expect("welcome");
                    continue;
                }
            }
            banned = Some(from);
            drop(client.recv_until_gone());
        }
    }
}

/// Whoever asks something that nobody answers and goes could else take all exits from others.
#[test]
fn a_client_that_goes_first_bans_nobody() {
    let origin = Origin::start();
    let proxy = gateway(&world(&format!("{OURS}ban reset=#true for=\"10m\"")), "");
    for _ in 0..6 {
        let mut client = proxy.client();
        let answer = connect(&mut client, origin.address(), &alice());
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let mut server = origin.accept();
        client.send("hello").finish();
        server.expect("hello").expect_close();
        server.finish();
        client.expect_close();
    }
    // Nor does a target that is dead, where a parent says no more than that it failed.
    for (parent, scheme, code) in [
        (Parent::socks(), "socks5", 1),
        (Parent::http(), "http", 503),
        (Parent::http(), "http", 500),
    ] {
        let origin = Caller::start();
        let dead = testkit::reserve();
        parent.decide(move |asked| match asked.port == dead.port() {
            true => Conduct::Refuse(code),
            false => Conduct::Serve,
        });
        let proxy = gateway(&world(&format!("proxy \"{}\"", parent.url(scheme))), "");
        for _ in 0..6 {
            let answer = connect(&mut proxy.client(), dead, &alice());
            assert_eq!(answer.status(), 502, "{scheme} {code}: {}", answer.text());
        }
        assert_eq!(ask_by_tunnel(&proxy, &origin, "alice").0, 200, "{scheme} {code}");
    }
}

#[test]
fn errors_in_the_words_of_vendors() {
    let origin = Caller::start();
    let dead = testkit::reserve();
    let skinned = |skin: &str| gateway(&world(OURS), &format!("errors \"{skin}\""));
    let proxy = skinned("brightdata");
    let mut client = proxy.client();
    for (fields, status, code) in [
        (String::new(), 407, "client_10010"),
        (basic("alice", "wrong"), 407, "client_10000"),
        (basic("alice-country-de", "secret"), 400, "client_10061"),
    ] {
        let answer = get(&mut client, origin.address(), &fields);
        assert_eq!(answer.status(), status, "{}", answer.text());
        assert_eq!(answer.get("x-brd-err-code").as_deref(), Some(code));
        assert!(answer.has("x-brd-error") && told(&answer).contains(code));
        assert_eq!(answer.has("Proxy-Authenticate"), status == 407);
        let answer = connect(&mut proxy.client(), origin.address(), &fields);
        assert_eq!(answer.get("x-brd-err-code").as_deref(), Some(code));
    }
    assert_eq!(ask(&mut client, &origin, "alice-country-ca"), ok("127.0.0.3"));
    let proxy = skinned("oxylabs");
    let mut client = proxy.client();
    let answer = get(&mut client, dead, &alice());
    assert_eq!((answer.status(), answer.has("X-Error-Description")), (503, false));
    let answer = get(&mut client, origin.address(), &basic("alice-country-de", "secret"));
    assert_eq!((answer.status(), answer.has("X-Error-Description")), (502, true));
    let proxy = skinned("apify");
    let mut client = proxy.client();
    assert_eq!(get(&mut client, dead, &alice()).status(), 594);
    assert_eq!(ask(&mut client, &origin, "alice-country-de").0, 590);
    assert_eq!(connect(&mut client, dead, &alice()).status(), 594);
}

#[test]
fn socks_names_carry_wishes() {
    let origin = Caller::start();
    let proxy = gateway(&world(OURS), "");
    let login = |name: &str| {
        let mut client = proxy.client();
        client.send([5, 1, 2]).expect([5, 2]);
        let length = u8::try_from(name.len()).expect("short");
        client.send([&[1, length][..], name.as_bytes(), b"\x06secret"].concat());
        let status = client.recv_exact(2)[1];
        (status, client)
    };
    let port = origin.address().port().to_be_bytes();
    for _ in 0..3 {
        let (status, mut client) = login("alice-country-ca-session-s1");
        assert_eq!(status, 0);
        client.send([&[5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat());
        assert_eq!(client.recv_exact(10)[1], 0);
        assert_eq!(get_inside(&mut client, origin.address()).body_text(), "127.0.0.3");
    }
    let (status, _) = login("alice-contry-ca");
    assert_ne!(status, 0, "an unknown key is refused");
    let (status, mut client) = login("alice-country-de");
    assert_eq!(status, 0);
    client.send([&[5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat());
    assert_ne!(client.recv_exact(10)[1], 0, "there is no such exit");
}

#[test]
fn dialects_of_vendors_are_understood() {
    let origin = Caller::start();
    for (dialect, name, password, unknown) in [
        (
            "decodo",
            "user-alice-country-ca-city-toronto-session-abc-sessionduration-30",
            "secret",
            ("user-alice-contry-ca", "secret"),
        ),
        (
            "brightdata",
            "brd-customer-alice-zone-world-country-ca-session-abc",
            "secret",
            ("brd-customer-alice-carrier-x", "secret"),
        ),
        (
            "oxylabs",
            "customer-alice-cc-CA-city-toronto-sessid-abc12345-sesstime-5",
            "secret",
            ("customer-alice-os-linux", "secret"),
        ),
        (
            "iproyal",
            "alice",
            "secret_country-ca_city-toronto_session-abc12345_lifetime-10m",
            ("alice", "secret_isp-x"),
        ),
    ] {
        let pool = world(&format!("{OURS}dialect \"{dialect}\""));
        let proxy = gateway(&pool, "disclose #true");
        let mut client = proxy.client();
        for _ in 0..3 {
            let answer = get(&mut client, origin.address(), &basic(name, password));
            assert_eq!((answer.status(), answer.body_text()), ok("127.0.0.3"), "{dialect}");
            let session = answer.get("Bifrons-Session").unwrap_or_default();
            assert!(session.starts_with("abc"), "{dialect}: {session}");
        }
        let answer = get(&mut client, origin.address(), &basic(unknown.0, unknown.1));
        assert_eq!(answer.status(), 400, "{dialect}: {}", answer.text());
        drop(client);
        for line in proxy.stop_and_read() {
            assert_eq!(line["user"], "alice", "{dialect}: {line}");
        }
    }
}

#[test]
fn resting_exits_are_told_with_the_time() {
    let origin = Caller::start();
    let proxy = gateway(&world(&format!("{OURS}pace gap=\"60s\" per=\"exit\" wait=\"0s\"")), "");
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(ask(&mut client, &origin, "alice").0, 200);
    }
    let answer = get(&mut client, origin.address(), &alice());
    assert_eq!(answer.status(), 429, "{}", answer.text());
    assert!((50..=60).contains(&retry_after(&answer)));
    assert_eq!(connect(&mut client, origin.address(), &alice()).status(), 429);
}

#[test]
fn a_bad_answer_is_better_than_none() {
    let origin = Caller::start();
    let ban = "ban status=403 for=\"10m\" per=\"host\"";
    let proxy = gateway(&world(&format!("{OURS}{ban}")), "");
    for exit in ["127.0.0.2", "127.0.0.3"] {
        origin.answer(exit, 403, "");
    }
    let mut client = proxy.client();
    // Both are asked, and what the second one was told is what there is.
    assert_eq!(ask(&mut client, &origin, "alice").0, 403);
    assert_eq!(origin.requests_from("127.0.0.2") + origin.requests_from("127.0.0.3"), 2);
    let answer = get(&mut client, origin.address(), &alice());
    assert_eq!((answer.status(), told(&answer).contains("banned")), (503, true));
    // So it is for whoever may have one exit only.
    let proxy = gateway(&world(&format!("{OURS}{ban}")), "");
    assert_eq!(ask(&mut proxy.client(), &origin, "alice-country-ca").0, 403);
}
