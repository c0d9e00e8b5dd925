//! Words with a grammar of their own: what a hash or a limit looks at, what a health check
//! asks, when a request is made again.

use crate::fault::Fault;
use crate::model::{HashKey, KeyPart, Rotate};
use crate::suggest::nearest;
use crate::syntax::quote;
use crate::{amount, fields, paths};

/// What a limit holds for each of; the model knows no difference between the last two, since a
/// limit of a site may only be for the site, and one of a route only for the route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Per {
    ClientIp,
    /// In lower case.
    Header(String),
    Site,
    Route,
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeWord {
    /// A path, and perhaps a query.
    Http(String),
    Tcp,
    Grpc,
}

/// A condition for another attempt, besides a failure to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryOn {
    Status(u16),
    Timeout,
}

/// So many of what is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Burst {
    Requests(u64),
    Bytes(u64),
}

/// `client-ip`, `header:NAME`, `cookie:NAME` or `path`.
pub(crate) fn hash_key(text: &str) -> Result<HashKey, Fault> {
    match text.split_once(':') {
        None if text == "client-ip" => Ok(HashKey::ClientIp),
        None if text == "path" => Ok(HashKey::Path),
        Some(("header", name)) if !name.is_empty() => {
            fields::name(name)?;
            Ok(HashKey::Header(name.to_ascii_lowercase()))
        }
        Some(("cookie", name)) if !name.is_empty() => {
            fields::cookie_name(name)?;
            Ok(HashKey::Cookie(name.to_owned()))
        }
        _ => Err(unknown(text).help(match text.trim_end_matches(':') {
            "header" | "cookie" => format!("name it: \"{}:NAME\"", text.trim_end_matches(':')),
            _ => "write \"client-ip\", \"header:NAME\", \"cookie:NAME\" or \"path\"".to_owned(),
        })),
    }
}

/// `client-ip`, `header:NAME`, `site` or `route`.
pub(crate) fn per(text: &str) -> Result<Per, Fault> {
    let all = "\"client-ip\", \"header:NAME\", \"site\" or \"route\"";
    match text.split_once(':') {
        None if text == "client-ip" => Ok(Per::ClientIp),
        None if text == "site" => Ok(Per::Site),
        None if text == "route" => Ok(Per::Route),
        None if text == "user" => Err(Fault::planned(text).help(format!("this version has {all}"))),
        Some(("header", name)) if !name.is_empty() => {
            fields::name(name)?;
            Ok(Per::Header(name.to_ascii_lowercase()))
        }
        _ => Err(unknown(text).help(match text.trim_end_matches(':') {
            "header" => "name it: \"header:NAME\"".to_owned(),
            _ => format!("write {all}"),
        })),
    }
}

/// `/healthz`, `tcp` or `grpc`.
pub(crate) fn probe(text: &str) -> Result<ProbeWord, Fault> {
    match text {
        "tcp" => Ok(ProbeWord::Tcp),
        "grpc" => Ok(ProbeWord::Grpc),
        _ if text.starts_with('/') => {
            paths::target(text)?;
            Ok(ProbeWord::Http(text.to_owned()))
        }
        _ => Err(Fault::new(format!("{} is not a health check", quote(text)))
            .label("neither a path, nor \"tcp\", nor \"grpc\"")
            .help("write a path that begins with `/`: \"/healthz\"; or \"tcp\", or \"grpc\"")),
    }
}

/// `502` or `timeout`.
pub(crate) fn retry_on(text: &str) -> Result<RetryOn, Fault> {
    if text == "timeout" {
        return Ok(RetryOn::Timeout);
    }
    match amount::statuses(text).as_deref() {
        Ok([(low, high)]) if low == high && *low >= 400 => Ok(RetryOn::Status(*low)),
        _ => Err(Fault::new(format!("{} is not a reason for another attempt", quote(text)))
            .label("neither a status from 400 to 599 nor \"timeout\"")
            .help(
                "write statuses one by one: `retry \"502\" \"503\" \"timeout\"`; a failure to \
                 connect always is one",
            )),
    }
}

/// `per-request`, `per-connection`, a duration, or `every 5`.
pub(crate) fn rotate(text: &str) -> Result<Rotate, Fault> {
    const HELP: &str =
        "write \"per-request\", \"per-connection\", a duration (\"10m\") or \"every 5\"";
    match text {
        "per-request" => return Ok(Rotate::PerRequest),
        "per-connection" => return Ok(Rotate::PerConnection),
        _ => {}
    }
    if let Some(number) = text.strip_prefix("every ") {
        let number = number.trim();
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        return match digits.then(|| number.parse().ok()).flatten() {
            Some(number) if number > 0 => Ok(Rotate::Every(number)),
            _ => Err(Fault::new(format!("{} is not a number of requests", quote(number)))
                .help("write how many requests an exit is kept for: \"every 5\"")),
        };
    }
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(unknown(text).help(HELP));
    }
    amount::duration(text, false).map(Rotate::After).map_err(|fault| fault.or_help(|| HELP.into()))
}

/// `path`, `query`, `query:NAME`, `header:NAME` or `cookie:NAME`; `None` for `host` and `scheme`,
/// which are always in the key.
pub(crate) fn cache_key(text: &str) -> Result<Option<KeyPart>, Fault> {
    let part = match text.split_once(':') {
        None => match text {
            "host" | "scheme" => return Ok(None),
            "path" => KeyPart::Path,
            "query" => KeyPart::Query,
            _ => return Err(no_cache_key(text)),
        },
        Some(("query", name)) if !name.is_empty() => {
            parameter_name(name)?;
            KeyPart::QueryParameter(name.to_owned())
        }
        Some(("header", name)) if !name.is_empty() => {
            fields::name(name)?;
            let name = name.to_ascii_lowercase();
            keyable(&name)?;
            KeyPart::Header(name)
        }
        Some(("cookie", name)) if !name.is_empty() => {
            fields::cookie_name(name)?;
            KeyPart::Cookie(name.to_owned())
        }
        Some(_) => return Err(no_cache_key(text)),
    };
    Ok(Some(part))
}

fn no_cache_key(text: &str) -> Fault {
    let all = ["path", "query", "host", "scheme"];
    unknown(text).help(match text.trim_end_matches(':') {
        kind @ ("header" | "cookie") => format!("name it: \"{kind}:NAME\""),
        "query" => "write \"query\", or name a parameter of it: \"query:NAME\"".to_owned(),
        "method" => "leave it out: only GET and HEAD are kept, as one".to_owned(),
        _ => match nearest(text, all.into_iter()) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => "write \"path\", \"query\", \"query:NAME\", \"header:NAME\" or \"cookie:NAME\""
                .to_owned(),
        },
    })
}

/// As it stands in a query, where `&` and `=` end it.
fn parameter_name(name: &str) -> Result<(), Fault> {
    let wrong = |char: char| !char.is_ascii_graphic() || "&=#\"<>".contains(char);
    match name.chars().find(|char| wrong(*char)) {
        Some(char) => Err(Fault::new(format!("{} is not the name of a parameter", quote(name)))
            .label(format!("{char:?} cannot stand in it"))
            .help("write it as it stands in the URL, with escapes such as `%20`")),
        None => Ok(()),
    }
}

/// Fields that make a key useless, or say nothing about what is asked for.
fn keyable(name: &str) -> Result<(), Fault> {
    let (why, remedy) = match name {
        "cookie" => {
            ("every client has other cookies", "name the cookie that matters: \"cookie:NAME\"")
        }
        "host" => ("the host is always in the key", "leave it out"),
        "accept-encoding" => ("codings are told apart already", "leave it out"),
        "cache-control" | "pragma" => ("tells the cache what to do", "leave it out"),
        "range" => ("parts are made of the same whole", "leave it out"),
        _ if name.starts_with("if-") => {
            ("is a condition, compared with what is kept", "leave it out")
        }
        "connection"
        | "keep-alive"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "content-length"
        | "expect"
        | "proxy-authorization"
        | "proxy-connection" => ("is about one connection only", "leave it out"),
        _ => return Ok(()),
    };
    Err(Fault::new(format!("`{name}` cannot be part of a key")).label(why).help(remedy))
}

fn unknown(text: &str) -> Fault {
    Fault::new(format!("{} is not known here", quote(text))).label("not known")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(hash_key("header:X-User"), Ok(HashKey::Header("x-user".into())));
        assert_eq!(hash_key("cookie:Session"), Ok(HashKey::Cookie("Session".into())));
        assert_eq!(per("header:X-Key"), Ok(Per::Header("x-key".into())));
        for text in ["", "header", "header:", "header:a b", "cookie:", "cookie:a;b", "query", "ip"]
        {
            assert!(hash_key(text).is_err(), "{text}");
            assert!(per(text).is_err(), "{text}");
        }
        assert!(per("user").is_err() && per("path").is_err() && hash_key("site").is_err());
    }

    #[test]
    fn parts_of_cache_keys() {
        assert_eq!(cache_key("path"), Ok(Some(KeyPart::Path)));
        assert_eq!(cache_key("query"), Ok(Some(KeyPart::Query)));
        assert_eq!(cache_key("host"), Ok(None));
        assert_eq!(cache_key("scheme"), Ok(None));
        assert_eq!(cache_key("query:f[x]:y"), Ok(Some(KeyPart::QueryParameter("f[x]:y".into()))));
        assert_eq!(cache_key("header:X-Device"), Ok(Some(KeyPart::Header("x-device".into()))));
        assert_eq!(cache_key("cookie:Theme"), Ok(Some(KeyPart::Cookie("Theme".into()))));
        for text in [
            "",
            "url",
            "query:",
            "query:a=b",
            "query:a b",
            "query:é",
            "header",
            "header:",
            "header:Cookie",
            "header:Range",
            "header:If-None-Match",
            "header:Te",
            "header:a b",
            "cookie:",
            "cookie:a;b",
            "path:/x",
            "PATH",
        ] {
            assert!(cache_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rotation() {
        let minutes = |minutes: u64| Rotate::After(std::time::Duration::from_secs(60 * minutes));
        assert_eq!(rotate("per-connection"), Ok(Rotate::PerConnection));
        assert_eq!(rotate("10m"), Ok(minutes(10)));
        assert_eq!(rotate("every 5"), Ok(Rotate::Every(5)));
        for text in ["", "never", "every", "every 0", "every x", "0s", "5", "every -1"] {
            assert!(rotate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn probes_and_conditions() {
        assert_eq!(probe("/ready?full=1"), Ok(ProbeWord::Http("/ready?full=1".into())));
        for text in ["healthz", "http", "/a b", "/a#b"] {
            assert!(probe(text).is_err(), "{text}");
        }
        assert_eq!(retry_on("503"), Ok(RetryOn::Status(503)));
        assert_eq!(retry_on("timeout"), Ok(RetryOn::Timeout));
        for text in ["200", "600", "502,503", "500-599", "connect", "5xx"] {
            assert!(retry_on(text).is_err(), "{text}");
        }
    }
}
