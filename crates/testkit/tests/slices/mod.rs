//! An origin with one large object, and a proxy that fetches it in slices.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::{Arc, Mutex};

use testkit::{Message, Origin, Peer, Proxy, Served};

pub const SLICE: usize = 64 * 1024;

/// What an origin has, and how it behaves.
#[derive(Clone)]
pub struct Object {
    pub body: Vec<u8>,
    /// Fields of all answers.
    pub fields: String,
    pub ranges: bool,
    /// It fails instead.
    pub fails: bool,
}

/// An origin with one object under every path, which a test may change.
pub struct Store {
    pub origin: Served,
    object: Arc<Mutex<Object>>,
}

pub fn body(size: usize, salt: u8) -> Vec<u8> {
    (0..size).map(|at| (at / 251 + at % 241) as u8 ^ salt).collect()
}

/// `bytes=first-last` of a request.
fn asked(request: &Message) -> Option<(usize, usize)> {
    let value = request.get("Range")?;
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().unwrap_or(usize::MAX)))
}

pub fn answer(request: &Message, object: &Object) -> Vec<u8> {
    if object.fails {
        return b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown".to_vec();
    }
    let size = object.body.len();
    let fields = &object.fields;
    if let Some(tag) = request.get("If-None-Match")
        && fields.contains(&format!("ETag: {tag}\r\n"))
    {
        return format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into();
    }
    let range = asked(request).filter(|_| object.ranges);
    let (head, part) = match range {
        None => (format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n"), &object.body[..]),
        Some((first, _)) if first >= size => {
            let head = format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{size}\r\n\
                 Content-Length: 0\r\n"
            );
            (head, &object.body[..0])
        }
        Some((first, last)) => {
            let last = last.min(size - 1);
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{size}\r\n\
                 Content-Length: {}\r\n",
                last - first + 1
            );
            (head, &object.body[first..=last])
        }
    };
    let head = format!("{head}{fields}\r\n");
    let shown = if request.method() == "HEAD" { &part[..0] } else { part };
    [head.as_bytes(), shown].concat()
}

impl Store {
    pub fn new(size: usize, fields: &str) -> Self {
        let object =
            Object { body: body(size, 0), fields: fields.to_owned(), ranges: true, fails: false };
        let object = Arc::new(Mutex::new(object));
        let shown = Arc::clone(&object);
        let origin = Origin::serve(move |request| answer(request, &shown.lock().unwrap()));
        Self { origin, object }
    }

    pub fn change(&self, change: impl FnOnce(&mut Object)) {
        change(&mut self.object.lock().unwrap());
    }

    pub fn body(&self) -> Vec<u8> {
        self.object.lock().unwrap().body.clone()
    }

    /// The ranges that it was asked for so far, `-` where there was none.
    pub fn ranges(&self) -> Vec<String> {
        let requests = self.origin.requests();
        requests.iter().map(|request| request.get("Range").unwrap_or("-".into())).collect()
    }
}

pub fn sliced(url: &str, rules: &str) -> Proxy {
    let rules = format!("cache {{ slice \"64KiB\"; {rules} }}");
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ {rules}; to \"{url}\"; }}"))
}

pub fn get(client: &mut Peer, fields: &str) -> Message {
    client.send(format!("GET /big HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"));
    client.recv_response()
}

pub fn status_of(message: &Message) -> String {
    message.get("Cache-Status").unwrap_or_default()
}

pub const STRONG: &str = "ETag: \"v1\"\r\nCache-Control: max-age=60\r\n";
