//! curl, which speaks every protocol of both faces.

use std::path::{Path, PathBuf};

use testkit::{Authority, Identity, Proxy, Scratch};

use crate::program::{Run, Said};
use crate::program_or_skip;
use crate::web::{LARGE, Pattern, Response, Web};

/// What a command line or a URL has its own meaning for, all of it.
const PASSWORD: &str = "p:@%/+ ?#&=\"'\\$\u{fc}";

macro_rules! curl_or_skip {
    () => {
        program_or_skip!("BIFRONS_TEST_CURL", "curl")
    };
}

/// curl without the user's settings, silent but for errors.
pub fn curl(program: &Path) -> Run {
    Run::new(program).args(["--disable", "--silent", "--show-error", "--max-time", "80"])
}

fn reverse(origin: &Web) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url("")))
}

/// A forward proxy on loopback that may reach loopback.
pub fn forward(rest: &str) -> Proxy {
    Proxy::start(&format!(
        "forward \"127.0.0.1:0\" {{\n allow \"127.0.0.0/8\" \"::1\"\n {rest}\n}}\n"
    ))
}

/// A proxy that serves TLS, and the file of the authority that it is to be trusted by.
fn secure(identity: &Identity, authority: &Authority, kdl: &str) -> (Proxy, PathBuf) {
    let scratch = Scratch::new();
    scratch.write("cert.pem", &identity.cert);
    scratch.write("key.pem", &identity.key);
    let ca = scratch.write("ca.pem", &authority.pem);
    (Proxy::start_in(scratch, kdl), ca)
}

/// The targets in the access log, as the proxy was asked for them.
fn targets(proxy: &Proxy) -> Vec<String> {
    let lines = proxy.stop_and_read();
    lines.iter().map(|line| line["target"].as_str().expect("target").to_owned()).collect()
}

#[test]
fn reverse_http() {
    let program = curl_or_skip!();
    let origin = Web::start();
    let proxy = reverse(&origin);
    let at = format!("http://{}", proxy.first());
    let seen = curl(&program).arg(format!("{at}/seen?a=%2F%20b")).finish().ok();
    assert!(seen.starts_with("GET /seen?a=%2F%20b HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{seen}");
    let head = curl(&program).args(["--head", &format!("{at}/large?1234")]).finish().ok();
    assert!(head.contains("Content-Length: 1234\r\n"), "{head}");
    assert!(!head.contains("Server: web"), "{head}");
    for version in ["--http1.0", "--http1.1", "--http2"] {
        let said = curl(&program).args([version, &format!("{at}/hello")]).finish().ok();
        assert_eq!(said, "hello from the origin\n", "{version}");
    }
    let two = curl(&program).args([&format!("{at}/hello"), &format!("{at}/hello")]);
    let said = two.args(["-w", "%{num_connects}\n"]).finish().ok();
    assert_eq!(said, "hello from the origin\n1\nhello from the origin\n0\n", "one connection");
}

#[test]
fn reverse_https() {
    let program = curl_or_skip!();
    let authority = Authority::new("test");
    let identity = authority.issue(&["secure.example"]);
    let web = authority.issue(&["127.0.0.1"]);
    let origin = Web::start_tls(web.server(None));
    let kdl = format!(
        "site \"https://secure.example:0\" listen=\"127.0.0.1:0\" {{
            tls cert=\"cert.pem\" key=\"key.pem\"
            to \"{}\" {{ tls ca=\"ca.pem\" }}
        }}",
        origin.url("")
    );
    let (proxy, ca) = secure(&identity, &authority, &kdl);
    let port = proxy.first().port();
    for version in ["1.2", "1.3"] {
        let said = curl(&program)
            .arg("--cacert")
            .arg(&ca)
            .args(["--resolve", &format!("secure.example:{port}:127.0.0.1")])
            .args([&format!("--tlsv{version}"), "--tls-max", version])
            .arg(format!("https://secure.example:{port}/seen"))
            .finish()
            .ok();
        assert!(said.contains("X-Forwarded-Proto: https\r\n"), "{said}");
        assert!(said.contains(&format!("Host: secure.example:{port}\r\n")), "{said}");
    }
    let lines = proxy.stop_and_read();
    assert_eq!(lines[0]["tls_version"], "TLSv1.2");
    assert_eq!(lines[1]["tls_version"], "TLSv1.3");
}

/// Each way through the forward face: the options of curl, and the target it is expected to
/// ask the proxy for, where `PORT` stands for the origin's.
#[test]
fn forward_to_http() {
    let program = curl_or_skip!();
    let origin = Web::start();
    let port = origin.address().port();
    let ways = [
        ("http", "", "http://origin.localhost:PORT/seen"),
        ("http", "--proxytunnel", "origin.localhost:PORT"),
        // These resolve the name themselves.
        ("socks4", "", "127.0.0.1:PORT"),
        ("socks5", "", "127.0.0.1:PORT"),
        // These leave it to the proxy.
        ("socks4a", "", "origin.localhost:PORT"),
        ("socks5h", "", "origin.localhost:PORT"),
    ];
    for (scheme, option, target) in ways {
        let proxy = forward("");
        let seen = curl(&program)
            .args(["--proxy", &format!("{scheme}://{}", proxy.first())])
            .args(["--resolve", &format!("origin.localhost:{port}:127.0.0.1")])
            .args(Some(option).filter(|option| !option.is_empty()))
            .arg(origin.url_of("origin.localhost", "/seen"))
            .finish()
            .ok();
        assert!(seen.starts_with("GET /seen HTTP/1.1\r\n"), "{scheme} {option}: {seen}");
        assert!(!seen.contains("Proxy-"), "{scheme} {option}: {seen}");
        assert_eq!(targets(&proxy), [target.replace("PORT", &port.to_string())], "{scheme}");
    }
}

#[test]
fn forward_to_https() {
    let program = curl_or_skip!();
    let authority = Authority::new("test");
    let origin = Web::start_tls(authority.issue(&["origin.localhost"]).server(None));
    let ca = Scratch::new();
    let ca = ca.write("ca.pem", &authority.pem);
    for scheme in ["http", "socks4a", "socks5h"] {
        let proxy = forward("");
        let said = curl(&program)
            .args(["--proxy", &format!("{scheme}://{}", proxy.first())])
            .arg("--cacert")
            .arg(&ca)
            .arg(origin.url_of("origin.localhost", "/hello"))
            .finish();
        assert_eq!(said.ok(), "hello from the origin\n", "{scheme}");
    }
}

#[test]
fn forward_over_tls() {
    let program = curl_or_skip!();
    let authority = Authority::new("test");
    let plain = Web::start();
    let secret = Web::start_tls(authority.issue(&["127.0.0.1"]).server(None));
    let kdl = "forward \"127.0.0.1:0\" {
        tls cert=\"cert.pem\" key=\"key.pem\"
        allow \"127.0.0.0/8\"
    }";
    let (proxy, ca) = secure(&authority.issue(&["localhost"]), &authority, kdl);
    let through = |more: &[&str]| -> Said {
        curl(&program)
            .args(["--proxy", &format!("https://localhost:{}", proxy.first().port())])
            .args(["--proxy-cacert".as_ref(), ca.as_os_str(), "--cacert".as_ref(), ca.as_os_str()])
            .args(more)
            .finish()
    };
    assert_eq!(through(&[&plain.url("/hello")]).ok(), "hello from the origin\n");
    assert_eq!(through(&["-p", &plain.url("/hello")]).ok(), "hello from the origin\n");
    assert_eq!(through(&[&secret.url("/hello")]).ok(), "hello from the origin\n", "TLS in TLS");
    through(&["-o", "/dev/null", &secret.url("/large?9000000")]).ok();
}

#[test]
fn passwords_with_all_that_means_something() {
    let program = curl_or_skip!();
    let origin = Web::start();
    // Ten dashes, as session parameters of some providers have them.
    let user = "al-ice-a-b-c-d-e-f-g-h";
    let long = "x".repeat(230);
    let quoted = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
    for (password, written) in [(PASSWORD, &*quoted), (&*long, &*long)] {
        let proxy = Proxy::start(&format!(
            "users \"staff\" {{ user \"{user}\" password=\"{written}\" }}
            forward \"127.0.0.1:0\" {{ auth users=\"staff\"; allow \"127.0.0.0/8\" }}"
        ));
        let pair = format!("{user}:{password}");
        for scheme in ["http", "socks5h"] {
            for option in [None, Some("--proxytunnel")] {
                let said = curl(&program)
                    .args(["--proxy", &format!("{scheme}://{}", proxy.first())])
                    .args(["--proxy-user", &pair])
                    .args(option)
                    .arg(origin.url("/seen"))
                    .finish()
                    .ok();
                assert!(!said.contains("Authorization"), "{said}");
            }
        }
        // The same inside the URL of the proxy.
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let at = format!("http://{user}:{encoded}@{}", proxy.first());
        curl(&program).args(["--proxy", &at, &origin.url("/hello")]).finish().ok();
        let log = proxy.stop();
        assert!(log.iter().all(|line| line.contains(user)), "{log:?}");
        assert!(!log.iter().any(|line| line.contains(password)), "{log:?}");
    }
}

#[test]
fn credentials_that_are_missing_or_wrong() {
    let program = curl_or_skip!();
    let origin = Web::start();
    let proxy = Proxy::start(
        "users \"staff\" { user \"alice\" password=\"right\" }
        forward \"127.0.0.1:0\" { auth users=\"staff\"; allow \"127.0.0.0/8\" }",
    );
    let at = format!("http://{}", proxy.first());
    let through = |more: &[&str]| curl(&program).args(["--proxy", &at]).args(more).finish();
    let url = origin.url("/hello");
    let refused = through(&["-i", &url]).ok();
    assert!(refused.starts_with("HTTP/1.1 407 "), "{refused}");
    assert!(refused.contains("Proxy-Authenticate: Basic realm="), "{refused}");
    let wrong = through(&["-U", "alice:wrong", "-w", "%{http_code}", "-o", "/dev/null", &url]);
    assert_eq!(wrong.ok(), "407");
    let tunnel = through(&["-p", "-w", "%{http_connect}", &url]);
    assert_eq!(tunnel.code, Some(56), "{}", tunnel.text());
    assert_eq!(tunnel.out, "407");
    // Asked first without credentials, then with, over the same connection.
    for option in [None, Some("--proxytunnel")] {
        let said = curl(&program)
            .args(["--proxy", &at, "--proxy-anyauth", "-U", "alice:right"])
            .args(["-w", "%{http_code} %{num_connects}"])
            .args(option)
            .arg(&url)
            .finish()
            .ok();
        assert_eq!(said, "hello from the origin\n200 1", "{option:?}");
    }
    let socks = format!("socks5h://{}", proxy.first());
    for pair in [&[][..], &["-U", "alice:wrong"]] {
        let said = curl(&program).args(["--proxy", &socks, &url]).args(pair).finish();
        assert_eq!(said.code, Some(97), "{}", said.text());
    }
    assert_eq!(origin.heads().len(), 2, "nobody else got through");
}

#[test]
fn refused_targets_are_told() {
    let program = curl_or_skip!();
    let origin = Web::start();
    let proxy = Proxy::start("forward \"127.0.0.1:0\"");
    let at = format!("http://{}", proxy.first());
    let said = curl(&program).args(["--proxy", &at, "-i", &origin.url("/hello")]).finish().ok();
    assert!(said.starts_with("HTTP/1.1 403 "), "{said}");
    let tunnel = curl(&program).args(["--proxy", &at, "-p", &origin.url("/hello")]).finish();
    assert!(tunnel.err.contains("403"), "{}", tunnel.text());
    let socks = format!("socks5h://{}", proxy.first());
    let said = curl(&program).args(["--proxy", &socks, &origin.url("/hello")]).finish();
    assert_eq!(said.code, Some(97), "{}", said.text());
    assert!(origin.heads().is_empty());
}

#[test]
fn uploads_in_chunks_and_with_expect() {
    let program = curl_or_skip!();
    let origin = Web::start();
    let (face, other) = (reverse(&origin), forward(""));
    let files = Scratch::new();
    let file = files.path().join("body");
    let size = 3_000_001;
    Pattern::new().write_file(&file, size);
    let expected = format!("{size} bytes, right: true");
    let proxy = format!("http://{}", other.first());
    let ways: [(String, &[&str]); 2] =
        [(format!("http://{}", face.first()), &[]), (origin.url(""), &["--proxy", &proxy])];
    for (at, options) in ways {
        let run = || curl(&program).args(options).args(["--expect100-timeout", "60"]);
        let url = format!("{at}/upload");
        // From a pipe, curl does not know the length.
        let chunked = run().args(["-T", "-", &url]).stdin(&file).finish().ok();
        assert_eq!(chunked, expected);
        let head = origin.heads().pop().expect("a request");
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        // Would take a minute if the 100 did not come.
        let started = std::time::Instant::now();
        let said = run().args(["-v", "-H", "Expect: 100-continue", &url, "-T"]).arg(&file).finish();
        assert!(said.err.contains("< HTTP/1.1 100 Continue"), "{}", said.err);
        assert_eq!(said.ok(), expected);
        assert!(started.elapsed().as_secs() < 50);
        // Refused before the body was sent.
        let said = run()
            .args(["-H", "Expect: 100-continue", "-w", "%{http_code} %{size_upload}"])
            .args([&format!("{at}/refuse"), "-T"])
            .arg(&file)
            .finish();
        assert_eq!(said.ok(), "413 0");
    }
}

#[test]
fn bodies_of_all_kinds_come_down() {
    let program = curl_or_skip!();
    let origin = Web::start();
    let (face, other) = (reverse(&origin), forward(""));
    let proxy = format!("http://{}", other.first());
    let ways: [(String, &[&str]); 3] = [
        (format!("http://{}", face.first()), &[]),
        (origin.url(""), &["--proxy", &proxy]),
        (origin.url(""), &["--proxy", &proxy, "-p"]),
    ];
    for (at, options) in ways {
        for path in ["/chunked?700001", "/until-close?700001", "/large?700001", "/large?0"] {
            for version in ["--http1.1", "--http1.0"] {
                let run = curl(&program).args(options).args([version, "-o", "body"]);
                let said = run.arg(format!("{at}{path}")).finish();
                assert_eq!(said.code, Some(0), "{path} {version} {options:?}: {}", said.text());
                let count = path.split_once('?').expect("query").1.parse().expect("number");
                Pattern::new().check(&said.file("body"), count);
            }
        }
    }
}

#[test]
fn more_than_memory_should_hold_goes_both_ways() {
    let program = curl_or_skip!();
    let authority = Authority::new("test");
    let origin = Web::start();
    let pattern = Pattern::new();
    let kdl = format!(
        "site \"http://127.0.0.1:0\" {{ limits {{ body \"unlimited\" }}; to \"{0}\" }}
        site \"https://secure.example:0\" listen=\"127.0.0.2:0\" {{
            tls cert=\"cert.pem\" key=\"key.pem\"
            limits {{ body \"unlimited\" }}
            to \"{0}\"
        }}
        forward \"127.0.0.3:0\" {{ allow \"127.0.0.0/8\" }}",
        origin.url("")
    );
    let (proxy, ca) = secure(&authority.issue(&["secure.example"]), &authority, &kdl);
    let addresses = proxy.server().addresses();
    let on = |ip: &str| {
        addresses.iter().map(|bound| bound.address).find(|a| a.ip().to_string() == ip).expect(ip)
    };
    let (plain, tls, forward) = (on("127.0.0.1"), on("127.0.0.2"), on("127.0.0.3"));
    let (http, socks) = (format!("http://{forward}"), format!("socks5h://{forward}"));
    let resolve = format!("secure.example:{}:127.0.0.2", tls.port());
    let ca = ca.to_str().expect("UTF-8");
    let ways: [(String, &[&str]); 5] = [
        (format!("http://{plain}"), &[]),
        (
            format!("https://secure.example:{}", tls.port()),
            &["--cacert", ca, "--resolve", &resolve],
        ),
        (origin.url(""), &["--proxy", &http]),
        (origin.url(""), &["--proxy", &http, "--proxytunnel"]),
        (origin.url(""), &["--proxy", &socks]),
    ];
    let files = Scratch::new();
    let file = files.path().join("body");
    pattern.write_file(&file, LARGE);
    for (at, options) in ways {
        let down =
            curl(&program).args(options).args(["-o", "body", &format!("{at}/large?{LARGE}")]);
        let down = down.finish();
        assert_eq!(down.code, Some(0), "{at} {options:?}: {}", down.text());
        pattern.check(&down.file("body"), LARGE);
        let up = curl(&program).args(options).arg(format!("{at}/upload")).arg("-T").arg(&file);
        assert_eq!(up.finish().ok(), format!("{LARGE} bytes, right: true"), "{at} {options:?}");
    }
}

#[test]
fn what_is_not_for_us_goes_through_untouched() {
    let program = curl_or_skip!();
    let origin = Web::start();
    let proxy = forward("");
    let at = format!("http://{}", proxy.first());
    // A PROXY header for the server at the end of the tunnel.
    let said = curl(&program)
        .args(["--proxy", &at, "-p", "--haproxy-protocol", &origin.url("/hello")])
        .finish()
        .ok();
    assert_eq!(said, "hello from the origin\n");
    assert!(origin.heads()[0].starts_with("PROXY TCP4 127.0.0.1 "), "{:?}", origin.heads());
    // Fields for the proxy stay with the proxy, and nothing else changes.
    let said = curl(&program)
        .args(["--proxy", &at, "-p", "--suppress-connect-headers", "-i"])
        .args(["--proxy-header", "X-For-The-Proxy: 1", "-H", "X-Odd: a ,b;;c"])
        .arg(origin.url("/seen"))
        .finish()
        .ok();
    assert!(said.starts_with("HTTP/1.1 200 Status\r\nServer: web\r\n"), "{said}");
    assert!(said.contains("X-Odd: a ,b;;c\r\n"), "{said}");
    assert!(!said.contains("X-For-The-Proxy") && !said.contains("Via"), "{said}");
}

#[test]
fn ipv6_literals_are_targets() {
    let program = curl_or_skip!();
    let Ok(origin) = Web::try_with("[::1]:0", None, |_, _| Response::not_found()) else {
        return println!("skipped: there is no IPv6 here");
    };
    for scheme in ["http", "socks5", "socks5h"] {
        for option in [None, Some("--proxytunnel")] {
            let proxy = forward("");
            let said = curl(&program)
                .args(["--globoff", "--proxy", &format!("{scheme}://{}", proxy.first())])
                .args(option)
                .arg(origin.url("/hello"))
                .finish();
            assert_eq!(said.ok(), "hello from the origin\n", "{scheme} {option:?}");
        }
    }
}

#[test]
fn a_hundred_at_once() {
    let program = curl_or_skip!();
    let origin = Web::start();
    let (face, other) = (reverse(&origin), forward(""));
    let proxy = format!("http://{}", other.first());
    let reversed = format!("http://{}/large?[100001-100100]", face.first());
    let direct = origin.url("/large?[100001-100100]");
    let ways: [&[&str]; 3] =
        [&[&reversed], &["--proxy", &proxy, &direct], &["--proxy", &proxy, "-p", &direct]];
    for options in ways {
        let run = curl(&program).args(["--parallel", "--parallel-immediate"]);
        let run = run.args(["--parallel-max", "100", "-o", "body-#1"]).args(options);
        let said = run.finish();
        assert_eq!(said.code, Some(0), "{}", said.text());
        for count in 100_001..=100_100 {
            Pattern::new().check(&said.file(&format!("body-{count}")), count);
        }
    }
}
