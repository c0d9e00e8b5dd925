//! Sessions are resumed within a site and never across.

mod support;

use std::sync::Arc;

use config::ClientAuth;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, SignatureScheme};
use support::*;
use tls::{HandshakeError, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One request and its answer, so that the ticket arrives. Whether the session was resumed.
async fn visit(
    server: &ServerTls,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<bool, &'static str> {
    let (accepted, connected) = shake(server, client, name).await;
    let mut accepted = accepted.map_err(|error: HandshakeError| error.reason())?;
    let mut connected = connected.unwrap();
    accepted.write_all(b"x").await.unwrap();
    accepted.flush().await.unwrap();
    connected.read_u8().await.unwrap();
    Ok(accepted.info().unwrap().resumed)
}

/// Offers what it has to every name: the client of an attacker.
#[derive(Debug)]
struct OneSession(Arc<dyn ClientSessionStore>);

fn anyone() -> ServerName<'static> {
    "any.example".try_into().unwrap()
}

impl ClientSessionStore for OneSession {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(anyone(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&anyone())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anyone(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anyone())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anyone());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anyone(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anyone())
    }
}

#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
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
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client that resumes any session under any name. Each name's configuration shares the
/// store, the verifier and the certificate resolver: rustls compares them.
fn promiscuous(version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    let store = OneSession(Arc::new(rustls::client::ClientSessionMemoryCache::new(8)));
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::store(Arc::new(store));
    config.into()
}

#[tokio::test]
async fn a_session_is_resumed_within_its_site() {
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    for version in [&TLS12, &TLS13] {
        let client = Peer::default().version(version).trusting(&authority);
        assert_eq!(visit(&server, &client, "a.example").await, Ok(false), "{version:?}");
        assert_eq!(visit(&server, &client, "a.example").await, Ok(true), "{version:?}");
        assert_eq!(visit(&server, &client, "a.example").await, Ok(true), "{version:?}");
    }
}

#[tokio::test]
async fn a_session_stays_in_its_site_whatever_the_client_tries() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    let mut guarded = site(vec![authority.issue(&["guarded.example"])]);
    guarded.client_auth = ClientAuth::Required { ca: clients.ca() };
    let server = server(&[
        (exact("open.example"), site(vec![authority.issue(&["open.example"])])),
        (exact("equal.example"), site(vec![authority.issue(&["equal.example"])])),
        (exact("guarded.example"), guarded),
    ]);
    for version in [&TLS12, &TLS13] {
        let client = promiscuous(version);
        assert_eq!(visit(&server, &client, "open.example").await, Ok(false));
        assert_eq!(visit(&server, &client, "open.example").await, Ok(true), "the trick works");
        let opened = visit(&server, &client, "guarded.example").await;
        assert_eq!(opened, Err("client_certificate_missing"), "{version:?}");
        let again = visit(&server, &client, "open.example").await.unwrap();
        assert_eq!(again, version.version == TLS12.version, "one offer uses a ticket of 1.3 up");
        assert_eq!(visit(&server, &client, "equal.example").await, Ok(false), "{version:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_comes_back_with_its_session() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    let mut guarded = site(vec![authority.issue(&["guarded.example"])]);
    guarded.client_auth = ClientAuth::Required { ca: clients.ca() };
    let ca = clients.ca().value;
    let server = server(&[(exact("guarded.example"), guarded)]);
    for version in [&TLS12, &TLS13] {
        let identity = clients.issue(&["alice"]);
        let client = Peer::default().version(version).identity(&identity).trusting(&authority);
        assert!(client.client_auth_cert_resolver.has_certs());
        assert_eq!(visit(&server, &client, "guarded.example").await, Ok(false));
        let (accepted, connected) = shake(&server, &client, "guarded.example").await;
        connected.unwrap();
        let accepted = accepted.unwrap();
        let info = accepted.info().unwrap();
        assert!(info.resumed);
        assert_eq!(info.peer.as_ref().unwrap().subject, "CN=alice");
    }
    // Other authorities: neither the session nor the certificate is good for anything now.
    let client = Peer::default().identity(&clients.issue(&["bob"])).trusting(&authority);
    assert_eq!(visit(&server, &client, "guarded.example").await, Ok(false));
    replace(&ca, Authority::new("others").pem.as_bytes());
    assert_eq!(server.refresh().len(), 1);
    assert_eq!(
        visit(&server, &client, "guarded.example").await,
        Err("client_certificate_unknown_issuer")
    );
}
