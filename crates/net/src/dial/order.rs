//! In which order to try addresses (RFC 8305 §4).

use std::net::SocketAddr;

/// Lets the families take turns, beginning with that of the first address, and keeps
/// the order within each: if one family is broken, the second attempt finds the other.
pub(super) fn interleave(addrs: &mut Vec<SocketAddr>) {
    let Some(first_is_v4) = addrs.first().map(SocketAddr::is_ipv4) else { return };
    let (preferred, other): (Vec<_>, Vec<_>) =
        addrs.drain(..).partition(|addr| addr.is_ipv4() == first_is_v4);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        let pair = [preferred.next(), other.next()];
        if pair == [None, None] {
            return;
        }
        addrs.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_keep_their_order() {
        let parse = |text: &str| -> Vec<SocketAddr> {
            text.split_whitespace().map(|ip| SocketAddr::new(ip.parse().unwrap(), 80)).collect()
        };
        for (given, wanted) in [
            ("", ""),
            ("1.1.1.1", "1.1.1.1"),
            ("::a ::b ::c 1.1.1.1 1.1.1.2", "::a 1.1.1.1 ::b 1.1.1.2 ::c"),
            ("1.1.1.1 ::a 1.1.1.2 1.1.1.3", "1.1.1.1 ::a 1.1.1.2 1.1.1.3"),
            ("1.1.1.1 1.1.1.2", "1.1.1.1 1.1.1.2"),
        ] {
            let mut addrs = parse(given);
            interleave(&mut addrs);
            assert_eq!(addrs, parse(wanted));
        }
    }
}
