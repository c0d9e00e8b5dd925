//! Whether a stored answer may be used for a request (RFC 9111 §4).

use super::Asked;
use super::status::Forwarded;
use crate::{Facts, Time};

/// What may be done with a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is the answer.
    Fresh,
    /// It is the answer although it is stale.
    Stale {
        /// Whether it is to be validated behind the client's back (RFC 5861 §3).
        revalidate: bool,
    },
    /// Only after it was validated.
    Validate(Forwarded),
    /// Not for this request.
    Miss(Miss),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// It would have to be validated, and the client wants nothing to be asked
    /// (`only-if-cached`): 504.
    OnlyIfCached,
}

/// Whether this answer, which matches the request by key and `Vary`, may be used for it now.
#[must_use]
pub fn judge(facts: &Facts, asked: &Asked, now: Time) -> Use {
    match usable(facts, asked, now) {
        Use::Validate(_) if asked.only_if_cached => Use::Miss(Miss::OnlyIfCached),
        judged => judged,
    }
}

fn usable(facts: &Facts, asked: &Asked, now: Time) -> Use {
    if facts.no_cache {
        return Use::Validate(Forwarded::Stale);
    }
    let age = age_in_millis(facts, now);
    let fresh = facts.lifetime > age && !facts.marked_stale;
    if !is_as_wished(facts, asked, age, fresh) {
        return Use::Validate(if fresh { Forwarded::Request } else { Forwarded::Stale });
    }
    if fresh {
        return Use::Fresh;
    }
    let stale_for = age.saturating_sub(facts.lifetime);
    if asked.min_fresh.is_none() && asked.max_age.is_none() && stale_for < facts.while_revalidate {
        return Use::Stale { revalidate: true };
    }
    // A client cannot ask for what somebody has purged.
    let taken = asked.max_stale.is_some_and(|most| stale_for <= millis(most));
    if taken && !facts.must_revalidate && !facts.marked_stale && asked.min_fresh.is_none() {
        return Use::Stale { revalidate: false };
    }
    Use::Validate(Forwarded::Stale)
}

fn is_as_wished(facts: &Facts, asked: &Asked, age: u64, fresh: bool) -> bool {
    if asked.no_cache {
        return false;
    }
    if let Some(least) = asked.min_fresh
        && facts.lifetime.saturating_sub(age) < millis(least)
    {
        return false;
    }
    match asked.max_age {
        // RFC 8246 §2: a reload sends `max-age=0`, and need not ask for what never changes.
        Some(0) => facts.immutable && fresh,
        Some(most) => age <= millis(most),
        None => true,
    }
}

/// Whether it may be given in place of an error: the origin cannot be reached, or says 500, 502,
/// 503 or 504 (RFC 5861 §4).
#[must_use]
pub fn may_stand_in(facts: &Facts, asked: &Asked, now: Time) -> bool {
    if facts.no_cache || asked.no_cache {
        return false;
    }
    let age = age_in_millis(facts, now);
    if facts.lifetime > age && !facts.marked_stale {
        return true;
    }
    let wished = asked.if_error.filter(|_| !facts.must_revalidate).map_or(0, millis);
    age.saturating_sub(facts.lifetime) < facts.if_error.max(wished)
}

/// Its age in seconds (RFC 9111 §4.2.3), for the field.
#[must_use]
pub fn age(facts: &Facts, now: Time) -> u64 {
    age_in_millis(facts, now) / 1000
}

/// How many seconds it is fresh yet; negative: it has been stale for so long (RFC 9211 §2.4).
#[must_use]
pub fn ttl(facts: &Facts, now: Time) -> i64 {
    let signed = |span: u64| i64::try_from(span / 1000).unwrap_or(i64::MAX);
    signed(facts.lifetime).saturating_sub(signed(age_in_millis(facts, now)))
}

fn age_in_millis(facts: &Facts, now: Time) -> u64 {
    facts.initial_age.saturating_add(now.since(facts.received))
}

pub(super) fn millis(seconds: u64) -> u64 {
    seconds.saturating_mul(1000)
}
