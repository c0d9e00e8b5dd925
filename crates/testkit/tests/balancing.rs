//! Which of several servers takes a request, and what an operator changes of them meanwhile.

mod site;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use server::servers::{Change, ChangeError, ServerState, ServerStatus};
use site::{get, named, ok, until};
use testkit::{Message, Origin, Peer, Proxy, Served, h2, reserve};

/// A proxy before these servers, with these settings of their group.
fn before(servers: &[&str], settings: &str) -> Proxy {
    let servers: String = servers.iter().map(|server| format!("server {server}\n")).collect();
    Proxy::start(&format!(
        "upstream \"app\" {{\n{servers}{settings}\n}}\n\
         site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}"
    ))
}

fn quoted(origin: &Served) -> String {
    format!("\"{}\"", origin.url())
}

/// The first word of the body: which server it was.
fn who(response: &Message) -> String {
    response.body_text().split(' ').next().unwrap_or_default().to_owned()
}

fn get_with(client: &mut Peer, path: &str, fields: &str) -> Message {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.recv_response()
}

fn status(proxy: &Proxy) -> Vec<ServerStatus> {
    let all = proxy.server().registry().status();
    all.into_iter().find(|upstream| upstream.name == "app").expect("the group").servers
}

#[test]
fn weights_are_honoured() {
    let (a, b) = (named("a"), named("b"));
    let proxy = before(&[&format!("{} weight=3", quoted(&a)), &quoted(&b)], "");
    let mut client = proxy.client();
    let turns: String = (0..8).map(|_| who(&get(&mut client, "/"))).collect();
    assert_eq!(turns, "aabaaaba");
}

#[test]
fn a_backup_waits_for_the_others_to_go() {
    let (a, backup) = (named("a"), named("backup"));
    let dead = reserve();
    let standby = format!("{} backup=#true", quoted(&backup));
    let proxy = before(&[&quoted(&a), &standby], "");
    for _ in 0..5 {
        assert_eq!(who(&get(&mut proxy.client(), "/")), "a");
    }
    assert_eq!(backup.connections(), 0);
    let proxy = before(&[&format!("\"http://{dead}\""), &standby], "");
    for _ in 0..5 {
        assert_eq!(who(&get(&mut proxy.client(), "/")), "backup");
    }
}

#[test]
fn the_least_loaded_takes_the_next() {
    let slow = Origin::start();
    let fast = named("fast");
    let servers = [format!("\"{}\"", slow.url()), quoted(&fast)];
    let proxy = before(&[&servers[0], &servers[1]], "balance \"least-requests\"");
    let mut waiting = proxy.client();
    waiting.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut held = slow.accept();
    held.recv_request();
    let mut client = proxy.client();
    for _ in 0..6 {
        assert_eq!(who(&get(&mut client, "/")), "fast");
    }
    held.send(ok("slow"));
    assert_eq!(waiting.recv_response().body_text(), "slow");
    assert_eq!(fast.requests().len(), 6);
}

#[test]
fn the_same_key_finds_the_same_server() {
    let origins = [named("a"), named("b"), named("c")];
    let servers: Vec<String> = origins.iter().map(quoted).collect();
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    for (key, fields) in [
        ("header:X-User", "X-User: {}\r\n"),
        ("cookie:user", "Cookie: other=1; user={}; more=2\r\n"),
        ("path", ""),
    ] {
        let proxy = before(&servers, &format!("balance \"hash\" key=\"{key}\""));
        let mut client = proxy.client();
        let mut used = Vec::new();
        for user in 0..30 {
            let fields = fields.replace("{}", &user.to_string());
            let path = if key == "path" { format!("/{user}") } else { "/".to_owned() };
            let first = who(&get_with(&mut client, &path, &fields));
            for query in ["", "?x=1"] {
                let again = get_with(&mut client, &format!("{path}{query}"), &fields);
                assert_eq!(who(&again), first, "{key} {user}");
            }
            used.push(first);
        }
        used.sort();
        used.dedup();
        assert_eq!(used, ["a", "b", "c"], "{key}");
    }
}

#[test]
fn who_leaves_moves_only_its_own_keys() {
    let origins = [named("a"), named("b"), named("c")];
    let servers: Vec<String> = origins.iter().map(quoted).collect();
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let proxy = before(&servers, "balance \"hash\" key=\"path\"");
    let mut client = proxy.client();
    let mut all = || -> Vec<String> {
        (0..40).map(|key| who(&get(&mut client, &format!("/{key}")))).collect()
    };
    let full = all();
    proxy.server().registry().change("app", &origins[1].url(), Change::Remove).unwrap();
    for (before, after) in full.iter().zip(all()) {
        assert!(*before == after || before == "b", "{before} to {after}");
        assert_ne!(after, "b");
    }
    proxy.server().registry().change("app", &origins[1].url(), Change::Reset).unwrap();
    assert_eq!(all(), full);
}

/// The cookie that a response sets, as a client sends it back.
fn cookie(response: &Message) -> Option<String> {
    let set = response.get("Set-Cookie")?;
    let (pair, attributes) = set.split_once(';').expect("attributes");
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
    Some(format!("Cookie: {pair}\r\n"))
}

#[test]
fn a_client_stays_where_its_cookie_says() {
    let origins = [named("a"), named("b"), named("c")];
    let servers: Vec<String> = origins.iter().map(quoted).collect();
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let proxy = before(&servers, "sticky cookie=\"home\" ttl=\"1h\"");
    let mut client = proxy.client();
    let first = get(&mut client, "/");
    let (home, mine) = (who(&first), cookie(&first).expect("a cookie"));
    assert!(!mine.contains(&origins[0].address().port().to_string()), "{mine}");
    for _ in 0..5 {
        let again = get_with(&mut client, "/", &mine);
        assert_eq!(who(&again), home);
        assert_eq!(again.get("Set-Cookie"), None, "it has it already");
        get(&mut client, "/other");
    }
    // One that nobody gave it is as good as none.
    let forged = mine.replace("home=", "home=x");
    let servers: Vec<_> = (0..6).map(|_| get_with(&mut client, "/", &forged)).collect();
    assert!(servers.iter().all(|response| cookie(response).is_some()));
    assert!(servers.iter().any(|response| who(response) != home));
}

#[test]
fn a_server_that_is_drained_keeps_its_clients_until_they_are_gone() {
    let (a, b) = (named("a"), named("b"));
    let proxy = before(&[&quoted(&a), &quoted(&b)], "sticky cookie=\"home\" ttl=\"1h\"");
    let registry = proxy.server().registry();
    let mut client = proxy.client();
    let first = get(&mut client, "/");
    assert_eq!(who(&first), "a");
    let mine = cookie(&first).unwrap();
    registry.change("app", &a.url(), Change::Drain).unwrap();
    for _ in 0..4 {
        assert_eq!(who(&get(&mut client, "/")), "b", "no new clients");
        assert_eq!(who(&get_with(&mut client, "/", &mine)), "a", "those it has stay");
    }
    until("nothing runs on it", || status(&proxy)[0].safe_to_stop);
    assert_eq!(status(&proxy)[0].state, ServerState::Draining);
    assert!(!status(&proxy)[1].safe_to_stop);
    registry.change("app", &a.url(), Change::Undrain).unwrap();
    let turns: Vec<_> = (0..4).map(|_| who(&get(&mut client, "/"))).collect();
    assert!(turns.contains(&"a".to_owned()), "{turns:?}");
}

#[test]
fn safe_to_stop_is_said_when_the_last_request_has_ended() {
    let (a, b) = (Origin::start(), named("b"));
    let proxy = before(&[&format!("\"{}\"", a.url()), &quoted(&b)], "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut held = a.accept();
    held.recv_request();
    proxy.server().registry().change("app", &a.url(), Change::Drain).unwrap();
    let one = status(&proxy).remove(0);
    assert_eq!((one.in_flight, one.safe_to_stop, one.draining), (1, false, true));
    held.send(ok("done"));
    assert_eq!(client.recv_response().body_text(), "done");
    until("nothing runs on it", || status(&proxy)[0].safe_to_stop);
    assert_eq!(status(&proxy)[0].requests, 1);
}

#[test]
fn servers_are_added_weighted_and_removed_while_it_runs() {
    let (a, b) = (named("a"), named("b"));
    let proxy = before(&[&quoted(&a)], "");
    let registry = proxy.server().registry();
    let mut client = proxy.client();
    let mut turns = |count| -> String { (0..count).map(|_| who(&get(&mut client, "/"))).collect() };
    assert_eq!(turns(3), "aaa");
    registry.change("app", "", Change::Add { url: b.url() }).unwrap();
    let mixed = turns(4);
    assert_eq!(mixed.matches('b').count(), 2, "{mixed}");
    registry.change("app", &b.address().to_string(), Change::Weight(3)).unwrap();
    let mixed = turns(8);
    assert_eq!(mixed.matches('b').count(), 6, "{mixed}");
    registry.change("app", &a.url(), Change::Remove).unwrap();
    assert_eq!(turns(3), "bbb");
    registry.change("app", &a.url(), Change::Reset).unwrap();
    registry.change("app", &b.url(), Change::Remove).unwrap();
    assert_eq!(turns(3), "aaa");
    for (upstream, server, change, error) in [
        ("other", "x", Change::Drain, ChangeError::NoUpstream),
        ("app", "http://192.0.2.1", Change::Drain, ChangeError::NoServer),
        ("app", "", Change::Add { url: a.url() }, ChangeError::Exists),
    ] {
        assert_eq!(registry.change(upstream, server, change), Err(error));
    }
}

#[test]
fn what_was_changed_outlives_a_reload_that_keeps_the_group() {
    let (a, b) = (named("a"), named("b"));
    let text = |settings: &str| {
        format!(
            "threads 1\nupstream \"app\" {{ server \"{}\" \"{}\"; {settings} }}\n\
             site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}",
            a.url(),
            b.url()
        )
    };
    let proxy = Proxy::start(&text(""));
    let registry = proxy.server().registry();
    registry.change("app", &a.url(), Change::Drain).unwrap();
    let parse = |text: &str| config::parse("test", text, std::path::Path::new("")).expect("valid");
    proxy.server().reload(parse(&text("keep-idle 7"))).expect("reload");
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(who(&get(&mut client, "/")), "b");
    }
}

#[test]
fn no_server_gets_more_than_it_may_have_from_all_cores() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (Arc::clone(&now), Arc::clone(&most));
    let origin = Origin::serve(move |_| {
        peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        (0..200).for_each(|_| std::thread::yield_now());
        running.fetch_sub(1, Ordering::SeqCst);
        ok("o")
    });
    let proxy = Proxy::start(&format!(
        "threads 2\nsite \"http://127.0.0.1:0\" {{ to \"{}\" {{ max-connections 3 queue=100 queue-timeout=\"20s\" }} }}",
        origin.url()
    ));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(get(&mut proxy.client(), "/").status(), 200);
                }
            });
        }
    });
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 3, "{most} at once");
    assert_eq!(origin.requests().len(), 120);
}

#[test]
fn who_finds_no_place_waits_in_line() {
    let origin = Origin::start();
    let proxy = before(
        &[&format!("\"{}\"", origin.url())],
        "max-connections 1 queue=1 queue-timeout=\"20s\"",
    );
    let mut clients = [proxy.client(), proxy.client(), proxy.client()];
    clients[0].send("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    clients[1].send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let queued = || proxy.server().registry().status()[0].queued;
    until("the second waits", || queued() == 1);
    let refused = get(&mut clients[2], "/2");
    assert_eq!(refused.status(), 503);
    assert!(refused.get("Proxy-Status").unwrap().contains("connection_limit_reached"));
    upstream.send(ok("first"));
    assert_eq!(clients[0].recv_response().body_text(), "first");
    assert_eq!(upstream.recv_request().target(), "/1");
    upstream.send(ok("second"));
    assert_eq!(clients[1].recv_response().body_text(), "second");
    assert_eq!(queued(), 0);
    origin.expect_no_connection();
}

#[test]
fn nobody_waits_in_line_for_ever() {
    let origin = Origin::start();
    let proxy = before(
        &[&format!("\"{}\"", origin.url())],
        "max-connections 1 queue=1 queue-timeout=\"50ms\"",
    );
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    assert_eq!(get(&mut second, "/1").status(), 503);
    upstream.send(ok("first"));
    assert_eq!(first.recv_response().body_text(), "first");
    // A client that leaves the line gives its place in it up.
    let gone = proxy.client();
    drop(gone);
    second.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.recv_request().target(), "/2");
}

#[test]
fn who_gives_up_leaves_the_line() {
    let origin = Origin::start();
    let proxy = before(
        &[&format!("\"{}\"", origin.url())],
        "max-connections 1 queue=1 queue-timeout=\"20s\"",
    );
    let mut first = proxy.client();
    first.send("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    let mut hasty = h2::Client::connect(proxy.first());
    let stream = hasty.open_get("/never");
    let queued = || proxy.server().registry().status()[0].queued;
    until("it waits", || queued() == 1);
    hasty.send(&h2::Frame::reset(stream, h2::code::CANCEL));
    until("it waits no more", || queued() == 0);
    let mut patient = proxy.client();
    patient.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the place in line is free", || queued() == 1);
    upstream.send(ok("first"));
    assert_eq!(first.recv_response().body_text(), "first");
    assert_eq!(upstream.recv_request().target(), "/1");
    upstream.send(ok("second"));
    assert_eq!(patient.recv_response().body_text(), "second");
}

#[test]
fn a_tunnel_that_was_upgraded_holds_its_place() {
    let origin = Origin::start();
    let proxy = before(&[&format!("\"{}\"", origin.url())], "max-connections 1");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_head();
    upstream
        .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    assert_eq!(client.recv_head().status(), 101);
    assert_eq!(get(&mut proxy.client(), "/").status(), 503);
    assert_eq!(status(&proxy)[0].in_flight, 1);
    drop((client, upstream));
    until("the place is free", || status(&proxy)[0].in_flight == 0);
    let mut client = proxy.client();
    client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_request().target(), "/again");
    upstream.send(ok("again"));
    assert_eq!(client.recv_response().body_text(), "again");
}
