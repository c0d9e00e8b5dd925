//! Tunnel listeners: bytes that pass as they are, by name or not, with TLS on either side or
//! none.

use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConfig, ClientConnection};
use testkit::{Authority, DEADLINE, Identity, Origin, Peer, Proxy, Scratch, reserve, tls_client};

fn tcp(origin: &Origin) -> String {
    format!("tcp://{}", origin.address())
}

fn tunnel(block: &str) -> Proxy {
    Proxy::start(&format!("tunnel \"127.0.0.1:0\" {{\n{block}\n}}"))
}

/// A tunnel to one server, for whoever connects.
fn open() -> (Proxy, Origin) {
    let origin = Origin::start();
    (tunnel(&format!("to \"{}\"", tcp(&origin))), origin)
}

/// An origin that speaks TLS under this name.
fn secure_origin(authority: &Authority, name: &str) -> Origin {
    Origin::start().with_tls(authority.issue(&[name]).server(None))
}

fn store(scratch: &Scratch, name: &str, identity: &Identity) {
    scratch.write(&format!("{name}.pem"), &identity.cert);
    scratch.write(&format!("{name}.key"), &identity.key);
}

/// The first flight of a TLS client that asks for this name.
fn client_hello(config: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
    let name = name.to_owned().try_into().expect("name");
    let mut session = ClientConnection::new(Arc::clone(config), name).expect("client");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("a client speaks first");
    bytes
}

/// Both talk, and then end: first the one, then the other.
fn converse(client: &mut Peer, server: &mut Peer) {
    client.send("ping");
    server.expect("ping");
    server.send("pong");
    client.expect("pong");
    client.finish();
    server.expect_close();
    server.send("more after the client has ended").finish();
    client.expect("more after the client has ended");
    client.expect_close();
}

/// The one line of the access log.
fn only_line(proxy: &Proxy) -> serde_json::Value {
    let mut lines = proxy.stop_and_read();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[test]
fn a_server_may_speak_first() {
    let (proxy, origin) = open();
    let mut client = proxy.client();
    let mut server = origin.accept();
    server.send("220 welcome\r\n");
    client.expect("220 welcome\r\n");
    converse(&mut client, &mut server);
    drop((client, server));
    let line = only_line(&proxy);
    assert_eq!(line["version"], "TCP");
    assert_eq!(line["method"], "-");
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes_in"], 4);
    assert_eq!(line["bytes_out"], 13 + 4 + 31);
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["server"], origin.address().to_string());
    assert_eq!(line["attempts"], 1);
    assert!(line["upstream"].as_str().unwrap().starts_with("tunnel 127.0.0.1"), "{line}");
    assert!(line.get("failure").is_none(), "{line}");
}

#[test]
fn much_passes_both_ways_at_once() {
    let (proxy, origin) = open();
    let mut client = proxy.client();
    let mut server = origin.accept();
    let there: Vec<u8> = (0..3_000_000_u32).map(|n| ((n * 7) >> 3) as u8).collect();
    let back: Vec<u8> = there.iter().rev().copied().collect();
    let again = |peer: &Peer| Peer::over(peer.socket().try_clone().expect("clone"));
    let (mut sender, mut receiver) = (again(&client), again(&server));
    std::thread::scope(|scope| {
        let (there, back) = (&there, &back);
        scope.spawn(move || {
            sender.send(there).finish();
        });
        scope.spawn(move || assert!(receiver.recv_rest() == *there));
        scope.spawn(move || {
            server.send(back).finish();
        });
        assert!(client.recv_rest() == *back);
    });
}

#[test]
fn the_name_in_the_hello_decides_and_tls_is_left_alone() {
    let authority = Authority::new("test authority");
    let config = tls_client(&authority, None);
    let a = secure_origin(&authority, "a.example");
    let b = secure_origin(&authority, "x.b.example");
    let other = secure_origin(&authority, "else.example");
    let proxy = tunnel(&format!(
        "name \"a.example\" {{ to \"{}\" }}\n\
         name \"*.b.example\" {{ to \"{}\" }}\n\
         to \"{}\"",
        tcp(&a),
        tcp(&b),
        tcp(&other)
    ));
    for (name, origin) in
        [("a.example", &a), ("A.Example", &a), ("x.b.example", &b), ("else.example", &other)]
    {
        let (client, config) = (proxy.client(), Arc::clone(&config));
        let shaking = std::thread::spawn(move || client.into_tls(&config, name));
        let mut server = origin.accept();
        let mut client = shaking.join().expect("client").expect("the server's own certificate");
        converse(&mut client, &mut server);
    }
    let lines = proxy.stop_and_read();
    let hosts: Vec<_> = lines.iter().map(|line| line["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["a.example", "a.example", "x.b.example", "else.example"]);
    assert!(lines.iter().all(|line| line.get("tls_version").is_none()), "{lines:?}");
}

#[test]
fn a_hello_in_pieces_arrives_as_it_was_sent() {
    let authority = Authority::new("test authority");
    let hello = client_hello(&tls_client(&authority, None), "a.example");
    let records = |size: usize| -> Vec<u8> {
        let fragments = hello[5..].chunks(size);
        fragments
            .flat_map(|part| [&hello[..3], &(part.len() as u16).to_be_bytes(), part].concat())
            .collect()
    };
    let origin = Origin::start();
    let proxy = tunnel(&format!("name \"a.example\" {{ to \"{}\" }}", tcp(&origin)));
    for bytes in [hello.clone(), records(1), records(100)] {
        for size in [7, 1000, bytes.len()] {
            let mut client = proxy.client();
            for segment in bytes.chunks(size) {
                client.send(segment);
            }
            let mut server = origin.accept();
            assert!(server.recv_exact(bytes.len()) == bytes, "segments of {size}");
            client.send("and what follows");
            server.expect("and what follows");
            client.finish();
            server.expect_close();
        }
    }
}

#[test]
fn a_name_that_nobody_has_is_told() {
    let authority = Authority::new("test authority");
    let config = tls_client(&authority, None);
    let origin = Origin::start();
    let proxy = tunnel(&format!("name \"a.example\" {{ to \"{}\" }}", tcp(&origin)));
    let error = proxy.client().into_tls(&config, "b.example").err().expect("refused").to_string();
    assert!(error.contains("UnrecognisedName"), "{error}");
    // An address is no name.
    let mut client = proxy.client();
    client.send(client_hello(&config, "192.0.2.1"));
    assert_eq!(client.recv_exact(7), [21, 3, 3, 0, 2, 2, 112]);
    client.expect_close();
    drop(client);
    origin.expect_no_connection();
    let lines = proxy.stop_and_read();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(line["failure"], "misdirected_request", "{line}");
        assert_eq!(line["status"], 421, "{line}");
    }
}

#[test]
fn what_is_no_tls_goes_to_the_default_or_nowhere() {
    let (named, other) = (Origin::start(), Origin::start());
    let name = format!("name \"a.example\" {{ to \"{}\" }}", tcp(&named));
    let proxy = tunnel(&name);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\0\0\x08\x04\xd2\x16\x2f", b"\x80"] {
        let mut client = proxy.client();
        client.send(bytes);
        client.expect_close();
    }
    // A hello that does not end.
    let mut client = proxy.client();
    client.send([&[22, 3, 1, 0x40, 0, 1, 0, 0x50, 0][..], &[0; 16_380]].concat());
    client.expect_close();
    named.expect_no_connection();
    drop(client);
    for line in proxy.stop_and_read() {
        assert_eq!(line["failure"], "http_request_error", "{line}");
    }
    let proxy = tunnel(&format!("{name}\nto \"{}\"", tcp(&other)));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\n\r\n");
    let mut server = other.accept();
    server.expect("GET / HTTP/1.1\r\n\r\n");
    converse(&mut client, &mut server);
    named.expect_no_connection();
}

#[test]
fn who_says_too_little_is_let_go() {
    let authority = Authority::new("test authority");
    let hello = client_hello(&tls_client(&authority, None), "a.example");
    let origin = Origin::start();
    let proxy = tunnel(&format!(
        "name \"a.example\" {{ to \"{}\" }}\ntimeouts {{ header \"200ms\" }}",
        tcp(&origin)
    ));
    let mut silent = proxy.client();
    let mut half = proxy.client();
    half.send(&hello[..hello.len() - 1]);
    let mut gone = proxy.client();
    gone.send(&hello[..10]).finish();
    for client in [&mut silent, &mut half, &mut gone] {
        client.expect_close();
    }
    origin.expect_no_connection();
    drop((silent, half, gone));
    let lines = proxy.stop_and_read();
    let mut failures: Vec<_> = lines.iter().map(|line| line["failure"].as_str().unwrap()).collect();
    failures.sort_unstable();
    assert_eq!(failures, ["client_closed", "request_timeout"], "who said nothing is not told of");
}

#[test]
fn tls_ends_here() {
    let authority = Authority::new("test authority");
    let (config, scratch) = (tls_client(&authority, None), Scratch::new());
    store(&scratch, "a", &authority.issue(&["a.example", "b.example", "c.example"]));
    let (a, b) = (Origin::start(), Origin::start());
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "tunnel \"127.0.0.1:0\" {{ tls cert=\"a.pem\" key=\"a.key\"; to \"{0}\" }}\n\
             tunnel \"127.0.0.2:0\" {{\n\
               tls cert=\"a.pem\" key=\"a.key\"\n\
               name \"a.example\" {{ to \"{0}\" }}\n\
               name \"b.example\" {{ to \"{1}\" }}\n\
             }}",
            tcp(&a),
            tcp(&b)
        ),
    );
    let named = proxy.address("127.0.0.2");
    for (address, name, origin) in
        [(proxy.first(), "b.example", &a), (named, "a.example", &a), (named, "b.example", &b)]
    {
        let mut client = Peer::connect(address).into_tls(&config, name).expect("our certificate");
        converse(&mut client, &mut origin.accept());
    }
    // The server may speak first here as well.
    let mut client = proxy.client().into_tls(&config, "a.example").expect("TLS");
    let mut server = a.accept();
    server.send("220 welcome\r\n");
    client.expect("220 welcome\r\n");
    client.finish();
    server.expect_close();
    drop((client, server));
    // No certificate is shown under a name that leads nowhere.
    let error = Peer::connect(named).into_tls(&config, "c.example").err().expect("refused");
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    // No bytes without TLS, whatever they are.
    for address in [proxy.first(), named] {
        let mut client = Peer::connect(address);
        client.send("GET / HTTP/1.1\r\n\r\n");
        let gone = client.recv_until_gone();
        assert!(!gone.starts_with(b"HTTP"), "a tunnel does not speak HTTP");
    }
    a.expect_no_connection();
    let lines = proxy.stop_and_read();
    assert_eq!(lines[0]["sni"], "b.example");
    assert!(lines[0]["tls_version"].as_str().unwrap().contains("1.3"), "{}", lines[0]);
    assert_eq!(lines[1]["host"], "a.example");
}

#[test]
fn tls_towards_the_server() {
    let authority = Authority::new("test authority");
    let scratch = Scratch::new();
    scratch.write("ca.pem", &authority.pem);
    let shown = authority.issue(&["inner.example"]).server(None);
    let origin = Origin::start();
    let kdl = |name: &str| {
        format!(
            "tunnel \"127.0.0.1:0\" {{ to \"tls://{}\" {{ tls ca=\"ca.pem\" sni=\"{name}\" }} }}",
            origin.address()
        )
    };
    let proxy = Proxy::start_in(scratch, &kdl("inner.example"));
    let mut client = proxy.client();
    let mut server = origin.accept().accept_tls(&shown).expect("TLS");
    converse(&mut client, &mut server);
    // What it shows is verified.
    let scratch = Scratch::new();
    scratch.write("ca.pem", &Authority::new("another").pem);
    let proxy = Proxy::start_in(scratch, &kdl("inner.example"));
    let mut client = proxy.client();
    client.send("secret");
    assert!(origin.accept().accept_tls(&shown).is_err());
    assert!(client.recv_until_gone().is_empty());
    let line = only_line(&proxy);
    assert_eq!(line["failure"], "tls_certificate_error", "{line}");
    assert_eq!(line["bytes_in"], 0, "{line}");
}

#[test]
fn a_server_that_cannot_be_reached_is_passed_over() {
    // Reserved, and nobody listens.
    let (dead, origin) = (reserve(), Origin::start());
    let proxy = tunnel(&format!("to \"tcp://{dead}\" \"{}\"", tcp(&origin)));
    for _ in 0..4 {
        let mut client = proxy.client();
        let mut server = origin.accept();
        converse(&mut client, &mut server);
    }
    let lines = proxy.stop_and_read();
    assert!(lines.iter().any(|line| line["attempts"] == 2), "{lines:?}");
    assert!(lines.iter().all(|line| line["status"] == 200), "{lines:?}");
    let proxy = tunnel(&format!("to \"tcp://{dead}\""));
    let mut client = proxy.client();
    assert!(client.recv_until_gone().is_empty());
    let line = only_line(&proxy);
    assert_eq!(line["failure"], "connection_refused", "{line}");
    assert_eq!(line["status"], 502, "{line}");
}

#[test]
fn who_may_not_is_closed() {
    let origin = Origin::start();
    let to = format!("to \"{}\"", tcp(&origin));
    let proxy = tunnel(&format!("{to}\ndeny \"127.0.0.0/8\""));
    assert!(proxy.client().recv_until_gone().is_empty());
    let proxy = tunnel(&format!("{to}\nlimit connections=1"));
    let first = proxy.client();
    let server = origin.accept();
    assert!(proxy.client().recv_until_gone().is_empty());
    origin.expect_no_connection();
    // Its place is free again when it has gone.
    drop((first, server));
    let started = Instant::now();
    loop {
        let mut client = proxy.client();
        client.socket().set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        if !client.peek() {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "its place is not given back");
    }
}

#[test]
fn an_idle_tunnel_ends() {
    let origin = Origin::start();
    let proxy = tunnel(&format!("to \"{}\"\ntimeouts {{ tunnel-idle \"300ms\" }}", tcp(&origin)));
    let mut client = proxy.client();
    let mut server = origin.accept();
    client.send("ping");
    server.expect("ping");
    assert!(client.recv_until_gone().is_empty());
    assert!(server.recv_until_gone().is_empty());
    let line = only_line(&proxy);
    assert_eq!(line["failure"], "connection_read_timeout", "{line}");
    assert_eq!(line["detail"], "idle tunnel", "{line}");
}

#[test]
fn a_stop_waits_for_what_is_carried() {
    let (proxy, origin) = open();
    let mut client = proxy.client();
    let mut server = origin.accept();
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| proxy.server().stop(DEADLINE));
        while !proxy.server().is_draining() {
            std::thread::yield_now();
        }
        converse(&mut client, &mut server);
        assert!(stopped.join().expect("stop"), "something was not finished");
    });
    // And no longer than it is told to.
    let (proxy, origin) = open();
    let _client = proxy.client();
    let _server = origin.accept();
    assert!(!proxy.server().stop(std::time::Duration::ZERO), "it cannot have ended");
}

#[test]
fn who_is_waited_for_when_a_stop_comes_is_let_go() {
    let origin = Origin::start();
    let proxy = tunnel(&format!("name \"a.example\" {{ to \"{}\" }}", tcp(&origin)));
    let mut client = proxy.client();
    client.send([22, 3]);
    // That it is served is certain when another one, which came later, has been.
    let mut later = proxy.client();
    later.send("x");
    later.expect_close();
    drop(later);
    assert!(proxy.server().stop(DEADLINE), "it was waited for in vain");
    client.expect_close();
}
