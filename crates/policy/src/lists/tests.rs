use std::io::Write as _;

use proptest::prelude::*;

use super::*;

fn list(text: &str) -> DomainList {
    DomainList::read(text.as_bytes()).unwrap()
}

#[test]
fn every_form_of_a_line_is_understood() {
    let list = list(
        "\u{feff}# a comment\r\n\
         ! another\n\
         [Adblock Plus 2.0]\n\
         \n\
         plain.example\n\
         \tUPPER.Example.  # trailing dot, case and a comment\r\n\
         bücher.example\n\
         *.below.example\n\
         ||filter.example^\n\
         0.0.0.0 one.hosts.example two.hosts.example\t# two names\n\
         ::1 three.hosts.example\n\
         127.0.0.1\tlocalhost\n\
         ::1 ip6-localhost ip6-loopback\n\
         fe80::1%lo0 localhost\n\
         255.255.255.255 broadcasthost\n\
         0.0.0.0 0.0.0.0\n\
         last.example",
    );
    assert_eq!(list.first_skipped(), []);
    assert_eq!(list.domains().len(), 9);
    for covered in [
        "plain.example",
        "www.plain.example",
        "upper.example",
        "xn--bcher-kva.example",
        "a.below.example",
        "filter.example",
        "a.filter.example",
        "one.hosts.example",
        "two.hosts.example",
        "three.hosts.example",
        "last.example",
    ] {
        assert!(list.domains().contains(covered), "{covered}");
    }
    for free in [
        "localhost",
        "below.example",
        "a.one.hosts.example",
        "hosts.example",
        "example",
        "ip6-localhost",
        "broadcasthost",
    ] {
        assert!(!list.domains().contains(free), "{free}");
    }
}

#[test]
fn junk_is_counted_and_closes_nothing() {
    let junk = "page.example##.banner\n\
                ||site.example^$third-party\n\
                ||path.example/ads^\n\
                @@||allowed.example^$script\n\
                http://url.example/\n\
                one.example two.example\n\
                192.0.2.1\n\
                0.0.0.0 bad/name.example\n\
                <html>\n\
                good.example\n";
    let list = list(junk);
    assert_eq!(list.domains().len(), 1);
    assert!(list.domains().contains("good.example"));
    assert_eq!(list.skipped(), 9);
    assert_eq!(list.first_skipped().len(), REPORTED);
    assert_eq!(
        list.first_skipped()[1],
        SkippedLine { line: 2, reason: "a filter that is more than a domain" }
    );
    let warning = list.warning().unwrap();
    assert!(warning.contains("9 lines") && warning.contains("line 1: not a domain"), "{warning}");
}

#[test]
fn exceptions_hold_within_their_list_wherever_they_stand() {
    let list = list("@@||good.ads.example^\n||ads.example^\n0.0.0.0 x.good.ads.example\n");
    assert_eq!(list.skipped(), 0);
    for (name, expected) in [
        ("ads.example", true),
        ("www.ads.example", true),
        ("good.ads.example", false),
        ("www.good.ads.example", false),
        ("x.good.ads.example", false),
    ] {
        assert_eq!(list.contains(name), expected, "{name}");
    }
}

#[test]
fn a_bad_name_in_a_hosts_line_leaves_the_good_ones() {
    let list = list("0.0.0.0 a.example b..example c.example\n");
    assert!(list.domains().contains("a.example") && list.domains().contains("c.example"));
    assert_eq!(list.skipped(), 1);
}

#[test]
fn bytes_that_are_no_text_and_endless_lines_are_skipped() {
    let mut bytes = b"\xff\xfe\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'a', 3 * MAX_LINE));
    bytes.extend(b"\nafter.example");
    let list = DomainList::read(bytes.as_slice()).unwrap();
    assert_eq!(
        list.first_skipped(),
        [
            SkippedLine { line: 1, reason: "not UTF-8" },
            SkippedLine { line: 2, reason: "longer than 64 KiB" }
        ]
    );
    assert!(list.domains().contains("after.example"));
}

#[test]
fn a_file_is_read_once_and_a_missing_one_is_said_every_time() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"a.example\n").unwrap();
    let mut lists = Lists::new();
    let first = lists.open(file.path()).unwrap();
    file.write_all(b"b.example\n").unwrap();
    let second = lists.open(file.path()).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(lists.opened().count(), 1);
    let missing = file.path().with_extension("missing");
    assert!(lists.open(&missing).is_err());
    assert!(lists.open(&missing).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        DomainList::read(bytes.as_slice()).unwrap();
    }

    #[test]
    fn text_near_to_a_list_is_read_without_a_panic(
        text in "([0-9:%.]{0,8}[ \t#!|*^$.a-zü/]{0,20}\r?\n){0,12}",
    ) {
        DomainList::read(text.as_bytes()).unwrap();
    }
}
