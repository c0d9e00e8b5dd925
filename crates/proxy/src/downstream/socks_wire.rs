//! SOCKS 4, 4a and 5 on the wire (RFC 1928, RFC 1929), without I/O.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use message::{AuthorityError, Host};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// 1: CONNECT. Others are known and refused.
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
    let host = match reader.byte()? {
        1 => Ok(Host::Address(IpAddr::V4(reader.v4()?))),
        3 => {
            let length = reader.byte()?;
            name(reader.take(usize::from(length))?)
        }
        4 => {
            let bytes = reader.take(16)?;
            let octets: [u8; 16] = bytes.try_into().map_err(|_| Incomplete::Malformed)?;
            Ok(Host::Address(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()))
        }
        _ => return Err(Incomplete::AddressType),
    };
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
        [0, 0, 0, last] if last != 0 => name(reader.text(255)?),
        _ => Ok(Host::Address(IpAddr::V4(address))),
    };
    Ok((Request { command, host, port, length: reader.at }, user))
}

/// Some clients write addresses as names, IPv6 without brackets.
fn name(text: &[u8]) -> Result<Host<'static>, AuthorityError> {
    if let Some(address) =
        std::str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok())
    {
        return Ok(Host::Address(IpAddr::V6(address).to_canonical()));
    }
    Host::parse(text).map(Host::into_owned)
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
        }
    }
}
