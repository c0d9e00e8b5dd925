//! What is kept of answers, and in which codings they are sent.

use super::{Directive, Parameter, Place, any, many, optional, value};
use crate::kind::Kind;

const SWITCH: Kind = Kind::Choice { words: &["on", "off"], planned: &[] };

/// What undoes what the site says.
const OFF: Parameter =
    optional("switch", SWITCH, "`off` in a route: not here, although the site says so.");

const TIME: Kind = Kind::Duration { zero: true };

/// The level of a coding.
const fn level(name: &'static str, min: u64, max: u64, default: &'static str) -> Parameter {
    let prose = "How hard it tries; a higher level makes less of it, and takes longer.";
    optional(name, Kind::Integer { min, max }, prose).default(default)
}

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "cache",
        places: &[Place::Top],
        block: Some(Place::CacheStore),
        prose: "Where answers are kept, for all sites and forward listeners that have a `cache` of \
                their own. Without it: in 128 MiB of memory.",
        example: "cache {\n    memory \"256MiB\"\n    disk \"cache\" size=\"10GiB\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "memory",
        places: &[Place::CacheStore],
        arguments: &[value(
            "size",
            Kind::Bytes { min: 1 << 20, max: 1 << 46 },
            "All that kept answers cost is counted: bodies, fields and what finds them again.",
        )
        .default("\"128MiB\"")],
        prose: "Memory for answers, of all cores together.",
        example: "memory \"256MiB\"",
        ..Directive::NEW
    },
    Directive {
        name: "disk",
        places: &[Place::CacheStore],
        arguments: &[value(
            "folder",
            Kind::File,
            "Where. It is made where it is missing, and nothing else may be in it.",
        )],
        properties: &[optional(
            "size",
            Kind::Bytes { min: 16 << 20, max: 1 << 50 },
            "Bytes that it may fill.",
        )
        .default("\"1GiB\"")],
        reloadable: false,
        prose: "A second tier that outlives the process. Its folder is that of the next start, its \
                size may change with a reload. What is wrong with the disk later on is a warning, \
                and no request fails by it.",
        example: "disk \"cache\" size=\"10GiB\"",
        ..Directive::NEW
    },
    Directive {
        name: "max-object",
        places: &[Place::CacheStore],
        arguments: &[value(
            "size",
            Kind::Bytes { min: 1024, max: 1 << 46 },
            "The largest body. Default: 64 MiB, and a quarter of the disk or, where there is \
             none, of the memory at most.",
        )],
        prose: "Larger answers are relayed and not kept.",
        example: "max-object \"16MiB\"",
        ..Directive::NEW
    },
    Directive {
        name: "cache",
        places: &[Place::Site, Place::Route, Place::Forward],
        arguments: &[OFF],
        block: Some(Place::Cache),
        prose: "Keeps answers, and gives them again, by the rules of RFC 9111: what the origin says \
                in `Cache-Control` holds. Alone it is all that is needed. What a route has stands \
                in place of all that its site has.",
        example: "cache {\n    stale while-revalidate=\"30s\" if-error=\"1h\"\n    ttl default=\"60s\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "key",
        places: &[Place::Cache],
        arguments: &[many(
            "part",
            Kind::CacheKey,
            "`path`; `query`: the whole query; `query:NAME`: this parameter of it; `header:NAME`: \
             a field of the request; `cookie:NAME`: a cookie. `scheme` and `host` may be named, \
             and are always part of it.",
        )
        .default("\"path\" \"query\"")],
        prose: "What makes two requests the same, besides the scheme and the host. What is left \
                out must make no difference to the answer: with `query:v`, `/a?v=1&x=1` and \
                `/a?v=1&x=2` are answered alike.",
        example: "key \"path\" \"query:v\" \"cookie:theme\"",
        ..Directive::NEW
    },
    Directive {
        name: "stale",
        places: &[Place::Cache],
        properties: &[
            optional(
                "while-revalidate",
                TIME,
                "How long an answer that is no longer fresh is given, while the origin is asked in \
                 the background.",
            )
            .default("\"0s\""),
            optional(
                "if-error",
                TIME,
                "How long it is given where the origin cannot be reached, or answers with 500, \
                 502, 503 or 504.",
            )
            .default("\"0s\""),
        ],
        prose: "Answers beyond their time (RFC 5861), where the origin does not say it itself with \
                `stale-while-revalidate` and `stale-if-error`.",
        example: "stale while-revalidate=\"30s\" if-error=\"1h\"",
        ..Directive::NEW
    },
    Directive {
        name: "ttl",
        places: &[Place::Cache],
        properties: &[
            optional(
                "default",
                TIME,
                "Where the origin says nothing at all. Default: a tenth of the time since \
                 `Last-Modified`, at most a day; without that field, none.",
            ),
            optional("max", Kind::Duration { zero: false }, "At most, whatever the origin says."),
        ],
        prose: "How long answers are fresh.",
        example: "ttl default=\"60s\" max=\"1d\"",
        ..Directive::NEW
    },
    Directive {
        name: "purge",
        places: &[Place::Cache],
        properties: &[value(
            "token",
            Kind::PurgeToken,
            "What a request must show as `Authorization: Bearer TOKEN`: letters, digits and \
             `-._~+/`, 8 at least.",
        )],
        prose: "Takes requests with the method `PURGE`, which remove what is kept for their URL. \
                Without it `PURGE` is a method like any other, and goes to the server.",
        example: "purge token=\"let-me-purge\"",
        ..Directive::NEW
    },
    Directive {
        name: "slice",
        places: &[Place::Cache],
        arguments: &[value(
            "size",
            Kind::Bytes { min: 64 << 10, max: 64 << 20 },
            "Bytes of a slice: the least that is fetched for a client that asks for one byte.",
        )],
        prose: "Large answers are fetched and kept in slices, each by a request with `Range`, where \
                the origin gives ranges and a strong `ETag` (or `Last-Modified`). What it gives \
                whole is kept whole, as without it. Slices of another version are thrown away; a \
                client that has begun to receive the old one is cut off, so that nobody gets a \
                mix of two. A slice is not larger than `max-object`.",
        example: "slice \"1MiB\"",
        ..Directive::NEW
    },
    Directive {
        name: "status",
        places: &[Place::Cache],
        arguments: &[value("switch", SWITCH, "Whether it is sent.").default("\"on\"")],
        prose: "The field `Cache-Status` (RFC 9211), which tells what the cache did.",
        example: "status \"off\"",
        ..Directive::NEW
    },
    Directive {
        name: "compress",
        places: &[Place::Site, Place::Route],
        arguments: &[any(
            "coding",
            Kind::Choice { words: &["zstd", "br", "gzip", "off"], planned: &[] },
            "What is offered, the one that is liked best first; by `Accept-Encoding` the client \
             chooses. Default: zstd, br, gzip. `off` alone, in a route: not here, although \
             the site says so.",
        )],
        block: Some(Place::Compress),
        prose: "Compresses responses on their way to the client. With a `cache`, each coding of an \
                answer is made once and kept. What has a coding already, or `no-transform`, stays \
                as it is. What a route has stands in place of all that its site has.",
        example: "compress \"zstd\" \"br\" \"gzip\" {\n    level br=4\n    min \"2KiB\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "level",
        places: &[Place::Compress],
        properties: &[level("zstd", 1, 19, "3"), level("br", 0, 11, "5"), level("gzip", 1, 9, "6")],
        prose: "How hard each coding tries.",
        example: "level zstd=6 br=4",
        ..Directive::NEW
    },
    Directive {
        name: "types",
        places: &[Place::Compress],
        arguments: &[many(
            "type",
            Kind::TypePattern,
            "A type, `text/*`, or all with a suffix: `*/*+json`. Default: text, JSON, XML, \
             JavaScript, SVG, WebAssembly, and fonts that are not compressed in themselves.",
        )],
        repeatable: true,
        prose: "Types of content that are compressed, and no others.",
        example: "types \"text/*\" \"application/json\" \"*/*+json\"",
        ..Directive::NEW
    },
    Directive {
        name: "min",
        places: &[Place::Compress],
        arguments: &[value("size", Kind::Bytes { min: 0, max: 1 << 30 }, "The smallest.")
            .default("\"1KiB\"")],
        prose: "Bodies that are known to be smaller stay as they are.",
        example: "min \"2KiB\"",
        ..Directive::NEW
    },
    Directive {
        name: "spare-credentials",
        places: &[Place::Compress],
        arguments: &[optional("switch", SWITCH, "Alone it is `on`.").default("\"off\"")],
        prose: "Leaves answers to requests with a `Cookie` or `Authorization` as they are where \
                another site made the client ask, or may have: how small a page becomes tells \
                what is in it to those who can put something of theirs into it (BREACH).",
        example: "spare-credentials",
        ..Directive::NEW
    },
    Directive {
        name: "dictionaries",
        places: &[Place::Compress],
        arguments: &[optional("switch", SWITCH, "Alone it is `on`.").default("\"off\"")],
        prose: "Lets an earlier version of an answer that the client has be the dictionary of the \
                next one (`dcb` and `dcz`, RFC 9842), where the route has a `cache`: over TLS, or \
                from this machine.",
        example: "dictionaries",
        ..Directive::NEW
    },
    Directive {
        name: "decompress",
        places: &[Place::Site, Place::Route],
        arguments: &[OFF],
        properties: &[
            optional(
                "max-size",
                Kind::Bytes { min: 1, max: 1 << 46 },
                "The largest body that may come out. Default: that of `limits`.",
            ),
            optional(
                "max-ratio",
                Kind::Integer { min: 1, max: 100_000 },
                "How many times larger it may be than what was sent, from 64 KiB on.",
            )
            .default("100"),
        ],
        prose: "Unpacks bodies of requests that have a `Content-Encoding` (`gzip`, `br`, `zstd`, or \
                two of them), for servers that cannot. One that grows too much is answered with \
                413, another coding with 415. What a route has stands in place of all that its \
                site has.",
        example: "decompress max-size=\"10MiB\"",
        ..Directive::NEW
    },
];
