//! Slices of large answers: parts that are asked for one by one, each kept for itself.
//!
//! A slice is kept as an answer of its own, whose body is the slice, with the `Content-Range`
//! that it came with among its fields.

use message::{Block, FieldId};

use super::ContentRange;
use super::combine::strong_date;
use super::entity_tag::EntityTag;
use crate::{StoredHead, Time};

/// What slices of one version of an answer have in common: only those that are equal in it may
/// be put together (RFC 9110 §15.3.7.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceVersion {
    mark: Mark,
    /// How long the whole is.
    pub complete: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    Tag(Box<[u8]>),
    Modified(Time),
}

impl SliceVersion {
    /// Which bytes of which version these fields came with, of a 206 or of a slice that is kept;
    /// `None`: there is no strong validator, or nobody knows how long the whole is.
    #[must_use]
    pub fn of(fields: &Block) -> Option<(Self, std::ops::Range<u64>)> {
        let part = ContentRange::of_part(fields)?;
        let mark = if fields.has(FieldId::ETag) {
            let tag = EntityTag::of(fields).filter(|tag| !tag.weak)?;
            Mark::Tag(tag.opaque.into())
        } else {
            Mark::Modified(strong_date(fields)?)
        };
        Some((Self { mark, complete: part.complete? }, part.range))
    }
}

impl StoredHead {
    /// The same, of a slice with this `Content-Range`.
    #[must_use]
    pub fn of_slice(mut self, range: &ContentRange) -> Self {
        self.fields.remove(FieldId::ContentRange);
        self.fields.push(b"Content-Range", &[range.to_string().as_bytes()]);
        self.fields.compact();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Block {
        let mut fields = Block::default();
        for (name, value) in lines {
            fields.push(name.as_bytes(), &[value.as_bytes()]);
        }
        fields
    }

    fn version(lines: &[(&str, &str)]) -> Option<(SliceVersion, std::ops::Range<u64>)> {
        SliceVersion::of(&fields(lines))
    }

    #[test]
    fn slices_have_a_strong_validator_and_a_complete_length() {
        let range = ("Content-Range", "bytes 10-19/100");
        let (first, bytes) = version(&[range, ("ETag", "\"a\"")]).unwrap();
        assert_eq!((first.complete, bytes), (100, 10..20));
        assert_eq!(version(&[("Content-Range", "bytes 10-19/*"), ("ETag", "\"a\"")]), None);
        assert_eq!(version(&[range, ("ETag", "W/\"a\"")]), None);
        assert_eq!(version(&[range, ("ETag", "a")]), None);
        assert_eq!(version(&[range, ("ETag", "\"a\""), ("ETag", "\"b\"")]), None);
        assert_eq!(version(&[range]), None);
        assert_eq!(version(&[range, ("ETag", "\"a\""), ("Content-Length", "11")]), None);
        assert_eq!(version(&[range, range, ("ETag", "\"a\"")]), None);
    }

    #[test]
    fn a_date_counts_where_it_is_of_one_version_only() {
        let of = |date| {
            version(&[
                ("Content-Range", "bytes 0-9/100"),
                ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
                ("Date", date),
            ])
        };
        assert!(of("Mon, 01 Jan 2024 00:00:01 GMT").is_some());
        assert_eq!(of("Mon, 01 Jan 2024 00:00:00 GMT"), None);
        // A weak tag says that the bytes may differ, whatever the date says.
        let weak = version(&[
            ("Content-Range", "bytes 0-9/100"),
            ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
            ("Date", "Tue, 02 Jan 2024 00:00:00 GMT"),
            ("ETag", "W/\"a\""),
        ]);
        assert_eq!(weak, None);
    }

    #[test]
    fn versions_differ_by_validator_and_length() {
        let of = |range, tag| version(&[("Content-Range", range), ("ETag", tag)]).unwrap().0;
        assert_eq!(of("bytes 0-9/100", "\"a\""), of("bytes 10-19/100", "\"a\""));
        assert_ne!(of("bytes 0-9/100", "\"a\""), of("bytes 10-19/100", "\"b\""));
        assert_ne!(of("bytes 0-9/100", "\"a\""), of("bytes 10-19/101", "\"a\""));
    }
}
