//! `bifrons leak-check` through proxies of every kind.

mod support;

use serde_json::Value;
use support::{Outcome, bifrons};
use testkit::{Message, Origin, Proxy};

/// A proxy that asks for a password and lets its users reach this machine.
fn proxy(anonymity: &str) -> Proxy {
    Proxy::start(&format!(
        "users \"staff\" {{ user \"alice\" password=\"wonder:land\"; }}
        forward \"127.0.0.1:0\" {{
            auth users=\"staff\"
            allow \"127.0.0.0/8\" \"::1\"
            anonymity \"{anonymity}\"
        }}"
    ))
}

fn check(proxy: &Proxy, scheme: &str, more: &[&str]) -> Outcome {
    let url = format!("{scheme}://alice:wonder%3Aland@{}", proxy.first());
    bifrons(&[&["leak-check", "--proxy", &url], more].concat())
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", outcome.stdout, outcome.stderr))
}

/// The findings of one part, as levels and texts.
fn findings(report: &Value, part: &str) -> Vec<(String, String)> {
    let parts = report["parts"].as_array().expect("parts");
    let part = parts.iter().find(|found| found["part"] == part).unwrap_or_else(|| {
        panic!("no part {part}: {report:#}");
    });
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let all = part["findings"].as_array().expect("findings").iter();
    all.map(|finding| (text(&finding["level"]), text(&finding["text"]))).collect()
}

#[test]
fn each_anonymity_is_what_it_says() {
    for (anonymity, kind) in
        [("elite", "elite"), ("anonymous", "anonymous"), ("transparent", "transparent")]
    {
        let proxy = proxy(anonymity);
        let outcome = check(&proxy, "http", &["--json"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let report = json(&outcome);
        assert_eq!(report["kind"], kind, "{report:#}");
        assert!(!outcome.stdout.contains("wonder"), "{}", outcome.stdout);
        // Whatever it does to requests, bytes in a tunnel are passed unchanged.
        let tunnel = findings(&report, "tunnel");
        assert!(tunnel.iter().all(|(level, _)| level == "note" || level == "fine"), "{tunnel:?}");
        let plain = findings(&report, "plain request");
        let via = plain.iter().any(|(level, text)| level == "proxy" && text.starts_with("Via:"));
        assert_eq!(via, anonymity != "elite", "{plain:?}");
        let address = plain.iter().any(|(level, text)| {
            level == "client" && text.starts_with("X-Forwarded-For: 127.0.0.1")
        });
        assert_eq!(address, anonymity == "transparent", "{plain:?}");
        for (expect, allowed) in
            [("elite", anonymity == "elite"), ("anonymous", anonymity != "transparent")]
        {
            let outcome = check(&proxy, "http", &["--expect", expect]);
            assert_eq!(outcome.code, Some(i32::from(!allowed)), "{anonymity}: {}", outcome.stdout);
            assert!(outcome.stdout.contains(&format!("\n{kind}: ")), "{}", outcome.stdout);
            assert!(outcome.stdout.contains("goes direct when"), "{}", outcome.stdout);
        }
    }
}

#[test]
fn who_resolves_names() {
    let proxy = proxy("elite");
    for (scheme, level, code) in
        [("socks5h", "fine", 0), ("socks4a", "fine", 0), ("socks5", "client", 1)]
    {
        if scheme == "socks4a" {
            // It has no passwords, so it is refused here.
            let outcome = check(&proxy, scheme, &[]);
            assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
            continue;
        }
        let outcome = check(&proxy, scheme, &["--json", "--expect", "anonymous"]);
        assert_eq!(outcome.code, Some(code), "{scheme}: {}{}", outcome.stdout, outcome.stderr);
        let names = findings(&json(&outcome), "names");
        assert_eq!(names[0].0, level, "{scheme}: {names:?}");
    }
    let open = Proxy::start("forward \"127.0.0.1:0\" { allow \"127.0.0.0/8\" \"::1\"; }");
    let url = format!("socks4a://{}", open.first());
    let outcome = bifrons(&["leak-check", "--proxy", &url, "--expect", "elite"]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn a_proxy_that_lets_nothing_through_is_no_success() {
    let closed = Proxy::start("forward \"127.0.0.1:0\"");
    let url = format!("http://{}", closed.first());
    let outcome = bifrons(&["leak-check", "--proxy", &url]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    for word in ["nothing came through", "403", "allow \"127.0.0.1\"", "--target"] {
        assert!(outcome.stderr.contains(word), "{word}: {}", outcome.stderr);
    }
    let outcome = check(&closed, "socks5h", &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    // A port where nobody listens: it fails, and does not go by itself.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}", gone.local_addr().expect("address"));
    drop(gone);
    let outcome = bifrons(&["leak-check", "--proxy", &url]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("cannot connect"), "{}", outcome.stderr);
}

#[test]
fn a_public_echo_tells_what_it_sees() {
    // It shows the fields that it was sent, as such pages do.
    let echo = Origin::serve(|request: &Message| {
        let body = format!("{{\"ip\": \"127.0.0.1\", \"headers\": {:?}}}", request.lines());
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    for (anonymity, expected) in [("elite", 0), ("anonymous", 1)] {
        let proxy = proxy(anonymity);
        let target = echo.url();
        let outcome = check(&proxy, "http", &["--target", &target, "--expect", "elite"]);
        assert_eq!(outcome.code, Some(expected), "{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.stdout.contains("the echo speaks of via"), anonymity == "anonymous");
        let tunnelled = check(&proxy, "socks5h", &["--target", &target, "--expect", "elite"]);
        assert_eq!(tunnelled.code, Some(0), "{}{}", tunnelled.stdout, tunnelled.stderr);
    }
}
