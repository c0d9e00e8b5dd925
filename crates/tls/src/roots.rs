//! The authorities of the system, read at most once and only if somebody needs them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use config::{ConfigError, Spanned, UpstreamTls};
use rustls::RootCertStore;

use crate::{ClientTls, files};

/// The authorities that servers are verified against when none are named.
#[derive(Debug, Default)]
pub struct Roots {
    loaded: OnceLock<Result<Arc<RootCertStore>, String>>,
    client: OnceLock<ClientTls>,
}

impl Roots {
    /// Those of the system: `SSL_CERT_FILE`, `SSL_CERT_DIR`, or where distributions keep them.
    /// Read when first needed.
    pub fn system() -> Self {
        Self::default()
    }

    /// These.
    pub fn of(store: RootCertStore) -> Self {
        Self { loaded: OnceLock::from(Ok(Arc::new(store))), client: OnceLock::new() }
    }

    /// How servers are connected to of which nothing is said but that they speak HTTP/1.1 over
    /// TLS. All who ask share one, and with it its sessions.
    ///
    /// # Errors
    ///
    /// When the system has no authorities that can be used.
    pub fn client(&self) -> Result<ClientTls, Vec<ConfigError>> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let client = ClientTls::build(&UpstreamTls::default(), self, &[b"http/1.1"])?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    /// These, and those of PEM files. Where files are named, the system need not have any.
    ///
    /// # Errors
    /// Every file that is missing, unreadable or not what it should be.
    pub fn and(&self, files: &[Spanned<PathBuf>]) -> Result<Self, Vec<ConfigError>> {
        let mut store = match self.get() {
            Ok(store) => RootCertStore::clone(&store),
            Err(_) if !files.is_empty() => RootCertStore::empty(),
            Err(error) => return Err(vec![error]),
        };
        let mut errors = Vec::new();
        for file in files {
            match files::authorities(file) {
                Ok(more) => store.extend(more.roots),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self::of(store)) } else { Err(errors) }
    }

    /// The store.
    ///
    /// # Errors
    ///
    /// When the system has none that can be used.
    pub(crate) fn get(&self) -> Result<Arc<RootCertStore>, ConfigError> {
        self.loaded.get_or_init(load).clone().map_err(|why| {
            ConfigError::whole(format!("there are no authorities to verify servers against: {why}"))
                .help(
                    "install the system's authorities (Debian: apt install ca-certificates), or \
                     name a PEM file with `ca`",
                )
        })
    }
}

fn load() -> Result<Arc<RootCertStore>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if !store.is_empty() {
        for error in &found.errors {
            tracing::warn!(%error, "some authorities of the system cannot be read");
        }
        return Ok(Arc::new(store));
    }
    match found.errors.first() {
        Some(error) => Err(error.to_string()),
        None => Err("the system has no store of authorities".into()),
    }
}
