//! What a value of a directive may be, and how each kind is read. A value that has been read
//! is typed; nothing after this looks at text again.

use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::model::{ByteLimit, LogTarget};
use crate::names::SiteName;
use crate::servers::{RequestUrl, ServerUrl, Traffic};
use crate::suggest::{choices, nearest};
use crate::syntax::Value;
use crate::typed::Typed;
use crate::words::Burst;
use crate::{amount, fields, names, paths, syntax, words};

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
    /// The way out of a forward listener: `direct`; any other name belongs to a later version.
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
            (Self::Statuses | Self::RetryCondition, Value::Integer(number)) => {
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
            Self::Text | Self::Name => Ok(owned()),
            Self::Choice { words, planned } => choice(text, words, planned).map(|()| owned()),
            Self::Exit => exit(text).map(|()| owned()),
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
            Self::File => file(text, base).map(Typed::File),
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
                    | Self::Burst
            ),
            Value::Bool(_) => matches!(self, Self::Flag | Self::Pseudonym),
            Value::Float(_) | Value::Null => false,
        }
    }

    /// As the manual and error messages describe it: `a duration such as "10s"`.
    #[must_use]
    pub fn describe(self) -> String {
        let text = match self {
            Self::Text => "a string",
            Self::Name => "a string that is not empty",
            Self::Choice { words, .. } => return choices(words),
            Self::Exit => "`\"direct\"`",
            Self::Integer { min, max: u64::MAX } => return format!("a number from {min}"),
            Self::Integer { min, max } => return format!("a number from {min} to {max}"),
            Self::Flag => "`#true` or `#false`",
            Self::Duration { .. } => "a duration such as `\"10s\"`",
            Self::Bytes { .. } => "a size such as `\"64KiB\"`",
            Self::ByteLimit => "a size such as `\"64KiB\"`, or `\"unlimited\"`",
            Self::Rate => "a rate such as `\"240B/s\"`, or `\"off\"`",
            Self::RequestRate => "a rate such as `\"100/s\"` or `\"5/10s\"`",
            Self::ByteRate => "a rate such as `\"10MiB/s\"`",
            Self::Burst => "a number, or a size such as `\"1MiB\"`",
            Self::Percent { min, max } => {
                return format!("a percentage from `\"{min}%\"` to `\"{max}%\"`");
            }
            Self::Statuses => "statuses such as `\"200-399\"` or `\"200,204\"`",
            Self::RetryCondition => "a status such as `\"503\"`, or `\"timeout\"`",
            Self::Probe => "a path such as `\"/healthz\"`, `\"tcp\"` or `\"grpc\"`",
            Self::HashKey => "`\"client-ip\"`, `\"header:NAME\"`, `\"cookie:NAME\"` or `\"path\"`",
            Self::LimitKey => "`\"client-ip\"`, `\"header:NAME\"`, `\"site\"` or `\"route\"`",
            Self::File => "the path of a file",
            Self::LogTarget => "the path of a file, `\"stdout\"` or `\"off\"`",
            Self::Socket => "an address with a port such as `\"127.0.0.1:8080\"`",
            Self::Net => "an address or a network such as `\"10.0.0.0/8\"`",
            Self::Ports => "a port such as `443` or a range such as `8000-9999`",
            Self::SiteName => "a URL without a path such as `\"http://example.com\"`",
            Self::ServerUrl(traffic) => {
                return format!("a URL such as `\"{}\"`", traffic.example());
            }
            Self::RequestUrl => "a URL such as `\"http://127.0.0.1:9091/verify\"`",
            Self::DnsName => "a DNS name such as `\"example.com\"`",
            Self::PathPattern => "a path such as `\"/status\"` or `\"/api/*\"`",
            Self::PathPrefix => "a path such as `\"/api\"`",
            Self::PathTemplate => "a path such as `\"/v2/*\"`",
            Self::Location => "a path or a URL such as `\"/app/\"`",
            Self::Method => "a method such as `\"GET\"`",
            Self::FieldName => "a field name such as `\"X-Frame-Options\"`",
            Self::FieldPattern => "a field name such as `\"Server\"`, or `\"X-Debug-*\"`",
            Self::FieldValue => "a field value",
            Self::MediaType => "a media type such as `\"text/html; charset=utf-8\"`",
            Self::Pseudonym => "a name such as `\"proxy1\"`, or `#false`",
            Self::Target => "a domain, an address or a network such as `\"*.example.com\"`",
            Self::UserName => "a user name without a colon",
            Self::PasswordHash => "an Argon2 or bcrypt hash",
            Self::CookieName => "the name of a cookie",
            Self::Secret => "a string of at least 16 characters",
            Self::Authority => "a host such as `\"example.com\"`",
            Self::ServerName => "a name such as `\"example.com\"` or `\"*.example.com\"`",
        };
        text.to_owned()
    }

    /// As the usage line of a directive shows it: `DURATION`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Text | Self::FieldValue | Self::Secret => "TEXT",
            Self::MediaType => "TYPE",
            Self::Name
            | Self::UserName
            | Self::DnsName
            | Self::FieldName
            | Self::FieldPattern
            | Self::CookieName
            | Self::ServerName
            | Self::Pseudonym => "NAME",
            Self::Choice { .. } | Self::Exit | Self::Probe | Self::RetryCondition => "WORD",
            Self::Integer { .. } => "NUMBER",
            Self::Burst => "AMOUNT",
            Self::Percent { .. } => "PERCENT",
            Self::Statuses => "STATUSES",
            Self::HashKey | Self::LimitKey => "KEY",
            Self::Authority => "HOST",
            Self::Flag => "#true",
            Self::Duration { .. } => "DURATION",
            Self::Bytes { .. } | Self::ByteLimit => "SIZE",
            Self::Rate | Self::RequestRate | Self::ByteRate => "RATE",
            Self::File | Self::LogTarget => "FILE",
            Self::Socket => "ADDRESS:PORT",
            Self::Net => "NETWORK",
            Self::Ports => "PORTS",
            Self::SiteName | Self::ServerUrl(_) | Self::RequestUrl | Self::Location => "URL",
            Self::PathPattern | Self::PathPrefix | Self::PathTemplate => "PATH",
            Self::Method => "METHOD",
            Self::Target => "PATTERN",
            Self::PasswordHash => "HASH",
        }
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

fn exit(text: &str) -> Result<(), Fault> {
    if text == "direct" {
        return Ok(());
    }
    Err(Fault::planned(text)
        .help("this version goes out directly: write `exit \"direct\"`, or leave it out"))
}

fn file(text: &str, base: &Path) -> Result<PathBuf, Fault> {
    if text.contains('\0') {
        return Err(Fault::new("a path with a NUL in it"));
    }
    Ok(base.join(text))
}

fn log_target(text: &str, base: &Path) -> Result<LogTarget, Fault> {
    match text {
        "off" => Ok(LogTarget::Off),
        "stdout" => Ok(LogTarget::Stdout),
        _ => file(text, base).map(LogTarget::File),
    }
}
