//! The PROXY protocol with those who speak it: HAProxy before us, nginx behind us.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Origin, Peer, Proxy, Scratch, reserve};

use crate::program::Running;
use crate::program_or_skip;

/// Starts a server, and waits until it listens.
pub fn start(command: &mut Command, listens: SocketAddr, log: &Path) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let said = std::fs::File::create(log).expect("log");
    let running = Running(command.stderr(said).spawn().expect("start"));
    let started = Instant::now();
    while TcpStream::connect(listens).is_err() {
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(started.elapsed() < Duration::from_secs(20), "it does not listen: {}", said());
        std::thread::yield_now();
    }
    running
}

#[test]
fn haproxy_tells_whose_connection_it_is() {
    let program = program_or_skip!("BIFRONS_TEST_HAPROXY", "haproxy");
    let origin = Origin::serve(|request| {
        let body = request.get("X-Forwarded-For").unwrap_or_default();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
    });
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ to \"{}\"; proxy-protocol \"127.0.0.0/8\" }}",
        origin.url()
    ));
    let files = Scratch::new();
    for sends in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    ] {
        let front = reserve();
        let config = files.write(
            "haproxy.cfg",
            format!(
                "defaults\n mode tcp\n timeout connect 10s\n timeout client 10s\n timeout server 10s\n\
                 frontend front\n bind {front}\n unique-id-format %pid-%rt\n default_backend bifrons\n\
                 backend bifrons\n server bifrons {} {sends} source 127.0.0.9\n",
                proxy.first()
            ),
        );
        let log = files.path().join("haproxy.log");
        let _running = start(Command::new(&program).arg("-db").arg("-f").arg(&config), front, &log);
        let mut client = Peer::connect(front);
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let response = client.recv_response();
            assert_eq!(response.status(), 200, "{sends}: {}", response.text());
            // Not 127.0.0.9, from where HAProxy connects.
            assert_eq!(response.body_text(), client.local_address().ip().to_string(), "{sends}");
        }
    }
}

#[test]
fn nginx_is_told_whose_connection_it_is() {
    let program = program_or_skip!("BIFRONS_TEST_NGINX", "nginx");
    let (origin, files) = (reserve(), Scratch::new());
    let config = files.write(
        "nginx.conf",
        format!(
            "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/error.log;
            events {{ worker_connections 64; }}
            http {{
                access_log off; client_body_temp_path {0}; proxy_temp_path {0};
                fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};
                server {{
                    listen {origin} proxy_protocol;
                    return 200 \"$proxy_protocol_addr $proxy_protocol_port \
                        $proxy_protocol_server_addr $proxy_protocol_server_port\";
                }}
            }}",
            files.path().display()
        ),
    );
    let mut command = Command::new(&program);
    command.arg("-p").arg(files.path()).arg("-c").arg(&config);
    let _running = start(&mut command, origin, &files.path().join("nginx.log"));
    for version in ["v1", "v2"] {
        let to = format!("{origin}\" {{ proxy-protocol \"{version}\" }}");
        let proxy = Proxy::start(&format!(
            "site \"http://127.0.0.1:0\" {{ to \"http://{to} }}\n\
             tunnel \"127.0.0.1:0\" {{ to \"tcp://{to} }}"
        ));
        for address in [proxy.address("http:"), proxy.address("127.0.0.1:0")] {
            let mut client = Peer::connect(address);
            for _ in 0..2 {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                let response = client.recv_response();
                assert_eq!(response.status(), 200, "{version}: {}", response.text());
                let from = client.local_address();
                let told = format!("127.0.0.1 {} 127.0.0.1 {}", from.port(), address.port());
                let words: Vec<_> =
                    response.body_text().split_whitespace().map(str::to_owned).collect();
                assert_eq!(words.join(" "), told, "{version}");
            }
        }
    }
}
