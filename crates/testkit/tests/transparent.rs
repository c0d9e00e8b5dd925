//! Connections that netfilter leads to the proxy, in network namespaces of the test's own: a
//! client in one of them, and the proxy with the origins in another, which is its router.

mod netns;

use std::net::SocketAddr;

use testkit::parent::{How, Parent};
use testkit::{Authority, Origin, Peer, Proxy, tls_client};

use crate::netns::{CLIENT, Net, OPEN, ORIGINS, ROUTER};

/// What a listener says besides its mode.
const RULES: &str = "clients \"10.77.0.0/24\" \"fd77::/64\"
    deny \"*.ads.example\"
    deny \"198.51.100.66\"
    allow \"198.51.100.0/24\" \"2001:db8:77::/48\"
    ports 22 80 443 1024-65535";

fn proxy(listen: &str, mode: &str) -> Proxy {
    Proxy::start(&format!("forward \"{listen}\" {{ transparent \"{mode}\"\n{RULES}\n}}"))
}

/// Both modes, each in a network of its own; the thread of the test is in that of the proxy.
fn in_both_modes(test: impl Fn(&Net, &Proxy) + Send + Sync) {
    for (mode, listen) in
        [("redirect", "[::]:0"), ("redirect", "10.77.0.1:0"), ("tproxy", "[::]:0")]
    {
        Net::run(|net| {
            let proxy = proxy(listen, mode);
            net.lead_to(mode, proxy.first().port());
            println!("{mode} {listen}");
            test(net, &proxy);
        });
    }
}

#[test]
fn plain_http_goes_to_the_address_that_was_dialed() {
    in_both_modes(|net, proxy| {
        let origin = Origin::on(&format!("{}:80", ORIGINS[0]));
        let mut client = net.connect(origin.address());
        // Whatever the name is said to be: it is looked up nowhere.
        for host in ["shop.example", "localhost:1", "127.0.0.1", "shop.example"] {
            client.send(format!("GET /a?b HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        }
        let mut upstream = origin.accept();
        assert_eq!(upstream.local_address(), origin.address());
        for host in ["shop.example", "localhost:1", "127.0.0.1", "shop.example"] {
            let request = upstream.recv_request();
            assert_eq!(request.start_line(), "GET /a?b HTTP/1.1");
            assert_eq!(request.get("Host").as_deref(), Some(host));
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            assert_eq!(client.recv_response().body, b"hi");
        }
        // An absolute form means the same, and CONNECT nothing.
        client.send("GET http://localhost:1/x HTTP/1.1\r\nHost: localhost:1\r\n\r\n");
        assert_eq!(upstream.recv_request().start_line(), "GET /x HTTP/1.1");
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(client.recv_response().status(), 204);
        client.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.recv_response().status(), 400);
        client.expect_close();
        drop((client, upstream));
        let log = proxy.stop_and_read();
        assert_eq!(log[0]["host"], "shop.example", "{log:?}");
        assert_eq!(log[0]["server"], origin.address().to_string(), "{log:?}");
        assert_eq!(log[0]["client"], CLIENT, "{log:?}");
    });
}

#[test]
fn names_may_be_refused_and_addresses_are_always_judged() {
    in_both_modes(|net, proxy| {
        let origin = Origin::on(&format!("{}:80", ORIGINS[0]));
        let refused = Origin::on("198.51.100.66:80");
        let closed = Origin::on("192.0.2.80:80");
        for (address, host, what) in [
            (origin.address(), "x.ads.example", "denied_by_rule"),
            (origin.address(), "X.Ads.Example.", "denied_by_rule"),
            // A name that would be allowed opens nothing.
            (refused.address(), "shop.example", "denied_by_rule"),
            (closed.address(), "198.51.100.10", "address_closed"),
        ] {
            let mut client = net.connect(address);
            client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            let answer = client.recv_response();
            assert_eq!(answer.status(), 403, "{address} {host}");
            assert!(answer.get("Proxy-Status").is_some_and(|text| text.contains(what)));
        }
        let mut client = net.connect(origin.address());
        client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
        assert_eq!(client.recv_response().status(), 400);
        for origin in [&origin, &refused, &closed] {
            origin.expect_no_connection();
        }
        drop(client);
        proxy.stop();
    });
}

/// A name opens the address that it leads to, and no other.
#[test]
fn a_name_lets_through_to_where_it_leads() {
    for (mode, listen) in [("redirect", "[::]:0"), ("tproxy", "[::]:0")] {
        Net::run(|net| {
            let origin = Origin::on(&format!("{}:80", OPEN[0]));
            let secure = Origin::on(&format!("{}:443", OPEN[0]));
            let other = Origin::on(&format!("{}:80", OPEN[1]));
            let proxy = Proxy::start(&format!(
                "hosts \"shop.example\" \"{}\"\n\
                 forward \"{listen}\" {{ transparent \"{mode}\"\nclients \"10.77.0.0/24\"\n\
                 allow \"*.shop.example\" \"shop.example\"\ndeny \"*\"\n}}",
                OPEN[0],
            ));
            net.lead_to(mode, proxy.first().port());
            let ask = |address, host: &str| {
                let mut client = net.connect(address);
                client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                client
            };
            for host in ["other.example", OPEN[0], "no.shop.example"] {
                let answer = ask(origin.address(), host).recv_response();
                assert_eq!(answer.status(), 403, "{mode} {host}: {}", answer.text());
            }
            let answer = ask(other.address(), "shop.example").recv_response();
            assert_eq!(answer.status(), 403, "{mode}: {}", answer.text());
            other.expect_no_connection();
            origin.expect_no_connection();
            let mut client = ask(origin.address(), "shop.example");
            let mut upstream = origin.accept();
            assert_eq!(upstream.recv_request().get("Host").as_deref(), Some("shop.example"));
            upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
            assert_eq!(client.recv_response().status(), 204);
            // The server name of TLS as well.
            let authority = Authority::new("test authority");
            let config = tls_client(&authority, None);
            let client = net.connect(secure.address());
            let hello =
                std::thread::spawn(move || client.into_tls(&config, "shop.example").is_ok());
            let mut upstream = secure.accept();
            assert_eq!(upstream.recv_exact(1), [22]);
            drop(upstream);
            assert!(!hello.join().expect("client"));
            proxy.stop();
        });
    }
}

/// A parent that takes the absolute form would send its own `Host`, made of the address.
#[test]
fn a_parent_is_asked_for_a_tunnel_and_hosts_stay() {
    Net::run(|net| {
        let origin = Origin::on(&format!("{}:80", ORIGINS[0]));
        let parent = Parent::http();
        let proxy = Proxy::start(&format!(
            "exits \"parents\" {{ proxy \"{}\"; }}\n\
             forward \"[::]:0\" {{ transparent \"redirect\"\n{RULES}\nexit \"parents\"\n}}",
            parent.url("http")
        ));
        net.lead_to("redirect", proxy.first().port());
        let mut client = net.connect(origin.address());
        client.send("GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        let mut upstream = origin.accept();
        let request = upstream.recv_request();
        assert_eq!(request.start_line(), "GET /a HTTP/1.1");
        assert_eq!(request.get("Host").as_deref(), Some("shop.example"));
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(client.recv_response().status(), 204);
        let asked = parent.asked();
        assert_eq!((asked[0].how, asked[0].target()), (How::Connect, origin.address().to_string()));
        proxy.stop();
    });
}

#[test]
fn tls_passes_as_it_is() {
    in_both_modes(|net, proxy| {
        let authority = Authority::new("test authority");
        let identity = authority.issue(&["shop.example", "x.ads.example"]);
        let origin = Origin::on(&format!("{}:443", ORIGINS[0])).with_tls(identity.server(None));
        let config = tls_client(&authority, None);
        let client = net.connect(origin.address());
        let client = std::thread::spawn({
            let config = config.clone();
            move || client.into_tls(&config, "shop.example").expect("handshake")
        });
        let mut upstream = origin.accept();
        let mut client = client.join().expect("client");
        client.send("ping");
        upstream.expect("ping");
        upstream.send("pong").finish();
        client.expect("pong");
        client.expect_close();
        client.finish();
        upstream.expect_close();
        // A name that the rules refuse: the client is told in its own language.
        let refused = net.connect(origin.address());
        let error = refused.into_tls(&config, "x.ads.example").map(drop).unwrap_err();
        assert!(error.to_string().contains("AccessDenied"), "{error}");
        // And an address that they refuse, whatever the name.
        let refused = net.connect("198.51.100.66:443".parse().unwrap());
        let error = refused.into_tls(&config, "shop.example").map(drop).unwrap_err();
        assert!(error.to_string().contains("AccessDenied"), "{error}");
        origin.expect_no_connection();
        drop((upstream, client));
        let log = proxy.stop_and_read();
        let target = origin.address().to_string();
        let first = log.iter().find(|line| line["status"] == 200).expect("a tunnel");
        assert_eq!((&first["version"], &first["host"]), (&"TLS".into(), &"shop.example".into()));
        assert_eq!((&first["target"], &first["server"]), (&target.clone().into(), &target.into()));
        assert_eq!(log.iter().filter(|line| line["status"] == 403).count(), 2, "{log:?}");
    });
}

#[test]
fn what_is_neither_is_carried() {
    in_both_modes(|net, proxy| {
        // The server speaks first.
        let origin = Origin::on(&format!("{}:22", ORIGINS[0]));
        let mut client = net.connect(origin.address());
        let mut upstream = origin.accept();
        upstream.send("SSH-2.0-there\r\n");
        client.expect("SSH-2.0-there\r\n");
        client.send("SSH-2.0-here\r\n");
        upstream.expect("SSH-2.0-here\r\n");
        drop((client, upstream));
        // The client does, in words that look like those of HTTP.
        for words in ["SSH-2.0-here\r\n", "GET key\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0"] {
            let mut client = net.connect(origin.address());
            client.send(words);
            let mut upstream = origin.accept();
            upstream.expect(words);
            upstream.send("back").finish();
            client.expect("back");
        }
        proxy.stop();
    });
}

#[test]
fn ipv6_too() {
    for mode in ["redirect", "tproxy"] {
        Net::run(|net| {
            let proxy = proxy("[::]:0", mode);
            net.lead_to(mode, proxy.first().port());
            let origin = Origin::on(&format!("[{}]:80", ORIGINS[1]));
            let mut client = net.connect(origin.address());
            client.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
            let mut upstream = origin.accept();
            assert_eq!(upstream.local_address(), origin.address());
            upstream.recv_request();
            upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
            assert_eq!(client.recv_response().status(), 204);
            drop((client, upstream));
            let log = proxy.stop_and_read();
            assert_eq!(log[0]["client"], "fd77::2", "{log:?}");
        });
    }
}

#[test]
fn who_connects_to_the_port_itself_gets_nowhere() {
    in_both_modes(|net, proxy| {
        let port = proxy.first().port();
        let own: SocketAddr = format!("{ROUTER}:{port}").parse().unwrap();
        for request in [
            format!("GET / HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"),
            format!("GET http://{own}/ HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"),
        ] {
            let mut client = net.connect(own);
            // It may be closed already.
            let _ = client.try_send(&request);
            let got = client.recv_until_gone();
            let got = String::from_utf8_lossy(&got);
            assert!(got.is_empty() || got.starts_with("HTTP/1.1 403"), "{got}");
        }
        let log = proxy.stop_and_read();
        assert_eq!(log.len(), 2, "{log:?}");
        assert!(log.iter().all(|line| line.to_string().contains("own_listener")), "{log:?}");
    });
}

/// Beside the listener there may be one that is none of this kind.
#[test]
fn an_ordinary_listener_takes_nothing_of_the_kind() {
    Net::run(|net| {
        let proxy = Proxy::start(&format!("forward \"10.77.0.1:0\" {{\n{RULES}\n}}"));
        net.lead_to("redirect", proxy.first().port());
        let origin = Origin::on(&format!("{}:80", ORIGINS[0]));
        let mut client: Peer = net.connect(origin.address());
        client.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        assert_eq!(client.recv_response().status(), 400);
        origin.expect_no_connection();
    });
}
