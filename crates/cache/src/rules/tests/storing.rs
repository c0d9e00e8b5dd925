//! What is stored, and for how long it is fresh.

use super::*;

const HOUR: Option<u64> = Some(3600);

#[test]
fn spans_are_read_as_numbers_or_are_over() {
    for (value, fresh) in [
        ("max-age=3600", 3600),
        ("MAX-Age=3600", 3600),
        ("max-age=003600", 3600),
        ("max-age=\"3600\"", 3600),
        ("odd, max-age=3600,", 3600),
        ("max-age=2147483647", 2_147_483_647),
        ("max-age=2147483649", 1 << 31),
        ("max-age=99999999999999999999999", 1 << 31),
        // The first of several counts.
        ("max-age=3600, max-age=1", 3600),
        ("max-age=60, s-maxage=3600", 3600),
        ("s-maxage=60, max-age=3600", 60),
        // What has quotes around it hides what is in them, and nothing else.
        ("x=\"max-age=7200\", max-age=3600", 3600),
        ("max-age=3600, x=\"a\\\"b, max-age=7200\"", 3600),
    ] {
        assert_eq!(fresh_for(&[("Cache-Control", value)]), Some(fresh), "{value}");
    }
    for value in [
        "max-age=0",
        "max-age=-1",
        "max-age='3600'",
        "max-age=3600.5",
        "max-age=a3600",
        "max-age=3600a",
        "max-age=",
        "max-age",
        "max-age= 3600",
        "max-age =3600",
        "max-age=x, max-age=3600",
        "max-age=0, max-age=3600",
        "max-age=3600, x=\"open",
        "max-age=3600, s-maxage=x",
        "maxage=3600",
    ] {
        let fields = [("Cache-Control", value), ("ETag", "\"1\"")];
        assert_eq!(fresh_for(&fields), Some(0), "{value}");
        assert_eq!(fresh_for(&fields[..1]), None, "{value}");
    }
    let twice = [("Cache-Control", "max-age=3600"), ("cache-control", "s-maxage=60")];
    assert_eq!(fresh_for(&twice), Some(60));
}

#[test]
fn expires_counts_from_the_date() {
    let (now, soon) = (date(0), date(3600));
    assert_eq!(fresh_for(&[("Date", &now), ("Expires", &soon)]), HOUR);
    // Its clock is an hour ahead of ours.
    assert_eq!(fresh_for(&[("Date", &soon), ("Expires", &date(7200))]), HOUR);
    // Its clock is behind: the age that this looks like counts against it.
    assert_eq!(fresh_for(&[("Date", &date(-600)), ("Expires", &date(3000))]), Some(3000));
    assert_eq!(fresh_for(&[("Date", "no date"), ("Expires", &soon)]), HOUR);
    assert_eq!(fresh_for(&[("Expires", &soon)]), HOUR);
    let both = [("Cache-Control", "max-age=3600"), ("Expires", &*date(-10)), ("Date", &now)];
    assert_eq!(fresh_for(&both), HOUR);
    for expires in ["0", "-1", "", "soon", &now, &date(-3600)] {
        let fields = [("Date", &*now), ("Expires", expires), ("Last-Modified", &*date(-100_000))];
        assert_eq!(fresh_for(&fields), Some(0), "{expires}");
    }
    for form in ["Sunday, 03-Jul-22 11:00:00 GMT", "Sun Jul  3 11:00:00 2022"] {
        assert_eq!(fresh_for(&[("Date", &now), ("Expires", form)]), HOUR, "{form}");
    }
}

#[test]
fn age_is_the_first_number_or_nothing() {
    for (age, left) in [
        ("0", 3600),
        ("600", 3000),
        ("600, 0", 3000),
        ("0, 600", 3600),
        ("600;x=1", 3000),
        ("x", 3600),
        ("-600", 3600),
        ("600.0", 3600),
        ("2147483648", 0),
        ("99999999999999999999", 0),
    ] {
        let fields = [("Cache-Control", "max-age=3600"), ("Date", &*date(0)), ("Age", age)];
        assert_eq!(fresh_for(&fields), Some(left), "{age}");
    }
    let lines = [("Cache-Control", "max-age=3600"), ("Age", "600"), ("Age", "0")];
    assert_eq!(fresh_for(&lines), Some(3000));
}

#[test]
fn age_has_the_time_that_the_answer_took() {
    let (request, asked) = get(&[]);
    let head = response(200, &[("Cache-Control", "max-age=100"), ("Age", "10")]);
    let facts = storable(&Terms::default(), &request, &asked, &head, NOW, later(5)).unwrap();
    assert_eq!(facts.initial_age, 15_000);
    assert_eq!(age(&facts, later(7)), 17);
    assert_eq!(ttl(&facts, later(7)), 83);
    assert_eq!(ttl(&facts, later(207)), -117);
}

#[test]
fn lifetimes_are_guessed_only_of_what_allows_it() {
    let week = date(-7 * 86_400);
    let fields = [("Last-Modified", &*week), ("Date", &*date(0))];
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        let facts = stored(status, &fields).unwrap();
        assert_eq!((facts.lifetime, facts.heuristic), (60_480_000, true), "{status}");
    }
    for status in [201, 202, 302, 303, 307, 403, 500, 502, 503, 504, 599] {
        assert_eq!(stored(status, &fields).unwrap().lifetime, 0, "{status}");
        let public = [fields[0], fields[1], ("Cache-Control", "public")];
        assert_eq!(stored(status, &public).unwrap().lifetime, 60_480_000, "{status}");
    }
    // A day at most.
    let old = [("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT"), fields[1]];
    assert_eq!(fresh_for(&old), Some(86_400));
    // Of what an old `Pragma` forbids, and of a page for somebody who is known, nobody guesses.
    let pragma = [fields[0], fields[1], ("Pragma", "no-cache")];
    assert_eq!(fresh_for(&pragma), Some(0));
    let cookie = [("Cookie", "id=1")];
    let terms = Terms::default();
    let typed = |kind| [fields[0], fields[1], ("Content-Type", kind)];
    let known = |kind| stored_for(&cookie, &terms, 200, &typed(kind)).unwrap().lifetime;
    assert_eq!((known("text/html"), known("image/png")), (0, 60_480_000));
}

#[test]
fn the_configuration_speaks_where_the_origin_does_not_and_has_the_last_word() {
    let terms = Terms { default_ttl: Some(60_000), max_ttl: Some(90_000), ..Terms::default() };
    let lifetime = |status, fields: &[(&str, &str)]| {
        stored_for(&[], &terms, status, fields).map(|facts| facts.lifetime)
    };
    assert_eq!(lifetime(200, &[]), Ok(60_000));
    assert_eq!(lifetime(404, &[]), Ok(60_000));
    assert_eq!(lifetime(500, &[]), Err(NotStored::Unusable));
    assert_eq!(lifetime(200, &[("Cache-Control", "max-age=0")]), Err(NotStored::Unusable));
    assert_eq!(lifetime(200, &[("Cache-Control", "max-age=30")]), Ok(30_000));
    assert_eq!(lifetime(200, &[("Cache-Control", "max-age=300")]), Ok(90_000));
    assert_eq!(lifetime(200, &[("Set-Cookie", "a=b")]), Err(NotStored::SetCookie));
}

#[test]
fn every_status_with_a_lifetime_is_stored_but_those_about_one_request() {
    let fields = [("Cache-Control", "max-age=60")];
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 599] {
        assert!(stored(status, &fields).is_ok(), "{status}");
    }
    for status in [412, 416, 429, 431] {
        assert!(stored(status, &fields).unwrap_err().is_of_request(), "{status}");
    }
    for status in [100, 103, 206, 304, 407, 412, 413, 416, 417, 425, 428, 429, 431, 511, 600, 999] {
        assert!(stored(status, &fields).is_err(), "{status}");
    }
}

#[test]
fn an_answer_that_must_be_understood_is_stored_by_those_who_do() {
    let fields = [("Cache-Control", "max-age=60, no-store, must-understand")];
    assert!(stored(200, &fields).is_ok());
    assert_eq!(stored(599, &fields), Err(NotStored::Status));
    assert_eq!(
        stored(599, &[("Cache-Control", "max-age=60, must-understand")]),
        Err(NotStored::Status)
    );
}

#[test]
fn what_is_for_one_alone_is_not_stored() {
    for (value, why) in [
        ("max-age=60, no-store", NotStored::NoStore),
        ("max-age=60, No-STORE=x", NotStored::NoStore),
        ("max-age=60, x=\"open, no-store", NotStored::NoStore),
        ("max-age=60, private", NotStored::Private),
        ("max-age=60, private=\"\"", NotStored::Private),
        ("max-age=60, private=\"a b\"", NotStored::Private),
        ("max-age=60, no-cache", NotStored::Unusable),
    ] {
        assert_eq!(stored(200, &[("Cache-Control", value)]), Err(why), "{value}");
    }
    for star in ["*", "*, a", "a, *", ", *", "a b"] {
        let fields = [("Cache-Control", "max-age=60"), ("Vary", star)];
        assert_eq!(stored(200, &fields), Err(NotStored::VaryStar), "{star}");
    }
}

#[test]
fn answers_to_credentials_are_stored_by_permission() {
    let login = [("Authorization", "Basic eA==")];
    let of = |value| {
        let fields = [("Cache-Control", value)];
        stored_for(&login, &Terms::default(), 200, &fields).map(|_| ())
    };
    assert_eq!(of("max-age=60"), Err(NotStored::Authorization));
    assert_eq!(of("max-age=60, proxy-revalidate"), Err(NotStored::Authorization));
    for allowed in ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"] {
        assert_eq!(of(allowed), Ok(()), "{allowed}");
    }
}

#[test]
fn cookies_are_stored_where_the_origin_says_for_how_long() {
    let of = |value| {
        let fields = [("Cache-Control", value), ("Set-Cookie", "a=b"), ("ETag", "\"1\"")];
        stored(200, &fields).map(|_| ())
    };
    for allowed in ["max-age=60", "public", "max-age=0, no-cache=\"set-cookie\""] {
        assert_eq!(of(allowed), Ok(()), "{allowed}");
    }
    for refused in ["", "max-age=0", "max-age=60, no-cache", "must-revalidate"] {
        assert_eq!(of(refused), Err(NotStored::SetCookie), "{refused}");
    }
}

#[test]
fn requests_keep_answers_from_being_stored() {
    let fields = [("Cache-Control", "max-age=60")];
    let of = |name, value, status| {
        stored_for(&[(name, value)], &Terms::default(), status, &fields).err()
    };
    assert_eq!(of("Cache-Control", "no-store", 200), Some(NotStored::RequestNoStore));
    assert!(NotStored::RequestNoStore.is_of_request() && !NotStored::NoStore.is_of_request());
    assert_eq!(of("Content-Length", "3", 200), Some(NotStored::RequestBody));
    assert_eq!(of("Content-Length", "0", 200), None);
    assert_eq!(of("X-HTTP-Method-Override", "DELETE", 200), Some(NotStored::MethodOverride));
    let long = "x".repeat(5000);
    assert_eq!(of("X-Long", &long, 400), Some(NotStored::ClientFault));
    assert_eq!(of("X-Long", &long, 200), None);
    let head = response(200, &fields);
    for method in [Method::Head, Method::Post, Method::Other] {
        let asked = Asked::nothing(method);
        let stored = storable(&Terms::default(), &Block::default(), &asked, &head, NOW, NOW);
        assert_eq!(stored, Err(NotStored::Method));
    }
    let terms = Terms { max_object: 10, ..Terms::default() };
    let long = [fields[0], ("Content-Length", "11")];
    assert_eq!(stored_for(&[], &terms, 200, &long), Err(NotStored::TooLarge));
}

#[test]
fn what_is_said_to_us_stands_before_what_is_said_to_all() {
    let of = |name, value, others: &[(&str, &str)]| {
        let all: Vec<_> = [(name, value)].iter().chain(others).copied().collect();
        fresh_for(&all)
    };
    let none = &[("Cache-Control", "no-store"), ("Expires", "0")][..];
    for name in ["CDN-Cache-Control", "Bifrons-Cache-Control"] {
        assert_eq!(of(name, "max-age=3600", none), HOUR);
        assert_eq!(of(name, "foo=(1 2);x, max-age=3600;y=\"z\"", none), HOUR);
        assert_eq!(of(name, "max-age=0", &[("Cache-Control", "max-age=60")]), None);
        assert_eq!(of(name, "no-store", &[("Cache-Control", "max-age=60")]), None);
        assert_eq!(of(name, "private", &[("Cache-Control", "max-age=60")]), None);
        assert_eq!(of(name, "max-age=99999999999", none), Some(1 << 31));
        // Malformed: as if it were not there.
        for odd in
            ["MaX-age=3600", "max-age=3600, &&", "max-age =3600", "max-age=3600,", "", "a=\""]
        {
            assert_eq!(of(name, odd, &[("Cache-Control", "max-age=60")]), Some(60), "{odd}");
        }
        // Well-formed, but of another type: nothing is said of a lifetime.
        assert_eq!(of(name, "max-age=\"3600\"", &[("Cache-Control", "max-age=60")]), None);
    }
    // Ours comes before that of others.
    let both = [("CDN-Cache-Control", "max-age=60"), ("Bifrons-Cache-Control", "max-age=3600")];
    assert_eq!(fresh_for(&both), HOUR);
    let surrogate = "Surrogate-Control";
    assert_eq!(of(surrogate, "max-age=3600", none), HOUR);
    assert_eq!(of(surrogate, "foobar, MAX-age=3600;bifrons", none), HOUR);
    assert_eq!(of(surrogate, "max-age=3600;other", &[("Cache-Control", "max-age=60")]), Some(60));
    assert_eq!(of(surrogate, "no-store", &[("Cache-Control", "max-age=60")]), None);
    // A cache in front of clients is not spoken to.
    let terms = Terms { targets: vec![], ..Terms::default() };
    let fields = [("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "no-store")];
    assert_eq!(stored_for(&[], &terms, 200, &fields), Err(NotStored::NoStore));
}

#[test]
fn what_is_kept_is_for_all() {
    let head = response(
        200,
        &[
            ("Connection", "X-Mine"),
            ("X-Mine", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authentication-Info", "x"),
            ("Content-Length", "5"),
            ("Content-Range", "odd"),
            ("Age", "7"),
            ("Cache-Control", "private=\"x-secret\", no-cache=\"x-shown\", max-age=60"),
            ("X-Secret", "1"),
            ("X-Shown", "1"),
            ("ETag", "\"1\""),
        ],
    );
    let kept = kept(&Terms::default(), &head, NOW);
    assert_eq!(
        lines(&kept.fields),
        "Content-Range: odd\r\n\
         Cache-Control: private=\"x-secret\", no-cache=\"x-shown\", max-age=60\r\n\
         X-Shown: 1\r\nETag: \"1\"\r\nDate: Sun, 03 Jul 2022 10:00:00 GMT\r\n"
    );
    let facts = stored(200, &[("Cache-Control", "no-cache=\"a, B\", max-age=60")]).unwrap();
    assert_eq!(facts.unshown, ["a".into(), "b".into()].into());
    assert!(!facts.no_cache);
}

#[test]
fn a_part_is_stored_if_it_says_of_what() {
    let of = |fields: &[(&str, &str)]| {
        let all: Vec<_> = [("Cache-Control", "max-age=60")].iter().chain(fields).copied().collect();
        stored_for(&[("Range", "bytes=0-4")], &Terms::default(), 206, &all).map(|_| ())
    };
    assert_eq!(of(&[("Content-Range", "bytes 0-4/10"), ("Content-Length", "5")]), Ok(()));
    assert_eq!(of(&[("Content-Range", "bytes 0-4/*")]), Ok(()));
    for odd in ["bytes 0-4/10", "bytes 4-0/10", "bytes 0-9/5", "items 0-4/10", "bytes 0-4", ""] {
        let fields = [("Content-Range", odd), ("Content-Length", "6")];
        assert_eq!(of(&fields), Err(NotStored::PartOfWhat), "{odd}");
    }
    assert_eq!(of(&[]), Err(NotStored::PartOfWhat));
}
