//! Addresses of ours that connections come from.

use std::process::Command;

use egress::Fault;
use testkit::Origin;
use testkit::parent::Parent;

use super::*;

#[test]
fn connections_come_from_the_address_of_the_exit() {
    let origin = Origin::start();
    let kind = ExitKind::Address("127.0.0.9".parse().unwrap());
    let way = Way::build(&Exit::new("test", kind, span()), &Roots::default()).unwrap();
    let port = origin.address().port();
    net::run_local(async {
        for (source, seen) in [(None, "127.0.0.9"), (Some("127.0.0.8"), "127.0.0.8")] {
            let source = source.map(|source| source.parse().unwrap());
            // Of the addresses of `localhost`, those of the other family are passed over.
            let trial = Trial { source, ..Trial::of(&way) };
            let reached = trial.reach("localhost", port).await.unwrap();
            assert_eq!(reached.address, origin.address());
            let mut target = origin.accept();
            assert_eq!(target.socket().peer_addr().unwrap().ip().to_string(), seen);
            converse(reached, &mut target).await;
        }
        let failed = Trial::of(&way).reach("::1", port).await.unwrap_err();
        assert_eq!(failed.fault(), Fault::Pair, "{failed}");
        let source = Some("192.0.2.1".parse().unwrap());
        let trial = Trial { source, ..Trial::of(&way) };
        let failed = trial.reach("127.0.0.1", port).await.unwrap_err();
        assert!(failed.is_exit_fault(), "{failed}");
    });
}

#[test]
fn parents_are_reached_from_a_source_address_too() {
    let (origin, parent) = (Origin::start(), Parent::http());
    let way = way(vec![hop(HopProtocol::Http, parent.address(), None)]);
    net::run_local(async {
        let source = Some("127.0.0.7".parse().unwrap());
        let trial = Trial { source, ..Trial::of(&way) };
        let reached = trial.reach("127.0.0.1", origin.address().port()).await.unwrap();
        converse(reached, &mut origin.accept()).await;
    });
    assert_eq!(parent.asked()[0].from.ip().to_string(), "127.0.0.7");
}

/// Runs itself in a network namespace of its own, to which a prefix is routed.
#[test]
fn any_address_of_a_prefix_can_be_a_source() {
    const INSIDE: &str = "TEST_INSIDE_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return connect_from_a_prefix();
    }
    let inside = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "sources::any_address_of_a_prefix_can_be_a_source", "--nocapture"])
        .env(INSIDE, "1")
        .output();
    match inside {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let forbidden = said.contains("Operation not permitted");
            assert!(forbidden, "{said}{}", String::from_utf8_lossy(&output.stdout));
            eprintln!("skipped: no right to make a network namespace");
        }
        Err(error) => eprintln!("skipped: {error}"),
    }
}

fn connect_from_a_prefix() {
    for command in [
        "link set lo up",
        "-6 route add local 2001:db8:7::/64 dev lo",
        "route add local 198.51.100.0/24 dev lo",
    ] {
        let status = Command::new("ip").args(command.split(' ')).status().unwrap();
        assert!(status.success(), "ip {command}");
    }
    for (net, source, listen) in [
        ("2001:db8:7::/64", "2001:db8:7::1234:5678", "[::1]:0"),
        ("198.51.100.0/24", "198.51.100.77", "127.0.0.1:0"),
    ] {
        let origin = Origin::on(listen);
        let kind = ExitKind::Prefix { net: net.parse().unwrap(), pick: config::PrefixPick::Random };
        let way = Way::build(&Exit::new("test", kind, span()), &Roots::default()).unwrap();
        net::run_local(async {
            let source = Some(source.parse().unwrap());
            let trial = Trial { source, ..Trial::of(&way) };
            let address = origin.address();
            let reached = trial.reach(&address.ip().to_string(), address.port()).await.unwrap();
            let mut target = origin.accept();
            assert_eq!(Some(target.socket().peer_addr().unwrap().ip()), source);
            converse(reached, &mut target).await;
        });
    }
}
