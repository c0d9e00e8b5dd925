//! What TLS costs the server: CPU time per 1 KiB response on a kept connection, and per full
//! handshake with one request.
//!
//! ```text
//! cargo run --release -p tls --example stream_cost -- ours
//! cargo run --release -p tls --example stream_cost -- tokio-rustls
//! cargo run --release -p tls --example stream_cost -- nginx PORT WORKER_PID
//! ```
//!
//! The last measures a server that already runs on loopback and answers with about 1 KiB. Time
//! is taken from the scheduler's statistics of the serving thread, so it does not matter how
//! busy the machine is, except for its caches. The key exchange is X25519, the certificate ECDSA
//! P-256; the client never resumes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;

use config::{CertificateFiles, ClientAuth, HostPattern, SiteTls, Span, Spanned, TlsVersion};
use net::Stream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tls::{ServerSite, ServerTls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

const CONNECTIONS: usize = 64;
const REQUESTS: usize = 3000;
const HANDSHAKES: usize = 4000;
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: cost\r\n\r\n";
const RESPONSE: usize = 1024 + 120;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let what = arguments.first().map_or("ours", String::as_str);
    let (port, statistics) = match (what, arguments.get(1), arguments.get(2)) {
        ("nginx", Some(port), Some(pid)) => {
            (port.parse().expect("a port"), format!("/proc/{pid}/schedstat"))
        }
        _ => serve_in_thread(what == "ours"),
    };
    let spent = || -> f64 {
        let text = std::fs::read_to_string(&statistics).expect("the scheduler's statistics");
        text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds")
    };
    let runtime = runtime();
    LocalSet::new().block_on(&runtime, async {
        let kept: Vec<_> =
            (0..CONNECTIONS).map(|_| tokio::task::spawn_local(connect(port))).collect();
        let mut streams = Vec::new();
        for stream in kept {
            let mut stream = stream.await.expect("connected");
            ask(&mut stream).await;
            streams.push(stream);
        }
        let before = spent();
        let asking: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                tokio::task::spawn_local(async move {
                    for _ in 0..REQUESTS {
                        ask(&mut stream).await;
                    }
                    stream
                })
            })
            .collect();
        let mut streams = Vec::new();
        for stream in asking {
            streams.push(stream.await.expect("answered"));
        }
        let requests = (CONNECTIONS * REQUESTS) as f64;
        println!("{what}: {:.2} µs per kept request", (spent() - before) / requests / 1000.0);
        drop(streams);
        let before = spent();
        for _ in 0..HANDSHAKES {
            let mut stream = connect(port).await;
            ask(&mut stream).await;
        }
        let each = (spent() - before) / HANDSHAKES as f64 / 1000.0;
        println!("{what}: {each:.1} µs per handshake with one request");
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    stream.write_all(REQUEST).await.expect("sent");
    stream.flush().await.expect("sent");
    let mut response = [0; 4096];
    let mut got = 0;
    while got < 1024 {
        match stream.read(&mut response[got..]).await.expect("received") {
            0 => panic!("the server closed"),
            n => got += n,
        }
    }
}

async fn connect(port: u16) -> tokio_rustls::client::TlsStream<TcpStream> {
    thread_local! {
        static CONFIG: Arc<rustls::ClientConfig> = client_config();
    }
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    tcp.set_nodelay(true).expect("no delay");
    let connector = tokio_rustls::TlsConnector::from(CONFIG.with(Arc::clone));
    let name = "localhost".try_into().expect("a name");
    connector.connect(name, tcp).await.expect("a handshake")
}

/// Trusts anyone: the server's certificate was made for this run, or is nginx's.
fn client_config() -> Arc<rustls::ClientConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.into()
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}

/// The port, and where the scheduler tells about the thread that serves.
fn serve_in_thread(ours: bool) -> (u16, String) {
    let (ready, started) = channel();
    std::thread::spawn(move || {
        LocalSet::new().block_on(&runtime(), async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let me = std::fs::read_link("/proc/thread-self").expect("this thread");
            ready.send((port, format!("/proc/{}/schedstat", me.display()))).expect("told");
            let dir = tempfile::tempdir().expect("a directory");
            let site = site(dir.path());
            if ours {
                serve(listener, &site).await;
            } else {
                serve_tokio_rustls(listener, &site).await;
            }
        });
    });
    started.recv().expect("a server")
}

fn site(dir: &std::path::Path) -> SiteTls {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let span = Span::from((0, 0));
    let file = |value: PathBuf| Spanned { value, span };
    SiteTls {
        certificates: vec![CertificateFiles { cert: file(cert), key: file(key) }],
        client_auth: ClientAuth::Off,
        min_version: TlsVersion::Tls12,
        span,
    }
}

async fn serve(listener: TcpListener, site: &SiteTls) {
    let sites = [ServerSite { hosts: &[HostPattern::Any], tls: site, http2: true }];
    let tls = std::rc::Rc::new(ServerTls::build(&sites, &[b"http/1.1"]).expect("a server"));
    loop {
        let (tcp, _) = listener.accept().await.expect("a connection");
        tcp.set_nodelay(true).expect("no delay");
        let tls = std::rc::Rc::clone(&tls);
        tokio::task::spawn_local(async move {
            let Ok(mut io) = tls.accept(tcp, b"").await else { return };
            while std::future::poll_fn(|cx| io.poll_readable(cx)).await.is_ok() {
                if answer(&mut io).await.is_none() {
                    return;
                }
            }
        });
    }
}

async fn serve_tokio_rustls(listener: TcpListener, site: &SiteTls) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let files = &site.certificates[0];
    let chain = vec![CertificateDer::from_pem_file(&files.cert.value).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&files.key.value).expect("a key");
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .expect("a server");
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().expect("tickets");
    config.send_tls13_tickets = 1;
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    loop {
        let (tcp, _) = listener.accept().await.expect("a connection");
        tcp.set_nodelay(true).expect("no delay");
        let tls = tls.clone();
        tokio::task::spawn_local(async move {
            let Ok(mut io) = tls.accept(tcp).await else { return };
            while answer(&mut io).await.is_some() {}
        });
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Option<()> {
    let mut request = [0; 4096];
    let n = stream.read(&mut request).await.ok().filter(|n| *n > 0)?;
    debug_assert_eq!(n, REQUEST.len());
    stream.write_all(&[b'x'; RESPONSE]).await.ok()?;
    stream.flush().await.ok()
}
