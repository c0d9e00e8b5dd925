//! What can go wrong in a handshake, in words that logs and metrics can rely on.

use std::fmt;
use std::io;

use rustls::{CertificateError, Error, PeerIncompatible};

use crate::Io;
use crate::handshake::Broken;
use crate::pinned::is_authority;

/// Why a client's handshake failed.
#[derive(Debug)]
pub enum HandshakeError {
    /// The client speaks HTTP in clear on a port for TLS. The first bytes have been read; the
    /// connection can still carry an answer in clear.
    PlainHttp(Io),
    /// The client closed before the handshake was over.
    Eof,
    /// The socket failed.
    Io(io::Error),
    /// The protocol failed; the alert that belongs to it was sent.
    Tls(Error),
}

impl HandshakeError {
    /// What failed, in one of a fixed set of words.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::PlainHttp(_) => "plain_http",
            Self::Eof => "eof",
            Self::Io(_) => "io",
            Self::Tls(error) => reason(error),
        }
    }
}

fn reason(error: &Error) -> &'static str {
    use PeerIncompatible as P;
    match error {
        Error::PeerIncompatible(P::NoCipherSuitesInCommon) => "no_shared_cipher",
        Error::PeerIncompatible(
            P::NoKxGroupsInCommon
            | P::NamedGroupsExtensionRequired
            | P::KeyShareExtensionRequired
            | P::NoEcPointFormatsInCommon,
        ) => "no_shared_group",
        Error::PeerIncompatible(
            P::NoSignatureSchemesInCommon | P::SignatureAlgorithmsExtensionRequired,
        ) => "no_shared_signature_scheme",
        Error::PeerIncompatible(
            P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled
            | P::SupportedVersionsExtensionRequired
            | P::ServerDoesNotSupportTls12Or13
            | P::ServerTlsVersionIsDisabledByOurConfig,
        ) => "no_shared_version",
        Error::PeerIncompatible(_) => "incompatible_peer",
        Error::NoApplicationProtocol => "no_shared_protocol",
        Error::NoCertificatesPresented => "client_certificate_missing",
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "client_certificate_expired",
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "client_certificate_unknown_issuer"
        }
        Error::InvalidCertificate(_) => "client_certificate_invalid",
        Error::AlertReceived(_) => "alert_received",
        Error::InvalidMessage(_) | Error::DecryptError | Error::PeerSentOversizedRecord => {
            "bad_record"
        }
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => "bad_handshake",
        Error::HandshakeNotComplete => "eof",
        _ => "internal",
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainHttp(_) => f.write_str("plain HTTP on a port for TLS"),
            Self::Eof => f.write_str("closed during the TLS handshake"),
            Self::Io(error) => write!(f, "TLS handshake: {error}"),
            Self::Tls(error) => write!(f, "TLS handshake: {error}"),
        }
    }
}

impl std::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::PlainHttp(_) | Self::Eof => None,
            Self::Io(error) => Some(error),
            Self::Tls(error) => Some(error),
        }
    }
}

impl From<Broken> for HandshakeError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Eof => Self::Eof,
            Broken::Io(error) => Self::Io(error),
            Broken::Tls(error) => Self::Tls(error),
        }
    }
}

/// Why a handshake with a server failed. All but the transport's errors are named as in
/// RFC 9209 §2.3.
#[derive(Debug)]
pub enum ConnectError {
    /// The host is neither a name nor an address that could be verified.
    InvalidName(String),
    /// The server closed before the handshake was over.
    Eof,
    /// The socket failed.
    Io(io::Error),
    /// `tls_certificate_error`: its certificate does not verify.
    Certificate(CertificateError),
    /// `tls_alert_received`.
    Alert {
        /// The alert's code (RFC 8446 §6).
        id: u8,
        /// Its name in the registry, or `unknown`.
        name: &'static str,
    },
    /// `tls_protocol_error`: anything else.
    Protocol(Error),
}

impl ConnectError {
    /// What a failed read of an open connection says about TLS, if it does: in TLS 1.3 a
    /// server refuses a client's certificate only after the client's handshake is over.
    pub fn from_read(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(Broken::Tls(error.clone()).into())
    }

    /// The error type of RFC 9209 §2.3.
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::InvalidName(_) | Self::Certificate(_) => "tls_certificate_error",
            Self::Eof | Self::Io(_) => "connection_terminated",
            Self::Alert { .. } => "tls_alert_received",
            Self::Protocol(_) => "tls_protocol_error",
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName(name) => write!(f, "no certificate can be valid for {name:?}"),
            Self::Eof => f.write_str("the server closed during the TLS handshake"),
            Self::Io(error) => write!(f, "TLS handshake: {error}"),
            Self::Certificate(error) if is_authority(error) => f.write_str(
                "the server's certificate is one for authorities (CA:TRUE): it is taken only if \
                 the `ca` file has exactly this certificate",
            ),
            Self::Certificate(error) => write!(f, "the server's certificate: {error}"),
            Self::Alert { id, name } => write!(f, "the server sent the TLS alert {name} ({id})"),
            Self::Protocol(error) => write!(f, "TLS handshake: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InvalidName(_) | Self::Eof | Self::Certificate(_) | Self::Alert { .. } => None,
            Self::Io(error) => Some(error),
            Self::Protocol(error) => Some(error),
        }
    }
}

impl From<Broken> for ConnectError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Eof | Broken::Tls(Error::HandshakeNotComplete) => Self::Eof,
            Broken::Io(error) => Self::Io(error),
            Broken::Tls(Error::InvalidCertificate(error)) => Self::Certificate(error),
            Broken::Tls(Error::AlertReceived(alert)) => {
                Self::Alert { id: alert.into(), name: alert_name(alert.into()) }
            }
            Broken::Tls(error) => Self::Protocol(error),
        }
    }
}

/// Names of the TLS alerts registry at IANA.
fn alert_name(id: u8) -> &'static str {
    match id {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "unknown",
    }
}
