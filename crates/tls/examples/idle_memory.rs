//! What one idle TLS connection costs: resident memory of a server that holds many.
//!
//! ```text
//! cargo run --release -p tls --example idle_memory -- [CONNECTIONS]
//! ```
//!
//! `-- client PORT COUNT` alone opens such connections to any server of HTTPS on loopback.
//!
//! Starts itself a second time as the client, so that the two do not share a heap. Every
//! connection makes its handshake, exchanges one request of 500 bytes and one response of
//! 1 KiB, and is then kept without a buffer.

use std::future::poll_fn;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use config::{
    CertificateFiles, ClientAuth, HostPattern, SiteTls, Span, Spanned, TlsVersion, UpstreamTls,
};
use net::Stream;
use tls::{ClientTls, Roots, ServerSite, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    if first.as_deref() == Some("client") {
        let port = arguments.next().and_then(|port| port.parse().ok()).expect("a port");
        let count = arguments.next().and_then(|count| count.parse().ok()).expect("a count");
        LocalSet::new().block_on(&runtime, client(port, count));
    } else {
        let count = first.map_or(4000, |count| count.parse().expect("a number of connections"));
        LocalSet::new().block_on(&runtime, serve(count));
    }
}

async fn serve(count: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let span = Span::from((0, 0));
    let file = |value: PathBuf| Spanned { value, span };
    let site = SiteTls {
        certificates: vec![CertificateFiles { cert: file(cert), key: file(key) }],
        client_auth: ClientAuth::Off,
        min_version: TlsVersion::Tls12,
        span,
    };
    let sites = [ServerSite { hosts: &[HostPattern::Any], tls: &site, http2: true }];
    let tls = ServerTls::build(&sites, &[b"http/1.1"]).expect("a server");
    let tls = std::rc::Rc::new(tls);

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let me = std::env::current_exe().expect("this program");
    let mut child = Command::new(me)
        .args(["client", &port.to_string(), &count.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("the client");

    let (idle, mut idled) = tokio::sync::mpsc::unbounded_channel::<()>();
    let mut base = resident();
    for n in 0..count {
        let (tcp, _) = listener.accept().await.expect("a connection");
        tcp.set_nodelay(true).expect("no delay");
        let (tls, idle) = (std::rc::Rc::clone(&tls), idle.clone());
        tokio::task::spawn_local(async move {
            let accepted = Box::pin(tls.accept(tcp, b"")).await;
            let mut io = accepted.expect("a handshake");
            drop(tls);
            loop {
                if poll_fn(|cx| io.poll_readable(cx)).await.is_err() {
                    return;
                }
                let mut request = [0; 500];
                let exchanged = Box::pin(async {
                    io.read_exact(&mut request).await?;
                    io.write_all(&[b'x'; 1024]).await
                });
                if exchanged.await.is_err() {
                    return;
                }
                let _ = idle.send(());
            }
        });
        idled.recv().await.expect("one more idle");
        if n == 99 {
            base = resident();
        }
    }
    let now = resident();
    let each = (now - base) as f64 / (count - 100) as f64;
    println!("{count} idle connections, resident {now} KiB, {each:.2} KiB each");
    child.kill().expect("the client ends");
    child.wait().expect("the client ends");
}

async fn client(port: u16, count: usize) {
    let tls = UpstreamTls { insecure: true, ..UpstreamTls::default() };
    let tls = ClientTls::build(&tls, &Roots::system(), &[b"http/1.1"]).expect("a client");
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        tcp.set_nodelay(true).expect("no delay");
        let mut io = tls.connect(tcp, "localhost").await.expect("a handshake");
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Fill: {:x>455}\r\n\r\n", "");
        assert_eq!(request.len(), 500);
        io.write_all(request.as_bytes()).await.expect("sent");
        let mut response = [0; 1024];
        io.read_exact(&mut response).await.expect("received");
        held.push(io);
    }
    std::future::pending::<()>().await;
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
        .unwrap_or_default()
}
