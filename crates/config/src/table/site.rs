//! `site` and what stands in it besides routes.

use super::{Count, Directive, Parameter, Place, any, many, optional, value};
use crate::kind::Kind;

/// The pair of files in `tls`.
const CERT: Parameter = optional("cert", Kind::File, "Certificate chain, leaf first (PEM).");
const KEY: Parameter = optional("key", Kind::File, "Its private key (PEM).");

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "site",
        places: &[Place::Top],
        arguments: &[many(
            "name",
            Kind::SiteName,
            "`http://HOST[:PORT]` or `https://HOST[:PORT]`. HOST is a name, `*.name` (any name \
             below it), `*` (any host), or an address (the site listens on it and answers every \
             host that no other site of that listener has). All names of a site have the same \
             scheme; the ports are 80 and 443 where none is written.",
        )],
        properties: &[any(
            "listen",
            Kind::Socket,
            "Where to listen, instead of what the names say: an address listens on itself, \
             `localhost` on `127.0.0.1` and `[::1]`, any other name on all addresses of the \
             machine. Port 0 is any free port.",
        )],
        block: Some(Place::Site),
        repeatable: true,
        prose: "A site of the reverse face: the names it answers to, and routes to servers. A site \
                with a single destination has `to`, `redirect` or `respond` directly in its \
                block, which is the route `/*`.",
        example: "site \"http://example.com\" \"http://www.example.com\" {\n    to \"http://127.0.0.1:9000\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "listen",
        places: &[Place::Site],
        arguments: &[many("address", Kind::Socket, "Address and port.")],
        repeatable: true,
        prose: "Where the site listens, instead of what its names say. The same as `listen=`.",
        example: "listen \"127.0.0.1:8080\" \"[::1]:8080\"",
        ..Directive::NEW
    },
    Directive {
        name: "tls",
        places: &[Place::Site, Place::Forward, Place::Tunnel],
        arguments: &[],
        properties: &[
            Parameter { count: Count::One, ..CERT },
            Parameter { count: Count::One, ..KEY },
            optional(
                "min-version",
                Kind::Choice { words: &["1.2", "1.3"], planned: &[] },
                "The lowest version of TLS that is accepted.",
            )
            .default("\"1.2\""),
        ],
        block: Some(Place::SiteTls),
        repeatable: true,
        prose: "A certificate. Several may stand; the name that a client asks for decides which is \
                shown, and the first is shown where none fits. An `https` site needs one. A \
                forward listener with one takes TLS and plain connections on the same port; in a \
                tunnel with one TLS ends here, and what is inside goes on.",
        example: "tls cert=\"cert.pem\" key=\"key.pem\" min-version=\"1.3\"",
        ..Directive::NEW
    },
    Directive {
        name: "client-auth",
        places: &[Place::SiteTls],
        arguments: &[value(
            "mode",
            Kind::Choice { words: &["required", "optional"], planned: &[] },
            "Whether clients without a certificate are served. One with a wrong certificate \
             never is.",
        )],
        properties: &[Parameter {
            count: Count::One,
            ..optional("ca", Kind::File, "The authorities that sign client certificates (PEM).")
        }],
        prose: "Asks clients for a certificate. Without it none is asked for. It holds for the \
                whole site, whichever of its `tls` it stands in.",
        example: "client-auth \"required\" ca=\"clients.pem\"",
        ..Directive::NEW
    },
    Directive {
        name: "header",
        places: &[Place::Site, Place::Route],
        block: Some(Place::FieldRules),
        repeatable: true,
        prose: "Rules for the fields of responses, carried out in the order of the file; those of \
                the site first, then those of the route.",
        example: "header {\n    remove \"Server\" \"X-Powered-By\"\n    set \"X-Frame-Options\" \"DENY\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "request-header",
        places: &[Place::Site, Place::Route],
        block: Some(Place::FieldRules),
        repeatable: true,
        prose: "Rules for the fields of requests on their way to a server, carried out in the \
                order of the file; those of the site first, then those of the route.",
        example: "request-header {\n    remove \"X-Debug-*\"\n    set \"X-Env\" \"production\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "remove",
        places: &[Place::FieldRules],
        arguments: &[many(
            "name",
            Kind::FieldPattern,
            "Names, in any case; a final `*` stands for any rest of a name.",
        )],
        repeatable: true,
        prose: "Removes all fields of these names.",
        example: "remove \"Server\" \"X-Debug-*\"",
        ..Directive::NEW
    },
    Directive {
        name: "set",
        places: &[Place::FieldRules],
        arguments: &[
            value("name", Kind::FieldName, "Name of the field, sent as written."),
            value("value", Kind::FieldValue, "Its value."),
        ],
        repeatable: true,
        prose: "Replaces all fields of this name by one, or adds it. Fields that frame the message \
                or belong to one connection (`Content-Length`, `Connection`, …) are the proxy's \
                and cannot be set.",
        example: "set \"Strict-Transport-Security\" \"max-age=63072000\"",
        ..Directive::NEW
    },
    Directive {
        name: "add",
        places: &[Place::FieldRules],
        arguments: &[
            value("name", Kind::FieldName, "Name of the field, sent as written."),
            value("value", Kind::FieldValue, "Its value."),
        ],
        repeatable: true,
        prose: "Adds one more field of this name, whether there are others or not.",
        example: "add \"Link\" \"</style.css>; rel=preload\"",
        ..Directive::NEW
    },
    Directive {
        name: "error-page",
        places: &[Place::Site, Place::Route],
        arguments: &[
            many("status", Kind::Integer { min: 400, max: 599 }, "The statuses it stands for."),
            optional("text", Kind::Text, "The page itself."),
        ],
        properties: &[
            optional(
                "file",
                Kind::File,
                "A file with the page, instead of the text; read again when it has changed.",
            ),
            optional(
                "content-type",
                Kind::MediaType,
                "Its `Content-Type`. Default: `text/html; charset=utf-8` for a file whose name \
                 ends in `.html` or `.htm`, else `text/plain; charset=utf-8`.",
            ),
            optional(
                "origin",
                Kind::Flag,
                "Whether it also replaces the page of a server that answered with this status, \
                 and not only our own.",
            )
            .default("#false"),
        ],
        repeatable: true,
        prose: "A page in place of ours for answers with these statuses. The status stays. The \
                first that fits counts, those of the route before those of the site.",
        example: "error-page 502 503 504 file=\"502.html\"\nerror-page 404 \"nothing here\" origin=#true",
        ..Directive::NEW
    },
];
