//! What users of the gateway may use: quotas at the byte, and rates.

mod gateway;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use gateway::used::{
    DAY, alice, count_body, expect_refused, gateway, heads_of_get, large, large_chunked, text,
};
use gateway::{basic, connect, get, get_inside, get_text, told};
use testkit::h2::Client;
use testkit::{Caller, Origin, Peer, Proxy};

#[test]
fn a_quota_stops_a_download_at_the_byte() {
    for (quota, size) in [(600, 2000), (70_001, 100_000), (1_000_003, 4_000_000)] {
        for origin in [large(size), large_chunked(size)] {
            let proxy =
                gateway(&format!("user \"alice\" password=\"secret\" quota=\"{quota}B/day\""), "");
            let mut client = proxy.client();
            let request = get_text(origin.address(), &alice());
            client.send(&request);
            let head = client.recv_head();
            assert_eq!(head.status(), 200);
            // Heads count too.
            let quota = quota - request.len() - head.head.len();
            assert_eq!(count_body(&mut client), quota, "of {size}");
            drop(client);
            let answer = get(&mut proxy.client(), origin.address(), &alice());
            expect_refused(&answer, "quota of the day", DAY);
            let answer = connect(&mut proxy.client(), origin.address(), &alice());
            expect_refused(&answer, "quota of the day", DAY);
            assert_eq!(origin.requests().len(), 1);
            let log = proxy.stop_and_read();
            assert_eq!(log[0]["bytes_out"], quota, "{}", log[0]);
            assert!(log[0].to_string().contains("quota_exceeded"), "{}", log[0]);
        }
    }
}

#[test]
fn what_fits_a_quota_is_served_to_its_end() {
    let origin = large(500);
    let quota = 2 * (500 + heads_of_get(&origin));
    let users = format!("user \"alice\" password=\"secret\" quota=\"{quota}B/month\"");
    let proxy = gateway(&users, "");
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = get(&mut client, origin.address(), &alice());
        assert_eq!((answer.status(), answer.body.len()), (200, 500));
    }
    let answer = get(&mut client, origin.address(), &alice());
    expect_refused(&answer, "quota of the month", 31 * DAY);
    // The connection goes on, for others too.
    assert_eq!(get(&mut client, origin.address(), "").status(), 407);
}

#[test]
fn heads_count_where_the_answer_is_from_the_cache() {
    let origin = Origin::serve(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\nCache-Control: max-age=500\r\n\r\n";
        let mut answer = head.as_bytes().to_vec();
        answer.resize(answer.len() + 500, b'x');
        answer
    });
    // One from the origin, and one from the cache.
    let both = |proxy: &Proxy| {
        let mut client = proxy.client();
        let mut bytes = 0;
        for _ in 0..2 {
            let answer = get(&mut client, origin.address(), &alice());
            assert_eq!((answer.status(), answer.body.len()), (200, 500));
            bytes += get_text(origin.address(), &alice()).len() + answer.head.len() + 500;
        }
        bytes
    };
    let quota = both(&gateway("user \"alice\" password=\"secret\"", "cache"));
    assert_eq!(origin.requests().len(), 1);
    let users = format!("user \"alice\" password=\"secret\" quota=\"{quota}B/day\"");
    let proxy = gateway(&users, "cache");
    assert_eq!(both(&proxy), quota);
    let answer = get(&mut proxy.client(), origin.address(), &alice());
    expect_refused(&answer, "quota of the day", DAY);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a_quota_stops_what_leaves_as_a_file_at_the_byte() {
    const SIZE: usize = 2_000_000;
    let origin = Origin::serve(|_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nCache-Control: max-age=500\r\n\r\n"
        );
        let mut answer = head.into_bytes();
        answer.resize(answer.len() + SIZE, b'x');
        answer
    });
    let users = "user \"alice\" password=\"secret\" quota=\"700001B/day\"\n\
                 user \"bob\" password=\"secret\"";
    let proxy = gateway(users, "cache");
    let mut bob = proxy.client();
    // Until it is a file as well.
    let deadline = Instant::now() + testkit::DEADLINE;
    while proxy.server().cache().stats().images == 0 {
        assert!(Instant::now() < deadline);
        let answer = get(&mut bob, origin.address(), &basic("bob", "secret"));
        assert_eq!((answer.status(), answer.body.len()), (200, SIZE));
    }
    let mut client = proxy.client();
    let request = get_text(origin.address(), &alice());
    client.send(&request);
    let head = client.recv_head();
    assert_eq!(head.status(), 200);
    assert_eq!(count_body(&mut client), 700_001 - request.len() - head.head.len());
    let answer = get(&mut proxy.client(), origin.address(), &alice());
    expect_refused(&answer, "quota of the day", DAY);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_quota_stops_an_upload_at_the_byte() {
    for (quota, size) in [(100_usize, 1000), (100_001, 2_000_000)] {
        let origin = Origin::start();
        let head = format!(
            "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: {size}\r\n{1}\r\n",
            origin.address(),
            alice()
        );
        let all = quota + head.len();
        let proxy =
            gateway(&format!("user \"alice\" password=\"secret\" quota=\"{all}B/day\""), "");
        let mut client = proxy.client();
        let mut writer = client.socket().try_clone().expect("socket");
        let sender = std::thread::spawn(move || {
            // The other side may have enough of it before.
            let _ = writer.write_all(head.as_bytes());
            let _ = writer.write_all(&vec![b'x'; size]);
        });
        let mut server = origin.accept();
        assert_eq!(server.recv_head().method(), "POST");
        assert_eq!(count_body(&mut server), quota, "of {size}");
        let answer = client.recv_response();
        expect_refused(&answer, "quota of the day", DAY);
        let _ = client.socket().shutdown(Shutdown::Both);
        sender.join().expect("sender");
        let answer = get(&mut proxy.client(), origin.address(), &alice());
        expect_refused(&answer, "quota of the day", DAY);
    }
}

#[test]
fn a_quota_stops_a_tunnel_at_the_byte_in_each_direction() {
    for (quota, size) in [(1000_usize, 5000_usize), (300_001, 3_000_000)] {
        for upwards in [false, true] {
            let origin = Origin::start();
            let proxy =
                gateway(&format!("user \"alice\" password=\"secret\" quota=\"{quota}B/day\""), "");
            let mut client = proxy.client();
            assert_eq!(connect(&mut client, origin.address(), &alice()).status(), 200);
            let mut server = origin.accept();
            let (from, to) =
                if upwards { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let mut writer = from.socket().try_clone().expect("socket");
            let sender = std::thread::spawn(move || {
                let _ = writer.write_all(&vec![b'x'; size]);
            });
            assert_eq!(count_body(to), quota, "upwards: {upwards}");
            sender.join().expect("sender");
            let answer = connect(&mut proxy.client(), origin.address(), &alice());
            expect_refused(&answer, "quota of the day", DAY);
        }
    }
}

#[test]
fn both_directions_of_a_tunnel_count() {
    let origin = Origin::start();
    let proxy = gateway("user \"alice\" password=\"secret\" quota=\"1000B/day\"", "");
    let mut client = proxy.client();
    assert_eq!(connect(&mut client, origin.address(), &alice()).status(), 200);
    let mut server = origin.accept();
    for _ in 0..3 {
        client.send([b'u'; 200]);
        server.expect([b'u'; 200]);
        server.send([b'd'; 100]);
        client.expect([b'd'; 100]);
    }
    // A hundred are left.
    let _ = client.try_send([b'x'; 200]);
    assert_eq!(count_body(&mut server), 100);
    assert!(client.recv_until_gone().is_empty());
}

/// Tunnels wherever the kernel puts them, and not a byte too many in all of them together.
#[test]
fn tunnels_on_several_cores_share_a_quota_exactly() {
    const QUOTA: usize = 5_000_001;
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "threads 2\n{}",
        text(&format!("user \"alice\" password=\"secret\" quota=\"{QUOTA}B/day\""), "")
    ));
    // One that only waits holds nothing back.
    let mut idle = proxy.client();
    assert_eq!(connect(&mut idle, origin.address(), &alice()).status(), 200);
    let _waiting = origin.accept();
    let tunnels: Vec<_> = (0..8)
        .map(|_| {
            let mut client = proxy.client();
            assert_eq!(connect(&mut client, origin.address(), &alice()).status(), 200);
            (client, origin.accept())
        })
        .collect();
    let work = |(client, server): (Peer, Peer)| {
        let mut writer = server.socket().try_clone().expect("socket");
        std::thread::spawn(move || {
            let piece = [b'x'; 64 * 1024];
            while writer.write_all(&piece).is_ok() {}
            drop(server);
        });
        std::thread::spawn(move || {
            let (mut socket, mut piece, mut count) = (client.socket(), [0; 65536], 0);
            while let Ok(read @ 1..) = socket.read(&mut piece) {
                count += read;
            }
            count
        })
    };
    let readers: Vec<_> = tunnels.into_iter().map(work).collect();
    let all: usize = readers.into_iter().map(|reader| reader.join().expect("reader")).sum();
    assert_eq!(all, QUOTA);
}

#[test]
fn socks_and_streams_of_http2_have_the_same_quota() {
    let origin = large(600);
    let proxy = gateway(
        "user \"alice\" password=\"secret\" quota=\"2100B/day\"\nuser \"bob\" password=\"secret\"",
        "http2 #true",
    );
    let port = origin.address().port().to_be_bytes();
    let mut socks = proxy.client();
    socks.send([5, 1, 2]).expect([5, 2]);
    socks.send(b"\x01\x05alice\x06secret").expect([1, 0]);
    socks.send([&[5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat());
    assert_eq!(socks.recv_exact(10)[..2], [5, 0]);
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    socks.send(request);
    let head = socks.recv_head();
    assert_eq!(socks.recv_exact(600).len(), 600);
    let used = request.len() + head.head.len() + 600;
    let mut client = Client::connect(proxy.first());
    let fields = |user: &str| {
        let shown = basic(user, "secret");
        let (_, value) = shown.trim().split_once(": ").expect("field");
        [
            (":method", "GET".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", "/".to_owned()),
            (":authority", origin.address().to_string()),
            ("proxy-authorization", value.to_owned()),
        ]
    };
    // Streams of two users on one connection: what one uses is none of the other's.
    let streams = [0; 4].map(|_| client.open(&fields("bob")));
    for stream in streams {
        let answer = client.response(stream);
        assert_eq!((answer.status, answer.body.len()), (200, 600));
    }
    let stream = client.open(&fields("alice"));
    let answer = client.response(stream);
    assert_eq!(answer.body.len(), 600);
    // Heads count as HTTP/1 would write them.
    let line = |name: &str, value: &str| name.len() + value.len() + 4;
    let asked = fields("alice");
    let head_up = format!("GET http://{}/\r\n", origin.address()).len()
        + line("host", &origin.address().to_string())
        + line("proxy-authorization", &asked[4].1);
    let own = answer.fields.iter().filter(|(name, _)| !name.starts_with(':'));
    let head_down =
        "HTTP/1.1 200 \r\n\r\n".len() + own.map(|(name, value)| line(name, value)).sum::<usize>();
    let heads = head_up + head_down;
    // What is left is less than an answer. The stream is reset behind it.
    let left = 2100 - used - 600 - 2 * heads;
    assert!((1..600).contains(&left), "{left}");
    let stream = client.open(&fields("alice"));
    let (mut received, bob) = (0, client.open(&fields("bob")));
    client.expect_headers(stream);
    while received < left {
        let (data, ended) = client.expect_data(stream);
        received += data.len();
        assert!(!ended, "it does not look whole");
    }
    assert_eq!(received, left);
    assert_eq!(client.response(bob).body.len(), 600);
    let stream = client.open(&fields("alice"));
    let answer = client.response(stream);
    assert_eq!(answer.status, 429);
    assert!(answer.get("retry-after").is_some());
}

#[test]
fn interim_responses_and_trailers_count() {
    let origin = Origin::start();
    let proxy = gateway("user \"alice\" password=\"secret\" quota=\"3000B/day\"", "");
    let mut client = proxy.client();
    let head = format!(
        "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n{1}\r\n",
        origin.address(),
        alice()
    );
    client.send(format!("{head}3\r\nabc\r\n0\r\nX-Behind: {}\r\n\r\n", "u".repeat(288)));
    let mut server = origin.accept();
    server.recv_request();
    let hint = format!("HTTP/1.1 103 Early Hints\r\nX-Hint: {}\r\n\r\n", "h".repeat(500));
    server.send(&hint);
    let interim = client.recv_head();
    assert_eq!(interim.status(), 103);
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n");
    server.send(format!("X-Behind: {}\r\n\r\n", "d".repeat(688)));
    let answer = client.recv_response();
    assert_eq!(answer.body_text(), "hello");
    // Each line of a trailer has twelve bytes around its value.
    let used = head.len() + 3 + 300 + interim.head.len() + answer.head.len() + 5 + 700;
    let left = 3000 - used;
    let request = get_text(origin.address(), &alice());
    client.send(&request);
    server.recv_head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n").send([b'x'; 3000]);
    let head = client.recv_head();
    assert_eq!(count_body(&mut client), left - request.len() - head.head.len());
}

/// Nobody gets more than heads for nothing: whoever has used all is told so.
#[test]
fn heads_alone_use_a_quota_up() {
    let origin = Caller::start();
    let proxy = gateway("user \"alice\" password=\"secret\" quota=\"2000B/day\"", "");
    let mut client = proxy.client();
    let request = format!(
        "HEAD http://{0}/ HTTP/1.1\r\nHost: {0}\r\nX-Long: {1}\r\n{2}\r\n",
        origin.address(),
        "l".repeat(700),
        alice()
    );
    let mut served = 0;
    let answer = loop {
        client.send(&request);
        let answer = client.recv_head();
        if answer.status() != 200 {
            break answer;
        }
        served += request.len() + answer.head.len();
    };
    assert!((2000..2000 + 2 * request.len()).contains(&served), "{served}");
    expect_refused(&answer, "quota of the day", DAY);
}

#[test]
fn a_bandwidth_holds_for_all_that_a_user_does() {
    let origin = large(300_000);
    let proxy = gateway("user \"alice\" password=\"secret\" bandwidth=\"200KB/s\"", "");
    let started = Instant::now();
    let mut plain = proxy.client();
    plain.send(format!(
        "GET {0}/ HTTP/1.1\r\nHost: {1}\r\n{2}\r\n",
        origin.url(),
        origin.address(),
        alice()
    ));
    let mut tunnel = proxy.client();
    assert_eq!(connect(&mut tunnel, origin.address(), &alice()).status(), 200);
    assert_eq!(get_inside(&mut tunnel, origin.address()).body.len(), 300_000);
    assert_eq!(plain.recv_response().body.len(), 300_000);
    // At most a quarter of a second's worth comes at once.
    assert!(started.elapsed() >= Duration::from_millis(2700), "{:?}", started.elapsed());
}

#[test]
fn connections_at_once_are_counted_and_given_back() {
    let origin = Origin::start();
    let proxy = gateway("user \"alice\" password=\"secret\" connections=2", "");
    let mut tunnels = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.client();
        assert_eq!(connect(&mut client, origin.address(), &alice()).status(), 200);
        tunnels.push((client, origin.accept()));
    }
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = connect(&mut client, origin.address(), &alice());
        assert_eq!((answer.status(), told(&answer).contains("connections")), (429, true));
        let length: usize = answer.get("Content-Length").expect("length").parse().expect("number");
        client.recv_exact(length);
    }
    // One goes: its place is there when the proxy has heard of it.
    drop(tunnels.pop());
    let began = Instant::now();
    loop {
        let mut client = proxy.client();
        if connect(&mut client, origin.address(), &alice()).status() == 200 {
            break;
        }
        assert!(began.elapsed() < testkit::DEADLINE, "the place is lost");
    }
}

#[test]
fn a_connection_that_waits_for_its_next_request_takes_no_place() {
    let origin = Caller::start();
    let proxy = gateway("user \"alice\" password=\"secret\" connections=1", "");
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            assert_eq!(get(client, origin.address(), &alice()).status(), 200);
        }
    }
}

#[test]
fn requests_in_a_time_are_counted_over_all_connections() {
    let origin = Caller::start();
    let proxy = gateway(
        "default requests=\"4/h\"\nuser \"alice\" password=\"secret\"\nuser \"bob\" password=\"secret\"",
        "",
    );
    for _ in 0..2 {
        assert_eq!(get(&mut proxy.client(), origin.address(), &alice()).status(), 200);
        assert_eq!(connect(&mut proxy.client(), origin.address(), &alice()).status(), 200);
    }
    let mut client = proxy.client();
    let answer = get(&mut client, origin.address(), &alice());
    expect_refused(&answer, "too many requests", 3600);
    assert_eq!(get(&mut client, origin.address(), &basic("bob", "secret")).status(), 200);
    // A wrong password takes nothing from anybody.
    for _ in 0..4 {
        assert_eq!(get(&mut client, origin.address(), &basic("bob", "wrong")).status(), 407);
    }
    for _ in 0..3 {
        assert_eq!(get(&mut client, origin.address(), &basic("bob", "secret")).status(), 200);
    }
    assert_eq!(get(&mut client, origin.address(), &basic("bob", "secret")).status(), 429);
}

/// A SOCKS5 client that has logged in.
fn socks_client(proxy: &Proxy) -> Peer {
    let mut client = proxy.client();
    client.send([5, 1, 2]).expect([5, 2]);
    client.send(b"\x01\x05alice\x06secret").expect([1, 0]);
    client
}

fn granted(client: &mut Peer) -> SocketAddr {
    let reply = client.recv_exact(10);
    assert_eq!(reply[..4], [5, 0, 0, 1]);
    let ip: [u8; 4] = reply[4..8].try_into().expect("four bytes");
    SocketAddr::from((ip, u16::from_be_bytes([reply[8], reply[9]])))
}

#[test]
fn a_connection_that_is_waited_for_counts_as_well() {
    let proxy =
        gateway("user \"alice\" password=\"secret\" quota=\"1000B/day\"", "socks-bind #true");
    let mut control = socks_client(&proxy);
    control.send([5, 2, 0, 1, 127, 0, 0, 1, 0, 0]);
    let listens = granted(&mut control);
    let mut peer = Peer::connect(listens);
    granted(&mut control);
    let _ = peer.try_send([b'x'; 3000]);
    assert_eq!(count_body(&mut control), 1000);
}

#[test]
fn a_tunnel_in_a_stream_of_http2_stops_at_the_byte() {
    const QUOTA: usize = 40_001;
    let origin = Origin::start();
    let users = format!("user \"alice\" password=\"secret\" quota=\"{QUOTA}B/day\"");
    let proxy = gateway(&users, "http2 #true");
    let mut client = Client::connect(proxy.first());
    let shown = alice();
    let (_, value) = shown.trim().split_once(": ").expect("field");
    let stream = client.begin(&[
        (":method", "CONNECT".to_owned()),
        (":authority", origin.address().to_string()),
        ("proxy-authorization", value.to_owned()),
    ]);
    let fields = client.expect_headers(stream);
    assert!(fields.iter().any(|(name, value)| name == ":status" && value == "200"), "{fields:?}");
    let mut server = origin.accept();
    // The window of the client takes it all.
    let _ = server.try_send(vec![b'x'; 60_000]);
    let mut received = 0;
    while received < QUOTA {
        received += client.expect_data(stream).0.len();
    }
    assert_eq!(received, QUOTA);
}

#[test]
fn what_follows_an_upgrade_counts() {
    let origin = Origin::start();
    let proxy = gateway("user \"alice\" password=\"secret\" quota=\"1000B/day\"", "");
    let mut client = proxy.client();
    let request = format!(
        "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nConnection: upgrade\r\nUpgrade: echo\r\n{1}\r\n",
        origin.address(),
        alice()
    );
    client.send(&request);
    let mut server = origin.accept();
    server.recv_head();
    server.send("HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    let head = client.recv_head();
    assert_eq!(head.status(), 101);
    let _ = server.try_send(vec![b'x'; 3000]);
    assert_eq!(count_body(&mut client), 1000 - request.len() - head.head.len());
}
