//! What a proxy offers: by its configuration, or as far as options say it.

use std::path::Path;
use std::time::Duration;

use config::{Config, Dialect, ExitPool, Forward, Password, WayOut};
use miette::{Report, miette};

use super::Access;
use super::access::Scheme;
use crate::program::{folder, read};

/// What a listener offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) scheme: &'static str,
    /// In brackets if it is an address of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) dialect: Dialect,
    /// Whether exits can be asked for.
    pub(super) has_exits: bool,
    /// The pool that they are in.
    pub(super) pool: Option<String>,
    /// Ports that are sessions.
    pub(super) ports: Option<(u16, u16)>,
    /// How long a session lasts at most.
    pub(super) longest: Option<Duration>,
    /// The user's, where it is written as it is; empty where none is asked for.
    pub(super) password: Option<String>,
}

impl Offer {
    /// Of a proxy of which nothing is known but what options say.
    pub(super) fn of_options(access: &Access) -> Self {
        let (host, port) = access.listener.clone().unwrap_or_else(|| ("127.0.0.1".into(), 3128));
        Self {
            scheme: access.scheme.as_str(),
            host,
            port,
            dialect: Dialect::Native,
            has_exits: true,
            pool: None,
            ports: None,
            longest: None,
            password: None,
        }
    }

    /// Of a proxy that runs on this file.
    pub(super) fn of_file(path: &Path, access: &Access) -> Result<Self, Report> {
        let name = path.display().to_string();
        let config = config::parse(&name, &read(path)?, folder(path))?;
        Self::of(&config, access)
    }

    pub(super) fn of(config: &Config, access: &Access) -> Result<Self, Report> {
        let forward = listener(config, access)?;
        if access.scheme == Scheme::Https && forward.tls.is_none() {
            return Err(miette!("the listener {} speaks no TLS: give it `tls`", forward.name));
        }
        let (host, port) = place(forward, access)?;
        let pool = pool(config, forward);
        let password = match &forward.auth {
            None => Some(String::new()),
            Some(auth) => config.users.get(auth.users).and_then(|set| {
                let user = set.users.iter().find(|user| user.name == access.user)?;
                match &user.password {
                    Some(Password::Plain(password)) => Some(password.clone()),
                    _ => None,
                }
            }),
        };
        Ok(Self {
            scheme: access.scheme.as_str(),
            host,
            port,
            dialect: pool.map_or(Dialect::Native, |pool| pool.dialect),
            has_exits: pool.is_some(),
            pool: pool.map(|pool| pool.name.clone()),
            ports: forward.sticky_ports,
            longest: pool.map(|pool| pool.sessions.max_ttl),
            password,
        })
    }
}

/// The listener that is meant.
fn listener<'a>(config: &'a Config, access: &Access) -> Result<&'a Forward, Report> {
    let all = &config.forwards;
    let names = || {
        let names: Vec<&str> = all.iter().map(|forward| &*forward.name).collect();
        format!("--listener, with the port of one of: {}", names.join(", "))
    };
    let Some((host, port)) = &access.listener else {
        return match all.as_slice() {
            [one] => Ok(one),
            [] => Err(miette!("the configuration has no listener of the forward face")),
            _ => Err(miette!(help = names(), "which listener?")),
        };
    };
    let exact = format!("{host}:{port}");
    let here = |forward: &&Forward| forward.listen.port() == *port;
    if let Some(forward) = all.iter().find(|forward| forward.listen.to_string() == exact) {
        return Ok(forward);
    }
    // Clients may know it by another name than it has here.
    match all.iter().filter(here).collect::<Vec<_>>().as_slice() {
        [one] => Ok(one),
        _ => Err(miette!(help = names(), "there is no listener {exact}")),
    }
}

/// Where clients find it.
fn place(forward: &Forward, access: &Access) -> Result<(String, u16), Report> {
    if let Some(place) = &access.listener {
        return Ok(place.clone());
    }
    let (ip, port) = (forward.listen.ip(), forward.listen.port());
    if ip.is_unspecified() || port == 0 {
        return Err(miette!(
            help = format!("--listener HOST:{port}"),
            "{} does not say where clients find it",
            forward.name
        ));
    }
    let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    Ok((host, port))
}

/// The pool that a listener leaves by, or the first that one of its rules does.
fn pool<'a>(config: &'a Config, forward: &Forward) -> Option<&'a ExitPool> {
    let rules = forward.rules.iter().filter_map(|rule| rule.exit);
    let pools = [forward.exit].into_iter().chain(rules).filter_map(|way| match way {
        WayOut::Pool(index) => Some(index),
        WayOut::Direct => None,
    });
    pools.filter_map(|index| config.exits.get(index)).next()
}
