use super::*;

fn path(text: &str) -> CanonicalPath<'_> {
    CanonicalPath::of(text.as_bytes()).unwrap()
}

/// A table with these patterns and methods, all answering by themselves.
fn table(routes: &[(&str, &[&str])]) -> RouteTable {
    let mut text = "site \"http://127.0.0.1:1\" {\n".to_owned();
    for (pattern, methods) in routes {
        text.push_str(&format!("route \"{pattern}\" {{\n"));
        if !methods.is_empty() {
            let methods: Vec<String> = methods.iter().map(|m| format!("\"{m}\"")).collect();
            text.push_str(&format!("method {}\n", methods.join(" ")));
        }
        text.push_str("respond 200 \"x\"\n}\n");
    }
    text.push('}');
    let config = config::parse("test", &text, std::path::Path::new("")).unwrap();
    let site = &config.sites[0];
    let build = |route: &config::Route| Route::build(route, route.clone(), site).unwrap();
    RouteTable::of(site.routes.iter().map(build).map(Arc::new).collect(), None)
}

#[test]
fn the_longest_path_wins_and_prefixes_end_at_segments() {
    let table = table(&[("/*", &[]), ("/api/*", &[]), ("/api/v2/*", &[]), ("/api", &[])]);
    for (text, route) in [
        ("/", 0),
        ("/apix", 0),
        ("/ap", 0),
        ("/api/", 1),
        ("/api/x", 1),
        ("/api/v2", 2),
        ("/api/v2/x/y", 2),
        ("/api/v22", 1),
        ("/api", 3),
        ("/%61pi/x", 1),
    ] {
        assert_eq!(table.find(&path(text), b"GET"), Ok(Found::Route(route)), "{text}");
    }
}

#[test]
fn methods_choose_among_routes_of_a_path() {
    let table = table(&[("/a/*", &["GET"]), ("/a/b", &["POST"]), ("/c", &["PUT"])]);
    assert_eq!(table.find(&path("/a/b"), b"POST"), Ok(Found::Route(1)));
    assert_eq!(table.find(&path("/a/b"), b"GET"), Ok(Found::Route(0)));
    assert_eq!(table.find(&path("/a/b"), b"HEAD"), Ok(Found::Route(0)));
    assert_eq!(table.find(&path("/a/b"), b"PUT"), Ok(Found::OtherMethods));
    assert_eq!(table.find(&path("/x"), b"PUT"), Ok(Found::Nothing));
    assert_eq!(table.methods(&path("/a/b")), [&b"GET"[..], b"POST"]);
}

#[test]
fn a_path_that_can_be_read_in_two_ways_has_to_lead_to_one_route() {
    let table = table(&[("/*", &[]), ("/admin/*", &[])]);
    for text in ["//admin/x", "/admin%2fx", "/x%2f..", "/admin\\x", "/admin;a=b/x", "/%5cadmin/x"] {
        let found = CanonicalPath::of(text.as_bytes()).map(|path| table.find(&path, b"GET"));
        assert!(matches!(found, Err(_) | Ok(Err(()))), "{text}: {found:?}");
    }
    for text in ["//x", "/a%2fb", "/x;a=b", "/admin/a%2fb", "/admin//x"] {
        assert!(table.find(&path(text), b"GET").is_ok(), "{text}");
    }
}

#[test]
fn a_path_with_escapes_is_found_in_every_spelling() {
    let table = table(&[("/b%C3%BCcher/*", &[]), ("/a%20b", &[]), ("/*", &[])]);
    for (text, route) in [
        ("/b%C3%BCcher/x", 0),
        ("/b%c3%bccher", 0),
        ("/b\u{fc}cher/x", 0),
        ("/a%20b", 1),
        ("/%61%20b", 1),
        ("/%E4", 2),
        ("/100%", 2),
    ] {
        assert_eq!(table.find(&path(text), b"GET"), Ok(Found::Route(route)), "{text}");
    }
}

#[test]
fn what_is_the_same_in_two_generations_is_one_object() {
    let parse = |third: &str| {
        let text = format!(
            "site \"http://127.0.0.1:1\" {{\nroute \"/a\" {{ respond 200; }}\n\
             route \"/b/*\" {{ respond 200; }}\nroute \"/c\" {{ {third} }}\n}}"
        );
        let config = config::parse("test", &text, std::path::Path::new("")).unwrap();
        config.without_places().sites.remove(0)
    };
    let build = |site: config::Site, old: Option<&Site>| {
        Site::build(&site.clone(), site, telemetry::SiteLabel::OTHER, old, |_| true).unwrap()
    };
    let first = build(parse("respond 200;"), None);
    let second = build(parse("respond 201;"), Some(&first));
    let shared = |other: &Site| -> Vec<bool> {
        let (old, new) = (first.routes.routes.iter(), other.routes.routes.iter());
        old.zip(new).map(|(old, new)| Arc::ptr_eq(old, new)).collect()
    };
    assert_eq!(shared(&second), [true, true, false]);
    assert!(Arc::ptr_eq(&first.routes.paths, &second.routes.paths));
    let third = build(parse("respond 200; }\nroute \"/d\" { respond 200;"), Some(&first));
    assert_eq!(shared(&third), [true, true, true]);
    assert!(!Arc::ptr_eq(&first.routes.paths, &third.routes.paths));
    assert_eq!(third.routes.find(&path("/d"), b"GET"), Ok(Found::Route(3)));
}
