//! The forward face: users, listeners, and rules about targets.

use super::{Directive, Parameter, Place, any, later, many, optional, value};
use crate::kind::Kind;

const RULE_ARGUMENTS: &[Parameter] = &[any(
    "target",
    Kind::Target,
    "`example.com` (with everything below it), `*.example.com` (only what is below it), an \
     address, a network, or `*`.",
)];

const RULE_PROPERTIES: &[Parameter] = &[
    any(
        "list",
        Kind::File,
        "A file of domains, one a line, or in the form of a hosts file; read again when it has \
         changed.",
    ),
    any("port", Kind::Ports, "Only these ports: `443` or `8000-9999`. Default: all."),
];

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "users",
        places: &[Place::Top],
        arguments: &[value("name", Kind::Name, "What `auth users=` calls it.")],
        properties: &[optional(
            "file",
            Kind::File,
            "An htpasswd file with Argon2 or bcrypt hashes.",
        )],
        block: Some(Place::Users),
        repeatable: true,
        prose: "A named set of users.",
        example: "users \"staff\" {\n    user \"alice\" password=\"correct-horse\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "user",
        places: &[Place::Users],
        arguments: &[value("name", Kind::UserName, "The name, without a colon.")],
        properties: &[
            optional("password", Kind::Name, "The password as it is."),
            optional(
                "password-hash",
                Kind::PasswordHash,
                "Or its hash: `$argon2id$…`, or bcrypt as `htpasswd -B` makes it (`$2y$…`).",
            ),
            later("bandwidth", "Bytes in a second."),
            later("quota", "Bytes in a time."),
            later("connections", "Connections at once."),
        ],
        repeatable: true,
        prose: "One user.",
        example: "user \"alice\" password=\"correct-horse\"",
        ..Directive::NEW
    },
    Directive {
        name: "file",
        places: &[Place::Users],
        arguments: &[value("path", Kind::File, "An htpasswd file with Argon2 or bcrypt hashes.")],
        repeatable: true,
        prose: "Users from a file. The same as `file=`.",
        example: "file \"users.htpasswd\"",
        ..Directive::NEW
    },
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
        name: "auth",
        places: &[Place::Forward],
        properties: &[Parameter {
            count: super::Count::One,
            ..optional("users", Kind::Name, "A `users` set.")
        }],
        prose: "Asks clients for a name and a password: 407 with HTTP, the user/password method \
                with SOCKS5. SOCKS4 is then refused.",
        example: "auth users=\"staff\"",
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
        arguments: &[many(
            "port",
            Kind::Ports,
            "Ports and ranges of ports; a range needs no quotes.",
        )
        .default("80 443 1024-65535")],
        repeatable: true,
        prose: "Ports that CONNECT and SOCKS may reach. Port 25 is open only if it is named by \
                itself: a range around it leaves it out.",
        example: "ports 80 443 8000-9999",
        ..Directive::NEW
    },
    Directive {
        name: "allow",
        places: &[Place::Forward],
        arguments: RULE_ARGUMENTS,
        properties: RULE_PROPERTIES,
        repeatable: true,
        prose: "Lets requests for these targets through. Networks that are closed by default \
                (loopback, private, link-local) are opened only by an address or a network \
                here: a domain, `*` or a list lets through what is open anyway, since whoever \
                owns a name decides where it leads. Of all `allow` and `deny`, the first that \
                fits decides, in the order of the file.",
        example: "allow \"10.0.0.0/8\" port=443",
        ..Directive::NEW
    },
    Directive {
        name: "deny",
        places: &[Place::Forward],
        arguments: RULE_ARGUMENTS,
        properties: RULE_PROPERTIES,
        repeatable: true,
        prose: "Refuses requests for these targets. Networks are compared with what a name \
                resolves to.",
        example: "deny \"*.ads.example\" list=\"blocklist.txt\"",
        ..Directive::NEW
    },
    Directive {
        name: "exit",
        places: &[Place::Forward],
        arguments: &[
            value("name", Kind::Exit, "`direct`: from this machine.").default("\"direct\"")
        ],
        prose: "The way out.",
        example: "exit \"direct\"",
        ..Directive::NEW
    },
];
