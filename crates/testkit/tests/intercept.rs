//! TLS that is opened on the way: what clients, servers and the log see of it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use testkit::h2::Client;
use testkit::{Authority, Identity, Message, Origin, Peer, Proxy, Scratch, Served, tls_client};
use tls::authority::{NewAuthority, create, save};

/// A proxy with an authority of its own, which trusts `theirs`.
struct World {
    proxy: Proxy,
    theirs: Authority,
    text: String,
    /// What trusts the proxy's authority and nobody else.
    client: Arc<ClientConfig>,
}

impl World {
    /// `intercept` stands in the block of that name, `more` in that of the listener.
    fn new(intercept: &str, more: &str) -> Self {
        let (scratch, theirs) = (Scratch::new(), Authority::new("Theirs"));
        let new =
            NewAuthority { name: "Ours", lifetime: Duration::from_secs(86_400), constraints: &[] };
        let ours = create(&new).expect("authority");
        save(&scratch.path().join("state"), &ours, false).expect("files");
        scratch.write("theirs.pem", &theirs.pem);
        let text = format!(
            "state \"state\"\nusers \"staff\" {{ user \"alice\" password=\"wonderland\" }}\n\
             forward \"127.0.0.1:0\" {{\n    {more}\n    allow \"127.0.0.0/8\" \"::1\"\n    \
             intercept {{ trust \"theirs.pem\"; {intercept} }}\n}}"
        );
        let proxy = Proxy::start_in(scratch, &text);
        Self { proxy, theirs, text, client: trusting(&ours.certificate) }
    }

    fn origin(&self, name: &str) -> Origin {
        Origin::start().with_tls(self.theirs.issue(&[name]).server(None))
    }

    fn served(&self, identity: &Identity) -> Served {
        let origin = Origin::start().with_tls(identity.server(None));
        Served::start(origin, |_| answer("content"))
    }

    /// A tunnel to the origin, and TLS inside it with whoever answers.
    fn inside(&self, target: &str, name: &str) -> Peer {
        tunnel(&self.proxy, target).into_tls(&self.client, name).expect("TLS")
    }
}

fn trusting(pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn tunnel(proxy: &Proxy, target: &str) -> Peer {
    let mut client = proxy.client();
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
    client
}

fn get(client: &mut Peer, host: &str, path: &str) -> Message {
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.7\r\n\
         Proxy-Authorization: Basic c2VjcmV0\r\n\
         Proxy_Authorization: Basic c2VjcmV0\r\n\r\n"
    ));
    client.recv_response()
}

#[test]
fn requests_inside_are_served_like_any_other() {
    let world = World::new("", "");
    let origin = world.served(&world.theirs.issue(&["a.example"]));
    let (target, port) = (origin.address().to_string(), origin.address().port());
    let mut client = world.inside(&target, "a.example");
    let host = format!("a.example:{port}");
    for path in ["/one?x=1", "/two"] {
        let response = get(&mut client, &host, path);
        assert_eq!((response.status(), response.body_text()), (200, "content".to_owned()));
        assert!(response.get("Via").is_some_and(|via| via.starts_with("1.1 bifrons-")));
    }
    drop(client);
    let requests = origin.requests();
    assert_eq!(origin.connections(), 1, "the connection that was verified was not used");
    assert_eq!(requests[0].target(), "/one?x=1");
    for request in &requests {
        assert_eq!(request.get("Host").as_deref(), Some(&*host));
        assert!(!request.has("Proxy-Authorization") && !request.has("Proxy_Authorization"));
        assert!(!request.has("X-Forwarded-For"));
    }
    let log = world.proxy.stop_and_read();
    let seen: Vec<_> = log.iter().map(|line| line["method"].as_str().unwrap()).collect();
    assert_eq!(seen, ["CONNECT", "GET", "GET"]);
    assert_eq!(log[1]["target"], "/one?x=1");
}

#[test]
fn a_name_in_the_target_is_what_counts() {
    let world = World::new("", "");
    let origin = world.served(&world.theirs.issue(&["localhost"]));
    let target = format!("localhost:{}", origin.address().port());
    let mut client = world.inside(&target, "localhost");
    assert_eq!(get(&mut client, &target, "/").body_text(), "content");
    // The client asks for a name that it has not asked a tunnel to: our certificate is not for it.
    let error = tunnel(&world.proxy, &target).into_tls(&world.client, "a.example").err();
    assert!(error.is_some_and(|error| error.to_string().contains("not valid for name")));
}

#[test]
fn an_address_without_a_name() {
    let world = World::new("", "");
    let origin = world.served(&world.theirs.issue(&["127.0.0.1"]));
    let target = origin.address().to_string();
    let mut client = world.inside(&target, "127.0.0.1");
    assert_eq!(get(&mut client, &target, "/").body_text(), "content");
}

#[test]
fn what_is_wrong_with_the_server_is_told_and_nothing_of_it_shown() {
    let world = World::new("", "");
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    for (what, identity) in [
        ("unknown issuer", Authority::new("Nobody's").issue(&["a.example"])),
        ("another name", world.theirs.issue(&["b.example"])),
        (
            "expired",
            world.theirs.issue_with(&["a.example"], |params| {
                params.not_after = yesterday.into();
            }),
        ),
    ] {
        let origin = world.served(&identity);
        let mut client = world.inside(&origin.address().to_string(), "a.example");
        let host = format!("a.example:{}", origin.address().port());
        // Now, and however often it is asked for.
        for _ in 0..2 {
            let response = get(&mut client, &host, "/");
            assert_eq!(response.status(), 502, "{what}");
            let status = response.get("Proxy-Status").expect("Proxy-Status");
            assert!(status.contains("error=tls_certificate_error"), "{what}: {status}");
            assert!(!response.text().contains("content"), "{what}");
        }
        assert!(origin.requests().is_empty(), "{what}");
    }
}

#[test]
fn what_is_excepted_passes_unchanged() {
    let world = World::new("except \"bank.example\"", "");
    let theirs = tls_client(&world.theirs, None);
    for name in ["bank.example", "www.bank.example"] {
        let origin = world.served(&world.theirs.issue(&[name]));
        let client = tunnel(&world.proxy, &origin.address().to_string());
        let mut client = client.into_tls(&theirs, name).expect("their certificate");
        assert_eq!(get(&mut client, name, "/").body_text(), "content");
        assert!(origin.request().has("Proxy-Authorization"), "it was touched");
    }
    let origin = world.served(&world.theirs.issue(&["a.example"]));
    let opened = tunnel(&world.proxy, &origin.address().to_string());
    assert!(opened.into_tls(&theirs, "a.example").is_err(), "it was not opened");
}

#[test]
fn only_what_is_named_is_opened() {
    let world = World::new("host \"*.shop.example\"", "");
    let theirs = tls_client(&world.theirs, None);
    for (name, opened) in [("www.shop.example", true), ("shop.example", false)] {
        let origin = world.served(&world.theirs.issue(&[name]));
        let trust = if opened { &world.client } else { &theirs };
        let client = tunnel(&world.proxy, &origin.address().to_string());
        assert!(client.into_tls(trust, name).is_ok(), "{name}");
    }
}

#[test]
fn what_is_not_tls_passes_unchanged() {
    let (world, origin) = (World::new("", ""), Origin::start());
    let target = origin.address().to_string();
    let mut client = tunnel(&world.proxy, &target);
    let mut upstream = origin.accept();
    client.send("\x05\x01 not TLS at all");
    upstream.expect("\x05\x01 not TLS at all");
    upstream.send("answer");
    client.expect("answer");
    // A server that speaks first, too.
    let mut client = tunnel(&world.proxy, &target);
    let mut upstream = origin.accept();
    upstream.send("220 mail.example\r\n");
    client.expect("220 mail.example\r\n");
    client.send("EHLO a.example\r\n");
    upstream.expect("EHLO a.example\r\n");
    // What is no end of a ClientHello is no way round.
    let mut client = tunnel(&world.proxy, &target);
    let mut upstream = origin.accept();
    let endless = [[22, 3, 1, 0x40, 0].as_slice(), &[1, 0, 0xff, 0xff], &[0; 16_380]].concat();
    let _ = client.try_send(endless);
    assert_eq!(client.recv_until_gone(), b"");
    upstream.expect_close();
}

#[test]
fn a_tunnel_is_for_its_host_alone() {
    let world = World::new("", "");
    let origin = world.served(&world.theirs.issue(&["a.example"]));
    let port = origin.address().port();
    let mut client = world.inside(&origin.address().to_string(), "a.example");
    for host in ["b.example".to_owned(), format!("b.example:{port}"), "a.example".to_owned()] {
        let response = get(&mut client, &host, "/");
        assert_eq!(response.status(), 421, "{host}");
    }
    let target = format!("a.example:{port}");
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert_eq!(client.recv_response().status(), 405);
    assert_eq!(get(&mut client, &target, "/").status(), 200);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn rules_see_the_name_inside() {
    let world = World::new("", "deny \"b.example\"");
    let origin = world.served(&world.theirs.issue(&["a.example", "b.example"]));
    for (name, status) in [("a.example", 200), ("b.example", 403)] {
        let mut client = world.inside(&origin.address().to_string(), name);
        let host = format!("{name}:{}", origin.address().port());
        assert_eq!(get(&mut client, &host, "/").status(), status, "{name}");
    }
}

#[test]
fn the_user_of_the_tunnel_is_that_of_its_requests() {
    let world = World::new("", "auth users=\"staff\"");
    let origin = world.served(&world.theirs.issue(&["a.example"]));
    let target = origin.address();
    let mut client = world.proxy.client();
    client.send(format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\
         Proxy-Authorization: Basic YWxpY2U6d29uZGVybGFuZA==\r\n\r\n"
    ));
    assert_eq!(client.recv_head().status(), 200);
    let mut client = client.into_tls(&world.client, "a.example").expect("TLS");
    let host = format!("a.example:{}", target.port());
    assert_eq!(get(&mut client, &host, "/").status(), 200);
    drop(client);
    for line in world.proxy.stop_and_read() {
        assert_eq!(line["user"], "alice", "{line}");
    }
}

#[test]
fn what_is_no_longer_opened_is_asked_for_anew() {
    let world = World::new("", "");
    let origin = world.served(&world.theirs.issue(&["a.example"]));
    let (target, host) =
        (origin.address().to_string(), format!("a.example:{}", origin.address().port()));
    let mut client = world.inside(&target, "a.example");
    assert_eq!(get(&mut client, &host, "/").status(), 200);
    world.proxy.reload(&world.text.replace("trust", "except \"a.example\"; trust"));
    assert_eq!(get(&mut client, &host, "/").status(), 421);
    client.expect_close();
    let client = tunnel(&world.proxy, &target);
    let mut client = client.into_tls(&tls_client(&world.theirs, None), "a.example").expect("TLS");
    assert_eq!(get(&mut client, &host, "/").status(), 200);
}

fn h2_get(client: &mut Client, authority: &str, path: &str) -> (u16, String) {
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)];
    let stream = client.open(&fields);
    let response = client.response(stream);
    (response.status, response.text())
}

#[test]
fn http2_inside() {
    let world = World::new("", "");
    let origin = world.served(&world.theirs.issue(&["a.example"]));
    let mut config = ClientConfig::clone(&world.client);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = tunnel(&world.proxy, &origin.address().to_string());
    let client = client.into_tls(&Arc::new(config), "a.example").expect("TLS");
    assert_eq!(client.session().alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Client::greet(client, &[]);
    let host = format!("a.example:{}", origin.address().port());
    for path in ["/one", "/two"] {
        assert_eq!(h2_get(&mut client, &host, path), (200, "content".to_owned()));
    }
    assert_eq!(h2_get(&mut client, "b.example", "/").0, 421);
    assert_eq!(h2_get(&mut client, &host, "/three").0, 200);
    let targets: Vec<_> = origin.requests().iter().map(Message::target).collect();
    assert_eq!(targets, ["/one", "/two", "/three"]);
}

/// A stream of HTTP/2 as bytes.
struct Bytes<'a> {
    client: &'a mut Client,
    stream: u32,
    received: Vec<u8>,
}

impl Read for Bytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.received.is_empty() {
            let (data, end) = self.client.expect_data(self.stream);
            self.received = data;
            if end {
                break;
            }
        }
        let count = out.len().min(self.received.len());
        out[..count].copy_from_slice(&self.received[..count]);
        self.received.drain(..count);
        Ok(count)
    }
}

impl Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.client.data(self.stream, bytes, false);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_tunnel_in_a_stream_of_http2() {
    let world = World::new("", "");
    let origin = world.served(&world.theirs.issue(&["a.example"]));
    let mut client = Client::connect(world.proxy.first());
    let target = origin.address().to_string();
    let stream = client.begin(&[(":method", "CONNECT"), (":authority", &target)]);
    let fields = client.expect_headers(stream);
    assert_eq!(fields[0], (":status".to_owned(), "200".to_owned()));
    let mut bytes = Bytes { client: &mut client, stream, received: Vec::new() };
    let name = ServerName::try_from("a.example").expect("name");
    let mut session = ClientConnection::new(Arc::clone(&world.client), name).expect("TLS");
    let mut inside = rustls::Stream::new(&mut session, &mut bytes);
    let host = format!("a.example:{}", origin.address().port());
    for _ in 0..2 {
        write!(inside, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("write");
        let mut response = Vec::new();
        while !response.ends_with(b"content") {
            let mut piece = [0; 1024];
            let count = inside.read(&mut piece).expect("read");
            assert!(count > 0, "{}", String::from_utf8_lossy(&response));
            response.extend_from_slice(&piece[..count]);
        }
        assert!(response.starts_with(b"HTTP/1.1 200 "));
    }
    assert_eq!(origin.connections(), 1);
    // And one that passes unchanged.
    let plain = Origin::start();
    let target = plain.address().to_string();
    let stream = client.begin(&[(":method", "CONNECT"), (":authority", &target)]);
    client.expect_headers(stream);
    let mut upstream = plain.accept();
    client.data(stream, "question", false);
    upstream.expect("question");
    upstream.send("answer");
    drop(upstream);
    assert_eq!(client.expect_data(stream).0, b"answer");
}

#[test]
fn websockets_inside() {
    let world = World::new("", "");
    let origin = world.origin("a.example");
    let port = origin.address().port();
    let opening = {
        let (proxy, target) = (&world.proxy, origin.address().to_string());
        let client = tunnel(proxy, &target);
        let (config, upstream) = (
            Arc::clone(&world.client),
            std::thread::spawn(move || {
                let upstream = origin.accept();
                (origin, upstream)
            }),
        );
        let client = client.into_tls(&config, "a.example").expect("TLS");
        let (_, upstream) = upstream.join().expect("origin");
        (client, upstream)
    };
    let (mut client, mut upstream) = opening;
    client.send(format!(
        "GET /chat HTTP/1.1\r\nHost: a.example:{port}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    let request = upstream.recv_request();
    assert_eq!(request.get("Upgrade").as_deref(), Some("websocket"));
    upstream.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    assert_eq!(client.recv_head().status(), 101);
    for round in 0..5 {
        client.send(format!("\x01ping{round}"));
        upstream.expect(format!("\x01ping{round}"));
        upstream.send(format!("\x02pong{round}"));
        client.expect(format!("\x02pong{round}"));
    }
}

#[test]
fn socks_may_lead_to_it_too() {
    let world = World::new("", "");
    let origin = world.served(&world.theirs.issue(&["a.example"]));
    let port = origin.address().port();
    let mut client = world.proxy.client();
    client.send([5, 1, 0]).expect([5, 0]);
    client.send([5, 1, 0, 1, 127, 0, 0, 1]).send(port.to_be_bytes());
    assert_eq!(client.recv_exact(10)[1], 0);
    let mut client = client.into_tls(&world.client, "a.example").expect("TLS");
    assert_eq!(get(&mut client, &format!("a.example:{port}"), "/").body_text(), "content");
}

/// Bytes of resident memory at most, so far.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).expect("number") * 1024
}

#[test]
fn a_large_body_passes_through() {
    const PIECE: usize = 256 * 1024;
    const PIECES: usize = 400;
    let world = World::new("", "");
    let origin = world.origin("a.example");
    let (target, port) = (origin.address().to_string(), origin.address().port());
    let sending = std::thread::spawn(move || {
        let mut upstream = origin.accept();
        upstream.recv_request();
        let length = PIECE * PIECES;
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        for number in 0..PIECES {
            upstream.send(vec![number as u8; PIECE]);
        }
        upstream
    });
    let mut client = world.inside(&target, "a.example");
    client.send(format!("GET / HTTP/1.1\r\nHost: a.example:{port}\r\n\r\n"));
    assert_eq!(client.recv_head().status(), 200);
    let before = peak();
    for number in 0..PIECES {
        assert_eq!(client.recv_exact(PIECE), vec![number as u8; PIECE], "piece {number}");
    }
    let grown = peak() - before;
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes for {} that passed", PIECE * PIECES);
    drop(sending.join());
}

#[test]
fn what_cannot_sign_is_refused_at_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let forward = "forward \"127.0.0.1:0\" { intercept }";
    let start = |scratch: Scratch, text: &str| match Proxy::try_start_in(scratch, text) {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    };
    let text = format!("state \"state\"\n{forward}");
    let error = start(Scratch::new(), &text);
    assert!(error.contains("ca.pem") || error.contains("ca.key"), "{error}");
    let scratch = Scratch::new();
    let new =
        NewAuthority { name: "Ours", lifetime: Duration::from_secs(86_400), constraints: &[] };
    let state = scratch.path().join("state");
    let (_, key) = save(&state, &create(&new).expect("authority"), false).expect("files");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).expect("mode");
    let error = start(scratch, &text);
    assert!(error.contains("others than its owner can read"), "{error}");
    assert!(error.contains("0644"), "{error}");
}

/// With curl, where it is installed.
#[test]
fn curl_trusts_the_authority() {
    let world = World::new("", "");
    let origin = world.served(&world.theirs.issue(&["localhost"]));
    let ca = world.proxy.scratch().path().join("state/ca.pem");
    let url = format!("https://localhost:{}/", origin.address().port());
    for (scheme, version) in
        [("http", "--http1.1"), ("http", "--http2"), ("socks5h", "--http2"), ("socks5", "--http2")]
    {
        let outcome = std::process::Command::new("curl")
            .args(["-sS", "--max-time", "10", "--noproxy", "", version, "--cacert"])
            .arg(&ca)
            .args(["-x", &format!("{scheme}://{}", world.proxy.first()), &url])
            .output();
        let Ok(outcome) = outcome else { return };
        let error = String::from_utf8_lossy(&outcome.stderr);
        assert_eq!(outcome.stdout, b"content", "{scheme} {version}: {error}");
    }
}
