//! What becomes of stored answers when more is known of them.

use std::sync::Arc;

use super::*;

const OK: &[(&str, &str)] = &[("Cache-Control", "max-age=60"), ("ETag", "\"a\"")];

/// What a 304 with these fields makes of an answer.
fn renewed(stored: &Stored, fields: &[(&str, &str)]) -> (Stored, Option<NotStored>) {
    let (request, asked) = get(&[]);
    let times = (later(100), later(101));
    freshened(stored, &Terms::default(), &request, &asked, &response(304, fields), times)
}

#[test]
fn a_request_is_made_one_that_validates() {
    let of = |stored: &[&Stored]| {
        let mut request = block(&[
            ("Host", "h"),
            ("If-None-Match", "\"client\""),
            ("If-Modified-Since", "x"),
            ("Range", "bytes=0-1"),
            ("If-Range", "\"x\""),
        ]);
        let known = validators(stored.iter().copied(), &mut request);
        (known, lines(&request))
    };
    let modified = date(-100);
    let both = kept_as(200, &[OK[0], OK[1], ("Last-Modified", &modified)], "");
    let weak = kept_as(200, &[OK[0], ("ETag", "W/\"b\"")], "");
    let none = kept_as(200, &OK[..1], "");
    let dated = format!("If-Modified-Since: {modified}\r\n");
    assert_eq!(of(&[&both]), (true, format!("Host: h\r\nIf-None-Match: \"a\"\r\n{dated}")));
    let two = "Host: h\r\nIf-None-Match: \"a\", W/\"b\"\r\n";
    assert_eq!(of(&[&both, &weak]), (true, two.into()));
    assert_eq!(of(&[&none]), (false, "Host: h\r\n".into()));
}

#[test]
fn a_304_renews_what_is_stored() {
    let stored = kept_as(
        200,
        &[OK[0], OK[1], ("X-Old", "1"), ("X-Both", "1"), ("Content-Encoding", "gzip")],
        "body",
    );
    let (fresh, why) = renewed(
        &stored,
        &[
            ("Cache-Control", "max-age=30"),
            ("X-Both", "2"),
            ("x-both", "3"),
            ("Age", "5"),
            ("ETag", "\"other\""),
            ("Content-Encoding", "br"),
            ("Content-Length", "9"),
            ("Content-Type", "text/css"),
            ("Connection", "X-Hop"),
            ("X-Hop", "1"),
        ],
    );
    assert_eq!(why, None);
    assert_eq!(
        lines(&fresh.head.fields),
        format!(
            "ETag: \"a\"\r\nX-Old: 1\r\nContent-Encoding: gzip\r\nCache-Control: max-age=30\r\n\
             X-Both: 2\r\nx-both: 3\r\nContent-Type: text/css\r\nDate: {}\r\n",
            date(101)
        )
    );
    assert_eq!((fresh.head.status, fresh.length), (200, Some(4)));
    assert_eq!((fresh.facts.lifetime, fresh.facts.initial_age), (30_000, 6_000));
    assert_eq!(judge(&fresh.facts, &get(&[]).1, later(124)), Use::Fresh);
    assert_eq!(judge(&stored.facts, &get(&[]).1, later(124)), Use::Validate(Forwarded::Stale));
}

#[test]
fn a_304_may_end_what_is_stored() {
    let stored = kept_as(200, OK, "body");
    for (value, why) in [("no-store", NotStored::NoStore), ("private", NotStored::Private)] {
        let (given, told) = renewed(&stored, &[("Cache-Control", value)]);
        assert_eq!(told, Some(why));
        assert_ne!(judge(&given.facts, &get(&[]).1, later(101)), Use::Fresh);
    }
    // A client that wants nothing stored changes nothing that is.
    let (request, asked) = get(&[("Cache-Control", "no-store")]);
    let head = response(304, &[("Cache-Control", "max-age=9999")]);
    let times = (later(100), later(100));
    let (_, told) = freshened(&stored, &Terms::default(), &request, &asked, &head, times);
    assert_eq!(told, Some(NotStored::RequestNoStore));
    // Cookies go to this client only, unless the origin says for how long they are for all.
    let (given, told) = renewed(&stored, &[("Cache-Control", "no-cache"), ("Set-Cookie", "a=b")]);
    assert_eq!((told, given.head.fields.get(message::FieldId::SetCookie)), (None, None));
    let (given, told) = renewed(&stored, &[("Set-Cookie", "a=b")]);
    assert_eq!(told, None);
    assert_eq!(given.head.fields.get(message::FieldId::SetCookie), Some(&b"a=b"[..]));
}

#[test]
fn a_304_is_about_one_of_several() {
    let of = |tag| Arc::new(kept_as(200, &[OK[0], ("ETag", tag)], ""));
    let all = [of("\"a\""), of("W/\"b\""), of("\"b\"")];
    let which = |fields: &[(&str, &str)]| selected_by(&all, &response(304, fields));
    assert_eq!(which(&[("ETag", "\"a\"")]), Some(0));
    assert_eq!(which(&[("ETag", "\"b\"")]), Some(2));
    assert_eq!(which(&[("ETag", "W/\"b\"")]), Some(1));
    assert_eq!(which(&[("ETag", "\"c\"")]), None);
    assert_eq!(which(&[]), None);
    assert_eq!(selected_by(&all[..1], &response(304, &[("ETag", "\"a-gzip\"")])), Some(0));
    assert_eq!(selected_by(&[], &response(304, &[])), None);
}

#[test]
fn an_answer_to_head_renews_or_ends_what_is_stored() {
    let stored = kept_as(200, OK, "body");
    let of = |status, fields: &[(&str, &str)]| {
        let (request, _) = get(&[]);
        let asked = Asked::of(Method::Head, &request);
        let times = (later(100), later(100));
        let head = response(status, fields);
        freshened_by_head(&stored, &Terms::default(), &request, &asked, &head, times)
    };
    let same = [("ETag", "\"a\""), ("Content-Length", "4"), ("X-New", "1")];
    let ByHead::Freshened(fresh) = of(200, &same) else { panic!("nothing changed") };
    assert_eq!(fresh.head.fields.values_named(b"x-new").count(), 1);
    assert_eq!(judge(&fresh.facts, &get(&[]).1, later(159)), Use::Fresh);
    assert!(matches!(of(200, &[("ETag", "\"b\"")]), ByHead::Invalid));
    assert!(matches!(of(200, &[("Content-Length", "5")]), ByHead::Invalid));
    assert!(matches!(of(200, &[("Last-Modified", &date(0))]), ByHead::Invalid));
    assert!(matches!(of(404, &same), ByHead::Unrelated));
    // An answer of the same length is not the same answer.
    assert!(matches!(of(200, &[OK[0], ("Content-Length", "4")]), ByHead::Unrelated));
    assert!(matches!(of(200, &[OK[0]]), ByHead::Unrelated));
    assert!(matches!(of(200, &[("Cache-Control", "no-store")]), ByHead::Unrelated));
}

fn part(range: &str, body: &'static str, tag: &str) -> Stored {
    let range = format!("bytes {range}/10");
    kept_as(206, &[OK[0], ("ETag", tag), ("Content-Range", &range)], body)
}

fn with_part(stored: &Stored, range: &str, body: &'static str, tag: &str) -> Option<Stored> {
    let range = format!("bytes {range}/10");
    let head = response(206, &[OK[0], ("ETag", tag), ("Content-Range", &range), ("X-New", "1")]);
    let (request, asked) = get(&[("Range", "bytes=0-")]);
    let bytes = bytes::Bytes::from_static(body.as_bytes());
    combine(stored, &Terms::default(), &request, &asked, &head, (later(1), later(1)), &bytes).map(
        |(combined, why)| {
            assert_eq!(why, None);
            combined
        },
    )
}

fn bytes_of(stored: &Stored) -> String {
    let Body::Memory(parts) = &stored.body else { panic!("parts are in memory") };
    let text = |part: &Part| String::from_utf8(part.bytes.to_vec()).unwrap();
    parts.iter().map(|part| format!("{}:{} ", part.offset, text(part))).collect()
}

#[test]
fn parts_of_the_same_are_put_together() {
    let first = part("2-4", "234", "\"a\"");
    let both = with_part(&first, "6-7", "67", "\"a\"").unwrap();
    assert_eq!(bytes_of(&both), "2:234 6:67 ");
    assert_eq!(both.head.fields.values_named(b"x-new").count(), 1);
    assert!(!both.is_whole());
    let Body::Memory(_) = &both.body else { panic!() };
    assert_eq!(gap(&both.body, 0..10), Some(0..10));
    assert_eq!(gap(&both.body, 2..8), Some(5..6));
    assert_eq!(gap(&both.body, 2..10), Some(5..10));
    assert_eq!(gap(&both.body, 0..5), Some(0..2));
    assert_eq!(gap(&both.body, 3..5), None);
    let whole = with_part(&both, "0-9", "xxxxxxxxxx", "\"a\"").unwrap();
    assert_eq!(bytes_of(&whole), "0:xx 2:234 5:x 6:67 8:xx ");
    assert!(whole.is_whole());
}

#[test]
fn parts_of_others_are_not() {
    let strong = part("2-4", "234", "\"a\"");
    for (stored, range, body, tag) in [
        (&strong, "5-6", "56", "\"b\""),
        (&strong, "5-6", "56", "W/\"a\""),
        (&part("2-4", "234", "W/\"a\""), "5-6", "56", "W/\"a\""),
        // Less came than was said.
        (&strong, "5-7", "56", "\"a\""),
    ] {
        assert!(with_part(stored, range, body, tag).is_none(), "{range} {tag}");
    }
    assert_eq!(if_range(&strong), Some(&b"\"a\""[..]));
    assert_eq!(if_range(&part("2-4", "234", "W/\"a\"")), None);
}

#[test]
fn unsafe_methods_make_invalid_what_they_are_about() {
    for method in [Method::Post, Method::Put, Method::Delete, Method::Patch, Method::Other] {
        assert!(invalidates(method, 200) && invalidates(method, 303));
        assert!(!invalidates(method, 400) && !invalidates(method, 500));
    }
    for method in [Method::Get, Method::Head, Method::Options, Method::Trace] {
        assert!(!invalidates(method, 200));
    }
}

#[test]
fn other_urls_of_the_same_origin_are_invalid_too() {
    let of = Invalidated { secure: false, authority: b"Host:80", path: b"/a/b" };
    let resolved = |reference: &str| {
        invalidated_uris(&of, &block(&[("Location", reference)]))
            .into_iter()
            .map(|target| String::from_utf8(target).unwrap())
            .next()
    };
    for (reference, target) in [
        ("http://host/x?y#z", Some("/x?y")),
        ("HTTP://HOST:80", Some("/")),
        ("http://host?q", Some("/?q")),
        ("//host/x", Some("/x")),
        ("/x/./y/../z", Some("/x/z")),
        ("x", Some("/a/x")),
        ("../../../x", Some("/x")),
        (".", Some("/a/")),
        ("?q", Some("/a/b?q")),
        ("", Some("/a/b")),
        ("https://host/x", None),
        ("http://host:8080/x", None),
        ("http://other/x", None),
        ("//other/x", None),
        ("ftp://host/x", None),
        ("mailto:a@host", None),
        ("http://user@host/x", None),
        ("/a b", None),
    ] {
        assert_eq!(resolved(reference).as_deref(), target, "{reference}");
    }
    let both = block(&[("Location", "/x"), ("Content-Location", "y")]);
    assert_eq!(invalidated_uris(&of, &both), [b"/x".to_vec(), b"/a/y".to_vec()]);
}
