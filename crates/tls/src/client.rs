//! TLS towards servers: origins, and parent proxies.

use std::sync::Arc;

use config::{ConfigError, UpstreamTls};
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use crate::engine::Engine;
use crate::insecure::AcceptAnyServer;
use crate::pinned::PinnedOrSigned;
use crate::roots::Roots;
use crate::stream::TlsStream;
use crate::{ConnectError, Io, TlsInfo, files, handshake};

/// Sessions remembered for resumption, by server name.
const SESSIONS: usize = 256;

/// How one upstream is connected to.
///
/// Sessions are resumed within it and never across: another upstream may trust other
/// authorities, or show another certificate.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// Sent and verified instead of the host.
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Reads the files of one upstream.
    ///
    /// Servers are verified against `roots`, or the authorities of `tls.ca`, for the host that
    /// is connected to, or the name of `tls.sni`. A server may also show a certificate that is
    /// itself in `tls.ca`. With `tls.insecure` nothing is verified.
    ///
    /// # Errors
    ///
    /// Every file that is missing, unreadable or not what it should be; no authorities on the
    /// system; a `sni` that is no name. The last two have no place, they concern the whole
    /// upstream.
    pub fn build(
        tls: &UpstreamTls,
        roots: &Roots,
        alpn: &[&[u8]],
    ) -> Result<Self, Vec<ConfigError>> {
        let provider = crate::provider();
        let mut errors = Vec::new();
        let verifier = verifier(tls, roots, &provider).map_err(|error| errors.push(error)).ok();
        let name = match tls.sni.as_deref().map(server_name) {
            None => None,
            Some(Ok(name)) => Some(name),
            Some(Err(_)) => {
                errors.push(
                    ConfigError::whole(format!(
                        "`sni {}` is no name a certificate can be valid for",
                        tls.sni.as_deref().unwrap_or_default()
                    ))
                    .help("give a DNS name or an IP address"),
                );
                None
            }
        };
        let identity = match tls.client.as_ref().map(|pair| files::certified_key(pair, &provider)) {
            None => None,
            Some(Ok(pair)) => Some(pair),
            Some(Err(more)) => {
                errors.extend(more);
                None
            }
        };
        let Some(verifier) = verifier.filter(|_| errors.is_empty()) else { return Err(errors) };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                vec![ConfigError::whole(format!("TLS towards servers cannot be set up: {error}"))]
            })?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.enable_early_data = false;
        Ok(Self { config: Arc::new(config), name })
    }

    /// For servers of which nothing is configured: each is verified against `roots`, for the host
    /// that is connected to. Nothing is remembered from one connection to the next, by which a
    /// server could tell that two of them have something to do with each other.
    ///
    /// # Errors
    /// No authorities on the system.
    pub fn verifying(roots: &Roots, alpn: &[&[u8]]) -> Result<Self, ConfigError> {
        let whole = |error: &dyn std::fmt::Display| {
            ConfigError::whole(format!("TLS towards servers cannot be set up: {error}"))
        };
        let mut config = ClientConfig::builder_with_provider(crate::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| whole(&error))?
            .with_root_certificates(roots.get()?)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(Self { config: Arc::new(config), name: None })
    }

    /// Makes the handshake with the server at the other end of `io`.
    ///
    /// `host` is a DNS name, sent as server name, or an address, with or without brackets,
    /// which is not sent (RFC 6066 §3). Both are verified. Bytes that come before the handshake
    /// is over are part of it or end it: none of them is ever read as data.
    ///
    /// In TLS 1.3 a server tells only later that it refuses our certificate: the first read
    /// then fails, and [`ConnectError::from_read`] finds the alert in that error.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(&self, io: impl Into<Io>, host: &str) -> Result<Io, ConnectError> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        let sni = match &name {
            ServerName::DnsName(name) => Some(name.as_ref().into()),
            _ => None,
        };
        let conn = UnbufferedClientConnection::new(Arc::clone(&self.config), name)
            .map_err(ConnectError::Protocol)?;
        let mut stream = Box::new(TlsStream::new(io.into(), Engine::Client(conn), Vec::new()));
        handshake::complete(&mut stream).await?;
        let info = TlsInfo::new(stream.connection(), sni, 0);
        stream.set_info(info);
        Ok(Io::Tls(stream))
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, ConnectError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare.to_ascii_lowercase())
        .map_err(|_| ConnectError::InvalidName(host.to_owned()))
}

fn verifier(
    tls: &UpstreamTls,
    roots: &Roots,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
    if tls.insecure {
        return Ok(Arc::new(AcceptAnyServer(Arc::clone(provider))));
    }
    let (pinned, roots) = match &tls.ca {
        Some(ca) => {
            let named = files::certificates(ca)?;
            let roots = files::authorities_among(named.clone(), ca)?;
            (Some(named), Arc::new(roots))
        }
        None => (None, roots.get()?),
    };
    let signed = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| {
        let mut whole =
            ConfigError::whole(format!("the authorities cannot verify servers: {error}"));
        whole.span = tls.ca.as_ref().map(|ca| ca.span);
        whole
    })?;
    Ok(match pinned {
        Some(pinned) => Arc::new(PinnedOrSigned { pinned, signed }),
        None => signed,
    })
}
