//! The servers behind a route: their turns, their names, and their failures.

mod site;

use site::{get, get_anew, named, ok};
use testkit::{Origin, Proxy, Served, reserve};

#[test]
fn a_dead_origin_is_not_named() {
    let dead = reserve();
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
    let (dead, too) = (reserve(), reserve());
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
