//! Our own listeners: a proxy must not be led to itself.

use std::net::{IpAddr, SocketAddr};

use crate::nets::embedded_v4;

/// What this process listens on, by what reaching it through the proxy would mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// The admin listener; no rule opens it.
    pub admin: Vec<SocketAddr>,
    /// Listeners of the forward face; no rule opens them, for that would be a loop.
    pub forwards: Vec<SocketAddr>,
    /// Listeners of the reverse face; a rule that names the address opens them.
    pub sites: Vec<SocketAddr>,
    /// Every address of this machine: what a listener on `0.0.0.0` or `[::]` stands for.
    /// Loopback is always included.
    pub local: Vec<IpAddr>,
}

/// Which of our listeners an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnListener {
    Admin,
    Forward,
    Site,
}

impl OwnAddresses {
    /// Whether whoever is at this address runs on this machine, and may reach what listens on its
    /// loopback addresses.
    #[must_use]
    pub fn is_here(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_unspecified()
            || self.is_local(address)
            || embedded_v4(address).is_some_and(|v4| v4.is_unspecified() || self.is_local(v4))
    }

    /// Which of our listeners a connection to this address would reach. The worst is named.
    pub(crate) fn listener_at(&self, target: SocketAddr) -> Option<OwnListener> {
        let reached =
            |listeners: &[SocketAddr]| listeners.iter().any(|own| self.reaches(target, *own));
        if reached(&self.admin) {
            Some(OwnListener::Admin)
        } else if reached(&self.forwards) {
            Some(OwnListener::Forward)
        } else if reached(&self.sites) {
            Some(OwnListener::Site)
        } else {
            None
        }
    }

    fn reaches(&self, target: SocketAddr, listener: SocketAddr) -> bool {
        let ip = target.ip().to_canonical();
        target.port() == listener.port()
            && (self.is_at(ip, listener.ip().to_canonical())
                || embedded_v4(ip).is_some_and(|v4| self.is_at(v4, listener.ip().to_canonical())))
    }

    /// Both addresses in canonical form.
    fn is_at(&self, target: IpAddr, listener: IpAddr) -> bool {
        // Connecting to the unspecified address leads to this machine; to which of its
        // addresses depends on the source address, so it is taken for all of them.
        if target == listener || target.is_unspecified() {
            return true;
        }
        match listener {
            IpAddr::V4(listener) if listener.is_unspecified() => {
                target.is_ipv4() && self.is_local(target)
            }
            IpAddr::V6(listener) if listener.is_unspecified() => self.is_local(target),
            _ => false,
        }
    }

    fn is_local(&self, target: IpAddr) -> bool {
        target.is_loopback() || self.local.iter().any(|local| local.to_canonical() == target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnAddresses {
        OwnAddresses {
            admin: vec!["127.0.0.1:9901".parse().unwrap()],
            forwards: vec!["0.0.0.0:3128".parse().unwrap()],
            sites: vec!["[::]:443".parse().unwrap(), "[2001:db8::5]:80".parse().unwrap()],
            local: vec!["203.0.113.7".parse().unwrap(), "2001:db8::5".parse().unwrap()],
        }
    }

    fn at(target: &str) -> Option<OwnListener> {
        own().listener_at(target.parse().unwrap())
    }

    #[test]
    fn whoever_is_on_this_machine() {
        let own = own();
        let local = own.local.first().expect("an address of ours").to_string();
        for address in
            ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", &local]
        {
            assert!(own.is_here(address.parse().expect("address")), "{address}");
        }
        for address in ["198.51.100.77", "2001:db8:77::1"] {
            assert!(!own.is_here(address.parse().expect("address")), "{address}");
        }
    }

    #[test]
    fn every_spelling_of_a_listener_is_known() {
        for target in [
            "127.0.0.1:9901",
            "0.0.0.0:9901",
            "[::]:9901",
            "[::ffff:127.0.0.1]:9901",
            "[::ffff:0.0.0.0]:9901",
            "[::127.0.0.1]:9901",
            "[64:ff9b::127.0.0.1]:9901",
            "[64:ff9b:1::7f00:1]:9901",
            "[2002:7f00:1::]:9901",
        ] {
            assert_eq!(at(target), Some(OwnListener::Admin), "{target}");
        }
        for target in ["127.0.0.2:9901", "127.0.0.1:9902", "203.0.113.7:9901", "[::1]:9901"] {
            assert_eq!(at(target), None, "{target}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_every_address_of_its_families() {
        for target in [
            "127.0.0.1:3128",
            "127.9.9.9:3128",
            "203.0.113.7:3128",
            "[::ffff:203.0.113.7]:3128",
            "[64:ff9b::203.0.113.7]:3128",
            "0.0.0.0:3128",
            "[::]:3128",
        ] {
            assert_eq!(at(target), Some(OwnListener::Forward), "{target}");
        }
        for target in ["203.0.113.8:3128", "[2001:db8::5]:3128", "[::1]:3128"] {
            assert_eq!(at(target), None, "{target}");
        }
        for target in
            ["[::1]:443", "[2001:db8::5]:443", "203.0.113.7:443", "127.0.0.1:443", "[::]:443"]
        {
            assert_eq!(at(target), Some(OwnListener::Site), "{target}");
        }
        assert_eq!(at("[2001:db8::5]:80"), Some(OwnListener::Site));
        assert_eq!(at("[2001:db8::6]:443"), None);
    }
}
