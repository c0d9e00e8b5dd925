//! The URLs of servers: what is spoken with them, and where they are.

use crate::fault::Fault;
use crate::model::{Scheme, ServerHost, ServerProtocol};
use crate::names::{self, Url};
use crate::paths;

/// What servers in a place are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Requests: `http`, `https`, `h2` and `h2c`.
    Requests,
    /// Connections of a tunnel: `tcp` and `tls`.
    Bytes,
    /// Either.
    Any,
}

/// The URL of a server: `http://10.0.0.1:8080/base`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    pub scheme: Scheme,
    pub protocol: ServerProtocol,
    pub host: ServerHost,
    /// 0 where the host is a name with SRV records, which have the port.
    pub port: u16,
    /// Without a trailing slash.
    pub base_path: String,
}

/// The URL of a server together with a path and a query: `http://auth:9091/verify?x=1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestUrl {
    pub server: ServerUrl,
    /// Path and query.
    pub target: String,
}

impl ServerUrl {
    pub(crate) fn parse(text: &str, traffic: Traffic) -> Result<Self, Fault> {
        let url = Url::split(text, traffic.example())?;
        let server = Self::without_path(&url, traffic)?;
        if server.protocol == ServerProtocol::Tcp {
            return match url.rest {
                "" | "/" => Ok(server),
                rest => Err(Fault::new("a server of bytes has no path")
                    .label(format!("`{rest}` is too much"))
                    .help(format!("write \"{}\"", &text[..text.len() - rest.len()]))),
            };
        }
        if url.rest.contains(['?', '#']) {
            return Err(Fault::new("the URL of a server has no query and no fragment")
                .label("only scheme, host, port and path")
                .help("the query of each request goes to the server as it came"));
        }
        let base_path = url.rest.trim_end_matches('/');
        if !base_path.is_empty() {
            paths::plain(base_path)?;
        }
        Ok(Self { base_path: base_path.to_owned(), ..server })
    }

    fn without_path(url: &Url<'_>, traffic: Traffic) -> Result<Self, Fault> {
        let plain = url.scheme.strip_suffix("+srv");
        let (scheme, protocol, default) = match plain.unwrap_or(&url.scheme) {
            "http" => (Scheme::Http, ServerProtocol::Http1, Some(80)),
            "https" => (Scheme::Https, ServerProtocol::Alpn, Some(443)),
            "h2" => (Scheme::Https, ServerProtocol::Http2, Some(443)),
            "h2c" => (Scheme::Http, ServerProtocol::Http2, Some(80)),
            "tcp" => (Scheme::Http, ServerProtocol::Tcp, None),
            "tls" => (Scheme::Https, ServerProtocol::Tcp, None),
            _ => return Err(unknown_scheme(&url.scheme, traffic)),
        };
        let (host, port) = url.host_and_port(false)?;
        let bytes = protocol == ServerProtocol::Tcp;
        match traffic {
            Traffic::Requests if bytes => return Err(bytes_for_requests(&url.scheme)),
            Traffic::Bytes if !bytes => {
                return Err(requests_for_bytes(url, scheme, host, port.or(default)));
            }
            _ => {}
        }
        let (host, port) = match (plain, port) {
            (Some(_), port) => (srv_host(url, host, port)?, 0),
            (None, Some(port)) => (names::host(host)?, port),
            (None, None) => (names::host(host)?, default.ok_or_else(|| portless(url, host))?),
        };
        Ok(Self { scheme, protocol, host, port, base_path: String::new() })
    }
}

impl RequestUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let url = Url::split(text, "http://127.0.0.1:9091/verify")?;
        let server = ServerUrl::without_path(&url, Traffic::Requests)?;
        let target = match url.rest {
            rest if rest.starts_with('/') => rest.to_owned(),
            rest => format!("/{rest}"),
        };
        paths::target(&target)?;
        Ok(Self { server, target })
    }
}

impl Traffic {
    /// A URL as it is written in such a place.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Requests | Self::Any => "http://10.0.0.1:8080",
            Self::Bytes => "tcp://10.0.0.1:5432",
        }
    }
}

fn unknown_scheme(scheme: &str, traffic: Traffic) -> Fault {
    let fault = Fault::new(format!("the scheme `{scheme}` is not known"));
    match traffic {
        Traffic::Bytes => fault
            .label("neither `tcp` nor `tls`")
            .help("write `tcp://` for plain connections, `tls://` for TLS"),
        Traffic::Requests | Traffic::Any => fault.label("not a way to speak with a server").help(
            "write `http://` or `https://`; `h2c://` or `h2://` for HTTP/2 only; in tunnels \
             `tcp://` or `tls://`; `http+srv://` and so on where SRV records name the servers",
        ),
    }
}

fn bytes_for_requests(scheme: &str) -> Fault {
    Fault::new(format!("a `{scheme}` server takes no requests"))
        .label("is for the bytes of a tunnel")
        .help(
            "write `http://` or `https://`; what is not HTTP is carried by \
             `tunnel \"ADDRESS:PORT\" { to \"tcp://…\" }`",
        )
}

fn requests_for_bytes(url: &Url<'_>, scheme: Scheme, host: &str, port: Option<u16>) -> Fault {
    let right = if scheme == Scheme::Http { "tcp" } else { "tls" };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let help = match url.scheme.ends_with("+srv") {
        true => format!("write \"{right}+srv://{host}\""),
        false => format!("write \"{right}://{host}{port}\""),
    };
    Fault::new(format!("an `{}` server in a tunnel", url.scheme))
        .label("a tunnel carries bytes and makes no requests")
        .help(help)
}

fn portless(url: &Url<'_>, host: &str) -> Fault {
    Fault::new(format!("`{}://{host}` has no port", url.scheme))
        .label("the port is missing")
        .help(format!("write \"{}://{host}:PORT\"", url.scheme))
}

fn srv_host(url: &Url<'_>, host: &str, port: Option<u16>) -> Result<ServerHost, Fault> {
    if let Some(port) = port {
        return Err(Fault::new("a port beside SRV records")
            .label(format!("`:{port}` is too much"))
            .help(format!("the records name the port: write \"{}://{host}\"", url.scheme)));
    }
    match names::host(host)? {
        ServerHost::Name(name) => Ok(ServerHost::Srv(name)),
        _ => Err(Fault::new(format!("`{host}` has no SRV records"))
            .label("an address, not a name")
            .help("leave `+srv` out, or write a name: \"http+srv://_web._tcp.example.com\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_paths() {
        let parse = |text| ServerUrl::parse(text, Traffic::Requests);
        let server = parse("https://[2001:db8::1]:9/base/x/").unwrap();
        assert_eq!(server.host, ServerHost::Address("2001:db8::1".parse().unwrap()));
        assert_eq!((server.port, server.base_path.as_str()), (9, "/base/x"));
        let mapped = parse("http://[::ffff:10.0.0.1]").unwrap();
        assert_eq!(mapped.host, ServerHost::Address([10, 0, 0, 1].into()));
        for text in ["http://a:0", "http://a/../b", "http://a/?q", "http://a#f", "http://*", "a:1"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn schemes() {
        use {Scheme::*, ServerProtocol::*};
        for (text, scheme, protocol, port) in [
            ("http://a", Http, Http1, 80),
            ("HTTPS://a", Https, Alpn, 443),
            ("h2://a", Https, Http2, 443),
            ("h2c://a", Http, Http2, 80),
            ("h2c://a:50051", Http, Http2, 50051),
            ("http+srv://_web._tcp.a", Http, Http1, 0),
            ("h2+srv://_web._tcp.a/x", Https, Http2, 0),
            ("tcp://a:5432", Http, Tcp, 5432),
            ("tls://a:5432/", Https, Tcp, 5432),
            ("tcp+srv://_pg._tcp.a", Http, Tcp, 0),
        ] {
            let server = ServerUrl::parse(text, Traffic::Any).unwrap();
            assert_eq!(
                (server.scheme, server.protocol, server.port),
                (scheme, protocol, port),
                "{text}"
            );
            assert_eq!(matches!(server.host, ServerHost::Srv(_)), port == 0, "{text}");
            let bytes = protocol == Tcp;
            assert_eq!(ServerUrl::parse(text, Traffic::Bytes).is_ok(), bytes, "{text}");
            assert_eq!(ServerUrl::parse(text, Traffic::Requests).is_ok(), !bytes, "{text}");
        }
        for text in ["tcp://a", "tcp://a:1/x", "http+srv://a:80", "http+srv://10.0.0.1", "ws://a"] {
            assert!(ServerUrl::parse(text, Traffic::Any).is_err(), "{text}");
        }
    }

    #[test]
    fn requests() {
        for (text, target) in [
            ("http://a:9091/verify?x=1", "/verify?x=1"),
            ("h2c://a", "/"),
            ("https://a?x", "/?x"),
            ("http://a/%2F..", "/%2F.."),
        ] {
            assert_eq!(RequestUrl::parse(text).unwrap().target, target, "{text}");
        }
        for text in ["http://a/#f", "http://a/b c", "http://a/é", "http://a/%zz", "tcp://a:1"] {
            assert!(RequestUrl::parse(text).is_err(), "{text}");
        }
    }
}
