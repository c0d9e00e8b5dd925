//! Directives outside any block that concern the whole process.

use super::{Directive, Place, many, optional, value};
use crate::kind::Kind;

/// Which addresses of a name are tried.
pub(super) const FAMILY: Kind =
    Kind::Choice { words: &["any", "ipv4", "ipv6", "ipv4-only", "ipv6-only"], planned: &[] };

pub(super) const FAMILY_PROSE: &str = "`any`: families take turns (RFC 8305). `ipv4`, `ipv6`: \
    this one first. `ipv4-only`, `ipv6-only`: the other one is never tried.";

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
        arguments: &[many(
            "server",
            Kind::NameServer,
            "DNS servers, asked in this order. `ADDRESS[:PORT]`: UDP, and TCP for what does not \
             fit. `tls://ADDRESS[:PORT]`: DNS over TLS (RFC 7858). \
             `https://ADDRESS[:PORT][/PATH]`: DNS over HTTPS (RFC 8484), at `/dns-query` where \
             nothing else is said. The ports are 53, 853 and 443.",
        )],
        properties: &[
            optional(
                "name",
                Kind::CertificateName,
                "What the certificates of these servers show. Default: their address.",
            ),
            optional(
                "ca",
                Kind::File,
                "Authorities that their certificates may come from, instead of those of the \
                 system (PEM).",
            ),
        ],
        repeatable: true,
        reloadable: false,
        prose: "DNS servers to ask instead of those of the system.",
        example: "resolver \"192.0.2.53\" \"[2001:db8::53]:5353\"\nresolver \"tls://1.1.1.1\" name=\"one.one.one.one\"",
        ..Directive::NEW
    },
    Directive {
        name: "hosts",
        places: &[Place::Top],
        arguments: &[
            value("name", Kind::DnsName, "The name; not those below it."),
            many("address", Kind::Address, "All of its addresses."),
        ],
        repeatable: true,
        reloadable: false,
        prose: "Addresses of a name, before all that a server or the hosts file of the system says.",
        example: "hosts \"intranet.example\" \"10.0.0.5\" \"fd00::5\"",
        ..Directive::NEW
    },
    Directive {
        name: "prefer",
        places: &[Place::Top],
        arguments: &[value("family", FAMILY, FAMILY_PROSE).default("\"any\"")],
        prose: "Which addresses of a name are tried, and in which order.",
        example: "prefer \"ipv4\"",
        ..Directive::NEW
    },
    Directive {
        name: "state",
        places: &[Place::Top],
        arguments: &[value("folder", Kind::File, "Where. It is made where it is missing.")],
        reloadable: false,
        prose: "The folder for what outlives the process: what users have used, copies of lists \
                that are fetched, and the authority of interception. Without it quotas begin \
                again with every start.",
        example: "state \"/var/lib/bifrons\"",
        ..Directive::NEW
    },
    Directive {
        name: "geoip",
        places: &[Place::Top],
        arguments: &[many("file", Kind::File, "Databases in the format of MaxMind (`.mmdb`).")],
        repeatable: true,
        prose: "Databases of countries, cities and autonomous systems, asked in this order. They \
                tell rules where a target is, and exits where they are if nothing is written.",
        example: "geoip \"GeoLite2-City.mmdb\" \"GeoLite2-ASN.mmdb\"",
        ..Directive::NEW
    },
];
