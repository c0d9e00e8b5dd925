//! SOCKS 4, 4a and 5 on the wire (RFC 1928, RFC 1929), without I/O.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use message::{AuthorityError, Host};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// 1: CONNECT, 2: BIND, 3: UDP ASSOCIATE. Others are refused.
    pub command: u8,
    /// The target.
    pub host: Result<Host<'static>, AuthorityError>,
    /// The target's port.
    pub port: u16,
    /// Bytes of the message.
    pub length: usize,
}

/// More bytes are needed, or no bytes can make it right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incomplete {
    /// The message goes on.
    More,
    /// It is not the protocol.
    Malformed,
    /// An address type that is none of the three.
    AddressType,
}

/// A reader over what has come so far.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, Incomplete> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Incomplete> {
        let taken = self.bytes.get(self.at..self.at + count).ok_or(Incomplete::More)?;
        self.at += count;
        Ok(taken)
    }

    fn port(&mut self) -> Result<u16, Incomplete> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// An address or a name, and the type in front of it (RFC 1928 §5).
    fn host(&mut self) -> Result<Result<Host<'a>, AuthorityError>, Incomplete> {
        Ok(match self.byte()? {
            1 => Ok(Host::Address(IpAddr::V4(self.v4()?))),
            3 => {
                let length = self.byte()?;
                name(self.take(usize::from(length))?)
            }
            4 => {
                let bytes = self.take(16)?;
                let octets: [u8; 16] = bytes.try_into().map_err(|_| Incomplete::Malformed)?;
                Ok(Host::Address(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()))
            }
            _ => return Err(Incomplete::AddressType),
        })
    }

    fn v4(&mut self) -> Result<Ipv4Addr, Incomplete> {
        self.take(4).map(|b| Ipv4Addr::new(b[0], b[1], b[2], b[3]))
    }

    /// Up to and with a NUL byte; at most `max` bytes before it.
    fn text(&mut self, max: usize) -> Result<&'a [u8], Incomplete> {
        let rest = &self.bytes[self.at..];
        match rest.iter().take(max + 1).position(|byte| *byte == 0) {
            Some(end) => {
                self.at += end + 1;
                Ok(&rest[..end])
            }
            None if rest.len() > max => Err(Incomplete::Malformed),
            None => Err(Incomplete::More),
        }
    }
}

/// The methods that a SOCKS5 client offers, and the length of its message.
///
/// # Errors
/// See [`Incomplete`].
pub fn methods(bytes: &[u8]) -> Result<(&[u8], usize), Incomplete> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.byte()? != 5 {
        return Err(Incomplete::Malformed);
    }
    let count = reader.byte()?;
    let methods = reader.take(usize::from(count))?;
    Ok((methods, reader.at))
}

/// User, password, and the length of the message (RFC 1929 §2).
///
/// # Errors
/// See [`Incomplete`].
pub fn password(bytes: &[u8]) -> Result<(&[u8], &[u8], usize), Incomplete> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.byte()? != 1 {
        return Err(Incomplete::Malformed);
    }
    let length = reader.byte()?;
    let user = reader.take(usize::from(length))?;
    let length = reader.byte()?;
    let password = reader.take(usize::from(length))?;
    Ok((user, password, reader.at))
}

/// A SOCKS5 request (RFC 1928 §4).
///
/// # Errors
/// See [`Incomplete`].
pub fn request5(bytes: &[u8]) -> Result<Request, Incomplete> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.byte()? != 5 {
        return Err(Incomplete::Malformed);
    }
    let command = reader.byte()?;
    if reader.byte()? != 0 {
        return Err(Incomplete::Malformed);
    }
    let host = reader.host()?.map(Host::into_owned);
    let port = reader.port()?;
    Ok(Request { command, host, port, length: reader.at })
}

/// A SOCKS4 or SOCKS4a request, with the user it names.
///
/// # Errors
/// See [`Incomplete`].
pub fn request4(bytes: &[u8]) -> Result<(Request, &[u8]), Incomplete> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.byte()? != 4 {
        return Err(Incomplete::Malformed);
    }
    let command = reader.byte()?;
    let port = reader.port()?;
    let address = reader.v4()?;
    let user = reader.text(255)?;
    // 0.0.0.x with x ≠ 0 says that a name follows.
    let host = match address.octets() {
        [0, 0, 0, last] if last != 0 => name(reader.text(255)?).map(Host::into_owned),
        _ => Ok(Host::Address(IpAddr::V4(address))),
    };
    Ok((Request { command, host, port, length: reader.at }, user))
}

/// A datagram between a client and us: where it goes, and what is carried (RFC 1928 §7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The target.
    pub host: Host<'a>,
    /// The target's port.
    pub port: u16,
    /// What it is sent.
    pub data: &'a [u8],
}

/// The longest header that we write: one with an IPv6 address.
pub const MAX_DATAGRAM_HEADER: usize = 22;

/// Reads a datagram of a client. `None`: it is none, or a fragment; both are dropped, for nobody
/// is told anything over UDP.
#[must_use]
pub fn datagram(bytes: &[u8]) -> Option<Datagram<'_>> {
    let mut reader = Reader { bytes, at: 0 };
    // Fragments may be dropped by whoever does not put them together (RFC 1928 §7).
    let [0, 0, 0] = reader.take(3).ok()? else { return None };
    let host = reader.host().ok()?.ok()?;
    let port = reader.port().ok()?;
    Some(Datagram { host, port, data: &bytes[reader.at..] })
}

/// Writes the header of a datagram from `source` in front of what stands behind the first
/// [`MAX_DATAGRAM_HEADER`] bytes of `buffer`, and returns where it begins.
///
/// # Panics
/// Where the buffer is shorter than that.
pub fn put_datagram_header(buffer: &mut [u8], source: SocketAddr) -> usize {
    let mut header = [0; MAX_DATAGRAM_HEADER];
    let length = match source.ip() {
        IpAddr::V4(ip) => {
            header[3] = 1;
            header[4..8].copy_from_slice(&ip.octets());
            10
        }
        IpAddr::V6(ip) => {
            header[3] = 4;
            header[4..20].copy_from_slice(&ip.octets());
            MAX_DATAGRAM_HEADER
        }
    };
    header[length - 2..length].copy_from_slice(&source.port().to_be_bytes());
    let start = MAX_DATAGRAM_HEADER - length;
    buffer[start..MAX_DATAGRAM_HEADER].copy_from_slice(&header[..length]);
    start
}

/// A SOCKS5 reply with the address that is bound for the client (RFC 1928 §6).
#[must_use]
pub fn reply5_at(code: u8, bound: SocketAddr) -> Vec<u8> {
    let mut room = [0; MAX_DATAGRAM_HEADER];
    let start = put_datagram_header(&mut room, bound);
    // The two forms differ in what stands before the type of the address.
    room[start] = 5;
    room[start + 1] = code;
    room[start..].to_vec()
}

/// Some clients write addresses as names, IPv6 without brackets.
fn name(text: &[u8]) -> Result<Host<'_>, AuthorityError> {
    if let Some(address) =
        std::str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok())
    {
        return Ok(Host::Address(IpAddr::V6(address).to_canonical()));
    }
    Host::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Result<Host<'static>, AuthorityError> {
        Ok(Host::Name(text.to_owned().into()))
    }

    #[test]
    fn socks5() {
        let request = request5(b"\x05\x01\x00\x03\x0bExample.com\x01\xbbrest").unwrap();
        assert_eq!(request.host, named("example.com"));
        assert_eq!((request.command, request.port, request.length), (1, 443, 18));
        let v4 = request5(b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50").unwrap();
        assert_eq!(v4.host, Ok(Host::Address("127.0.0.1".parse().unwrap())));
        let mapped = b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01\0\x50";
        assert_eq!(request5(mapped).unwrap().host, v4.host);
        assert_eq!(request5(b"\x05\x01\x00\x02"), Err(Incomplete::AddressType));
        assert_eq!(request5(b"\x05\x01\x01"), Err(Incomplete::Malformed));
        let six = request5(b"\x05\x01\x00\x03\x03::1\x00\x50").unwrap();
        assert_eq!(six.host, Ok(Host::Address("::1".parse().unwrap())));
    }

    #[test]
    fn socks4_and_4a() {
        let (request, user) = request4(b"\x04\x01\x00\x50\x7f\x00\x00\x01me\0").unwrap();
        assert_eq!((request.port, user), (80, &b"me"[..]));
        let (request, _) = request4(b"\x04\x01\x00\x50\x00\x00\x00\x01\0a.example\0x").unwrap();
        assert_eq!((request.host, request.length), (named("a.example"), 19));
        let mut endless = b"\x04\x01\x00\x50\x7f\x00\x00\x01".to_vec();
        endless.resize(400, b'a');
        assert_eq!(request4(&endless), Err(Incomplete::Malformed));
    }

    #[test]
    fn datagrams() {
        let seen = datagram(b"\0\0\0\x01\xc0\0\x02\x01\x00\x35data").unwrap();
        assert_eq!(seen.host, Host::Address("192.0.2.1".parse().unwrap()));
        assert_eq!((seen.port, seen.data), (53, &b"data"[..]));
        let seen = datagram(b"\0\0\0\x03\x09A.Example\x01\xbb").unwrap();
        assert_eq!((seen.host, seen.data), (Host::Name("a.example".into()), &b""[..]));
        for wrong in [
            &b"\0\0\x01\x01\xc0\0\x02\x01\x00\x35a fragment"[..],
            b"\0\0\x80\x01\xc0\0\x02\x01\x00\x35the last fragment",
            b"\0\x01\0\x01\xc0\0\x02\x01\x00\x35reserved",
            b"\0\0\0\x02\xc0\0\x02\x01\x00\x35no such type",
            b"\0\0\0\x03\x03a/b\x00\x35no name",
            b"\0\0\0\x01\xc0\0\x02\x01\x00",
            b"\0\0\0",
            b"",
        ] {
            assert_eq!(datagram(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn headers_and_replies_are_written_as_they_are_read() {
        for source in ["192.0.2.1:53", "[2001:db8::1]:443"] {
            let source: SocketAddr = source.parse().unwrap();
            let mut buffer = [&[0xff; MAX_DATAGRAM_HEADER][..], b"data"].concat();
            let start = put_datagram_header(&mut buffer, source);
            let seen = datagram(&buffer[start..]).unwrap();
            assert_eq!(seen.host, Host::Address(source.ip()));
            assert_eq!((seen.port, seen.data), (source.port(), &b"data"[..]));
            // Replies have the form of requests.
            let reply = request5(&reply5_at(0, source)).unwrap();
            assert_eq!(reply.host, Ok(Host::Address(source.ip())));
            assert_eq!((reply.command, reply.port), (0, source.port()));
        }
    }

    #[test]
    fn every_cut_asks_for_more() {
        let request = b"\x05\x01\x00\x03\x01a\x00\x50";
        for cut in 0..request.len() {
            assert_eq!(request5(&request[..cut]), Err(Incomplete::More));
        }
        let login = b"\x01\x02me\x02pw";
        for cut in 0..login.len() {
            assert_eq!(password(&login[..cut]), Err(Incomplete::More));
        }
        assert_eq!(password(login), Ok((&b"me"[..], &b"pw"[..], 7)));
        assert_eq!(methods(b"\x05\x02\x00\x02x"), Ok((&b"\x00\x02"[..], 4)));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = (methods(&bytes), password(&bytes), request5(&bytes), request4(&bytes));
            let _ = datagram(&bytes);
        }
    }
}
