//! Directives outside any block that concern the whole process.

use super::{Directive, Place, many, optional, value};
use crate::kind::Kind;

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "threads",
        places: &[Place::Top],
        arguments: &[value("count", Kind::Integer { min: 1, max: 1024 }, "Number of cores.")],
        reloadable: false,
        prose: "How many cores carry traffic. Each is one thread with listeners, connection pools \
                and counters of its own. Without it: as many as the process may run on.",
        example: "threads 2",
        ..Directive::NEW
    },
    Directive {
        name: "access-log",
        places: &[Place::Top],
        arguments: &[value(
            "target",
            Kind::LogTarget,
            "Where the lines go. A file is appended to.",
        )
        .default("\"off\"")],
        properties: &[optional(
            "format",
            Kind::Choice { words: &["combined", "json"], planned: &[] },
            "The form of a line: the combined form of NCSA followed by fields of our own, or one \
             JSON object.",
        )
        .default("\"combined\"")],
        reloadable: false,
        prose: "One line for each request and each tunnel. Credentials are never in it, and \
                control characters are escaped. A reload opens the file anew, so that it can be \
                moved away before.",
        example: "access-log \"access.log\" format=\"json\"",
        ..Directive::NEW
    },
    Directive {
        name: "admin",
        places: &[Place::Top],
        arguments: &[value("address", Kind::Socket, "Where it listens.")],
        properties: &[optional(
            "token",
            Kind::Name,
            "What a request must show as `Authorization: Bearer TOKEN`. Needed unless the address \
             is a loopback address.",
        )],
        reloadable: false,
        prose: "The admin listener: health and metrics. Without it there is none.",
        example: "admin \"127.0.0.1:9901\"",
        ..Directive::NEW
    },
    Directive {
        name: "drain-timeout",
        places: &[Place::Top],
        arguments: &[
            value("time", Kind::Duration { zero: true }, "The longest wait.").default("\"30s\"")
        ],
        prose: "How long a graceful stop waits for requests and tunnels that still run.",
        example: "drain-timeout \"30s\"",
        ..Directive::NEW
    },
    Directive {
        name: "trust",
        places: &[Place::Top],
        arguments: &[many("peer", Kind::Net, "Addresses of proxies before this one.")],
        repeatable: true,
        prose: "Peers whose `Forwarded` and `X-Forwarded-*` fields are believed. Those of any \
                other peer are dropped. Without it nobody is believed.",
        example: "trust \"10.0.0.0/8\" \"fd00::/8\"",
        ..Directive::NEW
    },
    Directive {
        name: "resolver",
        places: &[Place::Top],
        arguments: &[many("server", Kind::Socket, "DNS servers, asked in this order.")],
        reloadable: false,
        prose: "DNS servers to ask instead of those of the system.",
        example: "resolver \"192.0.2.53:53\" \"[2001:db8::53]:53\"",
        ..Directive::NEW
    },
    Directive::planned(
        "cache",
        &[Place::Top, Place::Site, Place::Route],
        "Keeps responses by the rules of RFC 9111.",
    ),
    Directive::planned(
        "exits",
        &[Place::Top],
        "A named set of ways out: source addresses and parent proxies.",
    ),
];
