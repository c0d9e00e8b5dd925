//! Connections that were on their way to somebody else: netfilter's `REDIRECT` and `TPROXY`.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::address::canonical;

/// Lets a listener take connections to addresses that are not of this machine, which `TPROXY`
/// leads to it (`IP_TRANSPARENT` of ip(7)), or takes that back.
///
/// # Errors
///
/// `PermissionDenied` without `CAP_NET_ADMIN`.
pub fn set_transparent(listener: &StdListener, on: bool) -> io::Result<()> {
    let ipv4 = listener.local_addr()?.is_ipv4();
    let socket = SockRef::from(listener);
    if ipv4 { socket.set_ip_transparent_v4(on) } else { socket.set_ip_transparent_v6(on) }
}

/// Whether [`set_transparent`] holds for a listener.
///
/// # Errors
///
/// Those of getsockopt(2).
pub fn is_transparent(listener: &StdListener) -> io::Result<bool> {
    let ipv4 = listener.local_addr()?.is_ipv4();
    let socket = SockRef::from(listener);
    if ipv4 { socket.ip_transparent_v4() } else { socket.ip_transparent_v6() }
}

/// Where a connection was going before `REDIRECT` (or `DNAT`) led it here, in canonical form
/// (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`). For one that nothing was done to, the kernel
/// names the address that it came to, which is our own.
///
/// # Errors
///
/// `NotFound` where the kernel does not track the connection; `ENOPROTOOPT` where it tracks none.
pub fn redirected_from(stream: &TcpStream) -> io::Result<SocketAddr> {
    let local = canonical(stream.local_addr()?.ip());
    let socket = SockRef::from(stream);
    let original =
        if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() }?;
    match original.as_socket() {
        Some(SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_none() => Ok(v6.into()),
        Some(address) => Ok(SocketAddr::new(canonical(address.ip()), address.port())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
