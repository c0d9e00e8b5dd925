//! Hosts, URLs, addresses, networks and targets, in the one form they are compared in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use crate::fault::Fault;
use crate::model::{HostPattern, Scheme, ServerHost, TargetPattern};

/// One name of a site: `http://example.com:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SiteName {
    /// As written.
    pub text: String,
    pub scheme: Scheme,
    pub host: HostPattern,
    pub port: u16,
}

impl SiteName {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let url = Url::split(text, "http://example.com")?;
        let (scheme, port) = match url.scheme.as_str() {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            scheme => {
                return Err(Fault::new(format!("the scheme `{scheme}` is not known"))
                    .label("neither `http` nor `https`")
                    .help("write `http://` for plain connections, `https://` for TLS"));
            }
        };
        if !matches!(url.rest, "" | "/") {
            return Err(Fault::new("the name of a site has no path")
                .label(format!("`{}` is too much", url.rest))
                .help(format!(
                    "write \"{}\", and the path as `route \"{}/*\"` in its block",
                    &text[..text.len() - url.rest.len()],
                    url.rest.split(['?', '#']).next().unwrap_or("").trim_end_matches(['/', '*'])
                )));
        }
        let (host, written) = url.host_and_port(true)?;
        let host = match host {
            "*" => HostPattern::Any,
            _ => match host.strip_prefix("*.") {
                Some(rest) => HostPattern::Wildcard(format!(".{}", dns_name(rest)?)),
                None => match self::host(host)? {
                    ServerHost::Address(address) => HostPattern::Address(address),
                    ServerHost::Name(name) | ServerHost::Srv(name) => HostPattern::Exact(name),
                },
            },
        };
        Ok(Self { text: text.to_owned(), scheme, host, port: written.unwrap_or(port) })
    }
}

/// A URL taken apart; its host not yet looked at.
pub(crate) struct Url<'a> {
    /// In lower case.
    pub scheme: String,
    authority: &'a str,
    /// Path, query and fragment.
    pub rest: &'a str,
}

impl<'a> Url<'a> {
    /// `example` is shown where `text` is none.
    pub(crate) fn split(text: &'a str, example: &str) -> Result<Self, Fault> {
        let Some((scheme, behind)) = text.split_once("://") else {
            let host = text.split(['/', '?', '#']).next().unwrap_or(text);
            let fault = Fault::new(format!("`{text}` is not a URL")).label("without a scheme");
            let likely = split_port(host).is_some_and(|(host, port)| {
                !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok())
            });
            let scheme = example.split("://").next().unwrap_or(example);
            return Err(if likely {
                fault.help(format!("did you mean \"{scheme}://{text}\"?"))
            } else {
                fault.help(format!("write it like \"{example}\""))
            });
        };
        let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
        let (authority, rest) = behind.split_at(end);
        if authority.contains('@') {
            return Err(Fault::new("a URL with a user name in it").label("`@` is not taken").help(
                "leave it out; `request-header { set \"Authorization\" \"…\" }` sends \
                     credentials to servers",
            ));
        }
        if authority.is_empty() {
            return Err(Fault::new(format!("`{text}` has no host"))
                .help(format!("write it like \"{example}\"")));
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), authority, rest })
    }

    /// `zero` tells whether port 0 (any free one) makes sense.
    pub(crate) fn host_and_port(&self, zero: bool) -> Result<(&'a str, Option<u16>), Fault> {
        let Some((host, port)) = split_port(self.authority) else {
            return Err(Fault::new(format!("`{}` is not a host", self.authority))
                .help("an IPv6 address stands in brackets: \"http://[::1]:8080\""));
        };
        let Some(text) = port else { return Ok((host, None)) };
        let port = text
            .parse()
            .ok()
            .filter(|number| !text.starts_with('+') && (zero || *number > 0))
            .ok_or_else(|| {
                Fault::new(format!("`{text}` is not a port")).label("ports go from 1 to 65535")
            })?;
        Ok((host, Some(port)))
    }
}

/// Host and port of an authority; `None` where brackets or colons do not add up.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, behind) = authority.split_at(end);
        return match behind.strip_prefix(':') {
            None => behind.is_empty().then_some((host, None)),
            Some(port) => Some((host, Some(port))),
        };
    }
    match authority.split_once(':') {
        None => Some((authority, None)),
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
    }
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn host(text: &str) -> Result<ServerHost, Fault> {
    if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let address: Ipv6Addr =
            inside.parse().map_err(|_| Fault::new(format!("`{inside}` is not an IPv6 address")))?;
        return Ok(ServerHost::Address(IpAddr::V6(address).to_canonical()));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(ServerHost::Address(address.into()));
    }
    dns_name(text).map(ServerHost::Name)
}

/// A DNS name in lower case, IDNA-encoded (RFC 5891), without a trailing dot.
pub(crate) fn dns_name(text: &str) -> Result<String, Fault> {
    let bad = |label: &str| Fault::new(format!("`{text}` is not a host name")).label(label);
    let without_dot = text.strip_suffix('.').unwrap_or(text);
    if without_dot.is_empty() {
        return Err(bad("empty"));
    }
    if without_dot.contains('*') {
        return Err(bad("`*` does not belong here")
            .help("`*` stands alone or as the whole first label: \"*.example.com\""));
    }
    let name = idna::domain_to_ascii(without_dot).map_err(|_| bad("not a domain name"))?;
    let wrong = |byte: u8| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if let Some(byte) = name.bytes().find(|byte| wrong(*byte)) {
        return Err(bad(&format!("{:?} does not belong into a name", char::from(byte))));
    }
    if name.len() > 253 {
        return Err(bad("longer than 253 characters"));
    }
    if name.split('.').any(str::is_empty) {
        return Err(bad("two dots in a row, or one at the front"));
    }
    if name.split('.').any(|label| label.len() > 63) {
        return Err(bad("a label of more than 63 characters"));
    }
    let last = name.rsplit('.').next().unwrap_or(&name);
    let hex = last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if hex || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("looks like an address and is none")
            .help("an IPv4 address is written in four decimal parts: \"192.0.2.1\""));
    }
    Ok(name)
}

/// A name that a ClientHello may ask for, or `*.name` for any below it.
pub(crate) fn sni(text: &str) -> Result<HostPattern, Fault> {
    if text == "*" {
        return Err(Fault::new("a `name` for every name")
            .label("stands for any")
            .help("write `to` directly into the block of the tunnel: it takes what no name does"));
    }
    if text.parse::<Ipv4Addr>().is_ok() || text.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok()
    {
        return Err(Fault::new(format!("`{text}` is an address"))
            .label("clients ask for names only (RFC 6066 §3)")
            .help(
                "write `to` directly into the block of the tunnel for connections without a name",
            ));
    }
    match text.strip_prefix("*.") {
        Some(rest) => Ok(HostPattern::Wildcard(format!(".{}", dns_name(rest)?))),
        None => dns_name(text).map(HostPattern::Exact),
    }
}

/// `127.0.0.1:8080` or `[::1]:8080`.
pub(crate) fn socket(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        if matches!(address, SocketAddr::V6(address) if address.scope_id() != 0) {
            return Err(Fault::new("an address with a zone").help("leave `%…` out"));
        }
        return Ok(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let bad = Fault::new(format!("`{text}` is not an address with a port"));
    let port = text.rsplit(':').next().unwrap_or("");
    Err(if text.contains("://") {
        bad.label("a URL").help("write only the address and the port: \"127.0.0.1:8080\"")
    } else if text.parse::<Ipv4Addr>().is_ok() {
        bad.label("the port is missing").help(format!("write \"{text}:PORT\""))
    } else if text.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok() {
        let address = text.trim_matches(['[', ']']);
        bad.label("the port is missing").help(format!("write \"[{address}]:PORT\""))
    } else if text.starts_with(':') {
        bad.label("the address is missing").help(format!(
            "write \"127.0.0.1:{port}\" for this machine only, \"[::]:{port}\" for every address"
        ))
    } else if let Some(rest) = text.strip_prefix("localhost:") {
        bad.label("a name").help(format!("write \"127.0.0.1:{rest}\" or \"[::1]:{rest}\""))
    } else {
        bad.help("write an address and a port: \"127.0.0.1:8080\" or \"[::1]:8080\"")
    })
}

/// `192.0.2.1`, `2001:db8::1`.
pub(crate) fn address(text: &str) -> Result<IpAddr, Fault> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address: Result<IpAddr, _> = inside.unwrap_or(text).parse();
    address.map(|address| address.to_canonical()).map_err(|_| {
        let fault = Fault::new(format!("`{text}` is not an address"));
        match text.parse::<SocketAddr>() {
            Ok(socket) => {
                fault.label("with a port").help(format!("leave the port out: \"{}\"", socket.ip()))
            }
            Err(_) => fault.help("write an address: \"192.0.2.1\" or \"2001:db8::1\""),
        }
    })
}

/// `10.0.0.0/8`, or one address.
pub(crate) fn net(text: &str) -> Result<IpNet, Fault> {
    let bad = || {
        Fault::new(format!("`{text}` is neither an address nor a network"))
            .help("write an address (\"192.0.2.1\") or a network (\"10.0.0.0/8\", \"fd00::/8\")")
    };
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let net: IpNet = text.parse().map_err(|_| bad())?;
    if net.trunc() != net {
        return Err(Fault::new(format!("`{text}` is not a network"))
            .label("has bits set behind the prefix")
            .help(format!(
                "write \"{}\" for the network, \"{}\" for the one address",
                net.trunc(),
                net.addr()
            )));
    }
    Ok(unmapped(net))
}

/// The IPv4 network that an IPv4-mapped IPv6 network means.
fn unmapped(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
            .addr()
            .to_ipv4_mapped()
            .and_then(|address| Ipv4Net::new(address, v6.prefix_len() - 96).ok())
            .map_or(net, IpNet::V4),
        _ => net,
    }
}

/// What a rule of the forward face matches.
pub(crate) fn target(text: &str) -> Result<TargetPattern, Fault> {
    if text == "*" {
        return Ok(TargetPattern::Any);
    }
    if text.contains("://") {
        return Err(Fault::new(format!("`{text}` is a URL"))
            .label("rules look at hosts and ports only")
            .help("write the host, and the port as `port=`"));
    }
    if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return net(inside).map(TargetPattern::Net);
    }
    if text.contains('/') || text.parse::<IpAddr>().is_ok() {
        return net(text).map(TargetPattern::Net);
    }
    if let Some((host, port)) = text.rsplit_once(':') {
        return Err(Fault::new(format!("`{text}` has a port in it"))
            .label("rules take ports apart")
            .help(format!("write \"{host}\" port={port}")));
    }
    match text.strip_prefix("*.") {
        Some(rest) => Ok(TargetPattern::Subdomains(format!(".{}", dns_name(rest)?))),
        None => dns_name(text).map(TargetPattern::Domain),
    }
}

#[cfg(test)]
mod tests;
