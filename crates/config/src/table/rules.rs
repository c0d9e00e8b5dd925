//! Rules about targets: of listeners, and of users.

use super::{Directive, Parameter, Place, any, optional, with};
use crate::kind::Kind;

const ARGUMENTS: &[Parameter] = &[any(
    "target",
    Kind::Target,
    "`example.com` (with everything below it), `*.example.com` (only what is below it), an \
     address, a network, or `*`.",
)];

/// What every rule may say.
const RULE: [Parameter; 9] = [
    any(
        "list",
        Kind::ListSource,
        "A list of domains: one a line, in the form of a hosts file, or as Adblock has rules for \
         domains. A file is read again when it has changed.",
    ),
    optional(
        "every",
        Kind::Duration { zero: false },
        "How often a list is fetched whose URL is written. Default: 1 h.",
    ),
    any("regex", Kind::Regex, "A regular expression, searched for in the name (lower case)."),
    any("port", Kind::Ports, "Only these ports: `443` or `8000-9999`. Default: all."),
    any("method", Kind::Method, "Only these methods; that of tunnels and SOCKS is `CONNECT`."),
    any("agent", Kind::Regex, "Only where this is found in `User-Agent`."),
    any("country", Kind::Country, "Only targets there, by `geoip` and the address."),
    any("hours", Kind::Hours, "Only then."),
    any(
        "type",
        Kind::MediaRange,
        "Only answers of this type, where they can be seen: `text/html`, `video/*`. The request \
         itself is not judged by such a rule.",
    ),
];

const USERS: Parameter = any("user", Kind::UserName, "Only these users.");

const ALLOW: [Parameter; 11] =
    with([USERS, optional("exit", Kind::Exit, "The way out of what it lets through.")], RULE);

const DENY: [Parameter; 10] = with([USERS], RULE);

/// Rules of users stand under their names, and the listener says the way out.
const OF_USERS: &[Place] = &[Place::User, Place::UserDefaults];

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "allow",
        places: &[Place::Forward],
        arguments: ARGUMENTS,
        properties: &ALLOW,
        repeatable: true,
        prose: "Lets requests through that are for one of these targets (a pattern, a list or an \
                expression; none written: any) and of which all else is true that it says. \
                Networks that are closed by default (loopback, private, link-local) are opened \
                only by an address or a network here: a domain, `*` or a list lets through what \
                is open anyway, since whoever owns a name decides where it leads. Of all `allow` \
                and `deny`, the first that fits decides, in the order of the file.",
        example: "allow \"10.0.0.0/8\" port=443",
        ..Directive::NEW
    },
    Directive {
        name: "deny",
        places: &[Place::Forward],
        arguments: ARGUMENTS,
        properties: &DENY,
        repeatable: true,
        prose: "Refuses such requests. Networks are compared with what a name resolves to.",
        example: "deny \"*.ads.example\" list=\"blocklist.txt\"\ndeny regex=\"^ads[0-9]+\\\\.\" user=\"alice\" hours=\"Mon-Fri 08:00-18:00\"",
        ..Directive::NEW
    },
    Directive {
        name: "allow",
        places: OF_USERS,
        arguments: ARGUMENTS,
        properties: &RULE,
        repeatable: true,
        prose: "As `allow` of a listener, asked before those. It does not open what the listener \
                closes: where a rule of the user allows, those of the listener are asked still.",
        example: "allow \"*.shop.example\"",
        ..Directive::NEW
    },
    Directive {
        name: "deny",
        places: OF_USERS,
        arguments: ARGUMENTS,
        properties: &RULE,
        repeatable: true,
        prose: "As `deny` of a listener, asked before those.",
        example: "deny \"*.social.example\"",
        ..Directive::NEW
    },
];
