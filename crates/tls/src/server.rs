//! TLS towards clients: one listener's sites, each with a configuration of its own.
//!
//! A site is more than its certificates: it says who may come in. A session that was made
//! under one site's rules must not open another's, whatever name the client sends (the class
//! of CVE-2025-23419). Each site therefore has its own ticket keys, also where the rules are
//! equal today, and no session storage; keys rotate every six hours, and a ticket lives
//! for twelve.

use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use config::{ClientAuth, ConfigError, HostPattern, SiteTls, Spanned, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ResolvesServerCert, UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::certificates::{Certificates, describe};
use crate::client_hello::{self, FirstBytes};
use crate::engine::Engine;
use crate::files::{self, Stamp};
use crate::handshake::{self, Broken};
use crate::names::SiteNames;
use crate::stream::{TlsStream, poll_append};
use crate::{HandshakeError, Io, TlsInfo};

const FROM_TLS12: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const FROM_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];

/// One site, as [`ServerTls::build`] needs it.
#[derive(Debug, Clone, Copy)]
pub struct ServerSite<'a> {
    /// The names it answers to.
    pub hosts: &'a [HostPattern],
    /// Its certificates and rules.
    pub tls: &'a SiteTls,
    /// Whether it speaks HTTP/2, if that is among the protocols of the listener.
    pub http2: bool,
}

/// TLS of one listener.
///
/// Shared by all cores; a handshake takes no lock but the short one around the ticket keys.
#[derive(Debug)]
pub struct ServerTls {
    names: Arc<SiteNames>,
    sites: Vec<Site>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Site {
    certificates: Arc<Certificates>,
    policy: ArcSwap<Policy>,
    client_auth: ClientAuth,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: Vec<Vec<u8>>,
}

/// What changes when the file of the client authorities does.
#[derive(Debug)]
struct Policy {
    config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    authorities: Option<Stamp>,
}

/// What became of a file that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It is in use.
    Reloaded {
        /// Index of the site.
        site: usize,
        /// The certificate file, or that of the client authorities.
        path: PathBuf,
    },
    /// It cannot be used, and what was read before stays. Said once for each change.
    Kept {
        /// Index of the site.
        site: usize,
        /// The certificate file, or that of the client authorities.
        path: PathBuf,
        /// One line.
        reason: String,
    },
}

impl ServerTls {
    /// Reads the files of all sites of one listener.
    ///
    /// `alpn` are the protocols in our order of preference; a client that offers others only is
    /// refused, one that offers none is served.
    ///
    /// # Errors
    ///
    /// Every file that is missing, unreadable or not what it should be.
    pub fn build(sites: &[ServerSite<'_>], alpn: &[&[u8]]) -> Result<Self, Vec<ConfigError>> {
        let provider = crate::provider();
        let names = Arc::new(SiteNames::new(sites.iter().map(|site| site.hosts)));
        let mut built = Vec::with_capacity(sites.len());
        let mut errors = Vec::new();
        for (index, site) in sites.iter().enumerate() {
            let shared = (sites.len() > 1).then(|| Arc::clone(&names));
            let spoken = |protocol: &&&[u8]| site.http2 || **protocol != b"h2";
            let alpn: Vec<_> = alpn.iter().filter(spoken).copied().collect();
            match Site::build(index, site.tls, shared, &alpn, &provider) {
                Ok(site) => built.push(site),
                Err(more) => errors.extend(more),
            }
        }
        if errors.is_empty() { Ok(Self { names, sites: built, provider }) } else { Err(errors) }
    }

    /// Answers a handshake.
    ///
    /// `early` is what was already read from `io`. The time it may take is the caller's matter:
    /// dropping the future ends it. Memory is bounded whatever the client sends.
    ///
    /// In TLS 1.3 the session ticket is left to go out with the first bytes written.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]; the alert was sent where there is one.
    pub async fn accept(&self, io: impl Into<Io>, early: &[u8]) -> Result<Io, HandshakeError> {
        let mut io = io.into();
        let mut received = early.to_vec();
        let sni = loop {
            match client_hello::inspect(&received) {
                FirstBytes::Hello(sni) => break sni,
                FirstBytes::PlainHttp => return Err(HandshakeError::PlainHttp(io)),
                FirstBytes::Incomplete => {}
            }
            let n = poll_fn(|cx| poll_append(&mut io, cx, &mut received)).await;
            if n.map_err(HandshakeError::Io)? == 0 {
                return Err(HandshakeError::Eof);
            }
        };
        let index = self.names.choose(sni.as_deref());
        let Some(site) = self.sites.get(index) else {
            return Err(HandshakeError::Tls(rustls::Error::General("there is no site".into())));
        };
        let policy = site.policy.load_full();
        let conn = UnbufferedServerConnection::new(Arc::clone(&policy.config))
            .map_err(HandshakeError::Tls)?;
        let mut stream = Box::new(TlsStream::new(io, Engine::Server(conn), received));
        handshake::complete(&mut stream).await?;
        let info = TlsInfo::new(stream.connection(), sni, index);
        policy.check_resumed(&info, &stream)?;
        stream.set_info(info);
        Ok(Io::Tls(stream))
    }

    /// The site, by its place among those it was built from, that a handshake for this name (in
    /// lower case) is made for; `None` is a client that asks for none.
    #[must_use]
    pub fn site_of(&self, name: Option<&str>) -> usize {
        self.names.choose(name)
    }

    /// Looks at all files, and reads those that changed. Blocks on the disk: call it from a
    /// control thread, every few seconds.
    ///
    /// Sessions outlive a new certificate, but not new client authorities.
    pub fn refresh(&self) -> Vec<RefreshOutcome> {
        let mut outcomes = Vec::new();
        for (index, site) in self.sites.iter().enumerate() {
            let mut changed = site.certificates.refresh(&self.provider);
            changed.extend(site.refresh_authorities(&self.provider));
            outcomes.extend(changed.into_iter().map(|(path, result)| match result {
                Ok(()) => RefreshOutcome::Reloaded { site: index, path },
                Err(reason) => RefreshOutcome::Kept { site: index, path, reason },
            }));
        }
        outcomes
    }
}

impl Site {
    fn build(
        index: usize,
        tls: &SiteTls,
        names: Option<Arc<SiteNames>>,
        alpn: &[&[u8]],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Vec<ConfigError>> {
        let versions = match tls.min_version {
            TlsVersion::Tls12 => FROM_TLS12,
            TlsVersion::Tls13 => FROM_TLS13,
        };
        let alpn: Vec<_> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let certificates = Certificates::load(&tls.certificates, index, names, provider);
        // Without certificates there is no policy, but its errors are wanted as well.
        let (certificates, mut errors) = match certificates {
            Ok(certificates) => (Some(Arc::new(certificates)), Vec::new()),
            Err(errors) => (None, errors),
        };
        let resolver: Arc<dyn ResolvesServerCert> = match &certificates {
            Some(certificates) => Arc::<Certificates>::clone(certificates),
            None => Arc::new(rustls::server::ResolvesServerCertUsingSni::new()),
        };
        let policy = Policy::build(&tls.client_auth, resolver, versions, &alpn, provider)
            .map_err(|error| error.unwrap_or_else(|why| ConfigError::at(tls.span, why, "here")));
        match (certificates, policy) {
            (Some(certificates), Ok(policy)) => Ok(Self {
                certificates,
                policy: ArcSwap::from_pointee(policy),
                client_auth: tls.client_auth.clone(),
                versions,
                alpn,
            }),
            (_, policy) => {
                errors.extend(policy.err());
                Err(errors)
            }
        }
    }

    fn refresh_authorities(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Option<(PathBuf, Result<(), String>)> {
        let (ClientAuth::Optional { ca } | ClientAuth::Required { ca }) = &self.client_auth else {
            return None;
        };
        let current = self.policy.load_full();
        let stamp = Stamp::of(&ca.value);
        if stamp == current.authorities {
            return None;
        }
        let resolver = Arc::<Certificates>::clone(&self.certificates);
        let built = Policy::build(&self.client_auth, resolver, self.versions, &self.alpn, provider);
        let result = match built {
            Ok(policy) => {
                self.policy.store(Arc::new(policy));
                Ok(())
            }
            Err(error) => {
                self.policy.store(Arc::new(Policy {
                    config: Arc::clone(&current.config),
                    verifier: current.verifier.clone(),
                    authorities: stamp,
                }));
                Err(error.map_or_else(|why| why, |error| describe(&[error])))
            }
        };
        Some((ca.value.clone(), result))
    }
}

impl Policy {
    /// Errors are either about a place, or (`Err`) about the system.
    fn build(
        client_auth: &ClientAuth,
        resolver: Arc<dyn ResolvesServerCert>,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[Vec<u8>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Result<ConfigError, String>> {
        let (verifier, authorities) = match client_auth {
            ClientAuth::Off => (None, None),
            ClientAuth::Optional { ca } => {
                (Some(verifier(ca, true, provider)), Stamp::of(&ca.value))
            }
            ClientAuth::Required { ca } => {
                (Some(verifier(ca, false, provider)), Stamp::of(&ca.value))
            }
        };
        let verifier = verifier.transpose().map_err(Ok)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)
            .map_err(|error| Err(error.to_string()))?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = alpn.to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(|error| Err(error.to_string()))?;
        // Each costs an encryption and 200 bytes; a client that comes back needs one.
        config.send_tls13_tickets = 1;
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config), verifier, authorities })
    }

    /// A ticket carries the client's certificate, and rustls takes it from there as it was: what
    /// has expired since, or is no longer signed by an authority of ours, is refused here.
    fn check_resumed(&self, info: &TlsInfo, stream: &TlsStream) -> Result<(), Broken> {
        let Some(verifier) = self.verifier.as_ref().filter(|_| info.resumed) else {
            return Ok(());
        };
        let chain = stream.connection().peer_certificates();
        let Some((leaf, intermediates)) = chain.and_then(|chain| chain.split_first()) else {
            if verifier.client_auth_mandatory() {
                return Err(Broken::Tls(rustls::Error::NoCertificatesPresented));
            }
            return Ok(());
        };
        verifier
            .verify_client_cert(leaf, intermediates, UnixTime::now())
            .map(drop)
            .map_err(Broken::Tls)
    }
}

fn verifier(
    ca: &Spanned<PathBuf>,
    optional: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let roots = Arc::new(files::authorities(ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| {
        ConfigError::at(
            ca.span,
            format!("{} cannot verify clients", ca.value.display()),
            error.to_string(),
        )
        .help("give a PEM file with the certificates of the authorities that sign clients")
    })
}
