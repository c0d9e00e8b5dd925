//! The PROXY protocol, versions 1 and 2: how a proxy before us tells whose connection it
//! carries, and how we tell a server behind us.
//!
//! [`parse`] is pure: bytes in, a verdict out. [`receive`] takes exactly the header from a
//! socket, and not one byte more. Nothing is lenient here: whoever may send the header is named
//! in the configuration, and its word decides who the client is.

mod crc32c;
mod receive;
mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

pub use receive::{ReceiveError, receive};
pub use write::{LOCAL_V1, LOCAL_V2, write_v1, write_v2};

/// What version 2 begins with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its CRLF.
const MAX_LINE: usize = 107;

/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;

/// Most bytes that may follow the fixed part. The protocol allows 64 KiB, of which nobody who
/// carries TCP makes use.
const MAX_BLOCK: usize = 4096;

/// The longest header that is taken.
pub const MAX_HEADER: usize = FIXED + MAX_BLOCK;

/// The two ends of the connection that is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Where the client is.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The beginning of a header that has at least so many bytes in all: more than there are.
    Need(usize),
    /// A whole header, and how long it is. Without ends the sender speaks for itself (a health
    /// check), or does not know: the addresses of the socket are then those of the client.
    Header {
        /// The ends, where they are told.
        ends: Option<Ends>,
        /// Bytes of the header.
        length: usize,
    },
}

/// Why the bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// They begin in another way.
    Missing,
    /// The line of version 1 is too long, or not what it should be.
    Line,
    /// Neither version 2 nor one of its two commands.
    Version,
    /// A family or a protocol that we do not carry: anything but TCP over IPv4 or IPv6.
    Family,
    /// More bytes than are taken, or fewer than the addresses have.
    Length,
    /// The extensions do not fill their place exactly.
    Extensions,
    /// The checksum is wrong, or there are two.
    Checksum,
}

impl ProtocolError {
    /// A few words for the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "no PROXY protocol header",
            Self::Line => "malformed PROXY protocol line",
            Self::Version => "unknown version or command of the PROXY protocol",
            Self::Family => "PROXY protocol for something other than TCP",
            Self::Length => "wrong length of the PROXY protocol header",
            Self::Extensions => "malformed PROXY protocol extensions",
            Self::Checksum => "wrong checksum of the PROXY protocol header",
        }
    }
}

impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for ProtocolError {}

/// Looks at the bytes that were received so far, from the first on.
///
/// # Errors
/// See [`ProtocolError`]; as soon as no further bytes could make a header of them.
pub fn parse(bytes: &[u8]) -> Result<Progress, ProtocolError> {
    match bytes.first() {
        None => Ok(Progress::Need(1)),
        Some(b'P') => parse_line(bytes),
        Some(_) => parse_binary(bytes),
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 50000 443` and CRLF.
fn parse_line(bytes: &[u8]) -> Result<Progress, ProtocolError> {
    const BEGINNING: &[u8] = b"PROXY ";
    let begun = bytes.len().min(BEGINNING.len());
    if bytes[..begun] != BEGINNING[..begun] {
        return Err(ProtocolError::Missing);
    }
    let within = &bytes[..bytes.len().min(MAX_LINE)];
    let line = match within.iter().position(|byte| !matches!(byte, b' '..=b'~')) {
        Some(end) => match &within[end..] {
            [b'\r', b'\n', ..] => &within[BEGINNING.len()..end],
            [b'\r'] if bytes.len() < MAX_LINE => return Ok(Progress::Need(bytes.len() + 1)),
            _ => return Err(ProtocolError::Line),
        },
        // Its CRLF has to come yet, and has to have room.
        None if bytes.len() + 2 <= MAX_LINE => return Ok(Progress::Need(bytes.len() + 2)),
        None => return Err(ProtocolError::Line),
    };
    let ends = ends_in_words(line).ok_or(ProtocolError::Line)?;
    Ok(Progress::Header { ends, length: BEGINNING.len() + line.len() + 2 })
}

/// What follows `PROXY `; `None`: malformed.
fn ends_in_words(line: &[u8]) -> Option<Option<Ends>> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(None);
    }
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port_in_words);
    let (source_port, destination_port) = (port()?, port()?);
    if words.next().is_some() {
        return None;
    }
    Some(Some(Ends {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    }))
}

/// Digits without a sign and without leading zeros.
fn port_in_words(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = word == "0" || !word.starts_with('0');
    if digits && canonical { word.parse().ok() } else { None }
}

/// Version 2.
fn parse_binary(bytes: &[u8]) -> Result<Progress, ProtocolError> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] != SIGNATURE[..begun] {
        return Err(ProtocolError::Missing);
    }
    // Each byte is judged as soon as it is there: a sender of something else is not waited for.
    let local = match bytes.get(12) {
        None => return Ok(Progress::Need(FIXED)),
        Some(&LOCAL) => true,
        Some(&PROXY) => false,
        Some(_) => return Err(ProtocolError::Version),
    };
    let addresses = match bytes.get(13) {
        None => return Ok(Progress::Need(FIXED)),
        // What the sender says about itself is ignored, whatever its family.
        Some(_) if local => 0,
        Some(0x00) => 0,
        Some(0x11) => 12,
        Some(0x21) => 36,
        Some(_) => return Err(ProtocolError::Family),
    };
    let (Some(high), Some(low)) = (bytes.get(14), bytes.get(15)) else {
        return Ok(Progress::Need(FIXED));
    };
    let block = usize::from(u16::from_be_bytes([*high, *low]));
    if block > MAX_BLOCK || block < addresses {
        return Err(ProtocolError::Length);
    }
    let length = FIXED + block;
    let Some(header) = bytes.get(..length) else { return Ok(Progress::Need(length)) };
    if addresses == 0 {
        return Ok(Progress::Header { ends: None, length });
    }
    check_extensions(header, FIXED + addresses)?;
    Ok(Progress::Header { ends: ends_in_bytes(&header[FIXED..FIXED + addresses]), length })
}

/// Source address, destination address, source port, destination port.
fn ends_in_bytes(block: &[u8]) -> Option<Ends> {
    let (addresses, ports) = block.split_at_checked(block.len().checked_sub(4)?)?;
    let (source, destination) = addresses.split_at(addresses.len() / 2);
    let address = |bytes: &[u8]| match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    };
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Some(Ends {
        source: SocketAddr::new(address(source)?, port(0)),
        destination: SocketAddr::new(address(destination)?, port(2)),
    })
}

/// The extensions (type, length, value) from `start` on: none is used, but the checksum is
/// verified where there is one.
fn check_extensions(header: &[u8], start: usize) -> Result<(), ProtocolError> {
    const CHECKSUM: u8 = 0x03;
    let mut checksum: Option<RangeInclusive<usize>> = None;
    let mut at = start;
    while at < header.len() {
        let Some(&[kind, high, low]) = header[at..].first_chunk::<3>() else {
            return Err(ProtocolError::Extensions);
        };
        let value = at + 3;
        at = value + usize::from(u16::from_be_bytes([high, low]));
        if at > header.len() {
            return Err(ProtocolError::Extensions);
        }
        if kind == CHECKSUM {
            if at - value != 4 || checksum.is_some() {
                return Err(ProtocolError::Checksum);
            }
            checksum = Some(value..=at - 1);
        }
    }
    let Some(place) = checksum else { return Ok(()) };
    let (before, after) = (&header[..*place.start()], &header[place.end() + 1..]);
    let computed = crc32c::of(&[before, &[0; 4], after]);
    if header[place] == computed.to_be_bytes() { Ok(()) } else { Err(ProtocolError::Checksum) }
}

#[cfg(test)]
mod tests;
