//! Content codings (RFC 9110 §8.4.1): which of them a client takes ([`Accepts`]), packing
//! ([`Encoder`]) and unpacking ([`Decoder`]) piece by piece, which types are worth it
//! ([`TypeSet`]), and dictionaries ([`dictionary`]). Pure: no sockets, no clock.
//!
//! What is not here: whether an answer *may* be packed (`no-transform`, `Range`, entity tags, what
//! it is packed in already) is for whoever has its head.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

mod accepts;
mod decode;
pub mod dictionary;
mod encode;
mod pool;
mod types;

pub use accepts::Accepts;
pub use decode::{DecodeError, Decoder, Limits, Progress, decode_all, decode_by_dictionary};
pub use dictionary::{Dictionaries, Dictionary, DictionaryCoding};
pub use encode::{EncodeError, Encoder, encode_all, encode_by_dictionary};
pub use types::{DEFAULT_TYPES, TypeSet};

/// A content coding that we make and undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with a window of at most 8 MiB (RFC 9659).
    Zstd,
}

impl Coding {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Brotli, Self::Zstd];

    /// Its place in a table of all codings: 0, 1 or 2.
    #[must_use]
    pub fn number(self) -> usize {
        self as usize
    }

    /// As it is written in `Content-Encoding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// How hard it can try, from quick to small.
    #[must_use]
    pub fn levels(self) -> RangeInclusive<u8> {
        match self {
            Self::Gzip => 1..=9,
            Self::Brotli => 0..=11,
            // Beyond 19, windows are larger than clients take.
            Self::Zstd => 1..=19,
        }
    }

    /// The coding that a member of `Content-Encoding` or `Accept-Encoding` names. Case does not
    /// matter, and `x-gzip` is `gzip` (RFC 9110 §8.4.1.3).
    #[must_use]
    pub fn of_token(token: &[u8]) -> Option<Self> {
        if token.eq_ignore_ascii_case(b"gzip") || token.eq_ignore_ascii_case(b"x-gzip") {
            Some(Self::Gzip)
        } else if token.eq_ignore_ascii_case(b"br") {
            Some(Self::Brotli)
        } else if token.eq_ignore_ascii_case(b"zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

/// What has been done to a body, by its `Content-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Applied {
    /// Nothing: there is no such field, or it says no more than `identity`.
    Identity,
    /// One coding that [`Decoder`] undoes.
    One(Coding),
    /// Several, or one that is not known here. Such a body stays as it is.
    Other,
}

impl Applied {
    /// From the values of all `Content-Encoding` fields, in their order.
    #[must_use]
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut found = Self::Identity;
        for token in members(values) {
            // RFC 9110 §8.4: it should not be there, but it changes nothing.
            if token.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            found = match (found, Coding::of_token(token)) {
                (Self::Identity, Some(coding)) => Self::One(coding),
                _ => return Self::Other,
            };
        }
        found
    }
}

/// The members of a list (RFC 9110 §5.6.1) that has no quoted strings, without the empty ones.
fn members<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values
        .into_iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// Without whitespace around it (RFC 9110 §5.6.3).
fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(from) = text.iter().position(|byte| !blank(byte)) else { return &[] };
    let to = text.iter().rposition(|byte| !blank(byte)).map_or(from, |at| at + 1);
    &text[from..to]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_in_any_case_and_by_their_old_names() {
        assert_eq!(Coding::of_token(b"GZIP"), Some(Coding::Gzip));
        assert_eq!(Coding::of_token(b"X-Gzip"), Some(Coding::Gzip));
        assert_eq!(Coding::of_token(b"br"), Some(Coding::Brotli));
        assert_eq!(Coding::of_token(b"deflate"), None);
        for coding in Coding::ALL {
            assert_eq!(Coding::of_token(coding.as_str().as_bytes()), Some(coding));
            assert_eq!(Coding::ALL[coding.number()], coding);
        }
    }

    #[test]
    fn what_was_applied_is_read_over_all_fields() {
        let of = |values: &[&str]| Applied::of(values.iter().map(|value| value.as_bytes()));
        assert_eq!(of(&[]), Applied::Identity);
        assert_eq!(of(&["", " , identity"]), Applied::Identity);
        assert_eq!(of(&["identity", "\tbr ,"]), Applied::One(Coding::Brotli));
        assert_eq!(of(&["gzip, br"]), Applied::Other);
        assert_eq!(of(&["gzip", "gzip"]), Applied::Other);
        assert_eq!(of(&["dcz"]), Applied::Other);
    }
}
