//! How requests of the gateway leave by parents: what these are shown, what they are asked, and
//! what happens when one of them fails.

mod gateway;

use std::collections::HashSet;

use gateway::pool::{alice, ask, ask_by_tunnel, gateway, ok, text, tunnel, world};
use gateway::{basic, connect, get, get_inside, told};
use testkit::parent::{Conduct, How, Parent};
use testkit::{Authority, Caller, Origin, Proxy};

#[test]
fn parents_of_http_get_the_absolute_form_and_their_own_credentials() {
    let origin = Caller::start();
    let parent = Parent::http().with_user("us", "theirs").leaving_from("127.0.0.21");
    let pool = world(&format!("proxy \"{}\"", parent.url("http")));
    let proxy = gateway(&pool, "anonymity \"elite\"");
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(ask(&mut client, &origin, "alice"), ok("127.0.0.21"));
    }
    assert_eq!(ask_by_tunnel(&proxy, &origin, "alice"), ok("127.0.0.21"));
    let asked = parent.asked();
    assert_eq!(asked.len(), 3);
    for asked in &asked {
        assert_eq!(asked.credentials, Some(("us".to_owned(), "theirs".to_owned())));
        assert_eq!(asked.target(), origin.address().to_string());
        let message = asked.message.as_ref().expect("message");
        assert_eq!(message.all("Proxy-Authorization").len(), 1, "{}", message.text());
        assert!(!message.has("Via") && !message.has("X-Forwarded-For"), "{}", message.text());
    }
    assert_eq!([asked[0].how, asked[2].how], [How::Absolute, How::Connect]);
    // The connection to the parent was kept, and not for others.
    assert_eq!(asked[0].connection, asked[1].connection);
    assert_eq!(ask(&mut client, &origin, "bob"), ok("127.0.0.21"));
    assert_ne!(parent.asked()[3].connection, asked[0].connection);
}

#[test]
fn a_parent_without_credentials_gets_none() {
    let origin = Caller::start();
    let parent = Parent::http().leaving_from("127.0.0.21");
    let proxy = gateway(&world(&format!("proxy \"{}\"", parent.url("http"))), "");
    assert_eq!(ask(&mut proxy.client(), &origin, "alice"), ok("127.0.0.21"));
    assert_eq!(ask_by_tunnel(&proxy, &origin, "alice"), ok("127.0.0.21"));
    for asked in parent.asked() {
        assert_eq!(asked.credentials, None);
        assert!(!asked.message.expect("message").has("Proxy-Authorization"));
    }
}

#[test]
fn parents_of_socks_are_asked_by_name_or_by_address() {
    let origin = Caller::start();
    let port = origin.address().port();
    // What is this machine's own name is never asked of somebody else.
    for (scheme, how, name, host) in [
        ("socks5", How::Socks5, "localhost", "127.0.0.1"),
        ("socks5h", How::Socks5, "localhost", "127.0.0.1"),
        ("socks5h", How::Socks5, "shop.example", "shop.example"),
        ("socks4a", How::Socks4a, "shop.example", "shop.example"),
    ] {
        let parent = Parent::socks().leaving_from("127.0.0.22").knows("shop.example", "127.0.0.1");
        let rules = "prefer \"ipv4\"\nresolve \"exit\"";
        let rules = if scheme == "socks5" { "prefer \"ipv4\"" } else { rules };
        let pool = world(&format!("proxy \"{}\"\n{rules}", parent.url(scheme)));
        let mut text = text(&pool, "");
        if name != "localhost" {
            text = text.replace("\"127.0.0.0/8\" \"shop.example\"", "\"shop.example\"");
        }
        let proxy = Proxy::start(&text);
        let target = format!("{name}:{port}");
        let answer = get(&mut proxy.client(), &target, &alice());
        assert_eq!((answer.status(), answer.body_text()), ok("127.0.0.22"), "{scheme}");
        let mut client = proxy.client();
        assert_eq!(connect(&mut client, &target, &alice()).status(), 200, "{scheme}");
        assert_eq!(get_inside(&mut client, &target).body_text(), "127.0.0.22");
        for asked in parent.asked() {
            assert_eq!((asked.how, asked.target()), (how, format!("{host}:{port}")), "{scheme}");
        }
    }
}

/// A hostile name would lead such a parent to what listens on loopback addresses.
#[test]
fn a_parent_on_this_machine_is_given_names_only_where_the_pool_says_so() {
    let origin = Caller::start();
    let target = format!("hostile.example:{}", origin.address().port());
    let asked_by = |scheme: &str, rule: &str, user: &str| {
        let parent = if scheme == "http" { Parent::http() } else { Parent::socks() };
        let parent = parent.knows("hostile.example", "127.0.0.1");
        let pool = world(&format!("proxy \"{}\"\n{rule}", parent.url(scheme)));
        let text = text(&pool, "").replace("\"127.0.0.0/8\"", "\"hostile.example\"");
        let proxy = Proxy::start(&format!("hosts \"hostile.example\" \"127.0.0.1\"\n{text}"));
        let user = basic(user, "secret");
        let plain = get(&mut proxy.client(), &target, &user);
        let tunnel = connect(&mut proxy.client(), &target, &user);
        assert_eq!(plain.status(), tunnel.status(), "{scheme} {rule}");
        let hosts: HashSet<_> = parent.asked().into_iter().map(|asked| asked.host).collect();
        (plain.status(), told(&plain), hosts)
    };
    let name = HashSet::from(["hostile.example".to_owned()]);
    for scheme in ["http", "socks5h", "socks4a", "socks5"] {
        for (rule, user) in
            [("", "alice"), ("", "alice-resolve-here"), ("resolve \"here\"", "alice")]
        {
            let (status, said, hosts) = asked_by(scheme, rule, user);
            assert_eq!((status, hosts.len()), (403, 0), "{scheme} {rule} {user}: {said}");
            assert!(said.contains("address_closed"), "{said}");
        }
        for rule in ["", "resolve \"here\""] {
            let (status, said, hosts) = asked_by(scheme, rule, "alice-resolve-exit");
            assert_eq!((status, hosts.len()), (502, 0), "{scheme} {rule}: {said}");
            assert!(said.contains("exit_not_found; details=\"resolve\""), "{said}");
        }
        let (status, said, hosts) = asked_by(scheme, "resolve \"exit\"", "alice");
        assert_eq!((status, &hosts), (200, &name), "{scheme}: {said}");
    }
}

#[test]
fn parents_one_behind_the_other() {
    let origin = Caller::start();
    let near = Parent::http().with_user("near", "one");
    let far = Parent::socks().with_user("far", "two").leaving_from("127.0.0.23");
    let chain = format!("proxy \"{}\" \"{}\"", near.url("http"), far.url("socks5h"));
    let proxy = gateway(&world(&chain), "");
    assert_eq!(ask(&mut proxy.client(), &origin, "alice"), ok("127.0.0.23"));
    assert_eq!(ask_by_tunnel(&proxy, &origin, "alice"), ok("127.0.0.23"));
    for asked in near.asked() {
        assert_eq!((asked.how, asked.target()), (How::Connect, far.address().to_string()));
        assert_eq!(asked.credentials, Some(("near".to_owned(), "one".to_owned())));
    }
    for asked in far.asked() {
        assert_eq!(asked.target(), origin.address().to_string());
        assert_eq!(asked.credentials, Some(("far".to_owned(), "two".to_owned())));
    }
    // The last of a chain may be one that takes the absolute form.
    let (near, far) = (Parent::socks(), Parent::http().leaving_from("127.0.0.24"));
    let chain = format!("proxy \"{}\" \"{}\"", near.url("socks5"), far.url("http"));
    let proxy = gateway(&world(&chain), "");
    assert_eq!(ask(&mut proxy.client(), &origin, "alice"), ok("127.0.0.24"));
    assert_eq!(far.asked()[0].how, How::Absolute);
}

#[test]
fn a_parent_whose_certificate_is_nobodys_gets_nothing() {
    let origin = Caller::start();
    let identity = Authority::new("nobody's").issue(&["localhost", "127.0.0.1"]);
    let parent = Parent::https(&identity).with_user("us", "theirs");
    let proxy = gateway(&world(&format!("proxy \"{}\"", parent.url("https"))), "");
    let answer = get(&mut proxy.client(), origin.address(), &alice());
    assert_eq!((answer.status(), told(&answer).contains("tls_certificate")), (502, true));
    assert_eq!(ask_by_tunnel(&proxy, &origin, "alice").0, 502);
    assert_eq!((parent.asked().len(), parent.connections() >= 2), (0, true));
}

#[test]
fn a_dead_parent_is_replaced_and_nobody_sees_it() {
    let origin = Caller::start();
    for conduct in [Conduct::Close, Conduct::Reset, Conduct::Refuse(503), Conduct::Abandon] {
        let (bad, good) = (Parent::http(), Parent::http().leaving_from("127.0.0.31"));
        bad.behave(conduct.clone());
        let pool = world(&format!("proxy \"{}\"\nproxy \"{}\"", bad.url("http"), good.url("http")));
        let proxy = gateway(&pool, "");
        for number in 1..=4 {
            let mut client = tunnel(&proxy, &origin, "alice").1.expect("a tunnel");
            // Whoever says something through an exit that has not ended yet, says it to that one.
            let _ = good.wait_for(number);
            let from = get_inside(&mut client, origin.address()).body_text();
            assert_eq!(from, "127.0.0.31", "{conduct:?}");
        }
        assert!(!bad.asked().is_empty());
        if matches!(conduct, Conduct::Close | Conduct::Reset) {
            let mut client = proxy.client();
            for _ in 0..4 {
                assert_eq!(ask(&mut client, &origin, "alice"), ok("127.0.0.31"), "{conduct:?}");
            }
        }
        // One that does not listen at all.
        bad.stop();
        let mut client = proxy.client();
        for _ in 0..4 {
            assert_eq!(ask(&mut client, &origin, "alice"), ok("127.0.0.31"), "{conduct:?}");
            assert_eq!(ask_by_tunnel(&proxy, &origin, "alice"), ok("127.0.0.31"), "{conduct:?}");
        }
    }
}

#[test]
fn what_a_parent_says_no_with_is_not_what_clients_are_told() {
    let origin = Caller::start();
    for (status, told_status, word) in [
        (407, 502, "exit_failed"),
        (502, 502, "unroutable"),
        (504, 504, "timeout"),
        (503, 502, "exit_failed"),
    ] {
        let parent = Parent::http();
        parent.behave(Conduct::Refuse(status));
        let proxy = gateway(&world(&format!("proxy \"{}\"", parent.url("http"))), "");
        let (answer, _) = tunnel(&proxy, &origin, "alice");
        assert_eq!(
            (answer.status(), told(&answer).contains(word)),
            (told_status, true),
            "{status}: {}",
            told(&answer)
        );
        assert!(!answer.has("Proxy-Authenticate"), "{}", answer.text());
    }
}

#[test]
fn a_parent_that_wants_other_credentials_is_no_matter_of_clients() {
    let origin = Caller::start();
    let strict = Parent::http().with_user("us", "theirs");
    let good = Parent::http().leaving_from("127.0.0.31");
    let wrong = format!("http://us:other@{}", strict.address());
    let proxy = gateway(&world(&format!("proxy \"{wrong}\"")), "");
    let answer = get(&mut proxy.client(), origin.address(), &alice());
    assert_eq!(
        (answer.status(), told(&answer).contains("exit_failed")),
        (502, true),
        "{}",
        answer.text()
    );
    assert!(!answer.has("Proxy-Authenticate"), "{}", answer.text());
    // And another one does it.
    let pool = world(&format!("proxy \"{wrong}\"\nproxy \"{}\"", good.url("http")));
    let proxy = gateway(&pool, "");
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(ask(&mut client, &origin, "alice"), ok("127.0.0.31"));
    }
}

#[test]
fn the_dear_pool_is_asked_when_the_cheap_one_has_nothing() {
    let origin = Caller::start();
    let cheap = Parent::http().leaving_from("127.0.0.41");
    let dear = Parent::socks().leaving_from("127.0.0.42");
    let pools = format!(
        "exits \"world\" {{\n    proxy \"{}\" price=\"0.50\"\n    pool \"dear\"\n    \
         ban unreachable=#true for=\"10m\" per=\"exit\"\n}}\n\
         exits \"dear\" {{ proxy \"{}\" country=\"CA\" price=\"5.00\" }}\n",
        cheap.url("http"),
        dear.url("socks5h"),
    );
    let proxy = gateway(&pools, "");
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &origin, "alice"), ok("127.0.0.41"));
    }
    // What only the dear one has.
    assert_eq!(ask(&mut client, &origin, "alice-country-ca"), ok("127.0.0.42"));
    cheap.stop();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &origin, "alice"), ok("127.0.0.42"));
        assert_eq!(ask_by_tunnel(&proxy, &origin, "alice"), ok("127.0.0.42"));
    }
}

#[test]
fn a_list_of_parents_is_read_again_when_it_changes() {
    let origin = Caller::start();
    let (one, two) = (
        Parent::http().with_user("u", "p").leaving_from("127.0.0.61"),
        Parent::socks().leaving_from("127.0.0.62"),
    );
    let scratch = testkit::Scratch::new();
    let line = format!("{}:u:p\n", one.address());
    scratch.write("parents.txt", &line);
    let proxy = Proxy::start_in(scratch, &text(&world("list \"parents.txt\" country=\"CA\""), ""));
    let mut client = proxy.client();
    assert_eq!(ask(&mut client, &origin, "alice-country-ca"), ok("127.0.0.61"));
    proxy.scratch().write("parents.txt", format!("{line}{}\n", two.url("socks5h")));
    proxy.server().look_at_files();
    let seen: HashSet<_> =
        (0..4).map(|_| ask(&mut client, &origin, "alice-country-ca").1).collect();
    assert_eq!(seen, HashSet::from(["127.0.0.61".to_owned(), "127.0.0.62".to_owned()]));
    proxy.scratch().write("parents.txt", format!("{}\n", two.url("socks5h")));
    proxy.server().look_at_files();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &origin, "alice"), ok("127.0.0.62"));
    }
}

#[test]
fn an_upload_is_not_sent_to_two_parents() {
    let origin = Origin::serve(|_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into());
    let (bad, good) = (Parent::http(), Parent::http());
    bad.behave(Conduct::Close);
    let pool = world(&format!("proxy \"{}\"\nproxy \"{}\"", bad.url("http"), good.url("http")));
    let proxy = gateway(&pool, "");
    let address = origin.address();
    let mut statuses = [0; 2].map(|_| {
        let mut client = proxy.client();
        client.send(format!(
            "POST http://{address}/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\n{}\r\nhello",
            alice()
        ));
        client.recv_response().status()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
    assert_eq!((good.asked().len(), bad.asked().len(), origin.requests().len()), (1, 1, 1));
}

#[test]
fn a_site_finds_another_exit_when_one_is_dead() {
    let origin = Caller::start();
    let (bad, good) = (Parent::http(), Parent::socks().leaving_from("127.0.0.71"));
    let pool = world(&format!(
        "proxy \"{}\"\nproxy \"{}\"\nban unreachable=#true for=\"10m\" per=\"exit\"",
        bad.url("http"),
        good.url("socks5h")
    ));
    bad.stop();
    let proxy = Proxy::start(&format!(
        "{pool}site \"http://127.0.0.1:0\" {{ to \"http://{}\" {{ exit \"world\" }} }}",
        origin.address()
    ));
    for _ in 0..4 {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let answer = client.recv_response();
        assert_eq!((answer.status(), answer.body_text()), ok("127.0.0.71"));
    }
}

#[test]
fn strict_sessions_end_with_their_parent_and_soft_ones_move() {
    let origin = Caller::start();
    let parents = ["127.0.0.72", "127.0.0.73"].map(|from| Parent::http().leaving_from(from));
    let pool = world(&format!(
        "proxy \"{}\"\nproxy \"{}\"\nban unreachable=#true for=\"10m\" per=\"exit\"",
        parents[0].url("http"),
        parents[1].url("http")
    ));
    let proxy = gateway(&pool, "");
    let (_, home) = ask_by_tunnel(&proxy, &origin, "alice-session-strict1-strict");
    let soft = (0..30)
        .map(|number| format!("alice-session-soft{number}"))
        .find(|name| ask_by_tunnel(&proxy, &origin, name).1 == home)
        .expect("a session with the same exit");
    let (dead, other) = match &*home {
        "127.0.0.72" => (0, "127.0.0.73"),
        _ => (1, "127.0.0.72"),
    };
    parents[dead].stop();
    assert_eq!(ask_by_tunnel(&proxy, &origin, &soft), ok(other));
    for _ in 0..2 {
        let (answer, _) = tunnel(&proxy, &origin, "alice-session-strict1-strict");
        let told = told(&answer);
        assert_eq!((answer.status(), told.contains("session_lost")), (502, true), "{told}");
    }
    assert_eq!(ask(&mut proxy.client(), &origin, &soft), ok(other));
}

#[test]
fn what_comes_with_the_answer_of_a_parent_is_not_lost() {
    let origin = Origin::start();
    for (parent, scheme) in [(Parent::http(), "http"), (Parent::socks(), "socks5h")] {
        parent.behave(Conduct::Early(b"220 early".into()));
        let proxy = gateway(&world(&format!("proxy \"{}\"", parent.url(scheme))), "");
        let mut client = proxy.client();
        assert_eq!(connect(&mut client, origin.address(), &alice()).status(), 200);
        client.expect("220 early");
        let mut server = origin.accept();
        client.send("hello");
        server.expect("hello");
    }
}
