//! Pools of exits, built.
//!
//! A [`Pool`] is immutable; what changes of its exits is in the [`ExitRegistry`]. Its exits are in
//! tiers: first its own, then those of the pools that it leads to, in their order (a waterfall).
//! What holds for an exit (limits, pacing, bans, health) is what the pool says that it stands in;
//! what holds for a request (rotation, choice, sessions, attempts) is what the pool says that was
//! asked.

mod build;
mod lines;
mod plans;
mod source;
mod targeting;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use config::{ConfigError, Country, ExitHealth, ExitLabels, ExitPool};

use crate::ban::{BanPlan, millis};
use crate::registry::{ExitRegistry, ExitState};
use crate::way::Way;

pub(crate) use plans::{List, Plan};
pub(crate) use source::SourceKey;
pub(crate) use targeting::Targeting;

/// What a GeoIP database knows of an address.
pub type Geo = Arc<dyn Fn(IpAddr) -> Option<ExitLabels> + Send + Sync>;

/// What pools are built with.
pub struct Surroundings<'a> {
    /// What is known of exits.
    pub registry: &'a Arc<ExitRegistry>,
    /// Whom the certificates of `https` parents may come from.
    pub roots: &'a tls::Roots,
    /// Labels for exits that have none, and for measured addresses.
    pub geo: Option<Geo>,
    /// Where copies of lists from URLs are.
    pub state: Option<&'a Path>,
}

/// All pools of a configuration.
#[derive(Debug)]
pub struct Pools {
    pools: Vec<Arc<Pool>>,
}

impl Pools {
    /// Builds all pools together, since they may lead to each other. It reads the lists.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn build(
        pools: &[ExitPool],
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, Vec<ConfigError>> {
        build::build(pools, surroundings).map(|pools| Self { pools })
    }

    /// The pool with this index in [`config::Config::exits`].
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Arc<Pool>> {
        self.pools.get(index)
    }

    /// All, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.iter()
    }
}

/// A pool of exits.
pub struct Pool {
    name: Arc<str>,
    rules: Arc<Rules>,
    /// Never empty; the first are its own, and may be none.
    tiers: Vec<Arc<Tier>>,
    /// Where an exit is, by its number.
    places: HashMap<u64, (usize, u32)>,
    plans: plans::Plans,
    geo: Option<Geo>,
    pub(crate) registry: Arc<ExitRegistry>,
}

impl Pool {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &ExitPool {
        &self.rules.config
    }

    /// What is known of its exits.
    #[must_use]
    pub fn registry(&self) -> &Arc<ExitRegistry> {
        &self.registry
    }

    /// All exits that it may choose, its own first.
    pub fn exits(&self) -> impl Iterator<Item = &ExitInfo> {
        self.tiers.iter().flat_map(|tier| &tier.members).map(|member| &member.info)
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn own_members(&self) -> &[Arc<Member>] {
        self.tiers.first().map_or(&[], |tier| &tier.members)
    }

    pub(crate) fn tiers(&self) -> &[Arc<Tier>] {
        &self.tiers
    }

    /// The exit with this number, if it is still among those that can be chosen.
    pub(crate) fn member(&self, exit: u64) -> Option<&Arc<Member>> {
        let (tier, at) = self.places.get(&exit)?;
        self.tiers.get(*tier)?.members.get(*at as usize)
    }

    /// Which exits fit, in the order in which they take turns; `Err` names the key that none fits.
    pub(crate) fn plan(&self, targeting: &Targeting<'_>) -> Result<Arc<Plan>, &'static str> {
        self.plans.get(&self.registry, &self.tiers, targeting)
    }

    pub(crate) fn geo(&self, address: IpAddr) -> Option<ExitLabels> {
        self.geo.as_ref().and_then(|geo| geo(address))
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The own exits of one pool.
#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) members: Vec<Arc<Member>>,
    pub(crate) index: targeting::Index,
}

/// An exit as a configuration has it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) info: ExitInfo,
    pub(crate) state: Arc<ExitState>,
    pub(crate) way: Way,
    pub(crate) rules: Arc<Rules>,
    pub(crate) weight: u32,
    /// Requests and connections at once.
    pub(crate) max: Option<u32>,
}

/// What an exit is, for those who decide about it and tell of it.
#[derive(Debug)]
pub struct ExitInfo {
    kind: &'static str,
    labels: ExitLabels,
    state: Arc<ExitState>,
}

impl ExitInfo {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.identity.name
    }

    /// The name of the pool that it stands in. Where that was reached by a waterfall, it is not
    /// the pool that was asked.
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.state.identity.pool
    }

    /// What it is, in a word: `direct`, `address`, `prefix`, `proxy`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What is known of it, as written (or of its address).
    #[must_use]
    pub fn labels(&self) -> &ExitLabels {
        &self.labels
    }

    /// What 10⁹ bytes cost, in millionths of the unit of money.
    #[must_use]
    pub fn price(&self) -> Option<u64> {
        self.labels.price
    }

    /// The country that it is in: the measured one, if it was measured, else that of the label.
    /// This is what the countries of a user are to be compared with.
    #[must_use]
    pub fn country(&self) -> Option<Country> {
        self.state.health.country().or(self.labels.country)
    }
}

/// What a pool says, compiled.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: ExitPool,
    pub(crate) bans: BanPlan,
    pub(crate) gap: Option<Gap>,
    /// Whether what an exit does at one host matters.
    pub(crate) cares_for_hosts: bool,
}

/// Pacing, compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gap {
    pub(crate) gap_ms: u64,
    pub(crate) per_host: bool,
    pub(crate) patience_ms: u64,
    pub(crate) retry_after: bool,
}

impl Rules {
    pub(crate) fn build(config: &ExitPool) -> Result<Self, ConfigError> {
        let bans = BanPlan::build(&config.bans)?;
        let gap = config.pacing.map(|pacing| Gap {
            // Rounded up: never faster than what is written.
            gap_ms: millis(pacing.gap.saturating_add(std::time::Duration::from_micros(999))),
            per_host: pacing.per_host,
            patience_ms: millis(pacing.wait),
            retry_after: pacing.retry_after,
        });
        let cares_for_hosts = bans.cares_for_hosts()
            || config.max_per_host.is_some()
            || gap.is_some_and(|gap| gap.per_host || gap.retry_after);
        Ok(Self { config: config.clone(), bans, gap, cares_for_hosts })
    }

    pub(crate) fn health(&self) -> Option<&ExitHealth> {
        self.config.health.as_ref()
    }
}
