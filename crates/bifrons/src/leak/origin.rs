//! The far end: it takes requests, tells what it saw, and answers all of them alike.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// No head that we send is longer, with all that a proxy could add.
const LONGEST_HEAD: usize = 64 << 10;

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Who connected.
    pub(super) peer: IpAddr,
    /// The head as it came, without the empty line.
    pub(super) head: String,
}

/// A listener.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    seen: Receiver<Seen>,
}

impl Origin {
    /// Listens there, for as long as the runtime runs.
    pub(super) async fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, seen) = channel(16);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                tokio::spawn(serve(stream, peer.ip(), sender.clone()));
            }
        });
        Ok(Self { address, seen })
    }

    /// The next request.
    pub(super) async fn seen(&mut self) -> Option<Seen> {
        self.seen.recv().await
    }
}

async fn serve(mut stream: TcpStream, peer: IpAddr, sender: Sender<Seen>) {
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let read = stream.read_buf(&mut head).await;
        if head.len() > LONGEST_HEAD || !matches!(read, Ok(1..)) {
            return;
        }
    };
    let head = String::from_utf8_lossy(&head[..end]).into_owned();
    // Nobody waits for it once there is enough.
    let _ = sender.try_send(Seen { peer, head });
    let _ = stream.write_all(ANSWER).await;
    let _ = stream.shutdown().await;
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
    Cache-Control: no-store\r\nConnection: close\r\n\r\nok\n";
