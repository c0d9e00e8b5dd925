//! Parent proxies: what one is, and a connection on which it is asked.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use config::{ConfigError, ExitHop, HopProtocol, ServerHost, Span};
use message::Host;
use tls::{ClientTls, Io, Roots};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::ParentProblem;

mod http;
mod reply;
mod socks;

pub use reply::{Blame, Code, Reply};

/// A parent proxy, ready to be used. Made once, shared by all cores.
#[derive(Clone)]
pub struct Hop {
    host: Host<'static>,
    port: u16,
    speaks: Speaks,
    tls: Option<ClientTls>,
}

#[derive(Clone)]
enum Speaks {
    Http {
        /// The value of `Proxy-Authorization`.
        authorization: Option<Arc<str>>,
    },
    Socks4a {
        /// The user id.
        user: Box<[u8]>,
    },
    Socks5 {
        /// User name and password as RFC 1929 has them on the wire.
        login: Option<Box<[u8]>>,
        /// Whether it resolves names, unless told otherwise.
        resolves: bool,
    },
}

impl fmt::Debug for Hop {
    /// Never shows the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speaks = match &self.speaks {
            Speaks::Http { .. } => "HTTP",
            Speaks::Socks4a { .. } => "SOCKS4a",
            Speaks::Socks5 { .. } => "SOCKS5",
        };
        f.debug_struct("Hop")
            .field("speaks", &speaks)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

impl Hop {
    /// Makes a parent ready. One of `https` is verified against `roots`.
    ///
    /// # Errors
    /// Credentials that its protocol cannot carry, a host that is none, and no authorities on the
    /// system. All are told at `span`, the place of the exit.
    pub fn build(hop: &ExitHop, roots: &Roots, span: Span) -> Result<Self, ConfigError> {
        let wrong = |message: &str, label: &str| ConfigError::at(span, message, label);
        let host = match &hop.host {
            ServerHost::Address(address) => Host::Address(address.to_canonical()),
            ServerHost::Name(name) => Host::parse(name.as_bytes())
                .map_err(|_| wrong("the host of a parent proxy is no host", "this exit"))?
                .into_owned(),
            ServerHost::Srv(_) => {
                return Err(wrong("a parent proxy cannot be found by SRV records", "this exit"));
            }
        };
        let tls = match hop.protocol {
            HopProtocol::Https => Some(roots.client().map_err(|errors| {
                let first = errors.into_iter().next();
                first.unwrap_or_else(|| ConfigError::whole("TLS cannot be set up"))
            })?),
            _ => None,
        };
        let speaks = Speaks::of(hop).map_err(|problem| {
            wrong(problem, "this exit").help("give it credentials that its protocol can carry")
        })?;
        Ok(Self { host, port: hop.port, speaks, tls })
    }

    /// Where it is.
    #[must_use]
    pub fn host(&self) -> &Host<'static> {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// Whether it resolves the names of targets, where nobody says who is to.
    pub(crate) fn resolves(&self) -> bool {
        !matches!(self.speaks, Speaks::Socks5 { resolves: false, .. })
    }

    /// Whether it can be given an IPv6 address.
    pub(crate) fn knows_ipv6(&self) -> bool {
        !matches!(self.speaks, Speaks::Socks4a { .. })
    }

    /// What has to be in a request in absolute form; `None`: it takes none.
    pub(crate) fn absolute(&self) -> Option<Option<&Arc<str>>> {
        match &self.speaks {
            Speaks::Http { authorization } => Some(authorization.as_ref()),
            _ => None,
        }
    }

    /// Asks for a tunnel to a target. What came behind the answer is in the link afterwards.
    pub(crate) async fn ask(
        &self,
        link: &mut Link,
        host: &Host<'_>,
        port: u16,
    ) -> Result<(), ParentProblem> {
        if let Host::Name(name) = host
            && !is_sayable(name)
        {
            return Err(ParentProblem::Unsupported);
        }
        match &self.speaks {
            Speaks::Http { authorization } => {
                http::ask(link, host, port, authorization.as_deref()).await
            }
            Speaks::Socks4a { user } => socks::ask4a(link, host, port, user).await,
            Speaks::Socks5 { login, .. } => socks::ask5(link, host, port, login.as_deref()).await,
        }
    }
}

impl Speaks {
    fn of(hop: &ExitHop) -> Result<Self, &'static str> {
        let shown = hop.credentials.as_ref().map(|(user, password)| (&**user, &**password));
        Ok(match hop.protocol {
            HopProtocol::Http | HopProtocol::Https => {
                if shown.is_some_and(|(user, _)| user.contains(':')) {
                    return Err("a user name with a colon cannot be shown to an HTTP proxy");
                }
                let authorization = shown.map(|(user, password)| {
                    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))).into()
                });
                Self::Http { authorization }
            }
            HopProtocol::Socks4a => {
                // It has a user id and no password.
                let user = shown.map_or("", |(user, _)| user);
                if user.contains('\0') || user.len() > 255 {
                    return Err("the user id of SOCKS4 has at most 255 bytes, none of them 0");
                }
                Self::Socks4a { user: user.as_bytes().into() }
            }
            HopProtocol::Socks5 | HopProtocol::Socks5h => {
                let resolves = hop.protocol == HopProtocol::Socks5h;
                let Some((user, password)) = shown else {
                    return Ok(Self::Socks5 { login: None, resolves });
                };
                let (Ok(user_length @ 1..), Ok(password_length)) =
                    (u8::try_from(user.len()), u8::try_from(password.len()))
                else {
                    return Err("user name and password of SOCKS5 have at most 255 bytes each");
                };
                let parts: [&[u8]; 4] =
                    [&[1, user_length], user.as_bytes(), &[password_length], password.as_bytes()];
                Self::Socks5 { login: Some(parts.concat().into()), resolves }
            }
        })
    }
}

/// Whether a name can be put into a request as it is. Names of targets are in canonical form
/// already; nothing else may ever end a line or a text.
fn is_sayable(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The octets of an address, and its kind for SOCKS5.
fn octets(address: &IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (4, address.octets().to_vec()),
    }
}

/// The least room a read is made with. Answers of parents are short.
const ROOM: usize = 1024;

/// A connection to a parent, and what came on it and was not understood yet.
pub(crate) struct Link {
    pub(crate) io: Io,
    pub(crate) received: Vec<u8>,
}

impl Link {
    pub(crate) fn new(io: Io) -> Self {
        Self { io, received: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), ParentProblem> {
        let sent = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        sent.await.map_err(|error| problem_of(&error))
    }

    /// Receives more bytes; there is an end to them only as an error.
    async fn receive(&mut self) -> Result<(), ParentProblem> {
        self.received.reserve(ROOM);
        match self.io.read_buf(&mut self.received).await {
            Ok(0) => Err(ParentProblem::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(problem_of(&error)),
        }
    }

    /// Receives until so many bytes are there.
    async fn at_least(&mut self, count: usize) -> Result<&[u8], ParentProblem> {
        while self.received.len() < count {
            self.receive().await?;
        }
        Ok(&self.received[..count])
    }

    /// Takes the first bytes of what was received.
    fn consume(&mut self, count: usize) {
        self.received.drain(..count);
    }
}

fn problem_of(error: &io::Error) -> ParentProblem {
    match tls::ConnectError::from_read(error) {
        Some(error) => ParentProblem::Tls(error),
        None => ParentProblem::Closed,
    }
}
