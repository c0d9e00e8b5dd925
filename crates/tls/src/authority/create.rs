//! Making an authority, and putting it where it is found again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree,
    IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
};

/// The certificate of the authority in a state folder.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// The key of the authority in a state folder.
pub const KEY_FILE: &str = "ca.key";

/// What an authority is to be.
#[derive(Debug, Clone)]
pub struct NewAuthority<'a> {
    /// Its name, which clients show to their users.
    pub name: &'a str,
    /// How long it is valid, from now on.
    pub lifetime: Duration,
    /// What it may sign for; empty: anything.
    pub constraints: &'a [Constraint],
}

/// Something that an authority may sign for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constraint {
    /// A domain in lower case, and all its subdomains.
    Domain(String),
    /// A network: its first address, and the length of its prefix.
    Net(IpAddr, u8),
}

/// An authority that is nowhere but in memory yet.
pub struct Created {
    /// The certificate (PEM).
    pub certificate: String,
    /// The key (PEM, PKCS#8).
    key: String,
}

impl std::fmt::Debug for Created {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Created").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Makes an authority with a key of its own (ECDSA P-256). It signs leaf certificates only, and
/// revocation lists.
///
/// # Errors
/// A name or a constraint that cannot be written into a certificate.
pub fn create(new: &NewAuthority<'_>) -> Result<Created, String> {
    let words = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(words)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, new.name);
    params.distinguished_name.push(DnType::OrganizationName, "Bifrons");
    let now = SystemTime::now();
    params.not_before = (now - super::BACKDATED).into();
    params.not_after = (now + new.lifetime).into();
    let mut serial = [0; super::SERIAL];
    let random = crate::provider().secure_random;
    random.fill(&mut serial).map_err(|_| "no random numbers".to_owned())?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = (!new.constraints.is_empty()).then(|| subtrees(new.constraints));
    let certificate = params.self_signed(&key).map_err(words)?.pem();
    Ok(Created { certificate, key: key.serialize_pem() })
}

/// A kind of name that no constraint is about is not constrained (RFC 5280 §4.2.1.10), so the
/// kinds that are not permitted at all are excluded.
fn subtrees(constraints: &[Constraint]) -> NameConstraints {
    let permitted_subtrees = constraints
        .iter()
        .map(|constraint| match constraint {
            Constraint::Domain(name) => GeneralSubtree::DnsName(name.clone()),
            Constraint::Net(address, length) => {
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, *length))
            }
        })
        .collect();
    let mut excluded_subtrees = Vec::new();
    let has = |kind: fn(&Constraint) -> bool| constraints.iter().any(kind);
    if !has(|one| matches!(one, Constraint::Domain(_))) {
        excluded_subtrees.push(GeneralSubtree::DnsName(String::new()));
    }
    if !has(|one| matches!(one, Constraint::Net(IpAddr::V4(_), _))) {
        excluded_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)));
    }
    if !has(|one| matches!(one, Constraint::Net(IpAddr::V6(_), _))) {
        excluded_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)));
    }
    NameConstraints { permitted_subtrees, excluded_subtrees }
}

/// Writes certificate and key into a folder, which is made where it is missing. The key is
/// readable by its owner only, from the first moment on. Returns where the two are.
///
/// What is there already stays, unless `replace` says otherwise: those who trust an authority
/// would have to be told of another one.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where either file is there; those of the file system.
pub fn save(folder: &Path, created: &Created, replace: bool) -> io::Result<(PathBuf, PathBuf)> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (certificate, key) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
    if replace {
        // A crash in between leaves a pair that does not match, which is found when it is loaded.
        overwrite(&key, created.key.as_bytes(), 0o600)?;
        overwrite(&certificate, created.certificate.as_bytes(), 0o644)?;
        return Ok((certificate, key));
    }
    if certificate.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    write_new(&key, created.key.as_bytes(), 0o600)?;
    if let Err(error) = write_new(&certificate, created.certificate.as_bytes(), 0o644) {
        // It is the one that was made a moment ago: nobody has trusted it yet.
        fs::remove_file(&key)?;
        return Err(error);
    }
    Ok((certificate, key))
}

/// The file must not be there, and neither may a link stand in its place.
fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    fill(&mut file, contents)
}

fn overwrite(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(&beside, contents, mode)?;
    fs::rename(&beside, path)
}

fn fill(file: &mut File, contents: &[u8]) -> io::Result<()> {
    file.write_all(contents)?;
    file.sync_all()
}
