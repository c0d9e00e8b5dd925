//! What each dialect says, and that writing and reading are each other's inverse.

use std::time::Duration;

use config::{Country, Dialect, ResolveAt};
use proptest::prelude::*;

use super::{DialectError, Login, compose, continent_of, key_name, parse};
use crate::wish::{SessionWish, Wish};

const ALL: [Dialect; 5] =
    [Dialect::Native, Dialect::Decodo, Dialect::BrightData, Dialect::Oxylabs, Dialect::IpRoyal];

/// With these users.
fn read(dialect: Dialect, users: &[&str], name: &str) -> Login {
    parse(dialect, name, b"secret", Some(&|name| users.contains(&name)), None)
}

/// What alice says in this dialect; for IPRoyal behind her password.
#[track_caller]
fn said(dialect: Dialect, text: &str) -> Result<Wish, DialectError> {
    let users: &dyn Fn(&str) -> bool = &|name| name == "alice";
    let login = if dialect == Dialect::IpRoyal {
        parse(dialect, "alice", format!("secret{text}").as_bytes(), Some(users), None)
    } else {
        parse(dialect, text, b"secret", Some(users), None)
    };
    assert_eq!((&*login.user, &*login.password), ("alice", &b"secret"[..]), "{text}");
    login.wish
}

#[track_caller]
fn error(dialect: Dialect, text: &str) -> String {
    said(dialect, text).expect_err(text).to_string()
}

fn country(code: &str) -> Option<Country> {
    Some(Country::parse(code).expect("a country"))
}

fn session(id: &str, minutes: Option<u64>, strict: bool) -> Option<SessionWish> {
    let ttl = minutes.map(|minutes| Duration::from_secs(60 * minutes));
    Some(SessionWish { id: id.into(), ttl, strict })
}

#[test]
fn each_dialect_says_country_city_and_session() {
    let wish = Wish {
        country: country("CA"),
        city: Some("toronto".into()),
        session: session("abc123", Some(30), false),
        ..Wish::default()
    };
    let names = [
        (Dialect::Native, "alice-country-ca-city-toronto-session-abc123-ttl-30m"),
        (Dialect::Decodo, "user-alice-country-ca-city-toronto-session-abc123-sessionduration-30"),
        (Dialect::Decodo, "alice-sessionduration-30-session-abc123-city-toronto-country-CA"),
        (Dialect::Oxylabs, "customer-alice-cc-CA-city-Toronto-sessid-abc123-sesstime-30"),
        (Dialect::IpRoyal, "_country-ca_city-toronto_session-abc123_lifetime-30m"),
    ];
    for (dialect, name) in names {
        assert_eq!(said(dialect, name).as_ref(), Ok(&wish), "{name}");
    }
    let name = "brd-customer-alice-zone-world-country-ca-city-toronto-session-abc123";
    let wish = Wish { tags: vec!["world".into()], session: session("abc123", None, false), ..wish };
    assert_eq!(said(Dialect::BrightData, name), Ok(wish.clone()));
    let short = "lum-cu-alice-z-world-cy-ca-ct-toronto-s-abc123";
    assert_eq!(said(Dialect::BrightData, short), Ok(wish));
}

#[test]
fn strict_sessions() {
    let names = [
        (Dialect::Native, "alice-session-x1-strict"),
        (Dialect::Decodo, "user-alice-session_iplock-x1"),
        (Dialect::BrightData, "brd-customer-alice-session-x1-const"),
        (Dialect::Oxylabs, "customer-alice-sessid_oneip-x1"),
        (Dialect::IpRoyal, "_session-x1_killswitch-1"),
    ];
    for (dialect, name) in names {
        assert_eq!(said(dialect, name).expect(name).session, session("x1", None, true), "{name}");
    }
    let soft = said(Dialect::IpRoyal, "_session-x1_killswitch-0").expect("soft");
    assert_eq!(soft.session, session("x1", None, false));
}

#[test]
fn everything_native() {
    let name = "alice-exit-ca-1-tag-cheap-tag-fast-continent-europe-country-us-state-New_York\
        -city-new_york-zip-10001-asn-64496-resolve-exit-session-a_B9-ttl-90s-strict";
    let wish = Wish {
        exit: Some("ca-1".into()),
        tags: vec!["cheap".into(), "fast".into()],
        continent: Some("eu".into()),
        country: country("US"),
        state: Some("new_york".into()),
        city: Some("new_york".into()),
        zip: Some("10001".into()),
        asn: Some(64496),
        resolve: Some(ResolveAt::Exit),
        session: Some(SessionWish {
            id: "a_B9".into(),
            ttl: Some(Duration::from_secs(90)),
            strict: true,
        }),
    };
    assert_eq!(said(Dialect::Native, name), Ok(wish));
}

#[test]
fn what_vendors_write_otherwise() {
    let of = |dialect, name| said(dialect, name).expect(name);
    let wish = of(Dialect::Decodo, "user-alice-country-us-state-us_new_york");
    assert_eq!(wish.state.as_deref(), Some("new_york"));
    let wish = of(Dialect::BrightData, "brd-customer-alice-country-us-state-ny-city-sanfrancisco");
    assert_eq!(wish.state.as_deref(), Some("new_york"));
    assert!(crate::wish::same_place(&wish.city.expect("city"), "san_francisco"));
    let wish = of(Dialect::BrightData, "brd-customer-alice-ip-127.0.0.2-dns-local");
    assert_eq!((wish.exit.as_deref(), wish.resolve), (Some("127.0.0.2"), Some(ResolveAt::Here)));
    let wish = of(Dialect::BrightData, "brd-customer-alice-ip-2001_db8__7");
    assert_eq!(wish.exit.as_deref(), Some("2001_db8__7"));
    // They change nothing about which exit is taken.
    let name = "brd-customer-alice-route_err-pass_dyn-c_tag-x-debug-full-dns-remote";
    let wish = of(Dialect::BrightData, name);
    assert_eq!(wish, Wish { resolve: Some(ResolveAt::Exit), ..Wish::default() });
    let wish = of(Dialect::Oxylabs, "customer-alice-cn-EU");
    assert_eq!(wish.continent.as_deref(), Some("eu"));
}

#[test]
fn what_is_not_understood_is_named() {
    let cases = [
        (Dialect::Native, "alice-contry-ca", "unknown key `contry`"),
        (Dialect::Native, "alice-country-ca-", "a key is empty"),
        (Dialect::Native, "alice-", "a key is empty"),
        (Dialect::Native, "alice-country", "key `country` has no value"),
        (Dialect::Native, "alice-country--ttl-1m", "key `country` has no value"),
        (
            Dialect::Native,
            "alice-country-can",
            "key `country` is not one country by its two letters",
        ),
        (Dialect::Native, "alice-country-ca-country-us", "key `country` says what is said already"),
        (Dialect::Native, "alice-ttl-10m", "key `ttl` needs a session"),
        (Dialect::Native, "alice-strict", "key `strict` needs a session"),
        (
            Dialect::Native,
            "alice-session-a-ttl-10",
            "key `ttl` is not a time such as 90s, 10m, 2h or 1d",
        ),
        (
            Dialect::Native,
            "alice-session-a-ttl-0m",
            "key `ttl` is not a time such as 90s, 10m, 2h or 1d",
        ),
        (
            Dialect::Native,
            "alice-session-a-ttl-+1m",
            "key `ttl` is not a time such as 90s, 10m, 2h or 1d",
        ),
        (
            Dialect::Native,
            "alice-session-a.b",
            "key `session` is not 1 to 64 letters, digits and `_`",
        ),
        (Dialect::Native, "alice-continent-atlantis", "key `continent` is not a continent"),
        (Dialect::Native, "alice-asn-as1", "key `asn` is not the number of an autonomous system"),
        (
            Dialect::Native,
            "alice-asn-4294967296",
            "key `asn` is not the number of an autonomous system",
        ),
        (Dialect::Native, "alice-resolve-there", "key `resolve` has a value that it does not know"),
        (Dialect::Native, "alice-city-a%20b", "key `city` is not letters, digits and `_`"),
        (Dialect::Native, "alice-\u{1}\"key-x", "unknown key `??key`"),
        (Dialect::Decodo, "user-alice-os-ios", "key `os` asks for what there is not here"),
        (Dialect::Decodo, "user-alice-city-toronto", "key `city` needs a country"),
        (
            Dialect::Decodo,
            "user-alice-country-ca-zip-10001",
            "key `zip` is for the United States only, and needs them as the country",
        ),
        (Dialect::Decodo, "user-alice-country-us-zip-1000", "key `zip` is not a postal code"),
        (
            Dialect::Decodo,
            "user-alice-country-us-city-x-zip-10001",
            "key `zip` does not go with a city or a state",
        ),
        (
            Dialect::Decodo,
            "user-alice-country-us-state-california",
            "key `state` is not written us_STATE",
        ),
        (Dialect::Decodo, "user-alice-asn-1-country-us", "key `asn` does not go with a place"),
        (Dialect::Decodo, "user-alice-sessionduration-5", "key `sessionduration` needs a session"),
        (
            Dialect::Decodo,
            "user-alice-session-a-session_iplock-b",
            "key `session_iplock` says what is said already",
        ),
        (
            Dialect::Decodo,
            "user-alice-session-a-sessionduration-0",
            "key `sessionduration` is not a number of minutes, at least 1",
        ),
        (Dialect::BrightData, "brd-customer-alice-const", "key `const` needs a session"),
        (
            Dialect::BrightData,
            "brd-customer-alice-direct",
            "key `direct` asks for what there is not here",
        ),
        (Dialect::BrightData, "brd-customer-alice-zone-a-z-b", "key `z` says what is said already"),
        (
            Dialect::BrightData,
            "brd-customer-alice-route_err-x",
            "key `route_err` has a value that it does not know",
        ),
        (
            Dialect::BrightData,
            "brd-customer-alice-country-us-state-zz",
            "key `state` is not the two letters of a US state",
        ),
        (Dialect::BrightData, "brd-customer-alice-ip-1.2.3", "key `ip` is not an address"),
        (
            Dialect::Oxylabs,
            "customer-alice-st-us_iowa",
            "key `st` is for the United States only, and needs them as the country",
        ),
        (Dialect::Oxylabs, "customer-alice-session-a", "unknown key `session`"),
        (Dialect::Oxylabs, "customer-alice-cc-us-ASN-1", "key `ASN` does not go with a country"),
        (Dialect::IpRoyal, "_country-us,ca", "key `country` is not one country by its two letters"),
        (
            Dialect::IpRoyal,
            "_country-us_forcerandom-1",
            "key `forcerandom` asks for what there is not here",
        ),
        (Dialect::IpRoyal, "_country-us_contry-us", "unknown key `contry`"),
        (Dialect::IpRoyal, "_session-x_killswitch-2", "key `killswitch` is neither 0 nor 1"),
        (Dialect::IpRoyal, "_killswitch-1", "key `killswitch` needs a session"),
        // What may be a part of the password is not shown.
        (Dialect::IpRoyal, "_country-us_hunter2", "behind its keys the password has what is none"),
        (
            Dialect::IpRoyal,
            "_country-us_Hunter2-x",
            "behind its keys the password has what is none",
        ),
    ];
    for (dialect, name, expected) in cases {
        assert_eq!(error(dialect, name), expected, "{name}");
    }
}

#[test]
fn the_longest_user_is_meant() {
    let users = ["al", "al-ice", "al-ice-country-ca", "user", "user-bob", "a-b-c-d-e-f-g-h-i-j-k"];
    let user = |dialect, name| read(dialect, &users, name).user;
    assert_eq!(user(Dialect::Native, "al-ice"), "al-ice");
    assert_eq!(user(Dialect::Native, "al-country-ca"), "al");
    assert_eq!(user(Dialect::Native, "al-ice-country-us"), "al-ice");
    assert_eq!(user(Dialect::Native, "al-ice-country-ca-city-toronto"), "al-ice-country-ca");
    assert_eq!(user(Dialect::Native, "a-b-c-d-e-f-g-h-i-j-k-country-ca"), "a-b-c-d-e-f-g-h-i-j-k");
    assert_eq!(user(Dialect::Decodo, "user-al-country-ca"), "al");
    assert_eq!(user(Dialect::Decodo, "user-country-ca"), "user");
    assert_eq!(user(Dialect::Decodo, "user-bob-country-ca"), "user-bob");
    assert_eq!(user(Dialect::Decodo, "user-user-bob-country-ca"), "user-bob");
    // Nobody of the name: it ends where the first key begins, or is all of it.
    assert_eq!(user(Dialect::Native, "bob-smith-country-ca"), "bob-smith");
    assert_eq!(user(Dialect::Native, "bob-smith"), "bob-smith");
    assert_eq!(user(Dialect::Native, "-country-ca"), "");
}

#[test]
fn without_users_all_behind_the_first_dash_is_a_wish() {
    let login = parse(Dialect::Native, "x-contry-ca", b"", None, None);
    assert_eq!(login.user, "x");
    assert_eq!(login.wish.expect_err("refused").to_string(), "unknown key `contry`");
    let login = parse(Dialect::IpRoyal, "x", b"p_contry-ca", None, None);
    assert_eq!(login.password, b"p");
    assert_eq!(login.wish.expect_err("refused").to_string(), "unknown key `contry`");
}

#[test]
fn the_password_is_told_apart_from_its_wishes() {
    let of = |password: &[u8]| parse(Dialect::IpRoyal, "al-ice", password, Some(&|_| true), None);
    let login = of(b"p_w-x_country_country-ca");
    assert_eq!((&*login.user, &*login.password), ("al-ice", &b"p_w-x_country"[..]));
    assert_eq!(login.wish.expect("wish").country, country("CA"));
    let login = of(b"only_a-password");
    assert_eq!((&*login.password, login.wish), (&b"only_a-password"[..], Ok(Wish::default())));
    let login = of(b"\xff_country-ca");
    assert_eq!(
        (&*login.password, login.wish.map(|wish| wish.country)),
        (&b"\xff"[..], Ok(country("CA")))
    );
    assert!(of(b"x_country-\xff").wish.is_err());
    // Elsewhere passwords are passwords.
    let login =
        parse(Dialect::Native, "al-ice", b"x_country-ca", Some(&|name| name == "al-ice"), None);
    assert_eq!((&*login.password, login.wish), (&b"x_country-ca"[..], Ok(Wish::default())));
}

#[test]
fn a_port_is_the_session_of_who_names_none() {
    let of = |name| {
        let users: &dyn Fn(&str) -> bool = &|name| name == "alice";
        parse(Dialect::Decodo, name, b"", Some(users), Some(20_001)).wish.expect(name).session
    };
    assert_eq!(of("alice"), session("port_20001", None, false));
    assert_eq!(of("alice"), Some(SessionWish::of_port(20_001)));
    assert_eq!(of("user-alice-sessionduration-5"), session("port_20001", Some(5), false));
    assert_eq!(of("user-alice-session-a"), session("a", None, false));
}

#[test]
fn lengths_are_bounded() {
    let long = |length: usize| format!("alice-session-{}", "x".repeat(length));
    assert!(said(Dialect::Native, &long(64)).is_ok());
    assert!(said(Dialect::Native, &long(65)).is_err());
    let name = format!("alice{}", "-tag-x".repeat(42));
    assert_eq!(said(Dialect::Native, &name[..255 - 2]).expect("short enough").tags.len(), 41);
    assert_eq!(error(Dialect::Native, &name), "the user name is longer than 255 bytes");
    let wish = Wish { tags: vec!["x".repeat(60).into(); 5], ..Wish::default() };
    assert!(compose(Dialect::Native, "alice", "secret", &wish).is_err());
    let shown = DialectError::new(&"k".repeat(500), "is unknown").to_string();
    assert_eq!(shown, format!("unknown key `{}`", "k".repeat(32)));
}

#[test]
fn what_a_dialect_cannot_say_is_not_written() {
    let cases: [(Dialect, Wish, &str); 8] = [
        (
            Dialect::BrightData,
            Wish { session: session("a", Some(5), false), ..Wish::default() },
            "ttl",
        ),
        (
            Dialect::BrightData,
            Wish { tags: vec!["a".into(), "b".into()], ..Wish::default() },
            "tag",
        ),
        (Dialect::BrightData, Wish { exit: Some("ca-1".into()), ..Wish::default() }, "ip"),
        (Dialect::Decodo, Wish { exit: Some("ca-1".into()), ..Wish::default() }, "exit"),
        (Dialect::Decodo, Wish { city: Some("toronto".into()), ..Wish::default() }, "city"),
        (Dialect::IpRoyal, Wish { asn: Some(1), ..Wish::default() }, "asn"),
        (Dialect::IpRoyal, Wish { zip: Some("10001".into()), ..Wish::default() }, "zip"),
        (
            Dialect::Native,
            Wish { exit: Some("my-country-house".into()), ..Wish::default() },
            "country",
        ),
    ];
    for (dialect, wish, key) in cases {
        let error = compose(dialect, "alice", "secret", &wish).expect_err(key);
        assert_eq!(error.key, key, "{error}");
    }
    for (user, password) in [("", "x"), ("a:b", "x"), ("a", "x\n")] {
        assert!(compose(Dialect::Native, user, password, &Wish::default()).is_err());
    }
    let error = compose(Dialect::IpRoyal, "alice", "a_country-ca", &Wish::default());
    assert!(error.expect_err("a wish").to_string().contains("looks like a wish"));
}

#[test]
fn fields_are_called_as_the_dialect_has_them() {
    let cases = [
        (Dialect::Native, "tag", "tag"),
        (Dialect::Decodo, "strict", "session_iplock"),
        (Dialect::BrightData, "tag", "zone"),
        (Dialect::BrightData, "exit", "ip"),
        (Dialect::Oxylabs, "country", "cc"),
        (Dialect::Oxylabs, "asn", "ASN"),
        (Dialect::IpRoyal, "ttl", "lifetime"),
        (Dialect::IpRoyal, "asn", "asn"),
    ];
    for (dialect, field, key) in cases {
        assert_eq!(key_name(dialect, field), key, "{dialect:?}");
    }
}

#[test]
fn nothing_shows_the_password() {
    let login = parse(Dialect::IpRoyal, "alice", b"hunter2_country-ca", None, None);
    let shown = format!("{login:?}");
    assert!(shown.contains("alice") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn every_country_is_on_one_continent() {
    for (code, continent) in [("CA", "na"), ("DE", "eu"), ("JP", "as"), ("AU", "oc"), ("XK", "eu")]
    {
        assert_eq!(continent_of(Country::parse(code).expect("two letters")), Some(continent));
    }
    assert_eq!(continent_of(Country::parse("ZZ").expect("two letters")), None);
    let letters = b'A'..=b'Z';
    let codes = letters.clone().flat_map(|a| letters.clone().map(move |b| [a, b]));
    let known = codes.filter(|code| {
        let code = std::str::from_utf8(code).expect("letters");
        continent_of(Country::parse(code).expect("two letters")).is_some()
    });
    // Those of ISO 3166-1 and Kosovo.
    assert_eq!(known.count(), 250);
}

fn id() -> impl Strategy<Value = SessionWish> {
    ("[A-Za-z0-9_]{1,20}", prop::option::of(1..20_000_u64), any::<bool>()).prop_map(
        |(id, minutes, strict)| SessionWish {
            id: id.into(),
            ttl: minutes.map(|minutes| Duration::from_secs(60 * minutes)),
            strict,
        },
    )
}

/// A wish that the dialect can say.
fn wish(dialect: Dialect) -> impl Strategy<Value = Wish> {
    let place = || prop::option::of("[a-z]{1,8}(_[a-z]{1,8})?".prop_map(Box::<str>::from));
    let name = || "[a-z0-9.]{1,6}(-[A-Z0-9]{1,4})?".prop_map(Box::<str>::from);
    let where_it_is = (
        prop::option::of("(af|as|eu|oc)".prop_map(Box::<str>::from)),
        prop::option::of("[A-Z]{2}".prop_map(|code| Country::parse(&code).expect("two letters"))),
        place(),
        place(),
        prop::option::of("[0-9]{5}".prop_map(Box::<str>::from)),
    );
    let rest = (
        prop::option::of(any::<u32>()),
        prop::collection::vec(name(), 0..3),
        prop::option::of(name()),
        prop::option::of(prop_oneof![Just(ResolveAt::Here), Just(ResolveAt::Exit)]),
        prop::option::of(id()),
    );
    (where_it_is, rest).prop_map(move |((continent, country, state, city, zip), rest)| {
        let (asn, tags, exit, resolve, session) = rest;
        let all = Wish { continent, country, state, city, zip, asn, tags, exit, resolve, session };
        sayable(dialect, all)
    })
}

/// Takes out what the dialect has no words for.
fn sayable(dialect: Dialect, mut wish: Wish) -> Wish {
    let us = country("US");
    if dialect == Dialect::Native {
        return wish;
    }
    if wish.country.is_none() {
        (wish.state, wish.city, wish.zip) = (None, None, None);
    }
    if wish.state.is_some() || wish.zip.is_some() {
        wish.country = us;
    }
    wish.exit = None;
    wish.tags = Vec::new();
    wish.resolve = None;
    match dialect {
        Dialect::Native => {}
        Dialect::Decodo => {
            if wish.zip.is_some() {
                (wish.state, wish.city) = (None, None);
            }
            if wish.country.is_some() || wish.continent.is_some() {
                wish.asn = None;
            }
        }
        Dialect::BrightData => {
            wish.continent = None;
            wish.state = wish.state.map(|_| "new_york".into());
            wish.tags = vec!["my-pool".into()];
            wish.resolve = Some(ResolveAt::Here);
            wish.exit = Some("127.0.0.2".into());
            if let Some(session) = &mut wish.session {
                session.ttl = None;
            }
        }
        Dialect::Oxylabs if wish.country.is_some() => wish.asn = None,
        Dialect::Oxylabs => {}
        Dialect::IpRoyal => (wish.continent, wish.zip, wish.asn) = (None, None, None),
    }
    if let (Dialect::IpRoyal, Some(session)) = (dialect, &mut wish.session) {
        session.id = session.id.replace('_', "x").into();
    }
    wish
}

fn dialect_and_wish() -> impl Strategy<Value = (Dialect, Wish)> {
    prop::sample::select(&ALL[..]).prop_flat_map(|dialect| (Just(dialect), wish(dialect)))
}

proptest! {
    #[test]
    fn reading_is_the_inverse_of_writing(
        (dialect, wish) in dialect_and_wish(),
        user in "[a-z]{1,5}(-(country|user|x|-|zone|s)){0,3}",
        password in "[ -~é]{0,40}",
    ) {
        // A password that looks like a wish by itself is refused, which another test shows.
        prop_assume!(dialect != Dialect::IpRoyal || !password.contains('_'));
        let (name, secret) = match compose(dialect, &user, &password, &wish) {
            Ok(both) => both,
            Err(error) if error.to_string().contains("longer than 255") => return Ok(()),
            Err(error) => panic!("{dialect:?} {user} {wish:?}: {error}"),
        };
        let login = parse(dialect, &name, secret.as_bytes(), Some(&|name| name == user), None);
        prop_assert_eq!(login.user, user);
        prop_assert_eq!(login.password, password.as_bytes());
        let read = login.wish.expect("understood");
        prop_assert_eq!(read.difference(&wish), None, "{}: {:?}", name, read);
    }

    #[test]
    fn nothing_panics_and_nothing_is_ignored(
        name in "(alice)?[-_a-z0-9A-Z é.%]{0,80}",
        port in any::<Option<u16>>(),
    ) {
        for dialect in ALL {
            let users: &dyn Fn(&str) -> bool = &|name| name == "alice";
            let login = parse(dialect, &name, name.as_bytes(), Some(users), port);
            // A wish that was understood can be said again: nothing of it was dropped.
            let Ok(wish) = &login.wish else { continue };
            if dialect == Dialect::Native && port.is_none() && login.user == "alice" {
                let (again, _) = compose(dialect, "alice", "", wish).expect("said again");
                let again = parse(dialect, &again, b"", Some(users), None);
                prop_assert_eq!(again.wish.as_ref(), Ok(wish));
            }
        }
    }
}
