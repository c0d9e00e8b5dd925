//! What an exchange does with the cache.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use message::{Block, FieldId, Method, ResponseHead, Version};

use super::driver::{Driver, Event, Fate, Given, Heard, How, Piece, url_hash};
use super::origin::{Answered, Fields};
use super::story::Ask;
use crate::rules::{self, Answer, Asked, ByHead, Kept, Miss, Terms, Use};
use crate::{Body, Draft, Found, Held, Key, Lead, Part, Role, Stored, Time, Vary};

/// Answers what is asked upstream, and says when its head came; `None`: it cannot be reached.
pub type Origin<'o> = dyn FnMut(Method, &Fields) -> Option<(Answered, i64)> + 'o;

/// What is known of a request.
struct Asking<'a> {
    ask: &'a Ask,
    key: Key,
    url: u128,
    request: &'a Block,
    asked: &'a Asked,
    /// Nobody waits for the answer.
    behind: bool,
}

/// For what the origin was asked.
struct From<'a> {
    found: Option<Arc<Stored>>,
    /// Whether it is as it was.
    validates: bool,
    /// For what is not there of it.
    lacks: bool,
    /// For all of that, in this request.
    fills: Option<&'a Block>,
    /// The newest purge before that.
    since: u64,
}

impl Driver {
    /// Answers a request.
    pub fn ask(&mut self, ask: &Ask, now: i64, origin: &mut Origin<'_>) -> Given {
        let request = block(&ask.fields);
        let asked = Asked::of(ask.method, &request);
        let (key, url) = (key(ask.url), url_hash(ask.url));
        let at = Asking { ask, key, url, request: &request, asked: &asked, behind: false };
        for _ in 0..3 {
            let found = self.find(&at);
            let mut lacks = false;
            if let Some(stored) = &found {
                lacks = answer_to(stored, &at) == Answer::Incomplete;
                let judged = rules::judge(&stored.facts, &asked, Time(now));
                match judged {
                    _ if lacks && asked.only_if_cached => return Given::error(504),
                    _ if lacks => {}
                    Use::Fresh => return self.give(stored, &at, How::Stored, now),
                    // What is fetched with somebody's credentials is for nobody else.
                    Use::Stale { revalidate: true } if asked.authorization => {}
                    Use::Stale { revalidate } => {
                        self.seen.count("stale answers");
                        let given = self.give(stored, &at, How::Stored, now);
                        if revalidate {
                            self.refresh(&at, now, origin);
                        }
                        return given;
                    }
                    Use::Miss(Miss::OnlyIfCached) => return Given::error(504),
                    Use::Validate(_) => {}
                }
            } else if asked.only_if_cached {
                return Given::error(504);
            }
            if ask.method == Method::Head || (asked.range && (found.is_none() || lacks)) {
                return self.fetch(&at, None, found, lacks, now, origin);
            }
            match self.cache().join(&at.key, at.url, &request, found.as_ref()) {
                Role::Lead(lead) => return self.fetch(&at, Some(lead), found, lacks, now, origin),
                // It is in memory, while what was found there before is on the disk.
                Role::Stored(_) => {}
                Role::Follow(_) => panic!("nobody else asks"),
            }
        }
        self.fetch(&at, None, None, false, now, origin)
    }

    /// In memory, else on the disk.
    fn find(&mut self, at: &Asking<'_>) -> Option<Arc<Stored>> {
        let cache = self.cache();
        let mut found = cache.find(&at.key, at.request);
        if !matches!(found, Found::Here(_)) && cache.may_load(&at.key) {
            found = cache.load(&at.key, at.request);
            if let Found::Here(stored) = &found {
                let is_there = matches!(stored.body, Body::Disk(_));
                self.seen.count("answers from the disk");
                if is_there {
                    self.seen.count("answers from the disk in place");
                }
            }
        }
        match found {
            Found::Here(stored) => Some(stored),
            Found::OtherVariants | Found::Nothing => None,
        }
    }

    /// Asks again behind the back of a client (RFC 5861 §3).
    fn refresh(&mut self, at: &Asking<'_>, now: i64, origin: &mut Origin<'_>) {
        let found = self.find(at);
        let role = self.cache().join(&at.key, at.url, at.request, found.as_ref());
        let Role::Lead(lead) = role else { return };
        let asked = Asked {
            no_cache: false,
            max_age: None,
            max_stale: None,
            min_fresh: None,
            conditional: false,
            range: false,
            ..*at.asked
        };
        let ask = Ask { method: Method::Get, fills: false, meanwhile: None, ..at.ask.clone() };
        let asked = Asked { method: Method::Get, ..asked };
        let at = Asking { ask: &ask, key: at.key.clone(), asked: &asked, behind: true, ..*at };
        self.seen.count("answers that were renewed in the background");
        self.fetch(&at, Some(lead), found, false, now, origin);
    }

    /// Asks the origin: about what was `found`, or for what it `lacks`.
    fn fetch(
        &mut self,
        at: &Asking<'_>,
        lead: Option<Lead>,
        found: Option<Arc<Stored>>,
        lacks: bool,
        now: i64,
        origin: &mut Origin<'_>,
    ) -> Given {
        let since = self.cache().newest_purge();
        let mut upstream = at.request.clone();
        let (mut validates, mut fills) = (false, false);
        match &found {
            _ if at.ask.method == Method::Head => {}
            Some(stored) if lacks => {
                upstream.remove(FieldId::IfNoneMatch);
                fills = at.ask.fills && ask_for_gap(&mut upstream, stored);
            }
            Some(stored) => validates = rules::validators([&**stored], &mut upstream),
            None if at.asked.range => {
                upstream.remove(FieldId::IfNoneMatch);
            }
            None => {
                rules::validators([], &mut upstream);
            }
        }
        let answered = origin(at.ask.method, &texts(&upstream));
        if let Some(purged) = at.ask.meanwhile {
            self.purge(purged);
        }
        let mut came = answered.map(|(answered, received)| Heard {
            url: at.ask.url,
            method: at.ask.method,
            request: at.ask.fields.clone(),
            answered,
            requested: now,
            received,
            about: found.as_ref().and_then(|found| serial(&found.head.fields)),
            fate: Fate::Passed,
            ended: false,
        });
        let from = From { found, validates, lacks, fills: fills.then_some(&upstream), since };
        let given = match &mut came {
            Some(heard) => self.receive(at, lead, &from, heard),
            None => {
                lead.into_iter().for_each(|lead| lead.free(None));
                let stand_in = from.found.filter(|_| !lacks && at.ask.method == Method::Get);
                let given = stand_in.and_then(|found| self.instead(&found, at, now));
                Some(given.unwrap_or_else(|| Given::error(502)))
            }
        };
        self.events.extend(came.map(Box::new).map(Event::Heard));
        self.events.extend(at.ask.meanwhile.map(Event::Purged));
        given.unwrap_or_else(|| {
            // What came cannot be put to what is there.
            let ask = Ask { meanwhile: None, ..at.ask.clone() };
            let at = Asking { ask: &ask, key: at.key.clone(), ..*at };
            self.fetch(&at, None, None, false, now, origin)
        })
    }

    /// Does what is to be done with an answer, and makes the one to the client.
    fn receive(
        &mut self,
        at: &Asking<'_>,
        lead: Option<Lead>,
        from: &From<'_>,
        heard: &mut Heard,
    ) -> Option<Given> {
        let (status, received) = (heard.answered.status, heard.received);
        if at.ask.method == Method::Head {
            self.learn(at, from.found.as_ref(), heard, from.since);
            return Some(self.hand_on(heard));
        }
        let complete = from.found.as_ref().filter(|_| !from.lacks);
        if let (304, true, Some(old)) = (status, from.validates, complete) {
            return Some(self.renew(lead, at, old, heard, from.since));
        }
        if let (500 | 502 | 503 | 504, Some(old)) = (status, complete)
            && let Some(given) = self.instead(old, at, received)
        {
            lead.into_iter().for_each(|lead| lead.free(None));
            return Some(given);
        }
        if status != 206 {
            self.keep(lead, at, from.found.as_ref(), heard);
            return Some(self.hand_on(heard));
        }
        lead.into_iter().for_each(|lead| lead.free(None));
        let there = from.found.as_deref().filter(|_| from.lacks);
        let Some(upstream) = from.fills else {
            self.keep_part(at, there, heard, from.since);
            return Some(self.hand_on(heard));
        };
        let asked = Asked::of(Method::Get, upstream);
        let of_part = Asking { key: at.key.clone(), asked: &asked, ..*at };
        let whole = self.keep_part(&of_part, there, heard, from.since)?;
        if heard.fate != Fate::Combined || answer_to(&whole, at) == Answer::Incomplete {
            return None;
        }
        self.seen.count("answers that were completed");
        Some(self.give(&whole, at, How::Renewed, received))
    }

    /// What came goes to the client as it is.
    fn hand_on(&mut self, heard: &Heard) -> Given {
        self.seen.count("fetches");
        let Answered { status, sent, text, .. } = heard.answered.clone();
        let parts = if sent.is_empty() {
            vec![]
        } else {
            vec![Piece { bytes: text.bytes(sent.clone()), range: sent }]
        };
        Given { how: How::Fetched, status, serial: None, parts, age: 0, cookie: false }
    }

    /// What was stored, if it may stand in for an error, and was not purged meanwhile.
    fn instead(&mut self, stored: &Arc<Stored>, at: &Asking<'_>, now: i64) -> Option<Given> {
        let is_there =
            self.cache().variants(&at.key).iter().any(|found| Arc::ptr_eq(found, stored));
        if !is_there || !rules::may_stand_in(&stored.facts, at.asked, Time(now)) {
            return None;
        }
        self.seen.count("answers in place of an error");
        Some(self.give(stored, at, How::StandIn, now))
    }

    fn renew(
        &mut self,
        lead: Option<Lead>,
        at: &Asking<'_>,
        old: &Arc<Stored>,
        heard: &mut Heard,
        since: u64,
    ) -> Given {
        self.seen.count("answers that were validated");
        let (head, times) = (head(&heard.answered), times(heard));
        let (fresh, why) = rules::freshened(old, &terms(), at.request, at.asked, &head, times);
        let given = self.give(&fresh, at, How::Renewed, heard.received);
        match why {
            None => {
                heard.fate = Fate::Renewed;
                let fresh = self.cache().insert(Stored { purged_by: since.into(), ..fresh });
                lead.into_iter().for_each(|lead| lead.settle(Arc::clone(&fresh)));
                return given;
            }
            Some(why) if why.is_of_request() => {}
            Some(_) => self.end(old, heard),
        }
        lead.into_iter().for_each(|lead| lead.free(None));
        given
    }

    fn keep(
        &mut self,
        lead: Option<Lead>,
        at: &Asking<'_>,
        old: Option<&Arc<Stored>>,
        heard: &mut Heard,
    ) {
        let (head, (requested, received)) = (head(&heard.answered), times(heard));
        let storable = rules::storable(&terms(), at.request, at.asked, &head, requested, received);
        let facts = match storable {
            Ok(facts) => facts,
            Err(why) => {
                self.seen.count("answers that were not stored");
                let for_one = at.asked.cookie || at.asked.authorization;
                let of_origin = matches!(head.status, 200 | 203 | 404 | 410);
                if let Some(old) = old.filter(|_| of_origin && !for_one && !why.is_of_request()) {
                    self.end(old, heard);
                }
                return lead.into_iter().for_each(|lead| lead.free(None));
            }
        };
        let Some(mut lead) = lead else { return };
        let text = &heard.answered.text;
        let reader = lead.begin(Draft {
            key: at.key.clone(),
            url: at.url,
            vary: Vary::of_answer(&head.fields, at.request).expect("it is for others"),
            head: rules::kept(&terms(), &head, received),
            facts,
            tags: rules::tags_of(&head.fields),
            length: (heard.received % 3 > 0).then_some(text.length),
        });
        let Ok(reader) = reader else { return lead.free(None) };
        lead.push(Bytes::from(text.bytes(0..text.length)));
        drop(reader);
        if lead.finish(None).is_some() {
            heard.fate = Fate::Kept;
        }
    }

    /// Keeps a part, together with what is there.
    fn keep_part(
        &mut self,
        at: &Asking<'_>,
        there: Option<&Stored>,
        heard: &mut Heard,
        since: u64,
    ) -> Option<Arc<Stored>> {
        let (head, times) = (head(&heard.answered), times(heard));
        let sent = heard.answered.sent.clone();
        let facts = rules::storable(&terms(), at.request, at.asked, &head, times.0, times.1);
        let (Ok(facts), Some(vary)) = (facts, Vary::of_answer(&head.fields, at.request)) else {
            self.seen.count("answers that were not stored");
            return None;
        };
        let bytes = Bytes::from(heard.answered.text.bytes(sent.clone()));
        let combined = there.and_then(|there| {
            rules::combine(there, &terms(), at.request, at.asked, &head, times, &bytes)
        });
        let stored = match combined {
            Some((_, Some(_))) => return None,
            Some((combined, None)) => {
                self.seen.count("parts that were put together");
                heard.fate = Fate::Combined;
                Stored { purged_by: since.into(), ..combined }
            }
            None => {
                heard.fate = Fate::Kept;
                Stored {
                    purged_by: since.into(),
                    hits: 0.into(),
                    key: at.key.clone(),
                    vary,
                    held: Held::default(),
                    url: at.url,
                    tags: rules::tags_of(&head.fields),
                    head: rules::kept(&terms(), &head, times.1),
                    facts,
                    length: rules::ContentRange::of_part(&head.fields)?.complete,
                    body: Body::Memory(Box::new([Part { offset: sent.start, bytes }])),
                    trailers: None,
                    coded: Default::default(),
                }
            }
        };
        Some(self.cache().insert(stored))
    }

    /// Takes from an answer to HEAD what it says of the one to GET.
    fn learn(&mut self, at: &Asking<'_>, old: Option<&Arc<Stored>>, heard: &mut Heard, since: u64) {
        let Some(old) = old else { return };
        let (head, times) = (head(&heard.answered), times(heard));
        match rules::freshened_by_head(old, &terms(), at.request, at.asked, &head, times) {
            ByHead::Freshened(fresh) => {
                self.seen.count("answers that were renewed by HEAD");
                heard.fate = Fate::Renewed;
                self.cache().insert(Stored { purged_by: since.into(), ..*fresh });
            }
            ByHead::Invalid => {
                self.seen.count("answers that were ended by HEAD");
                self.end(old, heard);
            }
            ByHead::Unrelated => {}
        }
    }

    fn end(&mut self, old: &Arc<Stored>, heard: &mut Heard) {
        self.cache().remove(old);
        heard.ended = true;
    }

    fn give(&mut self, stored: &Stored, at: &Asking<'_>, how: How, now: i64) -> Given {
        let whole = 0..stored.length.unwrap_or(0);
        let (status, ranges) = match answer_to(stored, at) {
            Answer::Full if at.ask.method == Method::Head => (stored.head.status, vec![]),
            Answer::Full => (stored.head.status, vec![whole]),
            Answer::Partial(ranges) => {
                self.seen.count("parts that were given");
                (206, ranges.parts)
            }
            Answer::NotModified => (304, vec![]),
            Answer::Unsatisfiable { .. } => (416, vec![]),
            Answer::Incomplete if at.behind => (500, vec![]),
            answer => panic!("{answer:?} of {stored:?}"),
        };
        if how == How::Stored {
            self.seen.count("hits");
        }
        let parts =
            ranges.into_iter().map(|range| Piece { bytes: bytes_of(stored, &range), range });
        Given {
            how,
            status,
            serial: serial(&stored.head.fields),
            parts: parts.collect(),
            age: rules::age(&stored.facts, Time(now)),
            cookie: stored.head.fields.get(FieldId::SetCookie).is_some(),
        }
    }
}

/// Asks for what is missing of an answer, if it can be put to what is there.
fn ask_for_gap(upstream: &mut Block, stored: &Stored) -> bool {
    let (Some(length), Some(validator)) = (stored.length, rules::if_range(stored)) else {
        return false;
    };
    let Some(gap) = rules::gap(&stored.body, 0..length) else { return false };
    let validator = validator.to_vec();
    upstream.remove(FieldId::Range);
    upstream.remove(FieldId::IfRange);
    let range = format!("bytes={}-{}", gap.start, gap.end - 1);
    upstream.push(b"Range", &[range.as_bytes()]);
    upstream.push(b"If-Range", &[&validator]);
    true
}

fn bytes_of(stored: &Stored, range: &Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Body::Disk(body) = &stored.body {
        bytes.resize(usize::try_from(range.end - range.start).expect("bodies are short"), 0);
        body.file.read_exact_at(&mut bytes, body.offset + range.start).expect("it is there");
        return bytes;
    }
    let mut at = range.start;
    while at < range.end {
        let mut piece = stored.body.piece(at).expect("it is there");
        piece.truncate(usize::try_from(range.end - at).expect("bodies are short"));
        at += piece.len() as u64;
        bytes.extend_from_slice(&piece);
    }
    bytes
}

fn answer_to(stored: &Stored, at: &Asking<'_>) -> Answer {
    rules::answer_to(&Kept::from(stored), at.asked, at.request)
}

fn serial(fields: &Block) -> Option<u64> {
    let mut values = fields.values_named(b"x-serial");
    let value = values.next()?;
    assert!(values.next().is_none(), "one answer is made of two");
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn times(heard: &Heard) -> (Time, Time) {
    (Time(heard.requested), Time(heard.received))
}

fn key(url: &str) -> Key {
    Key::new(format!("r {url}").as_bytes())
}

fn terms() -> Terms {
    Terms::default()
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
