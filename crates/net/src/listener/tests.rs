use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::task::Poll;

use rustix::net::sockopt;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::run_local;

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[test]
fn a_group_shares_the_port_the_kernel_chose() {
    let group = bind_group(loopback(), 3).unwrap();
    let ports: Vec<u16> = group.iter().map(|l| l.local_addr().unwrap().port()).collect();
    assert_ne!(ports[0], 0);
    assert_eq!(ports, [ports[0]; 3]);
    for listener in &group {
        assert!(sockopt::socket_reuseport(listener).unwrap());
        assert!(sockopt::socket_reuseaddr(listener).unwrap());
    }
}

#[test]
fn a_group_shares_its_port_with_nobody_else() {
    for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let group = bind_group(loopback(), first).unwrap();
        let again = bind_group(group[0].local_addr().unwrap(), second).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse, "{first} {second}");
    }
}

#[test]
fn every_listener_of_a_group_gets_connections() {
    let group = bind_group(loopback(), 2).unwrap();
    let address = group[0].local_addr().unwrap();
    // The kernel chooses by a hash of both ends: this many connections miss neither.
    let clients: Vec<_> = (0..64).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let accepted =
        group.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count());
    let accepted: Vec<usize> = accepted.collect();
    assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
    assert_eq!(accepted.iter().sum::<usize>(), clients.len());
}

#[test]
fn without_reuse_port_the_address_is_taken() {
    let first = bind(loopback(), false).unwrap();
    let again = bind(first.local_addr().unwrap(), false).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn accepted_connections_have_no_delay_and_a_canonical_peer() {
    // A dual-stack listener sees IPv4 peers as mapped addresses.
    let listener = bind((Ipv6Addr::UNSPECIFIED, 0).into(), false).unwrap();
    let port = listener.local_addr().unwrap().port();
    run_local(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (stream, peer) = accept(&listener).await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(peer.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(stream.nodelay().unwrap());
    });
}

#[test]
fn failures_of_one_connection_or_of_the_moment_do_not_end_the_listener() {
    let after = |errno: Errno| after_failure(&errno.into());
    assert_eq!(after(Errno::CONNABORTED), AfterFailure::Retry);
    assert_eq!(after(Errno::MFILE), AfterFailure::Pause);
    assert_eq!(after(Errno::NFILE), AfterFailure::Pause);
    assert_eq!(after(Errno::NOBUFS), AfterFailure::Pause);
    assert_eq!(after(Errno::BADF), AfterFailure::Fail);
    assert_eq!(after(Errno::INVAL), AfterFailure::Fail);
    assert_eq!(after_failure(&io::ErrorKind::Other.into()), AfterFailure::Fail);
}

#[test]
fn the_descriptor_limit_rises_to_the_hard_limit() {
    let raised = raise_nofile_limit().unwrap();
    assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), raised);
}

#[test]
fn a_core_that_is_not_there_is_refused() {
    assert!(pin_to_core(CpuSet::MAX_CPU).is_err());
    assert!(pin_to_core(CpuSet::MAX_CPU - 1).is_err());
}

#[test]
fn a_connection_on_which_nothing_came_is_not_readable() {
    run_local(async {
        let listener = TcpListener::from_std(bind(loopback(), false)?)?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let (stream, _) = accept(&listener).await?;
        let ready = poll_fn(|cx| Poll::Ready(stream.poll_read_ready(cx))).await;
        assert!(ready.is_pending());
        client.write_all(b"x").await?;
        stream.readable().await?;
        assert_eq!(stream.try_read(&mut [0; 2])?, 1);
        io::Result::Ok(())
    })
    .unwrap();
}
