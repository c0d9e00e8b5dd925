//! Which exits fit what a client wishes for.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use config::Country;

use super::Member;
use crate::dialect::continent_of;
use crate::wish::{Wish, same_place};

/// The part of a wish that is about which exit it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targeting<'a> {
    wish: &'a Wish,
    /// The pool that was asked: its name as a tag is true of all its exits.
    pool: &'a str,
}

/// The same, kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OwnedTargeting {
    wish: Wish,
}

impl<'a> Targeting<'a> {
    pub(crate) fn of(wish: &'a Wish, pool: &'a str) -> Self {
        Self { wish, pool }
    }

    /// Whether anything fits.
    pub(crate) fn is_empty(&self) -> bool {
        let Wish {
            continent,
            country,
            state,
            city,
            zip,
            asn,
            tags: _,
            exit,
            resolve: _,
            session: _,
        } = self.wish;
        continent.is_none()
            && country.is_none()
            && state.is_none()
            && city.is_none()
            && zip.is_none()
            && asn.is_none()
            && exit.is_none()
            && self.tags().next().is_none()
    }

    /// Whether it is about places, which an exit in the wrong country is not in.
    pub(crate) fn is_about_places(&self) -> bool {
        let wish = self.wish;
        wish.continent.is_some()
            || wish.country.is_some()
            || wish.state.is_some()
            || wish.city.is_some()
            || wish.zip.is_some()
    }

    /// The first key of the wish that an exit does not fit.
    pub(crate) fn unfit(&self, member: &Member) -> Option<&'static str> {
        (0..KEYS.len()).find(|at| !self.fits(*at, member)).map(|at| KEYS[at])
    }

    /// The tags that not all exits of the pool have.
    fn tags(&self) -> impl Iterator<Item = &'a str> {
        let pool = self.pool;
        self.wish.tags.iter().map(|tag| &**tag).filter(move |tag| *tag != pool)
    }

    fn fits(&self, key: usize, member: &Member) -> bool {
        let (wish, labels) = (self.wish, member.info.labels());
        type Compare = fn(&str, &str) -> bool;
        let same =
            |wish: &Option<Box<str>>, label: &Option<String>, compare: Compare| match (wish, label)
            {
                (None, _) => true,
                (Some(wish), Some(label)) => compare(wish, label),
                (Some(_), None) => false,
            };
        match KEYS[key] {
            "exit" => wish.exit.as_ref().is_none_or(|name| **name == *member.info.name()),
            "continent" => wish
                .continent
                .as_ref()
                .is_none_or(|continent| labels.country.and_then(continent_of) == Some(continent)),
            "country" => wish.country.is_none() || wish.country == labels.country,
            "state" => same(&wish.state, &labels.state, same_place),
            "city" => same(&wish.city, &labels.city, same_place),
            "zip" => same(&wish.zip, &labels.zip, str::eq),
            "asn" => wish.asn.is_none() || wish.asn == labels.asn,
            _ => self.tags().all(|tag| {
                tag == member.info.pool() || labels.tags.iter().any(|label| label == tag)
            }),
        }
    }

    /// The first key that, together with those before it, nothing fits.
    pub(crate) fn impossible<'m>(
        &self,
        members: impl Iterator<Item = &'m Arc<Member>>,
    ) -> &'static str {
        // Whoever gets furthest tells which key it is.
        let first = |member: &Arc<Member>| (0..KEYS.len()).find(|key| !self.fits(*key, member));
        let furthest = members.filter_map(first).max().unwrap_or_default();
        KEYS[furthest]
    }

    pub(crate) fn kept(self) -> OwnedTargeting {
        let mut wish = self.wish.clone();
        wish.tags = self.tags().map(Into::into).collect();
        (wish.resolve, wish.session) = (None, None);
        OwnedTargeting { wish }
    }

    pub(crate) fn is(&self, other: &OwnedTargeting) -> bool {
        let (wish, other) = (self.wish, &other.wish);
        wish.country == other.country
            && wish.state == other.state
            && wish.city == other.city
            && wish.zip == other.zip
            && wish.asn == other.asn
            && wish.continent == other.continent
            && wish.exit == other.exit
            && self.tags().eq(other.tags.iter().map(|tag| &**tag))
    }
}

impl Hash for Targeting<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let wish = self.wish;
        (&wish.continent, wish.country, &wish.state, &wish.city).hash(hasher);
        (&wish.zip, wish.asn, &wish.exit).hash(hasher);
        self.tags().for_each(|tag| tag.hash(hasher));
    }
}

/// Keys of a wish, in the order in which they are judged: from wide to narrow.
const KEYS: [&str; 8] = ["exit", "continent", "country", "state", "city", "zip", "asn", "tag"];

/// Words as the index has them: those that [`same_place`] takes for one are one.
fn folded(text: &str) -> Box<str> {
    text.chars().filter(|char| *char != '_').collect::<String>().into()
}

/// The exits of one tier by what is known of them, words [`folded`].
#[derive(Debug, Default)]
pub(crate) struct Index {
    name: HashMap<Box<str>, Vec<u32>>,
    country: HashMap<Country, Vec<u32>>,
    state: HashMap<Box<str>, Vec<u32>>,
    city: HashMap<Box<str>, Vec<u32>>,
    zip: HashMap<Box<str>, Vec<u32>>,
    asn: HashMap<u32, Vec<u32>>,
}

impl Index {
    pub(super) fn new(members: &[Arc<Member>]) -> Self {
        let mut index = Self::default();
        for (at, member) in (0..).zip(members) {
            let labels = member.info.labels();
            index.name.entry(folded(member.info.name())).or_default().push(at);
            let words = [
                (&mut index.state, &labels.state),
                (&mut index.city, &labels.city),
                (&mut index.zip, &labels.zip),
            ];
            for (map, label) in words {
                if let Some(label) = label {
                    map.entry(folded(label)).or_default().push(at);
                }
            }
            if let Some(country) = labels.country {
                index.country.entry(country).or_default().push(at);
            }
            if let Some(asn) = labels.asn {
                index.asn.entry(asn).or_default().push(at);
            }
        }
        index
    }

    /// Few exits that are all of those that fit, and perhaps others. `None`: all may.
    fn narrow(&self, wish: &Wish) -> Option<&[u32]> {
        fn get<'i>(
            map: &'i HashMap<Box<str>, Vec<u32>>,
            key: &Option<Box<str>>,
        ) -> Option<&'i [u32]> {
            key.as_ref().map(|key| map.get(&folded(key)).map_or(&[][..], Vec::as_slice))
        }
        let lists = [
            get(&self.name, &wish.exit),
            get(&self.zip, &wish.zip),
            get(&self.city, &wish.city),
            get(&self.state, &wish.state),
            wish.asn.map(|asn| self.asn.get(&asn).map_or(&[][..], Vec::as_slice)),
            wish.country.map(|country| self.country.get(&country).map_or(&[][..], Vec::as_slice)),
        ];
        lists.into_iter().flatten().min_by_key(|list| list.len())
    }

    /// The exits that fit, in their order.
    pub(super) fn fitting(&self, members: &[Arc<Member>], targeting: &Targeting<'_>) -> Vec<u32> {
        let fits = |at: &u32| {
            members.get(*at as usize).is_some_and(|member| targeting.unfit(member).is_none())
        };
        match self.narrow(targeting.wish) {
            Some(few) => few.iter().copied().filter(fits).collect(),
            None => {
                (0..members.len()).filter_map(|at| u32::try_from(at).ok()).filter(fits).collect()
            }
        }
    }
}
