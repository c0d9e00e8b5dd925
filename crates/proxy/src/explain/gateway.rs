//! Who would be asking the forward face, and by which exit it would leave.

use std::sync::Arc;

use accounts::{Account, Accounts, Limits, Moment};
use config::{WayOut, show};
use egress::{Asking, Candidate, Pool, Whose, Wish, dialect};
use message::{FieldId, Host, RequestHead};
use net::watchdog::process_ms;
use policy::{RuleSet, Timestamp};

use super::{OTHERS, Step, Told, other, refused, text};
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::forward::leave::{Aimed, may_go_straight, may_leave_by, pool_of};
use crate::forward::login::dialect_of;
use crate::gate::take_credentials;
use crate::snapshot::Forward;

/// Who asks, as far as it can be told without a password.
#[derive(Debug, Default)]
pub(super) struct Asker {
    pub(super) name: Option<String>,
    /// The set that it is looked for in.
    set: String,
    pub(super) rules: Option<Arc<RuleSet>>,
    wish: Wish,
    limits: Option<Arc<Limits>>,
    /// What it has left, where it has asked for something already.
    account: Option<Arc<Account>>,
}

impl Asker {
    pub(super) fn account_of(&mut self, accounts: Option<&Accounts>) {
        self.account = self.name.as_ref().and_then(|name| accounts?.find(&self.set, name));
    }
}

/// Finds out who would be asking. `named` is the name that the client would show, wishes
/// included; where there is none, what stands in the request counts.
pub(super) fn identify(
    told: &mut Told,
    face: &Forward,
    client: &Client,
    head: &mut RequestHead,
    named: Option<&str>,
) -> Asker {
    let id = FieldId::ProxyAuthorization;
    let shown = take_credentials(&mut head.fields, id, b"proxy-authorization");
    let named = match (named, shown) {
        (Some(named), _) => Ok(named.to_owned()),
        (None, Ok(credentials)) => Ok(text(credentials.user())),
        (None, Err(words)) => Err(words),
    };
    let Some(crowd) = &face.users else {
        told.part("user", "nobody is asked for");
        let named = named.ok();
        let wish = wish_of(told, face, named.as_deref(), None);
        return Asker { wish, ..Asker::default() };
    };
    let by_address = crowd.users.by_address(client.address);
    let (name, wish, id) = match (&named, by_address) {
        (Ok(named), _) => {
            let exists = |name: &str| crowd.users.find(name).is_some();
            let user = match dialect_of(face) {
                Some(dialect) => dialect::parse(dialect, named, b"", Some(&exists), None).user,
                None => named.clone(),
            };
            told.part("user", user.clone());
            told.note(format!("the password is checked against `{}` (not here)", crowd.name()));
            let wish = wish_of(told, face, Some(named), Some(&exists));
            let id = crowd.users.find(&user);
            if id.is_none() && crowd.callout.is_some() {
                told.note("nothing here knows the name: a server is asked");
            } else if id.is_none() {
                told.note("there is no such user");
                told.stop(&Failure::with(Kind::Unauthenticated, crate::gate::WRONG));
            }
            (user, wish, id)
        }
        (Err(_), Some(id)) => {
            told.part("user", crowd.users.name(id));
            told.note(format!("known by the address {}", client.address));
            (crowd.users.name(id).to_owned(), Wish::default(), Some(id))
        }
        (Err(words), None) => {
            told.part("user", format!("one of `{}` is asked for", crowd.name()));
            told.note(*words);
            told.stop(&Failure::with(Kind::Unauthenticated, *words));
            return Asker::default();
        }
    };
    let now = Timestamp::now();
    if id.is_some_and(|id| crowd.users.is_expired(id, now)) {
        told.stop(&Failure::with(Kind::Denied, "the account has expired"));
    }
    let limits = crowd.limits(id);
    if !limits.allows_time(Moment::now().unix) {
        told.stop(&Failure::with(Kind::Denied, "not allowed at this time"));
    }
    let set = crowd.name().to_owned();
    let limits = Some(Arc::clone(limits));
    Asker { name: Some(name), set, rules: crowd.rules(id), wish, limits, account: None }
}

fn wish_of(
    told: &mut Told,
    face: &Forward,
    named: Option<&str>,
    users: Option<&dyn Fn(&str) -> bool>,
) -> Wish {
    let (Some(named), Some(dialect)) = (named, dialect_of(face)) else { return Wish::default() };
    match dialect::parse(dialect, named, b"", users, None).wish {
        Ok(wish) => {
            for line in said(&wish) {
                told.note(line);
            }
            wish
        }
        Err(error) => {
            told.stop(&Failure::with(Kind::WishRefused, error.to_string()));
            Wish::default()
        }
    }
}

/// A wish in words.
fn said(wish: &Wish) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |key: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("wishes {key} {value}")));
    };
    let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    say("continent", owned(&wish.continent));
    say("country", wish.country.map(|country| country.to_string()));
    say("state", owned(&wish.state));
    say("city", owned(&wish.city));
    say("zip", owned(&wish.zip));
    say("asn", wish.asn.map(|asn| asn.to_string()));
    say("exit", owned(&wish.exit));
    say("tags", (!wish.tags.is_empty()).then(|| wish.tags.join(", ")));
    if let Some(session) = &wish.session {
        let strict = if session.strict { ", strict" } else { "" };
        let ttl = session.ttl.map(|ttl| format!(" for {}", show::duration(ttl)));
        say("session", Some(format!("{}{}{strict}", session.id, ttl.unwrap_or_default())));
    }
    lines
}

/// By which exit it would leave, and why not by the others.
pub(super) fn leave(
    told: &mut Told,
    face: &Forward,
    asker: &Asker,
    (host, port): (&Host<'_>, u16),
    way: WayOut,
) -> Step<()> {
    let pool = match pool_of(face, way) {
        Ok(Some(pool)) => pool,
        Ok(None) => {
            told.part("exit", "direct");
            let may = may_go_straight(&asker.wish, asker.limits.as_deref());
            return may.map_err(|failure| refused(&failure));
        }
        Err(failure) => return Err(refused(&failure)),
    };
    let entry = policy::Entry::Connect;
    let host = Aimed { host, address: None, port, entry }.name();
    let now = Moment::now();
    let allowed = |exit: &egress::ExitInfo| match &asker.limits {
        None => true,
        Some(limits) => may_leave_by(exit, limits, asker.account.as_deref(), now),
    };
    let asking = Asking {
        wish: &asker.wish,
        whose: Whose { set: &asker.set, user: asker.name.as_deref().unwrap_or_default() },
        host: &host,
        port,
        connection: None,
        allowed: &allowed,
        tried: &[],
        now_ms: process_ms(),
    };
    tell_candidates(told, pool, &pool.candidates(&asking))
}

fn tell_candidates(told: &mut Told, pool: &Pool, candidates: &[Candidate]) -> Step<()> {
    let able = candidates.iter().filter(|candidate| candidate.refusal.is_none()).count();
    let next = candidates.iter().find(|candidate| candidate.next);
    told.part(
        "exit",
        match next {
            Some(next) => format!("`{}` of pool `{}`", next.exit().name(), next.exit().pool()),
            None => format!("one of pool `{}`", pool.name()),
        },
    );
    told.note(format!("{able} of {} exits would do now", candidates.len()));
    let config = pool.config();
    told.note(format!("up to {} exits are tried", config.attempts));
    let unfit = |candidate: &Candidate| {
        let why = candidate.refusal.as_ref()?.to_string();
        Some(other(candidate.exit().name(), why))
    };
    // Those that would do stand first: it is their turn next.
    let others =
        candidates.iter().filter(|candidate| !candidate.next).map(|candidate| {
            match unfit(candidate) {
                Some(other) => (1, other),
                None => (0, other(candidate.exit().name(), "has its turn later")),
            }
        });
    told.others(others.take(4 * OTHERS).collect());
    if able == 0 {
        let why = candidates.iter().find_map(|candidate| candidate.refusal.as_ref());
        let why = why.map(ToString::to_string).unwrap_or_default();
        return Err(refused(&Failure::with(Kind::NoExit, why)));
    }
    Ok(())
}
