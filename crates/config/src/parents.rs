//! The URLs of parent proxies. They carry credentials, so no message quotes them.

use crate::fault::Fault;
use crate::model::{ExitHop, HopProtocol};
use crate::names::{self, Url};

const EXAMPLE: &str = "http://user:password@proxy.example:3128";

/// The longest that SOCKS5 can carry (RFC 1929 §2).
const LONGEST: usize = 255;

/// The schemes that a parent may have.
pub(crate) const SCHEMES: &[&str] = &["http", "https", "socks4a", "socks5", "socks5h"];

/// What a scheme means. `socks4` is `socks4a`, which differs only for names.
pub(crate) fn protocol(scheme: &str) -> Option<HopProtocol> {
    match scheme {
        "http" => Some(HopProtocol::Http),
        "https" => Some(HopProtocol::Https),
        "socks4" | "socks4a" => Some(HopProtocol::Socks4a),
        "socks5" => Some(HopProtocol::Socks5),
        "socks5h" => Some(HopProtocol::Socks5h),
        _ => None,
    }
}

/// Reads the URL of a parent proxy as the configuration has it, for lists of them. `None`: it is
/// none. Why is not told, because it could show a part of the credentials.
#[must_use]
pub fn parent(url: &str) -> Option<ExitHop> {
    hop(url).ok()
}

/// `socks5h://user:password@proxy.example:1080`.
pub(crate) fn hop(text: &str) -> Result<ExitHop, Fault> {
    let Some((scheme, behind)) = text.split_once("://") else {
        return Err(Fault::new("the URL of a parent proxy without a scheme")
            .label("without a scheme")
            .help(format!("write it like \"{EXAMPLE}\"")));
    };
    let Some(protocol) = protocol(&scheme.to_ascii_lowercase()) else {
        return Err(Fault::new("a parent proxy of an unknown kind")
            .label("the scheme is not known")
            .help("the schemes are `http`, `https`, `socks4a`, `socks5` (names are resolved here) and `socks5h`"));
    };
    let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
    let (authority, rest) = behind.split_at(end);
    if !matches!(rest, "" | "/") {
        return Err(Fault::new("the URL of a parent proxy has no path")
            .label("too much behind the host and port")
            .help(
                "end it behind the port; `/`, `?`, `#` and `@` in a password are written as \
                   `%2F`, `%3F`, `%23` and `%40`",
            ));
    }
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    let bare = format!("{scheme}://{host}");
    let url = Url::split(&bare, EXAMPLE)?;
    let (host, port) = url.host_and_port(false)?;
    let host = names::host(host)?;
    let port = port.unwrap_or(match protocol {
        HopProtocol::Http => 80,
        HopProtocol::Https => 443,
        HopProtocol::Socks4a | HopProtocol::Socks5 | HopProtocol::Socks5h => 1080,
    });
    let credentials = login.map(|login| credentials(login, protocol)).transpose()?;
    Ok(ExitHop { protocol, host, port, credentials })
}

fn credentials(login: &str, protocol: HopProtocol) -> Result<(String, String), Fault> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (user, password) = (decoded(user)?, decoded(password)?);
    let fault = |message: &str, help: &str| Err(Fault::new(message).help(help));
    if user.is_empty() {
        return fault("a parent proxy with a password and no user name", "write both, or neither");
    }
    if user.chars().chain(password.chars()).any(char::is_control) {
        return fault(
            "a control character in the credentials of a parent proxy",
            "no proxy takes one: leave it out",
        );
    }
    let socks5 = matches!(protocol, HopProtocol::Socks5 | HopProtocol::Socks5h);
    match protocol {
        HopProtocol::Http | HopProtocol::Https if user.contains(':') => fault(
            "a colon in the user name for a parent proxy",
            "HTTP ends the name at the colon (RFC 7617 §2): leave it out",
        ),
        HopProtocol::Socks4a if !password.is_empty() => {
            fault("a password for a SOCKS4 proxy", "SOCKS4 has user names only: leave it out")
        }
        _ if socks5 && (user.len() > LONGEST || password.len() > LONGEST) => fault(
            "credentials of more than 255 bytes for a SOCKS5 proxy",
            "SOCKS5 cannot carry them (RFC 1929 §2): use shorter ones",
        ),
        _ => Ok((user, password)),
    }
}

/// Takes percent-encoding off.
fn decoded(text: &str) -> Result<String, Fault> {
    let bad = || {
        Fault::new("a `%` without two digits behind it, in the credentials of a parent proxy")
            .help("a `%` itself is written as `%25`")
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let digits = rest.get(at + 1..at + 3).ok_or_else(bad)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &rest[at + 3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| {
        Fault::new("the credentials of a parent proxy are not UTF-8")
            .help("encode each character as its UTF-8 bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerHost;

    #[test]
    fn parents() {
        let name = |name: &str| ServerHost::Name(name.into());
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        for (text, protocol, host, port, credentials) in [
            (
                "http://u:p@A.example:7001",
                HopProtocol::Http,
                name("a.example"),
                7001,
                login("u", "p"),
            ),
            ("https://b.example/", HopProtocol::Https, name("b.example"), 443, None),
            ("HTTP://b.example", HopProtocol::Http, name("b.example"), 80, None),
            ("socks4://u@a:1", HopProtocol::Socks4a, name("a"), 1, login("u", "")),
            ("socks5://a", HopProtocol::Socks5, name("a"), 1080, None),
            ("socks5h://a%40b:%3a%25@a:1", HopProtocol::Socks5h, name("a"), 1, login("a@b", ":%")),
            ("http://u:p@w@a:1", HopProtocol::Http, name("a"), 1, login("u", "p@w")),
        ] {
            assert_eq!(hop(text).unwrap(), ExitHop { protocol, host, port, credentials }, "{text}");
        }
    }

    #[test]
    fn no_secret_is_told() {
        let long = format!("socks5://{}:hunter2@a:1", "u".repeat(256));
        for text in [
            "u:hunter2@a:1",
            "ftp://u:hunter2@a:1",
            "http://u:hunter2@a:1/x",
            "http://u:hunter2/x@a:1",
            "http://u:hunter2@",
            "http://u:hunter2@a:0",
            "http://u:hunter2%@a:1",
            "http://u:hunter2%ff@a:1",
            "http://u:hunter2%0a@a:1",
            "http://u%3a:hunter2@a:1",
            "http://:hunter2@a:1",
            "socks4://u:hunter2@a:1",
            "http://u:hunter2@a..b:1",
            long.as_str(),
        ] {
            let fault = hop(text).unwrap_err();
            assert!(!format!("{fault:?}").contains("hunter2"), "{text}: {fault:?}");
        }
    }
}
