//! Answers in other codings than those in which they came.

mod site;

use std::io::{Read, Write};

use testkit::{Message, Origin, Peer, Proxy, Served};

const TEXT: &str = "What is said again and again takes little room. ";

fn text() -> String {
    TEXT.repeat(200)
}

/// An origin that answers with text, and these fields.
fn texts(fields: &'static str) -> Served {
    Origin::serve(move |_| {
        let body = text();
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
             {fields}\r\n{body}"
        )
        .into()
    })
}

fn packing(origin: &Served, rules: &str) -> Proxy {
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ {rules}; to \"{}\"; }}", origin.url()))
}

/// The head of an answer, and its body whatever its framing.
fn ask(client: &mut Peer, target: &str, fields: &str) -> (Message, Vec<u8>) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let head = client.recv_head();
    let body = match head.get("Content-Length") {
        Some(length) => client.recv_exact(length.parse().unwrap()),
        None if head.has("Transfer-Encoding") => client.recv_chunked().0,
        None => Vec::new(),
    };
    (head, body)
}

fn unpack(coding: &str, body: &[u8]) -> String {
    let coding = coding::Coding::of_token(coding.as_bytes()).unwrap();
    let limits = coding::Limits { max_size: 1 << 20, max_ratio: 1000 };
    String::from_utf8(coding::decode_all(coding, limits, body).unwrap()).unwrap()
}

#[test]
fn the_best_coding_that_the_client_takes_is_sent() {
    let origin = texts("ETag: \"v\"\r\n");
    let proxy = packing(&origin, "compress \"zstd\" \"br\" \"gzip\"");
    let mut client = proxy.client();
    for (accepts, coding) in [
        ("gzip", "gzip"),
        ("gzip, br", "br"),
        ("gzip, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("*", "zstd"),
    ] {
        let (head, body) = ask(&mut client, "/", &format!("Accept-Encoding: {accepts}\r\n"));
        assert_eq!(head.get("Content-Encoding").as_deref(), Some(coding), "{accepts}");
        assert_eq!(head.get("ETag").as_deref(), Some("W/\"v\""));
        assert_eq!(head.get("Vary").as_deref(), Some("Accept-Encoding"));
        assert!(body.len() < text().len() / 10, "{} bytes", body.len());
        assert_eq!(unpack(coding, &body), text());
    }
    for accepts in ["", "Accept-Encoding: identity\r\n", "Accept-Encoding: gzip;q=0\r\n"] {
        let (head, body) = ask(&mut client, "/", accepts);
        assert!(!head.has("Content-Encoding"), "{accepts}");
        assert_eq!(head.get("Vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!((head.get("ETag").as_deref(), body), (Some("\"v\""), text().into_bytes()));
    }
}

#[test]
fn what_may_not_or_need_not_be_packed_is_not() {
    for fields in [
        "Cache-Control: no-transform\r\n",
        "Content-Encoding: br\r\n",
        "Content-Encoding: gzip, x-odd\r\n",
    ] {
        let origin = texts(fields);
        let proxy = packing(&origin, "compress");
        let (head, body) = ask(&mut proxy.client(), "/", "Accept-Encoding: gzip, br, zstd\r\n");
        assert_eq!(body, text().into_bytes(), "{fields}: {}", head.text());
        assert!(!head.has("Vary"), "{fields}");
    }
}

#[test]
fn what_a_client_cannot_unpack_is_unpacked() {
    let origin = Origin::serve(|_| {
        let packed = coding::encode_all(coding::Coding::Gzip, 6, text().as_bytes()).unwrap();
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\
             Content-Length: {}\r\nETag: \"v\"\r\n\r\n",
            packed.len()
        )
        .into_bytes();
        answer.extend(packed);
        answer
    });
    let proxy = packing(&origin, "compress");
    let mut client = proxy.client();
    let (head, body) = ask(&mut client, "/", "");
    assert!(!head.has("Content-Encoding"), "{}", head.text());
    assert_eq!(body, text().into_bytes());
    let (head, body) = ask(&mut client, "/", "Accept-Encoding: gzip\r\n");
    assert_eq!(head.get("Content-Encoding").as_deref(), Some("gzip"));
    assert_eq!((head.get("ETag").as_deref(), unpack("gzip", &body)), (Some("\"v\""), text()));
}

#[test]
fn events_are_flushed_as_they_come() {
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ compress \"gzip\"; to \"{}\"; }}",
        origin.url()
    ));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let mut server = origin.accept();
    server.recv_request();
    server.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
         9\r\ndata: 1\n\n\r\n",
    );
    assert_eq!(client.recv_head().get("Content-Encoding").as_deref(), Some("gzip"));
    // The first event is there before the second was sent.
    let mut packed = Vec::new();
    while !unpacks_to(&packed, "data: 1\n\n") {
        let size = usize::from_str_radix(client.recv_line().trim(), 16).unwrap();
        packed.extend(client.recv_exact(size));
        client.expect("\r\n");
    }
    server.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    packed.extend(client.recv_chunked().0);
    assert_eq!(unpack("gzip", &packed), "data: 1\n\ndata: 2\n\n");
}

fn unpacks_to(packed: &[u8], text: &str) -> bool {
    let mut decoder = coding::Decoder::new(
        coding::Coding::Gzip,
        coding::Limits { max_size: 1 << 20, max_ratio: 1000 },
    )
    .unwrap();
    let mut out = Vec::new();
    decoder.push(packed, &mut out, 1 << 16).is_ok() && out == text.as_bytes()
}

#[test]
fn a_stored_answer_is_packed_once() {
    let origin = texts("Cache-Control: max-age=60\r\nETag: \"v\"\r\n");
    let proxy = packing(&origin, "cache; compress");
    let mut client = proxy.client();
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let (head, body) = ask(&mut client, "/", "Accept-Encoding: br\r\n");
        assert_eq!(head.get("Content-Encoding").as_deref(), Some("br"));
        assert_eq!(unpack("br", &body), text());
        bodies.push((head.has("Content-Length"), body));
    }
    assert!(!bodies[0].0, "the first goes out as it comes");
    assert!(bodies[1].0, "the others are kept, and their length is known");
    assert_eq!(bodies[1], bodies[2]);
    let (head, body) = ask(&mut client, "/", "");
    assert_eq!((head.has("Content-Encoding"), body), (false, text().into_bytes()));
    let (head, _) = ask(&mut client, "/", "Accept-Encoding: br\r\nIf-None-Match: W/\"v\"\r\n");
    assert_eq!((head.status(), head.get("ETag").as_deref()), (304, Some("W/\"v\"")));
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn pythons_gzip_reads_what_we_pack() {
    let origin = texts("");
    let proxy = packing(&origin, "compress \"gzip\"");
    let (_, body) = ask(&mut proxy.client(), "/", "Accept-Encoding: gzip\r\n");
    let script =
        "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    let mut python = std::process::Command::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&body).unwrap();
    let mut out = String::new();
    python.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(python.wait().unwrap().success());
    assert_eq!(out, text());
}

#[test]
fn what_many_ask_for_at_once_is_packed_once() {
    let body = TEXT.repeat(40_000);
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Cache-Control: max-age=60\r\n\r\n{body}"
    );
    let origin = Origin::serve(move |_| answer.clone().into());
    let proxy = Proxy::start(&format!(
        "threads 2\nsite \"http://127.0.0.1:0\" {{ cache; compress; to \"{}\"; }}",
        origin.url()
    ));
    assert_eq!(ask(&mut proxy.client(), "/", "").1.len(), length);
    let clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    std::thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                let (head, packed) = ask(&mut client, "/", "Accept-Encoding: br\r\n");
                assert_eq!(head.get("Content-Encoding").as_deref(), Some("br"));
                assert!(head.has("Content-Length") && packed.len() < length / 100);
            });
        }
    });
    let cores = &proxy.server().metrics().cores;
    let read: u64 = cores.iter().map(|core| core.compress_read.get()).sum();
    assert_eq!(read, length as u64);
}
