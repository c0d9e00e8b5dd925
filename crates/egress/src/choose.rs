//! Which exit takes a request.
//!
//! Everything that speaks against an exit is said in one place, [`Context::refusal`], which
//! `choose` and `candidates` both ask. No way through here ignores what a client wishes for:
//! whichever exit is considered comes from the plan of the wish or is held against it.

mod pinned;
mod reasons;
mod take;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use crate::lease::{ExitKey, ExitLease};
use crate::pool::{ExitInfo, List, Member, Plan, Pool, Targeting, Tier};
use crate::registry::{Holder, HostKey};
use crate::session::ConnectionMark;
use crate::wish::Wish;

pub use reasons::{NoExit, Refusal};

pub(crate) use take::Taken;

use reasons::Reasons;

/// Exits that are looked at for the least used one.
const LEAST_OF: usize = 256;

/// Turns that are taken from the others while exits are passed over, before the rest is looked
/// through without taking turns.
const SKIPPED_TURNS: usize = 16;

/// Whose a request is. Two users of one name are two users if their sets are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Whose<'a> {
    /// The set of users; empty: none.
    pub set: &'a str,
    /// The user; empty: nobody in particular.
    pub user: &'a str,
}

/// A request that asks for an exit.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// What the client wishes for.
    pub wish: &'a Wish,
    /// Whose request it is.
    pub whose: Whose<'a>,
    /// The host of the target: lower case, an address without brackets.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The client's connection.
    pub connection: Option<&'a ConnectionMark>,
    /// Whether the user may have an exit.
    pub allowed: &'a dyn Fn(&ExitInfo) -> bool,
    /// Exits that this request has tried in vain.
    pub tried: &'a [ExitKey],
    /// Now, by `net::watchdog::process_ms` or the watchdog of the core.
    pub now_ms: u64,
}

/// An exit, as it looks to a request.
#[derive(Debug)]
pub struct Candidate {
    member: Arc<Member>,
    /// 0: an own exit of the pool. The next is asked when none of those before can.
    pub tier: usize,
    /// Why it does not take it; `None`: it can.
    pub refusal: Option<Refusal>,
    /// Whether it would be taken now.
    pub next: bool,
}

impl Candidate {
    /// The exit.
    #[must_use]
    pub fn exit(&self) -> &ExitInfo {
        &self.member.info
    }
}

impl Pool {
    /// Chooses an exit, and takes it.
    ///
    /// # Errors
    /// See [`NoExit`].
    pub fn choose(self: &Arc<Self>, asking: &Asking<'_>) -> Result<ExitLease, NoExit> {
        self.registry.note_time(asking.now_ms);
        let context = Context::new(self, asking);
        context.by_session_or_rotation()
    }

    /// All exits, and what speaks against each: nothing is taken and nothing changes. With
    /// `choose "random"` none is said to be the next.
    #[must_use]
    pub fn candidates(self: &Arc<Self>, asking: &Asking<'_>) -> Vec<Candidate> {
        let context = Context::new(self, asking);
        let session = context.pin_now();
        let mut all = Vec::new();
        for (tier, members) in self.tiers().iter().enumerate() {
            for member in &members.members {
                let refusal = context.unfit(member).or_else(|| match session {
                    Some(exit) if exit != member.state.id => Some(Refusal::OtherSession),
                    _ => context.refusal(member),
                });
                all.push(Candidate { member: Arc::clone(member), tier, refusal, next: false });
            }
        }
        let next = session.or_else(|| context.peek().map(|member| member.state.id));
        for candidate in &mut all {
            candidate.next = candidate.refusal.is_none() && Some(candidate.member.state.id) == next;
        }
        all
    }
}

/// A request and what follows from it.
pub(crate) struct Context<'a> {
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) asking: &'a Asking<'a>,
    pub(crate) targeting: Targeting<'a>,
    pub(crate) host: HostKey<'a>,
    /// The target, where it is an address.
    address: Option<IpAddr>,
    is_about_places: bool,
}

impl<'a> Context<'a> {
    fn new(pool: &'a Arc<Pool>, asking: &'a Asking<'a>) -> Self {
        let targeting = Targeting::of(asking.wish, pool.name());
        let host = HostKey { name: asking.host, hash: pool.registry.hash(asking.host) };
        Self {
            pool,
            asking,
            targeting,
            host,
            address: asking.host.parse().ok(),
            is_about_places: targeting.is_about_places(),
        }
    }

    fn unfit(&self, member: &Member) -> Option<Refusal> {
        self.targeting.unfit(member).map(|key| Refusal::Unfit { key })
    }

    /// What speaks against an exit that fits: first what stays, last what is over soon.
    pub(crate) fn refusal(&self, member: &Member) -> Option<Refusal> {
        let (state, rules, now) = (&*member.state, &*member.rules, self.asking.now_ms);
        if rules.health().is_some() {
            if self.is_about_places && state.health.is_wrong_country() {
                return Some(Refusal::WrongCountry { measured: state.health.country() });
            }
            if state.health.is_ill() {
                return Some(Refusal::Ill);
            }
        }
        if self.address.is_some_and(|address| !member.has_family(address)) {
            return Some(Refusal::WrongFamily);
        }
        if !(self.asking.allowed)(&member.info) {
            return Some(Refusal::NotAllowed);
        }
        if self.asking.tried.iter().any(|key| key.is_of(state.id)) {
            return Some(Refusal::Tried);
        }
        if let Some(left_ms) = left(state.banned_until(), now) {
            return Some(Refusal::Banned { left_ms, host: false });
        }
        let (banned_until, load, next_ms) = self
            .pool
            .registry
            .hosts
            .look(state, self.host, |at| (at.banned_until(), at.load, at.next_ms))
            .unwrap_or_default();
        if let Some(left_ms) = left(banned_until, now) {
            return Some(Refusal::Banned { left_ms, host: true });
        }
        if rules.config.exclusive && !state.is_free_for(self.holder()) {
            return Some(Refusal::Held);
        }
        if member.is_full() {
            return Some(Refusal::Busy { host: false });
        }
        if rules.config.max_per_host.is_some_and(|max| load >= max) {
            return Some(Refusal::Busy { host: true });
        }
        let wait_ms = left(next_ms.max(member.next_ms()), now)?;
        rules.gap.map(|gap| Refusal::Paced { wait_ms, patience_ms: gap.patience_ms })
    }

    /// Whom an exit is given to that serves one at a time.
    pub(crate) fn holder(&self) -> Holder<'a> {
        let session = self.asking.wish.session.as_ref().map(|session| &*session.id);
        let whose = self.asking.whose;
        match (whose.user, session, self.asking.connection) {
            ("", None, Some(mark)) => Holder::Connection(mark.id()),
            ("", None, None) => Holder::Alone,
            (_, session, _) => Holder::User(whose, session),
        }
    }

    /// Chooses among all that fit, without regard to sessions and rotation. `avoid`: the exit that
    /// was there before, which is only taken if there is no other.
    pub(crate) fn fresh(&self, avoid: Option<u64>) -> Result<Taken, NoExit> {
        let plan = self.plan()?;
        let mut reasons = Reasons::default();
        for avoid in [avoid, None].iter().take(if avoid.is_some() { 2 } else { 1 }) {
            for (list, tier) in plan.lists.iter().zip(self.pool.tiers()) {
                if let Some(taken) = self.of_list(list, tier, *avoid, &mut reasons) {
                    return Ok(taken);
                }
            }
        }
        Err(reasons.sum())
    }

    fn plan(&self) -> Result<Arc<Plan>, NoExit> {
        self.pool.plan(&self.targeting).map_err(|key| NoExit::NoMatch { key })
    }

    fn of_list(
        &self,
        list: &List,
        tier: &Tier,
        avoid: Option<u64>,
        reasons: &mut Reasons,
    ) -> Option<Taken> {
        use config::ChooseExit as Choose;
        let is_free = |member: &Arc<Member>| {
            Some(member.state.id) != avoid && reasons.none(self.refusal(member))
        };
        if list.order.is_empty() {
            return None;
        }
        match self.pool.config().choose {
            Choose::RoundRobin => self.in_turn(list, tier, is_free),
            Choose::Random => self.at_random(self.pool.registry.random(), list, tier, is_free),
            Choose::LeastUsed => self.least_used(list, tier, is_free),
        }
    }

    /// The next in turn. Whoever is passed over has had its turn, so that the one behind it does
    /// not get two.
    fn in_turn(
        &self,
        list: &List,
        tier: &Tier,
        mut is_free: impl FnMut(&Arc<Member>) -> bool,
    ) -> Option<Taken> {
        let mut turn = list.turn();
        for _ in 1..SKIPPED_TURNS.min(list.order.len()) {
            if let Some(taken) = self.at(turn, list, tier, &mut is_free) {
                return Some(taken);
            }
            turn = list.turn();
        }
        let length = list.order.len() as u64;
        for passed in 0..length {
            if let Some(taken) = self.at(turn.wrapping_add(passed), list, tier, &mut is_free) {
                list.pass(passed);
                return Some(taken);
            }
        }
        None
    }

    /// The first that is free of some, and then of all from here on.
    fn at_random(
        &self,
        start: u64,
        list: &List,
        tier: &Tier,
        mut is_free: impl FnMut(&Arc<Member>) -> bool,
    ) -> Option<Taken> {
        let length = list.order.len() as u64;
        // A few throws of the dice, so that the one behind a row of banned ones is not taken for
        // all of them.
        for throw in 0..SKIPPED_TURNS.min(list.order.len()) as u64 {
            let turn = if throw == 0 { start } else { self.pool.registry.random() };
            if let Some(taken) = self.at(turn % length, list, tier, &mut is_free) {
                return Some(taken);
            }
        }
        let start = start % length;
        (0..length).find_map(|passed| self.at(start + passed, list, tier, &mut is_free))
    }

    /// The one with the least under way for its weight; of more than [`LEAST_OF`] that of so many,
    /// others each time.
    fn least_used(
        &self,
        list: &List,
        tier: &Tier,
        mut is_free: impl FnMut(&Arc<Member>) -> bool,
    ) -> Option<Taken> {
        let turn = list.turn();
        let length = list.order.len();
        let mut best: Option<(u64, &Arc<Member>)> = None;
        for passed in 0..length {
            if passed >= LEAST_OF && best.is_some() {
                break;
            }
            let Some(member) = list.at(turn.wrapping_add(passed as u64), &tier.members) else {
                continue;
            };
            let use_of = member.use_of();
            if best.is_none_or(|(least, _)| use_of < least) && is_free(member) {
                best = Some((use_of, member));
                if use_of == 0 {
                    break;
                }
            }
        }
        let taken = best.and_then(|(_, member)| self.take(member, None).ok());
        // Another core took it meanwhile: any is better than none.
        taken.or_else(|| {
            let turns = (0..length as u64).map(|passed| turn.wrapping_add(passed));
            best?;
            turns.into_iter().find_map(|turn| self.at(turn, list, tier, &mut is_free))
        })
    }

    fn at(
        &self,
        turn: u64,
        list: &List,
        tier: &Tier,
        is_free: &mut impl FnMut(&Arc<Member>) -> bool,
    ) -> Option<Taken> {
        let member = list.at(turn, &tier.members)?;
        if is_free(member) { self.take(member, None).ok() } else { None }
    }

    /// The exit that would be next, for telling.
    fn peek(&self) -> Option<&'a Arc<Member>> {
        use config::ChooseExit as Choose;
        let plan = self.plan().ok()?;
        for (list, tier) in plan.lists.iter().zip(self.pool.tiers()) {
            let first = list.cursor.load(std::sync::atomic::Ordering::Relaxed);
            let turns = (0..list.order.len() as u64).map(|passed| first.wrapping_add(passed));
            let mut free = turns
                .filter_map(|turn| list.at(turn, &tier.members))
                .filter(|member| self.refusal(member).is_none());
            let found = match self.pool.config().choose {
                Choose::RoundRobin => free.next(),
                Choose::LeastUsed => free.take(LEAST_OF).min_by_key(|member| member.use_of()),
                // Nobody knows.
                Choose::Random => return None,
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

fn left(until: u64, now: u64) -> Option<u64> {
    until.checked_sub(now).filter(|left| *left > 0)
}
