//! The directive table: every directive of the language, once. The walk that checks a
//! configuration, the reference manual and the completion of names all read it.

mod cache;
mod exits;
mod forward;
mod gate;
mod pools;
mod routing;
mod rules;
mod settings;
mod site;
mod top;
mod tunnel;
mod upstream;
mod users;

use crate::kind::Kind;

/// One directive.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// Where it may stand.
    pub places: &'static [Place],
    /// Values without a name, in this order.
    pub arguments: &'static [Parameter],
    /// Values with a name, in any order.
    pub properties: &'static [Parameter],
    /// What may stand in its block; `None`: it takes no block.
    pub block: Option<Place>,
    /// Whether it may stand several times in one place.
    pub repeatable: bool,
    /// Whether a change takes effect on a reload; else at the next start.
    pub reloadable: bool,
    /// The version that has it.
    pub since: Since,
    /// What it does, whole sentences in Markdown.
    pub prose: &'static str,
    /// An example, as it stands in the first of its places.
    pub example: &'static str,
}

/// A value of a directive.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// The name of a property; for an argument, what the manual calls it.
    pub name: &'static str,
    /// What it must be.
    pub kind: Kind,
    /// How often it stands there.
    pub count: Count,
    /// What holds where it is not written, as it would be written.
    pub default: Option<&'static str>,
    /// The version that has it.
    pub since: Since,
    /// What it means.
    pub prose: &'static str,
}

/// How often a value stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Exactly once.
    One,
    /// At most once.
    Optional,
    /// Once or more.
    Many,
    /// Any number of times.
    Any,
}

/// Since when there is something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// This version has it.
    Version(&'static str),
    /// No version yet: whoever writes it is told so by name.
    Planned,
}

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Outside any block.
    Top,
    /// In `site`.
    Site,
    /// In the `tls` of a site, of a forward listener or of a tunnel.
    SiteTls,
    /// In `route`.
    Route,
    /// In `to`.
    To,
    /// In `upstream`.
    Upstream,
    /// In `forward-auth`.
    ForwardAuth,
    /// In `header` and `request-header`.
    FieldRules,
    /// In `forwarded`.
    Forwarded,
    /// In `limits`, except that of a route.
    Limits,
    /// In the `limits` of a route.
    RouteLimits,
    /// In `timeouts`.
    Timeouts,
    /// In `users`.
    Users,
    /// In `user`.
    User,
    /// In `default`.
    UserDefaults,
    /// In `callout`.
    Callout,
    /// In `forward`.
    Forward,
    /// In `pac`.
    Pac,
    /// In `intercept`.
    Intercept,
    /// In `exits`.
    Exits,
    /// In `tunnel`.
    Tunnel,
    /// In the `name` of a tunnel.
    TunnelName,
    /// In `cache` at the top.
    CacheStore,
    /// In the `cache` of a site, a route or a forward listener.
    Cache,
    /// In `compress`.
    Compress,
}

/// Every directive, by place.
pub static DIRECTIVES: &[Directive] = &ALL;

const PARTS: [&[Directive]; 13] = [
    top::DIRECTIVES,
    site::DIRECTIVES,
    routing::DIRECTIVES,
    upstream::DIRECTIVES,
    gate::DIRECTIVES,
    settings::DIRECTIVES,
    users::DIRECTIVES,
    forward::DIRECTIVES,
    rules::DIRECTIVES,
    exits::DIRECTIVES,
    pools::DIRECTIVES,
    tunnel::DIRECTIVES,
    cache::DIRECTIVES,
];

static ALL: [Directive; count()] = joined();

const fn count() -> usize {
    let (mut part, mut count) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
}

const fn joined() -> [Directive; count()] {
    let mut all = [Directive::NEW; count()];
    let (mut part, mut at) = (0, 0);
    while part < PARTS.len() {
        let mut entry = 0;
        while entry < PARTS[part].len() {
            all[at] = PARTS[part][entry];
            entry += 1;
            at += 1;
        }
        part += 1;
    }
    all
}

/// The version of the directives that the first release has.
const FIRST: Since = Since::Version("0.1");

impl Directive {
    /// What the entries of the table have in common: no values, no block, once, reloadable.
    const NEW: Self = Self {
        name: "",
        places: &[],
        arguments: &[],
        properties: &[],
        block: None,
        repeatable: false,
        reloadable: true,
        since: FIRST,
        prose: "",
        example: "",
    };

    /// The directive of this name in this place.
    #[must_use]
    pub fn find(name: &str, place: Place) -> Option<&'static Self> {
        DIRECTIVES.iter().find(|entry| entry.name == name && entry.places.contains(&place))
    }

    /// The argument or property of this name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.arguments.iter().chain(self.properties).find(|parameter| parameter.name == name)
    }

    /// `to SERVER… upstream=NAME { … }`.
    #[must_use]
    pub fn usage(&self) -> String {
        let mut out = self.name.to_owned();
        for argument in self.arguments {
            let name = argument.name.to_ascii_uppercase();
            out.push_str(&match argument.count {
                Count::One => format!(" {name}"),
                Count::Optional => format!(" [{name}]"),
                Count::Many => format!(" {name}…"),
                Count::Any => format!(" [{name}…]"),
            });
        }
        for property in self.properties {
            if property.since == Since::Planned {
                continue;
            }
            let text = format!("{}={}", property.name, property.kind.word());
            out.push_str(&match property.count {
                Count::One => format!(" {text}"),
                Count::Optional => format!(" [{text}]"),
                Count::Many => format!(" {text}…"),
                Count::Any => format!(" [{text}…]"),
            });
        }
        if self.block.is_some() {
            out.push_str(" { … }");
        }
        out
    }
}

impl Place {
    /// Every place, in the order of the manual.
    pub const ALL: [Self; 25] = [
        Self::Top,
        Self::Site,
        Self::SiteTls,
        Self::Route,
        Self::To,
        Self::Upstream,
        Self::ForwardAuth,
        Self::FieldRules,
        Self::Forwarded,
        Self::Limits,
        Self::RouteLimits,
        Self::Timeouts,
        Self::Users,
        Self::User,
        Self::UserDefaults,
        Self::Callout,
        Self::Forward,
        Self::Pac,
        Self::Intercept,
        Self::Exits,
        Self::Tunnel,
        Self::TunnelName,
        Self::CacheStore,
        Self::Cache,
        Self::Compress,
    ];

    /// As a sentence goes on: ``in `site` ``.
    #[must_use]
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Top => "outside any block",
            Self::Site => "in `site`",
            Self::SiteTls => "in the `tls` of a site, a forward listener or a tunnel",
            Self::Route => "in `route`",
            Self::To => "in `to`",
            Self::Upstream => "in `upstream`",
            Self::ForwardAuth => "in `forward-auth`",
            Self::FieldRules => "in `header` or `request-header`",
            Self::Forwarded => "in `forwarded`",
            Self::Limits => "in `limits`",
            Self::RouteLimits => "in the `limits` of a route",
            Self::Timeouts => "in `timeouts`",
            Self::Users => "in `users`",
            Self::User => "in `user`",
            Self::UserDefaults => "in `default`",
            Self::Callout => "in `callout`",
            Self::Forward => "in `forward`",
            Self::Pac => "in `pac`",
            Self::Intercept => "in `intercept`",
            Self::Exits => "in `exits`",
            Self::Tunnel => "in `tunnel`",
            Self::TunnelName => "in the `name` of a tunnel",
            Self::CacheStore => "in the `cache` at the top",
            Self::Cache => "in the `cache` of a site, a route or a forward listener",
            Self::Compress => "in `compress`",
        }
    }
}

/// A value that must stand once.
const fn value(name: &'static str, kind: Kind, prose: &'static str) -> Parameter {
    Parameter { name, kind, count: Count::One, default: None, since: FIRST, prose }
}

/// A value that may stand once.
const fn optional(name: &'static str, kind: Kind, prose: &'static str) -> Parameter {
    Parameter { count: Count::Optional, ..value(name, kind, prose) }
}

/// Values of which one must stand.
const fn many(name: &'static str, kind: Kind, prose: &'static str) -> Parameter {
    Parameter { count: Count::Many, ..value(name, kind, prose) }
}

/// Values of which none must stand.
const fn any(name: &'static str, kind: Kind, prose: &'static str) -> Parameter {
    Parameter { count: Count::Any, ..value(name, kind, prose) }
}

/// Some values, and behind them those that several directives have in common.
const fn with<const OWN: usize, const COMMON: usize, const ALL: usize>(
    own: [Parameter; OWN],
    common: [Parameter; COMMON],
) -> [Parameter; ALL] {
    assert!(OWN + COMMON == ALL);
    let mut all = [value("", Kind::Text, ""); ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < OWN { own[at] } else { common[at - OWN] };
        at += 1;
    }
    all
}

/// A value of a later version.
const fn later(name: &'static str, prose: &'static str) -> Parameter {
    Parameter { since: Since::Planned, ..any(name, Kind::Text, prose) }
}

impl Parameter {
    const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

#[cfg(test)]
mod tests;
