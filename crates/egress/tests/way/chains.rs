//! SOCKS parents, and several parents in a row.

use egress::ParentProblem;
use net::dial::DialError;
use testkit::parent::{Asked, Conduct, How, Parent};
use testkit::{Authority, Origin};

use super::*;

fn hows(parent: &Parent) -> Vec<(How, String)> {
    parent.asked().iter().map(|asked| (asked.how, asked.host.clone())).collect()
}

#[test]
fn who_resolves_a_name() {
    use HopProtocol::{Http, Socks4a, Socks5, Socks5h};
    use ResolveAt::{Exit, Here};
    let origin = Origin::start();
    let port = origin.address().port();
    // `localhost` is a name that needs no server to be resolved here.
    for (protocol, resolve, how, host) in [
        (Socks4a, None, How::Socks4a, "localhost"),
        (Socks4a, Some(Here), How::Socks4, "127.0.0.1"),
        (Socks5, None, How::Socks5, "127.0.0.1"),
        (Socks5, Some(Exit), How::Socks5, "localhost"),
        (Socks5h, None, How::Socks5, "localhost"),
        (Socks5h, Some(Here), How::Socks5, "127.0.0.1"),
        (Http, None, How::Connect, "localhost"),
        (Http, Some(Here), How::Connect, "127.0.0.1"),
    ] {
        let parent = if protocol == Http { Parent::http() } else { Parent::socks() };
        let way = way(vec![hop(protocol, parent.address(), None)]);
        net::run_local(async {
            let trial = Trial { resolve, ..Trial::of(&way) };
            let reached = trial.reach("localhost", port).await.unwrap();
            converse(reached, &mut origin.accept()).await;
        });
        assert_eq!(hows(&parent), [(how, host.to_owned())], "{protocol:?} {resolve:?}");
        assert_eq!(way.resolves_here(resolve), host != "localhost");
    }
}

#[test]
fn socks_credentials() {
    let origin = Origin::start();
    let port = origin.address().port();
    for (protocol, password) in [
        (HopProtocol::Socks5h, "secret"),
        (HopProtocol::Socks5, "secret"),
        (HopProtocol::Socks4a, ""),
    ] {
        let parent = Parent::socks().with_user("me", password);
        let to = |user| way(vec![hop(protocol, parent.address(), user)]);
        net::run_local(async {
            let good = to(Some(("me", password)));
            let reached = Trial::of(&good).reach("127.0.0.1", port).await.unwrap();
            converse(reached, &mut origin.accept()).await;
            for bad in [to(Some(("you", "secret"))), to(None)] {
                let failed = Trial::of(&bad).reach("127.0.0.1", port).await.unwrap_err();
                assert!(
                    matches!(
                        failed,
                        ExitError::Parent { problem: ParentProblem::AuthRequired, .. }
                    ),
                    "{failed:?}"
                );
                assert!(failed.is_exit_fault());
            }
        });
        let asked: Asked = parent.asked().remove(0);
        assert_eq!(asked.credentials, Some(("me".to_owned(), password.to_owned())));
    }
}

#[test]
fn ipv6_targets() {
    let origin = Origin::on("[::1]:0");
    let port = origin.address().port();
    let parent = Parent::socks();
    net::run_local(async {
        let five = way(vec![hop(HopProtocol::Socks5, parent.address(), None)]);
        let reached = Trial::of(&five).reach("::1", port).await.unwrap();
        converse(reached, &mut origin.accept()).await;
        // Of the two addresses of `localhost`, a parent is given the one it most likely can use.
        let trial = Trial { prefer: FamilyPreference::Ipv6Only, ..Trial::of(&five) };
        converse(trial.reach("localhost", port).await.unwrap(), &mut origin.accept()).await;
        let four = way(vec![hop(HopProtocol::Socks4a, parent.address(), None)]);
        let failed = Trial::of(&four).reach("::1", port).await.unwrap_err();
        assert!(
            matches!(failed, ExitError::Parent { problem: ParentProblem::Unsupported, .. }),
            "{failed:?}"
        );
        assert!(!failed.is_exit_fault() && failed.may_succeed_elsewhere());
    });
    assert_eq!(hows(&parent), [(How::Socks5, "::1".to_owned()), (How::Socks5, "::1".to_owned())]);
}

#[test]
fn a_chain_of_all_kinds() {
    let authority = Authority::new("test authority");
    let origin = Origin::start();
    let port = origin.address().port();
    let socks = Parent::socks().with_user("one", "1");
    let https = Parent::https(&authority.issue(&["127.0.0.1"])).with_user("two", "2");
    let inner = Parent::https(&authority.issue(&["127.0.0.1"]));
    let last = Parent::socks().knows("shop.example", "127.0.0.1");
    let hops = vec![
        hop(HopProtocol::Socks5h, socks.address(), Some(("one", "1"))),
        hop(HopProtocol::Https, https.address(), Some(("two", "2"))),
        // TLS inside TLS.
        hop(HopProtocol::Https, inner.address(), None),
        hop(HopProtocol::Socks4a, last.address(), None),
    ];
    let way = way_with(hops, &Roots::of(authority.roots()));
    net::run_local(async {
        let reached = Trial::of(&way).reach("shop.example", port).await.unwrap();
        assert_eq!(reached.address, socks.address());
        converse(reached, &mut origin.accept()).await;
    });
    let asked = [&socks, &https, &inner, &last].map(|parent| parent.asked().remove(0).target());
    let wanted = [
        https.address().to_string(),
        inner.address().to_string(),
        last.address().to_string(),
        format!("shop.example:{port}"),
    ];
    assert_eq!(asked, wanted);
    // No parent learns what another one is shown.
    assert_eq!(inner.asked()[0].credentials, None);
}

#[test]
fn a_chain_that_breaks_is_the_exits_fault() {
    let (first, second) = (Parent::http(), Parent::socks());
    let way = way(vec![
        hop(HopProtocol::Http, first.address(), None),
        hop(HopProtocol::Socks5, second.address(), None),
    ]);
    second.stop();
    net::run_local(async {
        // "Connection refused" by the first parent is about the second one.
        let failed = Trial::of(&way).reach("127.0.0.1", 80).await.unwrap_err();
        assert!(
            matches!(&failed, ExitError::Parent { hop: 0, problem: ParentProblem::Broken(_) }),
            "{failed:?}"
        );
        assert!(failed.is_exit_fault());
        // Bytes that nobody asked for are not taken for an answer of the second one.
        first.behave(Conduct::Raw(b"HTTP/1.1 200 OK\r\n\r\n\x05\x00".into()));
        let failed = Trial::of(&way).reach("127.0.0.1", 80).await.unwrap_err();
        assert!(
            matches!(failed, ExitError::Parent { hop: 0, problem: ParentProblem::Malformed(_) }),
            "{failed:?}"
        );
        first.stop();
        let failed = Trial::of(&way).reach("127.0.0.1", 80).await.unwrap_err();
        let dial = ParentProblem::Dial(DialError::Refused);
        assert_eq!(failed.to_string(), dial.to_string());
        assert!(failed.is_exit_fault());
    });
}
