//! The cache under test, and what an exchange does with it.

use std::sync::Arc;

use bytes::Bytes;
use cache::rules::{self, Answer, Asked, Kept, Miss, Terms, Use};
use cache::{Cache, Draft, Found, Key, Lead, Purge, Role, Settings, Stored, Time, Vary, What};
use message::{Block, FieldId, Method, ResponseHead, Version};

use crate::world::{Answered, Fields, Purged};

/// What a client gets.
#[derive(Debug)]
pub struct Given {
    pub how: How,
    pub status: u16,
    pub body: String,
    /// As the field says it.
    pub age: u64,
    /// It sets a cookie.
    pub cookie: bool,
}

/// Where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Nobody was asked.
    Stored,
    /// It was stored, and given in place of an error.
    StandIn,
    /// It was stored, and the origin said that it is so still.
    Renewed,
    /// From the origin, or an error of ours.
    Fetched,
}

/// What was done, for the test of the test.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub hits: u32,
    pub stale: u32,
    pub stand_ins: u32,
    pub renewed: u32,
    pub fetched: u32,
    pub refused: u32,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.stale += other.stale;
        self.stand_ins += other.stand_ins;
        self.renewed += other.renewed;
        self.fetched += other.fetched;
        self.refused += other.refused;
    }
}

/// The cache, used as an exchange uses it.
pub struct Driver {
    cache: Arc<Cache>,
    pub seen: Seen,
}

/// What an exchange knows of its request.
struct Asking<'a> {
    key: Key,
    url: u128,
    request: &'a Block,
    asked: &'a Asked,
}

impl Driver {
    pub fn new() -> Self {
        Self { cache: empty(), seen: Seen::default() }
    }

    /// Answers a request. `origin` answers what is asked upstream, and says when its head came;
    /// `None`: it cannot be reached. What is purged `meanwhile` is purged before it answers.
    pub fn get(
        &mut self,
        url: &'static str,
        fields: &Fields,
        now: i64,
        meanwhile: Option<Purged>,
        origin: impl FnOnce(&Fields) -> Option<(Answered, i64)>,
    ) -> Given {
        let request = block(fields);
        let asked = Asked::of(Method::Get, &request);
        let at = Asking { key: key(url), url: url_hash(url), request: &request, asked: &asked };
        let found = self.find(&at);
        if let Some(stored) = &found {
            match rules::judge(&stored.facts, &asked, Time(now)) {
                Use::Fresh => {
                    self.seen.hits += 1;
                    return give(stored, &at, How::Stored, now);
                }
                Use::Stale { .. } => {
                    self.seen.stale += 1;
                    return give(stored, &at, How::Stored, now);
                }
                Use::Miss(Miss::OnlyIfCached) => return error(504),
                Use::Validate(_) => {}
            }
        } else if asked.only_if_cached {
            return error(504);
        }
        let joined = self.cache.join(&at.key, at.url, &request, found.as_ref());
        let Role::Lead(lead) = joined else { panic!("nobody else asks: {joined:?}") };
        let since = self.cache.newest_purge();
        let mut upstream = request.clone();
        let validated = rules::validators(found.as_deref(), &mut upstream);
        let answered = origin(&texts(&upstream));
        if let Some((url, soft)) = meanwhile {
            self.purge(url, soft);
        }
        let Some((answered, received)) = answered else {
            lead.free(None);
            return self.instead(&at, now).unwrap_or_else(|| error(502));
        };
        let times = (Time(now), Time(received));
        if answered.status == 304
            && validated
            && let Some(old) = found
        {
            return self.renew(lead, &at, &old, &answered, times, since);
        }
        if matches!(answered.status, 500 | 502 | 503 | 504)
            && let Some(given) = self.instead(&at, received)
        {
            lead.free(None);
            return given;
        }
        self.seen.fetched += 1;
        self.keep(lead, &at, &answered, times);
        let Answered { status, body, .. } = answered;
        Given { how: How::Fetched, status, body, age: 0, cookie: false }
    }

    /// Whether what is stored was made invalid.
    pub fn post(&mut self, url: &'static str, status: u16) -> bool {
        let invalid = rules::invalidates(Method::Post, status);
        if invalid {
            self.cache.invalidate(url.as_bytes());
        }
        invalid
    }

    pub fn purge(&mut self, url: Option<&'static str>, soft: bool) {
        let what = url.map_or(What::All, |url| What::Url(url_hash(url)));
        self.cache.purge(&Purge { what, soft });
    }

    /// Everything is lost.
    pub fn crash(&mut self) {
        self.cache = empty();
    }

    fn find(&self, at: &Asking<'_>) -> Option<Arc<Stored>> {
        match self.cache.find(&at.key, at.request) {
            Found::Here(stored) => Some(stored),
            Found::OtherVariants | Found::Nothing => None,
        }
    }

    /// What there is now, if it may stand in for an error.
    fn instead(&mut self, at: &Asking<'_>, now: i64) -> Option<Given> {
        let stored = self.find(at)?;
        if !rules::may_stand_in(&stored.facts, at.asked, Time(now)) {
            return None;
        }
        self.seen.stand_ins += 1;
        Some(give(&stored, at, How::StandIn, now))
    }

    fn renew(
        &mut self,
        lead: Lead,
        at: &Asking<'_>,
        old: &Arc<Stored>,
        answered: &Answered,
        times: (Time, Time),
        since: u64,
    ) -> Given {
        self.seen.renewed += 1;
        let head = head(answered);
        let (fresh, why) = rules::freshened(old, &terms(), at.request, at.asked, &head, times);
        let given = give(&fresh, at, How::Renewed, times.1.0);
        match why {
            None => {
                let fresh = self.cache.insert(Stored { purged_by: since.into(), ..fresh });
                lead.settle(fresh);
                return given;
            }
            Some(why) if why.is_of_request() => {}
            Some(_) => self.cache.remove(old),
        }
        lead.free(None);
        given
    }

    fn keep(&mut self, mut lead: Lead, at: &Asking<'_>, answered: &Answered, times: (Time, Time)) {
        let head = head(answered);
        let (requested, received) = times;
        let storable = rules::storable(&terms(), at.request, at.asked, &head, requested, received);
        let Ok(facts) = storable else {
            self.seen.refused += 1;
            lead.free(None);
            return;
        };
        let reader = lead.begin(Draft {
            key: at.key.clone(),
            url: at.url,
            vary: Vary::of_answer(&head.fields, at.request).expect("it is for others"),
            head: rules::kept(&terms(), &head, received),
            facts,
            tags: rules::tags_of(&head.fields),
            length: None,
        });
        let reader = reader.expect("there is room for one");
        lead.push(Bytes::copy_from_slice(answered.body.as_bytes()));
        drop(reader);
        lead.finish(None);
    }
}

fn empty() -> Arc<Cache> {
    Cache::new(&Settings { memory: 16 << 20, max_object: 1 << 20 })
}

fn key(url: &str) -> Key {
    Key::new(format!("r {url}").as_bytes())
}

fn url_hash(url: &str) -> u128 {
    cache::hash(url.as_bytes())
}

fn terms() -> Terms {
    Terms::default()
}

fn give(stored: &Stored, at: &Asking<'_>, how: How, now: i64) -> Given {
    let answer = rules::answer_to(&Kept::from(stored), at.asked, at.request);
    assert_eq!(answer, Answer::Full, "nobody asked for less");
    let body = stored.body.piece(0).expect("bodies are not empty");
    Given {
        how,
        status: stored.head.status,
        body: String::from_utf8(body.to_vec()).expect("bodies are text"),
        age: rules::age(&stored.facts, Time(now)),
        cookie: stored.head.fields.get(FieldId::SetCookie).is_some(),
    }
}

fn error(status: u16) -> Given {
    Given { how: How::Fetched, status, body: String::new(), age: 0, cookie: false }
}

fn head(answered: &Answered) -> ResponseHead {
    ResponseHead {
        fields: block(&answered.fields),
        status: answered.status,
        version: Version::Http11,
        reason_at: 0..0,
    }
}

fn block(fields: &Fields) -> Block {
    let mut block = Block::default();
    for (name, value) in fields {
        block.push(name.as_bytes(), &[value.as_bytes()]);
    }
    block
}

fn texts(fields: &Block) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("fields are text");
    fields.iter().map(|field| (text(fields.name(field)), text(fields.value(field)))).collect()
}
