use std::io::{BufRead as _, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;

/// A server that gives these answers, one for each connection, and then tells what it was asked.
struct Server {
    url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    fn start(answers: &[&str]) -> Self {
        Self::with(answers, "http", |socket| Box::new(socket))
    }

    fn with(
        answers: &[&str],
        scheme: &str,
        wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let answers: Vec<String> =
            answers.iter().map(|answer| answer.replace("{url}", &url)).collect();
        let serve = move || {
            let mut heads = Vec::new();
            for answer in answers {
                let mut stream = wrap(listener.accept().unwrap().0);
                let mut head = String::new();
                let mut reader = BufReader::new(&mut stream);
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                heads.push(head);
                // The other side may have had enough.
                let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
                stream.end();
            }
            heads
        };
        Self { url, thread: std::thread::spawn(serve) }
    }

    fn heads(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

trait Stream: Read + Write {
    fn end(&mut self) {}
}

impl Stream for TcpStream {}

impl Stream for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}

fn ok(fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

fn list(url: &str, folder: &tempfile::TempDir) -> Wanted {
    let source = config::ListSource::Url { url: url.into(), every: Duration::from_secs(60) };
    Wanted {
        url: url.into(),
        every: Duration::from_secs(60),
        path: source.path(Some(folder.path())),
        content: Content::Domains,
        span: config::Span::from((0, 0)),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn files(list: &Wanted) -> usize {
    fs::read_dir(list.path.parent().unwrap()).map_or(0, Iterator::count)
}

#[test]
fn a_copy_is_made_and_then_asked_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let fields = "ETag: \"one\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let server = Server::start(&[
        &ok(fields, "a.example\n"),
        &status("304 Not Modified"),
        &ok("", "a.example\n"),
        &ok("", "b.example\n"),
    ]);
    let (folder, fetcher) = (folder(), Fetcher::new());
    let list = list(&format!("{}/ads.txt?token=hunter2", server.url), &folder);
    assert_eq!(last_fetched(&list.path), None);
    assert_eq!(fetcher.fetch(&list, at(1000)), Ok(Fetched::Changed));
    assert_eq!(fs::read_to_string(&list.path).unwrap(), "a.example\n");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&list.path), mode(&note_path(&list.path))), (0o600, 0o600));
    assert_eq!(last_fetched(&list.path), Some(at(1000)));
    let written = fs::metadata(&list.path).unwrap().modified().unwrap();
    assert_eq!(fetcher.fetch(&list, at(2000)), Ok(Fetched::Same));
    assert_eq!(last_fetched(&list.path), Some(at(2000)));
    // The same again, but without a word about it.
    assert_eq!(fetcher.fetch(&list, at(3000)), Ok(Fetched::Same));
    assert_eq!(fs::metadata(&list.path).unwrap().modified().unwrap(), written);
    assert_eq!(fetcher.fetch(&list, at(4000)), Ok(Fetched::Changed));
    assert_eq!(fs::read_to_string(&list.path).unwrap(), "b.example\n");
    assert_eq!(files(&list), 2, "a copy and a note");
    let heads = server.heads();
    assert!(heads[0].starts_with("GET /ads.txt?token=hunter2 HTTP/1.1\r\n"), "{}", heads[0]);
    let lower: Vec<String> = heads.iter().map(|head| head.to_ascii_lowercase()).collect();
    assert!(!lower[0].contains("if-none-match") && lower[0].contains("user-agent: bifrons/"));
    for head in &lower[1..3] {
        assert!(head.contains("if-none-match: \"one\"\r\n"), "{head}");
        assert!(head.contains("if-modified-since: sun, 06 nov 1994 08:49:37 gmt\r\n"), "{head}");
    }
    assert!(!lower[3].contains("if-none-match"), "{}", lower[3]);
}

#[test]
fn what_is_no_list_never_takes_the_place_of_one() {
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf.example\n";
    let answers = [
        ok("", "good.example\n"),
        status("500 Oops"),
        status("304 Not Modified"),
        ok("", ""),
        ok("", " \n<!DOCTYPE html><title>moved</title>"),
        ok("", "{\"error\": \"no such list\"}\n"),
        ok("", &"a.example\n".repeat(1000)),
        short.to_owned(),
    ];
    let server = Server::start(&answers.each_ref().map(String::as_str));
    let (folder, mut fetcher) = (folder(), Fetcher::new());
    fetcher.max_bytes = 1000;
    let mut good = list(&format!("{}/ads.txt", server.url), &folder);
    assert_eq!(fetcher.fetch(&good, at(1)), Ok(Fetched::Changed));
    assert_eq!(fetcher.fetch(&good, at(2)), Err("the server answers 500".into()));
    // It was said to be of somewhere else: nothing to compare with.
    good.url.push('#');
    assert_eq!(fetcher.fetch(&good, at(2)), Err("the server answers 304".into()));
    good.url.pop();
    for words in ["it is empty", "it is a page", "no line of it", "", ""] {
        let reason = fetcher.fetch(&good, at(2)).unwrap_err();
        assert!(reason.contains(words), "{reason}");
        assert_eq!(fs::read_to_string(&good.path).unwrap(), "good.example\n");
    }
    assert_eq!(last_fetched(&good.path), Some(at(1)));
    assert_eq!(files(&good), 2, "nothing is left lying about");
    assert_eq!(server.heads().len(), answers.len());
}

#[test]
fn redirects_are_followed_for_a_while() {
    let moved = "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {url}/next\r\n\
                 Content-Length: 0\r\n\r\n";
    let server = Server::start(&[moved, &ok("", "a.example\n")]);
    let (folder, fetcher) = (folder(), Fetcher::new());
    assert_eq!(fetcher.fetch(&list(&server.url, &folder), at(1)), Ok(Fetched::Changed));
    assert!(server.heads()[1].starts_with("GET /next HTTP/1.1"));
    let server = Server::start(&[moved; MAX_REDIRECTS as usize + 1]);
    assert!(fetcher.fetch(&list(&server.url, &folder), at(1)).is_err());
    assert_eq!(server.heads().len(), MAX_REDIRECTS as usize + 1);
}

#[test]
fn tls_is_verified_and_not_left() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |socket| -> Box<dyn Stream> {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        Box::new(rustls::StreamOwned::new(connection, socket))
    };
    let to_plain = "HTTP/1.1 302 Found\r\nConnection: close\r\n\
                    Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let server = Server::with(&[&ok("", "a.example\n"), to_plain, ""], "https", wrap);
    let (folder, mut fetcher) = (folder(), Fetcher::new());
    fetcher.roots = Some(vec![Certificate::from_der(&certificate).to_owned()]);
    let list = list(&server.url, &folder);
    assert_eq!(fetcher.fetch(&list, at(1)), Ok(Fetched::Changed));
    let reason = fetcher.fetch(&list, at(1)).unwrap_err();
    assert!(reason.contains("https"), "{reason}");
    let mut stranger = Fetcher::new();
    stranger.roots = Some(Vec::new());
    assert!(stranger.fetch(&list, at(1)).is_err());
    server.heads();
}

#[test]
fn urls_are_shown_without_their_secrets() {
    for (url, text) in [
        (
            "https://user:pass@lists.example:8443/a/b.txt?key=hunter2#x",
            "https://lists.example:8443/a/b.txt?…",
        ),
        ("http://lists.example", "http://lists.example"),
        ("http://lists.example?k@y", "http://lists.example?…"),
    ] {
        assert_eq!(shown(url), text);
    }
}
