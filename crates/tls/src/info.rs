//! What is worth knowing about a finished handshake: for logs, metrics and rules above.

use rustls::pki_types::CertificateDer;
use rustls::{CommonState, HandshakeKind, NamedGroup, ProtocolVersion};
use sha2::{Digest, Sha256};

use crate::distinguished_name;

/// What a finished handshake agreed upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// IANA name of the cipher suite, `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// Name of the key exchange group, `X25519MLKEM768`; `None` when there was no key exchange
    /// (a session of TLS 1.2 resumed).
    pub group: Option<&'static str>,
    /// The server name the client sent, in lower case (RFC 6066 §3).
    pub sni: Option<Box<str>>,
    /// The protocol agreed upon (RFC 7301).
    pub alpn: Option<Box<[u8]>>,
    /// The certificate the peer proved to hold. On the server's side it is there if the
    /// client showed one that the site's authorities signed; on the client's side always.
    pub peer: Option<Box<PeerCertificate>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// On the server's side: which of the sites given to `ServerTls::build` answered.
    pub site: usize,
}

/// The peer's end-entity certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its subject in the form of RFC 4514, control characters escaped.
    pub subject: String,
    /// SHA-256 of its DER form.
    pub fingerprint: [u8; 32],
}

impl PeerCertificate {
    fn new(der: &CertificateDer<'_>) -> Self {
        let subject = webpki::EndEntityCert::try_from(der)
            .map(|cert| distinguished_name::format(cert.subject()))
            .unwrap_or_default();
        Self { subject, fingerprint: Sha256::digest(der).into() }
    }
}

impl TlsInfo {
    /// Gathers it from a connection whose handshake is over.
    pub(crate) fn new(conn: &CommonState, sni: Option<Box<str>>, site: usize) -> Self {
        Self {
            version: match conn.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "unknown",
            },
            cipher: conn
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .map_or("unknown", strip_tls13_prefix),
            group: conn.negotiated_key_exchange_group().and_then(|group| group_name(group.name())),
            sni,
            alpn: conn.alpn_protocol().map(Into::into),
            peer: conn
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(|der| Box::new(PeerCertificate::new(der))),
            resumed: conn.handshake_kind() == Some(HandshakeKind::Resumed),
            site,
        }
    }
}

/// rustls writes `TLS13_AES_…` for what IANA registers as `TLS_AES_…`.
fn strip_tls13_prefix(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

fn group_name(group: NamedGroup) -> Option<&'static str> {
    group.as_str()
}
