//! Which site and route a request belongs to.

mod site;

use site::{get, get_anew, named, request, routed};
use testkit::{Message, Proxy, reserve};

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
fn a_site_may_listen_on_ipv6() {
    let proxy = Proxy::start("site \"http://[::1]:0\" { respond 200 \"six\" }");
    let mut client = proxy.client();
    let host = proxy.first().to_string();
    assert_eq!(request(&mut client, "GET", "/", &host).body_text(), "six");
}
