//! Responses that go into the cache on their way to the client.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cache::rules::{self, Asked, ByHead, CacheStatus, ContentRange, Forwarded, Reflections};
use cache::{
    Body, Cache, Draft, Facts, Held, Key, Lead, Pace, Refused, Stored, StoredHead, Time, Vary,
};
use coding::Dictionaries;
use message::framing::BodyLength;
use message::{Block, BlockPool, FieldId, Method, ResponseHead};
use net::watchdog::Watchdog;

use super::giving::{Gift, Giving};
use super::plan::CachePlan;
use super::reader::From;
use super::slices::{SliceIntake, Sliced};
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::packing::{Choice, Packing, Versions};
use crate::patience::{Patience, Stage};
use crate::peer::{PeerError, Sink, UpPeer};
use crate::pump::{Pump, PumpError, Watch, Watcher};
use crate::relay::download_failure;

/// Pieces of a body are gathered up to this size before they go to those who wait for them.
const GATHER: usize = 64 * 1024;

/// Larger parts of bodies are not kept.
const MOST_OF_A_PART: u64 = 1 << 20;

/// How long nobody waits for an answer of which it was seen that it cannot be stored, in
/// milliseconds.
const KNOWN_MISS: u64 = 120_000;

/// How long a client may take nothing while others wait for it: a quarter of the time that it may
/// be slow for itself, within these bounds. Whether it takes anything is looked at once a second.
const GRACE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));

/// Looks at the response to one request, and takes it if it can be used again.
#[derive(Debug)]
pub(crate) struct Intake<'c> {
    pub(crate) cache: &'c Arc<Cache>,
    pub(crate) plan: &'c CachePlan,
    pub(crate) packing: Option<&'c Packing>,
    pub(crate) versions: Option<&'c Versions>,
    pub(crate) key: &'c Key,
    /// Its URL in its one spelling.
    pub(crate) url: &'c [u8],
    /// The path of its target.
    pub(crate) path: &'c [u8],
    pub(crate) asked: &'c Asked,
    /// Fields of the request as the client sent them.
    pub(crate) request: &'c Block,
    /// What the server was asked to validate, or to complete.
    pub(crate) stale: Option<&'c Arc<Stored>>,
    /// That is what it was asked, and not what the client would have liked to know.
    pub(crate) validates: bool,
    /// Why the server is asked.
    pub(crate) forwarded: Forwarded,
    /// The origin may replace the error that it gives: nobody else sees it.
    pub(crate) stands_in: bool,
    pub(crate) requested: Time,
    /// The newest purge before that.
    pub(crate) since: u64,
    /// Those who wait for it; `None`: nobody can.
    pub(crate) lead: RefCell<Option<Lead>>,
    pub(crate) came: RefCell<Came>,
    pub(crate) part: PartWatch,
    /// The slice that was asked for in place of what the client wants, if one was.
    pub(super) slice: Option<&'c SliceIntake<'c>>,
}

/// A part of a body that goes past us.
#[derive(Debug, Default)]
pub(crate) struct PartWatch(RefCell<Option<Part>>);

#[derive(Debug)]
struct Part {
    /// What it will be, but for its body.
    stored: Stored,
    head: ResponseHead,
    range: ContentRange,
    bytes: Vec<u8>,
    received: Time,
}

impl Watcher for PartWatch {
    fn see(&self, piece: &[u8]) -> bool {
        let mut watched = self.0.borrow_mut();
        let Some(part) = &mut *watched else { return false };
        let range = &part.range.range;
        if part.bytes.len() as u64 + piece.len() as u64 > range.end - range.start {
            // It is not what it says.
            *watched = None;
            return false;
        }
        part.bytes.extend_from_slice(piece);
        true
    }
}

/// What came.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for a request that asks the origin: a box would cost an allocation"
)]
pub(crate) enum Came {
    /// Nothing that is kept: the client has what there was.
    Nothing,
    /// The stored answer is good again.
    Validated(Arc<Stored>),
    /// An error, with this status; the stored answer may stand in for it.
    Error(u16),
    /// The client is being answered; `None`: it has been.
    Giving(Option<Giving>),
}

/// What becomes of a response.
#[allow(
    clippy::large_enum_variant,
    reason = "it is taken apart at once: a box would cost an allocation"
)]
pub(crate) enum Offer {
    /// It goes to the client.
    Declined(ResponseHead),
    /// Nothing of it goes anywhere.
    Kept,
    /// Its body goes to those who wait for it.
    Filling(Filling),
}

/// A body that is stored as it comes.
pub(crate) struct Filling {
    pub(super) lead: Lead,
    pub(super) reflections: Option<Reflections>,
    pub(super) giving: Option<Giving>,
}

impl Intake<'_> {
    /// Decides about a response.
    pub(crate) fn offer(
        &self,
        x: &mut Exchange<'_>,
        mut head: ResponseHead,
        length: BodyLength,
        dress: &dyn Fn(&mut Exchange<'_>, &mut ResponseHead),
    ) -> Result<Offer, Failure> {
        let received = Time::now();
        let terms = &self.plan.terms;
        if !matches!(self.asked.method, Method::Get | Method::Head) {
            if rules::invalidates(self.asked.method, head.status) {
                self.invalidate(&x.core.dictionaries, &head);
            }
            return Ok(self.decline(head, None));
        }
        if let Some(stale) = self.stale {
            if head.status == 304 && self.validates {
                let times = (self.requested, received);
                let (fresh, why) =
                    rules::freshened(stale, terms, self.request, self.asked, &head, times);
                let fresh = match why {
                    None => self.cache.insert(self.asked_before_purges(fresh)),
                    // It may be used for this request, and not again.
                    Some(why) => {
                        if !why.is_of_request() {
                            self.cache.remove(stale);
                        }
                        Arc::new(fresh)
                    }
                };
                self.settle(&fresh);
                self.came.replace(Came::Validated(fresh));
                return Ok(Offer::Kept);
            }
            let is_there = |stale: &Arc<Stored>| {
                let found = self.cache.variants(&stale.key);
                found.iter().any(|found| Arc::ptr_eq(found, stale))
            };
            if matches!(head.status, 500 | 502 | 503 | 504) && self.stands_in && is_there(stale) {
                self.came.replace(Came::Error(head.status));
                self.free(false);
                return Ok(Offer::Kept);
            }
        }
        if let Some(slice) = self.slice {
            match self.offer_slice(x, head, length, slice, dress)? {
                Sliced::Break(offer) => return Ok(offer),
                Sliced::Continue(whole) => head = whole,
            }
        }
        if self.asked.method == Method::Head {
            self.learn_from_head(&head, received);
            return Ok(self.decline(head, None));
        }
        let stored =
            rules::storable(terms, self.request, self.asked, &head, self.requested, received);
        let facts = match stored {
            Ok(facts) => facts,
            Err(why) => {
                // What one client asks for in its own way says nothing to the others.
                let for_one = self.asked.cookie || self.asked.authorization;
                let of_origin = matches!(head.status, 200 | 203 | 404 | 410)
                    && !for_one
                    && !why.is_of_request();
                if let Some(stale) = self.stale.filter(|_| of_origin) {
                    // What was stored is no answer any more.
                    self.cache.remove(stale);
                }
                self.free(of_origin && !self.asked.range);
                return Ok(self.decline(head, Some(why.as_str())));
            }
        };
        let Some(vary) = Vary::of_answer(&head.fields, self.request) else {
            self.free(true);
            return Ok(self.decline(head, Some("vary-star")));
        };
        // What we say of the client selects the answer, and is in no key.
        let selects_ours = !rules::vary::matches(&vary, &x.request.fields);
        let unsaid = is_by_dictionary(&head.fields)
            && !vary.fields.iter().any(|(name, _)| **name == *"available-dictionary");
        if selects_ours || unsaid || length == BodyLength::UntilClose {
            // Nobody knows whether a body has come to its end that only a close ends.
            self.free(true);
            let why = if selects_ours || unsaid { "vary" } else { "no-length" };
            return Ok(self.decline(head, Some(why)));
        }
        let reflections = match self.look_for_suspects(x, &head, &vary) {
            Ok(reflections) => reflections,
            Err(why) => {
                // Nobody switches the cache off for others by what it sends.
                self.free(false);
                return Ok(self.decline(head, Some(why)));
            }
        };
        let known = match length {
            BodyLength::Known(length) => Some(length),
            BodyLength::None => Some(0),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        };
        if head.status == 206 {
            self.free(false);
            return Ok(self.part(head, received, facts, vary));
        }
        let Some(mut lead) = self.lead.take() else { return Ok(self.decline(head, None)) };
        let draft = Draft {
            key: self.key.clone(),
            url: self.plan.filed_under(self.url),
            vary,
            head: rules::kept(terms, &head, received),
            facts,
            tags: rules::tags_of(&head.fields),
            length: known,
        };
        let own = rules::for_one(terms, &head);
        let reader = match lead.begin(draft) {
            Ok(reader) => reader,
            Err(why) => {
                self.lead.replace(Some(lead));
                self.free(why == Refused::TooLarge);
                return Ok(self.decline(head, Some(why.as_str())));
            }
        };
        let status = CacheStatus {
            forwarded: Some(self.forwarded),
            forwarded_status: (self.stale.is_some()).then_some(head.status),
            stored: true,
            ..CacheStatus::default()
        };
        x.core.blocks.give(std::mem::take(&mut head.fields));
        let gift = Gift {
            request: self.request,
            asked: self.asked,
            packing: self.packing,
            versions: self.versions,
            status,
            now: received,
            led: true,
            own: own.as_ref(),
            tells: self.plan.status_field,
            dress,
        };
        let giving = Giving::begin(x, From::Flight(reader), &gift)?;
        Ok(Offer::Filling(Filling { lead, reflections, giving }))
    }

    /// Whether somebody may have made the answer to be stored for others, as far as its head
    /// tells; and what has to be looked for in its body.
    pub(super) fn look_for_suspects(
        &self,
        x: &Exchange<'_>,
        head: &ResponseHead,
        vary: &Vary,
    ) -> Result<Option<Reflections>, &'static str> {
        let keyed = self.plan.keyed();
        let content_type = head.fields.get(FieldId::ContentType);
        let mut reflections = Reflections::of(self.request, vary, keyed);
        reflections.see_fields(&head.fields);
        if reflections.found() {
            return Err("reflection");
        }
        if rules::deceives(self.path, head.status, content_type) {
            return Err("deception");
        }
        if rules::alters(self.request, vary, keyed, self.plan.sender(x.client.trusted)) {
            return Err("unkeyed-field");
        }
        Ok(reflections.wants_body(content_type).then_some(reflections))
    }

    /// A part of a body, which is given to this client alone; what goes is noted beside.
    fn part(&self, head: ResponseHead, received: Time, facts: Facts, vary: Vary) -> Offer {
        if let Some(range) = ContentRange::of_part(&head.fields)
            && range.range.end - range.range.start <= MOST_OF_A_PART
        {
            let stored = Stored {
                key: self.key.clone(),
                url: self.plan.filed_under(self.url),
                vary,
                head: rules::kept(&self.plan.terms, &head, received),
                facts,
                tags: rules::tags_of(&head.fields),
                length: range.complete,
                body: Body::Memory(Box::default()),
                trailers: None,
                purged_by: self.since.into(),
                hits: AtomicU32::new(0),
                coded: Default::default(),
                held: Held::default(),
            };
            let part = Part { stored, head: head.clone(), range, bytes: Vec::new(), received };
            self.part.0.replace(Some(part));
        }
        self.decline(head, None)
    }

    /// Who looks at the body on its way, if somebody does.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.part.0.borrow().is_some().then_some(&self.part as &Watch)
    }

    /// Keeps the part that came, together with those that are there already.
    pub(super) fn keep_part(&self, there: Option<&Stored>) {
        let Some(part) = self.part.0.take() else { return };
        let bytes = Bytes::from(part.bytes);
        if bytes.len() as u64 != part.range.range.end - part.range.range.start {
            return;
        }
        let times = (self.requested, part.received);
        let terms = &self.plan.terms;
        let combined = there.and_then(|there| {
            let of = (self.request, self.asked);
            rules::combine(there, terms, of.0, of.1, &part.head, times, &bytes)
        });
        match combined {
            Some((combined, None)) => {
                self.cache.insert(self.asked_before_purges(combined));
            }
            Some((_, Some(_))) => {}
            None => {
                let piece = cache::Part { offset: part.range.range.start, bytes };
                self.cache.insert(Stored { body: Body::Memory(Box::new([piece])), ..part.stored });
            }
        }
    }

    /// What a request changes is not what it was (RFC 9111 §4.4).
    fn invalidate(&self, dictionaries: &Dictionaries, head: &ResponseHead) {
        let invalidate = |url: &[u8]| {
            self.cache.invalidate(url);
            dictionaries.forget(url);
        };
        invalidate(self.url);
        let secure = self.url.starts_with(b"https:");
        let start = if secure { b"https://".len() } else { b"http://".len() };
        let rest = &self.url[start..];
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let end = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
        let of = rules::Invalidated { secure, authority, path: &target[..end] };
        for uri in rules::invalidated_uris(&of, &head.fields) {
            let url = [&self.url[..start + authority.len()], &uri].concat();
            invalidate(&url);
        }
    }

    fn learn_from_head(&self, head: &ResponseHead, received: Time) {
        let Some(stale) = self.stale else { return };
        let terms = &self.plan.terms;
        let times = (self.requested, received);
        match rules::freshened_by_head(stale, terms, self.request, self.asked, head, times) {
            ByHead::Freshened(fresh) => {
                self.cache.insert(self.asked_before_purges(*fresh));
            }
            ByHead::Invalid => self.cache.remove(stale),
            ByHead::Unrelated => {}
        }
    }

    /// Whether the client has a head already, and this is about what is to come behind it.
    pub(crate) fn is_within(&self) -> bool {
        self.slice.is_some_and(SliceIntake::is_within)
    }

    /// The response goes to the client as if there were no cache.
    pub(super) fn decline(&self, mut head: ResponseHead, why: Option<&'static str>) -> Offer {
        if self.plan.status_field {
            let status = CacheStatus {
                forwarded: Some(self.forwarded),
                forwarded_status: self.stale.is_some().then_some(head.status),
                detail: why,
                ..CacheStatus::default()
            };
            let mut text = Vec::with_capacity(48);
            status.write(&mut text);
            head.fields.push(b"Cache-Status", &[&text]);
        }
        Offer::Declined(head)
    }

    /// Later versions of what was stored may be made by it.
    fn keep_as_dictionary(&self, x: &Exchange<'_>, stored: Option<&Arc<Stored>>) {
        let (Some(versions), Some(packing), Some(stored)) = (self.versions, self.packing, stored)
        else {
            return;
        };
        let StoredHead { status, fields } = &stored.head;
        let choice = packing.choose(self.request, *status, fields, stored.length, None);
        if matches!(choice, Choice::Pack(_) | Choice::AsItIs) {
            versions.keep(&x.core.dictionaries, self.cache, stored);
        }
    }

    /// Purges that came while the server was asked are about it.
    fn asked_before_purges(&self, stored: Stored) -> Stored {
        let since = self.since.into();
        Stored { purged_by: since, ..stored }
    }

    /// Those who wait go on by themselves.
    pub(crate) fn free(&self, remember: bool) {
        if let Some(lead) = self.lead.take() {
            lead.free(remember.then(|| Time::now().after(KNOWN_MISS)));
        }
    }

    /// Those who wait get what is stored.
    fn settle(&self, stored: &Arc<Stored>) {
        if let Some(lead) = self.lead.take() {
            lead.settle(Arc::clone(stored));
        }
    }
}

/// Whether an origin has made a body by a dictionary, which is for those who have it.
pub(super) fn is_by_dictionary(fields: &Block) -> bool {
    let mut codings = fields.values_named(b"content-encoding").flat_map(message::list::elements);
    codings.any(|name| name.eq_ignore_ascii_case(b"dcb") || name.eq_ignore_ascii_case(b"dcz"))
}

/// Reads a response to its end, for the cache and for all who wait for it. The client of this
/// exchange is one of them: when it goes, or is slow while there is room, the others have no part
/// in it.
pub(crate) async fn fill(
    x: &mut Exchange<'_>,
    up: &mut UpPeer,
    patience: &mut Patience<'_>,
    filling: Filling,
    intake: &Intake<'_>,
) -> Result<(), Failure> {
    let Filling { lead, reflections, mut giving } = filling;
    let mut sink = FlightSink {
        lead,
        reflections,
        gathered: BytesMut::new(),
        trailers: None,
        watchdog: Rc::clone(x.guard.watchdog()),
        grace: (x.listener.limits().min_rate_grace / 4).clamp(GRACE.0, GRACE.1).as_millis() as u64,
    };
    let mut pump = Pump::new(u64::MAX);
    let mut gone = None;
    let mut flushed = giving.is_some();
    let pool = &x.core.blocks;
    let down = &mut *x.down;
    let outcome = poll_fn(|cx| {
        let filled = pump.poll(cx, up, &mut sink, pool);
        if !flushed {
            // The head is all that there is for this client.
            flushed = down.poll_flush(cx).is_ready();
        }
        if let Some(client) = &mut giving {
            match client.poll(cx, down, pool) {
                Poll::Ready(Ok(())) => {
                    x.record.bytes_out += client.pump().moved;
                    giving = None;
                }
                Poll::Ready(Err(error)) => {
                    gone = Some(download_failure(&error, client.pump()));
                    x.record.bytes_out += client.pump().moved;
                    giving = None;
                }
                Poll::Pending => {}
            }
        }
        match filled {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(true)),
            // Nobody is left to get it.
            Poll::Ready(Err(PumpError::Sink(_))) => return Poll::Ready(Ok(false)),
            Poll::Ready(Err(PumpError::TooLarge)) => {
                return Poll::Ready(Err(Failure::internal("nobody takes it")));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(download_failure(&error, &pump))),
            Poll::Pending => {}
        }
        let stage = Stage::Filling { pump: &pump, client: giving.as_ref().map(Giving::pump) };
        match patience.poll(cx, &Pump::idle(), stage) {
            Poll::Ready(failure) if failure.kind == Kind::ClientTooSlow => {
                gone = Some(failure);
                giving = None;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            other => other.map(Err),
        }
    })
    .await;
    let is_complete = outcome?;
    let FlightSink { lead, reflections, trailers, .. } = sink;
    if !is_complete {
        drop(lead);
    } else if reflections.is_some_and(|reflections| reflections.found()) {
        lead.discard(trailers);
    } else {
        let stored = lead.finish(trailers);
        intake.keep_as_dictionary(x, stored.as_ref());
    }
    intake.came.replace(Came::Giving(giving));
    match gone {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Takes a body for all who wait for it.
struct FlightSink {
    lead: Lead,
    reflections: Option<Reflections>,
    gathered: BytesMut,
    trailers: Option<Block>,
    watchdog: Rc<Watchdog>,
    /// Milliseconds in which a client has to take anything, where others wait for it.
    grace: u64,
}

impl FlightSink {
    fn hand_over(&mut self) {
        if !self.gathered.is_empty() {
            let piece = self.gathered.split().freeze();
            // What is too large to be stored goes on to those who wait for it.
            self.lead.push(piece);
        }
    }
}

impl Sink for FlightSink {
    fn poll_send(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<Result<usize, PeerError>> {
        // Of what is too large to be stored, only so much waits as all have room for.
        let pace = Pace { now: self.watchdog.now_ms(), grace: self.grace };
        std::task::ready!(self.lead.poll_room(cx, pace));
        if self.lead.is_in_vain() {
            return Poll::Ready(Err(PeerError::Incomplete));
        }
        if let Some(reflections) = &mut self.reflections {
            reflections.see(piece);
        }
        self.gathered.extend_from_slice(piece);
        if self.gathered.len() >= GATHER {
            self.hand_over();
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn finish(&mut self, trailers: Option<&Block>) {
        self.trailers = trailers.map(Block::compacted);
        self.hand_over();
    }

    fn release_output(&mut self, _: &BlockPool) {}

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        self.hand_over();
        Poll::Ready(Ok(()))
    }
}
