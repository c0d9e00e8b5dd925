//! A certificate authority, files for the configuration, and a client that is not ours.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use config::{CertificateFiles, ClientAuth, HostPattern, SiteTls, Span, Spanned, TlsVersion};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, SignatureAlgorithm,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tls::{HandshakeError, Io, ServerSite, ServerTls};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream as PeerStream;

pub struct Authority {
    pub dir: tempfile::TempDir,
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
    serial: AtomicU32,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), &pem).unwrap();
        Self { dir, pem, issuer: Issuer::new(params, key), serial: AtomicU32::new(0) }
    }

    pub fn ca(&self) -> Spanned<PathBuf> {
        spanned(self.dir.path().join("ca.pem"))
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }

    /// A certificate for `names`, the first of which is also its subject.
    pub fn issue(&self, names: &[&str]) -> CertificateFiles {
        self.issue_with(names, &PKCS_ECDSA_P256_SHA256)
    }

    pub fn issue_with(&self, names: &[&str], alg: &'static SignatureAlgorithm) -> CertificateFiles {
        let n = self.serial.fetch_add(1, Ordering::Relaxed);
        let files = CertificateFiles {
            cert: spanned(self.dir.path().join(format!("{n}.crt"))),
            key: spanned(self.dir.path().join(format!("{n}.key"))),
        };
        self.write(&files, names, alg);
        files
    }

    pub fn write(
        &self,
        files: &CertificateFiles,
        names: &[&str],
        alg: &'static SignatureAlgorithm,
    ) {
        let (cert, key) = self.make(names, alg);
        replace(&files.cert.value, cert.as_bytes());
        replace(&files.key.value, key.as_bytes());
    }

    fn make(&self, names: &[&str], alg: &'static SignatureAlgorithm) -> (String, String) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names[0].clone());
        let key = KeyPair::generate_for(alg).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A certificate that signs itself, for `a.example`, as `change` makes it.
pub fn self_signed(dir: &Path, change: impl FnOnce(&mut CertificateParams)) -> CertificateFiles {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "a.example");
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let n = std::fs::read_dir(dir).unwrap().count();
    let files = CertificateFiles {
        cert: spanned(dir.join(format!("self-{n}.crt"))),
        key: spanned(dir.join(format!("self-{n}.key"))),
    };
    std::fs::write(&files.cert.value, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&files.key.value, key.serialize_pem()).unwrap();
    files
}

/// As `openssl req -x509` makes them.
pub fn as_authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// Puts a new file in the place of the old: another inode, whatever the clock says.
pub fn replace(path: &Path, contents: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, contents).unwrap();
    std::fs::rename(&new, path).unwrap();
}

pub fn spanned<T>(value: T) -> Spanned<T> {
    Spanned { value, span: Span::from((7, 3)) }
}

pub fn site(certificates: Vec<CertificateFiles>) -> SiteTls {
    SiteTls {
        certificates,
        client_auth: ClientAuth::Off,
        min_version: TlsVersion::Tls12,
        span: Span::from((1, 1)),
    }
}

pub fn exact(name: &str) -> Vec<HostPattern> {
    vec![HostPattern::Exact(name.into())]
}

pub fn wildcard(suffix: &str) -> Vec<HostPattern> {
    vec![HostPattern::Wildcard(suffix.into())]
}

pub fn server(sites: &[(Vec<HostPattern>, SiteTls)]) -> ServerTls {
    let sites: Vec<_> =
        sites.iter().map(|(hosts, tls)| ServerSite { hosts, tls, http2: true }).collect();
    ServerTls::build(&sites, &[b"http/1.1"]).unwrap()
}

/// Two ends of a connection over loopback.
pub async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(client, listener.accept());
    (client.unwrap(), server.unwrap().0)
}

pub fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// A client's configuration, of a library's own making.
pub struct Peer {
    provider: CryptoProvider,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
    identity: Option<CertificateFiles>,
}

impl Default for Peer {
    fn default() -> Self {
        Self { provider: provider(), versions: rustls::ALL_VERSIONS.to_vec(), identity: None }
    }
}

impl Peer {
    pub fn version(mut self, version: &'static rustls::SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub fn provider(mut self, change: impl FnOnce(&mut CryptoProvider)) -> Self {
        change(&mut self.provider);
        self
    }

    pub fn identity(mut self, files: &CertificateFiles) -> Self {
        self.identity = Some(files.clone());
        self
    }

    pub fn trusting(self, authority: &Authority) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(self.provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(authority.roots());
        Arc::new(match self.identity {
            None => builder.with_no_client_auth(),
            Some(files) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_file(&files.cert.value).unwrap()],
                    PrivateKeyDer::from_pem_file(&files.key.value).unwrap(),
                )
                .unwrap(),
        })
    }
}

pub type Shaken = (Result<Io, HandshakeError>, std::io::Result<PeerStream<TcpStream>>);

/// Both sides of a handshake.
pub async fn shake(server: &ServerTls, client: &Arc<ClientConfig>, name: &str) -> Shaken {
    let (near, far) = pair().await;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio::join!(server.accept(far, b""), connector.connect(name, near))
}

/// The subject's common name of the server's certificate.
pub fn shown(peer: &PeerStream<TcpStream>) -> String {
    let (_, conn) = peer.get_ref();
    let leaf = &conn.peer_certificates().unwrap()[0];
    let leaf = webpki::EndEntityCert::try_from(leaf).unwrap();
    leaf.valid_dns_names().next().unwrap().to_owned()
}
