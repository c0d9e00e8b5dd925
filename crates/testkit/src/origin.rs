//! A server behind the proxy, played by a test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::ServerConfig;

use crate::message::parse_request;
use crate::{DEADLINE, Message, Peer};

/// An origin whose connections are accepted one by one by the script of a test.
pub struct Origin {
    address: SocketAddr,
    accepted: Receiver<TcpStream>,
    tls: Option<Arc<ServerConfig>>,
}

impl Origin {
    /// Listens on a free port of `127.0.0.1`.
    #[must_use]
    pub fn start() -> Self {
        Self::on("127.0.0.1:0")
    }

    /// Listens on this address.
    #[must_use]
    pub fn on(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("bind");
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
        Self { address, accepted, tls: None }
    }

    /// Speaks TLS on every connection.
    #[must_use]
    pub fn with_tls(self, config: Arc<ServerConfig>) -> Self {
        Self { tls: Some(config), ..self }
    }

    /// Answers all requests by itself from now on, on connections that are kept; `answer` is
    /// given each request and returns the bytes to send.
    #[must_use]
    pub fn serve(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Served {
        Served::start(Self::start(), answer)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http{}://{}", if self.tls.is_some() { "s" } else { "" }, self.address)
    }

    /// The next connection, which must come.
    pub fn accept(&self) -> Peer {
        match self.accepted.recv_timeout(DEADLINE) {
            Ok(stream) => self.begin(stream),
            Err(_) => panic!("nobody connects to the origin"),
        }
    }

    /// No connection waits to be accepted. To be sure that none was made, make the proxy do
    /// something else first.
    pub fn expect_no_connection(&self) {
        assert!(self.accepted.try_recv().is_err(), "somebody connected to the origin");
    }

    fn begin(&self, stream: TcpStream) -> Peer {
        let peer = Peer::over(stream);
        match &self.tls {
            None => peer,
            Some(config) => peer.accept_tls(config).expect("TLS handshake"),
        }
    }
}

/// An origin that answers by itself, and remembers all that it received.
pub struct Served {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Message>,
    /// What was received behind the last whole request of a connection.
    fragments: Vec<Vec<u8>>,
}

impl Served {
    /// Lets `origin` answer by itself.
    #[must_use]
    pub fn start(
        origin: Origin,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let (address, seen) = (origin.address, Arc::new(Mutex::new(Seen::default())));
        let threads: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let answer = Arc::new(answer);
        let (noted, running) = (Arc::clone(&seen), Arc::clone(&threads));
        std::thread::spawn(move || {
            while let Ok(stream) = origin.accepted.recv() {
                noted.lock().expect("lock").connections += 1;
                let (seen, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                let tls = origin.tls.clone();
                let thread = std::thread::spawn(move || {
                    let peer = Peer::over(stream);
                    // A client that does not like the certificate has nothing to ask.
                    let peer = match tls {
                        None => Some(peer),
                        Some(config) => peer.accept_tls(&config).ok(),
                    };
                    if let Some(peer) = peer {
                        converse(peer, &seen, &*answer);
                    }
                });
                let mut running = running.lock().expect("lock");
                // A thread that is never joined keeps its stack.
                running.retain(|thread: &JoinHandle<()>| !thread.is_finished());
                running.push(thread);
            }
        });
        Self { address, seen, threads }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.lock().expect("lock").connections
    }

    /// The requests received so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Message> {
        self.seen.lock().expect("lock").requests.clone()
    }

    /// The only request received so far.
    #[must_use]
    pub fn request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests");
        requests.remove(0)
    }

    /// Waits until all connections have ended, which takes a proxy that was stopped, and tells
    /// all bytes that were received: those of whole requests, and fragments of requests.
    #[must_use]
    pub fn all_bytes(&self) -> String {
        let threads = std::mem::take(&mut *self.threads.lock().expect("lock"));
        for thread in threads {
            thread.join().expect("origin");
        }
        let seen = self.seen.lock().expect("lock");
        let heads = seen.requests.iter().map(|request| &request.head);
        let bodies = seen.requests.iter().map(|request| &request.body);
        let all: Vec<u8> =
            heads.chain(bodies).chain(&seen.fragments).flat_map(|part| part.clone()).collect();
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// Answers the requests of one connection until it ends.
fn converse(mut peer: Peer, seen: &Mutex<Seen>, answer: &dyn Fn(&Message) -> Vec<u8>) {
    loop {
        if let Some((request, length)) = parse_request(peer.at_hand()) {
            peer.take(length);
            let response = answer(&request);
            seen.lock().expect("lock").requests.push(request);
            if peer.try_send(response).is_err() {
                return;
            }
        } else if !matches!(peer.receive(), Ok(true)) {
            let fragment = peer.at_hand().to_vec();
            seen.lock().expect("lock").fragments.push(fragment);
            return;
        }
    }
}
