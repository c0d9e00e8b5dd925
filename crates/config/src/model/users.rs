//! Users of the proxy and of sites.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{Country, Span, Spanned, TargetRule};

/// A named set of users.
#[derive(Debug, Clone, PartialEq)]
pub struct UserSet {
    /// Its name.
    pub name: String,
    /// Users written in the configuration.
    pub users: Vec<User>,
    /// htpasswd files.
    pub files: Vec<Spanned<PathBuf>>,
    /// SQLite files, managed by `bifrons user`.
    pub databases: Vec<Spanned<PathBuf>>,
    /// A server that is asked about users that nothing else knows.
    pub callout: Option<Callout>,
    /// What users may of whom nothing else is said.
    pub defaults: UserLimits,
    /// The time zone of hours, days and months (IANA name); `None`: that of the system.
    pub time_zone: Option<String>,
    /// Where it stands.
    pub span: Span,
}

impl UserSet {
    /// A set without users.
    #[must_use]
    pub fn new(name: &str, span: Span) -> Self {
        Self {
            name: name.to_owned(),
            users: Vec::new(),
            files: Vec::new(),
            databases: Vec::new(),
            callout: None,
            defaults: UserLimits::default(),
            time_zone: None,
            span,
        }
    }
}

/// One user.
#[derive(Clone, PartialEq)]
pub struct User {
    /// Without a colon.
    pub name: String,
    /// How the password is checked; `None`: it has none.
    pub password: Option<Password>,
    /// API keys, each as it is or as `sha256:` and 64 hexadecimal digits. One is shown as
    /// `Proxy-Authorization: Bearer KEY`, or in place of the password.
    pub keys: Vec<String>,
    /// From these addresses it is this user who asks, without credentials.
    pub from: Vec<IpNet>,
    /// From this moment on (seconds since 1970, UTC) it is refused.
    pub expires: Option<u64>,
    /// What it may. What is `None` or empty here is as in [`UserSet::defaults`].
    pub limits: UserLimits,
    /// Where it stands.
    pub span: Span,
}

impl User {
    /// A user who has no password and no limits of its own.
    #[must_use]
    pub fn new(name: &str, span: Span) -> Self {
        Self {
            name: name.to_owned(),
            password: None,
            keys: Vec::new(),
            from: Vec::new(),
            expires: None,
            limits: UserLimits::default(),
            span,
        }
    }
}

impl std::fmt::Debug for User {
    /// Never shows the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(|_| "…").collect();
        f.debug_struct("User")
            .field("name", &self.name)
            .field("password", &self.password)
            .field("keys", &keys)
            .field("from", &self.from)
            .field("expires", &self.expires)
            .field("limits", &self.limits)
            .field("span", &self.span)
            .finish()
    }
}

/// How a password is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// As it is.
    Plain(String),
    /// `$argon2id$…` (PHC string) or `$2y$…` (bcrypt).
    Hash(String),
}

impl std::fmt::Debug for Password {
    /// Never shows the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(…)",
            Self::Hash(_) => "Hash(…)",
        })
    }
}

/// What a user may. What is `None` or empty is not limited.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserLimits {
    /// Bytes per second, both directions together.
    pub bandwidth: Option<u64>,
    /// Bytes in a day or a month, both directions together.
    pub quotas: Vec<Quota>,
    /// Money in a day or a month, by the prices of exits.
    pub budgets: Vec<Budget>,
    /// Connections and streams at once.
    pub connections: Option<u32>,
    /// Requests, and per which time.
    pub requests: Option<(u64, Duration)>,
    /// Exits, by their names or those of their pools.
    pub exits: Vec<String>,
    /// Countries that it may leave from.
    pub countries: Vec<Country>,
    /// When it may ask.
    pub hours: Vec<Hours>,
    /// Rules about targets, asked before those of the listener. An `allow` here does not open
    /// what the listener closes.
    pub rules: Vec<TargetRule>,
}

/// Bytes in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// So many.
    pub bytes: u64,
    /// In this.
    pub per: Period,
}

/// Money in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// In millionths of the unit of money.
    pub amount: u64,
    /// In this.
    pub per: Period,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
}

/// Times of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// The days on which they begin.
    pub days: Weekdays,
    /// From this minute of the day.
    pub from: u16,
    /// Until this minute of the day, exclusive; not greater than `from`: of the next day.
    pub until: u16,
}

/// Days of the week, one bit each: Monday is bit 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weekdays(pub u8);

/// A server that is asked whether a name and a password belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callout {
    /// Index into [`super::Config::upstreams`].
    pub upstream: usize,
    /// Path and query.
    pub target: String,
    /// How long a yes is believed. Default 1 min.
    pub keep: Duration,
    /// How long a no is believed. Default 5 s.
    pub keep_refused: Duration,
    /// Where it stands.
    pub span: Span,
}
