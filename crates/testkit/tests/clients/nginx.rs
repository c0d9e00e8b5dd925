//! nginx on both sides: as the origin behind the proxy, and as the proxy in front of it.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Peer, Proxy, Scratch, reserve};

use crate::program::Running;
use crate::program_or_skip;
use crate::web::Pattern;

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
    let config = files.write(
        "nginx.conf",
        format!(
            "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/error.log;
            events {{ worker_connections 64; }}
            http {{
                access_log off; client_body_temp_path {0}; proxy_temp_path {0};
                fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};
                types {{ text/html html; }}
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
                }}
            }}",
            folder.display(),
            proxy.first()
        ),
    );
    let child = Command::new(&program)
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx");
    let _running = Running(child);
    let started = Instant::now();
    while TcpStream::connect(front).is_err() {
        let log = || std::fs::read_to_string(folder.join("error.log")).unwrap_or_default();
        assert!(started.elapsed() < Duration::from_secs(20), "nginx does not listen: {}", log());
        std::thread::yield_now();
    }
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
