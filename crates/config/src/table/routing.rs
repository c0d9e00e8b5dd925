//! Routes, and what they do.

use super::upstream::SERVER_PROSE;
use super::{Directive, Place, any, many, optional, value};
use crate::kind::Kind;
use crate::servers::Traffic;

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
        arguments: &[any("server", Kind::ServerUrl(Traffic::Requests), SERVER_PROSE)],
        properties: &[optional("upstream", Kind::Name, "An `upstream`, instead of servers.")],
        block: Some(Place::To),
        prose: "Relays to servers. With several, each in turn gets a request unless `balance` says \
                otherwise, and one that cannot be connected to is passed over.",
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
];
