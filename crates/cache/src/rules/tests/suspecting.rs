//! Answers that somebody may have made to be stored for others.

use super::*;

#[test]
fn a_page_under_the_name_of_a_file_deceives() {
    let page = Some(&b"text/html; charset=utf-8"[..]);
    for path in [
        "/account/x.css",
        "/account/x.CSS",
        "/account;x.js",
        "/account%00.png",
        "/account%23x.ico",
        "/account%3Fx.svg",
        "/account%0ax.woff2",
        "/x.css;y",
        "/x.css%00y",
        "/x.jpg%3fy;z",
        "/a\\x.gif",
    ] {
        assert!(deceives(path.as_bytes(), 200, page), "{path}");
        assert!(deceives(path.as_bytes(), 200, Some(b"application/JSON")), "{path}");
        assert!(deceives(path.as_bytes(), 200, None), "{path}");
        assert!(!deceives(path.as_bytes(), 200, Some(b"text/css")), "{path}");
        assert!(!deceives(path.as_bytes(), 404, page), "{path}");
    }
    for path in ["/", "/account", "/account;y", "/x.html", "/x.json", "/css", "/x.css/", "/v1.2"] {
        assert!(!deceives(path.as_bytes(), 200, page), "{path}");
    }
}

fn reflected(
    request: &[(&str, &str)],
    keyed: &[&str],
    answer: &[(&str, &str)],
    body: &str,
) -> bool {
    let keyed: Vec<Box<str>> = keyed.iter().map(|&name| name.into()).collect();
    let all: Vec<_> = [("Host", "www.example")].iter().chain(request).copied().collect();
    let all = block(&all);
    let answer = block(answer);
    let vary = Vary::of_answer(&answer, &all).unwrap();
    let in_pieces = |size: usize| {
        let mut reflections = Reflections::of(&all, &vary, &keyed);
        reflections.see_fields(&answer);
        if reflections.wants_body(answer.get(message::FieldId::ContentType)) {
            for piece in body.as_bytes().chunks(size) {
                reflections.see(piece);
            }
        }
        reflections.found()
    };
    let found = in_pieces(usize::MAX);
    for size in [1, 2, 3, 7, 11] {
        assert_eq!(in_pieces(size), found, "in pieces of {size}");
    }
    found
}

#[test]
fn what_a_client_sent_is_found_in_fields_and_bodies() {
    let evil = [("X-Forwarded-Host", "evil.example")];
    let page = "<a href=\"//evil.example/\">";
    assert!(reflected(&evil, &[], &[], page));
    assert!(reflected(&evil, &[], &[("Location", "http://evil.example/")], ""));
    assert!(reflected(&evil, &[], &[("Content-Type", "application/javascript")], page));
    assert!(!reflected(&evil, &[], &[("Content-Type", "image/png")], page));
    assert!(!reflected(&evil, &[], &[], "nothing"));
    // In the key, by configuration or by `Vary`.
    assert!(!reflected(&evil, &["x-forwarded-host"], &[], page));
    assert!(!reflected(&evil, &[], &[("Vary", "X-Forwarded-Host")], page));
    // Escaped, its harmless middle is still there.
    let script = [("X-Name", "\"><script>payload.evil</script>")];
    assert!(reflected(&script, &[], &[], "&quot;&gt;&lt;script&gt;payload.evil&lt;"));
    assert!(reflected(&[("Cookie", "a=b; id=0123456789ab")], &[], &[], "id is 0123456789ab"));
    let origin = [("Origin", "https://evil.example")];
    assert!(reflected(
        &origin,
        &[],
        &[("Access-Control-Allow-Origin", "https://evil.example")],
        ""
    ));
}

#[test]
fn what_is_there_by_chance_is_not() {
    for (name, value) in [
        ("Origin", "https://www.example"),
        ("Referer", "http://www.example/page"),
        ("X-Forwarded-Host", "WWW.example"),
        ("Accept-Language", "en-US,en"),
        ("If-None-Match", "\"0123456789\""),
        ("X-Short", "short"),
        ("Sec-Fetch-Site", "same-origin"),
        ("X-Requested-With", "XMLHttpRequest"),
    ] {
        let body = format!("text {value} text www.example");
        assert!(!reflected(&[(name, value)], &[], &[], &body), "{name}");
    }
    let sentence = [("X-Title", "the must-revalidate directive")];
    assert!(!reflected(&sentence, &[], &[("Cache-Control", "must-revalidate")], ""));
    let id = [("X-Request-Id", "0123456789")];
    assert!(!reflected(&id, &[], &[("X-Request-Id", "0123456789")], ""));
    assert!(reflected(&id, &[], &[], "0123456789"));
}
