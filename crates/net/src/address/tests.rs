use super::AddressClass::*;
use super::*;

fn of(text: &str) -> AddressClass {
    class(text.parse().expect("a test address"))
}

/// Each block at its first and last address and just outside.
#[test]
fn blocks_begin_and_end_where_the_registries_say() {
    for (text, expected) in [
        ("0.0.0.0", Unspecified),
        ("0.255.255.255", Unspecified),
        ("1.0.0.0", Global),
        ("9.255.255.255", Global),
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("11.0.0.0", Global),
        ("100.63.255.255", Global),
        ("100.64.0.0", SharedCgnat),
        ("100.127.255.255", SharedCgnat),
        ("100.128.0.0", Global),
        ("126.255.255.255", Global),
        ("127.0.0.1", Loopback),
        ("127.255.255.255", Loopback),
        ("128.0.0.0", Global),
        ("169.253.255.255", Global),
        ("169.254.169.254", LinkLocal),
        ("169.255.0.0", Global),
        ("172.15.255.255", Global),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Global),
        ("192.0.0.0", Reserved),
        ("192.0.0.8", Reserved),
        ("192.0.0.9", Global),
        ("192.0.0.10", Global),
        ("192.0.0.11", Reserved),
        ("192.0.0.171", Reserved),
        ("192.0.1.0", Global),
        ("192.0.2.255", Documentation),
        ("192.0.3.0", Global),
        ("192.31.196.1", Global),
        ("192.52.193.1", Global),
        ("192.88.99.1", Reserved),
        ("192.167.255.255", Global),
        ("192.168.0.0", Private),
        ("192.168.255.255", Private),
        ("192.169.0.0", Global),
        ("192.175.48.1", Global),
        ("198.17.255.255", Global),
        ("198.18.0.0", Benchmarking),
        ("198.19.255.255", Benchmarking),
        ("198.20.0.0", Global),
        ("198.51.100.7", Documentation),
        ("203.0.113.7", Documentation),
        ("223.255.255.255", Global),
        ("224.0.0.0", Multicast),
        ("239.255.255.255", Multicast),
        ("240.0.0.0", Reserved),
        ("255.255.255.254", Reserved),
        ("255.255.255.255", Broadcast),
        ("::", Unspecified),
        ("::1", Loopback),
        ("::2", V4Compatible),
        ("::127.0.0.1", V4Compatible),
        ("::1:0:0", Reserved),
        ("::fffe:7f00:1", Reserved),
        // IPv4-translated (RFC 2765), which some stacks turn into IPv4.
        ("::ffff:0:127.0.0.1", Reserved),
        ("100::1", Reserved),
        ("100:0:0:1::1", Reserved),
        ("1fff:ffff::", Reserved),
        ("2000::", Global),
        ("2001::1", Teredo),
        ("2001:0:ffff::", Teredo),
        ("2001:1::", Reserved),
        ("2001:1::1", Global),
        ("2001:1::2", Global),
        ("2001:1::3", Global),
        ("2001:1::4", Reserved),
        ("2001:2::1", Benchmarking),
        ("2001:2:1::", Reserved),
        ("2001:3::1", Global),
        ("2001:4:111::", Reserved),
        ("2001:4:112::1", Global),
        ("2001:10::1", Reserved),
        ("2001:20::1", Global),
        ("2001:3f:ffff::", Global),
        ("2001:40::", Reserved),
        ("2001:1ff:ffff::", Reserved),
        ("2001:200::", Global),
        ("2001:db7:ffff::", Global),
        ("2001:db8::1", Documentation),
        ("2001:db9::", Global),
        ("2002:7f00:1::", SixToFour),
        ("2003::", Global),
        ("2620:4f:8000::1", Global),
        ("3ffe:ffff::", Global),
        ("3fff::1", Documentation),
        ("3fff:fff:ffff::", Documentation),
        ("3fff:1000::", Global),
        ("4000::", Reserved),
        ("5f00::1", Reserved),
        ("fbff:ffff::", Reserved),
        ("fc00::1", UniqueLocal),
        ("fd00:ec2::254", UniqueLocal),
        ("fdff:ffff::", UniqueLocal),
        ("fe00::", Reserved),
        ("fe80::1", LinkLocal),
        ("febf:ffff::", LinkLocal),
        ("fec0::1", SiteLocal),
        ("feff:ffff::", SiteLocal),
        ("ff02::1", Multicast),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
}

#[test]
fn mapped_addresses_are_the_ipv4_address_they_stand_for() {
    assert_eq!(canonical("::ffff:192.0.2.1".parse().unwrap()), v4(192, 0, 2, 1));
    assert_eq!(canonical("::192.0.2.1".parse().unwrap()), "::c000:201".parse::<IpAddr>().unwrap());
    assert_eq!(of("::ffff:127.0.0.1"), Loopback);
    assert_eq!(of("::ffff:8.8.8.8"), Global);
}

#[test]
fn translated_addresses_are_as_open_as_what_they_reach() {
    let embedded = |text: &str| match of(text) {
        Nat64 { embedded } => embedded,
        other => panic!("{text} is {other:?}"),
    };
    assert_eq!(embedded("64:ff9b::8.8.8.8"), Some(v4(8, 8, 8, 8)));
    assert!(!of("64:ff9b::8.8.8.8").is_closed_by_default());
    assert!(of("64:ff9b::10.0.0.1").is_closed_by_default());
    assert!(of("64:ff9b::127.0.0.1").is_closed_by_default());
    assert!(of("64:ff9b::169.254.169.254").is_closed_by_default());
    assert_eq!(embedded("64:ff9b:1::8.8.8.8"), None);
    assert!(of("64:ff9b:1::8.8.8.8").is_closed_by_default(), "which address is unknown");
    assert_eq!(of("64:ff9b::1:0:0"), Reserved, "just past the /96");
    assert_eq!(of("64:ff9b:2::"), Reserved);
}

#[test]
fn only_global_destinations_are_open() {
    for open in ["1.1.1.1", "2606:4700::1111", "192.0.0.9"] {
        assert!(!of(open).is_closed_by_default(), "{open}");
    }
    for closed in [
        "0.0.0.0",
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "2002:808:808::1",
        "::8.8.8.8",
        "::ffff:10.0.0.1",
        "4000::",
    ] {
        assert!(of(closed).is_closed_by_default(), "{closed}");
    }
}

/// The tables agree with the standard library where that is stable.
#[test]
fn tables_agree_with_the_standard_library() {
    for high in 0..=u16::MAX {
        let ip = Ipv4Addr::from_bits(u32::from(high) << 16 | 0x0101);
        assert_eq!(class_v4(ip) == Private, ip.is_private(), "{ip}");
        assert_eq!(class_v4(ip) == Loopback, ip.is_loopback(), "{ip}");
        assert_eq!(class_v4(ip) == LinkLocal, ip.is_link_local(), "{ip}");
        assert_eq!(class_v4(ip) == Multicast, ip.is_multicast(), "{ip}");
        let ip = Ipv6Addr::new(high, 0, 0, 0, 0, 0, 1, 2);
        assert_eq!(class_v6(ip) == UniqueLocal, ip.is_unique_local(), "{ip}");
        assert_eq!(class_v6(ip) == LinkLocal, ip.is_unicast_link_local(), "{ip}");
        assert_eq!(class_v6(ip) == Multicast, ip.is_multicast(), "{ip}");
    }
}
