//! What is around the gateway: an origin, and parents that die and come back.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::parent::Parent;

use crate::churn::{self, Tally};

/// Between the death of one parent and that of the next; the one before comes back then.
const BETWEEN_DEATHS: Duration = Duration::from_millis(200);

/// The origin and the parents.
pub struct World {
    /// Answers everybody.
    pub origin: Origin,
    parents: Vec<Place>,
}

/// Where a parent is, or will be again.
struct Place {
    address: SocketAddr,
    start: fn(&str) -> Parent,
    parent: Option<Parent>,
}

impl World {
    /// All of them, alive.
    pub fn start() -> Self {
        let http: fn(&str) -> Parent = Parent::http_on;
        let socks: fn(&str) -> Parent = Parent::socks_on;
        let parents = [http, socks, http, socks].map(|start| {
            // An address that nobody else is given while nobody listens at it.
            let mut place = Place { address: testkit::reserve(), start, parent: None };
            place.live();
            place
        });
        Self { origin: Origin::start(), parents: parents.into() }
    }

    /// Where the parents are.
    pub fn parents(&self) -> [SocketAddr; 4] {
        std::array::from_fn(|number| self.parents[number].address)
    }

    /// Clients come and go for so long, while one parent after another dies and comes back.
    pub fn churn(&mut self, gateway: SocketAddr, length: Duration) -> Tally {
        let origin = self.origin.address;
        let (ended, end) = channel::<()>();
        let parents = &mut self.parents;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut turn = 0;
                while end.recv_timeout(BETWEEN_DEATHS) == Err(RecvTimeoutError::Timeout) {
                    parents[turn % 4].live();
                    turn += 1;
                    parents[turn % 4].die();
                }
                parents.iter_mut().for_each(Place::live);
            });
            let tally = churn::run(gateway, origin, length);
            drop(ended);
            tally
        })
    }

    /// Ends all connections to the origin and the parents, also those that nobody uses.
    pub fn hang_up(&mut self) {
        for parent in &mut self.parents {
            parent.die();
            parent.live();
        }
        self.origin.hang_up();
    }
}

impl Place {
    fn live(&mut self) {
        self.parent.get_or_insert_with(|| (self.start)(&self.address.to_string()));
    }

    /// All its connections end.
    fn die(&mut self) {
        self.parent = None;
    }
}

/// How long the origin is silent before it gives up.
const SILENCE: Duration = Duration::from_millis(300);

/// Answers `/N` with N bytes, and `/silent` never.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    sockets: Arc<Mutex<HashMap<SocketAddr, TcpStream>>>,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let sockets = Arc::new(Mutex::new(HashMap::new()));
        let shared = Arc::clone(&sockets);
        // It ends with the process.
        std::thread::spawn(move || {
            while let Ok((stream, from)) = listener.accept() {
                let Ok(second) = stream.try_clone() else { continue };
                shared.lock().expect("lock").insert(from, second);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // Whatever a connection fails with ends it, and nothing else.
                    let _ = serve(stream);
                    shared.lock().expect("lock").remove(&from);
                });
            }
        });
        Self { address, sockets }
    }

    fn hang_up(&self) {
        for socket in self.sockets.lock().expect("lock").values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Requests without content, on a connection that is kept.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(first) = lines.next() {
        let first = first?;
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let path = first.split(' ').nth(1).unwrap_or_default();
        let Ok(length) = path.trim_start_matches('/').parse::<usize>() else {
            // Silent, until one of the two has had enough.
            stream.set_read_timeout(Some(SILENCE))?;
            while lines.next().is_some_and(|line| line.is_ok()) {}
            return Ok(());
        };
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes())?;
        let piece = [b'x'; 16 << 10];
        let mut left = length;
        while left > 0 {
            let now = left.min(piece.len());
            stream.write_all(&piece[..now])?;
            left -= now;
        }
    }
    Ok(())
}
