//! What a parent says when it says no, and whom that blames.

use std::fmt;

use message::{FieldId, ResponseHead};

use crate::Fault;

/// A refusal of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// As it was sent.
    pub code: Code,
    /// The error of its `Proxy-Status` field (RFC 9209 §2.3), if it sent one that is known.
    pub error: Option<&'static str>,
    /// Whom it blames.
    pub blame: Blame,
}

/// The code of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A status of HTTP.
    Http(u16),
    /// A reply of SOCKS5 (RFC 1928 §6).
    Socks5(u8),
    /// A reply of SOCKS4.
    Socks4(u8),
}

/// Whom a refusal blames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The parent itself: it is busy, or wants more money.
    Parent,
    /// Nobody: it is what parents say of themselves, and many of a target that they do not reach.
    Unsaid,
    /// The rules of the parent, which do not let this target pass.
    Rules,
    /// The target's name, which has no address.
    Name,
    /// The target, which refused the connection.
    Refusal,
    /// The target, which was not reached.
    Unreachable,
    /// The target, which did not answer in time.
    Silence,
}

impl Reply {
    pub(super) fn socks5(code: u8) -> Self {
        let blame = match code {
            2 => Blame::Rules,
            // 8: it does not know addresses of this kind.
            3 | 4 | 8 => Blame::Unreachable,
            5 => Blame::Refusal,
            6 => Blame::Silence,
            7 => Blame::Parent,
            // Most say 1 of a target that is dead; others have codes of their own.
            _ => Blame::Unsaid,
        };
        Self { code: Code::Socks5(code), error: None, blame }
    }

    /// SOCKS4 has one code for all that can go wrong behind the parent.
    pub(super) fn socks4(code: u8) -> Self {
        let blame = if code == 91 { Blame::Unreachable } else { Blame::Parent };
        Self { code: Code::Socks4(code), error: None, blame }
    }

    /// A response to CONNECT that is neither 2xx nor 407. `Proxy-Status` knows best; Squid, which
    /// answers everything with 503, has a field of its own; else the status has to do.
    pub(super) fn http(head: &ResponseHead) -> Self {
        let named = head.fields.values(FieldId::ProxyStatus).find_map(error_of);
        let squid = || {
            let mut values = head.fields.values_named(b"x-squid-error");
            values.next().and_then(blame_of_squid)
        };
        let blame = named.map(|known| known.1).or_else(squid);
        Self {
            code: Code::Http(head.status),
            error: named.map(|known| known.0),
            blame: blame.unwrap_or_else(|| blame_of_status(head.status)),
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.blame {
            Blame::Parent => Fault::Exit,
            Blame::Unsaid => Fault::Unknown,
            Blame::Rules | Blame::Unreachable | Blame::Silence => Fault::Pair,
            Blame::Name | Blame::Refusal => Fault::Target,
        }
    }

    /// The proxy error type of RFC 9209 §2.3.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.error.unwrap_or(match self.blame {
            Blame::Parent | Blame::Unsaid => "destination_unavailable",
            Blame::Rules => "http_request_denied",
            Blame::Name => "dns_error",
            Blame::Refusal => "connection_refused",
            Blame::Unreachable => "destination_ip_unroutable",
            Blame::Silence => "connection_timeout",
        })
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Code::Http(status) => write!(f, "status {status}")?,
            Code::Socks5(code) => write!(f, "SOCKS5 reply {code}")?,
            Code::Socks4(code) => write!(f, "SOCKS4 reply {code}")?,
        }
        match self.error {
            Some(error) => write!(f, " ({error})"),
            None => Ok(()),
        }
    }
}

fn blame_of_status(status: u16) -> Blame {
    match status {
        403 | 451 => Blame::Rules,
        404 | 502 => Blame::Unreachable,
        504 => Blame::Silence,
        400 | 500 | 503 | 520..=599 => Blame::Unsaid,
        _ => Blame::Parent,
    }
}

fn blame_of_squid(value: &[u8]) -> Option<Blame> {
    // `ERR_CONNECT_FAIL 111`: the number is that of the system's error.
    let word = value.split(|byte| *byte == b' ').next()?;
    Some(match word {
        b"ERR_DNS_FAIL" => Blame::Name,
        b"ERR_CONNECT_FAIL" if value.ends_with(b" 111") => Blame::Refusal,
        b"ERR_CONNECT_FAIL" => Blame::Unreachable,
        b"ERR_ACCESS_DENIED" => Blame::Rules,
        _ => return None,
    })
}

/// The errors of RFC 9209 §2.3 that a tunnel can fail with, and whom each blames.
const ERRORS: &[(&str, Blame)] = &[
    ("dns_timeout", Blame::Name),
    ("dns_error", Blame::Name),
    ("destination_not_found", Blame::Unreachable),
    ("destination_unavailable", Blame::Unreachable),
    ("destination_ip_prohibited", Blame::Rules),
    ("destination_ip_unroutable", Blame::Unreachable),
    ("connection_refused", Blame::Refusal),
    ("connection_terminated", Blame::Unreachable),
    ("connection_timeout", Blame::Silence),
    ("connection_read_timeout", Blame::Silence),
    ("connection_write_timeout", Blame::Silence),
    ("connection_limit_reached", Blame::Parent),
    ("http_request_denied", Blame::Rules),
    ("proxy_internal_response", Blame::Parent),
    ("proxy_internal_error", Blame::Parent),
    ("proxy_configuration_error", Blame::Parent),
    ("proxy_loop_detected", Blame::Parent),
];

/// The first `error` parameter of a `Proxy-Status` value (RFC 9209 §2) that is one of the table.
/// What is within quotes is passed over.
fn error_of(value: &[u8]) -> Option<(&'static str, Blame)> {
    let (mut quoted, mut escaped) = (false, false);
    let parameters = value.split(|byte| {
        match (quoted, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, _, b'"') => quoted = !quoted,
            _ => {}
        }
        !quoted && matches!(byte, b';' | b',')
    });
    parameters.filter_map(|part| part.trim_ascii().strip_prefix(b"error=")).find_map(|word| {
        ERRORS.iter().find(|(name, _)| name.as_bytes() == word.trim_ascii()).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, fields: &str) -> Reply {
        let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let limits = h1::HeadLimits { bytes: 4096, fields: 16 };
        let block = message::Block::over(text.into_bytes());
        Reply::http(&h1::parse_response(block, limits).unwrap())
    }

    #[test]
    fn a_status_blames_what_it_can() {
        for (status, fault) in [
            (403, Fault::Pair),
            (502, Fault::Pair),
            (504, Fault::Pair),
            (400, Fault::Unknown),
            (402, Fault::Exit),
            (429, Fault::Exit),
            (500, Fault::Unknown),
            (503, Fault::Unknown),
            (522, Fault::Unknown),
            (302, Fault::Exit),
        ] {
            assert_eq!(reply(status, "").fault(), fault, "{status}");
        }
    }

    #[test]
    fn proxy_status_knows_better() {
        for (value, error) in [
            ("parent; error=connection_refused", Some("connection_refused")),
            ("a; details=\"x; error=dns_error\"; error=dns_timeout", Some("dns_timeout")),
            ("a;details=\"\\\"\";error=connection_timeout;x=1", Some("connection_timeout")),
            ("a, b; error=destination_ip_prohibited", Some("destination_ip_prohibited")),
            ("parent; error=made_up", None),
            ("parent; details=\"error=dns_error", None),
            ("error", None),
            ("", None),
        ] {
            let reply = reply(503, &format!("Proxy-Status: {value}\r\n"));
            assert_eq!(reply.error, error, "{value}");
            assert_eq!(reply.fault() == Fault::Unknown, error.is_none(), "{value}");
        }
        assert_eq!(
            reply(502, "Proxy-Status: p; error=connection_refused\r\n").to_string(),
            "status 502 (connection_refused)"
        );
    }

    #[test]
    fn squid_is_understood() {
        for (value, fault) in [
            ("ERR_CONNECT_FAIL 111", Fault::Target),
            ("ERR_CONNECT_FAIL 110", Fault::Pair),
            ("ERR_DNS_FAIL 0", Fault::Target),
            ("ERR_ACCESS_DENIED 0", Fault::Pair),
            ("ERR_CANNOT_FORWARD 0", Fault::Unknown),
        ] {
            assert_eq!(reply(503, &format!("X-Squid-Error: {value}\r\n")).fault(), fault);
        }
    }

    #[test]
    fn socks_replies_are_told_apart() {
        let faults: Vec<_> = (1..=9).map(|code| Reply::socks5(code).fault()).collect();
        use Fault::{Exit, Pair, Target, Unknown};
        assert_eq!(faults, [Unknown, Pair, Pair, Pair, Target, Pair, Exit, Pair, Unknown]);
        assert_eq!(Reply::socks4(91).fault(), Pair);
        assert_eq!(Reply::socks4(1).fault(), Exit);
    }
}
