//! Targets by name: what is checked is what is connected to, whatever a name server says.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::{Authority, Origin, Peer, Proxy, Scratch};

/// A name server that answers all questions for addresses with those that `answers` says; it
/// counts the questions.
fn name_server(
    answers: impl Fn(&str, usize) -> Vec<Ipv4Addr> + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let address = socket.local_addr().expect("address");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let reply = reply(&buffer[..length], |name| {
                answers(name, count.fetch_add(1, Ordering::SeqCst))
            });
            socket.send_to(&reply, client).expect("send");
        }
    });
    (address, asked)
}

/// The reply to a question; `answers` is asked for IPv4 addresses only.
fn reply(packet: &[u8], answers: impl FnOnce(&str) -> Vec<Ipv4Addr>) -> Vec<u8> {
    let (name, end) = question(packet);
    let is_a = packet[end..end + 2] == [0, 1];
    let ips = if is_a { answers(&name) } else { vec![] };
    let mut reply = packet[..2].to_vec();
    // A response, recursion available, one question.
    reply.extend([0x81, 0x80, 0, 1, 0, ips.len() as u8, 0, 0, 0, 0]);
    reply.extend(&packet[12..end + 4]);
    for ip in ips {
        // The name of the question; type A, class IN, no time to live.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(ip.octets());
    }
    reply
}

/// The name in a question, and where it ends.
fn question(packet: &[u8]) -> (String, usize) {
    let (mut name, mut at) = (String::new(), 12);
    while packet[at] != 0 {
        let end = at + 1 + usize::from(packet[at]);
        name += &String::from_utf8_lossy(&packet[at + 1..end]).to_ascii_lowercase();
        name.push('.');
        at = end;
    }
    (name.trim_end_matches('.').to_owned(), at + 1)
}

fn connect(client: &mut Peer, target: &str) {
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
}

#[test]
fn a_name_for_a_closed_address_is_refused() {
    let (dns, _) = name_server(|name, _| match name {
        "loopback.test" => vec![Ipv4Addr::LOCALHOST],
        "private.test" => vec![Ipv4Addr::new(10, 0, 0, 1)],
        "metadata.test" => vec![Ipv4Addr::new(169, 254, 169, 254)],
        "both.test" => vec![Ipv4Addr::new(192, 168, 0, 1), Ipv4Addr::LOCALHOST],
        _ => vec![Ipv4Addr::UNSPECIFIED],
    });
    let origin = Origin::start();
    let port = origin.address().port();
    let proxy = Proxy::start(&format!("resolver \"{dns}\"\nforward \"127.0.0.1:0\""));
    for name in ["loopback.test", "private.test", "metadata.test", "both.test", "zero.test"] {
        let mut client = proxy.client();
        connect(&mut client, &format!("{name}:{port}"));
        let response = client.recv_response();
        assert_eq!(response.status(), 403, "{name}: {}", response.text());
        let said = response.get("Proxy-Status").unwrap();
        assert!(said.contains("destination_ip_prohibited"), "{said}");
        client.send(format!("GET http://{name}:{port}/ HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n"));
        assert_eq!(client.recv_response().status(), 403, "{name}");
        let mut client = proxy.client();
        client.send(
            [&[5, 1, 0, 5, 1, 0, 3, name.len() as u8][..], name.as_bytes(), &port.to_be_bytes()]
                .concat(),
        );
        client.expect([5, 0]);
        assert_eq!(client.recv_exact(10)[1], 2, "{name}");
    }
    origin.expect_no_connection();
}

#[test]
fn a_rule_about_a_name_does_not_let_its_owner_in() {
    let (dns, _) = name_server(|_, _| vec![Ipv4Addr::LOCALHOST]);
    let origin = Origin::start();
    let port = origin.address().port();
    let scratch = Scratch::new();
    scratch.write("allowed.txt", "listed.test\n");
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "resolver \"{dns}\"\n\
             forward \"127.0.0.1:0\" {{ allow \"named.test\" \"*.below.test\" list=\"allowed.txt\"; allow \"*\" }}"
        ),
    );
    let mut client = proxy.client();
    for name in ["named.test", "www.below.test", "listed.test", "any.test", "127.0.0.1"] {
        connect(&mut client, &format!("{name}:{port}"));
        let response = client.recv_response();
        assert_eq!(response.status(), 403, "{name}: {}", response.text());
        let said = response.get("Proxy-Status").unwrap();
        assert!(said.contains("address_closed"), "{name}: {said}");
    }
    origin.expect_no_connection();
    let opened = Proxy::start(&format!(
        "resolver \"{dns}\"\nforward \"127.0.0.1:0\" {{ allow \"named.test\" \"127.0.0.1\" }}"
    ));
    let mut client = opened.client();
    connect(&mut client, &format!("named.test:{port}"));
    assert_eq!(client.recv_head().status(), 200);
}

#[test]
fn of_several_addresses_only_the_open_ones_are_used() {
    let (dns, _) = name_server(|_, _| {
        vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::LOCALHOST, Ipv4Addr::new(169, 254, 0, 1)]
    });
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "resolver \"{dns}\"\nforward \"127.0.0.1:0\" {{ allow \"127.0.0.1\" }}"
    ));
    let mut client = proxy.client();
    connect(&mut client, &format!("mixed.test:{}", origin.address().port()));
    let mut upstream = origin.accept();
    assert_eq!(client.recv_head().status(), 200);
    client.send("hello");
    upstream.expect("hello");
    drop((client, upstream));
    let log = proxy.stop_and_read();
    assert_eq!(log[0]["server"], origin.address().to_string());
}

#[test]
fn a_name_that_changes_its_mind_is_checked_each_time() {
    let (dns, asked) = name_server(|_, turn| match turn {
        0 => vec![Ipv4Addr::LOCALHOST],
        _ => vec![Ipv4Addr::new(127, 0, 0, 2)],
    });
    let origin = Origin::on("0.0.0.0:0");
    let port = origin.address().port();
    let proxy = Proxy::start(&format!(
        "resolver \"{dns}\"\nforward \"127.0.0.1:0\" {{ allow \"127.0.0.1\" }}"
    ));
    let mut refused = 0;
    // Its answers have no time to live, but may be kept for a moment.
    while refused == 0 {
        let mut client = proxy.client();
        connect(&mut client, &format!("rebind.test:{port}"));
        let head = client.recv_head();
        match head.status() {
            200 => {
                let upstream = origin.accept();
                let reached = upstream.socket().local_addr().unwrap().ip();
                assert_eq!(reached.to_string(), "127.0.0.1");
            }
            403 => refused += 1,
            _ => panic!("{}", head.text()),
        }
    }
    assert!(asked.load(Ordering::SeqCst) >= 2);
    origin.expect_no_connection();
}

#[test]
fn a_name_that_a_rule_refuses_is_not_asked_for() {
    let (dns, asked) = name_server(|_, _| vec![Ipv4Addr::LOCALHOST]);
    let proxy = Proxy::start(&format!(
        "resolver \"{dns}\"\nforward \"127.0.0.1:0\" {{ deny \"tracker.test\"; allow \"127.0.0.1\" }}"
    ));
    let mut client = proxy.client();
    for target in ["tracker.test:443", "www.tracker.test:443", "fine.test:25"] {
        connect(&mut client, target);
        assert_eq!(client.recv_response().status(), 403, "{target}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_name_that_is_not_there() {
    let (dns, _) = name_server(|_, _| vec![]);
    let proxy = Proxy::start(&format!("resolver \"{dns}\"\nforward \"127.0.0.1:0\""));
    let mut client = proxy.client();
    connect(&mut client, "nobody.test:443");
    let response = client.recv_response();
    assert_eq!(response.status(), 502);
    assert!(response.get("Proxy-Status").unwrap().contains("dns_error"), "{}", response.text());
}

#[test]
fn a_server_of_a_site_is_found_by_its_name() {
    let (dns, _) = name_server(|name, _| match name {
        "app.internal" => vec![Ipv4Addr::LOCALHOST],
        _ => vec![],
    });
    let origin = Origin::serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let proxy = Proxy::start(&format!(
        "resolver \"{dns}\"\nsite \"http://127.0.0.1:0\" {{ to \"http://app.internal:{}\" }}",
        origin.address().port()
    ));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv_response().body_text(), "ok");
}

#[test]
fn hosts_of_the_configuration_are_names_like_others() {
    let (dns, asked) = name_server(|_, _| vec![Ipv4Addr::UNSPECIFIED]);
    let origin = Origin::start();
    let port = origin.address().port();
    let proxy = Proxy::start(&format!(
        "resolver \"{dns}\"\nhosts \"Intranet.Test\" \"127.0.0.1\"\nhosts \"closed.test\" \"10.0.0.5\"\n\
         forward \"127.0.0.1:0\" {{ allow \"127.0.0.0/8\" }}"
    ));
    let mut client = proxy.client();
    connect(&mut client, &format!("intranet.test:{port}"));
    assert_eq!(client.recv_head().status(), 200);
    origin.accept().send("hello");
    client.expect("hello");
    // Its addresses are judged as any others.
    let mut client = proxy.client();
    connect(&mut client, &format!("closed.test:{port}"));
    assert_eq!(client.recv_response().status(), 403);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn names_are_asked_for_over_tls() {
    let authority = Authority::new("test authority");
    let server = Origin::start().with_tls(authority.issue(&["dns.test"]).server(None));
    let scratch = Scratch::new();
    scratch.write("ca.pem", &authority.pem);
    let address = server.address();
    std::thread::spawn(move || {
        let mut peer = server.accept();
        loop {
            let length = peer.recv_exact(2);
            let packet = peer.recv_exact(usize::from(u16::from_be_bytes([length[0], length[1]])));
            let reply = reply(&packet, |_| vec![Ipv4Addr::LOCALHOST]);
            peer.send([&(reply.len() as u16).to_be_bytes()[..], &reply].concat());
        }
    });
    let origin = Origin::start();
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "resolver \"tls://{address}\" name=\"dns.test\" ca=\"ca.pem\"\n\
             forward \"127.0.0.1:0\" {{ allow \"127.0.0.0/8\" }}"
        ),
    );
    let mut client = proxy.client();
    connect(&mut client, &format!("shop.test:{}", origin.address().port()));
    assert_eq!(client.recv_head().status(), 200);
    origin.accept().send("hello");
    client.expect("hello");
}

#[test]
fn a_resolver_that_cannot_be_made_is_an_error_of_the_configuration() {
    let scratch = Scratch::new();
    scratch.write("ca.pem", "no certificate");
    let kdl = "resolver \"tls://127.0.0.1\" ca=\"ca.pem\"\nforward \"127.0.0.1:0\"";
    let config = config::parse("test.kdl", kdl, scratch.path()).unwrap();
    let errors = server::check(&config).unwrap_err();
    assert!(errors[0].message.contains("ca.pem") && errors[0].span.is_some(), "{errors:?}");
}
