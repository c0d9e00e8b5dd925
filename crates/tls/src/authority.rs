//! An authority of our own, for TLS that is opened on the way: it signs a certificate for
//! whatever name a client asks for, while the client waits.
//!
//! The authority belongs to one installation (`bifrons ca init` makes it) and its key is its
//! owner's alone. Leaf certificates live for a week and share one key that exists only in this
//! process; no two of them have the same serial number, for clients take two certificates of one
//! issuer with the same number for a forgery.

mod cache;
mod create;
mod inspect;

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use std::{fmt, fs};

use config::{CertificateFiles, ConfigError, Spanned};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use self::cache::LeafCache;
use crate::engine::Engine;
use crate::stream::TlsStream;
use crate::{HandshakeError, Io, TlsInfo, files, handshake};

pub use create::{CERTIFICATE_FILE, Constraint, Created, KEY_FILE, NewAuthority, create, save};
pub use inspect::{AuthorityInfo, inspect};

/// How long a leaf certificate is valid.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far its beginning lies in the past: clocks differ.
const BACKDATED: Duration = Duration::from_secs(3600);
/// With less than this left of it, another one is made.
const MARGIN: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a serial number (RFC 5280 §4.1.2.2 allows 20).
const SERIAL: usize = 16;
/// The longest common name (RFC 5280, upper bound of X520CommonName).
const COMMON_NAME: usize = 64;

/// An authority that signs while clients wait, with what it has signed lately.
///
/// Shared by all cores: a look-up takes the lock of one of several shards for a moment, and no
/// lock is held while a certificate is made.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    info: AuthorityInfo,
    /// What is sent behind a leaf: intermediate authorities. Roots are the client's to have.
    chain: Vec<CertificateDer<'static>>,
    key: Arc<LeafKey>,
    alpn: Vec<Vec<u8>>,
    provider: Arc<CryptoProvider>,
    cache: LeafCache,
}

/// A certificate for one name, in the form in which a handshake is answered with it.
#[derive(Debug, Clone)]
pub struct Leaf {
    config: Arc<ServerConfig>,
    /// The certificate, and the authorities between it and the root.
    pub chain: Arc<CertifiedKey>,
    /// From then on another one is made.
    renew: SystemTime,
}

/// The key of all leaf certificates of this process. It is never written anywhere.
struct LeafKey {
    pair: KeyPair,
    signing: Arc<dyn SigningKey>,
}

/// Why there is no certificate for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned(String);

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsigned {}

impl fmt::Debug for Authority {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads an authority. `alpn` are the protocols that are spoken inside, in our order of
    /// preference; `kept` is how many leaf certificates are kept at most.
    ///
    /// # Errors
    /// Every file that is missing, unreadable or not what it should be; a key that others than
    /// its owner can read; a certificate that is none of an authority, or has expired.
    pub fn load(
        files: &CertificateFiles,
        alpn: &[&[u8]],
        kept: usize,
    ) -> Result<Self, Vec<ConfigError>> {
        let provider = crate::provider();
        private(&files.key).map_err(|error| vec![error])?;
        let pair = files::certified_key(files, &provider)?;
        let unfit = |why: String| {
            let message = format!("{} cannot sign", files.cert.value.display());
            vec![
                ConfigError::at(files.cert.span, message, why)
                    .help("make an authority of your own with `bifrons ca init`"),
            ]
        };
        let Some((own, behind)) = pair.cert.split_first() else {
            return Err(unfit("there is no certificate in it".into()));
        };
        let info = inspect::info(own).map_err(unfit)?;
        info.check(SystemTime::now()).map_err(unfit)?;
        let key = files::private_key(&files.key).map_err(|error| vec![error])?;
        let key = KeyPair::try_from(&key).map_err(|error| unfit(error.to_string()))?;
        let issuer =
            Issuer::from_ca_cert_der(own, key).map_err(|error| unfit(error.to_string()))?;
        let mut chain = vec![own.clone()];
        chain.extend_from_slice(behind);
        chain.retain(|certificate| !is_root(certificate));
        let authority = Self {
            issuer,
            info,
            chain,
            key: leaf_key(&provider).map_err(unfit)?,
            alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect(),
            provider,
            cache: LeafCache::new(kept),
        };
        authority.try_out(own).map_err(unfit)?;
        Ok(authority)
    }

    /// What the authority is.
    #[must_use]
    pub fn info(&self) -> &AuthorityInfo {
        &self.info
    }

    /// Whether clients would take a certificate of this authority for a host: a DNS name in
    /// lower case, or an address.
    #[must_use]
    pub fn may_sign(&self, host: &str) -> bool {
        self.info.permits(host)
    }

    /// The certificate for exactly this host: a DNS name in lower case, or an address.
    ///
    /// # Errors
    /// When the host is neither.
    pub fn leaf(&self, host: &str) -> Result<Leaf, Unsigned> {
        let now = SystemTime::now();
        if let Some(leaf) = self.cache.find(host, now) {
            return Ok(leaf);
        }
        let leaf = self.sign(host, now)?;
        self.cache.keep(host, leaf.clone(), now);
        Ok(leaf)
    }

    /// Answers a handshake with this certificate, whatever name the client asks for.
    ///
    /// `early` is what was already read from `io`, and `sni` the name in it. Nothing is resumed:
    /// a full handshake with a P-256 key costs little, and a session would outlive what the
    /// configuration says. The time it may take is the caller's matter.
    ///
    /// # Errors
    /// See [`HandshakeError`]; the alert was sent where there is one.
    pub async fn accept(
        &self,
        leaf: &Leaf,
        io: Io,
        early: Vec<u8>,
        sni: Option<Box<str>>,
    ) -> Result<Io, HandshakeError> {
        let conn = UnbufferedServerConnection::new(Arc::clone(&leaf.config))
            .map_err(HandshakeError::Tls)?;
        let mut stream = Box::new(TlsStream::new(io, Engine::Server(conn), early));
        handshake::complete(&mut stream).await?;
        let info = TlsInfo::new(stream.connection(), sni, 0);
        stream.set_info(info);
        Ok(Io::Tls(stream))
    }

    fn sign(&self, host: &str, now: SystemTime) -> Result<Leaf, Unsigned> {
        let failed = |error: &dyn fmt::Display| Unsigned(error.to_string());
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().map_err(|error| failed(&error))?),
        }];
        params.distinguished_name = DistinguishedName::new();
        let subject = if host.len() <= COMMON_NAME { host } else { "see the alternative name" };
        params.distinguished_name.push(DnType::CommonName, subject);
        // No longer than the authority itself: clients look at the whole chain.
        let until = (now + LIFETIME).min(self.info.not_after);
        params.not_before = (now - BACKDATED).max(self.info.not_before).into();
        params.not_after = until.into();
        params.serial_number = Some(self.serial()?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate =
            params.signed_by(&self.key.pair, &self.issuer).map_err(|error| failed(&error))?;
        let mut chain = vec![certificate.der().clone()];
        chain.extend_from_slice(&self.chain);
        let chain = CertifiedKey::new(chain, Arc::clone(&self.key.signing));
        let chain = Arc::new(chain);
        let config = self.server_config(&chain).map_err(|error| failed(&error))?;
        let renew = until.checked_sub(MARGIN).unwrap_or(now).max(now + BACKDATED);
        Ok(Leaf { config, chain, renew })
    }

    fn serial(&self) -> Result<SerialNumber, Unsigned> {
        let mut bytes = [0; SERIAL];
        let random = self.provider.secure_random;
        random.fill(&mut bytes).map_err(|_| Unsigned("no random numbers".into()))?;
        // Positive, and of the same length each time.
        bytes[0] = bytes[0] & 0x7f | 0x40;
        Ok(SerialNumber::from_slice(&bytes))
    }

    fn server_config(&self, chain: &Arc<CertifiedKey>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let resolver = SingleCertAndKey::from(Arc::clone(chain));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols.clone_from(&self.alpn);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }

    /// A name that is spelled in an unusual way in the certificate may come out differently in
    /// what is signed, and no client could follow the chain.
    fn try_out(&self, own: &CertificateDer<'_>) -> Result<(), String> {
        let leaf = self.sign("localhost", SystemTime::now()).map_err(|error| error.to_string())?;
        let issuer_of = |der: &CertificateDer<'_>| {
            let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
            Some(certificate.issuer().as_raw().to_vec())
        };
        let subject = x509_parser::parse_x509_certificate(own)
            .map(|(_, certificate)| certificate.subject().as_raw().to_vec());
        match (leaf.chain.cert.first().and_then(issuer_of), subject) {
            (Some(issuer), Ok(subject)) if issuer == subject => Ok(()),
            _ => Err("its name cannot be repeated in what it signs".into()),
        }
    }
}

/// Whether it is signed by itself, as far as names tell.
fn is_root(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, found)| found.issuer().as_raw() == found.subject().as_raw())
}

/// A key that others can read is no secret any more.
fn private(key: &Spanned<std::path::PathBuf>) -> Result<(), ConfigError> {
    let path: &Path = &key.value;
    // Whoever reads it next says what is wrong with a file that is not there.
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(ConfigError::at(
        key.span,
        format!("others than its owner can read the key of the authority {}", path.display()),
        format!("its mode is {mode:04o}"),
    )
    .help(format!(
        "whoever has this key can pose as any site to those who trust the authority: \
         chmod 600 {}, or make another with `bifrons ca init --force`",
        path.display()
    )))
}

/// The one of this process.
fn leaf_key(provider: &CryptoProvider) -> Result<Arc<LeafKey>, String> {
    static KEY: OnceLock<Result<Arc<LeafKey>, String>> = OnceLock::new();
    let make = || {
        let pair = KeyPair::generate().map_err(|error| error.to_string())?;
        let der = PrivateKeyDer::try_from(pair.serialize_der()).map_err(str::to_owned)?;
        let signing =
            provider.key_provider.load_private_key(der).map_err(|error| error.to_string())?;
        Ok(Arc::new(LeafKey { pair, signing }))
    };
    KEY.get_or_init(make).clone()
}

#[cfg(test)]
mod tests;
