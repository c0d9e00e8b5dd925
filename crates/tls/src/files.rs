//! PEM files: read, matched with each other, and watched for change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use config::{CertificateFiles, ConfigError, Span, Spanned};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// What tells one state of a file from another; symbolic links are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl Stamp {
    /// `None` if there is no such file, or it cannot be asked about.
    ///
    /// Take it before reading: a file that changes in between is then read again, never missed.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            size: metadata.size(),
            inode: metadata.ino(),
        })
    }
}

/// Reads a certificate chain and its key, and checks that they belong together.
pub(crate) fn certified_key(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Vec<ConfigError>> {
    let chain = certificates(&files.cert);
    let key = private_key(&files.key);
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let shown = files.key.value.display();
    let key = provider.key_provider.load_private_key(key).map_err(|error| {
        vec![
            at(
                files.key.span,
                format!("the private key {shown} cannot be used"),
                error.to_string(),
            )
            .help("RSA keys of 2048 to 8192 bits, ECDSA P-256, P-384, P-521 and Ed25519 work"),
        ]
    })?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(pair)
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(vec![
            at(
                files.key.span,
                format!("the private key {shown} belongs to another certificate"),
                format!("does not match {}", files.cert.value.display()),
            )
            .help(
                "name the key the certificate was made for; the certificate's own comes first \
                 in its file, those of the authorities behind it",
            ),
        ]),
        Err(error) => Err(vec![not_a_certificate(&files.cert, &error.to_string())]),
    }
}

/// Reads the certificates of a PEM file, in their order; at least one.
pub(crate) fn certificates(
    file: &Spanned<std::path::PathBuf>,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let bytes = read(file, "certificate file")?;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| not_a_certificate(file, &error.to_string()))?;
    let Some(leaf) = chain.first() else {
        return Err(not_a_certificate(file, "there is no BEGIN CERTIFICATE in it"));
    };
    webpki::EndEntityCert::try_from(leaf)
        .map_err(|error| not_a_certificate(file, &error.to_string()))?;
    Ok(chain)
}

/// Reads authorities; at least one that can be used.
pub(crate) fn authorities(
    file: &Spanned<std::path::PathBuf>,
) -> Result<RootCertStore, ConfigError> {
    authorities_among(certificates(file)?, file)
}

/// As [`authorities`], of what was read from the file.
pub(crate) fn authorities_among(
    certificates: Vec<CertificateDer<'static>>,
    file: &Spanned<std::path::PathBuf>,
) -> Result<RootCertStore, ConfigError> {
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(certificates);
    if usable == 0 {
        return Err(not_a_certificate(file, "none of its certificates can be an authority"));
    }
    Ok(store)
}

pub(crate) fn private_key(
    file: &Spanned<std::path::PathBuf>,
) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let bytes = read(file, "private key file")?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let shown = file.value.display();
        let message = format!("there is no private key in {shown}");
        if memchr::memmem::find(&bytes, b"BEGIN ENCRYPTED PRIVATE KEY").is_some() {
            return at(file.span, message, "the key is encrypted")
                .help(format!("take the passphrase off: openssl pkey -in {shown} -out FILE"));
        }
        let label = match error {
            pem::Error::NoItemsFound => "no BEGIN PRIVATE KEY in it".to_owned(),
            error => error.to_string(),
        };
        at(file.span, message, label)
            .help("give a PEM file with a key in PKCS#8, SEC1 or PKCS#1 form")
    })
}

fn read(file: &Spanned<std::path::PathBuf>, what: &str) -> Result<Vec<u8>, ConfigError> {
    fs::read(&file.value).map_err(|error| {
        let message = format!("cannot read the {what} {}", file.value.display());
        let help = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "let the user the proxy runs as read the file and search its directories"
            }
            _ => "check the path; a relative one starts where the proxy was started",
        };
        at(file.span, message, error.to_string()).help(help)
    })
}

fn not_a_certificate(file: &Spanned<std::path::PathBuf>, why: &str) -> ConfigError {
    at(file.span, format!("there is no certificate in {}", file.value.display()), why)
        .help("give a PEM file: the certificate first, then those of its authorities")
}

fn at(span: Span, message: impl Into<String>, label: impl Into<String>) -> ConfigError {
    ConfigError::at(span, message, label)
}
