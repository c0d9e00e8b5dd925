//! `limits`, `timeouts` and `forwarded`: defaults at the top, their changes further in.

use super::{Directive, Place, optional, value};
use crate::kind::Kind;

/// How `X-Forwarded-*` and `Forwarded` are made.
const MODE: Kind = Kind::Choice { words: &["append", "set", "replace", "off"], planned: &[] };

const MODE_PROSE: &str = "`append`: what a trusted peer said, and ours behind it. `set`: what a \
    trusted peer said stays, else ours. `replace`: ours only. `off`: none.";

const TIME: Kind = Kind::Duration { zero: false };

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "forwarded",
        places: &[Place::Top, Place::Site],
        block: Some(Place::Forwarded),
        prose: "How a server learns of the client. What a peer that is not trusted sent of these \
                fields is always dropped first. At the top: the default of all sites; in a site: \
                what differs there.",
        example: "forwarded {\n    x-forwarded \"replace\"\n    rfc7239 \"set\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "x-forwarded",
        places: &[Place::Forwarded],
        arguments: &[value("mode", MODE, MODE_PROSE).default("\"append\"")],
        prose: "`X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.",
        example: "x-forwarded \"append\"",
        ..Directive::NEW
    },
    Directive {
        name: "rfc7239",
        places: &[Place::Forwarded],
        arguments: &[value("mode", MODE, MODE_PROSE).default("\"off\"")],
        prose: "`Forwarded`, as RFC 7239 has it.",
        example: "rfc7239 \"set\"",
        ..Directive::NEW
    },
    Directive {
        name: "via",
        places: &[Place::Forwarded],
        arguments: &[value(
            "pseudonym",
            Kind::Pseudonym,
            "What we call ourselves; `#false`: no `Via`.",
        )
        .default("\"bifrons\"")],
        prose: "`Via` of requests (RFC 9110 §7.6.3).",
        example: "via \"edge1\"",
        ..Directive::NEW
    },
    Directive {
        name: "preserve-host",
        places: &[Place::Forwarded],
        arguments: &[
            value("flag", Kind::Flag, "`#false`: the host of the server's URL.").default("#true")
        ],
        prose: "Whether the `Host` that the client sent goes to the server.",
        example: "preserve-host #false",
        ..Directive::NEW
    },
    Directive {
        name: "limits",
        places: &[Place::Top, Place::Site, Place::Forward],
        block: Some(Place::Limits),
        prose: "What a client may send. At the top: the default of all sites and forward \
                listeners; further in: what differs there.",
        example: "limits {\n    head-bytes \"16KiB\"\n    body \"10MiB\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "limits",
        places: &[Place::Route],
        block: Some(Place::RouteLimits),
        prose: "What differs from the limits of the site.",
        example: "limits { body \"1GiB\" }",
        ..Directive::NEW
    },
    Directive {
        name: "head-bytes",
        places: &[Place::Limits],
        arguments: &[value("size", Kind::Bytes { min: 1024, max: 1 << 20 }, "The largest.")
            .default("\"32KiB\"")],
        prose: "Bytes of the head of a request or a response, and of trailers. A longer one of a \
                request is answered with 431.",
        example: "head-bytes \"32KiB\"",
        ..Directive::NEW
    },
    Directive {
        name: "fields",
        places: &[Place::Limits],
        arguments: &[
            value("count", Kind::Integer { min: 1, max: 10_000 }, "The most.").default("128")
        ],
        prose: "Fields in a head, and in trailers.",
        example: "fields 128",
        ..Directive::NEW
    },
    Directive {
        name: "body",
        places: &[Place::Limits, Place::RouteLimits],
        arguments: &[value("size", Kind::ByteLimit, "The largest.").default("\"unlimited\"")],
        prose: "Bytes of the body of a request. A longer one is answered with 413.",
        example: "body \"10MiB\"",
        ..Directive::NEW
    },
    Directive {
        name: "min-rate",
        places: &[Place::Limits],
        arguments: &[value("rate", Kind::Rate, "The lowest mean rate.").default("\"240B/s\"")],
        properties: &[optional(
            "grace",
            Kind::Duration { zero: true },
            "How long a peer may be slower.",
        )
        .default("\"20s\"")],
        prose: "How fast a peer must at least send or take bytes while we wait for it.",
        example: "min-rate \"240B/s\" grace=\"20s\"",
        ..Directive::NEW
    },
    Directive {
        name: "requests-per-connection",
        places: &[Place::Limits],
        arguments: &[value("count", Kind::Integer { min: 1, max: u32::MAX as u64 }, "The most.")
            .default("10000")],
        prose: "Requests on one connection of a client, after which it is closed.",
        example: "requests-per-connection 10000",
        ..Directive::NEW
    },
    Directive {
        name: "streams",
        places: &[Place::Limits],
        arguments: &[
            value("count", Kind::Integer { min: 1, max: 1000 }, "The most.").default("128")
        ],
        prose: "Requests at once on one HTTP/2 connection of a client.",
        example: "streams 128",
        ..Directive::NEW
    },
    Directive {
        name: "timeouts",
        places: &[Place::Top, Place::Site, Place::Forward, Place::Tunnel],
        block: Some(Place::Timeouts),
        prose: "How long things may take. At the top: the default of all sites, forward listeners \
                and tunnels; further in: what differs there.",
        example: "timeouts {\n    header \"5s\"\n    connect \"2s\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "header",
        places: &[Place::Timeouts],
        arguments: &[value("time", TIME, "The longest time.").default("\"15s\"")],
        prose: "From the first byte of a head to its end; also a TLS or SOCKS handshake, and on a new connection the time to the first byte.",
        example: "header \"15s\"",
        ..Directive::NEW
    },
    Directive {
        name: "idle",
        places: &[Place::Timeouts],
        arguments: &[value("time", TIME, "The longest time.").default("\"75s\"")],
        prose: "A kept-alive connection without a request.",
        example: "idle \"75s\"",
        ..Directive::NEW
    },
    Directive {
        name: "tunnel-idle",
        places: &[Place::Timeouts],
        arguments: &[value("time", TIME, "The longest time.").default("\"1h\"")],
        prose: "A tunnel without a byte in either direction.",
        example: "tunnel-idle \"1h\"",
        ..Directive::NEW
    },
    Directive {
        name: "connect",
        places: &[Place::Timeouts],
        arguments: &[value("time", TIME, "The longest time.").default("\"5s\"")],
        prose: "Connecting to one server, its TLS handshake included.",
        example: "connect \"5s\"",
        ..Directive::NEW
    },
    Directive {
        name: "response",
        places: &[Place::Timeouts],
        arguments: &[value("time", TIME, "The longest time.").default("\"60s\"")],
        prose: "From the end of a request to the head of its response.",
        example: "response \"60s\"",
        ..Directive::NEW
    },
];
