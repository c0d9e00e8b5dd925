//! curl: every scheme of proxies, and every way of saying who one is.

use super::{CANADA, Gateway, NAME, PASSWORD, text};
use crate::curl::curl;
use crate::program_or_skip;

#[test]
fn every_scheme_says_what_it_wants() {
    let program = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let gateway = Gateway::new();
    let pair = format!("{NAME}:{PASSWORD}");
    let mut count = 0;
    for scheme in ["http", "https", "socks5", "socks5h"] {
        for option in [None, Some("--proxytunnel")] {
            for origin in [&gateway.plain, &gateway.secret] {
                let (bare, at) = (gateway.bare(scheme), gateway.at(scheme));
                for proxy in [&["--proxy", &bare, "--proxy-user", &pair][..], &["--proxy", &at]] {
                    let said = curl(&program)
                        .args(["--proxy-cacert", text(&gateway.ca), "--cacert", text(&gateway.ca)])
                        .args(proxy)
                        .args(option)
                        .arg(origin.url("/from"))
                        .finish()
                        .ok();
                    assert!(CANADA.contains(&&*said), "{proxy:?} {option:?}: {said}");
                    count += 1;
                }
            }
        }
    }
    assert_eq!(gateway.check_origins(), count);
    assert_eq!(gateway.log().len(), count);
}

#[test]
fn socks4_where_nobody_is_asked() {
    let program = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let gateway = Gateway::new();
    let (open, closed) = (gateway.proxy.address("127.0.0.7:"), gateway.proxy.address("127.0.0.1:"));
    for (scheme, host) in [("socks4", "127.0.0.1"), ("socks4a", "origin.localhost")] {
        let url = gateway.plain.url_of(host, "/from");
        let run = |at| curl(&program).args(["--proxy", &format!("{scheme}://alice@{at}"), &url]);
        let said = run(open).finish().ok();
        assert!(["127.0.0.2", "127.0.0.3", "127.0.0.4"].contains(&&*said), "{scheme}: {said}");
        // Its user ID proves nothing.
        let refused = run(closed).finish();
        assert_eq!(refused.code, Some(97), "{scheme}: {}", refused.text());
    }
    assert_eq!(gateway.plain.callers().len(), 2);
}

#[test]
fn digest_and_whatever_is_offered() {
    let program = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let gateway = Gateway::new();
    let at = format!("http://{}", gateway.proxy.address("127.0.0.8:"));
    let run = |password: &str, more: &[&str]| {
        curl(&program)
            .args(["--proxy", &at, "--cacert", text(&gateway.ca)])
            .args(["--proxy-user", &format!("{NAME}:{password}")])
            .args(more)
    };
    let mut count = 0;
    for (way, scheme) in
        [("--proxy-digest", "Digest"), ("--proxy-anyauth", "Digest"), ("--proxy-basic", "Basic")]
    {
        for option in [None, Some("--proxytunnel")] {
            for origin in [&gateway.plain, &gateway.secret] {
                let said = run(PASSWORD, &["-v", way, "-w", " %{num_connects}"])
                    .args(option)
                    // The second comes over the kept connection.
                    .args([origin.url("/from"), origin.url("/from")])
                    .finish();
                let shown = format!("Proxy-Authorization: {scheme} ");
                assert!(said.err.contains(&shown), "{way}: {}", said.text());
                let out = said.ok();
                let (first, second) = out.split_at(out.len() / 2);
                assert!(CANADA.contains(&first.trim_end_matches(" 1")), "{way} {option:?}: {out}");
                assert_eq!(second, first.replace(" 1", " 0"), "{way} {option:?}");
                count += 2;
            }
        }
    }
    assert_eq!(gateway.check_origins(), count);
    for way in ["--proxy-digest", "--proxy-ntlm"] {
        let password = if way == "--proxy-ntlm" { PASSWORD } else { "wrong" };
        let refused = run(password, &[way, "-w", "%{http_code}", "-o", "/dev/null"]);
        assert_eq!(refused.arg(gateway.plain.url("/from")).finish().ok(), "407", "{way}");
    }
    assert_eq!(gateway.check_origins(), count);
    gateway.log();
}
