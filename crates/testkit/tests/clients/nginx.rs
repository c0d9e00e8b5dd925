//! nginx on both sides: as the origin behind the proxy, and as the proxy in front of it.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Authority, Peer, Proxy, Scratch, reserve};

use crate::curl::curl;
use crate::front::Front;
use crate::program::Running;
use crate::web::{Pattern, Web};
use crate::{grpc, http2, program_or_skip, websocket};

/// Writes a configuration with this inside of `http`. All that nginx writes stays in the folder.
fn configure(files: &Scratch, http: &str) -> PathBuf {
    files.write(
        "nginx.conf",
        format!(
            "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/error.log;
            events {{ worker_connections 4096; }}
            http {{
                access_log off; client_body_temp_path {0}; proxy_temp_path {0};
                fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};
                {http}
            }}",
            files.path().display()
        ),
    )
}

/// Starts nginx, and waits until it listens.
fn start(program: &Path, folder: &Path, config: &Path, listens: SocketAddr) -> Running {
    let child = Command::new(program)
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(folder.join("said")).expect("create"))
        .spawn()
        .expect("nginx");
    let running = Running(child);
    let started = Instant::now();
    while TcpStream::connect(listens).is_err() {
        let log = || std::fs::read_to_string(folder.join("said")).unwrap_or_default();
        assert!(started.elapsed() < Duration::from_secs(20), "nginx does not listen: {}", log());
        std::thread::yield_now();
    }
    running
}

#[test]
fn nginx_before_and_behind() {
    let program = program_or_skip!("BIFRONS_TEST_NGINX", "nginx");
    let (front, origin) = (reserve(), reserve());
    let proxy = Proxy::start(&format!(
        "trust \"127.0.0.0/8\"\nsite \"http://127.0.0.1:0\" {{ to \"http://{origin}\" }}"
    ));
    let files = Scratch::new();
    let folder = files.path();
    Pattern::new().write_file(&folder.join("large"), 3_000_001);
    std::fs::write(folder.join("page.html"), "<p>page</p>".repeat(1000)).expect("write");
    let config = configure(
        &files,
        &format!(
            "types {{ text/html html; }}
            gzip on; gzip_proxied any;
            upstream bifrons {{ server {1}; keepalive 4; }}
            server {{
                listen {origin};
                root {0};
                location = /seen {{ return 200 $http_x_forwarded_for; }}
            }}
            server {{
                listen {front};
                client_max_body_size 0;
                # As nginx speaks unless told otherwise: HTTP/1.0, a connection each.
                location / {{
                    proxy_pass http://bifrons;
                    proxy_set_header X-Forwarded-For 192.0.2.1;
                }}
                location /kept/ {{
                    proxy_pass http://bifrons/; proxy_http_version 1.1;
                    proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
                }}
            }}",
            folder.display(),
            proxy.first()
        ),
    );
    let _running = start(&program, folder, &config, front);
    for address in [front, proxy.first()] {
        let mut client = Peer::connect(address);
        let mut get = |target: &str, fields: &str| {
            client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
            client.recv_response()
        };
        let large = get("/large", "");
        assert_eq!(large.status(), 200, "{}", large.text());
        Pattern::new().check(&large.body, 3_000_001);
        let range = get("/large", "Range: bytes=70000-80000\r\n");
        assert_eq!(range.status(), 206, "{}", range.text());
        assert!(Pattern::new().matches(70_000, &range.body));
        let page = get("/page.html", "Accept-Encoding: gzip\r\n");
        assert_eq!(page.get("Content-Encoding").as_deref(), Some("gzip"), "{}", page.text());
        assert_eq!(page.body[..2], [0x1f, 0x8b], "chunks are taken apart rightly");
        let tag = page.get("ETag").expect("ETag");
        let fresh = get("/page.html", &format!("If-None-Match: {tag}\r\n"));
        assert_eq!(fresh.status(), 304, "{}", fresh.text());
        assert_eq!(get("/none", "").status(), 404, "the connection is still in step");
        if address == front {
            assert_eq!(get("/seen", "").body_text(), "192.0.2.1, 127.0.0.1", "the chain of trust");
            for _ in 0..3 {
                assert_eq!(get("/kept/page.html", "").body.len(), 11_000);
            }
        }
    }
}

/// nginx that speaks HTTP/2, without TLS and with it, before `behind`.
struct Http2 {
    plain: SocketAddr,
    secure: SocketAddr,
    files: Scratch,
    _running: Running,
}

impl Http2 {
    /// With four requests at once on a connection, which ends with GOAWAY after fifty.
    fn start(program: &Path, authority: &Authority, behind: SocketAddr) -> Self {
        let (plain, secure) = (reserve(), reserve());
        let files = Scratch::new();
        let identity = authority.issue(&[&secure.ip().to_string()]);
        files.write("cert.pem", &identity.cert);
        files.write("key.pem", &identity.key);
        let config = configure(
            &files,
            &format!(
                "upstream behind {{ server {behind}; keepalive 16; }}
                map $http_upgrade $wanted {{ default \"\"; websocket upgrade; }}
                server {{
                    listen {plain} http2;
                    listen {secure} ssl http2;
                    ssl_certificate cert.pem; ssl_certificate_key key.pem;
                    keepalive_requests 50;
                    http2_max_concurrent_streams 4;
                    client_max_body_size 0;
                    location = /version {{ return 200 $server_protocol; }}
                    location / {{
                        proxy_pass http://behind; proxy_http_version 1.1;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection $wanted;
                        proxy_request_buffering off;
                    }}
                }}"
            ),
        );
        let _running = start(program, files.path(), &config, plain);
        Self { plain, secure, files, _running }
    }

    /// A proxy before it: without TLS, and with TLS and this scheme.
    fn behind(&self, authority: &Authority, scheme: &str) -> Front {
        Front::with(
            authority,
            &format!("to \"h2c://{}\"", self.plain),
            &format!("to \"{scheme}://{}\" {{ tls ca=\"ca.pem\" }}", self.secure),
        )
    }
}

#[test]
fn nginx_is_spoken_to_in_http2() {
    let program = program_or_skip!("BIFRONS_TEST_NGINX", "nginx");
    let client = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let authority = Authority::new("test");
    let web = Web::start();
    let nginx = Http2::start(&program, &authority, web.address());
    let body = nginx.files.path().join("body");
    let size = 5_000_003;
    Pattern::new().write_file(&body, size);
    for scheme in ["h2", "https"] {
        let front = nginx.behind(&authority, scheme);
        for at in [front.http(""), front.https("")] {
            for version in ["--http1.1", "--http2"] {
                let run = || curl(&client).arg(version).arg("--cacert").arg(&front.ca);
                let said = run().arg(format!("{at}/version")).finish().ok();
                assert_eq!(said, "HTTP/2.0", "{scheme} {at}");
                let down = run().args(["-o", "got", &format!("{at}/large?{size}")]).finish();
                assert_eq!(down.code, Some(0), "{scheme} {at}: {}", down.text());
                Pattern::new().check(&down.file("got"), size);
                let up = run().arg(format!("{at}/upload")).arg("-T").arg(&body).finish().ok();
                assert_eq!(up, format!("{size} bytes, right: true"), "{scheme} {at}");
            }
        }
    }
}

/// Connections end under load, one after another, and no request fails for it.
#[test]
fn nginx_says_goaway_and_nothing_is_lost() {
    let program = program_or_skip!("BIFRONS_TEST_NGINX", "nginx");
    let client = program_or_skip!("BIFRONS_TEST_H2LOAD", "h2load");
    let authority = Authority::new("test");
    let web = Web::start();
    let nginx = Http2::start(&program, &authority, web.address());
    let front = nginx.behind(&authority, "h2");
    let mut said = Vec::new();
    for at in [front.http(""), front.https("")] {
        for path in ["/version", "/hello", "/large?20000"] {
            said.push(http2::load(&client, &["-c", "4", "-m", "16"], &format!("{at}{path}")));
        }
    }
    let lines = front.proxy.stop_and_read();
    let failed: Vec<_> = lines.iter().filter(|line| line.get("failure").is_some()).collect();
    assert!(failed.is_empty(), "{} of {}, such as {}", failed.len(), lines.len(), failed[0]);
    said.iter().for_each(|said| http2::check_load(said));
}

/// nginx knows WebSocket in HTTP/1.1 only, so a server whose version ALPN decides is asked for it
/// in that, while other requests go to it in HTTP/2.
#[test]
fn nginx_of_http2_carries_sockets_over_http1() {
    let program = program_or_skip!("BIFRONS_TEST_NGINX", "nginx");
    let Some((python, server, url)) = websocket::python_server() else { return };
    let authority = Authority::new("test");
    let behind = url.trim_start_matches("http://").parse().expect("an address");
    let nginx = Http2::start(&program, &authority, behind);
    let to = format!("to \"https://{}\" {{ tls ca=\"ca.pem\" }}", nginx.secure);
    let front = Front::with(&authority, &to, &to);
    websocket::python_talks(&python, &server, &front);
    if let Some(client) = crate::program::find("BIFRONS_TEST_CURL", &["curl"]) {
        let said = curl(&client).arg(front.http("/version")).finish().ok();
        assert_eq!(said, "HTTP/2.0");
    }
}

/// Chromium ends its side of the stream with its close frame, which nginx takes for a client that
/// is gone: it forgets the answer of its server. The answer has to reach the browser all the same.
#[test]
fn nginx_carries_the_sockets_of_a_browser() {
    let program = program_or_skip!("BIFRONS_TEST_NGINX", "nginx");
    let chromium =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let Some((_, server, url)) = websocket::python_server() else { return };
    let authority = Authority::new("test");
    let behind = url.trim_start_matches("http://").parse().expect("an address");
    let nginx = Http2::start(&program, &authority, behind);
    let to = format!("to \"https://{}\" {{ tls ca=\"ca.pem\" }}", nginx.secure);
    websocket::chromium_talks(&chromium, &server, &authority, &to);
}

/// A client of gRPC, nginx, the proxy, nginx, and a server of gRPC; HTTP/2 all the way.
#[test]
fn nginx_passes_grpc_on() {
    let program = program_or_skip!("BIFRONS_TEST_NGINX", "nginx");
    let Some(python) = crate::program::python("grpc") else { return };
    let authority = Authority::new("test");
    let server = grpc::Server::start(&python, &authority);
    let (front, origin) = (reserve(), reserve());
    let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"h2c://{origin}\" }}"));
    let files = Scratch::new();
    let config = configure(
        &files,
        &format!(
            "upstream bifrons {{ server {}; keepalive 4; }}
            upstream behind {{ server {}; keepalive 4; }}
            client_max_body_size 0;
            server {{ listen {front} http2; location / {{ grpc_pass grpc://bifrons; }} }}
            server {{ listen {origin} http2; location / {{ grpc_pass grpc://behind; }} }}",
            proxy.first(),
            server.plain
        ),
    );
    let _running = start(&program, files.path(), &config, front);
    let none = files.path().join("none");
    for case in ["unary", "statuses", "large"] {
        let said = grpc::client(&python, case, &format!("http://{front}"), &none).finish();
        assert_eq!(said.out, "done\n", "{case}: {}", said.text());
    }
    let lines = proxy.stop_and_read();
    assert!(lines.iter().all(|line| line["version"] == "HTTP/2.0"), "{lines:?}");
}
