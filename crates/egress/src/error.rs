//! Why a target was not reached, and whose fault that is.

use std::error::Error;
use std::fmt;

use net::dial::DialError;
use net::resolver::DnsError;

use crate::parent::Reply;

/// Why a target was not reached.
#[derive(Debug)]
pub enum ExitError {
    /// Its name was not resolved.
    Dns(DnsError),
    /// None of its addresses could be connected to, or may be.
    Dial(DialError),
    /// A parent proxy stood in the way.
    Parent {
        /// Which one, counted from 0, the nearest first.
        hop: usize,
        /// What happened there.
        problem: ParentProblem,
    },
}

/// What happened at a parent proxy.
#[derive(Debug)]
pub enum ParentProblem {
    /// Its name was not resolved.
    Dns(DnsError),
    /// It could not be connected to.
    Dial(DialError),
    /// TLS with it failed.
    Tls(tls::ConnectError),
    /// It wants credentials, or not these.
    AuthRequired,
    /// It was asked for the target, and said no.
    Refused(Reply),
    /// It was asked for the next parent, and said no.
    Broken(Reply),
    /// What it sent is not its protocol; in a few words.
    Malformed(&'static str),
    /// It ended the connection instead of answering.
    Closed,
    /// It was not ready in time to be asked.
    Timeout,
    /// It was asked for the target, and did not answer in time.
    Silent,
    /// What it speaks cannot say this target: an IPv6 address in SOCKS4, a name that is too long.
    Unsupported,
}

/// Whose fault it is that a target was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The exit's: it would fail with other targets too.
    Exit,
    /// The target's, or of who asked for it.
    Target,
    /// The exit does not want to, or cannot, reach this target. Others may.
    Pair,
    /// It cannot be told. An exit is not to be blamed: whoever names a target that nobody answers
    /// for could take all exits away from everybody else.
    Unknown,
}

impl ExitError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Dns(_) => Fault::Target,
            Self::Dial(error) => match error {
                // The address that the exit is made of.
                DialError::Source(_) => Fault::Exit,
                DialError::Limit(_) | DialError::NoAddress | DialError::Unroutable => Fault::Pair,
                DialError::Refused
                | DialError::Timeout
                | DialError::Prohibited(_)
                | DialError::Other(_) => Fault::Target,
            },
            Self::Parent { problem, .. } => match problem {
                ParentProblem::Refused(reply) => reply.fault(),
                ParentProblem::Silent => Fault::Unknown,
                ParentProblem::Unsupported => Fault::Pair,
                ParentProblem::Dns(_)
                | ParentProblem::Dial(_)
                | ParentProblem::Tls(_)
                | ParentProblem::AuthRequired
                | ParentProblem::Broken(_)
                | ParentProblem::Malformed(_)
                | ParentProblem::Closed
                | ParentProblem::Timeout => Fault::Exit,
            },
        }
    }

    /// Whether the exit is to blame, and would fail with other targets too.
    #[must_use]
    pub fn is_exit_fault(&self) -> bool {
        self.fault() == Fault::Exit
    }

    /// Whether another exit may reach the target.
    #[must_use]
    pub fn may_succeed_elsewhere(&self) -> bool {
        self.fault() != Fault::Target
    }

    /// The proxy error type of RFC 9209 §2.3.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dns(error) => error.kind(),
            Self::Dial(error) => error.kind(),
            Self::Parent { problem, .. } => problem.kind(),
        }
    }
}

impl ParentProblem {
    /// The proxy error type of RFC 9209 §2.3, where the parent is the next hop.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(reply) => reply.kind(),
            Self::Tls(error) => error.proxy_status(),
            Self::Dns(_)
            | Self::Dial(_)
            | Self::AuthRequired
            | Self::Broken(_)
            | Self::Unsupported => "destination_unavailable",
            Self::Malformed(_) => "http_protocol_error",
            Self::Closed => "connection_terminated",
            Self::Timeout | Self::Silent => "connection_timeout",
        }
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(error) => error.fmt(f),
            Self::Dial(error) => error.fmt(f),
            Self::Parent { problem, .. } => problem.fmt(f),
        }
    }
}

impl fmt::Display for ParentProblem {
    /// Has no text of a peer and no address: it may be told to clients.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(_) => f.write_str("the name of the parent proxy was not resolved"),
            Self::Dial(error) => write!(f, "the parent proxy was not reached: {error}"),
            Self::Tls(_) => f.write_str("TLS with the parent proxy failed"),
            Self::AuthRequired => f.write_str("the parent proxy did not take the credentials"),
            Self::Refused(reply) => write!(f, "the parent proxy said no: {reply}"),
            Self::Broken(reply) => {
                write!(f, "the parent proxy did not reach the next one: {reply}")
            }
            Self::Malformed(what) => write!(f, "the parent proxy sent nonsense: {what}"),
            Self::Closed => f.write_str("the parent proxy closed the connection"),
            Self::Timeout => f.write_str("the parent proxy was not ready in time"),
            Self::Silent => f.write_str("the parent proxy did not answer in time"),
            Self::Unsupported => f.write_str("the parent proxy cannot be asked for this target"),
        }
    }
}

impl Error for ExitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Dns(error) => Some(error),
            Self::Dial(error) => Some(error),
            Self::Parent { problem: ParentProblem::Dns(error), .. } => Some(error),
            Self::Parent { problem: ParentProblem::Dial(error), .. } => Some(error),
            Self::Parent { problem: ParentProblem::Tls(error), .. } => Some(error),
            Self::Parent { .. } => None,
        }
    }
}
