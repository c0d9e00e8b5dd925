//! Rules about targets in the form in which they are asked.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use config::show::list_source;
use config::{ConfigError, Span, Spanned, TargetPattern, TargetRule, Verdict};
use ipnet::IpNet;

use crate::domains::{DomainSet, Scope};
use crate::lists::{DomainList, Lists};
use crate::nets::{NetSet, embedded_v4};
use crate::targets::HostRef;

/// Which rule decided: its place among the rules of the listener, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleId(pub(crate) u32);

/// One `allow` or `deny`.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) verdict: Verdict,
    /// As it was written, or nearly: for logs.
    pub(crate) text: String,
    pub(crate) span: Span,
    any: bool,
    nets: NetSet,
    /// Without those of length 0, which name nothing in particular.
    named_nets: NetSet,
    domains: DomainSet,
    pub(crate) lists: Vec<Arc<DomainList>>,
    ports: Vec<(u16, u16)>,
}

/// Whether a rule is about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    No,
    Yes,
    /// Only the address can tell, and it is not known yet.
    Address,
}

impl Rule {
    /// Compiles a rule and reads its lists.
    pub(crate) fn build(
        rule: &TargetRule,
        lists: &mut Lists,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let mut built = Self {
            verdict: rule.verdict,
            text: text(rule),
            span: rule.span,
            any: false,
            nets: NetSet::default(),
            named_nets: NetSet::default(),
            domains: DomainSet::default(),
            lists: Vec::new(),
            ports: rule.ports.clone(),
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
                TargetPattern::Regex(_) => {}
                TargetPattern::List(list) => match lists.open(&list.value.path(None)) {
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

    /// Whether the rule is about this target; `address` is what would be connected to, in
    /// canonical form, once that is known.
    pub(crate) fn matches(&self, host: HostRef<'_>, address: Option<IpAddr>, port: u16) -> Match {
        if !self.ports.is_empty() && !within(&self.ports, port) {
            return Match::No;
        }
        let named = match host {
            HostRef::Name(name) => {
                self.domains.contains(name)
                    || self.lists.iter().any(|list| list.domains().contains(name))
            }
            HostRef::Address(_) => false,
        };
        if self.any || named {
            return Match::Yes;
        }
        match address {
            Some(address) if self.covers(address) => Match::Yes,
            None if !self.nets.is_empty() => Match::Address,
            _ => Match::No,
        }
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
    pub(crate) fn names(&self, address: IpAddr) -> bool {
        self.named_nets.contains(address)
    }
}

/// Whether a port lies in one of these inclusive ranges.
pub(crate) fn within(ranges: &[(u16, u16)], port: u16) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&port))
}

fn unreadable(list: &Spanned<config::ListSource>, reason: &str) -> ConfigError {
    ConfigError::at(
        list.span,
        format!("cannot read the domain list `{}`: {reason}", list_source(&list.value)),
        "this file",
    )
    .help("the file must exist and be readable by the user the proxy runs as")
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
    text
}
