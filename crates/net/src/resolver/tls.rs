//! TLS with name servers (RFC 7858, RFC 8484): each is verified for the name that the
//! configuration gives it, against the authorities of the system or those of its own file.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use config::{Dns, NameServer, NameServerProtocol};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// The configuration for all servers that speak TLS; `None` if none does.
///
/// The name of a server is not sent to servers of DNS over TLS: the library holds that a port
/// which only serves DNS needs none.
pub(super) fn configuration(dns: &Dns) -> io::Result<Option<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut by_name: HashMap<ServerName<'static>, Vec<Arc<WebPkiServerVerifier>>> = HashMap::new();
    for server in &dns.servers {
        let Some(name) = certificate_name(server) else { continue };
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| invalid(format!("no certificate can be valid for {name:?}")))?;
        let roots = match &server.ca {
            Some(ca) => authorities(&ca.value)?,
            None => system()?,
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let verifier = verifier.build().map_err(|error| invalid(error.to_string()))?;
        by_name.entry(name).or_default().push(verifier);
    }
    if by_name.is_empty() {
        return Ok(None);
    }
    let verifier = ByName { by_name, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Some(builder.with_no_client_auth()))
}

fn certificate_name(server: &NameServer) -> Option<&str> {
    match &server.protocol {
        NameServerProtocol::Plain => None,
        NameServerProtocol::Tls { name } | NameServerProtocol::Https { name, .. } => Some(name),
    }
}

fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem.into())
}

fn authorities(path: &Path) -> io::Result<Arc<RootCertStore>> {
    let shown = path.display();
    let unreadable = |error: &dyn std::fmt::Display| {
        invalid(format!("the authorities of a name server, {shown}: {error}"))
    };
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"no certificate in it"));
    }
    Ok(Arc::new(roots))
}

/// The authorities of the system, read once for all cores.
fn system() -> io::Result<Arc<RootCertStore>> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = SYSTEM.get() {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(invalid(
            "there are no authorities to verify name servers against: install those of the \
             system, or name a PEM file with `ca`",
        ));
    }
    Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(roots))))
}

/// Verifies each name against its own authorities. A server that has a private authority must
/// not open the others to it.
#[derive(Debug)]
struct ByName {
    by_name: HashMap<ServerName<'static>, Vec<Arc<WebPkiServerVerifier>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut outcome = Err(CertificateError::UnknownIssuer.into());
        for verifier in self.by_name.get(&server_name.to_owned()).into_iter().flatten() {
            outcome = verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
