//! HTTP/1.1: `/1k`, below any path, is a 1 KiB body in one write; `/10m` is 10 MiB from
//! memory with `sendfile`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::io::Errno;

use super::{FIELDS, HEAD_LIMIT, SMALL, Serve, Turn, end_of_head, small_body};
use crate::Result;
use crate::bench::poller::Interest;

/// Bytes of the body of `/10m`.
pub const LARGE: usize = 10 << 20;

/// What is sent, made once.
pub struct Answers {
    small: Vec<u8>,
    large_head: Vec<u8>,
    large: File,
    unknown: Vec<u8>,
}

/// One connection.
#[derive(Default)]
pub struct Connection {
    input: Vec<u8>,
    output: Output,
}

/// What is being sent.
#[derive(Default)]
enum Output {
    #[default]
    Nothing,
    Bytes {
        answer: Answer,
        sent: usize,
    },
    Large {
        offset: u64,
    },
}

#[derive(Clone, Copy)]
enum Answer {
    Small,
    LargeHead,
    Unknown,
}

impl Serve for Connection {
    type Shared = Answers;

    fn turn(&mut self, stream: &mut TcpStream, answers: &Answers) -> Turn {
        if matches!(self.output, Output::Nothing) {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(0) => return Turn::Close,
                Ok(read) => self.input.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Turn::Close,
            }
        }
        loop {
            match self.send(stream, answers) {
                Ok(true) => {}
                Ok(false) => return Turn::Wait(Interest::Write),
                Err(_) => return Turn::Close,
            }
            let Some(end) = end_of_head(&self.input) else {
                if self.input.len() > HEAD_LIMIT {
                    return Turn::Close;
                }
                return Turn::Wait(Interest::Read);
            };
            let answer = Answer::to(&self.input);
            self.input.drain(..end);
            self.output = Output::Bytes { answer, sent: 0 };
        }
    }
}

impl Connection {
    /// Sends what is pending; `false`: the socket is full.
    fn send(&mut self, stream: &mut TcpStream, answers: &Answers) -> std::io::Result<bool> {
        loop {
            match &mut self.output {
                Output::Nothing => return Ok(true),
                Output::Bytes { answer, sent } => {
                    let bytes = answers.bytes(*answer);
                    match stream.write(&bytes[*sent..]) {
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
                    match sendfile(&*stream, &answers.large, Some(offset), left) {
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

impl Answer {
    fn to(request: &[u8]) -> Self {
        let mut words = request.split(|&byte| byte == b' ');
        match (words.next(), words.next()) {
            (Some(b"GET"), Some(path)) if path.ends_with(b"/1k") => Self::Small,
            (Some(b"GET"), Some(b"/10m")) => Self::LargeHead,
            _ => Self::Unknown,
        }
    }
}

impl Answers {
    /// Makes them.
    ///
    /// # Errors
    /// There is no memory for the large body.
    pub fn new() -> Result<Self> {
        let mut large = File::from(memfd_create("origin-10m", MemfdFlags::CLOEXEC)?);
        let block: Vec<u8> = (0..LARGE).map(|index| (index % 251) as u8).collect();
        large.write_all(&block)?;
        Ok(Self { small: small(), large_head: head(200, LARGE), large, unknown: head(404, 0) })
    }

    fn bytes(&self, answer: Answer) -> &[u8] {
        match answer {
            Answer::Small => &self.small,
            Answer::LargeHead => &self.large_head,
            Answer::Unknown => &self.unknown,
        }
    }
}

/// The whole answer to `/1k`.
pub fn small() -> Vec<u8> {
    let mut small = head(200, SMALL);
    small.extend(small_body());
    small
}

fn head(status: u16, length: usize) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Answer\r\n");
    for (name, value) in FIELDS {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Content-Length: {length}\r\n\r\n");
    head.into_bytes()
}
