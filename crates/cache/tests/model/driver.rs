//! The cache under test: the rules over a map, used as an exchange uses them.

use std::collections::HashMap;

use bytes::Bytes;
use cache::rules::{self, Answer, Asked, Kept, Miss, NotStored, Terms, Use};
use cache::{Body, Key, Stored, Time, Vary};
use message::{Block, FieldId, Method, ResponseHead, Version};

use crate::world::{Answered, Fields};

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

/// The cache.
#[derive(Default)]
pub struct Driver {
    stored: HashMap<&'static str, Vec<Stored>>,
    pub seen: Seen,
}

impl Driver {
    /// Answers a request. `origin` answers what is asked upstream, and says when its head came;
    /// `None`: it cannot be reached.
    pub fn get(
        &mut self,
        url: &'static str,
        fields: &Fields,
        now: i64,
        origin: impl FnOnce(&Fields) -> Option<(Answered, i64)>,
    ) -> Given {
        let request = block(fields);
        let asked = Asked::of(Method::Get, &request);
        let found = self.find(url, &request);
        if let Some(stored) = found.map(|at| &self.stored[url][at]) {
            match rules::judge(&stored.facts, &asked, Time(now)) {
                Use::Fresh => {
                    self.seen.hits += 1;
                    return give(stored, &asked, &request, How::Stored, now);
                }
                Use::Stale { .. } => {
                    self.seen.stale += 1;
                    return give(stored, &asked, &request, How::Stored, now);
                }
                Use::Miss(Miss::OnlyIfCached) => return error(504),
                Use::Validate(_) => {}
            }
        } else if asked.only_if_cached {
            return error(504);
        }
        let mut upstream = request.clone();
        let validated =
            found.is_some_and(|at| rules::validators([&self.stored[url][at]], &mut upstream));
        let Some((answered, received)) = origin(&texts(&upstream)) else {
            return self.instead(url, found, &asked, &request, now).unwrap_or_else(|| error(502));
        };
        let times = (Time(now), Time(received));
        if answered.status == 304 && validated {
            let at = found.expect("it was validated");
            return self.renew(url, at, &request, &asked, &answered, times);
        }
        if matches!(answered.status, 500 | 502 | 503 | 504)
            && let Some(given) = self.instead(url, found, &asked, &request, received)
        {
            return given;
        }
        self.seen.fetched += 1;
        self.keep(url, &request, &asked, &answered, times);
        Given {
            how: How::Fetched,
            status: answered.status,
            body: answered.body,
            age: 0,
            cookie: false,
        }
    }

    /// Whether what is stored was made invalid.
    pub fn post(&mut self, url: &'static str, status: u16) -> bool {
        let invalid = rules::invalidates(Method::Post, status);
        if invalid {
            self.purge(Some(url), false);
        }
        invalid
    }

    pub fn purge(&mut self, url: Option<&'static str>, soft: bool) {
        for (known, stored) in &mut self.stored {
            if url.is_some_and(|url| url != *known) {
                continue;
            }
            if soft {
                stored.iter_mut().for_each(|stored| stored.facts.marked_stale = true);
            } else {
                stored.clear();
            }
        }
    }

    /// Everything is lost.
    pub fn crash(&mut self) {
        self.stored.clear();
    }

    /// The last that was stored of those that match.
    fn find(&self, url: &str, request: &Block) -> Option<usize> {
        let matches = |stored: &Stored| rules::vary::matches(&stored.vary, request);
        self.stored.get(url)?.iter().rposition(matches)
    }

    fn instead(
        &mut self,
        url: &str,
        found: Option<usize>,
        asked: &Asked,
        request: &Block,
        now: i64,
    ) -> Option<Given> {
        let stored = self.stored.get(url)?.get(found?)?;
        if !rules::may_stand_in(&stored.facts, asked, Time(now)) {
            return None;
        }
        self.seen.stand_ins += 1;
        Some(give(stored, asked, request, How::StandIn, now))
    }

    fn renew(
        &mut self,
        url: &'static str,
        at: usize,
        request: &Block,
        asked: &Asked,
        answered: &Answered,
        times: (Time, Time),
    ) -> Given {
        self.seen.renewed += 1;
        let all = self.stored.get_mut(url).expect("it was found there");
        let head = head(answered);
        let (fresh, why) = rules::freshened(&all[at], &terms(), request, asked, &head, times);
        let given = give(&fresh, asked, request, How::Renewed, times.1.0);
        if why.is_some_and(NotStored::is_of_request) {
            return given;
        }
        all.remove(at);
        if why.is_none() {
            all.retain(|other| other.vary != fresh.vary);
            all.push(fresh);
        }
        given
    }

    fn keep(
        &mut self,
        url: &'static str,
        request: &Block,
        asked: &Asked,
        answered: &Answered,
        (requested, received): (Time, Time),
    ) {
        let head = head(answered);
        let storable = rules::storable(&terms(), request, asked, &head, requested, received);
        let Ok(facts) = storable else {
            self.seen.refused += 1;
            return;
        };
        let vary = Vary::of_answer(&head.fields, request).expect("it is for others");
        let body = Bytes::copy_from_slice(answered.body.as_bytes());
        let stored = Stored {
            key: Key::new(url.as_bytes()),
            url: cache::hash(url.as_bytes()),
            vary,
            head: rules::kept(&terms(), &head, received),
            facts,
            tags: rules::tags_of(&head.fields),
            length: Some(body.len() as u64),
            body: Body::whole(body),
            trailers: None,
            purged_by: 0.into(),
            hits: 0.into(),
            coded: Default::default(),
        };
        let all = self.stored.entry(url).or_default();
        all.retain(|other| other.vary != stored.vary);
        all.push(stored);
    }
}

fn terms() -> Terms {
    Terms::default()
}

fn give(stored: &Stored, asked: &Asked, request: &Block, how: How, now: i64) -> Given {
    let answer = rules::answer_to(&Kept::from(stored), asked, request);
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
