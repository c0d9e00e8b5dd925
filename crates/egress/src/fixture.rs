//! What the tests of several modules need.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use config::{ConfigError, Country, Exit, ExitKind, ExitPool, Span};

use crate::{
    Asking, ConnectionMark, ExitInfo, ExitKey, ExitLease, ExitRegistry, Geo, NoExit, Pool, Pools,
    SessionWish, Surroundings, Whose, Wish,
};

/// Later than what the clock of the process shows.
pub(crate) const T0: u64 = 1_000_000_000;

pub(crate) fn span() -> Span {
    (0, 0).into()
}

/// An exit from `127.0.1.NUMBER`.
pub(crate) fn exit(number: u8, country: &str) -> Exit {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 1, number));
    let mut exit = Exit::new(&format!("e{number}"), ExitKind::Address(address), span());
    exit.labels.country = Country::parse(country);
    exit
}

/// So many exits, all in one country.
pub(crate) fn exits(count: u8, country: &str) -> Vec<Exit> {
    (1..=count).map(|number| exit(number, country)).collect()
}

pub(crate) fn pool(exits: Vec<Exit>) -> ExitPool {
    ExitPool::new("world", exits, span())
}

/// A registry and the pools that were built with it.
pub(crate) struct World {
    pub(crate) registry: Arc<ExitRegistry>,
    pub(crate) pools: Pools,
    pub(crate) geo: Option<Geo>,
}

impl World {
    pub(crate) fn new(pools: &[ExitPool]) -> Self {
        Self::with_geo(pools, None)
    }

    pub(crate) fn with_geo(pools: &[ExitPool], geo: Option<Geo>) -> Self {
        let registry = ExitRegistry::new();
        let pools = build(pools, &registry, geo.clone()).expect("a good configuration");
        Self { registry, pools, geo }
    }

    /// Another configuration for the same process.
    pub(crate) fn reload(&mut self, pools: &[ExitPool]) {
        self.pools = build(pools, &self.registry, self.geo.clone()).expect("a good configuration");
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        self.pools.get(0).expect("there is one")
    }

    pub(crate) fn choose(&self, ask: &Ask) -> Result<ExitLease, NoExit> {
        ask.of(self.pool())
    }
}

pub(crate) fn build(
    pools: &[ExitPool],
    registry: &Arc<ExitRegistry>,
    geo: Option<Geo>,
) -> Result<Pools, Vec<ConfigError>> {
    let roots = tls::Roots::default();
    Pools::build(pools, &Surroundings { registry, roots: &roots, geo, state: None })
}

/// An [`Asking`] that owns what it says.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) wish: Wish,
    pub(crate) set: String,
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) mark: Option<std::rc::Rc<ConnectionMark>>,
    pub(crate) tried: Vec<ExitKey>,
    pub(crate) now: u64,
    pub(crate) allowed: fn(&ExitInfo) -> bool,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            wish: Wish::default(),
            set: "staff".into(),
            user: "alice".into(),
            host: "shop.example".into(),
            mark: None,
            tried: Vec::new(),
            now: T0,
            allowed: |_| true,
        }
    }
}

impl Ask {
    pub(crate) fn country(country: &str) -> Self {
        let mut ask = Self::default();
        ask.wish.country = Country::parse(country);
        ask
    }

    pub(crate) fn session(id: &str) -> Self {
        let mut ask = Self::default();
        ask.wish.session = Some(SessionWish { id: id.into(), ttl: None, strict: false });
        ask
    }

    pub(crate) fn strict(mut self) -> Self {
        if let Some(session) = &mut self.wish.session {
            session.strict = true;
        }
        self
    }

    pub(crate) fn user(mut self, user: &str) -> Self {
        self.user = user.into();
        self
    }

    pub(crate) fn set(mut self, set: &str) -> Self {
        self.set = set.into();
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub(crate) fn at(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    pub(crate) fn of(&self, pool: &Arc<Pool>) -> Result<ExitLease, NoExit> {
        self.with(|asking| pool.choose(asking))
    }

    pub(crate) fn with<R>(&self, then: impl FnOnce(&Asking<'_>) -> R) -> R {
        then(&Asking {
            wish: &self.wish,
            whose: Whose { set: &self.set, user: &self.user },
            host: &self.host,
            port: 443,
            connection: self.mark.as_deref(),
            allowed: &self.allowed,
            tried: &self.tried,
            now_ms: self.now,
        })
    }
}

/// The name of the exit that was chosen.
pub(crate) fn name(lease: &Result<ExitLease, NoExit>) -> String {
    match lease {
        Ok(lease) => lease.exit().name().to_owned(),
        Err(error) => panic!("no exit: {error}"),
    }
}
