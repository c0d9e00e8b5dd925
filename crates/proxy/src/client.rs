//! Who is at the other end of a downstream connection.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use policy::TrustedPeers;

/// The client of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Whether it is one of the peers that are believed about clients before them.
    pub(crate) trusted: bool,
    /// Whether it speaks TLS with us.
    pub(crate) secure: bool,
}

impl Client {
    pub(crate) fn new(peer: SocketAddr, trusted: bool) -> Self {
        Self { address: peer.ip().to_canonical(), port: peer.port(), trusted, secure: false }
    }

    /// The same, believed or not as a configuration says.
    pub(crate) fn under(self, trusted: &TrustedPeers) -> Self {
        Self { trusted: trusted.trusts(self.address), ..self }
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// An address as text, without an allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressText {
    text: [u8; 46],
    length: usize,
}

impl AddressText {
    pub(crate) fn new(address: IpAddr) -> Self {
        let mut text = Self { text: [0; 46], length: 0 };
        match address {
            IpAddr::V4(address) => text.write_ipv4(address),
            // 39 characters are the most an address has.
            IpAddr::V6(address) => drop(write!(text, "{address}")),
        }
        text
    }

    /// Without the formatting machinery, for it is done for every request.
    fn write_ipv4(&mut self, address: Ipv4Addr) {
        for (at, octet) in address.octets().into_iter().enumerate() {
            if at > 0 {
                self.push(b'.');
            }
            if octet >= 100 {
                self.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.push(b'0' + octet / 10 % 10);
            }
            self.push(b'0' + octet % 10);
        }
    }

    fn push(&mut self, character: u8) {
        self.text[self.length] = character;
        self.length += 1;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Write for AddressText {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        let end = self.length + piece.len();
        let room = self.text.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(piece.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for text in ["0.0.0.0", "127.0.0.1", "255.255.255.255", "9.10.99.100", "::", "2001:db8::1"]
        {
            assert_eq!(AddressText::new(text.parse().unwrap()).as_str(), text);
        }
        let longest = "2001:db8:1111:2222:3333:4444:5555:6666";
        assert_eq!(AddressText::new(longest.parse().unwrap()).as_str(), longest);
    }
}
