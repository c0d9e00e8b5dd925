//! Rules about targets in the form in which they are asked.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use config::show::list_source;
use config::{ConfigError, RuleContext, Span, Spanned, TargetPattern, TargetRule, Verdict, WayOut};
use ipnet::IpNet;
use jiff::tz::TimeZone;
use regex::Regex;

use crate::asked::{Asked, HostRef, Stage};
use crate::context::{Context, name_pattern};
use crate::domains::{DomainSet, Scope};
use crate::hours::hours_text;
use crate::lists::DomainList;
use crate::nets::{NetSet, embedded_v4};
use crate::rule_set::RuleSources;

/// Which rule decided: its place among the rules of the listener or of the user, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleId(pub(crate) u32);

impl RuleId {
    /// Its place among the rules of its set, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One `allow` or `deny`.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) verdict: Verdict,
    /// As it was written, or nearly: for logs.
    pub(crate) text: String,
    pub(crate) span: Span,
    /// The way out of what it lets through, where it names one.
    pub(crate) exit: Option<WayOut>,
    any: bool,
    nets: NetSet,
    /// Without those of length 0, which name nothing in particular.
    named_nets: NetSet,
    domains: DomainSet,
    patterns: Vec<Regex>,
    pub(crate) lists: Vec<Arc<DomainList>>,
    ports: Vec<(u16, u16)>,
    context: Context,
}

/// Whether a rule is about a request, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is.
    Yes(Ground),
    /// Only the address can tell, and it is not known.
    Address,
    /// It is not.
    No(Unfit),
}

/// By what a rule is about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// It is about all of them.
    Any,
    /// The address lies in one of its networks.
    Network,
    /// It has the name, or a domain of it.
    Name,
    /// One of its regular expressions is found in the name: the first that is, from 0.
    Pattern(usize),
    /// One of its lists has the name: the first that has, from 0.
    List(usize),
}

/// What of a rule is not true of a request; the first thing that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The port.
    Port,
    /// The method.
    Method,
    /// The user.
    User,
    /// The time.
    Hours,
    /// The user agent.
    Agent,
    /// The type of the answer, which a request does not have.
    Type,
    /// The target.
    Target,
    /// The country of the address.
    Country,
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "it is about every target",
            Self::Network => "a network of it holds the address",
            Self::Name => "it has the name",
            Self::Pattern(_) => "a regular expression of it is found in the name",
            Self::List(_) => "a list of it has the name",
        })
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "it is about other ports",
            Self::Method => "it is about other methods",
            Self::User => "it is about other users",
            Self::Hours => "it is about other times",
            Self::Agent => "it is about other user agents",
            Self::Type => "it is about types of answers",
            Self::Target => "it is about other targets",
            Self::Country => "it is about other countries",
        })
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes(ground) => ground.fmt(f),
            Self::Address => f.write_str("the address decides, which is not known"),
            Self::No(unfit) => unfit.fmt(f),
        }
    }
}

impl Rule {
    /// Compiles a rule and reads its lists.
    pub(crate) fn build(
        rule: &TargetRule,
        zone: &TimeZone,
        sources: &mut RuleSources,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let mut built = Self {
            verdict: rule.verdict,
            text: text(rule),
            span: rule.span,
            exit: rule.exit,
            // Of a rule that names no target everything else that it says has to be true.
            any: rule.targets.is_empty(),
            nets: NetSet::default(),
            named_nets: NetSet::default(),
            domains: DomainSet::default(),
            patterns: Vec::new(),
            lists: Vec::new(),
            ports: rule.ports.clone(),
            context: Context::build(&rule.context, rule.span, sources.geo(), zone, errors),
        };
        let mut nets: Vec<IpNet> = Vec::new();
        for target in &rule.targets {
            match target {
                TargetPattern::Any => built.any = true,
                TargetPattern::Net(net) => nets.push(*net),
                TargetPattern::Domain(name) => built.add_domain(name, Scope::Domain, errors),
                TargetPattern::Subdomains(suffix) => {
                    let parent = suffix.strip_prefix('.').unwrap_or(suffix);
                    built.add_domain(parent, Scope::Subdomains, errors);
                }
                TargetPattern::Regex(regex) => built.patterns.extend(name_pattern(regex, errors)),
                TargetPattern::List(list) => match sources.open_list(&list.value) {
                    Ok(list) => built.lists.push(list),
                    Err(reason) => errors.push(unreadable(list, &reason)),
                },
            }
        }
        built.domains.shrink();
        built.nets = NetSet::build(&nets);
        built.named_nets = NetSet::build(nets.iter().filter(|net| net.prefix_len() > 0));
        built
    }

    fn add_domain(&mut self, name: &str, scope: Scope, errors: &mut Vec<ConfigError>) {
        // The configuration has checked names; a name that no host can have would match
        // nothing, which for a `deny` is worse than an error.
        let mut checked = String::new();
        if crate::domains::domain_name(name, &mut checked).is_none()
            || self.domains.insert(&checked, scope).is_err()
        {
            errors.push(ConfigError::at(
                self.span,
                format!("`{name}` is not a domain name"),
                "in this rule",
            ));
        }
    }

    /// Whether the rule is about this; `address` is what would be connected to, in canonical
    /// form, once that is known.
    pub(crate) fn fit(&self, asked: &Asked<'_>, address: Option<IpAddr>, stage: Stage<'_>) -> Fit {
        if !self.ports.is_empty() && !within(&self.ports, asked.port) {
            return Fit::No(Unfit::Port);
        }
        if let Some(unfit) = self.context.unfit(asked, stage) {
            return Fit::No(unfit);
        }
        let target = self.fit_target(asked.host, address);
        if !self.context.has_countries() || matches!(target, Fit::No(_)) {
            return target;
        }
        match address {
            None => Fit::Address,
            Some(address) if self.context.covers(address) => target,
            Some(_) => Fit::No(Unfit::Country),
        }
    }

    /// Whether a target of the rule is this one.
    pub(crate) fn fit_target(&self, host: HostRef<'_>, address: Option<IpAddr>) -> Fit {
        if self.any {
            return Fit::Yes(Ground::Any);
        }
        if let HostRef::Name(name) = host
            && let Some(ground) = self.names(name)
        {
            return Fit::Yes(ground);
        }
        match address {
            Some(address) if self.covers(address) => Fit::Yes(Ground::Network),
            None if !self.nets.is_empty() => Fit::Address,
            _ => Fit::No(Unfit::Target),
        }
    }

    fn names(&self, name: &str) -> Option<Ground> {
        if self.domains.contains(name) {
            return Some(Ground::Name);
        }
        if let Some(index) = self.patterns.iter().position(|regex| regex.is_match(name)) {
            return Some(Ground::Pattern(index));
        }
        self.lists.iter().position(|list| list.contains(name)).map(Ground::List)
    }

    /// A refused IPv4 network stays refused in every IPv6 form that leads to it; opening
    /// one does not open those.
    fn covers(&self, address: IpAddr) -> bool {
        self.nets.contains(address)
            || (self.verdict == Verdict::Deny
                && embedded_v4(address).is_some_and(|v4| self.nets.contains(v4)))
    }

    /// Whether a network in the rule holds this address. A name says nothing about where it
    /// leads: that is for whoever owns its zone to say.
    pub(crate) fn opens(&self, address: IpAddr) -> bool {
        self.nets.contains(address)
    }

    /// Whether a network in the rule names this address, and not just every address.
    pub(crate) fn opens_by_name(&self, address: IpAddr) -> bool {
        self.named_nets.contains(address)
    }

    /// Whether it is about types of answers.
    pub(crate) fn has_types(&self) -> bool {
        self.context.has_types()
    }
}

/// Whether a port lies in one of these inclusive ranges.
pub(crate) fn within(ranges: &[(u16, u16)], port: u16) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&port))
}

fn unreadable(list: &Spanned<config::ListSource>, reason: &str) -> ConfigError {
    let (label, help) = match &list.value {
        config::ListSource::File(_) => {
            ("this file", "the file must exist and be readable by the user the proxy runs as")
        }
        config::ListSource::Url { .. } => (
            "this list",
            "it is fetched when the proxy starts, and a copy kept in the state folder",
        ),
    };
    ConfigError::at(
        list.span,
        format!("cannot read the domain list `{}`: {reason}", list_source(&list.value)),
        label,
    )
    .help(help)
}

/// A rule as one would write it.
fn text(rule: &TargetRule) -> String {
    let mut text = String::from(match rule.verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    });
    for target in &rule.targets {
        let _ = match target {
            TargetPattern::Any => write!(text, " \"*\""),
            TargetPattern::Net(net) => write!(text, " \"{net}\""),
            TargetPattern::Domain(name) => write!(text, " \"{name}\""),
            TargetPattern::Subdomains(suffix) => write!(text, " \"*{suffix}\""),
            TargetPattern::Regex(regex) => write!(text, " regex=\"{}\"", regex.value),
            TargetPattern::List(list) => write!(text, " list=\"{}\"", list_source(&list.value)),
        };
    }
    for (index, (low, high)) in rule.ports.iter().enumerate() {
        text.push_str(if index == 0 { " ports " } else { "," });
        let _ = match low == high {
            true => write!(text, "{low}"),
            false => write!(text, "{low}-{high}"),
        };
    }
    add_context(&mut text, &rule.context);
    text
}

fn add_context(text: &mut String, context: &RuleContext) {
    let RuleContext { methods, users, agents, countries, hours: times, types } = context;
    let mut add = |name: &str, value: &dyn fmt::Display| {
        let _ = write!(text, " {name}=\"{value}\"");
    };
    methods.iter().for_each(|value| add("method", value));
    users.iter().for_each(|value| add("user", value));
    agents.iter().for_each(|value| add("agent", &value.value));
    countries.iter().for_each(|value| add("country", value));
    times.iter().for_each(|value| add("hours", &hours_text(value)));
    types.iter().for_each(|value| add("type", value));
}
