//! `resolver`, `hosts` and `prefer`: how names are resolved.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::build::values;
use crate::fault::Fault;
use crate::model::{Dns, FamilyPreference, HostsEntry, NameServer, NameServerProtocol, ServerHost};
use crate::names::{self, Url};
use crate::walk::Item;
use crate::{ConfigError, Spanned, paths};

const EXAMPLE: &str = "tls://1.1.1.1";

/// The path that RFC 8484 has in its examples and nearly every server.
const DNS_QUERY: &str = "/dns-query";

/// A name server as it was written; whoever speaks TLS shows its address in the certificate
/// until `name=` says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerWord {
    address: SocketAddr,
    protocol: NameServerProtocol,
}

/// `1.1.1.1`, `1.1.1.1:53`, `tls://1.1.1.1` or `https://1.1.1.1/dns-query`.
pub(crate) fn server(text: &str) -> Result<ServerWord, Fault> {
    if !text.contains("://") {
        let protocol = NameServerProtocol::Plain;
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(ServerWord { address: SocketAddr::new(ip.to_canonical(), 53), protocol });
        }
        let address = names::socket(text).map_err(|_| {
            Fault::new(format!("`{text}` is not the address of a name server")).help(
                "write an address, and perhaps its port: \"192.0.2.53\", \"[2001:db8::53]:5353\"",
            )
        })?;
        return match address.port() {
            0 => Err(Fault::new("a name server at port 0").help("write its port, or leave it out")),
            _ => Ok(ServerWord { address, protocol }),
        };
    }
    let url = Url::split(text, EXAMPLE)?;
    let default = match url.scheme.as_str() {
        "tls" => 853,
        "https" => 443,
        _ => {
            return Err(Fault::new(format!("the scheme `{}` is not known here", url.scheme))
                .label("neither `tls` nor `https`")
                .help(
                    "write `tls://` for DNS over TLS, `https://` for DNS over HTTPS, and only \
                       the address for UDP and TCP",
                ));
        }
    };
    let (host, port) = url.host_and_port(false)?;
    let ServerHost::Address(ip) = names::host(host)? else {
        return Err(Fault::new("a name server without an address").label("a name").help(format!(
            "it would have to be resolved itself: write \"{}://ADDRESS{}\" name=\"{host}\"",
            url.scheme, url.rest
        )));
    };
    let address = SocketAddr::new(ip, port.unwrap_or(default));
    let name = ip.to_string();
    let protocol = match (url.scheme.as_str(), url.rest) {
        ("tls", "" | "/") => NameServerProtocol::Tls { name },
        ("tls", _) => {
            return Err(Fault::new("DNS over TLS has no path")
                .label(format!("`{}` is too much", url.rest))
                .help("leave the path out, or write `https://` for DNS over HTTPS"));
        }
        (_, "" | "/") => NameServerProtocol::Https { name, path: DNS_QUERY.to_owned() },
        (_, path) => {
            paths::target(path)?;
            NameServerProtocol::Https { name, path: path.to_owned() }
        }
    };
    Ok(ServerWord { address, protocol })
}

/// A name or an address that a certificate shows.
pub(crate) fn certificate_name(text: &str) -> Result<String, Fault> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical().to_string()),
        Err(_) => names::dns_name(text),
    }
}

/// What the top of the configuration says about names.
pub(crate) fn dns(top: &[Item], errors: &mut Vec<ConfigError>) -> Dns {
    let named = |name: &'static str| top.iter().filter(move |item| item.directive.name == name);
    let mut servers = Vec::new();
    for item in named("resolver") {
        servers.extend(name_servers(item, errors));
    }
    let prefer = named("prefer").find_map(prefer).unwrap_or_default();
    Dns { servers, hosts: hosts(named("hosts"), errors), prefer }
}

fn name_servers(item: &Item, errors: &mut Vec<ConfigError>) -> Vec<NameServer> {
    let written = item.one::<String>("name");
    let ca = item.one::<PathBuf>("ca");
    let words = item.all::<ServerWord>("server");
    let plain = words.iter().all(|word| word.value.protocol == NameServerProtocol::Plain);
    let useless = [
        (written.as_ref().map(|name| name.span), "the name of a server that shows none", "name"),
        (ca.as_ref().map(|file| file.span), "authorities for a server without TLS", "ca"),
    ];
    for (span, message, property) in useless {
        if let (Some(span), true, Some(word)) = (span, plain, words.first()) {
            errors.push(
                ConfigError::at(span, message, "has no effect")
                    .also(word.span, "spoken to without TLS")
                    .help(format!(
                        "write `tls://` or `https://` before its address, or leave `{property}=` out"
                    )),
            );
        }
    }
    let of = |word: Spanned<ServerWord>| {
        let ServerWord { address, mut protocol } = word.value;
        if let (
            NameServerProtocol::Tls { name } | NameServerProtocol::Https { name, .. },
            Some(written),
        ) = (&mut protocol, &written)
        {
            name.clone_from(&written.value);
        }
        let ca = ca.clone().filter(|_| protocol != NameServerProtocol::Plain);
        NameServer { address, protocol, ca, span: word.span }
    };
    words.into_iter().map(of).collect()
}

fn hosts<'a>(
    items: impl Iterator<Item = &'a Item>,
    errors: &mut Vec<ConfigError>,
) -> Vec<HostsEntry> {
    let mut seen = HashMap::new();
    let mut hosts = Vec::new();
    for item in items {
        let Some(name) = item.one::<String>("name") else { continue };
        if let Some(first) = seen.insert(name.value.clone(), name.span) {
            errors.push(
                ConfigError::at(
                    name.span,
                    format!("the addresses of {} stand twice", name.value),
                    "the second",
                )
                .also(first, "the first")
                .help("write all of its addresses in one line"),
            );
        }
        let addresses = values(item, "address");
        hosts.push(HostsEntry { name: name.value, addresses, span: item.span });
    }
    hosts
}

/// What a `prefer` says.
pub(crate) fn prefer(item: &Item) -> Option<FamilyPreference> {
    match item.get::<String>("family")?.as_str() {
        "ipv4" => Some(FamilyPreference::Ipv4First),
        "ipv6" => Some(FamilyPreference::Ipv6First),
        "ipv4-only" => Some(FamilyPreference::Ipv4Only),
        "ipv6-only" => Some(FamilyPreference::Ipv6Only),
        _ => Some(FamilyPreference::Any),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let tls = |name: &str| NameServerProtocol::Tls { name: name.into() };
        let https = |name: &str, path: &str| NameServerProtocol::Https {
            name: name.into(),
            path: path.into(),
        };
        for (text, address, protocol) in [
            ("192.0.2.53", "192.0.2.53:53", NameServerProtocol::Plain),
            ("192.0.2.53:5353", "192.0.2.53:5353", NameServerProtocol::Plain),
            ("2001:db8::53", "[2001:db8::53]:53", NameServerProtocol::Plain),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353", NameServerProtocol::Plain),
            ("tls://1.1.1.1", "1.1.1.1:853", tls("1.1.1.1")),
            ("tls://[2001:db8::53]:8853/", "[2001:db8::53]:8853", tls("2001:db8::53")),
            ("https://1.1.1.1", "1.1.1.1:443", https("1.1.1.1", "/dns-query")),
            ("https://1.1.1.1:8443/q?x=1", "1.1.1.1:8443", https("1.1.1.1", "/q?x=1")),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(server(text), Ok(ServerWord { address, protocol }), "{text}");
        }
        for text in [
            "",
            "one.example",
            "192.0.2.53:0",
            "udp://1.1.1.1",
            "tls://one.example",
            "tls://1.1.1.1/x",
            "https://1.1.1.1/{?dns}",
            "https://one.example/dns-query",
            "tls://",
            "https://1.1.1.1/#x",
        ] {
            assert!(server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_certificates() {
        assert_eq!(certificate_name("One.Example").as_deref(), Ok("one.example"));
        assert_eq!(certificate_name("2001:DB8::1").as_deref(), Ok("2001:db8::1"));
        assert!(certificate_name("1.1.1").is_err());
    }
}
