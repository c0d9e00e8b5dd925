//! Parent proxies, played by themselves: HTTP (CONNECT and absolute form), HTTP inside TLS,
//! SOCKS4, SOCKS4a and SOCKS5. They remember what they were asked, and behave as a test says.
//!
//! ```no_run
//! use testkit::parent::{Conduct, How, Parent};
//!
//! let parent = Parent::socks().with_user("me", "secret").knows("shop.example", "127.0.0.1");
//! // … make the proxy use `parent.url("socks5h")` …
//! assert_eq!(parent.wait_for(1)[0].how, How::Socks5);
//! parent.behave(Conduct::Refuse(5));
//! ```

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rustls::ServerConfig;

use crate::{DEADLINE, Identity, Message};

mod http;
mod link;
mod relay;
mod socks;

use link::Link;

/// A parent proxy. It serves until it is dropped or [stopped](Parent::stop).
pub struct Parent {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

/// What a parent does with a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Conduct {
    /// What it is asked.
    #[default]
    Serve,
    /// What it is asked; these bytes come right behind the answer, in one packet with it.
    Early(Vec<u8>),
    /// Says yes to a tunnel, and ends it at once. Of other requests: closes.
    Abandon,
    /// Answers with this status, or as SOCKS with this reply code.
    Refuse(u16),
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
    /// Never answers.
    Hang,
    /// Closes without an answer.
    Close,
    /// Resets the connection.
    Reset,
}

/// The form of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `CONNECT host:port`.
    Connect,
    /// A request in absolute form.
    Absolute,
    /// SOCKS4, to an address.
    Socks4,
    /// SOCKS4 with a name.
    Socks4a,
    /// SOCKS5.
    Socks5,
}

/// What a parent was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// In which form.
    pub how: How,
    /// The host, as it was written; an address of SOCKS in its usual form.
    pub host: String,
    /// The port.
    pub port: u16,
    /// User name and password that were shown. SOCKS4 knows no password.
    pub credentials: Option<(String, String)>,
    /// The request, if it was one of HTTP.
    pub message: Option<Message>,
    /// Who asked.
    pub from: SocketAddr,
    /// On which connection, counted from 1.
    pub connection: usize,
}

impl Asked {
    /// `host:port`.
    #[must_use]
    pub fn target(&self) -> String {
        match self.host.contains(':') && !self.host.starts_with('[') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

type Decide = dyn Fn(&Asked) -> Conduct + Send + Sync;

struct Shared {
    protocol: Protocol,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    user: Option<(String, String)>,
    names: HashMap<String, IpAddr>,
    leaves_from: Option<IpAddr>,
    decide: Arc<Decide>,
    slams: bool,
    stopped: bool,
    connections: usize,
    asked: Vec<Asked>,
    sockets: HashMap<usize, TcpStream>,
}

enum Protocol {
    Http(Option<Arc<ServerConfig>>),
    Socks,
}

impl Parent {
    /// An HTTP proxy on a free port of `127.0.0.1`.
    #[must_use]
    pub fn http() -> Self {
        Self::start(Protocol::Http(None), "127.0.0.1:0")
    }

    /// An HTTP proxy on this address.
    #[must_use]
    pub fn http_on(address: &str) -> Self {
        Self::start(Protocol::Http(None), address)
    }

    /// An HTTP proxy that speaks TLS, with this certificate.
    #[must_use]
    pub fn https(identity: &Identity) -> Self {
        Self::start(Protocol::Http(Some(identity.server(None))), "127.0.0.1:0")
    }

    /// A proxy that speaks SOCKS4, SOCKS4a and SOCKS5, on a free port of `127.0.0.1`.
    #[must_use]
    pub fn socks() -> Self {
        Self::start(Protocol::Socks, "127.0.0.1:0")
    }

    /// The same on this address.
    #[must_use]
    pub fn socks_on(address: &str) -> Self {
        Self::start(Protocol::Socks, address)
    }

    /// Requires these credentials.
    #[must_use]
    pub fn with_user(self, user: &str, password: &str) -> Self {
        self.shared.state().user = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Knows the address of a name. No other names are known to it but `localhost`; nobody is
    /// asked for them.
    #[must_use]
    pub fn knows(self, name: &str, address: &str) -> Self {
        let address = address.parse().expect("an address");
        self.shared.state().names.insert(name.to_owned(), address);
        self
    }

    /// Connects to targets from this address, by which an origin can tell which exit it was.
    #[must_use]
    pub fn leaving_from(self, address: &str) -> Self {
        self.shared.state().leaves_from = Some(address.parse().expect("an address"));
        self
    }

    /// From now on does this with every request.
    pub fn behave(&self, conduct: Conduct) {
        self.decide(move |_| conduct.clone());
    }

    /// From now on decides for each request what to do with it. Credentials are looked at before.
    pub fn decide(&self, decide: impl Fn(&Asked) -> Conduct + Send + Sync + 'static) {
        self.shared.state().decide = Arc::new(decide);
    }

    /// Whether connections are closed as soon as they are made.
    pub fn slam(&self, slams: bool) {
        self.shared.state().slams = slams;
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `SCHEME://[user:password@]127.0.0.1:PORT`, with the credentials that it requires.
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        match &self.shared.state().user {
            Some((user, password)) => format!("{scheme}://{user}:{password}@{}", self.address),
            None => format!("{scheme}://{}", self.address),
        }
    }

    /// What it was asked so far, in order, those without the right credentials included.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state().asked.clone()
    }

    /// What it was asked, when it was asked so many times.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Asked> {
        let state = self.shared.state();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, DEADLINE, |state| state.asked.len() < count);
        let (state, waited) = waited.expect("lock");
        assert!(!waited.timed_out(), "asked {} times, not {count}", state.asked.len());
        state.asked.clone()
    }

    /// How many connections were made to it so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Dies: all connections end, and no more are taken.
    pub fn stop(&self) {
        {
            let mut state = self.shared.state();
            if std::mem::replace(&mut state.stopped, true) {
                return;
            }
            for (_, socket) in state.sockets.drain() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        let acceptor = self.acceptor.lock().expect("lock").take();
        if let Some(acceptor) = acceptor {
            acceptor.join().expect("parent");
        }
    }

    fn start(protocol: Protocol, address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("bind");
        let address = listener.local_addr().expect("address");
        let state = State {
            user: None,
            names: HashMap::from([("localhost".to_owned(), Ipv4Addr::LOCALHOST.into())]),
            leaves_from: None,
            decide: Arc::new(|_| Conduct::Serve),
            slams: false,
            stopped: false,
            connections: 0,
            asked: Vec::new(),
            sockets: HashMap::new(),
        };
        let shared =
            Arc::new(Shared { protocol, state: Mutex::new(state), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        // The listener goes with the thread.
        let acceptor = std::thread::spawn(move || serving.accept(&listener));
        Self { address, shared, acceptor: Mutex::new(Some(acceptor)) }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("lock")
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((socket, from)) = listener.accept() {
            let connection = {
                let mut state = self.state();
                if state.stopped {
                    return;
                }
                state.connections += 1;
                let connection = state.connections;
                state.sockets.insert(connection, socket.try_clone().expect("socket"));
                connection
            };
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                let slams = shared.state().slams;
                if !slams {
                    // Whatever a connection fails with ends it, and nothing else.
                    let _ = shared.serve(socket, Caller { from, connection });
                }
                shared.state().sockets.remove(&connection);
            });
        }
    }

    fn serve(&self, socket: TcpStream, caller: Caller) -> io::Result<()> {
        match &self.protocol {
            Protocol::Http(tls) => http::serve(self, Link::new(socket, tls.as_ref())?, caller),
            Protocol::Socks => socks::serve(self, Link::new(socket, None)?, caller),
        }
    }

    /// Remembers a request; tells what to do with it, if its credentials are good.
    fn judge(&self, asked: Asked) -> Option<Conduct> {
        let (decide, admitted) = {
            let mut state = self.state();
            state.asked.push(asked.clone());
            let shown = asked.credentials.as_ref();
            let admitted = state.user.as_ref().is_none_or(|(user, password)| {
                shown.is_some_and(|shown| {
                    shown.0 == *user && (asked.how.has_no_password() || shown.1 == *password)
                })
            });
            (Arc::clone(&state.decide), admitted)
        };
        self.changed.notify_all();
        admitted.then(|| decide(&asked))
    }

    /// Connects to what was asked for.
    fn reach(&self, asked: &Asked) -> Result<TcpStream, Unreached> {
        let (ip, source) = {
            let state = self.state();
            let bare = asked.host.trim_start_matches('[').trim_end_matches(']');
            let known = state.names.get(&asked.host.to_ascii_lowercase()).copied();
            (bare.parse().ok().or(known), state.leaves_from)
        };
        let ip = ip.ok_or(Unreached::Unknown)?;
        link::dial(SocketAddr::new(ip, asked.port), source).map_err(|_| Unreached::Refused)
    }
}

impl How {
    fn has_no_password(self) -> bool {
        matches!(self, Self::Socks4 | Self::Socks4a)
    }
}

/// Who asks.
#[derive(Clone, Copy)]
struct Caller {
    from: SocketAddr,
    connection: usize,
}

/// Why a target was not reached.
enum Unreached {
    /// Nobody knows the name.
    Unknown,
    /// It does not listen.
    Refused,
}
