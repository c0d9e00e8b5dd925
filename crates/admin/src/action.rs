//! What a request asks to be changed.

use serde::Deserialize;

use crate::{Action, ServerChange};

/// What a path names that can be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Explain,
    Reload,
    Upgrade,
    /// The servers of the group of this name.
    Servers(String),
}

impl Target {
    pub(crate) fn find(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/api/")?;
        let path = path.strip_prefix("v1/").unwrap_or(path);
        match path {
            "explain" => Some(Self::Explain),
            "reload" => Some(Self::Reload),
            "upgrade" => Some(Self::Upgrade),
            _ => {
                let name = path.strip_prefix("upstreams/")?.strip_suffix("/servers")?;
                (!name.contains('/')).then(|| decode(name).map(Self::Servers))?
            }
        }
    }

    /// What the content asks for.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn action(self, content: &[u8]) -> Result<Action, String> {
        match self {
            Self::Explain => {
                let asked = serde_json::from_slice(content).map_err(|error| error.to_string())?;
                Ok(Action::Explain(asked))
            }
            Self::Reload => Ok(Action::Reload),
            Self::Upgrade => Ok(Action::Upgrade),
            Self::Servers(upstream) => {
                let asked: Asked =
                    serde_json::from_slice(content).map_err(|error| error.to_string())?;
                let change = match (&*asked.change, asked.weight) {
                    ("weight", Some(weight)) => ServerChange::Weight(weight),
                    ("weight", None) => return Err("which weight?".to_owned()),
                    (_, Some(_)) => return Err("a weight belongs to `weight`".to_owned()),
                    ("drain", _) => ServerChange::Drain,
                    ("undrain", _) => ServerChange::Undrain,
                    ("add", _) => ServerChange::Add,
                    ("remove", _) => ServerChange::Remove,
                    ("reset", _) => ServerChange::Reset,
                    _ => {
                        return Err("a change is one of drain, undrain, weight, add, remove, \
                                    reset"
                            .to_owned());
                    }
                };
                Ok(Action::ChangeServer { upstream, server: asked.server, change })
            }
        }
    }
}

/// The content of a request about a server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    server: String,
    change: String,
    weight: Option<u32>,
}

/// Takes off percent-encoding (RFC 3986 §2.1).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, more @ ..] = rest {
        rest = more;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let ([high, low, more @ ..], true) = (rest, rest.len() >= 2) else { return None };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_is_changed() {
        for path in ["/api/reload", "/api/v1/reload"] {
            assert_eq!(Target::find(path), Some(Target::Reload));
        }
        assert_eq!(Target::find("/api/v1/upgrade"), Some(Target::Upgrade));
        assert_eq!(Target::find("/api/explain"), Some(Target::Explain));
        let servers = |name: &str| Some(Target::Servers(name.to_owned()));
        assert_eq!(Target::find("/api/upstreams/app/servers"), servers("app"));
        assert_eq!(Target::find("/api/v1/upstreams/a%2Fb%20c/servers"), servers("a/b c"));
        for path in [
            "/reload",
            "/api/v1/v1/reload",
            "/api/reload/",
            "/api/upstreams/servers",
            "/api/upstreams/a/b/servers",
            "/api/upstreams/a%2/servers",
            "/api/upstreams/%ff/servers",
        ] {
            assert_eq!(Target::find(path), None, "{path}");
        }
    }

    #[test]
    fn content_says_which_change() {
        let ask = |content: &str| Target::Servers("app".into()).action(content.as_bytes());
        let change = |change| {
            let (upstream, server) = ("app".to_owned(), "http://a:1".to_owned());
            Ok(Action::ChangeServer { upstream, server, change })
        };
        let text = r#"{"server":"http://a:1","change":"weight","weight":0}"#;
        assert_eq!(ask(text), change(ServerChange::Weight(0)));
        let text = r#"{"server":"http://a:1","change":"drain"}"#;
        assert_eq!(ask(text), change(ServerChange::Drain));
        for text in [
            "",
            "{}",
            r#"{"server":"http://a:1"}"#,
            r#"{"server":"http://a:1","change":"weight"}"#,
            r#"{"server":"http://a:1","change":"drain","weight":1}"#,
            r#"{"server":"http://a:1","change":"explode"}"#,
            r#"{"server":"http://a:1","change":"weight","weight":-1}"#,
            r#"{"server":"http://a:1","change":"drain","more":1}"#,
        ] {
            assert!(ask(text).is_err(), "{text}");
        }
        assert_eq!(Target::Reload.action(b"whatever"), Ok(Action::Reload));
        let asked = Action::Explain(serde_json::json!({ "method": "GET" }));
        assert_eq!(Target::Explain.action(br#"{"method":"GET"}"#), Ok(asked));
        assert!(Target::Explain.action(b"GET /").is_err());
    }
}
