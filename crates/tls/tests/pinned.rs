//! A `ca` file that has the server's own certificate.

mod support;

use std::sync::Arc;

use config::{CertificateFiles, UpstreamTls};
use rcgen::date_time_ymd;
use rustls::CertificateError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use support::*;
use tls::{ClientTls, ConnectError, Roots};

fn pinning(files: &CertificateFiles) -> ClientTls {
    let tls = UpstreamTls { ca: Some(files.cert.clone()), ..UpstreamTls::default() };
    ClientTls::build(&tls, &Roots::of(rustls::RootCertStore::empty()), &[]).unwrap()
}

/// What comes of connecting to a server with these files as this host.
async fn connect(
    files: &CertificateFiles,
    client: &ClientTls,
    host: &str,
) -> Result<(), CertificateError> {
    let server = server(&[(exact("a.example"), site(vec![files.clone()]))]);
    let (near, far) = pair().await;
    let (_, connected) = tokio::join!(server.accept(far, b""), client.connect(near, host));
    match connected {
        Ok(_) => Ok(()),
        Err(ConnectError::Certificate(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_very_certificate_is_taken_for_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("root");
    for files in [
        self_signed(dir.path(), as_authority),
        self_signed(dir.path(), |_| {}),
        // Its authority is not in the file.
        authority.issue(&["a.example"]),
    ] {
        let client = pinning(&files);
        assert_eq!(connect(&files, &client, "a.example").await, Ok(()));
        for host in ["b.example", "127.0.0.1"] {
            let error = connect(&files, &client, host).await.unwrap_err();
            assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn another_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("root");
    for (named, shown) in [
        (self_signed(dir.path(), as_authority), self_signed(dir.path(), as_authority)),
        (self_signed(dir.path(), |_| {}), self_signed(dir.path(), as_authority)),
        (self_signed(dir.path(), as_authority), self_signed(dir.path(), |_| {})),
        (authority.issue(&["a.example"]), authority.issue(&["a.example"])),
    ] {
        assert!(connect(&shown, &pinning(&named), "a.example").await.is_err());
    }
}

#[tokio::test]
async fn its_time_counts() {
    let dir = tempfile::tempdir().unwrap();
    let expired = self_signed(dir.path(), |params| {
        as_authority(params);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let error = connect(&expired, &pinning(&expired), "a.example").await.unwrap_err();
    assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
    let early = self_signed(dir.path(), |params| {
        as_authority(params);
        params.not_before = date_time_ymd(4000, 1, 1);
    });
    let error = connect(&early, &pinning(&early), "a.example").await.unwrap_err();
    assert!(matches!(error, CertificateError::NotValidYetContext { .. }), "{error:?}");
}

#[tokio::test]
async fn the_roots_of_the_system_pin_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = self_signed(dir.path(), as_authority);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.cert.value).unwrap()).unwrap();
    let client = ClientTls::build(&UpstreamTls::default(), &Roots::of(roots), &[]).unwrap();
    let error = connect(&files, &client, "a.example").await.unwrap_err();
    let said = ConnectError::Certificate(error).to_string();
    assert!(said.contains("one for authorities (CA:TRUE)"), "{said}");
}

/// A certificate is public: whoever shows it must hold its key.
#[tokio::test]
async fn a_thief_of_the_certificate_lacks_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let named = self_signed(dir.path(), as_authority);
    let other = self_signed(dir.path(), as_authority);
    let client = pinning(&named);
    let certificate = CertificateDer::from_pem_file(&named.cert.value).unwrap();
    let key = PrivateKeyDer::from_pem_file(&other.key.value).unwrap();
    let key = provider().key_provider.load_private_key(key).unwrap();
    let thief = CertifiedKey::new(vec![certificate], key);
    for version in rustls::ALL_VERSIONS {
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(thief.clone())));
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (near, far) = pair().await;
        let (_, connected) = tokio::join!(acceptor.accept(far), client.connect(near, "a.example"));
        let error = connected.unwrap_err();
        assert!(
            matches!(error, ConnectError::Certificate(CertificateError::BadSignature)),
            "{error}"
        );
    }
}
