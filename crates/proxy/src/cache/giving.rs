//! Answering a client from the cache.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use cache::rules::{self, Answer, Asked, CacheStatus, Kept, Multipart, Ranges};
use cache::{Facts, Time};
use coding::Dictionary;
use message::framing::BodyLength;
use message::{Block, BlockPool, FieldId, Method, ResponseHead};

use super::image;
use super::reader::{BodyReader, From, SliceBody, Span};
use crate::exchange::{Exchange, client_gone};
use crate::failure::Failure;
use crate::fare;
use crate::pacing::Pacing;
use crate::packing::{self, Choice, Packed, Packing, Versions};
use crate::patience::{Patience, Stage};
use crate::peer::{DownPeer, PeerError};
use crate::pump::{Pump, PumpError, Waiting};
use crate::relay::{charge, download_failure};

/// What an answer from the cache has to know of the request.
pub(crate) struct Gift<'g> {
    /// What the client sent, before anything was changed for the origin.
    pub(crate) request: &'g Block,
    /// What of it concerns the cache.
    pub(crate) asked: &'g Asked,
    /// In which codings it may go out.
    pub(crate) packing: Option<&'g Packing>,
    /// What it has to do with dictionaries, where they are used.
    pub(crate) versions: Option<&'g Versions>,
    /// How it came about.
    pub(crate) status: CacheStatus,
    /// When it is given.
    pub(crate) now: Time,
    /// It came for this very request, which may have what is for nobody else.
    pub(crate) led: bool,
    /// Fields that came for this client alone.
    pub(crate) own: Option<&'g Block>,
    /// Whether the client is told of that.
    pub(crate) tells: bool,
    /// Adds what is said to this client alone.
    pub(crate) dress: &'g dyn Fn(&mut Exchange<'_>, &mut ResponseHead),
}

impl Gift<'_> {
    /// What becomes of the body, and the body if it is there in this form.
    fn choose(&self, from: &From, fields: &Block) -> (Choice, Option<Bytes>) {
        let Some(packing) = self.packing else { return (Choice::Never, None) };
        let choose =
            |versions| packing.choose(self.request, from.status(), fields, from.length(), versions);
        let choice = choose(self.versions);
        let Choice::ByDictionary(coding) = choice else { return (choice, alone(from, choice)) };
        let dictionary = self.dictionary(fields);
        let made = match (from, dictionary) {
            (From::Stored(stored), Some(dictionary)) => {
                stored.coded.by_dictionary(dictionary.hash().bytes(), coding.number())
            }
            _ => None,
        };
        if made.is_some() || dictionary.is_some_and(|it| packing::goes_on_the_way(coding, it)) {
            return (choice, made);
        }
        let choice = choose(None);
        (choice, alone(from, choice))
    }

    fn dictionary(&self, fields: &Block) -> Option<&Dictionary> {
        self.versions?.dictionary(self.request, fields).map(|dictionary| &**dictionary)
    }
}

/// The body in a coding that needs nothing else, if it is made.
fn alone(from: &From, choice: Choice) -> Option<Bytes> {
    match (from, choice) {
        (From::Stored(stored), Choice::Pack(coding)) => {
            stored.coded[coding.number()].get().cloned()
        }
        _ => None,
    }
}

/// An answer from the cache on its way to a client.
#[derive(Debug)]
pub(crate) struct Giving {
    body: GivenBody,
    pump: Pump<'static>,
    /// What the client had not taken from the kernel when this was last looked at.
    unacknowledged: Option<u64>,
}

#[derive(Debug)]
enum GivenBody {
    AsItIs(BodyReader),
    Packed(Box<Packed<BodyReader>>),
}

impl GivenBody {
    fn reader(&self) -> &BodyReader {
        match self {
            Self::AsItIs(reader) => reader,
            Self::Packed(packed) => &packed.source,
        }
    }
}

impl From {
    fn status(&self) -> u16 {
        match self {
            Self::Stored(stored) => stored.head.status,
            Self::Flight(flight) => flight.head().head.status,
            Self::Slice(slice) => slice.body.status(),
        }
    }

    fn fields(&self) -> &Block {
        match self {
            Self::Stored(stored) => &stored.head.fields,
            Self::Flight(flight) => &flight.head().head.fields,
            Self::Slice(slice) => slice.body.fields(),
        }
    }

    fn facts(&self) -> &Facts {
        match self {
            Self::Stored(stored) => &stored.facts,
            Self::Flight(flight) => &flight.head().facts,
            Self::Slice(slice) => slice.body.facts(),
        }
    }

    /// How long the whole body is, where that is known.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Stored(stored) => stored.length,
            Self::Flight(flight) => flight.head().length,
            Self::Slice(slice) => Some(slice.complete),
        }
    }
}

impl From {
    /// What an answer to this request is made of it.
    pub(crate) fn answer(&self, asked: &Asked, request: &Block) -> Answer {
        match self {
            Self::Stored(stored) => rules::answer_to(&Kept::from(&**stored), asked, request),
            Self::Flight(_) | Self::Slice(_) => {
                let kept = Kept {
                    status: self.status(),
                    fields: self.fields(),
                    date: self.facts().date,
                    length: self.length(),
                    body: None,
                };
                rules::answer_to(&kept, asked, request)
            }
        }
    }
}

impl Giving {
    /// Begins to answer: puts the head into the output. `None`: that is all there is to say.
    pub(crate) fn begin(
        x: &mut Exchange<'_>,
        from: From,
        gift: &Gift<'_>,
    ) -> Result<Option<Self>, Failure> {
        let answer = from.answer(gift.asked, gift.request);
        let mut fields = x.core.blocks.block();
        fields.extend(from.fields());
        finish_fields(&mut fields, &from, gift);
        x.settle_body();
        let status = match answer {
            Answer::Full => return Self::full(x, from, fields, gift),
            Answer::Incomplete => return Err(Failure::internal("a part in place of the whole")),
            Answer::Partial(ranges) => return Self::parts(x, from, fields, &ranges, gift),
            Answer::NotModified => {
                let (choice, _) = gift.choose(&from, &fields);
                packing::mark(&mut fields, choice, gift.versions.is_some());
                304
            }
            Answer::PreconditionFailed => 412,
            Answer::Unsatisfiable { complete } => {
                let complete = itoa::Buffer::new().format(complete).to_owned();
                fields.remove(FieldId::ContentRange);
                fields.push(b"Content-Range", &[b"bytes */", complete.as_bytes()]);
                416
            }
        };
        fields.remove_where(|id, name| {
            describes_body(name) && (id != FieldId::ContentRange || status != 416)
        });
        if status != 304 {
            fields.push(b"Content-Length", &[b"0"]);
        }
        let mut head = ResponseHead::new(status, fields);
        (gift.dress)(x, &mut head);
        Self::send_head_only(x, head)
    }

    fn parts(
        x: &mut Exchange<'_>,
        from: From,
        mut fields: Block,
        ranges: &Ranges,
        gift: &Gift<'_>,
    ) -> Result<Option<Self>, Failure> {
        let body =
            |range: &std::ops::Range<u64>| Span::Range { at: range.start, end: Some(range.end) };
        let (spans, length) = match ranges.single() {
            Some(range) => {
                let value = content_range(&range, ranges.complete);
                fields.push(b"Content-Range", &[value.as_bytes()]);
                (vec![body(&range)], range.end - range.start)
            }
            None => {
                let kind = fields.get(FieldId::ContentType);
                let parts = Multipart::new(ranges, kind, random());
                fields.remove(FieldId::ContentType);
                fields.push(b"Content-Type", &[parts.content_type().as_bytes()]);
                let mut spans = Vec::with_capacity(2 * ranges.parts.len() + 1);
                for (index, range) in ranges.parts.iter().enumerate() {
                    spans.push(Span::Literal(Bytes::copy_from_slice(parts.head(index))));
                    spans.push(body(range));
                }
                spans.push(Span::Literal(Bytes::copy_from_slice(parts.end())));
                (spans, parts.length())
            }
        };
        // They are of the whole (RFC 9530 §2).
        packing::remove_named(&mut fields, &[b"content-digest", b"content-md5"]);
        push_length(&mut fields, length);
        let mut head = ResponseHead::new(206, fields);
        (gift.dress)(x, &mut head);
        let body = GivenBody::AsItIs(BodyReader::new(from, spans));
        Self::send_head(x, head, BodyLength::Known(length), body)
    }

    fn full(
        x: &mut Exchange<'_>,
        from: From,
        mut fields: Block,
        gift: &Gift<'_>,
    ) -> Result<Option<Self>, Failure> {
        let status = from.status();
        let length = from.length();
        let (choice, coded) = gift.choose(&from, &fields);
        let packer = match (&coded, gift.packing) {
            (None, Some(packing)) => packing.packer(choice, length, gift.dictionary(&fields)),
            _ => None,
        };
        let choice = choice.if_done(coded.is_some() || packer.is_some());
        packing::mark(&mut fields, choice, gift.versions.is_some());
        let is_plain = !matches!(choice, Choice::Never | Choice::Unpack(_));
        if let Some(versions) = gift.versions.filter(|_| status == 200 && is_plain) {
            versions.announce(&mut fields);
        }
        let has_trailers = matches!(&from, From::Stored(stored) if stored.trailers.is_some());
        let known = match (&coded, &packer) {
            (Some(coded), _) => Some(coded.len() as u64),
            (None, Some(_)) => None,
            (None, None) => length.filter(|_| !has_trailers),
        };
        if let Some(known) = known.filter(|_| status != 204) {
            push_length(&mut fields, known);
        }
        let mut head = ResponseHead::new(status, fields);
        (gift.dress)(x, &mut head);
        if x.request.method == Method::Head || status == 204 {
            return Self::send_head_only(x, head);
        }
        if let (Some(coded), Some(length)) = (&coded, length) {
            x.core.counters.compress_saved.add(length.saturating_sub(coded.len() as u64));
        }
        let body = match (coded, packer) {
            (Some(coded), _) => GivenBody::AsItIs(BodyReader::new(from, [Span::Literal(coded)])),
            (None, Some(packer)) => {
                GivenBody::Packed(Box::new(packer.over(BodyReader::whole(from), &x.core.counters)))
            }
            (None, None) => GivenBody::AsItIs(BodyReader::whole(from)),
        };
        Self::send_head(x, head, known.map_or(BodyLength::Chunked, BodyLength::Known), body)
    }

    fn send_head_only(x: &mut Exchange<'_>, head: ResponseHead) -> Result<Option<Self>, Failure> {
        let size = x.begin_final(head.status, 0..0, head.fields, BodyLength::None)?;
        charge_heads(x, size);
        Ok(None)
    }

    fn send_head(
        x: &mut Exchange<'_>,
        head: ResponseHead,
        length: BodyLength,
        mut body: GivenBody,
    ) -> Result<Option<Self>, Failure> {
        // Nothing of a body that is empty is left to be sent but its end.
        let size = x.begin_final(head.status, 0..0, head.fields, length)?;
        charge_heads(x, size);
        if let GivenBody::AsItIs(reader) = &mut body
            && x.down.takes_files()
        {
            if let Some(stored) = reader.stored() {
                image::make(x.core, stored);
            }
            reader.offer_files();
        }
        let pacer = x.record.noted.pacer.take().map(Pacing::by_pacer);
        let by_fare = || fare::of(x).map(|fare| Pacing::by_fare(fare, net::Direction::BToA));
        let pump = Pump::new(u64::MAX).paced(pacer.or_else(by_fare));
        Ok(Some(Self { body, pump, unacknowledged: None }))
    }

    /// Sends what can be sent now; ready when all is.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut DownPeer,
        pool: &BlockPool,
    ) -> Poll<Result<(), PumpError>> {
        match &mut self.body {
            GivenBody::AsItIs(reader) => self.pump.poll(cx, reader, down, pool),
            GivenBody::Packed(packed) => self.pump.poll(cx, &mut **packed, down, pool),
        }
    }

    /// What is moved so far, and who is waited for.
    pub(crate) fn pump(&self) -> &Pump<'static> {
        &self.pump
    }

    /// The first byte of the slice that it cannot go on without.
    fn wanted(&self) -> Option<u64> {
        self.body.reader().wanted()
    }

    /// What is being done.
    fn stage(&self) -> Stage<'_> {
        match self.pump.waiting {
            Waiting::Source if self.body.reader().is_held() => Stage::Held,
            _ => Stage::Responding(&self.pump),
        }
    }

    /// Tells a flight that waits for this client whether it takes anything. The kernel makes room
    /// in larger steps, seconds apart for a slow client.
    fn note_progress(&mut self, down: &DownPeer) {
        if self.pump.waiting != Waiting::Sink {
            return;
        }
        let Some(flight) = self.body.reader().watched() else { return };
        let unacknowledged = down.unacknowledged();
        if unacknowledged != self.unacknowledged {
            flight.note_progress();
            self.unacknowledged = unacknowledged;
        }
    }

    /// The slice that is wanted.
    pub(crate) fn supply(&mut self, slice: SliceBody) {
        match &mut self.body {
            GivenBody::AsItIs(reader) => reader.supply(slice),
            GivenBody::Packed(packed) => packed.source.supply(slice),
        }
    }

    /// Sends the rest of it.
    pub(crate) async fn finish(&mut self, x: &mut Exchange<'_>) -> Result<(), Failure> {
        match self.until_wanted(x).await? {
            None => Ok(()),
            Some(_) => Err(Failure::internal("a slice that nobody brings")),
        }
    }

    /// Sends what is at hand, and tells the first byte of the slice that is wanted then; `None`:
    /// that was all.
    pub(crate) async fn until_wanted(
        &mut self,
        x: &mut Exchange<'_>,
    ) -> Result<Option<u64>, Failure> {
        let timeouts = x.timeouts();
        let mut patience = Patience::new(x.guard, x.listener.limits(), timeouts.response);
        let idle = Pump::idle();
        let pool = &x.core.blocks;
        let down = &mut *x.down;
        let mut is_unreadable = false;
        let outcome = poll_fn(|cx| {
            match self.poll(cx, down, pool) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => {
                    is_unreadable = matches!(error, PumpError::Source(_));
                    return Poll::Ready(Err(download_failure(&error, &self.pump)));
                }
                Poll::Pending => {}
            }
            if let Some(at) = self.wanted() {
                return Poll::Ready(Ok(Some(at)));
            }
            if down.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(client_gone(&PeerError::Reset(h2::Reason::CANCEL))));
            }
            self.note_progress(down);
            patience.poll(cx, &idle, self.stage()).map(Err)
        })
        .await;
        if !matches!(outcome, Ok(Some(_))) {
            x.record.bytes_out += self.pump.moved;
        }
        if is_unreadable && let Some(stored) = self.body.reader().on_disk() {
            // Nobody is to be cut off by it again.
            x.core.cache.remove(stored);
        }
        outcome
    }
}

/// Charges the head of the answer, and that of the request if it went to nobody else.
fn charge_heads(x: &mut Exchange<'_>, size: u64) {
    let asked = std::mem::take(&mut x.record.head_in);
    charge(x, net::Direction::AToB, asked);
    charge(x, net::Direction::BToA, size);
}

/// Adds what a cache says of an answer (RFC 9111 §5.1, RFC 9211), and takes away what may not be
/// said again.
fn finish_fields(fields: &mut Block, from: &From, gift: &Gift<'_>) {
    let (facts, now) = (from.facts(), gift.now);
    let hit = gift.status.hit;
    if matches!(from, From::Slice(_)) {
        fields.remove(FieldId::ContentRange);
    }
    // Whoever led the fetch gets what came.
    if !gift.led && !facts.unshown.is_empty() {
        let unshown =
            |name: &[u8]| facts.unshown.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()));
        fields.remove_where(|_, name| unshown(name));
    }
    if let Some(own) = gift.own {
        for field in own.iter() {
            fields.push(own.name(field), &[own.value(field)]);
        }
    }
    let age = rules::age(facts, now);
    if hit || age > 0 {
        fields.push_known(FieldId::Age, &[itoa::Buffer::new().format(age).as_bytes()]);
    }
    if gift.tells {
        let mut status = gift.status;
        status.ttl = Some(rules::ttl(facts, now));
        let mut text = Vec::with_capacity(64);
        status.write(&mut text);
        fields.push(b"Cache-Status", &[&text]);
    }
}

fn content_range(range: &std::ops::Range<u64>, complete: Option<u64>) -> String {
    let last = range.end - 1;
    match complete {
        Some(complete) => format!("bytes {}-{last}/{complete}", range.start),
        None => format!("bytes {}-{last}/*", range.start),
    }
}

fn random() -> u128 {
    let mut bytes = [0; 16];
    // Without it a boundary is only less surprising.
    let _ = getrandom::fill(&mut bytes);
    u128::from_ne_bytes(bytes)
}

fn push_length(fields: &mut Block, length: u64) {
    fields.push_known(FieldId::ContentLength, &[itoa::Buffer::new().format(length).as_bytes()]);
}

/// Fields that say something of a body which does not come (RFC 9110 §15.4.5).
fn describes_body(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] = [
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"content-type",
        b"digest",
    ];
    NAMES.iter().any(|one| name.eq_ignore_ascii_case(one))
}
