//! Going through a proxy, as clients do.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::UpstreamTls;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use tls::{ClientTls, Io, Roots};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::finding::{Finding, Level, Ourselves, SENT};

/// No answer that we look at is longer.
const LONGEST: usize = 1 << 20;

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    scheme: Scheme,
    /// In brackets if it is an address of IPv6.
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Socks4a,
    Socks5,
    Socks5h,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    tls: bool,
    /// In brackets if it is an address of IPv6.
    pub(super) host: String,
    port: u16,
    path: String,
}

impl fmt::Display for Proxy {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Socks4a => "socks4a",
            Scheme::Socks5 => "socks5",
            Scheme::Socks5h => "socks5h",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "a target is an http or https URL".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?.to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { tls, host, port, path })
    }

    /// Our origin.
    pub(super) fn here(host: &str, port: u16) -> Self {
        Self { tls: false, host: host.to_owned(), port, path: "/leak-check".to_owned() }
    }

    /// `Host`: without the port where it is the usual one.
    fn authority(&self) -> String {
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl Proxy {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "a proxy is written http://USER:PASSWORD@HOST:PORT".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (scheme, usual) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            Some("socks4a") => (Scheme::Socks4a, 1080),
            Some("socks5") => (Scheme::Socks5, 1080),
            Some("socks5h") => (Scheme::Socks5h, 1080),
            _ => return Err("a proxy is http, https, socks4a, socks5 or socks5h".to_owned()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?.to_owned();
        let authority = uri.authority().ok_or_else(wrong)?.as_str();
        let credentials = authority.rsplit_once('@').map(|(pair, _)| {
            let (user, password) = pair.split_once(':').unwrap_or((pair, ""));
            (decoded(user), decoded(password))
        });
        let credentials = match credentials {
            None => None,
            Some((Some(user), Some(password))) => Some((user, password)),
            Some(_) => return Err(wrong()),
        };
        Ok(Self { scheme, host, port: uri.port_u16().unwrap_or(usual), credentials })
    }

    /// Whether it takes requests in absolute form.
    pub(super) fn is_http(&self) -> bool {
        matches!(self.scheme, Scheme::Http | Scheme::Https)
    }

    /// What must be seen nowhere behind it.
    pub(super) fn secrets(&self) -> Vec<String> {
        let Some((user, password)) = &self.credentials else { return Vec::new() };
        let token = BASE64_STANDARD.encode(format!("{user}:{password}"));
        [token, password.clone()].into_iter().filter(|secret| !secret.is_empty()).collect()
    }

    /// Who resolves names.
    pub(super) fn names(&self) -> Finding {
        match self.scheme {
            Scheme::Socks5 => Finding::new(
                Level::Client,
                "socks5 has this machine resolve names: whoever answers it learns them all. \
                 socks5h has the proxy do it"
                    .to_owned(),
            ),
            _ => Finding::new(Level::Fine, "the proxy is given the names".to_owned()),
        }
    }

    /// Asks the target for nothing in particular; returns when its answer has begun.
    pub(super) async fn send(&self, target: &Target, tunnel: bool) -> Result<Ourselves, Report> {
        let (mut io, ourselves) = self.reach(target, tunnel).await?;
        let place = match tunnel {
            true => target.path.clone(),
            false => format!("http://{}{}", target.authority(), target.path),
        };
        let mut head = format!("GET {place} HTTP/1.1\r\nHost: {}\r\n", target.authority());
        for (name, value) in SENT {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !tunnel && let Some(field) = self.authorization() {
            head.push_str(&format!("Proxy-Authorization: {field}\r\n"));
        }
        head.push_str("\r\n");
        io.write_all(head.as_bytes()).await.into_diagnostic()?;
        let status = status(&read_head(&mut io).await?)?;
        match status {
            200 => Ok(ourselves),
            status => Err(refused(status)),
        }
    }

    /// Gets a page.
    pub(super) async fn get(&self, target: &Target) -> Result<(String, Ourselves), Report> {
        let tunnel = target.tls || !self.is_http();
        let (mut io, ourselves) = self.reach(target, tunnel).await?;
        if target.tls {
            io = secured(io, &target.host).await?;
        }
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(io)).await.into_diagnostic()?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the echo");
            }
        });
        let place = match tunnel {
            true => target.path.clone(),
            false => format!("http://{}{}", target.authority(), target.path),
        };
        let mut request = hyper::Request::get(place)
            .header("Host", target.authority())
            .header("User-Agent", SENT[0].1)
            .header("Accept", "*/*");
        if !tunnel && let Some(field) = self.authorization() {
            request = request.header("Proxy-Authorization", field);
        }
        let request = request.body(Empty::<Bytes>::new()).into_diagnostic()?;
        let response = sender.send_request(request).await.into_diagnostic()?;
        if !response.status().is_success() {
            return Err(refused(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| miette!("{error}"))?.to_bytes();
        Ok((String::from_utf8_lossy(&body).into_owned(), ourselves))
    }

    /// Connects to it, and through it if a tunnel is wanted.
    async fn reach(&self, target: &Target, tunnel: bool) -> Result<(Io, Ourselves), Report> {
        let bare = self.host.trim_matches(['[', ']']);
        let tcp = TcpStream::connect((bare, self.port))
            .await
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot connect to {self}"))?;
        let all = all_addresses();
        let ourselves = Ourselves {
            address: tcp.local_addr().into_diagnostic()?.ip(),
            all,
            proxy: tcp.peer_addr().into_diagnostic()?.ip(),
        };
        let mut io = Io::from(tcp);
        match self.scheme {
            Scheme::Http => {}
            Scheme::Https => io = secured(io, &self.host).await?,
            Scheme::Socks4a => self.socks4(&mut io, target).await?,
            Scheme::Socks5 | Scheme::Socks5h => self.socks5(&mut io, target).await?,
        }
        if tunnel && self.is_http() {
            let place = format!("{}:{}", target.host, target.port);
            let mut head = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
            if let Some(field) = self.authorization() {
                head.push_str(&format!("Proxy-Authorization: {field}\r\n"));
            }
            head.push_str("\r\n");
            io.write_all(head.as_bytes()).await.into_diagnostic()?;
            match status(&read_head(&mut io).await?)? {
                200..=299 => {}
                status => return Err(refused(status)),
            }
        }
        Ok((io, ourselves))
    }

    fn authorization(&self) -> Option<String> {
        let (user, password) = self.credentials.as_ref()?;
        Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
    }

    /// SOCKS4a: the name behind an address that is none.
    async fn socks4(&self, io: &mut Io, target: &Target) -> Result<(), Report> {
        let mut asked = vec![4, 1];
        asked.extend(target.port.to_be_bytes());
        asked.extend([0, 0, 0, 1]);
        asked.extend(self.credentials.as_ref().map_or("", |(user, _)| user).bytes());
        asked.push(0);
        asked.extend(target.host.trim_matches(['[', ']']).bytes());
        asked.push(0);
        io.write_all(&asked).await.into_diagnostic()?;
        let mut answer = [0; 8];
        io.read_exact(&mut answer).await.into_diagnostic()?;
        match answer[1] {
            90 => Ok(()),
            code => Err(miette!("the proxy refused, with code {code} of SOCKS4")),
        }
    }

    /// SOCKS5 (RFC 1928), with a password (RFC 1929) if there is one.
    async fn socks5(&self, io: &mut Io, target: &Target) -> Result<(), Report> {
        let method = if self.credentials.is_some() { 2 } else { 0 };
        io.write_all(&[5, 1, method]).await.into_diagnostic()?;
        let mut chosen = [0; 2];
        io.read_exact(&mut chosen).await.into_diagnostic()?;
        if chosen != [5, method] {
            return Err(miette!("the proxy takes no such credentials"));
        }
        if let Some((user, password)) = &self.credentials {
            let length = |text: &str| {
                u8::try_from(text.len()).map_err(|_| miette!("SOCKS5 takes 255 bytes at most"))
            };
            let mut shown = vec![1, length(user)?];
            shown.extend(user.bytes());
            shown.push(length(password)?);
            shown.extend(password.bytes());
            io.write_all(&shown).await.into_diagnostic()?;
            io.read_exact(&mut chosen).await.into_diagnostic()?;
            if chosen[1] != 0 {
                return Err(miette!("the proxy takes other credentials than these"));
            }
        }
        let mut asked = vec![5, 1, 0];
        asked.extend(self.socks5_address(target).await?);
        asked.extend(target.port.to_be_bytes());
        io.write_all(&asked).await.into_diagnostic()?;
        let mut answer = [0; 4];
        io.read_exact(&mut answer).await.into_diagnostic()?;
        if answer[1] != 0 {
            return Err(miette!("the proxy refused, with code {} of SOCKS5", answer[1]));
        }
        let rest = match answer[3] {
            1 => 4 + 2,
            4 => 16 + 2,
            3 => usize::from(io.read_u8().await.into_diagnostic()?) + 2,
            _ => return Err(miette!("the proxy's answer is malformed")),
        };
        io.read_exact(&mut vec![0; rest]).await.into_diagnostic()?;
        Ok(())
    }

    async fn socks5_address(&self, target: &Target) -> Result<Vec<u8>, Report> {
        let bare = target.host.trim_matches(['[', ']']);
        let ip: IpAddr = match bare.parse() {
            Ok(ip) => ip,
            Err(_) if self.scheme == Scheme::Socks5h => {
                let length = u8::try_from(bare.len()).map_err(|_| miette!("a name too long"))?;
                return Ok([&[3, length], bare.as_bytes()].concat());
            }
            Err(_) => {
                let found = tokio::net::lookup_host((bare, target.port)).await.into_diagnostic()?;
                let all: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                let first = all.iter().find(|ip| ip.is_ipv4()).or(all.first());
                *first.ok_or_else(|| miette!("{bare} has no address"))?
            }
        };
        Ok(match ip {
            IpAddr::V4(ip) => [&[1], &ip.octets()[..]].concat(),
            IpAddr::V6(ip) => [&[4], &ip.octets()[..]].concat(),
        })
    }
}

fn refused(status: u16) -> Report {
    match status {
        407 => miette!("the proxy wants other credentials (status 407)"),
        status => miette!("status {status}"),
    }
}

async fn secured(io: Io, host: &str) -> Result<Io, Report> {
    let tls = ClientTls::build(&UpstreamTls::default(), &Roots::system(), &[b"http/1.1"])
        .map_err(|errors| miette!("{}", errors.first().map_or("", |error| &error.message)))?;
    tls.connect(io, host).await.map_err(|error| miette!("TLS with {host}: {error}"))
}

/// Reads to the empty line behind a head, and what came with it.
async fn read_head(io: &mut Io) -> Result<Vec<u8>, Report> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = io.read_buf(&mut head).await.into_diagnostic()?;
        if read == 0 || head.len() > LONGEST {
            return Err(miette!("the proxy ended the connection"));
        }
    }
    Ok(head)
}

fn status(head: &[u8]) -> Result<u16, Report> {
    let text = String::from_utf8_lossy(head);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    status.ok_or_else(|| miette!("this is no HTTP proxy"))
}

/// The addresses of this machine that say something about it.
fn all_addresses() -> Vec<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    all.into_iter().map(|one| one.ip()).filter(|ip| super::is_telling(*ip)).collect()
}

/// Percent-decodes (RFC 3986 §2.1); `None`: it is not well-formed.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part.get(2..)?.bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies() {
        let proxy = Proxy::parse("http://al-ice:p%3A%40%25%2F%2B@127.0.0.1:3128").expect("a URL");
        let pair = ("al-ice".to_owned(), "p:@%/+".to_owned());
        assert_eq!((proxy.port, proxy.credentials.as_ref()), (3128, Some(&pair)));
        assert_eq!(format!("{proxy} {proxy:?}"), "http://127.0.0.1:3128 http://127.0.0.1:3128");
        let proxy = Proxy::parse("socks5h://[::1]").expect("a URL");
        assert_eq!((&*proxy.host, proxy.port), ("[::1]", 1080));
        for text in ["127.0.0.1:3128", "ftp://a", "http://a%zz@b", "http://"] {
            assert!(Proxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn urls_of_targets() {
        let target = Target::parse("https://echo.example/a?b").expect("a URL");
        assert_eq!((target.authority(), &*target.path), ("echo.example".to_owned(), "/a?b"));
        let target = Target::parse("http://echo.example:8080").expect("a URL");
        assert_eq!(target.authority(), "echo.example:8080");
        assert!(Target::parse("echo.example").is_err());
    }
}
