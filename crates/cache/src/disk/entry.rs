//! An entry of the index file that stands beside each volume: 64 bytes for each record, written
//! after it. Pure.

use super::codec::Reader;
use super::record::{Header, Kind};

/// How long an entry is.
pub(super) const ENTRY: usize = 64;

/// What the table in memory is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub hash: u128,
    pub number: u64,
    /// Where in the volume the record begins, and how long it is.
    pub offset: u32,
    pub length: u32,
    pub vary: u32,
    pub kind: Kind,
    /// The volume that its body is in.
    pub body_volume: u32,
    pub purged_by: u64,
    /// The volume that it is about.
    pub volume: u32,
    /// Of the hash of its URL.
    pub url: u32,
}

impl IndexEntry {
    /// The entry for a record at `offset`. `None`: it is longer than a record can be.
    pub(super) fn of(header: &Header, offset: u32) -> Option<Self> {
        Some(Self {
            hash: header.hash,
            number: header.number,
            offset,
            length: header.record_length().try_into().ok()?,
            vary: header.vary,
            kind: header.kind,
            body_volume: header.body.volume,
            purged_by: header.purged_by,
            volume: header.volume,
            url: header.url as u32,
        })
    }

    /// Where the next record begins.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }

    pub(super) fn encode(&self) -> [u8; ENTRY] {
        let mut out = [0; ENTRY];
        out[..16].copy_from_slice(&self.hash.to_le_bytes());
        out[16..24].copy_from_slice(&self.number.to_le_bytes());
        out[24..28].copy_from_slice(&self.offset.to_le_bytes());
        out[28..32].copy_from_slice(&self.length.to_le_bytes());
        out[32..36].copy_from_slice(&self.vary.to_le_bytes());
        out[36..40].copy_from_slice(&u32::from(self.kind as u8).to_le_bytes());
        out[40..44].copy_from_slice(&self.body_volume.to_le_bytes());
        out[44..52].copy_from_slice(&self.purged_by.to_le_bytes());
        out[52..56].copy_from_slice(&self.volume.to_le_bytes());
        out[56..60].copy_from_slice(&self.url.to_le_bytes());
        let crc = crc32c::crc32c(&out[..ENTRY - 4]);
        out[ENTRY - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None`: it was never written, not to its end, or is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.get(..ENTRY)?.split_at(ENTRY - 4);
        if crc32c::crc32c(covered).to_le_bytes() != crc {
            return None;
        }
        let mut reader = Reader::new(covered);
        Some(Self {
            hash: reader.u128()?,
            number: reader.u64()?,
            offset: reader.u32()?,
            length: reader.u32()?,
            vary: reader.u32()?,
            kind: Kind::of(reader.u32()?.try_into().ok()?)?,
            body_volume: reader.u32()?,
            purged_by: reader.u64()?,
            volume: reader.u32()?,
            url: reader.u32()?,
        })
    }
}
