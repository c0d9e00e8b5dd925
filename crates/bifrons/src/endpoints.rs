//! `bifrons endpoints`: addresses of the proxy that are ready for use, with what is asked of the
//! exit and a session of its own in each.

mod access;
mod offer;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use egress::{SessionWish, Wish, dialect};
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use serde_json::{Value, json};

use access::Session;
pub(crate) use access::{Access, time};
use offer::Offer;

use crate::encoding::encoded;

pub(crate) const HELP: &str = "\
With --sticky each address is a session of its own: all that goes through it leaves by the same
exit. Without, they are all the same address, whose exits rotate. With --config the listener, the
dialect, the ports of sessions and the password are those of the configuration.

  bifrons endpoints --user alice --password secret --country ca --sticky 10m --count 20
  bifrons endpoints --config bifrons.kdl --user alice --country us --city new_york --sticky
  bifrons endpoints --config bifrons.kdl --user alice --ports --count 50
  bifrons endpoints --user alice --password-file - --dialect decodo --country de \\
      --listener proxy.example:7000 --format host:port:user:pass";

/// Which addresses are wanted.
#[derive(Debug, Args)]
pub(crate) struct Endpoints {
    #[command(flatten)]
    access: Access,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// How each is written; `json` is one array of them all
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Form::Url)]
    format: Form,
}

/// How an address is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Url,
    #[value(name = "host:port:user:pass")]
    Line,
    Json,
}

/// `bifrons endpoints`.
pub(crate) fn run(options: &Endpoints) -> Result<ExitCode, Report> {
    let endpoints = make(&options.access, options.count)?;
    match options.format {
        Form::Url => endpoints.iter().for_each(|endpoint| println!("{}", endpoint.url())),
        Form::Line => endpoints.iter().for_each(|endpoint| println!("{}", endpoint.line())),
        Form::Json => {
            let all: Vec<Value> = endpoints.iter().map(Endpoint::json).collect();
            println!("{:#}", Value::from(all));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An address of the proxy, and what is shown to it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// `http`, `https`, `socks5` or `socks5h`.
    pub(crate) scheme: &'static str,
    /// A name or an address, in brackets if it is one of IPv6.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What goes into the user name.
    pub(crate) name: String,
    pub(crate) password: String,
    session: Option<SessionWish>,
}

impl Endpoint {
    /// `http://127.0.0.1:3128`, without credentials.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port)
    }

    /// `http://name:password@127.0.0.1:3128` (RFC 3986 §3.2.1).
    pub(crate) fn url(&self) -> String {
        let (name, password) = (encoded(&self.name), encoded(&self.password));
        format!("{}://{name}:{password}@{}:{}", self.scheme, self.host, self.port)
    }

    /// As lists of proxies have it: nothing is encoded.
    fn line(&self) -> String {
        format!("{}:{}:{}:{}", self.host, self.port, self.name, self.password)
    }

    fn json(&self) -> Value {
        let session = self.session.as_ref();
        json!({
            "url": self.url(),
            "scheme": self.scheme,
            "host": self.host.trim_matches(['[', ']']),
            "port": self.port,
            "username": self.name,
            "password": self.password,
            "session": session.map(|session| &session.id),
            "ttl_seconds": session.and_then(|session| session.ttl).map(|ttl| ttl.as_secs()),
            "strict": session.is_some_and(|session| session.strict),
        })
    }
}

/// Makes `count` of them, each with a session of its own if there are any.
pub(crate) fn make(access: &Access, count: u32) -> Result<Vec<Endpoint>, Report> {
    let offer = access.offer()?;
    let password = access.password(&offer)?;
    let session = access.session(&offer)?;
    if count > 1 && matches!(session, Session::Named(_)) {
        return Err(miette!(
            help = "leave --session out, and each gets a name of its own",
            "one session cannot be {count} sessions"
        ));
    }
    let mut ids = HashSet::new();
    (0..count)
        .map(|number| {
            let (port, said) = match &session {
                Session::None => (offer.port, None),
                // The port says it.
                Session::Ports(from, to) => match port(*from, *to, number) {
                    Some(port) => (port, None),
                    None => return Err(miette!("there are {} ports, not {count}", to - from + 1)),
                },
                Session::Named(session) => (offer.port, Some(session.clone())),
                Session::Random(session) => {
                    let id = new_id(&mut ids)?;
                    (offer.port, Some(SessionWish { id, ..session.clone() }))
                }
            };
            let wish = Wish { session: said.clone(), ..access.wish(&offer) };
            let (name, secret) = compose(&offer, &access.user, &password, &wish)?;
            let session = match session {
                Session::Ports(..) => Some(SessionWish::of_port(port)),
                _ => said,
            };
            let (scheme, host) = (offer.scheme, offer.host.clone());
            Ok(Endpoint { scheme, host, port, name, password: secret, session })
        })
        .collect()
}

fn port(from: u16, to: u16, number: u32) -> Option<u16> {
    let port = u32::from(from) + number;
    u16::try_from(port).ok().filter(|port| *port <= to)
}

fn compose(
    offer: &Offer,
    user: &str,
    password: &str,
    wish: &Wish,
) -> Result<(String, String), Report> {
    dialect::compose(offer.dialect, user, password, wish).map_err(|error| match &*error.key {
        "ttl" => miette!(
            help = "write --sticky without a time: sessions last as long as the pool says",
            "{error}"
        ),
        _ => miette!("{error}"),
    })
}

/// Characters of the names of sessions: all that every dialect lets pass.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// So many of them: 60 bits, so that sessions of others are not met by chance.
const ID_LENGTH: usize = 12;

/// A name that is not among those, which it joins.
fn new_id(ids: &mut HashSet<Box<str>>) -> Result<Box<str>, Report> {
    loop {
        let mut random = [0; ID_LENGTH];
        getrandom::fill(&mut random).into_diagnostic().wrap_err("no random numbers")?;
        let letters = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        let id: Box<str> = letters.collect::<String>().into();
        if ids.insert(id.clone()) {
            return Ok(id);
        }
    }
}
