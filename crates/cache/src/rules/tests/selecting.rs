//! Which requests an answer is for; its tags; what is told of it.

use super::*;

/// Whether an answer to the first request is for the second one.
fn same(name: &str, first: &[&str], second: &[&str]) -> bool {
    let lines = |values: &[&str]| {
        let fields: Vec<_> = values.iter().map(|value| (name, *value)).collect();
        block(&fields)
    };
    let answer = block(&[("Vary", name)]);
    let vary = Vary::of_answer(&answer, &lines(first)).unwrap();
    vary::matches(&vary, &lines(second))
}

#[test]
fn names_are_each_there_once() {
    let spec = |values: &[(&str, &str)]| vary::spec_of(&block(values));
    let names = vary::Spec::Names(vec!["accept".into(), "x-a".into()]);
    assert_eq!(spec(&[("Vary", "X-A, accept,, x-a"), ("vary", "ACCEPT")]), names);
    assert_eq!(spec(&[]), vary::Spec::Names(vec![]));
    assert_eq!(spec(&[("Vary", "a"), ("Vary", "*")]), vary::Spec::Star);
    let many: Vec<_> = (0..100).map(|n| format!("x-{n}")).collect();
    assert_eq!(spec(&[("Vary", &many.join(","))]), vary::Spec::Star);
}

#[test]
fn white_space_and_lines_make_no_difference() {
    assert!(same("X-A", &["1, 2"], &["1", "2"]));
    assert!(same("X-A", &["1,2"], &["1 ,  2"]));
    assert!(same("X-A", &[], &[]));
    assert!(!same("X-A", &["1"], &["2"]));
    assert!(!same("X-A", &["1"], &[]));
    assert!(!same("X-A", &[], &[""]));
    assert!(!same("X-A", &["1, 2"], &["2, 1"]));
    assert!(!same("X-A", &["\"1,2\""], &["\"1, 2\""]));
}

#[test]
fn of_codings_it_counts_which_are_admitted() {
    let alike = |first, second| same("Accept-Encoding", &[first], &[second]);
    assert!(alike("gzip, br", "br;q=0.1,GZIP"));
    assert!(alike("gzip", "x-gzip"));
    assert!(alike("gzip", "gzip, unknown"));
    assert!(alike("gzip, br;q=0", "gzip"));
    assert!(alike("*", "gzip, br, zstd, deflate"));
    assert!(alike("*, br;q=0", "gzip, zstd, deflate"));
    assert!(alike("identity", ""));
    assert!(alike("*;q=0", "identity;q=0"));
    assert!(!alike("gzip", "br"));
    assert!(!alike("gzip", "gzip, br"));
    assert!(!alike("gzip", "gzip, deflate"));
    assert!(!alike("gzip", "gzip, identity;q=0"));
    assert!(!alike("gzip, br", "gzip, br, dcb"));
    assert!(!same("Accept-Encoding", &[], &["identity"]));
    assert!(same("Accept-Encoding", &["gzip", "br"], &["br, gzip"]));
}

#[test]
fn of_languages_it_counts_how_much_they_are_liked() {
    let alike = |first, second| same("Accept-Language", &[first], &[second]);
    assert!(alike("en, de", "DE ,en"));
    assert!(alike("en;q=1.0, de;q=0.5", "de;q=0.500,en"));
    assert!(!alike("en, de;q=0.5", "en, de;q=0.6"));
    assert!(!alike("en, de", "en"));
    assert!(!alike("en", "en=de"));
    assert!(!same("Accept-Language", &[], &[""]));
}

#[test]
fn an_answer_in_a_language_is_for_those_who_like_it_best() {
    let answer = block(&[("Vary", "Accept-Language"), ("Content-Language", "DE")]);
    let request = |value| block(&[("Accept-Language", value)]);
    let vary = Vary::of_answer(&answer, &request("en, de")).unwrap();
    for (value, matches) in [
        ("de, en", true),
        ("fr;q=0.5, de", true),
        ("de;q=0.2", true),
        ("de;q=0", false),
        ("de, fr", false),
        ("fr, de;q=0.5", false),
        ("de-at", false),
        ("*", false),
    ] {
        assert_eq!(vary::matches(&vary, &request(value)), matches, "{value}");
    }
}

#[test]
fn tags_of_both_kinds_are_found() {
    let fields =
        block(&[("Surrogate-Key", "a  b"), ("Cache-Tag", "b, c d"), ("surrogate-key", "e")]);
    let mut expected = ["a", "b", "c d", "e"].map(|tag| crate::hash(tag.as_bytes()));
    expected.sort_unstable();
    assert_eq!(*tags_of(&fields), expected);
    assert!(tags_of(&block(&[("Cache-Tag", "")])).is_empty());
    assert!(tags_of(&block(&[("Cache-Tag", &"x".repeat(2000))])).is_empty());
}

#[test]
fn the_cache_tells_what_it_did() {
    let written = |status: CacheStatus| {
        let mut out = Vec::new();
        status.write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let hit = CacheStatus { hit: true, ttl: Some(-3), ..CacheStatus::default() };
    assert_eq!(written(hit), "bifrons; hit; ttl=-3");
    let miss = CacheStatus {
        forwarded: Some(Forwarded::UriMiss),
        stored: true,
        collapsed: true,
        ..CacheStatus::default()
    };
    assert_eq!(written(miss), "bifrons; fwd=uri-miss; stored; collapsed");
    let validated = CacheStatus {
        forwarded: Some(Forwarded::Stale),
        forwarded_status: Some(304),
        detail: Some(NotStored::NoStore.as_str()),
        ..CacheStatus::default()
    };
    assert_eq!(written(validated), "bifrons; fwd=stale; fwd-status=304; detail=no-store");
}
