use super::*;

#[test]
fn patterns() {
    let exact = |text: &str| Ok(PathPattern::Exact(text.to_owned()));
    let under = |text: &str| Ok(PathPattern::Prefix(text.to_owned()));
    assert_eq!(pattern("/"), exact("/"));
    assert_eq!(pattern("/status"), exact("/status"));
    assert_eq!(pattern("/dir/"), exact("/dir/"));
    assert_eq!(pattern("/api/*"), under("/api"));
    assert_eq!(pattern("/%C3%A9/*"), under("/%C3%A9"));
    assert_eq!(pattern("/*"), under(""));
    assert_eq!(pattern("*"), under(""));
    for text in [
        "api", "/api*", "/*/x", "/a//b", "//*", "/a//*", "/a/../b", "/./*", "/a?b", "/a#b", "/%61",
        "/%c3", "/é", "/a b", "/a\\b", "/a;b", "/a%2Fb", "/100%", "",
    ] {
        assert!(pattern(text).is_err(), "{text}");
    }
}

#[test]
fn canonical_spelling() {
    for (path, right) in [
        ("/a/../b", "/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/../../x", "/x"),
        ("//a//b/", "/a/b/"),
        ("/%61%2d%c3%a9", "/a-%C3%A9"),
        ("/é x", "/%C3%A9%20x"),
        ("/100%", "/100%25"),
        ("/a\\b", "/a/b"),
        ("/%2", "/%252"),
    ] {
        assert_eq!(canonical(path), right, "{path}");
        assert_eq!(canonical(right), right, "{path} is stable");
    }
}

#[test]
fn prefixes_and_templates() {
    assert_eq!(prefix("/api/v1"), Ok("/api/v1".to_owned()));
    for text in ["/", "/api/", "/api/*", "api", "/a/../b"] {
        assert!(prefix(text).is_err(), "{text}");
    }
    let path = |text: &str, rest| Ok(PathTemplate { text: text.to_owned(), rest });
    assert_eq!(template("/v2/*"), path("/v2/", true));
    assert_eq!(template("/v2"), path("/v2", false));
    assert_eq!(template("*"), path("/", true));
    assert_eq!(location("https://example.com/*"), path("https://example.com/", true));
    assert_eq!(location("/a?b=c#d"), path("/a?b=c#d", false));
    for text in
        ["//evil.example/", "app/", "https://", "https:///x", "/a b", "/a*", "/?q=/*", "/\r"]
    {
        assert!(location(text).is_err(), "{text}");
    }
}
