//! Nobody reaches the admin listener through the forward face: in no spelling, by no protocol, by
//! no way out, whatever rules say.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use testkit::parent::Parent;
use testkit::{DEADLINE, Peer, Proxy, reserve};

/// Ways to write where the admin listener is. `named.test` and `mixed.test` are names that lead
/// there.
const SPELLINGS: [&str; 23] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0.0.0x1",
    "0",
    "0.0.0.0",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "localhost",
    "LocalHost.",
    "named.test",
    "NAMED.test.",
    "mixed.test",
];

/// Where it is on the loopback address of IPv6.
const SPELLINGS_V6: [&str; 6] =
    ["[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[::]", "0", "named6.test"];

/// Rules that open everything that rules can open.
const OPEN: &str = "allow \"*\" \"127.0.0.0/8\" \"::1\" \"0.0.0.0/8\" \"::/96\" \"::ffff:0:0/96\" \
                    \"localhost\" \"named.test\" \"named6.test\" \"mixed.test\"\n\
                    socks-udp #true";

/// A proxy with a listener for each way out, and the admin listener, at which nobody may arrive.
struct Closed {
    proxy: Proxy,
    admin: TcpListener,
    /// The same port, of UDP.
    datagrams: UdpSocket,
    sticky: SocketAddr,
    parent: Parent,
}

impl Closed {
    fn start(admin: &str) -> Self {
        let parent = Parent::http();
        let sticky = reserve();
        let kdl = format!(
            "admin \"{admin}:0\"\n\
             hosts \"named.test\" \"127.0.0.1\"\n\
             hosts \"named6.test\" \"::1\"\n\
             hosts \"mixed.test\" \"127.0.0.1\" \"::1\"\n\
             exits \"direct-ones\" {{ direct name=\"d\"; }}\n\
             exits \"addresses\" {{ address \"127.0.0.2\" name=\"a\"; address \"127.0.0.3\" name=\"b\"; }}\n\
             exits \"parents\" {{ proxy \"{}\" name=\"p\"; resolve \"here\"; }}\n\
             forward \"127.0.0.11:0\" {{ {OPEN}\n }}\n\
             forward \"127.0.0.12:0\" {{ {OPEN}\n exit \"direct-ones\"; }}\n\
             forward \"127.0.0.13:0\" {{ {OPEN}\n exit \"addresses\"; }}\n\
             forward \"{}:0\" {{ {OPEN}\n exit \"addresses\"; ports {}-{} sticky; }}\n\
             forward \"127.0.0.14:0\" {{ {OPEN}\n exit \"parents\"; }}\n",
            parent.url("http"),
            sticky.ip(),
            sticky.port(),
            sticky.port(),
        );
        let proxy = Proxy::start(&kdl);
        let admin = proxy.server().take_admin().expect("an admin listener");
        admin.set_nonblocking(true).expect("non-blocking");
        let datagrams = UdpSocket::bind(admin.local_addr().expect("address")).expect("bind");
        datagrams.set_nonblocking(true).expect("non-blocking");
        Self { proxy, admin, datagrams, sticky, parent }
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        let names = ["127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"];
        let mut all: Vec<_> = names.iter().map(|name| self.proxy.address(name)).collect();
        all.push(self.sticky);
        all
    }

    fn expect_nobody(&self) {
        let error = self.admin.accept().expect_err("somebody has arrived");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let error = self.datagrams.recv_from(&mut [0; 64]).expect_err("a datagram has arrived");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        // The other address of a name that has two, where nobody listens.
        let other = match self.admin.local_addr().expect("address") {
            SocketAddr::V4(admin) => format!("[::1]:{}", admin.port()),
            SocketAddr::V6(admin) => format!("127.0.0.1:{}", admin.port()),
        };
        for asked in self.parent.asked() {
            assert_eq!(asked.target(), other, "the parent was asked");
        }
    }
}

/// Asks in every way that TCP has; each is refused, for what it is.
fn refused(listener: SocketAddr, host: &str, port: u16) {
    let at = format!("{host} at {listener}");
    // Names that have another address, where nobody listens, or one that not every exit reaches.
    let is_loose = ["localhost", "LocalHost.", "mixed.test", "named6.test"].contains(&host);
    let authority = format!("{host}:{port}");
    for request in [
        format!("GET http://{authority}/metrics HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        format!(
            "POST http://{authority}/api/v1/reload HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 0\r\n\r\n"
        ),
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
    ] {
        let mut client = Peer::connect(listener);
        client.send(request);
        let response = client.recv_response();
        let said = response.get("Proxy-Status").expect("Proxy-Status");
        let by_another = is_loose && response.status() == 502;
        let is_refused = response.status() == 403 && said.contains("admin_listener");
        assert!(is_refused || by_another, "{at}: {}", response.text());
    }
    let bare = host.trim_matches(['[', ']']);
    let port_bytes = port.to_be_bytes();
    let mut socks4: Vec<Vec<u8>> =
        vec![[&[4, 1], &port_bytes[..], &[0, 0, 0, 1, 0], bare.as_bytes(), &[0]].concat()];
    let mut socks5: Vec<Vec<u8>> =
        vec![[&[5, 1, 0, 3, bare.len() as u8], bare.as_bytes(), &port_bytes].concat()];
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if !ip.is_unspecified() => {
            socks4.push([&[4, 1], &port_bytes[..], &ip.octets(), &[0]].concat());
            socks5.push([&[5, 1, 0, 1], &ip.octets()[..], &port_bytes].concat());
        }
        Ok(IpAddr::V6(ip)) => socks5.push([&[5, 1, 0, 4], &ip.octets()[..], &port_bytes].concat()),
        _ => {}
    }
    for request in socks4 {
        let mut client = Peer::connect(listener);
        client.send(request);
        let reply = client.recv_exact(8);
        assert_eq!((reply[0], reply[1]), (0, 91), "SOCKS4 {at}");
        client.expect_close();
    }
    for request in socks5 {
        let mut client = Peer::connect(listener);
        client.send([5, 1, 0]);
        client.expect([5, 0]);
        client.send(request);
        let reply = client.recv_exact(10);
        assert!(
            reply[0] == 5 && (reply[1] == 2 || is_loose && reply[1] > 2),
            "SOCKS5 {at}: {reply:?}"
        );
        client.expect_close();
    }
}

/// Datagrams: that those are thrown away is seen by one behind them, which arrives.
fn refused_by_datagram(listener: SocketAddr, spellings: &[&str], port: u16) {
    let mut control = Peer::connect(listener);
    control.send([5, 1, 0]);
    control.expect([5, 0]);
    control.send([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    let reply = control.recv_exact(10);
    assert_eq!((reply[1], reply[3]), (0, 1), "no association at {listener}");
    let ip: [u8; 4] = reply[4..8].try_into().expect("four bytes");
    let relay = SocketAddr::from((ip, u16::from_be_bytes([reply[8], reply[9]])));
    let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let target = UdpSocket::bind("127.0.0.1:0").expect("bind");
    target.set_read_timeout(Some(DEADLINE)).expect("timeout");
    let by_name = |host: &str, port: u16| {
        let port = port.to_be_bytes();
        [&[0, 0, 0, 3, host.len() as u8], host.as_bytes(), &port].concat()
    };
    for host in spellings {
        let bare = host.trim_matches(['[', ']']);
        client.send_to(&[&by_name(bare, port)[..], b"no"].concat(), relay).expect("send");
        let port = port.to_be_bytes();
        let by_number = match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => [&[0, 0, 0, 1], &ip.octets()[..], &port].concat(),
            Ok(IpAddr::V6(ip)) => [&[0, 0, 0, 4], &ip.octets()[..], &port].concat(),
            Err(_) => continue,
        };
        client.send_to(&[&by_number[..], b"no"].concat(), relay).expect("send");
    }
    let there = target.local_addr().expect("address");
    client
        .send_to(&[&by_name("127.0.0.1", there.port())[..], b"yes"].concat(), relay)
        .expect("send");
    let mut bytes = [0; 16];
    let (count, _) = target.recv_from(&mut bytes).expect("the datagram that is let through");
    assert_eq!(&bytes[..count], b"yes");
}

#[test]
fn the_admin_listener_is_closed_in_every_spelling_and_by_every_way_out() {
    let closed = Closed::start("127.0.0.1");
    let port = closed.admin.local_addr().expect("address").port();
    for listener in closed.listeners() {
        for host in SPELLINGS {
            refused(listener, host, port);
        }
    }
    closed.expect_nobody();
    // It listens: the same requests arrive where nobody stands between.
    let _direct = Peer::connect(closed.admin.local_addr().expect("address"));
    assert!(closed.admin.accept().is_ok());
}

#[test]
fn a_parent_that_resolves_names_is_not_led_to_this_machine() {
    let parent = Parent::http();
    let proxy = Proxy::start(&format!(
        "admin \"127.0.0.1:0\"\n\
         exits \"parents\" {{ proxy \"{}\" name=\"p\"; }}\n\
         forward \"127.0.0.1:0\" {{ {OPEN}\n exit \"parents\"; }}\n",
        parent.url("http"),
    ));
    let port = proxy.admin_address().port();
    for host in SPELLINGS.iter().filter(|host| !host.to_ascii_lowercase().contains("test")) {
        refused(proxy.first(), host, port);
    }
    // `localhost` is resolved here, and its other address is nobody's.
    for asked in parent.asked() {
        assert_eq!(asked.target(), format!("[::1]:{port}"));
    }
}

#[test]
fn the_admin_listener_is_closed_on_ipv6_as_well() {
    let closed = Closed::start("[::1]");
    let port = closed.admin.local_addr().expect("address").port();
    for listener in closed.listeners() {
        for host in SPELLINGS_V6 {
            refused(listener, host, port);
        }
    }
    closed.expect_nobody();
}

#[test]
fn datagrams_do_not_go_to_its_port_either() {
    for (admin, spellings) in [("127.0.0.1", &SPELLINGS[..]), ("[::1]", &SPELLINGS_V6)] {
        let closed = Closed::start(admin);
        let port = closed.admin.local_addr().expect("address").port();
        // Parents carry no datagrams.
        for listener in
            closed.listeners().into_iter().filter(|it| it.ip().to_string() != "127.0.0.14")
        {
            refused_by_datagram(listener, spellings, port);
        }
        closed.expect_nobody();
    }
}
