//! The forward face: listeners, and what is done with what they let through.

use super::{Directive, Place, many, value};
use crate::kind::Kind;

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "forward",
        places: &[Place::Top],
        arguments: &[value("address", Kind::Socket, "Where it listens. Port 0 is any free port.")],
        block: Some(Place::Forward),
        repeatable: true,
        prose: "A listener of the forward face. One port takes HTTP proxy requests, CONNECT, \
                SOCKS4, SOCKS4a and SOCKS5: the first bytes decide. On an address that is not a \
                loopback address it needs `auth` or `clients`.",
        example: "forward \"127.0.0.1:3128\" {\n    anonymity \"elite\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "clients",
        places: &[Place::Forward],
        arguments: &[many("network", Kind::Net, "Addresses of clients.")],
        repeatable: true,
        prose: "Clients that may use it. Without it: any that can reach it.",
        example: "clients \"10.0.0.0/8\" \"fd00::/8\"",
        ..Directive::NEW
    },
    Directive {
        name: "anonymity",
        places: &[Place::Forward],
        arguments: &[value(
            "level",
            Kind::Choice { words: &["transparent", "anonymous", "elite"], planned: &[] },
            "`transparent`: `Via`, and the address in `X-Forwarded-For`. `anonymous`: `Via`, but \
             no address. `elite`: nothing tells that there is a proxy.",
        )
        .default("\"anonymous\"")],
        prose: "What the far end learns of the client.",
        example: "anonymity \"elite\"",
        ..Directive::NEW
    },
    Directive {
        name: "ports",
        places: &[Place::Forward],
        arguments: &[
            many("port", Kind::Ports, "Ports and ranges of ports; a range needs no quotes.")
                .default("80 443 1024-65535"),
            super::Parameter {
                count: super::Count::Optional,
                ..value(
                    "sticky",
                    Kind::Choice { words: &["sticky"], planned: &[] },
                    "The word makes these ports other ones: the listener listens on them too, and \
                     whoever comes by one of them keeps the exit that this port has. One range, \
                     of at most 10 000 ports.",
                )
            },
        ],
        repeatable: true,
        prose: "Ports that CONNECT and SOCKS may reach. Port 25 is open only if it is named by \
                itself: a range around it leaves it out. With `sticky` behind a range: ports that \
                are sessions, for clients that cannot write a wish into a user name.",
        example: "ports 80 443 8000-9999",
        ..Directive::NEW
    },
    Directive {
        name: "exit",
        places: &[Place::Forward, Place::To, Place::Upstream],
        arguments: &[value(
            "name",
            Kind::Exit,
            "An `exits`, or `direct`: from this machine, from the address that the system chooses.",
        )
        .default("\"direct\"")],
        prose: "The way out: of what a listener lets through, where no rule says another; or to \
                the servers of a group.",
        example: "exit \"world\"",
        ..Directive::NEW
    },
    Directive {
        name: "errors",
        places: &[Place::Forward],
        arguments: &[value(
            "skin",
            Kind::Choice { words: &["native", "brightdata", "oxylabs", "apify"], planned: &[] },
            "`native`: our statuses, and `Proxy-Status` (RFC 9209). Else those of this vendor, \
             with its fields: `x-brd-err-code` and `x-brd-error`; `X-Error-Description`; the \
             statuses 590 to 599.",
        )
        .default("\"native\"")],
        prose: "How errors are told to clients.",
        example: "errors \"brightdata\"",
        ..Directive::NEW
    },
    Directive {
        name: "disclose",
        places: &[Place::Forward],
        arguments: &[value("flag", Kind::Flag, "Whether they are told.").default("#false")],
        prose: "Tells clients which exit and which session they have, in fields of the answer to \
                CONNECT and of plain answers.",
        example: "disclose #true",
        ..Directive::NEW
    },
    Directive {
        name: "socks-udp",
        places: &[Place::Forward],
        arguments: &[value("flag", Kind::Flag, "Whether it is there.").default("#false")],
        prose: "UDP ASSOCIATE of SOCKS5 (RFC 1928 §7). Rules are asked for every datagram.",
        example: "socks-udp #true",
        ..Directive::NEW
    },
    Directive {
        name: "socks-bind",
        places: &[Place::Forward],
        arguments: &[value("flag", Kind::Flag, "Whether it is there.").default("#false")],
        prose: "BIND of SOCKS5: a client has us wait for a connection from outside.",
        example: "socks-bind #true",
        ..Directive::NEW
    },
    Directive {
        name: "transparent",
        places: &[Place::Forward],
        arguments: &[value(
            "how",
            Kind::Choice { words: &["redirect", "tproxy"], planned: &[] },
            "The target of netfilter that sends connections here: `REDIRECT` or `TPROXY`.",
        )],
        prose: "Takes connections of clients that do not know of a proxy. Where they lead is told \
                by the system, and by the name in `Host` or the TLS ClientHello. Nobody can be \
                asked for a password. Linux only.",
        example: "transparent \"redirect\"",
        ..Directive::NEW
    },
    PAC,
    Directive {
        name: "proxy",
        places: &[Place::Pac],
        arguments: &[value("address", Kind::HostPort, "`HOST:PORT`.")],
        prose: "What browsers are told to use. Default: the name and the port that they asked.",
        example: "proxy \"proxy.example:3128\"",
        ..Directive::NEW
    },
    Directive {
        name: "secure",
        places: &[Place::Pac],
        arguments: &[value("flag", Kind::Flag, "Whether they are to.").default("#false")],
        prose: "Tells browsers to speak TLS to the proxy.",
        example: "secure #true",
        ..Directive::NEW
    },
    Directive {
        name: "direct",
        places: &[Place::Pac],
        arguments: &[many("target", Kind::Target, "As those of rules.")],
        repeatable: true,
        prose: "Targets that browsers are to go to by themselves.",
        example: "direct \"*.internal.example\" \"10.0.0.0/8\"",
        ..Directive::NEW
    },
    Directive {
        name: "fallback-direct",
        places: &[Place::Pac],
        arguments: &[value("flag", Kind::Flag, "Whether they may.").default("#false")],
        prose: "Lets browsers go by themselves where the proxy does not answer.",
        example: "fallback-direct #true",
        ..Directive::NEW
    },
    Directive {
        name: "intercept",
        places: &[Place::Forward],
        block: Some(Place::Intercept),
        prose: "Opens TLS: the client sees a certificate of ours, and rules see what is inside. \
                Without it, bytes of TLS pass unchanged. Errors in the certificates of servers \
                are never hidden.",
        example: "intercept {\n    ca cert=\"ca.pem\" key=\"ca.key\"\n    host \"*.shop.example\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "ca",
        places: &[Place::Intercept],
        properties: &[
            value("cert", Kind::File, "Its certificate (PEM)."),
            value("key", Kind::File, "Its private key (PEM)."),
        ],
        prose: "The authority that signs. Default: that which `bifrons ca init` put into the \
                folder of `state`.",
        example: "ca cert=\"ca.pem\" key=\"ca.key\"",
        ..Directive::NEW
    },
    Directive {
        name: "host",
        places: &[Place::Intercept],
        arguments: &[many("target", Kind::Target, "As those of rules.")],
        repeatable: true,
        prose: "Targets whose TLS is opened. Default: all.",
        example: "host \"*.shop.example\"",
        ..Directive::NEW
    },
    Directive {
        name: "except",
        places: &[Place::Intercept],
        arguments: &[many("target", Kind::Target, "As those of rules.")],
        repeatable: true,
        prose: "Targets whose TLS passes unchanged nevertheless.",
        example: "except \"*.bank.example\"",
        ..Directive::NEW
    },
    Directive {
        name: "trust",
        places: &[Place::Intercept],
        arguments: &[many("file", Kind::File, "Authorities (PEM).")],
        repeatable: true,
        prose: "Whom the certificates of servers may come from, besides the authorities of the \
                system.",
        example: "trust \"extra.pem\"",
        ..Directive::NEW
    },
    Directive {
        name: "certificates",
        places: &[Place::Intercept],
        arguments: &[
            value("count", Kind::Integer { min: 1, max: 1_000_000 }, "The most.").default("1000")
        ],
        prose: "Certificates that are kept for the next connection to the same name.",
        example: "certificates 1000",
        ..Directive::NEW
    },
];

const PAC: Directive = Directive {
    name: "pac",
    places: &[Place::Forward],
    block: Some(Place::Pac),
    prose: "Serves a PAC file, made from the configuration, at `/proxy.pac` and `/wpad.dat`, to \
            requests that are for us and not for a target.",
    example: "pac {\n    direct \"*.internal.example\"\n}",
    ..Directive::NEW
};
