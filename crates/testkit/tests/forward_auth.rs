//! A server that is asked about each request before it goes on.

use testkit::{Message, Origin, Peer, Proxy, Served};

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// An origin that shows the request it got.
fn mirror() -> Served {
    Origin::serve(|request| ok(&request.text()))
}

/// A proxy before an origin, which asks `asked` with these settings.
fn proxy(origin: &Served, asked: &str, settings: &str, block: &str) -> Proxy {
    Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{\n\
           forward-auth \"{asked}\" {settings} {{ {block} }}\n\
           error-page 503 \"nobody decides\"\n\
           to \"{}\"\n\
         }}",
        origin.url()
    ))
}

fn ask(client: &mut Peer, target: &str, more: &str) -> Message {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{more}\r\n"));
    client.recv_response()
}

#[test]
fn it_is_shown_what_it_may_see_and_its_fields_go_on() {
    let origin = mirror();
    let auth = Origin::serve(|_| {
        b"HTTP/1.1 200 OK\r\nRemote-User: alice\r\nRemote-Groups: a\r\nremote-groups: b\r\n\
          X-Other: not copied\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    });
    let asked = format!("{}/verify?mode=1", auth.url());
    let proxy = proxy(
        &origin,
        &asked,
        "",
        "send \"Authorization\" \"Cookie\"; copy \"Remote-User\" \"Remote-Groups\" \"Remote-Mail\"",
    );
    let mut client = proxy.client();
    client.send(
        "POST /a%2Fb/c?x=%7e&y HTTP/1.1\r\nHost: a.example:81\r\nContent-Length: 4\r\n\
         Cookie: c=1\r\nAuthorization: Bearer t\r\nX-Private: 1\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Uri: /open\r\nX-Forwarded-Host: evil\r\n\
         Remote-User: root\r\nREMOTE-USER: root\r\nRemote_User: root\r\nremote_mail: root\r\n\
         Remote-Mail: root\r\n\r\nbody",
    );
    let response = client.recv_response();
    assert_eq!(response.status(), 200);
    let question = auth.request();
    assert_eq!(question.start_line(), "GET /verify?mode=1 HTTP/1.1");
    assert_eq!(
        question.lines(),
        [
            format!("Host: {}", auth.address()),
            "authorization: Bearer t".to_owned(),
            "cookie: c=1".to_owned(),
            "X-Forwarded-Method: POST".to_owned(),
            "X-Forwarded-Proto: http".to_owned(),
            "X-Forwarded-Host: a.example:81".to_owned(),
            "X-Forwarded-Uri: /a%2Fb/c?x=%7e&y".to_owned(),
            "X-Forwarded-For: 127.0.0.1".to_owned(),
        ]
    );
    let request = origin.request();
    assert_eq!(request.target(), "/a%2Fb/c?x=%7e&y");
    assert_eq!(request.body_text(), "body");
    assert_eq!(request.all("Remote-User"), ["alice"]);
    assert_eq!(request.all("Remote-Groups"), ["a", "b"]);
    let text = request.text().to_lowercase();
    assert!(!text.contains("root") && !text.contains("not copied"), "{text}");
    // What it was shown is still there for the origin.
    assert_eq!(request.get("Authorization").as_deref(), Some("Bearer t"));
    // Over the same connection again.
    assert_eq!(ask(&mut client, "http://a.example?q", "").status(), 200);
    let question = &auth.requests()[1];
    assert_eq!(question.get("X-Forwarded-Uri").as_deref(), Some("/?q"));
    assert_eq!(question.get("X-Forwarded-Host").as_deref(), Some("a.example"));
    assert_eq!(question.get("X-Forwarded-Method").as_deref(), Some("GET"));
    assert_eq!(auth.connections(), 1);
}

#[test]
fn a_field_that_is_shown_may_be_replaced() {
    let origin = mirror();
    let auth = Origin::serve(|request| {
        let token = request.get("Authorization").unwrap_or_default().replace("outer", "inner");
        format!("HTTP/1.1 204 No Content\r\nAuthorization: {token}\r\n\r\n").into()
    });
    let proxy = proxy(&origin, &auth.url(), "", "copy \"Authorization\"");
    let mut client = proxy.client();
    ask(&mut client, "/", "Authorization: Bearer outer\r\n");
    assert_eq!(origin.request().all("Authorization"), ["Bearer inner"]);
}

#[test]
fn its_refusals_go_to_the_client() {
    let origin = mirror();
    let auth = Origin::serve(|request| {
        let (status, more, body) = match &*request.get("X-Forwarded-Uri").unwrap() {
            "/401" => ("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"r\"\r\n", "who?"),
            "/403" => ("403 Forbidden", "Content-Type: text/html\r\n", "<b>no</b>"),
            "/302" => (
                "302 Found",
                "Location: https://login.example/?back=x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                 Cache-Control: no-store\r\n",
                "",
            ),
            _ => ("403 Forbidden", "", "x"),
        };
        let body = if body == "x" { "x".repeat(100_000) } else { body.to_owned() };
        format!(
            "HTTP/1.1 {status}\r\n{more}Server: secret/1\r\nX-Internal: 1\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into()
    });
    let proxy = proxy(&origin, &auth.url(), "", "");
    let mut client = proxy.client();
    let response = ask(&mut client, "/401", "");
    assert_eq!((response.status(), &*response.body_text()), (401, "who?"));
    assert_eq!(response.get("WWW-Authenticate").as_deref(), Some("Bearer realm=\"r\""));
    let response = ask(&mut client, "/403", "");
    assert_eq!((response.status(), &*response.body_text()), (403, "<b>no</b>"));
    assert_eq!(response.get("Content-Type").as_deref(), Some("text/html"));
    assert!(!response.has("Server") && !response.has("X-Internal"), "{}", response.text());
    assert!(!response.closes(), "the connection of the client is another");
    let response = ask(&mut client, "/302", "");
    assert_eq!(response.status(), 302);
    assert_eq!(response.get("Location").as_deref(), Some("https://login.example/?back=x"));
    assert_eq!(response.all("Set-Cookie"), ["a=1", "b=2"]);
    assert_eq!(response.get("Cache-Control").as_deref(), Some("no-store"));
    // Too long to be passed on: it is refused all the same.
    let response = ask(&mut client, "/long", "");
    assert_eq!((response.status(), response.body.len()), (403, 0));
    assert_eq!(origin.connections(), 0);
    drop(client);
    let log = proxy.stop().join("\n");
    assert_eq!(log.matches("forward_auth").count(), 4, "{log}");
}

#[test]
fn without_a_decision_nobody_gets_in() {
    let origin = mirror();
    let auth = Origin::serve(|request| match &*request.get("X-Forwarded-Uri").unwrap() {
        "/500" => b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/404" => b"HTTP/1.1 404 Oh\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/302" => b"HTTP/1.1 302 Nowhere\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/304" => b"HTTP/1.1 304 Same\r\n\r\n".to_vec(),
        "/101" => b"HTTP/1.1 101 Go\r\n\r\n".to_vec(),
        "/big" => format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000)).into(),
        "/two" => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n".to_vec(),
        "/early" => {
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()
        }
        _ => b"200 OK, come in\r\n\r\n".to_vec(),
    });
    let proxy = proxy(&origin, &auth.url(), "", "");
    for (target, status) in [
        ("/500", 503),
        ("/404", 502),
        ("/302", 502),
        ("/304", 502),
        ("/101", 502),
        ("/big", 502),
        ("/two", 502),
        ("/garbage", 502),
    ] {
        let response = ask(&mut proxy.client(), target, "");
        assert_eq!(response.status(), status, "{target}");
        if status == 503 {
            assert_eq!(response.body_text(), "nobody decides");
        }
        assert!(!response.text().contains(&auth.address().to_string()), "{}", response.text());
    }
    assert_eq!(origin.connections(), 0);
    assert_eq!(ask(&mut proxy.client(), "/early", "").status(), 200);
}

#[test]
fn a_server_that_is_not_there_or_silent_lets_nobody_in() {
    let origin = mirror();
    // Nobody listens on a port that was free a moment ago.
    let free = testkit::reserve();
    let absent = proxy(&origin, &format!("http://{free}"), "", "");
    assert_eq!(ask(&mut absent.client(), "/", "").status(), 502);
    let silent = Origin::start();
    let proxy = proxy(&origin, &silent.url(), "timeout=\"300ms\"", "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut question = silent.accept();
    question.recv_head();
    question.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(client.recv_response().status(), 504);
    assert_eq!(origin.connections(), 0);
}

/// A server that answers all with 200 and this.
fn always(more: &'static str) -> Served {
    Origin::serve(move |_| {
        format!("HTTP/1.1 200 OK\r\n{more}Remote-User: alice\r\nContent-Length: 0\r\n\r\n").into()
    })
}

#[test]
fn a_decision_holds_for_the_very_same_question_as_long_as_it_says() {
    let origin = mirror();
    let auth = always("Cache-Control: private, max-age=600\r\n");
    let proxy = proxy(&origin, &auth.url(), "", "copy \"Remote-User\"");
    let mut client = proxy.client();
    let first = "Cookie: c=1\r\n";
    for (target, more, asked) in [
        ("/", first, 1),
        ("/", first, 1),
        // What is not shown makes no difference.
        ("/", "X-Private: 1\r\nCookie: c=1\r\nRemote-User: root\r\n", 1),
        ("/", "Cookie: c=2\r\n", 2),
        ("/", "", 3),
        ("/", "Authorization: x\r\n", 4),
        ("/?", first, 5),
        ("/x", first, 6),
        // One cookie in one field, and in two.
        ("/", "Cookie: c=1; d\r\n", 7),
        ("/", "Cookie: c=1\r\nCookie: d\r\n", 8),
        ("/", first, 8),
        ("http://b.example/", "", 9),
    ] {
        let host = if target.starts_with("http") { "b.example" } else { "a.example" };
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"));
        let response = client.recv_response();
        assert_eq!(response.status(), 200);
        assert_eq!(auth.requests().len(), asked, "{target} {more}");
        let seen = origin.requests().pop().unwrap();
        assert_eq!(seen.all("Remote-User"), ["alice"], "{target} {more}");
    }
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nCookie: c=1\r\nContent-Length: 0\r\n\r\n");
    client.recv_response();
    assert_eq!(auth.requests().len(), 10);
}

#[test]
fn a_refusal_may_hold_as_well() {
    let origin = mirror();
    let auth = Origin::serve(|_| {
        b"HTTP/1.1 403 No\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\n\r\nno".to_vec()
    });
    let proxy = proxy(&origin, &auth.url(), "", "");
    let mut client = proxy.client();
    for _ in 0..3 {
        let response = ask(&mut client, "/", "");
        assert_eq!((response.status(), &*response.body_text()), (403, "no"));
    }
    assert_eq!((auth.requests().len(), origin.connections()), (1, 0));
}

#[test]
fn a_decision_that_may_not_be_kept_is_asked_for_each_time() {
    let origin = mirror();
    for (more, settings) in [
        ("", ""),
        ("Cache-Control: no-store, max-age=600\r\n", ""),
        ("Cache-Control: max-age=600\r\nSet-Cookie: a=1\r\n", ""),
        ("Cache-Control: max-age=600\r\nVary: *\r\n", ""),
        ("Cache-Control: max-age=600\r\nAge: 600\r\n", ""),
        ("Cache-Control: max-age=600\r\n", "cache=#false"),
    ] {
        let auth = always(more);
        let proxy = proxy(&origin, &auth.url(), settings, "");
        let mut client = proxy.client();
        assert_eq!([0; 2].map(|_| ask(&mut client, "/", "").status()), [200, 200]);
        assert_eq!(auth.requests().len(), 2, "{more} {settings}");
    }
}

#[test]
fn whom_something_else_refuses_it_is_not_asked_about() {
    let (origin, auth) = (mirror(), always(""));
    let proxy = Proxy::start(&format!(
        "users \"u\" {{ user \"alice\" password=\"correct-horse\" }}\n\
         site \"http://127.0.0.1:0\" {{\n\
           forward-auth \"{auth}\"\n\
           basic-auth users=\"u\"\n\
           limit requests=\"3/h\" burst=3\n\
           route \"/*\" {{ to \"{origin}\" }}\n\
           route \"/closed\" {{ deny \"127.0.0.1\"; to \"{origin}\" }}\n\
         }}",
        auth = auth.url(),
        origin = origin.url(),
    ));
    let mut client = proxy.client();
    let alice = "Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n";
    let asked = |client: &mut Peer, target: &str, more: &str| {
        let status = ask(client, target, more).status();
        (status, auth.requests().len())
    };
    // Rules about clients come before limits: it does not count.
    assert_eq!(asked(&mut client, "/closed", alice), (403, 0));
    assert_eq!(asked(&mut client, "/", ""), (401, 0));
    assert_eq!(asked(&mut client, "/", alice), (200, 1));
    // The password was for the proxy.
    assert!(!auth.request().has("Authorization"));
    assert_eq!(asked(&mut client, "/", alice), (200, 2));
    // And limits come before passwords.
    assert_eq!(asked(&mut client, "/", ""), (429, 2));
}

#[test]
fn a_trusted_peer_speaks_for_its_client() {
    let (origin, auth) = (mirror(), always(""));
    let proxy = Proxy::start(&format!(
        "trust \"127.0.0.0/8\"\n\
         site \"http://127.0.0.1:0\" {{ forward-auth \"{}\"; to \"{}\" }}",
        auth.url(),
        origin.url(),
    ));
    let said = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n";
    ask(&mut proxy.client(), "/", said);
    let question = auth.request();
    assert_eq!(question.get("X-Forwarded-For").as_deref(), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(question.get("X-Forwarded-Proto").as_deref(), Some("https"));
    assert_eq!(question.get("X-Forwarded-Host").as_deref(), Some("b"));
}

#[test]
fn it_may_be_asked_in_http2() {
    use testkit::h2::{Answer, Origin as H2Origin};
    let origin = mirror();
    let auth = H2Origin::serve(|request| match request.get("x-forwarded-uri") {
        Some("/in") => Answer::new(200, "ok").with("remote-user", "alice"),
        Some("/long") => Answer::new(403, "x".repeat(200_000)),
        _ => Answer::new(403, "no"),
    });
    let url = format!("h2c://{}/verify?x", auth.address());
    let proxy = proxy(&origin, &url, "", "copy \"Remote-User\"");
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(ask(&mut client, "/in", "Cookie: a\r\n").status(), 200);
        assert_eq!(origin.requests().pop().unwrap().all("Remote-User"), ["alice"]);
        let response = ask(&mut client, "/out", "");
        assert_eq!((response.status(), &*response.body_text()), (403, "no"));
        assert_eq!(ask(&mut client, "/long", "").status(), 403);
    }
    let questions = auth.requests();
    assert_eq!((questions.len(), auth.connections()), (6, 1));
    let first = &questions[0];
    assert_eq!(first.get(":path"), Some("/verify?x"));
    assert_eq!(first.get(":method"), Some("GET"));
    assert_eq!(
        (first.get("cookie"), first.get("x-forwarded-host")),
        (Some("a"), Some("a.example"))
    );
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_nothing() {
    let origin = mirror();
    let auth = Origin::start();
    let proxy = proxy(&origin, &auth.url(), "", "");
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // A new connection each time, for the last one ends though it did not say so.
        let mut question = auth.accept();
        question.recv_head();
        question.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.recv_response().status(), 200);
        drop(question);
    }
}

#[test]
fn a_reload_asks_anew() {
    let origin = mirror();
    let auth = always("Cache-Control: max-age=600\r\n");
    let site = |status: u16| {
        format!(
            "site \"http://127.0.0.1:0\" {{ forward-auth \"{}\"; error-page {status} \"x\"; to \"{}\" }}",
            auth.url(),
            origin.url()
        )
    };
    let proxy = Proxy::start(&site(502));
    let mut client = proxy.client();
    assert_eq!([0; 2].map(|_| ask(&mut client, "/", "").status()), [200, 200]);
    assert_eq!(auth.requests().len(), 1);
    proxy.reload(&site(503));
    assert_eq!([0; 2].map(|_| ask(&mut client, "/", "").status()), [200, 200]);
    assert_eq!(auth.requests().len(), 2);
}

#[test]
fn what_it_vouches_for_does_not_come_behind_a_body() {
    let origin = Origin::start();
    let auth = always("");
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{\n\
           forward-auth \"{}\" {{ copy \"Remote-User\" \"Remote-Mail\" }}\n\
           request-header {{ set \"X-Tenant\" \"a\"; remove \"X-Secret\"; remove \"X-Debug-*\" }}\n\
           to \"{}\"\n\
         }}",
        auth.url(),
        origin.url()
    ));
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\
         X-Sum: 1\r\nRemote-User: admin\r\nRemote_User: admin\r\nremote-mail: admin\r\n\
         X-Tenant: b\r\nX_Tenant: b\r\nX-Secret: b\r\nX-Debug-All: b\r\nX_Debug_All: b\r\n\r\n",
    );
    let mut request = origin.accept();
    assert_eq!(request.recv_head().all("Remote-User"), ["alice"]);
    let (_, trailers) = request.recv_chunked();
    assert_eq!(trailers, "X-Sum: 1\r\n");
    request.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
}

#[test]
fn a_stream_that_is_refused_is_asked_again() {
    use testkit::h2::Origin as H2Origin;
    let origin = mirror();
    let auth = H2Origin::start();
    let proxy = proxy(&origin, &format!("h2c://{}/", auth.address()), "", "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = auth.accept();
    let refused = server.recv_head().stream;
    // REFUSED_STREAM (RFC 9113 §8.7): it has not been looked at.
    server.send(&testkit::h2::Frame::reset(refused, 7));
    let asked = server.recv_head().stream;
    server.respond(asked, 200, &[], b"");
    assert_eq!(client.recv_response().status(), 200);
}

#[test]
fn a_silent_connection_is_not_asked_over_again() {
    use testkit::h2::Origin as H2Origin;
    let origin = mirror();
    let auth = H2Origin::start();
    let proxy = proxy(&origin, &format!("h2c://{}/", auth.address()), "timeout=\"300ms\"", "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut silent = auth.accept();
    silent.recv_head();
    assert_eq!(client.recv_response().status(), 504);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = auth.accept();
    let asked = server.recv_head().stream;
    server.respond(asked, 200, &[], b"");
    assert_eq!(client.recv_response().status(), 200);
}

#[test]
fn a_reload_changes_whom_to_believe() {
    let origin = mirror();
    let config =
        |more: &str| format!("{more}\nsite \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url());
    let proxy = Proxy::start(&config("trust \"127.0.0.1\""));
    let mut client = proxy.client();
    for (before, chain) in [("trust \"127.0.0.1\"", "9.9.9.9, 127.0.0.1"), ("", "127.0.0.1")] {
        proxy.reload(&config(before));
        assert_eq!(ask(&mut client, "/", "X-Forwarded-For: 9.9.9.9\r\n").status(), 200);
        let request = origin.requests().pop().unwrap();
        assert_eq!(request.get("X-Forwarded-For").as_deref(), Some(chain));
    }
}
