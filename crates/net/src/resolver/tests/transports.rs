//! How servers are spoken to: what comes by UDP and is not believed, TCP, TLS and HTTPS.

use std::net::SocketAddr;

use bytes::Bytes;
use config::{NameServer, NameServerProtocol, Spanned};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

/// What any server says here: the last label but one of a name tells the address.
fn answer_to(request: &[u8]) -> Message {
    let request = Message::from_vec(request).unwrap();
    let question = request.queries[0].clone();
    let name = question.name().to_ascii().to_ascii_lowercase();
    let reply = match &*name {
        "one.test." => Reply::Addresses(&["192.0.2.1"], 60),
        "two.test." => Reply::Addresses(&["192.0.2.2"], 60),
        _ => Reply::NoName(None),
    };
    answer(request.metadata.id, &question, &reply).unwrap()
}

/// Answers questions behind their length (RFC 1035 §4.2.2, RFC 7858 §3.3); after so many of them
/// the connection is closed.
async fn serve_stream(mut io: impl AsyncRead + AsyncWrite + Unpin, questions: usize) {
    for _ in 0..questions {
        let Ok(length) = io.read_u16().await else { return };
        let mut request = vec![0; length.into()];
        io.read_exact(&mut request).await.unwrap();
        let reply = answer_to(&request).to_vec().unwrap();
        let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
        if io.write_all(&[&length[..], &*reply].concat()).await.is_err() {
            return;
        }
    }
}

#[test]
fn what_does_not_fit_is_asked_for_by_tcp() {
    run_local(async {
        let (udp, tcp) = both_on_one_port().await;
        let address = udp.local_addr().unwrap();
        spawn_local(async move {
            let mut room = [0; 1500];
            loop {
                let (length, peer) = udp.recv_from(&mut room).await.unwrap();
                let mut reply = answer_to(&room[..length]);
                reply.answers.clear();
                reply.metadata.truncation = true;
                udp.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
            }
        });
        spawn_local(async move {
            loop {
                let (io, _) = tcp.accept().await.unwrap();
                spawn_local(serve_stream(io, usize::MAX));
            }
        });
        let resolver = Resolver::new(&Dns::asking(&[address])).unwrap();
        assert_eq!(*resolver.lookup("one.test").await.unwrap(), *ips(&["192.0.2.1"]));
    });
}

/// Sockets of both protocols with one port number. A port that is free for one of them may be in
/// use for the other, by a neighbour or by a connection on its way out: then another is taken.
async fn both_on_one_port() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

#[test]
fn replies_that_were_not_asked_for_are_passed_over() {
    run_local(async {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let resolver = Resolver::new(&Dns::asking(&[udp.local_addr().unwrap()])).unwrap();
        spawn_local(async move {
            let mut room = [0; 1500];
            loop {
                let (length, peer) = udp.recv_from(&mut room).await.unwrap();
                let request = Message::from_vec(&room[..length]).unwrap();
                let (id, question) = (request.metadata.id, request.queries[0].clone());
                let forged = Reply::Addresses(&["203.0.113.66", "2001:db8::66"], 60);
                let wrong_id = answer(id ^ 1, &question, &forged).unwrap();
                let mut other = question.clone();
                other.set_name(Name::from_ascii("other.test.").unwrap());
                let wrong_question = answer(id, &other, &forged).unwrap();
                let wrong_sender = answer(id, &question, &forged).unwrap();
                stranger.send_to(&wrong_sender.to_vec().unwrap(), peer).await.unwrap();
                for bytes in [
                    vec![0],
                    wrong_id.to_vec().unwrap(),
                    wrong_question.to_vec().unwrap(),
                    answer_to(&room[..length]).to_vec().unwrap(),
                ] {
                    udp.send_to(&bytes, peer).await.unwrap();
                }
            }
        });
        assert_eq!(*resolver.lookup("one.test").await.unwrap(), *ips(&["192.0.2.1"]));
    });
}

/// An authority in a file, and what it has signed.
struct Authority {
    file: tempfile::NamedTempFile,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { file, issuer: Issuer::new(params, key) }
    }

    fn acceptor(&self, name: &str, alpn: &[u8]) -> TlsAcceptor {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        if !alpn.is_empty() {
            config.alpn_protocols = vec![alpn.to_vec()];
        }
        TlsAcceptor::from(Arc::new(config))
    }

    /// The configuration of a server that this authority has signed.
    fn server(&self, address: SocketAddr, protocol: NameServerProtocol) -> NameServer {
        let ca = Spanned { value: self.file.path().to_owned(), span: (0..0).into() };
        NameServer { address, protocol, ca: Some(ca), span: (0..0).into() }
    }
}

fn only(server: NameServer) -> Resolver {
    Resolver::new(&Dns { servers: vec![server], ..Dns::default() }).unwrap()
}

/// A server over TLS, and how many connections it has seen.
struct Secure {
    address: SocketAddr,
    connections: Rc<RefCell<usize>>,
}

impl Secure {
    async fn start<F>(acceptor: TlsAcceptor, serve: impl Fn(tls::Io) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Rc::new(RefCell::new(0));
        let counted = Rc::clone(&connections);
        spawn_local(async move {
            loop {
                let (io, _) = listener.accept().await.unwrap();
                *counted.borrow_mut() += 1;
                if let Ok(io) = acceptor.accept(io).await {
                    spawn_local(serve(io));
                }
            }
        });
        Self { address, connections }
    }

    fn connections(&self) -> usize {
        *self.connections.borrow()
    }
}

mod tls {
    pub(super) type Io = tokio_rustls::server::TlsStream<super::TcpStream>;
}

fn over_tls(name: &str) -> NameServerProtocol {
    NameServerProtocol::Tls { name: name.to_owned() }
}

fn over_https(name: &str) -> NameServerProtocol {
    NameServerProtocol::Https { name: name.to_owned(), path: "/ask".to_owned() }
}

#[test]
fn dns_over_tls() {
    run_local(async {
        let authority = Authority::new();
        let acceptor = authority.acceptor("dns.test", b"");
        let server = Secure::start(acceptor, |io| serve_stream(io, usize::MAX)).await;
        let resolver = only(authority.server(server.address, over_tls("dns.test")));
        assert_eq!(*resolver.lookup("one.test").await.unwrap(), *ips(&["192.0.2.1"]));
        assert_eq!(*resolver.lookup("two.test").await.unwrap(), *ips(&["192.0.2.2"]));
        assert_eq!(resolver.lookup("three.test").await, Err(DnsError::NotFound));
        assert!(server.connections() <= 2, "connections are kept: {}", server.connections());
        // A certificate may be for the address itself.
        let acceptor = authority.acceptor("127.0.0.1", b"");
        let server = Secure::start(acceptor, |io| serve_stream(io, usize::MAX)).await;
        let resolver = only(authority.server(server.address, over_tls("127.0.0.1")));
        assert_eq!(*resolver.lookup("one.test").await.unwrap(), *ips(&["192.0.2.1"]));
    });
}

#[test]
fn a_server_that_closes_is_connected_to_again() {
    run_local(async {
        let authority = Authority::new();
        let acceptor = authority.acceptor("dns.test", b"");
        let server = Secure::start(acceptor, |io| serve_stream(io, 2)).await;
        let resolver = only(authority.server(server.address, over_tls("dns.test")));
        for at in 0..6 {
            let name = format!("n{at}.test");
            assert_eq!(resolver.lookup(&name).await, Err(DnsError::NotFound), "{name}");
        }
        assert!(server.connections() > 1);
    });
}

async fn serve_https(io: tls::Io) {
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        // The connection has to be driven for the body to come.
        spawn_local(async move {
            assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/ask"));
            let mut body = request.into_body();
            let mut bytes = Vec::new();
            while let Some(piece) = body.data().await {
                bytes.extend(piece.unwrap());
            }
            let reply = Bytes::from(answer_to(&bytes).to_vec().unwrap());
            let head = http::Response::builder()
                .header("content-type", "application/dns-message")
                .header("content-length", reply.len())
                .body(())
                .unwrap();
            respond.send_response(head, false).unwrap().send_data(reply, true).unwrap();
        });
    }
}

#[test]
fn dns_over_https() {
    run_local(async {
        let authority = Authority::new();
        let server = Secure::start(authority.acceptor("dns.test", b"h2"), serve_https).await;
        let resolver = only(authority.server(server.address, over_https("dns.test")));
        assert_eq!(*resolver.lookup("one.test").await.unwrap(), *ips(&["192.0.2.1"]));
        assert_eq!(*resolver.lookup("two.test").await.unwrap(), *ips(&["192.0.2.2"]));
        assert_eq!(resolver.lookup("three.test").await, Err(DnsError::NotFound));
    });
}

#[test]
fn servers_are_verified() {
    run_local(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let acceptor = authority.acceptor("dns.test", b"");
        let server = Secure::start(acceptor, |_| async { panic!("it was believed") }).await;
        for wrong in [
            other.server(server.address, over_tls("dns.test")),
            authority.server(server.address, over_tls("other.test")),
            authority.server(server.address, over_tls("127.0.0.1")),
        ] {
            let failed = only(wrong).lookup("one.test").await.unwrap_err();
            assert!(matches!(failed, DnsError::Failed(_)), "{failed}");
        }
        assert!(server.connections() >= 3);
        // The authority of one server cannot speak for another.
        let dns = Dns {
            servers: vec![
                authority.server("127.0.0.1:9".parse().unwrap(), over_tls("mine.test")),
                other.server(server.address, over_tls("dns.test")),
            ],
            ..Dns::default()
        };
        assert!(Resolver::new(&dns).unwrap().lookup("one.test").await.is_err());
    });
}

#[test]
fn authorities_that_cannot_be_read_are_told_at_the_start() {
    let authority = Authority::new();
    let path = authority.file.path().to_owned();
    let server = authority.server("127.0.0.1:853".parse().unwrap(), over_tls("dns.test"));
    for text in [Some("no certificate"), None] {
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let dns = Dns { servers: vec![server.clone()], ..Dns::default() };
        let error = Resolver::new(&dns).unwrap_err().to_string();
        assert!(error.contains(&*path.display().to_string()), "{error}");
    }
}
