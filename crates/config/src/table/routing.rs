//! Routes, what they do, and groups of servers.

use super::{Directive, Place, any, later, many, optional, value};
use crate::kind::Kind;

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "route",
        places: &[Place::Site],
        arguments: &[value(
            "path",
            Kind::PathPattern,
            "`/status` is this path only; `/api/*` is `/api`, `/api/` and everything below, never \
             `/apix`; `/*` or `*` is every path. Written in canonical form: it is compared with \
             the canonical path of the request (escapes of unreserved characters decoded, others \
             in upper case).",
        )],
        block: Some(Place::Route),
        repeatable: true,
        prose: "What happens to requests for a path. The longest pattern that fits is taken, a \
                path without `*` before one with; the order of the file does not matter. In its \
                block stands exactly one of `to`, `redirect` and `respond`.",
        example: "route \"/api/*\" {\n    to \"http://127.0.0.1:9001\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "method",
        places: &[Place::Route],
        arguments: &[many("method", Kind::Method, "Methods, in upper case.")],
        repeatable: true,
        prose: "Takes requests with these methods only. A path whose routes take other methods \
                is answered with 405.",
        example: "method \"GET\" \"HEAD\"",
        ..Directive::NEW
    },
    Directive {
        name: "strip-prefix",
        places: &[Place::Route],
        arguments: &[value(
            "prefix",
            Kind::PathPrefix,
            "Whole segments at the front of the route's path.",
        )],
        prose: "Takes this off the front of the path before the request goes to a server. \
                `Location` and the `Path` of cookies in its responses get it back.",
        example: "strip-prefix \"/api\"",
        ..Directive::NEW
    },
    Directive {
        name: "rewrite",
        places: &[Place::Route],
        arguments: &[value(
            "path",
            Kind::PathTemplate,
            "The new path. A final `*` stands for what the `*` of the route took.",
        )],
        prose: "Replaces the path before the request goes to a server. The query stays.",
        example: "rewrite \"/v2/*\"",
        ..Directive::NEW
    },
    Directive {
        name: "to",
        places: &[Place::Route, Place::Site],
        arguments: &[any(
            "server",
            Kind::ServerUrl,
            "`http://HOST[:PORT][/BASE]`, or `https://`. A name is resolved in the background; a \
             base path is put before the path of each request.",
        )],
        properties: &[optional("upstream", Kind::Name, "An `upstream`, instead of servers.")],
        block: Some(Place::To),
        prose: "Relays to servers. With several, each in turn gets a request, and one that cannot \
                be connected to is passed over.",
        example: "to \"http://10.0.0.1:8080\" \"http://10.0.0.2:8080\" {\n    keep-idle 32\n}",
        ..Directive::NEW
    },
    Directive {
        name: "redirect",
        places: &[Place::Route, Place::Site],
        arguments: &[value(
            "location",
            Kind::Location,
            "A path, or a URL with `http://` or `https://`. A final `*` stands for what the `*` \
             of the route took.",
        )],
        properties: &[optional(
            "status",
            Kind::Integer { min: 301, max: 308 },
            "301, 302, 303, 307 or 308.",
        )
        .default("308")],
        prose: "Sends the client elsewhere.",
        example: "redirect \"https://example.com/*\" status=301",
        ..Directive::NEW
    },
    Directive {
        name: "respond",
        places: &[Place::Route, Place::Site],
        arguments: &[
            value("status", Kind::Integer { min: 200, max: 599 }, "The status."),
            optional("body", Kind::Text, "The body.").default("\"\""),
        ],
        properties: &[optional("content-type", Kind::MediaType, "Its `Content-Type`.")
            .default("\"text/plain; charset=utf-8\"")],
        prose: "Answers without asking a server.",
        example: "respond 200 \"ok\"",
        ..Directive::NEW
    },
    Directive {
        name: "upstream",
        places: &[Place::Top],
        arguments: &[value("name", Kind::Name, "What `to upstream=` calls it.")],
        block: Some(Place::Upstream),
        repeatable: true,
        prose: "A named group of servers with the same content, for several routes.",
        example: "upstream \"app\" {\n    server \"http://10.0.0.1:8080\"\n    server \"http://10.0.0.2:8080\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "server",
        places: &[Place::Upstream],
        arguments: &[many("url", Kind::ServerUrl, "`http://HOST[:PORT][/BASE]`, or `https://`.")],
        properties: &[
            later("weight", "How much more than others it gets."),
            later("backup", "Whether it is used only when no other is left."),
        ],
        repeatable: true,
        prose: "A server of the group.",
        example: "server \"http://10.0.0.1:8080\"",
        ..Directive::NEW
    },
    Directive {
        name: "tls",
        places: &[Place::To, Place::Upstream],
        properties: &[
            optional(
                "ca",
                Kind::File,
                "Whom to trust instead of the system's authorities (PEM): other authorities, or \
                 the server's own certificate.",
            ),
            optional(
                "sni",
                Kind::DnsName,
                "Name to ask for and to verify, instead of the host of the URL.",
            ),
            optional("cert", Kind::File, "Certificate to show (PEM), with `key=`."),
            optional("key", Kind::File, "Its private key (PEM)."),
            optional(
                "insecure",
                Kind::Flag,
                "No verification at all: anybody in between can read and change everything.",
            )
            .default("#false"),
        ],
        prose: "TLS to servers whose URL is `https://`. Without it they are verified against the \
                roots of the system.",
        example: "tls ca=\"internal-ca.pem\" sni=\"app.internal\"",
        ..Directive::NEW
    },
    Directive {
        name: "balance",
        places: &[Place::To, Place::Upstream],
        arguments: &[value(
            "policy",
            Kind::Choice {
                words: &["round-robin"],
                planned: &["least-requests", "peak-ewma", "random", "hash"],
            },
            "`round-robin`: each server in turn.",
        )
        .default("\"round-robin\"")],
        properties: &[later("key", "What `hash` looks at.")],
        prose: "Which server gets a request.",
        example: "balance \"round-robin\"",
        ..Directive::NEW
    },
    Directive {
        name: "keep-idle",
        places: &[Place::To, Place::Upstream],
        arguments: &[
            value("connections", Kind::Integer { min: 0, max: 65535 }, "How many.").default("64")
        ],
        prose: "Idle connections kept open for each server and core.",
        example: "keep-idle 64",
        ..Directive::NEW
    },
    Directive {
        name: "idle-timeout",
        places: &[Place::To, Place::Upstream],
        arguments: &[value("time", Kind::Duration { zero: false }, "How long.").default("\"60s\"")],
        prose: "How long an idle connection to a server is kept. Less than the server keeps it is \
                right.",
        example: "idle-timeout \"60s\"",
        ..Directive::NEW
    },
    Directive::planned(
        "health",
        &[Place::To, Place::Upstream],
        "Asks servers whether they are well.",
    ),
    Directive::planned(
        "retry",
        &[Place::To, Place::Upstream],
        "Tries another server after a failure.",
    ),
    Directive::planned(
        "slow-start",
        &[Place::To, Place::Upstream],
        "Gives a returning server its share little by little.",
    ),
    Directive::planned("sticky", &[Place::To, Place::Upstream], "Keeps a client at one server."),
    Directive::planned("outlier", &[Place::To, Place::Upstream], "Leaves servers out that fail."),
    Directive::planned(
        "max-connections",
        &[Place::To, Place::Upstream],
        "A bound on connections to the servers, with a queue.",
    ),
];
