//! The access log: one line for each request, tunnel or refused attempt.
//!
//! [`AccessRecord`] is what a line is made of; `line` gives it its form, `escape` keeps what a
//! peer sent from being anything but text, `core` and `writer` bring it to the file without a
//! core ever waiting.
//!
//! # Fields and their order
//!
//! Both forms write the same fields; those that do not apply are left out. `json` has
//!
//! `time`, `face`, `client`, `client_port`, `user`, `method`, `target`, `host`, `version`,
//! `status`, `bytes_in`, `bytes_out`, `site`, `route`, `cache`, `upstream`, `server`, `attempts`,
//! `duration`, `connect`, `first_byte`, `tls_version`, `tls_cipher`, `sni`, `tls_resumed`,
//! `referer`, `user_agent`, `failure`, `detail`, `generation`
//!
//! in this order. `combined` is the NCSA combined form
//! (`client - user [time] "method target version" status bytes_out "referer" "user_agent"`)
//! followed by the remaining ones as `key=value` in the same order. `time` is UTC; durations
//! are seconds with six decimals; sizes are bytes.
//!
//! # What never gets in
//!
//! The values of `Authorization` and `Proxy-Authorization` are not part of the record, and the
//! userinfo of a URL (RFC 3986 §3.2.1) is cut out of `target`, `host` and `referer`.

mod address;
mod clock;
mod core;
mod escape;
mod line;
mod writer;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{CacheResult, Face};

pub use self::clock::LogClock;
pub use self::core::CoreLog;
pub use self::line::write_line;
pub use self::writer::AccessLog;

/// One line of the access log. Bytes that came from a peer are given as received.
#[derive(Debug, Clone, Copy)]
pub struct AccessRecord<'a> {
    /// Which proxy served it.
    pub face: Face,
    /// The client's address, as the policy for trusted peers sees it.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// Who the client proved to be, or claimed to be where that was refused.
    pub user: Option<&'a str>,
    /// The request method; of SOCKS, the command.
    pub method: &'a [u8],
    /// The request target as received.
    pub target: &'a [u8],
    /// The host it was for, with the port where one was given.
    pub host: &'a [u8],
    /// `HTTP/1.1`, `SOCKS5`, ….
    pub version: &'static str,
    /// The final status sent to the client; 0 when none was sent.
    pub status: u16,
    /// Bytes of content taken from the client.
    pub bytes_in: u64,
    /// Bytes of content given to the client.
    pub bytes_out: u64,
    /// The site or listener that took it; may be empty.
    pub site: &'a str,
    /// The route within it; may be empty.
    pub route: &'a str,
    /// What the cache did, where there is one.
    pub cache: Option<CacheResult>,
    /// The upstream it was relayed to; may be empty.
    pub upstream: &'a str,
    /// The address of the server that answered, or that was tried last.
    pub server: Option<SocketAddr>,
    /// Servers tried.
    pub attempts: u8,
    /// From the first byte of the request to the last of the answer.
    pub duration: Duration,
    /// Time spent to connect, TLS included; `None` on a reused connection.
    pub connect: Option<Duration>,
    /// From the first byte of the request to the first of the server's answer.
    pub first_byte: Option<Duration>,
    /// TLS towards the client.
    pub tls: Option<AccessTls<'a>>,
    /// The `Referer` field (RFC 9110 §10.1.3).
    pub referer: Option<&'a [u8]>,
    /// The `User-Agent` field (RFC 9110 §10.1.5).
    pub user_agent: Option<&'a [u8]>,
    /// Why it failed: an error type of RFC 9209 §2.3, or one of ours
    /// ([`FAILURE_NAMES`](crate::FAILURE_NAMES)).
    pub failure: Option<&'static str>,
    /// More about the failure, in our words; may be empty.
    pub detail: &'a str,
    /// The generation of the configuration that it ran on.
    pub generation: u64,
}

/// What the access log tells about TLS.
#[derive(Debug, Clone, Copy)]
pub struct AccessTls<'a> {
    /// `TLSv1.3`.
    pub version: &'a str,
    /// The cipher suite's IANA name.
    pub cipher: &'a str,
    /// The server name that the client asked for (RFC 6066 §3).
    pub sni: Option<&'a str>,
    /// Whether a session was resumed.
    pub resumed: bool,
}

#[cfg(test)]
mod tests;
