//! The client of the tour, and what it learns.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tls::{ClientTls, Io};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::wire::{Head, read_exactly, read_head};

/// The client's own address, so that it can be told from the proxy, which connects from
/// 127.0.0.1, and from its exits.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Why a step went wrong.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

impl Wrong {
    /// What somebody else's error says.
    pub(super) fn because(error: impl Display) -> Self {
        Self(error.to_string())
    }
}

impl From<h2::Error> for Wrong {
    fn from(error: h2::Error) -> Self {
        Self(format!("HTTP/2 failed: {error}"))
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self(format!("the connection failed: {error}"))
    }
}

/// Goes on only where something is as it should be.
pub(super) fn ensure(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), Wrong> {
    if is_so { Ok(()) } else { Err(Wrong(otherwise())) }
}

/// A connection to somebody.
pub(super) struct Connection {
    io: Io,
    received: Vec<u8>,
}

impl Connection {
    /// Connects, from [`ADDRESS`] where the system has it.
    pub(super) async fn open(to: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let stream = match socket.bind(SocketAddr::from((ADDRESS, 0))) {
            Ok(()) => socket.connect(to).await?,
            Err(_) => TcpStream::connect(to).await?,
        };
        stream.set_nodelay(true)?;
        Ok(Self { io: Io::Tcp(stream), received: Vec::new() })
    }

    /// Makes a TLS handshake over the connection, whatever it leads through.
    pub(super) async fn secure(self, tls: &ClientTls, host: &str) -> Result<Self, Wrong> {
        let failed = |error| Wrong(format!("the TLS handshake with {host} failed: {error}"));
        let io = tls.connect(self.io, host).await.map_err(failed)?;
        Ok(Self { io, received: Vec::new() })
    }

    /// What the handshake agreed upon.
    pub(super) fn tls(&self) -> String {
        match self.io.info() {
            Some(info) => format!("{}, {}", info.version, info.group.unwrap_or("no key exchange")),
            None => "no TLS".to_owned(),
        }
    }

    /// Whether the handshake agreed upon this protocol.
    pub(super) fn speaks(&self, protocol: &str) -> bool {
        let agreed = self.io.info().and_then(|info| info.alpn.as_deref());
        agreed == Some(protocol.as_bytes())
    }

    /// The address that it comes from.
    pub(super) fn address(&self) -> io::Result<IpAddr> {
        let socket = self.io.tcp().ok_or(io::ErrorKind::Unsupported)?;
        Ok(socket.local_addr()?.ip())
    }

    /// What it is made of. Nothing was read on it.
    pub(super) fn into_io(self) -> Io {
        self.io
    }

    /// Sends a request with a body.
    pub(super) async fn send_with(&mut self, lines: &str, body: &str) -> Result<Response, Wrong> {
        let length = body.len();
        self.exchange(&format!("{lines}\nContent-Length: {length}"), body).await
    }

    /// Sends a request without a body: its first line and its fields, `\n` between them.
    pub(super) async fn send(&mut self, lines: &str) -> Result<Response, Wrong> {
        self.exchange(lines, "").await
    }

    async fn exchange(&mut self, lines: &str, body: &str) -> Result<Response, Wrong> {
        self.write(request(lines, body).as_bytes()).await?;
        let head = self.head().await?;
        let length = head.content_length()?;
        let body = read_exactly(&mut self.io, &mut self.received, length).await?;
        Response::new(head, body)
    }

    async fn head(&mut self) -> Result<Head, Wrong> {
        let gone = || Wrong("the connection was closed without an answer".to_owned());
        read_head(&mut self.io, &mut self.received).await?.ok_or_else(gone)
    }

    /// Sends a request without a body, and returns the head of the answer, and how many bytes of
    /// its body came: all of them, or those before the connection ended.
    pub(super) async fn download(mut self, lines: &str) -> Result<(Head, u64), Wrong> {
        self.write(request(lines, "").as_bytes()).await?;
        let head = self.head().await?;
        let mut part = Vec::new();
        let (announced, mut received) = (head.content_length()?, 0);
        while received < announced && self.read_more(&mut part).await? {
            received += part.len() as u64;
            part.clear();
        }
        Ok((head, received))
    }

    /// Sends bytes as they are.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Reads something, and says whether there was anything before the end.
    pub(super) async fn read_more(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        if !self.received.is_empty() {
            into.append(&mut self.received);
            return Ok(true);
        }
        Ok(self.io.read_buf(into).await? > 0)
    }

    /// Reads so many bytes.
    pub(super) async fn read(&mut self, length: u64) -> io::Result<Vec<u8>> {
        read_exactly(&mut self.io, &mut self.received, length).await
    }
}

fn request(lines: &str, body: &str) -> String {
    format!("{}\r\n\r\n{body}", lines.trim_end().replace('\n', "\r\n"))
}

/// An answer.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) head: Head,
    /// As text, whatever it is.
    pub(super) body: String,
    pub(super) bytes: Vec<u8>,
}

impl Response {
    pub(super) fn new(head: Head, body: Vec<u8>) -> Result<Self, Wrong> {
        let status = head.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Wrong(format!("not a status: {}", head.first_line)))?;
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Self { status, head, body: text, bytes: body })
    }

    /// Goes on only with this status.
    pub(super) fn expect(&self, status: u16) -> Result<&Self, Wrong> {
        ensure(self.status == status, || {
            format!("status {} instead of {status}: {}", self.status, self.body.trim_end())
        })?;
        Ok(self)
    }

    /// A field that must be there.
    pub(super) fn field(&self, name: &str) -> Result<&str, Wrong> {
        let missing = || Wrong(format!("the answer has no {name}"));
        self.head.field(name).ok_or_else(missing)
    }

    /// What the origin that answered says it saw.
    pub(super) fn seen(&self) -> Result<Seen, Wrong> {
        self.expect(200)?;
        Seen::parse(&self.body).ok_or_else(|| Wrong("no origin made this answer".to_owned()))
    }

    /// In a few words, what tells something about the origin.
    pub(super) fn told(&self) -> String {
        let identity = ["Server", "X-Powered-By"]
            .map(|name| match self.head.field(name) {
                Some(value) => format!("{name}: {value}"),
                None => format!("no {name}"),
            })
            .join(", ");
        format!("{}, {identity}", self.status)
    }
}

/// What an origin saw of a request.
pub(super) struct Seen {
    /// Which origin.
    pub(super) origin: String,
    /// The address that connected to it.
    pub(super) peer: String,
    /// Method and target.
    pub(super) request: String,
    pub(super) fields: Vec<(String, String)>,
}

impl Seen {
    fn parse(body: &str) -> Option<Self> {
        let mut lines = body.lines().filter_map(|line| line.split_once(": "));
        let mut next = |wanted: &str| {
            let (name, value) = lines.next()?;
            (name == wanted).then(|| value.to_owned())
        };
        let (origin, request, peer) = (next("origin")?, next("request")?, next("peer")?);
        let request = request.strip_suffix(" HTTP/1.1").unwrap_or(&request).to_owned();
        let peer = peer.rsplit_once(':').map_or(peer.clone(), |(ip, _)| ip.to_owned());
        let fields = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Self { origin, peer, request, fields })
    }

    /// The fields of this name, joined.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let same = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let values: Vec<&str> = same.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// In a few words: who came, and what was said about whom it came for.
    pub(super) fn told(&self) -> String {
        let mut text = format!("{}, peer {}", self.request, self.peer);
        for name in ["Host", "X-Forwarded-For", "X-Forwarded-Proto", "Via"] {
            match self.field(name) {
                Some(value) => text.push_str(&format!(", {name}: {value}")),
                None => text.push_str(&format!(", no {name}")),
            }
        }
        text
    }
}
