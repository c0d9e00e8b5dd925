//! Who may use the gateway: all ways to show who one is, and what becomes of those who guess.

mod gateway;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use accounts::{ApiKey, StoredUser, UserStore, hash_password};
use gateway::staff::{gateway, text};
use gateway::{answers_within, basic, client_from, connect, get, retry_after, told};
use sha2::{Digest as _, Sha256};
use testkit::{Caller, Origin, Peer, Proxy, Scratch};

#[test]
fn keys_are_shown_as_bearer_and_in_place_of_the_password() {
    let digest: String =
        Sha256::digest("second-key-123456").iter().map(|byte| format!("{byte:02x}")).collect();
    let proxy = gateway(
        &format!(
            "user \"robot\" {{ api-key \"first-key-1234567\" \"sha256:{digest}\" }}\n\
             user \"alice\" password=\"secret\""
        ),
        "",
    );
    let origin = Caller::start();
    let address = origin.address();
    let mut client = proxy.client();
    for (fields, status) in [
        ("Proxy-Authorization: Bearer first-key-1234567\r\n".to_owned(), 200),
        ("Proxy-Authorization: bearer second-key-123456\r\n".to_owned(), 200),
        (basic("robot", "first-key-1234567"), 200),
        (basic("robot-country-ca", "second-key-123456"), 200),
        ("Proxy-Authorization: Bearer third-key-1234567\r\n".to_owned(), 407),
        // The digest is no key, and a key is one user's.
        (format!("Proxy-Authorization: Bearer {digest}\r\n"), 407),
        (basic("alice", "first-key-1234567"), 407),
        (basic("robot", "secret"), 407),
        ("Proxy-Authorization: Bearer\r\n".to_owned(), 407),
    ] {
        let answer = get(&mut client, address, &fields);
        assert_eq!(answer.status(), status, "{fields}");
        if fields.contains("Basic") && status == 200 {
            // Basic with wishes is understood here as elsewhere.
            assert!(answer.body_text().starts_with("127.0.0."), "{}", answer.body_text());
        }
    }
    drop(client);
    let log = proxy.stop().join("\n");
    assert!(log.contains("\"user\":\"robot\""), "{log}");
    for secret in ["first-key-1234567", "second-key-123456", "third-key-1234567"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn users_may_be_known_by_their_address() {
    let proxy = gateway(
        "user \"office\" { from \"127.0.0.8/31\"; countries \"CA\" }\n\
         user \"alice\" password=\"secret\"",
        "",
    );
    let origin = Caller::start();
    let address = origin.address();
    for ip in ["127.0.0.8", "127.0.0.9"] {
        let mut client = client_from(ip, proxy.first());
        let answer = get(&mut client, address, "");
        assert_eq!((answer.status(), answer.body_text()), (200, "127.0.0.3".to_owned()));
        // Credentials count before the address, and wrong ones are wrong.
        assert_eq!(get(&mut client, address, &basic("alice", "secret")).status(), 200);
        assert_eq!(get(&mut client, address, &basic("office", "")).status(), 407);
        assert_eq!(connect(&mut client, address, "").status(), 200);
    }
    let mut client = client_from("127.0.0.10", proxy.first());
    assert_eq!(get(&mut client, address, "").status(), 407);
    drop(client);
    let mut users: Vec<_> = proxy
        .stop_and_read()
        .iter()
        .filter(|line| line["status"] == 200)
        .map(|line| line["user"].as_str().unwrap_or_default().to_owned())
        .collect();
    users.sort();
    assert_eq!(users, ["alice", "alice", "office", "office", "office", "office"]);
}

#[test]
fn who_has_expired_or_comes_at_another_time_is_refused_with_the_reason() {
    let hour = gateway::unix() / 3600 % 24;
    let clock = |hour: u64| format!("{:02}:00", hour % 24);
    let (now, later) = (
        format!("{}-{}", clock(hour + 23), clock(hour + 2)),
        format!("{}-{}", clock(hour + 3), clock(hour + 4)),
    );
    let proxy = gateway(
        &format!(
            "user \"old\" password=\"secret\" expires=\"2020-01-31\"\n\
             user \"new\" password=\"secret\" expires=\"2999-01-31\"\n\
             user \"day\" password=\"secret\" {{ hours \"{now}\" }}\n\
             user \"night\" password=\"secret\" {{ hours \"{later}\" }}"
        ),
        "digest=#true",
    );
    let origin = Caller::start();
    let address = origin.address();
    for (user, status, word) in
        [("old", 403, "expired"), ("new", 200, ""), ("day", 200, ""), ("night", 403, "time")]
    {
        let mut client = proxy.client();
        let answer = get(&mut client, address, &basic(user, "secret"));
        assert_eq!((answer.status(), told(&answer).contains(word)), (status, true), "{user}");
        // Only those who know the password are told.
        assert_eq!(get(&mut client, address, &basic(user, "wrong")).status(), 407, "{user}");
        assert_eq!(connect(&mut client, address, &basic(user, "secret")).status(), status);
    }
}

#[test]
fn a_server_is_asked_about_unknown_names_and_its_answers_are_remembered() {
    // What it answers is what the password says.
    let checker = Origin::serve(|request| {
        let shown = request.get("Authorization").unwrap_or_default();
        let status = match &*shown {
            shown if shown == bearer_of("carol", "200") => 200,
            shown if shown == bearer_of("carol", "204") => 204,
            shown if shown == bearer_of("carol", "403") => 403,
            shown if shown == bearer_of("carol", "500") => 500,
            shown if shown == bearer_of("carol", "302") => 302,
            _ => 401,
        };
        format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n")
            .replace(
                // A 204 has no length.
                "204 Said\r\nContent-Length: 0",
                "204 Said",
            )
            .into()
    });
    let proxy = gateway(
        &format!(
            "user \"alice\" password=\"secret\"\n\
             callout \"{}/check?x=1\" keep=\"10m\" keep-refused=\"10m\"\n\
             default {{ countries \"CA\" }}",
            checker.url()
        ),
        "",
    );
    let origin = Caller::start();
    let address = origin.address();
    let mut client = proxy.client();
    assert_eq!(get(&mut client, address, &basic("alice", "secret")).status(), 200);
    assert_eq!(get(&mut client, address, &basic("alice", "200")).status(), 407);
    assert_eq!(checker.requests().len(), 0, "known names are nobody else's business");
    for _ in 0..2 {
        // What is said of all holds for them.
        let answer = get(&mut client, address, &basic("carol", "200"));
        assert_eq!((answer.status(), answer.body_text()), (200, "127.0.0.3".to_owned()));
        assert_eq!(get(&mut client, address, &basic("carol", "403")).status(), 407);
    }
    assert_eq!(checker.requests().len(), 2, "answers are remembered");
    // The server was told the address: its answer is for that one.
    let mut elsewhere = client_from("127.0.0.4", proxy.first());
    assert_eq!(get(&mut elsewhere, address, &basic("carol", "200")).status(), 200);
    assert_eq!(checker.requests()[2].get("X-Forwarded-For").as_deref(), Some("127.0.0.4"));
    let request = &checker.requests()[0];
    assert_eq!((&*request.method(), &*request.target()), ("GET", "/check?x=1"));
    assert_eq!(request.get("X-Forwarded-For").as_deref(), Some("127.0.0.1"));
    assert!(!request.has("Proxy-Authorization"));
    assert_eq!(get(&mut client, address, &basic("carol", "204")).status(), 200);
    // Nothing that is neither yes nor no lets anybody in, or is kept.
    let before = checker.requests().len();
    for password in ["500", "302", "500"] {
        let status = get(&mut client, address, &basic("carol", password)).status();
        assert!((502..=504).contains(&status), "{password}: {status}");
    }
    assert_eq!(checker.requests().len(), before + 3);
}

fn bearer_of(name: &str, password: &str) -> String {
    basic(name, password).trim_start_matches("Proxy-Authorization: ").trim().to_owned()
}

#[test]
fn a_wish_in_a_name_that_only_a_callout_knows() {
    let checker = Origin::serve(|request| {
        let yes = request.get("Authorization") == Some(bearer_of("carol", "pass"));
        let status = if yes { 200 } else { 401 };
        format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n").into()
    });
    let proxy = gateway(&format!("callout \"{}/\"", checker.url()), "");
    let origin = Caller::start();
    let mut client = proxy.client();
    for _ in 0..3 {
        let shown = basic("carol-country-ca-session-x1", "pass");
        let answer = get(&mut client, origin.address(), &shown);
        assert_eq!((answer.status(), answer.body_text()), (200, "127.0.0.3".to_owned()));
    }
    drop(client);
    for line in proxy.stop_and_read() {
        assert_eq!(line["user"], "carol");
    }
}

#[test]
fn when_the_server_that_is_asked_is_gone_known_users_get_in_all_the_same() {
    let gone = testkit::reserve();
    let proxy =
        gateway(&format!("user \"alice\" password=\"secret\"\ncallout \"http://{gone}/\""), "");
    let origin = Caller::start();
    let mut client = proxy.client();
    let status = get(&mut client, origin.address(), &basic("carol", "x")).status();
    assert!((502..=504).contains(&status), "{status}");
    assert_eq!(get(&mut client, origin.address(), &basic("alice", "secret")).status(), 200);
}

#[test]
fn users_of_a_database_come_change_and_go_while_it_runs() {
    let scratch = Scratch::new();
    let path = scratch.path().join("users.db");
    let proxy = Proxy::start_in(scratch, &text("database \"users.db\"", ""));
    let origin = Caller::start();
    let address = origin.address();
    let mut client = proxy.client();
    assert_eq!(get(&mut client, address, &basic("dora", "secret")).status(), 407);

    let mut store = UserStore::open(&path).expect("store");
    let key = ApiKey::generate().expect("key");
    let mut dora = StoredUser {
        name: "dora".to_owned(),
        password: Some(hash_password("secret").expect("hash")),
        ..StoredUser::default()
    };
    dora.add_key(&key, gateway::unix());
    store.add(&dora).expect("added");
    proxy.server().look_at_files();
    // The same connection goes on.
    assert_eq!(get(&mut client, address, &basic("dora", "secret")).status(), 200);
    assert_eq!(get(&mut client, address, &basic("dora", key.as_str())).status(), 200);
    let bearer = format!("Proxy-Authorization: Bearer {}\r\n", key.as_str());
    assert_eq!(get(&mut client, address, &bearer).status(), 200);

    dora.limits.countries = vec![config::Country::parse("CA").expect("country")];
    dora.keys.clear();
    store.set(&dora).expect("changed");
    proxy.server().look_at_files();
    for _ in 0..3 {
        let answer = get(&mut client, address, &basic("dora", "secret"));
        assert_eq!((answer.status(), answer.body_text()), (200, "127.0.0.3".to_owned()));
    }
    assert_eq!(get(&mut client, address, &bearer).status(), 407);

    dora.disabled = true;
    store.set(&dora).expect("changed");
    proxy.server().look_at_files();
    assert_eq!(get(&mut client, address, &basic("dora", "secret")).status(), 407);

    (dora.disabled, dora.expires) = (false, Some(gateway::unix() - 60));
    store.set(&dora).expect("changed");
    proxy.server().look_at_files();
    assert_eq!(get(&mut client, address, &basic("dora", "secret")).status(), 403);

    store.remove("dora").expect("removed");
    proxy.server().look_at_files();
    assert_eq!(get(&mut client, address, &basic("dora", "secret")).status(), 407);
}

#[test]
fn a_quota_survives_that_its_user_is_changed() {
    let scratch = Scratch::new();
    let path = scratch.path().join("users.db");
    let mut store = UserStore::open(&path).expect("store");
    let mut dora = StoredUser {
        name: "dora".to_owned(),
        password: Some(hash_password("secret").expect("hash")),
        ..StoredUser::default()
    };
    dora.limits.quotas = vec![config::Quota { bytes: 200, per: config::Period::Month }];
    store.add(&dora).expect("added");
    let proxy = Proxy::start_in(scratch, &text("database \"users.db\"", ""));
    let origin = Caller::start();
    let ask = || {
        let mut client = proxy.client();
        client.send(format!(
            "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n{1}\r\n",
            origin.address(),
            basic("dora", "secret")
        ));
        client.recv_head_or_end().map(|head| head.status())
    };
    // The quota is spent sooner or later, be it in the middle of an answer.
    let spent = (0..100).any(|_| ask() == Some(429));
    assert!(spent);
    // More of it, and the same use.
    dora.limits.quotas[0].bytes = 201;
    store.set(&dora).expect("changed");
    proxy.server().look_at_files();
    assert!((0..3).any(|_| ask() == Some(429)), "the count began anew");
    dora.limits.quotas.clear();
    store.set(&dora).expect("changed");
    proxy.server().look_at_files();
    assert_eq!(ask(), Some(200));
}

#[test]
fn whoever_guesses_waits_longer_and_longer() {
    let proxy = gateway("user \"alice\" password=\"secret\"", "");
    let origin = Caller::start();
    let address = origin.address();
    let mut client = proxy.client();
    let started = Instant::now();
    for number in 0..5 {
        assert_eq!(get(&mut client, address, &basic("alice", &format!("{number}"))).status(), 407);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "people mistype");
    let started = Instant::now();
    assert_eq!(get(&mut client, address, &basic("alice", "x")).status(), 407);
    assert!(started.elapsed() >= Duration::from_millis(490), "{:?}", started.elapsed());
    // The owner of the name gets in from elsewhere, and at once.
    let mut other = client_from("127.0.0.77", proxy.first());
    assert_eq!(get(&mut other, address, &basic("alice", "secret")).status(), 200);
    // Whoever shows what is right begins anew.
    assert_eq!(get(&mut client, address, &basic("alice", "secret")).status(), 200);
    let started = Instant::now();
    assert_eq!(get(&mut client, address, &basic("alice", "y")).status(), 407);
    assert!(started.elapsed() < Duration::from_millis(490), "{:?}", started.elapsed());
}

#[test]
fn whoever_guesses_too_often_is_not_listened_to() {
    let proxy = gateway("user \"alice\" password=\"secret\"", "digest=#true");
    let origin = Caller::start();
    let address = origin.address();
    let guess = |number: usize| {
        let mut client = client_from("127.0.0.66", proxy.first());
        let shown = match number % 2 {
            0 => basic("alice", &format!("{number}")),
            _ => "Proxy-Authorization: Bearer nobody\r\n".to_owned(),
        };
        client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n"));
        client
    };
    // They do not wait for their answers.
    let clients: Vec<_> = (0..50).map(guess).collect();
    let refused = (0..100).find_map(|number| {
        let mut client = guess(number);
        answers_within(&mut client, Duration::from_millis(300)).then(|| client.recv_response())
    });
    let refused = refused.expect("somebody is refused");
    assert_eq!(refused.status(), 429, "{}", refused.text());
    assert!((1..=300).contains(&retry_after(&refused)));
    // Also with what is right, and in every way to show it.
    let mut client = client_from("127.0.0.66", proxy.first());
    let answer = get(&mut client, address, &basic("alice", "secret"));
    assert_eq!((answer.status(), retry_after(&answer) > 0), (429, true));
    assert_eq!(connect(&mut client, address, &basic("alice", "secret")).status(), 429);
    let mut socks = client_from("127.0.0.66", proxy.first());
    socks.send([5, 1, 2]).expect([5, 2]);
    socks.send(b"\x01\x05alice\x06secret");
    assert_ne!(socks.recv_exact(2)[1], 0);
    // Its neighbours are.
    let mut other = client_from("127.0.0.67", proxy.first());
    assert_eq!(get(&mut other, address, &basic("alice", "secret")).status(), 200);
    drop(clients);
}

/// The answers of a server that is asked can change: a no is not for ever.
#[test]
fn a_refusal_is_forgotten_when_it_is_not_to_be_kept() {
    let status = Arc::new(AtomicU16::new(401));
    let said = Arc::clone(&status);
    let checker = Origin::serve(move |_| {
        let status = said.load(Ordering::SeqCst);
        format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n").into()
    });
    let users = format!("callout \"{}/\" keep=\"10m\" keep-refused=\"0s\"", checker.url());
    let proxy = gateway(&users, "");
    let origin = Caller::start();
    let mut client: Peer = proxy.client();
    let shown = basic("carol", "pass");
    assert_eq!(get(&mut client, origin.address(), &shown).status(), 407);
    status.store(200, Ordering::SeqCst);
    assert_eq!(get(&mut client, origin.address(), &shown).status(), 200);
    status.store(401, Ordering::SeqCst);
    assert_eq!(get(&mut client, origin.address(), &shown).status(), 200, "it was remembered");
}

/// Else a client could guess as often as it has connections before the first answer counts.
#[test]
fn a_client_has_so_many_attempts_under_way() {
    let checker = Origin::start();
    let proxy = gateway(&format!("callout \"http://{}/\" keep=\"10m\"", checker.address()), "");
    let origin = Caller::start();
    let target = origin.address();
    let text = format!(
        "GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{}\r\n",
        basic("carol", "pass")
    );
    let mut clients: Vec<_> = (0..12).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(&text);
    }
    let mut asked: Vec<_> = (0..8).map(|_| checker.accept()).collect();
    // Another client does not wait for them.
    let mut other = client_from("127.0.0.4", proxy.first());
    other.send(&text);
    asked.push(checker.accept());
    for server in &mut asked {
        server.recv_head();
        server.send("HTTP/1.1 200 Yes\r\nContent-Length: 0\r\n\r\n");
    }
    clients.push(other);
    for client in &mut clients {
        assert_eq!(client.recv_response().status(), 200);
    }
    // What was found out for the first is good for those who waited.
    checker.expect_no_connection();
}
