//! A client of the proxy.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use rustls::ClientConfig;

use super::PREFACE;
use super::frame::{Frame, code};
use super::frames::{Event, Field, Frames};
use super::hpack::Block;
use crate::Peer;

/// A client. Its streams are 1, 3, 5 and so on, as they are opened.
pub struct Client {
    frames: Frames,
    next: u32,
}

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its fields in order, without `:status`.
    pub fields: Vec<Field>,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Vec<Field>,
    /// The 1xx before it: status and fields.
    pub interim: Vec<(u16, Vec<Field>)>,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With a response.
    Response(Response),
    /// With RST_STREAM for this reason.
    Reset(u32),
    /// With GOAWAY for this reason, other than `NO_ERROR`.
    Goaway(u32),
    /// With the end of the connection.
    Closed,
}

impl Response {
    /// The value of the only field of this name; `None`: there is none.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(found, _)| found == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "several {name}: {:?}", self.fields);
        value
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Connects, and greets with the preface and empty SETTINGS. The SETTINGS of the other side
    /// have come and are acknowledged.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[])
    }

    /// The same with these settings.
    #[must_use]
    pub fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::greet(Peer::connect(address), settings)
    }

    /// The same inside TLS, with `h2` as the one protocol on offer.
    #[must_use]
    pub fn connect_tls(address: SocketAddr, config: &ClientConfig, name: &str) -> Self {
        let mut config = config.clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let peer = Peer::connect(address).into_tls(&Arc::new(config), name).expect("TLS");
        assert_eq!(peer.session().alpn_protocol(), Some(&b"h2"[..]), "protocol");
        Self::greet(peer, &[])
    }

    /// Greets over a connection on which nothing was said yet.
    #[must_use]
    pub fn greet(peer: Peer, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::over(peer);
        client.send_raw(PREFACE).send(&Frame::settings(settings));
        let first = client.recv();
        assert!(matches!(first, Some(Event::Settings(_))), "no SETTINGS but {first:?}");
        client
    }

    /// Over a connection that the test greets itself.
    #[must_use]
    pub fn over(peer: Peer) -> Self {
        Self { frames: Frames::over(peer), next: 1 }
    }

    /// The number of the next stream, which is then taken.
    pub fn take_stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Begins a request that ends with these fields; returns its stream.
    pub fn open<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, fields: &[(N, V)]) -> u32 {
        let stream = self.take_stream();
        self.headers(stream, fields, true);
        stream
    }

    /// Begins a request with a body to come; returns its stream.
    pub fn begin<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, fields: &[(N, V)]) -> u32 {
        let stream = self.take_stream();
        self.headers(stream, fields, false);
        stream
    }

    /// Begins a request with this block; returns its stream.
    pub fn open_block(&mut self, block: &Block, end: bool) -> u32 {
        let stream = self.take_stream();
        self.block(stream, block, end);
        stream
    }

    /// Begins a GET; returns its stream.
    pub fn open_get(&mut self, path: &str) -> u32 {
        self.open_block(&Block::get(path), true)
    }

    /// A GET and its response.
    pub fn get(&mut self, path: &str) -> Response {
        let stream = self.open_get(path);
        self.response(stream)
    }

    /// A POST and its response.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Response {
        let stream = self.begin(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "a"),
        ]);
        self.body(stream, body, true);
        self.response(stream)
    }

    /// The response on this stream, which must come.
    pub fn response(&mut self, stream: u32) -> Response {
        match self.outcome(stream) {
            Outcome::Response(response) => response,
            other => panic!("no response on {stream} but {other:?}; {}", self.history()),
        }
    }

    /// How this stream ends.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        let mut partial = Partial::default();
        loop {
            let event = self.wait(|event| match event {
                Event::Window { .. } => false,
                Event::Goaway { code, .. } => *code != code::NO_ERROR,
                event => event.stream() == stream,
            });
            match event {
                None => return Outcome::Closed,
                Some(Event::Reset { code, .. }) => return Outcome::Reset(code),
                Some(Event::Goaway { code, .. }) => return Outcome::Goaway(code),
                Some(event) => {
                    if let Some(response) = partial.take(event) {
                        return Outcome::Response(response);
                    }
                }
            }
        }
    }

    /// The next fields on this stream: an interim or final head, or trailers.
    pub fn expect_headers(&mut self, stream: u32) -> Vec<Field> {
        let event = self.wait(|event| event.stream() == stream && stream != 0);
        match event {
            Some(Event::Headers { fields, .. }) => fields,
            other => panic!("no fields on {stream} but {other:?}; {}", self.history()),
        }
    }

    /// The next DATA on this stream, and whether it is the end.
    pub fn expect_data(&mut self, stream: u32) -> (Vec<u8>, bool) {
        let event = self.wait(|event| {
            event.stream() == stream && !matches!(event, Event::Window { .. }) && stream != 0
        });
        match event {
            Some(Event::Data { bytes, end, .. }) => (bytes, end),
            other => panic!("no DATA on {stream} but {other:?}; {}", self.history()),
        }
    }

    /// The stream is reset for this reason, and the connection lives on.
    pub fn expect_reset(&mut self, stream: u32, code: u32) {
        let outcome = self.outcome(stream);
        assert_eq!(outcome, Outcome::Reset(code), "stream {stream}; {}", self.history());
        assert!(self.sync(), "the connection ended after the reset; {}", self.history());
    }

    /// The connection ends for this reason.
    pub fn expect_goaway(&mut self, code: u32) {
        match self.end_of_connection() {
            Some(found) => assert_eq!(found, code, "{}", self.history()),
            None => panic!("closed without GOAWAY; {}", self.history()),
        }
    }

    /// Waits for the end of the connection; the code of the last GOAWAY before it.
    pub fn end_of_connection(&mut self) -> Option<u32> {
        let mut last = None;
        while let Some(event) = self.recv() {
            if let Event::Goaway { code, .. } = event {
                last = Some(code);
            }
        }
        last
    }
}

/// A response on its way.
#[derive(Default)]
struct Partial {
    response: Option<Response>,
    interim: Vec<(u16, Vec<Field>)>,
}

impl Partial {
    fn take(&mut self, event: Event) -> Option<Response> {
        match event {
            Event::Headers { fields, end, .. } => self.headers(fields, end),
            Event::Data { bytes, end, .. } => {
                let response = self.response.as_mut().expect("DATA before HEADERS");
                response.body.extend(bytes);
                end.then(|| self.response.take().expect("a response"))
            }
            _ => None,
        }
    }

    fn headers(&mut self, mut fields: Vec<Field>, end: bool) -> Option<Response> {
        if let Some(mut response) = self.response.take() {
            assert!(end, "trailers that do not end the stream: {fields:?}");
            response.trailers = fields;
            return Some(response);
        }
        let (name, status) = fields.remove(0);
        assert_eq!(name, ":status", "before {fields:?}");
        let status = status.parse().expect("status");
        if (100..200).contains(&status) {
            assert!(!end, "an interim response that ends the stream");
            self.interim.push((status, fields));
            return None;
        }
        let interim = std::mem::take(&mut self.interim);
        let (body, trailers) = (Vec::new(), Vec::new());
        self.response = Some(Response { status, fields, body, trailers, interim });
        if end { self.response.take() } else { None }
    }
}

impl Deref for Client {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.frames
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Frames {
        &mut self.frames
    }
}
