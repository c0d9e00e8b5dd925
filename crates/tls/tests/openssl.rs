//! A peer of another make: `openssl s_client` and `s_server`.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use config::UpstreamTls;
use support::*;
use tls::{ClientTls, Roots};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Whether the program is there; says so if not.
fn openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no openssl on this machine");
    }
    found
}

#[tokio::test]
async fn s_client_is_served_and_comes_back() {
    if !openssl() {
        return;
    }
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    let session = authority.dir.path().join("session.pem");
    for (version, resumed) in
        [("-tls1_3", false), ("-tls1_3", true), ("-tls1_2", false), ("-tls1_2", true)]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-quiet", "-verify_return_error", "-servername", "a.example"])
            .args(["-verify_hostname", "a.example", version, "-CAfile"])
            .arg(authority.ca().value)
            .arg("-connect")
            .arg(listener.local_addr().unwrap().to_string())
            .arg(if resumed { "-sess_in" } else { "-sess_out" })
            .arg(&session);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"question\n").unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        let mut io = BufReader::new(server.accept(tcp, b"").await.unwrap());
        assert_eq!(io.get_ref().info().unwrap().resumed, resumed, "{version}");
        let mut line = String::new();
        io.read_line(&mut line).await.unwrap();
        assert_eq!(line, "question\n");
        io.write_all(b"answer\n").await.unwrap();
        io.shutdown().await.unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"answer\n", "{version}");
        drop(stdin);
    }
}

#[tokio::test]
async fn s_server_is_reached() {
    if !openssl() {
        return;
    }
    let authority = Authority::new("root");
    let files = authority.issue(&["a.example"]);
    let tls = UpstreamTls { ca: Some(authority.ca()), ..UpstreamTls::default() };
    let client = ClientTls::build(&tls, &Roots::system(), &[]).unwrap();
    // s_server says which port it took: `ACCEPT 127.0.0.1:PORT`.
    let mut child = reversing_server(&files);
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let port = loop {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
        if let Some((_, port)) = line.strip_prefix("ACCEPT").and_then(|rest| rest.rsplit_once(':'))
        {
            break port.trim().parse::<u16>().unwrap();
        }
        assert!(!line.is_empty(), "s_server ended");
    };
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut io = client.connect(tcp, "a.example").await.unwrap();
    io.write_all(b"abc\n").await.unwrap();
    io.flush().await.unwrap();
    let mut answer = [0; 4];
    io.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"cba\n");
    io.shutdown().await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

fn reversing_server(files: &config::CertificateFiles) -> std::process::Child {
    Command::new("openssl")
        .args(["s_server", "-rev", "-naccept", "1", "-accept", "127.0.0.1:0", "-cert"])
        .arg(&files.cert.value)
        .arg("-key")
        .arg(&files.key.value)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
