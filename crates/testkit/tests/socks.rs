//! SOCKS4, SOCKS4a and SOCKS5, on the port that HTTP comes to as well.

use std::net::{Ipv4Addr, SocketAddr};

use testkit::{Authority, Origin, Peer, Proxy, Scratch, tls_client};

const OPEN: &str = "forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" \"::1\" \"localhost\" }";
const USERS: &str = "users \"staff\" { user \"alice\" password=\"correct-horse\" }\n\
    forward \"127.0.0.1:0\" { auth users=\"staff\"; allow \"127.0.0.0/8\" }";

const GRANTED4: [u8; 8] = [0, 90, 0, 0, 0, 0, 0, 0];
const GRANTED5: [u8; 10] = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

fn request4(command: u8, address: SocketAddr, user: &str) -> Vec<u8> {
    let SocketAddr::V4(address) = address else { panic!("SOCKS4 has no IPv6") };
    let mut bytes = vec![4, command];
    bytes.extend(address.port().to_be_bytes());
    bytes.extend(address.ip().octets());
    bytes.extend(user.as_bytes());
    bytes.push(0);
    bytes
}

fn request4a(host: &str, port: u16) -> Vec<u8> {
    let fake = SocketAddr::from((Ipv4Addr::new(0, 0, 0, 7), port));
    let mut bytes = request4(1, fake, "me");
    bytes.extend(host.as_bytes());
    bytes.push(0);
    bytes
}

fn request5(command: u8, kind: u8, host: &[u8], port: u16) -> Vec<u8> {
    let mut bytes = vec![5, command, 0, kind];
    bytes.extend(host);
    bytes.extend(port.to_be_bytes());
    bytes
}

fn named5(host: &str, port: u16) -> Vec<u8> {
    let mut name = vec![host.len() as u8];
    name.extend(host.as_bytes());
    request5(1, 3, &name, port)
}

fn login(user: &str, password: &str) -> Vec<u8> {
    let mut bytes = vec![1, user.len() as u8];
    bytes.extend(user.as_bytes());
    bytes.push(password.len() as u8);
    bytes.extend(password.as_bytes());
    bytes
}

fn converse(client: &mut Peer, origin: &Origin) {
    let mut upstream = origin.accept();
    client.send("ping");
    upstream.expect("ping");
    upstream.send("pong").finish();
    client.expect("pong");
    client.expect_close();
    client.finish();
    upstream.expect_close();
}

#[test]
fn socks4_and_4a() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let port = origin.address().port();
    for request in [
        request4(1, origin.address(), ""),
        request4(1, origin.address(), "me"),
        request4a("127.0.0.1", port),
        request4a("localhost", port),
    ] {
        let mut client = proxy.client();
        client.send(request);
        client.expect(GRANTED4);
        converse(&mut client, &origin);
    }
}

#[test]
fn socks5_by_address_and_name() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let port = origin.address().port();
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
    for request in [
        request5(1, 1, &[127, 0, 0, 1], port),
        named5("127.0.0.1", port),
        named5("localhost", port),
        named5("LocalHost.", port),
        request5(1, 4, &mapped, port),
    ] {
        let mut client = proxy.client();
        client.send([5, 1, 0]);
        client.expect([5, 0]);
        client.send(request);
        client.expect(GRANTED5);
        converse(&mut client, &origin);
    }
    let six = Origin::on("[::1]:0");
    let mut client = proxy.client();
    client.send([5, 1, 0]);
    client.expect([5, 0]);
    client.send(request5(1, 4, &std::net::Ipv6Addr::LOCALHOST.octets(), six.address().port()));
    client.expect(GRANTED5);
    converse(&mut client, &six);
}

#[test]
fn everything_may_come_at_once_or_byte_by_byte() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let port = origin.address().port();
    let mut all = vec![5, 2, 2, 0];
    all.extend(request5(1, 1, &[127, 0, 0, 1], port));
    all.extend(b"early");
    let mut client = proxy.client();
    client.send(&all);
    let mut upstream = origin.accept();
    upstream.expect("early");
    client.expect([5, 0]).expect(GRANTED5);
    let mut client = proxy.client();
    for byte in all.chunks(1) {
        client.send(byte);
    }
    let mut upstream = origin.accept();
    upstream.expect("early");
    client.expect([5, 0]).expect(GRANTED5);
    let mut client = proxy.client();
    let mut all = request4a("localhost", port);
    all.extend(b"early");
    for byte in all.chunks(1) {
        client.send(byte);
    }
    let mut upstream = origin.accept();
    upstream.expect("early");
    client.expect(GRANTED4);
}

#[test]
fn a_server_may_speak_first() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let mut client = proxy.client();
    client.send(request4(1, origin.address(), ""));
    let mut upstream = origin.accept();
    upstream.send("220 hello\r\n");
    client.expect(GRANTED4).expect("220 hello\r\n");
}

#[test]
fn users_show_their_password() {
    let (proxy, origin) = (Proxy::start(USERS), Origin::start());
    let port = origin.address().port();
    let mut client = proxy.client();
    client.send([5, 2, 0, 2]);
    client.expect([5, 2]);
    client.send(login("alice", "correct-horse"));
    client.expect([1, 0]);
    client.send(request5(1, 1, &[127, 0, 0, 1], port));
    client.expect(GRANTED5);
    converse(&mut client, &origin);
    drop(client);
    for (user, password) in [
        ("alice", "wrong"),
        ("mallory", "correct-horse"),
        ("", ""),
        ("alice", ""),
        ("Alice", "correct-horse"),
    ] {
        let mut client = proxy.client();
        client.send([5, 1, 2]);
        client.expect([5, 2]);
        client.send(login(user, password));
        assert_eq!(client.recv_exact(2)[0], 1);
        client.expect_close();
    }
    // Without the method, without a password, and with an old protocol: nothing.
    let mut client = proxy.client();
    client.send([5, 1, 0]);
    client.expect([5, 0xff]);
    client.expect_close();
    drop(client);
    let mut client = proxy.client();
    client.send(request4(1, origin.address(), "alice"));
    assert_eq!(client.recv_exact(8)[1], 93);
    client.expect_close();
    drop(client);
    // Nobody gets past by asking without being asked.
    let mut client = proxy.client();
    let mut bytes = vec![5, 1, 2];
    bytes.extend(request5(1, 1, &[127, 0, 0, 1], port));
    client.send(bytes);
    client.expect([5, 2]);
    client.recv_until_gone();
    drop(client);
    let log = proxy.stop().join("\n");
    assert!(!log.contains("correct-horse"), "{log}");
    assert!(log.contains("\"user\":\"alice\"") && log.contains("SOCKS5"), "{log}");
    origin.expect_no_connection();
}

#[test]
fn what_is_not_connect_is_refused() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let port = origin.address().port();
    for command in [0, 2, 3, 4, 0xf0] {
        let mut client = proxy.client();
        client.send([5, 1, 0]);
        client.expect([5, 0]);
        client.send(request5(command, 1, &[127, 0, 0, 1], port));
        assert_eq!(client.recv_exact(10)[..2], [5, 7], "command {command}");
        client.expect_close();
        let mut client = proxy.client();
        client.send(request4(command, origin.address(), ""));
        assert_eq!(client.recv_exact(8)[1], 91, "command {command}");
        client.expect_close();
    }
    let mut client = proxy.client();
    client.send([5, 1, 0]);
    client.expect([5, 0]);
    client.send(request5(1, 9, &[127, 0, 0, 1], port));
    assert_eq!(client.recv_exact(10)[..2], [5, 8]);
    client.expect_close();
    origin.expect_no_connection();
}

#[test]
fn what_is_malformed_is_refused() {
    let proxy = Proxy::start(OPEN);
    for bytes in [
        &[5u8, 0][..],
        &[5, 1, 0, 4, 1, 0, 1, 127, 0, 0, 1, 0, 80],
        &[5, 1, 0, 5, 1, 1, 1, 127, 0, 0, 1, 0, 80],
        &[5, 1, 0, 5, 1, 0, 3, 0, 0, 80],
        &[5, 1, 0, 5, 1, 0, 3, 3, b'a', 0, b'b', 0, 80],
        &[5, 1, 0, 5, 1, 0, 3, 3, b'a', b'/', b'b', 0, 80],
        &[4, 1, 0, 80, 0, 0, 0, 1, 0, b'a', b' ', b'b', 0],
        &[4, 1, 0, 80, 0, 0, 0, 1, 0, 0],
    ] {
        let mut client = proxy.client();
        client.send(bytes);
        let received = client.recv_until_gone();
        let granted = received.windows(2).any(|pair| pair == [5, 0])
            && received.len() > 2
            && received[3] == 0;
        assert!(!granted && !received.starts_with(&[0, 90]), "{bytes:?}: {received:?}");
    }
    // A user name without end does not fill the memory.
    let mut client = proxy.client();
    let _ = client.try_send([&[4, 1, 0, 80, 127, 0, 0, 1][..], &[b'a'; 100_000]].concat());
    client.recv_until_gone();
}

#[test]
fn replies_tell_what_went_wrong() {
    let proxy = Proxy::start(OPEN);
    let dead = testkit::reserve();
    let SocketAddr::V4(v4) = dead else { panic!("IPv4") };
    for (request, code) in [
        (request5(1, 1, &v4.ip().octets(), v4.port()), 5),
        (request5(1, 1, &[10, 0, 0, 1], 80), 2),
        (request5(1, 1, &[127, 0, 0, 1], 22), 2),
    ] {
        let mut client = proxy.client();
        client.send([5, 1, 0]);
        client.expect([5, 0]);
        client.send(request);
        assert_eq!(client.recv_exact(10)[..2], [5, code]);
        client.expect_close();
    }
}

#[test]
fn a_handshake_that_stalls_ends() {
    let proxy = Proxy::start(
        "forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\"; timeouts { header \"300ms\" } }",
    );
    for begin in [&[][..], &[5], &[5, 1, 0], &[4, 1, 0, 80], b"CONN"] {
        let mut client = proxy.client();
        client.send(begin);
        client.recv_until_gone();
    }
}

#[test]
fn all_protocols_come_inside_tls_too() {
    let authority = Authority::new("test authority");
    let identity = authority.issue(&["proxy.example"]);
    let scratch = Scratch::new();
    scratch.write("cert.pem", &identity.cert);
    scratch.write("key.pem", &identity.key);
    let proxy = Proxy::start_in(
        scratch,
        "forward \"127.0.0.1:0\" { tls cert=\"cert.pem\" key=\"key.pem\"; allow \"127.0.0.0/8\" }",
    );
    let (origin, config) = (Origin::start(), tls_client(&authority, None));
    let secure = || proxy.client().into_tls(&config, "proxy.example").unwrap();
    let address = origin.address();
    let mut client = secure();
    client.send(request4(1, address, ""));
    client.expect(GRANTED4);
    converse(&mut client, &origin);
    let mut client = secure();
    client.send([5, 1, 0]);
    client.expect([5, 0]);
    client.send(request5(1, 1, &[127, 0, 0, 1], address.port()));
    client.expect(GRANTED5);
    converse(&mut client, &origin);
    let mut client = secure();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
    converse(&mut client, &origin);
    // And without TLS on the same port.
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
    converse(&mut client, &origin);
}
