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
    purges.note(&Purge { what: What::Tag(5), soft: false });
    assert_eq!(purges.verdict(0, &subject(None)), Verdict::Gone);
    assert_eq!(purges.verdict(0, &subject(Some(&[4]))), Verdict::Valid);
    assert_eq!(purges.verdict(0, &subject(Some(&[5]))), Verdict::Gone);
    assert_eq!(purges.verdict(1, &subject(Some(&[5]))), Verdict::Valid);
}

#[test]
fn a_purge_counts_as_through_once_all_before_it_are() {
    let purges = Purges::default();
    let purge = Purge { what: What::All, soft: false };
    let (first, second) = (purges.note(&purge), purges.note(&purge));
    assert_eq!((first, second, purges.newest(), purges.swept()), (1, 2, 2, 0));
    purges.done(second);
    assert_eq!(purges.swept(), 0);
    purges.done(first);
    assert_eq!(purges.swept(), 2);
}

#[test]
fn more_prefixes_than_are_told_apart_are_taken_together() {
    let purges = Purges::default();
    let prefix = |number: u32| What::Prefix(format!("http://a.example/{number}").as_bytes().into());
    (0..1000).for_each(|number| _ = purges.note(&Purge { what: prefix(number), soft: true }));
    let subject = Subject { key: 1, url: 2, url_text: b"http://b.example/", tags: Some(&[]) };
    assert_eq!(purges.verdict(0, &subject), Verdict::Gone);
    assert_eq!(purges.verdict(999, &subject), Verdict::Valid);
    let last = Subject { url_text: b"http://a.example/999", ..subject };
    assert_eq!(purges.verdict(999, &last), Verdict::Stale);
}
