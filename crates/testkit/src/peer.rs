//! One end of a connection, played by a test.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::message::{Length, Message, length};

/// How long a test waits for anything before it fails. Far above what anything takes.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// One end of a connection: a client of the proxy, or an origin behind it. What is received is
/// kept until a step of the test takes it. Every step ends the test when it does not succeed
/// within the [`DEADLINE`].
pub struct Peer {
    io: Io,
    received: Vec<u8>,
    ended: bool,
}

enum Io {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Peer {
    /// A client that connects to this address.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(stream) => Self::over(stream),
            Err(error) => panic!("cannot connect to {address}: {error}"),
        }
    }

    /// An end of a connection that exists.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        Self::new(Io::Plain(stream))
    }

    fn new(io: Io) -> Self {
        Self { io, received: Vec::new(), ended: false }
    }

    /// Makes a TLS handshake as a client.
    ///
    /// # Errors
    /// What it failed with.
    pub fn into_tls(self, config: &Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).expect("name");
        let mut session = ClientConnection::new(Arc::clone(config), name).expect("TLS client");
        let mut stream = self.into_tcp();
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self::new(Io::Client(Box::new(StreamOwned::new(session, stream)))))
    }

    /// Makes a TLS handshake as a server.
    ///
    /// # Errors
    /// What it failed with.
    pub fn accept_tls(self, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let mut session = ServerConnection::new(Arc::clone(config)).expect("TLS server");
        let mut stream = self.into_tcp();
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self::new(Io::Server(Box::new(StreamOwned::new(session, stream)))))
    }

    fn into_tcp(self) -> TcpStream {
        assert!(self.received.is_empty(), "bytes before TLS: {}", self.shown());
        match self.io {
            Io::Plain(stream) => stream,
            Io::Client(_) | Io::Server(_) => panic!("TLS inside TLS"),
        }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(stream) => stream,
            Io::Client(stream) => &stream.sock,
            Io::Server(stream) => &stream.sock,
        }
    }

    /// The TLS session of a client.
    #[must_use]
    pub fn session(&self) -> &ClientConnection {
        match &self.io {
            Io::Client(stream) => &stream.conn,
            Io::Plain(_) | Io::Server(_) => panic!("not a TLS client"),
        }
    }

    /// Our own address.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.socket().local_addr().expect("local address")
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        if let Err(error) = self.try_send(bytes) {
            panic!("cannot send: {error}; received so far: {}", self.shown());
        }
        self
    }

    /// Sends bytes to a peer that may have closed the connection already.
    ///
    /// # Errors
    /// What the socket said.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.io {
            Io::Plain(stream) => stream.write_all(bytes.as_ref()),
            Io::Client(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
            Io::Server(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
        }
    }

    /// Says that nothing more will be sent; receiving goes on.
    pub fn finish(&mut self) -> &mut Self {
        match &mut self.io {
            Io::Plain(_) => {}
            Io::Client(stream) => {
                stream.conn.send_close_notify();
                stream.flush().expect("close_notify");
            }
            Io::Server(stream) => {
                stream.conn.send_close_notify();
                stream.flush().expect("close_notify");
            }
        }
        self.socket().shutdown(Shutdown::Write).expect("shutdown");
        self
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// What was received and not taken yet.
    pub(crate) fn at_hand(&self) -> &[u8] {
        &self.received
    }

    /// Takes the beginning of what is at hand.
    pub(crate) fn take(&mut self, count: usize) {
        self.received.drain(..count);
    }

    /// Receives some bytes; `false`: the connection has ended.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let mut buffer = [0; 64 * 1024];
        let count = loop {
            let outcome = match &mut self.io {
                Io::Plain(stream) => stream.read(&mut buffer),
                Io::Client(stream) => stream.read(&mut buffer),
                Io::Server(stream) => stream.read(&mut buffer),
            };
            match outcome {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.received.extend_from_slice(&buffer[..count]);
        self.ended = count == 0;
        Ok(count > 0)
    }

    /// Receives until `found` says how many of the bytes at hand are what was waited for.
    fn receive_until(&mut self, what: &str, found: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        loop {
            if let Some(length) = found(&self.received) {
                return self.received.drain(..length).collect();
            }
            match self.receive() {
                Ok(true) => {}
                Ok(false) => panic!("closed while waiting for {what}; received: {}", self.shown()),
                Err(error) => {
                    panic!("{error} while waiting for {what}; received: {}", self.shown())
                }
            }
        }
    }

    fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.received);
        let short: String = text.chars().take(2000).collect();
        format!("{short:?} ({} bytes)", self.received.len())
    }

    /// Receives so many bytes.
    pub fn recv_exact(&mut self, count: usize) -> Vec<u8> {
        let what = format!("{count} bytes");
        self.receive_until(&what, |bytes| (bytes.len() >= count).then_some(count))
    }

    /// Receives these bytes.
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let expected = bytes.as_ref();
        let found = self.recv_exact(expected.len());
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(expected));
        self
    }

    /// Receives the head of a message.
    pub fn recv_head(&mut self) -> Message {
        let end = |bytes: &[u8]| {
            bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
        };
        let head = self.receive_until("a head", end);
        Message { head, body: Vec::new(), trailers: String::new(), chunked: false }
    }

    /// Receives a request with its body.
    pub fn recv_request(&mut self) -> Message {
        let head = self.recv_head();
        self.recv_body(head, Length::Known(0))
    }

    /// Receives the response to a request that is neither HEAD nor CONNECT, with its body.
    pub fn recv_response(&mut self) -> Message {
        let head = self.recv_head();
        if matches!(head.status(), 100..200 | 204 | 304) {
            return head;
        }
        self.recv_body(head, Length::UntilClose)
    }

    /// Receives the body that belongs to a head.
    fn recv_body(&mut self, head: Message, otherwise: Length) -> Message {
        match length(&head, otherwise) {
            Length::Known(count) => Message { body: self.recv_exact(count), ..head },
            Length::UntilClose => Message { body: self.recv_rest(), ..head },
            Length::Chunked => {
                let (body, trailers) = self.recv_chunked();
                Message { body, trailers, chunked: true, ..head }
            }
        }
    }

    /// Receives a chunked body and its trailers.
    pub fn recv_chunked(&mut self) -> (Vec<u8>, String) {
        let mut body = Vec::new();
        loop {
            let line = self.recv_line();
            let size = line.split(';').next().unwrap_or_default();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                panic!("no chunk size: {line:?}; behind it: {}", self.shown());
            };
            if size == 0 {
                break;
            }
            body.extend(self.recv_exact(size));
            self.expect("\r\n");
        }
        let mut trailers = String::new();
        loop {
            let line = self.recv_line();
            if line.is_empty() {
                return (body, trailers);
            }
            trailers.push_str(&line);
            trailers.push_str("\r\n");
        }
    }

    /// Receives a line that ends in CRLF, and returns it without.
    pub fn recv_line(&mut self) -> String {
        let end =
            |bytes: &[u8]| bytes.windows(2).position(|window| window == b"\r\n").map(|at| at + 2);
        let line = self.receive_until("a line", end);
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// Receives all until the other side ends the connection, in good order.
    pub fn recv_rest(&mut self) -> Vec<u8> {
        loop {
            match self.receive() {
                Ok(true) => {}
                Ok(false) => return std::mem::take(&mut self.received),
                Err(error) => {
                    panic!("{error} while waiting for the end; received: {}", self.shown())
                }
            }
        }
    }

    /// The other side ends the connection in good order, and sends nothing before.
    pub fn expect_close(&mut self) {
        let rest = self.recv_rest();
        assert!(rest.is_empty(), "before the end came {:?}", String::from_utf8_lossy(&rest));
    }

    /// The other side ends the connection, be it with a reset; returns what came before.
    pub fn recv_until_gone(&mut self) -> Vec<u8> {
        loop {
            match self.receive() {
                Ok(true) => {}
                Err(error) if is_timeout(&error) => {
                    panic!("still open; received: {}", self.shown())
                }
                Ok(false) | Err(_) => return std::mem::take(&mut self.received),
            }
        }
    }

    /// Waits as long as the read timeout of the socket says; `true`: bytes are at hand, or the
    /// connection has ended.
    pub fn peek(&mut self) -> bool {
        !self.received.is_empty() || !matches!(self.receive(), Err(error) if is_timeout(&error))
    }

    /// Whether bytes are at hand or can be received at once.
    pub fn has_more(&mut self) -> bool {
        self.socket().set_nonblocking(true).expect("nonblocking");
        let more = self.peek();
        self.socket().set_nonblocking(false).expect("blocking");
        more
    }

    /// Receives a head, or `None` when the other side ends the connection instead, be it with a
    /// reset.
    pub fn recv_head_or_end(&mut self) -> Option<Message> {
        loop {
            if self.received.windows(4).any(|window| window == b"\r\n\r\n") {
                return Some(self.recv_head());
            }
            match self.receive() {
                Ok(true) => {}
                Err(error) if is_timeout(&error) => {
                    panic!("still open; received: {}", self.shown())
                }
                Ok(false) | Err(_) => return None,
            }
        }
    }

    /// Receives so many bytes, or `None` when the other side ends the connection before.
    pub fn recv_exact_or_end(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.received.len() < count {
            match self.receive() {
                Ok(true) => {}
                Err(error) if is_timeout(&error) => {
                    panic!("still open; received: {}", self.shown())
                }
                Ok(false) | Err(_) => return None,
            }
        }
        Some(self.received.drain(..count).collect())
    }

    /// Receives a chunked body, or `None` when the other side ends the connection before it is
    /// whole.
    pub fn recv_chunked_or_end(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(self.recv_exact_or_end(1)?);
            }
            let size = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
            let size = usize::from_str_radix(&size, 16).expect("chunk size");
            if size == 0 {
                break;
            }
            body.extend(self.recv_exact_or_end(size)?);
            assert_eq!(self.recv_exact_or_end(2)?, b"\r\n");
        }
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(self.recv_exact_or_end(1)?);
            }
            if line.len() == 2 {
                return Some(body);
            }
        }
    }

    /// Nothing has been received that no step has taken. To be sure that nothing was sent, make
    /// the other side do something else first.
    pub fn expect_nothing(&mut self) {
        self.socket().set_nonblocking(true).expect("nonblocking");
        let outcome = self.receive();
        self.socket().set_nonblocking(false).expect("blocking");
        let quiet = matches!(&outcome, Err(error) if error.kind() == ErrorKind::WouldBlock);
        assert!(quiet && self.received.is_empty(), "{outcome:?}; received: {}", self.shown());
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
