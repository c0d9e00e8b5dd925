//! Servers that die, hang, fail and drag under load, and what clients notice of it.

mod site;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use server::servers::ServerState;
use site::until;
use testkit::{Proxy, reserve};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Good,
    /// Takes requests and says nothing.
    Hanging,
    /// Answers 500.
    Failing,
    /// Answers late.
    Slow,
    /// Its process is gone.
    Dead,
}

/// How much later a slow server answers.
const LATE: Duration = Duration::from_millis(20);

/// A server that can be told to misbehave.
struct Patient {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    mode: Mutex<Mode>,
    changed: Condvar,
    /// Requests other than checks.
    served: AtomicUsize,
    listener: Mutex<Option<socket2::Socket>>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Patient {
    fn start(address: SocketAddr) -> Self {
        let state = Arc::new(State {
            mode: Mutex::new(Mode::Good),
            changed: Condvar::new(),
            served: AtomicUsize::new(0),
            listener: Mutex::default(),
            streams: Mutex::default(),
        });
        let patient = Self { address, state };
        patient.listen();
        patient
    }

    fn listen(&self) {
        let listener = TcpListener::bind(self.address).expect("bind");
        *self.state.listener.lock().unwrap() = Some(listener.try_clone().expect("clone").into());
        let state = Arc::clone(&self.state);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                state.streams.lock().unwrap().push(stream.try_clone().expect("clone"));
                let state = Arc::clone(&state);
                std::thread::spawn(move || state.converse(stream));
            }
        });
    }

    fn turn(&self, mode: Mode) {
        let before = std::mem::replace(&mut *self.state.mode.lock().unwrap(), mode);
        self.state.changed.notify_all();
        if mode == Mode::Dead {
            // Nobody accepts any more: the kernel refuses.
            let listener = self.state.listener.lock().unwrap().take().expect("listening");
            listener.shutdown(Shutdown::Both).expect("shut down");
            for stream in self.state.streams.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        } else if before == Mode::Dead {
            self.listen();
        }
    }

    fn served(&self) -> usize {
        self.state.served.load(Ordering::SeqCst)
    }
}

impl State {
    /// Answers the requests of one connection, which have no bodies.
    fn converse(&self, mut stream: TcpStream) -> Option<()> {
        let mut received = Vec::new();
        loop {
            while !received.ends_with(b"\r\n\r\n") {
                let mut room = [0; 1024];
                let read = stream.read(&mut room).ok().filter(|read| *read > 0)?;
                received.extend_from_slice(&room[..read]);
            }
            let is_check = received.starts_with(b"GET /healthz ");
            received.clear();
            if !is_check {
                self.served.fetch_add(1, Ordering::SeqCst);
            }
            let mut mode = self.mode.lock().unwrap();
            while *mode == Mode::Hanging {
                mode = self.changed.wait(mode).unwrap();
            }
            let now = *mode;
            drop(mode);
            let response: &[u8] = match now {
                Mode::Dead => return None,
                Mode::Failing => b"HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            if now == Mode::Slow && !is_check {
                // It is what a slow server is. A change of mode ends it.
                let mode = self.mode.lock().unwrap();
                drop(self.changed.wait_timeout(mode, LATE).unwrap());
            }
            stream.write_all(response).ok()?;
        }
    }
}

#[test]
fn of_four_one_dies_one_hangs_one_fails_and_one_drags() {
    let patients: Vec<_> = (0..4).map(|_| Patient::start(reserve())).collect();
    let servers: String =
        patients.iter().map(|one| format!("server \"http://{}\"\n", one.address)).collect();
    let proxy = Proxy::start(&format!(
        "threads 2\naccess-log \"off\"\nupstream \"app\" {{\n{servers}\
         balance \"least-requests\"\n\
         health \"/healthz\" every=\"500ms\" timeout=\"500ms\" fall=2 rise=2\n\
         retry \"500\" \"timeout\" attempts=3 attempt-timeout=\"3s\" budget=\"100%\"\n\
         slow-start \"1s\"\n}}\n\
         site \"http://127.0.0.1:0\" {{ to upstream=\"app\" }}"
    ));
    let state = |index: usize| proxy.server().registry().status()[0].servers[index].state;
    let (stop, done, failed) =
        (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        // Whatever comes of it, the load ends with the test.
        let _end = End(&stop, &patients);
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let mut client = proxy.client();
                    for _ in 0..100 {
                        let response = site::get(&mut client, "/");
                        if response.status() != 200 {
                            failed.lock().unwrap().push(response.text());
                        }
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let more = |count: usize| {
            let from = done.load(Ordering::SeqCst);
            until("requests are made", || done.load(Ordering::SeqCst) >= from + count);
        };
        more(500);
        assert!(patients.iter().all(|one| one.served() > 50), "all have their share");
        for (patient, mode) in
            patients.iter().zip([Mode::Dead, Mode::Hanging, Mode::Failing, Mode::Slow])
        {
            patient.turn(mode);
        }
        until("the checks have found out", || (0..3).all(|one| state(one) == ServerState::Ill));
        assert_eq!(state(3), ServerState::Well);
        more(50);
        let before: Vec<_> = patients.iter().map(Patient::served).collect();
        more(200);
        let after: Vec<_> = patients.iter().map(Patient::served).collect();
        assert_eq!(before[..3], after[..3], "nobody goes there any more");
        patients.iter().for_each(|one| one.turn(Mode::Good));
        until("all are back", || (0..4).all(|one| state(one) == ServerState::Well));
        until("all have their share", || {
            patients.iter().zip(&after).all(|(one, then)| one.served() > then + 20)
        });
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), done.into_inner(), failed.first());
}

/// Ends the load.
struct End<'a>(&'a AtomicBool, &'a [Patient]);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        for patient in self.1 {
            let mut mode = patient.state.mode.lock().unwrap();
            if *mode == Mode::Hanging {
                *mode = Mode::Good;
                patient.state.changed.notify_all();
            }
        }
    }
}
