//! What may be reached through a listener of the forward face.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use config::{ConfigError, Forward, Span, Verdict};

use crate::lists::{DomainList, Lists};
use crate::own::{OwnAddresses, OwnListener};
use crate::rules::{Match, Rule, RuleId, within};

/// Mail relays without authentication listen here, and an open proxy in front of them is
/// how spam is sent.
const SMTP: u16 = 25;

/// Mail submission. Nobody speaks HTTP there, but a request can be written so that its
/// lines are read as SMTP commands.
const SUBMISSION: [u16; 2] = [465, 587];

/// The host of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostRef<'a> {
    /// In lower case, IDNA-encoded, without a trailing dot. Whatever a resolver would take
    /// for an address (`127.1`, `0x7f000001`) may come as a name: what counts is the
    /// address it resolves to.
    Name(&'a str),
    /// A literal.
    Address(IpAddr),
}

impl HostRef<'_> {
    /// A name in any other spelling would walk round the rules; making it canonical is for
    /// whoever parses it.
    fn is_canonical(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Name(name) => {
                !name.ends_with('.') && !name.bytes().any(|b| b.is_ascii_uppercase())
            }
        }
    }
}

/// How a target was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// `CONNECT` (RFC 9110 §9.3.6).
    Connect,
    /// SOCKS4, SOCKS4a or SOCKS5.
    Socks,
    /// A request in absolute form (RFC 9112 §3.2.2).
    Plain,
}

/// What can be said about a target before its name is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// No address would change it: do not resolve the name.
    Refused(Reason),
    /// The host is an address, and may be reached.
    Allowed,
    /// Resolve the name, then ask [`Targets::check`] about each address.
    AfterResolution,
}

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The port is not open for this way of asking.
    PortNotAllowed,
    /// A `deny` rule matches first.
    DeniedByRule(RuleId),
    /// No rule opens the address, and its range is closed by default (loopback, private, …).
    AddressClosed,
    /// It is a listener of the forward face, or one of the reverse face that no rule names.
    OwnListener,
    /// It is the admin listener.
    AdminListener,
}

impl Reason {
    /// A short stable word, for logs, metrics and `Proxy-Status` details.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PortNotAllowed => "port_not_allowed",
            Self::DeniedByRule(_) => "denied_by_rule",
            Self::AddressClosed => "address_closed",
            Self::OwnListener => "own_listener",
            Self::AdminListener => "admin_listener",
        }
    }
}

/// The targets of one listener of the forward face.
///
/// # Ports
///
/// `CONNECT` and SOCKS reach the ports of `ports` only; a request in absolute form reaches
/// any. Port 25 is closed to all three unless `ports` names it alone (`ports 25`; a range
/// that holds it does not name it). Requests in absolute form reach 465 and 587 only under
/// the same condition. Port 0 is never open.
///
/// # Rules
///
/// Rules are asked in the order of the file, and the first that matches decides. A rule
/// matches if one of its patterns does, and its ports: domains and lists are compared with
/// the name, and never with an address; networks with the address that is then connected
/// to, whether it was written in the request or came from DNS. Without a match everything
/// may be reached that is neither closed by default nor a listener of ours.
///
/// Of what is closed by default, an `allow` opens only what a network in it holds. Its
/// domains, lists and `*` let through what is open anyway: whoever owns a name decides where
/// it leads, and could else reach this machine by pointing it there (DNS rebinding). The admin
/// listener and the listeners of the forward face stay closed whatever a rule says; a site of
/// ours is opened only by a network that names its address (not by `/0`).
#[derive(Debug)]
pub struct Targets {
    rules: Vec<Rule>,
    ports: Vec<(u16, u16)>,
    own: OwnAddresses,
    closed_by_default: fn(IpAddr) -> bool,
    sources: Vec<PathBuf>,
}

impl Targets {
    /// Compiles the rules of a listener; lists that another listener has opened are shared.
    /// `closed_by_default` is asked with canonical addresses.
    ///
    /// # Errors
    /// One for each list that cannot be read.
    pub fn build(
        forward: &Forward,
        own: &OwnAddresses,
        closed_by_default: fn(IpAddr) -> bool,
        lists: &mut Lists,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let rules: Vec<Rule> =
            forward.rules.iter().map(|rule| Rule::build(rule, lists, &mut errors)).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut sources: Vec<PathBuf> =
            rules.iter().flat_map(|rule| &rule.lists).map(|list| list.path().to_owned()).collect();
        sources.sort_unstable();
        sources.dedup();
        Ok(Self {
            rules,
            ports: forward.ports.clone(),
            own: own.clone(),
            closed_by_default,
            sources,
        })
    }

    /// What can be said at once. An address is decided; a name is refused here if no address
    /// could save it, so that nobody learns by DNS that it was asked for.
    #[must_use]
    pub fn admit(&self, host: HostRef<'_>, port: u16, entry: Entry) -> Admission {
        debug_assert!(host.is_canonical(), "{host:?}");
        if !self.is_port_open(port, entry) {
            return Admission::Refused(Reason::PortNotAllowed);
        }
        if let HostRef::Address(ip) = host {
            return match self.check(host, SocketAddr::new(ip, port)) {
                Ok(()) => Admission::Allowed,
                Err(reason) => Admission::Refused(reason),
            };
        }
        for (id, rule) in self.rules() {
            match (rule.matches(host, None, port), rule.verdict) {
                (Match::No, _) => {}
                // If it matches the address, the target is refused as well.
                (Match::Address, Verdict::Deny) => {}
                (Match::Yes, Verdict::Deny) => {
                    return Admission::Refused(Reason::DeniedByRule(id));
                }
                (_, Verdict::Allow) => break,
            }
        }
        Admission::AfterResolution
    }

    /// Whether this address may be connected to for this host. To be asked for the very
    /// address that is then connected to, each time.
    ///
    /// # Errors
    /// Why it may not.
    pub fn check(&self, host: HostRef<'_>, address: SocketAddr) -> Result<(), Reason> {
        debug_assert!(host.is_canonical(), "{host:?}");
        let ip = address.ip().to_canonical();
        let own = self.own.listener_at(address);
        match own {
            Some(OwnListener::Admin) => return Err(Reason::AdminListener),
            Some(OwnListener::Forward) => return Err(Reason::OwnListener),
            Some(OwnListener::Site) | None => {}
        }
        let mut allowed = None;
        for (id, rule) in self.rules() {
            match (rule.matches(host, Some(ip), address.port()), rule.verdict) {
                (Match::No | Match::Address, _) => {}
                (Match::Yes, Verdict::Deny) => return Err(Reason::DeniedByRule(id)),
                (Match::Yes, Verdict::Allow) => {
                    allowed = Some(rule);
                    break;
                }
            }
        }
        match own {
            Some(_) if allowed.is_some_and(|rule| rule.names(ip)) => Ok(()),
            Some(_) => Err(Reason::OwnListener),
            None if !(self.closed_by_default)(ip) => Ok(()),
            None if allowed.is_some_and(|rule| rule.opens(ip)) => Ok(()),
            None => Err(Reason::AddressClosed),
        }
    }

    /// The rule as one would write it, for logs.
    #[must_use]
    pub fn rule_text(&self, rule: RuleId) -> &str {
        self.rules.get(rule.0 as usize).map_or("", |rule| &rule.text)
    }

    /// Where the rule stands in the configuration.
    #[must_use]
    pub fn rule_span(&self, rule: RuleId) -> Option<Span> {
        self.rules.get(rule.0 as usize).map(|rule| rule.span)
    }

    /// The files the rules were made from: when one of them changes, build anew.
    #[must_use]
    pub fn sources(&self) -> &[PathBuf] {
        &self.sources
    }

    /// The lists of the rules, in their order.
    pub fn lists(&self) -> impl Iterator<Item = &Arc<DomainList>> {
        self.rules.iter().flat_map(|rule| &rule.lists)
    }

    fn rules(&self) -> impl Iterator<Item = (RuleId, &Rule)> {
        (0..).map(RuleId).zip(&self.rules)
    }

    fn is_port_open(&self, port: u16, entry: Entry) -> bool {
        let named = || self.ports.contains(&(port, port));
        match (port, entry) {
            (0, _) => false,
            (SMTP, _) => named(),
            (_, Entry::Connect | Entry::Socks) => within(&self.ports, port),
            (_, Entry::Plain) => !SUBMISSION.contains(&port) || named(),
        }
    }
}

#[cfg(test)]
mod tests;
