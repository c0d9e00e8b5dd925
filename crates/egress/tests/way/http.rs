//! One HTTP parent: CONNECT, absolute form, TLS.

use egress::{Absolute, ParentProblem};
use testkit::parent::{How, Parent};
use testkit::{Authority, Origin};

use super::*;

#[test]
fn a_tunnel_is_asked_for_by_name_and_with_our_credentials_only() {
    let origin = Origin::start();
    let parent = Parent::http().knows("shop.example", "127.0.0.1").with_user("me", "s:cret");
    let way = way(vec![hop(HopProtocol::Http, parent.address(), Some(("me", "s:cret")))]);
    let port = origin.address().port();
    net::run_local(async {
        let reached = Trial::of(&way).reach("shop.example", port).await.unwrap();
        assert_eq!(reached.address, parent.address());
        assert!(reached.absolute.is_none() && reached.early.is_empty());
        converse(reached, &mut origin.accept()).await;
    });
    let asked = parent.asked().remove(0);
    assert_eq!((asked.how, asked.target()), (How::Connect, format!("shop.example:{port}")));
    let lines = asked.message.unwrap().lines();
    assert_eq!(
        lines,
        [format!("Host: shop.example:{port}"), "Proxy-Authorization: Basic bWU6czpjcmV0".into()]
    );
}

#[test]
fn addresses_of_both_families_are_written_as_authorities() {
    let (four, six) = (Origin::start(), Origin::on("[::1]:0"));
    let parent = Parent::http();
    let way = way(vec![hop(HopProtocol::Http, parent.address(), None)]);
    net::run_local(async {
        for origin in [&four, &six] {
            let address = origin.address();
            let reached = Trial::of(&way).reach(&address.ip().to_string(), address.port()).await;
            converse(reached.unwrap(), &mut origin.accept()).await;
        }
    });
    let asked: Vec<_> = parent.asked().iter().map(testkit::parent::Asked::target).collect();
    assert_eq!(asked, [four.address().to_string(), six.address().to_string()]);
}

#[test]
fn plain_requests_are_left_to_the_last_parent() {
    let origin = Origin::start();
    let parent = Parent::http().with_user("me", "secret");
    let way = way(vec![hop(HopProtocol::Http, parent.address(), Some(("me", "secret")))]);
    net::run_local(async {
        let trial = Trial { purpose: Purpose::Http, ..Trial::of(&way) };
        let reached = trial.reach("127.0.0.1", origin.address().port()).await.unwrap();
        let authorization = Some("Basic bWU6c2VjcmV0".into());
        assert_eq!(reached.absolute, Some(Absolute { authorization }));
        assert!(parent.asked().is_empty(), "nothing is asked before the request itself");
        // Where the name is to be resolved here, the parent must not do it again.
        let trial = Trial { resolve: Some(ResolveAt::Here), ..trial };
        let reached = trial.reach("localhost", origin.address().port()).await.unwrap();
        assert_eq!(reached.absolute, None);
        converse(reached, &mut origin.accept()).await;
    });
    let asked = parent.asked().remove(0);
    assert_eq!((asked.how, asked.target()), (How::Connect, origin.address().to_string()));
}

#[test]
fn an_https_parent_is_verified() {
    let authority = Authority::new("test authority");
    let parent = Parent::https(&authority.issue(&["127.0.0.1"]));
    let stranger = Parent::https(&authority.issue(&["other.example"]));
    let origin = Origin::start();
    let port = origin.address().port();
    let roots = Roots::of(authority.roots());
    let to = |parent: &Parent, roots: &Roots| {
        way_with(vec![hop(HopProtocol::Https, parent.address(), None)], roots)
    };
    net::run_local(async {
        let good = to(&parent, &roots);
        let reached = Trial::of(&good).reach("127.0.0.1", port).await.unwrap();
        assert!(reached.io.is_tls());
        converse(reached, &mut origin.accept()).await;
        let other = Authority::new("another authority");
        for way in [to(&parent, &Roots::of(other.roots())), to(&stranger, &roots)] {
            let failed = Trial::of(&way).reach("127.0.0.1", port).await.unwrap_err();
            assert!(
                matches!(&failed, ExitError::Parent { hop: 0, problem: ParentProblem::Tls(_) }),
                "{failed:?}"
            );
            assert_eq!((failed.kind(), failed.is_exit_fault()), ("tls_certificate_error", true));
        }
    });
    assert_eq!((parent.asked().len(), stranger.asked().len()), (1, 0));
}

#[test]
fn credentials_that_cannot_be_said_are_refused_at_once() {
    let long = "x".repeat(256);
    for (protocol, user, password) in [
        (HopProtocol::Http, "a:b", "c"),
        (HopProtocol::Socks5, &*long, "c"),
        (HopProtocol::Socks5h, "a", &*long),
        (HopProtocol::Socks5h, "", "c"),
        (HopProtocol::Socks4a, "a\0b", ""),
    ] {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let kind = ExitKind::Chain(vec![hop(protocol, address, Some((user, password)))]);
        let exit = Exit::new("test", kind, span());
        let error = Way::build(&exit, &Roots::default()).unwrap_err();
        assert_eq!(error.span, Some(span()), "{protocol:?}");
    }
    let secret = hop(HopProtocol::Http, ([127, 0, 0, 1], 1).into(), Some(("me", "secret")));
    let shown = format!("{:?}", way(vec![secret]));
    assert!(!shown.contains("secret") && !shown.contains("c2VjcmV0"), "{shown}");
}
