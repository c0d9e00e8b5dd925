use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::address::AllowAll;
use crate::{listener, run_local};

fn options(filter: &dyn AddressFilter) -> DialOptions<'_> {
    DialOptions { timeout: Duration::from_secs(10), source: None, freebind: false, filter }
}

/// An address on which something listens, and the listener.
fn listening() -> (std::net::TcpListener, SocketAddr) {
    let listener = listener::bind((Ipv4Addr::LOCALHOST, 0).into(), false).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// An address that refuses: bound, so that nobody else gets it, and not listening.
fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// An address that never answers: its backlog is full, so the kernel drops SYNs.
fn silent() -> (socket2::Socket, Vec<std::net::TcpStream>, SocketAddr) {
    let (socket, addr) = refusing();
    socket.listen(0).unwrap();
    let mut fillers = Vec::new();
    let patience = Duration::from_millis(50);
    while let Ok(filler) = std::net::TcpStream::connect_timeout(&addr, patience) {
        fillers.push(filler);
        assert!(fillers.len() < 64, "a backlog of 0 fills up");
    }
    (socket, fillers, addr)
}

/// Refuses the given address and notes what it was asked.
struct Forbid(SocketAddr, RefCell<Vec<SocketAddr>>);

impl AddressFilter for Forbid {
    fn check(&self, addr: SocketAddr) -> Result<(), Refusal> {
        self.1.borrow_mut().push(addr);
        if self.0 == addr { Err(Refusal { reason: "for the test" }) } else { Ok(()) }
    }
}

#[test]
fn one_address_is_dialed_without_delay_on_the_socket() {
    let (_listener, addr) = listening();
    run_local(async {
        let (stream, reached) = dial(&[addr], &options(&AllowAll)).await.unwrap();
        assert_eq!((reached, stream.peer_addr().unwrap()), (addr, addr));
        assert!(stream.nodelay().unwrap());
    });
}

#[test]
fn the_source_address_is_used() {
    let (_listener, addr) = listening();
    let source = IpAddr::from([127, 0, 0, 9]);
    run_local(async {
        let options = DialOptions { source: Some(source), ..options(&AllowAll) };
        let (stream, _) = dial(&[addr], &options).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), source);
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, addr.port()));
        assert!(matches!(dial(&[v6], &options).await, Err(DialError::NoAddress)));
        let (_, reached) = dial(&[v6, addr], &options).await.unwrap();
        assert_eq!(reached, addr, "the other family is passed over");
        let foreign = DialOptions { source: Some([192, 0, 2, 1].into()), ..options };
        let failed = dial(&[addr], &foreign).await.unwrap_err();
        assert!(matches!(failed, DialError::Source(_)), "{failed:?}");
    });
}

#[test]
fn a_foreign_source_address_may_be_bound_to() {
    // The answer finds no way back, but the address was taken.
    let v6 = listener::bind((Ipv6Addr::LOCALHOST, 0).into(), false).unwrap();
    let (_listener, v4) = listening();
    run_local(async {
        for (addr, source) in [(v4, "192.0.2.1"), (v6.local_addr().unwrap(), "2001:db8::1")] {
            let source = Some(source.parse().unwrap());
            let timeout = Duration::from_millis(50);
            let options = DialOptions { source, timeout, freebind: true, ..options(&AllowAll) };
            let failed = dial(&[addr], &options).await.unwrap_err();
            assert!(matches!(failed, DialError::Timeout | DialError::Unroutable), "{failed:?}");
        }
    });
}

#[test]
fn each_address_passes_the_filter_in_canonical_form() {
    let (_listener, addr) = listening();
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), addr.port()));
    let forbid = |addr| Forbid(addr, RefCell::default());
    run_local(async {
        let filter = forbid(addr);
        for addrs in [&[addr][..], &[mapped], &[addr, mapped]] {
            let refused = dial(addrs, &options(&filter)).await.unwrap_err();
            assert_eq!(refused.kind(), "destination_ip_prohibited", "{refused}");
        }
        assert_eq!(*filter.1.borrow(), [addr; 4]);

        let other = SocketAddr::from(([127, 0, 0, 8], addr.port()));
        let (_, reached) = dial(&[other, addr], &options(&forbid(other))).await.unwrap();
        assert_eq!(reached, addr);
        let (_, reached) = dial(&[mapped], &options(&AllowAll)).await.unwrap();
        assert_eq!(reached, addr);
    });
}

#[test]
fn a_failure_starts_the_next_attempt_at_once() {
    let ((_socket, refusing), (_listener, listening)) = (refusing(), listening());
    run_local(async {
        let began = std::time::Instant::now();
        let (_, reached) = dial(&[refusing, listening], &options(&AllowAll)).await.unwrap();
        assert_eq!(reached, listening);
        assert!(began.elapsed() < ATTEMPT_DELAY, "{:?}", began.elapsed());
    });
}

#[test]
fn silence_starts_the_next_attempt_after_the_delay() {
    let (_kept, _fillers, silent) = silent();
    let (_listener, listening) = listening();
    run_local(async {
        let began = std::time::Instant::now();
        let (_, reached) = dial(&[silent, listening], &options(&AllowAll)).await.unwrap();
        assert_eq!(reached, listening);
        assert!(began.elapsed() >= ATTEMPT_DELAY, "{:?}", began.elapsed());
    });
}

#[test]
fn the_timeout_covers_all_attempts() {
    let (_kept, _fillers, silent) = silent();
    let (_socket, refusing) = refusing();
    run_local(async {
        let options = DialOptions { timeout: Duration::from_millis(20), ..options(&AllowAll) };
        for addrs in [&[silent][..], &[silent, refusing], &[refusing, silent]] {
            assert!(matches!(dial(addrs, &options).await, Err(DialError::Timeout)));
        }
    });
}

#[test]
fn the_most_telling_failure_is_reported() {
    let (_socket, refusing) = refusing();
    // Broadcast is unroutable for TCP on any machine.
    let unroutable = SocketAddr::from((Ipv4Addr::BROADCAST, 80));
    run_local(async {
        for addrs in [&[refusing][..], &[refusing, unroutable], &[unroutable, refusing]] {
            let failed = dial(addrs, &options(&AllowAll)).await.unwrap_err();
            assert!(matches!(failed, DialError::Refused), "{failed:?}");
        }
        let failed = dial(&[unroutable], &options(&AllowAll)).await.unwrap_err();
        assert_eq!(failed.kind(), "destination_ip_unroutable", "{failed:?}");
        assert!(matches!(dial(&[], &options(&AllowAll)).await, Err(DialError::NoAddress)));
    });
}

#[test]
fn kernel_errors_have_their_proxy_error_type() {
    for (errno, kind) in [
        (Errno::CONNREFUSED, "connection_refused"),
        (Errno::TIMEDOUT, "connection_timeout"),
        (Errno::HOSTUNREACH, "destination_ip_unroutable"),
        (Errno::NETUNREACH, "destination_ip_unroutable"),
        (Errno::MFILE, "connection_limit_reached"),
        (Errno::ADDRNOTAVAIL, "connection_limit_reached"),
        (Errno::CONNRESET, "connection_terminated"),
        (Errno::INVAL, "proxy_internal_error"),
    ] {
        assert_eq!(DialError::from_connect(errno.into()).kind(), kind, "{errno}");
    }
}
