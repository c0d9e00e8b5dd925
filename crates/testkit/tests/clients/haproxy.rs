//! HAProxy on both sides, which speaks HTTP/2 with clients and with servers.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Authority, Peer, Proxy, Scratch, reserve};

use crate::curl::curl;
use crate::program::Running;
use crate::program_or_skip;
use crate::web::{Pattern, Web};

/// A client of any version, HAProxy, HTTP/2, the proxy, HTTP/2, HAProxy, and a server of HTTP/1.1;
/// without TLS, and with it on both sides of the proxy.
#[test]
fn haproxy_before_and_behind() {
    let program = program_or_skip!("BIFRONS_TEST_HAPROXY", "haproxy");
    let client = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let authority = Authority::new("test");
    let web = Web::start();
    let [plain, secure, plain_origin, secure_origin] = [(); 4].map(|()| reserve());
    let identity = authority.issue(&[&secure_origin.ip().to_string(), "127.0.0.1"]);
    let scratch = Scratch::new();
    scratch.write("cert.pem", &identity.cert);
    scratch.write("key.pem", &identity.key);
    scratch.write("ca.pem", &authority.pem);
    let pair = scratch.write("pair.pem", format!("{}{}", identity.cert, identity.key));
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "trust \"127.0.0.0/8\"
            site \"http://127.0.0.1:0\" {{ to \"h2c://{plain_origin}\" }}
            site \"https://127.0.0.1:0\" {{
                tls cert=\"cert.pem\" key=\"key.pem\"
                to \"h2://{secure_origin}\" {{ tls ca=\"ca.pem\" }}
            }}"
        ),
    );
    let files = Scratch::new();
    let config = files.write(
        "haproxy.cfg",
        format!(
            "defaults
 mode http
 timeout connect 10s
 timeout client 60s
 timeout server 60s
frontend plain
 bind {plain}
 default_backend plain
backend plain
 server bifrons {} proto h2
frontend secure
 bind {secure}
 default_backend secure
backend secure
 server bifrons {} ssl verify none alpn h2
frontend plain_origin
 bind {plain_origin} proto h2
 default_backend web
frontend secure_origin
 bind {secure_origin} ssl crt {} alpn h2
 default_backend web
backend web
 server web {}
",
            proxy.address("http://"),
            proxy.address("https://"),
            pair.display(),
            web.address(),
        ),
    );
    let child = Command::new(&program)
        .arg("-db")
        .arg("-f")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(files.path().join("log")).expect("log"))
        .spawn()
        .expect("haproxy");
    let _running = Running(child);
    let started = Instant::now();
    while std::net::TcpStream::connect(secure_origin).is_err() {
        let log = || std::fs::read_to_string(files.path().join("log")).unwrap_or_default();
        assert!(started.elapsed() < Duration::from_secs(20), "it does not listen: {}", log());
        std::thread::yield_now();
    }
    let body = files.path().join("body");
    let size = 5_000_003;
    Pattern::new().write_file(&body, size);
    for at in [plain, secure] {
        let url = |path: &str| format!("http://{at}{path}");
        for path in ["/large?5000003", "/chunked?5000003"] {
            let down = curl(&client).args(["-o", "got", &url(path)]).finish();
            assert_eq!(down.code, Some(0), "{path}: {}", down.text());
            Pattern::new().check(&down.file("got"), size);
        }
        for length in [true, false] {
            let up = curl(&client).arg(url("/upload")).arg("-T");
            let up = if length { up.arg(&body) } else { up.arg("-").stdin(&body) };
            assert_eq!(up.finish().ok(), format!("{size} bytes, right: true"));
        }
        let mut peer = Peer::connect(at);
        for _ in 0..3 {
            peer.send("GET /seen HTTP/1.1\r\nHost: a.example\r\nCookie: a=1; b=2\r\n\r\n");
            let seen = peer.recv_response().body_text().to_lowercase();
            assert!(seen.contains("host: a.example\r\n"), "{seen}");
            assert!(seen.contains("cookie: a=1; b=2\r\n"), "{seen}");
        }
        let many = ["--parallel", "--parallel-immediate", "--parallel-max", "50", "-o", "got-#1"];
        let said = curl(&client).args(many).arg(url("/large?[30001-30100]")).finish();
        assert_eq!(said.code, Some(0), "{}", said.text());
        for count in 30_001..=30_100 {
            Pattern::new().check(&said.file(&format!("got-{count}")), count);
        }
    }
    let lines = proxy.stop_and_read();
    assert_eq!(lines.len(), 2 * 107);
    for line in lines {
        assert_eq!(line["version"], "HTTP/2.0", "{line}");
        assert!(line.get("failure").is_none(), "{line}");
    }
}
