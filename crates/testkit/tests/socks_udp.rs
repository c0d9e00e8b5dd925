//! SOCKS5 UDP ASSOCIATE and BIND: what is passed on, for whom, and for how long.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use testkit::{DEADLINE, Peer, Proxy, reserve};

const OPEN: &str =
    "forward \"127.0.0.1:0\" { socks-udp #true; socks-bind #true; allow \"127.0.0.0/8\" \"::1\" }";

const UDP: u8 = 3;
const BIND: u8 = 2;

fn open() -> Proxy {
    Proxy::start(OPEN)
}

/// A datagram socket of a test.
fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("bind");
    socket.set_read_timeout(Some(DEADLINE)).expect("timeout");
    socket
}

fn here() -> UdpSocket {
    socket("127.0.0.1:0")
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("address").port()
}

/// An address as SOCKS5 writes it.
fn address(address: SocketAddr) -> Vec<u8> {
    let mut bytes = match address.ip() {
        IpAddr::V4(ip) => [&[1][..], &ip.octets()].concat(),
        IpAddr::V6(ip) => [&[4][..], &ip.octets()].concat(),
    };
    bytes.extend(address.port().to_be_bytes());
    bytes
}

fn name(host: &str, port: u16) -> Vec<u8> {
    [&[3, host.len() as u8][..], host.as_bytes(), &port.to_be_bytes()].concat()
}

/// A datagram of a client for a target.
fn wrapped(target: &[u8], data: &[u8]) -> Vec<u8> {
    [&[0, 0, 0][..], target, data].concat()
}

fn request(command: u8, target: &[u8]) -> Vec<u8> {
    [&[5, command, 0][..], target].concat()
}

const NOWHERE: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

fn greet(client: &mut Peer) {
    client.send([5, 1, 0]);
    client.expect([5, 0]);
}

/// The address in a reply that grants.
fn granted(client: &mut Peer) -> SocketAddr {
    let head = client.recv_exact(4);
    assert_eq!(head[..3], [5, 0, 0]);
    let ip: IpAddr = match head[3] {
        1 => <[u8; 4]>::try_from(client.recv_exact(4)).expect("four bytes").into(),
        4 => <[u8; 16]>::try_from(client.recv_exact(16)).expect("sixteen bytes").into(),
        other => panic!("address type {other}"),
    };
    let port = client.recv_exact(2);
    SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]))
}

/// An association, and where its datagrams go.
fn associate(proxy: &Proxy) -> (Peer, SocketAddr) {
    let mut client = proxy.client();
    greet(&mut client);
    client.send(request(UDP, &NOWHERE));
    let relay = granted(&mut client);
    assert_eq!(relay.ip(), Ipv4Addr::LOCALHOST, "where the client came in");
    (client, relay)
}

#[track_caller]
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65536];
    let (count, from) = socket.recv_from(&mut bytes).expect("a datagram");
    bytes.truncate(count);
    (bytes, from)
}

/// What a client receives of a target.
#[track_caller]
fn expect(socket: &UdpSocket, target: SocketAddr, data: &[u8]) {
    assert_eq!(receive(socket).0, wrapped(&address(target), data));
}

#[test]
fn datagrams_go_and_come() {
    let proxy = open();
    let (mut control, relay) = associate(&proxy);
    let (client, target, six) = (here(), here(), socket("[::1]:0"));
    let at = target.local_addr().unwrap();
    let by_address = address(at);
    for form in [by_address.clone(), name("127.0.0.1", at.port()), name("LOCALHOST", at.port())] {
        client.send_to(&wrapped(&form, b"ping"), relay).unwrap();
        let (data, from) = receive(&target);
        assert_eq!(data, b"ping");
        target.send_to(b"pong", from).unwrap();
        expect(&client, at, b"pong");
    }
    let at6 = six.local_addr().unwrap();
    client.send_to(&wrapped(&address(at6), b""), relay).unwrap();
    let (data, from) = receive(&six);
    assert_eq!(data, b"");
    six.send_to(b"six", from).unwrap();
    expect(&client, at6, b"six");
    // As large as they come.
    let large = vec![b'x'; 65_507 - 10];
    client.send_to(&wrapped(&by_address, &large), relay).unwrap();
    let (data, from) = receive(&target);
    assert!(data == large);
    target.send_to(&large, from).unwrap();
    expect(&client, at, &large);
    control.finish();
    control.expect_close();
    drop(control);
    let log = proxy.stop_and_read();
    assert_eq!(log.len(), 1, "{log:?}");
    let line = &log[0];
    assert_eq!(line["version"], "SOCKS5-UDP", "{line}");
    assert_eq!(line["method"], "ASSOCIATE", "{line}");
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&(12 + large.len()).into(), &(15 + large.len()).into()),
        "{line}"
    );
    assert_eq!(line["status"], 200, "{line}");
}

#[test]
fn several_sockets_of_a_client_have_answers_of_their_own() {
    let proxy = open();
    let (_control, relay) = associate(&proxy);
    let (one, other, first, second) = (here(), here(), here(), here());
    let to = |target: &UdpSocket| address(target.local_addr().unwrap());
    one.send_to(&wrapped(&to(&first), b"1"), relay).unwrap();
    other.send_to(&wrapped(&to(&second), b"2"), relay).unwrap();
    let (_, outside) = receive(&first);
    assert_eq!(receive(&second).1, outside, "one address for all targets");
    second.send_to(b"two", outside).unwrap();
    expect(&other, second.local_addr().unwrap(), b"two");
    first.send_to(b"one", outside).unwrap();
    expect(&one, first.local_addr().unwrap(), b"one");
}

#[test]
fn what_is_no_datagram_is_dropped() {
    let proxy = open();
    let (_control, relay) = associate(&proxy);
    let (client, target) = (here(), here());
    let to = address(target.local_addr().unwrap());
    let whole = wrapped(&to, b"bad");
    for at in 0..10 {
        client.send_to(&whole[..at], relay).unwrap();
    }
    for (at, value) in [(0, 1), (1, 1), (2, 1), (2, 0x81), (3, 0), (3, 2), (3, 5)] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        client.send_to(&bytes, relay).unwrap();
    }
    for wrong in [name("", 80), name("a/b", port(&target)), name("a b", port(&target))] {
        client.send_to(&wrapped(&wrong, b"bad"), relay).unwrap();
    }
    client.send_to(&wrapped(&to, b"good"), relay).unwrap();
    assert_eq!(receive(&target).0, b"good");
}

#[test]
fn datagrams_come_from_the_client_alone() {
    let proxy = open();
    let (_control, relay) = associate(&proxy);
    let (client, target, stranger) = (here(), here(), socket("127.0.0.2:0"));
    let to = address(target.local_addr().unwrap());
    stranger.send_to(&wrapped(&to, b"forged"), relay).unwrap();
    client.send_to(&wrapped(&to, b"mine"), relay).unwrap();
    assert_eq!(receive(&target).0, b"mine");
    // A client that says which port it will send from is bound to it.
    let mut control = proxy.client();
    greet(&mut control);
    control.send(request(UDP, &address(client.local_addr().unwrap())));
    let relay = granted(&mut control);
    let other = here();
    other.send_to(&wrapped(&to, b"forged"), relay).unwrap();
    client.send_to(&wrapped(&to, b"mine"), relay).unwrap();
    assert_eq!(receive(&target).0, b"mine");
}

#[test]
fn answers_come_from_targets_alone() {
    let proxy = open();
    let (_control, relay) = associate(&proxy);
    let (client, target) = (here(), here());
    let at = target.local_addr().unwrap();
    client.send_to(&wrapped(&address(at), b"ask"), relay).unwrap();
    let (_, outside) = receive(&target);
    let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), outside.port());
    for stranger in [here(), socket("127.0.0.2:0"), socket(&format!("127.0.0.3:{}", at.port()))] {
        stranger.send_to(b"unasked", loopback).unwrap();
    }
    // Nor by way of the socket that is for the client, whatever it writes in front.
    let stranger = socket("127.0.0.2:0");
    stranger.send_to(&wrapped(&address(at), b"unasked"), relay).unwrap();
    target.send_to(b"answer", outside).unwrap();
    expect(&client, at, b"answer");
    // An answer is no invitation for others of the same machine.
    client.send_to(&wrapped(&address(at), b"again"), relay).unwrap();
    assert_eq!(receive(&target).0, b"again");
}

#[test]
fn rules_are_asked_about_each_datagram() {
    let (client, target, denied) = (here(), here(), here());
    let proxy = Proxy::start(&format!(
        "forward \"127.0.0.1:0\" {{
            socks-udp #true
            ports 1024-65535
            deny \"127.0.0.2\"
            deny \"denied.localhost\"
            allow \"127.0.0.1\"
        }}
        forward \"127.0.0.1:0\" {{ }}
        admin \"{}\"",
        reserve()
    ));
    let (mut control, relay) = associate(&proxy);
    let to = target.local_addr().unwrap();
    let two = socket("127.0.0.2:0");
    for form in [
        // Closed by a rule, by the default, by its port, and for being ours.
        address(two.local_addr().unwrap()),
        name("127.0.0.2", port(&two)),
        name("0x7f000002", port(&two)),
        name("denied.localhost", port(&target)),
        address("10.0.0.1:5000".parse().unwrap()),
        address("[::1]:5000".parse().unwrap()),
        address("[::ffff:10.0.0.1]:5000".parse().unwrap()),
        address("169.254.169.254:8080".parse().unwrap()),
        address("127.0.0.1:53".parse().unwrap()),
        address("127.0.0.1:0".parse().unwrap()),
        address(proxy.first()),
        address(proxy.admin_address()),
    ] {
        client.send_to(&wrapped(&form, b"no"), relay).unwrap();
    }
    client.send_to(&wrapped(&address(to), b"yes"), relay).unwrap();
    assert_eq!(receive(&target).0, b"yes");
    two.set_nonblocking(true).unwrap();
    assert_eq!(two.recv_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let metrics = proxy.server().metrics().render();
    let refused = |reason: &str| {
        let line = format!("reason=\"{reason}\"}} ");
        let found =
            metrics.lines().find_map(|found| found.split_once(&*line)).map(|(_, n)| n.to_owned());
        found.unwrap_or_else(|| panic!("no {reason} in {metrics}"))
    };
    assert_eq!(refused("denied_by_rule"), "4");
    assert_eq!(refused("address_closed"), "4");
    assert_eq!(refused("port_not_allowed"), "2");
    assert_eq!(refused("own_listener"), "1");
    assert_eq!(refused("admin_listener"), "1");
    drop(denied);
    control.finish();
    control.expect_close();
}

#[test]
fn other_rules_hold_at_once() {
    let proxy = open();
    let (mut control, relay) = associate(&proxy);
    let (client, target, other) = (here(), here(), here());
    let to =
        |target: &UdpSocket, data: &[u8]| wrapped(&address(target.local_addr().unwrap()), data);
    client.send_to(&to(&target, b"1"), relay).unwrap();
    assert_eq!(receive(&target).0, b"1");
    proxy.reload(&format!(
        "forward \"127.0.0.1:0\" {{ socks-udp #true; ports {}; allow \"127.0.0.0/8\" }}",
        port(&other)
    ));
    client.send_to(&to(&target, b"2"), relay).unwrap();
    client.send_to(&to(&other, b"3"), relay).unwrap();
    assert_eq!(receive(&other).0, b"3");
    target.set_nonblocking(true).unwrap();
    assert_eq!(target.recv_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // And when there is no UDP any more, it ends.
    proxy.reload("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
    control.expect_close();
}

#[test]
fn it_ends_with_its_connection() {
    let proxy = open();
    for reset in [false, true] {
        let (mut control, relay) = associate(&proxy);
        let client = here();
        client.connect(relay).unwrap();
        // What is sent on the connection means nothing.
        control.send([b'x'; 100_000]);
        let target = here();
        let to = address(target.local_addr().unwrap());
        client.send(&wrapped(&to, b"one")).unwrap();
        assert_eq!(receive(&target).0, b"one");
        if reset {
            control.reset();
            let deadline = std::time::Instant::now() + DEADLINE;
            // The kernel says so once the socket has gone.
            while client.send(&wrapped(&to, b"two")).is_ok() {
                assert!(std::time::Instant::now() < deadline, "still open");
                std::thread::yield_now();
            }
        } else {
            control.finish();
            control.expect_close();
            // The first one finds nobody, and the second is told.
            let _ = client.send(&wrapped(&to, b"two"));
            let error = client.recv(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    }
    assert!(proxy.stop().iter().all(|line| line.contains("SOCKS5-UDP")));
}

#[test]
fn it_ends_when_nothing_moves() {
    let proxy = Proxy::start(
        "forward \"127.0.0.1:0\" {
            socks-udp #true; allow \"127.0.0.0/8\"; timeouts { tunnel-idle \"300ms\" }
        }",
    );
    let (mut control, _) = associate(&proxy);
    control.expect_close();
}

#[test]
fn only_users_have_it() {
    let proxy = Proxy::start(
        "users \"staff\" { user \"alice\" password=\"correct-horse\" }
        forward \"127.0.0.1:0\" { auth users=\"staff\"; socks-udp #true; allow \"127.0.0.0/8\" }",
    );
    let mut client = proxy.client();
    client.send([5, 1, 0]);
    client.expect([5, 0xff]);
    client.expect_close();
    let mut control = proxy.client();
    control.send([5, 1, 2]);
    control.expect([5, 2]);
    control.send(b"\x01\x05alice\x0dcorrect-horse");
    control.expect([1, 0]);
    control.send(request(UDP, &NOWHERE));
    let relay = granted(&mut control);
    let (client, target) = (here(), here());
    client.send_to(&wrapped(&address(target.local_addr().unwrap()), b"hi"), relay).unwrap();
    assert_eq!(receive(&target).0, b"hi");
    drop(control);
    let log = proxy.stop_and_read();
    let line = log.iter().find(|line| line["version"] == "SOCKS5-UDP").expect("a line");
    assert_eq!((&line["user"], &line["bytes_in"]), (&"alice".into(), &2.into()));
}

#[test]
fn a_user_sends_no_more_than_it_may() {
    let proxy = Proxy::start(
        "users \"staff\" { user \"alice\" password=\"correct-horse\" quota=\"1KiB/day\" }
        forward \"127.0.0.1:0\" { auth users=\"staff\"; socks-udp #true; allow \"127.0.0.0/8\" }",
    );
    let mut control = proxy.client();
    control.send([5, 1, 2]);
    control.expect([5, 2]);
    control.send(b"\x01\x05alice\x0dcorrect-horse");
    control.expect([1, 0]);
    control.send(request(UDP, &NOWHERE));
    let relay = granted(&mut control);
    let (client, target) = (here(), here());
    let to = address(target.local_addr().unwrap());
    client.send_to(&wrapped(&to, &[b'x'; 600]), relay).unwrap();
    let (data, outside) = receive(&target);
    assert_eq!(data.len(), 600);
    // Both ways count.
    target.send_to(&[b'y'; 424], outside).unwrap();
    expect(&client, target.local_addr().unwrap(), &[b'y'; 424]);
    client.send_to(&wrapped(&to, b"x"), relay).unwrap();
    control.expect_close();
    target.set_nonblocking(true).unwrap();
    assert_eq!(target.recv_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(control);
    let log = proxy.stop_and_read();
    let line = log.iter().find(|line| line["version"] == "SOCKS5-UDP").expect("a line");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&600.into(), &424.into()), "{line}");
    assert!(line["failure"].is_string(), "{line}");
}

#[test]
fn it_leaves_by_the_exit_of_the_listener_and_by_no_other() {
    // Parents carry nothing of it.
    let proxy = Proxy::start(
        "exits \"world\" { direct; proxy \"http://127.0.0.1:9\" }
        forward \"127.0.0.1:0\" { socks-udp #true; socks-bind #true; exit \"world\" }",
    );
    for command in [UDP, BIND] {
        let mut client = proxy.client();
        greet(&mut client);
        client.send(request(command, &address("127.0.0.1:9".parse().unwrap())));
        assert_eq!(client.recv_exact(10)[..2], [5, 7]);
        client.expect_close();
    }
    // A source address does, and a target with a way of its own is not reached by another.
    let proxy = Proxy::start(
        "exits \"here\" { address \"127.0.0.5\" }
        exits \"other\" { direct }
        forward \"127.0.0.1:0\" {
            socks-udp #true; socks-bind #true; exit \"here\"
            allow \"127.0.0.2\" exit=\"other\"
            allow \"127.0.0.0/8\"
        }",
    );
    let (_control, relay) = associate(&proxy);
    let (client, target, elsewhere) = (here(), here(), socket("127.0.0.2:0"));
    let to = |target: &UdpSocket| address(target.local_addr().unwrap());
    client.send_to(&wrapped(&to(&elsewhere), b"no"), relay).unwrap();
    client.send_to(&wrapped(&to(&target), b"yes"), relay).unwrap();
    let (data, outside) = receive(&target);
    assert_eq!((&data[..], outside.ip()), (&b"yes"[..], [127, 0, 0, 5].into()));
    elsewhere.set_nonblocking(true).unwrap();
    assert_eq!(elsewhere.recv_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let (mut client, bound) = bind(&proxy, &address("127.0.0.1:0".parse().unwrap()));
    assert_eq!(bound.ip(), IpAddr::from([127, 0, 0, 5]));
    let mut peer = connect("127.0.0.1:0", bound);
    assert_eq!(granted(&mut client), peer.local_address());
    peer.send("hello");
    client.expect("hello");
}

/// The address that a peer is to come to.
fn bind(proxy: &Proxy, peer: &[u8]) -> (Peer, SocketAddr) {
    let mut client = proxy.client();
    greet(&mut client);
    client.send(request(BIND, peer));
    let bound = granted(&mut client);
    (client, bound)
}

/// A connection from this address.
fn connect(from: &str, to: SocketAddr) -> Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&from.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Peer::over(TcpStream::from(socket))
}

#[test]
fn a_peer_connects_to_the_client() {
    let proxy = open();
    for (peer, early) in
        [(address("127.0.0.1:0".parse().unwrap()), ""), (name("localhost", 21), "early ")]
    {
        let (mut client, bound) = bind(&proxy, &peer);
        assert_eq!(bound.ip(), Ipv4Addr::LOCALHOST);
        client.send(early);
        let mut peer = connect("127.0.0.1:0", bound);
        assert_eq!(granted(&mut client), peer.local_address());
        client.send("ping");
        peer.expect(format!("{early}ping"));
        peer.send("pong").finish();
        client.expect("pong");
        client.expect_close();
        client.finish();
        peer.expect_close();
        // It was for one.
        assert!(TcpStream::connect(bound).is_err());
    }
    let log = proxy.stop_and_read();
    assert!(
        log.iter().all(|line| line["version"] == "SOCKS5-BIND" && line["status"] == 200),
        "{log:?}"
    );
    assert_eq!((&log[0]["bytes_in"], &log[0]["bytes_out"]), (&4.into(), &4.into()));
}

#[test]
fn only_the_named_peer_gets_through() {
    let proxy = open();
    let (mut client, bound) = bind(&proxy, &address("127.0.0.3:0".parse().unwrap()));
    // Where packets to that peer leave from.
    assert_eq!(bound.ip(), Ipv4Addr::LOCALHOST);
    let mut stranger = connect("127.0.0.2:0", bound);
    stranger.recv_until_gone();
    let mut peer = connect("127.0.0.3:0", bound);
    assert_eq!(granted(&mut client), peer.local_address());
    peer.send("hello");
    client.expect("hello");
}

#[test]
fn no_peer_that_the_rules_refuse() {
    let proxy = Proxy::start(
        "forward \"127.0.0.1:0\" {
            socks-bind #true; deny \"127.0.0.2\" \"denied.localhost\"; allow \"127.0.0.0/8\"
        }",
    );
    for peer in [
        address("127.0.0.2:21".parse().unwrap()),
        name("127.0.0.2", 0),
        name("denied.localhost", 0),
        address("10.0.0.1:0".parse().unwrap()),
        NOWHERE.to_vec(),
        address("[::]:0".parse().unwrap()),
    ] {
        let mut client = proxy.client();
        greet(&mut client);
        client.send(request(BIND, &peer));
        assert_eq!(client.recv_exact(10)[..2], [5, 2], "{peer:?}");
        client.expect_close();
    }
    let mut client = proxy.client();
    greet(&mut client);
    client.send(request(BIND, &name("nowhere.invalid", 0)));
    assert_eq!(client.recv_exact(10)[..2], [5, 4]);
}

#[test]
fn nobody_is_waited_for_when_the_client_has_gone() {
    let proxy = open();
    let (mut client, bound) = bind(&proxy, &address("127.0.0.1:0".parse().unwrap()));
    client.finish();
    client.expect_close();
    assert!(TcpStream::connect(bound).is_err());
    // The address is free again.
    TcpListener::bind(bound).unwrap();
}
