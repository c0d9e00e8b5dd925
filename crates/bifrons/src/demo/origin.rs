//! An origin: a server that answers every request with what it saw of the client, or that talks
//! over a WebSocket or in gRPC.

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::configuration::{EXITS, Exit};
use super::wire::{Head, discard, read_head};
use super::{grpc, websocket};

/// What answers 403 to whoever comes by [`UNWELCOME`].
pub(super) const SHOP: &str = "/shop";

/// The exit that the shop does not like.
pub(super) const UNWELCOME: &Exit = &EXITS[2];

/// What answers with [`LARGE`] bytes.
pub(super) const DOWNLOAD: &str = "/download";

/// What may be kept, for a minute.
pub(super) const NEWS: &str = "/news/today";

/// A body that nobody reads at once.
pub(super) const LARGE: u64 = 1 << 20;

/// An origin on a thread of its own, so that it can be killed with all of its connections.
pub(super) struct Origin {
    facts: Facts,
    running: Option<Running>,
}

/// What the tasks of an origin share.
#[derive(Clone)]
struct Facts {
    name: char,
    speaks: Speaks,
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
enum Speaks {
    Http1,
    Grpc,
}

struct Running {
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Origin {
    /// Starts one for HTTP/1.1 on a free port of the loopback address.
    ///
    /// # Errors
    /// There is no port, or no thread.
    pub(super) fn start(name: char) -> io::Result<Self> {
        Self::start_for(name, Speaks::Http1)
    }

    /// Starts one for gRPC over HTTP/2 without TLS.
    ///
    /// # Errors
    /// There is no port, or no thread.
    pub(super) fn start_grpc(name: char) -> io::Result<Self> {
        Self::start_for(name, Speaks::Grpc)
    }

    fn start_for(name: char, speaks: Speaks) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let facts = Facts { name, speaks, address, requests: Arc::default() };
        let running = run(facts.clone(), listener)?;
        Ok(Self { facts, running: Some(running) })
    }

    /// What it calls itself.
    pub(super) fn name(&self) -> char {
        self.facts.name
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.facts.address
    }

    /// How many requests have reached it.
    pub(super) fn requests(&self) -> usize {
        self.facts.requests.load(Ordering::Relaxed)
    }

    /// Ends it with all of its connections, as a crash would. They are gone when this returns.
    pub(super) fn kill(&mut self) {
        if let Some(Running { _stop: stop, thread }) = self.running.take() {
            drop(stop);
            // Whether it ended well is of no interest.
            let _ = thread.join();
        }
    }

    /// Starts it again at its old address.
    ///
    /// # Errors
    /// Somebody else has taken the address, or there is no thread.
    pub(super) fn revive(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.facts.address)?;
        self.running = Some(run(self.facts.clone(), listener)?);
        Ok(())
    }
}

fn run(facts: Facts, listener: TcpListener) -> io::Result<Running> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::select! {
            ended = accept(facts, listener) => ended,
            _ = stopped => Ok(()),
        }
    };
    let name = "origin".to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        if let Err(error) = runtime.block_on(serve) {
            tracing::warn!(%error, "a demo origin ended");
        }
    })?;
    Ok(Running { _stop: stop, thread })
}

async fn accept(facts: Facts, listener: tokio::net::TcpListener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        let facts = facts.clone();
        tokio::spawn(async move {
            // A connection that breaks concerns nobody else.
            let _ = serve(&facts, stream, peer).await;
        });
    }
}

async fn serve(facts: &Facts, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match facts.speaks {
        Speaks::Http1 => converse(facts, stream, peer).await,
        Speaks::Grpc => grpc::converse(facts.name, stream, || facts.count()).await,
    }
}

impl Facts {
    fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

async fn converse(facts: &Facts, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut received).await? {
        facts.count();
        if let Some(key) = head.field("Sec-WebSocket-Key") {
            stream.write_all(switch(key).as_bytes()).await?;
            let greeting = format!("{} saw {}", facts.name, head.first_line);
            return websocket::echo(&mut stream, &mut received, &greeting).await;
        }
        let answer = answer(facts, &head, peer);
        let chunked = head.field("Transfer-Encoding").is_some();
        if !chunked {
            discard(&mut stream, &mut received, head.content_length()?).await?;
        }
        stream.write_all(answer.as_bytes()).await?;
        let close = head.field("Connection").is_some_and(|value| value.contains("close"));
        if close || chunked || head.first_line.ends_with("HTTP/1.0") {
            // Nobody reads on to where the next request would begin.
            break;
        }
    }
    Ok(())
}

fn switch(key: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        websocket::accept(key)
    )
}

fn answer(facts: &Facts, request: &Head, peer: SocketAddr) -> String {
    let Facts { name, address, .. } = facts;
    let mut words = request.first_line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut text = String::new();
    let mut body = format!("origin: {name}\nrequest: {}\npeer: {peer}\n", request.first_line);
    for (name, value) in &request.fields {
        // Writing into a string cannot fail.
        let _ = writeln!(body, "{name}: {value}");
    }
    let _ = match path {
        "/login" => write!(
            text,
            "HTTP/1.1 302 Found\r\nLocation: http://{address}/hello\r\n\
             Set-Cookie: session=1; Path=/; HttpOnly\r\n"
        ),
        NEWS => {
            let held = request.field("If-None-Match").is_some_and(|tag| tag.contains("\"today\""));
            body = if held { String::new() } else { "Nothing new today, either. ".repeat(300) };
            let status = if held { "304 Not Modified" } else { "200 OK" };
            write!(
                text,
                "HTTP/1.1 {status}\r\nCache-Control: max-age=60\r\nETag: \"today\"\r\n\
                 Surrogate-Key: news\r\n"
            )
        }
        SHOP if peer.ip() == UNWELCOME.address => write!(text, "HTTP/1.1 403 Forbidden\r\n"),
        DOWNLOAD => {
            body = "x".repeat(LARGE as usize);
            write!(text, "HTTP/1.1 200 OK\r\n")
        }
        _ => write!(text, "HTTP/1.1 200 OK\r\n"),
    };
    let _ = write!(
        text,
        "Server: origin-{name}/1.0\r\nX-Powered-By: demo\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    if method != "HEAD" {
        text.push_str(&body);
    }
    text
}
