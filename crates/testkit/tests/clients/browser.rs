//! Chromium without a window, through both faces.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use testkit::{Authority, Proxy, Scratch};

use crate::program::{Beside, Run};
use crate::program_or_skip;
use crate::web::{Request, Response, Web};

/// A page that has to fetch the rest of itself: a script, which posts and shows the answer.
const PAGE: &str = "<!doctype html><title>waiting</title><p id=seen>nothing</p>\
    <script src=/app.js></script>";
const SCRIPT: &str = "
const parts = Array.from({ length: 12 }, (_, n) => fetch('/part?' + n).then((a) => a.text()));
Promise.all(parts).then(async (parts) => {
  const body = 'x'.repeat(300000);
  const posted = await fetch('/post', { method: 'POST', body }).then((a) => a.text());
  document.getElementById('seen').textContent = parts.join(' ') + ' posted ' + posted;
});
";
/// What the page has become once all of it has been fetched.
pub const SHOWN: &str = "part 0 part 1 part 2 part 3 part 4 part 5 part 6 part 7 part 8 part 9 \
    part 10 part 11 posted 300000";

/// The server of the page.
pub fn site(request: &Request, body: Vec<u8>) -> Response {
    match request.path() {
        "/" => Response::ok("text/html", PAGE),
        "/app.js" => Response::ok("text/javascript", SCRIPT),
        "/part" => Response::ok("text/plain", format!("part {}", request.query())),
        "/post" => Response::ok("text/plain", body.len().to_string()),
        _ => Response::not_found(),
    }
}

/// Chromium without a window, and without anything that it does unasked.
fn chromium(program: &Path) -> Run {
    let run = Run::new(program);
    let profile = format!("--user-data-dir={}", run.folder().join("profile").display());
    run.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
        .args(["--disable-component-update", "--disable-default-apps", "--disable-extensions"])
        .args(["--disable-dev-shm-usage", "--ignore-certificate-errors", &profile])
}

/// A browser that stays open at this page until it is dropped.
pub fn open(program: &Path, options: &[&str], url: &str) -> Beside {
    chromium(program).args(options).arg(url).start()
}

/// What the page has become once everything has been fetched.
pub fn dom(program: &Path, options: &[&str], url: &str) -> String {
    let said = chromium(program)
        // Time that passes only while nothing is being fetched.
        .args(["--virtual-time-budget=20000", "--dump-dom"])
        .args(options)
        .arg(url)
        .finish();
    said.ok()
}

#[test]
fn through_the_forward_face() {
    let program =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let authority = Authority::new("test");
    let tls = authority.issue(&["127.0.0.1"]).server(None);
    let plain = Web::with("127.0.0.1:0", None, site);
    let secret = Web::with("127.0.0.1:0", Some(tls), site);
    for scheme in ["http", "socks5"] {
        let proxy = crate::curl::forward("anonymity \"elite\"");
        let server = format!("--proxy-server={scheme}://{}", proxy.first());
        // Chromium goes to loopback directly unless told otherwise.
        let options = [&*server, "--proxy-bypass-list=<-loopback>"];
        for origin in [&plain, &secret] {
            let shown = dom(&program, &options, &origin.url("/"));
            assert!(shown.contains(SHOWN), "{scheme} {}: {shown}", origin.url("/"));
        }
        let log = proxy.stop_and_read();
        let tunnels = log.iter().filter(|line| line["method"] == "CONNECT").count();
        assert!(tunnels > 0, "{log:?}");
        if scheme == "http" {
            let pages = log.iter().filter(|line| line["method"] == "GET").count();
            assert!(pages >= 14, "{log:?}");
        }
    }
}

/// A proxy that it reaches over TLS is spoken to in HTTP/2, tunnels and plain requests alike.
#[test]
fn through_the_forward_face_over_http2() {
    let program =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let authority = Authority::new("test");
    let tls = authority.issue(&["127.0.0.1"]).server(None);
    let plain = Web::with("127.0.0.1:0", None, site);
    let secret = Web::with("127.0.0.1:0", Some(tls), site);
    let identity = authority.issue(&["127.0.0.1"]);
    let scratch = Scratch::new();
    scratch.write("cert.pem", &identity.cert);
    scratch.write("key.pem", &identity.key);
    let proxy = Proxy::start_in(
        scratch,
        "forward \"127.0.0.1:0\" {
            tls cert=\"cert.pem\" key=\"key.pem\"
            allow \"127.0.0.0/8\"
        }",
    );
    let server = format!("--proxy-server=https://{}", proxy.first());
    let options = [&*server, "--proxy-bypass-list=<-loopback>"];
    for origin in [&plain, &secret] {
        let shown = dom(&program, &options, &origin.url("/"));
        assert!(shown.contains(SHOWN), "{}: {shown}", origin.url("/"));
    }
    let log = proxy.stop_and_read();
    let of = |method: &str| log.iter().filter(|line| line["method"] == method).count();
    assert!(of("CONNECT") > 0 && of("GET") >= 14, "{log:?}");
    assert!(log.iter().all(|line| line["version"] == "HTTP/2.0"), "{log:?}");
}

/// An address of this machine that is no loopback address, which browsers go to directly whatever
/// a PAC file says.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only chooses an address.
    socket.connect("203.0.113.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn by_a_pac_file() {
    let program =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let Some(address) = outward() else { return println!("skipped: no address but loopback") };
    let authority = Authority::new("test");
    let tls = authority.issue(&["127.0.0.1"]).server(None);
    let plain = Web::with(&format!("{address}:0"), None, site);
    let secret = Web::with(&format!("{address}:0"), Some(tls), site);
    let cases = [
        (String::new(), true),
        ("direct \"192.0.2.250\" \"*.example\"".to_owned(), true),
        (format!("direct \"{address}\""), false),
    ];
    for (direct, through) in cases {
        let proxy = Proxy::start(&format!(
            "forward \"127.0.0.1:0\" {{ allow \"{address}\"; pac {{ {direct} }} }}"
        ));
        let pac = format!("--proxy-pac-url=http://{}/proxy.pac", proxy.first());
        for origin in [&plain, &secret] {
            let shown = dom(&program, &[&pac], &origin.url("/"));
            assert!(shown.contains(SHOWN), "{direct} {}: {shown}", origin.url("/"));
        }
        let log = proxy.stop_and_read();
        let asked = |line: &serde_json::Value, what: &str| line["target"].as_str() == Some(what);
        let files: Vec<_> = log.iter().filter(|line| asked(line, "/proxy.pac")).collect();
        assert!(!files.is_empty() && files.iter().all(|line| line["status"] == 200), "{log:?}");
        // What the browser does unasked goes through the proxy as well.
        let [page, tunnel] = [plain.url("/"), secret.address().to_string()];
        let used = |what: &str| log.iter().any(|line| asked(line, what));
        assert_eq!((used(&page), used(&tunnel)), (through, through), "{direct}: {log:?}");
    }
}

#[test]
fn through_the_reverse_face() {
    let program =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let authority = Authority::new("test");
    let identity = authority.issue(&["127.0.0.1"]);
    let scratch = Scratch::new();
    scratch.write("cert.pem", &identity.cert);
    scratch.write("key.pem", &identity.key);
    let origin = Web::with("127.0.0.1:0", None, site);
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "site \"http://127.0.0.1:0\" {{ to \"{0}\" }}
            site \"https://127.0.0.1:0\" {{ tls cert=\"cert.pem\" key=\"key.pem\"; to \"{0}\" }}",
            origin.url("")
        ),
    );
    for bound in proxy.server().addresses() {
        let scheme = if bound.name.contains("https") { "https" } else { "http" };
        let shown =
            dom(&program, &["--no-proxy-server"], &format!("{scheme}://{}/", bound.address));
        assert!(shown.contains(SHOWN), "{}: {shown}", bound.name);
    }
}
