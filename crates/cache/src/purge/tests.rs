use super::*;

fn subject<'a>(url: u128, url_text: &'a str, tags: Option<&'a [u128]>) -> Subject<'a> {
    let (face, url_text) = (&b"r"[..], url_text.as_bytes());
    Subject { key: 1, url, face, url_text, is_cut: false, tags }
}

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
    let subject = |tags| subject(2, "http://a.example/", tags);
    purges.note(&Purge { what: What::Tag(5), soft: false }, Lasting::Disk(0));
    assert_eq!(purges.verdict(0, &subject(None)), Verdict::Gone);
    assert_eq!(purges.verdict(0, &subject(Some(&[4]))), Verdict::Valid);
    assert_eq!(purges.verdict(0, &subject(Some(&[5]))), Verdict::Gone);
    assert_eq!(purges.verdict(1, &subject(Some(&[5]))), Verdict::Valid);
}

#[test]
fn a_purge_counts_as_through_once_all_before_it_are() {
    let purges = Purges::default();
    let purge = Purge { what: What::All, soft: false };
    let (first, second) =
        (purges.note(&purge, Lasting::Disk(0)), purges.note(&purge, Lasting::Disk(0)));
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
        purges.note(
            &prefix(&format!("http://a.example/{number}/{}", "x".repeat(number % 7))),
            Lasting::Disk(0),
        );
    }
    let verdict = |since, url: &str| purges.verdict(since, &subject(2, url, Some(&[])));
    assert_eq!(verdict(0, "http://a.example/7/"), Verdict::Stale);
    assert_eq!(verdict(8, "http://a.example/7/"), Verdict::Valid);
    assert_eq!(verdict(0, "http://a.example/8/"), Verdict::Valid);
    assert_eq!(verdict(0, "http://a.example/8/xy"), Verdict::Stale);
    assert_eq!(verdict(0, "http://a.example/"), Verdict::Valid);
    assert_eq!(verdict(0, ""), Verdict::Valid);
}

/// Whether a purge is about an answer with this key: as memory is swept, and as what is under way
/// is compared.
fn is_about(what: &What, key: &str, tags: &[u128]) -> bool {
    let key = Key::new(key.as_bytes());
    let subject = Subject::by_key(&key, 0, Some(tags));
    let purges = Purges::default();
    purges.note(&Purge { what: what.clone(), soft: false }, Lasting::Disk(0));
    let under_way = purges.verdict(0, &subject) == Verdict::Gone;
    assert_eq!(what.covers(&subject), under_way, "{what:?} {key:?}");
    under_way
}

#[test]
fn a_prefix_is_one_of_urls_however_keys_spell_them() {
    let prefix = |text: &str| What::Prefix(text.as_bytes().into());
    for (text, key, about) in [
        ("http://a/x", "r http://a/x1", true),
        ("http://a/x", "r http://a/%781", true),
        ("http://a/~", "r http://a/%7Ex", true),
        ("http://a/x", "r http://a/y", false),
        ("http://a/x?v=", "r http://a/x?v=1", true),
        ("http://a/x?v=", "r http://a/x?w=1", false),
        // Slices are answers to the URL of the whole.
        ("http://a/x", "r http://a/x \n/slice=65536:3", true),
        // The query is not in the key, or only a part of it.
        ("http://a/x?v=", "r http://a/x \nv=1 ", true),
        ("http://a/y?v=", "r http://a/x \nv=1 ", false),
        ("http://a/x?v=", "r http://a/x/y \nv=1 ", false),
        // The path is not in the key.
        ("http://a/x", "r http://a", true),
        ("http://a/x", "r http://a \nv=1 ", true),
        ("http://b/x", "r http://a", false),
        ("http://a:81/x", "r http://a", false),
    ] {
        assert_eq!(is_about(&prefix(text), key, &[]), about, "{text} {key}");
    }
}

#[test]
fn a_tag_of_one_site_is_not_that_of_others() {
    let of = |tag, face: &str| What::TagAt(tag, face.as_bytes().into());
    assert!(is_about(&of(5, "rone"), "rone http://a/", &[5]));
    assert!(!is_about(&of(5, "rone"), "rtwo http://a/", &[5]));
    assert!(!is_about(&of(5, "r"), "rone http://a/", &[5]));
    assert!(!is_about(&of(6, "rone"), "rone http://a/", &[5]));
    assert!(is_about(&What::Tag(5), "rone http://a/", &[5]));
}

#[test]
fn what_is_about_nothing_any_more_is_forgotten() {
    let purges = Purges::default();
    let subject = |url| subject(url, "http://a.example/", Some(&[]));
    for number in 1..200_000_u64 {
        // A few may be about something that is on the disk.
        let purge = Purge { what: What::Url(number.into()), soft: false };
        let lasting = match number % 10_000 {
            5 => Lasting::Disk(5),
            _ => Lasting::UnderWay(5),
        };
        purges.note(&purge, lasting);
    }
    assert!(purges.table.read().len() < 140_000);
    assert_eq!(purges.verdict(199_990, &subject(199_995)), Verdict::Gone);
    assert_eq!(purges.verdict(199_990, &subject(199_990)), Verdict::Valid);
    // What is on the disk is not gone because much else was purged.
    assert_eq!(purges.verdict_on_disk(6, &subject(20_005)), Verdict::Gone);
    assert_eq!(purges.verdict_on_disk(20_005, &subject(20_005)), Verdict::Valid);
    assert_eq!(purges.verdict_on_disk(6, &subject(0)), Verdict::Valid);
    assert_eq!(purges.verdict(1, &subject(0)), Verdict::Gone, "nobody knows any more");
}

#[test]
fn a_purge_is_read_as_it_was_written() {
    let text = |text: &str| text.as_bytes().into();
    let whats = [
        What::Url(1 << 100),
        What::Key(2),
        What::Tag(u128::MAX),
        What::TagAt(7, text("rhttp://a.example")),
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

#[test]
fn a_lasting_purge_of_a_prefix_lasts_for_all_that_it_is_about() {
    let purges = Purges::default();
    let prefix =
        Purge { what: What::Prefix(b"http://a.example/p?x=1".as_slice().into()), soft: false };
    let number = purges.note(&prefix, Lasting::Disk(0));
    // So many that those which are about nothing any more are forgotten.
    for url in 0..200_000 {
        purges.note(&Purge { what: What::Url(url), soft: false }, Lasting::UnderWay(0));
    }
    assert!(purges.table.read().len() < 150_000);
    let verdict = |subject: Subject<'_>| purges.verdict_on_disk(number - 1, &subject);
    let whole = subject(u128::MAX, "http://a.example/p?x=12", Some(&[]));
    let cut = Subject { is_cut: true, ..subject(u128::MAX, "http://a.example/p", Some(&[])) };
    let origin = subject(u128::MAX, "http://a.example", Some(&[]));
    assert_eq!([whole, cut, origin].map(verdict), [Verdict::Gone; 3]);
    let other = Subject { is_cut: true, ..subject(u128::MAX, "http://a.example/q", Some(&[])) };
    assert_eq!(verdict(other), Verdict::Valid);
}
