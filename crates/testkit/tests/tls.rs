//! TLS on both sides of the proxy.

use std::sync::Arc;

use rustls::ClientConfig;
use testkit::{Authority, Identity, Origin, Peer, Proxy, Scratch, reserve, tls_client};

fn store(scratch: &Scratch, name: &str, identity: &Identity) {
    scratch.write(&format!("{name}.pem"), &identity.cert);
    scratch.write(&format!("{name}.key"), &identity.key);
}

/// A client of the first listener, inside TLS.
fn secure(proxy: &Proxy, config: &Arc<ClientConfig>, name: &str) -> Peer {
    proxy.client().into_tls(config, name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn get(client: &mut Peer, host: &str) -> testkit::Message {
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.recv_response()
}

fn common_name(client: &Peer) -> String {
    let certificate = client.session().peer_certificates().unwrap()[0].to_vec();
    // The names stand in it as they are.
    String::from_utf8_lossy(&certificate).into_owned()
}

/// Two sites on one address, each with its certificate, and one for everybody else.
fn two_sites() -> (Proxy, Arc<ClientConfig>) {
    let authority = Authority::new("test authority");
    let scratch = Scratch::new();
    store(&scratch, "a", &authority.issue(&["a.example", "www.a.example"]));
    store(&scratch, "b", &authority.issue(&["*.b.example"]));
    let listen = reserve();
    let port = listen.port();
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "site \"https://a.example:{port}\" \"https://www.a.example:{port}\" listen=\"{listen}\" {{\n\
               tls cert=\"a.pem\" key=\"a.key\"; respond 200 \"a\" }}\n\
             site \"https://*.b.example:{port}\" listen=\"{listen}\" {{\n\
               tls cert=\"b.pem\" key=\"b.key\"; respond 200 \"b\" }}"
        ),
    );
    let config = tls_client(&authority, None);
    (proxy, config)
}

#[test]
fn the_name_decides_which_certificate_is_shown() {
    let (proxy, config) = two_sites();
    for (name, answer) in
        [("a.example", "a"), ("www.a.example", "a"), ("x.b.example", "b"), ("Y.B.example", "b")]
    {
        let mut client = secure(&proxy, &config, name);
        assert!(common_name(&client).contains(&format!("{answer}.example")), "{name}");
        let response = get(&mut client, name);
        assert_eq!(response.body_text(), answer, "{name}: {}", response.text());
        assert_eq!(get(&mut client, &format!("{name}:443")).body_text(), answer);
    }
}

#[test]
fn a_host_of_another_site_is_misdirected() {
    let (proxy, config) = two_sites();
    let mut client = secure(&proxy, &config, "a.example");
    assert_eq!(get(&mut client, "x.b.example").status(), 421);
    assert_eq!(get(&mut client, "nobody.example").status(), 421);
    // The same site by its other name is fine.
    assert_eq!(get(&mut client, "www.a.example").status(), 200);
    assert_eq!(get(&mut client, "a.example").status(), 200);
    client.send("GET https://x.b.example/ HTTP/1.1\r\nHost: x.b.example\r\n\r\n");
    assert_eq!(client.recv_response().status(), 421);
}

#[test]
fn plain_http_on_a_port_for_tls_is_told_so() {
    let (proxy, _) = two_sites();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let response = client.recv_response();
    assert_eq!(response.status(), 400);
    assert!(response.closes() && response.has("Proxy-Status"), "{}", response.text());
    client.expect_close();
    let mut client = proxy.client();
    client.send(b"\0\x01\x02 no protocol at all");
    client.recv_until_gone();
}

#[test]
fn a_handshake_that_stalls_ends() {
    let authority = Authority::new("test authority");
    let scratch = Scratch::new();
    store(&scratch, "a", &authority.issue(&["a.example"]));
    let proxy = Proxy::start_in(
        scratch,
        "site \"https://127.0.0.1:0\" { tls cert=\"a.pem\" key=\"a.key\"; respond 200; timeouts { header \"300ms\" } }",
    );
    for begin in [&b""[..], b"\x16", b"\x16\x03\x01\x02\0\x01"] {
        let mut client = proxy.client();
        client.send(begin);
        client.recv_until_gone();
    }
}

#[test]
fn what_the_origin_learns_of_tls() {
    let authority = Authority::new("test authority");
    let scratch = Scratch::new();
    store(&scratch, "a", &authority.issue(&["a.example"]));
    let origin = Origin::serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "site \"https://127.0.0.1:0\" {{ tls cert=\"a.pem\" key=\"a.key\"; to \"{}\" \n forwarded {{ rfc7239 \"set\" }} }}",
            origin.url()
        ),
    );
    let mut client = secure(&proxy, &tls_client(&authority, None), "a.example");
    assert_eq!(get(&mut client, "a.example").status(), 200);
    assert_eq!(client.session().alpn_protocol(), None);
    let request = origin.request();
    assert_eq!(request.all("X-Forwarded-Proto"), ["https"]);
    assert!(request.get("Forwarded").unwrap().ends_with("proto=https"));
    drop(client);
    let log = proxy.stop_and_read();
    assert_eq!(log[0]["sni"], "a.example");
    assert!(log[0]["tls_version"].as_str().unwrap().contains("1.3"), "{}", log[0]);
}

#[test]
fn the_protocol_is_agreed_upon() {
    let (proxy, config) = two_sites();
    let with = |protocols: &[&[u8]]| {
        let mut config = (*config).clone();
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Arc::new(config)
    };
    let client = secure(&proxy, &with(&[b"http/1.1", b"h2"]), "a.example");
    assert_eq!(client.session().alpn_protocol(), Some(&b"h2"[..]));
    let client = secure(&proxy, &with(&[b"http/1.1"]), "a.example");
    assert_eq!(client.session().alpn_protocol(), Some(&b"http/1.1"[..]));
    // Who speaks nothing that we speak learns it in the handshake.
    assert!(proxy.client().into_tls(&with(&[b"h3"]), "a.example").is_err());
}

#[test]
fn the_key_exchange_withstands_quantum_computers() {
    let (proxy, config) = two_sites();
    let mut client = secure(&proxy, &config, "a.example");
    let group = client.session().negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    // Many requests at once, and one connection for all of them.
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(50));
    for _ in 0..50 {
        assert_eq!(client.recv_response().body_text(), "a");
    }
    // It ends in good order on both sides.
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert_eq!(client.recv_response().body_text(), "a");
    client.expect_close();
}

#[test]
fn a_client_may_end_its_side_of_tls_and_still_get_its_answer() {
    let (proxy, config) = two_sites();
    let mut client = secure(&proxy, &config, "a.example");
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").finish();
    assert_eq!(client.recv_response().body_text(), "a");
    client.expect_close();
}

#[test]
fn an_idle_connection_is_closed_in_good_order() {
    let authority = Authority::new("test authority");
    let scratch = Scratch::new();
    store(&scratch, "a", &authority.issue(&["a.example"]));
    let proxy = Proxy::start_in(
        scratch,
        "site \"https://127.0.0.1:0\" { tls cert=\"a.pem\" key=\"a.key\"; respond 200 \"a\"; timeouts { idle \"300ms\" } }",
    );
    let mut client = secure(&proxy, &tls_client(&authority, None), "a.example");
    assert_eq!(get(&mut client, "a.example").body_text(), "a");
    // This is more than the end of the stream: a close_notify.
    client.expect_close();
}

#[test]
fn a_switched_connection_stays_inside_tls_on_both_sides() {
    let authority = Authority::new("ours");
    let origin = Origin::start();
    let server = authority.issue(&["127.0.0.1"]).server(None);
    let scratch = Scratch::new();
    scratch.write("ca.pem", &authority.pem);
    store(&scratch, "a", &authority.issue(&["a.example"]));
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "upstream \"app\" {{ server \"https://{}\"; tls ca=\"ca.pem\" }}\n\
             site \"https://127.0.0.1:0\" {{ tls cert=\"a.pem\" key=\"a.key\"; to upstream=\"app\" }}",
            origin.address()
        ),
    );
    let mut client = secure(&proxy, &tls_client(&authority, None), "a.example");
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly",
    );
    let mut upstream = origin.accept().accept_tls(&server).unwrap();
    upstream.recv_request();
    upstream.send("HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
    assert_eq!(client.recv_head().status(), 101);
    client.expect("first");
    upstream.expect("early");
    for _ in 0..20 {
        client.send("ping");
        upstream.expect("ping");
        upstream.send("pong");
        client.expect("pong");
    }
    client.finish();
    upstream.expect_close();
    upstream.send("bye").finish();
    client.expect("bye");
    client.expect_close();
}

#[test]
fn old_versions_are_refused_on_demand() {
    let authority = Authority::new("test authority");
    for (setting, taken) in [("", true), ("min-version=\"1.3\"", false)] {
        let scratch = Scratch::new();
        store(&scratch, "a", &authority.issue(&["a.example"]));
        let proxy = Proxy::start_in(
            scratch,
            &format!(
                "site \"https://127.0.0.1:0\" {{ tls cert=\"a.pem\" key=\"a.key\" {setting}; respond 200 \"a\" }}"
            ),
        );
        let old = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        let client = proxy.client().into_tls(&Arc::new(old), "a.example");
        assert_eq!(client.is_ok(), taken, "{setting}");
        if let Ok(mut client) = client {
            assert_eq!(get(&mut client, "a.example").body_text(), "a");
        }
    }
}

#[test]
fn client_certificates_are_asked_for() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let strangers = Authority::new("strangers");
    let scratch = Scratch::new();
    store(&scratch, "a", &authority.issue(&["required.example", "optional.example"]));
    scratch.write("clients.pem", &clients.pem);
    let listen = reserve();
    let port = listen.port();
    let site = |mode: &str| {
        format!(
            "site \"https://{mode}.example:{port}\" listen=\"{listen}\" {{ respond 200 \"{mode}\"\n\
             tls cert=\"a.pem\" key=\"a.key\" {{ client-auth \"{mode}\" ca=\"clients.pem\" }} }}\n"
        )
    };
    let proxy = Proxy::start_in(scratch, &(site("required") + &site("optional")));
    let (good, bad) = (clients.issue(&["client"]), strangers.issue(&["client"]));
    // In TLS 1.3 a refusal comes after the client thinks that it is through.
    let outcome = |identity: Option<&Identity>, name: &str| {
        let config = tls_client(&authority, identity);
        let Ok(mut client) = proxy.client().into_tls(&config, name) else { return None };
        client.try_send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")).ok()?;
        let received = client.recv_head_or_end();
        received.map(|head| head.status())
    };
    assert_eq!(outcome(Some(&good), "required.example"), Some(200));
    assert_eq!(outcome(None, "required.example"), None);
    assert_eq!(outcome(Some(&bad), "required.example"), None);
    assert_eq!(outcome(Some(&good), "optional.example"), Some(200));
    assert_eq!(outcome(None, "optional.example"), Some(200));
    assert_eq!(outcome(Some(&bad), "optional.example"), None);
    // A connection made for the lax site does not open the strict one, resumed or not.
    let config = tls_client(&authority, None);
    for _ in 0..2 {
        let mut client = proxy.client().into_tls(&config, "optional.example").unwrap();
        assert_eq!(get(&mut client, "optional.example").status(), 200);
        assert_eq!(get(&mut client, "required.example").status(), 421);
    }
}

#[test]
fn the_certificate_of_a_server_is_verified() {
    let (authority, strangers) = (Authority::new("ours"), Authority::new("strangers"));
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    // How the upstream is configured, who signed its certificate, for which name, and whether it
    // is taken.
    for (tls, signer, name, taken) in [
        ("tls ca=\"ca.pem\"", &authority, "127.0.0.1", true),
        ("tls ca=\"ca.pem\" sni=\"app.internal\"", &authority, "app.internal", true),
        ("tls ca=\"ca.pem\"", &authority, "127.0.0.2", false),
        ("tls ca=\"ca.pem\" sni=\"app.internal\"", &authority, "127.0.0.1", false),
        ("tls ca=\"ca.pem\"", &strangers, "127.0.0.1", false),
        ("", &authority, "127.0.0.1", false),
        ("tls insecure=#true", &strangers, "other.example", true),
    ] {
        let origin = Origin::start();
        let server = signer.issue(&[name]).server(None);
        let scratch = Scratch::new();
        scratch.write("ca.pem", &authority.pem);
        let proxy = Proxy::start_in(
            scratch,
            &format!(
                "upstream \"app\" {{ server \"https://{}\"; {tls} }}\n\
                 site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}",
                origin.address()
            ),
        );
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let upstream = origin.accept().accept_tls(&server);
        if taken {
            let mut upstream = upstream.unwrap_or_else(|error| panic!("{tls} {name}: {error}"));
            upstream.recv_request();
            upstream.send(answer);
            assert_eq!(client.recv_response().body_text(), "ok", "{tls} {name}");
            // The connection is kept like any other.
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            upstream.recv_request();
            upstream.send(answer);
            assert_eq!(client.recv_response().body_text(), "ok");
        } else {
            // Not a byte of the request is sent to a server that is not the right one.
            if let Ok(mut upstream) = upstream {
                assert!(upstream.recv_until_gone().is_empty(), "{tls} {name}");
            }
            let response = client.recv_response();
            assert_eq!(response.status(), 502, "{tls} {name}");
            let said = response.get("Proxy-Status").unwrap();
            assert!(said.contains("error=tls_certificate_error"), "{said}");
            let all = format!("{}{}", response.text(), response.body_text());
            assert!(!all.contains(&origin.address().port().to_string()), "{all}");
        }
    }
}

#[test]
fn a_certificate_is_shown_to_servers() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let origin = Origin::start();
    let server = authority.issue(&["127.0.0.1"]).server(Some(&clients));
    let scratch = Scratch::new();
    scratch.write("ca.pem", &authority.pem);
    store(&scratch, "us", &clients.issue(&["proxy"]));
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "upstream \"app\" {{ server \"https://{}\"; tls ca=\"ca.pem\" cert=\"us.pem\" key=\"us.key\" }}\n\
             site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}",
            origin.address()
        ),
    );
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept().accept_tls(&server).unwrap();
    upstream.recv_request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
}

#[test]
fn plain_bytes_of_a_tls_server_are_no_answer() {
    let authority = Authority::new("ours");
    let origin = Origin::start();
    let scratch = Scratch::new();
    scratch.write("ca.pem", &authority.pem);
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "upstream \"app\" {{ server \"https://{}\"; tls ca=\"ca.pem\" }}\n\
             site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}",
            origin.address()
        ),
    );
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    let _ = upstream.try_send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ninjected");
    let response = client.recv_response();
    assert_eq!(response.status(), 502);
    assert!(!response.body_text().contains("injected"));
}

#[test]
fn a_body_without_length_that_tls_cut_short_is_not_whole() {
    let authority = Authority::new("ours");
    let origin = Origin::start();
    let server = authority.issue(&["127.0.0.1"]).server(None);
    let scratch = Scratch::new();
    scratch.write("ca.pem", &authority.pem);
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "upstream \"app\" {{ server \"https://{}\"; tls ca=\"ca.pem\" }}\n\
             site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}",
            origin.address()
        ),
    );
    // Ended with close_notify: all is well. Ended without: somebody may have cut it (RFC 9112 §9.8).
    for whole in [true, false] {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept().accept_tls(&server).unwrap();
        upstream.recv_request();
        upstream.send("HTTP/1.1 200 OK\r\n\r\nto the end");
        if whole {
            upstream.finish();
        } else {
            upstream.socket().shutdown(std::net::Shutdown::Write).unwrap();
        }
        let received = client.send("").recv_head();
        assert_eq!(received.status(), 200);
        client.expect("a\r\nto the end\r\n");
        if whole {
            client.expect("0\r\n\r\n");
        } else {
            assert_eq!(client.recv_until_gone(), b"");
        }
        upstream.recv_until_gone();
    }
}

#[test]
fn bodies_of_many_records_go_both_ways() {
    let authority = Authority::new("ours");
    let origin = Origin::start();
    let server = authority.issue(&["127.0.0.1"]).server(None);
    let scratch = Scratch::new();
    scratch.write("ca.pem", &authority.pem);
    store(&scratch, "a", &authority.issue(&["a.example"]));
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "upstream \"app\" {{ server \"https://{}\"; tls ca=\"ca.pem\" }}\n\
             site \"https://127.0.0.1:0\" {{ tls cert=\"a.pem\" key=\"a.key\"; to upstream=\"app\" }}",
            origin.address()
        ),
    );
    let body: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let sent = body.clone();
    let upstream = std::thread::spawn(move || {
        let mut upstream = origin.accept().accept_tls(&server).unwrap();
        let request = upstream.recv_request();
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
        upstream.send(&request.body);
        request
    });
    let mut client = secure(&proxy, &tls_client(&authority, None), "a.example");
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", sent.len()));
    client.send(&sent);
    let response = client.recv_response();
    assert!(upstream.join().unwrap().body == body, "the body changed on its way");
    assert!(response.body == body, "the body changed on its way back");
}
