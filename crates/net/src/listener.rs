//! Listening sockets: one per core on the same address, and accepting from them.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};

use crate::address::canonical;

#[cfg(test)]
mod tests;

/// Connections the kernel completes ahead of `accept`; `net.core.somaxconn` caps it.
pub const BACKLOG: i32 = 4096;

/// How long `accept` waits when descriptors or memory have run out. Connections
/// stay in the backlog meanwhile; others must end before one can be taken.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// A nonblocking listener on `addr`; port 0 lets the kernel choose.
///
/// `[::]` takes IPv4 as well. With `reuse_port`, further sockets of this user may
/// bind the same address, and the kernel spreads connections over them.
///
/// # Errors
///
/// What the kernel says: address in use, not local, or permission denied.
pub fn bind(addr: SocketAddr, reuse_port: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A restart must not wait for connections of the past in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if addr.is_ipv6() {
        // The system default may be either; `[::]` means both here.
        socket.set_only_v6(false)?;
    }
    // Linux hands it on to what is accepted, which saves a system call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// `n` listeners on one address, one for each core.
///
/// With port 0, the kernel chooses a port for all of them. Nobody else may listen there:
/// `SO_REUSEPORT` alone would let a second server of the same user in, and the kernel would
/// hand it every other connection.
///
/// # Errors
///
/// As [`bind`]; then none of them is left open.
pub fn bind_group(addr: SocketAddr, n: usize) -> io::Result<Vec<StdListener>> {
    if n == 0 {
        return Ok(Vec::new());
    }
    let alone = bind(addr, false)?;
    // It has proven that the address is free, and keeps it so until the others listen.
    SockRef::from(&alone).set_reuse_port(true)?;
    let addr = alone.local_addr()?;
    (0..n).map(|_| bind(addr, true)).collect()
}

/// Takes the next connection and its peer's address, IPv4 in IPv4's own form.
///
/// `TCP_NODELAY` is on, as on every listener of [`bind`]. Connections that died in the backlog are passed over, and
/// when the process is out of descriptors or memory this waits for better times.
///
/// # Errors
///
/// Only what retrying cannot help: the listener itself is broken.
pub async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Tokio assumes that it can be read at once. One on which nothing comes would be
                // given a buffer for it, so that is taken back; the event tells when something
                // is there. No system call is made.
                let _ = stream
                    .try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                return Ok((stream, SocketAddr::new(canonical(peer.ip()), peer.port())));
            }
            Err(error) => match after_failure(&error) {
                AfterFailure::Retry => {}
                AfterFailure::Pause => {
                    tracing::warn!(%error, "cannot accept for now");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                AfterFailure::Fail => return Err(error),
            },
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum AfterFailure {
    Retry,
    Pause,
    Fail,
}

/// What accept(2) asks for: errors already pending on the new connection are
/// returned by `accept` and mean nothing for the listener.
fn after_failure(error: &io::Error) -> AfterFailure {
    match Errno::from_io_error(error) {
        Some(
            Errno::CONNABORTED
            | Errno::INTR
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::TIMEDOUT
            | Errno::PERM,
        ) => AfterFailure::Retry,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => AfterFailure::Pause,
        _ => AfterFailure::Fail,
    }
}

/// Raises the limit of open descriptors to the hard limit and returns it;
/// `u64::MAX` if there is none.
///
/// # Errors
///
/// If the kernel refuses, which it does not for the own hard limit.
pub fn raise_nofile_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Keeps this thread on core `n`, counted from 0.
///
/// # Errors
///
/// `InvalidInput` if the process may not run there, or there is no such core.
pub fn pin_to_core(n: usize) -> io::Result<()> {
    if n >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut cores = CpuSet::new();
    cores.set(n);
    Ok(sched_setaffinity(None, &cores)?)
}
