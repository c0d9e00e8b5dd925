//! Users, and what they may.

use super::{Directive, Parameter, Place, many, optional, value, with};
use crate::kind::Kind;

const TIME: Kind = Kind::Duration { zero: false };

const COUNT: Kind = Kind::Integer { min: 1, max: u32::MAX as u64 };

/// Where limits stand as directives.
const LIMITED: &[Place] = &[Place::User, Place::UserDefaults];

/// What a user may, beside its name.
const LIMITS: [Parameter; 5] = [
    optional("bandwidth", Kind::Bandwidth, "Bytes in a second, both directions together."),
    optional("quota", Kind::Quota, "Bytes in a day or a month, both directions together."),
    optional("budget", Kind::Budget, "Money in a day or a month, by the prices of exits."),
    optional("connections", COUNT, "Connections and streams at once."),
    optional("requests", Kind::RequestRate, "Requests in a time."),
];

const USER: [Parameter; 8] = with(
    [
        optional("password", Kind::Name, "The password as it is."),
        optional(
            "password-hash",
            Kind::PasswordHash,
            "Or its hash: `$argon2id$…`, or bcrypt as `htpasswd -B` makes it (`$2y$…`).",
        ),
        optional("expires", Kind::Moment, EXPIRES),
    ],
    LIMITS,
);

const EXPIRES: &str = "From this moment on it is refused. A day is its first moment, in UTC.";

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
        prose: "A named set of users. A name is looked for among those written here, then in \
                files, in databases, and last by the callout.",
        example: "users \"staff\" {\n    user \"alice\" password=\"correct-horse\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "user",
        places: &[Place::Users],
        arguments: &[value("name", Kind::UserName, "The name, without a colon.")],
        properties: &USER,
        block: Some(Place::User),
        repeatable: true,
        prose: "One user. It needs a password, an `api-key`, or addresses (`from`). What is not \
                said of it is as in `default`. Where wishes stand in user names, a name that \
                looks like one (`-country-`) makes logins that can be read in two ways: the \
                longest name that is known wins.",
        example: "user \"bob\" password=\"battery-staple\" bandwidth=\"5MiB/s\" connections=64 {\n    quota \"1GiB/day\"\n    quota \"10GiB/month\"\n    exits \"world\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "default",
        places: &[Place::Users],
        properties: &LIMITS,
        block: Some(Place::UserDefaults),
        prose: "What users may of whom nothing else is said: those of files, databases and the \
                callout, and in each point on which a `user` is silent.",
        example: "default bandwidth=\"20MiB/s\" {\n    quota \"100GiB/month\"\n}",
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
        name: "database",
        places: &[Place::Users],
        arguments: &[value("path", Kind::File, "An SQLite file. It is made where it is missing.")],
        repeatable: true,
        prose: "Users that `bifrons user` and the admin API add, change and remove while we run.",
        example: "database \"users.db\"",
        ..Directive::NEW
    },
    Directive {
        name: "callout",
        places: &[Place::Users],
        arguments: &[Parameter {
            count: super::Count::Optional,
            ..value("url", Kind::RequestUrl, "What is asked: `http://HOST[:PORT][/PATH]`.")
        }],
        properties: &[
            optional("upstream", Kind::Name, "Or an `upstream`, with `path=`."),
            optional("path", Kind::RequestTarget, "Path and query, of an `upstream`."),
            optional("keep", TIME, "How long a yes is believed.").default("\"1m\""),
            optional("keep-refused", Kind::Duration { zero: true }, "How long a no is believed.")
                .default("\"5s\""),
        ],
        block: Some(Place::Callout),
        prose: "A server that is asked about names that nothing else knows: a GET with \
                `Authorization: Basic …`. 2xx is a yes, 401, 403 and 404 are a no; with any other \
                answer, or none, nobody is let in and nothing is kept.",
        example: "callout \"http://127.0.0.1:9000/check\" keep=\"5m\"",
        ..Directive::NEW
    },
    Directive {
        name: "time-zone",
        places: &[Place::Users],
        arguments: &[value("name", Kind::TimeZone, "A name of the IANA database.")],
        prose: "The time zone of hours, days and months. Default: that of the system.",
        example: "time-zone \"America/Toronto\"",
        ..Directive::NEW
    },
    Directive {
        name: "api-key",
        places: &[Place::User],
        arguments: &[many(
            "key",
            Kind::ApiKey,
            "The key, or `sha256:` and its digest in hexadecimal digits.",
        )],
        repeatable: true,
        prose: "Keys, each as good as the password: shown in its place, or as \
                `Proxy-Authorization: Bearer KEY`.",
        example: "api-key \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
        ..Directive::NEW
    },
    Directive {
        name: "from",
        places: &[Place::User],
        arguments: &[many("network", Kind::Net, "Addresses of clients.")],
        repeatable: true,
        prose: "Who asks from there is this user, without a password.",
        example: "from \"203.0.113.0/24\"",
        ..Directive::NEW
    },
    Directive {
        name: "expires",
        places: &[Place::User],
        arguments: &[value("moment", Kind::Moment, EXPIRES)],
        prose: "The same as `expires=`.",
        example: "expires \"2027-01-31\"",
        ..Directive::NEW
    },
    Directive {
        name: "bandwidth",
        places: LIMITED,
        arguments: &[value("rate", Kind::Bandwidth, "Both directions together.")],
        prose: "Bytes in a second. The same as `bandwidth=`.",
        example: "bandwidth \"5MiB/s\"",
        ..Directive::NEW
    },
    Directive {
        name: "quota",
        places: LIMITED,
        arguments: &[many("amount", Kind::Quota, "Both directions together.")],
        repeatable: true,
        prose: "Bytes in a day or a month; one of each may stand. At the last byte streams end.",
        example: "quota \"1GiB/day\"",
        ..Directive::NEW
    },
    Directive {
        name: "budget",
        places: LIMITED,
        arguments: &[many("amount", Kind::Budget, "In the unit of the prices.")],
        repeatable: true,
        prose: "Money in a day or a month, by the prices of exits; one of each may stand.",
        example: "budget \"5.00/month\"",
        ..Directive::NEW
    },
    Directive {
        name: "connections",
        places: LIMITED,
        arguments: &[value("count", COUNT, "The most.")],
        prose: "Connections and streams at once. The same as `connections=`.",
        example: "connections 64",
        ..Directive::NEW
    },
    Directive {
        name: "requests",
        places: LIMITED,
        arguments: &[value("rate", Kind::RequestRate, "The most.")],
        prose: "Requests in a time. The same as `requests=`.",
        example: "requests \"50/s\"",
        ..Directive::NEW
    },
    Directive {
        name: "exits",
        places: LIMITED,
        arguments: &[many("name", Kind::Name, "Names of exits, or of pools of them.")],
        repeatable: true,
        prose: "Exits that may be used, and no others.",
        example: "exits \"world\"",
        ..Directive::NEW
    },
    Directive {
        name: "countries",
        places: LIMITED,
        arguments: &[many("country", Kind::Country, "In two letters.")],
        repeatable: true,
        prose: "Countries that may be left from, and no others.",
        example: "countries \"CA\" \"US\"",
        ..Directive::NEW
    },
    Directive {
        name: "hours",
        places: LIMITED,
        arguments: &[many(
            "hours",
            Kind::Hours,
            "Days, times or both. Times that end before they begin end on the next day.",
        )],
        repeatable: true,
        prose: "When requests may be made and tunnels be open: those that are there end with the hours.",
        example: "hours \"Mon-Fri 08:00-18:00\" \"Sat 10:00-14:00\"",
        ..Directive::NEW
    },
    Directive {
        name: "auth",
        places: &[Place::Forward],
        properties: &[
            value("users", Kind::Name, "A `users` set."),
            optional(
                "digest",
                Kind::Flag,
                "Whether Digest (RFC 7616) is offered too, before Basic. It needs passwords as \
                 they are: users from files and databases, and those with a hash, cannot use it.",
            )
            .default("#false"),
            optional("realm", Kind::FieldValue, "What clients show.").default("\"proxy\""),
        ],
        prose: "Asks clients for a name and a password: 407 with HTTP, the user/password method \
                with SOCKS5. SOCKS4 is then refused, but for users who are known by their address.",
        example: "auth users=\"staff\" digest=#true",
        ..Directive::NEW
    },
];
