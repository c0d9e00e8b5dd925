//! Requests in absolute form on their way through the forward face: what holds for messages of
//! the reverse face holds here.

use testkit::{Message, Origin, Peer, Proxy, Served};

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn open(settings: &str) -> Proxy {
    Proxy::start(&format!("forward \"127.0.0.1:0\" {{ allow \"127.0.0.0/8\"\n{settings} }}"))
}

/// A request for this origin.
fn ask(client: &mut Peer, origin: &Origin, method: &str, path: &str, rest: &str) {
    let address = origin.address();
    client.send(format!("{method} http://{address}{path} HTTP/1.1\r\nHost: {address}\r\n{rest}"));
}

#[test]
fn connections_to_origins_are_kept_and_replaced() {
    let (proxy, origin) = (open(""), Origin::start());
    let mut client = proxy.client();
    ask(&mut client, &origin, "GET", "/1", "\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    upstream.send(ok("1"));
    assert_eq!(client.recv_response().body_text(), "1");
    // Used again by another client.
    let mut other = proxy.client();
    ask(&mut other, &origin, "GET", "/2", "\r\n");
    assert_eq!(upstream.recv_request().target(), "/2");
    upstream.send(ok("2"));
    assert_eq!(other.recv_response().body_text(), "2");
    // Closed meanwhile: nobody notices, whatever the method.
    drop(upstream);
    ask(&mut client, &origin, "POST", "/3", "Content-Length: 4\r\n\r\nbody");
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_request().body_text(), "body");
    upstream.send(ok("3"));
    assert_eq!(client.recv_response().body_text(), "3");
    // Closed under a request: once more, if it may be repeated.
    ask(&mut client, &origin, "GET", "/4", "\r\n");
    upstream.recv_request();
    drop(upstream);
    let mut upstream = origin.accept();
    assert_eq!(upstream.recv_request().target(), "/4");
    upstream.send(ok("4"));
    assert_eq!(client.recv_response().body_text(), "4");
    ask(&mut client, &origin, "POST", "/5", "Content-Length: 4\r\n\r\nbody");
    upstream.recv_request();
    drop(upstream);
    assert_eq!(client.recv_response().status(), 502);
    origin.expect_no_connection();
}

#[test]
fn origins_do_not_share_connections() {
    let (proxy, one, two) = (open(""), Origin::start(), Origin::start());
    let mut client = proxy.client();
    ask(&mut client, &one, "GET", "/", "\r\n");
    let mut first = one.accept();
    first.recv_request();
    first.send(ok("one"));
    assert_eq!(client.recv_response().body_text(), "one");
    ask(&mut client, &two, "GET", "/", "\r\n");
    let mut second = two.accept();
    second.recv_request();
    second.send(ok("two"));
    assert_eq!(client.recv_response().body_text(), "two");
    first.expect_nothing();
}

#[test]
fn bodies_interim_responses_and_trailers_go_through() {
    let (proxy, origin) = (open(""), Origin::start());
    let mut client = proxy.client();
    ask(
        &mut client,
        &origin,
        "POST",
        "/",
        "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: te\r\n\r\n",
    );
    let mut upstream = origin.accept();
    let head = upstream.recv_head();
    assert!(head.has("Expect") && head.has("TE"), "{}", head.text());
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.recv_head().status(), 100);
    client.send("5\r\nhello\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n");
    assert_eq!(upstream.recv_chunked(), (b"hello".to_vec(), "X-Sum: 1\r\n".to_owned()));
    upstream.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(client.recv_head().status(), 103);
    upstream.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Back: 1\r\n\r\n",
    );
    let response = client.recv_response();
    assert_eq!((response.body_text(), response.trailers), ("abc".into(), "X-Back: 1\r\n".into()));
    ask(&mut client, &origin, "HEAD", "/", "\r\n");
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(client.recv_head().get("Content-Length").as_deref(), Some("1000"));
    ask(&mut client, &origin, "GET", "/next", "\r\n");
    upstream.recv_request();
    upstream.send(ok("next"));
    assert_eq!(client.recv_response().body_text(), "next");
}

#[test]
fn what_the_origin_says_reaches_the_client_as_it_is() {
    let (proxy, origin) = (open("anonymity \"elite\""), Origin::start());
    let mut client = proxy.client();
    ask(&mut client, &origin, "GET", "/", "\r\n");
    let mut upstream = origin.accept();
    upstream.recv_request();
    let fields = "Server: theirs/1.0\r\nX-Powered-By: PHP\r\nlocation: /x\r\nSet-Cookie: a=1; Path=/\r\n\
                  Set-Cookie: b=2\r\nContent-Length: 0\r\n";
    upstream.send(format!("HTTP/1.1 302 Over There\r\n{fields}\r\n"));
    assert_eq!(client.recv_response().text(), format!("HTTP/1.1 302 Over There\r\n{fields}\r\n"));
}

#[test]
fn malformed_messages_are_refused_on_both_sides() {
    let (proxy, origin) = (open(""), Origin::start());
    for (rest, status) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        ("Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        ("X : y\r\n\r\n", 400),
        ("Expect: a-wonder\r\n\r\n", 417),
    ] {
        let mut client = proxy.client();
        ask(&mut client, &origin, "POST", "/refused", rest);
        assert_eq!(client.recv_response().status(), status, "{rest}");
    }
    let mut client = proxy.client();
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 4\n\nleak",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "leak\r\n\r\n",
    ] {
        ask(&mut client, &origin, "GET", "/good", "\r\n");
        // Of the refused ones at most an empty connection came.
        let mut upstream = loop {
            let mut upstream = origin.accept();
            match upstream.recv_head_or_end() {
                Some(head) => {
                    assert_eq!(head.target(), "/good");
                    break upstream;
                }
                None => continue,
            }
        };
        upstream.send(response);
        let answer = client.recv_response();
        assert_eq!(answer.status(), 502, "{response}");
        assert!(!answer.body_text().contains("leak"), "{}", answer.body_text());
        upstream.recv_until_gone();
    }
}

#[test]
fn limits_hold_here_too() {
    let (proxy, origin) = (open("limits { body \"10B\"; head-bytes \"8KiB\" }"), Origin::start());
    let mut client = proxy.client();
    ask(&mut client, &origin, "POST", "/", "Content-Length: 11\r\n\r\nhello world");
    assert_eq!(client.recv_response().status(), 413);
    ask(&mut client, &origin, "GET", "/", &format!("X: {}\r\n\r\n", "x".repeat(9000)));
    assert_eq!(client.recv_response().status(), 431);
    client.expect_close();
    origin.expect_no_connection();
}

#[test]
fn trace_and_options_may_end_here() {
    let (proxy, origin) = (open(""), Origin::start());
    let mut client = proxy.client();
    ask(&mut client, &origin, "OPTIONS", "/", "Max-Forwards: 0\r\n\r\n");
    assert!(client.recv_response().has("Allow"));
    ask(
        &mut client,
        &origin,
        "TRACE",
        "/",
        "Max-Forwards: 0\r\nProxy-Authorization: Basic c2VjcmV0\r\nCookie: secret\r\nX: seen\r\n\r\n",
    );
    let echo = client.recv_response().body_text();
    assert!(
        echo.contains("X: seen") && !echo.contains("secret") && !echo.contains("c2Vj"),
        "{echo}"
    );
    origin.expect_no_connection();
}

/// An origin that shows the request it got.
fn mirror() -> Served {
    Origin::serve(|request| ok(&request.text()).into())
}

#[test]
fn absolute_form_reaches_the_origin_in_origin_form() {
    let origin = mirror();
    let proxy =
        Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\"; anonymity \"elite\" }");
    let mut client = proxy.client();
    let address = origin.address();
    for (target, sent) in [
        (format!("http://{address}/a%2fb?q=%41"), "/a%2fb?q=%41"),
        (format!("HTTP://{address}"), "/"),
        (format!("http://{address}?q"), "/?q"),
        (format!("http://{address}/../x//y;z\\"), "/../x//y;z\\"),
    ] {
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nX-b: 1\r\nx-A: 2\r\nProxy-Connection: keep-alive\r\n\r\n"
        ));
        let response = client.recv_response();
        let expected =
            format!("GET {sent} HTTP/1.1\r\nHost: {address}\r\nX-b: 1\r\nx-A: 2\r\n\r\n");
        assert_eq!(response.body_text(), expected);
        assert_eq!(response.lines(), [format!("Content-Length: {}", expected.len())]);
    }
    client.send(format!("OPTIONS http://{address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert!(client.recv_response().body_text().starts_with("OPTIONS * HTTP/1.1\r\n"));
    client.send(format!("GET http://{address}/old HTTP/1.0\r\n\r\n"));
    let seen = client.recv_response().body_text();
    assert_eq!(seen, format!("GET /old HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    // One connection served all of them, for there is one user.
    assert_eq!(origin.connections(), 1);
}

#[test]
fn what_is_no_proxy_request_is_refused() {
    let origin = mirror();
    let proxy = open("");
    let address = origin.address();
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"), 400),
        (format!("GET https://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"), 400),
        (format!("GET ftp://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"), 400),
        (format!("GET http://{address}/ HTTP/1.1\r\nHost: other\r\n\r\n"), 400),
        (format!("GET http://u:p@{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"), 400),
    ] {
        let mut client = proxy.client();
        client.send(&request);
        assert_eq!(client.recv_response().status(), status, "{request}");
    }
    let mut client = proxy.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.recv_response().has("Allow"));
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn anonymity_has_three_levels() {
    let origin = mirror();
    let address = origin.address();
    let told = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nVia: 1.1 lan\r\n\
                X-Real-IP: 6.6.6.6\r\nClient-IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\n\
                X_Forwarded_For: 6.6.6.6\r\nProxy: http://6.6.6.6\r\nX-Forwarded-Host: lan\r\n\
                Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic c2VjcmV0\r\n\
                Max-Forwards: 6\r\n";
    let ask = |level: &str| -> (Message, Message) {
        let proxy = Proxy::start(&format!(
            "forward \"127.0.0.1:0\" {{ allow \"127.0.0.0/8\"; anonymity \"{level}\" }}"
        ));
        let mut client = proxy.client();
        client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{told}\r\n"));
        let response = client.recv_response();
        (origin.requests().pop().unwrap(), response)
    };
    let secrets = ["c2VjcmV0", "Proxy-", "Proxy:"];
    let (request, response) = ask("elite");
    for word in ["6.6.6.6", "127.0.0.1\r\n\r\n", "Via", "Forwarded", "lan", "bifrons", "Max-"] {
        let text = request.text().replace(&format!("Host: {address}"), "");
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert!(!response.has("Via"), "{}", response.text());
    let (request, response) = ask("anonymous");
    assert!(!request.text().contains("6.6.6.6"), "{}", request.text());
    assert!(!request.has("X-Forwarded-For"), "{}", request.text());
    let via = request.get("Via").unwrap();
    assert!(via.starts_with("1.1 lan, 1.1 bifrons"), "{via}");
    assert!(response.get("Via").unwrap().starts_with("1.1 bifrons"), "{}", response.text());
    for word in secrets {
        assert!(!request.text().contains(word), "{word}: {}", request.text());
    }
    let (request, _) = ask("transparent");
    assert_eq!(request.get("X-Forwarded-For").as_deref(), Some("6.6.6.6, 127.0.0.1"));
    assert!(request.get("Via").unwrap().starts_with("1.1 lan, 1.1 bifrons"));
    for word in secrets {
        assert!(!request.text().contains(word), "{word}: {}", request.text());
    }
}

#[test]
fn a_request_that_comes_back_is_a_loop() {
    let origin = mirror();
    let proxy = open("");
    let mut client = proxy.client();
    let address = origin.address();
    client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    client.recv_response();
    let via = origin.request().get("Via").unwrap();
    client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\nVia: {via}\r\n\r\n"));
    let response = client.recv_response();
    assert_eq!(response.status(), 508);
    assert!(response.get("Proxy-Status").unwrap().contains("proxy_loop_detected"));
    assert_eq!(origin.requests().len(), 1);
}
