use std::io::Write as _;

use config::Span;
use proptest::prelude::*;

use super::*;

// Shared as a file: a dependency would lead in a circle, and build the whole proxy for this.
#[path = "../../../testkit/src/geo.rs"]
pub(crate) mod database;

use database::{Database, Value};

fn cities() -> Database {
    Database::new("GeoLite2-City")
        .with("192.0.2.0/24", &Value::place("CA", "Ontario", "Toronto", "M5V"))
        .with("192.0.2.128/25", &Value::place("CA", "Newfoundland and Labrador", "St. John's", ""))
        .with("198.51.100.7/32", &Value::place("kp", "", "", ""))
        .with("2001:db8::/32", &Value::place("BR", "", "São Paulo", ""))
}

fn asns() -> Database {
    Database::new("GeoLite2-ASN")
        .with("192.0.2.0/24", &Value::asn(64_500))
        .with("203.0.113.0/24", &Value::asn(4_200_000_000))
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn spanned(file: &tempfile::NamedTempFile) -> Spanned<PathBuf> {
    Spanned { value: file.path().to_owned(), span: Span::from((5, 6)) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn databases_are_asked_together_and_names_become_labels() {
    let files = [file(&cities().bytes()), file(&asns().bytes())];
    let geo = Geo::open(&files.each_ref().map(spanned)).unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        geo.lookup(ip("192.0.2.1")),
        Some(Place {
            country: Country::parse("CA"),
            state: text("ontario"),
            city: text("toronto"),
            zip: text("m5v"),
            asn: Some(64_500),
        })
    );
    let john = geo.labels(ip("::ffff:192.0.2.200")).unwrap();
    assert_eq!(john.state, text("newfoundland_and_labrador"));
    assert_eq!(john.city, text("st_johns"));
    assert_eq!((john.zip, john.price), (None, None));
    assert_eq!(geo.lookup(ip("2001:db8::1")).unwrap().city, text("são_paulo"));
    assert_eq!(geo.country(ip("198.51.100.7")), Country::parse("KP"));
    assert_eq!(geo.country(ip("198.51.100.8")), None);
    let only_asn = geo.lookup(ip("203.0.113.1")).unwrap();
    assert_eq!(only_asn, Place { asn: Some(4_200_000_000), ..Place::default() });
    assert_eq!(geo.lookup(ip("10.0.0.1")), None);
    assert_eq!(format!("{geo:?}"), "[\"GeoLite2-City\", \"GeoLite2-ASN\"]");
    assert!(Geo::none().is_empty() && Geo::none().lookup(ip("192.0.2.1")).is_none());
}

#[test]
fn what_is_no_database_is_an_error_at_its_place() {
    let junk = file(b"<html>no such file</html>");
    let missing = Spanned { value: "/nonexistent/geo.mmdb".into(), span: Span::from((1, 2)) };
    let errors = Geo::open(&[spanned(&junk), missing]).unwrap_err();
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0].span, Some(Span::from((5, 6))));
    assert!(errors[1].message.contains("/nonexistent/geo.mmdb"), "{}", errors[1].message);
}

#[test]
fn names_are_written_as_labels_are() {
    for (name, expected) in [
        ("New York", Some("new_york")),
        ("Rio de  Janeiro ", Some("rio_de_janeiro")),
        ("Aix-en-Provence", Some("aix_en_provence")),
        ("N’Djamena", Some("ndjamena")),
        ("(unknown)", Some("unknown")),
        (" - ", None),
        ("", None),
    ] {
        assert_eq!(label(name).as_deref(), expected, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_database_does_no_harm(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = cities().bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut.index(3));
        if let Ok(reader) = Reader::from_source(bytes) {
            let geo = Geo { databases: vec![reader] };
            for text in ["192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "10.0.0.1"] {
                let _ = geo.lookup(ip(text));
                let _ = geo.country(ip(text));
            }
        }
    }
}
