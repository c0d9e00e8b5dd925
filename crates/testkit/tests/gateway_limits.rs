//! What users of the gateway may use: quotas at the byte, budgets, rates, and the books about it.

mod gateway;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use accounts::{By, UsageQuery, UsageRow};
use gateway::{basic, connect, get, get_inside, retry_after, told};
use testkit::h2::Client;
use testkit::{Caller, Message, Origin, Peer, Proxy, Served};

/// A listener for these users, without exits unless `more` says so.
fn gateway(users: &str, more: &str) -> Proxy {
    Proxy::start(&text(users, more))
}

fn text(users: &str, more: &str) -> String {
    format!(
        "users \"staff\" {{\n    time-zone \"UTC\"\n    {users}\n}}\n\
         forward \"127.0.0.1:0\" {{\n    auth users=\"staff\"\n    allow \"127.0.0.0/8\"\n    {more}\n}}\n"
    )
}

fn alice() -> String {
    basic("alice", "secret")
}

/// An origin that answers every request with a body of so many bytes.
fn large(bytes: usize) -> Served {
    Origin::serve(move |_| {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + bytes, b'x');
        answer
    })
}

/// The same in the chunked coding.
fn large_chunked(bytes: usize) -> Served {
    Origin::serve(move |_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..bytes / 1000 {
            answer.extend(b"3e8\r\n");
            answer.resize(answer.len() + 1000, b'x');
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\n\r\n");
        answer
    })
}

/// Bytes of the letter `x` until the connection ends, in whatever way.
fn count_body(client: &mut Peer) -> usize {
    let rest = client.recv_until_gone();
    rest.iter().filter(|byte| **byte == b'x').count()
}

/// Nothing is left: whoever asks is told why, and until when.
fn expect_refused(answer: &Message, word: &str, longest: u64) {
    assert_eq!(answer.status(), 429, "{}", answer.text());
    assert!(told(answer).contains(word), "{}", told(answer));
    assert!((1..=longest).contains(&retry_after(answer)), "{}", answer.text());
}

const DAY: u64 = 24 * 3600;

#[test]
fn a_quota_stops_a_download_at_the_byte() {
    for (quota, size) in [(100, 1000), (70_001, 100_000), (1_000_003, 4_000_000)] {
        for origin in [large(size), large_chunked(size)] {
            let proxy =
                gateway(&format!("user \"alice\" password=\"secret\" quota=\"{quota}B/day\""), "");
            let mut client = proxy.client();
            client.send(format!(
                "GET {0}/ HTTP/1.1\r\nHost: {1}\r\n{2}\r\n",
                origin.url(),
                origin.address(),
                alice()
            ));
            assert_eq!(client.recv_head().status(), 200);
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
    let proxy = gateway("user \"alice\" password=\"secret\" quota=\"1000B/month\"", "");
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
fn a_quota_stops_an_upload_at_the_byte() {
    for (quota, size) in [(100_usize, 1000), (100_001, 2_000_000)] {
        let origin = Origin::start();
        let proxy =
            gateway(&format!("user \"alice\" password=\"secret\" quota=\"{quota}B/day\""), "");
        let mut client = proxy.client();
        let mut writer = client.socket().try_clone().expect("socket");
        let head = format!(
            "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: {size}\r\n{1}\r\n",
            origin.address(),
            alice()
        );
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
        "user \"alice\" password=\"secret\" quota=\"1600B/day\"\nuser \"bob\" password=\"secret\"",
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
    assert_eq!(client.response(stream).body.len(), 600);
    // What is left is less than an answer. The stream is reset behind it.
    let left = 1600 - used - 600;
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

const PRICED: &str = "exits \"world\" {\n    \
    address \"127.0.0.2\" name=\"dear\" country=\"CA\" price=\"10.00\"\n    \
    address \"127.0.0.3\" name=\"free\" country=\"US\"\n}\n";

#[test]
fn a_budget_is_spent_by_the_price_of_exits() {
    let origin = large(3_000_000);
    // A hundredth, at ten for 10⁹ bytes: a million bytes.
    let proxy = Proxy::start(&format!(
        "{PRICED}{}",
        text("user \"alice\" password=\"secret\" budget=\"0.01/month\"", "exit \"world\"")
    ));
    let shown = basic("alice-country-ca", "secret");
    let mut client = proxy.client();
    client.send(format!(
        "GET {0}/ HTTP/1.1\r\nHost: {1}\r\n{shown}\r\n",
        origin.url(),
        origin.address(),
    ));
    assert_eq!(client.recv_head().status(), 200);
    assert_eq!(count_body(&mut client), 1_000_000);
    let mut client = proxy.client();
    let answer = get(&mut client, origin.address(), &shown);
    expect_refused(&answer, "budget of the month", 31 * DAY);
    let answer = connect(&mut proxy.client(), origin.address(), &shown);
    expect_refused(&answer, "budget of the month", 31 * DAY);
    // What costs nothing can be had all the same, wished for or not.
    for name in ["alice-country-us", "alice", "alice"] {
        let answer = get(&mut client, origin.address(), &basic(name, "secret"));
        assert_eq!((answer.status(), answer.body.len()), (200, 3_000_000), "{name}");
    }
}

fn usage(state: &Path, by: &[By]) -> Vec<UsageRow> {
    let query = UsageQuery { by: by.to_vec(), ..UsageQuery::default() };
    query.read(state).expect("usage")
}

#[test]
fn the_books_tell_who_used_what_by_which_exit_and_for_how_much() {
    let origin = large(100_000);
    let state = tempfile::tempdir().expect("folder");
    let proxy = Proxy::start(&format!(
        "state \"{}\"\n{PRICED}{}",
        state.path().display(),
        text(
            "user \"alice\" password=\"secret\"\nuser \"bob\" password=\"secret\"",
            "exit \"world\""
        )
    ));
    let mut client = proxy.client();
    for name in ["alice-country-ca", "bob-country-us", "alice-country-ca", "bob-country-ca"] {
        let answer = get(&mut client, origin.address(), &basic(name, "secret"));
        assert_eq!(answer.body.len(), 100_000);
    }
    client.send(format!(
        "POST {0}/ HTTP/1.1\r\nHost: {1}\r\nContent-Length: 5000\r\n{2}\r\n{3}",
        origin.url(),
        origin.address(),
        basic("bob-country-us", "secret"),
        "x".repeat(5000)
    ));
    assert_eq!(client.recv_response().status(), 200);
    // What is refused is not counted.
    assert_eq!(get(&mut client, origin.address(), "").status(), 407);
    assert_eq!(
        get(&mut client, origin.address(), &basic("bob-country-de", "secret")).status(),
        502
    );
    drop(client);
    proxy.stop();
    drop(proxy);
    let rows: Vec<_> = usage(state.path(), &[By::Set, By::User, By::Exit, By::Target])
        .into_iter()
        .map(|row| {
            let text = |field: Option<String>| field.unwrap_or_default();
            assert_eq!(text(row.target), "127.0.0.1");
            (
                text(row.set) + "/" + &text(row.user),
                text(row.exit),
                row.up,
                row.down,
                row.requests,
                row.cost,
            )
        })
        .collect();
    let row = |user: &str, exit: &str, up, down, requests, cost| {
        (format!("staff/{user}"), exit.to_owned(), up, down, requests, cost)
    };
    let mut sorted = rows.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            // A tenth of a thousandth of ten.
            row("alice", "dear", 0, 200_000, 2, 2000),
            row("bob", "dear", 0, 100_000, 1, 1000),
            row("bob", "free", 5000, 200_000, 2, 0),
        ]
    );
}

#[test]
fn a_quota_goes_on_where_it_was_after_a_restart() {
    let origin = large(600);
    let state = tempfile::tempdir().expect("folder");
    let text = format!(
        "state \"{}\"\n{}",
        state.path().display(),
        text("user \"alice\" password=\"secret\" quota=\"1000B/month\"", "")
    );
    let proxy = Proxy::start(&text);
    let mut client = proxy.client();
    assert_eq!(get(&mut client, origin.address(), &alice()).body.len(), 600);
    drop(client);
    proxy.stop();
    drop(proxy);
    let proxy = Proxy::start(&text);
    let mut client = proxy.client();
    client.send(format!(
        "GET {0}/ HTTP/1.1\r\nHost: {1}\r\n{2}\r\n",
        origin.url(),
        origin.address(),
        alice()
    ));
    client.recv_head();
    assert_eq!(count_body(&mut client), 400);
    drop(client);
    proxy.stop();
    drop(proxy);
    let proxy = Proxy::start(&text);
    let answer = get(&mut proxy.client(), origin.address(), &alice());
    expect_refused(&answer, "quota of the month", 31 * DAY);
}

#[test]
fn a_reload_changes_limits_and_keeps_what_was_used() {
    let origin = large(600);
    let of = |quota: u32| {
        let users = format!("user \"alice\" password=\"secret\" quota=\"{quota}B/day\"");
        text(&users, "")
    };
    let proxy = Proxy::start(&of(600));
    let mut client = proxy.client();
    assert_eq!(get(&mut client, origin.address(), &alice()).body.len(), 600);
    assert_eq!(get(&mut client, origin.address(), &alice()).status(), 429);
    proxy.reload(&of(1200));
    assert_eq!(get(&mut client, origin.address(), &alice()).body.len(), 600);
    assert_eq!(get(&mut client, origin.address(), &alice()).status(), 429);
    proxy.reload(&text("user \"alice\" password=\"secret\"", ""));
    assert_eq!(get(&mut client, origin.address(), &alice()).body.len(), 600);
}

#[test]
fn a_tunnel_that_runs_feels_a_reload() {
    let origin = Origin::start();
    let proxy = gateway("user \"alice\" password=\"secret\"", "");
    let mut client = proxy.client();
    assert_eq!(connect(&mut client, origin.address(), &alice()).status(), 200);
    let mut server = origin.accept();
    server.send([b'x'; 500]);
    client.expect([b'x'; 500]);
    proxy.reload(&text("user \"alice\" password=\"secret\" quota=\"800B/day\"", ""));
    // Somebody has to ask for the new limits to be the account's.
    let _ = get(&mut proxy.client(), origin.address(), "");
    let _ = connect(&mut proxy.client(), origin.address(), &alice());
    let _ = server.try_send([b'x'; 1000]);
    assert_eq!(count_body(&mut client), 300);
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
