//! Who and how much is let in to a site and a route: rules about clients, then limits, then
//! passwords, then a server that is asked.
//!
//! What a site says holds for its routes as well, and also for requests that have no route: who
//! may not come in does not learn what there is.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use config::{LimitKey, RateLimit, RateUnit};
use message::Block;
use policy::{ClientRules, Limiter, Pacer, RateKey, Standing};

use crate::auth::Question;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::rules::FieldRules;
use crate::site::{Route, Site};

mod basic;

pub(crate) use basic::{NONE_SHOWN, WRONG, take_credentials, work};

use basic::Basic;

/// What one site or one route says about who is let in, compiled.
#[derive(Debug)]
pub(crate) struct Gate {
    clients: ClientRules,
    requests: Vec<Limit>,
    bytes: Vec<Limit>,
    basic: Option<Basic>,
    auth: Option<Question>,
}

/// A limit at its place.
#[derive(Debug)]
struct Limit {
    config: RateLimit,
    place: Arc<str>,
    /// What the client knows it by: a string as fields have it.
    name: String,
    /// Its member of `RateLimit-Policy`.
    policy: String,
    /// Looked up when the first request comes, so that building a configuration needs nothing
    /// of the process that will use it.
    limiter: OnceLock<Arc<Limiter>>,
}

/// What became of a request at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It goes on.
    Open,
    /// It has been answered.
    Answered,
}

/// What the gate has to say to what comes later.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Fields for the response, whoever makes it.
    fields: Vec<(&'static str, String)>,
    /// How fast the body of the response may go; taken by whoever sends it.
    pub(crate) pacer: Option<Pacer>,
}

impl Noted {
    fn field(&mut self, name: &'static str, value: impl Into<String>) {
        self.fields.push((name, value.into()));
    }

    /// The fields for the response, once.
    pub(crate) fn take_fields(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.fields)
    }
}

impl Gate {
    /// That of a site.
    pub(crate) fn of_site(site: &config::Site) -> Option<Box<Self>> {
        Self::build(&site.gate, "site", || place(site))
    }

    /// That of a route, without what its site says.
    pub(crate) fn of_route(route: &config::Route, site: &config::Site) -> Option<Box<Self>> {
        Self::build(&route.gate, "route", || {
            format!("{} route {} {}", place(site), route.name, route.methods.join(","))
        })
    }

    /// `None` where everybody is let in. `place` is the same for as long as the place is.
    fn build(
        gate: &config::Gate,
        kind: &'static str,
        place: impl FnOnce() -> String,
    ) -> Option<Box<Self>> {
        if *gate == config::Gate::default() {
            return None;
        }
        let place: Arc<str> = place().into();
        let (mut requests, mut bytes): (Vec<Limit>, Vec<Limit>) = (Vec::new(), Vec::new());
        for limit in &gate.rates {
            let list = match limit.unit {
                RateUnit::Requests => &mut requests,
                RateUnit::Bytes => &mut bytes,
            };
            // The same limit twice would count everything twice.
            if !list.iter().any(|other| other.says_the_same(limit)) {
                let name = format!("\"{}\"", limit_name(kind, &limit.key, list));
                list.push(Limit {
                    config: limit.clone(),
                    place: Arc::clone(&place),
                    policy: policy_member(&name, limit),
                    name,
                    limiter: OnceLock::new(),
                });
            }
        }
        Some(Box::new(Self {
            clients: ClientRules::build(&gate.clients),
            requests,
            bytes,
            basic: gate.basic.as_ref().map(Basic::build),
            auth: gate.forward_auth.as_ref().map(Question::build),
        }))
    }
}

/// What a request may not say behind its body: names that its route's rules give out and fields
/// that a server which is asked vouches for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reserved<'a> {
    auth: Option<&'a Question>,
    rules: &'a FieldRules,
}

impl<'a> Reserved<'a> {
    pub(crate) fn of(site: &'a Site, route: &'a Route) -> Self {
        let gates = [route.gate.as_deref(), site.gate.as_deref()];
        let auth = gates.into_iter().flatten().find_map(|gate| gate.auth.as_ref());
        Self { auth, rules: &route.request_rules }
    }

    /// Takes them out of the trailers of a request.
    pub(crate) fn clear(&self, trailers: &mut Block) {
        if let Some(auth) = self.auth {
            auth.drop_claims(trailers);
        }
        self.rules.clear(trailers);
    }
}

/// What tells a site from all others, before and after a reload.
fn place(site: &config::Site) -> String {
    format!("site {} {:?} {:?}", site.name, site.hosts, site.listen)
}

/// `site-client`, `route-x-api-key`, …, with a number where there are several.
fn limit_name(kind: &str, key: &LimitKey, others: &[Limit]) -> String {
    let name = match key {
        LimitKey::ClientIp => format!("{kind}-client"),
        LimitKey::Header(header) => format!("{kind}-{header}"),
        LimitKey::Place => kind.to_owned(),
    };
    match others.iter().filter(|other| other.config.key == *key).count() {
        0 => name,
        count => format!("{name}-{}", count + 1),
    }
}

impl Limit {
    fn says_the_same(&self, other: &RateLimit) -> bool {
        let this = &self.config;
        (this.amount, this.per, this.burst) == (other.amount, other.per, other.burst)
            && this.key == other.key
    }

    /// The limit itself, and whom this request counts for.
    fn of(&self, x: &Exchange<'_>, now: Instant) -> (&Arc<Limiter>, RateKey) {
        let limiter =
            self.limiter.get_or_init(|| x.core.rates.limiter(&self.place, &self.config, now));
        let name = limiter.header().map(str::as_bytes);
        let values = name.into_iter().flat_map(|name| x.request.fields.values_named(name));
        (limiter, limiter.key(x.client.address, values))
    }
}

/// Judges a request to a site, and to a route of it if it has one. A failure, or the answer that
/// was sent, is the end of the request.
pub(crate) async fn admit<'a>(
    x: &mut Exchange<'a>,
    site: &'a Site,
    route: Option<&'a Route>,
) -> Result<Passage, Failure> {
    let of_route = route.and_then(|route| route.gate.as_deref());
    let of_site = site.gate.as_deref();
    if of_site.is_none() && of_route.is_none() {
        return Ok(Passage::Open);
    }
    let gates = [of_site, of_route];
    admit_client(x, gates)?;
    admit_rate(x, gates)?;
    // What a route says of these takes the place of what its site says.
    let mut inner_first = gates.into_iter().rev().flatten();
    if let Some(basic) = inner_first.clone().find_map(|gate| gate.basic.as_ref()) {
        // Boxed, as most requests meet none of it and would carry the room for it.
        Box::pin(basic.admit(x)).await?;
    }
    match (inner_first.find_map(|gate| gate.auth.as_ref()), route) {
        (Some(question), Some(route)) => Box::pin(question.ask(x, &route.error_pages)).await,
        // There is nothing that anybody could be let in to.
        (Some(_) | None, _) => Ok(Passage::Open),
    }
}

fn admit_client(x: &Exchange<'_>, gates: [Option<&Gate>; 2]) -> Result<(), Failure> {
    match gates.into_iter().flatten().all(|gate| gate.clients.admits(x.client.address)) {
        true => Ok(()),
        false => Err(Failure::with(Kind::Denied, "client_not_allowed")),
    }
}

/// All limits must have room: a request that one of them refuses counts for none.
fn admit_rate(x: &mut Exchange<'_>, gates: [Option<&Gate>; 2]) -> Result<(), Failure> {
    let now = Instant::now();
    let gates = gates.into_iter().flatten();
    let bytes = gates.clone().flat_map(|gate| &gate.bytes).map(|limit| limit.of(x, now));
    let bytes = bytes.map(|(limiter, key)| (Arc::clone(limiter), key)).collect();
    x.record.noted.pacer = Pacer::new(bytes);
    let requests = gates.flat_map(|gate| &gate.requests);
    let mut limits: Vec<_> = requests
        .map(|limit| {
            let (limiter, key) = limit.of(x, now);
            (limit, limiter, key, limiter.peek(key, now))
        })
        .collect();
    if limits.is_empty() {
        return Ok(());
    }
    let mut admitted = limits.iter().all(|(.., standing)| standing.admitted);
    for (_, limiter, key, standing) in &mut limits {
        if admitted {
            // Another core may have come between: then those before have counted in vain.
            *standing = limiter.admit(*key, now);
            admitted = standing.admitted;
        }
    }
    let said = limits.iter().map(|(limit, .., standing)| (*limit, *standing));
    tell_limits(&mut x.record.noted, said);
    if admitted {
        return Ok(());
    }
    let refused = limits.iter().filter(|(.., standing)| !standing.admitted);
    let wait = refused.map(|(.., standing)| standing.retry_after).max().unwrap_or_default();
    x.record.noted.field("Retry-After", seconds(wait).max(1).to_string());
    Err(Failure::new(Kind::RateLimited))
}

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const MAX_INTEGER: u128 = 999_999_999_999_999;

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11): for each limit
/// what it is, how many requests are left, and for how long that is so.
fn tell_limits<'l>(noted: &mut Noted, limits: impl Iterator<Item = (&'l Limit, Standing)>) {
    let (mut policy, mut state) = (String::with_capacity(64), String::with_capacity(64));
    for (limit, standing) in limits {
        let remaining = u128::from(standing.remaining).min(MAX_INTEGER);
        // With nothing left the window ends when there is something again.
        let until = if remaining == 0 { standing.retry_after } else { standing.full_in };
        let comma = if policy.is_empty() { "" } else { ", " };
        policy.push_str(comma);
        policy.push_str(&limit.policy);
        // Writing to a string does not fail.
        let _ = write!(state, "{comma}{};r={remaining};t={}", limit.name, seconds(until));
    }
    noted.field("RateLimit-Policy", policy);
    noted.field("RateLimit", state);
}

/// How many requests in which time.
fn policy_member(name: &str, limit: &RateLimit) -> String {
    // Whole seconds are all that can be said.
    let window = seconds(limit.per).max(1);
    let nanoseconds = u128::from(window) * 1_000_000_000;
    let quota = u128::from(limit.amount).saturating_mul(nanoseconds) / limit.per.as_nanos().max(1);
    format!("{name};q={};w={window}", quota.min(MAX_INTEGER))
}

/// Rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
