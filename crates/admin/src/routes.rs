//! What there is: the one table that the router, the description for programs and the tests of
//! both are made from.

use crate::query::decode;

/// One thing that can be asked for.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) verb: Verb,
    /// Segments in braces stand for any that are not empty.
    pub(crate) path: &'static str,
    /// The same from before paths had versions.
    pub(crate) old_path: Option<&'static str>,
    pub(crate) operation: Operation,
    /// What it does, in a sentence.
    pub(crate) summary: &'static str,
    pub(crate) query: &'static [Parameter],
    /// The schema of its content, if it takes some.
    pub(crate) content: Option<&'static str>,
    pub(crate) answer: Media,
}

/// A method. HEAD is part of GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

/// A parameter of a query.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) meaning: &'static str,
}

/// What is answered with status 200.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Media {
    /// Of this type.
    Text(&'static str),
    /// JSON of this schema.
    Json(&'static str),
    /// A list of JSON of this schema.
    List(&'static str),
    /// The same, or CSV.
    Table(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Page,
    Health,
    Metrics,
    Status,
    Description,
    Explain,
    Reload,
    Refresh,
    Upgrade,
    ChangeServer,
    Exits,
    Sessions,
    EndSession,
    Bans,
    Ban,
    Unban,
    Users,
    AddUser,
    ChangeUser,
    RemoveUser,
    ResetUser,
    Usage,
    Attempts,
    Cache,
    CacheEntry,
    CacheTop,
    PurgeCache,
}

impl Verb {
    pub(crate) const ALL: [Self; 4] = [Self::Get, Self::Post, Self::Patch, Self::Delete];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn of(method: &str) -> Option<Self> {
        if method == "HEAD" {
            return Some(Self::Get);
        }
        Self::ALL.into_iter().find(|verb| verb.as_str() == method)
    }

    /// Whether it may change something.
    pub(crate) fn changes(self) -> bool {
        self != Self::Get
    }
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Found {
    /// This, with what stands where its path has braces, decoded.
    Route(&'static Route, Vec<String>),
    /// Something that can be asked for in other ways only: the value of `Allow`.
    OtherMethods(String),
    /// Nothing.
    Nothing,
}

/// Looks a request up.
pub(crate) fn find(method: &str, path: &str) -> Found {
    let verb = Verb::of(method);
    let mut others = Vec::new();
    for route in ROUTES {
        let paths = [Some(route.path), route.old_path];
        let Some(captured) = paths.into_iter().flatten().find_map(|known| fit(known, path)) else {
            continue;
        };
        if verb == Some(route.verb) {
            return Found::Route(route, captured);
        }
        others.push(route.verb.as_str());
        if route.verb == Verb::Get {
            others.push("HEAD");
        }
    }
    if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others.join(", ")) }
}

/// What stands where `pattern` has braces, if the path is of it.
fn fit(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut known, mut given) = (pattern.split('/'), path.split('/'));
    let mut captured = Vec::new();
    loop {
        match (known.next(), given.next()) {
            (None, None) => return Some(captured),
            (Some(known), Some(given)) if known.starts_with('{') => {
                captured.push(decode(given, false).filter(|text| !text.is_empty())?);
            }
            (Some(known), Some(given)) if known == given => {}
            _ => return None,
        }
    }
}

const fn optional(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, required: false, meaning }
}

const fn required(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, required: true, meaning }
}

/// Something that is read.
const fn get(
    path: &'static str,
    operation: Operation,
    summary: &'static str,
    answer: Media,
) -> Route {
    let (old_path, content) = (None, None);
    Route { verb: Verb::Get, path, old_path, operation, summary, query: &[], content, answer }
}

/// Something that is done.
const fn act(
    verb: Verb,
    path: &'static str,
    operation: Operation,
    summary: &'static str,
    content: Option<&'static str>,
    answer: &'static str,
) -> Route {
    let answer = Media::Json(answer);
    Route { verb, path, old_path: None, operation, summary, query: &[], content, answer }
}

const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that there is.
pub(crate) const ROUTES: &[Route] = &[
    get("/", Operation::Page, "A page for people.", Media::Text(HTML)),
    get(
        "/healthz",
        Operation::Health,
        "200 while it serves, 503 while it drains.",
        Media::Text(TEXT),
    ),
    get("/metrics", Operation::Metrics, "Metrics for Prometheus.", Media::Text(EXPOSITION)),
    get(
        "/api/v1/openapi.json",
        Operation::Description,
        "This description.",
        Media::Json("Description"),
    ),
    get("/api/v1/status", Operation::Status, "What the server is and does.", Media::Json("Status")),
    Route {
        old_path: Some("/api/explain"),
        ..act(
            Verb::Post,
            "/api/v1/explain",
            Operation::Explain,
            "What would become of a request, and why. Nothing changes.",
            Some("Question"),
            "Explanation",
        )
    },
    Route {
        old_path: Some("/api/reload"),
        ..act(
            Verb::Post,
            "/api/v1/reload",
            Operation::Reload,
            "Read the configuration again; with an error nothing changes.",
            None,
            "Reload",
        )
    },
    act(
        Verb::Post,
        "/api/v1/refresh",
        Operation::Refresh,
        "Read those files again that the configuration names and that have changed, as happens \
         every few seconds by itself.",
        None,
        "Refresh",
    ),
    Route {
        old_path: Some("/api/upgrade"),
        ..act(
            Verb::Post,
            "/api/v1/upgrade",
            Operation::Upgrade,
            "Start the program anew and hand everything over to it.",
            None,
            "Upgrade",
        )
    },
    Route {
        old_path: Some("/api/upstreams/{upstream}/servers"),
        ..act(
            Verb::Post,
            "/api/v1/upstreams/{upstream}/servers",
            Operation::ChangeServer,
            "Change a server of an upstream.",
            Some("ServerChange"),
            "ServerChanged",
        )
    },
    Route {
        query: &[optional("pool", "Only exits of this pool.")],
        ..get("/api/v1/exits", Operation::Exits, "Exits, and how they are.", Media::List("Exit"))
    },
    Route {
        query: &[
            optional("pool", "Only those of this pool."),
            optional("user", "Only those of this user."),
        ],
        ..get(
            "/api/v1/sessions",
            Operation::Sessions,
            "Sessions that clients have asked for.",
            Media::List("Session"),
        )
    },
    Route {
        query: &[
            required("pool", "The pool that was asked for it."),
            required("user", "Whose it is; empty where it is nobody's in particular."),
            required("id", "What the client calls it."),
        ],
        ..act(
            Verb::Delete,
            "/api/v1/sessions",
            Operation::EndSession,
            "End a session. What is under way goes on; the next request of its name begins \
             another.",
            None,
            "Done",
        )
    },
    Route {
        query: &[optional("exit", "Only those of this exit.")],
        ..get("/api/v1/bans", Operation::Bans, "Bans of exits.", Media::List("Ban"))
    },
    act(
        Verb::Post,
        "/api/v1/bans",
        Operation::Ban,
        "Ban an exit, in place of the ban that there is.",
        Some("NewBan"),
        "Done",
    ),
    Route {
        query: &[
            required("exit", "Its name, or `pool/name`."),
            optional("host", "The target host; without it all bans of the exit end."),
        ],
        ..act(Verb::Delete, "/api/v1/bans", Operation::Unban, "End bans of an exit.", None, "Done")
    },
    Route {
        query: &[
            optional("set", "Only users of this set."),
            optional("user", "Only the user of this name."),
        ],
        ..get(
            "/api/v1/users",
            Operation::Users,
            "Users, and what each has used and has left.",
            Media::List("User"),
        )
    },
    act(
        Verb::Post,
        "/api/v1/users/{set}",
        Operation::AddUser,
        "Add a user to the database of a set; it may be used when this is answered.",
        Some("NewUser"),
        "UserChanged",
    ),
    act(
        Verb::Patch,
        "/api/v1/users/{set}/{user}",
        Operation::ChangeUser,
        "Change a user in a database. What is given takes the place of what there was; null, or \
         an empty list, takes it away.",
        Some("UserChange"),
        "UserChanged",
    ),
    act(
        Verb::Delete,
        "/api/v1/users/{set}/{user}",
        Operation::RemoveUser,
        "Remove a user from a database. What it has used stays known.",
        None,
        "Done",
    ),
    act(
        Verb::Post,
        "/api/v1/users/{set}/{user}/reset",
        Operation::ResetUser,
        "What a user has used of its day and its month counts no more.",
        None,
        "Done",
    ),
    Route {
        query: &[
            optional("set", "Only of users of this set."),
            optional("user", "Only of this user."),
            optional("exit", "Only through this exit."),
            optional("target", "Only to this host."),
            optional("from", "Only from this day on: 2026-07-01."),
            optional("to", "Only until this day, inclusive."),
            optional(
                "by",
                "A row for each `day`, `set`, `user`, `exit` or `target`; several with commas \
                 between them. Without it `user,exit`; empty: one row for all.",
            ),
            optional("limit", "At most so many rows."),
            optional("format", "`csv`, or `json`; without it as `Accept` says."),
        ],
        ..get(
            "/api/v1/usage",
            Operation::Usage,
            "What was used, by user, exit, target and day.",
            Media::Table("UsageRow"),
        )
    },
    get(
        "/api/v1/attempts",
        Operation::Attempts,
        "Credentials that were wrong, since the start.",
        Media::Json("Attempts"),
    ),
    get("/api/v1/cache", Operation::Cache, "What the cache has and did.", Media::Json("Cache")),
    Route {
        query: &[required("url", "The URL, with its scheme.")],
        ..get(
            "/api/v1/cache/entry",
            Operation::CacheEntry,
            "What is kept in memory for a URL, each variant, 1000 at most; empty: nothing.",
            Media::List("CacheEntry"),
        )
    },
    Route {
        query: &[optional("limit", "At most so many; without it 20.")],
        ..get(
            "/api/v1/cache/top",
            Operation::CacheTop,
            "The answers in memory that were given most often.",
            Media::List("CacheTop"),
        )
    },
    act(
        Verb::Post,
        "/api/v1/cache/purge",
        Operation::PurgeCache,
        "Purge answers. When this is answered no core gives them any more.",
        Some("CachePurge"),
        "CachePurged",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Option<(Operation, Vec<String>)> {
        match find(method, path) {
            Found::Route(route, captured) => Some((route.operation, captured)),
            Found::OtherMethods(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn paths_name_what_is_meant() {
        for path in ["/api/reload", "/api/v1/reload"] {
            assert_eq!(found("POST", path), Some((Operation::Reload, vec![])));
        }
        assert_eq!(found("HEAD", "/"), Some((Operation::Page, vec![])));
        let servers = |name: &str| Some((Operation::ChangeServer, vec![name.to_owned()]));
        assert_eq!(found("POST", "/api/upstreams/app/servers"), servers("app"));
        assert_eq!(found("POST", "/api/v1/upstreams/a%2Fb%20c+d/servers"), servers("a/b c+d"));
        let user = vec!["staff".to_owned(), "ä".to_owned()];
        assert_eq!(
            found("DELETE", "/api/v1/users/staff/%C3%A4"),
            Some((Operation::RemoveUser, user))
        );
        for path in [
            "/reload",
            "/api/v1/v1/reload",
            "/api/reload/",
            "/api/status",
            "/api/upstreams/servers",
            "/api/upstreams//servers",
            "/api/upstreams/a/b/servers",
            "/api/upstreams/a%2/servers",
            "/api/upstreams/%ff/servers",
            "/api/v1/users/",
        ] {
            assert!(matches!(find("POST", path), Found::Nothing), "{path}");
        }
    }

    #[test]
    fn other_methods_are_named() {
        for (method, path, expected) in [
            ("POST", "/metrics", "GET, HEAD"),
            ("GET", "/api/v1/reload", "POST"),
            ("PUT", "/api/v1/bans", "GET, HEAD, POST, DELETE"),
            ("get", "/api/v1/users/a/b", "PATCH, DELETE"),
        ] {
            match find(method, path) {
                Found::OtherMethods(allow) => assert_eq!(allow, expected, "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}
