//! Datagram sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use crate::address::canonical;
use crate::option::set_freebind;

/// A socket at this address, on the runtime of this core; port 0 lets the kernel choose. An IPv6
/// socket takes IPv6 only. With `freebind`, the address need not be one of this machine's.
///
/// # Errors
///
/// What the kernel says: no such address, no such family, or out of descriptors.
pub fn bind(address: SocketAddr, freebind: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if freebind {
        set_freebind(&socket, address.is_ipv4())?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Sends a datagram at once, or not at all.
///
/// The runtime learns that a new socket takes datagrams only when it next asks the kernel, and
/// would lose the first one until then; so the kernel is asked here.
///
/// # Errors
///
/// `WouldBlock` where the kernel has no room, and what else it says.
pub fn send(socket: &UdpSocket, data: &[u8], to: SocketAddr) -> io::Result<usize> {
    SockRef::from(socket).send_to(data, &to.into())
}

/// The address of ours that packets to `peer` leave from, as the routing table has it. Nothing
/// is sent.
///
/// # Errors
///
/// There is no way to the peer.
pub fn local_towards(peer: IpAddr) -> io::Result<IpAddr> {
    let peer = canonical(peer);
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = StdSocket::bind((any, 0))?;
    // Connecting a datagram socket only chooses addresses. The port is that of `discard`.
    socket.connect((peer, 9))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_datagram_comes_through() {
        let bound = |text: &str| bind(text.parse().unwrap(), false).unwrap();
        let (one, other) = (bound("127.0.0.1:0"), bound("[::1]:0"));
        let address = one.local_addr().unwrap();
        let sender = bound("127.0.0.1:0");
        assert_eq!(send(&sender, b"hello", address).unwrap(), 5, "before the runtime knows");
        let mut bytes = [0; 16];
        let (count, from) = one.recv_from(&mut bytes).await.unwrap();
        assert_eq!((&bytes[..count], from), (&b"hello"[..], sender.local_addr().unwrap()));
        assert!(other.local_addr().unwrap().is_ipv6());
        assert!(bind(address, false).is_err(), "the address is in use");
    }

    #[tokio::test]
    async fn an_address_that_is_not_ours_has_to_be_asked_for() {
        let foreign = "192.0.2.77:0".parse().unwrap();
        assert!(bind(foreign, false).is_err());
        assert_eq!(bind(foreign, true).unwrap().local_addr().unwrap().ip(), foreign.ip());
    }

    #[test]
    fn the_way_to_this_machine_begins_here() {
        for address in ["127.0.0.1", "::1"].map(|text| text.parse::<IpAddr>().unwrap()) {
            assert_eq!(local_towards(address).unwrap(), address);
        }
    }
}
