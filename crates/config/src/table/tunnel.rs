//! Listeners that carry bytes.

use super::{Directive, Place, any, many, optional, value};
use crate::kind::Kind;
use crate::servers::Traffic;

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "tunnel",
        places: &[Place::Top],
        arguments: &[value("address", Kind::Socket, "Where it listens. Port 0 is any free port.")],
        block: Some(Place::Tunnel),
        repeatable: true,
        prose: "Carries bytes from a listener to servers without looking into them. Where a \
                connection goes is told by `to`, or by the name that its TLS ClientHello asks for \
                (`name`): TLS itself goes through untouched, unless there is a `tls`, with which \
                it ends here. A connection that nothing takes is closed.",
        example: "tunnel \"127.0.0.1:5432\" {\n    to \"tcp://10.0.0.1:5432\" \"tcp://10.0.0.2:5432\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "to",
        places: &[Place::Tunnel, Place::TunnelName],
        arguments: &[any(
            "server",
            Kind::ServerUrl(Traffic::Bytes),
            "`tcp://HOST:PORT`, or `tls://HOST:PORT` to make a TLS connection of it. A name is \
             resolved in the background, and each of its addresses is a server; \
             `tcp+srv://_pg._tcp.example.com` asks its SRV records for names and ports.",
        )],
        properties: &[optional("upstream", Kind::Name, "An `upstream`, instead of servers.")],
        block: Some(Place::To),
        prose: "Where connections go. In its block stands what a group of servers may have, but \
                for what needs requests: `sticky`, checks of a path, retries after an answer, \
                hashes of anything but the address, and idle connections.",
        example: "to \"tcp://10.0.0.1:5432\" \"tcp://10.0.0.2:5432\" {\n    balance \"least-requests\"\n    health \"tcp\" every=\"2s\"\n}",
        ..Directive::NEW
    },
    Directive {
        name: "name",
        places: &[Place::Tunnel],
        arguments: &[many(
            "name",
            Kind::ServerName,
            "`example.com`, or `*.example.com` for any name below it.",
        )],
        block: Some(Place::TunnelName),
        repeatable: true,
        prose: "Where connections go whose ClientHello asks for this name. The first that fits is \
                taken, in the order of the file; where none fits, or no name is asked for, `to` of \
                the tunnel is.",
        example: "name \"a.example\" \"*.b.example\" {\n    to \"tcp://10.0.0.1:443\"\n}",
        ..Directive::NEW
    },
];
