//! Everything that can go wrong with a request, and what becomes of it: the one place that
//! turns errors of the lower crates into a status, a `Proxy-Status` (RFC 9209) and a log word.

use std::borrow::Cow;
use std::io;

use egress::{Blame, ExitError, NoExit, ParentProblem};
use h1::ParseError;
use net::dial::DialError;
use net::resolver::DnsError;
use upstream::wire::HeadError;

use crate::peer::UpError;
use upstream::{ConnectError, Unavailable};

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The server's, or of the way to it.
    Upstream,
    /// Ours.
    Internal,
}

/// Whether a request that failed in this way may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not at all.
    Never,
    /// The server has not seen it: on another server, whatever the method.
    Unseen,
    /// The server has not seen it, and takes others: on another connection, or when it has room.
    Refused,
    /// The server's answer is one that another server is to be asked after; whether the request
    /// may be made again was looked at before.
    Unwanted,
    /// A kept connection was closed before a byte of the response came: once more, if the
    /// request may be repeated.
    Stale,
}

/// What went wrong with a request.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What.
    pub kind: Kind,
    /// Whether it may be made again.
    pub retry: Retry,
    /// More about it, for the log and, where it tells nothing about servers, for the client.
    pub detail: Cow<'static, str>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $status:literal, $side:ident;)*) => {
        /// What can go wrong. The names are those of RFC 9209 §2.3 where it has one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Whether a server was waited for too long, with a connection to it.
            pub(crate) fn is_server_timeout(self) -> bool {
                matches!(self, Self::ResponseTimeout | Self::ReadTimeout | Self::WriteTimeout)
            }

            /// All of them, with their names.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$kind, $name),)*];

            /// The word for it in `Proxy-Status`, the log and the metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The status that the client is answered with.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$kind => $status,)* }
            }

            /// Whose fault it is.
            #[must_use]
            pub fn side(self) -> Side {
                match self { $(Self::$kind => Side::$side,)* }
            }
        }
    };
}

kinds! {
    /// The request is malformed, or can be read in two ways.
    RequestError = "http_request_error", 400, Downstream;
    /// The head is larger than is allowed.
    RequestHeadTooLarge = "request_header_section_size", 431, Downstream;
    /// The request target is longer than is allowed.
    RequestTargetTooLong = "request_target_size", 414, Downstream;
    /// The body is larger than is allowed.
    RequestBodyTooLarge = "request_body_size", 413, Downstream;
    /// The body is in a content coding that is not known here.
    CodingNotSupported = "request_content_coding", 415, Downstream;
    /// An expectation that nobody can meet.
    ExpectationFailed = "expectation_failed", 417, Downstream;
    /// A version other than HTTP/1.0 and 1.1.
    VersionNotSupported = "http_version", 505, Downstream;
    /// The request did not come in time.
    RequestTimeout = "request_timeout", 408, Downstream;
    /// The client took or gave too little for too long.
    ClientTooSlow = "client_too_slow", 408, Downstream;
    /// The client went away.
    ClientGone = "client_closed", 499, Downstream;
    /// The client may not do this.
    Denied = "http_request_denied", 403, Downstream;
    /// The client has not shown who it is.
    Unauthenticated = "authentication_required", 407, Downstream;
    /// The client has not shown to the site who it is.
    SiteUnauthenticated = "authentication_required", 401, Downstream;
    /// The client asks more often than it may.
    RateLimited = "rate_limited", 429, Downstream;
    /// What the client wishes of the exit cannot be understood, or cannot be had together.
    WishRefused = "exit_wish_refused", 400, Downstream;
    /// The user has used up what it may in a time.
    QuotaExceeded = "quota_exceeded", 429, Downstream;
    /// No exit is what the client wishes.
    NoExit = "exit_not_found", 502, Downstream;
    /// All exits that would do are banned, ill or busy.
    ExitsUnavailable = "exits_unavailable", 503, Upstream;
    /// The exit failed, not the target.
    ExitFailed = "exit_failed", 502, Upstream;
    /// The exit of a strict session is gone.
    SessionLost = "session_lost", 502, Upstream;
    /// No site has this host, or another one than the TLS connection was made for.
    Misdirected = "misdirected_request", 421, Downstream;
    /// No route has this path.
    NoRoute = "destination_not_found", 404, Downstream;
    /// The path has routes, but none for this method.
    MethodNotAllowed = "method_not_allowed", 405, Downstream;
    /// The request has been here before.
    Loop = "proxy_loop_detected", 508, Downstream;
    /// The name of the server could not be resolved in time.
    DnsTimeout = "dns_timeout", 504, Upstream;
    /// The name of the server could not be resolved.
    DnsError = "dns_error", 502, Upstream;
    /// No server is known.
    Unavailable = "destination_unavailable", 503, Upstream;
    /// The address is out of bounds.
    IpProhibited = "destination_ip_prohibited", 403, Downstream;
    /// There is no way to the address.
    IpUnroutable = "destination_ip_unroutable", 502, Upstream;
    /// The server refused the connection.
    ConnectionRefused = "connection_refused", 502, Upstream;
    /// The connection ended before the response began.
    ConnectionTerminated = "connection_terminated", 502, Upstream;
    /// The connection was not made in time.
    ConnectionTimeout = "connection_timeout", 504, Upstream;
    /// The server answered with a status that another server is to be asked after.
    UnwantedStatus = "unwanted_status", 502, Upstream;
    /// The server sent nothing for too long.
    ReadTimeout = "connection_read_timeout", 504, Upstream;
    /// The server took nothing for too long.
    WriteTimeout = "connection_write_timeout", 504, Upstream;
    /// No more connections can be made.
    ConnectionLimit = "connection_limit_reached", 503, Internal;
    /// TLS with the server failed.
    TlsProtocolError = "tls_protocol_error", 502, Upstream;
    /// The certificate of the server was not accepted.
    TlsCertificateError = "tls_certificate_error", 502, Upstream;
    /// The server ended TLS with an alert.
    TlsAlert = "tls_alert_received", 502, Upstream;
    /// The response ended too early.
    ResponseIncomplete = "http_response_incomplete", 502, Upstream;
    /// The head of the response is larger than is allowed.
    ResponseHeadTooLarge = "http_response_header_section_size", 502, Upstream;
    /// The response is malformed, or can be read in two ways.
    ProtocolError = "http_protocol_error", 502, Upstream;
    /// The response did not begin in time.
    ResponseTimeout = "http_response_timeout", 504, Upstream;
    /// The server switched to a protocol that nobody asked for.
    UpgradeFailed = "http_upgrade_failed", 502, Upstream;
    /// A mistake of ours.
    InternalError = "proxy_internal_error", 500, Internal;
}

impl Failure {
    /// One without further words.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, retry: Retry::Never, detail: Cow::Borrowed("") }
    }

    /// One with more words; what a peer sent does not belong into them.
    #[must_use]
    pub fn with(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, retry: Retry::Never, detail: detail.into() }
    }

    /// Says whether the request may be made again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// A request that cannot be parsed.
    #[must_use]
    pub fn of_request(error: ParseError) -> Self {
        let kind = match error {
            ParseError::TargetTooLong => Kind::RequestTargetTooLong,
            ParseError::HeadTooLarge | ParseError::TooManyFields => Kind::RequestHeadTooLarge,
            ParseError::Version => Kind::VersionNotSupported,
            ParseError::Malformed(_)
            | ParseError::BareLineEnd
            | ParseError::FoldedLine
            | ParseError::ChunkTooLarge => Kind::RequestError,
        };
        Self::with(kind, error.as_str())
    }

    /// A response that cannot be parsed.
    #[must_use]
    pub fn of_response(error: ParseError) -> Self {
        let kind = match error {
            ParseError::HeadTooLarge | ParseError::TooManyFields | ParseError::TargetTooLong => {
                Kind::ResponseHeadTooLarge
            }
            _ => Kind::ProtocolError,
        };
        Self::with(kind, error.as_str())
    }

    /// The head of a request that did not come.
    #[must_use]
    pub fn of_request_head(error: HeadError) -> Self {
        match error {
            HeadError::Parse(error) => Self::of_request(error),
            HeadError::Closed | HeadError::Truncated => Self::new(Kind::ClientGone),
            HeadError::Io(error) => Self::with(Kind::ClientGone, io_words(&error)),
        }
    }

    /// The head of a response that did not come. Where nothing came at all, a connection that
    /// was `reused` may just have been too old.
    #[must_use]
    pub fn of_response_head(error: HeadError, reused: bool) -> Self {
        let stale = if reused { Retry::Stale } else { Retry::Never };
        match error {
            HeadError::Parse(error) => Self::of_response(error),
            HeadError::Closed => Self::new(Kind::ConnectionTerminated).retry(stale),
            HeadError::Truncated => Self::new(Kind::ResponseIncomplete),
            HeadError::Io(error) => {
                Self::with(Kind::ConnectionTerminated, io_words(&error)).retry(stale)
            }
        }
    }

    /// A request that a connection of HTTP/2 did not take any more.
    #[must_use]
    pub fn of_unsent(_: &h2::Error) -> Self {
        Self::with(Kind::ConnectionTerminated, "the connection takes no more requests")
            .retry(Retry::Refused)
    }

    /// The head of a response that did not come, or is none, in either version of HTTP.
    #[must_use]
    pub(crate) fn of_up(error: UpError, reused: bool) -> Self {
        match error {
            UpError::Head(error) => Self::of_response_head(error, reused),
            UpError::Parse(error) => Self::of_response(error),
            UpError::Field(words) => Self::with(Kind::ProtocolError, words),
            UpError::Stream(error) => Self::of_stream(&error, reused),
        }
    }

    /// A stream of HTTP/2 to a server that failed before its response began. A connection that
    /// was `reused` may just have been too old.
    #[must_use]
    pub fn of_stream(error: &h2::Error, reused: bool) -> Self {
        let unseen = error.is_remote()
            && match error.reason() {
                // RFC 9113 §8.7: both say that the request was not processed.
                Some(h2::Reason::REFUSED_STREAM) => error.is_reset(),
                Some(h2::Reason::NO_ERROR) => error.is_go_away(),
                _ => false,
            };
        if unseen {
            return Self::with(Kind::ConnectionTerminated, "the stream was refused")
                .retry(Retry::Refused);
        }
        if let Some(error) = error.get_io() {
            let stale = if reused { Retry::Stale } else { Retry::Never };
            return Self::with(Kind::ConnectionTerminated, io_words(error)).retry(stale);
        }
        if error.is_library() {
            return Self::with(Kind::ProtocolError, "the server broke the rules of HTTP/2");
        }
        Self::with(Kind::ConnectionTerminated, "the stream was reset")
    }

    /// A server that could not be connected to.
    #[must_use]
    pub fn of_connect(error: &ConnectError) -> Self {
        match error {
            ConnectError::Unresolved(DnsError::Timeout) => Self::new(Kind::DnsTimeout),
            ConnectError::Unresolved(_) => Self::new(Kind::DnsError),
            ConnectError::Dial(error) => Self::of_dial(error),
            ConnectError::Tls(error) => Self::of_tls(error),
            ConnectError::Timeout => Self::new(Kind::ConnectionTimeout),
            ConnectError::Exit(error) => Self::of_exit(error),
            ConnectError::NoExit(why) => Self::of_no_exit(why),
        }
        .retry(Retry::Unseen)
    }

    /// A group of servers none of which took a request.
    #[must_use]
    pub fn of_unavailable(why: Unavailable) -> Self {
        match why {
            Unavailable::NoServer | Unavailable::AllTried => Self::new(Kind::Unavailable),
            Unavailable::CircuitOpen => {
                Self::with(Kind::Unavailable, "too much fails at the moment")
            }
            Unavailable::QueueFull => Self::with(Kind::ConnectionLimit, "all servers are busy"),
            Unavailable::QueueTimeout => {
                Self::with(Kind::ConnectionLimit, "all servers were busy for too long")
            }
            Unavailable::Unresolved(error) => Self::of_connect(&ConnectError::Unresolved(error)),
        }
    }

    /// A target that could not be reached.
    #[must_use]
    pub fn of_exit(error: &ExitError) -> Self {
        match error {
            ExitError::Dns(DnsError::Timeout) => Self::new(Kind::DnsTimeout),
            ExitError::Dns(error) => Self::with(Kind::DnsError, error.to_string()),
            ExitError::Dial(error) => Self::of_dial(error),
            ExitError::Parent { problem, .. } => Self::of_parent(problem),
        }
    }

    /// No exit that would do.
    #[must_use]
    pub fn of_no_exit(why: &NoExit) -> Self {
        let kind = match why {
            NoExit::NoMatch { key } => return Self::with(Kind::NoExit, *key),
            NoExit::NotAllowed => Kind::Denied,
            NoExit::AllBanned
            | NoExit::AllIll
            | NoExit::AllBusy
            | NoExit::PinnedBusy { .. }
            | NoExit::AllTried
            | NoExit::WrongFamily => Kind::ExitsUnavailable,
            NoExit::Paced { .. } => {
                return Self::with(Kind::RateLimited, "all exits that fit have to rest");
            }
            NoExit::SessionLost => Kind::SessionLost,
            NoExit::TooManySessions => Kind::RateLimited,
        };
        Self::with(kind, why.to_string())
    }

    /// A parent proxy that stood in the way.
    fn of_parent(problem: &ParentProblem) -> Self {
        let kind = match problem {
            ParentProblem::Refused(reply) => match reply.blame {
                Blame::Parent | Blame::Unsaid => Kind::ExitFailed,
                Blame::Rules | Blame::Unreachable => Kind::IpUnroutable,
                Blame::Name => Kind::DnsError,
                Blame::Refusal => Kind::ConnectionRefused,
                Blame::Silence => Kind::ConnectionTimeout,
            },
            ParentProblem::Tls(error) => Self::of_tls(error).kind,
            ParentProblem::Dial(DialError::Timeout)
            | ParentProblem::Timeout
            | ParentProblem::Silent => Kind::ConnectionTimeout,
            ParentProblem::Closed => Kind::ConnectionTerminated,
            ParentProblem::Malformed(_) => Kind::ProtocolError,
            ParentProblem::Dns(_)
            | ParentProblem::Dial(_)
            | ParentProblem::AuthRequired
            | ParentProblem::Broken(_)
            | ParentProblem::Unsupported => Kind::ExitFailed,
        };
        Self::with(kind, problem.to_string())
    }

    fn of_dial(error: &DialError) -> Self {
        match error {
            DialError::Refused => Self::new(Kind::ConnectionRefused),
            DialError::Timeout => Self::new(Kind::ConnectionTimeout),
            DialError::Unroutable => Self::new(Kind::IpUnroutable),
            DialError::Prohibited(refusal) => Self::with(Kind::IpProhibited, refusal.reason),
            DialError::Limit(_) => Self::new(Kind::ConnectionLimit),
            DialError::NoAddress => Self::new(Kind::DnsError),
            DialError::Source(_) => Self::with(Kind::Unavailable, "no such source address"),
            DialError::Other(error) => Self::with(Kind::Unavailable, io_words(error)),
        }
    }

    /// TLS with a server that failed.
    #[must_use]
    pub fn of_tls(error: &tls::ConnectError) -> Self {
        let kind = match error {
            tls::ConnectError::InvalidName(_) | tls::ConnectError::Certificate(_) => {
                Kind::TlsCertificateError
            }
            tls::ConnectError::Alert { .. } => Kind::TlsAlert,
            tls::ConnectError::Eof | tls::ConnectError::Io(_) => Kind::ConnectionTerminated,
            tls::ConnectError::Protocol(_) => Kind::TlsProtocolError,
        };
        Self::with(kind, error.to_string())
    }

    /// A mistake of ours.
    #[must_use]
    pub fn internal(detail: &'static str) -> Self {
        Self::with(Kind::InternalError, detail)
    }
}

/// What kind of I/O error it is; the system's own text may name addresses.
pub(crate) fn io_words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::BrokenPipe => "broken pipe",
        io::ErrorKind::UnexpectedEof => "ended without notice",
        io::ErrorKind::InvalidData => "malformed TLS record",
        io::ErrorKind::TimedOut => "timed out",
        _ => "i/o error",
    }
}
