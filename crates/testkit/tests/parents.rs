//! The scripted parents of the testkit do what they promise.

use testkit::parent::{Asked, Conduct, How, Parent};
use testkit::{Authority, Origin, Peer, tls_client};

const GRANTED4: [u8; 8] = [0, 90, 0, 0, 0, 0, 0, 0];
const GRANTED5: [u8; 10] = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

fn only(parent: &Parent) -> Asked {
    let mut asked = parent.wait_for(1);
    assert_eq!(asked.len(), 1);
    asked.remove(0)
}

/// Bytes go both ways, and each side ends by itself.
fn converse(client: &mut Peer, origin: &Origin) {
    let mut target = origin.accept();
    client.send("ping").finish();
    assert_eq!(target.recv_rest(), b"ping");
    target.send("pong").finish();
    assert_eq!(client.recv_rest(), b"pong");
}

#[test]
fn connect() {
    let origin = Origin::start();
    let parent = Parent::http().knows("shop.example", "127.0.0.1").leaving_from("127.0.0.5");
    let target = format!("shop.example:{}", origin.address().port());
    let mut client = Peer::connect(parent.address());
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nX-Mine: 1\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
    let mut upstream = origin.accept();
    assert_eq!(upstream.socket().peer_addr().unwrap().ip().to_string(), "127.0.0.5");
    client.send("ping").finish();
    assert_eq!(upstream.recv_rest(), b"ping");
    upstream.send("pong").finish();
    assert_eq!(client.recv_rest(), b"pong");
    let asked = only(&parent);
    assert_eq!((asked.how, asked.target(), asked.connection), (How::Connect, target, 1));
    assert!(asked.message.unwrap().has("X-Mine"));
}

#[test]
fn connect_inside_tls() {
    let authority = Authority::new("test authority");
    let parent = Parent::https(&authority.issue(&["parent.example"]));
    let origin = Origin::start();
    let client = Peer::connect(parent.address());
    let mut client = client.into_tls(&tls_client(&authority, None), "parent.example").unwrap();
    client.send(format!("CONNECT {} HTTP/1.1\r\n\r\n", origin.address()));
    assert_eq!(client.recv_head().status(), 200);
    converse(&mut client, &origin);
}

#[test]
fn plain_requests_on_one_connection() {
    let origin = Origin::serve(|request| match request.target().as_str() {
        "/chunked" => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n".into()
        }
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into(),
    });
    let parent = Parent::http();
    let mut client = Peer::connect(parent.address());
    for path in ["/a?b", "", "/chunked"] {
        let url = format!("{}{path}", origin.url());
        client.send(format!("GET {url} HTTP/1.1\r\nHost: x\r\nProxy-Connection: 1\r\n\r\n"));
        let response = client.recv_response();
        assert_eq!(response.body_text(), if path == "/chunked" { "a" } else { "ok" });
    }
    let targets: Vec<_> = origin.requests().iter().map(|request| request.target()).collect();
    assert_eq!(targets, ["/a?b", "/", "/chunked"]);
    assert!(origin.requests().iter().all(|request| !request.has("Proxy-Connection")));
    let asked = parent.asked();
    assert!(asked.iter().all(|asked| asked.how == How::Absolute && asked.connection == 1));
    assert_eq!(asked[0].target(), origin.address().to_string());
}

#[test]
fn socks_of_all_versions() {
    let (origin, parent) = (Origin::start(), Parent::socks().knows("a.example", "127.0.0.1"));
    let port = origin.address().port().to_be_bytes();
    let four = [&[4, 1, port[0], port[1], 127, 0, 0, 1][..], b"me\0"].concat();
    let four_a = [&[4, 1, port[0], port[1], 0, 0, 0, 9][..], b"\0a.example\0"].concat();
    for (request, how) in [(four, How::Socks4), (four_a, How::Socks4a)] {
        let mut client = Peer::connect(parent.address());
        client.send(request).expect(GRANTED4);
        converse(&mut client, &origin);
        assert_eq!(parent.asked().last().unwrap().how, how);
    }
    let mut client = Peer::connect(parent.address());
    client.send([5, 2, 0, 2]).expect([5, 0]);
    client.send([&[5, 1, 0, 3, 9][..], b"a.example", &port].concat()).expect(GRANTED5);
    converse(&mut client, &origin);
    let asked = parent.asked();
    let hosts: Vec<_> = asked.iter().map(|asked| &*asked.host).collect();
    assert_eq!(hosts, ["127.0.0.1", "a.example", "a.example"]);
    assert_eq!(asked[0].credentials.as_ref().unwrap().0, "me");
    // What nobody knows, and what does not listen.
    let mut client = Peer::connect(parent.address());
    client.send([5, 1, 0]).expect([5, 0]);
    client.send([&[5, 1, 0, 3, 9][..], b"b.example", &port].concat());
    assert_eq!(client.recv_exact(10)[..2], [5, 4]);
    client.expect_close();
}

#[test]
fn credentials_are_required() {
    let origin = Origin::start();
    let parent = Parent::http().with_user("me", "secret");
    assert!(parent.url("http").starts_with("http://me:secret@127.0.0.1:"));
    for (token, status) in [("bWU6c2VjcmV0", 200), ("bWU6d3Jvbmc=", 407), ("", 407)] {
        let mut client = Peer::connect(parent.address());
        let address = origin.address();
        client.send(format!(
            "CONNECT {address} HTTP/1.1\r\nProxy-Authorization: Basic {token}\r\n\r\n"
        ));
        assert_eq!(client.recv_head().status(), status);
    }
    assert_eq!(parent.asked().len(), 3);
    let parent = Parent::socks().with_user("me", "secret");
    let mut client = Peer::connect(parent.address());
    client.send([5, 1, 0]).expect([5, 0xff]).expect_close();
    for (password, answer) in [(&b"secret"[..], 0), (b"public", 1)] {
        let mut client = Peer::connect(parent.address());
        client.send([5, 1, 2]).expect([5, 2]);
        client.send([&[1, 2][..], b"me", &[6], password].concat()).expect([1, answer]);
    }
}

#[test]
fn conducts() {
    let origin = Origin::start();
    let target = origin.address();
    let request = format!("CONNECT {target} HTTP/1.1\r\n\r\n");
    let parent = Parent::http();
    let asking = |conduct| {
        parent.behave(conduct);
        let mut client = Peer::connect(parent.address());
        client.send(&request);
        client
    };
    assert_eq!(asking(Conduct::Refuse(403)).recv_head().status(), 403);
    assert_eq!(asking(Conduct::Raw(b"nonsense".into())).recv_rest(), b"nonsense");
    asking(Conduct::Close).expect_close();
    assert_eq!(asking(Conduct::Reset).recv_until_gone(), b"");
    let mut client = asking(Conduct::Abandon);
    assert_eq!(client.recv_head().status(), 200);
    client.expect_close();
    let mut client = asking(Conduct::Early(b"220 hello".into()));
    assert_eq!(client.recv_head().status(), 200);
    client.expect("220 hello");
    let mut hanging = asking(Conduct::Hang);
    let _ = parent.wait_for(7);
    hanging.expect_nothing();
    parent.slam(true);
    Peer::connect(parent.address()).expect_close();
    // Its death ends all that is open.
    parent.stop();
    assert_eq!(hanging.recv_until_gone(), b"");
    assert_eq!(client.recv_until_gone(), b"");
    assert!(std::net::TcpStream::connect(parent.address()).is_err());
}
