//! GNU Wget.

use testkit::{Authority, Proxy, Scratch};

use crate::program::Run;
use crate::program_or_skip;
use crate::web::{Pattern, Web};

#[test]
fn through_both_faces() {
    let program = program_or_skip!("BIFRONS_TEST_WGET", "wget");
    let authority = Authority::new("test");
    let plain = Web::start();
    let secret = Web::start_tls(authority.issue(&["origin.localhost"]).server(None));
    let files = Scratch::new();
    let ca = files.write("ca.pem", &authority.pem);
    let face = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", plain.url("")));
    let proxy = Proxy::start(
        "users \"staff\" { user \"alice\" password=\"p:@%/+\" }
        forward \"127.0.0.1:0\" { auth users=\"staff\"; allow \"127.0.0.0/8\" \"::1\" }",
    );
    let at = format!("http://{}", proxy.first());
    let wget = || {
        Run::new(&program)
            .args(["--no-config", "--no-hsts", "--tries=1", "--timeout=60", "-O", "body"])
            .arg(format!("--ca-certificate={}", ca.display()))
    };
    let said = wget().args(["--no-proxy", &format!("http://{}/chunked?99999", face.first())]);
    let said = said.finish();
    assert_eq!(said.code, Some(0), "{}", said.text());
    Pattern::new().check(&said.file("body"), 99_999);
    for origin in [&plain, &secret] {
        let through = || wget().env("http_proxy", &at).env("https_proxy", &at);
        let said = through()
            .args(["--proxy-user=alice", "--proxy-password=p:@%/+"])
            // The second comes over the kept connection.
            .arg(origin.url_of("origin.localhost", "/large?70001"))
            .arg(origin.url_of("origin.localhost", "/large?70001"))
            .finish();
        assert_eq!(said.code, Some(0), "{}", said.text());
        let body = said.file("body");
        Pattern::new().check(&body[..70_001], 70_001);
        Pattern::new().check(&body[70_001..], 70_001);
        let refused = through().arg(origin.url_of("origin.localhost", "/hello")).finish();
        assert_ne!(refused.code, Some(0));
        assert!(refused.err.contains("Proxy Authentication Required"), "{}", refused.text());
    }
    assert!(!plain.heads().iter().any(|head| head.contains("Proxy-")), "{:?}", plain.heads());
}
