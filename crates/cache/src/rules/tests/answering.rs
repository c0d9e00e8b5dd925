//! What is sent of what is stored.
#![allow(clippy::single_range_in_vec_init, reason = "one range is what is meant")]

use super::*;

const BODY: &str = "0123456789";

fn answered(fields: &[(&str, &str)], request: &[(&str, &str)]) -> Answer {
    let all: Vec<_> = [("Cache-Control", "max-age=60")].iter().chain(fields).copied().collect();
    let stored = kept_as(200, &all, BODY);
    let (request, asked) = get(request);
    answer_to(&Kept::from(&stored), &asked, &request)
}

fn ranges(value: &str) -> Answer {
    answered(&[], &[("Range", value)])
}

fn parts(ranges: &[std::ops::Range<u64>]) -> Answer {
    Answer::Partial(Ranges { parts: ranges.to_vec(), complete: Some(10) })
}

#[test]
fn tags_of_the_client_are_compared_weakly() {
    for (tag, asked, held) in [
        ("\"a\"", "\"a\"", true),
        ("\"a\"", "W/\"a\"", true),
        ("W/\"a\"", "W/\"a\"", true),
        ("\"a\"", "\"x\", \"a\" ,\"y\"", true),
        ("\"a\"", "\"x\",,W/\"a\"", true),
        ("\"a,b\"", "\"x\", \"a,b\"", true),
        ("\"\u{fc}\"", "\"\u{fc}\"", true),
        ("\"a\"", "*", true),
        ("a", "a", true),
        ("\"a\"", "\"b\"", false),
        ("\"a\"", "a", false),
        ("a", "\"a\"", false),
        ("\"a\"", "\"A\"", false),
        ("\"a\"", "\"b\"x, c", false),
        ("\"a\"", "", false),
    ] {
        let answer = answered(&[("ETag", tag)], &[("If-None-Match", asked)]);
        let expected = if held { Answer::NotModified } else { Answer::Full };
        assert_eq!(answer, expected, "{tag} {asked}");
    }
    // `*` is true for whatever there is.
    assert_eq!(answered(&[], &[("If-None-Match", "*")]), Answer::NotModified);
    assert_eq!(answered(&[], &[("If-None-Match", "\"a\"")]), Answer::Full);
}

#[test]
fn a_tag_comes_before_a_date() {
    let fields = [("ETag", "\"a\""), ("Last-Modified", &*date(-100))];
    let of = |tag, since: i64| {
        answered(&fields, &[("If-None-Match", tag), ("If-Modified-Since", &date(since))])
    };
    assert_eq!(of("\"a\"", -200), Answer::NotModified);
    assert_eq!(of("\"b\"", 0), Answer::Full);
}

#[test]
fn dates_of_the_client() {
    let of =
        |fields: &[(&str, &str)], since: &str| answered(fields, &[("If-Modified-Since", since)]);
    let modified = date(-100);
    let fields = [("Last-Modified", &*modified)];
    assert_eq!(of(&fields, &modified), Answer::NotModified);
    assert_eq!(of(&fields, &date(-99)), Answer::NotModified);
    assert_eq!(of(&fields, &date(-101)), Answer::Full);
    assert_eq!(of(&fields, "Sunday, 03-Jul-22 09:58:20 GMT"), Answer::NotModified);
    assert_eq!(of(&fields, "yesterday"), Answer::Full);
    // As new as its date.
    assert_eq!(of(&[("Date", &date(0))], &date(0)), Answer::NotModified);
    assert_eq!(of(&[("Date", &date(0))], &date(-1)), Answer::Full);
}

#[test]
fn preconditions_are_compared_strongly() {
    let strong = [("ETag", "\"a\""), ("Last-Modified", &*date(-100))];
    let of = |name, value: &str| answered(&strong, &[(name, value)]);
    assert_eq!(of("If-Match", "\"x\", \"a\""), Answer::Full);
    assert_eq!(of("If-Match", "*"), Answer::Full);
    assert_eq!(of("If-Match", "W/\"a\""), Answer::PreconditionFailed);
    assert_eq!(of("If-Unmodified-Since", &date(-100)), Answer::Full);
    assert_eq!(of("If-Unmodified-Since", &date(-101)), Answer::PreconditionFailed);
    assert_eq!(of("If-Unmodified-Since", "x"), Answer::Full);
}

#[test]
fn conditions_are_about_successes() {
    let stored = kept_as(404, &[("Cache-Control", "max-age=60"), ("ETag", "\"a\"")], "");
    let (request, asked) = get(&[("If-None-Match", "\"a\"")]);
    assert_eq!(answer_to(&Kept::from(&stored), &asked, &request), Answer::Full);
}

#[test]
fn ranges_are_placed_in_the_body() {
    assert_eq!(ranges("bytes=0-1"), parts(&[0..2]));
    assert_eq!(ranges("Bytes=9-"), parts(&[9..10]));
    assert_eq!(ranges("bytes=-3"), parts(&[7..10]));
    assert_eq!(ranges("bytes=-99"), parts(&[0..10]));
    assert_eq!(ranges("bytes=5-99999999999999999999999999"), parts(&[5..10]));
    assert_eq!(ranges("bytes=8-9 , 0-1"), parts(&[8..10, 0..2]));
    assert_eq!(ranges("bytes=0-1,100-,-1"), parts(&[0..2, 9..10]));
    assert_eq!(ranges("bytes=10-"), Answer::Unsatisfiable { complete: 10 });
    assert_eq!(ranges("bytes=-0"), Answer::Unsatisfiable { complete: 10 });
    for whole in ["bytes=", "bytes=-", "bytes=2-1", "bytes=a-b", "bytes=+1-2", "lines=0-1", "0-1"] {
        assert_eq!(ranges(whole), Answer::Full, "{whole}");
    }
}

#[test]
fn ranges_that_touch_are_one_and_many_are_the_whole() {
    assert_eq!(ranges("bytes=0-3,2-5"), parts(&[0..6]));
    assert_eq!(ranges("bytes=0-3,8-8,4-5"), parts(&[8..9, 0..6]));
    assert_eq!(ranges("bytes=0-,0-,0-,0-"), parts(&[0..10]));
    let many = format!("bytes={}", vec!["0-0"; MAX_RANGES + 1].join(","));
    assert_eq!(ranges(&many), Answer::Full);
    // So many small ones that the whole is less.
    let stored = kept_as(200, OK, BODY);
    let kept = Kept { length: Some(5000), body: None, ..Kept::from(&stored) };
    let spread: Vec<_> =
        (0..MAX_RANGES).map(|at| format!("{}-{}", at * 300, at * 300 + 199)).collect();
    let (request, asked) = get(&[("Range", &format!("bytes={}", spread.join(",")))]);
    assert_eq!(answer_to(&kept, &asked, &request), Answer::Full);
}

const OK: &[(&str, &str)] = &[("Cache-Control", "max-age=60")];

#[test]
fn a_part_of_another_version_is_not_what_was_asked_for() {
    let (modified, now) = (date(-100), date(0));
    let fields = [("ETag", "\"a\""), ("Last-Modified", &*modified), ("Date", &now)];
    let of = |value: &str| answered(&fields, &[("Range", "bytes=0-1"), ("If-Range", value)]);
    assert_eq!(of("\"a\""), parts(&[0..2]));
    assert_eq!(of(&modified), parts(&[0..2]));
    for other in ["\"b\"", "W/\"a\"", "x", "", &date(-99), &date(-101)] {
        assert_eq!(of(other), Answer::Full, "{other}");
    }
    let weak = answered(&[("ETag", "W/\"a\"")], &[("Range", "bytes=0-1"), ("If-Range", "W/\"a\"")]);
    assert_eq!(weak, Answer::Full);
    // Two versions may be of one second.
    let fields = [("Last-Modified", &*now), ("Date", &now)];
    let same = answered(&fields, &[("Range", "bytes=0-1"), ("If-Range", &now)]);
    assert_eq!(same, Answer::Full);
}

#[test]
fn ranges_are_of_gets_of_what_is_there() {
    let stored = kept_as(404, OK, BODY);
    let (request, mut asked) = get(&[("Range", "bytes=0-1")]);
    assert_eq!(answer_to(&Kept::from(&stored), &asked, &request), Answer::Full);
    let stored = kept_as(200, OK, BODY);
    asked.method = Method::Head;
    assert_eq!(answer_to(&Kept::from(&stored), &asked, &request), Answer::Full);
    let twice = [("Range", "bytes=0-1"), ("Range", "bytes=0-1")];
    assert_eq!(answered(&[], &twice), Answer::Full);
}

#[test]
fn of_a_part_what_is_in_it_is_sent() {
    let fields = [("Cache-Control", "max-age=60"), ("Content-Range", "bytes 4-8/10")];
    let of = |value: &str, fields: &[(&str, &str)]| {
        let stored = kept_as(206, fields, "45678");
        let (request, asked) = get(&[("Range", value)]);
        answer_to(&Kept::from(&stored), &asked, &request)
    };
    assert_eq!(of("bytes=4-8", &fields), parts(&[4..9]));
    assert_eq!(of("bytes=5-6,8-8", &fields), parts(&[5..7, 8..9]));
    for more in ["bytes=4-", "bytes=-1", "bytes=3-5", "bytes=5-9", "bytes=x"] {
        assert_eq!(of(more, &fields), Answer::Incomplete, "{more}");
    }
    let endless = [fields[0], ("Content-Range", "bytes 4-8/*")];
    let unknown = Ranges { parts: vec![4..6], complete: None };
    assert_eq!(of("bytes=4-5", &endless), Answer::Partial(unknown));
    assert_eq!(of("bytes=8-", &endless), Answer::Incomplete);
    let stored = kept_as(206, &fields, "45678");
    let (request, asked) = get(&[]);
    assert_eq!(answer_to(&Kept::from(&stored), &asked, &request), Answer::Incomplete);
}

#[test]
fn several_parts_are_written_with_their_length() {
    let ranges = Ranges { parts: vec![0..2, 9..10], complete: Some(10) };
    let multipart = Multipart::new(&ranges, Some(b"text/plain"), 7);
    let mut body = Vec::new();
    for (part, range) in ranges.parts.iter().enumerate() {
        body.extend_from_slice(multipart.head(part));
        body.extend_from_slice(&BODY.as_bytes()[range.start as usize..range.end as usize]);
    }
    body.extend_from_slice(multipart.end());
    assert_eq!(body.len() as u64, multipart.length());
    let boundary = "00000000000000000000000000000007";
    assert_eq!(multipart.content_type(), format!("multipart/byteranges; boundary={boundary}"));
    assert_eq!(
        String::from_utf8(body).unwrap(),
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 9-9/10\r\n\r\n9\
             \r\n--{boundary}--\r\n"
        )
    );
}
