//! Rules of which the first that matches decides.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{ConfigError, ListSource, Span, TargetRule, Verdict};
use jiff::tz::TimeZone;

use crate::asked::{Asked, Stage};
use crate::geo::Geo;
use crate::lists::{DomainList, Lists};
use crate::rules::{Fit, Rule, RuleId};

/// What rules are made from besides the configuration: read once, and shared by all of them.
#[derive(Debug, Default)]
pub struct RuleSources {
    lists: Lists,
    geo: Arc<Geo>,
    state: Option<PathBuf>,
}

impl RuleSources {
    /// `state` is the folder with the copies of lists that come from a URL
    /// ([`config::Config::state`]).
    #[must_use]
    pub fn new(state: Option<&Path>, geo: Arc<Geo>) -> Self {
        Self { lists: Lists::new(), geo, state: state.map(Path::to_owned) }
    }

    /// Every list that could be read, in no order: for warnings and figures.
    pub fn lists(&self) -> impl Iterator<Item = &DomainList> {
        self.lists.opened()
    }

    pub(crate) fn geo(&self) -> &Arc<Geo> {
        &self.geo
    }

    pub(crate) fn open_list(&mut self, list: &ListSource) -> Result<Arc<DomainList>, String> {
        self.lists.open(&list.path(self.state.as_deref()))
    }
}

/// Rules of a listener or of a user.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    has_types: bool,
}

/// What is known of the address of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// It is this one, in canonical form.
    Known(IpAddr),
    /// It will be known: whatever it may decide is left open.
    Later,
    /// It will not be known here: what only it could decide is passed over.
    Never,
}

/// What rules come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decision<'r> {
    /// The first rule that matches.
    pub(crate) decided: Option<(RuleId, &'r Rule)>,
    /// The first rule before that of which only the address can tell.
    pub(crate) undecided: Option<RuleId>,
}

/// A rule, and whether it is about a request: for those who want to know why.
#[derive(Debug, Clone, Copy)]
pub struct Considered<'a> {
    /// Which one.
    pub rule: RuleId,
    /// Whether it is one of the user's; else it is one of the listener's.
    pub of_user: bool,
    /// As one would write it.
    pub text: &'a str,
    /// Where it stands in the configuration.
    pub span: Span,
    /// What it says.
    pub verdict: Verdict,
    /// Whether it is about the request.
    pub fit: Fit,
    /// Whether it decides, for its set: the first that matches does.
    pub decides: bool,
}

impl RuleSet {
    /// Compiles rules and reads their lists. `zone` is that of their hours.
    pub fn build(
        rules: &[TargetRule],
        zone: &TimeZone,
        sources: &mut RuleSources,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let build = |rule| Rule::build(rule, zone, sources, errors);
        let rules: Vec<Rule> = rules.iter().map(build).collect();
        Self { has_types: rules.iter().any(Rule::has_types), rules }
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule as one would write it, for logs.
    #[must_use]
    pub fn text(&self, rule: RuleId) -> &str {
        self.get(rule).map_or("", |rule| &rule.text)
    }

    /// Where the rule stands in the configuration.
    #[must_use]
    pub fn span(&self, rule: RuleId) -> Option<Span> {
        self.get(rule).map(|rule| rule.span)
    }

    /// The lists of the rules, in their order.
    pub fn lists(&self) -> impl Iterator<Item = &Arc<DomainList>> {
        self.rules.iter().flat_map(|rule| &rule.lists)
    }

    /// Whether any of them is about types of answers.
    #[must_use]
    pub fn has_types(&self) -> bool {
        self.has_types
    }

    pub(crate) fn get(&self, rule: RuleId) -> Option<&Rule> {
        self.rules.get(rule.index())
    }

    /// The first rule that matches. Where the address will be known later, a `deny` that it may
    /// save from is passed over (if it matches then, the target is refused then), and an `allow`
    /// that it may make true leaves all open.
    pub(crate) fn decide(
        &self,
        asked: &Asked<'_>,
        known: Knowledge,
        stage: Stage<'_>,
    ) -> Decision<'_> {
        let mut decision = Decision { decided: None, undecided: None };
        for (id, rule) in self.iter() {
            match rule.fit(asked, known.address(), stage) {
                Fit::No(_) => {}
                Fit::Yes(_) => {
                    decision.decided = Some((id, rule));
                    break;
                }
                Fit::Address => {
                    decision.undecided.get_or_insert(id);
                    if known == Knowledge::Later && rule.verdict == Verdict::Allow {
                        break;
                    }
                }
            }
        }
        decision
    }

    /// Every rule, and whether it is about this.
    pub(crate) fn consider<'a>(
        &'a self,
        asked: &Asked<'_>,
        known: Knowledge,
        stage: Stage<'_>,
        of_user: bool,
    ) -> impl Iterator<Item = Considered<'a>> {
        let decided = self.decide(asked, known, stage).decided.map(|(id, _)| id);
        self.iter().map(move |(id, rule)| Considered {
            rule: id,
            of_user,
            text: &rule.text,
            span: rule.span,
            verdict: rule.verdict,
            fit: rule.fit(asked, known.address(), stage),
            decides: decided == Some(id),
        })
    }

    fn iter(&self) -> impl Iterator<Item = (RuleId, &Rule)> {
        (0..).map(RuleId).zip(&self.rules)
    }
}

impl Knowledge {
    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Known(address) => Some(address),
            Self::Later | Self::Never => None,
        }
    }
}

impl Decision<'_> {
    /// The rule that refuses, if the one that decides does.
    pub(crate) fn denied(&self) -> Option<RuleId> {
        self.decided.filter(|(_, rule)| rule.verdict == Verdict::Deny).map(|(id, _)| id)
    }
}
