//! Answers that are fetched for many while there is too little room to keep them.

mod site;

use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use site::until;
use socket2::SockRef;
use testkit::h2::{Client, Frame, code};
use testkit::{Message, Origin, Peer, Proxy};

const CHUNK: usize = 100_000;
const CHUNKS: usize = 480;

/// A good deal of what flights may take here, which is half of the memory.
const MUCH: u64 = 15 << 20;

const MEMORY: &str = "cache { memory \"32MiB\"; max-object \"32MiB\" }";

const HEAD: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

/// The chunk of this number.
fn chunk(number: usize) -> &'static [u8] {
    static TEXT: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..CHUNK + 251).map(|at| (at % 251) as u8).collect());
    &TEXT[7 * number % 251..][..CHUNK]
}

fn framed(number: usize) -> Vec<u8> {
    [format!("{CHUNK:x}\r\n").as_bytes(), chunk(number), b"\r\n"].concat()
}

fn body() -> Vec<u8> {
    let chunks: Vec<_> = (0..CHUNKS).map(chunk).collect();
    chunks.concat()
}

/// A client that asked; the kernel keeps little for it.
fn asked(proxy: &Proxy, target: &str) -> Peer {
    let mut client = proxy.client();
    SockRef::from(client.socket()).set_recv_buffer_size(32 * 1024).expect("buffer");
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"));
    client
}

/// Two clients of one fetch, and the origin which has sent a chunk of it. Both have a head.
fn two(proxy: &Proxy, origin: &Origin) -> (Peer, Peer, Peer) {
    let mut leader = asked(proxy, "/big");
    let mut server = origin.accept();
    server.recv_request();
    server.send(HEAD);
    server.send(framed(0));
    assert_eq!(leader.recv_head().status(), 200);
    let mut follower = asked(proxy, "/big");
    assert_eq!(follower.recv_head().status(), 200);
    (leader, follower, server)
}

fn send_rest(server: &mut Peer) {
    for number in 1..CHUNKS {
        server.send(framed(number));
    }
    server.send("0\r\n\r\n");
}

fn in_flight(proxy: &Proxy) -> u64 {
    proxy.server().cache().stats().in_flight
}

#[test]
fn a_slow_client_gets_every_byte_whether_it_leads_or_follows() {
    for leader_is_slow in [true, false] {
        let (origin, silent) = (Origin::start(), Origin::start());
        let proxy = Proxy::start(&format!(
            "{MEMORY}\ntimeouts {{ response \"500ms\" }}\nsite \"http://127.0.0.1:0\" {{ cache; \
             route \"/silent\" {{ to \"{}\" }}; route \"/*\" {{ to \"{}\" }} }}",
            silent.url(),
            origin.url()
        ));
        let (leader, follower, mut server) = two(&proxy, &origin);
        let (mut slow, mut fast) =
            if leader_is_slow { (leader, follower) } else { (follower, leader) };
        thread::scope(|scope| {
            scope.spawn(|| send_rest(&mut server));
            let fast = scope.spawn(move || fast.recv_chunked().0);
            until("there is no more room", || in_flight(&proxy) > MUCH);
            if leader_is_slow {
                // The fast one waits for longer than a server may be silent.
                for _ in 0..2 {
                    assert_eq!(site::get(&mut proxy.client(), "/silent").status(), 504);
                }
            }
            assert!(slow.recv_chunked().0 == body(), "{leader_is_slow}");
            assert!(fast.join().expect("client") == body(), "{leader_is_slow}");
        });
        assert!(in_flight(&proxy) <= 16 << 20);
        origin.expect_no_connection();
    }
}

/// Where nobody is too slow for himself.
fn unhurried(origin: &Origin) -> Proxy {
    Proxy::start(&format!(
        "{MEMORY}\nlimits {{ min-rate \"off\" grace=\"1s\" }}\n\
         site \"http://127.0.0.1:0\" {{ cache; to \"{}\" }}",
        origin.url()
    ))
}

#[test]
fn who_stalls_for_good_holds_nobody_back() {
    let origin = Origin::start();
    let proxy = unhurried(&origin);
    let (mut leader, mut stalled, mut server) = two(&proxy, &origin);
    thread::scope(|scope| {
        scope.spawn(|| send_rest(&mut server));
        assert!(leader.recv_chunked().0 == body());
    });
    // It sees that this is not all.
    let received = stalled.recv_until_gone();
    assert!(received.len() < body().len(), "{} bytes", received.len());
    assert!(!received.ends_with(b"0\r\n\r\n"));
}

#[test]
fn a_stream_that_leads_is_waited_for_until_it_is_given_up() {
    let origin = Origin::start();
    let proxy = unhurried(&origin);
    let mut leader = Client::connect(proxy.first());
    leader.habits.open_windows = false;
    let stream = leader.open_get("/big");
    let mut server = origin.accept();
    server.recv_request();
    server.send(HEAD);
    server.send(framed(0));
    leader.expect_headers(stream);
    let mut follower = proxy.client();
    follower.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(follower.recv_head().status(), 200);
    thread::scope(|scope| {
        scope.spawn(|| send_rest(&mut server));
        let follower = scope.spawn(move || follower.recv_chunked().0);
        until("there is no more room", || in_flight(&proxy) > MUCH);
        assert!(!follower.is_finished());
        leader.send(&Frame::reset(stream, code::CANCEL));
        assert!(follower.join().expect("client") == body());
    });
    assert!(leader.sync(), "its connection goes on");
}

#[test]
fn who_takes_a_little_now_and_then_is_waited_for() {
    let (origin, silent) = (Origin::start(), Origin::start());
    let proxy = Proxy::start(&format!(
        "{MEMORY}\nlimits {{ min-rate \"off\" grace=\"20s\" }}\ntimeouts {{ response \"50ms\" }}\n\
         site \"http://127.0.0.1:0\" {{ cache; route \"/silent\" {{ to \"{}\" }}; \
         route \"/*\" {{ to \"{}\" }} }}",
        silent.url(),
        origin.url()
    ));
    let (mut leader, mut slow, mut server) = two(&proxy, &origin);
    thread::scope(|scope| {
        scope.spawn(|| send_rest(&mut server));
        let leader = scope.spawn(move || leader.recv_chunked().0);
        until("there is no more room", || in_flight(&proxy) > MUCH);
        // Too little for the kernel to want more of us: that it is taken shows elsewhere.
        let mut taken = Vec::new();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            taken.extend(slow.recv_exact(20_000));
            assert_eq!(site::get(&mut proxy.client(), "/silent").status(), 504);
        }
        taken.extend(slow.recv_rest());
        assert!(taken.len() > body().len() && taken.ends_with(b"\r\n0\r\n\r\n"));
        assert!(leader.join().expect("client") == body());
    });
}

#[test]
fn what_nobody_waits_for_and_cannot_be_kept_is_given_up() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "{MEMORY}\nsite \"http://127.0.0.1:0\" {{ cache; to \"{}\" }}",
        origin.url()
    ));
    let mut leader = asked(&proxy, "/big");
    let mut server = origin.accept();
    server.recv_request();
    server.send(HEAD);
    let (report, sent) = mpsc::channel();
    let sender = thread::spawn(move || {
        let many = (0..100 * CHUNKS).take_while(|number| server.try_send(framed(*number)).is_ok());
        _ = report.send(many.count());
    });
    assert_eq!(leader.recv_head().status(), 200);
    until("some of it is kept", || in_flight(&proxy) > 1 << 20);
    // So far it might have been stored.
    leader.reset();
    let sent = sent.recv().expect("a sender");
    assert!(sent < 100 * CHUNKS, "the origin sends for ever");
    sender.join().expect("a sender");
    until("nothing is left of it", || in_flight(&proxy) == 0);
}

#[test]
fn who_is_left_behind_within_a_slice_gets_it_again() {
    const SLICE: usize = 12 << 20;
    let whole = &body()[..2 * SLICE];
    let (origin, hog) = (Origin::start(), Origin::start());
    let proxy = Proxy::start(&format!(
        "{MEMORY}\nlimits {{ min-rate \"off\" grace=\"1s\" }}\n\
         site \"http://127.0.0.1:0\" {{\n\
         route \"/hog\" {{ cache; to \"{}\" }}\n\
         route \"/*\" {{ cache {{ slice \"12MiB\" }}; to \"{}\" }}\n}}",
        hog.url(),
        origin.url()
    ));
    // Most of the room is taken, by something that does not come to an end.
    let other = asked(&proxy, "/hog");
    let mut holder = hog.accept();
    holder.recv_request();
    holder.send(HEAD);
    (0..150).for_each(|number| _ = holder.send(framed(number)));
    until("it is taken", || in_flight(&proxy) > 14 << 20);
    let slice = |request: &Message| -> Vec<u8> {
        let range = request.get("Range").expect("a range");
        let first: usize = range["bytes=".len()..].split('-').next().unwrap().parse().unwrap();
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {SLICE}\r\nETag: \"v\"\r\n\
             Cache-Control: max-age=60\r\nContent-Range: bytes {first}-{}/{}\r\n\r\n",
            first + SLICE - 1,
            2 * SLICE
        );
        [head.as_bytes(), &whole[first..first + SLICE]].concat()
    };
    let mut leader = asked(&proxy, "/big");
    let mut server = origin.accept();
    let request = server.recv_request();
    let answer = slice(&request);
    server.send(&answer[..CHUNK]);
    assert_eq!(leader.recv_head().status(), 200);
    let mut stalled = asked(&proxy, "/big");
    assert_eq!(stalled.recv_head().status(), 200);
    thread::scope(|scope| {
        let served = scope.spawn(|| {
            let mut ranges = vec![request.get("Range").expect("a range")];
            server.send(&answer[CHUNK..]);
            while let Some(request) = server.recv_head_or_end() {
                server.send(slice(&request));
                ranges.extend(request.get("Range"));
            }
            ranges
        });
        assert!(leader.recv_exact(2 * SLICE) == whole);
        assert!(stalled.recv_exact(2 * SLICE) == whole);
        drop((holder, other));
        proxy.stop();
        // What was gone of the first slice has come again.
        let ranges = served.join().expect("an origin");
        let (first, second) = ("bytes=0-12582911", "bytes=12582912-25165823");
        assert_eq!(ranges[..3], [first, second, first]);
    });
}
