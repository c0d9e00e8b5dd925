//! What nobody may reach through the forward face, and what rules open and close.

use std::net::SocketAddr;

use testkit::{Origin, Peer, Proxy, Served};

const OPEN: &str = "forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }";

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// An origin that shows the request it got.
fn mirror() -> Served {
    Origin::serve(|request| ok(&request.text()))
}

fn connect(client: &mut Peer, target: impl std::fmt::Display, more: &str) {
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{more}\r\n"));
}

/// Spellings of addresses of this machine that are not to be reached. `{port}` is a port where
/// somebody listens on all of them.
const LOOPBACK: [&str; 22] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0.0.1",
    "017700000001",
    "0177.0.0.01",
    "0",
    "0.0.0.0",
    "0x0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::]",
];

/// Addresses that no stranger may reach through us.
const CLOSED: [&str; 22] = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.254",
    "192.0.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "0.1.2.3",
    "[fe80::1]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[ff02::1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a00:1]",
    "[2002:7f00:1::]",
    "[::ffff:10.0.0.1]",
    "[::127.0.0.1]",
];

fn socks4a(host: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![4, 1];
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0]);
    bytes.extend(host.as_bytes());
    bytes.push(0);
    bytes
}

fn socks5_name(host: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, 5, 1, 0, 3, host.len() as u8];
    bytes.extend(host.as_bytes());
    bytes.extend(port.to_be_bytes());
    bytes
}

/// Asks for this target in every way there is; each is refused.
fn refused_in_every_way(proxy: SocketAddr, host: &str, port: u16) {
    let mut client = Peer::connect(proxy);
    client.send(format!("GET http://{host}:{port}/ssrf HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"));
    let response = client.recv_response();
    assert_eq!(response.status(), 403, "GET {host}: {}", response.text());
    connect(&mut client, format!("{host}:{port}"), "");
    let response = client.recv_response();
    assert_eq!(response.status(), 403, "CONNECT {host}: {}", response.text());
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    // Names in SOCKS have no brackets.
    let mut client = Peer::connect(proxy);
    client.send(socks4a(bare, port));
    let reply = client.recv_exact(8);
    assert_eq!((reply[0], reply[1]), (0, 91), "SOCKS4a {host}");
    client.expect_close();
    let mut client = Peer::connect(proxy);
    client.send(socks5_name(bare, port));
    client.expect([5, 0]);
    let reply = client.recv_exact(10);
    assert!(reply[0] == 5 && matches!(reply[1], 1 | 2), "SOCKS5 {host}: {reply:?}");
    client.expect_close();
    // And by number.
    if let Ok(ip) = bare.parse::<std::net::IpAddr>() {
        let mut client = Peer::connect(proxy);
        let mut bytes = vec![5, 1, 0, 5, 1, 0];
        match ip {
            std::net::IpAddr::V4(ip) => {
                bytes.push(1);
                bytes.extend(ip.octets());
            }
            std::net::IpAddr::V6(ip) => {
                bytes.push(4);
                bytes.extend(ip.octets());
            }
        }
        bytes.extend(port.to_be_bytes());
        client.send(bytes);
        client.expect([5, 0]);
        assert_eq!(client.recv_exact(10)[1], 2, "SOCKS5 {host} by number");
    }
}

#[test]
fn this_machine_is_closed_in_every_spelling() {
    let v4 = Origin::on("0.0.0.0:0");
    let port = v4.address().port();
    let proxy = Proxy::start("forward \"127.0.0.1:0\"");
    for host in LOOPBACK {
        refused_in_every_way(proxy.first(), host, port);
    }
    v4.expect_no_connection();
}

#[test]
fn special_ranges_are_closed_by_default() {
    let proxy = Proxy::start("forward \"127.0.0.1:0\"");
    for host in CLOSED {
        refused_in_every_way(proxy.first(), host, 80);
    }
}

#[test]
fn our_own_listeners_are_closed_whatever_a_rule_says() {
    let proxy = Proxy::start(
        "admin \"127.0.0.1:0\"\n\
         site \"http://127.0.0.1:0\" { respond 200 \"site\" }\n\
         forward \"127.0.0.1:0\" { allow \"*\" \"127.0.0.0/8\" \"::1\" \"0.0.0.0/8\" \"localhost\" }",
    );
    let forward = proxy.address("127.0.0.1:0");
    let admin = proxy.admin_address();
    for target in [admin, forward] {
        // By name too, but a name may have other addresses.
        for host in ["127.0.0.1", "2130706433", "0x7f.1", "0", "[::]", "[::ffff:127.0.0.1]"] {
            refused_in_every_way(forward, host, target.port());
        }
    }
    // A site is one's own to open.
    let site = proxy.address("http://");
    let mut client = Peer::connect(forward);
    client.send(format!("GET http://{site}/ HTTP/1.1\r\nHost: {site}\r\n\r\n"));
    assert_eq!(client.recv_response().body_text(), "site");
    let closed = Proxy::start(
        "site \"http://127.0.0.1:0\" { respond 200 \"site\" }\n\
         forward \"127.0.0.1:0\" { allow \"*\" }",
    );
    let site = closed.address("http://");
    refused_in_every_way(closed.address("127.0.0.1:0"), "127.0.0.1", site.port());
}

#[test]
fn ports_are_closed_by_default() {
    let proxy = Proxy::start(OPEN);
    let mut client = proxy.client();
    for port in [1, 22, 25, 465, 587, 1023] {
        connect(&mut client, format!("127.0.0.1:{port}"), "");
        let response = client.recv_response();
        assert_eq!(response.status(), 403, "{port}");
        assert!(response.get("Proxy-Status").unwrap().contains("port_not_allowed"));
    }
    for port in [25, 465, 587] {
        client.send(format!(
            "GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        ));
        assert_eq!(client.recv_response().status(), 403, "{port}");
    }
}

#[test]
fn rules_decide_in_their_order() {
    let origin = mirror();
    let port = origin.address().port();
    let scratch = testkit::Scratch::new();
    scratch.write("block.txt", "# ads\n0.0.0.0 tracker.example\nbanner.example\n");
    let proxy = Proxy::start_in(
        scratch,
        "forward \"127.0.0.1:0\" {\n\
           deny \"evil.example\" list=\"block.txt\"\n\
           deny \"*.sub.example\"\n\
           deny \"127.0.0.2\"\n\
           allow \"127.0.0.0/8\"\n\
         }",
    );
    let mut client = proxy.client();
    for host in [
        "evil.example",
        "EVIL.example.",
        "www.evil.example",
        "tracker.example",
        "banner.example",
        "x.sub.example",
        "127.0.0.2",
        "0x7f000002",
    ] {
        client.send(format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"));
        let response = client.recv_response();
        assert_eq!(response.status(), 403, "{host}: {}", response.text());
        assert!(response.get("Proxy-Status").unwrap().contains("denied_by_rule"), "{host}");
    }
    client.send(format!("GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"));
    assert_eq!(client.recv_response().status(), 200);
}
