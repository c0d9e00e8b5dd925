//! Lines of a list of parents: `host:port`, `host:port:user:password`, or a URL as the
//! configuration has it.

use std::fmt::Write as _;

use config::{ExitHop, HopProtocol};

/// What a line says.
#[derive(Debug)]
pub(super) enum Line {
    /// It is empty or a comment.
    Nothing,
    Parent(ExitHop),
    /// Why it is no parent, without anything of it: it may have a password.
    Wrong(&'static str),
}

pub(super) fn parse(line: &str, scheme: HopProtocol) -> Line {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    let parsed = if line.contains("://") {
        config::parent(line).ok_or("it is not the URL of a parent proxy")
    } else {
        fields(line, scheme)
    };
    parsed.map_or_else(Line::Wrong, Line::Parent)
}

/// `host:port` or `host:port:user:password`, an IPv6 address in brackets; the password may have
/// colons. It is made a URL, so that there is one judge of hosts and credentials.
fn fields(line: &str, scheme: HopProtocol) -> Result<ExitHop, &'static str> {
    const NO_PORT: &str = "it has no port";
    let host_ends = match line.strip_prefix('[') {
        Some(inner) => inner.find(']').ok_or("a bracket is not closed")? + 2,
        None => line.find(':').ok_or(NO_PORT)?,
    };
    let (host, rest) = line.split_at(host_ends);
    let rest = rest.strip_prefix(':').ok_or(NO_PORT)?;
    let (port, login) = match rest.split_once(':') {
        Some((port, login)) => (port, Some(login)),
        None => (rest, None),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
        return Err("its port is not a number");
    }
    let mut url = format!("{}://", word(scheme));
    if let Some(login) = login {
        let (user, password) = login.split_once(':').ok_or("it has a user but no password")?;
        encode(user, &mut url);
        url.push(':');
        encode(password, &mut url);
        url.push('@');
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let _ = write!(url, "{host}:{port}");
    config::parent(&url).ok_or("its host or its credentials are none of a parent proxy")
}

fn word(scheme: HopProtocol) -> &'static str {
    match scheme {
        HopProtocol::Http => "http",
        HopProtocol::Https => "https",
        HopProtocol::Socks4a => "socks4a",
        HopProtocol::Socks5 => "socks5",
        HopProtocol::Socks5h => "socks5h",
    }
}

fn encode(text: &str, url: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            url.push(char::from(byte));
        } else {
            // A String takes whatever is written to it.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}
