//! Which clients may connect.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::nets::NetSet;

/// The client addresses that may use a listener of the forward face.
#[derive(Debug, Clone, Default)]
pub struct ClientNets {
    nets: NetSet,
}

impl ClientNets {
    /// From `forward.clients`; an empty list admits everybody.
    #[must_use]
    pub fn build(nets: &[IpNet]) -> Self {
        Self { nets: NetSet::build(nets) }
    }

    /// Whether this client may connect. IPv4-mapped addresses count as IPv4.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        self.nets.is_empty() || self.nets.contains(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_admits_everybody_and_another_only_its_own() {
        let client = "203.0.113.9".parse().unwrap();
        assert!(ClientNets::build(&[]).admits(client));
        let nets = ClientNets::build(&["10.0.0.0/8".parse().unwrap()]);
        assert!(!nets.admits(client));
        assert!(nets.admits("::ffff:10.1.2.3".parse().unwrap()));
    }
}
