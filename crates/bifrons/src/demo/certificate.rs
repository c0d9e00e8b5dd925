//! A certificate made on the spot, by an authority made on the spot.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

/// The authority's certificate, for clients to trust.
pub(super) const CA: &str = "ca.pem";
/// The site's chain.
pub(super) const CERT: &str = "site.pem";
/// The site's key.
pub(super) const KEY: &str = "site.key";

/// Writes an authority and a certificate for `localhost` into a folder that nobody else can
/// read. The authority's key is forgotten: it signs nothing else, ever.
///
/// # Errors
/// Keys cannot be made, or files not be written.
pub(super) fn make(folder: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name = called("Bifrons demo authority");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();

    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let mut site = CertificateParams::new(names)?;
    site.distinguished_name = called("localhost");
    site.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    site.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    site.use_authority_key_identifier_extension = true;
    let site_key = KeyPair::generate()?;
    let site_pem = site.signed_by(&site_key, &Issuer::new(authority, authority_key))?.pem();

    std::fs::write(folder.join(CA), authority_pem)?;
    std::fs::write(folder.join(CERT), site_pem)?;
    std::fs::write(folder.join(KEY), site_key.serialize_pem())?;
    Ok(())
}

fn called(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}
