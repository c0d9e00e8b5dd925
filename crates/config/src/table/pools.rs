//! What holds for the exits of a pool: which of them is taken, for how long, and when not.

use super::top::{FAMILY, FAMILY_PROSE};
use super::{Directive, Place, any, optional, value};
use crate::kind::Kind;

const TIME: Kind = Kind::Duration { zero: false };

const COUNT: Kind = Kind::Integer { min: 1, max: u32::MAX as u64 };

const POOL: &[Place] = &[Place::Exits];

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "rotate",
        places: POOL,
        arguments: &[value(
            "when",
            Kind::Rotate,
            "`per-request`: for every request, also within one connection, and every tunnel. \
             `per-connection`: for every connection of a client. A duration: for every user, \
             after this time. `every 5`: for every user, after so many requests.",
        )
        .default("\"per-request\"")],
        prose: "When another exit is taken, for whoever asks for no session.",
        example: "rotate \"10m\"",
        ..Directive::NEW
    },
    Directive {
        name: "choose",
        places: POOL,
        arguments: &[value(
            "how",
            Kind::Choice { words: &["round-robin", "random", "least-used"], planned: &[] },
            "`round-robin`: each in turn, by weight. `random`: any, by weight. `least-used`: the \
             one with the least under way for its weight.",
        )
        .default("\"round-robin\"")],
        prose: "Which exit is taken among those that fit.",
        example: "choose \"least-used\"",
        ..Directive::NEW
    },
    Directive {
        name: "sticky",
        places: POOL,
        properties: &[
            optional("ttl", TIME, "How long a session lasts if the client says nothing.")
                .default("\"10m\""),
            optional("max-ttl", TIME, "The longest that a client may ask for.").default("\"24h\""),
            optional(
                "idle",
                TIME,
                "A session that nobody used for so long ends. Default: only `ttl=` counts.",
            ),
            optional(
                "strict",
                Kind::Flag,
                "Whether sessions fail instead of moving when their exit is gone, whatever \
                 clients ask for.",
            )
            .default("#false"),
            optional("max-per-user", COUNT, "Sessions that one user has at once.").default("10000"),
        ],
        prose: "Sessions: the same exit for the same name of one, on every core. There are \
                sessions without it, too.",
        example: "sticky ttl=\"10m\" max-ttl=\"24h\" idle=\"60s\"",
        ..Directive::NEW
    },
    Directive {
        name: "dialect",
        places: POOL,
        arguments: &[value(
            "vendor",
            Kind::Choice {
                words: &["native", "decodo", "brightdata", "oxylabs", "iproyal"],
                planned: &[],
            },
            "`native`: `alice-country-ca-city-toronto-session-abc-ttl-10m-strict`. Else as this \
             vendor has it.",
        )
        .default("\"native\"")],
        prose: "How user names (with `iproyal`: passwords) carry wishes. One that is unknown or \
                cannot be met is refused with its name, never passed over.",
        example: "dialect \"decodo\"",
        ..Directive::NEW
    },
    Directive {
        name: "health",
        places: POOL,
        properties: &[
            value(
                "target",
                Kind::WebUrl,
                "What each exit fetches. The answer is the address that was seen, as text or JSON.",
            ),
            optional("every", TIME, "How often.").default("\"30s\""),
            optional("timeout", TIME, "How long it may take.").default("\"10s\""),
            optional("fall", COUNT, "Failures in a row that make an exit ill.").default("2"),
            optional("rise", COUNT, "Successes in a row that make it well.").default("1"),
        ],
        prose: "Measures every exit. One that is ill is not used; one that is in another country \
                than is written is warned of, and not used for wishes of that country.",
        example: "health target=\"http://127.0.0.1:9000/ip\" every=\"5s\"",
        ..Directive::NEW
    },
    BAN,
    Directive {
        name: "retry",
        places: POOL,
        properties: &[value(
            "attempts",
            Kind::Integer { min: 1, max: 100 },
            "How many exits a request tries at most. Without the directive: 3.",
        )],
        prose: "On another exit, and only before the client has seen a byte.",
        example: "retry attempts=5",
        ..Directive::NEW
    },
    Directive {
        name: "max",
        places: POOL,
        properties: &[
            optional("connections", COUNT, "Through one exit."),
            optional("per-host", COUNT, "Through one exit to one target host."),
        ],
        prose: "Connections and requests at once. Default: as many as come.",
        example: "max connections=100 per-host=2",
        ..Directive::NEW
    },
    Directive {
        name: "pace",
        places: POOL,
        properties: &[
            value(
                "gap",
                Kind::Duration { zero: true },
                "The least time from the beginning of one request to that of the next.",
            ),
            optional(
                "per",
                Kind::Choice { words: &["host", "exit"], planned: &[] },
                "`host`: through an exit to one target host. `exit`: through an exit.",
            )
            .default("\"host\""),
            optional(
                "wait",
                Kind::Duration { zero: true },
                "How long a request waits for an exit that may be used again.",
            )
            .default("\"10s\""),
            optional(
                "retry-after",
                Kind::Flag,
                "Whether `Retry-After` of a target closes an exit for it until then.",
            )
            .default("#true"),
        ],
        prose: "How fast an exit may be used. Default: as fast as requests come.",
        example: "pace gap=\"1s\" per=\"host\" wait=\"10s\"",
        ..Directive::NEW
    },
    Directive {
        name: "exclusive",
        places: POOL,
        arguments: &[value("flag", Kind::Flag, "Whether it does.").default("#false")],
        prose: "An exit serves one user and session at a time, for as long as anything of it is \
                open.",
        example: "exclusive #true",
        ..Directive::NEW
    },
    Directive {
        name: "resolve",
        places: POOL,
        arguments: &[value(
            "where",
            Kind::Choice { words: &["here", "exit"], planned: &[] },
            "`here`: by us; rules see the address, and the exit is given it. `exit`: by the \
             parent, which is given the name.",
        )],
        prose: "Where names are resolved. Default: by parents that take names and run elsewhere, else \
                by us. A parent on this machine that is given names can be led by them to what \
                listens on its loopback addresses.",
        example: "resolve \"here\"",
        ..Directive::NEW
    },
    Directive {
        name: "prefer",
        places: POOL,
        arguments: &[value("family", FAMILY, FAMILY_PROSE)],
        prose: "Which addresses of a target are tried, where its name is resolved here. Default: \
                what `prefer` at the top says.",
        example: "prefer \"ipv4\"",
        ..Directive::NEW
    },
];

const BAN: Directive = Directive {
    name: "ban",
    places: POOL,
    properties: &[
        any("status", Kind::Statuses, "This status, of answers that are not tunnelled."),
        any(
            "body",
            Kind::Name,
            "This text in the first 64 KiB of an answer, as it is on the wire.",
        ),
        any(
            "header",
            Kind::FieldSign,
            "This field of an answer, or behind a `:` what its value contains.",
        ),
        optional(
            "reset",
            Kind::Flag,
            "The connection ended, or TLS failed, before the target sent a byte.",
        )
        .default("#false"),
        optional("slower", TIME, "The first byte took longer than this."),
        optional("unreachable", Kind::Flag, "The exit could not be connected through.")
            .default("#false"),
        optional(
            "for",
            TIME,
            "How long. Every further ban of an exit doubles it, up to 16 times; as long a time \
             without one halves it again.",
        )
        .default("\"10m\""),
        optional(
            "per",
            Kind::Choice { words: &["host", "exit"], planned: &[] },
            "`host`: for the target host that the sign came from. `exit`: for all.",
        )
        .default("\"host\""),
        optional("count", COUNT, "Signs that are needed.").default("1"),
        optional("within", TIME, "In this time. Default: 1 m."),
    ],
    repeatable: true,
    prose: "What bans an exit: any of the signs. Several rules may stand; all that fit take effect.",
    example: "ban status=403 status=429 for=\"10m\" per=\"host\"\nban unreachable=#true count=3 within=\"1m\" per=\"exit\"",
    ..Directive::NEW
};
