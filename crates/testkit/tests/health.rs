//! Servers that are ill, slow or failing, and how they are found out and come back.

mod site;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use server::servers::{ServerState, ServerStatus};
use site::{get, named, ok, until};
use testkit::{Message, Origin, Proxy, Served, h2, reserve};

fn before(servers: &[&str], settings: &str) -> Proxy {
    let servers: String = servers.iter().map(|url| format!("server \"{url}\"\n")).collect();
    Proxy::start(&format!(
        "upstream \"app\" {{\n{servers}{settings}\n}}\n\
         site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}"
    ))
}

fn servers(proxy: &Proxy) -> Vec<ServerStatus> {
    proxy.server().registry().status().remove(0).servers
}

fn state(proxy: &Proxy, index: usize) -> ServerState {
    servers(proxy)[index].state
}

fn status_of(code: u16) -> Vec<u8> {
    format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n").into()
}

/// An origin whose `/healthz` says what it is told to.
fn patient(name: &'static str) -> (Served, Arc<AtomicU16>) {
    let health = Arc::new(AtomicU16::new(200));
    let says = Arc::clone(&health);
    let served = Origin::serve(move |request| match request.target().as_str() {
        "/healthz" => status_of(says.load(Ordering::SeqCst)),
        _ => ok(name),
    });
    (served, health)
}

fn served(origin: &Served) -> usize {
    origin.requests().iter().filter(|request| request.target() != "/healthz").count()
}

const FAST: &str = "every=\"200ms\" timeout=\"200ms\" fall=2 rise=2";

#[test]
fn an_ill_server_is_left_alone_until_it_is_well() {
    let ((a, health), (b, _)) = (patient("a"), patient("b"));
    let proxy = before(&[&a.url(), &b.url()], &format!("health \"/healthz\" {FAST}"));
    until("it was checked", || a.requests().iter().any(|check| check.target() == "/healthz"));
    let check: Message = a.requests().remove(0);
    assert_eq!(check.method(), "GET");
    assert_eq!(check.get("Host").unwrap(), a.address().to_string());
    health.store(503, Ordering::SeqCst);
    until("it is ill", || state(&proxy, 0) == ServerState::Ill);
    assert_eq!(servers(&proxy)[0].why.as_deref(), Some("status 503"));
    let before = served(&a);
    let mut client = proxy.client();
    for _ in 0..10 {
        assert_eq!(get(&mut client, "/").body_text(), "b");
    }
    assert_eq!(served(&a), before);
    health.store(204, Ordering::SeqCst);
    until("it is well", || state(&proxy, 0) == ServerState::Well);
    let turns: Vec<_> = (0..4).map(|_| get(&mut client, "/").body_text()).collect();
    assert!(turns.contains(&"a".to_owned()), "{turns:?}");
}

#[test]
fn when_nobody_is_well_everybody_is_tried() {
    let (a, health) = patient("a");
    health.store(500, Ordering::SeqCst);
    let proxy = before(&[&a.url()], &format!("health \"/healthz\" {FAST}"));
    until("it is ill", || state(&proxy, 0) == ServerState::Ill);
    assert_eq!(get(&mut proxy.client(), "/").body_text(), "a");
}

#[test]
fn the_answer_must_be_the_expected_one() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        6\r\nall is\r\n5\r\n well\r\n0\r\n\r\n";
    let malformed = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n";
    let cases = [
        ("status=\"204\"", status_of(204), true),
        ("status=\"204\"", status_of(200), false),
        ("body=\"all is well\"", ok("today all is well here"), true),
        ("body=\"all is well\"", ok("today all is lost"), false),
        ("body=\"all is well\"", chunked.to_vec(), true),
        ("host=\"other.example\"", status_of(200), true),
        ("", malformed.to_vec(), false),
        ("", b"nonsense\r\n\r\n".to_vec(), false),
    ];
    std::thread::scope(|scope| {
        for (settings, answer, good) in cases {
            scope.spawn(move || is_judged(settings, answer, good));
        }
    });
}

fn is_judged(settings: &str, answer: Vec<u8>, good: bool) {
    let origin = Origin::serve(move |_| answer.clone());
    let check = format!("health \"/\" every=\"500ms\" timeout=\"500ms\" {settings}");
    let proxy = before(&[&origin.url()], &check);
    if good {
        // There are two checks: the first has been judged.
        until("checked", || origin.requests().len() >= 2);
        assert_eq!(state(&proxy, 0), ServerState::Well, "{settings}");
    } else {
        until("it is ill", || state(&proxy, 0) == ServerState::Ill);
    }
    if settings.contains("host") {
        assert_eq!(origin.requests()[0].get("Host").unwrap(), "other.example");
    }
}

#[test]
fn a_connection_can_be_enough() {
    let (live, dead) = (named("live"), reserve());
    let proxy =
        before(&[&live.url(), &format!("http://{dead}")], &format!("health \"tcp\" {FAST}"));
    until("the dead one is ill", || state(&proxy, 1) == ServerState::Ill);
    assert_eq!(state(&proxy, 0), ServerState::Well);
    let mut client = proxy.client();
    for _ in 0..6 {
        assert_eq!(get(&mut client, "/").status(), 200);
    }
    assert_eq!(live.requests().len(), 6);
    let back = Origin::on(&dead.to_string());
    until("it is well", || state(&proxy, 1) == ServerState::Well);
    drop(back);
}

#[test]
fn grpc_services_say_how_they_are() {
    let serving = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&serving);
    let origin = h2::Origin::serve(move |request| {
        assert_eq!(request.get(":path"), Some("/grpc.health.v1.Health/Check"));
        assert_eq!(request.get("content-type"), Some("application/grpc"));
        assert_eq!(request.body, b"\0\0\0\0\x05\x0a\x03pay");
        let status = if says.load(Ordering::SeqCst) { 1 } else { 2 };
        h2::Answer::new(200, [0, 0, 0, 0, 2, 8, status])
            .with("content-type", "application/grpc")
            .with_trailer("grpc-status", "0")
    });
    let proxy = before(&[&origin.url()], &format!("health \"grpc\" service=\"pay\" {FAST}"));
    until("checked", || origin.requests().len() >= 2);
    assert_eq!(state(&proxy, 0), ServerState::Well);
    serving.store(false, Ordering::SeqCst);
    until("it is ill", || state(&proxy, 0) == ServerState::Ill);
    assert_eq!(servers(&proxy)[0].why.as_deref(), Some("serving status 2"));
    serving.store(true, Ordering::SeqCst);
    until("it is well", || state(&proxy, 0) == ServerState::Well);
}

#[test]
fn one_server_is_one_server_whoever_names_it() {
    let (a, health) = patient("a");
    let b = named("b");
    let check = format!("health \"/healthz\" {FAST}");
    let proxy = Proxy::start(&format!(
        "upstream \"one\" {{ server \"{0}\" \"{1}\"; {check} }}\n\
         upstream \"two\" {{ server \"{0}\" \"{1}\"; {check} }}\n\
         site \"http://127.0.0.1:0\" {{ route \"/one\" {{ to upstream=\"one\" }}; route \"/two\" {{ to upstream=\"two\" }} }}",
        a.url(),
        b.url()
    ));
    let mut client = proxy.client();
    health.store(500, Ordering::SeqCst);
    until("it is ill in both", || {
        let all = proxy.server().registry().status();
        all.iter().all(|upstream| upstream.servers[0].state == ServerState::Ill)
    });
    for path in ["/one", "/two", "/one", "/two"] {
        assert!(get(&mut client, path).body_text().starts_with('b'));
    }
    let all = proxy.server().registry().status();
    assert_eq!(all[0].servers[1].requests, 4, "of both groups");
    assert_eq!(all[1].servers[1].requests, 4);
}

#[test]
fn who_fails_too_often_is_left_out() {
    let bad = Origin::serve(|_| status_of(500));
    let good = named("good");
    let proxy =
        before(&[&bad.url(), &good.url()], "outlier failures=3 within=\"60s\" eject=\"60s\"");
    let mut client = proxy.client();
    let answers: Vec<_> = (0..20).map(|_| get(&mut client, "/").status()).collect();
    assert_eq!(answers.iter().filter(|status| **status == 500).count(), 3, "{answers:?}");
    assert_eq!(bad.requests().len(), 3);
    assert_eq!(state(&proxy, 0), ServerState::Ejected);
    let failed = &servers(&proxy)[0];
    assert_eq!((failed.requests, failed.failures), (3, 3));
}

#[test]
fn not_more_than_may_are_left_out() {
    let bad = [Origin::serve(|_| status_of(500)), Origin::serve(|_| status_of(500))];
    let proxy = before(
        &[&bad[0].url(), &bad[1].url()],
        "outlier failures=2 within=\"60s\" eject=\"60s\" max-ejected=\"50%\"",
    );
    let mut client = proxy.client();
    for _ in 0..12 {
        assert_eq!(get(&mut client, "/").status(), 500);
    }
    let out = servers(&proxy).iter().filter(|one| one.state == ServerState::Ejected).count();
    assert_eq!(out, 1);
}

#[test]
fn when_too_much_fails_the_group_is_given_a_rest() {
    let working = Arc::new(AtomicBool::new(false));
    let works = Arc::clone(&working);
    let origin =
        Origin::serve(
            move |_| {
                if works.load(Ordering::SeqCst) { ok("fine") } else { status_of(500) }
            },
        );
    let proxy = before(
        &[&origin.url()],
        "circuit-breaker errors=\"50%\" within=\"60s\" min-requests=4 open=\"200ms\"",
    );
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(get(&mut client, "/").status(), 500);
    }
    let refused = get(&mut client, "/");
    assert_eq!(refused.status(), 503);
    assert!(refused.get("Proxy-Status").unwrap().contains("destination_unavailable"));
    assert_eq!(origin.requests().len(), 4, "nothing was sent");
    working.store(true, Ordering::SeqCst);
    until("a trial succeeds", || get(&mut proxy.client(), "/").status() == 200);
    for _ in 0..4 {
        assert_eq!(get(&mut client, "/").status(), 200);
    }
}

#[test]
fn in_panic_all_are_used() {
    let ((a, first), (b, second), (c, _)) = (patient("a"), patient("b"), patient("c"));
    first.store(500, Ordering::SeqCst);
    second.store(500, Ordering::SeqCst);
    let proxy = before(
        &[&a.url(), &b.url(), &c.url()],
        &format!("health \"/healthz\" {FAST}\npanic \"50%\""),
    );
    until("two are ill", || {
        state(&proxy, 0) == ServerState::Ill && state(&proxy, 1) == ServerState::Ill
    });
    let mut client = proxy.client();
    let mut used: Vec<_> = (0..9).map(|_| get(&mut client, "/").body_text()).collect();
    used.sort();
    used.dedup();
    assert_eq!(used, ["a", "b", "c"]);
}

/// A name server that answers A questions with `a`, and SRV questions with `services`: priority,
/// weight, port and target.
fn name_server(
    a: impl Fn(&str) -> Vec<Ipv4Addr> + Send + 'static,
    services: Vec<(u16, u16, u16, &'static str)>,
) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let address = socket.local_addr().expect("address");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let question = &buffer[..length];
            let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name") + 1;
            let name = labels(&question[12..end]);
            let kind = u16::from_be_bytes([question[end], question[end + 1]]);
            let answers: Vec<Vec<u8>> = match kind {
                1 => a(&name).iter().map(|ip| ip.octets().to_vec()).collect(),
                33 => services.iter().map(service).collect(),
                _ => vec![],
            };
            let mut reply = question[..2].to_vec();
            reply.extend([0x81, 0x80, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
            reply.extend(&question[12..end + 4]);
            for data in answers {
                // The name of the question, its type, class IN, a second to live.
                reply.extend([0xc0, 12, 0, kind as u8, 0, 1, 0, 0, 0, 1]);
                reply.extend((data.len() as u16).to_be_bytes());
                reply.extend(data);
            }
            socket.send_to(&reply, client).expect("send");
        }
    });
    address
}

fn labels(mut encoded: &[u8]) -> String {
    let mut name = String::new();
    while let [length @ 1..=63, rest @ ..] = encoded {
        let (label, rest) = rest.split_at(usize::from(*length));
        name += &String::from_utf8_lossy(label).to_ascii_lowercase();
        name.push('.');
        encoded = rest;
    }
    name.trim_end_matches('.').to_owned()
}

fn service((priority, weight, port, target): &(u16, u16, u16, &str)) -> Vec<u8> {
    let mut data: Vec<u8> =
        [priority, weight, port].iter().flat_map(|number| number.to_be_bytes()).collect();
    for label in target.split('.') {
        data.push(label.len() as u8);
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}

/// An origin on two addresses that says which of them it was asked at.
fn everywhere() -> (u16, Served, Served) {
    let first = Origin::start();
    let port = first.address().port();
    let second = Origin::on(&format!("127.0.0.2:{port}"));
    (port, Served::start(first, |_| ok("first")), Served::start(second, |_| ok("second")))
}

#[test]
fn each_address_of_a_name_is_a_server() {
    let (port, first, second) = everywhere();
    let both = Arc::new(AtomicBool::new(true));
    let has_both = Arc::clone(&both);
    let dns = name_server(
        move |_| {
            let second = has_both.load(Ordering::SeqCst).then_some(Ipv4Addr::new(127, 0, 0, 2));
            [Some(Ipv4Addr::LOCALHOST), second].into_iter().flatten().collect()
        },
        vec![],
    );
    let proxy = Proxy::start(&format!(
        "resolver \"{dns}\"\nsite \"http://127.0.0.1:0\" {{ to \"http://app.test:{port}\" }}"
    ));
    let mut client = proxy.client();
    for _ in 0..8 {
        assert_eq!(get(&mut client, "/").status(), 200);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (4, 4));
    // The record expires, the new answer is taken over by itself.
    both.store(false, Ordering::SeqCst);
    until("one is left", || servers(&proxy).len() == 1);
    for _ in 0..4 {
        assert_eq!(get(&mut client, "/").body_text(), "first");
    }
}

#[test]
fn the_last_good_addresses_are_kept() {
    let origin = named("o");
    let known = Arc::new(AtomicBool::new(true));
    let is_known = Arc::clone(&known);
    let asked = Arc::new(AtomicU16::new(0));
    let count = Arc::clone(&asked);
    let dns = name_server(
        move |_| {
            if is_known.load(Ordering::SeqCst) {
                return vec![Ipv4Addr::LOCALHOST];
            }
            count.fetch_add(1, Ordering::SeqCst);
            vec![]
        },
        vec![],
    );
    let proxy = Proxy::start(&format!(
        "resolver \"{dns}\"\nsite \"http://127.0.0.1:0\" {{ to \"http://app.test:{}\" }}",
        origin.address().port()
    ));
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").status(), 200);
    known.store(false, Ordering::SeqCst);
    until("it was asked for in vain", || asked.load(Ordering::SeqCst) > 0);
    assert_eq!(get(&mut client, "/").status(), 200);
    assert_eq!(servers(&proxy).len(), 1);
}

#[test]
fn services_are_found_by_their_records() {
    let (port, first, second) = everywhere();
    let spare = named("spare");
    let records = vec![
        (10, 3, port, "one.test"),
        (10, 1, port, "two.test"),
        (20, 1, spare.address().port(), "one.test"),
    ];
    let dns = name_server(
        |name| match name {
            "one.test" => vec![Ipv4Addr::LOCALHOST],
            "two.test" => vec![Ipv4Addr::new(127, 0, 0, 2)],
            _ => vec![],
        },
        records,
    );
    let proxy = Proxy::start(&format!(
        "resolver \"{dns}\"\nsite \"http://127.0.0.1:0\" {{\n\
         to \"http+srv://_web._tcp.test\"; forwarded {{ preserve-host #false }} }}"
    ));
    let mut client = proxy.client();
    for _ in 0..8 {
        assert_eq!(get(&mut client, "/").status(), 200);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (6, 2));
    assert!(spare.requests().is_empty(), "its priority is lower");
    assert_eq!(second.requests()[0].get("Host").unwrap(), format!("two.test:{port}"));
    let shown: Vec<_> = servers(&proxy).iter().map(|one| (one.priority, one.weight)).collect();
    assert_eq!(shown.len(), 3);
    assert!(shown.contains(&(10, 3)) && shown.contains(&(20, 1)), "{shown:?}");
}
