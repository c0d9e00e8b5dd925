//! What a rule says besides its targets: methods, users, agents, countries, hours, types.

use std::net::IpAddr;
use std::sync::Arc;

use config::{ConfigError, Country, RuleContext, Span, Spanned};
use jiff::tz::TimeZone;
use regex::{Regex, bytes};

use crate::asked::{Asked, Stage};
use crate::geo::Geo;
use crate::hours::WeekTimes;
use crate::nets::embedded_v4;
use crate::rules::Unfit;

/// A [`RuleContext`], compiled. What is empty is true of everything.
#[derive(Debug)]
pub(crate) struct Context {
    methods: Box<[String]>,
    users: Box<[String]>,
    agents: Vec<bytes::Regex>,
    hours: Option<WeekTimes>,
    countries: Box<[Country]>,
    geo: Arc<Geo>,
    types: Box<[TypePattern]>,
}

impl Context {
    pub(crate) fn build(
        context: &RuleContext,
        span: Span,
        geo: &Arc<Geo>,
        zone: &TimeZone,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        if !context.countries.is_empty() && geo.is_empty() {
            errors.push(
                ConfigError::at(span, "nothing tells in which country a target is", "this rule")
                    .help("name a database in MaxMind's format: geoip \"FILE.mmdb\""),
            );
        }
        let agents = context.agents.iter();
        let agents = agents.filter_map(|text| compile(text, bytes::Regex::new, errors)).collect();
        let hours = &context.hours;
        Self {
            methods: context.methods.clone().into(),
            users: context.users.clone().into(),
            agents,
            hours: (!hours.is_empty()).then(|| WeekTimes::build(hours, zone)),
            countries: context.countries.clone().into(),
            geo: Arc::clone(geo),
            types: context.types.iter().map(|text| TypePattern::parse(text)).collect(),
        }
    }

    /// What of it is not true of a request, but for the address of its target.
    pub(crate) fn unfit(&self, asked: &Asked<'_>, stage: Stage<'_>) -> Option<Unfit> {
        let any =
            |texts: &[String], text: &str| texts.is_empty() || texts.iter().any(|t| t == text);
        if !any(&self.methods, asked.method) {
            return Some(Unfit::Method);
        }
        if !self.users.is_empty() && !asked.user.is_some_and(|user| any(&self.users, user)) {
            return Some(Unfit::User);
        }
        if self.hours.as_ref().is_some_and(|hours| !hours.contains(asked.now)) {
            return Some(Unfit::Hours);
        }
        let shown = |agent: &[u8]| self.agents.iter().any(|regex| regex.is_match(agent));
        if !self.agents.is_empty() && !asked.agent.is_some_and(shown) {
            return Some(Unfit::Agent);
        }
        let typed = match stage {
            Stage::Request => self.types.is_empty(),
            Stage::Answer(shown) => {
                self.types.is_empty() || self.types.iter().any(|pattern| pattern.fits(shown))
            }
        };
        (!typed).then_some(Unfit::Type)
    }

    /// Whether it says anything about countries.
    pub(crate) fn has_countries(&self) -> bool {
        !self.countries.is_empty()
    }

    /// Whether it says anything about types of answers.
    pub(crate) fn has_types(&self) -> bool {
        !self.types.is_empty()
    }

    /// Whether an address is in one of the countries. What leads to an IPv4 address is where that
    /// is.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        let country = self.geo.country(address).or_else(|| self.geo.country(embedded_v4(address)?));
        country.is_some_and(|country| self.countries.contains(&country))
    }
}

/// A type of content: `video/*`, `text/html`, `*/*`.
#[derive(Debug)]
struct TypePattern {
    main: Box<str>,
    /// `None`: any.
    sub: Option<Box<str>>,
}

impl TypePattern {
    fn parse(text: &str) -> Self {
        let (main, sub) = text.split_once('/').unwrap_or((text, "*"));
        let lower = |text: &str| text.trim_ascii().to_ascii_lowercase().into_boxed_str();
        Self { main: lower(main), sub: (sub.trim_ascii() != "*").then(|| lower(sub)) }
    }

    /// Parameters do not count. Of what has no type only `*/*` is true.
    fn fits(&self, shown: Option<&[u8]>) -> bool {
        if &*self.main == "*" {
            return true;
        }
        let essence = shown.and_then(|value| value.split(|byte| *byte == b';').next());
        let Some(essence) = essence.map(<[u8]>::trim_ascii) else { return false };
        let Some(slash) = essence.iter().position(|byte| *byte == b'/') else { return false };
        let (main, sub) = (&essence[..slash], &essence[slash + 1..]);
        main.eq_ignore_ascii_case(self.main.as_bytes())
            && self.sub.as_ref().is_none_or(|wanted| sub.eq_ignore_ascii_case(wanted.as_bytes()))
    }
}

/// Compiles a regular expression, which takes linear time for whatever it is asked about.
pub(crate) fn compile<R>(
    text: &Spanned<String>,
    build: impl FnOnce(&str) -> Result<R, regex::Error>,
    errors: &mut Vec<ConfigError>,
) -> Option<R> {
    build(&text.value)
        .map_err(|error| {
            let message = format!("not a regular expression: {error}");
            errors.push(ConfigError::at(text.span, message, "here"));
        })
        .ok()
}

/// A regular expression about names.
pub(crate) fn name_pattern(text: &Spanned<String>, errors: &mut Vec<ConfigError>) -> Option<Regex> {
    compile(text, Regex::new, errors)
}
