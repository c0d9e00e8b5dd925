//! What goes wrong, and whose fault it is.

use egress::{Blame, Fault, ParentProblem};
use net::dial::DialError;
use testkit::Origin;
use testkit::parent::{Conduct, Parent};

use super::*;

/// What reaching 127.0.0.1:80 fails with.
fn failure(way: &Way, timeout: Duration) -> ExitError {
    net::run_local(async {
        let trial = Trial { timeout, ..Trial::of(way) };
        trial.reach("127.0.0.1", 80).await.unwrap_err()
    })
}

fn problem(way: &Way, timeout: Duration) -> ParentProblem {
    match failure(way, timeout) {
        ExitError::Parent { hop: 0, problem } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_target_is_judged_before_anybody_is_connected_to() {
    let (parent, origin) = (Parent::socks(), Origin::start());
    let through = way(vec![hop(HopProtocol::Socks5h, parent.address(), None)]);
    let direct = Way::Direct { source: None, freebind: false };
    let port = origin.address().port();
    for (way, resolve, host) in [
        (&through, None, "127.0.0.1"),
        (&through, None, "::ffff:127.0.0.1"),
        (&through, Some(ResolveAt::Here), "localhost"),
        (&direct, None, "127.0.0.1"),
        (&direct, Some(ResolveAt::Exit), "localhost"),
    ] {
        let filter = Closed::default();
        let failed = net::run_local(async {
            let trial = Trial { filter: &filter, resolve, ..Trial::of(way) };
            trial.reach(host, port).await.unwrap_err()
        });
        assert!(matches!(failed, ExitError::Dial(DialError::Prohibited(_))), "{failed:?}");
        assert_eq!(failed.fault(), Fault::Target);
        assert_eq!(filter.0.borrow()[0], origin.address(), "in canonical form");
    }
    assert_eq!(parent.connections(), 0);
    origin.expect_no_connection();
    // The parent itself is not put through the filter, nor is a name that it resolves.
    let filter = Closed::default();
    let reached = net::run_local(async {
        let trial = Trial { filter: &filter, ..Trial::of(&through) };
        trial.reach("localhost", port).await.is_ok()
    });
    assert!(reached && filter.0.borrow().is_empty());
}

#[test]
fn refusals_of_http_parents() {
    let parent = Parent::http();
    let way = way(vec![hop(HopProtocol::Http, parent.address(), None)]);
    for (status, fault) in [
        (400, Fault::Unknown),
        (403, Fault::Pair),
        (407, Fault::Exit),
        (429, Fault::Exit),
        (502, Fault::Pair),
        (503, Fault::Unknown),
        (504, Fault::Pair),
    ] {
        parent.behave(Conduct::Refuse(status));
        let failed = failure(&way, PATIENCE);
        assert_eq!(failed.fault(), fault, "{failed}");
        assert!(status == 407 || failed.to_string().contains(&status.to_string()), "{failed}");
    }
    // A parent that tells more: nobody listens there, and nobody knows the name.
    parent.behave(Conduct::Serve);
    let dead = testkit::reserve();
    for (host, port, blame) in [
        (dead.ip().to_string(), dead.port(), Blame::Refusal),
        ("no.example".into(), 1, Blame::Name),
    ] {
        let failed =
            net::run_local(async { Trial::of(&way).reach(&host, port).await.unwrap_err() });
        assert_eq!(failed.fault(), Fault::Target, "{failed}");
        assert!(
            matches!(&failed, ExitError::Parent { problem: ParentProblem::Refused(reply), .. }
                if reply.blame == blame),
            "{failed:?}"
        );
    }
}

#[test]
fn refusals_of_socks_parents() {
    let parent = Parent::socks();
    let five = way(vec![hop(HopProtocol::Socks5h, parent.address(), None)]);
    for (code, fault) in [
        (1, Fault::Unknown),
        (2, Fault::Pair),
        (3, Fault::Pair),
        (4, Fault::Pair),
        (5, Fault::Target),
        (6, Fault::Pair),
        (7, Fault::Exit),
        (8, Fault::Pair),
        (200, Fault::Unknown),
    ] {
        parent.behave(Conduct::Refuse(code));
        let failed = failure(&five, PATIENCE);
        assert_eq!(failed.fault(), fault, "{failed}");
    }
    let four = way(vec![hop(HopProtocol::Socks4a, parent.address(), None)]);
    for (code, fault) in [(91, Fault::Pair), (92, Fault::Exit), (93, Fault::Exit), (0, Fault::Exit)]
    {
        parent.behave(Conduct::Refuse(code));
        assert_eq!(failure(&four, PATIENCE).fault(), fault, "{code}");
    }
}

#[test]
fn parents_that_end_the_connection() {
    for (protocol, parent) in [
        (HopProtocol::Http, Parent::http()),
        (HopProtocol::Socks5h, Parent::socks()),
        (HopProtocol::Socks4a, Parent::socks()),
    ] {
        let way = way(vec![hop(protocol, parent.address(), None)]);
        for conduct in [Conduct::Close, Conduct::Reset, Conduct::Raw(Vec::new())] {
            parent.behave(conduct);
            let problem = problem(&way, PATIENCE);
            assert!(matches!(problem, ParentProblem::Closed), "{protocol:?}: {problem:?}");
        }
        parent.slam(true);
        assert!(matches!(problem(&way, PATIENCE), ParentProblem::Closed));
    }
}

#[test]
fn nonsense_is_not_taken_for_an_answer() {
    let parent = Parent::http();
    let http = way(vec![hop(HopProtocol::Http, parent.address(), None)]);
    let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Y: z\r\n".repeat(4096)].concat();
    let interim = b"HTTP/1.1 103 Early\r\n\r\n".repeat(64);
    for answer in [
        &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\nX: y\n\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        &endless,
        &interim,
    ] {
        parent.behave(Conduct::Raw(answer.to_vec()));
        let problem = problem(&http, PATIENCE);
        assert!(matches!(problem, ParentProblem::Malformed(_)), "{problem:?}");
    }
    let parent = Parent::socks();
    for (protocol, answer) in [
        (HopProtocol::Socks5h, &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
        (HopProtocol::Socks5h, &[5, 0, 0, 9, 0, 0, 0, 0, 0, 0]),
        (HopProtocol::Socks4a, &[4, 90, 0, 0, 0, 0, 0, 0]),
        (HopProtocol::Socks4a, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ] {
        let way = way(vec![hop(protocol, parent.address(), None)]);
        parent.behave(Conduct::Raw(answer.to_vec()));
        let problem = problem(&way, PATIENCE);
        assert!(matches!(problem, ParentProblem::Malformed(_)), "{problem:?}");
    }
}

#[test]
fn one_deadline_holds_for_the_whole_chain() {
    let short = Duration::from_millis(100);
    let parents = [Parent::http(), Parent::socks()];
    for (parent, protocol) in parents.iter().zip([HopProtocol::Http, HopProtocol::Socks5]) {
        parent.behave(Conduct::Hang);
        let failed = failure(&way(vec![hop(protocol, parent.address(), None)]), short);
        assert!(
            matches!(&failed, ExitError::Parent { hop: 0, problem: ParentProblem::Silent }),
            "{failed:?}"
        );
        // It may be the target that nobody hears of.
        assert!(!failed.is_exit_fault() && failed.may_succeed_elsewhere());
    }
    // Nothing speaks TLS there, and the second hop is never heard of.
    let dumb = Origin::start();
    let roots = Roots::of(testkit::Authority::new("test").roots());
    let https = way_with(vec![hop(HopProtocol::Https, dumb.address(), None)], &roots);
    assert!(matches!(problem(&https, short), ParentProblem::Timeout));
    let (first, second) = (Parent::http(), Parent::http());
    first.behave(Conduct::Hang);
    let chain = way(vec![
        hop(HopProtocol::Http, first.address(), None),
        hop(HopProtocol::Http, second.address(), None),
    ]);
    let failed = failure(&chain, short);
    assert!(
        matches!(&failed, ExitError::Parent { hop: 0, problem: ParentProblem::Timeout }),
        "{failed:?}"
    );
    assert!(failed.is_exit_fault());
    first.behave(Conduct::Serve);
    second.behave(Conduct::Hang);
    let failed = failure(&chain, short);
    assert!(
        matches!(&failed, ExitError::Parent { hop: 1, problem: ParentProblem::Silent }),
        "{failed:?}"
    );
}
