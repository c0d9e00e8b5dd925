//! The source address of a connection, where an exit has more than one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Member;
use crate::choose::Whose;
use crate::registry::{ExitRegistry, PickKey, What};

/// What the address goes with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceKey<'a> {
    /// The pool that was asked.
    pub(crate) pool: &'a str,
    pub(crate) whose: Whose<'a>,
    pub(crate) session: Option<&'a str>,
    pub(crate) host: u64,
    /// What the session, the rotation or the connection has already.
    pub(crate) pinned: Option<IpAddr>,
}

impl Member {
    /// The source address for a request. What is pinned stays, but where the address goes with
    /// the host of the target.
    pub(crate) fn source(&self, registry: &ExitRegistry, key: &SourceKey<'_>) -> Option<IpAddr> {
        let (net, pick) = match &self.state.identity.what {
            What::Address(address) => return Some(*address),
            What::Direct | What::Chain(_) => return None,
            What::Prefix(net, pick) => (net, pick),
        };
        let number = match pick {
            PickKey::Host => u128::from(key.host) << 64 | u128::from(registry.hash(key.host)),
            _ if key.pinned.is_some_and(|pinned| net.contains(&pinned)) => return key.pinned,
            PickKey::Random => wide(registry.random(), registry.random()),
            PickKey::Session => {
                let who = (key.pool, key.whose, key.session);
                wide(registry.hash((who, 0_u8)), registry.hash((who, 1_u8)))
            }
        };
        Some(address(net, number))
    }

    /// Some source address, for a measurement.
    pub(crate) fn any_source(&self, registry: &ExitRegistry) -> Option<IpAddr> {
        match &self.state.identity.what {
            What::Address(address) => Some(*address),
            What::Direct | What::Chain(_) => None,
            What::Prefix(net, _) => Some(address(net, wide(registry.random(), registry.random()))),
        }
    }

    /// Whether connections from it can reach an address of this family at all.
    pub(crate) fn has_family(&self, target: IpAddr) -> bool {
        match &self.state.identity.what {
            What::Address(address) => address.is_ipv4() == target.is_ipv4(),
            What::Prefix(net, _) => net.addr().is_ipv4() == target.is_ipv4(),
            What::Direct | What::Chain(_) => true,
        }
    }
}

fn wide(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// The address with this number, taken round, in a network. The first address of a network is
/// none of a host (RFC 4291 §2.6.1), nor is the last in IPv4, where there are more than two.
fn address(net: &IpNet, number: u128) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            let size = 1_u64 << (32 - u32::from(net.prefix_len()));
            let (first, hosts) = if size > 2 { (1, size - 2) } else { (0, size) };
            // Less than 2³² in any case.
            let offset = first + u64::try_from(number % u128::from(hosts)).unwrap_or_default();
            let base = u32::from(net.network());
            Ipv4Addr::from(base.wrapping_add(u32::try_from(offset).unwrap_or_default())).into()
        }
        IpNet::V6(net) => {
            let base = u128::from(net.network());
            let bits = 128 - u32::from(net.prefix_len());
            let offset = match 1_u128.checked_shl(bits) {
                None => number,
                Some(size) if size > 2 => 1 + number % (size - 1),
                Some(size) => number % size,
            };
            Ipv6Addr::from(base.wrapping_add(offset)).into()
        }
    }
}
