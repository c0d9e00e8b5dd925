//! Clients that come and go, in all the ways in which clients do.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::connect;

/// Users that are not at the end of their quota.
pub const USERS: u64 = 4;
/// Clients at a time.
const CLIENTS: u64 = 2 * USERS;
/// The content of a large answer: more than sockets and pipes hold.
const LARGE: usize = 1 << 20;
/// The content of a small one.
const SMALL: usize = 1 << 10;

/// What became of all that clients did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Answers to requests in absolute form, whole.
    pub plain: u64,
    /// Answers through CONNECT tunnels, whole.
    pub tunnels: u64,
    /// Answers through SOCKS5 tunnels, whole.
    pub socks: u64,
    /// What a client broke off.
    pub cut: u64,
    /// What was answered with another status than 200 where that had to be.
    pub refused: u64,
    /// What did not come to its end, or was refused, because exits died.
    pub lost: u64,
}

impl Tally {
    fn add(self, other: Self) -> Self {
        Self {
            plain: self.plain + other.plain,
            tunnels: self.tunnels + other.tunnels,
            socks: self.socks + other.socks,
            cut: self.cut + other.cut,
            refused: self.refused + other.refused,
            lost: self.lost + other.lost,
        }
    }
}

/// Lets clients come and go for so long.
pub fn run(gateway: SocketAddr, origin: SocketAddr, length: Duration) -> Tally {
    let deadline = Instant::now() + length;
    let nobody = testkit::reserve();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = Client { gateway, origin, nobody, number, random: number + 1 };
                scope.spawn(move || client.run(deadline))
            })
            .collect();
        let tallies = clients.into_iter().map(|client| client.join().expect("client"));
        tallies.fold(Tally::default(), Tally::add)
    })
}

struct Client {
    gateway: SocketAddr,
    origin: SocketAddr,
    /// Nobody listens there.
    nobody: SocketAddr,
    number: u64,
    random: u64,
}

impl Client {
    fn run(mut self, deadline: Instant) -> Tally {
        let mut tally = Tally::default();
        while Instant::now() < deadline {
            if !self.turn(&mut tally).unwrap_or(false) {
                tally.lost += 1;
            }
        }
        tally
    }

    /// Does one thing; `false` or an error: it did not come to its end.
    fn turn(&mut self, tally: &mut Tally) -> io::Result<bool> {
        let name = self.name();
        let length = if self.below(4) == 0 { LARGE } else { SMALL };
        let origin = self.origin;
        match self.below(10) {
            0..=2 => {
                let mut stream = connect(self.gateway)?;
                for _ in 0..=self.below(4) {
                    if get(&mut stream, &absolute(origin, &name, length), length)? != 200 {
                        return Ok(false);
                    }
                    tally.plain += 1;
                }
            }
            3 | 4 => {
                let Ok(mut tunnel) = Tunnel::open(self.gateway, &name, origin)? else {
                    return Ok(false);
                };
                get(&mut tunnel.stream, &inside(origin, length), length)?;
                tally.tunnels += 1;
            }
            5 => {
                let Some(mut stream) = socks(self.gateway, &name, origin)? else {
                    return Ok(false);
                };
                get(&mut stream, &inside(origin, length), length)?;
                tally.socks += 1;
            }
            6 => {
                // Gone in the middle of an answer, with bytes unread.
                let (mut stream, request) = match self.below(2) {
                    0 => match Tunnel::open(self.gateway, &name, origin)? {
                        Ok(tunnel) => (tunnel.stream, inside(origin, LARGE)),
                        Err(_) => return Ok(false),
                    },
                    _ => (connect(self.gateway)?, absolute(origin, &name, LARGE)),
                };
                stream.write_all(request.as_bytes())?;
                if read_head(&mut stream)?.0 != 200 {
                    return Ok(false);
                }
                stream.read_exact(&mut [0; SMALL])?;
                tally.cut += 1;
            }
            7 => {
                // Gone before an answer, now and then; else before the request is whole. Whoever
                // answers slowly holds what a client may have, so it must not come too often.
                let mut stream = connect(self.gateway)?;
                let request = absolute(origin, &name, SMALL).replace("/1024 ", "/silent ");
                let whole = request.len() - usize::from(self.below(8) != 0);
                stream.write_all(&request.as_bytes()[..whole])?;
                tally.cut += 1;
            }
            8 => {
                let opened = Tunnel::open(self.gateway, &name, self.nobody)?;
                tally.refused += u64::from(opened.is_err());
            }
            _ => {
                let mut stream = connect(self.gateway)?;
                // The first of these is cut off at the last byte of the quota.
                let request = absolute(origin, "spent", LARGE);
                tally.refused += u64::from(!matches!(get(&mut stream, &request, LARGE), Ok(200)));
            }
        }
        Ok(true)
    }

    /// A user, with a wish or without.
    fn name(&mut self) -> String {
        let user = self.number % USERS;
        match self.below(4) {
            0 => format!("u{user}"),
            1 => format!("u{user}-country-{}", if self.below(2) == 0 { "ca" } else { "us" }),
            2 => format!("u{user}-session-s{}", self.below(16)),
            _ => format!("u{user}-session-t{}-strict", self.below(16)),
        }
    }

    /// A number below `bound` that looks random and is the same in every run (SplitMix64).
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A CONNECT tunnel.
pub struct Tunnel {
    stream: TcpStream,
}

impl Tunnel {
    /// Opens it; or the status that says why not.
    pub fn open(
        gateway: SocketAddr,
        name: &str,
        target: SocketAddr,
    ) -> io::Result<Result<Self, u16>> {
        let mut stream = connect(gateway)?;
        let shown = credentials(name);
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{shown}\r\n");
        stream.write_all(head.as_bytes())?;
        let (status, _) = read_head(&mut stream)?;
        Ok(if status == 200 { Ok(Self { stream }) } else { Err(status) })
    }
}

/// A SOCKS5 tunnel (RFC 1928, RFC 1929); `None`: it was refused.
fn socks(gateway: SocketAddr, name: &str, target: SocketAddr) -> io::Result<Option<TcpStream>> {
    let SocketAddr::V4(target) = target else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut stream = connect(gateway)?;
    let length = u8::try_from(name.len()).expect("a short name");
    let mut hello = vec![5, 1, 2, 1, length];
    hello.extend(name.as_bytes());
    hello.extend([1, b'p', 5, 1, 0, 1]);
    hello.extend(target.ip().octets());
    hello.extend(target.port().to_be_bytes());
    stream.write_all(&hello)?;
    let mut chosen = [0; 4];
    stream.read_exact(&mut chosen)?;
    if chosen != [5, 2, 1, 0] {
        return Ok(None);
    }
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    Ok((reply[1] == 0).then_some(stream))
}

/// Sends a request and reads the answer; its status. One of 200 has content of this length.
fn get(stream: &mut TcpStream, request: &str, length: usize) -> io::Result<u16> {
    stream.write_all(request.as_bytes())?;
    let (status, announced) = read_head(stream)?;
    assert!(status != 200 || announced == length as u64, "{announced} bytes are to come");
    let read = io::copy(&mut stream.take(announced), &mut io::sink())?;
    if read < announced {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(status)
}

/// The status and the length of the content.
fn read_head(stream: &mut TcpStream) -> io::Result<(u16, u64)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // Byte by byte: what follows the head is not to be taken with it.
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest);
    let length = length.split("\r\n").next().and_then(|length| length.parse().ok());
    status.zip(length).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn absolute(origin: SocketAddr, name: &str, length: usize) -> String {
    let shown = credentials(name);
    format!("GET http://{origin}/{length} HTTP/1.1\r\nHost: {origin}\r\n{shown}\r\n")
}

fn inside(origin: SocketAddr, length: usize) -> String {
    format!("GET /{length} HTTP/1.1\r\nHost: {origin}\r\n\r\n")
}

fn credentials(name: &str) -> String {
    format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:p")))
}
