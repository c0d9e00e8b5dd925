//! Pools of exits, and the exits in them.

use super::{Directive, Parameter, Place, any, many, optional, value, with};
use crate::kind::Kind;
use crate::parents;

const TIME: Kind = Kind::Duration { zero: false };

const COUNT: Kind = Kind::Integer { min: 1, max: u32::MAX as u64 };

const POOL: &[Place] = &[Place::Exits];

/// What is known of an exit, and how much of the load it takes.
const LABELS: [Parameter; 10] = [
    optional(
        "name",
        Kind::ExitName,
        "What wishes, logs and the API call it. Default: made from what it is.",
    ),
    optional(
        "country",
        Kind::Country,
        "In two letters. Default: what `geoip` knows of the address, if anything.",
    ),
    optional("state", Kind::Label, "State or province, without the country: `ontario`."),
    optional("city", Kind::Label, "City; spaces become `_`: `new_york`."),
    optional("zip", Kind::Label, "Postal code."),
    optional("asn", COUNT, "Number of the autonomous system."),
    optional("price", Kind::Money, "What 10⁹ bytes cost."),
    any("tag", Kind::Label, "Words by which it can be asked for."),
    optional("weight", Kind::Integer { min: 1, max: 10_000 }, "Its share against that of others.")
        .default("1"),
    optional(
        "max",
        COUNT,
        "Connections and requests at once, where it differs from `max connections=`.",
    ),
];

const PREFIX: [Parameter; 11] = with(
    [optional(
        "pick",
        Kind::Choice { words: &["random", "session", "host"], planned: &[] },
        "`random`: any, each time. `session`: the same for the same session, or user where there \
         is none. `host`: the same for the same target.",
    )
    .default("\"random\"")],
    LABELS,
);

const LIST: [Parameter; 12] = with(
    [
        optional(
            "scheme",
            Kind::Choice { words: parents::SCHEMES, planned: &[] },
            "What lines without a scheme are.",
        )
        .default("\"http\""),
        optional("every", TIME, "How often a URL is fetched. Default: 1 h."),
    ],
    LABELS,
);

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "exits",
        places: &[Place::Top],
        arguments: &[value("name", Kind::Name, "What `exit` calls it.")],
        block: Some(Place::Exits),
        repeatable: true,
        prose: "A named pool of ways out: addresses of ours, parent proxies, other pools.",
        example: "exits \"north\" {\n    address \"127.0.0.2\" country=\"CA\"\n    proxy \"http://user:password@10.0.0.1:3128\" country=\"US\"\n    rotate \"per-request\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "direct",
        places: POOL,
        properties: &LABELS,
        prose: "From this machine, from the address that the system chooses.",
        example: "direct weight=2",
        ..Directive::NEW
    },
    Directive {
        name: "address",
        places: POOL,
        arguments: &[value("address", Kind::Address, "An address of this machine.")],
        properties: &LABELS,
        repeatable: true,
        prose: "From an address of ours.",
        example: "address \"127.0.0.2\" country=\"CA\" city=\"toronto\" price=\"0.50\" tag=\"residential\"",
        ..Directive::NEW
    },
    Directive {
        name: "prefix",
        places: POOL,
        arguments: &[value("network", Kind::Net, "A network that is routed to this machine.")],
        properties: &PREFIX,
        repeatable: true,
        prose: "From any address of a network; none of them has to be set up (`IP_FREEBIND`). \
                Linux only.",
        example: "prefix \"2001:db8::/64\" pick=\"session\"",
        ..Directive::NEW
    },
    Directive {
        name: "proxy",
        places: POOL,
        arguments: &[many(
            "url",
            Kind::ParentUrl,
            "`SCHEME://[USER:PASSWORD@]HOST[:PORT]`. The schemes are `http`, `https`, `socks4a` \
             (or `socks4`), `socks5` (names are resolved here) and `socks5h`; the ports are 80, \
             443 and 1080.",
        )],
        properties: &LABELS,
        repeatable: true,
        prose: "Through a parent proxy, or through several, one behind the other, the nearest \
                first. Nothing that a client shows us is ever shown to a parent.",
        example: "proxy \"socks5h://user:password@10.0.0.1:1080\" country=\"DE\"",
        ..Directive::NEW
    },
    Directive {
        name: "list",
        places: POOL,
        arguments: &[value(
            "source",
            Kind::ListSource,
            "One parent a line: `HOST:PORT`, `HOST:PORT:USER:PASSWORD`, or a URL as with `proxy`.",
        )],
        properties: &LIST,
        repeatable: true,
        prose: "Through each of the parents of a list, an exit each. A file is read again when it \
                has changed, a URL is fetched every so often (which needs `state`). What is \
                written beside it holds for all of them.",
        example: "list \"proxies.txt\" scheme=\"socks5h\" country=\"US\"",
        ..Directive::NEW
    },
    Directive {
        name: "pool",
        places: POOL,
        arguments: &[value("name", Kind::Name, "Another `exits`.")],
        repeatable: true,
        prose: "Another pool, for what none of the exits of this one can take (a waterfall: the \
                cheap ones first). Several are asked in their order.",
        example: "pool \"expensive\"",
        ..Directive::NEW
    },
];
