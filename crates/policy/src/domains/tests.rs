use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn set(entries: &[(&str, Scope)]) -> DomainSet {
    let mut set = DomainSet::default();
    for (name, scope) in entries {
        set.insert(name, *scope).unwrap();
    }
    set.shrink();
    set
}

#[test]
fn scopes_say_which_names_are_covered() {
    let set = set(&[
        ("both.example", Scope::Domain),
        ("name.example", Scope::Name),
        ("below.example", Scope::Subdomains),
    ]);
    for covered in
        ["both.example", "a.both.example", "a.b.both.example", "name.example", "a.below.example"]
    {
        assert!(set.contains(covered), "{covered}");
    }
    for free in [
        "a.name.example",
        "below.example",
        "example",
        "notboth.example",
        "both.example.net",
        "oth.example",
        "",
        ".",
    ] {
        assert!(!set.contains(free), "{free}");
    }
}

#[test]
fn a_name_given_twice_covers_what_either_does() {
    let set = set(&[("a.example", Scope::Name), ("a.example", Scope::Subdomains)]);
    assert_eq!(set.len(), 1);
    assert!(set.contains("a.example") && set.contains("b.a.example"));
}

#[test]
fn an_empty_set_and_a_long_name_are_answered() {
    assert!(!DomainSet::default().contains("example.com"));
    let deep = "a.".repeat(120) + "example";
    assert!(set(&[("example", Scope::Domain)]).contains(&deep));
    let long = "a.".repeat(4000) + "example";
    assert!(!set(&[("example", Scope::Domain)]).contains(&long));
}

#[test]
fn names_are_brought_into_one_form() {
    let mut buffer = String::new();
    for (text, name) in [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("_dmarc.example", "_dmarc.example"),
    ] {
        assert!(domain_name(text, &mut buffer).is_some(), "{text}");
        assert_eq!(buffer, name);
    }
    let long_label = "a".repeat(64);
    let long_name = "a.".repeat(127) + "a";
    for junk in ["", ".", "a..b", "a b", "a/b", "*.a", "a:1", "ex\u{0}", &long_label, &long_name] {
        assert!(domain_name(junk, &mut buffer).is_none(), "{junk}");
    }
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![Just(Scope::Name), Just(Scope::Subdomains), Just(Scope::Domain)]
}

/// What a set says, written as directly as possible.
fn model(entries: &[(String, Scope)], name: &str) -> bool {
    entries.iter().any(|(entry, scope)| {
        let is_name = name == entry;
        let is_below = name.ends_with(&format!(".{entry}"));
        match scope {
            Scope::Name => is_name,
            Scope::Subdomains => is_below,
            Scope::Domain => is_name || is_below,
        }
    })
}

proptest! {
    #[test]
    fn equals_the_naive_model(
        entries in prop::collection::vec(("[ab](\\.[ab]{1,2}){0,3}", scope()), 0..60),
        probes in prop::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){0,4}", 1..40),
    ) {
        let mut set = DomainSet::default();
        for (name, scope) in &entries {
            set.insert(name, *scope).unwrap();
        }
        let names: HashMap<&str, ()> =
            entries.iter().map(|(name, _)| (name.as_str(), ())).collect();
        prop_assert_eq!(set.len(), names.len());
        for shrunk in [false, true] {
            if shrunk {
                set.shrink();
            }
            for probe in probes.iter().map(String::as_str).chain(names.keys().copied()) {
                prop_assert_eq!(set.contains(probe), model(&entries, probe), "{}", probe);
            }
        }
    }
}
