use super::*;

fn site(text: &str) -> Option<(Scheme, HostPattern, u16)> {
    SiteName::parse(text).ok().map(|name| (name.scheme, name.host, name.port))
}

#[test]
fn names_of_sites() {
    let exact = |name: &str| HostPattern::Exact(name.to_owned());
    for (text, scheme, host, port) in [
        ("http://Example.COM.", Scheme::Http, exact("example.com"), 80),
        ("https://localhost:8443/", Scheme::Https, exact("localhost"), 8443),
        ("http://*:8080", Scheme::Http, HostPattern::Any, 8080),
        ("HTTPS://*.example.com", Scheme::Https, HostPattern::Wildcard(".example.com".into()), 443),
        ("http://127.0.0.1:0", Scheme::Http, HostPattern::Address([127, 0, 0, 1].into()), 0),
        ("http://[::1]:81", Scheme::Http, HostPattern::Address(Ipv6Addr::LOCALHOST.into()), 81),
        ("http://bücher.example", Scheme::Http, exact("xn--bcher-kva.example"), 80),
    ] {
        assert_eq!(site(text), Some((scheme, host, port)), "{text}");
    }
    for text in [
        "example.com",
        "ftp://example.com",
        "http://",
        "http://a/b",
        "http://a?b",
        "http://u@a",
        "http://a:b",
        "http://a:65536",
        "http://a:+1",
        "http://::1",
        "http://[::1",
        "http://a..b",
        "http://*a.b",
        "http://a.*.b",
        "http://1.2.3",
        "http://0x7f.1",
        "http://a b",
    ] {
        assert_eq!(site(text), None, "{text}");
    }
}

#[test]
fn names_of_tunnels() {
    assert_eq!(sni("Example.com."), Ok(HostPattern::Exact("example.com".into())));
    assert_eq!(sni("*.example.com"), Ok(HostPattern::Wildcard(".example.com".into())));
    for text in ["*", "*a.b", "10.0.0.1", "[::1]", "a.example:443", "https://a.example"] {
        assert!(sni(text).is_err(), "{text}");
    }
}

#[test]
fn networks() {
    assert_eq!(net("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
    assert_eq!(net("::1").unwrap().to_string(), "::1/128");
    assert_eq!(net("::ffff:10.0.0.0/104").unwrap().to_string(), "10.0.0.0/8");
    for text in ["10.0.0.1/8", "10.0.0.0/33", "10", "a/8", "fe80::1%1"] {
        assert!(net(text).is_err(), "{text}");
    }
}

#[test]
fn targets() {
    assert_eq!(target("*"), Ok(TargetPattern::Any));
    assert_eq!(target("Example.com."), Ok(TargetPattern::Domain("example.com".into())));
    assert_eq!(target("*.ads.example"), Ok(TargetPattern::Subdomains(".ads.example".into())));
    assert_eq!(target("[::1]"), Ok(TargetPattern::Net("::1/128".parse().unwrap())));
    for text in ["example.com:443", "http://a", "*a", "a.*", "1.2.3", "10.1.1.1/8"] {
        assert!(target(text).is_err(), "{text}");
    }
}

#[test]
fn sockets() {
    assert_eq!(socket("[::1]:0").unwrap().to_string(), "[::1]:0");
    assert_eq!(socket("[::ffff:127.0.0.1]:1").unwrap().to_string(), "127.0.0.1:1");
    for text in ["127.0.0.1", "::1", ":80", "localhost:80", "http://a:1", "1.2.3.4:99999"] {
        assert!(socket(text).is_err(), "{text}");
    }
}
