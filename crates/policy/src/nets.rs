//! A set of networks with a fast membership test.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use ahash::RandomState;
use ipnet::{IpNet, Ipv4Net};

/// Networks of both families as sorted, disjoint, inclusive ranges.
///
/// Addresses and networks are compared in canonical form: `::ffff:192.0.2.1` is
/// `192.0.2.1` (RFC 4291 §2.5.5.2), on both sides.
#[derive(Debug, Clone, Default)]
pub(crate) struct NetSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl NetSet {
    /// The union of these networks.
    pub(crate) fn build<'a>(nets: impl IntoIterator<Item = &'a IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match canonical_net(*net) {
                IpNet::V4(net) => {
                    v4.push((u32::from(net.network()), u32::from(net.broadcast())));
                }
                IpNet::V6(net) => {
                    v6.push((u128::from(net.network()), u128::from(net.broadcast())));
                }
            }
        }
        Self { v4: merge(v4), v6: merge(v6) }
    }

    /// Whether the address lies in one of the networks.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, u32::from(address)),
            IpAddr::V6(address) => within(&self.v6, u128::from(address)),
        }
    }

    /// Whether there is no network at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// What belongs to the smallest network that holds an address. Networks and addresses are compared
/// in canonical form. A look-up is one probe for each length of a network that occurs.
#[derive(Debug, Clone)]
pub(crate) struct NetMap<T> {
    /// By length, the longest first.
    v4: Vec<(u8, HashMap<u32, T, RandomState>)>,
    v6: Vec<(u8, HashMap<u128, T, RandomState>)>,
}

impl<T> Default for NetMap<T> {
    fn default() -> Self {
        Self { v4: Vec::new(), v6: Vec::new() }
    }
}

impl<T> NetMap<T> {
    /// Adds a network; what belongs to the very same network already stays, and is returned.
    pub(crate) fn insert(&mut self, net: IpNet, value: T) -> Option<&T> {
        match canonical_net(net) {
            IpNet::V4(net) => insert(&mut self.v4, net.prefix_len(), net.network().into(), value),
            IpNet::V6(net) => insert(&mut self.v6, net.prefix_len(), net.network().into(), value),
        }
    }

    pub(crate) fn get(&self, address: IpAddr) -> Option<&T> {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = u32::from(address);
                let mask = |length: u8| u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                self.v4.iter().find_map(|(length, nets)| nets.get(&(bits & mask(*length))))
            }
            IpAddr::V6(address) => {
                let bits = u128::from(address);
                let mask = |length: u8| u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                self.v6.iter().find_map(|(length, nets)| nets.get(&(bits & mask(*length))))
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

fn insert<K: Hash + Eq, T>(
    lengths: &mut Vec<(u8, HashMap<K, T, RandomState>)>,
    length: u8,
    net: K,
    value: T,
) -> Option<&T> {
    let place = lengths.partition_point(|(other, _)| *other > length);
    if lengths.get(place).is_none_or(|(other, _)| *other != length) {
        lengths.insert(place, (length, HashMap::default()));
    }
    match lengths[place].1.entry(net) {
        Entry::Occupied(entry) => Some(entry.into_mut()),
        Entry::Vacant(entry) => {
            entry.insert(value);
            None
        }
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
pub(crate) fn canonical_net(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && v6.prefix_len() >= 96
        && let Some(address) = v6.addr().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(address, v6.prefix_len() - 96)
    {
        return IpNet::V4(v4);
    }
    net
}

/// Sorts ranges and joins those that overlap.
fn merge<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1 => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    merged.into_boxed_slice()
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|(low, _)| *low <= value);
    after.checked_sub(1).is_some_and(|index| value <= ranges[index].1)
}

/// The IPv4 address that an IPv6 address stands for, in the forms that some translator or
/// stack still delivers: IPv4-compatible (RFC 4291 §2.5.5.1), NAT64 (RFC 6052 §2.1 and
/// RFC 8215, as `/96`) and 6to4 (RFC 3056 §2).
///
/// Mapped addresses are not among them: canonical form has made them IPv4 already.
pub(crate) fn embedded_v4(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let segments = v6.segments();
    let low = (u32::from(segments[6]) << 16) | u32::from(segments[7]);
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0, _, _] if low > 1 => low,
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0x64, 0xff9b, 1, ..] => low,
        [0x2002, high, low, ..] => (u32::from(high) << 16) | u32::from(low),
        _ => return None,
    };
    Some(IpAddr::V4(embedded.into()))
}

/// The first 64 bits: what one subscriber is given at least (RFC 6177).
pub(crate) fn prefix_64(address: Ipv6Addr) -> u64 {
    (u128::from(address) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(nets: &[&str]) -> NetSet {
        let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
        NetSet::build(&nets)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn edges_of_a_network_belong_to_it() {
        let set = set(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"]);
        for inside in ["10.0.0.0", "10.255.255.255", "2001:db8::", "2001:db8:ffff::1", "192.0.2.7"]
        {
            assert!(set.contains(ip(inside)), "{inside}");
        }
        for outside in ["9.255.255.255", "11.0.0.0", "2001:db9::", "192.0.2.6", "192.0.2.8"] {
            assert!(!set.contains(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn mapped_forms_are_the_same_network_and_the_same_address() {
        assert!(set(&["127.0.0.0/8"]).contains(ip("::ffff:127.1.2.3")));
        assert!(set(&["::ffff:127.0.0.0/104"]).contains(ip("127.1.2.3")));
        assert!(!set(&["::/0"]).contains(ip("127.0.0.1")));
        assert!(set(&["0.0.0.0/0"]).contains(ip("255.255.255.255")));
        assert!(!NetSet::default().contains(ip("::1")));
    }

    #[test]
    fn embedded_addresses_are_found() {
        let v4 = Some(ip("192.0.2.33"));
        for text in
            ["::192.0.2.33", "64:ff9b::192.0.2.33", "64:ff9b:1::192.0.2.33", "2002:c000:221::1"]
        {
            assert_eq!(embedded_v4(ip(text)), v4, "{text}");
        }
        for text in ["::1", "::", "2001:db8::1", "192.0.2.33", "64:ff9c::1"] {
            assert_eq!(embedded_v4(ip(text)), None, "{text}");
        }
    }

    #[test]
    fn the_smallest_network_that_holds_an_address_is_found() {
        let mut map = NetMap::default();
        for (net, value) in [
            ("0.0.0.0/0", "all"),
            ("10.0.0.0/8", "ten"),
            ("10.1.0.0/16", "ten one"),
            ("::ffff:192.0.2.7/128", "seven"),
            ("2001:db8::/32", "six"),
        ] {
            assert_eq!(map.insert(net.parse().unwrap(), value), None);
        }
        assert_eq!(map.insert("10.9.9.9/8".parse().unwrap(), "again"), Some(&"ten"));
        for (address, value) in [
            ("10.1.2.3", Some("ten one")),
            ("10.2.0.0", Some("ten")),
            ("::ffff:10.2.0.0", Some("ten")),
            ("192.0.2.7", Some("seven")),
            ("192.0.2.8", Some("all")),
            ("2001:db8::1", Some("six")),
            ("2001:db9::1", None),
        ] {
            assert_eq!(map.get(ip(address)).copied(), value, "{address}");
        }
        assert!(NetMap::<()>::default().is_empty() && !map.is_empty());
    }

    proptest! {
        #[test]
        fn equals_asking_each_network(
            nets in prop::collection::vec((any::<u32>(), 0u8..=32), 0..12),
            low in any::<u32>(),
        ) {
            let nets: Vec<IpNet> = nets
                .iter()
                .map(|(address, len)| IpNet::new(IpAddr::V4((*address).into()), *len).unwrap())
                .collect();
            let set = NetSet::build(&nets);
            let mut probes = vec![IpAddr::V4(low.into())];
            for net in &nets {
                probes.extend([net.network(), net.broadcast()]);
            }
            for probe in probes {
                prop_assert_eq!(set.contains(probe), nets.iter().any(|net| net.contains(&probe)));
            }
        }
    }
}
