//! The reverse face: which site and route a request belongs to, and what each side sees of the
//! other.

use testkit::{Message, Origin, Peer, Proxy, Scratch, Served, reserve};

/// An origin that answers with its name, the request line and the host it was asked for.
fn named(name: &'static str) -> Served {
    Origin::serve(move |request| {
        let host = request.get("Host").unwrap_or_default();
        ok(&format!("{name} {} {host}", request.target()))
    })
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

fn request(client: &mut Peer, method: &str, target: &str, host: &str) -> Message {
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.recv_response()
}

fn get(client: &mut Peer, target: &str) -> Message {
    request(client, "GET", target, "a")
}

/// The same on a connection of its own: what is refused may cost the connection.
fn get_anew(proxy: &Proxy, target: &str) -> Message {
    get(&mut proxy.client(), target)
}

#[test]
fn sites_are_found_by_host() {
    let listen = reserve();
    let port = listen.port();
    let site = |names: &str, answer: &str| {
        format!("site {names} listen=\"{listen}\" {{ respond 200 \"{answer}\" }}\n")
    };
    let proxy = Proxy::start(
        &[
            site(
                &format!("\"http://exact.example:{port}\" \"http://also.example:{port}\""),
                "exact",
            ),
            site(&format!("\"http://*.example:{port}\""), "wild"),
            site(&format!("\"http://*.deep.example:{port}\""), "deep"),
            site(&format!("\"http://bücher.example:{port}\""), "idn"),
            site(&format!("\"http://[::1]:{port}\""), "six"),
            site(&format!("\"http://192.0.2.7:{port}\""), "four"),
        ]
        .concat(),
    );
    let mut client = proxy.client();
    for (host, answer) in [
        ("exact.example", "exact"),
        ("EXACT.Example", "exact"),
        ("exact.example.", "exact"),
        (&format!("exact.example:{port}"), "exact"),
        ("exact.example:1", "exact"),
        ("also.example", "exact"),
        ("other.example", "wild"),
        ("a.b.example", "wild"),
        ("x.deep.example", "deep"),
        ("X.DEEP.EXAMPLE.:80", "deep"),
        ("deep.example", "wild"),
        ("xn--bcher-kva.example", "idn"),
        ("[::1]", "six"),
        ("[0:0:0:0:0:0:0:1]:80", "six"),
        ("192.0.2.7", "four"),
        ("0xc0000207", "four"),
    ] {
        let response = request(&mut client, "GET", "/", host);
        assert_eq!((host, response.body_text().as_str()), (host, answer), "{}", response.text());
    }
    // The absolute form says the same as `Host`, and decides.
    client.send("GET http://Exact.example/ HTTP/1.1\r\nHost: exact.example:80\r\n\r\n");
    assert_eq!(client.recv_response().body_text(), "exact");
}

#[test]
fn a_host_that_no_site_has_is_misdirected() {
    let origin = named("o");
    let listen = reserve();
    let proxy = Proxy::start(&format!(
        "site \"http://a.example:{}\" listen=\"{listen}\" {{ to \"{}\" }}",
        listen.port(),
        origin.url()
    ));
    let mut client = proxy.client();
    for host in ["b.example", "a.example.evil", "xa.example", "example", "127.0.0.1", "[::1]"] {
        let response = request(&mut client, "GET", "/", host);
        assert_eq!(response.status(), 421, "{host}");
        assert!(!response.closes(), "the connection stays usable");
    }
    assert_eq!(request(&mut client, "GET", "/", "a.example").status(), 200);
    assert_eq!(origin.requests().len(), 1);
}

/// A site with these routes; `{o}` is the URL of an origin called `o`, `{p}` of one called `p`.
fn routed(routes: &str) -> (Proxy, Served, Served) {
    let (o, p) = (named("o"), named("p"));
    let kdl = format!("site \"http://127.0.0.1:0\" {{\n{routes}\n}}");
    let proxy = Proxy::start(&kdl.replace("{o}", &o.url()).replace("{p}", &p.url()));
    (proxy, o, p)
}

#[test]
fn the_longest_route_wins() {
    let (proxy, ..) = routed(
        r#"
        route "/*" { respond 200 "root" }
        route "/api/*" { respond 200 "api" }
        route "/api/v1/*" { respond 200 "v1" }
        route "/api/v1" { respond 200 "exactly v1" }
        route "/status" { respond 200 "status" }
        route "/post/*" { method "POST"; respond 200 "post" }
        route "/post/*" { method "GET"; respond 200 "got" }
        route "/only" { method "PUT" "PATCH"; respond 200 "put" }
        "#,
    );
    let mut client = proxy.client();
    for (path, answer) in [
        ("/", "root"),
        ("/?/api/", "root"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api?x", "api"),
        ("/api/x/y", "api"),
        ("/apix", "root"),
        ("/Api", "root"),
        ("/api/v1", "exactly v1"),
        ("/api/v1/", "v1"),
        ("/api/v10", "api"),
        ("/status", "status"),
        ("/status/", "root"),
        ("/%73tatus", "status"),
        ("/%61pi/v%31/x", "v1"),
        ("/post/x", "got"),
    ] {
        let response = get(&mut client, path);
        assert_eq!((path, response.body_text().as_str()), (path, answer), "{}", response.text());
    }
    assert_eq!(request(&mut client, "POST", "/post", "a").body_text(), "post");
    // GET takes HEAD along.
    client.send("HEAD /post HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.recv_head();
    assert_eq!((head.status(), head.get("Content-Length").as_deref()), (200, Some("3")));
    // Less long routes still take what the method keeps out of a longer one.
    assert_eq!(request(&mut client, "DELETE", "/post", "a").body_text(), "root");
}

#[test]
fn paths_and_methods_without_a_route() {
    let (proxy, o, _) = routed(
        r#"
        route "/a/*" { method "PUT" "GET"; to "{o}" }
        route "/a/*" { method "PATCH"; to "{o}" }
        "#,
    );
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/b").status(), 404);
    let response = request(&mut client, "DELETE", "/a/x", "a");
    assert_eq!(response.status(), 405);
    assert_eq!(response.get("Allow").as_deref(), Some("PUT, GET, PATCH"));
    // Methods are case-sensitive.
    assert_eq!(request(&mut client, "get", "/a/x", "a").status(), 405);
    let connect = "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n";
    assert_eq!(client.send(connect).recv_response().status(), 405);
    assert_eq!(o.requests().len(), 0);
}

#[test]
fn targets_reach_the_origin_byte_for_byte() {
    let (proxy, o, _) = routed(r#"to "{o}""#);
    let targets = [
        "/",
        "/%41%2d%7e",
        "/%e4%bd%a0?%E4%bd",
        "/a%20b+c?q=a%20b+c&&=;",
        "/100%?%zz%",
        "/a%2Fb%2fc",
        "/a%5cb\\c",
        "/a;b=c/d;e",
        "//a///b//",
        "/a/...//.x/..y?../..",
        "/?",
        "/a??b?c",
        "/'(){}[]|^`<>\"",
        "/caf\u{e9}",
        "/a?http://b/c",
        "/a%00",
        "/%2525",
    ];
    let mut reached = Vec::new();
    for target in targets {
        let response = get_anew(&proxy, target);
        match response.status() {
            200 => reached.push(target),
            400 => assert_eq!(target, "/a%00"),
            _ => panic!("{target}: {}", response.text()),
        }
    }
    let seen: Vec<String> = o.requests().iter().map(Message::target).collect();
    assert_eq!(seen, reached);
    assert_eq!(reached.len(), targets.len() - 1);
}

#[test]
fn no_spelling_of_a_path_gets_past_its_route() {
    let (proxy, o, p) = routed(
        r#"
        route "/*" { to "{o}" }
        route "/admin/*" { to "{p}" }
        "#,
    );
    // Dot segments in any spelling are refused, wherever they lead.
    for path in [
        "/..",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/.%2E/admin",
        "/./admin",
        "/%2e/admin",
        "/x/..;/admin",
        "/x/..;a=b/admin",
        "/x/..%2fadmin",
        "/x%2f..%2fadmin",
        "/x/..\\admin",
        "/x\\..\\admin",
        "/x/..%5cadmin",
        "/x%5c%2e%2e%5cadmin",
        "/admin/..",
        "/admin/../x",
        "/x/..",
        "/x/.",
        "/%c0%ae%c0%ae/admin",
        "/x/%e0%80%ae%e0%80%ae/admin",
    ] {
        assert_eq!(get_anew(&proxy, path).status(), 400, "{path}");
    }
    // What an origin could take for another route than we do is refused as well.
    for path in [
        "//admin",
        "//admin/x",
        "/;/admin",
        "/;x=y/admin",
        "/admin;x",
        "/admin;/x",
        "/%2fadmin",
        "/admin%2fx",
        "/admin%2Fx",
        "/\\admin",
        "/admin\\x",
        "/admin%5cx",
        "/%5cadmin",
        "/admin%3bx",
        "///admin//x",
    ] {
        assert_eq!(get_anew(&proxy, path).status(), 400, "{path}");
    }
    assert_eq!(o.requests().len() + p.requests().len(), 0);
    // Where all readings lead to the same route, the bytes go there.
    for (path, origin) in [
        ("/%61dmin", "p"),
        ("/%61%64%6D%69%6e/x", "p"),
        ("/admin/a%2fb", "p"),
        ("/admin//x", "p"),
        ("/admin/;x", "p"),
        ("/adminx", "o"),
        ("/ADMIN", "o"),
        ("/x//admin", "o"),
        ("/x%2fadmin", "o"),
        ("/x;/admin", "o"),
        ("/%2561dmin", "o"),
        ("/?/../admin", "o"),
    ] {
        let response = get_anew(&proxy, path);
        let expected = format!("{origin} {path} a");
        assert_eq!(response.body_text(), expected, "{}", response.text());
    }
}

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
    let dead = dead_address();
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
    // The connection to the origin is in order after a page was put in place of its answer.
    assert_eq!(get(&mut client, "/500").body_text(), "origin");
}

/// An address where nobody listens.
fn dead_address() -> std::net::SocketAddr {
    reserve()
}

#[test]
fn a_dead_origin_is_not_named() {
    let dead = dead_address();
    let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"http://{dead}\" }}"));
    let mut client = proxy.client();
    let response = get(&mut client, "/");
    assert_eq!(response.status(), 502);
    let said = response.get("Proxy-Status").unwrap();
    assert!(said.starts_with("bifrons; error=connection_refused"), "{said}");
    let all = format!("{}{}", response.text(), response.body_text());
    assert!(!all.contains(&dead.ip().to_string()), "{all}");
    assert!(!all.contains(&dead.port().to_string()), "{all}");
    assert!(!response.closes(), "{all}");
    assert_eq!(get(&mut client, "/").status(), 502);
}

#[test]
fn servers_take_turns() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let proxy = Proxy::start(&format!(
        "upstream \"abc\" {{ server \"{}\" \"{}\"; server \"{}\" }}\n\
         site \"http://127.0.0.1:0\" {{ to upstream=\"abc\" }}",
        a.url(),
        b.url(),
        c.url()
    ));
    let mut client = proxy.client();
    for _ in 0..30 {
        assert_eq!(get(&mut client, "/").status(), 200);
    }
    for origin in [&a, &b, &c] {
        assert_eq!(origin.requests().len(), 10);
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn a_dead_server_is_passed_over() {
    let live = named("live");
    let (dead, too) = (dead_address(), dead_address());
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"http://{dead}\" \"{}\" \"http://{too}\" }}",
        live.url()
    ));
    let mut client = proxy.client();
    for _ in 0..10 {
        assert_eq!(get(&mut client, "/").status(), 200);
        // The servers have not seen it: what may not be repeated may still go to another.
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.recv_response().status(), 200);
    }
    assert_eq!(live.requests().len(), 20);
    assert!(live.requests().iter().filter(|r| r.method() == "POST").all(|r| r.body == b"body"));
}

#[test]
fn a_server_that_comes_back_is_asked_again() {
    let address = reserve();
    let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"http://{address}\" }}"));
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").status(), 502);
    let origin = Origin::on(&address.to_string());
    client.send("GET /back HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_request().target(), "/back");
    upstream.send(ok("back"));
    assert_eq!(client.recv_response().body_text(), "back");
}

#[test]
fn a_server_is_found_by_name() {
    let origin = named("o");
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"http://localhost:{}\" }}",
        origin.address().port()
    ));
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/x").body_text(), "o /x a");
}

#[test]
fn a_name_that_does_not_resolve_does_not_stop_the_start() {
    let proxy = Proxy::start(
        "resolver \"127.0.0.1:1\"\n\
         site \"http://127.0.0.1:0\" { to \"http://no-such-host.invalid:80\"; timeouts { connect \"300ms\" } }",
    );
    let mut client = proxy.client();
    let response = get(&mut client, "/");
    assert!(matches!(response.status(), 502..=504), "{}", response.text());
    assert!(!response.text().contains("no-such-host"), "{}", response.text());
    assert!(!response.body_text().contains("no-such-host"), "{}", response.body_text());
}

#[test]
fn the_host_of_the_server_on_demand() {
    let origin = named("o");
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"{}\"; forwarded {{ preserve-host #false }} }}",
        origin.url()
    ));
    let mut client = proxy.client();
    assert_eq!(get(&mut client, "/").body_text(), format!("o / {}", origin.address()));
    assert_eq!(origin.request().get("X-Forwarded-Host").as_deref(), Some("a"));
}

#[test]
fn a_host_in_absolute_form_is_what_the_origin_gets() {
    let (proxy, o, _) = routed(r#"to "{o}""#);
    let mut client = proxy.client();
    client.send("GET http://A.example:80/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
    client.send("GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
    let requests = o.requests();
    assert_eq!(requests[0].start_line(), "GET /x?y HTTP/1.1");
    assert_eq!(requests[0].all("Host"), ["A.example:80"]);
    // HTTP/1.0 may name none; HTTP/1.1 to the origin must.
    assert_eq!(requests[1].all("Host"), [o.address().to_string()]);
}

#[test]
fn the_absolute_form_may_have_no_path() {
    let (proxy, o, _) = routed(r#"to "{o}""#);
    let mut client = proxy.client();
    for (method, target, sent) in
        [("GET", "http://a", "/"), ("GET", "http://a?q", "/?q"), ("OPTIONS", "http://a", "*")]
    {
        assert_eq!(request(&mut client, method, target, "a").status(), 200);
        assert_eq!(o.requests().pop().unwrap().target(), sent);
    }
}

#[test]
fn a_server_may_have_an_ipv6_address() {
    let origin = Origin::on("[::1]:0");
    let url = origin.url();
    let served = Served::start(origin, |_| ok("six"));
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"{url}\"; forwarded {{ preserve-host #false }} }}"
    ));
    assert_eq!(get_anew(&proxy, "/").body_text(), "six");
    assert_eq!(format!("http://{}", served.request().get("Host").unwrap()), url);
}

#[test]
fn a_site_may_listen_on_ipv6() {
    let proxy = Proxy::start("site \"http://[::1]:0\" { respond 200 \"six\" }");
    let mut client = proxy.client();
    let host = proxy.first().to_string();
    assert_eq!(request(&mut client, "GET", "/", &host).body_text(), "six");
}
