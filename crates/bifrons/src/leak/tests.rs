//! What is found in what was seen.

use std::net::IpAddr;

use super::finding::{Level, Ourselves, SENT, of_address, of_echo, of_head};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A machine in a network, with the proxy elsewhere.
fn ourselves() -> Ourselves {
    let all = vec![ip("192.0.2.7"), ip("2001:db8::7")];
    Ourselves { address: ip("192.0.2.7"), all, proxy: ip("198.51.100.1") }
}

/// The head that is sent, with these lines behind it.
fn head(more: &str) -> String {
    let fields = SENT.iter().map(|(name, value)| format!("\r\n{name}: {value}"));
    format!("GET /leak-check HTTP/1.1\r\nHost: localhost:1{}{more}", fields.collect::<String>())
}

/// The worst, and all that was said.
fn found(head: &str) -> (Level, String) {
    let secrets = ["YTpzZWNyZXQ=".to_owned(), "secret".to_owned()];
    let findings = of_head(SENT, head, &ourselves(), &secrets);
    let texts: Vec<_> = findings.iter().map(|finding| finding.text.clone()).collect();
    (findings.iter().map(|finding| finding.level).max().expect("a finding"), texts.join("\n"))
}

#[test]
fn what_came_as_it_was_sent_tells_nothing() {
    let (level, text) = found(&head(""));
    assert_eq!((level, text.lines().count()), (Level::Fine, 1), "{text}");
    assert_eq!(found(&head("\r\nConnection: keep-alive")).0, Level::Note);
}

#[test]
fn what_tells_of_a_proxy() {
    let cases = [
        ("\r\nVia: 1.1 proxy", "Via: 1.1 proxy was added"),
        ("\r\nX-Forwarded-For: unknown", "X-Forwarded-For: unknown was added"),
        ("\r\nForwarded: for=203.0.113.9", "Forwarded: for=203.0.113.9 was added"),
        ("\r\nX-Cache-Anything: 1", "X-Cache-Anything: 1 was added"),
    ];
    for (more, expected) in cases {
        assert_eq!(found(&head(more)), (Level::Proxy, expected.to_owned()));
    }
    let changed = [
        (head("").replace("HTTP/1.1", "HTTP/1.0"), "another version"),
        (head("").replace("\r\nDNT: 1", ""), "DNT was taken out"),
        (head("").replace("DNT: 1", "DNT: 0"), "DNT: 0 was changed"),
        (head("").replace("aCCept-LanGuage", "Accept-Language"), "another case"),
        (head("").replace("\r\nDNT: 1", "") + "\r\nDNT: 1", "another order"),
    ];
    for (head, expected) in changed {
        let (level, text) = found(&head);
        assert!(level == Level::Proxy && text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn what_tells_of_the_client() {
    for more in [
        "\r\nX-Forwarded-For: 203.0.113.9, 192.0.2.7",
        "\r\nX-Real-IP: 192.0.2.7",
        "\r\nForwarded: for=\"192.0.2.7:1234\"",
        "\r\nForwarded: for=\"[2001:db8::7]\"",
        "\r\nVia: 1.1 192.0.2.7:3128 (squid)",
    ] {
        let (level, text) = found(&head(more));
        assert!(level == Level::Client && text.ends_with("our address"), "{more}: {text}");
    }
    for more in ["\r\nProxy-Authorization: Basic x", "\r\nX-Debug: a YTpzZWNyZXQ= b"] {
        let (level, text) = found(&head(more));
        assert!(level == Level::Client && text.ends_with("credentials for the proxy"), "{text}");
        assert!(!text.contains("YTpz") && !text.contains("Basic"), "{text}");
    }
}

#[test]
fn what_an_address_tells() {
    let level = |seen: &str| of_address(ip(seen), &ourselves()).level;
    assert_eq!(level("198.51.100.1"), Level::Fine);
    assert_eq!(level("192.0.2.7"), Level::Client);
    assert_eq!(level("2001:db8::7"), Level::Client);
    assert_eq!(level("127.0.0.1"), Level::Note);
    let here = Ourselves { proxy: ip("127.0.0.1"), ..ourselves() };
    assert_eq!(of_address(ip("192.0.2.7"), &here).level, Level::Note);
}

#[test]
fn what_an_echo_tells() {
    let worst = |body: &str| {
        of_echo(body, &ourselves()).iter().map(|finding| finding.level).max().expect("a finding")
    };
    assert_eq!(worst(r#"{"ip":"198.51.100.1","port":40000}"#), Level::Fine);
    assert_eq!(worst("nothing"), Level::Note);
    assert_eq!(worst(r#"{"ip":"198.51.100.1","headers":{"Via":"1.1 x"}}"#), Level::Proxy);
    assert_eq!(worst("HTTP_X_FORWARDED_FOR = unknown\nREMOTE_ADDR = 198.51.100.1"), Level::Proxy);
    assert_eq!(worst("198.51.100.1, forwarded for 192.0.2.7."), Level::Client);
}
