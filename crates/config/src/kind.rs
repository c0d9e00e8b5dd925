//! What a value of a directive may be, and how each kind is read. A value that has been read
//! is typed; nothing after this looks at text again.

use std::path::Path;

use crate::fault::Fault;
use crate::model::{ByteLimit, LogTarget};
use crate::names::SiteName;
use crate::servers::{RequestUrl, ServerUrl, Traffic};
use crate::suggest::{choices, nearest};
use crate::syntax::Value;
use crate::typed::Typed;
use crate::words::Burst;
use crate::{amount, calendar, dns, fields, labels, names, parents, paths, sources, syntax, words};

mod describe;

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any string.
    Text,
    /// A string that is not empty: a name, a password, a token.
    Name,
    /// One of these words; those of `planned` belong to a later version.
    Choice {
        /// The words that this version knows.
        words: &'static [&'static str],
        /// The words of a later version.
        planned: &'static [&'static str],
    },
    /// A way out: `direct`, or the name of a pool.
    Exit,
    /// A whole number.
    Integer {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// `#true` or `#false`.
    Flag,
    /// A duration; `zero` tells whether it may be none at all.
    Duration {
        /// Whether it may be zero.
        zero: bool,
    },
    /// An amount of bytes.
    Bytes {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// An amount of bytes, or `unlimited`.
    ByteLimit,
    /// Bytes per second, or `off`.
    Rate,
    /// Requests in a time.
    RequestRate,
    /// Bytes in a time.
    ByteRate,
    /// As many as may come at once: a number, or an amount of bytes.
    Burst,
    /// A percentage.
    Percent {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// Statuses and ranges of statuses.
    Statuses,
    /// A status, or `timeout`.
    RetryCondition,
    /// What a health check asks.
    Probe,
    /// What a hash looks at.
    HashKey,
    /// What a limit holds for each of.
    LimitKey,
    /// The path of a file; relative to the folder of the configuration.
    File,
    /// `off`, `stdout` or the path of a file.
    LogTarget,
    /// `ADDRESS:PORT`.
    Socket,
    /// An address or a network in CIDR notation.
    Net,
    /// A port or a range of ports.
    Ports,
    /// `http://host[:port]` of a site.
    SiteName,
    /// `http://host[:port][/base]` of a server.
    ServerUrl(Traffic),
    /// `http://host[:port]/path?query` of a request that we make ourselves.
    RequestUrl,
    /// A DNS name.
    DnsName,
    /// The path pattern of a route.
    PathPattern,
    /// A path that is taken off.
    PathPrefix,
    /// A path that replaces another; a final `*` stands for the rest.
    PathTemplate,
    /// A path or an absolute URL; a final `*` stands for the rest.
    Location,
    /// A request method.
    Method,
    /// The name of a field.
    FieldName,
    /// The name of a field, or a prefix followed by `*`.
    FieldPattern,
    /// The value of a field.
    FieldValue,
    /// A media type.
    MediaType,
    /// A pseudonym for `Via`, or `#false`.
    Pseudonym,
    /// A pattern for targets of the forward face.
    Target,
    /// A user name.
    UserName,
    /// The hash of a password.
    PasswordHash,
    /// The name of a cookie.
    CookieName,
    /// What something that must not be guessed is derived from.
    Secret,
    /// A host, perhaps with a port.
    Authority,
    /// A name that TLS clients ask for, or a pattern for such names.
    ServerName,
    /// An address, without a port.
    Address,
    /// A DNS server.
    NameServer,
    /// A name or an address that a certificate shows.
    CertificateName,
    /// A country, in two letters.
    Country,
    /// A place or a tag.
    Label,
    /// The name of an exit.
    ExitName,
    /// The URL of a parent proxy.
    ParentUrl,
    /// The path of a file, or a URL that it is fetched from.
    ListSource,
    /// An `http` or `https` URL of something that we fetch.
    WebUrl,
    /// Path and query of a request that we make.
    RequestTarget,
    /// When another exit is chosen.
    Rotate,
    /// A field, and perhaps what its value contains.
    FieldSign,
    /// A regular expression.
    Regex,
    /// A media type, or all of a kind.
    MediaRange,
    /// `HOST:PORT`.
    HostPort,
    /// Bytes per second.
    Bandwidth,
    /// Bytes in a day or a month.
    Quota,
    /// Money in a day or a month.
    Budget,
    /// Money.
    Money,
    /// Times of the week.
    Hours,
    /// A day or a moment.
    Moment,
    /// The name of a time zone.
    TimeZone,
    /// An API key or its digest.
    ApiKey,
    /// A part of the key of a cache.
    CacheKey,
    /// What a `PURGE` shows.
    PurgeToken,
    /// A media type, or a pattern for such types.
    TypePattern,
}

impl Kind {
    /// Reads a value. Relative paths of files are put behind `base`.
    pub(crate) fn read(self, value: &Value, base: &Path) -> Result<Typed, Fault> {
        match (self, value) {
            (Self::Integer { min, max }, Value::Integer(number)) => {
                integer(*number, min, max).map(Typed::Integer)
            }
            (Self::Ports, Value::Integer(number)) => {
                integer(*number, 1, 65535).map(|port| Typed::Ports((port as u16, port as u16)))
            }
            (Self::Statuses | Self::RetryCondition | Self::Money, Value::Integer(number)) => {
                self.read_text(&number.to_string(), base)
            }
            (Self::Burst, Value::Integer(number)) => integer(*number, 1, u32::MAX.into())
                .map(|number| Typed::Burst(Burst::Requests(number))),
            (Self::Flag, Value::Bool(flag)) => Ok(Typed::Flag(*flag)),
            (Self::Pseudonym, Value::Bool(false)) => Ok(Typed::Pseudonym(None)),
            (Self::Integer { .. } | Self::Flag, _) => Err(self.mismatch(value)),
            (_, Value::String(text)) => self.read_text(text, base),
            _ => Err(self.mismatch(value)),
        }
    }

    fn read_text(self, text: &str, base: &Path) -> Result<Typed, Fault> {
        if text.is_empty() && self != Self::Text && self != Self::FieldValue {
            return Err(Fault::new(format!("an empty string where {} belongs", self.describe())));
        }
        let owned = || Typed::Text(text.to_owned());
        match self {
            Self::Integer { .. } | Self::Flag => Err(self.mismatch(&Value::String(text.into()))),
            Self::Text | Self::Name | Self::Exit => Ok(owned()),
            Self::Choice { words, planned } => choice(text, words, planned).map(|()| owned()),
            Self::Duration { zero } => amount::duration(text, zero).map(Typed::Duration),
            Self::Bytes { min, max } => amount::bytes_within(text, min, max)
                .map(|bytes| Typed::ByteLimit(ByteLimit::Bytes(bytes))),
            Self::ByteLimit => amount::byte_limit(text).map(Typed::ByteLimit),
            Self::Rate => amount::rate(text).map(Typed::Rate),
            Self::RequestRate => amount::request_rate(text).map(Typed::Frequency),
            Self::ByteRate => amount::byte_rate(text).map(Typed::Frequency),
            Self::Burst => amount::bytes_within(text, 1, 1 << 40)
                .map(|bytes| Typed::Burst(Burst::Bytes(bytes))),
            Self::Percent { min, max } => amount::percent(text, min, max).map(Typed::Integer),
            Self::Statuses => amount::statuses(text).map(Typed::Statuses),
            Self::RetryCondition => words::retry_on(text).map(Typed::RetryOn),
            Self::Probe => words::probe(text).map(Typed::Probe),
            Self::HashKey => words::hash_key(text).map(Typed::HashKey),
            Self::LimitKey => words::per(text).map(Typed::Per),
            Self::File => sources::file(text, base).map(Typed::File),
            Self::LogTarget => log_target(text, base).map(Typed::LogTarget),
            Self::Socket => names::socket(text).map(Typed::Socket),
            Self::Net => names::net(text).map(Typed::Net),
            Self::Ports => amount::ports(text).map(Typed::Ports),
            Self::SiteName => SiteName::parse(text).map(Typed::SiteName),
            Self::ServerUrl(traffic) => ServerUrl::parse(text, traffic).map(Typed::ServerUrl),
            Self::RequestUrl => RequestUrl::parse(text).map(Typed::RequestUrl),
            Self::DnsName => names::dns_name(text).map(Typed::Text),
            Self::PathPattern => paths::pattern(text).map(Typed::PathPattern),
            Self::PathPrefix => paths::prefix(text).map(Typed::Text),
            Self::PathTemplate => paths::template(text).map(Typed::PathTemplate),
            Self::Location => paths::location(text).map(Typed::PathTemplate),
            Self::Method => fields::method(text).map(Typed::Text),
            Self::FieldName => fields::name(text).map(|()| owned()),
            Self::FieldPattern => fields::pattern(text).map(|()| owned()),
            Self::FieldValue => fields::value(text).map(|()| owned()),
            Self::MediaType => fields::media_type(text).map(|()| owned()),
            Self::Pseudonym => {
                fields::pseudonym(text).map(|()| Typed::Pseudonym(Some(text.to_owned())))
            }
            Self::Target => names::target(text).map(Typed::Target),
            Self::UserName => fields::user_name(text).map(|()| owned()),
            Self::PasswordHash => fields::password_hash(text).map(|()| owned()),
            Self::CookieName => fields::cookie_name(text).map(|()| owned()),
            Self::Secret => fields::secret(text).map(|()| owned()),
            Self::Authority => fields::authority(text).map(|()| owned()),
            Self::ServerName => names::sni(text).map(Typed::Host),
            _ => self.read_gateway(text, base),
        }
    }

    /// What only the forward face, exits and the cache have.
    fn read_gateway(self, text: &str, base: &Path) -> Result<Typed, Fault> {
        let owned = || Typed::Text(text.to_owned());
        match self {
            Self::Address => names::address(text).map(Typed::Address),
            Self::NameServer => dns::server(text).map(Typed::NameServer),
            Self::CertificateName => dns::certificate_name(text).map(Typed::Text),
            Self::Country => labels::country(text).map(Typed::Country),
            Self::Label => labels::label(text).map(Typed::Text),
            Self::ExitName => labels::exit_name(text).map(|()| owned()),
            Self::ParentUrl => parents::hop(text).map(Typed::Hop),
            Self::ListSource => sources::list(text, base).map(Typed::Source),
            Self::WebUrl => sources::web_url(text).map(|()| owned()),
            Self::RequestTarget => paths::target(text).map(|()| owned()),
            Self::Rotate => words::rotate(text).map(Typed::Rotate),
            Self::FieldSign => labels::field_sign(text).map(Typed::FieldSign),
            Self::Regex => sources::regex(text).map(|()| owned()),
            Self::MediaRange => sources::media_range(text).map(Typed::Text),
            Self::HostPort => fields::host_port(text).map(|()| owned()),
            Self::Bandwidth => amount::bandwidth(text).map(Typed::Integer),
            Self::Quota => calendar::quota(text).map(Typed::Quota),
            Self::Budget => calendar::budget(text).map(Typed::Budget),
            Self::Money => calendar::money(text).map(Typed::Integer),
            Self::Hours => calendar::hours(text).map(Typed::Hours),
            Self::Moment => calendar::moment(text).map(Typed::Integer),
            Self::TimeZone => calendar::time_zone(text).map(|()| owned()),
            Self::ApiKey => fields::api_key(text).map(|()| owned()),
            Self::CacheKey => words::cache_key(text).map(Typed::KeyPart),
            Self::PurgeToken => fields::purge_token(text).map(|()| owned()),
            Self::TypePattern => sources::type_pattern(text).map(Typed::Text),
            // `read_text` has all others.
            _ => Err(Fault::new(format!("expected {}", self.describe()))),
        }
    }

    fn mismatch(self, value: &Value) -> Fault {
        let fault =
            Fault::new(format!("expected {}, found {value}", self.describe())).label("wrong type");
        match (self, value) {
            (Self::Integer { .. }, Value::String(text)) if text.parse::<u64>().is_ok() => {
                fault.help(format!("write it without quotes: {text}"))
            }
            (Self::Flag, Value::String(text)) if text == "true" || text == "false" => {
                fault.help(format!("write `#{text}`"))
            }
            (Self::Duration { .. }, Value::Integer(number)) => {
                fault.help(format!("a duration has a unit: \"{number}s\""))
            }
            (Self::Money, Value::Float(number)) => {
                fault.help(format!("write it in quotes: \"{number}\""))
            }
            (Self::Bandwidth, Value::Integer(number)) => {
                fault.help(format!("a rate has a unit: \"{number}B/s\""))
            }
            (Self::Bytes { .. } | Self::ByteLimit, Value::Integer(number)) => {
                fault.help(format!("a size has a unit: \"{number}B\""))
            }
            (Self::Rate | Self::ByteRate, Value::Integer(number)) => {
                fault.help(format!("a rate has a unit: \"{number}B/s\""))
            }
            (Self::RequestRate, Value::Integer(number)) => {
                fault.help(format!("a rate is for a time: \"{number}/s\""))
            }
            (Self::Percent { .. }, Value::Integer(number)) => {
                fault.help(format!("write \"{number}%\""))
            }
            (Self::Socket, Value::Integer(number)) => fault.help(format!(
                "write \"127.0.0.1:{number}\" for this machine only, \"[::]:{number}\" for every \
                 address"
            )),
            (_, Value::Integer(number)) => {
                let text = number.to_string();
                match self.read_text(&text, Path::new("")) {
                    Ok(_) => fault.help(format!("write it in quotes: {}", syntax::quote(&text))),
                    Err(_) => fault,
                }
            }
            _ => fault,
        }
    }

    /// Whether a value of this shape can be meant for this kind at all; decides which of
    /// several arguments a value is.
    pub(crate) fn accepts_shape(self, value: &Value) -> bool {
        match value {
            Value::String(_) => !matches!(self, Self::Integer { .. } | Self::Flag),
            Value::Integer(_) => matches!(
                self,
                Self::Integer { .. }
                    | Self::Ports
                    | Self::Statuses
                    | Self::RetryCondition
                    | Self::Money
                    | Self::Burst
            ),
            Value::Bool(_) => matches!(self, Self::Flag | Self::Pseudonym),
            Value::Float(_) | Value::Null => false,
        }
    }

    /// Whether it is one of a few words, and this value is one of them.
    pub(crate) fn has_word(self, value: &Value) -> bool {
        matches!((self, value), (Self::Choice { words, .. }, Value::String(text))
            if words.contains(&text.as_str()))
    }
}

fn integer(number: i128, min: u64, max: u64) -> Result<u64, Fault> {
    u64::try_from(number).ok().filter(|number| (min..=max).contains(number)).ok_or_else(|| {
        let range = if max == u64::MAX { format!("from {min}") } else { format!("{min} to {max}") };
        Fault::new(format!("{number} is out of range")).label(format!("must be {range}"))
    })
}

fn choice(text: &str, words: &[&str], planned: &[&str]) -> Result<(), Fault> {
    if words.contains(&text) {
        return Ok(());
    }
    if planned.contains(&text) {
        return Err(Fault::planned(text).help(format!("this version has {}", choices(words))));
    }
    let help = match nearest(text, words.iter().copied()) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => format!("write {}", choices(words)),
    };
    Err(Fault::new(format!("{} is not known here", syntax::quote(text)))
        .label("not known")
        .help(help))
}

fn log_target(text: &str, base: &Path) -> Result<LogTarget, Fault> {
    match text {
        "off" => Ok(LogTarget::Off),
        "stdout" => Ok(LogTarget::Stdout),
        _ => sources::file(text, base).map(LogTarget::File),
    }
}
