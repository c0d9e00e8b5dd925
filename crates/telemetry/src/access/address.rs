//! Addresses and numbers as text, without the formatting machinery of the standard library.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Appends a decimal number.
pub(super) fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends seconds with six decimals.
pub(super) fn push_seconds(out: &mut Vec<u8>, duration: Duration) {
    push_number(out, duration.as_secs());
    let mut decimals = *b".000000";
    let mut micros = duration.subsec_micros();
    for digit in decimals[1..].iter_mut().rev() {
        *digit = b'0' + (micros % 10) as u8;
        micros /= 10;
    }
    out.extend_from_slice(&decimals);
}

/// Appends an address; one that is IPv4 in an IPv6 coat (RFC 4291 §2.5.5.2) as IPv4, so that
/// a client has one name whatever socket it came through.
pub(super) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => push_ipv4(out, ip),
        IpAddr::V6(ip) => push_ipv6(out, ip),
    }
}

/// Appends address and port.
pub(super) fn push_socket(out: &mut Vec<u8>, address: SocketAddr) {
    let ip = address.ip().to_canonical();
    if ip.is_ipv6() {
        out.push(b'[');
    }
    push_ip(out, ip);
    if ip.is_ipv6() {
        out.push(b']');
    }
    out.push(b':');
    push_number(out, address.port());
}

fn push_ipv4(out: &mut Vec<u8>, ip: Ipv4Addr) {
    let [a, b, c, d] = ip.octets();
    push_number(out, a);
    for octet in [b, c, d] {
        out.push(b'.');
        push_number(out, octet);
    }
}

/// RFC 5952 §4: lower case, no leading zeros, the first longest run of at least two zero
/// groups as `::`.
fn push_ipv6(out: &mut Vec<u8>, ip: Ipv6Addr) {
    let groups = ip.segments();
    let gap = longest_zero_run(&groups);
    let mut i = 0;
    while i < groups.len() {
        if i == gap.0 && gap.1 >= 2 {
            out.extend_from_slice(b"::");
            i += gap.1;
            continue;
        }
        if i > 0 && !(gap.1 >= 2 && i == gap.0 + gap.1) {
            out.push(b':');
        }
        push_group(out, groups[i]);
        i += 1;
    }
}

/// Start and length.
fn longest_zero_run(groups: &[u16; 8]) -> (usize, usize) {
    let mut longest = (0, 0);
    let mut run = 0;
    for (i, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > longest.1 {
            longest = (i + 1 - run, run);
        }
    }
    longest
}

fn push_group(out: &mut Vec<u8>, group: u16) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = (4 - group.leading_zeros() / 4).max(1);
    for shift in (0..digits).rev() {
        out.push(HEX[usize::from(group >> (shift * 4) & 0xf)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn seconds() {
        assert_eq!(text(|out| push_seconds(out, Duration::ZERO)), "0.000000");
        assert_eq!(text(|out| push_seconds(out, Duration::from_micros(1_000_042))), "1.000042");
        assert_eq!(text(|out| push_seconds(out, Duration::from_nanos(999))), "0.000000");
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(text(|out| push_ip(out, "::ffff:192.0.2.1".parse().unwrap())), "192.0.2.1");
        let mapped = "[::ffff:192.0.2.1]:80".parse().unwrap();
        assert_eq!(text(|out| push_socket(out, mapped)), "192.0.2.1:80");
        let v6 = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!(text(|out| push_socket(out, v6)), "[2001:db8::1]:443");
    }

    proptest! {
        #[test]
        fn same_as_the_standard_library(mut groups in any::<[u16; 8]>(), zeros in any::<u8>()) {
            for (i, group) in groups.iter_mut().enumerate() {
                if zeros >> i & 1 == 1 {
                    *group = 0;
                }
            }
            let ip = IpAddr::V6(Ipv6Addr::from(groups)).to_canonical();
            prop_assert_eq!(text(|out| push_ip(out, ip)), ip.to_string());
        }

        #[test]
        fn ipv4_same_as_the_standard_library(octets in any::<[u8; 4]>()) {
            let ip = IpAddr::from(octets);
            prop_assert_eq!(text(|out| push_ip(out, ip)), ip.to_string());
        }
    }
}
