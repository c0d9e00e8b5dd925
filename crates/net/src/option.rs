//! The socket options, and questions to sockets, that neither rustix nor socket2 has.

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

/// Bytes written to a TCP socket that the other side has not acknowledged yet (`SIOCOUTQ`,
/// tcp(7)): it falls where the other side takes some, also while there is no room for more.
#[allow(unsafe_code, reason = "ioctl(2) without a safe wrapper")]
pub fn unacknowledged(socket: impl AsFd) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open while `socket` lives, and the kernel writes a c_int to
    // `bytes`, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { u64::try_from(bytes).ok() } else { None }
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_is_not_acknowledged_grows_and_falls() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut reader, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&writer), Some(0));
        writer.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(count) = writer.write(&[0; 65536]) {
            written += count;
        }
        let full = unacknowledged(&writer).unwrap();
        assert!(full > 0 && full <= written as u64, "{full} of {written}");
        reader.read_exact(&mut vec![0; written]).unwrap();
        // The last acknowledgement may be delayed.
        while unacknowledged(&writer) != Some(0) {
            std::thread::yield_now();
        }
    }
}
