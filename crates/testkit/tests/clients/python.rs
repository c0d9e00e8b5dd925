//! Python's requests, which speaks through urllib3, http.client and PySocks.

use std::path::{Path, PathBuf};

use testkit::{Authority, Proxy, Scratch};

use crate::curl::forward;
use crate::program::Run;
use crate::web::Web;

/// `client.py METHOD URL [BYTES]` prints the status, a line, and the body; the proxy is in the
/// environment, as scripts get it.
const CLIENT: &str = r#"
import sys, requests
method, url = sys.argv[1:3]
with requests.Session() as session:
    if len(sys.argv) > 3:
        data = open(sys.argv[3], "rb")
        answer = session.request(method, url, data=data, timeout=60)
    elif method == "CHUNKED":
        answer = session.post(url, data=iter([b"one", b"two", b"three"]), timeout=60)
    else:
        answer = session.request(method, url, timeout=60)
        if answer.ok:
            answer = session.request(method, url, timeout=60)
    print(answer.status_code)
    print(answer.text, end="")
"#;

fn python() -> Option<PathBuf> {
    crate::program::python("requests, socks")
}

fn client(python: &Path, args: &[&str]) -> Run {
    Run::new(python).args(["-c", CLIENT]).args(args)
}

#[test]
fn through_the_forward_face() {
    let Some(python) = python() else { return };
    let authority = Authority::new("test");
    let (plain, secret) = (
        Web::start(),
        Web::start_tls(authority.issue(&["localhost", "origin.localhost"]).server(None)),
    );
    let files = Scratch::new();
    let ca = files.write("ca.pem", &authority.pem);
    let user = "al-ice";
    let password = "p:@%/+ \u{e9}";
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    // With `socks5` the client resolves the name, which is all that every machine can.
    for (scheme, name) in
        [("http", "origin.localhost"), ("socks5", "localhost"), ("socks5h", "origin.localhost")]
    {
        let proxy = Proxy::start(&format!(
            "users \"staff\" {{ user \"{user}\" password=\"{password}\" }}
            forward \"127.0.0.1:0\" {{
                auth users=\"staff\"
                allow \"127.0.0.0/8\" \"::1\"
                anonymity \"elite\"
            }}"
        ));
        let at = format!("{scheme}://{user}:{encoded}@{}", proxy.first());
        for (origin, path) in [(&plain, "/seen"), (&secret, "/seen"), (&plain, "/upload")] {
            let url = origin.url_of(name, path);
            let method = if path == "/upload" { "CHUNKED" } else { "GET" };
            let said = client(&python, &[method, &url])
                .env("http_proxy", &at)
                .env("https_proxy", &at)
                .env("REQUESTS_CA_BUNDLE", &ca)
                .finish()
                .ok();
            assert!(said.starts_with("200\n"), "{scheme} {url}: {said}");
            assert!(!said.contains("Proxy-"), "{scheme} {url}: {said}");
            assert!(!said.to_lowercase().contains("via:"), "{scheme} {url}: {said}");
        }
        if scheme != "socks5" {
            let log = proxy.stop_and_read();
            let named = |line: &serde_json::Value| {
                line["target"].as_str().is_some_and(|target| target.contains("origin.localhost"))
            };
            assert!(log.iter().all(named), "the proxy resolves the name: {log:?}");
        }
    }
}

#[test]
fn without_credentials() {
    let Some(python) = python() else { return };
    let origin = Web::start();
    let proxy = Proxy::start(
        "users \"staff\" { user \"alice\" password=\"right\" }
        forward \"127.0.0.1:0\" { auth users=\"staff\"; allow \"127.0.0.0/8\" }",
    );
    let at = format!("http://alice:wrong@{}", proxy.first());
    let said = client(&python, &["GET", &origin.url("/hello")]).env("http_proxy", &at).finish();
    assert!(said.ok().starts_with("407\n"));
    assert!(origin.heads().is_empty());
}

#[test]
fn large_bodies_and_the_reverse_face() {
    let Some(python) = python() else { return };
    let origin = Web::start();
    let files = Scratch::new();
    let file = files.path().join("body");
    let size = 5_000_011;
    crate::web::Pattern::new().write_file(&file, size);
    let other = forward("");
    let face =
        Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url("")));
    let at = format!("http://{}", other.first());
    let reversed = format!("http://{}/upload", face.first());
    for (url, proxy) in [(reversed, ""), (origin.url("/upload"), &*at)] {
        let path = file.to_str().expect("UTF-8");
        let said = client(&python, &["PUT", &url, path]).env("http_proxy", proxy).finish().ok();
        assert_eq!(said, format!("200\n{size} bytes, right: true"), "{url}");
    }
}
