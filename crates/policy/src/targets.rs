//! What may be reached through a listener of the forward face.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use config::{ConfigError, Forward, Span, WayOut};
use jiff::tz::TimeZone;

use crate::asked::{Asked, Entry, HostRef, Stage};
use crate::lists::DomainList;
use crate::own::{OwnAddresses, OwnListener};
use crate::rule_set::{Considered, Decision, Knowledge, RuleSet, RuleSources};
use crate::rules::{RuleId, within};

/// Mail relays without authentication listen here, and an open proxy in front of them is
/// how spam is sent.
const SMTP: u16 = 25;

/// Mail submission. Nobody speaks HTTP there, but a request can be written so that its
/// lines are read as SMTP commands.
const SUBMISSION: [u16; 2] = [465, 587];

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

/// That a target may be reached, and by which rule of the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// `None`: no rule matches.
    pub rule: Option<RuleId>,
}

/// What is said of a name that is not resolved here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedByName {
    /// As far as the name goes.
    pub passed: Passed,
    /// Whether a rule that was passed over could have decided otherwise, had the address been
    /// known. Who is to be careful then resolves the name and asks [`Targets::check`].
    pub undecided: bool,
}

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The port is not open for this way of asking.
    PortNotAllowed,
    /// A `deny` rule of the listener matches first.
    DeniedByRule(RuleId),
    /// A `deny` rule of the user matches first.
    DeniedByUserRule(RuleId),
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
            Self::DeniedByUserRule(_) => "denied_by_user_rule",
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
/// matches if one of its patterns does, and its ports, and all else that it says (methods, users,
/// user agents, times, countries). Domains, regular expressions and lists are compared with
/// the name, and never with an address; networks and countries with the address that is then
/// connected to, whether it was written in the request or came from DNS. Without a match
/// everything may be reached that is neither closed by default nor a listener of ours.
///
/// Rules about types of answers say nothing about requests; [`Targets::admit_type`] asks them.
///
/// Of what is closed by default, an `allow` opens only what a network in it holds. Its
/// domains, lists and `*` let through what is open anyway: whoever owns a name decides where
/// it leads, and could else reach this machine by pointing it there (DNS rebinding). The admin
/// listener and the listeners of the forward face stay closed whatever a rule says; a site of
/// ours is opened only by a network that names its address (not by `/0`).
///
/// # Rules of users
///
/// Those in [`Asked::rules`] are asked first. What they deny is refused; what they allow, and what
/// none of them is about, the rules here decide: an `allow` of a user opens nothing.
#[derive(Debug)]
pub struct Targets {
    rules: RuleSet,
    ports: Vec<(u16, u16)>,
    own: OwnAddresses,
    closed_by_default: fn(IpAddr) -> bool,
    sources: Vec<PathBuf>,
}

impl Targets {
    /// Compiles the rules of a listener; lists that another listener has opened are shared.
    /// `closed_by_default` is asked with canonical addresses. Hours are those of the system's time
    /// zone.
    ///
    /// # Errors
    /// One for each list that cannot be read, and for each rule about countries where nothing
    /// tells them.
    pub fn build(
        forward: &Forward,
        own: &OwnAddresses,
        closed_by_default: fn(IpAddr) -> bool,
        sources: &mut RuleSources,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let rules = RuleSet::build(&forward.rules, &TimeZone::system(), sources, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut sources: Vec<PathBuf> = rules.lists().map(|list| list.path().to_owned()).collect();
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
    pub fn admit(&self, asked: &Asked<'_>) -> Admission {
        debug_assert!(asked.host.is_canonical(), "{:?}", asked.host);
        if !self.is_port_open(asked.port, asked.entry) {
            return Admission::Refused(Reason::PortNotAllowed);
        }
        if let HostRef::Address(ip) = asked.host {
            return match self.check(asked, SocketAddr::new(ip, asked.port)) {
                Ok(_) => Admission::Allowed,
                Err(reason) => Admission::Refused(reason),
            };
        }
        match self.decide(asked, Knowledge::Later, Stage::Request) {
            Ok(_) => Admission::AfterResolution,
            Err(reason) => Admission::Refused(reason),
        }
    }

    /// Whether this address may be connected to for this host. To be asked for the very
    /// address that is then connected to, each time.
    ///
    /// # Errors
    /// Why it may not.
    pub fn check(&self, asked: &Asked<'_>, address: SocketAddr) -> Result<Passed, Reason> {
        debug_assert!(asked.host.is_canonical(), "{:?}", asked.host);
        let ip = address.ip().to_canonical();
        let asked = Asked { port: address.port(), ..*asked };
        let own = self.own.listener_at(address);
        match own {
            Some(OwnListener::Admin) => return Err(Reason::AdminListener),
            Some(OwnListener::Forward) => return Err(Reason::OwnListener),
            Some(OwnListener::Site) | None => {}
        }
        // A `deny` is among the reasons, so this allows, if it is there.
        let allowed = self.decide(&asked, Knowledge::Known(ip), Stage::Request)?.decided;
        let passed = Passed { rule: allowed.map(|(id, _)| id) };
        let allowed = allowed.map(|(_, rule)| rule);
        match own {
            Some(_) if allowed.is_some_and(|rule| rule.opens_by_name(ip)) => Ok(passed),
            Some(_) => Err(Reason::OwnListener),
            None if !(self.closed_by_default)(ip) => Ok(passed),
            None if allowed.is_some_and(|rule| rule.opens(ip)) => Ok(passed),
            None => Err(Reason::AddressClosed),
        }
    }

    /// Whether a name may be given to an exit that resolves it. Rules about addresses cannot be
    /// asked then: an `allow` among them lets nothing through, and that a `deny` was passed over is
    /// told. For an address see [`Targets::check`]. Ask [`Targets::admit`] before.
    ///
    /// # Errors
    /// Why it may not.
    pub fn pass_by_name(&self, asked: &Asked<'_>) -> Result<PassedByName, Reason> {
        let decision = self.decide(asked, Knowledge::Never, Stage::Request)?;
        let users = asked.rules.map(|rules| rules.decide(asked, Knowledge::Never, Stage::Request));
        Ok(PassedByName {
            passed: Passed { rule: decision.decided.map(|(id, _)| id) },
            undecided: decision.undecided.is_some()
                || users.is_some_and(|decision| decision.undecided.is_some()),
        })
    }

    /// The way out of what has passed: that of the rule, or `None` for that of the listener.
    #[must_use]
    pub fn way_out(&self, passed: &Passed) -> Option<WayOut> {
        self.rules.get(passed.rule?)?.exit
    }

    /// Whether an answer of this `Content-Type` may be passed on; for an answer in the clear to a
    /// request that was let through. `address` is what was connected to, where that was the
    /// target. Cheap where [`Targets::cares_for_types`] says no.
    ///
    /// # Errors
    /// The rule about types that refuses it.
    pub fn admit_type(
        &self,
        asked: &Asked<'_>,
        address: Option<IpAddr>,
        content_type: Option<&[u8]>,
    ) -> Result<(), Reason> {
        if !self.cares_for_types(asked) {
            return Ok(());
        }
        let known = address.map_or(Knowledge::Never, |ip| Knowledge::Known(ip.to_canonical()));
        let refusing = |rules: &RuleSet| {
            let decision = rules.decide(asked, known, Stage::Answer(content_type));
            // What refuses requests has had its say.
            let (id, rule) = decision.decided.filter(|_| decision.denied().is_some())?;
            rule.has_types().then_some(id)
        };
        if let Some(id) = asked.rules.and_then(refusing) {
            return Err(Reason::DeniedByUserRule(id));
        }
        refusing(&self.rules).map_or(Ok(()), |id| Err(Reason::DeniedByRule(id)))
    }

    /// Whether any rule is about types of answers.
    #[must_use]
    pub fn cares_for_types(&self, asked: &Asked<'_>) -> bool {
        self.rules.has_types() || asked.rules.is_some_and(RuleSet::has_types)
    }

    /// Every rule that is asked, those of the user first, and whether it is about this.
    /// `address` is that of the target, where it is known: a literal is by itself.
    #[must_use]
    pub fn consider<'a>(
        &'a self,
        asked: &Asked<'a>,
        address: Option<IpAddr>,
    ) -> Vec<Considered<'a>> {
        let literal = match asked.host {
            HostRef::Address(ip) => Some(ip),
            HostRef::Name(_) => None,
        };
        let known = address.or(literal);
        let known = known.map_or(Knowledge::Later, |ip| Knowledge::Known(ip.to_canonical()));
        let users = asked.rules.into_iter();
        let users = users.flat_map(|rules| rules.consider(asked, known, Stage::Request, true));
        users.chain(self.rules.consider(asked, known, Stage::Request, false)).collect()
    }

    /// The rule as one would write it, for logs.
    #[must_use]
    pub fn rule_text(&self, rule: RuleId) -> &str {
        self.rules.text(rule)
    }

    /// Where the rule stands in the configuration.
    #[must_use]
    pub fn rule_span(&self, rule: RuleId) -> Option<Span> {
        self.rules.span(rule)
    }

    /// The files the rules were made from: when one of them changes, build anew.
    #[must_use]
    pub fn sources(&self) -> &[PathBuf] {
        &self.sources
    }

    /// The lists of the rules, in their order.
    pub fn lists(&self) -> impl Iterator<Item = &Arc<DomainList>> {
        self.rules.lists()
    }

    /// The rules of the user, then those of the listener; what is not refused is what those of the
    /// listener come to.
    fn decide(
        &self,
        asked: &Asked<'_>,
        known: Knowledge,
        stage: Stage<'_>,
    ) -> Result<Decision<'_>, Reason> {
        let users = asked.rules.and_then(|rules| rules.decide(asked, known, stage).denied());
        if let Some(id) = users {
            return Err(Reason::DeniedByUserRule(id));
        }
        let decision = self.rules.decide(asked, known, stage);
        decision.denied().map_or(Ok(decision), |id| Err(Reason::DeniedByRule(id)))
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
mod context_tests;
#[cfg(test)]
mod tests;
