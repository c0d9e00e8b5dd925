use config::{Password, Span, User, UserSet};
use proptest::prelude::*;

use super::*;
use crate::rule_set::RuleSources;
use crate::verified::Secret;

const REALM: &str = "http-auth@example.org";

fn span() -> Span {
    Span::from((0, 0))
}

fn set() -> UserSet {
    let user = |name: &str, password| User { password: Some(password), ..User::new(name, span()) };
    let plain = |text: &str| Password::Plain(text.into());
    // From `htpasswd -nbBC 4 hashed one`.
    let hash = "$2y$04$5DsZC8qCMCwb3XjOkVgPuOJxuUyHBHIQzvKVVHmSDFaXyZuVVQRS6";
    UserSet {
        users: vec![
            user("Mufasa", plain("Circle of Life")),
            user("alice", plain("one")),
            user("hashed", Password::Hash(hash.into())),
        ],
        ..UserSet::new("staff", span())
    }
}

struct Fixture {
    users: Users,
    realm: DigestRealm,
    nonces: Nonces,
}

fn fixture(realm: &str) -> Fixture {
    let users = Users::build(&set(), Vec::new(), &mut RuleSources::default()).unwrap();
    let realm = DigestRealm::build(realm, &set(), &users);
    Fixture { users, realm, nonces: Nonces::new(Secret::new([5; 32])) }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

const CONNECT: Shown<'_> = Shown { method: b"CONNECT", target: b"a.example:443" };

/// What a client answers to a challenge.
fn answer(
    challenge: &str,
    user: &str,
    password: &str,
    method: &str,
    uri: &str,
    count: u32,
) -> String {
    let said = |name: &str| {
        let rest = &challenge[challenge.find(name).unwrap() + name.len() + 1..];
        rest.trim_start_matches('"').split(['"', ',']).next().unwrap().to_owned()
    };
    let (realm, nonce, algorithm) = (said("realm"), said("nonce"), said("algorithm"));
    let hash = |text: String| match algorithm.as_str() {
        "MD5" => Algorithm::Md5.hash(&[text.as_bytes()]),
        _ => Algorithm::Sha256.hash(&[text.as_bytes()]),
    };
    let (a1, a2) = (hash(format!("{user}:{realm}:{password}")), hash(format!("{method}:{uri}")));
    let response = hash(format!("{a1}:{nonce}:{count:08x}:0a4f:auth:{a2}"));
    format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         algorithm={algorithm}, response=\"{response}\", qop=auth, nc={count:08x}, cnonce=\"0a4f\""
    )
}

impl Fixture {
    fn ask(&self, value: &str, shown: &Shown<'_>) -> Result<Option<&str>, &'static str> {
        let credentials = parse(value.as_bytes()).unwrap();
        let name = credentials.user().split('-').next().unwrap();
        let user = self.users.find(name);
        match self.realm.check(&credentials, user, shown, &self.nonces, now()) {
            DigestCheck::Granted(user) => Ok(Some(self.users.name(user))),
            DigestCheck::Stale(_) => Err("stale"),
            DigestCheck::Refused => Ok(None),
        }
    }
}

/// The example of RFC 7616 §3.9.1.
const EXAMPLE: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
    uri=\"/dir/index.html\", algorithm=SHA-256, \
    nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
    cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
    response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\", \
    opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

#[test]
fn the_example_of_the_rfc_is_computed() {
    let fixture = fixture(REALM);
    for (value, expected) in [
        (EXAMPLE.to_owned(), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        (
            EXAMPLE.replace("SHA-256", "MD5").replace(
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
                "8ca523f5e9506fed4657c9700eebdbec",
            ),
            "8ca523f5e9506fed4657c9700eebdbec",
        ),
    ] {
        let credentials = parse(value.as_bytes()).unwrap();
        assert_eq!(fixture.realm.response(b"Circle of Life", &credentials, b"GET"), expected);
        // It is right, but the nonce is not ours.
        let shown = Shown { method: b"GET", target: b"/dir/index.html" };
        assert_eq!(fixture.ask(&value, &shown), Err("stale"));
    }
}

#[test]
fn a_client_is_known_by_either_algorithm_and_each_count_serves_once() {
    let fixture = fixture("proxy");
    for challenge in fixture.realm.challenges(&fixture.nonces, now(), false) {
        let value = |count| answer(&challenge, "alice", "one", "CONNECT", "a.example:443", count);
        // The two challenges are one nonce: counts go on.
        let first = if challenge.contains("SHA-256") { 1 } else { 3 };
        assert_eq!(fixture.ask(&value(first), &CONNECT), Ok(Some("alice")), "{challenge}");
        assert_eq!(fixture.ask(&value(first + 1), &CONNECT), Ok(Some("alice")));
        assert_eq!(fixture.ask(&value(first), &CONNECT), Err("stale"));
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let fixture = fixture("proxy");
    let [challenge, _] = fixture.realm.challenges(&fixture.nonces, now(), false);
    let uri = "a.example:443";
    let right = answer(&challenge, "alice", "one", "CONNECT", uri, 1);
    for wrong in [
        answer(&challenge, "alice", "two", "CONNECT", uri, 1),
        answer(&challenge, "alice", "", "CONNECT", uri, 1),
        answer(&challenge, "Mufasa", "one", "CONNECT", uri, 1),
        answer(&challenge, "mallory", "one", "CONNECT", uri, 1),
        // Nothing is known of them, and nothing must not be a password.
        answer(&challenge, "mallory", "", "CONNECT", uri, 1),
        answer(&challenge, "hashed", "", "CONNECT", uri, 1),
        answer(&challenge, "hashed", "one", "CONNECT", uri, 1),
        answer(&challenge, "alice", "one", "GET", uri, 1),
        answer(&challenge, "alice", "one", "CONNECT", "b.example:443", 1),
        answer(
            &challenge.replace("realm=\"proxy\"", "realm=\"site\""),
            "alice",
            "one",
            "CONNECT",
            uri,
            1,
        ),
        right.replace("nc=00000001", "nc=00000002"),
        right.replace("0a4f", "0a4e"),
        right.replace(uri, "b.example:443"),
    ] {
        assert_eq!(fixture.ask(&wrong, &CONNECT), Ok(None), "{wrong}");
    }
    assert!(fixture.nonces.is_empty());
    assert_eq!(fixture.ask(&right, &CONNECT), Ok(Some("alice")));
}

#[test]
fn wishes_in_the_name_are_part_of_what_is_hashed() {
    let fixture = fixture("proxy");
    let [challenge, _] = fixture.realm.challenges(&fixture.nonces, now(), false);
    let value = answer(&challenge, "alice-country-ca", "one", "CONNECT", "a.example:443", 1);
    assert_eq!(fixture.ask(&value, &CONNECT), Ok(Some("alice")));
    let changed = value.replace("country-ca", "country-us").replace("00000001", "00000002");
    assert_eq!(fixture.ask(&changed, &CONNECT), Ok(None));
}

#[test]
fn of_an_absolute_target_the_path_will_do() {
    for (uri, target, expected) in [
        ("http://a.example/x?y", "http://a.example/x?y", true),
        ("/x?y", "http://a.example/x?y", true),
        ("/", "http://a.example", true),
        ("/?y", "http://a.example?y", true),
        ("a.example:443", "a.example:443", true),
        ("/x", "http://a.example/x?y", false),
        ("/x", "/y", false),
        ("", "http://a.example", false),
        ("x", "http://a.example/x", false),
        ("/a.example:443", "a.example:443", false),
        ("/", "a.example:443", false),
    ] {
        assert_eq!(is_same_target(uri.as_bytes(), target.as_bytes()), expected, "{uri} {target}");
    }
}

#[test]
fn challenges_offer_the_better_algorithm_first_and_quote_the_realm() {
    let fixture = fixture("a \"b\"\n\\");
    let [sha, md5] = fixture.realm.challenges(&fixture.nonces, now(), true);
    assert!(sha.starts_with(
        "Digest realm=\"a \\\"b\\\"\\\\\", qop=\"auth\", algorithm=SHA-256, nonce=\""
    ));
    assert!(sha.ends_with("\", charset=UTF-8, stale=true"), "{sha}");
    assert_eq!(sha.replace("SHA-256", "MD5"), md5);
    let [sha, _] = fixture.realm.challenges(&fixture.nonces, now(), false);
    assert!(!sha.contains("stale"));
    assert!(!fixture.realm.is_empty());
}

#[test]
fn the_reader_is_strict() {
    assert!(parse(EXAMPLE.as_bytes()).is_ok());
    let edit = |from: &str, to: &str| EXAMPLE.replacen(from, to, 1);
    for (value, error) in [
        ("Basic QTpC".to_owned(), DigestError::OtherScheme),
        ("Digestx username=\"a\"".to_owned(), DigestError::OtherScheme),
        ("Digest".to_owned(), DigestError::Missing),
        ("Digest username".to_owned(), DigestError::Malformed),
        ("Digest username=\"a".to_owned(), DigestError::Malformed),
        ("Digest username=\"a\\".to_owned(), DigestError::Malformed),
        ("Digest ü=a".to_owned(), DigestError::Malformed),
        (edit("\", realm", "\" realm"), DigestError::Malformed),
        (edit("Mufasa", "Mu\u{1}fasa"), DigestError::Text),
        (edit("Mufasa", "Mu\tfasa"), DigestError::Text),
        (edit("nc=00000001", "nc=1"), DigestError::Count),
        (edit("nc=00000001", "nc=00000000"), DigestError::Count),
        (edit("nc=00000001", "nc=\"+0000001\""), DigestError::Count),
        (edit("qop=auth", "qop=auth-int"), DigestError::Quality),
        (edit("qop=auth, ", ""), DigestError::Missing),
        (edit("SHA-256", "SHA-256-sess"), DigestError::Algorithm),
        (edit("SHA-256", "MD5"), DigestError::Response),
        (edit("753927fa", "753927FA"), DigestError::Response),
        (edit("nc=", "nc=00000001, NC="), DigestError::Repeated),
        (edit("username=", "username*=UTF-8''a, username="), DigestError::Repeated),
        (edit("realm", "userhash=true, realm"), DigestError::HashedName),
        (edit("Mufasa", &"a".repeat(MAX_VALUE)), DigestError::TooLong),
    ] {
        assert_eq!(parse(value.as_bytes()).err(), Some(error), "{value:.80}");
    }
    for (value, user) in [
        (edit("username=\"Mufasa\"", "USERNAME=Mufasa , ,,"), "Mufasa"),
        (edit("username=\"Mufasa\"", "username = \"M\\u\\\"f\\\\\"\t"), "Mu\"f\\"),
        (edit("username=\"Mufasa\"", "username*=utf-8'de'b%C3%BCcher"), "bücher"),
        (edit("username=\"Mufasa\"", "username=\"bücher\""), "bücher"),
        (edit("realm", "userhash=false, realm"), "Mufasa"),
        (edit("Digest", "\tdIGEST"), "Mufasa"),
    ] {
        assert_eq!(parse(value.as_bytes()).unwrap().user(), user, "{value:.80}");
    }
    for extended in ["latin1''a", "UTF-8''%zz", "UTF-8''%+1", "UTF-8''%C3", "UTF-8''%00", "a"] {
        let value = edit("username=\"Mufasa\"", &format!("username*={extended}"));
        assert_eq!(parse(value.as_bytes()).err(), Some(DigestError::Text), "{extended}");
    }
    assert!(is_digest(b" digest x") && !is_digest(b"Basic x"));
    assert_eq!(format!("{:?}", parse(EXAMPLE.as_bytes())), "Ok(Credentials(…))");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
        let _ = parse(&[b"Digest ".as_slice(), &bytes].concat());
    }

    #[test]
    fn text_near_to_credentials_is_read_without_a_panic(
        text in "Digest (username\\*?|realm|nc|uri|qop)=(\"[a\\\\\"ü]{0,4}\"?|[a0%']{0,9})[ ,]{0,3}",
    ) {
        let _ = parse(text.as_bytes());
    }

    #[test]
    fn names_come_through_quoting(name in "[ -~äß]{1,20}") {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        let value = EXAMPLE.replacen("Mufasa", &quoted, 1);
        let credentials = parse(value.as_bytes()).unwrap();
        prop_assert_eq!(credentials.user(), name);
    }
}
