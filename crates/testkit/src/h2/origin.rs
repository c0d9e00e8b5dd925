//! A server behind the proxy that speaks HTTP/2.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;

use super::PREFACE;
use super::frame::Frame;
use super::frames::{Event, Field, Frames};
use super::hpack::fields;
use crate::{DEADLINE, Peer};

/// An origin whose connections are accepted one by one by the script of a test.
pub struct Origin {
    address: SocketAddr,
    accepted: Receiver<TcpStream>,
    settings: Vec<(u16, u32)>,
    tls: Option<Arc<ServerConfig>>,
}

impl Origin {
    /// Listens on a free port of `127.0.0.1`, for clients that know that it speaks HTTP/2.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let (sender, accepted) = channel();
        // It ends with the process, or when the test is through and one more client comes.
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { address, accepted, settings: Vec::new(), tls: None }
    }

    /// Speaks TLS on every connection, and chooses `h2` by ALPN.
    #[must_use]
    pub fn with_tls(self, config: &ServerConfig) -> Self {
        let mut config = config.clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { tls: Some(Arc::new(config)), ..self }
    }

    /// Greets with these settings.
    #[must_use]
    pub fn with_settings(self, settings: &[(u16, u32)]) -> Self {
        Self { settings: settings.to_vec(), ..self }
    }

    /// Answers all requests by itself from now on.
    #[must_use]
    pub fn serve(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Served {
        Served::start(Self::start(), answer)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `h2c://127.0.0.1:PORT`, or `h2://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("h2{}://{}", if self.tls.is_some() { "" } else { "c" }, self.address)
    }

    /// The next connection, which must come. The preface and SETTINGS have been exchanged.
    pub fn accept(&self) -> Server {
        Server::greet(self.accept_raw(), &self.settings)
    }

    /// The next connection, which must come; nothing was said on it.
    pub fn accept_raw(&self) -> Peer {
        match self.accepted.recv_timeout(DEADLINE) {
            Ok(stream) => begin(stream, self.tls.as_ref()).expect("TLS handshake"),
            Err(_) => panic!("nobody connects to the origin"),
        }
    }

    /// No connection waits to be accepted. To be sure that none was made, make the proxy do
    /// something else first.
    pub fn expect_no_connection(&self) {
        assert!(self.accepted.try_recv().is_err(), "somebody connected to the origin");
    }
}

fn begin(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Peer> {
    let peer = Peer::over(stream);
    match tls {
        None => Ok(peer),
        Some(config) => peer.accept_tls(config),
    }
}

/// The end of an origin of one connection.
pub struct Server {
    frames: Frames,
    partial: HashMap<u32, Request>,
}

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Its stream.
    pub stream: u32,
    /// Its fields in order, pseudo-fields included.
    pub fields: Vec<Field>,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Vec<Field>,
}

impl Request {
    /// The values of all fields of this name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of_name = self.fields.iter().filter(|(found, _)| found == name);
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the only field of this name; `None`: there is none.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        assert!(values.len() < 2, "several {name}: {:?}", self.fields);
        values.pop()
    }
}

impl Server {
    /// Waits for the preface and the SETTINGS of a client, and sends ours.
    #[must_use]
    pub fn greet(mut peer: Peer, settings: &[(u16, u32)]) -> Self {
        peer.expect(PREFACE);
        let mut frames = Frames::over(peer);
        frames.send(&Frame::settings(settings));
        let first = frames.recv();
        assert!(matches!(first, Some(Event::Settings(_))), "no SETTINGS but {first:?}");
        Self { frames, partial: HashMap::new() }
    }

    /// The fields of the next request, without its body.
    pub fn recv_head(&mut self) -> Request {
        match self.wait(|event| matches!(event, Event::Headers { .. })) {
            Some(Event::Headers { stream, fields, .. }) => {
                Request { stream, fields, ..Request::default() }
            }
            _ => panic!("closed while waiting for a request; {}", self.history()),
        }
    }

    /// The next request that is whole.
    pub fn recv_request(&mut self) -> Request {
        match self.next_request() {
            Some(request) => request,
            None => panic!("closed while waiting for a request; {}", self.history()),
        }
    }

    /// The next request that is whole; `None`: the connection ended before.
    fn next_request(&mut self) -> Option<Request> {
        loop {
            let event = self.frames.recv()?;
            let (stream, end) = (event.stream(), is_end(&event));
            match event {
                Event::Headers { fields, .. } => match self.partial.get_mut(&stream) {
                    Some(request) => request.trailers = fields,
                    None => {
                        let request = Request { stream, fields, ..Request::default() };
                        self.partial.insert(stream, request);
                    }
                },
                Event::Data { bytes, .. } => {
                    if let Some(request) = self.partial.get_mut(&stream) {
                        request.body.extend(bytes);
                    }
                }
                Event::Reset { .. } => {
                    self.partial.remove(&stream);
                }
                _ => {}
            }
            if end {
                return self.partial.remove(&stream);
            }
        }
    }

    /// Sends the fields of a response.
    pub fn head(&mut self, stream: u32, status: u16, fields: &[(&str, &str)], end: bool) {
        let status = status.to_string();
        let all: Vec<(&str, &str)> =
            [(":status", &*status)].into_iter().chain(fields.iter().copied()).collect();
        self.headers(stream, &all, end);
    }

    /// Sends a whole response with a body that fits the windows of the client, or waits for it
    /// to open them.
    pub fn respond(&mut self, stream: u32, status: u16, fields: &[(&str, &str)], body: &[u8]) {
        self.head(stream, status, fields, false);
        assert!(self.body(stream, body, true), "reset; {}", self.history());
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Headers { end: true, .. } | Event::Data { end: true, .. })
}

impl Deref for Server {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.frames
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Frames {
        &mut self.frames
    }
}

/// What an origin answers by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The fields, `:status` first.
    pub fields: Vec<Field>,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers; empty: none.
    pub trailers: Vec<Field>,
}

impl Answer {
    /// A response with this body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let fields = vec![(":status".to_owned(), status.to_string())];
        Self { fields, body: body.into(), trailers: Vec::new() }
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with one more trailer field.
    #[must_use]
    pub fn with_trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// An origin that answers by itself, and remembers all that it received.
pub struct Served {
    url: String,
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Request>,
}

impl Served {
    /// Lets `origin` answer by itself.
    #[must_use]
    pub fn start(
        origin: Origin,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (url, address) = (origin.url(), origin.address());
        let (seen, answer) = (Arc::new(Mutex::new(Seen::default())), Arc::new(answer));
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            while let Ok(stream) = origin.accepted.recv() {
                noted.lock().expect("lock").connections += 1;
                let (seen, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                let (settings, tls) = (origin.settings.clone(), origin.tls.clone());
                std::thread::spawn(move || {
                    if let Ok(peer) = begin(stream, tls.as_ref()) {
                        converse(peer, &settings, &seen, &*answer);
                    }
                });
            }
        });
        Self { url, address, seen }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `h2c://127.0.0.1:PORT`, or `h2://…`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.lock().expect("lock").connections
    }

    /// The whole requests received so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("lock").requests.clone()
    }
}

/// Answers the requests of one connection, one after another, until it ends.
fn converse(
    mut peer: Peer,
    settings: &[(u16, u32)],
    seen: &Mutex<Seen>,
    answer: &dyn Fn(&Request) -> Answer,
) {
    // The proxy may keep an idle connection for longer than a test waits for anything.
    peer.socket().set_read_timeout(None).expect("timeout");
    if !peer.peek() || peer.at_hand().is_empty() {
        return;
    }
    let mut server = Server::greet(peer, settings);
    while let Some(request) = server.next_request() {
        let (stream, answer) = (request.stream, answer(&request));
        seen.lock().expect("lock").requests.push(request);
        // A client that has gone, or reset the stream, does not matter.
        let last = answer.trailers.is_empty();
        let head = fields(&answer.fields);
        let head = Frame::headers(stream, head, last && answer.body.is_empty());
        let whole = server.try_send(&head).is_ok()
            && (answer.body.is_empty() || server.body(stream, &answer.body, last));
        if whole && !last {
            let _ = server.try_send(&Frame::headers(stream, fields(&answer.trailers), true));
        }
    }
}
