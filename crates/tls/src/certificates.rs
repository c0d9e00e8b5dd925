//! The certificates of one site: which of them answers, and how they are renewed.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use config::{CertificateFiles, ConfigError};
use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::files::{self, Stamp};
use crate::names::{self, SiteNames};

/// The certificates of one site, replaceable while handshakes use them.
#[derive(Debug)]
pub(crate) struct Certificates {
    site: usize,
    /// All sites of the listener, if there are several.
    sites: Option<Arc<SiteNames>>,
    current: ArcSwap<Vec<Loaded>>,
}

/// One certificate and the state its files were in when they were last looked at.
#[derive(Debug, Clone)]
struct Loaded {
    files: CertificateFiles,
    stamps: [Option<Stamp>; 2],
    key: Arc<CertifiedKey>,
    names: Arc<[String]>,
}

impl Loaded {
    fn read(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Self, Vec<ConfigError>> {
        let stamps = stamps(files);
        let key = files::certified_key(files, provider)?;
        let names = key
            .cert
            .first()
            .and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok())
            .map(|leaf| leaf.valid_dns_names().map(str::to_owned).collect())
            .unwrap_or_default();
        Ok(Self { files: files.clone(), stamps, key: Arc::new(key), names })
    }

    fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|presented| names::covers(presented, name))
    }
}

fn stamps(files: &CertificateFiles) -> [Option<Stamp>; 2] {
    [Stamp::of(&files.cert.value), Stamp::of(&files.key.value)]
}

impl Certificates {
    /// Reads all of them; every error is reported.
    pub(crate) fn load(
        files: &[CertificateFiles],
        site: usize,
        sites: Option<Arc<SiteNames>>,
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut loaded = Vec::with_capacity(files.len());
        let mut errors = Vec::new();
        for pair in files {
            match Loaded::read(pair, provider) {
                Ok(certificate) => loaded.push(certificate),
                Err(more) => errors.extend(more),
            }
        }
        if errors.is_empty() {
            Ok(Self { site, sites, current: ArcSwap::from_pointee(loaded) })
        } else {
            Err(errors)
        }
    }

    /// Reads those whose files changed. A pair that cannot be used leaves the old one in
    /// place, and is tried again when either file changes once more.
    ///
    /// Returns the certificate files concerned, each with the reason if it was kept.
    pub(crate) fn refresh(&self, provider: &CryptoProvider) -> Vec<(PathBuf, Result<(), String>)> {
        let current = self.current.load_full();
        let mut next = Vec::clone(&current);
        let mut outcomes = Vec::new();
        for certificate in &mut next {
            let stamps = stamps(&certificate.files);
            if stamps == certificate.stamps {
                continue;
            }
            let result = match Loaded::read(&certificate.files, provider) {
                Ok(loaded) => {
                    *certificate = loaded;
                    Ok(())
                }
                Err(errors) => {
                    certificate.stamps = stamps;
                    Err(describe(&errors))
                }
            };
            outcomes.push((certificate.files.cert.value.clone(), result));
        }
        if !outcomes.is_empty() {
            self.current.store(Arc::new(next));
        }
        outcomes
    }
}

/// Errors as one line, for a log.
pub(crate) fn describe(errors: &[ConfigError]) -> String {
    let lines: Vec<_> =
        errors.iter().map(|error| format!("{} ({})", error.message, error.label)).collect();
    lines.join("; ")
}

impl ResolvesServerCert for Certificates {
    /// The one the client can verify, whose names cover the server name, ECDSA before RSA
    /// (its signatures cost a tenth), in the order of the configuration.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        if let Some(sites) = &self.sites
            && sites.choose(name) != self.site
        {
            // The site was chosen by our reading of the name; rustls reads another one.
            return None;
        }
        let current = self.current.load();
        if let [only] = current.as_slice() {
            return Some(Arc::clone(&only.key));
        }
        let schemes = hello.signature_schemes();
        let best = current.iter().min_by_key(|certificate| {
            let usable = certificate.key.key.choose_scheme(schemes).is_some();
            let covers = name.is_some_and(|name| certificate.covers(name));
            let cheap = certificate.key.key.algorithm() != SignatureAlgorithm::RSA;
            (!usable, !covers, !cheap)
        })?;
        Some(Arc::clone(&best.key))
    }
}
