//! The exits that fit a wish, in the order in which they take turns: worked out once for each
//! wish that there is, and kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use config::ChooseExit;
use hashbrown::HashTable;

use super::targeting::OwnedTargeting;
use super::{Member, Targeting, Tier};
use crate::registry::ExitRegistry;

/// Wishes that one pool remembers the exits of. Only wishes that something fits are remembered,
/// so their number is that of the labels and what they are combined to.
const MOST: usize = 4096;

/// Turns that the plans of one pool have together, at four bytes each; a single plan may have
/// more. Without this, wishes that many exits fit could take much memory.
const MOST_TURNS: usize = 8 << 20;

const SHARDS: usize = 16;

/// A weight is worth at most so many turns of a list; the mean of all is at most [`MEAN_TURNS`].
const MEAN_TURNS: u64 = 4;

/// Lists of few exits may have so many turns in all.
const FEW_TURNS: u64 = 1024;

/// The exits that fit a wish: one list for each tier.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) lists: Box<[List]>,
}

/// The exits of one tier that fit.
#[derive(Debug)]
pub(crate) struct List {
    /// Each as often as its weight says, well spread.
    pub(crate) order: Box<[u32]>,
    /// Counts turns, for all cores.
    pub(crate) cursor: AtomicU64,
}

pub(super) struct Plans {
    choose: ChooseExit,
    /// For whoever wishes for nothing.
    all: OnceLock<Arc<Plan>>,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Default)]
struct Shard {
    table: HashTable<Kept>,
    turns: usize,
}

struct Kept {
    hash: u64,
    targeting: OwnedTargeting,
    plan: Arc<Plan>,
}

impl Plans {
    pub(super) fn new(choose: ChooseExit) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { choose, all: OnceLock::new(), shards }
    }

    pub(super) fn get(
        &self,
        registry: &ExitRegistry,
        tiers: &[Arc<Tier>],
        targeting: &Targeting<'_>,
    ) -> Result<Arc<Plan>, &'static str> {
        if targeting.is_empty() {
            return Ok(Arc::clone(self.all.get_or_init(|| Arc::new(self.make(tiers, targeting)))));
        }
        let hash = registry.hash(targeting);
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        let same = |kept: &Kept| kept.hash == hash && targeting.is(&kept.targeting);
        // Nothing that is done under the lock panics half way.
        let find = || {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.table.find(hash, same).map(|kept| Arc::clone(&kept.plan))
        };
        if let Some(plan) = find() {
            return Ok(plan);
        }
        let plan = Arc::new(self.make(tiers, targeting));
        if plan.lists.iter().all(|list| list.order.is_empty()) {
            return Err(targeting.impossible(tiers.iter().flat_map(|tier| &tier.members)));
        }
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        // All cores are to share one cursor: the first plan stays.
        if let Some(kept) = shard.table.find(hash, same) {
            return Ok(Arc::clone(&kept.plan));
        }
        shard.keep(Kept { hash, targeting: targeting.kept(), plan: Arc::clone(&plan) });
        Ok(plan)
    }

    fn make(&self, tiers: &[Arc<Tier>], targeting: &Targeting<'_>) -> Plan {
        let list = |tier: &Arc<Tier>| {
            let fitting = tier.index.fitting(&tier.members, targeting);
            let order = match self.choose {
                // The load decides, and it is divided by the weight.
                ChooseExit::LeastUsed => fitting,
                ChooseExit::RoundRobin | ChooseExit::Random => spread(&fitting, &tier.members),
            };
            List { order: order.into(), cursor: AtomicU64::new(0) }
        };
        Plan { lists: tiers.iter().map(list).collect() }
    }
}

impl Shard {
    fn keep(&mut self, kept: Kept) {
        self.turns += kept.plan.turns();
        while self.table.len() >= MOST / SHARDS || self.turns > MOST_TURNS / SHARDS {
            let Some(hash) = self.table.iter().next().map(|kept| kept.hash) else { break };
            let Ok(entry) = self.table.find_entry(hash, |kept| kept.hash == hash) else { break };
            self.turns -= entry.remove().0.plan.turns();
        }
        self.table.insert_unique(kept.hash, kept, |kept| kept.hash);
    }
}

impl Plan {
    fn turns(&self) -> usize {
        self.lists.iter().map(|list| list.order.len()).sum()
    }
}

impl List {
    /// The next turn.
    pub(crate) fn turn(&self) -> u64 {
        self.cursor.fetch_add(1, Ordering::Relaxed)
    }

    /// Turns that were passed over count as taken.
    pub(crate) fn pass(&self, turns: u64) {
        if turns > 0 {
            self.cursor.fetch_add(turns, Ordering::Relaxed);
        }
    }

    /// The exit whose turn it is.
    pub(crate) fn at<'m>(&self, turn: u64, members: &'m [Arc<Member>]) -> Option<&'m Arc<Member>> {
        let length = self.order.len() as u64;
        let at = turn.checked_rem(length)?;
        members.get(self.order[at as usize] as usize)
    }
}

/// Puts each exit as often as its weight says, at even distances: the `k`-th of `w` turns comes
/// at `(k + ½) / w` of the round.
fn spread(fitting: &[u32], members: &[Arc<Member>]) -> Vec<u32> {
    let weight = |at: u32| members.get(at as usize).map_or(1, |member| u64::from(member.weight));
    let divisor = fitting.iter().map(|at| weight(*at)).reduce(gcd).unwrap_or(1).max(1);
    let sum: u64 = fitting.iter().map(|at| weight(*at) / divisor).sum();
    if sum == fitting.len() as u64 {
        return fitting.to_vec();
    }
    let most = (fitting.len() as u64 * MEAN_TURNS).max(FEW_TURNS);
    let turns_of = |at: u32| {
        let share = weight(at) / divisor;
        // Too many turns are made fewer in proportion, but none is made nothing.
        if sum <= most { share } else { (share * most).div_ceil(sum) }
    };
    let mut turns = Vec::new();
    for at in fitting {
        let count = turns_of(*at);
        turns.extend((0..count).map(|turn| (((2 * turn + 1) << 32) / (2 * count), *at)));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, at)| at).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
