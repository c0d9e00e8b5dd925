//! The PROXY protocol: whom a header names, from whom it is taken, and what servers are told.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};
use testkit::{Authority, Origin, Peer, Proxy, Scratch, Served, tls_client};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn v1(source: &str) -> Vec<u8> {
    format!("PROXY TCP4 {source} 198.51.100.7 50001 443\r\n").into()
}

/// Version 2 with the client at 192.0.2.9, port 50002, and an extension.
fn v2() -> Vec<u8> {
    let mut bytes = [SIGNATURE, &[0x21, 0x11, 0, 17]].concat();
    bytes.extend([192, 0, 2, 9, 198, 51, 100, 7]);
    bytes.extend([50_002_u16.to_be_bytes(), 443_u16.to_be_bytes()].concat());
    bytes.extend(b"\x05\0\x02id");
    bytes
}

/// Version 2 of a sender that speaks for itself.
fn local() -> Vec<u8> {
    [SIGNATURE, &[0x20, 0, 0, 0]].concat()
}

/// A client that connects from this address.
fn from(source: &str, to: SocketAddr) -> Peer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let source: SocketAddr = format!("{source}:0").parse().expect("address");
    socket.bind(&source.into()).expect("bind");
    socket.connect(&to.into()).expect("connect");
    Peer::over(TcpStream::from(socket))
}

/// An origin that answers with whom it was told of.
fn told() -> Served {
    Origin::serve(|request| {
        let body = request.get("X-Forwarded-For").unwrap_or_default();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
    })
}

/// A site that has to be told by 127.0.0.2 whose connections they are.
fn introduced(origin: &Served, settings: &str) -> Proxy {
    Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"{}\"\nproxy-protocol \"127.0.0.2\"\n{settings} }}",
        origin.url()
    ))
}

#[test]
fn a_header_names_the_client() {
    let origin = told();
    let proxy = introduced(&origin, "");
    for (header, name) in [
        (v1("192.0.2.8"), "192.0.2.8"),
        (v2(), "192.0.2.9"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 50001 443\r\n".to_vec(), "2001:db8::1"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 50001 443\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.2"),
        (local(), "127.0.0.2"),
    ] {
        // Together with the request, before it, and byte by byte.
        let mut client = from("127.0.0.2", proxy.first());
        client.send([&header, GET.as_bytes()].concat());
        assert_eq!(client.recv_response().body_text(), name);
        // What comes later on the connection is a request and no header.
        client.send(GET);
        assert_eq!(client.recv_response().body_text(), name);
        let mut client = from("127.0.0.2", proxy.first());
        for byte in header.iter().chain(GET.as_bytes()) {
            client.send([*byte]);
        }
        assert_eq!(client.recv_response().body_text(), name);
    }
    let log = proxy.stop_and_read();
    assert_eq!((&log[0]["client"], &log[0]["client_port"]), (&"192.0.2.8".into(), &50001.into()));
    assert_eq!((&log[3]["client"], &log[3]["client_port"]), (&"192.0.2.9".into(), &50002.into()));
}

#[test]
fn who_has_to_send_it_and_does_not_is_closed() {
    let origin = told();
    let proxy = introduced(&origin, "timeouts { header \"300ms\" }");
    for bytes in [
        GET.as_bytes(),
        b"\r\n",
        b"\x16\x03\x01\x02\0",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 50000 443\r\n",
        &[SIGNATURE, &[0x21, 0x31, 0, 0]].concat(),
        &[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
        // Never whole.
        b"PROXY TCP4 192.0.2.1",
        &v2()[..20],
        b"",
    ] {
        let mut client = from("127.0.0.2", proxy.first());
        client.send(bytes);
        assert!(client.recv_until_gone().is_empty(), "{bytes:?}");
    }
    assert_eq!(origin.connections(), 0);
    // Two headers are one too many.
    let mut client = from("127.0.0.2", proxy.first());
    client.send([v1("192.0.2.8"), v2(), GET.into()].concat());
    assert_eq!(client.recv_response().status(), 400);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn from_others_it_is_no_header() {
    let origin = told();
    let proxy = introduced(&origin, "");
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.recv_response().body_text(), "127.0.0.1");
    for header in [v1("192.0.2.8"), v2(), local()] {
        let mut client = proxy.client();
        client.send([&header, GET.as_bytes()].concat());
        assert_eq!(client.recv_response().status(), 400);
        client.recv_until_gone();
    }
    // Nor is it where nobody sends it.
    let plain = Proxy::before(&origin);
    let mut client = from("127.0.0.2", plain.first());
    client.send([&v1("192.0.2.8"), GET.as_bytes()].concat());
    assert_eq!(client.recv_response().status(), 400);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn tls_begins_behind_it() {
    let (authority, scratch) = (Authority::new("test authority"), Scratch::new());
    let identity = authority.issue(&["a.example"]);
    scratch.write("a.pem", &identity.cert);
    scratch.write("a.key", &identity.key);
    let origin = told();
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "site \"https://a.example\" listen=\"127.0.0.1:0\" {{\n\
               tls cert=\"a.pem\" key=\"a.key\"; to \"{}\"; proxy-protocol \"127.0.0.2\" }}",
            origin.url()
        ),
    );
    let config = tls_client(&authority, None);
    for (header, name) in [(v1("192.0.2.8"), "192.0.2.8"), (v2(), "192.0.2.9")] {
        let mut client = from("127.0.0.2", proxy.first());
        client.send(header);
        let mut client = client.into_tls(&config, "a.example").expect("TLS");
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.recv_response().body_text(), name);
    }
    assert!(from("127.0.0.2", proxy.first()).into_tls(&config, "a.example").is_err());
    let mut client = proxy.client();
    client.send(v1("192.0.2.8"));
    assert!(client.into_tls(&config, "a.example").is_err());
    // Inside TLS it is no header.
    let mut client = proxy.client().into_tls(&config, "a.example").expect("TLS");
    client.send([&v1("192.0.2.8"), GET.as_bytes()].concat());
    assert_eq!(client.recv_response().status(), 400);
}

#[test]
fn the_rules_are_about_whom_it_names() {
    let origin = told();
    // Trust.
    let kdl = format!(
        "trust \"127.0.0.0/8\" \"192.0.2.0/24\"\n\
         site \"http://127.0.0.1:0\" {{ to \"{}\"; proxy-protocol \"127.0.0.2\" }}",
        origin.url()
    );
    let proxy = Proxy::start(&kdl);
    let get = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n";
    for (source, name) in
        [("192.0.2.8", "203.0.113.5, 192.0.2.8"), ("198.51.100.1", "198.51.100.1")]
    {
        let mut client = from("127.0.0.2", proxy.first());
        client.send([&v1(source), get.as_bytes()].concat());
        assert_eq!(client.recv_response().body_text(), name, "{source}");
    }
    // Connections at once.
    let proxy = introduced(&origin, "limit connections=1");
    let serve = |client: &mut Peer, source: &str| {
        client.send([&v1(source), GET.as_bytes()].concat());
        client.recv_head_or_end().map(|head| head.status())
    };
    let mut first = from("127.0.0.2", proxy.first());
    assert_eq!(serve(&mut first, "192.0.2.8"), Some(200));
    assert_eq!(serve(&mut from("127.0.0.2", proxy.first()), "192.0.2.8"), None);
    assert_eq!(serve(&mut from("127.0.0.2", proxy.first()), "192.0.2.9"), Some(200));
}

#[test]
fn the_forward_face_takes_it_too() {
    let origin = Origin::start();
    let proxy = Proxy::start(
        "forward \"127.0.0.1:0\" {\n\
           allow \"127.0.0.0/8\"; clients \"192.0.2.8\"; proxy-protocol \"127.0.0.2\" }",
    );
    let address = origin.address();
    let connect = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let socks = [&[4, 1][..], &address.port().to_be_bytes(), &[127, 0, 0, 1, 0]].concat();
    for (request, answer) in [(connect.as_bytes(), &b"HTTP/1.1 200 "[..]), (&socks, &[0, 90])] {
        let mut client = from("127.0.0.2", proxy.first());
        client.send([&v1("192.0.2.8"), request].concat());
        client.expect(answer);
        drop((client, origin.accept()));
        let mut client = from("127.0.0.2", proxy.first());
        client.send([&v1("192.0.2.7"), request].concat());
        assert!(client.recv_until_gone().is_empty(), "the named client may not");
        let mut client = proxy.client();
        let _ = client.try_send(request);
        assert!(client.recv_until_gone().is_empty(), "nor may who sends no header");
    }
    origin.expect_no_connection();
    let log = proxy.stop_and_read();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log.iter().all(|line| line["client"] == "192.0.2.8"), "{log:?}");
}

#[test]
fn a_tunnel_takes_it_too() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "tunnel \"127.0.0.1:0\" {{ to \"tcp://{}\"; proxy-protocol \"127.0.0.2\" }}",
        origin.address()
    ));
    let mut client = from("127.0.0.2", proxy.first());
    client.send([&v2(), &b"and the rest"[..]].concat());
    let mut server = origin.accept();
    server.expect("and the rest");
    server.send("answer").finish();
    client.expect("answer");
    client.finish();
    server.expect_close();
    drop((client, server));
    let mut client = from("127.0.0.2", proxy.first());
    client.send("no header");
    assert!(client.recv_until_gone().is_empty());
    origin.expect_no_connection();
    // From others all bytes are the server's.
    let mut client = proxy.client();
    client.send(v2());
    let mut server = origin.accept();
    assert_eq!(server.recv_exact(v2().len()), v2());
    client.finish();
    server.expect_close();
    drop((client, server));
    let log = proxy.stop_and_read();
    assert_eq!(log.len(), 2, "{log:?}");
    assert_eq!((&log[0]["client"], &log[0]["client_port"]), (&"192.0.2.9".into(), &50002.into()));
    assert_eq!(log[1]["client"], "127.0.0.1");
}

/// What a server is told in version 1 of a connection of this client to `destination`.
fn line(client: SocketAddr, destination: SocketAddr) -> String {
    format!(
        "PROXY TCP4 {} {} {} {}\r\n",
        client.ip(),
        destination.ip(),
        client.port(),
        destination.port()
    )
}

/// The same in version 2.
fn block(client: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut bytes = [SIGNATURE, &[0x21, 0x11, 0, 12]].concat();
    for address in [client, destination] {
        let SocketAddr::V4(address) = address else { panic!("IPv4") };
        bytes.extend(address.ip().octets());
    }
    bytes.extend([client.port().to_be_bytes(), destination.port().to_be_bytes()].concat());
    bytes
}

#[test]
fn servers_are_told_first_of_all() {
    let origin = Origin::start();
    for version in ["v1", "v2"] {
        let proxy = Proxy::start(&format!(
            "site \"http://127.0.0.1:0\" {{ to \"{}\" {{ proxy-protocol \"{version}\" }} }}",
            origin.url()
        ));
        let told = |client: &Peer| match version {
            "v1" => line(client.local_address(), proxy.first()).into_bytes(),
            _ => block(client.local_address(), proxy.first()),
        };
        let (mut one, mut two) = (proxy.client(), from("127.0.0.3", proxy.first()));
        // Whoever asks, and how often: each time a connection of its own.
        for client in [&mut one, &mut two] {
            for _ in 0..2 {
                client.send(GET);
                let mut server = origin.accept();
                server.expect(told(client));
                server.recv_request();
                server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                assert_eq!(client.recv_response().body_text(), "ok");
                server.expect_close();
            }
        }
    }
}

#[test]
fn what_is_told_passes_on() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "tunnel \"127.0.0.1:0\" {{ to \"tcp://{}\" {{ proxy-protocol \"v1\" }}\n\
           proxy-protocol \"127.0.0.2\" }}\n\
         site \"http://127.0.0.1:0\" {{ to \"{}\" {{ proxy-protocol \"v2\" }}\n\
           proxy-protocol \"127.0.0.2\" }}",
        origin.address(),
        origin.url()
    ));
    let tunnel = proxy.address("127.0.0.1:0");
    let site = proxy.address("http:");
    let destination = SocketAddr::from(([198, 51, 100, 7], 443));
    let mut client = from("127.0.0.2", tunnel);
    client.send([&v2(), &b"ping"[..]].concat());
    let mut server = origin.accept();
    server.expect("PROXY TCP4 192.0.2.9 198.51.100.7 50002 443\r\nping");
    let mut client = from("127.0.0.2", site);
    client.send([&v1("192.0.2.8"), GET.as_bytes()].concat());
    let mut server = origin.accept();
    server.expect(block(SocketAddr::from(([192, 0, 2, 8], 50_001)), destination));
    assert_eq!(server.recv_request().get("X-Forwarded-For").as_deref(), Some("192.0.2.8"));
    // A server may speak first, and a client that is silent is told of as well.
    let client = Peer::connect(tunnel);
    let mut server = origin.accept();
    server.expect(line(client.local_address(), tunnel));
}

#[test]
fn tls_towards_the_server_begins_behind_it() {
    let (authority, scratch) = (Authority::new("test authority"), Scratch::new());
    scratch.write("ca.pem", &authority.pem);
    let shown = authority.issue(&["inner.example"]).server(None);
    let origin = Origin::start();
    let settings = "{ proxy-protocol \"v2\"; tls ca=\"ca.pem\" sni=\"inner.example\" }";
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "tunnel \"127.0.0.1:0\" {{ to \"tls://{0}\" {settings} }}\n\
             site \"http://127.0.0.1:0\" {{ to \"https://{0}\" {settings} }}",
            origin.address()
        ),
    );
    let tunnel = proxy.address("127.0.0.1:0");
    let site = proxy.address("http:");
    for (address, sent) in [(tunnel, "ping"), (site, GET)] {
        let mut client = Peer::connect(address);
        client.send(sent);
        let server = origin.accept();
        // Not one byte more: what follows is for TLS.
        let mut told = [0; 28];
        server.socket().read_exact(&mut told).expect("header");
        assert_eq!(told[..], block(client.local_address(), address));
        let mut server = server.accept_tls(&shown).expect("TLS");
        match sent {
            "ping" => assert_eq!(server.recv_exact(4), b"ping"),
            _ => assert_eq!(server.recv_request().target(), "/"),
        }
    }
}

#[test]
fn a_health_check_speaks_for_itself() {
    let origin = Origin::start();
    for (version, local) in [("v1", b"PROXY UNKNOWN\r\n".to_vec()), ("v2", local())] {
        let _proxy = Proxy::start(&format!(
            "site \"http://127.0.0.1:0\" {{ to \"{}\" {{\n\
               proxy-protocol \"{version}\"; health \"/healthz\" every=\"1s\" timeout=\"1s\" }} }}",
            origin.url()
        ));
        let mut server = origin.accept();
        server.expect(local);
        assert_eq!(server.recv_request().target(), "/healthz");
    }
}
