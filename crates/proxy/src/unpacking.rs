//! Bodies of requests that are unpacked for servers which cannot (`decompress`).

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use coding::{Coding, DecodeError, Decoder, Limits};
use config::Decompress;
use message::framing::BodyLength;
use message::{Block, BlockPool, FieldId};

use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::packing::{Layer, Packed, Packer, remove_named};
use crate::peer::{DownPeer, PeerError, Source, UpPeer};
use crate::pump::{Pump, PumpError};

/// Codings that one body may be in, one around the other.
const MOST_CODINGS: usize = 2;

/// What comes out is not held against the ratio before it is larger: a small body may be nothing
/// but zeros.
const RATIO_FREE: u64 = 64 * 1024;

/// What a route lets come out of bodies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unpacking {
    limits: Limits,
}

/// What is to be undone for one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wrapped {
    /// In the order in which they were applied.
    codings: [Option<Coding>; MOST_CODINGS],
    limits: Limits,
}

impl Unpacking {
    /// `max_body`: largest body of a request of the route.
    pub(crate) fn build(config: &Decompress, max_body: u64) -> Self {
        let max_size = config.max_size.unwrap_or(max_body);
        Self { limits: Limits { max_size, max_ratio: config.max_ratio } }
    }

    /// Decides about a request, and makes its head that of what comes out.
    pub(crate) fn begin(self, x: &mut Exchange<'_>) -> Result<(), Failure> {
        x.wrapped = self.unwrap(&mut x.request.fields, x.body)?;
        Ok(())
    }

    /// What is to be undone of a body with this head, which becomes that of what comes out.
    /// `None`: nothing, and the head stays.
    pub(crate) fn unwrap(
        self,
        fields: &mut Block,
        body: BodyLength,
    ) -> Result<Option<Wrapped>, Failure> {
        if body == BodyLength::None || stays(fields) {
            return Ok(None);
        }
        let Some(codings) = codings_of(fields)? else { return Ok(None) };
        fields.remove(FieldId::ContentLength);
        remove_named(fields, &OF_THE_BYTES);
        Ok(Some(Wrapped { codings, limits: self.limits }))
    }
}

/// Fields that are about the very bytes of a body. Both digests of RFC 9530 are of what it is in
/// its codings.
const OF_THE_BYTES: [&[u8]; 5] =
    [b"content-encoding", b"content-md5", b"digest", b"content-digest", b"repr-digest"];

/// Whether a body may not be unpacked: it is forbidden (RFC 9110 §7.7), or a part cannot be
/// unpacked alone.
fn stays(fields: &Block) -> bool {
    let no_transform = |value: &[u8]| {
        message::list::elements(value).any(|one| one.eq_ignore_ascii_case(b"no-transform"))
    };
    fields.has(FieldId::ContentRange) || fields.values_named(b"cache-control").any(no_transform)
}

/// The codings of a body, by its `Content-Encoding`. `None`: it is in none.
fn codings_of(fields: &Block) -> Result<Option<[Option<Coding>; MOST_CODINGS]>, Failure> {
    let refused = |words| Failure::with(Kind::CodingNotSupported, words);
    let (mut codings, mut count) = ([None; MOST_CODINGS], 0);
    for name in fields.values_named(b"content-encoding").flat_map(message::list::elements) {
        if name.eq_ignore_ascii_case(b"identity") {
            continue;
        }
        let coding = Coding::of_token(name).ok_or_else(|| refused("an unknown content coding"))?;
        *codings.get_mut(count).ok_or_else(|| refused("too many content codings"))? = Some(coding);
        count += 1;
    }
    Ok((count > 0).then_some(codings))
}

/// What a client is told that would have been understood (RFC 9110 §12.5.3).
pub(crate) const UNDERSTOOD: &str = "gzip, br, zstd";

/// The body of a request on its way, and what has to be undone of it.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    pump: Pump<'a>,
    unpacker: Option<Box<Unpacker>>,
}

impl<'a> Upload<'a> {
    /// `max_body`: the largest that may be sent.
    pub(crate) fn new(
        pump: impl FnOnce(u64) -> Pump<'a>,
        wrapped: Option<Wrapped>,
        max_body: u64,
    ) -> Result<Self, Failure> {
        let Some(wrapped) = wrapped else {
            return Ok(Self { pump: pump(max_body), unpacker: None });
        };
        let unpacker = Unpacker::new(wrapped, max_body).map_err(unpack_failure)?;
        Ok(Self { pump: pump(wrapped.limits.max_size), unpacker: Some(Box::new(unpacker)) })
    }

    /// Moves as much as can be moved now; ready when all of the body is.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut DownPeer,
        up: &mut UpPeer,
        pool: &BlockPool,
    ) -> Poll<Result<(), PumpError>> {
        match &mut self.unpacker {
            None => self.pump.poll(cx, down, up, pool),
            Some(unpacker) => {
                let outcome = self.pump.poll(cx, &mut Unwrapped { down, unpacker }, up, pool);
                self.pump.came = Some(unpacker.taken());
                outcome
            }
        }
    }

    pub(crate) fn is_unpacked(&self) -> bool {
        self.unpacker.is_some()
    }
}

impl<'a> Deref for Upload<'a> {
    type Target = Pump<'a>;

    fn deref(&self) -> &Pump<'a> {
        &self.pump
    }
}

impl DerefMut for Upload<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.pump
    }
}

/// What became of a body that cannot be unpacked.
pub(crate) fn unpack_failure(error: DecodeError) -> Failure {
    let (kind, words) = match error {
        DecodeError::TooLarge => (Kind::RequestBodyTooLarge, "unpacked"),
        DecodeError::Bomb => (Kind::RequestBodyTooLarge, "many times larger unpacked"),
        DecodeError::Corrupt => (Kind::RequestError, "the body is not in its content coding"),
        DecodeError::Truncated => (Kind::RequestError, "the body ends within its content coding"),
        DecodeError::Memory => return Failure::internal("no memory to unpack a body"),
    };
    Failure::with(kind, words)
}

/// Undoes what was done to one body.
#[derive(Debug)]
struct Unpacker {
    /// The coding that was applied last, and so comes off first.
    outer: Layer,
    inner: Option<Layer>,
    limits: Limits,
    max_taken: u64,
}

impl Unpacker {
    fn new(wrapped: Wrapped, max_taken: u64) -> Result<Self, DecodeError> {
        let limits = wrapped.limits;
        let layer =
            |coding| Ok(Layer::new(Packer::Unpack(Box::new(Decoder::new(coding, limits)?))));
        let mut codings = wrapped.codings.into_iter().rev().flatten();
        // Whoever made it has seen one at least.
        let outer = layer(codings.next().unwrap_or(Coding::Gzip))?;
        let inner = codings.next().map(layer).transpose()?;
        Ok(Self { outer, inner, limits, max_taken })
    }

    fn last(&self) -> &Layer {
        self.inner.as_ref().unwrap_or(&self.outer)
    }

    fn last_mut(&mut self) -> &mut Layer {
        self.inner.as_mut().unwrap_or(&mut self.outer)
    }

    fn taken(&self) -> u64 {
        self.outer.taken
    }

    /// Each layer has its own limits; these are of both together. What does not grow at all (empty
    /// members, frames to be skipped) ends somewhere too.
    fn check(&self) -> Result<(), PeerError> {
        let (taken, made) = (self.taken(), self.last().made);
        if taken > self.max_taken {
            return Err(PeerError::Coding(DecodeError::TooLarge));
        }
        if made > RATIO_FREE && made > taken.saturating_mul(u64::from(self.limits.max_ratio)) {
            return Err(PeerError::Coding(DecodeError::Bomb));
        }
        Ok(())
    }
}

/// The body of a request as it comes out of its codings.
struct Unwrapped<'u> {
    down: &'u mut DownPeer,
    unpacker: &'u mut Unpacker,
}

impl Source for Unwrapped<'_> {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        Ok(self.unpacker.last().available())
    }

    fn consume(&mut self, count: usize) {
        self.unpacker.last_mut().consume(count);
    }

    fn is_done(&self) -> bool {
        self.unpacker.last().is_done()
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, pool: &BlockPool) -> Poll<Result<(), PeerError>> {
        let Unpacker { outer, inner, .. } = &mut *self.unpacker;
        let outcome = match inner {
            None => outer.poll_more(self.down, cx, pool),
            Some(inner) => {
                let mut source = Packed { source: &mut *self.down, layer: outer };
                inner.poll_more(&mut source, cx, pool)
            }
        };
        // Before anything of it goes on.
        self.unpacker.check()?;
        outcome
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        let mut trailers = self.down.trailers()?;
        if let Some(trailers) = &mut trailers {
            remove_named(trailers, &OF_THE_BYTES);
        }
        Ok(trailers)
    }
}
