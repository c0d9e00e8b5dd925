//! HTTP/1.1: `/1k`, below any path, is a 1 KiB body in one write; `/10m` is 10 MiB from
//! memory with `sendfile`; `/text-100k` is text. What begins with `/kept-` and `/object/` is for
//! caches, and counted.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::io::Errno;

use super::text::page;
use super::{
    EXPIRING_FIELDS, FIELDS, HEAD_LIMIT, KEPT_FIELDS, SMALL, Serve, Turn, end_of_head, small_body,
};
use crate::Result;
use crate::bench::objects;
use crate::bench::poller::Interest;

/// Bytes of the body of `/10m`.
pub const LARGE: usize = 10 << 20;
/// Bytes of the body of `/text-100k`.
pub const MEDIUM: usize = 100 << 10;
/// What a cache keeps: paths, and bytes of their bodies.
pub const KEPT: [(&str, usize); 3] =
    [("/kept-1k", SMALL), ("/kept-100k", MEDIUM), ("/kept-1m", 1 << 20)];

/// What is sent, made once.
pub struct Answers {
    small: Vec<u8>,
    large_head: Vec<u8>,
    large: File,
    kept: [Vec<u8>; KEPT.len()],
    /// The beginning of the body of any object.
    object: Vec<u8>,
    text: Vec<u8>,
    unknown: Vec<u8>,
    /// `Date` of what is kept.
    now: String,
    fetches: Arc<AtomicU64>,
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
    /// Made for this request.
    Made {
        bytes: Vec<u8>,
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
    /// One of [`KEPT`].
    Kept(usize),
    /// One of [`objects`].
    Object(u32),
    Text,
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
            if matches!(answer, Answer::Kept(_) | Answer::Object(_)) {
                answers.fetches.fetch_add(1, Ordering::Relaxed);
            }
            self.input.drain(..end);
            self.output = match answer {
                Answer::Object(object) => Output::Made { bytes: answers.object(object), sent: 0 },
                answer => Output::Bytes { answer, sent: 0 },
            };
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
                    if !write(stream, bytes, sent)? {
                        return Ok(false);
                    }
                    if *sent == bytes.len() {
                        self.output = match answer {
                            Answer::LargeHead => Output::Large { offset: 0 },
                            _ => Output::Nothing,
                        };
                    }
                }
                Output::Made { bytes, sent } => {
                    if !write(stream, bytes, sent)? {
                        return Ok(false);
                    }
                    if *sent == bytes.len() {
                        self.output = Output::Nothing;
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

/// Writes once; `false`: the socket is full.
fn write(stream: &mut TcpStream, bytes: &[u8], sent: &mut usize) -> std::io::Result<bool> {
    match stream.write(&bytes[*sent..]) {
        Ok(written) => *sent += written,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(true)
}

impl Answer {
    fn to(request: &[u8]) -> Self {
        let mut words = request.split(|&byte| byte == b' ');
        let (Some(b"GET"), Some(path)) = (words.next(), words.next()) else { return Self::Unknown };
        match path {
            b"/10m" => Self::LargeHead,
            b"/text-100k" => Self::Text,
            path if path.ends_with(b"/1k") => Self::Small,
            path => Self::kept(path).unwrap_or(Self::Unknown),
        }
    }

    fn kept(path: &[u8]) -> Option<Self> {
        let path = str::from_utf8(path).ok()?;
        match path.strip_prefix("/object/") {
            Some(object) => Some(Self::Object(object.parse().ok()?)),
            None => KEPT.iter().position(|(kept, _)| *kept == path).map(Self::Kept),
        }
    }
}

impl Answers {
    /// Makes them.
    ///
    /// # Errors
    /// There is no memory for the large body, or no `date`.
    pub fn new() -> Result<Self> {
        let mut large = File::from(memfd_create("origin-10m", MemfdFlags::CLOEXEC)?);
        let now = now()?;
        let kept_fields = [&KEPT_FIELDS[..], &[("Date", now.as_str())]].concat();
        let block: Vec<u8> = (0..LARGE).map(|index| (index % 251) as u8).collect();
        large.write_all(&block)?;
        Ok(Self {
            small: small(),
            large_head: head(200, &FIELDS, LARGE),
            large,
            kept: KEPT.map(|(_, length)| whole(&kept_fields, &page(length))),
            now,
            object: page(objects::LONGEST),
            text: whole(&FIELDS, &page(MEDIUM)),
            unknown: head(404, &FIELDS, 0),
            fetches: Arc::default(),
        })
    }

    /// Counts what was asked for of that which a cache keeps.
    pub fn fetches(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.fetches)
    }

    fn bytes(&self, answer: Answer) -> &[u8] {
        match answer {
            Answer::Small => &self.small,
            Answer::LargeHead => &self.large_head,
            Answer::Kept(index) => &self.kept[index],
            Answer::Text => &self.text,
            // An object has no answer of its own here, it is made.
            Answer::Object(_) | Answer::Unknown => &self.unknown,
        }
    }

    /// The whole answer with an object.
    fn object(&self, object: u32) -> Vec<u8> {
        let fields = [&KEPT_FIELDS[..], &[("Date", self.now.as_str())]].concat();
        whole(&fields, &self.object[..objects::length(object)])
    }
}

/// The time in the form of HTTP (RFC 9110 §5.6.7).
fn now() -> Result<String> {
    let mut command = Command::new("date");
    command.args(["-u", "+%a, %d %b %Y %H:%M:%S GMT"]).env("LC_ALL", "C");
    Ok(String::from_utf8(command.output()?.stdout)?.trim().to_owned())
}

/// The whole answer to `/1k`.
pub fn small() -> Vec<u8> {
    whole(&FIELDS, &small_body().collect::<Vec<u8>>())
}

/// The whole answer that is fresh for a second.
pub fn expiring() -> Vec<u8> {
    whole(&EXPIRING_FIELDS, &small_body().collect::<Vec<u8>>())
}

fn whole(fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut answer = head(200, fields, body.len());
    answer.extend_from_slice(body);
    answer
}

fn head(status: u16, fields: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Answer\r\n");
    for (name, value) in fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Content-Length: {length}\r\n\r\n");
    head.into_bytes()
}
