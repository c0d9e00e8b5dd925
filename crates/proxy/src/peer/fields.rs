//! Fields of HTTP/2 and ours, to and fro.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use message::{Block, FieldId};

/// A field that is not HTTP (RFC 9113 §8.2.1), which a parser of HTTP/1 would never have let
/// through.
#[derive(Debug)]
pub(crate) struct Unsendable;

/// The fields of a block, but for those that HTTP/2 does not know (RFC 9113 §8.2.2) and those
/// that `skip` names.
pub(crate) fn header_map(
    fields: &Block,
    skip: impl Fn(FieldId) -> bool,
) -> Result<HeaderMap, Unsendable> {
    let mut map = HeaderMap::with_capacity(fields.len() + 2);
    // One allocation for all values: they point into it.
    let shared = Bytes::copy_from_slice(fields.bytes());
    for field in fields.iter() {
        if is_connection_specific(field.id) || skip(field.id) {
            continue;
        }
        let value = shared.slice_ref_of(fields.bytes(), fields.value(field));
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Unsendable)?;
        let name = HeaderName::from_bytes(fields.name(field)).map_err(|_| Unsendable)?;
        map.append(name, value);
    }
    Ok(map)
}

/// RFC 9113 §8.2.2.
fn is_connection_specific(id: FieldId) -> bool {
    matches!(
        id,
        FieldId::Connection
            | FieldId::KeepAlive
            | FieldId::ProxyConnection
            | FieldId::TransferEncoding
            | FieldId::Upgrade
            | FieldId::Http2Settings
            | FieldId::Te
            | FieldId::Host
    )
}

/// A part of shared bytes, told by where it stands in what they were copied from.
trait SliceOf {
    fn slice_ref_of(&self, original: &[u8], part: &[u8]) -> Bytes;
}

impl SliceOf for Bytes {
    fn slice_ref_of(&self, original: &[u8], part: &[u8]) -> Bytes {
        let start = part.as_ptr() as usize - original.as_ptr() as usize;
        self.slice(start..start + part.len())
    }
}

/// Adds the fields of a message of HTTP/2 to a block. Cookie crumbs become one field
/// (RFC 9113 §8.2.3).
///
/// # Errors
/// A value that begins or ends with white space (RFC 9113 §8.2.1), which HTTP/1 could not say.
pub(crate) fn add_fields(block: &mut Block, map: &HeaderMap) -> Result<(), &'static str> {
    let mut cookies: Vec<&[u8]> = Vec::new();
    for (name, value) in map {
        let value = value.as_bytes();
        if matches!(value.first(), Some(b' ' | b'\t')) || matches!(value.last(), Some(b' ' | b'\t'))
        {
            return Err("white space around the value of a field");
        }
        if *name == http::header::COOKIE {
            if !cookies.is_empty() {
                cookies.push(b"; ");
            }
            cookies.push(value);
        } else if *name != http::header::HOST {
            // That one is made of `:authority` as well.
            block.push(name.as_str().as_bytes(), &[value]);
        }
    }
    if !cookies.is_empty() {
        block.push(b"cookie", &cookies);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_become_one_cookie_and_the_rest_stays_in_order() {
        let mut map = HeaderMap::new();
        for (name, value) in [("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("x", "2")] {
            let name = HeaderName::from_static(name);
            map.append(name, HeaderValue::from_static(value));
        }
        let mut block = Block::default();
        add_fields(&mut block, &map).unwrap();
        let mut out = Vec::new();
        block.write_lines(&mut out, |_| false);
        assert_eq!(out, b"x: 1\r\nx: 2\r\ncookie: a=1; b=2\r\n");
    }

    #[test]
    fn what_belongs_to_one_connection_does_not_go_into_another_version() {
        let mut block = Block::default();
        for name in ["Host", "Connection", "Keep-Alive", "TE", "Upgrade", "X-Kept"] {
            block.push(name.as_bytes(), &[b"v"]);
        }
        let map = header_map(&block, |_| false).unwrap();
        let names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-kept"]);
    }
}
