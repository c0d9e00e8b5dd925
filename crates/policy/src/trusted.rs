//! Whose word about a client is taken.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::nets::NetSet;

/// Peers whose `Forwarded` (RFC 7239) and `X-Forwarded-*` fields are believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedPeers {
    nets: NetSet,
}

impl TrustedPeers {
    /// From `config.trusted_peers`; an empty list trusts nobody.
    #[must_use]
    pub fn build(nets: &[IpNet]) -> Self {
        Self { nets: NetSet::build(nets) }
    }

    /// Whether this peer is believed. IPv4-mapped addresses count as IPv4.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.nets.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_trusts_nobody_and_another_only_its_own() {
        let peer = "10.1.2.3".parse().unwrap();
        assert!(!TrustedPeers::build(&[]).trusts(peer));
        let peers = TrustedPeers::build(&["10.0.0.0/8".parse().unwrap()]);
        assert!(peers.trusts(peer));
        assert!(!peers.trusts("11.0.0.1".parse().unwrap()));
    }
}
