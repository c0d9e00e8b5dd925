//! One answer, slice after slice.

use std::ops::Range;
use std::sync::Arc;

use ::cache::rules::{self, AskedFor, CacheStatus, Forwarded, SliceVersion, Use};
use ::cache::{Followed, Follower, Found, Key, Lead, Role, Stored, Time};
use message::{Block, ResponseHead};
use telemetry::CacheResult;

use super::super::giving::{Gift, Giving};
use super::super::intake::{Came, Intake};
use super::super::reader::{From, SliceBody};
use super::super::{Origin, Turns, announce, find, may_be_hidden};
use super::intake::{SliceIntake, Told};
use super::{LOOKED_FOR, remember_whole, slice_key};
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, Side};

/// How often one slice is looked for again, after others who fetched it came to nothing.
const MOST_TURNS: u32 = 16;

/// Slices that are looked for to say that there are some.
const FEW: u64 = 16;

/// An answer that is given slice by slice.
pub(super) struct Course<'c, 't, 'a, 'b, O> {
    turns: &'c Turns<'t, 'a, 'b, O>,
    /// The fields that the client sent.
    request: &'c Block,
    size: u64,
    extent: AskedFor,
    begun: Option<Begun>,
}

/// An answer of which the client has a head.
struct Begun {
    giving: Giving,
    version: SliceVersion,
}

/// What comes of a slice.
enum Step {
    /// It is at hand.
    Slice(SliceBody, CacheStatus, SliceVersion),
    /// It is being given, or has been.
    Given,
    /// The client has its answer.
    Done,
    /// The answer is to be given without slices. The client has seen nothing.
    Whole,
    /// To be looked for again.
    Again,
}

/// Which bytes of which version a slice is that is kept.
pub(super) fn sliced(stored: &Stored) -> Option<(SliceVersion, Range<u64>)> {
    let (version, range) = SliceVersion::of(&stored.head.fields)?;
    (stored.length == Some(range.end - range.start)).then_some((version, range))
}

impl<'c, 't, 'a, 'b, O: Origin<'a>> Course<'c, 't, 'a, 'b, O> {
    pub(super) fn new(
        turns: &'c Turns<'t, 'a, 'b, O>,
        request: &'c Block,
        size: u64,
        extent: AskedFor,
    ) -> Self {
        Self { turns, request, size, extent, begun: None }
    }

    /// Gives the answer; `false`: it is to be given without slices.
    pub(super) async fn run(&mut self, x: &mut Exchange<'a>) -> Result<bool, Failure> {
        let before = x.record.bytes_out;
        let outcome = self.give_all(x).await;
        // No server had to send what goes out here.
        if x.record.cache == Some(CacheResult::Hit) {
            x.core.counters.cache_bytes.add(x.record.bytes_out - before);
        }
        outcome
    }

    async fn give_all(&mut self, x: &mut Exchange<'a>) -> Result<bool, Failure> {
        let mut number = match self.extent {
            AskedFor::From(first, _) => first / self.size,
            // Which the last ones are, any slice tells.
            AskedFor::Whole | AskedFor::Last | AskedFor::Several => 0,
        };
        loop {
            match self.obtain(x, number).await {
                Ok(Step::Slice(slice, status, version)) => {
                    if !self.give(x, slice, status, version)? {
                        x.flush_answer().await?;
                        break;
                    }
                }
                Ok(Step::Given) => {}
                Ok(Step::Whole) => return Ok(false),
                Ok(Step::Done) => break,
                Ok(Step::Again) => {
                    self.cut(x);
                    return Err(Failure::with(Kind::ResponseIncomplete, "a slice is missing"));
                }
                Err(failure) => {
                    self.cut(x);
                    return Err(failure);
                }
            }
            let Some(begun) = &mut self.begun else { break };
            match begun.giving.until_wanted(x).await? {
                Some(at) => number = at / self.size,
                None => break,
            }
        }
        Ok(true)
    }

    /// What was given of an answer that comes to no good end.
    fn cut(&mut self, x: &mut Exchange<'a>) {
        if let Some(begun) = self.begun.take() {
            x.record.bytes_out += begun.giving.pump().moved;
        }
    }

    /// Begins the answer with a slice, or goes on with it; `false`: the head was all of it.
    fn give(
        &mut self,
        x: &mut Exchange<'a>,
        slice: SliceBody,
        status: CacheStatus,
        version: SliceVersion,
    ) -> Result<bool, Failure> {
        if let Some(begun) = &mut self.begun {
            begun.giving.supply(slice);
            return Ok(true);
        }
        let origin = self.turns.origin;
        let dress = |x: &mut Exchange<'_>, head: &mut ResponseHead| origin.dress(x, head);
        // Fields that only those may have for whom they came are not shown from the store.
        let gift = self.turns.gift(self.request, status, Time::now(), &dress);
        let gift = Gift { led: false, ..gift };
        let giving = Giving::begin(x, From::Slice(Box::new(slice)), &gift)?;
        self.begun = giving.map(|giving| Begun { giving, version });
        Ok(self.begun.is_some())
    }

    /// A slice, from wherever it comes.
    async fn obtain(&mut self, x: &mut Exchange<'a>, number: u64) -> Result<Step, Failure> {
        let key = slice_key(&self.turns.key, self.size, number);
        let url = self.turns.place.filed_under(x);
        for _ in 0..MOST_TURNS {
            let since = x.core.cache.newest_purge();
            let (stale, why) = match self.look(x, &key, number).await {
                Looked::Here(slice, status, version) => {
                    note(x, CacheResult::Hit);
                    return Ok(Step::Slice(slice, status, version));
                }
                Looked::Fetch(stale, why) => (stale, why),
            };
            if self.turns.asked.only_if_cached {
                return self.refuse(x).await;
            }
            let step = match x.core.cache.join(&key, url, &x.request.fields, stale.as_ref()) {
                Role::Lead(lead) => {
                    self.fetch(x, (&key, number, lead), (stale, why), since).await?
                }
                Role::Stored(_) => Step::Again,
                Role::Follow(follower) => match self.follow(x, follower).await? {
                    Turn::Step(step) => step,
                    Turn::Lead(lead) => {
                        self.fetch(x, (&key, number, lead), (stale, why), since).await?
                    }
                },
            };
            match step {
                Step::Again => {}
                step => return Ok(step),
            }
        }
        Ok(if self.begun.is_some() { Step::Again } else { Step::Whole })
    }

    async fn refuse(&self, x: &mut Exchange<'a>) -> Result<Step, Failure> {
        match self.begun {
            Some(_) => Ok(Step::Again),
            None => self.turns.refuse(x).await.map(|()| Step::Done),
        }
    }

    /// The version of the answer, if it has begun.
    fn version(&self) -> Option<&SliceVersion> {
        self.begun.as_ref().map(|begun| &begun.version)
    }

    /// What is kept of a slice.
    async fn look(&self, x: &mut Exchange<'a>, key: &Key, number: u64) -> Looked {
        let Found::Here(stored) = find(x, key).await else {
            let some = self.begun.is_none() && self.has_others(x, number);
            let why = if some { Forwarded::Partial } else { Forwarded::UriMiss };
            return Looked::Fetch(None, why);
        };
        let start = number * self.size;
        let Some((version, range)) = sliced(&stored).filter(|(version, range)| {
            let end = version.complete.min(start.saturating_add(self.size));
            *range == (start..end) && self.version().is_none_or(|begun| begun == version)
        }) else {
            // It is of another version than the answer that has begun.
            x.core.cache.remove(&stored);
            return Looked::Fetch(None, Forwarded::Partial);
        };
        match rules::judge(&stored.facts, &self.turns.asked, Time::now()) {
            Use::Fresh | Use::Stale { revalidate: false } => {
                let all = self.begun.is_some() || self.all_there(x, &version);
                if !all && self.turns.asked.only_if_cached {
                    return Looked::Fetch(None, Forwarded::Partial);
                }
                let status = CacheStatus {
                    hit: all,
                    forwarded: (!all).then_some(Forwarded::Partial),
                    stored: !all,
                    ..CacheStatus::default()
                };
                let slice = SliceBody::new(From::Stored(stored), range, version.complete);
                Looked::Here(slice, status, version)
            }
            Use::Stale { revalidate: true } => Looked::Fetch(Some(stored), Forwarded::Stale),
            Use::Validate(why) => Looked::Fetch(Some(stored), why),
            Use::Miss(_) => Looked::Fetch(None, Forwarded::Stale),
        }
    }

    /// The numbers of the slices of the whole answer, by the version that is known of it.
    fn numbers(&self, version: &SliceVersion) -> Range<u64> {
        let last = version.complete.saturating_sub(1) / self.size;
        match self.extent {
            AskedFor::From(first, end) => {
                let end = end.unwrap_or(version.complete).min(version.complete);
                first / self.size..end.saturating_sub(1) / self.size + 1
            }
            // How many of the last ones it is, nobody has looked at: all of them at most.
            AskedFor::Whole | AskedFor::Last | AskedFor::Several => 0..last + 1,
        }
    }

    /// Whether all slices of the answer are kept, as far as it can be said in a moment.
    fn all_there(&self, x: &Exchange<'a>, version: &SliceVersion) -> bool {
        let numbers = self.numbers(version);
        let is_there = |number| {
            let variants = x.core.cache.variants(&slice_key(&self.turns.key, self.size, number));
            variants.iter().any(|stored| {
                let now = Time::now();
                rules::vary::matches(&stored.vary, self.request)
                    && sliced(stored).is_some_and(|(of, _)| of == *version)
                    && rules::judge(&stored.facts, &self.turns.asked, now) == Use::Fresh
            })
        };
        numbers.end.saturating_sub(numbers.start) <= LOOKED_FOR && numbers.into_iter().all(is_there)
    }

    /// Whether some of the other slices are kept.
    fn has_others(&self, x: &Exchange<'a>, number: u64) -> bool {
        (0..FEW).chain(number + 1..number.saturating_add(FEW)).any(|other| {
            let key = slice_key(&self.turns.key, self.size, other);
            other != number && !x.core.cache.variants(&key).is_empty()
        })
    }

    /// Waits for a slice that somebody else fetches.
    async fn follow(&mut self, x: &mut Exchange<'a>, follower: Follower) -> Result<Turn, Failure> {
        let flight = match self.turns.await_head(x, follower).await? {
            Some(Followed::Read(flight)) => flight,
            Some(Followed::Lead(lead)) => return Ok(Turn::Lead(lead)),
            Some(Followed::Stored(_) | Followed::Again) => return Ok(Turn::Step(Step::Again)),
            Some(Followed::Free) if self.begun.is_some() => return Ok(Turn::Step(Step::Again)),
            None if self.begun.is_some() => return Err(Failure::new(Kind::ResponseTimeout)),
            Some(Followed::Free) | None => return Ok(Turn::Step(Step::Whole)),
        };
        let Some((version, range)) = SliceVersion::of(&flight.head().head.fields) else {
            return Ok(Turn::Step(Step::Again));
        };
        if self.version().is_some_and(|begun| *begun != version) {
            return Err(self.other_version(x));
        }
        note(x, CacheResult::Collapsed);
        let slice = SliceBody::new(From::Flight(flight), range, version.complete);
        let status = CacheStatus {
            forwarded: Some(Forwarded::Miss),
            collapsed: true,
            ..CacheStatus::default()
        };
        Ok(Turn::Step(Step::Slice(slice, status, version)))
    }

    /// What there is of the answer is worth nothing: there is another one now.
    fn other_version(&self, x: &Exchange<'a>) -> Failure {
        x.core.cache.invalidate(&self.turns.place.url(x));
        Failure::with(Kind::ResponseIncomplete, "the slices are of two versions")
    }

    /// Asks the origin for a slice. `since`: the newest purge before anything was looked up.
    async fn fetch(
        &mut self,
        x: &mut Exchange<'a>,
        (key, number, lead): (&Key, u64, Lead),
        (stale, why): (Option<Arc<Stored>>, Forwarded),
        since: u64,
    ) -> Result<Step, Failure> {
        let turns = self.turns;
        let cache = Arc::clone(&x.core.cache);
        let start = number.saturating_mul(self.size);
        let range = start..start.saturating_add(self.size);
        let validates = self.ask(x, stale.as_deref(), &range);
        let now = Time::now();
        let asked = &turns.asked;
        let stand_in = stale.clone().filter(|stale| rules::may_stand_in(&stale.facts, asked, now));
        let (url, target) = (turns.place.url(x), x.request.target().to_vec());
        let slice = match self.begun.take() {
            Some(Begun { giving, version }) => SliceIntake::within(key, range, (giving, version)),
            None => SliceIntake::first(key, range),
        };
        let intake = Intake {
            stale: stale.as_ref(),
            validates,
            stands_in: stand_in.is_some(),
            requested: now,
            since,
            lead: Some(lead).into(),
            slice: Some(&slice),
            ..turns.intake(&cache, (&url, &target, self.request), why)
        };
        // Of this slice the client has nothing yet: it may be asked for again.
        let sent = std::mem::replace(&mut x.head_sent, false);
        let interim = sent && std::mem::take(&mut x.record.interim_sent);
        let outcome = turns.origin.relay(x, Some(&intake)).await;
        x.head_sent |= sent;
        x.record.interim_sent |= interim;
        let came = intake.came.replace(Came::Nothing);
        // Whoever still waits has nothing to wait for.
        intake.free(false);
        x.request.fields = self.request.clone();
        let (kept, version, told) = slice.into_parts();
        let (giving, came) = match came {
            Came::Giving(giving) => (giving, None),
            came => (kept, Some(came)),
        };
        self.begun = giving.zip(version).map(|(giving, version)| Begun { giving, version });
        let status = CacheStatus { forwarded: Some(why), ..CacheStatus::default() };
        let (stored, status) = match (outcome, came) {
            (outcome, None) => {
                x.core.counters.cache_stored.inc();
                note(x, CacheResult::Miss);
                outcome?;
                if self.begun.is_none() {
                    x.flush_answer().await?;
                }
                return Ok(Step::Given);
            }
            (Err(failure), Some(_)) => {
                let hidden = match sent {
                    true => self.begun.is_some() && failure.kind.side() == Side::Upstream,
                    false => may_be_hidden(x, &failure),
                };
                let stand_in = stand_in.filter(|it| hidden && turns.is_still_there(x, it));
                let Some(stale) = stand_in else { return Err(failure) };
                x.record.note_failure(&failure);
                note(x, CacheResult::StaleIfError);
                let detail = Some("origin-unreachable");
                (stale, CacheStatus { hit: true, detail, ..status })
            }
            (Ok(()), Some(Came::Validated(stored))) => {
                note(x, CacheResult::Revalidated);
                (stored, CacheStatus { forwarded_status: Some(304), stored: true, ..status })
            }
            (Ok(()), Some(Came::Error(code))) => {
                let missing = || Failure::internal("an error without a stored answer");
                let stale = stand_in.ok_or_else(missing)?;
                note(x, CacheResult::StaleIfError);
                (stale, CacheStatus { forwarded_status: Some(code), ..status })
            }
            (Ok(()), Some(Came::Nothing | Came::Giving(_))) => {
                note(x, CacheResult::Miss);
                return match told {
                    Told::Nothing => Ok(Step::Done),
                    Told::Unfit => {
                        remember_whole(&cache, &turns.key);
                        Ok(Step::Whole)
                    }
                    Told::Apart => Ok(Step::Whole),
                    Told::OtherVersion => Err(self.other_version(x)),
                    Told::Failed => {
                        Err(Failure::with(Kind::ResponseIncomplete, "a slice did not come"))
                    }
                };
            }
        };
        match sliced(&stored) {
            // What was found good may be another version than at the beginning.
            Some((version, _)) if self.version().is_some_and(|begun| *begun != version) => {
                Err(self.other_version(x))
            }
            Some((version, range)) => {
                let slice = SliceBody::new(From::Stored(stored), range, version.complete);
                Ok(Step::Slice(slice, status, version))
            }
            None => Err(Failure::internal("what was a slice is none")),
        }
    }

    /// Makes the request one for these bytes, or for whether those that are kept are good: then
    /// it returns `true`.
    fn ask(&self, x: &mut Exchange<'a>, stale: Option<&Stored>, range: &Range<u64>) -> bool {
        let fields = &mut x.request.fields;
        let validates = rules::validators(stale, fields);
        let last = range.end - 1;
        fields.push(b"Range", &[format!("bytes={}-{last}", range.start).as_bytes()]);
        announce(fields, self.turns.place.side);
        validates
    }
}

/// Notes what was done for a slice: of all slices of an answer, what was worst counts.
fn note(x: &mut Exchange<'_>, result: CacheResult) {
    let rank = |result| match result {
        CacheResult::Hit => 0,
        CacheResult::Revalidated => 1,
        CacheResult::Collapsed => 2,
        CacheResult::StaleIfError => 3,
        _ => 4,
    };
    if x.record.cache.is_none_or(|before| rank(before) < rank(result)) {
        x.record.cache = Some(result);
    }
}

/// What is known of a slice.
enum Looked {
    /// It may be given.
    Here(SliceBody, CacheStatus, SliceVersion),
    /// It has to be asked for, or whether this is good; and why.
    Fetch(Option<Arc<Stored>>, Forwarded),
}

/// What comes of waiting for somebody else.
enum Turn {
    Step(Step),
    /// It is up to this request now.
    Lead(Lead),
}
