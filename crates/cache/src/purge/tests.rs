use super::*;

#[test]
fn hosts_are_told_from_urls() {
    let of = |url: &str| hosts(url.as_bytes()).map(|host| String::from_utf8(host.into()).unwrap());
    assert_eq!(of("http://a.example/x:1"), ["a.example", "a.example"]);
    assert_eq!(of("http://a.example:8080?x"), ["a.example:8080", "a.example"]);
    assert_eq!(of("https://[::1]/"), ["[::1]", "[::1]"]);
    assert_eq!(of("https://[::1]:443/"), ["[::1]:443", "[::1]"]);
    assert_eq!(of("a.example"), ["a.example", "a.example"]);
    assert_eq!(of(""), ["", ""]);
}

#[test]
fn what_has_no_tags_yet_may_have_any() {
    let purges = Purges::default();
    let subject = |tags| Subject { key: 1, url: 2, url_text: b"http://a.example/", tags };
    purges.note(&Purge { what: What::Tag(5), soft: false }, 0);
    assert_eq!(purges.verdict(0, &subject(None)), Verdict::Gone);
    assert_eq!(purges.verdict(0, &subject(Some(&[4]))), Verdict::Valid);
    assert_eq!(purges.verdict(0, &subject(Some(&[5]))), Verdict::Gone);
    assert_eq!(purges.verdict(1, &subject(Some(&[5]))), Verdict::Valid);
}

#[test]
fn a_purge_counts_as_through_once_all_before_it_are() {
    let purges = Purges::default();
    let purge = Purge { what: What::All, soft: false };
    let (first, second) = (purges.note(&purge, 0), purges.note(&purge, 0));
    assert_eq!((first, second, purges.newest(), purges.swept()), (1, 2, 2, 0));
    purges.done(second);
    assert_eq!(purges.swept(), 0);
    purges.done(first);
    assert_eq!(purges.swept(), 2);
}

#[test]
fn prefixes_of_any_length_are_found() {
    let purges = Purges::default();
    let prefix = |text: &str| Purge { what: What::Prefix(text.as_bytes().into()), soft: true };
    for number in 0..1000 {
        purges.note(&prefix(&format!("http://a.example/{number}/{}", "x".repeat(number % 7))), 0);
    }
    let verdict = |since, url: &str| {
        let subject = Subject { key: 1, url: 2, url_text: url.as_bytes(), tags: Some(&[]) };
        purges.verdict(since, &subject)
    };
    assert_eq!(verdict(0, "http://a.example/7/"), Verdict::Stale);
    assert_eq!(verdict(8, "http://a.example/7/"), Verdict::Valid);
    assert_eq!(verdict(0, "http://a.example/8/"), Verdict::Valid);
    assert_eq!(verdict(0, "http://a.example/8/xy"), Verdict::Stale);
    assert_eq!(verdict(0, "http://a.example/"), Verdict::Valid);
    assert_eq!(verdict(0, ""), Verdict::Valid);
}

#[test]
fn what_is_about_nothing_any_more_is_forgotten() {
    let purges = Purges::default();
    let subject = |url| Subject { key: 1, url, url_text: b"http://a.example/", tags: Some(&[]) };
    for number in 1..100_000_u64 {
        // All on the disk is younger than the last thousand.
        let purge = Purge { what: What::Url(number.into()), soft: false };
        purges.note(&purge, number.saturating_sub(1000));
    }
    assert!(purges.table.read().len() < 3000);
    assert_eq!(purges.verdict(99_990, &subject(99_995)), Verdict::Gone);
    assert_eq!(purges.verdict(99_990, &subject(99_990)), Verdict::Valid);
    assert_eq!(purges.verdict(1, &subject(0)), Verdict::Gone, "nobody knows any more");
}

#[test]
fn a_purge_is_read_as_it_was_written() {
    let text = |text: &str| text.as_bytes().into();
    let whats = [
        What::Url(1 << 100),
        What::Key(2),
        What::Tag(u128::MAX),
        What::Prefix(text("http://a.example/x")),
        What::Host(text("")),
        What::All,
    ];
    for what in whats {
        for soft in [false, true] {
            let purge = Purge { what: what.clone(), soft };
            assert_eq!(Purge::from_bytes(&purge.to_bytes()), Some(purge));
        }
    }
    for bytes in [&b""[..], b"u", b"u\0short", b"a\0more", b"?\0", b"a\x02"] {
        assert_eq!(Purge::from_bytes(bytes), None, "{bytes:?}");
    }
}
