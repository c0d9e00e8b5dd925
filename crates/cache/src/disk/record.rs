//! A record: an answer as bytes in a volume. Pure.
//!
//! ```text
//! header   104 bytes, with a checksum of its own in the last four
//! meta     key, Vary, fields, facts, tags, trailers, parts; its checksum is in the header
//! body     the bytes of all parts, one after another; its checksum is in the header
//! ```
//!
//! All numbers are little-endian. A record of kind [`Kind::Head`] has no body of its own but says
//! where in an older volume it is; one of kind [`Kind::Forget`] is nothing but a header, and says
//! that what stands before it under its key is not to be used any more.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::codec::{Reader, put_block, put_count, put_sized};
use crate::{Body, Coded, Facts, Held, Key, Part, Stored, StoredHead, Time, Vary};

/// How long a header is.
pub(super) const HEADER: usize = 104;

/// What a record begins with.
const MAGIC: u32 = u32::from_le_bytes(*b"Bfr1");

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An answer with its body.
    Whole = 1,
    /// An answer whose body stands in an older volume: it was validated.
    Head = 2,
    /// The end of everything under its key that stands before it.
    Forget = 3,
}

impl Kind {
    pub(super) fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Whole),
            2 => Some(Self::Head),
            3 => Some(Self::Forget),
            _ => None,
        }
    }
}

/// Where a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BodyPlace {
    /// In which volume.
    pub volume: u32,
    /// Where in it.
    pub offset: u32,
    /// How many bytes.
    pub length: u64,
    /// Their checksum.
    pub crc: u32,
}

/// The first bytes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    pub status: u16,
    /// Counts up with every record; the same number twice is damage.
    pub number: u64,
    pub hash: u128,
    pub url: u128,
    /// [`vary_hash`].
    pub vary: u32,
    pub meta_length: u32,
    pub meta_crc: u32,
    /// Where the body is; for [`Kind::Whole`] in this record, behind the meta.
    pub body: BodyPlace,
    pub purged_by: u64,
    /// How long the whole body is, if that is known.
    pub length: Option<u64>,
    /// The volume that this stands in: a header that is not at home is damage.
    pub volume: u32,
}

impl Header {
    /// How many bytes the record has.
    pub(super) fn record_length(&self) -> u64 {
        let body = if self.kind == Kind::Whole { self.body.length } else { 0 };
        HEADER as u64 + u64::from(self.meta_length) + body
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.push(self.kind as u8);
        out.push(u8::from(self.length.is_some()));
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.hash.to_le_bytes());
        out.extend_from_slice(&self.url.to_le_bytes());
        out.extend_from_slice(&self.vary.to_le_bytes());
        out.extend_from_slice(&self.meta_length.to_le_bytes());
        out.extend_from_slice(&self.body.length.to_le_bytes());
        out.extend_from_slice(&self.body.crc.to_le_bytes());
        out.extend_from_slice(&self.meta_crc.to_le_bytes());
        out.extend_from_slice(&self.purged_by.to_le_bytes());
        out.extend_from_slice(&self.length.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.body.volume.to_le_bytes());
        out.extend_from_slice(&self.body.offset.to_le_bytes());
        out.extend_from_slice(&self.volume.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        let mut header = [0; HEADER];
        header.copy_from_slice(&out);
        header
    }

    /// `None`: these bytes are no header, or a damaged one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.get(..HEADER)?.split_at(HEADER - 4);
        if crc32c::crc32c(covered).to_le_bytes() != crc {
            return None;
        }
        let mut reader = Reader::new(covered);
        if reader.u32()? != MAGIC {
            return None;
        }
        let kind = Kind::of(reader.u8()?)?;
        let has_length = reader.u8()? == 1;
        let status = reader.u16()?;
        let number = reader.u64()?;
        let (hash, url) = (reader.u128()?, reader.u128()?);
        let (vary, meta_length) = (reader.u32()?, reader.u32()?);
        let (body_length, body_crc, meta_crc) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let purged_by = reader.u64()?;
        let length = reader.u64().map(|length| has_length.then_some(length))?;
        let (body_volume, body_offset) = (reader.u32()?, reader.u32()?);
        let volume = reader.u32()?;
        let body = BodyPlace {
            volume: body_volume,
            offset: body_offset,
            length: body_length,
            crc: body_crc,
        };
        let header = Self {
            kind,
            status,
            number,
            hash,
            url,
            vary,
            meta_length,
            meta_crc,
            body,
            purged_by,
            length,
            volume,
        };
        (header.record_length() <= u64::from(u32::MAX)).then_some(header)
    }
}

/// What stands between the header and the body.
pub(super) struct Meta {
    pub key: Key,
    pub vary: Vary,
    fields: message::Block,
    facts: Facts,
    tags: Box<[u128]>,
    trailers: Option<message::Block>,
    /// Offset and length of each part.
    pub parts: Vec<(u64, u64)>,
}

impl Meta {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let key = Key::new(reader.sized()?);
        let vary = decode_vary(&mut reader)?;
        let fields = reader.block()?;
        let facts = decode_facts(&mut reader)?;
        let count = reader.count(16)?;
        let tags = (0..count).map(|_| reader.u128()).collect::<Option<Box<[u128]>>>()?;
        let trailers = match reader.u8()? {
            0 => None,
            _ => Some(reader.block()?),
        };
        let count = reader.count(16)?;
        let parts =
            (0..count).map(|_| Some((reader.u64()?, reader.u64()?))).collect::<Option<_>>()?;
        reader.is_empty().then_some(Self { key, vary, fields, facts, tags, trailers, parts })
    }

    /// The answer, as it was handed over.
    pub(super) fn into_stored(self, header: &Header, body: Body) -> Stored {
        Stored {
            key: self.key,
            url: header.url,
            vary: self.vary,
            head: StoredHead { status: header.status, fields: self.fields },
            facts: self.facts,
            tags: self.tags,
            length: header.length,
            body,
            trailers: self.trailers,
            purged_by: AtomicU64::new(header.purged_by),
            hits: AtomicU32::new(0),
            held: Held::default(),
            coded: Coded::default(),
        }
    }
}

/// Writes the meta of an answer.
pub(super) fn put_meta(out: &mut Vec<u8>, stored: &Stored) {
    put_sized(out, stored.key.text());
    put_vary(out, &stored.vary);
    put_block(out, &stored.head.fields);
    put_facts(out, &stored.facts);
    put_count(out, stored.tags.len());
    for tag in &stored.tags {
        out.extend_from_slice(&tag.to_le_bytes());
    }
    out.push(u8::from(stored.trailers.is_some()));
    if let Some(trailers) = &stored.trailers {
        put_block(out, trailers);
    }
    let parts = match &stored.body {
        Body::Memory(parts) if !stored.is_whole() => parts,
        // However many pieces it came in.
        Body::Memory(parts) => {
            let length = parts.iter().map(|part| part.bytes.len() as u64).sum();
            let whole = [(0, length)];
            return put_parts(out, if length > 0 { &whole } else { &[] });
        }
        Body::Disk(body) => return put_parts(out, &[(0, body.length)]),
    };
    let parts: Vec<_> = parts.iter().map(|part| (part.offset, part.bytes.len() as u64)).collect();
    put_parts(out, &parts);
}

/// The header for an answer whose meta is `meta`.
pub(super) fn header_of(stored: &Stored, kind: Kind, meta: &[u8], body: BodyPlace) -> Header {
    Header {
        kind,
        status: stored.head.status,
        number: 0,
        hash: stored.key.hash(),
        url: stored.url,
        vary: vary_hash(&stored.vary),
        meta_length: u32::try_from(meta.len()).unwrap_or(u32::MAX),
        meta_crc: crc32c::crc32c(meta),
        body,
        purged_by: stored.purged_by.load(Ordering::Relaxed),
        length: stored.length,
        volume: 0,
    }
}

/// The header, and the whole record, that ends a key.
pub(super) fn forget(hash: u128, purged_by: u64) -> Header {
    Header {
        kind: Kind::Forget,
        status: 0,
        number: 0,
        hash,
        url: 0,
        vary: 0,
        meta_length: 0,
        meta_crc: crc32c::crc32c(&[]),
        body: BodyPlace { volume: 0, offset: 0, length: 0, crc: 0 },
        purged_by,
        length: None,
        volume: 0,
    }
}

/// The bytes of a body in memory and their checksum.
pub(super) fn crc_of(parts: &[Part]) -> (u64, u32) {
    parts.iter().fold((0, 0), |(length, crc), part| {
        (length + part.bytes.len() as u64, crc32c::crc32c_append(crc, &part.bytes))
    })
}

/// What tells the answers of one key apart without their texts. 0: it has no `Vary`.
pub(super) fn vary_hash(vary: &Vary) -> u32 {
    if vary.fields.is_empty() {
        return 0;
    }
    let mut text = Vec::new();
    put_vary(&mut text, vary);
    crate::hash(&text) as u32
}

fn put_parts(out: &mut Vec<u8>, parts: &[(u64, u64)]) {
    put_count(out, parts.len());
    for (offset, length) in parts {
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
    }
}

fn put_vary(out: &mut Vec<u8>, vary: &Vary) {
    put_count(out, vary.fields.len());
    for (name, value) in &vary.fields {
        put_sized(out, name.as_bytes());
        out.push(u8::from(value.is_some()));
        put_sized(out, value.as_deref().unwrap_or_default());
    }
}

fn decode_vary(reader: &mut Reader<'_>) -> Option<Vary> {
    let count = reader.count(9)?;
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.text()?.into();
        let is_there = reader.u8()? != 0;
        let value = reader.sized()?;
        fields.push((name, is_there.then(|| value.into())));
    }
    Some(Vary { fields: fields.into() })
}

fn put_facts(out: &mut Vec<u8>, facts: &Facts) {
    for time in [facts.requested, facts.received, facts.date] {
        out.extend_from_slice(&time.0.to_le_bytes());
    }
    for span in [facts.initial_age, facts.lifetime, facts.while_revalidate, facts.if_error] {
        out.extend_from_slice(&span.to_le_bytes());
    }
    let bits = [
        facts.heuristic,
        facts.no_cache,
        facts.must_revalidate,
        facts.immutable,
        facts.marked_stale,
    ];
    out.push(bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
    put_count(out, facts.unshown.len());
    for name in &facts.unshown {
        put_sized(out, name.as_bytes());
    }
}

fn decode_facts(reader: &mut Reader<'_>) -> Option<Facts> {
    let [requested, received, date] =
        [Time(reader.i64()?), Time(reader.i64()?), Time(reader.i64()?)];
    let [initial_age, lifetime] = [reader.u64()?, reader.u64()?];
    let [while_revalidate, if_error] = [reader.u64()?, reader.u64()?];
    let bits = reader.u8()?;
    let count = reader.count(4)?;
    let unshown = (0..count).map(|_| reader.text().map(Into::into)).collect::<Option<_>>()?;
    Some(Facts {
        requested,
        received,
        date,
        initial_age,
        lifetime,
        heuristic: bits & 1 != 0,
        while_revalidate,
        if_error,
        no_cache: bits & 2 != 0,
        must_revalidate: bits & 4 != 0,
        immutable: bits & 8 != 0,
        marked_stale: bits & 16 != 0,
        unshown,
    })
}
