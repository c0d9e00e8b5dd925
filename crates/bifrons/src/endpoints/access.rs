//! The options that say which proxy, who asks it, and what for.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use config::{Country, Dialect, ResolveAt};
use egress::dialect::continent_code;
use egress::{SessionWish, Wish};
use miette::{IntoDiagnostic, Report, WrapErr, miette};

use super::offer::Offer;

/// The heading of what is asked of the exit.
const EXIT: &str = "The exit";
/// The heading of what is said about the proxy.
const PROXY: &str = "The proxy";

/// Which proxy, who asks it, and what for.
#[derive(Debug, Default, Args)]
pub(crate) struct Access {
    /// Who asks
    #[arg(long, value_name = "NAME")]
    pub(super) user: String,
    /// The password [default: that of the configuration, if it is written there as it is]
    #[arg(long, value_name = "TEXT", conflicts_with = "password_file")]
    password: Option<String>,
    /// A file with the password, which other users of this machine may see on a command line;
    /// `-` is the standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// The country, by its two letters
    #[arg(long, value_name = "CC", value_parser = country, help_heading = EXIT)]
    country: Option<Country>,
    /// The continent, by its two letters or its name
    #[arg(long, value_name = "NAME", value_parser = continent, help_heading = EXIT)]
    continent: Option<Box<str>>,
    /// The state or province
    #[arg(long, value_name = "NAME", value_parser = place, help_heading = EXIT)]
    state: Option<Box<str>>,
    /// The city
    #[arg(long, value_name = "NAME", value_parser = place, help_heading = EXIT)]
    city: Option<Box<str>>,
    /// The postal code
    #[arg(long, value_name = "CODE", value_parser = lower, help_heading = EXIT)]
    zip: Option<Box<str>>,
    /// The autonomous system
    #[arg(long, value_name = "NUMBER", help_heading = EXIT)]
    asn: Option<u32>,
    /// A tag that it has (Bright Data: the zone); may be given several times
    #[arg(long = "tag", value_name = "TAG", help_heading = EXIT)]
    tags: Vec<Box<str>>,
    /// The exit itself, by its name
    #[arg(long, value_name = "NAME", help_heading = EXIT)]
    exit: Option<Box<str>>,
    /// Where names are resolved
    #[arg(long, value_enum, value_name = "here|exit", hide_possible_values = true)]
    #[arg(help_heading = EXIT)]
    resolve: Option<Resolve>,
    /// The same exit for so long (90s, 10m, 2h, 1d) [default: as long as the pool says]
    #[arg(long, value_name = "TIME", num_args = 0..=1, value_parser = time, help_heading = EXIT)]
    #[allow(clippy::option_option, reason = "with and without a time, or not at all")]
    sticky: Option<Option<Duration>>,
    /// Fail when the exit is gone, instead of going on with another
    #[arg(long, help_heading = EXIT)]
    strict: bool,
    /// The session of this name, instead of a new one
    #[arg(long, value_name = "ID", conflicts_with = "ports", help_heading = EXIT)]
    session: Option<Box<str>>,
    /// Sessions by the port that is connected to [default: the ports of the configuration]
    #[arg(long, value_name = "FROM-TO", num_args = 0..=1, value_parser = ports)]
    #[arg(conflicts_with_all = ["sticky", "strict"], help_heading = EXIT)]
    #[allow(clippy::option_option, reason = "with and without numbers, or not at all")]
    ports: Option<Option<(u16, u16)>>,

    /// The configuration that it runs on
    #[arg(long, value_name = "FILE", help_heading = PROXY)]
    pub(super) config: Option<PathBuf>,
    /// Where clients find it; with --config which of its listeners, by the port or the address
    /// [default: 127.0.0.1:3128, or the only listener]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port, help_heading = PROXY)]
    pub(super) listener: Option<(String, u16)>,
    /// How it is spoken to; `socks5h` has it resolve names
    #[arg(long, value_enum, value_name = "http|https|socks5h", hide_possible_values = true)]
    #[arg(default_value_t = Scheme::Http, help_heading = PROXY)]
    pub(super) scheme: Scheme,
    /// How it reads user names: native, decodo, brightdata, oxylabs, iproyal [default: that of
    /// the configuration, or native]
    #[arg(long, value_enum, value_name = "NAME", hide_possible_values = true)]
    #[arg(help_heading = PROXY)]
    dialect: Option<DialectName>,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Scheme {
    #[default]
    Http,
    Https,
    Socks5,
    Socks5h,
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Resolve {
    Here,
    Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DialectName {
    Native,
    Decodo,
    #[value(name = "brightdata", alias = "bright-data")]
    BrightData,
    Oxylabs,
    #[value(name = "iproyal")]
    IpRoyal,
}

/// The sessions that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    None,
    /// One for each address, by a name that is made for it.
    Random(SessionWish),
    /// This one.
    Named(SessionWish),
    /// One for each address, by its port: these.
    Ports(u16, u16),
}

impl Access {
    /// What there is to be used.
    pub(super) fn offer(&self) -> Result<Offer, Report> {
        let mut offer = match &self.config {
            Some(path) => Offer::of_file(path, self)?,
            None => Offer::of_options(self),
        };
        if let Some(dialect) = self.dialect {
            offer.dialect = match dialect {
                DialectName::Native => Dialect::Native,
                DialectName::Decodo => Dialect::Decodo,
                DialectName::BrightData => Dialect::BrightData,
                DialectName::Oxylabs => Dialect::Oxylabs,
                DialectName::IpRoyal => Dialect::IpRoyal,
            };
        }
        if !offer.has_exits && (self.wish(&offer) != Wish::default() || self.is_sticky()) {
            return Err(miette!(
                help = "give it `exit` and the name of a pool of `exits`",
                "the listener has no exits to choose from"
            ));
        }
        Ok(offer)
    }

    fn is_sticky(&self) -> bool {
        self.sticky.is_some() || self.session.is_some() || self.strict || self.ports.is_some()
    }

    /// The password: the one that is given, else the one of the configuration.
    pub(super) fn password(&self, offer: &Offer) -> Result<String, Report> {
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        let Some(path) = &self.password_file else {
            return offer.password.clone().ok_or_else(|| {
                miette!(
                    help = "--password TEXT, or --password-file FILE",
                    "the password of {} is needed",
                    self.user
                )
            });
        };
        let mut text = String::new();
        let read = if path.as_os_str() == "-" {
            std::io::stdin().read_to_string(&mut text)
        } else {
            std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
        };
        read.into_diagnostic().wrap_err_with(|| format!("cannot read {}", path.display()))?;
        // Editors end a file with a line end, which is no part of the password.
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }

    /// What is asked of the exit, without the session.
    pub(super) fn wish(&self, offer: &Offer) -> Wish {
        let mut tags = self.tags.clone();
        if let (Dialect::BrightData, Some(pool), true) =
            (offer.dialect, &offer.pool, tags.is_empty())
        {
            // User names of this dialect have a zone, and the pool is one.
            tags.push(pool.as_str().into());
        }
        Wish {
            continent: self.continent.clone(),
            country: self.country,
            state: self.state.clone(),
            city: self.city.clone(),
            zip: self.zip.clone(),
            asn: self.asn,
            tags,
            exit: self.exit.clone(),
            resolve: self.resolve.map(|resolve| match resolve {
                Resolve::Here => ResolveAt::Here,
                Resolve::Exit => ResolveAt::Exit,
            }),
            session: None,
        }
    }

    /// The sessions that are wanted, as far as there can be such.
    pub(super) fn session(&self, offer: &Offer) -> Result<Session, Report> {
        if let Some(ports) = self.ports {
            let (from, to) = ports.or(offer.ports).ok_or_else(|| {
                miette!(
                    help = "name them: --ports 10001-10100",
                    "no ports are known that are sessions"
                )
            })?;
            return Ok(Session::Ports(from, to));
        }
        if !self.is_sticky() {
            return Ok(Session::None);
        }
        let ttl = self.sticky.flatten();
        if let (Some(ttl), Some(longest)) = (ttl, offer.longest)
            && ttl > longest
        {
            let longest = config::show::duration(longest);
            return Err(miette!("sessions of this listener last {longest} at most"));
        }
        let named = |id: Box<str>| SessionWish { id, ttl, strict: self.strict };
        Ok(match &self.session {
            Some(id) => Session::Named(named(id.clone())),
            None => Session::Random(named(Box::default())),
        })
    }
}

fn country(text: &str) -> Result<Country, String> {
    Country::parse(text).ok_or_else(|| "a country is written by its two letters".to_owned())
}

fn continent(text: &str) -> Result<Box<str>, String> {
    let code = continent_code(&place(text)?);
    code.map(Box::from)
        .ok_or_else(|| "a continent is one of af, an, as, eu, na, oc, sa, or its name".to_owned())
}

/// As labels have it.
fn place(text: &str) -> Result<Box<str>, String> {
    Ok(text.trim().to_lowercase().replace([' ', '-'], "_").into())
}

fn lower(text: &str) -> Result<Box<str>, String> {
    Ok(text.to_ascii_lowercase().into())
}

/// `90s`, `10m`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let count: u32 = text.strip_suffix(*unit)?.parse().ok().filter(|count| *count > 0)?;
        Some(Duration::from_secs(u64::from(count) * seconds))
    });
    parsed.ok_or_else(|| "a time is written 90s, 10m, 2h or 1d".to_owned())
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('-').and_then(|(from, to)| {
        let (from, to) = (from.parse().ok()?, to.parse().ok()?);
        (0 < from && from <= to).then_some((from, to))
    });
    parsed.ok_or_else(|| "ports are written FROM-TO, such as 10001-10100".to_owned())
}

/// `proxy.example:3128`, `[::1]:3128`.
pub(crate) fn host_port(text: &str) -> Result<(String, u16), String> {
    let wrong = || "an address is written HOST:PORT, such as proxy.example:3128".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let fits = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let fits =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !host.is_empty() && host.bytes().all(fits)
        }
    };
    if fits { Ok((host.to_owned(), port)) } else { Err(wrong()) }
}
