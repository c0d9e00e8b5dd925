//! Towards servers: what is verified, what is sent, and how failures are named.

mod support;

use std::sync::Arc;

use config::{ClientAuth, UpstreamTls};
use net::Stream;
use support::*;
use tls::{ClientTls, ConnectError, HandshakeError, Io, Roots, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn upstream(authority: &Authority) -> UpstreamTls {
    UpstreamTls { ca: Some(authority.ca()), ..UpstreamTls::default() }
}

fn client(tls: &UpstreamTls) -> ClientTls {
    ClientTls::build(tls, &Roots::of(rustls::RootCertStore::empty()), &[b"http/1.1"]).unwrap()
}

type Shaken = (Result<Io, HandshakeError>, Result<Io, ConnectError>);

async fn shake(server: &ServerTls, client: &ClientTls, host: &str) -> Shaken {
    let (near, far) = pair().await;
    tokio::join!(server.accept(far, b""), client.connect(near, host))
}

#[tokio::test]
async fn names_and_addresses_are_verified() {
    let authority = Authority::new("root");
    let strangers = Authority::new("strangers");
    let names = ["a.example", "127.0.0.1", "::1"];
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&names)]))]);
    let trusting = client(&upstream(&authority));
    let renamed = client(&UpstreamTls { sni: Some("A.example".into()), ..upstream(&authority) });
    let misnamed = client(&UpstreamTls { sni: Some("b.example".into()), ..upstream(&authority) });
    let wary = client(&upstream(&strangers));
    let blind = client(&UpstreamTls { insecure: true, ..UpstreamTls::default() });
    let by_roots =
        ClientTls::build(&UpstreamTls::default(), &Roots::of(authority.roots()), &[]).unwrap();
    for (what, client, host, sni) in [
        ("a name", &trusting, "a.example", Ok(Some("a.example"))),
        ("capitals and a dot", &trusting, "A.Example.", Ok(Some("a.example"))),
        ("an address", &trusting, "127.0.0.1", Ok(None)),
        ("in brackets", &trusting, "[::1]", Ok(None)),
        ("another name", &trusting, "b.example", Err("tls_certificate_error")),
        ("another address", &trusting, "127.0.0.2", Err("tls_certificate_error")),
        ("`sni`", &renamed, "192.0.2.1", Ok(Some("a.example"))),
        ("a wrong `sni`", &misnamed, "a.example", Err("tls_certificate_error")),
        ("other authorities", &wary, "a.example", Err("tls_certificate_error")),
        ("no verification", &blind, "b.example", Ok(Some("b.example"))),
        ("given roots", &by_roots, "a.example", Ok(Some("a.example"))),
        ("no name at all", &trusting, "a b", Err("tls_certificate_error")),
    ] {
        let (_, connected) = shake(&server, client, host).await;
        let got = connected.as_ref().map(|io| io.info().unwrap().sni.as_deref());
        assert_eq!(got.map_err(ConnectError::proxy_status), sni, "{what}");
    }
}

#[tokio::test]
async fn sessions_are_resumed_and_tickets_are_no_data() {
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    let client = client(&upstream(&authority));
    for visit in 0..3 {
        let (accepted, connected) = shake(&server, &client, "a.example").await;
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        let info = connected.info().unwrap();
        assert_eq!(info.resumed, visit > 0);
        assert_eq!(info.alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(info.peer.as_ref().unwrap().subject, "CN=a.example");
        // The ticket alone does not make the connection readable.
        accepted.flush().await.unwrap();
        connected.tcp().unwrap().readable().await.unwrap();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(connected.poll_readable(&mut cx).is_pending());
        accepted.write_all(b"x").await.unwrap();
        std::future::poll_fn(|cx| connected.poll_readable(cx)).await.unwrap();
        assert_eq!(connected.read_u8().await.unwrap(), b'x');
    }
}

#[tokio::test]
async fn a_certificate_is_shown_and_its_refusal_named() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    let mut guarded = site(vec![authority.issue(&["a.example"])]);
    guarded.client_auth = ClientAuth::Required { ca: clients.ca() };
    let server = server(&[(exact("a.example"), guarded)]);
    let known = UpstreamTls { client: Some(clients.issue(&["proxy"])), ..upstream(&authority) };
    let (accepted, _) = shake(&server, &client(&known), "a.example").await;
    assert_eq!(accepted.unwrap().info().unwrap().peer.as_ref().unwrap().subject, "CN=proxy");

    let (accepted, connected) = shake(&server, &client(&upstream(&authority)), "a.example").await;
    assert_eq!(accepted.unwrap_err().reason(), "client_certificate_missing");
    let error = connected.unwrap().read_u8().await.unwrap_err();
    let error = ConnectError::from_read(&error).unwrap();
    assert!(
        matches!(error, ConnectError::Alert { id: 116, name: "certificate_required" }),
        "{error}"
    );
    assert_eq!(error.proxy_status(), "tls_alert_received");
}

#[tokio::test]
async fn bytes_before_the_end_of_the_handshake_are_never_data() {
    let authority = Authority::new("root");
    let client = client(&upstream(&authority));
    for (bytes, status) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..], "tls_protocol_error"),
        (b"\x17\x03\x03\x00\x05hello", "tls_protocol_error"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "tls_alert_received"),
        (b"", "connection_terminated"),
    ] {
        let (near, mut far) = pair().await;
        far.write_all(bytes).await.unwrap();
        far.shutdown().await.unwrap();
        let error = client.connect(near, "a.example").await.unwrap_err();
        assert_eq!(error.proxy_status(), status, "{error}");
    }
}

/// Clear bytes that arrive in the segment of the server's last flight.
#[tokio::test]
async fn clear_bytes_after_the_servers_flight_break_the_connection() {
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    let client = client(&upstream(&authority));
    let (near, middle_near) = pair().await;
    let (middle_far, far) = pair().await;
    let relay = async {
        let (mut near, mut far) = (middle_near, middle_far);
        let mut buffer = vec![0; 1 << 16];
        let n = near.read(&mut buffer).await.unwrap();
        far.write_all(&buffer[..n]).await.unwrap();
        let mut n = far.read(&mut buffer).await.unwrap();
        let injected = b"HTTP/1.1 200 OK\r\n\r\n";
        buffer[n..n + injected.len()].copy_from_slice(injected);
        n += injected.len();
        near.write_all(&buffer[..n]).await.unwrap();
        // Held open until the client has made up its mind.
        (near, far)
    };
    let connect = async {
        match client.connect(near, "a.example").await {
            Err(error) => error.proxy_status(),
            Ok(mut io) => {
                let error = io.read_u8().await.unwrap_err();
                ConnectError::from_read(&error).unwrap().proxy_status()
            }
        }
    };
    let accept = server.accept(far, b"");
    tokio::pin!(accept);
    let status = tokio::select! {
        (status, _held) = async { tokio::join!(connect, relay) } => status,
        _ = &mut accept => unreachable!("nobody finishes the server's handshake"),
    };
    assert_eq!(status, "tls_protocol_error");
}

#[tokio::test]
async fn tls_inside_tls() {
    let outer = Authority::new("outer");
    let inner = Authority::new("inner");
    let outer_server =
        server(&[(exact("proxy.example"), site(vec![outer.issue(&["proxy.example"])]))]);
    let inner_server = server(&[(exact("a.example"), site(vec![inner.issue(&["a.example"])]))]);
    let (accepted, connected) =
        shake(&outer_server, &client(&upstream(&outer)), "proxy.example").await;
    let to_inner = client(&upstream(&inner));
    let (accepted, connected) = tokio::join!(
        inner_server.accept(accepted.unwrap(), b""),
        to_inner.connect(connected.unwrap(), "a.example"),
    );
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(accepted.info().unwrap().sni.as_deref(), Some("a.example"));
    assert_eq!(
        accepted.tcp().unwrap().local_addr().unwrap(),
        connected.tcp().unwrap().peer_addr().unwrap()
    );
    let data = vec![7; 200_000];
    let write = async {
        connected.write_all(&data).await.unwrap();
        connected.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let (_, read) = tokio::join!(write, accepted.read_to_end(&mut got));
    read.unwrap();
    assert!(got == data);
}

#[test]
fn what_is_wrong_is_said_at_once() {
    let authority = Authority::new("root");
    let mut pair = authority.issue(&["a.example"]);
    pair.key.value.set_extension("gone");
    let tls = UpstreamTls {
        ca: Some(spanned("nowhere.pem".into())),
        sni: Some("not a name".into()),
        client: Some(pair),
        insecure: false,
        http1_only: false,
    };
    let errors = ClientTls::build(&tls, &Roots::system(), &[]).unwrap_err();
    assert_eq!(errors.len(), 3, "{errors:?}");
    let none = Roots::of(rustls::RootCertStore::empty());
    let errors = ClientTls::build(&UpstreamTls::default(), &none, &[]).unwrap_err();
    assert!(errors[0].message.contains("the authorities cannot verify servers"), "{errors:?}");
}

#[test]
fn both_sides_are_shared_between_cores() {
    let _: fn(Arc<ClientTls>) = shared::<Arc<ClientTls>>;
    let _: fn(ServerTls) = shared::<ServerTls>;
}

fn shared<T: Send + Sync>(_: T) {}
