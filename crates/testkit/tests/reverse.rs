//! The reverse face: what each side sees of the other.

mod site;

use site::{get, get_anew, routed};
use testkit::{Origin, Proxy, Scratch, reserve};

#[test]
fn paths_are_rewritten_by_rule() {
    let (proxy, ..) = routed(
        r#"
        route "/api/*" { strip-prefix "/api"; to "{o}" }
        route "/base/*" { to "{o}/in/side/" }
        route "/both/*" { strip-prefix "/both"; to "{o}/in" }
        route "/v1/*" { rewrite "/v2/*"; to "{o}" }
        route "/fixed" { rewrite "/other"; to "{o}" }
        route "/part/of/*" { strip-prefix "/part"; to "{o}" }
        "#,
    );
    let mut client = proxy.client();
    for (path, sent) in [
        ("/api/x", "/x"),
        ("/api/", "/"),
        ("/api", "/"),
        ("/api?q", "/?q"),
        ("/%61pi/%61?%61", "/%61?%61"),
        ("/api/a%2fb", "/a%2fb"),
        ("/base/x?q", "/in/side/base/x?q"),
        ("/both/x", "/in/x"),
        ("/both", "/in/"),
        ("/v1/x/y?q=1", "/v2/x/y?q=1"),
        ("/v1/", "/v2/"),
        ("/fixed?q", "/other?q"),
        ("/part/of/x", "/of/x"),
    ] {
        let response = get(&mut client, path);
        assert_eq!(response.body_text(), format!("o {sent} a"), "{path}: {}", response.text());
    }
}

#[test]
fn a_redirect_leads_to_no_other_host() {
    let (proxy, ..) = routed(
        r#"
        route "/old/*" { redirect "/*" }
        "#,
    );
    // `//evil.example` would be a reference to another host; browsers read `\` as `/`.
    for path in [
        "/old//evil.example/x",
        "/old///evil.example/x",
        "/old/\\evil.example",
        "/old/\\/evil.example",
    ] {
        let response = get_anew(&proxy, path);
        let location = response.get("Location").unwrap_or_default();
        assert!(location.starts_with("/evil.example"), "{path}: {location}");
    }
}

#[test]
fn redirects() {
    let (proxy, ..) = routed(
        r#"
        route "/old/*" { redirect "/new/*" }
        route "/one" { redirect "/two" status=301 }
        route "/away/*" { redirect "https://b.example/x/*" status=302 }
        route "/query" { redirect "/q?a=b" status=307 }
        route "/see" { redirect "/seen" status=303 }
        "#,
    );
    let mut client = proxy.client();
    for (path, status, location) in [
        ("/old/x?q=1", 308, "/new/x?q=1"),
        ("/old", 308, "/new/"),
        ("/old/", 308, "/new/"),
        ("/old/%41%2f?%41", 308, "/new/%41%2f?%41"),
        ("/one?q", 301, "/two?q"),
        ("/away/y", 302, "https://b.example/x/y"),
        ("/query?c", 307, "/q?a=b"),
        ("/see", 303, "/seen"),
    ] {
        let response = get(&mut client, path);
        let found = (response.status(), response.get("Location").unwrap_or_default());
        assert_eq!(found, (status, location.to_owned()), "{path}: {}", response.text());
    }
}

#[test]
fn places_of_the_origin_become_places_of_the_site() {
    let origin = Origin::start();
    let address = origin.address();
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{\n\
           route \"/api/*\" {{ strip-prefix \"/api\"; to \"http://{address}\" }}\n\
           route \"/based/*\" {{ strip-prefix \"/based\"; to \"http://{address}/base\" }}\n\
           route \"/v1/*\" {{ rewrite \"/v2/*\"; to \"http://{address}\" }}\n\
           route \"/*\" {{ to \"http://{address}\" }}\n\
         }}"
    ));
    let mut client = proxy.client();
    let mut ask = |path: &str, fields: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: Site.example:8080\r\n\r\n"));
        let mut upstream = origin.accept();
        upstream.recv_request();
        let rest = format!("Content-Length: 0\r\nConnection: close\r\n{fields}\r\n");
        upstream.send(format!("HTTP/1.1 302 Found\r\n{rest}"));
        client.recv_response()
    };
    let site = "http://Site.example:8080";
    for (path, location, expected) in [
        ("/x", "/y".to_owned(), "/y".to_owned()),
        ("/x", format!("http://{address}/y?q#f"), format!("{site}/y?q#f")),
        ("/x", format!("http://{address}"), site.to_owned()),
        ("/x", "http://elsewhere.example/y".to_owned(), "http://elsewhere.example/y".to_owned()),
        ("/x", "y".to_owned(), "y".to_owned()),
        ("/x", "//elsewhere.example/".to_owned(), "//elsewhere.example/".to_owned()),
        ("/api/x", "/y".to_owned(), "/api/y".to_owned()),
        ("/api/x", "/".to_owned(), "/api/".to_owned()),
        ("/api/x", format!("http://{address}/y"), format!("{site}/api/y")),
        ("/api/x", "http://site.example:8080/y".to_owned(), format!("{site}/api/y")),
        (
            "/api/x",
            "https://elsewhere.example/y".to_owned(),
            "https://elsewhere.example/y".to_owned(),
        ),
        ("/based/x", "/base/y".to_owned(), "/based/y".to_owned()),
        ("/based/x", format!("http://{address}/base/y"), format!("{site}/based/y")),
        ("/based/x", "/baseball".to_owned(), "/baseball".to_owned()),
        ("/v1/x", "/v2/y?q".to_owned(), "/v1/y?q".to_owned()),
        ("/v1/x", "/v3/y".to_owned(), "/v3/y".to_owned()),
    ] {
        let response =
            ask(path, &format!("Location: {location}\r\nContent-Location: {location}\r\n"));
        assert_eq!(response.get("Location").as_deref(), Some(&*expected), "{path} {location}");
        assert_eq!(
            response.get("Content-Location").as_deref(),
            Some(&*expected),
            "{path} {location}"
        );
    }
    for (path, cookie, expected) in [
        ("/x", "a=1; Path=/y; HttpOnly", "a=1; Path=/y; HttpOnly"),
        ("/api/x", "a=1; Path=/", "a=1; Path=/api"),
        ("/api/x", "a=1; path=/y; Secure", "a=1; Path=/api/y; Secure"),
        ("/api/x", "a=1", "a=1"),
        ("/api/x", "path=/y; Domain=other.example", "path=/y; Domain=other.example"),
        ("/api/x", "a=1; Domain=127.0.0.1; Path=/", "a=1; Path=/api"),
        ("/based/x", "a=1; Path=/base/z", "a=1; Path=/based/z"),
    ] {
        let response = ask(path, &format!("Set-Cookie: {cookie}\r\nSet-Cookie: plain=1\r\n"));
        assert_eq!(response.all("Set-Cookie"), [expected, "plain=1"], "{path}");
    }
}

#[test]
fn field_rules_of_site_and_route() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        r#"site "http://127.0.0.1:0" {{
            header {{ remove "X-Debug-*"; set "X-Frame-Options" "DENY"; add "Vary" "X" }}
            request-header {{ set "X-Env" "production"; remove "X-Internal"; set "X-User" "nobody" }}
            route "/*" {{
                to "{}"
                header {{ set "x-route" "root" ; remove "X-Two" }}
                request-header {{ add "X-Env" "route" }}
            }}
        }}"#,
        origin.url()
    ));
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Env: client\r\nx-env: client\r\nX_Env: client\r\n\
         X-Internal: 1\r\nX_Internal: 1\r\nX_USER: root\r\nX-Other: stays\r\n\r\n",
    );
    let mut upstream = origin.accept();
    let request = upstream.recv_request();
    assert_eq!(request.all("X-Env"), ["production", "route"]);
    assert_eq!(request.all("X-User"), ["nobody"]);
    for name in ["X_Env", "X-Internal", "X_Internal", "X_User"] {
        assert!(!request.has(name), "{name}: {}", request.text());
    }
    assert_eq!(request.get("X-Other").as_deref(), Some("stays"));
    upstream.send(
        "HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nX-Powered-By: PHP\r\nX-Debug-A: 1\r\n\
         x-debug-b: 2\r\nx-frame-options: ALLOW\r\nVary: Y\r\nX-Two: 1\r\nProxy-Status: lie\r\n\
         X-Keep: 1\r\nContent-Length: 0\r\n\r\n",
    );
    let response = client.recv_response();
    let mut lines = response.lines();
    lines.sort();
    assert_eq!(
        lines,
        [
            "Content-Length: 0",
            "Vary: X",
            "Vary: Y",
            "X-Frame-Options: DENY",
            "X-Keep: 1",
            "x-route: root"
        ]
    );
}

#[test]
fn a_rule_for_the_host_is_the_last_word() {
    let origin = Origin::serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
    for more in ["", "forwarded { preserve-host #false }"] {
        let proxy = Proxy::start(&format!(
            "site \"http://127.0.0.1:0\" {{ to \"{}\"\n\
             request-header {{ set \"Host\" \"inner.example\" }}\n{more} }}",
            origin.url()
        ));
        for request in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
        ] {
            let mut client = proxy.client();
            client.send(request);
            assert_eq!(client.recv_response().status(), 200);
            let seen = origin.requests().pop().unwrap();
            assert_eq!(seen.all("Host"), ["inner.example"], "{more} {request}");
        }
    }
}

#[test]
fn fixed_answers() {
    let (proxy, ..) = routed(
        r#"
        route "/text" { respond 200 "hello\n" }
        route "/json" { respond 418 "{}" content-type="application/json" }
        route "/none" { respond 204 }
        header { set "X-Site" "1" }
        "#,
    );
    let mut client = proxy.client();
    let response = get(&mut client, "/text");
    assert_eq!(response.body_text(), "hello\n");
    assert_eq!(response.get("Content-Type").as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(response.get("X-Site").as_deref(), Some("1"));
    let response = get(&mut client, "/json");
    assert_eq!((response.status(), response.body_text()), (418, "{}".to_owned()));
    assert_eq!(response.get("Content-Type").as_deref(), Some("application/json"));
    let response = get(&mut client, "/none");
    assert_eq!(response.status(), 204);
    assert!(!response.has("Content-Length") && !response.has("Transfer-Encoding"));
    // What a client sends along is read, and nothing of it is left for the next request.
    client.send("POST /text HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.recv_response().status(), 200);
    client.send("HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv_head().get("Content-Length").as_deref(), Some("6"));
    assert_eq!(get(&mut client, "/text").status(), 200);
}

#[test]
fn error_pages() {
    let origin = Origin::serve(|request| {
        let status = request.target()[1..].to_owned();
        format!(
            "HTTP/1.1 {status} X\r\nContent-Length: 6\r\nServer: x\r\nX-Origin: 1\r\n\r\norigin"
        )
        .into()
    });
    let scratch = Scratch::new();
    scratch.write("502.html", "<h1>away</h1>");
    let dead = reserve();
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            r#"site "http://127.0.0.1:0" {{
                error-page 502 503 file="502.html"
                error-page 404 "nothing here" origin=#true
                error-page 500 "ours only"
                route "/dead" {{ to "http://{dead}"; error-page 502 "this one is dead" }}
                route "/gone" {{ to "http://{dead}" }}
                route "/404" {{ to "{origin}" }}
                route "/500" {{ to "{origin}" }}
            }}"#,
            origin = origin.url()
        ),
    );
    let mut client = proxy.client();
    let response = get(&mut client, "/dead");
    assert_eq!((response.status(), response.body_text()), (502, "this one is dead".to_owned()));
    let response = get(&mut client, "/gone");
    assert_eq!((response.status(), response.body_text()), (502, "<h1>away</h1>".to_owned()));
    assert_eq!(response.get("Content-Type").as_deref(), Some("text/html; charset=utf-8"));
    let response = get(&mut client, "/nowhere");
    assert_eq!((response.status(), response.body_text()), (404, "nothing here".to_owned()));
    let response = get(&mut client, "/404");
    assert_eq!((response.status(), response.body_text()), (404, "nothing here".to_owned()));
    assert_eq!(response.get("X-Origin").as_deref(), Some("1"));
    assert!(!response.has("Server"), "{}", response.text());
    let response = get(&mut client, "/500");
    assert_eq!((response.status(), response.body_text()), (500, "origin".to_owned()));
    client.send("HEAD /404 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv_head().get("Content-Length").as_deref(), Some("12"));
    // The connection to the origin is in order after a page was put in place of its answer.
    assert_eq!(get(&mut client, "/500").body_text(), "origin");
}
