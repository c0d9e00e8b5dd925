//! Who and how much is let in to a site: rules about clients, limits, passwords.

use std::net::SocketAddr;

use testkit::{DEADLINE, Message, Origin, Peer, Proxy, Served};

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// An origin that shows the request it got.
fn mirror() -> Served {
    Origin::serve(|request| ok(&request.text()))
}

/// A proxy with one site, whose body this is.
fn site(body: &str) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{\n{body}\n}}"))
}

fn ask(client: &mut Peer, target: &str, more: &str) -> Message {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n"));
    client.recv_response()
}

/// A client with another address than `127.0.0.1`.
fn client_from(address: &str, proxy: &Proxy) -> Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(address.parse().unwrap(), 0).into()).unwrap();
    socket.connect_timeout(&proxy.first().into(), DEADLINE).unwrap();
    Peer::over(socket.into())
}

#[test]
fn clients_are_let_in_by_address() {
    let origin = mirror();
    let url = origin.url();
    let proxy = site(&format!(
        "deny \"127.0.0.3\"; allow \"127.0.0.0/8\"\n\
         header {{ set \"X-Ours\" \"1\" }}\n\
         error-page 403 \"not for you\"\n\
         route \"/*\" {{ to \"{url}\" }}\n\
         route \"/inner/*\" {{ allow \"127.0.0.2\"; to \"{url}\" }}"
    ));
    for (address, target, status) in [
        ("127.0.0.1", "/", 200),
        ("127.0.0.2", "/", 200),
        ("127.0.0.2", "/inner/x", 200),
        ("127.0.0.1", "/inner/x", 403),
        ("127.0.0.3", "/", 403),
        ("127.0.0.3", "/inner/x", 403),
        ("127.0.0.2", "/", 200),
    ] {
        let mut client = client_from(address, &proxy);
        let response = ask(&mut client, target, "");
        assert_eq!(response.status(), status, "{address} {target}");
        assert_eq!(response.get("X-Ours").as_deref(), Some("1"), "{}", response.text());
        if status == 403 {
            assert_eq!(response.body_text(), "not for you");
            assert!(response.get("Proxy-Status").unwrap().contains("client_not_allowed"));
            assert!(!response.closes());
        }
    }
    assert_eq!(origin.requests().len(), 4);
    let log = proxy.stop().join("\n");
    assert_eq!(log.matches("client_not_allowed").count(), 3, "{log}");
}

#[test]
fn who_may_not_come_in_does_not_learn_what_there_is() {
    let proxy = site("deny \"127.0.0.1\"\nroute \"/there\" { respond 200 \"x\"; }");
    let mut client = proxy.client();
    for target in ["/there", "/nothing", "/a/../b"] {
        assert_eq!(ask(&mut client, target, "").status(), 403, "{target}");
    }
    let proxy = site("limit requests=\"2/h\"\nroute \"/there\" { respond 200 \"x\"; }");
    let mut client = proxy.client();
    let statuses = ["/nothing", "/nothing", "/nothing", "/there"];
    let statuses = statuses.map(|target| ask(&mut client, target, "").status());
    assert_eq!(statuses[0], 404);
    assert_eq!(statuses[3], 429, "{statuses:?}");
}

/// The value of a parameter in a `RateLimit` or `RateLimit-Policy` field of one limit.
fn parameter(value: &str, name: &str) -> u64 {
    let found = value.split(';').find_map(|part| part.strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("no {name}: {value}")).parse().unwrap()
}

#[test]
fn requests_beyond_a_limit_are_told_when_to_come_again() {
    let origin = mirror();
    let url = origin.url();
    let proxy = site(&format!(
        "limit requests=\"6/h\" burst=3\n\
         error-page 429 \"slowly\"\n\
         route \"/*\" {{ to \"{url}\" }}\n\
         route \"/elsewhere\" {{ redirect \"/here\" }}"
    ));
    let mut client = proxy.client();
    for (target, status, left) in [("/", 200, 2), ("/elsewhere", 308, 1), ("/", 200, 0)] {
        let response = ask(&mut client, target, "");
        assert_eq!(response.status(), status);
        let policy = response.get("RateLimit-Policy").unwrap();
        assert_eq!(policy, "\"site-client\";q=6;w=3600");
        let state = response.get("RateLimit").unwrap();
        assert!(state.starts_with("\"site-client\";"), "{state}");
        assert_eq!(parameter(&state, "r"), left, "{state}");
        assert!(!response.has("Retry-After"));
    }
    for _ in 0..2 {
        let response = ask(&mut client, "/", "");
        assert_eq!((response.status(), response.closes()), (429, false));
        assert_eq!(response.body_text(), "slowly");
        assert!(response.get("Proxy-Status").unwrap().contains("rate_limited"));
        let wait: u64 = response.get("Retry-After").unwrap().parse().unwrap();
        assert!((500..=600).contains(&wait), "{wait}");
        let state = response.get("RateLimit").unwrap();
        assert_eq!((parameter(&state, "r"), parameter(&state, "t")), (0, wait));
    }
    // Another client is another.
    assert_eq!(ask(&mut client_from("127.0.0.2", &proxy), "/", "").status(), 200);
    assert_eq!(origin.requests().len(), 3);
    drop(client);
    let log = proxy.stop_and_read();
    let refused = log.iter().filter(|line| line["status"] == 429);
    assert_eq!(refused.filter(|line| line["failure"] == "rate_limited").count(), 2);
}

#[test]
fn a_limit_may_be_by_a_field() {
    let origin = mirror();
    let proxy =
        site(&format!("limit requests=\"1/h\" per=\"header:X-Key\"\nto \"{}\"", origin.url()));
    let mut client = proxy.client();
    for (field, status) in [
        ("X-Key: one\r\n", 200),
        ("x-KEY: one\r\n", 429),
        ("X-Key: two\r\n", 200),
        // Those without it are one.
        ("", 200),
        ("X-Other: one\r\n", 429),
        ("X-Key: one\r\nX-Key: two\r\n", 200),
    ] {
        let response = ask(&mut client, "/", field);
        assert_eq!(response.status(), status, "{field}");
        let policy = response.get("RateLimit-Policy").unwrap();
        assert_eq!(policy, "\"site-x-key\";q=1;w=3600");
    }
}

#[test]
fn a_request_that_one_limit_refuses_counts_for_no_other() {
    let origin = mirror();
    let url = origin.url();
    let proxy = site(&format!(
        "limit requests=\"4/h\" burst=4 per=\"site\"\n\
         route \"/*\" {{ to \"{url}\" }}\n\
         route \"/one\" {{ limit requests=\"1/h\" per=\"route\"; to \"{url}\" }}"
    ));
    let mut client = proxy.client();
    let response = ask(&mut client, "/one", "");
    assert_eq!(response.status(), 200);
    assert!(response.get("RateLimit").unwrap().starts_with("\"site\";r=3;t="));
    for _ in 0..10 {
        assert_eq!(ask(&mut client, "/one", "").status(), 429);
    }
    let others = [0; 4].map(|_| ask(&mut client, "/", "").status());
    assert_eq!(others, [200, 200, 200, 429]);
}

#[test]
fn a_limit_is_one_over_all_cores_and_connections() {
    let proxy = Proxy::start(
        "threads 4\nsite \"http://127.0.0.1:0\" { limit requests=\"1/h\" burst=50; respond 200 \"x\"; }",
    );
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask_often = || {
            let mut client = proxy.client();
            (0..10).map(|_| ask(&mut client, "/", "").status()).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(ask_often)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(200), count(429)), (50, 110));
}

const USERS: &str = r#"
users "staff" { user "alice" password="correct-horse" }
users "chiefs" { user "bob" password="p:@%/+ \u{fc}" }
"#;

/// `Basic` for these users (RFC 7617): made with `base64`, not with ours.
const ALICE: &str = "Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n";
const ALICE_WRONG: &str = "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";
const BOB: &str = "Authorization: Basic Ym9iOnA6QCUvKyDDvA==\r\n";

fn with_passwords(origin: &Served) -> Proxy {
    let url = origin.url();
    Proxy::start(&format!(
        "{USERS}site \"http://127.0.0.1:0\" {{\n\
           basic-auth users=\"staff\" realm=\"the \\\"inner\\\" circle\"\n\
           route \"/*\" {{ to \"{url}\" }}\n\
           route \"/chiefs/*\" {{ basic-auth users=\"chiefs\" realm=\"chiefs\"; to \"{url}\" }}\n\
         }}"
    ))
}

#[test]
fn a_site_asks_for_a_password() {
    let origin = mirror();
    let proxy = with_passwords(&origin);
    let mut client = proxy.client();
    let two = format!("{ALICE}{ALICE_WRONG}");
    let same_twice = format!("{ALICE}{ALICE}");
    for wrong in [
        "",
        ALICE_WRONG,
        BOB,
        "Authorization: Basic bWFsbG9yeTpjb3JyZWN0LWhvcnNl\r\n",
        "Authorization: Basic !!!!\r\n",
        "Authorization: Bearer YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n",
        "Proxy-Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n",
        &two,
        &same_twice,
    ] {
        let response = ask(&mut client, "/", wrong);
        assert_eq!((response.status(), response.closes()), (401, false), "{wrong}");
        let challenge = response.get("WWW-Authenticate").unwrap();
        assert_eq!(challenge, "Basic realm=\"the \\\"inner\\\" circle\", charset=\"UTF-8\"");
        assert!(!response.has("Proxy-Authenticate"));
        assert!(response.get("Proxy-Status").unwrap().contains("authentication_required"));
        assert!(!response.body_text().contains("YWxp"), "{}", response.body_text());
    }
    assert_eq!(origin.connections(), 0);
    let alias = format!("{ALICE}X-Other: 1\r\n");
    assert_eq!(ask(&mut client, "/", &alias).status(), 200);
    // What a route says takes the place of what its site says.
    let response = ask(&mut client, "/chiefs/x", ALICE);
    assert_eq!(response.status(), 401);
    assert_eq!(
        response.get("WWW-Authenticate").unwrap(),
        "Basic realm=\"chiefs\", charset=\"UTF-8\""
    );
    assert_eq!(ask(&mut client, "/chiefs/x", BOB).status(), 200);
    drop(client);
    let log = proxy.stop_and_read();
    let user = |status: u16| {
        let lines = log.iter().filter(move |line| line["status"] == status);
        lines.map(|line| line["user"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(user(200), ["alice", "bob"]);
    let (log, seen) = (format!("{log:?}"), origin.all_bytes());
    assert!(seen.contains("X-Other: 1"), "{seen}");
    for secret in ["YWxp", "Ym9i", "correct-horse", "Authorization"] {
        assert!(!seen.contains(secret), "{secret} reached the origin: {seen}");
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

#[test]
fn hashed_passwords_are_checked_beside_the_cores() {
    let origin = mirror();
    let scratch = testkit::Scratch::new();
    // The example of Apache's manual, as `htpasswd -B` makes it.
    scratch.write(
        "users.htpasswd",
        "myName:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n",
    );
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "users \"u\" file=\"users.htpasswd\"\n\
             site \"http://127.0.0.1:0\" {{ basic-auth users=\"u\"; to \"{}\" }}",
            origin.url()
        ),
    );
    let mut client = proxy.client();
    // myName:myPassword and myName:mypassword.
    for (shown, status) in [
        ("bXlOYW1lOm15UGFzc3dvcmQ=", 200),
        ("bXlOYW1lOm15cGFzc3dvcmQ=", 401),
        ("bXlOYW1lOm15UGFzc3dvcmQ=", 200),
    ] {
        let field = format!("Authorization: Basic {shown}\r\n");
        assert_eq!(ask(&mut client, "/", &field).status(), status, "{shown}");
    }
}

#[test]
fn a_reload_forgets_no_limit_that_it_does_not_change() {
    let site = |limit: &str, more: &str| {
        format!("site \"http://127.0.0.1:0\" {{ limit requests=\"{limit}\" burst=3; {more} }}")
    };
    let proxy = Proxy::start(&site("1/h", "respond 200 \"a\""));
    let mut client = proxy.client();
    assert_eq!([0; 2].map(|_| ask(&mut client, "/", "").status()), [200, 200]);
    // The site is another one, the limit is not.
    proxy.reload(&site("1/h", "respond 200 \"b\""));
    let answers = [0; 2].map(|_| ask(&mut client, "/", ""));
    assert_eq!((answers[0].status(), &*answers[0].body_text()), (200, "b"));
    assert_eq!(answers[1].status(), 429);
    // Another limit begins anew.
    proxy.reload(&site("2/h", "respond 200 \"c\""));
    assert_eq!(ask(&mut client, "/", "").status(), 200);
    // And the first one is still known when it comes back.
    proxy.reload(&site("1/h", "respond 200 \"d\""));
    assert_eq!(ask(&mut client, "/", "").status(), 429);
}

#[test]
fn a_reload_lets_in_whom_it_names_and_nobody_else() {
    let with = |users: &str| {
        format!(
            "{users}\nsite \"http://127.0.0.1:0\" {{ basic-auth users=\"staff\"; respond 200 \"x\"; }}"
        )
    };
    let user = |set: &str, name: &str, password: &str| {
        format!("users \"{set}\" {{ user \"{name}\" password=\"{password}\" }}\n")
    };
    let staff = user("staff", "alice", "correct-horse");
    let proxy = Proxy::start(&with(&staff));
    let mut client = proxy.client();
    assert_eq!(ask(&mut client, "/", ALICE).status(), 200);
    // Another set before it: numbers move, names do not.
    let others = user("others", "bob", "p:@%/+ \\u{fc}");
    proxy.reload(&with(&format!("{others}{staff}")));
    assert_eq!(ask(&mut client, "/", ALICE).status(), 200);
    assert_eq!(ask(&mut client, "/", BOB).status(), 401);
    proxy.reload(&with(&user("staff", "alice", "another")));
    assert_eq!(ask(&mut client, "/", ALICE).status(), 401);
}

#[test]
fn http2_is_let_in_by_the_same_rules() {
    let origin = mirror();
    let proxy = Proxy::start(&format!(
        "{USERS}site \"http://127.0.0.1:0\" {{\n\
           limit requests=\"2/h\" burst=2\n\
           basic-auth users=\"staff\"\n\
           to \"{}\"\n\
         }}",
        origin.url()
    ));
    let mut client = testkit::h2::Client::connect(proxy.first());
    let mut get = |more: &[(&str, &str)]| {
        let head = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
        let stream = client.open(&[&head[..], more].concat());
        client.response(stream)
    };
    let response = get(&[]);
    assert_eq!(response.status, 401);
    assert!(response.get("www-authenticate").unwrap().starts_with("Basic realm="));
    assert_eq!(response.get("ratelimit-policy"), Some("\"site-client\";q=2;w=3600"));
    let response = get(&[("authorization", "Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==")]);
    assert_eq!(response.status, 200);
    assert_eq!(parameter(response.get("ratelimit").unwrap(), "r"), 0);
    assert!(!response.text().to_lowercase().contains("authorization"), "{}", response.text());
    let response = get(&[]);
    assert_eq!(response.status, 429);
    assert!(response.get("retry-after").is_some());
}
