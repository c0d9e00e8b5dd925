//! Certificates made on the spot, and TLS for the peers of a test.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// An authority that signs certificates.
pub struct Authority {
    /// Its own certificate (PEM).
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate (PEM).
    pub cert: String,
    /// The key (PEM).
    pub key: String,
}

impl Authority {
    /// A new one, with a key of its own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = subject(name);
        let key = KeyPair::generate().expect("key");
        let pem = params.self_signed(&key).expect("certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names and addresses, the first of which is also its subject.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    /// The same, where something is to be out of order.
    #[must_use]
    pub fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let all: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(all).expect("parameters");
        params.distinguished_name = subject(names[0]);
        change(&mut params);
        let key = KeyPair::generate().expect("key");
        let cert = params.signed_by(&key, &self.issuer).expect("certificate").pem();
        Identity { cert, key: key.serialize_pem() }
    }

    /// The authority as what a peer trusts.
    #[must_use]
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM");
        roots.add(der).expect("root");
        roots
    }
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

impl Identity {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("PEM")]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM")
    }

    /// A TLS server that shows this certificate. With `clients`, it asks for theirs.
    #[must_use]
    pub fn server(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        install_provider();
        let builder = ServerConfig::builder();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let verifier = WebPkiClientVerifier::builder(Arc::new(authority.roots()));
                builder.with_client_cert_verifier(verifier.build().expect("verifier"))
            }
        };
        Arc::new(builder.with_single_cert(self.chain(), self.key()).expect("TLS server"))
    }
}

/// A TLS client that trusts `authority` and shows the certificate, if there is one.
#[must_use]
pub fn tls_client(authority: &Authority, identity: Option<&Identity>) -> Arc<ClientConfig> {
    install_provider();
    let builder = ClientConfig::builder().with_root_certificates(authority.roots());
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain(), identity.key()).expect("certificate")
        }
    })
}

fn install_provider() {
    // Another test of the process may have done so.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
