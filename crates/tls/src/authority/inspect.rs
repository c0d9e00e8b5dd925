//! What the certificate of an authority says.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::extensions::{GeneralName, GeneralSubtree};
use x509_parser::time::ASN1Time;

use crate::distinguished_name;

/// What the certificate of an authority says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityInfo {
    /// Its subject in the form of RFC 4514, control characters escaped.
    pub subject: String,
    /// SHA-256 of its DER form.
    pub fingerprint: [u8; 32],
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// What it may sign for, where that is constrained (RFC 5280 §4.2.1.10).
    permitted: Vec<Subtree>,
    /// What it may not sign for.
    excluded: Vec<Subtree>,
    is_authority: bool,
}

/// Names or addresses, as a constraint tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subtree {
    /// A domain in lower case and all its subdomains; empty: all names.
    Domain(String),
    /// An address and a mask of the same length.
    Net(Vec<u8>),
}

/// Reads the first certificate of a PEM file.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn inspect(path: &Path) -> Result<AuthorityInfo, String> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let der = CertificateDer::from_pem_slice(&bytes)
        .map_err(|error| format!("there is no certificate in {shown}: {error}"))?;
    info(&der).map_err(|why| format!("{shown}: {why}"))
}

pub(super) fn info(der: &CertificateDer<'_>) -> Result<AuthorityInfo, String> {
    let unreadable = "the certificate cannot be read";
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|_| unreadable)?;
    let basic = certificate.basic_constraints().map_err(|_| unreadable)?;
    let usage = certificate.key_usage().map_err(|_| unreadable)?;
    let names = certificate.name_constraints().map_err(|_| unreadable)?;
    let subtrees = |list: Option<&Vec<GeneralSubtree<'_>>>| -> Vec<Subtree> {
        list.into_iter().flatten().filter_map(subtree).collect()
    };
    let names = names.as_ref().map(|extension| extension.value);
    Ok(AuthorityInfo {
        subject: distinguished_name::format(certificate.subject().as_raw()),
        fingerprint: Sha256::digest(der).into(),
        not_before: time(certificate.validity().not_before),
        not_after: time(certificate.validity().not_after),
        permitted: subtrees(names.and_then(|names| names.permitted_subtrees.as_ref())),
        excluded: subtrees(names.and_then(|names| names.excluded_subtrees.as_ref())),
        is_authority: basic.is_some_and(|extension| extension.value.ca)
            && usage.is_none_or(|extension| extension.value.key_cert_sign()),
    })
}

fn subtree(subtree: &GeneralSubtree<'_>) -> Option<Subtree> {
    match &subtree.base {
        GeneralName::DNSName(name) => {
            let name = name.strip_prefix('.').unwrap_or(name);
            Some(Subtree::Domain(name.to_ascii_lowercase()))
        }
        GeneralName::IPAddress(net) => Some(Subtree::Net(net.to_vec())),
        // Of other names we sign none.
        _ => None,
    }
}

fn time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

impl AuthorityInfo {
    /// What it may sign for, in words; empty: anything.
    pub fn constraints(&self) -> impl Iterator<Item = String> {
        self.permitted.iter().map(|subtree| match subtree {
            Subtree::Domain(name) => name.clone(),
            Subtree::Net(net) => net_text(net),
        })
    }

    /// Whether it can sign now.
    pub(super) fn check(&self, now: SystemTime) -> Result<(), String> {
        if !self.is_authority {
            Err("it is not the certificate of an authority".into())
        } else if self.not_after <= now {
            Err("it has expired".into())
        } else if self.not_before > now {
            Err("it is not valid yet".into())
        } else {
            Ok(())
        }
    }

    /// Whether a certificate of it for this host would be taken.
    pub(super) fn permits(&self, host: &str) -> bool {
        let address = host.parse::<IpAddr>().ok();
        let covers = |subtree: &Subtree| match (subtree, address) {
            (Subtree::Domain(name), None) => in_domain(host, name),
            (Subtree::Net(net), Some(address)) => in_net(address, net),
            _ => false,
        };
        // A kind of name that is not spoken of is not constrained.
        let of_kind = |subtree: &&Subtree| matches!(subtree, Subtree::Net(_)) == address.is_some();
        let mut permitted = self.permitted.iter().filter(of_kind).peekable();
        (permitted.peek().is_none() || permitted.any(covers)) && !self.excluded.iter().any(covers)
    }
}

fn in_domain(host: &str, domain: &str) -> bool {
    domain.is_empty()
        || host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn in_net(address: IpAddr, net: &[u8]) -> bool {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (base, mask) = net.split_at(net.len() / 2);
    octets.len() == base.len()
        && octets
            .iter()
            .zip(base)
            .zip(mask)
            .all(|((octet, base), mask)| octet & mask == base & mask)
}

fn net_text(net: &[u8]) -> String {
    let (base, mask) = net.split_at(net.len() / 2);
    let length: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let address = match base.len() {
        4 => <[u8; 4]>::try_from(base).map(IpAddr::from).ok(),
        16 => <[u8; 16]>::try_from(base).map(IpAddr::from).ok(),
        _ => None,
    };
    address.map_or_else(|| "an unknown network".into(), |address| format!("{address}/{length}"))
}
