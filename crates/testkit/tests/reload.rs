//! Another configuration while requests run: what changes, what is carried over, and what ends.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use testkit::{Authority, DEADLINE, Message, Origin, Peer, Proxy, Scratch, reserve, tls_client};

fn respond(text: &str) -> String {
    format!("site \"http://127.0.0.1:0\" {{ respond 200 \"{text}\" }}")
}

fn relay(origin: &Origin) -> String {
    format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url())
}

fn get(client: &mut Peer, path: &str) -> Message {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.recv_response()
}

fn ok(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

/// Waits until nobody listens there.
fn closed(address: SocketAddr) {
    let started = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(started.elapsed() < DEADLINE, "still listening on {address}");
    }
}

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const YES: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Both ends of a WebSocket through the proxy.
fn websocket(proxy: &Proxy, origin: &Origin) -> (Peer, Peer) {
    let mut client = proxy.client();
    client.send(ASK);
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send(YES);
    assert_eq!(client.recv_head().status(), 101);
    (client, upstream)
}

fn converse(client: &mut Peer, upstream: &mut Peer, words: &str) {
    client.send(words);
    upstream.expect(words);
    upstream.send(words);
    client.expect(words);
}

#[test]
fn a_connection_sees_the_new_configuration_with_its_next_request() {
    let proxy = Proxy::start(&respond("old"));
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "old");
    let address = proxy.first();
    let report = proxy.reload(&respond("new"));
    assert_eq!(report.generation, 2);
    assert_eq!((report.changes.sites.changed, report.changes.sites.kept), (1, 0));
    assert_eq!(report.warnings, [""; 0]);
    assert_eq!(proxy.first(), address, "the port that was chosen stays");
    assert_eq!(get(&mut client, "/").body_text(), "new");
    assert_eq!(get(&mut proxy.client(), "/").body_text(), "new");
    drop(client);
    let log = proxy.stop_and_read();
    let generations: Vec<_> = log.iter().map(|line| line["generation"].as_u64()).collect();
    assert_eq!(generations, [Some(1), Some(2), Some(2)]);
}

#[test]
fn what_says_the_same_is_carried_over() {
    let origin = Origin::serve(|_| ok("hello").into_bytes());
    let text = format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url());
    let proxy = Proxy::start(&text);
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "hello");
    let other = "site \"http://127.0.0.1:0\" { respond 200 \"beside\" }";
    for text in [format!("// moved\n\n{text}"), format!("{text}\n{other}"), text.clone()] {
        let changes = proxy.reload(&text).changes;
        assert_eq!((changes.sites.kept, changes.upstreams.kept), (1, 1), "{changes:?}");
        assert_eq!(changes.listeners.kept, 1, "{changes:?}");
        assert_eq!(get(&mut client, "/").body_text(), "hello");
    }
    assert_eq!(origin.connections(), 1, "the connection to the server was kept");
}

#[test]
fn an_error_changes_nothing() {
    let proxy = Proxy::start(&respond("old"));
    let mut client = proxy.client();
    let wrong = "site \"http://127.0.0.1:0\" { error-page 404 file=\"missing.html\"; respond 200 \"new\" }\n\
                 site \"http://127.0.0.2:0\" { respond 200 \"beside\" }";
    let error = proxy.try_reload(wrong).unwrap_err();
    assert!(error.contains("missing.html"), "{error}");
    assert_eq!(proxy.server().addresses().len(), 1);
    assert_eq!(proxy.server().snapshot().generation, 1);
    assert_eq!(get(&mut client, "/").body_text(), "old");
    assert_eq!(get(&mut proxy.client(), "/").body_text(), "old");
}

#[test]
fn a_port_that_is_taken_changes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap();
    let proxy = Proxy::start(&respond("old"));
    let beside = reserve();
    let text = format!(
        "{}\nsite \"http://a\" listen=\"{beside}\" {{ respond 200 \"beside\" }}\n\
         forward \"{taken_address}\"",
        respond("new")
    );
    let error = proxy.try_reload(&text).unwrap_err();
    assert!(error.contains(&format!("cannot listen on {taken_address}")), "{error}");
    assert!(TcpStream::connect(beside).is_err(), "nothing new is listened on");
    assert_eq!(get(&mut proxy.client(), "/").body_text(), "old");
    drop(taken);
    assert_eq!(proxy.reload(&text).changes.listeners.added, 2);
    assert_eq!(get(&mut proxy.client(), "/").body_text(), "new");
    assert_eq!(get(&mut Peer::connect(beside), "/").body_text(), "beside");
}

#[test]
fn listeners_come_and_go() {
    let proxy = Proxy::start(&respond("one"));
    let second = reserve();
    let both = format!(
        "{}\nsite \"http://a\" listen=\"{second}\" {{ respond 200 \"two\" }}",
        respond("one")
    );
    let mut first = proxy.client();
    assert_eq!(get(&mut first, "/").body_text(), "one");
    for _ in 0..3 {
        assert_eq!(proxy.reload(&both).changes.listeners.added, 1);
        let mut client = Peer::connect(second);
        assert_eq!(get(&mut client, "/").body_text(), "two");
        assert_eq!(proxy.reload(&respond("one")).changes.listeners.removed, 1);
        // Idle connections of a listener that went are closed; others are not.
        client.expect_close();
        closed(second);
        assert_eq!(get(&mut first, "/").body_text(), "one");
    }
}

#[test]
fn a_request_finishes_on_the_configuration_it_began_with() {
    let origin = Origin::start();
    let gone = format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url());
    let proxy = Proxy::start(&gone);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
    client.recv_head();
    client.expect("01234");
    // Neither its site nor its listener is there any longer.
    let address = proxy.first();
    proxy.reload("site \"http://127.0.0.2:0\" { respond 200 \"new\" }");
    closed(address);
    upstream.send("56789");
    client.expect("56789");
    client.expect_close();
}

#[test]
fn a_connection_whose_listener_speaks_otherwise_now_is_drained() {
    let address = reserve();
    let sites = format!("site \"http://a\" listen=\"{address}\" {{ respond 200 \"site\" }}");
    let proxy = Proxy::start(&sites);
    let mut client = Peer::connect(address);
    assert_eq!(get(&mut client, "/").body_text(), "site");
    proxy.reload(&format!("forward \"{address}\""));
    client.expect_close();
    let mut client = Peer::connect(address);
    let answer = get(&mut client, "/");
    assert_eq!(answer.status(), 400, "{}", answer.text());
    proxy.reload(&sites);
    client.expect_close();
    assert_eq!(get(&mut Peer::connect(address), "/").body_text(), "site");
}

#[test]
fn websockets_live_through_reloads() {
    let origin = Origin::start();
    let proxy = Proxy::start(&relay(&origin));
    let (mut client, mut upstream) = websocket(&proxy, &origin);
    for round in 0..50 {
        // Another server for the same route; the old one is no longer in the configuration.
        proxy.reload(&respond(&format!("round {round}")));
        converse(&mut client, &mut upstream, &format!("round {round}"));
        proxy.reload(&relay(&origin));
        converse(&mut client, &mut upstream, &format!("and back {round}"));
    }
    assert_eq!(proxy.server().snapshot().generation, 101);
    client.finish();
    upstream.expect_close();
    upstream.finish();
    client.expect_close();
}

#[test]
fn a_websocket_whose_route_went_is_closed_in_time() {
    let origin = Origin::start();
    let site = |routes: &str| {
        format!("drain-timeout \"100ms\"\nsite \"http://127.0.0.1:0\" {{ {routes} }}")
    };
    let (chat, rest) = (
        format!("route \"/chat\" {{ to \"{}\" }}", origin.url()),
        "route \"/*\" { respond 200 \"rest\"; }",
    );
    let proxy = Proxy::start(&site(&format!("{chat}\n{rest}")));
    let (mut client, mut upstream) = websocket(&proxy, &origin);
    // Another route is not its own, even if it takes the same path.
    proxy.reload(&site(rest));
    client.expect_close();
    upstream.expect_close();
    drop((client, upstream));
    let log = proxy.stop_and_read();
    assert_eq!(log[0]["status"], 101);
}

#[test]
fn a_tunnel_whose_listener_went_is_closed_in_time() {
    let origin = Origin::start();
    let address = origin.address();
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let mut upstream = origin.accept();
    assert_eq!(client.recv_head().status(), 200);
    let other = "forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\"; deny \"10.0.0.0/8\" }";
    proxy.reload(other);
    converse(&mut client, &mut upstream, "the listener is there");
    proxy.reload("drain-timeout \"100ms\"\nsite \"http://127.0.0.2:0\" { respond 200 }");
    client.expect_close();
    upstream.expect_close();
}

#[test]
fn a_response_without_end_is_cut_with_its_listener() {
    let origin = Origin::start();
    let proxy = Proxy::start(&relay(&origin));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
    client.recv_head();
    client.expect("01234");
    proxy.reload("drain-timeout \"100ms\"\nsite \"http://127.0.0.2:0\" { respond 200 }");
    assert_eq!(client.recv_until_gone(), b"");
}

#[test]
fn a_tls_connection_stays_with_the_site_it_was_made_for() {
    let authority = Authority::new("test authority");
    let scratch = Scratch::new();
    for name in ["a", "b", "c"] {
        let identity = authority.issue(&[&format!("{name}.example")]);
        scratch.write(&format!("{name}.pem"), &identity.cert);
        scratch.write(&format!("{name}.key"), &identity.key);
    }
    let listen = reserve();
    let port = listen.port();
    let site = |name: &str, more: &str| {
        format!(
            "site \"https://{name}.example:{port}\" listen=\"{listen}\" {{\n\
             tls cert=\"{name}.pem\" key=\"{name}.key\" {more}\nrespond 200 \"{name}\" }}\n"
        )
    };
    let proxy = Proxy::start_in(scratch, &(site("a", "") + &site("b", "")));
    let config = tls_client(&authority, None);
    let secure = |name: &str| {
        Peer::connect(listen).into_tls(&config, &format!("{name}.example")).expect("handshake")
    };
    let ask = |client: &mut Peer, name: &str| {
        client.send(format!("GET / HTTP/1.1\r\nHost: {name}.example\r\n\r\n"));
        client.recv_response()
    };
    let (mut a, mut b) = (secure("a"), secure("b"));
    assert_eq!(ask(&mut a, "a").body_text(), "a");
    assert_eq!(ask(&mut b, "b").body_text(), "b");
    // The places of both sites are others now: `c` is where `a` was, and `a` where `b` was.
    proxy.reload(&(site("c", "") + &site("a", "") + &site("b", "")));
    assert_eq!(ask(&mut a, "a").body_text(), "a");
    assert_eq!(ask(&mut a, "c").status(), 421);
    assert_eq!(ask(&mut b, "b").body_text(), "b");
    assert_eq!(ask(&mut b, "a").status(), 421);
    // A site with other rules is another one to a connection that was made under the old ones.
    proxy.reload(&(site("c", "") + &site("a", "min-version=\"1.3\"") + &site("b", "")));
    assert_eq!(ask(&mut a, "a").status(), 421);
    assert_eq!(ask(&mut b, "b").body_text(), "b");
    assert_eq!(ask(&mut secure("a"), "a").body_text(), "a");
}

#[test]
fn sessions_are_resumed_after_a_reload() {
    let authority = Authority::new("test authority");
    let scratch = Scratch::new();
    let identity = authority.issue(&["a.example"]);
    scratch.write("a.pem", &identity.cert);
    scratch.write("a.key", &identity.key);
    let text = |body: &str| {
        format!(
            "site \"https://a.example\" listen=\"127.0.0.1:0\" {{\n\
             tls cert=\"a.pem\" key=\"a.key\"\nrespond 200 \"{body}\" }}"
        )
    };
    let proxy = Proxy::start_in(scratch, &text("old"));
    let config = tls_client(&authority, None);
    for body in ["old", "new"] {
        proxy.reload(&text(body));
        let mut client = proxy.client().into_tls(&config, "a.example").expect("handshake");
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.recv_response().body_text(), body);
        let resumed = client.session().handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        assert_eq!(resumed, body == "new");
    }
}

#[test]
fn what_a_reload_cannot_change_is_said() {
    let proxy = Proxy::start(&respond("old"));
    let text = format!("threads 3\nadmin \"127.0.0.1:0\"\naccess-log off\n{}", respond("new"));
    let report = proxy.reload(&text);
    for word in ["`threads`", "`admin`", "`access-log`"] {
        assert!(report.warnings.iter().any(|warning| warning.contains(word)), "{report:?}");
    }
    assert_eq!(get(&mut proxy.client(), "/").body_text(), "new");
    assert_eq!(proxy.server().threads(), 1);
    assert_eq!(proxy.stop().len(), 1, "the access log is written as before");
}

#[test]
fn files_are_read_again_when_they_change() {
    let scratch = Scratch::new();
    scratch.write("404.html", "old page");
    let page = "error-page 404 file=\"404.html\"";
    let proxy = Proxy::start_in(
        scratch,
        &format!("site \"http://127.0.0.1:0\" {{ {page}; route \"/x\" {{ respond 200; }} }}"),
    );
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), "old page");
    proxy.server().look_at_files();
    assert_eq!(proxy.server().snapshot().generation, 1, "nothing has changed");
    proxy.scratch().write("404.html", "a new page");
    proxy.server().look_at_files();
    assert_eq!(get(&mut client, "/").body_text(), "a new page");
    assert_eq!(proxy.server().snapshot().generation, 2);
    // What cannot be read stays as it was.
    std::fs::remove_file(proxy.scratch().path().join("404.html")).unwrap();
    proxy.server().look_at_files();
    proxy.server().look_at_files();
    assert_eq!(get(&mut client, "/").body_text(), "a new page");
    assert_eq!(proxy.server().snapshot().generation, 2);
    proxy.scratch().write("404.html", "back");
    proxy.server().look_at_files();
    assert_eq!(get(&mut client, "/").body_text(), "back");
}

#[test]
fn reloads_that_come_together_take_turns() {
    let proxy = Proxy::start(&format!("threads 2\n{}", respond("0")));
    std::thread::scope(|scope| {
        for round in 1..=8 {
            let text = format!("threads 2\n{}", respond(&round.to_string()));
            let proxy = &proxy;
            scope.spawn(move || proxy.reload(&text));
        }
    });
    assert_eq!(proxy.server().snapshot().generation, 9);
    assert_eq!(get(&mut proxy.client(), "/").status(), 200);
}

/// `cargo test --release -p testkit --test reload -- --ignored --nocapture`: what reloads of a
/// large configuration cost, in time and, with WebSockets left open on a hundred of its
/// generations, in memory.
#[test]
#[ignore = "a measurement"]
fn a_large_configuration_is_loaded_quickly() {
    let origin = Origin::start();
    let text = |marker: usize| {
        let mut text = format!(
            "site \"http://127.0.0.1:0\" {{\nroute \"/chat\" {{ to \"{}\"; }}\n",
            origin.url()
        );
        for route in 0..10_000 {
            let port = if route == marker { 8 } else { 9 };
            text.push_str(&format!(
                "route \"/r{route}/*\" {{ to \"http://127.0.0.1:{port}\"; }}\n"
            ));
        }
        text + "}\n"
    };
    let proxy = Proxy::start(&text(0));
    let (mut took, mut open, mut first) = (Vec::new(), Vec::new(), 0);
    for round in 1..=1000 {
        let text = text(round);
        let started = Instant::now();
        let report = proxy.reload(&text);
        took.push(started.elapsed());
        if round % 10 == 0 {
            open.push(websocket(&proxy, &origin));
        }
        if round == 10 {
            first = resident_kib();
        }
        if round % 100 == 0 {
            let (whole, kib) = (took[round - 1], resident_kib());
            println!("{round}: {whole:?}, {:?} without reading the text; {kib} KiB", report.took);
        }
    }
    took.sort();
    println!("median {:?}, slowest {:?}", took[took.len() / 2], took[took.len() - 1]);
    println!("{first} KiB after ten, {} KiB at the end", resident_kib());
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
