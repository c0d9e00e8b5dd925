//! An origin for real clients: a small web server that streams, so that bodies may be larger
//! than what a test wants to hold in memory.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Ends what a client forgot. Far above what any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// 100 MiB, and a little, so that no buffer divides it.
pub const LARGE: usize = (100 << 20) + 4321;

/// Size of the block of bytes that large bodies repeat; prime, so that no buffer divides it.
const BLOCK: usize = 65_521;

/// A server that runs until its process ends.
pub struct Web {
    address: SocketAddr,
    secure: bool,
    seen: Arc<Mutex<Seen>>,
}

/// What a server has seen so far, request by request.
#[derive(Default)]
struct Seen {
    heads: Vec<String>,
    callers: Vec<IpAddr>,
}

/// A request, without its body.
pub struct Request {
    pub method: String,
    /// The request target as received.
    pub target: String,
    /// The head as received.
    pub head: String,
    /// The trailers, once the body was read.
    trailers: Vec<String>,
    fields: HashMap<String, String>,
}

impl Request {
    /// The value of a field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The path.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// How a request that the server does not know itself is answered.
type Answer = dyn Fn(&Request, Vec<u8>) -> Response + Send + Sync;

/// An answer of a test.
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let fields = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self { status: 200, fields, body: body.into() }
    }

    pub fn not_found() -> Self {
        Self { status: 404, fields: Vec::new(), body: b"nothing here\n".to_vec() }
    }
}

impl Web {
    /// Without TLS.
    pub fn start() -> Self {
        Self::with("127.0.0.1:0", None, |_, _| Response::not_found())
    }

    /// With TLS.
    pub fn start_tls(config: Arc<ServerConfig>) -> Self {
        Self::with("127.0.0.1:0", Some(config), |_, _| Response::not_found())
    }

    /// With more than the paths that [`converse`] knows.
    pub fn with(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request, Vec<u8>) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::try_with(address, tls, answer).expect("listen")
    }

    /// The same, where the address may not exist.
    pub fn try_with(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request, Vec<u8>) -> Response + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let web = Self { address, secure: tls.is_some(), seen: Arc::clone(&seen) };
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (tls, seen, answer) = (tls.clone(), Arc::clone(&seen), Arc::clone(&answer));
                // A client that goes away in the middle is no error of the server.
                std::thread::spawn(move || drop(serve(stream, tls, &seen, &*answer)));
            }
        });
        Ok(web)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of it, by its address.
    pub fn url(&self, path: &str) -> String {
        format!("http{}://{}{path}", if self.secure { "s" } else { "" }, self.address)
    }

    /// A URL of it, by a name.
    pub fn url_of(&self, name: &str, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{name}:{}{path}", self.address.port())
    }

    /// The heads of all requests so far, as received.
    pub fn heads(&self) -> Vec<String> {
        self.seen.lock().expect("lock").heads.clone()
    }

    /// The address that each request so far came from.
    pub fn callers(&self) -> Vec<IpAddr> {
        self.seen.lock().expect("lock").callers.clone()
    }
}

/// Bytes of a large body: at every place a known one, and nowhere a short period.
pub struct Pattern {
    block: Vec<u8>,
}

impl Pattern {
    pub fn new() -> Self {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let block = (0..BLOCK)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        Self { block }
    }

    /// Writes the first `count` bytes.
    pub fn write(&self, out: &mut impl Write, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let part = count.min(BLOCK);
            out.write_all(&self.block[..part])?;
            count -= part;
        }
        out.flush()
    }

    /// Makes a file of the first `count` bytes.
    pub fn write_file(&self, path: &Path, count: usize) {
        let mut file = io::BufWriter::new(std::fs::File::create(path).expect("create"));
        self.write(&mut file, count).expect("write");
    }

    /// Whether these are the bytes from `at` on.
    pub fn matches(&self, mut at: usize, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let here = &self.block[at % BLOCK..];
            let length = here.len().min(bytes.len());
            if here[..length] != bytes[..length] {
                return false;
            }
            at += length;
            bytes = &bytes[length..];
        }
        true
    }

    /// That these are the first `count` bytes and nothing else.
    #[track_caller]
    pub fn check(&self, bytes: &[u8], count: usize) {
        assert_eq!(bytes.len(), count);
        assert!(self.matches(0, bytes), "other bytes");
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    seen: &Mutex<Seen>,
    answer: &Answer,
) -> io::Result<()> {
    let caller = stream.peer_addr()?.ip();
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let session = ServerConnection::new(config).expect("TLS server");
            Box::new(StreamOwned::new(session, stream))
        }
    };
    let mut connection =
        Connection { stream, caller, received: Vec::new(), pattern: Pattern::new() };
    while converse(&mut connection, seen, answer)? {}
    connection.stream.flush()
}

struct Connection {
    stream: Box<dyn Stream>,
    caller: IpAddr,
    received: Vec<u8>,
    pattern: Pattern,
}

/// Answers one request; whether there may be another.
///
/// | path                | answer                                                     |
/// |---------------------|------------------------------------------------------------|
/// | `/hello`            | a line                                                     |
/// | `/seen`             | the head of the request                                    |
/// | `/from`             | the address that the request came from                     |
/// | `/large?N`          | N bytes, with their length                                 |
/// | `/chunked?N`        | N bytes in chunks, with a trailer                          |
/// | `/until-close?N`    | N bytes that end with the connection                       |
/// | `/upload`           | how many bytes were sent, whether the right ones; trailers |
/// | `/refuse`           | 413 without reading the body                               |
fn converse(connection: &mut Connection, seen: &Mutex<Seen>, answer: &Answer) -> io::Result<bool> {
    let Some(mut request) = connection.head()? else { return Ok(false) };
    {
        let mut seen = seen.lock().expect("lock");
        seen.heads.push(request.head.clone());
        seen.callers.push(connection.caller);
    }
    let bodiless = request.method == "HEAD";
    let count = request.query().parse::<usize>();
    let count = || count.clone().expect("a number of bytes");
    match request.path() {
        "/large" => {
            let length = format!("Content-Length: {}\r\n", count());
            connection.send_head(200, &length)?;
            if !bodiless {
                connection.pattern.write(&mut connection.stream, count())?;
            }
            Ok(true)
        }
        "/chunked" => {
            connection.send_head(200, "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n")?;
            let mut chunks = Chunks(&mut connection.stream);
            connection.pattern.write(&mut chunks, count())?;
            connection.stream.write_all(b"0\r\nX-Sum: 42\r\n\r\n")?;
            connection.stream.flush()?;
            Ok(true)
        }
        "/until-close" => {
            connection.send_head(200, "Connection: close\r\n")?;
            connection.pattern.write(&mut connection.stream, count())?;
            Ok(false)
        }
        "/refuse" => {
            connection.send_head(413, "Content-Length: 0\r\nConnection: close\r\n")?;
            Ok(false)
        }
        _ => {
            if request.field("expect").is_some() {
                connection.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                connection.stream.flush()?;
            }
            let keep = request.path() != "/upload";
            let (length, right, body) = connection.body(&mut request, keep)?;
            let response = match request.path() {
                "/hello" => Response::ok("text/plain", "hello from the origin\n"),
                "/seen" => Response::ok("text/plain", request.head.clone()),
                "/from" => Response::ok("text/plain", connection.caller.to_string()),
                "/upload" => {
                    let mut said = vec![format!("{length} bytes, right: {right}")];
                    said.append(&mut request.trailers);
                    Response::ok("text/plain", said.join(", "))
                }
                _ => answer(&request, body),
            };
            let mut fields = format!("Content-Length: {}\r\n", response.body.len());
            for (name, value) in &response.fields {
                fields.push_str(&format!("{name}: {value}\r\n"));
            }
            connection.send_head(response.status, &fields)?;
            if !bodiless {
                connection.stream.write_all(&response.body)?;
            }
            connection.stream.flush()?;
            Ok(true)
        }
    }
}

impl Connection {
    /// More bytes; whether there were any.
    fn receive(&mut self) -> io::Result<bool> {
        let before = self.received.len();
        self.received.resize(before + (128 << 10), 0);
        let outcome = self.stream.read(&mut self.received[before..]);
        self.received.truncate(before + outcome.as_ref().map_or(0, |count| *count));
        match outcome {
            Ok(count) => Ok(count > 0),
            // TLS without a good-bye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Up to and with the first of these; `None`: the client went away.
    fn until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|found| found == end) {
                return Ok(Some(self.received.drain(..at + end.len()).collect()));
            }
            if !self.receive()? {
                return Ok(None);
            }
        }
    }

    fn head(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.until(b"\r\n\r\n")? else { return Ok(None) };
        let head = String::from_utf8_lossy(&head).into_owned();
        // `curl --haproxy-protocol` writes a line of its own before the head.
        let lines = head.lines().skip_while(|line| line.starts_with("PROXY "));
        let mut lines = lines.map(str::to_owned);
        let start = lines.next().expect("a request line");
        let mut words = start.split(' ').map(str::to_owned);
        let (method, target) = (words.next().expect("method"), words.next().expect("target"));
        let fields = lines
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect();
        Ok(Some(Request { method, target, head, trailers: Vec::new(), fields }))
    }

    /// Length of the body, whether it is the beginning of the [`Pattern`], and its bytes if
    /// they are to be kept.
    fn body(&mut self, request: &mut Request, keep: bool) -> io::Result<(usize, bool, Vec<u8>)> {
        let mut seen = (0, true, Vec::new());
        if request.field("transfer-encoding").is_some() {
            loop {
                let line = self.until(b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let line = String::from_utf8_lossy(&line).into_owned();
                let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
                if size == 0 {
                    self.trailers(request)?;
                    return Ok(seen);
                }
                self.take(size, keep, &mut seen)?;
                self.until(b"\r\n")?;
            }
        }
        let length = request.field("content-length").map_or(0, |n| n.parse().expect("length"));
        self.take(length, keep, &mut seen)?;
        Ok(seen)
    }

    /// Takes the trailers (RFC 9112 §7.1.2), to the empty line.
    fn trailers(&mut self, request: &mut Request) -> io::Result<()> {
        loop {
            let line = self.until(b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match String::from_utf8_lossy(&line).trim_end() {
                "" => return Ok(()),
                trailer => request.trailers.push(trailer.to_owned()),
            }
        }
    }

    fn take(
        &mut self,
        mut count: usize,
        keep: bool,
        seen: &mut (usize, bool, Vec<u8>),
    ) -> io::Result<()> {
        while count > 0 {
            if self.received.is_empty() && !self.receive()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let part = count.min(self.received.len());
            let bytes: Vec<u8> = self.received.drain(..part).collect();
            seen.1 &= self.pattern.matches(seen.0, &bytes);
            seen.0 += part;
            count -= part;
            if keep {
                seen.2.extend_from_slice(&bytes);
            }
        }
        Ok(())
    }

    fn send_head(&mut self, status: u16, fields: &str) -> io::Result<()> {
        let head = format!("HTTP/1.1 {status} Status\r\nServer: web\r\n{fields}\r\n");
        self.stream.write_all(head.as_bytes())
    }
}

/// Writes each slice as a chunk.
struct Chunks<'a>(&'a mut Box<dyn Stream>);

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write!(self.0, "{:x}\r\n", bytes.len())?;
        self.0.write_all(bytes)?;
        self.0.write_all(b"\r\n")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
