//! Opening a TCP connection to one of several addresses (RFC 8305).

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

use crate::address::{AddressFilter, Refusal, canonical};
use crate::option::{set_bind_address_no_port, set_freebind};

mod order;

#[cfg(test)]
mod tests;

/// RFC 8305 §8: the recommended Connection Attempt Delay.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The first port that is given to dialers anywhere (RFC 6335 §6: those below are assigned).
const FIRST_FREE_PORT: u16 = 1024;

/// How to dial.
#[derive(Clone, Copy)]
pub struct DialOptions<'a> {
    /// For all attempts together.
    pub timeout: Duration,
    /// The local address to dial from; addresses of the other family are passed over.
    pub source: Option<IpAddr>,
    /// The source address need not be one of this machine's (`IP_FREEBIND`): it is one of a
    /// network that is routed here.
    pub freebind: bool,
    /// Asked about each address before it is dialed.
    pub filter: &'a dyn AddressFilter,
}

/// Why no connection came about; of several attempts, the most telling failure.
///
/// [`DialError::kind`] is the proxy error type of RFC 9209 §2.3.
#[derive(Debug)]
pub enum DialError {
    /// The destination is there and does not listen.
    Refused,
    /// Nobody answered in time.
    Timeout,
    /// There is no way to the address.
    Unroutable,
    /// The filter allows none of the addresses.
    Prohibited(Refusal),
    /// This side is out of descriptors, ports or memory.
    Limit(io::Error),
    /// No address was given, or none of the family of the source address.
    NoAddress,
    /// The source address is none of this machine's.
    Source(io::Error),
    /// Anything else the kernel says.
    Other(io::Error),
}

impl DialError {
    /// The proxy error type for the `Proxy-Status` field (RFC 9209 §2.3).
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused => "connection_refused",
            Self::Timeout => "connection_timeout",
            Self::Unroutable => "destination_ip_unroutable",
            Self::Prohibited(_) => "destination_ip_prohibited",
            Self::Limit(_) => "connection_limit_reached",
            Self::NoAddress => "destination_not_found",
            Self::Other(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                "connection_terminated"
            }
            Self::Source(_) | Self::Other(_) => "proxy_internal_error",
        }
    }

    fn from_connect(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED) => Self::Refused,
            Some(Errno::TIMEDOUT) => Self::Timeout,
            Some(
                Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::NETDOWN
                | Errno::AFNOSUPPORT,
            ) => Self::Unroutable,
            Some(
                // Of connect: all ports to this destination are in use.
                Errno::ADDRNOTAVAIL
                | Errno::AGAIN
                | Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM,
            ) => Self::Limit(error),
            _ => Self::Other(error),
        }
    }

    /// How much it says about the destination; what an operator must act on first.
    fn weight(&self) -> u8 {
        match self {
            Self::Source(_) => 7,
            Self::Limit(_) => 6,
            Self::Refused => 5,
            Self::Timeout => 4,
            Self::Other(_) => 3,
            Self::Unroutable => 2,
            Self::Prohibited(_) => 1,
            Self::NoAddress => 0,
        }
    }

    fn or(self, other: Self) -> Self {
        if other.weight() > self.weight() { other } else { self }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Unroutable => f.write_str("no route to the address"),
            Self::Prohibited(refusal) => write!(f, "address not allowed: {}", refusal.reason),
            Self::Limit(_) => f.write_str("out of local descriptors, ports or memory"),
            Self::NoAddress => f.write_str("no address to dial"),
            Self::Source(_) => f.write_str("the source address is not of this machine"),
            Self::Other(_) => f.write_str("connection failed"),
        }
    }
}

impl Error for DialError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Limit(error) | Self::Source(error) | Self::Other(error) => Some(error),
            _ => None,
        }
    }
}

/// Connects to the first of `addrs` that answers; returns which one that is.
///
/// Families take turns, beginning with that of the first address; the next attempt
/// starts when one fails, or 250 ms after the last start, and the earlier ones go on
/// (RFC 8305 §4 and §5). `TCP_NODELAY` is on.
///
/// # Errors
///
/// See [`DialError`].
pub async fn dial(
    addrs: &[SocketAddr],
    options: &DialOptions<'_>,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let connected = async {
        match addrs {
            // Most origins have one address, and need none of the race.
            [addr] => {
                let addr = permitted(*addr, options)?;
                Ok((connect(addr, options.source, options.freebind).await?, addr))
            }
            several => race(several, options).await,
        }
    };
    timeout(options.timeout, connected).await.unwrap_or(Err(DialError::Timeout))
}

/// `addr` in canonical form, if it may be dialed and can be from the source address.
fn permitted(addr: SocketAddr, options: &DialOptions<'_>) -> Result<SocketAddr, DialError> {
    let addr = match addr {
        // Keeps the scope of a link-local address.
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() => addr,
        _ => SocketAddr::new(canonical(addr.ip()), addr.port()),
    };
    if options.source.is_some_and(|source| canonical(source).is_ipv4() != addr.is_ipv4()) {
        return Err(DialError::NoAddress);
    }
    options.filter.check(addr).map_err(DialError::Prohibited)?;
    Ok(addr)
}

async fn race(
    addrs: &[SocketAddr],
    options: &DialOptions<'_>,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut failure = DialError::NoAddress;
    let mut candidates = Vec::with_capacity(addrs.len());
    for addr in addrs {
        match permitted(*addr, options) {
            Ok(addr) if candidates.contains(&addr) => {}
            Ok(addr) => candidates.push(addr),
            Err(refused) => failure = failure.or(refused),
        }
    }
    order::interleave(&mut candidates);

    let mut waiting = candidates.into_iter();
    let mut running = Vec::new();
    let mut next_start = std::pin::pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let mut failed = false;
            let mut at = 0;
            while at < running.len() {
                let (addr, attempt): &mut (SocketAddr, Attempt) = &mut running[at];
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok((stream, *addr))),
                    Poll::Ready(Err(error)) => {
                        failure = std::mem::replace(&mut failure, DialError::NoAddress).or(error);
                        failed = true;
                        drop(running.remove(at));
                    }
                    Poll::Pending => at += 1,
                }
            }
            if !failed && !running.is_empty() && next_start.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match waiting.next() {
                Some(addr) => {
                    running.push((addr, Box::pin(connect(addr, options.source, options.freebind))));
                    next_start.as_mut().reset(Instant::now() + ATTEMPT_DELAY);
                }
                None if running.is_empty() => {
                    return Poll::Ready(Err(std::mem::replace(&mut failure, DialError::NoAddress)));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}

type Attempt = std::pin::Pin<Box<dyn Future<Output = Result<TcpStream, DialError>>>>;

async fn connect(
    addr: SocketAddr,
    source: Option<IpAddr>,
    freebind: bool,
) -> Result<TcpStream, DialError> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(DialError::from_connect)?;
    socket.set_nodelay(true).map_err(DialError::Other)?;
    if let Some(source) = source {
        set_bind_address_no_port(&socket).map_err(DialError::Other)?;
        if freebind {
            set_freebind(&socket, addr.is_ipv4()).map_err(DialError::Other)?;
        }
        // ADDRNOTAVAIL of bind is no lack of ports: the address is not ours.
        socket.bind(SocketAddr::new(canonical(source), 0)).map_err(DialError::Source)?;
    }
    let stream = socket.connect(addr).await.map_err(DialError::from_connect)?;
    // Without a listener, a local port can be given to the dialer itself, which
    // then meets itself (simultaneous open, RFC 9293 §3.5).
    // Such ports are none of those that are known to everybody.
    if addr.port() >= FIRST_FREE_PORT && stream.local_addr().is_ok_and(|local| local == addr) {
        return Err(DialError::Refused);
    }
    Ok(stream)
}
