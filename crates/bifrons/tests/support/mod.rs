//! The binary in a process of its own, and an origin for it.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod schema;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Longer than anything here takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a process ended, and what it said.
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifrons"));
    // Messages are to look the same wherever the tests run.
    command.args(arguments).env_remove("BIFRONS_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub fn bifrons(arguments: &[&str]) -> Outcome {
    let output = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The binary while it runs, in a process of its own. It is killed when this is dropped.
pub struct Running {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Running {
    /// Starts it, and listens to one of its outputs; the other goes nowhere.
    fn start(arguments: &[&str], listen_to_stderr: bool) -> Self {
        let mut command = command(arguments);
        if listen_to_stderr {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        } else {
            command.stdout(Stdio::piped()).stderr(Stdio::null());
        }
        let mut child = command.spawn().unwrap();
        let output: Box<dyn Read + Send> = if listen_to_stderr {
            Box::new(child.stderr.take().unwrap())
        } else {
            Box::new(child.stdout.take().unwrap())
        };
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Read on when nobody listens: the process must not wait for us.
                let _ = sender.send(line);
            }
        });
        Self { child, said }
    }

    /// A server, and where it says that it listens.
    pub fn server(arguments: &[&str]) -> (Self, SocketAddr) {
        let mut running = Self::start(arguments, true);
        let address = running.wait_for(|line| line.rsplit_once(" on ")?.1.parse().ok());
        (running, address)
    }

    /// The demo, and what it prints.
    pub fn demo(arguments: &[&str]) -> Self {
        Self::start(arguments, false)
    }

    /// Waits for a line in which something is found.
    pub fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> T {
        let mut before = Vec::new();
        loop {
            let Ok(line) = self.said.recv_timeout(PATIENCE) else {
                panic!("what was waited for was not said:\n{}", before.join("\n"));
            };
            if let Some(found) = find(&line) {
                return found;
            }
            before.push(line);
        }
    }

    /// What it holds of the system.
    pub fn held(&self) -> Held {
        Held::of(self.child.id())
    }

    /// Sends a signal: `HUP`.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end, and returns the exit status.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Sends SIGTERM, and returns the exit status.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait()
    }
}

/// What a process holds of the system (proc(5)).
#[derive(Debug, Default, Clone, Copy)]
pub struct Held {
    /// Ends of pipes that are open.
    pub pipes: usize,
    /// Sockets.
    pub sockets: usize,
    /// All else that is open.
    pub files: usize,
    /// Memory that is resident, KiB.
    pub resident_kib: u64,
}

impl Held {
    fn of(process: u32) -> Self {
        let mut held = Self::default();
        for entry in std::fs::read_dir(format!("/proc/{process}/fd")).unwrap() {
            // It may have been closed meanwhile.
            let Ok(target) = std::fs::read_link(entry.unwrap().path()) else { continue };
            let target = target.to_string_lossy();
            match target.split(':').next() {
                Some("pipe") => held.pipes += 1,
                Some("socket") => held.sockets += 1,
                _ => held.files += 1,
            }
        }
        let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        held.resident_kib = line.trim().trim_end_matches(" kB").parse().unwrap();
        held
    }
}

/// Sends a signal to a process.
pub fn signal(process: u32, name: &str) {
    let kill = format!("kill -{name} {process}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every request with the same text.
pub struct Origin {
    pub address: SocketAddr,
}

impl Origin {
    pub fn start(body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, body);
            }
        });
        Self { address }
    }
}

fn answer(mut stream: TcpStream, body: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // The other end may have gone away.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

/// Sends a request on a connection of its own, and returns all that is answered.
pub fn http(to: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A file in a folder of its own; both are gone when this is dropped.
pub struct File {
    path: String,
    _folder: tempfile::TempDir,
}

impl File {
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Writes a file.
pub fn write(name: &str, text: &str) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    File { path: path.to_str().unwrap().to_owned(), _folder: folder }
}
