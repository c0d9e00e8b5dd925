//! Dictionaries (RFC 9842): an answer that the client has serves to make another one smaller.
//!
//! An answer says by `Use-As-Dictionary` ([`UseAs`]) for what it may serve later; [`pattern_for`]
//! finds that out for resources with a version in their name, where the origin says nothing. The
//! proxy keeps it ([`Dictionaries`]). A client that has it says so by `Available-Dictionary`
//! ([`Hash::of_field`]), and the next answer is made by it ([`crate::encode_by_dictionary`],
//! [`crate::Encoder::by_dictionary`]),
//! where [`may_reveal`] allows it.

use std::fmt;

use bytes::Bytes;
use sfv::{BareItem, Item, ItemSerializer, Parser};
use sha2::{Digest, Sha256};

use crate::Accepts;

mod pattern;
mod reveal;
mod store;
mod use_as;
mod version;

pub use pattern::Pattern;
pub use reveal::{Context, may_reveal};
pub use store::{Dictionaries, DictionariesStats};
pub use use_as::{UseAs, id_of_field};
pub use version::pattern_for;

/// Smaller answers do not help others.
const LEAST: usize = 256;
/// Larger ones do not serve as dictionaries: it is the largest window of zstd on the Web
/// (RFC 9842 §5, RFC 9659).
const MOST: usize = 8 << 20;
/// Dictionary and body together, for brotli. The encoder holds four times as much.
const MOST_OF_BROTLI: u64 = 4 << 20;
/// What a dictionary of zstd's own format begins with (RFC 8878 §5). The library would read such
/// an answer so, and the client would take it for bytes.
const MAGIC_OF_ZSTD: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];

/// A coding that needs a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DictionaryCoding {
    /// Brotli (RFC 9842 §4).
    Dcb,
    /// Zstd (RFC 9842 §5).
    Dcz,
}

impl DictionaryCoding {
    /// As it is written in `Content-Encoding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dcb => "dcb",
            Self::Dcz => "dcz",
        }
    }

    /// Its number: 0 or 1.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// What stands before the hash at the beginning of a body.
    fn magic(self) -> &'static [u8] {
        match self {
            Self::Dcb => &[0xff, b'D', b'C', b'B'],
            // A frame of zstd that decoders skip, 32 bytes long.
            Self::Dcz => &[0x5e, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0],
        }
    }

    /// What a body made by this dictionary begins with.
    pub(crate) fn header(self, dictionary: &Dictionary) -> Vec<u8> {
        [self.magic(), &dictionary.hash.0].concat()
    }
}

/// The SHA-256 of a dictionary, by which both sides know that they mean the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From the value of `Available-Dictionary` (RFC 9842 §2.2). `None`: it is something else.
    #[must_use]
    pub fn of_field(value: &[u8]) -> Option<Self> {
        let item = Parser::new(value).parse::<Item>().ok()?;
        let BareItem::ByteSequence(bytes) = item.bare_item else { return None };
        bytes.try_into().ok().map(Self)
    }

    /// As it is written in `Available-Dictionary`.
    #[must_use]
    pub fn to_field(self) -> String {
        ItemSerializer::new().bare_item(&self.0[..]).finish()
    }

    /// The 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// An answer that serves as a dictionary: its body without any coding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictionary {
    bytes: Bytes,
    hash: Hash,
}

impl Dictionary {
    /// Hashes the body (some hundred MB per second and more). `None`: it is too small or too large
    /// to be of use, or looks like something else ([`Self::MOST`]).
    #[must_use]
    pub fn new(body: Bytes) -> Option<Self> {
        if !(LEAST..=MOST).contains(&body.len()) || body.starts_with(&MAGIC_OF_ZSTD) {
            return None;
        }
        Some(Self { hash: Hash::of(&body), bytes: body })
    }

    /// The largest body that serves as a dictionary.
    pub const MOST: usize = MOST;

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether a body of this size (`None`: not known before its end) can be made by this
    /// dictionary. For `dcb` it has to be there as a whole, and to fit into one window with it.
    #[must_use]
    pub fn serves(&self, coding: DictionaryCoding, size: Option<u64>) -> bool {
        match (coding, size) {
            (DictionaryCoding::Dcz, _) => true,
            (DictionaryCoding::Dcb, None) => false,
            (DictionaryCoding::Dcb, Some(size)) => {
                size.saturating_add(self.bytes.len() as u64) <= MOST_OF_BROTLI
            }
        }
    }

    /// The coding by which a client that has this dictionary gets a body of this size: `dcz`, which
    /// costs us less, if it takes that; else `dcb`, if the dictionary serves for that.
    #[must_use]
    pub fn best(&self, accepts: &Accepts, size: Option<u64>) -> Option<DictionaryCoding> {
        if accepts.allows_dcz() {
            Some(DictionaryCoding::Dcz)
        } else if accepts.allows_dcb() && self.serves(DictionaryCoding::Dcb, size) {
            Some(DictionaryCoding::Dcb)
        } else {
            None
        }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_field())
    }
}

#[cfg(test)]
mod tests;
