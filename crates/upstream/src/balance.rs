//! Which of several servers takes a request: pure choices over a slice of facts.
//!
//! A choice has two steps. [`shortlist`] marks those that may take the request at all: tiers,
//! health, who was tried, who has room. Then one of the pickers chooses among the marked ones.

#[cfg(test)]
mod tests;

/// Weights are counted in thousandths, so that slow start has steps.
pub(crate) const UNIT: u32 = 1000;

/// How a server is, the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// It takes requests.
    Well,
    /// It could not be connected to a short while ago.
    BackingOff,
    /// It failed too often, or was too slow, and is left out for a while.
    Ejected,
    /// Its checks fail.
    Ill,
}

/// What is to be known of a server to choose it or another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// Its identity, the same on every core and in every process.
    pub(crate) id: u64,
    /// Its share, in thousandths ([`UNIT`]); 0: none.
    pub(crate) weight: u32,
    /// Lower tiers come first.
    pub(crate) tier: u32,
    /// Requests under way.
    pub(crate) in_flight: u32,
    /// So many it may have.
    pub(crate) limit: u32,
    /// How it is.
    pub(crate) condition: Condition,
    /// This request has been there.
    pub(crate) tried: bool,
    /// Set by [`shortlist`].
    pub(crate) listed: bool,
}

/// Why nobody was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody takes requests at all.
    NoServer,
    /// The request has been to everyone who could take it.
    AllTried,
    /// Whoever could take it has as many as it may have.
    Full,
}

/// Marks those that may take the request: the well ones of the first tier in which anyone can
/// take it. Where a tier has fewer well ones than `panic` percent, all of it count as well. Where
/// nobody is well in any tier, everyone is tried, the ill ones last: an attempt that fails costs
/// less than a refusal that was wrong.
pub(crate) fn shortlist(candidates: &mut [Candidate], panic: u8) -> Result<(), Refused> {
    let (mut anyone, mut well, mut full) = (false, false, false);
    let mut tier = first_tier(candidates, 0);
    while let Some(level) = tier {
        anyone = true;
        let (all, fit) = count(candidates, level);
        if fit > 0 {
            well = true;
            let everyone = fit * 100 < all * usize::from(panic);
            let suits = |one: &Candidate| everyone || one.condition == Condition::Well;
            if list(candidates, level, suits, &mut full) {
                return Ok(());
            }
        }
        tier = level.checked_add(1).and_then(|from| first_tier(candidates, from));
    }
    if !anyone {
        return Err(Refused::NoServer);
    }
    if !well {
        for ill in [false, true] {
            let suits = |one: &Candidate| (one.condition == Condition::Ill) == ill;
            let mut tier = first_tier(candidates, 0);
            while let Some(level) = tier {
                if list(candidates, level, suits, &mut full) {
                    return Ok(());
                }
                tier = level.checked_add(1).and_then(|from| first_tier(candidates, from));
            }
        }
    }
    Err(if full { Refused::Full } else { Refused::AllTried })
}

/// The first tier that is not before `from` and has somebody with a share.
fn first_tier(candidates: &[Candidate], from: u32) -> Option<u32> {
    let tiers = candidates.iter().filter(|one| one.weight > 0).map(|one| one.tier);
    tiers.filter(|tier| *tier >= from).min()
}

fn count(candidates: &[Candidate], tier: u32) -> (usize, usize) {
    let of_tier = candidates.iter().filter(|one| one.tier == tier && one.weight > 0);
    of_tier.fold((0, 0), |(all, well), one| {
        (all + 1, well + usize::from(one.condition == Condition::Well))
    })
}

fn list(
    candidates: &mut [Candidate],
    tier: u32,
    suits: impl Fn(&Candidate) -> bool,
    full: &mut bool,
) -> bool {
    let mut any = false;
    for one in candidates {
        let fits = one.tier == tier && one.weight > 0 && !one.tried && suits(one);
        one.listed = fits && one.in_flight < one.limit;
        *full |= fits && !one.listed;
        any |= one.listed;
    }
    any
}

fn listed(candidates: &[Candidate]) -> impl Iterator<Item = (usize, &Candidate)> {
    candidates.iter().enumerate().filter(|(_, one)| one.listed)
}

/// Each in turn by weight, evenly spread: whoever has waited for the largest share of the turns
/// goes next. `waited` belongs to the candidates, one each, and is kept from choice to choice.
pub(crate) fn round_robin(candidates: &[Candidate], waited: &mut [i64]) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut total = 0;
    for (index, one) in listed(candidates) {
        total += i64::from(one.weight);
        waited[index] += i64::from(one.weight);
        if best.is_none_or(|best| waited[index] > waited[best]) {
            best = Some(index);
        }
    }
    let best = best?;
    waited[best] -= total;
    Some(best)
}

/// The one with the fewest requests for its weight, this one included. Of equals the first from
/// `turn` on.
pub(crate) fn least_requests(candidates: &[Candidate], turn: usize) -> Option<usize> {
    let count = candidates.len();
    let mut best: Option<usize> = None;
    for step in 0..count {
        let index = (turn % count + step) % count;
        let one = &candidates[index];
        if one.listed && best.is_none_or(|best| is_less_loaded(one, &candidates[best])) {
            best = Some(index);
        }
    }
    best
}

/// Whether the first would have fewer requests for its weight than the second.
fn is_less_loaded(one: &Candidate, other: &Candidate) -> bool {
    let load = |of: &Candidate, weight: u32| (u64::from(of.in_flight) + 1) * u64::from(weight);
    load(one, other.weight) < load(other, one.weight)
}

/// Any, by weight.
pub(crate) fn random(candidates: &[Candidate], random: u64) -> Option<usize> {
    let total: u64 = listed(candidates).map(|(_, one)| u64::from(one.weight)).sum();
    let mut left = random.checked_rem(total)?;
    for (index, one) in listed(candidates) {
        match left.checked_sub(u64::from(one.weight)) {
            Some(rest) => left = rest,
            None => return Some(index),
        }
    }
    None
}

/// Of two at random the one that answers sooner: its latency times the requests it would have.
/// Where the latency of one is not known, the requests decide.
/// `latency` says how soon one answers, in microseconds (0: not known); it is asked for the two.
pub(crate) fn peak_ewma(
    candidates: &[Candidate],
    random: u64,
    latency: impl Fn(usize) -> u32,
) -> Option<usize> {
    let count = listed(candidates).count() as u64;
    let first = random.checked_rem(count)?;
    let nth = |nth: u64| listed(candidates).nth(nth as usize).map(|(index, _)| index);
    if count == 1 {
        return nth(first);
    }
    // Another one than the first, each with the same chance.
    let second = (first + 1 + (random >> 32) % (count - 1)) % count;
    let (first, second) = (nth(first)?, nth(second)?);
    let (one, other) = (&candidates[first], &candidates[second]);
    let (soon, later) = (latency(first), latency(second));
    let first_wins = if soon == 0 || later == 0 {
        !is_less_loaded(other, one)
    } else {
        let cost = |of: &Candidate, latency| {
            f64::from(latency) * (f64::from(of.in_flight) + 1.0) / f64::from(of.weight)
        };
        cost(one, soon) <= cost(other, later)
    };
    Some(if first_wins { first } else { second })
}

/// The same one for the same key, as long as it has no more than `bound` percent of its share of
/// all requests under way; then the next in an order that the key decides (weighted rendezvous:
/// whoever joins or leaves moves only the keys of its own share).
pub(crate) fn consistent(candidates: &[Candidate], key: u64, bound: u16) -> Option<usize> {
    let (requests, weights) =
        listed(candidates).fold((1u64, 0u64), |(requests, weights), (_, one)| {
            (requests + u64::from(one.in_flight), weights + u64::from(one.weight))
        });
    let mut best: Option<(usize, f64)> = None;
    for (index, one) in listed(candidates) {
        if u64::from(one.in_flight) >= bounded(requests, weights, one.weight, bound) {
            continue;
        }
        let score = distance(key, one);
        if best.is_none_or(|(_, least)| score < least) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// So many of `requests` a server with this weight may have. Never less than its share, so there
/// is always somebody with room.
pub(crate) fn bounded(requests: u64, weights: u64, weight: u32, bound: u16) -> u64 {
    let share = u128::from(requests) * u128::from(weight) * u128::from(bound.max(100));
    share.div_ceil(u128::from(weights.max(1)) * 100) as u64
}

/// Exponentially distributed with the weight as its rate: the least of several is theirs in
/// proportion to the weights.
fn distance(key: u64, one: &Candidate) -> f64 {
    let bits = mix(key ^ one.id) >> 11;
    let uniform = (bits as f64 + 0.5) / (1u64 << 53) as f64;
    -uniform.ln() / f64::from(one.weight)
}

/// Spreads every bit over all others (the finalizer of SplitMix64).
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A hash that is the same on every core, in every process and in every version: keys must find
/// their server again after a restart (FNV-1a, then `mix`). That clients can choose keys for
/// one server is what the bound is for.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash)
}
