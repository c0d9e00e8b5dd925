//! How values are described to people: in the manual, in usage lines and in error messages.

use super::Kind;
use crate::suggest::choices;

impl Kind {
    /// As the manual and error messages describe it: `a duration such as "10s"`.
    #[must_use]
    pub fn describe(self) -> String {
        let text = match self {
            Self::Text => "a string",
            Self::Name => "a string that is not empty",
            Self::Choice { words, .. } => return choices(words),
            Self::Exit => "`\"direct\"`, or the name of an `exits`",
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
            Self::Address => "an address such as `\"192.0.2.1\"`",
            Self::NameServer => "an address, or a URL such as `\"tls://1.1.1.1\"`",
            Self::CertificateName => "a name or an address that a certificate shows",
            Self::Country => "a country such as `\"CA\"`",
            Self::Label => "a word such as `\"new_york\"`",
            Self::ExitName => "a name of letters, digits, `_`, `.` and `-`",
            Self::ParentUrl => "a URL such as `\"http://user:password@10.0.0.1:3128\"`",
            Self::ListSource => "the path of a file, or an `http` or `https` URL",
            Self::WebUrl => "an `http` or `https` URL",
            Self::RequestTarget => "a path such as `\"/check\"`",
            Self::Rotate => "`\"per-request\"`, `\"per-connection\"`, a duration, or `\"every 5\"`",
            Self::FieldSign => "a field such as `\"cf-mitigated\"`, or `\"x-block: captcha\"`",
            Self::Regex => "a regular expression",
            Self::MediaRange => "a media type such as `\"text/html\"`, or `\"video/*\"`",
            Self::HostPort => "a host and a port such as `\"proxy.example:3128\"`",
            Self::Bandwidth => "a rate such as `\"5MiB/s\"`",
            Self::Quota => "an amount such as `\"10GiB/month\"` or `\"1GiB/day\"`",
            Self::Budget => "an amount such as `\"5.00/month\"`",
            Self::Money => "an amount such as `\"0.50\"`",
            Self::Hours => "hours such as `\"Mon-Fri 08:00-18:00\"`",
            Self::Moment => "a day such as `\"2027-01-31\"`, or `\"2027-01-31T18:00:00Z\"`",
            Self::TimeZone => "a time zone such as `\"America/Toronto\"`",
            Self::CacheKey => {
                "`\"path\"`, `\"query\"`, `\"query:NAME\"`, `\"header:NAME\"`, `\"cookie:NAME\"`, \
                 `\"host\"` or `\"scheme\"`"
            }
            Self::PurgeToken => "a token of at least 8 characters",
            Self::TypePattern => {
                "a media type such as `\"text/html\"`, `\"text/*\"` or `\"*/*+json\"`"
            }
            Self::ApiKey => "a key of at least 16 characters, or `\"sha256:…\"`",
        };
        text.to_owned()
    }

    /// As the usage line of a directive shows it: `DURATION`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Text | Self::FieldValue | Self::Secret | Self::PurgeToken => "TEXT",
            Self::MediaType | Self::MediaRange | Self::TypePattern => "TYPE",
            Self::Name
            | Self::UserName
            | Self::DnsName
            | Self::FieldName
            | Self::FieldPattern
            | Self::CookieName
            | Self::ServerName
            | Self::CertificateName
            | Self::ExitName
            | Self::Exit
            | Self::TimeZone
            | Self::Pseudonym => "NAME",
            Self::Choice { .. }
            | Self::Probe
            | Self::RetryCondition
            | Self::Label
            | Self::Rotate => "WORD",
            Self::Integer { .. } => "NUMBER",
            Self::Burst | Self::Quota | Self::Budget | Self::Money => "AMOUNT",
            Self::Percent { .. } => "PERCENT",
            Self::Statuses => "STATUSES",
            Self::HashKey | Self::LimitKey | Self::ApiKey | Self::CacheKey => "KEY",
            Self::Authority => "HOST",
            Self::Flag => "#true",
            Self::Duration { .. } => "DURATION",
            Self::Bytes { .. } | Self::ByteLimit => "SIZE",
            Self::Rate | Self::RequestRate | Self::ByteRate | Self::Bandwidth => "RATE",
            Self::File | Self::LogTarget | Self::ListSource => "FILE",
            Self::Address => "ADDRESS",
            Self::NameServer => "SERVER",
            Self::Country => "COUNTRY",
            Self::FieldSign => "FIELD",
            Self::Regex => "REGEX",
            Self::HostPort => "HOST:PORT",
            Self::Hours => "HOURS",
            Self::Moment => "DAY",
            Self::Socket => "ADDRESS:PORT",
            Self::Net => "NETWORK",
            Self::Ports => "PORTS",
            Self::SiteName
            | Self::ServerUrl(_)
            | Self::RequestUrl
            | Self::ParentUrl
            | Self::WebUrl
            | Self::Location => "URL",
            Self::PathPattern | Self::PathPrefix | Self::PathTemplate | Self::RequestTarget => {
                "PATH"
            }
            Self::Method => "METHOD",
            Self::Target => "PATTERN",
            Self::PasswordHash => "HASH",
        }
    }
}
