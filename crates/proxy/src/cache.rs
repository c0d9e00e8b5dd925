//! Requests that may be answered from the cache, and responses that go into it (RFC 9111).
//!
//! [`serve`] stands between the gate and the origin of either face. What may be used, and what
//! may be stored, the crate `cache` says; here are the ways that a request can take:
//!
//! - a *hit* is answered by [`Giving`] and nobody else is asked;
//! - otherwise the request *leads*: it goes to the origin with an [`Intake`], which takes the
//!   response if it can be stored, and gives it to all who wait for the same;
//! - or it *follows* one that leads.

mod coded;
mod giving;
mod image;
mod intake;
mod lines;
mod load;
mod plan;
pub(crate) mod purge;
mod reader;
mod refresh;
mod slices;

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use ::cache::rules::{self, Answer, Asked, CacheStatus, Forwarded, Use};
use ::cache::{Cache, Followed, Follower, Found, Key, Lead, Role, Stored, Time};
use message::framing::BodyLength;
use message::target::PathAndQuery;
use message::{Block, FieldId, Method, ResponseHead};
use telemetry::CacheResult;

use crate::exchange::{Aim, Exchange};
use crate::failure::{Failure, Kind};
use crate::packing::{Packing, Versions};
use crate::respond::Answer as Said;
use crate::reverse::passes_upgrade;

pub(crate) use coded::Wanted;
pub(crate) use giving::{Gift, Giving};
use intake::PartWatch;
pub(crate) use intake::{Came, Intake, Offer, fill};
use load::find;
pub(crate) use plan::{CachePlan, Effective, Side};
pub(crate) use refresh::refresh;

/// How often a request looks again, after what it waited for turned out to be for others.
const MOST_TURNS: u32 = 4;

/// Where a request goes that cannot be answered from the cache.
pub(crate) trait Origin<'a> {
    /// Relays the request; `intake` may take the response.
    async fn relay(&self, x: &mut Exchange<'a>, intake: Option<&Intake<'_>>)
    -> Result<(), Failure>;
    /// Adds to the head of a response what is said to this client alone.
    fn dress(&self, x: &mut Exchange<'_>, head: &mut ResponseHead);
}

/// The cache as one request sees it.
pub(crate) struct Place<'a, 'b> {
    pub(crate) plan: &'a CachePlan,
    pub(crate) packing: Option<&'a Packing>,
    pub(crate) side: Side,
    pub(crate) scheme: &'static str,
    pub(crate) aim: &'b Aim,
    pub(crate) path: &'b PathAndQuery,
    /// What is meant where no host is named.
    pub(crate) site: &'a str,
}

impl<'a> Place<'a, '_> {
    fn effective<'e>(&'e self, x: &'e Exchange<'_>) -> Effective<'e> {
        Effective {
            side: self.side,
            scheme: self.scheme,
            authority: self.aim.authority.as_ref(),
            site: self.site,
            target: x.request.target(),
            at: self.path,
            fields: &x.request.fields,
        }
    }

    /// What makes the request the same as others.
    fn key(&self, x: &Exchange<'_>) -> Key {
        self.plan.key(&self.effective(x))
    }

    /// Its URL in its one spelling.
    fn url(&self, x: &Exchange<'_>) -> Vec<u8> {
        plan::url(&self.effective(x))
    }

    /// What answers to it are filed under.
    fn filed_under(&self, x: &Exchange<'_>) -> u128 {
        self.plan.filed_under(&self.url(x))
    }

    /// What the request has to do with dictionaries, where they are used.
    fn versions(&self, x: &Exchange<'_>, key: &Key) -> Option<Box<Versions>> {
        // Where clients get answers of their own, none of them is to help others.
        self.packing.filter(|packing| packing.dictionaries && !self.plan.is_by_client())?;
        let target = x.request.target();
        let target = [&target[self.path.path.clone()], &target[self.path.query.clone()]].concat();
        Versions::of(&x.core.dictionaries, key, &self.url(x), target, &x.request.fields)
            .map(Box::new)
    }

    /// Whether an answer can be fetched again without a client.
    fn refreshes(&self) -> bool {
        self.side == Side::Reverse
    }
}

/// Serves a request that was let in.
pub(crate) async fn serve<'a, O: Origin<'a>>(
    x: &mut Exchange<'a>,
    place: &Place<'a, '_>,
    origin: &O,
) -> Result<(), Failure> {
    if purge::is_asked_for(x.request.method_text(), place.plan) {
        return Box::pin(purge::serve(x, place)).await;
    }
    let method = x.request.method;
    let cacheable = matches!(method, Method::Get | Method::Head)
        && x.body == BodyLength::None
        && !passes_upgrade(x);
    if !cacheable {
        return Box::pin(around(x, place, origin)).await;
    }
    let asked = Asked::of(method, &x.request.fields);
    let key = place.key(x);
    let versions = place.versions(x, &key);
    let turns = Turns { place, origin, asked, key, versions };
    if let Some(begun) = turns.at_hand(x) {
        return turns.finish(x, &mut begun?).await;
    }
    if let Some(size) = place.plan.slice
        && Box::pin(turns.by_slices(x, size)).await?
    {
        return Ok(());
    }
    // Boxed: an answer that is at hand has no need of the room.
    Box::pin(turns.run(x)).await
}

/// A request that is not answered from the cache: it may make invalid what is stored.
async fn around<'a, O: Origin<'a>>(
    x: &mut Exchange<'a>,
    place: &Place<'a, '_>,
    origin: &O,
) -> Result<(), Failure> {
    let asked = Asked::of(x.request.method, &x.request.fields);
    let key = place.key(x);
    let request = Block::default();
    let turns = Turns { place, origin, asked, key, versions: None };
    let cache = Arc::clone(&x.core.cache);
    let why = match x.request.method {
        Method::Get | Method::Head => Forwarded::Bypass,
        _ => Forwarded::Method,
    };
    let (url, target) = (place.url(x), x.request.target().to_vec());
    let intake = turns.intake(&cache, (&url, &target, &request), why);
    x.record.cache = Some(CacheResult::Bypass);
    origin.relay(x, Some(&intake)).await
}

/// One request on its way through the cache.
struct Turns<'t, 'a, 'b, O> {
    place: &'t Place<'a, 'b>,
    origin: &'t O,
    asked: Asked,
    key: Key,
    versions: Option<Box<Versions>>,
}

impl<'a, O: Origin<'a>> Turns<'_, 'a, '_, O> {
    /// The most frequent case by far, in which nothing has to be waited for: begins to answer with
    /// what is in memory and fresh. `None`: [`Self::run`] finds out.
    fn at_hand(&self, x: &mut Exchange<'a>) -> Option<Result<Option<Giving>, Failure>> {
        let Found::Here(stored) = x.core.cache.find(&self.key, &x.request.fields) else {
            return None;
        };
        let now = Time::now();
        let ready = stored.is_whole()
            && !load::is_out_of_reach(&x.core.cache, &stored)
            && rules::judge(&stored.facts, &self.asked, now) == Use::Fresh
            && self.place.packing.is_none_or(|packing| {
                coded::wanted(packing, &stored, &x.request.fields, self.versions.as_deref())
                    .is_none()
            });
        if !ready {
            return None;
        }
        x.record.cache = Some(CacheResult::Hit);
        let hit = CacheStatus { hit: true, ..CacheStatus::default() };
        Some(self.begin_lent(x, stored, hit, now))
    }

    async fn run(&self, x: &mut Exchange<'a>) -> Result<(), Failure> {
        for _ in 0..MOST_TURNS {
            // Purges from here on are about whatever comes of it.
            let since = x.core.cache.newest_purge();
            let (stale, forwarded) = match self.look(x).await {
                Look::Given(stored, status, result) => {
                    x.record.cache = Some(result);
                    return self.give(x, stored, status).await;
                }
                Look::Refused => return self.refuse(x).await,
                Look::Fetch(stale, forwarded) => (stale, forwarded),
            };
            let apart = self.asked.range && (stale.is_none() || forwarded == Forwarded::Partial);
            if self.asked.method == Method::Head || apart {
                return self.fetch(x, (None, since), stale, forwarded).await;
            }
            let cache = &x.core.cache;
            let known = stale.is_none() && cache.is_known_miss(&self.key, Time::now());
            let url = self.place.filed_under(x);
            let lead = match cache.join(&self.key, url, &x.request.fields, stale.as_ref()) {
                Role::Lead(lead) => Some(lead),
                Role::Stored(_) => continue,
                // It was seen that nobody can wait for it.
                Role::Follow(_) if known => None,
                Role::Follow(follower) => match self.follow(x, follower).await? {
                    Turn::Done => return Ok(()),
                    Turn::Lead(lead) => Some(lead),
                    Turn::Again => continue,
                    Turn::Alone => return self.fetch(x, (None, since), stale, forwarded).await,
                },
            };
            return self.fetch(x, (lead, since), stale, forwarded).await;
        }
        let since = x.core.cache.newest_purge();
        self.fetch(x, (None, since), None, Forwarded::Miss).await
    }

    /// What there is for the request.
    async fn look(&self, x: &mut Exchange<'a>) -> Look {
        let found = find(x, &self.key).await;
        let missed = |why| match self.asked.only_if_cached {
            true => Look::Refused,
            false => Look::Fetch(None, why),
        };
        let stored = match found {
            Found::Here(stored) => stored,
            Found::OtherVariants => return missed(Forwarded::VaryMiss),
            Found::Nothing => return missed(Forwarded::UriMiss),
        };
        let answer =
            reader::From::Stored(Arc::clone(&stored)).answer(&self.asked, &x.request.fields);
        if answer == Answer::Incomplete {
            return match self.asked.only_if_cached {
                true => Look::Refused,
                false => Look::Fetch(Some(stored), Forwarded::Partial),
            };
        }
        let hit = CacheStatus { hit: true, ..CacheStatus::default() };
        match rules::judge(&stored.facts, &self.asked, Time::now()) {
            Use::Fresh => Look::Given(stored, hit, CacheResult::Hit),
            // What is fetched with somebody's credentials is for nobody else.
            Use::Stale { revalidate: true }
                if self.place.refreshes() && !self.asked.authorization =>
            {
                let url = self.place.filed_under(x);
                refresh::later(x, &self.key, url, &stored);
                Look::Given(stored, hit, CacheResult::Stale)
            }
            Use::Stale { revalidate: true } => Look::Fetch(Some(stored), Forwarded::Stale),
            Use::Stale { revalidate: false } => Look::Given(stored, hit, CacheResult::Stale),
            Use::Validate(why) => Look::Fetch(Some(stored), why),
            Use::Miss(_) => Look::Refused,
        }
    }

    async fn give(
        &self,
        x: &mut Exchange<'a>,
        stored: Arc<Stored>,
        status: CacheStatus,
    ) -> Result<(), Failure> {
        if let Some(packing) = self.place.packing {
            let versions = self.versions.as_deref();
            let at = (x.core, x.guard);
            coded::make(at, packing, &stored, &x.request.fields, versions).await;
        }
        let mut begun = self.begin_lent(x, stored, status, Time::now())?;
        self.finish(x, &mut begun).await
    }

    /// Begins to give something stored to the request as it came.
    fn begin_lent(
        &self,
        x: &mut Exchange<'a>,
        stored: Arc<Stored>,
        status: CacheStatus,
        now: Time,
    ) -> Result<Option<Giving>, Failure> {
        // Lent for a moment: a copy would cost more than all the rest.
        let request = std::mem::take(&mut x.request.fields);
        let begun = self.begin(x, stored, &request, status, now);
        x.request.fields = request;
        begun
    }

    /// Gives something stored to a request whose fields are no more what the client sent.
    async fn give_to(
        &self,
        x: &mut Exchange<'a>,
        stored: Arc<Stored>,
        request: &Block,
        status: CacheStatus,
    ) -> Result<(), Failure> {
        if let Some(packing) = self.place.packing {
            let (at, versions) = ((x.core, x.guard), self.versions.as_deref());
            coded::make(at, packing, &stored, request, versions).await;
        }
        let mut begun = self.begin(x, stored, request, status, Time::now())?;
        self.finish(x, &mut begun).await
    }

    fn begin(
        &self,
        x: &mut Exchange<'a>,
        stored: Arc<Stored>,
        request: &Block,
        status: CacheStatus,
        now: Time,
    ) -> Result<Option<Giving>, Failure> {
        let dress = |x: &mut Exchange<'_>, head: &mut ResponseHead| self.origin.dress(x, head);
        let gift = self.gift(request, status, now, &dress);
        Giving::begin(x, reader::From::Stored(stored), &gift)
    }

    /// Sends it. No server had to send what goes out here.
    async fn finish(
        &self,
        x: &mut Exchange<'a>,
        begun: &mut Option<Giving>,
    ) -> Result<(), Failure> {
        let before = x.record.bytes_out;
        let outcome = match begun {
            Some(giving) => giving.finish(x).await,
            None => x.flush_answer().await,
        };
        x.core.counters.cache_bytes.add(x.record.bytes_out - before);
        outcome
    }

    fn gift<'g>(
        &'g self,
        request: &'g Block,
        status: CacheStatus,
        now: Time,
        dress: &'g dyn Fn(&mut Exchange<'_>, &mut ResponseHead),
    ) -> Gift<'g> {
        Gift {
            request,
            asked: &self.asked,
            packing: self.place.packing,
            versions: self.versions.as_deref(),
            status,
            now,
            led: !(status.hit || status.collapsed),
            own: None,
            tells: self.place.plan.status_field,
            dress,
        }
    }

    /// Only what is stored was asked for, and there is nothing (RFC 9111 §5.2.1.7).
    async fn refuse(&self, x: &mut Exchange<'a>) -> Result<(), Failure> {
        x.record.cache = Some(CacheResult::Miss);
        let mut answer = Said::text(504, "Nothing is stored that could be used for this.\n");
        if self.place.plan.status_field {
            answer = answer.field("Cache-Status", "bifrons; fwd=bypass; detail=only-if-cached");
        }
        x.answer(answer).await
    }

    /// Asks the origin. `lead`: those who wait for what comes of it; `since`: the newest purge
    /// before anything was looked up.
    async fn fetch(
        &self,
        x: &mut Exchange<'a>,
        (lead, since): (Option<Lead>, u64),
        stale: Option<Arc<Stored>>,
        forwarded: Forwarded,
    ) -> Result<(), Failure> {
        let request = x.request.fields.clone();
        let cache = Arc::clone(&x.core.cache);
        let now = Time::now();
        // What cannot be stored is between the client and the origin.
        let theirs =
            stale.is_none() && self.asked.conditional && cache.is_known_miss(&self.key, now);
        let validates = if self.asked.method != Method::Get || theirs {
            false
        } else if forwarded == Forwarded::Partial {
            // A part is asked for as it is; whether the client has the whole was looked at.
            x.request.fields.remove(FieldId::IfNoneMatch);
            x.request.fields.remove(FieldId::IfModifiedSince);
            false
        } else {
            ask_origin(&mut x.request.fields, self.place.side, &self.asked, stale.as_deref())
        };
        let may_stand_in = stale.as_ref().is_some_and(|stale| {
            rules::may_stand_in(&stale.facts, &self.asked, now) && self.answers(stale, &request)
        });
        let (url, target) = (self.place.url(x), x.request.target().to_vec());
        let intake = Intake {
            stale: stale.as_ref(),
            validates,
            stands_in: may_stand_in,
            requested: now,
            since,
            lead: RefCell::new(lead),
            ..self.intake(&cache, (&url, &target, &request), forwarded)
        };
        let outcome = self.origin.relay(x, Some(&intake)).await;
        let came = intake.came.replace(Came::Nothing);
        // Whoever still waits has nothing to wait for.
        intake.free(false);
        if outcome.is_ok() {
            intake.keep_part(stale.as_deref().filter(|_| forwarded == Forwarded::Partial));
        }
        let status = CacheStatus { forwarded: Some(forwarded), ..CacheStatus::default() };
        match (outcome, came) {
            (outcome, Came::Nothing) => match (outcome, stale) {
                (Err(failure), Some(stale))
                    if may_stand_in
                        && may_be_hidden(x, &failure)
                        && self.is_still_there(x, &stale) =>
                {
                    x.record.note_failure(&failure);
                    x.record.cache = Some(CacheResult::StaleIfError);
                    let status = CacheStatus { detail: Some("origin-unreachable"), ..status };
                    self.give_to(x, stale, &request, CacheStatus { hit: true, ..status }).await
                }
                (outcome, _) => {
                    x.record.cache = Some(CacheResult::Miss);
                    outcome
                }
            },
            (outcome, Came::Giving(giving)) => {
                x.record.cache = Some(CacheResult::Miss);
                x.core.counters.cache_stored.inc();
                outcome?;
                match giving {
                    Some(mut giving) => giving.finish(x).await,
                    None => x.flush_answer().await,
                }
            }
            (_, Came::Validated(stored)) => {
                x.record.cache = Some(CacheResult::Revalidated);
                let status = CacheStatus { forwarded_status: Some(304), stored: true, ..status };
                self.give_to(x, stored, &request, status).await
            }
            (_, Came::Error(code)) => match stale {
                Some(stale) => {
                    x.record.cache = Some(CacheResult::StaleIfError);
                    let status = CacheStatus { forwarded_status: Some(code), ..status };
                    self.give_to(x, stale, &request, status).await
                }
                None => Err(Failure::internal("an error without a stored answer")),
            },
        }
    }

    /// Takes what comes, and waits for nothing.
    fn intake<'i>(
        &'i self,
        cache: &'i Arc<Cache>,
        (url, target, request): (&'i [u8], &'i [u8], &'i Block),
        forwarded: Forwarded,
    ) -> Intake<'i> {
        Intake {
            cache,
            plan: self.place.plan,
            packing: self.place.packing,
            versions: self.versions.as_deref(),
            key: &self.key,
            url,
            path: &target[self.place.path.path.clone()],
            asked: &self.asked,
            request,
            stale: None,
            validates: false,
            forwarded,
            stands_in: false,
            requested: Time::now(),
            since: cache.newest_purge(),
            lead: RefCell::new(None),
            came: RefCell::new(Came::Nothing),
            part: PartWatch::default(),
            slice: None,
        }
    }

    /// Whether there is enough of something stored for this request.
    fn answers(&self, stored: &Arc<Stored>, request: &Block) -> bool {
        let from = reader::From::Stored(Arc::clone(stored));
        from.answer(&self.asked, request) != Answer::Incomplete
    }

    /// Whether something was purged while the origin was asked.
    fn is_still_there(&self, x: &Exchange<'a>, stale: &Arc<Stored>) -> bool {
        let found = x.core.cache.variants(&stale.key);
        found.iter().any(|found| Arc::ptr_eq(found, stale))
    }

    /// Waits for the head of what somebody else fetches; `None`: for too long.
    async fn await_head(
        &self,
        x: &mut Exchange<'a>,
        mut follower: Follower,
    ) -> Result<Option<Followed>, Failure> {
        let response = x.timeouts().response;
        let fields = &x.request.fields;
        let down = &mut *x.down;
        let waiting = poll_fn(|cx| {
            if down.poll_gone(cx).is_ready() {
                return Poll::Ready(None);
            }
            follower.poll_head(cx, fields).map(Some)
        });
        match x.guard.within(response, waiting).await {
            Ok(Some(followed)) => Ok(Some(followed)),
            Ok(None) => Err(Failure::with(Kind::ClientGone, "the stream was reset")),
            Err(_) => Ok(None),
        }
    }

    /// Waits for what somebody else fetches.
    async fn follow(&self, x: &mut Exchange<'a>, follower: Follower) -> Result<Turn, Failure> {
        let followed = self.await_head(x, follower).await?;
        let status = CacheStatus {
            forwarded: Some(Forwarded::Miss),
            collapsed: true,
            ..CacheStatus::default()
        };
        match followed {
            Some(Followed::Read(flight)) => {
                x.record.cache = Some(CacheResult::Collapsed);
                let request = x.request.fields.clone();
                let dress = |x: &mut Exchange<'_>, head: &mut ResponseHead| {
                    self.origin.dress(x, head);
                };
                let gift = self.gift(&request, status, Time::now(), &dress);
                let mut begun = Giving::begin(x, reader::From::Flight(flight), &gift)?;
                self.finish(x, &mut begun).await?;
                Ok(Turn::Done)
            }
            Some(Followed::Stored(stored)) if !self.answers(&stored, &x.request.fields) => {
                Ok(Turn::Again)
            }
            Some(Followed::Stored(stored)) => {
                x.record.cache = Some(CacheResult::Collapsed);
                self.give(x, stored, status).await?;
                Ok(Turn::Done)
            }
            Some(Followed::Lead(lead)) => Ok(Turn::Lead(lead)),
            Some(Followed::Again) => Ok(Turn::Again),
            // Whoever has waited for so long does not wait for others again.
            Some(Followed::Free) | None => Ok(Turn::Alone),
        }
    }
}

/// What there is for a request.
enum Look {
    /// This answers it.
    Given(Arc<Stored>, CacheStatus, CacheResult),
    /// The client wants nothing else, and there is nothing.
    Refused,
    /// The origin has to be asked; whether this is good, if there is something.
    Fetch(Option<Arc<Stored>>, Forwarded),
}

/// What comes of waiting for somebody else.
enum Turn {
    /// The client has its answer.
    Done,
    /// It is up to this request now.
    Lead(Lead),
    /// What came is for others.
    Again,
    /// Nobody can wait for it.
    Alone,
}

/// Makes a request one that asks the origin for the whole, or whether what is stored is good:
/// then it returns `true`.
pub(crate) fn ask_origin(
    fields: &mut Block,
    side: Side,
    asked: &Asked,
    stale: Option<&Stored>,
) -> bool {
    let mut validates = false;
    match stale {
        Some(stale) => validates = rules::validators([stale], fields),
        // A client that has it already gets to know from what comes.
        None if !asked.range => {
            rules::validators([], fields);
        }
        None => {}
    }
    announce(fields, side);
    validates
}

/// Tells the origin what we understand.
fn announce(fields: &mut Block, side: Side) {
    if side == Side::Reverse {
        fields.remove_named(b"surrogate-capability");
        fields.push(b"Surrogate-Capability", &[b"bifrons=\"Surrogate/1.0\""]);
    }
}

/// Whether a failure may be answered by something stale: it is the origin's, and the client has
/// seen nothing.
fn may_be_hidden(x: &Exchange<'_>, failure: &Failure) -> bool {
    use crate::failure::Side;
    !x.head_sent && !x.record.interim_sent && matches!(failure.kind.side(), Side::Upstream)
}
