//! Lines of a list of parents: `host:port`, `host:port:user:password`, or a URL.

use config::{ExitHop, HopProtocol, ServerHost};

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
    let parsed = match line.split_once("://") {
        Some((scheme, rest)) => url(scheme, rest),
        None => fields(line, scheme),
    };
    parsed.map_or_else(Line::Wrong, Line::Parent)
}

/// `scheme://user:password@host:port/`, credentials percent-encoded.
fn url(scheme: &str, rest: &str) -> Result<ExitHop, &'static str> {
    let protocol = match scheme.to_ascii_lowercase().as_str() {
        "http" => HopProtocol::Http,
        "https" => HopProtocol::Https,
        "socks4" | "socks4a" => HopProtocol::Socks4a,
        "socks5" => HopProtocol::Socks5,
        "socks5h" => HopProtocol::Socks5h,
        _ => return Err("its scheme is none of http, https, socks4a, socks5, socks5h"),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (user_info, place) = match authority.rsplit_once('@') {
        Some((user_info, place)) => (Some(user_info), place),
        None => (None, authority),
    };
    let credentials = match user_info {
        None => None,
        Some(text) => {
            let (user, password) = text.split_once(':').unwrap_or((text, ""));
            Some((decode(user)?, decode(password)?))
        }
    };
    let (host, port, rest) = host_and_port(place)?;
    if !rest.is_empty() {
        return Err("something stands behind the port");
    }
    Ok(ExitHop { protocol, host, port, credentials })
}

/// `host:port` or `host:port:user:password`; the password may have colons.
fn fields(line: &str, protocol: HopProtocol) -> Result<ExitHop, &'static str> {
    let (host, port, rest) = host_and_port(line)?;
    let credentials = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return Err("something stands behind the port"),
        Some(rest) => {
            let (user, password) = rest.split_once(':').ok_or("it has a user but no password")?;
            Some((user.to_owned(), password.to_owned()))
        }
    };
    if credentials.as_ref().is_some_and(|(user, _)| user.is_empty()) {
        return Err("its user has no name");
    }
    Ok(ExitHop { protocol, host, port, credentials })
}

/// Host and port, and what follows. An IPv6 address is in brackets.
fn host_and_port(text: &str) -> Result<(ServerHost, u16, &str), &'static str> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']').ok_or("a bracket is not closed")?;
            let address: std::net::Ipv6Addr =
                address.parse().map_err(|_| "what is in brackets is no IPv6 address")?;
            (ServerHost::Address(address.into()), rest)
        }
        None => {
            let end = text.find(':').ok_or("it has no port")?;
            (host(&text[..end])?, &text[end..])
        }
    };
    let rest = rest.strip_prefix(':').ok_or("it has no port")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    match rest[..end].parse::<u16>() {
        Ok(port) if port > 0 => Ok((host, port, &rest[end..])),
        _ => Err("its port is not a number from 1 to 65535"),
    }
}

fn host(text: &str) -> Result<ServerHost, &'static str> {
    if let Ok(address) = text.parse() {
        return Ok(ServerHost::Address(address));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // A name whose last label is a number would be taken for an address by others.
    let is_numeric = name.rsplit('.').next().is_some_and(|last| last.parse::<u64>().is_ok());
    if name.len() <= 253 && !is_numeric && name.split('.').all(is_label) {
        Ok(ServerHost::Name(name.to_ascii_lowercase()))
    } else {
        Err("its host is no address and no name")
    }
}

/// Decodes `%41`.
fn decode(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "its credentials are not percent-encoded UTF-8";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(WRONG);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| WRONG)?);
    }
    String::from_utf8(bytes).map_err(|_| WRONG)
}
