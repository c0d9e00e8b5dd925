//! Patterns of targets without a verdict: whether something is about a target.

use std::net::IpAddr;

use config::{ConfigError, Span, TargetPattern, TargetRule, Verdict};
use jiff::tz::TimeZone;

use crate::asked::HostRef;
use crate::rule_set::RuleSources;
use crate::rules::{Fit, Rule};

/// Any of some patterns; none of them matches nothing.
#[derive(Debug)]
pub struct Patterns(Option<Rule>);

impl Patterns {
    /// Compiles patterns, and reads their lists. `span` is where they stand.
    ///
    /// # Errors
    /// Every list that cannot be read.
    pub fn build(
        patterns: &[TargetPattern],
        span: Span,
        sources: &mut RuleSources,
    ) -> Result<Self, Vec<ConfigError>> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let mut errors = Vec::new();
        let rule = TargetRule::new(Verdict::Allow, patterns.to_vec(), span);
        let rule = Rule::build(&rule, &TimeZone::UTC, sources, &mut errors);
        if errors.is_empty() { Ok(Self(Some(rule))) } else { Err(errors) }
    }

    /// Whether any of them matches. Networks are compared with the host, if it is an address, and
    /// with `address`, which is what its name has led to, as far as that is known.
    #[must_use]
    pub fn match_target(&self, host: HostRef<'_>, address: Option<IpAddr>) -> bool {
        let literal = match host {
            HostRef::Name(_) => None,
            HostRef::Address(address) => Some(address),
        };
        matches!(self.fit(host, literal.or(address)), Some(Fit::Yes(_)))
    }

    /// Whether any of them matches, or could, when it is known where a name leads.
    #[must_use]
    pub fn may_match(&self, host: HostRef<'_>) -> bool {
        match host {
            HostRef::Name(_) => {
                matches!(self.fit(host, None), Some(Fit::Yes(_) | Fit::Address))
            }
            HostRef::Address(_) => self.match_target(host, None),
        }
    }

    fn fit(&self, host: HostRef<'_>, address: Option<IpAddr>) -> Option<Fit> {
        self.0.as_ref().map(|rule| rule.fit_target(host, address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_networks() {
        let patterns = [
            TargetPattern::Domain("a.example".into()),
            TargetPattern::Subdomains(".b.example".into()),
            TargetPattern::Net("10.0.0.0/8".parse().unwrap()),
        ];
        let mut sources = RuleSources::default();
        let built = Patterns::build(&patterns, Span::from((0, 0)), &mut sources).unwrap();
        let (inner, outer) = ("10.1.2.3".parse().ok(), "192.0.2.1".parse().ok());
        for (name, address, matches) in [
            ("a.example", None, true),
            ("x.a.example", outer, true),
            ("b.example", outer, false),
            ("x.b.example", None, true),
            ("c.example", inner, true),
            ("c.example", None, false),
        ] {
            let host = HostRef::Name(name);
            assert_eq!(built.match_target(host, address), matches, "{name}");
            assert!(built.may_match(host), "the network may hold any name's address");
        }
        assert!(built.match_target(HostRef::Address(inner.unwrap()), None));
        assert!(!built.may_match(HostRef::Address(outer.unwrap())));
        let none = Patterns::build(&[], Span::from((0, 0)), &mut sources).unwrap();
        assert!(!none.match_target(HostRef::Name("a.example"), inner));
    }
}
