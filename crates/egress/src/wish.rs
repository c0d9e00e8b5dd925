//! What a client asks of the exit that it leaves by.

use std::time::Duration;

use config::{Country, ResolveAt};

/// What a client asks of its exit. What is `None` or empty is all the same to it; an exit of
/// which a thing is asked but not known does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Wish {
    /// Two letters of a continent, lower case: `af`, `an`, `as`, `eu`, `na`, `oc`, `sa`.
    pub continent: Option<Box<str>>,
    /// The country.
    pub country: Option<Country>,
    /// The state or province: lower case, words joined by `_`, to be compared by [`same_place`].
    pub state: Option<Box<str>>,
    /// The city, as the state.
    pub city: Option<Box<str>>,
    /// The postal code: lower case.
    pub zip: Option<Box<str>>,
    /// The autonomous system.
    pub asn: Option<u32>,
    /// Each of them is a tag of the exit, or the name of a pool that it is in.
    pub tags: Vec<Box<str>>,
    /// The name of the exit.
    pub exit: Option<Box<str>>,
    /// Where names are resolved, if not where the pool says.
    pub resolve: Option<ResolveAt>,
    /// The same exit for as long as this session lasts.
    pub session: Option<SessionWish>,
}

/// A session that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionWish {
    /// Its name among those of its user: 1 to 64 ASCII letters, digits and `_`.
    pub id: Box<str>,
    /// How long it lasts, from its first request; greater than zero. `None`: as long as the
    /// pool says. What is longer than the pool allows is for the pool to cut.
    pub ttl: Option<Duration>,
    /// Whether it fails where its exit is gone, instead of going on with another.
    pub strict: bool,
}

impl SessionWish {
    /// The session that a port is, for clients that name none.
    #[must_use]
    pub fn of_port(port: u16) -> Self {
        Self { id: format!("port_{port}").into(), ttl: None, strict: false }
    }
}

impl Wish {
    /// The key of the first thing that it asks of the exit itself: not of how names are resolved
    /// there, nor of how long it stays the same one.
    #[must_use]
    pub fn of_the_exit(&self) -> Option<&'static str> {
        let key = self.difference(&Self::default())?;
        (!matches!(key, "resolve" | "session" | "ttl" | "strict")).then_some(key)
    }

    /// Which thing another wish asks for that this one does not, or otherwise: the name of its
    /// field. Places are compared by [`same_place`].
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let places = |a: &Option<Box<str>>, b: &Option<Box<str>>| match (a, b) {
            (Some(a), Some(b)) => same_place(a, b),
            (a, b) => a == b,
        };
        let ids = |wish: &Self| wish.session.as_ref().map(|session| session.id.clone());
        let ttls = |wish: &Self| wish.session.as_ref().and_then(|session| session.ttl);
        let fields = [
            ("continent", self.continent == other.continent),
            ("country", self.country == other.country),
            ("state", places(&self.state, &other.state)),
            ("city", places(&self.city, &other.city)),
            ("zip", self.zip == other.zip),
            ("asn", self.asn == other.asn),
            ("tag", self.tags == other.tags),
            ("exit", self.exit == other.exit),
            ("resolve", self.resolve == other.resolve),
            ("session", ids(self) == ids(other)),
            ("ttl", ttls(self) == ttls(other)),
            ("strict", self.session == other.session),
        ];
        fields.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
    }
}

/// Whether two names of states or cities are the same: `_` between words does not count, because
/// some clients leave it out (`newyork`). Both are in lower case already.
#[must_use]
pub fn same_place(a: &str, b: &str) -> bool {
    let letters = |text| str::chars(text).filter(|char| *char != '_');
    letters(a).eq(letters(b))
}
