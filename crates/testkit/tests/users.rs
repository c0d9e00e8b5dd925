//! Who may use the forward face.

use testkit::{Origin, Peer, Proxy, Served};

const USERS: &str = r#"
users "staff" {
    user "alice" password="correct-horse"
    user "bob" password="p:@%/+ \u{fc}"
}
"#;

/// `Basic` for these users (RFC 7617): made with `base64`, not with ours.
const ALICE: &str = "Proxy-Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n";

const ALICE_WRONG: &str = "Proxy-Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";

const MALLORY: &str = "Proxy-Authorization: Basic bWFsbG9yeTpjb3JyZWN0LWhvcnNl\r\n";

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// An origin that shows the request it got.
fn mirror() -> Served {
    Origin::serve(|request| ok(&request.text()))
}

fn connect(client: &mut Peer, target: impl std::fmt::Display, more: &str) {
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{more}\r\n"));
}

fn with_users() -> Proxy {
    Proxy::start(&format!(
        "{USERS}forward \"127.0.0.1:0\" {{ auth users=\"staff\"; allow \"127.0.0.0/8\"; anonymity \"elite\" }}"
    ))
}

#[test]
fn credentials_are_asked_for_on_a_connection_that_stays() {
    let origin = mirror();
    let proxy = with_users();
    let address = origin.address();
    let mut client = proxy.client();
    let plain =
        |more: &str| format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{more}\r\n");
    for wrong in [
        "",
        ALICE_WRONG,
        MALLORY,
        "Proxy-Authorization: Basic\r\n",
        "Proxy-Authorization: Basic !!!!\r\n",
        "Proxy-Authorization: Basic YWxpY2U=\r\n",
        "Proxy-Authorization: Bearer YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n",
        "Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n",
        "Proxy_Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n",
    ] {
        client.send(plain(wrong));
        let response = client.recv_response();
        assert_eq!(response.status(), 407, "{wrong}");
        assert!(response.get("Proxy-Authenticate").unwrap().starts_with("Basic realm="));
        assert!(!response.closes(), "{wrong}: {}", response.text());
        assert!(!response.body_text().contains("YWxp"), "{}", response.body_text());
        connect(&mut client, address, wrong);
        let response = client.recv_response();
        assert_eq!((response.status(), response.closes()), (407, false), "{wrong}");
    }
    // A body that comes with a refused request is read and forgotten.
    client.send(format!(
        "POST http://{address}/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\n\r\nhello"
    ));
    assert_eq!(client.recv_response().status(), 407);
    assert_eq!(origin.connections(), 0);
    // The same connection, now with credentials; the scheme is in any case.
    client.send(plain(&ALICE.replace("Basic", "bASIC")));
    let response = client.recv_response();
    assert_eq!(response.status(), 200);
    assert!(!response.body_text().contains("Authorization"), "{}", response.body_text());
    // Each request is judged by itself.
    client.send(plain(""));
    assert_eq!(client.recv_response().status(), 407);
    client.send(plain("Proxy-Authorization: Basic Ym9iOnA6QCUvKyDDvA==\r\n"));
    assert_eq!(client.recv_response().status(), 200);
    // Users do not share connections to an origin.
    assert_eq!(origin.connections(), 2);
    client.send(plain(ALICE));
    assert_eq!(client.recv_response().status(), 200);
    assert_eq!(origin.connections(), 2);
    connect(&mut client, address, ALICE);
    assert_eq!(client.recv_head().status(), 200);
    client.send("GET /inside HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.recv_response().body_text().starts_with("GET /inside"));
    drop(client);
    let log = proxy.stop().join("\n");
    let seen = origin.all_bytes();
    for secret in ["YWxp", "Ym9i", "correct-horse", "Proxy-A", "Proxy_A"] {
        assert!(!seen.contains(secret), "{secret} reached the origin: {seen}");
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
    assert!(log.contains("\"user\":\"alice\"") && log.contains("\"user\":\"bob\""), "{log}");
}

#[test]
fn hashed_passwords_and_files_of_them() {
    let origin = mirror();
    let address = origin.address();
    let scratch = testkit::Scratch::new();
    // The example of Apache's manual, as `htpasswd -B` makes it.
    scratch.write(
        "users.htpasswd",
        "# staff\nmyName:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n",
    );
    let proxy = Proxy::start_in(
        scratch,
        "users \"u\" file=\"users.htpasswd\"\n\
         forward \"127.0.0.1:0\" { auth users=\"u\"; allow \"127.0.0.0/8\" }",
    );
    let mut client = proxy.client();
    // myName:myPassword, myName:mypassword, and the hash itself.
    for (shown, status) in [
        ("bXlOYW1lOm15UGFzc3dvcmQ=", 200),
        ("bXlOYW1lOm15cGFzc3dvcmQ=", 407),
        ("bXlOYW1lOm15UGFzc3dvcmQ=", 200),
        ("bXlOYW1lOg==", 407),
    ] {
        client.send(format!(
            "GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\nProxy-Authorization: Basic {shown}\r\n\r\n"
        ));
        assert_eq!(client.recv_response().status(), status, "{shown}");
    }
}

#[test]
fn credentials_in_two_fields_are_refused() {
    let origin = mirror();
    let proxy = with_users();
    let address = origin.address();
    let mut client = proxy.client();
    client.send(format!(
        "GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{ALICE}{ALICE_WRONG}\r\n"
    ));
    let status = client.recv_response().status();
    assert!(matches!(status, 400 | 407), "{status}");
}

#[test]
fn an_open_proxy_is_not_started() {
    for (kdl, word) in [
        ("forward \"0.0.0.0:0\"", "auth"),
        ("forward \"[::]:0\" { allow \"127.0.0.0/8\" }", "auth"),
    ] {
        let refused = Proxy::try_start_in(testkit::Scratch::new(), kdl).err();
        let words = refused.unwrap_or_else(|| panic!("started: {kdl}"));
        assert!(words.contains(word), "{words}");
    }
    for kdl in [
        "users \"u\" { user \"a\" password=\"b\" }\nforward \"0.0.0.0:0\" { auth users=\"u\" }",
        "forward \"0.0.0.0:0\" { clients \"127.0.0.0/8\" }",
        "forward \"127.0.0.1:0\"",
        "forward \"[::1]:0\"",
    ] {
        assert!(Proxy::try_start_in(testkit::Scratch::new(), kdl).is_ok(), "{kdl}");
    }
}

#[test]
fn clients_that_are_not_listed_are_not_served() {
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { clients \"10.0.0.0/8\" }");
    let mut client = proxy.client();
    let _ = client.try_send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    assert!(client.recv_until_gone().is_empty());
}
