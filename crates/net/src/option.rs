//! The socket options that neither rustix nor socket2 has.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Sets `SO_RCVLOWAT` (socket(7)): how many bytes make a socket readable.
pub(crate) fn set_receive_low_water(socket: impl AsFd, bytes: i32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes)
}

/// Sets `IP_BIND_ADDRESS_NO_PORT` (ip(7)): `bind` with port 0 chooses only the
/// address and leaves the port to `connect`, so that ports are unique for each
/// destination and not for each source. Holds for IPv6 sockets too.
pub(crate) fn set_bind_address_no_port(socket: impl AsFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Sets `IP_FREEBIND` (ip(7)) or `IPV6_FREEBIND`: `bind` takes an address that is none of this
/// machine's. Needs no privilege; answers arrive only where the network of the address is routed
/// to this machine and is local to it.
pub(crate) fn set_freebind(socket: impl AsFd, is_v4: bool) -> io::Result<()> {
    match is_v4 {
        true => set(socket, libc::SOL_IP, libc::IP_FREEBIND, 1),
        false => set(socket, libc::SOL_IPV6, libc::IPV6_FREEBIND, 1),
    }
}

#[allow(unsafe_code, reason = "setsockopt(2) for options without a safe wrapper")]
fn set(socket: impl AsFd, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open while `socket` lives, and `value` is a c_int
    // that outlives the call, of the length given.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
