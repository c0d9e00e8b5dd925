//! Answers in another content coding than that in which they came (RFC 9110 §8.4).

use std::sync::Arc;
use std::task::{Context, Poll};

use coding::{Accepts, Applied, Coding, Decoder, Encoder, Limits, TypeSet};
use config::{Compress, ContentCoding};
use message::framing::BodyLength;
use message::{Block, BlockPool, FieldId, Method, ResponseHead};
use telemetry::CoreCounters;

use crate::exchange::Exchange;
use crate::peer::{PeerError, Source};

/// So much of a body is packed before what came of it is sent.
const AT_ONCE: usize = 16 * 1024;

/// What may come out of an answer that a client cannot unpack itself. Servers are not trusted with
/// our memory either; only a window of it is held at any time.
const UNPACKED: Limits = Limits { max_size: 1 << 30, max_ratio: 200 };

/// In which codings answers of a route go out.
#[derive(Debug)]
pub(crate) struct Packing {
    offered: Vec<Coding>,
    levels: [u8; 3],
    types: TypeSet,
    min: u64,
    spare_credentials: bool,
}

/// What becomes of one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It stays as it is, for every client.
    Never,
    /// It stays as it is for this client; another one may get it packed.
    AsItIs,
    /// It goes out in this coding.
    Pack(Coding),
    /// It came in this coding, which the client does not take.
    Unpack(Coding),
}

/// Packs or unpacks one body.
#[derive(Debug)]
pub(crate) enum Packer {
    /// See [`Choice::Pack`].
    Pack(Box<Encoder>),
    /// See [`Choice::Unpack`].
    Unpack(Box<Decoder>),
}

impl Packing {
    pub(crate) fn build(config: &Compress) -> Self {
        let mut levels = [0; 3];
        for offered in &config.codings {
            levels[coding_of(offered.coding).number()] = offered.level;
        }
        Self {
            offered: config.codings.iter().map(|offered| coding_of(offered.coding)).collect(),
            levels,
            types: TypeSet::new(&config.types),
            min: config.min,
            spare_credentials: config.spare_credentials,
        }
    }

    pub(crate) fn level(&self, coding: Coding) -> u8 {
        self.levels[coding.number()]
    }

    /// What becomes of the body of an answer. `length`: of the body, where it is known.
    pub(crate) fn choose(
        &self,
        request: &Block,
        status: u16,
        fields: &Block,
        length: Option<u64>,
    ) -> Choice {
        let bodyless = status < 200 || matches!(status, 204 | 206 | 304);
        if bodyless || has_directive(fields, b"no-transform") || has(fields, b"content-range") {
            return Choice::Never;
        }
        if has_directive(request, b"no-transform") {
            return Choice::AsItIs;
        }
        let accepts = || Accepts::of(request.values_named(b"accept-encoding"));
        match Applied::of(fields.values_named(b"content-encoding")) {
            Applied::Identity => {}
            Applied::One(coding) if !accepts().allows(coding) => return Choice::Unpack(coding),
            Applied::One(_) | Applied::Other => return Choice::Never,
        }
        let fits = fields.get(FieldId::ContentType).is_some_and(|value| self.types.matches(value));
        if !fits || length.is_some_and(|length| length < self.min) {
            return Choice::Never;
        }
        if self.spare_credentials && may_be_probed(request) {
            return Choice::AsItIs;
        }
        match accepts().best(&self.offered) {
            Some(coding) => Choice::Pack(coding),
            None => Choice::AsItIs,
        }
    }

    /// Decides about an answer that is relayed, and changes its head accordingly.
    pub(crate) fn begin(
        &self,
        x: &Exchange<'_>,
        head: &mut ResponseHead,
        length: BodyLength,
    ) -> Option<Packer> {
        if head.status == 304 {
            // What it is about may have gone out packed, under a weak tag.
            let accepts = Accepts::of(x.request.fields.values_named(b"accept-encoding"));
            if accepts.best(&self.offered).is_some() {
                weaken_tag(&mut head.fields);
            }
            return None;
        }
        let known = match length {
            BodyLength::Known(length) => Some(length),
            BodyLength::None => declared(&head.fields),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        };
        if length == BodyLength::None && x.request.method != Method::Head {
            return None;
        }
        let choice = self.choose(&x.request.fields, head.status, &head.fields, known);
        mark(&mut head.fields, choice);
        if length == BodyLength::None { None } else { self.packer(choice, known) }
    }

    /// What carries the choice out. `length`: of the body as it is, where that is known.
    pub(crate) fn packer(&self, choice: Choice, length: Option<u64>) -> Option<Packer> {
        match choice {
            Choice::Never | Choice::AsItIs => None,
            Choice::Pack(coding) => {
                let encoder = Encoder::new(coding, self.level(coding), length).ok()?;
                Some(Packer::Pack(Box::new(encoder)))
            }
            Choice::Unpack(coding) => {
                let decoder = Decoder::new(coding, UNPACKED).ok()?;
                Some(Packer::Unpack(Box::new(decoder)))
            }
        }
    }
}

/// Fields that are about the very bytes of a body.
const OF_THE_BYTES: [&[u8]; 6] = [
    b"content-encoding",
    b"accept-ranges",
    b"content-md5",
    b"digest",
    b"content-digest",
    b"repr-digest",
];

/// Makes a head say what becomes of its body.
pub(crate) fn mark(fields: &mut Block, choice: Choice) {
    if choice == Choice::Never {
        return;
    }
    add_vary(fields);
    let coding = match choice {
        Choice::Pack(coding) => Some(coding),
        Choice::Unpack(_) => None,
        Choice::Never | Choice::AsItIs => return,
    };
    fields.remove(FieldId::ContentLength);
    fields.remove_where(|_, name| OF_THE_BYTES.iter().any(|of| name.eq_ignore_ascii_case(of)));
    weaken_tag(fields);
    if let Some(coding) = coding {
        fields.push(b"Content-Encoding", &[coding.as_str().as_bytes()]);
    }
}

/// A strong tag says that two bodies are the same to the byte: packed ones are not
/// (RFC 9110 §8.8.1).
fn weaken_tag(fields: &mut Block) {
    let tag = fields.values_named(b"etag").next().filter(|tag| tag.starts_with(b"\""));
    if let Some(tag) = tag.map(<[u8]>::to_vec) {
        fields.remove_named(b"etag");
        fields.push(b"ETag", &[b"W/", &tag]);
    }
}

fn add_vary(fields: &mut Block) {
    let named = fields.values_named(b"vary").any(|value| {
        message::list::elements(value)
            .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    });
    if !named {
        fields.push(b"Vary", &[b"Accept-Encoding"]);
    }
}

fn declared(fields: &Block) -> Option<u64> {
    std::str::from_utf8(fields.get(FieldId::ContentLength)?).ok()?.parse().ok()
}

fn has(fields: &Block, name: &[u8]) -> bool {
    fields.values_named(name).next().is_some()
}

fn has_directive(fields: &Block, directive: &[u8]) -> bool {
    fields
        .values_named(b"cache-control")
        .any(|value| message::list::elements(value).any(|one| one.eq_ignore_ascii_case(directive)))
}

/// Whether the length of an answer may tell somebody else what is in it (BREACH): it is made for
/// a client with credentials, and another site may have made the client ask.
fn may_be_probed(request: &Block) -> bool {
    let secret = has(request, b"cookie") || request.has(FieldId::Authorization);
    let own = request
        .values_named(b"sec-fetch-site")
        .next()
        .is_some_and(|site| matches!(site, b"same-origin" | b"none"));
    secret && !own
}

fn coding_of(coding: ContentCoding) -> Coding {
    match coding {
        ContentCoding::Gzip => Coding::Gzip,
        ContentCoding::Brotli => Coding::Brotli,
        ContentCoding::Zstd => Coding::Zstd,
    }
}

impl Packer {
    /// The body of `source` as it goes out. What is packed is counted.
    pub(crate) fn over<S: Source>(self, source: S, counters: &Arc<CoreCounters>) -> Packed<S> {
        let counted = matches!(self, Self::Pack(_)).then(|| Counted {
            counters: Arc::clone(counters),
            read: 0,
            written: 0,
        });
        let (packer, out) = (Some(self), Vec::new());
        Packed { source, packer, out, at: 0, pending: false, ended: false, counted }
    }
}

/// A body in another coding.
#[derive(Debug)]
pub(crate) struct Packed<S> {
    source: S,
    /// Until the body has ended.
    packer: Option<Packer>,
    /// What was made, from `at` on.
    out: Vec<u8>,
    at: usize,
    /// Something was taken that has not come out yet.
    pending: bool,
    ended: bool,
    counted: Option<Counted>,
}

/// How much of a body was packed, and to how much; told when it is dropped.
#[derive(Debug)]
struct Counted {
    counters: Arc<CoreCounters>,
    read: u64,
    written: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        count(&self.counters, self.read, self.written);
        self.counters.compress_saved.add(self.read.saturating_sub(self.written));
    }
}

/// Counts a body, or a part of one, that was packed.
pub(crate) fn count(counters: &CoreCounters, read: u64, written: u64) {
    counters.compress_read.add(read);
    counters.compress_written.add(written);
}

impl<S: Source> Packed<S> {
    /// Takes what is at hand; `false`: nothing is.
    fn take(&mut self) -> Result<bool, PeerError> {
        let piece = self.source.available()?;
        let taken = match &mut self.packer {
            _ if piece.is_empty() && !self.pending => return Ok(false),
            Some(Packer::Pack(encoder)) if !piece.is_empty() => {
                let piece = &piece[..piece.len().min(4 * AT_ONCE)];
                encoder.push(piece, &mut self.out).map_err(|_| broken())?;
                self.pending = true;
                piece.len()
            }
            Some(Packer::Unpack(decoder)) => {
                let made = decoder.push(piece, &mut self.out, AT_ONCE).map_err(|_| broken())?;
                self.pending = made.more;
                if made.taken == 0 && !piece.is_empty() && !made.more {
                    // What comes behind the end is nothing of ours.
                    return Err(broken());
                }
                made.taken
            }
            _ => return Ok(false),
        };
        self.source.consume(taken);
        if let Some(counted) = &mut self.counted {
            counted.read += taken as u64;
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<(), PeerError> {
        match self.packer.take() {
            Some(Packer::Pack(encoder)) => encoder.finish(&mut self.out).map_err(|_| broken())?,
            Some(Packer::Unpack(decoder)) => decoder.finish().map_err(|_| broken())?,
            None => {}
        }
        self.ended = true;
        Ok(())
    }
}

/// What came cannot be unpacked, or there is no memory for it: the body ends here.
fn broken() -> PeerError {
    PeerError::Incomplete
}

impl<S: Source> Source for Packed<S> {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        Ok(&self.out[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
        if let Some(counted) = &mut self.counted {
            counted.written += count as u64;
        }
    }

    fn is_done(&self) -> bool {
        self.ended && self.at == self.out.len()
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, pool: &BlockPool) -> Poll<Result<(), PeerError>> {
        self.out.clear();
        self.at = 0;
        loop {
            if self.out.len() >= AT_ONCE {
                return Poll::Ready(Ok(()));
            }
            if self.take()? {
                continue;
            }
            if self.source.is_done() {
                self.finish()?;
                return Poll::Ready(Ok(()));
            }
            if self.source.poll_more(cx, pool)?.is_pending() {
                // More may be long in coming, and what came may be all of an event.
                if let Some(Packer::Pack(encoder)) = &mut self.packer
                    && std::mem::take(&mut self.pending)
                {
                    encoder.flush(&mut self.out).map_err(|_| broken())?;
                }
                return if self.out.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        self.source.trailers()
    }
}

impl<S: Source> Source for &mut S {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        (**self).available()
    }

    fn consume(&mut self, count: usize) {
        (**self).consume(count);
    }

    fn is_done(&self) -> bool {
        (**self).is_done()
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, pool: &BlockPool) -> Poll<Result<(), PeerError>> {
        (**self).poll_more(cx, pool)
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        (**self).trailers()
    }
}
