//! Users, exits and quotas of the gateway where TLS is opened on the way.

mod gateway;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use gateway::{basic, connect, retry_after, told};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use testkit::h2::Client;
use testkit::{Authority, Message, Peer, Proxy, Scratch};
use tls::authority::{NewAuthority, create, save};

/// A gateway that opens TLS, and an origin of TLS that answers with the address that it was
/// called from and so many bytes behind it.
struct World {
    proxy: Proxy,
    target: String,
    /// What trusts the proxy's authority and nobody else.
    client: Arc<ClientConfig>,
    /// One for each connection to the origin.
    connections: Receiver<()>,
}

impl World {
    fn new(users: &str, pool: &str, listener: &str) -> Self {
        let (scratch, theirs) = (Scratch::new(), Authority::new("Theirs"));
        let new =
            NewAuthority { name: "Ours", lifetime: Duration::from_secs(86_400), constraints: &[] };
        let ours = create(&new).expect("authority");
        save(&scratch.path().join("state"), &ours, false).expect("files");
        scratch.write("theirs.pem", &theirs.pem);
        let proxy = Proxy::start_in(
            scratch,
            &format!(
                "state \"state\"\nusers \"staff\" {{\n{users}\n}}\nexits \"world\" {{\n    \
                 address \"127.0.0.2\" name=\"us-1\" country=\"US\"\n    \
                 address \"127.0.0.3\" name=\"ca-1\" country=\"CA\"\n    {pool}\n}}\n\
                 forward \"127.0.0.1:0\" {{\n    auth users=\"staff\"\n    allow \"127.0.0.0/8\"\n    \
                 exit \"world\"\n    intercept {{ trust \"theirs.pem\" }}\n    {listener}\n}}\n"
            ),
        );
        let identity = theirs.issue(&["localhost", "127.0.0.1"]).server(None);
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let target = listener.local_addr().expect("address").to_string();
        let (sender, connections) = channel();
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, identity) = (sender.clone(), Arc::clone(&identity));
                std::thread::spawn(move || {
                    let Ok(peer) = Peer::over(stream).accept_tls(&identity) else { return };
                    let _ = sender.send(());
                    serve(peer);
                });
            }
        });
        Self { proxy, target, client: trusting(&ours.certificate), connections }
    }

    fn tunnel(&self, name: &str) -> Peer {
        let mut client = self.proxy.client();
        let answer = connect(&mut client, &self.target, &basic(name, "secret"));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        client
    }

    fn inside(&self, name: &str) -> Peer {
        self.tunnel(name).into_tls(&self.client, "127.0.0.1").expect("TLS")
    }

    fn get(&self, client: &mut Peer, path: &str) -> Message {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.target));
        client.recv_response()
    }
}

/// The path says how many bytes come behind the address.
fn serve(mut peer: Peer) {
    let from = peer.socket().peer_addr().expect("address").ip().to_string();
    while let Some(head) = peer.recv_head_or_end() {
        let more: usize = head.target().trim_start_matches('/').parse().unwrap_or(0);
        let body = format!("{from}{}", "x".repeat(more));
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if peer.try_send(answer).is_err() {
            return;
        }
    }
}

fn trusting(pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = Vec::new();
    Arc::new(config)
}

const STAFF: &str = "user \"alice\" password=\"secret\"\nuser \"bob\" password=\"secret\"";

#[test]
fn what_is_inside_leaves_by_the_exit_of_the_tunnel() {
    let world = World::new(STAFF, "", "");
    let (mut ca, mut us) = (world.inside("alice-country-ca"), world.inside("bob-country-us"));
    for _ in 0..3 {
        assert_eq!(world.get(&mut ca, "/").body_text(), "127.0.0.3");
        assert_eq!(world.get(&mut us, "/").body_text(), "127.0.0.2");
    }
    drop((ca, us));
    let log = world.proxy.stop_and_read();
    for line in &log {
        let user = line["user"].as_str().unwrap_or_default();
        assert!(["alice", "bob"].contains(&user), "{line}");
    }
    assert_eq!(log.len(), 8);
}

#[test]
fn a_tunnel_without_a_wish_keeps_its_exit_inside() {
    let world = World::new(STAFF, "", "disclose #true");
    for _ in 0..4 {
        let mut client = world.inside("alice");
        let first = world.get(&mut client, "/").body_text();
        for _ in 0..4 {
            assert_eq!(world.get(&mut client, "/").body_text(), first);
        }
    }
    // In a session all tunnels have one.
    let homes: Vec<_> = (0..4)
        .map(|_| {
            let mut client = world.inside("alice-session-s1");
            let answer = world.get(&mut client, "/");
            let session = answer.get("Bifrons-Session").unwrap_or_default();
            assert!(session.starts_with("s1;"), "{}", answer.text());
            answer.body_text()
        })
        .collect();
    assert!(homes.iter().all(|home| *home == homes[0]), "{homes:?}");
}

#[test]
fn streams_of_http2_inside_too() {
    let world = World::new(STAFF, "", "http2 #true");
    let mut config = ClientConfig::clone(&world.client);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let peer = world.tunnel("alice-country-ca");
    let peer = peer.into_tls(&Arc::new(config), "127.0.0.1").expect("TLS");
    assert_eq!(peer.session().alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Client::greet(peer, &[]);
    let fields = [
        (":method", "GET".to_owned()),
        (":scheme", "https".to_owned()),
        (":path", "/".to_owned()),
        (":authority", world.target.clone()),
    ];
    let streams = [0; 6].map(|_| client.open(&fields));
    for stream in streams {
        assert_eq!(client.response(stream).text(), "127.0.0.3");
    }
}

#[test]
fn users_do_not_share_connections_to_servers() {
    let world = World::new(STAFF, "", "");
    for name in ["alice-country-ca", "bob-country-ca", "alice-country-us"] {
        let mut client = world.inside(name);
        for _ in 0..2 {
            assert_eq!(world.get(&mut client, "/").status(), 200);
        }
        assert!(world.connections.try_recv().is_ok(), "{name} used another's");
        assert!(world.connections.try_recv().is_err(), "{name}: one would do");
    }
}

#[test]
fn a_quota_counts_and_stops_inside() {
    let users = "user \"alice\" password=\"secret\" quota=\"10000B/day\"\n\
        user \"bob\" password=\"secret\"";
    let world = World::new(users, "", "");
    let mut client = world.inside("alice");
    // The address is of nine letters.
    let first = world.get(&mut client, "/3991");
    assert_eq!(first.body.len(), 4000);
    let request = format!("GET /8991 HTTP/1.1\r\nHost: {}\r\n\r\n", world.target);
    client.send(&request);
    let head = client.recv_head();
    assert_eq!(head.status(), 200);
    let heads = 2 * request.len() + first.head.len() + head.head.len();
    assert_eq!(client.recv_until_gone().len(), 6000 - heads);
    let mut tunnel = world.proxy.client();
    let answer = connect(&mut tunnel, &world.target, &basic("alice", "secret"));
    assert_eq!((answer.status(), retry_after(&answer) > 0), (429, true));
    assert_eq!(world.get(&mut world.inside("bob"), "/").status(), 200);
}

#[test]
fn a_tunnel_that_is_open_is_told_inside_that_nothing_is_left() {
    let users = "user \"alice\" password=\"secret\" quota=\"1000B/day\"";
    let world = World::new(users, "", "");
    let (mut one, mut other) = (world.inside("alice"), world.inside("alice"));
    assert_eq!(world.get(&mut other, "/91").body.len(), 100);
    one.send(format!("GET /891 HTTP/1.1\r\nHost: {}\r\n\r\n", world.target));
    assert_eq!(one.recv_head().status(), 200);
    assert!((400..900).contains(&one.recv_until_gone().len()));
    let answer = world.get(&mut other, "/");
    assert_eq!(answer.status(), 429, "{}", answer.text());
    assert!(retry_after(&answer) > 0 && told(&answer).contains("quota"), "{}", told(&answer));
}

#[test]
fn requests_inside_are_requests_of_the_user() {
    let users = "user \"alice\" password=\"secret\" requests=\"4/h\"";
    let world = World::new(users, "", "");
    let mut client = world.inside("alice");
    let statuses: Vec<_> = (0..5).map(|_| world.get(&mut client, "/").status()).collect();
    // The tunnel was one.
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[test]
fn a_ban_that_is_seen_inside_holds_for_the_next_tunnel() {
    let world = World::new(STAFF, "ban body=\"27.0.0.3x\" for=\"10m\" per=\"host\"", "");
    let mut client = world.inside("alice-country-ca");
    assert_eq!(world.get(&mut client, "/5").body_text(), "127.0.0.3xxxxx");
    let mut next = world.proxy.client();
    let answer = connect(&mut next, &world.target, &basic("alice-country-ca", "secret"));
    assert_eq!(
        (answer.status(), told(&answer).contains("banned")),
        (503, true),
        "{}",
        told(&answer)
    );
    assert_eq!(world.get(&mut world.inside("alice"), "/").body_text(), "127.0.0.2");
}
