//! What somebody may send so that others get it from the cache: each attack against an origin
//! that falls for it, the attacker first.

mod site;

use testkit::{Message, Origin, Peer, Proxy, Served};

/// What only the attacker may see, or only the one who was led astray.
const EVIL: &str = "evil.example";
const SECRET: &str = "balance 4711";

const FRESH: &str = "Cache-Control: max-age=60\r\n";

fn response(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{fields}\r\n{body}").into()
}

fn cached(origin: &Served) -> Proxy {
    let url = origin.url();
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ cache; to \"{url}\"; }}"))
}

fn ask(proxy: &Proxy, target: &str, fields: &str) -> Message {
    let mut client: Peer = proxy.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"));
    client.recv_response()
}

fn is_hit(message: &Message) -> bool {
    message.get("Cache-Status").is_some_and(|status| status.contains("; hit"))
}

// --- Deception: a private page under a name that looks like a file ---

/// Names that an origin may take for `/account`, and a cache for a file.
const DECEPTIVE: [&str; 64] = [
    // A suffix behind the path.
    "/account/x.css",
    "/account/x.js",
    "/account/x.png",
    "/account/x.JPG",
    "/account/x.ico",
    "/account/x.svg",
    "/account/x.woff2",
    "/account/x.pdf",
    "/account/x.mp4",
    "/account/x.webp",
    "/account/deep/er/x.gif",
    "/account//x.css",
    "/account/x.css?y=1",
    "/account.css",
    "/account.js",
    "/account.jpeg",
    "/account.txt",
    "/account.map",
    "/account.zip",
    // Parameters of the path.
    "/account;x.css",
    "/account;a=b.js",
    "/account;a=b;c.png",
    "/account;.css",
    "/account;x.css;y",
    "/account/;x.css",
    "/account/;/x.css",
    "/account;jsessionid=1.css",
    "/account;/x.js",
    // Delimiters that are encoded.
    "/account%3bx.css",
    "/account%3Bx.js",
    "/account%23x.css",
    "/account%23/x.png",
    "/account%3fx.css",
    "/account%3Fname=x.css",
    "/account%3fx.js",
    "/account%00x.css",
    "/account%00.png",
    "/account%0ax.css",
    "/account%0Ax.js",
    "/account%0dx.css",
    "/account%09x.css",
    "/account%20x.css",
    "/account%26x.css",
    "/account%2fx.css",
    "/account%2Fx.js",
    "/account%5cx.css",
    "/account%5Cx.css",
    "/account%253bx.css",
    "/account%2500x.css",
    "/account%2523x.css",
    "/account%253fx.css",
    "/account$x.css",
    "/account!x.css",
    "/account,x.css",
    "/account:x.css",
    "/account@x.css",
    "/account~x.css",
    "/account&x.css",
    "/account%7cx.css",
    // The suffix stands before something that is cut off.
    "/account/x.css%00",
    "/account/x.css%3f",
    "/account/x.css%23",
    "/account/x.css;",
    "/x.css%2f..%2faccount",
];

/// Names in which dot segments hide where they lead.
const DOTTED: [&str; 10] = [
    "/static/..%2faccount",
    "/static/%2e%2e/account",
    "/static/%2e%2e%2faccount",
    "/static/../account",
    "/account/..%2fstatic/x.css",
    "/account%2f..%2fx.css",
    "/static/..%5caccount",
    "/x.css/..%2faccount",
    "/static/.%2e/account",
    "/assets/x.js/%2e%2e/%2e%2e/account",
];

#[test]
fn a_private_page_under_another_name_is_not_for_the_attacker() {
    // Only whoever is logged in has something to lose.
    let origin = Origin::serve(|request| match request.get("Cookie") {
        Some(_) => response("200 OK", &format!("Content-Type: text/html\r\n{FRESH}"), SECRET),
        None => response("200 OK", "Content-Type: text/html\r\n", "log in"),
    });
    let proxy = cached(&origin);
    for target in DECEPTIVE.into_iter().chain(DOTTED) {
        // The victim is led there and sees its page, or nothing.
        let victim = ask(&proxy, target, "Cookie: session=0123456789abcdef\r\n");
        assert!(matches!(victim.status(), 200 | 400), "{target}: {}", victim.text());
        let attacker = ask(&proxy, target, "");
        assert!(!attacker.body_text().contains(SECRET), "{target}: {}", attacker.text());
    }
    // The same for pages without any type, and for data.
    for kind in ["", "Content-Type: application/json\r\n", "Content-Type: text/html;x=y\r\n"] {
        let origin = Origin::serve(move |request| match request.has("Cookie") {
            true => response("200 OK", &format!("{kind}{FRESH}"), SECRET),
            false => response("403 Forbidden", "", ""),
        });
        let proxy = cached(&origin);
        for target in DECEPTIVE {
            ask(&proxy, target, "Cookie: session=0123456789abcdef\r\n");
            let attacker = ask(&proxy, target, "");
            assert!(!attacker.body_text().contains(SECRET), "{kind} {target}");
        }
    }
}

#[test]
fn files_are_kept_all_the_same() {
    let origin = Origin::serve(|_| {
        response("200 OK", &format!("Content-Type: text/css\r\n{FRESH}"), "a { color: red }")
    });
    let proxy = cached(&origin);
    for target in ["/a.css", "/static/a.css", "/a;v=1.css", "/a.css?v=2"] {
        ask(&proxy, target, "Cookie: session=0123456789abcdef\r\n");
        assert!(is_hit(&ask(&proxy, target, "")), "{target}");
    }
}

// --- Poisoning: what one client sends comes back to all ---

/// Fields that are in no key, which an origin makes something of.
const UNKEYED: [&str; 44] = [
    "X-Forwarded-Host",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Forwarded-Uri",
    "X-Forwarded-For",
    "X-Forwarded-By",
    "X-Forwarded",
    "Forwarded-For",
    "Forwarded",
    "X-Host",
    "X-Original-Host",
    "X-Http-Host-Override",
    "X-HTTP-Destinationurl",
    "X-Proxy-Host",
    "X-Rewrite-Host",
    "X-Real-Host",
    "X-Backend-Host",
    "X-Script-Name",
    "X-Envoy-Original-Path",
    "X-Original-Uri",
    "X-Wap-Profile",
    "X-Arbitrary",
    "X-Client-IP",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Cluster-Client-IP",
    "X-Originating-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-ProxyUser-Ip",
    "X-Request-URI",
    "X-Custom-IP-Authorization",
    "X-Api-Version",
    "X-Theme",
    "X-Locale",
    "X-Country-Code",
    "Referer",
    "User-Agent",
    "Origin",
    "From",
    "X-Csrf-Token",
    "X-Request-Template",
];

#[test]
fn what_one_client_said_is_not_told_to_others() {
    for place in ["body", "Location", "Link", "Set-Cookie", "Content-Location", "Refresh"] {
        let origin = Origin::serve(move |request| {
            let said: String = request
                .lines()
                .into_iter()
                .find(|line| line.contains(EVIL))
                .map(|line| line.split_once(": ").unwrap_or_default().1.to_owned())
                .unwrap_or_default();
            match place {
                "body" => {
                    let page = format!("<script src=\"//{said}/x.js\"></script>");
                    response("200 OK", &format!("Content-Type: text/html\r\n{FRESH}"), &page)
                }
                field => {
                    let fields = format!("{field}: https://{said}/x\r\n{FRESH}");
                    let status = if field == "Location" { "302 Found" } else { "200 OK" };
                    response(status, &fields, "")
                }
            }
        });
        let proxy = cached(&origin);
        for (number, name) in UNKEYED.into_iter().enumerate() {
            let target = format!("/{place}/{number}");
            ask(&proxy, &target, &format!("{name}: {EVIL}\r\n"));
            let victim = ask(&proxy, &target, "");
            assert!(!victim.text().contains(EVIL), "{place} {name}: {}", victim.text());
            assert!(!victim.body_text().contains(EVIL), "{place} {name}");
        }
    }
}

/// Fields by which an origin answers in another way, without a word of them in the answer.
const SWITCHES: [(&str, &str); 42] = [
    ("X-Original-URL", "/admin"),
    ("X-Rewrite-URL", "/admin"),
    ("X-Original-URL", "/"),
    ("X-Rewrite-URL", "/x"),
    ("X-Original-Uri", "/admin"),
    ("X-Forwarded-Scheme", "http"),
    ("X-Forwarded-Scheme", "nothttps"),
    ("X-Forwarded-Proto", "ftp"),
    ("X-Forwarded-Protocol", "http"),
    ("X-Forwarded-Ssl", "off"),
    ("X-Url-Scheme", "http"),
    ("X-Scheme", "http"),
    ("Front-End-Https", "off"),
    ("CloudFront-Forwarded-Proto", "http"),
    ("X-Forwarded-Port", "1"),
    ("X-Forwarded-Port", "123"),
    ("X-Port", "1"),
    ("X-Forwarded-Host", "a"),
    ("X-Host", "a"),
    ("X-Forwarded-Server", "a"),
    ("X-Original-Host", "a"),
    ("X-Http-Host-Override", "a"),
    ("X-Forwarded-Prefix", "/a"),
    ("X-Forwarded-Path", "/a"),
    ("X-Script-Name", "/a"),
    ("X-HTTP-Method-Override", "POST"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-HTTP-Method-Override", "HEAD"),
    ("X-HTTP-Method-Override", "x"),
    ("X-HTTP-Method", "PUT"),
    ("X-Method-Override", "PATCH"),
    ("X-Middleware-Prefetch", "1"),
    ("X-Middleware-Rewrite", "/a"),
    ("X-Middleware-Subrequest", "a"),
    ("X-Arr-Ssl", "off"),
    ("X-Invoke-Status", "500"),
    ("X-Invoke-Path", "/a"),
    ("X-Matched-Path", "/a"),
    ("X-Now-Route-Matches", "1"),
    ("RSC", "1"),
    ("Next-Router-Prefetch", "1"),
    ("X-Amz-Website-Redirect-Location", "/a"),
];

#[test]
fn what_one_client_made_the_origin_do_is_not_done_to_others() {
    for (status, fields) in [("200 OK", ""), ("302 Found", "Location: /loop\r\n")] {
        let origin = Origin::serve(move |request| {
            let switched = SWITCHES
                .iter()
                .any(|(name, value)| request.all(name).iter().any(|said| said == value));
            match switched {
                true => response(status, &format!("{fields}{FRESH}"), "another page"),
                false => response("200 OK", FRESH, "the page"),
            }
        });
        let proxy = cached(&origin);
        for (number, (name, value)) in SWITCHES.into_iter().enumerate() {
            let target = format!("/{number}");
            ask(&proxy, &target, &format!("{name}: {value}\r\n"));
            let victim = ask(&proxy, &target, "");
            assert_eq!(victim.body_text(), "the page", "{name}: {value}");
        }
    }
}

#[test]
fn a_body_beside_a_get_changes_nothing_for_others() {
    let origin = Origin::serve(|request| match request.body.is_empty() {
        true => response("200 OK", FRESH, "the page"),
        false => response("200 OK", FRESH, "another page"),
    });
    let proxy = cached(&origin);
    let bodies = [
        "Content-Length: 3\r\n\r\na=b",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b",
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n",
        "Expect: 100-continue\r\nContent-Length: 3\r\n\r\na=b",
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let mut attacker = proxy.client();
        attacker.send(format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\n{body}"));
        while attacker.recv_head().status() == 100 {}
        let victim = ask(&proxy, &format!("/{number}"), "");
        assert_eq!(victim.body_text(), "the page", "{body}");
    }
}

#[test]
fn parameters_that_are_cloaked_are_keys_of_their_own() {
    // The origin takes more for a separator than we do, or the last of several.
    let origin = Origin::serve(|request| {
        let target = request.target();
        let query = target.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
        let last = query
            .replace("%26", "&")
            .split(['&', ';', '?'])
            .filter_map(|pair| {
                let pair = pair.replace("%76", "v");
                pair.strip_prefix("v=").map(str::to_owned)
            })
            .next_back();
        response("200 OK", FRESH, &format!("v is {}", last.unwrap_or_default()))
    });
    let url = origin.url();
    let proxies = [
        cached(&origin),
        Proxy::start(&format!(
            "site \"http://127.0.0.1:0\" {{ cache {{ key \"path\" \"query:v\"; }}; to \"{url}\"; }}"
        )),
    ];
    for (round, proxy) in proxies.iter().enumerate() {
        for (number, cloak) in [
            "v=1&v=evil",
            "v=evil&x",
            "v=1&x=1&v=evil",
            "v=evil&v=evil",
            "v=1%26v=evil",
            "v=1&v=%65vil",
            "v=1&x=1;v=evil",
            "x=1;v=1;v=evil",
            "v=1&%76=evil",
            "v=1&x=1%26v=evil",
        ]
        .into_iter()
        .enumerate()
        {
            let path = format!("/{round}/{number}");
            ask(proxy, &format!("{path}?{cloak}"), "");
            let victim = ask(proxy, &format!("{path}?v=1"), "");
            assert_eq!(victim.body_text(), "v is 1", "{cloak}");
        }
    }
    // The whole query is in the usual key, so nothing is cloaked there.
    for (number, cloak) in
        ["v=1;v=evil", "x=1;v=evil&v=1", "v=1?v=evil", "v=1&%76=evil"].into_iter().enumerate()
    {
        let path = format!("/cloak/{number}");
        ask(&proxies[0], &format!("{path}?{cloak}"), "");
        let victim = ask(&proxies[0], &format!("{path}?v=1"), "");
        assert_eq!(victim.body_text(), "v is 1", "{cloak}");
    }
}

// --- Denial: an error that one client causes, kept for all ---

/// What an origin refuses, as a field of a request.
fn refused() -> Vec<(String, &'static str)> {
    let mut all: Vec<(String, &'static str)> = Vec::new();
    // Too large (HHO), for origins with several limits.
    for size in [4_100, 5_000, 8_000, 12_000] {
        all.push((format!("X-Oversized: {}\r\n", "a".repeat(size)), "400 Bad Request"));
        all.push((format!("X-Oversized: {}\r\n", "a".repeat(size)), "431 Too Large"));
        let many: String =
            (0..size / 100).map(|n| format!("X-{n}: {}\r\n", "b".repeat(90))).collect();
        all.push((many, "413 Too Large"));
    }
    all.push((format!("Cookie: a={}\r\n", "c".repeat(6_000)), "400 Bad Request"));
    all.push((format!("Referer: http://a/{}\r\n", "d".repeat(6_000)), "414 Too Long"));
    all.push((format!("User-Agent: {}\r\n", "e".repeat(6_000)), "403 Forbidden"));
    // Characters that a program stumbles over (HMC).
    for value in ["a\u{e9}b", "\u{ff}", "a\tb", "\u{7f}", "a\u{80}", "\u{1}", "\u{8}b", "\u{b}"] {
        all.push((format!("X-Meta: {value}\r\n"), "400 Bad Request"));
        all.push((format!("X-Meta: {value}\r\n"), "500 Internal Server Error"));
    }
    // Another method than that of the request (HMO).
    for (name, method) in [
        ("X-HTTP-Method-Override", "POST"),
        ("X-HTTP-Method-Override", "HELP"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method-Override", "PUT"),
    ] {
        for status in ["404 Not Found", "405 Method Not Allowed", "501 Not Implemented"] {
            all.push((format!("{name}: {method}\r\n"), status));
        }
    }
    // What is about one request only.
    for (field, status) in [
        ("Range: bytes=cow", "416 Range Not Satisfiable"),
        ("Range: bytes=100-", "416 Range Not Satisfiable"),
        ("If-Match: \"x\"", "412 Precondition Failed"),
        ("If-Unmodified-Since: Mon, 01 Jan 2001 00:00:00 GMT", "412 Precondition Failed"),
        ("Expect: something", "417 Expectation Failed"),
        ("Accept: x/y", "406 Not Acceptable"),
        ("Accept-Encoding: x, identity;q=0", "406 Not Acceptable"),
        ("Content-Type: invalid", "400 Bad Request"),
        ("Content-Type: invalid", "415 Unsupported Media Type"),
        ("Content-Encoding: x", "415 Unsupported Media Type"),
        ("Authorization: Bogus x", "400 Bad Request"),
        ("Authorization: Bogus x", "403 Forbidden"),
        ("Authorization: Bogus x", "401 Unauthorized"),
        ("Upgrade-Insecure-Requests: x", "421 Misdirected Request"),
        ("X-Api-Key: x", "429 Too Many Requests"),
        ("Max-Forwards: x", "408 Request Timeout"),
    ] {
        all.push((format!("{field}\r\n"), status));
    }
    all
}

#[test]
fn an_error_that_one_client_causes_is_not_kept_for_all() {
    let all = refused();
    assert!(all.len() >= 40);
    for (number, (fields, status)) in all.into_iter().enumerate() {
        let name = fields.split(':').next().unwrap_or_default().to_owned();
        let origin = Origin::serve(move |request| match request.has(&name) {
            true => response(status, &format!("Content-Type: text/html\r\n{FRESH}"), "refused"),
            false => response("200 OK", FRESH, "the page"),
        });
        let proxy = cached(&origin);
        let mut attacker = proxy.client();
        let head = format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
        // As bytes: what is no ASCII is sent as one byte each.
        let bytes: Vec<u8> = head.chars().map(|c| u32::from(c) as u8).collect();
        attacker.send(bytes);
        attacker.recv_response();
        let victim = ask(&proxy, &format!("/{number}"), "");
        let shown: String = fields.chars().take(60).collect();
        assert_eq!(victim.body_text(), "the page", "{status} for {shown}");
    }
}

// --- What is for one client alone ---

#[test]
fn a_private_field_is_for_the_client_that_it_came_for() {
    let origin = Origin::start();
    let url = origin.url();
    let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ cache; to \"{url}\"; }}"));
    let mut clients: Vec<Peer> = (0..4).map(|_| proxy.client()).collect();
    let mut server = None;
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        // Only the first one is asked for.
        server.get_or_insert_with(|| {
            let mut server = origin.accept();
            server.recv_request();
            server
        });
    }
    server.unwrap().send(response(
        "200 OK",
        "Set-Cookie: id=secret\r\nX-Mine: 1\r\n\
         Cache-Control: max-age=60, private=\"set-cookie, x-mine\"\r\n",
        "the page",
    ));
    let answers: Vec<Message> = clients.iter_mut().map(Peer::recv_response).collect();
    assert_eq!(answers[0].get("Set-Cookie").as_deref(), Some("id=secret"));
    assert_eq!(answers[0].get("X-Mine").as_deref(), Some("1"));
    for answer in answers[1..].iter().chain([&ask(&proxy, "/", "")]) {
        assert_eq!(answer.body_text(), "the page");
        assert!(!answer.has("Set-Cookie") && !answer.has("X-Mine"), "{}", answer.text());
    }
    origin.expect_no_connection();
}

#[test]
fn a_purge_by_tag_touches_the_site_that_was_asked_only() {
    let origin = Origin::serve(|_| {
        response("200 OK", &format!("Surrogate-Key: front\r\n{FRESH}"), "the page")
    });
    let url = origin.url();
    let site = |host: &str| {
        format!(
            "site \"http://{host}\" listen=\"127.0.0.1:0\" {{ \
             cache {{ purge token=\"let-me-purge\"; }}; to \"{url}\"; }}\n"
        )
    };
    let proxy = Proxy::start(&(site("a.example") + &site("b.example")));
    let send = |method: &str, host: &str, target: &str, fields: &str| {
        let mut client = Peer::connect(proxy.address(&format!("http://{host}")));
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
        client.recv_response()
    };
    let fill = |host: &str| send("GET", host, "/%7Ex/1", "");
    fill("a.example");
    fill("b.example");
    let token = "Authorization: Bearer let-me-purge\r\n";
    let purged = send("PURGE", "a.example", "/", &format!("{token}Surrogate-Key: front\r\n"));
    assert_eq!(purged.body_text(), "{\"purged\":1,\"soft\":false}\n");
    assert!(is_hit(&fill("b.example")));
    assert!(!is_hit(&fill("a.example")));
    // A prefix is one of URLs, however they are written.
    let purged = send("PURGE", "a.example", "/~x/*", token);
    assert_eq!(purged.body_text(), "{\"purged\":1,\"soft\":false}\n");
    assert!(is_hit(&fill("b.example")));
    assert!(!is_hit(&fill("a.example")));
}
