//! What a request asks to be told or changed.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::query::Query;
use crate::routes::Operation;
use crate::{Action, CachePurge, ServerChange, UsageAsked};

/// All of a request that says what is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) operation: Operation,
    /// What stands where the path has braces.
    pub(crate) captured: Vec<String>,
    pub(crate) query: Query,
    pub(crate) content: &'a [u8],
    /// Whether CSV is rather wanted than JSON.
    pub(crate) accepts_csv: bool,
}

impl Request<'_> {
    /// `None`: the admin thread answers by itself.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn action(self) -> Result<Option<Action>, String> {
        let Self { operation, captured, mut query, content, accepts_csv } = self;
        // As many as the path has braces.
        let mut captured = captured.into_iter();
        let mut next = || captured.next().unwrap_or_default();
        let mut take = |name: &str| query.take(name);
        Ok(Some(match operation {
            Operation::Page
            | Operation::Health
            | Operation::Metrics
            | Operation::Status
            | Operation::Description => return Ok(None),
            Operation::Explain => Action::Explain(json(content)?),
            Operation::Reload => Action::Reload,
            Operation::Refresh => Action::Refresh,
            Operation::Upgrade => Action::Upgrade,
            Operation::ChangeServer => {
                let asked: Asked = json(content)?;
                let change = asked.change()?;
                Action::ChangeServer { upstream: next(), server: asked.server, change }
            }
            Operation::Exits => Action::Exits { pool: take("pool") },
            Operation::Sessions => Action::Sessions { pool: take("pool"), user: take("user") },
            Operation::EndSession => {
                let mut part = |name| take(name).unwrap_or_default();
                Action::EndSession { pool: part("pool"), user: part("user"), id: part("id") }
            }
            Operation::Bans => Action::Bans { exit: take("exit") },
            Operation::Ban => {
                let NewBan { exit, host, seconds } = json(content)?;
                Action::Ban { exit, host, seconds }
            }
            Operation::Unban => {
                Action::Unban { exit: take("exit").unwrap_or_default(), host: take("host") }
            }
            Operation::Users => Action::Users { set: take("set"), user: take("user") },
            Operation::AddUser => Action::AddUser { set: next(), user: json(content)? },
            Operation::ChangeUser => {
                Action::ChangeUser { set: next(), user: next(), changes: json(content)? }
            }
            Operation::RemoveUser => Action::RemoveUser { set: next(), user: next() },
            Operation::ResetUser => Action::ResetUser { set: next(), user: next() },
            Operation::Usage => Action::Usage(usage(take, accepts_csv)?),
            Operation::Attempts => Action::Attempts,
            Operation::Cache => Action::Cache,
            Operation::CacheEntry => Action::CacheEntry { url: take("url").unwrap_or_default() },
            Operation::CacheTop => Action::CacheTop { limit: top(take("limit"))? },
            Operation::PurgeCache => json::<Purge>(content)?.action()?,
        }))
    }
}

fn json<T: DeserializeOwned>(content: &[u8]) -> Result<T, String> {
    serde_json::from_slice(content).map_err(|error| error.to_string())
}

fn usage(
    mut take: impl FnMut(&str) -> Option<String>,
    accepts_csv: bool,
) -> Result<UsageAsked, String> {
    let limit = take("limit").map(|text| text.parse());
    let by = take("by").unwrap_or_else(|| "user,exit".to_owned());
    Ok(UsageAsked {
        set: take("set"),
        user: take("user"),
        exit: take("exit"),
        target: take("target"),
        from: take("from"),
        to: take("to"),
        by: by.split(',').filter(|by| !by.is_empty()).map(str::to_owned).collect(),
        limit: limit.transpose().map_err(|_| "`limit` is not a number of rows")?,
        csv: match take("format").as_deref() {
            None => accepts_csv,
            Some("csv") => true,
            Some("json") => false,
            Some(_) => return Err("`format` is `csv` or `json`".to_owned()),
        },
    })
}

/// The content of a request about a server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    server: String,
    change: String,
    weight: Option<u32>,
}

impl Asked {
    fn change(&self) -> Result<ServerChange, String> {
        Ok(match (&*self.change, self.weight) {
            ("weight", Some(weight)) => ServerChange::Weight(weight),
            ("weight", None) => return Err("which weight?".to_owned()),
            (_, Some(_)) => return Err("a weight belongs to `weight`".to_owned()),
            ("drain", _) => ServerChange::Drain,
            ("undrain", _) => ServerChange::Undrain,
            ("add", _) => ServerChange::Add,
            ("remove", _) => ServerChange::Remove,
            ("reset", _) => ServerChange::Reset,
            _ => {
                let all = "drain, undrain, weight, add, remove, reset";
                return Err(format!("a change is one of {all}"));
            }
        })
    }
}

/// How many answers are told of where nothing is said, and at most.
const TOP: usize = 20;
const MOST_TOP: usize = 1000;

fn top(limit: Option<String>) -> Result<usize, String> {
    let Some(limit) = limit else { return Ok(TOP) };
    let known = limit.parse().ok().filter(|limit| (1..=MOST_TOP).contains(limit));
    known.ok_or_else(|| format!("`limit` is a number from 1 to {MOST_TOP}"))
}

/// The content of a request for a purge.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    url: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    host: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    soft: bool,
}

impl Purge {
    fn action(self) -> Result<Action, String> {
        let all = [
            self.url.map(CachePurge::Url),
            self.prefix.map(CachePurge::Prefix),
            self.tag.map(CachePurge::Tag),
            self.host.map(CachePurge::Host),
            self.all.then_some(CachePurge::All),
        ];
        let mut named = all.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(what), None) => Ok(Action::PurgeCache { what, soft: self.soft }),
            _ => Err("name one of `url`, `prefix`, `tag`, `host`, or `all`: true".to_owned()),
        }
    }
}

/// The content of a request for a ban.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBan {
    exit: String,
    host: Option<String>,
    seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{self, Found};

    fn ask(method: &str, target: &str, content: &str) -> Result<Option<Action>, String> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let Found::Route(route, captured) = routes::find(method, path) else {
            panic!("{method} {path}")
        };
        let (operation, query) = (route.operation, Query::parse(query, route.query)?);
        let content = content.as_bytes();
        Request { operation, captured, query, content, accepts_csv: false }.action()
    }

    #[test]
    fn content_says_which_change() {
        let path = "/api/v1/upstreams/app/servers";
        let change = |change| {
            let (upstream, server) = ("app".to_owned(), "http://a:1".to_owned());
            Ok(Some(Action::ChangeServer { upstream, server, change }))
        };
        let text = r#"{"server":"http://a:1","change":"weight","weight":0}"#;
        assert_eq!(ask("POST", path, text), change(ServerChange::Weight(0)));
        let text = r#"{"server":"http://a:1","change":"drain"}"#;
        assert_eq!(ask("POST", path, text), change(ServerChange::Drain));
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
            assert!(ask("POST", path, text).is_err(), "{text}");
        }
        assert_eq!(ask("POST", "/api/reload", "whatever"), Ok(Some(Action::Reload)));
        let asked = Action::Explain(serde_json::json!({ "method": "GET" }));
        assert_eq!(ask("POST", "/api/explain", r#"{"method":"GET"}"#), Ok(Some(asked)));
        assert!(ask("POST", "/api/explain", "GET /").is_err());
    }

    #[test]
    fn a_purge_is_of_one_thing() {
        let path = "/api/v1/cache/purge";
        let purge = |what, soft| Ok(Some(Action::PurgeCache { what, soft }));
        assert_eq!(ask("POST", path, r#"{"all":true}"#), purge(CachePurge::All, false));
        assert_eq!(
            ask("POST", path, r#"{"tag":"a b","soft":true}"#),
            purge(CachePurge::Tag("a b".into()), true)
        );
        for text in
            ["{}", r#"{"all":false}"#, r#"{"url":"a","tag":"b"}"#, r#"{"tags":"a"}"#, "", "null"]
        {
            assert!(ask("POST", path, text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_top_has_an_end() {
        let top = |target| ask("GET", target, "");
        assert_eq!(top("/api/v1/cache/top"), Ok(Some(Action::CacheTop { limit: 20 })));
        assert_eq!(top("/api/v1/cache/top?limit=3"), Ok(Some(Action::CacheTop { limit: 3 })));
        for limit in ["0", "1001", "-1", "all", ""] {
            let target = format!("/api/v1/cache/top?limit={limit}");
            assert!(ask("GET", &target, "").is_err(), "{limit}");
        }
        assert!(top("/api/v1/cache/entry").is_err());
    }

    #[test]
    fn queries_say_what_is_asked() {
        assert_eq!(
            ask("DELETE", "/api/v1/sessions?pool=world&user=&id=a1", ""),
            Ok(Some(Action::EndSession { pool: "world".into(), user: "".into(), id: "a1".into() }))
        );
        assert!(ask("DELETE", "/api/v1/sessions?pool=world&id=a1", "").is_err());
        assert_eq!(
            ask("DELETE", "/api/v1/bans?exit=ca-1", ""),
            Ok(Some(Action::Unban { exit: "ca-1".into(), host: None }))
        );
        assert_eq!(
            ask("POST", "/api/v1/bans", r#"{"exit":"ca-1","seconds":5}"#),
            Ok(Some(Action::Ban { exit: "ca-1".into(), host: None, seconds: 5 }))
        );
        let Ok(Some(Action::Usage(asked))) = ask("GET", "/api/v1/usage?format=csv&limit=7", "")
        else {
            panic!()
        };
        assert_eq!(
            (asked.by, asked.csv, asked.limit),
            (vec!["user".into(), "exit".into()], true, Some(7))
        );
        let Ok(Some(Action::Usage(asked))) = ask("GET", "/api/v1/usage?by=", "") else { panic!() };
        assert_eq!((asked.by.len(), asked.csv), (0, false));
        assert!(ask("GET", "/api/v1/usage?format=xml", "").is_err());
        assert!(ask("GET", "/api/v1/usage?limit=all", "").is_err());
        assert_eq!(ask("GET", "/metrics", ""), Ok(None));
    }
}
