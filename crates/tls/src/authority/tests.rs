use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use config::Span;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{ServerName, UnixTime};
use x509_parser::extensions::GeneralName;

use super::*;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn new_in(folder: &Path, constraints: &[Constraint]) -> CertificateFiles {
    let new = NewAuthority { name: "Ours, \"here\"", lifetime: YEAR, constraints };
    let (cert, key) = save(folder, &create(&new).unwrap(), false).unwrap();
    let at = |value: PathBuf| Spanned { value, span: Span::from((0, 0)) };
    CertificateFiles { cert: at(cert), key: at(key) }
}

fn load(files: &CertificateFiles) -> Authority {
    Authority::load(files, &[b"http/1.1"], 100).unwrap()
}

/// What a client says that trusts this authority.
fn verify(files: &CertificateFiles, leaf: &Leaf, name: &str) -> Result<(), rustls::Error> {
    let provider = crate::provider();
    let roots = Arc::new(files::authorities(&files.cert).unwrap());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build().unwrap();
    let name = ServerName::try_from(name).unwrap();
    let (own, behind) = leaf.chain.cert.split_first().unwrap();
    verifier.verify_server_cert(own, behind, &name, &[], UnixTime::now()).map(drop)
}

#[test]
fn a_leaf_is_for_its_host_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let files = new_in(folder.path(), &[]);
    let authority = load(&files);
    for host in ["a.example", "192.0.2.1", "2001:db8::1", "my_host.example"] {
        let leaf = authority.leaf(host).unwrap();
        verify(&files, &leaf, host).unwrap();
        verify(&files, &leaf, "b.example").unwrap_err();
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf.chain.cert[0]).unwrap();
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(
            matches!(names[0], GeneralName::IPAddress(_)),
            host.parse::<IpAddr>().is_ok(),
            "{names:?}"
        );
        let validity = leaf.validity();
        let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
        assert_eq!(days, 7);
        assert!(!leaf.is_ca());
    }
    let long = format!("{}.example", ["a".repeat(60), "b".repeat(60)].join("."));
    verify(&files, &authority.leaf(&long).unwrap(), &long).unwrap();
    assert!(authority.leaf("b\u{fc}cher.example").is_err());
}

#[test]
fn no_two_leaves_have_one_serial_number() {
    let folder = tempfile::tempdir().unwrap();
    let authority = load(&new_in(folder.path(), &[]));
    let mut seen = HashSet::new();
    for number in 0..1000 {
        // The same hosts again and again, more of them than are kept.
        let leaf = authority.leaf(&format!("host-{}.example", number % 500)).unwrap();
        let der = &leaf.chain.cert[0];
        let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
        let serial = certificate.raw_serial().to_vec();
        assert_eq!(serial.len(), SERIAL);
        assert!(serial[0] & 0x80 == 0, "negative");
        assert!(seen.insert(serial), "twice");
    }
    assert!(authority.cache.len() <= 112, "{}", authority.cache.len());
}

#[test]
fn a_leaf_is_made_once_and_again_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let authority = load(&new_in(folder.path(), &[]));
    let first = authority.leaf("a.example").unwrap();
    let again = authority.leaf("a.example").unwrap();
    assert!(Arc::ptr_eq(&first.config, &again.config));
    let later = SystemTime::now() + LIFETIME - MARGIN + Duration::from_secs(60);
    assert!(authority.cache.find("a.example", later).is_none());
}

#[test]
fn the_authority_is_what_it_has_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let files = new_in(folder.path(), &[]);
    let mode = fs::metadata(&files.key.value).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let der = CertificateDer::from_pem_file(&files.cert.value).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let basic = certificate.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(0));
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    let info = inspect(&files.cert.value).unwrap();
    assert!(info.subject.contains("Ours"), "{}", info.subject);
    assert_eq!(info.constraints().count(), 0);
    let left = info.not_after.duration_since(SystemTime::now()).unwrap();
    assert!(left <= YEAR && left > YEAR - Duration::from_secs(60));
}

#[test]
fn what_is_there_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let files = new_in(folder.path(), &[]);
    let before = fs::read(&files.key.value).unwrap();
    let created = create(&NewAuthority { name: "x", lifetime: YEAR, constraints: &[] }).unwrap();
    for lost in [None, Some(&files.key.value), Some(&files.cert.value)] {
        let kept = lost.map(|path| (path, fs::read(path).unwrap()));
        if let Some((path, _)) = &kept {
            fs::remove_file(path).unwrap();
        }
        let error = save(folder.path(), &created, false).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        if let Some((path, bytes)) = kept {
            assert!(!path.exists(), "half of another one was left");
            fs::write(path, bytes).unwrap();
        }
    }
    assert_eq!(fs::read(&files.key.value).unwrap(), before);
    fs::set_permissions(&files.key.value, fs::Permissions::from_mode(0o644)).unwrap();
    save(folder.path(), &created, true).unwrap();
    assert_ne!(fs::read(&files.key.value).unwrap(), before);
    load(&files);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = new_in(folder.path(), &[]);
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&files.key.value, fs::Permissions::from_mode(mode)).unwrap();
        let errors = Authority::load(&files, &[], 1).unwrap_err();
        assert!(errors[0].message.contains("others than its owner"), "{errors:?}");
    }
    fs::set_permissions(&files.key.value, fs::Permissions::from_mode(0o400)).unwrap();
    load(&files);
}

#[test]
fn what_cannot_sign_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = new_in(folder.path(), &[]);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let refused = |params: &CertificateParams| {
        fs::write(&files.cert.value, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&files.key.value, key.serialize_pem()).unwrap();
        Authority::load(&files, &[], 1).map(drop).map_err(|errors| errors[0].label.clone())
    };
    assert_eq!(refused(&params), Err("it is not the certificate of an authority".into()));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_eq!(refused(&params), Ok(()));
    params.not_after = (SystemTime::now() - Duration::from_secs(60)).into();
    assert_eq!(refused(&params), Err("it has expired".into()));
}

#[test]
fn constraints_bind_us_and_clients() {
    let folder = tempfile::tempdir().unwrap();
    let constraints = [
        Constraint::Domain("shop.example".into()),
        Constraint::Net("10.0.0.0".parse().unwrap(), 8),
    ];
    let files = new_in(folder.path(), &constraints);
    let authority = load(&files);
    let told: Vec<_> = authority.info().constraints().collect();
    assert_eq!(told, ["shop.example", "10.0.0.0/8"]);
    for (host, allowed) in [
        ("shop.example", true),
        ("www.shop.example", true),
        ("workshop.example", false),
        ("10.1.2.3", true),
        ("192.0.2.1", false),
        ("2001:db8::1", false),
    ] {
        assert_eq!(authority.may_sign(host), allowed, "{host}");
        let verified = verify(&files, &authority.leaf(host).unwrap(), host);
        assert_eq!(verified.is_ok(), allowed, "{host}: {verified:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let files = new_in(folder.path(), &constraints[1..]);
    let authority = load(&files);
    assert!(!authority.may_sign("a.example") && authority.may_sign("10.0.0.1"));
    verify(&files, &authority.leaf("a.example").unwrap(), "a.example").unwrap_err();
}
