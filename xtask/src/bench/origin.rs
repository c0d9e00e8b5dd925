//! The origin behind every proxy: one thread, two answers, as few instructions as possible.
//!
//! A full web server would take so much of the load's core that the load could not fill the
//! proxy's. `/1k` is a 1 KiB body with the fields that an ordinary origin sends, in one
//! write; `/10m` is 10 MiB from memory with `sendfile`.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::io::Errno;

use super::poller::{Interest, Poller};
use crate::Result;

/// Bytes of the body of `/10m`.
pub const LARGE: usize = 10 << 20;
/// Bytes of the body of `/1k`.
pub const SMALL: usize = 1 << 10;
/// A request head larger than this is refused.
const HEAD_LIMIT: usize = 16 << 10;
/// The listener's number; connections have the others.
const LISTENER: usize = usize::MAX;

/// Starts the origin in a thread of its own and tells where it listens. It ends with the
/// process.
///
/// # Errors
/// There is no socket or no memory for it.
pub fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("origin".into()).spawn(move || {
        if let Err(error) = Origin::new(listener).and_then(|mut origin| origin.serve()) {
            eprintln!("the origin ended: {error}");
        }
    })?;
    Ok(address)
}

struct Origin {
    listener: TcpListener,
    poller: Poller,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    answers: Answers,
}

struct Answers {
    small: Vec<u8>,
    large_head: Vec<u8>,
    large: File,
    unknown: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Output,
    waits_for: Interest,
}

/// What is being sent.
enum Output {
    Nothing,
    Bytes { answer: Answer, sent: usize },
    Large { offset: u64 },
}

#[derive(Clone, Copy)]
enum Answer {
    Small,
    LargeHead,
    Unknown,
}

/// What became of a connection.
enum Turn {
    Wait(Interest),
    Close,
}

impl Origin {
    fn new(listener: TcpListener) -> Result<Self> {
        let poller = Poller::new()?;
        poller.add(&listener, LISTENER, Interest::Read)?;
        let mut large = File::from(memfd_create("origin-10m", MemfdFlags::CLOEXEC)?);
        let block: Vec<u8> = (0..LARGE).map(|index| (index % 251) as u8).collect();
        large.write_all(&block)?;
        let mut small = head(200, SMALL);
        small.extend((0..SMALL).map(|index| b'a' + (index % 26) as u8));
        Ok(Self {
            listener,
            poller,
            connections: Vec::new(),
            free: Vec::new(),
            answers: Answers { small, large_head: head(200, LARGE), large, unknown: head(404, 0) },
        })
    }

    fn serve(&mut self) -> Result {
        let mut ready: Vec<usize> = Vec::new();
        loop {
            self.poller.wait(None, &mut ready)?;
            for &token in &ready {
                if token == LISTENER {
                    self.accept()?;
                } else {
                    self.turn(token)?;
                }
            }
        }
    }

    fn accept(&mut self) -> Result {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let token = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.poller.add(&stream, token, Interest::Read)?;
            self.connections[token] = Some(Connection {
                stream,
                input: Vec::new(),
                output: Output::Nothing,
                waits_for: Interest::Read,
            });
        }
    }

    fn turn(&mut self, token: usize) -> Result {
        let Some(connection) = &mut self.connections[token] else { return Ok(()) };
        match connection.turn(&self.answers) {
            Turn::Wait(interest) if interest == connection.waits_for => {}
            Turn::Wait(interest) => {
                connection.waits_for = interest;
                self.poller.change(&connection.stream, token, interest)?;
            }
            Turn::Close => {
                self.connections[token] = None;
                self.free.push(token);
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Reads, answers and sends until the socket has no more to give or to take.
    fn turn(&mut self, answers: &Answers) -> Turn {
        if matches!(self.output, Output::Nothing) {
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Turn::Close,
                Ok(read) => self.input.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Turn::Close,
            }
        }
        loop {
            match self.send(answers) {
                Ok(true) => {}
                Ok(false) => return Turn::Wait(Interest::Write),
                Err(_) => return Turn::Close,
            }
            let Some(end) = self.input.windows(4).position(|window| window == b"\r\n\r\n") else {
                if self.input.len() > HEAD_LIMIT {
                    return Turn::Close;
                }
                return Turn::Wait(Interest::Read);
            };
            let answer = if self.input.starts_with(b"GET /1k ") {
                Answer::Small
            } else if self.input.starts_with(b"GET /10m ") {
                Answer::LargeHead
            } else {
                Answer::Unknown
            };
            self.input.drain(..end + 4);
            self.output = Output::Bytes { answer, sent: 0 };
        }
    }

    /// Sends what is pending; `false`: the socket is full.
    fn send(&mut self, answers: &Answers) -> std::io::Result<bool> {
        loop {
            match &mut self.output {
                Output::Nothing => return Ok(true),
                Output::Bytes { answer, sent } => {
                    let bytes = answers.bytes(*answer);
                    match self.stream.write(&bytes[*sent..]) {
                        Ok(written) => *sent += written,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                        Err(error) => return Err(error),
                    }
                    if *sent == bytes.len() {
                        self.output = match answer {
                            Answer::LargeHead => Output::Large { offset: 0 },
                            Answer::Small | Answer::Unknown => Output::Nothing,
                        };
                    }
                }
                Output::Large { offset } => {
                    let left = LARGE - usize::try_from(*offset).unwrap_or(LARGE);
                    match sendfile(&self.stream, &answers.large, Some(offset), left) {
                        Ok(sent) if sent == left => self.output = Output::Nothing,
                        Ok(_) => {}
                        Err(Errno::AGAIN) => return Ok(false),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
}

impl Answers {
    fn bytes(&self, answer: Answer) -> &[u8] {
        match answer {
            Answer::Small => &self.small,
            Answer::LargeHead => &self.large_head,
            Answer::Unknown => &self.unknown,
        }
    }
}

fn head(status: u16, length: usize) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Answer\r\n\
         Server: origin\r\n\
         Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Length: {length}\r\n\
         Last-Modified: Wed, 31 Dec 2025 00:00:00 GMT\r\n\
         ETag: \"5e6f-1a2b3c\"\r\n\
         Cache-Control: private, no-cache\r\n\
         \r\n"
    )
    .into_bytes()
}
