//! Answers of parents as they may come: in pieces, or with more behind them.

use testkit::parent::{Conduct, Parent};
use testkit::{Origin, Peer};

use super::*;

/// What is received through a parent that is played byte by byte.
fn received(protocol: HopProtocol, script: impl FnOnce(&mut Peer) + Send + 'static) -> Vec<u8> {
    let parent = Origin::start();
    let way = way(vec![hop(protocol, parent.address(), Some(("me", "secret")))]);
    let playing = std::thread::spawn(move || {
        let mut peer = parent.accept();
        script(&mut peer);
        peer.finish();
    });
    let received = net::run_local(async {
        let mut reached = Trial::of(&way).reach("shop.example", 25).await.unwrap();
        let mut received = reached.early;
        reached.io.read_to_end(&mut received).await.unwrap();
        received
    });
    playing.join().unwrap();
    received
}

fn dribble(peer: &mut Peer, bytes: &[u8]) {
    for byte in bytes.chunks(1) {
        peer.send(byte);
    }
}

#[test]
fn http_answers_come_in_any_pieces() {
    let answer =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n220 hi";
    let parts = received(HopProtocol::Http, move |peer| {
        peer.recv_head();
        dribble(peer, answer);
    });
    assert_eq!(parts, b"220 hi");
    let whole = received(HopProtocol::Http, move |peer| {
        peer.recv_head();
        peer.send(answer);
    });
    assert_eq!(whole, b"220 hi");
}

#[test]
fn socks_answers_come_in_any_pieces() {
    let parts = received(HopProtocol::Socks5h, |peer| {
        peer.expect([5, 2, 2, 0]);
        dribble(peer, &[5, 2]);
        peer.expect([&[1, 2][..], b"me", &[6], b"secret"].concat());
        dribble(peer, &[1, 0]);
        peer.expect([&[5, 1, 0, 3, 12][..], b"shop.example", &[0, 25]].concat());
        dribble(peer, &[5, 0, 0, 3, 2, b'x', b'y', 1, 1, b'2', b'2', b'0']);
    });
    assert_eq!(parts, b"220");
    // A parent that needs no password need not ask for one.
    let whole = received(HopProtocol::Socks5h, |peer| {
        peer.expect([5, 2, 2, 0]).send([5, 0]);
        peer.recv_exact(19);
        peer.send([&[5, 0, 0, 4][..], &[0; 18], b"220"].concat());
    });
    assert_eq!(whole, b"220");
    let old = received(HopProtocol::Socks4a, |peer| {
        peer.expect([&[4, 1, 0, 25, 0, 0, 0, 1][..], b"me\0shop.example\0"].concat());
        dribble(peer, &[0, 90, 1, 2, 3, 4, 5, 6, b'2', b'2', b'0']);
    });
    assert_eq!(old, b"220");
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let origin = Origin::start();
    for (protocol, parent) in
        [(HopProtocol::Http, Parent::http()), (HopProtocol::Socks5, Parent::socks())]
    {
        parent.behave(Conduct::Early(b"220 hello\r\n".into()));
        let way = way(vec![hop(protocol, parent.address(), None)]);
        net::run_local(async {
            let reached = Trial::of(&way).reach("127.0.0.1", origin.address().port()).await;
            assert_eq!(reached.unwrap().early, b"220 hello\r\n");
        });
    }
}
