//! Groups of servers, and how requests are spread over them.

use super::{Directive, Parameter, Place, any, many, optional, value};
use crate::kind::Kind;
use crate::servers::Traffic;

/// Where the settings of a group stand.
const GROUP: &[Place] = &[Place::To, Place::Upstream];

const TIME: Kind = Kind::Duration { zero: false };

const COUNT: Kind = Kind::Integer { min: 1, max: u32::MAX as u64 };

/// What the URL of a server may be.
pub(super) const SERVER_PROSE: &str = "`http://HOST[:PORT][/BASE]` (HTTP/1.1), `https://` (HTTP/2 \
    or HTTP/1.1, as the server chooses), `h2://` (HTTP/2 over TLS) or `h2c://` (HTTP/2 without \
    TLS). A name is resolved in the background, and each of its addresses is a server; \
    `http+srv://_web._tcp.example.com` and so on ask its SRV records for names and ports. A base \
    path is put before the path of each request.";

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "upstream",
        places: &[Place::Top],
        arguments: &[value("name", Kind::Name, "What `to upstream=` calls it.")],
        block: Some(Place::Upstream),
        repeatable: true,
        prose: "A named group of servers with the same content, for several routes, or for \
                several tunnels where its servers are `tcp://` or `tls://`.",
        example: "upstream \"app\" {\n    server \"http://10.0.0.1:8080\"\n    server \"http://10.0.0.2:8080\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "server",
        places: &[Place::Upstream],
        arguments: &[many(
            "url",
            Kind::ServerUrl(Traffic::Any),
            "As those of `to`: `http://`, `https://`, `h2://` or `h2c://` in front of \
             `HOST[:PORT][/BASE]`, or `tcp://` or `tls://` in front of `HOST:PORT` for tunnels; \
             `+srv` behind the scheme for a name with SRV records.",
        )],
        properties: &[
            optional(
                "weight",
                Kind::Integer { min: 0, max: 1000 },
                "Its share against that of others. 0: no new clients, but those that `sticky` \
                 keeps there stay.",
            )
            .default("1"),
            optional(
                "backup",
                Kind::Flag,
                "Whether it is used only when no other is left that is well.",
            )
            .default("#false"),
        ],
        repeatable: true,
        prose: "A server of the group. What is written beside several URLs holds for each of them.",
        example: "server \"http://10.0.0.1:8080\" weight=2\nserver \"http://10.0.0.9:8080\" backup=#true",
        ..Directive::NEW
    },
    Directive {
        name: "tls",
        places: &[Place::To, Place::Upstream, Place::ForwardAuth, Place::Callout],
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
            optional("http1", Kind::Flag, "Whether `https://` servers are offered HTTP/1.1 only.")
                .default("#false"),
        ],
        prose: "TLS to servers whose URL is `https://`, `h2://` or `tls://`. Without it they are \
                verified against the roots of the system.",
        example: "tls ca=\"internal-ca.pem\" sni=\"app.internal\"",
        ..Directive::NEW
    },
    BALANCE,
    HEALTH,
    RETRY,
    Directive {
        name: "slow-start",
        places: GROUP,
        arguments: &[value(
            "time",
            Kind::Duration { zero: true },
            "How long it takes; `\"0s\"`: at once.",
        )
        .default("\"0s\"")],
        prose: "A server that came back is given its share little by little.",
        example: "slow-start \"10s\"",
        ..Directive::NEW
    },
    Directive {
        name: "sticky",
        places: GROUP,
        properties: &[
            Parameter {
                count: super::Count::One,
                ..optional("cookie", Kind::CookieName, "The name of the cookie.")
            },
            optional("ttl", TIME, "How long browsers keep it. Default: until they are closed."),
            optional(
                "secret",
                Kind::Secret,
                "What the cookie is signed with, where several proxies must know each other's. \
                 Default: random, made when the process starts, and handed over by an upgrade.",
            ),
        ],
        prose: "Keeps a client at the server that it had first, by a cookie that cannot be forged. \
                A server of `weight=0` keeps the clients it has; one that is not well loses them.",
        example: "sticky cookie=\"bifrons\" ttl=\"1h\"",
        ..Directive::NEW
    },
    OUTLIER,
    Directive {
        name: "circuit-breaker",
        places: GROUP,
        properties: &[
            optional(
                "errors",
                Kind::Percent { min: 1, max: 100 },
                "So many of the requests failed …",
            )
            .default("\"50%\""),
            optional("within", TIME, "… in this time …").default("\"10s\""),
            optional("min-requests", COUNT, "… if there were at least so many.").default("20"),
            optional(
                "open",
                TIME,
                "How long nothing is let through; then one request at a time, until one succeeds.",
            )
            .default("\"5s\""),
        ],
        prose: "Gives the whole group a rest when too much of it fails. Requests are then answered \
                with 503 at once. Without it every request is tried.",
        example: "circuit-breaker errors=\"50%\" within=\"10s\" min-requests=20 open=\"5s\"",
        ..Directive::NEW
    },
    Directive {
        name: "max-connections",
        places: GROUP,
        arguments: &[value("requests", COUNT, "So many, over all cores.")],
        properties: &[
            optional(
                "queue",
                Kind::Integer { min: 0, max: 1_000_000 },
                "Requests that wait for a free place in the group.",
            )
            .default("0"),
            optional("queue-timeout", TIME, "How long one of them waits.").default("\"5s\""),
        ],
        prose: "Requests (in a tunnel: connections) that one server has at once. What finds no \
                place, neither at a server nor in the queue, is answered with 503.",
        example: "max-connections 512 queue=1024 queue-timeout=\"2s\"",
        ..Directive::NEW
    },
    Directive {
        name: "panic",
        places: GROUP,
        arguments: &[value(
            "share",
            Kind::Percent { min: 0, max: 100 },
            "Of the servers; `\"0%\"`: only when none is well.",
        )
        .default("\"0%\"")],
        prose: "When fewer servers than this are well, all are used as if they were: rather an \
                error for some than too much load for the rest.",
        example: "panic \"30%\"",
        ..Directive::NEW
    },
    Directive {
        name: "proxy-protocol",
        places: GROUP,
        arguments: &[value(
            "version",
            Kind::Choice { words: &["v1", "v2"], planned: &[] },
            "`v1`: text. `v2`: binary.",
        )],
        prose: "Begins each connection to a server with a PROXY protocol header, which tells the \
                address of the client. Clients then do not share connections.",
        example: "proxy-protocol \"v2\"",
        ..Directive::NEW
    },
    Directive {
        name: "keep-idle",
        places: GROUP,
        arguments: &[
            value("connections", Kind::Integer { min: 0, max: 65535 }, "How many.").default("256")
        ],
        prose: "Idle connections kept open for each server and core.",
        example: "keep-idle 256",
        ..Directive::NEW
    },
    Directive {
        name: "idle-timeout",
        places: GROUP,
        arguments: &[value("time", TIME, "How long.").default("\"60s\"")],
        prose: "How long an idle connection to a server is kept. Less than the server keeps it is \
                right.",
        example: "idle-timeout \"60s\"",
        ..Directive::NEW
    },
];

const BALANCE: Directive = Directive {
    name: "balance",
    places: GROUP,
    arguments: &[value(
        "policy",
        Kind::Choice {
            words: &["round-robin", "least-requests", "peak-ewma", "random", "hash"],
            planned: &[],
        },
        "`round-robin`: each in turn, by weight, evenly spread. `least-requests`: the one with \
         the fewest requests under way for its weight. `peak-ewma`: of two at random, the one \
         that answers sooner. `random`: any, by weight. `hash`: the same one for the same key.",
    )
    .default("\"round-robin\"")],
    properties: &[
        optional(
            "key",
            Kind::HashKey,
            "What `hash` looks at; in tunnels the address only. Requests without it are spread \
             at random.",
        )
        .default("\"client-ip\""),
        optional(
            "bounded-load",
            Kind::Percent { min: 101, max: 1000 },
            "How much of the mean load a server takes with `hash` before the next one is asked.",
        )
        .default("\"125%\""),
    ],
    prose: "Which server gets a request. With `hash`, a server that comes or goes moves only its \
            own share of the keys.",
    example: "balance \"hash\" key=\"cookie:session\"",
    ..Directive::NEW
};

const HEALTH: Directive = Directive {
    name: "health",
    places: GROUP,
    arguments: &[value(
        "probe",
        Kind::Probe,
        "A path (with its query): a GET. `tcp`: a connection. `grpc`: `grpc.health.v1.Health/Check`, \
         of servers that speak HTTP/2.",
    )],
    properties: &[
        optional("every", TIME, "How often.").default("\"5s\""),
        optional(
            "timeout",
            TIME,
            "How long the answer may take, at most `every=`. Default: `\"2s\"`, or `every=` if \
             that is shorter.",
        ),
        optional("fall", COUNT, "Failures in a row that make a server ill.").default("3"),
        optional("rise", COUNT, "Successes in a row that make it well.").default("2"),
        optional(
            "port",
            Kind::Integer { min: 1, max: 65535 },
            "Another port than that of the traffic.",
        ),
        optional("status", Kind::Statuses, "With a path: statuses that are well.")
            .default("\"200-399\""),
        optional("body", Kind::Name, "With a path: what the body (its first 64 KiB) must contain."),
        optional(
            "host",
            Kind::Authority,
            "With a path: the `Host` to send, if not that of the server.",
        ),
        optional(
            "service",
            Kind::Name,
            "With `grpc`: the service to ask about. Default: the server as a whole.",
        ),
    ],
    prose: "Asks servers whether they are well, once for each real server however many routes use \
            it, and not while requests show it. Without it a server is believed to be well until \
            requests fail.",
    example: "health \"/healthz\" every=\"1s\" timeout=\"500ms\" fall=2 rise=2",
    ..Directive::NEW
};

const RETRY: Directive = Directive {
    name: "retry",
    places: GROUP,
    arguments: &[any(
        "condition",
        Kind::RetryCondition,
        "Statuses from 400 to 599 that are no answer as long as there is another server, and \
         `timeout` for an answer that does not come. A failure to connect always is a reason.",
    )],
    properties: &[
        optional(
            "attempts",
            Kind::Integer { min: 0, max: 10 },
            "Attempts beyond the first; 0: none.",
        )
        .default("3"),
        optional(
            "attempt-timeout",
            TIME,
            "With `timeout`: how long one attempt waits for the head of the response. Default: \
             `timeouts { response }`.",
        ),
        optional(
            "budget",
            Kind::Percent { min: 0, max: 100 },
            "Retries in percent of the requests of the last ten seconds, besides ten of them.",
        )
        .default("\"20%\""),
    ],
    prose: "When a request is made again, at another server if there is one. Only a request that \
            can be made again is: with a safe or idempotent method or an `Idempotency-Key`, and \
            with a body that is still there. For it a connection that breaks before the \
            response is a reason as well. A failure to connect or a stream that the server \
            refused hurts no request, whatever its method.",
    example: "retry \"502\" \"503\" \"timeout\" attempts=2 attempt-timeout=\"2s\" budget=\"20%\"",
    ..Directive::NEW
};

const OUTLIER: Directive = Directive {
    name: "outlier",
    places: GROUP,
    properties: &[
        optional(
            "failures",
            COUNT,
            "So many failures (no connection, no answer in time, or a 5xx) …",
        )
        .default("5"),
        optional("within", TIME, "… in this time.").default("\"10s\""),
        optional("eject", TIME, "For how long it is left out, each time longer.")
            .default("\"30s\""),
        optional(
            "latency",
            Kind::Percent { min: 101, max: 10_000 },
            "Also when its mean latency is so many percent of the median of the others. Default: \
             never.",
        ),
        optional(
            "max-ejected",
            Kind::Percent { min: 0, max: 100 },
            "How many of the servers may be out in this way; one always may.",
        )
        .default("\"50%\""),
    ],
    prose: "Leaves a server out that fails requests. Without it only `health` does.",
    example: "outlier failures=5 within=\"10s\" eject=\"30s\"",
    ..Directive::NEW
};
