//! Who and how much is let in to a site or a route.

use super::{Count, Directive, Parameter, Place, later, many, optional, value};
use crate::kind::Kind;

const CONNECTIONS: Parameter =
    optional("connections", Kind::Integer { min: 1, max: u32::MAX as u64 }, "Connections at once.");

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "allow",
        places: &[Place::Site, Place::Route, Place::Tunnel],
        arguments: &[many("network", Kind::Net, "Addresses of clients.")],
        repeatable: true,
        prose: "Lets these clients in. Of all `allow` and `deny` of one block the first that fits \
                decides, in the order of the file; whom none fits is refused if there is an \
                `allow`, else let in. Refused requests are answered with 403, refused \
                connections of a tunnel are closed. A client must pass the rules of the site and \
                those of the route.",
        example: "allow \"10.0.0.0/8\" \"fd00::/8\"",
        ..Directive::NEW
    },
    Directive {
        name: "deny",
        places: &[Place::Site, Place::Route, Place::Tunnel],
        arguments: &[many("network", Kind::Net, "Addresses of clients.")],
        repeatable: true,
        prose: "Refuses these clients, where no `allow` before it lets them in.",
        example: "deny \"192.0.2.0/24\"",
        ..Directive::NEW
    },
    Directive {
        name: "limit",
        places: &[Place::Site, Place::Route],
        properties: &[
            optional(
                "requests",
                Kind::RequestRate,
                "Requests in a time: `N/s`, `N/m`, `N/h`, `N/d`, or `5/10s`. Those beyond it are \
                 answered with 429.",
            ),
            optional(
                "bytes",
                Kind::ByteRate,
                "Bytes of response bodies in a time. What is beyond it is slowed down.",
            ),
            Parameter {
                prose: "Connections at once; in a site only. Those beyond it are closed.",
                ..CONNECTIONS
            },
            optional(
                "burst",
                Kind::Burst,
                "What may come at once: a number of requests, or a size. Default: as much as in \
                 one second, but at least one request, or 64 KiB.",
            ),
            optional(
                "per",
                Kind::LimitKey,
                "For each of what it holds: `client-ip` is the address of the client (with IPv6 \
                 its /64), `header:NAME` the value of a request field (requests without it share \
                 one), `site` and `route` the place where the limit stands, for all together. \
                 Connections are limited per `client-ip` only.",
            )
            .default("\"client-ip\""),
        ],
        repeatable: true,
        prose: "A limit on requests, on bytes, or on connections. All that stand hold, those of \
                the site and those of the route. Without it there is none.",
        example: "limit requests=\"1000/s\" burst=2000 per=\"client-ip\"",
        ..Directive::NEW
    },
    Directive {
        name: "limit",
        places: &[Place::Forward],
        properties: &[
            CONNECTIONS,
            optional(
                "per",
                Kind::Choice { words: &["client-ip"], planned: &["user"] },
                "For each of what it holds: `client-ip` is the address of the client.",
            )
            .default("\"client-ip\""),
            later("requests", "Requests in a time."),
            later("bytes", "Bytes in a time."),
            later("burst", "What may come at once."),
        ],
        repeatable: true,
        prose: "A limit for each client. Connections beyond it are closed. Without it there is none.",
        example: "limit connections=256 per=\"client-ip\"",
        ..Directive::NEW
    },
    Directive {
        name: "limit",
        places: &[Place::Tunnel],
        properties: &[
            Parameter { count: Count::One, ..CONNECTIONS },
            optional(
                "per",
                Kind::Choice { words: &["client-ip"], planned: &[] },
                "For each of what it holds: `client-ip` is the address of the client.",
            )
            .default("\"client-ip\""),
        ],
        prose: "A limit for each client. Connections beyond it are closed. Without it there is none.",
        example: "limit connections=256 per=\"client-ip\"",
        ..Directive::NEW
    },
    Directive {
        name: "basic-auth",
        places: &[Place::Site, Place::Route],
        properties: &[
            Parameter {
                count: Count::One,
                ..optional("users", Kind::Name, "A `users` set at the top.")
            },
            optional("realm", Kind::FieldValue, "What browsers show.").default("\"restricted\""),
        ],
        prose: "Asks for a name and a password (RFC 7617); without them the answer is 401. That of \
                a route takes the place of the site's.",
        example: "basic-auth users=\"staff\" realm=\"The back office\"",
        ..Directive::NEW
    },
    Directive {
        name: "forward-auth",
        places: &[Place::Site, Place::Route],
        arguments: &[value(
            "url",
            Kind::RequestUrl,
            "The server that is asked, with the path and the query of the question. Schemes as \
             those of servers.",
        )],
        properties: &[
            optional("timeout", Kind::Duration { zero: false }, "How long its answer may take.")
                .default("\"5s\""),
            optional(
                "cache",
                Kind::Flag,
                "Whether an answer may be used again, for as long as its `Cache-Control` says, \
                 for a request that would show it the same.",
            )
            .default("#true"),
        ],
        block: Some(Place::ForwardAuth),
        prose: "Asks a server about each request: a GET with the fields of `send`, and \
                `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`. With an answer of 2xx \
                the request goes on. 401, 403 and redirects with a `Location` are the answer to \
                the client; with any other answer, or none, it gets 502, 503 or 504. That of a \
                route takes the place of the site's.",
        example: "forward-auth \"http://127.0.0.1:9091/verify\" timeout=\"2s\" {\n    send \"Authorization\" \"Cookie\"\n    copy \"Remote-User\" \"Remote-Groups\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "send",
        places: &[Place::ForwardAuth],
        arguments: &[many("name", Kind::FieldName, "Names of request fields, in any case.")
            .default("\"Authorization\" \"Cookie\"")],
        repeatable: true,
        prose: "Fields of the request that the server is shown.",
        example: "send \"Authorization\" \"Cookie\" \"X-Api-Key\"",
        ..Directive::NEW
    },
    Directive {
        name: "copy",
        places: &[Place::ForwardAuth],
        arguments: &[many("name", Kind::FieldName, "Names of fields, sent as written.")],
        repeatable: true,
        prose: "Fields of its answer that go on with the request. What a client sends of these \
                names is dropped.",
        example: "copy \"Remote-User\" \"Remote-Groups\"",
        ..Directive::NEW
    },
    Directive {
        name: "http2",
        places: &[Place::Site, Place::Forward],
        arguments: &[value("flag", Kind::Flag, "`#false`: HTTP/1.1 only.").default("#true")],
        prose: "Whether clients may speak HTTP/2: with TLS by ALPN, without it by prior knowledge. \
                Sites without TLS on one socket must agree on it.",
        example: "http2 #false",
        ..Directive::NEW
    },
    Directive {
        name: "proxy-protocol",
        places: &[Place::Site, Place::Forward, Place::Tunnel],
        arguments: &[many("peer", Kind::Net, "Addresses of load balancers before this one.")],
        repeatable: true,
        prose: "Peers whose connections begin with a PROXY protocol header (version 1 or 2), which \
                tells the address of the client. From them it must come, from all others none is \
                taken. Sites on one socket must agree on it.",
        example: "proxy-protocol \"10.0.0.0/8\"",
        ..Directive::NEW
    },
];
