//! The forward face: requests in absolute form and CONNECT, who may make them, and what nobody
//! may reach.

use std::net::SocketAddr;

use testkit::{Message, Origin, Peer, Proxy, Served};

const OPEN: &str = "forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }";

const USERS: &str = r#"
users "staff" {
    user "alice" password="correct-horse"
    user "bob" password="p:@%/+ \u{fc}"
}
"#;

/// `Basic` for these users (RFC 7617): made with `base64`, not with ours.
const ALICE: &str = "Proxy-Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n";
const ALICE_WRONG: &str = "Proxy-Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";
const MALLORY: &str = "Proxy-Authorization: Basic bWFsbG9yeTpjb3JyZWN0LWhvcnNl\r\n";

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

/// A tunnel to an origin: the client's end and the origin's.
fn tunnel(proxy: &Proxy, origin: &Origin) -> (Peer, Peer) {
    let mut client = proxy.client();
    connect(&mut client, origin.address(), "");
    let upstream = origin.accept();
    let head = client.recv_head();
    assert_eq!(head.status(), 200, "{}", head.text());
    // A 2xx to CONNECT has neither (RFC 9110 §9.3.6).
    assert!(!head.has("Content-Length") && !head.has("Transfer-Encoding"), "{}", head.text());
    (client, upstream)
}

#[test]
fn a_tunnel_carries_bytes_both_ways() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    client.send(b"\x16\x03\x01\0\xff");
    upstream.expect(b"\x16\x03\x01\0\xff");
    upstream.send("HTTP/1.1 400 not for the proxy\r\n\r\n");
    client.expect("HTTP/1.1 400 not for the proxy\r\n\r\n");
    for round in 0..50 {
        client.send(format!("ping {round}\n"));
        upstream.expect(format!("ping {round}\n"));
        upstream.send(format!("pong {round}\n"));
        client.expect(format!("pong {round}\n"));
    }
}

#[test]
fn bytes_that_come_with_connect_are_not_lost() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let mut client = proxy.client();
    let address = origin.address();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nearly bytes"));
    let mut upstream = origin.accept();
    upstream.expect("early bytes");
    assert_eq!(client.recv_head().status(), 200);
    client.send(", later bytes");
    upstream.expect(", later bytes");
    // And a client that says all it has to say at once.
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nall"));
    client.finish();
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_rest(), b"all");
    upstream.send("answer");
    drop(upstream);
    assert_eq!(client.recv_head().status(), 200);
    assert_eq!(client.recv_rest(), b"answer");
}

#[test]
fn a_server_may_speak_first() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let mut client = proxy.client();
    connect(&mut client, origin.address(), "");
    let mut upstream = origin.accept();
    upstream.send("SSH-2.0-test\r\n");
    assert_eq!(client.recv_head().status(), 200);
    client.expect("SSH-2.0-test\r\n");
    client.send("SSH-2.0-client\r\n");
    upstream.expect("SSH-2.0-client\r\n");
}

#[test]
fn each_half_of_a_tunnel_ends_by_itself() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    client.send("question").finish();
    assert_eq!(upstream.recv_rest(), b"question");
    upstream.send("a long answer").send(" in pieces").finish();
    assert_eq!(client.recv_rest(), b"a long answer in pieces");
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    upstream.send("goodbye").finish();
    assert_eq!(client.recv_rest(), b"goodbye");
    client.send("still here").finish();
    assert_eq!(upstream.recv_rest(), b"still here");
    // Without a byte.
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    client.finish();
    upstream.expect_close();
    upstream.finish();
    client.expect_close();
}

#[test]
fn a_reset_ends_both_sides() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let (mut client, upstream) = tunnel(&proxy, &origin);
    upstream.reset();
    client.recv_until_gone();
    let (client, mut upstream) = tunnel(&proxy, &origin);
    client.reset();
    upstream.recv_until_gone();
}

#[test]
fn an_idle_tunnel_ends() {
    let proxy = Proxy::start(
        "forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\"; timeouts { tunnel-idle \"300ms\" } }",
    );
    let origin = Origin::start();
    let (mut client, mut upstream) = tunnel(&proxy, &origin);
    client.send("x");
    upstream.expect("x");
    client.recv_until_gone();
    upstream.recv_until_gone();
}

#[test]
fn connect_has_a_form() {
    let (proxy, origin) = (Proxy::start(OPEN), Origin::start());
    let address = origin.address();
    for target in [
        "127.0.0.1".to_owned(),
        "127.0.0.1:".to_owned(),
        "127.0.0.1:0".to_owned(),
        "127.0.0.1:99999".to_owned(),
        format!("http://{address}"),
        format!("{address}/"),
        format!("u@{address}"),
        format!("{address}?"),
        "/".to_owned(),
        "*".to_owned(),
        ":80".to_owned(),
        "a..b:80".to_owned(),
        "[::1:80".to_owned(),
        "256.0.0.1:80".to_owned(),
        "1.2.3.4.5:80".to_owned(),
    ] {
        let mut client = proxy.client();
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let status = client.recv_response().status();
        // Port 0 is one, but none that may be reached.
        let expected = if target.ends_with(":0") { [400, 403] } else { [400, 400] };
        assert!(expected.contains(&status), "{target}: {status}");
    }
    // A body has no place before the tunnel.
    for more in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = proxy.client();
        connect(&mut client, address, more);
        client.send("5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(client.recv_response().status(), 400, "{more}");
    }
    // What `Host` says beside the target is nobody's business.
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: other.example:1\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
    // HTTP/1.0 clients need no Host.
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.0\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
}

#[test]
fn a_target_that_is_not_there() {
    let proxy = Proxy::start(OPEN);
    let dead = testkit::reserve();
    let mut client = proxy.client();
    connect(&mut client, dead, "");
    let response = client.recv_response();
    assert_eq!(response.status(), 502);
    let said = response.get("Proxy-Status").unwrap();
    assert!(said.starts_with("bifrons; error=connection_refused"), "{said}");
    // The connection stays, and the next try may be better.
    let origin = Origin::start();
    connect(&mut client, origin.address(), "");
    origin.accept();
    assert_eq!(client.recv_head().status(), 200);
}

#[test]
fn absolute_form_reaches_the_origin_in_origin_form() {
    let origin = mirror();
    let proxy =
        Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\"; anonymity \"elite\" }");
    let mut client = proxy.client();
    let address = origin.address();
    for (target, sent) in [
        (format!("http://{address}/a%2fb?q=%41"), "/a%2fb?q=%41"),
        (format!("HTTP://{address}"), "/"),
        (format!("http://{address}?q"), "/?q"),
        (format!("http://{address}/../x//y;z\\"), "/../x//y;z\\"),
    ] {
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nX-b: 1\r\nx-A: 2\r\nProxy-Connection: keep-alive\r\n\r\n"
        ));
        let response = client.recv_response();
        let expected =
            format!("GET {sent} HTTP/1.1\r\nHost: {address}\r\nX-b: 1\r\nx-A: 2\r\n\r\n");
        assert_eq!(response.body_text(), expected);
        assert_eq!(response.lines(), [format!("Content-Length: {}", expected.len())]);
    }
    client.send(format!("OPTIONS http://{address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert!(client.recv_response().body_text().starts_with("OPTIONS * HTTP/1.1\r\n"));
    client.send(format!("GET http://{address}/old HTTP/1.0\r\n\r\n"));
    let seen = client.recv_response().body_text();
    assert_eq!(seen, format!("GET /old HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    // One connection served all of them, for there is one user.
    assert_eq!(origin.connections(), 1);
}

#[test]
fn what_is_no_proxy_request_is_refused() {
    let origin = mirror();
    let proxy = Proxy::start(OPEN);
    let address = origin.address();
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"), 400),
        (format!("GET https://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"), 400),
        (format!("GET ftp://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"), 400),
        (format!("GET http://{address}/ HTTP/1.1\r\nHost: other\r\n\r\n"), 400),
        (format!("GET http://u:p@{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"), 400),
    ] {
        let mut client = proxy.client();
        client.send(&request);
        assert_eq!(client.recv_response().status(), status, "{request}");
    }
    let mut client = proxy.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.recv_response().has("Allow"));
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn anonymity_has_three_levels() {
    let origin = mirror();
    let address = origin.address();
    let told = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nVia: 1.1 lan\r\n\
                X-Real-IP: 6.6.6.6\r\nClient-IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\n\
                X_Forwarded_For: 6.6.6.6\r\nProxy: http://6.6.6.6\r\nX-Forwarded-Host: lan\r\n\
                Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic c2VjcmV0\r\n\
                Max-Forwards: 6\r\n";
    let ask = |level: &str| -> (Message, Message) {
        let proxy = Proxy::start(&format!(
            "forward \"127.0.0.1:0\" {{ allow \"127.0.0.0/8\"; anonymity \"{level}\" }}"
        ));
        let mut client = proxy.client();
        client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{told}\r\n"));
        let response = client.recv_response();
        (origin.requests().pop().unwrap(), response)
    };
    let secrets = ["c2VjcmV0", "Proxy-", "Proxy:"];
    let (request, response) = ask("elite");
    for word in ["6.6.6.6", "127.0.0.1\r\n\r\n", "Via", "Forwarded", "lan", "bifrons", "Max-"] {
        let text = request.text().replace(&format!("Host: {address}"), "");
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert!(!response.has("Via"), "{}", response.text());
    let (request, response) = ask("anonymous");
    assert!(!request.text().contains("6.6.6.6"), "{}", request.text());
    assert!(!request.has("X-Forwarded-For"), "{}", request.text());
    let via = request.get("Via").unwrap();
    assert!(via.starts_with("1.1 lan, 1.1 bifrons"), "{via}");
    assert!(response.get("Via").unwrap().starts_with("1.1 bifrons"), "{}", response.text());
    for word in secrets {
        assert!(!request.text().contains(word), "{word}: {}", request.text());
    }
    let (request, _) = ask("transparent");
    assert_eq!(request.get("X-Forwarded-For").as_deref(), Some("6.6.6.6, 127.0.0.1"));
    assert!(request.get("Via").unwrap().starts_with("1.1 lan, 1.1 bifrons"));
    for word in secrets {
        assert!(!request.text().contains(word), "{word}: {}", request.text());
    }
}

#[test]
fn a_request_that_comes_back_is_a_loop() {
    let origin = mirror();
    let proxy = Proxy::start(OPEN);
    let mut client = proxy.client();
    let address = origin.address();
    client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    client.recv_response();
    let via = origin.request().get("Via").unwrap();
    client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\nVia: {via}\r\n\r\n"));
    let response = client.recv_response();
    assert_eq!(response.status(), 508);
    assert!(response.get("Proxy-Status").unwrap().contains("proxy_loop_detected"));
    assert_eq!(origin.requests().len(), 1);
}

fn with_users() -> Proxy {
    Proxy::start(&format!(
        "{USERS}forward \"127.0.0.1:0\" {{ auth users=\"staff\"; allow \"127.0.0.0/8\"; anonymity \"elite\" }}"
    ))
}

#[test]
fn credentials_are_asked_for_on_a_connection_that_stays() {
    let origin = mirror();
    let proxy = with_users();
    let address = origin.address();
    let mut client = proxy.client();
    let plain =
        |more: &str| format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{more}\r\n");
    for wrong in [
        "",
        ALICE_WRONG,
        MALLORY,
        "Proxy-Authorization: Basic\r\n",
        "Proxy-Authorization: Basic !!!!\r\n",
        "Proxy-Authorization: Basic YWxpY2U=\r\n",
        "Proxy-Authorization: Bearer YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n",
        "Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n",
        "Proxy_Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n",
    ] {
        client.send(plain(wrong));
        let response = client.recv_response();
        assert_eq!(response.status(), 407, "{wrong}");
        assert!(response.get("Proxy-Authenticate").unwrap().starts_with("Basic realm="));
        assert!(!response.closes(), "{wrong}: {}", response.text());
        assert!(!response.body_text().contains("YWxp"), "{}", response.body_text());
        connect(&mut client, address, wrong);
        let response = client.recv_response();
        assert_eq!((response.status(), response.closes()), (407, false), "{wrong}");
    }
    // A body that comes with a refused request is read and forgotten.
    client.send(format!(
        "POST http://{address}/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\n\r\nhello"
    ));
    assert_eq!(client.recv_response().status(), 407);
    assert_eq!(origin.connections(), 0);
    // The same connection, now with credentials; the scheme is in any case.
    client.send(plain(&ALICE.replace("Basic", "bASIC")));
    let response = client.recv_response();
    assert_eq!(response.status(), 200);
    assert!(!response.body_text().contains("Authorization"), "{}", response.body_text());
    // Each request is judged by itself.
    client.send(plain(""));
    assert_eq!(client.recv_response().status(), 407);
    client.send(plain("Proxy-Authorization: Basic Ym9iOnA6QCUvKyDDvA==\r\n"));
    assert_eq!(client.recv_response().status(), 200);
    // Users do not share connections to an origin.
    assert_eq!(origin.connections(), 2);
    client.send(plain(ALICE));
    assert_eq!(client.recv_response().status(), 200);
    assert_eq!(origin.connections(), 2);
    connect(&mut client, address, ALICE);
    assert_eq!(client.recv_head().status(), 200);
    client.send("GET /inside HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.recv_response().body_text().starts_with("GET /inside"));
    drop(client);
    let log = proxy.stop().join("\n");
    let seen = origin.all_bytes();
    for secret in ["YWxp", "Ym9i", "correct-horse", "Proxy-A", "Proxy_A"] {
        assert!(!seen.contains(secret), "{secret} reached the origin: {seen}");
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
    assert!(log.contains("\"user\":\"alice\"") && log.contains("\"user\":\"bob\""), "{log}");
}

#[test]
fn hashed_passwords_and_files_of_them() {
    let origin = mirror();
    let address = origin.address();
    let scratch = testkit::Scratch::new();
    // The example of Apache's manual, as `htpasswd -B` makes it.
    scratch.write(
        "users.htpasswd",
        "# staff\nmyName:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n",
    );
    let proxy = Proxy::start_in(
        scratch,
        "users \"u\" file=\"users.htpasswd\"\n\
         forward \"127.0.0.1:0\" { auth users=\"u\"; allow \"127.0.0.0/8\" }",
    );
    let mut client = proxy.client();
    // myName:myPassword, myName:mypassword, and the hash itself.
    for (shown, status) in [
        ("bXlOYW1lOm15UGFzc3dvcmQ=", 200),
        ("bXlOYW1lOm15cGFzc3dvcmQ=", 407),
        ("bXlOYW1lOm15UGFzc3dvcmQ=", 200),
        ("bXlOYW1lOg==", 407),
    ] {
        client.send(format!(
            "GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\nProxy-Authorization: Basic {shown}\r\n\r\n"
        ));
        assert_eq!(client.recv_response().status(), status, "{shown}");
    }
}

#[test]
fn credentials_in_two_fields_are_refused() {
    let origin = mirror();
    let proxy = with_users();
    let address = origin.address();
    let mut client = proxy.client();
    client.send(format!(
        "GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{ALICE}{ALICE_WRONG}\r\n"
    ));
    let status = client.recv_response().status();
    assert!(matches!(status, 400 | 407), "{status}");
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

#[test]
fn an_open_proxy_is_not_started() {
    for (kdl, word) in [
        ("forward \"0.0.0.0:0\"", "auth"),
        ("forward \"[::]:0\" { allow \"127.0.0.0/8\" }", "auth"),
    ] {
        let refused = Proxy::try_start_in(testkit::Scratch::new(), kdl).err();
        let words = refused.unwrap_or_else(|| panic!("started: {kdl}"));
        assert!(words.contains(word), "{words}");
    }
    for kdl in [
        "users \"u\" { user \"a\" password=\"b\" }\nforward \"0.0.0.0:0\" { auth users=\"u\" }",
        "forward \"0.0.0.0:0\" { clients \"127.0.0.0/8\" }",
        "forward \"127.0.0.1:0\"",
        "forward \"[::1]:0\"",
    ] {
        assert!(Proxy::try_start_in(testkit::Scratch::new(), kdl).is_ok(), "{kdl}");
    }
}

#[test]
fn clients_that_are_not_listed_are_not_served() {
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { clients \"10.0.0.0/8\" }");
    let mut client = proxy.client();
    let _ = client.try_send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    assert!(client.recv_until_gone().is_empty());
}
