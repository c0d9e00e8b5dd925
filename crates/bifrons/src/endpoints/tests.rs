//! Addresses, and where what they say comes from.

use std::path::Path;

use clap::Parser;
use config::{Dialect, Exit, ExitKind, ExitPool, Span, WayOut};
use egress::dialect;

use super::offer::Offer;
use super::{Access, Endpoint, make};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    access: Access,
}

fn access(options: &str) -> Access {
    Line::try_parse_from(format!("x {options}").split_whitespace()).expect(options).access
}

fn all(options: &str, count: u32) -> Vec<Endpoint> {
    make(&access(options), count).unwrap_or_else(|error| panic!("{options}: {error}"))
}

fn one(options: &str) -> Endpoint {
    all(options, 1).remove(0)
}

fn error(options: &str) -> String {
    make(&access(options), 1).expect_err(options).to_string()
}

/// A configuration in a file.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), text).expect("write");
    file
}

fn config_option(path: &Path) -> String {
    format!("--config {}", path.display())
}

#[test]
fn the_forms_of_an_address() {
    let endpoint = one("--user alice --password p:@%/+ --country ca --session abc --sticky 10m");
    let name = "alice-country-ca-session-abc-ttl-10m";
    assert_eq!(endpoint.url(), format!("http://{name}:p%3A%40%25%2F%2B@127.0.0.1:3128"));
    assert_eq!(endpoint.line(), format!("127.0.0.1:3128:{name}:p:@%/+"));
    let json = endpoint.json();
    assert_eq!(json["url"], endpoint.url());
    assert_eq!((&json["username"], &json["password"]), (&name.into(), &"p:@%/+".into()));
    assert_eq!((&json["session"], &json["ttl_seconds"]), (&"abc".into(), &600.into()));
    assert_eq!((&json["host"], &json["port"]), (&"127.0.0.1".into(), &3128.into()));
    let six = one("--user alice --password x --listener [::1]:1080 --scheme socks5h");
    assert_eq!(six.url(), "socks5h://alice:x@[::1]:1080");
    assert_eq!(six.json()["host"], "::1");
}

#[test]
fn sessions_are_distinct_and_each_is_understood() {
    for (name, dialect) in [
        ("native", Dialect::Native),
        ("decodo", Dialect::Decodo),
        ("brightdata", Dialect::BrightData),
        ("oxylabs", Dialect::Oxylabs),
        ("iproyal", Dialect::IpRoyal),
    ] {
        let options = format!(
            "--user al-ice --password secret --country ca --sticky --strict --dialect {name}"
        );
        let endpoints = all(&options, 500);
        let mut ids = std::collections::HashSet::new();
        for endpoint in &endpoints {
            let users: &dyn Fn(&str) -> bool = &|name| name == "al-ice";
            let login = dialect::parse(
                dialect,
                &endpoint.name,
                endpoint.password.as_bytes(),
                Some(users),
                None,
            );
            assert_eq!((&*login.user, &*login.password), ("al-ice", &b"secret"[..]));
            let session = login.wish.expect("understood").session.expect("a session");
            assert!(session.strict);
            assert!(ids.insert(session.id), "twice");
        }
    }
}

#[test]
fn without_sessions_they_are_all_the_same() {
    let endpoints = all("--user alice --password x --country ca", 3);
    assert!(endpoints.iter().all(|endpoint| endpoint.name == "alice-country-ca"));
}

#[test]
fn ports_are_sessions() {
    let endpoints = all("--user alice --password x --ports 10001-10003", 3);
    let ports: Vec<u16> = endpoints.iter().map(|endpoint| endpoint.port).collect();
    assert_eq!(ports, [10_001, 10_002, 10_003]);
    assert!(endpoints.iter().all(|endpoint| endpoint.name == "alice"));
    let few = make(&access("--user alice --password x --ports 10001-10003"), 4);
    assert_eq!(few.expect_err("too few").to_string(), "there are 3 ports, not 4");
    assert_eq!(error("--user a --password x --ports"), "no ports are known that are sessions");
}

#[test]
fn values_are_put_into_the_form_of_labels() {
    let options =
        ["x", "--user", "alice", "--password", "x", "--country", "US", "--city", "New York"];
    let more = ["--continent", "North-America", "--zip", "V5K"];
    let line = Line::try_parse_from(options.iter().chain(&more)).expect("options");
    let access = line.access;
    let endpoint = make(&access, 1).expect("made").remove(0);
    assert_eq!(endpoint.name, "alice-continent-na-country-us-city-new_york-zip-v5k");
}

#[test]
fn what_cannot_be_said_is_refused() {
    let cases = [
        ("--user a --password x --dialect brightdata --sticky 10m", "`ttl` cannot be said"),
        ("--user a --password x --dialect decodo --exit b", "`exit` cannot be said"),
        ("--user a --password x --dialect decodo --city toronto", "`city` needs a country"),
        ("--user a --session x.y --password x", "`session` is not 1 to 64"),
        ("--user a", "the password of a is needed"),
    ];
    for (options, expected) in cases {
        let error = error(options);
        assert!(error.contains(expected), "{options}: {error}");
    }
    let two = make(&access("--user a --password x --session abc"), 2);
    assert_eq!(two.expect_err("one").to_string(), "one session cannot be 2 sessions");
}

#[test]
fn the_password_comes_from_a_file() {
    let secret = file("p w\n");
    let endpoint = one(&format!("--user alice --password-file {}", secret.path().display()));
    assert_eq!(endpoint.password, "p w");
}

#[test]
fn what_the_configuration_says() {
    let file = file(
        "users \"staff\" { user \"alice\" password=\"secret\"; user \"bob\" password=\"x\"; }
        forward \"127.0.0.1:3128\" { auth users=\"staff\"; }
        forward \"0.0.0.0:3129\" { clients \"127.0.0.1\"; }",
    );
    let config = config_option(file.path());
    let endpoint = one(&format!("{config} --user alice --listener proxy.example:3128"));
    assert_eq!(endpoint.url(), "http://alice:secret@proxy.example:3128");
    let open = one(&format!("{config} --user alice --listener 127.0.0.1:3129"));
    assert_eq!(open.url(), "http://alice:@127.0.0.1:3129");
    let cases = [
        ("--user alice", "which listener?"),
        ("--user alice --listener x:1", "there is no listener x:1"),
        ("--user carol --listener x:3128", "the password of carol is needed"),
        ("--user alice --listener x:3128 --country ca", "the listener has no exits"),
        ("--user alice --listener x:3128 --scheme https", "speaks no TLS"),
    ];
    for (options, expected) in cases {
        let error = error(&format!("{config} {options}"));
        assert!(error.contains(expected), "{options}: {error}");
    }
}

#[test]
fn what_the_pool_of_the_listener_says() {
    let text = "users \"staff\" { user \"alice\" password=\"secret\"; }
        forward \"[::1]:3128\" { auth users=\"staff\"; }";
    let mut config = config::parse("test", text, Path::new("")).expect("a configuration");
    let span = Span::from(0..0);
    let mut pool = ExitPool::new("world", vec![Exit::new("here", ExitKind::Direct, span)], span);
    pool.dialect = Dialect::BrightData;
    config.exits.push(pool);
    config.forwards[0].exit = WayOut::Pool(0);
    config.forwards[0].sticky_ports = Some((10_001, 10_002));
    let access = access("--user alice --country ca --sticky 25h");
    let offer = Offer::of(&config, &access).expect("an offer");
    assert_eq!((&*offer.host, offer.port, offer.dialect), ("[::1]", 3128, Dialect::BrightData));
    assert_eq!(offer.ports, Some((10_001, 10_002)));
    assert_eq!(offer.password.as_deref(), Some("secret"));
    assert_eq!(access.wish(&offer).tags, ["world".into()]);
    let error = access.session(&offer).expect_err("too long").to_string();
    assert_eq!(error, "sessions of this listener last 24h at most");
}
