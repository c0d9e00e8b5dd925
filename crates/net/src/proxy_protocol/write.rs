//! Headers as we write them: without extensions, and always with addresses of one family.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::{Ends, SIGNATURE};

/// The header of a connection that carries nobody's, in version 1.
pub const LOCAL_V1: [u8; 15] = *b"PROXY UNKNOWN\r\n";

/// The header of a connection that carries nobody's, in version 2.
pub const LOCAL_V2: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Appends a header of version 1.
pub fn write_v1(out: &mut Vec<u8>, ends: &Ends) {
    let Ends { source, destination } = in_one_family(ends);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    // Writing to memory cannot fail.
    let _ = write!(out, "PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
}

/// Appends a header of version 2.
pub fn write_v2(out: &mut Vec<u8>, ends: &Ends) {
    let Ends { source, destination } = in_one_family(ends);
    out.extend_from_slice(&SIGNATURE);
    let (family, length) = if source.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
    out.extend_from_slice(&[0x21, family, 0, length]);
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

/// IPv4 in its own form where both are, else IPv6 with IPv4 mapped into it (RFC 4291 §2.5.5.2).
fn in_one_family(ends: &Ends) -> Ends {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    let (source, destination) = (plain(ends.source), plain(ends.destination));
    if source.is_ipv4() == destination.is_ipv4() {
        Ends { source, destination }
    } else {
        Ends { source: mapped(source), destination: mapped(destination) }
    }
}
