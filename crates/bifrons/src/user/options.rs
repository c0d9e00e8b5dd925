//! What options say of a user.
//!
//! They become a configuration text, so that there is one language and one set of checks.

use std::path::Path;

use accounts::StoredUser;
use clap::{Args, ValueEnum};
use config::{UserLimits, quote};
use miette::{Report, miette};

/// How the user will show who it is.
#[derive(Debug, Default, Args)]
pub(super) struct Secrets {
    /// The password; others see it in the list of processes
    #[arg(long, value_name = "PASSWORD", group = "secret")]
    pub(super) password: Option<String>,
    /// Read the password from the standard input
    #[arg(long, group = "secret")]
    pub(super) password_stdin: bool,
    /// Make a password, and show it once
    #[arg(long, group = "secret")]
    pub(super) generate: bool,
    /// Make an API key besides those that there are, and show it once
    #[arg(long)]
    pub(super) api_key: bool,
}

/// What the user may. As directives in `user` say it.
#[derive(Debug, Default, Args)]
pub(super) struct Changes {
    /// From these addresses it is this user who asks; may be given several times
    #[arg(long, value_name = "CIDR")]
    pub(super) from: Vec<String>,
    /// From then on the user is refused: 2027-01-31, or 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) expires: Option<String>,
    /// Bytes in a second, both directions together: 5MiB/s
    #[arg(long, value_name = "RATE")]
    pub(super) bandwidth: Option<String>,
    /// Bytes in a day or a month: 10GiB/month
    #[arg(long, value_name = "SIZE/PERIOD")]
    pub(super) quota: Vec<String>,
    /// Money in a day or a month: 5.00/month
    #[arg(long, value_name = "MONEY/PERIOD")]
    pub(super) budget: Vec<String>,
    /// Connections and streams at once
    #[arg(long, value_name = "N")]
    pub(super) connections: Option<u32>,
    /// Requests in a time: 50/s
    #[arg(long, value_name = "N/TIME")]
    pub(super) requests: Option<String>,
    /// An exit that the user may use, or a pool of them; may be given several times
    #[arg(long = "exit", value_name = "NAME")]
    pub(super) exits: Vec<String>,
    /// A country that the user may leave from: CA; may be given several times
    #[arg(long = "country", value_name = "CC")]
    pub(super) countries: Vec<String>,
    /// When the user may ask: "Mon-Fri 08:00-18:00"; may be given several times
    #[arg(long, value_name = "TIMES")]
    pub(super) hours: Vec<String>,
}

/// What can be forgotten of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Field {
    Password,
    ApiKeys,
    From,
    Expires,
    Bandwidth,
    Quota,
    Budget,
    Connections,
    Requests,
    Exits,
    Countries,
    Hours,
}

impl Changes {
    /// Puts what is given in the place of what there was.
    pub(super) fn apply(&self, user: &mut StoredUser) -> Result<(), Report> {
        let given = self.parsed()?;
        if !given.from.is_empty() {
            user.from = given.from;
        }
        user.expires = given.expires.or(user.expires);
        let (new, old) = (given.limits, std::mem::take(&mut user.limits));
        user.limits = UserLimits {
            bandwidth: new.bandwidth.or(old.bandwidth),
            quotas: first(new.quotas, old.quotas),
            budgets: first(new.budgets, old.budgets),
            connections: new.connections.or(old.connections),
            requests: new.requests.or(old.requests),
            exits: first(self.exits()?, old.exits),
            countries: first(new.countries, old.countries),
            hours: first(new.hours, old.hours),
            rules: Vec::new(),
        };
        Ok(())
    }

    fn parsed(&self) -> Result<config::User, Report> {
        let config = config::parse("options", &self.to_kdl(), Path::new(""))?;
        let user = config.users.into_iter().next().and_then(|set| set.users.into_iter().next());
        user.ok_or_else(|| miette!("the options say nothing that can be read"))
    }

    /// A set with this user alone, and what else a configuration needs.
    fn to_kdl(&self) -> String {
        let mut text = String::from("forward \"127.0.0.1:1\"\nusers \"options\" {\n");
        // It is the rest that is looked at.
        text.push_str("    user \"options\" password=\"options\" {\n");
        let one = |value: &Option<String>| value.iter().map(|value| quote(value)).collect();
        let all = |values: &[String]| values.iter().map(|value| quote(value)).collect();
        let connections = self.connections.iter().map(u32::to_string).collect();
        let lines: [(&str, Vec<String>); 9] = [
            ("from", all(&self.from)),
            ("expires", one(&self.expires)),
            ("bandwidth", one(&self.bandwidth)),
            ("quota", all(&self.quota)),
            ("budget", all(&self.budget)),
            ("connections", connections),
            ("requests", one(&self.requests)),
            ("countries", all(&self.countries)),
            ("hours", all(&self.hours)),
        ];
        for (directive, values) in lines {
            for value in values {
                text.push_str(&format!("        {directive} {value}\n"));
            }
        }
        text.push_str("    }\n}\n");
        text
    }

    /// The configuration would look for them; a database does not know which there are.
    fn exits(&self) -> Result<Vec<String>, Report> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        match self.exits.iter().find(|name| name.is_empty() || !name.bytes().all(fits)) {
            Some(name) => Err(miette!("`{name}` is not the name of an exit or a pool")),
            None => Ok(self.exits.clone()),
        }
    }
}

fn first<T>(new: Vec<T>, old: Vec<T>) -> Vec<T> {
    if new.is_empty() { old } else { new }
}

impl Field {
    pub(super) fn clear(self, user: &mut StoredUser) {
        let limits = &mut user.limits;
        match self {
            Self::Password => user.password = None,
            Self::ApiKeys => user.keys.clear(),
            Self::From => user.from.clear(),
            Self::Expires => user.expires = None,
            Self::Bandwidth => limits.bandwidth = None,
            Self::Quota => limits.quotas.clear(),
            Self::Budget => limits.budgets.clear(),
            Self::Connections => limits.connections = None,
            Self::Requests => limits.requests = None,
            Self::Exits => limits.exits.clear(),
            Self::Countries => limits.countries.clear(),
            Self::Hours => limits.hours.clear(),
        }
    }
}
