//! What kind of address an address is, and who may be dialed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[cfg(test)]
mod tests;

/// `ip` in its own family: an IPv4-mapped IPv6 address (`::ffff:192.0.2.1`,
/// RFC 4291 §2.5.5.2) becomes the IPv4 address that the kernel takes it for.
#[must_use]
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The kind of an address by the IANA special-purpose address registries (RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Reachable from all over the Internet, as far as its form tells.
    Global,
    /// This host on this network: `0.0.0.0/8` and `::`. Linux dials itself.
    Unspecified,
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16` (RFC 1918).
    Private,
    /// `169.254.0.0/16` (cloud metadata lives there) and `fe80::/10`.
    LinkLocal,
    /// Shared by carrier-grade NAT: `100.64.0.0/10` (RFC 6598).
    SharedCgnat,
    /// `fc00::/7` (RFC 4193).
    UniqueLocal,
    /// `fec0::/10`, deprecated by RFC 3879 and still routed in places.
    SiteLocal,
    /// `224.0.0.0/4` and `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// For examples: RFC 5737, RFC 3849, RFC 9637.
    Documentation,
    /// For network benchmarks: `198.18.0.0/15`, `2001:2::/48`.
    Benchmarking,
    /// Set apart by IANA, or not assigned to anyone.
    Reserved,
    /// An IPv4 address behind a translator: `64:ff9b::/96` (RFC 6052), and
    /// `64:ff9b:1::/48` (RFC 8215), where only the network knows how long the
    /// prefix is and so which IPv4 address is meant.
    Nat64 {
        /// The IPv4 address reached, if the form tells.
        embedded: Option<Ipv4Addr>,
    },
    /// `2002::/16` (RFC 3056): a tunnel to an IPv4 address. Deprecated.
    SixToFour,
    /// `2001::/32` (RFC 4380): a tunnel to an IPv4 address.
    Teredo,
    /// `::/96` but for `::` and `::1` (RFC 4291 §2.5.5.1). Deprecated.
    V4Compatible,
}

impl AddressClass {
    /// Whether a proxy on the Internet refuses such destinations unless told otherwise.
    ///
    /// All but [`Global`](Self::Global) and translations of global IPv4 addresses:
    /// the others reach inside, or nowhere.
    #[must_use]
    pub fn is_closed_by_default(self) -> bool {
        match self {
            Self::Global => false,
            Self::Nat64 { embedded: Some(embedded) } => class_v4(embedded) != Self::Global,
            _ => true,
        }
    }

    /// A word for logs and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::SharedCgnat => "shared (carrier-grade NAT)",
            Self::UniqueLocal => "unique local",
            Self::SiteLocal => "site-local",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
            Self::Nat64 { .. } => "NAT64",
            Self::SixToFour => "6to4",
            Self::Teredo => "Teredo",
            Self::V4Compatible => "IPv4-compatible",
        }
    }
}

/// The class of `ip`; an IPv4-mapped address has that of the IPv4 address.
#[must_use]
pub fn class(ip: IpAddr) -> AddressClass {
    match canonical(ip) {
        IpAddr::V4(ip) => class_v4(ip),
        IpAddr::V6(ip) => class_v6(ip),
    }
}

fn class_v4(ip: Ipv4Addr) -> AddressClass {
    let bits = ip.to_bits();
    V4.iter()
        .find(|(base, length, _)| (bits ^ base.to_bits()) >> (32 - length) == 0)
        .map_or(AddressClass::Global, |(_, _, class)| *class)
}

fn class_v6(ip: Ipv6Addr) -> AddressClass {
    let bits = ip.to_bits();
    let entry = V6.iter().find(|(base, length, _)| (bits ^ base.to_bits()) >> (128 - length) == 0);
    match entry {
        Some((WELL_KNOWN_NAT64, ..)) => {
            // RFC 6052 §2.2: with a /96 prefix, the last 32 bits.
            let [.., a, b, c, d] = ip.octets();
            AddressClass::Nat64 { embedded: Some(Ipv4Addr::new(a, b, c, d)) }
        }
        Some((_, _, class)) => *class,
        // Only 2000::/3 has been given out.
        None => AddressClass::Reserved,
    }
}

/// Says whether an address may be dialed; asked after name resolution, for each address.
pub trait AddressFilter {
    /// Whether `addr`, in canonical form, may be dialed.
    ///
    /// # Errors
    ///
    /// Why not.
    fn check(&self, addr: SocketAddr) -> Result<(), Refusal>;
}

/// Why an address may not be dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the log: the rule or the class that forbids it.
    pub reason: &'static str,
}

/// Lets everything pass: for destinations that the configuration itself names.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl AddressFilter for AllowAll {
    fn check(&self, _: SocketAddr) -> Result<(), Refusal> {
        Ok(())
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// The first four groups of an IPv6 address; the rest is 0.
const fn v6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

/// The IPv4 registry; the first entry that matches counts, what none matches is global.
const V4: &[(Ipv4Addr, u32, AddressClass)] = {
    use AddressClass::*;
    &[
        (v4(0, 0, 0, 0), 8, Unspecified),
        (v4(10, 0, 0, 0), 8, Private),
        (v4(100, 64, 0, 0), 10, SharedCgnat),
        (v4(127, 0, 0, 0), 8, Loopback),
        (v4(169, 254, 0, 0), 16, LinkLocal),
        (v4(172, 16, 0, 0), 12, Private),
        // Port Control Protocol and TURN anycast (RFC 7723, RFC 8155).
        (v4(192, 0, 0, 9), 32, Global),
        (v4(192, 0, 0, 10), 32, Global),
        (v4(192, 0, 0, 0), 24, Reserved),
        (v4(192, 0, 2, 0), 24, Documentation),
        // The anycast relay of 6to4, deprecated by RFC 7526.
        (v4(192, 88, 99, 0), 24, Reserved),
        (v4(192, 168, 0, 0), 16, Private),
        (v4(198, 18, 0, 0), 15, Benchmarking),
        (v4(198, 51, 100, 0), 24, Documentation),
        (v4(203, 0, 113, 0), 24, Documentation),
        (v4(224, 0, 0, 0), 4, Multicast),
        (v4(255, 255, 255, 255), 32, Broadcast),
        (v4(240, 0, 0, 0), 4, Reserved),
    ]
};

const WELL_KNOWN_NAT64: Ipv6Addr = v6(0x64, 0xff9b, 0, 0);

/// The IPv6 registry; the first entry that matches counts, what none matches is reserved.
const V6: &[(Ipv6Addr, u32, AddressClass)] = {
    use AddressClass::*;
    &[
        (Ipv6Addr::UNSPECIFIED, 128, Unspecified),
        (Ipv6Addr::LOCALHOST, 128, Loopback),
        (v6(0, 0, 0, 0), 96, V4Compatible),
        (WELL_KNOWN_NAT64, 96, Nat64 { embedded: None }),
        (v6(0x64, 0xff9b, 1, 0), 48, Nat64 { embedded: None }),
        (v6(0x2001, 0, 0, 0), 32, Teredo),
        // Port Control Protocol, TURN and DNS-SD anycast (RFC 7723, RFC 8155, RFC 9665).
        (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128, Global),
        (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128, Global),
        (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), 128, Global),
        (v6(0x2001, 2, 0, 0), 48, Benchmarking),
        // AMT, AS112, ORCHIDv2 and DRIP are reachable by the registry.
        (v6(0x2001, 3, 0, 0), 32, Global),
        (v6(0x2001, 4, 0x112, 0), 48, Global),
        (v6(0x2001, 0x20, 0, 0), 28, Global),
        (v6(0x2001, 0x30, 0, 0), 28, Global),
        (v6(0x2001, 0, 0, 0), 23, Reserved),
        (v6(0x2001, 0xdb8, 0, 0), 32, Documentation),
        (v6(0x2002, 0, 0, 0), 16, SixToFour),
        (v6(0x3fff, 0, 0, 0), 20, Documentation),
        (v6(0x2000, 0, 0, 0), 3, Global),
        (v6(0xfc00, 0, 0, 0), 7, UniqueLocal),
        (v6(0xfe80, 0, 0, 0), 10, LinkLocal),
        (v6(0xfec0, 0, 0, 0), 10, SiteLocal),
        (v6(0xff00, 0, 0, 0), 8, Multicast),
    ]
};
