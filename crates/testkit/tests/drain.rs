//! A graceful stop, and bodies that are larger than what may be kept of them.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::{DEADLINE, Origin, Peer, Proxy};

fn before(origin: &Origin) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url()))
}

fn get(client: &mut Peer) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn a_stop_finishes_what_runs_and_closes_what_is_idle() {
    let origin = Origin::start();
    let proxy = before(&origin);
    // One client in the middle of a download, one with a request under way, one idle.
    let mut running = proxy.client();
    get(&mut running);
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
    running.recv_head();
    running.expect("01234");
    let mut idle = proxy.client();
    get(&mut idle);
    let mut third = origin.accept();
    third.recv_request();
    third.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(idle.recv_response().body_text(), "ok");
    let mut waiting = proxy.client();
    get(&mut waiting);
    third.recv_request();
    let address = proxy.first();
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| proxy.server().stop(DEADLINE));
        idle.expect_close();
        // Nobody listens any more. What the kernel had accepted before is served or closed.
        let started = Instant::now();
        while TcpStream::connect(address).is_ok() {
            assert!(started.elapsed() < DEADLINE, "still listening");
        }
        assert!(!stopped.is_finished(), "it did not wait");
        assert!(proxy.server().is_draining());
        upstream.send("56789");
        running.expect("56789");
        third.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let response = waiting.recv_response();
        assert_eq!(response.body_text(), "ok");
        assert!(response.closes(), "{}", response.text());
        waiting.expect_close();
        // It has been told nothing, so it learns it by the close.
        running.expect_close();
        drop((running, waiting));
        assert!(stopped.join().unwrap(), "something was not finished");
    });
}

#[test]
fn a_stop_waits_for_tunnels_up_to_its_deadline() {
    let origin = Origin::start();
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
    let address = origin.address();
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let mut upstream = origin.accept();
    assert_eq!(client.recv_head().status(), 200);
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| proxy.server().stop(DEADLINE));
        while !proxy.server().is_draining() {
            std::thread::yield_now();
        }
        client.send("still");
        upstream.expect("still");
        upstream.send("there");
        client.expect("there");
        drop(client);
        upstream.recv_until_gone();
        drop(upstream);
        assert!(stopped.join().unwrap());
    });
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
    let mut client = proxy.client();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let _upstream = origin.accept();
    assert_eq!(client.recv_head().status(), 200);
    assert!(!proxy.server().stop(Duration::from_millis(200)), "the tunnel is still there");
}

#[test]
fn a_stop_with_nothing_to_do_is_quick() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "threads 2\nsite \"http://127.0.0.1:0\" {{ to \"{}\" }}",
        origin.url()
    ));
    let mut fresh = proxy.client();
    get(&mut fresh);
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    fresh.recv_response();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| proxy.server().stop(DEADLINE));
        fresh.expect_close();
        drop(fresh);
        assert!(stopped.join().unwrap());
    });
    // The kept connection to the origin ends as well.
    upstream.expect_close();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn who_never_said_anything_does_not_hold_up_a_stop() {
    let proxy = Proxy::start(
        "site \"http://127.0.0.1:0\" { respond 200 }\nforward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }",
    );
    // A browser connects in advance. One more request shows that both were accepted.
    let silent = [proxy.client(), Peer::connect(proxy.address("127.0.0.1:0"))];
    for address in [proxy.first(), proxy.address("127.0.0.1:0")] {
        let mut client = Peer::connect(address);
        client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.recv_response();
    }
    let started = Instant::now();
    assert!(proxy.server().stop(DEADLINE), "it waited for somebody who says nothing");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(silent);
}

#[test]
fn a_stop_ends_a_handover_that_waits() {
    use std::process::{Command, Stdio};
    let proxy = Proxy::start("site \"http://127.0.0.1:0\" { respond 200 \"x\" }");
    // What is started says that it runs, and never that it serves.
    let (mut said, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut program = Command::new("sh");
    program.args(["-c", "echo started; exec sleep 1000"]);
    program.stdout(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    std::thread::scope(|scope| {
        let handed = scope.spawn(|| {
            let mut program = program;
            proxy.server().hand_over(&mut program)
        });
        let mut line = [0; 8];
        std::io::Read::read_exact(&mut said, &mut line).unwrap();
        assert!(proxy.server().stop(DEADLINE));
        assert_eq!(handed.join().unwrap(), Err("the server is stopping".to_owned()));
    });
    // It was ended: nobody holds the other end.
    assert_eq!(std::io::Read::read(&mut said, &mut [0]).unwrap(), 0);
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

const LARGE: usize = 64 * 1024 * 1024;
/// What the kernel and we may hold of a body that nobody takes.
const HELD: usize = 40 * 1024 * 1024;

/// Sends a body of [`LARGE`] bytes in `framing`, in which bytes differ by their place.
fn send_large(peer: &mut Peer, chunked: bool) {
    let block: Vec<u8> = (0..=255u8).cycle().take(64 * 1024).collect();
    for _ in 0..LARGE / block.len() {
        if chunked {
            peer.send("10000\r\n");
        }
        peer.send(&block);
        if chunked {
            peer.send("\r\n");
        }
    }
    if chunked {
        peer.send("0\r\n\r\n");
    }
}

/// Receives such a body with `Content-Length`.
fn recv_large(peer: &mut Peer) {
    let block: Vec<u8> = (0..=255u8).cycle().take(64 * 1024).collect();
    for _ in 0..LARGE / block.len() {
        assert!(peer.recv_exact(block.len()) == block, "the body changed on its way");
    }
}

/// Receives such a body in chunks of any size.
fn recv_large_chunked(peer: &mut Peer) {
    let mut seen = 0usize;
    loop {
        let size = usize::from_str_radix(&peer.recv_line(), 16).expect("chunk size");
        let piece = peer.recv_exact(size);
        assert!(piece.iter().enumerate().all(|(at, byte)| *byte == (seen + at) as u8));
        seen += size;
        peer.expect("\r\n");
        if size == 0 {
            return assert_eq!(seen, LARGE);
        }
    }
}

#[test]
fn large_bodies_stream_both_ways() {
    for chunked in [false, true] {
        let origin = Origin::start();
        let proxy = before(&origin);
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {LARGE}")
        };
        let before = resident();
        let mut client = proxy.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        let mut upstream = origin.accept();
        upstream.recv_head();
        let receive = if chunked { recv_large_chunked } else { recv_large };
        std::thread::scope(|scope| {
            scope.spawn(|| send_large(&mut client, chunked));
            receive(&mut upstream);
        });
        upstream.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"));
        client.recv_head();
        std::thread::scope(|scope| {
            scope.spawn(|| send_large(&mut upstream, chunked));
            receive(&mut client);
        });
        // The connections are in order afterwards.
        get(&mut client);
        upstream.recv_request();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.recv_response().body_text(), "ok");
        let grown = resident().saturating_sub(before);
        assert!(grown < 32 * 1024 * 1024, "memory grew by {grown} bytes");
    }
}

/// Sends until nothing more is taken for a while; returns how much was taken.
fn send_until_stuck(peer: &mut Peer) -> usize {
    peer.socket().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let block = [b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < 4 * LARGE && peer.try_send(block).is_ok() {
        sent += block.len();
    }
    sent
}

#[test]
fn who_does_not_take_holds_up_who_sends() {
    let origin = Origin::start();
    let proxy = before(&origin);
    let length = 4 * LARGE;
    // A download that the client does not read.
    let mut client = proxy.client();
    get(&mut client);
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
    client.recv_head();
    let sent = send_until_stuck(&mut upstream);
    assert!(sent < HELD, "{sent} bytes were taken for a client that reads nothing");
    drop((client, upstream));
    // An upload that the origin does not read.
    let mut client = proxy.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    let mut upstream = origin.accept();
    upstream.recv_head();
    let sent = send_until_stuck(&mut client);
    assert!(sent < HELD, "{sent} bytes were taken for an origin that reads nothing");
    drop((client, upstream));
    // A tunnel.
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" }");
    let mut client = proxy.client();
    let address = origin.address();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let _upstream = origin.accept();
    client.recv_head();
    let sent = send_until_stuck(&mut client);
    assert!(sent < HELD, "{sent} bytes were taken into a tunnel that nobody reads");
}
