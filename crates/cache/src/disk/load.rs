//! Reading a record.

use std::fs::File;
use std::io;

use bytes::Bytes;

use super::index::Place;
use super::record::{HEADER, Header, Kind, Meta};
use super::volume::Volume;
use super::{INLINE, Shared};
use crate::{Body, DiskBody, Key, Part, Stored, Vary};

/// What is read at once of a record that is larger.
const FIRST: usize = 16 << 10;

/// What is read at once of a body that is only looked at.
pub(super) const CHUNK: usize = 256 << 10;

/// Why a record cannot be used.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is about another key whose hash begins alike, or for other requests.
    Other,
    /// It is not what was written.
    Damaged,
    /// The volume with its body is gone.
    Gone,
    /// The disk fails.
    Io(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Io(error),
        }
    }
}

/// Reads the record at `place`, and makes sure that it is as it was written. `key`: whose it has
/// to be. `wanted`: whether its body is to be looked at.
pub(super) fn read(
    shared: &Shared,
    place: &Place,
    volume: &Volume,
    key: Option<&Key>,
    wanted: impl Fn(&Vary) -> bool,
) -> Result<(Header, Stored), Unreadable> {
    let length = place.length as usize;
    let all_at_once = length <= INLINE + FIRST;
    let mut bytes = vec![0; if all_at_once { length } else { FIRST }];
    let start = u64::from(place.offset);
    shared.io.read(&volume.data, &mut bytes, start)?;
    let header = header_at(&bytes, place, volume)?;
    if key.is_some_and(|key| key.hash() != header.hash) {
        return Err(Unreadable::Other);
    }
    let body_start = HEADER + header.meta_length as usize;
    if body_start > bytes.len() {
        let have = bytes.len();
        bytes.resize(body_start, 0);
        shared.io.read(&volume.data, &mut bytes[have..], start + have as u64)?;
    }
    let meta = &bytes[HEADER..body_start];
    if crc32c::crc32c(meta) != header.meta_crc {
        return Err(Unreadable::Damaged);
    }
    let mut meta = Meta::decode(meta).ok_or(Unreadable::Damaged)?;
    if let Some(key) = key {
        if key.text() != meta.key.text() {
            return Err(Unreadable::Other);
        }
        meta.key = key.clone();
    }
    if !wanted(&meta.vary) {
        return Err(Unreadable::Other);
    }
    let is_whole = meta.parts.len() == 1
        && meta.parts[0] == (0, header.body.length)
        && header.length == Some(header.body.length);
    let body = if is_whole && header.body.length > INLINE as u64 {
        Body::Disk(disk_body(shared, &header, place, volume)?)
    } else if header.kind == Kind::Head {
        return Err(Unreadable::Damaged);
    } else {
        let bytes = if all_at_once {
            Bytes::copy_from_slice(&bytes[body_start..])
        } else {
            let mut body = vec![0; header.body.length as usize];
            shared.io.read(&volume.data, &mut body, start + body_start as u64)?;
            body.into()
        };
        memory_body(&header, &meta.parts, &bytes)?
    };
    let stored = meta.into_stored(&header, body);
    Ok((header, stored))
}

/// Reads only the header of the record at `place`.
pub(super) fn read_header(
    shared: &Shared,
    place: &Place,
    volume: &Volume,
) -> Result<Header, Unreadable> {
    let mut bytes = [0; HEADER];
    shared.io.read(&volume.data, &mut bytes, u64::from(place.offset))?;
    header_at(&bytes, place, volume)
}

/// Gives `see` the bytes of a part of a file in their order.
pub(super) fn read_through(
    shared: &Shared,
    file: &File,
    offset: u64,
    length: u64,
    mut see: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK))];
    let mut at = 0;
    while at < length {
        let chunk = buffer.len().min(usize::try_from(length - at).unwrap_or(CHUNK));
        shared.io.read(file, &mut buffer[..chunk], offset + at)?;
        see(&buffer[..chunk])?;
        at += chunk as u64;
    }
    Ok(())
}

fn header_at(bytes: &[u8], place: &Place, volume: &Volume) -> Result<Header, Unreadable> {
    let header = Header::decode(bytes).ok_or(Unreadable::Damaged)?;
    let is_it = header.volume == volume.id
        && header.hash as u64 == place.hash
        && header.record_length() == u64::from(place.length)
        && header.kind != Kind::Forget;
    is_it.then_some(header).ok_or(Unreadable::Damaged)
}

/// A large body: it stays where it is, and is compared with its checksum once.
fn disk_body(
    shared: &Shared,
    header: &Header,
    place: &Place,
    volume: &Volume,
) -> Result<DiskBody, Unreadable> {
    let file = if header.body.volume == volume.id {
        volume.data.clone()
    } else {
        shared.volume(header.body.volume).ok_or(Unreadable::Gone)?.data.clone()
    };
    let body = DiskBody { file, offset: u64::from(header.body.offset), length: header.body.length };
    if !place.is_verified() {
        let mut crc = 0;
        read_through(shared, &body.file, body.offset, body.length, |bytes| {
            crc = crc32c::crc32c_append(crc, bytes);
            Ok(())
        })?;
        if crc != header.body.crc {
            return Err(Unreadable::Damaged);
        }
        shared.index.update(place, Place::set_verified);
    }
    Ok(body)
}

fn memory_body(header: &Header, parts: &[(u64, u64)], bytes: &Bytes) -> Result<Body, Unreadable> {
    let total = parts.iter().try_fold(0_u64, |sum, (_, length)| sum.checked_add(*length));
    if total != Some(bytes.len() as u64) || crc32c::crc32c(bytes) != header.body.crc {
        return Err(Unreadable::Damaged);
    }
    let mut at = 0;
    let parts = parts.iter().map(|(offset, length)| {
        let end = at + *length as usize;
        let part = Part { offset: *offset, bytes: bytes.slice(at..end) };
        at = end;
        part
    });
    Ok(Body::Memory(parts.collect()))
}
